"""A GPU's memory: what there is, what our arrays hold, and what an error said was missing.

CuPy takes memory from the GPU in blocks, and keeps the blocks of arrays that are gone for the next ones: its *pool*. So
four figures describe a GPU. Some of its memory is free for anybody; some our arrays hold; some our pool keeps ready,
which is free for us alone; and the rest belongs to other programs, or to CUDA itself.

CuPy's pool tells no peak. What an op, or a step, needs at most is told by a hook on every block that is handed out.
"""

from __future__ import annotations

import gc
import itertools
import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from .. import backend
from .describe import number_of

graph_pools: list[Any] = []  # those of CUDA graphs, each the `pool` of a graph.Pool, which puts itself here
_numbers = itertools.count(1)
ASKED = re.compile(r"allocating ([\d,]+) bytes")  # CuPy's error says it in words alone
OUT = ("cudaErrorMemoryAllocation", "CUDA_ERROR_OUT_OF_MEMORY", "CUBLAS_STATUS_ALLOC_FAILED")


@dataclass(frozen=True)
class GpuMemory:
    """Bytes of one GPU.

    total: all it has. free: for anybody. used: by our arrays. kept: by our pool, for the next ones.
    limit: how much our pool may take, by CUPY_GPU_MEMORY_LIMIT or `set_limit`; None where nobody has said.
    """

    total: int
    free: int
    used: int
    kept: int
    limit: int | None = None

    @property
    def available(self) -> int:
        """What new arrays may take: what is free, and what the pool keeps; no more than the limit leaves."""
        unlimited = self.free + self.kept
        return unlimited if self.limit is None else max(0, min(unlimited, self.limit - self.used))

    @property
    def others(self) -> int:
        """What is neither free nor our pool's: other programs, and CUDA's own, some hundred MB for each program."""
        return max(0, self.total - self.free - self.used - self.kept)

    def in_words(self) -> str:
        """For people: "80.0 GB, of which …"."""
        kept = f" and {gigabytes(self.kept)} that our pool keeps for them" if self.kept else ""
        limit = "" if self.limit is None else f"; our pool is limited to {gigabytes(self.limit)}"
        return (
            f"{gigabytes(self.total)}: {gigabytes(self.free)} free, {gigabytes(self.used)} in our arrays{kept}, "
            f"{gigabytes(self.others)} taken by other programs and by CUDA itself{limit}"
        )


def gpu_memory(device: str = "cuda") -> GpuMemory:
    """The figures of "cuda" or "cuda:N"."""
    cupy = backend.cupy()
    with cupy.cuda.Device(number_of(device)):  # all of these speak of the current device
        free, total = cupy.cuda.runtime.memGetInfo()
        pool = cupy.get_default_memory_pool()
        pools = [pool, *(owner.pool for owner in graph_pools)]
        used, kept = sum(p.used_bytes() for p in pools), sum(p.free_bytes() for p in pools)
        return GpuMemory(total, free, used, kept, pool.get_limit() or None)


def asked_for(error: BaseException) -> int | None:
    """How many bytes could not be had, as CuPy's OutOfMemoryError says; None for other errors."""
    found = ASKED.search(str(error))
    return int(found[1].replace(",", "")) if found else None


def is_gpus(error: BaseException) -> bool:
    """Whether it was a GPU that ran out of memory. CuPy's pool raises a MemoryError, as NumPy does; what takes memory
    beside the pool (matrix products, pinned memory, CUDA itself) raises a RuntimeError with CUDA's own words."""
    if isinstance(error, MemoryError):
        return asked_for(error) is not None
    return isinstance(error, RuntimeError) and any(word in str(error) for word in OUT)


def is_memory_error(error: BaseException) -> bool:
    """Whether memory was lacking, the GPU's or the host's."""
    return isinstance(error, MemoryError) or is_gpus(error)


def let_go(error: BaseException) -> None:
    """Free the arrays of the work that `error` has ended. Its traceback holds on to every frame, and the frames to
    their maps; what they leave in CuPy's pool goes back to the GPU."""
    traceback.clear_frames(error.__traceback__)
    gc.collect()
    if "cupy" in sys.modules and backend.cuda_problem() is None:
        backend.cupy().get_default_memory_pool().free_all_blocks()


@dataclass
class Watched:
    """What arrays hold on the current GPU. bytes: now; peak: the most they have held at once."""

    bytes: int
    peak: int


@contextmanager
def watched_pool() -> Iterator[Watched]:
    """Within this block, what arrays hold, and the most that they have held, as far as this thread makes and frees
    them."""
    cupy = backend.cupy()

    class Watch(cupy.cuda.MemoryHook):
        """Told of every block that is handed out or comes back; sizes are those the pool rounds to."""

        name = f"scratchfcn {next(_numbers)}"  # CuPy refuses a second hook of the same name

        def malloc_postprocess(self, *, mem_size: int, mem_ptr: int, **_: Any) -> None:
            if mem_ptr:
                held.bytes += mem_size
                held.peak = max(held.peak, held.bytes)

        def free_postprocess(self, *, mem_size: int, **_: Any) -> None:
            held.bytes -= mem_size

    used = cupy.get_default_memory_pool().used_bytes()
    held = Watched(used, used)
    with Watch():
        yield held


def gigabytes(count: float) -> str:
    """ "1.5 GB"; what is less than one in MB."""
    return f"{count / 1e9:.1f} GB" if abs(count) >= 1e9 else f"{count / 1e6:.0f} MB"
