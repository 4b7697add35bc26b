"""13 · confusion matrix → mean IU

How good is a segmentation? First count, over all pixels of all images: n[i, j] is the number of pixels whose true class
is i and whose predicted class is j. Rows are the truth, columns the prediction. Pixels labelled `ignore_index` are not
counted. Then, for every class,

    intersection  n[i, i]                                      pixels that are class i in truth and in prediction
    union         Σ_j n[i, j] + Σ_j n[j, i] - n[i, i]          in truth, in prediction, or in both
    IU[i]         intersection / union

A class that is in no truth and in no prediction has 0/0 and gets NaN. The mean IU is the mean over the other classes,
of counts over the whole data set: a mean of per-image scores is another number.

Paper: section 5.
"""

import numpy as np


def confusion_matrix(pred: np.ndarray, label: np.ndarray, num_classes: int, ignore_index: int) -> np.ndarray:
    """Count: n (K, K), K = num_classes; n[i, j] pixels of true class i were predicted as class j.

    pred, label: (N, H, W), integers (uint8, as masks are, or larger), 0 … K-1; label may also be ignore_index.
    """
    raise NotImplementedError("13 confusion_matrix: not written yet")


def class_iu(n: np.ndarray) -> np.ndarray:
    """IU of every class: (K,), float64; NaN for a class that does not occur. n: (K, K), integers."""
    raise NotImplementedError("13 class_iu: not written yet")


def mean_iu(pred: np.ndarray, label: np.ndarray, num_classes: int, ignore_index: int) -> float:
    """The mean IU of all N images together: one number. Arguments as for confusion_matrix."""
    raise NotImplementedError("13 mean_iu: not written yet")
