"""What `scratchfcn val` found, as a page to look at: figures, classes, confusions, and the images it did worst on.

A mean IU says how good a network is and nothing about why. The table says which classes are weak and what they are
taken for; the images say it better. Everything on the page comes from `figures`, plain values that programs can have
as JSON.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from ..data import Classes, Dataset, colourise, main_view, resize_image, resize_label
from ..training.evaluate import Evaluation, ImageScore
from .page import render

WRONG = (213, 94, 0)  # vermilion: wrong pixels, in the map of errors
WIDTH = 400  # of the pictures on the page, at most
BINS = 20  # of the histogram
WORTH_A_WORD = 0.03  # a confusion with a smaller share of the class is not mentioned


class Extremes:
    """The images with the lowest and the highest mean IU, with their predictions; all others are forgotten.

    An image without a labelled pixel has no mean IU, and is neither.
    """

    def __init__(self, worst: int = 12, best: int = 3) -> None:
        self.sizes = {"worst": worst, "best": best}
        self.heaps: dict[str, list[tuple[float, int, ImageScore, np.ndarray]]] = {"worst": [], "best": []}

    def add(self, score: ImageScore, prediction: np.ndarray) -> None:
        """Offer an image: its scores, and its prediction, uint8 (H, W)."""
        if math.isnan(score.mean_iu):
            return
        for which, value in (("worst", -score.mean_iu), ("best", score.mean_iu)):  # the smallest leaves a heap first
            heapq.heappush(self.heaps[which], (value, -score.number, score, prediction))
            if len(self.heaps[which]) > self.sizes[which]:
                heapq.heappop(self.heaps[which])

    def sorted(self, which: str) -> list[tuple[ImageScore, np.ndarray]]:
        """The "worst", worst first, or the "best", best first. No image is among both: the worst have it."""
        taken = set() if which == "worst" else {entry[1] for entry in self.heaps["worst"]}
        return [entry[2:] for entry in sorted(self.heaps[which], reverse=True) if entry[1] not in taken]


# --- plain values ---------------------------------------------------------------------------------------------


def figures(
    evaluation: Evaluation, classes: Classes, settings: Mapping[str, Any] | None = None, command: str = ""
) -> dict[str, Any]:
    """Everything that was measured, as JSON can say it: what is not a number is None. settings: what was asked for."""
    from .. import __version__

    confusion, boundary = evaluation.confusion, evaluation.boundary
    measures = {**confusion.scores(), "boundary_f1": math.nan if boundary is None else boundary.f1}
    return {
        "scratchfcn": __version__,
        "settings": dict(settings or {}),
        "command": command,
        "images": len(evaluation.images),
        "pixels": int(confusion.matrix.sum()),
        **{name: _plain(value) for name, value in measures.items()},
        "other_tasks": {
            task: {name: _plain(value) for name, value in matrix.scores().items()}
            for task, matrix in evaluation.others.items()
        },
        "loss": _plain(evaluation.loss),
        "classes": _classes(evaluation, classes),
        "confusion": {"names": list(classes.names), "counts": confusion.matrix.tolist()},  # rows: truth
        "per_image": [
            {
                "name": score.name,
                **{name: _plain(getattr(score, name)) for name in ("mean_iu", "pixel_acc", "boundary_f1", "loss")},
            }
            for score in evaluation.images
        ],
    }


def _plain(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _classes(evaluation: Evaluation, classes: Classes) -> list[dict[str, Any]]:
    """A row for each class: scores, pixels, and what its pixels are mostly taken for."""
    confusion, K = evaluation.confusion, len(classes)
    f1 = np.full(K, np.nan) if evaluation.boundary is None else evaluation.boundary.per_class_f1
    counts = confusion.matrix
    true, found = counts.sum(axis=1), counts.sum(axis=0)  # (K,) each
    return [
        {
            "name": classes.names[k],
            "iu": _plain(confusion.per_class_iu[k]),
            "accuracy": _plain(confusion.per_class_acc[k]),
            "boundary_f1": _plain(f1[k]),
            "pixels": int(true[k]),
            "predicted_pixels": int(found[k]),
            "in_the_means": k not in confusion.unscored,
            "taken_for": taken_for(counts[k], k, classes.names),
        }
        for k in range(K)
    ]


def taken_for(row: np.ndarray, k: int, names: Sequence[str], most: int = 3) -> list[dict[str, Any]]:
    """What the pixels of class k are taken for where they are not found, the commonest first.

    row: (K,), how many of them were predicted as each class. Shares are of all of the class's pixels.
    """
    wrong = row.astype(np.float64)  # (K,)
    wrong[k] = 0
    shares = wrong / max(1, row.sum())
    order = np.argsort(-shares, kind="stable")[:most]
    return [{"class": names[j], "share": float(shares[j])} for j in order if shares[j] >= WORTH_A_WORD]


def largest_confusions(counts: np.ndarray, names: Sequence[str], most: int = 5) -> list[dict[str, Any]]:
    """The pairs (true class, predicted class) that cost most pixels; shares are of all wrong pixels.

    counts: (K, K), rows = truth.
    """
    wrong = counts.astype(np.float64)
    np.fill_diagonal(wrong, 0)
    shares = wrong / max(1.0, wrong.sum())
    order = np.argsort(-shares, axis=None, kind="stable")[:most]
    pairs = [divmod(int(place), len(names)) for place in order]
    return [{"true": names[i], "as": names[j], "share": float(shares[i, j])} for i, j in pairs if shares[i, j] >= 0.01]


# --- the page -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Shown:
    """An image on the page: its scores, and four pictures of one size, uint8 (h, w, 3)."""

    score: ImageScore
    photograph: np.ndarray
    truth: np.ndarray
    prediction: np.ndarray
    errors: np.ndarray


def val_page(
    evaluation: Evaluation,
    dataset: Dataset,
    extremes: Extremes,
    settings: Mapping[str, Any] | None = None,
    command: str = "",
    title: str = "Validation",
) -> str:
    """The page, as HTML. Images are read from the data set once more; extremes: which, and what was predicted.

    Of several tasks, the first is shown; of the others there are figures."""
    dataset = main_view(dataset)
    classes = dataset.classes
    scores = np.array([score.mean_iu for score in evaluation.images])  # (N,)
    found = figures(evaluation, classes, settings, command)
    return render(
        "val",
        title=title,
        figures=found,
        by_score=sorted(found["per_image"], key=lambda one: math.inf if one["mean_iu"] is None else one["mean_iu"]),
        colours=["#" + bytes(colour).hex() for colour in classes.palette()],
        ignore_colour="#" + bytes(classes.palette()[classes.ignore_index]).hex(),
        wrong_colour="#" + bytes(WRONG).hex(),
        largest=largest_confusions(evaluation.confusion.matrix, classes.names),
        rows=confusion_rows(evaluation.confusion.matrix),
        worst=[show(dataset, *image) for image in extremes.sorted("worst")],
        best=[show(dataset, *image) for image in extremes.sorted("best")],
        histogram=histogram(scores),
    )


def show(dataset: Dataset, score: ImageScore, prediction: np.ndarray) -> Shown:
    """The pictures of one image, made smaller where it is large. prediction: uint8 (H, W)."""
    image, label = dataset.read(score.number)
    H, W = label.shape
    width = min(W, WIDTH)
    size = (max(1, round(H * width / W)), width)
    image, label, prediction = resize_image(image, size), resize_label(label, size), resize_label(prediction, size)
    classes = dataset.classes
    errors = error_map(image, label, prediction, classes.ignore_index)
    return Shown(score, image, colourise(label, classes), colourise(prediction, classes), errors)


def error_map(image: np.ndarray, label: np.ndarray, prediction: np.ndarray, ignore_index: int) -> np.ndarray:
    """The photograph in pale grey, wrong pixels in WRONG, and white where nothing is labelled: uint8 (H, W, 3)."""
    grey = np.asarray(Image.fromarray(image).convert("L"))
    picture = np.repeat((128 + grey / 2)[:, :, None], 3, axis=2)  # (H, W, 3)
    picture[label == ignore_index] = 255
    wrong = (prediction != label) & (label != ignore_index)
    picture[wrong] = 0.3 * (picture[wrong] - 128) + np.array(WRONG) * 0.9  # the photograph shines through
    return picture.clip(0, 255).astype(np.uint8)


def confusion_rows(counts: np.ndarray) -> list[list[float]]:
    """Shares of each true class's pixels, (K, K) as lists; a class without a pixel has zeros."""
    return (counts / np.maximum(1, counts.sum(axis=1, keepdims=True))).tolist()


def histogram(scores: np.ndarray) -> dict[str, Any]:
    """How the images' mean IU spread: counts in BINS equal parts of 0 … 1, the largest, and the median."""
    scores = scores[~np.isnan(scores)]
    counts = np.histogram(scores, BINS, (0, 1))[0]
    median = float(np.median(scores)) if len(scores) else math.nan
    return {"counts": counts.tolist(), "most": int(counts.max()), "median": median, "images": len(scores)}
