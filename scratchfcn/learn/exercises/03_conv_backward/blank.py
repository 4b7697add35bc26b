"""03 · convolution, backward

Forward (exercise 02), every output pixel was a weighted sum:

    y[n, o, oh, ow] = b[o] + Σ over c, i, j of  w[o, c, i, j] · x[n, c, row, col]
    row = oh·stride + i - padding,  col = ow·stride + j - padding

Now somebody hands you gy: for each number of y, how much the loss grows when that number does. Find the same for each
number of x, w and b. The chain rule says: look for every place in the formula above where the number occurs; each time,
take gy of the y it helped to make, times what it was multiplied with there; add them all up.

    gb[o]          += gy[n, o, oh, ow]
    gw[o, c, i, j] += gy[n, o, oh, ow] · (the x it was multiplied with)
    gx[n, c, ·, ·] += gy[n, o, oh, ow] · (the w it was multiplied with)        for all n, o, oh, ow, c, i, j

Plain loops are welcome. The loss takes care of any averaging over images: here nothing is divided by N.
"""

import numpy as np


def conv2d_backward(
    gy: np.ndarray, x: np.ndarray, w: np.ndarray, stride: int, padding: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The gradients of the loss with respect to x, w and b.

    gy: (N, OC, OH, OW), x: (N, C, H, W), w: (OC, C, KH, KW). Returns gx, gw, gb: shaped like x, w and (OC,).
    """
    raise NotImplementedError("03 conv2d_backward: not written yet")
