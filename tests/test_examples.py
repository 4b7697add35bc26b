"""The examples run from any folder, and print and draw what they are there for."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import make_sets
import numpy as np
import pytest
from PIL import Image
from shared_data import shared_data

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
slow = pytest.mark.slow
COURSE = [f"{n:02}" for n in range(1, 13)]
SCRIPTS = [  # a script's name, its options beside --output, and what it must print
    pytest.param("01_convolution_by_hand", [], "1·9 + 0·0 + -1·0", id="01"),
    pytest.param("02_gradient_check_by_hand", [], "gy all ones  0.00", id="02"),
    pytest.param("03_im2col", [], "[2. 4. 4. 2.]", id="03"),
    pytest.param("04_a_classifier_becomes_dense", [], "generated pictures stand in", marks=slow, id="04"),
    pytest.param("05_upsampling", ["--steps", "2"], "inside 2.2e-16", marks=slow, id="05"),
    pytest.param("06_skip_connections", ["--steps", "2"], "FCN16s starts from FCN32s", marks=slow, id="06"),
    pytest.param("11_receptive_field", [], "(907, 32)", id="11"),
    pytest.param("12_transfer_learning", ["--steps", "5"], "stand in", marks=slow, id="12"),
    pytest.param("amortization", [], "10x10", marks=slow, id="amortization"),
    pytest.param("heatmap", [], "generated shapes stand in", marks=slow, id="heatmap"),
    pytest.param("patchwise_training", [], "n = 256", marks=slow, id="patchwise_training"),
    pytest.param("shift_and_stitch", [], "largest difference between the two: 0 ", id="shift_and_stitch"),
]


def run_python(folder: Path, *arguments: str | Path, data: str = "there is none", typed: str = "") -> str:
    """Run Python as a user would, with `folder` as the current one; what it printed."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=os.environ | {"SCRATCHFCN_DATA": data, "SCRATCHFCN_DEVICE": "cpu", "HOME": str(folder)},  # HOME: no .pdbrc
        input=typed,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def run_example(name: str, folder: Path, *options: str, data: str = "there is none") -> str:
    """Run a script that draws; what it printed."""
    return run_python(folder, EXAMPLES / f"{name}.py", "--output", "pictures/picture.png", *options, data=data)


def check_picture(path: Path) -> None:
    """It is there, and neither tiny nor of one colour."""
    picture = np.asarray(Image.open(path).convert("RGB"))
    assert min(picture.shape[:2]) >= 100
    assert picture.std() > 5


@pytest.mark.parametrize(("name", "options", "printed"), SCRIPTS)
def test_an_example_runs_and_draws(name: str, options: list[str], printed: str, tmp_path: Path) -> None:
    assert printed in run_example(name, tmp_path, *options)
    check_picture(tmp_path / "pictures" / "picture.png")


# --- the course -------------------------------------------------------------------------------------------


def test_the_course_is_complete_and_says_what_to_try_next() -> None:
    scripts = sorted(EXAMPLES.glob("[0-9]*.py"))
    assert [script.name[:2] for script in scripts] == COURSE
    for script in scripts:
        lesson = docstring(script)
        following = lesson.partition("Next: ")[2]
        assert "scratchfcn" in following, f"{script.name}: says no exercise or command to go on with"
        assert "To read:" in following, f"{script.name}: says nothing to read"
        name = f"runs/examples/{script.stem}.png"
        assert name in lesson or "--output" not in script.read_text(encoding="utf-8"), f"{script.name}: {name}"
        assert script.read_text(encoding="utf-8").count("# %%") >= 3, f"{script.name}: has no cells"


def test_what_the_lessons_refer_to_exists() -> None:
    """Files of the library, and other examples, by the names in the docstrings."""
    for script in EXAMPLES.glob("*.py"):
        text = docstring(script)
        for name in re.findall(r"\bscratchfcn/[\w/]+\.py", text):
            assert (EXAMPLES.parent / name).exists(), f"{script.name}: {name}"
        for name in re.findall(r"\b(?:\d\d_\w+|heatmap)\.py", text):
            assert (EXAMPLES / name).exists(), f"{script.name}: {name}"


def docstring(script: Path) -> str:
    return compile(script.read_text(encoding="utf-8"), script.name, "exec").co_consts[0]


def test_every_example_says_what_one_sees_and_where_it_belongs() -> None:
    for script in sorted(EXAMPLES.glob("*.py")):
        assert "paper" in docstring(script).partition("\n\n")[0], f"{script.name}: its first line names no section"


def test_the_planted_mistake_is_found(tmp_path: Path) -> None:
    """And the gradients by hand are right, and float64 goes further than float32."""
    printed = run_example("02_gradient_check_by_hand", tmp_path)
    assert re.search(r"forgetful backward +X wrong +w ok", printed)
    errors = [float(error) for error in re.findall(r"worst relative error (\S+)", printed)]
    assert len(errors) == 2
    assert max(errors) < 1e-7
    row = re.search(r"1e-06 +(\S+) +(\S+)", printed)
    assert float(row[1]) < 1e-7 < float(row[2])


@slow
def test_training_on_shapes_learns(tmp_path: Path) -> None:
    """From ln 5 and one class to several, within a hundred steps."""
    printed = run_example("07_train_on_shapes", tmp_path, "--steps", "120")
    rows = re.findall(r"^ +(\d+) +[\d.]+ +([\d.]+) +([\d.]+) +([\d.]+) +[\d.]+$", printed, re.MULTILINE)
    (_, first_loss, _, first_iu), (_, last_loss, _, last_iu) = rows[0], rows[-1]
    assert first_loss == "1.609"
    assert float(last_loss) < 0.8
    assert float(last_iu) > float(first_iu) + 8
    check_picture(tmp_path / "pictures" / "picture.png")


@slow
def test_camvid_takes_the_time_it_is_given(tmp_path: Path) -> None:
    """An epoch is timed, and as many are planned as fit; here it is one. Then a given number."""
    two = {"train": ("a", "b"), "val": ("c",)}
    make_sets.camvid(tmp_path / "camvid", two)
    options = ("--data", "camvid", "--device", "cpu", "--output-dir", "run")
    printed = run_example("camvid_in_ten_minutes", tmp_path, *options, "--minutes", "0.01")
    assert re.search(r"an epoch takes [\d.]+ s here: 1 epoch\(s\) \(the same run again: --epochs 1\)", printed)
    assert "on the 1 images of val" in printed
    assert printed.count(" IU ") >= 11
    check_picture(tmp_path / "pictures" / "picture.png")
    assert "epochs = 1\n" in (tmp_path / "run" / "config.toml").read_text(encoding="utf-8")


def test_without_a_gpu_camvid_says_what_is_missing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, EXAMPLES / "camvid_in_ten_minutes.py", "--device", "cuda:99"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("✗ device 'cuda:99'")
    assert "Traceback" not in done.stderr


@slow
def test_your_own_folder_is_left_as_it_is(tmp_path: Path) -> None:
    """A second run takes what is there, changed or not, and writes into a run folder of its own."""
    printed = run_example("08_train_on_your_own_folder", tmp_path, "--epochs", "1")
    assert "value 77 at (row 0, col 0), 100% of pixels; allowed 0..2" in printed
    check_picture(tmp_path / "pictures" / "picture.png")
    folder = tmp_path / "pictures" / "picture"
    (folder / "data" / "classes.toml").write_text('names = ["ground", "disc", "box"]\n', encoding="utf-8")
    before = {path: path.read_bytes() for path in (folder / "data").rglob("*") if path.is_file()}
    printed = run_example("08_train_on_your_own_folder", tmp_path, "--epochs", "1", "--data", str(folder / "data"))
    assert "ground" in printed
    assert {path: path.read_bytes() for path in (folder / "data").rglob("*") if path.is_file()} == before
    assert {"run1", "run2"} <= {path.name for path in folder.iterdir()}


# --- step through backward: the session in the docstring, typed again -------------------------------------


def session(text: str) -> list[tuple[str, list[str]]]:
    """A transcript as (command, what pdb answered), beginning with what it said before the first command."""
    first, *rest = text.split("(Pdb) ")
    pairs = [("", first), *(part.partition("\n")[::2] for part in rest)]
    return [(command, answer.splitlines()) for command, answer in pairs]


def comparable(lines: list[str], files: set[str]) -> Iterator[str]:
    """Without paths, line numbers, spaces, and the frames of any file but `files`."""
    ours = True
    for line in lines:
        place = re.match(r"([> ] )(?:\S*/)?([\w<>.]+)\([\d…]+\)(.*)", line)
        if place:
            ours = place[2] in files
            line = f"{place[1]}{place[2]} {place[3]}"
        if ours:
            yield re.sub(r"\s+", "", re.sub(r"(?:\S*/)?(\w+\.py):[\d…]+", r"\1", line))


def test_the_debugger_shows_what_the_docstring_says(tmp_path: Path) -> None:
    script = EXAMPLES / "09_step_through_backward.py"
    text = docstring(script).partition("$ python -m pdb ")[2].partition("\n\n")[0]
    told = session(text.partition("\n")[2])
    commands = [command for command, _ in told[1:]]
    assert commands[-1] == "quit"
    printed = run_python(tmp_path, "-m", "pdb", script, typed="\n".join(commands) + "\n")
    answers = [part.splitlines() for part in printed.split("(Pdb) ")]  # pdb does not repeat what a pipe types
    assert len(answers) == len(told)

    files = {"conv.py", "tensor.py", script.name}
    for (command, expected), answer in zip(told[1:], answers[1:], strict=True):
        assert list(comparable(answer, files)) == list(comparable(expected, files)), f"after (Pdb) {command}"
    where = list(comparable(told[commands.index("where") + 1][1], files))
    frames = [line for line in where if "->" not in line]
    assert frames == [f"{script.name}<module>()", "tensor.pybackward()", ">conv.pybackward()"]  # two below one's own
    assert any("gw=matmul(" in "".join(comparable(answer, files)) for _, answer in told)


def test_stepping_through_runs_without_a_debugger_too(tmp_path: Path) -> None:
    printed = run_python(tmp_path, EXAMPLES / "09_step_through_backward.py")
    assert "gradient by w\n[[40. 51.]\n [73. 84.]]" in printed


def test_numpy_and_cupy(tmp_path: Path) -> None:
    """Where there is no GPU it says so and shows NumPy; where there is one, the script compares the two itself."""
    printed = run_python(tmp_path, EXAMPLES / "10_numpy_and_cupy.py")
    assert ("no GPU here: " in printed) != ("a GPU: cuda" in printed)
    assert re.search(r"cpu +numpy.ndarray, on cpu", printed)
    assert "1.9459" in printed  # ln 7, of seven classes that are equally likely at first


# --- with real weights and photographs --------------------------------------------------------------------


def test_a_dense_squeezenet_finds_what_is_shown(tmp_path: Path) -> None:
    """With real weights and photographs: each thing has the highest score in its own corner of the picture."""
    shared_data("photos", "bird.jpg")
    printed = run_example("04_a_classifier_becomes_dense", tmp_path, data=str(shared_data("weights").parent))
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
    """With real weights and photographs: the highest score of the best class lies in a box, drawn by hand, around the
    thing. The class itself is asked of MobileNetV2 alone: SqueezeNet takes cat.jpg for a fox."""
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
    printed = run_example("12_transfer_learning", tmp_path, *options, data=str(shared_data("weights").parent))
    mean_iu = dict(re.findall(r"^(random weights|ImageNet features) +\S+ +\S+ +(\S+)", printed, re.MULTILINE))
    assert float(mean_iu["ImageNet features"]) > float(mean_iu["random weights"]) + 5
    check_picture(tmp_path / "pictures" / "picture.png")
