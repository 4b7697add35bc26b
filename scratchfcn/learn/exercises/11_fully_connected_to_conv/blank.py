"""11 · fully connected → convolution

What turns a classifier into a fully convolutional network. A classifier lines up its last map (C, KH, KW) as a row of
C·KH·KW numbers, and a fully connected layer makes OUT scores of it: y = w @ row + b. These sums are those of a
convolution whose kernel is as large as the map:

    row number (c·KH + i)·KW + j  is  map[c, i, j],  so  w[o, (c·KH + i)·KW + j]  is  kernel[o, c, i, j]

(VGG16's fc6, (4096, 25088), becomes 4096 kernels of 512x7x7. Not one number changes.) But a convolution does not mind
if the map is larger: its window then has room for several steps, and each step gives the scores of another crop.

    y[n, o, u, v] = b[o] + w[o] @ (the KH x KW crop of x[n] at row u, column v, lined up)

Paper: section 3.1 and figure 2.
"""

import numpy as np

from scratchfcn import ops


def as_kernel(w: np.ndarray, C: int, KH: int, KW: int) -> np.ndarray:
    """The fully connected layer's weight, as a convolution's.

    w: (OUT, C·KH·KW), for rows lined up as above (x.reshape(N, -1) does it). Returns (OUT, C, KH, KW).
    """
    raise NotImplementedError("11 as_kernel: not written yet")


def scores_everywhere(x: np.ndarray, w: np.ndarray, b: np.ndarray, KH: int, KW: int) -> np.ndarray:
    """The fully connected layer's scores for every KH x KW crop of larger maps.

    x: (N, C, H, W), H ≥ KH and W ≥ KW; w: (OUT, C·KH·KW), b: (OUT,). Returns y (N, OUT, H - KH + 1, W - KW + 1).
    """
    raise NotImplementedError("11 scores_everywhere: not written yet")
