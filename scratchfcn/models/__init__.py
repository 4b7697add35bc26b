"""The networks. `build("fcn8s_small", num_classes=7)` makes one by name; `scratchfcn models` lists the names."""

from .alexnet import AlexNet, AlexNetClassifier
from .backbone import Backbone, Classifier
from .backbones import BACKBONES
from .bvlc_googlenet import BVLCGoogLeNet, BVLCGoogLeNetClassifier
from .caffenet import CaffeNet, CaffeNetClassifier
from .catalogue import NAMES, Entry, build
from .convolutionalize import convolutionalize
from .d2l_fcn import D2LFCN, d2l_fcn_resnet18
from .dense import rarefy, shift_and_stitch
from .fcn import (
    FCN,
    FCN8s,
    FCN8sAtOnce,
    FCN16s,
    FCN32s,
    FCN32sFixed,
    fcn8s,
    fcn8s_at_once,
    fcn16s,
    fcn32s,
    fcn32s_fixed,
)
from .fusion import TwoHeads, TwoStream, two_heads, two_stream
from .googlenet import GoogLeNet, GoogLeNetClassifier
from .keras_fcn import fcn_8, fcn_32
from .mobilenet import MobileNetV2, MobileNetV2Classifier
from .resnet import ResNet, ResNetClassifier
from .small import Small
from .squeezenet import SqueezeNet, SqueezeNetClassifier
from .start import start_from, start_streams
from .torchvision_fcn import FCNHead, FCNResNet, fcn_resnet50, fcn_resnet101
from .vgg import VGG16, VGG16Classifier

__all__ = [
    "BACKBONES",
    "D2LFCN",
    "FCN",
    "NAMES",
    "VGG16",
    "AlexNet",
    "AlexNetClassifier",
    "BVLCGoogLeNet",
    "BVLCGoogLeNetClassifier",
    "Backbone",
    "CaffeNet",
    "CaffeNetClassifier",
    "Classifier",
    "Entry",
    "FCN8s",
    "FCN8sAtOnce",
    "FCN16s",
    "FCN32s",
    "FCN32sFixed",
    "FCNHead",
    "FCNResNet",
    "GoogLeNet",
    "GoogLeNetClassifier",
    "MobileNetV2",
    "MobileNetV2Classifier",
    "ResNet",
    "ResNetClassifier",
    "Small",
    "SqueezeNet",
    "SqueezeNetClassifier",
    "TwoHeads",
    "TwoStream",
    "VGG16Classifier",
    "build",
    "convolutionalize",
    "d2l_fcn_resnet18",
    "fcn8s",
    "fcn8s_at_once",
    "fcn16s",
    "fcn32s",
    "fcn32s_fixed",
    "fcn_8",
    "fcn_32",
    "fcn_resnet50",
    "fcn_resnet101",
    "rarefy",
    "shift_and_stitch",
    "start_from",
    "start_streams",
    "two_heads",
    "two_stream",
]
