"""What a gradient check found, and the words for it.

The report of a failure says where (the worst entry, by index and by what the axes mean), how badly (both numbers and
their relative error, with the scale to read it by), what the errors have in common, and which known mistake makes
exactly these numbers. Then how to see that one entry again.
"""

from dataclasses import dataclass, field
from textwrap import wrap

import numpy as np

from .gradcheck_patterns import pattern

SCALE = "scale: >1e-2 wrong · 1e-4 suspicious · <1e-7 right (kinks excepted)"
FEW = 4  # gradients that are explained, of a model whose parameters are all wrong
WIDTH = 110  # columns of the report, at most
OF_IMAGE = ("image", "channel", "row", "column")
AXES = {
    ("conv2d", "weight"): ("filter", "in-channel", "row", "col"),
    ("conv1x1", "weight"): ("filter", "in-channel", "row", "col"),
    ("conv_transpose2d", "weight"): ("in-channel", "out-channel", "row", "col"),
    ("linear", "weight"): ("output", "input"),
    ("linear", "bias"): ("output",),
    ("softmax_cross_entropy", "logits"): ("image", "class", "row", "column"),
    ("batch_norm2d", "weight"): ("channel",),
    ("batch_norm2d", "bias"): ("channel",),
    ("conv2d", "bias"): ("filter",),
    ("conv1x1", "bias"): ("filter",),
    ("conv_transpose2d", "bias"): ("out-channel",),
}


@dataclass(frozen=True)
class Entry:
    """One number of one gradient, held against its finite difference."""

    number: int  # of the input, counted from 0; parameters follow the inputs
    input: str  # the input's name
    index: tuple[int, ...]
    analytic: float  # what backward says
    numeric: float  # what the finite difference says
    error: float  # relative; inf where one of the two is not finite
    verdict: str  # "ok", "wrong", or "kink": skipped

    @property
    def place(self) -> str:
        """`weight[0,0,2,1]`"""
        return f"{self.input}[{','.join(map(str, self.index))}]"

    @property
    def gradient_place(self) -> str:
        """`gweight[0,0,2,1]`"""
        return f"{gradient_name(self.input)}[{','.join(map(str, self.index))}]"


@dataclass(frozen=True)
class InputResult:
    """The gradient of one input (or parameter): every entry that was tried."""

    number: int
    name: str
    shape: tuple[int, ...]
    entries: list[Entry]
    analytic: np.ndarray = field(repr=False)  # what backward says, all of it
    known: str | None = None  # the known mistake, or that there is none; None where nobody looked
    op: tuple[str, str] | None = None  # the op, and what it calls this input, where they are known
    sizes: dict[str, int] = field(default_factory=dict, repr=False)  # numbers with a meaning, for the patterns

    @property
    def judged(self) -> list[Entry]:
        """The entries that are not kinks."""
        return [e for e in self.entries if e.verdict != "kink"]

    @property
    def checked(self) -> int:
        """How many entries got a verdict."""
        return len(self.judged)

    @property
    def wrong(self) -> int:
        """How many of the checked entries are wrong."""
        return sum(e.verdict == "wrong" for e in self.entries)

    @property
    def skipped(self) -> int:
        """How many entries lie on a kink."""
        return len(self.entries) - self.checked

    @property
    def ok(self) -> bool:
        """Whether entries were judged and none is wrong."""
        return self.checked > 0 and self.wrong == 0

    @property
    def word(self) -> str:
        """The verdict: "ok", "wrong", or "?" where every entry is a kink (or there is none)."""
        return "wrong" if self.wrong else "ok" if self.checked else "?"

    @property
    def worst(self) -> Entry | None:
        """The checked entry with the largest relative error (of equals, the largest difference)."""
        return max(self.judged, key=lambda e: (e.error, abs(e.analytic - e.numeric)), default=None)

    @property
    def numeric(self) -> np.ndarray:
        """What the finite differences say; NaN where nobody looked, and at kinks."""
        numeric = np.full(self.shape, np.nan)
        for entry in self.judged:
            numeric[entry.index] = entry.numeric
        return numeric

    @property
    def axes(self) -> tuple[str, ...]:
        """What the axes mean: of images, and of the weights of known ops; () where that is not known."""
        names = AXES.get(self.op, ()) if self.op else ()
        if not names and len(self.shape) == 4:
            kernel = self.name.split(".")[-1] in ("w", "weight", "kernel")
            names = AXES["conv2d", "weight"] if kernel and not self.op else OF_IMAGE
        return names[: len(self.shape)] if len(names) >= len(self.shape) else ()

    @property
    def pattern(self) -> str | None:
        """What the wrong entries have in common, in words."""
        wrong = np.zeros(self.shape, bool)
        for entry in self.entries:
            wrong[entry.index] = entry.verdict == "wrong"
        return pattern(self.analytic, self.numeric, wrong, self.axes, self.sizes)


@dataclass(frozen=True)
class Report:
    """What a gradient check found: true if all is well, and `str(report)` explains."""

    name: str  # of the function
    inputs: list[InputResult]
    rtol: float
    seed: int = 0
    notes: list[str] = field(default_factory=list)  # further lines, such as how to check one entry again

    @property
    def ok(self) -> bool:
        """Whether entries were judged and none is wrong. Of several inputs, one may be nothing but kinks."""
        return self.checked > 0 and self.wrong == 0

    @property
    def wrong(self) -> int:
        """How many of the checked entries are wrong."""
        return sum(result.wrong for result in self.inputs)

    @property
    def worst(self) -> Entry | None:
        """The checked entry with the largest relative error of all inputs; None if every entry was a kink."""
        entries = [result.worst for result in self.inputs if result.worst is not None]
        return max(entries, key=lambda e: e.error, default=None)

    @property
    def worst_index(self) -> str:
        """The worst entry as `index=` and `--index` take it: gw:0,0,2,0."""
        worst = self.worst
        name = f"g{worst.input}" if worst.input.isidentifier() else worst.input
        return f"{name}:{','.join(map(str, worst.index))}"

    @property
    def checked(self) -> int:
        return sum(result.checked for result in self.inputs)

    @property
    def skipped(self) -> int:
        return sum(result.skipped for result in self.inputs)

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        mark = "✗" if self.wrong else "✓" if self.ok else "?"
        lines = _heading(f"{mark} {self.name} backward", _verdicts(self.inputs))
        if not self.wrong:
            lines.append(f"  {self.checked} entries checked" + _worst_of(self))
        wrong = [result for result in self.inputs if result.wrong]
        for result in wrong[:FEW]:
            lines += _explain(result, self.rtol)
        if len(wrong) > FEW:
            lines.append(
                f"  … and {len(wrong) - FEW} more gradients are wrong; one op may spoil all that lie before it"
            )
        if self.skipped:
            lines.append(f"  {self.skipped} entries lie on a kink (ReLU at 0, a tie in a maximum) and were skipped")
        silent = [r.name for r in self.inputs if r.judged and not any(e.analytic or e.numeric for e in r.judged)]
        if silent:  # true, and it proves little: any mistake times 0 is 0 as well
            names = ", ".join(silent[:8]) + (" …" if len(silent) > 8 else "")
            lines.append(f"  the gradient is 0 at every entry checked, which says little, of {names}")
        for note in self.notes:
            lines += [f"  {note}"] if note.startswith("reproduce") else _wrapped(note)  # a command stays in one piece
        return "\n".join([*lines, f"  {SCALE}"])

    def map(self, name: str | None = None) -> str:
        """The errors of one input's gradient as blocks, for a terminal; by default of the worst input."""
        from .mistakes import maps

        result = self._result(name)
        return f"{gradient_name(result.name)} {result.shape}\n{maps.blocks(result.analytic, result.numeric)}"

    def save_map(self, path: str, name: str | None = None) -> None:
        """The same as a PNG: yours, expected and the error beside each other."""
        from .mistakes import maps

        result = self._result(name)
        title = f"{self.name}: {gradient_name(result.name)} {result.shape}"
        maps.save_png(path, result.analytic, result.numeric, title)

    def _result(self, name: str | None) -> InputResult:
        if name is None:
            name = self.worst.input if self.worst else self.inputs[0].name
        for result in self.inputs:
            if name in (result.name, gradient_name(result.name)):
                return result
        raise ValueError(f"there is no input {name!r}; there are {', '.join(r.name for r in self.inputs)}")


def gradient_name(name: str) -> str:
    """x → gx, weight → gweight; of a parameter deep in a model, "gradient of conv1.weight"."""
    return f"g{name}" if name.isidentifier() else f"gradient of {name}"


def _heading(subject: str, verdicts: list[str]) -> list[str]:
    """The verdicts after the subject, on as many lines as they need."""
    lines = [f"{subject}     {verdicts[0]}"]
    for verdict in verdicts[1:]:
        if len(lines[-1]) + 3 + len(verdict) > WIDTH:
            lines.append(f"      {verdict}")
        else:
            lines[-1] += f"   {verdict}"
    return lines


def _verdicts(inputs: list[InputResult]) -> list[str]:
    """`x ok`, `bias ?`, `WEIGHT wrong`; of a model with many parameters, those that are not ok."""
    words = [f"{r.name.upper() if r.wrong else r.name} {r.word}" for r in inputs]
    if len(inputs) > 8:
        fine = sum(r.ok for r in inputs)
        others = [f"{r.name} {r.word}" for r in inputs if not r.ok]
        words = [f"{fine} of {len(inputs)} ok", *others[:FEW], *["…"] * (len(others) > FEW)]
    return words


def _worst_of(report: Report) -> str:
    worst = report.worst
    if worst is None:
        return ": nothing could be judged; try other numbers"
    return f", worst relative error {worst.error:.1e} at {worst.place} = {_grade(worst.error, report.rtol)}"


def _explain(result: InputResult, rtol: float) -> list[str]:
    """Where the gradient of one input is wrong, by how much, what the errors have in common, and the known mistake."""
    worst = result.worst
    size = int(np.prod(result.shape))
    checked = f"{result.checked}" + ("" if result.checked == size else " checked")
    meaning = ", ".join(f"{axis} {i}" for axis, i in zip(result.axes, worst.index, strict=False))
    lines = [
        f"  gradient {gradient_name(result.name).removeprefix('gradient ')}  shape {result.shape}"
        f"   {result.wrong} of {checked} entries wrong   (tolerance rel {rtol:.0e})",
        f"  worst at {worst.gradient_place}" + (f"  ({meaning})" if meaning else ""),
        f"      yours  {worst.analytic:.6g}     finite difference  {worst.numeric:.6g}"
        f"     relative error {worst.error:.1e} = {_grade(worst.error, rtol)}",
    ]
    found = result.pattern
    if found and result.known and result.known.split(".")[0].endswith(("is doubled", "is halved")):
        found = found.split(";")[0]  # true of other batch sizes too, so that N is 2 here explains nothing
    lines += _wrapped(f"pattern: {found}") if found else []
    return [*lines, *_wrapped(f"known mistake: {result.known}")] if result.known else lines


def _wrapped(text: str) -> list[str]:
    """A long sentence as lines that a terminal holds."""
    return wrap(text, WIDTH, initial_indent="  ", subsequent_indent="      ", break_long_words=False)


def _grade(error: float, rtol: float) -> str:
    """The rung of the ladder that an error stands on."""
    if error > 1e-2:
        return "wrong"
    return "suspicious" if error > min(rtol, 1e-4) else "right"
