"""GoogLeNet as its paper has it (Szegedy et al. 2015), under the names of Caffe's BVLC GoogLeNet.

The FCN paper's GoogLeNet was the authors' own, and never published; this is the nearest that was. Against torchvision's
form (googlenet.py): convolutions have biases and no batch norm, local response norm stands behind the first pool and
the third convolution, the 5x5 branch is really 5x5, and all pools are 3x3.

The two auxiliary classifiers, which helped to train the deep network before there was batch norm, are left out, as in
the paper: an FCN needs only the final one's features (section 4.1).

The names are Caffe's with "_" for "/", see `name_from_caffe`, so the network keeps its convolutions in one flat list,
and an inception module only says how six of them go together.
"""

import numpy as np

from .. import nn, ops
from ..geometry import Window, widest
from ..tensor import Tensor
from .backbone import Backbone, Classifier, he_conv
from .googlenet import INCEPTIONS


class BVLCGoogLeNet(Backbone):
    """x (N, 3, H, W) → the outputs of inception 3b, 4e and 5b, of stride 8, 16 and 32."""

    channels = (480, 832, 1024)

    def __init__(self, in_channels: int = 3) -> None:
        self.relu = nn.ReLU()
        self.conv1_7x7_s2 = biased_conv(in_channels, 64, 7, stride=2, padding=3)
        self.pool1_3x3_s2 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.pool1_norm1 = nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75)
        self.conv2_3x3_reduce = biased_conv(64, 64, 1)
        self.conv2_3x3 = biased_conv(64, 192, 3, padding=1)
        self.conv2_norm2 = nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75)
        self.pool2_3x3_s2 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.pool3_3x3_s2 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.pool4_3x3_s2 = nn.MaxPool2d(3, 2, ceil_mode=True)
        for name, (C, c1, c3_reduced, c3, c5_reduced, c5, proj) in INCEPTIONS.items():
            convs = {
                "1x1": biased_conv(C, c1, 1),
                "3x3_reduce": biased_conv(C, c3_reduced, 1),
                "3x3": biased_conv(c3_reduced, c3, 3, padding=1),
                "5x5_reduce": biased_conv(C, c5_reduced, 1),
                "5x5": biased_conv(c5_reduced, c5, 5, padding=2),
                "pool_proj": biased_conv(C, proj, 1),
            }
            for part, conv in convs.items():
                setattr(self, f"inception_{name}_{part}", conv)

    def inception(self, name: str) -> "Inception":
        """The module "3a", "3b" …, over this network's convolutions."""
        parts = ("1x1", "3x3_reduce", "3x3", "5x5_reduce", "5x5", "pool_proj")
        return Inception(*(getattr(self, f"inception_{name}_{part}") for part in parts))

    def stages(self) -> tuple[list[nn.Module], ...]:
        relu = self.relu
        stem = [self.conv1_7x7_s2, relu, self.pool1_3x3_s2, self.pool1_norm1]
        stem += [self.conv2_3x3_reduce, relu, self.conv2_3x3, relu, self.conv2_norm2, self.pool2_3x3_s2]
        return (
            [*stem, *(self.inception(name) for name in ("3a", "3b"))],
            [self.pool3_3x3_s2, *(self.inception(name) for name in ("4a", "4b", "4c", "4d", "4e"))],
            [self.pool4_3x3_s2, *(self.inception(name) for name in ("5a", "5b"))],
        )

    def enlarged(self, size: int) -> int:
        """Of fewer than 31 rows one pool gets a single one, and a window of three needs two even where it rounds up."""
        return max(size, 31)


class BVLCGoogLeNetClassifier(Classifier, BVLCGoogLeNet):
    """x (N, 3, 224, 224) → scores (N, num_classes). The last layers take the 7x7 map that this size leads to."""

    def __init__(self, num_classes: int = 1000, dropout: float = 0.4, in_channels: int = 3) -> None:
        super().__init__(in_channels)
        self.pool5_7x7_s1 = nn.AvgPool2d(7, 1)
        self.pool5_drop_7x7_s1 = nn.Dropout(dropout)
        self.flatten = nn.Flatten()
        self.loss3_classifier = nn.Linear(1024, num_classes)

    def top(self) -> list[nn.Module]:
        return [self.pool5_7x7_s1, self.pool5_drop_7x7_s1, self.flatten, self.loss3_classifier]


class Inception(nn.Module):
    """Four branches over one input, joined: (N, C, H, W) → (N, C', H, W). The convolutions belong to the network."""

    def __init__(
        self,
        conv1x1: nn.Conv2d,
        conv3x3_reduce: nn.Conv2d,
        conv3x3: nn.Conv2d,
        conv5x5_reduce: nn.Conv2d,
        conv5x5: nn.Conv2d,
        pool_proj: nn.Conv2d,
    ) -> None:
        relu = nn.ReLU()
        self.branches = nn.ModuleList(
            [
                nn.Sequential(conv1x1, relu),
                nn.Sequential(conv3x3_reduce, relu, conv3x3, relu),
                nn.Sequential(conv5x5_reduce, relu, conv5x5, relu),
                nn.Sequential(nn.MaxPool2d(3, 1, padding=1, ceil_mode=True), pool_proj, relu),
            ]
        )

    def forward(self, x: Tensor) -> Tensor:
        return ops.concat([branch(x) for branch in self.branches])

    def windows(self) -> list[Window]:
        return widest(*(branch.windows() for branch in self.branches))


def biased_conv(in_channels: int, out_channels: int, kernel: int, stride: int = 1, padding: int = 0) -> nn.Conv2d:
    """A convolution with a bias of 0.2, as in Caffe's: at first most ReLUs let something through."""
    conv = he_conv(in_channels, out_channels, kernel, stride, padding)
    nn.init.fill(conv.bias, np.full(out_channels, 0.2))
    return conv


def name_from_caffe(name: str) -> str:
    """A layer's name in BVLC GoogLeNet → here: Python's names have no "/".

    "conv1/7x7_s2" → "conv1_7x7_s2", "inception_3a/5x5_reduce" → "inception_3a_5x5_reduce", "loss3/classifier" →
    "loss3_classifier". A layer's first and second blob are its ".weight" and ".bias", of the same shapes as here.
    """
    return name.replace("/", "_")
