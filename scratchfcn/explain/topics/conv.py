"""A convolution, window by window: what stride, padding and dilation do to the places that are read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...ops.conv import Conv2d
from .. import drawing, patterns
from ..page import Code, Page, Setting, filled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EQUATIONS = [
    "span = d·(K − 1) + 1 = {d}·({K} − 1) + 1 = {span} rows and columns under the kernel",
    "OH = ⌊(H + 2·p − span) / s⌋ + 1 = ⌊({H} + 2·{p} − {span}) / {s}⌋ + 1 = {OH}",
    "OW = ⌊(W + 2·p − span) / s⌋ + 1 = ⌊({W} + 2·{p} − {span}) / {s}⌋ + 1 = {OW}",
]


def page(size: tuple[int, int] = (7, 7), kernel: int = 3, stride: int = 2, padding: int = 1, dilation: int = 1) -> Page:
    """One channel, one kernel: size is (rows, columns) of the image."""
    settings = [
        Setting("height", "height H", size[0], 1, 12),
        Setting("width", "width W", size[1], 1, 12),
        Setting("kernel", "kernel K", kernel, 1, 7),
        Setting("stride", "stride s", stride, 1, 6),
        Setting("padding", "padding p", padding, 0, 6),
        Setting("dilation", "dilation d", dilation, 1, 4),
    ]
    H, W = size
    x, w = patterns.image(H, W), patterns.kernel(kernel)
    y = Conv2d(stride, padding, dilation).forward(x, w)[0, 0]  # (OH, OW)
    OH, OW = y.shape
    numbers = {
        "H": H, "W": W, "K": kernel, "s": stride, "p": padding, "d": dilation,
        "span": dilation * (kernel - 1) + 1, "OH": OH, "OW": OW,
    }  # fmt: skip
    step = OH // 2 * OW + OW // 2  # the picture shows the window in the middle
    oh, ow = divmod(step, OW)

    def draw(figure: Figure) -> None:
        left, middle, right = figure.subplots(1, 3, width_ratios=(H + 2 * padding, kernel, max(OW, 2)))
        taps = [(i, j) for i in range(kernel) for j in range(kernel)]
        window = [(oh * stride + i * dilation - padding, ow * stride + j * dilation - padding) for i, j in taps]
        title = "input x, padded" if padding else "input x"
        corner = (-padding, -padding)
        drawing.grid(left, drawing.padded(x[0, 0], padding), title, first=corner, size=size, read=window)
        drawing.grid(middle, w[0, 0], "kernel w", read=taps)
        drawing.grid(right, y, "output y", written=[(oh, ow)])
        drawing.caption(figure, "A convolution: one window, one output pixel", [filled(e, numbers) for e in EQUATIONS])

    return Page(
        topic="conv",
        title="A convolution, window by window",
        summary="The kernel is laid on the image, multiplied with what lies under it, and summed: one output pixel. "
        "Then it moves on.",
        equations=EQUATIONS,
        numbers=numbers,
        settings=settings,
        data={"y": y},
        draw=draw,
        code=[
            Code(
                "naive.py", "conv2d as loops: the definition. Its line for row and col is the equation of the window."
            ),
            Code("ops/conv.py", "Conv2d, forward and backward on one screen, as a matrix product.", "conv2d"),
            Code("ops/im2col.py", "conv_output_size, the equation above."),
        ],
        description=f"A {H}x{W} image, a {kernel}x{kernel} kernel and the {OH}x{OW} output; output pixel "
        f"({oh}, {ow}) and its window are marked.",
    )
