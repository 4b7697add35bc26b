"""What an exercise consists of: four files in a folder of the package (`scratchfcn/learn/__init__.py` says which)."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent / "exercises"


class LearnError(ValueError):
    """What was asked for cannot be done; the message says why, and what to do."""


@dataclass(frozen=True)
class Exercise:
    """One exercise, `number` "03" and `name` "conv_backward"."""

    number: str
    name: str
    path: Path

    @property
    def file_name(self) -> str:
        """Of the learner's file."""
        return f"{self.number}_{self.name}.py"

    @property
    def title(self) -> str:
        """The blank's first line, without the number: "convolution, backward"."""
        return self.task.splitlines()[0].partition("·")[2].strip()

    @property
    def task(self) -> str:
        """The blank's docstring."""
        return ast.get_docstring(ast.parse(self.blank)) or ""

    @property
    def blank(self) -> str:
        """What the learner gets; a remark to our linter about an import for later becomes one to the learner."""
        return re.sub(r"# noqa: F401 \((.*)\)", r"# \1", self._read("blank.py"))

    @property
    def solution(self) -> str:
        return self._read("solution.py")

    @property
    def check_path(self) -> Path:
        return self.path / "check.py"

    @property
    def hints(self) -> list[str]:
        """The three levels, from a question to nearly the code."""
        parts = re.split(r"^## \d\s*$", self._read("hints.md"), flags=re.MULTILINE)[1:]
        return [part.rstrip().lstrip("\n") for part in parts]  # a first line of code keeps its indent

    @property
    def functions(self) -> dict[str, list[str]]:
        """The functions to write, with the names of their parameters."""
        return functions_of(self.blank)

    def _read(self, name: str) -> str:
        return (self.path / name).read_text(encoding="utf-8")


def functions_of(source: str) -> dict[str, list[str]]:
    """The public functions of a Python file, with the names of their parameters."""
    found = [node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)]
    return {f.name: [a.arg for a in f.args.args] for f in found if not f.name.startswith("_")}


def _all() -> list[Exercise]:
    folders = sorted(p for p in HERE.iterdir() if re.match(r"\d\d_", p.name) and p.is_dir())
    return [Exercise(p.name[:2], p.name[3:], p) for p in folders]


EXERCISES = _all()


def find(text: str) -> Exercise:
    """The exercise meant by "3", "03", "conv_backward", "03_conv_backward" or "my-fcn/03_conv_backward.py"."""
    wanted = Path(text).name.removesuffix(".py")
    for exercise in EXERCISES:
        if wanted.zfill(2) == exercise.number or wanted in (exercise.name, f"{exercise.number}_{exercise.name}"):
            return exercise
    numbers = f"{EXERCISES[0].number} to {EXERCISES[-1].number}"
    raise LearnError(f"there is no exercise {text!r}; there are {numbers}: `scratchfcn learn list` names them")
