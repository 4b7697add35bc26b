"""05 · col2im: columns back onto the image

im2col (exercise 04) copies pixels into columns, most of them several times, since windows overlap. Backward, each of
these copies comes home with a gradient of its own, and a pixel's gradient is the sum over all its copies:

    x[n, c, oh·stride + i - padding, ow·stride + j - padding] += cols[(c, i, j), (n, oh, ow)]

What would land beyond the image is dropped: padding has no gradient. The order of rows and columns is im2col's:
cols.reshape(C, KH, KW, N, OH, OW) takes them apart.

This is not the inverse of im2col, but its adjoint (its transpose, if images are thought of as vectors): for every image
x and every matrix c

    Σ im2col(x) · c  =  Σ x · col2im(c)

and the check tries exactly that, the adjoint test.
"""

import numpy as np

from scratchfcn.ops.im2col import conv_output_size


def col2im(
    cols: np.ndarray, shape: tuple[int, int, int, int], kernel: tuple[int, int], stride: int, padding: int
) -> np.ndarray:
    """Add every number of cols onto the pixel it came from.

    cols: (C·KH·KW, N·OH·OW), shape: the image's (N, C, H, W), kernel: (KH, KW). Returns (N, C, H, W), of cols' dtype.
    """
    raise NotImplementedError("05 col2im: not written yet")
