"""Which kind of data set is this? The names inside its folder tell, and if they do not, the message says what would."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

from ..datasets import Dataset
from ..errors import DataError
from .camvid import CamVid
from .camvid_original import CamVid32, CamVidOriginal
from .cityscapes import Cityscapes
from .folder import Folder
from .keras import KerasSegmentation
from .nyudv2 import NYUDv2, NYUDv2HHA, NYUDv2RGBHHA
from .pascal_context import PascalContext
from .published import PublishedSet, refuse_unknown_split
from .sbd import SBD
from .siftflow import SiftFlow, SiftFlowBoth, SiftFlowGeometric
from .voc import VOC2012

# In the order in which a folder is held against them: where two have one layout, the first is meant, and `--dataset`
# asks for the other.
KINDS: tuple[type[PublishedSet], ...] = (
    Folder,
    CamVid,
    CamVidOriginal,
    CamVid32,
    VOC2012,
    SBD,
    PascalContext,
    NYUDv2,
    NYUDv2HHA,
    NYUDv2RGBHHA,
    SiftFlow,
    SiftFlowGeometric,
    SiftFlowBoth,
    Cityscapes,
    KerasSegmentation,
)
SETS: dict[str, type[PublishedSet]] = {kind.about.name: kind for kind in KINDS}

MANY = 20  # folders looked into, for one that might have been meant

ACCEPTED = (
    "use one of these layouts:\n"
    "    images/train/a.jpg  masks/train/a.png  images/val/…  masks/val/…  (yours; classes.toml optional)\n"
    "    train/a.jpg  trainannot/a.png  val/…  valannot/…                  (CamVid)\n"
    f"    or that of a published data set: `scratchfcn data` lists them ({', '.join(SETS)})"
)


def open_dataset(
    root: str | Path,
    split: str,
    num_classes: int | None = None,
    name: str | None = None,
    ignore: Sequence[int] = (),
    strict: bool = True,
) -> Dataset:
    """Open one split of a data set, whichever of the known layouts its folder has.

    Args:
        root: the data set's folder.
        split: "train", "val", "test", …
        num_classes: how many classes the masks use, where the folder does not say. Published sets have their own.
        name: which of `SETS` it is; None looks at the folder.
        ignore: further mask values that mean "not labelled".
        strict: see `FilePairs`.

    Raises:
        DataError: no such folder, no known layout, no such split, or what the layout's own class raises.
    """
    kind, root = recognise(root, name)
    refuse_unknown_split(kind, root, split)
    if kind.asks_for_classes:
        return kind(root, split, num_classes, strict, ignore)
    dataset = kind(root, split, strict=strict)
    if num_classes not in (None, len(dataset.classes)):
        title, K = kind.about.title.partition(",")[0], len(dataset.classes)
        problem = f"{root}: {title}'s layout has {K} classes, but {num_classes} are asked for"
        raise DataError(problem, f"leave the number out, or arrange the folder as your own\n  {ACCEPTED}")
    if ignore and dataset.tasks:
        problem = (
            f"{root}: {' and '.join(dataset.tasks)} labels hold values of their own, so none can be ignored in both"
        )
        raise DataError(problem, "leave out --ignore, or take a data set of one task: `scratchfcn data` lists them")
    if ignore:
        dataset.classes = dataset.classes.also_ignoring(ignore)
    return dataset


def split_names(root: str | Path, name: str | None = None) -> list[str]:
    """The splits that a data set's folder offers, sorted: "train", "val" … Hidden folders are none.

    Raises:
        DataError: no such folder, no known layout, or one without any split.
    """
    kind, root = recognise(root, name)
    return kind.splits(root)


def recognise(root: str | Path, name: str | None = None) -> tuple[type[PublishedSet], Path]:
    """The kind of data set that lies in a folder, and the folder itself, which may be one below `root`.

    Raises:
        DataError: no such folder, no known layout or not the one named, or one without any split.
    """
    root = Path(root)
    if name is not None and name not in SETS:
        near = difflib.get_close_matches(name, SETS, 1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise DataError(f"--dataset {name!r} is not known; {hint}there are {', '.join(SETS)}")
    if not root.is_dir():
        raise DataError(f"{root}: no such folder", ACCEPTED)
    for kind in KINDS if name is None else (SETS[name],):
        found = kind.find(root)
        if found is not None:
            if not kind.splits(found):
                raise DataError(f"{found}: has no split: {kind.no_split}", layout_of(kind))
            return kind, found
    raise _not_recognised(root, name)


def _not_recognised(root: Path, name: str | None) -> DataError:
    """What the folder holds, what it nearly is, and how it should be."""
    kinds, advice = (KINDS, ACCEPTED) if name is None else ((SETS[name],), layout_of(SETS[name]))
    holds = f"it holds {_contents(root)}"
    for kind in kinds:
        nearly = kind.lacks(root)
        if nearly is not None:
            return DataError(f"{nearly.problems[0]}; {holds}", [*nearly.advice, layout_of(kind)])
    lacking = f"{root}: no known layout" if name is None else f"{root}: not the layout of {SETS[name].about.title}"
    return DataError(f"{lacking}{_instead(root, name)}; {holds}", advice)


def _instead(root: Path, name: str | None) -> str:
    """What else the folder is, or a folder in it: people give one too high, or the wrong name."""
    if name is not None:
        others = [kind for kind in KINDS if kind.find(root) is not None]
        return f", but that of {others[0].about.title} (--dataset {others[0].about.name})" if others else ""
    for folder in sorted(path for path in root.iterdir() if path.is_dir())[:MANY]:
        for kind in KINDS:
            if kind.find(folder) is not None:
                return f", but {folder} has that of {kind.about.title}"
    return ""


def layout_of(kind: type[PublishedSet]) -> str:
    """The layout, as advice."""
    lines = "".join(f"\n    {line}" for line in kind.about.layout.splitlines())
    return f"the files of {kind.about.title} must lie as `scratchfcn data {kind.about.name}` says:{lines}"


def _contents(root: Path) -> str:
    names = sorted(path.name + "/" * path.is_dir() for path in root.iterdir() if not path.name.startswith("."))
    shown = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
    return shown or "nothing"
