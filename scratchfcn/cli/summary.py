"""`scratchfcn summary`: a network layer by layer, what it costs and what it keeps in memory, without running it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    import numpy as np

    from ..nn import Module

SMALL = (128, 128)  # (H, W) of an image, where nothing else is said


def summary_command(
    model: Annotated[
        str | None, typer.Option(help="A network by name, see `scratchfcn models`. (default: fcn8s_small)")
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="Or a trained one: a best.safetensors or last.safetensors.")
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(help="Of the image, WIDTHxHEIGHT, or one number for a square. (default: a small one)"),
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Images at once.")] = 1,
    classes: Annotated[int | None, typer.Option(min=1, help="How many classes a network by name scores.")] = None,
    depth: Annotated[
        int | None, typer.Option(min=1, help="1: a row for each part of the network; 2: for the parts of those, …")
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the summary to this file, too.")] = None,
) -> None:
    """Summarise a network: layers, shapes, parameters, multiply-adds, receptive field, memory."""
    from ..inspection.summary import summary
    from ..nn import init
    from ..training import SettingError
    from .parsing import size_option

    wanted = size_option(size)
    if wanted is not None and min(wanted) < 1:
        raise SettingError(f"--size {size!r}: an image has at least one pixel")
    if weights is not None:
        subject = network_in_file(weights, model, classes)
    else:
        with init.skipped():  # nothing is computed, so the weights' values do not matter
            subject = network_by_name(model or "fcn8s_small", classes)
    found = summary(subject.model, (batch_size, subject.channels, *(wanted or subject.size)), depth)
    typer.echo(subject.name)
    typer.echo(str(found))
    if json_file is not None:
        content = {"model": subject.name, "num_classes": subject.num_classes, **found.as_plain()}
        json_file.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        typer.echo(f"JSON: {json_file}")


@dataclass
class Subject:
    """A network to look at. size: (H, W) of an image where nothing is said. resizes: whether the network was trained on
    images of that size, so that others are resized. prepare: uint8 (H, W, C) → (1, C, H, W)."""

    model: Module
    name: str
    num_classes: int
    size: tuple[int, int]
    resizes: bool
    prepare: Callable[[np.ndarray], np.ndarray]
    channels: int = 3


def network_by_name(name: str, classes: int | None) -> Subject:
    """A new network. "fcn8s" without a backbone is over the small one, as `train` has it."""
    from .. import models
    from ..data import Normalise

    if name not in models.NAMES and f"{name}_small" in models.NAMES:
        name = f"{name}_small"
    model = models.build(name, classes)  # explains an unknown name
    entry, normalise = models.NAMES[name], Normalise()

    def prepare(image: np.ndarray) -> np.ndarray:
        return normalise(image, None)[0][None]

    size = (224, 224) if entry.kind == "classifier" else SMALL
    return Subject(model, name, classes or entry.default_classes, size, False, prepare)


def network_in_file(weights: Path, name: str | None, classes: int | None) -> Subject:
    """A trained network, which knows all of that itself."""
    from ..training import SettingError, load_network

    for option, value in (("--model", name), ("--classes", classes)):
        if value is not None:
            raise SettingError(f"{option} is for a new network; {weights} says which it is: leave {option} out")
    network = load_network(weights)
    size, network.size = network.size, None  # not in `prepare`, so that --size can decide
    name = f"{network.name} of {weights}"
    resizes, prepare = size is not None, network.prepare
    return Subject(network.model, name, len(network.classes), size or SMALL, resizes, prepare, network.channels)
