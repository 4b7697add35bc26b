"""Your own pictures: `images/train/a.jpg`, `masks/train/a.png`, and perhaps a `classes.toml` beside the two.

How many classes are there? `classes.toml` says so, or the caller does. If neither does, the masks are
asked: ids count from 0, so the largest one plus 1 is the number. *All* splits are asked, because a class
that happens not to occur in the validation masks is still a class.
"""

from pathlib import Path

from .background import in_background
from .datasets import FilePairs
from .errors import DataError
from .images import list_images, read_label
from .palette import IGNORE, VOC_NAMES, Classes


class Folder(FilePairs):
    """One split of a folder with `images/{split}` and `masks/{split}`, files paired by equal stems.

    Args:
        root: the folder that holds `images`, `masks` and possibly `classes.toml`.
        split: "train", "val" or any other.
        num_classes: overrides the number of names in `classes.toml`; needed by nobody, since without both the
            masks are searched for the largest id.

    Raises:
        DataError: a folder is missing or empty, an image or a mask is left over, or `classes.toml` is wrong.
    """

    def __init__(self, root: str | Path, split: str = "train", num_classes: int | None = None) -> None:
        root = Path(root)
        super().__init__(root, root / "images" / split, root / "masks" / split, _classes(root, num_classes))


def _classes(root: Path, num_classes: int | None) -> Classes:
    if (root / "classes.toml").exists():
        classes = Classes.from_toml(root / "classes.toml")
        return classes if num_classes is None else classes.resized(num_classes)
    if num_classes is None:
        num_classes = count_classes(root / "masks")
    # 21 classes are almost surely VOC's; to call the second of two classes "aeroplane" would only confuse.
    return Classes.voc() if num_classes == len(VOC_NAMES) else Classes.numbered(num_classes)


def count_classes(masks: Path) -> int:
    """The largest label except 255 in the masks of all splits, plus 1; at least 2.

    Raises:
        DataError: there is no mask, or none that can be read.
    """
    splits = sorted(folder for folder in masks.iterdir() if folder.is_dir()) if masks.is_dir() else []
    paths = [path for split in splits if any(split.iterdir()) for path in list_images(split)]
    largest, problems = -1, []
    for found in in_background(_largest_id, paths, workers=2, ahead=16):
        if isinstance(found, DataError):
            problems += found.problems  # a single bad mask is not yet our business: `check_pairs` reports it
        else:
            largest = max(largest, found)
    if len(problems) == len(paths):
        raise DataError(problems or f"{masks}: no masks to count the classes in", "save masks as index PNGs")
    return max(largest + 1, 2)


def _largest_id(path: Path) -> int | DataError:
    try:
        label = read_label(path)
    except DataError as error:
        return error
    return int(label.max(initial=0, where=label != IGNORE))
