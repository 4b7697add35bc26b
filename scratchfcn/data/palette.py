"""Class names and colours: what turns a number in a mask into something a person can talk about and see.

The VOC palette gives every id a colour of its own by dealing out the id's bits: bits 0, 1, 2 become the
highest bits of red, green and blue, bits 3, 4, 5 the next highest, and so on. Neighbouring ids thus differ
in a high bit and look unlike each other, for any number of classes, with no table to keep.
"""

import difflib
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from .errors import DataError

IGNORE = 255  # the label of pixels that count neither for the loss nor for the metrics
IGNORE_COLOUR = (224, 224, 192)  # the cream VOC draws around its objects: its palette's colour of 255

VOC_NAMES = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *(
        "diningtable",
        "dog",
        "horse",
        "motorbike",
        "person",
        "pottedplant",
        "sheep",
        "sofa",
        "train",
        "tvmonitor",
    ),
)

CAMVID = {
    "Sky": (128, 128, 128),
    "Building": (128, 0, 0),
    "Pole": (192, 192, 128),
    "Road": (128, 64, 128),
    "Pavement": (60, 40, 222),
    "Tree": (128, 128, 0),
    "SignSymbol": (192, 128, 128),
    "Fence": (64, 64, 128),
    "Car": (64, 0, 128),
    "Pedestrian": (64, 64, 0),
    "Bicyclist": (0, 128, 192),
}
CAMVID_VOID = 11  # the value CamVid's masks use for "none of these"


def voc_palette(n: int = 256) -> np.ndarray:
    """The PASCAL VOC colours of the ids 0..n-1.

    Args:
        n: how many, 0..256.

    Returns:
        uint8 (n, 3), RGB. Row 255, where there is one, is the colour of ignored pixels.
    """
    ids = np.arange(n)
    colours = np.zeros((n, 3), np.uint8)
    for shift in range(7, -1, -1):  # from the highest bit of a colour down
        for channel in range(3):
            colours[:, channel] |= ((ids & 1) << shift).astype(np.uint8)
            ids >>= 1
    return colours


@dataclass(frozen=True, eq=False)
class Classes:
    """The classes of a data set, in the order of their ids.

    Attributes:
        names: K names, all different.
        colours: uint8 (K, 3), RGB, not writeable.
        ignore_index: the label of pixels that belong to no class.
        ignored_values: further values found in mask *files* that mean the same; a dataset turns them into
            `ignore_index` when it reads a mask (CamVid's 11, for example).
        file_values: the value that each class has in mask files, where that is not its id (Cityscapes' road is class
            0 and 7 in files); empty where files hold the ids. `to_file_values` is the way back.
        unscored: names of classes that are left out of mean accuracy and mean IU (SIFT Flow's, which its test
            images do not show).

    Raises:
        DataError: no class, more than 255, two of one name, or colours, file values or unscored names that do not
            match the names.
    """

    names: tuple[str, ...]
    colours: np.ndarray
    ignore_index: int = IGNORE
    ignored_values: tuple[int, ...] = ()
    file_values: tuple[int, ...] = ()
    unscored: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        names = tuple(self.names)
        colours = np.array(self.colours, dtype=np.uint8)
        _check_names(names)
        if colours.shape != (len(names), 3):
            raise DataError(f"classes: {len(names)} names need {len(names)} RGB colours, not shape {colours.shape}")
        colours.flags.writeable = False
        object.__setattr__(self, "names", names)  # the way in, once, for a frozen dataclass
        object.__setattr__(self, "colours", colours)
        object.__setattr__(self, "ignored_values", tuple(self.ignored_values))
        _check_file_values(tuple(self.file_values), names)
        object.__setattr__(self, "file_values", tuple(self.file_values))
        for name in self.unscored:
            if name not in names:
                raise DataError(f"classes: '{name}' is to be left out of the means, but there is no such class")
        object.__setattr__(self, "unscored", tuple(self.unscored))

    def __len__(self) -> int:
        return len(self.names)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Classes) and self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        return hash((self.names, self.ignore_index))

    @classmethod
    def voc(cls, num_classes: int = 21) -> "Classes":
        """PASCAL VOC's names and colours; beyond its 21, names by number and the palette continued."""
        numbered = tuple(f"class {i}" for i in range(len(VOC_NAMES), num_classes))
        return cls(VOC_NAMES[:num_classes] + numbered, voc_palette(num_classes))

    @classmethod
    def numbered(cls, num_classes: int) -> "Classes":
        """ "class 0", "class 1", … in VOC's colours: for masks of which nothing is known but the ids."""
        return cls(tuple(f"class {i}" for i in range(num_classes)), voc_palette(num_classes))

    @classmethod
    def camvid(cls) -> "Classes":
        """The 11 classes of CamVid; the value 11 in its masks is ignored."""
        return cls(tuple(CAMVID), np.array(list(CAMVID.values())), ignored_values=(CAMVID_VOID,))

    @classmethod
    def from_toml(cls, path: str | Path) -> "Classes":
        """Read a `classes.toml`.

        ```
        names = ["road", "car"]
        colours = ["#804080", [64, 0, 128]]  # optional; VOC's colours otherwise
        ignore = [11]                        # optional; mask values that, beside 255, mean "not labelled"
        values = [1, 2]                      # optional; the mask value of each class, where they are not 0, 1, 2 …
        ```

        Raises:
            DataError: the file is missing or is no TOML; a key is unknown, missing or has a wrong value.
        """
        table = _read_toml(Path(path))
        try:
            names = _names(table)
            values = _bytes(table, "values")
            return cls(names, _colours(table, len(names)), ignored_values=_bytes(table, "ignore"), file_values=values)
        except DataError as error:
            example = 'it should look like: names = ["road", "car"]   colours = ["#804080", [64, 0, 128]]'
            raise DataError([f"{path}: {problem}" for problem in error.problems], example) from None

    def resized(self, num_classes: int) -> "Classes":
        """The first `num_classes` of these, continued by number and in VOC's colours if there are fewer."""
        more = Classes.numbered(num_classes)
        names = self.names[:num_classes] + more.names[len(self) :]
        colours = np.concatenate([self.colours[:num_classes], more.colours[len(self) :]])  # (num_classes, 3)
        file_values = self.file_values if num_classes == len(self) else ()
        unscored = tuple(name for name in self.unscored if name in names)
        return Classes(names, colours, self.ignore_index, self.ignored_values, file_values, unscored)

    def from_file_values(self, values: np.ndarray) -> np.ndarray:
        """What a mask file holds, uint8 (H, W), as class ids: a new array, `ignore_index` for ignored values.

        Values that mean nothing stay as they are where files hold ids. Where they hold values of their own, an id
        could be mistaken for one, so they are refused.

        Raises:
            DataError: a value that is neither a class's nor ignored, with its place.
        """
        table = np.arange(256, dtype=np.int16)  # (256,)
        if self.file_values:
            table[:] = -1
            table[self.ignore_index] = self.ignore_index
            table[list(self.file_values)] = np.arange(len(self))
        table[list(self.ignored_values)] = self.ignore_index
        label = table[values]  # (H, W)
        if (label < 0).any():
            row, col = np.argwhere(label < 0)[0]
            known = sorted({*self.file_values, *self.ignored_values, self.ignore_index})
            problem = f"value {values[row, col]} at (row {row}, col {col}) is none of this data set's: {known}"
            raise DataError(problem)
        return label.astype(np.uint8)

    def to_file_values(self, label: np.ndarray) -> np.ndarray:
        """Class ids (H, W) as the values that the data set's files have for them, for submission: uint8 (H, W).

        Ignored pixels get the first of `ignored_values`, or 255.
        """
        table = np.arange(256, dtype=np.uint8)
        if self.file_values:
            table[: len(self)] = self.file_values
        table[self.ignore_index] = self.ignored_values[0] if self.ignored_values else self.ignore_index
        return table[label]  # (H, W)

    def also_ignoring(self, values: Sequence[int]) -> "Classes":
        """The same classes, with further mask values read as `ignore_index`.

        Raises:
            DataError: a value that is no byte, or that one of the classes has.
        """
        of_classes = self.file_values or tuple(range(len(self)))
        for value in values:
            if not _is_byte(value):
                raise DataError(f"mask values lie between 0 and 255, so {value!r} cannot be ignored")
            if value in of_classes:
                name = self.names[of_classes.index(value)]
                problem = f"value {value} is class '{name}' in the masks, so it cannot be ignored as well"
                raise DataError(problem, "leave it out, or take the class from the list of classes")
        ignored = tuple(dict.fromkeys((*self.ignored_values, *values)))
        return replace(self, ignored_values=ignored)

    def palette(self) -> np.ndarray:
        """A colour for every possible label: uint8 (256, 3). Ids that are no class have VOC's colours."""
        colours = voc_palette(256)
        colours[: len(self)] = self.colours
        colours[self.ignore_index] = IGNORE_COLOUR
        return colours

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, strings and numbers, for JSON and TOML; `from_dict` is the way back."""
        return {
            "names": list(self.names),
            "colours": self.colours.tolist(),
            "ignore_index": self.ignore_index,
            "ignored_values": list(self.ignored_values),
            "file_values": list(self.file_values),
            "unscored": list(self.unscored),
        }

    @classmethod
    def from_dict(cls, table: dict[str, Any]) -> "Classes":
        """Classes from what `to_dict` gave. A missing `ignore_index` is 255; other missing lists are empty."""
        names = _names(table)
        ignored, values, unscored = (tuple(table.get(key, ())) for key in ("ignored_values", "file_values", "unscored"))
        ignore_index = table.get("ignore_index", IGNORE)
        return cls(names, _colours(table, len(names)), ignore_index, ignored, values, unscored)


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not a TOML file: {error}") from None
    known = ["names", "colours", "ignore", "values"]
    for key in table:
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            hint = f"; did you mean '{near[0]}'?" if near else ""
            raise DataError(f"{path}: unknown key '{key}'{hint}", f"the keys are {', '.join(known)}")
    return table


def _check_names(names: Sequence[str]) -> None:
    if not 1 <= len(names) <= IGNORE:
        raise DataError(f"classes: there can be 1 to {IGNORE}, not {len(names)} (255 itself means 'ignored')")
    for name in names:
        if names.count(name) > 1:
            raise DataError(f"classes: the name '{name}' occurs {names.count(name)} times")


def _check_file_values(values: tuple[int, ...], names: Sequence[str]) -> None:
    if values and not (len(values) == len(set(values)) == len(names) and all(_is_byte(v) for v in values)):
        raise DataError(f"classes: {len(names)} names need as many different file values 0..255, not {list(values)}")


def _names(table: dict[str, Any]) -> tuple[str, ...]:
    names = table.get("names")
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) and name for name in names):
        raise DataError(f"'names' must be a list of class names in the order of their ids, not {names!r}")
    return tuple(names)


def _colours(table: dict[str, Any], count: int) -> np.ndarray:
    if "colours" not in table:
        return voc_palette(count)
    colours = table["colours"]
    if not isinstance(colours, list | tuple) or len(colours) != count:
        found = len(colours) if isinstance(colours, list | tuple) else repr(colours)
        raise DataError(f"'colours' must be a list with one colour per name ({count}), not {found}")
    return np.array([_colour(colour) for colour in colours], np.uint8).reshape(count, 3)


def _colour(value: Any) -> list[int]:
    """[r, g, b] or "#rrggbb"."""
    if isinstance(value, str) and len(value) == 7 and value[0] == "#":
        try:
            return list(bytes.fromhex(value[1:]))
        except ValueError:
            pass  # falls through to the message that shows what a colour looks like
    elif isinstance(value, list | tuple) and len(value) == 3 and all(_is_byte(v) for v in value):
        return list(value)
    raise DataError(f'{value!r} is no colour; write [128, 64, 128], each 0..255, or "#804080"')


def _bytes(table: dict[str, Any], key: str) -> tuple[int, ...]:
    values = table.get(key, [])
    if not isinstance(values, list) or not all(_is_byte(v) for v in values):
        raise DataError(f"'{key}' must be a list of mask values 0..255, not {values!r}")
    return tuple(values)


def _is_byte(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 255
