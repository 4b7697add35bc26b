"""03 · convolution, backward

The same walk over the output as in forward. Forward reads a window and weighs it; backward adds the weights, times gy,
onto the same window of gx, and the window, times gy, onto gw. Windows overlap, so everything is added, nothing set.
"""

import numpy as np


def conv2d_backward(
    gy: np.ndarray, x: np.ndarray, w: np.ndarray, stride: int, padding: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """gy (N, OC, OH, OW), x (N, C, H, W), w (OC, C, KH, KW) → gx, gw, gb, shaped like x, w and (OC,)"""
    N, C, H, W = x.shape
    OC, C, KH, KW = w.shape
    _, _, OH, OW = gy.shape
    x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    gx, gw = np.zeros_like(x), np.zeros_like(w)
    for oh in range(OH):
        for ow in range(OW):
            rows = slice(oh * stride, oh * stride + KH)
            cols = slice(ow * stride, ow * stride + KW)
            g = gy[:, :, oh, ow]  # (N, OC)
            gw += np.tensordot(g, x[:, :, rows, cols], axes=(0, 0))  # (OC, C, KH, KW), summed over the images
            gx[:, :, rows, cols] += np.tensordot(g, w, axes=(1, 0))  # (N, C, KH, KW), summed over the filters
    gx = gx[:, :, padding : padding + H, padding : padding + W]  # nobody asked for the padding's gradient
    return gx, gw, gy.sum(axis=(0, 2, 3))
