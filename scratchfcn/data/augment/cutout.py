"""A part is hidden, so that the rest must do: a car is to be known by its roof as well as by its wheels.

What happens to the label of the hidden part? For a classifier the question does not arise (DeVries and Taylor 2017: the
picture is still one of a cat). Here each pixel has its answer, and beneath a grey rectangle there is nothing to answer
from. To ask all the same would teach that grey is whatever is commonest, and to paint objects by habit where none
can be seen. So the hidden pixels are labelled 255. What cutout teaches, it teaches around them: pixels that
used to be told by their surroundings must now be told from less.
"""

from dataclasses import dataclass

import numpy as np

from ..palette import IGNORE
from ..transforms import Pair
from .fill import mean_colour


@dataclass(frozen=True)
class Cutout:
    """Hide a rectangle at a random place: the picture's mean colour in every channel, and the label 255.

    share: height and width are drawn, each on its own and evenly, from nothing to this share of the picture's.
    """

    share: float

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise ValueError(f"Cutout: share must lie within 0..1, not {self.share}")

    def __call__(self, image: np.ndarray, label: np.ndarray, rng: np.random.Generator) -> Pair:
        if self.share == 0:
            return image, label
        H, W = label.shape[:2]
        h, w = (round(side * rng.uniform(0, self.share)) for side in (H, W))
        top, left = (int(rng.integers(spare + 1)) for spare in (H - h, W - w))
        hidden = slice(top, top + h), slice(left, left + w)
        colour = mean_colour(image)
        image, label = image.copy(), label.copy()
        image[hidden] = colour
        label[hidden] = IGNORE
        return image, label
