"""Convolution, 1x1 convolution and transposed convolution.

A convolution slides a kernel over the image: every output pixel is a weighted sum of a window of the input, with the
same weights everywhere. That is the paper's layer form (section 3) with f = matrix multiplication:

    y[n, o, oh, ow] = b[o] + Σ_c Σ_i Σ_j  w[o, c, i, j] · x[n, c, oh·s + i·d - p, ow·s + j·d - p]

With the windows laid out as columns (see im2col.py) this is `y = w @ cols`, and calculus on matrices gives the
backward pass at once: for y = w @ cols, the gradients are gw = gy @ colsᵀ and gcols = wᵀ @ gy. That is all there is
to it, and what small images get. For large ones the same sums are done in pieces that fit into a processor's cache, on
all cores: see stripes.py once you know how this works. (`matmul(a, b)` is a @ b, on all cores too.)

The transposed convolution, the paper's "deconvolution" for upsampling (section 3.3), runs the same wiring in the
opposite direction: its forward is the convolution's input gradient and its input gradient is the
convolution's forward. Hold `Conv2d` and `ConvTranspose2d` side by side: the lines are the same, exchanged.
"""

from typing import Any

from ..parallel import matmul
from ..tensor import Function, Tensor
from .im2col import (
    Pair,
    col2im,
    conv_output_size,
    conv_transpose_output_size,
    im2col,
    window_settings,
)
from .layout import channel_rows, channel_sums, from_channel_rows
from .stripes import Stripes
from .subpixel import Subpixel


class Conv2d(Function):
    """Convolution: x (N, C, H, W), w (OC, C/groups, KH, KW), b (OC,) or None → y (N, OC, OH, OW).

        y[n, o, oh, ow] = b[o] + Σ_c Σ_i Σ_j  w[o, c, i, j] · x[n, c, oh·s + i·d - p, ow·s + j·d - p]

    Derivation: a number's gradient sums over every output it takes part in, gy times the factor it has there. A pixel
    is in the windows that cover it, a weight in every window, a bias in every output of its channel:

        gx[n, c, h, w] = Σ over o and all (oh, ow, i, j) with oh·s + i·d - p = h and ow·s + j·d - p = w
                         of gy[n, o, oh, ow] · w[o, c, i, j]
        gw[o, c, i, j] = Σ over n, oh, ow of gy[n, o, oh, ow] · x[n, c, oh·s + i·d - p, ow·s + j·d - p]
        gb[o]          = Σ over n, oh, ow of gy[n, o, oh, ow]

    With groups, o only meets the channels of its own group. Paper, section 3: the layer form, f a matrix product.
    """

    def __init__(
        self, stride: int | Pair = 1, padding: int | Pair = 0, dilation: int | Pair = 1, groups: int = 1
    ) -> None:
        settings = window_settings("conv2d", stride=stride, padding=padding, dilation=dilation)
        self.stride, self.padding, self.dilation = settings
        self.groups = groups

    def forward(self, x: Any, w: Any, b: Any = None) -> Any:
        check_conv("conv2d", x, w, b, self.groups, in_axis=1)
        N, C, H, W = x.shape
        OC, CG, KH, KW = w.shape
        G = self.groups
        OH, OW = self.output = output_size(self.name, (H, W), (KH, KW), self.stride, self.padding, self.dilation)

        self.w, self.x_shape, self.biased = w, x.shape, b is not None
        stripes = Stripes((KH, KW), self.stride, self.padding, self.dilation, G)
        if stripes.pay(x, N * OH * OW):  # the same sums, in pieces that fit into the cache
            self.stripes, self.x = stripes, x
            return stripes.forward(x, w, b, self.output)

        cols = im2col(x, (KH, KW), self.stride, self.padding, self.dilation, self.output)  # (C*KH*KW, N*OH*OW)
        cols = cols.reshape(G, CG * KH * KW, N * OH * OW)  # each group sees its own channels
        w_rows = w.reshape(G, OC // G, CG * KH * KW)
        y = matmul(w_rows, cols).reshape(OC, N * OH * OW)  # (G, OC/G, N*OH*OW), the groups joined
        if b is not None:
            y += b[:, None]
        self.stripes, self.cols = None, cols
        return from_channel_rows(y, N, OH, OW)  # (N, OC, OH, OW)

    def backward(self, gy: Any) -> tuple[Any, Any, Any]:
        """gb = Σ gy;  gw = gy @ colsᵀ;  gx = col2im(wᵀ @ gy)."""
        N, C, H, W = self.x_shape
        OC, CG, KH, KW = self.w.shape
        G = self.groups
        # (OC,): the bias was added to every pixel
        gb = channel_sums(gy) if self.biased and self.needs_grad(2) else None
        if self.stripes is not None:
            return *self.stripes.backward(gy, self.x, self.w, (self.needs_grad(0), self.needs_grad(1))), gb

        gy = channel_rows(gy).reshape(G, OC // G, -1)  # (G, OC/G, N*OH*OW)
        gw = gx = None
        if self.needs_grad(1):
            # gw = gy @ colsᵀ, computed as its own transpose: BLAS does the same product 1.4x faster with the
            # taller matrix first
            gw = matmul(self.cols, gy.swapaxes(1, 2))  # (G, CG*KH*KW, OC/G)
            gw = gw.swapaxes(1, 2).reshape(OC, CG, KH, KW)
        if self.needs_grad(0):  # not in the first layer: nobody asks for the photograph's gradient
            w_rows = self.w.reshape(G, OC // G, CG * KH * KW)
            gcols = matmul(w_rows.swapaxes(1, 2), gy)  # (G, CG*KH*KW, N*OH*OW)
            gcols = gcols.reshape(C * KH * KW, -1)  # (C*KH*KW, N*OH*OW)
            gx = col2im(gcols, self.x_shape, (KH, KW), self.stride, self.padding, self.dilation, self.output)
        return gx, gw, gb


def conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Pair = 1,
    padding: int | Pair = 0,
    dilation: int | Pair = 1,
    groups: int = 1,
) -> Tensor:
    """Convolve x (N, C, H, W) with weight (OC, C/groups, KH, KW); bias (OC,). Returns (N, OC, OH, OW).

    OH = ⌊(H + 2·padding - dilation·(KH - 1) - 1) / stride⌋ + 1, likewise OW. Window settings are ints or (rows,
    columns). `groups` splits the channels into that many independent convolutions; groups = C is depthwise.
    Errors: ValueError where shapes or settings do not fit, TypeError where dtypes differ. Source: paper, section 3.
    """
    return Conv2d(stride, padding, dilation, groups)(x, weight, bias)


class Conv1x1(Function):
    """A fully connected layer at every pixel: x (N, C, H, W), w (OC, C, 1, 1), b (OC,) → y (N, OC, H, W).

    The window is one pixel, so no columns are needed: y = w @ x, over channels. This is what makes a classifier
    "fully convolutional" (paper, section 3.1), and what scores classes.

    Derivation: y[n, o, h, w] = b[o] + Σ_c w[o, c]·x[n, c, h, w], and pixels do not mix: gx[n, c, h, w] =
    Σ_o w[o, c]·gy[n, o, h, w], while a weight works at every pixel: gw[o, c] = Σ over n, h, w of gy[n, o, h, w]·
    x[n, c, h, w], and gb[o] = Σ over n, h, w of gy[n, o, h, w].
    """

    def forward(self, x: Any, w: Any, b: Any = None) -> Any:
        check_conv("conv1x1", x, w, b, groups=1, in_axis=1)
        if w.shape[2:] != (1, 1):
            raise ValueError(f"conv1x1: weight must be (OC, C, 1, 1), got {w.shape}; use conv2d for larger kernels")
        N, C, H, W = x.shape
        self.w, self.biased = w, b is not None
        self.x_rows = channel_rows(x)  # (C, N*H*W)
        y = matmul(w.reshape(-1, C), self.x_rows)  # (OC, N*H*W)
        if b is not None:
            y += b[:, None]
        return from_channel_rows(y, N, H, W)  # (N, OC, H, W)

    def backward(self, gy: Any) -> tuple[Any, Any, Any]:
        N, OC, H, W = gy.shape
        gb = channel_sums(gy) if self.biased and self.needs_grad(2) else None  # (OC,)
        gy = channel_rows(gy)  # (OC, N*H*W)
        gw = matmul(gy, self.x_rows.T).reshape(self.w.shape) if self.needs_grad(1) else None  # (OC, C, 1, 1)
        if not self.needs_grad(0):
            return None, gw, gb
        gx = matmul(self.w.reshape(OC, -1).T, gy)  # (C, N*H*W)
        return from_channel_rows(gx, N, H, W), gw, gb


def conv1x1(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """The same as conv2d with a 1x1 kernel: x (N, C, H, W), weight (OC, C, 1, 1), bias (OC,) → (N, OC, H, W)."""
    return Conv1x1()(x, weight, bias)


class ConvTranspose2d(Function):
    """Transposed convolution: x (N, C, H, W), w (C, OC/groups, KH, KW), b (OC,) or None → y (N, OC, OH, OW).

    Each input pixel stamps the kernel, times its value, onto the output; stamps lie `stride` apart and overlaps add:
        y[n, o, h·s + i·d - p, w·s + j·d - p] += x[n, c, h, w] · w[c, o, i, j]

    Derivation: a pixel of x reaches the outputs its stamp covers, a weight is in the stamp of every pixel:

        gx[n, c, h, w] = Σ_o Σ_i Σ_j  gy[n, o, h·s + i·d - p, w·s + j·d - p] · w[c, o, i, j]       a convolution of gy
        gw[c, o, i, j] = Σ over n, h, w of x[n, c, h, w] · gy[n, o, h·s + i·d - p, w·s + j·d - p]
        gb[o]          = Σ over all outputs of gy[n, o]

    (gy beyond the edge counts as 0: what a stamp put there was cut off.) Paper, section 3.3.
    """

    def __init__(
        self,
        stride: int | Pair = 1,
        padding: int | Pair = 0,
        output_padding: int | Pair = 0,
        groups: int = 1,
        dilation: int | Pair = 1,
    ) -> None:
        self.stride, self.padding, self.output_padding, self.dilation = window_settings(
            "conv_transpose2d",
            stride=stride,
            padding=padding,
            output_padding=output_padding,
            dilation=dilation,
        )
        self.groups = groups
        for extra, s, d in zip(self.output_padding, self.stride, self.dilation, strict=True):
            if extra >= max(s, d):
                raise ValueError(
                    f"conv_transpose2d: output_padding {extra} must be smaller than stride {s} or dilation {d}"
                )

    def forward(self, x: Any, w: Any, b: Any = None) -> Any:
        check_conv("conv_transpose2d", x, w, b, self.groups, in_axis=0)
        N, C, H, W = self.x_shape = x.shape
        _, OCG, KH, KW = w.shape
        G = self.groups
        OH, OW = self._output_size((H, W), (KH, KW))
        self.w, self.biased = w, b is not None

        upsampling = Subpixel((KH, KW), self.stride, G)
        if self.applies(upsampling, (OH, OW)):  # the same sums in another order, several times faster
            self.subpixel = upsampling
            y = upsampling.forward(x, w, (OH, OW), self.padding)
        else:
            self.subpixel, self.x_rows = None, channel_rows(x).reshape(G, C // G, N * H * W)
            w_rows = w.reshape(G, C // G, OCG * KH * KW)
            cols = matmul(w_rows.swapaxes(1, 2), self.x_rows)  # (G, OCG*KH*KW, N*H*W)
            cols = cols.reshape(G * OCG * KH * KW, N * H * W)
            y_shape = (N, G * OCG, OH, OW)
            y = col2im(cols, y_shape, (KH, KW), self.stride, self.padding, self.dilation, (H, W))
        if b is not None:
            y += b[:, None, None]
        return y  # (N, OC, OH, OW)

    def backward(self, gy: Any) -> tuple[Any, Any, Any]:
        N, C, H, W = self.x_shape
        _, OCG, KH, KW = self.w.shape
        G = self.groups
        gb = channel_sums(gy) if self.biased and self.needs_grad(2) else None  # (OC,)
        if self.subpixel is not None:
            wanted = (self.needs_grad(0), self.needs_grad(1))
            return *self.subpixel.backward(gy, self.x_shape, self.w, self.padding, wanted), gb

        gcols = im2col(gy, (KH, KW), self.stride, self.padding, self.dilation, (H, W))
        gcols = gcols.reshape(G, OCG * KH * KW, N * H * W)
        gw = None
        if self.needs_grad(1):
            gw = matmul(self.x_rows, gcols.swapaxes(1, 2))  # (G, C/G, OCG*KH*KW)
            gw = gw.reshape(C, OCG, KH, KW)

        if not self.needs_grad(0):
            return None, gw, gb
        w_rows = self.w.reshape(G, C // G, OCG * KH * KW)
        gx = matmul(w_rows, gcols).reshape(C, N * H * W)
        return from_channel_rows(gx, N, H, W), gw, gb

    def applies(self, subpixel: Subpixel, output: Pair) -> bool:
        """Whether the fast way of subpixel.py computes this: strided, undilated, and all rows lie in its blocks."""
        strided, undilated = max(self.stride) > 1, self.dilation == (1, 1)
        return strided and undilated and subpixel.covers(self.x_shape[2:], output, self.padding)

    def _output_size(self, size: Pair, kernel: Pair) -> Pair:
        settings = zip(size, kernel, self.stride, self.padding, self.output_padding, self.dilation, strict=True)
        OH, OW = (conv_transpose_output_size(*axis) for axis in settings)
        if OH < 1 or OW < 1:
            raise ValueError(
                f"conv_transpose2d: input {size} with kernel {kernel}, stride {self.stride} and padding {self.padding} "
                f"gives an empty output ({OH}, {OW}); use less padding"
            )
        return OH, OW


def conv_transpose2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Pair = 1,
    padding: int | Pair = 0,
    output_padding: int | Pair = 0,
    groups: int = 1,
    dilation: int | Pair = 1,
) -> Tensor:
    """Upsample x (N, C, H, W) with weight (C, OC/groups, KH, KW); bias (OC,). Returns (N, OC, OH, OW).

    OH = (H - 1)·stride - 2·padding + dilation·(KH - 1) + 1 + output_padding, likewise OW: the size of which a
    convolution with these settings makes H. Padding takes rows away here. Several sizes may lead to the same H;
    `output_padding` chooses among them by adding rows at the bottom and columns at the right.
    Errors: ValueError where shapes or settings do not fit, TypeError where dtypes differ. Source: paper, section 3.3.
    """
    return ConvTranspose2d(stride, padding, output_padding, groups, dilation)(x, weight, bias)


# --- what both expect of their inputs ---------------------------------------------------------------------


def output_size(op: str, size: Pair, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair) -> Pair:
    """The (OH, OW) of a convolution; ValueError where the kernel does not fit into the padded input."""
    OH, OW = (conv_output_size(*axis) for axis in zip(size, kernel, stride, padding, dilation, strict=True))
    if OH < 1 or OW < 1:
        raise ValueError(
            f"{op}: a {kernel[0]}x{kernel[1]} kernel (dilation {dilation}) does not fit into an input of "
            f"{size[0]}x{size[1]} with padding {padding}; pad more or use a smaller kernel"
        )
    return OH, OW


def check_conv(op: str, x: Any, w: Any, b: Any, groups: int, in_axis: int) -> None:
    """Shapes and dtypes; `in_axis` is the weight's axis of input channels: 1 for conv2d, 0 for conv_transpose2d."""
    if x.ndim != 4 or w.ndim != 4:
        hint = "; one H x W x C image becomes x.transpose(2, 0, 1)[None]" if x.ndim == 3 else ""
        raise ValueError(f"{op}: x must be (N, C, H, W) and weight 4-dimensional, got {x.shape} and {w.shape}{hint}")
    if x.dtype != w.dtype or x.dtype.kind != "f":
        hint = "x.astype(np.float32)" + (" / 255, for example" if x.dtype == "uint8" else ", or model.double()")
        raise TypeError(
            f"{op}: x is {x.dtype} but weight is {w.dtype}; both must be the same floating point type: {hint}"
        )
    if b is not None and b.dtype != x.dtype:
        raise TypeError(f"{op}: x is {x.dtype} but bias is {b.dtype}; both must be the same type")
    if not hasattr(groups, "__index__"):
        raise TypeError(f"{op}: groups must be a whole number, got {groups!r}")
    C = x.shape[1]
    if groups < 1 or C % groups or w.shape[0] % groups:
        raise ValueError(
            f"{op}: groups {groups} must divide the {C} channels of x and the {w.shape[0]} of weight {w.shape}"
        )
    expected = w.shape[1] * groups if in_axis == 1 else w.shape[0]
    if expected != C:
        grouped = f" in {groups} groups" if groups > 1 else ""
        hint = f"; if x {x.shape} is (N, H, W, C): x.transpose(0, 3, 1, 2)" if x.shape[3] == expected else ""
        raise ValueError(f"{op}: x has {C} channels but weight {w.shape} expects {expected}{grouped}{hint}")
    OC = w.shape[0] if in_axis == 1 else w.shape[1] * groups
    if b is not None and b.shape != (OC,):
        raise ValueError(
            f"{op}: bias has shape {b.shape} but weight {w.shape} makes {OC} channels, so it must be ({OC},)"
        )
