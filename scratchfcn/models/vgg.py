"""VGG16 (Simonyan & Zisserman 2015, configuration D), the paper's strongest backbone, under torchvision's names.

The layers sit in one `features` list, numbered as in torchvision, so that its weights load by name. Pools
round up, as Caffe's did. The paper pads the first convolution by 100 pixels and fc6 by none (`padding=100`): then
even a 1x1 image gives a score, and crops put everything in place. With `padding=1` the network is VGG16 as its
authors trained it, and fc6 is padded by 3 instead.
"""

from .. import nn
from ..geometry import Window
from ..tensor import Tensor

STAGES = (
    (64, 64),
    (128, 128),
    (256, 256, 256),
    (512, 512, 512),
    (512, 512, 512),
)  # output channels per 3x3 conv


class VGG16(nn.Module):
    """x (N, 3, H, W) → pool3, pool4, pool5: the feature maps of stride 8, 16 and 32 that an FCN scores."""

    channels = (256, 512, 512)

    def __init__(self, in_channels: int = 3, padding: int = 1) -> None:
        self.head = {"kernel": 7, "padding": 3 if padding == 1 else 0, "width": 4096}
        layers: list[nn.Module] = []
        self.pools = []  # how many layers lead up to each pool's output
        channels, pad = in_channels, padding
        for stage in STAGES:
            for width in stage:
                layers += [nn.Conv2d(channels, width, 3, padding=pad), nn.ReLU()]
                nn.init.he(layers[-2].weight)
                nn.init.zeros(layers[-2].bias)
                channels, pad = width, 1
            layers.append(nn.MaxPool2d(2, ceil_mode=True))
            self.pools.append(len(layers))
        self.features = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        maps = []
        for i, layer in enumerate(self.features, start=1):
            x = layer(x)
            if i in self.pools[2:]:
                maps.append(x)
        pool3, pool4, pool5 = maps  # (N, 256, H/8, W/8), (N, 512, H/16, W/16), (N, 512, H/32, W/32)
        return pool3, pool4, pool5

    def pool_windows(self) -> tuple[list[Window], list[Window], list[Window]]:
        """The windows on the way to pool3, from there to pool4, and from there to pool5."""
        _, _, pool3, pool4, pool5 = self.pools
        return (
            self.features[:pool3].windows(),
            self.features[pool3:pool4].windows(),
            self.features[pool4:pool5].windows(),
        )
