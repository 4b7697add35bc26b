"""Softmax cross entropy per pixel: what is subtracted where, and what the mean is taken over.

With p = softmax(x) along the class axis, t the label of a pixel and w_t the weight of its class,

    loss = Σ over the kept pixels of w_t·(-log p_t) / total        total = Σ over the kept pixels of w_t ("mean"), or 1
    gx_k = (p_k - [k = t]) · w_t / total · gy,  and 0 at every ignored pixel
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from .common import one_image, scales
from .mistake import FORWARD, Call, Mistake


class Loss:
    """One loss, in arrays of a row per pixel; parts of it can be replaced by wrong ones."""

    def __init__(self, call: Call) -> None:
        self.x, self.gy = call.inputs[0], call.gy
        labels = call.settings["labels"]
        labels = np.asarray(labels.get() if hasattr(labels, "get") else getattr(labels, "data", labels))
        self.N, self.K = self.x.shape[:2]
        self.labels = labels.reshape(-1).astype(int)  # (P,), P = N·H·W
        self.ignore = call.settings.get("ignore_index", 255)
        self.mean = call.settings.get("reduction", "mean") == "mean"
        weight = call.settings.get("weight")
        self.class_weight = None if weight is None else np.asarray(getattr(weight, "data", weight), float)
        self.kept = self.labels != self.ignore  # (P,)
        self.t = np.where(self.kept, self.labels, 0)  # an index that exists, for every pixel
        self.rows = np.moveaxis(self.x, 1, -1).reshape(-1, self.K)  # (P, K)
        self.weighted = self.class_weight is not None
        self.w = self.kept * (self.class_weight[self.t] if self.weighted else 1.0)  # (P,)

    @property
    def p(self) -> np.ndarray:
        return softmax_rows(self.rows)

    @property
    def onehot(self) -> np.ndarray:
        return np.eye(self.K)[self.t]  # (P, K)

    @property
    def total(self) -> float:
        return (self.w.sum() or 1.0) if self.mean else 1.0

    def gx(self, difference: Any = None, w: Any = None, total: float | None = None, gy: Any = None) -> np.ndarray:
        """From p - onehot, the pixel weights, the total and gy, each of which may be another."""
        difference = self.p - self.onehot if difference is None else difference
        w, total = self.w if w is None else w, self.total if total is None else total
        rows = difference * (w / total)[:, None] * (self.gy if gy is None else gy)
        return self.image(rows)

    def image(self, rows: np.ndarray) -> np.ndarray:
        """(P, K) → the shape of x."""
        N, K, *pixels = self.x.shape
        return np.moveaxis(rows.reshape(N, *pixels, K), -1, 1)

    def y(self, losses: Any = None, w: Any = None, total: float | None = None) -> np.ndarray:
        losses = -np.log(self.p[np.arange(len(self.t)), self.t]) if losses is None else losses
        w, total = self.w if w is None else w, self.total if total is None else total
        return np.asarray((losses * w).sum() / total)

    def true(self, scores: np.ndarray) -> np.ndarray:
        """(P, K) → (P,): of each pixel the number of its true class."""
        return scores[np.arange(len(self.t)), self.t]


def softmax_rows(rows: np.ndarray) -> np.ndarray:
    e = np.exp(rows - rows.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def loss(which: str, name: str, remedy: str, wrong: Callable[[Loss], Any]) -> Mistake:
    return Mistake("softmax_cross_entropy", which, name, remedy, lambda call: wrong(Loss(call)))


def over_pixels(c: Loss) -> np.ndarray | None:
    """Softmax over the last pixel axis, where classes should be."""
    if c.x.ndim < 3:
        return None
    e = np.exp(c.x - c.x.max(axis=-1, keepdims=True))
    p = e / e.sum(axis=-1, keepdims=True)
    return np.moveaxis(p, 1, -1).reshape(-1, c.K)


def one_later(c: Loss) -> np.ndarray:
    """-1 at the class after the true one: labels counted from 1."""
    return np.eye(c.K)[(c.t + 1) % c.K]


def ignored_as(c: Loss, k: int) -> tuple[np.ndarray, np.ndarray]:
    """(p - onehot, weights) when ignored pixels take part with class k."""
    t = np.where(c.kept, c.t, k)
    w = c.class_weight[t] if c.weighted else np.ones(len(t))
    return c.p - np.eye(c.K)[t], w


TRUE = "The true class gets p - 1, the others p."
KEPT = "Count the pixels whose label is not ignore_index: void takes no part, neither in the sum nor in the mean."
MEAN = "With reduction='mean' divide by the number of kept pixels, over all images, once."
VOID = "Pixels labelled ignore_index get gradient 0."
WEIGHTS = (
    "Each pixel's loss is multiplied by the weight of its class, and the mean is divided by the sum of these weights."
)

GRADIENT = [
    *scales("softmax_cross_entropy", "logits", "gx"),
    *one_image("softmax_cross_entropy", "logits", "gx"),
    loss("logits", "the -1 at the true class is missing: gx = p", TRUE, lambda c: c.gx(c.p)),
    loss("logits", "the +p is missing: gx = -1 at the true class, 0 elsewhere", TRUE, lambda c: c.gx(-c.onehot)),
    loss("logits", "1 is added at the true class instead of subtracted", TRUE, lambda c: c.gx(c.p + c.onehot)),
    loss("logits", "only the true class gets a gradient, p - 1", TRUE, lambda c: c.gx((c.p - 1) * c.onehot)),
    loss("logits", "1 is subtracted from every class", TRUE, lambda c: c.gx(c.p - 1)),
    loss("logits", "1 is subtracted at the class after the true one: labels counted from 1", TRUE,
         lambda c: c.gx(c.p - one_later(c))),
    loss("logits", "scores instead of probabilities: gx = x - onehot", "Apply softmax first.",
         lambda c: c.gx(c.rows - c.onehot)),
    loss("logits", "log-probabilities instead of probabilities", TRUE, lambda c: c.gx(np.log(c.p) - c.onehot)),
    loss("logits", "multiplied by p·(1 - p) as well: the slope of softmax counted twice",
         "p - onehot is the slope of softmax and logarithm together.",
         lambda c: c.gx((c.p - c.onehot) * c.p * (1 - c.p))),
    loss("logits", "the gradient by the probabilities, -1 / p at the true class, instead of by the scores",
         "Go on through softmax: gx = p - onehot.", lambda c: c.gx(-c.onehot / c.p)),
    loss("logits", "sigmoid instead of softmax", "The classes exclude each other: softmax.",
         lambda c: c.gx(1 / (1 + np.exp(-c.rows)) - c.onehot)),
    loss("logits", "softmax over pixels instead of classes", "Softmax runs along axis 1, the classes.",
         lambda c: None if over_pixels(c) is None else c.gx(over_pixels(c) - c.onehot)),
    loss("logits", "the sum instead of the mean: not divided by the number of pixels", MEAN, lambda c: c.gx(total=1.0)),
    loss("logits", "the mean instead of the sum", "reduction='sum': do not divide.",
         lambda c: c.gx(total=c.w.sum() or 1.0)),
    loss("logits", "ignored pixels are counted in the mean", KEPT,
         lambda c: c.gx(total=len(c.t)) if c.mean and not c.kept.all() else None),
    loss("logits", "divided by the number of images, not of pixels", MEAN, lambda c: c.gx(total=c.N)),
    loss("logits", "divided by the number of pixels of one image", MEAN, lambda c: c.gx(total=len(c.t) / c.N)),
    loss("logits", "divided by the number of kept pixels twice", MEAN, lambda c: c.gx(total=c.total**2)),
    loss("logits", "divided by all numbers, N·K·H·W", MEAN, lambda c: c.gx(total=c.x.size)),
    loss("logits", "divided by the number of classes as well", MEAN, lambda c: c.gx(total=c.total * c.K)),
    loss("logits", "ignored pixels get the gradient p, as if they had no true class", VOID,
         lambda c: c.gx((c.p - c.onehot * c.kept[:, None]), w=ignored_as(c, 0)[1])),
    loss("logits", "ignored pixels get a gradient as if they were class 0", VOID,
         lambda c: c.gx(ignored_as(c, 0)[0], w=ignored_as(c, 0)[1])),
    loss("logits", "ignored pixels get a gradient as if they were the last class", VOID,
         lambda c: c.gx(ignored_as(c, -1)[0], w=ignored_as(c, -1)[1])),
    loss("logits", "ignored pixels get a gradient as if they were class 0, and are counted in the mean", VOID,
         lambda c: c.gx(*ignored_as(c, 0), total=ignored_as(c, 0)[1].sum()) if c.mean else None),
    loss("logits", "ignored pixels get the gradient p, and are counted in the mean", VOID,
         lambda c: c.gx(c.p - c.onehot * c.kept[:, None], ignored_as(c, 0)[1], ignored_as(c, 0)[1].sum())
         if c.mean else None),
    loss("logits", "the class weights are left out", WEIGHTS,
         lambda c: c.gx(w=c.kept * 1.0, total=(c.kept.sum() or 1) if c.mean else 1) if c.weighted else None),
    loss("logits", "divided by the number of kept pixels instead of the sum of their class weights", WEIGHTS,
         lambda c: c.gx(total=c.kept.sum() or 1) if c.weighted and c.mean else None),
    loss("logits", "divided by the sum of the class weights, but not multiplied by them", WEIGHTS,
         lambda c: c.gx(w=c.kept * 1.0) if c.weighted and c.mean else None),
    loss("logits", "the weight of every class multiplies its own score, not the pixel", WEIGHTS,
         lambda c: c.gx((c.p - c.onehot) * c.class_weight, w=c.kept * 1.0) if c.weighted else None),
]  # fmt: skip

OUTPUT = [
    loss(FORWARD, "the sum instead of the mean", MEAN, lambda c: c.y(total=1.0)),
    loss(FORWARD, "the mean instead of the sum", "reduction='sum': do not divide.",
         lambda c: c.y(total=c.w.sum() or 1.0)),
    loss(FORWARD, "ignored pixels are counted in the mean", KEPT, lambda c: c.y(total=len(c.t)) if c.mean else None),
    loss(FORWARD, "divided by the number of images, not of pixels", MEAN, lambda c: c.y(total=c.N)),
    loss(FORWARD, "divided by all numbers, N·K·H·W", MEAN, lambda c: c.y(total=c.x.size)),
    loss(FORWARD, "divided by the number of classes as well", MEAN, lambda c: c.y(total=c.total * c.K)),
    loss(FORWARD, "ignored pixels take part as if they were class 0", VOID,
         lambda c: c.y(w=ignored_as(c, 0)[1], total=ignored_as(c, 0)[1].sum() if c.mean else 1)),
    loss(FORWARD, "ignored pixels add their loss as class 0, but are not counted in the mean", VOID,
         lambda c: c.y(w=ignored_as(c, 0)[1])),
    loss(FORWARD, "ignored pixels take part as if they were the last class", VOID, lambda c: last_class(c)),
    loss(FORWARD, "the minus in front of the logarithm is missing", "The loss is -log p.", lambda c: -c.y()),
    loss(FORWARD, "the logarithm is missing: -p of the true class", "The loss is -log p.", lambda c: c.y(-c.true(c.p))),
    loss(FORWARD, "the logarithm is missing: 1 - p of the true class", "The loss is -log p.",
         lambda c: c.y(1 - c.true(c.p))),
    loss(FORWARD, "the logarithm has base 2", "Use the natural logarithm.", lambda c: c.y() / np.log(2)),
    loss(FORWARD, "the logarithm has base 10", "Use the natural logarithm.", lambda c: c.y() / np.log(10)),
    loss(FORWARD, "the score of the true class is not subtracted", "loss = log Σ e^x - x_t.",
         lambda c: c.y(np.log(np.exp(c.rows).sum(axis=1)))),
    loss(FORWARD, "the largest score is subtracted in the sum only: log Σ e^(x - max) - x_t",
         "Subtract it from x_t as well, or add it again.",
         lambda c: c.y(np.log(np.exp(c.rows - c.rows.max(axis=1, keepdims=True)).sum(axis=1)) - c.true(c.rows))),
    loss(FORWARD, "no softmax: -x of the true class", "Apply softmax first.", lambda c: c.y(-c.true(c.rows))),
    loss(FORWARD, "softmax applied twice", "log softmax(x), once.", lambda c: c.y(-np.log(c.true(softmax_rows(c.p))))),
    loss(FORWARD, "softmax over pixels instead of classes", "Softmax runs along axis 1, the classes.",
         lambda c: None if over_pixels(c) is None else c.y(-np.log(c.true(over_pixels(c))))),
    loss(FORWARD, "the class weights are left out", WEIGHTS,
         lambda c: c.y(w=c.kept * 1.0, total=c.kept.sum() if c.mean else 1) if c.weighted else None),
    loss(FORWARD, "divided by the number of kept pixels instead of the sum of their class weights", WEIGHTS,
         lambda c: c.y(total=c.kept.sum()) if c.weighted and c.mean else None),
    loss(FORWARD, "the mean of the images' means", MEAN, lambda c: mean_of_means(c)),
    loss(FORWARD, "all classes' -log p are added, not the true one's alone", "loss = -log p_t.",
         lambda c: c.y(-np.log(c.p).sum(axis=1))),
]  # fmt: skip


def last_class(c: Loss) -> np.ndarray:
    t = np.where(c.kept, c.t, c.K - 1)
    w = ignored_as(c, -1)[1]
    return c.y(-np.log(c.p[np.arange(len(t)), t]), w, w.sum() if c.mean else 1)


def mean_of_means(c: Loss) -> np.ndarray | None:
    """Images with few kept pixels get as much say as the others."""
    w = c.w.reshape(c.N, -1)
    if not c.mean or not w.sum(axis=1).all():
        return None
    losses = -np.log(c.true(c.p)).reshape(c.N, -1)
    return ((losses * w).sum(axis=1) / w.sum(axis=1)).mean()


MISTAKES = [*GRADIENT, *OUTPUT]
