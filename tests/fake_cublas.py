"""cuBLAS for the stand-in of CuPy: the functions that scratchfcn/cuda/gemm.py calls, with their C parameters.

It is written from cuBLAS's documentation, column by column, and knows nothing of rows. The calls come through ctypes,
which takes arguments as a C function would have them. A matrix that reaches beyond the array that it is in is an error,
as are the leading dimensions that cuBLAS refuses. While the current stream is being captured a product is recorded,
like everything else there.
"""

import ctypes
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import strict_cuda
import strict_cupy

from scratchfcn.cuda import gemm

POINTER, SIZE = ctypes.c_void_p, ctypes.c_size_t
INT, LONG = ctypes.c_int, ctypes.c_longlong
SUCCESS, INVALID_VALUE, EXECUTION_FAILED = 0, 7, 13
SIGNATURES = {  # <cublas_api.h>
    "cublasCreate_v2": [ctypes.POINTER(POINTER)],  # cublasHandle_t* handle
    "cublasSetStream_v2": [POINTER, POINTER],  # handle, cudaStream_t streamId
    "cublasSetWorkspace_v2": [POINTER, POINTER, SIZE],  # handle, void* workspace, size_t bytes
    "cublasSetAtomicsMode": [POINTER, INT],
    "cublasSetMathMode": [POINTER, INT],
    "cublasGemmEx": [
        *[POINTER, INT, INT, INT, INT, INT],  # handle, transa, transb, m, n, k
        *[POINTER],  # alpha
        *[POINTER, INT, INT],  # A, Atype, lda
        *[POINTER, INT, INT],  # B, Btype, ldb
        *[POINTER],  # beta
        *[POINTER, INT, INT],  # C, Ctype, ldc
        *[INT, INT],  # computeType, algo
    ],
    "cublasGemmStridedBatchedEx": [
        *[POINTER, INT, INT, INT, INT, INT],  # handle, transa, transb, m, n, k
        *[POINTER],  # alpha
        *[POINTER, INT, INT, LONG],  # A, Atype, lda, strideA
        *[POINTER, INT, INT, LONG],  # B, Btype, ldb, strideB
        *[POINTER],  # beta
        *[POINTER, INT, INT, LONG],  # C, Ctype, ldc, strideC
        *[INT, INT, INT],  # batchCount, computeType, algo
    ],
}
DTYPES = {0: np.float32, 1: np.float64}  # CUDA_R_32F, CUDA_R_64F
COMPUTES_IN = {68: np.float32, 77: np.float32, 70: np.float64}  # CUBLAS_COMPUTE_32F, …_32F_FAST_TF32, …_64F
FAST_TF32 = 77
CUPYS_HANDLE = 7  # what the stand-in's get_cublas_handle() gives


class FakeCublas:
    """What `gemm.library()` gives while this is installed, and what has been asked of it."""

    def __init__(self) -> None:
        self.handles: dict[int, dict[str, Any]] = {CUPYS_HANDLE: {}}  # what was set for each
        self.products = 0  # calls
        self.error = ""  # why a call failed
        self.fail_with = 0  # a status to answer the next product with
        for name, parameters in SIGNATURES.items():
            setattr(
                self, name, ctypes.CFUNCTYPE(INT, *parameters)(self.guarded(getattr(self, name.removesuffix("_v2"))))
            )

    def guarded(self, function: Callable[..., int | None]) -> Callable[..., int]:
        """An exception cannot pass through C; it becomes a status."""

        def call(*arguments: Any) -> int:
            try:
                return function(*arguments) or SUCCESS
            except Refused as refused:
                self.error = str(refused)
                return INVALID_VALUE
            except Exception as error:
                self.error = f"{type(error).__name__}: {error}"
                return EXECUTION_FAILED

        return call

    def cublasCreate(self, handle: Any) -> None:
        number = 1000 + len(self.handles)
        self.handles[number] = {}
        handle[0] = number

    def cublasSetStream(self, handle: int, stream: int | None) -> None:
        self.handles[handle] |= {"stream": stream or 0, "workspace": None}  # the workspace is forgotten

    def cublasSetWorkspace(self, handle: int, memory: int, size: int) -> None:
        owner(memory, size)
        self.handles[handle]["workspace"] = (memory, size)

    def cublasSetAtomicsMode(self, handle: int, mode: int) -> None:
        self.handles[handle]["atomics"] = mode

    def cublasSetMathMode(self, handle: int, mode: int) -> None:
        self.handles[handle]["math"] = mode

    def cublasGemmEx(self, handle: int, *arguments: Any) -> int | None:
        """C = alpha·op(A) @ op(B) + beta·C."""
        sizes, (alpha, A, Atype, lda, B, Btype, ldb), rest = arguments[:5], arguments[5:12], arguments[12:]
        beta, C, Ctype, ldc, compute_type, algo = rest
        matrices = alpha, A, Atype, lda, 0, B, Btype, ldb, 0, beta, C, Ctype, ldc, 0
        return self.gemm(handle, *sizes, *matrices, 1, compute_type, algo)

    def cublasGemmStridedBatchedEx(self, handle: int, *arguments: Any) -> int | None:
        return self.gemm(handle, *arguments)

    def gemm(self, handle: int, *arguments: Any) -> int | None:
        """C = alpha·op(A) @ op(B) + beta·C for each of the batch."""
        transa, transb, m, n, k, alpha, A, Atype, lda, strideA, B, Btype, ldb, strideB, beta, *rest = arguments
        C, Ctype, ldc, strideC, count, compute_type, algo = rest
        self.products += 1
        if self.fail_with:
            status, self.fail_with = self.fail_with, 0
            return status
        state = self.handles[handle]
        if state.get("stream") != strict_cupy.cupy.cuda.get_current_stream().ptr or not state.get("workspace"):
            raise Refused("the handle has no workspace, or another stream than the current one")
        if len({Atype, Btype, Ctype}) != 1 or Atype not in DTYPES or COMPUTES_IN.get(compute_type) != DTYPES[Atype]:
            raise Refused(f"types {Atype}, {Btype}, {Ctype} with compute type {compute_type}")
        if algo != -1 or transa not in (0, 1) or transb not in (0, 1) or min(m, n, k, count) < 0:
            raise Refused(f"algo {algo}, operations {transa} and {transb}, sizes {m}, {n}, {k}, {count} times")
        dtype = np.dtype(DTYPES[Atype])
        scalar = ctypes.c_float if dtype == np.float32 else ctypes.c_double
        factor, keep = scalar.from_address(alpha).value, scalar.from_address(beta).value
        a = columns(A, dtype, (k, m) if transa else (m, k), lda, strideA, count)
        b = columns(B, dtype, (n, k) if transb else (k, n), ldb, strideB, count)
        c = columns(C, dtype, (m, n), ldc, strideC, count)

        def work() -> None:
            first, second = (x.swapaxes(1, 2) if turned else x for x, turned in ((a.view, transa), (b.view, transb)))
            if compute_type == FAST_TF32:
                first, second = as_tf32(first), as_tf32(second)
            product = factor * np.matmul(first, second)
            c.view[...] = product if keep == 0 else product + keep * c.view  # with 0, what C holds does not matter

        strict_cuda.do(work, *(strict_cupy._block(x.owner) for x in (a, b, c)))
        return None


@contextmanager
def installed() -> Iterator[FakeCublas]:
    """A new one, in place of the real one, for what scratchfcn/cuda/gemm.py does on the stand-in."""
    with pytest.MonkeyPatch.context() as patch:
        fake = FakeCublas()
        patch.setattr(gemm, "library", lambda: fake)
        patch.setattr(gemm, "_this_thread", threading.local())  # no handles of another one
        yield fake


class Refused(ValueError):
    """What cuBLAS answers CUBLAS_STATUS_INVALID_VALUE to."""


def columns(pointer: int, dtype: np.dtype, shape: tuple[int, int], ld: int, stride: int, count: int) -> SimpleNamespace:
    """Matrices (rows, columns) whose columns lie `ld` numbers apart: .view (count, rows, columns), and its .owner."""
    rows, cols = shape
    if ld < max(1, rows):
        raise Refused(f"a leading dimension of {ld} for columns of {rows}")
    size = dtype.itemsize
    if pointer % size or stride < 0:
        raise Refused(f"a pointer {pointer:#x}, a stride of {stride}")
    end = (count - 1) * stride + (cols - 1) * ld + rows
    array = owner(pointer, end * size)
    flat = np.frombuffer((ctypes.c_char * (end * size)).from_address(pointer), dtype)
    view = np.lib.stride_tricks.as_strided(flat, (count, rows, cols), (stride * size, size, ld * size))
    return SimpleNamespace(view=view, owner=array)


def owner(pointer: int, size: int) -> np.ndarray:
    """The array whose memory holds these bytes. Errors: IndexError where no single one does."""
    for reference in list(strict_cupy._live.values()):
        array = reference()
        if array is not None and array.ctypes.data <= pointer and pointer + size <= array.ctypes.data + array.nbytes:
            return array
    raise IndexError(f"{size} bytes from {pointer:#x} do not lie within one array")


def as_tf32(x: np.ndarray) -> np.ndarray:
    """Float32 with 10 bits behind the leading one, rounded."""
    bits = np.ascontiguousarray(x).view(np.uint32)
    return ((bits + np.uint32(1 << 12)) & np.uint32(0xFFFFE000)).view(np.float32)
