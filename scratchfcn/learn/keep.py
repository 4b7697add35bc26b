"""What a failing check leaves in the learner's folder, in `.out`: the call that failed, and a map of the errors.

Both are extras. Where one cannot be had (a full disk, no drawing library), the check says the same without it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .compare import Comparison
from .exercise import Exercise

SCRIPT = '''"""The call of {function} that failed last. Put print() or breakpoint() into {name}, and run this file."""

import runpy
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
learner = runpy.run_path(str(HERE.parent / {name!r}))
arrays = np.load(HERE / {arrays!r})
inputs = {{
{inputs}}}
for name, value in inputs.items():
    print(name, "=", value)
print("{function} returns", learner[{function!r}](*inputs.values()))
'''


def keep_call(folder: Path, exercise: Exercise, path: Path, function: str, inputs: Mapping[str, Any]) -> str | None:
    """Write `NN.py` and `NN.npz`, which make the failing call once more; the script's path, or None."""
    arrays = {name: value for name, value in inputs.items() if isinstance(value, np.ndarray)}
    lines = "".join(
        f"    {name!r}: {f'arrays[{name!r}]' if name in arrays else repr(value)},\n" for name, value in inputs.items()
    )
    script = folder / f"{exercise.number}.py"
    text = SCRIPT.format(function=function, name=path.name, arrays=f"{exercise.number}.npz", inputs=lines)
    try:
        compile(text, str(script), "exec")  # an input whose repr is no Python cannot be written down
        folder.mkdir(exist_ok=True)
        np.savez(folder / f"{exercise.number}.npz", **arrays)
        script.write_text(text, encoding="utf-8")
    except (OSError, SyntaxError):
        return None
    return shown(script)


def keep_map(folder: Path, exercise: Exercise, wrong: Comparison) -> str | None:
    """Draw where the result is wrong into `NN_name.png`; the picture's path, or None."""
    picture = folder / f"{exercise.number}_{wrong.name}.png"
    try:
        from ..mistakes.maps import save_png

        folder.mkdir(exist_ok=True)
        save_png(picture, wrong.got, wrong.expected)
    except Exception:  # a picture must never stand between a learner and the message
        return None
    return shown(picture)


def shown(path: Path) -> str:
    """A path as the learner would type it from here."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative
