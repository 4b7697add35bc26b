"""What all masks together say, and where the data set lies: what causes are deduced from, and commands made of."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..palette import IGNORE, Classes
from .pair import known_values
from .tally import Tally


@dataclass(frozen=True)
class Evidence:
    """What is known once everything has been read.

    Attributes:
        tally: the sums over all splits.
        classes: the classes; None while their number is in doubt.
        root: the data set's folder; None if it is not made of files.
        given: the folder as it was given, for commands that can be pasted.
        options: further options that were given, to go into these commands: " --dataset camvid --ignore 3".
        num_classes: how many classes were asked for, if that was said.
        ignored: values that are known to mean "not labelled", 255 included.
        fixed_classes: the data set has classes of its own, which neither a number nor a classes.toml can change.
        advice: further things to do, by kind of problem.
    """

    tally: Tally
    classes: Classes | None
    root: Path | None
    given: Path | None = None
    options: str = ""
    num_classes: int | None = None
    ignored: frozenset[int] = frozenset({IGNORE})
    fixed_classes: bool = False
    advice: Mapping[str, list[str]] = field(default_factory=dict)

    @property
    def used(self) -> list[int]:
        """The values that stand for classes, or should: all that occur except ignored ones."""
        return [value for value in self.tally.values if value not in self.ignored]

    @property
    def bad(self) -> list[int]:
        """The values that occur and mean nothing."""
        known = np.zeros(256, bool) if self.classes is None else known_values(self.classes)
        return [value for value in self.used if not known[value]]

    def command(self, repair: str, more: str = "") -> str:
        """The command that mends masks, ready to be pasted."""
        if self.root is None:
            return f"mend the masks as scratchfcn check-data --fix {repair} does"
        if not has_mask_folder(self.root):
            return self.copying(repair, more)
        fix = f"scratchfcn check-data --data {self.data} --fix {repair}{more}"
        return f"{fix}   (writes {self.root}/masks_fixed; originals are kept)"

    def copying(self, repair: str, more: str = "") -> str:
        """The command that writes a whole corrected copy."""
        if self.root is None:
            return f"write a copy as scratchfcn check-data --fix {repair} does"
        where = (self.given or self.root).absolute()
        copy = shlex.quote(str(where.with_name(where.name + "_fixed")))
        classes = "" if self.num_classes is None else f" --num-classes {self.num_classes}"
        fix = f"scratchfcn check-data --data {self.data}{classes} --fix {repair}{more} --output-dir {copy}"
        return f"{fix}   (originals are kept)"

    @property
    def data(self) -> str:
        """What follows --data in a command: the folder, and the options that were given."""
        return shlex.quote(str(self.given or self.root)) + self.options


def has_mask_folder(root: Path) -> bool:
    """Whether there are `images` and `masks`, so that a folder `masks_fixed` can take the place of `masks`."""
    return (root / "images").is_dir() and (root / "masks").is_dir()
