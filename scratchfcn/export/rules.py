"""From each op to ONNX nodes: one rule per op.

A rule is given the graph, the call, the name for the node, and the names of the op's inputs ("" for one left out); it
adds nodes, and returns the name of the output. Most ops are an operator of ONNX with other names for the settings.
Where the two differ, the rule says how.

An op of your own gets a rule by `RULES[MyOp] = my_rule`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import ops
from ..ops.im2col import Pair
from ..ops.norm import channel_window_sum
from ..tensor import To
from .graph import Graph, node_name
from .recording import Call, Constant, ExportError
from .rules_size import crop, pad, reshape, resize_bilinear

Rule = Callable[..., str]


def apply_rule(graph: Graph, call: Call) -> str:
    """Add what an op is in ONNX; the name of its output. Errors: ExportError naming an op that cannot be exported."""
    op = type(call.function)
    if op in REFUSED:
        raise ExportError(f"export: {call.place}: {REFUSED[op]}")
    if op not in RULES:
        known = ", ".join(sorted(rule.__name__ for rule in RULES.values()))
        raise ExportError(
            f"export: {call.place}: nothing says what {op.__name__} is in ONNX; there are rules for {known}\n"
            f"  fix: write one, as in scratchfcn/export/rules.py, and add it: RULES[{op.__name__}] = …"
        )
    name = node_name(call)
    return RULES[op](graph, call, name, *(graph.name_of(x, name) for x in call.inputs))


# --- convolutions -----------------------------------------------------------------------------------------


def conv2d(graph: Graph, call: Call, name: str, x: str, w: str, b: str = "") -> str:
    f = call.function
    return graph.node(
        "Conv", given(x, w, b), name, **window(call), dilations=f.dilation, group=f.groups, pads=f.padding * 2
    )


def conv1x1(graph: Graph, call: Call, name: str, x: str, w: str, b: str = "") -> str:
    return graph.node("Conv", given(x, w, b), name, kernel_shape=(1, 1))


def conv_transpose2d(graph: Graph, call: Call, name: str, x: str, w: str, b: str = "") -> str:
    """onnxruntime takes an output_padding less than the stride; here and in torch a dilated kernel may have more. More
    rows at the end: fewer are cut off there; and where none is left to cut, rows of zeros, and then the bias."""
    f = call.function
    settings = {**window(call), "dilations": f.dilation, "group": f.groups}
    if all(extra < s for extra, s in zip(f.output_padding, f.stride, strict=True)):
        settings |= {"pads": f.padding * 2, "output_padding": f.output_padding}
        return graph.node("ConvTranspose", given(x, w, b), name, **settings)
    kept = [min(extra, p) for extra, p in zip(f.output_padding, f.padding, strict=True)]
    far = [p - n for p, n in zip(f.padding, kept, strict=True)]
    zeros = [extra - n for extra, n in zip(f.output_padding, kept, strict=True)]
    y = graph.node("ConvTranspose", [x, w], name, **settings, pads=(*f.padding, *far))
    y = graph.node("Pad", [y, graph.integers(f"{name}.pads", (0, 0, 0, 0, 0, 0, *zeros))], f"{name}.padded")
    if not b:
        return y
    column = graph.node("Unsqueeze", [b, graph.integers(f"{name}.bias.axes", [1, 2])], f"{name}.bias.column")
    return graph.node("Add", [y, column], f"{name}.biased")  # (OC, 1, 1) added to (N, OC, OH, OW)


def linear(graph: Graph, call: Call, name: str, x: str, w: str, b: str = "") -> str:
    """Gemm is x @ wᵀ + b for a matrix x. For more axes there is MatMul, which wants w transposed."""
    if len(call.inputs[0].shape) == 2:
        return graph.node("Gemm", given(x, w, b), name, transB=1)
    transposed = graph.node("Transpose", [w], f"{name}.transposed", perm=(1, 0))
    y = graph.node("MatMul", [x, transposed], name)
    return graph.node("Add", [y, b], f"{name}.biased") if b else y


def window(call: Call) -> dict[str, Pair]:
    """Kernel and stride, as ONNX calls them."""
    return {"kernel_shape": call.inputs[1].array.shape[2:], "strides": call.function.stride}


def given(*names: str) -> list[str]:
    """Inputs without those left out at the end."""
    return [name for name in names if name]


# --- pooling ----------------------------------------------------------------------------------------------


def max_pool2d(graph: Graph, call: Call, name: str, x: str) -> str:
    """Beyond the edge lies -inf, in ONNX too. For windows that hang over, see `far_padding`."""
    f = call.function
    settings: dict[str, Any] = {"kernel_shape": f.kernel, "strides": f.stride, "dilations": f.dilation}
    if call.varies and f.ceil_mode:
        check_ceil_mode(call)
        return graph.node("MaxPool", [x], name, **settings, pads=f.padding * 2, ceil_mode=1)
    near, far = f.padding, far_padding(call)
    if all(n < k for n, k in zip(far, f.kernel, strict=True)):
        return graph.node("MaxPool", [x], name, **settings, pads=near + far)
    pads = graph.integers(f"{name}.pads", (0, 0, *near, 0, 0, *far))  # more than MaxPool pads by itself
    framed = graph.node("Pad", [x, pads, graph.array(f"{name}.infinity", -np.inf)], f"{name}.framed")
    return graph.node("MaxPool", [framed], name, **settings)


def avg_pool2d(graph: Graph, call: Call, name: str, x: str) -> str:
    """Padding counts as zeros, so `count_include_pad`; what hangs over the padded edge does not count, which a factor
    for each output pixel puts right."""
    f = call.function
    if call.varies and f.ceil_mode:
        check_ceil_mode(call, whole_windows=True)
    pads = f.padding * 2 if call.varies else f.padding + far_padding(call)
    settings = {"kernel_shape": f.kernel, "strides": f.stride, "pads": pads, "count_include_pad": 1}
    y = graph.node("AveragePool", [x], name, **settings)
    full = f.kernel[0] * f.kernel[1]
    if call.varies or (f.area == full).all():
        return y
    return graph.node("Mul", [y, graph.array(f"{name}.overhang", full / f.area)], f"{name}.mean")


def global_avg_pool2d(graph: Graph, call: Call, name: str, x: str) -> str:
    return graph.node("GlobalAveragePool", [x], name)


def adaptive_avg_pool2d(graph: Graph, call: Call, name: str, x: str) -> str:
    """An average pool where the windows are equal, else the op's own two matrices: y = R · x · Cᵀ."""
    refuse_if_varying(call, "its windows depend on the size of the map")
    f, (H, W), (OH, OW) = call.function, call.inputs[0].shape[2:], call.output.shape[2:]
    if H % OH == 0 and W % OW == 0:
        kernel = (H // OH, W // OW)
        return graph.node("AveragePool", [x], name, kernel_shape=kernel, strides=kernel)
    columns = graph.node("MatMul", [x, graph.array(f"{name}.columns", f.columns.T)], f"{name}.in_columns")
    return graph.node("MatMul", [graph.array(f"{name}.rows", f.rows), columns], name)


def far_padding(call: Call) -> Pair:
    """Padding below and to the right that makes room for exactly the op's windows.

    In floor mode it is that of the near sides. In ceil mode the last window may hang over the edge; then the padding
    reaches as far as that window, and ONNX, rounding down, comes to the same windows. (It has a ceil mode of its own,
    which does not leave out a last window that lies in the padding, or does, depending on the runtime's version.)
    """
    f, far = call.function, []
    for axis in (0, 1):
        size, out = call.inputs[0].shape[2 + axis], call.output.shape[2 + axis]
        reach = (out - 1) * f.stride[axis] + f.dilation[axis] * (f.kernel[axis] - 1) + 1  # from the near padding on
        far.append(max(0, reach - f.padding[axis] - size) if f.ceil_mode else f.padding[axis])
    return far[0], far[1]


def check_ceil_mode(call: Call, whole_windows: bool = False) -> None:
    """For maps of any size, ceil mode is left to the runtime: fine unless a window could begin in the far padding, or,
    for means, hang over."""
    f = call.function
    spans = [d * (k - 1) + 1 for d, k in zip(f.dilation, f.kernel, strict=True)]
    steps = [1 if whole_windows else span - p for span, p in zip(spans, f.padding, strict=True)]
    if any(s > most for s, most in zip(f.stride, steps, strict=True)):
        refuse_if_varying(call, f"which windows {f.kernel} of stride {f.stride} hang over depends on the map's size")


def refuse_if_varying(call: Call, why: str) -> None:
    if call.varies:
        raise ExportError(f"export: {call.place}: {why}; export the network for images of one size")


# --- numbers ----------------------------------------------------------------------------------------------


def add(graph: Graph, call: Call, name: str, a: str, b: str) -> str:
    return graph.node("Add", [a, b], name)


def sub(graph: Graph, call: Call, name: str, a: str, b: str) -> str:
    return graph.node("Sub", [a, b], name)


def mul(graph: Graph, call: Call, name: str, a: str, b: str) -> str:
    return graph.node("Mul", [a, b], name)


def div(graph: Graph, call: Call, name: str, a: str, b: str) -> str:
    return graph.node("Div", [a, b], name)


def sum_(graph: Graph, call: Call, name: str, x: str) -> str:
    f, ndim = call.function, len(call.inputs[0].shape)
    axes = range(ndim) if f.axis is None else (f.axis,) if isinstance(f.axis, int) else f.axis
    return graph.node("ReduceSum", [x, graph.integers(f"{name}.axes", list(axes))], name, keepdims=int(f.keepdims))


def relu(graph: Graph, call: Call, name: str, x: str) -> str:
    return graph.node("Relu", [x], name)


def relu6(graph: Graph, call: Call, name: str, x: str) -> str:
    return graph.node("Clip", [x, graph.array(f"{name}.least", 0), graph.array(f"{name}.most", 6)], name)


def softmax(graph: Graph, call: Call, name: str, x: str) -> str:
    return graph.node("Softmax", [x], name, axis=call.function.axis)


def concat(graph: Graph, call: Call, name: str, *xs: str) -> str:
    return graph.node("Concat", xs, name, axis=call.function.axis)


def to(graph: Graph, call: Call, name: str, x: str) -> str:
    """A file has no devices."""
    return x


def batch_norm2d(graph: Graph, call: Call, name: str, x: str, weight: str, bias: str) -> str:
    f = call.function
    if f.training:
        raise ExportError(
            f"export: {call.place}: it is in training mode even in evaluation, and so depends on the batch"
        )
    statistics = (Constant(f"{name}.{what}", getattr(f, what)) for what in ("running_mean", "running_var"))
    mean, var = (graph.name_of(constant, name) for constant in statistics)
    return graph.node("BatchNormalization", [x, weight, bias, mean, var], name, epsilon=f.eps)


def local_response_norm(graph: Graph, call: Call, name: str, x: str) -> str:
    """ONNX's LRN is the same for windows with a middle. One of even size reaches further up the channels there, and
    further down here and in torch; it is written out: x / (k + alpha/size · Σ x²)^beta, the sum over channels being a
    1x1 convolution with a band of ones."""
    f, C = call.function, call.inputs[0].shape[1]
    if f.size % 2:
        return graph.node("LRN", [x], name, size=f.size, alpha=f.alpha, beta=f.beta, bias=f.k)
    before = f.size // 2
    band = channel_window_sum(np.eye(C)[..., None, None], f.size - before - 1, before)  # (C, C, 1, 1)
    squares = graph.node("Mul", [x, x], f"{name}.squares")
    weights = [graph.array(f"{name}.band", f.alpha / f.size * band), graph.array(f"{name}.k", np.full(C, f.k))]
    energy = graph.node("Conv", [squares, *weights], f"{name}.energy")
    divisor = graph.node("Pow", [energy, graph.array(f"{name}.beta", f.beta)], f"{name}.divisor")
    return graph.node("Div", [x, divisor], name)


RULES: dict[type, Rule] = {
    ops.AdaptiveAvgPool2d: adaptive_avg_pool2d,
    ops.Add: add,
    ops.AvgPool2d: avg_pool2d,
    ops.BatchNorm2d: batch_norm2d,
    ops.Concat: concat,
    ops.Conv1x1: conv1x1,
    ops.Conv2d: conv2d,
    ops.ConvTranspose2d: conv_transpose2d,
    ops.Crop: crop,
    ops.Div: div,
    ops.GlobalAvgPool2d: global_avg_pool2d,
    ops.Linear: linear,
    ops.LocalResponseNorm: local_response_norm,
    ops.MaxPool2d: max_pool2d,
    ops.Mul: mul,
    ops.Pad: pad,
    ops.Relu: relu,
    ops.Relu6: relu6,
    ops.Reshape: reshape,
    ops.ResizeBilinear: resize_bilinear,
    ops.Softmax: softmax,
    ops.Sub: sub,
    ops.Sum: sum_,
    To: to,
}
REFUSED: dict[type, str] = {
    ops.Dropout: "dropout is switched on even in evaluation; a file gives the same answer every time",
    ops.SoftmaxCrossEntropy: "a loss is not exported; export the network that gives the scores",
}
