"""Changing an image and its mask together, so that each pixel keeps its own label.

Every transform takes (image uint8 (H, W, 3), label uint8 (H, W), rng) and returns the changed pair. Chance
comes only from `rng`: whoever passes an equal one gets an equal result, which is how a run can be repeated.

Brightness may be interpolated, class ids must not: halfway between "road" (3) and "tree" (5) lies no
"pavement" (4). Hence images are resized smoothly, and masks by taking the nearest pixel.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from .palette import IGNORE

IMAGENET_MEAN = (0.485, 0.456, 0.406)  # of RGB in 0..1, over ImageNet's training images
IMAGENET_STD = (0.229, 0.224, 0.225)
CAFFE_MEAN = (104.00699 / 255, 116.66877 / 255, 122.67892 / 255)  # of BGR: what Caffe's networks subtract …
CAFFE_STD = (1 / 255, 1 / 255, 1 / 255)  # … from bytes that they leave as they are, 0..255

Pair = tuple[np.ndarray, np.ndarray]
Transform = Callable[[np.ndarray, np.ndarray, np.random.Generator], Pair]


@dataclass(frozen=True)
class Compose:
    """One transform after the other."""

    steps: Sequence[Transform]

    def __call__(self, image: np.ndarray, label: np.ndarray, rng: np.random.Generator) -> Pair:
        for step in self.steps:
            image, label = step(image, label, rng)
        return image, label


@dataclass(frozen=True)
class Resize:
    """Scale to `size` = (H, W), without regard to the proportions.

    With `label=False` the label stays as it is: to validate, predictions are scaled up to the true mask
    instead of the mask being scaled down, which would throw away the detail that is being scored.
    """

    size: tuple[int, int]
    label: bool = True

    def __call__(self, image: np.ndarray, label: np.ndarray, rng: np.random.Generator | None = None) -> Pair:
        return resize_image(image, self.size), resize_label(label, self.size) if self.label else label


@dataclass(frozen=True)
class RandomFlip:
    """With probability `p`, mirror left and right."""

    p: float = 0.5

    def __call__(self, image: np.ndarray, label: np.ndarray, rng: np.random.Generator) -> Pair:
        if rng.random() < self.p:
            return image[:, ::-1], label[:, ::-1]
        return image, label


@dataclass(frozen=True)
class RandomScale:
    """Scale both sides by one factor, drawn evenly from `low`..`high`."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not 0 < self.low <= self.high:
            raise ValueError(f"RandomScale: need 0 < low <= high, not low {self.low} and high {self.high}")

    def __call__(self, image: np.ndarray, label: np.ndarray, rng: np.random.Generator) -> Pair:
        factor = rng.uniform(self.low, self.high)
        H, W = label.shape
        size = (max(1, round(H * factor)), max(1, round(W * factor)))
        return resize_image(image, size), resize_label(label, size)


@dataclass(frozen=True)
class RandomCrop:
    """Cut out a window of `size` = (H, W) at random.

    Where the picture is smaller it is placed at random inside the window. The rest is filled with the
    picture's mean colour, which after `Normalise` is close to 0, and labelled 255, so that nothing is
    learned from it.
    """

    size: tuple[int, int]

    def __call__(self, image: np.ndarray, label: np.ndarray, rng: np.random.Generator) -> Pair:
        H, W = label.shape
        CH, CW = self.size
        from_rows, to_rows = _place(H, CH, rng)
        from_cols, to_cols = _place(W, CW, rng)
        if H >= CH and W >= CW:
            return image[from_rows, from_cols], label[from_rows, from_cols]
        window = np.empty((CH, CW, 3), np.uint8)
        window[:] = image.mean(axis=(0, 1)).round()
        ids = np.full((CH, CW), IGNORE, np.uint8)
        window[to_rows, to_cols] = image[from_rows, from_cols]
        ids[to_rows, to_cols] = label[from_rows, from_cols]
        return window, ids


@dataclass(frozen=True)
class Normalise:
    """From bytes to what a network is fed: (RGB / 255 - mean) / std, channels first. The last transform.

    bgr: blue first, as in Caffe; then mean and std are in that order, too. Returns the image as float32 (3, H, W);
    the label is untouched.
    """

    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    bgr: bool = False

    def __call__(self, image: np.ndarray, label: np.ndarray, rng: np.random.Generator | None = None) -> Pair:
        return normalise(image, self.mean, self.std, self.bgr), label


def resize_image(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Scale uint8 (h, w, 3) to (H, W, 3), bilinear; shrinking averages all pixels beneath a new one."""
    if image.shape[:2] == tuple(size):
        return image
    H, W = size
    return np.asarray(Image.fromarray(image).resize((W, H), Image.Resampling.BILINEAR))


def resize_label(label: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Scale uint8 (h, w) to (H, W); each new pixel takes the id found beneath its centre."""
    if label.shape == tuple(size):
        return label
    H, W = size
    return np.asarray(Image.fromarray(label).resize((W, H), Image.Resampling.NEAREST))


def normalise(
    image: np.ndarray, mean: Sequence[float] = IMAGENET_MEAN, std: Sequence[float] = IMAGENET_STD, bgr: bool = False
) -> np.ndarray:
    """uint8 RGB (H, W, 3) to float32 (3, H, W): (image / 255 - mean) / std; with `bgr`, blue first."""
    if bgr:
        image = image[:, :, ::-1]
    mean, std = np.float32(mean)[:, None, None], np.float32(std)[:, None, None]  # (3, 1, 1)
    x = image.transpose(2, 0, 1).astype(np.float32, order="C")  # (3, H, W)
    x /= np.float32(255)
    x -= mean
    x /= std
    return x


def _place(length: int, wanted: int, rng: np.random.Generator) -> tuple[slice, slice]:
    """Along one side: which part of the picture is taken, and where in the window it goes."""
    spare = length - wanted
    start = int(rng.integers(abs(spare) + 1))
    if spare >= 0:
        return slice(start, start + wanted), slice(0, wanted)
    return slice(0, length), slice(start, start + length)
