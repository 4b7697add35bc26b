"""A map of numbers as a picture: dark for little, bright for much, and a bar that says how much."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFont

ROWS = 256  # coloured at a time
GAP = 8  # pixels between maps, and at least around letters


def heat_map(values: np.ndarray, top: float, title: str, top_label: str) -> np.ndarray:
    """Colour a map from 0 (black) to `top` (pale yellow, as all beyond), over a strip with its title and a scale bar.

    Args:
        values: float (H, W).
        top: the number at the bar's right end.
        title: what is shown.
        top_label: how that number reads, with its unit.

    Returns:
        uint8 (H + the strip's height, W, 3); wider where the words need it.
    """
    H, W = values.shape
    colours = colour_table()
    strip = scale_bar(W, colours, title, top_label)
    sheet = np.full((H + len(strip), strip.shape[1], 3), 255, np.uint8)
    for start in range(0, H, ROWS):
        rows = slice(start, min(start + ROWS, H))
        shares = np.clip(values[rows].astype(np.float32) / top, 0, 1)
        sheet[rows, :W] = colours[np.rint(255 * shares).astype(np.uint8)]
    sheet[H:] = strip
    return sheet


def round_top(values: np.ndarray, smallest: float = 0.01) -> float:
    """A round number (1, 2 or 5, times a power of ten) that all but a thousandth of the values (H, W) stay below."""
    step = max(1, max(values.shape) // 1000)  # a sample is enough
    high = max(smallest, float(np.quantile(values[::step, ::step], 0.999)))
    power = 10.0 ** np.floor(np.log10(high))
    return float(round(power * next(n for n in (1, 2, 5, 10) if n * power >= high * (1 - 1e-6)), 10))


def colour_table() -> np.ndarray:
    """Matplotlib's "magma": its brightness grows evenly, so it reads in grey, too. uint8 (256, 3)."""
    from matplotlib import colormaps

    return (255 * colormaps["magma"](np.arange(256))[:, :3] + 0.5).astype(np.uint8)


def scale_bar(width: int, colours: np.ndarray, title: str, top_label: str) -> np.ndarray:
    """The title, and beneath it the colours from 0 to the largest number: uint8 (height, at least width, 3)."""
    text = max(13, width // 75)
    gap, font = max(GAP, text // 2), ImageFont.load_default(text)
    wide = int(max(font.getlength(title), font.getlength("0" + top_label) + 12 * text)) + 2 * gap
    strip = Image.new("RGB", (max(width, wide), 2 * text + 3 * gap), "white")
    draw = ImageDraw.Draw(strip)
    draw.text((gap, gap), title, fill=(40, 40, 40), font=font)
    y = 2 * gap + text
    left = int(2 * gap + font.getlength("0"))
    right = int(strip.width - 2 * gap - font.getlength(top_label))
    bar = Image.fromarray(colours[None]).resize((right - left, text), Image.Resampling.BILINEAR)
    strip.paste(bar, (left, y))
    draw.text((gap, y - 1), "0", fill=(40, 40, 40), font=font)
    draw.text((right + gap, y - 1), top_label, fill=(40, 40, 40), font=font)
    return np.asarray(strip)


def beside(*pictures: np.ndarray) -> np.ndarray:
    """Pictures uint8 (H, W, 3) in a row, with white between them and beneath the shorter ones."""
    height, width = max(len(p) for p in pictures), sum(p.shape[1] + GAP for p in pictures) - GAP
    sheet = np.full((height, width, 3), 255, np.uint8)
    x = 0
    for picture in pictures:
        H, W = picture.shape[:2]
        sheet[:H, x : x + W] = picture
        x += W + GAP
    return sheet
