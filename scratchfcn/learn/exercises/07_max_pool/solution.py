"""07 · max pooling, forward and backward

Forward stacks the kernel² numbers of every window behind each other, so that max and argmax do the rest. Backward goes
through the same places: at place k, the windows that k won pass their gradient on, the others 0.
"""

import numpy as np

from scratchfcn.ops.im2col import conv_output_size


def max_pool(x: np.ndarray, kernel: int, stride: int) -> tuple[np.ndarray, np.ndarray]:
    """x (N, C, H, W) → y, winner (N, C, OH, OW)"""
    OH, OW = (conv_output_size(size, kernel, stride) for size in x.shape[2:])
    places = [x[:, :, rows, columns] for rows, columns in _places(kernel, stride, OH, OW)]
    windows = np.stack(places)  # (kernel², N, C, OH, OW)
    return windows.max(axis=0), windows.argmax(axis=0)  # argmax: of equals, the first


def max_pool_backward(
    gy: np.ndarray, winner: np.ndarray, shape: tuple[int, int, int, int], kernel: int, stride: int
) -> np.ndarray:
    """gy, winner (N, C, OH, OW), shape (N, C, H, W) → gx (N, C, H, W)"""
    gx = np.zeros_like(gy, shape=shape)
    for k, (rows, columns) in enumerate(_places(kernel, stride, *gy.shape[2:])):
        gx[:, :, rows, columns] += gy * (winner == k)
    return gx


def _places(kernel: int, stride: int, OH: int, OW: int) -> list[tuple[slice, slice]]:
    """For each place in a window, along the rows: where it lies on the image, for all windows at once."""
    rows = [slice(i, i + stride * (OH - 1) + 1, stride) for i in range(kernel)]
    columns = [slice(j, j + stride * (OW - 1) + 1, stride) for j in range(kernel)]
    return [(r, c) for r in rows for c in columns]
