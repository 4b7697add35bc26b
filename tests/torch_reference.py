"""FCN-8s over the small backbone in PyTorch: what our own is compared with, in results and in time."""

import torch
from torch.nn import functional as F


class TorchFCN8s(torch.nn.Module):
    """FCN-8s over the small backbone, written for torch with crops worked out by hand."""

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
        self.score_pool4, self.score_pool3 = torch.nn.Conv2d(128, classes, 1), torch.nn.Conv2d(64, classes, 1)
        self.upscore2 = torch.nn.ConvTranspose2d(classes, classes, 4, 2, bias=False)
        self.upscore_pool4 = torch.nn.ConvTranspose2d(classes, classes, 4, 2, bias=False)
        self.upscore8 = torch.nn.ConvTranspose2d(classes, classes, 16, 8, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        maps = [x]
        for i in range(5):
            maps.append(getattr(self.backbone, f"stage{i + 1}")(maps[-1]))
        h = F.relu(self.fc7(F.relu(self.fc6(maps[5]))))
        skip = self.score_pool4(maps[4])
        h = self.upscore2(self.score_fr(h))[:, :, 1 : 1 + skip.shape[2], 1 : 1 + skip.shape[3]] + skip
        skip = self.score_pool3(maps[3])
        h = self.upscore_pool4(h)[:, :, 1 : 1 + skip.shape[2], 1 : 1 + skip.shape[3]] + skip
        return self.upscore8(h)[:, :, 4 : 4 + x.shape[2], 4 : 4 + x.shape[3]]
