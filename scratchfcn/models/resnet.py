"""ResNet-18, 34, 50 and 101 (He et al. 2016): layers that learn what to add to their input.

A stack of layers that had better do nothing finds it hard to learn that: its weights must multiply to the identity. A
residual block adds its input to what its layers compute, so doing nothing is easy, and gradients reach the first layers
through the additions, undiminished. This is what made networks of a hundred layers train.

    x ──┬── conv, bn, relu ── conv, bn ──(+)── relu ──▶
        └─────────────────────────────────┘   where the block changes the size of x, a 1x1 convolution does so here

Names and details are torchvision's, so that its weights load by name. That is version 1.5: a bottleneck block that
halves the resolution does so in its 3x3 convolution; in the paper its first 1x1 convolution does, and three quarters
of the block's input is never looked at.

For dense prediction the last layers can keep their resolution: a stride is left out and the convolutions behind it are
dilated instead (`replace_stride_with_dilation`), so that each still sees what it saw. The weights stay the same.

Every window that moves by more than one pixel is odd and padded by half of it. So pixel i of a map of stride s is
centred on pixel s·i of the image: on the first of its s pixels, and not on their middle, where VGG's is.
"""

from .. import nn
from ..geometry import Window, widest
from ..tensor import Tensor
from .backbone import Backbone, Classifier, he_conv_no_bias, up_to_last_centre


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and the shortcut: (N, in_channels, H, W) → (N, width, ⌈H/stride⌉, ⌈W/stride⌉)."""

    expansion = 1  # output channels per `width`

    def __init__(self, in_channels: int, width: int, stride: int = 1, dilation: int = 1) -> None:
        if dilation != 1:
            raise ValueError("BasicBlock: only bottleneck blocks can be dilated; use a ResNet of depth 50 or 101")
        self.conv1 = he_conv_no_bias(in_channels, width, 3, stride, padding=1)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU()
        self.conv2 = he_conv_no_bias(width, width, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = shortcut(in_channels, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return self.relu(y + (self.downsample(x) if self.downsample is not None else x))

    def windows(self) -> list[Window]:
        branch = self.conv1.windows() + self.conv2.windows()
        return widest(branch, self.downsample.windows() if self.downsample is not None else [])


class Bottleneck(nn.Module):
    """A 3x3 convolution on few channels, between a 1x1 to them and a 1x1 back to four times as many, and the shortcut:
    (N, in_channels, H, W) → (N, 4·width, ⌈H/stride⌉, ⌈W/stride⌉)."""

    expansion = 4

    def __init__(self, in_channels: int, width: int, stride: int = 1, dilation: int = 1) -> None:
        self.conv1 = he_conv_no_bias(in_channels, width, 1)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = he_conv_no_bias(width, width, 3, stride, padding=dilation, dilation=dilation)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = he_conv_no_bias(width, self.expansion * width, 1)
        self.bn3 = nn.BatchNorm2d(self.expansion * width)
        self.relu = nn.ReLU()
        self.downsample = shortcut(in_channels, self.expansion * width, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return self.relu(y + (self.downsample(x) if self.downsample is not None else x))

    def windows(self) -> list[Window]:
        branch = self.conv1.windows() + self.conv2.windows() + self.conv3.windows()
        return widest(branch, self.downsample.windows() if self.downsample is not None else [])


def shortcut(in_channels: int, out_channels: int, stride: int) -> nn.Sequential | None:
    """What makes a block's input fit for adding to its output; None where it fits already."""
    if stride == 1 and in_channels == out_channels:
        return None
    return nn.Sequential(he_conv_no_bias(in_channels, out_channels, 1, stride), nn.BatchNorm2d(out_channels))


BLOCKS = {  # depth → kind of block, and how many of them in layer1 to layer4 (paper, table 1)
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
    101: (Bottleneck, (3, 4, 23, 3)),
}


class ResNet(Backbone):
    """x (N, in_channels, H, W) → the maps behind layer2, layer3 and layer4, of stride 8, 16 and 32.

    depth: 18, 34, 50 or 101. replace_stride_with_dilation: whether layer2, layer3 and layer4 keep their input's
    resolution; (False, True, True) leaves the last map at stride 8. Errors: ValueError for another depth, or for
    dilation in depth 18 or 34, whose blocks torchvision does not dilate either.
    """

    width = 64  # channels within layer1's blocks; every later layer has twice as many as the one before

    def __init__(
        self,
        depth: int,
        in_channels: int = 3,
        replace_stride_with_dilation: tuple[bool, bool, bool] = (False, False, False),
    ) -> None:
        check_resnet(depth, replace_stride_with_dilation)
        block, counts = BLOCKS[depth]
        w1, w2, w3, w4 = (self.width * factor for factor in (1, 2, 4, 8))
        c1, c2, c3, c4 = (block.expansion * w for w in (w1, w2, w3, w4))
        self.channels = (c2, c3, c4)

        self.conv1 = he_conv_no_bias(in_channels, w1, 7, stride=2, padding=3)
        self.bn1 = nn.BatchNorm2d(w1)
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        keep2, keep3, keep4 = replace_stride_with_dilation
        dilation2 = 2 if keep2 else 1  # behind layer2: every stride left out doubles the dilation from there on
        dilation3 = dilation2 * 2 if keep3 else dilation2
        dilation4 = dilation3 * 2 if keep4 else dilation3
        self.layer1 = layer(block, counts[0], w1, w1, 1, 1, 1)
        self.layer2 = layer(block, counts[1], c1, w2, 1 if keep2 else 2, 1, dilation2)
        self.layer3 = layer(block, counts[2], c2, w3, 1 if keep3 else 2, dilation2, dilation3)
        self.layer4 = layer(block, counts[3], c3, w4, 1 if keep4 else 2, dilation3, dilation4)

    def stages(self) -> tuple[list[nn.Module], ...]:
        stem = [self.conv1, self.bn1, self.relu, self.maxpool]
        return [*stem, self.layer1, self.layer2], [self.layer3], [self.layer4]

    def enlarged(self, size: int) -> int:
        return up_to_last_centre(size)


class ResNetClassifier(Classifier, ResNet):
    """x (N, in_channels, H, W) → scores (N, num_classes), of any size: the last map is averaged to one pixel."""

    def __init__(
        self,
        depth: int,
        num_classes: int = 1000,
        in_channels: int = 3,
        replace_stride_with_dilation: tuple[bool, bool, bool] = (False, False, False),
    ) -> None:
        super().__init__(depth, in_channels, replace_stride_with_dilation)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(self.channels[2], num_classes)

    def top(self) -> list[nn.Module]:
        return [self.avgpool, self.flatten, self.fc]


def layer(
    block: type[BasicBlock] | type[Bottleneck],
    count: int,
    in_channels: int,
    width: int,
    stride: int,
    first_dilation: int,
    dilation: int,
) -> nn.Sequential:
    """`count` blocks, the first of which has the stride.

    Where dilation replaced the stride, the first block still has the dilation of the layer before: it reads the pixels
    that it would have read, only at more places. Those behind it must step over the places in between.
    """
    blocks = [block(in_channels, width, stride, first_dilation)]
    blocks += [block(block.expansion * width, width, 1, dilation) for _ in range(count - 1)]
    return nn.Sequential(*blocks)


def check_resnet(depth: int, replace_stride_with_dilation: tuple[bool, bool, bool]) -> None:
    """The depths that there are, and three answers to whether a stride is replaced."""
    if depth not in BLOCKS:
        raise ValueError(f"ResNet: depth {depth!r} is not known; there are {', '.join(map(str, BLOCKS))}")
    if len(replace_stride_with_dilation) != 3:
        raise ValueError(
            "ResNet: replace_stride_with_dilation says True or False for each of layer2, layer3 and layer4, "
            f"got {replace_stride_with_dilation!r}"
        )
    if any(replace_stride_with_dilation) and BLOCKS[depth][0] is BasicBlock:
        raise ValueError(
            f"ResNet: depth {depth} has basic blocks, and only bottleneck blocks can be dilated; use depth 50 or 101, "
            "or leave out replace_stride_with_dilation"
        )
