"""Sliding windows: an image of any size goes through the network piece by piece, and the pieces leave no seams.

A network that can take an image of any size still cannot take one of every size: the feature maps of a satellite image
do not fit any memory. So it looks through a window that moves over the image, and the windows overlap, because at its
rim a window has seen only half of what surrounds a pixel. Where windows overlap, each counts by its weight, and the
weights make the seams vanish: along an axis they form a tent, largest in the window's middle and falling towards its
ends, divided by the sum of all windows' tents at that pixel. They then add up to 1 everywhere, so that nothing has to
be divided later, and a window that ends fades out while its neighbour fades in:

    weight   1 ┤────────╲      ╱────────       in an overlap both change linearly; elsewhere the only window there
               │         ╲    ╱                counts fully; a tent is never zero, so every pixel has its share
               │          ╲  ╱
               │           ╲╱
               │           ╱╲
             0 ┤          ╱  ╲
                 window 1       window 2

Windows start at multiples of 32 where they are large enough for it. That is the coarsest stride of the networks here:
a window's pooling windows are then those that the whole image would have had, and pixels that see nothing beyond their
window get the same scores as from the whole image.

Rows come out from top to bottom as soon as no further window adds to them, so that only as many rows as a window is
high are held in memory.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

ALIGN = 32


class Span(NamedTuple):
    """What one window covers of an axis: pixels start … stop - 1, with a weight for each, float32 (stop - start,)."""

    start: int
    stop: int
    weights: np.ndarray


def spans(length: int, window: int, overlap: float = 0.25) -> list[Span]:
    """The windows along an axis of `length` pixels; at every pixel the weights of all windows there add up to 1.

    Args:
        length: pixels of the image along this axis.
        window: pixels of a window. The last one begins early enough to stay inside the image, and is up to 31 pixels
            longer where it would not start at a multiple of 32 otherwise.
        overlap: the share of a window, at least, that the next one covers again.
    """
    if window >= length:
        return [Span(0, length, np.ones(length, np.float32))]
    stride = max(1, int(window * (1 - overlap)))
    step = ALIGN if stride >= ALIGN else 1
    stride -= stride % step
    last = (length - window) // step * step
    starts = [*range(0, last, stride), last]
    stops = [start + window for start in starts[:-1]] + [length]
    tents = [tent(stop - start) for start, stop in zip(starts, stops, strict=True)]
    total = np.zeros(length)
    for start, stop, weights in zip(starts, stops, tents, strict=True):
        total[start:stop] += weights
    return [
        Span(start, stop, (weights / total[start:stop]).astype(np.float32))
        for start, stop, weights in zip(starts, stops, tents, strict=True)
    ]


def tent(length: int) -> np.ndarray:
    """1, 2, 3 … in the middle … 3, 2, 1: float64 (length,)."""
    up = np.arange(1.0, length + 1)
    return np.minimum(up, up[::-1])


def sliding(
    image: np.ndarray,
    opinion: Callable[[np.ndarray], np.ndarray],
    window: tuple[int, int],
    overlap: float = 0.25,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[np.ndarray]:
    """Blend what `opinion` says of all windows.

    Args:
        image: uint8 (H, W, 3).
        opinion: from a window, uint8 (h, w, 3), to a new array float32 (C, h, w), C numbers for each of its pixels.
        window: (height, width) in pixels.
        overlap: as in `spans`.
        progress: told (windows done, windows in all).

    Yields:
        float32 (C, rows, W), from the top of the image down, each row once.
    """
    H, W = image.shape[:2]
    rows, columns = spans(H, window[0], overlap), spans(W, window[1], overlap)
    held = None  # (C, n, W): the upper n rows of the next strip, as far as windows above it have added to them
    for i, row in enumerate(rows):
        strip = None  # (C, h, W): what the windows beside each other say of rows row.start … row.stop - 1
        for j, column in enumerate(columns):
            said = opinion(image[row.start : row.stop, column.start : column.stop])  # (C, h, w)
            if strip is None:
                strip = said if len(columns) == 1 else np.zeros((*said.shape[:2], W), np.float32)
            if len(columns) > 1:
                strip[:, :, column.start : column.stop] += said * column.weights
            if progress is not None:
                progress(i * len(columns) + j + 1, len(rows) * len(columns))
        if len(rows) > 1:
            strip *= row.weights[:, None]
        if held is not None:
            strip[:, : held.shape[1]] += held
        done = (rows[i + 1].start if i + 1 < len(rows) else H) - row.start
        held = strip[:, done:].copy()  # a copy, so that the rows which are done can be let go
        yield strip[:, :done]
