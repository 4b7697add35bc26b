"""How much memory a network's maps take, worked out without computing them.

The model runs dry (see shapes.py), so its maps are arrays without memory. But they are arrays, and Python lets go of
each of them at the very moment when it would let go of the real one. So we keep a count: a map's bytes are added when
an op returns it, and taken off when it dies.

Training keeps more alive: what each op saves until its backward has run. `kept_by` says for every op what that is: an
input, its output, or something that it made for the purpose, such as a convolution's columns. Then comes the way back,
op by op: gradients of maps appear, and what was saved is freed.

It stays an estimate. What ops need for themselves while they run is counted roughly, and what Python and the memory's
allocator add is not counted at all.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..cuda.kernels import fused
from ..nn import Module
from ..ops import (
    AdaptiveAvgPool2d,
    Add,
    BatchNorm2d,
    Concat,
    Conv1x1,
    Conv2d,
    ConvTranspose2d,
    Div,
    Dropout,
    GlobalAvgPool2d,
    Linear,
    LocalResponseNorm,
    MaxPool2d,
    Mul,
    Pad,
    Relu,
    Relu6,
    Reshape,
    ResizeBilinear,
    Softmax,
    SoftmaxCrossEntropy,
    Sum,
)
from ..ops.stripes import LANE_BYTES, LANES, Stripes, stripe_bytes
from ..ops.subpixel import Subpixel
from ..parallel import threads
from ..tensor import Function, Tensor, as_tensor
from .products import shares_memory
from .shapes import Shape, dry_output, nothing
from .trace import buffers

PASS_ON = (Add, Concat, GlobalAvgPool2d, Pad, Reshape, Sum)  # their backward returns gy, or a view of it


@dataclass
class Step:
    """One op of the way back. kept: arrays that it keeps alive; made: bytes that it made to keep.

    sources: for every input that wants a gradient, the number of the step that made it, or None for a parameter or
    another leaf; and the gradient's bytes.
    """

    kept: list[Any]
    made: int
    gy: int
    sources: list[tuple[int | None, int]]
    workspace: int


@dataclass
class Memory:
    """Bytes that a model's maps take, beside its input and its parameters.

    kept: for every call of an op in order, what it adds to what is kept for backward (0 for what was kept already).
    after_forward: all that is in use when forward is done. peak: the most in use at once; in training, the gradients of
    maps and those of parameters are in it as far as they exist by then.
    """

    kept: list[int]
    after_forward: int
    peak: int


def memory_of(model: Module, shape: Shape, loss: Callable[[Any], Tensor] | None = None) -> Memory:
    """What the maps take for an input of `shape`: to predict, or, with a loss of the output, for a training step.

    Errors: those that the model's ops raise for shapes that do not fit.
    """
    like = next((p.data for p in model.parameters()), np.zeros((), np.float32))
    ledger = Ledger(model, training=loss is not None)
    state, computing = buffers(model), Function.__call__
    try:
        Function.__call__ = lambda function, *inputs: ledger.call(function, inputs)
        image = nothing(like, shape)
        ledger.saved.add(id(owner(image)))  # it is there anyway
        output = model(Tensor._made_by(None, image))
        if loss is not None:
            loss(output)
    finally:
        Function.__call__ = computing
        for array, values in state:  # batch norm counts its batches itself
            array[...] = values
    after_forward = ledger.live
    ledger.walk_back()
    return Memory(ledger.kept, after_forward, ledger.peak)


@dataclass
class Ledger:
    """What is in use. live: bytes by now; peak: the most there were."""

    model: Module
    training: bool
    live: int = 0
    peak: int = 0
    kept: list[int] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.parameters = {id(p.data) for p in self.model.parameters()}
        self.learned = {id(p.data) for p in self.model.parameters() if p.requires_grad}
        self.makers: dict[int, int] = {}  # by the ids of living arrays' owners: the step that made them
        self.saved: set[int] = set()  # ids of the owners that are kept for backward

    def call(self, function: Function, inputs: Sequence[Any]) -> Tensor:
        """In place of `function(*inputs)`."""
        arrays = [None if x is None else as_tensor(x).data for x in inputs]
        given = [a for a in arrays if a is not None]
        y = dry_output(function, arrays)
        view = any(shares_memory(y, a) for a in given)
        if not view:
            self.watch(y, y.nbytes + overhang(function, arrays, y))
        kept, made = kept_by(function, arrays, y)
        forward, backward = workspaces(function, arrays, y)
        self.note_peak(made + forward)
        wanting = [a for a in given if id(a) in self.learned or id(owner(a)) in self.makers]
        added = 0
        if self.training and wanting:
            step = Step(kept, made, y.nbytes, self.sources(function, wanting), backward)
            added = self.record(step, y)
        self.kept.append(added)
        return Tensor._made_by(None, y)

    def sources(self, function: Function, wanting: list[Any]) -> list[tuple[int | None, int]]:
        """Where the gradients go, and their bytes; 0 where backward hands on what it was given."""
        return [(self.makers.get(id(owner(a))), 0 if isinstance(function, PASS_ON) else a.nbytes) for a in wanting]

    def record(self, step: Step, y: Any) -> int:
        """Put an op on the way back; returns the bytes that it adds to what is kept."""
        step.kept = [a for a in step.kept if id(a) not in self.parameters]
        fresh = {id(owner(a)): a for a in step.kept if id(owner(a)) not in self.saved}
        self.saved |= set(fresh)
        self.live += step.made
        self.steps.append(step)
        self.makers[id(owner(y))] = len(self.steps) - 1  # for a view too: its gradient arrives here first
        return step.made + sum(a.nbytes for a in fresh.values())

    def watch(self, y: Any, size: int) -> None:
        """Count y from now on until it dies."""
        self.live += size
        weakref.finalize(owner(y), self.forget, id(owner(y)), size).atexit = False

    def forget(self, identity: int, size: int) -> None:
        self.live -= size
        self.makers.pop(identity, None)
        self.saved.discard(identity)

    def note_peak(self, more: int = 0) -> None:
        self.peak = max(self.peak, self.live + more)

    def walk_back(self) -> None:
        """Backward: each op takes its gradient and makes those of its inputs; what it had saved is freed."""
        pending = {len(self.steps) - 1: self.steps[-1].gy} if self.steps else {}
        while self.steps:
            step = self.steps.pop()
            made = sum(size for _, size in step.sources)
            self.live += made
            self.note_peak(step.workspace + sum(pending.values()))
            handed_on = pending.pop(len(self.steps), 0)
            for source, size in step.sources:
                if source is not None:  # a map's gradient waits for its turn; a parameter's stays
                    self.live -= size
                    pending[source] = max(size or handed_on, pending.get(source, 0))
                    handed_on = handed_on if size else 0  # one array, however many it is handed on to
            self.live -= step.made
            del step  # and with it the arrays that it kept


def owner(array: Any) -> Any:
    """The array that holds the memory which this one may be a view of."""
    while getattr(array, "base", None) is not None:
        array = array.base
    return array


# --- op by op ---------------------------------------------------------------------------------------------


def kept_by(function: Function, arrays: Sequence[Any], y: Any) -> tuple[list[Any], int]:
    """What an op keeps for its backward: which of its inputs and its output, and bytes that it made for it.

    Small things that do not grow with the image, such as batch norm's (C,) vectors, are left out.
    """
    x = arrays[0]
    if isinstance(function, Relu | Relu6 | Softmax):
        return [y], 0
    if isinstance(function, MaxPool2d):  # on a GPU: which pixel won, by its number
        return ([], 4 * y.size) if fused(x) else ([x, y], 0)
    if isinstance(function, Linear | Conv1x1):
        return [x], 0
    if isinstance(function, Mul | Div):
        return [a for a in arrays if a.size > 1], 0
    if isinstance(function, Conv2d):
        columns = column_bytes(function, arrays, y)
        return ([x], 0) if in_stripes(function, arrays, y) or columns == 0 else ([], columns)
    if isinstance(function, ConvTranspose2d):
        upsampling = upsampler(function, arrays, y)
        if upsampling is None:
            return [x], 0
        (A, B), (RH, RW) = upsampling.blocks(x.shape[2:]), upsampling.reach
        return [], x.shape[0] * x.shape[1] * RH * RW * A * B * x.itemsize  # its columns
    if isinstance(function, BatchNorm2d):
        return ([x], 0) if fused(x) else ([], x.nbytes)  # x - mean
    if isinstance(function, LocalResponseNorm):
        return [x], x.nbytes  # and the energies of the neighbours
    if isinstance(function, AdaptiveAvgPool2d | ResizeBilinear):
        return [], (x.shape[2] * y.shape[2] + x.shape[3] * y.shape[3]) * x.itemsize  # a matrix for each axis
    if isinstance(function, Dropout):
        return [], x.size  # the mask, a byte a number
    if isinstance(function, SoftmaxCrossEntropy):
        pixels = x.size // x.shape[1]
        if fused(x):
            return [x], pixels * (2 * x.itemsize + 1)  # the largest score and the sum of each pixel, and its label
        return [], x.nbytes + pixels * (x.itemsize + 8)  # probabilities; weights and places of the true classes
    return [], 0


def overhang(function: Function, arrays: Sequence[Any], y: Any) -> int:
    """Bytes of memory that y's array holds beyond y itself: an upsampled map is cut out of whole blocks."""
    upsampling = upsampler(function, arrays, y) if isinstance(function, ConvTranspose2d) else None
    if upsampling is None:
        return 0
    (A, B), (SH, SW) = upsampling.blocks(arrays[0].shape[2:]), function.stride
    N, OC, OH, OW = y.shape
    return N * OC * (A * SH * B * SW - OH * OW) * y.itemsize


def workspaces(function: Function, arrays: Sequence[Any], y: Any) -> tuple[int, int]:
    """Bytes that an op needs while it runs, beside what it is given, keeps and returns: forward, and backward."""
    x = arrays[0]
    if isinstance(function, Conv2d):
        rows, columns = function.padding
        N, C, H, W = x.shape
        framed = N * C * (H + 2 * rows) * (W + 2 * columns) * x.itemsize if rows or columns else 0
        everything = column_bytes(function, arrays, y)
        if not in_stripes(function, arrays, y):
            return framed, 2 * everything
        w = arrays[1]
        some = stripes_at_once(x, w.size // len(w) * function.groups, len(w), everything)
        again = stripes_at_once(x, w.size // w.shape[1], C, everything * len(w) // C)
        lanes = min(LANES, max(1, LANE_BYTES // w.nbytes), -(-everything // stripe_bytes(x)))
        return framed + some, y.nbytes + again + lanes * w.nbytes
    if isinstance(function, ConvTranspose2d):
        turned = 0 if upsampler(function, arrays, y) is None else 2 * arrays[1].nbytes  # the kernel in phases
        return turned, turned + y.nbytes + overhang(function, arrays, y)
    if isinstance(function, MaxPool2d):
        rows, columns = function.padding
        if fused(x):
            return 0, 0
        return x.nbytes if rows or columns else 0, y.size
    if isinstance(function, Dropout):
        return x.nbytes + 4 * x.size, x.nbytes
    if isinstance(function, LocalResponseNorm):
        return 3 * x.nbytes, 4 * x.nbytes
    if isinstance(function, Softmax | Mul | Div):
        return y.nbytes, y.nbytes
    return 0, 0


def stripes_at_once(x: Any, rows: int, products: int, everything: int) -> int:
    """Bytes of the columns that are there at once: a stripe for every core (see Stripes.cut), on a GPU one."""
    pixels = max(stripe_bytes(x) // (rows * x.itemsize), min(2 * products, 1024))
    at_once = threads() if isinstance(x, np.ndarray) else 1
    return min(everything, at_once * rows * pixels * x.itemsize)


def column_bytes(function: Conv2d, arrays: Sequence[Any], y: Any) -> int:
    """The size of a convolution's columns; 0 where they are x itself."""
    x, (KH, KW) = arrays[0], arrays[1].shape[2:]
    if (KH, KW) == (1, 1) and function.stride == (1, 1) and function.padding == (0, 0):
        return 0
    return x.shape[1] * KH * KW * (y.size // y.shape[1]) * x.itemsize


def in_stripes(function: Conv2d, arrays: Sequence[Any], y: Any) -> bool:
    """Whether the convolution is done in stripes, which keep no columns."""
    settings = (function.stride, function.padding, function.dilation, function.groups)
    return Stripes(arrays[1].shape[2:], *settings).pay(arrays[0], y.size // y.shape[1])


def upsampler(function: ConvTranspose2d, arrays: Sequence[Any], y: Any) -> Subpixel | None:
    """The fast way that a transposed convolution takes, where it does."""
    x, w = arrays[:2]
    way = Subpixel(w.shape[2:], function.stride, function.groups)
    function.x_shape = x.shape
    return way if function.applies(way, y.shape[2:]) else None
