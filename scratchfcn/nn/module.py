"""Module: a part of a network that owns parameters, and may be made of further modules.

A module's members are found by looking through its attributes, in the order in which `__init__` assigned them: a
Parameter is learned, a plain array is a buffer (saved, but not learned, such as running statistics), a Module is a
child. Nothing is registered behind your back. Names are joined with dots, as in torch: `stage1.0.weight`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ..backend import device_of, is_array, resolve_device, to_device
from ..geometry import Window
from ..tensor import Parameter, Tensor


class Module:
    """Subclass it, assign parameters and children in `__init__`, and write `forward`."""

    training = True

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        # model(x) *is* model.forward(x): no frame in between when you step into it. A class that writes its own
        # __call__ keeps it, and so do its subclasses.
        if any(cls.__call__ is vars(base).get("forward") for base in cls.__mro__):
            cls.__call__ = cls.forward

    def forward(self, x: Tensor) -> Tensor:
        raise TypeError(f"{type(self).__name__} defines no forward(self, x)")

    __call__ = forward

    # --- members ---

    def children(self) -> Iterator[tuple[str, Module]]:
        """(name, module) of the direct children."""
        for name, value in vars(self).items():
            if isinstance(value, Module):
                yield name, value

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """(dotted name, module) of this module and everything below it; its own name is ""."""
        yield prefix, self
        for name, child in self.children():
            yield from child.named_modules(f"{prefix}.{name}" if prefix else name)

    def modules(self) -> Iterator[Module]:
        """This module and everything below it."""
        return (module for _, module in self.named_modules())

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """(dotted name, Parameter) of everything learned here and below; a shared one once, under its first name."""
        seen = set()
        for prefix, module in self.named_modules():
            for name, value in vars(module).items():
                if isinstance(value, Parameter) and id(value) not in seen:
                    seen.add(id(value))
                    yield (f"{prefix}.{name}" if prefix else name), value

    def parameters(self) -> Iterator[Parameter]:
        """Everything learned here and below."""
        return (parameter for _, parameter in self.named_parameters())

    # --- state ---

    def state_dict(self) -> dict[str, Any]:
        """Name → array of all parameters and buffers, with torch's names and shapes. The arrays are the live ones.

        A shared parameter appears under each of its names.
        """
        state = {}
        for prefix, module in self.named_modules():
            for name, value in vars(module).items():
                if isinstance(value, Parameter) or is_array(value):
                    key = f"{prefix}.{name}" if prefix else name
                    state[key] = value.data if isinstance(value, Parameter) else value
        return state

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> None:
        """Copy arrays (or Tensors) into the parameters and buffers of the same names; dtypes and devices stay.

        Errors: ValueError naming every array whose shape differs, and with `strict` every missing or unexpected name;
        then nothing has been changed.
        """
        own = self.state_dict()
        given = {name: _as_array(value) for name, value in state.items()}
        optional = {name for name in own if name.endswith("num_batches_tracked")}  # older files lack this counter
        problems = [
            f"{name}: shape {given[name].shape} in the file but {own[name].shape} in the model"
            for name in own
            if name in given and given[name].shape != own[name].shape
        ]
        if strict:
            problems += [f"{name}: missing from the file" for name in own if name not in given and name not in optional]
            problems += [f"{name}: not part of the model" for name in given if name not in own]
        if problems:
            shown = "\n  ".join(problems[:20]) + (f"\n  … and {len(problems) - 20} more" if len(problems) > 20 else "")
            raise ValueError(f"load_state_dict: the weights do not fit this {type(self).__name__}:\n  {shown}")
        for name, array in own.items():
            if name in given:
                array[...] = to_device(given[name].astype(array.dtype), device_of(array))

    def zero_grad(self) -> None:
        """Forget all gradients; the next backward pass starts from nothing."""
        for parameter in self.parameters():
            parameter.grad = None

    # --- modes ---

    def train(self, mode: bool = True) -> Module:
        """Training mode: dropout drops, batch norm uses and records the batch's statistics."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Module:
        """Evaluation mode: the network is a fixed function of its input."""
        return self.train(False)

    def to(self, device: str) -> Module:
        """Move all parameters, gradients and buffers to `device`, in place."""
        device = resolve_device(device)
        return self._convert(lambda array: to_device(array, device))

    def float(self) -> Module:
        """Everything floating point as float32, in place."""
        return self._convert(lambda array: array.astype("float32") if array.dtype.kind == "f" else array)

    def double(self) -> Module:
        """Everything floating point as float64, in place; gradient checks need it."""
        return self._convert(lambda array: array.astype("float64") if array.dtype.kind == "f" else array)

    def _convert(self, change: Any) -> Module:
        for module in self.modules():
            for name, value in vars(module).items():
                if isinstance(value, Parameter):
                    value.data = change(value.data)
                    value.grad = None if value.grad is None else change(value.grad)
                elif is_array(value):
                    setattr(module, name, change(value))
        return self

    # --- geometry and display ---

    def windows(self) -> list[Window]:
        """The windows along the rows of all layers in order: what geometry.py computes receptive fields from."""
        return [window for _, child in self.children() for window in child.windows()]

    def describe(self) -> str:
        """The settings shown between the parentheses of repr()."""
        return ""

    def __repr__(self) -> str:
        lines = [f"({name}): {child!r}".replace("\n", "\n  ") for name, child in self.children()]
        inside = "\n  " + "\n  ".join(lines) + "\n" if lines else self.describe()
        return f"{type(self).__name__}({inside})"


def _as_array(value: Any) -> Any:
    """An array from what people keep weights in: arrays, our Tensors, torch's tensors."""
    if isinstance(value, Tensor):
        value = value.data
    elif hasattr(value, "detach"):  # torch's: it may want a gradient, or lie on a GPU
        value = value.detach().cpu()
    return value if is_array(value) else np.asarray(value)


class Sequential(Module):
    """Layers one after the other; their names are their numbers, as in torch."""

    def __init__(self, *layers: Module) -> None:
        for i, layer in enumerate(layers):
            setattr(self, str(i), layer)

    def forward(self, x: Tensor) -> Tensor:
        for _, layer in self.children():
            x = layer(x)
        return x

    def __len__(self) -> int:
        return sum(1 for _ in self.children())

    def __iter__(self) -> Iterator[Module]:
        return (layer for _, layer in self.children())

    def __getitem__(self, i: int | slice) -> Module:
        """Layer i, or a Sequential of a slice (the same layers, renumbered)."""
        layers = list(self)[i]
        return layers if isinstance(layers, Module) else Sequential(*layers)


class ModuleList(Sequential):
    """A list of modules that you call yourself, one by one."""

    def __init__(self, modules: list[Module] | tuple[Module, ...] = ()) -> None:
        super().__init__(*modules)

    def append(self, module: Module) -> ModuleList:
        """Add a module at the end."""
        setattr(self, str(len(self)), module)
        return self

    def forward(self, *args: Any) -> Any:
        raise TypeError("a ModuleList is only a list: call its modules one by one, or use Sequential")
