"""What only the whole data set can tell, once everything has been read.

A mask of 0 and 255 may be background with void; a thousand of them, and none with a 1, are a binary mask saved for the
eye. How many classes are there, which of them never occur, which can be validated but not learned, and which images are
in two splits: none of that is seen in a single pair.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ..datasets import Dataset, main_view
from ..errors import SHOWN, DataError
from ..palette import IGNORE, VOC_NAMES, Classes
from ..sets import Folder
from ..sets.folder import number_of_classes
from .duplicates import Same
from .pair import value_line
from .patterns import blurred
from .problems import Problem, thousands
from .splits import Opened, with_classes
from .tally import Histogram, Tally


@dataclass
class Split:
    """What was found in one split.

    Attributes:
        name: "train", "val" …
        dataset: it, open.
        tally: its sums.
        problems: what is wrong with its files and pairs.
    """

    name: str
    dataset: Dataset
    tally: Tally = field(default_factory=Tally)
    problems: list[Problem] = field(default_factory=list)

    @property
    def histogram(self) -> Histogram:
        """How often each class occurs in the masks that could be read."""
        return self.tally.histogram(self.dataset.classes)


def binary_masks(split: Split) -> list[Problem]:
    """255 is allowed, as 'ignored'. But if 0 and 255 are all there is, 255 was meant to be the object.

    With more than two classes it is not judged: a few validation images may well show background alone. Nor is it if
    somebody has said what 255 means: that it is to be ignored, or the value of a class.
    """
    dataset, tally = split.dataset, split.tally
    said = (*dataset.classes.ignored_values, *dataset.classes.file_values)
    if len(dataset.classes) > 2 or tally.values != [0, IGNORE] or IGNORE in said:
        return []
    i = int(tally.first[IGNORE])
    values = _values(main_view(dataset), i)
    row, col = np.argwhere(values == IGNORE)[0]
    counted = f"{thousands(int(tally.masks_with[IGNORE]))} of {thousands(tally.masks)} masks"
    diagnosis = f": this looks like a BINARY mask saved as 0/255 ({counted} hold a 255, none a 1)"
    text = value_line(dataset, i, values, row, col) + diagnosis
    return [Problem("binary", text, split.name, i, files=dataset.files(i) or ())]


def _values(dataset: Dataset, i: int) -> np.ndarray:
    files = dataset.files(i)
    return dataset.read(i)[1] if files is None else dataset.read_values(files[1])


def settle_classes(opened: Opened, found: Sequence[Split], elsewhere: set[int]) -> tuple[Classes | None, list[Problem]]:
    """Which classes there are, where nothing but the masks can say; the splits are given them.

    Args:
        opened: the data set.
        found: its splits, read.
        elsewhere: values in masks of further splits, which count as well.

    Returns:
        the classes, None if their number is in doubt; and the problem, if they are.
    """
    if not found:
        return None, []
    if not opened.count_classes:
        return found[0].dataset.classes, []
    pixels = sum((split.tally.pixels for split in found), np.zeros(256, np.int64))  # (256,)
    values = sorted(({*np.flatnonzero(pixels).tolist()} | elsewhere) - set(opened.ignore))
    with_classes(opened, Classes.numbered(max([2, *(value + 1 for value in values if value != IGNORE)])))
    if not values or any(split.tally.colours for split in found):
        return None, []  # no mask could be read, or some are colour pictures: that has been said, and comes first
    masks = opened.root / "masks"
    if not masks.is_dir():
        masks = found[0].dataset.files(0)[1].parent
    if blurred(pixels):
        few = f"{masks}: {len(values)} different values, but nearly all pixels are 0 or 255"
        return None, [Problem("smooth", few)]
    try:
        K = number_of_classes(masks, values)
    except DataError as error:
        opened.advice.setdefault("classes", []).extend(error.advice)
        return None, [Problem("classes", text) for text in error.problems]
    # 21 classes are almost surely VOC's; to call the second of two classes "aeroplane" would only confuse.
    classes = Classes.voc() if len(VOC_NAMES) == K and opened.kind is Folder else Classes.numbered(K)
    with_classes(opened, classes)
    return found[0].dataset.classes, []


def about_duplicates(same: Sequence[Same], found: Sequence[Split]) -> tuple[list[Problem], list[Problem]]:
    """What is wrong about images that occur more than once, and what may be.

    Returns:
        problems: images in several splits. Warnings: images that are repeated within one.
    """
    problems, warnings = [], []
    of = {split.name: split.dataset for split in found}
    for group in same:
        names = [image_name(of[split], split, i) for split, i in group.members]
        shown = ", ".join(names[:4]) + (f" and {thousands(len(names) - 4)} more" if len(names) > 4 else "")
        words = "the same pixels" if group.exact else f"look the same, to {group.difference:.1%} of their brightness"
        text = f"{shown}: {words}" + ("; but their masks differ" if group.masks_differ else "")
        split, i = group.members[-1]
        files = tuple(path for s, k in group.members[:SHOWN] for path in (of[s].files(k) or ())[:1])
        across = len(group.splits) > 1
        kind = ("duplicate" if group.exact else "near") if across else ("repeated" if group.exact else "similar")
        (problems if across else warnings).append(Problem(kind, text, split, i, files=files))
    return problems, warnings


def image_name(dataset: Dataset, split: str, i: int) -> str:
    """`val/a.jpg`."""
    files = dataset.files(i)
    return f"{split}/{files[0].name if files else dataset.name(i)}"


def about_classes(found: Sequence[Split], train: Split | None, classes: Classes | None, counted: bool) -> list[Problem]:
    """Classes that never occur, and worse: those that are validated but never trained.

    counted: the number of classes was found in the masks, so that ids which count from 1 look like a class too many.
    """
    if classes is None or not found:
        return []
    warnings, seen = [], sum((split.histogram.pixels for split in found), np.zeros(len(classes), np.int64))
    from_one: tuple[str, ...] = ()  # the class that does not occur for that reason
    if counted and seen[0] == 0 and seen[1:].any():
        text = f"no mask holds a 0; the ids are 1..{np.flatnonzero(seen).max()}"
        warnings.append(Problem("from one", text))
        from_one = classes.names[:1]
    of_train = train.histogram.pixels  # (K,)
    for split in found:
        pixels = split.histogram.pixels
        if split is not train:
            never = _names(classes, (pixels > 0) & (of_train == 0))
            if never:
                warnings.append(Problem("unlearnable", f"in {split.name} but not in {train.name}: {never}", split.name))
        absent = _names(classes, pixels == 0, from_one if split is train else (*from_one, *classes.unscored))
        if absent:
            warnings.append(Problem("absent", f"not in {split.name}: {absent}", split.name))
    return warnings


def _names(classes: Classes, which: np.ndarray, but: Sequence[str] = ()) -> str:
    names = [name for name, wanted in zip(classes.names, which, strict=True) if wanted and name not in but]
    return ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
