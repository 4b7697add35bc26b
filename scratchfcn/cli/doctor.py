"""`scratchfcn doctor`: what this machine has, what works on it, and the line that mends what does not.

Nothing is taken on trust. A library that imports may still compute nothing (a GPU without its compiler) or
the wrong thing, so every device runs a small convolution, forward and backward, and its numbers are held
against the plain loops of `naive.py`; then it is timed.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text
from threadpoolctl import threadpool_info

from .. import __version__, backend, naive, parallel
from ..cuda.fixes import CUPY_PACKAGES, Machine, fixes_for, this_machine
from ..ops import Conv2d
from .doctor_gpu import compared, described, multiplied

NEEDED = ("threadpoolctl", "pillow", "safetensors", "rich", "typer", "matplotlib", "jinja2")
OPTIONAL = (  # package, extra, what takes it
    ("torch", "torch", "reading .pth files"),
    ("protobuf", "caffe", "reading .caffemodel files"),
    ("scipy", "mat", "reading masks in .mat files"),
    ("onnx", "onnx", "`export --format onnx`"),
    ("onnxruntime", "onnx", "the check after `export`"),
    ("av", "video", "reading videos"),
)
# what decides where things are computed, and how
VARIABLES = ("SCRATCHFCN_DEVICE", "SCRATCHFCN_KERNELS", "CUDA_VISIBLE_DEVICES", "CUPY_GPU_MEMORY_LIMIT", "CUDA_PATH")
Row = tuple[str, str, str]  # what, its value, and "✓", "!" (worth knowing), "✗" (broken) or "" (no judgement)


def doctor_command() -> None:
    """Show versions, test every device with a small convolution, and say what to install."""
    console = Console()
    software, fixes = software_rows()
    found = this_machine()
    with console.status("computing a little on every device; a GPU compiles its kernels the first time …"):
        hardware, more = device_rows(found)
    for title, rows in {"software": software, "machine": machine_rows(found), "devices": hardware}.items():
        console.print(table(title, rows), "")
    for fix in fixes + more:
        console.print(Text(f"  fix: {fix}"), soft_wrap=True)  # one line, to be copied whole
    console.print(Text(verdict(hardware)))
    if not cpu_works(hardware) or any(mark == "✗" for *_, mark in software):
        raise typer.Exit(1)


def table(title: str, rows: list[Row]) -> Table:
    grid = Table(
        title=title, title_justify="left", title_style="bold", show_header=False, box=None, padding=(0, 2, 0, 0)
    )
    grid.add_column(width=1)
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    styles = {"✓": "green", "!": "yellow", "✗": "red"}
    for name, value, mark in rows:
        grid.add_row(Text(mark, style=styles.get(mark, "")), Text(name), Text(value))  # Text: "[gpu]" is no markup
    return grid


# --- software ---------------------------------------------------------------------------------------------


def version_of(package: str) -> str | None:
    """The installed version, without importing the package (torch alone would take seconds)."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def software_rows() -> tuple[list[Row], list[str]]:
    """Versions of everything that takes part, and the pip lines for what is missing."""
    rows: list[Row] = [("Python", platform.python_version(), "✓"), ("scratchfcn", __version__, "✓")]
    rows += [("numpy", np.__version__, "✓"), blas_row()]
    fixes = []
    for package in NEEDED:
        version = version_of(package)
        rows.append((package, version or "missing", "✓" if version else "✗"))
        if not version:
            fixes.append("pip install -e .")
    for package, extra, what in OPTIONAL:
        missing = f'not installed; only {what} takes it: pip install -e ".[{extra}]"'
        rows.append((package, version_of(package) or missing, ""))
    cupys = [f"{name} {version}" for name in CUPY_PACKAGES if (version := version_of(name))]
    rows.append(("cupy", ", ".join(cupys) or "not installed; only a GPU takes it", "!" if len(cupys) > 1 else ""))
    if len(cupys) > 1:  # they overwrite each other's files
        fixes.append(f"pip uninstall -y {' '.join(c.split()[0] for c in cupys)}, then {backend.PIP_LINE}")
    return rows, sorted(set(fixes))


def blas_row() -> Row:
    """The library behind `@`, and how many threads it starts for one product."""
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    name = f"{blas.get('name', 'unknown')} {blas.get('version', '')}".strip()
    threads = max((pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"), default=1)
    cores = parallel.usable_cores()
    if threads > cores:  # more threads than cores wait for each other: often slower than one
        return "BLAS", f"{name}, {threads} threads but only {cores} usable cores; set OMP_NUM_THREADS={cores}", "!"
    return "BLAS", f"{name}, {threads} threads", "✓"


# --- machine ----------------------------------------------------------------------------------------------


def machine_rows(machine: Machine) -> list[Row]:
    total, free = memory()
    text = (
        "unknown" if total is None else f"{total / 2**30:.1f} GiB" + (f", {free / 2**30:.1f} GiB free" if free else "")
    )
    cores = f"{parallel.usable_cores()} usable of {os.cpu_count()}; the ops share work among {parallel.threads()}"
    rows: list[Row] = [
        ("system", f"{platform.system()} {platform.machine()}", ""),
        ("cores", cores, ""),
        ("memory", text, ""),
        ("GPU driver", machine.driver_in_words(), ""),
    ]
    return rows + [(name, os.environ[name], "") for name in VARIABLES if name in os.environ]


def memory() -> tuple[int | None, int | None]:
    """Total and free memory in bytes; None where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        sizes = {name: int(rest.split()[0]) * 1024 for name, rest in (line.split(":") for line in lines)}
        return sizes["MemTotal"], sizes["MemAvailable"]
    except (OSError, KeyError, ValueError):
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), None
    except (AttributeError, OSError, ValueError):  # Windows
        return None, None


# --- devices ----------------------------------------------------------------------------------------------


def device_rows(machine: Machine) -> tuple[list[Row], list[str]]:
    """A row per device: whether it computes correctly, and how fast; of a GPU also what it is. And the fix where there
    is no GPU to use, or one that fails."""
    rows, fixes = [tested("cpu")], []
    problem = backend.cuda_problem()
    if problem is not None:
        return [*rows, ("cuda", f"not usable: {problem}", "!")], fixes_for(problem, machine)
    for i in range(backend.cupy().cuda.runtime.getDeviceCount()):
        device = f"cuda:{i}"
        mine = [tested(device), compared(device), multiplied(device)]
        failed = [text for _, text, mark in mine if mark in ("✗", "!") and "fails: " in text]
        fixes += [line for text in failed for line in fixes_for(text, machine) if line not in fixes]
        rows += [*mine, *described(device)]
    return rows, fixes


def tested(device: str) -> Row:
    """Run the test convolution on `device` and time it; a failure is a row like any other, with its reason."""
    try:
        error = convolution_error(device)
        if not error < 1e-10:
            return device, f"WRONG NUMBERS: a convolution differs from the plain loops by {error:.1e}", "✗"
        speed = gemm_gflops(device)
        milliseconds = 1000 * convolution_seconds(device)
    except Exception as failure:  # a driver, compiler or memory problem: whatever it is, it is the finding
        return device, f"fails: {type(failure).__name__}: {failure}", "✗"
    text = f"convolution right, forward + backward {milliseconds:.0f} ms; matrix product {speed:,.0f} GFLOP/s (float32)"
    return device, text, "✓"


def convolution_error(device: str) -> float:
    """How far conv2d, forward and backward, is from the plain loops; float64, so rounding is about 1e-14.

    Convolution is linear in x, in w and in b, so a gradient g is right if Σ g·d = Σ gy·conv(d) for a random
    direction d: the plain loops, which only know forward, check backward as well.
    """
    rng = np.random.default_rng(0)
    x, w, b = rng.normal(size=(2, 3, 7, 6)), rng.normal(size=(4, 3, 3, 3)), rng.normal(size=4)
    dx, dw, db = (rng.normal(size=a.shape) for a in (x, w, b))
    expected = naive.conv2d(x, w, b, stride=2, padding=1)
    gy = rng.normal(size=expected.shape)

    conv = Conv2d(stride=2, padding=1)
    y = conv.forward(*(backend.to_device(a, device) for a in (x, w, b)))
    gx, gw, gb = map(backend.to_numpy, conv.backward(backend.to_device(gy, device)))
    errors = [
        abs(backend.to_numpy(y) - expected).max(),
        abs((gx * dx).sum() - (gy * naive.conv2d(dx, w, None, stride=2, padding=1)).sum()),
        abs((gw * dw).sum() - (gy * naive.conv2d(x, dw, None, stride=2, padding=1)).sum()),
        abs((gb * db).sum() - (gy * db[:, None, None]).sum()),
    ]
    return float(max(errors))


def gemm_gflops(device: str, size: int = 1024) -> float:
    """Billions of multiplications and additions per second in a square matrix product: what bounds a convolution."""
    a = backend.to_device(np.random.default_rng(0).random((size, size), np.float32), device)
    return 2e-9 * size**3 / seconds(lambda: a @ a, device)


def convolution_seconds(device: str) -> float:
    """Time of a 3x3 convolution of 64 channels on four images of 64x64, forward and backward."""
    rng = np.random.default_rng(0)
    x = backend.to_device(rng.random((4, 64, 64, 64), np.float32), device)
    w = backend.to_device(rng.random((64, 64, 3, 3), np.float32), device)

    def step() -> Any:
        conv = Conv2d(padding=1)
        return conv.backward(conv.forward(x, w))

    return seconds(step, device)


def seconds(work: Callable[[], Any], device: str, repeats: int = 3) -> float:
    """The best of a few runs, after one that does not count (it starts threads, compiles and allocates)."""
    best = float("inf")
    for i in range(repeats + 1):
        start = time.perf_counter()
        work()
        backend.synchronize(device)  # a GPU returns before it has finished
        if i > 0:
            best = min(best, time.perf_counter() - start)
    return best


# --- the outcome --------------------------------------------------------------------------------------------


def cpu_works(rows: list[Row]) -> bool:
    return rows[0][2] == "✓"


def verdict(rows: list[Row]) -> str:
    """One sentence: is this machine fit for training, and on what?"""
    gpus = [device for device, _, mark in rows if device.startswith("cuda:") and mark == "✓"]
    if not cpu_works(rows):
        return "✗ not fit for training: the CPU computes wrong numbers or fails (see above)"
    if gpus:
        return f"✓ fit for training on {', '.join(gpus)} and on the CPU. Next: scratchfcn demo"
    return "✓ fit for training on the CPU: small models and small images; large ones want a GPU. Next: scratchfcn demo"
