"""Where the pixels of every map lie on the image, worked out along the ops.

geometry.py follows a chain of windows; a network has branches that meet again. Here each op makes its output's grid
from those of its inputs, along the rows. Where maps meet, a pixel sees what its parts see together. Some ops look at
the whole image, however large: global pooling, a fully connected layer. Behind them pixels have no place, until they
are added to a map whose pixels have one.
"""

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from ..geometry import Grid, Window
from ..ops import (
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
    LocalResponseNorm,
    MaxPool2d,
    Mul,
    Pad,
    Relu,
    Relu6,
    ResizeBilinear,
    Softmax,
    Sub,
)
from ..tensor import Function, To

WHOLE_IMAGE = Grid(Fraction(0), Fraction(0), math.inf)  # stride 0: the next pixel looks at the same place

MEETING = (Add, Sub, Mul, Div, Concat)
PIXELWISE = (BatchNorm2d, Dropout, LocalResponseNorm, Relu, Relu6, Softmax, To)


def grid_behind(function: Function, arrays: Sequence[Any], grids: Sequence[Grid | None]) -> Grid | None:
    """The grid of the op's output. arrays: its inputs; grids: theirs, None for what does not come from the image."""
    from_image = [grid for grid in grids if grid is not None]
    if not from_image:
        return None
    if isinstance(function, MEETING):
        return together(from_image)
    grid, x = from_image[0], arrays[0]
    if isinstance(function, PIXELWISE):
        return grid
    if isinstance(function, Conv2d | Conv1x1 | ConvTranspose2d | MaxPool2d | AvgPool2d):
        return grid.through(window_of(function, arrays))
    if isinstance(function, Crop):
        return moved(grid, function.offset[0])
    if isinstance(function, Pad):
        return moved(grid, -function.top)
    if isinstance(function, ResizeBilinear):
        return resized(grid, x.shape[2], function.size[0], function.align_corners)
    return WHOLE_IMAGE


def window_of(function: Function, arrays: Sequence[Any]) -> Window:
    """The window of a convolution or a pool, along the rows."""
    if isinstance(function, Conv1x1):
        return Window(1)
    pool = isinstance(function, MaxPool2d | AvgPool2d)
    kernel = function.kernel[0] if pool else arrays[1].shape[2]
    transposed = isinstance(function, ConvTranspose2d)
    return Window(kernel, function.stride[0], function.padding[0], function.dilation[0], transposed)


def moved(grid: Grid, rows: int) -> Grid:
    """The grid that begins `rows` pixels later."""
    return Grid(grid.stride, grid.centre(rows), grid.receptive_field)


def resized(grid: Grid, size: int, out: int, align_corners: bool) -> Grid:
    """The grid of a map of `size` rows, resized to `out`: a pixel is a mean of two, one stride apart."""
    if size == out:
        return grid
    if align_corners:
        step, start = Fraction(size - 1, max(1, out - 1)), Fraction(0)
    else:
        step = Fraction(size, out)
        start = (step - 1) / 2  # the images' edges coincide, half a pixel before the first centres
    return Grid(grid.stride * step, grid.start + grid.stride * start, grid.receptive_field + grid.stride)


def together(grids: Sequence[Grid]) -> Grid:
    """The grid of maps that are added or concatenated. Where the strides differ (one was resized to a size that it does
    not divide), the pixels lie where those of a whole stride do."""
    placed = [grid for grid in grids if grid.stride > 0]
    if not placed:
        return WHOLE_IMAGE
    place = min(placed, key=lambda grid: grid.stride.denominator)
    if any(grid.receptive_field == math.inf for grid in grids):
        return Grid(place.stride, place.start, math.inf)
    first = min(grid.start - (grid.receptive_field - 1) / 2 for grid in placed)
    last = max(grid.start + (grid.receptive_field - 1) / 2 for grid in placed)
    return Grid(place.stride, place.start, last - first + 1)
