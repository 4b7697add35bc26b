"""The FCNs in PyTorch: what our own are compared with, in results and in time.

The layers have our names, so that our weights load by name, but nothing else is shared: the crops that line up the maps
are typed in here, as in the paper's reference implementation, where ours are computed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..nn import Module


class Small(nn.Module):
    """models/small.py in torch."""

    channels, width = (64, 128, 128), 256

    def __init__(self, batch_norm: bool = False) -> None:
        super().__init__()
        widths = (3, 16, 32, 64, 128, 128)
        for i in range(5):
            layers: list[nn.Module] = []
            for channels in (widths[i], widths[i + 1]):
                layers.append(nn.Conv2d(channels, widths[i + 1], 3, padding=1, bias=not batch_norm))
                layers += [nn.BatchNorm2d(widths[i + 1])] * batch_norm + [nn.ReLU()]
            setattr(self, f"stage{i + 1}", nn.Sequential(*layers, nn.MaxPool2d(2, ceil_mode=True)))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        pool3 = self.stage3(self.stage2(self.stage1(x)))
        pool4 = self.stage4(pool3)
        return pool3, pool4, self.stage5(pool4)

    def fc6(self) -> nn.Conv2d:
        return nn.Conv2d(128, 256, 3, padding=1)


class VGG16(nn.Module):
    """models/vgg.py in torch; padding 100 is the paper's, with an fc6 that is not padded."""

    channels = (256, 512, 512)

    def __init__(self, padding: int = 1, width: int = 4096) -> None:
        super().__init__()
        self.padding, self.width = padding, width
        layers: list[nn.Module] = []
        channels = 3
        for stage in ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512)):
            for out in stage:
                layers += [nn.Conv2d(channels, out, 3, padding=1 if layers else padding), nn.ReLU()]
                channels = out
            layers.append(nn.MaxPool2d(2, ceil_mode=True))
        self.features = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        pool3 = self.features[:17](x)
        pool4 = self.features[17:24](pool3)
        return pool3, pool4, self.features[24:](pool4)

    def fc6(self) -> nn.Conv2d:
        return nn.Conv2d(512, self.width, 7, padding=3 if self.padding == 1 else 0)


class Head(nn.Module):
    """Backbone, fc6, fc7 and the coarsest score, which the three FCNs have in common.

    padded: the backbone pads by 100, and the crops are those of the reference implementation.
    """

    def __init__(self, backbone: Small | VGG16, classes: int) -> None:
        super().__init__()
        self.padded = getattr(backbone, "padding", 1) == 100
        self.backbone = backbone
        self.fc6, self.fc7 = backbone.fc6(), nn.Conv2d(backbone.width, backbone.width, 1)
        self.score_fr = nn.Conv2d(backbone.width, classes, 1)

    def maps(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """pool3, pool4 and the score of stride 32."""
        pool3, pool4, pool5 = self.backbone(x)
        return pool3, pool4, self.score_fr(F.relu(self.fc7(F.relu(self.fc6(pool5)))))


class FCN32s(Head):
    """score ×32."""

    def __init__(self, backbone: Small | VGG16, classes: int) -> None:
        super().__init__(backbone, classes)
        self.upscore = upsampler(classes, 32)

    def forward(self, x: Tensor) -> Tensor:
        _, _, score = self.maps(x)
        return cut(self.upscore(score), 19 if self.padded else 16, x)


class FCN16s(Head):
    """score ×2 + pool4, ×16."""

    def __init__(self, backbone: Small | VGG16, classes: int) -> None:
        super().__init__(backbone, classes)
        self.score_pool4 = nn.Conv2d(backbone.channels[1], classes, 1)
        self.upscore2, self.upscore16 = upsampler(classes, 2), upsampler(classes, 16)

    def forward(self, x: Tensor) -> Tensor:
        _, pool4, score = self.maps(x)
        h = add(self.score_pool4(pool4), self.upscore2(score), 5 if self.padded else -1)
        return cut(self.upscore16(h), 27 if self.padded else 8, x)


class FCN8s(Head):
    """score ×2 + pool4, ×2 + pool3, ×8."""

    def __init__(self, backbone: Small | VGG16, classes: int) -> None:
        super().__init__(backbone, classes)
        self.score_pool4 = nn.Conv2d(backbone.channels[1], classes, 1)
        self.score_pool3 = nn.Conv2d(backbone.channels[0], classes, 1)
        self.upscore2, self.upscore_pool4 = upsampler(classes, 2), upsampler(classes, 2)
        self.upscore8 = upsampler(classes, 8)

    def forward(self, x: Tensor) -> Tensor:
        pool3, pool4, score = self.maps(x)
        h = add(self.score_pool4(pool4), self.upscore2(score), 5 if self.padded else -1)
        h = add(self.score_pool3(pool3), self.upscore_pool4(h), 9 if self.padded else -1)
        return cut(self.upscore8(h), 31 if self.padded else 4, x)


def upsampler(classes: int, factor: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(classes, classes, 2 * factor, factor, bias=False)


def add(skip: Tensor, upscore: Tensor, offset: int) -> Tensor:
    """The sum where both lie; the skip begins `offset` rows and columns earlier (negative: later)."""
    if offset < 0:
        return skip + cut(upscore, -offset, skip)
    return cut(skip, offset, upscore) + upscore


def cut(x: Tensor, offset: int, like: Tensor) -> Tensor:
    """x from row and column `offset` on, as large as `like`."""
    return x[:, :, offset : offset + like.shape[2], offset : offset + like.shape[3]]


# --- by name ----------------------------------------------------------------------------------------------

KINDS = {"fcn32s": FCN32s, "fcn16s": FCN16s, "fcn8s": FCN8s}


def build_twin(
    name: str, num_classes: int = 21, batch_norm: bool = False, recipe: str | None = None, dropout: float = 0.0
) -> nn.Module:
    """The torch network that equals `models.build` of the same arguments; without dropout, which is chance."""
    kind, _, backbone = name.partition("_")
    if dropout:
        raise ValueError(f"a twin has no dropout, got {dropout}: the two libraries would drop different values")
    if backbone == "vgg16":
        return KINDS[kind](VGG16(padding=100 if recipe == "caffe" else 1), num_classes)
    return KINDS[kind](Small(batch_norm), num_classes)


def copy_weights(model: Module, twin: nn.Module) -> None:
    """Give the twin our model's weights, of our dtype, and let it learn the same ones."""
    state: dict[str, Any] = {name: torch.tensor(np.array(array)) for name, array in model.state_dict().items()}
    twin.load_state_dict(state)
    learned = {name: p.requires_grad for name, p in model.named_parameters()}
    for name, parameter in twin.named_parameters():
        parameter.requires_grad_(learned[name])
