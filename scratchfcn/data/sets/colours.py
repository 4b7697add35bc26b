"""Pictures read as they are stored, where a colour is a class, or a number is a distance.

`read_image` makes every file a photograph, and `read_label` takes a file's numbers for classes. Neither will do for a
mask in which light purple means "car", or for a picture of depths.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ..errors import DataError
from ..images import _open as open_picture

Colour = tuple[int, int, int]


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
