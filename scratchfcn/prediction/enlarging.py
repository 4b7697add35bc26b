"""Enlarging a prediction row by row, so that its full size is never in memory as a whole.

A network trained on images of 240x180 says 240x180 opinions, whatever the photograph's size; they are interpolated
bilinearly. A row of the result needs two neighbouring rows of what is enlarged, and no more.

`Network.predict` interpolates class scores and takes the softmax afterwards. Where the scores are at hand, any rows can
be made so (`probabilities_of_rows`). Behind windows they are gone: what arrives, from the top down, are blended
probabilities (`enlarged`). Their logarithms are scores again, up to a constant for each pixel,
and interpolating shifts all classes' scores by the same mixture of these constants, which the softmax forgets:

    softmax(Σ_i w_i·ln p_i) = softmax(Σ_i w_i·(s_i - c_i)) = softmax(Σ_i w_i·s_i - Σ_i w_i·c_i) = softmax(Σ_i w_i·s_i)

So the result is what interpolated scores would have given, and nothing but the probabilities is needed. (The mean of
several looks belongs to no scores; it is interpolated as it is.)
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
    pieces: Iterator[tuple[np.ndarray, np.ndarray | None]],
    seen: tuple[int, int],
    size: tuple[int, int],
    as_scores: bool = True,
) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    """Bring a prediction of size `seen` = (h, w), which arrives from the top down, to `size` = (H, W).

    pieces: probabilities (K, rows, w) and further maps (M, rows, w), or None. Yields the same with W columns, H rows in
    all. as_scores: interpolate the probabilities as scores (see above); maps are interpolated as they are.
    """
    if seen == tuple(size):
        yield from pieces
        return
    rows, columns = between(seen[0], size[0]), between(seen[1], size[1])
    held: np.ndarray | None = None  # (K + M, n, w): rows first … first + n - 1 of what has arrived, as scores and maps
    first = done = 0
    for p, maps in pieces:
        K = len(p)
        fresh = np.log(np.maximum(p, np.finfo(p.dtype).tiny)) if as_scores else p  # (K, rows, w)
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
            yield softmax(mixed[:K]) if as_scores else mixed[:K], None if maps is None else mixed[K:]
        if ready < size[0]:
            passed = min(int(rows.low[ready]) - first, held.shape[1])  # when reducing, some rows are not used at all
            held, first = held[:, passed:], first + passed
        done = ready


def probabilities_of_rows(scores: np.ndarray, size: tuple[int, int], part: slice) -> np.ndarray:
    """Rows `part` of scores (K, h, w) brought to `size` = (H, W), as probabilities (K, rows, W)."""
    rows, columns = between(scores.shape[1], size[0]), between(scores.shape[2], size[1])
    mixed = mix(scores[:, rows.low[part]], scores[:, rows.high[part]], rows.weight[part, None])  # (K, rows, w)
    return softmax(mix(mixed[:, :, columns.low], mixed[:, :, columns.high], columns.weight))


def mix(a: np.ndarray, b: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """(1 - weight)·a + weight·b."""
    return a + weight * (b - a)


def softmax(scores: np.ndarray) -> np.ndarray:
    """(K, n, W) → probabilities along the first axis."""
    e = np.exp(scores - scores.max(axis=0))
    return e / e.sum(axis=0)
