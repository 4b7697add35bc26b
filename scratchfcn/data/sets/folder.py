"""Your own pictures: `images/train/a.jpg`, `masks/train/a.png`, and perhaps a `classes.toml` beside the two.

How many classes are there? `classes.toml` says so, or the caller does. If neither does, the masks are
asked: ids count from 0, so the largest one plus 1 is the number. *All* splits are asked, because a class
that happens not to occur in the validation masks is still a class. The answer is a guess, and where most ids
below the largest never occur it is a bad one (a void value 200 would make 201 classes): then a person must say.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from ..background import in_background
from ..datasets import as_set
from ..errors import DataError
from ..images import list_images, read_label
from ..palette import IGNORE, VOC_NAMES, Classes
from .published import About, PublishedSet


class Folder(PublishedSet):
    """One split of a folder with `images/{split}` and `masks/{split}`, files paired by equal stems.

    Args:
        root: the folder that holds `images`, `masks` and possibly `classes.toml`.
        split: "train", "val" or any other.
        num_classes: how many classes there are; overrides the number of names in `classes.toml`. Without either,
            it is the largest id in the masks of all splits plus 1.
        strict: see `FilePairs`.
        ignore: values in the masks that mean "not labelled", and so are no classes.

    Raises:
        DataError: a folder is missing or empty, an image or a mask is left over, `classes.toml` is wrong, or the
            masks leave the number of classes in doubt.
    """

    about = About(
        name="folder",
        title="A folder of your own",
        summary="Your photographs, and a mask of class numbers for each.",
        source="your camera and your patience",
        size="as large as you like",
        licence="yours",
        layout="images/\n"
        "  train/a.jpg …\n"
        "  val/b.jpg …\n"
        "masks/\n"
        "  train/a.png …\n"
        "  val/b.png …\n"
        "classes.toml   (optional: names, colours, values to ignore)",
        masks="grey or palette PNG, read as numbers: 0, 1, 2 … the classes, 255 not labelled (ignored)",
        notes=(
            "the folders in images/ are the splits: train, val, and any others",
            "without classes.toml, the largest number in the masks says how many classes there are",
        ),
    )
    asks_for_classes = True

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        num_classes: int | None = None,
        strict: bool = True,
        ignore: Sequence[int] = (),
    ) -> None:
        root = Path(root)
        images, masks = root / "images" / split, root / "masks" / split
        if images.is_dir() and not masks.is_dir():
            count = len(list_images(images))
            problem = f"{masks}: no such folder, but each image in {images} ({count} of them) needs a mask there"
            raise DataError(problem, f"put into {masks}, for each image, a PNG of its name; or move {images} away")
        super().__init__(root, images, masks, _classes(root, num_classes, ignore), strict)

    @classmethod
    def find(cls, root: Path) -> Path | None:
        return root if (root / "images").is_dir() and (root / "masks").is_dir() else None

    @classmethod
    def splits(cls, root: Path) -> list[str]:
        return sorted(p.name for p in (root / "images").iterdir() if p.is_dir() and not p.name.startswith("."))


def _classes(root: Path, num_classes: int | None, ignore: Sequence[int]) -> Classes:
    if (root / "classes.toml").exists():
        classes = Classes.from_toml(root / "classes.toml")
        classes = classes if num_classes is None else classes.resized(num_classes)
        return classes.also_ignoring(ignore)
    if num_classes is None:
        num_classes = count_classes(root / "masks", ignore)
    # 21 classes are almost surely VOC's; to call the second of two classes "aeroplane" would only confuse.
    classes = Classes.voc() if num_classes == len(VOC_NAMES) else Classes.numbered(num_classes)
    return classes.also_ignoring(ignore)


def mask_folders(masks: Path) -> list[Path]:
    """The folders of the splits in `masks`; hidden ones, such as notebooks leave behind, are none."""
    folders = masks.iterdir() if masks.is_dir() else []
    return sorted(folder for folder in folders if folder.is_dir() and not folder.name.startswith("."))


def count_classes(masks: Path, ignore: Sequence[int] = ()) -> int:
    """The largest label in the masks of all splits, except 255 and those to `ignore`, plus 1; at least 2.

    Raises:
        DataError: there is no mask, or none that can be read; or fewer than half of the ids up to the largest
            occur, which looks like a void value or like ids that were spread out to be visible.
    """
    paths = [path for folder in mask_folders(masks) if any(folder.iterdir()) for path in list_images(folder)]
    return classes_in(masks, paths, ignore)


def classes_in(
    masks: Path,
    paths: Sequence[Path],
    ignore: Sequence[int] = (),
    read: Callable[[Path], np.ndarray] | None = None,
) -> int:
    """How many classes the masks in these files have; see `count_classes`, and what it raises.

    masks: the folder that messages are about. read: what reads a mask, uint8 (H, W), where it is no index picture.
    """
    files = tuple((path, path.stat().st_mtime_ns, path.stat().st_size) for path in paths)
    values, problems = _values_in(files, read or read_label)
    if not values:
        raise DataError(problems or f"{masks}: no masks to count the classes in", "save masks as index PNGs")
    values = [value for value in values if value not in ignore]
    return number_of_classes(masks, values, problems)  # a single bad mask is not our business: `check_pairs` reports it


def number_of_classes(masks: Path, values: Sequence[int], problems: Sequence[str] = ()) -> int:
    """How many classes masks with these values have, in ascending order; see `count_classes`, and what it raises."""
    used = [value for value in values if value != IGNORE]
    K = max([value + 1 for value in used] + [2])
    if K > 2 and 2 * len(used) < K:
        raise DataError([_in_doubt(masks, values, K), *problems], _ways_out(masks, used, K))
    return K


@lru_cache(maxsize=8)
def _values_in(
    files: tuple[tuple[Path, int, int], ...], read: Callable[[Path], np.ndarray]
) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """All values in these masks, and what is wrong with those that cannot be read.

    A command opens several splits, and each asks about all masks. The answer is kept for as long as no file
    changes, which its time and its size, given with its path, would show.
    """

    def values_of(path: Path) -> np.ndarray | DataError:
        try:
            label = read(path)
        except DataError as error:
            return error
        return np.bincount(label.ravel(), minlength=256) > 0  # (256,)

    present, problems = np.zeros(256, bool), []
    for found in in_background(values_of, [path for path, _, _ in files], workers=2, ahead=16):
        if isinstance(found, DataError):
            problems += found.problems
        else:
            present |= found
    return tuple(np.flatnonzero(present).tolist()), tuple(problems)


def _in_doubt(masks: Path, values: Sequence[int], K: int) -> str:
    occur = sum(value != IGNORE for value in values)
    return (
        f"{masks}: how many classes? The largest value would make it {K}, but only {occur} of the ids 0..{K - 1} occur"
        f"\n  unique values {as_set(values)} in all splits together"
    )


def _ways_out(masks: Path, used: list[int], K: int) -> list[str]:
    gap = next((i for i in range(1, len(used)) if used[i] > used[i - 1] + 1), len(used) - 1)
    beyond = used[gap:]  # what follows the first gap
    return [
        f"if all of them are classes, renumber the masks to 0..{max(1, len(used) - 1)}, without gaps",
        f"if {as_set(beyond)} mean 'not labelled', give --ignore {','.join(map(str, beyond))}, or write into "
        f"{masks.parent / 'classes.toml'}: "
        f"names = [your classes' names] and ignore = [{as_set(beyond)[1:-1]}]",
        f"if there really are {K} classes, confirm it: --num-classes {K}",
    ]
