"""`scratchfcn check-data`: look at every image and mask before training, and mend what can be mended."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def check_data_command(
    data: Annotated[Path, typer.Option(help="Folder of the data set: images/ and masks/, or CamVid's.")],
    num_classes: Annotated[int | None, typer.Option(help="Classes in the masks. (default: as the data says)")] = None,
    fix: Annotated[str | None, typer.Option(help="binary: write 0/255 masks as 0/1 into a new folder.")] = None,
) -> None:
    """Open every pair of every split; report sizes, values and how often each class occurs."""
    from ..data import check_splits, fix_binary
    from ..training import SettingError
    from .console import make_console
    from .progress import Bar
    from .running import show_histogram

    console = make_console()
    if fix is not None:
        if fix != "binary":
            raise SettingError(f"--fix {fix!r} is not known; there is only: binary")
        with Bar("fixing", console) as bar:
            folder = fix_binary(data, bar.update)
        console.print(f"written: {folder}; the originals are as they were. To use them, rename the two folders.")
        return
    with Bar("checking", console) as bar:
        checked = check_splits(data, num_classes, bar.split)
    for split, (dataset, histogram) in checked.items():
        console.print(f"{split}: {len(dataset)} pairs, all sound", style="bold")
        show_histogram(histogram, console)
