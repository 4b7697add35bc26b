"""What is to be mended, what cannot be, and which file becomes which: the plan of a corrected copy.

A person names repairs, or says "all", and then it is what the check knows how to mend. Damaged and missing files nobody
can mend: their pairs are left out of a copy. Whatever else would stay wrong, a void value that nobody has declared for
example, is a reason to stop and ask.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import DataError
from ..images import list_images
from .check import Findings
from .conversion import KINDS, OF_VALUES
from .problems import Group, Problem

ALL = "all"
LEFT_OUT = ("unpaired", "unreadable", "jpeg", "refused", "size")  # pairs that a copy can do without
TWICE = ("duplicate", "near")  # no hindrance: a copy of what is in two splits may be in two splits
MENDED_BY = {
    "binary": {"binary"},
    "colours": {"colours"},
    "order": {"colours"},
    "deep": {"bits", "renumber"},
    "smooth": {"threshold"},
    "values": {"offbyone", "renumber", "threshold", "colours"},
    "classes": {"offbyone", "renumber", "threshold", "colours"},
    "size": {"sizes"},
}


@dataclass(frozen=True)
class Job:
    """One mask: where it is, where its copy goes, and the image it belongs to."""

    mask: Path
    mask_to: Path
    image: Path | None
    image_to: Path | None = None


def refuse_unknown_kinds(kinds: Sequence[str]) -> list[str]:
    """The kinds, each once; DataError for one that does not exist, and for two that give values different meanings."""
    for kind in kinds:
        if kind not in KINDS:
            near = difflib.get_close_matches(kind, [*KINDS, ALL], 1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise DataError(f"--fix {kind!r} is not known; {hint}there are {', '.join(KINDS)} and {ALL}")
    kinds = list(dict.fromkeys(kinds))
    of_values = [kind for kind in kinds if kind in OF_VALUES]
    if len(of_values) > 1:
        raise DataError(f"--fix {','.join(of_values)}: each gives the values another meaning; choose one")
    if not kinds:
        raise DataError("--fix: nothing to mend is named", f"there are {', '.join(KINDS)} and {ALL}")
    return kinds


def all_kinds(found: Findings, kinds: Sequence[str]) -> list[str]:
    """What the check has found and knows how to mend; sizes only if they were asked for beside."""
    mendable = [group.repair for group in found.groups if group.repair and group.repair != "sizes"]
    kinds = [*mendable, *kinds]
    return refuse_unknown_kinds(kinds or ["extension"])


def to_leave_out(found: Findings, kinds: Sequence[str], everything: bool) -> list[Problem]:
    """What is wrong with single pairs and stays so. Whatever else stays wrong is a reason to stop."""
    stays = [group for group in found.groups if group.kind not in TWICE and not _mends(group, kinds, everything)]
    stops = [group for group in stays if group.kind not in LEFT_OUT and group.problems[0].cause != "photograph"]
    if stops:
        problems = [problem.text for group in stops for problem in group.problems]
        raise DataError(problems, dict.fromkeys(line for group in stops for line in group.fixes))
    return [problem for group in stays for problem in group.problems]


def _mends(group: Group, kinds: Sequence[str], everything: bool) -> bool:
    """Whether these repairs are for this group: those that a person has chosen may be, where the cause is in doubt."""
    if group.kind in LEFT_OUT or (everything and group.repair):
        return group.repair in kinds
    return not MENDED_BY.get(group.kind, set()).isdisjoint(kinds)


def in_other_splits(found: Findings, left_out: Sequence[Problem]) -> list[Problem]:
    """A problem for each image that is in an earlier split as well; the split to train on counts as the first.

    left_out: pairs that are not in the copy anyway, so that their images are in no split of it.
    """
    order = list(dict.fromkeys([found.train.name, *found.splits])) if found.train else []
    broken = {(problem.split, problem.index) for problem in left_out}
    problems = []
    for same in found.same or []:
        members = sorted((m for m in same.members if m not in broken), key=lambda member: order.index(member[0]))
        for split, i in members:
            keep, kept = members[0]
            if split != keep:
                also = f"is in {keep} as well ({keep}/{_file_name(found, keep, kept)})"
                problems.append(Problem("duplicate", f"{split}/{_file_name(found, split, i)}: {also}", split, i))
    return problems


def _file_name(found: Findings, split: str, i: int) -> str:
    return found.splits[split].dataset.files(i)[0].name


def jobs_of_folder(root: Path, folder: Path) -> list[Job]:
    """All masks of a folder `root/masks/SPLIT`, with the images of their names."""
    images = root / "images" / folder.name
    image_of = {path.stem: path for path in list_images(images)} if images.is_dir() else {}
    return [Job(p, Path(folder.name, f"{p.stem}.png"), image_of.get(p.stem)) for p in list_images(folder)]


def jobs_of_splits(found: Findings, left_out: Sequence[Problem]) -> list[Job]:
    """All pairs of all splits but those left out. Raises DataError if nothing would be left of a split."""
    broken = {(problem.split, problem.index) for problem in left_out}
    jobs = []
    for split in found.splits.values():
        before = len(jobs)
        for i in range(len(split.dataset)):
            if (split.name, i) not in broken:
                image, mask = split.dataset.files(i)
                stem = split.dataset.name(i)
                image_to = Path("images", split.name, stem + image.suffix)
                jobs.append(Job(mask, Path("masks", split.name, f"{stem}.png"), image, image_to))
        if len(jobs) == before:
            raise DataError(f"{split.name}: no pair would be left in a corrected copy", "--split leaves this split out")
    return jobs


def refuse_several_views(found: Findings) -> None:
    """A folder of one's own has one picture and one mask for each image; DataError for a data set that has more."""
    if any(len(split.dataset.views()) > 1 for split in found.splits.values()):
        title = found.kind.about.title
        problem = f"{found.root}: {title} has several pictures or masks for each image, and a copy has one"
        raise DataError(problem, "take one of them with another --dataset: `scratchfcn data` lists them")


def refuse_one_name_twice(jobs: Sequence[Job]) -> None:
    """a.png and a.tif would both become a.png, and one of them be lost: DataError."""
    first: dict[Path, Path] = {}
    clashes = [(first.setdefault(job.mask_to, job.mask), job.mask) for job in jobs]
    problems = [f"{a} and {b.name} would both be written as {a.stem}.png" for a, b in clashes if a != b]
    if problems:
        raise DataError(problems, "remove or rename one of each")
