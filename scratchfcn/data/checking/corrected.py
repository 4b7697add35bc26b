"""Writing a corrected copy. The originals are never touched.

There are two copies. `fix_masks` writes masks alone, into `masks_fixed` beside `masks`: whoever owns the data looks at
them and swaps the two folders. It writes every mask or, if one of them does not fit, none. `fix_copy` writes a whole
data set into a new folder, images and masks and classes.toml, in the layout of one's own folder, whichever layout it
came from. Pairs that nothing can mend, because a file is damaged or missing, are left out of it, and named.

Either copy is written under another name first and takes its own once it is whole, so a full disk or Ctrl-C leaves
nothing half-finished behind.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ...parallel import usable_cores
from ..background import in_background
from ..errors import DataError
from ..images import read_label
from ..palette import IGNORE, Classes
from ..pictures import save_mask
from ..sets import recognise
from ..sets.folder import mask_folders
from .check import Findings, check_data, coloured_classes
from .conversion import Conversion, Source, Survey, find_conversion
from .pair import ignored_values
from .palettes import OWN
from .plan import (
    ALL,
    TWICE,
    Job,
    all_kinds,
    in_other_splits,
    jobs_of_folder,
    jobs_of_splits,
    refuse_one_name_twice,
    refuse_several_views,
    refuse_unknown_kinds,
    to_leave_out,
)
from .problems import Problem

Progress = Callable[[str, int, int], None]  # ("reading" or "writing", masks done, masks in all)


@dataclass(frozen=True)
class Copy:
    """What `fix_copy` wrote.

    Attributes:
        folder: into which.
        kinds: which repairs were made.
        pairs: how many pairs each split has.
        left_out: what is wrong with the pairs that it lacks.
        twice: how many images, or groups of them, are in several splits still.
        classes: what the ids mean.
    """

    folder: Path
    kinds: tuple[str, ...]
    pairs: dict[str, int]
    left_out: list[Problem]
    twice: int
    classes: Classes


def fix_binary(root: str | Path, progress: Callable[[int, int], None] | None = None) -> Path:
    """Write every mask of `root/masks/{split}` to `root/masks_fixed/{split}` as PNG, with 1 in place of 255.

    Args:
        root: the data set's folder.
        progress: called with (masks done, masks in all).

    Returns:
        the folder written to.

    Raises:
        DataError: a mask cannot be read, or holds something else than 0 and 255 and so is not that mistake;
            or `masks_fixed` is there already. In all three cases nothing has been written.
    """

    def writing(what: str, done: int, total: int) -> None:
        if progress is not None and what == "writing":
            progress(done, total)

    return fix_masks(root, ["binary"], progress=writing)


def fix_masks(
    root: str | Path,
    kinds: Sequence[str],
    palette: str | None = None,
    values: Sequence[int] | None = None,
    ignore: Sequence[int] = (),
    workers: int | None = None,
    progress: Progress | None = None,
) -> Path:
    """Write every mask of `root/masks/{split}`, mended, to `root/masks_fixed/{split}` as PNG.

    A classes.toml goes into `masks_fixed` as well where it is needed: where there is none and the colours of a palette
    say what the classes are, or where there is one that gives classes values of their own, for the new masks hold ids.

    Args:
        root: the data set's folder.
        kinds: what to mend; see `conversion.KINDS`.
        palette: for "colours", the name of the palette; None to recognise it.
        values: for "renumber", the value of each class, in order; None to work it out.
        ignore: values that mean "not labelled".
        workers: threads; None for as many as there are cores.
        progress: called with ("reading" or "writing", masks done, masks in all).

    Returns:
        the folder written to.

    Raises:
        DataError: an unknown kind, or several that contradict each other; no folder `masks`; `masks_fixed` is there
            already; or every mask that cannot be mended. Nothing has been written then.
    """
    kinds = refuse_unknown_kinds(kinds)
    if "duplicates" in kinds:
        raise DataError("--fix duplicates leaves images out, so it writes a whole copy: add --output-dir DIR")
    root = Path(root)
    target = root / "masks_fixed"
    _refuse_existing(target)
    folders = mask_folders(root / "masks")
    jobs = [job for folder in folders for job in jobs_of_folder(root, folder)]
    if not jobs:
        raise DataError(f"{root / 'masks'}: no masks to mend", "for another layout: --output-dir DIR")
    declared = Classes.from_toml(root / OWN) if (root / OWN).exists() else None
    ignored = ignored_values(declared, ignore)
    coloured = coloured_classes(*recognise(root)) if (root / "images").is_dir() else None
    source = Source(root, read_label, declared, ignored, coloured)
    conversion = _find(source, kinds, jobs, palette, values, workers, progress)
    with new_folder(target) as folder:
        _write(jobs, conversion, folder, conversion.classes or Classes.numbered(IGNORE), workers, progress)
        if declared.file_values if declared else conversion.palette:
            (folder / OWN).write_text(classes_toml(conversion.classes), encoding="utf-8")
    return target


def fix_copy(
    root: str | Path,
    target: str | Path,
    kinds: Sequence[str],
    splits: Sequence[str] | None = None,
    num_classes: int | None = None,
    name: str | None = None,
    ignore: Sequence[int] = (),
    palette: str | None = None,
    values: Sequence[int] | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Copy:
    """Write a whole corrected data set into a new folder, and check that it is sound.

    Images are copied, byte by byte; masks are written anew, as PNGs of ids. What cannot be mended is left out.

    Args:
        root, splits, num_classes, name, ignore: see `check_data`.
        target: the new folder.
        kinds: what to mend, see `conversion.KINDS`; ["all"] for what `check_data` finds and knows how to mend, except
            "sizes", which must be asked for.
        palette, values, workers, progress: see `fix_masks`.

    Raises:
        DataError: an unknown kind; `target` is there already; something is wrong that these kinds do not mend and that
            is not one pair's alone; or nothing would be left of a split. Nothing has been written then.
    """
    target, everything = Path(target), ALL in kinds
    asked = [kind for kind in kinds if kind != ALL]
    asked += ["colours"] * (everything and palette is not None) + ["renumber"] * (everything and values is not None)
    if asked or not everything:
        asked = refuse_unknown_kinds(asked)
    _refuse_existing(target)
    reading = None if progress is None else lambda split, done, total: progress(f"checking {split}", done, total)
    found = check_data(root, splits, num_classes, name, ignore, True, False, workers, reading)
    refuse_several_views(found)
    kinds = all_kinds(found, asked) if everything else asked
    missing = to_leave_out(found, kinds, everything)
    if "duplicates" in kinds:
        missing += in_other_splits(found, missing)
    jobs = jobs_of_splits(found, missing)
    conversion = _find(_source(found, ignore), kinds, jobs, palette, values, workers, progress)
    classes = conversion.classes or found.classes
    if classes is None or len(classes) <= conversion.largest:
        classes = Classes.numbered(max(2, conversion.largest + 1))
    with new_folder(target) as folder:
        _write(jobs, conversion, folder, classes, workers, progress)
        (folder / OWN).write_text(classes_toml(classes), encoding="utf-8")
        _refuse_unsound(folder, target, "duplicates" in kinds)
    twice = 0 if "duplicates" in kinds else sum(problem.kind in TWICE for problem in found.problems)
    pairs = {split: sum(job.mask_to.parent.name == split for job in jobs) for split in found.splits}
    return Copy(target, tuple(kinds), pairs, missing, twice, classes)


def _source(found: Findings, ignore: Sequence[int]) -> Source:
    datasets = [split.dataset for split in found.splits.values()]
    read = datasets[0].read_values if datasets else read_label  # all splits of a data set read alike
    declared = None if found.counted else found.classes
    coloured = coloured_classes(found.kind, found.folder)
    return Source(found.folder, read, declared, ignored_values(found.classes, ignore), coloured)


def _find(
    source: Source,
    kinds: Sequence[str],
    jobs: Sequence[Job],
    palette: str | None,
    values: Sequence[int] | None,
    workers: int | None,
    progress: Progress | None,
) -> Conversion:
    """Read all masks, find the rule, and see that it fits each of them."""
    refuse_one_name_twice(jobs)

    def look(job: Job) -> tuple[Survey, list[str]]:
        survey = Survey()
        try:
            survey.add(source.contents(job.mask, kinds))
        except DataError as error:
            return survey, error.problems
        return survey, []

    survey, of_each, problems = Survey(), [], []
    for done, (held, wrong) in enumerate(_in_threads(look, jobs, workers), 1):
        survey.values.update(held.values)
        survey.colours.update(held.colours)
        of_each.append(held)
        problems += wrong
        if progress is not None:
            progress("reading", done, len(jobs))
    if problems:
        raise DataError(problems, "replace these files; or --fix all --output-dir DIR writes a copy without them")
    conversion = find_conversion(source, kinds, survey, palette, values)
    problems = [text for job, held in zip(jobs, of_each, strict=True) for text in conversion.misfits(job.mask, held)]
    if problems:
        raise DataError(problems, "choose another --fix, or a --palette or --values to go with it")
    return conversion


def _write(
    jobs: Sequence[Job],
    conversion: Conversion,
    folder: Path,
    classes: Classes,
    workers: int | None,
    progress: Progress | None,
) -> None:
    def write(job: Job) -> list[str]:
        for path in (job.mask_to, job.image_to):
            if path is not None:
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
        try:
            save_mask(folder / job.mask_to, conversion(job.mask, job.image), classes)
        except DataError as error:
            return error.problems
        if job.image_to is not None:
            shutil.copy2(job.image, folder / job.image_to)
        return []

    problems = []
    for done, wrong in enumerate(_in_threads(write, jobs, workers), 1):
        problems += wrong
        if progress is not None:
            progress("writing", done, len(jobs))
    if problems:
        raise DataError(problems, "nothing has been written")


def _in_threads(function: Callable, jobs: Sequence[Job], workers: int | None) -> Iterator:
    workers = usable_cores() if workers is None else workers
    return in_background(function, jobs, workers, ahead=4 * max(1, workers))


def _refuse_existing(target: Path) -> None:
    if target.exists():
        raise DataError(f"{target}: is there already", "look at it, then remove or rename it")


def _refuse_unsound(folder: Path, target: Path, duplicates: bool) -> None:
    found = check_data(folder, duplicates=duplicates, brightness=False)
    if not found.sound:
        texts = [problem.text.replace(str(folder), str(target)) for problem in found.problems]
        raise DataError(["the copy would not be sound, so it was not written:", *texts])


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """A folder to fill, which takes the name `target` at the end of the block; an exception leaves nothing behind."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        yield partial
        os.rename(partial, target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def classes_toml(classes: Classes) -> str:
    """The text of a classes.toml."""
    names = ", ".join(json.dumps(name, ensure_ascii=False).replace("\x7f", "\\u007f") for name in classes.names)
    colours = ", ".join(f'"#{r:02x}{g:02x}{b:02x}"' for r, g, b in classes.colours.tolist())
    return f"names = [{names}]\ncolours = [{colours}]\n"
