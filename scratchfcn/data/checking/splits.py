"""Which splits are looked into, and what can be said before any picture is opened.

Splits that overlap with others on purpose (VOC's trainval holds train and val) are left out unless asked for by name:
their images would be read twice, and be found in two splits. A split that cannot be opened is a problem among others,
and so are images without a mask: the rest is looked into all the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path

from ..datasets import Dataset
from ..errors import DataError
from ..palette import IGNORE, Classes
from ..sets import PublishedSet, open_dataset, recognise
from .problems import Problem

MANY = IGNORE  # classes to open a data set with whose number of classes is still to be found: every value is one


@dataclass
class Opened:
    """The splits of a data set, open.

    Attributes:
        kind, root: what `recognise` found.
        given: the folder that was given.
        name: the data set's name, if it was given.
        datasets: the splits to look into that can be opened.
        others: further splits of a data set whose number of classes is to be found, which counts them in.
        overlapping: splits that were left out because they share images with others on purpose.
        num_classes: how many classes were asked for; None if nobody said.
        count_classes: nothing says how many classes there are, so the masks will be asked.
        ignore: values that mean "not labelled", beside those the data set has.
        problems: of splits that cannot be opened, and images and masks without partners.
        warnings: of lists that name the same images.
        advice: what to do about them.
    """

    kind: type[PublishedSet]
    root: Path
    given: Path
    name: str | None
    num_classes: int | None
    count_classes: bool
    ignore: tuple[int, ...]
    datasets: dict[str, Dataset] = field(default_factory=dict)
    others: dict[str, Dataset] = field(default_factory=dict)
    overlapping: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    advice: dict[str, list[str]] = field(default_factory=dict)  # by kind of problem


def open_splits(
    root: str | Path,
    splits: Sequence[str] | None = None,
    num_classes: int | None = None,
    name: str | None = None,
    ignore: Sequence[int] = (),
) -> Opened:
    """Open all splits that are asked for, or all that do not overlap on purpose.

    Raises:
        DataError: no such folder, or no known layout. What is wrong with single splits is collected.
    """
    kind, folder = recognise(root, name)
    count = kind.asks_for_classes and num_classes is None and not (folder / "classes.toml").exists()
    opened = Opened(kind, folder, Path(root), name, num_classes, count, tuple(ignore))
    there = kind.splits(folder)
    wanted = [split for split in there if split not in kind.about.overlapping] or there
    opened.overlapping = [] if splits is not None else [split for split in there if split not in wanted]
    for split in wanted if splits is None else dict.fromkeys(splits):
        _open(opened, split)
    if count:
        _open_others(opened, [split for split in there if split not in opened.datasets])
    opened.warnings += _shared_images(opened)
    return opened


def _open(opened: Opened, split: str) -> None:
    K, ignore = (MANY, ()) if opened.count_classes else (opened.num_classes, opened.ignore)
    try:
        dataset = open_dataset(opened.given, split, K, opened.name, ignore, strict=False)
    except DataError as error:
        opened.problems += [Problem("layout", text, split) for text in error.problems]
        opened.advice.setdefault("layout", []).extend(error.advice)
        return
    opened.datasets[split] = dataset
    opened.problems += [Problem("unpaired", text, split) for text in dataset.loose]
    if dataset.loose:
        advice = "give each mask the name of its image, apart from the suffix"
        opened.advice.setdefault("unpaired", []).append(advice)


def _open_others(opened: Opened, splits: Sequence[str]) -> None:
    for split in splits:
        try:
            opened.others[split] = open_dataset(opened.given, split, MANY, opened.name, strict=False)
        except DataError:
            continue  # whoever asks for that split will be told


def _shared_images(opened: Opened) -> list[Problem]:
    """Two lists may name the same images. All of one in the other is a choice; some of them may be a mistake."""
    files = {}
    for split, dataset in opened.datasets.items():
        if split not in opened.kind.about.overlapping:
            pairs = [dataset.files(i) for i in range(len(dataset))]
            files[split] = {pair[0]: i for i, pair in enumerate(pairs) if pair is not None}
    problems = []
    for (a, of_a), (b, of_b) in combinations(files.items(), 2):
        both = [path for path in of_a if path in of_b]
        if both and len(both) < min(len(of_a), len(of_b)):
            names = ", ".join(path.name for path in both[:3]) + (" …" if len(both) > 3 else "")
            problems.append(
                Problem("shared", f"{a} and {b} have {len(both)} images in common: {names}", b, of_b[both[0]])
            )
    return problems


def with_classes(opened: Opened, classes: Classes) -> None:
    """Give all splits these classes, and the values that are ignored beside."""
    ignored = tuple(dict.fromkeys((*classes.ignored_values, *opened.ignore)))
    for dataset in opened.datasets.values():
        dataset.classes = replace(classes, ignored_values=ignored)
