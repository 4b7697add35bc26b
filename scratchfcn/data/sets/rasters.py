"""Masks that are no grey picture: MATLAB's .mat files, and pictures in which a colour is the class.

A .mat file is a container of named arrays. SciPy reads it, into arrays and structs only: nothing in it is executed.
But a damaged one makes the reader stumble anywhere, so whatever goes wrong is reported as what it is, a bad file.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError
from ..images import _open as open_picture

Colour = tuple[int, int, int]

REPLACE = "copy or unpack the file again"


def read_mat(path: str | Path, key: str, *inside: str) -> np.ndarray:
    """An array of whole numbers in a MATLAB file.

    Args:
        path: a .mat file of version 4 to 7.
        key: the variable.
        inside: where the variable is a struct, the field; of a struct in it, its field; and so on.

    Returns:
        (H, W), of the type in which it is stored if that is an integer, else int64.

    Raises:
        DataError: SciPy is not installed; the file is missing, damaged or of another kind; it has no such variable; or
            that is not a table of whole numbers.
    """
    path = Path(path)
    value = _variable(path, key)
    for name in inside:
        value = _field(value, name, path)
    return _whole_numbers(value, path, ".".join((key, *inside)))


def _variable(path: Path, key: str) -> Any:
    loadmat = _loadmat()
    try:
        if path.stat().st_size == 0:
            raise DataError(f"{path}: the file is empty (0 bytes)", REPLACE)
        variables = loadmat(str(path), appendmat=False)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file", "check the spelling, upper and lower case included") from None
    except NotImplementedError:
        problem = f"{path}: a MATLAB file of version 7.3, which is another format; versions 4 to 7 can be read"
        raise DataError(problem, "save it again in MATLAB with -v7") from None
    except DataError:
        raise
    except Exception as error:  # which one depends on where the damage is
        problem = f"{path}: not a MATLAB file, or damaged ({type(error).__name__}: {error})"
        raise DataError(problem, REPLACE) from error
    if key not in variables:
        found = ", ".join(name for name in variables if not name.startswith("__")) or "nothing"
        raise DataError(f"{path}: has no variable '{key}'; it holds {found}")
    return variables[key]


def _loadmat() -> Any:
    try:
        from scipy.io import loadmat
    except ImportError:
        problem = "masks in MATLAB files (.mat) are read with SciPy, which is not installed"
        raise DataError(problem, "pip install 'scratchfcn[mat]'   (or: pip install scipy)") from None
    return loadmat


def _field(value: Any, name: str, path: Path) -> Any:
    """`value.name`. MATLAB's structs arrive as (1, 1) arrays of records, and so do the arrays in their fields."""
    fields = getattr(getattr(value, "dtype", None), "names", None)
    if not fields or name not in fields or value.size != 1:
        raise DataError(f"{path}: no struct with a field '{name}', but {_kind(value)}", REPLACE)
    return value[name].reshape(-1)[0]


def _whole_numbers(value: Any, path: Path, name: str) -> np.ndarray:
    if not isinstance(value, np.ndarray) or value.ndim != 2 or value.dtype.kind not in "iufb" or value.size == 0:
        raise DataError(f"{path}: '{name}' should be a table of numbers, but is {_kind(value)}", REPLACE)
    if value.dtype.kind in "iu":
        return value
    whole = value.astype(np.int64) if np.isfinite(value).all() else None
    if whole is None or (whole != value).any():
        raise DataError(f"{path}: '{name}' holds fractions or infinities; class ids are whole numbers", REPLACE)
    return whole


def _kind(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape}, {value.dtype.name if value.dtype.names is None else 'a struct'}"
    return f"a {type(value).__name__}"


def as_bytes(values: np.ndarray, path: str | Path, low: int, high: int) -> np.ndarray:
    """Whole numbers (H, W) as uint8, if all of them lie in low..high; else DataError, with the first that does not."""
    bad = (values < low) | (values > high)
    if bad.any():
        row, col = np.argwhere(bad)[0]
        problem = f"{path}: value {values[row, col]} at (row {row}, col {col}); this data set's are {low}..{high}"
        raise DataError(problem, REPLACE)
    return values.astype(np.uint8)


def read_colours(path: str | Path) -> np.ndarray:
    """A picture whose colours mean something, as it is stored: palettes are looked up, transparency is left out.

    Returns:
        uint8 (H, W, 3), RGB.

    Raises:
        DataError: the file is missing or damaged, a JPEG, or has more than 8 bits for a colour.
    """
    picture = open_picture(Path(path))
    if picture.format in ("JPEG", "MPO"):
        problem = f"{path}: a JPEG cannot hold a mask, its compression changes the colours"
        raise DataError(problem, "save the mask again, from its original, as PNG")
    if picture.mode[0] in "IF":
        raise DataError(f"{path}: more than 8 bits in a channel (mode {picture.mode})", "save it with 8 bits")
    return np.array(picture.convert("RGB"))  # (H, W, 3)


def labels_of_colours(colours: np.ndarray, meaning: Mapping[Colour, int], path: str | Path) -> np.ndarray:
    """Look every pixel's colour up in a table.

    A colour becomes one number, r·2¹⁶ + g·2⁸ + b; the table's numbers are sorted, and a binary search finds each
    pixel's among them.

    Args:
        colours: uint8 (H, W, 3).
        meaning: the label of each colour, 0..255.
        path: for the message.

    Returns:
        uint8 (H, W).

    Raises:
        DataError: a colour that is not in the table, with its place and the nearest that is.
    """
    table = sorted((r << 16 | g << 8 | b, label) for (r, g, b), label in meaning.items())
    known = np.array([number for number, _ in table], np.int32)  # (colours of the table,)
    labels = np.array([label for _, label in table], np.uint8)
    r, g, b = colours.astype(np.int32).transpose(2, 0, 1)  # (H, W) each
    numbers = r << 16 | g << 8 | b  # (H, W)
    place = np.searchsorted(known, numbers).clip(max=len(known) - 1)  # (H, W)
    strange = known[place] != numbers
    if strange.any():
        row, col = np.argwhere(strange)[0]
        colour = tuple(int(v) for v in colours[row, col])
        near = min(meaning, key=lambda other: sum(abs(a - b) for a, b in zip(colour, other, strict=True)))
        raise DataError(
            f"{path}: colour {colour} at (row {row}, col {col}) is none of this data set's; the nearest is {near} "
            f"({strange.sum()} of {strange.size} pixels have a colour that is none)"
        )
    return labels[place]


def read_numbers(path: str | Path) -> np.ndarray:
    """The numbers in a picture of one channel, 8 or 16 bits, as they are stored: (H, W). Depth is stored so.

    Raises:
        DataError: the file is missing or damaged, or has several channels.
    """
    values = np.array(open_picture(Path(path)))
    if values.ndim != 2:
        raise DataError(f"{path}: {values.shape[2]} channels, but one number for each pixel is expected")
    return values
