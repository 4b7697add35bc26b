"""CUDA's side of the stand-in for CuPy: streams, events, graphs, memory pools, pinned memory, and what a GPU says of
itself. tests/strict_cupy.py puts it into `cupy.cuda`.

Compared with CuPy 13.6 (source and installed package) and CUDA's documentation:

- Work is done at once, but for copies between pinned memory and the GPU: those stand in their stream's queue until more
  work joins it, or somebody waits. So pinned memory written again too soon, or read too early, shows; and so does a
  stream that has not waited for another's copy. The first time that an event in front of which copies stand is asked
  whether it is done, it says no.
- The null stream and ordinary streams wait for each other; streams made with non_blocking=True wait for nobody.
- While a stream is being captured, nothing is done: what would be done is recorded, and every launch of the graph does
  it, with the arrays' contents at that time. Waiting, and copies from or to the host, are refused as CUDA and CuPy do.
- A pool keeps the memory of arrays that are gone for the next ones of that size in the same stream. A limit, or the end
  of the GPU's memory, is an OutOfMemoryError.
- A graph does not keep the memory alive that it works with. On a GPU it would write into memory that has become
  another's; here its launch is an error. A private pool (`using_allocator`), kept as long as the graph, prevents it.

Not imitated: blocks that are split and merged; several streams in one capture; a graph launched within another; more
than one device; other threads' streams, so far as they would be waited for.
"""

import collections
import contextlib
import ctypes
import gc
import itertools
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, ClassVar, NoReturn

import numpy as np

emulated_device_memory = 1 << 33  # bytes of the make-believe GPU
UNIT = 512  # bytes; memory comes in steps of it
ERRORS = {  # cudaError_t: its name, and what CUDA says of it
    1: ("cudaErrorInvalidValue", "invalid argument"),
    2: ("cudaErrorMemoryAllocation", "out of memory"),
    101: ("cudaErrorInvalidDevice", "invalid device ordinal"),
    400: ("cudaErrorInvalidResourceHandle", "invalid resource handle"),
    401: ("cudaErrorIllegalState", "the operation cannot be performed in the present state"),
    600: ("cudaErrorNotReady", "device not ready"),
    900: ("cudaErrorStreamCaptureUnsupported", "operation not permitted when stream is capturing"),
    901: ("cudaErrorStreamCaptureInvalidated", "operation failed due to a previous error during capture"),
    903: ("cudaErrorStreamCaptureUnmatched", "capture was not initiated in this stream"),
    905: ("cudaErrorStreamCaptureIsolation", "dependency created on uncaptured work in another stream"),
    906: (
        "cudaErrorStreamCaptureImplicit",
        "operation would make the legacy stream depend on a capturing blocking stream",
    ),
    907: ("cudaErrorCapturedEvent", "operation not permitted on an event last recorded in a capturing stream"),
}
_synchronised = 0


class CUDARuntimeError(RuntimeError):
    """What CuPy raises where CUDA refuses."""

    def __init__(self, status: int) -> None:
        self.status = status
        super().__init__("{}: {}".format(*ERRORS[status]))


def synchronised() -> int:
    """How often, so far, the host would have waited for the GPU."""
    return _synchronised


def count_wait() -> None:
    global _synchronised
    _synchronised += 1


# --- streams ----------------------------------------------------------------------------------------------


class Queue:
    """What belongs to a stream's pointer: copies not made yet, each with its number, and what is being captured."""

    def __init__(self, non_blocking: bool) -> None:
        self.non_blocking = non_blocking
        self.last = 0  # the number of the copy that joined last
        self.later: collections.deque[tuple[int, Callable[[], None]]] = collections.deque()
        self.capture: Capture | None = None

    def put_off(self, copy: Callable[[], None]) -> None:
        self.last += 1
        self.later.append((self.last, copy))

    def catch_up(self, number: int | None = None) -> None:
        """Make the copies up to this number; all of them without it."""
        while self.later and (number is None or self.later[0][0] <= number):
            self.later.popleft()[1]()


class Capture:
    """Work that is being recorded, and the memory that it touches."""

    def __init__(self) -> None:
        self.work: list[Callable[[], Any]] = []
        self.touched: dict[Chunk, int] = {}
        self.broken = False

    def touch(self, mem: Any) -> None:
        if isinstance(mem, PooledMemory):
            self.touched[mem.chunk] = mem.chunk.given


_queues: dict[int, Queue] = {0: Queue(non_blocking=False)}
_pointers = itertools.count(0x1000, 0x10)
_local = threading.local()


def _streams() -> list[Any]:
    """This thread's streams, as they were entered; the last is the current one."""
    if not hasattr(_local, "streams"):
        _local.streams, _local.current = [Stream.null], Stream.null
    return _local.streams


def get_current_stream(device_id: int = -1) -> Any:
    _streams()
    return _local.current


def _queue(stream: Any = None) -> Queue:
    return _queues[(get_current_stream() if stream is None else stream).ptr]


def is_capturing() -> bool:
    """Whether the current stream is being captured."""
    return _queue().capture is not None


def do(work: Callable[[], Any], *touched: Any) -> None:
    """Do `work` now, or have it recorded where the current stream is being captured.

    touched: arrays of the GPU that it reads and writes, so that a graph notices when their memory has become another's.
    """
    queue = _queue()
    join(queue)
    if queue.capture is None:
        work()
        return
    queue.capture.work.append(work)
    for x in touched:
        queue.capture.touch(x.data.mem)


def join(queue: Queue, itself: bool = True) -> None:
    """What comes before work in this queue: what it holds, and all that its stream waits for. Errors: where no work may
    join."""
    if queue.capture is not None:
        if queue.capture.broken:
            raise CUDARuntimeError(901)
        return
    if itself:
        queue.catch_up()
    if queue.non_blocking:
        return
    others = list(_queues.values()) if queue is _queues[0] else [_queues[0]]
    for other in others:
        if not other.non_blocking:
            if other.capture is not None:
                other.capture.broken = True
                raise CUDARuntimeError(906)
            other.catch_up()


def copy_later(stream: Any, copy: Callable[[], None]) -> None:
    """A copy between the GPU and pinned memory joins a stream's queue."""
    queue = _queue(stream)
    join(queue, itself=False)
    queue.put_off(copy)


def wait_for(queue: Queue) -> None:
    """The host waits for a queue. Errors: CUDARuntimeError, which ends a capture, too."""
    if queue.capture is not None:
        queue.capture.broken = True
        raise CUDARuntimeError(900)
    join(queue)
    count_wait()


def read_back() -> None:
    """Before anything is copied to the host, for which the host waits."""
    if is_capturing():
        raise RuntimeError("the current stream is capturing, so D2H transfers are disallowed")
    wait_for(_queue())


def refuse_host_copy(stream: Any = None) -> None:
    """Before anything is copied from the host: what a graph copies would be what its memory holds at a launch."""
    if _queue(stream).capture is not None:
        raise RuntimeError("the current stream is capturing, so H2D transfers are disallowed")


def device_synchronize() -> None:
    for queue in list(_queues.values()):
        if queue.capture is not None:
            queue.capture.broken = True
            raise CUDARuntimeError(900)
    for queue in list(_queues.values()):
        queue.catch_up()
    count_wait()


class _BaseStream:
    """What Stream and ExternalStream share; see the module for what is not imitated."""

    def __init__(self, ptr: int, device_id: int) -> None:
        self.ptr, self.device_id = ptr, device_id

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _BaseStream) and other.ptr == self.ptr

    def __hash__(self) -> int:
        return self.ptr

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.ptr} (device {self.device_id})>"

    def __enter__(self) -> "_BaseStream":
        _streams().append(self)
        _local.current = self
        return self

    def __exit__(self, *_: Any) -> None:
        _streams().pop()
        _local.current = _streams()[-1]

    def use(self) -> "_BaseStream":
        _streams()
        _local.current = self
        return self

    @property
    def done(self) -> bool:
        queue = _queue(self)
        if queue.capture is not None:
            queue.capture.broken = True
            raise CUDARuntimeError(900)
        was = not queue.later
        queue.catch_up()
        return was

    def synchronize(self) -> None:
        wait_for(_queue(self))

    def record(self, event: "Event | None" = None) -> "Event":
        event = Event() if event is None else event
        event.record(self)
        return event

    def wait_event(self, event: "Event") -> None:
        event._precede(_queue(self))

    def begin_capture(self, mode: int | None = None) -> None:
        if self.ptr in (0, 1):
            raise RuntimeError("cannot capture on the default (legacy) stream")
        queue = _queue(self)
        if queue.capture is not None:
            raise CUDARuntimeError(401)
        if mode not in (None, 2):
            raise NotImplementedError("the stand-in captures in the mode streamCaptureModeRelaxed, CuPy's default")
        queue.catch_up()
        queue.capture = Capture()

    def end_capture(self) -> "Graph":
        queue = _queue(self)
        capture, queue.capture = queue.capture, None
        if capture is None:
            raise CUDARuntimeError(401)
        if capture.broken:
            raise CUDARuntimeError(901)
        graph = object.__new__(Graph)
        graph._capture = capture
        return graph

    def is_capturing(self) -> bool:
        capture = _queue(self).capture
        if capture is not None and capture.broken:
            raise RuntimeError("the stream is invalidated the capture sequence")
        return capture is not None


class Stream(_BaseStream):
    null: ClassVar["Stream"]

    def __init__(self, null: bool = False, non_blocking: bool = False, ptds: bool = False) -> None:
        if ptds:
            raise NotImplementedError("the stand-in has no per-thread default stream")
        super().__init__(0 if null else next(_pointers), -1 if null else 0)
        if not null:
            _queues[self.ptr] = Queue(non_blocking)

    def __del__(self) -> None:
        queue = _queues.get(getattr(self, "ptr", 0)) if _queues else None  # None as Python ends
        if queue is not None and self.ptr != 0:
            queue.catch_up()  # a stream that is destroyed still does what it was given
            del _queues[self.ptr]


class ExternalStream(_BaseStream):
    def __init__(self, ptr: int, device_id: int = -1) -> None:
        if ptr not in _queues:
            raise CUDARuntimeError(400)
        super().__init__(ptr, device_id)


Stream.null = Stream(null=True)


class Event:
    """A place in a stream's queue."""

    def __init__(self, block: bool = False, disable_timing: bool = False, interprocess: bool = False) -> None:
        if interprocess and not disable_timing:
            raise ValueError("Timing must be disabled for interprocess events")
        self.ptr, self._timing = next(_pointers), not disable_timing
        self._queue: Queue | None = None
        self._number, self._time = 0, 0.0
        self._capture: Capture | None = None

    def record(self, stream: Any = None) -> None:
        self._queue = _queue(stream)
        self._capture = self._queue.capture
        self._number, self._time = self._queue.last, time.perf_counter()

    def _refuse_captured(self) -> None:
        if self._capture is not None:
            raise CUDARuntimeError(907)

    @property
    def done(self) -> bool:
        self._refuse_captured()
        later = self._queue.later if self._queue is not None else ()
        was = not later or later[0][0] > self._number
        if self._queue is not None:
            self._queue.catch_up(self._number)
        return was

    def synchronize(self) -> None:
        self._refuse_captured()
        if self._queue is not None:
            self._queue.catch_up(self._number)
        count_wait()

    def _precede(self, queue: Queue) -> None:
        """What joins `queue` from now on comes after this event."""
        if queue.capture is not None:
            if self._queue is not None and self._capture is not queue.capture:
                queue.capture.broken = True
                raise CUDARuntimeError(905)
        elif self._capture is not None and self._queue.capture is self._capture:
            raise NotImplementedError("the stand-in captures one stream at a time; this would join another")
        elif self._capture is not None:
            raise CUDARuntimeError(907)
        elif self._queue is not None:
            self._queue.catch_up(self._number)


def get_elapsed_time(start_event: Event, end_event: Event) -> float:
    """Milliseconds, by the host's clock."""
    for event in (start_event, end_event):
        event._refuse_captured()
        if event._queue is None or not event._timing:
            raise CUDARuntimeError(400)
        if event._queue.later and event._queue.later[0][0] <= event._number:
            raise CUDARuntimeError(600)
    return max((end_event._time - start_event._time) * 1e3, 1e-3)


class Graph:
    """What a stream has captured."""

    _capture: Capture

    def __init__(self, *_: Any, **__: Any) -> None:
        raise NotImplementedError(
            "currently this class cannot be initiated by the user and must be created via stream capture"
        )

    def launch(self, stream: Any = None) -> None:
        queue = _queue(stream)
        if queue.capture is not None:
            raise NotImplementedError("the stand-in has no graphs within graphs")
        join(queue)
        for chunk, given in self._capture.touched.items():
            if chunk.given != given:
                raise RuntimeError(
                    f"the graph works with {chunk.size} bytes of memory whose array is gone, and which now belong to "
                    "another array or have been given back; on a GPU it would write into whatever lies there"
                )
        for work in self._capture.work:
            work()

    def upload(self, stream: Any = None) -> None:
        """Here there is nothing to prepare."""


# --- memory -----------------------------------------------------------------------------------------------


class OutOfMemoryError(MemoryError):
    """With CuPy's words."""

    def __init__(self, size: int, total: int, limit: int = 0) -> None:
        self._size, self._total, self._limit = size, total, limit
        text = f"Out of memory allocating {size:,} bytes"
        if limit:
            text += f" (allocated so far: {total:,} bytes, limit set to: {limit:,} bytes)."
        elif total != -1:
            text += f" (allocated so far: {total:,} bytes)."
        super().__init__(text)

    def __reduce__(self) -> Any:
        return type(self), (self._size, self._total, self._limit)


OutOfMemoryError.__module__ = "cupy.cuda.memory"
_device_memory = SimpleNamespace(taken=0)  # bytes
_addresses = itertools.count(1)


class Memory:
    """Some of the device's memory. Its ptr is no address that could be read: see `ndarray.data`."""

    def __init__(self, size: int) -> None:
        self.size, self.device_id, self.ptr = 0, 0, 0
        if size > emulated_device_memory - _device_memory.taken:
            raise CUDARuntimeError(2)
        self.size, self.ptr = size, next(_addresses) << 40 if size else 0
        _device_memory.taken += size

    def __del__(self, device: SimpleNamespace = _device_memory) -> None:
        device.taken -= self.size


class MemoryPointer:
    def __init__(self, mem: Any, offset: int) -> None:
        self.mem, self.ptr, self.device_id = mem, mem.ptr + offset, 0

    device = property(lambda self: Device(0))


class Chunk:
    """Memory of a pool. given: the number of the time that it was handed out last; changed when it is given back to the
    device, too. stream: whose work may use it next."""

    __slots__ = ("given", "memory", "size", "stream")
    numbers = itertools.count(1)

    def __init__(self, memory: Memory, stream: int) -> None:
        self.memory: Memory | None = memory
        self.size, self.stream, self.given = memory.size, stream, 0

    def hand_out(self) -> None:
        self.given = next(self.numbers)

    def give_back(self) -> None:
        """To the device."""
        self.memory, self.given = None, 0


class PooledMemory:
    """A pool's memory, in use. It goes back to the pool once nobody refers to it."""

    def __init__(self, chunk: Chunk, pool: "weakref.ref[Any]") -> None:
        self.chunk, self.pool = chunk, pool
        self.ptr, self.size, self.device_id = chunk.memory.ptr, chunk.size, 0

    def free(self) -> None:
        pool, self.ptr = (self.pool() if self.ptr else None), 0
        if pool is None:
            return
        about = {"device_id": 0, "mem_size": self.size, "mem_ptr": self.chunk.memory.ptr, "pmem_id": id(self)}
        for hook in list(_hooks().values()):
            hook.free_preprocess(**about)
        pool._returned.append(self.chunk)
        for hook in list(_hooks().values()):
            hook.free_postprocess(**about)

    def __del__(self) -> None:
        with contextlib.suppress(TypeError):  # as Python ends, nothing is left to call
            self.free()


class MemoryPool:
    """CuPy's, for the one device there is."""

    def __init__(self, allocator: Callable[[int], MemoryPointer] | None = None) -> None:
        self._allocator = allocator or malloc
        self._free: dict[tuple[int, int], list[Chunk]] = collections.defaultdict(list)  # by stream and size
        self._returned: collections.deque[Chunk] = collections.deque()  # memory may be freed at any time, even in here
        self._used = self._total = 0
        limit = os.environ.get("CUPY_GPU_MEMORY_LIMIT")
        if limit is None:
            self._limit = 0
        elif limit.endswith("%"):
            self._limit = int(float(limit[:-1]) / 100 * emulated_device_memory)
        else:
            self._limit = int(limit)

    def __del__(self) -> None:
        for chunks in (self._returned, *self._free.values()):
            for chunk in chunks:
                chunk.give_back()

    def _sort(self) -> None:
        while self._returned:
            chunk = self._returned.popleft()
            self._used -= chunk.size
            self._free[chunk.stream, chunk.size].append(chunk)

    def malloc(self, size: int) -> MemoryPointer:
        rounded = -(-int(size) // UNIT) * UNIT
        hooks = list(_hooks().values())
        about = {"device_id": 0, "size": size, "mem_size": rounded}
        for hook in hooks:
            hook.malloc_preprocess(**about)
        pointer = None
        try:
            pointer = self._malloc(rounded)
        finally:
            got = (0, 0) if pointer is None else (pointer.ptr, id(pointer.mem))
            for hook in hooks:
                hook.malloc_postprocess(**about, mem_ptr=got[0], pmem_id=got[1])
        return pointer

    def _malloc(self, size: int) -> MemoryPointer:
        if size == 0:
            return MemoryPointer(Memory(0), 0)
        self._sort()
        stream = get_current_stream().ptr
        kept = self._free[stream, size]
        chunk = kept.pop() if kept else Chunk(self._from_the_device(size), stream)
        chunk.hand_out()
        self._used += size
        return MemoryPointer(PooledMemory(chunk, weakref.ref(self)), 0)

    def _from_the_device(self, size: int) -> Memory:
        """As CuPy does it: what is kept is given back first, then what lies in cycles."""
        for last_try in (False, False, True):
            if not self._limit or self._total + size <= self._limit:
                try:
                    memory = self._allocator(size).mem
                    self._total += size
                    return memory
                except CUDARuntimeError as error:
                    if error.status != 2:
                        raise
            if last_try:
                break
            self.free_all_blocks()
            gc.collect()
        raise OutOfMemoryError(size, self._total, self._limit)

    def free_all_blocks(self, stream: Any = None) -> None:
        self._sort()
        for (pointer, size), chunks in list(self._free.items()):
            if stream is None or stream.ptr == pointer:
                for chunk in chunks:
                    chunk.give_back()
                self._total -= size * len(chunks)
                del self._free[pointer, size]

    def n_free_blocks(self) -> int:
        self._sort()
        return sum(len(chunks) for chunks in self._free.values())

    def used_bytes(self) -> int:
        self._sort()
        return self._used

    def free_bytes(self) -> int:
        self._sort()
        return self._total - self._used

    def total_bytes(self) -> int:
        return self._total

    def set_limit(self, size: int | None = None, fraction: float | None = None) -> None:
        if size is not None and fraction is not None:
            raise ValueError("size and fraction cannot be specified at one time")
        if fraction is not None and not 0 <= fraction <= 1:
            raise ValueError(f"memory limit fraction out of range: {fraction}")
        if size is not None and size < 0:
            raise ValueError(f"memory limit size out of range: {size}")
        self._limit = int(size if size is not None else (fraction or 0) * emulated_device_memory)

    def get_limit(self) -> int:
        return self._limit


def malloc(size: int) -> MemoryPointer:
    """Memory from CUDA itself, without a pool."""
    return MemoryPointer(Memory(size), 0)


default_pool = MemoryPool()
_allocator: Callable[[int], MemoryPointer] = default_pool.malloc


def get_allocator() -> Callable[[int], MemoryPointer]:
    return getattr(_local, "allocator", None) or _allocator


def set_allocator(allocator: Callable[[int], MemoryPointer] | None = None) -> None:
    global _allocator
    if getattr(_local, "allocator", None) is not None:
        raise ValueError("Can't change the global allocator inside `using_allocator` context manager")
    _allocator = allocator or malloc


@contextlib.contextmanager
def using_allocator(allocator: Callable[[int], MemoryPointer] | None = None) -> Iterator[None]:
    before = getattr(_local, "allocator", None)
    _local.allocator = allocator or malloc
    try:
        yield
    finally:
        _local.allocator = before


def alloc(size: int) -> MemoryPointer:
    """Memory from whatever the current allocator is."""
    return get_allocator()(size)


def _hooks() -> dict[str, Any]:
    """This thread's."""
    return _local.__dict__.setdefault("hooks", {})


class MemoryHook:
    """Told what pools do, within its `with` block."""

    name = "MemoryHook"

    def __enter__(self) -> "MemoryHook":
        if self.name in _hooks():
            raise KeyError(f"memory hook {self.name} already exists")
        _hooks()[self.name] = self
        return self

    def __exit__(self, *_: Any) -> None:
        del _hooks()[self.name]

    def _nothing(self, **_: Any) -> None:
        pass

    alloc_preprocess = alloc_postprocess = _nothing  # of memory from the device: the stand-in tells nothing of it
    malloc_preprocess = malloc_postprocess = free_preprocess = free_postprocess = _nothing


# --- pinned memory ----------------------------------------------------------------------------------------

_pinned: "weakref.WeakSet[PinnedMemoryPointer]" = weakref.WeakSet()


class PinnedMemoryPointer(bytearray):
    """Memory of the host that the system does not move. More than was asked for, as with CuPy's pool."""

    __hash__ = object.__hash__

    def __init__(self, size: int) -> None:
        super().__init__(max(UNIT, 1 << (size - 1).bit_length()) if size else 0)
        self.ptr = ctypes.addressof((ctypes.c_char * len(self)).from_buffer(self)) if size else 0
        _pinned.add(self)

    def size(self) -> int:
        return len(self)


class PinnedMemoryPool:
    """Keeps nothing."""

    def malloc(self, size: int) -> PinnedMemoryPointer:
        return PinnedMemoryPointer(size)

    def free_all_blocks(self) -> None:
        pass

    def n_free_blocks(self) -> int:
        return 0


default_pinned_pool = PinnedMemoryPool()


def is_pinned(host: np.ndarray) -> bool:
    """Whether a NumPy array lies in pinned memory."""
    start = host.ctypes.data
    return any(p.ptr <= start and start + host.nbytes <= p.ptr + len(p) for p in list(_pinned))


def empty_pinned(shape: Any, dtype: Any = float, order: str = "C") -> np.ndarray:
    """cupyx.empty_pinned."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return np.ndarray(shape, dtype, default_pinned_pool.malloc(size), order=order)


def zeros_pinned(shape: Any, dtype: Any = float, order: str = "C") -> np.ndarray:
    """cupyx.zeros_pinned."""
    host = empty_pinned(shape, dtype, order)
    host[...] = 0
    return host


# --- the device -------------------------------------------------------------------------------------------

PROPERTIES = {
    "name": b"stand-in for a GPU",
    "totalGlobalMem": emulated_device_memory,
    "multiProcessorCount": 4,
    "major": 7,
    "minor": 5,
    "warpSize": 32,
    "clockRate": 1_500_000,  # kHz
    "memoryClockRate": 5_000_000,  # kHz
    "memoryBusWidth": 256,  # bits
    "l2CacheSize": 4 << 20,
    "sharedMemPerBlock": 48 << 10,
    "sharedMemPerMultiprocessor": 64 << 10,
    "maxThreadsPerBlock": 1024,
    "maxThreadsPerMultiProcessor": 1024,
    "regsPerBlock": 65536,
    "totalConstMem": 64 << 10,
    "singleToDoublePrecisionPerfRatio": 32,
    "concurrentKernels": 1,
    "asyncEngineCount": 2,
    "integrated": 0,
    "ECCEnabled": 0,
    "pciBusID": 1,
    "pciDeviceID": 0,
    "pciDomainID": 0,
}


def mem_get_info() -> tuple[int, int]:
    return emulated_device_memory - _device_memory.taken, emulated_device_memory


def _device(device: int) -> int:
    if device != 0:
        raise CUDARuntimeError(101)
    return device


class Device:
    """The one device there is, number 0."""

    cublas_handle = 7  # helpers of tests know this number

    def __init__(self, device: Any = None) -> None:
        self.id = _device(int(device.id if isinstance(device, Device) else device or 0))

    compute_capability = property(lambda self: f"{PROPERTIES['major']}{PROPERTIES['minor']}")
    mem_info = property(lambda self: mem_get_info())
    pci_bus_id = property(lambda self: "0000:01:00.0")
    attributes = property(
        lambda self: {
            "MultiProcessorCount": PROPERTIES["multiProcessorCount"],
            "ClockRate": PROPERTIES["clockRate"],
            "MemoryClockRate": PROPERTIES["memoryClockRate"],
            "GlobalMemoryBusWidth": PROPERTIES["memoryBusWidth"],
            "L2CacheSize": PROPERTIES["l2CacheSize"],
            "ComputeCapabilityMajor": PROPERTIES["major"],
            "ComputeCapabilityMinor": PROPERTIES["minor"],
            "WarpSize": PROPERTIES["warpSize"],
        }
    )

    def use(self) -> "Device":
        return self

    def synchronize(self) -> None:
        device_synchronize()

    def __int__(self) -> int:
        return self.id

    def __enter__(self) -> "Device":
        return self

    def __exit__(self, *_: Any) -> None:
        pass

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Device) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return f"<CUDA Device {self.id}>"


class CUDADriverError(RuntimeError):
    """What CuPy raises where the driver refuses, as with a kernel that it cannot load."""


class CompileException(Exception):
    """What CuPy raises where NVRTC refuses."""

    def __init__(self, msg: str, source: str, name: str, options: Any, backend: str = "nvrtc") -> None:
        super().__init__()
        self._msg, self.source, self.name, self.options, self.backend = msg, source, name, options, backend

    def __str__(self) -> str:
        return self._msg

    def get_message(self) -> str:
        return self._msg


def needs_a_gpu(name: str) -> Callable[..., NoReturn]:
    def refuse(*_: Any, **__: Any) -> NoReturn:
        raise NotImplementedError(f"cupy.{name} needs a real GPU; this is tests/strict_cupy.py")

    return refuse


def runtime() -> SimpleNamespace:
    """cupy.cuda.runtime, as far as it goes."""
    return SimpleNamespace(
        CUDARuntimeError=CUDARuntimeError,
        deviceSynchronize=device_synchronize,
        driverGetVersion=lambda: 12080,
        getDevice=lambda: 0,
        getDeviceCount=lambda: 1,
        getDeviceProperties=lambda device: {**PROPERTIES} if _device(device) == 0 else {},
        is_hip=False,
        memGetInfo=mem_get_info,
        memcpyAsync=needs_a_gpu("cuda.runtime.memcpyAsync"),  # between addresses: nothing to check it by
        memcpyDefault=4,
        memcpyDeviceToDevice=3,
        memcpyDeviceToHost=2,
        memcpyHostToDevice=1,
        memcpyHostToHost=0,
        runtimeGetVersion=lambda: 12080,
        setDevice=lambda device: _device(device) and None,
        streamCaptureModeGlobal=0,
        streamCaptureModeRelaxed=2,
        streamCaptureModeThreadLocal=1,
        streamLegacy=1,
        streamPerThread=2,
        streamIsCapturing=lambda pointer: ExternalStream(pointer).is_capturing(),
    )


def build() -> SimpleNamespace:
    """cupy.cuda."""
    return SimpleNamespace(
        Device=Device,
        Event=Event,
        ExternalStream=ExternalStream,
        Graph=Graph,
        Memory=Memory,
        MemoryHook=MemoryHook,
        MemoryPointer=MemoryPointer,
        MemoryPool=MemoryPool,
        PinnedMemoryPointer=PinnedMemoryPointer,
        PinnedMemoryPool=PinnedMemoryPool,
        Stream=Stream,
        alloc=alloc,
        alloc_pinned_memory=default_pinned_pool.malloc,
        compiler=SimpleNamespace(CompileException=CompileException),
        driver=SimpleNamespace(CUDADriverError=CUDADriverError),
        get_allocator=get_allocator,
        get_cublas_handle=lambda: Device.cublas_handle,
        get_current_stream=get_current_stream,
        get_device_id=lambda: 0,
        get_elapsed_time=get_elapsed_time,
        get_local_runtime_version=lambda: 12080,
        is_available=lambda: True,
        memory=SimpleNamespace(MemoryPool=MemoryPool, OutOfMemoryError=OutOfMemoryError),
        nvrtc=SimpleNamespace(getVersion=lambda: (12, 8)),
        runtime=runtime(),
        set_allocator=set_allocator,
        stream=SimpleNamespace(get_current_stream=get_current_stream, Event=Event, Stream=Stream),
        using_allocator=using_allocator,
    )
