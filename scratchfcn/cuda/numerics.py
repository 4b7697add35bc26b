"""How a GPU does its matrix products: with TF32 or without, and whether results repeat to the last bit.

A float32 has 23 bits behind its leading one. TF32 is what the tensor cores of newer GPUs (compute capability 8.0 and
up) take instead: the first 10 of them of both factors, while the products are still added up in float32. Products get
much faster, and a relative error of about 1e-3 each. Training hardly notices; comparing with NumPy does, so it is off
unless asked for, here as in CuPy.

Results repeat, by default: the same step on the same GPU, with the same versions of CuPy and CUDA, gives the same bits.
The kernels of this project gather and never add with atomics, the random numbers are the host's, and cuBLAS promises as
much as long as it uses no atomics and works in one stream, as it does here. `set_deterministic(False)` allows it
atomics; few of its routines have a use for them, so there may be nothing to gain.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from .. import backend
from . import gemm

TF32_SINCE = 80  # compute capability 8.0, without the point


def set_tf32(on: bool) -> None:
    """Multiply float32 matrices with TF32 on the current GPU from now on, or in full float32 again.

    It applies to the thread that calls this: CuPy has a cuBLAS handle for each. float64 stays as it is.
    Errors: DeviceError for `on` where there is no GPU, or one without TF32.
    """
    if on:
        about = backend.cupy().cuda.Device()
        if int(about.compute_capability) < TF32_SINCE:
            has = f"{about.compute_capability[:-1]}.{about.compute_capability[-1]}"
            raise backend.DeviceError(
                f"TF32 needs a GPU of compute capability 8.0 or higher, and this one has {has}; leave it off"
            )
    before, gemm.modes.tf32 = gemm.modes.tf32, bool(on)
    if before != gemm.modes.tf32:
        gemm.set_cupys_modes()


def tf32() -> bool:
    """Whether float32 matrices are multiplied with TF32."""
    return gemm.modes.tf32


@contextmanager
def using_tf32(on: bool = True) -> Iterator[None]:
    """Within this block as `set_tf32(on)` says, afterwards as before."""
    before = tf32()
    set_tf32(on)
    try:
        yield
    finally:
        set_tf32(before)


def set_deterministic(on: bool) -> None:
    """Have cuBLAS give the same bits for the same product every time (the default), or allow it atomics.

    It applies to the current GPU and to the thread that calls this, and to nothing but cuBLAS.
    Errors: DeviceError for False where there is no GPU.
    """
    if not on:
        backend.cupy()
    before, gemm.modes.atomics = gemm.modes.atomics, not on
    if before != gemm.modes.atomics:
        gemm.set_cupys_modes()


def deterministic() -> bool:
    """Whether cuBLAS has to do without atomics."""
    return not gemm.modes.atomics


@contextmanager
def using_deterministic(on: bool = True) -> Iterator[None]:
    """Within this block as `set_deterministic(on)` says, afterwards as before."""
    before = deterministic()
    set_deterministic(on)
    try:
        yield
    finally:
        set_deterministic(before)
