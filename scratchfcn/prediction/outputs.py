"""The files a prediction becomes, and how a later run knows that they are finished.

    mask          NAME_mask.png          class ids as a palette PNG: programs read ids, people see colours
    overlay       NAME_overlay.png       the colours over the photograph, above a legend of the classes that occur
    side          NAME_side.png          photograph and colours side by side, with the legend
    ids           NAME_ids.png           a grey PNG with the values that the data set's own files use, for submission
    probs         NAME_probs.npz         probs: float16 (K, H, W); classes: the names
    uncertainty   NAME_uncertainty.npz   entropy, mutual_information (nats), variance: float32 (H, W)
                  NAME_uncertainty.png   the first two in colours, with scale bars

Each is written under another name and renamed when complete, so a file that is there is whole. And each carries a mark:
a digest of the weights and of all settings that change the numbers. A run that goes on where another stopped skips a
picture whose files are all there with its own mark; it refuses to mix with files of any other.
"""

from __future__ import annotations

import hashlib
import json
import math
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..data import Classes, colourise, overlay
from ..data.pictures import save_mask, save_picture, with_legend
from ..files import replacing
from ..training import SettingError
from .clips import opened
from .heat import beside, heat_map, round_top
from .predictor import Band, Predictor
from .uncertainty import MEASURES

FILES = {
    "mask": ("mask.png",),
    "overlay": ("overlay.png",),
    "side": ("side.png",),
    "ids": ("ids.png",),
    "probs": ("probs.npz",),
    "uncertainty": ("uncertainty.npz", "uncertainty.png"),
}
MARK = "scratchfcn"  # the keyword of a picture's mark, and its name in an npz
IN_MEMORY = 2**28  # bytes; larger arrays are put together in a file


def mark_of(weights: str | Path, predictor: Predictor) -> str:
    """A digest of everything that decides which numbers come out, the device's rounding apart."""
    with open(weights, "rb") as file:
        digest = hashlib.file_digest(file, "sha256")
    digest.update(json.dumps(predictor.settings(), sort_keys=True).encode())
    return digest.hexdigest()[:24]


@dataclass
class Prediction:
    """What is kept of a picture's bands: the classes, and what else is to be written."""

    label: np.ndarray  # uint8 (H, W)
    probabilities: np.ndarray | None  # float16 (K, H, W)
    uncertainty: np.ndarray | None  # float32 (3, H, W)


@dataclass(frozen=True)
class Outputs:
    """Where a run's files go, and how they look.

    Attributes:
        folder: where they go; a picture's name may lead into a sub-folder.
        kinds: keys of FILES.
        classes: the network's.
        mark: what files of this run carry (`mark_of`).
        alpha: how opaque the overlay's colours are.
        legend: whether overlay and side have one.
        all_classes: the legend names all classes, not only those that occur: a video's frames stay of one size.
    """

    folder: Path
    kinds: Sequence[str]
    classes: Classes
    mark: str
    alpha: float = 0.5
    legend: bool = True
    all_classes: bool = False

    def paths(self, name: str, kinds: Iterable[str] | None = None) -> dict[str, Path]:
        """The files of the picture `name`, by their last part ("mask.png")."""
        parts = [part for kind in kinds or self.kinds for part in FILES[kind]]
        return {part: self.folder / f"{name}_{part}" for part in parts}

    def finished(self, name: str) -> bool:
        """Whether all files of the picture are there. Errors: SettingError for one that is not of this run's making."""
        existing = [path for path in self.paths(name).values() if path.exists()]
        for path in existing:
            if read_mark(path) != self.mark:
                raise SettingError(
                    f"--resume: {path} was made with other weights or options, or by something else, and nothing is "
                    "overwritten; give the options it was made with, or another --output-dir"
                )
        return len(existing) == len(self.paths(name))

    def write(self, name: str, image: np.ndarray, bands: Iterator[Band]) -> np.ndarray:
        """Write all files of one picture, uint8 (H, W, 3); the last one makes it finished. Returns its label (H, W)."""
        (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        prediction = self.collect(image.shape[:2], bands)
        for part, path in self.paths(name).items():
            with replacing(path) as temporary:
                self.save(temporary, part, image, prediction)
        return prediction.label

    def collect(self, size: tuple[int, int], bands: Iterator[Band]) -> Prediction:
        """Put the bands together."""
        label = np.empty(size, np.uint8)
        p = self.large((len(self.classes), *size), np.float16) if "probs" in self.kinds else None
        maps = self.large((len(MEASURES), *size), np.float32) if "uncertainty" in self.kinds else None
        for band in bands:
            label[band.rows] = band.label()
            if p is not None:
                p[:, band.rows] = band.probabilities
            if maps is not None:
                maps[:, band.rows] = band.uncertainty
        return Prediction(label, p, maps)

    def large(self, shape: tuple[int, ...], dtype: type) -> np.ndarray:
        """An array to be filled: in memory, or on the disk where it is larger than IN_MEMORY."""
        if math.prod(shape) * np.dtype(dtype).itemsize <= IN_MEMORY:
            return np.empty(shape, dtype)
        with tempfile.TemporaryFile(dir=self.folder) as file:  # has no name, and goes when the array goes
            return np.memmap(file, dtype, "w+", shape=shape)

    def save(self, path: Path, part: str, image: np.ndarray, prediction: Prediction) -> None:
        """Write one file, whatever `path` is called."""
        label, remark = prediction.label, {MARK: self.mark}
        if part == "mask.png":
            save_mask(path, label, self.classes, remark)
        elif part == "ids.png":
            save_picture(path, self.classes.to_file_values(label), remark)
        elif part == "overlay.png":
            save_picture(path, self.explained(overlay(image, label, self.classes, self.alpha), label), remark)
        elif part == "side.png":
            save_picture(path, self.explained(beside(image, colourise(label, self.classes)), label), remark)
        elif part == "uncertainty.png":
            save_picture(path, uncertainty_picture(prediction.uncertainty, len(self.classes)), remark)
        elif part == "uncertainty.npz":
            self.save_arrays(path, dict(zip(MEASURES, prediction.uncertainty, strict=True)))
        else:
            self.save_arrays(path, {"probs": prediction.probabilities, "classes": np.array(self.classes.names)})

    def explained(self, picture: np.ndarray, label: np.ndarray) -> np.ndarray:
        """The picture with its legend, where one is wanted."""
        if not self.legend:
            return picture
        ids = range(len(self.classes)) if self.all_classes else np.flatnonzero(np.bincount(label.ravel())).tolist()
        return with_legend(picture, self.classes, ids)

    def save_arrays(self, path: Path, arrays: dict[str, Any]) -> None:
        with open(path, "wb") as file:  # savez would add .npz to a mere name
            np.savez_compressed(file, **arrays, **{MARK: np.array(self.mark)})


def read_mark(path: Path) -> str | None:
    """The mark of a file; None where there is none, or the file cannot be read."""
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                return str(arrays[MARK])
        with Image.open(path) as picture:  # reads the header only
            return picture.info.get(MARK)
    except (OSError, ValueError, KeyError, SyntaxError, EOFError, zipfile.BadZipFile):
        return None


def read_clip_mark(path: Path) -> str | None:
    """The mark of a video or GIF; None where there is none, or the file cannot be read."""
    try:
        if path.suffix == ".gif":
            with Image.open(path) as picture:
                return picture.info.get("comment", b"").decode("latin-1")
        with opened(path) as container:
            return container.metadata.get("comment")
    except (OSError, ValueError):
        return None


def uncertainty_picture(maps: np.ndarray, num_classes: int) -> np.ndarray:
    """Predictive entropy and mutual information side by side, both in nats: from (3, H, W) to uint8 (H', W', 3).

    Entropy's scale ends at ln K for every picture of a network. The passes' disagreement is far smaller, and how small
    differs between networks (dropout behind the last features changes little), so its scale ends where it does.
    """
    top, disagreement = math.log(num_classes), round_top(maps[1])
    return beside(
        heat_map(maps[0], top, "entropy: all uncertainty", f"{top:.2f} nats = ln {num_classes}"),
        heat_map(maps[1], disagreement, "mutual information: the model's part", f"{disagreement:g} nats or more"),
    )
