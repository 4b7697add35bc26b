"""im2col: a convolution as a matrix product. No Tensor in sight.

Lay every window that the kernel visits into a column. With the kernel's weights as a row, each output pixel is a
dot product of that row with that pixel's column, and all output pixels of all images together are one matrix
product, which is what computers are fastest at:

    y (OC, N·OH·OW)  =  w (OC, C·KH·KW)  @  cols (C·KH·KW, N·OH·OW)

`col2im` is im2col's adjoint: it takes the columns apart again and adds each number onto the pixel it was copied
from. Backward of a convolution needs it, because a pixel that was copied into several windows collects the
gradients of all of them. (Adjoint means <im2col(x), c> = <x, col2im(c)> for all x and c; the tests check it.)

Notation: N images, C channels, H×W input, KH×KW kernel, OH×OW output; stride, padding and dilation are (rows,
columns) pairs. Kernel row i meets input row oh·stride + i·dilation - padding when it makes output row oh.
"""

from typing import Any

from ..backend import array_module
from ..cuda import kernels
from .layout import channel_rows, from_channel_rows, padded_planes

Pair = tuple[int, int]


def pair(value: int | Pair, what: str) -> Pair:
    """`3` → (3, 3); a pair stays. `what` names the setting in the error message."""
    numbers = tuple(value) if isinstance(value, tuple | list) else (value, value)
    if len(numbers) != 2 or not all(hasattr(n, "__index__") for n in numbers):
        raise ValueError(f"{what} must be an int or a (rows, columns) pair of ints, got {value!r}")
    return int(numbers[0]), int(numbers[1])


def window_settings(op: str, **settings: int | Pair) -> list[Pair]:
    """Check window settings and make them pairs: padding may be 0, the others (stride, kernel …) start at 1."""
    pairs = []
    for what, value in settings.items():
        numbers = pair(value, f"{op}: {what}")
        least = 0 if "padding" in what else 1
        if min(numbers) < least:
            raise ValueError(f"{op}: {what} must be at least {least}, got {value!r}")
        pairs.append(numbers)
    return pairs


# --- output sizes, one axis at a time ---------------------------------------------------------------------


def conv_output_size(size: int, kernel: int, stride: int, padding: int = 0, dilation: int = 1) -> int:
    """⌊(size + 2·padding - span) / stride⌋ + 1, where span = dilation·(kernel - 1) + 1 is what a window covers.

    At most 0 where the window does not fit at all.
    """
    return (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


def pool_output_size(size: int, kernel: int, stride: int, padding: int, dilation: int, ceil_mode: bool) -> int:
    """As for a convolution; `ceil_mode` rounds up, letting the last window hang over the edge, as long as that
    window starts within the input or its left padding (torch's rule)."""
    if not ceil_mode:
        return conv_output_size(size, kernel, stride, padding, dilation)
    room = size + 2 * padding - dilation * (kernel - 1) - 1
    out = -(-room // stride) + 1  # rounded up
    return out - 1 if (out - 1) * stride >= size + padding else out


def conv_transpose_output_size(
    size: int, kernel: int, stride: int, padding: int = 0, output_padding: int = 0, dilation: int = 1
) -> int:
    """(size - 1)·stride - 2·padding + span + output_padding: the input size of the convolution it transposes."""
    return (size - 1) * stride - 2 * padding + dilation * (kernel - 1) + 1 + output_padding


# --- windows into columns and back ------------------------------------------------------------------------


def taps(kernel: Pair, stride: Pair, dilation: Pair, output: Pair) -> list[tuple[int, int, slice, slice]]:
    """For each kernel position (i, j): the (padded) input rows and columns it meets, one per output pixel."""

    def met(i: int, axis: int) -> slice:
        first = i * dilation[axis]
        return slice(first, first + stride[axis] * (output[axis] - 1) + 1, stride[axis])

    return [(i, j, met(i, 0), met(j, 1)) for i in range(kernel[0]) for j in range(kernel[1])]


def im2col(x: Any, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair, output: Pair) -> Any:
    """(N, C, H, W) → columns (C·KH·KW, N·OH·OW), zeros where a window looks beyond the image."""
    N, C, H, W = x.shape
    (KH, KW), (PH, PW), (OH, OW) = kernel, padding, output
    if kernel == stride == (1, 1) and padding == (0, 0) and output == (H, W):
        return channel_rows(x)  # 1x1 windows: the columns are the image itself
    if kernels.fused(x):  # on a GPU: the same in one kernel
        return kernels.im2col(x, kernel, stride, padding, dilation, output)
    planes = padded_planes(x, (PH, PH, PW, PW))  # (C, N, H+2PH, W+2PW)
    cols = array_module(x).empty((C, KH, KW, N, OH, OW), x.dtype)
    for i, j, rows, columns in taps(kernel, stride, dilation, output):
        cols[:, i, j] = planes[:, :, rows, columns]  # (C, N, OH, OW)
    return cols.reshape(C * KH * KW, N * OH * OW)


def all_windows(planes: Any, kernel: Pair, stride: Pair, dilation: Pair, output: Pair) -> Any:
    """Padded planes (C, N, H', W') → all windows (C, KH, KW, N, OH, OW), without copying anything.

    A step along OH leads `stride` rows down in the image, one along KH `dilation` rows, and likewise for the columns: a
    view whose strides say so holds every window, overlapping in memory. Copied into an array of its own it is im2col.
    """
    plane, image, row, pixel = planes.strides
    return array_module(planes).lib.stride_tricks.as_strided(
        planes,
        (planes.shape[0], *kernel, planes.shape[1], *output),
        (plane, row * dilation[0], pixel * dilation[1], image, row * stride[0], pixel * stride[1]),
    )


def col2im(
    cols: Any,
    shape: tuple[int, int, int, int],
    kernel: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    output: Pair,
) -> Any:
    """Columns (C·KH·KW, N·OH·OW) → image of `shape` (N, C, H, W): each number added onto its pixel."""
    N, C, H, W = shape
    (KH, KW), (PH, PW), (OH, OW) = kernel, padding, output
    if kernel == stride == (1, 1) and padding == (0, 0) and output == (H, W):
        return from_channel_rows(cols, N, H, W)
    if kernels.fused(cols):
        return kernels.col2im(cols, shape, kernel, stride, padding, dilation, output)
    cols = cols.reshape(C, KH, KW, N, OH, OW)
    planes = array_module(cols).zeros((C, N, H + 2 * PH, W + 2 * PW), cols.dtype)
    for i, j, rows, columns in taps(kernel, stride, dilation, output):
        planes[:, :, rows, columns] += cols[:, i, j]  # (C, N, OH, OW)
    return planes[:, :, PH : PH + H, PW : PW + W].transpose(1, 0, 2, 3)  # (N, C, H, W): the frame is dropped
