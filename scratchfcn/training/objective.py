"""What training makes small: the loss of a network's output, or of its outputs where it has several.

Most networks return class scores (N, K, H, W). torchvision's FCN, while it learns, has a second head on an earlier map:
it returns {"out": scores, "aux": scores}, and the auxiliary loss counts half. Only "out" is used for anything else.
"""

from __future__ import annotations

from typing import Any

from .. import ops
from ..models.torchvision_fcn import AUX_WEIGHT
from ..tensor import Tensor

Output = Tensor | dict[str, Tensor]


def main_output(output: Output) -> Tensor:
    """The class scores that predictions are made from, (N, K, H, W)."""
    return output["out"] if isinstance(output, dict) else output


def segmentation_loss(output: Output, labels: Any, class_weights: Any = None, reduction: str = "mean") -> Tensor:
    """Softmax cross entropy with labels (N, H, W); with an auxiliary output, loss(out) + 0.5·loss(aux)."""
    loss = ops.softmax_cross_entropy(main_output(output), labels, class_weights, reduction=reduction)
    if isinstance(output, dict) and "aux" in output:
        loss = loss + AUX_WEIGHT * ops.softmax_cross_entropy(output["aux"], labels, class_weights, reduction=reduction)
    return loss
