"""Changing an image and its mask together: what is done to every sample, without chance. Chance is in `augment/`.

Every transform takes (image uint8 (H, W, 3), label uint8 (H, W), rng) and returns the changed pair. Chance
comes only from `rng`: whoever passes an equal one gets an equal result, which is how a run can be repeated.
What moves pixels takes any number of channels, (H, W, C): depth may lie beneath the colours. A label may have
planes, too, (H, W, P), one for each of several tasks.

Brightness may be interpolated, class ids must not: halfway between "road" (3) and "tree" (5) lies no
"pavement" (4). Hence images are resized smoothly, and masks by taking the nearest pixel.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

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
class Normalise:
    """From bytes to what a network is fed: (RGB / 255 - mean) / std, channels first. The last transform.

    bgr: blue first, as in Caffe; then mean and std are in that order, too. Returns the image as float32 (C, H, W),
    where mean and std have C numbers; the label is untouched.
    """

    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    bgr: bool = False

    def __call__(self, image: np.ndarray, label: np.ndarray, rng: np.random.Generator | None = None) -> Pair:
        return normalise(image, self.mean, self.std, self.bgr), label


def resize_image(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Scale uint8 (h, w, C) to (H, W, C), bilinear; shrinking averages all pixels beneath a new one."""
    return _resized(image, size, Image.Resampling.BILINEAR)


def resize_label(label: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Scale uint8 (h, w) to (H, W), or (h, w, P) to (H, W, P); each new pixel takes the id found beneath its centre."""
    return _resized(label, size, Image.Resampling.NEAREST)


def _resized(array: np.ndarray, size: tuple[int, int], how: Image.Resampling) -> np.ndarray:
    if array.shape[:2] == tuple(size):
        return array
    H, W = size
    return by_pillow(array, lambda picture: picture.resize((W, H), how))


def by_pillow(array: np.ndarray, change: Callable[[Image.Image], Image.Image]) -> np.ndarray:
    """What `change` makes of uint8 (H, W) or (H, W, C). Pillow knows pictures of one channel and of three: where there
    are more, it is called for every three, and for each that is left over."""
    if array.ndim == 2 or array.shape[2] == 3:
        return np.asarray(change(Image.fromarray(array)))
    C = array.shape[2]
    threes = [array[:, :, i : i + 3] for i in range(0, C - 2, 3)]
    ones = [array[:, :, i] for i in range(C - C % 3, C)]
    return np.dstack([by_pillow(part, change) for part in threes + ones])  # (H', W', C)


def normalise(
    image: np.ndarray, mean: Sequence[float] = IMAGENET_MEAN, std: Sequence[float] = IMAGENET_STD, bgr: bool = False
) -> np.ndarray:
    """uint8 RGB (H, W, 3) to float32 (3, H, W): (image / 255 - mean) / std; with `bgr`, blue first.

    Of C channels likewise, if mean and std have C numbers; what `bgr` then means, `blue_first` says.
    Errors: ValueError where they have another number.
    """
    if not image.shape[2] == len(mean) == len(std):
        raise ValueError(
            f"normalise: the image has {image.shape[2]} channels, but mean {len(mean)} numbers and std {len(std)}"
        )
    if bgr:
        image = image[:, :, ::-1] if len(mean) == 3 else image[:, :, blue_first(len(mean))]
    mean, std = np.float32(mean)[:, None, None], np.float32(std)[:, None, None]  # (C, 1, 1)
    x = image.transpose(2, 0, 1).astype(np.float32, order="C")  # (C, H, W)
    x /= np.float32(255)
    x -= mean
    x /= std
    return x


def blue_first(channels: int) -> list[int]:
    """Where each of a network's channels is found in an image, if the network wants blue first: 2, 1, 0, 5, 4, 3.

    Every three channels are a picture (colour, then HHA), and Caffe reads each picture backwards. What is left over (a
    depth alone) stays.
    """
    in_threes = channels - channels % 3
    return [i - i % 3 + 2 - i % 3 if i < in_threes else i for i in range(channels)]
