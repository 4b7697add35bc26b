"""Out of focus, or too small: a lens spreads every point over its neighbours. A Gaussian does nearly the same.

The label stays. A blurred road is a road up to its edge, and where that edge lies is what is to be learned.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from ..transforms import Pair


@dataclass(frozen=True)
class RandomBlur:
    """With probability `p`, blur by a Gaussian whose standard deviation is drawn evenly from 0..radius, in pixels.

    Of an image (H, W, C) the first three channels are colours; what follows (depth) came through another lens, and
    is left as it is.
    """

    radius: float
    p: float = 0.5

    def __post_init__(self) -> None:
        if self.radius < 0:
            raise ValueError(f"RandomBlur: radius must be at least 0, not {self.radius}")

    def __call__(self, image: np.ndarray, label: np.ndarray, rng: np.random.Generator) -> Pair:
        if self.radius == 0 or rng.random() >= self.p:
            return image, label
        blur = ImageFilter.GaussianBlur(rng.uniform(0, self.radius))
        colours = np.asarray(Image.fromarray(image[:, :, :3]).filter(blur))
        return (colours if image.shape[2] == 3 else np.dstack([colours, image[:, :, 3:]])), label
