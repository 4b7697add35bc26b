"""What can be wrong with a data set, as values: a problem of one file or pair, and groups of one kind and cause.

A problem says what is seen, in words that name the file. Why it is so can often be told only from all masks together
(`causes.py`): then the problems of one kind are a group, with its likely cause and what to do about it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

# The kinds, in the order in which they are told: what keeps a data set from being opened comes first, then files, then
# pairs, then numbers. Each with the words for one and for several.
KINDS = {
    "layout": ("a split cannot be opened", "{} splits cannot be opened"),
    "classes": ("the number of classes is in doubt", "the number of classes is in doubt, {} times"),
    "unpaired": ("an image or a mask is without its partner", "{} images and masks are without their partner"),
    "unreadable": ("a file cannot be read", "{} files cannot be read"),
    "jpeg": ("a mask is a JPEG", "{} masks are JPEGs"),
    "colours": ("a mask holds colours instead of class ids", "{} masks hold colours instead of class ids"),
    "order": ("a mask's palette is in another order", "{} masks have their palette in another order"),
    "deep": ("a mask has values that no class id can have", "{} masks have values that no class id can have"),
    "binary": ("masks of 0 and 255", "masks of 0 and 255, in {} splits"),
    "smooth": ("masks with blurred edges", "masks with blurred edges"),
    "values": ("a mask has values that are no class", "{} masks have values that are no class"),
    "size": ("an image and its mask differ in size", "{} images and their masks differ in size"),
    "refused": ("a mask does not hold what it should", "{} masks do not hold what they should"),
    "shared": ("two splits have images in common", "{} pairs of splits have images in common"),
    "duplicate": ("an image is in two splits", "{} images are in several splits"),
    "near": ("images of different splits look the same", "{} times images of different splits look the same"),
    "repeated": ("an image occurs several times in a split", "{} images occur several times in a split"),
    "similar": ("images of one split look the same", "{} times images of one split look the same"),
    "unlearnable": ("classes that are validated but never trained", "classes that are validated but never trained"),
    "absent": ("classes that never occur", "classes that never occur"),
    "from one": ("class 0 never occurs", "class 0 never occurs"),
}


@dataclass(frozen=True)
class Problem:
    """Something wrong with one file, one pair or one split.

    Attributes:
        kind: one of `KINDS`.
        text: complete in itself, naming the file.
        split: in which split; "" for the whole data set.
        index: of the pair in the data set that was opened for the split; None where it is none's.
        cause: what this file alone gives away, as a key for `causes.py`: "git lfs", "turned".
        files: the files to look at.
    """

    kind: str
    text: str
    split: str = ""
    index: int | None = None
    cause: str = ""
    files: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Group:
    """Problems of one kind with one cause.

    Attributes:
        kind: one of `KINDS`.
        problems: at least one.
        cause: why it is so, most likely; "" where nothing can be said.
        fixes: what to do about it, a line each.
        repair: the `--fix` that mends it, if there is one.
    """

    kind: str
    problems: list[Problem]
    cause: str = ""
    fixes: list[str] = field(default_factory=list)
    repair: str = ""

    @property
    def title(self) -> str:
        """`12 files cannot be read`."""
        one, several = KINDS[self.kind]
        count = len(self.problems)
        return one if count == 1 else several.format(thousands(count))


def by_kind_and_cause(problems: Iterable[Problem]) -> list[list[Problem]]:
    """The problems sorted into groups, in the order of `KINDS`; within a group in the order given."""
    groups: dict[tuple[str, str], list[Problem]] = {}
    for problem in problems:
        groups.setdefault((problem.kind, problem.cause), []).append(problem)
    order = list(KINDS)
    return [groups[key] for key in sorted(groups, key=lambda key: order.index(key[0]))]


def thousands(number: int) -> str:
    """2 452: a thin gap reads the same in every country."""
    return f"{number:,}".replace(",", " ")
