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
from typing import Any

import numpy as np

from .backend import array_module, device_of, is_array, to_device, to_numpy
from .boundary import BoundaryF1 as BoundaryF1  # the fifth measure, found here beside the four
from .tensor import Tensor


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

    def update(self, pred: Any, label: Any) -> None:
        """Count one batch: predicted and true class of every pixel, integers of equal shape, e.g. (N, H, W).

        Arrays may be NumPy, CuPy or Tensors; counting happens where `pred` lives, not on the host.
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
        kept = label != self.ignore_index
        label, pred = label[kept], pred[kept]  # (P,) each: the pixels that count
        self._check_range("label", label)
        self._check_range("pred", pred)

        K = self.num_classes
        pairs = K * label + pred  # (P,): one number for each combination, counted in one sweep
        self._add(array_module(pairs).bincount(pairs, minlength=K * K).astype("int64", copy=False))

    def merge(self, other: ConfusionMatrix) -> ConfusionMatrix:
        """Add another matrix's counts, e.g. those of another process, to this one; also written `a += b`."""
        if (other.num_classes, other.ignore_index) != (self.num_classes, self.ignore_index):
            raise ValueError(
                f"ConfusionMatrix: {other.num_classes} classes, ignoring {other.ignore_index}, "
                f"cannot be added to {self.num_classes} classes, ignoring {self.ignore_index}"
            )
        if other._counts is not None:
            self._add(other._counts)
        return self

    __iadd__ = merge

    def _add(self, counts: Any) -> None:
        if self._counts is None:
            self._counts = counts.copy()
        else:
            self._counts += to_device(counts, device_of(self._counts))

    def _check_range(self, what: str, classes: Any) -> None:
        wrong = (classes < 0) | (classes >= self.num_classes)
        if wrong.any():
            extra = f" (or {self.ignore_index}, ignored)" if what == "label" else ""
            raise ValueError(
                f"ConfusionMatrix: {what} {int(classes[wrong][0])} at {int(wrong.sum())} pixel(s), "
                f"but {self.num_classes} classes allow 0 to {self.num_classes - 1}{extra}"
            )

    # --- measures -------------------------------------------------------------------------------------------

    @property
    def matrix(self) -> np.ndarray:
        """n (K, K), int64 on the host: n[i, j] pixels of true class i were predicted as class j."""
        K = self.num_classes
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
    """`x` as an int64 array: K·label would overflow the uint8 that masks come in."""
    x = x.data if isinstance(x, Tensor) else x
    x = x if is_array(x) else np.asarray(x)
    if x.dtype.kind not in "iu":
        raise TypeError(f"ConfusionMatrix: {what} must hold class numbers (integers), got {x.dtype}")
    return x.astype("int64", copy=False)


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part / whole, and NaN (without a warning) where there is nothing to divide by."""
    part, whole = np.asarray(part, np.float64), np.asarray(whole, np.float64)
    return np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)


def _mean(values: np.ndarray) -> float:
    """Mean of the values that are not NaN; NaN if none is left."""
    values = values[~np.isnan(values)]
    return float(values.mean()) if values.size else float("nan")
