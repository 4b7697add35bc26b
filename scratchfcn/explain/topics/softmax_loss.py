"""The loss of every pixel and its gradient: from scores to probabilities, and who counts how much."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from ...ops.loss import SoftmaxCrossEntropy
from .. import drawing
from ..page import Choice, Code, Page, Setting, SettingsError, filled, shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROWS, COLUMNS, IGNORE, MOST_CLASSES = 2, 3, 255, 5
EQUATIONS = [
    "loss of a pixel = −log p_t = log Σ e^x_k − x_t",
    "{reduction}: total = {total_sum} = {total}",
    "loss = Σ w_t · loss of the pixel / total = ({terms}) / {total} = {loss}",
]


def page(classes: int = 3, reduction: str = "mean") -> Page:
    """A tiny image of 2x3 pixels, each with scores for `classes` classes; one of them is ignored."""
    settings = [
        Setting("classes", "classes K", classes, 2, MOST_CLASSES),
        Choice("reduction", "reduction", reduction, {"mean": "mean over kept pixels", "sum": "sum (the paper's)"}),
    ]
    scores, labels, weight = start_scores(classes), start_labels(classes), np.ones(classes)
    op = SoftmaxCrossEntropy(labels, weight, IGNORE, reduction)
    loss = float(op.forward(scores))
    gradient = op.backward(np.ones(()))  # (1, K, 2, 3)
    p = op.p.reshape(scores.shape)  # (1, K, 2, 3)
    numbers = equation_numbers(p[0], labels[0], weight, reduction)
    if not math.isclose(numbers["loss"], loss, rel_tol=1e-9):
        raise SettingsError(f"softmax-loss: the equation gives {numbers['loss']}, the operation {loss}")

    def draw(figure: Figure) -> None:
        r, c = 0, 0
        left, middle, right = figure.subplots(1, 3)
        drawing.grid(left, labels[0], f"true class t ({IGNORE} = ignored)", written=[(r, c)])
        t = int(labels[0, r, c])
        bars(middle, p[0, :, r, c], "probabilities p of pixel (0, 0)", t, drawing.RESULT, drawing.RESULT_EDGE)
        bars(right, gradient[0, :, r, c], "gradient by its scores", t, drawing.GRADIENT, drawing.GRADIENT_EDGE)
        words = pixel_words(scores[0, :, r, c], t, numbers["total"])
        drawing.caption(figure, "The loss of every pixel", [words, *(filled(line, numbers) for line in EQUATIONS)])

    return Page(
        topic="softmax-loss",
        title="The loss of every pixel, and its gradient",
        summary="Every pixel is a classification of its own: scores become probabilities, the true one's logarithm is "
        "the loss, and the gradient says which scores to raise.",
        equations=EQUATIONS,
        numbers=numbers,
        settings=settings,
        data={
            "rows": ROWS, "columns": COLUMNS, "ignore": IGNORE, "scores": all_start_scores(),
            "loss": loss, "gradient": gradient[0], "probabilities": p[0],
        },
        draw=draw,
        code=[
            Code(
                "ops/loss.py",
                "SoftmaxCrossEntropy: the formulas in its docstring, forward and backward below.",
                "softmax_cross_entropy",
            ),
            Code("naive.py", "softmax_cross_entropy as loops over the pixels."),
            Code("gradcheck.py", "how a gradient like this one is checked with finite differences."),
        ],
        description=f"{ROWS}x{COLUMNS} pixels with their true classes; the probabilities of pixel (0, 0) and the "
        f"gradient by its scores, as bars. The loss is {shown(loss)}.",
    )  # fmt: skip


# --- what the page begins with; its script has the same -----------------------------------------------------


def all_start_scores() -> np.ndarray:
    """(5, 2, 3): tenths between -3 and 3, the same for any number of classes."""
    k, r, c = np.indices((MOST_CLASSES, ROWS, COLUMNS))
    return ((17 * k + 23 * r + 11 * c + 7 * k * (r + c)) % 61 - 30) / 10


def start_scores(classes: int) -> np.ndarray:
    """(1, K, 2, 3)."""
    return all_start_scores()[None, :classes]


def start_labels(classes: int) -> np.ndarray:
    """(1, 2, 3): classes in turn; the last pixel is ignored."""
    labels = np.arange(ROWS * COLUMNS).reshape(1, ROWS, COLUMNS) % classes
    labels[0, -1, -1] = IGNORE
    return labels


# --- words --------------------------------------------------------------------------------------------------


def equation_numbers(p: np.ndarray, labels: np.ndarray, weight: np.ndarray, reduction: str) -> dict[str, Any]:
    """What fills the equations. p: (K, 2, 3); labels: (2, 3); weight: (K,)."""
    terms, weights = [], []
    for r, c in np.ndindex(labels.shape):
        if labels[r, c] != IGNORE:
            t = labels[r, c]
            terms.append((float(weight[t]), -math.log(p[t, r, c])))
            weights.append(float(weight[t]))
    total = (sum(weights) or 1.0) if reduction == "mean" else 1.0
    return {
        "reduction": reduction,
        "total_sum": (" + ".join(map(shown, weights)) or "1 (no pixel counts)") if reduction == "mean" else "1",
        "total": total,
        "terms": " + ".join(f"{shown(w)}·{shown(loss)}" for w, loss in terms) or "0",
        "loss": sum(w * loss for w, loss in terms) / total,
    }


def pixel_words(scores: np.ndarray, t: int, total: float) -> str:
    """One pixel's equation with its numbers, for the picture: all weights are 1 there."""
    exponentials = np.exp(scores)
    p = exponentials / exponentials.sum()
    top, below = f"e^{shown(scores[t])}", " + ".join(f"e^{shown(x)}" for x in scores)
    return (
        f"pixel (0, 0), t = {t}: p_t = {top} / ({below}) = {shown(p[t])}; loss = {shown(-np.log(p[t]))}; "
        f"gradient of x_t = (p_t − 1)·1 / {shown(total)} = {shown((p[t] - 1) / total)}"
    )


def bars(axes: Axes, values: np.ndarray, title: str, t: int, face: str, edge: str) -> None:
    """Horizontal bars, one for each class, with their numbers; the true class is named."""
    names = [f"class {k}" + (" = t" if k == t else "") for k in range(len(values))]
    axes.barh(names, values, color=face, edgecolor=edge, linewidth=1.5)
    for k, value in enumerate(values):
        axes.annotate(
            shown(value), (value, k), xytext=(4 if value >= 0 else -4, 0), textcoords="offset points",
            ha="left" if value >= 0 else "right", va="center", fontsize=10, color=drawing.INK,
        )  # fmt: skip
    axes.axvline(0, color=drawing.INK, linewidth=0.8)
    axes.invert_yaxis()
    least, most = min(0.0, float(values.min())), float(values.max())
    room = 0.7 * (most - least)  # for the numbers
    axes.set_xlim(least - room if least < 0 else 0, most + room)
    axes.set_title(title, fontsize=11, color=drawing.INK)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.set_xticks([])
