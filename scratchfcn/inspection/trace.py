"""A row for every op that runs: forward, and then backward.

    with sf.trace(model) as t:
        loss = sf.ops.softmax_cross_entropy(model(x), labels)
        loss.backward()
    print(t)

The ops compute what they always compute, bit by bit; between them the tracer notes shapes, times, memory and how large
the numbers are. A network that does not learn often shows here why: an output that grows or fades from layer to layer,
a gradient that dies on its way back, an update that is as large as the weight itself.

Two numbers say how much memory an op takes. The *estimate* is the size of what it returns, by the shapes alone. What is
*observed* is how much more memory is in use after the op than before: its output and whatever it keeps for backward.
"""

from __future__ import annotations

import contextlib
import time
import tracemalloc
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..backend import device_of, generator, is_array, synchronize
from ..cuda.memory import Watched, watched_pool
from ..geometry import Grid
from ..nn import Module
from ..tensor import Function, Tensor
from .grids import grid_behind
from .layers import LayerNames
from .products import shares_memory
from .trace_calls import Method, watched
from .trace_page import trace_page
from .trace_rows import LR, TraceRow, TraceRows, Update
from .trace_table import trace_text

WORKERS_LET_GO = 1e-4  # seconds; when an op is done, a worker thread may hold its last piece for a moment longer


class Trace(TraceRows):
    """What was traced so far. `print(trace)` shows it as tables."""

    def table(self, width: int | None = None) -> str:
        """As text, at most `width` columns wide; as wide as the terminal, if nothing is said."""
        return trace_text(self, width)

    def __str__(self) -> str:
        return self.table()

    def save_html(self, path: str | Path, title: str = "trace") -> None:
        """Write a page that needs nothing but a browser."""
        Path(path).write_text(trace_page(self, title), encoding="utf-8")


class StopTracing(Exception):
    """Raised by `before` to end a traced step early."""


@dataclass(frozen=True)
class Moment:
    """An op that is about to run: what `before` is given. method: its forward or backward, as it stands in the source.

    arrays: forward's inputs, or (gy,). parameters: names and arrays of those inputs that the model learns.
    last: what was noted of the op before.
    """

    number: int
    direction: str
    layer: str
    function: Function
    method: Method
    arrays: tuple[Any, ...]
    parameters: list[tuple[str, Any]]
    last: TraceRow | None


@contextlib.contextmanager
def trace(
    model: Module, lr: float = LR, memory: bool = True, before: Callable[[Moment], None] | None = None
) -> Iterator[Trace]:
    """Within this block every op is noted; see the top of the file. Afterwards nothing is different.

    model: gives the layers their names; what runs within the block need not be all of it.
    lr: the learning rate for update/weight. memory: whether to observe it. On the CPU this is done by Python's
    tracemalloc, which makes small ops slower (by microseconds); times are truer without.
    before: called before every op, for example to stop there (see step.py).
    """
    tracer = Tracer(model, Trace(lr), memory, before)
    started = memory and not tracemalloc.is_tracing()
    if started:
        tracemalloc.start()
    try:
        with watched(tracer):
            yield tracer.trace
    finally:
        if started:
            tracemalloc.stop()


def trace_step(
    model: Module,
    x: Tensor,
    loss_of: Callable[[Any], Tensor] | None = None,
    lr: float = LR,
    before: Callable[[Moment], None] | None = None,
) -> tuple[Trace, Any, Tensor | None]:
    """`model(x)` traced, and `loss_of(output).backward()`, if a loss is given. Returns the trace, output and loss.

    The step is done twice, with the same random numbers. The first time observes the memory and is the warm-up; the
    times are those of the second, so that no kernel is compiled within them. On a GPU an op is timed from its call
    until the GPU has finished it, and only then the next one begins: a small op's time is mostly that of launching it.
    The parameters' gradients are those of one step; running statistics have seen one.
    Where `before` ends it early, with StopTracing, output and loss are None.
    """

    def step() -> tuple[Any, Tensor | None]:
        model.zero_grad()
        output = model(x)
        if loss_of is None:
            return output, None
        loss = loss_of(output)
        loss.backward()
        return output, loss

    state, draws = buffers(model), generator().bit_generator.state
    with trace(model, lr) as first:
        step()
    for array, values in state:
        array[...] = values
    generator().bit_generator.state = draws
    output = loss = None
    with contextlib.suppress(StopTracing), trace(model, lr, memory=False, before=before) as second:
        output, loss = step()
    for row, same in zip(second.rows, first.rows, strict=False):  # fewer, where it was ended early
        row.observed_bytes, row.peak_bytes, row.live_bytes = same.observed_bytes, same.peak_bytes, same.live_bytes
    return second, output, loss


def buffers(model: Module) -> list[tuple[Any, Any]]:
    """The arrays that a model keeps beside its parameters, such as running statistics, each with a copy."""
    arrays = [value for module in model.modules() for value in vars(module).values() if is_array(value)]
    return [(array, array.copy()) for array in arrays]


class Tracer:
    """The watcher that fills a trace."""

    def __init__(
        self, model: Module, trace: Trace, memory: bool, before: Callable[[Moment], None] | None = None
    ) -> None:
        self.trace, self.before, self.busy = trace, before, False
        self.layers = LayerNames(model)
        self.parameters = {id(p.data): name for name, p in model.named_parameters()}
        self.grids: dict[int, tuple[weakref.ref, Grid]] = {}
        self.memory = Memory() if memory else None

    def forward(self, method: Method, function: Function, arrays: tuple[Any, ...]) -> Any:
        """Run and note an op's forward."""
        given = [a for a in arrays if a is not None]
        learned = [(self.parameters[id(a)], a) for a in given if id(a) in self.parameters]
        others = [a for a in given if id(a) not in self.parameters]
        layer, number = self.layers.of(given), 1 + len(self.trace.forward)
        self.pause(number, "forward", layer, function, method, arrays, learned)
        y, seconds, memory = self.measured(given[0], method, function, *arrays)
        row = TraceRow(
            number,
            "forward",
            function.name,
            layer,
            tuple(a.shape for a in others),
            (y.shape,),
            sum(a.size for _, a in learned),
            self.grid_of(function, arrays, y),
            seconds,
            0 if any(shares_memory(y, a) for a in given) else y.nbytes,
            *memory,
            root_mean_square(y),
        )
        self.trace.rows.append(row)
        # where backward finds it; the arrays by their place among the inputs, so that none is kept alive
        places = [(i, self.parameters.get(id(a))) for i, a in enumerate(arrays) if a is not None]
        function.traced = (row, layer, learned, places)
        return y

    def backward(self, method: Method, function: Function, gy: Any) -> Any:
        """Run and note an op's backward."""
        if not hasattr(function, "traced"):  # its forward was before this block
            return method(function, gy)
        row, layer, learned, places = function.traced
        self.pause(row.number, "backward", layer, function, method, (gy,), learned)
        gxs, seconds, memory = self.measured(gy, method, function, gy)
        each = gxs if isinstance(gxs, tuple) else (gxs,)
        weights = dict(learned)
        updates = [
            Update(name, root_mean_square(weights[name]), root_mean_square(each[i]))
            for i, name in places
            if name is not None and each[i] is not None
        ]
        by_inputs = [each[i] for i, name in places if name is None]
        made = [g for g in each if g is not None and not shares_memory(g, gy)]
        self.trace.rows.append(
            TraceRow(
                row.number,
                "backward",
                row.op,
                layer,
                (gy.shape,),
                tuple(None if g is None else g.shape for g in by_inputs),
                row.parameters,
                row.grid,
                seconds,
                sum(g.nbytes for g in made),
                *memory,
                root_mean_square(gy),
                updates,
            )
        )
        return gxs

    def pause(self, *moment: Any) -> None:
        if self.before is not None:
            self.before(Moment(*moment, self.trace.rows[-1] if self.trace.rows else None))

    def measured(self, like: Any, method: Method, *args: Any) -> tuple[Any, float, tuple[int | None, ...]]:
        """The method's result, its seconds, and its memory: (observed, peak, live)."""
        self.busy = True
        try:
            device, memory = device_of(like), self.memory
            with memory.watching(like) if memory else contextlib.nullcontext((None, None, None)) as found:
                synchronize(device)
                start = time.perf_counter()
                result = method(*args)
                synchronize(device)  # a GPU has only been told by now what to do
                seconds = time.perf_counter() - start
            return result, seconds, found() if memory else found
        finally:
            self.busy = False

    def grid_of(self, function: Function, arrays: Sequence[Any], y: Any) -> Grid | None:
        """Where y's pixels lie. An image that no op made and that an op is given as its first input is *the* image."""
        found = [self.known_grid(a) for a in arrays]
        if found[0] is None and arrays[0].ndim == 4 and id(arrays[0]) not in self.parameters:
            found[0] = Grid()
        grid = grid_behind(function, arrays, found)
        if is_array(y):  # 0-dimensional results may be scalars, to which there are no weak references
            self.grids[id(y)] = (weakref.ref(y), grid)
        return grid

    def known_grid(self, array: Any) -> Grid | None:
        reference, grid = self.grids.get(id(array), (None, None))
        known = reference is not None and reference() is array  # another array may have got a freed one's id
        return grid if known else None


class Memory:
    """How much memory arrays take: on the CPU by tracemalloc, to which NumPy tells it, on a GPU by CuPy's pool."""

    first: int | None = None  # in use when the trace began

    @contextlib.contextmanager
    def watching(self, like: Any) -> Iterator[Callable[[], tuple[int, int, int]]]:
        """What this block takes, where `like` lies. The function that it gives tells afterwards: how many bytes more
        are in use than before; how many more there were at most; how many more than at first are in use now."""
        on_cpu = device_of(like) == "cpu"
        with host_memory() if on_cpu else watched_pool() as held:
            before = held.bytes
            self.first = before if self.first is None else self.first
            yield lambda: (held.bytes - before, held.peak - before, held.bytes - self.first)
            if on_cpu:
                time.sleep(WORKERS_LET_GO)


@contextlib.contextmanager
def host_memory() -> Iterator[Watched]:
    """As `watched_pool`, of the memory that Python's tracemalloc is told of."""
    tracemalloc.reset_peak()
    held = Watched(*tracemalloc.get_traced_memory())
    yield held
    held.bytes, held.peak = tracemalloc.get_traced_memory()


def root_mean_square(x: Any) -> float:
    """√(mean of x²), computed so that no square overflows."""
    if not x.size:
        return 0.0
    largest = float(abs(x).max())
    if largest == 0 or largest != largest or largest == float("inf"):
        return largest
    return largest * float(((x / x.dtype.type(largest)) ** 2).mean()) ** 0.5


# --- JSON -------------------------------------------------------------------------------------------------
