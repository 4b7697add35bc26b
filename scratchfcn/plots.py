"""Pictures of a run: the curves of its log, and its confusion matrix.

What to look for in the curves: a training loss that falls while the validation loss rises is over-fitting;
two that lie flat from the start mean a learning rate that is too small, or a model that cannot learn (all
scores zero, say).

What to look for in the matrix: each row is one true class and says where its pixels went, so a perfect
model has a dark diagonal and nothing else. A dark *column* is a class that swallows the others, usually the
background.

Matplotlib takes a second to import, so it is imported when something is drawn; and only its `Figure` is
used, never `pyplot`, whose global state would disturb the figures (and the windows) of whoever calls this
from a notebook.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .files import replacing
from .metrics import ConfusionMatrix

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, which people with colour-blindness can tell apart
BLUE, ORANGE, GREEN, PURPLE, GREY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#777777"
LOSSES = {"train_loss": ("train", BLUE, "o"), "val_loss": ("validation", ORANGE, "s")}
SCORES = {
    "mean_iu": ("mean IU", ORANGE, "s"),
    "pixel_acc": ("pixel accuracy", BLUE, "o"),
    "mean_acc": ("mean accuracy", GREEN, "^"),
    "fw_iu": ("freq. weighted IU", PURPLE, "D"),
}
MOST_CELLS_WITH_TEXT = 25  # classes; beyond that the percentages would be too small to read
DPI = 110


def _save(figure: Figure, png_path: str | Path) -> None:
    """Write the picture so that whoever looks at it during a run sees a whole one."""
    with replacing(png_path) as temporary:
        figure.savefig(temporary, format="png", dpi=DPI)


# --- curves -----------------------------------------------------------------------------------------------


def plot_curves(log_csv_path: str | Path, png_path: str | Path) -> None:
    """Draw a run's log.csv: losses left, the paper's four measures right; the best epoch (mean IU) is marked.

    The log needs a column "epoch"; of the others, those that are there are drawn. Empty and NaN cells are
    gaps.
    Errors: ValueError for a log without an epoch.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    columns = _read_log(Path(log_csv_path))
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    _curves(left, columns, LOSSES, "loss")
    _curves(right, columns, SCORES, "score on the validation set")
    right.set_ylim(0, 1)
    _mark_best(left, right, columns)
    for axes in (left, right):
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.set_xlim(columns["epoch"].min() - 0.5, columns["epoch"].max() + 0.5)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    _save(figure, png_path)


def _read_log(path: Path) -> dict[str, np.ndarray]:
    """The columns of a log by name, as floats; a cell that is no number is NaN."""
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if not rows or "epoch" not in rows[0]:
        raise ValueError(f"{path}: holds no epoch yet, so there is no curve to draw")
    return {name: np.array([_number(row[name]) for row in rows]) for name in rows[0] if name}


def _number(cell: str | None) -> float:
    try:
        return float(cell or "nan")
    except ValueError:
        return float("nan")


def _curves(axes: Axes, columns: dict[str, np.ndarray], styles: dict[str, tuple[str, str, str]], title: str) -> None:
    epochs = columns["epoch"]
    for name, (label, colour, marker) in styles.items():
        values = columns.get(name)
        if values is None or not np.isfinite(values).any():
            continue
        values = np.where(np.isfinite(values), values, np.nan)  # a loss of infinity is a gap, too
        marker = marker if len(epochs) <= 40 else ""  # single epochs need a dot to be seen, many only clutter
        axes.plot(epochs, values, color=colour, marker=marker, markersize=4, linewidth=1.8, label=label)
    axes.set_title(title, loc="left", fontsize=11)
    if axes.lines:
        axes.legend(frameon=False, fontsize=9, loc="best")
    else:
        axes.text(0.5, 0.5, "no values", transform=axes.transAxes, ha="center", color=GREY)


def _mark_best(left: Axes, right: Axes, columns: dict[str, np.ndarray]) -> None:
    """A dotted line through both plots at the epoch with the highest mean IU, and its value at the right."""
    iu = columns.get("mean_iu")
    if iu is None or not np.isfinite(iu).any():
        return
    best = int(np.nanargmax(np.where(np.isfinite(iu), iu, np.nan)))
    epoch, value = columns["epoch"][best], iu[best]
    for axes in (left, right):
        axes.axvline(epoch, color=GREY, linestyle=":", linewidth=1.2, zorder=1)
    right.plot([epoch], [value], marker="*", markersize=13, color=SCORES["mean_iu"][1], zorder=5)
    right.set_title(f"best: mean IU {value:.3f}, epoch {epoch:g}", loc="right", fontsize=10, color=GREY)


# --- confusion matrix ---------------------------------------------------------------------------------------


def plot_confusion(matrix: Any, class_names: Sequence[str], png_path: str | Path, unscored: Sequence[int] = ()) -> None:
    """Draw a confusion matrix (K, K), rows = truth: where each class's pixels went, in percent.

    The numbers at the right are the classes' IU, and their mean, above, is without those of the unscored. A class that
    never occurs is shown as "–".
    Errors: ValueError where the matrix is not (K, K) for K names.
    """
    from matplotlib.figure import Figure

    confusion = ConfusionMatrix.from_matrix(matrix, unscored)
    K = confusion.num_classes
    if len(class_names) != K:
        raise ValueError(f"plot_confusion: a {K}x{K} matrix needs {K} class names, got {len(class_names)}")
    counts = confusion.matrix
    totals = counts.sum(axis=1, keepdims=True)  # (K, 1)
    shares = np.where(totals > 0, counts / np.maximum(totals, 1), np.nan)  # (K, K)

    side = _side(K)
    figure = Figure(figsize=(side + 2.2, side + 1.2), layout="constrained")
    axes = figure.subplots()
    colours = _white_to_blue()
    image = axes.imshow(shares, cmap=colours, vmin=0, vmax=1)
    _name_the_classes(axes, class_names)
    if K <= MOST_CELLS_WITH_TEXT:
        _write_percentages(axes, shares)
    _write_iu(axes, confusion)
    bar = figure.colorbar(image, ax=axes, shrink=0.6, pad=0.02, ticks=[0, 0.5, 1], format="{x:.0%}")
    bar.set_label("share of the true class")
    bar.outline.set_visible(False)
    _save(figure, png_path)


def _side(K: int) -> float:
    """How wide and high the cells are together, in inches."""
    return min(max(3.2, 0.48 * K + 1.2), 16)


def _font_size(K: int) -> float:
    """For one line of text per cell: up to 9 points, less where many classes share the largest picture."""
    return min(9, 0.6 * 72 * _side(K) / K)


def _white_to_blue() -> Any:
    from matplotlib.colors import LinearSegmentedColormap

    colours = LinearSegmentedColormap.from_list("white to blue", ["#ffffff", "#9ecae1", "#3182bd", "#08306b"])
    return colours.with_extremes(bad="#eeeeee")  # rows without a pixel


def _name_the_classes(axes: Axes, names: Sequence[str]) -> None:
    K = len(names)
    size = _font_size(K)
    axes.set_xticks(range(K), names, rotation=90 if K > 12 else 45, ha="center" if K > 12 else "right", fontsize=size)
    if K <= 12:
        for label in axes.get_xticklabels():
            label.set_rotation_mode("anchor")
    axes.set_yticks(range(K), names, fontsize=size)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_xticks(np.arange(K + 1) - 0.5, minor=True)  # the white lines between the cells
    axes.set_yticks(np.arange(K + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=1.0)
    axes.tick_params(which="minor", length=0)


def _write_percentages(axes: Axes, shares: np.ndarray) -> None:
    for (i, j), share in np.ndenumerate(shares):
        if np.isnan(share):
            text = "–" if i == j else ""
        else:
            text = "" if share == 0 else "<1" if share < 0.005 else f"{100 * share:.0f}"
        axes.text(j, i, text, ha="center", va="center", fontsize=8, color="white" if share > 0.55 else "#333333")


def _write_iu(axes: Axes, confusion: ConfusionMatrix) -> None:
    """The IU of each row's class at its right end, and their mean above them."""
    K = confusion.num_classes
    size = _font_size(K)
    for i, iu in enumerate(confusion.per_class_iu):
        text = "–" if np.isnan(iu) else f"{iu:.2f}"
        axes.text(K - 0.35, i, text, ha="left", va="center", fontsize=size, clip_on=False)
    above = {"xytext": (0, 6), "textcoords": "offset points", "va": "bottom", "annotation_clip": False}
    axes.annotate("IU", (K - 0.35, -0.5), fontsize=9, fontweight="bold", **above)
    axes.set_title(_summary(confusion), loc="left", fontsize=10, pad=8)


def _summary(confusion: ConfusionMatrix) -> str:
    if np.isnan(confusion.pixel_acc):
        return "no pixels counted"
    text = f"mean IU {confusion.mean_iu:.3f}   pixel accuracy {confusion.pixel_acc:.3f}"
    return text + ("   (cells: % of the row)" if confusion.num_classes <= MOST_CELLS_WITH_TEXT else "")
