"""`scratchfcn data [NAME]`: the published data sets: where they are, how they must lie, and whether they do."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from ..data import Classes, PublishedSet
    from ..data.sets.verify import Found, SplitFound

UNKNOWN = "see the home page"
SCIPY = "SciPy, for masks in .mat files: pip install 'scratchfcn[mat]'"


def data_command(
    name: Annotated[str | None, typer.Argument(help="Which data set, for example voc2012. (default: list all)")] = None,
    root: Annotated[
        Path | None, typer.Option("--root", "--data", help="A folder: is the data set there, and all of it?")
    ] = None,
) -> None:
    """List the data sets; say of one where to get it and how to lay it out; look whether it lies in a folder."""
    from ..data.sets.verify import verify
    from .console import make_console

    if root is not None:
        show_found(verify(root, name), root, make_console())
    elif name is not None:
        show_one(kind_named(name), make_console())
    else:
        show_all()


def kind_named(name: str) -> type[PublishedSet]:
    """The data set of that name; if there is none, DataError with the nearest."""
    from difflib import get_close_matches

    from ..data import SETS, DataError

    if name in SETS:
        return SETS[name]
    if Path(name).is_dir():
        raise DataError(f"{name} is a folder, not the name of a data set", f"scratchfcn data --root {quoted(name)}")
    near = get_close_matches(name.lower(), SETS, n=3, cutoff=0.4)
    word = "nearest is" if len(near) == 1 else "nearest are"
    hint = f"the {word} {', '.join(near)}" if near else f"there are {', '.join(SETS)}"
    raise DataError(f"no data set is called {name!r}; {hint}", "`scratchfcn data` lists all")


# --- all of them ------------------------------------------------------------------------------------------


def show_all() -> None:
    """A line for each: name, classes, images, licence, and what it needs."""
    import re

    from rich.console import Console
    from rich.table import Table

    from ..data import SETS

    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("name", no_wrap=True)
    table.add_column("classes", justify="right", no_wrap=True)
    for heading in ("images in each split", "licence", "needs"):
        table.add_column(heading, overflow="fold")
    for name, kind in SETS.items():
        about, classes = kind.about, kind.known_classes()
        splits = ", ".join(f"{split} {number}" for split, number in about.counts.items()) or "yours"
        licence = re.split("[;:]", about.licence or UNKNOWN)[0]  # the long form is in `data NAME`
        table.add_row(name, "any" if classes is None else str(len(classes)), splits, licence, needs(kind))
    console = Console(markup=False, highlight=False)
    console.print(table)
    console.print(
        "\nscratchfcn data NAME              where to get it, and how to lay it out\n"
        "scratchfcn data NAME --root DIR   is it there, and all of it?\n"
        "Nothing is ever downloaded by scratchfcn.",
        soft_wrap=True,
    )


def needs(kind: type[PublishedSet]) -> str:
    return {"mat": "SciPy"}.get(kind.about.needs or "", kind.about.needs or "")


# --- one of them ------------------------------------------------------------------------------------------


def show_one(kind: type[PublishedSet], console: Console) -> None:
    """Everything that is known of it, and what to do with it."""
    about, classes = kind.about, kind.known_classes()
    console.print(about.title, style="bold")
    console.print(about.summary)
    section(console, "where", about.source)
    section(console, "size", about.size or UNKNOWN)
    section(console, "licence", about.licence or UNKNOWN)
    if about.needs:
        section(console, "needs", SCIPY if about.needs == "mat" else about.needs)
    section(console, "layout", "\n".join(["DIR/", *tree(about.layout.splitlines())]))
    section(console, "masks", about.masks)
    counts = ", ".join(f"{split} {number}" for split, number in about.counts.items())
    used = f"trained on {about.train}, validated on {about.val}, where nobody says otherwise"
    section(console, "splits", f"{counts}\n{used}" if counts else used)
    if classes is None:
        section(console, "classes", "as many as classes.toml, --num-classes or the masks say")
    else:
        show_classes(classes, console)
    for note in about.notes:
        section(console, "note", note)
    option = f" --dataset {about.name}"
    section(
        console,
        "next",
        f"scratchfcn data {about.name} --root DIR\n"
        f"scratchfcn check-data --data DIR{option}\n"
        f"scratchfcn train --data DIR{option}",
    )
    if not kind.asks_for_classes:  # those are a person's own files
        console.print("Nothing is downloaded by scratchfcn: get the files from there, and unpack them into DIR.")


def section(console: Console, heading: str, text: str) -> None:
    """`size      2.0 GB`; further lines are indented as far."""
    lines = text.splitlines() or [""]
    console.print("\n".join([f"{heading:<9} {lines[0]}", *(" " * 10 + line for line in lines[1:])]))


def tree(lines: list[str]) -> list[str]:
    """Lines that are indented by two spaces a level, with the branches drawn: "├── train/a.png"."""
    depths = [(len(line) - len(line.lstrip())) // 2 for line in lines]
    drawn = []
    for i, (line, depth) in enumerate(zip(lines, depths, strict=True)):
        stem = ["│   " if goes_on(depths[i + 1 :], level) else "    " for level in range(depth)]
        branch = "├── " if goes_on(depths[i + 1 :], depth) else "└── "
        drawn.append("".join([*stem, branch, line.lstrip()]))
    return drawn


def goes_on(depths: list[int], level: int) -> bool:
    """Whether, among the lines that follow, there is one more of this level before one that is less deep."""
    return next((depth == level for depth in depths if depth <= level), False)


def show_classes(classes: Classes, console: Console) -> None:
    """Number, colour and name of each class, some in a line."""
    from rich.text import Text

    width = max(len(name) for name in classes.names) + 8
    row = max(1, (max(60, min(console.width, 120)) - 10) // width)
    section(console, "classes", f"{len(classes)}")
    for first in range(0, len(classes), row):
        line = Text(" " * 10)
        for i in range(first, min(first + row, len(classes))):
            r, g, b = (int(v) for v in classes.colours[i])
            line.append(f"{i:3} ").append("■", style=f"rgb({r},{g},{b})")
            line.append(f" {classes.names[i]}".ljust(width - 5))
        line.rstrip()
        console.print(line)
    if classes.unscored:
        section(console, "", f"left out of mean accuracy and mean IU: {', '.join(classes.unscored)}")


# --- is it there? -----------------------------------------------------------------------------------------


def show_found(found: Found, given: Path, console: Console) -> None:
    """What lies there, split by split, and how to go on; DataError if something is wrong."""
    from ..data import DataError

    about = found.kind.about
    console.print(f"{about.title}: found in {found.root}", style="bold")
    for line in found.kind.also_found(found.root):
        console.print(f"  {line}")
    for split in found.splits:
        console.print(f"  {split.name:<12}{count_text(split)}")
        for end in split.ends:
            console.print(f"  {'':<12}{end}")
    if found.classes is not None:
        names = ", ".join(found.classes.names)
        console.print(f"  {'classes':<12}{len(found.classes)}: {names}")
    if found.problems:
        raise DataError(found.problems, found.advice)
    option = dataset_option(found, given)
    console.print(
        f"all is where it should be. To open every pair: scratchfcn check-data --data {quoted(given)}{option}"
    )
    console.print(f"to train: scratchfcn train --data {quoted(given)}{option}")


def count_text(split: SplitFound) -> str:
    """ "1464 pairs, as published"."""
    if split.pairs is None:
        return f"not here ({split.published} published)"
    if not split.checked:
        return f"{split.pairs} to predict from; the masks say nothing, so it is in no check"
    text = "1 pair" if split.pairs == 1 else f"{split.pairs} pairs"
    if split.published is None:
        return text
    if split.pairs == split.published:
        return f"{text}, as published"
    return (
        f"{text}, of {split.published} published"
        if split.pairs < split.published
        else (f"{text}, but {split.published} are published")
    )


def dataset_option(found: Found, given: Path) -> str:
    """`--dataset NAME`, where the folder would else be taken for another data set."""
    from ..data import DataError, recognise

    try:
        kind, _ = recognise(given)
    except DataError:
        kind = None
    return "" if kind is found.kind else f" --dataset {found.kind.about.name}"


def quoted(path: Path | str) -> str:
    import shlex

    return shlex.quote(str(path))
