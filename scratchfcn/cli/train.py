"""`scratchfcn train`: check the data, build the network, train it, and say where everything is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer


def train_command(
    data: Annotated[str | None, typer.Option(help="Folder of the data set, or shapes: generated pictures.")] = None,
    generated: Annotated[int | None, typer.Option(help="Pictures per epoch of --data shapes. (default: 2000)")] = None,
    model: Annotated[
        str | None, typer.Option(help="fcn32s, fcn16s, fcn8s, or any of `scratchfcn models`. (default: fcn8s)")
    ] = None,
    backbone: Annotated[str | None, typer.Option(help="small, vgg16, resnet18 … (default: small)")] = None,
    recipe: Annotated[str | None, typer.Option(help="caffe: the paper's own settings, as defaults.")] = None,
    batch_norm: Annotated[bool | None, typer.Option(help="Batch norm in the small backbone. (default: on)")] = None,
    dropout: Annotated[float | None, typer.Option(help="Dropout after fc6 and fc7. (default: 0.5)")] = None,
    init: Annotated[str | None, typer.Option(help="Start from a checkpoint's weights, copied by name.")] = None,
    num_classes: Annotated[int | None, typer.Option(help="Classes in the masks. (default: as the data says)")] = None,
    size: Annotated[str | None, typer.Option(help="Resize all images to WIDTHxHEIGHT. (default: as they are)")] = None,
    scale: Annotated[str | None, typer.Option(help="Scale images at random by LOW-HIGH; needs --crop.")] = None,
    crop: Annotated[str | None, typer.Option(help="Crop WIDTHxHEIGHT at a random place.")] = None,
    flip: Annotated[bool | None, typer.Option(help="Mirror every other image. (default: on)")] = None,
    epochs: Annotated[int | None, typer.Option(help="How often to go through the images. (default: 50)")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Images per step. (default: 8)")] = None,
    accumulate: Annotated[int | None, typer.Option(help="Batches averaged for one step. (default: 1)")] = None,
    reduction: Annotated[str | None, typer.Option(help="Loss over the pixels: mean or sum. (default: mean)")] = None,
    optimizer: Annotated[str | None, typer.Option(help="adam or sgd. (default: adam)")] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate. (default: 1e-3)")] = None,
    momentum: Annotated[float | None, typer.Option(help="Momentum of sgd. (default: 0.9)")] = None,
    weight_decay: Annotated[float | None, typer.Option(help="Pull of the weights to 0. (default: 1e-4)")] = None,
    schedule: Annotated[str | None, typer.Option(help="poly, step or fixed. (default: poly)")] = None,
    power: Annotated[float | None, typer.Option(help="Power of the poly schedule. (default: 0.9)")] = None,
    step_epochs: Annotated[int | None, typer.Option(help="Epochs between drops of step. (default: 20)")] = None,
    warmup_steps: Annotated[int | None, typer.Option(help="Let the rate grow over so many steps. (default: 0)")] = None,
    paper_biases: Annotated[bool | None, typer.Option(help="Biases: twice the rate, no decay. (default: off)")] = None,
    class_weights: Annotated[str | None, typer.Option(help="none, or median: rare classes count more.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of all chance in the run. (default: 0)")] = None,
    workers: Annotated[int | None, typer.Option(help="Threads that prepare batches. (default: 1)")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    config: Annotated[Path | None, typer.Option(help="TOML file with settings; options given here win.")] = None,
    output_dir: Annotated[Path | None, typer.Option(help="Where the run goes. (default: runs/exp1, exp2 …)")] = None,
    resume: Annotated[
        str | None, typer.Option(help="Continue a run: its folder or last.safetensors; alone, the latest.")
    ] = None,
) -> None:
    """Train an FCN on a folder of photographs and masks."""
    from ..training import SHAPES, Config, RunFolder, free_run_folder, with_recipe
    from .parsing import range_option, size_option
    from .running import resume_run, start_run

    given = {name: value for name, value in locals().items() if name in Config.__dataclass_fields__}
    given |= {"size": size_option(size), "crop": size_option(crop, "--crop"), "scale": range_option(scale)}
    given = {name: value for name, value in given.items() if value is not None}
    if resume is not None:
        resume_run(resume, given, device, config, output_dir)
        return
    settings: dict[str, Any] = (Config.read(config) if config else {}) | given
    for name in ("data", "init"):  # resolved, so that the run can be resumed from any folder
        if settings.get(name) and settings[name] != SHAPES:
            settings[name] = str(Path(settings[name]).resolve())
    start_run(Config(**with_recipe(settings)), RunFolder(output_dir or free_run_folder()), device)
