"""FCN-32s, FCN-16s and FCN-8s (Long, Shelhamer, Darrell 2015), over any backbone.

A backbone shrinks the image to feature maps of stride 8, 16 and 32. On the coarsest one, fc6 and fc7 (a classifier's
fully connected layers, made convolutional) and a 1x1 convolution score every class. The rest is upsampling:

    FCN-32s   score ──×32──▶ crop to the image
    FCN-16s   score ──×2──▶ + score of pool4 ──×16──▶ crop
    FCN-8s    score ──×2──▶ + score of pool4 ──×2──▶ + score of pool3 ──×8──▶ crop

Upsampling by s is a transposed convolution with a 2s x 2s kernel that starts as bilinear interpolation. (The paper
learns these kernels except the last; here all are learned, or none with `learn_upsampling=False`.) It makes
maps a little larger than needed and shifts them; how far follows from the layers' geometry, and the crops that line
things up again are computed, never typed in (see geometry.py).

The names are those of the reference implementation, so a 16s starts from a trained 32s, and an 8s from a 16s, by
copying weights of the same name. New score layers start at zero and change nothing at first (section 4.2).
"""

from __future__ import annotations

from typing import Any

from .. import nn, ops
from ..geometry import Grid, crop_offset
from ..tensor import Tensor
from .small import Small
from .vgg import VGG16


class FCN(nn.Module):
    """What the three have in common: backbone, fc6, fc7, the first score, and the geometry of all maps.

    backbone: a module that returns (pool3, pool4, pool5) and knows their `channels`, its `head` and `pool_windows()`.
    learn_upsampling: whether the bilinear kernels are learned, or stay as they are.
    """

    def __init__(
        self, backbone: nn.Module, num_classes: int, dropout: float = 0.5, learn_upsampling: bool = True
    ) -> None:
        if num_classes < 1:
            raise ValueError(f"FCN: num_classes must be at least 1, got {num_classes}")
        self.num_classes, self.learn_upsampling = num_classes, learn_upsampling
        self.backbone = backbone
        kernel, padding, width = (backbone.head[key] for key in ("kernel", "padding", "width"))
        self.fc6 = he_conv(backbone.channels[2], width, kernel, padding)
        self.fc7 = he_conv(width, width, 1, 0)
        self.dropout = nn.Dropout(dropout)
        self.score_fr = self.score_layer(width)

        check_square(backbone)
        to_pool3, to_pool4, to_pool5 = backbone.pool_windows()
        self.pool3_grid = Grid().through(*to_pool3)
        self.pool4_grid = self.pool3_grid.through(*to_pool4)
        self.score_grid = self.pool4_grid.through(*to_pool5, *self.fc6.windows(), *self.fc7.windows())

    def score_layer(self, channels: int) -> nn.Conv2d:
        """A 1x1 convolution from features to class scores, zero at first."""
        layer = nn.Conv2d(channels, self.num_classes, 1)
        nn.init.zeros(layer.weight)
        nn.init.zeros(layer.bias)
        return layer

    def upsampler(self, factor: int) -> nn.ConvTranspose2d:
        """Upsampling of the class scores by `factor`: bilinear at first, without bias."""
        layer = nn.ConvTranspose2d(self.num_classes, self.num_classes, 2 * factor, stride=factor, bias=False)
        nn.init.bilinear(layer.weight)
        layer.weight.requires_grad = self.learn_upsampling
        return layer

    def classify(self, pool5: Tensor) -> Tensor:
        """(N, C, H/32, W/32) → class scores (N, K, H/32, W/32): fc6, fc7 and the score layer."""
        h = self.dropout(ops.relu(self.fc6(pool5)))
        h = self.dropout(ops.relu(self.fc7(h)))
        return self.score_fr(h)


class FCN32s(FCN):
    """One prediction of stride 32, upsampled in a single step."""

    def __init__(self, backbone: nn.Module, num_classes: int, **options: Any) -> None:
        super().__init__(backbone, num_classes, **options)
        self.upscore = self.upsampler(32)
        self.crop = crop_offset(self.score_grid.through(*self.upscore.windows()), Grid())

    def forward(self, x: Tensor) -> Tensor:
        _, _, pool5 = self.backbone(x)
        score = self.classify(pool5)  # (N, K, H/32, W/32)
        return ops.crop(self.upscore(score), x.shape[2:], (self.crop, self.crop))  # (N, K, H, W)


class FCN16s(FCN):
    """The prediction of stride 32 and a finer one from pool4, added at stride 16."""

    def __init__(self, backbone: nn.Module, num_classes: int, **options: Any) -> None:
        super().__init__(backbone, num_classes, **options)
        self.score_pool4 = self.score_layer(backbone.channels[1])
        self.upscore2 = self.upsampler(2)
        self.upscore16 = self.upsampler(16)

        upscore2_grid = self.score_grid.through(*self.upscore2.windows())
        self.crop_pool4 = crop_offset(self.pool4_grid, upscore2_grid)
        fused = later_start(self.pool4_grid, upscore2_grid)
        self.crop = crop_offset(fused.through(*self.upscore16.windows()), Grid())

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
        self.upscore2 = self.upsampler(2)
        self.upscore_pool4 = self.upsampler(2)
        self.upscore8 = self.upsampler(8)

        upscore2_grid = self.score_grid.through(*self.upscore2.windows())
        self.crop_pool4 = crop_offset(self.pool4_grid, upscore2_grid)
        fused4 = later_start(self.pool4_grid, upscore2_grid)
        upscore_pool4_grid = fused4.through(*self.upscore_pool4.windows())
        self.crop_pool3 = crop_offset(self.pool3_grid, upscore_pool4_grid)
        fused3 = later_start(self.pool3_grid, upscore_pool4_grid)
        self.crop = crop_offset(fused3.through(*self.upscore8.windows()), Grid())

    def forward(self, x: Tensor) -> Tensor:
        pool3, pool4, pool5 = self.backbone(x)
        upscore2 = self.upscore2(self.classify(pool5))  # (N, K, H/16, W/16)
        fuse_pool4 = add_aligned(self.score_pool4(pool4), upscore2, self.crop_pool4)
        upscore_pool4 = self.upscore_pool4(fuse_pool4)  # (N, K, H/8, W/8)
        fuse_pool3 = add_aligned(self.score_pool3(pool3), upscore_pool4, self.crop_pool3)
        return ops.crop(self.upscore8(fuse_pool3), x.shape[2:], (self.crop, self.crop))  # (N, K, H, W)


def he_conv(in_channels: int, out_channels: int, kernel: int, padding: int) -> nn.Conv2d:
    """A convolution that starts with He's weights and no bias."""
    conv = nn.Conv2d(in_channels, out_channels, kernel, padding=padding)
    nn.init.he(conv.weight)
    nn.init.zeros(conv.bias)
    return conv


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


def make_backbone(name: str | nn.Module, in_channels: int, batch_norm: bool, recipe: str | None) -> nn.Module:
    """ "small" or "vgg16" by name, or a backbone module of your own, unchanged."""
    if recipe not in (None, "caffe"):
        raise ValueError(f"recipe {recipe!r} is not known; leave it out, or use 'caffe' for the paper's padding of 100")
    if isinstance(name, nn.Module):
        given = {"batch_norm": batch_norm, "in_channels": in_channels != 3, "recipe": recipe is not None}
        if any(given.values()):
            unused = " and ".join(option for option, is_given in given.items() if is_given)
            raise ValueError(
                f"{unused}: these make a backbone by name, but you pass one of your own ({type(name).__name__}), which "
                "is taken as it is; give them to it when you make it"
            )
        return name
    if name == "small":
        if recipe == "caffe":
            raise ValueError("recipe 'caffe' is the paper's padding for backbone 'vgg16'; 'small' needs none")
        return Small(in_channels, batch_norm)
    if name == "vgg16":
        if batch_norm:
            raise ValueError("backbone 'vgg16' has no batch norm; use backbone 'small', or batch_norm=False")
        return VGG16(in_channels, padding=100 if recipe == "caffe" else 1)
    raise ValueError(f"backbone {name!r} is not known; use 'small' or 'vgg16'")


def fcn(
    kind: type[FCN],
    backbone: str | nn.Module,
    num_classes: int,
    batch_norm: bool,
    in_channels: int,
    dropout: float,
    learn_upsampling: bool | None,
    recipe: str | None,
) -> FCN:
    """Put one of the three FCNs on a backbone; the "caffe" recipe keeps upsampling bilinear, as the reference did."""
    learn = recipe != "caffe" if learn_upsampling is None else learn_upsampling
    body = make_backbone(backbone, in_channels, batch_norm, recipe)
    return kind(body, num_classes, dropout=dropout, learn_upsampling=learn)


def fcn32s(
    backbone: str | nn.Module = "small",
    num_classes: int = 21,
    batch_norm: bool = False,
    in_channels: int = 3,
    dropout: float = 0.5,
    learn_upsampling: bool | None = None,
    recipe: str | None = None,
) -> FCN32s:
    """FCN-32s: x (N, in_channels, H, W) → scores (N, num_classes, H, W), for any H and W from 1 up."""
    return fcn(FCN32s, backbone, num_classes, batch_norm, in_channels, dropout, learn_upsampling, recipe)


def fcn16s(
    backbone: str | nn.Module = "small",
    num_classes: int = 21,
    batch_norm: bool = False,
    in_channels: int = 3,
    dropout: float = 0.5,
    learn_upsampling: bool | None = None,
    recipe: str | None = None,
) -> FCN16s:
    """FCN-16s: x (N, in_channels, H, W) → scores (N, num_classes, H, W), for any H and W from 1 up."""
    return fcn(FCN16s, backbone, num_classes, batch_norm, in_channels, dropout, learn_upsampling, recipe)


def fcn8s(
    backbone: str | nn.Module = "small",
    num_classes: int = 21,
    batch_norm: bool = False,
    in_channels: int = 3,
    dropout: float = 0.5,
    learn_upsampling: bool | None = None,
    recipe: str | None = None,
) -> FCN8s:
    """FCN-8s: x (N, in_channels, H, W) → scores (N, num_classes, H, W), for any H and W from 1 up."""
    return fcn(FCN8s, backbone, num_classes, batch_norm, in_channels, dropout, learn_upsampling, recipe)
