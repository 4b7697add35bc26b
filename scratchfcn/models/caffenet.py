"""CaffeNet, the AlexNet that the paper's FCN-AlexNet is made of, under Caffe's layer names.

It is the network of Krizhevsky et al. 2012 as Caffe's authors trained it. Two things set it apart from torchvision's
(alexnet.py). Its second, fourth and fifth convolution have two groups, each of which sees half of the channels: in 2012
every half lived on a GPU of its own. And behind the first two pools stands a local response norm, which divides each
value by the energy of the five channels around it; in AlexNet it stands before the pool.

Caffe's pools round up. `padding=100` is the paper's FCN, which has a score for every image from 1x1 on and lies on it
as AlexNet's does; `padding=0` is the classifier.
"""

from typing import ClassVar

from .. import nn
from .backbone import Backbone, Classifier, he_conv


class CaffeNet(Backbone):
    """x (N, 3, H, W) → pool1, pool2, pool5: the feature maps of stride 8, 16 and 32."""

    channels = (96, 256, 256)
    classifier_names: ClassVar[dict[str, str]] = {"fc6": "fc6", "fc7": "fc7"}

    def __init__(self, in_channels: int = 3, padding: int = 0) -> None:
        self.head = {"kernel": 6, "padding": 0, "width": 4096}
        self.relu = nn.ReLU()
        self.conv1 = he_conv(in_channels, 96, 11, stride=4, padding=padding)
        self.pool1 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.norm1 = nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75)
        self.conv2 = he_conv(96, 256, 5, padding=2, groups=2)
        self.pool2 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.norm2 = nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75)
        self.conv3 = he_conv(256, 384, 3, padding=1)
        self.conv4 = he_conv(384, 384, 3, padding=1, groups=2)
        self.conv5 = he_conv(384, 256, 3, padding=1, groups=2)
        self.pool5 = nn.MaxPool2d(3, 2, ceil_mode=True)

    def stages(self) -> tuple[list[nn.Module], ...]:
        relu = self.relu
        return (
            [self.conv1, relu, self.pool1],
            [self.norm1, self.conv2, relu, self.pool2],
            [self.norm2, self.conv3, relu, self.conv4, relu, self.conv5, relu, self.pool5],
        )


class CaffeNetClassifier(Classifier, CaffeNet):
    """x (N, 3, 227, 227) → scores (N, num_classes). fc6 takes the 6x6 map that images of this size lead to."""

    def __init__(self, num_classes: int = 1000, dropout: float = 0.5, in_channels: int = 3) -> None:
        super().__init__(in_channels)
        self.flatten = nn.Flatten()
        self.fc6 = nn.Linear(256 * 6 * 6, 4096)
        self.fc7 = nn.Linear(4096, 4096)
        self.fc8 = nn.Linear(4096, num_classes)
        self.dropout = nn.Dropout(dropout)

    def top(self) -> list[nn.Module]:
        return [self.flatten, self.fc6, self.relu, self.dropout, self.fc7, self.relu, self.dropout, self.fc8]
