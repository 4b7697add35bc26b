"""Convolution in stripes: the sums of conv.py for images whose columns outgrow the processor's cache.

The columns of a 3x3 convolution are nine times as large as its input. As a whole they travel out to memory and back
before the matrix product sees them, which takes longer than the arithmetic, and for large images they do not even fit.
But a row of the output needs only the few input rows under its kernel. So: take a stripe of output rows, build its
columns, multiply them while they are still in the cache, and forget them; and let every core do so with a stripe of
its own. Whatever the size of the image, its columns take about `STRIPE` bytes a core (more where there are very many
channels), beside one copy of the image in its frame of padding.

Nothing of this is kept for backward but x itself: each stripe's columns are built again there, and all stripes' shares
of the weight's gradient add up.

A GPU takes larger stripes, of as many megabytes as SCRATCHFCN_WORKSPACE says, or 256. Less leaves more of its memory to
images and their gradients; the results stay the same within rounding, and repeat for the same number.
"""

import os
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from ..backend import array_module
from ..cuda import kernels
from ..parallel import matmul, share
from .im2col import Pair, all_windows, col2im
from .layout import blocks, channel_rows, from_channel_rows, padded_planes, zero_image

STRIPE = 1 << 20  # bytes of columns: about half of a core's second-level cache
GPU_STRIPE = 256 << 20  # a GPU is fed in large portions; SCRATCHFCN_WORKSPACE says how large
LANES = 16  # how many sums of gw are under way at once; fixed, so that rounding does not depend on the number of cores
LANE_BYTES = 1 << 27  # and how much memory they may take together; the gw of VGG16's fc6 alone takes more


class Stripe(NamedTuple):
    """Some output rows of one image, or some images as a whole."""

    images: slice
    rows: slice
    pixels: slice  # the same stretch, counted through all rows of all images


class Stripes:
    """The arithmetic of one convolution, arrays only. Settings are (rows, columns) pairs, as in im2col.py."""

    def __init__(self, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair, groups: int) -> None:
        self.kernel, self.stride, self.padding, self.dilation, self.groups = kernel, stride, padding, dilation, groups
        # the padding that turns the convolution round: what is missing to windows that only touch the image
        self.full_padding = tuple(d * (k - 1) - p for k, p, d in zip(kernel, padding, dilation, strict=True))

    def pay(self, x: Any, pixels: int) -> bool:
        """Whether stripes are worth their trouble: windows of several pixels, and columns that fill half a stripe. On a
        GPU with kernels always: a kernel builds columns in one go, and keeping them for backward would cost memory."""
        if kernels.fused(x):
            return self.kernel != (1, 1) and pixels > 0
        columns = x.shape[1] * self.kernel[0] * self.kernel[1] * pixels
        return self.kernel != (1, 1) and columns * x.itemsize > stripe_bytes(x) // 2

    def forward(self, x: Any, w: Any, b: Any, output: Pair) -> Any:
        """x (N, C, H, W), w (OC, C/G, KH, KW) → y (N, OC, OH, OW), stripe by stripe."""
        (OH, OW), G, N, OC = output, self.groups, x.shape[0], w.shape[0]
        windows = self.windows(x, self.stride, self.padding, output)
        w_rows = w.reshape(G, OC // G, -1)
        y = array_module(x).empty((OC, N * OH * OW), x.dtype)
        y_rows = y.reshape(G, OC // G, N * OH * OW)

        def stripe_of_y(stripe: Stripe) -> None:
            cols = self.columns(windows, stripe)  # (G, C/G*KH*KW, L)
            matmul(w_rows, cols, out=y_rows[:, :, stripe.pixels])
            if b is not None:
                y[:, stripe.pixels] += b[:, None]

        share(stripe_of_y, self.cut(x, (N, OH, OW), rows=w_rows.shape[2] * G, products=OC), x)
        return from_channel_rows(y, N, OH, OW)

    def backward(self, gy: Any, x: Any, w: Any, wanted: tuple[bool, bool]) -> tuple[Any, Any]:
        """gy (N, OC, OH, OW) → gx (N, C, H, W), gw (OC, C/G, KH, KW); None for what is not wanted."""
        depthwise = w.shape[1] == 1 < self.groups  # a kernel per channel: `scatter` would make a piece of every channel
        if wanted[0] and (self.stride == (1, 1) or depthwise) and min(self.full_padding) >= 0:
            return self.gather(gy, x, w, wanted[1])
        gw = self.weight_gradient(gy, x, w) if wanted[1] else None
        return self.scatter(gy, x, w) if wanted[0] else None, gw

    def gather(self, gy: Any, x: Any, w: Any, gw_wanted: bool) -> tuple[Any, Any]:
        """Both gradients, from one set of columns, those of gy, at stride 1.

        Pixel x[h, w] went into the outputs around it, through the kernel seen from the other end:
            gx[c, h, w] = Σ_o Σ_ij w[o, c, i, j] · gy[o, h + p - i·d, w + p - j·d],
        a convolution of gy with the kernel turned by 180°. The product of the same columns with x is gw. With a
        larger stride, the same holds for gy with zeros between its pixels, where windows were left out. That is s·s
        times the arithmetic, which costs next to nothing where every channel has a kernel of its own.
        """
        xp, (N, C, H, W), (OC, CG, KH, KW), G = array_module(x), x.shape, w.shape, self.groups
        if self.stride == (1, 1):
            windows = self.windows(gy, (1, 1), self.full_padding, (H, W))
        else:
            windows = self.windows(self.spread(gy, (H, W)), (1, 1), (0, 0), (H, W))
        turned = w[:, :, ::-1, ::-1].reshape(G, OC // G, CG, KH * KW)
        turned = turned.transpose(0, 2, 1, 3).reshape(G, CG, OC // G * KH * KW)  # a row per input channel
        turned = xp.ascontiguousarray(turned)  # BLAS does not read backwards
        gx = xp.empty((C, N * H * W), x.dtype)
        gx_rows, x_rows = gx.reshape(G, CG, -1), channel_rows(x).reshape(G, CG, -1)

        def stripe_of_gx(stripe: Stripe) -> Any:
            gcols = self.columns(windows, stripe)  # (G, OC/G*KH*KW, L)
            matmul(turned, gcols, out=gx_rows[:, :, stripe.pixels])
            return matmul(gcols, x_rows[:, :, stripe.pixels].swapaxes(1, 2)) if gw_wanted else None

        stripes = self.cut(x, (N, H, W), rows=OC * KH * KW, products=C)
        gw = sum_in_lanes(stripe_of_gx, stripes, w)  # (G, OC/G*KH*KW, CG), taps still turned
        if gw_wanted:
            gw = gw.reshape(OC, KH, KW, CG)[:, ::-1, ::-1].transpose(0, 3, 1, 2)  # (OC, CG, KH, KW)
        return from_channel_rows(gx, N, H, W), gw

    def spread(self, gy: Any, size: Pair) -> Any:
        """gy (N, OC, OH, OW) → framed image (N, OC, A, B), `stride` - 1 zeros between the pixels of gy, that has a
        window for each pixel of x, whose `size` is (H, W)."""
        N, OC, *output = gy.shape
        A, B = (n + d * (k - 1) for n, d, k in zip(size, self.dilation, self.kernel, strict=True))
        framed = zero_image(array_module(gy), (N, OC, A, B), gy.dtype)
        axes = zip(self.full_padding, output, self.stride, strict=True)
        rows, columns = (slice(p, p + (n - 1) * s + 1, s) for p, n, s in axes)
        image = framed[:, :, rows, columns]  # (N, OC, OH, OW)

        def fill(block: Any) -> None:
            image[block] = gy[block]

        share(fill, blocks(gy), gy)
        return framed

    def weight_gradient(self, gy: Any, x: Any, w: Any) -> Any:
        """gw = gy @ colsᵀ, computed as its own transpose: BLAS does that 1.4x faster."""
        (N, OC, OH, OW), G = gy.shape, self.groups
        windows = self.windows(x, self.stride, self.padding, (OH, OW))
        gy_rows = channel_rows(gy).reshape(G, OC // G, -1)

        def share_of_gw(stripe: Stripe) -> Any:
            cols = self.columns(windows, stripe)  # (G, C/G*KH*KW, L)
            return matmul(cols, gy_rows[:, :, stripe.pixels].swapaxes(1, 2))  # (G, C/G*KH*KW, OC/G)

        rows = w.size // OC * G
        gw = sum_in_lanes(share_of_gw, self.cut(x, (N, OH, OW), rows, products=OC), w)
        return gw.swapaxes(1, 2).reshape(w.shape)

    def scatter(self, gy: Any, x: Any, w: Any) -> Any:
        """gx = col2im(wᵀ @ gy), for strided windows. Neighbouring stripes of rows would add onto the same input rows;
        so the work is cut between images and between channels instead."""
        (N, C, H, W), (OC, CG, KH, KW), G = x.shape, w.shape, self.groups
        OH, OW = gy.shape[2:]
        gy_rows = channel_rows(gy).reshape(G, OC // G, -1)
        w_rows = w.reshape(G, OC // G, CG, KH * KW)
        gx = array_module(x).empty((C, N, H, W), x.dtype).transpose(1, 0, 2, 3)

        def piece_of_gx(piece: tuple[int, slice, slice]) -> None:
            g, images, channels = piece
            pixels = slice(images.start * OH * OW, images.stop * OH * OW)
            taps = w_rows[g, :, channels].reshape(OC // G, -1)  # (OC/G, CB*KH*KW) of this piece's CB channels
            gcols = matmul(taps.T, gy_rows[g, :, pixels])  # (CB*KH*KW, L)
            target = gx[images, g * CG + channels.start : g * CG + channels.stop]  # (n, CB, H, W)
            target[...] = col2im(gcols, target.shape, self.kernel, self.stride, self.padding, self.dilation, (OH, OW))

        share(piece_of_gx, self.pieces(x, (N, OH, OW), CG), x)
        return gx

    def pieces(self, x: Any, output: tuple[int, int, int], channels: int) -> list[tuple[int, slice, slice]]:
        """(group, images, channels of the group): what `scatter` does at a time, about a stripe's worth of columns."""
        N, OH, OW = output
        channel_bytes = self.kernel[0] * self.kernel[1] * OH * OW * x.itemsize  # the columns of one channel of an image
        fitting = max(4, stripe_bytes(x) // channel_bytes)
        at_once, images = min(fitting, channels), max(1, fitting // channels)
        return [
            (g, slice(n, min(n + images, N)), slice(c, min(c + at_once, channels)))
            for g in range(self.groups)
            for n in range(0, N, images)
            for c in range(0, channels, at_once)
        ]

    def windows(self, x: Any, stride: Pair, padding: Pair, output: Pair) -> Any:
        """A view of all windows of x, (C, KH, KW, N, OH, OW), of which a stripe takes its own."""
        if kernels.fused(x):  # on a GPU: what makes a stripe's columns of x itself
            return kernels.Windows(x, self.kernel, stride, padding, self.dilation, output)
        rows, columns = padding
        return all_windows(padded_planes(x, (rows, rows, columns, columns)), self.kernel, stride, self.dilation, output)

    def columns(self, windows: Any, stripe: Stripe) -> Any:
        """The columns of one stripe, (G, C/G*KH*KW, L); this is where they are copied."""
        if isinstance(windows, kernels.Windows):
            cols = windows.columns(stripe.images, stripe.rows)  # (C*KH*KW, L)
            return cols.reshape(self.groups, cols.shape[0] // self.groups, -1)
        C, KH, KW = windows.shape[:3]
        return windows[:, :, :, stripe.images, stripe.rows].reshape(self.groups, C // self.groups * KH * KW, -1)

    def cut(self, x: Any, size: tuple[int, int, int], rows: int, products: int) -> list[Stripe]:
        """Stripes over `size` (N, OH, OW), of columns with that many `rows`, met by `products` rows of weights."""
        N, OH, OW = size
        pixels = stripe_bytes(x) // (rows * x.itemsize)
        # The weights are read anew for every stripe. So that this costs less than building the columns, a stripe has at
        # least twice as many columns as there are rows of weights (up to a limit: fc6 of VGG16 has 4096).
        pixels = max(pixels, min(2 * products, 1024))
        if pixels >= OH * OW:
            images = equal_parts(N, -(-N // (pixels // (OH * OW))))
            return [whole_images(n, min(n + images, N), OH, OW) for n in range(0, N, images)]
        height = equal_parts(OH, -(-OH * OW // pixels))
        return [rows_of_image(n, h, min(h + height, OH), OH, OW) for n in range(N) for h in range(0, OH, height)]


def stripe_bytes(x: Any) -> int:
    """The size of a stripe's columns, where x is processed."""
    return STRIPE if isinstance(x, np.ndarray) else workspace_bytes() or GPU_STRIPE


@cache
def workspace_bytes() -> int | None:
    """What SCRATCHFCN_WORKSPACE asks for, in megabytes; None where it is not set."""
    asked = os.environ.get("SCRATCHFCN_WORKSPACE")
    if asked is None:
        return None
    try:
        megabytes = float(asked)
    except ValueError:
        megabytes = 0.0
    if not 0 < megabytes < float("inf"):
        raise ValueError(
            f"SCRATCHFCN_WORKSPACE is {asked!r}; it must be a positive number of megabytes, such as 256: how "
            "much of the GPU's memory the columns of a convolution may take at once"
        )
    return max(1, int(megabytes * (1 << 20)))


def equal_parts(length: int, parts: int) -> int:
    """The size of each of about that many parts; more than two are made a multiple of four, so that cores that share
    them finish together."""
    if parts > 2:
        parts = -(-parts // 4) * 4
    return -(-length // parts)


def whole_images(first: int, end: int, OH: int, OW: int) -> Stripe:
    """Images first … end - 1 as one stripe."""
    return Stripe(slice(first, end), slice(0, OH), slice(first * OH * OW, end * OH * OW))


def rows_of_image(n: int, first: int, end: int, OH: int, OW: int) -> Stripe:
    """Rows first … end - 1 of image n as one stripe."""
    return Stripe(slice(n, n + 1), slice(first, end), slice((n * OH + first) * OW, (n * OH + end) * OW))


def sum_in_lanes(work: Any, stripes: list[Stripe], w: Any) -> Any:
    """Σ work(stripe), arrays as large as w, on all cores: every lane adds up stripes of its own, in order, and in the
    end the lanes are added."""
    lanes = max(1, min(LANES, len(stripes), LANE_BYTES // max(1, w.nbytes)))
    sums: list[Any] = [None] * lanes

    def lane(i: int) -> None:
        for stripe in stripes[i::lanes]:
            term = work(stripe)
            if sums[i] is None:
                sums[i] = term
            else:
                sums[i] += term

    share(lane, range(lanes), w)
    total = sums[0]
    for other in sums[1:]:
        if other is not None:
            total += other
    return total
