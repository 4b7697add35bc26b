"""What a run's settings do not say, and its numbers depend on all the same.

Settings and seed decide every random draw, but not the last bit of a sum: NumPy's version, the processor and its number
of threads decide in which order numbers are added. And settings name the data; they do not hold it. So a run's
config.toml begins with comments that say with what, on what and from what it was made. Nothing reads them but people:
a run repeated from that file on the same machine ends with the same bits, and where it does not, they are what to
compare first.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from .. import __version__, backend
from ..bench.machine import blas, blas_threads, processor
from ..data import Dataset
from ..parallel import usable_cores

LIBRARY = Path(__file__).resolve().parents[2]  # the folder that holds scratchfcn/, a checkout or site-packages


def origin(device: str, train: Dataset | None = None, val: Dataset | None = None, *init: str | None) -> list[str]:
    """Lines about this process and its data: versions, machine, time, command, and fingerprints of files.

    device: what is trained on. init: the files of weights that the run starts from; None is none.
    """
    lines = [
        f"made by scratchfcn {version()}",
        f"Python {platform.python_version()}, NumPy {np.__version__}, {blas()} with {blas_threads()} threads",
        f"{platform.system()} {platform.machine()}, {processor()}, {usable_cores()} cores; on {device}{card(device)}",
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, in {os.getcwd()}",
        f"command: {command_line()}",
    ]
    for what, images in (("training", train), ("validation", val)):
        if images is not None:
            lines.append(f"{what} images: {len(images)}, names and file sizes sha256 {fingerprint(images)[:16]}")
    lines += [f"weights: {file} sha256 {file_hash(file)[:16]}" for file in init if file is not None]
    return lines


def command_line() -> str:
    """The command that was given, to be pasted into a shell."""
    return shlex.join(["scratchfcn", *sys.argv[1:]])


def version() -> str:
    """The library's version; of a git checkout also the commit, and whether files differ from it."""
    if not (LIBRARY / ".git").exists():  # installed, perhaps below somebody else's repository
        return __version__
    commit = git("rev-parse", "--short=12", "HEAD")
    if not commit:
        return __version__
    changed = git("status", "--porcelain", "--untracked-files=no", "--", "scratchfcn")
    return f"{__version__}, commit {commit}" + (", with changes" if changed else "")


def git(*words: str) -> str:
    """What git answers about the library's checkout; "" where it does not, or is not there."""
    try:
        asked = subprocess.run(["git", "-C", LIBRARY, *words], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return ""
    return asked.stdout.strip() if asked.returncode == 0 else ""


def card(device: str) -> str:
    """The name of the GPU, and CuPy's version; "" for a CPU."""
    if not device.startswith("cuda"):
        return ""
    cupy = backend.array_module(backend.to_device(np.zeros(1), device))
    properties = cupy.cuda.runtime.getDeviceProperties(int(device.partition(":")[2] or 0))
    return f" ({properties['name'].decode()}, CuPy {cupy.__version__})"


def fingerprint(images: Dataset) -> str:
    """A hash of all names, and of the sizes of their files, which tells whether images were added, taken away or
    replaced; it takes a moment even for many, since no file is read."""
    digest, views = hashlib.sha256(), list(images.views().values())
    for i in range(len(images)):
        files = dict.fromkeys(path for view in views for path in view.files(i) or ())
        sizes = [path.stat().st_size for path in files]
        digest.update(f"{images.name(i)} {sizes}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


def file_hash(path: str | Path) -> str:
    """SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
