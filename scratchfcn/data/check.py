"""Looking at every pair before training, because a wrong mask value found in epoch 1 has cost an evening.

Masks are where data goes wrong: 255 for "object" although 255 means "ignored", ids that count from 1, a
void value nobody declared, a mask of another size. All of it can be seen without training a single step.
The same pass counts the pixels of each class, which says how unequal the classes are and what weights would
even them out.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .background import in_background
from .datasets import Dataset
from .errors import DataError
from .palette import IGNORE, Classes


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
    """

    classes: Classes
    pairs: int
    pixels: np.ndarray
    ignored: int
    images: np.ndarray
    pixels_of_images: np.ndarray

    @property
    def absent(self) -> list[str]:
        """Names of the classes that occur in no image."""
        return [name for name, count in zip(self.classes.names, self.pixels, strict=True) if count == 0]

    def median_frequency_weights(self) -> np.ndarray:
        """Loss weights that make rare classes count as much as frequent ones.

        freq(c) = pixels of c / all pixels of the images that contain c;  weight(c) = median(freq) / freq(c).
        Taking only images that contain c keeps a class from looking rare because few photographs show it.
        The median is over the classes that occur; those that do not get weight 0. (Eigen and Fergus 2015.)

        Returns:
            float64 (K,).
        """
        occurs = self.pixels > 0
        freq = self.pixels[occurs] / self.pixels_of_images[occurs]
        weights = np.zeros(len(self.classes))
        weights[occurs] = np.median(freq) / freq
        return weights


def check_pairs(dataset: Dataset, progress: Callable[[int, int], None] | None = None) -> Histogram:
    """Read every image and every mask, completely, and count the classes.

    Args:
        dataset: any data set.
        progress: called with (pairs done, pairs in all) after each pair.

    Raises:
        DataError: every problem of every pair: files missing, damaged or cut short, image and mask of
            different size, mask values that are neither a class nor 255, and masks that hold nothing but 0
            and 255.
    """
    counts, problems = [], []  # per readable mask, how often each of the 256 values occurs; what is wrong
    for i, (count, found) in enumerate(in_background(_Inspect(dataset), range(len(dataset)), 2, ahead=8)):
        counts += [] if count is None else [count]
        problems += found
        if progress is not None:
            progress(i + 1, len(dataset))
    table = np.array(counts, np.int64).reshape(-1, 256)  # (readable pairs, 256)
    binary = _binary_masks(dataset, table)
    if problems or binary:
        raise DataError(problems + binary, _advice(dataset, table, bool(binary)))
    return _histogram(dataset, table)


class _Inspect:
    """What the threads do to pair i: count the mask's values, or tell what is wrong."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset

    def __call__(self, i: int) -> tuple[np.ndarray | None, list[str]]:
        try:
            _, label = self.dataset.read(i)
        except DataError as error:
            return None, error.problems
        count = np.bincount(label.ravel(), minlength=256)  # (256,)
        allowed = [*range(len(self.dataset.classes)), IGNORE]
        if np.delete(count, allowed).any():
            return count, [_bad_value(self.dataset, i, label, np.isin(label, allowed))]
        return count, []


def _bad_value(dataset: Dataset, i: int, label: np.ndarray, good: np.ndarray) -> str:
    row, col = np.argwhere(~good)[0]
    return _value_line(dataset, i, label, row, col)


def _value_line(dataset: Dataset, i: int, label: np.ndarray, row: int, col: int) -> str:
    value = label[row, col]
    share = 100 * (label == value).mean()
    return (
        f"{_mask_name(dataset, i)}: value {value} at (row {row}, col {col}), {share:.2g}% of pixels; "
        f"allowed 0..{len(dataset.classes) - 1}, and 255 for ignored\n"
        f"  unique values {_as_set(np.unique(label))}"
    )


def _binary_masks(dataset: Dataset, table: np.ndarray) -> list[str]:
    """255 is allowed, as 'ignored'. But if 0 and 255 are all there is, 255 was meant to be the object."""
    if not len(table) or table[:, 1:IGNORE].any() or not table[:, IGNORE].any():
        return []
    with_object = int((table[:, IGNORE] > 0).sum())
    for i in range(len(dataset)):
        try:
            _, label = dataset.read(i)
        except DataError:
            continue  # reported already
        if (label == IGNORE).any():
            row, col = np.argwhere(label == IGNORE)[0]
            counted = f"{_thousands(with_object)} of {_thousands(len(table))} masks"
            diagnosis = f": this looks like a BINARY mask saved as 0/255 ({counted} hold a 255, none a 1)"
            return [_value_line(dataset, i, label, row, col) + diagnosis]
    return []


def _advice(dataset: Dataset, table: np.ndarray, binary: bool) -> list[str]:
    """Guess the cause from all masks together; a single mask cannot tell a void value from a miscount."""
    K = len(dataset.classes)
    if binary:
        root = dataset.root
        if root is None or not (root / "masks").is_dir():
            return ["write 1 instead of 255 into the masks"]
        keeps = f"(writes {root}/masks_fixed; originals are kept)"
        return [f"scratchfcn check-data --data {root} --fix binary   {keeps}"]
    used = np.flatnonzero(table.sum(axis=0))
    bad = [int(value) for value in used if K <= value < IGNORE]
    if not bad:
        return []
    if bad == [K] and 0 not in used:
        return [f"the masks seem to count from 1 to {K}; subtract 1, so that the first class is 0"]
    return [
        f"if {_as_set(bad)} are classes, ask for {bad[-1] + 1} of them: --num-classes {bad[-1] + 1}",
        f"if they mean 'not labelled', write ignore = {bad[:10]} into classes.toml",
    ]


def _histogram(dataset: Dataset, table: np.ndarray) -> Histogram:
    of_class = table[:, : len(dataset.classes)]  # (pairs, K)
    occurs = of_class > 0  # (pairs, K)
    size = table.sum(axis=1, keepdims=True)  # (pairs, 1): pixels of each image
    return Histogram(
        classes=dataset.classes,
        pairs=len(table),
        pixels=of_class.sum(axis=0),
        ignored=int(table[:, IGNORE].sum()),
        images=occurs.sum(axis=0),
        pixels_of_images=(occurs * size).sum(axis=0),
    )


def _mask_name(dataset: Dataset, i: int) -> str:
    files = dataset.files(i)
    if files is None:
        return dataset.name(i)
    mask: Path = files[1]
    if dataset.root is not None and mask.is_relative_to(dataset.root):
        mask = mask.relative_to(dataset.root)
    return mask.as_posix()


def _as_set(values: np.ndarray | list[int]) -> str:
    shown = ", ".join(str(int(value)) for value in values[:10])
    return "{" + shown + (", …" if len(values) > 10 else "") + "}"


def _thousands(number: int) -> str:
    return f"{number:,}".replace(",", " ")  # 2 452: a thin gap reads the same in every country
