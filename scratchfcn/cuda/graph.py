"""A whole training step as one CUDA graph: recorded once, then launched as a single piece of work.

A step starts thousands of kernels, and each start costs Python and the driver some time. Where the GPU would be done
with a small kernel sooner than that, it waits for us. A graph is the list of all these kernels with their arguments;
the GPU runs it by itself.

What is recorded are addresses: the graph reads and writes the same memory every time, and nothing else changes from
launch to launch. So whatever differs between steps (the images, the learning rate, the dropout masks) has to be copied
into fixed places before each launch, and nothing within may come from the host or be looked at by it. Memory that the
step takes and gives back while it is recorded belongs to the graph from then on: it comes from a pool of its own.

    recorded = Recorded(step)
    recorded.run()       a few times as usual: kernels are compiled, buffers and the pool grow to their size
    recorded.record()    nothing is computed, all is noted down
    recorded.launch()    this is what computes, every time
"""

from __future__ import annotations

import contextlib
import functools
import gc
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..backend import array_module, cupy, on_gpu
from .memory import graph_pools, is_memory_error
from .transfer import new_event, upload

Draw = Callable[[], np.ndarray]


class GraphError(RuntimeError):
    """What was to become a graph cannot; the message says what stood in the way."""


class Recorded:
    """`work`, a function without arguments on arrays of the current GPU, to be run as usual or as a graph.

    work: uses the same arrays every time, and allocates what else it needs; it must not read from the GPU. What it
    returns, if anything, is returned by `run` and `launch`; of a graph, they are the same arrays every time, with new
    numbers. Work in the current stream comes before and after it as with any other function.
    """

    def __init__(self, work: Callable[[], Any]) -> None:
        self.work = work
        self.pool = new_pool(self)
        self.graph: Any = None
        self.draws: list[tuple[Any, Draw]] = []
        self.result: Any = None

    def run(self) -> Any:
        """Do the work as usual, where the graph will be at home."""
        with self.at_home(), self.allocating():
            return self.work()

    def record(self) -> None:
        """Note down what the work does. It is not done; numbers in its results make sense after the first `launch`.

        Errors: GraphError, where the work does something that a graph cannot. It must have been run before.
        """
        gc.collect()  # what is freed meanwhile may want to talk to the GPU
        self.draws, self.graph = [], None
        with self.at_home() as stream, self.allocating(), recording(self), self.pool.giving_nothing_back():
            graph = self.captured(stream)
        self.graph = graph

    def captured(self, stream: Any) -> Any:
        """The graph of the work. Whatever goes wrong, the stream can be used afterwards."""
        stream.begin_capture()
        try:
            self.result = self.work()
        except BaseException as error:
            with contextlib.suppress(Exception):  # the capture may be broken already
                stream.end_capture()
            if not isinstance(error, Exception) or is_memory_error(error):
                raise
            raise cannot(error) from error
        try:
            return stream.end_capture()
        except Exception as error:
            raise cannot(error) from error

    def launch(self) -> Any:
        """Do the work by way of the graph; what is drawn in it is drawn now, and copied to its place."""
        if self.graph is None:
            raise GraphError("there is no graph to launch; call record() first")
        with self.at_home() as stream:
            for buffer, draw in self.draws:
                upload(draw(), buffer)
            self.graph.launch(stream)
        return self.result

    @contextmanager
    def at_home(self) -> Iterator[Any]:
        """Within this block the graph's stream is the current one. It begins when the work that the current stream has
        is done, and what that one is given afterwards waits for it."""
        before, stream = cupy().cuda.get_current_stream(), home(cupy().cuda.runtime.getDevice())
        await_work_of(before, stream)
        try:
            with stream:
                yield stream
        finally:
            await_work_of(stream, before)

    @contextmanager
    def allocating(self) -> Iterator[None]:
        """Within this block memory comes from the graph's pool."""
        with cupy().cuda.using_allocator(self.pool.pool.malloc):
            yield


def cannot(error: Exception) -> GraphError:
    """The error for work that cannot be recorded because of another one."""
    return GraphError(f"this cannot be recorded in a CUDA graph: {type(error).__name__}: {error}")


def await_work_of(first: Any, then: Any) -> None:
    """What stream `then` is given from now on begins when what `first` has been given is done; nobody waits here."""
    event = new_event()
    event.record(first)
    then.wait_event(event)


@functools.cache
def home(device: int) -> Any:
    """The stream of all graphs of a GPU. It is not the default one, which cannot be recorded, nor does it wait for it
    or make it wait."""
    return cupy().cuda.Stream(non_blocking=True)


class Pool:
    """Memory for one graph, and for the runs before it. user: who has the graph."""

    def __init__(self, user: Recorded) -> None:
        self.user = weakref.ref(user)
        cupy().get_default_memory_pool().free_all_blocks()  # to make room: what it keeps in reserve is of no use here
        self.pool = cupy().cuda.MemoryPool(self.take)
        self.taken = 0  # bytes

    def take(self, size: int) -> Any:
        """Memory from CUDA, which the pool asks for when it has none that fits."""
        pointer = cupy().cuda.MemoryPointer(cupy().cuda.Memory(size), 0)
        self.taken += size
        return pointer

    @contextmanager
    def giving_nothing_back(self) -> Iterator[None]:
        """Errors: GraphError, where the pool has given memory back to CUDA within this block, as it does when there is
        no more: the graph may have work to do in it."""
        self.taken = self.pool.total_bytes()
        yield
        if self.pool.total_bytes() != self.taken:
            raise GraphError("this cannot be recorded in a CUDA graph: the GPU's memory ran short")


def new_pool(user: Recorded) -> Pool:
    """A pool for this graph. Those whose graph is gone give back what nobody has; they stay in the list as long as
    there is something, for a pool that dies takes its memory with it, also that of arrays which somebody still has."""
    gc.collect()
    for pool in [pool for pool in graph_pools if pool.user() is None]:
        pool.pool.free_all_blocks()
        if pool.pool.used_bytes() == 0:
            graph_pools.remove(pool)
    graph_pools.append(Pool(user))
    return graph_pools[-1]


# --- what is drawn on the host ----------------------------------------------------------------------------

_recording: Recorded | None = None


@contextmanager
def recording(recorded: Recorded) -> Iterator[None]:
    """Within this block `drawn` notes down what is to be drawn before each launch."""
    global _recording
    _recording = recorded
    try:
        yield
    finally:
        _recording = None


def drawn(draw: Draw, like: Any, shape: tuple[int, ...], dtype: Any) -> Any:
    """What `draw()` gives, an array of that shape and dtype, where `like` is.

    While a graph is recorded nothing is drawn. The array is then a place that is filled before every launch, in the
    order in which these places were asked for: the random numbers are those of a step without a graph.
    """
    if not on_gpu(like):
        return draw()
    if _recording is None:
        return array_module(like).asarray(draw())
    # not of the graph's own memory, which the graph may have used for something else by the time that it reads this
    with cupy().cuda.using_allocator(cupy().get_default_memory_pool().malloc):
        buffer = array_module(like).empty(shape, dtype)
    _recording.draws.append((buffer, draw))
    return buffer
