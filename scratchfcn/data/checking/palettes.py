"""Whose colours are these? Masks are passed around as the pictures that viewers show, in one of a few palettes.

A mask that holds colours can be turned into ids if it is known which colour means which class. Each palette here says
so, and the share of pixels whose colour it has says whether it is the right one.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import DataError
from ..palette import IGNORE, IGNORE_COLOUR, Classes, voc_palette
from ..sets import SETS

FITS = 0.9  # share of the pixels that must have a palette's colours: what is blurred at the edges is less than a tenth
OWN = "classes.toml"
CONTINUED = "voc-256"  # VOC's colours beyond its 21 classes, as many tools give them to any number of classes
PUBLISHED = {
    "voc2012": "PASCAL VOC",
    "camvid": "CamVid (11 classes)",
    "camvid-32": "CamVid (32 colours)",
    "cityscapes": "Cityscapes",
}


@dataclass(frozen=True)
class Palette:
    """What the colours in a mask mean.

    Attributes:
        name: what `--palette` calls it.
        title: what a person calls it.
        classes: the classes that the ids stand for.
        meaning: the id of each colour, r·2¹⁶ + g·2⁸ + b; 255 for void.
        typical: the colours by which it is recognised; VOC's cream is void wherever it is seen, but speaks for VOC.
    """

    name: str
    title: str
    classes: Classes
    meaning: Mapping[int, int]
    typical: frozenset[int]

    def share(self, colours: Mapping[int, int]) -> float:
        """Which part of the pixels has a colour of this palette. colours: how many pixels have each."""
        return _part(colours, self.meaning)


def _part(colours: Mapping[int, int], which: Container[int]) -> float:
    total = sum(colours.values())
    return sum(count for colour, count in colours.items() if colour in which) / total if total else 0.0


def palette_of(name: str, title: str, classes: Classes, creamy: bool = True) -> Palette:
    """The colours of some classes; and as void VOC's cream, and black if no class is black.

    creamy: cream is typical of it.
    """
    numbers = [as_number(colour) for colour in classes.colours]
    cream = as_number(IGNORE_COLOUR)
    meaning = {cream: IGNORE, 0: IGNORE} | {number: label for label, number in enumerate(numbers)}
    return Palette(name, title, classes, meaning, frozenset(meaning) - (frozenset() if creamy else {cream}))


def as_number(colour: Iterable[int]) -> int:
    """Three bytes as one number, r·2¹⁶ + g·2⁸ + b."""
    r, g, b = (int(value) for value in colour)
    return r << 16 | g << 8 | b


def as_text(number: int) -> str:
    """A colour as `#804080`."""
    return f"#{number:06x}"


def known_palettes(root: Path | None = None) -> dict[str, Palette]:
    """All palettes that colours are held against; `classes.toml`'s first, if there is one with colours of its own."""
    palettes = {}
    own = own_classes(root)
    if own is not None:
        palettes[OWN] = palette_of(OWN, "classes.toml", own)
    for name, title in PUBLISHED.items():
        palettes[name] = palette_of(name, title, _classes_of(name), creamy=name == "voc2012")
    palettes[CONTINUED] = palette_of(CONTINUED, "PASCAL VOC's palette, continued to 256", Classes.numbered(IGNORE))
    return palettes


def own_classes(root: Path | None) -> Classes | None:
    """The classes of a folder whose classes.toml says what colours they have; None of any other."""
    if root is None or not (root / OWN).exists():
        return None
    classes = Classes.from_toml(root / OWN)  # which has found out that it is a TOML file
    return classes if "colours" in tomllib.loads((root / OWN).read_text(encoding="utf-8")) else None


def _classes_of(name: str) -> Classes:
    classes = SETS[name].known_classes()
    return Classes(classes.names, classes.colours)  # ids in files, and what they ignore, are no matter of colours


def fitting(colours: Mapping[int, int], root: Path | None = None) -> list[tuple[Palette, float]]:
    """The palettes that `colours` are likely to be of, with the share of pixels that each has; the best first.

    VOC's continued palette holds nearly everybody's colours, so it counts only where no other fits. So do the
    published ones where classes.toml's fit.
    """
    shares = [(palette, _part(colours, palette.typical)) for palette in known_palettes(root).values()]
    good = sorted((entry for entry in shares if entry[1] >= FITS), key=lambda entry: -entry[1])
    for last_resort in (lambda p: p.name == CONTINUED, lambda p: p.name != OWN):
        better = [entry for entry in good if not last_resort(entry[0])]
        good = better or good
    best = good[0][1] if good else 0.0
    return [entry for entry in good if entry[1] >= best - 0.001]


def find_palette(name: str | None, colours: Mapping[int, int], root: Path) -> Palette:
    """The palette of that name; without a name, the one that the colours are of.

    Raises:
        DataError: there is no such palette; none fits; or several fit, so a person must say which.
    """
    if name is not None:
        known = known_palettes(root)
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise DataError(f"--palette {name!r} is not known; {hint}there are {', '.join(known)}")
        return known[name]
    found = fitting(colours, root)
    if len(found) == 1:
        return found[0][0]
    if found:
        names = ", ".join(palette.name for palette, _ in found)
        raise DataError(
            f"{root}: several palettes have the colours of these masks: {names}", "say which: --palette NAME"
        )
    raise DataError(
        f"{root}: no known palette has the colours of these masks: {most_frequent(colours)}", own_palette(root)
    )


def most_frequent(colours: Mapping[int, int], count: int = 6) -> str:
    """`#000000 (83.1%), #800000 (11.0%) …`."""
    total = max(1, sum(colours.values()))
    ranked = sorted(colours.items(), key=lambda item: -item[1])
    shown = ", ".join(f"{as_text(colour)} ({pixels / total:.1%})" for colour, pixels in ranked[:count])
    return shown + (" …" if len(ranked) > count else "")


def own_palette(root: Path) -> str:
    """The advice to say which colour is which class."""
    return (
        f'write what the colours mean into {root / OWN}: names = ["road", "car"] and colours = ["#804080", "#400080"]'
    )


def ids_of(image: np.ndarray, palette: Palette) -> np.ndarray:
    """The ids of the colours of a picture, uint8 (H, W, 3): uint8 (H, W), 255 where the palette lacks the colour."""
    known = np.array(sorted(palette.meaning), np.int32)  # (colours,)
    labels = np.array([palette.meaning[int(number)] for number in known], np.uint8)
    r, g, b = image.astype(np.int32).transpose(2, 0, 1)  # (H, W) each
    numbers = r << 16 | g << 8 | b
    place = np.searchsorted(known, numbers).clip(max=len(known) - 1)  # (H, W)
    return np.where(known[place] == numbers, labels[place], IGNORE).astype(np.uint8)


def classes_used(palette: Palette, colours: Mapping[int, int]) -> Classes:
    """The palette's classes; of the continued one, as many as the largest id needs."""
    if palette.name != CONTINUED:
        return palette.classes
    used = [palette.meaning[colour] for colour in colours if palette.meaning.get(colour, IGNORE) != IGNORE]
    return Classes.numbered(max([*used, 1]) + 1)


def in_another_order(entries: np.ndarray, used: np.ndarray, classes: Classes) -> bool:
    """Whether a palette picture has the classes' colours at other places than their ids.

    Args:
        entries: the file's palette, uint8 (n, 3).
        used: the indices that occur in it.
        classes: whose colours.
    """
    place = {as_number(colour): label for label, colour in enumerate(classes.colours)}
    place.setdefault(as_number(voc_palette()[IGNORE]), IGNORE)
    used = [int(index) for index in used if index < len(entries)]
    labels = [place.get(as_number(entries[index])) for index in used]
    return len(used) > 1 and None not in labels and labels != used
