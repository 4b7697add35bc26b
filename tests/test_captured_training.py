"""Training with --cuda-graph: the run is what it is without, to the last bit, as far as cuBLAS is called the same way.

On a machine without a GPU the stand-in for CuPy records and launches; its arrays hold garbage until a launch.
"""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fake_cublas
import numpy as np
import pytest
import strict_cupy
from test_unwaited_training import TwoTasks

from scratchfcn import backend
from scratchfcn.cuda import graph, kernels, numerics
from scratchfcn.data import Shapes
from scratchfcn.training import Config, Listener, Network, RunFolder, SettingError, Trainer, TrainingDiverged
from scratchfcn.training.captured import CapturedStep
from scratchfcn.weights import load

SIZE = 16  # of the images


@pytest.fixture(scope="module", autouse=True)
def gpu() -> Iterator[None]:
    """A GPU, or the stand-in for CuPy with a cuBLAS."""
    if backend.cuda_problem() is None and backend.cupy() is not strict_cupy.cupy:
        yield
        return
    with strict_cupy.installed(), fake_cublas.installed(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(backend, "cuda_problem", lambda: None)
        kernels.set_fused(True)
        yield


class Losses(Listener):
    def __init__(self) -> None:
        self.losses: list[float] = []

    def step(self, trainer: Trainer, loss: float) -> None:
        self.losses.append(loss)


def make_trainer(folder: Path, tasks: bool = False, images: int = 6, device: str = "cuda", **settings: Any) -> Trainer:
    """A small run with dropout and class weights; of one epoch unless more are asked for."""
    options = {"epochs": 1, "batch_size": 1, "data": "shapes", "lr": 3e-3, "dropout": 0.3, "workers": 0}
    config = Config(**options | {"batch_norm": False} | settings)
    train_set = Shapes(images, (SIZE, SIZE), seed=1)
    if tasks:
        train_set = TwoTasks(train_set)
    backend.manual_seed(config.seed)
    options = config.model_options()
    network = Network.build(config.model_name, train_set.classes, None, train_set.tasks, **options)
    run = RunFolder(folder)
    if not run.config.exists():
        run.create(config)
    weights = np.linspace(0.5, 1.5, len(train_set.classes))
    return Trainer(config, network, train_set, None, run, device, weights, Losses())


def fit(trainer: Trainer) -> list[float]:
    """All losses of the run."""
    trainer.fit()
    return trainer.listener.losses


def assert_same_runs(a: Path, b: Path) -> None:
    logs = [list(csv.DictReader((folder / "log.csv").open())) for folder in (a, b)]
    for one, two in zip(*logs, strict=True):
        assert {n: x for n, x in one.items() if "s" not in n[-8:]} == {
            n: x for n, x in two.items() if "s" not in n[-8:]
        }
        assert one["train_loss"] == two["train_loss"]
    one, two = load(a / "last.safetensors"), load(b / "last.safetensors")
    assert set(one.arrays) == set(two.arrays)
    for name, array in one.arrays.items():
        np.testing.assert_array_equal(array, two.arrays[name], err_msg=name)
    assert one.metadata["run"]["generator"] == two.metadata["run"]["generator"]


@pytest.mark.parametrize(
    "settings",
    [
        {"batch_norm": True, "batch_size": 2, "images": 4, "epochs": 3},
        {"accumulate": 2, "images": 9, "optimizer": "sgd", "loss_sampling": 0.5},  # the last step has one batch
        {"tasks": True, "model": "fcn16s", "paper_biases": True},
    ],
)
def test_the_run_is_the_same(tmp_path: Path, settings: dict[str, Any]) -> None:
    plain = make_trainer(tmp_path / "plain", **settings)
    losses = fit(plain)
    trainer = make_trainer(tmp_path / "graph", cuda_graph=True, **settings)
    assert fit(trainer) == losses
    assert trainer.step.recorded.graph is not None
    assert_same_runs(tmp_path / "plain", tmp_path / "graph")


def test_one_graph_and_many_launches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first batch is run as usual; the second and third warm up; from then on all are launched."""
    calls: list[str] = []
    for name in ("run", "record", "launch"):
        original = getattr(graph.Recorded, name)
        monkeypatch.setattr(graph.Recorded, name, lambda self, n=name, f=original: calls.append(n) or f(self))
    trainer = make_trainer(tmp_path, epochs=2, images=4, cuda_graph=True)
    trainer.fit()
    assert calls == ["run", "run", "record", "launch", "launch", "launch", "launch", "launch"]


def test_batches_of_another_shape_have_no_graph(tmp_path: Path) -> None:
    """One in front of the graph, and one after it was made, which has been seen before by then."""
    trainer = make_trainer(tmp_path / "a", cuda_graph=True)
    twin = make_trainer(tmp_path / "b")
    xp = backend.cupy()
    for step, (n, size) in enumerate([(1, 16), (2, 8), (2, 8), (2, 8), (2, 8), (1, 16), (2, 8)]):
        rng = np.random.default_rng(step)
        images = xp.asarray(rng.standard_normal((n, 3, size, size)).astype("float32"))
        labels = xp.asarray(rng.integers(0, 7, (n, size, size)).astype("uint8"))
        losses = []
        state = backend.generator().bit_generator.state
        for made in (trainer, twin):
            backend.generator().bit_generator.state = state
            made.step.begin(1e-2)
            losses.append(made.step.add(images, labels).get())
            made.step.finish()
        assert losses[0] == losses[1]
    assert trainer.step.kind[0] == (2, 3, 8, 8)
    assert trainer.step.runs == 4
    ours, theirs = trainer.network.model.state_dict(), twin.network.model.state_dict()
    for name in ours:
        np.testing.assert_array_equal(backend.to_numpy(ours[name]), backend.to_numpy(theirs[name]))


def test_a_step_waits_for_nothing(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, cuda_graph=True)
    if backend.cupy() is not strict_cupy.cupy:
        pytest.skip("the stand-in counts")
    xp = backend.cupy()
    images, labels = xp.zeros((1, 3, SIZE, SIZE), "float32"), xp.zeros((1, SIZE, SIZE), "uint8")
    for i in range(6):
        before = strict_cupy.synchronised()
        trainer.step.begin(1e-3)
        trainer.step.add(images, labels)
        trainer.step.finish()
        assert strict_cupy.synchronised() == before, i


def test_a_loss_that_is_not_finite(tmp_path: Path) -> None:
    """No weight changes from that step on, in whatever way it was made; the run says which step it was."""
    trainer = make_trainer(tmp_path, images=8, cuda_graph=True, optimizer="sgd", momentum=0.0)
    xp, step = backend.cupy(), trainer.step
    good, bad = xp.ones((1, 3, SIZE, SIZE), "float32"), xp.full((1, 3, SIZE, SIZE), np.nan, "float32")
    labels = xp.zeros((1, SIZE, SIZE), "uint8")
    for images in (good, good, good, good, bad, good):
        step.begin(1e-3)
        loss = step.add(images, labels)
        step.finish()
        if images is bad:
            assert np.isnan(loss.get())
            weights = [p.data.get() for p in trainer.network.model.parameters()]
    assert step.finite.get() == 0
    for p, before in zip(trainer.network.model.parameters(), weights, strict=True):
        np.testing.assert_array_equal(p.data.get(), before)

    trainer = make_trainer(tmp_path / "run", images=8, cuda_graph=True, lr=1e3, optimizer="sgd")
    with pytest.raises(TrainingDiverged):
        trainer.fit()


def test_new_class_weights_make_a_new_graph(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, cuda_graph=True)
    xp = backend.cupy()
    images, labels = (
        xp.ones((1, 3, SIZE, SIZE), "float32"),
        xp.asarray(np.arange(SIZE**2).reshape(1, SIZE, SIZE) % 2, "uint8"),
    )
    bias = trainer.network.model.score_fr.bias.data
    bias[...] = xp.arange(7, dtype="float32")  # until classes have different scores, all weights give the same loss
    losses = []
    for weights in (np.ones(7), np.arange(7.0)):
        trainer.class_weights = weights
        for _ in range(4):
            trainer.step.begin(1e-9)
            losses.append(trainer.step.add(images, labels).get())
        trainer.step.finish()
        assert trainer.step.recorded.graph is not None
    assert losses[3] == losses[2]
    assert abs(losses[7] - losses[3]) > 0.1
    assert losses[7] == losses[4]


def test_what_cannot_be_recorded_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = make_trainer(tmp_path, cuda_graph=True)
    original = CapturedStep.loss

    def loss(step: CapturedStep, *arguments: Any, **checked: bool) -> Any:
        value = original(step, *arguments, **checked)
        assert value.item() > 0  # looks at it
        return value

    monkeypatch.setattr(CapturedStep, "loss", loss)
    with pytest.raises(SettingError, match=r"--cuda-graph: this cannot be recorded .*\n  fix: leave it out"):
        trainer.fit()


def test_it_needs_the_kernels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "_enabled", False)
    with pytest.raises(SettingError, match="--cuda-graph needs the CUDA kernels"):
        make_trainer(tmp_path, cuda_graph=True)


def test_on_the_cpu_it_is_not_heeded(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, device="cpu", images=2, cuda_graph=True, tf32=True, deterministic=False)
    assert not isinstance(trainer.step, CapturedStep)
    trainer.fit()


def test_numerics_are_those_of_the_settings_while_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if backend.cupy() is strict_cupy.cupy:
        monkeypatch.setattr(backend.cupy().cuda.Device, "compute_capability", "80")
    seen = []
    trainer = make_trainer(tmp_path, images=2, tf32=True, deterministic=False)
    trainer.listener.step = lambda *_: seen.append((numerics.tf32(), numerics.deterministic()))
    trainer.fit()
    assert seen == [(True, False)] * 2
    assert (numerics.tf32(), numerics.deterministic()) == (False, True)
