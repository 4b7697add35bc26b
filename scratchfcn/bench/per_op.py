"""Every op of a step, timed by itself.

Within `recording(model)` every op's forward and backward go through a watcher (see inspection/trace_calls.py) that
looks at the clock before and after. Nothing in the library knows of it, and outside the block nothing is different.

On a GPU there are two clocks to look at, and each has steps of its own. The host's says how long Python takes to launch
an op. CUDA events say how long the GPU works on it, once a head start has let Python run so far ahead that every kernel
is waiting in the queue when the one before it is done (see clock.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import numpy as np

from ..backend import array_module
from ..inspection import LayerNames, Product
from ..inspection.trace_calls import all_ops as all_ops
from ..inspection.trace_calls import watched
from ..nn import Module
from ..ops import Conv1x1, Conv2d, ConvTranspose2d
from ..tensor import Function
from .clock import PRODUCT, Clock, HeadStart, HostClock
from .floors import product_seconds, random_array
from .libraries import ScratchRun
from .specs import Spec, sgd_spec, spec_of
from .work import Work, backward_work, forward_work

MOST_COLUMNS = 1 << 24  # numbers; larger products are timed in part, and the time scaled up
MOST_COLUMNS_GPU = 1 << 27

Span = tuple[Any, Any, bool]  # an op's two marks, and whether it stood in the queue as a whole before it began


@dataclass
class Call:
    """One call of an op: its forward, and its backward once that has run. layer: whose parameters it was given.

    queued: False where a GPU may have waited for Python meanwhile, so that the seconds are not all its own.
    """

    op: str
    layer: str
    output: tuple[int, ...]
    input_bytes: list[int]
    forward: Work
    spans: list[Span]  # of forward and backward
    around: str = ""  # what it does beside its matrix products
    spec: Spec | None = None
    backward: Work = field(default_factory=lambda: Work(0, 0, []))
    forward_s: float = 0.0
    backward_s: float = 0.0
    queued: bool = False


@dataclass
class Recorder:
    """What `recording` fills in: the calls so far, in order."""

    layers: LayerNames
    clock: Clock
    calls: list[Call] = field(default_factory=list)
    busy: bool = False  # within an op: what it calls belongs to it

    def take(self) -> list[Call]:
        """The calls so far, which are then forgotten. All work must be done."""
        calls, self.calls = self.calls, []
        self.layers.start_anew()
        for call in calls:
            seconds = [self.clock.seconds(begin, end) for begin, end, _ in call.spans]
            call.forward_s, call.backward_s = seconds[0], sum(seconds[1:])
            call.queued = all(queued for *_, queued in call.spans)
        return calls

    def timed(self, method: Callable[..., Any], *args: Any) -> tuple[Any, Span]:
        """The method's result, and when it ran."""
        self.busy = True
        try:
            begin = self.clock.mark()
            result = method(*args)
            end = self.clock.mark()
            return result, (begin, end, not self.clock.reached(begin))
        finally:
            self.busy = False

    def forward(self, method: Callable[..., Any], function: Function, arrays: tuple[Any, ...]) -> Any:
        """Run and note an op's forward."""
        y, span = self.timed(method, function, *arrays)
        sizes = [0 if a is None else a.nbytes for a in arrays]
        work, beside = forward_work(function, arrays, y), around(function, arrays)
        layer, spec = self.layers.of(arrays), spec_of(function, arrays)
        call = Call(function.name, layer, y.shape, sizes, work, [span], beside, spec)
        function.bench_call = call  # where backward finds it
        self.calls.append(call)
        return y

    def backward(self, method: Callable[..., Any], function: Function, gy: Any) -> Any:
        """Run an op's backward and add it to the note of its forward."""
        if not hasattr(function, "bench_call"):
            return method(function, gy)
        call = function.bench_call
        gradients, span = self.timed(method, function, gy)
        call.spans.append(span)
        each = gradients if isinstance(gradients, tuple) else (gradients,)
        call.backward = backward_work(function, call.forward, call.input_bytes, gy, each)
        return gradients


@contextmanager
def recording(model: Module) -> Iterator[Recorder]:
    """Within this block every op's forward and backward is timed, by the host's clock unless the recorder is given
    another; afterwards all is as it was."""
    recorder = Recorder(LayerNames(model), HostClock())
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
    no op accounts for. On a GPU, host_s: what Python takes to launch it; queued: whether the GPU never waited for that
    meanwhile. spec: what another library is told of it, and torch_…_s what PyTorch then took.
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
    host_s: float | None = None
    queued: bool = False
    spec: Spec | None = None
    torch_forward_s: float | None = None
    torch_backward_s: float | None = None

    @property
    def seconds(self) -> float:
        return self.forward_s + self.backward_s

    @property
    def torch_s(self) -> float | None:
        """PyTorch's time, or None where it was not compared."""
        return None if self.torch_forward_s is None else self.torch_forward_s + (self.torch_backward_s or 0.0)


@dataclass
class Step:
    """A step of which every op was timed: its calls, the optimiser's own step, and how long all of it took."""

    seconds: float
    calls: list[Call]
    optimizer: tuple[float, bool] | None  # seconds, and whether it was queued


def measure_ops(run: ScratchRun, repeats: int) -> list[Row]:
    """The rows of a run, in the order of the calls; their seconds add up to those of the whole step."""
    launches: list[Step] = []
    with recording(run.model) as recorder:
        run()
        run.clock.wait()
        recorder.take()  # the first call allocates and starts threads
        if run.device == "cpu":
            steps = record_steps(run, recorder, repeats)
        else:
            launches = record_steps(run, recorder, repeats)
            launching = median(step.seconds for step in launches)
            recorder.clock = run.clock
            start = HeadStart(run.clock, head_start_product(run.device))
            steps = record_steps(run, recorder, repeats, lambda: start.give(2 * launching))
    rows = rows_of(run, steps)
    if launches:
        for row, launch in zip(rows, rows_of(run, launches), strict=True):
            row.host_s = launch.seconds
    for row in rows:
        if row.products:  # within the op they have taken no longer than the op, whatever they take by themselves
            row.product_s = min(row.seconds, sum(seconds_of(product, run.device) for product in row.products))
    return rows


def record_steps(
    run: ScratchRun, recorder: Recorder, repeats: int, before: Callable[[], None] = lambda: None
) -> list[Step]:
    """Some steps by the recorder's clock. before: called when the device has nothing to do."""
    clock, plain_step, optimizing, steps = recorder.clock, run.optimizer.step, [], []

    def timed_step() -> None:
        _, span = recorder.timed(plain_step)
        optimizing.append(span)

    run.optimizer.step = timed_step  # on this optimiser alone
    try:
        for _ in range(repeats):
            run.clock.wait()
            before()
            begin = clock.mark()
            run()
            end = clock.mark()
            run.clock.wait()
            spans = [(clock.seconds(a, b), queued) for a, b, queued in optimizing]
            optimizing.clear()
            steps.append(Step(clock.seconds(begin, end), recorder.take(), spans[0] if spans else None))
    finally:
        del run.optimizer.step
    return steps


def head_start_product(device: str) -> Callable[[], Any]:
    """Launches one product of a head start."""
    a = random_array((PRODUCT, PRODUCT), device)
    xp = array_module(a)
    y = xp.empty((PRODUCT, PRODUCT), np.float32)
    return lambda: xp.matmul(a, a, out=y)


def rows_of(run: ScratchRun, steps: list[Step]) -> list[Row]:
    """The same ops in every step, as rows; then the optimiser, and the rest."""
    rows = [row_of(calls) for calls in zip(*(step.calls for step in steps), strict=True)]
    if optimizing := [step.optimizer for step in steps if step.optimizer is not None]:
        row = optimizer_row(run, median(seconds for seconds, _ in optimizing))
        row.queued = all(queued for _, queued in optimizing)
        rows.append(row)
    rest = median(step.seconds for step in steps) - sum(row.seconds for row in rows)
    adding = "gradients that are added where paths meet" if run.case.task == "step" else ""
    rows.append(Row("other", "outside the ops", (), max(0.0, rest), 0.0, 0, 0, [], around=adding))
    return rows


def row_of(calls: tuple[Call, ...]) -> Row:
    """The same op in every step, as one row."""
    first = calls[0]
    return Row(
        first.op,
        first.layer,
        first.output,
        median(call.forward_s for call in calls),
        median(call.backward_s for call in calls),
        first.forward.flop + first.backward.flop,
        first.forward.bytes + first.backward.bytes,
        first.forward.products + first.backward.products,
        around=first.around,
        queued=all(call.queued for call in calls),
        spec=first.spec,
    )


def seconds_of(product: Product, device: str) -> float:
    """How long a matrix product of these sizes takes by itself, at best."""
    M, K, P, times = product
    long = max(M, K, P)
    most = MOST_COLUMNS if device == "cpu" else MOST_COLUMNS_GPU
    short = max(1, most * long // max(M * K, K * P, M * P))  # cut the longest side, if the matrices are huge
    M, K, P = (min(n, short) if n == long else n for n in (M, K, P))
    return product_seconds(M, K, P, device, repeats=2) * times * max(1.0, long / short)


def optimizer_row(run: ScratchRun, seconds: float) -> Row:
    """SGD with momentum reads w, g and v, and writes w and v."""
    parameters = run.optimizer.parameters
    size = sum(p.data.nbytes for p in parameters)
    spec = sgd_spec([p.shape for p in parameters])
    return Row("sgd", "all parameters", (), 0.0, seconds, 0, 5 * size, [], spec=spec)


def total_work(run: ScratchRun) -> tuple[int, int, Any]:
    """FLOP and least bytes of one call of a run, and the scores it returned."""
    with recording(run.model) as recorder:
        scores = run()
    works = [work for call in recorder.take() for work in (call.forward, call.backward)]
    return sum(work.flop for work in works), sum(work.bytes for work in works), scores
