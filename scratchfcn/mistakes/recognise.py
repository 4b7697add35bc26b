"""Which op is this? A known mistake can be looked up only for a known op, so a function must be recognised first.

Three ways, the surest first: the caller says so; the output was made by one of the library's ops (or by a subclass,
with a backward of its own), straight from the inputs; or it equals what one of the ops makes of the same inputs, with
settings that are few enough to be tried. What is found is always proved by computing the op's output and comparing.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np

from .. import ops
from ..backend import to_numpy
from ..ops.im2col import conv_output_size, conv_transpose_output_size, pool_output_size
from ..tensor import Function, Tensor
from .mistake import Call
from .reference import forward_of

TRIED = {"stride": range(1, 5), "padding": range(5), "dilation": range(1, 4), "kernel": range(1, 6)}


def recognise(
    y: Tensor, arguments: Sequence[Any], op: str | None = None, settings: Mapping[str, Any] | None = None
) -> tuple[Call, list[int]] | None:
    """The call that made `y` from `arguments`, and for each of its inputs the number of the argument.

    op, settings: what the caller knows; settings left out are looked for. None where nothing is recognised.
    """
    if op is None and y.grad_fn is not None:
        found = made_by(y.grad_fn, arguments)
        if found is not None and equals(found[0], y):
            return found
    floats = [i for i, a in enumerate(arguments) if is_float(a)]
    inputs = [np.asarray(to_numpy(arguments[i].data), np.float64) for i in floats]
    if not inputs:
        return None
    others = [whole_numbers(a) for a in arguments]
    labels = next((a for a in others if a is not None), None)
    y_array = np.asarray(to_numpy(y.data))
    if op is not None and settings is not None:
        call = Call(op, inputs, complete(op, settings, labels, inputs, y_array))
        return (call, floats) if equals(call, y) else None
    for name, guess in guesses(inputs, labels, y_array):
        call = Call(name, inputs, guess)
        if op in (None, name) and equals(call, y):
            return call, floats
    return None


def equals(call: Call, y: Tensor) -> bool:
    """Whether the op really makes `y`, number for number."""
    expected = to_numpy(y.data)
    try:
        made = forward_of(call)
    except (ValueError, TypeError, KeyError, IndexError):
        return False
    return made.shape == expected.shape and bool(np.allclose(made, expected, rtol=1e-9, atol=1e-12))


def is_float(argument: Any) -> bool:
    return isinstance(argument, Tensor) and argument.dtype.kind == "f"


def whole_numbers(argument: Any) -> np.ndarray | None:
    """Labels: an array of whole numbers."""
    data = argument.data if isinstance(argument, Tensor) else argument
    return to_numpy(data) if getattr(getattr(data, "dtype", None), "kind", "") in ("i", "u") else None


def complete(op: str, settings: Mapping[str, Any], labels: Any, inputs: list[Any], y: np.ndarray) -> dict[str, Any]:
    """The caller's settings, and what only the arguments or the output can tell: labels, and dropout's mask."""
    settings = dict(settings)
    if op == "softmax_cross_entropy" and labels is not None:
        settings.setdefault("labels", labels)
    if op == "dropout":
        settings.setdefault("mask", y != 0)
    return settings


# --- made by an op of the library -------------------------------------------------------------------------


def made_by(function: Function, arguments: Sequence[Any]) -> tuple[Call, list[int]] | None:
    """The op's inputs must be the arguments themselves (or constants among them), untouched by other ops."""
    known = settings_of(function)
    if known is None:
        return None
    inputs, numbers, free = [], [], [i for i, a in enumerate(arguments) if isinstance(a, Tensor)]
    for edge, signature in zip(function.edges, function.input_signatures, strict=True):
        if isinstance(edge, Function):
            return None
        if signature is None:
            inputs.append(None)
            numbers.append(-1)
            continue
        fits = [i for i in free if arguments[i] is edge]
        if edge is None:  # wants no gradient: a constant of that shape
            fits = [i for i in free if not arguments[i].requires_grad and arguments[i].shape == signature[0]]
        if not fits:
            return None
        free = [i for i in free if i != fits[0]] if edge is None else free
        inputs.append(np.asarray(to_numpy(arguments[fits[0]].data), np.float64))
        numbers.append(fits[0])
    op, settings = known
    return Call(op, inputs, settings), numbers


def settings_of(function: Function) -> tuple[str, dict[str, Any]] | None:
    """The op's name and its settings, read from the object that did the work."""

    def read(*names: str, **renamed: str) -> dict[str, Any]:
        return {name: getattr(function, name) for name in names} | {k: getattr(function, v) for k, v in renamed.items()}

    window = ("stride", "padding", "dilation")
    match function:
        case ops.Conv2d():
            return "conv2d", read(*window, "groups")
        case ops.Conv1x1():
            return "conv1x1", {}
        case ops.ConvTranspose2d():
            return "conv_transpose2d", read(*window, "output_padding", "groups")
        case ops.MaxPool2d():
            return "max_pool2d", read(*window, "ceil_mode", kernel_size="kernel")
        case ops.AvgPool2d():
            return "avg_pool2d", read("stride", "padding", "ceil_mode", kernel_size="kernel")
        case ops.GlobalAvgPool2d():
            return "global_avg_pool2d", {}
        case ops.AdaptiveAvgPool2d():
            return "adaptive_avg_pool2d", read("output_size")
        case ops.Relu():
            return "relu", {}
        case ops.Relu6():
            return "relu6", {}
        case ops.Dropout():
            return "dropout", read("p") | {"mask": to_numpy(function.mask)}
        case ops.Softmax():
            return "softmax", read("axis")
        case ops.Crop():
            return "crop", read("size", "offset")
        case ops.Pad():
            return "pad", {"padding": (function.left, function.right, function.top, function.bottom)}
        case ops.Concat():
            return "concat", read("axis")
        case ops.Reshape():
            return "reshape", read("shape")
        case ops.ResizeBilinear():
            return "resize_bilinear", read("size", "align_corners")
        case ops.BatchNorm2d():
            statistics = {k: to_numpy(getattr(function, k)) for k in ("running_mean", "running_var")}
            return "batch_norm2d", read("training", "momentum", "eps") | statistics
        case ops.LocalResponseNorm():
            return "local_response_norm", read("size", "alpha", "beta", "k")
        case ops.Linear():
            return "linear", {}
        case ops.SoftmaxCrossEntropy():
            arrays = {k: on_host(getattr(function, k)) for k in ("labels", "weight")}
            return "softmax_cross_entropy", read("ignore_index", "reduction") | arrays
        case ops.Sum():
            return "sum", read("axis", "keepdims")
        case ops.Add() | ops.Sub() | ops.Mul() | ops.Div():
            name = next(n for n in ("Add", "Sub", "Mul", "Div") if isinstance(function, getattr(ops, n)))
            return name.lower(), {}
    return None


def on_host(x: Any) -> Any:
    return x if x is None or isinstance(x, list | tuple) else to_numpy(x)


# --- equal to an op ---------------------------------------------------------------------------------------


def guesses(inputs: list[np.ndarray], labels: Any, y: np.ndarray) -> Iterator[tuple[str, dict[str, Any]]]:
    """(op, settings) that make a y of this shape from inputs of these shapes; ordinary ones first."""
    ndims = [x.ndim for x in inputs]
    x = inputs[0]
    if labels is not None and y.size == 1 and len(inputs) == 1:
        for reduction, ignore in product(("mean", "sum"), (255, -1, -100, 0)):
            yield "softmax_cross_entropy", {"labels": labels, "reduction": reduction, "ignore_index": ignore}
    if ndims in ([4, 4], [4, 4, 1]) and y.ndim == 4:
        yield from convolutions(x, inputs[1], y)
    if ndims[1:] in ([2], [2, 1]) and x.shape[-1] == inputs[1].shape[-1]:
        yield "linear", {}
    if ndims == [4, 1, 1] and y.shape == x.shape:
        C = x.shape[1]
        for eps in (1e-5, 1e-3, 1e-8, 1e-7, 1e-6, 1e-4, 1e-2, 0.1):
            statistics = {"running_mean": np.zeros(C), "running_var": np.ones(C)}
            yield "batch_norm2d", {"training": True, "eps": eps} | statistics
    if len(inputs) == 2:
        yield from ((op, {}) for op in ("add", "sub", "mul", "div"))
    if len(inputs) >= 2 and len(set(ndims)) == 1 and y.ndim == x.ndim:
        yield from (("concat", {"axis": axis}) for axis in range(x.ndim))
    if len(inputs) == 1:
        yield from of_one_input(x, y)


def of_one_input(x: np.ndarray, y: np.ndarray) -> Iterator[tuple[str, dict[str, Any]]]:
    if y.shape == x.shape:
        yield "relu", {}
        yield "relu6", {}
        yield from (("softmax", {"axis": axis}) for axis in dict.fromkeys([min(1, x.ndim - 1), *range(x.ndim)]))
        kept = y != 0
        if kept.any() and not kept.all():
            yield "dropout", {"p": float(1 - (x[kept] / y[kept]).flat[0]), "mask": kept}
    if x.ndim == 4 and y.shape == x.shape and (np.abs(y) <= np.abs(x)).all():  # divided by something
        usual = product((5, 3, 7, 9), (1e-4, 1e-3, 1e-2, 0.1, 5e-4, 1.0), (0.75, 0.5, 1.0), (1.0, 2.0))
        names = ("size", "alpha", "beta", "k")
        yield from (("local_response_norm", dict(zip(names, settings, strict=True))) for settings in usual)
    if x.ndim == 4 and y.ndim == 4 and x.shape[:2] == y.shape[:2]:
        yield from (("resize_bilinear", {"size": y.shape[2:], "align_corners": corners}) for corners in (False, True))
        if y.shape[2:] == (1, 1):
            yield "global_avg_pool2d", {}
        yield from pools(x, y)
        rows, columns = (n - k for n, k in zip(x.shape[2:], y.shape[2:], strict=True))
        if 0 <= rows <= 20 and 0 <= columns <= 20:
            for offset in product(range(rows + 1), range(columns + 1)):
                yield "crop", {"size": y.shape[2:], "offset": offset}
        if -20 <= rows <= 0 and -20 <= columns <= 0:
            for top, left in product(range(-rows + 1), range(-columns + 1)):
                yield "pad", {"padding": (left, -columns - left, top, -rows - top)}
    if y.size == x.size and y.shape != x.shape:
        yield "reshape", {"shape": y.shape}
    for axis in [None, *range(x.ndim), *([(2, 3), (0, 2, 3)] if x.ndim == 4 else [])]:
        yield from ((op, {"axis": axis, "keepdims": y.ndim == x.ndim}) for op in ("sum", "mean"))
    if x.ndim == 4 and y.ndim == 4 and x.shape[:2] == y.shape[:2]:
        yield "adaptive_avg_pool2d", {"output_size": y.shape[2:]}


def both_axes(per_axis: list[list[tuple[int, ...]]]) -> list[tuple[tuple[int, int], ...]]:
    """Settings of rows and columns, the same for both first: [(s, p), …] of each → [((sh, sw), (ph, pw)), …]."""
    rows, columns = per_axis
    together = sorted(product(rows, columns), key=lambda both: (both[0] != both[1], sum(both[0]) + sum(both[1])))
    return [tuple(zip(*both, strict=True)) for both in together[:64]]


def convolutions(x: np.ndarray, w: np.ndarray, y: np.ndarray) -> Iterator[tuple[str, dict[str, Any]]]:
    """All windows that lead from the size of x to that of y."""
    names = ("stride", "padding", "dilation")
    tried = [TRIED[name] for name in names]
    if y.shape[1] == w.shape[0] and x.shape[1] % w.shape[1] == 0:
        groups = x.shape[1] // w.shape[1]
        per_axis = [
            [s for s in product(*tried) if conv_output_size(x.shape[a], w.shape[a], *s) == y.shape[a]] for a in (2, 3)
        ]
        for settings in both_axes(per_axis):
            yield "conv2d", dict(zip(names, settings, strict=True)) | {"groups": groups}
    if x.shape[1] == w.shape[0] and y.shape[1] % w.shape[1] == 0:
        groups = y.shape[1] // w.shape[1]
        names = ("stride", "padding", "output_padding")
        tried = [TRIED["stride"], TRIED["padding"], range(3)]
        per_axis = [
            [s for s in product(*tried) if s[2] < s[0]
             and conv_transpose_output_size(x.shape[a], w.shape[a], *s) == y.shape[a]]
            for a in (2, 3)
        ]  # fmt: skip
        for settings in both_axes(per_axis):
            yield "conv_transpose2d", dict(zip(names, settings, strict=True)) | {"groups": groups}


def pools(x: np.ndarray, y: np.ndarray) -> Iterator[tuple[str, dict[str, Any]]]:
    names = ("kernel_size", "stride", "padding")
    for ceil in (False, True):
        per_axis = []
        for n, out in zip(x.shape[2:], y.shape[2:], strict=True):
            tried = product(TRIED["kernel"], TRIED["stride"], range(3))
            fits = [t for t in tried if t[2] <= t[0] // 2 and pool_output_size(n, *t, 1, ceil) == out]
            per_axis.append(sorted(fits, key=lambda t: (t[0] != t[1], t[2], t[0])))
        for settings in both_axes(per_axis):
            for op in ("max_pool2d", "avg_pool2d"):
                yield op, dict(zip(names, settings, strict=True)) | {"ceil_mode": ceil}
