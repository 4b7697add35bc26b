"""`scratchfcn plot runs/*`: several runs in one picture, and a table of what they reached and how they differ."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from ..training.compare import RunRecord

SCORE_NAMES = {"pixel_acc": "pixel acc", "mean_acc": "mean acc", "mean_iu": "mean IU", "fw_iu": "f.w. IU"}
SHOWN_TOGETHER = 12  # runs; more can be drawn, but nobody will tell them apart


def plot_command(
    runs: Annotated[list[str], typer.Argument(help="Run folders, log.csv files, or a pattern such as 'runs/*'.")],
    output: Annotated[
        Path | None, typer.Option(help="The picture; where it exists, the next free name. (default: compare.png)")
    ] = None,
    x: Annotated[str, typer.Option(help="What goes to the right: epoch, step or hours (of training).")] = "epoch",
    per_class: Annotated[bool, typer.Option("--per-class", help="Compare each class's IU, too.")] = False,
    csv_file: Annotated[Path | None, typer.Option("--csv", help="Write the table there, for programs.")] = None,
) -> None:
    """Compare runs: curves in one picture; best epochs, sizes and speeds in a table, with the settings that differ."""
    from ..plots import X_AXES, plot_runs
    from ..training import SettingError
    from ..training.compare import class_table, read_runs, table_rows
    from ..training.run_folder import free_path, refuse_if_there
    from .console import make_console

    if x not in X_AXES:
        raise SettingError(f"--x {x!r} is not known; use {', '.join(X_AXES)}")
    if csv_file is not None:
        refuse_if_there(csv_file, "--csv")
    if output is not None and output.suffix.lower() != ".png":
        raise SettingError(f"--output {output}: the picture is a PNG; let its name end in .png")
    console = make_console()
    found, problems = read_runs(runs)
    for problem in problems:
        console.print(f"left out: {problem}", style="yellow")
    if not found:
        raise SettingError(f"none of {', '.join(runs)} holds a run that can be drawn")
    show(found, per_class, console)
    if len(found) > SHOWN_TOGETHER:
        console.print(f"note: {len(found)} curves in one picture are hard to tell apart; name fewer", style="yellow")
    curves = {run.name: {name: run.column(name) for name in ("epoch", "step", "mean_iu", "train_loss", "val_loss")}
              | {"hours": run.hours} for run in found}  # fmt: skip
    path = free_path(output or "compare.png")
    plot_runs(curves, path, x, class_table(found) if per_class else None)
    console.print(f"picture  {path}")
    if csv_file is not None:
        write_csv(csv_file, table_rows(found, per_class))
        console.print(f"table    {csv_file}")


Rows = list[tuple[str, list[str]]]  # a name, and a cell for each run


def show(runs: Sequence[RunRecord], per_class: bool, console: Console) -> None:
    """A column for each run: what it reached, its settings that not all have, and perhaps each class's IU."""
    from ..training.compare import SCORES, class_table, differing_settings

    sections = [
        [
            ("network", [run.network or "?" for run in runs]),
            ("parameters", [f"{run.parameters:,}" if run.parameters else "?" for run in runs]),
            ("images/s", [number(run.images_per_s, 1) for run in runs]),
            ("epochs", [done(run) for run in runs]),
            ("best epoch", [number(run.score("epoch"), 0) for run in runs]),
            *((SCORE_NAMES[name], [number(run.score(name), 4) for run in runs]) for name in SCORES),
        ]
    ]
    differing = differing_settings(runs)
    if differing:
        sections.append([(name, [as_setting(value) for value in values]) for name, values in differing.items()])
    if per_class:
        classes = class_table(runs)
        sections.append([(f"IU {name}", [number(value, 4) for value in values]) for name, values in classes.items()])
    print_in_pieces([run.name for run in runs], sections, console)
    if len(runs) > 1 and not differing:
        console.print("these runs do not differ in any setting")


def print_in_pieces(names: list[str], sections: list[Rows], console: Console) -> None:
    """One table, or several below each other, with as many runs each as the terminal is wide."""
    start = 0
    while start < len(names):
        stop = len(names)
        while stop > start + 1 and natural_width(table_of(names, sections, start, stop), console) > console.width:
            stop -= 1
        table = table_of(names, sections, start, stop)
        console.print(
            table, width=natural_width(table, console)
        )  # never cut: a terminal can wrap, a file is wide enough
        start = stop


def natural_width(table: Table, console: Console) -> int:
    """How wide a table is with every cell in one line."""
    return console.measure(table, options=console.options.update(max_width=10**6)).maximum


def table_of(names: list[str], sections: list[Rows], start: int, stop: int) -> Table:
    """The runs from `start` to before `stop`."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD)
    for name in ("", *names[start:stop]):  # as Text: a run may be called "[red]"
        table.add_column(Text(name), justify="right" if name else "left", no_wrap=True)
    for rows in sections:
        for label, cells in rows:
            table.add_row(Text(label), *map(Text, cells[start:stop]))
        table.add_section()
    return table


def done(run: RunRecord) -> str:
    """How many epochs of how many, and whether more are coming."""
    planned = (run.settings or {}).get("epochs", run.epochs)
    text = str(run.epochs) if planned == run.epochs else f"{run.epochs} of {planned}"
    return text + " (running)" * run.running


def number(value: float, digits: int) -> str:
    return "–" if math.isnan(value) else f"{value:.{digits}f}"


def as_setting(value: Any) -> str:
    """True → "yes", (180, 240) → "180, 240"."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "–" if value is None else str(value)


def write_csv(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """The table, with an empty cell where there is no number."""
    from ..files import replacing

    with replacing(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        for row in rows:
            cells = {n: "" if isinstance(v, float) and math.isnan(v) else v for n, v in row.items()}
            writer.writerow({n: as_setting(v) if isinstance(v, list | bool) else v for n, v in cells.items()})
