"""Counting while going through: the sums that say how a split's masks and images are distributed.

A hundred thousand masks of 256 counts each would fill 200 MB. Nearly all that is asked of them can be asked of sums:
how many pixels have a value, how many masks hold it, how large those masks are together. So a split needs three rows
of 256 numbers, however many images it has; and 3x256 for the brightnesses of its images, from which mean and
deviation follow exactly.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from ..class_weights import inverse_frequency, median_frequency
from ..palette import IGNORE, Classes


@dataclass(frozen=True)
class Histogram:
    """How often each class occurs in a data set.

    Attributes:
        classes: the K classes.
        pairs: number of images.
        pixels: int64 (K,), pixels of each class over all images.
        ignored: pixels labelled 255.
        images: int64 (K,), number of images in which each class occurs.
        pixels_of_images: int64 (K,), all pixels, ignored ones included, of the images in which a class
            occurs.
        sizes: number of images of each size (H, W), the commonest first.
    """

    classes: Classes
    pairs: int
    pixels: np.ndarray
    ignored: int
    images: np.ndarray
    pixels_of_images: np.ndarray
    sizes: dict[tuple[int, int], int] = field(default_factory=dict)

    @property
    def absent(self) -> list[str]:
        """Names of the classes that occur in no image."""
        return [name for name, count in zip(self.classes.names, self.pixels, strict=True) if count == 0]

    def median_frequency_weights(self) -> np.ndarray:
        """Loss weights by the median frequency, float64 (K,); see `class_weights.median_frequency`."""
        return median_frequency(self.pixels, self.pixels_of_images)

    def inverse_frequency_weights(self) -> np.ndarray:
        """Loss weights in inverse proportion to the pixels, float64 (K,); see `class_weights.inverse_frequency`."""
        return inverse_frequency(self.pixels)


@dataclass
class Tally:
    """The running sums of a split.

    Attributes:
        masks: how many could be read.
        pixels: int64 (256,), how many pixels have each value that mask files hold.
        masks_with: int64 (256,), how many masks hold each value.
        pixels_of_masks: int64 (256,), all pixels of the masks that hold each value.
        first: int64 (256,), index of the first pair whose mask holds each value; -1 for none.
        images: how many images could be read.
        sizes: how many images have each size (H, W).
        brightness: int64 (3, 256), how many pixels have each value of red, green and blue.
        colours: of masks that are colour pictures, how many pixels have each colour.
        deep: of masks with values beyond 255, how many pixels have each.
    """

    masks: int = 0
    pixels: np.ndarray = field(default_factory=lambda: np.zeros(256, np.int64))
    masks_with: np.ndarray = field(default_factory=lambda: np.zeros(256, np.int64))
    pixels_of_masks: np.ndarray = field(default_factory=lambda: np.zeros(256, np.int64))
    first: np.ndarray = field(default_factory=lambda: np.full(256, -1))
    images: int = 0
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    brightness: np.ndarray = field(default_factory=lambda: np.zeros((3, 256), np.int64))
    colours: Counter[int] = field(default_factory=Counter)
    deep: Counter[int] = field(default_factory=Counter)

    def add_mask(self, i: int, count: np.ndarray) -> None:
        """Pair i's mask: how often each of the 256 values occurs in it, (256,)."""
        holds = count > 0
        self.masks += 1
        self.pixels += count
        self.masks_with += holds
        self.pixels_of_masks += holds * count.sum()
        self.first[holds & (self.first < 0)] = i

    def add_image(self, size: tuple[int, int], brightness: np.ndarray | None) -> None:
        """An image: its size (H, W), and how often each value occurs in red, green and blue, (3, 256)."""
        self.images += 1
        self.sizes[size] += 1
        if brightness is not None:
            self.brightness += brightness

    def add(self, other: Tally) -> None:
        """All that another split's tally holds, except `first`, which is about pairs of that split."""
        for mine, theirs in (
            (self.pixels, other.pixels),
            (self.masks_with, other.masks_with),
            (self.pixels_of_masks, other.pixels_of_masks),
            (self.brightness, other.brightness),
        ):
            mine += theirs
        self.masks += other.masks
        self.images += other.images
        self.sizes += other.sizes
        self.colours += other.colours
        self.deep += other.deep

    @property
    def values(self) -> list[int]:
        """The values that occur, in ascending order."""
        return np.flatnonzero(self.pixels).tolist()

    def mean_and_std(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of red, green and blue over all pixels, in 0..1: float64 (3,) each.

        Both are exact: E[x] and E[x²] - E[x]² from whole numbers, with nothing rounded before the last division.
        "Not a number" where there is no image.
        """
        value = np.arange(256)
        n = int(self.brightness[0].sum())
        if n == 0:
            return np.full(3, np.nan), np.full(3, np.nan)
        first = [int((row * value).sum()) for row in self.brightness]  # Σ x
        second = [int((row * value**2).sum()) for row in self.brightness]  # Σ x²
        mean = np.array([s / n for s in first]) / 255
        # n Σx² - (Σx)² in Python's integers, which have no largest: 10¹⁰ pixels square to more than 64 bits
        variance = np.array([(n * s2 - s * s) / (n * n) for s, s2 in zip(first, second, strict=True)])
        return mean, np.sqrt(variance) / 255

    def histogram(self, classes: Classes) -> Histogram:
        """The sums of the values as sums of the classes that the values stand for."""
        of_class = list(classes.file_values or range(len(classes)))  # the value of each class, (K,)
        ignored = sorted({*classes.ignored_values, IGNORE} - set(of_class))
        return Histogram(
            classes=classes,
            pairs=self.masks,
            pixels=self.pixels[of_class],
            ignored=int(self.pixels[ignored].sum()),
            images=self.masks_with[of_class],
            pixels_of_images=self.pixels_of_masks[of_class],
            sizes=dict(self.sizes.most_common()),
        )
