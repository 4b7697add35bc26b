"""Clocks: when a piece of work began and ended, on a processor and on a GPU.

A GPU runs behind the Python code that feeds it, so looking at the host's clock around a call tells how long the call
took to launch, not how long its work took. CUDA events tell the latter: an event is recorded in the stream, between
the kernels, and the GPU notes the time when it comes by. `mark()` does one or the other, and `seconds(begin, end)` is
the time between two marks, once `wait()` has returned.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

from .. import backend

PRODUCT = 4096  # rows and columns of a head start's matrices: some milliseconds each
MOST_PRODUCTS = 256  # more would fill the queue of launches, which holds about a thousand


class HostClock:
    """The processor's own: its work is done when the call returns."""

    def mark(self) -> float:
        return time.perf_counter()

    def seconds(self, begin: float, end: float) -> float:
        return end - begin

    def reached(self, mark: float) -> bool:
        """Whether the work before this mark is done."""
        return True

    def wait(self) -> None:
        """Until all work is done."""


class EventClock:
    """CUDA events in the stream that CuPy works on. Their resolution is about half a microsecond."""

    def __init__(self, device: str) -> None:
        self.cuda, self.number = backend.cupy().cuda, int(device.partition(":")[2] or 0)

    def mark(self) -> Any:
        event = self.cuda.Event()
        event.record()
        return event

    def seconds(self, begin: Any, end: Any) -> float:
        return self.cuda.get_elapsed_time(begin, end) / 1000

    def reached(self, mark: Any) -> bool:
        return mark.done

    def wait(self) -> None:
        """For all streams: a CUDA graph may run on another than the current one."""
        self.cuda.Device(self.number).synchronize()


class TorchClock:
    """The same events, in the stream that PyTorch works on."""

    def __init__(self, device: str) -> None:
        import torch

        self.cuda, self.device = torch.cuda, device

    def mark(self) -> Any:
        event = self.cuda.Event(enable_timing=True)
        event.record()
        return event

    def seconds(self, begin: Any, end: Any) -> float:
        return begin.elapsed_time(end) / 1000

    def reached(self, mark: Any) -> bool:
        return mark.query()

    def wait(self) -> None:
        self.cuda.synchronize(self.device)


Clock = HostClock | EventClock | TorchClock


class HeadStart:
    """Matrix products that keep the GPU busy until Python has launched what is to be measured.

    Small kernels are done sooner than the next one is launched, and the time between two events then is Python's, not
    the GPU's. Behind a head start all of a step waits in the queue, and the GPU goes through it without a pause.
    multiply: launches one product; see `PRODUCT`.
    """

    def __init__(self, clock: Clock, multiply: Callable[[], Any]) -> None:
        self.multiply = multiply
        for _ in range(2):  # the first does not count
            begin = clock.mark()
            multiply()
            end = clock.mark()
            clock.wait()
        self.product_s = max(clock.seconds(begin, end), 1e-5)

    def give(self, seconds: float) -> None:
        """Keep the GPU busy for so long, from now on."""
        for _ in range(min(MOST_PRODUCTS, math.ceil(seconds / self.product_s))):
            self.multiply()


def loop_seconds(clock: Clock, call: Callable[[], Any], calls: int) -> tuple[float, float]:
    """The time from one call to the next in a steady loop that waits once, at its end: by the host's clock, and by the
    events around the loop."""
    clock.wait()
    start = time.perf_counter()
    begin = clock.mark()
    for _ in range(calls):
        call()
    end = clock.mark()
    clock.wait()
    return (time.perf_counter() - start) / calls, clock.seconds(begin, end) / calls


def waited_seconds(clock: Clock, call: Callable[[], Any]) -> float:
    """The time of one call by the host's clock, the waiting for the device included."""
    clock.wait()
    start = time.perf_counter()
    call()
    clock.wait()
    return time.perf_counter() - start
