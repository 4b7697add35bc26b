"""Other light: brightness, contrast, saturation and hue, all four in one 3x3 matrix.

The old television standard writes a colour (R, G, B) as a brightness Y and a colour vector (I, Q), by one matrix: grey
is Y alone, and I = Q = 0. There the four changes become plain. With factors around 1, an angle α, and m for the mean
of Y over the picture:

    brightness f   towards black, or away from it              Y → f Y,               (I, Q) → f (I, Q)
    contrast g     towards the picture's mean grey             Y → m + g (Y - m),     (I, Q) → g (I, Q)
    saturation s   towards the pixel's own grey                Y → Y,                 (I, Q) → s (I, Q)
    hue α          on around the circle of colours             Y → Y,                 (I, Q) → turned by α

    together                                 Y → f (m + g (Y - m)),     (I, Q) → f g s (I, Q) turned by α

Nothing in the last line depends on which came first (brightness takes m along: it is the mean of f Y afterwards). Other
libraries draw an order, and there it matters, above all because bytes are rounded and clipped to 0..255 after each of
the four: a highlight that was clipped does not come back when the next step darkens. Here a byte is rounded and
clipped once, at the end.
"""

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

from ..transforms import Pair
from .fill import channel_means

YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])  # (R, G, B) → (Y, I, Q)
FACTOR, HUE = 0.5, 36.0  # at strength 1: factors from 0.5 to 1.5, and hue turned by up to 36 of 360 degrees

Affine = tuple[np.ndarray, np.ndarray]  # M (3, 3) and b (3,): a colour c becomes M c + b


@dataclass(frozen=True)
class ColourJitter:
    """Change brightness, contrast, saturation and hue at random; the label stays.

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
        factors = 1 + FACTOR * self.strength * rng.uniform(-1, 1, 3)
        hue = math.radians(HUE * self.strength * rng.uniform(-1, 1))
        grey = float(YIQ[0] @ channel_means(image[:, :, :3]))
        return recolour(image, colour_change(*factors.tolist(), hue, grey)), label


def colour_change(brightness: float, contrast: float, saturation: float, hue: float, grey: float) -> Affine:
    """The four changes as one (see above). hue: in radians; grey: the picture's mean Y."""
    cos, sin = saturation * math.cos(hue), saturation * math.sin(hue)
    in_yiq = brightness * contrast * np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])
    M = np.linalg.inv(YIQ) @ in_yiq @ YIQ
    return M, np.full(3, brightness * (1 - contrast) * grey)  # a grey of Y is (Y, Y, Y)


def recolour(image: np.ndarray, affine: Affine) -> np.ndarray:
    """M c + b for every pixel of uint8 (H, W, C), C ≥ 3, rounded and clipped to 0..255; further channels stay."""
    M, b = affine
    rows = tuple(np.column_stack([M, b]).ravel().tolist())  # (12,): M's rows, each followed by its number of b
    colours = np.asarray(Image.fromarray(image[:, :, :3]).convert("RGB", rows))
    return colours if image.shape[2] == 3 else np.dstack([colours, image[:, :, 3:]])
