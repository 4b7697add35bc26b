"""FCN-8 and FCN-32 as keras_segmentation has them, on its encoders, and what is crooked about them.

The networks are the paper's: fc6, fc7 and a score on the coarsest map f5 (`fcn_32`), with skips from f4 and f3
(`fcn_8`). What differs is how maps are put on top of each other. An upsampled map is larger than the one it is added to
and lies before it; the paper crops it so that the two coincide. keras_segmentation cuts off what is too much at the
bottom and right only, and nothing at the end: the output is larger than the image (416x608 gives 424x616, or 448x640),
and labels are stretched to its size.

    alignment="centred"  this library's way: FCN8s and FCN32s of fcn.py on the same encoders. Crops follow from the
                         layers' geometry, the output has the image's size, upsampling starts bilinear. (ResNet50 and
                         MobileNet get kernels of 3, 3 and 15, as those of 4, 4 and 16 lie half a pixel beside.)
    alignment="keras"    as published, with random upsampling kernels.

How far off the published form is, geometry.py computes (`shifts`). On the vanilla and VGG encoders a score comes out 4
pixels below and right of where f3 saw its cause, 12 of where f4 did, and 28 of where f5 did; in fcn_32 it is 16.
Stretching labels from 416 to 424 pixels takes back 4 in the middle of the image, none at the top left, and 8 at the
bottom right; from 416 to 448 it is 16, 0 and 32. Training finds kernels that make up for some of the rest.

Source: github.com/divamgupta/image-segmentation-keras, models/fcn.py.
"""

import math
from collections.abc import Callable
from fractions import Fraction

from .. import nn
from ..tensor import Parameter, Tensor
from .backbone import Backbone
from .fcn import FCN, FCN8s, FCN32s, add_aligned
from .keras_encoders import KerasMobileNet, KerasResNet50, Vanilla
from .vgg import VGG16

ENCODERS: dict[str, Callable[[int], Backbone]] = {
    "vanilla": Vanilla,
    "vgg": VGG16,
    "resnet50": KerasResNet50,
    "mobilenet": KerasMobileNet,
}


class PublishedFCN(FCN):
    """What the two published forms have in common. multiple: what an image's height and width must be multiples of."""

    def __init__(self, backbone: Backbone, num_classes: int, multiple: int, dropout: float = 0.5) -> None:
        super().__init__(backbone, num_classes, dropout)
        self.multiple = multiple

    def upsampling(self, kernel: int, stride: int) -> nn.ConvTranspose2d:
        """(N, K, H, W) → (N, K, stride·(H - 1) + kernel, …), learned from a random start."""
        return nn.ConvTranspose2d(self.num_classes, self.num_classes, kernel, stride, bias=False)

    def start(self) -> None:
        """Keras's initial weights: Glorot's for every layer but the scores, which start with He's."""
        for name, layer in self.named_modules():
            if name.startswith("score_"):
                nn.init.he(layer.weight)
            elif isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                glorot(layer.weight)

    def check_size(self, x: Tensor) -> None:
        H, W = x.shape[2:]
        if H % self.multiple or W % self.multiple:
            raise ValueError(
                f'{type(self).__name__}: with alignment="keras", height and width must be multiples of '
                f'{self.multiple}, got {H}x{W}; resize the image, or use alignment="centred", which takes any size'
            )


class PublishedFCN32(PublishedFCN):
    """x (N, C, H, W) → scores (N, K, H + 32, W + 32): upsampled in one step, and not cropped."""

    def __init__(self, backbone: Backbone, num_classes: int, multiple: int, dropout: float = 0.5) -> None:
        super().__init__(backbone, num_classes, multiple, dropout)
        self.upscore = self.upsampling(64, stride=32)
        self.start()

    def forward(self, x: Tensor) -> Tensor:
        self.check_size(x)
        _, _, f5 = self.backbone(x)
        return self.upscore(self.classify(f5))  # (N, K, H + 32, W + 32)

    def shifts(self) -> dict[str, Fraction]:
        """How many pixels below and right of its cause a score comes out, by the map that saw the cause."""
        return {"f5": -self.score_grid.through(*self.upscore.windows()).start}


class PublishedFCN8(PublishedFCN):
    """x (N, C, H, W) → scores (N, K, H + 8, W + 8); what is too much is cut off at the bottom and right.

    The layers are called as those of FCN8s.
    """

    def __init__(self, backbone: Backbone, num_classes: int, multiple: int, dropout: float = 0.5) -> None:
        super().__init__(backbone, num_classes, multiple, dropout)
        self.score_pool4 = self.score_layer(backbone.channels[1])
        self.score_pool3 = self.score_layer(backbone.channels[0])
        self.upscore2 = self.upsampling(4, stride=2)
        self.upscore_pool4 = self.upsampling(4, stride=2)
        self.upscore8 = self.upsampling(16, stride=8)
        self.start()

    def forward(self, x: Tensor) -> Tensor:
        self.check_size(x)
        f3, f4, f5 = self.backbone(x)
        upscore2 = self.upscore2(self.classify(f5))  # (N, K, H/16 + 2, W/16 + 2)
        fused4 = add_aligned(self.score_pool4(f4), upscore2, offset=0)  # (N, K, H/16, W/16)
        upscore_pool4 = self.upscore_pool4(fused4)  # (N, K, H/8 + 2, W/8 + 2)
        fused3 = add_aligned(self.score_pool3(f3), upscore_pool4, offset=0)  # (N, K, H/8, W/8)
        return self.upscore8(fused3)  # (N, K, H + 8, W + 8)

    def shifts(self) -> dict[str, Fraction]:
        """How many pixels below and right of its cause a score comes out, by the map that saw the cause."""
        to_pool4, to_pool3, to_image = (up.windows() for up in (self.upscore2, self.upscore_pool4, self.upscore8))
        outputs = {
            "f3": self.pool3_grid.through(*to_image),
            "f4": self.pool4_grid.through(*to_pool3, *to_image),
            "f5": self.score_grid.through(*to_pool4, *to_pool3, *to_image),
        }
        return {name: -grid.start for name, grid in outputs.items()}  # output pixel i saw i + start


def glorot(parameter: Parameter) -> Parameter:
    """Uniform with variance 2 / (fan_in + fan_out), the default in Keras (Glorot & Bengio 2010)."""
    out, inputs, KH, KW = parameter.shape
    return nn.init.uniform(parameter, math.sqrt(6.0 / ((out + inputs) * KH * KW)))


# --- by name ----------------------------------------------------------------------------------------------


def fcn_8(
    encoder: str = "vanilla",
    num_classes: int = 21,
    in_channels: int = 3,
    dropout: float = 0.5,
    width: int = 4096,
    alignment: str = "centred",
) -> FCN8s | PublishedFCN8:
    """FCN-8 on an encoder: x (N, in_channels, H, W) → scores (N, num_classes, H, W); "keras": (…, H + 8, W + 8).

    encoder: "vanilla", "vgg", "resnet50" or "mobilenet". width: of fc6 and fc7. alignment: "centred", for any size from
    1 up, or "keras", for multiples of 32 (vanilla: from 32 up).
    Errors: ValueError for another encoder or alignment, and from the network for a size that does not fit.
    """
    body = make_encoder(encoder, in_channels, width, alignment)
    if alignment == "keras":
        return PublishedFCN8(body, num_classes, 1 if encoder == "vanilla" else 32, dropout)
    return FCN8s(body, num_classes, dropout=dropout)


def fcn_32(
    encoder: str = "vanilla",
    num_classes: int = 21,
    in_channels: int = 3,
    dropout: float = 0.5,
    width: int = 4096,
    alignment: str = "centred",
) -> FCN32s | PublishedFCN32:
    """FCN-32 on an encoder; "keras": x (N, in_channels, H, W) → (N, num_classes, H + 32, W + 32). Else as `fcn_8`."""
    body = make_encoder(encoder, in_channels, width, alignment)
    if alignment == "keras":
        return PublishedFCN32(body, num_classes, 1 if encoder == "vanilla" else 32, dropout)
    return FCN32s(body, num_classes, dropout=dropout)


def make_encoder(encoder: str, in_channels: int, width: int, alignment: str) -> Backbone:
    """An encoder by name, to be followed by an fc6 of 7x7 and an fc7, both `width` wide."""
    if alignment not in ("centred", "keras"):
        raise ValueError(f"alignment {alignment!r} is not known; use 'centred' or 'keras'")
    if encoder not in ENCODERS:
        raise ValueError(f"encoder {encoder!r} is not known; there are {', '.join(ENCODERS)}")
    if encoder == "vanilla" and alignment == "keras":
        body = Vanilla(in_channels, ceil_mode=False)
    else:
        body = ENCODERS[encoder](in_channels)
    body.head = {"kernel": 7, "padding": 3, "width": width}
    return body
