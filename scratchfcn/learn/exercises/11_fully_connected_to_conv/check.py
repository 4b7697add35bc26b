"""Weights that show where they came from; digits that show which pixel they met; then every crop, one by one."""

from typing import Any

import numpy as np

from scratchfcn import ops
from scratchfcn.learn import Trial, one_of

AXES = ("filter", "in-channel", "row", "col")
OTHER_ORDERS = [("KH", "KW", "C"), ("C", "KW", "KH"), ("KW", "KH", "C"), ("KH", "C", "KW"), ("KW", "C", "KH")]


def check(t: Trial) -> None:
    with t.stage("as_kernel: weights numbered 0, 1, 2 … along the row"):
        w = np.arange(24, dtype=np.float32).reshape(2, 12)
        kernel = [
            [[[0, 1, 2], [3, 4, 5]], [[6, 7, 8], [9, 10, 11]]],
            [[[12, 13, 14], [15, 16, 17]], [[18, 19, 20], [21, 22, 23]]],
        ]
        expect_kernel(t, {"w": w, "C": 2, "KH": 2, "KW": 3}, kernel, "by hand")
    with t.stage("as_kernel: other sizes"):
        for rng in t.draws(15):
            OUT, C, KH, KW = (int(n) for n in rng.integers(1, 5, 4))
            kernel = rng.standard_normal((OUT, C, KH, KW))
            expect_kernel(t, {"w": kernel.reshape(OUT, -1), "C": C, "KH": KH, "KW": KW}, kernel, "as it was")

    with t.stage("scores_everywhere: two crops, worked out by hand"):
        x = np.array([[[[1, 2, 3], [4, 5, 6]]]], np.float32)
        w, b = np.array([[1, 10, 100, 1000]], np.float32), np.array([0], np.float32)
        case = {"x": x, "w": w, "b": b, "KH": 2, "KW": 2}
        expect_scores(t, case, [[[[5421, 6532]]]], "by hand")  # the digits are the crop's pixels
        expect_scores(t, {**case, "b": np.array([20000], np.float32)}, [[[[25421, 26532]]]], "by hand")
    with t.stage("scores_everywhere: a map of just the classifier's size"):
        x, w, b = (t.rng.standard_normal(shape) for shape in ((2, 2, 2, 3), (4, 12), 4))
        y = (x.reshape(2, 12) @ w.T + b)[:, :, None, None]  # (N, OUT, 1, 1)
        expect_scores(t, {"x": x, "w": w, "b": b, "KH": 2, "KW": 3}, y, "w @ row + b")
    with t.stage("scores_everywhere: crop by crop, other sizes"):
        for rng in t.draws(20):
            case = random_case(rng)
            expect_scores(t, case, crop_by_crop(**case), "crop by crop")


def expect_kernel(t: Trial, case: dict[str, Any], kernel: Any, by: str) -> None:
    known = one_of(wrong_kernels(**case))
    t.expect("as_kernel", case, {"kernel": kernel}, by=by, known=known, axes={"kernel": AXES})


def expect_scores(t: Trial, case: dict[str, Any], y: Any, by: str) -> None:
    known = one_of(wrong_scores(**case))
    t.expect("scores_everywhere", case, {"y": y}, by=by, known=known)


def random_case(rng: np.random.Generator) -> dict[str, Any]:
    N, C, OUT, KH, KW = (int(n) for n in rng.integers(1, 4, 5))
    H, W = KH + int(rng.integers(0, 4)), KW + int(rng.integers(0, 4))
    x, w, b = (rng.standard_normal(shape) for shape in ((N, C, H, W), (OUT, C * KH * KW), OUT))
    return {"x": x, "w": w, "b": b, "KH": KH, "KW": KW}


def crop_by_crop(x: np.ndarray, w: np.ndarray, b: np.ndarray, KH: int, KW: int) -> np.ndarray:
    """The fully connected layer itself, for one crop after the other."""
    N, C, H, W = x.shape
    y = np.zeros((N, len(w), H - KH + 1, W - KW + 1), x.dtype)
    for u, v in np.ndindex(y.shape[2:]):
        y[:, :, u, v] = x[:, :, u : u + KH, v : v + KW].reshape(N, -1) @ w.T + b
    return y


# --- what the usual mistakes lead to ----------------------------------------------------------------------


def wrong_kernels(w: np.ndarray, C: int, KH: int, KW: int) -> dict[str, Any]:
    OUT, right = len(w), w.reshape(len(w), C, KH, KW)
    wrong = {
        "reshape in Fortran order: along the row columns change fastest, which is NumPy's own order, C": (
            w.reshape((OUT, C, KH, KW), order="F")
        ),
        "w is transposed before the reshape: its rows are the filters already": w.T.reshape(OUT, C, KH, KW),
        "the kernel is flipped: every weight keeps its place": right[..., ::-1, ::-1],
        "the row is read backwards": w[:, ::-1].reshape(OUT, C, KH, KW),
    }
    sizes = {"C": C, "KH": KH, "KW": KW}
    for order in OTHER_ORDERS:
        block = w.reshape(OUT, *(sizes[axis] for axis in order))
        named = ", ".join(order)
        sentence = f"the row is read as ({named}); it was lined up as (C, KH, KW), channel by channel"
        if order != ("KW", "KH", "C"):  # that is Fortran order
            wrong[sentence] = block.transpose(0, *(1 + order.index(axis) for axis in sizes))
        wrong[f"the kernel is left as (OUT, {named}); it has to be (OUT, C, KH, KW)"] = block
        moved = np.moveaxis(right, (1, 2, 3), [1 + order.index(axis) for axis in sizes])
        wrong[f"right, but with the axes (OUT, {named}); they have to be (OUT, C, KH, KW)"] = moved
    wrong["the filters come last: (C, KH, KW, OUT); they come first"] = np.moveaxis(right, 0, -1)
    wrong["filters and channels are exchanged: (OUT, C, KH, KW)"] = right.swapaxes(0, 1)
    return wrong


def wrong_scores(x: np.ndarray, w: np.ndarray, b: np.ndarray, KH: int, KW: int) -> dict[str, Any]:
    C, kernels = x.shape[1], wrong_kernels(w, x.shape[1], KH, KW)
    right = w.reshape(len(w), C, KH, KW)
    y = ops.Conv2d().forward(x, right, b)
    wrong = {
        "the bias is left out": y - b[:, None, None],
        "the bias is added twice": y + b[:, None, None],
        "the crops do not overlap: the window moves by one pixel": y[:, :, ::KH, ::KW],
        "the first crop's scores only: the window moves over the whole map": y[:, :, :1, :1],
        "the first crop's scores, everywhere": np.broadcast_to(y[:, :, :1, :1], y.shape),
        "the mean over the crops": y.mean(axis=(2, 3)),
        "with padding: only crops that lie inside the map count": (
            ops.Conv2d(1, (KH // 2, KW // 2)).forward(x, right, b)
        ),
        "the scores are the last axis; they are axis 1, (N, OUT, …)": y.transpose(0, 2, 3, 1),
    }
    for sentence, kernel in kernels.items():
        if kernel.shape == right.shape:
            wrong[sentence] = ops.Conv2d().forward(x, np.ascontiguousarray(kernel), b)
    return wrong
