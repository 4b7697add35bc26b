"""Every network by name: `build("fcn8s_small", num_classes=7)`, and what `scratchfcn models` lists."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import partial
from typing import Any

from ..nn import Module
from .alexnet import AlexNetClassifier
from .backbones import BACKBONES
from .bvlc_googlenet import BVLCGoogLeNetClassifier
from .caffenet import CaffeNetClassifier
from .d2l_fcn import d2l_fcn_resnet18
from .fcn import fcn8s, fcn8s_at_once, fcn16s, fcn32s, fcn32s_fixed
from .fusion import SCORE_LAYERS, two_heads, two_stream
from .googlenet import GoogLeNetClassifier
from .keras_fcn import ENCODERS as KERAS_ENCODERS
from .keras_fcn import fcn_8, fcn_32
from .mobilenet import MobileNetV2Classifier
from .resnet import ResNetClassifier
from .squeezenet import SqueezeNetClassifier
from .torchvision_fcn import fcn_resnet50, fcn_resnet101
from .vgg import VGG16Classifier


@dataclass(frozen=True)
class Entry:
    """One network. kind: "fcn" (the paper's, over a backbone), "classifier" or "descendant" (other people's FCNs).

    make(num_classes=…, **options) builds it; default_classes: where `build` is told no number of classes;
    training_options: further options that training builds it with. Every "fcn" takes images of any in_channels.
    """

    name: str
    kind: str
    about: str
    make: Callable[..., Module]
    default_classes: int = 21
    training_options: Mapping[str, Any] = field(default_factory=dict)  # options that only training needs
    recipe: str | None = None  # "caffe": it is made, and fed, as the paper's authors did
    has_dropout: bool = False  # whether it has the option
    has_parts: bool = False  # whether it can be had with two streams or two heads, see `with_parts`


def all_entries() -> list[Entry]:
    """The networks in the order in which they are listed."""
    return [*fcns(), *classifiers(), *descendants()]


def fcns() -> list[Entry]:
    """The paper's networks, each over each backbone."""
    kinds = {
        "fcn32s": (fcn32s, "one prediction of stride 32"),
        "fcn16s": (fcn16s, "32s and a skip from stride 16"),
        "fcn8s": (fcn8s, "16s and a skip from stride 8"),
        "fcn8s_at_once": (fcn8s_at_once, "8s with scaled skips, trained without stages"),
        "fcn32s_fixed": (fcn32s_fixed, "32s of which only the last layer learns"),
    }
    makers = {kind: partial(with_parts, kind) if kind in SCORE_LAYERS else make for kind, (make, _) in kinds.items()}
    papers = {
        "fcn_alexnet": ("the paper's FCN-AlexNet", partial(makers["fcn32s"], "alexnet", recipe="caffe")),
        "fcn_googlenet": ("the paper's FCN-GoogLeNet", partial(makers["fcn32s"], "googlenet", recipe="caffe")),
    }
    return [
        *(
            Entry(name, "fcn", about, make, recipe="caffe", has_dropout=True, has_parts=True)
            for name, (about, make) in papers.items()
        ),
        *(
            Entry(
                f"{kind}_{backbone}",
                "fcn",
                about,
                partial(makers[kind], backbone),
                has_dropout=True,
                has_parts=kind in SCORE_LAYERS,
            )
            for backbone in BACKBONES
            for kind, (_, about) in kinds.items()
        ),
    ]


def with_parts(
    kind: str,
    backbone: str,
    num_classes: int = 21,
    fusion: str = "early",
    num_geometric: int | None = None,
    **options: Any,
) -> Module:
    """An FCN; or, of the same kind and over the same backbone, one with two streams or two heads (see fusion.py).

    fusion: "late" gives each half of in_channels a stream of its own. num_geometric: classes of the second head.
    """
    if fusion not in ("early", "late"):
        raise ValueError(f"fusion {fusion!r} is not known; there are early and late")
    if fusion == "late" and num_geometric is not None:
        raise ValueError(f"{kind}: two streams (fusion late) and two heads (num_geometric) do not go together")
    if fusion == "late":
        return two_stream(kind, backbone, num_classes, **options)
    if num_geometric is not None:
        return two_heads(kind, backbone, num_classes, num_geometric, **options)
    return {"fcn32s": fcn32s, "fcn16s": fcn16s, "fcn8s": fcn8s}[kind](backbone, num_classes, **options)


def classifiers() -> list[Entry]:
    """The networks that the backbones come from, whole."""
    networks = {
        "vgg16": ("Simonyan & Zisserman 2015", VGG16Classifier),
        "vgg16_bn": ("VGG16 with batch norm", partial(VGG16Classifier, batch_norm=True)),
        "alexnet": ("Krizhevsky 2014, without groups", AlexNetClassifier),
        "caffenet": ("Caffe's AlexNet of 2012, which the paper used", CaffeNetClassifier),
        "googlenet": ("Szegedy et al. 2015, as in torchvision", GoogLeNetClassifier),
        "bvlc_googlenet": ("Caffe's GoogLeNet, which the paper used", BVLCGoogLeNetClassifier),
        "resnet18": ("He et al. 2016", partial(ResNetClassifier, 18)),
        "resnet34": ("He et al. 2016", partial(ResNetClassifier, 34)),
        "resnet50": ("He et al. 2016, v1.5", partial(ResNetClassifier, 50)),
        "resnet101": ("He et al. 2016, v1.5", partial(ResNetClassifier, 101)),
        "squeezenet1_0": ("Iandola et al. 2016", partial(SqueezeNetClassifier, "1_0")),
        "squeezenet1_1": ("the same with less work", partial(SqueezeNetClassifier, "1_1")),
        "mobilenet_v2": ("Sandler et al. 2018", MobileNetV2Classifier),
    }
    return [Entry(name, "classifier", about, make, 1000) for name, (about, make) in networks.items()]


def descendants() -> list[Entry]:
    """Fully convolutional networks that came after the paper's."""
    auxiliary = {"aux_loss": True}
    return [
        Entry("fcn_resnet50", "descendant", "torchvision's, dilated", fcn_resnet50, training_options=auxiliary),
        Entry("fcn_resnet101", "descendant", "torchvision's, dilated", fcn_resnet101, training_options=auxiliary),
        Entry("d2l_fcn_resnet18", "descendant", "Dive into Deep Learning's", d2l_fcn_resnet18),
        *(
            Entry(
                name if encoder == "vanilla" else f"{name}_{encoder}",
                "descendant",
                "keras_segmentation's",
                partial(make, encoder),
                has_dropout=True,
            )
            for encoder in KERAS_ENCODERS
            for name, make in (("fcn_8", fcn_8), ("fcn_32", fcn_32))
        ),
    ]


NAMES = {entry.name: entry for entry in all_entries()}


def build(name: str, num_classes: int | None = None, **options: Any) -> Module:
    """A network by name, for example "fcn8s_small"; `options` go to its builder (batch_norm, recipe …).

    Of the paper's networks they may be in_channels=6, fusion="late" or num_geometric=3, see `with_parts`.
    num_classes: 21, PASCAL VOC's, where nothing is said; 1000, ImageNet's, of a classifier.
    Errors: ValueError for an unknown name, listing those there are; TypeError for an option the network does not have.
    """
    if name not in NAMES:
        near = get_close_matches(name, NAMES, n=5, cutoff=0.4)
        hint = f"the nearest are {', '.join(near)}" if near else f"there are {', '.join(NAMES)}"
        raise ValueError(f"model {name!r} is not known; {hint}; `scratchfcn models` lists all")
    entry = NAMES[name]
    return entry.make(num_classes=entry.default_classes if num_classes is None else num_classes, **options)
