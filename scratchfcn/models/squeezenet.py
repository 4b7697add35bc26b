"""SqueezeNet (Iandola et al. 2016): as accurate as AlexNet with a fiftieth of its weights, under torchvision's names.

A 3x3 convolution has nine weights for each pair of an input and an output channel. The fire module saves on channels:
a 1x1 convolution squeezes the map to few, then two convolutions side by side expand it again, one 1x1 and one 3x3, and
what they give is joined. There are no fully connected layers: a 1x1 convolution scores the classes everywhere, and the
mean over the map is the answer. This classifier is fully convolutional from the start.

It stops at stride 16. As an FCN's backbone it gets one more pool, of the kind it has, to make the map of stride 32. The
other two maps are taken just before the pool that halves them, where each has seen most.

Nothing of stride 2 is padded, so pixel i of the map of stride s lies at s·i + s - 1. That holds for version 1.1, which
begins with a 3x3 convolution. The 7x7 of version 1.0 would put everything 2 pixels further, where upsampling no longer
reaches the image's first 2 rows; padded by 2, it gives the same grids.
"""

from .. import nn, ops
from ..geometry import Window, widest
from ..tensor import Tensor
from .backbone import Backbone, Classifier, he_conv

CONV1 = {"1_0": (96, 7), "1_1": (64, 3)}  # output channels and kernel of the first convolution
FIRES = {  # to how many channels each fire module squeezes, for every pool that some follow
    "1_0": ((16, 16, 32), (32, 48, 48, 64), (64,)),
    "1_1": ((16, 16), (32, 32), (48, 48, 64, 64)),
}
EXPANSION = 8  # times as many channels leave a fire module as it squeezes to


class Fire(nn.Module):
    """(N, C, H, W) → (N, 8·squeezed, H, W): squeeze to few channels, expand twice, join (their figure 1)."""

    def __init__(self, in_channels: int, squeezed: int) -> None:
        half = EXPANSION * squeezed // 2
        self.squeeze = he_conv(in_channels, squeezed, 1)
        self.expand1x1 = he_conv(squeezed, half, 1)
        self.expand3x3 = he_conv(squeezed, half, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = ops.relu(self.squeeze(x))  # (N, squeezed, H, W)
        return ops.concat([ops.relu(self.expand1x1(x)), ops.relu(self.expand3x3(x))])  # (N, 8·squeezed, H, W)

    def windows(self) -> list[Window]:
        return self.squeeze.windows() + widest(self.expand1x1.windows(), self.expand3x3.windows())


class SqueezeNet(Backbone):
    """x (N, in_channels, H, W) → the maps of stride 8, 16 and 32 that an FCN scores.

    version: "1_1", or "1_0", the paper's, with 2.4 times the work and the same accuracy. padding: of the first
    convolution; by default what gives both versions the same grids. Errors: ValueError for another version.
    """

    def __init__(self, version: str = "1_1", in_channels: int = 3, padding: int | None = None) -> None:
        if version not in FIRES:
            raise ValueError(f"SqueezeNet: version {version!r} is not known; use '1_1' or '1_0'")
        channels, self.kernel = CONV1[version]
        self.padding = (self.kernel - 3) // 2 if padding is None else padding
        layers = [he_conv(in_channels, channels, self.kernel, stride=2, padding=self.padding), nn.ReLU()]
        ends = []  # of each resolution: how many layers and channels lead up to the pool that halves it
        for squeezes in FIRES[version]:
            ends.append((len(layers), channels))
            layers.append(halving_pool())
            for squeezed in squeezes:
                layers.append(Fire(channels, squeezed))
                channels = EXPANSION * squeezed
        self.features = nn.Sequential(*layers)
        self.last_pool = halving_pool()
        _, _, (self.to_8, channels_8) = ends
        self.channels = (channels_8, channels, channels)

    def stages(self) -> tuple[list[nn.Module], ...]:
        layers = list(self.features)
        return layers[: self.to_8], layers[self.to_8 :], [self.last_pool]

    def enlarged(self, size: int) -> int:
        """Odd, so that the first convolution, in steps of 2, ends on the last row; and enough for a pixel of stride 32.

        A pool takes 2n rows or more to give n, so the last of four gives 1 from 16 rows of the first convolution on.
        """
        return max(size | 1, (16 - 1) * 2 + self.kernel - 2 * self.padding)


def halving_pool() -> nn.MaxPool2d:
    """SqueezeNet's pool: windows overlap, and the last one may hang over the edge, so that no row is lost."""
    return nn.MaxPool2d(3, 2, ceil_mode=True)


class SqueezeNetClassifier(Classifier, SqueezeNet):
    """x (N, in_channels, 224, 224) → scores (N, num_classes), none negative: a ReLU comes before the mean.

    classifier_padding: of the last convolution. With 1, as in its authors' Caffe model, a frame of pixels that see
    nothing joins the mean; their score is the bias.
    """

    def __init__(
        self,
        version: str = "1_1",
        num_classes: int = 1000,
        in_channels: int = 3,
        dropout: float = 0.5,
        classifier_padding: int = 0,
    ) -> None:
        super().__init__(version, in_channels, padding=0)
        self.classifier = nn.Sequential(
            nn.Dropout(dropout),
            he_conv(self.channels[1], num_classes, 1, padding=classifier_padding),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
        )
        self.flatten = nn.Flatten()

    def stages(self) -> tuple[list[nn.Module], ...]:
        """Classification ends at stride 16."""
        to_8, to_16, _ = super().stages()
        return to_8, to_16, []

    def top(self) -> list[nn.Module]:
        return [*self.classifier, self.flatten]
