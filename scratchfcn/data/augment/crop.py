"""A piece of the picture, cut out at random: smaller steps, more of them, and no object always in the middle."""

from dataclasses import dataclass

import numpy as np

from ..palette import IGNORE
from ..transforms import Pair
from .fill import mean_colour


@dataclass(frozen=True)
class RandomCrop:
    """Cut out a window of `size` = (H, W) at random.

    Where the picture is smaller it is placed at random inside the window. The rest is filled with the
    picture's mean colour and labelled 255.
    """

    size: tuple[int, int]

    def __call__(self, image: np.ndarray, label: np.ndarray, rng: np.random.Generator) -> Pair:
        H, W = label.shape[:2]
        CH, CW = self.size
        top, left = random_place(H, CH, rng), random_place(W, CW, rng)
        if H >= CH and W >= CW:
            return image[top : top + CH, left : left + CW], label[top : top + CH, left : left + CW]
        window = np.empty((CH, CW, *image.shape[2:]), np.uint8)
        window[:] = mean_colour(image)
        ids = np.full((CH, CW, *label.shape[2:]), IGNORE, np.uint8)
        from_, to = (_slices(H, CH, top), _slices(W, CW, left)), (_slices(CH, H, -top), _slices(CW, W, -left))
        window[to] = image[from_]
        ids[to] = label[from_]
        return window, ids


def random_place(length: int, wanted: int, rng: np.random.Generator) -> int:
    """Where, along one side, a window of `wanted` pixels begins on a picture of `length`.

    It lies within the picture, or, where it is larger, the picture lies within it: then the place is negative.
    """
    spare = length - wanted
    start = int(rng.integers(abs(spare) + 1))
    return start if spare >= 0 else -start


def _slices(length: int, wanted: int, start: int) -> slice:
    """The part of 0..length that a window of `wanted` pixels from `start` on covers."""
    return slice(max(0, start), min(length, start + wanted))
