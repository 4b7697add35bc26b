"""The whole check: every split, every pair and every problem in one pass, and what can be said once all is read.

Masks are where data goes wrong: 255 for "object" although 255 means "ignored", ids that count from 1, a void value
nobody declared, a picture of colours, a mask of another size. All of it can be seen without training a single step,
and a wrong value found in epoch 1 has cost an evening. The same pass counts the pixels of each class, which says how
unequal the classes are and what weights would even them out; and it finds the photograph that is in training and in
validation.

Three ways in: `check_pairs` for one data set that is open already, `check_splits` for what training needs, and
`check_data` for everything.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...parallel import usable_cores
from ..background import in_background
from ..datasets import Dataset
from ..errors import DataError
from ..palette import Classes
from ..sets import VOC2012, PublishedSet
from .causes import explain
from .conclusions import Split, about_classes, about_duplicates, binary_masks, settle_classes
from .duplicates import Fingerprints, Same
from .evidence import Evidence
from .pair import Found, Look, ignored_values
from .palettes import own_classes
from .problems import Group, Problem
from .splits import Opened, open_splits
from .tally import Histogram, Tally

Progress = Callable[[str, int, int], None]  # (split, pairs done, pairs in all)
MANY = 8  # problems; with more, a page is easier to read than a list
OF_MASKS = ("classes", "colours", "order", "deep", "binary", "smooth", "values")  # kinds of problem with masks' values


@dataclass(frozen=True)
class Findings:
    """What `check_data` found.

    Attributes:
        root: the folder that was given.
        folder: the one in which the data set was found, which may lie below.
        kind: what kind of data set it is.
        counted: nothing but the masks says how many classes there are.
        splits: what was looked into, by name.
        overlapping: splits that were left out because they share images with others on purpose.
        problems: everything that is wrong, in the order of the splits.
        groups: the same by kind and cause, with what to do about it.
        warnings: what is no mistake, or may be none, by kind.
        same: images that occur more than once, or look as if they did; None if nobody asked.
        classes: the classes; None while their number is in doubt.
        train: the split to train on, if it could be opened; otherwise the first, or None.
        evidence: what the causes were deduced from.
        seconds: how long it took.
    """

    root: Path
    folder: Path
    kind: type[PublishedSet]
    counted: bool
    splits: dict[str, Split]
    overlapping: list[str]
    problems: list[Problem]
    groups: list[Group]
    warnings: list[Group]
    same: list[Same] | None
    classes: Classes | None
    train: Split | None
    evidence: Evidence
    seconds: float

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong. Warnings do not count."""
        return not self.problems

    def problems_of(self, split: str) -> int:
        """How many problems are a split's, or one of its pairs'."""
        return sum(problem.split == split for problem in self.problems)

    @property
    def pairs(self) -> int:
        """How many pairs were looked at."""
        return sum(len(split.dataset) for split in self.splits.values())


def check_data(
    root: str | Path,
    splits: Sequence[str] | None = None,
    num_classes: int | None = None,
    name: str | None = None,
    ignore: Sequence[int] = (),
    duplicates: bool = True,
    brightness: bool = True,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Findings:
    """Look into all splits of a data set, completely.

    Args:
        root: its folder.
        splits: which splits; None for all except those that share images with others on purpose.
        num_classes, name, ignore: see `open_dataset`.
        duplicates: look for images that occur twice.
        brightness: count the brightnesses of the images, for their mean and deviation.
        workers: threads that read; None for as many as there are cores, 0 for none beside the caller's own.
        progress: called with (split, pairs done, pairs of all splits) after each pair.

    Raises:
        DataError: no such folder, no known layout, or no such kind of data set. Everything else is found.
    """
    began = time.perf_counter()
    opened = open_splits(root, splits, num_classes, name, ignore)
    found = [Split(name, dataset) for name, dataset in opened.datasets.items()]
    prints = Fingerprints() if duplicates else None
    _read_all(opened, found, prints, brightness, workers, progress)
    classes, in_doubt = settle_classes(opened, found, _values_elsewhere(opened, workers))
    evidence = _evidence(opened, found, classes)
    same = None if prints is None else prints.same()
    twice, look_alikes = about_duplicates(same or [], found)
    problems = [*opened.problems, *in_doubt, *twice]
    for split in found:
        problems += [*split.problems, *binary_masks(split)]
    problems = _by_split(problems, list(opened.datasets))
    train = _to_train_on(opened, found)
    warnings = opened.warnings + look_alikes
    if not any(problem.kind in OF_MASKS for problem in problems):  # or the classes are not yet what they will be
        warnings += about_classes(found, train, classes, opened.count_classes)
    return Findings(
        Path(root),
        opened.root,
        opened.kind,
        opened.count_classes,
        {split.name: split for split in found},
        opened.overlapping,
        problems,
        explain(problems, evidence),
        explain(warnings, evidence),
        same,
        classes,
        train,
        evidence,
        time.perf_counter() - began,
    )


def check_splits(
    root: str | Path,
    num_classes: int | None = None,
    progress: Progress | None = None,
    splits: Sequence[str] | None = None,
    name: str | None = None,
    ignore: Sequence[int] = (),
) -> dict[str, tuple[Dataset, Histogram]]:
    """Open and check several splits of a data set, and tell the problems of all of them at once: what training needs.

    Duplicates are not looked for, which takes time and does not keep anybody from training.

    Args:
        root: the data set's folder.
        num_classes, name, ignore: see `open_dataset`.
        progress: called with (split, pairs done, pairs in this split) after each pair.
        splits: which ones, for example ("train", "val"); None for all except those that overlap with others on purpose.

    Returns:
        for each split, in the order asked for, the opened data set and how often each class occurs in it.

    Raises:
        DataError: every problem of every split, and what to do about it.
    """
    done: Counter[str] = Counter()

    def of_split(split: str, _: int, total: int) -> None:
        done[split] += 1
        progress(split, done[split], sizes[split])

    opened = open_splits(root, splits, num_classes, name, ignore)
    sizes = {split: len(dataset) for split, dataset in opened.datasets.items()}
    found = [Split(split, dataset) for split, dataset in opened.datasets.items()]
    _read_all(opened, found, None, False, None, None if progress is None else of_split)
    classes, in_doubt = settle_classes(opened, found, _values_elsewhere(opened, None))
    problems = [*opened.problems, *in_doubt]
    for split in found:
        problems += [*split.problems, *binary_masks(split)]
    _raise_if_wrong(_by_split(problems, list(opened.datasets)), _evidence(opened, found, classes))
    return {split.name: (split.dataset, split.histogram) for split in found}


def check_pairs(dataset: Dataset, progress: Callable[[int, int], None] | None = None) -> Histogram:
    """Read every image and every mask of one data set, completely, and count the classes.

    Args:
        dataset: any data set.
        progress: called with (pairs done, pairs in all) after each pair.

    Raises:
        DataError: every problem of every pair: files missing, damaged or cut short, image and mask of
            different size, mask values that are neither a class nor ignored, and, where there are two classes,
            masks that hold nothing but 0 and 255.
    """
    split = Split("", dataset)
    report = None if progress is None else lambda _, done, total: progress(done, total)
    _go_through([(split, Look(dataset))], None, None, report)
    ignored = ignored_values(dataset.classes)
    fixed = isinstance(dataset, PublishedSet) and not dataset.asks_for_classes
    evidence = Evidence(split.tally, dataset.classes, dataset.root, ignored=ignored, fixed_classes=fixed)
    _raise_if_wrong(split.problems + binary_masks(split), evidence)
    return split.histogram


def _read_all(
    opened: Opened,
    found: Sequence[Split],
    prints: Fingerprints | None,
    brightness: bool,
    workers: int | None,
    progress: Progress | None,
) -> None:
    coloured = coloured_classes(opened.kind, opened.root)
    looks = [
        (split, Look(split.dataset, split.name, brightness, prints is not None, coloured=coloured)) for split in found
    ]
    _go_through(looks, prints, workers, progress)


def coloured_classes(kind: type[PublishedSet], root: Path) -> Classes | None:
    """The classes, where it is known which colours palette files give them: by classes.toml, or because it is VOC."""
    return own_classes(root) or (kind.known_classes() if kind is VOC2012 else None)


def _go_through(
    looks: Sequence[tuple[Split, Look]], prints: Fingerprints | None, workers: int | None, progress: Progress | None
) -> None:
    """The one pass: threads read pair after pair, and what they find is added up here, in order."""
    items = [(split, look, i) for split, look in looks for i in range(len(split.dataset))]
    results = _in_threads(lambda item: item[1](item[2]), items, workers)
    for done, ((split, _, i), pair) in enumerate(zip(items, results, strict=True), 1):
        _add(split, i, pair)
        if prints is not None and pair.fingerprint is not None:
            prints.add(split.name, i, split.dataset.files(i), pair.fingerprint)
        if progress is not None:
            progress(split.name, done, len(items))


def _in_threads(function: Callable, items: Iterable, workers: int | None) -> Iterable:
    workers = usable_cores() if workers is None else workers
    return in_background(function, items, workers, ahead=4 * max(1, workers))


def _add(split: Split, i: int, pair: Found) -> None:
    if pair.values is not None:
        split.tally.add_mask(i, pair.values)
    if pair.size is not None:
        split.tally.add_image(pair.size, pair.brightness)
    split.tally.colours.update(pair.colours)
    split.tally.deep.update(pair.deep)
    split.problems += pair.problems


def _values_elsewhere(opened: Opened, workers: int | None) -> set[int]:
    """The values in the masks of splits that are not looked into, where they help to count the classes."""
    looks = [Look(dataset, split, only_masks=True) for split, dataset in opened.others.items()]
    items = [(look, i) for look in looks for i in range(len(look.dataset))]
    values: set[int] = set()
    for pair in _in_threads(lambda item: item[0](item[1]), items, workers):
        if pair.values is not None:
            values.update(pair.values.nonzero()[0].tolist())
    return values


def _evidence(opened: Opened, found: Sequence[Split], classes: Classes | None) -> Evidence:
    tally = Tally()
    for split in found:
        tally.add(split.tally)
    ignored = ignored_values(classes, opened.ignore)
    options = f" --dataset {opened.name}" if opened.name else ""
    options += f" --ignore {','.join(map(str, opened.ignore))}" if opened.ignore else ""
    return Evidence(
        tally,
        classes,
        opened.root,
        opened.given,
        options,
        opened.num_classes,
        ignored,
        not opened.kind.asks_for_classes,
        opened.advice,
    )


def _by_split(problems: Sequence[Problem], splits: Sequence[str]) -> list[Problem]:
    """In the order of the splits; first what is wrong with the whole. What has been said once is not said again."""
    order = {"": -1} | {split: k for k, split in enumerate(splits)}
    ordered = sorted(problems, key=lambda problem: order.get(problem.split, len(order)))
    first = {(problem.kind, problem.text): problem for problem in reversed(ordered)}
    return [problem for problem in ordered if first[problem.kind, problem.text] is problem]


def _to_train_on(opened: Opened, found: Sequence[Split]) -> Split | None:
    by_name = {split.name: split for split in found}
    return by_name.get(opened.kind.about.train) or by_name.get("train") or next(iter(found), None)


def _raise_if_wrong(problems: Sequence[Problem], evidence: Evidence) -> None:
    if not problems:
        return
    advice = []
    for group in explain(problems, evidence):
        if group.fixes:
            asks = group.cause.endswith("?")
            advice += [(" " if asks else ": ").join(filter(None, (group.cause, group.fixes[0]))), *group.fixes[1:]]
    if len(problems) > MANY and evidence.root is not None:
        advice.append(f"scratchfcn check-data --data {evidence.data} --report   (a page with all of it, and pictures)")
    raise DataError([problem.text for problem in problems], dict.fromkeys(advice))
