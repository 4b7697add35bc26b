"""Stepping through a network: a pause before every op, in which to look around.

    from scratchfcn.inspection.step import Stepper
    with sf.trace(model, before=Stepper()) as t:
        model(x)

The commands are in HELP. Questions and answers go through `ask` and `tell`, so that a program can ask them too.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from ..backend import to_numpy
from .trace import Moment, StopTracing, root_mean_square
from .trace_rows import TraceRow
from .trace_table import layer_text, map_text, maps_text, number

HELP = """\
n [COUNT]       next: run this op (or COUNT of them) and stop before the one after
c               continue without stopping
p [NAME[SLICE]] print numbers: p, p x, p w[0, 0], p x[0, :3, 10:14, 10:14]
s               the source of this op
g               the gradient: what arrives here, and where it goes
q               quit"""
NAMES = ("x", "w", "b")  # of an op's first, second and third input, as in ops/*.py
SHOWN = 8  # numbers along an axis, where no slice is given


class Stepper:
    """Give it to `trace` as `before`. `skip`: how many more ops run before the next pause; None: all."""

    def __init__(self, ask: Callable[[str], str] = input, tell: Callable[[str], None] = print) -> None:
        self.ask, self.tell = ask, tell
        self.skip: int | None = 0
        self.started = False

    def __call__(self, moment: Moment) -> None:
        """Pause before this op, and answer until told to go on. Errors: StopTracing, for q."""
        if moment.last is not None and self.skip is not None:
            self.tell(f"   {done(moment.last)}")
        if self.skip is None or self.skip > 0:
            self.skip = None if self.skip is None else self.skip - 1
            return
        if not self.started:
            self.tell(HELP + "\n")
            self.started = True
        self.tell(about_to_run(moment))
        while not self.answer(moment):
            pass

    def answer(self, moment: Moment) -> bool:
        """Ask once; whether to go on."""
        try:
            command, _, rest = self.ask("> ").strip().partition(" ")
        except EOFError:  # Ctrl-D
            self.tell("")
            raise StopTracing from None
        rest = rest.strip()
        if command in ("", "n", "next"):
            return self.go_on(rest)
        if command in ("c", "continue"):
            self.skip = None
            return True
        if command in ("q", "quit"):
            raise StopTracing
        if command in ("p", "print"):
            self.tell(printed(moment, rest))
        elif command in ("s", "source"):
            self.tell(source(moment))
        elif command in ("g", "gradient"):
            self.tell(gradient(moment))
        else:
            self.tell(HELP)
        return False

    def go_on(self, count: str) -> bool:
        if count and not (count.isdecimal() and int(count) > 0):
            self.tell(f"n takes a number of ops, such as n 5, not {count!r}")
            return False
        self.skip = int(count or 1) - 1
        return True


def about_to_run(moment: Moment) -> str:
    """ "→ forward 3: conv2d backbone.stage1.2 (16×96×96)"."""
    layer = f" {layer_text(moment.layer)}" if layer_text(moment.layer) else ""
    shapes = ", ".join(f"{name} {tuple(a.shape)}" for name, a in arrays_by_name(moment).items())
    return f"→ {moment.direction} {moment.number}: {moment.function.name}{layer}   {shapes}"


def done(row: TraceRow) -> str:
    """What came of the op before."""
    time = f"{number(1000 * row.seconds)} ms"
    wanted = [shape for shape in row.outputs if shape is not None]
    if row.direction == "forward":
        return f"{row.number} {row.op}: y {maps_text(wanted)}, |y| {number(row.magnitude)}, {time}"
    weights = "".join(f", |g {u.parameter}| {number(u.gradient)}" for u in row.updates)
    by_input = f"gx {maps_text(wanted)}" if wanted else "no gx"
    return f"{row.number} {row.op}: {by_input}{weights}, {time}"


# --- p ----------------------------------------------------------------------------------------------------


def arrays_by_name(moment: Moment) -> dict[str, Any]:
    """What there is to print: forward's inputs, or gy and the op's parameters."""
    if moment.direction == "backward":
        learned = zip(NAMES[1:], (array for _, array in moment.parameters), strict=False)
        return {"gy": moment.arrays[0], **dict(learned)}
    given = [a for a in moment.arrays if a is not None]
    learned = {id(array) for _, array in moment.parameters}
    if len(given) > 1 and not learned:  # maps that meet
        return {f"x{i}": array for i, array in enumerate(given)}
    return dict(zip(NAMES, given, strict=False))


def printed(moment: Moment, what: str) -> str:
    """The numbers that `p` asks for, or what is wrong with the question."""
    arrays = arrays_by_name(moment)
    match = re.fullmatch(r"(\w*)\s*(?:\[([^\]]*)\])?", what)
    name = (match[1] or next(iter(arrays))) if match else ""
    if name not in arrays:
        here = " and ".join(arrays)
        return f"there is {here} here; for example: p {next(iter(arrays))}, or p {next(iter(arrays))}[0, 0, :4, :4]"
    array = arrays[name]
    try:
        index = corner(array) if match[2] is None else index_of(match[2])
        part = array[index]
    except (ValueError, IndexError) as error:
        return f"{name} has shape {tuple(array.shape)}: {error}"
    shown = "" if index == () else f"[{index_text(index)}]"
    part = to_numpy(part)
    fixed = bool(part.size) and float(abs(part).max()) >= 0.01  # of small numbers the exponent is what matters
    numbers = np.array2string(part, precision=4, suppress_small=fixed, max_line_width=100, threshold=400)
    return f"{name}{shown}  of shape {tuple(array.shape)}, {array.dtype}\n{numbers}"


def corner(array: Any) -> tuple[int | slice, ...]:
    """The first numbers of the first map: what fits the screen."""
    return (0,) * max(0, array.ndim - 2) + (slice(None, SHOWN),) * min(2, array.ndim)


def index_of(text: str) -> tuple[Any, ...]:
    """ "0, :3, ..." as an index. Errors: ValueError for anything else."""
    return tuple(part_of(part.strip()) for part in text.split(",") if part.strip())


def part_of(text: str) -> Any:
    if text == "...":
        return ...
    if re.fullmatch(r"-?\d+", text):
        return int(text)
    if re.fullmatch(r"(-?\d+)?:(-?\d+)?(:(-?\d+)?)?", text):
        return slice(*[int(n) if n else None for n in text.split(":")])
    raise ValueError(f"{text!r} is no index; use numbers and ranges, such as 0, :4, 10:20")


def index_text(index: tuple[Any, ...]) -> str:
    """An index as people write it."""
    return ", ".join(slice_text(i) if isinstance(i, slice) else "..." if i is ... else str(i) for i in index)


def slice_text(part: slice) -> str:
    start, stop, step = ("" if n is None else str(n) for n in (part.start, part.stop, part.step))
    return f"{start}:{stop}" + (f":{step}" if step else "")


# --- s and g ----------------------------------------------------------------------------------------------


def source(moment: Moment) -> str:
    """The op's forward or backward, where it stands and as it stands there."""
    try:
        lines, first = inspect.getsourcelines(moment.method)
        return f"{inspect.getsourcefile(moment.method)}:{first}\n{''.join(lines).rstrip()}"
    except (OSError, TypeError):
        return f"{moment.function.name}: its source is in no file"


def gradient(moment: Moment) -> str:
    """What is known of the gradient before this op's turn."""
    if moment.direction == "forward":
        return "there is no gradient yet: it comes back from the loss, when forward is done"
    gy, edges = moment.arrays[0], moment.function.edges
    zeros = float((gy == 0).mean()) if gy.size else 0.0
    lines = [
        f"gy {map_text(gy.shape)}: |gy| {number(root_mean_square(gy))}, from {number(float(gy.min()))} to "
        f"{number(float(gy.max()))}, {100 * zeros:.0f}% of it 0"
    ]
    names = {id(array): name for name, array in moment.parameters}
    for i, edge in enumerate(edges):
        if edge is None:
            lines.append(f"input {i}: wants no gradient")
        elif hasattr(edge, "edges"):
            lines.append(f"input {i}: its gradient goes on to {edge.name}")
        else:
            lines.append(f"input {i}: its gradient is kept in .grad of {names.get(id(edge.data), 'a tensor')}")
    return "\n".join(lines)
