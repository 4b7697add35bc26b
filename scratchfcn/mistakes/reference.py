"""The right answers that wrong ones are held against, from the library's own ops."""

from typing import Any

import numpy as np

from .. import nn, ops
from ..ops.im2col import col2im, conv_output_size, im2col, pair
from ..tensor import Tensor
from .mistake import Call

NAMES = {
    "conv2d": ("x", "weight", "bias"),
    "conv1x1": ("x", "weight", "bias"),
    "conv_transpose2d": ("x", "weight", "bias"),
    "linear": ("x", "weight", "bias"),
    "batch_norm2d": ("x", "weight", "bias"),
    "softmax_cross_entropy": ("logits",),
    "add": ("a", "b"),
    "sub": ("a", "b"),
    "mul": ("a", "b"),
    "div": ("a", "b"),
    "col2im": ("cols",),
    "bilinear_kernel": (),
}  # every other op has one input, x; concat has x0, x1 …


def input_names(op: str, count: int) -> list[str]:
    """What the op calls its first `count` inputs."""
    if op == "concat":
        return [f"x{i}" for i in range(count)]
    return list(NAMES.get(op, ("x",)))[:count]


def forward_of(call: Call) -> np.ndarray:
    """What the op really returns."""
    if call.op == "bilinear_kernel":
        return bilinear_kernel(call.settings["kernel_size"], call.gradient)
    if call.op in ("im2col", "col2im"):
        return columns(call)
    if call.op == "dropout" and "mask" in call.settings:
        return call.inputs[0] * dropout_factors(call)
    return run(call.op, [None if x is None else Tensor(x, device="cpu") for x in call.inputs], call.settings).data


def gradients_of(call: Call) -> list[np.ndarray | None]:
    """The right gradient of every input; None for an input that is left out, or out of reach (dropout's own mask)."""
    if call.op == "dropout":
        return [call.gy * dropout_factors(call) if "mask" in call.settings else None]
    tensors = [None if x is None else Tensor(x, requires_grad=True, device="cpu") for x in call.inputs]
    y = run(call.op, tensors, call.settings)
    if y.grad_fn is None:  # the op had nothing to do, and handed its input on
        return [call.gy]
    y.backward(call.gy)
    return [None if t is None else np.zeros(t.shape) if t.grad is None else t.grad for t in tensors]


def run(op: str, tensors: list[Tensor | None], settings: Any) -> Tensor:
    """op(*tensors, **settings). Arrays among the settings are copied: batch norm writes into its statistics."""
    settings = {k: v.copy() if isinstance(v, np.ndarray) else v for k, v in settings.items()}
    if op == "add":
        return tensors[0] + tensors[1]
    if op == "sub":
        return tensors[0] - tensors[1]
    if op == "mul":
        return tensors[0] * tensors[1]
    if op == "div":
        return tensors[0] / tensors[1]
    if op == "sum":
        return tensors[0].sum(**settings)
    if op == "mean":
        return tensors[0].mean(**settings)
    if op == "concat":
        return ops.concat(tensors, **settings)
    return getattr(ops, op)(*tensors, **settings)


def dropout_factors(call: Call) -> np.ndarray:
    """mask / (1 - p)"""
    p = call.settings.get("p", 0.5)
    return call.settings["mask"] / (1.0 - p) if p < 1 else np.zeros(call.settings["mask"].shape)


def window_of(settings: Any) -> tuple[Any, Any, Any, Any]:
    """kernel, stride, padding, dilation as pairs; what is left out is as in the ops."""
    kernel = pair(settings.get("kernel_size", settings.get("kernel")), "kernel_size")
    stride, padding, dilation = (settings.get(k, n) for k, n in (("stride", 1), ("padding", 0), ("dilation", 1)))
    return kernel, pair(stride, "stride"), pair(padding, "padding"), pair(dilation, "dilation")


def columns(call: Call) -> np.ndarray:
    """im2col of an image, or col2im of columns."""
    window = kernel, stride, padding, dilation = window_of(call.settings)
    shape = call.inputs[0].shape if call.op == "im2col" else tuple(call.settings["shape"])
    axes = zip(shape[2:], kernel, stride, padding, dilation, strict=True)
    output = tuple(conv_output_size(*axis) for axis in axes)
    if call.op == "im2col":
        return im2col(call.inputs[0], *window, output)
    return col2im(call.inputs[0], shape, *window, output)


def bilinear_kernel(kernel_size: Any, like: np.ndarray | None) -> np.ndarray:
    """The bilinear kernel (KH, KW); or, in the shape of `like`, a weight that upsamples each channel by itself."""
    KH, KW = pair(kernel_size, "kernel_size")
    kernel = np.outer(nn.init.tent(KH), nn.init.tent(KW))
    if like is None or like.ndim != 4:
        return kernel if like is None or like.ndim == 2 else nn.init.tent(KH)
    weight = np.zeros((*like.shape[:2], KH, KW))
    weight[range(min(like.shape[:2])), range(min(like.shape[:2]))] = kernel
    return weight
