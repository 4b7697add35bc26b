"""The backbones by name, each in the form in which an FCN uses it."""

from collections.abc import Callable
from functools import partial

from .. import nn
from .alexnet import AlexNet
from .backbone import Backbone
from .bvlc_googlenet import BVLCGoogLeNet
from .caffenet import CaffeNet
from .googlenet import GoogLeNet
from .mobilenet import MobileNetV2
from .resnet import ResNet
from .small import Medium, Small
from .squeezenet import SqueezeNet
from .vgg import VGG16

# name → what makes it, given the number of input channels
BACKBONES: dict[str, Callable[[int], Backbone]] = {
    "small": Small,
    "medium": Medium,
    "vgg16": VGG16,
    "vgg16_bn": partial(VGG16, batch_norm=True),
    "alexnet": partial(AlexNet, padding=100, ceil_mode=True),  # its unpadded windows leave no other way
    "googlenet": GoogLeNet,
    "resnet18": partial(ResNet, 18),
    "resnet34": partial(ResNet, 34),
    "resnet50": partial(ResNet, 50),
    "resnet101": partial(ResNet, 101),
    "squeezenet1_0": partial(SqueezeNet, "1_0"),
    "squeezenet1_1": partial(SqueezeNet, "1_1"),
    "mobilenet_v2": MobileNetV2,
}
# the same for recipe="caffe": the forms in which the paper's authors used them
CAFFE_BACKBONES: dict[str, Callable[[int], Backbone]] = {
    "vgg16": partial(VGG16, padding=100),
    "alexnet": partial(CaffeNet, padding=100),
    "googlenet": BVLCGoogLeNet,
}


def make_backbone(name: str | nn.Module, in_channels: int, batch_norm: bool, recipe: str | None) -> nn.Module:
    """A backbone by name, or one of your own, unchanged. Errors: ValueError for what does not go together."""
    if recipe not in (None, "caffe"):
        raise ValueError(f"recipe {recipe!r} is not known; leave it out, or use 'caffe' for the paper's padding of 100")
    if isinstance(name, nn.Module):
        given = {"batch_norm": batch_norm, "in_channels": in_channels != 3, "recipe": recipe is not None}
        if any(given.values()):
            unused = " and ".join(option for option, is_given in given.items() if is_given)
            raise ValueError(
                f"{unused}: these make a backbone by name, but you pass one of your own ({type(name).__name__}), which "
                "is taken as it is; give them to it when you make it"
            )
        return name
    if name not in BACKBONES:
        raise ValueError(f"backbone {name!r} is not known; there are {', '.join(BACKBONES)}")
    if recipe == "caffe" and name not in CAFFE_BACKBONES:
        raise ValueError(f"recipe 'caffe' is the paper's way with {', '.join(CAFFE_BACKBONES)}; {name!r} has none")
    if batch_norm and name != "small":
        raise ValueError(
            f"batch_norm: only backbone 'small' has the choice of batch norm; {name!r} comes as it is (medium "
            "is small, twice as wide, with batch norm, and vgg16_bn is VGG16 with it)"
        )
    if name == "small":
        return Small(in_channels, batch_norm)
    return (CAFFE_BACKBONES if recipe == "caffe" else BACKBONES)[name](in_channels)
