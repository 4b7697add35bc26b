"""What a network computes, written down: every op that it calls, on what, and what comes out.

A network here is a Python program: it lists nothing, it runs. So to get the list it is run once, by shapes alone (as
inspection/shapes.py does, nothing is computed), while every call of an op is noted. Three kinds of arrays meet in such
a call: those that depend on the image (`Value`), weights and other numbers that do not (`Constant`), and those left out
(None). An op that only meets constants is computed, and what it returns is a constant, too.

Ops are found by looking at `Function.__call__`. What a network does to arrays behind the ops' back (`x.data.max()`)
is not seen; the comparison with the network's own output, which follows every export, is there to notice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..inspection import nothing
from ..inspection.shapes import dry_output, in_place_of_calls
from ..nn import Module
from ..tensor import Function, Tensor, as_tensor

Shape = tuple[int, ...]


class ExportError(ValueError):
    """A network that cannot be exported as it was asked for; the message says which part, and why."""


@dataclass(eq=False)
class Value:
    """An array that depends on the image: the image itself, or what an op returned.

    layer: the last layer with weights on the way here; what names are made of. call: the op that returned it.
    dims: the shape as an ONNX file shows it, with words for sizes that may vary; empty where nothing is to be shown.
    """

    shape: Shape
    layer: str
    call: Call | None = None
    dims: tuple[int | str, ...] = ()


@dataclass(eq=False)
class Constant:
    """An array that does not depend on the image. name: its key in the state dict, or "" if it is none of those."""

    name: str
    array: Any


@dataclass(eq=False)
class Call:
    """One call of an op.

    settings: the op's attributes before it ran. layer: whose weights it was given, or "".
    size_rule, varies: for files that take images of any size, see sizes.py. size_rule says how a crop's, a frame's or a
    resized map's size follows from the image's; varies: whether the size of what the op is given does.
    """

    function: Function
    settings: dict[str, Any]
    inputs: list[Value | Constant | None]
    layer: str
    output: Value
    size_rule: Any = None
    varies: bool = False

    @property
    def place(self) -> str:
        """Where the op is, for error messages."""
        if self.layer:
            return f"{self.function.name} of layer {self.layer}"
        before = next((x.layer for x in self.inputs if isinstance(x, Value)), "")
        return f"{self.function.name} " + (f"after layer {before}" if before != IMAGE else "on the image")


@dataclass
class Recording:
    """A network as a list: `calls` in order, only those that the outputs depend on. outputs: by name, "" for the only
    one of a network that returns a Tensor."""

    image: Value
    calls: list[Call]
    outputs: dict[str, Value]


IMAGE = "image"  # what the input is called


def record(model: Module, shape: Shape) -> Recording:
    """What `model` does in evaluation with an image of `shape` (N, C, H, W). The model stays as it is.

    Errors: those that its ops raise for shapes that do not fit; ExportError for an output that no op made.
    """
    like = next((p.data for p in model.parameters()), np.zeros((), np.float32))
    image = Tensor._made_by(None, nothing(like, shape))
    recorder = Recorder({id(array): name for name, array in reversed(model.state_dict().items())})
    value = recorder.note(image.data, Value(shape, IMAGE))
    with evaluating(model), in_place_of_calls(recorder.call):
        output = model(image)
    outputs = {name: recorder.value_of(name, tensor) for name, tensor in named_outputs(output).items()}
    return Recording(value, needed(recorder.calls, outputs.values()), outputs)


@contextmanager
def evaluating(model: Module) -> Iterator[None]:
    """Within this block the model is in evaluation mode; afterwards every part of it is in the mode it was in."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


@dataclass
class Recorder:
    """names: of the state dict's arrays, by their ids."""

    names: dict[int, str]
    calls: list[Call] = field(default_factory=list)
    values: dict[int, Value] = field(default_factory=dict)  # by the ids of the arrays
    kept: list[Any] = field(default_factory=list)  # the arrays, so that no two of them get the same id

    def note(self, array: Any, value: Value) -> Value:
        self.values[id(array)] = value
        self.kept.append(array)
        return value

    def call(self, computing: Any, function: Function, inputs: Sequence[Any]) -> Tensor:
        """In place of `function(*inputs)`, which is `computing(function, *inputs)`."""
        arrays = [None if x is None else as_tensor(x).data for x in inputs]
        if not any(id(array) in self.values for array in arrays):
            return computing(function, *inputs)
        settings = dict(vars(function))
        given = [self.meaning_of(array) for array in arrays]
        y = dry_output(function, arrays)
        layer = next((layer_of(x.name) for x in given if isinstance(x, Constant) and x.name), "")
        before = next(x.layer for x in given if isinstance(x, Value))
        call = Call(function, settings, given, layer, Value(y.shape, layer or before))
        call.output.call = call
        self.calls.append(call)
        self.note(y, call.output)
        return Tensor._made_by(None, y)

    def meaning_of(self, array: Any) -> Value | Constant | None:
        if array is None:
            return None
        self.kept.append(array)
        return self.values.get(id(array)) or Constant(self.names.get(id(array), ""), array)

    def value_of(self, name: str, tensor: Any) -> Value:
        found = self.values.get(id(tensor.data)) if isinstance(tensor, Tensor) else None
        if found is None:
            what = f"output {name!r}" if name else "output"
            raise ExportError(
                f"export: the network's {what} is no Tensor that its ops made of the image; what a network computes "
                "outside of ops cannot be exported"
            )
        return found


def layer_of(name: str) -> str:
    """ "fc6.weight" → "fc6"; a weight that belongs to the network itself stands for itself."""
    return name.rpartition(".")[0] or name


def named_outputs(output: Any) -> dict[str, Any]:
    """What a network returned, by name. Of torchvision's FCN only "out": "aux" is there to help in training."""
    if isinstance(output, dict):
        return {"out": output["out"]} if "out" in output else dict(output)
    if isinstance(output, tuple | list):
        return {f"output_{i}": each for i, each in enumerate(output)}
    return {"": output}


def needed(calls: Sequence[Call], outputs: Any) -> list[Call]:
    """The calls that the outputs depend on, in order."""
    wanted, kept = set(outputs), []
    for call in reversed(calls):
        if call.output in wanted:
            kept.append(call)
            wanted.update(x for x in call.inputs if isinstance(x, Value))
    return kept[::-1]
