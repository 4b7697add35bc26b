"""Pooling: summarise every window by its largest value, or by its mean.

Max pooling is the paper's f = max (section 3): it halves the resolution and keeps the strongest response. Its
backward pass is routing: only the pixel that won its window made a difference, so it alone gets the gradient.
Average pooling shares the gradient out evenly instead.

Both walk over the kernel positions, not over the windows: for kernel position (i, j), one strided slice of the image
holds that position's pixel for all windows at once.
"""

from typing import Any

from ..backend import array_module
from ..cuda import kernels
from ..parallel import share
from ..tensor import Function, Tensor
from .im2col import Pair, pool_output_size, taps, window_settings
from .layout import blocks, padded_planes


class MaxPool2d(Function):
    """y[n, c, oh, ow] = max over (i, j) of x[n, c, oh·s + i·d - p, ow·s + j·d - p]; beyond the edge lies -inf.

    Backward: gx[winner of the window] += gy. Where several pixels tie, the first in reading order wins.

    Derivation: near a point where one pixel is the largest, y is that pixel: ∂y/∂x is 1 for it and 0 for the others. A
    pixel that wins several windows gets the gradient of each, hence the sum. Paper, section 3: the layer form, f = max.
    """

    def __init__(
        self,
        kernel: int | Pair,
        stride: int | Pair | None = None,
        padding: int | Pair = 0,
        dilation: int | Pair = 1,
        ceil_mode: bool = False,
    ) -> None:
        self.kernel, self.stride, self.padding, self.dilation = window_settings(
            "max_pool2d",
            kernel_size=kernel,
            stride=kernel if stride is None else stride,
            padding=padding,
            dilation=dilation,
        )
        self.ceil_mode = ceil_mode

    def forward(self, x: Any) -> Any:
        check_pool(self.name, x, self.kernel, self.padding)
        self.frame = frame = window_frame(self, x.shape)
        refuse_empty_windows(self, x.shape[2:])
        self.fused = kernels.fused(x) and type(self) is MaxPool2d  # a class derived from it may want what is kept below
        if self.fused:  # on a GPU: the same in one kernel, which notes the winners; x and y are not needed again
            y, self.winners = kernels.max_pool(x, *self.windows(), frame.output)
            return y
        xp, (N, C), (OH, OW) = array_module(x), x.shape[:2], frame.output
        self.x, self.y = x, xp.empty((C, N, OH, OW), x.dtype).transpose(1, 0, 2, 3)  # (N, C, OH, OW)

        def pool(block: Any) -> None:
            planes = padded_planes(x[block], frame.padding, float("-inf"))  # (C, N, H', W')
            y = self.y[block].transpose(1, 0, 2, 3)  # (C, N, OH, OW)
            for k, (_, _, rows, columns) in enumerate(self.positions()):
                candidate = planes[:, :, rows, columns]
                xp.maximum(y if k else candidate, candidate, out=y)

        share(pool, blocks(x), x)
        return self.y  # (N, C, OH, OW)

    def backward(self, gy: Any) -> Any:
        """The winner is the pixel that equals the maximum; so x and y must still be what they were in forward. Padding
        is NaN here, which equals nothing; nor does a window that holds NaN have a winner."""
        if self.fused:
            return kernels.max_pool_backward(gy, self.winners, self.frame.size, *self.windows())
        xp = array_module(gy)
        gplanes = xp.empty(self.frame.shape, gy.dtype)  # (C, N, H', W')
        gx = gplanes.transpose(1, 0, 2, 3)
        apart = self.dilation == (1, 1) and all(s >= k for s, k in zip(self.stride, self.kernel, strict=True))

        def route(block: Any) -> None:
            planes = padded_planes(self.x[block], self.frame.padding, float("nan"))
            y, g = (image[block].transpose(1, 0, 2, 3) for image in (self.y, gy))  # (C, N, OH, OW)
            target = gx[block].transpose(1, 0, 2, 3)  # (C, N, H', W')
            target[...] = 0
            undecided = xp.ones(y.shape, bool)  # the windows whose winner has not been met yet
            for _, _, rows, columns in self.positions():
                wins = (planes[:, :, rows, columns] == y) & undecided
                undecided ^= wins
                if apart:  # no pixel lies in two windows: write instead of adding
                    xp.multiply(g, wins, out=target[:, :, rows, columns])
                else:
                    target[:, :, rows, columns] += g * wins

        share(route, blocks(gx), gx)
        return self.frame.inside(gplanes)  # (N, C, H, W)

    def windows(self) -> tuple[Pair, Pair, Pair, Pair]:
        """The settings that say where the windows lie."""
        return self.kernel, self.stride, self.padding, self.dilation

    def positions(self) -> list[tuple[int, int, slice, slice]]:
        """The kernel positions in reading order, with the framed rows and columns that each one meets."""
        return taps(self.kernel, self.stride, self.dilation, self.frame.output)


def max_pool2d(
    x: Tensor,
    kernel_size: int | Pair,
    stride: int | Pair | None = None,
    padding: int | Pair = 0,
    dilation: int | Pair = 1,
    ceil_mode: bool = False,
) -> Tensor:
    """The maximum of every window: (N, C, H, W) → (N, C, OH, OW). Stride defaults to the kernel size.

    `ceil_mode` rounds the output size up, as Caffe's pooling does, so that no row or column is left out.
    Errors: ValueError for padding beyond half the kernel, or where a window would hold no pixel of the image.
    Source: paper, section 3.
    """
    return MaxPool2d(kernel_size, stride, padding, dilation, ceil_mode)(x)


class AvgPool2d(Function):
    """y[n, c, oh, ow] = 1/area · Σ over (i, j) of x[n, c, oh·s + i - p, ow·s + j - p];   gx[each] += gy/area.

    As in torch, padding counts as pixels of value 0; what hangs over the padded edge in ceil mode does not count.

    Derivation: y is linear in x, and each pixel of a window has the factor 1/area in it; so gx[n, c, h, w] = Σ over the
    windows that cover it of gy/area. Paper, section 3: the layer form, f = mean.
    """

    def __init__(
        self,
        kernel: int | Pair,
        stride: int | Pair | None = None,
        padding: int | Pair = 0,
        ceil_mode: bool = False,
    ) -> None:
        self.kernel, self.stride, self.padding = window_settings(
            "avg_pool2d", kernel_size=kernel, stride=kernel if stride is None else stride, padding=padding
        )
        self.dilation, self.ceil_mode = (1, 1), ceil_mode

    def forward(self, x: Any) -> Any:
        check_pool(self.name, x, self.kernel, self.padding)
        self.frame = frame = window_frame(self, x.shape)
        xp = array_module(x)
        planes = padded_planes(x, frame.padding)  # (C, N, H', W')
        y = xp.zeros((*planes.shape[:2], *frame.output), x.dtype)
        for _, _, rows, columns in taps(self.kernel, self.stride, self.dilation, frame.output):
            y += planes[:, :, rows, columns]  # (C, N, OH, OW)
        row_counts, column_counts = self._counts(xp, x.shape[2:])
        self.area = (row_counts[:, None] * column_counts).astype(x.dtype)  # (OH, OW)
        y /= self.area
        return y.transpose(1, 0, 2, 3)  # (N, C, OH, OW)

    def backward(self, gy: Any) -> Any:
        each = gy.transpose(1, 0, 2, 3) / self.area  # (C, N, OH, OW)
        planes = array_module(gy).zeros(self.frame.shape, gy.dtype)
        for _, _, rows, columns in taps(self.kernel, self.stride, self.dilation, self.frame.output):
            planes[:, :, rows, columns] += each
        return self.frame.inside(planes)  # (N, C, H, W)

    def _counts(self, xp: Any, size: Pair) -> list[Any]:
        """Per axis, how many positions of each window lie on the image or its padding."""
        counts = []
        for axis in (0, 1):
            first = xp.arange(self.frame.output[axis]) * self.stride[axis]  # window starts, in padded pixels
            last = xp.minimum(first + self.kernel[axis], size[axis] + 2 * self.padding[axis])
            counts.append(last - first)
        return counts


def avg_pool2d(
    x: Tensor,
    kernel_size: int | Pair,
    stride: int | Pair | None = None,
    padding: int | Pair = 0,
    ceil_mode: bool = False,
) -> Tensor:
    """The mean of every window: (N, C, H, W) → (N, C, OH, OW). Padding counts as zeros, as in torch."""
    return AvgPool2d(kernel_size, stride, padding, ceil_mode)(x)


class GlobalAvgPool2d(Function):
    """y[n, c] = 1/(H·W) · Σ over all pixels;   gx = gy/(H·W) at every pixel.

    Derivation: every pixel has the factor 1/(H·W) in its channel's one output. GoogLeNet's last pool, which the paper
    discards (section 4.1).
    """

    def forward(self, x: Any) -> Any:
        check_pool(self.name, x, (1, 1), (0, 0))
        if 0 in x.shape[2:]:
            raise ValueError(f"{self.name}: x {x.shape} has no pixels, so there is no mean")
        self.x_shape = x.shape
        return x.mean(axis=(2, 3), keepdims=True)  # (N, C, 1, 1)

    def backward(self, gy: Any) -> Any:
        N, C, H, W = self.x_shape
        return array_module(gy).broadcast_to(gy / (H * W), (N, C, H, W))


def global_avg_pool2d(x: Tensor) -> Tensor:
    """The mean over all pixels, per image and channel: (N, C, H, W) → (N, C, 1, 1)."""
    return GlobalAvgPool2d()(x)


# --- where the windows lie --------------------------------------------------------------------------------


class Frame:
    """The framed image that the windows are read from.

    padding: (top, bottom, left, right). The far sides hold only what some window reaches: more than the near ones where
    ceil mode lets a window hang over, less, down to 0, where the last windows end early. shape: (C, N, H', W').
    """

    def __init__(self, x_shape: tuple[int, ...], output: Pair, padding: tuple[int, int, int, int]) -> None:
        N, C, H, W = x_shape
        self.output, self.padding, self.size = output, padding, (H, W)
        top, bottom, left, right = padding
        self.shape = (C, N, top + H + bottom, left + W + right)

    def inside(self, planes: Any) -> Any:
        """(C, N, H', W') → (N, C, H, W): the image without its frame."""
        (H, W), (top, _, left, _) = self.size, self.padding
        return planes[:, :, top : top + H, left : left + W].transpose(1, 0, 2, 3)


def window_frame(op: Any, x_shape: tuple[int, ...]) -> Frame:
    """Output size of the pooling `op` on an image of `x_shape`, and the padding that gives every window its pixels."""
    output, padding = [], []
    for axis in (0, 1):
        size, k, s = x_shape[2 + axis], op.kernel[axis], op.stride[axis]
        p, d = op.padding[axis], op.dilation[axis]
        out = pool_output_size(size, k, s, p, d, op.ceil_mode)
        if out < 1:
            raise ValueError(
                f"{op.name}: a window of {op.kernel} (dilation {op.dilation}) does not fit into an input of "
                f"{x_shape[2:]} with padding {op.padding}; use a smaller kernel or ceil_mode=True"
            )
        reach = (out - 1) * s + d * (k - 1) + 1  # rows that the windows cover, from the top of the padding
        output.append(out)
        padding += [p, max(0, reach - p - size)]
    return Frame(x_shape, (output[0], output[1]), tuple(padding))


def refuse_empty_windows(op: MaxPool2d, size: Pair) -> None:
    """A dilated window may step over the whole image and see nothing but padding: it has no maximum."""
    for axis, name in ((0, "rows"), (1, "columns")):
        n, p = size[axis], op.padding[axis]
        for window in range(op.frame.output[axis]):
            first = window * op.stride[axis] - p
            if not any(0 <= first + i * op.dilation[axis] < n for i in range(op.kernel[axis])):
                raise ValueError(
                    f"max_pool2d: with kernel {op.kernel}, dilation {op.dilation} and padding {op.padding}, window "
                    f"{window} along the {name} holds no pixel of the {size[0]}x{size[1]} input; use less dilation"
                )


def check_pool(op: str, x: Any, kernel: Pair, padding: Pair) -> None:
    """The input is an image, and padding is at most half the kernel, so that every undilated window sees a pixel."""
    if x.ndim != 4 or x.dtype.kind != "f":
        raise ValueError(f"{op}: x must be a floating point image (N, C, H, W), got {x.dtype} of shape {x.shape}")
    if any(p > k // 2 for k, p in zip(kernel, padding, strict=True)):
        raise ValueError(f"{op}: padding {padding} must be at most half the kernel size {kernel}")
