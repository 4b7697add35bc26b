"""The FCNs over the small backbone in PyTorch: what our own are compared with, in results and in time."""

import torch
from torch.nn import functional as F


class TorchFCN(torch.nn.Module):
    """Backbone, fc6, fc7 and the coarsest score, written for torch with crops worked out by hand."""

    def __init__(self, classes: int, batch_norm: bool) -> None:
        super().__init__()
        self.backbone = torch.nn.Module()
        widths = (3, 16, 32, 64, 128, 128)
        for i in range(5):
            layers: list[torch.nn.Module] = []
            for channels in (widths[i], widths[i + 1]):
                layers.append(torch.nn.Conv2d(channels, widths[i + 1], 3, padding=1, bias=not batch_norm))
                layers += [torch.nn.BatchNorm2d(widths[i + 1])] * batch_norm + [torch.nn.ReLU()]
            setattr(self.backbone, f"stage{i + 1}", torch.nn.Sequential(*layers, torch.nn.MaxPool2d(2, ceil_mode=True)))
        self.fc6, self.fc7 = torch.nn.Conv2d(128, 256, 3, padding=1), torch.nn.Conv2d(256, 256, 1)
        self.score_fr = torch.nn.Conv2d(256, classes, 1)

    def maps(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """pool3, pool4 and the score of stride 32."""
        maps = [x]
        for i in range(5):
            maps.append(getattr(self.backbone, f"stage{i + 1}")(maps[-1]))
        return maps[3], maps[4], self.score_fr(F.relu(self.fc7(F.relu(self.fc6(maps[5])))))


class TorchFCN32s(TorchFCN):
    """score ×32."""

    def __init__(self, classes: int, batch_norm: bool) -> None:
        super().__init__(classes, batch_norm)
        self.upscore = torch.nn.ConvTranspose2d(classes, classes, 64, 32, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        _, _, score = self.maps(x)
        return cut(self.upscore(score), 16, x)


class TorchFCN16s(TorchFCN):
    """score ×2 + pool4, ×16."""

    def __init__(self, classes: int, batch_norm: bool) -> None:
        super().__init__(classes, batch_norm)
        self.score_pool4 = torch.nn.Conv2d(128, classes, 1)
        self.upscore2 = torch.nn.ConvTranspose2d(classes, classes, 4, 2, bias=False)
        self.upscore16 = torch.nn.ConvTranspose2d(classes, classes, 32, 16, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        _, pool4, score = self.maps(x)
        skip = self.score_pool4(pool4)
        return cut(self.upscore16(cut(self.upscore2(score), 1, skip) + skip), 8, x)


class TorchFCN8s(TorchFCN):
    """score ×2 + pool4, ×2 + pool3, ×8."""

    def __init__(self, classes: int, batch_norm: bool) -> None:
        super().__init__(classes, batch_norm)
        self.score_pool4, self.score_pool3 = torch.nn.Conv2d(128, classes, 1), torch.nn.Conv2d(64, classes, 1)
        self.upscore2 = torch.nn.ConvTranspose2d(classes, classes, 4, 2, bias=False)
        self.upscore_pool4 = torch.nn.ConvTranspose2d(classes, classes, 4, 2, bias=False)
        self.upscore8 = torch.nn.ConvTranspose2d(classes, classes, 16, 8, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pool3, pool4, score = self.maps(x)
        skip = self.score_pool4(pool4)
        h = cut(self.upscore2(score), 1, skip) + skip
        skip = self.score_pool3(pool3)
        h = cut(self.upscore_pool4(h), 1, skip) + skip
        return cut(self.upscore8(h), 4, x)


def cut(x: torch.Tensor, offset: int, like: torch.Tensor) -> torch.Tensor:
    """x from row and column `offset` on, as large as `like`."""
    return x[:, :, offset : offset + like.shape[2], offset : offset + like.shape[3]]
