"""Crop, pad, resize and reshape in ONNX: the rules in which sizes appear as numbers.

In a file for images of one size these numbers are constants. In one for all sizes (sizes.py) the graph computes them
from the image's shape: Shape gives a row of whole numbers, and there are nodes for whole numbers as for others.
"""

from __future__ import annotations

from collections.abc import Sequence

from .graph import Graph
from .recording import Call, ExportError, Value
from .sizes import LikeImage, Overlap, UpTo


def crop(graph: Graph, call: Call, name: str, x: str) -> str:
    """Slice from the offset to offset + size, along rows and columns."""
    f, rule = call.function, call.size_rule
    starts = graph.integers(f"{name}.from", f.offset)
    if rule is None:
        ends = graph.integers(f"{name}.to", [o + n for o, n in zip(f.offset, f.size, strict=True)])
    else:
        size = graph.size_of(rule.image) if isinstance(rule, LikeImage) else common_size(graph, rule)
        ends = plus(graph, f"{name}.to", size, f.offset)
    return graph.node("Slice", [x, starts, ends, graph.integers(f"{name}.axes", [2, 3])], name)


def common_size(graph: Graph, rule: Overlap) -> str:
    """How many rows and columns two maps share, from an offset in each on: the smaller of what is left."""
    key = frozenset(rule.parts)
    if key not in graph.sizes:
        name = graph.names[rule.parts[0][0]]
        left = [
            plus(graph, f"{graph.names[value]}.left", graph.size_of(value), [-o for o in offset])
            for value, offset in rule.parts
        ]
        graph.sizes[key] = graph.node("Min", left, f"{name}.common_size")
    return graph.sizes[key]


def pad(graph: Graph, call: Call, name: str, x: str) -> str:
    """A frame of zeros; with a rule, one that is filled up below and on the right to the size the rule says."""
    f, rule = call.function, call.size_rule
    if rule is None:
        pads = graph.integers(f"{name}.pads", (0, 0, f.top, f.left, 0, 0, f.bottom, f.right))
        return graph.node("Pad", [x, pads], name)
    size = graph.size_of(rule.image)
    far = graph.node("Sub", [up_to(graph, name, size, rule), size], f"{name}.far")
    near = graph.integers(f"{name}.near", [0, 0, 0, 0])
    pads = graph.node("Concat", [near, graph.integers(f"{name}.none", [0, 0]), far], f"{name}.pads", axis=0)
    return graph.node("Pad", [x, pads], name)


def up_to(graph: Graph, name: str, size: str, rule: UpTo) -> str:
    """max(least, step·⌈(size - rest) / step⌉ + rest). What is divided is never negative, so cutting off rounds down."""
    for operator, number, what in (
        ("Add", [s - 1 - r for s, r in zip(rule.step, rule.rest, strict=True)], "rounded"),
        ("Div", rule.step, "steps"),
        ("Mul", rule.step, "stepped"),
        ("Add", rule.rest, "shifted"),
        ("Max", rule.least, "wanted"),
    ):
        size = graph.node(operator, [size, graph.integers(f"{name}.{what}.by", number)], f"{name}.{what}")
    return size


def resize_bilinear(graph: Graph, call: Call, name: str, x: str) -> str:
    """Resize, with pixels as squares ("half_pixel") or as points ("align_corners"). It wants all four sizes, of which
    images and channels are read from x's shape."""
    f, rule = call.function, call.size_rule
    shape = graph.node("Shape", [x], f"{name}.shape")
    ends = (graph.integers(f"{name}.images.from", [0]), graph.integers(f"{name}.images.to", [2]))
    front = graph.node("Slice", [shape, *ends], f"{name}.images")
    wanted = graph.integers(f"{name}.size", f.size) if rule is None else graph.size_of(rule.image)
    sizes = graph.node("Concat", [front, wanted], f"{name}.sizes", axis=0)
    places = "align_corners" if f.align_corners else "half_pixel"
    return graph.node(
        "Resize", [x, "", "", sizes], name, mode="linear", coordinate_transformation_mode=places, nearest_mode="floor"
    )


def reshape(graph: Graph, call: Call, name: str, x: str) -> str:
    """Flatten, where all axes but the first are folded; else Reshape, the first axis, that of the images, staying as it
    is (0 in ONNX)."""
    before, after = call.inputs[0].shape, call.output.shape
    if not before or after[:1] != before[:1]:
        raise ExportError(
            f"export: {call.place}: {before} becomes {after}, which mixes the images of a batch; a file takes any "
            "number of images, so the first axis must stay"
        )
    if len(after) == 2 and isinstance(call.inputs[0], Value):
        return graph.node("Flatten", [x], name, axis=1)
    if call.varies:
        raise ExportError(
            f"export: {call.place}: the shape {after} depends on the size of the map; export the network for images of "
            "one size"
        )
    return graph.node("Reshape", [x, graph.integers(f"{name}.shape", (0, *after[1:]))], name)


def plus(graph: Graph, name: str, size: str, numbers: Sequence[int]) -> str:
    """size + numbers, for whole numbers; size itself where there is nothing to add."""
    return graph.node("Add", [size, graph.integers(f"{name}.by", numbers)], name) if any(numbers) else size
