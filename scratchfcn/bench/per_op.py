"""Every op of a step, timed by itself.

Within `recording(model)` every op's forward and backward go through a watcher (see inspection/trace_calls.py) that
looks at the clock before and after. Nothing in the library knows of it, and outside the block nothing is different.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from ..backend import synchronize
from ..inspection import LayerNames, Product
from ..inspection.trace_calls import all_ops as all_ops
from ..inspection.trace_calls import watched
from ..nn import Module
from ..ops import Conv1x1, Conv2d, ConvTranspose2d
from ..tensor import Function
from .floors import product_seconds
from .libraries import ScratchRun
from .work import Work, backward_work, forward_work

MOST_COLUMNS = 1 << 24  # numbers; larger products are timed in part, and the time scaled up


@dataclass
class Call:
    """One call of an op: its forward, and its backward once that has run. layer: whose parameters it was given."""

    op: str
    layer: str
    output: tuple[int, ...]
    input_bytes: list[int]
    forward: Work
    forward_s: float
    around: str = ""  # what it does beside its matrix products
    backward: Work = field(default_factory=lambda: Work(0, 0, []))
    backward_s: float = 0.0


@dataclass
class Recorder:
    """What `recording` fills in: the calls so far, in order."""

    layers: LayerNames
    device: str
    calls: list[Call] = field(default_factory=list)
    busy: bool = False  # within an op: what it calls belongs to it

    def take(self) -> list[Call]:
        """The calls so far, which are then forgotten."""
        calls, self.calls = self.calls, []
        self.layers.start_anew()
        return calls

    def timed(self, method: Callable[..., Any], *args: Any) -> tuple[Any, float]:
        """The method's result and its seconds."""
        self.busy = True
        try:
            synchronize(self.device)
            start = time.perf_counter()
            result = method(*args)
            synchronize(self.device)
            return result, time.perf_counter() - start
        finally:
            self.busy = False

    def forward(self, method: Callable[..., Any], function: Function, arrays: tuple[Any, ...]) -> Any:
        """Run and note an op's forward."""
        y, seconds = self.timed(method, function, *arrays)
        sizes = [0 if a is None else a.nbytes for a in arrays]
        work = forward_work(function, arrays, y)
        call = Call(function.name, self.layers.of(arrays), y.shape, sizes, work, seconds, around(function, arrays))
        function.bench_call = call  # where backward finds it
        self.calls.append(call)
        return y

    def backward(self, method: Callable[..., Any], function: Function, gy: Any) -> Any:
        """Run an op's backward and add it to the note of its forward."""
        if not hasattr(function, "bench_call"):
            return method(function, gy)
        gradients, seconds = self.timed(method, function, gy)
        call = function.bench_call
        call.backward_s = seconds
        each = gradients if isinstance(gradients, tuple) else (gradients,)
        call.backward = backward_work(function, call.forward, call.input_bytes, gy, each)
        return gradients


@contextmanager
def recording(model: Module, device: str = "cpu") -> Iterator[Recorder]:
    """Within this block every op's forward and backward is timed; afterwards all is as it was."""
    recorder = Recorder(LayerNames(model), device)
    with watched(recorder):
        yield recorder


def around(function: Function, arrays: tuple[Any, ...]) -> str:
    """What a convolution does beside its matrix products; empty for other ops."""
    if isinstance(function, ConvTranspose2d):
        return "adds up stamps" if function.stride == (1, 1) else "rearranges pixels"
    if isinstance(function, Conv2d) and arrays[1].shape[2:] != (1, 1):
        return "builds columns"
    return "moves channels" if isinstance(function, Conv2d | Conv1x1) else ""


# --- from calls to rows -----------------------------------------------------------------------------------


@dataclass
class Row:
    """One line of the table: an op, forward and backward together. Seconds are medians over the steps.

    product_s: of the op's matrix products alone, or None. around: what there is beside them, in words. "other" is what
    no op accounts for.
    """

    op: str
    layer: str
    output: tuple[int, ...]
    forward_s: float
    backward_s: float
    flop: int
    bytes: int
    products: list[Product]
    product_s: float | None = None
    around: str = ""

    @property
    def seconds(self) -> float:
        return self.forward_s + self.backward_s


def measure_ops(run: ScratchRun, repeats: int) -> list[Row]:
    """The rows of a run, in the order of the calls; their seconds add up to those of the whole step."""
    with recording(run.model, run.device) as recorder:
        run()
        recorder.take()  # the first call allocates and starts threads
        seconds, optimizing, steps = [], [], []
        plain_step = run.optimizer.step

        def timed_step() -> None:
            _, spent = recorder.timed(plain_step)
            optimizing.append(spent)

        run.optimizer.step = timed_step  # on this optimiser alone
        try:
            for _ in range(repeats):
                start = time.perf_counter()
                run()
                run.synchronize()
                seconds.append(time.perf_counter() - start)
                steps.append(recorder.take())
        finally:
            del run.optimizer.step
    rows = [row_of(calls, run.device) for calls in zip(*steps, strict=True)]
    if optimizing:
        rows.append(optimizer_row(run, median(optimizing)))
    rest = median(seconds) - sum(row.seconds for row in rows)
    adding = "gradients that are added where paths meet" if run.case.task == "step" else ""
    rows.append(Row("other", "outside the ops", (), max(0.0, rest), 0.0, 0, 0, [], around=adding))
    return rows


def row_of(calls: tuple[Call, ...], device: str) -> Row:
    """The same op in every step, as one row."""
    first = calls[0]
    row = Row(
        first.op,
        first.layer,
        first.output,
        median(call.forward_s for call in calls),
        median(call.backward_s for call in calls),
        first.forward.flop + first.backward.flop,
        first.forward.bytes + first.backward.bytes,
        first.forward.products + first.backward.products,
        around=first.around,
    )
    if row.products:  # within the op they have taken no longer than the op, whatever they take by themselves
        row.product_s = min(row.seconds, sum(seconds_of(product, device) for product in row.products))
    return row


def seconds_of(product: Product, device: str) -> float:
    """How long a matrix product of these sizes takes by itself, at best."""
    M, K, P, times = product
    long = max(M, K, P)
    short = max(1, MOST_COLUMNS * long // max(M * K, K * P, M * P))  # cut the longest side, if the matrices are huge
    M, K, P = (min(n, short) if n == long else n for n in (M, K, P))
    return product_seconds(M, K, P, device, repeats=2) * times * max(1.0, long / short)


def optimizer_row(run: ScratchRun, seconds: float) -> Row:
    """SGD with momentum reads w, g and v, and writes w and v."""
    size = sum(p.data.nbytes for p in run.optimizer.parameters)
    return Row("sgd", "all parameters", (), 0.0, seconds, 0, 5 * size, [])


def total_work(run: ScratchRun) -> tuple[int, int, Any]:
    """FLOP and least bytes of one call of a run, and the scores it returned."""
    with recording(run.model, run.device) as recorder:
        scores = run()
    works = [work for call in recorder.take() for work in (call.forward, call.backward)]
    return sum(work.flop for work in works), sum(work.bytes for work in works), scores
