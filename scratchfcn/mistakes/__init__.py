"""A catalogue of the mistakes people make in the backward pass of every op, to be recognised by their numbers.

Gradients go wrong in few ways, and most are old acquaintances: `=` where `+=` was meant, a kernel that should have been
turned, a sum over one image only. Each of them computes a definite wrong array. So to name a mistake, compute all these
arrays from the same inputs and look for one that equals what the learner's code returned, to the last digits. There
is no guessing: random numbers do not agree in nine digits by accident. And nothing is named where nothing agrees.

Each file holds one family of ops and can be read as a list of what to watch for. `catalogue()` is all of it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..backend import is_array, to_numpy
from ..tensor import Tensor
from .mistake import FORWARD, Call, Mistake
from .reference import forward_of, gradients_of, input_names

__all__ = ["FORWARD", "Call", "Mistake", "catalogue", "explain", "explain_forward", "input_names", "matching", "words"]

WRONG = 1e-6  # of the largest number in the right array: what differs by less is not wrong


def catalogue(op: str | None = None) -> list[Mistake]:
    """Every known mistake, or those of one op."""
    from . import activation, conv, linear, loss, norm, pool, resize, shape, tensor  # read when somebody asks

    families = [conv, pool, activation, loss, norm, shape, resize, linear, tensor]
    return [mistake for family in families for mistake in family.MISTAKES if op in (None, mistake.op)]


def explain(
    op: str, inputs: Sequence[Any], settings: Mapping[str, Any], gy: Any, gradient: Any, which: int | str
) -> str | None:
    """What went wrong in `gradient`, the gradient of one input of `op(*inputs, **settings)` by upstream gradient `gy`.

    which: that input's position or its name ("weight", "w" or "gw"). Dropout's mask goes into settings["mask"].
    Returns a sentence or two, or None: the gradient is right, or nothing known gives these numbers. Where several
    mistakes give the same numbers on these inputs, all of them are named.
    """
    name = which_input(op, inputs, which)
    call = Call(op, arrays(inputs), settings, float64(gy), on_host(gradient))
    right = gradients_of(call)[input_names(op, len(inputs)).index(name)]
    if right is not None and same(call.gradient, right, WRONG):
        return None
    return words([m for m in matching(call, name) if not is_right(m, call, right)])


def explain_forward(op: str, inputs: Sequence[Any], settings: Mapping[str, Any], y: Any) -> str | None:
    """What went wrong in `y`, which should be `op(*inputs, **settings)`; None as for `explain`.

    Besides the ops: "im2col" and "col2im" with settings kernel_size, stride, padding, dilation (and shape, of the
    image, for col2im), and "bilinear_kernel" without inputs and with kernel_size.
    """
    call = Call(op, arrays(inputs), settings, gradient=on_host(y))
    right = forward_of(call)
    if same(call.gradient, right, WRONG):
        return None
    return words([m for m in matching(call, FORWARD) if not is_right(m, call, right)])


def matching(call: Call, which: str) -> list[Mistake]:
    """The mistakes whose wrong array is `call.gradient`, number for number (it is taken to be wrong)."""
    tolerance = 1e-9 if call.gradient.dtype == np.float64 else 1e-5
    found = []
    for mistake in catalogue(call.op):
        if mistake.which == which:
            wrong = mistake.array(call)
            if wrong is not None and wrong.any() and same(call.gradient, wrong, tolerance):
                found.append(mistake)
    return sorted(found, key=lambda mistake: mistake.name.endswith(("is doubled", "is halved")))  # says least: last


def words(mistakes: Sequence[Mistake]) -> str | None:
    """One mistake as a sentence; several that these inputs cannot tell apart as a choice."""
    texts = list(dict.fromkeys(str(mistake) for mistake in mistakes))
    if len(texts) < 2:
        return texts[0] if texts else None
    return "one of these, which give the same numbers here: " + " — or: ".join(texts)


def which_input(op: str, inputs: Sequence[Any], which: int | str) -> str:
    """ "gw", "w", "weight" or 1 → "weight". ValueError for anything that the op does not have."""
    names = input_names(op, len(inputs))
    if isinstance(which, int):
        return names[which]
    for name in names:
        if which in (name, "g" + name, name[0], "g" + name[0]):
            return name
    raise ValueError(f"{op} has no input {which!r}; it has {', '.join(names)}")


def same(a: Any, b: Any, tolerance: float) -> bool:
    """Whether two arrays hold the same numbers, up to `tolerance` times the largest of b."""
    if a.shape != b.shape or not (np.isfinite(a).all() and np.isfinite(b).all()):
        return False
    return a.size > 0 and bool(np.abs(a - b).max() <= tolerance * np.abs(b).max())


def is_right(mistake: Mistake, call: Call, right: Any) -> bool:
    """Whether the mistake makes no difference on this call (a stride of 1 cannot be forgotten)."""
    return right is not None and same(mistake.array(call), right, WRONG)


def arrays(inputs: Sequence[Any]) -> list[Any]:
    return [None if x is None else float64(x) for x in inputs]


def float64(x: Any) -> np.ndarray:
    """Tensors, NumPy and CuPy arrays, lists → a float64 NumPy array."""
    return np.asarray(on_host(x), np.float64)


def on_host(x: Any) -> np.ndarray:
    x = x.data if isinstance(x, Tensor) else x
    return to_numpy(x) if is_array(x) else np.asarray(x)
