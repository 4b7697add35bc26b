"""Copies that nobody waits for: on a make-believe GPU that does its work as late, or in as odd an order, as it may.

tests/strict_cupy.py does everything at once, so it cannot show a buffer that is written too early. Here every stream
is a queue. Nothing in it happens until somebody waits for an event, and then streams take turns by chance, bound only
by the events between them.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scratchfcn.backend import on_gpu, resolve_device, to_numpy
from scratchfcn.cuda import transfer
from scratchfcn.cuda.transfer import Placed, Readings, Uploader, upload
from scratchfcn.data import Batch

GARBAGE = 111


class Stream:
    """A queue of work: functions that return whether they could be done."""

    def __init__(self, gpu: LateGpu) -> None:
        self.gpu, self.queue = gpu, deque[Callable[[], bool]]()
        gpu.streams.append(self)

    def put(self, work: Callable[[], Any]) -> None:
        self.queue.append(lambda: (work(), True)[1])

    def wait_event(self, event: Event) -> None:
        wanted = event.recorded  # later records are no concern of this wait
        self.queue.append(lambda: event.reached >= wanted)

    def __enter__(self) -> Stream:
        self.gpu.stack.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        self.gpu.stack.pop()


class Event:
    """Counts how often it has been recorded, and how far the GPU has come."""

    def __init__(self, gpu: LateGpu) -> None:
        self.gpu, self.recorded, self.reached = gpu, 0, 0

    def record(self, stream: Stream) -> None:
        self.recorded += 1
        number = self.recorded
        stream.put(lambda: setattr(self, "reached", number))

    @property
    def done(self) -> bool:
        return self.reached == self.recorded

    def synchronize(self) -> None:
        self.gpu.waits += not self.done
        while not self.done:
            self.gpu.advance()


class Array:
    """Memory of the GPU: written and read by what is in the queues alone."""

    def __init__(self, gpu: LateGpu, shape: tuple[int, ...], dtype: Any) -> None:
        self.gpu, self.numbers = gpu, np.empty(shape, dtype)
        self.shape, self.dtype, self.nbytes = self.numbers.shape, self.numbers.dtype, self.numbers.nbytes
        self.flags, self.device = self.numbers.flags, SimpleNamespace(id=0)
        gpu.current().put(lambda: self.numbers.fill(GARBAGE))  # the last use by whoever had this memory before

    def set(self, host: np.ndarray, stream: Stream) -> None:
        assert (host.shape, host.dtype) == (self.shape, self.dtype)
        stream.put(lambda: np.copyto(self.numbers, host))

    def get(self, out: np.ndarray, blocking: bool = True) -> np.ndarray:
        assert not blocking
        self.gpu.current().put(lambda: np.copyto(out, self.numbers))
        return out


class LateGpu:
    """What transfer.py needs of CuPy."""

    def __init__(self, seed: int) -> None:
        self.chance, self.waits = random.Random(seed), 0
        self.streams: list[Stream] = []
        self.stack = [Stream(self)]
        self.cuda = SimpleNamespace(
            Event=lambda block, disable_timing: Event(self),
            Stream=lambda non_blocking: Stream(self),
            get_current_stream=self.current,
            alloc_pinned_memory=bytearray,
        )

    def current(self) -> Stream:
        return self.stack[-1]

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        return Array(self, shape, dtype)

    def advance(self) -> None:
        """One piece of work, of any stream that can go on."""
        for stream in self.chance.sample(self.streams, len(self.streams)):
            if stream.queue and stream.queue[0]():
                stream.queue.popleft()
                return
        raise AssertionError("the streams wait for each other, or for nothing")

    def finish(self) -> None:
        while any(stream.queue for stream in self.streams):
            self.advance()


@pytest.fixture
def patch() -> Iterator[Callable[[int], LateGpu]]:
    """Puts a LateGpu into transfer.py's hands."""
    with pytest.MonkeyPatch.context() as monkeypatch:

        def install(seed: int) -> LateGpu:
            gpu = LateGpu(seed)
            monkeypatch.setattr(transfer, "cupy", lambda: gpu)
            monkeypatch.setattr(transfer, "on_gpu", lambda x: isinstance(x, Array))
            monkeypatch.setattr(transfer, "_slots", {})
            return gpu

        yield install


def batches(sizes: list[int]) -> list[Batch]:
    return [
        Batch(np.full((1, 3, n, n), i, np.float32), np.full((1, n, n), i, np.uint8), [str(i)])
        for i, n in enumerate(sizes)
    ]


SEEDS = range(12)


# --- to the GPU ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_the_host_array_may_be_changed_at_once(patch: Callable[[int], LateGpu], seed: int) -> None:
    """40 copies, more than there are slots, each from the same array."""
    gpu, host = patch(seed), np.zeros(3, np.int32)
    arrays = [gpu.empty((3,), np.int32) for _ in range(40)]
    for i, array in enumerate(arrays):
        host[...] = i
        upload(host, array)
    host[...] = GARBAGE
    gpu.finish()
    assert [array.numbers.tolist() for array in arrays] == [[i] * 3 for i in range(40)]
    assert len(transfer._slots[0, transfer.SMALLEST]) == transfer.SLOTS
    assert gpu.waits >= 1  # only because the ring is full


def test_pinned_memory_is_shared_by_sizes_alike(patch: Callable[[int], LateGpu]) -> None:
    gpu = patch(0)
    for n in (4000, 4100, 5000, 8000, 3, 0):
        upload(np.zeros(n, np.uint8), gpu.empty((n,), np.uint8))
        gpu.finish()
    assert {size: len(slots) for (_, size), slots in transfer._slots.items()} == {4096: 1, 8192: 1}
    assert gpu.waits == 0


def test_upload_keeps_every_kind_of_array(device: str) -> None:
    resolve_device(device)
    xp = transfer.cupy() if device == "cuda" else np
    for host in (np.arange(6.0).reshape(2, 3), np.arange(6)[::-1], np.array(2.5, np.float32), np.zeros((0, 3)),
                 np.array([True, False]), np.asfortranarray(np.arange(6).reshape(2, 3))):  # fmt: skip
        out = xp.zeros(host.shape, host.dtype)
        upload(host, out)
        np.testing.assert_array_equal(to_numpy(out), host)


def test_upload_refuses_what_does_not_fit(device: str) -> None:
    resolve_device(device)
    xp = transfer.cupy() if device == "cuda" else np
    with pytest.raises(ValueError, match=r"upload: float64 \(3,\) cannot be copied into float32 \(3,\)"):
        upload(np.zeros(3), xp.zeros(3, "float32"))
    with pytest.raises(ValueError, match=r"float64 \(1,\) cannot be copied into float64 \(3,\)"):
        upload(np.zeros(1), xp.zeros(3))
    if device == "cuda":
        with pytest.raises(ValueError, match="C order"):
            upload(np.zeros((2, 3)), xp.zeros((3, 2)).T)


# --- batches ahead ------------------------------------------------------------------------------------------


@given(st.lists(st.sampled_from([2, 2, 3]), max_size=12), st.integers(0, 10**6))
def test_every_batch_is_there_when_it_is_used(sizes: list[int], seed: int) -> None:
    """Work in the current stream finds its own batch, whatever is copied meanwhile."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        gpu = LateGpu(seed)
        monkeypatch.setattr(transfer, "cupy", lambda: gpu)
        monkeypatch.setattr(transfer, "on_gpu", lambda x: isinstance(x, Array))
        monkeypatch.setattr(transfer, "_slots", {})
        seen: list[tuple[int, list[float]]] = []

        def use(placed: Placed) -> None:
            images, labels = placed.images.numbers, placed.labels.numbers

            def kernel() -> None:
                seen.append((images.shape[-1], np.unique([*images.flat, *labels.flat]).tolist()))

            for _ in range(3):
                gpu.current().put(kernel)

        for i, placed in enumerate(Uploader(batches(sizes))):
            assert placed.host.names == [str(i)]
            use(placed)
            if gpu.chance.random() < 0.2:
                gpu.finish()
        gpu.finish()
        assert seen == [(n, [i]) for i, n in enumerate(sizes) for _ in range(3)]


def test_the_next_batch_is_copied_before_the_first_is_used(patch: Callable[[int], LateGpu]) -> None:
    gpu = patch(0)
    uploader = Uploader(batches([2, 2, 2]))
    placed = iter(uploader)
    next(placed)
    assert uploader.stream.queue  # two batches are in its queue, and nothing in the other is needed for them
    for _ in range(100):
        for stream in (uploader.stream, gpu.streams[0]):
            while stream.queue and stream.queue[0]():
                stream.queue.popleft()
    assert [buffers.images.numbers.max() for buffers in uploader.sets] == [0, 1]
    assert gpu.waits == 0
    placed.close()


@pytest.mark.parametrize("seed", SEEDS)
def test_memory_is_given_back_after_the_copies_into_it(patch: Callable[[int], LateGpu], seed: int) -> None:
    """The loop is left early: whoever is given the memory next must not find a late copy in it."""
    gpu = patch(seed)
    uploader = Uploader(batches([2, 2, 2]))
    placed = iter(uploader)
    next(placed)
    placed.close()
    for buffers in uploader.sets:
        gpu.current().put(lambda numbers=buffers.images.numbers: numbers.fill(5))
    gpu.finish()
    assert all((buffers.images.numbers == 5).all() for buffers in uploader.sets)


def test_batches_arrive_on_a_device(device: str) -> None:
    resolve_device(device)
    if device == "cpu":
        pytest.skip("batches stay where they are")
    for i, placed in enumerate(Uploader(batches([2, 2, 3, 2]))):
        assert on_gpu(placed.images)
        np.testing.assert_array_equal(to_numpy(placed.images), placed.host.images)
        np.testing.assert_array_equal(to_numpy(placed.labels), placed.host.labels)
        assert placed.labels.dtype == np.uint8
        assert placed.host.labels.max() == i


# --- back to the host ---------------------------------------------------------------------------------------


def test_readings_come_in_order_and_only_when_they_are_there(patch: Callable[[int], LateGpu]) -> None:
    gpu, readings = patch(0), Readings(most=4)
    number = gpu.empty((), np.float32)
    for i in range(3):
        gpu.current().put(lambda i=i: number.numbers.fill(i))
        readings.add(number, about=i)
    assert list(readings.ready()) == []
    assert (len(readings), gpu.waits) == (3, 0)
    while readings.waiting[1].arrived.done is False:
        gpu.advance()
    assert [(about, values[0].item()) for about, values in readings.ready()] == [(0, 0.0), (1, 1.0)]
    assert gpu.waits == 0
    assert [(about, values[0].item()) for about, values in readings.all()] == [(2, 2.0)]
    assert (len(readings), gpu.waits) == (0, 1)


def test_no_more_than_so_many_readings_are_on_their_way(patch: Callable[[int], LateGpu]) -> None:
    gpu, readings, got = patch(1), Readings(most=3), []
    number = gpu.empty((2,), np.int64)
    for i in range(10):
        gpu.current().put(lambda i=i: number.numbers.fill(i))
        readings.add(number, number, about=i)
        got += [(about, [v.tolist() for v in values]) for about, values in readings.ready()]
        assert len(readings) < 3
    got += [(about, [v.tolist() for v in values]) for about, values in readings.all()]
    assert got == [(i, [[i, i], [i, i]]) for i in range(10)]


def test_forgotten_readings_have_arrived(patch: Callable[[int], LateGpu]) -> None:
    """Their pinned memory is somebody else's afterwards."""
    gpu, readings = patch(2), Readings()
    readings.add(gpu.empty((2,), np.int64))
    copies = readings.waiting[0].values
    readings.forget()
    assert len(readings) == 0
    assert copies[0].tolist() == [GARBAGE] * 2
    assert all(not stream.queue for stream in gpu.streams)


def test_readings_of_the_device_are_the_numbers(device: str) -> None:
    resolve_device(device)
    xp, readings = (transfer.cupy() if device == "cuda" else np), Readings(2)
    x = xp.arange(6, dtype="float32").reshape(2, 3)
    readings.add(x, x.T, x[1, 1], xp.zeros((0, 2)), about="x")
    x += 1  # what was added does not change
    [(about, values)] = readings.all()
    assert about == "x"
    expected = np.arange(6, dtype=np.float32).reshape(2, 3)
    for value, wanted in zip(values, (expected, expected.T, expected[1, 1], np.zeros((0, 2))), strict=True):
        np.testing.assert_array_equal(value, wanted)
        assert value.dtype == wanted.dtype


def test_readings_want_at_least_one() -> None:
    with pytest.raises(ValueError, match="at least 1, got 0"):
        Readings(0)
