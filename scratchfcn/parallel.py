"""All cores at work: an op's large loop, shared among threads.

NumPy's copies, sums and matrix products let go of Python's lock while they run, so that plain threads can run several
of them at once. `share(work, pieces, x)` calls `work` on every piece, on as many threads as `threads()` says. Which
pieces there are is up to the op and depends on sizes alone, never on the number of threads: the results are the same,
bit for bit, on one core and on many.

The matrix products' own threads stand aside meanwhile (`one_blas_thread`). They divide one product, which gains little
where matrices are long and thin, as a convolution's are; and after each product they wait for the next one by spinning,
on a core that a copy could have used. Measured on FCN-8s small, a step takes up to 1.5x as long if they do.

To follow an op with a debugger, use small images, which stay in one piece, or `set_threads(1)`.
"""

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import ThreadpoolController

from .backend import array_module
from .cuda import gemm

# --- how many threads -------------------------------------------------------------------------------------

_threads: int | None = None


def threads() -> int:
    """How many threads an op may use: what `set_threads` said, else SCRATCHFCN_THREADS, else as many as NumPy's matrix
    products would (OMP_NUM_THREADS, or one a core), but no more than this process has cores."""
    if _threads is None:
        set_threads(_read_threads())
    return _threads


def set_threads(number: int) -> None:
    """Use `number` threads from now on; 1 means none beside the caller's own."""
    global _threads
    if not hasattr(number, "__index__") or number < 1:
        raise ValueError(f"set_threads: a number of threads is a whole number from 1 up, got {number!r}")
    _threads = int(number)


def _read_threads() -> int:
    asked = os.environ.get("SCRATCHFCN_THREADS")
    if asked is None:
        return min(usable_cores(), max((blas.num_threads or 1 for blas in _blas()), default=usable_cores()))
    if not asked.isdecimal() or int(asked) < 1:
        raise ValueError(f"SCRATCHFCN_THREADS is {asked!r}; it must be a whole number from 1 up")
    return int(asked)


def usable_cores() -> int:
    """How many cores this process may use: fewer than the machine has within many a container or job."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        return max(1, min(cores, int(quota) // int(period)))
    except (OSError, ValueError):  # not Linux, or the quota is "max"
        return cores


# --- the matrix products' own threads ---------------------------------------------------------------------


@cache
def _blas() -> list[Any]:
    """Control of the BLAS libraries loaded in this process, usually NumPy's one; empty where it offers none."""
    return ThreadpoolController().select(user_api="blas").lib_controllers


_blas_lock = threading.Lock()
_blas_users = 0
_blas_before: list[int] = []


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Within this block a matrix product runs on the thread that asks for it. Nested and concurrent use is fine: the
    first to enter takes the BLAS's own threads away, and the last to leave gives them back."""
    global _blas_users, _blas_before
    threads()  # asks the BLAS for its number of threads, if nobody has said how many to use; soon it will say 1
    with _blas_lock:
        if _blas_users == 0:
            _blas_before = [blas.num_threads for blas in _blas()]
            _limit_blas([1] * len(_blas()))
        _blas_users += 1
    try:
        yield
    finally:
        with _blas_lock:
            _blas_users -= 1
            if _blas_users == 0:
                _limit_blas(_blas_before)


def _limit_blas(numbers: list[int]) -> None:
    """Set how many threads each BLAS may use."""
    for blas, number in zip(_blas(), numbers, strict=True):
        # threadpoolctl 3.8 heeds only the first Python thread that limits OpenBLAS, for want of an order among them;
        # here `_blas_lock` keeps the order
        release = getattr(blas, "clear_controlling_thread", None)
        if release is not None:
            release(force=True)
        blas.set_num_threads(number)
        if release is not None:
            release(force=True)


# --- sharing ----------------------------------------------------------------------------------------------

PARTS = 8  # of a large product; fixed, so that rounding does not depend on the number of threads
LARGE_PRODUCT = 1 << 20  # multiplications, from which on sharing one gains more than it costs

_pool: tuple[int, ThreadPoolExecutor] | None = None  # and its number of threads
_this_thread = threading.local()


def is_sharing() -> bool:
    """Whether the calling thread works for a `share` already; its cores are busy then."""
    return getattr(_this_thread, "is_sharing", False)


def share(work: Callable[[Any], None], pieces: Iterable[Any], x: Any) -> None:
    """Call `work(piece)` for every piece, several at once. Pieces must not write to the same place.

    x: an array that the work is about. If it lies on a GPU, which has its own ways to be parallel, or within another
    `share`, the pieces are done one after the other.
    Returns when all are done; if one raises, no further piece is begun and its exception is raised here.
    """
    pieces = list(pieces)
    if is_sharing() or not isinstance(x, np.ndarray):
        for piece in pieces:
            work(piece)
        return
    with one_blas_thread():
        if len(pieces) == 1:  # not marked as sharing: a matrix product in it may be shared
            work(pieces[0])
        elif pieces:
            _share(work, pieces)


def _share(work: Callable[[Any], None], pieces: list[Any]) -> None:
    """`share` among this thread and its helpers."""
    global _pool
    waiting = iter(pieces)  # one iterator for all threads: whoever is free takes the next piece

    def take_pieces() -> None:
        try:
            _this_thread.is_sharing = True
            for piece in waiting:
                work(piece)
        finally:
            _this_thread.is_sharing = False
            for _ in waiting:  # after an exception, leave nothing to the others
                pass

    helping: list[Future[None]] = []
    try:
        for _ in range(min(threads(), len(pieces)) - 1):
            try:
                helping.append(_workers().submit(take_pieces))
            except RuntimeError:  # Python is ending, or the system has no more threads: then without
                break
        take_pieces()
    except BaseException:
        for _ in waiting:
            pass
        _pool = None  # an interrupt may have hit it in the middle of something; a new one is made when needed
        raise
    finally:  # even when interrupted: nobody may go on writing into arrays that the caller believes finished
        helping = [helper for helper in helping if not helper.cancel()]  # who has not begun need not
        _wait_for(helping)
    errors = [error for helper in helping if (error := helper.exception()) is not None]
    helping.clear()  # an exception holds this frame, and this frame would hold the exception
    if errors:
        raise errors.pop()


def _wait_for(helping: list[Future[None]]) -> None:
    """Until all are done, whatever interrupts; the interrupt is raised afterwards."""
    interrupts: list[BaseException] = []
    done = False
    while not done:
        try:
            wait(helping)
            done = True
        except BaseException as interrupt:
            interrupts.append(interrupt)
    if interrupts:
        raise interrupts.pop()


def matmul(a: Any, b: Any, out: Any = None) -> Any:
    """a (…, M, K) @ b (…, K, N) → (…, M, N), on all cores: the rows or the columns of the result are shared out, or,
    where the sums over K are long, these. Small products, vectors, and what lies on a GPU stay whole."""
    xp = array_module(a)
    if xp is not np:
        return gemm.matmul(a, b, out) if gemm.suits(a, b) else xp.matmul(a, b, out=out)
    if is_sharing():
        return np.matmul(a, b, out=out)
    with one_blas_thread():
        if min(a.ndim, b.ndim) < 2 or a.shape[-2] * a.shape[-1] * b.shape[-1] < LARGE_PRODUCT:
            return np.matmul(a, b, out=out)
        return _matmul(a, b, out)


def _matmul(a: np.ndarray, b: np.ndarray, out: np.ndarray | None) -> np.ndarray:
    """The product of two large matrices, or stacks of them, in parts."""
    M, K, N = a.shape[-2], a.shape[-1], b.shape[-1]
    if PARTS * max(M, N) < K:
        partial: list[Any] = [None] * PARTS

        def sums(i: int) -> None:
            some = slice(i * K // PARTS, (i + 1) * K // PARTS)
            partial[i] = a[..., some] @ b[..., some, :]

        share(sums, range(PARTS), a)
        return np.add.reduce(partial, out=out)
    if out is None:
        stack = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        out = np.empty((*stack, M, N), np.result_type(a, b))

    def rows(some: slice) -> None:
        np.matmul(a[..., some, :], b, out=out[..., some, :])

    def columns(some: slice) -> None:
        np.matmul(a, b[..., some], out=out[..., some])

    longer = max(M, N)
    step = max(64, -(-longer // PARTS))
    share(columns if N >= M else rows, [slice(i, min(i + step, longer)) for i in range(0, longer, step)], a)
    return out


def _workers() -> ThreadPoolExecutor:
    """The threads that help the calling one; they wait, asleep, from one `share` to the next."""
    global _pool
    if _pool is None or _pool[0] < threads() - 1:
        _pool = threads() - 1, ThreadPoolExecutor(threads() - 1, thread_name_prefix="scratchfcn")
    return _pool[1]


def _start_anew() -> None:
    """A forked process has the pool, but none of its threads, and none of those that may have held the lock."""
    global _pool, _blas_lock, _blas_users
    _pool, _blas_lock = None, threading.Lock()
    _this_thread.is_sharing = False
    if _blas_users:
        _blas_users = 0
        _limit_blas(_blas_before)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_anew)
