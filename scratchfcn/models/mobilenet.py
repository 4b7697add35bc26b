"""MobileNetV2 (Sandler et al. 2018): a classifier for telephones, under torchvision's names.

A convolution does two things at once: it looks around, and it mixes channels. MobileNets do one after the other. A
depthwise convolution (as many groups as channels) looks around, 3x3, in each channel by itself; a 1x1 convolution
mixes. Together they cost about an eighth of the 3x3 convolution that does both.

The inverted residual goes like this: a 1x1 convolution expands the map to six times the channels, a depthwise one
filters there, a 1x1 convolution projects back to few channels, and the input is added. The thin maps carry the signal,
so nothing is cut off them: no ReLU follows the projection (their section 3.2).

Two things differ between the files of weights one meets. Batch norm, once trained, is a factor and an offset per
channel; multiplied into the convolution before it, it is gone (`batch_norm=False`: biases instead). And where others
pad windows of stride 2 by 1 on all sides, TensorFlow pads only as much as the last window needs, at the end first
(`padding="tensorflow"`).
"""

from .. import nn, ops
from ..geometry import Window, widest
from ..tensor import Tensor
from .backbone import Backbone, Classifier, up_to_last_centre

BLOCKS = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)  # expansion, output channels, how many blocks, stride of the first (their table 2)


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Rows before and after, so that ⌈size / stride⌉ windows fit; the odd one after. TensorFlow's SAME.

    An even size with a 3x3 window of stride 2 gets (0, 1), an odd one (1, 1).
    """
    windows = -(-size // stride)  # rounded up
    total = max((windows - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


class SameConv2d(nn.Conv2d):
    """A convolution with TensorFlow's padding: x (N, C, H, W) → (N, OC, ⌈H/stride⌉, ⌈W/stride⌉)."""

    def forward(self, x: Tensor) -> Tensor:
        (KH, KW), (SH, SW) = self.kernel_size, self.stride
        top, bottom = same_padding(x.shape[2], KH, SH)
        left, right = same_padding(x.shape[3], KW, SW)
        return super().forward(ops.pad(x, (left, right, top, bottom)))

    def windows(self) -> list[Window]:
        """As for a size that the stride divides: of others, more may be padded before, and the grid starts earlier."""
        kernel, stride = self.kernel_size[0], self.stride[0]
        return [Window(kernel, stride, same_padding(stride, kernel, stride)[0])]


def conv_norm(
    in_channels: int, out_channels: int, kernel: int, stride: int, groups: int, batch_norm: bool, padding: str
) -> list[nn.Module]:
    """A convolution that keeps the size, or halves it with stride 2, and its batch norm; without one it has biases."""
    if padding == "tensorflow" and stride > 1:  # with stride 1 both paddings are the same
        conv = SameConv2d(in_channels, out_channels, kernel, stride, groups=groups, bias=not batch_norm)
    else:
        conv = nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=not batch_norm)
    nn.init.he(conv.weight)
    if batch_norm:
        return [conv, nn.BatchNorm2d(out_channels)]
    nn.init.zeros(conv.bias)
    return [conv]


class InvertedResidual(nn.Module):
    """(N, C, H, W) → (N, OC, ⌈H/stride⌉, ⌈W/stride⌉): expand, filter, project; then add x where it has this shape."""

    def __init__(
        self, in_channels: int, out_channels: int, stride: int, expansion: int, batch_norm: bool, padding: str
    ) -> None:
        self.residual = stride == 1 and in_channels == out_channels
        width = in_channels * expansion
        layers: list[nn.Module] = []
        if expansion > 1:
            expand = conv_norm(in_channels, width, 1, 1, 1, batch_norm, padding)
            layers.append(nn.Sequential(*expand, nn.ReLU6()))
        depthwise = conv_norm(width, width, 3, stride, width, batch_norm, padding)
        project = conv_norm(width, out_channels, 1, 1, 1, batch_norm, padding)
        self.conv = nn.Sequential(*layers, nn.Sequential(*depthwise, nn.ReLU6()), *project)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.residual else self.conv(x)

    def windows(self) -> list[Window]:
        return widest([], self.conv.windows()) if self.residual else self.conv.windows()


class MobileNetV2(Backbone):
    """x (N, in_channels, H, W) → the maps of stride 8, 16 and 32 that an FCN scores.

    batch_norm: with False, it is folded into the convolutions, which have biases. padding: "symmetric", or "tensorflow"
    for weights trained there. Errors: ValueError for another padding.
    """

    channels = (32, 96, 1280)

    def __init__(self, in_channels: int = 3, batch_norm: bool = True, padding: str = "symmetric") -> None:
        if padding not in ("symmetric", "tensorflow"):
            raise ValueError(f"MobileNetV2: padding {padding!r} is not known; use 'symmetric' or 'tensorflow'")
        self.padding = padding
        first = conv_norm(in_channels, 32, 3, 2, 1, batch_norm, padding)
        layers: list[nn.Module] = [nn.Sequential(*first, nn.ReLU6())]
        channels = 32
        for expansion, width, repeats, first_stride in BLOCKS:
            for i in range(repeats):
                stride = first_stride if i == 0 else 1
                layers.append(InvertedResidual(channels, width, stride, expansion, batch_norm, padding))
                channels = width
        last = conv_norm(channels, 1280, 1, 1, 1, batch_norm, padding)
        self.features = nn.Sequential(*layers, nn.Sequential(*last, nn.ReLU6()))

    def stages(self) -> tuple[list[nn.Module], ...]:
        layers = list(self.features)
        return layers[:7], layers[7:14], layers[14:]  # features.7 and features.14 have stride 2

    def enlarged(self, size: int) -> int:
        """TensorFlow's padding depends on whether a map's size is even, so where pixel 0 lies would depend on the
        image's size. For multiples of 32 all maps that are halved are even, none is padded before, and pixel i of
        the map of stride s lies at s·i + s - 1: that is what `windows` says. Other sizes are filled up."""
        return -(-size // 32) * 32 if self.padding == "tensorflow" else up_to_last_centre(size)


class MobileNetV2Classifier(Classifier, MobileNetV2):
    """x (N, in_channels, 224, 224) → scores (N, num_classes). Other sizes will do: the last map is averaged."""

    def __init__(
        self,
        num_classes: int = 1000,
        in_channels: int = 3,
        batch_norm: bool = True,
        padding: str = "symmetric",
        dropout: float = 0.2,
    ) -> None:
        super().__init__(in_channels, batch_norm, padding)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(1280, num_classes))

    def top(self) -> list[nn.Module]:
        return [self.avgpool, self.flatten, *self.classifier]
