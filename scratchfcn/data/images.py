"""Reading pictures: every kind of file that people have becomes one of two plain arrays.

A photograph becomes uint8 (H, W, 3), a mask becomes uint8 (H, W). The two are read differently on purpose.
In a photograph a number is a brightness, so palettes are looked up, 16 bits are scaled to 8 and
transparency is flattened. In a mask a number is the *name of a class*, so nothing may be looked up, scaled
or blended: palette index 15 stays 15 whatever colour the file shows it in.
"""

import re
import struct
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from .errors import DataError

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")

ROWS = 256  # of a picture that are copied at a time

# What Pillow's readers raise for damaged files; which of them depends on the format and on where the damage
# is.
_DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    LookupError,
    TypeError,
    struct.error,
    Image.DecompressionBombError,
)


def read_image(path: str | Path) -> np.ndarray:
    """Read a photograph of any common kind as RGB.

    Grey, 1-bit, palette, CMYK and 16-bit files are converted; the EXIF orientation of cameras is applied, so
    that (row 0, column 0) is the top left of the upright picture.

    Args:
        path: the file.

    Returns:
        uint8 (H, W, 3).

    Raises:
        DataError: the file is missing, empty, cut short, not a picture, or has no defined range of
            brightness.
    """
    return _pixels(open_rgb(path))


def open_rgb(path: str | Path) -> Image.Image:
    """The same as a picture of Pillow's in mode RGB, decoded and upright; see `read_image`."""
    picture = _open(Path(path))
    try:
        return _to_rgb(picture, path)
    except DataError:
        raise
    except _DAMAGE as error:
        raise DataError(f"{path}: mode {picture.mode} cannot be shown as RGB ({error})", "save it as RGB") from error


def read_label(path: str | Path) -> np.ndarray:
    """Read a mask whose pixel values are class ids.

    Palette files give their indices, grey files their values, 1-bit files 0 and 1. An RGB file is accepted
    only if its three channels are equal, which is a grey mask saved by a program that knows nothing but
    RGB.

    Args:
        path: the file.

    Returns:
        uint8 (H, W), the values as stored: nothing is mapped or checked against a number of classes here.

    Raises:
        DataError: as for `read_image`; or values beyond 255, or colours, or lossy compression.
    """
    picture = _open(Path(path))
    if picture.format in ("JPEG", "MPO"):
        raise DataError(
            f"{path}: a JPEG cannot hold class ids, its compression changes the numbers",
            "save the mask again, from its original, as PNG",
        )
    values = np.array(picture)
    if values.ndim == 3 and picture.mode in ("LA", "La", "PA"):
        values = values[:, :, 0]  # the ids; what remains is transparency
    if values.ndim == 3:
        return _equal_channels(values, path)
    return _as_ids(values, path)


def list_images(folder: str | Path) -> list[Path]:
    """The pictures directly in a folder, in the order a person would count them: img2 before img10.

    Args:
        folder: any folder; sub-folders, hidden files and files that are no pictures are passed over.

    Returns:
        paths, never none.

    Raises:
        DataError: the folder does not exist, is a file, or holds no picture.
    """
    folder = Path(folder)
    if not folder.is_dir():
        problem = "is a file, not a folder" if folder.exists() else "no such folder"
        raise DataError(f"{folder}: {problem}", "give a folder that holds images")
    files = [p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith(".")]
    files = sorted((p for p in files if p.is_file()), key=_counting_order)
    if not files:
        raise DataError(f"{folder}: holds no image", f"put files there that end in {' '.join(SUFFIXES)}")
    return files


def _open(path: Path) -> Image.Image:
    """A fully decoded, upright picture; or a DataError that says what is wrong with the file."""
    if not path.exists():
        raise DataError(f"{path}: no such file", "check the spelling, upper and lower case included")
    if path.is_dir():
        raise DataError(f"{path}: is a folder, not an image", "name one file inside it")
    if path.stat().st_size == 0:
        raise DataError(f"{path}: the file is empty (0 bytes)", "copy or download it again")
    try:
        with Image.open(path) as picture:
            kind = picture.format
            picture.load()  # opening reads the header only: a file cut short shows itself here
            ImageOps.exif_transpose(picture, in_place=True)
            picture.format = kind  # turning forgets it
            return picture
    except UnidentifiedImageError:
        raise DataError(
            f"{path}: not an image, or damaged from the start {_beginning(path)}",
            "replace it, or remove it from the folder",
        ) from None
    except _DAMAGE as error:
        problem = f"{path}: the image is damaged or cut short ({error})"
        raise DataError(problem, "copy or download it again; a viewer that shows it may hide the damage") from error


def _beginning(path: Path) -> str:
    """The first bytes often tell what it really is: an HTML error page, a pointer left by Git LFS, …"""
    try:
        return f"(it begins with {path.read_bytes()[:24]!r})"
    except OSError as error:
        return f"({error})"


def _to_rgb(picture: Image.Image, path: str | Path) -> Image.Image:
    if picture.mode.startswith("I"):
        return _sixteen_to_eight_bits(picture, path).convert("RGB")
    if picture.mode == "F":
        problem = f"{path}: pixels are floating-point numbers, so nothing says which is black and which is white"
        raise DataError(problem, "save it with 8 or 16 bits per channel")
    if not picture.has_transparency_data:
        return picture if picture.mode == "RGB" else picture.convert("RGB")  # which would copy
    # Beneath transparent pixels lie colours nobody was meant to see. White is what viewers and paper put
    # there.
    picture = picture.convert("RGBA")
    white = Image.new("RGBA", picture.size, "white")
    return Image.alpha_composite(white, picture).convert("RGB")


def _pixels(picture: Image.Image) -> np.ndarray:
    """An RGB picture as uint8 (H, W, 3). In blocks of rows, since Pillow's way makes two copies of the whole."""
    pixels = np.empty((picture.height, picture.width, 3), np.uint8)
    for top in range(0, picture.height, ROWS):
        bottom = min(top + ROWS, picture.height)
        pixels[top:bottom] = np.asarray(picture.crop((0, top, picture.width, bottom)))
    return pixels


def _sixteen_to_eight_bits(picture: Image.Image, path: str | Path) -> Image.Image:
    """Scale 0..65535 to 0..255. Pillow's own conversion clips instead: everything above 255 becomes white."""
    values = np.array(picture).astype(np.int64)  # (H, W)
    if values.min() < 0 or values.max() > 65535:
        problem = f"{path}: values {values.min()}..{values.max()} are neither 8 nor 16 bits"
        raise DataError(problem, "save it with 8 or 16 bits per channel")
    return Image.fromarray(((values + 128) // 257).astype(np.uint8))  # 65535 = 255 · 257


def _equal_channels(values: np.ndarray, path: str | Path) -> np.ndarray:
    colours = values[:, :, :3]  # (H, W, 3): without transparency
    if (colours == colours[:, :, :1]).all():
        return np.ascontiguousarray(colours[:, :, 0])
    r, g, b = colours.astype(np.int32).reshape(-1, 3).T
    found = np.unique(r << 16 | g << 8 | b)  # as one number each: fifty times as quick as rows of three
    shown = ", ".join(str((n >> 16, n >> 8 & 255, n & 255)) for n in found[:4].tolist())
    raise DataError(
        f"{path}: the mask holds colours ({len(found)} of them: {shown}{', …' if len(found) > 4 else ''}); "
        "colours cannot be class ids",
        "save it as a grey or palette PNG whose values are the ids 0, 1, 2 …, 255 where a pixel has none",
    )


def _as_ids(values: np.ndarray, path: str | Path) -> np.ndarray:
    bad = ~((values >= 0) & (values <= 255))  # said this way round, "not a number" is bad too
    if bad.any():
        row, col = np.argwhere(bad)[0]
        raise DataError(
            f"{path}: value {values[row, col]} at (row {row}, col {col}); class ids end at 254, and 255 is 'ignored'",
            "save the mask with 8 bits; if the ids were scaled to look brighter, undo that",
        )
    if (values != values.astype(np.uint8)).any():
        raise DataError(f"{path}: fractions in a mask; class ids are whole numbers", "save the mask with 8 bits")
    return values.astype(np.uint8)


def _counting_order(path: Path) -> tuple[list[int | str], str]:
    parts = re.split(r"([0-9]+)", path.name.lower())  # text, digits, text, …: only like is compared with like
    return [int(part) if i % 2 else part for i, part in enumerate(parts)], path.name
