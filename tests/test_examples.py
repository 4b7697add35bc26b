"""The examples run from any folder, and draw something."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from shared_data import shared_data

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
SCRIPTS = [  # a script's name, its options beside --output, and what it must print
    pytest.param("amortization", [], "10x10", marks=pytest.mark.slow, id="amortization"),
    pytest.param("dense_classifier", [], "generated pictures stand in", marks=pytest.mark.slow, id="dense_classifier"),
    pytest.param("bilinear_upsampling", ["--steps", "2"], "inside 2.2e-16", marks=pytest.mark.slow, id="bilinear"),
    pytest.param("heatmap", [], "generated shapes stand in", marks=pytest.mark.slow, id="heatmap"),
    pytest.param("patchwise_training", [], "n = 256", marks=pytest.mark.slow, id="patchwise_training"),
    pytest.param("receptive_field", [], "(907, 32)", id="receptive_field"),
    pytest.param("shift_and_stitch", [], "largest difference between the two: 0 ", id="shift_and_stitch"),
    pytest.param(
        "skip_fusion", ["--steps", "2"], "FCN16s starts from FCN32s", marks=pytest.mark.slow, id="skip_fusion"
    ),
    pytest.param("transfer_learning", ["--steps", "5"], "stand in", marks=pytest.mark.slow, id="transfer_learning"),
]


def run_example(name: str, folder: Path, *options: str, data: str = "there is none") -> str:
    """Run a script as a user would, with `folder` as the current one; what it printed."""
    done = subprocess.run(
        [sys.executable, EXAMPLES / f"{name}.py", "--output", "pictures/picture.png", *options],
        cwd=folder,
        env=os.environ | {"SCRATCHFCN_DATA": data},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def check_picture(path: Path) -> None:
    """It is there, and neither tiny nor of one colour."""
    picture = np.asarray(Image.open(path).convert("RGB"))
    assert min(picture.shape[:2]) >= 100
    assert picture.std() > 5


@pytest.mark.parametrize(("name", "options", "printed"), SCRIPTS)
def test_an_example_runs_and_draws(name: str, options: list[str], printed: str, tmp_path: Path) -> None:
    assert printed in run_example(name, tmp_path, *options)
    check_picture(tmp_path / "pictures" / "picture.png")


def test_a_dense_squeezenet_finds_what_is_shown(tmp_path: Path) -> None:
    """With real weights and photographs: each thing has the highest score in its own corner of the picture."""
    shared_data("photos", "bird.jpg")
    printed = run_example("dense_classifier", tmp_path, data=str(shared_data("weights").parent))
    for name in ("chickadee", "dragonfly", "hotdog", "tiger cat"):
        assert any(line.split(name)[0].strip() == "" and line.count(name) == 2 for line in printed.splitlines()), name
    check_picture(tmp_path / "pictures" / "picture.png")


PLACES = {  # of the things in the photographs, as heatmap.py cuts them: rows and columns from … to
    "bird": (80, 230, 20, 300),
    "cat": (20, 300, 130, 310),
    "cat2": (30, 300, 60, 350),
    "dragonfly": (20, 280, 90, 330),
    "hot_dog": (60, 220, 60, 400),
}


def test_the_heat_peaks_on_the_thing(tmp_path: Path) -> None:
    """With real weights and photographs: every network's highest score lies on what it names."""
    shared_data("photos", "bird.jpg")
    printed = run_example("heatmap", tmp_path, data=str(shared_data("weights").parent))
    found = re.findall(r"^(\w+) +(\S+(?: 1\.0)?) +peak at row +(\d+), column +(\d+) +(.*)$", printed, re.MULTILINE)
    assert len(found) == 10
    for photo, network, row, column, names in found:
        top, bottom, left, right = PLACES[photo]
        assert top <= int(row) <= bottom, (photo, network)
        assert left <= int(column) <= right, (photo, network)
        if network == "MobileNetV2":
            expected = {"cat": "tabby", "cat2": "Egyptian cat", "bird": "chickadee", "hot_dog": "hotdog"}
            assert names.startswith(expected.get(photo, photo))
    check_picture(tmp_path / "pictures" / "picture.png")


@pytest.mark.slow
def test_imagenet_features_beat_random_ones_on_camvid(tmp_path: Path) -> None:
    """After the same number of steps, as the script prints it."""
    shared_data("camvid", "train")
    options = ("--steps", "30", "--images", "8")
    printed = run_example("transfer_learning", tmp_path, *options, data=str(shared_data("weights").parent))
    mean_iu = dict(re.findall(r"^(random weights|ImageNet features) +\S+ +\S+ +(\S+)", printed, re.MULTILINE))
    assert float(mean_iu["ImageNet features"]) > float(mean_iu["random weights"]) + 5
    check_picture(tmp_path / "pictures" / "picture.png")


def test_every_example_says_what_one_sees_and_where_it_belongs() -> None:
    for script in sorted(EXAMPLES.glob("*.py")):
        docstring = compile(script.read_text(encoding="utf-8"), script.name, "exec").co_consts[0]
        assert "paper" in docstring.partition("\n\n")[0], f"{script.name}: its first line names no section of the paper"
