"""`scratchfcn train`: check the data, build the network, train it, and say where everything is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import options


def train_command(
    data: options.Data = None,
    dataset: options.DatasetName = None,
    train_split: options.TrainSplit = None,
    val_split: Annotated[
        str | None, typer.Option(help="Which part to validate on. (default: val, or the data set's own)")
    ] = None,
    ignore: options.Ignore = None,
    generated: options.Generated = None,
    model: Annotated[
        str | None, typer.Option(help="fcn32s, fcn16s, fcn8s, or any of `scratchfcn models`. (default: fcn8s)")
    ] = None,
    backbone: Annotated[str | None, typer.Option(help="small, vgg16, resnet18 … (default: small)")] = None,
    recipe: Annotated[str | None, typer.Option(help="caffe: the paper's own settings, as defaults.")] = None,
    batch_norm: Annotated[bool | None, typer.Option(help="Batch norm in the small backbone. (default: on)")] = None,
    dropout: Annotated[float | None, typer.Option(help="Dropout after fc6 and fc7. (default: 0.5)")] = None,
    fusion: Annotated[
        str | None,
        typer.Option(
            help="Colour and HHA: late, two streams whose scores are averaged, the paper's better one; or early, six "
            "inputs to one network. (default: late)"
        ),
    ] = None,
    init: Annotated[str | None, typer.Option(help="Start from a checkpoint's weights, copied by name.")] = None,
    init_hha: Annotated[
        str | None, typer.Option(help="Another one for the HHA stream. (default: --init is for both streams)")
    ] = None,
    num_classes: options.NumClasses = None,
    size: options.Size = None,
    scale: options.Scale = None,
    rotate: options.Rotate = None,
    crop: options.Crop = None,
    flip: options.Flip = None,
    colour: options.Colour = None,
    blur: options.Blur = None,
    cutout: options.Cutout = None,
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
    class_weights: Annotated[
        str | None, typer.Option(help="none; median, inverse: rare classes count more; or a file NAME.toml.")
    ] = None,
    loss_sampling: Annotated[
        float | None, typer.Option(help="Share of the labelled pixels in the loss, drawn anew each step. (default: 1)")
    ] = None,
    val_every: Annotated[int | None, typer.Option(help="Validate every so many epochs, and after the last.")] = None,
    seed: options.Seed = None,
    workers: Annotated[int | None, typer.Option(help="Threads that prepare batches. (default: 1)")] = None,
    tf32: options.Tf32 = None,
    deterministic: options.Deterministic = None,
    cuda_graph: options.CudaGraph = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    config: options.ConfigFile = None,
    output_dir: Annotated[Path | None, typer.Option(help="Where the run goes. (default: runs/exp1, exp2 …)")] = None,
    resume: Annotated[
        str | None, typer.Option(help="Continue a run: its folder or last.safetensors; alone, the latest.")
    ] = None,
) -> None:
    """Train an FCN on a folder of photographs and masks."""
    from ..training import Config, RunFolder, free_run_folder, with_recipe
    from .parsing import all_settings, given_settings
    from .running import check_gpu_settings, resume_run, start_run

    given = given_settings(locals())
    check_gpu_settings(given, device)
    if resume is not None:
        resume_run(resume, given, device, config, output_dir)
        return
    start_run(Config(**with_recipe(all_settings(config, given))), RunFolder(output_dir or free_run_folder()), device)
