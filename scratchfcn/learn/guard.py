"""The learner's code is a guest that may loop for ever, wait in the debugger, or fail: how it is kept in order."""

from __future__ import annotations

import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

SECONDS = 10  # for one call with tiny arrays: a loop that takes longer does not end
GPU_SECONDS = 120  # there the first calls wait for kernels to be compiled


class Stopped(BaseException):
    """Raised in the learner's code when its time is up; no `except Exception` of theirs catches it."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise `Stopped` in this block after so many seconds, where the system can (Windows cannot; Ctrl-C works)."""
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise Stopped

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def debugger_at_the_terminal(terminal: Any) -> Iterator[None]:
    """A `breakpoint()` in this block talks to the terminal, although prints are collected, and has all the time."""
    if "pytest" in sys.modules or sys.breakpointhook is not sys.__breakpointhook__:
        yield  # pytest, or an editor, has a better one
        return

    def hook(*_: Any, **__: Any) -> None:
        import pdb

        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, 0)
        pdb.Pdb(stdout=terminal).set_trace(sys._getframe(1))

    sys.breakpointhook = hook
    try:
        yield
    finally:
        sys.breakpointhook = sys.__breakpointhook__


def place_of(error: BaseException, path: Path) -> str:
    """The innermost line of the learner's file that the error went through."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path)]
    if not frames:
        return path.name
    return f"{path.name}, line {frames[-1].lineno}: {frames[-1].line}"
