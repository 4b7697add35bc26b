"""Nearer or farther, turned, and a piece of it: one window laid over the picture.

To scale, to turn and to cut out are the same thing seen from the window. Each of its pixels lies somewhere on the
picture, and that somewhere is an affine function of its place. With u, v across and down the window and x, y across
and down the picture, both counted from the corner, so that pixel i has its centre at i + 1/2:

    p = u + left - w/2,  q = v + top - h/2          from the middle of the scaled picture (h, w), which it turns about
    x = W/w · ( p cos α + q sin α + w/2)            turned, and back to the size of the picture (H, W)
    y = H/h · (-p sin α + q cos α + h/2)

So the pixels need to be looked up only once, and are softened once, not once by scaling and again by turning. The image
is interpolated there (bilinear), the mask takes the nearest pixel; the coordinates are the same for both, which is
why they cannot drift apart.

A picture that shrinks is the exception: to look up single points would skip the pixels between them. It is first
resized, which averages, and the window is laid over the result. The mask has nothing to average, and is looked up
directly.
"""

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

from ..palette import IGNORE
from ..transforms import Pair, resize_image, resize_label
from .crop import random_place
from .fill import mean_colour

Matrix = tuple[float, float, float, float, float, float]
HALF = 0.5  # a byte cuts its fraction off; half more, and it rounds instead, which makes no picture darker


@dataclass(frozen=True)
class RandomScale:
    """Scale both sides by one factor, drawn evenly from `low`..`high`."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not 0 < self.low <= self.high:
            raise ValueError(f"RandomScale: need 0 < low <= high, not low {self.low} and high {self.high}")

    def __call__(self, image: np.ndarray, label: np.ndarray, rng: np.random.Generator) -> Pair:
        size = self.draw(label.shape[:2], rng)
        return resize_image(image, size), resize_label(label, size)

    def draw(self, size: tuple[int, int], rng: np.random.Generator) -> tuple[int, int]:
        """A new size for pictures of `size`."""
        factor = rng.uniform(self.low, self.high)
        H, W = size
        return max(1, round(H * factor)), max(1, round(W * factor))


@dataclass(frozen=True)
class RandomWindow:
    """What RandomScale, RandomRotate and RandomCrop do one after the other, in a single resampling.

    degrees: the picture is turned about its middle by an angle drawn evenly from -degrees..degrees.
    scale: before that, it is scaled so; None: not at all.
    size: (H, W) that is cut out of the result; None: all of it, at the size it has.
    """

    degrees: float = 0.0
    scale: RandomScale | None = None
    size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.degrees <= 180:
            raise ValueError(f"RandomWindow: degrees must lie within 0..180, not {self.degrees}")

    def __call__(self, image: np.ndarray, label: np.ndarray, rng: np.random.Generator) -> Pair:
        if self.degrees == 0 and self.scale is None and self.size is None:
            return image, label
        h, w = scaled = label.shape[:2] if self.scale is None else self.scale.draw(label.shape[:2], rng)
        angle = math.radians(rng.uniform(-self.degrees, self.degrees))
        CH, CW = size = self.size or scaled
        corner = random_place(h, CH, rng), random_place(w, CW, rng)
        if h < image.shape[0] or w < image.shape[1]:
            image = resize_image(image, scaled)
        return (
            _interpolated(image, window_on(image.shape[:2], scaled, angle, corner), size),
            _nearest(label, window_on(label.shape[:2], scaled, angle, corner), size),
        )


@dataclass(frozen=True)
class RandomRotate:
    """Turn about the middle by an angle drawn evenly from -degrees..degrees; the size stays.

    A few degrees are a camera held askew. The corners that turn in from outside have the mean colour and the label 255.
    """

    degrees: float

    def __call__(self, image: np.ndarray, label: np.ndarray, rng: np.random.Generator) -> Pair:
        return RandomWindow(self.degrees)(image, label, rng)


def window_on(size: tuple[int, int], scaled: tuple[int, int], angle: float, corner: tuple[int, int]) -> Matrix:
    """Where the pixels of a window lie on a picture: (a, b, c, d, e, f) for x = a u + b v + c, y = d u + e v + f.

    size: (H, W) of the picture. scaled: (h, w) that it counts as. angle: in radians; a positive one turns what the
    window shows clockwise. corner: the window's first row and column on the scaled picture, before it turns.
    """
    (H, W), (h, w), (top, left) = size, scaled, corner
    across, down, cos, sin = W / w, H / h, math.cos(angle), math.sin(angle)
    p, q = left - w / 2, top - h / 2  # of the window's corner
    return (
        *(across * cos, across * sin, across * (p * cos + q * sin + w / 2)),
        *(-down * sin, down * cos, down * (-p * sin + q * cos + h / 2)),
    )


def _interpolated(image: np.ndarray, matrix: Matrix, size: tuple[int, int]) -> np.ndarray:
    """The window's pixels of uint8 (h, w, C), bilinear: (H, W, C); outside, the mean colour."""
    (H, W), C = size, image.shape[2]
    pixels = np.empty((H, W, C), np.uint8)
    for c, outside in enumerate(mean_colour(image).tolist()):
        channel = image[:, :, c].astype(np.float32) + HALF  # (h, w)
        found = Image.fromarray(channel).transform(
            (W, H), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR, fillcolor=outside + HALF
        )
        pixels[:, :, c] = np.asarray(found)
    return pixels


def _nearest(label: np.ndarray, matrix: Matrix, size: tuple[int, int]) -> np.ndarray:
    """The ids of uint8 (h, w) nearest to the window's pixels: (H, W), also (h, w, P) → (H, W, P); outside, 255."""
    H, W = size
    if label.ndim == 3:
        return np.dstack([_nearest(label[:, :, plane], matrix, size) for plane in range(label.shape[2])])
    how = Image.Transform.AFFINE, matrix, Image.Resampling.NEAREST
    return np.asarray(Image.fromarray(label).transform((W, H), *how, fillcolor=IGNORE))
