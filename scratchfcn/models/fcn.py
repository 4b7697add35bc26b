"""FCN-32s, FCN-16s and FCN-8s (Long, Shelhamer, Darrell 2015), over any backbone.

A backbone shrinks the image to feature maps of stride 8, 16 and 32. On the coarsest one, fc6 and fc7 (a classifier's
fully connected layers, made convolutional) and a 1x1 convolution score every class. The rest is upsampling:

    FCN-32s   score ──×32──▶ crop to the image
    FCN-16s   score ──×2──▶ + score of pool4 ──×16──▶ crop
    FCN-8s    score ──×2──▶ + score of pool4 ──×2──▶ + score of pool3 ──×8──▶ crop

Upsampling by s is a transposed convolution that starts as bilinear interpolation. (The paper learns these kernels
except the last; here all are learned, or none with `learn_upsampling=False`.) It makes maps a little larger than needed
and shifts them; how far follows from the layers' geometry, and the crops that line things up again are computed, never
typed in (see geometry.py).

The names are those of the reference implementation, so a 16s starts from a trained 32s, and an 8s from a 16s, by
copying weights of the same name. New score layers start at zero and change nothing at first (section 4.2).
"""

from __future__ import annotations

from typing import Any

from .. import nn, ops
from ..geometry import Grid, Window, crop_offset
from ..tensor import Tensor
from .backbone import Classifier, he_conv
from .backbones import make_backbone


class FCN(nn.Module):
    """What they all have in common: backbone, fc6, fc7, the first score, and the geometry of all maps.

    backbone: a module that returns (pool3, pool4, pool5) and knows their `channels`, its `head` and `pool_windows()`.
    learn_upsampling: whether the bilinear kernels are learned, or stay as they are.
    """

    def __init__(
        self, backbone: nn.Module, num_classes: int, dropout: float = 0.5, learn_upsampling: bool = True
    ) -> None:
        if num_classes < 1:
            raise ValueError(f"FCN: num_classes must be at least 1, got {num_classes}")
        if isinstance(backbone, Classifier):
            raise ValueError(
                f"FCN: a {type(backbone).__name__} gives scores for whole images, and an FCN needs the maps before "
                "them: take the class without 'Classifier', and its weights by models.start_from"
            )
        self.num_classes, self.learn_upsampling = num_classes, learn_upsampling
        self.backbone = backbone
        width = backbone.channels[2]
        self.fc6 = self.fc7 = None
        if backbone.head is not None:
            kernel, padding = backbone.head["kernel"], backbone.head["padding"]
            width = backbone.head["width"]
            self.fc6 = he_conv(backbone.channels[2], width, kernel, padding=padding)
            self.fc7 = he_conv(width, width, 1)
        self.dropout = nn.Dropout(dropout)
        self.score_fr = self.score_layer(width)

        check_square(backbone)
        to_pool3, to_pool4, to_pool5 = backbone.pool_windows()
        self.pool3_grid = Grid().through(*to_pool3)
        self.pool4_grid = self.pool3_grid.through(*to_pool4)
        self.score_grid = self.pool4_grid.through(*to_pool5)
        if self.fc6 is not None:
            self.score_grid = self.score_grid.through(*self.fc6.windows(), *self.fc7.windows())

    def score_layer(self, channels: int) -> nn.Conv2d:
        """A 1x1 convolution from features to class scores, zero at first."""
        layer = nn.Conv2d(channels, self.num_classes, 1)
        nn.init.zeros(layer.weight)
        nn.init.zeros(layer.bias)
        return layer

    def upsampler(self, source: Grid, target: Grid) -> nn.ConvTranspose2d:
        """Upsampling of the class scores from one grid to another's stride: bilinear at first, without bias."""
        factor, kernel = upsampling_window(source, target)
        layer = nn.ConvTranspose2d(self.num_classes, self.num_classes, kernel, stride=factor, bias=False)
        nn.init.bilinear(layer.weight)
        layer.weight.requires_grad = self.learn_upsampling
        return layer

    def classify(self, pool5: Tensor) -> Tensor:
        """(N, C, H/32, W/32) → class scores (N, K, H/32, W/32): fc6, fc7 where there are any, and the score layer."""
        if self.fc6 is None:
            return self.score_fr(self.dropout(pool5))
        h = self.dropout(ops.relu(self.fc6(pool5)))
        h = self.dropout(ops.relu(self.fc7(h)))
        return self.score_fr(h)


class FCN32s(FCN):
    """One prediction of stride 32, upsampled in a single step."""

    def __init__(self, backbone: nn.Module, num_classes: int, **options: Any) -> None:
        super().__init__(backbone, num_classes, **options)
        self.upscore = self.upsampler(self.score_grid, Grid())
        self.crop = crop_to_image(self.score_grid.through(*self.upscore.windows()))

    def forward(self, x: Tensor) -> Tensor:
        _, _, pool5 = self.backbone(x)
        score = self.classify(pool5)  # (N, K, H/32, W/32)
        return ops.crop(self.upscore(score), x.shape[2:], (self.crop, self.crop))  # (N, K, H, W)


class FCN32sFixed(FCN32s):
    """FCN-32s of which only the last layer learns: the classifier's features as they are (paper, table 2)."""

    def __init__(self, backbone: nn.Module, num_classes: int, **options: Any) -> None:
        super().__init__(backbone, num_classes, **options)
        for parameter in self.parameters():
            parameter.requires_grad = False
        self.score_fr.weight.requires_grad = self.score_fr.bias.requires_grad = True

    def train(self, mode: bool = True) -> nn.Module:
        super().train(mode)
        self.backbone.eval()  # fixed features: batch norm's statistics stay as they are, too
        return self


class FCN16s(FCN):
    """The prediction of stride 32 and a finer one from pool4, added at stride 16."""

    def __init__(self, backbone: nn.Module, num_classes: int, **options: Any) -> None:
        super().__init__(backbone, num_classes, **options)
        self.score_pool4 = self.score_layer(backbone.channels[1])
        self.upscore2 = self.upsampler(self.score_grid, self.pool4_grid)
        upscore2_grid = self.score_grid.through(*self.upscore2.windows())
        self.crop_pool4 = crop_offset(self.pool4_grid, upscore2_grid)
        fused = later_start(self.pool4_grid, upscore2_grid)

        self.upscore16 = self.upsampler(fused, Grid())
        self.crop = crop_to_image(fused.through(*self.upscore16.windows()))

    def forward(self, x: Tensor) -> Tensor:
        _, pool4, pool5 = self.backbone(x)
        upscore2 = self.upscore2(self.classify(pool5))  # (N, K, H/16, W/16)
        fuse_pool4 = add_aligned(self.score_pool4(pool4), upscore2, self.crop_pool4)
        return ops.crop(self.upscore16(fuse_pool4), x.shape[2:], (self.crop, self.crop))  # (N, K, H, W)


class FCN8s(FCN):
    """As FCN-16s, then a third prediction from pool3, added at stride 8."""

    def __init__(self, backbone: nn.Module, num_classes: int, **options: Any) -> None:
        super().__init__(backbone, num_classes, **options)
        self.score_pool4 = self.score_layer(backbone.channels[1])
        self.score_pool3 = self.score_layer(backbone.channels[0])
        self.upscore2 = self.upsampler(self.score_grid, self.pool4_grid)
        upscore2_grid = self.score_grid.through(*self.upscore2.windows())
        self.crop_pool4 = crop_offset(self.pool4_grid, upscore2_grid)
        fused4 = later_start(self.pool4_grid, upscore2_grid)

        self.upscore_pool4 = self.upsampler(fused4, self.pool3_grid)
        upscore_pool4_grid = fused4.through(*self.upscore_pool4.windows())
        self.crop_pool3 = crop_offset(self.pool3_grid, upscore_pool4_grid)
        fused3 = later_start(self.pool3_grid, upscore_pool4_grid)

        self.upscore8 = self.upsampler(fused3, Grid())
        self.crop = crop_to_image(fused3.through(*self.upscore8.windows()))

    def forward(self, x: Tensor) -> Tensor:
        pool3, pool4, pool5 = self.backbone(x)
        upscore2 = self.upscore2(self.classify(pool5))  # (N, K, H/16, W/16)
        fuse_pool4 = add_aligned(self.score_pool4(pool4), upscore2, self.crop_pool4)
        upscore_pool4 = self.upscore_pool4(fuse_pool4)  # (N, K, H/8, W/8)
        fuse_pool3 = add_aligned(self.score_pool3(pool3), upscore_pool4, self.crop_pool3)
        return ops.crop(self.upscore8(fuse_pool3), x.shape[2:], (self.crop, self.crop))  # (N, K, H, W)


class FCN8sAtOnce(FCN8s):
    """FCN-8s trained in one go instead of by way of 32s and 16s: its skips are scaled down.

    pool4 and pool3 are larger than fc7's output, and their score layers would learn so much faster that training
    fails. Scaled features keep the three at the same pace (reference implementation, voc-fcn8s-atonce).
    """

    pool4_scale, pool3_scale = 0.01, 0.0001

    def forward(self, x: Tensor) -> Tensor:
        pool3, pool4, pool5 = self.backbone(x)
        upscore2 = self.upscore2(self.classify(pool5))  # (N, K, H/16, W/16)
        score_pool4 = self.score_pool4(pool4 * self.pool4_scale)
        upscore_pool4 = self.upscore_pool4(add_aligned(score_pool4, upscore2, self.crop_pool4))  # (N, K, H/8, W/8)
        score_pool3 = self.score_pool3(pool3 * self.pool3_scale)
        fuse_pool3 = add_aligned(score_pool3, upscore_pool4, self.crop_pool3)
        return ops.crop(self.upscore8(fuse_pool3), x.shape[2:], (self.crop, self.crop))  # (N, K, H, W)


def check_square(backbone: nn.Module) -> None:
    """One crop serves rows and columns, so every window of the backbone must be the same along both."""
    for name, layer in backbone.named_modules():
        for what in ("kernel_size", "stride", "padding", "dilation"):
            setting = getattr(layer, what, None)
            if isinstance(setting, tuple) and setting[0] != setting[1]:
                raise ValueError(
                    f"FCN: layer {name} of the backbone has {what} {setting}; rows and columns must have the same "
                    "windows, because the crops that line up the maps are computed once for both"
                )


def upsampling_window(source: Grid, target: Grid) -> tuple[int, int]:
    """(factor, kernel) of the upsampling from `source` to the stride of `target`.

    Bilinear interpolation by s is a tent of 2s pixels, or of 2s - 1. The even one puts its output half a pixel beside
    the odd one's, so for any two maps at most one of them can be lined up by a crop; VGG16 wants the even one, and
    networks with odd windows of stride 2, such as AlexNet and ResNet, want the odd one.
    """
    factor = source.stride / target.stride
    for kernel in (2 * factor, 2 * factor - 1):
        upsampled = source.through(Window(int(kernel), int(factor), transposed=True))
        if factor.denominator == 1 and ((target.start - upsampled.start) / target.stride).denominator == 1:
            return int(factor), int(kernel)
    raise ValueError(
        f"FCN: no bilinear kernel lines up a map with pixels at {source.stride}·i + {source.start} with one at "
        f"{target.stride}·i + {target.start}; change a padding or a kernel of the backbone by one"
    )


def crop_to_image(upsampled: Grid) -> int:
    """How many rows and columns of the upsampled scores lie before the image. Errors: ValueError where they begin after
    its first row, which then has no scores."""
    crop = crop_offset(upsampled, Grid())
    if crop < 0:
        raise ValueError(
            f"FCN: the upsampled scores begin at pixel {-crop} of the image, and nothing scores those before it; the "
            "backbone must pad more (the paper pads its first convolution by 100)"
        )
    return crop


def later_start(a: Grid, b: Grid) -> Grid:
    """The grid of two maps once the one that starts earlier has been cropped: that of the other."""
    return a if a.start >= b.start else b


def add_aligned(skip: Tensor, upscore: Tensor, offset: int) -> Tensor:
    """Crop the two maps to the region both cover, and add them.

    offset: how many rows and columns the skip starts before the upsampled map (a padded backbone); negative where it
    starts after (there is nothing to cut off it, so the upsampled map is cropped).
    """
    skip_from, up_from = max(0, offset), max(0, -offset)
    H = min(skip.shape[2] - skip_from, upscore.shape[2] - up_from)
    W = min(skip.shape[3] - skip_from, upscore.shape[3] - up_from)
    return ops.crop(skip, (H, W), (skip_from, skip_from)) + ops.crop(upscore, (H, W), (up_from, up_from))


# --- by name ----------------------------------------------------------------------------------------------


def fcn(
    kind: type[FCN],
    backbone: str | nn.Module = "small",
    num_classes: int = 21,
    batch_norm: bool = False,
    in_channels: int = 3,
    dropout: float = 0.5,
    learn_upsampling: bool | None = None,
    recipe: str | None = None,
) -> FCN:
    """Put one of the FCNs on a backbone; the "caffe" recipe keeps upsampling bilinear, as the reference did."""
    learn = recipe != "caffe" if learn_upsampling is None else learn_upsampling
    body = make_backbone(backbone, in_channels, batch_norm, recipe)
    return kind(body, num_classes, dropout=dropout, learn_upsampling=learn)


def fcn32s(backbone: str | nn.Module = "small", num_classes: int = 21, **options: Any) -> FCN32s:
    """FCN-32s: x (N, in_channels, H, W) → scores (N, num_classes, H, W), for any H and W from 1 up.

    options, of all five: batch_norm (in the small backbone), in_channels, dropout, learn_upsampling, recipe="caffe"
    (the paper's own padding, and its Caffe forms of AlexNet and GoogLeNet).
    """
    return fcn(FCN32s, backbone, num_classes, **options)


def fcn32s_fixed(backbone: str | nn.Module = "vgg16", num_classes: int = 21, **options: Any) -> FCN32sFixed:
    """FCN-32s of which only score_fr learns; otherwise as `fcn32s`."""
    return fcn(FCN32sFixed, backbone, num_classes, **options)


def fcn16s(backbone: str | nn.Module = "small", num_classes: int = 21, **options: Any) -> FCN16s:
    """FCN-16s: x (N, in_channels, H, W) → scores (N, num_classes, H, W), for any H and W from 1 up."""
    return fcn(FCN16s, backbone, num_classes, **options)


def fcn8s(backbone: str | nn.Module = "small", num_classes: int = 21, **options: Any) -> FCN8s:
    """FCN-8s: x (N, in_channels, H, W) → scores (N, num_classes, H, W), for any H and W from 1 up."""
    return fcn(FCN8s, backbone, num_classes, **options)


def fcn8s_at_once(backbone: str | nn.Module = "small", num_classes: int = 21, **options: Any) -> FCN8sAtOnce:
    """FCN-8s with scaled skips, for training without stages; otherwise as `fcn8s`."""
    return fcn(FCN8sAtOnce, backbone, num_classes, **options)
