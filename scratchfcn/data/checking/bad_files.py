"""What a file is that could not be read as it should: its first bytes tell, and the kind of picture it holds.

Files go wrong in few ways. A copy stops half-way; a download saves the page that asks for a login; Git LFS leaves a
pointer of three lines where the picture should be; a telephone saves HEIC under the name of a JPEG. Masks have ways of
their own: they are saved as JPEG, as the coloured picture that a viewer shows, or with 16 bits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from ..images import _DAMAGE as DAMAGE

MOST_COLOURS = 1 << 14  # a mask has a few dozen; a photograph of half a megapixel has more than this


@dataclass(frozen=True)
class Wrong:
    """What is wrong with a file.

    Attributes:
        kind: one of `problems.KINDS`.
        cause: a key for `causes.py`.
        says: in words, to follow the file's name; "" leaves it to the reader's own words.
        colours: of a mask that is a colour picture, how many pixels have each colour, by r·2¹⁶ + g·2⁸ + b.
        values: of a mask whose values are too large, how many pixels have each of the first thousand.
    """

    kind: str
    cause: str
    says: str = ""
    colours: dict[int, int] = field(default_factory=dict)
    values: dict[int, int] = field(default_factory=dict)


def _starts(*starts: bytes) -> Callable[[bytes], bool]:
    return lambda begin: begin.lower().lstrip(b"\xef\xbb\xbf \t\r\n").startswith(starts)


# How a file begins, the key of its cause, and what it is.
SIGNS: tuple[tuple[Callable[[bytes], bool], str, str], ...] = (
    (_starts(b"version https://git-lfs"), "git lfs", "a pointer of Git LFS, not the file it stands for"),
    (_starts(b"<!doctype html", b"<html", b"<head"), "web page", "a web page saved under a picture's name"),
    (_starts(b"<?xml", b"{"), "message", "a text (XML or JSON) saved under a picture's name"),
    (lambda begin: begin[4:12] in (b"ftypheic", b"ftypheix", b"ftypmif1", b"ftypmsf1"), "heic", "an HEIC photograph"),
    (_starts(b"pk\x03\x04", b"\x1f\x8b", b"rar!", b"7z\xbc\xaf"), "archive", "an archive, not a picture"),
    (_starts(b"%pdf"), "pdf", "a PDF, not a picture"),
)


def why_unreadable(path: Path) -> Wrong:
    """What a file is that is no picture, or not a whole one."""
    if not path.is_file():
        return Wrong("unreadable", "missing")
    try:
        with open(path, "rb") as file:
            begin = file.read(64)
    except OSError:
        return Wrong("unreadable", "forbidden")
    if not begin:
        return Wrong("unreadable", "empty")
    for matches, cause, says in SIGNS:
        if matches(begin):
            return Wrong("unreadable", cause, says)
    if not begin.strip(b"\0"):
        return Wrong("unreadable", "zeros", "begins with zeros only, as a file does that was never written to its end")
    return Wrong("unreadable", "cut short" if _has_a_header(path) else "no picture")


def why_no_mask(path: Path) -> Wrong:
    """What a file is that was refused as a mask."""
    try:
        with Image.open(path) as picture:
            picture.load()
            if picture.format in ("JPEG", "MPO"):
                return Wrong("jpeg", "black and white" if _is_black_and_white(picture) else "")
            if picture.mode in ("RGB", "RGBA", "CMYK", "YCbCr", "LAB", "HSV"):
                return _colour_picture(picture)
            values = np.array(picture)
    except DAMAGE:
        return why_unreadable(path)
    if values.ndim == 2 and np.isfinite(values).all():
        return _too_large(values)
    return Wrong("unreadable", "no mask")


def _is_black_and_white(picture: Image.Image) -> bool:
    """Whether nearly all pixels are nearly black or nearly white, as in a binary mask that JPEG has gone over."""
    grey = np.array(picture.convert("L"))
    return bool(((grey < 32) | (grey > 223)).mean() > 0.98) and bool((grey > 223).any())


def _has_a_header(path: Path) -> bool:
    try:
        with Image.open(path):
            return True
    except DAMAGE:
        return False


def _colour_picture(picture: Image.Image) -> Wrong:
    colours = count_colours(picture)
    if colours is None:
        return Wrong("colours", "photograph", "a picture of many thousand colours, as photographs are; not class ids")
    return Wrong("colours", "palette", colours=colours)


def count_colours(picture: Image.Image) -> dict[int, int] | None:
    """How many pixels have each colour, by r·2¹⁶ + g·2⁸ + b; None for a photograph. Transparency is disregarded."""
    found = picture.convert("RGB").getcolors(MOST_COLOURS)
    if found is None:
        return None
    return {r << 16 | g << 8 | b: count for count, (r, g, b) in found}


def _too_large(values: np.ndarray) -> Wrong:
    found, counts = np.unique(values, return_counts=True)
    if (found != np.round(found)).any():
        return Wrong("deep", "fractions")
    table = dict(zip(found[:1000].astype(np.int64).tolist(), counts[:1000].tolist(), strict=True))
    cause = "depth" if len(found) > 256 else "bits" if scaled_up(found) else ""
    return Wrong("deep", cause, values=table)


def scaled_up(values: np.ndarray) -> int:
    """By what values of 16 bits are ids of 8 bits made large: 257 (65535 is 255 · 257) or 256; 0 if they are not."""
    return next((factor for factor in (257, 256) if not (values % factor).any()), 0)
