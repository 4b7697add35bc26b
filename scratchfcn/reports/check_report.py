"""What `scratchfcn check-data` found, as a page to look at and as plain values for programs.

A histogram says how often a class occurs; whether the masks lie where the objects are is seen at a glance, and at a
glance only. So the page shows some images of each split with their masks, and of each kind of problem some of the files
that have it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..data import (
    Classes,
    DataError,
    Dataset,
    colourise,
    main_view,
    overlay,
    read_image,
    resize_image,
    resize_label,
)
from ..data.checking import Findings, Group, Problem, Split
from ..data.checking.bad_files import why_no_mask
from ..data.checking.pair import known_values
from ..data.class_weights import toml_of
from ..data.palette import IGNORE_COLOUR
from .page import render

MARK = "scratchfcn check-data report"  # a page that holds this may be replaced by a newer one
WIDTH = 320  # of the pictures on the page, at most
SAMPLES = 6  # images of each split
SHOWN = 3  # pictures of each kind of problem
LISTED = 1000  # problems of each kind that are written out
SEVERAL = ("duplicate", "near", "repeated", "similar")  # kinds of problem that are about several images
WRONG = (213, 94, 0)  # vermilion: pixels whose value is no class
GRID = (24, 32)  # rows and columns of the maps that show where classes occur
MAPPED = 240  # masks that these maps are made of, at most


# --- plain values -----------------------------------------------------------------------------------------------


def figures(found: Findings, command: str = "") -> dict[str, Any]:
    """Everything that was found, as JSON can say it: what is not a number is None."""
    from .. import __version__

    return {
        "scratchfcn": __version__,
        "command": command,
        "data": str(found.root),
        "dataset": found.kind.about.name,
        "sound": found.sound,
        "pairs": found.pairs,
        "seconds": round(found.seconds, 2),
        "classes": None if found.classes is None else found.classes.to_dict(),
        "splits": {name: _of_split(found, split) for name, split in found.splits.items()},
        "not_checked": found.overlapping,
        "problems": [_of_group(group) for group in found.groups],
        "warnings": [_of_group(group) for group in found.warnings],
        "duplicates": None if found.same is None else [_of_same(found, same) for same in found.same],
        "train": _of_training(found),
    }


def _of_split(found: Findings, split: Split) -> dict[str, Any]:
    histogram = split.histogram
    return {
        "pairs": len(split.dataset),
        "masks_read": split.tally.masks,
        "images_read": split.tally.images,
        "problems": found.problems_of(split.name),
        "sizes": [{"width": W, "height": H, "images": n} for (H, W), n in histogram.sizes.items()],
        "ignored_pixels": histogram.ignored,
        "pixels": dict(zip(histogram.classes.names, histogram.pixels.tolist(), strict=True)),
        "images": dict(zip(histogram.classes.names, histogram.images.tolist(), strict=True)),
        "values": {str(value): int(split.tally.pixels[value]) for value in split.tally.values},
    }


def _of_group(group: Group) -> dict[str, Any]:
    return {
        "kind": group.kind,
        "title": group.title,
        "cause": group.cause,
        "fixes": group.fixes,
        "repair": group.repair,
        "problems": [
            {"text": problem.text, "split": problem.split, "files": [str(path) for path in problem.files]}
            for problem in group.problems
        ],
    }


def _of_same(found: Findings, same: Any) -> dict[str, Any]:
    return {
        "exact": same.exact,
        "masks_differ": same.masks_differ,
        "difference": same.difference,
        "images": [{"split": split, "file": str(_image_file(found, split, i))} for split, i in same.members],
    }


def _image_file(found: Findings, split: str, i: int) -> Path | str:
    dataset = found.splits[split].dataset
    files = dataset.files(i)
    return dataset.name(i) if files is None else files[0]


def _of_training(found: Findings) -> dict[str, Any] | None:
    """Mean and deviation of the images that are trained on, and the class weights that follow from their masks."""
    if found.train is None or found.classes is None:
        return None
    histogram = found.train.histogram
    mean, std = found.train.tally.mean_and_std()
    return {
        "split": found.train.name,
        "mean": [_plain(value) for value in mean],
        "std": [_plain(value) for value in std],
        "weights": {
            "median": _rounded(histogram.median_frequency_weights()),
            "inverse": _rounded(histogram.inverse_frequency_weights()),
        },
    }


def _plain(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _rounded(weights: np.ndarray) -> list[float]:
    return [float(f"{weight:.6g}") for weight in weights]


# --- the page ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Shown:
    """A picture on the page: its pixels uint8 (H, W, 3), what it shows, and a JPEG's quality; None for PNG."""

    pixels: np.ndarray
    words: str
    quality: int | None = None


def check_page(found: Findings, command: str = "") -> str:
    """The page, HTML."""
    classes = found.classes or _provisional(found)
    return render(
        "check",
        mark=MARK,
        title=_title(found),
        figures=figures(found, command),
        kind=found.kind.about.title,
        count=len(found.problems),
        problems=[_section(found, group) for group in found.groups],
        warnings=[_section(found, group) for group in found.warnings],
        splits=[_split_row(found, split, classes) for split in found.splits.values()],
        rows=_class_rows(found, classes),
        maps=_maps(found.train, classes) if found.classes is not None else [],
        samples={split.name: _samples(split) for split in found.splits.values()},
        brightness=_brightness(found.train),
        weights=_weights(found),
        ignore_colour=_css(IGNORE_COLOUR),
    )


def _title(found: Findings) -> str:
    count = len(found.problems)
    said = "sound" if found.sound else f"{count:,} problem{'s' * (count != 1)}"
    return f"{found.root.resolve().name}: {said}"


def _provisional(found: Findings) -> Classes:
    """Colours for values that are no classes yet."""
    return next((split.dataset.classes for split in found.splits.values()), Classes.numbered(2))


def _section(found: Findings, group: Group) -> dict[str, Any]:
    pictures = []
    for problem in _spread_out(group.problems, SHOWN):
        pictures += [(_short_name(found, problem), shown)] if (shown := _pictures(found, problem)) else []
    return {
        "title": _sentence(group.title),
        "cause": _sentence(group.cause) + "." * bool(group.cause and group.cause[-1] not in "?."),
        "fixes": group.fixes,
        "texts": [problem.text for problem in group.problems[:LISTED]],
        "more": max(0, len(group.problems) - LISTED),
        "pictures": pictures,
    }


def _short_name(found: Findings, problem: Problem) -> str:
    """`train/a`, or the names of the images that are the same."""
    if problem.kind in SEVERAL:
        return ""
    return f"{problem.split}/{found.splits[problem.split].dataset.name(problem.index)}"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _spread_out(items: Sequence[Any], count: int) -> list[Any]:
    """`count` of the items, from the first to the last at equal distances."""
    if len(items) <= count:
        return list(items)
    return [items[round(k * (len(items) - 1) / (count - 1))] for k in range(count)]


def _pictures(found: Findings, problem: Problem) -> list[Shown]:
    """What shows a problem: the image and the mask, or the images that are the same; [] where nothing can be drawn."""
    if problem.kind in SEVERAL:
        shown = [_photograph(path, f"{path.parent.name}/{path.name}") for path in problem.files[:4]]
        return [one for one in shown if one is not None]
    if problem.index is None or problem.split not in found.splits or problem.kind in ("unreadable", "shared"):
        return []  # the partner of a damaged file would show nothing of the damage
    dataset = _view_with(found.splits[problem.split].dataset, problem)
    files = dataset.files(problem.index)
    if files is None:
        return []
    shown = [_photograph(files[0], "the image"), _mask(dataset, files[1], problem)]
    return [one for one in shown if one is not None]


def _view_with(dataset: Dataset, problem: Problem) -> Dataset:
    """Of a data set of several pictures or tasks, the view that has the problem; most data sets have only one."""
    views = list(dataset.views().values())
    return next((view for view in views if view.files(problem.index) == problem.files), views[0])


def _photograph(path: Path, words: str) -> Shown | None:
    try:
        image = read_image(path)
    except DataError:
        return None
    return Shown(smaller(image), words, 78)


def _mask(dataset: Dataset, path: Path, problem: Problem) -> Shown | None:
    """A mask as it is: in the classes' colours, with what is no class marked; or as any viewer shows it."""
    try:
        values = dataset.read_values(path)
    except DataError:
        return _as_a_viewer_shows_it(path)
    known = known_values(dataset.classes)
    if problem.kind == "binary":
        return Shown(smaller_mask(np.stack([values] * 3, axis=2)), "the mask, as it is")
    try:
        label = dataset.classes.from_file_values(np.where(known[values], values, 255).astype(np.uint8))
    except DataError:
        return None
    colours = colourise(label, dataset.classes)
    colours[~known[values]] = WRONG
    marked = ", with the wrong values marked" if not known[values].all() else ""
    return Shown(smaller_mask(colours), f"the mask{marked}")


def _as_a_viewer_shows_it(path: Path) -> Shown | None:
    wrong = why_no_mask(path)
    try:
        if wrong.kind == "deep":
            with Image.open(path) as file:
                values = np.array(file).astype(np.float64)
            grey = (255 * (values - values.min()) / max(1.0, np.ptp(values))).astype(np.uint8)
            return Shown(smaller_mask(np.stack([grey] * 3, axis=2)), "the mask, from its smallest value to its largest")
        return Shown(
            smaller_mask(read_image(path)), "the mask, as a viewer shows it", 85 if wrong.kind == "jpeg" else None
        )
    except (DataError, ValueError, OSError):
        return None


def smaller(image: np.ndarray) -> np.ndarray:
    """A photograph uint8 (H, W, 3), at most `WIDTH` wide and high."""
    return resize_image(image, _fitting(image.shape[:2]))


def smaller_mask(colours: np.ndarray) -> np.ndarray:
    """The same for a mask in colours, which stay the colours they are."""
    H, W = _fitting(colours.shape[:2])
    rows, columns = np.arange(H) * colours.shape[0] // H, np.arange(W) * colours.shape[1] // W
    return np.ascontiguousarray(colours[rows][:, columns])


def _fitting(size: tuple[int, int]) -> tuple[int, int]:
    H, W = size
    factor = min(1.0, WIDTH / max(H, W))
    return max(1, round(H * factor)), max(1, round(W * factor))


def _split_row(found: Findings, split: Split, classes: Classes) -> dict[str, Any]:
    sizes = list(split.tally.sizes.most_common())
    total = int(split.tally.pixels.sum())
    shown = [f"{W}×{H}" + (f" ({n:,})" if len(sizes) > 1 else "") for (H, W), n in sizes[:4]]
    return {
        "name": split.name,
        "pairs": len(split.dataset),
        "sizes": ", ".join(shown) + (f" and {len(sizes) - 4} more" if len(sizes) > 4 else ""),
        "ignored": split.tally.histogram(classes).ignored / total if total else math.nan,
        "problems": found.problems_of(split.name),
    }


def _class_rows(found: Findings, classes: Classes) -> list[dict[str, Any]]:
    """For each class its colour, and for each split its share of the labelled pixels and the images that show it.

    While the number of classes is in doubt, the rows are the values that occur.
    """
    histograms = {split.name: split.tally.histogram(classes) for split in found.splits.values()}
    weights = None if found.train is None else histograms[found.train.name]
    rows = []
    for k, name in enumerate(classes.names):
        of_splits = [_share(histogram, k) for histogram in histograms.values()]
        if found.classes is None and not any(share["images"] for share in of_splits):
            continue
        row = {"name": name if found.classes is not None else f"value {k}", "colour": _css(classes.colours[k])}
        rows.append(row | {"splits": of_splits})
        if weights is not None and found.classes is not None:
            row = rows[-1]
            row["median"] = float(weights.median_frequency_weights()[k])
            row["inverse"] = float(weights.inverse_frequency_weights()[k])
    largest = max((share["share"] for row in rows for share in row["splits"]), default=1.0) or 1.0
    for row in rows:
        for share in row["splits"]:
            share["bar"] = 100 * share["share"] / largest
    return rows


def _share(histogram: Any, k: int) -> dict[str, Any]:
    labelled = int(histogram.pixels.sum())
    return {
        "share": histogram.pixels[k] / labelled if labelled else 0.0,
        "images": int(histogram.images[k]),
        "of": histogram.pairs,
    }


def _samples(split: Split) -> list[tuple[str, Shown, Shown]]:
    """Some images with their masks: at equal distances, and beside them those that show the rarest classes first."""
    dataset = main_view(split.dataset)
    even = _spread_out(range(len(dataset)), SAMPLES - 2)
    values = sorted(split.tally.values, key=lambda value: int(split.tally.masks_with[value]))
    rare = [int(split.tally.first[value]) for value in values]
    samples = []
    for i in dict.fromkeys([*even, *rare]):
        if len(samples) == SAMPLES:
            break
        try:
            image, label = dataset.read(i)
        except DataError:
            continue
        image = smaller(image)
        label = resize_label(label, image.shape[:2])
        drawn = overlay(image, label, dataset.classes, 0.55)
        samples.append((dataset.name(i), Shown(image, "photograph", 78), Shown(drawn, "with its mask", 78)))
    return samples


def _maps(split: Split | None, classes: Classes) -> list[dict[str, Any]]:
    """Where in the image each class occurs: for each cell of a grid, how often it is the class. Of some masks."""
    if split is None or split.tally.masks == 0:
        return []
    H, W = GRID
    dataset = main_view(split.dataset)
    counts, used = np.zeros((256, H * W)), 0
    cells = np.arange(H * W)
    for i in _spread_out(range(len(dataset)), MAPPED):
        try:
            label = dataset.classes.from_file_values(dataset.read_values(dataset.files(i)[1]))
        except DataError:
            continue
        counts[smaller_grid(label).ravel(), cells] += 1  # each cell is the class of one pixel, near its middle
        used += 1
    maps = []
    for k, name in enumerate(classes.names):
        share = counts[k].reshape(H, W) / max(1, used)
        if share.any():
            maps.append({"name": name, "most": float(share.max()), "picture": _heat(share / share.max()), "of": used})
    return maps


def smaller_grid(label: np.ndarray) -> np.ndarray:
    """A mask (h, w) as a grid: the ids in the middle of each cell."""
    h, w = label.shape
    rows = ((np.arange(GRID[0]) + 0.5) * h / GRID[0]).astype(int)
    columns = ((np.arange(GRID[1]) + 0.5) * w / GRID[1]).astype(int)
    return label[rows][:, columns]


def _heat(share: np.ndarray) -> Shown:
    """0..1 (H, W) from white to dark blue."""
    low, high = np.array([247, 251, 255]), np.array([8, 48, 107])
    colours = (low + share[:, :, None] * (high - low) + 0.5).astype(np.uint8)
    return Shown(colours.repeat(4, axis=0).repeat(4, axis=1), "")


def _brightness(split: Split | None) -> list[dict[str, str]]:
    """The curves of red, green and blue over brightness, as points of an SVG of 256 x 100."""
    if split is None or not split.tally.brightness.any():
        return []
    # Neighbouring values in pairs: JPEG and contrast stretching leave gaps that mean nothing. The ends are capped,
    # because overexposed sky at 255 would flatten all the rest.
    paired = split.tally.brightness.reshape(3, 128, 2).sum(axis=2)
    top = np.partition(paired, -4, axis=1)[:, -4].max()
    curves = []
    for name, row in zip(("red", "green", "blue"), paired, strict=True):
        points = " ".join(f"{2 * x},{100 - 100 * min(1.0, y / top):.1f}" for x, y in enumerate(row))
        curves.append({"name": name, "points": points})
    return curves


def _weights(found: Findings) -> dict[str, str]:
    """The class weights as files of weights."""
    if found.train is None or found.classes is None or not found.train.histogram.pixels.any():
        return {}
    histogram = found.train.histogram
    return {
        "median frequency": toml_of(found.classes, _rounded(histogram.median_frequency_weights())),
        "inverse frequency": toml_of(found.classes, _rounded(histogram.inverse_frequency_weights())),
    }


def _css(colour: Iterable[int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*(int(value) for value in colour))
