"""Files that are never half written, and folders that only one process writes to."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A temporary file to write in place of `path`, which takes `path`'s name at the end of the block.

    An exception or a kill within the block leaves `path` as it was. What a killed process left behind is removed.
    Errors: OSError, naming `path`, where the disk refuses.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    for leftover in path.parent.glob(f".{_literal(path.name)}.*.tmp"):
        writer = leftover.name.split(".")[-2]
        if not (writer.isdecimal() and is_alive(int(writer)) and int(writer) != os.getpid()):
            with suppress(OSError):
                leftover.unlink()
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())  # the numbers must be on the disk before the name points at them
        os.replace(temporary, path)
    except OSError as error:
        if error.errno is None or error.filename not in (None, str(temporary)):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)


def _literal(name: str) -> str:
    """`name` for use in a glob pattern, where brackets have a meaning of their own."""
    return re.sub(r"([*?[])", r"[\1]", name)


@contextmanager
def only_one_process(folder: str | Path) -> Iterator[None]:
    """Within this block no other process that asks may write to `folder`.

    A file with this process's number stands for the claim; one left by a killed process is taken over.
    Errors: BlockingIOError where another process is at work.
    """
    claim = Path(folder) / ".in-use"
    owner = claim.read_text() if claim.exists() else ""
    if owner.isdecimal() and int(owner) != os.getpid() and is_alive(int(owner)):
        raise BlockingIOError(f"{folder}: process {owner} is at work in this folder; wait for it, or stop it")
    claim.write_text(str(os.getpid()))
    try:
        yield
    finally:
        claim.unlink(missing_ok=True)


def is_alive(process: int) -> bool:
    """Whether a process of that number runs."""
    try:
        os.kill(process, 0)  # signal 0 only asks
    except ProcessLookupError:
        return False
    except OSError:  # it runs, but belongs to somebody else
        return True
    return True
