"""The FCN of "Dive into Deep Learning" (section 14.11), an FCN-32s on ResNet-18.

    ResNet-18 ── final_conv: 1x1, 512 to K ── transpose_conv: 64x64, stride 32, padding 16 ──▶ scores

With padding p = s/2 and kernel 2s, a transposed convolution makes a map exactly s times as large, without any crop: the
images of the book are 320x480, multiples of 32. (Here, other sizes have what is too much cut off at the bottom and on
the right.) Its kernel starts as bilinear interpolation and is learned.

It also shows what happens when nobody computes where things lie. This kernel takes score i for the middle of its 32
pixels, 32·i + 15.5. A ResNet's map is centred on 32·i, on the first of them (see resnet.py). So every prediction
arrives 15.5 pixels below and to the right of what was seen. The network has to unlearn that, and can, because its
features see far more than 15 pixels. With `aligned=True` the kernel is one smaller, 63x63, and so has a middle that
lies on a pixel: its padding follows from the geometry, and nothing is shifted.
"""

import math

from .. import nn, ops
from ..geometry import Grid, Window, crop_offset
from ..tensor import Tensor
from .resnet import ResNet

STRIDE = 32


class D2LFCN(nn.Module):
    """x (N, in_channels, H, W) → scores (N, num_classes, H, W), for any H and W from 1 up.

    aligned: put the scores where the features were (see above); as published they are shifted by 15.5 pixels.
    score_grid: where the scores lie on the image before upsampling; upscore_grid: after it.
    """

    def __init__(self, num_classes: int = 21, in_channels: int = 3, aligned: bool = False) -> None:
        if num_classes < 1:
            raise ValueError(f"D2LFCN: num_classes must be at least 1, got {num_classes}")
        self.num_classes = num_classes
        self.backbone = ResNet(18, in_channels)
        C = self.backbone.channels[2]
        self.final_conv = nn.Conv2d(C, num_classes, 1)
        nn.init.uniform(self.final_conv.weight, math.sqrt(6 / (C + num_classes)))  # Glorot & Bengio 2010, equation 16
        self.score_grid = Grid().through(*self.backbone.windows(), *self.final_conv.windows())

        if aligned:
            kernel = 2 * STRIDE - 1
            padding = crop_offset(self.score_grid.through(Window(kernel, STRIDE, transposed=True)), Grid())
        else:
            kernel, padding = 2 * STRIDE, STRIDE // 2
        # so many rows more at the end that n scores become n·STRIDE: none as published
        missing = 2 * padding + STRIDE - kernel
        self.transpose_conv = nn.ConvTranspose2d(num_classes, num_classes, kernel, STRIDE, padding, missing)
        nn.init.bilinear(self.transpose_conv.weight)
        self.upscore_grid = self.score_grid.through(*self.transpose_conv.windows())

    def forward(self, x: Tensor) -> Tensor:
        _, _, features = self.backbone.maps(x)  # (N, 512, ⌈H/32⌉, ⌈W/32⌉)
        upscore = self.transpose_conv(self.final_conv(features))  # (N, K, 32·⌈H/32⌉, 32·⌈W/32⌉)
        return ops.crop(upscore, x.shape[2:], (0, 0))  # (N, K, H, W)


def d2l_fcn_resnet18(num_classes: int = 21, in_channels: int = 3, aligned: bool = False) -> D2LFCN:
    """The FCN of "Dive into Deep Learning": x (N, in_channels, H, W) → scores (N, num_classes, H, W)."""
    return D2LFCN(num_classes, in_channels, aligned)
