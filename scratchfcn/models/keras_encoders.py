"""The encoders of keras_segmentation: vanilla, ResNet50 as it first came out, and MobileNet (v1).

That library (image-segmentation-keras) puts one FCN on several encoders. Its VGG16 is the one of models/vgg.py; the
others are here, layer by layer as published. An encoder there returns five maps f1 … f5 of stride 2 … 32; an FCN
looks at f3, f4 and f5 alone, so these are what a `Backbone` returns.

Batch norm has Keras's settings, which are not torch's: eps 0.001, and a running mean of which 0.99 stays at every step
(in torch's words, momentum 0.01).
"""

from .. import nn
from ..geometry import Window, widest
from ..tensor import Tensor
from .backbone import Backbone, he_conv, he_conv_no_bias


def keras_norm(channels: int) -> nn.BatchNorm2d:
    """Batch norm with Keras's settings."""
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


class Vanilla(Backbone):
    """Five times convolution 3x3, batch norm, ReLU and a 2x2 pool: x (N, in_channels, H, W) → f3, f4, f5.

    ceil_mode: whether the pools round up, so that no row is lost; as published they round down.
    """

    channels = (256, 256, 256)  # of f3, f4, f5
    widths = (64, 128, 256, 256, 256)

    def __init__(self, in_channels: int = 3, ceil_mode: bool = True) -> None:
        channels = in_channels
        for i, width in enumerate(self.widths, start=1):
            conv = he_conv(channels, width, 3, padding=1)  # as published, with a bias that batch norm makes useless
            block = nn.Sequential(conv, keras_norm(width), nn.ReLU(), nn.MaxPool2d(2, ceil_mode=ceil_mode))
            setattr(self, f"block{i}", block)
            channels = width

    def stages(self) -> tuple[list[nn.Module], ...]:
        return [self.block1, self.block2, self.block3], [self.block4], [self.block5]


# --- ResNet50 ---------------------------------------------------------------------------------------------


class BottleneckV1(nn.Module):
    """(N, C, H, W) → (N, 4·width, ⌈H/stride⌉, ⌈W/stride⌉): 1x1, 3x3, 1x1, and the input added.

    The first form (He et al. 2016, as in fchollet's deep-learning-models): the stride is the first 1x1's, which leaves
    out three of four pixels, and convolutions have biases. torchvision's strides at the 3x3 and has none.
    projected: whether a 1x1 convolution brings the input to the output's shape, or it has it already.
    """

    def __init__(self, in_channels: int, width: int, stride: int, projected: bool) -> None:
        self.branch2a = he_conv(in_channels, width, 1, stride)
        self.bn2a = keras_norm(width)
        self.branch2b = he_conv(width, width, 3, padding=1)
        self.bn2b = keras_norm(width)
        self.branch2c = he_conv(width, 4 * width, 1)
        self.bn2c = keras_norm(4 * width)
        self.relu = nn.ReLU()
        self.branch1 = he_conv(in_channels, 4 * width, 1, stride) if projected else None
        self.bn1 = keras_norm(4 * width) if projected else None

    def forward(self, x: Tensor) -> Tensor:
        h = self.relu(self.bn2a(self.branch2a(x)))
        h = self.relu(self.bn2b(self.branch2b(h)))
        h = self.bn2c(self.branch2c(h))
        shortcut = x if self.branch1 is None else self.bn1(self.branch1(x))
        return self.relu(h + shortcut)

    def windows(self) -> list[Window]:
        main = [*self.branch2a.windows(), *self.branch2b.windows(), *self.branch2c.windows()]
        return widest(main, [] if self.branch1 is None else self.branch1.windows())


class KerasResNet50(Backbone):
    """x (N, in_channels, H, W) → f3, f4, f5: the outputs of stages 3, 4 and 5.

    `res3.0.branch2a` is Keras's `res3a_branch2a`, and `res3.0.bn2a` its `bn3a_branch2a`. The pool is not padded, and
    behind it windows of stride 2 are 1x1: pixel 0 of every map lies at pixel 2 of the image.
    """

    channels = (512, 1024, 2048)

    def __init__(self, in_channels: int = 3) -> None:
        self.conv1 = he_conv(in_channels, 64, 7, stride=2, padding=3)
        self.bn_conv1 = keras_norm(64)
        self.relu = nn.ReLU()
        self.pool = nn.MaxPool2d(3, stride=2)
        self.res2 = bottlenecks(64, 64, blocks=3, stride=1)
        self.res3 = bottlenecks(256, 128, blocks=4, stride=2)
        self.res4 = bottlenecks(512, 256, blocks=6, stride=2)
        self.res5 = bottlenecks(1024, 512, blocks=3, stride=2)

    def stages(self) -> tuple[list[nn.Module], ...]:
        return [self.conv1, self.bn_conv1, self.relu, self.pool, self.res2, self.res3], [self.res4], [self.res5]

    def enlarged(self, size: int) -> int:
        """The pool rounds down, and leaves nothing of a small image: filled up to a multiple of 32, as it expects."""
        return -(-size // 32) * 32


def bottlenecks(in_channels: int, width: int, blocks: int, stride: int) -> nn.Sequential:
    """A stage: the first block changes channels and resolution, the others keep them."""
    first = BottleneckV1(in_channels, width, stride, projected=True)
    return nn.Sequential(first, *(BottleneckV1(4 * width, width, 1, projected=False) for _ in range(blocks - 1)))


# --- MobileNet --------------------------------------------------------------------------------------------

# output channels and stride of the thirteen blocks (Howard et al. 2017, table 1)
MOBILENET_BLOCKS = (
    (64, 1),
    (128, 2),
    (128, 1),
    (256, 2),
    (256, 1),
    (512, 2),
    *((512, 1),) * 5,
    (1024, 2),
    (1024, 1),
)


class KerasMobileNet(Backbone):
    """x (N, in_channels, H, W) → f3, f4, f5. MobileNet v1 (Howard et al. 2017) at full width.

    Every block looks around with a depthwise 3x3 convolution and then mixes channels with a 1x1; both are followed by
    batch norm and ReLU6. All 3x3 windows are padded by 1 on every side, also those of stride 2. (Later versions of
    Keras pad these at the bottom and right only; keras_segmentation does not.)
    """

    channels = (256, 512, 1024)

    def __init__(self, in_channels: int = 3) -> None:
        first = he_conv_no_bias(in_channels, 32, 3, stride=2, padding=1)
        self.conv1 = nn.Sequential(first, keras_norm(32), nn.ReLU6())
        self.blocks = nn.Sequential()
        channels = 32
        for i, (width, stride) in enumerate(MOBILENET_BLOCKS):
            setattr(self.blocks, str(i), depthwise_separable(channels, width, stride))
            channels = width

    def stages(self) -> tuple[list[nn.Module], ...]:
        blocks = list(self.blocks)
        return [self.conv1, *blocks[:5]], blocks[5:11], blocks[11:]


def depthwise_separable(in_channels: int, out_channels: int, stride: int) -> nn.Sequential:
    """(N, C, H, W) → (N, OC, ⌈H/stride⌉, ⌈W/stride⌉): 3x3 in each channel by itself, then 1x1 across channels."""
    depthwise = nn.Conv2d(in_channels, in_channels, 3, stride, padding=1, groups=in_channels, bias=False)
    nn.init.he(depthwise.weight)
    pointwise = he_conv_no_bias(in_channels, out_channels, 1)
    return nn.Sequential(
        depthwise, keras_norm(in_channels), nn.ReLU6(), pointwise, keras_norm(out_channels), nn.ReLU6()
    )
