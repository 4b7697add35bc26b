"""08 · per-pixel softmax loss with an ignore label

Backward is the friendliest formula of the whole network: what the network believes, minus the truth. A pixel that is
right with certainty sends nothing back; one that is wrong with certainty sends -1 to the true class, +1 to the other.
"""

import numpy as np


def softmax_loss(x: np.ndarray, labels: np.ndarray, ignore_index: int) -> float:
    """x (N, K, H, W), labels (N, H, W) → the mean of -log p_t over kept pixels"""
    n, h, w = (labels != ignore_index).nonzero()  # where the kept pixels are, (P,) each
    t = labels[n, h, w]  # (P,)
    return -_log_softmax(x)[n, t, h, w].sum() / max(1, len(n))


def softmax_loss_backward(gy: float, x: np.ndarray, labels: np.ndarray, ignore_index: int) -> np.ndarray:
    """gx = (p - onehot(t)) · gy / P at kept pixels, 0 at ignored ones: (N, K, H, W)"""
    kept = labels != ignore_index  # (N, H, W)
    n, h, w = kept.nonzero()
    gx = np.exp(_log_softmax(x)) * kept[:, None]  # (N, K, H, W)
    gx[n, labels[n, h, w], h, w] -= 1
    return gx * (gy / max(1, len(n)))


def _log_softmax(x: np.ndarray) -> np.ndarray:
    """log p = x - log Σ e^x, with the largest score moved to 0, so that e^x cannot overflow: (N, K, H, W)"""
    x = x - x.max(axis=1, keepdims=True)
    return x - np.log(np.exp(x).sum(axis=1, keepdims=True))
