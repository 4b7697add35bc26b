"""How fast this machine can multiply and copy, measured on the spot: no layer can be faster than its floor.

A layer must do its multiplications, which takes at least as long as the fastest matrix product there is, and it must
read its inputs and write its outputs, which takes at least as long as copying so much. The larger of the two is the
layer's floor, and time divided by floor says how much there is to be gained, at most. (Arrays that are still in the
processor's cache are read faster than from memory, so a small layer may even lie below its floor.)
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from ..backend import array_module, synchronize, to_device
from ..ops.stripes import STRIPE, sum_in_lanes
from ..parallel import matmul, share, threads

FRIENDLY = ((1024, 1024, 1024), (2048, 2048, 2048), (512, 2304, 4096), (256, 1152, 16384))  # M, K, P: all large
COPIED = 1 << 29  # bytes; far more than most caches hold, and what follows has pushed the beginning out again
PIECES_PER_THREAD = 4


def measure_floors(device: str = "cpu") -> dict[str, float]:
    """ "flops": multiplications and additions a second in float32; "bandwidth": bytes read and written a second."""
    flops = max(2 * M * K * P / product_seconds(M, K, P, device) for M, K, P in FRIENDLY)
    return {"flops": flops, "bandwidth": bandwidth(device)}


def product_seconds(M: int, K: int, P: int, device: str = "cpu", repeats: int = 4) -> float:
    """The best time of a float32 product (M, K) @ (K, P), on all threads.

    The best of several ways counts: as a whole, with the matrix library's own threads; in slices of the longer side,
    one on each of our threads; as `parallel.matmul` does it; and in pieces that stay in the cache, as the stripes of a
    convolution do.
    """
    rng = np.random.default_rng(0)
    a, b = (to_device(rng.random(shape, np.float32), device) for shape in ((M, K), (K, P)))
    y = array_module(a).empty((M, P), np.float32)  # on the current device

    def whole() -> None:
        np.matmul(a, b, out=y) if device == "cpu" else array_module(a).matmul(a, b, out=y)

    def piece(part: slice) -> None:
        if P >= M:
            np.matmul(a, b[:, part], out=y[:, part])
        else:
            np.matmul(a[part], b, out=y[part])

    ways = [whole]
    if device == "cpu":
        ways += [lambda: matmul(a, b, out=y), striped_product(a, b, y)]
        if threads() > 1:
            ways.append(lambda: share(piece, slices(max(M, P)), a))
    return min(best_seconds(way, device, repeats) for way in ways)


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
    """Bytes a second while copying large arrays on all threads; read and written count both."""
    source = to_device(np.ones(COPIED // 4, np.float32), device)
    target = source.copy()  # written once, so that its memory is really there

    def copy_piece(part: slice) -> None:
        target[part] = source[part]

    def copy() -> None:
        if device == "cpu":
            share(copy_piece, slices(source.size), source)
        else:
            copy_piece(slice(None))

    return 2 * source.nbytes / best_seconds(copy, device, repeats=4)


def slices(length: int) -> list[slice]:
    """`length` cut into a few equal slices a thread."""
    size = -(-length // (PIECES_PER_THREAD * threads()))
    return [slice(start, min(start + size, length)) for start in range(0, length, size)]


def best_seconds(work: Callable[[], Any], device: str, repeats: int) -> float:
    """The fastest of a few runs, after one that does not count: a floor is what can be reached at all."""
    best = float("inf")
    for i in range(repeats + 1):
        start = time.perf_counter()
        work()
        synchronize(device)
        if i > 0:
            best = min(best, time.perf_counter() - start)
    return best
