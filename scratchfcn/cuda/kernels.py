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


# --- sums, the loss, counting, optimisers -------------------------------------------------------------------
