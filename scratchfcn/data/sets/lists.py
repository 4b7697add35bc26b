"""Lists of names, and the files that go with them: how most published data sets say which image is in which split.

Two kinds of list are told apart. One that lies in the data set's folder says what must be there, so a name without
files is a mistake. One that this package brings along (`splits/*.txt`), or a rule, says only where an image belongs
*if it is there*: somebody who keeps a tenth of the images has a tenth of every split.

A folder is listed once, however many names are asked for: ten thousand questions "is it there?" would take seconds on
a disk in the network.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ..errors import SHOWN, DataError
from ..images import SUFFIXES

Pairs = list[tuple[Path, Path]]


@dataclass(frozen=True)
class Shelf:
    """The files of a folder, by the names that lists call them.

    Attributes:
        label: what the folder is called in messages.
        files: for each name, where its file is.
        ending: what has been taken off, of the kind that is usual: ".jpg", "_L.png".
    """

    label: str
    files: dict[str, str]
    ending: str

    @classmethod
    def of(cls, folder: Path, *endings: str) -> Shelf:
        """List a folder: files that end in one of `endings`, by what stands before. Hidden files are passed over.

        Where two files have one name (a.jpg and a.png), the ending that comes first is taken.

        Raises:
            DataError: there is no such folder.
        """
        try:
            listed = sorted(name for name in os.listdir(folder) if not name.startswith("."))
        except OSError as error:
            raise DataError(f"{folder}: {(error.strerror or 'cannot be listed').lower()}") from None
        files: dict[str, str] = {}
        for ending in endings:
            for name in listed:
                if name.lower().endswith(ending.lower()):
                    files.setdefault(name[: -len(ending)], os.path.join(folder, name))
        return cls(folder.name, files, endings[0])

    @classmethod
    def of_images(cls, folder: Path) -> Shelf:
        """The pictures of a folder, by their stems; JPEGs come first."""
        return cls.of(folder, *SUFFIXES)

    def or_else(self, other: Shelf) -> Shelf:
        """These files; and for names that are not among them, the other's."""
        return Shelf(self.label, {**other.files, **self.files}, self.ending)

    def __contains__(self, name: str) -> bool:
        return name in self.files

    def __getitem__(self, name: str) -> Path:
        return Path(self.files[name])

    def missing(self, name: str, search: bool) -> str:
        """The words for a file that is not there: `JPEGImages/a.jpg`; if wanted, with the nearest name that is."""
        near = difflib.get_close_matches(name, self.files, 1) if search else []
        hint = f" (nearest name: {self[near[0]].name})" if near else ""
        return f"{self.label}/{name}{self.ending}{hint}"


def read_list(path: Path) -> list[str]:
    """The names in a list, one in each line, in their order.

    Of several columns the first counts; of a path, the file's name; a picture's suffix is taken off. That covers the
    forms in which lists are passed around: `a`, `a.jpg`, `/JPEGImages/a.jpg /SegmentationClass/a.png`, `a -1`.

    Raises:
        DataError: the file cannot be read, is no text, or holds no name.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise DataError(f"{path}: not a text file; it should hold a name in each line") from None
    except OSError as error:
        raise DataError(f"{path}: {(error.strerror or 'cannot be read').lower()}") from None
    names = [_name(line.split()[0]) for line in lines if line.strip()]
    if not names:
        raise DataError(f"{path}: the list is empty", "write the names of its images into it, one in each line")
    return names


def _name(entry: str) -> str:
    name = PurePosixPath(entry.replace("\\", "/")).name
    stem, dot, suffix = name.rpartition(".")
    return stem if dot and f".{suffix.lower()}" in SUFFIXES else name


def shipped_list(name: str) -> list[str]:
    """A list of this package, `splits/{name}.txt`: one that the data set's own archive lacks."""
    return read_list(Path(__file__).with_name("splits") / f"{name}.txt")


def pairs_in_list(place: str, names: Iterable[str], images: Shelf, masks: Shelf) -> tuple[Pairs, list[str]]:
    """The pairs of a list that lies in the folder, in its order; a loose end for each name without both files.

    Args:
        place: what the list is called in messages, "Segmentation/val.txt".
        names: what stands in it.
        images, masks: where to look.

    Returns:
        pairs of image and mask file; problems, in words.
    """
    pairs: Pairs = []
    loose: list[str] = []
    seen = set()
    for name in names:
        if name in seen:
            loose.append(f"{place}: {name} stands in it twice")
        elif name in images and name in masks:
            pairs.append((images[name], masks[name]))
        else:
            search = len(loose) < SHOWN  # the search is slow, and hints beyond these are never shown
            absent = [shelf.missing(name, search) for shelf in (images, masks) if name not in shelf]
            loose.append(f"{place}: {name}: there is no {' and no '.join(absent)}")
        seen.add(name)
    return pairs, loose


def pairs_among(names: Iterable[str], images: Shelf, masks: Shelf) -> tuple[Pairs, list[str]]:
    """The pairs of those names whose files are there; a loose end where there is one file of the two.

    Returns:
        pairs of image and mask file, in the order of the names; problems, in words.
    """
    pairs: Pairs = []
    loose: list[str] = []
    for name in dict.fromkeys(names):
        if name in images and name in masks:
            pairs.append((images[name], masks[name]))
        elif name in images or name in masks:
            there, other = (images, masks) if name in images else (masks, images)
            kind = "image" if there is images else "mask"
            missing = other.missing(name, search=len(loose) < SHOWN)
            loose.append(f"{kind} {there.label}/{there[name].name}: there is no {missing}")
    return pairs, loose


def by_list_or_rule(list_file: Path, rule: Iterable[str], images: Shelf, masks: Shelf) -> tuple[Pairs, list[str]]:
    """`pairs_in_list` where the folder has a list; else `pairs_among` the names that the rule gives."""
    if list_file.is_file():
        place = f"{list_file.parent.name}/{list_file.name}"
        return pairs_in_list(place, read_list(list_file), images, masks)
    return pairs_among(rule, images, masks)
