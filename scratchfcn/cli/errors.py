"""Whose mistake is it? A message for the user's own, a traceback for ours.

A missing mask, a full disk, a GPU that is not there: the user can mend these, needs to know what and where,
and is helped by no traceback. Such an error is printed as one message, "✗ …", and the exit status is 2.
Everything else is a mistake in this library: the traceback is the best report there is, so it is shown,
with a line asking for it.

    0 all is well    1 a mistake in the library    2 something for the user to mend    130 stopped with Ctrl-C

`--debug` (or SCRATCHFCN_DEBUG=1) shows the traceback of everything.
"""

from __future__ import annotations

import errno
import sys
from typing import Any

import typer
from typer.core import TyperGroup

from ..backend import DeviceError
from ..cuda.memory import is_gpus, is_memory_error
from .out_of_memory import MARK, what_was_there

# ValueError covers DataError, CheckpointError and what the library says about settings that cannot be
USER_ERRORS = (ValueError, DeviceError, FloatingPointError, MemoryError, OSError)
EXIT_USER, EXIT_STOPPED = 2, 130
LATEST = "latest"  # what --resume means without a path
ALONE = {("train", "--resume"): LATEST, ("check-data", "--report"): "check-data.html"}
REPORT = "This is a mistake in scratchfcn, not in what you did. Please report it, with the lines above and the command."


class Commands(TyperGroup):
    """The group of all commands: runs one of them and turns what it raises into a message and an exit status."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Let --debug stand anywhere: people add it at the end of the line that has just failed. And let some
        options stand alone, which those with a value cannot do by themselves."""
        args.sort(key=lambda arg: arg != "--debug")  # stable: everything else keeps its order
        command = next((arg for arg in args if not arg.startswith("-")), None)
        for i, arg in reversed(list(enumerate(args))):
            if (command, arg) in ALONE and (i + 1 == len(args) or args[i + 1].startswith("-")):
                args.insert(i + 1, ALONE[command, arg])
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        debug = bool(ctx.params.get("debug"))
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as stop:
            print(f"\n✗ {stop}" if str(stop) else "\n✗ stopped", file=sys.stderr)
            raise typer.Exit(EXIT_STOPPED) from None
        except BrokenPipeError:
            raise  # `scratchfcn … | head`: typer ends quietly
        except USER_ERRORS as error:
            if debug:
                raise
            print(message(error), file=sys.stderr)
            raise typer.Exit(EXIT_USER) from None
        except Exception as error:
            if is_memory_error(error) and not debug:  # CUDA's own, which is a RuntimeError
                print(message(error), file=sys.stderr)
                raise typer.Exit(EXIT_USER) from None
            if not hasattr(error, "exit_code"):  # typer's own exceptions, such as a wrong option, have one
                error.add_note(f"\n{REPORT}")
            raise


def message(error: BaseException) -> str:
    """What the user reads about `error`: what is wrong, and what to do about it where that is known."""
    text = str(error)
    if is_memory_error(error):
        text = out_of_memory(error)
    elif isinstance(error, OSError) and error.filename is not None:
        text = f"{error.filename}: {(error.strerror or 'cannot be opened').lower()}"
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        text += "\n  fix: free some space on that disk, or choose another --output-dir"
    if isinstance(error, ValueError) and not type(error).__module__.startswith("scratchfcn"):
        # most likely a setting that cannot be; where it is not, this leads to the place
        text += "\n  (--debug shows where this comes from)"
    return text if text.startswith("✗") else f"✗ {text}"


def out_of_memory(error: BaseException) -> str:
    """A GPU's figures, and what helps in general; where a command knows better, its error says so itself."""
    text = str(error)
    if MARK in text:
        return f"out of memory: {text}"
    if is_gpus(error):
        text = f"out of memory on the GPU: {what_was_there(error, 'cuda')}"
    else:
        text = f"out of memory{f' ({text})' if text else ''}"
    return f"{text}{MARK}a smaller --batch-size or smaller images; val and predict go through large ones by a --window"
