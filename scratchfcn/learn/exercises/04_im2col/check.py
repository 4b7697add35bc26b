"""Every number of cols is a number of x or a 0: only places can be wrong."""

from typing import Any

import numpy as np

from scratchfcn.learn import Trial, forward_mistakes
from scratchfcn.learn.draws import conv_case
from scratchfcn.ops.im2col import conv_output_size, im2col

X = np.arange(1, 10, dtype=np.float32).reshape(1, 1, 3, 3)
COLS = [[1, 2, 4, 5], [2, 3, 5, 6], [4, 5, 7, 8], [5, 6, 8, 9]]
COLS_2 = [[0, 0, 0, 5], [0, 0, 4, 6], [0, 2, 0, 8], [1, 3, 7, 9]]  # stride 2, padding 1


def check(t: Trial) -> None:
    with t.stage("the example of the task"):
        expect(t, {"x": X, "kernel": (2, 2), "stride": 1, "padding": 0}, COLS)
    with t.stage("stride and padding, worked out by hand"):
        expect(t, {"x": X, "kernel": (1, 2), "stride": 2, "padding": 0}, [[1, 7], [2, 8]])
        expect(t, {"x": X, "kernel": (2, 2), "stride": 2, "padding": 1}, COLS_2)
    with t.stage("two channels, then two images: numbered by hand"):
        x = np.arange(1, 5, dtype=np.float32).reshape(1, 2, 1, 2)
        expect(t, {"x": x, "kernel": (1, 2), "stride": 1, "padding": 0}, [[1], [2], [3], [4]])
        expect(t, {"x": x.reshape(2, 1, 1, 2), "kernel": (1, 2), "stride": 1, "padding": 0}, [[1, 3], [2, 4]])
    with t.stage("random shapes"):
        for rng in t.draws(25):
            x, w, _, stride, padding = conv_case(rng).values()
            expect(t, {"x": x, "kernel": w.shape[2:], "stride": stride, "padding": padding})


def expect(t: Trial, case: dict[str, Any], cols: list | None = None) -> None:
    """The right answer is `cols`, or what the library says."""
    x, (KH, KW), stride, padding = case.values()
    _, _, H, W = x.shape
    OH, OW = conv_output_size(H, KH, stride, padding), conv_output_size(W, KW, stride, padding)
    right = im2col(x, (KH, KW), (stride, stride), (padding, padding), (1, 1), (OH, OW))
    known = forward_mistakes("im2col", [x], {"kernel_size": (KH, KW), "stride": stride, "padding": padding})
    by = "library" if cols is None else "by hand"
    t.expect("im2col", case, {"cols": right if cols is None else cols}, by=by, known=known)
