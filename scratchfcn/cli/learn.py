"""`scratchfcn learn …`: exercises to write a fully convolutional network with, and what checks them.

Exit statuses: 0 where the exercise is right (or nothing was checked), 1 where it is not, 2 where the command cannot be
carried out.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ..learn import Exercise, Folder

learn_app = typer.Typer(
    name="learn",
    help="Exercises: write the layers yourself, and be told what is wrong with them.\n\n"
    "Start with: scratchfcn learn init my-fcn",
    no_args_is_help=True,
)

SIDE_BY_SIDE = 160  # columns of a terminal that has room for two sources

Directory = Annotated[
    Path | None, typer.Option("--dir", help="The folder with your exercises; by default it is looked for around here.")
]
Number = Annotated[str, typer.Argument(help="The exercise, such as 03.", show_default=False)]
NextNumber = Annotated[
    str | None, typer.Argument(help="The exercise, such as 03; by default the next one.", show_default=False)
]
Device = Annotated[str, typer.Option(help="cpu, cuda or cuda:N: NumPy's arrays, or CuPy's.")]


@learn_app.command("init")
def init_command(
    directory: Annotated[Path, typer.Argument(help="The folder to make, or to add missing exercises to.")],
) -> None:
    """Make a folder with the exercises to write into."""
    from ..learn import EXERCISES, init

    folder, added = init(directory)
    if not added:
        typer.echo(f"{folder.path} has all {len(EXERCISES)} exercises already; nothing was changed")
    else:
        kept = f"; {len(EXERCISES) - len(added)} were there and stay as they are" * (len(added) < len(EXERCISES))
        typer.echo(f"{folder.path}: {len(added)} exercises added{kept}")
    first = folder.next() or EXERCISES[0]
    typer.echo(f"  1. open {folder.file(first)} in your editor: it says what to write")
    typer.echo("  2. scratchfcn learn watch      checks on every save, and goes on by itself")
    typer.echo("     or, one at a time: scratchfcn learn run · hint · list")


@learn_app.command("list")
def list_command(directory: Directory = None) -> None:
    """List the exercises, and how far you are."""
    from ..learn import EXERCISES, find_folder

    folder = find_folder(directory)
    upcoming = folder.next()
    for exercise in EXERCISES:
        status, hints = folder.status(exercise), folder.hints_read(exercise)
        mark = "✓" if status.startswith("passed") else "→" if exercise == upcoming else " "
        seen = f"   (hint {hints} of 3 read)" if hints else ""
        typer.echo(f"{mark} {exercise.number}  {exercise.title:<50}  {status}{seen}")
    done = sum(folder.passed(exercise) for exercise in EXERCISES)
    typer.echo(f"\n{done} of {len(EXERCISES)} passed" + (f"; next: {folder.file(upcoming)}" if upcoming else ""))


@learn_app.command("run")
def run_command(
    number: NextNumber = None,
    directory: Directory = None,
    device: Device = "cpu",
    seed: Annotated[int, typer.Option(min=0, help="Of the random cases.")] = 0,
) -> None:
    """Check an exercise."""
    folder, exercise = _meant(number, directory)
    if not _check(folder, exercise, _resolved(device), seed):
        raise typer.Exit(1)


@learn_app.command("watch")
def watch_command(directory: Directory = None, device: Device = "cpu") -> None:
    """Check whenever a file is saved, and go on to the next exercise by itself; Ctrl-C stops."""
    from ..learn import find_folder
    from ..learn.watch import watch

    folder, device = find_folder(directory), _resolved(device)
    watch(folder, lambda exercise: _check(folder, exercise, device), typer.echo)


@learn_app.command("hint")
def hint_command(
    number: NextNumber = None,
    level: Annotated[
        int | None,
        typer.Option(min=1, max=3, help="1: an idea; 2: the formula; 3: nearly the code. Default: the next."),
    ] = None,
    directory: Directory = None,
) -> None:
    """Show a hint; called again, the next one."""
    folder, exercise = _meant(number, directory)
    if level is None:
        level = min(folder.hints_read(exercise) + 1, len(exercise.hints))
    folder.remember_hint(exercise, level)
    typer.echo(f"{exercise.number} {exercise.title}: hint {level} of {len(exercise.hints)}\n")
    typer.echo(exercise.hints[level - 1])
    if level < len(exercise.hints):
        typer.echo(f"\nthe next one: scratchfcn learn hint {exercise.number}")
    else:
        typer.echo(f"\nthat was the last; still stuck? scratchfcn learn solution {exercise.number} --yes")


@learn_app.command("reset")
def reset_command(number: Number, directory: Directory = None) -> None:
    """Start an exercise afresh; what you wrote is kept beside it, as .bak."""
    folder, exercise = _meant(number, directory)
    kept = folder.reset(exercise)
    typer.echo(f"{folder.file(exercise)} is the blank again" + (f"; what you wrote is in {kept}" if kept else ""))


@learn_app.command("diff")
def diff_command(number: Number, directory: Directory = None) -> None:
    """Your file against the solution, line by line; after passing."""
    from difflib import unified_diff

    from ..learn import LearnError

    folder, exercise = _meant(number, directory)
    file = folder.file(exercise)
    if not folder.passed(exercise):
        raise LearnError(_not_passed(exercise))
    if not file.exists():
        raise LearnError(f"{file} is not there\n  fix: scratchfcn learn reset {exercise.number}")
    yours, ours = (text.splitlines() for text in (file.read_text(encoding="utf-8"), exercise.solution))
    lines = list(unified_diff(yours, ours, str(file), "solution", lineterm=""))
    typer.echo("\n".join(lines) if lines else "no difference: yours is the solution, letter for letter")


@learn_app.command("solution")
def solution_command(
    number: Number,
    directory: Directory = None,
    yes: Annotated[bool, typer.Option("--yes", help="Also before the exercise is passed.")] = False,
) -> None:
    """Show one way to write it; before passing, only with --yes."""
    from ..learn import LearnError

    folder, exercise = _meant(number, directory)
    if not yes and not folder.passed(exercise):
        raise LearnError(_not_passed(exercise))
    typer.echo(exercise.solution)


@learn_app.command("check-all")
def check_all_command(directory: Directory = None, device: Device = "cpu") -> None:
    """Check every exercise, a line for each."""
    from ..learn import EXERCISES, find_folder, run

    folder, device = find_folder(directory), _resolved(device)
    right = 0
    for exercise in EXERCISES:
        result = run(exercise, folder.file(exercise), device=device, output=folder.output)
        typer.echo(result.line)
        if result.passed:
            right += 1
            folder.remember_passed(exercise)
    typer.echo(f"\n{right} of {len(EXERCISES)} right ({device})")
    if right < len(EXERCISES):
        raise typer.Exit(1)


# --- shared -----------------------------------------------------------------------------------------------


@learn_app.command("read")
def read_command(
    op: Annotated[str | None, typer.Argument(help="An op, such as conv2d; without one they are listed.")] = None,
) -> None:
    """Read an op: its derivation, then the plain loops and the fast code, side by side."""
    from rich.columns import Columns
    from rich.console import Console
    from rich.panel import Panel
    from rich.syntax import Syntax

    from ..learn.reading import lesson, readable

    if op is None:
        typer.echo("scratchfcn learn read OP, one of: " + ", ".join(readable()))
        return
    found = lesson(op)
    console = Console(markup=False, highlight=False)
    sources = {} if found.loops is None else {f"scratchfcn/naive.py: {op}, the definition": found.loops}
    sources[f"{found.file}, line {found.first_line}: what runs"] = found.code
    console.rule(f"{op}: what it computes, and why backward is what it is", align="left")
    console.print(found.derivation + "\n", soft_wrap=True)
    if console.width < SIDE_BY_SIDE or len(sources) < 2:
        for title, source in sources.items():
            console.rule(title, align="left")
            console.print(source + "\n", soft_wrap=True)
        return
    panels = [
        Panel(Syntax(source, "python", theme="ansi_light", word_wrap=True), title=title, width=console.width // 2 - 1)
        for title, source in sources.items()
    ]
    console.print(Columns(panels, padding=(0, 1)))


def _meant(number: str | None, directory: Path | None) -> tuple[Folder, Exercise]:
    """The folder, and the exercise in it: the one asked for, else the next to pass."""
    from ..learn import LearnError, find, find_folder

    exercise = find(number) if number is not None else None  # a typing error first: it needs no folder
    folder = find_folder(directory)
    exercise = exercise or folder.next()
    if exercise is None:
        raise LearnError("every exercise is passed; say which one you mean, such as 03")
    return folder, exercise


def _resolved(device: str) -> str:
    from ..backend import resolve_device

    return resolve_device(device)


def _check(folder: Folder, exercise: Exercise, device: str = "cpu", seed: int = 0) -> bool:
    """Check, print what came out, and remember it; after the first pass, show a solution."""
    from ..learn import run

    result = run(exercise, folder.file(exercise), seed=seed, device=device, output=folder.output)
    typer.echo(result.text)
    if not result.passed:
        typer.echo(f"  file: {folder.file(exercise)}")
        return False
    if folder.remember_passed(exercise):
        typer.echo(f"\nPassed. One way to write it:\n\n{exercise.solution}")
    upcoming = folder.next()
    after = f"   next: {folder.file(upcoming)}" if upcoming else ""
    typer.echo(f"compare: scratchfcn learn diff {exercise.number}{after}")
    return True


def _not_passed(exercise: Exercise) -> str:
    n = exercise.number
    return (
        f"{n} is not passed yet; then this is shown. Until then there are hints: scratchfcn learn hint {n}\n"
        f"  to see the solution all the same: scratchfcn learn solution {n} --yes"
    )
