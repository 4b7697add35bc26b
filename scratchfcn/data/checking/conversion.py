"""From what mask files hold to what they should hold: one rule for all masks, found by reading all of them first.

A rule is a table from values to ids, a palette from colours to ids, or both. Which one it is depends on all masks
together: {0, 85, 170} becomes {0, 1, 2} in a mask that holds all three, and must do so in one that holds 170 alone.
So the masks are read twice, once to find the rule and to see that it fits them all, and once to write.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from ..datasets import as_set
from ..errors import DataError
from ..images import SUFFIXES, read_image
from ..palette import IGNORE, Classes
from ..transforms import resize_label
from .bad_files import count_colours, scaled_up, why_no_mask
from .pair import known_values, orientation
from .palettes import Palette, classes_used, find_palette, ids_of, in_another_order, most_frequent
from .patterns import spread

KINDS = {
    "binary": "masks of 0 and 255 become 0 and 1",
    "colours": "pictures of colours become ids, by classes.toml's colours or a --palette",
    "offbyone": "ids that count from 1 count from 0, and what was 0 is ignored (255)",
    "renumber": "values spread out to be seen (0, 85, 170 …) become 0, 1, 2 …",
    "bits": "masks of 16 bits, whose values are ids times 257 or 256, become masks of 8",
    "threshold": "black and white masks with blurred edges, JPEGs among them, become 0 and 1, divided at 128",
    "extension": "masks of any format become PNGs",
    "sizes": "masks take the size of their images: turned as the EXIF note says, or resized (nearest)",
    "duplicates": "images of several splits stay in one of them: the one to train on, if they are in it",
}
OF_VALUES = ("binary", "offbyone", "renumber", "threshold")  # one of these at a time: each says what values mean
TURNS = {  # what makes a photograph upright whose EXIF orientation is 5..8
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
LARGEST = 1 << 16
UNKNOWN = -1
BLURRED = 0.05  # share of pixels of a mask that may have a colour of no class: edges that a program has smoothed


@dataclass(frozen=True)
class Source:
    """Where masks come from, and what is known of them.

    Attributes:
        root: the data set's folder.
        read: what reads the values of a mask file, uint8 (H, W).
        classes: the classes; None if nothing but the masks says how many there are.
        ignored: values that mean "not labelled", 255 included.
        coloured: the classes, if it is known which colours they have; see `palettes.in_another_order`.
    """

    root: Path
    read: Callable[[Path], np.ndarray]
    classes: Classes | None
    ignored: frozenset[int]
    coloured: Classes | None = None

    def contents(self, path: Path, kinds: Sequence[str]) -> np.ndarray:
        """What a mask file holds: whole numbers (H, W); or uint8 (H, W, 3) if it is colours that count.

        Raises:
            DataError: the file cannot be read, or holds something that `kinds` cannot mend.
        """
        try:
            values = self.read(path)
            if "colours" in kinds and self._is_coloured(path, values):
                return read_image(path)
            return values
        except DataError:
            wrong = why_no_mask(path)
            if wrong.kind == "colours" and wrong.colours and "colours" in kinds:
                return read_image(path)
            if wrong.kind == "jpeg" and wrong.cause and "threshold" in kinds:
                return np.array(Image.fromarray(read_image(path)).convert("L"))
            if wrong.kind == "deep" and wrong.cause == "bits" and "bits" in kinds:
                values = _deep_values(path)
                return values // scaled_up(values)
            if wrong.kind == "deep" and wrong.cause in ("", "bits") and "renumber" in kinds:
                return _deep_values(path)
            raise

    def _is_coloured(self, path: Path, values: np.ndarray) -> bool:
        """Whether colours count in a file that could be read as ids: a picture whose colours happen to be greys, or one
        whose palette is in another order."""
        if path.suffix.lower() not in SUFFIXES:
            return False
        with Image.open(path) as picture:
            if picture.mode in ("RGB", "RGBA"):
                return True
            entries = picture.getpalette("RGB") if picture.mode == "P" and self.coloured is not None else None
        if entries is None:
            return False
        return in_another_order(np.array(entries).reshape(-1, 3), np.unique(values), self.coloured)


def _deep_values(path: Path) -> np.ndarray:
    """Whole numbers 0..65535, int64 (H, W)."""
    with Image.open(path) as picture:
        values = np.array(picture).astype(np.int64)
    if not 0 <= values.min() <= values.max() < LARGEST:
        raise DataError(f"{path}: holds {values.min()}..{values.max()}; values of 16 bits can be renumbered")
    return values


@dataclass
class Survey:
    """What all masks hold: how many pixels have each value, and each colour."""

    values: Counter[int] = field(default_factory=Counter)
    colours: Counter[int] = field(default_factory=Counter)

    def add(self, contents: np.ndarray) -> None:
        """One mask, as `Source.contents` gives it."""
        if contents.ndim == 3:
            self.colours.update(count_colours(Image.fromarray(contents)) or {})
        else:
            values, counts = np.unique(contents, return_counts=True)
            self.values.update(dict(zip(values.tolist(), counts.tolist(), strict=True)))


@dataclass(frozen=True)
class Conversion:
    """What to make of masks.

    Attributes:
        source: where they come from.
        kinds: which of `KINDS` were asked for.
        table: int32 (65536,), the id of each value; -1 for values that do not fit.
        words: what `table` takes, for messages.
        palette: what colours mean; None where no mask holds colours.
        classes: what the ids mean; None if nothing says so but how large they are.
        largest: the largest id that the masks will hold.
    """

    source: Source
    kinds: tuple[str, ...]
    table: np.ndarray
    words: str
    palette: Palette | None
    classes: Classes | None
    largest: int

    def __call__(self, mask: Path, image: Path | None) -> np.ndarray:
        """The ids that a mask should hold, of which `misfits` had nothing to say: uint8 (H, W).

        Raises:
            DataError: a file has gone bad meanwhile; or the mask must be resized and cannot be.
        """
        contents = self.source.contents(mask, self.kinds)
        ids = ids_of(contents, self.palette) if contents.ndim == 3 else self.table[contents].astype(np.uint8)
        if "sizes" not in self.kinds:
            return ids
        if image is None:
            raise DataError(f"{mask}: has no image whose size it could take")
        return as_large_as(ids, image, mask)

    def misfits(self, mask: Path, held: Survey) -> list[str]:
        """What the rule does not cover of what a mask holds, in words."""
        problems = []
        if any(self.table[value] == UNKNOWN for value in held.values):
            problems.append(f"{mask}: holds {sorted(held.values)[:10]}; this repair is for masks of {self.words} only")
        missing = 1 - self.palette.share(held.colours) if held.colours else 0.0
        if missing > BLURRED:
            strange = {colour: n for colour, n in held.colours.items() if colour not in self.palette.meaning}
            problems.append(
                f"{mask}: {missing:.0%} of the pixels have no colour of {self.palette.title}: {most_frequent(strange)}"
            )
        return problems


def find_conversion(
    source: Source,
    kinds: Sequence[str],
    survey: Survey,
    palette: str | None = None,
    values: Sequence[int] | None = None,
) -> Conversion:
    """The rule for masks of which `survey` says what they hold.

    Args:
        source: where they come from.
        kinds: which of `KINDS`.
        survey: what all of them hold.
        palette: the name of the palette that colours are of; None to recognise it.
        values: for "renumber", the value of each class in order; None to work it out.

    Raises:
        DataError: the palette or the values are not to be told, or do not fit.
    """
    of_colours = None
    if "colours" in kinds:
        if not survey.colours:
            raise DataError(f"{source.root}: no mask holds colours", "without --fix colours there is nothing to mend")
        of_colours = find_palette(palette, survey.colours, source.root)
    kind = next((kind for kind in kinds if kind in OF_VALUES), None)
    if kind == "renumber":
        table, words, K = _renumbered(source, survey, values)
    else:
        table, words, K = _TABLES[kind](source, survey)
    if of_colours is not None:
        classes = classes_used(of_colours, survey.colours)
    elif source.classes is not None and (K is None or len(source.classes) >= K):
        classes = Classes(source.classes.names, source.classes.colours)
    else:
        classes = None if K is None else Classes.numbered(K)
    ids = [int(table[value]) for value in survey.values if table[value] != IGNORE]
    return Conversion(source, tuple(kinds), table, words, of_colours, classes, max(ids, default=0))


Table = tuple[np.ndarray, str, int | None]  # the table, the values it takes in words, and the number of classes


def _empty(source: Source) -> np.ndarray:
    table = np.full(LARGEST, UNKNOWN, np.int32)
    table[sorted(source.ignored)] = IGNORE
    return table


def _unchanged(source: Source, survey: Survey) -> Table:
    table = _empty(source)
    classes = source.classes or Classes.numbered(IGNORE)
    of_class = list(classes.file_values or range(len(classes)))
    table[of_class] = np.arange(len(of_class))
    if source.classes is None:
        table[sorted(source.ignored)] = IGNORE
    return table, f"{as_set(np.flatnonzero(known_values(classes)))}", None


def _binary(source: Source, survey: Survey) -> Table:
    table = np.full(LARGEST, UNKNOWN, np.int32)
    table[[0, IGNORE]] = 0, 1
    return table, "0 and 255", 2


def _threshold(source: Source, survey: Survey) -> Table:
    table = np.full(LARGEST, UNKNOWN, np.int32)
    table[:256] = np.arange(256) >= 128
    return table, "grey values", 2


def _off_by_one(source: Source, survey: Survey) -> Table:
    used = [value for value in survey.values if value not in source.ignored]
    K = max(used, default=1) if source.classes is None else len(source.classes)
    table = _empty(source)
    table[1 : K + 1] = np.arange(K)
    table[[0, *source.ignored]] = IGNORE
    return table, f"0..{K}", K


def _renumbered(source: Source, survey: Survey, given: Sequence[int] | None) -> Table:
    values = list(given) if given is not None else _values_of_classes(source, survey)
    if len(set(values)) != len(values) or len(values) > IGNORE or min(values) < 0 or max(values) >= LARGEST:
        raise DataError(f"--values {','.join(map(str, values))}: give up to 255 different values 0..65535")
    table = _empty(source)
    table[values] = np.arange(len(values))
    return table, as_set(values), max(2, len(values))


def _values_of_classes(source: Source, survey: Survey) -> list[int]:
    """Which values stand for classes 0, 1, 2 …: evenly spaced ones, with gaps filled; or else all that occur.

    Raises:
        DataError: the masks hold no class; or not as many values as there are classes, and no order to be seen in them.
    """
    used = sorted(value for value in survey.values if value not in source.ignored)
    if not used:
        raise DataError(f"{source.root}: the masks hold nothing but ignored values, so there is nothing to renumber")
    if used[-1] <= IGNORE:
        pixels = np.zeros(256, np.int64)
        for value, count in survey.values.items():
            pixels[value] = count
        found = spread(pixels, used)
    else:
        found = None
    if found is None and source.classes is not None and len(source.classes) != len(used):
        problem = f"{source.root}: {as_set(used)} are {len(used)} values, but there are {len(source.classes)} classes"
        raise DataError(problem, "say which value is which class, in order: --values 0,85,170")
    return found or used


_TABLES: Mapping[str | None, Callable[[Source, Survey], Table]] = {
    None: _unchanged,
    "binary": _binary,
    "threshold": _threshold,
    "offbyone": _off_by_one,
}


def as_large_as(ids: np.ndarray, image: Path, mask: Path) -> np.ndarray:
    """A mask (h, w) in the size of its image, (H, W): turned as the image's EXIF note says, or resized (nearest).

    Raises:
        DataError: the image cannot be read; or one is the other turned by 90°, and nothing says which way.
    """
    H, W = read_image(image).shape[:2]
    if ids.shape == (H, W):
        return ids
    if ids.shape != (W, H):
        return resize_label(ids, (H, W))
    if orientation(image) < 5:
        problem = f"{mask}: is turned by 90° against its image, and nothing says which way"
        raise DataError(problem, "turn it by hand: a look at the two tells")
    return np.array(Image.fromarray(ids).transpose(TURNS[orientation(image)]))
