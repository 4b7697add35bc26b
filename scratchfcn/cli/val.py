"""`scratchfcn val`: the four metrics and each class's IU of a trained network on a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def val_command(
    weights: Annotated[Path, typer.Option(help="A best.safetensors or last.safetensors of a run.")],
    data: Annotated[str, typer.Option(help="Folder of the data set, or shapes: the demo's pictures.")],
    split: Annotated[str, typer.Option(help="Which part of it: val, test, train …")] = "val",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
) -> None:
    """Measure a trained network: pixel accuracy, mean accuracy, mean IU, frequency weighted IU."""
    from rich.table import Table

    from .. import backend
    from ..data import check_pairs, open_dataset
    from ..training import SHAPES, Config, Evaluator, load_network, open_data
    from .console import make_console
    from .progress import Bar

    console = make_console()
    device = backend.resolve_device(device)
    network = load_network(weights)
    network.model.to(device)
    if data == SHAPES:
        dataset = open_data(Config(data=SHAPES, size=network.size)).val
    else:
        dataset = open_dataset(data, split, len(network.classes))
    if dataset.classes.names != network.classes.names:
        console.print("warning: the data set names its classes differently than the network does", style="yellow")
    with Bar("checking", console) as bar:
        check_pairs(dataset, bar.update)
    with Bar("validating", console) as bar:
        result = Evaluator(dataset, network.size)(network, device, progress=bar.update)

    confusion = result.confusion
    table = Table(title=f"{weights} on {data}, {split}: {len(dataset)} images")
    table.add_column("class")
    table.add_column("IU", justify="right")
    table.add_column("accuracy", justify="right")
    for name, iu, acc in zip(network.classes.names, confusion.per_class_iu, confusion.per_class_acc, strict=True):
        table.add_row(name, f"{iu:.4f}", f"{acc:.4f}")
    console.print(table)
    console.print(
        f"pixel acc {confusion.pixel_acc:.4f}  mean acc {confusion.mean_acc:.4f}  mean IU {confusion.mean_iu:.4f}  "
        f"f.w. IU {confusion.fw_iu:.4f}  loss {result.loss:.4f}",
    )
