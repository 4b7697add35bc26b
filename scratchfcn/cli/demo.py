"""`scratchfcn demo`: a first success in about a minute, without a GPU, a download or an account.

An FCN-8s learns to find shapes in generated pictures. Every shape and every background has random colours, so colour
says nothing about the class: the network has to look at form.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

IMAGE = (96, 96)
STEPS, EPOCHS = 600, 4  # altogether, and how often to validate on the way


def demo_command(
    steps: Annotated[int, typer.Option(help="Training steps of 8 images.")] = STEPS,
    seed: Annotated[int, typer.Option(help="Seed of the images and the weights.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    output_dir: Annotated[Path | None, typer.Option(help="Where the run goes. [default: runs/demo1, demo2 …]")] = None,
) -> None:
    """Train an FCN-8s on generated shapes for about a minute, and show what it learned."""
    from rich.console import Console

    from .. import backend
    from ..data import Shapes
    from ..training import Config, Network, RunFolder, SettingError, Trainer, examples, free_run_folder
    from .progress import TrainingDisplay
    from .train import run

    if steps < EPOCHS:
        raise SettingError(f"--steps must be at least {EPOCHS}, got {steps}")
    console = Console(soft_wrap=True)
    device = backend.resolve_device(device)
    config = Config(epochs=EPOCHS, batch_size=8, lr=3e-3, weight_decay=1e-4, dropout=0.1, seed=seed, data="shapes")
    train_set = Shapes(config.batch_size * (steps // EPOCHS), IMAGE, seed=seed)
    val_set = Shapes(64, IMAGE, seed=seed + 1_000_000)  # other images than any trained on

    backend.manual_seed(seed)
    network = Network.build(config.model_name, train_set.classes, None, batch_norm=True, dropout=config.dropout)
    folder = RunFolder(output_dir or free_run_folder(name="demo"))
    folder.create(config)
    console.print(f"FCN-8s on {len(train_set)} generated images of {len(train_set.classes)} classes, on {device}")
    console.print(f"the images: {folder.draw_data(train_set, examples(train_set, 6))}", highlight=False)
    with TrainingDisplay(console) as display:
        run(Trainer(config, network, train_set, val_set, folder, device, listener=display), console)
