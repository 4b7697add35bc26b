"""Will it fit? Asked before the network is, since Linux does not say no.

It promises more memory than it has, and ends the process that comes to use it: "Killed", with no word of what would
have helped. A GPU does say no, but what it says is a number of bytes. What a network's maps need is known without
computing them (inspection/summary_memory.py), within a fifth or so and rather too little than too much, so the question
costs some milliseconds and refuses nothing that would have worked.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from ..cuda.memory import gpu_memory
from ..inspection.step_memory import STEP, largest_size, prediction_bytes
from ..training import Network

SMALL = 2**21  # pixels: what is smaller is not worth the question
LARGEST = 4096  # of the windows that are proposed: larger ones gain nothing


def check_fits(network: Network, seen: tuple[int, int], size: tuple[int, int], device: str = "cpu") -> None:
    """Errors: MemoryError where the free memory of `device` is too small to show the network `seen` = (h, w) pixels,
    and to hold the scores and the probabilities of `size` = (H, W)."""
    if max(seen[0] * seen[1], size[0] * size[1]) < SMALL:
        return
    free = free_memory(device)
    if free is None:
        return
    needed = needed_bytes(network, seen, size)
    if needed > free:
        where = "memory" if device == "cpu" else f"memory on {device}"
        raise MemoryError(
            f"{seen[1]}×{seen[0]} pixels at once need about {needed / 1e9:.1f} GB of {where}, and {free / 1e9:.1f} GB "
            "are free"
        )


def needed_bytes(network: Network, seen: tuple[int, int], size: tuple[int, int]) -> int:
    """What it takes to show the network `seen` = (h, w) pixels, and to make probabilities of `size` = (H, W) of it."""
    scores = len(network.classes) * size[0] * size[1] * np.dtype(np.float32).itemsize
    return max(prediction_bytes(network.model, (1, network.channels, *seen)), 2 * scores)


def window_that_fits(network: Network, device: str, below: tuple[int, int] | None = None) -> tuple[int, int] | None:
    """The largest square window (h, w) for which there is memory on `device`; smaller than `below`, if that is given.
    None where the system does not say, or where not even a small one fits."""
    free, longest = free_memory(device), LARGEST if below is None else min(LARGEST, max(below) - 1)
    if free is None or longest < STEP:
        return None
    longest = longest // STEP * STEP
    return largest_size(lambda window: needed_bytes(network, window, window), (longest, longest), free)


def smaller_window(
    network: Network, device: str, window: tuple[int, int] | None, seen: tuple[int, int] | None = None
) -> str:
    """What to do about an image, shown as `seen` pixels or through windows of it, that took too much memory: as the
    command line has it. (On the CPU it is not asked what would fit: what is free there changes from second to second.)
    """
    fitting = None if device == "cpu" else window_that_fits(network, device, window or seen)
    if fitting is not None:
        return f"--window {fitting[1]}x{fitting[0]}"
    return f"a smaller --window than {window[1]}x{window[0]}" if window else "--window 512x512"


def free_memory(device: str = "cpu") -> int | None:
    """Bytes that this process may still use. On the CPU: what is free, and what it has, since it keeps the memory of
    earlier images for the next (backend.keep_freed_memory); None where the system does not say. On a GPU: what is free
    there, and what CuPy's pool keeps."""
    if device != "cpu":
        return gpu_memory(device).available
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        return free + pages * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, StopIteration):
        return None
