"""The pictures: they exist, have the right size, show something, and cope with short and broken logs."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scratchfcn.plots import plot_confusion, plot_curves

COLUMNS = ["epoch", "step", "lr", "train_loss", "val_loss", "pixel_acc", "mean_acc", "mean_iu", "fw_iu"]
COLUMNS += ["seconds", "images_per_s", "iu_car"]


def log(path: Path, rows: list[dict[str, object]], columns: list[str] = COLUMNS) -> Path:
    lines = [",".join(columns)] + [",".join(str(row.get(name, 0.5)) for name in columns) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def pixels(path: Path) -> np.ndarray:
    """The picture (H, W, 3)."""
    with Image.open(path) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB"))


def has_colour(picture: np.ndarray, hexadecimal: str, least: int = 20) -> bool:
    same = (picture == list(bytes.fromhex(hexadecimal))).all(axis=2)  # (H, W)
    return int(same.sum()) > least  # a few pixels of any grey occur where letters are smoothed


@pytest.mark.parametrize("epochs", [1, 2, 50])
def test_curves(tmp_path: Path, epochs: int) -> None:
    rows: list[dict[str, object]] = [
        {"epoch": e, "train_loss": 1 / e, "val_loss": 2 / e, "mean_iu": 0.9 - 1 / (e + 2)} for e in range(1, epochs + 1)
    ]
    plot_curves(log(tmp_path / "log.csv", rows), tmp_path / "curves.png")
    picture = pixels(tmp_path / "curves.png")
    assert picture.shape == (462, 1210, 3)
    left, right = picture[:, :605], picture[:, 605:]
    assert has_colour(left, "0072B2")  # training loss
    assert has_colour(left, "D55E00")  # validation loss
    assert has_colour(right, "D55E00")  # mean IU
    assert sorted(os.listdir(tmp_path)) == ["curves.png", "log.csv"]  # no temporary file is left


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("bad", ["nan", "inf", "", "?"])
def test_values_that_are_no_numbers_are_left_out(tmp_path: Path, bad: str) -> None:
    rows: list[dict[str, object]] = [{"epoch": e, "mean_iu": bad if e == 2 else 0.1 * e} for e in range(1, 5)]
    rows.append({"epoch": 5, **dict.fromkeys(COLUMNS[2:], bad)})
    plot_curves(log(tmp_path / "log.csv", rows), tmp_path / "curves.png")
    assert has_colour(pixels(tmp_path / "curves.png")[:, 605:], "D55E00")


def test_curves_go_on_over_epochs_that_were_not_validated(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [{"epoch": e, "mean_iu": "nan" if e % 50 else e / 500} for e in range(1, 401)]
    plot_curves(log(tmp_path / "log.csv", rows, ["epoch", "mean_iu"]), tmp_path / "every50.png")
    rows = [row for row in rows if row["mean_iu"] != "nan"]
    plot_curves(log(tmp_path / "log.csv", rows, ["epoch", "mean_iu"]), tmp_path / "alone.png")
    orange = [
        (np.abs(pixels(tmp_path / name)[:, 605:].astype(int) - (0xD5, 0x5E, 0x00)).max(axis=2) < 8).sum()
        for name in ("every50.png", "alone.png")
    ]
    assert orange[0] > 0.9 * orange[1] > 500


@pytest.mark.filterwarnings("error")
def test_a_log_without_validation(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [{"epoch": 1, "mean_iu": "nan"}]
    plot_curves(log(tmp_path / "log.csv", rows, ["epoch", "train_loss", "mean_iu"]), tmp_path / "curves.png")
    picture = pixels(tmp_path / "curves.png")
    assert has_colour(picture[:, :605], "0072B2")
    assert not has_colour(picture[:, 605:], "D55E00")


def test_an_empty_log_says_so(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"log\.csv: holds no epoch yet"):
        plot_curves(log(tmp_path / "log.csv", []), tmp_path / "curves.png")
    assert not (tmp_path / "curves.png").exists()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("K", [1, 2, 7, 21, 40])
def test_confusion(tmp_path: Path, K: int) -> None:
    matrix = np.eye(K, dtype=np.int64) * 90 + 10
    if K > 2:
        matrix[1, :] = 0  # a class that is predicted but does not exist
        matrix[2, :] = matrix[:, 2] = 0  # one that never occurs
    plot_confusion(matrix, [f"class {k}" for k in range(K)], tmp_path / "confusion.png")
    H, W, _ = pixels(tmp_path / "confusion.png").shape
    assert 400 < H < 2000
    assert abs(W - H - 110) <= 2
    assert has_colour(pixels(tmp_path / "confusion.png"), "eeeeee", 1000) == (K > 2)  # the rows without pixels


def test_confusion_of_nothing(tmp_path: Path) -> None:
    plot_confusion(np.zeros((3, 3), int), ["a", "b", "c"], tmp_path / "confusion.png")
    assert has_colour(pixels(tmp_path / "confusion.png"), "eeeeee")


def test_the_mean_over_a_confusion_matrix_is_without_the_unscored(tmp_path: Path) -> None:
    matrix = np.array([[8, 0, 2], [0, 5, 0], [0, 0, 0]])
    for name, unscored in (("all", ()), ("some", (2,))):
        plot_confusion(matrix, ["a", "b", "c"], tmp_path / f"{name}.png", unscored)
    above, below = (slice(0, 80), slice(80, None))  # the mean stands above the cells, and nothing else changes
    everything, some = pixels(tmp_path / "all.png"), pixels(tmp_path / "some.png")
    assert (everything[above] != some[above]).any()
    assert (everything[below] == some[below]).all()


def test_names_must_fit(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="3x3 matrix needs 3 class names, got 2"):
        plot_confusion(np.eye(3), ["a", "b"], tmp_path / "confusion.png")


def test_neither_matplotlib_at_import_nor_pyplot_ever(tmp_path: Path) -> None:
    path = log(tmp_path / "log.csv", [{"epoch": 1}])
    program = f"""
import sys
from scratchfcn import plots
assert "matplotlib" not in sys.modules
plots.plot_curves({str(path)!r}, {str(tmp_path / "curves.png")!r})
assert "matplotlib.pyplot" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)
