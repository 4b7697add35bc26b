"""04 · im2col: windows as columns

A computer multiplies two matrices far faster than it runs the loops of exercise 02. So copy the windows of the image
into the columns of one matrix; then the whole convolution is a single product, y = w @ cols.

One column per window, one row per place in the window:

    cols[(c, i, j), (n, oh, ow)] = x[n, c, oh·stride + i - padding, ow·stride + j - padding]       0 beyond the image

The row (c, i, j) is number c·KH·KW + i·KW + j, as in w.reshape(OC, C·KH·KW); the column (n, oh, ow) is number
n·OH·OW + oh·OW + ow. In other words: cols is an array (C, KH, KW, N, OH, OW), reshaped. A 3x3 image and 2x2 windows:

    1 2 3          1 2 4 5      upper left number of each window
    4 5 6    →     2 3 5 6      upper right
    7 8 9          4 5 7 8      lower left
                   5 6 8 9      lower right
"""

import numpy as np

from scratchfcn.ops.im2col import conv_output_size


def im2col(x: np.ndarray, kernel: tuple[int, int], stride: int, padding: int) -> np.ndarray:
    """All windows of the images x, as columns.

    x: (N, C, H, W), kernel: (KH, KW). Returns cols: (C·KH·KW, N·OH·OW), of x's dtype.
    """
    raise NotImplementedError("04 im2col: not written yet")
