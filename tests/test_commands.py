"""Every command, end to end, on images as people have them, and on what people get wrong."""

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from shared_data import shared_data
from typer.testing import CliRunner, Result

from scratchfcn.cli import app
from scratchfcn.data import CamVid, Shapes, read_label
from scratchfcn.weights import load


def run(*args: object) -> Result:
    return CliRunner().invoke(app, [str(a) for a in args], prog_name="scratchfcn")


def said(result: Result) -> str:
    """Everything the command printed, with line breaks as spaces."""
    return " ".join((result.output + (result.stderr if result.stderr else "")).split())


def write_pairs(folder: Path, split: str, count: int, seed: int, size: tuple[int, int] = (24, 30)) -> None:
    """Shapes as a plain data set: images/SPLIT/NAME.png or .jpg, and palette masks."""
    data = Shapes(count, size, seed=seed)
    for kind in ("images", "masks"):
        (folder / kind / split).mkdir(parents=True)
    for i in range(count):
        image, label = data.read(i)
        Image.fromarray(image).save(folder / "images" / split / f"{i}.{'jpg' if i % 2 else 'png'}")
        mask = Image.fromarray(label, "L")
        mask.putpalette([j for j in range(256) for _ in range(3)])
        mask.save(folder / "masks" / split / f"{i}.png")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    write_pairs(folder, "train", 6, 0)
    write_pairs(folder, "val", 2, 1)
    return folder


FAST = ("--epochs", 2, "--batch-size", 2, "--device", "cpu")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Result]:
    """A data set, a run trained on it, and what the command said."""
    root = tmp_path_factory.mktemp("commands")
    write_pairs(root / "data", "train", 6, 0)
    write_pairs(root / "data", "val", 2, 1)
    result = run("train", "--data", root / "data", "--output-dir", root / "run", *FAST)
    assert result.exit_code == 0, said(result)
    return root / "data", root / "run", result


# --- train --------------------------------------------------------------------------------------------------


def test_train_tells_what_it_does_and_leaves_the_run_folder(trained: tuple[Path, Path, Result]) -> None:
    _, folder, result = trained
    for words in (
        "6 training images",
        "2 for validation",
        "7 classes",
        "ln 7 = 1.946",
        "epoch 2/2",
        "mean IU",
        "next:",
    ):
        assert words in said(result), words
    files = {
        "config.toml",
        "log.csv",
        "curves.png",
        "confusion.png",
        "last.safetensors",
        "best.safetensors",
        "data.png",
    }
    assert files <= {path.name for path in folder.iterdir()}
    with open(folder / "log.csv", newline="") as file:
        assert len(list(csv.DictReader(file))) == 2


def test_train_again_into_the_same_folder_changes_nothing(trained: tuple[Path, Path, Result]) -> None:
    data, folder, _ = trained
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    result = run("train", "--data", data, "--output-dir", folder, *FAST)
    assert result.exit_code == 2
    assert "nothing is overwritten" in said(result)
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


def test_train_from_a_config_file_with_options_on_top(data: Path, tmp_path: Path) -> None:
    config = tmp_path / "run.toml"
    config.write_text(f'data = "{data.as_posix()}"\nepochs = 9\nbatch_size = 2\nsize = [16, 20]\nmodel = "fcn32s"\n')
    result = run("train", "--config", config, "--epochs", 1, "--output-dir", tmp_path / "run", "--device", "cpu")
    assert result.exit_code == 0, said(result)
    text = (tmp_path / "run" / "config.toml").read_text()
    assert "epochs = 1\n" in text
    assert 'model = "fcn32s"' in text
    assert "size = [16, 20]" in text


def test_staged_training_starts_from_the_coarser_nets_weights(data: Path, tmp_path: Path) -> None:
    assert run("train", "--data", data, "--model", "fcn32s", "--output-dir", tmp_path / "a", *FAST).exit_code == 0
    result = run(
        "train", "--data", data, "--model", "fcn16s", "--init", tmp_path / "a" / "best.safetensors",
        "--output-dir", tmp_path / "b", *FAST,
    )  # fmt: skip
    assert result.exit_code == 0, said(result)
    assert "skipped" in said(result)
    assert "upscore.weight" in said(result)


def test_class_weights_and_an_absent_class(data: Path, tmp_path: Path) -> None:
    result = run(
        "train", "--data", data, "--num-classes", 9, "--class-weights", "median", "--output-dir", tmp_path / "r", *FAST
    )
    assert result.exit_code == 0, said(result)
    assert "2 class(es) never occur" in said(result)
    header = (tmp_path / "r" / "log.csv").read_text().splitlines()[0]
    assert "iu_class 8" in header


def test_without_a_val_split_it_warns_and_trains(tmp_path: Path) -> None:
    write_pairs(tmp_path / "d", "train", 2, 0)
    result = run("train", "--data", tmp_path / "d", "--output-dir", tmp_path / "r", *FAST)
    assert result.exit_code == 0, said(result)
    assert "no split 'val'" in said(result)
    assert (tmp_path / "r" / "best.safetensors").exists()


def test_interrupt_resume_and_resume_again(data: Path, tmp_path: Path) -> None:
    """Ctrl-C in a real process saves and exits with 130; --resume goes on; a finished run has nothing to resume."""
    command = [sys.executable, "-m", "scratchfcn", "train", "--data", str(data), "--output-dir", str(tmp_path / "r")]
    child = subprocess.Popen([*command, "--epochs", "12", "--batch-size", "2"], stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not (tmp_path / "r" / "log.csv").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    child.send_signal(signal.SIGINT)
    output, _ = child.communicate(timeout=60)
    assert child.returncode == 130
    assert "--resume" in output
    step = load(tmp_path / "r" / "last.safetensors").metadata["run"]["step"]
    assert step >= 3

    for wrong in (("--lr", 1), ("--epochs", 3), ("--output-dir", tmp_path / "other"), ("--config", data)):
        result = run("train", "--resume", tmp_path / "r", *wrong)
        assert result.exit_code == 2
        assert str(wrong[0]) in said(result)

    config = tmp_path / "r" / "config.toml"
    text = config.read_text()
    config.write_text(text.replace("epochs = 12", "epochs = 13"))
    assert "was changed since the run was saved (epochs)" in said(run("train", "--resume", tmp_path / "r"))
    config.write_text(text)
    moved = data.rename(tmp_path / "moved")
    assert "--data NEW_PLACE" in said(run("train", "--resume", tmp_path / "r"))
    extra = moved / "images" / "train" / "0.png"
    extra.rename(tmp_path / "aside.png")
    (moved / "masks" / "train" / "0.png").rename(tmp_path / "mask.png")
    assert "the training images have changed" in said(run("train", "--resume", tmp_path / "r", "--data", moved))
    (tmp_path / "aside.png").rename(extra)
    (tmp_path / "mask.png").rename(moved / "masks" / "train" / "0.png")
    result = run("train", "--output-dir", tmp_path / "r", "--resume", "--data", moved)
    assert result.exit_code == 0, said(result)
    assert "resuming at epoch" in said(result)
    again = run("train", "--resume", tmp_path / "r" / "last.safetensors", "--data", moved)
    assert again.exit_code == 0, said(again)
    assert "nothing to resume" in said(again)


def test_resume_alone_takes_the_latest_run(trained: tuple[Path, Path, Result], tmp_path: Path) -> None:
    data, _, _ = trained
    before = Path.cwd()
    os.chdir(tmp_path)
    try:
        assert "there is no run to resume" in said(run("train", "--resume"))
        assert run("train", "--data", data, *FAST).exit_code == 0
        assert "runs/exp1: all 2 epochs are done" in said(run("train", "--resume"))
    finally:
        os.chdir(before)


# --- val and predict ----------------------------------------------------------------------------------------


def test_val_repeats_the_logs_figures(trained: tuple[Path, Path, Result]) -> None:
    data, folder, _ = trained
    metrics = load(folder / "best.safetensors").metadata["metrics"]
    result = run("val", "--weights", folder / "best.safetensors", "--data", data, "--device", "cpu")
    assert result.exit_code == 0, said(result)
    assert f"mean IU {metrics['mean_iu']:.4f}" in said(result)
    assert f"pixel acc {metrics['pixel_acc']:.4f}" in said(result)
    assert "class 3" in said(result)


@pytest.fixture
def odd_images(tmp_path: Path) -> Path:
    """A folder as photographs come: colour, grey, transparent, palette, 16 bit, turned, tiny."""
    folder = tmp_path / "odd"
    folder.mkdir()
    colour = Image.fromarray(Shapes(1, (31, 47)).read(0)[0])
    colour.save(folder / "colour.jpg")
    colour.convert("L").save(folder / "grey.png")
    colour.convert("RGBA").save(folder / "rgba.png")
    colour.convert("P").save(folder / "palette.png")
    Image.fromarray(np.arange(31 * 47, dtype=np.uint16).reshape(31, 47) * 40).save(folder / "deep.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    colour.save(folder / "turned.jpg", exif=exif)
    colour.resize((1, 1)).save(folder / "dot.png")
    colour.save(folder / "colour.bmp")
    return folder


def test_predict_on_a_folder_of_all_kinds(trained: tuple[Path, Path, Result], odd_images: Path, tmp_path: Path) -> None:
    _, run_folder, _ = trained
    out = tmp_path / "out"
    result = run(
        "predict", "--weights", run_folder / "best.safetensors", "--source", odd_images, "--output-dir", out,
        "--save", "mask,overlay,probs", "--alpha", 0.3,
    )  # fmt: skip
    assert result.exit_code == 0, said(result)
    assert "8 image(s) predicted" in said(result)
    assert len(list(out.iterdir())) == 24
    assert read_label(out / "grey.png_mask.png").shape == (31, 47)
    assert read_label(out / "turned.jpg_mask.png").shape == (47, 31)
    assert read_label(out / "dot.png_mask.png").shape == (1, 1)
    with Image.open(out / "colour.jpg_mask.png") as mask:  # two images are called colour: both are kept
        assert mask.mode == "P"
        assert (out / "colour.bmp_mask.png").exists()
    with np.load(out / "rgba.png_probs.npz") as file:
        assert file["probs"].shape == (7, 31, 47)
        np.testing.assert_array_equal(file["probs"].argmax(axis=0), read_label(out / "rgba.png_mask.png"))


def test_predict_never_overwrites_and_survives_a_bad_file(
    trained: tuple[Path, Path, Result], odd_images: Path, tmp_path: Path
) -> None:
    weights, out = trained[1] / "best.safetensors", tmp_path / "out"
    (odd_images / "colour.bmp").unlink()
    (odd_images / "broken.png").write_bytes((odd_images / "grey.png").read_bytes()[:60])
    result = run("predict", "--weights", weights, "--source", odd_images, "--output-dir", out)
    assert result.exit_code == 2
    assert "broken.png" in said(result)
    assert (out / "grey_mask.png").exists()
    again = run("predict", "--weights", weights, "--source", odd_images / "grey.png", "--output-dir", out)
    assert again.exit_code == 2
    assert "nothing is overwritten" in said(again)


@pytest.mark.parametrize("size", ["native", "40x32"])
def test_predict_at_another_size(
    trained: tuple[Path, Path, Result], odd_images: Path, tmp_path: Path, size: str
) -> None:
    weights = trained[1] / "best.safetensors"
    result = run(
        "predict",
        "--weights",
        weights,
        "--source",
        odd_images / "grey.png",
        "--size",
        size,
        "--output-dir",
        tmp_path / "o",
    )
    assert result.exit_code == 0, said(result)
    assert read_label(tmp_path / "o" / "grey_mask.png").shape == (31, 47)


# --- what people get wrong ----------------------------------------------------------------------------------


def damaged(data: Path, how: str) -> None:
    """Break the data set in one way."""
    image, mask = data / "images" / "train" / "2.png", data / "masks" / "train" / "2.png"
    if how == "missing mask":
        mask.rename(mask.with_name("2_.png"))
    elif how == "size":
        with Image.open(mask) as picture:
            picture.resize((10, 12)).save(mask)
    elif how == "value":
        Image.fromarray(np.full((24, 30), 77, np.uint8)).save(mask)
    elif how == "truncated":
        image.write_bytes(image.read_bytes()[:200])
    elif how == "no image":
        image.write_text("hello")
    elif how == "empty":
        for path in [*image.parent.iterdir(), *mask.parent.iterdir()]:
            path.unlink()
    elif how == "binary":
        for path in [*(data / "masks" / "train").iterdir(), *(data / "masks" / "val").iterdir()]:
            Image.fromarray((read_label(path) > 0).astype(np.uint8) * 255).save(path)
    elif how == "colours":
        Image.fromarray(np.random.default_rng(0).integers(0, 255, (24, 30, 3), dtype=np.uint8)).save(mask)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("missing mask", ["2.png", "has no mask", "2_.png"]),
        ("size", ["2", "30×24", "10×12"]),
        ("value", ["value 77", "row 0, col 0", "allowed 0..6"]),
        ("truncated", ["2.png", "cut short"]),
        ("no image", ["2.png", "not an image"]),
        ("empty", ["train", "holds no image"]),
        ("binary", ["BINARY", "check-data", "--fix binary"]),
        ("colours", ["2.png", "colours"]),
    ],
)
def test_bad_data_is_named_before_training(data: Path, tmp_path: Path, how: str, words: list[str]) -> None:
    damaged(data, how)
    extra = ("--num-classes", 7) if how == "value" else ()
    result = run("train", "--data", data, "--output-dir", tmp_path / "run", *extra, *FAST)
    assert result.exit_code == 2, said(result)
    for word in words:
        assert word in said(result), said(result)
    assert "Traceback" not in said(result)
    assert not (tmp_path / "run").exists()


def test_the_advised_fix_of_binary_masks_works(data: Path, tmp_path: Path) -> None:
    damaged(data, "binary")
    assert run("check-data", "--data", data).exit_code == 2
    result = run("check-data", "--data", data, "--fix", "binary")
    assert result.exit_code == 0, said(result)
    (data / "masks").rename(data / "masks_old")
    (data / "masks_fixed").rename(data / "masks")
    result = run("check-data", "--data", data)
    assert result.exit_code == 0, said(result)
    assert "train: 6 pairs, all sound" in said(result)
    assert run("train", "--data", data, "--output-dir", tmp_path / "run", *FAST).exit_code == 0


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("train",), ["--data"]),
        (("train", "--data", "nowhere"), ["nowhere", "no such folder", "images/train"]),
        (("train", "--data", ".", "--size", "big"), ["--size 'big'", "WIDTHxHEIGHT"]),
        (("train", "--data", ".", "--model", "unet"), ["--model 'unet'", "fcn8s"]),
        (("train", "--data", ".", "--scale", "2-1"), ["--scale", "LOW-HIGH"]),
        (("train", "--data", ".", "--device", "gpu"), ["gpu", "cuda"]),
        (("train", "--config", "nowhere.toml"), ["nowhere.toml"]),
        (("train", "--resume", "nowhere"), ["nowhere", "nothing to resume"]),
        (("val", "--weights", "nowhere.safetensors", "--data", "."), ["nowhere.safetensors", "no such file"]),
        (("predict", "--weights", "setup.py", "--source", "."), ["setup.py"]),
        (("demo", "--steps", "1"), ["--steps"]),
    ],
)
def test_wrong_arguments_get_one_clear_message(args: tuple[str, ...], words: list[str]) -> None:
    result = run(*args)
    assert result.exit_code == 2
    for word in words:
        assert word in said(result), said(result)
    assert "Traceback" not in said(result)


def test_predict_with_wrong_options(trained: tuple[Path, Path, Result], tmp_path: Path) -> None:
    weights = trained[1] / "best.safetensors"
    (tmp_path / "empty").mkdir()
    for args, word in [
        (("--source", tmp_path / "empty"), "empty"),
        (("--source", tmp_path / "none.jpg"), "none.jpg"),
        (("--source", ".", "--save", "mask,gif"), "'gif'"),
        (("--source", ".", "--alpha", 2), "--alpha"),
    ]:
        result = run("predict", "--weights", weights, *args)
        assert result.exit_code == 2
        assert word in said(result)


def test_a_checkpoint_of_other_classes_does_not_fit_the_data(
    trained: tuple[Path, Path, Result], tmp_path: Path
) -> None:
    root = tmp_path / "camvid"
    for name in ("val", "valannot"):
        (root / name).mkdir(parents=True)
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(root / "val" / "a.png")
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(root / "valannot" / "a.png")
    result = run("val", "--weights", trained[1] / "best.safetensors", "--data", root)
    assert result.exit_code == 2
    assert "11" in said(result)
    assert "7" in said(result)


# --- the demo, and real photographs -------------------------------------------------------------------------


def test_a_short_demo(tmp_path: Path) -> None:
    result = run("demo", "--steps", 8, "--output-dir", tmp_path / "demo")
    assert result.exit_code == 0, said(result)
    for words in ("100 for validation", "best epoch", "mean IU", "curves.png", "scratchfcn predict"):
        assert words in said(result)
    with Image.open(tmp_path / "demo" / "curves.png") as picture:
        assert picture.width > 400
    result = run(
        "predict", "--weights", tmp_path / "demo" / "best.safetensors", "--source", tmp_path / "demo" / "data.png"
    )
    assert result.exit_code == 0, said(result)


def test_val_measures_a_demo(tmp_path: Path) -> None:
    assert run("train", "--data", "shapes", "--generated", 16, "--output-dir", tmp_path / "r", *FAST).exit_code == 0
    metrics = load(tmp_path / "r" / "best.safetensors").metadata["metrics"]
    result = run("val", "--weights", tmp_path / "r" / "best.safetensors", "--data", "shapes")
    assert f"mean IU {metrics['mean_iu']:.4f}" in said(result)
    result = run("train", "--data", "shapes", "--num-classes", 7, "--output-dir", tmp_path / "s")
    assert result.exit_code == 2
    assert "5 classes" in said(result)


def test_an_interrupted_demo_can_be_resumed(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "scratchfcn", "demo", "--steps", "24", "--output-dir", str(tmp_path / "d")]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not (tmp_path / "d" / "log.csv").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    child.send_signal(signal.SIGINT)
    assert child.wait(timeout=60) == 130
    result = run("train", "--resume", tmp_path / "d")
    assert result.exit_code == 0, said(result)
    assert run("demo", "--steps", 24, "--output-dir", tmp_path / "whole").exit_code == 0
    one, two = load(tmp_path / "d" / "last.safetensors"), load(tmp_path / "whole" / "last.safetensors")
    for name, array in one.arrays.items():
        np.testing.assert_array_equal(array, two.arrays[name], err_msg=name)


def test_images_of_different_sizes_need_a_size(data: Path, tmp_path: Path) -> None:
    for kind in ("images", "masks"):
        with Image.open(data / kind / "train" / "2.png") as picture:
            picture.resize((40, 26), Image.Resampling.NEAREST).save(data / kind / "train" / "2.png")
    result = run("train", "--data", data, "--output-dir", tmp_path / "run", *FAST)
    assert result.exit_code == 2
    assert "--size" in said(result)
    assert not (tmp_path / "run").exists()
    assert run("train", "--data", data, "--size", "30x24", "--output-dir", tmp_path / "run", *FAST).exit_code == 0


def test_names_with_brackets_are_shown_as_they_are(data: Path, tmp_path: Path) -> None:
    (data / "classes.toml").write_text('names = ["a", "b[/]", "[red]c", "d", "e", "f", "g"]')
    result = run("train", "--data", data, "--output-dir", tmp_path / "out [red]", *FAST)
    assert result.exit_code == 0, said(result)
    for words in ("b[/]", "[red]c", "out [red]"):
        assert words in said(result)
    result = run("val", "--weights", tmp_path / "out [red]" / "best.safetensors", "--data", data)
    assert "b[/]" in said(result), said(result)


def test_a_setting_that_fails_leaves_no_folder_behind(data: Path, tmp_path: Path) -> None:
    for wrong in (
        ("--weight-decay", -1),
        ("--workers", -1),
        ("--dropout", 1.5),
        ("--init", tmp_path / "none.safetensors"),
    ):
        result = run("train", "--data", data, "--output-dir", tmp_path / "run", *wrong, *FAST)
        assert result.exit_code == 2
        assert str(wrong[0]) in said(result) or "none.safetensors" in said(result)
        assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_camvid_learns_and_predicts_photographs(tmp_path: Path) -> None:
    """A little training on real street photographs already finds sky, building and road."""
    source = shared_data("camvid")
    root = tmp_path / "camvid"
    for split, count in (("train", 24), ("val", 6)):
        chosen = CamVid(source, split)
        for kind in (split, f"{split}annot"):
            (root / kind).mkdir(parents=True)
        for i in range(0, count):
            for path, kind in zip(chosen.files(i * 4), (split, f"{split}annot"), strict=True):
                (root / kind / path.name).symlink_to(path)
    result = run(
        "train", "--data", root, "--size", "120x90", "--epochs", 12, "--batch-size", 4, "--lr", 3e-3,
        "--output-dir", tmp_path / "run", "--device", "cpu",
    )  # fmt: skip
    assert result.exit_code == 0, said(result)
    with open(tmp_path / "run" / "log.csv", newline="") as file:
        best = max(csv.DictReader(file), key=lambda row: float(row["mean_iu"]))
    assert float(best["pixel_acc"]) > 0.6
    assert float(best["iu_Road"]) > 0.5
    photos = shared_data("photos")
    result = run("predict", "--weights", tmp_path / "run" / "best.safetensors", "--source", photos)
    assert result.exit_code == 0, said(result)
    masks = list((tmp_path / "run" / "predictions").glob("*_mask.png"))
    assert len(masks) == len(list(photos.iterdir()))
