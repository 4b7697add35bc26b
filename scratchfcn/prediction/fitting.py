"""Will it fit? Asked before the network is, since Linux does not say no.

It promises more memory than it has, and ends the process that comes to use it: "Killed", with no word of what would
have helped. What a network's maps need is known without computing them (inspection/summary_memory.py), within a fifth
or so and rather too little than too much, so the question costs some milliseconds and refuses nothing that would have
worked.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from ..inspection.summary_memory import memory_of
from ..training import Network

SMALL = 2**21  # pixels: what is smaller is not worth the question


def check_fits(network: Network, seen: tuple[int, int], size: tuple[int, int]) -> None:
    """Errors: MemoryError where this machine's free memory is too small to show the network `seen` = (h, w) pixels, and
    to hold the scores and the probabilities of `size` = (H, W)."""
    free = free_memory()
    if free is None or max(seen[0] * seen[1], size[0] * size[1]) < SMALL:
        return
    number = np.dtype(np.float32).itemsize
    image, scores = network.channels * seen[0] * seen[1] * number, len(network.classes) * size[0] * size[1] * number
    needed = max(memory_of(network.model, (1, network.channels, *seen)).peak + image, 2 * scores)
    if needed > free:
        raise MemoryError(
            f"{seen[1]}×{seen[0]} pixels at once need about {needed / 1e9:.1f} GB of memory, and {free / 1e9:.1f} GB "
            "are free"
        )


def free_memory() -> int | None:
    """Bytes that this process may still use: what is free, and what it has, since it keeps the memory of earlier images
    for the next (backend.keep_freed_memory). None where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        return free + pages * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, StopIteration):
        return None
