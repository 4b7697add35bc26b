"""From settings to a trainer: open and check the data, build or restore the network, put the parts together.

Everything that can be wrong with the settings or the data is found here, before a file is written.
"""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..backend import manual_seed
from ..data import Classes, DataError, Dataset, Histogram, Shapes, check_splits, open_dataset, recognise
from ..data.class_weights import inverse_frequency, median_frequency, read_class_weights
from ..models import NAMES
from ..surgery import TransplantReport
from ..weights import CheckpointError, load
from .config import Config, SettingError, flag
from .network import Network, network_from
from .run_folder import RunFolder
from .starting import start_weights
from .trainer import Listener, Trainer

SHAPES = "shapes"  # --data shapes: generated pictures instead of a folder
SHAPE_KINDS, SHAPE_SIZE, SHAPE_VALIDATION = ("circle", "square", "triangle", "cross"), (64, 64), 100
SHAPES_PER_IMAGE = (1, 2)

# when a run is resumed: the data set may have moved, and threads and graphs change nothing
MAY_CHANGE = ("data", "workers", "cuda_graph")

Progress = Callable[[str, int, int], None]  # (split, pairs done, pairs in all)


@dataclass(frozen=True)
class Data:
    """What a run learns from and is measured on. histogram: of the training masks; None for generated pictures."""

    train: Dataset
    val: Dataset | None
    histogram: Histogram | None

    def fingerprint(self) -> dict[str, Any]:
        """What must not change between stopping and resuming, as plain values."""
        names = "\n".join(self.train.name(i) for i in range(len(self.train)))
        return {
            "training images": [len(self.train), hashlib.sha256(names.encode()).hexdigest()],
            "validation images": 0 if self.val is None else len(self.val),
            "classes": list(self.train.classes.names),
            "channels": self.train.channels,
            "tasks": {name: list(classes.names) for name, classes in self.train.tasks.items()},
            "mask values to ignore": list(self.train.classes.ignored_values),
        }


def open_data(config: Config, progress: Progress | None = None, num_classes: int | None = None) -> Data:
    """Open and check the training and validation images that the settings ask for.

    num_classes: in place of the settings' own, where a network exists already.
    Errors: DataError with every problem found; SettingError where the images cannot form batches.
    """
    if config.data == SHAPES:
        return generated_data(config)
    train, val = splits_of(config)
    if config.weights_file is not None and config.class_weight_values is None and not config.weights_file.exists():
        raise DataError(f"{config.weights_file}: no such file", "check-data --weights-out FILE writes one")
    checked = check_splits(
        config.data,
        num_classes or config.num_classes,
        progress,
        splits=tuple(dict.fromkeys([train] if val is None else [train, val])),
        name=config.dataset,
        ignore=config.ignore or (),
    )
    check_batches(config, checked[train][1])
    return Data(checked[train][0], None if val is None else checked[val][0], checked[train][1])


def generated_data(config: Config) -> Data:
    """Pictures of shapes, which no file holds. Errors: SettingError for settings that only files can follow."""
    if config.num_classes not in (None, len(SHAPE_KINDS) + 1):
        raise SettingError(f"--num-classes {config.num_classes}: generated shapes have {len(SHAPE_KINDS) + 1} classes")
    for name in ("dataset", "train_split", "val_split", "ignore"):
        if getattr(config, name):
            raise SettingError(f"{flag(name)} is for data sets of files; generated shapes (--data shapes) have none")
    size = config.size or SHAPE_SIZE
    train = Shapes(config.generated, size, config.seed, SHAPES_PER_IMAGE, SHAPE_KINDS)
    unseen = config.seed + 1_000_000  # another seed: none of these is trained on
    return Data(train, Shapes(SHAPE_VALIDATION, size, unseen, SHAPES_PER_IMAGE, SHAPE_KINDS), None)


def open_training_set(config: Config) -> Dataset:
    """The training images alone, not looked at yet. Errors: as `open_data`, but for what only a look would find."""
    if config.data == SHAPES:
        return generated_data(config).train
    split, ignore = splits_of(config)[0], config.ignore or ()
    return open_dataset(config.data, split, config.num_classes, config.dataset, ignore)


def splits_of(config: Config) -> tuple[str, str | None]:
    """The splits to train and to validate on: as set, or as the data set has them; a missing `val` is None.

    Errors: DataError where there is no such folder, layout or split.
    """
    if not config.data:
        raise DataError("no data set given", ["--data DIR, a folder with images/ and masks/, or CamVid's layout"])
    kind, root = recognise(config.data, config.dataset)
    there = kind.splits(root)
    train, val = config.train_split or kind.about.train, config.val_split or kind.about.val
    for name, split in (("train_split", train), ("val_split", config.val_split)):
        if split is not None and split not in there:
            problem = f"{root}: has no split '{split}', only {', '.join(there)}"
            raise DataError(problem, f"{flag(name)} takes one of these")
    return train, val if val in there else None


def check_batches(config: Config, histogram: Histogram) -> None:
    """Images of different sizes do not fit into one batch unless they are resized or cropped."""
    if config.size is None and config.crop is None and config.batch_size > 1 and len(histogram.sizes) > 1:
        (h, w), (h2, w2) = list(histogram.sizes)[:2]
        raise SettingError(
            f"the images have {len(histogram.sizes)} different sizes ({w}x{h}, {w2}x{h2} …), and a batch needs one: "
            "--size 320x240 resizes them all, --crop 256 cuts pieces of one size, --batch-size 1 takes them as they are"
        )


def class_weights(config: Config, data: Data) -> np.ndarray | None:
    """The loss weights that --class-weights asks for, (K,), or None. A file's must have been read, see below."""
    if config.class_weights == "none":
        return None
    if config.class_weight_values is not None:
        return np.float32(config.class_weight_values)
    if data.histogram is None:
        raise SettingError(
            f"--class-weights {config.class_weights} needs a data set of files; generated shapes occur equally often"
        )
    if config.class_weights == "median":
        return median_frequency(data.histogram.pixels, data.histogram.pixels_of_images).astype(np.float32)
    return inverse_frequency(data.histogram.pixels).astype(np.float32)


def with_weights_of_file(config: Config, classes: Classes, way_out: str) -> Config:
    """The settings, with the numbers of the file of class weights that they name, if they name one.

    A run keeps these numbers among its settings, so that it can be resumed and repeated without the file. While the
    file is there, it must still say the same; `way_out` says what to do where it does not.
    Errors: SettingError where it does not, or where the numbers are not one for each class; DataError for a bad file.
    """
    path, kept = config.weights_file, config.class_weight_values
    if path is None:
        return config
    if kept is not None and len(kept) != len(classes):
        raise SettingError(f"class_weight_values has {len(kept)} numbers, but the data set {len(classes)} classes")
    if kept is not None and not path.exists():
        return config
    read = tuple(read_class_weights(path, classes).tolist())
    for name, now, before in zip(classes.names, read, kept or read, strict=True):
        if now != before:
            raise SettingError(
                f"{path}: has changed since its weights were taken: that of '{name}' was {before:g} and is {now:g}; "
                f"change it back or move it away, and the weights kept with the settings are used; {way_out}"
            )
    return replace(config, class_weight_values=read)


def new_trainer(
    config: Config, data: Data, folder: RunFolder, device: str, listener: Listener | None = None
) -> tuple[Trainer, TransplantReport | None]:
    """A trainer at its first step, and what became of --init's weights. Nothing is written yet.

    The trainer's `config` is the one to keep: it has the numbers of a file of class weights.
    """
    anew = f"to train with the new ones, say so: --class-weights {shlex.quote(config.class_weights)}"
    config = with_weights_of_file(config, data.train.classes, anew)
    manual_seed(config.seed)
    images = data.train
    options = {**config.model_options(), **options_for(config, images)}
    network = Network.build(config.model_name, images.classes, config.size, images.tasks, images, **options)
    return assemble(config, network, data, folder, device, listener), start_weights(config, network)


def options_for(config: Config, images: Dataset) -> dict[str, Any]:
    """What `models.build` is given because of the images: how many channels they have, and where these are joined.

    Errors: SettingError where the network cannot be had for such images, or the settings are for others.
    """
    entry, C, others = NAMES[config.model_name], images.channels, "--model fcn32s, fcn16s or fcn8s"
    if images.tasks and not entry.has_parts:
        tasks = " and ".join(images.tasks)
        raise SettingError(f"--model {config.model} has one head, but there are two tasks, {tasks}: {others}")
    if C == 3:
        for name in ("fusion", "init_hha"):
            if getattr(config, name) is not None:
                raise SettingError(
                    f"{flag(name)} is for images of more than three channels, colour and HHA (--dataset "
                    "nyudv2-rgb-hha), and these have three: leave it out"
                )
        return {}
    if entry.kind != "fcn":
        raise SettingError(f"--model {config.model} takes images of three channels, and these have {C}: {others}")
    if config.fusion == "early":
        if config.init_hha is not None:
            raise SettingError("--init-hha is for a network of two streams, and --fusion early has one: --init alone")
        return {"in_channels": C}
    if not entry.has_parts:
        raise SettingError(f"--model {config.model} has no form with two streams: {others}; or --fusion early")
    return {"in_channels": C, "fusion": "late"}


def resumed_trainer(
    path: str | Path,
    changes: dict[str, Any],
    device: str,
    listener: Listener | None = None,
    progress: Progress | None = None,
) -> Trainer:
    """The trainer of a stopped run, about to take the step that would have come next.

    path: the run folder, or its last.safetensors. changes: settings given anew, of those in MAY_CHANGE.
    Errors: CheckpointError where there is nothing to resume; SettingError where settings or data have changed.
    """
    folder = run_folder_of(path)
    checkpoint = load(folder.last)
    stored = dict(checkpoint.metadata.get("run", {}))
    if not stored:
        raise CheckpointError(f"{folder.last}: cannot be resumed: it holds a network, but no state of a run")
    written, known = Config(**Config.read(folder.config)), Config.from_plain(stored["config"])
    edited = [n for n, value in vars(written).items() if value != getattr(known, n) and n not in MAY_CHANGE]
    if edited:
        raise SettingError(
            f"{folder.config} was changed since the run was saved ({', '.join(edited)}); a resumed run keeps its "
            f"settings: change them back, or start a new run with --init {folder.last}"
        )
    config = replace(known, **changes)
    if config.data != SHAPES and not Path(config.data).is_dir():
        raise DataError(f"{config.data}: no such folder; if the data set has moved, say where: --data NEW_PLACE")
    network = network_from(folder.last, checkpoint.arrays, checkpoint.metadata)
    data = open_data(config, progress, len(network.classes))
    for what, now in data.fingerprint().items():
        if stored["data"].get(what, now) != now:  # older runs did not keep everything
            raise SettingError(
                f"{config.data}: the {what} have changed since the run was saved, so it cannot go on as if nothing had "
                f"happened; start a new run with --init {folder.last}"
            )
    config = with_weights_of_file(config, network.classes, f"or start a new run with --init {folder.last}")
    trainer = assemble(config, network, data, folder, device, listener)
    trainer.restore(checkpoint)
    return trainer


def assemble(
    config: Config, network: Network, data: Data, folder: RunFolder, device: str, listener: Listener | None
) -> Trainer:
    """A Trainer, with the class weights and the data's fingerprint."""
    weights = class_weights(config, data)
    trainer = Trainer(config, network, data.train, data.val, folder, device, weights, listener)
    trainer.data_fingerprint = data.fingerprint()
    return trainer


def run_folder_of(path: str | Path) -> RunFolder:
    """The run folder named by itself or by its last.safetensors."""
    path = Path(path)
    if path.suffix == ".safetensors":
        if path.name != "last.safetensors":
            raise CheckpointError(f"{path}: only a run's last.safetensors can be resumed; or name the run's folder")
        path = path.parent
    folder = RunFolder(path)
    if not folder.last.exists():
        raise CheckpointError(
            f"{folder.last}: no such file, so there is nothing to resume; start a run without --resume"
        )
    return folder
