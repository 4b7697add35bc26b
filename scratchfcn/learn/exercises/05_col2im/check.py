"""How often is each pixel looked at; the adjoint test, which needs no right answer to compare with; then all shapes."""

from typing import Any

import numpy as np

from scratchfcn.learn import Known, Trial, forward_mistakes
from scratchfcn.learn.draws import conv_case
from scratchfcn.ops.im2col import col2im, conv_output_size, im2col

COLS = np.array([[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12], [13, 14, 15, 16]], np.float32)


def check(t: Trial) -> None:
    case = {"shape": (1, 1, 3, 3), "kernel": (2, 2), "stride": 1, "padding": 0}
    with t.stage("ones: in how many windows does each pixel lie?"):
        expect(t, {"cols": np.ones((4, 4), np.float32), **case}, [[[[1, 2, 1], [2, 4, 2], [1, 2, 1]]]])
    with t.stage("numbered columns, worked out by hand"):
        expect(t, {"cols": COLS, **case}, [[[[1, 7, 6], [12, 34, 22], [11, 27, 16]]]])
        expect(t, {"cols": COLS, **case, "stride": 2, "padding": 1}, [[[[13, 10, 14], [7, 4, 8], [15, 12, 16]]]])
    with t.stage("the adjoint test: Σ im2col(x)·c = Σ x·col2im(c)"):
        for rng in t.draws(10):
            x, w, _, stride, padding = conv_case(rng).values()
            adjoint(t, x, w.shape[2:], stride, padding)
    with t.stage("random shapes"):
        for rng in t.draws(25):
            x, w, _, stride, padding = conv_case(rng).values()
            cols = rng.standard_normal(columns(x, w.shape[2:], stride, padding).shape)
            case = {"shape": x.shape, "kernel": w.shape[2:], "stride": stride, "padding": padding}
            expect(t, {"cols": cols, **case})


def adjoint(t: Trial, x: np.ndarray, kernel: tuple[int, int], stride: int, padding: int) -> None:
    cols = columns(x, kernel, stride, padding)
    c = t.upstream(cols.shape)
    inputs = {"cols": c, "shape": x.shape, "kernel": kernel, "stride": stride, "padding": padding}
    back = t.returned("col2im", inputs, {"x": x})["x"]
    there, here, scale = (cols * c).sum(), (x * back).sum(), np.abs(cols * c).sum()
    if not abs(there - here) <= 1e-9 * scale + 1e-12:
        text = (
            "the two sums differ, so this is not im2col's adjoint\n"
            f"      Σ im2col(x)·c  {there:.6g}     Σ x·col2im(c)  {here:.6g}"
        )
        t.fail(text, "col2im", inputs, mistakes(**inputs)("x", back))


def expect(t: Trial, case: dict[str, Any], x: list | None = None) -> None:
    """The right answer is `x`, or what the library says."""
    by = "library" if x is None else "by hand"
    t.expect("col2im", case, {"x": added(**case) if x is None else x}, by=by, known=mistakes(**case))


def mistakes(cols: np.ndarray, shape: tuple, kernel: tuple, stride: int, padding: int) -> Known:
    settings = {"kernel_size": kernel, "stride": stride, "padding": padding, "shape": shape}
    return forward_mistakes("col2im", [cols], settings)


def columns(x: np.ndarray, kernel: tuple[int, int], stride: int, padding: int) -> np.ndarray:
    """The library's im2col."""
    return im2col(x, kernel, (stride, stride), (padding, padding), (1, 1), output(x.shape, kernel, stride, padding))


def added(cols: np.ndarray, shape: tuple, kernel: tuple, stride: int, padding: int) -> np.ndarray:
    """The library's col2im."""
    size = output(shape, kernel, stride, padding)
    return col2im(cols, shape, kernel, (stride, stride), (padding, padding), (1, 1), size)


def output(shape: tuple, kernel: tuple, stride: int, padding: int) -> tuple[int, int]:
    OH, OW = (conv_output_size(n, k, stride, padding) for n, k in zip(shape[2:], kernel, strict=True))
    return OH, OW
