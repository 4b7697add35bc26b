"""Recordings of one network for images of several sizes, laid side by side: are these the same ops?

An op that has nothing to do is left out: a crop to the size that the map has already is no op at all, and an image that
needs no frame gets none. Which ones are left out depends on the image's size. So what is compared are the other ops,
the `steps`. What was cut off or added on the way to an input of a step are the `trims` of that input.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..backend import to_numpy
from ..ops import Crop, Pad, Reshape, ResizeBilinear
from .recording import Call, Constant, Recording, Value

SIZES = {ResizeBilinear: {"size"}, Reshape: {"shape"}}  # settings that may differ from size to size


@dataclass
class Edge:
    """An input of a step. source: the number of the step it comes from, -1 for the image, or a constant, or None.

    value: as the source gave it; trims: the crops and frames on the way here; shape: as it gets here.
    """

    source: Any
    value: Value | None = None
    trims: list[Call] = field(default_factory=list)
    shape: tuple[int, ...] = ()


@dataclass
class Step:
    """An op that is no crop or frame; the last one has no call and stands for the network's outputs."""

    call: Call | None
    edges: list[Edge]


def steps_of(recording: Recording) -> list[Step]:
    numbers: dict[Value, int] = {recording.image: -1}
    steps = []
    for call in recording.calls:
        if not isinstance(call.function, Crop | Pad):
            numbers[call.output] = len(steps)
            steps.append(Step(call, [edge_to(x, numbers) for x in call.inputs]))
    steps.append(Step(None, [edge_to(x, numbers) for x in recording.outputs.values()]))
    return steps


def edge_to(x: Value | Constant | None, numbers: dict[Value, int]) -> Edge:
    if not isinstance(x, Value):
        return Edge(x)
    trims, shape = [], x.shape
    while x not in numbers:
        trims.insert(0, x.call)
        x = x.call.inputs[0]
    return Edge(numbers[x], x, trims, shape)


# --- the same? ----------------------------------------------------------------------------------------------


def same_step(a: Step, b: Step) -> bool:
    """Whether two steps are the same op with the same settings and inputs; sizes may differ."""
    if (a.call is None) != (b.call is None) or len(a.edges) != len(b.edges):
        return False
    if a.call is not None:
        if type(a.call.function) is not type(b.call.function):
            return False
        if not same_settings(a.call.settings, b.call.settings, SIZES.get(type(a.call.function), set())):
            return False
    return all(same_source(x.source, y.source) for x, y in zip(a.edges, b.edges, strict=True))


def same_settings(a: dict[str, Any], b: dict[str, Any], without: set[str]) -> bool:
    if a.keys() != b.keys():
        return False
    return all(same_number(a[name], b[name]) for name in a if name not in without)


def same_source(a: Any, b: Any) -> bool:
    if isinstance(a, Constant) and isinstance(b, Constant):
        return a.name == b.name and same_number(a.array, b.array)
    return a == b


def same_number(a: Any, b: Any) -> bool:
    """Equal settings; arrays of equal numbers. A weight is the same array each time, and is not read for it."""
    if a is b:
        return True
    if hasattr(a, "shape") and hasattr(b, "shape"):
        return a.shape == b.shape and bool((to_numpy(a) == to_numpy(b)).all())
    return bool(a == b)
