"""NumPy or CuPy: which library owns an array, and how arrays move between host and GPU.

This is the only file that imports cupy, and it does so only when a GPU is asked for: on a machine without one
everything works on NumPy. The rest of the library asks the array at hand (`xp = array_module(x)`) and then
spells its arithmetic the NumPy way, which CuPy understands as well.

A device is written as a string, torch's way: "cpu", "cuda" (the current GPU), "cuda:1"; "auto" picks CUDA where
it works and the CPU where it does not.
"""

import contextlib
import ctypes
import functools
import os
import sys
from types import ModuleType
from typing import Any

import numpy as np

PIP_LINE = 'pip install -e ".[gpu]"  (CUDA 12; for CUDA 13: pip install -e ".[gpu-cuda13]")'


class DeviceError(RuntimeError):
    """A device was asked for that this machine cannot offer; the message says why and what to install."""


def array_module(x: Any) -> ModuleType:
    """The library that owns array `x`: `numpy`, or `cupy` for an array on a GPU."""
    if isinstance(x, np.ndarray | np.generic):
        return np
    cupy = sys.modules.get("cupy")  # x can be CuPy's only if somebody has imported CuPy
    if cupy is not None and isinstance(x, cupy.ndarray):
        return cupy
    raise TypeError(f"expected a NumPy or CuPy array, got {type(x).__name__}")


def is_array(x: Any) -> bool:
    """Whether `x` is a NumPy or a CuPy array."""
    cupy = sys.modules.get("cupy")
    return isinstance(x, np.ndarray) or (cupy is not None and isinstance(x, cupy.ndarray))


def on_gpu(x: Any) -> bool:
    """Whether array `x` lies on a GPU."""
    return not isinstance(x, np.ndarray | np.generic) and array_module(x) is not np


def cupy() -> ModuleType:
    """CuPy itself, for what no array can be asked: streams, events, memory pools.

    Errors: DeviceError where it cannot be used, with the reason and the fix.
    """
    if "cupy" not in sys.modules:
        resolve_device("cuda")
    return sys.modules["cupy"]


# --- devices ----------------------------------------------------------------------------------------------


@functools.cache  # the test kernel waits for the GPU, and the answer stays the same
def cuda_problem() -> str | None:
    """Why CUDA cannot be used here, as one sentence; None where it works (a kernel has been run)."""
    try:
        import cupy
    except Exception as error:  # where a library is missing it is an ImportError, where one does not fit another
        return f"CuPy cannot be imported ({_in_a_line(error)})"
    try:
        if cupy.cuda.runtime.getDeviceCount() == 0:
            return "CuPy is installed but finds no NVIDIA GPU"
        x = cupy.arange(4.0).reshape(2, 2)
        (x @ x).sum().item()  # allocates, compiles, multiplies and runs: the four things that go wrong
    except Exception as error:  # CuPy raises a different class for each of driver, runtime, compiler and cuBLAS
        return f"CuPy is installed but a test kernel failed ({type(error).__name__}: {_in_a_line(error)})"
    return None


def _in_a_line(error: BaseException) -> str:
    """What an error says; CuPy's own are framed, and quote the one that matters last."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip(" =")]
    if "Original error:" in lines:
        lines = lines[lines.index("Original error:") + 1 :]
    return " ".join(lines)


def resolve_device(name: str) -> str:
    """Turn `auto|cpu|cuda|cuda:N` into "cpu" or "cuda:N", after making sure that the device works.

    Errors: ValueError for a name that is no device; DeviceError where `cuda` is asked for and cannot work.
    There is no silent fall-back from an explicit `cuda` to the CPU.
    """
    kind, colon, number = str(name).partition(":")
    if kind not in ("auto", "cpu", "cuda") or (colon and not (kind == "cuda" and number.isdecimal())):
        raise ValueError(f"device {name!r} is not known; use one of auto, cpu, cuda, cuda:N (N = 0, 1, …)")
    if kind == "cpu":
        return "cpu"
    problem = cuda_problem()
    if kind == "auto":
        return "cpu" if problem else "cuda:0"
    if problem:
        missing = PIP_LINE if "No module named 'cupy'" in problem else "`scratchfcn doctor` says what to do"
        raise DeviceError(f"device {name!r} cannot be used: {problem}.\n  fix: {missing}, or use --device cpu")
    import cupy

    count = cupy.cuda.runtime.getDeviceCount()
    index = int(number) if number else cupy.cuda.runtime.getDevice()
    if index >= count:
        raise DeviceError(
            f"device {name!r} does not exist: this machine has {count} GPU(s), cuda:0 to cuda:{count - 1}"
        )
    cupy.cuda.Device(index).use()  # ops allocate on the current GPU, so it has to be the one that was asked for
    return f"cuda:{index}"


_default_device: str | None = None  # resolved on first use, so that a bad SCRATCHFCN_DEVICE does not break `import`


def set_device(name: str) -> str:
    """Make `name` the device of every Tensor and layer created from now on; returns its resolved name."""
    global _default_device
    _default_device = resolve_device(name)
    return _default_device


def get_device() -> str:
    """The default device: what `set_device` said, else SCRATCHFCN_DEVICE, else "cpu"."""
    if _default_device is None:
        set_device(os.environ.get("SCRATCHFCN_DEVICE", "cpu"))
    return _default_device


def device_of(x: Any) -> str:
    """The device that array `x` lives on: "cpu" or "cuda:N"."""
    return "cpu" if array_module(x) is np else f"cuda:{x.device.id}"


def to_device(x: Any, device: str) -> Any:
    """Array `x` on `device` ("cpu" or "cuda[:N]"); the same object where it is there already."""
    if device_of(x) == device:
        return x
    if device == "cpu":
        return to_numpy(x)
    device = resolve_device(device)
    import cupy

    with cupy.cuda.Device(int(device.partition(":")[2])):
        return cupy.asarray(x)


def to_numpy(x: Any) -> np.ndarray:
    """Array `x` as a NumPy array: itself on the CPU, a copy (which waits for the GPU) from CUDA."""
    return x if isinstance(x, np.ndarray | np.generic) else array_module(x).asnumpy(x)


def synchronize(device: str) -> None:
    """Wait until `device` has finished its work, in all streams: a GPU runs behind the Python code that feeds it."""
    if device != "cpu":
        number = device.partition(":")[2]
        cupy().cuda.Device(int(number) if number else None).synchronize()  # "cuda": the current GPU


def keep_freed_memory() -> None:
    """Let this process keep the memory it frees, for the next arrays of the same size (Linux; elsewhere nothing).

    The C library gives large blocks back to the system at once and asks for them again a moment later, and every
    page of them is then handed out, and cleared, anew. A training step uses the same large arrays over and over;
    measured on FCN-8s at 8x3x180x240, it is 7% faster when they stay.
    """
    if sys.platform != "linux":
        return
    M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, largest = -1, -3, 2**31 - 1  # from <malloc.h>
    with contextlib.suppress(OSError, AttributeError):  # a C library without mallopt
        libc = ctypes.CDLL(None)
        if libc.mallopt(M_MMAP_THRESHOLD, largest):  # older ones refuse so much; then all stays as it was
            libc.mallopt(M_TRIM_THRESHOLD, largest)


# --- random numbers ---------------------------------------------------------------------------------------
# One generator, on the host, whatever the device: the same seed then gives the same weights and the same
# dropout masks on a CPU and on a GPU, and its state is a small dictionary that a checkpoint can hold.

_generator = np.random.default_rng(0)


def manual_seed(seed: int) -> None:
    """Restart the random generator that initialisers and dropout draw from."""
    generator().bit_generator.state = np.random.default_rng(seed).bit_generator.state


def generator() -> np.random.Generator:
    """The library's random generator; its state can be read and set through `.bit_generator.state`."""
    return _generator
