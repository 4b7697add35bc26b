"""Runs side by side: what each reached, and in which of their settings they differ.

Two runs are compared fairly when little else differs than what is asked about. So the settings that all runs share are
left out, and every one that is not the same is shown, wanted or not.
"""

from __future__ import annotations

import glob
import json
import tomllib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors

from ..files import is_alive
from ..plots import read_log
from ..weights import METADATA_KEY
from .config import Config, SettingError
from .network import RUN_STATE
from .run_folder import RunFolder

SCORES = ("pixel_acc", "mean_acc", "mean_iu", "fw_iu")
BUFFERS = ("running_mean", "running_var", "num_batches_tracked")  # kept with the weights, and no parameters


@dataclass
class RunRecord:
    """A run as its files tell it. log: log.csv by columns, (epochs,) each; settings, network and parameters are None
    where no file says them."""

    name: str
    path: Path
    log: dict[str, np.ndarray]
    settings: dict[str, Any] | None = None
    network: str | None = None
    parameters: int | None = None
    running: bool = False

    @property
    def best(self) -> int:
        """The row of the log with the highest mean IU; the last one of a run that is not validated."""
        iu = self.column("mean_iu")
        return int(np.nanargmax(iu)) if np.isfinite(iu).any() else len(iu) - 1

    @property
    def epochs(self) -> int:
        """How many are done."""
        return int(np.nanmax(self.log["epoch"]))

    @property
    def hours(self) -> np.ndarray:
        """(epochs,): time spent on training until the end of each; validation not included."""
        return np.nancumsum(self.column("seconds")) / 3600

    def column(self, name: str) -> np.ndarray:
        """A column of the log, (epochs,): NaN where there is no finite number."""
        values = self.log.get(name, np.full(len(self.log["epoch"]), np.nan))
        return np.where(np.isfinite(values), values, np.nan)

    def score(self, name: str) -> float:
        """A column's value in the best epoch."""
        return float(self.column(name)[self.best])

    @property
    def images_per_s(self) -> float:
        """Training speed: the median over the epochs."""
        values = self.column("images_per_s")
        return float(np.nanmedian(values)) if np.isfinite(values).any() else float("nan")

    @property
    def class_ius(self) -> dict[str, float]:
        """Each class's IU in the best epoch, by the class's name."""
        return {name.removeprefix("iu_"): self.score(name) for name in self.log if name.startswith("iu_")}


# --- finding and reading ----------------------------------------------------------------------------------


def read_runs(places: Sequence[str | Path]) -> tuple[list[RunRecord], list[str]]:
    """The runs in these places, and for each place without one that can be read, what is the matter.

    places: run folders, log.csv files, folders of run folders, or patterns such as runs/*, for shells that leave those
    to the program. Errors: SettingError for a place that does not exist, or a pattern that fits nothing.
    """
    logs, problems = [], []
    for place in places:
        for path in expand(str(place)):
            found = logs_in(path)
            logs += found
            if not found:
                problems.append(f"{path}: no log.csv, so there is no finished epoch to draw")
    logs = list(dict.fromkeys(logs))  # given twice, drawn once
    runs = []
    for log, name in zip(logs, short_names(logs), strict=True):
        try:
            runs.append(read_run(log, name))
        except (ValueError, OSError) as error:
            problems.append(str(error) if str(log) in str(error) else f"{log}: {error}")
    return runs, problems


def expand(place: str) -> list[Path]:
    """The path itself, or all that a pattern fits. Errors: SettingError where there is neither."""
    if Path(place).exists():
        return [Path(place)]
    if not glob.has_magic(place):
        raise SettingError(f"{place}: no such run folder or log.csv")
    found = sorted(Path(path) for path in glob.glob(place))
    if not found:
        raise SettingError(f"{place}: fits no file or folder here")
    return found


def logs_in(path: Path) -> list[Path]:
    """The log.csv that a path means: its own, or those of the run folders in it; none where it is neither."""
    if path.is_file():
        return [path] if path.suffix == ".csv" else []
    if (path / "log.csv").exists():
        return [path / "log.csv"]
    return sorted(path.glob("*/log.csv"))


def short_names(logs: Sequence[Path]) -> list[str]:
    """A name for each log: its folder's, with as many folders above it as are needed to tell them apart. A file of
    another name than log.csv is called after itself."""
    paths = [log.resolve() if log.name != "log.csv" else log.resolve().parent for log in logs]
    depth = 1
    while depth < max(len(path.parts) for path in paths) if paths else False:
        names = ["/".join(path.parts[-depth:]) for path in paths]
        if len(set(names)) == len(names):
            return names
        depth += 1
    return [str(path) for path in paths]


def read_run(log: Path, name: str) -> RunRecord:
    """The run of one log.csv. Errors: ValueError where the log holds no epoch or is no table."""
    columns = read_log(log)
    if not np.isfinite(columns["epoch"]).any():
        raise ValueError(f"{log}: its column 'epoch' holds no numbers")
    record = RunRecord(name, log.parent, columns)
    if log.name != "log.csv":
        return record
    folder = RunFolder(log.parent)
    record.settings = read_settings(folder.config)
    record.network, record.parameters = read_network(folder.best if folder.best.exists() else folder.last)
    record.running = is_running(folder.path)
    return record


def is_running(folder: Path) -> bool:
    """Whether a process of this machine is at work in a run folder, as its claim there says."""
    try:
        owner = (folder / ".in-use").read_text()
    except OSError:  # nobody, or it has ended just now
        return False
    return owner.isdecimal() and is_alive(int(owner))


def read_settings(path: Path) -> dict[str, Any] | None:
    """All settings of a run, defaults included; None where the file is missing or broken. Settings that only a newer
    version knows are kept."""
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    settings = {**asdict(Config(data="?")), **given}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in settings.items()}


def read_network(path: Path) -> tuple[str | None, int | None]:
    """The network's name and number of parameters, from a checkpoint's header; None where it does not say."""
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            metadata = json.loads((file.metadata() or {}).get(METADATA_KEY, "{}"))
            names = [n for n in file.keys() if not n.startswith(RUN_STATE) and not n.endswith(BUFFERS)]  # noqa: SIM118
            count = sum(int(np.prod(file.get_slice(name).get_shape())) for name in names)
    except (OSError, ValueError, safetensors.SafetensorError):
        return None, None
    return metadata.get("model"), count


# --- comparing --------------------------------------------------------------------------------------------


def differing_settings(runs: Sequence[RunRecord]) -> dict[str, list[Any]]:
    """The settings that are not the same in all runs: name → value in each run. Runs that do not say are not asked;
    their value is None."""
    known = [run.settings for run in runs if run.settings is not None]
    names = dict.fromkeys(name for settings in known for name in settings)
    return {
        name: [None if run.settings is None else run.settings.get(name) for run in runs]
        for name in names
        if any(settings.get(name) != known[0].get(name) for settings in known)
    }


def class_table(runs: Sequence[RunRecord]) -> dict[str, list[float]]:
    """Each class's IU in every run's best epoch: name → one number a run, NaN where the run has no such class."""
    names = dict.fromkeys(name for run in runs for name in run.class_ius)
    return {name: [run.class_ius.get(name, float("nan")) for run in runs] for name in names}


def table_rows(runs: Sequence[RunRecord], per_class: bool = False) -> list[dict[str, Any]]:
    """One flat row a run, for a CSV file: scores of the best epoch, size, speed, and the settings that differ."""
    differing = differing_settings(runs)
    classes = class_table(runs) if per_class else {}
    return [
        {
            "run": run.name,
            "folder": str(run.path),
            "network": run.network,
            "parameters": run.parameters,
            "epochs_done": run.epochs,
            "best_epoch": int(run.score("epoch")),
            **{name: run.score(name) for name in (*SCORES, "train_loss", "val_loss")},
            "images_per_s": run.images_per_s,
            "hours": float(run.hours[-1]),
            **{f"iu_{name}": values[i] for name, values in classes.items()},
            **{name: values[i] for name, values in differing.items()},
        }
        for i, run in enumerate(runs)
    ]
