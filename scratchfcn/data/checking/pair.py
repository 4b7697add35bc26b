"""One pair, looked at completely: everything that is wrong with it, and everything that is counted.

The image and the mask are read separately, so that a damaged photograph does not hide a bad mask. A thread does this
for one pair; what it hands over is small, whatever the size of the picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from PIL import Image

from ..datasets import Dataset, FilePairs, as_set, main_view
from ..errors import DataError
from ..images import _DAMAGE as DAMAGE
from ..images import SUFFIXES, open_rgb, read_label
from ..palette import IGNORE, Classes
from .bad_files import Wrong, why_no_mask, why_unreadable
from .duplicates import Fingerprint
from .palettes import in_another_order
from .problems import Problem

ORIENTATION = 0x0112  # the EXIF tag by which cameras say which way up a photograph is; 5..8 are turns by 90°


@dataclass
class Found:
    """What one pair holds.

    Attributes:
        size: of the image, (H, W); None if it cannot be read.
        brightness: int64 (3, 256), how many pixels have each value of red, green and blue; None if nobody asked.
        values: int64 (256,), how many pixels of the mask have each value, as the file holds it; None if it cannot be
            read.
        colours, deep: what a mask holds that is a colour picture, or has values beyond 255; see `Wrong`.
        fingerprint: by which duplicates are found; None if nobody asked.
        problems: everything that is wrong.
    """

    size: tuple[int, int] | None = None
    brightness: np.ndarray | None = None
    values: np.ndarray | None = None
    colours: dict[int, int] = field(default_factory=dict)
    deep: dict[int, int] = field(default_factory=dict)
    fingerprint: Fingerprint | None = None
    problems: list[Problem] = field(default_factory=list)


class Look:
    """What the threads do to pair i of a split: `Look(dataset, "train")(i)`.

    Of a data set of several pictures or tasks the main view is counted, and all of them are looked at for mistakes.

    Args:
        dataset: any data set.
        split: the name of the split, for problems.
        brightness: count the brightnesses of the image.
        fingerprints: make a fingerprint of the image.
        only_masks: do not open the images.
        coloured: the classes, if it is known which colours they have; then masks whose palette has these colours in
            another order are found.
    """

    def __init__(
        self,
        dataset: Dataset,
        split: str = "",
        brightness: bool = False,
        fingerprints: bool = False,
        only_masks: bool = False,
        coloured: Classes | None = None,
    ) -> None:
        self.dataset, self.split = main_view(dataset), split
        self.other_views = [Look(view, split, only_masks=only_masks) for view in list(dataset.views().values())[1:]]
        self.brightness, self.fingerprints, self.only_masks = brightness, fingerprints, only_masks
        self.coloured = coloured
        self.known = known_values(self.dataset.classes)  # (256,)

    def __call__(self, i: int) -> Found:
        """Everything about pair i."""
        found = self._look_at(i)
        for look in self.other_views:
            said = {problem.text for problem in found.problems}  # of a file that two views share
            found.problems += [problem for problem in look(i).problems if problem.text not in said]
        return found

    def _look_at(self, i: int) -> Found:
        found = Found()
        picture, values = self._read(i, found)
        if values is not None:
            found.values = count_values(values)  # (256,)
            if found.values[~self.known].any():
                found.problems.append(self._problem("values", i, _bad_value(self.dataset, i, values, self.known)))
            found.problems += self._palette_order(i, found.values)
        if picture is not None:
            found.size = (picture.height, picture.width)
            if values is not None and found.size != values.shape:
                found.problems.append(self._sizes_differ(i, found.size, values.shape))
            if self.brightness:
                found.brightness = count_brightness(picture)
            if self.fingerprints:
                found.fingerprint = Fingerprint.of(picture, values)
        return found

    def _read(self, i: int, found: Found) -> tuple[Image.Image | None, np.ndarray | None]:
        """The image, RGB, and the values in the mask's file (H, W); None for what cannot be read."""
        if not isinstance(self.dataset, FilePairs) or type(self.dataset).read is not FilePairs.read:
            return self._read_together(i, found)
        image_path, mask_path = self.dataset.files(i)
        picture = values = None
        if not self.only_masks:
            try:
                picture = open_rgb(image_path)
            except DataError as error:
                found.problems.append(self._unreadable(i, image_path, why_unreadable(image_path), error))
        try:
            values = self.dataset.read_values(mask_path)
        except DataError as error:
            wrong = self._why_no_mask(mask_path, error)
            found.colours, found.deep = wrong.colours, wrong.values
            found.problems.append(self._unreadable(i, mask_path, wrong, error))
        return picture, values

    def _why_no_mask(self, path: Path, error: DataError) -> Wrong:
        wrong = why_no_mask(path)
        if wrong.kind in ("colours", "deep") and not _refused_as_ids(path, error):
            return Wrong("refused", "")  # masks are colours, or no pictures, by design: the set's own words say it
        if wrong.cause == "no picture" and path.suffix.lower() not in SUFFIXES:
            return Wrong("refused", "")
        return wrong

    def _palette_order(self, i: int, count: np.ndarray) -> list[Problem]:
        files = self.dataset.files(i)
        if self.coloured is None or files is None or files[1].suffix.lower() != ".png":
            return []
        with Image.open(files[1]) as picture:
            entries = picture.getpalette("RGB") if picture.mode == "P" else None
        used = np.flatnonzero(count)
        if entries is None or not in_another_order(np.array(entries).reshape(-1, 3), used, self.coloured):
            return []
        text = f"{mask_name(self.dataset, i)}: its palette has the colours of the classes, but not at their ids"
        return [self._problem("order", i, text)]

    def _read_together(self, i: int, found: Found) -> tuple[Image.Image | None, np.ndarray | None]:
        """For data sets that do not say how to read one without the other."""
        try:
            image, values = self.dataset.read(i)
        except DataError as error:
            files = self.dataset.files(i) or ()
            found.problems += [Problem("unreadable", text, self.split, i, "", files) for text in error.problems]
            return None, None
        return Image.fromarray(image), values

    def _problem(self, kind: str, i: int, text: str, cause: str = "") -> Problem:
        return Problem(kind, text, self.split, i, cause, self.dataset.files(i) or ())

    def _unreadable(self, i: int, path: Path, wrong: Wrong, error: DataError) -> Problem:
        text = f"{path}: {wrong.says}" if wrong.says else "; ".join(error.problems)
        return replace(self._problem(wrong.kind, i, text, wrong.cause), files=(path,))

    def _sizes_differ(self, i: int, image: tuple[int, int], mask: tuple[int, int]) -> Problem:
        files = self.dataset.files(i)
        name = f"{files[0].parent.name}/{self.dataset.name(i)}" if files else self.dataset.name(i)
        sizes = [f"{W}×{H}" for H, W in (image, mask)]
        cause = why_sizes_differ(image, mask, files[0] if files else None)
        return self._problem("size", i, f"{name}: image {sizes[0]} but mask {sizes[1]}", cause)


def _refused_as_ids(path: Path, error: DataError) -> bool:
    """Whether it was `read_label` that refused the file, as for most data sets; others have readers of their own."""
    try:
        read_label(path)
    except DataError as own:
        return own.problems == error.problems
    return False


def why_sizes_differ(image: tuple[int, int], mask: tuple[int, int], image_path: Path | None = None) -> str:
    """A key for `causes.py`: "exif", "turned", "scaled" or "shape"."""
    if mask == image[::-1]:
        return "exif" if image_path is not None and orientation(image_path) >= 5 else "turned"
    # the same shape up to rounding: each side of the mask is less than a pixel from what the other side makes of it
    scale = mask[0] / image[0]
    return "scaled" if abs(mask[1] - image[1] * scale) <= max(1.0, scale) else "shape"


def orientation(path: Path) -> int:
    """The EXIF orientation of a photograph, 1..8; 1 where it has none."""
    try:
        with Image.open(path) as picture:
            found = picture.getexif().get(ORIENTATION, 1)
    except DAMAGE:
        return 1
    return found if found in range(1, 9) else 1


def known_values(classes: Classes) -> np.ndarray:
    """Which values in mask files mean something: bool (256,)."""
    known = np.zeros(256, bool)
    known[list(classes.file_values or range(len(classes)))] = True
    known[[*classes.ignored_values, IGNORE]] = True
    return known


def ignored_values(classes: Classes | None, more: Sequence[int] = ()) -> frozenset[int]:
    """Which values in mask files mean "not labelled": 255, unless a class has it; what the classes say; and `more`."""
    if classes is None:
        return frozenset({IGNORE, *more})
    return frozenset({IGNORE, *more, *classes.ignored_values} - set(classes.file_values))


def count_brightness(picture: Image.Image) -> np.ndarray:
    """How many pixels of an RGB picture have each value of red, green and blue: int64 (3, 256)."""
    return np.array(picture.histogram(), np.int64).reshape(3, 256)


def count_values(values: np.ndarray) -> np.ndarray:
    """How many pixels of uint8 (H, W) have each of the 256 values: int64 (256,)."""
    return np.array(Image.fromarray(values).histogram(), np.int64)  # quicker than bincount, which widens to 64 bits


def _bad_value(dataset: Dataset, i: int, values: np.ndarray, known: np.ndarray) -> str:
    row, col = np.argwhere(~known[values])[0]
    return value_line(dataset, i, values, row, col)


def value_line(dataset: Dataset, i: int, values: np.ndarray, row: int, col: int) -> str:
    """`masks/train/b.png: value 7 at (row 1, col 1), 10% of pixels; allowed …`, and all values in a second line."""
    value = values[row, col]
    share = percent_of_pixels((values == value).mean())
    return (
        f"{mask_name(dataset, i)}: value {value} at (row {row}, col {col}), {share} of pixels; "
        f"allowed {_allowed(dataset.classes)} for ignored\n"
        f"  unique values {as_set(np.unique(values))}"
    )


def _allowed(classes: Classes) -> str:
    of_classes = as_set(classes.file_values)[1:-1] if classes.file_values else f"0..{len(classes) - 1}"
    more = [str(value) for value in classes.ignored_values if value != IGNORE]
    return f"{of_classes}, and {' and '.join([*more[:5], str(IGNORE)])}"


def mask_name(dataset: Dataset, i: int) -> str:
    """The mask file of pair i below the data set's folder; the pair's name if it is not made of files."""
    files = dataset.files(i)
    if files is None:
        return dataset.name(i)
    mask: Path = files[1]
    if dataset.root is not None and mask.is_relative_to(dataset.root):
        mask = mask.relative_to(dataset.root)
    return mask.as_posix()


def percent_of_pixels(share: float) -> str:
    """100%, 31%, 0.024%: two digits, and never as 1e+02."""
    return np.format_float_positional(100 * share, precision=2, fractional=False, trim="-") + "%"
