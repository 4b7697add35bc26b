"""Which GPU this is, and what it works with: plain values, for `doctor` and beside every measurement.

Three versions have to go together. The *driver* belongs to the system, and runs programs of CUDA up to a version of
its own; *CuPy* has been built for a CUDA; and its compiler and matrix products come from a CUDA installed beside it.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from pathlib import Path
from typing import Any

from .. import backend

DRIVER = Path("/sys/module/nvidia/version")  # where Linux says it
ASK = "nvidia-smi"
PATIENCE = 10  # seconds; nvidia-smi may hang where a driver has crashed


def describe_gpu(device: str = "cuda") -> dict[str, Any]:
    """What there is to say of "cuda" or "cuda:N", as plain values, for tables and for --json:

    name; compute_capability ("9.0"); multiprocessors; memory_total and memory_free, in bytes; driver, its version, or
    None where the system does not say; driver_cuda, the newest CUDA that it runs; cuda, which CuPy was built for; cupy.
    """
    cupy = backend.cupy()
    runtime, number = cupy.cuda.runtime, number_of(device)
    about = runtime.getDeviceProperties(number)
    with cupy.cuda.Device(number):
        free, total = runtime.memGetInfo()  # of the current device
    return {
        "name": about["name"].decode(),
        "compute_capability": f"{about['major']}.{about['minor']}",
        "multiprocessors": about["multiProcessorCount"],
        "memory_total": total,
        "memory_free": free,
        "driver": driver_version(),
        "driver_cuda": cuda_version(runtime.driverGetVersion()),
        "cuda": cuda_version(runtime.runtimeGetVersion()),
        "cupy": cupy.__version__,
    }


def number_of(device: str) -> int:
    """ "cuda:1" → 1; "cuda" → the number of the current GPU."""
    number = device.partition(":")[2]
    return int(number) if number else backend.cupy().cuda.runtime.getDevice()


def cuda_version(number: int) -> str | None:
    """12040, as CUDA writes its versions, → "12.4"; 0, which is what it says without a driver, → None."""
    return f"{number // 1000}.{number % 1000 // 10}" if number else None


def driver_version() -> str | None:
    """The NVIDIA driver's, such as "550.54.15"; None where there is none, or nobody says."""
    with contextlib.suppress(OSError):
        return DRIVER.read_text(encoding="ascii").strip()
    return asked("driver_version")


def asked(field: str) -> str | None:
    """What nvidia-smi answers about the first GPU; None where it is not there, or fails."""
    command = shutil.which(ASK)
    if command is None:
        return None
    question = [command, f"--query-gpu={field}", "--format=csv,noheader"]
    try:
        answer = subprocess.run(question, capture_output=True, text=True, timeout=PATIENCE, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    return next((line.strip() for line in answer.splitlines() if line.strip()), None)
