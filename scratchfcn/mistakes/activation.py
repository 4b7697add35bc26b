"""ReLU, ReLU6, dropout and softmax: masks taken from the wrong array, and a Jacobian taken for its diagonal.

relu      gx = gy·[x > 0]
relu6     gx = gy·[0 < x < 6]
dropout   gx = gy·mask / (1 - p), with the mask of forward
softmax   gx_k = y_k·(gy_k - Σ_j gy_j·y_j)
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from .common import on_images
from .mistake import Call, Mistake


def of_x(op: str, name: str, remedy: str, wrong: Callable[[Any, Any], Any]) -> Mistake:
    """wrong(x, gy)"""
    return Mistake(op, "x", name, remedy, lambda call: wrong(call.inputs[0], call.gy))


MASK = "gx = gy where x > 0, and 0 elsewhere."
RELU = [
    *on_images("relu"),
    of_x("relu", "the mask is taken from gy instead of x", MASK, lambda x, gy: gy * (gy > 0)),
    of_x("relu", "masked by x and by gy, both", MASK, lambda x, gy: gy * ((x > 0) & (gy > 0))),
    of_x("relu", "the mask is missing: gy passes everywhere", MASK, lambda x, gy: gy),
    of_x("relu", "the mask is inverted", MASK, lambda x, gy: gy * (x <= 0)),
    of_x("relu", "gy also passes where x is exactly 0: >= instead of >", "At 0 there is no slope; torch and we say 0.",
         lambda x, gy: gy * (x >= 0)),
    of_x("relu", "gy multiplied by y", "The slope of max(x, 0) is 1, not x.", lambda x, gy: gy * np.maximum(x, 0)),
    of_x("relu", "gy multiplied by x", MASK, lambda x, gy: gy * x),
    of_x("relu", "relu applied to the product gy·x", MASK, lambda x, gy: np.maximum(gy * x, 0)),
    of_x("relu", "forward once more: max(x, 0), without gy", MASK, lambda x, gy: np.maximum(x, 0)),
    of_x("relu", "the slope for negative x is 0.01, as in leaky ReLU", MASK,
         lambda x, gy: gy * np.where(x > 0, 1, 0.01)),
    of_x("relu", "negative x get -gy: the derivative of |x|", MASK, lambda x, gy: gy * np.sign(x)),
]  # fmt: skip

INSIDE = "gx = gy where 0 < x < 6, and 0 elsewhere."
RELU6 = [
    *on_images("relu6"),
    of_x("relu6", "the upper limit is missing: gy passes where x > 6", INSIDE, lambda x, gy: gy * (x > 0)),
    of_x("relu6", "the lower limit is missing: gy passes where x < 0", INSIDE, lambda x, gy: gy * (x < 6)),
    of_x("relu6", "the mask is missing: gy passes everywhere", INSIDE, lambda x, gy: gy),
    of_x("relu6", "the mask is inverted", INSIDE, lambda x, gy: gy * ((x <= 0) | (x >= 6))),
    of_x("relu6", "the mask is taken from gy instead of x", INSIDE, lambda x, gy: gy * ((gy > 0) & (gy < 6))),
    of_x("relu6", "gy also passes at exactly 0 and 6: <= instead of <", "At 0 and at 6 torch and we say 0.",
         lambda x, gy: gy * ((x >= 0) & (x <= 6))),
    of_x("relu6", "gy multiplied by y", "The slope is 1 between 0 and 6.", lambda x, gy: gy * np.clip(x, 0, 6)),
]  # fmt: skip


def drop(name: str, remedy: str, wrong: Callable[[Any, Any, float], Any]) -> Mistake:
    """wrong(gy, mask, p); the mask that forward drew is in settings["mask"]."""

    def array(call: Call) -> Any:
        p = call.settings.get("p", 0.5)
        return wrong(call.gy, call.settings["mask"], p) if "mask" in call.settings and 0 < p < 1 else None

    return Mistake("dropout", "x", name, remedy, array)


def new_mask(call: Call) -> np.ndarray | None:
    """Which mask that was nobody can know; but dropping and scaling leave their mark on every number."""
    p, old = call.settings.get("p", 0.5), call.settings.get("mask")
    if old is None or not 0 < p < 1:
        return None
    if call.gradient is None:
        new = np.random.default_rng(1).random(call.gy.shape) >= p
    else:
        new = call.gradient != 0
    unlike = (new & ~old).any() and (old & ~new).any() and (new & old).any()
    return call.gy * new / (1 - p) if unlike else None


SCALE = "gx = gy·mask / (1 - p): the same factors as in forward."
DROPOUT = [
    *on_images("dropout"),
    drop("not rescaled: the factor 1 / (1 - p) is missing", SCALE, lambda gy, mask, p: gy * mask),
    drop("the mask is missing: gy passes everywhere", SCALE, lambda gy, mask, p: gy),
    drop("the mask is missing: all of gy is scaled and passes", SCALE, lambda gy, mask, p: gy / (1 - p)),
    drop("scaled by 1 / (1 - p) twice", SCALE, lambda gy, mask, p: gy * mask / (1 - p) ** 2),
    drop("multiplied by 1 - p instead of divided by it", SCALE, lambda gy, mask, p: gy * mask * (1 - p)),
    drop("divided by p instead of 1 - p", SCALE, lambda gy, mask, p: gy * mask / p),
    drop("the mask is inverted: dropped values get the gradient", SCALE, lambda gy, mask, p: gy * (1 - mask) / (1 - p)),
    Mistake("dropout", "x", "backward draws a new mask", "Keep the mask of forward and use it again.", new_mask),
]  # fmt: skip


def soft(name: str, remedy: str, wrong: Callable[[Any, Any, int], Any]) -> Mistake:
    """wrong(y, gy, axis)"""

    def array(call: Call) -> Any:
        axis = call.settings.get("axis", 1)
        return wrong(softmax(call.inputs[0], axis), call.gy, axis)

    return Mistake("softmax", "x", name, remedy, array)


def softmax(x: np.ndarray, axis: int) -> np.ndarray:
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def total(a: np.ndarray, axis: int) -> np.ndarray:
    return a.sum(axis=axis, keepdims=True)


def other_axis(y: np.ndarray, gy: np.ndarray, axis: int) -> np.ndarray | None:
    """The sum over the last axis (or the first, where softmax itself runs along the last)."""
    if y.ndim < 2:
        return None
    other = 0 if axis % y.ndim == y.ndim - 1 else -1
    return y * (gy - total(gy * y, other))


JACOBIAN = "Every x_k moves every y_j: gx = y·(gy - Σ_j gy_j·y_j), the sum along the class axis."
SOFTMAX = [
    *on_images("softmax"),
    soft("the Jacobian is replaced by its diagonal: y·(1 - y)·gy", JACOBIAN, lambda y, gy, axis: y * (1 - y) * gy),
    soft("the derivative y·(1 - y) alone, without gy", JACOBIAN, lambda y, gy, axis: y * (1 - y)),
    soft("the term Σ gy·y is missing: gx = y·gy", JACOBIAN, lambda y, gy, axis: y * gy),
    soft("the term Σ gy·y is added instead of subtracted", JACOBIAN,
         lambda y, gy, axis: y * (gy + total(gy * y, axis))),
    soft("the factor y in front is missing: gx = gy - Σ gy·y", JACOBIAN, lambda y, gy, axis: gy - total(gy * y, axis)),
    soft("y is missing in the sum: gx = y·(gy - Σ gy)", JACOBIAN, lambda y, gy, axis: y * (gy - total(gy, axis))),
    soft("y is missing from the first term: gx = gy - y·Σ gy·y", JACOBIAN,
         lambda y, gy, axis: gy - y * total(gy * y, axis)),
    soft("the factor y is missing in the second term: gx = y·gy - Σ gy·y", JACOBIAN,
         lambda y, gy, axis: y * gy - total(gy * y, axis)),
    soft("the mean of gy·y instead of the sum", JACOBIAN,
         lambda y, gy, axis: y * (gy - (gy * y).mean(axis=axis, keepdims=True))),
    soft("the sum runs along the wrong axis", JACOBIAN, other_axis),
    soft("the sum runs over all of gy·y", JACOBIAN, lambda y, gy, axis: y * (gy - (gy * y).sum())),
    soft("y - gy: the gradient of softmax and cross entropy together", JACOBIAN, lambda y, gy, axis: y - gy),
    soft("gy passes unchanged", JACOBIAN, lambda y, gy, axis: gy),
]  # fmt: skip

MISTAKES = [*RELU, *RELU6, *DROPOUT, *SOFTMAX]
