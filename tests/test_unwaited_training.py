"""Training that does not wait for a GPU: the same numbers as on the CPU, and nothing read back in between.

The make-believe GPU (tests/strict_cupy.py) counts how often the host would have waited. Numbers differ from the CPU's
by rounding alone.
"""

from __future__ import annotations

import csv
import math
import signal
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from scratchfcn import backend
from scratchfcn.cli.progress import TrainingDisplay
from scratchfcn.cuda import kernels
from scratchfcn.data import Batch, Classes, Dataset, Shapes
from scratchfcn.training import (
    Config,
    Evaluator,
    Interrupted,
    Listener,
    Network,
    RunFolder,
    Trainer,
    TrainingDiverged,
)
from scratchfcn.weights import load

pytestmark = pytest.mark.skipif(backend.cuda_problem() is not None, reason="no CUDA here")

FEW = (32, 32)


class TwoTasks(Dataset):
    """Shapes, labelled twice: which class, and whether there is anything."""

    def __init__(self, images: Shapes) -> None:
        self.images, self.classes = images, images.classes
        self.tasks = {
            "semantic": images.classes,
            "geometric": Classes(("nothing", "something"), ((0, 0, 0), (9, 9, 9))),
        }

    def __len__(self) -> int:
        return len(self.images)

    def name(self, i: int) -> str:
        return self.images.name(i)

    def views(self) -> dict[str, Dataset]:
        return {"semantic": self.images}  # to be drawn

    def read(self, i: int) -> tuple[np.ndarray, np.ndarray]:
        image, label = self.images.read(i)
        return image, np.stack([label, np.where(label == 255, 255, label > 0).astype(np.uint8)], axis=-1)


def make_trainer(
    folder: Path,
    device: str,
    listener: Listener | None = None,
    tasks: bool = False,
    weighted: bool = False,
    images: int = 6,
    validate: bool = False,
    **settings: Any,
) -> Trainer:
    """A small run with everything that has state."""
    options = {"epochs": 2, "batch_size": 2, "data": "shapes", "lr": 3e-3, "dropout": 0.3, "workers": 0} | settings
    config = Config(**options)
    train_set, val_set = Shapes(images, FEW, seed=1), Shapes(3, FEW, seed=2)
    if tasks:
        train_set, val_set = TwoTasks(train_set), TwoTasks(val_set)
    backend.manual_seed(config.seed)
    network = Network.build(
        config.model_name,
        train_set.classes,
        None,
        train_set.tasks,
        batch_norm=config.batch_norm,
        dropout=config.dropout,
    )
    run = RunFolder(folder)
    if not run.config.exists():
        run.create(config)
    weights = np.linspace(0.5, 1.5, len(train_set.classes)) if weighted else None
    return Trainer(config, network, train_set, val_set if validate else None, run, device, weights, listener)


def log_of(folder: Path) -> list[dict[str, float]]:
    with open(folder / "log.csv", newline="") as file:
        return [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]


def assert_close_runs(a: Path, b: Path, tolerance: float = 2e-3) -> None:
    """Log and weights agree but for rounding, which training magnifies."""
    for one, two in zip(log_of(a), log_of(b), strict=True):
        for name in set(one) - {"seconds", "images_per_s"}:
            assert one[name] == pytest.approx(two[name], rel=0.02, abs=tolerance, nan_ok=True), name
    one, two = load(a / "last.safetensors"), load(b / "last.safetensors")
    assert set(one.arrays) == set(two.arrays)
    for name, array in one.arrays.items():
        np.testing.assert_allclose(array, two.arrays[name], atol=tolerance * max(1, np.abs(array).max()), err_msg=name)
    assert one.metadata["run"]["generator"] == two.metadata["run"]["generator"]
    for name in ("epoch", "batch", "step"):
        assert one.metadata["run"][name] == two.metadata["run"][name]


class Losses(Listener):
    """Notes every step's loss, and the progress that came with it."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, int, int]] = []
        self.losses: list[float] = []

    def step(self, trainer: Trainer, loss: float) -> None:
        progress = trainer.progress
        self.seen.append((progress.epoch, progress.batch, progress.step))
        self.losses.append(loss)


class Stop(Losses):
    """Presses Ctrl-C once, when step number `at` is known."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.at = at

    def step(self, trainer: Trainer, loss: float) -> None:
        super().step(trainer, loss)
        if trainer.progress.step == self.at:
            signal.raise_signal(signal.SIGINT)


@pytest.fixture(autouse=True)
def plain_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernels for sums are slow on a make-believe GPU, and have tests of their own."""
    monkeypatch.setattr(kernels, "summable", lambda x: False)


@pytest.fixture
def late(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU so slow that nothing is done until somebody waits for it."""
    strict_cuda = pytest.importorskip("strict_cuda")
    waited = weakref.WeakSet()
    synchronize = strict_cuda.Event.synchronize
    monkeypatch.setattr(strict_cuda.Event, "done", property(lambda event: event in waited))
    monkeypatch.setattr(strict_cuda.Event, "synchronize", lambda event: (synchronize(event), waited.add(event))[0])


@pytest.fixture
def plain_ways() -> Iterator[None]:
    """Without the kernels."""
    kernels.set_fused(False)
    yield
    kernels.set_fused(True)


# --- the same numbers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [
        {"optimizer": "adam", "batch_norm": True},
        {"optimizer": "sgd", "lr": 0.01, "weighted": True, "loss_sampling": 0.5},
        {"tasks": True, "accumulate": 2, "weighted": True, "batch_norm": False},
    ],
    ids=["adam", "sgd", "tasks"],
)
def test_a_run_is_the_cpus(tmp_path: Path, settings: dict[str, Any]) -> None:
    heard = {}
    for device in ("cpu", "cuda"):
        heard[device] = Losses()
        make_trainer(tmp_path / device, device, heard[device], validate=True, **settings).fit()
    np.testing.assert_allclose(heard["cuda"].losses, heard["cpu"].losses, rtol=0.01)
    assert heard["cuda"].seen == heard["cpu"].seen  # every step was told, in order, with its own progress
    assert_close_runs(tmp_path / "cpu", tmp_path / "cuda")


def test_without_the_kernels_a_run_is_the_same(tmp_path: Path, plain_ways: None) -> None:
    for device in ("cpu", "cuda"):
        trainer = make_trainer(tmp_path / device, device, epochs=1)
        assert not trainer.step.unwaited
        trainer.fit()
    assert_close_runs(tmp_path / "cpu", tmp_path / "cuda")


def test_the_logs_loss_is_the_sum_of_what_was_heard(tmp_path: Path) -> None:
    heard = Losses()
    trainer = make_trainer(tmp_path / "run", "cuda", heard, epochs=1)
    trainer.fit()
    total = 0.0
    for loss in heard.losses:
        total += loss
    assert log_of(tmp_path / "run")[0]["train_loss"] == float(f"{total / len(trainer.loader):.6g}")


# --- nothing is waited for ----------------------------------------------------------------------------------


def waits(trainer: Trainer) -> int:
    """How often a steady-state epoch waits, its last losses not counted."""
    import strict_cupy

    trainer.train_epoch()  # buffers and kernels are made here
    trainer.progress.batch = 0
    counted, all_of_them = [], trainer.readings.all

    def noted() -> Any:
        counted.append(strict_cupy.synchronised())
        return all_of_them()

    trainer.readings.all = noted
    before = strict_cupy.synchronised()
    trainer.train_epoch()
    assert len(counted) == 1
    return counted[0] - before


@pytest.mark.parametrize(
    "settings",
    [
        {"optimizer": "adam", "batch_norm": True, "model": "fcn8s", "images": 2},  # with all kernels
        {"optimizer": "sgd", "batch_norm": True, "weighted": True, "model": "fcn8s"},
        {"optimizer": "sgd", "loss_sampling": 0.5, "accumulate": 2},
        {"tasks": True, "model": "fcn16s", "weighted": True},
    ],
    ids=["adam", "sgd", "sampled", "tasks"],
)
def test_no_step_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any]) -> None:
    pytest.importorskip("strict_cupy")
    if settings.get("images") == 2:
        monkeypatch.undo()
    display = TrainingDisplay(Console(quiet=True))
    trainer = make_trainer(tmp_path / "run", "cuda", display, **settings)
    assert trainer.step.unwaited
    display.before(trainer, 1.0)
    with display:
        assert waits(trainer) == 0
    assert math.isfinite(display.smooth_loss)


def test_validation_waits_for_no_image(tmp_path: Path) -> None:
    strict_cupy = pytest.importorskip("strict_cupy")
    trainer = make_trainer(tmp_path / "run", "cuda", tasks=True)
    evaluator = Evaluator(TwoTasks(Shapes(7, (20, 28), seed=3)), (16, 24), workers=0)
    evaluator(trainer.network, "cuda")
    counted = []
    before = strict_cupy.synchronised()
    evaluator(
        trainer.network, "cuda", keep=(0, 5), progress=lambda done, total: counted.append(strict_cupy.synchronised())
    )
    assert len(counted) == 7
    assert counted[-1] - before <= 1  # for the last ones, together


# --- stopping and resuming ----------------------------------------------------------------------------------


SMALL = {"epochs": 2, "accumulate": 2, "batch_size": 1, "optimizer": "sgd", "lr": 0.01}  # 2 epochs of 3 steps


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[float]]:
    """A run on the GPU that was never stopped, and its losses."""
    folder, heard = tmp_path_factory.mktemp("runs") / "straight", Losses()
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(kernels, "summable", lambda x: False)
        make_trainer(folder, "cuda", heard, **SMALL).fit()
    return folder, heard.losses


@pytest.mark.parametrize("at", [1, 3, 5, 6])
def test_a_run_on_the_gpu_goes_on_bit_for_bit(
    straight: tuple[Path, list[float]], tmp_path: Path, late: None, at: int
) -> None:
    stop = Stop(at)
    with pytest.raises(Interrupted):
        make_trainer(tmp_path / "run", "cuda", stop, **SMALL).fit()
    saved = load(tmp_path / "run" / "last.safetensors").metadata["run"]
    assert saved["step"] == len(stop.seen) >= at  # all that was taken is known, and saved
    after = Losses()
    again = make_trainer(tmp_path / "run", "cuda", after, **SMALL)
    again.restore(load(tmp_path / "run" / "last.safetensors"))
    again.fit()
    assert stop.losses + after.losses == straight[1]
    one, two = (load(folder / "last.safetensors") for folder in (straight[0], tmp_path / "run"))
    for name, array in one.arrays.items():
        np.testing.assert_array_equal(array, two.arrays[name], err_msg=name)
    one.metadata["run"].pop("seconds"), two.metadata["run"].pop("seconds")
    assert one.metadata == two.metadata


@pytest.mark.parametrize(("first", "second"), [("cuda", "cpu"), ("cpu", "cuda")])
def test_a_run_goes_on_on_another_device(tmp_path: Path, first: str, second: str) -> None:
    make_trainer(tmp_path / "straight", "cpu").fit()
    with pytest.raises(Interrupted):
        make_trainer(tmp_path / "run", first, Stop(2)).fit()
    again = make_trainer(tmp_path / "run", second)
    again.restore(load(tmp_path / "run" / "last.safetensors"))
    again.fit()
    assert_close_runs(tmp_path / "straight", tmp_path / "run")


# --- a loss that is not finite ------------------------------------------------------------------------------


def spoil(trainer: Trainer, step: int) -> None:
    """The batches of step number `step`, from 0, hold an infinity."""
    epoch = trainer.loader.epoch

    def spoilt(number: int, start: int = 0) -> Iterator[Batch]:
        for i, batch in enumerate(epoch(number, start), start=start):
            if number * len(trainer.loader) + i == step:
                batch.images[0, 1, 3, 5] = np.inf
            yield batch

    trainer.loader.epoch = spoilt


@pytest.mark.parametrize("step", [0, 2, 4])
def test_divergence_is_told_as_on_the_cpu(tmp_path: Path, late: None, step: int) -> None:
    """The step, the op and the checkpoint; and nothing that came later has changed a weight."""
    said, weights, heard = {}, {}, {}
    for device in ("cpu", "cuda"):
        heard[device] = Losses()
        trainer = make_trainer(tmp_path / "run", device, heard[device], batch_norm=False)
        trainer.first_loss = lambda: 1.0  # which looks at the first batch
        spoil(trainer, step)
        with pytest.raises(TrainingDiverged) as caught:
            trainer.fit()
        said[device] = str(caught.value)
        weights[device] = {n: backend.to_numpy(p.data) for n, p in trainer.network.model.named_parameters()}
        assert len(trainer.readings) == 0
    assert said["cuda"] == said["cpu"]
    assert f"epoch {step // 3 + 1}, step {step + 1}: the loss is nan\n  first in op conv2d" in said["cuda"]
    assert len(heard["cuda"].losses) == step
    for name, array in weights["cpu"].items():
        np.testing.assert_allclose(weights["cuda"][name], array, atol=2e-3, err_msg=name)


def test_after_a_divergence_a_run_can_go_on_from_where_it_was_saved(tmp_path: Path, late: None) -> None:
    make_trainer(tmp_path / "straight", "cuda", **SMALL).fit()
    trainer = make_trainer(tmp_path / "run", "cuda", **SMALL)
    epoch = trainer.loader.epoch
    spoil(trainer, 7)  # batches are counted here, two for each step
    with pytest.raises(TrainingDiverged, match="epoch 2, step 4"):
        trainer.fit()
    trainer.loader.epoch = epoch
    trainer.restore(load(tmp_path / "run" / "last.safetensors"))
    assert trainer.progress.step == 3
    trainer.fit()
    one, two = (load(tmp_path / name / "last.safetensors") for name in ("straight", "run"))
    for name, array in one.arrays.items():
        np.testing.assert_array_equal(array, two.arrays[name], err_msg=name)
    assert log_of(tmp_path / "straight")[-1]["train_loss"] == log_of(tmp_path / "run")[-1]["train_loss"]


def test_an_overflow_of_the_weights_is_named(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path / "run", "cuda", dropout=0.0)
    trainer.network.model.fc7.weight.data[...] = 1e38
    with pytest.raises(TrainingDiverged) as caught:
        trainer.fit()
    assert "epoch 1, step 1" in str(caught.value)
    assert "fc7.weight" in str(caught.value)


def test_weights_that_are_nan_are_named(tmp_path: Path) -> None:
    class Poison(Listener):
        def step(self, trainer: Trainer, loss: float) -> None:
            trainer.network.model.fc6.weight.data[0, 0, 0, 0] = np.nan

    trainer = make_trainer(tmp_path / "run", "cuda", Poison())
    with pytest.raises(TrainingDiverged, match=r"the loss is nan\n  weight fc6.weight held NaN"):
        trainer.fit()


def test_a_wrong_label_is_named_before_it_reaches_the_gpu(tmp_path: Path) -> None:
    said = {}
    for device in ("cpu", "cuda"):
        trainer = make_trainer(tmp_path / device, device)
        [batch] = list(trainer.loader.epoch(0))[:1]
        batch.labels[0, 3, 4:6] = 99
        with pytest.raises(ValueError, match=r"label 99 at 2 pixel\(s\)") as caught:
            trainer.train_step([batch])
        said[device] = str(caught.value)
    assert said["cpu"] == said["cuda"]


# --- validation ---------------------------------------------------------------------------------------------


class OfManySizes(Shapes):
    """Photographs and their masks may differ in size from one to the next."""

    def read(self, i: int) -> tuple[np.ndarray, np.ndarray]:
        image, label = super().read(i)
        return image[: 32 - 3 * i, : 20 + i], label[: 32 - 3 * i, : 20 + i]


@pytest.mark.parametrize("size", [None, (24, 28)])
@pytest.mark.parametrize("tasks", [False, True])
def test_validation_counts_what_the_cpu_does(tmp_path: Path, tasks: bool, size: tuple[int, int] | None) -> None:
    trainer = make_trainer(tmp_path / "run", "cpu", tasks=tasks, images=4)
    trainer.train_epoch()
    images = OfManySizes(5, FEW, seed=5)
    weights = np.linspace(0.5, 1.5, len(images.classes))
    results, seen = {}, {}
    for device in ("cpu", "cuda"):
        trainer.network.model.to(device)
        seen[device] = []
        results[device] = Evaluator(TwoTasks(images) if tasks else images, size, workers=0)(
            trainer.network,
            device,
            keep=(1, 4),
            class_weights=weights,
            boundaries=tasks,
            each=(lambda score, prediction, device=device: seen[device].append((score, prediction))) if tasks else None,
        )
    cpu, cuda = results["cpu"], results["cuda"]
    np.testing.assert_array_equal(cuda.confusion.matrix, cpu.confusion.matrix)
    assert cuda.loss == pytest.approx(cpu.loss, rel=1e-4)
    assert list(cuda.predictions) == [1, 4]
    for i, prediction in cuda.predictions.items():
        np.testing.assert_array_equal(prediction, cpu.predictions[i])
    assert list(cuda.others) == (["geometric"] if tasks else [])
    for task, matrix in cuda.others.items():
        np.testing.assert_array_equal(matrix.matrix, cpu.others[task].matrix)
    for one, two in zip(cuda.images, cpu.images, strict=True):
        assert replace(one, loss=0) == replace(two, loss=0) or math.isnan(one.boundary_f1)
        assert (one.number, one.name, one.pixel_acc) == (two.number, two.name, two.pixel_acc)
    for (_, one), (_, two) in zip(seen["cuda"], seen["cpu"], strict=True):
        np.testing.assert_array_equal(one, two)


def test_a_validation_that_is_stopped_leaves_no_copies_behind(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path / "run", "cuda")

    def stop(done: int, total: int) -> None:
        raise Interrupted

    with pytest.raises(Interrupted):
        Evaluator(Shapes(4, FEW, seed=3), None, workers=0)(trainer.network, "cuda", progress=stop)
