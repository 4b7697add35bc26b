"""Enlarging a prediction row by row, so that its full size is never in memory as a whole.

A network trained on images of 240x180 says 240x180 opinions, whatever the photograph's size; they are interpolated
bilinearly. Interpolating along the rows needs two neighbouring rows, so the enlarged rows can be made as the small
ones arrive.

`Network.predict` interpolates class scores and takes the softmax afterwards. Here the scores are gone: windows have
been blended, and what arrives are probabilities. Their logarithms are scores again, up to a constant for each pixel,
and interpolating shifts all classes' scores by the same mixture of these constants, which the softmax forgets:

    softmax(Σ_i w_i·ln p_i) = softmax(Σ_i w_i·(s_i - c_i)) = softmax(Σ_i w_i·s_i - Σ_i w_i·c_i) = softmax(Σ_i w_i·s_i)

So the result is what interpolated scores would have given, and nothing but the probabilities is needed.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

AT_ONCE = 2**25  # bytes of enlarged rows that are made at a time


class Between(NamedTuple):
    """For every output pixel of an axis: the two input pixels it lies between, and the second one's weight, (out,)."""

    low: np.ndarray
    high: np.ndarray
    weight: np.ndarray


def between(size: int, out: int) -> Between:
    """As ops.resize: pixels are squares, and the edges of the two images coincide."""
    source = np.clip((np.arange(out) + 0.5) * (size / out) - 0.5, 0.0, None)
    low = np.minimum(source.astype(np.int64), size - 1)
    high = np.minimum(low + 1, size - 1)
    return Between(low, high, np.clip(source - low, 0.0, 1.0).astype(np.float32))


def enlarged(
    pieces: Iterator[tuple[np.ndarray, np.ndarray | None]], seen: tuple[int, int], size: tuple[int, int]
) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    """Bring a prediction of size `seen` = (h, w), which arrives from the top down, to `size` = (H, W).

    pieces: probabilities (K, rows, w) and further maps (M, rows, w), or None. Yields the same with W columns, H rows in
    all. Probabilities are interpolated as scores, maps as they are.
    """
    if seen == tuple(size):
        yield from pieces
        return
    rows, columns = between(seen[0], size[0]), between(seen[1], size[1])
    held: np.ndarray | None = None  # (K + M, n, w): rows first … first + n - 1 of what has arrived, as scores and maps
    first = done = 0
    for p, maps in pieces:
        K = len(p)
        fresh = np.log(np.maximum(p, np.finfo(p.dtype).tiny))  # (K, rows, w)
        if maps is not None:
            fresh = np.concatenate([fresh, maps])  # (K + M, rows, w)
        held = fresh if held is None else np.concatenate([held, fresh], axis=1)
        ready = int(np.searchsorted(rows.high, first + held.shape[1]))  # output rows that need no later row
        height = max(1, AT_ONCE // (len(held) * size[1] * held.itemsize))
        for start in range(done, ready, height):
            part = slice(start, min(start + height, ready))
            low, high = held[:, rows.low[part] - first], held[:, rows.high[part] - first]  # (K + M, n, w)
            mixed = mix(low, high, rows.weight[part, None])
            mixed = mix(mixed[:, :, columns.low], mixed[:, :, columns.high], columns.weight)  # (K + M, n, W)
            yield softmax(mixed[:K]), None if maps is None else mixed[K:]
        if ready < size[0]:
            held = held[:, rows.low[ready] - first :]
            first = int(rows.low[ready])
        done = ready


def mix(a: np.ndarray, b: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """(1 - weight)·a + weight·b."""
    return a + weight * (b - a)


def softmax(scores: np.ndarray) -> np.ndarray:
    """(K, n, W) → probabilities along the first axis."""
    e = np.exp(scores - scores.max(axis=0))
    return e / e.sum(axis=0)
