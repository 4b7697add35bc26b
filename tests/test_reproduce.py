"""`train --config runs/exp1/config.toml` is the same run again, bit for bit; what settings leave out is noted."""

import csv
import shutil
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from scratchfcn.cli import app, origin
from scratchfcn.data import Shapes, save_mask
from scratchfcn.training import Config, RunFolder
from scratchfcn.training.run_folder import comments
from scratchfcn.weights import load

CLOCK = {"seconds", "images_per_s"}  # the columns of the log that may differ


def run(*args: object) -> Result:
    return CliRunner().invoke(app, [str(a) for a in args], prog_name="scratchfcn")


def said(result: Result) -> str:
    return " ".join((result.output + (result.stderr or "")).split())


def write_pairs(folder: Path, split: str, count: int, seed: int, size: tuple[int, int] = (24, 30)) -> None:
    data = Shapes(count, size, seed=seed)
    for kind in ("images", "masks"):
        (folder / kind / split).mkdir(parents=True)
    for i in range(count):
        image, label = data.read(i)
        Image.fromarray(image).save(folder / "images" / split / f"{i}.png")
        save_mask(folder / "masks" / split / f"{i}.png", label, data.classes)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reproduce") / "data"
    write_pairs(folder, "train", 6, 0)
    write_pairs(folder, "val", 2, 1)
    return folder


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes longer than such small trainings, and is tested elsewhere."""
    for name in ("draw_curves", "draw_confusion", "draw_validation", "draw_data"):
        monkeypatch.setattr(RunFolder, name, lambda *arguments: None)


FAST = ("--epochs", 2, "--batch-size", 2, "--device", "cpu")


def log(folder: Path) -> list[dict[str, str]]:
    with open(folder / "log.csv", newline="") as file:
        return [{name: cell for name, cell in row.items() if name not in CLOCK} for row in csv.DictReader(file)]


def arrays(folder: Path) -> dict[str, Any]:
    return load(folder / "last.safetensors").arrays


def assert_same(one: Path, two: Path) -> None:
    a, b = arrays(one), arrays(two)
    assert set(a) == set(b)
    for name in a:
        assert a[name].tobytes() == b[name].tobytes(), name  # bit for bit, signs of zero included
    assert log(one) == log(two)
    assert Config.read(one / "config.toml") == Config.read(two / "config.toml")


def train_twice(folder: Path, *options: object) -> None:
    """A run, and a run from its config.toml; they must be the same."""
    first = run("train", *options, "--output-dir", folder / "one")
    assert first.exit_code == 0, said(first)
    again = run(
        "train", "--config", folder / "one" / "config.toml", "--output-dir", folder / "two", "--device", "cpu",
    )  # fmt: skip
    assert again.exit_code == 0, said(again)
    assert_same(folder / "one", folder / "two")


# --- the same again ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--class-weights", "median", "--scale", "0.7-1.4", "--crop", "24x20", "--flip"),
        ("--rotate", 10, "--colour", 0.3, "--blur", 1, "--cutout", 0.3, "--loss-sampling", 0.5, "--workers", 3),
        ("--optimizer", "sgd", "--lr", 1e-2, "--paper-biases", "--schedule", "step", "--accumulate", 2, "--seed", 7),
        (
            "--model",
            "fcn32s",
            "--size",
            "20x16",
            "--no-batch-norm",
            "--ignore",
            "99",
            "--reduction",
            "sum",
            "--lr",
            1e-5,
        ),
    ],
    ids=["plain", "weights and crops", "all augmentation", "sgd", "small sums"],
)
def test_a_run_from_a_saved_runs_settings_is_the_same_bit_for_bit(data: Path, tmp_path: Path, options: tuple) -> None:
    train_twice(tmp_path, "--data", data, *FAST, *options)


def test_generated_pictures_are_the_same_again(tmp_path: Path) -> None:
    train_twice(tmp_path, "--data", "shapes", "--generated", 6, "--size", "24x24", *FAST)


def test_a_run_that_began_with_other_weights(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("train", "--data", data, "--model", "fcn32s", "--output-dir", tmp_path / "coarse", *FAST).exit_code == 0
    monkeypatch.chdir(tmp_path)  # named from here, and found from anywhere
    train_twice(tmp_path, "--data", data, "--model", "fcn16s", "--init", "coarse/best.safetensors", *FAST)
    text = (tmp_path / "one" / "config.toml").read_text()
    assert f"sha256 {origin.file_hash(tmp_path / 'coarse' / 'best.safetensors')[:16]}" in text


def test_class_weights_from_a_file_that_is_gone(data: Path, tmp_path: Path) -> None:
    assert run("check-data", "--data", data, "--weights-out", tmp_path / "w.toml").exit_code == 0
    first = run(
        "train", "--data", data, "--class-weights", tmp_path / "w.toml", "--output-dir", tmp_path / "one", *FAST
    )
    assert first.exit_code == 0, said(first)
    (tmp_path / "w.toml").unlink()
    config = tmp_path / "one" / "config.toml"
    again = run("train", "--config", config, "--output-dir", tmp_path / "two", "--device", "cpu")
    assert again.exit_code == 0, said(again)
    assert_same(tmp_path / "one", tmp_path / "two")


@pytest.mark.slow
def test_a_recipe_is_the_same_again(data: Path, tmp_path: Path) -> None:
    recipe = ("--recipe", "caffe", "--model", "fcn32s", "--backbone", "googlenet", "--accumulate", 2)
    train_twice(tmp_path, "--data", data, *recipe, "--epochs", 1, "--device", "cpu")
    assert "reduction" in (tmp_path / "two" / "config.toml").read_text()


def test_the_comparison_would_notice(data: Path, tmp_path: Path) -> None:
    train_twice(tmp_path, "--data", data, *FAST)
    config = tmp_path / "one" / "config.toml"
    other = run("train", "--config", config, "--seed", 1, "--output-dir", tmp_path / "other", "--device", "cpu")
    assert other.exit_code == 0, said(other)
    with pytest.raises(AssertionError):
        assert_same(tmp_path / "one", tmp_path / "other")


@pytest.mark.slow
def test_a_demo_can_be_repeated_too(tmp_path: Path) -> None:
    assert run("demo", "--steps", 4, "--output-dir", tmp_path / "one", "--device", "cpu").exit_code == 0
    config = tmp_path / "one" / "config.toml"
    assert run("train", "--config", config, "--output-dir", tmp_path / "two", "--device", "cpu").exit_code == 0
    assert_same(tmp_path / "one", tmp_path / "two")


def test_the_runs_own_folder_is_refused(data: Path, tmp_path: Path) -> None:
    assert run("train", "--data", data, "--output-dir", tmp_path / "one", *FAST).exit_code == 0
    before = {path.name: path.read_bytes() for path in (tmp_path / "one").iterdir()}
    again = run("train", "--config", tmp_path / "one" / "config.toml", "--output-dir", tmp_path / "one")
    assert again.exit_code == 2
    assert "nothing is overwritten" in said(again)
    assert {path.name: path.read_bytes() for path in (tmp_path / "one").iterdir()} == before


# --- what the settings do not say -------------------------------------------------------------------------


def test_the_file_says_with_what_it_was_made_and_is_still_only_settings(data: Path, tmp_path: Path) -> None:
    assert run("train", "--data", data, "--output-dir", tmp_path / "one", *FAST).exit_code == 0
    text = (tmp_path / "one" / "config.toml").read_text(encoding="utf-8")
    for words in (
        "# made by scratchfcn 0.",
        "# Python 3.",
        f"NumPy {np.__version__}",
        "on cpu",
        "# command: scratchfcn",
        "# training images: 6, names and file sizes sha256 ",
        "# validation images: 2, ",
    ):
        assert words in text, words
    settings = tomllib.loads(text)
    assert settings == tomllib.loads("\n".join(line for line in text.splitlines() if not line.startswith("#")))
    assert set(settings) <= set(Config.__dataclass_fields__)


def test_a_resumed_run_says_so_and_can_be_resumed_again_and_repeated(data: Path, tmp_path: Path) -> None:
    assert run("train", "--data", data, "--output-dir", tmp_path / "one", *FAST).exit_code == 0
    state = load(tmp_path / "one" / "last.safetensors")
    state.metadata["run"] |= {"epoch": 1, "batch": 0, "step": 3}  # as if it had stopped after the first epoch
    from scratchfcn.weights import save

    save(tmp_path / "one" / "last.safetensors", state.arrays, state.metadata)
    moved = tmp_path / "moved"
    shutil.copytree(data, moved)
    before = Config.read(tmp_path / "one" / "config.toml")
    resumed = run("train", "--resume", tmp_path / "one", "--data", moved, "--device", "cpu")
    assert resumed.exit_code == 0, said(resumed)
    text = (tmp_path / "one" / "config.toml").read_text(encoding="utf-8")
    assert f"# resumed at epoch 2, step 4, --data {moved}" in text
    assert text.count("# made by") == 2
    assert Config.read(tmp_path / "one" / "config.toml") == before
    assert "nothing to resume" in said(run("train", "--resume", tmp_path / "one"))
    assert (tmp_path / "one" / "config.toml").read_text(encoding="utf-8") == text


def test_comments_are_comments_whatever_they_hold(tmp_path: Path) -> None:
    wild = ["a\nb = 1", "tab\t", "bell \x07", "line \r\n end", "byte \udcff", "umlaut ü →", ""]
    text = comments(wild)
    assert tomllib.loads(text) == {}
    assert len(text.splitlines()) == len(wild)
    assert "umlaut ü →" in text
    assert "a\\nb = 1" in text
    RunFolder(tmp_path / "run").create(Config(data="x"), wild)
    assert RunFolder(tmp_path / "run").settings() == Config(data="x")


def test_without_git_or_outside_a_checkout_the_version_stands_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from scratchfcn import __version__

    monkeypatch.setattr(origin, "LIBRARY", tmp_path)
    assert origin.version() == __version__
    (tmp_path / ".git").mkdir()  # looks like a checkout, and is none
    assert origin.version() == __version__
    monkeypatch.setenv("PATH", str(tmp_path))  # no git at all
    assert origin.version() == __version__


def test_a_checkout_names_its_commit_and_whether_it_was_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shutil.which("git") is None:
        pytest.skip("no git here")
    for words in (["init", "-q"], ["add", "-A"], ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "x"]):
        (tmp_path / "scratchfcn").mkdir(exist_ok=True)
        (tmp_path / "scratchfcn" / "a.py").write_text("1")
        monkeypatch.setattr(origin, "LIBRARY", tmp_path)
        origin.git(*words)
    clean = origin.version()
    assert ", commit " in clean
    assert not clean.endswith("with changes")
    (tmp_path / "scratchfcn" / "a.py").write_text("2")
    assert origin.version() == clean + ", with changes"


def test_the_fingerprint_of_data_notices_a_file_of_another_size(data: Path, tmp_path: Path) -> None:
    from scratchfcn.data import open_dataset

    shutil.copytree(data, tmp_path / "copy")
    same, copy = open_dataset(data, "train"), open_dataset(tmp_path / "copy", "train")
    assert origin.fingerprint(same) == origin.fingerprint(copy)
    mask = tmp_path / "copy" / "masks" / "train" / "0.png"
    mask.write_bytes(mask.read_bytes() + b" ")
    assert origin.fingerprint(same) != origin.fingerprint(copy)
    assert origin.fingerprint(Shapes(3, seed=1)) != origin.fingerprint(Shapes(3, seed=2))


# --- files of settings written by hand --------------------------------------------------------------------


def test_paths_in_a_file_are_relative_to_the_file(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "settings").mkdir()
    shutil.copytree(data, tmp_path / "pictures")
    file = tmp_path / "settings" / "run.toml"
    file.write_text('data = "../pictures"\nepochs = 1\nbatch_size = 2\n')
    for place in (tmp_path, tmp_path / "settings"):
        monkeypatch.chdir(place)
        result = run("train", "--config", file, "--output-dir", tmp_path / f"run in {place.name}", "--device", "cpu")
        assert result.exit_code == 0, said(result)
        kept = Config.read(tmp_path / f"run in {place.name}" / "config.toml")
        assert kept["data"] == str(tmp_path / "pictures")


def test_a_path_that_is_right_only_from_the_current_folder_is_explained(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "settings").mkdir()
    shutil.copytree(data, tmp_path / "pictures")
    file = tmp_path / "settings" / "run.toml"
    file.write_text('data = "pictures"\nepochs = 1\n')
    monkeypatch.chdir(tmp_path)
    result = run("train", "--config", file, "--output-dir", tmp_path / "run", "--device", "cpu")
    assert result.exit_code == 2
    for words in ("is relative to the file", "data = '../pictures'", "--data pictures"):
        assert words in said(result), said(result)
    (tmp_path / "pictures").rename(tmp_path / "elsewhere")
    assert "no such folder" in said(run("train", "--config", file, "--output-dir", tmp_path / "run"))


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("batch-size = 4", "did you mean batch_size?"),
        ("learning_rate = 1", "known are model,"),
        ("epoch = 3", "did you mean epochs?"),
        ("wieght_decay = 0.1", "did you mean weight_decay?"),
    ],
)
def test_a_setting_that_does_not_exist_is_met_with_the_nearest(tmp_path: Path, line: str, hint: str) -> None:
    (tmp_path / "run.toml").write_text(line)
    result = run("train", "--config", tmp_path / "run.toml")
    assert result.exit_code == 2
    assert hint in said(result)
    assert "run.toml" in said(result)
