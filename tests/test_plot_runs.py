"""`scratchfcn plot`: which runs are found, what is compared, and that nothing is lost, broken runs included."""

import csv
import math
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from scratchfcn.cli import app
from scratchfcn.data import Classes
from scratchfcn.plots import RUN_COLOURS, STYLES, _look, plot_runs
from scratchfcn.training import Config, Network, RunFolder, SettingError
from scratchfcn.training.compare import class_table, differing_settings, read_runs, table_rows
from scratchfcn.weights import save


def run(*args: object) -> Result:
    return CliRunner().invoke(app, [str(a) for a in args], prog_name="scratchfcn", env={"COLUMNS": "200"})


def said(result: Result) -> str:
    return " ".join((result.output + (result.stderr or "")).split())


def make_run(
    folder: Path, ious: Sequence[float], classes: tuple[str, ...] = ("road", "car"), weights: bool = False, **settings
) -> Path:
    """A run folder as training leaves it: a log with these mean IUs, settings, and perhaps weights."""
    run_folder, named = RunFolder(folder), Classes.numbered(len(classes))
    named = Classes(classes, named.colours)
    run_folder.create(Config(**{"data": "shapes", "epochs": len(ious)} | settings))
    for i, iu in enumerate(ious, 1):
        row = {"epoch": i, "step": 10 * i, "lr": 0.1, "train_loss": 1 / i, "val_loss": 2 / i, "seconds": 360.0}
        row |= {
            "pixel_acc": iu + 0.2,
            "mean_acc": iu + 0.1,
            "mean_iu": iu,
            "fw_iu": iu + 0.05,
            "images_per_s": 10.0 * i,
        }
        run_folder.append_log(row, named, [iu + k / 100 for k in range(len(classes))])
    if weights:
        network = Network.build("fcn32s_small", named, batch_norm=True)
        save(run_folder.best, network.model.state_dict(), network.metadata())
    return folder


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    make_run(tmp_path / "runs" / "first", [0.1, 0.4, 0.3], lr=0.01, weights=True)
    make_run(tmp_path / "runs" / "second", [0.2, 0.3], lr=0.02, flip=False, classes=("road", "sky"))
    return tmp_path / "runs"


# --- finding ------------------------------------------------------------------------------------------------


def test_folders_patterns_files_and_a_folder_of_folders(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for places in (
        [runs / "first", runs / "second"],
        [str(runs / "*")],
        [str(runs / "*" / "log.csv")],
        [runs],
        [runs / "first", runs / "second", runs / "first"],
    ):
        found, problems = read_runs(places)
        assert [one.name for one in found] == ["first", "second"]
        assert problems == []
    monkeypatch.chdir(runs.parent)
    assert [one.name for one in read_runs(["runs/*"])[0]] == ["first", "second"]


def test_names_are_as_long_as_needed(tmp_path: Path) -> None:
    places = [make_run(tmp_path / a / b, [0.1]) for a in ("x", "y") for b in ("exp1", "exp2")]
    assert [one.name for one in read_runs(places)[0]] == ["x/exp1", "x/exp2", "y/exp1", "y/exp2"]
    other = tmp_path / "kept.csv"
    other.write_bytes((places[0] / "log.csv").read_bytes())
    assert [one.name for one in read_runs([places[0], other])[0]] == ["exp1", "kept.csv"]


def test_what_cannot_be_drawn_is_named_and_left_out(runs: Path) -> None:
    (runs / "empty").mkdir()
    (runs / "begun").mkdir()
    (runs / "begun" / "log.csv").write_text("epoch,mean_iu\n")
    (runs / "odd").mkdir()
    (runs / "odd" / "log.csv").write_text("epoch,mean_iu\nfirst,0.5\n")
    (runs / "bytes").mkdir()
    (runs / "bytes" / "log.csv").write_bytes(b"\xff\xfe\x00\x01")
    (runs / "compare.png").write_bytes(b"\x89PNG")
    found, problems = read_runs([str(runs / "*")])
    assert [one.name for one in found] == ["first", "second"]
    assert len(problems) == 5
    for name in ("empty", "begun", "odd", "bytes", "compare.png"):
        assert any(str(runs / name) in problem for problem in problems), name


@pytest.mark.parametrize("place", ["nothing", "nothing/*"])
def test_a_place_that_is_not_there(tmp_path: Path, place: str) -> None:
    with pytest.raises(SettingError, match=r"no such run|fits no file"):
        read_runs([tmp_path / place])


# --- comparing ----------------------------------------------------------------------------------------------


def test_what_a_run_reached(runs: Path) -> None:
    first, second = read_runs([runs])[0]
    assert (first.best, first.epochs, first.score("mean_iu"), first.images_per_s) == (1, 3, 0.4, 20)
    np.testing.assert_allclose(first.hours, [0.1, 0.2, 0.3])
    assert first.class_ius == {"road": 0.4, "car": 0.41}
    assert first.network == "fcn32s_small"
    network = Network.build("fcn32s_small", Classes.numbered(2), batch_norm=True)
    assert first.parameters == sum(p.size for p in network.model.parameters())  # running means are none
    assert (second.network, second.parameters) == (None, None)


def test_only_settings_that_differ_are_shown_with_defaults_filled_in(runs: Path) -> None:
    found = read_runs([runs])[0]
    assert differing_settings(found) == {"flip": [True, False], "epochs": [3, 2], "lr": [0.01, 0.02]}
    # a run of an older version, that knew fewer settings, had what is the default now
    config = runs / "first" / "config.toml"
    lines = config.read_text().splitlines()
    config.write_text("\n".join(line for line in lines if not line.startswith("flip")))
    assert differing_settings(read_runs([runs])[0])["flip"] == [True, False]
    config.write_text(config.read_text() + '\nsharpness = "new"\n')  # one of a newer version
    assert differing_settings(read_runs([runs])[0])["sharpness"] == ["new", None]
    assert differing_settings(found[:1]) == {}


def test_a_log_without_settings_and_a_broken_config(runs: Path) -> None:
    (runs / "second" / "config.toml").write_text("flip = maybe")
    found, problems = read_runs([runs])
    assert problems == []
    assert found[1].settings is None
    assert differing_settings(found) == {}


def test_classes_of_different_data_sets_stand_side_by_side(runs: Path) -> None:
    table = class_table(read_runs([runs])[0])
    assert list(table) == ["road", "car", "sky"]
    assert table["road"] == [0.4, 0.3]
    assert math.isnan(table["car"][1])


def test_a_run_without_validation_is_shown_at_its_last_epoch(tmp_path: Path) -> None:
    place = make_run(tmp_path / "run", [math.nan, math.nan])
    found = read_runs([place])[0]
    assert found[0].best == 1
    row = table_rows(found)[0]
    assert row["best_epoch"] == 2
    assert math.isnan(row["mean_iu"])
    result = run("plot", place, "--output", tmp_path / "c.png")
    assert result.exit_code == 0, said(result)
    assert "mean IU –" in said(result)


# --- drawing ------------------------------------------------------------------------------------------------


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB"))


def count(picture: np.ndarray, colour: str) -> int:
    return int((picture == list(bytes.fromhex(colour[1:]))).all(axis=2).sum())


def test_twelve_runs_look_different() -> None:
    looks = {tuple(_look(i).values()) for i in range(12)}
    assert len(looks) == 12
    assert len({tuple(_look(i).values()) for i in range(len(RUN_COLOURS) * len(STYLES))}) == 28


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("x", ["epoch", "step", "hours"])
def test_every_run_is_in_the_picture(tmp_path: Path, x: str) -> None:
    axis = np.arange(1.0, 4)
    rising = {"epoch": axis, "step": 10 * axis, "hours": axis / 10, "train_loss": 1 / axis, "val_loss": 2 / axis}
    curves = {f"run {i}": {**rising, "mean_iu": axis * (i + 1) / 20} for i in range(5)}
    curves["sum"] = {**rising, "mean_iu": axis / 50, "train_loss": 1e5 / axis}  # beside means, on a log axis
    curves["silent"] = {**rising, "mean_iu": axis * np.nan, "val_loss": axis * np.nan}
    plot_runs(curves, tmp_path / "c.png", x)
    picture = pixels(tmp_path / "c.png")
    for colour in RUN_COLOURS[:6]:
        assert count(picture, colour) > 100, colour


@pytest.mark.filterwarnings("error")
def test_classes_make_the_picture_higher(tmp_path: Path) -> None:
    one = {name: np.array([1.0]) for name in ("epoch", "mean_iu", "train_loss", "val_loss")}
    curves = {"a": one, "b": one}
    plot_runs(curves, tmp_path / "plain.png")
    plot_runs(curves, tmp_path / "classes.png", class_ius={f"class {k}": [k / 40, math.nan] for k in range(40)})
    assert pixels(tmp_path / "classes.png").shape[0] > pixels(tmp_path / "plain.png").shape[0] + 1000


# --- the command --------------------------------------------------------------------------------------------


def test_the_table_the_picture_and_the_csv(runs: Path, tmp_path: Path) -> None:
    picture, table = tmp_path / "out" / "c.png", tmp_path / "out" / "t.csv"
    result = run("plot", str(runs / "*"), "--output", picture, "--csv", table, "--per-class")
    assert result.exit_code == 0, said(result)
    for words in (
        "first second",
        "mean IU 0.4000 0.3000",
        "flip yes no",
        "lr 0.01 0.02",
        "IU car 0.4100 –",
        str(picture),
    ):
        assert words in said(result), words
    assert "momentum" not in said(result)  # they have the same
    with open(table, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["run"] for row in rows] == ["first", "second"]
    assert (rows[0]["best_epoch"], rows[0]["mean_iu"], rows[0]["iu_car"], rows[1]["iu_car"]) == ("2", "0.4", "0.41", "")
    assert (rows[1]["epochs_done"], rows[1]["flip"], rows[1]["parameters"]) == ("2", "no", "")


def test_nothing_is_overwritten(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert run("plot", runs).exit_code == 0
    assert run("plot", runs, "--output", "compare.png").exit_code == 0
    assert sorted(path.name for path in tmp_path.glob("*.png")) == ["compare.png", "compare_2.png", "compare_3.png"]
    (tmp_path / "t.csv").write_text("mine")
    result = run("plot", runs, "--csv", "t.csv")
    assert result.exit_code == 2
    assert "nothing is overwritten" in said(result)
    assert (tmp_path / "t.csv").read_text() == "mine"
    assert len(list(tmp_path.glob("*.png"))) == 3


def test_a_run_that_goes_on_is_drawn_and_said_to(runs: Path, tmp_path: Path) -> None:
    make_run(runs / "third", [0.1], epochs=1)
    config = runs / "third" / "config.toml"
    config.write_text(config.read_text().replace("epochs = 1\n", "epochs = 9\n"))
    (runs / "third" / ".in-use").write_text(str(os.getpid()))
    result = run("plot", runs, "--output", tmp_path / "c.png")
    assert result.exit_code == 0, said(result)
    assert "1 of 9 (running)" in said(result)


def test_names_with_markup_and_more_runs_than_fit_in_a_line(tmp_path: Path) -> None:
    for i in range(14):
        make_run(tmp_path / "runs" / f"[red]run number {i:02d}", [0.1 + i / 100])
    result = CliRunner().invoke(app, ["plot", str(tmp_path / "runs"), "--output", str(tmp_path / "c.png")])
    assert result.exit_code == 0, said(result)
    for i in range(14):
        assert f"[red]run number {i:02d}" in said(result)
        assert f"{0.1 + i / 100:.4f}" in said(result)
    assert "hard to tell apart" in said(result)
    assert "do not differ in any setting" in said(result)


def test_mistakes(runs: Path, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    for options, words in (
        ((runs, "--x", "time"), "epoch, step, hours"),
        ((runs, "--output", tmp_path / "c.jpg"), "PNG"),
        ((runs, "--csv", tmp_path), "is a folder"),
        ((tmp_path / "none",), "no finished epoch"),
        ((tmp_path / "nowhere",), "no such run folder"),
        ((str(tmp_path / "*.csv"),), "fits no file"),
    ):
        result = run("plot", *options)
        assert result.exit_code == 2, said(result)
        assert words in said(result), said(result)
