"""Ops that move numbers without changing them: crop, pad, concat, reshape. Backward moves the gradient back.

Each is a matrix of zeros and ones in disguise, and its backward is that matrix transposed: what was cut off
gets zero, what was added is dropped, what was put side by side is taken apart.
"""

from collections.abc import Sequence
from typing import Any

from ..backend import array_module
from ..tensor import Function, Tensor, as_tensor
from .im2col import Pair, pair
from .layout import padded_planes, zero_image


class Crop(Function):
    """y = x[:, :, oy : oy+h, ox : ox+w];   gx = gy inside that window, 0 outside. Caffe's Crop layer.

    Derivation: y[n, c, i, j] = x[n, c, oy + i, ox + j]; a pixel inside is one output, with the factor 1, and a pixel
    outside is none. Paper, section 4.2, and its reference implementation: maps are cropped before they are added.
    """

    def __init__(self, size: int | Pair, offset: int | Pair = (0, 0)) -> None:
        self.size, self.offset = pair(size, "crop: size"), pair(offset, "crop: offset")

    def forward(self, x: Any) -> Any:
        (h, w), (oy, ox) = self.size, self.offset
        check_image("crop", x)
        H, W = x.shape[2:]
        if min(h, w) < 1 or min(oy, ox) < 0 or oy + h > H or ox + w > W:
            raise ValueError(f"crop: a window of {self.size} at offset {self.offset} does not lie within x {x.shape}")
        self.x_shape = x.shape
        return x[:, :, oy : oy + h, ox : ox + w]

    def backward(self, gy: Any) -> Any:
        (h, w), (oy, ox) = self.size, self.offset
        gx = zero_image(array_module(gy), self.x_shape, gy.dtype)
        gx[:, :, oy : oy + h, ox : ox + w] = gy
        return gx


def crop(x: Tensor, size: int | Pair, offset: int | Pair = (0, 0)) -> Tensor:
    """Cut the window of `size` (h, w) whose upper left corner lies at `offset` (y, x): (N, C, H, W) → (N, C, h, w)."""
    size, offset = pair(size, "crop: size"), pair(offset, "crop: offset")
    return as_tensor(x) if tuple(x.shape[2:]) == size and offset == (0, 0) else Crop(size, offset)(x)


class Pad(Function):
    """y = x in a frame of zeros;   gx = gy without the frame.

    Derivation: y[n, c, top + h, left + w] = x[n, c, h, w], so gx[n, c, h, w] = gy[n, c, top + h, left + w]; the frame
    depends on nothing. The paper's nets pad their first convolution by 100 (reference implementation).
    """

    def __init__(self, padding: int | Sequence[int]) -> None:
        sides = tuple(padding) if isinstance(padding, tuple | list) else (padding,) * 4
        if len(sides) == 2:
            sides = (sides[1], sides[1], sides[0], sides[0])
        if len(sides) != 4 or min(sides) < 0:
            raise ValueError(
                f"pad: padding is an int, (rows, columns) or (left, right, top, bottom), ≥ 0; got {padding}"
            )
        self.left, self.right, self.top, self.bottom = sides

    def forward(self, x: Any) -> Any:
        check_image("pad", x)
        self.x_size = x.shape[2:]
        return padded_planes(x, (self.top, self.bottom, self.left, self.right)).transpose(1, 0, 2, 3)

    def backward(self, gy: Any) -> Any:
        H, W = self.x_size
        return gy[:, :, self.top : self.top + H, self.left : self.left + W]


def pad(x: Tensor, padding: int | Sequence[int]) -> Tensor:
    """Add zeros around the image: an int for all sides, (rows, columns), or torch's (left, right, top, bottom)."""
    return Pad(padding)(x)


class Concat(Function):
    """y = the inputs one after the other along `axis`;   gx_i = the i-th piece of gy.

    Derivation: each number of an input is one number of y, with the factor 1, in the piece that starts where the inputs
    before it end. GoogLeNet's inception modules join their branches so (paper, section 4.1).
    """

    def __init__(self, axis: int = 1) -> None:
        self.axis = axis

    def forward(self, *xs: Any) -> Any:
        first, axis = xs[0], self.axis
        if not -first.ndim <= axis < first.ndim:
            raise ValueError(f"concat: axis {axis} does not exist in an input of shape {first.shape}")
        axis %= first.ndim
        for x in xs[1:]:
            others = (x.shape[:axis] + x.shape[axis + 1 :], first.shape[:axis] + first.shape[axis + 1 :])
            if x.ndim != first.ndim or others[0] != others[1]:
                raise ValueError(f"concat: shapes {first.shape} and {x.shape} differ elsewhere than along axis {axis}")
            if x.dtype != first.dtype:
                raise TypeError(f"concat: inputs are {first.dtype} and {x.dtype}; convert one to the other's type")
        self.ends = [0]
        for x in xs:
            self.ends.append(self.ends[-1] + x.shape[axis])
        if first.ndim != 4:
            return array_module(first).concatenate(xs, axis=axis)
        N, C, H, W = (self.ends[-1] if i == axis else n for i, n in enumerate(first.shape))
        y = zero_image(array_module(first), (N, C, H, W), first.dtype)  # concatenate() would lose our memory order
        for x, piece in zip(xs, self._pieces(4), strict=True):
            y[piece] = x
        return y

    def backward(self, gy: Any) -> tuple[Any, ...]:
        return tuple(gy[piece] for piece in self._pieces(gy.ndim))

    def _pieces(self, ndim: int) -> list[tuple[slice, ...]]:
        before = (slice(None),) * (self.axis % ndim)
        return [(*before, slice(a, b)) for a, b in zip(self.ends[:-1], self.ends[1:], strict=True)]


def concat(tensors: Sequence[Tensor], axis: int = 1) -> Tensor:
    """Join tensors along `axis` (channels by default); all other sizes must agree."""
    if not tensors:
        raise ValueError("concat: there is nothing to join; pass at least one tensor")
    return Concat(axis)(*tensors)


class Reshape(Function):
    """y = the same numbers in another shape, in reading order;   gx = gy in the old shape.

    Derivation: number k of x, in reading order, is number k of y, so number k of gx is number k of gy. A fully
    connected layer's matrix becomes a kernel this way (paper, section 3.1).
    """

    def __init__(self, shape: Sequence[int]) -> None:
        self.shape = tuple(shape)

    def forward(self, x: Any) -> Any:
        self.x_shape = x.shape
        try:
            return x.reshape(self.shape)
        except ValueError:
            raise ValueError(f"reshape: {x.size} numbers of shape {x.shape} do not fit shape {self.shape}") from None

    def backward(self, gy: Any) -> Any:
        return gy.reshape(self.x_shape)


def reshape(x: Tensor, shape: Sequence[int]) -> Tensor:
    """The same numbers in another shape; one size may be -1, to be worked out."""
    return Reshape(shape)(x)


def flatten(x: Tensor, start: int = 1) -> Tensor:
    """Fold all axes from `start` on into one: (N, C, H, W) → (N, C·H·W)."""
    if not 0 <= start < max(x.ndim, 1):
        raise ValueError(f"flatten: start {start} is not an axis of shape {x.shape}")
    sizes = 1
    for n in x.shape[start:]:
        sizes *= n
    return Reshape((*x.shape[:start], sizes))(x)


def check_image(op: str, x: Any) -> None:
    """These ops speak of rows and columns: the input must have four axes."""
    if x.ndim != 4:
        raise ValueError(f"{op}: x must be (N, C, H, W), got shape {x.shape}")
