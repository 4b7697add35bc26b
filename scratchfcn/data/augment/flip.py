"""Left and right change places: true of most photographs, and wrong only where side matters (text, road traffic).

Upside down is another matter. Photographs have their sky at the top, and a network is right to rely on it.
"""

from dataclasses import dataclass

import numpy as np

from ..transforms import Pair


@dataclass(frozen=True)
class RandomFlip:
    """With probability `p`, mirror left and right."""

    p: float = 0.5

    def __call__(self, image: np.ndarray, label: np.ndarray, rng: np.random.Generator) -> Pair:
        if rng.random() < self.p:
            return image[:, ::-1], label[:, ::-1]
        return image, label
