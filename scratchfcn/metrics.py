"""How good is a segmentation? The four measures of the FCN paper, all read off one table of counts.

Counting comes first. For every labelled pixel there is a true class i and a predicted class j; the confusion
matrix n[i, j] counts the pixels of each combination, over a whole data set. Its diagonal is what the model
got right, its row sums t_i = Σ_j n_ij are the pixels each class really has, its column sums those it got.

The measures (paper, section 5) differ in how much the rare classes weigh:

    pixel accuracy        Σ_i n_ii / Σ_i t_i                  every pixel counts the same
    mean accuracy         mean over i of  n_ii / t_i          every class counts the same
    mean IU               mean over i of  n_ii / u_i          … and wrong claims count against a class
    freq. weighted IU     Σ_i t_i·(n_ii / u_i) / Σ_i t_i      IU, with the classes weighed by their size

where u_i = t_i + Σ_j n_ji - n_ii is the union: the pixels that are class i in truth, in the prediction or in
both. A model that answers "background" everywhere has a fine pixel accuracy and a dreadful mean IU.

Counts are summed over the images *before* dividing: a mean of per-image scores is another, noisier number.

All four count pixels, and few pixels lie on an outline. How well outlines are met is a measure of its own, which
needs to know where pixels lie: see boundary.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np

from .backend import array_module, device_of, is_array, on_gpu, to_device, to_numpy
from .boundary import BoundaryF1 as BoundaryF1  # the fifth measure, found here beside the four
from .cuda import kernels
from .tensor import Tensor

NO_CLASS = np.iinfo(np.int64).max  # larger than any wrong class


class ConfusionMatrix:
    """Counts of (true class, predicted class) pairs, fed one batch at a time, and the measures made of it.

    num_classes: K. Predictions are 0 … K-1, and so are labels.
    ignore_index: the label of pixels that do not count (void, borders of objects).
    unscored: numbers of classes that mean accuracy and mean IU leave out, even where they are predicted (SIFT Flow's
        cow, desert and moon, which its test images do not show). The matrix and the measures over pixels (pixel
        accuracy, frequency weighted IU) are what they would be without it: a pixel called "desert" is still wrong.

    A class that cannot be scored is left out of the means: of the accuracy if no pixel truly is of that
    class, of the IU if no pixel is, in truth or in prediction. Where nothing is left, the measure is NaN.
    Source: paper, section 5, and the reference repository's score.py.
    """

    def __init__(self, num_classes: int, ignore_index: int = 255, unscored: Sequence[int] = ()) -> None:
        if num_classes < 1:
            raise ValueError(f"ConfusionMatrix: num_classes must be at least 1, got {num_classes}")
        for k in unscored:
            if not 0 <= k < num_classes:
                raise ValueError(
                    f"ConfusionMatrix: unscored class {k}, but {num_classes} classes end at {num_classes - 1}"
                )
        self.num_classes, self.ignore_index, self.unscored = num_classes, ignore_index, tuple(unscored)
        self.reset()

    @classmethod
    def from_matrix(cls, matrix: Any, unscored: Sequence[int] = ()) -> ConfusionMatrix:
        """The measures of counts that exist already: `matrix` (K, K), rows = truth."""
        counts = np.array(matrix, np.int64)  # a copy
        if counts.ndim != 2 or counts.shape[0] != counts.shape[1]:
            raise ValueError(f"ConfusionMatrix: the matrix must be square, got shape {counts.shape}")
        confusion = cls(len(counts), unscored=unscored)
        confusion._counts = counts.reshape(-1)  # (K*K,)
        return confusion

    # --- counting -------------------------------------------------------------------------------------------

    def reset(self) -> None:
        """Forget everything counted so far."""
        self._counts: Any = None  # (K*K,) int64, on the device of the first batch
        self._wrong: Any = None  # (4,) int64, on a GPU: wrong labels and predictions, and the smallest of each

    def update(self, pred: Any, label: Any, checked: bool = False) -> None:
        """Count one batch: predicted and true class of every pixel, integers of equal shape, e.g. (N, H, W).

        Arrays may be NumPy, CuPy or Tensors; counting happens where `pred` lives, not on the host.
        checked: on a GPU, do not wait to see whether all classes exist. One that does not is not counted, and the error
        comes when the matrix is read.
        Errors: ValueError for unequal shapes and for a class outside 0 … K-1 at a pixel that counts (naming
        it); TypeError for arrays that are not integers.
        """
        pred, label = _integers("pred", pred), _integers("label", label)
        if pred.shape != label.shape:
            raise ValueError(
                f"ConfusionMatrix: pred {pred.shape} and label {label.shape} must have the same shape; "
                "of logits (N, K, H, W), pass logits.argmax(axis=1)"
            )
        label = to_device(label, device_of(pred))
        if not on_gpu(pred):
            self._add(self._count_on_host(pred, label))
            return
        counts, wrong = self._count_on_gpu(pred, label)
        if not checked:
            self._check(wrong)
        self._add(counts, wrong)

    def _count_on_host(self, pred: np.ndarray, label: np.ndarray) -> np.ndarray:
        """(K*K,) int64."""
        label, pred = label.astype(np.int64, copy=False), pred.astype(np.int64, copy=False)  # 255·K is no uint8
        kept = label != self.ignore_index
        label, pred = label[kept], pred[kept]  # (P,) each: the pixels that count
        for what, classes in (("label", label), ("pred", pred)):
            wrong = (classes < 0) | (classes >= self.num_classes)
            if wrong.any():
                self._refuse(what, classes[wrong][0], wrong.sum())
        K = self.num_classes
        pairs = K * label + pred  # (P,): one number for each combination, counted in one sweep
        return np.bincount(pairs, minlength=K * K).astype(np.int64, copy=False)

    def _count_on_gpu(self, pred: Any, label: Any) -> tuple[Any, Any]:
        """(K*K,) and what is wrong, (4,), int64. No array here has a size that depends on what another holds: to know
        it, the host would have to wait."""
        xp, K = array_module(pred), self.num_classes
        if kernels.enabled():
            counts, wrong = xp.zeros(K * K, "int64"), xp.zeros(4, "int64")
            wrong[2:] = NO_CLASS
            kernels.count_pairs(pred, label, self.ignore_index, counts, wrong)
            return counts, wrong
        label, pred = label.astype("int64").reshape(-1), pred.astype("int64").reshape(-1)  # (P,)
        kept = label != self.ignore_index
        wrong = _wrong(xp.where(kept, label, 0), xp.where(kept, pred, 0), K)
        classes = xp.arange(K)[:, None]
        truth, found = ((label == classes) & kept).astype("float64"), (pred == classes).astype("float64")  # (K, P)
        return (truth @ found.T).astype("int64").reshape(K * K), wrong  # whole numbers, exact up to 2^53

    def merge(self, other: ConfusionMatrix) -> ConfusionMatrix:
        """Add another matrix's counts, e.g. those of another process, to this one; also written `a += b`."""
        if (other.num_classes, other.ignore_index) != (self.num_classes, self.ignore_index):
            raise ValueError(
                f"ConfusionMatrix: {other.num_classes} classes, ignoring {other.ignore_index}, "
                f"cannot be added to {self.num_classes} classes, ignoring {self.ignore_index}"
            )
        if other._counts is not None:
            self._add(other._counts, other._wrong)
        return self

    __iadd__ = merge

    def empty(self) -> ConfusionMatrix:
        """Another matrix for the same classes, nothing counted yet."""
        return ConfusionMatrix(self.num_classes, self.ignore_index, self.unscored)

    def state(self) -> Any:
        """All that was counted, as one array where counting happens: (K*K,) int64, and on a GPU 4 numbers more of what
        was wrong. It can be read later, without waiting, and given to another matrix's `add_state`."""
        if self._counts is None:
            return np.zeros(self.num_classes**2, np.int64)
        if self._wrong is None:
            return self._counts
        return array_module(self._wrong).concatenate((self._counts, self._wrong))

    def add_state(self, state: Any) -> None:
        """Add what another matrix's `state` was."""
        counts, wrong = state[: self.num_classes**2], state[self.num_classes**2 :]
        self._add(counts, wrong if len(wrong) else None)

    def _add(self, counts: Any, wrong: Any = None) -> None:
        """Add counts (K*K,), and what was wrong among the rest, (4,); both stay where they are now."""
        if self._counts is None:
            self._counts = counts.copy()
        else:
            self._counts += to_device(counts, device_of(self._counts))
        if wrong is None:
            return
        if self._wrong is None:
            self._wrong = wrong.copy()
        else:
            wrong = to_device(wrong, device_of(self._wrong))
            self._wrong[:2] += wrong[:2]
            array_module(wrong).minimum(self._wrong[2:], wrong[2:], out=self._wrong[2:])

    def _check(self, wrong: Any) -> None:
        """ValueError where `wrong` (4,) tells of classes that do not exist. On a GPU, this waits."""
        labels, preds, *smallest = to_numpy(wrong).tolist()
        for what, pixels, value in zip(("label", "pred"), (labels, preds), smallest, strict=True):
            if pixels:
                self._refuse(what, value, pixels)

    def _refuse(self, what: str, value: int, pixels: int) -> NoReturn:
        extra = f" (or {self.ignore_index}, ignored)" if what == "label" else ""
        raise ValueError(
            f"ConfusionMatrix: {what} {value} at {pixels} pixel(s), "
            f"but {self.num_classes} classes allow 0 to {self.num_classes - 1}{extra}"
        )

    # --- measures -------------------------------------------------------------------------------------------

    @property
    def matrix(self) -> np.ndarray:
        """n (K, K), int64 on the host: n[i, j] pixels of true class i were predicted as class j.

        Errors: ValueError for a class that `update` was told not to look for.
        """
        K = self.num_classes
        if self._wrong is not None:
            self._check(self._wrong)
        if self._counts is None:
            return np.zeros((K, K), np.int64)
        return np.array(to_numpy(self._counts)).reshape(K, K)

    @property
    def pixel_acc(self) -> float:
        """Share of the pixels that were predicted correctly."""
        n = self.matrix
        return float(_ratio(n.trace(), n.sum()))

    @property
    def per_class_acc(self) -> np.ndarray:
        """(K,): share of each class's own pixels that were found; NaN for a class without any."""
        n = self.matrix
        return _ratio(n.diagonal(), n.sum(axis=1))

    @property
    def mean_acc(self) -> float:
        """Mean of `per_class_acc` over the classes that occur, but for the unscored."""
        return _mean(np.delete(self.per_class_acc, self.unscored))

    @property
    def per_class_iu(self) -> np.ndarray:
        """(K,): intersection over union of each class's true and predicted pixels; NaN if both are empty."""
        n = self.matrix
        union = n.sum(axis=1) + n.sum(axis=0) - n.diagonal()  # (K,)
        return _ratio(n.diagonal(), union)

    @property
    def mean_iu(self) -> float:
        """Mean of `per_class_iu` over the classes that occur in truth or prediction, but for the unscored: the headline
        number."""
        return _mean(np.delete(self.per_class_iu, self.unscored))

    @property
    def fw_iu(self) -> float:
        """Mean of `per_class_iu` weighed by how many pixels each class truly has."""
        t, iu = self.matrix.sum(axis=1), self.per_class_iu
        occurs = t > 0
        return float(_ratio((t[occurs] * iu[occurs]).sum(), t.sum()))

    def scores(self) -> dict[str, float]:
        """The paper's four measures by name, in its order."""
        return {name: getattr(self, name) for name in ("pixel_acc", "mean_acc", "mean_iu", "fw_iu")}

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={value:.4f}" for name, value in self.scores().items())
        return f"ConfusionMatrix({self.num_classes} classes, {self.matrix.sum()} pixels: {values})"


def _integers(what: str, x: Any) -> Any:
    """`x` as an array of integers."""
    x = x.data if isinstance(x, Tensor) else x
    x = x if is_array(x) else np.asarray(x)
    if x.dtype.kind not in "iu":
        raise TypeError(f"ConfusionMatrix: {what} must hold class numbers (integers), got {x.dtype}")
    return x


def _wrong(label: Any, pred: Any, K: int) -> Any:
    """(4,) int64: how many labels, and how many predictions, are outside 0 … K-1, and the smallest of each."""
    xp = array_module(label)
    numbers = xp.full(4, NO_CLASS)
    for i, classes in enumerate((label, pred)):
        outside = (classes < 0) | (classes >= K)
        numbers[i] = outside.sum()
        if classes.size:
            numbers[2 + i] = xp.where(outside, classes, NO_CLASS).min()
    return numbers


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part / whole, and NaN (without a warning) where there is nothing to divide by."""
    part, whole = np.asarray(part, np.float64), np.asarray(whole, np.float64)
    return np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)


def _mean(values: np.ndarray) -> float:
    """Mean of the values that are not NaN; NaN if none is left."""
    values = values[~np.isnan(values)]
    return float(values.mean()) if values.size else float("nan")
