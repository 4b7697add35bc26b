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
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from ..backend import array_module, on_gpu

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
    return _compiled(xp, real).get_function(name)


@functools.cache
def _compiled(xp: ModuleType, real: str) -> Any:
    """kernels.cu for one dtype. CuPy compiles it on the first `get_function`, for each GPU that asks."""
    return xp.RawModule(code=source(), options=(*OPTIONS, f"-DReal={REAL[real]}"))


@functools.cache
def source() -> str:
    """The text of kernels.cu, which lies beside this file."""
    return Path(__file__).with_name("kernels.cu").read_text(encoding="utf-8")


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
