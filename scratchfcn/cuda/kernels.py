"""Launches the kernels of kernels.cu on CuPy arrays: arrays in, arrays out.

Where an op would ask a GPU for dozens of small steps, one after the other (a slice copied, another one added …), it
asks `fused(x)` and calls one function from here instead. The op keeps its plain way, which NumPy takes as well; it is
the definition, and the tests compare. `set_fused(False)`, or SCRATCHFCN_KERNELS=0 in the environment, leads everything
that way.

kernels.cu is compiled by CuPy when it is first needed, once for float32 and once for float64, and kept in CuPy's cache
on disk.
"""

import functools
import os
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from ..backend import DeviceError, array_module, on_gpu

THREADS = 256  # of a block

# Without fmad, a·b + c is rounded twice, as NumPy does it. These kernels wait for memory, not for arithmetic.
OPTIONS = ("-std=c++17", "--fmad=false")
REAL = {"f": "float", "d": "double"}  # the C++ name of each dtype, by the dtype's letter

# --- whether to use them ------------------------------------------------------------------------------------

_enabled: bool | None = None  # None: nobody has said so yet


def fused(x: Any) -> bool:
    """Whether array `x` lies on a GPU and is to be treated by the kernels of this file."""
    return on_gpu(x) and x.dtype.char in REAL and enabled()


def enabled() -> bool:
    """What `set_fused` said, else SCRATCHFCN_KERNELS (0 or 1), else True."""
    if _enabled is None:
        asked = os.environ.get("SCRATCHFCN_KERNELS", "1")
        if asked not in ("0", "1"):
            raise ValueError(f"SCRATCHFCN_KERNELS is {asked!r}; it must be 1 (use the CUDA kernels) or 0 (do without)")
        set_fused(asked == "1")
    return _enabled


def set_fused(on: bool) -> None:
    """Use the kernels from now on, or the plain way of every op."""
    global _enabled
    _enabled = bool(on)


# --- launching ----------------------------------------------------------------------------------------------


def launch(name: str, like: Any, threads: int, *arguments: Any, block: int = THREADS) -> None:
    """Start kernel `name`, compiled for the dtype of array `like`, with `threads` threads or a few more.

    Threads come in blocks of `block`; a kernel leaves those beyond the end idle. What a kernel's C++ parameters are,
    the arguments must be exactly, for nothing converts them on the way:

        T*           an array of that dtype; never None
        int          an int (or np.int32), which must fit into 32 bits
        long long    np.int64(n)
        Real         a float
        float, double    np.float32(v), np.float64(v)
        a struct     a NumPy array of one number, whose dtype has the same fields
    """
    if threads > 0:
        real = like.dtype.type
        kernel = _kernel(array_module(like), like.dtype.char, name)
        kernel((-(-threads // block),), (block,), tuple(_as_passed(a, real) for a in arguments))


def _as_passed(a: Any, real: type) -> Any:
    """CuPy would pass Python's numbers in 8 bytes, whatever the kernel expects."""
    if type(a) is int:
        return np.int32(a)  # raises OverflowError rather than cut something off
    return real(a) if type(a) is float else a


@functools.cache  # by the module, too: tests exchange it
def _kernel(xp: ModuleType, real: str, name: str) -> Any:
    """Errors: DeviceError where the kernels cannot be compiled on this machine; everything works without them."""
    try:
        return _compiled(xp, real).get_function(name)
    except (AttributeError, MemoryError):  # there is no such kernel, or no room for it
        raise
    except Exception as error:  # the compiler's, the driver's, or that of a missing library
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise DeviceError(
            f"the CUDA kernels of scratchfcn cannot be used here: {lines[0]}\n"
            "  fix: SCRATCHFCN_KERNELS=0 does without them; `scratchfcn doctor` looks for the cause"
        ) from error


@functools.cache
def _compiled(xp: ModuleType, real: str) -> Any:
    """kernels.cu for one dtype. CuPy compiles it on the first `get_function`, for each GPU that asks."""
    return xp.RawModule(code=source(), options=(*OPTIONS, f"-DReal={REAL[real]}"))


@functools.cache
def source() -> str:
    """The text of kernels.cu, which lies beside this file."""
    text = Path(__file__).with_name("kernels.cu").read_text(encoding="utf-8")
    return text.encode("ascii", "replace").decode()  # CuPy writes it to a file in the system's own encoding


# --- windows: im2col, col2im, max pooling, bilinear resizing ------------------------------------------------

Pair = tuple[int, int]

# the structs of kernels.cu, field by field
WINDOWS_FIELDS = ("H", "W", "OH", "OW", "KH", "KW", "SH", "SW", "PH", "PW", "DH", "DW")
WINDOWS = np.dtype([(name, np.int32) for name in WINDOWS_FIELDS])
STEPS = np.dtype([(name, np.int64) for name in ("image", "channel", "row", "pixel")])
AXIS = np.dtype([("scale", np.float64)] + [(name, np.int32) for name in ("size", "out", "align_corners")], align=True)


def _windows(size: Pair, output: Pair, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair) -> np.ndarray:
    return np.array((*size, *output, *kernel, *stride, *padding, *dilation), WINDOWS)


def _steps(x: Any) -> np.ndarray:
    """How x (N, C, H, W) lies in memory; it may lie there in any order."""
    return np.array(tuple(step // x.itemsize for step in x.strides), STEPS)


def _new_image(like: Any, N: int, C: int, size: Pair, dtype: Any = None) -> Any:
    """(N, C, *size), to be filled, stored channel by channel."""
    return array_module(like).empty((C, N, *size), dtype or like.dtype).transpose(1, 0, 2, 3)


class Windows:
    """All windows of x (N, C, H, W), of which `columns` lays out those of some images and rows. Nothing is copied
    before, no padded image either."""

    def __init__(self, x: Any, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair, output: Pair) -> None:
        self.x, self.steps, self.output, self.taps = x, _steps(x), output, kernel[0] * kernel[1]
        self.windows = _windows(x.shape[2:], output, kernel, stride, padding, dilation)

    def columns(self, images: slice, rows: slice) -> Any:
        """(C*KH*KW, L): a column per window, L = images * rows * OW of them."""
        x, C = self.x, self.x.shape[1]
        n, r = images.stop - images.start, rows.stop - rows.start
        cols = array_module(x).empty((C * self.taps, n * r * self.output[1]), x.dtype)
        place = images.start, n, rows.start, r
        launch("im2col", x, C * cols.shape[1], x, self.steps, self.windows, C, *place, cols)
        return cols


def im2col(x: Any, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair, output: Pair) -> Any:
    """(N, C, H, W) → columns (C*KH*KW, N*OH*OW): ops.im2col.im2col in one kernel."""
    return Windows(x, kernel, stride, padding, dilation, output).columns(slice(0, x.shape[0]), slice(0, output[0]))


def col2im(
    cols: Any,
    shape: tuple[int, int, int, int],
    kernel: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    output: Pair,
) -> Any:
    """Columns (C*KH*KW, N*OH*OW) → image of `shape` (N, C, H, W): ops.im2col.col2im in one kernel."""
    N, C, H, W = shape
    x = _new_image(cols, N, C, (H, W))
    cols = array_module(cols).ascontiguousarray(cols)
    launch("col2im", cols, x.size, cols, _windows((H, W), output, kernel, stride, padding, dilation), N, C, x)
    return x


def max_pool(x: Any, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair, output: Pair) -> tuple[Any, Any]:
    """(N, C, H, W) → y (N, C, OH, OW), and for `max_pool_backward` the winners: h*W + w of each window's pixel."""
    N, C, H, W = x.shape
    y, winners = _new_image(x, N, C, output), _new_image(x, N, C, output, np.int32)
    windows = _windows((H, W), output, kernel, stride, padding, dilation)
    launch("max_pool", x, y.size, x, _steps(x), windows, N, C, y, winners)
    return y, winners


def max_pool_backward(
    gy: Any, winners: Any, size: Pair, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair
) -> Any:
    """gy (N, C, OH, OW) → gx (N, C, *size): each window's gradient to its winner."""
    N, C, *output = gy.shape
    gx = _new_image(gy, N, C, size)
    windows = _windows(size, tuple(output), kernel, stride, padding, dilation)
    launch("max_pool_backward", gy, gx.size, gy, _steps(gy), winners, windows, N, C, gx)
    return gx


def _axes(size: Pair, out: Pair, align_corners: bool) -> list[np.ndarray]:
    """How each axis is resized; see `interpolation_matrix` in ops/resize.py."""
    axes = []
    for n, o in zip(size, out, strict=True):
        scale = n / o if not align_corners else (n - 1) / (o - 1) if o > 1 else 0.0
        axes.append(np.array((scale, n, o, align_corners), AXIS))
    return axes


def bilinear(x: Any, size: Pair, align_corners: bool) -> Any:
    """(N, C, H, W) → (N, C, *size): ops.resize_bilinear in one kernel."""
    N, C, *before = x.shape
    y = _new_image(x, N, C, size)
    launch("bilinear", x, y.size, x, _steps(x), *_axes(before, size, align_corners), N, C, y)
    return y


def bilinear_backward(gy: Any, size: Pair, align_corners: bool) -> Any:
    """gy (N, C, OH, OW) → gx (N, C, *size), the gradient of the image that was resized."""
    N, C, *out = gy.shape
    gx = _new_image(gy, N, C, size)
    launch("bilinear_backward", gy, gx.size, gy, _steps(gy), *_axes(size, out, align_corners), N, C, gx)
    return gx


# --- sums, the loss, counting, optimisers -------------------------------------------------------------------

STRETCH, COUNTED, MOVED, TENSORS = 4096, 8192, 1024, 64  # as in kernels.cu
LARGEST = 2**31 - 1  # what an int can count


def _planes(x: Any) -> tuple[Any, int, int]:
    """x (N, C, …) as (N, C, M), whose M pixels of a plane lie side by side; numbers to the next image, and channel.
    A view, unless the pixels of x lie otherwise."""
    N, C = x.shape[:2]
    x = x.reshape(N, C, x.size // max(1, N * C))
    if x.shape[2] > 1 and x.strides[2] != x.itemsize:
        x = array_module(x).ascontiguousarray(x)
    return x, x.strides[0] // x.itemsize, x.strides[1] // x.itemsize


def _channels(*images: Any) -> tuple[list[tuple[Any, np.ndarray]], tuple[int, int]]:
    """Images of equal shape as the sums want them: each array and its steps, and the pixels of an image and of all.
    Where the channels of all images are in one piece, as is usual here, they are taken for those of a single image."""
    planes = [_planes(x) for x in images]
    N, _, pixels = planes[0][0].shape
    if all(N == 1 or image == pixels for _, image, _ in planes):
        pixels *= N
    steps = [np.array((image, channel, 0, 1), STEPS) for _, image, channel in planes]
    return list(zip((x for x, _, _ in planes), steps, strict=True)), (pixels, N * planes[0][0].shape[2])


def _stretches(M: int) -> int:
    """How many blocks a channel of M numbers is cut into."""
    return -(-M // STRETCH)


def summable(x: Any) -> bool:
    """Whether x (N, C, …) is of a size that the sums below are made for: not empty, and its indices are ints."""
    return x.size > 0 and x.size // x.shape[1] <= LARGEST - STRETCH


def channel_sums(x: Any) -> Any:
    """(N, C, H, W) → (C,): the sum of each channel's pixels, in a fixed order."""
    xp, C = array_module(x), x.shape[1]
    [image], (pixels, M) = _channels(x)
    parts = _stretches(M)
    stretches, sums = xp.empty(C * parts, x.dtype), xp.empty(C, x.dtype)
    launch("channel_sums", x, C * parts * THREADS, *image, pixels, M, stretches)
    launch("add_stretches", x, C * THREADS, stretches, parts, 1.0, sums)
    return sums


def batch_statistics(x: Any, running_mean: Any, running_var: Any, momentum: float) -> tuple[Any, Any]:
    """Mean and variance (C,) of the channels of x (N, C, H, W). The running statistics move towards them, in place, by
    `momentum` of the way."""
    xp, C = array_module(x), x.shape[1]
    [image], (pixels, M) = _channels(x)
    parts = _stretches(M)
    stretches, mean, var = xp.empty(C * parts, x.dtype), xp.empty(C, x.dtype), xp.empty(C, x.dtype)
    launch("channel_sums", x, C * parts * THREADS, *image, pixels, M, stretches)
    launch("add_stretches", x, C * THREADS, stretches, parts, float(M), mean)
    launch("squared_deviations", x, C * parts * THREADS, *image, pixels, M, mean, stretches)
    running = running_mean, running_var, 1.0 - momentum, float(momentum), M / (M - 1)
    launch("batch_variance", x, C * THREADS, stretches, parts, float(M), mean, var, *running)
    return mean, var


def normalise(x: Any, mean: Any, var: Any, eps: float, weight: Any, bias: Any) -> Any:
    """y = (x - mean) / √(var + eps) · weight + bias for x (N, C, H, W), the rest (C,)."""
    N, C, H, W = x.shape
    y = _new_image(x, N, C, (H, W))
    [image], (pixels, M) = _channels(x)
    launch("normalise", x, C * _stretches(M) * THREADS, *image, pixels, M, mean, var, float(eps), weight, bias, y)
    return y


def batch_norm_parameters(gy: Any, x: Any, mean: Any, var: Any, eps: float) -> tuple[Any, Any]:
    """gweight and gbias (C,): the sums of gy·x̂ and of gy over each channel."""
    xp, C = array_module(x), x.shape[1]
    images, (pixels, M) = _channels(gy, x)
    parts = _stretches(M)
    sums, products = xp.empty(C * parts, x.dtype), xp.empty(C * parts, x.dtype)
    arrays = [part for image in images for part in image]
    launch("batch_norm_sums", x, C * parts * THREADS, *arrays, pixels, M, mean, sums, products)
    gweight, gbias = xp.empty(C, x.dtype), xp.empty(C, x.dtype)
    launch("batch_norm_parameters", x, C * THREADS, sums, products, parts, var, float(eps), gweight, gbias)
    return gweight, gbias


def batch_norm_backward(
    gy: Any, x: Any, mean: Any, var: Any, eps: float, weight: Any, gweight: Any, gbias: Any, training: bool
) -> Any:
    """gx (N, C, H, W) of a batch norm, from its parameters' gradients."""
    N, C, H, W = x.shape
    gx = _new_image(x, N, C, (H, W))
    images, (pixels, M) = _channels(gy, x)
    arrays = [part for image in images for part in image]
    parameters = mean, var, float(eps), weight, gweight, gbias
    threads = C * _stretches(M) * THREADS
    launch("batch_norm_backward", x, threads, *arrays, pixels, M, *parameters, int(training), gx)
    return gx


def _integers(x: Any) -> tuple[Any, int]:
    """Integers of any type, in C order, and the `kind` by which kernels.cu reads them."""
    return array_module(x).ascontiguousarray(x), x.itemsize if x.dtype.kind == "u" else -x.itemsize


class SoftmaxLoss:
    """ops.SoftmaxCrossEntropy of logits x (N, K, …) and integer labels (N, …), forward and backward.

    weight: (K,) or None, of x's dtype. Kept for backward: x itself and two numbers a pixel. Nobody waits for anything,
    and nobody looks at the labels: one that is neither a class nor ignored makes the loss NaN.
    """

    def __init__(self, x: Any, labels: Any, weight: Any, ignore_index: int, mean: bool) -> None:
        xp, K, self.shape = array_module(x), x.shape[1], x.shape
        self.x, *steps = _planes(x)
        self.steps = np.array((*steps, 0, 1), STEPS)
        N, _, M = self.x.shape
        labels, kind = _integers(labels.reshape(N, M))
        weight = xp.ones(K, x.dtype) if weight is None else xp.ascontiguousarray(weight)
        self.truth = M, N * M, K, labels, kind, np.int64(ignore_index), weight
        self.largest, self.sums = xp.empty((N, M), x.dtype), xp.empty((N, M), x.dtype)
        self.loss, self.total = xp.empty((), x.dtype), xp.empty((), x.dtype)

        blocks = -(-N * M // THREADS)
        losses, totals = xp.empty(blocks, x.dtype), xp.empty(blocks, x.dtype)
        pixels = self.largest, self.sums
        launch("softmax_loss", x, N * M, self.x, self.steps, *self.truth, *pixels, losses, totals)
        launch("softmax_loss_total", x, THREADS, losses, totals, blocks, int(mean), self.loss, self.total)

    def backward(self, gy: Any) -> Any:
        """gy, a single number → gx, in memory like x: image by image, or channel by channel."""
        x, xp = self.x, array_module(self.x)
        N, K, M = x.shape
        by_channel = N > 1 and self.steps["image"] == M
        gx = xp.empty((K, N, M), x.dtype).transpose(1, 0, 2) if by_channel else xp.empty((N, K, M), x.dtype)
        gx_steps = np.array((*(step // x.itemsize for step in gx.strides[:2]), 0, 1), STEPS)
        gy = gy.astype(x.dtype, copy=False)
        numbers = self.largest, self.sums, self.total, gy
        launch("softmax_loss_backward", x, N * M, x, self.steps, *self.truth, *numbers, gx_steps, gx)
        return gx.reshape(self.shape)


def count_pairs(pred: Any, label: Any, ignore_index: int, counts: Any, wrong: Any) -> None:
    """Add to counts (K·K,) int64, at K·label + pred, the number of such pixels among those that are not ignored.

    wrong: int64 (4,), likewise added to: how many labels and how many predictions, at pixels that count, are outside
    0 … K-1, and the smallest of each, which must be no smaller than these before. Nobody waits for anything.
    """
    K = round(counts.size**0.5)
    threads = -(-pred.size // COUNTED) * THREADS
    pairs = *_integers(pred), *_integers(label)
    like = counts.view(np.float32)  # of the two ways in which kernels.cu is compiled, either will do
    launch("count_pairs", like, threads, *pairs, np.int64(ignore_index), K, np.int64(pred.size), counts, wrong)


ARRAYS = ("weights", "gradients", "kept", "kept_too")
TABLE = np.dtype(  # kernels.cu's Tensors
    [(name, np.uint64, TENSORS) for name in ARRAYS]
    + [("sizes", np.int64, TENSORS), ("rows", np.int32, TENSORS), ("first_block", np.int32, TENSORS + 1)],
    align=True,
)


Moved = tuple[int, Any, Any, list[Any]]  # row of the rates, weights, gradient, and the arrays kept beside them


def move(kernel: str, tensors: Sequence[Moved], rates: Any, only_if: Any, *numbers: float) -> None:
    """Move parameters by the kernel `kernel`, "sgd" or "adam", a launch for every 64.

    tensors: all arrays of one dtype, in C order, and not empty. rates: float64 (P, 3), a row for each parameter: rate,
    decay, correction. only_if: int32, 0 to move nothing.
    """
    for first in range(0, len(tensors), TENSORS):
        some = tensors[first : first + TENSORS]
        table, blocks = np.zeros((), TABLE), 0
        for i, (row, weights, gradient, kept) in enumerate(some):
            for name, array in zip(ARRAYS[: 2 + len(kept)], (weights, gradient, *kept), strict=True):
                table[name][i] = array.data.ptr
            table["sizes"][i], table["rows"][i], table["first_block"][i] = weights.size, row, blocks
            blocks += -(-weights.size // MOVED)
        table["first_block"][len(some) :] = blocks
        launch(kernel, some[0][1], blocks * THREADS, table, rates, only_if, *map(float, numbers))
