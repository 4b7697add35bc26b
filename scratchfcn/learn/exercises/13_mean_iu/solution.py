"""13 · confusion matrix → mean IU

K·truth + prediction is another number for each of the K² combinations, so one bincount counts them all.
"""

import numpy as np

from scratchfcn.backend import array_module


def confusion_matrix(pred: np.ndarray, label: np.ndarray, num_classes: int, ignore_index: int) -> np.ndarray:
    """pred, label (N, H, W) → n (K, K): rows are the truth"""
    K, kept = num_classes, label != ignore_index
    pairs = K * label[kept].astype(np.int64) + pred[kept]  # (P,); in the masks' uint8, K·label would overflow
    return array_module(pairs).bincount(pairs, minlength=K * K).reshape(K, K)


def class_iu(n: np.ndarray) -> np.ndarray:
    """n (K, K) → (K,), NaN for a class that does not occur"""
    xp = array_module(n)
    union = n.sum(axis=1) + n.sum(axis=0) - n.diagonal()  # (K,)
    return xp.where(union > 0, n.diagonal() / xp.maximum(union, 1), xp.nan)


def mean_iu(pred: np.ndarray, label: np.ndarray, num_classes: int, ignore_index: int) -> float:
    """The mean over the classes that occur, of the counts of all images"""
    iu = class_iu(confusion_matrix(pred, label, num_classes, ignore_index))
    return float(iu[iu == iu].mean())  # NaN is the only number that differs from itself
