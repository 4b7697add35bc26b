"""Ten pixels counted by hand; then masks of bytes, absent classes, and images of which one is mostly void."""

from typing import Any

import numpy as np

from scratchfcn.learn import Trial, one_of
from scratchfcn.metrics import ConfusionMatrix

# two images of 1 x 5 pixels, four classes of which class 3 does not occur; 255 is not counted
LABEL = np.array([[[0, 0, 0, 1, 255]], [[1, 2, 2, 255, 255]]], np.uint8)
PRED = np.array([[[0, 0, 1, 2, 1]], [[1, 2, 2, 0, 2]]], np.uint8)
COUNTS = [[2, 1, 0, 0], [0, 1, 1, 0], [0, 0, 2, 0], [0, 0, 0, 0]]


def check(t: Trial) -> None:
    case = {"pred": PRED, "label": LABEL, "num_classes": 4, "ignore_index": 255}
    with t.stage("confusion_matrix: seven pixels count, three do not"):
        expect_counts(t, case, np.array(COUNTS), "by hand")
    with t.stage("confusion_matrix: 30 classes in masks of bytes"):
        label = t.rng.integers(0, 30, (2, 20, 20)).astype(np.uint8)
        many = {"pred": label[:, ::-1], "label": label, "num_classes": 30, "ignore_index": 255}
        expect_counts(t, many, library(**many).matrix, "library")
    with t.stage("confusion_matrix: more pixels of one combination than a byte can count"):
        label = np.ones((1, 20, 20), np.uint8)
        many = {"pred": label, "label": label, "num_classes": 2, "ignore_index": 255}
        expect_counts(t, many, np.array([[0, 0], [0, 400]]), "by hand")
    with t.stage("confusion_matrix: other sizes, and other ignore labels"):
        for rng in t.draws(15):
            random = random_case(rng)
            expect_counts(t, random, library(**random).matrix, "library")

    with t.stage("class_iu: of these counts, and of a class that does not occur"):
        n = np.array(COUNTS)
        expect_iu(t, n, np.array([2 / 3, 1 / 3, 2 / 3, np.nan]), "by hand")
    with t.stage("class_iu: other counts"):
        for rng in t.draws(15):
            n = rng.integers(0, 9, (int(rng.integers(2, 6)),) * 2)
            absent = rng.random(len(n)) < 0.2
            n[absent], n[:, absent] = 0, 0
            n[0, 0] += 1
            expect_iu(t, n, ConfusionMatrix.from_matrix(n).per_class_iu, "library")

    with t.stage("mean_iu: (2/3 + 1/3 + 2/3) / 3"):
        expect_mean(t, case, 5 / 9, "by hand")
    with t.stage("mean_iu: other sizes, and other ignore labels"):
        for rng in t.draws(15):
            random = random_case(rng)
            expect_mean(t, random, library(**random).mean_iu, "library")


def expect_counts(t: Trial, case: dict[str, Any], n: np.ndarray, by: str) -> None:
    axes, known = {"n": ("true class", "predicted class")}, one_of(wrong_counts(**case))
    t.expect("confusion_matrix", case, {"n": n}, by=by, known=known, axes=axes, counts=("n",))


def expect_iu(t: Trial, n: np.ndarray, iu: np.ndarray, by: str) -> None:
    t.expect("class_iu", {"n": n}, {"iu": iu}, by=by, known=one_of(wrong_iu(n)), axes={"iu": ("class",)})


def expect_mean(t: Trial, case: dict[str, Any], mean: float, by: str) -> None:
    others = [random_case(rng) for rng in t.draws(3)]
    known = t.explained("mean_iu", wrong_means, case, others)
    t.expect("mean_iu", case, {"mean": float(mean)}, by=by, known=known)


def random_case(rng: np.random.Generator) -> dict[str, Any]:
    """Predictions that are right half of the time; classes beyond the first three occur seldom."""
    N, H, W, K = (int(n) for n in rng.integers((1, 1, 2, 2), (4, 5, 6, 7)))
    ignore_index = int(rng.choice([255, -1, 0]))
    label = np.minimum(rng.integers(0, K, (N, H, W)), rng.integers(0, K, (N, H, W)))
    pred = np.where(rng.random(label.shape) < 0.5, label, rng.integers(0, min(3, K), label.shape))
    label = np.where(rng.random(label.shape) < 0.3, ignore_index, label)
    label.flat[0] = pred.flat[0] = 1  # one pixel counts in any case
    if ignore_index == 255:
        label, pred = label.astype(np.uint8), pred.astype(np.uint8)
    return {"pred": pred, "label": label, "num_classes": K, "ignore_index": ignore_index}


def library(pred: np.ndarray, label: np.ndarray, num_classes: int, ignore_index: int) -> ConfusionMatrix:
    confusion = ConfusionMatrix(num_classes, ignore_index)
    confusion.update(pred, label)
    return confusion


# --- what the usual mistakes lead to ----------------------------------------------------------------------


def wrong_counts(pred: np.ndarray, label: np.ndarray, num_classes: int, ignore_index: int) -> dict[str, Any]:
    K, kept = num_classes, label != ignore_index
    right = library(pred, label, K, ignore_index).matrix
    label, pred = label.astype(int), pred.astype(int)

    def count(i: np.ndarray, j: np.ndarray) -> np.ndarray:
        return np.bincount(K * (i % K) + j % K, minlength=K * K).reshape(K, K)

    overflown = np.bincount((K * label[kept] + pred[kept]) % 256, minlength=K * K)[: K * K].reshape(K, K)
    return {
        "the matrix is transposed: n[true, predicted], rows are the truth": right.T,
        "K·label overflows in the masks' uint8: label.astype(int) first": overflown,
        "the counts overflow in uint8: count in int": right % 256,
        "n[label, pred] += 1 with arrays counts every combination once; use np.bincount, or np.add.at": right > 0,
        "ignored pixels are counted: as class 0": count(np.where(kept, label, 0).ravel(), pred.ravel()),
        "ignored pixels are counted: as the last class": count(np.where(kept, label, K - 1).ravel(), pred.ravel()),
        "ignored pixels are counted: leave out label == ignore_index": count(label.ravel(), pred.ravel()),
        "pixels predicted as ignore_index are left out; it is the label that says what counts": (
            count(label[pred != ignore_index], pred[pred != ignore_index])
        ),
        "labels are off by one, i - 1: class i is row i, counted from 0": count(label[kept] - 1, pred[kept]),
        "labels are off by one, i + 1: class i is row i, counted from 0": count(label[kept] + 1, pred[kept]),
        "predictions are off by one, j - 1: class j is column j, counted from 0": count(label[kept], pred[kept] - 1),
        "predictions are off by one, j + 1: class j is column j, counted from 0": count(label[kept], pred[kept] + 1),
        "shares of the pixels, not counts": right / right.sum(),
        "shares of each class's pixels, not counts": right / np.maximum(1, right.sum(axis=1, keepdims=True)),
        "the first image only: add up over all of them": library(pred[:1], np.where(kept, label, ignore_index)[:1], K,
                                                                ignore_index).matrix,
    }  # fmt: skip


def wrong_iu(n: np.ndarray) -> dict[str, Any]:
    both, truth, predicted = n.diagonal(), n.sum(axis=1), n.sum(axis=0)
    union = truth + predicted - both
    with np.errstate(all="ignore"):
        right = both / union
        return {
            "absent classes get 0; nothing is known of them: NaN": np.where(union > 0, right, 0.0),
            "absent classes get 1; nothing is known of them: NaN": np.where(union > 0, right, 1.0),
            "absent classes are left out here; that is for the mean: they get NaN": right[union > 0],
            "the intersection is counted twice in the union: subtract it once": both / (truth + predicted),
            "the intersection is counted twice, and an absent class gets 0, not NaN": (
                np.where(union > 0, both / np.maximum(1, truth + predicted), 0.0)
            ),
            "that is the accuracy, diagonal / truth: the union includes wrong claims, the column sums": both / truth,
            "that is the precision, diagonal / predictions: the union includes what was missed, the row sums": (
                both / predicted
            ),
            "the intersection is taken away twice; subtract it once": both / (truth + predicted - 2 * both),
            "that is the Dice coefficient, 2·intersection / (truth + prediction)": 2 * both / (truth + predicted),
            "classes that are never predicted get NaN; only those without truth and prediction do": (
                np.where(predicted > 0, right, np.nan)
            ),
            "classes without truth get NaN; a wrong claim makes their IU 0": np.where(truth > 0, right, np.nan),
            "divided by all pixels; divide by the union": both / n.sum(),
            "1 is added to the union, which changes every IU; treat 0/0 by itself": both / (union + 1),
        }


def wrong_means(pred: np.ndarray, label: np.ndarray, num_classes: int, ignore_index: int) -> dict[str, Any]:
    args = (num_classes, ignore_index)
    right = library(pred, label, *args)
    n, iu = right.matrix, right.per_class_iu
    truth = n.sum(axis=1)
    images = [library(p, q, *args).per_class_iu for p, q in zip(pred, label, strict=True)]
    scored = [each[~np.isnan(each)].mean() for each in images if not np.isnan(each).all()]
    counted = one_image_each(images, num_classes)
    wrong = {
        "absent classes are counted as 0: leave them out of the mean": np.nan_to_num(iu).mean(),
        "absent classes are counted as 1: leave them out of the mean": np.nan_to_num(iu, nan=1.0).mean(),
        "the mean of the images' mean IUs: add up the counts of all images first": np.mean(scored),
        "the mean of the images' mean IUs, absent classes as 0: add up the counts of all images first": (
            np.mean([np.nan_to_num(each).mean() for each in images])
        ),
        "each class's IU is averaged over images: add up the counts of all images first": counted,
        "NaN: absent classes have to be left out of the mean (np.nanmean)": iu.mean(),
        "classes without truth are left out; a wrong claim makes their IU 0, and it counts": iu[truth > 0].mean(),
        "that is the pixel accuracy": right.pixel_acc,
        "that is the mean accuracy, diagonal / truth": right.mean_acc,
        "that is the frequency weighted IU: every class counts the same": right.fw_iu,
        "in percent; it is a share, 1 where everything is right": 100 * right.mean_iu,
        "classes with an IU of 0 are left out; only those that do not occur are": iu[iu > 0].mean(),
        "the sum of the IUs; divide by the number of classes that occur": np.nansum(iu),
        "the mean over the foreground: class 0, the background, counts as well": (
            np.nanmean(iu[1:]) if not np.isnan(iu[1:]).all() else np.nan
        ),
    }
    for sentence, counts in wrong_counts(pred, label, *args).items():
        if counts.dtype.kind in "iu":
            wrong[f"as if in confusion_matrix {sentence}"] = ConfusionMatrix.from_matrix(counts).mean_iu
    return wrong


def one_image_each(images: list[np.ndarray], num_classes: int) -> float:
    """The mean over classes of each one's mean IU over the images it occurs in."""
    means = []
    for i in range(num_classes):
        known = [iu[i] for iu in images if not np.isnan(iu[i])]
        means += [np.mean(known)] if known else []
    return float(np.mean(means))
