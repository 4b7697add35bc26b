"""The networks side by side: how large, how deep, how expensive; and one of them in more detail.

Nothing is computed: the networks are made without filling their parameters, and run dry (see shapes.py).
"""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .. import backend, models
from ..geometry import Grid
from ..nn import Module, init
from .shapes import DryRun, Shape, dry_run

Size = tuple[int, int]  # rows and columns


@dataclass(frozen=True)
class Overview:
    """A network in a line. learned: how many of its parameters training changes; coarsest: the grid of its map of the
    largest stride; multiply_adds: for one image of `size`. problem: why it cannot take such an image; then the last two
    are None."""

    entry: models.Entry
    num_classes: int
    size: Size
    parameters: int
    learned: int
    coarsest: Grid | None
    multiply_adds: int | None
    problem: str = ""


@dataclass(frozen=True)
class Part:
    """A part of the network, by its attribute's name. activation_bytes: of all its outputs together."""

    name: str
    parameters: int
    learned: int
    multiply_adds: int
    activation_bytes: int


@dataclass(frozen=True)
class Map:
    """A feature map: what it is called, its shape, and where its pixels lie on the image."""

    name: str
    shape: Shape
    grid: Grid


@dataclass(frozen=True)
class Details:
    """What a network consists of. crops: the FCN's, by their attributes' names."""

    output: Any
    parts: list[Part]
    maps: list[Map]
    crops: dict[str, int]


def usual_size(entry: models.Entry) -> Size:
    """An image such as the network is made for: as ImageNet's are cut for classifiers, else larger."""
    return (224, 224) if entry.kind == "classifier" else (512, 512)


def overview(entry: models.Entry, size: Size | None = None, num_classes: int | None = None) -> Overview:
    """The network in a line, for one image of `size`, or of the usual one. Errors: those of building it."""
    size = size or usual_size(entry)
    model, classes = unfilled(entry, num_classes)
    counts = count(model)
    try:
        run = dry_run(model, (1, 3, *size))
    except ValueError as error:
        return Overview(entry, classes, size, *counts, None, None, str(error))
    return Overview(entry, classes, size, *counts, run.coarsest, run.multiply_adds)


def details(entry: models.Entry, size: Size | None = None, num_classes: int | None = None) -> Details:
    """The network in more detail. Errors: ValueError where it cannot take an image of `size`."""
    size = size or usual_size(entry)
    model, _ = unfilled(entry, num_classes)
    run = dry_run(model, (1, 3, *size))
    crops = {name: n for name, n in vars(model).items() if name.startswith("crop") and isinstance(n, int)}
    return Details(run.output, parts(model, run), maps(model, run, (1, 3, *size)), crops)


def unfilled(entry: models.Entry, num_classes: int | None) -> tuple[Module, int]:
    """The network for evaluation, quickly: on the CPU, its parameters as they were made; and its number of classes."""
    classes = entry.default_classes if num_classes is None else num_classes
    device = backend.get_device()
    try:
        backend.set_device("cpu")
        with init.skipped():
            return models.build(entry.name, classes).eval(), classes
    finally:
        backend.set_device(device)


def count(model: Module) -> tuple[int, int]:
    """How many parameters there are, and how many of them are learned."""
    every = list(model.parameters())
    return sum(p.size for p in every), sum(p.size for p in every if p.requires_grad)


def parts(model: Module, run: DryRun) -> list[Part]:
    """What each child of the model has and does. An op without parameters counts with the last layer that had some."""
    found = []
    for name, child in model.children():
        rows = [row for row in run.rows if row.layer.removeprefix("after ").partition(".")[0] == name]
        work, activations = sum(row.multiply_adds for row in rows), sum(row.activation_bytes for row in rows)
        if rows or count(child)[0]:
            found.append(Part(name, *count(child), work, activations))
    return found


def maps(model: Module, run: DryRun, shape: Shape) -> list[Map]:
    """The maps that matter: an FCN's three, and of other networks the last map of every stride on the way down."""
    if isinstance(model, models.FCN):
        pool3, pool4, _ = dry_run(model.backbone, shape).output
        score = next(row.output for row in run.rows if row.layer == "score_fr")
        grids = (model.pool3_grid, model.pool4_grid, model.score_grid)
        return list(map(Map, ("pool3", "pool4", "score"), (pool3, pool4, score), grids))
    last: dict[Any, Map] = {}
    for row in run.rows:
        if row.grid is not None and row.grid.stride >= max(last, default=1):
            last[row.grid.stride] = Map(row.layer.removeprefix("after "), row.output, row.grid)
    return list(last.values())


def matching(pattern: str | None, names: Sequence[str]) -> list[str]:
    """The names that fit a pattern with * and ?, or that contain it where it has neither; all for None."""
    if pattern is None:
        return list(names)
    wanted = pattern if set(pattern) & set("*?[") else f"*{pattern}*"
    return fnmatch.filter(names, wanted)
