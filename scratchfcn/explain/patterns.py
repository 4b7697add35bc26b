"""The numbers in the pages' grids: small, whole, and the same in Python and in the page's script, for any size.

Whole numbers, so that a reader can check a sum in the head and every result is exact. common.js has the same formulas.
"""

import numpy as np


def image(rows: int, columns: int, channels: int = 1) -> np.ndarray:
    """(1, C, H, W) of 0..9: x[c, h, w] = (3·h + 7·w + 2·h·w + 4·c + 1) mod 10."""
    c, h, w = np.indices((channels, rows, columns))
    return ((3 * h + 7 * w + 2 * h * w + 4 * c + 1) % 10).astype(np.float64)[None]


def kernel(size: int, channels: int = 1) -> np.ndarray:
    """(1, C, K, K) of -2..2: w[c, i, j] = (2·i + j + i·j + c) mod 5 - 2."""
    c, i, j = np.indices((channels, size, size))
    return ((2 * i + j + i * j + c) % 5 - 2.0)[None]


def gradient(rows: int, columns: int) -> np.ndarray:
    """(1, 1, H, W) of 1..5: gy[h, w] = (2·h + 3·w) mod 5 + 1."""
    h, w = np.indices((rows, columns))
    return ((2 * h + 3 * w) % 5 + 1.0)[None, None]
