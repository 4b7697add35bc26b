"""The training loop: it learns, resumes exactly, survives a kill, and explains a loss that is not finite."""

import csv
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import scratchfcn as sf
from scratchfcn import backend
from scratchfcn.data import Dataset, Shapes
from scratchfcn.training import (
    Config,
    Evaluator,
    Interrupted,
    Listener,
    Network,
    RunFolder,
    SettingError,
    Trainer,
    TrainingDiverged,
    load_network,
)
from scratchfcn.training import trainer as training
from scratchfcn.training.prepare import resumed_trainer, run_folder_of
from scratchfcn.weights import CheckpointError, load, save

TIMES = {"seconds", "images_per_s"}  # the only columns of the log that may differ between two equal runs


def make_trainer(folder: Path, device: str = "cpu", listener: Listener | None = None, **settings: Any) -> Trainer:
    """A small run with everything that has state: batch norm, dropout, Adam, a schedule, augmentation."""
    options = {"epochs": 3, "batch_size": 4, "data": "shapes", "lr": 3e-3, "dropout": 0.3} | settings
    config = Config(**options)
    train_set, val_set = Shapes(18, (32, 40), seed=1), Shapes(3, (32, 40), seed=2)
    backend.manual_seed(config.seed)
    network = Network.build(
        config.model_name, train_set.classes, config.size, batch_norm=config.batch_norm, dropout=config.dropout
    )
    run = RunFolder(folder)
    if not run.config.exists():
        run.create(config)
    return Trainer(config, network, train_set, val_set, run, device, listener=listener)


class Stop(Listener):
    """Presses Ctrl-C once, during step number `at`."""

    def __init__(self, at: int) -> None:
        self.at = at

    def step(self, trainer: Trainer, loss: float) -> None:
        if trainer.progress.step == self.at:
            signal.raise_signal(signal.SIGINT)


def scores_of(folder: Path) -> list[float]:
    """The mean IU of every epoch in the log; NaN where none was measured."""
    with open(folder / "log.csv", newline="") as file:
        return [float(row["mean_iu"]) for row in csv.DictReader(file)]


def assert_same_run(a: Path, b: Path) -> None:
    """Every array of last.safetensors bit for bit, its metadata, and the log without the clock's columns."""
    one, two = load(a / "last.safetensors"), load(b / "last.safetensors")
    assert set(one.arrays) == set(two.arrays)
    for name, array in one.arrays.items():
        np.testing.assert_array_equal(array, two.arrays[name], err_msg=name)
    for state in (one.metadata["run"], two.metadata["run"]):
        state.pop("seconds")
        state.pop("data")
    assert one.metadata == two.metadata
    logs = []
    for folder in (a, b):
        with open(folder / "log.csv", newline="") as file:
            logs.append([{k: v for k, v in row.items() if k not in TIMES} for row in csv.DictReader(file)])
    assert logs[0] == logs[1]


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was never stopped."""
    folder = tmp_path_factory.mktemp("runs") / "straight"
    make_trainer(folder).fit()
    return folder


# --- the run folder -----------------------------------------------------------------------------------------


def test_a_run_leaves_everything_it_promises(straight: Path) -> None:
    names = {path.name for path in straight.iterdir()}
    promised = {"config.toml", "log.csv", "curves.png", "confusion.png", "last.safetensors", "best.safetensors"}
    assert promised | {"val_001.png", "val_002.png", "val_003.png"} == names
    with open(straight / "log.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert [row["step"] for row in rows] == ["4", "8", "12"]
    for row in rows:
        for column in ("train_loss", "val_loss", "pixel_acc", "mean_acc", "mean_iu", "fw_iu", "iu_background", "lr"):
            assert math.isfinite(float(row[column])), column
    best = max(rows, key=lambda row: float(row["mean_iu"]))
    assert load(straight / "best.safetensors").metadata["metrics"]["epoch"] == int(best["epoch"])


def test_best_safetensors_holds_the_plain_state_dict(straight: Path) -> None:
    arrays = load(straight / "best.safetensors").arrays
    model = sf.models.build("fcn8s_small", num_classes=7, batch_norm=True)
    model.load_state_dict(arrays)
    assert set(arrays) == set(model.state_dict())


def test_a_checkpoint_predicts_without_anything_else(straight: Path) -> None:
    network = load_network(straight / "best.safetensors")
    image, _ = Shapes(1, (37, 51), seed=9).read(0)
    label = network.predict(image)
    assert label.shape == (37, 51)
    assert label.dtype == np.uint8
    probabilities = network.probabilities(image)
    np.testing.assert_allclose(probabilities.sum(axis=0), 1.0, atol=1e-5)
    np.testing.assert_array_equal(probabilities.argmax(axis=0), label)


def test_a_folder_with_a_run_is_not_used_again(straight: Path) -> None:
    before = (straight / "log.csv").read_bytes()
    with pytest.raises(SettingError, match="nothing is overwritten"):
        RunFolder(straight).create(Config(data="x"))
    assert (straight / "log.csv").read_bytes() == before


def test_config_survives_its_file(straight: Path) -> None:
    config = Config(size=(20, 30), scale=(0.5, 2.0), crop=(16, 16), init='a "b"\\c é', lr=1e-5, num_classes=4)
    path = straight / "elsewhere.toml"
    path.write_text(config.to_toml(), encoding="utf-8")
    assert Config(**Config.read(path)) == config
    path.unlink()


# --- learning -----------------------------------------------------------------------------------------------


def test_it_learns(tmp_path: Path, device: str) -> None:
    losses = []

    class Record(Listener):
        def step(self, trainer: Trainer, loss: float) -> None:
            losses.append(loss)

    make_trainer(tmp_path / "run", device, Record(), epochs=10, dropout=0.0).fit()
    assert losses[0] == pytest.approx(math.log(7), rel=1e-5)  # zero score layers: ln K
    assert np.mean(losses[-4:]) < 0.5 * losses[0]


@pytest.mark.parametrize("settings", [{"optimizer": "sgd", "lr": 0.05}, {"paper_biases": True}, {"schedule": "step"}])
def test_other_settings_train_too(settings: dict, tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path / "run", epochs=1, **settings)
    trainer.fit()
    assert trainer.progress.step == 4


def test_augmentation_by_scale_and_crop(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path / "run", epochs=1, scale=(0.7, 1.5), crop=(24, 24))
    assert next(trainer.loader.epoch(0)).images.shape == (4, 3, 24, 24)
    trainer.fit()


def test_without_validation_the_last_network_is_the_best(tmp_path: Path) -> None:
    config = Config(epochs=2, batch_size=4, data="shapes")
    data = Shapes(8, (16, 16))
    network = Network.build(config.model_name, data.classes, batch_norm=True)
    folder = RunFolder(tmp_path / "run")
    folder.create(config)
    Trainer(config, network, data, None, folder).fit()
    last, best = load(folder.last), load(folder.best)
    for name, array in best.arrays.items():
        np.testing.assert_array_equal(array, last.arrays[name])


def test_evaluation_equals_a_plain_computation(tmp_path: Path) -> None:
    data = Shapes(3, (40, 24), seed=3)
    network = make_trainer(tmp_path / "run", size=(20, 12)).network
    network.model.score_fr.bias.data[...] = np.arange(7)
    network.model.score_pool3.weight.data[...] = np.random.default_rng(0).normal(size=(7, 64, 1, 1))
    result = Evaluator(data, network.size)(network, keep=(1,))
    counts = np.zeros((7, 7), int)
    for i in range(3):
        image, label = data.read(i)
        prediction = network.predict(image)
        np.add.at(counts, (label.ravel(), prediction.ravel()), 1)
        if i == 1:
            np.testing.assert_array_equal(result.predictions[1], prediction)
    np.testing.assert_array_equal(result.confusion.matrix, counts)


# --- loss sampling ------------------------------------------------------------------------------------------


def test_labels_are_sampled_once_a_batch_and_only_to_learn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not for the loss before training, and not in validation."""
    shares, sampled = [], training.sample_loss

    def watched(labels: np.ndarray, p: float) -> np.ndarray:
        kept = sampled(labels, p)
        shares.append((kept != 255).mean())
        return kept

    monkeypatch.setattr(training, "sample_loss", watched)
    make_trainer(tmp_path / "run", epochs=2, loss_sampling=0.25, accumulate=2).fit()
    assert len(shares) == 8  # four batches an epoch, two of them a step
    assert np.mean(shares) == pytest.approx(0.25, abs=0.02)


def test_all_labels_need_no_chance(tmp_path: Path) -> None:
    """A share of 1 draws nothing, so runs without sampling are what they were before there was any."""
    trainer = make_trainer(tmp_path / "run", dropout=0.0)
    batch = next(trainer.loader.epoch(0))
    for share, draws in ((1.0, False), (0.5, True)):
        trainer.config = replace(trainer.config, loss_sampling=share)
        before = backend.generator().bit_generator.state
        trainer.loss(sf.Tensor(batch.images), batch.labels)
        assert (backend.generator().bit_generator.state != before) is draws


@pytest.mark.parametrize(("reduction", "factor"), [("mean", 1.0), ("sum", 0.25)])
def test_a_sampled_loss_is_on_average_the_dense_one_or_its_share(tmp_path: Path, reduction: str, factor: float) -> None:
    trainer = make_trainer(tmp_path / "run", dropout=0.0, reduction=reduction, batch_norm=False)
    rng = np.random.default_rng(0)
    trainer.network.model.score_fr.weight.data[...] = rng.normal(size=trainer.network.model.score_fr.weight.shape)
    batch = next(trainer.loader.epoch(0))
    x = sf.Tensor(batch.images)
    dense = trainer.loss(x, batch.labels).item()
    trainer.config = replace(trainer.config, loss_sampling=0.25)
    draws = [trainer.loss(x, batch.labels).item() for _ in range(60)]
    assert np.std(draws) > 0
    assert np.mean(draws) == pytest.approx(factor * dense, rel=0.02)


# --- resuming -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [1, 4, 6, 11])
def test_an_interrupted_run_resumes_bit_for_bit(straight: Path, tmp_path: Path, at: int) -> None:
    """Stopped after the first step, at the end of an epoch, in the middle of one, and before the last step."""
    folder = tmp_path / "run"
    with pytest.raises(Interrupted):
        make_trainer(folder, listener=Stop(at)).fit()
    assert load(folder / "last.safetensors").metadata["run"]["step"] == at
    sf.manual_seed(12345)  # a new process would not have the old generator either
    again = make_trainer(folder)
    sf.manual_seed(999)
    again.restore(load(folder / "last.safetensors"))
    again.fit()
    assert_same_run(straight, folder)


def test_resuming_from_a_network_only_is_refused(straight: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"only a run's last\.safetensors"):
        run_folder_of(straight / "best.safetensors")
    with pytest.raises(CheckpointError, match="nothing to resume"):
        run_folder_of(tmp_path / "elsewhere")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "last.safetensors").write_bytes((straight / "best.safetensors").read_bytes())
    with pytest.raises(CheckpointError, match="no state of a run"):
        resumed_trainer(tmp_path / "run", {}, "cpu")


CHILD = """
import sys
sys.path[:0] = [sys.argv[2]]
from pathlib import Path
from test_training import load, make_trainer
folder = Path(sys.argv[1])
trainer = make_trainer(folder)
if trainer.folder.last.exists():
    trainer.restore(load(trainer.folder.last))
print("ready", flush=True)
trainer.fit()
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
def test_a_killed_run_resumes_to_the_same_result(straight: Path, tmp_path: Path) -> None:
    """Kill the process again and again, at arbitrary moments; the run must end where the undisturbed one did."""
    folder, rng, kills = tmp_path / "run", np.random.default_rng(0), 0
    for attempt in range(40):
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(folder), str(Path(__file__).parent)], stdout=subprocess.PIPE
        )
        assert child.stdout.readline() == b"ready\n"
        try:
            child.wait(timeout=rng.uniform(0.05, 0.3) * (1 + 0.5 * max(0, attempt - 3)))
        except subprocess.TimeoutExpired:
            child.kill()
            kills += 1
        child.stdout.close()
        status = child.wait()
        if (folder / "last.safetensors").exists():
            load(folder / "last.safetensors")  # never half a file
        if status == 0:
            break
    assert status == 0
    assert kills >= 2
    assert_same_run(straight, folder)


def test_a_termination_signal_saves_too(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    child = subprocess.Popen(
        [
            sys.executable,
            "-c",
            CHILD,
            str(folder),
            str(Path(__file__).parent),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert child.stdout.readline() == b"ready\n"
    deadline = time.monotonic() + 60
    while not (folder / "last.safetensors").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(child.pid, signal.SIGTERM)
    _, errors = child.communicate(timeout=60)
    assert child.returncode != 0
    assert b"Interrupted" in errors
    assert load(folder / "last.safetensors").metadata["run"]["step"] >= 1


# --- a loss that is not finite ------------------------------------------------------------------------------


def test_a_nan_in_the_weights_is_named(tmp_path: Path) -> None:
    class Poison(Listener):
        def step(self, trainer: Trainer, loss: float) -> None:
            trainer.network.model.fc6.weight.data[0, 0, 0, 0] = np.nan

    trainer = make_trainer(tmp_path / "run", listener=Poison())
    with pytest.raises(TrainingDiverged, match=r"epoch 1, step 2: the loss is nan\n  weight fc6.weight held NaN"):
        trainer.fit()


def test_the_op_where_an_overflow_began_is_named(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path / "run", dropout=0.0)
    trainer.network.model.fc7.weight.data[...] = 1e38
    with pytest.raises(TrainingDiverged) as caught, np.errstate(all="ignore"):
        trainer.fit()
    assert "first in op conv2d" in str(caught.value)
    assert "fc7.weight" in str(caught.value)
    assert "--lr" in str(caught.value)


def test_divergence_in_the_middle_names_epoch_and_step_and_keeps_the_checkpoint(tmp_path: Path) -> None:
    class Poison(Listener):
        def step(self, trainer: Trainer, loss: float) -> None:
            if trainer.progress.step == 6:
                trainer.network.model.fc6.bias.data[0] = np.inf

    trainer = make_trainer(tmp_path / "run", listener=Poison())
    with pytest.raises(TrainingDiverged, match="epoch 2, step 7"), np.errstate(all="ignore"):
        trainer.fit()
    arrays = load(tmp_path / "run" / "last.safetensors").arrays
    assert all(np.isfinite(a).all() for a in arrays.values())
    assert load(tmp_path / "run" / "last.safetensors").metadata["run"]["step"] == 4


def test_weights_that_overflow_in_an_epochs_last_step_are_not_saved(tmp_path: Path) -> None:
    class Poison(Listener):
        def step(self, trainer: Trainer, loss: float) -> None:
            if trainer.progress.step == 8:
                trainer.network.model.fc6.bias.data[0] = np.nan

    trainer = make_trainer(tmp_path / "run", listener=Poison())
    with pytest.raises(TrainingDiverged, match=r"epoch 2, step 9: .*\n  weight fc6.bias") as caught:
        trainer.fit()
    assert "before epoch 2, step 5" in str(caught.value)
    for name in ("last.safetensors", "best.safetensors"):
        assert all(np.isfinite(a).all() for a in load(tmp_path / "run" / name).arrays.values())


def test_an_interrupt_during_validation_is_noticed_there(straight: Path, tmp_path: Path) -> None:
    class Impatient(Listener):
        said = 0

        def stopping(self) -> None:
            self.said += 1

        def validating(self, done: int, total: int) -> None:
            if done == 2 and not self.said:
                signal.raise_signal(signal.SIGINT)

    listener = Impatient()
    with pytest.raises(Interrupted):
        make_trainer(tmp_path / "run", listener=listener).fit()
    assert listener.said == 1
    again = make_trainer(tmp_path / "run")
    again.restore(load(tmp_path / "run" / "last.safetensors"))
    again.fit()
    assert_same_run(straight, tmp_path / "run")


def test_two_processes_do_not_train_in_one_folder(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path / "run")
    (tmp_path / "run" / ".in-use").write_text(str(os.getppid()))  # a process that runs, and is not this one
    with pytest.raises(BlockingIOError, match=f"process {os.getppid()} is at work"):
        trainer.fit()
    (tmp_path / "run" / ".in-use").write_text("999999999")  # one that was killed
    trainer.config = Config(epochs=0 + 1, batch_size=4, data="shapes")
    trainer.fit()
    assert not (tmp_path / "run" / ".in-use").exists()


# --- checkpoints that do not fit ----------------------------------------------------------------------------


def test_checkpoints_that_cannot_be_used_say_why(tmp_path: Path, straight: Path) -> None:
    good = load(straight / "best.safetensors")
    nameless = tmp_path / "nameless.safetensors"
    save(nameless, good.arrays)
    with pytest.raises(CheckpointError, match="does not say of which model"):
        load_network(nameless)
    newer = tmp_path / "newer.safetensors"
    save(newer, good.arrays, good.metadata | {"format": 99})
    with pytest.raises(CheckpointError, match="format 99"):
        load_network(newer)
    broken = tmp_path / "broken.safetensors"
    save(broken, {n: a for n, a in good.arrays.items() if n != "fc6.weight"}, good.metadata)
    with pytest.raises(CheckpointError, match=r"fc6\.weight: missing"):
        load_network(broken)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"model": "fcn4s"}, ["--model 'fcn4s'", "fcn32s"]),
        ({"epochs": 0}, ["--epochs", "0"]),
        ({"lr": -1.0}, ["--lr"]),
        ({"size": (0, 4)}, ["--size"]),
        ({"scale": (0.5, 2.0)}, ["--scale", "--crop"]),
        ({"lr": math.inf}, ["--lr", "inf"]),
        ({"seed": -1}, ["--seed", "-1"]),
        ({"size": (16.5, 20)}, ["--size", "whole numbers"]),
        ({"momentum": 2.0}, ["--momentum"]),
        ({"weight_decay": -1.0}, ["--weight-decay"]),
        ({"dropout": 1.5}, ["--dropout"]),
        ({"optimizer": "lbfgs"}, ["adam, sgd"]),
    ],
)
def test_impossible_settings_are_named_as_the_command_line_does(settings: dict, words: list[str]) -> None:
    with pytest.raises(SettingError) as caught:
        Config(**settings)
    assert all(word in str(caught.value) for word in words)


def test_a_config_file_with_mistakes_is_refused(tmp_path: Path) -> None:
    for text, words in [
        ("lr = ", "TOML"),
        ("learning = 1", "no setting 'learning'"),
        ('epochs = "9"', "epochs must be int"),
    ]:
        path = tmp_path / "run.toml"
        path.write_text(text)
        with pytest.raises(SettingError, match=words):
            Config.read(path)


def test_data_with_more_classes_than_the_network_is_an_error(tmp_path: Path) -> None:
    class Odd(Dataset):
        classes = Shapes(1).classes
        root = None

        def __len__(self) -> int:
            return 1

        def name(self, i: int) -> str:
            return "odd"

        def read(self, i: int) -> tuple[np.ndarray, np.ndarray]:
            return np.zeros((8, 8, 3), np.uint8), np.full((8, 8), 9, np.uint8)

    trainer = make_trainer(tmp_path / "run", epochs=1)
    with pytest.raises(ValueError, match="9"):
        Evaluator(Odd(), None)(trainer.network)


# --- validating now and then ------------------------------------------------------------------------------


def test_validating_every_other_epoch_changes_nothing_else(tmp_path: Path) -> None:
    make_trainer(tmp_path / "each", epochs=5).fit()
    other = make_trainer(tmp_path / "other", epochs=5, val_every=2)
    other.fit()
    scores = scores_of(tmp_path / "each")
    np.testing.assert_array_equal(scores_of(tmp_path / "other"), [math.nan, scores[1], math.nan, scores[3], scores[4]])
    one, two = load(tmp_path / "each" / "last.safetensors"), load(tmp_path / "other" / "last.safetensors")
    for name, array in one.arrays.items():
        np.testing.assert_array_equal(array, two.arrays[name], err_msg=name)
    seen = [scores[i] for i in (1, 3, 4)]
    assert load(tmp_path / "other" / "best.safetensors").metadata["metrics"]["mean_iu"] == pytest.approx(max(seen))
    assert other.progress.best_epoch == (2, 4, 5)[seen.index(max(seen))]
    assert sorted(path.name for path in (tmp_path / "other").glob("val_*.png")) == [
        f"val_00{epoch}.png" for epoch in (2, 4, 5)
    ]


def test_a_run_that_validates_now_and_then_resumes_exactly(tmp_path: Path) -> None:
    make_trainer(tmp_path / "whole", epochs=4, val_every=3).fit()
    with pytest.raises(Interrupted):
        make_trainer(tmp_path / "parts", epochs=4, val_every=3, listener=Stop(6)).fit()
    resumed = make_trainer(tmp_path / "parts", epochs=4, val_every=3)
    resumed.restore(load(resumed.folder.last))
    resumed.fit()
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


def test_val_every_is_a_number_of_epochs() -> None:
    with pytest.raises(SettingError, match="--val-every must lie between 1"):
        Config(val_every=0)
