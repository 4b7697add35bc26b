"""An op's call as plain values: what another library needs to know to do the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..tensor import Function

SETTINGS = {  # by op, the attributes that say how it is done
    "conv2d": ("stride", "padding", "dilation", "groups"),
    "conv1x1": (),
    "conv_transpose2d": ("stride", "padding", "output_padding", "groups", "dilation"),
    "max_pool2d": ("kernel", "stride", "padding", "dilation", "ceil_mode"),
    "batch_norm2d": ("training", "momentum", "eps"),
    "softmax_cross_entropy": ("ignore_index", "reduction"),
    "linear": (),
    "relu": (),
    "add": (),
    "crop": ("size", "offset"),
}

Spec = dict[str, Any]


def spec_of(function: Function, arrays: Sequence[Any]) -> Spec | None:
    """ "op", "inputs" (a shape each, None for one left out), "wanted" (whether there will be a gradient by it) and
    "settings" of `function.forward(*arrays)`; None for an op that is not compared."""
    if function.name not in SETTINGS:
        return None
    return {
        "op": function.name,
        "inputs": [None if x is None else list(x.shape) for x in arrays],
        "wanted": [x is not None and function.recorded and function.needs_grad(i) for i, x in enumerate(arrays)],
        "settings": {name: getattr(function, name) for name in SETTINGS[function.name]},
    }


def sgd_spec(shapes: Sequence[tuple[int, ...]]) -> Spec:
    """A step of SGD with momentum on parameters of these shapes, as an op without a backward."""
    return {"op": "sgd", "inputs": [list(shape) for shape in shapes], "wanted": [], "settings": {}}
