"""What a check is written with: it calls the learner's functions and holds what they return against what is right.

A `Trial` goes through stages, cheapest first, and the first thing that is wrong ends it with a `Failure`, whose text
is what the learner reads. The learner's code is a guest here: it may raise, print, loop for ever, change its
arguments or return something strange, and each of these becomes one clear message.
"""

from __future__ import annotations

import sys
import warnings
from bdb import BdbQuit
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from itertools import permutations
from pathlib import Path
from shlex import quote
from types import ModuleType
from typing import Any

import numpy as np

from ..backend import is_array, to_device, to_numpy
from .compare import ONE_OF, Comparison, compare, mistake_lines, named, nearly, pattern_of_shape, report
from .exercise import Exercise
from .guard import GPU_SECONDS, SECONDS, Stopped, debugger_at_the_terminal, place_of, time_limit
from .known import Known, matching


class Failure(Exception):
    """What is wrong with the learner's code, as they will read it."""


class Trial:
    """One check of one file. `output` is the folder for error maps and for the call that failed, or None."""

    def __init__(
        self,
        exercise: Exercise,
        path: Path,
        module: ModuleType,
        seed: int = 0,
        device: str = "cpu",
        output: Path | None = None,
        printed: str = "",
    ) -> None:
        self.exercise, self.path, self.module = exercise, path, module
        self.seed, self.device, self.output = seed, device, output
        self.rng = np.random.default_rng(seed)
        self.seconds = SECONDS if device == "cpu" else GPU_SECONDS  # for one call; a check may allow more
        self.passed: list[str] = []  # stages
        self.failed_in: str | None = None
        self.changed: str | None = None  # the complaint about a changed argument, kept until the numbers are right
        self.printed_first, self.printed = printed, ""  # while the file was loaded; by the latest call

    # --- what a check is made of --------------------------------------------------------------------------

    @contextmanager
    def stage(self, title: str) -> Iterator[None]:
        """The checks in this block belong together, and are reported as `title`."""
        try:
            yield
        except BaseException:
            self.failed_in = title
            raise
        self.passed.append(title)

    def expect(
        self,
        function: str,
        inputs: Mapping[str, Any],
        expected: Mapping[str, Any],
        *,
        by: str = "by hand",
        known: Known | None = None,
        axes: Mapping[str, Sequence[str]] | None = None,
        may_change: Sequence[str] = (),
        counts: Sequence[str] = (),
    ) -> None:
        """Call the learner's `function` and compare what it returns.

        inputs: arguments by the blank's names: NumPy arrays, numbers, or anything else. expected: what is right, by
        name: one array, or several for a tuple, in order; where the right answer is an int, an int has to come. Lists
        are taken as arrays of the first input's dtype. by: where `expected` comes from: "by hand", "library", "finite
        difference". known: names a mistake by its result, if that is wrong, in its shape or its numbers. axes: what a
        result's axes mean, for the message. may_change: the arguments that the function may write into. counts: the
        results that count something: whole numbers, which may come as floats.
        """
        expected = {name: _as_expected(value, inputs) for name, value in expected.items()}
        call = self._call_line(function, inputs)
        values = self.returned(function, inputs, expected, known, may_change, counts)
        comparisons = {}
        for name, value in expected.items():
            if isinstance(value, np.ndarray):
                comparisons[name] = compare(name, values[name], value, by)
            else:
                self._number(function, name, values[name], value, call, by, known)
        wrong = [c for c in comparisons.values() if c.wrong]
        if wrong:
            lines = report(comparisons, by, call, known, axes or {})
            raise Failure("\n".join([*lines, *self._keep(function, inputs, wrong[0])]))

    def returned(
        self,
        function: str,
        inputs: Mapping[str, Any],
        like: Mapping[str, Any],
        known: Known | None = None,
        may_change: Sequence[str] = (),
        counts: Sequence[str] = (),
    ) -> dict[str, Any]:
        """Call the learner's `function`; what it returns, by name, on the host, once it is known to be like `like`.

        like: arrays (or a number) of the kind, shape and dtype that have to come; their values matter to `known` alone.
        For checks that are no comparison, such as an adjoint test, which then report with `fail`.
        """
        call = self._call_line(function, inputs)
        values = self._unpack(function, self.call(function, inputs, may_change), like, call)
        for name, value in like.items():
            if isinstance(value, np.ndarray):
                values[name] = self._on_host(function, name, values[name], value, inputs, call)
        if _exchanged(values, like):
            names = ", ".join(like)
            raise Failure(f"{function} returns its results in the wrong order\n  fix: `return {names}`\n  {call}")
        for name, value in like.items():
            if isinstance(value, np.ndarray):
                self._same_kind(function, name, values[name], value, call, known, name in counts)
        return values

    def explained(
        self,
        function: str,
        wrong: Callable[..., Mapping[str, Any]],
        inputs: Mapping[str, Any],
        others: Sequence[Mapping[str, Any]],
        results: Sequence[str] = (),
    ) -> Known:
        """The mistake in few numbers, which have many explanations: the right one explains the other calls as well.

        wrong: what mistakes lead to, for inputs by name; see `one_of`. results: the names of several results, in order.
        """

        def known(name: str, got: np.ndarray) -> str | None:
            printed, said = self.printed, matching(wrong(**inputs), name, got)
            for other in others if said else ():
                try:
                    yours = self.call(function, other)
                    yours = yours[results.index(name)] if results else yours
                except (Failure, LookupError, TypeError):  # it is the first call that is reported
                    continue
                yours = to_numpy(yours) if is_array(yours) else np.asarray(yours)
                said = [s for s in matching(wrong(**other), name, yours) if s in said]
            self.printed = printed
            return ONE_OF.join(said) or None

        return known

    def fail(self, text: str, function: str, inputs: Mapping[str, Any], mistake: str | None = None) -> None:
        """End the trial: `text` says what is wrong with this call; its further lines are indented by two spaces."""
        lines = [text, *(mistake_lines(mistake) if mistake else []), f"  {self._call_line(function, inputs)}"]
        raise Failure("\n".join([*lines, *self._keep(function, inputs)]))

    def call(self, function: str, inputs: Mapping[str, Any], may_change: Sequence[str] = ()) -> Any:
        """What the learner's function returns for copies of `inputs`, on the trial's device; also lists of arrays."""
        wanted = self.exercise.functions[function]
        if list(inputs) != wanted:
            raise AssertionError(f"the check calls {function} with {list(inputs)}, the blank has {wanted}")
        given = [self._given(value) for value in inputs.values()]
        returned = self._guarded(function, given, inputs)
        for name, value, original in zip(inputs, given, inputs.values(), strict=True):
            if self.changed is None and name not in may_change and not _same(value, original):
                self.changed = (
                    f"{function} changes its argument {name}; what it returns is right, but {name} is still needed\n"
                    f"  fix: work on a copy, {name} = {name}.copy(), or build a new array:\n"
                    f"       {name}[…] = … and {name} += … write into the caller's array\n"
                    f"  {self._call_line(function, inputs)}"
                )
        return returned

    def finish(self) -> None:
        """Called by the runner after the last stage: now a changed argument counts."""
        if self.changed is not None:
            self.failed_in = "arguments stay as they were"
            raise Failure(self.changed)

    # --- what to call it with -----------------------------------------------------------------------------

    def draws(self, count: int) -> Iterator[np.random.Generator]:
        """Random generators for `count` random cases, the same on every run with the same seed."""
        for i in range(count):
            yield np.random.default_rng([self.seed, i])

    def shape(self, rng: np.random.Generator, dimensions: int | None = None) -> tuple[int, ...]:
        """A small shape of one to four dimensions, rows and columns differing more often than not."""
        return tuple(int(n) for n in rng.integers(1, 6, rng.integers(1, 5) if dimensions is None else dimensions))

    def upstream(self, shape: Sequence[int]) -> np.ndarray:
        """A gradient gy to start from: signs and sizes differ, none near 0, so that every output has a say."""
        shape = tuple(shape)
        return self.rng.choice([-1.0, 1.0], shape) * self.rng.uniform(0.5, 1.5, shape)

    def away_from_0(self, shape: Sequence[int]) -> np.ndarray:
        """Random numbers of both signs, none within 0.5 of 0."""
        return self.upstream(shape)

    # --- the learner's code, guarded ----------------------------------------------------------------------

    def _given(self, value: Any) -> Any:
        if isinstance(value, list | tuple):
            return type(value)(self._given(v) for v in value)
        return to_device(value.copy(), self.device) if isinstance(value, np.ndarray) else value

    def _guarded(self, function: str, given: Sequence[Any], inputs: Mapping[str, Any]) -> Any:
        call = self._call_line(function, inputs)
        printed = StringIO()
        try:
            with (
                debugger_at_the_terminal(sys.stdout),
                redirect_stdout(printed),
                warnings.catch_warnings(action="ignore", category=RuntimeWarning),  # NaN is reported with its place
                time_limit(self.seconds),
            ):
                return getattr(self.module, function)(*given)
        except NotImplementedError as error:
            if str(error).endswith("not written yet"):
                raise Failure(str(error)) from None
            raise Failure(_raised(error, self.path, function, call, self.device)) from None
        except (KeyboardInterrupt, BdbQuit) as error:  # Ctrl-C, or `q` in the debugger
            raise KeyboardInterrupt(f"stopped in {place_of(error, self.path)}") from None
        except Stopped as error:
            raise Failure(
                f"{function} has not returned after {self.seconds} seconds: a loop that does not end?\n"
                f"  it was at {place_of(error, self.path)}\n  {call}"
            ) from None
        except (Exception, SystemExit) as error:
            raise Failure(_raised(error, self.path, function, call, self.device)) from None
        finally:
            self.printed = printed.getvalue()  # of this call; the others printed the same, with other numbers

    # --- what came back -----------------------------------------------------------------------------------

    def _unpack(self, function: str, returned: Any, expected: Mapping[str, Any], call: str) -> dict[str, Any]:
        names = list(expected)
        if returned is None:
            fix = f"end it with `return {', '.join(names)}`" + "; print() only shows" * bool(self.printed)
            raise Failure(f"{function} returns nothing (None)\n  fix: {fix}\n  {call}")
        if len(names) == 1:
            if isinstance(returned, tuple) and len(returned) == 1:
                returned = returned[0]
            return {names[0]: returned}
        if not isinstance(returned, tuple | list):
            raise Failure(
                f"{function} returns {_kind(returned)}; {len(names)} results are expected\n"
                f"  fix: `return {', '.join(names)}`\n  {call}"
            )
        if len(returned) != len(names):
            raise Failure(
                f"{function} returns {len(returned)} values; {len(names)} are expected: {', '.join(names)}\n  {call}"
            )
        return dict(zip(names, returned, strict=True))

    def _on_host(
        self, function: str, name: str, value: Any, expected: np.ndarray, inputs: Mapping[str, Any], call: str
    ) -> np.ndarray:
        """What came back, as NumPy's array. From arrays on a GPU, arrays on the GPU have to be made."""
        if expected.ndim == 0 and isinstance(value, int | float | np.generic) and not isinstance(value, bool):
            value = np.asarray(value, expected.dtype if isinstance(value, float | int) else None)  # a loss is a number
        elif not is_array(value):
            wanted = f"an array of shape {expected.shape}" if expected.ndim else "a number"
            raise Failure(f"{function}: {name} is {_kind(value)}; {wanted} is expected\n  {call}")
        elif self.device != "cpu" and isinstance(value, np.ndarray) and _hold_an_array(inputs.values()):
            raise Failure(
                f"{function}: {name} is a NumPy array, but the arguments were CuPy's\n"
                "  fix: create arrays with np.zeros_like(x, shape=…), or with xp.zeros(…) where\n"
                f"       xp = array_module(x)   (from scratchfcn.backend import array_module)\n  {call}"
            )
        return to_numpy(value)

    def _same_kind(
        self,
        function: str,
        name: str,
        got: np.ndarray,
        expected: np.ndarray,
        call: str,
        known: Known | None,
        counts: bool,
    ) -> None:
        """Shape and dtype have to be right. What is wrong with them may be one of the known mistakes."""
        mistake = named(known, name, got, expected)
        lines = mistake_lines(mistake) if mistake else []
        if got.shape != expected.shape:
            text = f"{function}: {name} has shape {got.shape}, expected {expected.shape}"
            if not lines and (pattern := pattern_of_shape(got, expected)):
                lines = [f"  pattern: {pattern}"]
            raise Failure("\n".join([text, *lines, f"  {call}"]))
        integers = expected.dtype.kind in "iu"  # of any size
        if got.dtype != expected.dtype and not (integers and got.dtype.kind in ("iuf" if counts else "iu")):
            text = f"{function}: {name} is {got.dtype}, expected {expected.dtype}"
            raise Failure("\n".join([text, *(lines or _dtype_advice(got.dtype, expected.dtype)), f"  {call}"]))

    def _number(
        self, function: str, name: str, value: Any, expected: Any, call: str, by: str, known: Known | None
    ) -> None:
        if is_array(value) and value.ndim == 0:
            value = value.item()
        if isinstance(expected, int) and not isinstance(value, int | np.integer):
            advice = ""
            if isinstance(value, float | np.floating):
                advice = "\n  fix: pixels are counted in whole numbers: divide with // , which rounds down"
            raise Failure(f"{function} returns {_kind(value)}; an int is expected, {expected}{advice}\n  {call}")
        if value != expected:
            mistake = known(name, np.asarray(value)) if known else None
            raise Failure(
                f"{function} returns the wrong number\n      yours  {value}     {by}  {expected}"
                + ("\n" + "\n".join(mistake_lines(mistake)) if mistake else "")
                + f"\n  {call}"
            )

    # --- what goes along with a complaint -----------------------------------------------------------------

    def _call_line(self, function: str, inputs: Mapping[str, Any]) -> str:
        words = [
            f"{name} {value.shape}".replace(", ", ",")
            if isinstance(value, np.ndarray) and value.ndim
            else f"{name}={value!r}"
            for name, value in inputs.items()
        ]
        return f"call: {function}({', '.join(words)})"

    def _keep(self, function: str, inputs: Mapping[str, Any], wrong: Comparison | None = None) -> list[str]:
        """Write the failing call and a map of the errors into the output folder; the lines that say so."""
        if self.output is None:
            return []
        from .keep import keep_call, keep_map

        lines = []
        script = keep_call(self.output, self.exercise, self.path, function, inputs)
        if script is not None:
            lines.append(f"  reproduce: python {quote(script)}      (the same call, for print and breakpoint())")
        picture = keep_map(self.output, self.exercise, wrong) if wrong is not None else None
        if picture is not None:
            lines.append(f"  map of errors: {picture}")
        return lines


# --- words ------------------------------------------------------------------------------------------------


def _raised(error: BaseException, path: Path, function: str, call: str, device: str) -> str:
    """An exception in the learner's code: what it says and where, without the frames of the library."""
    text = (
        f"{function} raises {type(error).__name__}: {error}"
        if str(error)
        else f"{function} raises {type(error).__name__}"
    )
    lines = [text, f"  at {place_of(error, path)}"]
    if device != "cpu" and "mplicit conversion" in str(error):
        lines.append("  fix: on a GPU, np.asarray and np.zeros make NumPy arrays; use np.zeros_like(x, shape=…)")
    return "\n".join([*lines, f"  {call}"])


def _kind(value: Any) -> str:
    """ "None", "a list of 3", "a float, 2.0": what a value is, for a sentence."""
    if value is None:
        return "None"
    if isinstance(value, list | tuple):
        return f"a {type(value).__name__} of {len(value)}"
    if is_array(value):
        return f"an array of shape {value.shape}"
    if isinstance(value, bool | int | float | np.generic):
        return f"a {type(value).__name__}, {value}"
    return f"a {type(value).__name__}"


def _dtype_advice(got: np.dtype, expected: np.dtype) -> list[str]:
    if got == np.float64 and expected == np.float32:
        return ["  fix: np.zeros(shape) is float64 unless told otherwise: np.zeros(shape, x.dtype)"]
    if expected.kind in "iu":
        return ["  fix: these are places, counted in whole numbers: np.zeros(shape, int)"]
    return []


def _exchanged(values: Mapping[str, Any], expected: Mapping[str, Any]) -> bool:
    """Whether the results are right, but in another order."""
    if not all(isinstance(array, np.ndarray) for array in (*values.values(), *expected.values())):
        return False
    got, right = list(values.values()), list(expected.values())
    orders = permutations(range(len(right)))
    as_expected = next(orders)
    if all(nearly(got[i], right[i]) for i in as_expected):
        return False
    return any(all(nearly(got[i], right[k]) for i, k in enumerate(order)) for order in orders)


def _hold_an_array(values: Iterable[Any]) -> bool:
    """Whether there is an array among them, or in a list of theirs."""
    return any(isinstance(v, np.ndarray) or (isinstance(v, list | tuple) and _hold_an_array(v)) for v in values)


def _same(value: Any, original: Any) -> bool:
    """Whether an argument is still what it was; only arrays, and lists of them, can change."""
    if isinstance(original, list | tuple):
        return len(value) == len(original) and all(map(_same, value, original))
    if not isinstance(original, np.ndarray):
        return True
    if not is_array(value):  # an item of a list was replaced
        return False
    now = to_numpy(value)
    equal_nan = now.dtype.kind == "f"
    return now.dtype == original.dtype and bool(np.array_equal(now, original, equal_nan=equal_nan))


def _as_expected(value: Any, inputs: Mapping[str, Any]) -> Any:
    if isinstance(value, list | float):
        dtypes = [v.dtype for v in inputs.values() if isinstance(v, np.ndarray) and v.dtype.kind == "f"]
        return np.array(value, dtypes[0] if dtypes else None)
    return np.asarray(value) if isinstance(value, np.generic) else value
