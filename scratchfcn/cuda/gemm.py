"""Matrix products by cuBLAS itself, for what CuPy's own `matmul` does not do.

While a stream is being captured into a CUDA graph (see graph.py), CuPy refuses to call cuBLAS at all, although cuBLAS
can be captured. And of a stack of matrices it copies those that lie transposed, as the factors of a gradient do, and a
result that is part of a larger array. So this file calls cuBLAS, through ctypes, in the library that CuPy has loaded:
cublasGemmEx for one product, cublasGemmStridedBatchedEx for a stack of them. The ops' `parallel.matmul` comes here
wherever `suits` says so.

cuBLAS thinks in columns, NumPy in rows. The memory of a row-major y (M, N), read column by column, is yᵀ (N, M). And
y = a @ b means yᵀ = bᵀ @ aᵀ. So nothing has to be moved: cuBLAS is given b and a, in this order, and what it takes for
their columns are our rows:

    ours                          what cuBLAS reads in the same memory
    b (K, N), row after row       bᵀ (N, K) column after column: it is used as it is
    a (M, K), row after row       aᵀ (K, M), likewise
    b = c.T with c (N, K)         c's rows as columns: cᵀ = b (K, N), which has to be transposed

How far apart our rows are, in numbers, is the "leading dimension"; it may be more than a row is long, so a part of a
larger matrix is read, and written, where it lies.
"""

from __future__ import annotations

import ctypes
import functools
import sys
import threading
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from ..backend import array_module, cupy
from . import kernels

# from <cublas_api.h> and <library_types.h>; the numbers are part of the library's interface and stay
AS_IT_IS, TRANSPOSED = 0, 1  # cublasOperation_t
DEFAULT_MATH, TF32_MATH = 0, 3  # cublasMath_t
NO_ATOMICS, ATOMICS = 0, 1  # cublasAtomicsMode_t
DEFAULT_ALGORITHM = -1  # cublasGemmAlgo_t
REAL_TYPE = {"f": 0, "d": 1}  # cudaDataType_t by NumPy's letter
COMPUTE_TYPE = {"f": 68, "d": 70}  # cublasComputeType_t: sums in the dtype itself
COMPUTE_TF32 = 77
STATUS = {
    1: "NOT_INITIALIZED",
    3: "ALLOC_FAILED",
    7: "INVALID_VALUE",
    8: "ARCH_MISMATCH",
    11: "MAPPING_ERROR",
    13: "EXECUTION_FAILED",
    14: "INTERNAL_ERROR",
    15: "NOT_SUPPORTED",
    16: "LICENSE_ERROR",
}

# Without memory of ours cuBLAS would allocate some within a graph. NVIDIA recommends these sizes.
WORKSPACE = 4 << 20  # bytes
WORKSPACE_SINCE_HOPPER = 32 << 20  # from compute capability 9.0

# --- how products are done; set by numerics.py ------------------------------------------------------------


@dataclass
class Modes:
    """tf32: multiply float32 by way of TF32. atomics: cuBLAS may use them."""

    tf32: bool = False
    atomics: bool = False


modes = Modes()


def set_cupys_modes() -> None:
    """Tell the cuBLAS handle that CuPy's own `matmul` uses in this thread, on the current GPU."""
    # The math mode covers all of CuPy's products. Its set_compute_type, the other way, covers only those of two
    # matrices, and not stacks of them, in CuPy 13 and 14.
    handle = cupy().cuda.get_cublas_handle()
    cublas = library()
    check("cublasSetMathMode", cublas.cublasSetMathMode(handle, TF32_MATH if modes.tf32 else DEFAULT_MATH))
    check("cublasSetAtomicsMode", cublas.cublasSetAtomicsMode(handle, ATOMICS if modes.atomics else NO_ATOMICS))


# --- whether to use this file -----------------------------------------------------------------------------


def suits(a: Any, b: Any) -> bool:
    """Whether a and b are to be multiplied here: both float32, or both float64, and cuBLAS is to be found. Where the
    kernels are switched off, this is too: everything is CuPy's then."""
    return a.dtype == b.dtype and a.dtype.char in REAL_TYPE and kernels.enabled() and is_there()


def is_there() -> bool:
    """Whether cuBLAS can be called from here; where it cannot, CuPy's `matmul` does all products."""
    try:
        library()
    except (ImportError, AttributeError, OSError):
        return False
    return True


# --- the library ------------------------------------------------------------------------------------------

POINTER, INT, LONG = ctypes.c_void_p, ctypes.c_int, ctypes.c_longlong
FUNCTIONS = {  # their C parameters; all return a cublasStatus_t
    "cublasCreate_v2": (ctypes.POINTER(POINTER),),
    "cublasSetStream_v2": (POINTER, POINTER),
    "cublasSetWorkspace_v2": (POINTER, POINTER, ctypes.c_size_t),
    "cublasSetAtomicsMode": (POINTER, INT),
    "cublasSetMathMode": (POINTER, INT),
    "cublasGemmEx": (
        *(POINTER, INT, INT, INT, INT, INT),  # handle, the two operations, and M, N, K as cuBLAS sees them
        *(POINTER, POINTER, INT, INT),  # alpha; the first matrix, its type and leading dimension
        *(POINTER, INT, INT),  # the second
        *(POINTER, POINTER, INT, INT),  # beta, and the result
        *(INT, INT),  # compute type, algorithm
    ),
    "cublasGemmStridedBatchedEx": (
        *(POINTER, INT, INT, INT, INT, INT),  # handle, the two operations, and M, N, K as cuBLAS sees them
        *(POINTER, POINTER, INT, INT, LONG),  # alpha; the first matrix, its type, leading dimension and batch stride
        *(POINTER, INT, INT, LONG),  # the second
        *(POINTER, POINTER, INT, INT, LONG),  # beta, and the result
        *(INT, INT, INT),  # how many of each, compute type, algorithm
    ),
}


@functools.cache
def library() -> Any:
    """The cuBLAS that CuPy uses, with the parameters of FUNCTIONS declared."""
    binding = cupy().cuda.cublas  # importing it loads cuBLAS
    if sys.platform == "win32":
        name = f"cublas64_{cupy().cuda.runtime.runtimeGetVersion() // 1000}.dll"  # that of the CUDA CuPy was built for
    else:
        name = binding.__file__  # symbols are looked for in what it was linked with, too: in this very cuBLAS
    loaded = ctypes.CDLL(name)
    for function, parameters in FUNCTIONS.items():
        getattr(loaded, function).argtypes, getattr(loaded, function).restype = parameters, INT
    return loaded


def check(function: str, status: int) -> None:
    """Errors: RuntimeError naming the status, where it is not 0."""
    if status != 0:
        raise RuntimeError(f"{function}: cuBLAS answers CUBLAS_STATUS_{STATUS.get(status, status)}")


_this_thread = threading.local()  # a handle is for one thread at a time


def handle_for(stream: Any) -> Any:
    """This thread's cuBLAS handle on the current GPU, to work in `stream` from now on.

    It is not CuPy's: that one's stream and memory change whenever CuPy uses it.
    """
    cublas, device = library(), cupy().cuda.runtime.getDevice()
    handles = _this_thread.__dict__.setdefault("handles", {})
    if device not in handles:
        handle = POINTER()
        check("cublasCreate", cublas.cublasCreate_v2(ctypes.byref(handle)))
        handles[device] = handle
    handle = handles[device]
    memory = workspace(device, stream.ptr, threading.get_ident())
    check("cublasSetStream", cublas.cublasSetStream_v2(handle, stream.ptr))  # which forgets the workspace
    check("cublasSetWorkspace", cublas.cublasSetWorkspace_v2(handle, memory.data.ptr, memory.nbytes))
    check("cublasSetAtomicsMode", cublas.cublasSetAtomicsMode(handle, ATOMICS if modes.atomics else NO_ATOMICS))
    return handle


@functools.cache
def workspace(device: int, stream: int, thread: int) -> Any:
    """Memory for one thread's products in one stream, where they come one after the other. It is kept for ever, since
    graphs use it, and comes from CUDA itself, since a graph's memory pool would take it back."""
    xp = cupy()
    since_hopper = int(xp.cuda.Device(device).compute_capability) >= 90
    with xp.cuda.using_allocator(None):
        return xp.empty(WORKSPACE_SINCE_HOPPER if since_hopper else WORKSPACE, np.uint8)


# --- products ---------------------------------------------------------------------------------------------


@dataclass
class Layout:
    """How cuBLAS is to read a stack of matrices. ld: numbers from one row to the next (of a transposed one, from one
    column to the next); step: numbers from one matrix to the next."""

    array: Any  # keeps the memory alive
    transposed: bool
    ld: int
    step: int


def matmul(a: Any, b: Any, out: Any = None) -> Any:
    """a (…, M, K) @ b (…, K, N) → (…, M, N), for CuPy arrays, both float32 or both float64; as `xp.matmul`.

    Leading axes are broadcast, and a vector is a matrix of one row, or, as b, of one column. What lies in memory with
    rows or with columns in one piece is read there; anything else is copied first. `out` must not overlap a or b.
    Errors: TypeError for other dtypes, ValueError for shapes that do not fit.
    """
    if a.dtype != b.dtype or a.dtype.char not in REAL_TYPE or (out is not None and out.dtype != a.dtype):
        given = f"{a.dtype} and {b.dtype}" + ("" if out is None else f", out {out.dtype}")
        raise TypeError(f"matmul: all must be float32, or all float64, got {given}")
    if a.ndim == 0 or b.ndim == 0:
        raise ValueError(f"matmul: a number is no matrix, got shapes {a.shape} and {b.shape}; multiply with *")
    if a.ndim == 1 or b.ndim == 1:
        return of_vectors(a, b, out)
    (M, K), (KB, N) = a.shape[-2:], b.shape[-2:]
    if K != KB:
        raise ValueError(f"matmul: a {a.shape} has {K} columns, but b {b.shape} has {KB} rows")
    try:
        stack = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    except ValueError:
        raise ValueError(f"matmul: the leading axes of a {a.shape} and b {b.shape} do not fit") from None
    xp = array_module(a)
    if out is None:
        out = xp.empty((*stack, M, N), a.dtype)
    elif out.shape != (*stack, M, N):
        raise not_fitting(a, b, out, (*stack, M, N))
    if out.size == 0:
        return out
    if K == 0:
        out.fill(0)
        return out
    target = as_it_lies(out)
    if target is None or target.transposed:
        target = layout(xp.empty(out.shape, out.dtype))
    multiply(layout(broadcast(a, stack)), layout(broadcast(b, stack)), target, (M, N, K), out.size // (M * N))
    if target.array is not out:
        out[...] = target.array
    return out


def of_vectors(a: Any, b: Any, out: Any) -> Any:
    """`matmul` where a, b or both are vectors, which are not seen in the result's shape."""
    row, column = a.ndim == 1, b.ndim == 1
    y = matmul(a[None] if row else a, b[:, None] if column else b)  # (…, M, N), M or N being 1
    y = y[..., 0] if column else y
    y = y[..., 0] if row and column else y[..., 0, :] if row else y
    if out is None:
        return y
    if out.shape != y.shape:
        raise not_fitting(a, b, out, y.shape)
    out[...] = y
    return out


def not_fitting(a: Any, b: Any, out: Any, shape: tuple[int, ...]) -> ValueError:
    """The error for an `out` that is not of the product's `shape`."""
    return ValueError(f"matmul: out has shape {out.shape}, but a {a.shape} @ b {b.shape} has shape {shape}")


def broadcast(x: Any, stack: tuple[int, ...]) -> Any:
    """x (…, R, C) as (*stack, R, C); nothing is copied."""
    shape = (*stack, *x.shape[-2:])
    return x if x.shape == shape else array_module(x).broadcast_to(x, shape)


def layout(x: Any) -> Layout:
    """How cuBLAS reads x (…, R, C), or a copy of it where it cannot read x itself."""
    lies = as_it_lies(x)
    return as_it_lies(array_module(x).array(x, order="C")) if lies is None else lies


def as_it_lies(x: Any) -> Layout | None:
    """How cuBLAS reads x (…, R, C) where it lies; None if it cannot."""
    *stack, R, C = x.shape
    *steps, row, column = x.strides
    step = single_step(stack, steps)
    if step is None or step % x.itemsize:
        return None
    for transposed, along, across, width, height in ((False, column, row, C, R), (True, row, column, R, C)):
        if along != x.itemsize and width > 1:
            continue
        if height == 1:  # there is no next row; NumPy and CuPy may say anything
            across = width * x.itemsize
        if across >= width * x.itemsize and across % x.itemsize == 0:
            return Layout(x, transposed, across // x.itemsize, step // x.itemsize)
    return None


def single_step(stack: list[int], steps: list[int]) -> int | None:
    """The bytes from one matrix of the stack to the next, in order; None where there is no single such number."""
    axes = [(n, step) for n, step in zip(stack, steps, strict=True) if n > 1]
    if any(outer != n * inner for (_, outer), (n, inner) in pairwise(axes)):
        return None
    step = axes[-1][1] if axes else 0
    return step if step >= 0 else None


def multiply(a: Layout, b: Layout, y: Layout, sizes: tuple[int, int, int], count: int) -> None:
    """y = a @ b for `count` matrices, enqueued in the current stream. sizes: (M, N, K)."""
    M, N, K = sizes
    if max(M, N, K, a.ld, b.ld, y.ld, count) >= 1 << 31:
        raise ValueError(f"matmul: cuBLAS counts with 32 bits, and ({M}, {K}) @ ({K}, {N}), {count} times, is larger")
    char = y.array.dtype.char
    real = ctypes.c_float if char == "f" else ctypes.c_double
    compute = COMPUTE_TF32 if char == "f" and modes.tf32 else COMPUTE_TYPE[char]
    one, zero, kind = real(1), real(0), REAL_TYPE[char]
    handle = handle_for(cupy().cuda.get_current_stream())
    turned = TRANSPOSED if b.transposed else AS_IT_IS, TRANSPOSED if a.transposed else AS_IT_IS
    first, second, result = (  # yᵀ = bᵀ @ aᵀ
        (matrix.array.data.ptr, kind, matrix.ld) for matrix in (b, a, y)
    )
    if count == 1:  # of one product, unlike of a stack, cuBLAS may divide a long sum among many blocks
        name = "cublasGemmEx"
        factors = ctypes.byref(one), *first, *second, ctypes.byref(zero), *result
    else:
        name = "cublasGemmStridedBatchedEx"
        factors = ctypes.byref(one), *first, b.step, *second, a.step, ctypes.byref(zero), *result, y.step, count
    check(name, getattr(library(), name)(handle, *turned, N, M, K, *factors, compute, DEFAULT_ALGORITHM))
