"""GoogLeNet (Szegedy et al. 2015) in torchvision's form, and under torchvision's names.

What size should a convolution's window be? An inception module does not choose: it looks at its input through a 1x1
convolution, a 3x3 one, a larger one and a max pool side by side, and puts the four results into one map, channel after
channel. Cheap 1x1 convolutions narrow what goes into the expensive ones. Nine such modules make a network of 22 layers
with a ninth of AlexNet's weights, because a mean over the last map replaces the large fully connected layers.

Torchvision's form differs from the paper's (bvlc_googlenet.py): every convolution has a batch norm instead of a bias,
the "5x5" branch has a 3x3 kernel (a mistake that was kept, because weights had been trained with it), and the last
pool's window is 2x2. So a pixel of the last map sees 379 pixels of the image instead of 715.
"""

from collections.abc import Sequence
from itertools import chain
from typing import Any, NamedTuple

from .. import nn, ops
from ..backend import array_module
from ..geometry import Window, widest
from ..tensor import Tensor
from .backbone import Backbone, Classifier, he_conv_no_bias

# Channels of each inception module: input | 1x1 | narrowed for 3x3, 3x3 | narrowed for 5x5, 5x5 | behind the pool
INCEPTIONS = {
    "3a": (192, 64, 96, 128, 16, 32, 32),
    "3b": (256, 128, 128, 192, 32, 96, 64),
    "4a": (480, 192, 96, 208, 16, 48, 64),
    "4b": (512, 160, 112, 224, 24, 64, 64),
    "4c": (512, 128, 128, 256, 24, 64, 64),
    "4d": (512, 112, 144, 288, 32, 64, 64),
    "4e": (528, 256, 160, 320, 32, 128, 128),
    "5a": (832, 256, 160, 320, 32, 128, 128),
    "5b": (832, 384, 192, 384, 48, 128, 128),
}

# How images are normalised for torchvision's weights: (x - mean) / std, of red, green and blue in 0…1
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class GoogLeNet(Backbone):
    """x (N, 3, H, W) → the outputs of inception 3b, 4e and 5b, of stride 8, 16 and 32.

    transform_input: whether images come with ImageNet's mean and deviation and are brought to those that torchvision's
    pretrained weights expect, 0.5 and 0.5.
    """

    channels = (480, 832, 1024)

    def __init__(self, in_channels: int = 3, transform_input: bool = False) -> None:
        if transform_input and in_channels != 3:
            raise ValueError(
                f"GoogLeNet: transform_input speaks of red, green and blue, but in_channels is {in_channels}; "
                "leave one of the two out"
            )
        self.transform_input = transform_input
        self.transform = TransformInput() if transform_input else None
        self.conv1 = BasicConv2d(in_channels, 64, 7, stride=2, padding=3)
        self.maxpool1 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.conv2 = BasicConv2d(64, 64, 1)
        self.conv3 = BasicConv2d(64, 192, 3, padding=1)
        self.maxpool2 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.inception3a = Inception(*INCEPTIONS["3a"])
        self.inception3b = Inception(*INCEPTIONS["3b"])
        self.maxpool3 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.inception4a = Inception(*INCEPTIONS["4a"])
        self.inception4b = Inception(*INCEPTIONS["4b"])
        self.inception4c = Inception(*INCEPTIONS["4c"])
        self.inception4d = Inception(*INCEPTIONS["4d"])
        self.inception4e = Inception(*INCEPTIONS["4e"])
        self.maxpool4 = nn.MaxPool2d(2, 2, ceil_mode=True)
        self.inception5a = Inception(*INCEPTIONS["5a"])
        self.inception5b = Inception(*INCEPTIONS["5b"])

    def stages(self) -> tuple[list[nn.Module], ...]:
        to_3b = [self.conv1, self.maxpool1, self.conv2, self.conv3, self.maxpool2, self.inception3a, self.inception3b]
        if self.transform is not None:
            to_3b.insert(0, self.transform)
        inceptions4 = [self.inception4a, self.inception4b, self.inception4c, self.inception4d, self.inception4e]
        return to_3b, [self.maxpool3, *inceptions4], [self.maxpool4, self.inception5a, self.inception5b]

    def enlarged(self, size: int) -> int:
        """Of fewer than 15 rows one pool gets a single one, and a window of three needs two even where it rounds up."""
        return max(size, 15)


class GoogLeNetOutputs(NamedTuple):
    """What the classifier returns in training: three rows of scores (N, K), the last two from halfway down."""

    logits: Tensor
    aux_logits2: Tensor
    aux_logits1: Tensor


class GoogLeNetClassifier(Classifier, GoogLeNet):
    """x (N, 3, 224, 224), or of another size → scores (N, num_classes).

    aux_logits: whether two small classifiers, behind inception 4a and 4d, help in training, to bring gradients to the
    first layers; then training mode returns GoogLeNetOutputs. Their losses are added to the main one with weight 0.3.
    """

    def __init__(
        self,
        num_classes: int = 1000,
        aux_logits: bool = True,
        transform_input: bool = False,
        dropout: float = 0.2,
        dropout_aux: float = 0.7,
        in_channels: int = 3,
    ) -> None:
        super().__init__(in_channels, transform_input)
        self.aux_logits = aux_logits
        if aux_logits:
            self.aux1 = InceptionAux(512, num_classes, dropout_aux)
            self.aux2 = InceptionAux(528, num_classes, dropout_aux)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(1024, num_classes)

    def top(self) -> list[nn.Module]:
        return [self.avgpool, self.flatten, self.dropout, self.fc]

    def forward(self, x: Tensor) -> Tensor | GoogLeNetOutputs:
        if not (self.training and self.aux_logits):
            return super().forward(x)
        for layer in chain(*self.stages(), self.top()):
            x = layer(x)
            if layer is self.inception4a:
                aux_logits1 = self.aux1(x)
            elif layer is self.inception4d:
                aux_logits2 = self.aux2(x)
        return GoogLeNetOutputs(x, aux_logits2, aux_logits1)


class Inception(nn.Module):
    """Four branches over one input, joined: (N, C, H, W) → (N, c1 + c3 + c5 + proj, H, W)."""

    def __init__(self, C: int, c1: int, c3_reduced: int, c3: int, c5_reduced: int, c5: int, proj: int) -> None:
        self.branch1 = BasicConv2d(C, c1, 1)
        self.branch2 = nn.Sequential(BasicConv2d(C, c3_reduced, 1), BasicConv2d(c3_reduced, c3, 3, padding=1))
        self.branch3 = nn.Sequential(BasicConv2d(C, c5_reduced, 1), BasicConv2d(c5_reduced, c5, 3, padding=1))
        self.branch4 = nn.Sequential(nn.MaxPool2d(3, 1, padding=1, ceil_mode=True), BasicConv2d(C, proj, 1))

    def forward(self, x: Tensor) -> Tensor:
        return ops.concat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)])

    def windows(self) -> list[Window]:
        return widest(*(branch.windows() for branch in (self.branch1, self.branch2, self.branch3, self.branch4)))


class InceptionAux(nn.Module):
    """A small classifier halfway down: (N, in_channels, H, W) → scores (N, num_classes)."""

    def __init__(self, in_channels: int, num_classes: int, dropout: float) -> None:
        self.avgpool = nn.AdaptiveAvgPool2d(4)
        self.conv = BasicConv2d(in_channels, 128, 1)
        self.fc1 = nn.Linear(128 * 4 * 4, 1024)
        self.fc2 = nn.Linear(1024, num_classes)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(self.avgpool(x))  # (N, 128, 4, 4)
        x = ops.relu(self.fc1(ops.flatten(x)))  # (N, 1024)
        return self.fc2(self.dropout(x))


class BasicConv2d(nn.Module):
    """Convolution, batch norm and ReLU."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int = 1, padding: int = 0) -> None:
        self.conv = he_conv_no_bias(in_channels, out_channels, kernel, stride, padding)
        self.bn = nn.BatchNorm2d(out_channels, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        return ops.relu(self.bn(self.conv(x)))


class TransformInput(nn.Module):
    """x (N, 3, H, W), normalised with ImageNet's means and deviations → normalised with 0.5 and 0.5."""

    def forward(self, x: Tensor) -> Tensor:
        scale = per_channel(x.data, [std / 0.5 for std in IMAGENET_STD])
        shift = per_channel(x.data, [(mean - 0.5) / 0.5 for mean in IMAGENET_MEAN])
        return x * scale + shift


def per_channel(like: Any, numbers: Sequence[float]) -> Any:
    """(C, 1, 1) of `like`'s dtype, where `like` is. Each number is filled in: a copy of them all, from the host, could
    not be a part of a CUDA graph."""
    filled = array_module(like).empty((len(numbers), 1, 1), like.dtype)
    for c, number in enumerate(numbers):
        filled[c] = number
    return filled
