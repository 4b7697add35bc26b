"""The folder a run writes: settings, log, curves, pictures and checkpoints, each under a name that says what it is.

    config.toml         the settings                   val_007.png    photographs, truth and prediction after epoch 7
    log.csv             a line per epoch               confusion.png  who is mistaken for whom, at the best epoch
    curves.png          the log, drawn                 last.safetensors, best.safetensors   the network

Comments in config.toml say on what machine and from what the run was made. last.safetensors also holds what resuming
needs. Every file is written under another name and renamed when it is complete, so a run that is killed, at any
instant, leaves files that can be read.
"""

from __future__ import annotations

import csv
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..data import Classes, Dataset, main_view, mosaic, overlay
from ..files import replacing
from .config import Config, SettingError
from .evaluate import unscored

COLUMNS = (
    "epoch",
    "step",
    "lr",
    "train_loss",
    "val_loss",
    "pixel_acc",
    "mean_acc",
    "mean_iu",
    "fw_iu",
    "seconds",
    "images_per_s",
)


class RunFolder:
    """Names and writes the files of one run."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.config = self.path / "config.toml"
        self.log = self.path / "log.csv"
        self.curves = self.path / "curves.png"
        self.confusion = self.path / "confusion.png"
        self.last = self.path / "last.safetensors"
        self.best = self.path / "best.safetensors"

    def settings(self) -> Config | None:
        """The settings of the run, or None where the folder says nothing of them."""
        return Config(**Config.read(self.config)) if self.config.exists() else None

    def create(self, config: Config, remarks: Sequence[str] = ()) -> None:
        """Make the folder for a new run. remarks: lines for people, which stand as comments above the settings.

        Errors: SettingError where there is a run already; it is left alone.
        """
        self.refuse_if_used()
        self.path.mkdir(parents=True, exist_ok=True)
        with replacing(self.config) as file:
            file.write_text(comments(remarks) + config.to_toml(), encoding="utf-8")

    def add_remarks(self, remarks: Sequence[str]) -> None:
        """Add comments below the settings of a run that goes on; the settings stay as they are."""
        text = self.config.read_text(encoding="utf-8")
        with replacing(self.config) as file:
            file.write_text(text.rstrip("\n") + "\n" + comments(remarks), encoding="utf-8")

    def refuse_if_used(self) -> None:
        """SettingError where the folder holds a run, or is none."""
        if self.log.exists() or self.last.exists():
            raise SettingError(
                f"{self.path} holds a run already, and nothing is overwritten: resume it with --resume "
                f"{shlex.quote(str(self.path))}, or give another --output-dir"
            )
        if self.path.exists() and not self.path.is_dir():
            raise SettingError(f"{self.path} is a file; --output-dir needs a folder")

    def append_log(self, row: dict[str, Any], classes: Classes, per_class_iu: Sequence[float]) -> None:
        """Add an epoch to log.csv; a line of the same or a later epoch (from before a resume) is replaced."""
        columns = [*COLUMNS, *(name for name in row if name not in COLUMNS)]  # further tasks have columns of their own
        header = [*columns, *(f"iu_{name}" for name in classes.names)]
        values = [row[name] for name in columns] + list(per_class_iu)
        kept = [line for line in self.read_log() if int(line["epoch"]) < row["epoch"]]
        with replacing(self.log) as path, open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(header)
            writer.writerows([[line.get(name, "") for name in header] for line in kept])
            writer.writerow([f"{v:.6g}" if isinstance(v, float | np.floating) else v for v in values])

    def read_log(self) -> list[dict[str, str]]:
        """The lines of log.csv, oldest first."""
        if not self.log.exists():
            return []
        with open(self.log, newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    def draw_curves(self) -> None:
        """curves.png from log.csv."""
        from ..plots import plot_curves

        plot_curves(self.log, self.curves)

    def draw_confusion(self, matrix: np.ndarray, classes: Classes) -> None:
        """confusion.png from a confusion matrix (K, K)."""
        from ..plots import plot_confusion

        plot_confusion(matrix, list(classes.names), self.confusion, unscored(classes))

    def draw_validation(self, epoch: int, dataset: Dataset, predictions: dict[int, np.ndarray]) -> Path:
        """val_NNN.png: a row of photograph, truth and prediction for each of some images."""
        rows, dataset = [], main_view(dataset)
        for i, prediction in sorted(predictions.items()):
            image, label = dataset.read(i)
            truth = overlay(image, label, dataset.classes, alpha=0.8)
            rows.append([image, truth, overlay(image, prediction, dataset.classes, alpha=0.8)])
        path = self.path / f"val_{epoch:03d}.png"
        self._save_picture(path, mosaic(rows, ["image", "truth", "prediction"], legend=dataset.classes))
        return path

    def draw_data(self, dataset: Dataset, numbers: Sequence[int]) -> Path:
        """data.png: some training images with their masks over them, to look at before training."""
        rows, dataset = [], main_view(dataset)
        for i in numbers:
            image, label = dataset.read(i)
            rows.append([image, overlay(image, label, dataset.classes)])
        path = self.path / "data.png"
        self._save_picture(path, mosaic(rows, ["image", "mask over it"], legend=dataset.classes))
        return path

    def _save_picture(self, path: Path, picture: Any) -> None:
        with replacing(path) as temporary:
            picture.save(temporary, format="PNG")


def free_run_folder(parent: str | Path = "runs", name: str = "exp") -> Path:
    """The first of runs/exp1, runs/exp2 … that does not exist yet; `name` in place of exp."""
    number = 1
    while (Path(parent) / f"{name}{number}").exists():
        number += 1
    return Path(parent) / f"{name}{number}"


def comments(lines: Sequence[str]) -> str:
    """The lines as comments of a TOML file: one line each, whatever characters a path or a command may hold."""

    def is_plain(c: str) -> bool:  # neither a control character nor a byte that is no text
        return ord(c) >= 32 and ord(c) != 127 and not 0xD800 <= ord(c) <= 0xDFFF

    plain = ("".join(c if is_plain(c) else c.encode("unicode_escape").decode() for c in line) for line in lines)
    return "".join(f"# {line}".rstrip() + "\n" for line in plain)


def free_path(path: str | Path) -> Path:
    """`path`, or the first of NAME_2, NAME_3 … with its suffix, that does not exist yet."""
    path = Path(path)
    number, free = 1, path
    while free.exists():
        number += 1
        free = path.with_name(f"{path.stem}_{number}{path.suffix}")
    return free


def refuse_if_there(path: str | Path, option: str) -> None:
    """SettingError where a file that is to be written exists already, or where it cannot be one."""
    if Path(path).is_dir():
        raise SettingError(f"{option} {path} is a folder; name a file")
    if Path(path).exists():
        raise SettingError(f"{option} {path} exists, and nothing is overwritten; remove it, or give another name")


def latest_run(parent: str | Path = "runs") -> Path:
    """The run folder whose last.safetensors is the newest. Errors: SettingError where there is none."""
    checkpoints = sorted(Path(parent).glob("*/last.safetensors"), key=lambda path: path.stat().st_mtime)
    if not checkpoints:
        raise SettingError(f"there is no run to resume in {parent}/; name one with --resume FOLDER")
    return checkpoints[-1].parent


def examples(dataset: Dataset, count: int = 4) -> tuple[int, ...]:
    """Numbers of `count` images spread evenly over the data set."""
    count = min(count, len(dataset))
    return tuple(int(i) for i in np.linspace(0, len(dataset) - 1, count).round())
