"""VGG16 (Simonyan & Zisserman 2015, configuration D), the paper's strongest backbone, under torchvision's names.

The layers sit in one `features` list, numbered as in torchvision, so that its weights load by name; with batch norm
there are more of them, and the numbers change (torchvision's vgg16_bn).

The classifier's pools round down. As a backbone they round up, as Caffe's did, so that no row is lost. The paper pads
the first convolution by 100 pixels and fc6 by none (`padding=100`): then even a 1x1 image gives a score, and crops put
everything in place. With `padding=1` the network is VGG16 as its authors trained it, and fc6 is padded by 3 instead.
"""

from typing import ClassVar

from .. import nn
from .backbone import Backbone, Classifier, he_conv

STAGES = (
    (64, 64),
    (128, 128),
    (256, 256, 256),
    (512, 512, 512),
    (512, 512, 512),
)  # output channels per 3x3 conv


class VGG16(Backbone):
    """x (N, 3, H, W) → pool3, pool4, pool5: the feature maps of stride 8, 16 and 32 that an FCN scores."""

    channels = (256, 512, 512)
    classifier_names: ClassVar[dict[str, str]] = {"classifier.0": "fc6", "classifier.3": "fc7"}

    def __init__(
        self, in_channels: int = 3, padding: int = 1, batch_norm: bool = False, ceil_mode: bool = True
    ) -> None:
        self.head = {"kernel": 7, "padding": 3 if padding == 1 else 0, "width": 4096}
        layers: list[nn.Module] = []
        self.pools = []  # how many layers lead up to each pool's output
        channels, pad = in_channels, padding
        for widths in STAGES:
            for width in widths:
                layers.append(he_conv(channels, width, 3, padding=pad))
                layers += [nn.BatchNorm2d(width), nn.ReLU()] if batch_norm else [nn.ReLU()]
                channels, pad = width, 1
            layers.append(nn.MaxPool2d(2, ceil_mode=ceil_mode))
            self.pools.append(len(layers))
        self.features = nn.Sequential(*layers)

    def stages(self) -> tuple[list[nn.Module], ...]:
        _, _, pool3, pool4, pool5 = self.pools
        layers = list(self.features)
        return layers[:pool3], layers[pool3:pool4], layers[pool4:pool5]


class VGG16Classifier(Classifier, VGG16):
    """x (N, 3, 224, 224) → scores (N, num_classes). Of other sizes, the last map is averaged down (or up) to 7x7."""

    def __init__(
        self, num_classes: int = 1000, in_channels: int = 3, batch_norm: bool = False, dropout: float = 0.5
    ) -> None:
        super().__init__(in_channels, batch_norm=batch_norm, ceil_mode=False)
        self.avgpool = nn.AdaptiveAvgPool2d(7)
        self.flatten = nn.Flatten()
        self.classifier = nn.Sequential(
            nn.Linear(512 * 7 * 7, 4096),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(4096, 4096),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(4096, num_classes),
        )

    def top(self) -> list[nn.Module]:
        return [self.avgpool, self.flatten, *self.classifier]
