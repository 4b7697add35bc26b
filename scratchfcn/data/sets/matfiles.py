"""Masks in MATLAB's .mat files, in which researchers of the time published theirs.

A .mat file is a container of named arrays. SciPy reads it, into arrays and structs only: nothing in it is executed.
But a damaged one makes the reader stumble anywhere, so whatever goes wrong is reported as what it is, a bad file; and
headers that would lead the reader astray are found before it sees them.
"""

from __future__ import annotations

import io
import math
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError

REPLACE = "copy or unpack the file again"

# of MATLAB's format: all types of elements, two of them by name; classes of matrices that hold other matrices
TYPES = (1, 2, 3, 4, 5, 6, 7, 9, 12, 13, 14, 15, 16, 17, 18)
MATRIX, COMPRESSED, CONTAINERS = 14, 15, (1, 2, 3)
IMPOSSIBLE = "a header says what cannot be"
LARGEST = 1 << 28  # bytes that one variable may unpack to; a mask of 16384x16384 has as many


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
        content = path.read_bytes()
        if not content:
            raise DataError(f"{path}: the file is empty (0 bytes)", REPLACE)
        _refuse_false_claims(content)
        variables = loadmat(io.BytesIO(content))
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


def _refuse_false_claims(content: bytes) -> None:
    """Raise ValueError if what the headers in a MATLAB file say cannot be.

    SciPy's reader believes them: of a damaged one that claims two billion elements, or a type that does not exist, it
    reserves too much memory or reads beyond its tables, and then not an exception follows but the end of the process.
    """
    order = {b"\x00\x01IM": "<", b"\x01\x00MI": ">"}.get(content[124:128])  # version 5 to 7, and its order of bytes
    if order is not None:
        _walk(content, 128, len(content), order)


def _walk(content: bytes, at: int, end: int, order: str) -> None:
    """Go through data elements, each a type and a size, 4 bytes both, and then its bytes; and through those in them."""
    while at < end:
        kind, size = struct.unpack_from(f"{order}II", content, at)
        at += 8
        if kind >> 16:  # a small element: its size and its type in one number, and up to 4 bytes of content
            kind, size, stop = kind & 0xFFFF, kind >> 16, at
            if size > 4:
                raise ValueError(IMPOSSIBLE)
        else:
            stop = at + size
        if kind not in TYPES or stop > end:
            raise ValueError(IMPOSSIBLE)
        if kind == COMPRESSED:
            inner = zlib.decompressobj().decompress(content[at:stop], LARGEST)
            _walk(inner, 0, len(inner), order)
        elif kind == MATRIX and size:
            _look_at_matrix(content, at, stop, order)
            _walk(content, at, stop, order)
        at = stop if kind == COMPRESSED or stop == at else min(end, stop + -size % 8)  # padded to 8 bytes


def _look_at_matrix(content: bytes, at: int, stop: int, order: str) -> None:
    """The class of a matrix and, if it holds other matrices, how many: both must be possible."""
    if stop - at < 16:
        raise ValueError(IMPOSSIBLE)
    kind = struct.unpack_from(f"{order}I", content, at + 8)[0] & 255
    if not 1 <= kind <= 18:
        raise ValueError(f"there is no class {kind} of matrices")
    if kind in CONTAINERS:
        bytes_of_sizes = struct.unpack_from(f"{order}I", content, at + 20)[0]
        if at + 24 + bytes_of_sizes > stop:
            raise ValueError(IMPOSSIBLE)
        count = math.prod(struct.unpack_from(f"{order}{bytes_of_sizes // 4}I", content, at + 24))
        if 8 * count > stop - at:
            raise ValueError(f"it claims {count} elements, for which it has no room")


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
