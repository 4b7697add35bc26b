"""The bilinear kernel: with these weights a transposed convolution draws straight lines between the pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ...nn.init import tent
from ...ops.conv import ConvTranspose2d
from ...ops.resize import ResizeBilinear
from .. import drawing, patterns
from ..page import Code, Page, Setting, filled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EQUATIONS = [
    "K = 2·f − f mod 2 = 2·{f} − {odd} = {K}",
    "c = (K − 1)/2 = ({K} − 1)/2 = {c}",
    "w[i] = 1 − |i − c| / f = 1 − |i − {c}| / {f}: {weights}",
    "p = (K − f)/2 = ({K} − {f})/2 = {p}, so (n − 1)·f − 2·p + K = ({n} − 1)·{f} − 2·{p} + {K} = {out} = n·f pixels",
]


def page(factor: int = 2, size: tuple[int, int] | None = None) -> Page:
    """factor: of the upsampling. size: (rows, columns) of the map; its columns are the pixels of the line shown."""
    n = 5 if size is None else size[1]
    settings = [Setting("factor", "factor f", factor, 2, 8), Setting("pixels", "pixels n", n, 2, 8)]
    K = 2 * factor - factor % 2
    p = (K - factor) // 2
    w = tent(K)  # (K,)
    x = patterns.image(1, n)  # (1, 1, 1, n)
    upsample = ConvTranspose2d((1, factor), (0, p))
    y = upsample.forward(x, w[None, None, None])[0, 0, 0]  # (n*f,)
    resized = ResizeBilinear((1, n * factor)).forward(x)[0, 0, 0]  # (n*f,)
    unit = factor if factor % 2 else 2 * factor  # the weights are whole multiples of 1/unit
    numbers = {
        "f": factor, "odd": factor % 2, "K": K, "c": (K - 1) / 2, "p": p, "n": n, "out": n * factor,
        "weights": ", ".join(f"{round(v * unit)}/{unit}" for v in w),
    }  # fmt: skip

    def draw(figure: Figure) -> None:
        left, right = figure.subplots(1, 2, width_ratios=(2, 3))
        marked = [(i, j) for i in range(K) for j in range(K)]
        drawing.grid(left, np.outer(w, w) * unit**2, f"kernel w, in units of 1/{unit**2}", read=marked)
        draw_line(right, x[0, 0, 0], y, resized, factor)
        drawing.caption(figure, "The bilinear kernel: a tent on every pixel", [filled(e, numbers) for e in EQUATIONS])

    return Page(
        topic="bilinear",
        title="The bilinear kernel: a tent on every pixel",
        summary="A transposed convolution stamps its kernel onto every pixel. If the kernel is a tent that reaches "
        "from one neighbour to the other, the stamps add up to straight lines: bilinear interpolation.",
        equations=EQUATIONS,
        numbers=numbers,
        settings=settings,
        data={"w": w, "y": y, "resized": resized},
        draw=draw,
        code=[
            Code("nn/init.py", "tent and bilinear: the formula above, and where it goes in the weight."),
            Code("ops/resize.py", "resize_bilinear, which interpolates at the edge, too.", "resize_bilinear"),
            Code("ops/conv.py", "ConvTranspose2d, which does not know that it interpolates.", "conv_transpose2d"),
        ],
        description=f"The {K}x{K} bilinear kernel, and a line of {n} pixels upsampled by {factor} as a sum of tents.",
    )


def draw_line(axes: Any, x: Any, y: Any, resized: Any, factor: int) -> None:
    """The tents of all pixels, and their sum, against the position in the output."""
    centres = (np.arange(len(x)) + 0.5) * factor - 0.5  # of input pixels, in output pixels
    for centre, value in zip(centres, x, strict=True):
        axes.plot(
            [centre - factor, centre, centre + factor],
            [0, value, 0],
            color=drawing.WINDOW_EDGE,
            linewidth=1,
            linestyle="--",
        )
    places = np.arange(len(y))
    axes.plot(places, resized, "x", color=drawing.FAINT, markersize=8, label="resize_bilinear")
    axes.plot(places, y, "o", color=drawing.RESULT_EDGE, markersize=6, label="y: the tents added up")
    axes.plot(centres, x, "s", color=drawing.WINDOW_EDGE, markersize=7, label="x: the pixels, and their tents")
    axes.set(xlim=(-1, len(y)), xlabel="column of the output")
    axes.legend(frameon=False, fontsize=9, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3)
    axes.spines[["top", "right"]].set_visible(False)
