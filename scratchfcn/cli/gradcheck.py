"""`scratchfcn gradcheck [OP]`: every op's backward pass against finite differences, as a table."""

from difflib import get_close_matches
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from ..backend import DeviceError, resolve_device
from ..gradcheck import Report
from ..gradcheck_cases import Case, cases_of, difference_from_numpy, op_names

SAME = 1e-9  # float64 sums in another order differ by less than this, relatively


def gradcheck_command(
    op: Annotated[str | None, typer.Argument(help="The op to check, such as conv2d; all ops if left out.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the inputs and of the upstream gradient.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    list_ops: Annotated[bool, typer.Option("--list", help="Print the names of the ops and stop.")] = False,
) -> None:
    """Check the gradients of one op, or of all, against finite differences in float64."""
    if list_ops:
        typer.echo("\n".join(op_names()))
        return
    if op is not None and op not in op_names():
        nearest = get_close_matches(op, op_names(), n=3, cutoff=0.4)
        hint = f"nearest: {', '.join(nearest)}; " if nearest else ""
        _refuse(f"there is no op {op!r}; {hint}scratchfcn gradcheck --list names them all")
    try:
        device = resolve_device(device)
    except (DeviceError, ValueError) as error:
        _refuse(str(error))

    console = Console()
    with console.status("checking …"):
        results = [(case, case.check(seed, device)) for case in cases_of(op)]
        from_numpy = [difference_from_numpy(case, seed, r) for case, r in results] if device != "cpu" else []
    console.print(table(results, from_numpy, device, seed, with_shapes=op is not None))
    not_right = [report for _, report in results if not report.ok]
    for report in not_right:
        console.print(str(report), markup=False, highlight=False)
    if not_right or any(difference > SAME for difference in from_numpy):
        raise typer.Exit(1)


def table(
    results: list[tuple[Case, Report]], from_numpy: list[float], device: str, seed: int, with_shapes: bool = True
) -> Table:
    """A row per case: what was called, how much of it was checked, and the verdict.

    from_numpy: per case, how far the GPU's gradients are from NumPy's; empty on the CPU. with_shapes: show the inputs'
    shapes, for which a table of all ops has no room.
    """
    table = Table(title=f"gradients against finite differences ({device}, float64, seed {seed})")
    for heading in ("op", "geometry", *["inputs"][:with_shapes]):
        table.add_column(heading, overflow="fold", no_wrap=heading == "op")
    for heading in ("checked", "kinks", "worst error", *["from NumPy"][: len(from_numpy)]):
        table.add_column(heading, justify="right")
    table.add_column("verdict", no_wrap=True)
    for i, (case, report) in enumerate(results):
        shapes = " ".join(str(shape).replace(" ", "") for shape in case.shapes.values())
        worst = "–" if report.worst is None else f"{report.worst.error:.1e}"
        numbers = [str(report.checked), str(report.skipped), worst, *[f"{d:.1e}" for d in from_numpy[i : i + 1]]]
        table.add_row(
            case.op,
            case.geometry,
            *[shapes][:with_shapes],
            *numbers,
            verdict(report, max(from_numpy[i : i + 1], default=0.0)),
        )
    return table


def verdict(report: Report, from_numpy: float = 0.0) -> str:
    """A word, in colour."""
    if report.wrong:
        return "[bold red]✗ wrong[/]"
    if from_numpy > SAME:
        return "[bold red]✗ not NumPy's[/]"
    return "[green]✓ right[/]" if report.ok else "[yellow]? only kinks[/]"


def _refuse(message: str) -> None:
    """The command cannot be carried out: say why and exit with 2."""
    typer.echo(f"✗ {message}", err=True)
    raise typer.Exit(2)
