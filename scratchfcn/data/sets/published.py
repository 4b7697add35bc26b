"""What is said of every kind of data set: where it comes from, how it lies on the disk, which splits it has.

A data set of this package is a class with three things beside what every `Dataset` can do: `about`, the facts;
`find`, which recognises the layout; and `splits`. `catalogue.py` lists the classes, and whoever adds one there has
added it to every command.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from ..datasets import FilePairs


@dataclass(frozen=True)
class About:
    """The facts that `scratchfcn data NAME` prints.

    Attributes:
        name: what `--dataset` calls it.
        title: its full name.
        summary: one sentence: what is on the pictures, and what is to be found in them.
        source: where it is published; nothing is ever downloaded from there by this library.
        size: of what is to be downloaded.
        licence: what it may be used for.
        layout: the files below its folder, a line each, as they must lie.
        counts: published number of images of each split.
        train, val: the splits that are trained on and validated on, where nobody says otherwise.
        needs: the extra to install for reading it, "mat" for example.
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


class PublishedSet(FilePairs):
    """One split of a data set with a layout of its own: `SomeSet(root, split)`.

    Args of a subclass: root, a folder in which `find` recognises the layout; split; strict, see `FilePairs`.
    """

    about: ClassVar[About]

    @classmethod
    def find(cls, root: Path) -> Path | None:
        """The folder that has this layout: `root`, or the one that the archive unpacks to below it; None if neither.

        It must be fast and safe: names of a few folders and files are looked at, and no picture is opened.
        """
        raise TypeError(f"{cls.__name__} must define find(root)")

    @classmethod
    def splits(cls, root: Path) -> list[str]:
        """The splits that this folder, found before, offers, sorted."""
        raise TypeError(f"{cls.__name__} must define splits(root)")
