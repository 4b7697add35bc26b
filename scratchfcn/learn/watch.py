"""Check a file whenever it is saved, and go on to the next exercise by itself when it is right.

The files' times and sizes are asked for a few times a second: this works in every editor and on every kind of disk,
which notices from the operating system do not. A file counts as saved once it has stayed the same for one round, since
editors write in pieces.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from .exercise import EXERCISES, Exercise
from .folder import Folder

SECONDS = 0.4  # from one look to the next

Stamp = tuple[int, int] | None  # time of change and size; None while there is no such file


def watch(
    folder: Folder,
    check: Callable[[Exercise], bool],
    say: Callable[[str], None],
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Until every exercise has been passed (or Ctrl-C): check what was saved.

    check: checks an exercise, prints what comes out, and returns whether it is right. say: prints.
    """
    checked = {e: stamp(folder.file(e)) for e in EXERCISES}  # what each file was like when last checked
    seen = dict(checked)  # what it was like at the last look

    def examine(exercise: Exercise) -> bool:
        checked[exercise] = seen[exercise] = stamp(folder.file(exercise))
        return check(exercise)

    def go_on() -> Exercise | None:
        """Present the next exercise that is not right yet; those that are right already are passed on the way."""
        while (exercise := folder.next()) is not None:
            say(f"\n{exercise.task}\n")
            if not examine(exercise):
                say(f"\nwrite into {folder.file(exercise)} and save; it is checked at once")
                say("hints are for another window; Ctrl-C stops")
                return exercise
        return None

    current = go_on()
    while current is not None:
        sleep(SECONDS)
        for exercise in EXERCISES:
            now = stamp(folder.file(exercise))
            settled, seen[exercise] = now == seen[exercise], now
            if now is None or not settled or now == checked[exercise]:
                continue
            say(f"\n{'-' * 100}")
            if examine(exercise) and folder.next() != current:
                current = go_on()
            else:
                say(f"\nwatching the folder; the next exercise to pass is {folder.file(current)} (Ctrl-C stops)")
            break  # one file at a time; another that was saved meanwhile is met at the next look
    say("\nAll exercises are passed: every part of a fully convolutional network, written by you.")


def stamp(path: Path) -> Stamp:
    try:
        status = path.stat()
    except OSError:  # editors rename, and for a moment there is no file
        return None
    return status.st_mtime_ns, status.st_size
