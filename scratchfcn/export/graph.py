"""The ONNX graph while it grows: nodes, arrays, and a name of its own for everything.

ONNX is a file format for networks. A graph is a list of nodes; a node is an operator of ONNX, such as Conv or Relu,
with the names of its inputs and outputs. Arrays stand beside them as initialisers, each under its name. Here they keep
the names of the state dict ("fc6.weight"), and a node is called after its layer ("fc6") or after the layer before it
and the op ("fc6.relu"), so that a viewer such as Netron shows the network of the paper.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..backend import is_array, to_numpy
from .recording import Call, Constant, Value

# The operator set that a file asks for. From 13 on (ONNX 1.8, of 2020) softmax works along an axis and a sum takes
# its axes as an input; nothing later is needed, and every runtime of the last years reads it.
OPSET = 13
IR_VERSION = 7  # of the file format: the one that came with it
ONNX_PIP_LINE = 'pip install -e ".[onnx]"'


class Graph:
    """nodes: onnx.NodeProto, in order. arrays: initialisers by name, float32 (or int64, which sizes are made of)."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.arrays: dict[str, np.ndarray] = {}
        self.names: dict[Any, str] = {}  # of inputs, by value; of a constant, by its array's id
        self.taken: set[str] = set()
        self.outputs: set[str] = set()
        self.sizes: dict[Any, str] = {}  # names of what is known of maps' sizes, so that nothing is computed twice

    def unique(self, name: str) -> str:
        """`name`, or with a number behind it if there is one of that name: a layer may be called twice."""
        number, found = 1, name
        while found in self.taken:
            number += 1
            found = f"{name}_{number}"
        self.taken.add(found)
        return found

    def node(self, operator: str, inputs: Sequence[str], name: str, **attributes: Any) -> str:
        """Add a node with one output; the name of both."""
        from onnx import helper

        name = self.unique(name)
        self.nodes.append(helper.make_node(operator, list(inputs), [name], name=name, **attributes))
        return name

    def array(self, name: str, array: Any) -> str:
        """Add floating point numbers, as float32; their name."""
        name = self.unique(name)
        self.arrays[name] = np.asarray(to_numpy(array) if is_array(array) else array, np.float32, order="C")
        return name

    def integers(self, name: str, numbers: Sequence[int]) -> str:
        """Add a row of whole numbers, which sizes and places are given in; its name."""
        name = self.unique(name)
        self.arrays[name] = np.array(numbers, np.int64)
        return name

    def name_of(self, x: Value | Constant | None, place: str) -> str:
        """What the graph calls an input of an op; a constant is added to it. place: what to call one without a name."""
        if x is None:
            return ""
        key = x if isinstance(x, Value) else id(x.array)
        if key not in self.names:
            self.names[key] = self.array(x.name or f"{place}.constant", x.array)
        return self.names[key]

    def size_of(self, x: Value) -> str:
        """The name of x's height and width, int64 (2,), computed by the graph itself from x's shape."""
        if x not in self.sizes:
            name = self.names[x]
            shape = self.node("Shape", [name], f"{name}.shape")
            ends = (self.integers(f"{name}.shape.from", [2]), self.integers(f"{name}.shape.to", [4]))
            self.sizes[x] = self.node("Slice", [shape, *ends], f"{name}.size")
        return self.sizes[x]


def node_name(call: Call) -> str:
    """What a call's node is called: the layer whose weights it was given, or the layer before and the op."""
    if call.layer:
        return call.layer
    before = next(x.layer for x in call.inputs if isinstance(x, Value))
    return f"{before}.{call.function.name}"
