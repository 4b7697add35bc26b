"""Bilinear resizing: each output pixel is a weighted mean of the four input pixels around the place it comes from.

The weights along rows and along columns are independent (that is what "bi-linear" means), so a resize is two
small matrices, one per axis:  y = R · x · Cᵀ, with R (OH, H) and C (OW, W) holding at most two non-zeros per row.
Written so, the backward pass needs no thought: gx = Rᵀ · gy · C. The paper (section 3.3) uses the same weights
as the initial value of its learnable upsampling; see `nn.init.bilinear`.
"""

from typing import Any

from ..backend import array_module
from ..cuda import kernels
from ..parallel import matmul
from ..tensor import Function, Tensor
from .im2col import Pair, pair


class ResizeBilinear(Function):
    """y[n, c] = R · x[n, c] · Cᵀ;   gx[n, c] = Rᵀ · gy[n, c] · C.

    Derivation: y[o, q] = Σ_h Σ_w R[o, h]·x[h, w]·C[q, w], so x[h, w] reaches y[o, q] with the factor R[o, h]·C[q, w],
    and gx[h, w] = Σ_o Σ_q R[o, h]·gy[o, q]·C[q, w]. Paper, section 3.3.
    """

    def __init__(self, size: int | Pair, align_corners: bool = False) -> None:
        self.size, self.align_corners = pair(size, "resize_bilinear: size"), align_corners

    def forward(self, x: Any) -> Any:
        if x.ndim != 4 or x.dtype.kind != "f" or min(*self.size, *x.shape[2:]) < 1:
            raise ValueError(f"resize_bilinear: cannot resize x {x.dtype} {x.shape} (N, C, H, W) to size {self.size}")
        xp = array_module(x)
        H, W = self.x_size = x.shape[2:]
        OH, OW = self.size
        self.fused = kernels.fused(x)
        if self.fused:  # on a GPU: the same in one kernel
            return kernels.bilinear(x, self.size, self.align_corners)
        self.rows = interpolation_matrix(xp, H, OH, self.align_corners).astype(x.dtype)  # (OH, H)
        self.columns = interpolation_matrix(xp, W, OW, self.align_corners).astype(x.dtype)  # (OW, W)
        planes = x.transpose(1, 0, 2, 3)  # (C, N, H, W)
        y = matmul(self.rows, matmul(planes, self.columns.T))  # (C, N, OH, OW)
        return y.transpose(1, 0, 2, 3)  # (N, C, OH, OW)

    def backward(self, gy: Any) -> Any:
        if self.fused:
            return kernels.bilinear_backward(gy, self.x_size, self.align_corners)
        planes = gy.transpose(1, 0, 2, 3)  # (C, N, OH, OW)
        gx = matmul(self.rows.T, matmul(planes, self.columns))  # (C, N, H, W)
        return gx.transpose(1, 0, 2, 3)  # (N, C, H, W)


def resize_bilinear(x: Tensor, size: int | Pair, align_corners: bool = False) -> Tensor:
    """Resize (N, C, H, W) to (N, C, *size) bilinearly, without antialiasing, as torch's `interpolate` does.

    align_corners=False: pixels are squares, and the images' edges coincide. True: pixels are points, and the centres
    of the corner pixels coincide.
    """
    return ResizeBilinear(size, align_corners)(x)


def interpolation_matrix(xp: Any, size: int, out: int, align_corners: bool) -> Any:
    """(out, size): row o holds the weights of the two input pixels around output pixel o, float64."""
    o = xp.arange(out, dtype="float64")
    if align_corners:
        source = o * ((size - 1) / (out - 1)) if out > 1 else o * 0.0
    else:
        source = ((o + 0.5) * (size / out) - 0.5).clip(0.0)  # before the first centre: the first pixel itself
    low = xp.minimum(xp.floor(source).astype("int64"), size - 1)
    high = xp.minimum(low + 1, size - 1)  # after the last centre: the last pixel twice
    weight = (source - low).clip(0.0, 1.0)
    matrix = xp.zeros((out, size))
    index = xp.arange(out)
    matrix[index, low] += 1.0 - weight
    matrix[index, high] += weight
    return matrix
