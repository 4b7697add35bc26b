"""What is exported: a network, and what whoever uses the file must know of it.

A checkpoint of a run says all of that itself. A network by name, new or with weights from elsewhere, is fed as its kind
is: ImageNet's mean and deviation in RGB, or Caffe's mean in BGR for the paper's own recipe.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .. import __version__, models, weights
from ..data import CAFFE_MEAN, CAFFE_STD, Classes, Normalise
from ..nn import Module, init
from ..training import Network, SettingError, load_network
from ..training.network import RUN_STATE
from ..weights import CheckpointError

Size = tuple[int, int]  # height and width

CLASSIFIED = (224, 224)  # the size that ImageNet's classifiers were trained on
SEGMENTED = (500, 500)  # about as large as PASCAL VOC's images, and the reference implementation's drawings


@dataclass
class Subject:
    """A network to export. name, options: as `models.build` takes them. classes: None where they have no names.

    size: (height, width) that images are resized to; None: as they are. normalise: from pixels to what it is fed.
    metadata: what `load_network` needs to build it again, empty where it would not. tasks: the classes of two heads.
    """

    model: Module
    name: str
    options: dict[str, Any]
    num_classes: int
    classes: Classes | None
    size: Size | None
    normalise: Normalise
    metadata: dict[str, Any]
    tasks: Mapping[str, Classes] = field(default_factory=dict)

    @property
    def channels(self) -> int:
        """Of an image."""
        return self.options.get("in_channels", 3)

    @property
    def usual_size(self) -> Size:
        """The size of images where nothing else is said."""
        classifier = self.name in models.NAMES and models.NAMES[self.name].kind == "classifier"
        return self.size or (CLASSIFIED if classifier else SEGMENTED)


def from_network(network: Network) -> Subject:
    """A network of a run."""
    return Subject(
        network.model,
        network.name,
        network.options,
        len(network.classes),
        network.classes,
        network.size,
        network.normalise,
        network.metadata(),
        network.tasks,
    )


def from_checkpoint(path: str | Path) -> Subject:
    """The network that a best.safetensors or last.safetensors describes. Errors: those of `load_network`."""
    return from_network(load_network(path))


def by_name(
    name: str, num_classes: int | None = None, recipe: str | None = None, file: str | Path | None = None
) -> Subject:
    """A network by name, with the weights of `file`, or new. "fcn8s" without a backbone is over the small one.

    file: any that weights.load reads; its names must be the network's, all of them.
    Errors: ValueError for a name or recipe that is not known, or weights that do not fit; CheckpointError for the file.
    """
    if name not in models.NAMES and f"{name}_small" in models.NAMES:
        name = f"{name}_small"
    options: dict[str, Any] = {"recipe": recipe} if recipe else {}
    if recipe and name in models.NAMES and models.NAMES[name].kind != "fcn":
        raise SettingError(f"--recipe is for the paper's FCNs; {name} has none")
    if recipe and name in models.NAMES and models.NAMES[name].recipe:
        options = {}  # it is made so anyway
    if file is None:
        model = models.build(name, num_classes, **options)
    else:
        arrays = weights.load(file).arrays
        with init.skipped():  # every weight is in the file
            model = models.build(name, num_classes, **options)
        try:
            model.load_state_dict({key: array for key, array in arrays.items() if not key.startswith(RUN_STATE)})
        except ValueError as error:
            raise CheckpointError(f"{file}: {error}") from None
    entry = models.NAMES[name]
    caffe = "caffe" in (recipe, entry.recipe)
    normalise = Normalise(CAFFE_MEAN, CAFFE_STD, bgr=True) if caffe else Normalise()
    count = num_classes or entry.default_classes
    if entry.kind == "classifier":
        return Subject(model, name, options, count, None, None, normalise, {})
    classes = Classes.voc(count) if count == 21 else Classes.numbered(count)
    network = Network(model, name, options, classes, None, normalise)
    return from_network(network)


def metadata_of(subject: Subject, kind: str, pixels: bool, least: int | None, size: Size) -> dict[str, str]:
    """What an ONNX file says about itself; every value is JSON."""
    facts: dict[str, Any] = {
        "scratchfcn": __version__,
        "model": subject.name,
        "options": subject.options,
        "num_classes": subject.num_classes,
        "input": "pixels" if pixels else "normalised",
        "output": kind,
        "size": list(size) if least is None else "any",
        "mean": subject.normalise.mean,
        "std": subject.normalise.std,
        "bgr": subject.normalise.bgr,
    }
    if subject.size is not None:
        facts["trained_size"] = list(subject.size)
    if least is not None:
        facts["least_size"] = least
    if subject.classes is not None:
        facts["classes"] = list(subject.classes.names)
        facts["colours"] = subject.classes.colours.tolist()
        facts["ignore_index"] = subject.classes.ignore_index
    if subject.tasks:
        facts["tasks"] = {task: list(classes.names) for task, classes in subject.tasks.items()}
    return {name: json.dumps(value) for name, value in facts.items()}


def feeding(subject: Subject, kind: str, pixels: bool, least: int | None, size: Size) -> str:
    """In words: what the file's network takes, and what it gives."""
    (rows, columns), C = size if least is None else ("H", "W"), subject.channels
    if pixels:
        taken = f"image: uint8 (N, {rows}, {columns}, 3), RGB as read from a file"
    else:
        mean, std = (", ".join(f"{n:.6g}" for n in three) for three in (subject.normalise.mean, subject.normalise.std))
        order = "BGR" if subject.normalise.bgr else "RGB"
        order += ", and every further three channels likewise," if C > 3 else ""
        taken = f"image: float32 (N, {C}, {rows}, {columns}), ({order} / 255 - ({mean})) / ({std})"
    if least is not None:
        taken += f"; H and W from {least} up"
    if subject.size is not None:
        taken += f"; it was trained on images resized to {subject.size[1]}x{subject.size[0]}"
    count = " and of the ".join(f"{len(classes)} {task}" for task, classes in subject.tasks.items())
    given = {
        "scores": f"scores of the {count or subject.num_classes} classes, float32",
        "probabilities": f"probabilities of the {count or subject.num_classes} classes, float32",
        "classes": "numbers of the likeliest classes, int64",
    }
    outputs = f"Outputs {' and '.join(subject.tasks)}" if subject.tasks else "Output"
    return f"{taken}. {outputs}: {given[kind]}."
