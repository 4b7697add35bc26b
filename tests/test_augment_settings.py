"""From the command line to a run: data sets and splits, values to ignore, class weights, and runs that go on."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from test_commands import FAST, run, said, write_pairs
from test_training import Stop, assert_same_run

import scratchfcn as sf
from scratchfcn.data import Classes, DataError, Shapes, read_label
from scratchfcn.data.class_weights import inverse_frequency, write_class_weights
from scratchfcn.training import (
    Config,
    Evaluator,
    Interrupted,
    RunFolder,
    SettingError,
    Trainer,
    new_trainer,
    open_data,
    resumed_trainer,
)
from scratchfcn.training.prepare import class_weights
from scratchfcn.weights import load, save

EVERYTHING = {
    "scale": (0.7, 1.4),
    "crop": (24, 24),
    "rotate": 20.0,
    "colour": 0.8,
    "blur": 2.0,
    "cutout": 0.5,
    "loss_sampling": 0.6,
    "class_weights": "inverse",
}
VOIDS = (200, 77)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    write_pairs(folder, "train", 8, 0, size=(30, 36))
    write_pairs(folder, "val", 3, 1, size=(30, 36))
    return folder


def with_voids(folder: Path) -> Path:
    """The same masks, the upper rows 200 and the left columns 77: two values that mean "not labelled"."""
    for path in folder.glob("masks/*/*.png"):
        mask = read_label(path).copy()
        mask[:6], mask[:, :5] = VOIDS
        Image.fromarray(mask).save(path)
    return folder


def settings(folder: Path, **more: Any) -> Config:
    return Config(**({"data": str(folder), "epochs": 2, "batch_size": 4, "dropout": 0.3} | more))


def started(config: Config, folder: Path, listener: Any = None) -> Trainer:
    trainer, _ = new_trainer(config, open_data(config), RunFolder(folder), "cpu", listener)
    trainer.folder.create(trainer.config)
    return trainer


# --- going on --------------------------------------------------------------------------------------


def test_with_everything_on_a_stopped_run_goes_on_bit_for_bit(data: Path, tmp_path: Path) -> None:
    config = settings(with_voids(data), **EVERYTHING, ignore=VOIDS, train_split="train", dataset="folder")
    started(config, tmp_path / "straight").fit()
    for at in (1, 3):  # in the middle of the first epoch, and of the second
        folder = tmp_path / f"stopped{at}"
        with pytest.raises(Interrupted):
            started(config, folder, Stop(at)).fit()
        sf.manual_seed(12345)
        resumed_trainer(folder, {}, "cpu").fit()
        assert_same_run(tmp_path / "straight", folder)


def test_the_saved_settings_repeat_the_run(data: Path, tmp_path: Path) -> None:
    config = settings(data, **EVERYTHING, epochs=1)
    started(config, tmp_path / "one").fit()
    again = Config(**Config.read(tmp_path / "one" / "config.toml"))
    assert again == config
    started(again, tmp_path / "two").fit()
    assert_same_run(tmp_path / "one", tmp_path / "two")


NEW_SETTINGS = (
    *("dataset", "train_split", "val_split", "ignore", "rotate", "colour", "blur", "cutout"),
    *("class_weight_values", "loss_sampling"),
)


def test_a_run_from_before_these_settings_goes_on(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "old"
    with pytest.raises(Interrupted):
        started(settings(data), folder, Stop(1)).fit()
    text = (folder / "config.toml").read_text()
    lines = [line for line in text.splitlines() if line.split(" = ")[0] not in NEW_SETTINGS]
    (folder / "config.toml").write_text("\n".join(lines))
    checkpoint = load(folder / "last.safetensors")
    state = checkpoint.metadata["run"]
    state["config"] = {name: value for name, value in state["config"].items() if name not in NEW_SETTINGS}
    del state["data"]["mask values to ignore"]
    save(folder / "last.safetensors", checkpoint.arrays, checkpoint.metadata)
    resumed_trainer(folder, {}, "cpu").fit()
    started(settings(data), tmp_path / "straight").fit()
    assert_same_run(tmp_path / "straight", folder)


def test_values_that_are_newly_ignored_are_noticed_when_resuming(data: Path, tmp_path: Path) -> None:
    names = ", ".join(f'"c{i}"' for i in range(7))
    (data / "classes.toml").write_text(f"names = [{names}]\nignore = [99]")
    with pytest.raises(Interrupted):
        started(settings(data), tmp_path / "run", Stop(1)).fit()
    (data / "classes.toml").write_text(f"names = [{names}]\nignore = [99, 98]")
    with pytest.raises(SettingError, match="the mask values to ignore have changed"):
        resumed_trainer(tmp_path / "run", {}, "cpu")


# --- several values that mean "not labelled" ---------------------------------------------------------


def test_two_values_to_ignore_give_torchs_loss_and_hand_counted_metrics(data: Path, tmp_path: Path) -> None:
    """The labels are mapped here, value by value, from the files; nothing of the library's reading is used."""
    with_voids(data)
    with pytest.raises(DataError, match=r"how many classes[\s\S]*give --ignore 77,200, or"):
        open_data(settings(data))
    config = settings(data, ignore=VOIDS, dropout=0.0)
    trainer = started(config, tmp_path / "run")
    assert len(trainer.network.classes) == 7
    rng = np.random.default_rng(0)
    for layer in (trainer.network.model.score_fr, trainer.network.model.score_pool3):
        layer.weight.data[...] = rng.normal(size=layer.weight.shape)

    trainer.network.model.eval()
    counts, losses = np.zeros((7, 7), int), []
    for i in range(3):
        with Image.open(data / "masks" / "val" / f"{i}.png") as file:
            raw = np.array(file)
        label = raw.astype(np.int64)
        label[(raw == 200) | (raw == 77)] = 255
        assert 0.2 < (label == 255).mean() < 0.5
        image, _ = trainer.val_set.read(i)
        scores = trainer.network.scores(image)
        target = torch.tensor(label)[None]
        loss = torch.nn.functional.cross_entropy(torch.tensor(scores.numpy()), target, ignore_index=255)
        ours = trainer.loss(sf.Tensor(trainer.network.prepare(image)), trainer.val_set.read(i)[1][None])
        assert ours.item() == pytest.approx(loss.item(), rel=1e-5)
        losses.append(loss.item())
        kept = label < 255
        np.add.at(counts, (label[kept], scores.numpy()[0].argmax(axis=0)[kept]), 1)
    evaluation = Evaluator(trainer.val_set, None)(trainer.network)
    np.testing.assert_array_equal(evaluation.confusion.matrix, counts)
    assert evaluation.loss == pytest.approx(np.mean(losses), rel=1e-5)


def test_ignored_values_reach_the_network_file_and_the_settings(data: Path, tmp_path: Path) -> None:
    result = run("train", "--data", with_voids(data), "--ignore", "77, 200", "--output-dir", tmp_path / "r", *FAST)
    assert result.exit_code == 0, said(result)
    assert "7 classes" in said(result)
    assert "ignore = [77, 200]" in (tmp_path / "r" / "config.toml").read_text()
    metadata = load(tmp_path / "r" / "best.safetensors").metadata
    assert metadata["classes"]["ignored_values"] == [77, 200]
    rows = Path(tmp_path / "r" / "log.csv").read_text().splitlines()
    assert rows[0].endswith("iu_class 6")


# --- which data set, which splits ---------------------------------------------------------------------


def test_splits_are_chosen_by_name(data: Path, tmp_path: Path) -> None:
    write_pairs(data, "extra", 2, 5, size=(30, 36))
    chosen = open_data(settings(data, train_split="extra", val_split="train", batch_size=1))
    assert (len(chosen.train), len(chosen.val)) == (2, 8)
    both = open_data(settings(data, val_split="train"))
    assert both.train.files(0) == both.val.files(0)
    (data / "images" / "val").rename(data / "images" / "later")
    (data / "masks" / "val").rename(data / "masks" / "later")
    assert open_data(settings(data)).val is None
    for wrong, flag in ({"train_split": "trian"}, "--train-split"), ({"val_split": "val"}, "--val-split"):
        with pytest.raises(DataError, match="only extra, later, train") as caught:
            open_data(settings(data, **wrong))
        assert f"{flag} takes one of these" in str(caught.value)


def test_the_layout_is_chosen_by_name(data: Path) -> None:
    assert len(open_data(settings(data, dataset="folder")).train) == 8
    with pytest.raises(DataError, match="CamVid"):
        open_data(settings(data, dataset="camvid"))
    with pytest.raises(DataError, match=r"--dataset 'camvit' is not known; did you mean camvid\?"):
        open_data(settings(data, dataset="camvit"))


@pytest.mark.parametrize(
    ("option", "value"), [("dataset", "camvid"), ("train_split", "a"), ("val_split", "a"), ("ignore", (3,))]
)
def test_generated_shapes_have_no_files(option: str, value: Any) -> None:
    with pytest.raises(SettingError, match=f"--{option.replace('_', '-')} is for data sets of files"):
        open_data(Config(data="shapes", **{option: value}))


# --- class weights -----------------------------------------------------------------------------------


def test_weights_by_formula_are_counted_in_the_training_masks(data: Path) -> None:
    pixels = np.zeros(256, int)
    of_images = np.zeros(256, int)
    for path in (data / "masks" / "train").iterdir():
        count = np.bincount(read_label(path).ravel(), minlength=256)
        pixels += count
        of_images += (count > 0) * count.sum()
    seen = np.flatnonzero(pixels[:7])
    opened = open_data(settings(data))
    inverse = class_weights(settings(data, class_weights="inverse"), opened)
    assert inverse.dtype == np.float32
    np.testing.assert_allclose(inverse[seen], pixels[seen].sum() / (len(seen) * pixels[seen]), rtol=1e-6)
    median = class_weights(settings(data, class_weights="median"), opened)
    freq = pixels[seen] / of_images[seen]
    np.testing.assert_allclose(median[seen], np.median(freq) / freq, rtol=1e-6)
    assert class_weights(settings(data), opened) is None


@pytest.fixture
def weights_file(data: Path, tmp_path: Path) -> Path:
    return write_class_weights(tmp_path / "w.toml", Classes.numbered(7), [0.1, 2, 0, 1 / 3, 5, 1e-3, 7])


def test_a_files_weights_are_used_shown_and_kept(data: Path, weights_file: Path, tmp_path: Path) -> None:
    result = run("train", "--data", data, "--class-weights", weights_file, "--output-dir", tmp_path / "r", *FAST)
    assert result.exit_code == 0, said(result)
    assert "class 1 2, class 2 0, class 3 0.333" in said(result)
    kept = Config(**Config.read(tmp_path / "r" / "config.toml"))
    assert kept.class_weights == str(weights_file)
    assert kept.class_weight_values == (0.1, 2.0, 0.0, 1 / 3, 5.0, 1e-3, 7.0)  # in full
    trainer, _ = new_trainer(kept, open_data(kept), RunFolder(tmp_path / "x"), "cpu")
    np.testing.assert_array_equal(trainer.class_weights, np.float32(kept.class_weight_values))


def test_without_the_file_a_run_goes_on_and_is_repeated(data: Path, weights_file: Path, tmp_path: Path) -> None:
    config = settings(data, class_weights=str(weights_file))
    started(config, tmp_path / "straight").fit()
    with pytest.raises(Interrupted):
        started(config, tmp_path / "stopped", Stop(1)).fit()
    weights_file.unlink()
    resumed_trainer(tmp_path / "stopped", {}, "cpu").fit()
    assert_same_run(tmp_path / "straight", tmp_path / "stopped")
    started(Config(**Config.read(tmp_path / "straight" / "config.toml")), tmp_path / "again").fit()
    assert_same_run(tmp_path / "straight", tmp_path / "again")
    with pytest.raises(DataError, match=r"w\.toml: no such file"):
        open_data(config)  # these settings have no numbers of it


def test_a_file_that_has_changed_is_named(data: Path, weights_file: Path, tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        started(settings(data, class_weights=str(weights_file)), tmp_path / "run", Stop(1)).fit()
    text = weights_file.read_text()
    weights_file.write_text("# a remark changes nothing\n" + text)
    resumed_trainer(tmp_path / "run", {}, "cpu")
    weights_file.write_text(text.replace("5.0", "6.0"))
    with pytest.raises(SettingError, match=r"w\.toml: has changed .* that of 'class 4' was 5 and is 6") as caught:
        resumed_trainer(tmp_path / "run", {}, "cpu")
    assert "--init" in str(caught.value)

    config = tmp_path / "run" / "config.toml"
    result = run("train", "--config", config, "--output-dir", tmp_path / "new", *FAST)
    assert result.exit_code == 2
    assert f"say so: --class-weights {weights_file}" in said(result)
    assert not (tmp_path / "new").exists()
    told = ("--class-weights", weights_file)
    result = run("train", "--config", config, *told, "--output-dir", tmp_path / "new", *FAST)
    assert result.exit_code == 0, said(result)
    assert "class 4 6," in said(result)
    result = run("train", "--config", config, "--class-weights", "none", "--output-dir", tmp_path / "bare", *FAST)
    assert result.exit_code == 0, said(result)
    assert "class_weight_values" not in (tmp_path / "bare" / "config.toml").read_text()


def test_weights_that_do_not_fit_are_refused(data: Path, weights_file: Path, tmp_path: Path) -> None:
    weights_file.write_text('weights = { "class 0" = 1, "klass 1" = 2 }')
    with pytest.raises(DataError, match=r"no class 'klass 1'; did you mean 'class 1'"):
        started(settings(data, class_weights=str(weights_file)), tmp_path / "run")
    five = settings(data, class_weights=str(weights_file), class_weight_values=(1.0,) * 5)
    with pytest.raises(SettingError, match="has 5 numbers, but the data set 7 classes"):
        started(five, tmp_path / "run")
    with pytest.raises(SettingError, match="inverse needs a data set of files"):
        started(Config(data="shapes", generated=4, class_weights="inverse"), tmp_path / "run")


def test_a_file_of_weights_serves_generated_shapes_too(tmp_path: Path) -> None:
    data = Shapes(1, kinds=("circle", "square", "triangle", "cross"))
    path = write_class_weights(tmp_path / "w.toml", data.classes, [0.5, 1, 2, 3, 4])
    config = Config(data="shapes", generated=4, class_weights=str(path))
    trainer, _ = new_trainer(config, open_data(config), RunFolder(tmp_path / "r"), "cpu")
    np.testing.assert_array_equal(trainer.class_weights, np.float32([0.5, 1, 2, 3, 4]))


# --- settings that cannot be ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"rotate": -1.0}, "--rotate must lie between 0.0 and 180.0"),
        ({"rotate": math.nan}, "--rotate"),
        ({"colour": 1.2}, "--colour must lie between 0.0 and 1.0"),
        ({"blur": -0.1}, "--blur"),
        ({"cutout": 0.95}, "--cutout must lie between 0.0 and 0.9"),
        ({"loss_sampling": 0.0}, "--loss-sampling"),
        ({"loss_sampling": 1.1}, "--loss-sampling"),
        ({"ignore": (256,)}, "--ignore needs values that masks can hold"),
        ({"ignore": (1.5,)}, "--ignore"),
        ({"class_weights": "medain"}, "use one of none, median, inverse, or the name of a file"),
        ({"class_weight_values": (1.0, 2.0)}, "class_weights is none"),
        ({"class_weights": "w.toml", "class_weight_values": (0.0, 0.0)}, "not all 0"),
        ({"class_weights": "w.toml", "class_weight_values": (1.0, -1.0)}, "at least 0"),
        ({"class_weights": "w.toml", "class_weight_values": (1.0, math.nan)}, "at least 0"),
    ],
)
def test_impossible_settings(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingError, match=words):
        Config(**wrong)


def test_every_option_reaches_the_settings_of_the_run(data: Path, tmp_path: Path) -> None:
    options = {
        "--dataset": "folder", "--train-split": "train", "--val-split": "val", "--ignore": "99", "--scale": "0.8-1.2",
        "--crop": "16x24", "--rotate": "12.5", "--colour": "0.25", "--blur": "1.5", "--cutout": "0.4",
        "--class-weights": "median", "--loss-sampling": "0.5",
    }  # fmt: skip
    given = [word for pair in options.items() for word in pair]
    result = run("train", "--data", data, *given, "--output-dir", tmp_path / "r", *FAST)
    assert result.exit_code == 0, said(result)
    kept = Config.read(tmp_path / "r" / "config.toml")
    expected = {
        "dataset": "folder", "train_split": "train", "val_split": "val", "ignore": (99,), "scale": (0.8, 1.2),
        "crop": (24, 16), "rotate": 12.5, "colour": 0.25, "blur": 1.5, "cutout": 0.4,
        "class_weights": "median", "loss_sampling": 0.5,
    }  # fmt: skip
    assert {name: kept[name] for name in expected} == expected
    for words in ("rotate up to 12.5°", "class weights (median)", "50% of the labelled pixels"):
        assert words in said(result)


def test_settings_survive_their_file_and_a_checkpoint(tmp_path: Path) -> None:
    config = Config(
        **EVERYTHING | {"class_weights": "w.toml"},
        ignore=(0, 11),
        class_weight_values=tuple(inverse_frequency(np.array([3, 7, 11])).tolist()),
    )
    (tmp_path / "c.toml").write_text(config.to_toml())
    assert Config(**Config.read(tmp_path / "c.toml")) == config
    assert Config.from_plain(json.loads(json.dumps(config.to_plain()))) == config
