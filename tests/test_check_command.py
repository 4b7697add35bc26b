"""scratchfcn check-data: what it says, which files it writes, and the page."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from made_folders import classes_toml, folder, label, photograph, put
from shared_data import shared_data
from typer.testing import CliRunner, Result

from scratchfcn.cli import app
from scratchfcn.cli.check_show import fair_shares
from scratchfcn.data import check_data, read_label
from scratchfcn.data.class_weights import read_class_weights
from scratchfcn.reports.check_report import check_page, figures, smaller_mask


def run(*args: object) -> Result:
    return CliRunner().invoke(app, ["check-data", *map(str, args)], prog_name="scratchfcn")


def said(result: Result) -> str:
    return " ".join((result.output + (result.stderr or "")).split())


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    classes_toml(tmp_path / "data", "road car", 'colours = ["#804080", "#400080"]')
    folder(tmp_path / "data", {"a": label(0, 0, 0, 1), "b": label(0, 255)})
    folder(tmp_path / "data", {"c": label(0, 1)}, split="val")
    return tmp_path / "data"


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """A little of everything."""
    root = tmp_path / "broken"
    classes_toml(root, "road car <b>", 'colours = ["#804080", "#400080", "#000080"]')
    masks = {f"ok{k}": label(0, 1, 2, 255) for k in range(3)}
    folder(root, masks | {f"bad{k:02}": label(0, 77) for k in range(30)} | {"half": label(0, 1, size=(12, 16))})
    put(root / "images/train/half.png", photograph("half"))
    put(root / "images/train/cut.png", (root / "images/train/ok0.png").read_bytes()[:-80])
    put(root / "masks/train/cut.png", label(0, 1))
    put(root / "masks/train/colour.png", np.array([[128, 64, 128], [64, 0, 128]], np.uint8)[label(0, 1)])
    put(root / "images/train/colour.png", photograph("colour"))
    put(root / "masks/train/lost.png", label(0))
    folder(root, {"v": label(0, 1), "w": label(0, 1)}, split="val")
    put(root / "images/val/w.png", photograph("train/ok1"))
    return root


# --- the command ---------------------------------------------------------------------------------------------


def test_a_sound_set(sound):
    result = run("--data", sound)
    assert result.exit_code == 0, said(result)
    for words in ("3 pairs, 2 classes", "train: 2 pairs, all sound; 32x24", "val: 1 pairs, all sound", "weight"):
        assert words in said(result)
    lines = {line.split()[0]: line.split() for line in result.output.splitlines() if line.strip()}
    assert lines["road"][1:5] == ["62.50%", "2", "50.00%", "1"]  # (3/4 + 1/2) / 2 of all pixels
    assert lines["(ignored)"][1:] == ["25.00%", "0.00%"]
    mean = check_data(sound).train.tally.mean_and_std()[0]
    assert "  ".join(f"{value:.4f}" for value in mean) in result.output


def test_problems_are_grouped_counted_and_explained(broken):
    result = run("--data", broken)
    text = said(result)
    assert result.exit_code == 2
    assert "Traceback" not in text
    for words in (
        "✗ 30 masks have values that are no class",
        "… and 15 more, all in the report",  # 20 are shown, and the five other groups have one each
        "cause: 77 stands alone",
        "fix: if they mean 'not labelled', write ignore = [77]",
        "✗ a file cannot be read",
        "✗ a mask holds colours instead of class ids",
        "✗ an image and its mask differ in size",
        "✗ an image is in two splits train/ok1.png, val/w.png: the same pixels",
        f"scratchfcn check-data --data {broken} --report",
        f"--fix all --output-dir {broken}_fixed",
    ):
        assert words in text, text


def test_shares_of_a_list_are_fair():
    assert fair_shares([30, 1, 1, 1, 1, 1], 20) == [15, 1, 1, 1, 1, 1]
    assert fair_shares([3, 40, 40], 20) == [3, 9, 8]
    assert fair_shares([1] * 25, 20) == [1] * 25
    assert fair_shares([], 20) == []


def test_what_is_advised_works(broken):
    result = run("--data", broken, "--fix", "all,sizes", "--ignore", 77, "--output-dir", f"{broken}_fixed")
    assert result.exit_code == 0, said(result)
    assert "it has been checked and is sound" in said(result)
    assert "left out: 3" in said(result)
    assert run("--data", f"{broken}_fixed").exit_code == 0
    assert read_label(Path(f"{broken}_fixed/masks/train/half.png")).shape == (24, 32)


def test_splits_and_options(sound):
    assert "val" not in run("--data", sound, "--split", "train").output
    assert "val: 1 pairs" in run("--data", sound, "--split", "train,val").output
    assert "val: 1 pairs" in run("--data", sound, "--split", "train", "--split", "val", "--workers", 0).output
    assert "no split 'vall'" in said(run("--data", sound, "--split", "vall"))
    assert run("--data", sound, "--dataset", "folder", "--no-duplicates").exit_code == 0
    assert "did you mean folder" in said(run("--data", sound, "--dataset", "folders"))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--output-dir", "x"], "--output-dir goes with --fix"),
        (["--palette", "camvid"], "--palette goes with --fix"),
        (["--fix", "binar"], "did you mean binary"),
        (["--fix", "all"], "add --output-dir DIR"),
        (["--fix", "binary", "--palette", "camvid"], "it goes with --fix colours"),
        (["--fix", "binary", "--values", "1,2"], "it goes with --fix renumber"),
        (["--fix", "renumber", "--values", "1,x"], "write the value of class 0"),
        (["--fix", "binary", "--split", "train"], "leave out --split"),
        (["--fix", "binary", "--report", "x.html"], "leave out --report"),
        (["--weights", "mean"], "there are median and inverse"),
        (["--ignore", "300"], "mask values from 0 to 255"),
        (["--split", ","], "names no split"),
        (["--num-classes", "300"], "not 300"),
        (["--ignore", "1"], "value 1 is class 'car'"),
    ],
)
def test_options_that_cannot_be(sound, options, says):
    result = run("--data", sound, *options)
    assert result.exit_code == 2
    assert says in said(result), said(result)
    assert "Traceback" not in said(result)


def test_no_folder(tmp_path):
    assert "no such folder" in said(run("--data", tmp_path / "gone"))


def test_weights_files(sound, tmp_path):
    histogram = check_data(sound).train.histogram
    result = run("--data", sound, "--weights-out", tmp_path / "w.toml")
    assert f"train --class-weights {tmp_path / 'w.toml'}" in said(result)
    read = read_class_weights(tmp_path / "w.toml", histogram.classes)
    assert read.tolist() == histogram.median_frequency_weights().tolist()
    run("--data", sound, "--weights-out", tmp_path / "i.toml", "--weights", "inverse")
    read = read_class_weights(tmp_path / "i.toml", histogram.classes)
    assert read.tolist() == histogram.inverse_frequency_weights().tolist()
    before = (tmp_path / "w.toml").read_bytes()
    assert "nothing is overwritten" in said(run("--data", sound, "--weights-out", tmp_path / "w.toml"))
    assert (tmp_path / "w.toml").read_bytes() == before


def test_json_has_everything(broken, tmp_path):
    run("--data", broken, "--json", tmp_path / "found.json")
    found = json.loads((tmp_path / "found.json").read_text())
    assert not found["sound"]
    assert found["splits"]["train"]["pairs"] == 36
    assert found["splits"]["train"]["values"]["77"] == 30 * 24 * 16
    assert sum(len(group["problems"]) for group in found["problems"]) == len(check_data(broken).problems)
    assert found["duplicates"][0]["exact"]
    assert found["train"]["weights"]["median"][0] > 0


def test_help_is_quick_and_names_the_repairs():
    imported = "import sys, scratchfcn.cli; print([m for m in ('rich.progress', 'jinja2', 'PIL') if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", imported], capture_output=True, text=True, check=True)
    assert "jinja2" not in result.stdout
    assert "PIL" not in result.stdout
    text = said(run("--help"))
    for kind in ("binary", "colours", "offbyone", "renumber", "bits", "threshold", "extension", "sizes", "duplicates"):
        assert kind in text


# --- the page ------------------------------------------------------------------------------------------------


def test_report_alone_has_a_name_and_may_be_replaced_by_a_newer_one(sound, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("--data", sound, "--report").exit_code == 0
    assert (tmp_path / "check-data.html").exists()
    assert run("--report", "--data", sound).exit_code == 0  # its own page may be replaced
    (tmp_path / "thesis.html").write_text("<h1>My thesis</h1>")
    assert "nothing is overwritten" in said(run("--data", sound, "--report", "thesis.html"))
    assert (tmp_path / "thesis.html").read_text() == "<h1>My thesis</h1>"


def test_the_page_of_a_broken_set(broken):
    html = check_page(check_data(broken))
    assert "&lt;b&gt;" in html  # a class name is other people's text
    assert "<b>car" not in html
    assert html.count("value 77 at") >= 30  # all problems, not the first twenty
    for words in ("30 masks have values that are no class", "77 stands alone", "with the wrong values marked"):
        assert words in html
    images = re.findall(r"<img [^>]*>", html)
    assert len(images) > 10
    assert all(re.search(r'alt="[^"]+"', image) for image in images)
    assert "http" not in re.sub(r"data:image[^\"]*", "", html)  # nothing is fetched
    assert 'scope="row"' in html


def test_the_page_of_a_sound_set_shows_classes_samples_and_weights(sound):
    html = check_page(check_data(sound), "scratchfcn check-data --data X")
    for words in ("Every image and every mask can be read", "photograph a", "c with its mask", "#804080", "83.33%"):
        assert words in html
    assert "[weights]" in html
    assert "check-data --data X" in html
    assert html.count("<polyline") == 3


@pytest.mark.parametrize("mask", [label(0, 255), label(0, 128), np.full((24, 32, 3), (9, 8, 7), np.uint8)])
def test_a_page_can_be_made_whatever_is_wrong(tmp_path, mask):
    folder(tmp_path, {"a": mask, "b": mask})
    found = check_data(tmp_path)
    assert not found.sound
    assert "problem" in check_page(found)
    json.dumps(figures(found), allow_nan=False)


def test_a_page_where_nothing_can_be_opened(tmp_path):
    put(tmp_path / "images/train/a.png", photograph("a"))
    (tmp_path / "masks").mkdir()
    found = check_data(tmp_path)
    assert found.splits == {}
    assert "a split cannot be opened" in check_page(found).lower()
    assert run("--data", tmp_path).exit_code == 2


def test_masks_are_made_smaller_without_new_colours():
    colours = np.zeros((900, 1300, 3), np.uint8)
    colours[:, 650:] = 200, 10, 30
    small = smaller_mask(colours)
    assert max(small.shape[:2]) == 320
    assert len(np.unique(small.reshape(-1, 3), axis=0)) == 2


@pytest.mark.slow
def test_the_page_of_camvid_is_small():
    html = check_page(check_data(shared_data("camvid")))
    assert len(html) < 1_000_000
    for words in ("camvid: sound", "Bicyclist", "6.375", "0.4116"):
        assert words in html
