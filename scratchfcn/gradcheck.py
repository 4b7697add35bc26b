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
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import product
from math import inf, isfinite, prod
from typing import Any

import numpy as np

from .backend import generator, is_array, manual_seed, to_device, to_numpy
from .gradcheck_report import Entry, InputResult, Report, gradient_name
from .tensor import Tensor, no_grad

FLOOR = 1e-3  # of the largest difference in a gradient: entries below count as this large
ROUNDING = 16 * np.finfo(np.float64).eps  # relative error of an output, generously
STEPS = (1.0, 1 / 64, 1 / 128)  # of eps, tried where a gradient disagrees
SAMPLES = 64  # entries tried per input
WHOLE = 2000  # of a wrong gradient all entries are computed, if they are at most that many: patterns need them
SECONDS = 60.0  # about how long a check may take: of a slow function fewer entries are tried


# --- the check --------------------------------------------------------------------------------------------


def gradcheck(
    fn: Callable[..., Tensor],
    *inputs: Any,
    params: Mapping[str, Tensor] | None = None,
    names: Sequence[str] | None = None,
    rtol: float = 1e-5,
    eps: float = 1e-5,
    samples: int | None = None,
    seed: int = 0,
    op: str | None = None,
    settings: Mapping[str, Any] | None = None,
    index: str | None = None,
    name: str | None = None,
) -> Report:
    """Hold the gradients of `fn(*inputs)` against central differences, in float64.

    fn: takes Tensors, returns one Tensor of any shape; an op, a model or a lambda.
    inputs: floating point arrays, and Tensors with requires_grad=True, are checked. Other Tensors and arrays
        are constants; everything else (None, numbers) is handed on as it is. Nothing of yours is changed.
    params: name → Parameter, checked in place: each gets float64 data for the time of the check and its own
        data and `.grad` back afterwards. Of a model, `dict(model.named_parameters())` is the default.
    names: what the report calls the inputs; by default what fn calls its arguments. name: what it calls fn.
    rtol: an entry with a larger relative error is wrong. eps: the step h. samples: entries tried per input, by
        default 64, or fewer where fn is so slow that they would take more than about a minute; all if it has fewer.
        Of a wrong gradient all entries are computed, up to 2000. seed: of the upstream gradient, the choice of
        entries, and the random ops within `fn`.
    op, settings: which of the library's ops fn is meant to be ("conv2d", {"stride": 2}), to look up known mistakes;
        by default it is recognised by what it computes.
    index: check one entry only, "gw:0,0,2,0": of the gradient of input w, at that index.
    Errors: whatever fn or its backward raises, with a note that names the inputs; TypeError where fn returns
    anything but a float64 Tensor; ValueError where there is nothing to check, where fn's output is not
    finite, where fn gives two different outputs for the same inputs, where `samples` is less than 1, or where there is
    no such entry as `index`.
    """
    if samples is not None and samples < 1:
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
        only = None if index is None else read_index(index, variables)
        constants = [p for p in params.values() if not p.requires_grad]
        probe = _Probe(fn, arguments, variables, constants, seed)
        gradients = probe.gradients()
        rng = np.random.default_rng(seed)
        tried = samples or probe.affordable(SAMPLES)
        results = []
        for variable, gradient in zip(variables, gradients, strict=True):
            indices = sample_indices(variable.host.shape, tried, rng)
            if only is not None:
                indices = [only[1]] if variable is only[0] else []
            result = _check_input(probe, variable, gradient, indices, rtol, eps)
            affordable = min(WHOLE, tried if samples else probe.affordable(WHOLE))
            if result.wrong and only is None and len(indices) < variable.host.size <= affordable:
                result = _check_input(probe, variable, gradient, list(np.ndindex(variable.host.shape)), rtol, eps)
            results.append(result)
        if only is not None:
            results = [result for result in results if result.entries]
        notes = []
        if samples is None and tried < SAMPLES:
            notes.append(f"the function is slow: {tried} entries per input were tried; samples={SAMPLES} tries more")
        if any(result.wrong for result in results):
            results, more = _look_up(probe, results, op, settings)
            notes += more
    report = Report(name or _name_of(fn), results, rtol, seed, notes)
    if report.wrong and only is None:
        report.notes.append(f'reproduce: gradcheck(…, seed={seed}, index="{report.worst_index}")')
    return report


def read_index(text: str, variables: Sequence["_Variable"]) -> tuple["_Variable", tuple[int, ...]]:
    """ "gw:0,0,2,0" → the variable w and (0, 0, 2, 0); the g may be left out. ValueError if there is no such entry."""
    name, _, numbers = text.rpartition(":")
    found = [v for v in variables if name in (v.name, gradient_name(v.name))] or [
        v for v in variables if v.name and name in (v.name[0], "g" + v.name[0])
    ]
    if len(found) != 1:
        names = ", ".join(gradient_name(v.name) for v in variables)
        raise ValueError(f"index {text!r}: write GRADIENT:ROW,COLUMN,…, such as gx:0,0,2,0; the gradients are {names}")
    shape = found[0].host.shape
    try:
        at = tuple(int(n) for n in numbers.split(",") if n.strip())
    except ValueError:
        at = ()
    if len(at) != len(shape) or not all(0 <= i < n for i, n in zip(at, shape, strict=True)):
        raise ValueError(
            f"index {text!r}: {found[0].name} has shape {shape}, so it takes {len(shape)} numbers, each from 0 to its "
            "size - 1"
        )
    return found[0], at


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
    shape, sizes = variable.host.shape, probe.sizes()
    return InputResult(variable.number, variable.name, shape, entries, gradient, sizes=sizes)


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


# --- known mistakes ---------------------------------------------------------------------------------------


def _look_up(
    probe: "_Probe", results: list[InputResult], op: str | None, settings: Mapping[str, Any] | None
) -> tuple[list[InputResult], list[str]]:
    """Name the mistakes behind wrong gradients, where fn is one of the library's ops; and notes for the report."""
    from .mistakes import diagnose, locate  # a large catalogue, read only when something is wrong

    y = probe.call()
    found = diagnose.recognised(y, probe, op, settings)
    if found is None:
        note = "known mistakes were not looked up: "
        if op is None:
            found_within = locate.at_fault(probe.call, gradcheck, probe.seed)
            if found_within:
                return results, found_within
            note += "the function is none of the library's ops by itself; if it is meant to be one, say op=, settings="
        else:
            note += f"the output is not that of {op}" + (f" with {dict(settings)}" if settings else "")
            note += "" if settings else "; if it has settings, such as stride=2, say settings="
            note += diagnose.wrong_output(y, probe, op, settings)
        return results, [note]
    call, numbers = found
    named = []
    for result in results:
        if result.number in numbers:
            which = diagnose.input_name(call, numbers.index(result.number))
            known = diagnose.known(probe, call, numbers, result, which, op, settings) if result.wrong else None
            result = replace(result, op=(call.op, which), known=known)
        named.append(result)
    return named, []


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

    def __init__(
        self,
        fn: Callable[..., Tensor],
        arguments: list[Any],
        variables: list[_Variable],
        constants: list[Tensor],
        seed: int,
    ) -> None:
        self.fn, self.arguments, self.variables, self.seed = fn, arguments, variables, seed
        self.constants = constants  # parameters that are not learned
        started = time.perf_counter()
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
        self.seconds = (time.perf_counter() - started) / 2  # of one evaluation
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
            if isinstance(error, TypeError) and "float32" in str(error) and len(self.variables) <= len(self.arguments):
                error.add_note(
                    "fix: if fn calls a model, hand its parameters over, they are made float64 and checked as well: "
                    "params=dict(model.named_parameters())"
                )
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

    def affordable(self, entries: int) -> int:
        """How many entries of each input can be tried in about a minute: at most `entries`, at least two."""
        return max(2, min(entries, int(SECONDS / (2 * self.seconds * len(self.variables)))))

    def sizes(self) -> dict[str, int]:
        """Numbers that a factor may turn out to be."""
        images = [v.host.shape for v in self.variables if v.host.ndim == 4]
        first = self.variables[0].host.shape
        sizes = {"the batch size N": first[0]} if len(first) > 1 else {}
        if self.y.ndim == 4 and images:
            N, C, OH, OW = self.y.shape
            sizes |= {"the pixels of the output, OH·OW": OH * OW, "the images and pixels, N·OH·OW": N * OH * OW}
            sizes |= {"the channels of the output": C, "the channels of the input": first[1]}
        if len(first) == 4:
            sizes |= {"the pixels of the input, H·W": first[2] * first[3], "N·H·W": first[0] * first[2] * first[3]}
        if len(images) > 1:
            sizes |= {"the taps of the kernel, KH·KW": images[1][2] * images[1][3]}
        return sizes

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
