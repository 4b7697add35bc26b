"""How much each class counts in the loss: two formulas that even out rare and frequent classes, and a file for them.

Where 32% of the pixels are road and 0.3% are cyclists, a network that has never heard of cyclists loses little. A
weight per class in the loss changes the bargain. Both formulas below give a rare class a large weight; they differ in
what "rare" means: of all pixels, or of the pixels of those images in which the class occurs.

A weights file is TOML, one line a class, to be read and changed by hand:

    [weights]
    "road" = 0.149
    "car" = 0.789
"""

from __future__ import annotations

import difflib
import json
import math
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..files import replacing
from .errors import DataError
from .palette import Classes


def median_frequency(pixels: np.ndarray, pixels_of_images: np.ndarray) -> np.ndarray:
    """Loss weights that make rare classes count as much as frequent ones, by the median frequency.

    freq(c) = pixels of c / all pixels of the images that contain c;  weight(c) = median(freq) / freq(c).
    Taking only images that contain c keeps a class from looking rare because few photographs show it.
    The median is over the classes that occur; those that do not get weight 0. (Eigen and Fergus 2015.)

    Args:
        pixels: int (K,), the pixels of each class.
        pixels_of_images: int (K,), all pixels, ignored ones included, of the images in which the class occurs.

    Returns:
        float64 (K,); all 0 where no class occurs.
    """
    pixels, pixels_of_images = np.asarray(pixels, np.float64), np.asarray(pixels_of_images, np.float64)  # (K,)
    weights = np.zeros(pixels.shape)
    occurs = pixels > 0
    if occurs.any():
        freq = pixels[occurs] / pixels_of_images[occurs]
        weights[occurs] = np.median(freq) / freq
    return weights


def inverse_frequency(pixels: np.ndarray) -> np.ndarray:
    """Loss weights in inverse proportion to how many pixels a class has.

    weight(c) = (sum of pixels) / (K · pixels of c), over the K classes that occur; those that do not get 0.
    Each class then has the same share of the whole loss, and the weight of a mean pixel is 1:
    sum of pixels(c) · weight(c) = sum of pixels. It is steep: a class ten times as rare counts ten times as much.

    Args:
        pixels: int (number of classes,), the pixels of each class, ignored pixels left out.

    Returns:
        float64 (number of classes,); all 0 where no class occurs.
    """
    pixels = np.asarray(pixels, np.float64)
    weights = np.zeros(pixels.shape)
    occurs = pixels > 0
    weights[occurs] = pixels.sum() / (occurs.sum() * pixels[occurs])
    return weights


def write_class_weights(path: str | Path, classes: Classes, weights: Sequence[float] | np.ndarray) -> Path:
    """Write a weights file (see above), whole or not at all; returns its path.

    The numbers are written in full, so that reading them gives the same float64 again.

    Raises:
        ValueError: as many weights as classes are needed, each a number of at least 0, and not all of them 0.
    """
    weights = [float(weight) for weight in weights]
    if len(weights) != len(classes):
        raise ValueError(f"{len(classes)} classes need as many weights, not {len(weights)}")
    for name, weight in zip(classes.names, weights, strict=True):
        if not (math.isfinite(weight) and weight >= 0):
            raise ValueError(f"class weights are numbers of at least 0, but that of '{name}' is {weight}")
    if not any(weights):
        raise ValueError("all class weights are 0, so nothing would be learned")
    with replacing(path) as temporary:
        temporary.write_text(toml_of(classes, weights), encoding="utf-8")
    return Path(path)


def toml_of(classes: Classes, weights: Sequence[float] | np.ndarray) -> str:
    """The text of a weights file."""
    lines = [f"{_key(name)} = {float(weight)!r}\n" for name, weight in zip(classes.names, weights, strict=True)]
    return "".join(["[weights]\n", *lines])


def _key(name: str) -> str:
    """A class name as a TOML key: as JSON writes a text, but for the sign DEL, which TOML wants escaped."""
    return json.dumps(name, ensure_ascii=False).replace("\x7f", "\\u007f")


def read_class_weights(path: str | Path, classes: Classes) -> np.ndarray:
    """Read a weights file: TOML with a table `weights` that names every class, in any order.

    Args:
        path: the file.
        classes: the K classes that must be named.

    Returns:
        float64 (K,), in the order of the classes.

    Raises:
        DataError: no such file, or no TOML; no table of weights; every name that is no class (with the nearest one),
            every class without a weight, every weight that is no number of at least 0; or all of them 0.
    """
    table = _read_table(Path(path))
    problems = [f"{path}: {problem}" for problem in [*_wrong_names(table, classes), *_wrong_numbers(table)]]
    if not problems and not any(table.values()):
        problems = [f"{path}: all weights are 0, so nothing would be learned"]
    if problems:
        raise DataError(problems, f"name every class with a number of at least 0: {_example(classes)}")
    return np.array([table[name] for name in classes.names], np.float64)  # (K,)


def _read_table(path: Path) -> dict[str, Any]:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path}: no such file", "check-data --weights-out FILE writes one") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path}: not a TOML file: {error}", 'it should look like: weights = { "road" = 0.15 }'
        ) from None
    table = content.get("weights")
    if not isinstance(table, dict) or len(content) > 1:
        found = ", ".join(f"'{key}'" for key in content) or "nothing"
        problem = f"{path}: must hold one table 'weights' and nothing else; it holds {found}"
        raise DataError(problem, 'it should look like: weights = { "road" = 0.15, "car" = 0.8 }')
    return table


def _wrong_names(table: dict[str, Any], classes: Classes) -> list[str]:
    problems = []
    for name in table:
        if name not in classes.names:
            near = difflib.get_close_matches(name, classes.names, 1)
            problems.append(f"there is no class '{name}'" + (f"; did you mean '{near[0]}'?" if near else ""))
    missing = [name for name in classes.names if name not in table]
    return problems + ([f"no weight for {', '.join(missing)}"] if missing else [])


def _wrong_numbers(table: dict[str, Any]) -> list[str]:
    wrong = {name: value for name, value in table.items() if not _is_weight(value)}
    return [f"the weight of '{name}' must be a number of at least 0, not {value!r}" for name, value in wrong.items()]


def _is_weight(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and 0 <= value <= sys.float_info.max  # TOML knows nan and inf, and numbers of 400 digits


def _example(classes: Classes) -> str:
    shown = ", ".join(f"{_key(name)} = 1.0" for name in classes.names[:2])
    return f"weights = {{ {shown}{', …' if len(classes) > 2 else ''} }}"
