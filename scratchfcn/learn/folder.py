"""The learner's folder: their files, and what is remembered about them.

    my-fcn/
      01_output_size.py …     the blanks, then what the learner makes of them
      test_exercises.py       so that plain `pytest my-fcn -k 03` runs the same checks
      .scratchfcn.json        what was passed and which hints were read
      .out/                   the call that failed last, and maps of errors

Nothing that the learner wrote is ever overwritten: `init` only adds what is not there, and `reset` keeps a copy first.
Of the memory, a JSON file, every field is kept, also those that only a later version knows.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from ..files import replacing
from .exercise import EXERCISES, Exercise, LearnError

MEMORY = ".scratchfcn.json"
VERSION = 1
PATIENCE = 2.0  # seconds; writing the memory takes a thousandth of that
TESTS = "test_exercises.py"
TESTS_TEXT = '''"""`pytest -k 03` in this folder is the same as `scratchfcn learn run 03`."""

from scratchfcn.learn.for_pytest import tests_of

test_exercise = tests_of(__file__)
'''


class Folder:
    """A folder that `init` has made."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def file(self, exercise: Exercise) -> Path:
        """The learner's file for an exercise."""
        return self.path / exercise.file_name

    @property
    def output(self) -> Path:
        """What failing checks leave behind."""
        return self.path / ".out"

    # --- what is remembered -------------------------------------------------------------------------------

    def remember_passed(self, exercise: Exercise) -> bool:
        """Note that the exercise has been passed by the file as it is now; whether that is news."""
        with self._changing() as memory:
            passed = memory["passed"]
            news = exercise.number not in passed
            note = passed.setdefault(exercise.number, {"on": datetime.now().strftime("%Y-%m-%d %H:%M")})
            note["file"] = self._digest(exercise)
        return news

    def remember_hint(self, exercise: Exercise, level: int) -> None:
        """Note that the hints up to this level were read."""
        with self._changing() as memory:
            memory["hints"][exercise.number] = max(level, memory["hints"].get(exercise.number, 0))

    def passed(self, exercise: Exercise) -> bool:
        return exercise.number in self._read()["passed"]

    def hints_read(self, exercise: Exercise) -> int:
        """The highest level that was shown; 0 for none."""
        return self._read()["hints"].get(exercise.number, 0)

    def status(self, exercise: Exercise) -> str:
        """In words: passed, changed since then, not passed yet, not begun, or not there."""
        file = self.file(exercise)
        if not file.exists():
            return "no file; `init` again adds it"
        note = self._read()["passed"].get(exercise.number)
        if note is not None:
            return "passed" if note.get("file") == self._digest(exercise) else "passed; changed since"
        return "not begun" if file.read_bytes() == exercise.blank.encode() else "begun"

    def next(self) -> Exercise | None:
        """The first exercise that has not been passed; None when all have."""
        passed = self._read()["passed"]
        return next((e for e in EXERCISES if e.number not in passed), None)

    def _digest(self, exercise: Exercise) -> str:
        return hashlib.sha256(self.file(exercise).read_bytes()).hexdigest()[:16]

    def _read(self) -> dict[str, Any]:
        path = self.path / MEMORY
        try:
            memory = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            memory = {}
        except ValueError:  # cut off, or edited: keep it, and start afresh
            path.rename(unused(path.with_name(MEMORY + ".bak")))
            memory = {}
        if not isinstance(memory, dict):
            memory = {}
        memory.setdefault("version", VERSION)
        for field in ("passed", "hints"):
            if not isinstance(memory.get(field), dict):
                memory[field] = {}
        return memory

    @contextmanager
    def _changing(self) -> Iterator[dict[str, Any]]:
        """The memory, to be changed in this block and written at its end.

        Others (watch in another window, pytest's workers) wait until then, or what they have noted would be lost. What
        they wait for is a file that is there or not; one left by a killed process is taken away.
        """
        claim = self.path / (MEMORY + ".claim")
        until = time.monotonic() + PATIENCE
        while True:
            try:
                claim.touch(exist_ok=False)
                break
            except FileExistsError:
                if time.monotonic() > until:
                    break
                time.sleep(0.02)
        try:
            memory = self._read()
            yield memory
            with replacing(self.path / MEMORY) as temporary:
                temporary.write_text(json.dumps(memory, indent=1) + "\n", encoding="utf-8")
        finally:
            claim.unlink(missing_ok=True)

    # --- files --------------------------------------------------------------------------------------------

    def reset(self, exercise: Exercise) -> Path | None:
        """Put the blank back; returns where the learner's version is kept now, None if there was none to keep."""
        file, kept = self.file(exercise), None
        if file.exists():
            written = file.read_bytes()
            if written == exercise.blank.encode():
                return None
            kept = unused(file.with_name(file.name + ".bak"))
            kept.write_bytes(written)
        with replacing(file) as temporary:
            temporary.write_bytes(exercise.blank.encode())
        return kept


def init(path: Path) -> tuple[Folder, list[Exercise]]:
    """Make a folder for exercises, or add to one what it lacks; returns it and the exercises that were added."""
    if path.exists() and not path.is_dir():
        raise LearnError(f"{path} is a file; give the name of a folder to make")
    path.mkdir(parents=True, exist_ok=True)
    folder = Folder(path)
    added = [e for e in EXERCISES if not folder.file(e).exists()]
    for exercise in added:
        folder.file(exercise).write_bytes(exercise.blank.encode())
    if not (path / TESTS).exists():
        (path / TESTS).write_text(TESTS_TEXT, encoding="utf-8")
    with folder._changing():
        pass  # the file marks the folder
    return folder, added


def find_folder(given: Path | None = None) -> Folder:
    """The learner's folder: the given one, else the current directory, a parent, or the only one right below.

    Errors: LearnError where there is none, or more than one below.
    """
    if given is not None:
        if (given / MEMORY).exists() or any(given.glob("[0-9][0-9]_*.py")):
            return Folder(given)
        raise LearnError(f"{given} holds no exercises\n  fix: scratchfcn learn init {given}")
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / MEMORY).exists():
            return Folder(folder)
    below: list[Path] = []
    with suppress(OSError):
        below = sorted(p.parent for p in here.glob(f"*/{MEMORY}"))
    if len(below) == 1:
        return Folder(below[0].relative_to(here))
    if below:
        names = ", ".join(p.name for p in below)
        raise LearnError(f"there are several folders with exercises here: {names}\n  fix: add --dir {below[0].name}")
    raise LearnError(
        "no exercises here\n  fix: scratchfcn learn init my-fcn   (or, if you have a folder, cd into it or add --dir)"
    )


def unused(path: Path) -> Path:
    """`path`, or if that is taken path2, path3, …: a backup never replaces an older one."""
    candidate, count = path, 1
    while candidate.exists():
        count += 1
        candidate = path.with_name(f"{path.name}{count}")
    return candidate
