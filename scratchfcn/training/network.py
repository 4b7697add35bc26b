"""A network together with what must be known to use it: its classes, and how its images are prepared.

This is what a checkpoint holds. `load_network("best.safetensors")` needs nothing else to predict: which model to build,
how large its images are, what to subtract from them, and what the classes are called all stand in the file's metadata.

A network with two heads has classes for each. Predictions are made from one of them, the first unless `for_task` says
another, so that whoever predicts need not know that there are more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from .. import models, ops
from ..backend import device_of, keep_freed_memory, to_numpy
from ..data import CAFFE_MEAN, CAFFE_STD, IMAGENET_MEAN, IMAGENET_STD, Classes, Dataset, Normalise, resize_image
from ..nn import Module, init
from ..tensor import Tensor, no_grad
from ..weights import CheckpointError, load
from .config import SettingError
from .objective import main_output

FORMAT = 2  # of the metadata below; raised when an old reader could misunderstand a new file
TASKS = ("semantic", "geometric")  # what a network with two heads calls its outputs
RUN_STATE = "training/"  # names under this prefix belong to the run (the optimiser's arrays), not to the network


@dataclass
class Network:
    """A model and its surroundings. `options` are those of `models.build(name, num_classes, **options)`.

    Of a network with two heads, `tasks` are the classes of each, `task` is the one predicted (None: the first), and
    `classes` are its classes.
    """

    model: Module
    name: str
    options: dict[str, Any]
    classes: Classes
    size: tuple[int, int] | None = None  # (height, width) that images are resized to; None: as they are
    normalise: Normalise = field(default_factory=Normalise)  # from bytes to what the network is fed
    tasks: Mapping[str, Classes] = field(default_factory=dict)
    task: str | None = None

    @classmethod
    def build(
        cls,
        name: str,
        classes: Classes,
        size: tuple[int, int] | None = None,
        tasks: Mapping[str, Classes] | None = None,
        images: Dataset | None = None,
        **options: Any,
    ) -> Network:
        """A new network with initial weights. With recipe="caffe" it is fed as Caffe's networks are.

        tasks: the classes of two heads, by name; `classes` are then the first one's. images: which data set's means it
        is fed with, if that has its own.
        Errors: ValueError for what does not go together.
        """
        if tasks:
            if tuple(tasks) != TASKS:
                raise ValueError(f"Network: heads are called {' and '.join(TASKS)}, not {' and '.join(tasks)}")
            options |= {"num_geometric": len(tasks["geometric"])}
        model = models.build(name, num_classes=len(classes), **options)
        caffe = "caffe" in (options.get("recipe"), models.NAMES[name].recipe)
        normalise = normalise_for(options.get("in_channels", 3), caffe, images)
        return cls(model, name, options, classes, size, normalise, tasks or {})

    @property
    def channels(self) -> int:
        """C of the images that the network takes."""
        return self.options.get("in_channels", 3)

    def for_task(self, task: str | None) -> Network:
        """The same network, predicting another of its tasks; None leaves it as it is.

        Errors: SettingError for a task that it does not have, in the words of the command line.
        """
        if task is None:
            return self
        if task not in self.tasks:
            there = f"there are {' and '.join(self.tasks)}" if self.tasks else "it has a single one: leave --task out"
            raise SettingError(f"--task {task!r}: this network has no such task; {there}")
        return replace(self, task=task, classes=self.tasks[task])

    def metadata(self) -> dict[str, Any]:
        """What `load_network` needs to build this network again, as plain values."""
        tasks = {name: classes.to_dict() for name, classes in self.tasks.items()}
        return {
            "format": FORMAT,
            "model": self.name,
            "options": self.options,
            "classes": next(iter(tasks.values()), self.classes.to_dict()),
            "size": self.size,
            "mean": self.normalise.mean,
            "std": self.normalise.std,
            "bgr": self.normalise.bgr,
            **({"tasks": tasks} if tasks else {}),
        }

    def prepare(self, image: np.ndarray) -> np.ndarray:
        """uint8 (H, W, C) → float32 (1, C, h, w): resized and normalised."""
        if self.size is not None:
            image = resize_image(image, self.size)
        return self.normalise(image, None)[0][None]

    def scores(self, image: np.ndarray, device: str | None = None) -> Tensor:
        """uint8 (H, W, C) → class scores (1, K, H, W) on `device` (None: the model's), at the image's own size."""
        self.model.eval()
        return full_size(self.logits(self.prepare(image), device), image.shape[:2])

    def logits(self, x: np.ndarray, device: str | None = None) -> Tensor:
        """Prepared float32 (N, C, h, w) → class scores (N, K, h, w) on `device` (None: the model's).

        Nothing is kept for a backward pass. Training or evaluation mode stays as it is, layer by layer: Monte Carlo
        dropout wants both at once.
        """
        if device is None:
            device = device_of(next(self.model.parameters()).data)
        with no_grad():
            return main_output(self.model(Tensor(x, device=device)), self.task)  # (N, K, h, w)

    def predict(self, image: np.ndarray, device: str | None = None) -> np.ndarray:
        """uint8 (H, W, C) → the most likely class of every pixel, uint8 (H, W)."""
        return most_likely(self.scores(image, device))[0]

    def probabilities(self, image: np.ndarray, device: str | None = None) -> np.ndarray:
        """uint8 (H, W, C) → the probability of every class at every pixel, float32 (K, H, W)."""
        return ops.softmax(self.scores(image, device), axis=1).numpy()[0]


def normalise_for(channels: int, caffe: bool, images: Dataset | None = None) -> Normalise:
    """How a network of C channels is fed: with the data set's own mean, if it has one, or else ImageNet's or, for the
    paper's networks, VOC's, again for every three channels."""
    own = (None, None, None) if images is None else (images.mean, images.std, images.caffe_mean)
    mean, std, caffe_mean = own
    if caffe:
        subtracted = CAFFE_MEAN if caffe_mean is None else tuple(value / 255 for value in caffe_mean)
        return Normalise(repeated(subtracted, channels), repeated(CAFFE_STD, channels), bgr=True)
    return Normalise(repeated(mean or IMAGENET_MEAN, channels), repeated(std or IMAGENET_STD, channels))


def repeated(numbers: tuple[float, ...], count: int) -> tuple[float, ...]:
    """`count` numbers: these, again from the first where there are fewer."""
    return (numbers * count)[:count]


def full_size(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Class scores (N, K, h, w) resized bilinearly to `size`; resizing scores beats resizing labels."""
    return logits if logits.shape[2:] == tuple(size) else ops.resize_bilinear(logits, size)


def most_likely(logits: Tensor) -> np.ndarray:
    """Class scores (N, K, H, W) → class numbers, uint8 (N, H, W)."""
    classes = logits.data.transpose(0, 2, 3, 1).argmax(axis=3)  # (N, H, W)
    return to_numpy(classes.astype("uint8"))


def load_network(path: str | Path) -> Network:
    """Build the network that a checkpoint of this project describes, with its weights.

    Errors: CheckpointError for a file that is no checkpoint, or that holds weights without saying of what.
    """
    keep_freed_memory()  # for what follows: image after image, and the same large arrays for each
    checkpoint = load(path)
    return network_from(path, checkpoint.arrays, checkpoint.metadata)


def network_from(path: str | Path, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, Any]) -> Network:
    """The network of a checkpoint already read; `path` is named in errors."""
    if "model" not in metadata or "classes" not in metadata:
        raise CheckpointError(
            f"{path}: holds weights but does not say of which model; use a best.safetensors or last.safetensors that "
            "`scratchfcn train` wrote, or give the file to `train --init` to start from its weights"
        )
    if not isinstance(metadata.get("format"), int) or metadata["format"] > FORMAT:
        raise CheckpointError(
            f"{path}: has format {metadata.get('format')}, which a newer scratchfcn may read; upgrade"
        )
    try:
        classes = Classes.from_dict(metadata["classes"])
        size = None if metadata["size"] is None else tuple(metadata["size"])
        tasks = {name: Classes.from_dict(table) for name, table in metadata.get("tasks", {}).items()}
        check_input(size, metadata["mean"], metadata["std"], metadata["options"].get("in_channels", 3))
        with init.skipped():  # every weight is in the file
            network = Network.build(metadata["model"], classes, size, tasks, **metadata["options"])
        if models.NAMES[network.name].kind == "classifier":
            raise ValueError(f"holds {network.name}, which classifies whole images; it can start an FCN: train --init")
        network.normalise = Normalise(tuple(metadata["mean"]), tuple(metadata["std"]), metadata.get("bgr", False))
        network.model.load_state_dict({n: a for n, a in arrays.items() if not n.startswith(RUN_STATE)})
    except (TypeError, KeyError, AttributeError) as error:  # metadata that somebody else wrote
        raise CheckpointError(f"{path}: what it says of its model cannot be understood ({error!r})") from None
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from None
    return network


def check_input(size: Any, mean: Any, std: Any, channels: int) -> None:
    """Errors: ValueError where what a file says of its network's images cannot be."""
    if size is not None and not (len(size) == 2 and all(isinstance(n, int) and n > 0 for n in size)):
        raise ValueError(f"says that images are resized to {size!r}, which is no height and width")
    for what, numbers in (("mean", mean), ("std", std)):
        fit = len(numbers) == channels and all(isinstance(n, int | float) for n in numbers)
        if not fit or (what == "std" and min(numbers) <= 0):
            raise ValueError(f"says that the colours' {what} is {numbers!r}, which cannot be")
