"""Adaptive average pooling: the output size is given, and the windows follow from it.

A classifier ends in fully connected layers, which take features of one size only. Torchvision's nets get that size from
any image by dividing it into OH x OW windows, as equal as whole pixels allow, and taking the mean of each: window o
covers rows ⌊o·H/OH⌋ … ⌈(o+1)·H/OH⌉ - 1. Where OH does not divide H, neighbouring windows share a row.

Rows and columns are independent, so the means are two small matrices, one per axis, as in resize.py:  y = R · x · Cᵀ,
where row o of R (OH, H) holds 1/length at each pixel of window o. Hence gx = Rᵀ · gy · C.
"""

from typing import Any

from ..backend import array_module
from ..parallel import matmul
from ..tensor import Function, Tensor, as_tensor
from .im2col import Pair, window_settings
from .pool import check_pool, global_avg_pool2d

Size = int | tuple[int | None, int | None] | None


class AdaptiveAvgPool2d(Function):
    """y[n, c] = R · x[n, c] · Cᵀ;   gx[n, c] = Rᵀ · gy[n, c] · C.

    Derivation: y[o, q] = Σ_h Σ_w R[o, h]·x[h, w]·C[q, w], so x[h, w] reaches y[o, q] with the factor R[o, h]·C[q, w],
    and gx[h, w] = Σ_o Σ_q R[o, h]·gy[o, q]·C[q, w]. torchvision's classifiers use it; the paper has no such layer.
    """

    def __init__(self, output_size: Size) -> None:
        self.output_size = output_pair("adaptive_avg_pool2d", output_size)

    def forward(self, x: Any) -> Any:
        check_pool(self.name, x, (1, 1), (0, 0))
        xp, (H, W) = array_module(x), x.shape[2:]
        OH, OW = output_of(self.output_size, x.shape)
        self.rows = window_means(xp, H, OH).astype(x.dtype)  # (OH, H)
        self.columns = window_means(xp, W, OW).astype(x.dtype)  # (OW, W)
        planes = x.transpose(1, 0, 2, 3)  # (C, N, H, W)
        y = matmul(self.rows, matmul(planes, self.columns.T))  # (C, N, OH, OW)
        return y.transpose(1, 0, 2, 3)  # (N, C, OH, OW)

    def backward(self, gy: Any) -> Any:
        planes = gy.transpose(1, 0, 2, 3)  # (C, N, OH, OW)
        gx = matmul(self.rows.T, matmul(planes, self.columns))  # (C, N, H, W)
        return gx.transpose(1, 0, 2, 3)  # (N, C, H, W)


def adaptive_avg_pool2d(x: Tensor, output_size: Size) -> Tensor:
    """Means of OH x OW windows that cover the image evenly: (N, C, H, W) → (N, C, OH, OW).

    output_size: an int or (rows, columns); None keeps that axis as it is. An output larger than the image repeats
    pixels; one of the same size is x itself.
    Errors: ValueError for a size below 1 or an x without pixels. Source: torch's op of this name.
    """
    wanted = output_pair("adaptive_avg_pool2d", output_size)
    size = output_of(wanted, x.shape)
    if tuple(x.shape[2:]) == size:
        return as_tensor(x)
    return global_avg_pool2d(x) if size == (1, 1) else AdaptiveAvgPool2d(wanted)(x)


def output_pair(op: str, output_size: Size) -> tuple[int | None, int | None]:
    """`7` → (7, 7), None → (None, None); a pair stays. ValueError for anything else."""
    sizes = tuple(output_size) if isinstance(output_size, tuple | list) else (output_size, output_size)
    window_settings(op, output_size=tuple(1 if n is None else n for n in sizes))  # whole numbers from 1 up, two of them
    return sizes


def output_of(wanted: tuple[int | None, int | None], x_shape: tuple[int, ...]) -> Pair:
    """The (OH, OW) that is wanted of an image of `x_shape`."""
    if len(x_shape) != 4 or 0 in x_shape[2:]:
        raise ValueError(f"adaptive_avg_pool2d: x must be (N, C, H, W) with at least one pixel, got {x_shape}")
    (OH, OW), (H, W) = wanted, x_shape[2:]
    return H if OH is None else OH, W if OW is None else OW


def window_means(xp: Any, size: int, out: int) -> Any:
    """(out, size): row o holds 1/length at each pixel of window o, 0 elsewhere, float64."""
    pixel, o = xp.arange(size), xp.arange(out)[:, None]  # (size,), (out, 1)
    first, end = o * size // out, -(-(o + 1) * size // out)  # (out, 1); -(-a // b) is ⌈a/b⌉
    return ((first <= pixel) & (pixel < end)) / (end - first)
