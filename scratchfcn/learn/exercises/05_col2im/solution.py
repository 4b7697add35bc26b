"""05 · col2im: columns back onto the image

im2col's loop with the assignment turned round: where a slice of the image was read, the row is added to it. Within one
(i, j) no two windows share a pixel, so the += of a whole slice is safe; between different (i, j) they do.
"""

import numpy as np

from scratchfcn.ops.im2col import conv_output_size


def col2im(
    cols: np.ndarray, shape: tuple[int, int, int, int], kernel: tuple[int, int], stride: int, padding: int
) -> np.ndarray:
    """cols (C·KH·KW, N·OH·OW), shape (N, C, H, W), kernel (KH, KW) → image (N, C, H, W)"""
    N, C, H, W = shape
    KH, KW = kernel
    OH, OW = conv_output_size(H, KH, stride, padding), conv_output_size(W, KW, stride, padding)
    cols = cols.reshape(C, KH, KW, N, OH, OW)
    x = np.zeros_like(cols, shape=(N, C, H + 2 * padding, W + 2 * padding))
    for i in range(KH):
        for j in range(KW):
            rows = slice(i, i + stride * (OH - 1) + 1, stride)
            columns = slice(j, j + stride * (OW - 1) + 1, stride)
            x[:, :, rows, columns] += cols[:, i, j].transpose(1, 0, 2, 3)  # (N, C, OH, OW)
    return x[:, :, padding : padding + H, padding : padding + W]
