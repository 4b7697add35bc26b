"""Which layer an op belongs to. Ops know nothing of layers; but they are handed a layer's parameters."""

from collections.abc import Sequence
from typing import Any

from ..nn import Module


class LayerNames:
    """The names of a model's layers, found by their parameters' arrays. Ask it in the order of the calls."""

    def __init__(self, model: Module) -> None:
        self.layers = {id(p.data): name.rpartition(".")[0] or name for name, p in model.named_parameters()}
        self.last = ""

    def holds(self, array: Any) -> bool:
        """Whether this array is one of the model's parameters."""
        return id(array) in self.layers

    def of(self, inputs: Sequence[Any]) -> str:
        """The layer whose parameters are among an op's inputs, or "after" the last one that was."""
        found = next((self.layers[id(a)] for a in inputs if id(a) in self.layers), None)
        if found is None:
            return f"after {self.last}" if self.last else ""
        self.last = found
        return found

    def start_anew(self) -> None:
        """The model is about to be called again."""
        self.last = ""
