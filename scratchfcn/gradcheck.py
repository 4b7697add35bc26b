"""Is a backward pass right? Ask the forward pass.

A derivative is a limit: move one input number x by a small h to either side and see how far the output goes,

    dy/dx  ≈  (y(x + h) - y(x - h)) / 2h                 (central difference, error about h²)

This needs nothing but the forward pass, so it can judge a backward pass that somebody has just written. It
is slow (two forward passes per number), so of a large input only some entries are tried, corners and borders
among them: that is where padding and window arithmetic go wrong.

Four things decide whether such a check can be trusted.

- *Float64.* In float32 the rounding of y, divided by 2h, drowns the derivative.
- *A random upstream gradient gy.* With all ones every output counts the same, and a backward that sends a
  gradient to the wrong place, or mixes up two axes, may still give the right sums. Different numbers leave
  no such hiding place.
- *The size of the error.* |yours - difference| / max(|yours|, |difference|, floor), where the floor is a
  thousandth of the largest entry of that gradient: an entry that is nearly 0 is judged by its neighbours'
  scale, not by its own rounding noise. How to read the result:

      > 1e-2 wrong   ·   1e-4 suspicious   ·   < 1e-7 right

- *Kinks.* At x = 0 ReLU has a slope of 0 to the left and 1 to the right, and a tie in a maximum is the same
  thing: there is no derivative, and the central difference gives the mean of the two slopes. Such an entry
  is skipped. How is it told apart from a mistake? Take smaller steps. Where the function is smooth, the
  slopes to the left and to the right approach each other as fast as h shrinks; at a kink they keep their
  distance. A mistake is not excused by a kink smaller than itself.

Random ops (dropout) get the same random numbers in every evaluation. What a function changes outside its
inputs (batch norm's running statistics) changes here as well: check a copy where that matters.
"""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from math import inf, isfinite, prod
from typing import Any

import numpy as np

from .backend import generator, is_array, manual_seed, to_device, to_numpy
from .tensor import Tensor, no_grad

FLOOR = 1e-3  # of the largest difference in a gradient: entries below count as this large
ROUNDING = 16 * np.finfo(np.float64).eps  # relative error of an output, generously
STEPS = (1.0, 1 / 64, 1 / 128)  # of eps, tried where a gradient disagrees
SCALE = "scale: >1e-2 wrong · 1e-4 suspicious · <1e-7 right (kinks excepted)"


# --- the report -------------------------------------------------------------------------------------------


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


@dataclass(frozen=True)
class InputResult:
    """The gradient of one input (or parameter): every entry that was tried."""

    number: int
    name: str
    shape: tuple[int, ...]
    entries: list[Entry]

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


@dataclass(frozen=True)
class Report:
    """What a gradient check found: true if all is well, and `str(report)` explains."""

    name: str  # of the function
    inputs: list[InputResult]
    rtol: float

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
    def checked(self) -> int:
        return sum(result.checked for result in self.inputs)

    @property
    def skipped(self) -> int:
        return sum(result.skipped for result in self.inputs)

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        mark = "✗" if self.wrong else "✓" if self.ok else "?"
        lines = [f"{mark} {self.name} backward     {_verdicts(self.inputs)}"]
        if not self.wrong:
            lines.append(f"  {self.checked} entries checked" + _worst_of(self))
        for result in self.inputs:
            if result.wrong:
                lines += _explain(result, self.rtol)
        if self.skipped:
            lines.append(f"  {self.skipped} entries lie on a kink (ReLU at 0, a tie in a maximum) and were skipped")
        silent = [r.name for r in self.inputs if r.judged and not any(e.analytic or e.numeric for e in r.judged)]
        if silent:  # true, and it proves little: any mistake times 0 is 0 as well
            names = ", ".join(silent[:8]) + (" …" if len(silent) > 8 else "")
            lines.append(f"  the gradient is 0 at every entry checked, which says little, of {names}")
        return "\n".join([*lines, f"  {SCALE}"])


def _verdicts(inputs: list[InputResult]) -> str:
    """`x ok   bias ?   WEIGHT wrong`; of a model with many parameters, those that are not ok."""
    words = [f"{r.name.upper() if r.wrong else r.name} {r.word}" for r in inputs]
    if len(inputs) > 8:
        fine = sum(r.ok for r in inputs)
        words = [f"{fine} of {len(inputs)} ok"] + [f"{r.name} {r.word}" for r in inputs if not r.ok]
    return "   ".join(words)


def _worst_of(report: Report) -> str:
    worst = report.worst
    if worst is None:
        return ": nothing could be judged; try other numbers"
    return f", worst relative error {worst.error:.1e} at {worst.place} = {_grade(worst.error, report.rtol)}"


def _explain(result: InputResult, rtol: float) -> list[str]:
    """Where the gradient of one input is wrong, by how much, and what the errors have in common."""
    worst = result.worst
    lines = [
        f"  gradient of {result.name}  shape {result.shape}"
        f"   {result.wrong} of {result.checked} checked entries wrong   (tolerance rel {rtol:.0e})",
        f"  worst at {worst.place}",
        f"      yours  {worst.analytic:.6g}     finite difference  {worst.numeric:.6g}"
        f"     relative error {worst.error:.1e} = {_grade(worst.error, rtol)}",
    ]
    found = pattern(result)
    return [*lines, f"  pattern: {found}"] if found else lines


def _grade(error: float, rtol: float) -> str:
    """The rung of the ladder that an error stands on."""
    if error > 1e-2:
        return "wrong"
    return "suspicious" if error > min(rtol, 1e-4) else "right"


def pattern(result: InputResult) -> str | None:
    """What the wrong entries have in common, if it is one of the simplest things; None otherwise."""
    judged = result.judged
    if any(not isfinite(e.analytic) for e in judged):
        return "yours holds NaN or infinity"
    if all(e.analytic == 0 for e in judged):
        return "yours is 0 everywhere: no gradient arrives here"
    factor = _constant_factor(judged)
    if factor is not None:
        name = "the sign is flipped: " if abs(factor + 1) < 1e-4 else ""
        return f"{name}yours × {factor:.4g} = expected, everywhere"
    roomy = len(result.shape) > 1 and min(result.shape[-2:]) > 3  # a 3x3 kernel is all border
    inner_ok = any(e.verdict == "ok" and not _on_border(e.index, result.shape) for e in judged)
    if roomy and inner_ok and all(_on_border(e.index, result.shape) for e in judged if e.verdict == "wrong"):
        return "wrong only on the border (first or last row or column); the interior is right"
    return None


def _constant_factor(entries: list[Entry]) -> float | None:
    """The one number that turns every entry of `yours` into the expected value, if there is one."""
    yours = np.array([e.analytic for e in entries])
    expected = np.array([e.numeric for e in entries])
    factor = float(yours @ expected / (yours @ yours))  # least squares
    largest = np.abs(expected).max()
    telling = np.count_nonzero(np.abs(expected) > FLOOR * largest)  # one number is a multiple of any other
    fits = np.abs(factor * yours - expected).max() < 1e-4 * largest
    return factor if telling > 1 and fits else None


def _on_border(index: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    """Whether an entry lies in the first or last row or column (of the last two axes)."""
    return any(i in (0, n - 1) for i, n in zip(index[-2:], shape[-2:], strict=True))


# --- the check --------------------------------------------------------------------------------------------


def gradcheck(
    fn: Callable[..., Tensor],
    *inputs: Any,
    params: Mapping[str, Tensor] | None = None,
    names: Sequence[str] | None = None,
    rtol: float = 1e-5,
    eps: float = 1e-5,
    samples: int = 64,
    seed: int = 0,
) -> Report:
    """Hold the gradients of `fn(*inputs)` against central differences, in float64.

    fn: takes Tensors, returns one Tensor of any shape; an op, a model or a lambda.
    inputs: floating point arrays, and Tensors with requires_grad=True, are checked. Other Tensors and arrays
        are constants; everything else (None, numbers) is handed on as it is. Nothing of yours is changed.
    params: name → Parameter, checked in place: each gets float64 data for the time of the check and its own
        data and `.grad` back afterwards. Of a model, `dict(model.named_parameters())` is the default.
    names: what the report calls the inputs; by default what fn calls its arguments.
    rtol: an entry with a larger relative error is wrong. eps: the step h. samples: entries tried per input;
        all if it has fewer. seed: of the upstream gradient, the choice of entries, and the random ops within
        `fn`.
    Errors: whatever fn or its backward raises, with a note that names the inputs; TypeError where fn returns
    anything but a float64 Tensor; ValueError where there is nothing to check, where fn's output is not
    finite, where fn gives two different outputs for the same inputs, or where `samples` is less than 1.
    """
    if samples < 1:
        raise ValueError(f"gradcheck: samples must be at least 1, got {samples}: without any, nothing is checked")
    if params is None:
        params = dict(fn.named_parameters()) if hasattr(fn, "named_parameters") else {}
    arguments, variables = _read_inputs(inputs, names or _input_names(fn, len(inputs)))
    with _generator_restored(), _in_float64(params.values()):
        learned = [(name, p) for name, p in params.items() if p.requires_grad]
        variables += [_Variable(n, name, p) for n, (name, p) in enumerate(learned, len(inputs))]
        if not variables:
            raise ValueError(
                "gradcheck: nothing to check: no floating point array and no Tensor with requires_grad=True"
            )
        probe = _Probe(fn, arguments, variables, seed)
        gradients = probe.gradients()
        rng = np.random.default_rng(seed)
        results = []
        for variable, gradient in zip(variables, gradients, strict=True):
            indices = sample_indices(variable.host.shape, samples, rng)
            results.append(_check_input(probe, variable, gradient, indices, rtol, eps))
    return Report(_name_of(fn), results, rtol)


def _check_input(
    probe: "_Probe",
    variable: "_Variable",
    gradient: np.ndarray,
    indices: list[tuple[int, ...]],
    rtol: float,
    eps: float,
) -> InputResult:
    """All differences first, because the largest sets the scale by which each of them is judged."""
    differences = [probe.difference(variable, index, eps) for index in indices]
    floor = FLOOR * max((abs(d.slope) for d in differences if isfinite(d.slope)), default=0.0)
    entries = []
    for index, difference in zip(indices, differences, strict=True):
        analytic = float(gradient[index])
        error = relative_error(analytic, difference, floor, rtol)
        verdict, numeric = "ok", difference.slope
        if not error <= rtol:
            verdict, numeric, error = _second_look(probe, variable, index, analytic, floor, rtol, eps)
        entries.append(Entry(variable.number, variable.name, index, analytic, numeric, error, verdict))
    return InputResult(variable.number, variable.name, variable.host.shape, entries)


def _second_look(
    probe: "_Probe",
    variable: "_Variable",
    index: tuple[int, ...],
    analytic: float,
    floor: float,
    rtol: float,
    eps: float,
) -> tuple[str, float, float]:
    """An entry disagrees: is it wrong, is it a kink, or was the step too long?

    Smaller steps leave a nearby kink, and the curvature, outside. Where none of them agrees either, the slopes left
    and right decide: with h their distance (`jump`) shrinks 64 times where the function is smooth, and stays at a
    kink. (Rounding makes it grow 64 times; that is no kink.) Any slope that backward may choose at a kink lies within
    the jump, so a larger error is an error all the same. The last step, half as long once more, is for a kink at the
    very end of the one before: it shows hardly a jump there, and lies outside now.
    Returns (verdict, numeric, error).
    """
    looks = [probe.difference(variable, index, eps * step) for step in STEPS]
    errors = [relative_error(analytic, look, floor, rtol) for look in looks]
    error, numeric = min((error, look.slope) for error, look in zip(errors, looks, strict=True))
    if error <= rtol:
        return "ok", numeric, error
    long, short, _ = looks
    stays = long.jump / 8 < short.jump < long.jump * 2
    if stays and abs(analytic - short.slope) <= short.jump:
        return "kink", short.slope, errors[1]
    return "wrong", numeric, error


def relative_error(analytic: float, difference: "_Difference", floor: float, rtol: float) -> float:
    """|a - n| / max(|a|, |n|, floor); a deviation that rounding alone can cause never exceeds `rtol`."""
    numeric = difference.slope
    if not (isfinite(analytic) and isfinite(numeric)):
        return inf
    size = max(abs(analytic), abs(numeric), floor, difference.rounding / rtol)
    return abs(analytic - numeric) / size if size else 0.0


def sample_indices(shape: tuple[int, ...], samples: int, rng: np.random.Generator) -> list[tuple[int, ...]]:
    """Which entries to try: all if they are few, else the corners, then by turns any and one on the border."""
    if prod(shape) <= samples:
        return list(np.ndindex(shape))
    corners = list(product(*[sorted({0, n - 1}) for n in shape]))
    chosen = {corners[i]: None for i in rng.permutation(len(corners))[:samples]}  # a dict keeps the order
    on_border = False
    while len(chosen) < samples:
        index = [int(rng.integers(n)) for n in shape]
        if on_border:
            axis = len(shape) - 1 - int(rng.integers(min(2, len(shape))))  # a row or a column
            index[axis] = int(rng.choice([0, shape[axis] - 1]))
        chosen[tuple(index)] = None
        on_border = not on_border
    return list(chosen)


# --- evaluations ------------------------------------------------------------------------------------------


class _Variable:
    """An input whose gradient is checked: the Tensor that fn sees, and its float64 numbers on the host."""

    def __init__(self, number: int, name: str, tensor: Tensor) -> None:
        self.number, self.name, self.tensor = number, name, tensor
        self.device = tensor.device
        self.host = np.array(to_numpy(tensor.data))  # a copy: fn may write into its input

    def put(self, index: tuple[int, ...] | None = None, value: float = 0.0) -> None:
        """Hand fn a fresh copy of the numbers, with `value` in the place of one of them."""
        numbers = self.host.copy()
        if index is not None:
            numbers[index] = value
        self.tensor.data = to_device(numbers, self.device)


@dataclass(frozen=True)
class _Difference:
    """What two evaluations, a step to the left and one to the right, say about one entry."""

    slope: float  # the central difference
    rounding: float  # how much of it may be rounding
    jump: float  # the distance between the slopes right and left, summed over the outputs


class _Probe:
    """`fn` as a function of one number of one input: reseeded, its outputs weighed with gy and summed."""

    def __init__(self, fn: Callable[..., Tensor], arguments: list[Any], variables: list[_Variable], seed: int) -> None:
        self.fn, self.arguments, self.variables, self.seed = fn, arguments, variables, seed
        self.y = self.output()
        largest = np.abs(self.y).max(initial=0.0)
        if not isfinite(largest):
            raise ValueError(
                f"gradcheck: the output of {_name_of(fn)} holds NaN or infinity: no gradient can be checked"
            )
        if np.abs(self.output() - self.y).max(initial=0.0) > 1e-12 * largest:
            raise ValueError(
                f"gradcheck: {_name_of(fn)} gives different outputs for the same inputs; it must not "
                "change them, and take random numbers only from scratchfcn.backend.generator()"
            )
        self.rounding = 1e-12 * largest  # a bend smaller than this is none
        rng = np.random.default_rng(seed)
        # signs and sizes differ, but none is near 0: each output has a say
        self.gy = rng.choice([-1.0, 1.0], self.y.shape) * rng.uniform(0.5, 1.5, self.y.shape)

    def call(self) -> Tensor:
        manual_seed(self.seed)
        try:
            y = self.fn(*self.arguments)
        except Exception as error:
            error.add_note(self.inputs_note())
            raise
        if not isinstance(y, Tensor) or y.dtype != np.float64:
            got = f"a Tensor of {y.dtype}" if isinstance(y, Tensor) else type(y).__name__
            raise TypeError(
                f"gradcheck: {_name_of(self.fn)} must turn float64 into a float64 Tensor, but returned {got}"
            )
        return y

    def output(self) -> np.ndarray:
        """fn's output for the inputs as they are now, on the host."""
        with no_grad():
            return np.array(to_numpy(self.call().data))

    def gradients(self) -> list[np.ndarray]:
        """What backward says, for every variable; zeros where it says nothing."""
        for variable in self.variables:
            variable.put()
        y = self.call()
        try:
            y.backward(self.gy)
        except Exception as error:
            error.add_note(self.inputs_note())
            raise
        found = [v.tensor.grad for v in self.variables]
        hosts = [v.host for v in self.variables]
        return [np.zeros_like(h) if g is None else to_numpy(g) for g, h in zip(found, hosts, strict=True)]

    def inputs_note(self) -> str:
        """What goes along with an exception: which number is which input."""
        inputs = [f"input {v.number} is {v.name} {v.host.shape}" for v in self.variables]
        return f"in the gradient check of {_name_of(self.fn)}, in float64: {', '.join(inputs)}"

    def difference(self, variable: _Variable, index: tuple[int, ...], h: float) -> _Difference:
        """Evaluate fn with one entry h larger and h smaller."""
        x = variable.host[index]
        right, left = x + h, x - h
        variable.put(index, right)
        y_right = self.output()
        variable.put(index, left)
        y_left = self.output()
        variable.put()
        h = (right - left) / 2  # the step as float64 could take it
        moved = y_right != y_left
        bend = np.abs(y_right - 2 * self.y + y_left)
        bend = np.where(bend < self.rounding, 0.0, bend)
        return _Difference(
            # outputs are subtracted before they are summed: those that did not move add no rounding
            slope=float((self.gy * (y_right - y_left)).sum() / (2 * h)),
            rounding=float(ROUNDING * np.linalg.norm((self.gy * self.y)[moved]) / h),
            jump=float((np.abs(self.gy) * bend).sum() / h),
        )


# --- what goes in -----------------------------------------------------------------------------------------


def _read_inputs(inputs: Sequence[Any], names: Sequence[str]) -> tuple[list[Any], list[_Variable]]:
    """The arguments for fn, floating point ones as new float64 Tensors; and those of them to check."""
    arguments, variables = [], []
    for number, (name, x) in enumerate(zip(names, inputs, strict=True)):
        data = x.data if isinstance(x, Tensor) else np.asarray(x) if isinstance(x, np.generic) else x
        if not is_array(data) or data.dtype.kind != "f":
            arguments.append(x)
            continue
        wanted = x.requires_grad if isinstance(x, Tensor) else True
        device = "cpu" if isinstance(data, np.ndarray) else None
        tensor = Tensor(data.astype("float64"), requires_grad=wanted, device=device)
        arguments.append(tensor)
        if wanted:
            variables.append(_Variable(number, name, tensor))
    return arguments, variables


def _input_names(fn: Callable[..., Tensor], n: int) -> list[str]:
    """What fn calls its first n arguments; `input 0` … where it has no names for them."""
    try:
        parameters = inspect.signature(getattr(fn, "forward", fn)).parameters.values()
    except (TypeError, ValueError):  # a built-in
        parameters = []
    names = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return names[:n] + [f"input {i}" for i in range(len(names), n)]


def _name_of(fn: Callable[..., Tensor]) -> str:
    name = getattr(fn, "__name__", type(fn).__name__)
    return "function" if name == "<lambda>" else name


@contextmanager
def _generator_restored() -> Iterator[None]:
    """Afterwards the library's random generator goes on as if nothing had happened."""
    state = generator().bit_generator.state
    try:
        yield
    finally:
        generator().bit_generator.state = state


@contextmanager
def _in_float64(params: Iterable[Tensor]) -> Iterator[None]:
    """Within this block the parameters hold float64 copies of their data and no gradient."""
    before = [(p, p.data, p.grad) for p in params]
    try:
        for p, data, _ in before:
            p.data, p.grad = data.astype("float64"), None
        yield
    finally:
        for p, data, grad in before:
            p.data, p.grad = data, grad
