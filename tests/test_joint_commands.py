"""Colour with HHA, and two tasks, from the command line: train, resume, val, predict, export and the rest."""

import csv
import json
import signal
from pathlib import Path

import make_sets
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from scratchfcn.cli import app
from scratchfcn.data import open_dataset, read_image, read_label
from scratchfcn.training import Config, Interrupted, Listener, RunFolder, Trainer, load_network, resumed_trainer
from scratchfcn.training.prepare import new_trainer, open_data
from scratchfcn.weights import load

CLOCK = {"seconds", "images_per_s"}
SMALL = ("--device", "cpu", "--batch-size", 1, "--epochs", 2)
SEMANTIC, GEOMETRIC = "semantic", "geometric"


def run(*args: object) -> Result:
    return CliRunner().invoke(app, [str(a) for a in args], prog_name="scratchfcn")


def said(result: Result) -> str:
    return " ".join((result.output + (result.stderr or "")).split())


def succeed(*args: object) -> str:
    result = run(*args)
    assert result.exit_code == 0, said(result)
    return said(result)


def log(folder: Path) -> list[dict[str, str]]:
    with open(folder / "log.csv", newline="") as file:
        return [{name: cell for name, cell in row.items() if name not in CLOCK} for row in csv.DictReader(file)]


def assert_same_run(one: Path, two: Path) -> None:
    a, b = (load(folder / "last.safetensors").arrays for folder in (one, two))
    assert set(a) == set(b)
    for name in a:
        assert a[name].tobytes() == b[name].tobytes(), name
    assert log(one) == log(two)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("joint")
    make_sets.nyudv2(folder / "nyud")
    make_sets.siftflow(folder / "sift")
    return folder


@pytest.fixture(scope="module")
def late(place: Path) -> Path:
    """A run with colour and HHA."""
    options = ("--data", place / "nyud", "--dataset", "nyudv2-rgb-hha", "--model", "fcn16s", "--rotate", 10)
    text = succeed("train", *options, *SMALL, "--output-dir", place / "late")
    assert "3 training images, 2 for validation, 40 classes, 6 channels" in text
    assert "--hha HHA_IMAGE_OR_FOLDER" in text
    return place / "late"


@pytest.fixture(scope="module")
def heads(place: Path) -> Path:
    """A run with two tasks; half of the pixels count."""
    options = ("--data", place / "sift", "--dataset", "siftflow-both", "--model", "fcn16s", "--loss-sampling", 0.5)
    text = succeed("train", *options, "--crop", "20x20", *SMALL, "--output-dir", place / "heads")
    assert "33 semantic and 3 geometric classes" in text
    assert "loss of the semantic head before training 3.497" in text
    assert text.count("geometric: pixel acc") == 3  # after each epoch, and of the best one
    return place / "heads"


@pytest.fixture
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes longer than such small trainings."""
    for name in ("draw_curves", "draw_confusion", "draw_validation", "draw_data"):
        monkeypatch.setattr(RunFolder, name, lambda *arguments: None)


# --- training -----------------------------------------------------------------------------------------------


def test_the_log_has_columns_for_the_second_task(heads, late):
    rows = log(heads)
    names = [f"geometric_{metric}" for metric in ("pixel_acc", "mean_acc", "mean_iu", "fw_iu")]
    header = list(rows[0])
    assert header[header.index("fw_iu") + 1 :][:4] == names
    assert header[-1] == "iu_window"
    assert all(0 <= float(row[name]) <= 1 for row in rows for name in names)
    best = max(rows, key=lambda row: float(row["mean_iu"]))
    metrics = load(heads / "best.safetensors").metadata["metrics"]
    assert metrics["epoch"] == int(best["epoch"])
    assert metrics["geometric_mean_iu"] == pytest.approx(float(best["geometric_mean_iu"]), rel=1e-5)
    assert not any("geometric" in name for name in log(late)[0])


def test_a_log_keeps_its_columns_where_an_epoch_is_not_validated(place, tmp_path, no_pictures):
    options = ("--data", place / "sift", "--dataset", "siftflow-both", "--model", "fcn16s", "--crop", "20x20", *SMALL)
    text = succeed("train", *options, "--epochs", 4, "--val-every", 2, "--output-dir", tmp_path / "run")
    assert text.count("geometric: pixel acc") == 3  # of the second epoch, of the fourth, and of the better one
    rows = log(tmp_path / "run")
    measured = [name for name in rows[0] if name.endswith("mean_iu")]
    assert measured == ["mean_iu", "geometric_mean_iu"]
    for name in (*measured, "iu_window", "val_loss"):
        assert [row[name] == "nan" for row in rows] == [True, False, True, False], name


def test_pictures_of_a_run_show_photographs(heads, late):
    for folder in (heads, late):
        for name in ("data.png", "val_001.png", "curves.png", "confusion.png"):
            assert read_image(folder / name).std() > 5


@pytest.mark.parametrize("which", ["late", "heads"])
def test_a_run_from_its_config_is_the_same_again(which, request, tmp_path, no_pictures):
    folder = request.getfixturevalue(which)
    succeed("train", "--config", folder / "config.toml", "--output-dir", tmp_path / "again", "--device", "cpu")
    assert_same_run(folder, tmp_path / "again")


class Stop(Listener):
    def step(self, trainer: Trainer, loss: float) -> None:
        if trainer.progress.step == trainer.total_steps - 1:
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("which", ["late", "heads"])
def test_a_stopped_run_goes_on_bit_for_bit(which, request, tmp_path, no_pictures):
    folder = request.getfixturevalue(which)
    config = RunFolder(folder).settings()
    trainer, _ = new_trainer(config, open_data(config), RunFolder(tmp_path / "run"), "cpu", Stop())
    trainer.folder.create(trainer.config)
    with pytest.raises(Interrupted):
        trainer.fit()
    resumed_trainer(tmp_path / "run", {}, "cpu").fit()
    assert_same_run(folder, tmp_path / "run")


def test_what_a_run_was_made_of_must_still_be_there_when_it_goes_on(heads, place, tmp_path):
    fingerprint = load(heads / "last.safetensors").metadata["run"]["data"]
    assert fingerprint["tasks"] == {
        SEMANTIC: list(open_dataset(place / "sift", "test").classes.names),
        GEOMETRIC: ["sky", "horizontal", "vertical"],
    }
    assert fingerprint["channels"] == 3
    assert Config.read(heads / "config.toml")["dataset"] == "siftflow-both"


def test_two_trained_networks_start_the_two_streams(place, tmp_path, no_pictures):
    for name in ("nyudv2", "nyudv2-hha"):
        succeed(
            "train", "--data", place / "nyud", "--dataset", name, "--model", "fcn32s", "--epochs", 1, "--batch-size", 3,
            "--device", "cpu", "--output-dir", tmp_path / name,
        )  # fmt: skip
    rgb, hha = (tmp_path / name / "best.safetensors" for name in ("nyudv2", "nyudv2-hha"))
    text = succeed(
        "train", "--data", place / "nyud", "--dataset", "nyudv2-rgb-hha", "--model", "fcn32s", "--init", rgb,
        "--init-hha", hha, "--lr", "1e-20", "--weight-decay", 0, "--epochs", 1, "--batch-size", 1, "--device", "cpu",
        "--output-dir", tmp_path / "both",
    )  # fmt: skip
    assert f"weights from {rgb} and {hha}: 133 copied, 0 reshaped, 0 skipped, 0 of the model's own left" in text
    assert "warning" not in text.partition("weights from")[2]
    both = load(tmp_path / "both/best.safetensors").arrays
    np.testing.assert_allclose(both["color.fc7.weight"], load(rgb).arrays["fc7.weight"], atol=1e-7)
    np.testing.assert_allclose(both["hha.fc7.weight"], load(hha).arrays["fc7.weight"], atol=1e-7)
    remarks = (tmp_path / "both/config.toml").read_text()
    assert f"# weights: {rgb}" in remarks
    assert f"# weights: {hha}" in remarks
    result = run("train", "--data", place / "nyud", "--dataset", "nyudv2", "--init-hha", hha, "--device", "cpu")
    assert result.exit_code == 2
    assert "--init-hha is for images of more than three channels" in said(result)


def test_damage_in_either_picture_is_found_before_training(place, tmp_path):
    root = make_sets.nyudv2(tmp_path / "nyud")
    for path in (root / "data/hha/img_5003.png", root / "data/images/img_5004.png"):
        path.write_bytes(path.read_bytes()[:200])
    for command in ("train", "check-data"):
        result = run(command, "--data", root, "--dataset", "nyudv2-rgb-hha")
        assert result.exit_code == 2
        assert "hha/img_5003.png" in said(result)
        assert "images/img_5004.png" in said(result)
    assert "--fix all" not in said(result)  # of two pictures an image no copy can be made


# --- val --------------------------------------------------------------------------------------------------


def test_val_says_both_tasks_figures_and_one_tasks_alone(heads, tmp_path):
    both, alone = tmp_path / "both.json", tmp_path / "alone.json"
    best = ("--weights", heads / "best.safetensors", "--device", "cpu")
    page = tmp_path / "page.html"
    text = succeed("val", *best, "--json", both, "--report", page, "--save-masks", tmp_path / "m")
    figures = json.loads(both.read_text())
    other = figures["other_tasks"][GEOMETRIC]
    assert f"geometric: pixel acc {other['pixel_acc']:.4f}" in text
    row = max(log(heads), key=lambda row: float(row["mean_iu"]))
    assert figures["mean_iu"] == pytest.approx(float(row["mean_iu"]), rel=1e-5)
    assert other["mean_iu"] == pytest.approx(float(row["geometric_mean_iu"]), rel=1e-5)
    assert figures["loss"] == pytest.approx(float(row["val_loss"]), rel=1e-5)
    assert "val --task geometric writes a page of it" in page.read_text()

    text = succeed("val", *best, "--task", GEOMETRIC, "--json", alone, "--no-report", "--save-masks", tmp_path / "g")
    figures = json.loads(alone.read_text())
    assert [row["name"] for row in figures["classes"]] == ["sky", "horizontal", "vertical"]
    assert {name: figures[name] for name in other} == pytest.approx(other)
    assert figures["other_tasks"] == {}
    assert figures["settings"]["task"] == GEOMETRIC
    assert read_label(tmp_path / "g/coast_arnat59.png").max() <= 2
    assert read_label(tmp_path / "m/coast_arnat59.png").max() > 2


def test_val_with_several_looks_asks_both_heads(heads):
    text = succeed("val", "--weights", heads / "best.safetensors", "--device", "cpu", "--flip", "--no-report")
    assert "geometric: pixel acc" in text


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--task", "geo"), "there are semantic and geometric"),
        (
            ("--task", GEOMETRIC, "--data", "sift"),
            "tells 3 geometric classes apart, and these images are labelled in 33",
        ),
        (("--data", "nyud", "--dataset", "nyudv2-rgb-hha"), "takes images of 3 channels, and these have 6"),
    ],
)
def test_val_on_other_images_is_refused(heads, place, options, words):
    options = [place / each if each in ("sift", "nyud") else each for each in options]
    result = run("val", "--weights", heads / "best.safetensors", *options, "--device", "cpu", "--no-report")
    assert result.exit_code == 2
    assert words in said(result)


def test_val_of_two_streams(late, place, tmp_path):
    text = succeed("val", "--weights", late / "best.safetensors", "--device", "cpu", "--report", tmp_path / "page.html")
    assert "geometric" not in text
    assert "photograph of img_5001" in (tmp_path / "page.html").read_text()
    result = run("val", "--weights", late / "best.safetensors", "--data", place / "nyud", "--device", "cpu")
    assert result.exit_code == 2
    assert "takes images of 6 channels, and these have 3: another --dataset, nyudv2-rgb-hha" in said(result)


# --- predict ----------------------------------------------------------------------------------------------


def test_photographs_and_their_hha_are_predicted_as_the_data_set_is(late, place, tmp_path):
    options = ("--weights", late / "best.safetensors", "--device", "cpu", "--output-dir", tmp_path)
    succeed("predict", *options, "--source", place / "nyud/data/images", "--hha", place / "nyud/data/hha")
    network, images = (
        load_network(late / "best.safetensors"),
        open_dataset(place / "nyud", "test", name="nyudv2-rgb-hha"),
    )
    for i in range(2):
        image, _ = images.read(i)
        name = images.name(i)
        assert (read_label(tmp_path / f"{name}_mask.png") == network.predict(image)).all()
        overlaid = read_image(tmp_path / f"{name}_overlay.png")[:24, :32].astype(int)
        assert np.abs(overlaid - image[:, :, :3]).mean() < np.abs(overlaid - image[:, :, 3:]).mean()


def test_one_photograph_with_windows_and_dropout(late, place, tmp_path):
    hha = tmp_path / "of another name.png"
    hha.write_bytes((place / "nyud/data/hha/img_5001.png").read_bytes())
    succeed(
        "predict", "--weights", late / "best.safetensors", "--device", "cpu", "--source",
        place / "nyud/data/images/img_5001.png", "--hha", hha, "--window", "16x16", "--flip", "--mc-dropout", 2,
        "--output-dir", tmp_path / "out",
    )  # fmt: skip
    assert read_label(tmp_path / "out/img_5001_mask.png").shape == make_sets.SIZE


def test_hha_in_sub_folders_and_what_is_missing(late, place, tmp_path):
    for kind, folder in (("images", "photos"), ("hha", "depth")):
        (tmp_path / folder / "kitchen").mkdir(parents=True)
        for name in ("img_5001.png", "img_5002.png"):
            path = tmp_path / folder / "kitchen" / name
            path.write_bytes((place / f"nyud/data/{kind}/{name}").read_bytes())
    options = ("--weights", late / "best.safetensors", "--device", "cpu", "--recursive", "--save", "mask")
    sources = ("--source", tmp_path / "photos", "--hha", tmp_path / "depth")
    succeed("predict", *options, *sources, "--output-dir", tmp_path / "out")
    assert (tmp_path / "out/kitchen/img_5002_mask.png").exists()
    (tmp_path / "depth/kitchen/img_5002.png").unlink()
    result = run("predict", *options, *sources, "--output-dir", tmp_path / "two")
    assert result.exit_code == 2
    assert f"kitchen/img_5002.png: no HHA picture of this name in {tmp_path / 'depth'}" in said(result)
    assert not (tmp_path / "two").exists()
    Image.new("RGB", (5, 6)).save(tmp_path / "depth/kitchen/img_5002.png")
    result = run("predict", *options, *sources, "--output-dir", tmp_path / "three")
    assert result.exit_code == 2
    assert "is 32×24, but" in said(result)
    assert (tmp_path / "three/kitchen/img_5001_mask.png").exists()


@pytest.mark.parametrize(
    ("run_name", "options", "words"),
    [
        ("late", (), "--hha names the HHA pictures; or, on a whole data set, scratchfcn val --save-masks"),
        ("late", ("--hha", "nowhere"), "--hha nowhere: no such file or folder"),
        ("late", ("--hha", "one.png"), "--hha one.png: is one file, for many images"),
        ("heads", ("--hha", "one.png"), "--hha: this network takes colour alone; leave it out"),
        ("late", ("--task", GEOMETRIC), "it has a single one: leave --task out"),
    ],
)
def test_what_predict_cannot_do_is_refused(run_name, options, words, request, place, tmp_path, monkeypatch):
    folder = request.getfixturevalue(run_name)
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (32, 24)).save("one.png")
    result = run(
        "predict", "--weights", folder / "best.safetensors", "--source", place / "nyud/data/images", *options,
        "--device", "cpu",
    )  # fmt: skip
    assert result.exit_code == 2
    assert words in said(result)


def test_either_head_predicts_and_their_files_are_not_mixed(heads, place, tmp_path):
    source = place / "sift" / make_sets.scenes.IMAGES / "coast_arnat59.jpg"
    options = ("--weights", heads / "best.safetensors", "--source", source, "--device", "cpu", "--save", "mask,probs")
    succeed("predict", *options, "--task", GEOMETRIC, "--output-dir", tmp_path / "g")
    with np.load(tmp_path / "g/coast_arnat59_probs.npz") as arrays:
        assert arrays["classes"].tolist() == ["sky", "horizontal", "vertical"]
    network, images = (
        load_network(heads / "best.safetensors"),
        open_dataset(place / "sift", "test", name="siftflow-both"),
    )
    image = images.read(0)[0]
    for folder, task in (("g", GEOMETRIC), ("s", SEMANTIC)):
        if task == SEMANTIC:
            succeed("predict", *options, "--output-dir", tmp_path / folder)
        found = read_label(tmp_path / folder / "coast_arnat59_mask.png")
        assert (found == network.for_task(task).predict(image)).all()
    result = run("predict", *options, "--output-dir", tmp_path / "g", "--resume")
    assert result.exit_code == 2
    assert "made with other weights or options" in said(result)


# --- and the rest -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["late", "heads"])
def test_export_gives_a_file_that_agrees(which, request, tmp_path):
    pytest.importorskip("onnxruntime")
    import onnxruntime

    weights = request.getfixturevalue(which) / "best.safetensors"
    text = succeed("export", "--weights", weights, "--size", "32x24", "--output", tmp_path / "net.onnx")
    assert "onnx.checker and onnxruntime agree with it" in text
    session = onnxruntime.InferenceSession(str(tmp_path / "net.onnx"))
    outputs = [output.name for output in session.get_outputs()]
    facts = session.get_modelmeta().custom_metadata_map
    if which == "late":
        assert session.get_inputs()[0].shape[1:] == [6, 24, 32]
        assert "float32 (N, 6, 24, 32), (RGB, and every further three channels likewise" in text
    else:
        assert outputs == [SEMANTIC, GEOMETRIC]
        assert "scores of the 33 semantic and of the 3 geometric classes" in text
        assert json.loads(facts["tasks"])[GEOMETRIC] == ["sky", "horizontal", "vertical"]
    succeed("export", "--weights", weights, "--format", "safetensors", "--output", tmp_path / "w.safetensors")
    assert load_network(tmp_path / "w.safetensors").metadata() == load_network(weights).metadata()


@pytest.mark.parametrize(("which", "channels"), [("late", 6), ("heads", 3)])
def test_summary_and_trace_take_such_a_network(which, channels, request):
    weights = request.getfixturevalue(which) / "best.safetensors"
    assert "fcn16s_small" in succeed("summary", "--weights", weights, "--size", "32x24")
    assert f"input 1×{channels}×24×32" in succeed("trace", "--weights", weights, "--size", "32x24")


def test_feature_maps_are_of_networks_of_colour(late, heads, tmp_path):
    result = run("explain", "feature-maps", "--weights", late / "best.safetensors", "--output", tmp_path)
    assert result.exit_code == 2
    assert "a network for images of 6 channels" in said(result)


def test_runs_of_one_and_of_two_tasks_are_compared(late, heads, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = succeed("plot", late, heads, "--csv", tmp_path / "runs.csv")
    assert "siftflow-both" in text
    with open(tmp_path / "runs.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["dataset"] for row in rows] == ["nyudv2-rgb-hha", "siftflow-both"]


@pytest.mark.parametrize(("which", "rows"), [("late", 3 * 2), ("heads", 2 * 2)])
def test_preview_has_a_row_for_each_picture_and_each_map(which, rows, request, place, tmp_path):
    """Of three training images colour and HHA; of two scenes both maps."""
    folder = request.getfixturevalue(which)
    path = tmp_path / "preview.png"
    succeed("preview", "--config", folder / "config.toml", "--variants", 2, "--output", path)
    picture = read_image(path)
    legend = 17 * 40 // 2
    assert picture.shape[0] > rows * 100  # a tile is 160 wide, and 120 high where it is the image's shape
    assert picture.shape[0] < rows * 170 + legend + 100
