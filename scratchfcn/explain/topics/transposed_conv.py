"""A transposed convolution, stamp by stamp: how a coarse map becomes a fine one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...ops.conv import ConvTranspose2d
from ...ops.im2col import conv_output_size
from .. import drawing, patterns
from ..page import Code, Page, Setting, filled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EQUATIONS = [
    "OH = (H − 1)·s − 2·p + d·(K − 1) + 1 + e = ({H} − 1)·{s} − 2·{p} + {d}·({K} − 1) + 1 + {e} = {OH}",
    "OW = (W − 1)·s − 2·p + d·(K − 1) + 1 + e = ({W} − 1)·{s} − 2·{p} + {d}·({K} − 1) + 1 + {e} = {OW}",
    "and a convolution with these settings makes {OH}×{OW} into {back_h}×{back_w} again: "
    "⌊({OH} + 2·{p} − {span}) / {s}⌋ + 1 = {back_h}",
]


def page(
    size: tuple[int, int] = (3, 3),
    kernel: int = 3,
    stride: int = 2,
    padding: int = 0,
    output_padding: int = 0,
    dilation: int = 1,
) -> Page:
    """One channel, one kernel: size is (rows, columns) of the map that is upsampled."""
    settings = [
        Setting("height", "height H", size[0], 1, 6),
        Setting("width", "width W", size[1], 1, 6),
        Setting("kernel", "kernel K", kernel, 1, 6),
        Setting("stride", "stride s", stride, 1, 4),
        Setting("padding", "padding p", padding, 0, 3),
        Setting("output_padding", "extra rows e", output_padding, 0, 3),
        Setting("dilation", "dilation d", dilation, 1, 3),
    ]
    H, W = size
    x, w = patterns.image(H, W), patterns.kernel(kernel)
    y = ConvTranspose2d(stride, padding, output_padding, dilation=dilation).forward(x, w)[0, 0]  # (OH, OW)
    OH, OW = y.shape
    numbers = {
        "H": H, "W": W, "K": kernel, "s": stride, "p": padding, "d": dilation, "e": output_padding,
        "span": dilation * (kernel - 1) + 1, "OH": OH, "OW": OW,
        "back_h": conv_output_size(OH, kernel, stride, padding, dilation),
        "back_w": conv_output_size(OW, kernel, stride, padding, dilation),
    }  # fmt: skip
    row, column = H // 2, W // 2  # the picture shows the stamp of the pixel in the middle

    def draw(figure: Figure) -> None:
        left, middle, right = figure.subplots(1, 3, width_ratios=(W, kernel, OW))
        taps = [(i, j) for i in range(kernel) for j in range(kernel)]
        stamp = [(row * stride + i * dilation - padding, column * stride + j * dilation - padding) for i, j in taps]
        drawing.grid(left, x[0, 0], "input x", read=[(row, column)])
        drawing.grid(middle, w[0, 0], "kernel w", read=taps)
        drawing.grid(right, y, "output y: the sum of all stamps", written=stamp)
        drawing.caption(
            figure, "A transposed convolution: every pixel stamps the kernel", [filled(e, numbers) for e in EQUATIONS]
        )

    return Page(
        topic="transposed-conv",
        title="A transposed convolution: every pixel stamps the kernel",
        summary="Each input pixel lays the kernel, times its value, onto the output. The stamps lie a stride apart; "
        "where they overlap, they add.",
        equations=EQUATIONS,
        numbers=numbers,
        settings=settings,
        data={"y": y},
        draw=draw,
        code=[
            Code("naive.py", "conv_transpose2d as loops, to be read beside conv2d: x and y have changed sides."),
            Code("ops/conv.py", "Conv2d and ConvTranspose2d: the same lines, exchanged.", "conv_transpose2d"),
            Code("ops/subpixel.py", "the same sums in another order, several times faster."),
        ],
        description=f"A {H}x{W} map upsampled to {OH}x{OW} by a {kernel}x{kernel} kernel; the stamp of pixel "
        f"({row}, {column}) is marked.",
    )
