"""What a network starts from: the weights of another, whatever its layers are called there.

The paper's networks start from classifiers, and each finer FCN from the one before it (section 4). The files that hold
such weights name things differently: a coarser FCN as ours, torchvision's classifier without the prefix "backbone." and
with numbers for fc6 and fc7, Caffe with names of its own. `start_from` takes the naming under which most of them fit.
"""

from collections.abc import Callable, Mapping
from typing import Any

from .. import nn
from ..caffe import FCN_VGG16_NAMES
from ..surgery import TransplantReport, transplant

Naming = Callable[[str], str]


def start_from(model: nn.Module, arrays: Mapping[str, Any]) -> TransplantReport:
    """Copy what fits of `arrays` into the model, and report what became of each; see `surgery.transplant`.

    Errors: ValueError where nothing fits at all, naming some of what there is and of what was looked for.
    """
    own = model.state_dict()
    fits = {naming: sum(naming(name) in own for name in arrays) for naming in namings(model)}
    best = max(fits, key=lambda naming: fits[naming])
    if not fits[best]:
        theirs, ours = (", ".join(list(names)[:3]) for names in (arrays, own))
        raise ValueError(
            f"none of these {len(arrays)} arrays has a place in this {type(model).__name__}: they are called {theirs} "
            f"…, its own {ours} …"
        )
    return transplant(model, arrays, rename=best)


def namings(model: nn.Module) -> list[Naming]:
    """The ways in which weights for this model may be called, as functions to its own names."""

    def as_it_is(name: str) -> str:
        return name

    backbone = getattr(model, "backbone", None)
    if backbone is None:
        return [as_it_is]
    classifier_names = getattr(backbone, "classifier_names", {})

    def from_classifier(name: str) -> str:
        layer, dot, rest = name.rpartition(".")
        if layer in classifier_names:
            return classifier_names[layer] + dot + rest
        return f"backbone.{name.replace('/', '_')}"  # "conv1/7x7_s2" is no name for an attribute

    def from_caffe(name: str) -> str:
        layer, dot, rest = name.rpartition(".")
        return FCN_VGG16_NAMES.get(layer, layer) + dot + rest

    return [as_it_is, from_classifier, from_caffe]
