"""What training gets to see: a row for each image, as it is, and then as epoch after epoch changes it.

The masks lie over the photographs. What has several pictures (colour and HHA) or several masks has a row for each, so
that one sees whether they moved alike. Where nothing is learned (void, what came in from outside, what is hidden) there
are stripes, because the photograph alone would look like a class without a colour.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image

from ..data import IGNORE, Classes, Dataset, mosaic, overlay, resize_image
from ..data.palette import IGNORE_COLOUR
from ..training import Config
from ..training.augmentation import resized, training_sample

WIDTH = 1920  # pixels of the whole picture, about
STRIPES = 24  # across the shorter side
DARK = (60, 60, 60)
OPACITY = 0.4  # of the masks: what is done to the colours beneath is to be seen, too


def augmentation_preview(
    config: Config, dataset: Dataset, numbers: Sequence[int], epoch: int, variants: int
) -> Image.Image:
    """A mosaic: for each of the images `numbers` the original, then what `variants` epochs from `epoch` on, counted
    from 0, train on."""
    small = resized(config, dataset)
    width = WIDTH // (variants + 1)
    rows = []
    for i in numbers:
        pairs = [dataset.read(i), *(training_sample(config, small, i, epoch + v) for v in range(variants))]
        for plane, classes in enumerate(dataset.tasks.values() or [dataset.classes]):
            for channel in range(0, dataset.channels, 3):
                parts = [part(image, label, channel, plane) for image, label in pairs]
                rows.append([tile(image, label, classes, width) for image, label in parts])
    captions = ["as it is", *(f"epoch {epoch + v + 1}" for v in range(variants))]
    return mosaic(rows, captions, legend=dataset.classes if not dataset.tasks else all_classes(dataset.tasks))


def part(image: np.ndarray, label: np.ndarray, channel: int, plane: int) -> tuple[np.ndarray, np.ndarray]:
    """The picture that begins at a channel of uint8 (H, W, C), and one plane of (H, W) or (H, W, T)."""
    return image[:, :, channel : channel + 3], label if label.ndim == 2 else label[:, :, plane]


def all_classes(tasks: Mapping[str, Classes]) -> Classes:
    """The classes of all tasks for one legend; those after the first task's say whose they are."""
    names = [
        name if t == 0 else f"{task}: {name}"
        for t, (task, classes) in enumerate(tasks.items())
        for name in classes.names
    ]
    return Classes(tuple(names), np.concatenate([classes.colours for classes in tasks.values()]))


def tile(image: np.ndarray, label: np.ndarray, classes: Classes, width: int) -> np.ndarray:
    """One image with its mask over it, stripes where the mask says 255, at most `width` wide: uint8 (h, w, 3)."""
    picture = striped(overlay(image, label, classes, OPACITY), label == IGNORE)
    H, W = label.shape
    return resize_image(picture, (max(1, round(H * width / W)), width)) if width < W else picture


def striped(picture: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Slanting stripes where (H, W) is True, over uint8 (H, W, 3): one in the legend's colour of ignored pixels, one
    dark, and one that lets the picture through."""
    H, W = where.shape
    thickness = max(1, min(H, W) // STRIPES)
    rows, cols = np.indices((H, W))
    stripe = (rows + cols) // thickness % 3  # (H, W)
    picture = picture.copy()
    picture[where & (stripe == 0)] = IGNORE_COLOUR
    picture[where & (stripe == 1)] = DARK
    return picture
