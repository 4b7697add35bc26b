"""Mending the commonest mistake in masks: an object painted white, 255, where its class id, 1, was meant.

Nothing is overwritten. The mended masks go into a folder beside the old ones, and whoever owns the data
looks at them and swaps the two.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from .errors import DataError
from .images import list_images, read_label
from .palette import IGNORE, Classes
from .pictures import save_mask
from .sets.folder import mask_folders


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
    root = Path(root)
    target = root / "masks_fixed"
    if target.exists():
        raise DataError(f"{target}: is there already", "look at it, then remove or rename it")
    masks = [path for folder in mask_folders(root / "masks") for path in list_images(folder)]
    if not masks:
        raise DataError(f"{root / 'masks'}: no masks to mend")
    problems = [problem for path in masks for problem in _not_binary(path)]
    if problems:
        raise DataError(problems, "this repair is for masks of 0 and 255 only")
    classes = Classes.numbered(2)
    for done, path in enumerate(masks, 1):
        folder = target / path.parent.name
        folder.mkdir(parents=True, exist_ok=True)
        save_mask(folder / f"{path.stem}.png", read_label(path) // IGNORE, classes)
        if progress is not None:
            progress(done, len(masks))
    return target


def _not_binary(path: Path) -> list[str]:
    try:
        values = np.unique(read_label(path))
    except DataError as error:
        return error.problems
    return [] if set(values.tolist()) <= {0, IGNORE} else [f"{path}: holds {values.tolist()[:10]}"]
