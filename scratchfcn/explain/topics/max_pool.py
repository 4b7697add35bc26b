"""Max pooling: the largest number of every window goes forward, and its gradient goes back to where it came from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...ops.pool import MaxPool2d
from .. import drawing, patterns
from ..page import Choice, Code, Page, Setting, filled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EQUATIONS = [
    "OH = {open}(H + 2·p − K) / s{close} + 1 = {open}({H} + 2·{p} − {K}) / {s}{close} + 1 = {OH}{note}",
    "OW = {open}(W + 2·p − K) / s{close} + 1 = {open}({W} + 2·{p} − {K}) / {s}{close} + 1 = {OW}{note}",
    "Σ gx = Σ gy = {total}: every gradient arrives at exactly one pixel of x",
]


def page(
    size: tuple[int, int] = (6, 6), kernel: int = 2, stride: int = 2, padding: int = 0, ceil_mode: bool = False
) -> Page:
    """One channel: size is (rows, columns) of the image. ceil_mode rounds the output size up."""
    rounding = {"floor": "down", "ceil": "up, as Caffe"}
    settings = [
        Setting("height", "height H", size[0], 1, 12),
        Setting("width", "width W", size[1], 1, 12),
        Setting("kernel", "window K", kernel, 1, 5),
        Setting("stride", "stride s", stride, 1, 5),
        Setting("padding", "padding p", padding, 0, 2),
        Choice("rounding", "round the size", "ceil" if ceil_mode else "floor", rounding),
    ]
    H, W = size
    x = patterns.image(H, W)
    pool = MaxPool2d(kernel, stride, padding, ceil_mode=ceil_mode)
    y = pool.forward(x)  # (1, 1, OH, OW)
    OH, OW = y.shape[2:]
    gy = patterns.gradient(OH, OW)
    gx = pool.backward(gy)  # (1, 1, H, W)
    numbers = {
        "H": H, "W": W, "K": kernel, "s": stride, "p": padding, "OH": OH, "OW": OW, "total": gy.sum(),
        "open": "⌈" if ceil_mode else "⌊", "close": "⌉" if ceil_mode else "⌋",
        "note": " (a window that starts behind the image does not count)" if ceil_mode else "",
    }  # fmt: skip

    def draw(figure: Figure) -> None:
        winners = [(int(r), int(c)) for r, c in zip(*gx[0, 0].nonzero(), strict=True)]
        axes = figure.subplots(1, 4, width_ratios=(W, OW, OW, W))
        drawing.grid(axes[0], x[0, 0], "input x, winners marked", read=winners)
        drawing.grid(axes[1], y[0, 0], "output y", written=[(r, c) for r in range(OH) for c in range(OW)])
        drawing.grid(axes[2], gy[0, 0], "gradient gy, given")
        drawing.grid(axes[3], gx[0, 0], "gradient gx", back=winners)
        drawing.caption(figure, "Max pooling: the winner gets the gradient", [filled(e, numbers) for e in EQUATIONS])

    return Page(
        topic="max-pool",
        title="Max pooling: the winner gets the gradient",
        summary="Forward, the largest number of every window is kept. Backward, the gradient goes to the pixel that "
        "was the largest, and to no other: only it made a difference.",
        equations=EQUATIONS,
        numbers=numbers,
        settings=settings,
        data={"y": y[0, 0], "gx": gx[0, 0]},
        draw=draw,
        code=[
            Code("ops/pool.py", "MaxPool2d: backward finds the winner again, instead of remembering it.", "max_pool2d"),
            Code("naive.py", "max_pool2d as loops."),
        ],
        description=f"A {H}x{W} image pooled to {OH}x{OW}, and the gradient on its way back: the winners are marked.",
    )
