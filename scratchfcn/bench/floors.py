"""How fast this machine can multiply and copy, measured on the spot: no layer can be faster than its floor.

A layer must do its multiplications, which takes at least as long as the fastest matrix product there is, and it must
read its inputs and write its outputs, which takes at least as long as copying so much. The larger of the two is the
layer's floor, and time divided by floor says how much there is to be gained, at most. (Arrays that are still in the
processor's cache are read faster than from memory, so a small layer may even lie below its floor.)

On a GPU a third floor is measured, that of a launch: a kernel that does nothing takes this long all the same. Times
there are those between CUDA events around a batch of calls, in a stream that is never empty. Products are cuBLAS's, in
the precision that is set, TF32 or float32.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from ..backend import array_module, cupy, to_device
from ..ops.stripes import STRIPE, sum_in_lanes
from ..parallel import matmul, share, threads
from .clock import EventClock, loop_seconds

# M, K, P: all large; those for a GPU end with what 3x3 convolutions with 256 and 64 channels amount to
FRIENDLY = ((1024, 1024, 1024), (2048, 2048, 2048), (512, 2304, 4096), (256, 1152, 16384))
FRIENDLY_GPU = ((4096, 4096, 4096), (8192, 8192, 8192), (512, 4608, 16384), (256, 2304, 49152), (64, 576, 196608))
COPIED = 1 << 29  # bytes; far more than most caches hold, and what follows has pushed the beginning out again
PIECES_PER_THREAD = 4
BATCH = 0.02  # seconds; on a GPU so many calls are timed together
LAUNCHES = 500  # fewer than the queue holds: a launch that finds it full would wait for the GPU


def measure_floors(device: str = "cpu") -> dict[str, float]:
    """ "flops": multiplications and additions a second in float32; "bandwidth": bytes read and written a second. On a
    GPU also "launch": the seconds from one empty kernel to the next."""
    shapes = FRIENDLY if device == "cpu" else FRIENDLY_GPU
    flops = max(2 * M * K * P / product_seconds(M, K, P, device) for M, K, P in shapes)
    floors = {"flops": flops, "bandwidth": bandwidth(device)}
    return floors if device == "cpu" else floors | {"launch": launch_seconds(device)}


def product_seconds(M: int, K: int, P: int, device: str = "cpu", repeats: int = 4) -> float:
    """The best time of a float32 product (M, K) @ (K, P), on all threads, or on the GPU.

    The best of several ways counts: as a whole, with the matrix library's own threads; in slices of the longer side,
    one on each of our threads; as `parallel.matmul` does it; and in pieces that stay in the cache, as the stripes of a
    convolution do.
    """
    if device != "cpu":
        return gpu_product_seconds(M, K, P, device, repeats)
    rng = np.random.default_rng(0)
    a, b = (rng.random(shape, np.float32) for shape in ((M, K), (K, P)))
    y = np.empty((M, P), np.float32)

    def whole() -> None:
        np.matmul(a, b, out=y)

    def piece(part: slice) -> None:
        if P >= M:
            np.matmul(a, b[:, part], out=y[:, part])
        else:
            np.matmul(a[part], b, out=y[part])

    ways = [whole, lambda: matmul(a, b, out=y), striped_product(a, b, y)]
    if threads() > 1:
        ways.append(lambda: share(piece, slices(max(M, P)), a))
    return min(best_seconds(way, repeats) for way in ways)


def gpu_product_seconds(M: int, K: int, P: int, device: str, repeats: int) -> float:
    """The same by cuBLAS."""
    a, b = (random_array(shape, device) for shape in ((M, K), (K, P)))
    xp = array_module(a)
    y = xp.empty((M, P), np.float32)
    return best_gpu_seconds(lambda: xp.matmul(a, b, out=y), device, repeats)


def random_array(shape: tuple[int, int], device: str) -> Any:
    """Random numbers on the GPU, the same ones over and over. (Of equal numbers a GPU multiplies more in a second, as
    it takes less power.)"""
    block, size = np.random.default_rng(0).random(1 << 20, np.float32), shape[0] * shape[1]
    block = to_device(block[:size], device)
    return array_module(block).tile(block, -(-size // block.size))[:size].reshape(shape)


def striped_product(a: np.ndarray, b: np.ndarray, y: np.ndarray) -> Callable[[], None]:
    """The product a @ b as ops/stripes.py has it: in pieces along its longest side, of which the larger operand fills a
    stripe. A stripe's columns are built in the cache just before they are multiplied; here one piece, always the same,
    takes their place, so that what is timed is the arithmetic. (Hence y is not the product.)"""
    (M, K), P = a.shape, b.shape[1]
    long = max(M, K, P)
    size = max(1, min(long, STRIPE // (4 * (max(M, P) if long == K else K))))
    parts = [slice(start, min(start + size, long)) for start in range(0, long, size)]
    if long == P:
        b = b[:, :size].copy()
        return lambda: share(lambda part: np.matmul(a, b[:, : part.stop - part.start], out=y[:, part]), parts, y)
    if long == M:
        a = a[:size].copy()
        return lambda: share(lambda part: np.matmul(a[: part.stop - part.start], b, out=y[part]), parts, y)
    a, b = a[:, :size].copy(), b[:size].copy()
    return lambda: sum_in_lanes(lambda part: a[:, : part.stop - part.start] @ b[: part.stop - part.start], parts, y)


def bandwidth(device: str = "cpu") -> float:
    """Bytes a second while copying large arrays, on all threads or on the GPU; read and written count both."""
    source = to_device(np.ones(COPIED // 4, np.float32), device)
    target = source.copy()  # written once, so that its memory is really there

    def copy_piece(part: slice) -> None:
        target[part] = source[part]

    if device == "cpu":
        seconds = best_seconds(lambda: share(copy_piece, slices(source.size), source), repeats=4)
    else:
        seconds = best_gpu_seconds(lambda: copy_piece(slice(None)), device, repeats=4)
    return 2 * source.nbytes / seconds


def launch_seconds(device: str) -> float:
    """From one kernel to the next, where none has anything to do: as fast as Python can launch them."""
    kernel = cupy().RawModule(code='extern "C" __global__ void nothing() {}').get_function("nothing")
    clock = EventClock(device)
    return min(loop_seconds(clock, lambda: kernel((1,), (1,), ()), LAUNCHES)[1] for _ in range(4))


def slices(length: int) -> list[slice]:
    """`length` cut into a few equal slices a thread."""
    size = -(-length // (PIECES_PER_THREAD * threads()))
    return [slice(start, min(start + size, length)) for start in range(0, length, size)]


def best_seconds(work: Callable[[], Any], repeats: int) -> float:
    """The fastest of a few runs, after one that does not count: a floor is what can be reached at all."""
    best = float("inf")
    for i in range(repeats + 1):
        start = time.perf_counter()
        work()
        if i > 0:
            best = min(best, time.perf_counter() - start)
    return best


def best_gpu_seconds(work: Callable[[], Any], device: str, repeats: int) -> float:
    """The same by events, each run as many calls as take a while together: a GPU needs some time to reach its full
    speed, and events tell no less than half a microsecond."""
    clock = EventClock(device)
    work()
    single = max(loop_seconds(clock, work, 1)[1], 1e-6)
    calls = min(LAUNCHES, math.ceil(BATCH / single))
    return min(loop_seconds(clock, work, calls)[1] for _ in range(repeats))
