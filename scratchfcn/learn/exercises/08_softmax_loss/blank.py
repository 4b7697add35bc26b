"""08 · per-pixel softmax loss with an ignore label

Segmentation is classification of every pixel. With scores x_k, a pixel's loss is -log of the probability that the
softmax gives to its true class t, and the loss of a batch is the mean over its labelled pixels:

    p_k  = e^{x_k} / Σ_j e^{x_j}        pixel's loss = -log p_t        loss = Σ over kept pixels / number of kept pixels

Pixels labelled `ignore_index` (void, the border around objects) do not count: no loss, no gradient, and they are not
among the pixels divided by. Where nothing is labelled at all, the loss is 0.

Two traps. e^{x} overflows for scores of some hundreds; p does not change when the same number is subtracted from all
scores of a pixel. And an ignored label, 255, is no index into the K scores.

Paper: section 3, the loss of an image is a sum over its pixels; section 4, pixels masked out in the truth are ignored.
"""

import numpy as np


def softmax_loss(x: np.ndarray, labels: np.ndarray, ignore_index: int) -> float:
    """The mean over kept pixels of -log p_t, one number.

    x: scores (N, K, H, W), float32 or float64. labels: (N, H, W), integers, uint8 as they come from a mask or larger;
    each is 0 … K-1 or ignore_index.
    """
    raise NotImplementedError("08 softmax_loss: not written yet")


def softmax_loss_backward(gy: float, x: np.ndarray, labels: np.ndarray, ignore_index: int) -> np.ndarray:
    """The gradient of the loss with respect to every score: (p_k - [k = t]) / number of kept pixels, times gy.

    gy: the gradient that arrives at the loss: 1 where training starts from it, 0.5 where it counts half.
    x, labels: as above. Returns gx (N, K, H, W), of x's dtype; 0 at ignored pixels.
    """
    raise NotImplementedError("08 softmax_loss_backward: not written yet")
