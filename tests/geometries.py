"""Hypothesis strategies that draw legal calls of every op, edges included.

A drawn `Case` is one call: the arrays in the op's order, and the settings by name. Sizes are small, because
what breaks an op is geometry, not volume: one pixel, one channel, no image, rectangles, strides longer than the
kernel, padding wider than it, windows hanging over the edge, dilation, groups. Shapes and settings are
drawn one by one (so that a failing case shrinks to a simple one); the numbers come from a seeded generator,
in three kinds: ordinary, small integers (ties and zeros), and all negative (does padding win a maximum?).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis import strategies as st

KINDS = ("normal", "ties", "negative")


@dataclass
class Case:
    """One drawn call, printed without its numbers: `kind` and `seed` make them again."""

    shapes: list[tuple[int, ...] | None]  # None: an input left out, such as a bias
    settings: dict[str, Any]
    kind: str = "normal"
    seed: int = 0
    arrays: list[Any] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)
        self.arrays = [None if shape is None else self.numbers(shape) for shape in self.shapes]

    def numbers(self, shape: tuple[int, ...]) -> np.ndarray:
        """Float64 numbers of this case's kind."""
        if self.kind == "ties":
            return self.rng.integers(-2, 3, shape).astype(np.float64)
        if self.kind == "negative":
            return -1.0 - self.rng.random(shape)
        return self.rng.standard_normal(shape)

    def upstream(self, shape: tuple[int, ...]) -> np.ndarray:
        """A random gradient to start a backward pass from; ones would hide one sent to the wrong place."""
        return np.random.default_rng(self.seed + 1).standard_normal(shape)

    def call(self, op: Callable, arrays: list[Any], move: Callable[[np.ndarray], Any] = np.copy) -> Any:
        """`op(*arrays, **settings)`, with every array among the settings handed over by way of `move`."""
        settings = {k: move(v) if isinstance(v, np.ndarray) else v for k, v in self.settings.items()}
        if op.__name__ == "concat":
            return op(arrays, **settings)
        return op(*arrays, **settings)


@dataclass(frozen=True)
class Window:
    """What a window op does along one axis."""

    kernel: int
    stride: int
    padding: int
    dilation: int

    @property
    def span(self) -> int:
        """How far the window reaches."""
        return self.dilation * (self.kernel - 1) + 1

    def count(self, size: int, ceil: bool = False) -> int:
        """How many windows torch places over `size` pixels."""
        room = size + 2 * self.padding - self.span + (self.stride - 1 if ceil else 0)
        count = room // self.stride + 1
        return count - 1 if ceil and (count - 1) * self.stride >= size + self.padding else count

    def all_see_a_pixel(self, size: int, ceil: bool) -> bool:
        """Whether each window has a tap on the input, not only on padding."""
        starts = [i * self.stride - self.padding for i in range(self.count(size, ceil))]
        return all(any(0 <= s + self.dilation * k < size for k in range(self.kernel)) for s in starts)


small = st.integers(1, 3)
batches = st.sampled_from([1, 2, 3, 1, 2, 3, 0])  # now and then an empty batch, to which failures do not shrink
seeds = st.integers(0, 2**16)
kinds = st.sampled_from(KINDS)


@st.composite
def int_or_pair(draw: st.DrawFn, rows: int, cols: int) -> int | tuple[int, int]:
    """A setting as callers write it: an int where both axes agree, or a pair."""
    return rows if rows == cols and draw(st.booleans()) else (rows, cols)


@st.composite
def image_shapes(draw: st.DrawFn, longest: int = 8) -> tuple[int, int, int, int]:
    """(N, C, H, W), any of which may be 1, and N 0."""
    return (
        draw(batches),
        draw(st.integers(1, 4)),
        draw(st.integers(1, longest)),
        draw(st.integers(1, longest)),
    )


@st.composite
def windows(draw: st.DrawFn, axis: st.SearchStrategy[Window]) -> tuple[Window, Window]:
    """Windows for rows and columns, half of the time the same."""
    rows = draw(axis)
    return (rows, rows) if draw(st.booleans()) else (rows, draw(axis))


def in_memory(a: np.ndarray, layout: str) -> np.ndarray:
    """The same numbers, lying differently in memory: an op may not care."""
    if layout == "channels first" and a.ndim >= 2:
        return np.ascontiguousarray(a.swapaxes(0, 1)).swapaxes(0, 1)
    if layout == "every second" and a.ndim >= 1:
        return np.repeat(a, 2, axis=-1)[..., ::2]
    if layout == "backwards" and a.ndim >= 1:
        return np.ascontiguousarray(a[..., ::-1])[..., ::-1]
    return a.copy()


layouts = st.sampled_from(["plain", "channels first", "every second", "backwards"])


def optional(draw: st.DrawFn, shape: tuple[int, ...]) -> tuple[int, ...] | None:
    return shape if draw(st.booleans()) else None


# ---- convolution -------------------------------------------------------------------------------------------

conv_axes = st.builds(
    Window, kernel=st.integers(1, 4), stride=st.integers(1, 5), padding=st.integers(0, 5), dilation=small
)


@st.composite
def conv2d(draw: st.DrawFn, longest: int = 8) -> Case:
    """x (N, C, H, W), weight (OC, C/groups, KH, KW), bias or None. Padding may be wider than the kernel."""
    rows, cols = draw(windows(conv_axes))
    groups, per_group, out_per_group = draw(small), draw(small), draw(small)
    H, W = (
        draw(st.integers(max(1, w.span - 2 * w.padding), max(longest, w.span - 2 * w.padding))) for w in (rows, cols)
    )
    C, OC = groups * per_group, groups * out_per_group
    return Case(
        shapes=[(draw(batches), C, H, W), (OC, per_group, rows.kernel, cols.kernel), optional(draw, (OC,))],
        settings={
            "stride": draw(int_or_pair(rows.stride, cols.stride)),
            "padding": draw(int_or_pair(rows.padding, cols.padding)),
            "dilation": draw(int_or_pair(rows.dilation, cols.dilation)),
            "groups": groups,
        },
        kind=draw(kinds),
        seed=draw(seeds),
    )


@st.composite
def conv1x1(draw: st.DrawFn, longest: int = 8) -> Case:
    """x (N, C, H, W), weight (OC, C, 1, 1), bias or None."""
    shape, OC = draw(image_shapes(longest)), draw(st.integers(1, 5))
    return Case([shape, (OC, shape[1], 1, 1), optional(draw, (OC,))], {}, draw(kinds), draw(seeds))


@st.composite
def conv_transpose2d(draw: st.DrawFn, longest: int = 6) -> Case:
    """x (N, C, H, W), weight (C, OC/groups, KH, KW), bias or None, with an output of at least one pixel."""
    rows, cols = draw(windows(conv_axes))
    groups, per_group, out_per_group = draw(small), draw(small), draw(small)
    sizes, paddings, extras = [], [], []
    for w in (rows, cols):
        sizes.append(draw(st.integers(1, longest)))
        extras.append(draw(st.integers(0, max(w.stride, w.dilation) - 1)))
        full = (sizes[-1] - 1) * w.stride + w.span + extras[-1]  # the output before padding cuts it
        paddings.append(min(w.padding, (full - 1) // 2))
    C, OC = groups * per_group, groups * out_per_group
    return Case(
        shapes=[
            (draw(batches), C, *sizes),
            (C, out_per_group, rows.kernel, cols.kernel),
            optional(draw, (OC,)),
        ],
        settings={
            "stride": draw(int_or_pair(rows.stride, cols.stride)),
            "padding": draw(int_or_pair(*paddings)),
            "output_padding": draw(int_or_pair(*extras)),
            "groups": groups,
            "dilation": draw(int_or_pair(rows.dilation, cols.dilation)),
        },
        kind=draw(kinds),
        seed=draw(seeds),
    )


@st.composite
def adjoint(draw: st.DrawFn) -> tuple[Case, tuple[int, int]]:
    """A convolution without bias, and the output_padding that makes its transpose return to the size of x.

    Several sizes of x lead to the same size of y: those that differ by less than a stride.
    """
    case = draw(conv2d())
    case.arrays[2] = None
    (_, _, *sizes), (_, _, *kernels) = case.shapes[0], case.shapes[1]
    settings = {name: (v, v) if isinstance(v, int) else v for name, v in case.settings.items()}
    left_over = []
    for axis in (0, 1):
        stride, padding, dilation = (settings[name][axis] for name in ("stride", "padding", "dilation"))
        left_over.append((sizes[axis] + 2 * padding - dilation * (kernels[axis] - 1) - 1) % stride)
    return case, tuple(left_over)


# ---- pooling -----------------------------------------------------------------------------------------------


@st.composite
def pool_axes(draw: st.DrawFn, dilations: st.SearchStrategy[int]) -> Window:
    """Pools pad by at most half a kernel, as torch asks."""
    kernel = draw(st.integers(1, 5))
    return Window(kernel, draw(st.integers(1, 6)), draw(st.integers(0, kernel // 2)), draw(dilations))


@st.composite
def pools(draw: st.DrawFn, longest: int, dilations: st.SearchStrategy[int]) -> Case:
    rows, cols = draw(windows(pool_axes(dilations)))
    ceil = draw(st.booleans())
    stride: Any = None
    if draw(st.booleans()):
        stride = draw(int_or_pair(rows.stride, cols.stride))
    else:  # the stride is the kernel
        rows, cols = (Window(w.kernel, w.kernel, w.padding, w.dilation) for w in (rows, cols))
    H, W = (
        draw(
            st.sampled_from(
                [s for s in range(1, longest + w.span) if w.count(s, ceil) > 0 and w.all_see_a_pixel(s, ceil)]
            )
        )
        for w in (rows, cols)
    )
    return Case(
        shapes=[(draw(batches), draw(small), H, W)],
        settings={
            "kernel_size": draw(int_or_pair(rows.kernel, cols.kernel)),
            "stride": stride,
            "padding": draw(int_or_pair(rows.padding, cols.padding)),
            "dilation": draw(int_or_pair(rows.dilation, cols.dilation)),
            "ceil_mode": ceil,
        },
        kind=draw(kinds),
        seed=draw(seeds),
    )


def max_pool2d(longest: int = 8) -> st.SearchStrategy[Case]:
    """x (N, C, H, W). A window without a real pixel has no maximum and is not drawn."""
    return pools(longest, small)


@st.composite
def avg_pool2d(draw: st.DrawFn, longest: int = 8) -> Case:
    """x (N, C, H, W); no dilation."""
    case = draw(pools(longest, st.just(1)))
    del case.settings["dilation"]
    return case


@st.composite
def images(draw: st.DrawFn, longest: int = 8) -> Case:
    """x (N, C, H, W), no settings."""
    return Case([draw(image_shapes(longest))], {}, draw(kinds), draw(seeds))


@st.composite
def adaptive_avg_pool2d(draw: st.DrawFn, longest: int = 8) -> Case:
    """x (N, C, H, W) to a smaller, equal or larger size, each axis by itself; None keeps it."""
    n = st.one_of(st.integers(1, longest + 2), st.none())
    output_size = draw(st.one_of(st.integers(1, longest), st.tuples(n, n)))
    return Case([draw(image_shapes(longest))], {"output_size": output_size}, draw(kinds), draw(seeds))


# ---- activations and shapes --------------------------------------------------------------------------------


@st.composite
def relu6(draw: st.DrawFn) -> Case:
    """x with numbers beyond 6, and for ties at 0 and at 6."""
    case = draw(images())
    case.arrays[0] = 3.0 * case.arrays[0]
    return case


@st.composite
def dropout(draw: st.DrawFn) -> Case:
    """x of any rank without zeros, so that a 0 in the output is a dropped number."""
    shape = tuple(draw(st.lists(st.integers(1, 6), min_size=1, max_size=4)))
    settings = {"p": draw(st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0])), "training": draw(st.booleans())}
    return Case([shape], settings, "negative", draw(seeds))


@st.composite
def softmax(draw: st.DrawFn) -> Case:
    """x of rank 1 to 4, any axis, scores up to a few thousand (exp would overflow without care)."""
    shape = tuple(draw(st.lists(st.integers(1, 5), min_size=1, max_size=4)))
    case = Case([shape], {"axis": draw(st.integers(-len(shape), len(shape) - 1))}, draw(kinds), draw(seeds))
    case.arrays[0] *= draw(st.sampled_from([1.0, 10.0, 1000.0]))
    return case


@st.composite
def crop(draw: st.DrawFn) -> Case:
    """x (N, C, H, W) and a window inside it."""
    shape = draw(image_shapes())
    size = [draw(st.integers(1, n)) for n in shape[2:]]
    offset = [draw(st.integers(0, n - k)) for n, k in zip(shape[2:], size, strict=True)]
    return Case([shape], {"size": tuple(size), "offset": tuple(offset)}, draw(kinds), draw(seeds))


@st.composite
def pad(draw: st.DrawFn) -> Case:
    """x (N, C, H, W); padding as an int, a pair or four numbers."""
    n = st.integers(0, 4)
    padding = draw(st.one_of(n, st.tuples(n, n), st.tuples(n, n, n, n)))
    return Case([draw(image_shapes())], {"padding": padding}, draw(kinds), draw(seeds))


@st.composite
def concat(draw: st.DrawFn) -> Case:
    """One to four arrays that differ along one axis at most."""
    shape = draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    shapes = []
    for length in draw(st.lists(st.integers(0, 4), min_size=1, max_size=4)):
        shape[axis] = length
        shapes.append(tuple(shape))
    return Case(shapes, {"axis": axis}, draw(kinds), draw(seeds))


@st.composite
def flatten(draw: st.DrawFn) -> Case:
    """x of rank 1 to 4, and the axis to flatten from."""
    shape = (draw(batches), *draw(st.lists(st.integers(1, 4), max_size=3)))
    return Case([shape], {"start": draw(st.integers(0, len(shape) - 1))}, draw(kinds), draw(seeds))


@st.composite
def reshape(draw: st.DrawFn) -> Case:
    """x of rank 1 to 4 into its factors in another order and grouping; sometimes one size is left to be worked out."""
    factors = draw(st.lists(st.integers(1, 3), min_size=1, max_size=5))

    def grouped(numbers: list[int]) -> list[int]:
        sizes = [1]
        for n in numbers:
            if draw(st.booleans()):
                sizes[-1] *= n
            else:
                sizes.append(n)
        return sizes

    shape, target = grouped(factors), grouped(draw(st.permutations(factors)))
    if draw(st.booleans()):
        target[draw(st.integers(0, len(target) - 1))] = -1
    return Case([tuple(shape)], {"shape": tuple(target)}, draw(kinds), draw(seeds))


@st.composite
def resize_bilinear(draw: st.DrawFn, longest: int = 8) -> Case:
    """x (N, C, H, W) to a smaller, equal or larger size, each axis by itself."""
    size = (draw(st.integers(1, 2 * longest)), draw(st.integers(1, 2 * longest)))
    settings = {"size": size, "align_corners": draw(st.booleans())}
    return Case([draw(image_shapes(longest))], settings, draw(kinds), draw(seeds))


# ---- the rest ----------------------------------------------------------------------------------------------


@st.composite
def linear(draw: st.DrawFn) -> Case:
    """x (..., C), weight (OC, C), bias or None."""
    front = [draw(batches), *draw(st.lists(st.integers(1, 5), max_size=2))]
    C, OC = draw(st.integers(1, 7)), draw(st.integers(1, 7))
    return Case([(*front, C), (OC, C), optional(draw, (OC,))], {}, draw(kinds), draw(seeds))


@st.composite
def batch_norm2d(draw: st.DrawFn, longest: int = 5) -> Case:
    """x, weight, bias; running statistics among the settings. At least two numbers a channel.

    Channels of a few equal numbers would have a variance near 0, where two correct answers differ by rounding
    times 1/eps: so no ties here.
    """
    N, C, H, W = draw(image_shapes(longest))
    N = max(N, 2 if H * W == 1 else 1)
    case = Case([(N, C, H, W), (C,), (C,)], {}, draw(st.sampled_from(["normal", "negative"])), draw(seeds))
    case.settings = {
        "running_mean": case.rng.standard_normal(C),
        "running_var": 0.5 + case.rng.random(C),
        "training": draw(st.booleans()),
        "momentum": draw(st.sampled_from([0.0, 0.1, 1.0])),
        "eps": draw(st.sampled_from([1e-5, 1e-2])),
    }
    return case


@st.composite
def local_response_norm(draw: st.DrawFn, longest: int = 4) -> Case:
    """x (N, C, H, W); windows of even and odd size, also wider than the channels."""
    shape = (
        draw(batches),
        draw(st.integers(1, 7)),
        draw(st.integers(1, longest)),
        draw(st.integers(1, longest)),
    )
    settings = {
        "size": draw(st.integers(1, 9)),
        "alpha": draw(st.sampled_from([1e-4, 0.5])),
        "beta": draw(st.sampled_from([0.5, 0.75, 1.0])),
        "k": draw(st.sampled_from([1.0, 2.0])),
    }
    return Case([shape], settings, draw(kinds), draw(seeds))


@st.composite
def softmax_cross_entropy(draw: st.DrawFn, longest: int = 5) -> Case:
    """logits (N, K), (N, K, H) or (N, K, H, W); labels and class weights among the settings.

    From no ignored pixel to nothing but ignored ones; `ignore_index` outside the classes or one of them.
    """
    N, K, *pixels = draw(image_shapes(longest))
    pixels = pixels[: draw(st.integers(0, 2))]
    ignore_index = draw(st.sampled_from([255, -100, 0]))
    case = Case([(N, K, *pixels)], {}, draw(kinds), draw(seeds))
    case.arrays[0] *= draw(st.sampled_from([1.0, 1000.0]))
    labels = case.rng.integers(0, K, (N, *pixels))
    labels[case.rng.random(labels.shape) < draw(st.sampled_from([0.0, 0.3, 1.0]))] = ignore_index
    dtypes = [np.int64, np.int32] if ignore_index < 0 else [np.int64, np.uint8]
    case.settings = {
        "labels": labels.astype(draw(st.sampled_from(dtypes))),
        "weight": 0.1 + case.rng.random(K) if draw(st.booleans()) else None,
        "ignore_index": ignore_index,
        "reduction": draw(st.sampled_from(["mean", "sum"])),
    }
    return case


ALL = {
    "conv2d": conv2d,
    "conv1x1": conv1x1,
    "conv_transpose2d": conv_transpose2d,
    "max_pool2d": max_pool2d,
    "avg_pool2d": avg_pool2d,
    "global_avg_pool2d": images,
    "adaptive_avg_pool2d": adaptive_avg_pool2d,
    "relu": images,
    "relu6": relu6,
    "softmax": softmax,
    "crop": crop,
    "pad": pad,
    "concat": concat,
    "flatten": flatten,
    "reshape": reshape,
    "resize_bilinear": resize_bilinear,
    "linear": linear,
    "batch_norm2d": batch_norm2d,
    "local_response_norm": local_response_norm,
    "softmax_cross_entropy": softmax_cross_entropy,
}  # dropout draws random numbers and is tested by itself
