"""Convolution, 1x1 convolution, transposed convolution, im2col and col2im: what goes wrong in them.

Written out, with o for filters, c for channels, (y, x) for windows and (i, j) for the taps of the kernel, the three
gradients of a convolution are

    gx[n, c, y·s + i·d - p, x·s + j·d - p] += w[o, c, i, j] · gy[n, o, y, x]
    gw[o, c, i, j]                         += x[n, c, y·s + i·d - p, x·s + j·d - p] · gy[n, o, y, x]
    gb[o]                                  += gy[n, o, y, x]

and every mistake below changes one symbol of these lines.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from ..ops.im2col import conv_output_size, conv_transpose_output_size, pair
from .common import one_image, scales
from .mistake import FORWARD, Call, Mistake
from .reference import window_of
from .windows import Windows

# --- convolution ------------------------------------------------------------------------------------------


class Conv:
    """One convolution with its right sums, each of which can be given something wrong to work with."""

    def __init__(self, call: Call) -> None:
        self.x, self.w = call.inputs[:2]
        self.b = call.inputs[2] if len(call.inputs) > 2 else None
        self.gy, self.G = call.gy, call.settings.get("groups", 1)
        self.N, self.C, H, W = self.x.shape
        self.OC, self.CG, *kernel = self.w.shape
        stride, padding, dilation = (
            pair(call.settings.get(k, n), k) for k, n in (("stride", 1), ("padding", 0), ("dilation", 1))
        )
        axes = zip((H, W), kernel, stride, padding, dilation, strict=True)
        output = tuple(conv_output_size(*axis) for axis in axes)
        self.windows = Windows((H, W), tuple(kernel), stride, padding, dilation, output)

    def y(self, x: Any = None, w: Any = None, windows: Windows | None = None) -> np.ndarray:
        """Without bias: (N, OC, OH, OW)."""
        G, w = self.G, self.w if w is None else w
        cols = (windows or self.windows).gather(self.x if x is None else x)
        cols = cols.reshape(self.N, G, self.CG, *cols.shape[2:])
        y = np.einsum("gocij,ngcijyx->ngoyx", w.reshape(G, -1, *w.shape[1:]), cols)
        return y.reshape(self.N, self.OC, *y.shape[3:])

    def biased(self, y: np.ndarray, bias: float = 1.0) -> np.ndarray:
        return y if self.b is None else y + bias * self.b[:, None, None]

    def gw(self, x: Any = None, gy: Any = None, windows: Windows | None = None) -> np.ndarray:
        """(OC, C/G, KH, KW)"""
        G, gy = self.G, self.gy if gy is None else gy
        cols = (windows or self.windows).gather(self.x if x is None else x)
        cols = cols.reshape(self.N, G, self.CG, *cols.shape[2:])
        gy = gy.reshape(self.N, G, self.OC // G, *gy.shape[2:])
        return np.einsum("ngoyx,ngcijyx->gocij", gy, cols).reshape(self.w.shape)

    def gcols(self, w: Any = None, gy: Any = None) -> np.ndarray:
        """(N, C, KH, KW, OH, OW): what each window sends back to each of its pixels."""
        G, w, gy = self.G, self.w if w is None else w, self.gy if gy is None else gy
        gy = gy.reshape(self.N, G, self.OC // G, *gy.shape[2:])
        gcols = np.einsum("gocij,ngoyx->ngcijyx", w.reshape(G, self.OC // G, *w.shape[1:]), gy)
        return gcols.reshape(self.N, self.C, *gcols.shape[3:])

    def gx(self, w: Any = None, gy: Any = None, windows: Windows | None = None) -> np.ndarray:
        """(N, C, H, W)"""
        return (windows or self.windows).scatter(self.gcols(w, gy))

    def but(self, **changes: Any) -> Windows:
        """The windows with something wrong about them."""
        return replace(self.windows, **changes)

    def padded(self) -> Windows:
        """Windows over the padded image, which is as large as both paddings make it."""
        (H, W), (PH, PW) = self.windows.size, self.windows.padding
        return self.but(size=(H + 2 * PH, W + 2 * PW), padding=(0, 0))


def turned(w: np.ndarray) -> np.ndarray:
    """The kernel turned by 180°."""
    return w[:, :, ::-1, ::-1]


def square(w: np.ndarray) -> np.ndarray:
    """The kernel with rows and columns exchanged; ValueError where it is not square."""
    if w.shape[2] != w.shape[3]:
        raise ValueError("the kernel is not square")
    return w.swapaxes(2, 3)


def last_filter_wins(c: Conv) -> np.ndarray | None:
    """gx[window] = w[o]·gy[o, y, x] with loops over y, x and o: of all filters the last one remains."""
    if c.G > 1:
        return None
    last = c.w[-1][None, :, :, :, None, None] * c.gy[:, -1][:, None, None, None]  # (N, C, KH, KW, OH, OW)
    return c.windows.overwrite(last)


def cut(padded: np.ndarray, c: Conv, top: int, left: int) -> np.ndarray:
    """The image cut out of its padded version at the given corner."""
    H, W = c.windows.size
    return padded[:, :, top : top + H, left : left + W]


def interleaved(a: np.ndarray, axis: int, G: int) -> np.ndarray:
    """Channels dealt out like cards, c to group c % G, instead of in blocks."""
    if G == 1:
        raise ValueError("one group cannot be mixed up")
    sizes = (*a.shape[:axis], G, a.shape[axis] // G, *a.shape[axis + 1 :])
    return a.reshape(sizes).swapaxes(axis, axis + 1).reshape(a.shape)


def gathered(a: np.ndarray, axis: int, G: int) -> np.ndarray:
    """The way back: channels g, g + G, g + 2G … brought together as group g, as if they had been dealt out."""
    if G == 1:
        raise ValueError("one group cannot be mixed up")
    sizes = (*a.shape[:axis], a.shape[axis] // G, G, *a.shape[axis + 1 :])
    return a.reshape(sizes).swapaxes(axis, axis + 1).reshape(a.shape)


def first_group(gx: np.ndarray, G: int) -> np.ndarray | None:
    """Zeros for every group but the first."""
    return gx * (np.arange(gx.shape[1]) < gx.shape[1] // G)[:, None, None] if G > 1 else None


def misread(gy: np.ndarray) -> np.ndarray:
    """gy.reshape(OC, -1), with the filters' axis not moved to the front: (N, OC, …) taken for (OC, N, …)."""
    N, OC, *pixels = gy.shape
    return gy.reshape(OC, N, *pixels).swapaxes(0, 1)


def without_last(w: np.ndarray, axis: int) -> np.ndarray | None:
    """The kernel without its last row (axis 2) or column (axis 3); None where it has only one."""
    if w.shape[axis] < 2:
        return None
    used = np.arange(w.shape[axis]) < w.shape[axis] - 1
    return w * (used[:, None] if axis == 2 else used)


def channel_sums(gy: np.ndarray) -> np.ndarray:
    return gy.sum(axis=(0, 2, 3))


def conv(which: str, name: str, remedy: str, wrong: Callable[[Conv], Any], op: str = "conv2d") -> Mistake:
    return Mistake(op, which, name, remedy, lambda call: wrong(Conv(call)))


def on_bias(op: str) -> list[Mistake]:
    """gb[o] = Σ over images and pixels of gy[n, o, y, x]; the same for all convolutions."""
    pixels = "The bias is added to every pixel of every image, so its gradient is the sum over axes (0, 2, 3)."

    def gb(name: str, spoil: Callable[[np.ndarray], Any], remedy: str = pixels) -> Mistake:
        return Mistake(op, "bias", name, remedy, lambda call: spoil(call.gy))

    def of_image(n: int) -> Callable[[np.ndarray], Any]:
        return lambda gy: gy[n].sum(axis=(1, 2)) if len(gy) > 1 else None

    def size(gy: np.ndarray) -> int:
        return gy.shape[2] * gy.shape[3]

    return [
        gb("gb summed over the first image only", of_image(0)),
        gb("gb summed over the last image only: = instead of += in the loop over images", of_image(-1)),
        gb("gb summed over images but not over pixels: only the first pixel counts", lambda gy: gy[:, :, 0, 0].sum(0)),
        gb("gb summed over images but not over pixels: only the last pixel counts", lambda gy: gy[:, :, -1, -1].sum(0)),
        gb("gb takes one number of gy: = instead of +=", lambda gy: gy[-1, :, -1, -1]),
        gb("gb averaged over images and pixels", lambda gy: gy.mean(axis=(0, 2, 3)), "Sum: " + pixels),
        gb("gb averaged over pixels", lambda gy: channel_sums(gy) / size(gy), "Sum: " + pixels),
        gb("gb averaged over pixels, and over images twice", lambda gy: gy.mean(axis=(0, 2, 3)) / len(gy)),
        gb("gb summed over channels instead of images", lambda gy: gy.sum(axis=(1, 2, 3))),
        gb("gb sums the squares of gy", lambda gy: channel_sums(gy * gy), "gb = Σ gy, nothing else."),
        gb("gb belongs to the channels in reverse order", lambda gy: channel_sums(gy)[::-1], "gb[o] = Σ gy[:, o]."),
        *scales(op, "bias", "gb"),
    ]


ADD = "A pixel lies in several windows and gets something from each: add with +=."
TURN = (
    "As a convolution of gy, gx needs the kernel turned by 180°, w[:, :, ::-1, ::-1]; scattered with +=, it is used "
    "as it is."
)
STRIDE = "Window (y, x) starts at row y·stride, column x·stride of the padded image."
PAD = "gx of the padded image has a frame of `padding` on every side: keep [P : P + H, P : P + W]."
DILATION = "Tap (i, j) lies at i·dilation, j·dilation from the window's corner."
LAST_TAP = "range(K) runs to K - 1 by itself: no - 1 in it."
FILTERS_FIRST = "Move the filters' axis to the front first: gy.transpose(1, 0, 2, 3).reshape(OC, -1)."
GROUP = "Group g owns channels g·C/G … (g + 1)·C/G - 1, a block, and filters likewise."
SUM = "Sum over all images, and over all windows of each."

CONV2D = [
    # gx
    conv("x", "gx written with = instead of +=, window by window", ADD, lambda c: c.windows.overwrite(c.gcols())),
    conv("x", "gx written with = instead of +=, tap by tap", ADD, lambda c: c.windows.overwrite(c.gcols(), True)),
    conv("x", "gx written with = instead of +=, so that the last filter's share remains", ADD, last_filter_wins),
    conv("x", "gx uses the kernel upside down: turned by 180° where it should not be, or not where it should", TURN,
         lambda c: c.gx(turned(c.w))),
    conv("x", "gx uses the kernel with its rows turned, but not its columns", TURN, lambda c: c.gx(c.w[:, :, ::-1])),
    conv("x", "gx uses the kernel with its columns turned, but not its rows", TURN, lambda c: c.gx(c.w[:, :, :, ::-1])),
    conv("x", "gx misses the taps in the last row of the kernel", LAST_TAP,
         lambda c: None if without_last(c.w, 2) is None else c.gx(without_last(c.w, 2))),
    conv("x", "gx misses the taps in the last column of the kernel", LAST_TAP,
         lambda c: None if without_last(c.w, 3) is None else c.gx(without_last(c.w, 3))),
    conv("x", "gx uses the kernel with rows and columns exchanged", "w[o, c, i, j]: i counts rows, j columns.",
         lambda c: c.gx(square(c.w))),
    conv("x", "gx uses the kernel with filters and channels exchanged", "gx[c] = Σ_o w[o, c] … gy[o].",
         lambda c: c.gx(c.w.swapaxes(0, 1)) if c.C == c.OC and c.G == 1 else None),
    conv("x", "gx ignores the stride", STRIDE, lambda c: c.gx(windows=c.but(stride=(1, 1)))),
    conv("x", "gx exchanges the strides of rows and columns", STRIDE,
         lambda c: c.gx(windows=c.but(stride=c.windows.stride[::-1]))),
    conv("x", "gx ignores the dilation", DILATION, lambda c: c.gx(windows=c.but(dilation=(1, 1)))),
    conv("x", "gx exchanges the dilations of rows and columns", DILATION,
         lambda c: c.gx(windows=c.but(dilation=c.windows.dilation[::-1]))),
    conv("x", "gx keeps the upper left corner of the padded gradient: the padding is cut at the wrong side", PAD,
         lambda c: cut(c.padded().scatter(c.gcols()), c, 0, 0)),
    conv("x", "gx keeps the lower right corner of the padded gradient: the padding is cut twice at the top left", PAD,
         lambda c: cut(c.padded().scatter(c.gcols()), c, 2 * c.windows.padding[0], 2 * c.windows.padding[1])),
    conv("x", "gx exchanges the paddings of rows and columns", PAD,
         lambda c: cut(c.padded().scatter(c.gcols()), c, *c.windows.padding[::-1])),
    conv("x", "gx mixes up the groups: channel c treated as one of group c % G", GROUP,
         lambda c: interleaved(c.gx(), 1, c.G)),
    conv("x", "gx mixes up the groups: filter o treated as one of group o % G", GROUP,
         lambda c: c.gx(gy=gathered(c.gy, 1, c.G))),
    conv("x", "gx of the first of the groups only, 0 for the others", GROUP, lambda c: first_group(c.gx(), c.G)),
    conv("x", "gx reads gy reshaped from (N, OC, …) to (OC, N·…) without a transpose", FILTERS_FIRST,
         lambda c: c.gx(gy=misread(c.gy))),
    conv("x", "gx of the first filter only", "gx[c] is a sum over all filters that see channel c.",
         lambda c: c.gx(gy=c.gy * (np.arange(c.OC) == 0)[:, None, None])),
    conv("x", "gx is averaged over the filters", "gx[c] is a sum over the filters, not a mean.",
         lambda c: c.gx() / c.OC),
    conv("x", "gx is averaged over the taps of the kernel", "gx is a sum over taps, not a mean.",
         lambda c: c.gx() / np.prod(c.windows.kernel)),
    *scales("conv2d", "x", "gx"),
    *one_image("conv2d", "x", "gx"),
    # gw
    *scales("conv2d", "weight", "gw"),
    conv("weight", "gw averaged over images and pixels", SUM, lambda c: c.gw() / (c.gy.size / c.OC)),
    conv("weight", "gw averaged over pixels", SUM, lambda c: c.gw() / np.prod(c.windows.output)),
    conv("weight", "gw averaged over pixels and, once more than the loss does, over images: divided by N·N·OH·OW", SUM,
         lambda c: c.gw() / (c.gy.size / c.OC * c.N)),
    conv("weight", "gw turned by 180°", "gw[i, j] belongs to w[i, j]: no kernel is turned here.",
         lambda c: turned(c.gw())),
    conv("weight", "gw with rows and columns exchanged", "gw[o, c, i, j]: i counts rows, j columns.",
         lambda c: square(c.gw())),
    conv("weight", "gw with filters and channels exchanged", "gw[o, c] = Σ gy[o] · x[c].",
         lambda c: c.gw().swapaxes(0, 1) if c.OC == c.CG else None),
    conv("weight", "gw of the last image only: = instead of += in the loop over images", SUM,
         lambda c: c.gw(gy=c.gy * (np.arange(c.N) == c.N - 1)[:, None, None, None])),
    conv("weight", "gw of the first image only", SUM,
         lambda c: c.gw(gy=c.gy * (np.arange(c.N) == 0)[:, None, None, None])),
    conv("weight", "gw of the last window only: = instead of += in the loops over images and windows", SUM,
         lambda c: c.gw(gy=only_last_window(c.gy, images=True))),
    conv("weight", "gw of the last window of every image only: = instead of +=", SUM,
         lambda c: c.gw(gy=only_last_window(c.gy, images=False))),
    conv("weight", "gw ignores the padding: windows start at the image's corner", "Use the padded x, as forward did.",
         lambda c: c.gw(windows=c.but(padding=(0, 0)))),
    conv("weight", "gw ignores the stride", STRIDE, lambda c: c.gw(windows=c.but(stride=(1, 1)))),
    conv("weight", "gw exchanges the strides of rows and columns", STRIDE,
         lambda c: c.gw(windows=c.but(stride=c.windows.stride[::-1]))),
    conv("weight", "gw ignores the dilation", DILATION, lambda c: c.gw(windows=c.but(dilation=(1, 1)))),
    conv("weight", "gw takes gy turned by 180°", "gy[y, x] meets the window it came from, (y, x).",
         lambda c: c.gw(gy=turned(c.gy))),
    conv("weight", "gw mixes up the groups: channel c treated as one of group c % G", GROUP,
         lambda c: c.gw(x=gathered(c.x, 1, c.G))),
    conv("weight", "gw mixes up the groups: filter o treated as one of group o % G", GROUP,
         lambda c: c.gw(gy=gathered(c.gy, 1, c.G))),
    conv("weight", "gw reads gy reshaped from (N, OC, …) to (OC, N·…) without a transpose", FILTERS_FIRST,
         lambda c: c.gw(gy=misread(c.gy))),
    conv("weight", "gw computed as (C, OC, …) and reshaped instead of transposed",
         "Exchange the axes: .transpose(1, 0, 2, 3).",
         lambda c: c.gw().swapaxes(0, 1).reshape(c.w.shape) if c.OC != c.CG else None),
    conv("weight", "gw averaged over the filters", SUM, lambda c: c.gw() / c.OC),
    conv("weight", "gw sums over the filters: all of them get the same", "gw[o] uses gy[o] alone.",
         lambda c: np.broadcast_to(c.gw().sum(0), c.w.shape) if c.G == 1 else None),
    *on_bias("conv2d"),
    # forward
    conv(FORWARD, "the kernel is turned by 180°",
         "A convolution layer does not turn it: y += w[i, j] · x[… + i, … + j].",
         lambda c: c.biased(c.y(w=turned(c.w)))),
    conv(FORWARD, "the kernel's rows and columns are exchanged", "w[o, c, i, j]: i counts rows, j columns.",
         lambda c: c.biased(c.y(w=square(c.w)))),
    conv(FORWARD, "the bias is left out", "Add b[o] to every pixel of channel o.", lambda c: c.y()),
    conv(FORWARD, "the bias is added once per channel of x", "Add b[o] once, after the sum over channels.",
         lambda c: c.biased(c.y(), c.CG)),
    conv(FORWARD, "the bias is added once per tap of the kernel", "Add b[o] once, after the sum over taps.",
         lambda c: c.biased(c.y(), np.prod(c.windows.kernel))),
    conv(FORWARD, "the bias is added once per product", "Add b[o] once, after all sums.",
         lambda c: c.biased(c.y(), np.prod(c.w.shape[1:]))),
    conv(FORWARD, "the bias is subtracted", "Add it.", lambda c: c.biased(c.y(), -1)),
    conv(FORWARD, "the stride is ignored: windows one pixel apart", STRIDE,
         lambda c: c.biased(c.y(windows=c.but(stride=(1, 1))))),
    conv(FORWARD, "the strides of rows and columns are exchanged", STRIDE,
         lambda c: c.biased(c.y(windows=c.but(stride=c.windows.stride[::-1])))),
    conv(FORWARD, "the dilation is ignored", DILATION, lambda c: c.biased(c.y(windows=c.but(dilation=(1, 1))))),
    conv(FORWARD, "the padding is ignored: windows start at the image's corner", "Window (0, 0) starts at -padding.",
         lambda c: c.biased(c.y(windows=c.but(padding=(0, 0))))),
    conv(FORWARD, "the padding is ignored: the output is too small", "Put `padding` zeros on every side first.",
         lambda c: c.biased(c.y(windows=unpadded(c.windows)))),
    conv(FORWARD, "all padding lies at the top and left", "Half of it belongs at the bottom and right.",
         lambda c: c.biased(c.y(windows=c.but(padding=tuple(2 * p for p in c.windows.padding))))),
    conv(FORWARD, "the padding repeats the border pixels", "Pad with zeros.", lambda c: c.biased(edge_padded(c))),
    conv(FORWARD, "only the last channel of x counts: = instead of +=", "y[o] is a sum over channels.",
         lambda c: c.biased(c.y(w=c.w * (np.arange(c.CG) == c.CG - 1)[:, None, None]))),
    conv(FORWARD, "only the first channel of x counts", "y[o] is a sum over channels.",
         lambda c: c.biased(c.y(w=c.w * (np.arange(c.CG) == 0)[:, None, None]))),
    conv(FORWARD, "only the last tap of the kernel counts: = instead of +=", "y is a sum over taps.",
         lambda c: c.biased(c.y(w=last_tap(c.w)))),
    conv(FORWARD, "only the last channel's last tap counts: = instead of +=", "y is a sum over channels and taps.",
         lambda c: c.biased(c.y(w=last_tap(c.w) * (np.arange(c.CG) == c.CG - 1)[:, None, None]))),
    conv(FORWARD, "a mean over channels instead of a sum", "y[o] is a sum over channels.",
         lambda c: c.biased(c.y() / c.CG)),
    conv(FORWARD, "a mean over the window instead of a sum", "y is a sum over taps.",
         lambda c: c.biased(c.y() / np.prod(c.windows.kernel))),
    conv(FORWARD, "the groups are mixed up: channel c treated as one of group c % G", GROUP,
         lambda c: c.biased(c.y(x=gathered(c.x, 1, c.G)))),
    conv(FORWARD, "every image gets the first one's output", "x[n], not x[0].",
         lambda c: c.biased(np.repeat(c.y()[:1], c.N, axis=0))),
    conv(FORWARD, "only the first image is computed", "Let the loop run over all N images.",
         lambda c: only_image(c.biased(c.y()), 0)),
]  # fmt: skip


def only_last_window(gy: np.ndarray, images: bool) -> np.ndarray:
    """gy with zeros everywhere but at the last pixel (of the last image, or of every image)."""
    last = np.zeros_like(gy)
    n = -1 if images else slice(None)
    last[n, :, -1, -1] = gy[n, :, -1, -1]
    return last


def only_image(y: np.ndarray, n: int) -> np.ndarray:
    wrong = np.zeros_like(y)
    wrong[n] = y[n]
    return wrong


def last_tap(w: np.ndarray) -> np.ndarray:
    wrong = np.zeros_like(w)
    wrong[:, :, -1, -1] = w[:, :, -1, -1]
    return wrong


def unpadded(windows: Windows) -> Windows:
    """As many windows as fit without padding."""
    axes = zip(windows.size, windows.kernel, windows.stride, (0, 0), windows.dilation, strict=True)
    return replace(windows, padding=(0, 0), output=tuple(max(0, conv_output_size(*axis)) for axis in axes))


def edge_padded(c: Conv) -> np.ndarray:
    PH, PW = c.windows.padding
    x = np.pad(c.x, ((0, 0), (0, 0), (PH, PH), (PW, PW)), mode="edge")
    return c.y(x=x, windows=c.padded())


# --- 1x1 convolution --------------------------------------------------------------------------------------

OF_WINDOWS = ("stride", "dilation", "padding", "padded", "groups", "tap", "window", "turned", "rows and columns")

# a window of one pixel: what remains is everything about channels, filters, images and the bias
CONV1X1 = [
    replace(mistake, op="conv1x1")
    for mistake in CONV2D
    if mistake.which != FORWARD and not any(word in mistake.name for word in OF_WINDOWS)
]

# --- transposed convolution -------------------------------------------------------------------------------


class Transposed:
    """One transposed convolution. It stamps, so the windows lie on y, and its gx is the gathering."""

    def __init__(self, call: Call) -> None:
        self.x, self.w = call.inputs[:2]
        self.b = call.inputs[2] if len(call.inputs) > 2 else None
        self.gy, self.G = call.gy, call.settings.get("groups", 1)
        self.N, self.C, H, W = self.x.shape
        _, self.OCG, *kernel = self.w.shape
        self.OC = self.OCG * self.G
        defaults = (("stride", 1), ("padding", 0), ("output_padding", 0), ("dilation", 1))
        stride, padding, self.extra, dilation = (pair(call.settings.get(k, n), k) for k, n in defaults)
        axes = zip((H, W), kernel, stride, padding, self.extra, dilation, strict=True)
        size = tuple(conv_transpose_output_size(*axis) for axis in axes)
        self.windows = Windows(size, tuple(kernel), stride, padding, dilation, (H, W))

    def stamps(self, x: Any = None, w: Any = None) -> np.ndarray:
        """(N, OC, KH, KW, H, W): the kernels, each times its pixel."""
        G, x, w = self.G, self.x if x is None else x, self.w if w is None else w
        x = x.reshape(self.N, G, self.C // G, *x.shape[2:])
        stamps = np.einsum("ngcyx,gcoij->ngoijyx", x, w.reshape(G, self.C // G, *w.shape[1:]))
        return stamps.reshape(self.N, -1, *stamps.shape[3:])

    def y(self, x: Any = None, w: Any = None, windows: Windows | None = None) -> np.ndarray:
        return (windows or self.windows).scatter(self.stamps(x, w))

    def biased(self, y: np.ndarray, bias: float = 1.0) -> np.ndarray:
        return y if self.b is None else y + bias * self.b[:, None, None]

    def gcols(self, gy: Any = None, windows: Windows | None = None) -> np.ndarray:
        """(N, G, OC/G, KH, KW, H, W): for each pixel of x, the gradients under its stamp."""
        gcols = (windows or self.windows).gather(self.gy if gy is None else gy)
        return gcols.reshape(self.N, self.G, self.OCG, *gcols.shape[2:])

    def gx(self, w: Any = None, gy: Any = None, windows: Windows | None = None) -> np.ndarray:
        w = self.w if w is None else w
        w = w.reshape(self.G, self.C // self.G, *w.shape[1:])
        gx = np.einsum("gcoij,ngoijyx->ngcyx", w, self.gcols(gy, windows))
        return gx.reshape(self.x.shape)

    def gw(self, x: Any = None, gy: Any = None, windows: Windows | None = None) -> np.ndarray:
        x = (self.x if x is None else x).reshape(self.N, self.G, self.C // self.G, *self.x.shape[2:])
        return np.einsum("ngcyx,ngoijyx->gcoij", x, self.gcols(gy, windows)).reshape(self.w.shape)

    def but(self, **changes: Any) -> Windows:
        return replace(self.windows, **changes)

    def whole(self) -> Windows:
        """The windows on a y whose padding has not been taken away yet."""
        (OH, OW), (PH, PW) = self.windows.size, self.windows.padding
        return self.but(size=(OH + 2 * PH, OW + 2 * PW), padding=(0, 0))


def up(which: str, name: str, remedy: str, wrong: Callable[[Transposed], Any]) -> Mistake:
    return Mistake("conv_transpose2d", which, name, remedy, lambda call: wrong(Transposed(call)))


def output_corner(c: Transposed, top: int, left: int) -> np.ndarray:
    OH, OW = c.windows.size
    return c.whole().scatter(c.stamps())[:, :, top : top + OH, left : left + OW]


ASIS = "The stamp of x[h, w] is w as it is, so gx[h, w] = Σ w · gy under the stamp, a convolution without turning."
STAMPS = "Stamps lie `stride` apart: x[h, w] meets gy[h·stride + i·d - p, w·stride + j·d - p]."
OVERLAP = "Stamps overlap, and overlaps add: use +=."
CROPPED = "Padding takes p rows and columns away from every side of y."

CONV_TRANSPOSE2D = [
    *scales("conv_transpose2d", "x", "gx"),
    *one_image("conv_transpose2d", "x", "gx"),
    up("x", "gx uses the kernel turned by 180°", ASIS, lambda c: c.gx(turned(c.w))),
    up("x", "gx uses the kernel with rows and columns exchanged", ASIS, lambda c: c.gx(square(c.w))),
    up("x", "gx uses the kernel with its channel axes exchanged", "w is (C, OC, KH, KW): input channels first.",
       lambda c: c.gx(c.w.swapaxes(0, 1)) if c.C == c.OC and c.G == 1 else None),
    up("x", "gx ignores the stride", STAMPS, lambda c: c.gx(windows=c.but(stride=(1, 1)))),
    up("x", "gx exchanges the strides of rows and columns", STAMPS,
       lambda c: c.gx(windows=c.but(stride=c.windows.stride[::-1]))),
    up("x", "gx ignores the padding", "Pad gy with zeros by `padding` first.",
       lambda c: c.gx(windows=c.but(padding=(0, 0)))),
    up("x", "gx ignores the dilation", STAMPS, lambda c: c.gx(windows=c.but(dilation=(1, 1)))),
    up("x", "gx sees one output channel only: = instead of +=", "gx[c] = Σ_o w[c, o] … gy[o].",
       lambda c: c.gx(gy=c.gy * (np.arange(c.OC) == c.OC - 1)[:, None, None])),
    up("x", "gx mixes up the groups: channel c treated as one of group c % G", GROUP,
       lambda c: interleaved(c.gx(), 1, c.G)),
    *scales("conv_transpose2d", "weight", "gw"),
    up("weight", "gw of the last image only: = instead of += in the loop over images", SUM,
       lambda c: c.gw(gy=only_image(c.gy, -1))),
    up("weight", "gw of the first image only", SUM, lambda c: c.gw(gy=only_image(c.gy, 0))),
    up("weight", "gw of the last pixel of x only: = instead of += in the loops", SUM,
       lambda c: c.gw(x=only_last_window(c.x, images=True))),
    up("weight", "gw of the last pixel of every image only: = instead of += in the loops over pixels", SUM,
       lambda c: c.gw(x=only_last_window(c.x, images=False))),
    up("weight", "gw averaged over the pixels of x", SUM, lambda c: c.gw() / (c.x.shape[2] * c.x.shape[3])),
    up("weight", "gw averaged over images and the pixels of x", SUM, lambda c: c.gw() / (c.x.size / c.C)),
    up("weight", "gw turned by 180°", "gw[i, j] belongs to w[i, j]: no kernel is turned here.",
       lambda c: turned(c.gw())),
    up("weight", "gw with rows and columns exchanged", "gw[c, o, i, j]: i counts rows, j columns.",
       lambda c: square(c.gw())),
    up("weight", "gw with input and output channels exchanged, as in conv2d's weight", "w is (C, OC, KH, KW).",
       lambda c: c.gw().swapaxes(0, 1) if c.C == c.OCG else None),
    up("weight", "gw ignores the stride", STAMPS, lambda c: c.gw(windows=c.but(stride=(1, 1)))),
    up("weight", "gw exchanges the strides of rows and columns", STAMPS,
       lambda c: c.gw(windows=c.but(stride=c.windows.stride[::-1]))),
    up("weight", "gw ignores the padding", STAMPS, lambda c: c.gw(windows=c.but(padding=(0, 0)))),
    up("weight", "gw ignores the dilation", STAMPS, lambda c: c.gw(windows=c.but(dilation=(1, 1)))),
    up("weight", "gw mixes up the groups: channel c treated as one of group c % G", GROUP,
       lambda c: c.gw(x=gathered(c.x, 1, c.G))),
    *on_bias("conv_transpose2d"),
    # forward
    up(FORWARD, "stamps written with = instead of +=, stamp by stamp", OVERLAP,
       lambda c: c.biased(c.windows.overwrite(c.stamps()))),
    up(FORWARD, "stamps written with = instead of +=, tap by tap", OVERLAP,
       lambda c: c.biased(c.windows.overwrite(c.stamps(), by_tap=True))),
    up(FORWARD, "stamps written with = instead of +=, so that the last channel's remain", OVERLAP,
       lambda c: c.biased(c.windows.overwrite(c.stamps(w=c.w * last_of(c.C)[:, None, None, None])))),
    up(FORWARD, "the kernel is turned by 180°", "A stamp is the kernel as it is.",
       lambda c: c.biased(c.y(w=turned(c.w)))),
    up(FORWARD, "the kernel's rows and columns are exchanged", "w[c, o, i, j]: i counts rows, j columns.",
       lambda c: c.biased(c.y(w=square(c.w)))),
    up(FORWARD, "the weight is read as conv2d's, output channels first", "w is (C, OC, KH, KW): input channels first.",
       lambda c: c.biased(c.y(w=c.w.swapaxes(0, 1))) if c.C == c.OCG else None),
    up(FORWARD, "the stride is ignored: stamps one pixel apart", "The stamp of x[h, w] starts at h·stride, w·stride.",
       lambda c: c.biased(c.y(windows=c.but(stride=(1, 1))))),
    up(FORWARD, "the strides of rows and columns are exchanged", "stride = (rows, columns).",
       lambda c: c.biased(c.y(windows=c.but(stride=c.windows.stride[::-1])))),
    up(FORWARD, "the dilation is ignored", DILATION, lambda c: c.biased(c.y(windows=c.but(dilation=(1, 1))))),
    up(FORWARD, "the padding is cut from the bottom and right only", CROPPED,
       lambda c: c.biased(output_corner(c, 0, 0))),
    up(FORWARD, "the padding is cut from the top and left only", CROPPED,
       lambda c: c.biased(output_corner(c, 2 * c.windows.padding[0], 2 * c.windows.padding[1]))),
    up(FORWARD, "the padding is not cut: the output is too large", CROPPED, lambda c: c.biased(c.y(windows=c.whole()))),
    up(FORWARD, "the output padding lies at the top and left", "It adds rows at the bottom and columns at the right.",
       lambda c: c.biased(c.y(windows=c.but(padding=tuple(np.add(c.windows.padding, c.extra)))))),
    up(FORWARD, "the bias is left out", "Add b[o] to every pixel of channel o.", lambda c: c.y()),
    up(FORWARD, "the bias is added with every stamp", "Add b[o] once, after all stamps.",
       lambda c: c.y() if c.b is None else c.windows.scatter(c.stamps() + c.b[:, None, None, None, None])),
    up(FORWARD, "overlapping stamps are averaged", OVERLAP,
       lambda c: c.biased(averaged(c.windows, c.stamps()))),
    up(FORWARD, "the groups are mixed up: channel c treated as one of group c % G", GROUP,
       lambda c: c.biased(c.y(x=gathered(c.x, 1, c.G)))),
]  # fmt: skip


def averaged(windows: Windows, numbers: np.ndarray) -> np.ndarray:
    """Scattered, and divided by how many numbers fell onto each pixel."""
    return windows.scatter(numbers) / np.maximum(1, windows.scatter(np.ones_like(numbers)))


def last_of(n: int) -> np.ndarray:
    """0 … 0 1"""
    return np.arange(n) == n - 1


# --- im2col and col2im ------------------------------------------------------------------------------------


class Columns:
    """im2col or col2im, by the windows' numbers before they are laid out as columns."""

    def __init__(self, call: Call) -> None:
        kernel, stride, padding, dilation = window_of(call.settings)
        self.image = call.inputs[0]
        self.N, self.C, H, W = self.shape = tuple(call.settings.get("shape", self.image.shape))
        axes = zip((H, W), kernel, stride, padding, dilation, strict=True)
        output = tuple(conv_output_size(*axis) for axis in axes)
        self.windows = Windows((H, W), kernel, stride, padding, dilation, output)

    def cut(self, windows: Windows | None = None, image: Any = None) -> np.ndarray:
        """(C, KH, KW, N, OH, OW)"""
        return (windows or self.windows).gather(self.image if image is None else image).transpose(1, 2, 3, 0, 4, 5)

    def laid_out(self, windows: np.ndarray) -> np.ndarray:
        """The first three axes as rows, the other three as columns."""
        return windows.reshape(np.prod(windows.shape[:3]), -1)

    def read(self, order: str) -> np.ndarray:
        """The columns of col2im taken to lie in `order`, → (N, C, KH, KW, OH, OW)."""
        (KH, KW), (OH, OW) = self.windows.kernel, self.windows.output
        sizes = {"c": self.C, "i": KH, "j": KW, "n": self.N, "y": OH, "x": OW}
        return np.einsum(f"{order}->ncijyx", self.image.reshape([sizes[letter] for letter in order]))

    def but(self, **changes: Any) -> Windows:
        return replace(self.windows, **changes)


def column(op: str, name: str, remedy: str, wrong: Callable[[Columns], Any]) -> Mistake:
    return Mistake(op, FORWARD, name, remedy, lambda call: wrong(Columns(call)))


def corner(c: Columns, top: int, left: int) -> np.ndarray:
    (H, W), (PH, PW) = c.windows.size, c.windows.padding
    whole = c.but(size=(H + 2 * PH, W + 2 * PW), padding=(0, 0)).scatter(c.read("cijnyx"))
    return whole[:, :, top : top + H, left : left + W]


ROWS = "Rows are ordered C, KH, KW: the channel changes slowest."
PIXELS = "Columns are ordered N, OH, OW: the image changes slowest."

COLUMNS = [
    column("im2col", "the rows are ordered KH, KW, C instead of C, KH, KW", ROWS,
           lambda c: c.laid_out(c.cut().transpose(1, 2, 0, 3, 4, 5))),
    column("im2col", "the rows are ordered C, KW, KH instead of C, KH, KW", ROWS,
           lambda c: c.laid_out(c.cut().transpose(0, 2, 1, 3, 4, 5))),
    column("im2col", "the columns are ordered OH, OW, N instead of N, OH, OW", PIXELS,
           lambda c: c.laid_out(c.cut().transpose(0, 1, 2, 4, 5, 3))),
    column("im2col", "the columns are ordered N, OW, OH instead of N, OH, OW", PIXELS,
           lambda c: c.laid_out(c.cut().transpose(0, 1, 2, 3, 5, 4))),
    column("im2col", "the windows are rows: the result is transposed", "Every window is a column.",
           lambda c: c.laid_out(c.cut()).T),
    column("im2col", "reshaped without moving the axes first", "Transpose to (C, KH, KW, N, OH, OW), then reshape.",
           lambda c: c.cut().transpose(3, 0, 1, 2, 4, 5).reshape(np.prod(c.cut().shape[:3]), -1)),
    column("im2col", "the taps are in reverse order: a turned kernel", "Tap (0, 0) is the window's upper left pixel.",
           lambda c: c.laid_out(c.cut()[:, ::-1, ::-1])),
    column("im2col", "the stride is ignored: windows one pixel apart", STRIDE,
           lambda c: c.laid_out(c.cut(c.but(stride=(1, 1))))),
    column("im2col", "the strides of rows and columns are exchanged", STRIDE,
           lambda c: c.laid_out(c.cut(c.but(stride=c.windows.stride[::-1])))),
    column("im2col", "the padding is ignored: windows start at the image's corner", "Window (0, 0) starts at -padding.",
           lambda c: c.laid_out(c.cut(c.but(padding=(0, 0))))),
    column("im2col", "the padding is ignored: too few windows", "Put `padding` zeros on every side first.",
           lambda c: c.laid_out(c.cut(unpadded(c.windows)))),
    column("im2col", "all padding lies at the top and left", "Half of it belongs at the bottom and right.",
           lambda c: c.laid_out(c.cut(c.but(padding=tuple(2 * p for p in c.windows.padding))))),
    column("im2col", "the dilation is ignored", DILATION, lambda c: c.laid_out(c.cut(c.but(dilation=(1, 1))))),
    column("im2col", "every image gets the first one's windows", "x[n], not x[0].",
           lambda c: c.laid_out(c.cut(image=np.repeat(c.image[:1], c.N, axis=0)))),
    column("col2im", "written with = instead of +=, tap by tap", ADD,
           lambda c: c.windows.overwrite(c.read("cijnyx"), by_tap=True)),
    column("col2im", "written with = instead of +=, window by window", ADD,
           lambda c: c.windows.overwrite(c.read("cijnyx"))),
    column("col2im", "pixels in several windows are averaged", ADD,
           lambda c: averaged(c.windows, c.read("cijnyx"))),
    column("col2im", "the upper left corner of the padded image is kept: the padding is cut at the wrong side", PAD,
           lambda c: corner(c, 0, 0)),
    column("col2im", "the lower right corner of the padded image is kept", PAD,
           lambda c: corner(c, 2 * c.windows.padding[0], 2 * c.windows.padding[1])),
    column("col2im", "the stride is ignored", STRIDE, lambda c: c.but(stride=(1, 1)).scatter(c.read("cijnyx"))),
    column("col2im", "the strides of rows and columns are exchanged", STRIDE,
           lambda c: c.but(stride=c.windows.stride[::-1]).scatter(c.read("cijnyx"))),
    column("col2im", "the dilation is ignored", DILATION, lambda c: c.but(dilation=(1, 1)).scatter(c.read("cijnyx"))),
    column("col2im", "the rows are read as KH, KW, C instead of C, KH, KW", ROWS,
           lambda c: c.windows.scatter(c.read("ijcnyx"))),
    column("col2im", "the rows are read as C, KW, KH instead of C, KH, KW", ROWS,
           lambda c: c.windows.scatter(c.read("cjinyx"))),
    column("col2im", "the columns are read as OH, OW, N instead of N, OH, OW", PIXELS,
           lambda c: c.windows.scatter(c.read("cijyxn"))),
    column("col2im", "the columns are read as N, OW, OH instead of N, OH, OW", PIXELS,
           lambda c: c.windows.scatter(c.read("cijnxy"))),
    column("col2im", "the taps are read in reverse order: a turned kernel",
           "Tap (0, 0) is the window's upper left pixel.",
           lambda c: c.windows.scatter(c.read("cijnyx")[:, :, ::-1, ::-1])),
    column("col2im", "reshaped without moving the axes",
           "The columns are (C, KH, KW, N, OH, OW), not (N, C, KH, KW, …).",
           lambda c: c.windows.scatter(c.read("ncijyx"))),
]  # fmt: skip

MISTAKES = [*CONV2D, *CONV1X1, *CONV_TRANSPOSE2D, *COLUMNS]
