"""Pooling: the gradient must go to the winner of each window, or in equal shares to all of it.

max:      gx[winner of window (y, x)] += gy[y, x]
average:  gx[each of the window]      += gy[y, x] / area
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from ..ops.adaptive import output_pair
from ..ops.im2col import pair, pool_output_size
from .common import on_images
from .mistake import FORWARD, Call, Mistake
from .windows import Windows


class Pool:
    """One pooling, with the numbers of every window in `seen` (N, C, KH, KW, OH, OW)."""

    def __init__(self, call: Call) -> None:
        self.x, self.gy = call.inputs[0], call.gy
        settings = call.settings
        kernel = pair(settings.get("kernel_size", settings.get("kernel")), "kernel_size")
        stride = settings.get("stride")
        stride = kernel if stride is None else pair(stride, "stride")
        padding, dilation = pair(settings.get("padding", 0), "padding"), pair(settings.get("dilation", 1), "dilation")
        size, self.ceil = self.x.shape[2:], settings.get("ceil_mode", False)
        axes = list(zip(size, kernel, stride, padding, dilation, strict=True))
        output = tuple(pool_output_size(*axis, self.ceil) for axis in axes)
        self.other_output = tuple(pool_output_size(*axis, not self.ceil) for axis in axes)
        self.windows = Windows(size, kernel, stride, padding, dilation, output)
        self.seen = self.windows.gather(self.x, beyond=-np.inf)
        self.largest = self.seen.max(axis=(2, 3), keepdims=True) == self.seen  # all winners, ties included
        self.largest &= np.isfinite(self.seen)

    def winner(self, last: bool = False) -> np.ndarray:
        """One winner per window, the first in reading order (or the last), as a mask like `seen`."""
        N, C, KH, KW, OH, OW = self.largest.shape
        taps = self.largest.reshape(N, C, KH * KW, OH, OW)
        taps = taps[:, :, ::-1] if last else taps
        first = taps & (taps.cumsum(axis=2) == 1)
        return (first[:, :, ::-1] if last else first).reshape(self.largest.shape)

    def shares(self, winners: Any) -> np.ndarray:
        """gy for every window, times a mask (or shares) like `seen`."""
        return np.ones(self.seen.shape) * winners * self.gy[:, :, None, None]

    def route(self, winners: Any, windows: Windows | None = None) -> np.ndarray:
        return (windows or self.windows).scatter(self.shares(winners))

    def but(self, **changes: Any) -> Windows:
        return replace(self.windows, **changes)

    def area(self) -> np.ndarray:
        """(OH, OW): the pixels of each window, padding included, as average pooling counts them."""
        counts = []
        for axis in (0, 1):
            w = self.windows
            first = np.arange(w.output[axis]) * w.stride[axis]
            counts.append(np.minimum(first + w.kernel[axis], w.size[axis] + 2 * w.padding[axis]) - first)
        return np.outer(*counts)

    def sums(self, windows: Windows | None = None) -> np.ndarray:
        return (windows or self.windows).gather(self.x).sum(axis=(2, 3))

    def maxima(self, windows: Windows | None = None, beyond: float = -np.inf) -> np.ndarray:
        return (windows or self.windows).gather(self.x, beyond).max(axis=(2, 3))

    def corner(self, winners: Any, cut: Callable[[tuple[int, int]], tuple[int, int]]) -> np.ndarray | None:
        """gx of the padded image, cut out at another corner than (PH, PW)."""
        (H, W), (PH, PW) = self.windows.size, self.windows.padding
        padded = self.but(size=(H + 2 * PH, W + 2 * PW), padding=(0, 0)).scatter(self.shares(winners))
        top, left = cut((PH, PW))
        return padded[:, :, top : top + H, left : left + W]


def pool(op: str, which: str, name: str, remedy: str, wrong: Callable[[Pool], Any]) -> Mistake:
    return Mistake(op, which, name, remedy, lambda call: wrong(Pool(call)))


def zero_wins(p: Pool) -> np.ndarray:
    """The first winner of each window when the padding counts as 0; what the padding wins is lost."""
    seen = p.windows.gather(p.x, beyond=0.0)
    N, C, KH, KW, OH, OW = seen.shape
    taps = seen.reshape(N, C, KH * KW, OH, OW)
    winner = np.arange(KH * KW)[:, None, None] == taps.argmax(axis=2)[:, :, None]
    return winner.reshape(seen.shape) & np.isfinite(p.seen)


def winner_with_i_and_j_exchanged(p: Pool) -> np.ndarray | None:
    KH, KW = p.windows.kernel
    return p.route(p.winner().swapaxes(2, 3)) if KH == KW else None


def one_tap(p: Pool, i: int, j: int) -> np.ndarray:
    mask = np.zeros(p.seen.shape)
    mask[:, :, i, j] = 1
    return mask


ROUTE = "Only the pixel that won its window made a difference to y: it gets gy, the others 0."
FIRST = "Of equal maxima take the first in reading order (as np.argmax does)."
ADD = "A pixel may win several windows: add with +=."
SCATTER = "Window (y, x) starts at row y·stride - padding, column x·stride - padding."
FRAME = "gx of the padded image has a frame of `padding` on every side: keep [P : P + H, P : P + W]."

MAX_POOL2D = [
    *on_images("max_pool2d"),
    pool("max_pool2d", "x", "every pixel of a window gets its gy, the winner or not", ROUTE, lambda p: p.route(1)),
    pool("max_pool2d", "x", "gy shared out evenly in the window, as in average pooling", ROUTE,
         lambda p: p.route(1 / np.prod(p.windows.kernel))),
    pool("max_pool2d", "x", "tied maxima all get the whole gy", FIRST, lambda p: p.route(p.largest)),
    pool("max_pool2d", "x", "tied maxima share gy equally", FIRST,
         lambda p: p.route(p.largest / p.largest.sum(axis=(2, 3), keepdims=True))),
    pool("max_pool2d", "x", "of tied maxima the last gets gy", FIRST, lambda p: p.route(p.winner(last=True))),
    pool("max_pool2d", "x", "the smallest of the window gets gy", "It is the largest that went into y.",
         lambda p: upside_down(p).route(upside_down(p).winner())),
    pool("max_pool2d", "x", "the window's upper left pixel gets gy", ROUTE, lambda p: p.route(one_tap(p, 0, 0))),
    pool("max_pool2d", "x", "the window's lower right pixel gets gy", ROUTE, lambda p: p.route(one_tap(p, -1, -1))),
    pool("max_pool2d", "x", "gx written with = instead of +=: of two windows with the same winner only one counts", ADD,
         lambda p: overwrite_winners(p)),
    pool("max_pool2d", "x", "whole windows written with = instead of +=: zeros overwrite what other windows gave", ADD,
         lambda p: p.windows.overwrite(p.shares(p.winner()))),
    pool("max_pool2d", "x", "slices written with = instead of +=, tap by tap: zeros overwrite what was there", ADD,
         lambda p: p.windows.overwrite(p.shares(p.winner()), by_tap=True)),
    pool("max_pool2d", "x", "the winner's row and column within the window are exchanged",
         "argmax k of a KH x KW window lies at row k // KW, column k % KW.", winner_with_i_and_j_exchanged),
    pool("max_pool2d", "x", "the padding counts as 0 and wins over negative numbers", "Pad with -inf.",
         lambda p: p.route(zero_wins(p))),
    pool("max_pool2d", "x", "gx ignores the stride", SCATTER, lambda p: p.route(p.winner(), p.but(stride=(1, 1)))),
    pool("max_pool2d", "x", "gx takes the kernel size for the stride", SCATTER,
         lambda p: p.route(p.winner(), p.but(stride=p.windows.kernel))),
    pool("max_pool2d", "x", "gx ignores the dilation", "Tap (i, j) lies at i·dilation, j·dilation.",
         lambda p: p.route(p.winner(), p.but(dilation=(1, 1)))),
    pool("max_pool2d", "x", "the padding is cut at the wrong side: the upper left corner is kept", FRAME,
         lambda p: p.corner(p.winner(), lambda pad: (0, 0))),
    pool("max_pool2d", "x", "the padding is cut twice at the top left", FRAME,
         lambda p: p.corner(p.winner(), lambda pad: (2 * pad[0], 2 * pad[1]))),
    pool("max_pool2d", "x", "gy multiplied by the maximum", "The slope of y by its winner is 1, not its value.",
         lambda p: p.route(p.winner() * p.maxima()[:, :, None, None])),
    # forward
    pool("max_pool2d", FORWARD, "padding of 0 wins over negative numbers", "Pad with -inf.",
         lambda p: p.maxima(beyond=0.0)),
    pool("max_pool2d", FORWARD, "the mean instead of the maximum", "Take .max over the window.",
         lambda p: p.sums() / np.prod(p.windows.kernel)),
    pool("max_pool2d", FORWARD, "the minimum instead of the maximum", "Take .max over the window.",
         lambda p: p.windows.gather(p.x, np.inf).min(axis=(2, 3))),
    pool("max_pool2d", FORWARD, "the sum instead of the maximum", "Take .max over the window.", lambda p: p.sums()),
    pool("max_pool2d", FORWARD, "the largest absolute value instead of the largest", "Compare with sign.",
         lambda p: np.abs(p.windows.gather(p.x)).max(axis=(2, 3))),
    pool("max_pool2d", FORWARD, "the maximum starts at 0: negative windows give 0", "Start from -inf.",
         lambda p: np.maximum(p.maxima(), 0)),
    pool("max_pool2d", FORWARD, "the stride is ignored: windows one pixel apart", SCATTER,
         lambda p: p.maxima(p.but(stride=(1, 1)))),
    pool("max_pool2d", FORWARD, "the kernel size is taken for the stride", SCATTER,
         lambda p: p.maxima(p.but(stride=p.windows.kernel))),
    pool("max_pool2d", FORWARD, "the strides of rows and columns are exchanged", "stride = (rows, columns).",
         lambda p: p.maxima(p.but(stride=p.windows.stride[::-1]))),
    pool("max_pool2d", FORWARD, "the dilation is ignored", "Tap (i, j) lies at i·dilation, j·dilation.",
         lambda p: p.maxima(p.but(dilation=(1, 1)))),
    pool("max_pool2d", FORWARD, "the padding is ignored", SCATTER, lambda p: p.maxima(p.but(padding=(0, 0)))),
    pool("max_pool2d", FORWARD, "all padding lies at the top and left", "Half of it belongs at the bottom and right.",
         lambda p: p.maxima(p.but(padding=tuple(2 * n for n in p.windows.padding)))),
    pool("max_pool2d", FORWARD, "the output size is rounded the wrong way: ceil_mode on for off, or off for on",
         "ceil_mode=False rounds down.", lambda p: p.maxima(p.but(output=p.other_output))),
]  # fmt: skip


def upside_down(p: Pool) -> Pool:
    """The same pooling of -x, in which the smallest wins."""
    w = p.windows
    settings = {"kernel_size": w.kernel, "stride": w.stride, "padding": w.padding, "dilation": w.dilation}
    return Pool(Call("max_pool2d", [-p.x], settings | {"ceil_mode": p.ceil}, p.gy))


def overwrite_winners(p: Pool) -> np.ndarray:
    """gx[winner] = gy, pixel by pixel: only the winners are written."""
    gx, winner = np.zeros_like(p.x), p.winner()
    for y, x, i, j, row, column in p.windows.places():
        n, c = np.nonzero(winner[:, :, i, j, y, x])
        gx[n, c, row, column] = p.gy[n, c, y, x]
    return gx


EACH = "Every pixel of a window gets gy / area."

AVG_POOL2D = [
    *on_images("avg_pool2d"),
    pool("avg_pool2d", "x", "gy is not divided by the area of the window", EACH, lambda p: p.route(1)),
    pool("avg_pool2d", "x", "gy divided by the rows of the window only", EACH,
         lambda p: p.route(1 / p.windows.kernel[0])),
    pool("avg_pool2d", "x", "gy divided by the area twice", EACH, lambda p: p.route(1 / p.area() ** 2)),
    pool("avg_pool2d", "x", "gy divided by the pixels of the image under the window: padding is not counted",
         "Padding counts, as in forward (and in torch).", lambda p: p.route(1 / np.maximum(1, real_area(p)))),
    pool("avg_pool2d", "x", "gy divided by KH·KW where the window hangs over the edge",
         "Divide by what forward divided by.",
         lambda p: p.route(1 / np.prod(p.windows.kernel))),
    pool("avg_pool2d", "x", "gx written with = instead of +=, window by window", ADD,
         lambda p: p.windows.overwrite(p.shares(1 / p.area()))),
    pool("avg_pool2d", "x", "gx written with = instead of +=, tap by tap", ADD,
         lambda p: p.windows.overwrite(p.shares(1 / p.area()), by_tap=True)),
    pool("avg_pool2d", "x", "gy tiled instead of repeated: neighbouring pixels get neighbouring windows",
         "np.repeat gives every number to its own window, np.tile lays whole copies side by side.",
         lambda p: tiled(p)),
    pool("avg_pool2d", "x", "the window's upper left pixel gets the whole gy", EACH,
         lambda p: p.route(one_tap(p, 0, 0))),
    pool("avg_pool2d", "x", "the largest of the window gets gy, as in max pooling", EACH,
         lambda p: p.route(p.winner())),
    pool("avg_pool2d", "x", "gx ignores the stride", SCATTER, lambda p: p.route(1 / p.area(), p.but(stride=(1, 1)))),
    pool("avg_pool2d", "x", "gx takes the kernel size for the stride", SCATTER,
         lambda p: p.route(1 / p.area(), p.but(stride=p.windows.kernel))),
    pool("avg_pool2d", "x", "the padding is cut at the wrong side: the upper left corner is kept", FRAME,
         lambda p: p.corner(1 / p.area(), lambda pad: (0, 0))),
    pool("avg_pool2d", FORWARD, "the sum instead of the mean", "Divide by the area of the window.", lambda p: p.sums()),
    pool("avg_pool2d", FORWARD, "padding is not counted in the area", "Padding counts as zeros, as in torch.",
         lambda p: p.sums() / np.maximum(1, real_area(p))),
    pool("avg_pool2d", FORWARD, "the stride is ignored: windows one pixel apart", SCATTER,
         lambda p: p.sums(p.but(stride=(1, 1))) / p.area()),
]  # fmt: skip


def tiled(p: Pool) -> np.ndarray | None:
    """Only of windows that neither overlap nor leave gaps, without padding."""
    w = p.windows
    if w.kernel != w.stride or w.padding != (0, 0) or p.ceil:
        return None
    gx, (KH, KW), (OH, OW) = np.zeros_like(p.x), w.kernel, w.output
    gx[:, :, : KH * OH, : KW * OW] = np.tile(p.gy / (KH * KW), (KH, KW))
    return gx


def real_area(p: Pool) -> np.ndarray:
    """(OH, OW): how many pixels of the image each window holds."""
    return np.isfinite(p.seen[0, 0]).sum(axis=(0, 1))


# --- one window, or windows that share the image out -------------------------------------------------------


def spread(name: str, remedy: str, wrong: Callable[[Any, Any], Any]) -> Mistake:
    """Of global average pooling: wrong(x, gy), with gy (N, C, 1, 1)."""
    return Mistake("global_avg_pool2d", "x", name, remedy, lambda call: wrong(call.inputs[0], call.gy))


def at_pixel(x: np.ndarray, gy: np.ndarray, row: int, column: int) -> np.ndarray:
    gx = np.zeros_like(x)
    gx[:, :, row, column] = gy[:, :, 0, 0]
    return gx


PIXEL = "Every pixel is one of H·W in the mean of its channel: gx = gy / (H·W)."

GLOBAL_AVG_POOL2D = [
    *on_images("global_avg_pool2d"),
    spread("gy is not divided by H·W", PIXEL, lambda x, gy: np.broadcast_to(gy, x.shape)),
    spread("gy divided by H only", PIXEL, lambda x, gy: np.broadcast_to(gy / x.shape[2], x.shape)),
    spread("gy divided by W only", PIXEL, lambda x, gy: np.broadcast_to(gy / x.shape[3], x.shape)),
    spread("gy divided by H·W twice", PIXEL,
           lambda x, gy: np.broadcast_to(gy / (x.shape[2] * x.shape[3]) ** 2, x.shape)),
    spread("gy divided by C·H·W", PIXEL, lambda x, gy: np.broadcast_to(gy / x[0].size, x.shape)),
    spread("the first pixel gets gy, the others 0", PIXEL, lambda x, gy: at_pixel(x, gy, 0, 0)),
    spread("the last pixel gets gy, the others 0", PIXEL, lambda x, gy: at_pixel(x, gy, -1, -1)),
    spread("gy multiplied by x", "The mean is linear: its slope does not depend on x.",
           lambda x, gy: gy * x / (x.shape[2] * x.shape[3])),
]  # fmt: skip


class Adaptive:
    """Window o of an axis covers pixels first[o] … end[o] - 1."""

    def __init__(self, call: Call) -> None:
        self.x, self.gy, (H, W) = call.inputs[0], call.gy, call.inputs[0].shape[2:]
        OH, OW = output_pair(call.op, call.settings["output_size"])
        self.output = (H if OH is None else OH, W if OW is None else OW)
        self.bounds = [
            [(o * n // out, -(-(o + 1) * n // out)) for o in range(out)]
            for n, out in zip((H, W), self.output, strict=True)
        ]

    def route(self, area: Callable[[int, int], float], short: bool = False, add: bool = True) -> np.ndarray:
        """gx, gy divided by area(rows, columns) of its window; short: windows end where the next one begins."""
        gx, (H, W), (OH, OW) = np.zeros_like(self.x), self.x.shape[2:], self.output
        for y, (top, bottom) in enumerate(self.bounds[0]):
            for x, (left, right) in enumerate(self.bounds[1]):
                if short:
                    bottom, right = max(top + 1, (y + 1) * H // OH), max(left + 1, (x + 1) * W // OW)
                share = self.gy[:, :, y, x] / area(bottom - top, right - left)
                if not add:
                    gx[:, :, top:bottom, left:right] = 0
                gx[:, :, top:bottom, left:right] += share[:, :, None, None]
        return gx


def adaptive(name: str, remedy: str, wrong: Callable[[Adaptive], Any]) -> Mistake:
    return Mistake("adaptive_avg_pool2d", "x", name, remedy, lambda call: wrong(Adaptive(call)))


AREA = "Windows may differ in size: divide each by its own rows times its own columns."

ADAPTIVE_AVG_POOL2D = [
    *on_images("adaptive_avg_pool2d"),
    adaptive("gy is not divided by the area of the window", AREA, lambda p: p.route(lambda h, w: 1)),
    adaptive("every window taken to have the mean area H·W / (OH·OW)", AREA,
             lambda p: p.route(lambda h, w: np.prod(p.x.shape[2:]) / np.prod(p.output))),
    adaptive("every window taken to have the area of the first", AREA,
             lambda p: p.route(lambda h, w: np.prod([axis[0][1] - axis[0][0] for axis in p.bounds]))),
    adaptive("gy divided by the rows of its window only", AREA, lambda p: p.route(lambda h, w: h)),
    adaptive("gy divided by the columns of its window only", AREA, lambda p: p.route(lambda h, w: w)),
    adaptive("gx written with = instead of +=", "Neighbouring windows may share rows and columns: add with +=.",
             lambda p: p.route(lambda h, w: h * w, add=False)),
    adaptive("windows end where the next one begins", "Window o ends before ⌈(o + 1)·H/OH⌉, rounded up.",
             lambda p: p.route(lambda h, w: h * w, short=True)),
]  # fmt: skip

MISTAKES = [*MAX_POOL2D, *AVG_POOL2D, *GLOBAL_AVG_POOL2D, *ADAPTIVE_AVG_POOL2D]
