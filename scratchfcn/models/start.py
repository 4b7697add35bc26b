"""What a network starts from: the weights of another, whatever its layers are called there.

The paper's networks start from classifiers, and each finer FCN from the one before it (section 4). The files that hold
such weights name things differently: a coarser FCN as ours, torchvision's classifier without the prefix "backbone." and
with numbers for fc6 and fc7, Caffe with names of its own. `start_from` finds each array's place.

A net of two inputs or two outputs starts from single ones (section 5). Two streams take a net each, one trained on
colour and one on HHA. Of two heads, the semantic one takes the single net's score layers. And where colour and HHA
enter together, the first convolution's weights are stretched over all channels.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from .. import nn
from ..caffe import VGG16_NAMES
from ..surgery import TransplantReport, expand_input, transplant
from .fusion import UPSAMPLING_LAYERS, TwoHeads, TwoStream

Arrays = Mapping[str, Any]


def start_from(model: nn.Module, arrays: Arrays) -> TransplantReport:
    """Copy what fits of `arrays` into the model, and report what became of each; see `surgery.transplant`.

    A single net's arrays go to both streams of a `TwoStream`; see `start_streams` for two nets.
    Errors: ValueError where nothing fits at all, naming some of what there is and of what was looked for; the model is
    unchanged then.
    """
    if isinstance(model, TwoStream) and not any(name.startswith(("color.", "hha.")) for name in arrays):
        return start_streams(model, arrays, arrays)
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
    stretched = {name: stretch(arrays[name], own[place]) for name, place in places.items() if place in own}
    report = transplant(model, {**arrays, **stretched}, rename=lambda name: places[name])
    for name, x in stretched.items():
        if x is not arrays[name] and places[name] in report.copied:
            report.copied.remove(places[name])
            report.reshaped.append((places[name], tuple(arrays[name].shape), tuple(x.shape)))
    arrived = [*report.copied, *(name for name, _, _ in report.reshaped)]
    if hasattr(model, "backbone") and not any(name.startswith("backbone.") for name in arrived):
        report.warnings.append("nothing came over for the backbone: do the weights belong to another one?")
    return report


def start_streams(model: TwoStream, color: Arrays | None, hha: Arrays | None) -> TransplantReport:
    """Start each stream from a net that was trained alone; None leaves it as it is. The upsampling, which the streams
    share, comes from the first net that has it.

    Errors: ValueError where nothing of one of the nets fits.
    """
    report, shared = TransplantReport(), {}
    upsampling = {f"{layer}.weight" for layer in UPSAMPLING_LAYERS[model.kind]}
    for prefix, stream, arrays in (("color.", model.color, color), ("hha.", model.hha, hha)):
        if arrays is None:
            continue
        shared = {name: arrays[name] for name in upsampling if name in arrays} | shared
        found = start_from(stream, {name: x for name, x in arrays.items() if name not in upsampling})
        report.copied += [prefix + name for name in found.copied]
        report.reshaped += [(prefix + name, old, new) for name, old, new in found.reshaped]
        report.skipped += [(name, f"for {prefix.rstrip('.')}: {reason}") for name, reason in found.skipped]
        report.warnings += [f"{prefix.rstrip('.')}: {text}" for text in found.warnings]
    of_both = transplant(model, shared)
    report.copied += of_both.copied
    report.skipped += of_both.skipped
    arrived = {*report.copied, *(name for name, _, _ in report.reshaped)}
    report.missing = [name for name in model.state_dict() if name not in arrived]
    return report


def stretch(x: Any, own: Any) -> Any:
    """A first convolution for images of three channels, for one of more; see `surgery.expand_input`. Others stay."""
    fits = x.ndim == 4 == own.ndim and x.shape[1] == 3 < own.shape[1]
    alike = fits and (x.shape[0], *x.shape[2:]) == (own.shape[0], *own.shape[2:])
    return expand_input(x, own.shape[1]) if alike else x


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
    if isinstance(model, TwoHeads):
        yield f"semantic.{name}"
