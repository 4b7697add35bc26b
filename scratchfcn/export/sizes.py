"""One file for images of any size: how the sizes in a network follow from the image's.

A recording holds numbers: this crop keeps 375 rows, that frame adds 12. They are right for one image. What the network
means ("as many rows as the image", "as many as both maps have") is in its code and not in the list of its ops. But it
can be found out: the network is recorded for some fifty sizes, which takes no computing, and a crop that keeps 375 of
375 rows, 90 of 90 and 33 of 33 says what it means. There are three rules:

    LikeImage   a crop or a resized map is as large as the image: the last step of every FCN
    Overlap     two maps that are added are both cut down to what they share: the paper's skips
    UpTo        the image is filled up with zeros to the next size that suits the backbone's windows

A rule is taken only if it gives the very numbers of every recording. The sizes recorded follow one another, further
than the network's coarsest stride, so all remainders occur, and there are large ones, too. A network that does
something else at some size, or has a number that no rule explains, is refused: then a file for one size is the way.

Crops and frames that change nothing are left out by the ops, at some sizes and not at others; steps.py says how
recordings can be compared all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import gcd, isfinite
from typing import Any

import numpy as np

from ..inspection import dry_run
from ..nn import Module
from ..ops import Crop, Pad, ResizeBilinear
from ..ops.im2col import Pair
from .recording import Call, ExportError, Recording, Value, evaluating, record
from .steps import Edge, Step, same_step, steps_of

Size = tuple[int, int]  # rows and columns
IN_A_ROW = 13  # so many more sizes follow one another than the coarsest stride is long
FAR = (97, 128, 255, 353, 512, 577)  # and some beyond the smallest, for what only happens in large images
LARGE = (600, 2400)  # sizes that show what a network does with large images: the first that it takes


@dataclass(frozen=True)
class LikeImage:
    """As many rows and columns as the image."""

    image: Value


@dataclass(frozen=True)
class Overlap:
    """As many as all the parts, (map, offset), have from their offset on."""

    parts: tuple[tuple[Value, Pair], ...]


@dataclass(frozen=True)
class UpTo:
    """max(least, step·⌈(n - rest) / step⌉ + rest), of n rows or columns of the image; a number for each of the two."""

    image: Value
    least: Pair
    step: Pair
    rest: Pair


def record_for_all_sizes(model: Module, batch: int, channels: int) -> tuple[Recording, int]:
    """What `model` does with an image of any size from a least one on, and that least height and width.

    The recording's sizes are those of one image; where they follow from the image's, `Call.size_rule` says how.
    Errors: ExportError naming the op whose size no rule explains, or a size at which the network does something else.
    """

    def at(size: Size) -> Recording:
        return record(model, (batch, channels, *size))

    least = least_size(at)
    stride = coarsest_stride(model, (batch, channels, least, least))
    observed = [observe(at, size, least) for size in some_sizes(least, stride)]
    return Watched(observed).recording(), least


def coarsest_stride(model: Module, shape: tuple[int, int, int, int]) -> int:
    """Of the network's maps that have one: a mean over the whole map leads to a single pixel."""
    with evaluating(model):
        grids = [row.grid for row in dry_run(model, shape).rows if row.grid is not None]
    return max((int(grid.stride) for grid in grids if isfinite(grid.stride)), default=1)


def some_sizes(least: int, stride: int) -> list[Size]:
    """Sizes to look at: rows in a row, and beside each of them other columns, so that the two are told apart."""
    rows = [*range(least, least + stride + IN_A_ROW), *(least + n for n in FAR)]
    half = (stride + IN_A_ROW) // 2
    columns = rows[half:] + rows[:half]
    return list(zip(rows, columns, strict=True))


def least_size(at: Callable[[Size], Recording]) -> int:
    """The smallest n from which on images of n x n make the network do what it does with a large one.

    Below, it may refuse them, or leave out a mean over a map that is a single pixel already.
    Errors: ExportError, with what the network says, where it takes no large image either.
    """
    high, large = large_image(at)

    def does_the_same(n: int) -> bool:
        try:
            return all(same_step(a, b) for a, b in zip(large, steps_of(at((n, n))), strict=False))
        except ExportError:
            raise
        except ValueError:
            return False

    low = 0  # too small, as high is large enough
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if does_the_same(middle) else (middle, high)
    return high


def large_image(at: Callable[[Size], Recording]) -> tuple[int, list[Step]]:
    """The first of the LARGE sizes that the network takes, and what it does then."""
    for n in LARGE:
        try:
            return n, steps_of(at((n, n)))
        except ExportError:
            raise
        except ValueError as error:
            refusal = f"{n}x{n} ({error})"
    raise ExportError(
        f"export: images of any size are not possible: the network does not take one of {refusal}; export it for "
        "images of one size"
    )


def observe(at: Callable[[Size], Recording], size: Size, least: int) -> Recording:
    try:
        return at(size)
    except ExportError:
        raise
    except ValueError as error:
        raise ExportError(
            f"export: images of any size are not possible: the network takes {least}x{least} but not "
            f"{size[1]}x{size[0]} ({error}); export it for images of one size"
        ) from None


# --- which rule explains what was seen ----------------------------------------------------------------------


class Watched:
    """The recordings of one network for several sizes. sizes: of their images; tables[i]: the steps of recording i."""

    def __init__(self, recordings: Sequence[Recording]) -> None:
        self.recordings = recordings
        self.sizes: list[Size] = [each.image.shape[2:] for each in recordings]
        self.tables = [steps_of(each) for each in recordings]
        for i in range(1, len(recordings)):
            self.check_same_steps(i)

    def check_same_steps(self, i: int) -> None:
        for first, other in zip(self.tables[0], self.tables[i], strict=False):
            if not same_step(first, other):
                what = "what it returns" if first.call is None else first.call.place
                (H, W), (OH, OW) = self.sizes[0], self.sizes[i]
                raise ExportError(
                    f"export: images of any size are not possible: {what} is not the same for an image of {W}x{H} and "
                    f"one of {OW}x{OH}; export the network for images of one size"
                )

    def recording(self) -> Recording:
        """The first of the recordings, with rules in place of the sizes that vary."""
        first = self.recordings[0]
        writer = Rewriter(first.image)
        for number, step in enumerate(self.tables[0]):
            over_sizes = [table[number] for table in self.tables]
            inputs = [self.trimmed(writer, over_sizes, i) for i in range(len(step.edges))]
            if step.call is not None:
                writer.add(self.rewritten(step.call, inputs, over_sizes))
        outputs = dict(zip(first.outputs, inputs, strict=True))  # the inputs of the last step
        for name, value in outputs.items():
            value.dims = self.dims(name, [each.outputs[name] for each in self.recordings])
        return Recording(first.image, writer.calls, outputs)

    def rewritten(self, call: Call, inputs: list[Any], over_sizes: list[Step]) -> Call:
        """The call with these inputs, and with a rule if it resizes."""
        given = [step.call.inputs[0].shape[2:] for step in over_sizes if isinstance(step.call.inputs[0], Value)]
        call.inputs, call.varies = inputs, len(set(given)) > 1
        if isinstance(call.function, ResizeBilinear):
            wanted = [step.call.function.size for step in over_sizes]
            if wanted == self.sizes:
                call.size_rule = LikeImage(self.recordings[0].image)
            elif len(set(wanted)) > 1:
                raise self.unexplained(call, wanted)
        return call

    def trimmed(self, writer: Rewriter, over_sizes: list[Step], i: int) -> Any:
        """Input i of a step, cut or framed as the rule says that explains what happened to it at every size."""
        edges = [step.edges[i] for step in over_sizes]
        kinds = {type(trim.function) for edge in edges for trim in edge.trims}
        if not kinds:
            return over_sizes[0].call.inputs[i] if edges[0].value is None else edges[0].value
        example = next(trim for edge in edges for trim in edge.trims)
        if len(kinds) > 1 or max(len(edge.trims) for edge in edges) > 1:
            raise ExportError(
                f"export: {example.place}: a map that is cut or framed several times is exported for one size only"
            )
        if kinds == {Crop}:
            offset = self.offset(example, edges)
            rule = self.crop_rule(example, over_sizes, i, offset)
            return writer.trim(edges[0], Crop(edges[0].shape[2:], offset), rule)
        return writer.trim(edges[0], *self.frame(example, edges))

    # --- which rule explains it ---

    def offset(self, example: Call, edges: list[Edge]) -> Pair:
        """Where the crop begins; (0, 0) at sizes at which there is none."""
        offsets = [vars(edge.trims[0].function).get("offset") if edge.trims else (0, 0) for edge in edges]
        if len(set(offsets)) > 1 or None in offsets:  # None: a frame
            raise self.unexplained(example, offsets)
        return offsets[0]

    def crop_rule(self, example: Call, over_sizes: list[Step], i: int, offset: Pair) -> Any:
        """What the crop keeps: as much as the image has, or as what it is added to leaves."""
        edges = [step.edges[i] for step in over_sizes]
        wanted = [edge.trims[0].function.size if edge.trims else edge.value.shape[2:] for edge in edges]
        if wanted == self.sizes:
            return LikeImage(self.recordings[0].image)
        parts = [j for j, edge in enumerate(over_sizes[0].edges) if edge.value is not None]
        offsets = [self.offset(example, [step.edges[j] for step in over_sizes]) for j in parts]
        for step, size in zip(over_sizes, wanted, strict=True):
            left = np.array([step.edges[j].value.shape[2:] for j in parts]) - offsets  # (parts, 2)
            if tuple(left.min(axis=0)) != size:
                raise self.unexplained(example, wanted)
        return Overlap(tuple((over_sizes[0].edges[j].value, o) for j, o in zip(parts, offsets, strict=True)))

    def frame(self, example: Call, edges: list[Edge]) -> tuple[Pad, Any]:
        """The frame of zeros: always the same, or one that fills the image up."""
        frames = [sides(edge.trims[0].function) if edge.trims else (0, 0, 0, 0) for edge in edges]
        if len(set(frames)) == 1:
            return Pad(frames[0]), None
        fills = all(left == top == 0 for left, _, top, _ in frames)
        fills = fills and [edge.value.shape[2:] for edge in edges] == self.sizes
        if not fills:
            raise self.unexplained(example, frames)
        axes = []
        for axis, far in ((0, 3), (1, 1)):  # rows and what is below, columns and what is on the right
            n = np.array([size[axis] for size in self.sizes])
            axes.append(fill_rule(n, n + [frame[far] for frame in frames]))
        if None in axes:
            raise self.unexplained(example, frames)
        least, step, rest = zip(*axes, strict=True)
        return Pad((0, 0, 0, 0)), UpTo(self.recordings[0].image, least, step, rest)

    def unexplained(self, call: Call, numbers: Sequence[Any]) -> ExportError:
        shown = ", ".join(f"{n} at {W}x{H}" for n, (H, W) in list(zip(numbers, self.sizes, strict=False))[:4])
        return ExportError(
            f"export: {call.place}: no rule explains its sizes ({shown}, …); export the network for images of one size"
        )

    def dims(self, name: str, values: list[Value]) -> tuple[int | str, ...]:
        """An output's shape in words: "height" and "width" where they are the image's."""
        batch, *sizes = values[0].shape
        if len(sizes) != 3 or len({value.shape for value in values}) == 1:
            return ("batch", *sizes)
        if [value.shape[2:] for value in values] == self.sizes:
            return ("batch", sizes[0], "height", "width")
        prefix = f"{name}_" if name else "scores_"
        return ("batch", sizes[0], f"{prefix}height", f"{prefix}width")


class Rewriter:
    """Collects the calls of the recording with rules. Equal crops or frames of one map become one."""

    def __init__(self, image: Value) -> None:
        self.image, self.calls = image, []
        self.trims: dict[Any, Value] = {}

    def add(self, call: Call) -> None:
        self.calls.append(call)

    def trim(self, edge: Edge, function: Crop | Pad, rule: Any) -> Value:
        key = (edge.value, type(function), tuple(vars(function).items()), rule)
        if key not in self.trims:
            output = Value(edge.shape, edge.value.layer)
            output.call = Call(function, dict(vars(function)), [edge.value], "", output, rule, varies=True)
            self.add(output.call)
            self.trims[key] = output
        return self.trims[key]


def sides(pad: Pad) -> tuple[int, int, int, int]:
    return pad.left, pad.right, pad.top, pad.bottom


def fill_rule(n: np.ndarray, filled: np.ndarray) -> tuple[int, int, int] | None:
    """(least, step, rest) of UpTo, such that it gives `filled` for every `n`; None if there are none.

    All sizes that occur lie a multiple of the step apart, except perhaps the least, which need not be in their row.
    """
    least, *above = sorted({int(size) for size in filled})
    for row in ([least, *above], above):
        step = gcd(*(b - a for a, b in pairwise(row))) or 1
        rest = row[0] % step if row else 0
        if (np.maximum(least, step * -(-(n - rest) // step) + rest) == filled).all():
            return least, step, rest
    return None
