"""Other light: brightness, contrast, saturation and hue, all of them one 3x3 matrix.

Each of the four moves a colour c = (R, G, B) along a straight line, so each is an affine map c → M c + b. With
grey(c) = 0.299 R + 0.587 G + 0.114 B, the brightness that the eye sees (ITU-R BT.601), and a factor f around 1:

    brightness   c → f c                                        towards black, or away from it
    contrast     c → m + f (c - m)      m = grey(mean colour)   towards the picture's mean grey
    saturation   c → grey(c) + f (c - grey(c))                  towards the pixel's own grey
    hue          turns c by an angle about the axis of greys    in YIQ, where grey is one axis: it stays as it is

One after the other they are still one affine map: the matrices are multiplied, 3x3, and the pixels are touched once.
So a byte is rounded once and clipped to 0..255 once, at the end, and four changes that cancel leave every pixel as it
was; applied to bytes one by one they would lose half a level, or a highlight, each time.
"""

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

from ..transforms import Pair
from .fill import channel_means

GREY = np.array([0.299, 0.587, 0.114])  # what red, green and blue add to the brightness the eye sees
YIQ = np.array([GREY, [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])  # brightness, and two axes of colour
FACTOR, HUE = 0.5, 36.0  # at strength 1: factors from 0.5 to 1.5, and hue turned by up to 36 of 360 degrees

Affine = tuple[np.ndarray, np.ndarray]  # M (3, 3) and b (3,)


@dataclass(frozen=True)
class ColourJitter:
    """Change brightness, contrast, saturation and hue at random, in random order; the label stays.

    strength: within 0..1. The factors are drawn evenly from 1 ± 0.5 strength, the angle from ± 36° strength.
    Of an image (H, W, C) the first three channels are colours; what follows (depth) is left as it is.
    """

    strength: float

    def __post_init__(self) -> None:
        if not 0 <= self.strength <= 1:
            raise ValueError(f"ColourJitter: strength must lie within 0..1, not {self.strength}")

    def __call__(self, image: np.ndarray, label: np.ndarray, rng: np.random.Generator) -> Pair:
        if self.strength == 0:
            return image, label
        brighter, more_contrast, more_colour = 1 + FACTOR * self.strength * rng.uniform(-1, 1, 3)
        angle = math.radians(HUE * self.strength * rng.uniform(-1, 1))
        mean = channel_means(image[:, :, :3])  # (3,)
        M, b = np.eye(3), np.zeros(3)
        for change in rng.permutation(4):
            if change == 0:
                step = brightness(brighter)
            elif change == 1:
                step = contrast(more_contrast, GREY @ (M @ mean + b))  # the mean colour, as it is by now
            elif change == 2:
                step = saturation(more_colour)
            else:
                step = hue(angle)
            M, b = step[0] @ M, step[0] @ b + step[1]
        return recolour(image, (M, b)), label


def brightness(factor: float) -> Affine:
    """c → f c."""
    return factor * np.eye(3), np.zeros(3)


def contrast(factor: float, grey: float) -> Affine:
    """c → grey + f (c - grey)."""
    return factor * np.eye(3), np.full(3, (1 - factor) * grey)


def saturation(factor: float) -> Affine:
    """c → grey(c) + f (c - grey(c))."""
    return factor * np.eye(3) + (1 - factor) * np.tile(GREY, (3, 1)), np.zeros(3)


def hue(angle: float) -> Affine:
    """Turn by `angle`, in radians, about the axis of greys."""
    cos, sin = math.cos(angle), math.sin(angle)
    turn = np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])
    return np.linalg.inv(YIQ) @ turn @ YIQ, np.zeros(3)


def recolour(image: np.ndarray, affine: Affine) -> np.ndarray:
    """M c + b for every pixel of uint8 (H, W, C), C ≥ 3, rounded and clipped to 0..255; further channels stay."""
    M, b = affine
    rows = tuple(np.column_stack([M, b]).ravel().tolist())  # (12,): M's rows, each followed by its number of b
    colours = np.asarray(Image.fromarray(image[:, :, :3]).convert("RGB", rows))
    return colours if image.shape[2] == 3 else np.dstack([colours, image[:, :, 3:]])
