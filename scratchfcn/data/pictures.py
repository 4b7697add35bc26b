"""Showing what a network says: class ids in colours, laid over the photograph, side by side with the truth.

Everything is drawn with Pillow, so a run on a machine without a screen makes the same pictures.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont, PngImagePlugin

from .datasets import as_size
from .palette import Classes

GAP = 6  # pixels between tiles
SMALL = 160  # tiles narrower than this are enlarged, pixel by pixel
LARGE = 480  # tiles wider than this are reduced
TEXT = 13  # height of the letters
LETTERS = 75  # pictures wider than this many letters' heights get larger ones: they are looked at reduced
ROWS = 256  # mixed at a time: a satellite image as floating-point numbers would need gigabytes
PAPER = (255, 255, 255)
INK = (40, 40, 40)


def colourise(label: np.ndarray, classes: Classes) -> np.ndarray:
    """Give each class id its colour, ignored pixels included.

    Args:
        label: whole numbers 0..255, (H, W).
        classes: whose colours.

    Returns:
        uint8 (H, W, 3).
    """
    return classes.palette()[_ids(label)]  # (H, W, 3)


def overlay(image: np.ndarray, label: np.ndarray, classes: Classes, alpha: float = 0.5) -> np.ndarray:
    """Lay the colours of the classes over the photograph. Where the label is 'ignored' the photograph stays.

    Args:
        image: uint8 (H, W, 3).
        label: whole numbers 0..255, (H, W).
        classes: whose colours.
        alpha: 0 shows the photograph alone, 1 the colours alone.

    Returns:
        uint8 (H, W, 3).

    Raises:
        ValueError: the sizes differ, or alpha is not within 0..1.
    """
    if image.shape[:2] != label.shape:
        raise ValueError(f"overlay: the image is {as_size(image)} but the label {as_size(label)}")
    if not 0 <= alpha <= 1:
        raise ValueError(f"overlay: alpha must be within 0..1, not {alpha}")
    mixed = np.empty_like(image)  # (H, W, 3)
    for start in range(0, len(image), ROWS):
        rows = slice(start, start + ROWS)
        share = np.where(label[rows] == classes.ignore_index, 0.0, alpha).astype(np.float32)[:, :, None]  # (n, W, 1)
        colours = colourise(label[rows], classes).astype(np.float32)  # (n, W, 3)
        mixed[rows] = image[rows] + share * (colours - image[rows]) + 0.5
    return mixed


def with_legend(picture: np.ndarray, classes: Classes, ids: Sequence[int] | None = None) -> np.ndarray:
    """Put a strip with the classes' colours and names beneath a picture, of which no pixel changes.

    Args:
        picture: uint8 (H, W, 3).
        classes: whose names and colours.
        ids: the classes to name, such as those that occur; `ignore_index` among them is "ignored". None: all classes.

    Returns:
        uint8 (H + the strip's height, W, 3); wider, with white to the right, where the picture is narrower than a name.
    """
    H, W = picture.shape[:2]
    strip = np.asarray(_legend(classes, W, range(len(classes)) if ids is None else ids, max(TEXT, W // LETTERS)))
    sheet = np.empty((H + len(strip), strip.shape[1], 3), np.uint8)
    sheet[:H, W:] = PAPER
    sheet[:H, :W] = picture
    sheet[H:] = strip
    return sheet


def save_mask(path: str | Path, label: np.ndarray, classes: Classes, remark: dict[str, str] | None = None) -> None:
    """Save class ids as a palette PNG: programs read the ids, people see the colours.

    Args:
        path: the file to write; PNG whatever its suffix.
        label: whole numbers 0..255, (H, W).
        classes: whose colours.
        remark: texts by keyword, kept in the file (see `save_picture`).
    """
    picture = Image.fromarray(_ids(label))
    picture.putpalette(classes.palette().tobytes())  # makes the grey values indices and changes none of them
    save_picture(path, picture, remark)


def save_picture(path: str | Path, picture: np.ndarray | Image.Image, remark: dict[str, str] | None = None) -> None:
    """Save uint8 (H, W, 3) or (H, W) as a PNG, whatever the file's suffix.

    remark: texts by keyword that the file carries along; `Image.open(path).info` has them.
    """
    texts = PngImagePlugin.PngInfo()
    for keyword, text in (remark or {}).items():
        texts.add_text(keyword, text)
    picture = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    picture.save(path, format="PNG", pnginfo=texts)


def mosaic(
    rows: Sequence[Sequence[np.ndarray]], captions: Sequence[str] | None = None, legend: Classes | None = None
) -> Image.Image:
    """Lay pictures out in a grid, one row for each image: photograph, truth, prediction.

    All tiles are scaled to the width of the widest. Tiny ones are enlarged without smoothing, because what
    they show is pixels.

    Args:
        rows: pictures uint8 (H, W, 3), of any sizes; rows may differ in length.
        captions: a word above each column.
        legend: classes whose colours and names go beneath the grid.

    Returns:
        an RGB picture.

    Raises:
        ValueError: there is no picture at all.
    """
    if not any(len(row) for row in rows):
        raise ValueError("mosaic: no pictures to show")
    width = _tile_width([tile.shape[1] for row in rows for tile in row])
    grid = [_row([_scaled(tile, width) for tile in row]) for row in rows if len(row)]
    parts = [_captions(captions, width), *grid] if captions else grid
    if legend is not None:
        ids = [*range(len(legend)), legend.ignore_index]
        parts.append(_legend(legend, max(part.width for part in grid), ids))
    return _stacked(parts)


def _ids(label: np.ndarray) -> np.ndarray:
    label = np.asarray(label)
    if label.ndim != 2 or not np.issubdtype(label.dtype, np.integer):
        raise ValueError(f"a label must be whole numbers (H, W), not {label.dtype} {label.shape}")
    if label.size and not 0 <= label.min() <= label.max() <= 255:
        raise ValueError(f"a label must hold 0..255, not {label.min()}..{label.max()}")
    return np.ascontiguousarray(label, dtype=np.uint8)


def _tile_width(widths: list[int]) -> int:
    widest = max(widths)
    if widest < SMALL:
        return widest * -(-SMALL // widest)  # a whole multiple, so every pixel becomes an equal square
    return min(widest, LARGE)


def _scaled(tile: np.ndarray, width: int) -> Image.Image:
    H, W = tile.shape[:2]
    how = Image.Resampling.NEAREST if min(SMALL, width) > W else Image.Resampling.BILINEAR
    return Image.fromarray(tile).resize((width, max(1, round(H * width / W))), how)


def _row(tiles: list[Image.Image]) -> Image.Image:
    width = sum(tile.width + GAP for tile in tiles) - GAP
    row = Image.new("RGB", (width, max(tile.height for tile in tiles)), PAPER)
    for i, tile in enumerate(tiles):
        row.paste(tile, (i * (tile.width + GAP), 0))
    return row


def _captions(captions: Sequence[str], width: int) -> Image.Image:
    line = Image.new("RGB", (len(captions) * (width + GAP) - GAP, TEXT + 5), PAPER)
    draw = ImageDraw.Draw(line)
    for i, caption in enumerate(captions):
        middle = i * (width + GAP) + width // 2
        draw.text((middle - draw.textlength(caption, font=_font()) // 2, 0), caption, fill=INK, font=_font())
    return line


def _legend(classes: Classes, width: int, ids: Sequence[int], text: int = TEXT) -> Image.Image:
    """Swatches and names, `text` pixels high, in as many equal columns as fit."""
    names = ["ignored" if i == classes.ignore_index else classes.names[i] for i in ids]
    colours = classes.palette()[list(ids)]
    font, swatch, gap, line = _font(text), text + 1, text // 2, text + max(7, text // 2)
    column = int(max((font.getlength(name) for name in names), default=0)) + swatch + 2 * text - 2
    columns = max(1, width // column)
    height = -(-len(names) // columns) * line
    strip = Image.new("RGB", (max(width, column), height), PAPER)
    draw = ImageDraw.Draw(strip)
    for i, (name, colour) in enumerate(zip(names, colours.tolist(), strict=True)):
        x, y = i % columns * column, i // columns * line
        draw.rectangle((x, y + 2, x + swatch, y + 2 + swatch), fill=tuple(colour), outline=INK)
        draw.text((x + swatch + gap, y + 1), name, fill=INK, font=font)
    return strip


def _stacked(parts: list[Image.Image]) -> Image.Image:
    """One beneath the other, with a margin around."""
    height = sum(part.height + GAP for part in parts) + GAP
    sheet = Image.new("RGB", (max(part.width for part in parts) + 2 * GAP, height), PAPER)
    y = GAP
    for part in parts:
        sheet.paste(part, (GAP, y))
        y += part.height + GAP
    return sheet


def _font(text: int = TEXT) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    return ImageFont.load_default(text)  # the one font that is there on every machine: Pillow brings it along
