"""An op, ready to be read: its derivation, its definition as plain loops, and the code that runs.

All three are in the library already: the derivation in the docstring of the op's class, the loops in naive.py, the code
in ops/. This puts them next to each other.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from textwrap import dedent

from .. import naive, ops
from ..tensor import Function
from .exercise import LearnError


@dataclass(frozen=True)
class Lesson:
    """What there is to read of one op. loops: None for an op that naive.py leaves out, because it is one line."""

    op: str
    derivation: str
    loops: str | None
    code: str
    file: str  # of the code, relative to the package
    first_line: int


def readable() -> list[str]:
    """The ops that can be read, by the names they are called by."""
    return sorted(set(_classes()))


def lesson(op: str) -> Lesson:
    """The lesson on one op, "conv2d". Errors: LearnError for an unknown name, with the nearest ones."""
    classes = _classes()
    if op not in classes:
        near = get_close_matches(op, classes, n=3, cutoff=0.4)
        hint = f"did you mean {', '.join(near)}? " if near else ""
        raise LearnError(f"there is no op {op!r} to read; {hint}there are {', '.join(readable())}")
    found = classes[op]
    lines, first = inspect.getsourcelines(found)
    path = Path(inspect.getsourcefile(found) or "")
    loops = getattr(naive, op, None)
    return Lesson(
        op,
        inspect.getdoc(found) or "",
        None if loops is None else dedent(inspect.getsource(loops)).rstrip(),
        without_docstring(lines),
        "/".join(path.parts[path.parts.index("scratchfcn") :]) if "scratchfcn" in path.parts else path.name,
        first,
    )


def _classes() -> dict[str, type[Function]]:
    """Name people call an op by → its class."""
    found = [value for value in vars(ops).values() if isinstance(value, type) and issubclass(value, Function)]
    return {_called(each): each for each in found}


def _called(op: type[Function]) -> str:
    """`Conv2d` is called conv2d, `MaxPool2d` max_pool2d (see `Function.name`)."""
    letters = op.__name__
    return "".join("_" + c.lower() if c.isupper() and i else c.lower() for i, c in enumerate(letters))


def without_docstring(lines: list[str]) -> str:
    """A class's source without its own docstring, which is shown as the derivation."""
    start = next((i for i, line in enumerate(lines) if line.lstrip().startswith('"""')), None)
    if start is None:
        return "".join(lines).rstrip()
    one_line = lines[start].count('"""') == 2
    end = start if one_line else next(i for i in range(start + 1, len(lines)) if '"""' in lines[i])
    return "".join(lines[:start] + lines[end + 1 :]).rstrip()
