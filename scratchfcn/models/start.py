"""What a network starts from: the weights of another, whatever its layers are called there.

The paper's networks start from classifiers, and each finer FCN from the one before it (section 4). The files that hold
such weights name things differently: a coarser FCN as ours, torchvision's classifier without the prefix "backbone." and
with numbers for fc6 and fc7, Caffe with names of its own. `start_from` finds each array's place.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from .. import nn
from ..caffe import VGG16_NAMES
from ..surgery import TransplantReport, transplant


def start_from(model: nn.Module, arrays: Mapping[str, Any]) -> TransplantReport:
    """Copy what fits of `arrays` into the model, and report what became of each; see `surgery.transplant`.

    Errors: ValueError where nothing fits at all, naming some of what there is and of what was looked for; the model is
    unchanged then.
    """
    own = model.state_dict()
    places = {name: next((place for place in names_here(model, name) if place in own), name) for name in arrays}
    if not any(place in own and math.prod(arrays[name].shape) == own[place].size for name, place in places.items()):
        theirs, ours = (
            ", ".join(f"{name} {tuple(some[name].shape)}" for name in list(some)[:3]) for some in (arrays, own)
        )
        raise ValueError(
            f"none of these {len(arrays)} arrays has a place in this {type(model).__name__}: they are {theirs} …, "
            f"its own {ours} …; another --model or --backbone?"
        )
    report = transplant(model, arrays, rename=lambda name: places[name])
    arrived = [*report.copied, *(name for name, _, _ in report.reshaped)]
    if hasattr(model, "backbone") and not any(name.startswith("backbone.") for name in arrived):
        report.warnings.append("nothing came over for the backbone: do the weights belong to another one?")
    return report


def names_here(model: nn.Module, name: str) -> Iterator[str]:
    """What an array of this name may be called in the model, likeliest first."""
    name = name.removeprefix("module.").replace("/", "_")  # torch's DataParallel; "conv1/7x7_s2" is no attribute's name
    layer, _, kind = name.rpartition(".")
    in_torchvision = f"{VGG16_NAMES.get(layer, layer)}.{kind}"
    classifier_names = getattr(getattr(model, "backbone", None), "classifier_names", {})
    yield name
    if layer in classifier_names:
        yield f"{classifier_names[layer]}.{kind}"
    yield f"backbone.{name}"
    yield in_torchvision
    yield f"backbone.{in_torchvision}"
