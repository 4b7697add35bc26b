"""09 · transposed convolution, the adjoint of convolution

A loop over the few taps of the kernel, and NumPy does all pixels at once: tap (i, j) of all stamps lands on every
`stride`-th row from i and every `stride`-th column from j. Forward adds there, backward reads there: the same slices.
"""

import numpy as np


def conv_transpose2d(x: np.ndarray, w: np.ndarray, stride: int, padding: int) -> np.ndarray:
    """x (N, C, H, W), w (C, OC, KH, KW) → y (N, OC, OH, OW)"""
    N, C, H, W = x.shape
    C, OC, KH, KW = w.shape
    FH, FW = (H - 1) * stride + KH, (W - 1) * stride + KW  # the full size, before `padding` is cut off
    y = np.zeros_like(x, shape=(N, OC, FH, FW))
    for i in range(KH):
        for j in range(KW):
            rows, cols = slice(i, i + H * stride, stride), slice(j, j + W * stride, stride)
            y[:, :, rows, cols] += np.einsum("nchw,co->nohw", x, w[:, :, i, j])
    return y[:, :, padding : FH - padding, padding : FW - padding]  # (N, OC, OH, OW)


def conv_transpose2d_backward(
    gy: np.ndarray, x: np.ndarray, w: np.ndarray, stride: int, padding: int
) -> tuple[np.ndarray, np.ndarray]:
    """gy (N, OC, OH, OW), x (N, C, H, W), w (C, OC, KH, KW) → gx, gw, shaped like x and w"""
    N, C, H, W = x.shape
    C, OC, KH, KW = w.shape
    gy = np.pad(gy, ((0, 0), (0, 0), (padding, padding), (padding, padding)))  # (N, OC, FH, FW)
    gx, gw = np.zeros_like(x), np.zeros_like(w)
    for i in range(KH):
        for j in range(KW):
            rows, cols = slice(i, i + H * stride, stride), slice(j, j + W * stride, stride)
            gx += np.einsum("nohw,co->nchw", gy[:, :, rows, cols], w[:, :, i, j])
            gw[:, :, i, j] = np.einsum("nohw,nchw->co", gy[:, :, rows, cols], x)
    return gx, gw
