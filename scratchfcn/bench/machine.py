"""What the numbers were measured on: processor, cores, GPU, libraries and threads."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import time
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_info

from .. import __version__
from ..cuda import kernels
from ..cuda.describe import describe_gpu
from ..parallel import usable_cores


def describe_machine(threads: int, device: str = "cpu") -> dict[str, Any]:
    """As plain values, for the tables and for --json; on a GPU, "gpu" is what `describe_gpu` says, and whether our
    kernels are on."""
    gpu = {} if device == "cpu" else {"gpu": describe_gpu(device) | {"kernels": kernels.enabled()}}
    return gpu | {
        "processor": processor(),
        "cores": usable_cores(),
        "threads": threads,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "scratchfcn": __version__,
        "numpy": np.__version__,
        "blas": blas(),
        "torch": torch_version(),
    }


def processor() -> str:
    """The processor's name, as it calls itself."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


class OtherWork:
    """How much other processes have worked on our cores since this was made (Linux; elsewhere nothing is known).

    Two libraries on a busy machine cannot be compared, even if they take turns: PyTorch's threads wait for each other
    by spinning, and where one of them has no core, all lose. Measured on two cores beside a process that used one: a
    step took PyTorch 2.7 times as long as without, and this library 1.5 times.
    """

    def __init__(self) -> None:
        self.start = time.perf_counter(), busy_seconds(), own_seconds()

    def cores(self) -> float | None:
        """How many cores the others have kept busy, on average."""
        start, busy, own = self.start
        now = busy_seconds()
        if busy is None or now is None:
            return None
        others = now - busy - (own_seconds() - own)
        return max(0.0, others / (time.perf_counter() - start))


def busy_seconds() -> float | None:
    """The time that the cores we may use have worked so far, for anybody; None where the system does not say."""
    try:
        lines = [line.split() for line in Path("/proc/stat").read_text(encoding="ascii").splitlines()]
        ours = {f"cpu{i}" for i in os.sched_getaffinity(0)}
        ticks = sum(
            sum(map(int, (*line[1:4], *line[6:9]))) for line in lines if line[0] in ours
        )  # all but idle, iowait
        return ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, AttributeError):
        return None


def own_seconds() -> float:
    """The time that this process, and those it has started and seen end, have worked."""
    t = os.times()
    return t.user + t.system + t.children_user + t.children_system


def blas() -> str:
    """The library behind NumPy's matrix products, its version, and the processor family it has chosen code for."""
    found = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    if not found:
        return "unknown"
    return " ".join(str(found[0][key]) for key in ("internal_api", "version", "architecture") if found[0].get(key))


def blas_threads() -> int:
    """How many threads that library uses for one product."""
    return max((pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"), default=1)


def torch_version() -> str | None:
    """PyTorch's version without importing it, or None."""
    try:
        return importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        return None
