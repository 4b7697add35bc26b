"""02 · convolution, forward

The kernel slides over the image, and each output pixel is the sum of the window under the kernel, weighted:

    y[n, o, oh, ow] = b[o] + Σ over c, i, j of  w[o, c, i, j] · x[n, c, row, col]
    row = oh·stride + i - padding,  col = ow·stride + j - padding

    n       image of the batch            0 … N-1
    o       filter = output channel       0 … OC-1
    c       input channel                 0 … C-1      each filter looks at all of them
    i, j    row and column of the kernel  0 … KH-1, 0 … KW-1
    oh, ow  row and column of the output  0 … OH-1, 0 … OW-1

Where row or col lies beyond the image, x counts as 0. Take the formula at its word: plain loops are welcome,
speed is exercise 04's business. The output size is exercise 01's; the library has it, too:
conv_output_size(size, kernel, stride, padding).
"""

import numpy as np

from scratchfcn.ops.im2col import conv_output_size


def conv2d(x: np.ndarray, w: np.ndarray, b: np.ndarray, stride: int, padding: int) -> np.ndarray:
    """Convolve images x with filters w and add the bias b.

    x: (N, C, H, W), w: (OC, C, KH, KW), b: (OC,). Returns y: (N, OC, OH, OW), of x's dtype.
    """
    raise NotImplementedError("02 conv2d: not written yet")
