"""The fully connected layer: three matrix products, and which side is transposed.

y = x @ wᵀ + b      gx = gy @ w      gw = gyᵀ @ x      gb = Σ gy
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from .common import one_image, scales
from .mistake import Call, Mistake


def linear(which: str, name: str, remedy: str, wrong: Callable[[Any, Any, Any], Any]) -> Mistake:
    """wrong(x, w, gy), x and gy as rows (M, IN) and (M, OUT)"""

    def array(call: Call) -> Any:
        x, w = call.inputs[:2]
        got = wrong(x.reshape(-1, x.shape[-1]), w, call.gy.reshape(-1, w.shape[0]))
        return got.reshape(x.shape) if which == "x" else got

    return Mistake("linear", which, name, remedy, array)


GX, GW, GB = "gx = gy @ w.", "gw = gyᵀ @ x, a sum over the rows of the batch.", "gb = Σ gy over the rows of the batch."

MISTAKES = [
    *scales("linear", "x", "gx"),
    *one_image("linear", "x", "gx"),
    linear("x", "gx = gy @ wᵀ: w is transposed", GX, lambda x, w, gy: gy @ w.T),
    linear("x", "gx multiplied by x", GX, lambda x, w, gy: gy @ w * x),
    linear("x", "gx of the last output only: = instead of +=", GX, lambda x, w, gy: np.outer(gy[:, -1], w[-1])),
    linear("x", "gx is averaged over the outputs", GX, lambda x, w, gy: gy @ w / len(w)),
    linear("x", "gx is summed over the batch: every row gets the same", GX,
           lambda x, w, gy: np.broadcast_to((gy @ w).sum(axis=0), x.shape)),
    *scales("linear", "weight", "gw"),
    linear("weight", "gw = xᵀ @ gy: transposed", GW, lambda x, w, gy: x.T @ gy),
    linear("weight", "gw = (xᵀ @ gy) reshaped instead of transposed", GW,
           lambda x, w, gy: (x.T @ gy).reshape(w.shape) if w.shape[0] != w.shape[1] else None),
    linear("weight", "gw of the last row of the batch only: = instead of +=", GW,
           lambda x, w, gy: np.outer(gy[-1], x[-1])),
    linear("weight", "gw of the first row of the batch only", GW, lambda x, w, gy: np.outer(gy[0], x[0])),
    linear("weight", "gw from sums: (Σ gy) times (Σ x) instead of the sum of the products", GW,
           lambda x, w, gy: np.outer(gy.sum(axis=0), x.sum(axis=0))),
    linear("weight", "gw multiplied by w", GW, lambda x, w, gy: gy.T @ x * w),
    *scales("linear", "bias", "gb"),
    linear("bias", "gb is the first row of gy", GB, lambda x, w, gy: gy[0]),
    linear("bias", "gb is the last row of gy: = instead of +=", GB, lambda x, w, gy: gy[-1]),
    linear("bias", "gb is one sum for all outputs", GB, lambda x, w, gy: np.full(len(w), gy.sum())),
    linear("bias", "gb is summed over the outputs instead of the batch", GB, lambda x, w, gy: gy.sum(axis=1)),
    linear("bias", "gb sums the squares of gy", GB, lambda x, w, gy: (gy * gy).sum(axis=0)),
]  # fmt: skip
