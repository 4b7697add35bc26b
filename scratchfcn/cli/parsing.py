"""From options to settings: sizes written as WIDTHxHEIGHT, ranges as LOW-HIGH, mask values as 0,11, and files."""

import os
import re
from pathlib import Path
from typing import Any

from ..training.config import Config, SettingError


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


def values_option(text: str | None, option: str = "--ignore") -> tuple[int, ...] | None:
    """ "11, 12" → (11, 12), values of masks; None stays None."""
    if text is None:
        return None
    values = [part.strip() for part in text.split(",")]
    if not all(re.fullmatch(r"\d{1,3}", value) and int(value) <= 255 for value in values):
        raise SettingError(f"{option} {text!r}: write mask values from 0 to 255, for example 11,12")
    return tuple(int(value) for value in values)


def given_settings(options: dict[str, Any]) -> dict[str, Any]:
    """Those of a command's options that are settings of a run and were given, understood."""
    known = Config.__dataclass_fields__
    given = {name: value for name, value in options.items() if name in known and value is not None}
    readers = {"size": size_option, "crop": size_option, "scale": range_option, "ignore": values_option}
    return given | {name: reader(given[name], f"--{name}") for name, reader in readers.items() if name in given}


def all_settings(file: Path | None, given: dict[str, Any]) -> dict[str, Any]:
    """The settings of a --config file, and on top of them those given as options.

    Folders and files are made absolute, so that a run can be resumed, and repeated, from anywhere. Those in the file
    are relative to the file, so that it means the same wherever one stands; those in options to the current folder.
    """
    settings = Config.read(file) if file else {}
    settings |= {name: beside(file, name, settings[name]) for name in files_in(settings)}
    if "class_weights" in given:  # the numbers kept with a file of weights are of no other one
        settings.pop("class_weight_values", None)
    settings |= given
    return settings | {name: str(Path(settings[name]).resolve()) for name in files_in(settings)}


def files_in(settings: dict[str, Any]) -> list[str]:
    """Names of the settings that are a folder or a file."""
    from ..training import SHAPES

    names = [name for name in ("data", "init", "init_hha") if settings.get(name) not in (None, "", SHAPES)]
    return names + ["class_weights"] * str(settings.get("class_weights")).endswith(".toml")


def beside(file: Path, name: str, text: str) -> str:
    """The path that `text` means in a file of settings: relative to that file.

    Errors: SettingError where there is nothing, but something in the current folder; whoever wrote it meant that.
    """
    path, here = file.resolve().parent / Path(text).expanduser(), Path(text).resolve()
    if not path.exists() and here.exists():
        raise SettingError(
            f"{file}: {name} = {text!r} is relative to the file and means {path}, which does not exist\n"
            f"  fix: {name} = {os.path.relpath(here, file.resolve().parent)!r}, or --{name.replace('_', '-')} {text}"
        )
    return str(path.resolve())
