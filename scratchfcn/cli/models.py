"""`scratchfcn models [PATTERN]`: the networks that there are, what they cost and what they see; or one in detail."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from ..inspection.overview import Details, Overview

KINDS = {
    "fcn": "the paper's networks, by backbone",
    "classifier": "classifiers",
    "descendant": "descendants",
}
FLOPS = (
    "GFLOPs: billions of multiplications and additions for one image, each counted by itself. (Where a multiplication "
    "and its addition count as one, as in torchvision's tables, it is half as many.)"
)
SEEN = (
    "stride: of the coarsest map, in pixels of the image. field: how much of the image one of its pixels sees "
    "(receptive field), rows or columns."
)


class ModelsError(ValueError):
    """The command cannot be carried out as it was given."""


def models_command(
    pattern: Annotated[
        str | None,
        typer.Argument(help="A name shows that network in detail; a part of names, or a pattern with *, lists some."),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(
            help="Of the image, WIDTHxHEIGHT, for the costs; by default 512x512, and 224x224 of a classifier."
        ),
    ] = None,
    classes: Annotated[
        int | None, typer.Option(min=1, help="How many classes are scored; by default 21, and 1000 of a classifier.")
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write all of it to this file, too.")] = None,
) -> None:
    """List the networks: parameters, stride, receptive field and cost; or show one in detail."""
    import json

    from rich.console import Console

    from .. import models
    from ..inspection.overview import details, matching, overview
    from .parsing import size_option

    rows_columns = size_option(size)
    if rows_columns is not None and min(rows_columns) < 1:
        raise ModelsError(f"--size {size!r}: an image has at least one pixel")
    names = [pattern] if pattern in models.NAMES else matching(pattern, list(models.NAMES))
    if not names:  # "classifiers", "descendants"
        names = [name for name, entry in models.NAMES.items() if entry.kind == pattern.removesuffix("s")]
    if not names:
        raise ModelsError(f"no network is called {pattern!r}; {nearest(pattern, list(models.NAMES))}")
    console = Console(markup=False, highlight=False)
    found = [overview(models.NAMES[name], rows_columns, classes) for name in names]
    one = None
    if pattern in models.NAMES:
        if found[0].problem:
            raise ModelsError(f"{pattern} cannot take an image of {size_text(found[0])}: {found[0].problem}")
        one = details(models.NAMES[pattern], rows_columns, classes)
        show_one(found[0], one, console)
    else:
        show_all(found, console)
    if json_file is not None:
        content: dict[str, Any] = {"models": [as_plain(each) for each in found]}
        if one is not None:
            content["models"][0] |= details_as_plain(one)
        json_file.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def nearest(pattern: str, names: list[str]) -> str:
    """What might have been meant."""
    from difflib import get_close_matches

    near = get_close_matches(pattern, names, n=3, cutoff=0.4)
    return f"the nearest are {', '.join(near)}" if near else "`scratchfcn models` lists all"


# --- all of them ------------------------------------------------------------------------------------------


def show_all(found: list[Overview], console: Console) -> None:
    """A table for each kind, and what the columns mean."""
    for kind, title in KINDS.items():
        some = [each for each in found if each.entry.kind == kind]
        if some:
            console.print(f"{title}; GFLOPs for an image of {size_text(some[0])}", style="bold")
            console.print(table(by_backbone(some) if kind == "fcn" else some, with_about=kind != "fcn"))
            console.print()
        if kind == "fcn" and some:
            print_legend(some, console)
    console.print(SEEN)
    console.print(FLOPS)
    if any(each.problem for each in found):
        console.print("–: an image of this size does not fit the network; its NAME shows why")
    console.print("scratchfcn models NAME shows one in detail")


def print_legend(found: list[Overview], console: Console) -> None:
    """What the FCNs are, said once for all backbones."""
    names: dict[str, list[str]] = {}
    for each in found:
        names.setdefault(each.entry.about, []).append(each.entry.name)
    for about, those in names.items():
        console.print(f"  {those[0] if len(those) == 1 else family(those[0])[0]:14} {about}")
    console.print()


def table(found: list[Overview], with_about: bool) -> Table:
    """A row per network; an empty one between FCNs over different backbones."""
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("name", no_wrap=True)
    for heading in ("parameters", "stride", "field", "GFLOPs"):
        table.add_column(heading, justify="right", no_wrap=True)
    if with_about:
        table.add_column("about")
    for i, each in enumerate(found):
        if i and not with_about and family(each.entry.name)[1] != family(found[i - 1].entry.name)[1]:
            table.add_row()
        table.add_row(
            each.entry.name,
            parameters_text(each.parameters, each.learned),
            "–" if each.coarsest is None else number(each.coarsest.stride),
            "–" if each.coarsest is None else number(each.coarsest.receptive_field),
            "–" if each.multiply_adds is None else giga(each.multiply_adds),
            *[each.entry.about] * with_about,
        )
    return table


def by_backbone(found: list[Overview]) -> list[Overview]:
    """The FCNs over one backbone side by side."""
    from .. import models

    order = ["", *models.BACKBONES]
    return sorted(found, key=lambda each: order.index(family(each.entry.name)[1]))


def family(name: str) -> tuple[str, str]:
    """ "fcn8s_vgg16" → ("fcn8s", "vgg16"); a network without backbone → (its name, "")."""
    from .. import models

    for backbone in sorted(models.BACKBONES, key=len, reverse=True):
        if name.endswith(f"_{backbone}"):
            return name.removesuffix(f"_{backbone}"), backbone
    return name, ""


# --- one of them ------------------------------------------------------------------------------------------


def show_one(found: Overview, one: Details, console: Console) -> None:
    """The parts, the maps, the crops, and how to go on."""
    entry = found.entry
    console.print(f"{entry.name}: {entry.about}", style="bold")
    console.print(f"image (1, 3, {found.size[0]}, {found.size[1]}) → {one.output}\n")
    console.print(parts_table(found, one))
    console.print()
    console.print(maps_table(one))
    console.print()
    if one.crops:
        crops = ", ".join(f"{name} {pixels}" for name, pixels in one.crops.items())
        console.print(f"crops, in pixels of what they cut: {crops}; negative where the other map is cut")
    console.print(FLOPS)
    console.print(starting_weights(entry.name))
    build = f'scratchfcn.models.build("{entry.name}", num_classes={found.num_classes})'
    console.print(f"in Python: {build}", soft_wrap=True)  # one line, to be copied


def parts_table(found: Overview, one: Details) -> Table:
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("part")
    for heading in ("parameters", "GFLOPs", "maps, MiB"):
        table.add_column(heading, justify="right", no_wrap=True)
    rows = [(p.name, p.parameters, p.learned, p.multiply_adds, p.activation_bytes) for p in one.parts]
    activations = sum(part.activation_bytes for part in one.parts)
    for name, parameters, learned, work, bytes_ in [
        *rows,
        ("together", found.parameters, found.learned, found.multiply_adds, activations),
    ]:
        table.add_row(name, parameters_text(parameters, learned, whole=True), giga(work), f"{bytes_ / 2**20:.1f}")
    return table


def maps_table(one: Details) -> Table:
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("map", overflow="fold")
    for heading in ("shape", "stride", "first centre", "receptive field"):
        table.add_column(heading, justify="right", no_wrap=True)
    for each in one.maps:
        grid = each.grid
        table.add_row(each.name, str(each.shape[1:]), *map(number, (grid.stride, grid.start, grid.receptive_field)))
    return table


def starting_weights(name: str) -> str:
    """Where the weights come from."""
    from .. import models

    _, backbone = family(name)
    if models.NAMES[name].kind != "fcn":
        return "weights: random at first; train --init FILE copies those of the same names from a checkpoint"
    if backbone in models.NAMES:
        return (
            f"weights: random at first; train --init FILE takes those of the classifier {backbone} for the backbone, "
            "or those of a coarser FCN over the same backbone"
        )
    return "weights: random at first; train --init FILE takes those of a coarser FCN over the same backbone"


# --- words and numbers ------------------------------------------------------------------------------------


def size_text(found: Overview) -> str:
    """WIDTHxHEIGHT, as --size takes it."""
    return f"{found.size[1]}x{found.size[0]}"


def number(value: Any) -> str:
    """A stride, a position or a receptive field: whole or with its decimals; infinite where a pixel sees everything."""
    if value == float("inf"):
        return "all"
    return f"{float(value):.4g}" if value < 10000 else f"{float(value):.0f}"


def giga(multiply_adds: int) -> str:
    """Multiplications and additions, in billions."""
    value = 2e-9 * multiply_adds
    return f"{value:.2f}" if value < 10 else f"{value:.1f}"


def parameters_text(parameters: int, learned: int, whole: bool = False) -> str:
    """ "134.5M"; "86K of 134.3M" where not all are learned; whole: to the last digit."""
    write = "{:,}".format if whole else rounded
    return write(parameters) if learned == parameters else f"{write(learned)} of {write(parameters)}"


def rounded(count: int) -> str:
    return f"{count / 1e6:.1f}M" if count >= 10**6 else f"{count / 1e3:.0f}K" if count >= 10**4 else str(count)


# --- JSON -------------------------------------------------------------------------------------------------


def as_plain(found: Overview) -> dict[str, Any]:
    """What the table shows of a network, unrounded; what is infinite or unknown is null."""
    return {
        "name": found.entry.name,
        "kind": found.entry.kind,
        "about": found.entry.about,
        "num_classes": found.num_classes,
        "size": list(found.size),
        "parameters": found.parameters,
        "learned": found.learned,
        **({"stride": None, "receptive_field": None} if found.coarsest is None else grid_as_plain(found.coarsest)),
        "multiply_adds": found.multiply_adds,
        "problem": found.problem or None,
    }


def details_as_plain(one: Details) -> dict[str, Any]:
    return {
        "output": one.output,
        "parts": [vars(part) for part in one.parts],
        "maps": [{"name": m.name, "shape": m.shape, **grid_as_plain(m.grid)} for m in one.maps],
        "crops": one.crops,
    }


def grid_as_plain(grid: Any) -> dict[str, float | None]:
    field = float(grid.receptive_field)
    return {
        "stride": float(grid.stride),
        "start": float(grid.start),
        "receptive_field": None if field == float("inf") else field,
    }
