"""Networks small enough to predict in milliseconds, and files to predict: what the tests of prediction share."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from typer.testing import CliRunner, Result

from scratchfcn import nn
from scratchfcn.cli import app
from scratchfcn.data import Classes, Shapes
from scratchfcn.tensor import Tensor
from scratchfcn.training import Network
from scratchfcn.weights import save


class Tiny(nn.Module):
    """Half the resolution and back: 3x3 convolution, 2x2 pool, 3x3 convolution, 2x2 transposed convolution.

    A pixel in rows 2b, 2b + 1 depends on half-resolution rows b - 1 … b + 1, which are rows 2b - 2 … 2b + 3, and by the
    first convolution on one more at either side: 2b - 3 … 2b + 4. So no pixel sees further than REACH rows.
    """

    REACH = 4

    def __init__(self, classes: int = 3, dropout: float = 0.0) -> None:
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.pool = nn.MaxPool2d(2, ceil_mode=True)
        self.second = nn.Conv2d(4, 4, 3, padding=1)
        self.dropout = nn.Dropout(dropout)
        self.up = nn.ConvTranspose2d(4, classes, 2, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        from scratchfcn import ops

        h = self.dropout(self.second(self.pool(self.norm(self.first(x)))))
        return ops.crop(self.up(h), x.shape[2:])


def tiny(size: tuple[int, int] | None = None, classes: int = 3, dropout: float = 0.0, whole: bool = False) -> Network:
    """A network over `Tiny`. whole: small whole numbers as weights and input, so that float32 computes exactly."""
    rng = np.random.default_rng(0)
    model = Tiny(classes, dropout)
    for parameter in (model.first, model.second, model.up):
        for weight in (parameter.weight, parameter.bias):
            weight.data[...] = rng.integers(-2, 3, weight.shape) if whole else rng.normal(size=weight.shape) / 4
    if whole:
        model.norm.eps = 0.0
        model.up.weight.data[...] /= 256
    network = Network(model, "tiny", {}, Classes.numbered(classes), size)
    network.normalise = Plain() if whole else network.normalise
    return network


class Plain:
    """Bytes 0 … 7 as they are, instead of normalised."""

    mean, std, bgr = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), False

    def __call__(self, image: np.ndarray, label: Any, rng: Any = None) -> Any:
        return (image % 8).transpose(2, 0, 1).astype(np.float32), label


def noise(H: int, W: int, seed: int = 0) -> np.ndarray:
    """uint8 (H, W, 3), of smooth blobs and noise."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (max(1, H // 8), max(1, W // 8), 3), dtype=np.uint8))
    blobs = np.asarray(coarse.resize((W, H))).astype(int)
    return np.clip(blobs + rng.integers(-20, 21, (H, W, 3)), 0, 255).astype(np.uint8)


def fcn(folder: Path, dropout: float = 0.5, size: tuple[int, int] | None = (24, 32), name: str = "w") -> Path:
    """A checkpoint of an FCN-8s with random weights and 4 classes, as `scratchfcn train` would write it."""
    network = Network.build("fcn8s_small", Classes.numbered(4), size, dropout=dropout)
    rng = np.random.default_rng(len(name))
    for key, parameter in network.model.named_parameters():
        if key.startswith("score"):
            parameter.data[...] = rng.normal(size=parameter.shape)
    path = folder / f"{name}.safetensors"
    save(path, network.model.state_dict(), network.metadata())
    return path


def photographs(folder: Path, count: int = 3, size: tuple[int, int] = (30, 40)) -> Path:
    """A folder of generated photographs, 0.png, 1.png …"""
    folder.mkdir(parents=True, exist_ok=True)
    data = Shapes(count, size)
    for i in range(count):
        Image.fromarray(data.read(i)[0]).save(folder / f"{i}.png")
    return folder


def run(*args: object) -> Result:
    """`scratchfcn predict …` on the CPU."""
    return CliRunner().invoke(app, ["predict", *(str(a) for a in args), "--device", "cpu"], prog_name="scratchfcn")


def said(result: Result) -> str:
    """Everything the command printed, with line breaks as spaces."""
    return " ".join((result.output + (result.stderr if result.stderr else "")).split())
