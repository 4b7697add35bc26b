"""Is a data set where it should be, and all of it? A look that takes a second: lists, names, and two pictures a split.

What every picture and mask holds is another question, which `check_splits` answers by reading them all.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..datasets import as_size
from ..errors import DataError
from ..palette import Classes
from .catalogue import open_dataset, recognise
from .published import PublishedSet


@dataclass(frozen=True)
class SplitFound:
    """What is there of one split.

    Attributes:
        name: "train", …
        pairs: images that have their mask; None where the folder does not offer the split.
        published: how many there should be, None if nobody says.
        ends: name and size of its first and last image, in words.
        problems: files that are missing, and why the first or the last pair cannot be read.
        advice: what to do about the problems.
        checked: False for a split whose masks say nothing, which is opened but not judged.
    """

    name: str
    pairs: int | None
    published: int | None
    ends: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    advice: tuple[str, ...] = ()
    checked: bool = True


@dataclass(frozen=True)
class Found:
    """A data set's folder, looked at.

    Attributes:
        kind: which data set it is.
        root: where its layout begins.
        splits: what there is of each split, in order; then those that are published and not here.
        classes: its classes, None if not even one split can be opened.
        contradictions: what cannot be right although every file is there.
    """

    kind: type[PublishedSet]
    root: Path
    splits: tuple[SplitFound, ...]
    classes: Classes | None
    contradictions: tuple[str, ...] = ()

    @property
    def problems(self) -> list[str]:
        """All that is wrong, each once."""
        of_splits = [problem for split in self.splits for problem in split.problems]
        return list(dict.fromkeys([*of_splits, *self.contradictions]))

    @property
    def advice(self) -> list[str]:
        """What to do about it, each line once."""
        return list(dict.fromkeys(line for split in self.splits for line in split.advice))


def verify(root: str | Path, name: str | None = None) -> Found:
    """Look for a data set in a folder: its layout, the images of each split, the first and the last pair.

    Args:
        root: the folder, or the one above it; see `recognise`.
        name: which of `SETS` it is; None looks at the folder.

    Raises:
        DataError: no such folder, or another layout. What is wrong within the layout is in `Found.problems`.
    """
    kind, found = recognise(root, name)
    offered, counts = kind.splits(found), kind.about.counts
    splits, classes = [], None
    for split in [*offered, *kind.unlisted_splits(found)]:
        looked_at, of_split = _look_at(kind, found, split, split in offered)
        splits.append(looked_at)
        classes = classes or of_split
    absent = [SplitFound(split, None, counts[split]) for split in counts if split not in offered]
    return Found(kind, found, (*splits, *absent), classes, tuple(kind.contradictions(found)))


def _look_at(kind: type[PublishedSet], root: Path, split: str, checked: bool) -> tuple[SplitFound, Classes | None]:
    published = kind.about.counts.get(split)
    try:
        dataset = open_dataset(root, split, name=kind.about.name, strict=False)
    except DataError as error:
        return SplitFound(split, 0, published, (), tuple(error.problems), tuple(error.advice), checked), None
    problems, advice, ends = list(dataset.loose), [], []
    if dataset.loose:
        advice.append("put the files where they belong, or take their names out of the list")
    if len(dataset) == 0:
        problems.append(f"{split}: not one image with its mask")
    for i in dict.fromkeys((0, len(dataset) - 1)) if len(dataset) else ():
        try:
            image, _ = dataset.read(i)
            ends.append(f"{dataset.name(i)} {as_size(image)}")
        except DataError as error:
            problems += error.problems
            advice += error.advice
    found = SplitFound(split, len(dataset), published, tuple(ends), tuple(problems), tuple(advice), checked)
    return found, dataset.classes
