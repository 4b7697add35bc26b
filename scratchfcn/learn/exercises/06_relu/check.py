"""Does the gate open for the right numbers, and for the gradient rather than for the values?"""

import numpy as np

from scratchfcn import ops
from scratchfcn.learn import Trial, finite_differences, forward_mistakes, gradient_mistakes, one_of


def check(t: Trial) -> None:
    x = np.array([[-2.0, 3.0], [0.0, -1.0], [5.0, 0.5]], np.float32)
    with t.stage("relu: small numbers, worked out by hand"):
        t.expect("relu", {"x": x}, {"y": [[0, 3], [0, 0], [5, 0.5]]}, known=one_of(wrong_outputs(x)))
    with t.stage("relu: other shapes"):
        for rng in t.draws(10):
            x = 10 * rng.standard_normal(t.shape(rng))
            t.expect("relu", {"x": x}, {"y": ops.Relu().forward(x)}, by="library", known=forward_mistakes("relu", [x]))

    x = np.array([[-2.0, 3.0], [0.0, -1.0], [5.0, 0.5]], np.float32)
    gy = np.array([[1.0, -2.0], [3.0, 4.0], [-5.0, 6.0]], np.float32)
    with t.stage("relu_backward: small numbers, worked out by hand"):
        known = one_of(
            {
                "gy is multiplied by y; the slope is 1, however large y is": gy * np.maximum(x, 0),
                "the slope at exactly 0 is taken as 1: it is x > 0, not x >= 0": gy * (x >= 0),
                "the gate looks at gy; it is x that decides": np.maximum(gy, 0),
                "1 where x > 0 is only the slope; multiply it by gy": x > 0,
                "gy passes everywhere": gy,
                "below 0 the slope is 0; np.sign(x) is -1 there": gy * np.sign(x),
                "it is x alone that decides; negative gy pass, too": np.maximum(gy, 0) * (x > 0),
            }
        )
        t.expect("relu_backward", {"gy": gy, "x": x}, {"gx": [[0, -2], [0, 0], [-5, 6]]}, known=known)
    with t.stage("relu_backward: against finite differences"):
        x = t.away_from_0((2, 3, 4))  # at 0 there is no slope
        gy = t.upstream(x.shape)
        (gx,) = finite_differences(lambda x: np.maximum(x, 0), [x], gy)
        known = gradient_mistakes("relu", [x], {}, gy, {"gx": 0})
        t.expect("relu_backward", {"gy": gy, "x": x}, {"gx": gx}, by="finite difference", known=known)
    with t.stage("relu_backward: other shapes"):
        for rng in t.draws(10):
            x = 10 * rng.standard_normal(t.shape(rng))
            gy = t.upstream(x.shape)
            t.expect("relu_backward", {"gy": gy, "x": x}, {"gx": gy * (x > 0)}, by="library")


def wrong_outputs(x: np.ndarray) -> dict[str, np.ndarray]:
    return {
        "the absolute value": np.abs(x),
        "1 where x > 0; y is x there": x > 0,
        "the smaller one is taken, not the larger": np.minimum(x, 0),
        "below 0, y is 0, not a hundredth of x": np.maximum(x, 0.01 * x),
        "below 0, y is 0, not a tenth of x": np.maximum(x, 0.1 * x),
    }
