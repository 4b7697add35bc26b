"""Numbers, ties and overlaps on paper; the slopes measured; then all shapes. Backward gets the right winners."""

from typing import Any

import numpy as np

from scratchfcn import ops
from scratchfcn.learn import Trial, finite_differences, first_of, forward_mistakes, gradient_mistakes, one_of
from scratchfcn.learn.draws import pool_case

X = np.array([[[[1, 5, 2, 0], [3, 4, 8, 6], [-9, -2, -5, -7], [-3, -4, -6, -8]]]], np.float32)
TIES = np.array([[[[0, 2, 2], [2, 1, 2]]]], np.float32)


def check(t: Trial) -> None:
    with t.stage("max_pool: one small image, worked out by hand"):
        forward(t, {"x": X, "kernel": 2, "stride": 2}, [[[[5, 8], [-2, -5]]]], [[[[1, 2], [1, 0]]]])
    with t.stage("max_pool: of equals, the first wins"):
        forward(t, {"x": TIES, "kernel": 2, "stride": 1}, [[[[2, 2]]]], [[[[1, 0]]]])
    with t.stage("max_pool: random shapes"):
        for rng in t.draws(25):
            forward(t, pool_case(rng))

    with t.stage("max_pool_backward: one small image, worked out by hand"):
        gy = np.array([[[[1, 2], [3, 4]]]], np.float32)
        winner = np.array([[[[1, 2], [1, 0]]]])
        gx = [[[[0, 1, 0, 0], [0, 0, 2, 0], [0, 3, 4, 0], [0, 0, 0, 0]]]]
        backward(t, gy, X, {"winner": winner, "kernel": 2, "stride": 2}, gx)
    with t.stage("max_pool_backward: one pixel wins four windows"):
        x = np.array([[[[1, 2, 3], [4, 9, 5], [6, 7, 8]]]], np.float32)
        winner = np.array([[[[3, 2], [1, 0]]]])
        backward(t, gy, x, {"winner": winner, "kernel": 2, "stride": 1}, [[[[0, 0, 0], [0, 10, 0], [0, 0, 0]]]])
    with t.stage("max_pool_backward: against finite differences"):
        for shape, kernel, stride in (((2, 2, 5, 4), 2, 2), ((2, 1, 5, 6), 3, 1), ((1, 2, 6, 5), 2, 3)):
            x = t.rng.permutation(np.prod(shape)).reshape(shape) * 0.1  # no ties: there the maximum has no slope
            y, winner = pooled(x, kernel, stride)
            gy = t.upstream(y.shape)
            (gx,) = finite_differences(ops.MaxPool2d(kernel, stride).forward, [x], gy)
            case = {"winner": winner, "kernel": kernel, "stride": stride}
            backward(t, gy, x, case, gx, by="finite difference")
    with t.stage("max_pool_backward: random shapes"):
        for rng in t.draws(25):
            x, kernel, stride = pool_case(rng).values()
            pool = ops.MaxPool2d(kernel, stride)
            gy = rng.standard_normal(pool.forward(x).shape)
            case = {"winner": pooled(x, kernel, stride)[1], "kernel": kernel, "stride": stride}
            backward(t, gy, x, case, pool.backward(gy), by="library")


def forward(t: Trial, case: dict[str, Any], y: list | None = None, winner: list | None = None) -> None:
    """The right answers are `y` and `winner`, or what a loop over the windows says."""
    x, kernel, stride = case.values()
    expected = dict(zip(("y", "winner"), pooled(x, kernel, stride), strict=True))
    if y is not None:
        expected = {"y": y, "winner": np.array(winner)}
    right = expected["winner"]
    N, C, H, W = x.shape
    _, last = pooled(x, kernel, stride, of_equals="last")
    oh, ow = np.indices(right.shape[2:])
    row, column = oh * stride + right // kernel, ow * stride + right % kernel
    known = first_of(
        one_of(
            {
                "of equals, the last wins; it has to be the first": {"winner": last},
                "winner is counted along the columns of the window, j·kernel + i; it has to be i·kernel + j": {
                    "winner": right % kernel * kernel + right // kernel
                },
                "winner is the place in the whole image; it has to be the place in its window": {
                    "winner": row * W + column
                },
            }
        ),
        forward_mistakes("max_pool2d", [x], {"kernel_size": kernel, "stride": stride}),
    )
    t.expect("max_pool", case, expected, by="loops" if y is None else "by hand", known=known)


def backward(t: Trial, gy: np.ndarray, x: np.ndarray, case: dict[str, Any], gx: Any, by: str = "by hand") -> None:
    winner, kernel, stride = case.values()
    inputs = {"gy": gy, "winner": winner, "shape": x.shape, "kernel": kernel, "stride": stride}
    known = gradient_mistakes("max_pool2d", [x], {"kernel_size": kernel, "stride": stride}, gy, {"gx": 0})
    t.expect("max_pool_backward", inputs, {"gx": gx}, by=by, known=known)


def pooled(x: np.ndarray, kernel: int, stride: int, of_equals: str = "first") -> tuple[np.ndarray, np.ndarray]:
    """y and winner, window by window."""
    OH, OW = ((size - kernel) // stride + 1 for size in x.shape[2:])
    y, winner = np.zeros((*x.shape[:2], OH, OW), x.dtype), np.zeros((*x.shape[:2], OH, OW), np.int64)
    for n, c, oh, ow in np.ndindex(y.shape):
        window = x[n, c, oh * stride : oh * stride + kernel, ow * stride : ow * stride + kernel].ravel()
        y[n, c, oh, ow] = window.max()
        winner[n, c, oh, ow] = window.argmax() if of_equals == "first" else kernel**2 - 1 - window[::-1].argmax()
    return y, winner
