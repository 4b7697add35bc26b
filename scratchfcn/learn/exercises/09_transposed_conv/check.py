"""Stamps drawn on paper; then the convolution's own matrix, transposed; then slopes, and every kind of geometry."""

from typing import Any

import numpy as np

from scratchfcn import ops
from scratchfcn.learn import Trial, finite_differences, first_of, forward_mistakes, gradient_mistakes, one_of

MEASURED = [  # shape of x, shape of w, stride, padding
    ((2, 2, 2, 3), (2, 3, 3, 2), 2, 1),
    ((2, 2, 3, 2), (2, 2, 2, 3), 1, 0),
    ((1, 1, 2, 2), (1, 2, 1, 2), 3, 0),  # the stamps leave gaps
]


def check(t: Trial) -> None:
    with t.stage("conv_transpose2d: four stamps, worked out by hand"):
        x = np.array([[[[1, 2], [3, 4]]]], np.float32)
        w = np.array([[[[1, 2], [0, -1]]]], np.float32)
        expect_y(t, {"x": x, "w": w, "stride": 1, "padding": 0}, [[[[1, 4, 4], [3, 9, 6], [0, -3, -4]]]], "by hand")
    with t.stage("conv_transpose2d: stamps two apart, and one row and column cut off every side"):
        x = np.array([[[[1, 10], [100, 0]]]], np.float32)
        w = np.arange(1, 10, dtype=np.float32).reshape(1, 1, 3, 3)
        y = [[[[5, 46, 50], [208, 379, 80], [500, 600, 0]]]]
        expect_y(t, {"x": x, "w": w, "stride": 2, "padding": 1}, y, "by hand")
    with t.stage("conv_transpose2d: as the transposed matrix of a convolution"):
        for rng in t.draws(5):
            case = random_case(rng)
            case["x"] = case["x"][:1]
            expect_y(t, case, by_matrix(**case), "Aᵀ·x")
    with t.stage("conv_transpose2d: random shapes"):
        for rng in t.draws(20):
            case = random_case(rng)
            expect_y(t, case, forward(**case), "library")

    with t.stage("conv_transpose2d_backward: two stamps, worked out by hand"):
        x, w = np.array([[[[1, 2]]]], np.float32), np.array([[[[1, 2], [0, -1]]]], np.float32)
        gy = np.array([[[[1, 2, 3, 4], [5, 6, 7, 8]]]], np.float32)
        gradients = {"gx": [[[[-1, 3]]]], "gw": [[[[7, 10], [19, 22]]]]}
        expect_gradients(t, {"gy": gy, "x": x, "w": w, "stride": 2, "padding": 0}, gradients, "by hand")
    with t.stage("conv_transpose2d_backward: against finite differences"):
        for x_shape, w_shape, stride, padding in MEASURED:
            x, w = (t.rng.standard_normal(shape) for shape in (x_shape, w_shape))
            op = ops.ConvTranspose2d(stride, padding).forward
            gy = t.upstream(op(x, w).shape)
            gradients = dict(zip(("gx", "gw"), finite_differences(op, [x, w], gy), strict=True))
            case = {"gy": gy, "x": x, "w": w, "stride": stride, "padding": padding}
            expect_gradients(t, case, gradients, "finite difference")
    with t.stage("conv_transpose2d_backward: random shapes"):
        for rng in t.draws(20):
            case = random_case(rng)
            gy = rng.standard_normal(forward(**case).shape)
            gradients = dict(zip(("gx", "gw"), backward(gy, **case), strict=True))
            expect_gradients(t, {"gy": gy, **case}, gradients, "library")


def expect_y(t: Trial, case: dict[str, Any], y: Any, by: str) -> None:
    settings = {"stride": case["stride"], "padding": case["padding"]}
    known = first_of(
        lambda name, got: one_of(wrong_outputs(**case))(name, got),
        forward_mistakes("conv_transpose2d", [case["x"], case["w"]], settings),
    )
    t.expect("conv_transpose2d", case, {"y": y}, by=by, known=known)


def expect_gradients(t: Trial, case: dict[str, Any], gradients: dict[str, Any], by: str) -> None:
    settings = {"stride": case["stride"], "padding": case["padding"]}
    known = first_of(
        lambda name, got: one_of(wrong_gradients(**case))(name, got),
        gradient_mistakes("conv_transpose2d", [case["x"], case["w"]], settings, case["gy"], {"gx": 0, "gw": 1}),
    )
    axes = {"gw": ("in-channel", "out-channel", "row", "col")}
    t.expect("conv_transpose2d_backward", case, gradients, by=by, known=known, axes=axes)


def random_case(rng: np.random.Generator) -> dict[str, Any]:
    """Some kernels are smaller than the stride; `padding` leaves at least one row and column."""
    N, C, OC, H, W, KH, KW, stride = (int(n) for n in rng.integers(1, 4, 8))
    smallest = min((H - 1) * stride + KH, (W - 1) * stride + KW)
    padding = int(rng.integers(0, (smallest - 1) // 2 + 1))
    x, w = rng.standard_normal((N, C, H, W)), rng.standard_normal((C, OC, KH, KW))
    return {"x": x, "w": w, "stride": stride, "padding": padding}


def forward(x: np.ndarray, w: np.ndarray, stride: int, padding: int) -> np.ndarray:
    return ops.ConvTranspose2d(stride, padding).forward(x, w)


def backward(gy: np.ndarray, x: np.ndarray, w: np.ndarray, stride: int, padding: int) -> tuple[Any, Any]:
    op = ops.ConvTranspose2d(stride, padding)
    op.forward(x, w)
    return op.backward(gy)[:2]


def by_matrix(x: np.ndarray, w: np.ndarray, stride: int, padding: int) -> np.ndarray:
    """A is the matrix of the convolution that leads from y's size to x's; the answer is Aᵀ·x."""
    _, OC, OH, OW = forward(x, w, stride, padding).shape
    size = OC * OH * OW
    pixels = np.eye(size).reshape(size, OC, OH, OW)  # images with one pixel lit
    a = ops.Conv2d(stride, padding).forward(pixels, w).reshape(size, -1)  # Aᵀ: row k is what pixel k becomes
    return (a @ x.ravel()).reshape(1, OC, OH, OW)


# --- what the usual mistakes lead to ----------------------------------------------------------------------


def wrong_outputs(x: np.ndarray, w: np.ndarray, stride: int, padding: int) -> dict[str, Any]:
    N, C, H, W = x.shape
    _, OC, KH, KW = w.shape
    full = forward(x, w, stride, 0)  # (N, OC, FH, FW)
    FH, FW = full.shape[2:]
    OH, OW = FH - 2 * padding, FW - 2 * padding
    crowded, overwritten = np.zeros_like(full), np.zeros_like(full)
    crowded[:, :, : H + KH - 1, : W + KW - 1] = forward(x, w, 1, 0)[:, :, :FH, :FW]
    for u in range(H):
        for v in range(W):
            rows, cols = slice(u * stride, u * stride + KH), slice(v * stride, v * stride + KW)
            overwritten[:, :, rows, cols] = np.tensordot(x[:, :, u, v], w, axes=(1, 0))
    inside = (..., slice(padding, padding + OH), slice(padding, padding + OW))
    wrong = {
        "the kernel is flipped: the stamp goes onto y as it is": forward(x, w[:, :, ::-1, ::-1], stride, padding),
        "= instead of +=: where stamps overlap, the last one is left": overwritten[inside],
        "the stride is forgotten, the stamps lie one pixel apart: stamp (u, v) begins at u·stride, v·stride; as a "
        "convolution, stride - 1 zeros belong between the pixels of x": crowded[inside],
        "the padding is not cut off: it takes `padding` rows and columns away on every side": full,
        "the padding is added; here it takes rows and columns away": np.pad(
            full, ((0, 0), (0, 0), (padding, padding), (padding, padding))
        ),
        "the padding is cut at the bottom and right only: half of it belongs to the top and left": full[..., :OH, :OW],
        "the padding is cut at the top and left only: half of it belongs to the bottom and right": (
            full[..., 2 * padding :, 2 * padding :]
        ),
        "the first image's result for every image: x[n], not x[0]": forward(x[:1], w, stride, padding).repeat(N, 0),
        "only the last channel of x counts: add over c": forward(x[:, -1:], w[-1:], stride, padding),
    }
    close = forward(x, w, 1, min(padding, (min(H + KH, W + KW) - 2) // 2))
    wrong["the stride is forgotten: as a convolution, stride - 1 zeros belong between the pixels of x"] = close
    if KH == KW:
        wrong["the kernel's rows and columns are exchanged"] = forward(x, w.swapaxes(2, 3), stride, padding)
    if C == OC:
        exchanged = forward(x, w.swapaxes(0, 1), stride, padding)
        wrong["the weight's channels are exchanged: it is (C, OC, KH, KW), input channels first"] = exchanged
    if H + 2 * padding >= KH and W + 2 * padding >= KW:
        conv = ops.Conv2d(stride, padding).forward(x, w.swapaxes(0, 1))
        wrong["this is the convolution: it gathers windows. The transposed one scatters stamps"] = conv
    return wrong


def wrong_gradients(gy: np.ndarray, x: np.ndarray, w: np.ndarray, stride: int, padding: int) -> dict[str, Any]:
    N, C, OC = len(x), *w.shape[:2]
    gx, gw = backward(gy, x, w, stride, padding)
    last = backward(gy[-1:], x[-1:], w, stride, padding)[1]
    flipped = backward(gy, x, np.ascontiguousarray(w[:, :, ::-1, ::-1]), stride, padding)[0]
    crowded = ops.Conv2d(1, padding).forward(gy, w)[:, :, : x.shape[2], : x.shape[3]]
    wrong = {
        "divided by N. The loss already averages": {"gx": gx / N, "gw": gw / N},
        "the kernel is flipped: as a convolution of gy, it is used as it is": {"gx": flipped},
        "the stride is forgotten: x's pixel (u, v) meets the window of gy at u·stride, v·stride": {"gx": crowded},
        "only the last image counts: += over all n": {"gw": last},
        "gw is flipped: gw[c, o, i, j] belongs to w[c, o, i, j]": {"gw": gw[:, :, ::-1, ::-1]},
    }
    if C == OC:
        conv = ops.Conv2d(stride, padding).forward(gy, w.swapaxes(0, 1))
        wrong["the weight's channels are exchanged: it is (C, OC, KH, KW), input channels first"] = {"gx": conv}
    wrong["gw's channels are exchanged: it is (C, OC, KH, KW), like w"] = {"gw": gw.swapaxes(0, 1)}
    return wrong
