"""Which kind of folder is this? The names inside it tell, and if they do not, the message says what would."""

import difflib
from pathlib import Path

from .camvid import CamVid
from .datasets import Dataset
from .errors import DataError
from .folder import Folder

ACCEPTED = (
    "use one of these layouts:\n"
    "    images/train/a.jpg  masks/train/a.png  images/val/…  masks/val/…  (yours; classes.toml optional)\n"
    "    train/a.jpg  trainannot/a.png  val/…  valannot/…                  (CamVid)"
)


def open_dataset(root: str | Path, split: str, num_classes: int | None = None) -> Dataset:
    """Open one split of a data set, whichever of the known layouts its folder has.

    Args:
        root: the data set's folder.
        split: "train", "val", "test", …
        num_classes: how many classes the masks use, where the folder does not say. CamVid always has 11.

    Raises:
        DataError: no such folder, no known layout, no such split, or what the layout's own class raises.
    """
    root, splits = Path(root), split_names(root)
    if split not in splits:
        near = difflib.get_close_matches(split, splits, 1)
        hint = f"; nearest: '{near[0]}'" if near else ""
        raise DataError(f"{root}: no split '{split}'; there are {', '.join(splits)}{hint}")
    if _is_folder_layout(root):
        return Folder(root, split, num_classes)
    dataset = CamVid(root, split)
    if num_classes not in (None, len(dataset.classes)):
        problem = f"{root}: CamVid's layout has {len(dataset.classes)} classes, but {num_classes} are asked for"
        raise DataError(problem, f"leave the number out, or arrange the folder as your own\n  {ACCEPTED}")
    return dataset


def split_names(root: str | Path) -> list[str]:
    """The splits that a data set's folder offers, sorted: "train", "val" … Hidden folders are none.

    Raises:
        DataError: no such folder, no known layout, or one without any split.
    """
    root = Path(root)
    if not root.is_dir():
        raise DataError(f"{root}: no such folder", ACCEPTED)
    if _is_folder_layout(root):
        splits = [path.name for path in (root / "images").iterdir() if path.is_dir() and not _hidden(path)]
        if not splits:
            raise DataError(f"{root}: 'images' has no folder 'train', nor any other", ACCEPTED)
    else:
        annotated = [path for path in root.iterdir() if (root / f"{path.name}annot").is_dir()]
        splits = [path.name for path in annotated if not _hidden(path)]
        if not splits:
            raise DataError(f"{root}: no known layout; it holds {_contents(root)}", ACCEPTED)
    return sorted(splits)


def _is_folder_layout(root: Path) -> bool:
    return (root / "images").is_dir() and (root / "masks").is_dir()


def _hidden(path: Path) -> bool:
    return path.name.startswith(".")  # .ipynb_checkpoints, .git and their like


def _contents(root: Path) -> str:
    names = sorted(path.name + "/" * path.is_dir() for path in root.iterdir() if not _hidden(path))
    shown = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
    return shown or "nothing"
