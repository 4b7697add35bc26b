"""Six pixels with probabilities like 1/2, 1/4 and 1/8; then slopes; then what breaks a loss in practice."""

from typing import Any

import numpy as np

from scratchfcn import ops
from scratchfcn.learn import Trial, finite_differences, first_of, one_of

# e^score of three classes (columns) at the pixels (rows) of two images of 1 x 4 pixels, and their labels
COUNTS = [[[1, 2, 1], [1, 1, 2], [8, 1, 1], [2, 1, 3]], [[1, 1, 6], [1, 1, 1], [1, 3, 1], [5, 1, 1]]]
LABELS = np.array([[[1, 0, 255, 255]], [[1, 255, 255, 255]]], np.uint8)  # so p_t = 1/2, 1/4 and 1/8; five do not count


def check(t: Trial) -> None:
    x = np.log(np.array(COUNTS, np.float32)).transpose(0, 2, 1)[:, :, None]  # (N, K, H, W) = (2, 3, 1, 4)
    case = {"x": x, "labels": LABELS, "ignore_index": 255}
    with t.stage("softmax_loss: p_t = 1/2, 1/4 and 1/8 at three pixels; the others are ignored"):
        expect_loss(t, case, (np.log(2) + np.log(4) + np.log(8)) / 3, "by hand")
    with t.stage("softmax_loss: other shapes, and other ignore labels"):
        for rng in t.draws(15):
            case = random_case(rng)
            expect_loss(t, case, library(**case).item(), "library")
    with t.stage("softmax_loss: scores of a thousand"):
        case = {"x": 1000 * np.array(COUNTS, np.float32).transpose(0, 2, 1)[:, :, None], "labels": LABELS}
        case["ignore_index"] = 255
        expect_loss(t, case, library(**case).item(), "library")
    with t.stage("softmax_loss: nothing is labelled"):
        case = {"x": x, "labels": np.full_like(LABELS, 255), "ignore_index": 255}
        t.expect("softmax_loss", case, {"loss": 0.0}, known=not_finite("0/0, no pixel is kept: divide by 1 then"))

    with t.stage("softmax_loss_backward: p - onehot, with gy = 3 for the three pixels"):
        gx = np.zeros((2, 1, 4, 3))  # classes last for a moment
        gx[0, 0, 0] = 1 / 4, 1 / 2 - 1, 1 / 4
        gx[0, 0, 1] = 1 / 4 - 1, 1 / 4, 1 / 2
        gx[1, 0, 0] = 1 / 8, 1 / 8 - 1, 6 / 8
        case = {"gy": 3.0, "x": x, "labels": LABELS, "ignore_index": 255}
        expect_gradient(t, case, gx.transpose(0, 3, 1, 2).astype(np.float32), "by hand")
    with t.stage("softmax_loss_backward: against finite differences"):
        x = t.rng.standard_normal((2, 3, 2, 2))
        labels = np.array([[[0, 2], [255, 1]], [[255, 255], [2, 255]]])
        (gx,) = finite_differences(lambda x: library(x, labels, 255), [x], np.array(0.7))
        expect_gradient(t, {"gy": 0.7, "x": x, "labels": labels, "ignore_index": 255}, gx, "finite difference")
    with t.stage("softmax_loss_backward: other shapes, and other ignore labels"):
        for rng in t.draws(15):
            case = {"gy": float(rng.uniform(0.5, 2)), **random_case(rng)}
            expect_gradient(t, case, library_gradient(**case), "library")
    with t.stage("softmax_loss_backward: scores of a thousand, and nothing labelled"):
        x = 1000 * np.array(COUNTS, np.float32).transpose(0, 2, 1)[:, :, None]
        case = {"gy": 1.0, "x": x, "labels": LABELS, "ignore_index": 255}
        expect_gradient(t, case, library_gradient(**case), "library")
        case["labels"] = np.full_like(LABELS, 255)
        known = not_finite("0/0, no pixel is kept: divide by 1 then")
        t.expect("softmax_loss_backward", case, {"gx": np.zeros_like(x)}, known=known, axes=AXES)


AXES = {"gx": ("image", "class", "row", "col")}


def expect_loss(t: Trial, case: dict[str, Any], loss: float, by: str) -> None:
    others = [random_case(rng) for rng in t.draws(3)]
    known = first_of(OVERFLOW, t.explained("softmax_loss", wrong_losses, case, others))
    t.expect("softmax_loss", case, {"loss": float(loss)}, by=by, known=known)


def expect_gradient(t: Trial, case: dict[str, Any], gx: np.ndarray, by: str) -> None:
    known = first_of(OVERFLOW, one_of(wrong_gradients(**case)))
    t.expect("softmax_loss_backward", case, {"gx": gx}, by=by, known=known, axes=AXES)


def random_case(rng: np.random.Generator) -> dict[str, Any]:
    """Masks of bytes with 255, wider integers with -1, or with class 0 as the one that does not count."""
    N, K, H, W = (int(n) for n in rng.integers((1, 2, 1, 1), (4, 6, 5, 5)))
    ignore_index = int(rng.choice([255, -1, 0]))
    labels = rng.integers(0, K, (N, H, W)).astype(np.uint8 if ignore_index == 255 else np.int64)
    labels[rng.random(labels.shape) < 0.3] = ignore_index
    labels.flat[0] = 1  # one pixel counts in any case
    return {"x": 3 * rng.standard_normal((N, K, H, W)), "labels": labels, "ignore_index": ignore_index}


def library(x: np.ndarray, labels: np.ndarray, ignore_index: int) -> np.ndarray:
    return ops.SoftmaxCrossEntropy(labels, ignore_index=ignore_index).forward(x)


def library_gradient(gy: float, x: np.ndarray, labels: np.ndarray, ignore_index: int) -> np.ndarray:
    op = ops.SoftmaxCrossEntropy(labels, ignore_index=ignore_index)
    op.forward(x)
    return op.backward(np.asarray(gy, x.dtype))


# --- what the usual mistakes lead to ----------------------------------------------------------------------


def wrong_losses(x: np.ndarray, labels: np.ndarray, ignore_index: int) -> dict[str, Any]:
    log_p, labels, kept = log_softmax(x), labels.astype(int), labels != ignore_index
    as_zero = np.where(kept, labels, 0)  # an ignored pixel taken for one of class 0
    everywhere = -pick(log_p, as_zero)  # (N, H, W)
    losses = everywhere * kept
    total, count, N, K = losses.sum(), max(1, kept.sum()), *x.shape[:2]
    per_image = losses.sum(axis=(1, 2)) / np.maximum(1, kept.sum(axis=(1, 2)))
    wrong = {
        "ignored pixels are counted in the mean: divide by the number of kept pixels, not of all": total / kept.size,
        "ignored pixels are counted as class 0": everywhere.mean(),
        "ignored pixels add to the sum, as class 0, although the division leaves them out": everywhere.sum() / count,
        "the mean over images of each image's mean; divide once, by the kept pixels of the batch": per_image.mean(),
        "the sum over pixels; divide it by the number of kept ones": total,
        "divided by the number of images; divide by the number of kept pixels": total / N,
        "divided by the number of images as well: divide once, by the kept pixels of the batch": total / count / N,
        "divided by the number of classes as well": total / count / K,
        "the sign: it is minus the logarithm": -total / count,
        "labels are off by one, t - 1: class t is number t of the scores, counted from 0": (
            -(pick(log_p, as_zero - 1) * kept).sum() / count
        ),
        "labels are off by one, t + 1: class t is number t of the scores, counted from 0": (
            -(pick(log_p, as_zero + 1) * kept).sum() / count
        ),
        "the logarithm is missing: 1 - p_t": ((1 - np.exp(-losses)) * kept).sum() / count,
        "the logarithm is missing: -p_t": -(np.exp(-losses) * kept).sum() / count,
        "the logarithm is to base 2; take the natural one, np.log": total / count / np.log(2),
        "the logarithm is to base 10; take the natural one, np.log": total / count / np.log(10),
        "the softmax is missing: -x_t": -(pick(x, as_zero) * kept).sum() / count,
    }
    other_axes = {0: "images", 2: "rows", 3: "columns", (2, 3): "pixels", (1, 2, 3): "whole images", None: "everything"}
    for axis, name in other_axes.items():
        over = -(pick(log_softmax(x, axis), as_zero) * kept).sum() / count
        wrong[f"the softmax is taken over {name}: over classes, axis 1, the p of a pixel add up to 1"] = over
    not_255 = labels != 255
    wrong["ignore_index is not asked for: it says which label to leave out, 255 or another"] = -(
        pick(log_p, labels) * not_255
    ).sum() / max(1, not_255.sum())
    return wrong


def wrong_gradients(gy: float, x: np.ndarray, labels: np.ndarray, ignore_index: int) -> dict[str, Any]:
    p, labels, kept = np.exp(log_softmax(x)), labels.astype(int), labels != ignore_index
    as_zero = np.where(kept, labels, 0)
    inside, count, N, K = kept[:, None], max(1, kept.sum()), *x.shape[:2]
    g = gy * (p - onehot(as_zero, K))  # (N, K, H, W), not yet divided
    each_image = np.maximum(1, kept.sum(axis=(1, 2)))[:, None, None, None]
    return {
        "ignored pixels are counted in the mean: divide by the number of kept pixels, not of all": (
            g * inside / kept.size
        ),
        "ignored pixels get a gradient, as if they were class 0; theirs is 0": g / count,
        "ignored pixels are counted as class 0; their gradient is 0": g / kept.size,
        "ignored pixels keep the gradient p: only the true class's 1 was left out; theirs is 0": (
            gy * (p - onehot(as_zero, K) * inside) / count
        ),
        "it is not divided by the number of kept pixels": g * inside,
        "divided by the number of images; divide by the number of kept pixels": g * inside / N,
        "divided by the number of images as well: divide once, by the kept pixels of the batch": g * inside / count / N,
        "every image is divided by its own kept pixels; divide by those of the whole batch": g * inside / each_image,
        "every image is divided by its own kept pixels, and by N; divide by those of the whole batch": (
            g * inside / each_image / N
        ),
        "the sign: p - onehot, not onehot - p": -g * inside / count,
        "gy is left out: multiply by it": g / gy * inside / count,
        "the 1 is not taken from the true class's p": gy * p * inside / count,
        "labels are off by one, t - 1: class t is number t of the scores, counted from 0": (
            gy * (p - onehot(as_zero - 1, K)) * inside / count
        ),
        "labels are off by one, t + 1: class t is number t of the scores, counted from 0": (
            gy * (p - onehot(as_zero + 1, K)) * inside / count
        ),
        "the softmax is missing: p, not x": gy * (x - onehot(as_zero, K)) * inside / count,
        "log p is used for p": gy * (log_softmax(x) - onehot(as_zero, K)) * inside / count,
    }


def log_softmax(x: np.ndarray, axis: int | tuple[int, ...] | None = 1) -> np.ndarray:
    x = x - x.max(axis=axis, keepdims=True)
    return x - np.log(np.exp(x).sum(axis=axis, keepdims=True))


def pick(a: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """a[n, classes[n, h, w], h, w]: (N, H, W); class -1 is the last, and beyond the last comes the first."""
    return np.take_along_axis(a, classes[:, None] % a.shape[1], axis=1)[:, 0]


def onehot(classes: np.ndarray, K: int) -> np.ndarray:
    """1 at the true class, 0 elsewhere: (N, K, H, W)"""
    return (classes[:, None] % K == np.arange(K)[:, None, None]).astype(float)


def not_finite(sentence: str) -> Any:
    return lambda name, got: None if np.isfinite(got).all() else sentence


OVERFLOW = not_finite("e^x overflows, or log 0: first subtract each pixel's largest score; log p = x - log Σ e^x")
