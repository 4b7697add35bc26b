"""Options written as two numbers: sizes as WIDTHxHEIGHT, ranges as LOW-HIGH."""

import re

from ..training.config import SettingError


def size_option(text: str | None, option: str = "--size") -> tuple[int, int] | None:
    """ "240x180" (width x height, as image viewers show it) → (180, 240) rows and columns; None stays None."""
    if text is None:
        return None
    match = re.fullmatch(r"(\d+)[xX×](\d+)", text.strip())
    square = re.fullmatch(r"\d+", text.strip())
    if square:
        return int(text), int(text)
    if not match:
        raise SettingError(
            f"{option} {text!r} is not a size; write WIDTHxHEIGHT, for example 240x180, or 256 for a square"
        )
    return int(match[2]), int(match[1])


def range_option(text: str | None, option: str = "--scale") -> tuple[float, float] | None:
    """ "0.5-2" → (0.5, 2.0); None stays None."""
    if text is None:
        return None
    match = re.fullmatch(r"(\d*\.?\d+)\s*[-:]\s*(\d*\.?\d+)", text.strip())
    if not match or not 0 < float(match[1]) <= float(match[2]):
        raise SettingError(f"{option} {text!r} is not a range; write LOW-HIGH, for example 0.75-1.5")
    return float(match[1]), float(match[2])
