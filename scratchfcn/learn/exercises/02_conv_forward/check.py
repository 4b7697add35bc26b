"""Against numbers worked out on paper, then against the library for every kind of geometry."""

from typing import Any

import numpy as np

from scratchfcn import ops
from scratchfcn.learn import Trial, forward_mistakes
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
    known = forward_mistakes("conv2d", [x, w, b], {"stride": stride, "padding": padding})
    by = "by hand"
    if y is None:
        y, by = ops.Conv2d(stride, padding).forward(x, w, b), "library"
    t.expect("conv2d", case, {"y": y}, by=by, known=known)
