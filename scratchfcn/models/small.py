"""The small backbone: VGG's plan at a size that trains on two CPU cores; and the same, twice as wide, for a GPU.

Five stages, each of two 3x3 convolutions with ReLU and a 2x2 max pool that halves the resolution, so that stage i's
output has stride 2^i. The pools round up: no row or column is lost, whatever the image's size.
"""

from .. import nn
from .backbone import Backbone, he_conv, he_conv_no_bias


class Small(Backbone):
    """x (N, 3, H, W) → pool3, pool4, pool5: the feature maps of stride 8, 16 and 32 that an FCN scores."""

    widths = (16, 32, 64, 128, 128)
    channels = (64, 128, 128)  # of pool3, pool4, pool5

    def __init__(self, in_channels: int = 3, batch_norm: bool = False) -> None:
        c1, c2, c3, c4, c5 = self.widths
        self.head = {"kernel": 3, "padding": 1, "width": 2 * c5}  # fc6's window, and the width of fc6 and fc7
        self.stage1 = stage(in_channels, c1, batch_norm)
        self.stage2 = stage(c1, c2, batch_norm)
        self.stage3 = stage(c2, c3, batch_norm)
        self.stage4 = stage(c3, c4, batch_norm)
        self.stage5 = stage(c4, c5, batch_norm)

    def stages(self) -> tuple[list[nn.Module], ...]:
        return [self.stage1, self.stage2, self.stage3], [self.stage4], [self.stage5]


class Medium(Small):
    """Four times the weights and the arithmetic, and always with batch norm: what is to be trained from scratch, at a
    photograph's full size, on a GPU."""

    widths = (32, 64, 128, 256, 256)
    channels = (128, 256, 256)

    def __init__(self, in_channels: int = 3) -> None:
        super().__init__(in_channels, batch_norm=True)


def stage(in_channels: int, out_channels: int, batch_norm: bool) -> nn.Sequential:
    """Two 3x3 convolutions and a pool: (N, in_channels, H, W) → (N, out_channels, ⌈H/2⌉, ⌈W/2⌉)."""
    layers: list[nn.Module] = []
    for channels in (in_channels, out_channels):
        if batch_norm:
            layers += [he_conv_no_bias(channels, out_channels, 3, padding=1), nn.BatchNorm2d(out_channels)]
        else:
            layers.append(he_conv(channels, out_channels, 3, padding=1))
        layers.append(nn.ReLU())
    return nn.Sequential(*layers, nn.MaxPool2d(2, ceil_mode=True))
