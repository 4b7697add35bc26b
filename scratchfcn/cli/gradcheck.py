"""`scratchfcn gradcheck [OP]`: every op's backward pass against finite differences, as a table.

`scratchfcn gradcheck FILE.py[:function]`: the same for a function of your own, with an explanation.
"""

import inspect
import shlex
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from .. import ops
from ..backend import DeviceError, resolve_device
from ..gradcheck import Report, gradcheck
from ..gradcheck_cases import Case, cases_of, difference_from_numpy, op_names
from ..gradcheck_files import (
    FileError,
    find,
    make_inputs,
    read_settings,
    read_shapes,
    refuse_unknown,
    shapes_with_labels,
    where,
)

SAME = 1e-9  # float64 sums in another order differ by less than this, relatively


def gradcheck_command(
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="[OP | FILE.py[:FUNCTION]]",
            help="The op to check, such as conv2d (all ops if left out), or a file of yours: with forward(x, …) and "
            "backward(gy, …), a scratchfcn.Function, or a function of Tensors.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the inputs and of the upstream gradient.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N (for ops).")] = "auto",
    list_ops: Annotated[bool, typer.Option("--list", help="Print the names of the ops and stop.")] = False,
    mistakes: Annotated[
        bool, typer.Option("--mistakes", help="Print the mistakes that are known by their numbers, of OP or of all.")
    ] = False,
    shapes: Annotated[
        str | None, typer.Option(help='FILE: the inputs\' sizes, "x=2,3,5,6 w=4,3,3,3 labels=2,5,6:4" (:4 = 0 … 3).')
    ] = None,
    op: Annotated[str | None, typer.Option(help="FILE: the op it is meant to be, to look up known mistakes.")] = None,
    settings: Annotated[str | None, typer.Option(help='FILE: its settings, such as "stride=2 padding=(1,0)".')] = None,
    index: Annotated[str | None, typer.Option(help="FILE: check one entry only, such as gw:0,0,2,0.")] = None,
    map_path: Annotated[
        Path | None, typer.Option("--map", help="FILE: write a picture of the worst gradient's errors here (PNG).")
    ] = None,
) -> None:
    """Check the gradients of one op, of all, or of your own file against finite differences in float64."""
    if list_ops:
        typer.echo("\n".join(op_names()))
        return
    if target is not None and ".py" in target:
        raise typer.Exit(check_file(target, seed, shapes, op, settings, index, map_path))
    for option, value in (("shapes", shapes), ("op", op), ("settings", settings), ("index", index), ("map", map_path)):
        if value is not None:
            _refuse(f"--{option} is for a file of yours: scratchfcn gradcheck FILE.py --{option} …")
    op = target
    if mistakes:
        typer.echo(list_of_mistakes(op))
        return
    if op is not None and op not in op_names():
        _refuse(no_such_op(op))
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


def check_file(
    target: str,
    seed: int,
    shapes: str | None,
    op: str | None,
    settings: str | None,
    index: str | None,
    map_path: Path | None,
) -> int:
    """Check what is in a file and print the report; the exit status: 0 right, 1 wrong (or only kinks)."""
    file = Path(target.rpartition(":")[0] if not target.endswith(".py") else target)
    if op is not None and op not in op_names():
        _refuse(no_such_op(op))
    try:
        given = read_settings(settings or "")
        subject = find(target, given)
        usual = subject.known_op(op_names()) if op is None else op
        sizes = cases_of(usual)[0].shapes if usual else {}
        refuse_unknown(given, subject, settings_of(usual))
        wanted = read_shapes(shapes or "")
        if usual == "softmax_cross_entropy" and subject.names:
            wanted = shapes_with_labels(wanted, sizes["logits"], subject)
        inputs = make_inputs(subject, wanted, sizes, seed)
        report = gradcheck(
            subject.fn, *inputs, names=subject.names, seed=seed, op=op, settings=given or None, index=index,
            name=subject.name,
        )  # fmt: skip
    except FileError as error:
        _refuse(str(error))
    except Exception as error:  # the file is its author's: show the line, not our own frames
        notes = "".join(f"\n  {note}" for note in getattr(error, "__notes__", []))
        _refuse(f"{file}: the check could not be finished\n{where(error, file)}{notes}")
    if report.wrong:
        words = ["scratchfcn", "gradcheck", target, "--seed", str(seed)]
        for option, value in (("--shapes", shapes), ("--op", op), ("--settings", settings)):
            words += [option, value] if value else []
        report.notes[:] = [
            note.replace("op=, settings=", "--op, --settings").replace("say settings=", "say --settings")
            for note in report.notes
            if not note.startswith("reproduce")
        ]
        report.notes.append(f"reproduce: {shlex.join([*words, '--index', report.worst_index])}")
    if map_path is not None:
        report.save_map(map_path)
        report.notes.append(f"map of errors: {map_path}")
    typer.echo(str(report))
    if report.wrong and index is None:
        typer.echo(report.map())
    return 0 if report.ok else 1


def settings_of(op: str | None) -> list[str]:
    """What an op takes beside its inputs; [] for an operator, such as add, and where there is no op."""
    function = getattr(ops, op or "", None)
    if function is None:
        return []
    inputs = ("x", "logits", "tensors") if op == "softmax_cross_entropy" else ("x", "tensors", "weight", "bias")
    return [name for name in inspect.signature(function).parameters if name not in inputs]


def list_of_mistakes(op: str | None) -> str:
    """The catalogue, as a list to read."""
    from ..mistakes import FORWARD, catalogue

    known = catalogue(op)
    if not known:
        names = sorted({mistake.op for mistake in catalogue()})
        _refuse(f"no mistakes are known of {op!r}; of these there are: {', '.join(names)}")
    lines, heading = [], None
    for mistake in known:
        if (mistake.op, mistake.which) != heading:
            heading = (mistake.op, mistake.which)
            what = "forward" if mistake.which == FORWARD else f"gradient of {mistake.which}"
            lines.append(f"\n{mistake.op}, {what}")
        lines.append(f"  {mistake.name}\n      {mistake.remedy}")
    return "\n".join([f"{len(known)} known mistakes", *lines])


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


def no_such_op(op: str) -> str:
    nearest = get_close_matches(op, op_names(), n=3, cutoff=0.4)
    hint = f"nearest: {', '.join(nearest)}; " if nearest else ""
    return f"there is no op {op!r}; {hint}scratchfcn gradcheck --list names them all"


def _refuse(message: str) -> NoReturn:
    """The command cannot be carried out: say why and exit with 2."""
    typer.echo(f"✗ {message}", err=True)
    raise typer.Exit(2)
