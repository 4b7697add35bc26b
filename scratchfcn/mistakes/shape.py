"""Crop, pad, concat, reshape: numbers that only move, sent back to the wrong place."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ..ops.im2col import pair
from .common import of_right, on_images, scales
from .mistake import Call, Mistake

# --- crop: gx[:, :, oy : oy + h, ox : ox + w] = gy --------------------------------------------------------


class Window:
    """The window of x that crop cuts out."""

    def __init__(self, call: Call) -> None:
        self.x, self.gy = call.inputs[0], call.gy
        self.offset = pair(call.settings.get("offset", (0, 0)), "offset")

    def placed(self, top: int, left: int) -> np.ndarray:
        """gy at that corner, 0 around it; ValueError where it does not fit."""
        gx, (h, w) = np.zeros_like(self.x), self.gy.shape[2:]
        gx[:, :, top : top + h, left : left + w] = self.gy
        return gx

    def opposite(self) -> tuple[int, int]:
        """The same offset, counted from the bottom and right."""
        sizes = zip(self.x.shape[2:], self.gy.shape[2:], self.offset, strict=True)
        return tuple(n - k - o for n, k, o in sizes)


def crop(name: str, remedy: str, wrong: Callable[[Window], Any]) -> Mistake:
    return Mistake("crop", "x", name, remedy, lambda call: wrong(Window(call)))


def centred(c: Window) -> np.ndarray:
    return c.placed(*[(n - k) // 2 for n, k in zip(c.x.shape[2:], c.gy.shape[2:], strict=True)])


def around(c: Window) -> np.ndarray:
    """The border of gy repeated over everything that was cut off."""
    (top, left), (bottom, right) = c.offset, c.opposite()
    return np.pad(c.gy, ((0, 0), (0, 0), (top, bottom), (left, right)), mode="edge")


THERE = "gy goes back to where its pixels came from: gx[:, :, oy : oy + h, ox : ox + w] = gy."
CROP = [
    *on_images("crop"),
    crop("the offset is ignored: gy lies at the top left", THERE, lambda c: c.placed(0, 0)),
    crop("the offset is counted from the bottom right", THERE, lambda c: c.placed(*c.opposite())),
    crop("the offsets of rows and columns are exchanged", THERE, lambda c: c.placed(*c.offset[::-1])),
    crop("gy lies in the middle", THERE, centred),
    crop("the offset is one too large", THERE, lambda c: c.placed(c.offset[0] + 1, c.offset[1] + 1)),
    crop("the offset is one too small", THERE,
         lambda c: c.placed(c.offset[0] - 1, c.offset[1] - 1) if min(c.offset) > 0 else None),
    crop("the offset is doubled", THERE, lambda c: c.placed(2 * c.offset[0], 2 * c.offset[1])),
    crop("the row offset is ignored", THERE, lambda c: c.placed(0, c.offset[1])),
    crop("the column offset is ignored", THERE, lambda c: c.placed(c.offset[0], 0)),
    crop("what was cut off gets the border of gy instead of 0",
         "Pixels outside the window had no influence on y: 0.", around),
]  # fmt: skip

# --- pad: gx = gy without the frame -----------------------------------------------------------------------


class Frame:
    """The frame that pad puts around x."""

    def __init__(self, call: Call) -> None:
        self.x, self.gy, padding = call.inputs[0], call.gy, call.settings["padding"]
        sides = tuple(padding) if isinstance(padding, tuple | list) else (padding,) * 4
        if len(sides) == 2:
            sides = (sides[1], sides[1], sides[0], sides[0])
        self.left, self.right, self.top, self.bottom = sides

    def cut(self, top: int, left: int) -> np.ndarray:
        H, W = self.x.shape[2:]
        return self.gy[:, :, top : top + H, left : left + W]


def pad(name: str, remedy: str, wrong: Callable[[Frame], Any]) -> Mistake:
    return Mistake("pad", "x", name, remedy, lambda call: wrong(Frame(call)))


def folded(c: Frame) -> np.ndarray:
    """The frame's gradient added onto the border, as if the padding had repeated it."""
    gx, (H, W) = np.zeros_like(c.x), c.x.shape[2:]
    for row in range(c.gy.shape[2]):
        for column in range(c.gy.shape[3]):
            to = np.clip(row - c.top, 0, H - 1), np.clip(column - c.left, 0, W - 1)
            gx[:, :, *to] += c.gy[:, :, row, column]
    return gx


INNER = "x lies at [top : top + H, left : left + W] of the framed image; padding is (left, right, top, bottom)."
PAD = [
    *on_images("pad"),
    pad("the upper left corner of gy is kept", INNER, lambda c: c.cut(0, 0)),
    pad("the lower right corner of gy is kept", INNER, lambda c: c.cut(c.top + c.bottom, c.left + c.right)),
    pad("opposite sides are exchanged: right for left, bottom for top", INNER, lambda c: c.cut(c.bottom, c.right)),
    pad("rows and columns are exchanged: left for top", INNER, lambda c: c.cut(c.left, c.top)),
    pad("right is taken for left", INNER, lambda c: c.cut(c.top, c.right)),
    pad("bottom is taken for top", INNER, lambda c: c.cut(c.bottom, c.left)),
    pad("rows are not cut at the top", INNER, lambda c: c.cut(0, c.left)),
    pad("columns are not cut at the left", INNER, lambda c: c.cut(c.top, 0)),
    pad("cut one row and one column too far", INNER, lambda c: c.cut(c.top + 1, c.left + 1)),
    pad("the frame's gradient is added onto the border", "The frame is made of zeros: its gradient is dropped.",
        folded),
]  # fmt: skip

# --- concat: each input gets its piece of gy --------------------------------------------------------------


def concat(i: int) -> list[Mistake]:
    """Of input xi."""
    which = f"x{i}"

    def piece(name: str, remedy: str, wrong: Callable[[Call, list[int], int], Any]) -> Mistake:
        """wrong(call, sizes of the inputs along the axis, axis), of more than one input"""

        def array(call: Call) -> Any:
            if i >= len(call.inputs) or len(call.inputs) < 2:
                return None
            axis = call.settings.get("axis", 1) % call.gy.ndim
            return wrong(call, [x.shape[axis] for x in call.inputs], axis)

        return Mistake("concat", which, name, remedy, array)

    def cut(call: Call, axis: int, start: int, size: int) -> np.ndarray:
        return np.take(call.gy, range(start, start + size), axis=axis)

    pieces = "Input i gets the piece that starts where the inputs before it end."
    if i == 0:
        of_its_place = []
    else:
        of_its_place = [
            piece(f"g{which} is the first piece of gy", pieces, lambda call, n, axis: cut(call, axis, 0, n[i])),
            piece(f"g{which} starts one place too early", pieces,
                  lambda call, n, axis: cut(call, axis, sum(n[:i]) - 1, n[i])),
            piece("all pieces are taken to be as large as this one", pieces,
                  lambda call, n, axis: cut(call, axis, i * n[i], n[i])),
            piece("the pieces are counted from the end: the inputs in reverse order", pieces,
                  lambda call, n, axis: cut(call, axis, sum(n[i + 1 :]), n[i]) if i < len(n) - 1 else None),
        ]  # fmt: skip
    return [
        *scales("concat", which, f"g{which}"),
        *of_its_place,
        piece(f"g{which} is the last piece of gy", pieces, lambda call, n, axis: cut(call, axis, sum(n) - n[i], n[i])),
        piece(f"g{which} starts one place too late", pieces,
              lambda call, n, axis: cut(call, axis, sum(n[:i]) + 1, n[i])),
        piece("the piece is in reverse order", pieces,
              lambda call, n, axis: np.flip(cut(call, axis, sum(n[:i]), n[i]), axis)),
        piece("gy is dealt out in turn: every k-th slice", pieces,
              lambda call, n, axis: np.take(call.gy, range(i, sum(n), len(n)), axis=axis)),
        piece(f"g{which} divided by the number of inputs", "The gradient is moved, not shared out.",
              lambda call, n, axis: cut(call, axis, sum(n[:i]), n[i]) / len(n)),
    ]  # fmt: skip


CONCAT = [mistake for i in range(4) for mistake in concat(i)]

# --- reshape and flatten: gy in the old shape -------------------------------------------------------------


def reshape(op: str) -> list[Mistake]:
    order = "Numbers keep their reading order: gx = gy.reshape(x.shape)."

    def moved(name: str, wrong: Callable[[Any, tuple[int, ...]], Any], remedy: str = order) -> Mistake:
        """wrong(gy, shape of x)"""
        return Mistake(op, "x", name, remedy, lambda call: wrong(call.gy, call.inputs[0].shape))

    def channels_last(gy: np.ndarray, shape: tuple[int, ...]) -> np.ndarray | None:
        if len(shape) != 4:
            return None
        N, C, H, W = shape
        return gy.reshape(N, H, W, C).transpose(0, 3, 1, 2)

    def exchanged(gy: np.ndarray, shape: tuple[int, ...]) -> np.ndarray | None:
        if len(shape) < 2:
            return None
        return gy.reshape(*shape[:-2], shape[-1], shape[-2]).swapaxes(-1, -2)

    return [
        *on_images(op),
        moved("the numbers are read in Fortran's order, first index fastest", lambda gy, s: gy.reshape(s, order="F")),
        moved("the numbers are read as channels last, (N, H, W, C)", channels_last),
        moved("rows and columns are exchanged", exchanged),
        moved("gy is transposed before it is reshaped", lambda gy, s: gy.T.reshape(s)),
        moved("the numbers are in reverse order", lambda gy, s: gy.ravel()[::-1].reshape(s)),
        of_right(op, "x", "the images are in reverse order", order, lambda g, call: g[::-1]),
    ]


MISTAKES = [*CROP, *PAD, *CONCAT, *reshape("flatten"), *reshape("reshape")]
