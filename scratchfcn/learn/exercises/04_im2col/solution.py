"""04 · im2col: windows as columns

Not a loop over the windows, of which there are many, but over the few places (i, j) in a window: a slice with a step
picks that place's number for all windows at once.
"""

import numpy as np

from scratchfcn.ops.im2col import conv_output_size


def im2col(x: np.ndarray, kernel: tuple[int, int], stride: int, padding: int) -> np.ndarray:
    """x (N, C, H, W), kernel (KH, KW) → cols (C·KH·KW, N·OH·OW)"""
    N, C, H, W = x.shape
    KH, KW = kernel
    OH, OW = conv_output_size(H, KH, stride, padding), conv_output_size(W, KW, stride, padding)
    x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    cols = np.zeros_like(x, shape=(C, KH, KW, N, OH, OW))
    for i in range(KH):
        for j in range(KW):
            met = x[:, :, i : i + stride * OH : stride, j : j + stride * OW : stride]  # (N, C, OH, OW)
            cols[:, i, j] = met[:, :, :OH, :OW].transpose(1, 0, 2, 3)  # (C, N, OH, OW)
    return cols.reshape(C * KH * KW, N * OH * OW)
