"""torchvision's FCN: a dilated ResNet, one small head, and plain resizing.

Four years after the paper, this is what many people mean by "FCN". It reaches stride 8 in another way: nothing is
fused, because the backbone gives up its last two strides for dilation, and its last map is as fine as pool3. No
upsampling is learned: the scores are resized bilinearly to the image's size. In training, a second head scores the
map before the last, so that the deep backbone gets a gradient halfway up (`aux_loss`).

Names are torchvision's, so that its weights load by name; those it publishes have 21 classes and the second head.

Resizing takes each score for the middle of its 8x8 pixels, 8·i + 3.5, but the maps of a ResNet are centred on 8·i (see
resnet.py): its predictions are asked for 3.5 pixels from where the features were. The trained weights know that.
"""

from .. import nn, ops
from ..geometry import Grid
from ..tensor import Tensor
from .backbone import he_conv_no_bias
from .resnet import ResNet

# loss = cross entropy of "out" + AUX_WEIGHT · that of "aux". Source: torchvision, references/segmentation/train.py.
AUX_WEIGHT = 0.5


class FCNHead(nn.Sequential):
    """Features (N, in_channels, H, W) → scores (N, num_classes, H, W), by way of a quarter as many channels."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        width = in_channels // 4
        super().__init__(
            he_conv_no_bias(in_channels, width, 3, padding=1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Dropout(0.1),
            nn.Conv2d(width, num_classes, 1),
        )


class FCNResNet(nn.Module):
    """x (N, in_channels, H, W) → {"out": scores (N, num_classes, H, W)}, and "aux" of the same shape with `aux_loss`.

    depth: of the ResNet, 50 or 101. score_grid: where the scores lie on the image before they are resized.
    """

    def __init__(self, depth: int, num_classes: int = 21, aux_loss: bool = False, in_channels: int = 3) -> None:
        if num_classes < 1:
            raise ValueError(f"FCNResNet: num_classes must be at least 1, got {num_classes}")
        self.num_classes = num_classes
        self.backbone = ResNet(depth, in_channels, replace_stride_with_dilation=(False, True, True))
        _, layer3, layer4 = self.backbone.channels
        self.classifier = FCNHead(layer4, num_classes)
        self.aux_classifier = FCNHead(layer3, num_classes) if aux_loss else None
        self.score_grid = Grid().through(*self.backbone.windows(), *self.classifier.windows())

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        size = x.shape[2:]
        _, layer3, layer4 = self.backbone.maps(x)  # (N, ., H/8, W/8), both
        scores = {"out": ops.resize_bilinear(self.classifier(layer4), size)}
        if self.aux_classifier is not None:
            scores["aux"] = ops.resize_bilinear(self.aux_classifier(layer3), size)
        return scores


def fcn_resnet50(num_classes: int = 21, aux_loss: bool = False, in_channels: int = 3) -> FCNResNet:
    """torchvision's fcn_resnet50: x (N, in_channels, H, W) → scores by name, each (N, num_classes, H, W)."""
    return FCNResNet(50, num_classes, aux_loss, in_channels)


def fcn_resnet101(num_classes: int = 21, aux_loss: bool = False, in_channels: int = 3) -> FCNResNet:
    """torchvision's fcn_resnet101: x (N, in_channels, H, W) → scores by name, each (N, num_classes, H, W)."""
    return FCNResNet(101, num_classes, aux_loss, in_channels)
