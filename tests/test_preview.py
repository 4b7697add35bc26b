"""`scratchfcn preview`: what it shows is what training gets, and the picture says so."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from shared_data import shared_data
from test_commands import run, said, write_pairs

from scratchfcn.data import Classes, Shapes, overlay, read_image
from scratchfcn.reports.preview import DARK, OPACITY, augmentation_preview, striped, tile
from scratchfcn.training import Config
from scratchfcn.training.network import Network
from scratchfcn.training.prepare import open_training_set
from scratchfcn.training.trainer import make_loader

FLAGS = ("--scale", "0.7-1.4", "--crop", "32x24", "--rotate", 20, "--colour", 0.8, "--blur", 2, "--cutout", 0.5)
SAME = {
    "scale": (0.7, 1.4),
    "crop": (24, 32),
    "rotate": 20.0,
    "colour": 0.8,
    "blur": 2.0,
    "cutout": 0.5,
}


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_pairs(tmp_path / "data", "train", 5, 0)
    return tmp_path / "data"


def test_the_pixels_are_those_that_training_gets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each tile, before it is coloured, is found in the batches of the training's own loader, epoch by epoch."""
    data = Shapes(5, (30, 30))
    config = Config(**SAME, seed=7, batch_size=2, workers=2)
    shown = []
    monkeypatch.setattr("scratchfcn.reports.preview.tile", lambda *pair: shown.append(pair[:2]) or tile(*pair))
    augmentation_preview(config, data, (1, 4), epoch=2, variants=3)
    assert len(shown) == 2 * 4
    np.testing.assert_array_equal(shown[0][0], data.read(1)[0])
    np.testing.assert_array_equal(shown[4][1], data.read(4)[1])

    network = Network.build("fcn8s_small", data.classes)
    loader, compared = make_loader(config, network, data), 0
    for column in range(3):
        found = {}
        for batch in loader.epoch(2 + column):
            found |= {name: i for name, *i in zip(batch.names, batch.images, batch.labels, strict=True)}
        for row, number in enumerate((1, 4)):
            if data.name(number) in found:  # five images make two batches of two; one is left out
                image, label = shown[4 * row + 1 + column]
                np.testing.assert_array_equal(network.normalise(image, label)[0], found[data.name(number)][0])
                np.testing.assert_array_equal(label, found[data.name(number)][1])
                compared += 1
    assert compared >= 4


def test_the_command_writes_the_mosaic_and_says_what_is_on_it(data: Path, tmp_path: Path) -> None:
    result = run("preview", "--data", data, *FLAGS, "--images", 3, "--variants", 4, "--seed", 9, "--epoch", 2)
    assert result.exit_code == 0, said(result)
    for words in ("rotate up to 20°", "crop 32x24", "seed 9", "images: 0, 2, 4", "written: preview.png"):
        assert words in said(result), words
    config = Config(data=str(data), **SAME, seed=9)
    expected = augmentation_preview(config, open_training_set(config), (0, 2, 4), epoch=1, variants=4)
    np.testing.assert_array_equal(read_image(tmp_path / "preview.png"), np.asarray(expected))
    other = augmentation_preview(config, open_training_set(config), (0, 2, 4), epoch=2, variants=4)
    assert (np.asarray(other) != np.asarray(expected)).any()


def test_a_runs_settings_are_shown_with_options_on_top(data: Path, tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text(Config(data=str(data), **SAME, seed=3).to_toml())
    assert run("preview", "--config", "run.toml", "--output", "a.png").exit_code == 0
    assert run("preview", "--data", data, *FLAGS, "--seed", 3, "--output", "b.png").exit_code == 0
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    result = run("preview", "--config", "run.toml", "--colour", 0, "--no-flip", "--output", "c.png")
    assert "augmentation: scale 0.7-1.4, rotate up to 20°, crop 32x24, blur 2, cutout 0.5" in said(result)
    assert (tmp_path / "c.png").read_bytes() != (tmp_path / "b.png").read_bytes()


def test_recipes_are_followed_as_in_training(data: Path, tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text(f'data = "{data.as_posix()}"\nrecipe = "caffe"\nmodel = "fcn32s"\n')
    result = run("preview", "--config", "run.toml")
    assert "augmentation: none" in said(result)  # the paper's networks are trained without a flip


def test_nothing_is_overwritten(data: Path, tmp_path: Path) -> None:
    (tmp_path / "preview.png").write_bytes(b"mine")
    (tmp_path / "preview_3.png").write_bytes(b"mine too")
    for name in ("preview_2.png", "preview_4.png"):
        assert f"written: {name}" in said(run("preview", "--data", data, "--images", 1, "--variants", 1))
    assert (tmp_path / "preview.png").read_bytes() == b"mine"
    assert (tmp_path / "preview_3.png").read_bytes() == b"mine too"
    result = run("preview", "--data", data, "--output", "preview.png")
    assert result.exit_code == 2
    assert "nothing is overwritten" in said(result)
    assert (tmp_path / "preview.png").read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("--output", "p.jpg"), "must end in .png"),
        (("--epoch", 0), "--epoch"),
        (("--images", 0), "--images"),
        (("--rotate", 999), "--rotate must lie between"),
        (("--crop", "0x4"), "--crop"),
        (("--train-split", "vall"), "only train"),
        (("--data", "nowhere"), "no such folder"),
        (("--config", "nowhere.toml"), "nowhere.toml"),
    ],
)
def test_wrong_arguments(data: Path, tmp_path: Path, args: tuple, words: str) -> None:
    given = args if args[0] == "--data" else ("--data", data, *args)
    result = run("preview", *given)
    assert result.exit_code == 2
    assert words in said(result)
    assert "Traceback" not in said(result)
    assert not list(tmp_path.glob("*.png"))


def test_without_data_it_says_what_is_missing(data: Path) -> None:
    result = run("preview")
    assert result.exit_code == 2
    assert "--data DIR" in said(result)


def test_generated_shapes_and_images_of_any_size(data: Path, tmp_path: Path) -> None:
    result = run("preview", "--data", "shapes", "--generated", 3, "--scale", "0.5-2", "--rotate", 45)
    assert result.exit_code == 0, said(result)  # without --crop: samples are shown one by one
    with Image.open(tmp_path / "preview.png") as picture:
        assert picture.width > 500


# --- the tiles --------------------------------------------------------------------------------------


def test_where_nothing_is_learned_there_are_stripes_of_two_colours_and_the_photograph() -> None:
    image = np.full((96, 120, 3), (10, 120, 240), np.uint8)
    label = np.zeros((96, 120), np.uint8)
    label[:, :60] = 255
    picture = tile(image, label, Classes.numbered(3), width=500)
    ignored, learned = picture[:, :60].reshape(-1, 3), picture[:, 60:].reshape(-1, 3)
    colours, counts = np.unique(ignored, axis=0, return_counts=True)
    assert {tuple(c) for c in colours.tolist()} == {(224, 224, 192), DARK, (10, 120, 240)}
    assert counts.min() > 0.3 * len(ignored)
    np.testing.assert_array_equal(picture[:, 60:], overlay(image, label, Classes.numbered(3), OPACITY)[:, 60:])
    assert len(np.unique(learned, axis=0)) == 1
    assert (striped(image, label == 7) == image).all()


def test_wide_images_are_reduced_to_a_column() -> None:
    image, label = np.zeros((90, 400, 3), np.uint8), np.zeros((90, 400), np.uint8)
    assert tile(image, label, Classes.numbered(3), width=100).shape == (22, 100, 3)
    assert tile(image, label, Classes.numbered(3), width=400).shape == (90, 400, 3)


def test_camvid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = run("preview", "--data", shared_data("camvid"), "--size", "240x180", *FLAGS, "--crop", "160x120")
    assert result.exit_code == 0, said(result)
    assert "0001TP_006690" in said(result)
    with Image.open("preview.png") as picture:
        assert picture.width > 900
