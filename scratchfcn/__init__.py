"""scratchfcn: fully convolutional networks from scratch, to read, to check and to train.

import scratchfcn as sf
x = sf.Tensor(array, requires_grad=True)
y = sf.ops.conv2d(x, weight, padding=1)
y.sum().backward()
"""

from importlib import import_module
from typing import Any

from . import backend, geometry, models, naive, nn, ops, optim
from .backend import DeviceError, get_device, manual_seed, set_device
from .gradcheck import gradcheck
from .tensor import Function, NonFiniteError, Parameter, Tensor, find_non_finite, no_grad

__version__ = "0.1.0"

_ON_DEMAND = (  # loaded when first used
    "caffe",
    "data",
    "explain",
    "export",
    "inspection",
    "learn",
    "metrics",
    "mistakes",
    "surgery",
    "training",
    "weights",
)


def __getattr__(name: str) -> Any:
    if name in _ON_DEMAND:
        return import_module(f".{name}", __name__)
    if name == "trace":
        return import_module(".inspection", __name__).trace
    raise AttributeError(f"module 'scratchfcn' has no attribute {name!r}")


__all__ = [
    "DeviceError",
    "Function",
    "NonFiniteError",
    "Parameter",
    "Tensor",
    "backend",
    "find_non_finite",
    "geometry",
    "get_device",
    "gradcheck",
    "manual_seed",
    "models",
    "naive",
    "nn",
    "no_grad",
    "ops",
    "optim",
    "set_device",
]
