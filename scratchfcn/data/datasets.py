"""What a data set is here: something with a length that can read its i-th image and mask. Nothing more.

Whoever trains sees only that, so generated pictures, a folder of photographs and a published data set are
the same thing to it. Files come in pairs, and `match_pairs` is where the pairs are made and every loose end
is named.
"""

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np

from .errors import SHOWN, DataError
from .images import list_images, read_image, read_label
from .palette import Classes


class Dataset:
    """The three things every data set can do. Derive from it and define them.

    Most have a photograph and a mask for each image. Some have more: HHA beneath the photograph makes six channels, and
    two tasks make a label of two planes. Those also say what they are made of, see `views`.

    Attributes:
        classes: names and colours of the K classes; of several tasks, those of the first.
        root: the folder it lives in, None if it is not made of files.
        channels: C, how many numbers an image has for each pixel. Every three of them are a picture.
        tasks: by name, the classes of each task, in the order of the label's planes; empty where there is one task.
        mean, std: (C,), of the channels in 0..1: what networks subtract and divide by; None for ImageNet's.
        caffe_mean: (C,), in 0..255 and with the third channel of each picture first (blue): what the paper's networks
            subtract, in place of VOC's; None for that.
    """

    classes: Classes
    root: Path | None = None
    channels: int = 3
    tasks: Mapping[str, Classes] = MappingProxyType({})
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    caffe_mean: tuple[float, ...] | None = None

    def __len__(self) -> int:
        raise TypeError(f"{type(self).__name__} must define __len__, the number of images")

    def name(self, i: int) -> str:
        """A short name of image i, without folder and suffix: unique in the data set, fit for a file name."""
        raise TypeError(f"{type(self).__name__} must define name(i)")

    def read(self, i: int) -> tuple[np.ndarray, np.ndarray]:
        """Image and mask i: uint8 (H, W, C), and uint8 (H, W) with values 0..K-1, or 255 where ignored; of T tasks,
        (H, W, T)."""
        raise TypeError(f"{type(self).__name__} must define read(i)")

    def files(self, i: int) -> tuple[Path, Path] | None:
        """The image file and the mask file of image i; None if it is not made of files."""
        return None

    def views(self) -> dict[str, "Dataset"]:
        """The data sets of one picture and one mask that this one is made of, by name, with the same images in the same
        order: what is shown, counted and checked. The first is the main one; those of tasks are called after these."""
        if self.channels != 3 or self.tasks:
            raise TypeError(
                f"{type(self).__name__} must define views(): its parts, of three channels and one task each"
            )
        return {"": self}


def main_view(dataset: Dataset, task: str | None = None) -> Dataset:
    """A data set as one of pictures and masks: its own first part, or that of a task. Most are that already."""
    views = dataset.views()
    return views.get(task or "", next(iter(views.values())))


class FilePairs(Dataset):
    """Images and masks in two folders, paired by their stems: `images/a.jpg` belongs to `masks/a.png`.

    Args:
        root: the folder that messages give paths relative to.
        images: folder of images.
        masks: folder of masks.
        classes: what the masks' values mean; see `Classes.from_file_values`.
        strict: refuse images without a mask and masks without an image; otherwise they are left out, and `loose`
            says which.

    Attributes:
        pairs: the image file and the mask file of each image, in order.
        loose: what was left out, a problem each.

    Raises:
        DataError: a folder is missing or empty; or, if strict, an image or a mask is left over.
    """

    def __init__(self, root: str | Path, images: Path, masks: Path, classes: Classes, strict: bool = True) -> None:
        self.root = Path(root)
        self.classes = classes
        self.pairs, self.loose = pair_up(list_images(images), list_images(masks))
        if strict and self.loose:
            raise DataError(self.loose, PAIRING)

    def __len__(self) -> int:
        return len(self.pairs)

    def name(self, i: int) -> str:
        return self.pairs[i][0].stem

    def files(self, i: int) -> tuple[Path, Path]:
        return self.pairs[i]

    def read_values(self, path: Path) -> np.ndarray:
        """What a mask file holds, uint8 (H, W), before it is understood. For files that are no pictures, override."""
        return read_label(path)

    def read(self, i: int) -> tuple[np.ndarray, np.ndarray]:
        """Image and mask i, see `Dataset.read`. Raises DataError if a file is bad or their sizes differ."""
        image_path, mask_path = self.pairs[i]
        image, values = read_image(image_path), self.read_values(mask_path)
        if image.shape[:2] != values.shape:
            raise DataError(
                f"{image_path.parent.name}/{self.name(i)}: image {as_size(image)} but mask {as_size(values)}"
            )
        try:
            return image, self.classes.from_file_values(values)
        except DataError as error:
            raise DataError([f"{_short(mask_path)}: {problem}" for problem in error.problems], error.advice) from None


PAIRING = "give each mask the name of its image, apart from the suffix"


def as_size(array: np.ndarray) -> str:
    """`500×375`: width × height, the way image viewers say it."""
    H, W = array.shape[:2]
    return f"{W}×{H}"


def as_set(values: Sequence[int] | np.ndarray) -> str:
    """`{0, 1, 255}`; of more than ten, some of the first and the last two."""
    shown = [str(int(value)) for value in values]
    return "{" + ", ".join(shown if len(shown) <= 10 else [*shown[:8], "…", *shown[-2:]]) + "}"


def match_pairs(images: Sequence[Path], masks: Sequence[Path]) -> list[tuple[Path, Path]]:
    """Pair images with masks of the same stem, in the order of the images.

    Raises:
        DataError: names every image without a mask, every mask without an image, and stems used twice.
    """
    pairs, loose = pair_up(images, masks)
    if loose:
        raise DataError(loose, PAIRING)
    return pairs


def pair_up(images: Sequence[Path], masks: Sequence[Path]) -> tuple[list[tuple[Path, Path]], list[str]]:
    """The pairs of the same stem, in the order of the images; and every loose end, in words."""
    problems = _used_twice(images, "image") + _used_twice(masks, "mask")
    mask_of = {path.stem: path for path in masks}
    image_of = {path.stem: path for path in images}
    loose_images = [path for path in images if path.stem not in mask_of]
    loose_masks = [path for path in masks if path.stem not in image_of]
    problems += _left_over(loose_images, "image", "mask", loose_masks or masks)
    problems += _left_over(loose_masks, "mask", "image", loose_images or images)
    return [(path, mask_of[stem]) for stem, path in image_of.items() if stem in mask_of], problems


def _used_twice(paths: Sequence[Path], kind: str) -> list[str]:
    first: dict[str, Path] = {}
    clashes = [(first.setdefault(path.stem, path), path) for path in paths]
    return [f"{kind}s {_short(a)} and {b.name} share the name '{a.stem}'" for a, b in clashes if a != b]


def _left_over(paths: Sequence[Path], kind: str, other: str, candidates: Sequence[Path]) -> list[str]:
    problems = [f"{kind} {_short(path)} has no {other}" for path in paths]
    by_stem = {candidate.stem: candidate.name for candidate in candidates}
    for i, path in enumerate(paths[:SHOWN]):  # the search is slow, and hints beyond these are never shown
        near = difflib.get_close_matches(path.stem, by_stem, 1)
        problems[i] += f" (nearest name: {by_stem[near[0]]})" if near else ""
    return problems


def _short(path: Path) -> str:
    """`train/a.jpg`: with the folder, because the problems of several splits may stand in one list."""
    return f"{path.parent.name}/{path.name}"
