"""How `train` and `demo` run a training: what they print before, while and after it."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import typer
from rich.console import Console

from .. import backend
from ..data import Dataset, Histogram, recognise
from ..files import only_one_process
from ..training import (
    MAY_CHANGE,
    SHAPES,
    Config,
    Interrupted,
    RunFolder,
    SettingError,
    Trainer,
    examples,
    latest_run,
    new_trainer,
    open_data,
    resumed_trainer,
)
from ..training.augmentation import in_words
from ..training.config import flag
from ..training.prepare import Data
from .console import make_console
from .errors import LATEST
from .origin import origin
from .out_of_memory import training_explained
from .progress import Bar, TrainingDisplay, in_words_of_others

GPU_SETTINGS = ("tf32", "cuda_graph")  # what is off unless asked for, and needs one


def start_run(config: Config, folder: RunFolder, device: str) -> None:
    """A new run, from settings to the closing lines. The folder is made once all else has proved right."""
    console = make_console()
    device = backend.resolve_device(device)
    folder.refuse_if_used()
    with Bar("checking", console) as bar:
        data = open_data(config, bar.split)
    say_what_there_is(config, data, console)
    with TrainingDisplay(console) as display:
        trainer, report = new_trainer(config, data, folder, device, display)
        if report is not None:
            files = " and ".join(file for file in (config.init, config.init_hha) if file is not None)
            console.print(f"weights from {files}: {report}")
        folder.create(trainer.config, origin(device, data.train, data.val, config.init, config.init_hha))
        console.print(f"some images with their masks: {folder.draw_data(data.train, examples(data.train, 6))}")
        say_what_is_done_to_it(trainer, console)
        count = sum(p.size for p in trainer.network.model.parameters())
        console.print(f"{config.model_name}: {count:,} parameters, on {device}, run folder {folder.path}")
        run(trainer, console)


def check_gpu_settings(given: dict[str, Any], device: str) -> None:
    """Errors: SettingError where an option was given that only a GPU can follow, and there is none."""
    asked = [flag(name) for name in GPU_SETTINGS if given.get(name)]
    if asked and backend.resolve_device(device) == "cpu":
        raise SettingError(
            f"{' and '.join(asked)}: only a GPU can do that, and this run would be on the CPU; "
            "add --device cuda, which says why where there is none, or leave it out"
        )


def say_what_there_is(config: Config, data: Data, console: Console) -> None:
    """How many images and classes, and how often each class occurs."""
    if data.val is not None:
        validation = f"{len(data.val)} for validation"
    else:
        wanted = recognise(config.data, config.dataset)[0].about.val
        validation = f"no split '{wanted}', so the run is not validated"
    console.print(f"{len(data.train)} training images, {validation}, {classes_in_words(data.train)}")
    if data.histogram is not None:
        show_histogram(data.histogram, console)


def classes_in_words(images: Dataset) -> str:
    """ "21 classes"; "33 semantic and 3 geometric classes"; and what else a network must be made for."""
    numbers = " and ".join(f"{len(classes)} {task}" for task, classes in images.tasks.items()) or len(images.classes)
    return f"{numbers} classes" + (f", {images.channels} channels" if images.channels != 3 else "")


def say_what_is_done_to_it(trainer: Trainer, console: Console) -> None:
    """What chance does to the images, and what the loss is of, where that is not simply all pixels alike."""
    config, weights = trainer.config, trainer.class_weights
    console.print(
        f"augmentation: {in_words(config)}; to look at it: scratchfcn preview --config "
        f"{shlex.quote(str(trainer.folder.config))}"
    )
    if weights is not None:
        names = trainer.network.classes.names
        each = ", ".join(f"{name} {weight:.3g}" for name, weight in zip(names, weights.tolist(), strict=True))
        console.print(f"class weights ({config.class_weights}): {each}")
    if config.loss_sampling < 1:
        console.print(f"loss: of {100 * config.loss_sampling:g}% of the labelled pixels, drawn anew at each step")


def resume_run(
    path: str, given: dict[str, Any], device: str, config_file: Path | None, output_dir: Path | None
) -> None:
    """Continue a run with its own settings; only what cannot change its result may be given anew."""
    if path == LATEST:
        path, output_dir = str(output_dir or latest_run()), None
    fixed = sorted(set(given) - set(MAY_CHANGE))
    if fixed or config_file or output_dir:
        names = [flag(name) for name in fixed]
        names += ["--config"] * bool(config_file) + ["--output-dir"] * bool(output_dir)
        raise SettingError(f"a resumed run keeps its settings: leave out {', '.join(names)}, or start a new run")
    console = make_console()
    device = backend.resolve_device(device)
    with TrainingDisplay(console) as display:
        with Bar("checking", console) as bar:
            trainer = resumed_trainer(path, given, device, display, bar.split)
        if trainer.progress.epoch >= trainer.config.epochs:
            console.print(f"{trainer.folder.path}: all {trainer.config.epochs} epochs are done; nothing to resume")
            return
        progress, changed = trainer.progress, [f"{flag(name)} {value}" for name, value in given.items()]
        where = f"resumed at epoch {progress.epoch + 1}, step {progress.step + 1}"
        with only_one_process(trainer.folder.path):
            trainer.folder.add_remarks(["", ", ".join([where, *changed]), *origin(device)])
        run(trainer, console)


def run(trainer: Trainer, console: Console) -> None:
    """Train; after Ctrl-C say how to go on and exit with 130; at the end say what there is and what to do next."""
    folder = trainer.folder
    unheeded = [name for name in GPU_SETTINGS if getattr(trainer.config, name)]
    if unheeded and trainer.device == "cpu":
        console.print(f"{' and '.join(unheeded)}: for a GPU; on the CPU nothing changes")
    go_on = f"go on with: scratchfcn train --resume {shlex.quote(str(folder.path))}"
    try:
        with training_explained(trainer):
            trainer.fit()
    except Interrupted:
        console.print(f"stopped after step {trainer.progress.step} of {trainer.total_steps}, and saved; {go_on}")
        raise typer.Exit(130) from None
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"stopped at once; the run is saved up to step {trainer.saved_at[1]}; {go_on}"
        ) from None
    rows = folder.read_log()
    if trainer.val_set is not None:
        best = next(row for row in rows if int(row["epoch"]) == trainer.progress.best_epoch)
        scores = {name: float(best[name]) for name in ("pixel_acc", "mean_acc", "mean_iu", "fw_iu")}
        console.print(
            f"best epoch {best['epoch']}: pixel acc {scores['pixel_acc']:.4f}  mean acc {scores['mean_acc']:.4f}  "
            f"mean IU {scores['mean_iu']:.4f}  f.w. IU {scores['fw_iu']:.4f}"
        )
        for text in in_words_of_others(best, list(trainer.network.tasks)[1:]):
            console.print(f"  {text}")
    console.print(f"run folder  {folder.path}\ncurves      {folder.curves}")
    if trainer.val_set is not None:
        console.print(f"pictures    {folder.path / 'val_{:03d}.png'.format(int(rows[-1]['epoch']))}")
    source = folder.path / "data.png" if trainer.config.data == SHAPES else "IMAGE_OR_FOLDER"
    weights = shlex.quote(str(folder.best))
    hha = " --hha HHA_IMAGE_OR_FOLDER" if trainer.network.channels == 6 else ""
    console.print(f"next: scratchfcn predict --weights {weights} --source {shlex.quote(str(source))}{hha}")


def show_histogram(histogram: Histogram, console: Console) -> None:
    """A bar per class, and a warning for the classes that never occur."""
    total = max(1, int(histogram.pixels.sum()) + histogram.ignored)
    for name, pixels, images in zip(histogram.classes.names, histogram.pixels, histogram.images, strict=True):
        share = float(pixels) / total
        blocks = "█" * max(int(share > 0), round(40 * share))
        console.print(f"  {name:14.14} {100 * share:6.2f}%  in {images:5d} images  {blocks}")
    console.print(f"  {'(ignored)':14} {100 * histogram.ignored / total:6.2f}%")
    if histogram.absent:
        names = ", ".join(histogram.absent[:12]) + (" …" if len(histogram.absent) > 12 else "")
        count = len(histogram.absent)
        console.print(f"warning: {count} class(es) never occur in these masks: {names}", style="yellow")
