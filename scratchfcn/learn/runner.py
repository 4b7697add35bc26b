"""Run the check of one exercise on one file, and say what came out.

Cheapest failure first: does the file load, are its functions there, are they written, and then what check.py asks.
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from types import ModuleType

from .exercise import Exercise
from .guard import SECONDS, Stopped, debugger_at_the_terminal, place_of, time_limit
from .trial import Failure, Trial

PRINTED = 20  # lines of the learner's own prints that are shown


@dataclass(frozen=True)
class Result:
    """What a check found. `text` is all that the learner needs to read."""

    exercise: Exercise
    passed: bool
    text: str

    @property
    def line(self) -> str:
        """One line: for lists."""
        mark = "✓" if self.passed else "✗"
        reason = "" if self.passed else f": {self.reason}"
        return f"{mark} {self.exercise.number} {self.exercise.title}{reason}"

    @property
    def reason(self) -> str:
        """The first line of what is wrong."""
        lines = [line.strip() for line in self.text.splitlines()[1:] if line.strip()]
        failed = [line for line in lines if line.startswith("✗")]
        after = lines[lines.index(failed[-1]) + 1 :] if failed else lines
        return after[0] if after else ""


def run(exercise: Exercise, path: Path, *, seed: int = 0, device: str = "cpu", output: Path | None = None) -> Result:
    """Check the learner's file `path`. output: a folder for what a failing check leaves behind, or None."""
    trial = None
    title = f"{exercise.number} {exercise.title}"
    try:
        module, printed = load(exercise, path)
        check_functions(exercise, module)
        trial = Trial(exercise, path, module, seed, device, output, printed)
        load_check(exercise)(trial)
        trial.finish()
    except Failure as failure:
        lines = [f"✗ {title}", *[f"  ✓ {stage}" for stage in (trial.passed if trial else [])]]
        if trial and trial.failed_in and not str(failure).endswith("not written yet"):
            lines.append(f"  ✗ {trial.failed_in}")
        lines += ["", *_indented(str(failure)), *_prints(trial)]
        lines.append(f"  hint: scratchfcn learn hint {exercise.number}")
        return Result(exercise, False, "\n".join(lines))
    lines = [f"✓ {title}", *[f"  ✓ {stage}" for stage in trial.passed], *_prints(trial)]
    return Result(exercise, True, "\n".join(lines))


def load(exercise: Exercise, path: Path) -> tuple[ModuleType, str]:
    """The learner's file as a module, and what it printed: only this file, freshly read, and nothing of it is kept."""
    printed = StringIO()
    try:
        source = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise Failure(f"{path.name} is not there\n  fix: scratchfcn learn reset {exercise.number}") from None
    except UnicodeDecodeError as error:
        raise Failure(f"{path.name} is not text in UTF-8 ({error})") from None
    module = ModuleType(f"learner_{exercise.number}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # dataclasses and pickle look themselves up
    try:
        with debugger_at_the_terminal(sys.stdout), redirect_stdout(printed), time_limit(SECONDS):
            exec(compile(source, str(path), "exec"), module.__dict__)
    except SyntaxError as error:
        if error.filename != str(path):
            raise Failure(f"{path.name} cannot be loaded: {error}\n  at {place_of(error, path)}") from None
        arrow = f"\n  {' ' * (max(error.offset or 1, 1) - 1)}^" if error.text else ""
        text = f"\n  {error.text.rstrip()}{arrow}" if error.text else ""
        raise Failure(f"{path.name}, line {error.lineno}: {error.msg}{text}") from None
    except Stopped as error:
        raise Failure(
            f"{path.name} has not been loaded after {SECONDS} seconds\n  it was at {place_of(error, path)}"
        ) from None
    except KeyboardInterrupt as error:
        raise KeyboardInterrupt(f"stopped in {place_of(error, path)}") from None
    except (Exception, SystemExit) as error:
        raise Failure(
            f"{path.name} cannot be loaded: {type(error).__name__}: {error}\n  at {place_of(error, path)}"
        ) from None
    return module, printed.getvalue()


def check_functions(exercise: Exercise, module: ModuleType) -> None:
    """Every function of the blank is there and takes that many arguments."""
    for name, parameters in exercise.functions.items():
        function = getattr(module, name, None)
        wanted = f"{name}({', '.join(parameters)})"
        if not callable(function):
            raise Failure(f"there is no function {name} in {exercise.file_name}\n  it is called as {wanted}")
        try:
            signature = inspect.signature(function)
        except (TypeError, ValueError):  # a built-in, which does not tell
            continue
        try:
            signature.bind(*parameters)
        except TypeError as error:
            raise Failure(f"{name}{signature} cannot be called as {wanted}: {error}\n  fix: def {wanted}: …") from None


def load_check(exercise: Exercise) -> Callable[[Trial], None]:
    """The function `check` of the exercise's check.py."""
    namespace: dict[str, object] = {"__name__": f"scratchfcn.learn.check_{exercise.number}"}
    source = exercise.check_path.read_text(encoding="utf-8")
    exec(compile(ast.parse(source), str(exercise.check_path), "exec"), namespace)
    return namespace["check"]  # type: ignore[return-value]


def _indented(text: str) -> list[str]:
    first, *rest = text.splitlines()
    return [f"  {first}", *[f"  {line}" for line in rest]]


def _prints(trial: Trial | None) -> list[str]:
    """What the learner's own print() said."""
    lines = (trial.printed_first + trial.printed).splitlines() if trial else []
    if not lines:
        return []
    shown = [f"    {line}" for line in lines[-PRINTED:]]
    return [f"  your print() says{' (the last lines)' if len(lines) > PRINTED else ''}:", *shown]
