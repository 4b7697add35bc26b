"""What is said of every kind of data set: where it comes from, how it lies on the disk, which splits it has.

A data set of this package is a class with four things beside what every `Dataset` can do: `about`, the facts; `parts`,
by which its layout is recognised; `splits`; and `known_classes`. `catalogue.py` lists the classes, and whoever adds one
there has added it to every command.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Self

from ..datasets import FilePairs
from ..errors import DataError
from ..palette import Classes
from .lists import Pairs


@dataclass(frozen=True)
class About:
    """The facts that `scratchfcn data NAME` prints. A text that is empty says that nobody could say it for certain.

    Attributes:
        name: what `--dataset` calls it.
        title: its full name.
        summary: one sentence: what is on the pictures, and what is to be found in them.
        source: where it is published; nothing is ever downloaded from there by this library.
        size: of what is to be downloaded.
        licence: what it may be used for.
        layout: the files below its folder, a line each, as they must lie; two spaces deeper is one folder deeper.
        counts: published number of images of each split.
        train, val: the splits that are trained on and validated on, where nobody says otherwise.
        needs: the extra to install for reading it, "mat" for example.
        masks: what a mask file holds, and what becomes of it.
        notes: what is peculiar about it, a line each.
        overlapping: splits that share images with others on purpose (VOC's trainval holds train and val).
    """

    name: str
    title: str
    summary: str
    source: str
    size: str
    licence: str
    layout: str
    counts: Mapping[str, int] = field(default_factory=dict)
    train: str = "train"
    val: str = "val"
    needs: str | None = None
    masks: str = ""
    notes: tuple[str, ...] = ()
    overlapping: tuple[str, ...] = ()


class PublishedSet(FilePairs):
    """One split of a data set with a layout of its own: `SomeSet(root, split)`.

    Args of a subclass: root, a folder in which `find` recognises the layout; split; strict, see `FilePairs`.

    Attributes:
        places: the folders, below the one that is given, in which the layout may begin.
        parts: the files and folders there by which it is recognised.
        asks_for_classes: the layout does not say how many classes there are, so that a caller may: such a set takes
            `num_classes` and `ignore`.
        no_split: what is not there if there is no split.
    """

    about: ClassVar[About]
    places: ClassVar[Sequence[str]] = (".",)
    parts: ClassVar[Sequence[str]] = ()
    asks_for_classes: ClassVar[bool] = False
    no_split: ClassVar[str] = "no folder 'train', nor any other"

    @classmethod
    def find(cls, root: Path) -> Path | None:
        """The folder that has this layout: `root`, or the one that the archive unpacks to below it; None if neither.

        It is fast and safe: names of a few folders and files are looked at, and no picture is opened.
        """
        for place in cls.places:
            if all((root / place / part).exists() for part in cls.parts):
                return root / place
        return None

    @classmethod
    def lacks(cls, root: Path) -> DataError | None:
        """Where a folder has at least half of the layout: what is missing in it, as an error to raise; else None."""
        for place in cls.places:
            absent = [part for part in cls.parts if not (root / place / part).exists()]
            if absent and 2 * len(absent) <= len(cls.parts):
                missing = " and ".join(part + "/" * ("." not in part) for part in absent)
                return DataError(f"{root / place} looks like {cls.about.title}, but {missing} is missing")
        return None

    @classmethod
    def splits(cls, root: Path) -> list[str]:
        """The splits that this folder, found before, offers, sorted."""
        raise TypeError(f"{cls.__name__} must define splits(root)")

    @classmethod
    def unlisted_splits(cls, root: Path) -> list[str]:
        """Splits that can be opened but are in no list, because their masks say nothing (Cityscapes' test)."""
        return []

    @classmethod
    def also_found(cls, root: Path) -> list[str]:
        """Where the parts are that may lie elsewhere, a line each, for a person who wonders."""
        return []

    @classmethod
    def contradictions(cls, root: Path) -> list[str]:
        """What cannot be right although every file is there, in words."""
        return []

    @classmethod
    def known_classes(cls) -> Classes | None:
        """The classes, without any folder; None where the folder says which they are."""
        return None


class ListedSet(PublishedSet):
    """A published set whose splits are lists of names, not folders: subclasses define `pairs_of`, and it is opened so.

    Args:
        root: a folder in which `find` recognises the layout.
        split: one of `splits`.
        strict: see `FilePairs`. A name in a list without its files is a loose end; so is half a pair.

    Raises:
        DataError: another layout, or no such split; or, if strict, a loose end.
    """

    def __init__(self, root: str | Path, split: str = "train", strict: bool = True) -> None:
        found = self.find(Path(root))
        if found is None:
            advice = f"`scratchfcn data {self.about.name}` says how it must lie"
            problem = f"{root}: does not have the layout of {self.about.title}"
            raise self.lacks(Path(root)) or DataError(problem, advice)
        self.root = found
        self.classes = self.known_classes()
        refuse_unknown_split(type(self), found, split)
        self.pairs, self.loose = self.pairs_of(found, split)
        if strict and self.loose:
            raise DataError(self.loose, "put the files where they belong, or take their names out of the list")

    @classmethod
    def of_pairs(cls, root: Path, pairs: Pairs, classes: Classes) -> Self:
        """The set of these pairs, which have been found already."""
        dataset = cls.__new__(cls)
        dataset.root, dataset.pairs, dataset.loose, dataset.classes = root, pairs, [], classes
        return dataset

    def pairs_of(self, root: Path, split: str) -> tuple[Pairs, list[str]]:
        """The image file and the mask file of each image of a split; and every loose end, in words."""
        raise TypeError(f"{type(self).__name__} must define pairs_of(root, split)")


def refuse_unknown_split(kind: type[PublishedSet], root: Path, split: str) -> None:
    """Raise DataError, with the splits that there are and the nearest, if `split` is none of them."""
    splits = kind.splits(root)
    if split not in (*splits, *kind.unlisted_splits(root)):
        near = difflib.get_close_matches(split, splits, 1)
        hint = f"; nearest: '{near[0]}'" if near else ""
        raise DataError(f"{root}: no split '{split}'; there are {', '.join(splits)}{hint}")
