"""Pictures of a run: the curves of its log, its confusion matrix, and its curves beside those of other runs.

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
import math
from collections.abc import Mapping, Sequence
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
RUN_COLOURS = (BLUE, ORANGE, GREEN, PURPLE, "#E69F00", "#56B4E9", "#000000")
MOST_CELLS_WITH_TEXT = 25  # classes; beyond that the percentages would be too small to read
DPI = 110


def _save(figure: Figure, png_path: str | Path) -> None:
    """Write the picture so that whoever looks at it during a run sees a whole one."""
    with replacing(png_path) as temporary:
        figure.savefig(temporary, format="png", dpi=DPI)


# --- curves -----------------------------------------------------------------------------------------------


def plot_curves(log_csv_path: str | Path, png_path: str | Path) -> None:
    """Draw a run's log.csv: losses left, the paper's four measures right; the best epoch (mean IU) is marked.

    The log needs a column "epoch"; of the others, those that are there are drawn. Lines pass over empty and NaN cells,
    such as those of epochs that were not validated.
    Errors: ValueError for a log without an epoch.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    columns = read_log(log_csv_path)
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


def read_log(path: str | Path) -> dict[str, np.ndarray]:
    """The columns of a log by name, as floats (epochs,); a cell that is no number is NaN.

    Errors: ValueError for a log without an epoch.
    """
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
        known = np.isfinite(values)
        marker = marker if known.sum() <= 40 else ""  # single epochs need a dot to be seen, many only clutter
        axes.plot(epochs[known], values[known], color=colour, marker=marker, markersize=4, linewidth=1.8, label=label)
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


# --- several runs -------------------------------------------------------------------------------------------

STYLES = ("-", "--", ":", "-.")
X_AXES = {"epoch": "epoch", "step": "training step", "hours": "hours of training"}


def plot_runs(
    curves: Mapping[str, Mapping[str, np.ndarray]],
    png_path: str | Path,
    x: str = "epoch",
    class_ius: Mapping[str, Sequence[float]] | None = None,
) -> None:
    """Draw several runs into one picture: mean IU on the validation set above, the losses below.

    curves: name of each run → its columns "mean_iu", "train_loss", "val_loss" and the one that `x` names, (epochs,)
    each; NaN is a gap. Each curve's best epoch has a star.
    class_ius: class → IU of each run, in the order of `curves`; drawn as dots at the bottom.
    """
    from matplotlib.figure import Figure

    class_height = 0 if not class_ius else 0.9 + 0.27 * len(class_ius)
    names_height = 0.22 * -(-len(curves) // _name_columns(curves))
    figure = Figure(figsize=(11, 7.2 + class_height + names_height), layout="constrained")
    grid = figure.add_gridspec(3 if class_ius else 2, 2, height_ratios=[4, 3.2] + ([class_height] if class_ius else []))
    panels = {
        "mean_iu": (figure.add_subplot(grid[0, :]), "mean IU on the validation set"),
        "train_loss": (figure.add_subplot(grid[1, 0]), "training loss"),
        "val_loss": (figure.add_subplot(grid[1, 1]), "validation loss"),
    }
    for column, (axes, title) in panels.items():
        _compare_curves(axes, curves, x, column, title)
    if class_ius:
        _compare_classes(figure.add_subplot(grid[2, :]), class_ius, len(curves))
    handles = panels["mean_iu"][0].get_lines()[: len(curves)]
    figure.legend(handles, curves, loc="outside lower center", ncols=_name_columns(curves), frameon=False, fontsize=9)
    _save(figure, png_path)


def _look(i: int) -> dict[str, Any]:
    """Colour and dashes of run i: colours first, since they are easier to tell apart."""
    return {"color": RUN_COLOURS[i % len(RUN_COLOURS)], "linestyle": STYLES[i // len(RUN_COLOURS) % len(STYLES)]}


def _name_columns(curves: Mapping[str, Any]) -> int:
    """How many names fit beside each other, beneath the picture."""
    return max(1, min(6, len(curves), 120 // (max(map(len, curves), default=0) + 8)))


def _compare_curves(
    axes: Axes, curves: Mapping[str, Mapping[str, np.ndarray]], x: str, column: str, title: str
) -> None:
    from matplotlib.ticker import MaxNLocator

    lowest, highest = math.inf, 0.0
    for i, run in enumerate(curves.values()):
        values, known = run[column], np.isfinite(run[column])
        marker = "o" if known.sum() < 3 else ""  # a point alone makes no line
        axes.plot(run[x][known], values[known], **_look(i), linewidth=1.7, marker=marker, markersize=4)
        if np.isfinite(values).any():
            lowest, highest = min(lowest, np.nanmin(values)), max(highest, np.nanmax(values))
    if column == "mean_iu":  # after all lines, which the legend counts on
        for i, run in enumerate(curves.values()):
            if np.isfinite(run[column]).any():
                best = int(np.nanargmax(run[column]))
                axes.plot([run[x][best]], [run[column][best]], marker="*", markersize=12, color=_look(i)["color"])
        axes.set_ylim(0, min(1.0, 1.15 * highest) or 1.0)
    elif 0 < 30 * lowest < highest:  # a sum over pixels beside a mean, or a run that went astray
        axes.set_yscale("log")
    if not highest:
        axes.text(0.5, 0.5, "no values", transform=axes.transAxes, ha="center", color=GREY)
    axes.set_title(title, loc="left", fontsize=11)
    axes.set_xlabel(X_AXES[x])
    axes.xaxis.set_major_locator(MaxNLocator(integer=x != "hours", min_n_ticks=1))
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def _compare_classes(axes: Axes, class_ius: Mapping[str, Sequence[float]], runs: int) -> None:
    """A row for each class, and in it a dot for each run."""
    rows = np.arange(len(class_ius))
    table = np.array(list(class_ius.values()), np.float64)  # (K, runs)
    for row, values in zip(rows, table, strict=True):
        if np.isfinite(values).any():
            axes.plot([np.nanmin(values), np.nanmax(values)], [row, row], color="#d0d0d0", linewidth=3, zorder=1)
    for i in range(runs):
        look = _look(i)
        face = look["color"] if look["linestyle"] == "-" else "white"
        axes.plot(table[:, i], rows, "o", color=look["color"], markerfacecolor=face, markersize=7, zorder=2)
    axes.set_yticks(rows, list(class_ius), fontsize=9)
    axes.set_ylim(len(class_ius) - 0.5, -0.5)
    axes.set_xlim(-0.02, 1.02)
    axes.set_title("IU of each class, in each run's best epoch", loc="left", fontsize=11)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


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
