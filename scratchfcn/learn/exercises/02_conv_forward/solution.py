"""02 · convolution, forward

One loop over the places of the output; the sums over c, i and j are one product of a window with all filters.
"""

import numpy as np

from scratchfcn.ops.im2col import conv_output_size


def conv2d(x: np.ndarray, w: np.ndarray, b: np.ndarray, stride: int, padding: int) -> np.ndarray:
    """x (N, C, H, W), w (OC, C, KH, KW), b (OC,) → y (N, OC, OH, OW)"""
    N, C, H, W = x.shape
    OC, C, KH, KW = w.shape
    OH, OW = conv_output_size(H, KH, stride, padding), conv_output_size(W, KW, stride, padding)
    x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    y = np.zeros_like(x, shape=(N, OC, OH, OW))
    for oh in range(OH):
        for ow in range(OW):
            top, left = oh * stride, ow * stride
            window = x[:, :, top : top + KH, left : left + KW]  # (N, C, KH, KW)
            y[:, :, oh, ow] = np.tensordot(window, w, axes=((1, 2, 3), (1, 2, 3)))  # (N, OC)
    return y + b[:, None, None]
