"""The loss: softmax cross entropy at every pixel, summed or averaged over the image (paper, sections 3 and 4).

Each pixel is a classification of its own. With scores x_k, its loss is -log of the probability given to the true
class t:

    loss = -log softmax(x)_t = log Σ_k e^{x_k} - x_t          gradient by x_k:  softmax(x)_k - [k = t]

Pixels labelled `ignore_index` (void, the border around objects) take no part: no loss, no gradient.
"""

from typing import Any

from ..backend import array_module, is_array, to_device
from ..tensor import Function, Tensor


class SoftmaxCrossEntropy(Function):
    """logits (N, K, …), labels (N, …) → one number;   gx = (softmax(x) - onehot(t)) · w[t] / total."""

    def __init__(self, labels: Any, weight: Any = None, ignore_index: int = 255, reduction: str = "mean") -> None:
        if reduction not in ("mean", "sum"):
            raise ValueError(f"softmax_cross_entropy: reduction is 'mean' or 'sum', got {reduction!r}")
        self.labels, self.weight = labels, weight
        self.ignore_index, self.reduction = ignore_index, reduction

    def forward(self, x: Any) -> Any:
        labels = check_labels(x, self.labels, self.ignore_index)
        weight = check_class_weight(x, self.weight)
        xp = array_module(x)
        kept = labels != self.ignore_index  # (N, …)
        classes = xp.where(kept, labels, 0)  # an ignored pixel borrows class 0 for the indexing below
        self.index = xp.expand_dims(classes, 1).astype("int64")  # (N, 1, …)
        pixel_weight = kept.astype(x.dtype) if weight is None else weight[classes] * kept  # (N, …)
        total = pixel_weight.sum() if self.reduction == "mean" else x.dtype.type(1)
        total = xp.where(total > 0, total, 1).astype(x.dtype)  # every pixel ignored: the loss is 0, not 0/0

        x = x - x.max(axis=1, keepdims=True)  # the largest score becomes 0: e^x cannot overflow
        chosen = xp.take_along_axis(x, self.index, axis=1)[:, 0]  # (N, …): score of the true class
        xp.exp(x, out=x)
        sums = x.sum(axis=1)  # (N, …)
        x /= sums[:, None]
        self.p = x  # (N, K, …) softmax
        self.pixel_scale = pixel_weight / total  # (N, …)
        losses = xp.log(sums) - chosen
        return xp.where(kept, losses * self.pixel_scale, 0).sum(dtype=x.dtype)

    def backward(self, gy: Any) -> Any:
        scale = (self.pixel_scale * gy)[:, None]  # (N, 1, …)
        gx = self.p * scale  # (N, K, …)
        for k in range(self.p.shape[1]):
            gx[:, k : k + 1] -= scale * (self.index == k)  # 1 is taken from the true class's probability
        return gx


def softmax_cross_entropy(
    logits: Tensor, labels: Any, weight: Any = None, ignore_index: int = 255, reduction: str = "mean"
) -> Tensor:
    """Cross entropy of logits (N, K, H, W) against integer labels (N, H, W); also (N, K) against (N,).

    weight: (K,) factor per class, for rare ones. ignore_index: label of pixels that do not count.
    reduction: "mean" over the kept pixels (weighted by their class weights, as in torch), or "sum", the paper's
    unnormalised loss. A batch without any kept pixel has loss 0 and zero gradient.
    Errors: ValueError for a label outside 0 … K-1 (naming it) and for shapes that do not fit; TypeError for labels
    that are not integers.
    """
    arrays = [t.data if isinstance(t, Tensor) else t for t in (labels, weight)]
    return SoftmaxCrossEntropy(*arrays, ignore_index, reduction)(logits)


def check_labels(x: Any, labels: Any, ignore_index: int) -> Any:
    """Labels as an array on the logits' device, of the right shape, type and range."""
    xp = array_module(x)
    if x.ndim < 2 or x.dtype.kind != "f":
        raise ValueError(f"softmax_cross_entropy: logits must be floating point (N, K, …), got {x.dtype} {x.shape}")
    labels = labels if is_array(labels) else xp.asarray(labels)
    labels = to_device(labels, "cpu" if xp.__name__ == "numpy" else f"cuda:{x.device.id}")
    if labels.dtype.kind not in "iu":
        raise TypeError(f"softmax_cross_entropy: labels must be integers, got {labels.dtype}")
    expected = (x.shape[0], *x.shape[2:])
    if labels.shape != expected:
        raise ValueError(f"softmax_cross_entropy: logits {x.shape} need labels {expected}, got {labels.shape}")
    K = x.shape[1]
    bad = ((labels < 0) | (labels >= K)) & (labels != ignore_index)
    if bad.any():
        value = int(labels[bad][0])
        raise ValueError(
            f"softmax_cross_entropy: label {value} at {int(bad.sum())} pixel(s), but {K} classes allow 0 to {K - 1} "
            f"(and ignore_index {ignore_index})"
        )
    return labels


def check_class_weight(x: Any, weight: Any) -> Any:
    """The class weights as an array like the logits, or None."""
    if weight is None:
        return None
    weight = array_module(x).asarray(weight, dtype=x.dtype)
    if weight.shape != (x.shape[1],):
        raise ValueError(
            f"softmax_cross_entropy: weight has shape {weight.shape}; {x.shape[1]} classes need ({x.shape[1]},)"
        )
    return weight
