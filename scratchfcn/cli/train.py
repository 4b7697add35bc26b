"""`scratchfcn train`: check the data, build the network, train it, and say where everything is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from .errors import LATEST


def train_command(
    data: Annotated[str | None, typer.Option(help="Folder of the data set: images/ and masks/, or CamVid's.")] = None,
    model: Annotated[str | None, typer.Option(help="fcn32s, fcn16s or fcn8s. [default: fcn8s]")] = None,
    backbone: Annotated[str | None, typer.Option(help="small or vgg16. [default: small]")] = None,
    batch_norm: Annotated[bool | None, typer.Option(help="Batch norm in the small backbone. [default: on]")] = None,
    dropout: Annotated[float | None, typer.Option(help="Dropout after fc6 and fc7. [default: 0.5]")] = None,
    init: Annotated[str | None, typer.Option(help="Start from a checkpoint's weights, copied by name.")] = None,
    num_classes: Annotated[int | None, typer.Option(help="Classes in the masks. [default: as the data says]")] = None,
    size: Annotated[str | None, typer.Option(help="Resize all images to WIDTHxHEIGHT. [default: as they are]")] = None,
    scale: Annotated[str | None, typer.Option(help="Scale images at random by LOW-HIGH; needs --crop.")] = None,
    crop: Annotated[str | None, typer.Option(help="Crop WIDTHxHEIGHT at a random place.")] = None,
    flip: Annotated[bool | None, typer.Option(help="Mirror every other image. [default: on]")] = None,
    epochs: Annotated[int | None, typer.Option(help="How often to go through the images. [default: 50]")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Images per step. [default: 8]")] = None,
    optimizer: Annotated[str | None, typer.Option(help="adam or sgd. [default: adam]")] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate. [default: 1e-3]")] = None,
    momentum: Annotated[float | None, typer.Option(help="Momentum of sgd. [default: 0.9]")] = None,
    weight_decay: Annotated[float | None, typer.Option(help="Pull of the weights to 0. [default: 1e-4]")] = None,
    schedule: Annotated[str | None, typer.Option(help="poly, step or fixed. [default: poly]")] = None,
    power: Annotated[float | None, typer.Option(help="Power of the poly schedule. [default: 0.9]")] = None,
    step_epochs: Annotated[int | None, typer.Option(help="Epochs between drops of step. [default: 20]")] = None,
    warmup_steps: Annotated[int | None, typer.Option(help="Let the rate grow over so many steps. [default: 0]")] = None,
    paper_biases: Annotated[bool | None, typer.Option(help="Biases: twice the rate, no decay. [default: off]")] = None,
    class_weights: Annotated[str | None, typer.Option(help="none, or median: rare classes count more.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of all chance in the run. [default: 0]")] = None,
    workers: Annotated[int | None, typer.Option(help="Threads that prepare batches. [default: 1]")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    config: Annotated[Path | None, typer.Option(help="TOML file with settings; options given here win.")] = None,
    output_dir: Annotated[Path | None, typer.Option(help="Where the run goes. [default: runs/exp1, exp2 …]")] = None,
    resume: Annotated[
        str | None, typer.Option(help="Continue a run: its folder or last.safetensors; alone, the latest.")
    ] = None,
) -> None:
    """Train an FCN on a folder of photographs and masks."""
    from ..training import Config
    from .parsing import range_option, size_option

    given = {name: value for name, value in locals().items() if name in Config.__dataclass_fields__}
    given |= {"size": size_option(size), "crop": size_option(crop, "--crop"), "scale": range_option(scale)}
    given = {name: value for name, value in given.items() if value is not None}
    if resume is not None:
        resume_run(resume, given, device, config, output_dir)
    else:
        settings = (Config.read(config) if config else {}) | given
        start_run(Config(**settings), device, output_dir)


def start_run(config: Any, device: str, output_dir: Path | None) -> None:
    """A new run, from settings to the closing lines."""
    from rich.console import Console

    from .. import backend
    from ..data import DataError
    from ..training import Network, RunFolder, Trainer, examples, free_run_folder
    from ..weights import load, transplant
    from .progress import TrainingDisplay

    console = Console(soft_wrap=True)
    device = backend.resolve_device(device)
    if not config.data:
        raise DataError("no data set given", ["--data DIR, a folder with images/ and masks/, or CamVid's layout"])
    initial = load(config.init) if config.init else None
    train_set, val_set, histogram = open_and_check(config, console)

    backend.manual_seed(config.seed)
    options = {"dropout": config.dropout} | ({"batch_norm": config.batch_norm} if config.backbone == "small" else {})
    network = Network.build(config.model_name, train_set.classes, config.size, **options)
    if initial is not None:
        console.print(f"weights from {config.init}: {transplant(network.model, initial.arrays)}", highlight=False)

    folder = RunFolder(output_dir or free_run_folder())
    folder.create(config)
    console.print(f"some images with their masks: {folder.draw_data(train_set, examples(train_set, 6))}")
    weights = class_weight_array(config, histogram)
    count = sum(p.size for p in network.model.parameters())
    console.print(f"{config.model_name}: {count:,} parameters, on {device}, run folder {folder.path}", highlight=False)
    with TrainingDisplay(console) as display:
        trainer = Trainer(config, network, train_set, val_set, folder, device, weights, display)
        run(trainer, console)


def resume_run(
    path: str, given: dict[str, Any], device: str, config_file: Path | None, output_dir: Path | None
) -> None:
    """Continue a run with its own settings; only what cannot change its result may be given anew."""
    from rich.console import Console

    from .. import backend
    from ..training import Config, SettingError, Trainer, latest_run, resume_checkpoint
    from ..training.network import network_from
    from .progress import TrainingDisplay

    if path == LATEST:
        path, output_dir = str(output_dir or latest_run()), None
    movable = {"data", "workers"}  # the folder may have moved, and threads change nothing
    fixed = sorted(set(given) - movable)
    if fixed or config_file or output_dir:
        names = [f"--{name.replace('_', '-')}" for name in fixed]
        names += ["--config"] * bool(config_file) + ["--output-dir"] * bool(output_dir)
        raise SettingError(f"a resumed run keeps its settings: leave out {', '.join(names)}, or start a new run")
    console = Console(soft_wrap=True)
    device = backend.resolve_device(device)
    folder, checkpoint = resume_checkpoint(path)
    config = Config(**(Config.read(folder.config) | given))
    network = network_from(folder.last, checkpoint.arrays, checkpoint.metadata)
    train_set, val_set, histogram = open_and_check(config, console)
    weights = class_weight_array(config, histogram)
    with TrainingDisplay(console) as display:
        trainer = Trainer(config, network, train_set, val_set, folder, device, weights, display)
        trainer.restore(checkpoint)
        if trainer.progress.epoch >= config.epochs:
            console.print(f"{folder.path}: all {config.epochs} epochs are done; nothing to resume")
            return
        run(trainer, console)


def open_and_check(config: Any, console: Any) -> tuple[Any, Any, Any]:
    """Open both splits, look at every pair, and show how often each class occurs."""
    from ..data import DataError, check_pairs, open_dataset, split_names
    from .progress import Bar

    train_set = open_dataset(config.data, "train", config.num_classes)
    val_set = open_dataset(config.data, "val", config.num_classes) if "val" in split_names(config.data) else None
    if val_set is None:
        console.print(f"warning: {config.data} has no split 'val', so the run is not validated", style="yellow")
    with Bar("checking train", console) as bar:
        histogram = check_pairs(train_set, bar.update)
    if val_set is not None:
        if val_set.classes != train_set.classes:
            raise DataError(f"train has {len(train_set.classes)} classes but val {len(val_set.classes)}")
        with Bar("checking val", console) as bar:
            check_pairs(val_set, bar.update)
    validation = "no validation images" if val_set is None else f"{len(val_set)} for validation"
    console.print(f"{len(train_set)} training images, {validation}, {len(train_set.classes)} classes")
    show_histogram(histogram, console)
    return train_set, val_set, histogram


def show_histogram(histogram: Any, console: Any) -> None:
    """A bar per class, and a warning for each class that never occurs."""
    shares = histogram.pixels / max(1, histogram.pixels.sum() + histogram.ignored)
    for name, share, images in zip(histogram.classes.names, shares, histogram.images, strict=True):
        blocks = "█" * max(int(share > 0), round(40 * share))
        console.print(f"  {name:14.14} {100 * share:6.2f}%  in {images:5d} images  {blocks}", highlight=False)
    ignored = histogram.ignored / max(1, histogram.pixels.sum() + histogram.ignored)
    console.print(f"  {'(ignored)':14} {100 * ignored:6.2f}%", highlight=False)
    for name in histogram.absent:
        console.print(
            f"warning: class {name!r} never occurs in these masks; it cannot be learned from them", style="yellow"
        )


def class_weight_array(config: Any, histogram: Any) -> np.ndarray | None:
    """The loss weights that --class-weights asks for."""
    return histogram.median_frequency_weights().astype(np.float32) if config.class_weights == "median" else None


def run(trainer: Any, console: Any) -> None:
    """Train; after Ctrl-C say how to go on and exit with 130; at the end say what there is and what to do next."""
    from ..training import Interrupted

    folder = trainer.folder
    try:
        trainer.fit()
    except Interrupted:
        console.print(
            f"stopped after step {trainer.progress.step} of {trainer.total_steps}; saved. Go on with:\n"
            f"  scratchfcn train --resume {folder.path}",
            highlight=False,
        )
        raise typer.Exit(130) from None
    rows = folder.read_log()
    best = rows[trainer.progress.best_epoch - 1]
    if trainer.val_set is not None:
        console.print(
            f"best epoch {best['epoch']}: "
            f"pixel acc {float(best['pixel_acc']):.4f}  mean acc {float(best['mean_acc']):.4f}  "
            f"mean IU {float(best['mean_iu']):.4f}  f.w. IU {float(best['fw_iu']):.4f}",
            highlight=False,
        )
    console.print(f"run folder  {folder.path}\ncurves      {folder.curves}", highlight=False)
    if trainer.val_set is not None:
        console.print(f"pictures    {folder.path / 'val_{:03d}.png'.format(int(rows[-1]['epoch']))}", highlight=False)
    console.print(f"next: scratchfcn predict --weights {folder.best} --source IMAGE_OR_FOLDER", highlight=False)
