"""What a network would compute, without computing it: the shapes of all maps, and what each op costs.

Convolving an image is expensive; knowing how large the result is takes a division. So `dry_run` sends arrays through
the model that have a shape but no memory (one zero, repeated by strides of 0), and lets no op do its arithmetic.
How, depends on the op:

- most treat each image of a batch by itself. They are run as they are, on a batch of no images: all checks are made and
  all sizes worked out, by the op's own code, and then there is nothing to do. The batch size is put back afterwards;
- crop and reshape give views, which cost nothing: they are run as they are;
- for the few others there are rules in `output_shape`.

The model itself notices nothing: its `forward` runs line by line, in the mode (train or eval) in which the model is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from ..backend import array_module, is_array
from ..geometry import Grid
from ..nn import Module
from ..ops import (
    AdaptiveAvgPool2d,
    Add,
    AvgPool2d,
    BatchNorm2d,
    Concat,
    Conv1x1,
    Conv2d,
    ConvTranspose2d,
    Crop,
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
    Sub,
    Sum,
)
from ..ops.conv import check_conv
from ..ops.im2col import conv_transpose_output_size
from ..ops.loss import check_class_weight, check_labels
from ..ops.norm import check_batch_norm
from ..tensor import Function, Tensor, To, as_tensor
from .grids import grid_behind
from .layers import LayerNames
from .products import matrix_products, multiply_adds, shares_memory

Shape = tuple[int, ...]

VIEWS = (Crop, Reshape)
BINARY = (Add, Sub, Mul, Div)
SAME = (Dropout, Relu, Relu6, To)
BY_IMAGE = (
    AdaptiveAvgPool2d,
    AvgPool2d,
    Conv1x1,
    Conv2d,
    GlobalAvgPool2d,
    Linear,
    LocalResponseNorm,
    MaxPool2d,
    Pad,
    ResizeBilinear,
)


@dataclass(frozen=True)
class Row:
    """One call of an op.

    layer: whose parameters it was given, or "after" the last layer there was. inputs: the shapes that it was given
    beside the layer's parameters. parameters: how many numbers of them. activation_bytes: of the output, 0 where it is
    a view of an input. grid: where the output's pixels lie on the image, along its rows (see grids.py); None where it
    does not come from the image.
    """

    op: str
    layer: str
    inputs: tuple[Shape, ...]
    output: Shape
    multiply_adds: int
    parameters: int
    activation_bytes: int
    grid: Grid | None


@dataclass
class DryRun:
    """rows: every call of an op, in order. output: what the model returned, with a shape in place of each Tensor."""

    rows: list[Row]
    output: Any

    @property
    def multiply_adds(self) -> int:
        return sum(row.multiply_adds for row in self.rows)

    @property
    def coarsest(self) -> Grid | None:
        """The grid of the map with the largest stride; of several, the one whose pixels see most."""
        grids = [row.grid for row in self.rows if row.grid is not None]
        return max(grids, key=lambda grid: (grid.stride, grid.receptive_field), default=None)


def dry_run(model: Module, shape: Shape) -> DryRun:
    """What `model` would do with an input of `shape`, usually (N, C, H, W). The model stays as it is.

    Errors: those that the model's ops raise for shapes that do not fit.
    """
    like = next((p.data for p in model.parameters()), np.zeros((), np.float32))
    image = Tensor._made_by(None, nothing(like, shape))
    learning = [module for module in model.modules() if module.training]
    buffers = [array for module in learning for array in vars(module).values() if is_array(array)]
    before = [array.copy() for array in buffers]
    try:
        with without_computing(model) as recorder:
            recorder.grids[id(image.data)] = Grid()
            output = model(image)
    finally:
        for array, values in zip(buffers, before, strict=True):  # batch norm counts its batches itself
            array[...] = values
    return DryRun(recorder.rows, shapes_of(output))


def shapes_of(value: Any) -> Any:
    """Tensors → their shapes, within tuples, lists and dictionaries too."""
    if isinstance(value, Tensor):
        return value.shape
    if isinstance(value, dict):
        return {name: shapes_of(each) for name, each in value.items()}
    if isinstance(value, tuple | list):
        shapes = [shapes_of(each) for each in value]
        return tuple(shapes) if isinstance(value, tuple) else shapes
    return value


def nothing(like: Any, shape: Shape, dtype: Any = None) -> Any:
    """A read-only array of this shape, of the type and on the device of `like`: one zero and no further memory."""
    xp = array_module(like)
    return xp.broadcast_to(xp.zeros((), dtype or like.dtype), shape)


# --- instead of computing ---------------------------------------------------------------------------------


@dataclass
class ShapeRecorder:
    """What `without_computing` fills in: a row for every op. grids: by the ids of the arrays that have one."""

    names: LayerNames
    rows: list[Row] = field(default_factory=list)
    grids: dict[int, Grid] = field(default_factory=dict)
    arrays: list[Any] = field(default_factory=list)  # kept, so that no two of them get the same id

    def call(self, function: Function, inputs: Sequence[Any]) -> Tensor:
        """In place of `function(*inputs)`."""
        arrays = [None if x is None else as_tensor(x).data for x in inputs]
        y = dry_output(function, arrays)
        given = [a for a in arrays if a is not None]
        grid = grid_behind(function, arrays, [self.grids.get(id(a)) for a in arrays])
        self.rows.append(
            Row(
                function.name,
                self.names.of(given),
                tuple(a.shape for a in given if not self.names.holds(a)),
                y.shape,
                multiply_adds(matrix_products(function, arrays, y)),
                sum(a.size for a in given if self.names.holds(a)),
                0 if any(shares_memory(y, a) for a in given) else y.nbytes,
                grid,
            )
        )
        if grid is not None:
            self.grids[id(y)] = grid
        self.arrays += [*given, y]
        return Tensor._made_by(None, y)


@contextmanager
def without_computing(model: Module) -> Iterator[ShapeRecorder]:
    """Within this block no op computes anything: what it returns has the right shape, and holds zeros."""
    recorder = ShapeRecorder(LayerNames(model))
    with in_place_of_calls(lambda computing, function, inputs: recorder.call(function, inputs)):
        yield recorder


@contextmanager
def in_place_of_calls(call: Callable[[Any, Function, Sequence[Any]], Tensor]) -> Iterator[None]:
    """Within this block `function(*inputs)` is `call(computing, function, inputs)`, where computing(function, *inputs)
    is what it would have been.

    Like bench/per_op.py it exchanges a method for the length of the block, here that by which all ops are called.
    """
    computing = Function.__call__
    try:
        Function.__call__ = lambda function, *inputs: call(computing, function, inputs)
        yield
    finally:
        Function.__call__ = computing


def dry_output(function: Function, arrays: list[Any]) -> Any:
    """An array like the one that `function.forward(*arrays)` returns, but without its numbers."""
    if isinstance(function, VIEWS):
        return function.forward(*arrays)
    x, shape = next(a for a in arrays if a is not None), output_shape(function, arrays)
    if isinstance(function, BINARY):
        return nothing(x, shape, np.result_type(*(a.dtype for a in arrays)))
    return nothing(function.forward(nothing(x, ())) if isinstance(function, To) else x, shape)


def output_shape(function: Function, arrays: list[Any]) -> Shape:
    """The shape of `function.forward(*arrays)`. Errors: those of the op."""
    x = arrays[0]
    if isinstance(function, SAME):
        return x.shape
    if isinstance(function, BINARY):
        return np.broadcast_shapes(*(a.shape for a in arrays))
    if isinstance(function, BY_IMAGE) and x.ndim > 1:
        return by_image(function, arrays)
    if isinstance(function, ConvTranspose2d):
        return stamped(function, *arrays)
    if isinstance(function, Concat):
        return joined(function, arrays)
    if isinstance(function, Sum):
        axes = normalize_axis_tuple(range(x.ndim) if function.axis is None else function.axis, x.ndim)
        kept = [1 if i in axes else n for i, n in enumerate(x.shape)]
        return tuple(n for i, n in enumerate(kept) if function.keepdims or i not in axes)
    if isinstance(function, BatchNorm2d):
        check_batch_norm(*arrays, function.running_mean, function.running_var, function.training)
        return x.shape
    if isinstance(function, Softmax) and -x.ndim <= function.axis < x.ndim:
        return x.shape
    if isinstance(function, SoftmaxCrossEntropy):
        check_labels(x, function.labels, function.ignore_index)
        check_class_weight(x, function.weight)
        return ()
    return function.forward(*arrays).shape  # an op of your own: computed; or an op that has something to refuse


def by_image(function: Function, arrays: list[Any]) -> Shape:
    """The shape by way of a batch of no images."""
    x, *rest = arrays
    try:
        return (len(x), *function.forward(x[:0], *rest).shape[1:])
    except (TypeError, ValueError):
        return function.forward(*arrays).shape  # refuses as well, and names the shape that x really has


def stamped(function: ConvTranspose2d, x: Any, w: Any, b: Any = None) -> Shape:
    """A transposed convolution's shape. Run on no images it would still lay out its kernel anew, which takes longer."""
    check_conv(function.name, x, w, b, function.groups, in_axis=0)
    settings = (function.stride, function.padding, function.output_padding, function.dilation)
    size = [conv_transpose_output_size(*axis) for axis in zip(x.shape[2:], w.shape[2:], *settings, strict=True)]
    if min(size) < 1:
        return function.forward(x, w, b).shape  # refuses
    return (len(x), w.shape[1] * function.groups, *size)


def joined(function: Concat, arrays: list[Any]) -> Shape:
    """The shape of concatenated arrays: that of the first, but for the axis."""
    axis, first = function.axis, arrays[0]
    if -first.ndim <= axis < first.ndim:
        sizes = np.array([a.shape if a.ndim == first.ndim else [-1] * first.ndim for a in arrays])
        sizes[:, axis] = sizes[:, axis].sum()
        if (sizes == sizes[0]).all() and len({a.dtype for a in arrays}) == 1:
            return tuple(int(n) for n in sizes[0])
    return function.forward(*arrays).shape  # refuses
