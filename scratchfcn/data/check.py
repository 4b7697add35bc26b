"""Looking at every pair before training, because a wrong mask value found in epoch 1 has cost an evening.

Masks are where data goes wrong: 255 for "object" although 255 means "ignored", ids that count from 1, a
void value nobody declared, a mask of another size. All of it can be seen without training a single step.
The same pass counts the pixels of each class, which says how unequal the classes are and what weights would
even them out.
"""

import shlex
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from .background import in_background
from .datasets import Dataset, as_set
from .errors import DataError
from .palette import IGNORE, Classes
from .sets import open_dataset, split_names


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
            different size, mask values that are neither a class nor 255, and, where there are two classes,
            masks that hold nothing but 0 and 255.
    """
    counts, problems = [], []  # per readable mask, how often each of the 256 values occurs; what is wrong
    sizes: Counter[tuple[int, int]] = Counter()
    for i, found in enumerate(in_background(_Inspect(dataset), range(len(dataset)), 2, ahead=8)):
        if found.count is not None:
            counts.append(found.count)
            sizes[found.size] += 1
        problems += found.problems
        if progress is not None:
            progress(i + 1, len(dataset))
    table = np.array(counts, np.int64).reshape(-1, 256)  # (readable pairs, 256)
    binary = _binary_masks(dataset, table)
    if problems or binary:
        raise DataError(problems + binary, _advice(dataset, table, bool(binary)))
    return _histogram(dataset, table, dict(sizes.most_common()))


def check_splits(
    root: str | Path,
    num_classes: int | None = None,
    progress: Callable[[str, int, int], None] | None = None,
    splits: Sequence[str] | None = None,
    name: str | None = None,
    ignore: Sequence[int] = (),
) -> dict[str, tuple[Dataset, Histogram]]:
    """Open and check several splits of a data set, and tell the problems of all of them at once.

    Args:
        root: the data set's folder.
        num_classes: see `open_dataset`.
        progress: called with (split, pairs done, pairs in all) after each pair.
        splits: which ones, for example ("train", "val"); None for all that there are.
        name, ignore: see `open_dataset`.

    Returns:
        for each split, in the order asked for, the opened data set and what `check_pairs` found in it.

    Raises:
        DataError: what `open_dataset` and `check_pairs` raise for any of the splits. Of a split that cannot be
            opened the pairs are not looked into.
    """
    checked, problems, advice = {}, [], []
    for split in split_names(root, name) if splits is None else splits:
        try:
            dataset = open_dataset(root, split, num_classes, name, ignore)
            report = None if progress is None else partial(progress, split)
            checked[split] = dataset, check_pairs(dataset, report)
        except DataError as error:
            problems += error.problems
            advice += error.advice
    if problems:  # those of the whole folder have come up once per split
        raise DataError(dict.fromkeys(problems), dict.fromkeys(advice))
    return checked


@dataclass(frozen=True)
class _Found:
    """What one pair holds: pixels of each value (256,), or None if it cannot be read; its size; what is wrong."""

    count: np.ndarray | None
    size: tuple[int, int]
    problems: list[str]


class _Inspect:
    """What the threads do to pair i: count the mask's values, or tell what is wrong."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset

    def __call__(self, i: int) -> _Found:
        try:
            _, label = self.dataset.read(i)
        except DataError as error:
            return _Found(None, (0, 0), error.problems)
        count = np.bincount(label.ravel(), minlength=256)  # (256,)
        allowed = [*range(len(self.dataset.classes)), IGNORE]
        bad = np.delete(count, allowed).any()
        problems = [_bad_value(self.dataset, i, label, np.isin(label, allowed))] if bad else []
        return _Found(count, label.shape, problems)


def _bad_value(dataset: Dataset, i: int, label: np.ndarray, good: np.ndarray) -> str:
    row, col = np.argwhere(~good)[0]
    return _value_line(dataset, i, label, row, col)


def _value_line(dataset: Dataset, i: int, label: np.ndarray, row: int, col: int) -> str:
    value = label[row, col]
    share = _percent((label == value).mean())
    return (
        f"{_mask_name(dataset, i)}: value {value} at (row {row}, col {col}), {share} of pixels; "
        f"allowed 0..{len(dataset.classes) - 1}, and 255 for ignored\n"
        f"  unique values {as_set(np.unique(label))}"
    )


def _binary_masks(dataset: Dataset, table: np.ndarray) -> list[str]:
    """255 is allowed, as 'ignored'. But if 0 and 255 are all there is, 255 was meant to be the object.

    With more than two classes it is not judged: a few validation images may well show background alone.
    """
    values = np.flatnonzero(table.sum(axis=0)).tolist()
    if len(dataset.classes) > 2 or values != [0, IGNORE]:
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
        return [f"scratchfcn check-data --data {shlex.quote(str(root))} --fix binary   {keeps}"]
    used = np.flatnonzero(table.sum(axis=0))
    bad = [int(value) for value in used if K <= value < IGNORE]
    if not bad:
        return []
    if bad == [K] and 0 not in used:
        return [f"the masks seem to count from 1 to {K}; subtract 1, so that the first class is 0"]
    return [
        f"if {as_set(bad)} are classes, ask for {bad[-1] + 1} of them: --num-classes {bad[-1] + 1}",
        f"if they mean 'not labelled', write ignore = {bad[:10]} into classes.toml",
    ]


def _histogram(dataset: Dataset, table: np.ndarray, sizes: dict[tuple[int, int], int]) -> Histogram:
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
        sizes=sizes,
    )


def _mask_name(dataset: Dataset, i: int) -> str:
    files = dataset.files(i)
    if files is None:
        return dataset.name(i)
    mask: Path = files[1]
    if dataset.root is not None and mask.is_relative_to(dataset.root):
        mask = mask.relative_to(dataset.root)
    return mask.as_posix()


def _percent(share: float) -> str:
    """100%, 31%, 0.024%: two digits, and never as 1e+02."""
    return np.format_float_positional(100 * share, precision=2, fractional=False, trim="-") + "%"


def _thousands(number: int) -> str:
    return f"{number:,}".replace(",", " ")  # 2 452: a thin gap reads the same in every country
