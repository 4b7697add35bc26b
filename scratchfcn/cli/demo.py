"""`scratchfcn demo`: a first success in about a minute, without a GPU, a download or an account.

An FCN-8s learns to find shapes in generated pictures. Every shape and every background has random colours, so colour
says nothing about the class: the network has to look at form.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

STEPS, EPOCHS, BATCH = 1000, 4, 8  # steps altogether, how often to validate on the way, images per step


def demo_command(
    steps: Annotated[int, typer.Option(help="Training steps of 8 images.")] = STEPS,
    seed: Annotated[int, typer.Option(help="Seed of the images and the weights.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    output_dir: Annotated[Path | None, typer.Option(help="Where the run goes. (default: runs/demo1, demo2 …)")] = None,
) -> None:
    """Train an FCN-8s on generated shapes for about a minute, and show what it learned."""
    from ..training import SHAPES, Config, RunFolder, SettingError, free_run_folder
    from .running import start_run

    if steps < EPOCHS:
        raise SettingError(f"--steps must be at least {EPOCHS}, got {steps}")
    config = Config(
        data=SHAPES,
        generated=BATCH * -(-steps // EPOCHS),  # every picture is new within an epoch
        epochs=EPOCHS,
        batch_size=BATCH,
        lr=8e-3,
        warmup_steps=steps // 5,
        dropout=0.0,
        seed=seed,
    )
    start_run(config, RunFolder(output_dir or free_run_folder(name="demo")), device)
