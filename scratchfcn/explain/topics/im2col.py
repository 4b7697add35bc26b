"""im2col: a convolution as one matrix product; and col2im, which takes the columns apart again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...ops.conv import Conv2d, output_size
from ...ops.im2col import col2im, im2col
from .. import drawing, patterns
from ..page import Choice, Code, Page, Setting, filled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EQUATIONS = [
    "OH·OW = {OH}·{OW} = {T} windows, each a column of C·K·K = {C}·{K}·{K} = {R} numbers",
    "y (1, {T}) = w (1, {R}) @ cols ({R}, {T})",
    "cols holds {R}·{T} = {copies} numbers, the image {C}·{H}·{W} = {pixels}: {times} times the memory",
]


def page(
    size: tuple[int, int] = (5, 5),
    channels: int = 1,
    kernel: int = 3,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
) -> Page:
    """size is (rows, columns) of the image."""
    settings = [
        Choice("what", "show", "im2col", {"im2col": "im2col: forward", "col2im": "col2im: backward"}),
        Setting("channels", "channels C", channels, 1, 3),
        Setting("height", "height H", size[0], 1, 8),
        Setting("width", "width W", size[1], 1, 8),
        Setting("kernel", "kernel K", kernel, 1, 4),
        Setting("stride", "stride s", stride, 1, 4),
        Setting("padding", "padding p", padding, 0, 2),
        Setting("dilation", "dilation d", dilation, 1, 3),
    ]
    H, W = size
    x, w = patterns.image(H, W, channels), patterns.kernel(kernel, channels)
    pairs = (kernel, kernel), (stride, stride), (padding, padding), (dilation, dilation)
    OH, OW = output = output_size("im2col", size, *pairs)
    cols = im2col(x, *pairs, output)  # (C*K*K, OH*OW)
    y = Conv2d(stride, padding, dilation).forward(x, w).reshape(1, -1)  # (1, OH*OW)
    gy = patterns.gradient(OH, OW)
    gcols = w.reshape(1, -1).T @ gy.reshape(1, -1)  # (C*K*K, OH*OW)
    gx = col2im(gcols, x.shape, *pairs, output)  # (1, C, H, W)
    R, T = cols.shape
    numbers = {
        "C": channels, "H": H, "W": W, "K": kernel, "OH": OH, "OW": OW, "R": R, "T": T,
        "copies": R * T, "pixels": channels * H * W, "times": R * T / (channels * H * W),
    }  # fmt: skip
    step = OH // 2 * OW + OW // 2  # the picture shows the window in the middle
    oh, ow = divmod(step, OW)

    def draw(figure: Figure) -> None:
        left, right = figure.subplots(1, 2, width_ratios=(max(4, W + 2 * padding), max(6, T)))
        taps = [(i, j) for i in range(kernel) for j in range(kernel)]
        window = [(oh * stride + i * dilation - padding, ow * stride + j * dilation - padding) for i, j in taps]
        drawing.grid(left, drawing.padded(x[0, 0], padding), "input x" + ", channel 0" * (channels > 1),
                     first=(-padding, -padding), size=size, read=window)  # fmt: skip
        drawing.grid(
            right, cols, f"cols, {R}×{T}: column {step} is the marked window", written=[(r, step) for r in range(R)]
        )
        drawing.caption(figure, "im2col: every window becomes a column", [filled(e, numbers) for e in EQUATIONS])

    return Page(
        topic="im2col",
        title="im2col: every window becomes a column",
        summary="Copy each window that the kernel visits into a column of a matrix. Then a convolution is one matrix "
        "product, which is what computers are fastest at.",
        equations=EQUATIONS,
        numbers=numbers,
        settings=settings,
        data={"cols": cols, "y": y, "gx": gx[0]},
        draw=draw,
        code=[
            Code("ops/im2col.py", "im2col and col2im, below each other: one copies, the other adds."),
            Code("ops/conv.py", "Conv2d: the matrix product, and its two gradients.", "conv2d"),
        ],
        description=f"A {H}x{W} image and its {R}x{T} matrix of columns; window {step} and its column are marked.",
    )
