"""AlexNet in the form that torchvision ships ("One weird trick", Krizhevsky 2014), under torchvision's names.

Eight layers with weights: five convolutions, the first with an 11x11 kernel of stride 4, and three fully connected. It
is the network of 2012 made simpler: no local response norm, and no groups, which had split it over two GPUs. The paper
used the older form, which is in caffenet.py.

As an FCN's backbone it goes the paper's way, `AlexNet(padding=100, ceil_mode=True)`: fc6, a 6x6 window that is not
padded, gives a score even for a 1x1 image, and the first score's centre is pixel 13. With the classifier's padding of 2
it is pixel 111, and the image's first 80 rows would get no score at all.
"""

from typing import ClassVar

from .. import nn
from .backbone import Backbone, Classifier, he_conv


class AlexNet(Backbone):
    """x (N, 3, H, W) → the outputs of the three pools, of stride 8, 16 and 32."""

    channels = (64, 192, 256)
    classifier_names: ClassVar[dict[str, str]] = {"classifier.1": "fc6", "classifier.4": "fc7"}

    def __init__(self, in_channels: int = 3, padding: int = 2, ceil_mode: bool = False) -> None:
        self.head = {"kernel": 6, "padding": 0, "width": 4096}
        self.features = nn.Sequential(
            he_conv(in_channels, 64, 11, stride=4, padding=padding),
            nn.ReLU(),
            nn.MaxPool2d(3, 2, ceil_mode=ceil_mode),
            he_conv(64, 192, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(3, 2, ceil_mode=ceil_mode),
            he_conv(192, 384, 3, padding=1),
            nn.ReLU(),
            he_conv(384, 256, 3, padding=1),
            nn.ReLU(),
            he_conv(256, 256, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(3, 2, ceil_mode=ceil_mode),
        )

    def stages(self) -> tuple[list[nn.Module], ...]:
        layers = list(self.features)
        return layers[:3], layers[3:6], layers[6:]


class AlexNetClassifier(Classifier, AlexNet):
    """x (N, 3, 224, 224) → scores (N, num_classes). Of other sizes, the last map is averaged down (or up) to 6x6."""

    def __init__(self, num_classes: int = 1000, dropout: float = 0.5, in_channels: int = 3) -> None:
        super().__init__(in_channels)
        self.avgpool = nn.AdaptiveAvgPool2d(6)
        self.flatten = nn.Flatten()
        self.classifier = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(256 * 6 * 6, 4096),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(4096, 4096),
            nn.ReLU(),
            nn.Linear(4096, num_classes),
        )

    def top(self) -> list[nn.Module]:
        return [self.avgpool, self.flatten, *self.classifier]
