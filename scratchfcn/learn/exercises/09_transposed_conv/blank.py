"""09 · transposed convolution, the adjoint of convolution

Upsampling by a learned kernel. A convolution gathers: each output pixel is a weighted sum of a window of the input. The
transposed convolution scatters: each input pixel stamps the whole kernel, times its value, onto the output; the stamps
lie `stride` apart, and where they overlap they add.

    y[n, o, u·stride + i - padding, v·stride + j - padding] += x[n, c, u, v] · w[c, o, i, j]
    OH = (H - 1)·stride - 2·padding + KH, likewise OW

`padding` takes rows and columns away here, that many on every side: what would land there is dropped. As a matrix, this
is the transpose of the convolution with the same weight, stride and padding, from (OH, OW) down to (H, W):
what one of them does forward, the other does to gradients. So the backward pass has a convolution in it:

    gx[n, c, u, v] = Σ over o, i, j of gy[n, o, u·stride + i - padding, v·stride + j - padding] · w[c, o, i, j]
    gw[c, o, i, j] = Σ over n, u, v of gy[n, o, u·stride + i - padding, v·stride + j - padding] · x[n, c, u, v]

(gy beyond its edges counts as 0.) Mind the weight: its first axis is the input's channels, (C, OC, KH, KW).

Paper: section 3.3, where it is called deconvolution, or backwards convolution.
"""

import numpy as np


def conv_transpose2d(x: np.ndarray, w: np.ndarray, stride: int, padding: int) -> np.ndarray:
    """Stamp the kernel, times x, onto the output.

    x: (N, C, H, W), w: (C, OC, KH, KW), of the same dtype. Returns y (N, OC, OH, OW), of that dtype.
    """
    raise NotImplementedError("09 conv_transpose2d: not written yet")


def conv_transpose2d_backward(
    gy: np.ndarray, x: np.ndarray, w: np.ndarray, stride: int, padding: int
) -> tuple[np.ndarray, np.ndarray]:
    """The gradients with respect to x and w.

    gy: (N, OC, OH, OW), x: (N, C, H, W), w: (C, OC, KH, KW). Returns gx and gw, shaped like x and w.
    """
    raise NotImplementedError("09 conv_transpose2d_backward: not written yet")
