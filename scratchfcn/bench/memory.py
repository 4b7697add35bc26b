"""How much memory this process takes: now, and at most since `forget_peak`.

Linux tells both, in /proc/self/status. Elsewhere only the peak since the process began is known, which is why every
measurement of memory is a process of its own. (The figures of a GPU's memory are in cuda/memory.py.)
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import sys
from pathlib import Path

from .. import backend

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def resident() -> int:
    """Bytes of memory in use now; where the system does not say, the peak so far."""
    return status("VmRSS") or peak()


def peak() -> int:
    """The most bytes in use at once since the process began, or since `forget_peak`."""
    known = status("VmHWM")
    if known:
        return known
    import resource  # Unix only

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def forget_peak() -> None:
    """Let `peak` begin anew, where the system can do so (Linux)."""
    with contextlib.suppress(OSError):
        CLEAR.write_text("5")


def give_back_freed() -> None:
    """Return to the system what was freed, such as what making the network took, so that it does not count as in use
    (with the C library of Linux; elsewhere nothing)."""
    gc.collect()
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):  # a C library without malloc_trim
            ctypes.CDLL(None).malloc_trim(0)


def give_back_pool() -> None:
    """Return to the current GPU what CuPy's pool keeps although no array holds it."""
    gc.collect()
    backend.cupy().get_default_memory_pool().free_all_blocks()


def status(name: str) -> int | None:
    """A line of /proc/self/status in bytes, or None."""
    try:
        lines = STATUS.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(name + ":")), None)
