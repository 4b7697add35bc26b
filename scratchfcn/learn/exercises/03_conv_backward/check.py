"""Numbers on paper; then the slopes of the library's forward pass, measured; then every kind of geometry."""

from typing import Any

import numpy as np

from scratchfcn import ops
from scratchfcn.learn import Trial, finite_differences, first_of, gradient_mistakes, one_of
from scratchfcn.learn.draws import conv_case

MEASURED = [  # shape of x, shape of w, stride, padding
    ((3, 2, 4, 5), (4, 2, 3, 2), 1, 0),
    ((2, 2, 3, 4), (3, 2, 2, 3), 1, 1),
    ((2, 1, 6, 5), (2, 1, 3, 2), 2, 1),  # the last row is in no window
]


def check(t: Trial) -> None:
    with t.stage("one small image, worked out by hand"):
        x = np.array([[[[1, 2, 3], [4, 5, 6], [7, 8, 9]]]], np.float32)
        w = np.array([[[[1, 2], [0, -1]]]], np.float32)
        gy = np.array([[[[1, 0], [0, 2]]]], np.float32)  # two of the four windows matter
        gradients = {
            "gx": [[[[1, 2, 0], [0, 1, 4], [0, 0, -2]]]],
            "gw": [[[[11, 14], [20, 23]]]],  # 1·(upper left window) + 2·(lower right window)
            "gb": [3],
        }
        expect(t, {"gy": gy, "x": x, "w": w, "stride": 1, "padding": 0}, gradients, "by hand")
    with t.stage("against finite differences: several images, channels and filters, stride and padding"):
        for x_shape, w_shape, stride, padding in MEASURED:
            x, w, b = (t.rng.standard_normal(shape) for shape in (x_shape, w_shape, w_shape[0]))
            forward = ops.Conv2d(stride, padding).forward
            gy = t.upstream(forward(x, w, b).shape)
            gradients = dict(zip(("gx", "gw", "gb"), finite_differences(forward, [x, w, b], gy), strict=True))
            expect(t, {"gy": gy, "x": x, "w": w, "stride": stride, "padding": padding}, gradients, "finite difference")
    with t.stage("random shapes"):
        for rng in t.draws(25):
            x, w, b, stride, padding = conv_case(rng).values()
            conv = ops.Conv2d(stride, padding)
            gy = rng.standard_normal(conv.forward(x, w, b).shape)
            gradients = dict(zip(("gx", "gw", "gb"), conv.backward(gy), strict=True))
            expect(t, {"gy": gy, "x": x, "w": w, "stride": stride, "padding": padding}, gradients, "library")


def expect(t: Trial, case: dict[str, Any], gradients: dict[str, Any], by: str) -> None:
    gy, x, w, stride, padding = case.values()
    inputs = [x, w, np.zeros(len(w), w.dtype)]
    settings = {"stride": stride, "padding": padding}
    known = first_of(
        lambda name, got: one_of(wrong_gradients(**case))(name, got),
        gradient_mistakes("conv2d", inputs, settings, gy, {"gx": 0, "gw": 1, "gb": 2}),
    )
    t.expect("conv2d_backward", case, gradients, by=by, known=known)


def wrong_gradients(gy: np.ndarray, x: np.ndarray, w: np.ndarray, stride: int, padding: int) -> dict[str, Any]:
    """What slips in where the formulas are typed as plain loops."""
    P, (H, W) = padding, x.shape[2:]
    gb = gy.sum(axis=(0, 2, 3))
    framed = np.pad(x, ((0, 0), (0, 0), (P, P), (P, P)))
    around = np.pad(x, ((0, 0), (0, 0), (P, P), (P, P)), mode="wrap")
    around[:, :, P + H :] = 0
    around[:, :, :, P + W :] = 0
    inside = np.pad(np.ones_like(x), ((0, 0), (0, 0), (P, P), (P, P)))
    pixels = ops.Conv2d(stride, 0).forward(inside, np.ones_like(w), np.zeros(len(w), w.dtype))  # in each window
    conv = ops.Conv2d(stride, 0)
    conv.forward(framed, w, None)
    gframed = conv.backward(gy)[0]
    conv.forward(around, w, None)
    gw_around = conv.backward(gy)[1]
    return {
        "negative rows and columns are not left out: x[-1] is the last row, but there is nothing beyond the image": {
            "gx": wrapped(wrapped(gframed, H, P, axis=2), W, P, axis=3),
            "gw": gw_around,
        },
        "the padding is left out: row = oh·stride + i - padding. In a padded gx: the frame is cut at the wrong side": {
            "gx": gframed[:, :, :H, :W]
        },
        "b[o] is added once to every output pixel; here gb collects gy in the innermost loop, for every product": {
            "gb": (gy * pixels).sum(axis=(0, 2, 3))
        },
        "gb collects the gy of all output channels: gb[o] += gy[n, o, …]": {"gb": np.full_like(gb, gb.sum())},
    }


def wrapped(gradient: np.ndarray, size: int, padding: int, axis: int) -> np.ndarray:
    """What lies before the image is added to its end; what lies behind it is dropped."""
    gradient = np.moveaxis(gradient, axis, 0)
    kept = gradient[padding : padding + size].copy()
    for k in range(max(0, padding - size), padding):
        kept[size - padding + k] += gradient[k]
    return np.moveaxis(kept, 0, axis)
