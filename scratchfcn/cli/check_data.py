"""`scratchfcn check-data`: look at every image and mask before training, and mend what can be mended."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from ..data import Findings

FIX_HELP = (
    "Write a corrected copy: binary (0/255 to 0/1), colours (pictures of colours to ids), offbyone (ids from 1), "
    "renumber (0, 85, 170 … to 0, 1, 2), bits (16-bit masks to 8), threshold (blurred edges), extension (all to PNG), "
    "sizes (masks as large as their images), duplicates (an image in one split only); several with commas; or all: "
    "what is found and can be mended, but for sizes."
)


def check_data_command(
    data: Annotated[Path, typer.Option(help="Folder of the data set.")],
    dataset: Annotated[str | None, typer.Option(help="Which layout the folder has. (default: as it looks)")] = None,
    split: Annotated[
        list[str] | None, typer.Option(help="Splits to look into: train,val. (default: all that do not overlap)")
    ] = None,
    num_classes: Annotated[int | None, typer.Option(help="Classes in the masks. (default: as the data says)")] = None,
    ignore: Annotated[str | None, typer.Option(help='Further mask values that mean "not labelled": 0,11.')] = None,
    report: Annotated[
        Path | None, typer.Option(help="Write a page with all problems, histograms and samples. Alone: check-data.html")
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write everything found there, for programs.")
    ] = None,
    weights_out: Annotated[
        Path | None, typer.Option(help="Write class weights there, for train --class-weights FILE.")
    ] = None,
    weights: Annotated[str, typer.Option(help="By which formula: median or inverse (frequency).")] = "median",
    no_duplicates: Annotated[bool, typer.Option("--no-duplicates", help="Do not look for images twice.")] = False,
    workers: Annotated[int | None, typer.Option(help="Threads that read. (default: one for each core)", min=0)] = None,
    fix: Annotated[str | None, typer.Option(help=FIX_HELP)] = None,
    output_dir: Annotated[
        Path | None,
        typer.Option(
            help="With --fix: a new folder for a whole copy, images included, without the pairs that cannot be mended. "
            "(default: the masks alone, into DATA/masks_fixed)"
        ),
    ] = None,
    palette: Annotated[
        str | None, typer.Option(help="With --fix colours: classes.toml, voc2012, camvid … (default: recognised)")
    ] = None,
    values: Annotated[
        str | None, typer.Option(help="With --fix renumber: the value of each class, 0,85,170. (default: worked out)")
    ] = None,
) -> None:
    """Open every pair of every split; say what is wrong and why, how often classes occur, which images are there twice.

    Exit status: 0 if the data is sound, 2 if not. Nothing of it is ever changed; --fix writes copies.
    """
    from ..data import check_data
    from ..training import SettingError
    from .check_show import PairBar, say_how_to_go_on, show
    from .console import make_console
    from .parsing import values_option

    console = make_console()
    splits = None if not split else [name.strip() for names in split for name in names.split(",") if name.strip()]
    ignored = values_option(ignore) or ()
    if splits == []:
        raise SettingError("--split names no split; write --split train, or leave it out for all")
    if fix is None and (output_dir or palette or values):
        option = "--output-dir" if output_dir else "--palette" if palette else "--values"
        raise SettingError(f"{option} goes with --fix, which says what to mend")
    if fix is not None:
        for option, given in (("--report", report), ("--json", json_file), ("--weights-out", weights_out)):
            if given is not None:
                raise SettingError(f"--fix writes a copy and nothing else: leave out {option}, and give it in a check")
        mend(data, fix, output_dir, palette, values, console, splits, num_classes, dataset, ignored, workers)
        return
    if weights not in ("median", "inverse"):
        raise SettingError(f"--weights {weights!r} is not known; there are median and inverse")
    refuse_existing(report, json_file, weights_out)
    with PairBar(console) as bar:
        found = check_data(
            data, splits, num_classes, dataset, ignored, not no_duplicates, workers=workers, progress=bar.update_pairs
        )
    show(found, console)
    command = shlex.join(["scratchfcn", *sys.argv[1:]])
    if json_file is not None:
        from ..reports.check_report import figures

        write_text(json_file, json.dumps(figures(found, command), indent=1, ensure_ascii=False) + "\n")
        console.print(f"figures  {json_file}")
    if report is not None:
        from ..reports.check_report import check_page
        from ..reports.page import write_page

        console.print(f"report   {write_page(report, check_page(found, command))}")
    if weights_out is not None:
        write_weights(found, weights_out, weights, console)
    if not found.sound:
        say_how_to_go_on(found, report, console)
        raise typer.Exit(2)


def refuse_existing(report: Path | None, *files: Path | None) -> None:
    """SettingError where a file is there already; a page of an earlier check may be replaced, as a figure may."""
    from ..reports.check_report import MARK
    from ..training.run_folder import refuse_if_there

    for path, option in zip(files, ("--json", "--weights-out"), strict=True):
        if path is not None:
            refuse_if_there(path, option)
    if report is not None and not (report.is_file() and MARK in report.read_text("utf-8", errors="replace")[:20_000]):
        refuse_if_there(report, "--report")


def write_weights(found: Findings, path: Path, formula: str, console: Console) -> None:
    """Write the class weights of the training split."""
    from ..data.class_weights import write_class_weights
    from ..training import SettingError

    if found.train is None or found.classes is None:
        raise SettingError("--weights-out: without knowing the classes there are no weights; mend what is wrong first")
    histogram = found.train.histogram
    by_formula = {"median": histogram.median_frequency_weights, "inverse": histogram.inverse_frequency_weights}
    write_class_weights(path, found.classes, by_formula[formula]())
    console.print(f"weights  {path}   (scratchfcn train --class-weights {shlex.quote(str(path))})")


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    from ..files import replacing

    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def mend(
    data: Path,
    fix: str,
    output_dir: Path | None,
    palette: str | None,
    values: str | None,
    console: Console,
    splits: list[str] | None,
    num_classes: int | None,
    dataset: str | None,
    ignored: tuple[int, ...],
    workers: int | None,
) -> None:
    """--fix: write masks_fixed, or with --output-dir a whole data set, and say what was written."""
    from ..data import fix_copy, fix_masks
    from ..data.checking.plan import ALL
    from .check_show import FixBar, show_some

    kinds = [kind.strip() for kind in fix.split(",") if kind.strip()]
    order = class_values(kinds, palette, values)
    with FixBar("fixing", console) as bar:
        if output_dir is None:
            refuse_for_masks_alone(ALL in kinds, splits, num_classes, dataset)
            folder = fix_masks(data, kinds, palette, order, ignored, workers, bar.update_step)
        else:
            copy = fix_copy(
                data,
                output_dir,
                kinds,
                splits,
                num_classes,
                dataset,
                ignored,
                palette,
                order,
                workers,
                bar.update_step,
            )
    if output_dir is None:
        console.print(f"written: {folder}; the originals are as they were. To use them, rename the two folders.")
        if (folder / "classes.toml").exists():
            console.print(f"Move {folder}/classes.toml to {data} as well: it says which classes the ids are.")
        return
    pairs = ", ".join(f"{split} {count}" for split, count in copy.pairs.items())
    console.print(f"written: {copy.folder} ({pairs} pairs; mended: {', '.join(copy.kinds)})")
    twice = f", but {copy.twice} images are in several splits (--fix duplicates)" if copy.twice else ""
    console.print(
        f"it has been checked and is sound{twice}; images are copies, masks new PNGs; nothing else was changed"
    )
    if copy.left_out:
        console.print(f"left out: {len(copy.left_out)}", style="yellow")
        show_some(copy.left_out, 20, console)


def class_values(kinds: list[str], palette: str | None, values: str | None) -> list[int] | None:
    """--values as numbers. SettingError where it or --palette goes with none of the repairs."""
    from ..training import SettingError

    if palette is not None and not {"colours", "all"} & set(kinds):
        raise SettingError("--palette says what colours mean: it goes with --fix colours")
    if values is None:
        return None
    if not {"renumber", "all"} & set(kinds):
        raise SettingError("--values says which values are the classes: it goes with --fix renumber")
    parts = [part.strip() for part in values.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise SettingError(
            f"--values {values!r}: write the value of class 0, of class 1 and so on, for example 0,85,170"
        )
    return [int(part) for part in parts]


def refuse_for_masks_alone(
    everything: bool, splits: list[str] | None, num_classes: int | None, dataset: str | None
) -> None:
    """SettingError for options that make sense only for a whole copy."""
    from ..training import SettingError

    if everything:
        raise SettingError("--fix all writes a whole data set: add --output-dir DIR, a new folder")
    for option, given in (("--split", splits), ("--num-classes", num_classes), ("--dataset", dataset)):
        if given is not None:
            raise SettingError(
                f"--fix without --output-dir mends all masks in masks/, whatever their split: leave out {option}"
            )
