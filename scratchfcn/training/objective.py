"""What training makes small: the loss of a network's output, or of its outputs where it has several.

Most networks return class scores (N, K, H, W). Two return scores by name. torchvision's FCN, while it learns, has a
second head on an earlier map: {"out": …, "aux": …}; both are compared with the same labels, and the auxiliary loss
counts half. The paper's SIFT Flow net has two tasks: {"semantic": …, "geometric": …}, each with labels of its own, and
both losses count in full. Predictions are made from the first of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .. import ops
from ..models.torchvision_fcn import AUX_WEIGHT
from ..ops.loss import check_label_values
from ..tensor import Tensor

Output = Tensor | dict[str, Tensor]


def main_output(output: Output, task: str | None = None) -> Tensor:
    """The class scores that predictions are made from, (N, K, H, W): the only ones, those of `task`, or the first."""
    if not isinstance(output, dict):
        return output
    return next(iter(output.values())) if task is None else output[task]


def by_task(labels: Any, tasks: Sequence[str]) -> Any:
    """The planes of labels (N, H, W, T) by name, (N, H, W) each; labels (N, H, W) of no particular task stay so."""
    return {name: labels[..., t] for t, name in enumerate(tasks)} if tasks else labels


def check_labels(labels: Any, classes: Sequence[str], tasks: Mapping[str, Sequence[str]]) -> None:
    """Look at labels (N, H, W), or (N, H, W, T) of several tasks, before they go where looking means waiting.

    Errors: ValueError for a label that is no class, see `ops.softmax_cross_entropy`.
    """
    for task, plane in (by_task(labels, list(tasks)) if tasks else {"": labels}).items():
        check_label_values(plane, len(tasks[task] if tasks else classes))


def segmentation_loss(
    output: Output, labels: Any, class_weights: Any = None, reduction: str = "mean", checked: bool = False
) -> Tensor:
    """Softmax cross entropy of scores (N, K, H, W) with labels (N, H, W); of several outputs, the sum (see above).

    labels: for a network of several tasks a dictionary with the same names as its output; class_weights are for the
    first task. checked: the labels have been through `check_labels` before.
    Errors: ValueError for names that differ.
    """

    def loss_of(scores: Tensor, truth: Any, weight: Any) -> Tensor:
        return ops.softmax_cross_entropy(scores, truth, weight, reduction=reduction, checked=checked)

    if isinstance(labels, Mapping) and not isinstance(output, dict):
        raise ValueError(f"segmentation_loss: labels for {', '.join(labels)}, but the network has a single output")
    if not isinstance(output, dict):
        return loss_of(output, labels, class_weights)
    if isinstance(labels, Mapping):
        if set(labels) != set(output):
            raise ValueError(f"segmentation_loss: labels for {', '.join(labels)}, but outputs {', '.join(output)}")
        weights = [class_weights] + [None] * (len(output) - 1)
        losses = [
            loss_of(scores, labels[name], weight)
            for (name, scores), weight in zip(output.items(), weights, strict=True)
        ]
        return sum(losses[1:], losses[0])
    if "out" not in output:
        raise ValueError(
            f"segmentation_loss: the network's tasks are {', '.join(output)}; give each its labels, in a dictionary"
        )
    loss = loss_of(output["out"], labels, class_weights)
    if "aux" in output:
        loss = loss + AUX_WEIGHT * loss_of(output["aux"], labels, class_weights)
    return loss
