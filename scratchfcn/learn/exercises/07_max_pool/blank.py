"""07 · max pooling, forward and backward

Each window of kernel x kernel pixels is summed up by its largest number; that halves an image with kernel 2, stride 2.

    y[n, c, oh, ow] = max over i, j of  x[n, c, oh·stride + i, ow·stride + j]

Backward, only the pixel that won its window made a difference, so it alone gets that window's gradient. Forward has to
remember who won: winner[n, c, oh, ow] is the winner's place in its window, counted along the rows, i·kernel + j. Where
several pixels are equally large, the first of them wins.

    gx[n, c, oh·stride + i, ow·stride + j] += gy[n, c, oh, ow]        (i, j) the winner's place

With a stride smaller than the kernel, windows overlap, and one pixel may win several.
"""

import numpy as np

from scratchfcn.ops.im2col import conv_output_size


def max_pool(x: np.ndarray, kernel: int, stride: int) -> tuple[np.ndarray, np.ndarray]:
    """The largest number of every window, and which one it was.

    x: (N, C, H, W). Returns y: (N, C, OH, OW), of x's dtype, and winner: (N, C, OH, OW), ints from 0 to kernel² - 1.
    """
    raise NotImplementedError("07 max_pool: not written yet")


def max_pool_backward(
    gy: np.ndarray, winner: np.ndarray, shape: tuple[int, int, int, int], kernel: int, stride: int
) -> np.ndarray:
    """Hand each window's gradient to its winner.

    gy: (N, C, OH, OW), winner: as max_pool returns it, shape: x's (N, C, H, W). Returns gx: (N, C, H, W).
    """
    raise NotImplementedError("07 max_pool_backward: not written yet")
