"""Against numbers worked out on paper, then against the library for every kind of geometry."""

from typing import Any

import numpy as np

from scratchfcn import ops
from scratchfcn.learn import Trial, first_of, forward_mistakes, one_of
from scratchfcn.learn.draws import conv_case

X = np.array([[[[1, 2, 3], [4, 5, 6], [7, 8, 9]]]], np.float32)
W = np.array([[[[1, 2], [0, -1]]]], np.float32)
B = np.array([1], np.float32)


def check(t: Trial) -> None:
    with t.stage("one small image, worked out by hand"):
        # the first: 1·1 + 2·2 + 0·4 - 1·5 + bias 1
        expect(t, {"x": X, "w": W, "b": B, "stride": 1, "padding": 0}, [[[[1, 3], [7, 9]]]])
    with t.stage("padding and stride, worked out by hand"):
        y = [[[[0, -1, -2, 1], [-1, 1, 3, 4], [2, 7, 9, 7], [15, 24, 27, 10]]]]
        expect(t, {"x": X, "w": W, "b": B, "stride": 1, "padding": 1}, y)
        expect(t, {"x": X, "w": W, "b": B, "stride": 2, "padding": 1}, [[[[0, -2], [2, 9]]]])
    with t.stage("several images, channels and filters; rows and columns differ"):
        for stride, padding in ((1, 0), (2, 1)):
            x, w = t.rng.standard_normal((2, 3, 5, 6)), t.rng.standard_normal((4, 3, 3, 2))
            expect(t, {"x": x, "w": w, "b": t.rng.standard_normal(4), "stride": stride, "padding": padding})
    with t.stage("random shapes"):
        for rng in t.draws(25):
            expect(t, conv_case(rng))


def expect(t: Trial, case: dict[str, Any], y: list | None = None) -> None:
    """The right answer is `y`, or what the library says."""
    x, w, b, stride, padding = case.values()
    known = first_of(
        forward_mistakes("conv2d", [x, w, b], {"stride": stride, "padding": padding}),
        lambda name, got: one_of(wrong_outputs(**case))(name, got),
    )
    by = "by hand"
    if y is None:
        y, by = ops.Conv2d(stride, padding).forward(x, w, b), "library"
    t.expect("conv2d", case, {"y": y}, by=by, known=known)


def wrong_outputs(x: np.ndarray, w: np.ndarray, b: np.ndarray, stride: int, padding: int) -> dict[str, Any]:
    """What slips in where the formula is typed as plain loops."""
    P, (H, W) = padding, x.shape[2:]
    around = np.pad(x, ((0, 0), (0, 0), (P, P), (P, P)), mode="wrap")
    around[:, :, P + H :] = 0
    around[:, :, :, P + W :] = 0
    inner = x.copy()
    inner[:, :, 0], inner[:, :, :, 0] = 0, 0
    conv = ops.Conv2d(stride, padding).forward
    wrong = {
        "negative rows and columns are not left out; x[-1] is the last row, and here it has to be 0": (
            ops.Conv2d(stride, 0).forward(around, w, b)
        ),
        "row 0 and column 0 count as 0; they belong to the image: 0 <= row, not 0 < row": conv(inner, w, b),
        "only the first channel of x counts: add over c": conv(x[:, :1], w[:, :1], b),
        "only the last channel of x counts: add over c": conv(x[:, -1:], w[:, -1:], b),
        "the first filter for every output channel: w[o], not w[0]": conv(x, np.repeat(w[:1], len(w), axis=0), b),
        "the first bias for every output channel: b[o], not b[0]": conv(x, w, np.full_like(b, b[0])),
    }
    if P > 0:  # np.pad(x, P) puts whole images of zeros in front
        wrong["only the bias is there: if np.pad is told just `padding`, it pads the images and channels, too"] = (
            np.broadcast_to(b[:, None, None], conv(x, w, b).shape)
        )
    return wrong
