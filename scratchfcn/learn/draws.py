"""Random cases for checks: small, legal, and with the unusual ones among them.

Rows and columns differ, strides may be longer than the kernel (some pixels are then in no window), a window may be as
large as the image, or one pixel.
"""

from __future__ import annotations

import numpy as np


def conv_case(rng: np.random.Generator) -> dict[str, np.ndarray | int]:
    """x (N, C, H, W), w (OC, C, KH, KW), b (OC,), stride and padding, the same for rows and columns."""
    N, C, OC = (int(n) for n in rng.integers(1, 4, 3))
    KH, KW, stride = (int(n) for n in rng.integers(1, 4, 3))
    padding = int(rng.integers(0, 4))
    H, W = (max(1, k - 2 * padding) + int(rng.integers(0, 4)) for k in (KH, KW))
    return {
        "x": rng.standard_normal((N, C, H, W)),
        "w": rng.standard_normal((OC, C, KH, KW)),
        "b": rng.standard_normal(OC),
        "stride": stride,
        "padding": padding,
    }


def pool_case(rng: np.random.Generator) -> dict[str, np.ndarray | int]:
    """x (N, C, H, W), with ties in every other case, kernel and stride, the same for rows and columns."""
    N, C = (int(n) for n in rng.integers(1, 4, 2))
    kernel, stride = int(rng.integers(1, 4)), int(rng.integers(1, 4))
    H, W = (kernel + int(rng.integers(0, 5)) for _ in range(2))
    x = rng.standard_normal((N, C, H, W))
    if rng.random() < 0.5:
        x = rng.integers(-2, 1, x.shape).astype(np.float64)
    return {"x": x, "kernel": kernel, "stride": stride}
