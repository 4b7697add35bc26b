"""From settings to a trainer: open and check the data, build or restore the network, put the parts together.

Everything that can be wrong with the settings or the data is found here, before a file is written.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..backend import manual_seed
from ..data import DataError, Dataset, Histogram, Shapes, check_splits, split_names
from ..models import start_from
from ..surgery import TransplantReport
from ..weights import CheckpointError, load
from .config import Config, SettingError
from .network import RUN_STATE, Network, network_from
from .run_folder import RunFolder
from .trainer import Listener, Trainer

SHAPES = "shapes"  # --data shapes: generated pictures instead of a folder
SHAPE_KINDS, SHAPE_SIZE, SHAPE_VALIDATION = ("circle", "square", "triangle", "cross"), (64, 64), 100
SHAPES_PER_IMAGE = (1, 2)

MAY_CHANGE = ("data", "workers")  # when a run is resumed: the data set may have moved, and threads change nothing

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
        }


def open_data(config: Config, progress: Progress | None = None, num_classes: int | None = None) -> Data:
    """Open and check the training and validation images that the settings ask for.

    num_classes: in place of the settings' own, where a network exists already.
    Errors: DataError with every problem found; SettingError where the images cannot form batches.
    """
    if config.data == SHAPES:
        if config.num_classes not in (None, len(SHAPE_KINDS) + 1):
            raise SettingError(
                f"--num-classes {config.num_classes}: generated shapes have {len(SHAPE_KINDS) + 1} classes"
            )
        size = config.size or SHAPE_SIZE
        train = Shapes(config.generated, size, config.seed, SHAPES_PER_IMAGE, SHAPE_KINDS)
        unseen = config.seed + 1_000_000  # another seed: none of these is trained on
        val = Shapes(SHAPE_VALIDATION, size, unseen, SHAPES_PER_IMAGE, SHAPE_KINDS)
        return Data(train, val, None)
    if not config.data:
        raise DataError("no data set given", ["--data DIR, a folder with images/ and masks/, or CamVid's layout"])
    if "train" not in split_names(config.data):
        raise DataError(f"{config.data}: has no split 'train', only {', '.join(split_names(config.data))}")
    splits = tuple(name for name in ("train", "val") if name in split_names(config.data))
    checked = check_splits(config.data, num_classes or config.num_classes, progress, splits=splits)
    train, histogram = checked["train"]
    val = checked["val"][0] if "val" in checked else None
    check_batches(config, histogram)
    return Data(train, val, histogram)


def check_batches(config: Config, histogram: Histogram) -> None:
    """Images of different sizes do not fit into one batch unless they are resized or cropped."""
    if config.size is None and config.crop is None and config.batch_size > 1 and len(histogram.sizes) > 1:
        (h, w), (h2, w2) = list(histogram.sizes)[:2]
        raise SettingError(
            f"the images have {len(histogram.sizes)} different sizes ({w}x{h}, {w2}x{h2} …), and a batch needs one: "
            "--size 320x240 resizes them all, --crop 256 cuts pieces of one size, --batch-size 1 takes them as they are"
        )


def class_weights(config: Config, data: Data) -> np.ndarray | None:
    """The loss weights that --class-weights asks for, (K,), or None."""
    if config.class_weights == "none":
        return None
    if data.histogram is None:
        raise SettingError("--class-weights median needs a data set of files; generated shapes occur equally often")
    return data.histogram.median_frequency_weights().astype(np.float32)


def new_trainer(
    config: Config, data: Data, folder: RunFolder, device: str, listener: Listener | None = None
) -> tuple[Trainer, TransplantReport | None]:
    """A trainer at its first step, and what became of --init's weights. Nothing is written yet."""
    manual_seed(config.seed)
    network = Network.build(config.model_name, data.train.classes, config.size, **config.model_options())
    report = None
    if config.init is not None:
        given = load(config.init)
        arrays = {n: a for n, a in given.arrays.items() if not n.startswith(RUN_STATE)}
        try:
            report = start_from(network.model, arrays)
        except ValueError as error:
            raise SettingError(f"--init {config.init}: {error}") from None
        report.warnings += input_warnings(network, given.metadata, str(config.init).endswith(".caffemodel"))
    return assemble(config, network, data, folder, device, listener), report


def input_warnings(network: Network, metadata: dict[str, Any], from_caffe: bool) -> list[str]:
    """What to say where the weights have learned from other images than they will be fed.

    metadata: of the file of weights; of our own checkpoints, it says how their network was fed.
    """
    fed = network.normalise
    if from_caffe and not fed.bgr:
        return ["Caffe's weights expect BGR minus the mean, and this network is fed RGB: --recipe caffe feeds it so"]
    if "mean" not in metadata or "std" not in metadata:
        return []
    learned = (*metadata["mean"], *metadata["std"], metadata.get("bgr", False))
    if np.allclose(learned, (*fed.mean, *fed.std, fed.bgr)):
        return []
    return ["these weights have learned from images that were prepared otherwise (--recipe differs)"]


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
        if stored["data"][what] != now:
            raise SettingError(
                f"{config.data}: the {what} have changed since the run was saved, so it cannot go on as if nothing had "
                f"happened; start a new run with --init {folder.last}"
            )
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
