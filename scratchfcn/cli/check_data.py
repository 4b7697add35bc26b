"""`scratchfcn check-data`: look at every image and mask before training, and mend what can be mended."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def check_data_command(
    data: Annotated[Path, typer.Option(help="Folder of the data set: images/ and masks/, or CamVid's.")],
    num_classes: Annotated[int | None, typer.Option(help="Classes in the masks. [default: as the data says]")] = None,
    fix: Annotated[str | None, typer.Option(help="binary: write 0/255 masks as 0/1 into a new folder.")] = None,
) -> None:
    """Open every pair of every split; report sizes, values and how often each class occurs."""
    from rich.console import Console

    from ..data import check_pairs, fix_binary, open_dataset, split_names
    from ..training import SettingError
    from .progress import Bar
    from .train import show_histogram

    console = Console(soft_wrap=True)
    if fix is not None:
        if fix != "binary":
            raise SettingError(f"--fix {fix!r} is not known; there is only: binary")
        with Bar("fixing", console) as bar:
            folder = fix_binary(data, bar.update)
        console.print(f"written: {folder}; the originals are as they were. To use them, rename the two folders.")
        return
    for split in split_names(data):
        dataset = open_dataset(data, split, num_classes)
        with Bar(f"checking {split}", console) as bar:
            histogram = check_pairs(dataset, bar.update)
        console.print(f"[bold]{split}[/bold]: {len(dataset)} pairs, all sound")
        show_histogram(histogram, console)
