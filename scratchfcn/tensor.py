"""Reverse-mode automatic differentiation: a Tensor remembers the op that made it.

Calling an op (a `Function`) does two things: `forward` computes the output array, and, if any input wants a
gradient, the output Tensor keeps a reference to the op in `grad_fn`. The op in turn keeps, in `edges`, where each
of its inputs came from. These references are the graph; nothing else is recorded.

`loss.backward()` walks the graph from the loss to the leaves, each op after all the ops that used its output, and
calls each op's `backward(gy)`: given the gradient of the loss by the op's output, return the gradient by each
input. Gradients that reach the same place along several paths add up: that is the chain rule.

The graph holds ops, and Tensors only at its leaves. An activation that no op saved for its backward pass is freed as
soon as the forward code lets go of it, and an op's saved arrays are freed as soon as its backward has run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from .backend import array_module, device_of, get_device, is_array, on_gpu, to_device, to_numpy

# --- switches ---------------------------------------------------------------------------------------------

_grad_enabled = True
_find_non_finite = False


@contextmanager
def no_grad() -> Iterator[None]:
    """Within this block no graph is recorded: for validation, prediction and parameter updates."""
    global _grad_enabled
    before, _grad_enabled = _grad_enabled, False
    try:
        yield
    finally:
        _grad_enabled = before


class NonFiniteError(FloatingPointError):
    """Raised within `find_non_finite()` by the first op whose output holds a NaN or an infinity; see `.function`."""

    def __init__(self, function: Function, inputs: Sequence[Any], output: Any) -> None:
        self.function, self.inputs = function, inputs
        given = [x for x in inputs if x is not None]
        shapes = ", ".join(str(x.shape) for x in given)
        already = [i for i, x in enumerate(given) if not array_module(x.data).isfinite(x.data).all()]
        cause = f"input {already[0]} already holds NaN or infinity" if already else f"output {output.shape} overflows"
        super().__init__(f"{function.name}: with inputs {shapes}, {cause}")


@contextmanager
def find_non_finite() -> Iterator[None]:
    """Within this block every op's output is looked at; the first NaN or infinity raises NonFiniteError."""
    global _find_non_finite
    before, _find_non_finite = _find_non_finite, True
    try:
        yield
    finally:
        _find_non_finite = before


# --- ops --------------------------------------------------------------------------------------------------


class Function:
    """One op: `forward` and, below it, `backward`, both on raw arrays.

    A subclass's `__init__` takes the settings (stride, padding …), `forward(*arrays)` returns one array and keeps
    what backward needs as attributes, `backward(gy)` returns a gradient per input: one array, or a tuple with
    None where there is none to give. An op works by itself, without any Tensor::

        f = Conv2d(stride=1, padding=1); y = f.forward(x, w, b); gx, gw, gb = f.backward(gy)
    """

    edges: tuple[Function | Tensor | None, ...] = ()  # where each input came from; None wants no gradient
    recorded = False  # whether this op is part of a graph
    freed = False  # whether backward has run and the saved arrays are gone

    def forward(self, *arrays: Any) -> Any:
        raise TypeError(f"{type(self).__name__} defines no forward")

    def backward(self, gy: Any) -> Any:
        raise TypeError(f"{self.name} has no backward: it cannot be part of a loss")

    def __call__(self, *inputs: Any) -> Tensor:
        """Run `forward` on the inputs' arrays and record this op if a gradient will be wanted."""
        if self.recorded or self.freed:
            raise RuntimeError(f"{self.name}: this op is in a graph already; make a new {type(self).__name__} per call")
        tensors = [as_tensor(x) for x in inputs]
        if len({isinstance(x.data, np.ndarray) for x in tensors if x is not None}) > 1:
            places = ", ".join(x.device for x in tensors if x is not None)
            raise ValueError(f"{self.name}: its inputs lie on different devices ({places}); move them with .to(device)")
        wanted = _grad_enabled and any(x is not None and x.requires_grad for x in tensors)
        if wanted:  # before forward, which may keep less where an input wants no gradient
            self.recorded = True
            self.edges = tuple(None if x is None or not x.requires_grad else x.grad_fn or x for x in tensors)
            self.input_signatures = [None if x is None else (x.data.shape, x.data.dtype) for x in tensors]
        y = self.forward(*[None if x is None else x.data for x in tensors])
        if _find_non_finite and not array_module(y).isfinite(y).all():
            raise NonFiniteError(self, tensors, y)
        return Tensor._made_by(self if wanted else None, y)

    def needs_grad(self, i: int) -> bool:
        """Whether input `i`'s gradient is wanted (always, when the op is used without Tensors)."""
        return not self.recorded or self.edges[i] is not None

    @property
    def name(self) -> str:
        """The name people call this op by: `Conv2d` is `conv2d`, `MaxPool2d` is `max_pool2d`."""
        letters = type(self).__name__
        return "".join("_" + c.lower() if c.isupper() and i else c.lower() for i, c in enumerate(letters))

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


# --- tensors ----------------------------------------------------------------------------------------------


class Tensor:
    """An array (`.data`, NumPy or CuPy) that can want a gradient (`.grad`, an array of the same shape).

    data: a NumPy or CuPy array, kept without copying; numbers and lists become float32, as in torch.
    requires_grad: whether `backward` should fill in `.grad`; only for floating point data.
    device: where the array should live; by default CuPy arrays stay and the rest goes to `get_device()`.
    """

    __slots__ = ("__weakref__", "data", "grad", "grad_fn", "requires_grad")
    __array_ufunc__ = None  # array + Tensor is left to Tensor.__radd__, by NumPy and by CuPy

    def __init__(self, data: Any, requires_grad: bool = False, device: str | None = None) -> None:
        if isinstance(data, Tensor):
            data = data.data
        if isinstance(data, np.generic):
            data = np.asarray(data)
        if not is_array(data):
            data = np.asarray(data)
            if data.dtype == object:
                raise TypeError("Tensor: the nested lists have unequal lengths or hold something other than numbers")
            if data.dtype.kind == "f":
                data = data.astype(np.float32)
        if device is not None or isinstance(data, np.ndarray):
            data = to_device(data, device or get_device())
        if requires_grad and data.dtype.kind != "f":
            raise TypeError(f"Tensor: only floating point data can require a gradient, this is {data.dtype}")
        self.data = data
        self.grad: Any = None
        self.grad_fn: Function | None = None
        self.requires_grad = requires_grad

    @classmethod
    def _made_by(cls, function: Function | None, data: Any) -> Tensor:
        """An op's output: no conversions, because `forward` has already made a good array."""
        if isinstance(data, np.generic):  # NumPy turns 0-d arrays into scalars at every opportunity
            data = np.asarray(data)
        y = Tensor.__new__(Tensor)
        y.data, y.grad, y.grad_fn, y.requires_grad = data, None, function, function is not None
        return y

    def backward(self, gradient: Any = None, retain_graph: bool = False) -> None:
        """Fill in `.grad` of every leaf this Tensor depends on (added to what is there already).

        gradient: of the loss by this Tensor, same shape; may be left out if this Tensor is one number.
        retain_graph: keep the ops' saved arrays for a second walk; otherwise each is freed once used.
        Errors: RuntimeError without a graph or with a freed one; ValueError for a wrong `gradient`, or where an
        op's backward returns a gradient whose shape or dtype differs from its input's.
        """
        gradient = self._seed(gradient)
        if self.grad_fn is None:
            self.grad = gradient.copy() if self.grad is None else array_module(gradient).asarray(self.grad + gradient)
            return
        gradients: dict[Function, Any] = {self.grad_fn: gradient}  # d loss / d (op's output), while still adding up
        order = _topological_order(self.grad_fn)
        while order:
            function = order.pop()  # from the loss towards the leaves
            gy = gradients.pop(function, None)  # None: the ops that used its output returned None for it
            gxs = function.backward(gy) if gy is not None else (None,) * len(function.edges)
            gxs = gxs if isinstance(gxs, tuple) else (gxs,)
            _check_gradients(function, gxs)
            for i, (edge, gx) in enumerate(zip(function.edges, gxs, strict=True)):
                if edge is None or gx is None:
                    continue
                if isinstance(edge, Function):
                    gradients[edge] = gx if edge not in gradients else sum_of(gradients[edge], gx)
                elif edge.grad is None:
                    edge.grad = _owned(gx, (gy, *gxs[:i], *gxs[i + 1 :]))
                else:
                    edge.grad = array_module(gx).asarray(edge.grad + gx)  # NumPy adds 0-d arrays up to scalars
            if not retain_graph:
                function.__dict__.clear()  # the saved arrays go now, not when the whole graph does
                function.freed = True

    def _seed(self, gradient: Any) -> Any:
        """The gradient that a walk starts from: ones for a single number, else what the caller gave."""
        if not self.requires_grad:
            raise RuntimeError(
                "backward() on a Tensor without a graph: no input had requires_grad=True, or it came from no_grad()"
            )
        xp = array_module(self.data)
        if gradient is None:
            if self.data.size != 1:
                raise ValueError(
                    f"backward() on a Tensor of shape {self.shape} needs the gradient of the loss by it; "
                    "reduce it to one number first (.sum() or .mean()) or pass gradient="
                )
            return xp.ones_like(self.data)
        gradient = gradient.data if isinstance(gradient, Tensor) else gradient
        gradient = to_device(gradient if is_array(gradient) else np.asarray(gradient, self.dtype), self.device)
        if gradient.shape != self.shape:
            raise ValueError(f"backward(): gradient has shape {gradient.shape} but the Tensor has {self.shape}")
        return gradient.astype(self.dtype, copy=False)

    # what a Tensor is

    @property
    def shape(self) -> tuple[int, ...]:
        return self.data.shape

    @property
    def ndim(self) -> int:
        return self.data.ndim

    @property
    def size(self) -> int:
        return self.data.size

    @property
    def dtype(self) -> np.dtype:
        return self.data.dtype

    @property
    def device(self) -> str:
        return device_of(self.data)

    def __len__(self) -> int:
        return len(self.data)

    def __repr__(self) -> str:
        device = "" if self.device == "cpu" else f", device={self.device!r}"
        graph = f", grad_fn={self.grad_fn}" if self.grad_fn else ", requires_grad=True" if self.requires_grad else ""
        return f"Tensor({np.array2string(to_numpy(self.data), prefix='Tensor(')}{device}{graph})"

    # what Python and NumPy expect of a number or an array

    def __float__(self) -> float:
        return float(self.item())

    def __bool__(self) -> bool:
        return bool(self.item())

    def __format__(self, spec: str) -> str:
        """f"{loss:.3f}" shows the number; without a format, or for more than one number, repr."""
        return format(self.item(), spec) if spec and self.size == 1 else format(repr(self), spec)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.numpy(), dtype=dtype, copy=copy)

    def __eq__(self, other: object) -> bool:
        """Two Tensors are equal if they are the same one, which is what graphs and sets need; values are compared as
        arrays, and a comparison that would quietly be False is refused."""
        if other is None or isinstance(other, Tensor):
            return self is other
        raise TypeError(f"Tensor == {type(other).__name__}: compare arrays instead, x.numpy() == …")

    __hash__ = object.__hash__

    # out of the graph

    def numpy(self) -> np.ndarray:
        """The values as a NumPy array (shared memory on the CPU, a copy from a GPU)."""
        return to_numpy(self.data)

    def item(self) -> float:
        """The value of a one-element Tensor as a Python number (waits for the GPU)."""
        if self.size != 1:
            raise ValueError(f"a Tensor of shape {self.shape} is not one number; reduce it with .sum() or .mean()")
        return self.data.item()

    def detach(self) -> Tensor:
        """The same data without history: gradients stop here."""
        return Tensor._made_by(None, self.data)

    def to(self, device: str) -> Tensor:
        """This Tensor on `device`; gradients flow back through the copy. Itself, if it is there already."""
        return self if self.device == device else To(device)(self)

    # arithmetic: the broadcasting ops below

    def __add__(self, other: Any) -> Tensor:
        return Add()(self, like(other, self))

    def __sub__(self, other: Any) -> Tensor:
        return Sub()(self, like(other, self))

    def __mul__(self, other: Any) -> Tensor:
        return Mul()(self, like(other, self))

    def __truediv__(self, other: Any) -> Tensor:
        return Div()(self, like(other, self))

    def __rsub__(self, other: Any) -> Tensor:
        return Sub()(like(other, self), self)

    def __rtruediv__(self, other: Any) -> Tensor:
        return Div()(like(other, self), self)

    __radd__, __rmul__ = __add__, __mul__

    def __neg__(self) -> Tensor:
        return self * -1

    def sum(self, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Tensor:
        """The sum over `axis` (all axes by default)."""
        return Sum(axis, keepdims)(self)

    def mean(self, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Tensor:
        """The mean over `axis` (all axes by default)."""
        total = self.sum(axis, keepdims)
        return total * (total.size / self.size)


class Parameter(Tensor):
    """A Tensor that a model learns: a leaf that wants its gradient."""

    __slots__ = ()

    def __init__(self, data: Any, requires_grad: bool = True, device: str | None = None) -> None:
        super().__init__(data, requires_grad, device)


def as_tensor(x: Any) -> Tensor | None:
    """`x` as a Tensor (None stays None: an input left out, such as a bias)."""
    return x if x is None or isinstance(x, Tensor) else Tensor(x)


def like(x: Any, other: Tensor) -> Tensor:
    """A number or array as a Tensor fit for arithmetic with `other`; plain numbers take its dtype, as in torch."""
    if isinstance(x, int | float | np.number):
        fits = other.dtype.kind == "f" or isinstance(x, int | np.integer)
        dtype = other.dtype if fits else np.float32  # 0.5 times whole numbers is no whole number
        return Tensor._made_by(None, array_module(other.data).full((), x, dtype))
    return x if isinstance(x, Tensor) else Tensor(x, device=None if is_array(x) else other.device)


# --- the walk ---------------------------------------------------------------------------------------------


def _topological_order(root: Function) -> list[Function]:
    """All ops that `root` depends on, inputs before users, root last. Iterative: a graph may be deeper than
    Python's recursion limit."""
    order: list[Function] = []
    seen = {root}
    stack = [(root, iter(root.edges))]
    while stack:
        function, edges = stack[-1]
        if function.freed:
            raise RuntimeError(
                f"backward() reached {function.name} a second time, but what it saved was freed by the first walk; "
                "compute the loss again, or call the first one with retain_graph=True"
            )
        unseen = next((e for e in edges if isinstance(e, Function) and e not in seen), None)
        if unseen is None:
            order.append(function)
            stack.pop()
        else:
            seen.add(unseen)
            stack.append((unseen, iter(unseen.edges)))
    return order


def _owned(gx: Any, others: tuple[Any, ...]) -> Any:
    """A gradient that a leaf may keep and change: `gx`, copied where it is a repeated number or shares memory with
    `others`, which is what an op that only passes gradients on returns."""
    xp = array_module(gx)
    shared = 0 in gx.strides or any(xp.may_share_memory(gx, o) for o in others if type(o) is type(gx))
    return gx.copy() if shared else xp.asarray(gx)


def _check_gradients(function: Function, gxs: tuple[Any, ...]) -> None:
    """Hold what `backward` returned against the inputs it belongs to: the cheapest test of a gradient there is."""
    if len(gxs) != len(function.edges):
        raise ValueError(f"{function.name}: backward returned {len(gxs)} gradients for {len(function.edges)} inputs")
    for i, (gx, signature) in enumerate(zip(gxs, function.input_signatures, strict=True)):
        if gx is None or signature is None:
            continue
        shape, dtype = signature
        if not is_array(gx) and not isinstance(gx, np.generic):
            raise ValueError(f"{function.name}: gradient {i} is no array but {type(gx).__name__} {gx!r:.60}")
        if gx.shape != shape:
            raise ValueError(f"{function.name}: gradient {i} has shape {gx.shape} but its input has shape {shape}")
        if gx.dtype != dtype:
            raise ValueError(f"{function.name}: gradient {i} is {gx.dtype} but its input is {dtype}")


# --- the operators ----------------------------------------------------------------------------------------


def sum_of(a: Any, b: Any) -> Any:
    """a + b. Two images stay laid out as a is (see ops/layout.py); CuPy by itself would give the sum another layout."""
    if a.shape != b.shape or a.dtype != b.dtype or not on_gpu(a):
        return a + b
    xp = array_module(a)
    return xp.add(a, b, out=xp.empty_like(a))


def unbroadcast(gx: Any, shape: tuple[int, ...], dtype: np.dtype) -> Any:
    """Undo broadcasting: an input that was repeated along an axis gets the sum of its copies' gradients."""
    lead = gx.ndim - len(shape)
    axes = tuple(range(lead)) + tuple(i + lead for i, n in enumerate(shape) if n == 1 and gx.shape[i + lead] != 1)
    if axes:
        gx = gx.sum(axis=axes).reshape(shape)
    return gx.astype(dtype, copy=False)


class Add(Function):
    """y = a + b;   ga = gy, gb = gy. Derivation: both have the factor 1. Paper, section 4.2: skips are added."""

    def forward(self, a: Any, b: Any) -> Any:
        self.a, self.b = (a.shape, a.dtype), (b.shape, b.dtype)
        return sum_of(a, b)

    def backward(self, gy: Any) -> tuple[Any, Any]:
        return unbroadcast(gy, *self.a), unbroadcast(gy, *self.b)


class Sub(Function):
    """y = a - b;   ga = gy, gb = -gy. Derivation: the factors are 1 and -1."""

    def forward(self, a: Any, b: Any) -> Any:
        self.a, self.b = (a.shape, a.dtype), (b.shape, b.dtype)
        return a - b

    def backward(self, gy: Any) -> tuple[Any, Any]:
        return unbroadcast(gy, *self.a), unbroadcast(-gy, *self.b)


class Mul(Function):
    """y = a·b;   ga = gy·b, gb = gy·a. Derivation: a's factor is b, and b's is a."""

    def forward(self, a: Any, b: Any) -> Any:
        self.a, self.b = a, b
        return a * b

    def backward(self, gy: Any) -> tuple[Any, Any]:
        a, b = self.a, self.b
        ga = unbroadcast(gy * b, a.shape, a.dtype) if self.needs_grad(0) else None
        gb = unbroadcast(gy * a, b.shape, b.dtype) if self.needs_grad(1) else None
        return ga, gb


class Div(Function):
    """y = a/b;   ga = gy/b, gb = -gy·a/b². Derivation: a's factor is 1/b, and the derivative of 1/b is -1/b²."""

    def forward(self, a: Any, b: Any) -> Any:
        self.a, self.b = a, b
        return a / b

    def backward(self, gy: Any) -> tuple[Any, Any]:
        a, b = self.a, self.b
        ga = unbroadcast(gy / b, a.shape, a.dtype) if self.needs_grad(0) else None
        gb = unbroadcast(-gy * a / (b * b), b.shape, b.dtype) if self.needs_grad(1) else None
        return ga, gb


class Sum(Function):
    """y = Σ x over `axis`;   gx = gy, repeated along the summed axes. Derivation: every x has the factor 1 in its y."""

    def __init__(self, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> None:
        self.axis, self.keepdims = axis, keepdims

    def forward(self, x: Any) -> Any:
        self.shape = x.shape
        y = x.sum(axis=self.axis, keepdims=True)
        self.kept_shape = y.shape
        return y if self.keepdims else y.squeeze(axis=self.axis)

    def backward(self, gy: Any) -> Any:
        xp = array_module(gy)
        return xp.broadcast_to(gy.reshape(self.kept_shape), self.shape)


class To(Function):
    """y = x on another device;   gx = gy, back on the first."""

    def __init__(self, device: str) -> None:
        self.device = device

    def forward(self, x: Any) -> Any:
        self.source = device_of(x)
        return to_device(x, self.device)

    def backward(self, gy: Any) -> Any:
        return to_device(gy, self.source)
