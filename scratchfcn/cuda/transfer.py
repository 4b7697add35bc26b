"""To the GPU and back without waiting for it.

A GPU works through a queue (a stream), and Python runs ahead, adding to it. Whoever asks for a number waits until the
queue has come to it, and meanwhile the queue runs dry. So nothing here asks. Three ways:

    upload(host, out)     a copy to the GPU joins the queue; the host array may be used for something else at once
                          (`sent(host, device)`: into a new array)
    Uploader(batches)     the next batch is copied, on a queue of its own, while the GPU works on the one before
    Readings()            a copy to the host joins the queue; the numbers are looked at once they have arrived

A copy can join the queue only from or to pinned memory, which the system never moves; from ordinary memory it would
wait. Pinned memory is written again only after an event in the queue says that the copy before is done.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np

from ..backend import cupy, on_gpu

SLOTS = 8  # pieces of pinned memory of one size; as many copies can be under way at once
SMALLEST = 1 << 12  # bytes of such a piece

# --- to the GPU -------------------------------------------------------------------------------------------


@dataclass
class Slot:
    """A piece of pinned memory, uint8 (bytes,), and the event after the last copy from it."""

    memory: np.ndarray
    copied: Any


_slots: dict[tuple[int, int], deque[Slot]] = {}  # by device and size, the one used longest ago first


def upload(host: np.ndarray, out: Any) -> None:
    """Copy `host` into the array `out`, of equal shape and dtype: on a GPU as a part of the current stream's queue.

    `host` may be changed as soon as this returns. Only where SLOTS copies of about this size are still under way does
    it wait, for the oldest. On the CPU it is a plain copy.
    Errors: ValueError for arrays that do not fit, or an `out` whose numbers do not lie in C order.
    """
    if host.shape != out.shape or host.dtype != out.dtype:
        raise ValueError(f"upload: {host.dtype} {host.shape} cannot be copied into {out.dtype} {out.shape}")
    if not on_gpu(out):
        np.copyto(out, host)
        return
    if not out.flags.c_contiguous:
        raise ValueError(f"upload: the numbers of out {out.shape} must lie in C order, one after the other")
    if host.nbytes == 0:
        return
    slot = free_slot(out.device.id, host.nbytes)
    staged = slot.memory[: host.nbytes].view(host.dtype).reshape(host.shape)
    np.copyto(staged, host)
    stream = cupy().cuda.get_current_stream()
    out.set(staged, stream)
    slot.copied.record(stream)


def sent(host: np.ndarray, device: str) -> Any:
    """These numbers on `device`: a new array of the current GPU, copied as `upload` does; on the CPU, `host` itself."""
    if device == "cpu":
        return host
    out = cupy().empty(host.shape, host.dtype)
    upload(host, out)
    return out


def free_slot(device: int, size: int) -> Slot:
    """Pinned memory of at least `size` bytes that no copy is reading. Pieces have sizes that are powers of two, so that
    images of many sizes share a few."""
    size = max(SMALLEST, 1 << (size - 1).bit_length())
    slots = _slots.setdefault((device, size), deque())
    if not slots or (not slots[0].copied.done and len(slots) < SLOTS):
        slot = Slot(pinned((size,), np.uint8), new_event())
    else:
        slot = slots.popleft()
        if not slot.copied.done:  # all are in use
            slot.copied.synchronize()
    slots.append(slot)
    return slot


def pinned(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """A new array in pinned memory, not set to anything."""
    dtype = np.dtype(dtype)
    count = int(np.prod(shape))
    if count == 0:
        return np.empty(shape, dtype)
    memory = cupy().cuda.alloc_pinned_memory(count * dtype.itemsize)
    return np.frombuffer(memory, dtype, count).reshape(shape)  # keeps the memory alive


def new_event() -> Any:
    """An event that takes no time of day; who waits for it sleeps, since others want the core."""
    return cupy().cuda.Event(block=True, disable_timing=True)


# --- batches ahead ----------------------------------------------------------------------------------------


class HostBatch(Protocol):
    """What has images and labels in the host's memory: a `data.Batch`."""

    images: np.ndarray
    labels: np.ndarray


Source = TypeVar("Source", bound=HostBatch)


@dataclass
class Placed:
    """A batch where the network is: images float32 (N, C, H, W), labels uint8 (N, H, W) or (N, H, W, T).

    host: the batch that it was copied from; on the CPU, its arrays are the same.
    """

    images: Any
    labels: Any
    host: Any


@dataclass
class Buffers:
    """Memory of the GPU for one batch. copied: the batch is there; free: nothing reads it any more."""

    images: Any
    labels: Any
    copied: Any
    free: Any


class Uploader:
    """The batches of an iterator, on the current GPU: while one is used, the next is being copied.

    A batch handed out is good until the next is asked for; the memory is used again from then on. All work with it must
    have joined the current stream's queue by that time; it need not be done. So there are two sets of buffers, and
    neither the host nor the GPU waits for a copy that could have been made earlier.
    """

    SETS = 2

    def __init__(self, batches: Iterable[Source]) -> None:
        self.batches = batches
        self.stream = cupy().cuda.Stream(non_blocking=True)
        self.sets: deque[Buffers | None] = deque([None] * self.SETS)  # the one to be written next first

    def __iter__(self) -> Iterator[Placed]:
        try:
            ahead: tuple[Placed, Buffers] | None = None
            for batch in self.batches:
                following = self.place(batch)
                if ahead is not None:
                    yield from self.lent(*ahead)
                ahead = following
            if ahead is not None:
                yield from self.lent(*ahead)
        finally:  # nobody may be given this memory while a copy into it is still to come
            current = cupy().cuda.get_current_stream()
            for buffers in self.sets:
                if buffers is not None:
                    current.wait_event(buffers.copied)

    def lent(self, placed: Placed, buffers: Buffers) -> Iterator[Placed]:
        """The batch, once; what its user puts into the current stream's queue comes after the copy and before the
        buffers' next one."""
        cupy().cuda.get_current_stream().wait_event(buffers.copied)
        yield placed
        buffers.free.record(cupy().cuda.get_current_stream())

    def place(self, batch: HostBatch) -> tuple[Placed, Buffers]:
        """Have the batch copied into the next set of buffers, made anew where the sizes have changed."""
        buffers = self.sets.popleft()
        images, labels = batch.images, batch.labels
        if buffers is None or (buffers.images.shape, buffers.labels.shape) != (images.shape, labels.shape):
            buffers = self.new_buffers(images, labels)
        self.sets.append(buffers)
        self.stream.wait_event(buffers.free)
        with self.stream:
            upload(images, buffers.images)
            upload(labels, buffers.labels)
        buffers.copied.record(self.stream)
        return Placed(buffers.images, buffers.labels, batch), buffers

    def new_buffers(self, images: np.ndarray, labels: np.ndarray) -> Buffers:
        """Memory from CuPy's pool, which the current stream's earlier work may still be using: so it is free only after
        that. The pool gives it back to the current stream as well, whose queue holds the last use of the old ones."""
        xp = cupy()
        arrays = xp.empty(images.shape, images.dtype), xp.empty(labels.shape, labels.dtype)
        buffers = Buffers(*arrays, new_event(), new_event())
        buffers.free.record(xp.cuda.get_current_stream())
        return buffers


# --- back to the host -------------------------------------------------------------------------------------


@dataclass
class Reading:
    """Copies on their way: pinned memory that they arrive in, and the event that says they have."""

    about: Any
    values: list[np.ndarray]
    arrived: Any


class Readings:
    """Arrays of the GPU to be looked at later, in the order in which they were added.

    `add` has small arrays copied to the host; `ready()` gives what has arrived, without waiting, and `all()` waits for
    the rest. At most `most` are on their way: then `ready()` waits for the oldest, so that the host cannot run away
    from the GPU. Arrays of the CPU have arrived at once.
    """

    def __init__(self, most: int = 8) -> None:
        if most < 1:
            raise ValueError(f"Readings: most is a number of readings, at least 1, got {most}")
        self.most = most
        self.waiting: deque[Reading] = deque()

    def __len__(self) -> int:
        """How many have been added and not been given out."""
        return len(self.waiting)

    def add(self, *arrays: Any, about: Any = None) -> None:
        """Read these arrays once the work that is in the current stream's queue is done. about: given back with them.

        The arrays may be changed or forgotten afterwards.
        """
        values, event = [], None
        for array in arrays:
            if on_gpu(array):
                values.append(array.get(out=pinned(array.shape, array.dtype), blocking=False))
            else:
                values.append(np.array(array))
        if any(on_gpu(array) for array in arrays):
            event = new_event()
            event.record(cupy().cuda.get_current_stream())
        self.waiting.append(Reading(about, values, event))

    def ready(self) -> Iterator[tuple[Any, list[np.ndarray]]]:
        """(about, values) of what has arrived, oldest first."""
        while self.waiting:
            event = self.waiting[0].arrived
            if event is not None and not event.done:
                if len(self.waiting) < self.most:
                    return
                event.synchronize()
            yield self._oldest()

    def all(self) -> Iterator[tuple[Any, list[np.ndarray]]]:
        """(about, values) of everything added; waits for it."""
        while self.waiting:
            event = self.waiting[0].arrived
            if event is not None and not event.done:
                event.synchronize()
            yield self._oldest()

    def forget(self) -> None:
        """Look at none of the rest. It waits for the copies, since their memory will be used for something else."""
        for _ in self.all():
            pass

    def _oldest(self) -> tuple[Any, list[np.ndarray]]:
        reading = self.waiting.popleft()
        return reading.about, reading.values
