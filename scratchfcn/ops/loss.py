"""The loss: softmax cross entropy at every pixel, summed or averaged over the image (paper, sections 3 and 4).

Each pixel is a classification of its own. With scores x_k, its loss is -log of the probability given to the true
class t:

    loss = -log softmax(x)_t = log Σ_k e^{x_k} - x_t          gradient by x_k:  softmax(x)_k - [k = t]

Pixels labelled `ignore_index` (void, the border around objects) take no part: no loss, no gradient.
"""

from typing import Any

import numpy as np

from ..backend import array_module, device_of, is_array, to_device
from ..cuda import kernels
from ..parallel import share
from ..tensor import Function, Tensor
from .layout import leading_blocks


class SoftmaxCrossEntropy(Function):
    """logits (N, K, …), labels (N, …) → one number;   gx = (softmax(x) - onehot(t)) · w[t] / total.

    Derivation: a pixel's loss is log Σ_k e^{x_k} - x_t. The derivative of the first term by x_k is e^{x_k} / Σ_j
    e^{x_j} (the softmax), that of the second -[k = t]. The whole loss is Σ over kept pixels of w[t]·(this) / total,
    with total the sum of their w[t] for "mean" and 1 for "sum", so each pixel's gradient has the factor w[t] / total
    (and gy). Paper, sections 3 (the loss is a sum over the final layer's spatial dimensions) and 4.
    """

    def __init__(
        self,
        labels: Any,
        weight: Any = None,
        ignore_index: int = 255,
        reduction: str = "mean",
        checked: bool = False,
    ) -> None:
        if reduction not in ("mean", "sum"):
            raise ValueError(f"softmax_cross_entropy: reduction is 'mean' or 'sum', got {reduction!r}")
        self.labels, self.weight = labels, weight
        self.ignore_index, self.reduction, self.checked = ignore_index, reduction, checked

    def forward(self, x: Any) -> Any:
        labels = check_labels(x, self.labels, self.ignore_index, self.checked)
        weight = check_class_weight(x, self.weight)
        self.fused = None  # a class derived from this one may want in its backward what the plain way keeps
        if type(self) is SoftmaxCrossEntropy and kernels.fused(x) and 0 < x.size <= kernels.LARGEST * x.shape[1]:
            self.fused = kernels.SoftmaxLoss(x, labels, weight, self.ignore_index, self.reduction == "mean")
            return self.fused.loss
        xp, (N, K), self.x_shape = array_module(x), x.shape[:2], x.shape
        kept = labels != self.ignore_index  # (N, …)
        classes = xp.where(kept, labels, 0)  # an ignored pixel borrows class 0 for the indexing below
        pixel_weight = kept.astype(x.dtype) if weight is None else weight[classes] * kept  # (N, …)
        total = pixel_weight.sum() if self.reduction == "mean" else x.dtype.type(1)
        total = xp.where(total > 0, total, 1).astype(x.dtype)  # every pixel ignored: the loss is 0, not 0/0

        M = kept[:1].size  # pixels of an image
        self.pixel_scale = (pixel_weight / total).reshape(N, M)
        self.p = xp.empty((N, K, M), x.dtype)  # softmax
        # (N, M): where in all of p the true classes stand
        self.chosen = (classes.reshape(N, M).astype("int64") + xp.arange(N)[:, None] * K) * M + xp.arange(M)
        losses = xp.empty((N, M), x.dtype)

        def forward_of(images: slice) -> None:
            x_some, p = x[images], self.p[images]  # (n, K, …), (n, K, M)
            largest = x_some.max(axis=1, keepdims=True)
            xp.subtract(x_some, largest, out=p.reshape(x_some.shape))  # the largest becomes 0: e^x cannot overflow
            true = self.p.reshape(-1).take(self.chosen[images])  # (n, M): scores of the true classes
            xp.exp(p, out=p)
            sums = p.sum(axis=1)  # (n, M)
            p /= sums[:, None]
            losses[images] = xp.log(sums) - true

        share(forward_of, leading_blocks(x), x)
        return xp.where(kept.reshape(N, M), losses * self.pixel_scale, 0).sum(dtype=x.dtype)

    def backward(self, gy: Any) -> Any:
        if self.fused is not None:
            return self.fused.backward(gy)
        xp, scale = array_module(gy), self.pixel_scale * gy  # (N, M)
        gx = xp.empty_like(self.p)  # (N, K, M)

        def backward_of(images: slice) -> None:
            xp.multiply(self.p[images], scale[images, None], out=gx[images])
            gx.reshape(-1)[self.chosen[images]] -= scale[images]  # 1 is taken from the true class's probability

        share(backward_of, leading_blocks(gx), gx)
        return gx.reshape(self.x_shape)


def softmax_cross_entropy(
    logits: Tensor,
    labels: Any,
    weight: Any = None,
    ignore_index: int = 255,
    reduction: str = "mean",
    checked: bool = False,
) -> Tensor:
    """Cross entropy of logits (N, K, H, W) against integer labels (N, H, W); also (N, K) against (N,).

    weight: (K,) factor per class, for rare ones. ignore_index: label of pixels that do not count.
    reduction: "mean" over the kept pixels (weighted by their class weights, as in torch), or "sum", the paper's
    unnormalised loss. A batch without any kept pixel has loss 0 and zero gradient.
    checked: the labels have been through `check_label_values` already and are not looked at again. For labels on a GPU,
    looking means to wait until the GPU is done; labels of the host are looked at there, before they are copied.
    Errors: ValueError for a label outside 0 … K-1 (naming it) and for shapes that do not fit; TypeError for labels
    that are not integers.
    """
    arrays = [t.data if isinstance(t, Tensor) else t for t in (labels, weight)]
    return SoftmaxCrossEntropy(*arrays, ignore_index, reduction, checked)(logits)


def check_labels(x: Any, labels: Any, ignore_index: int, checked: bool = False) -> Any:
    """Labels as an array on the logits' device, of the right shape and type and, unless `checked` before, range."""
    if x.ndim < 2 or x.dtype.kind != "f":
        raise ValueError(f"softmax_cross_entropy: logits must be floating point (N, K, …), got {x.dtype} {x.shape}")
    labels = labels if is_array(labels) else np.asarray(labels)
    if labels.dtype.kind not in "iu":
        raise TypeError(f"softmax_cross_entropy: labels must be integers, got {labels.dtype}")
    expected = (x.shape[0], *x.shape[2:])
    if labels.shape != expected:
        raise ValueError(f"softmax_cross_entropy: logits {x.shape} need labels {expected}, got {labels.shape}")
    if not checked:
        check_label_values(labels, x.shape[1], ignore_index)
    return to_device(labels, device_of(x))


def check_label_values(labels: Any, num_classes: int, ignore_index: int = 255) -> None:
    """Labels, integers, are classes 0 … K-1 or ignored. Done once, on the host, it need not be done on the GPU.

    Errors: ValueError that names a wrong label.
    """
    K = num_classes
    bad = ((labels < 0) | (labels >= K)) & (labels != ignore_index)
    if bad.any():
        value = int(labels[bad][0])
        raise ValueError(
            f"softmax_cross_entropy: label {value} at {int(bad.sum())} pixel(s), but {K} classes allow 0 to {K - 1} "
            f"(and ignore_index {ignore_index})"
        )


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
