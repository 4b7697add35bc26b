"""One training step, apart from the loop around it: from batches on the device to changed weights.

Nothing in here reads a number back, for that would make Python wait until the GPU is done. What the loop wants to know
comes out as an array, to be looked at later. A loss that is not finite is noticed in the meantime by the GPU itself:
`finite` becomes 0, and stays so, and from that step on no weight changes, until the loop finds out and says why.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..backend import array_module, device_of, on_gpu, to_device
from ..cuda import kernels
from ..optim import Optimizer
from ..tensor import Tensor
from .network import Network
from .objective import by_task, segmentation_loss

Look = Callable[[float], None]


class Step:
    """Forward, loss, backward and update: `begin(lr)`, `add(…)` for every batch of the step, `finish()`.

    class_weights: (K,) or None; of several tasks, for the first. The network must be on its device already.
    Attributes: unwaited, whether losses may be looked at later; finite, int32 (1,) on the GPU, 1 as long as all losses
    have been finite, and None where every loss is looked at at once.
    """

    def __init__(self, network: Network, optimizer: Optimizer, class_weights: Any, reduction: str) -> None:
        self.network, self.optimizer, self.reduction = network, optimizer, reduction
        weights = next(network.model.parameters()).data
        self.weigh(class_weights)
        # the plain way of the optimiser would have to wait for `finite`
        self.unwaited = kernels.fused(weights)
        self.finite = array_module(weights).ones(1, "int32") if self.unwaited else None

    def weigh(self, class_weights: Any) -> None:
        """Use other class weights, (K,) or None."""
        self.class_weights = self.weights_there = class_weights
        parameter = next(self.network.model.parameters()).data
        if class_weights is not None and on_gpu(parameter):  # once, not at every step
            self.weights_there = to_device(np.asarray(class_weights, parameter.dtype), device_of(parameter))

    def loss(self, x: Tensor, labels: Any, checked: bool = False) -> Tensor:
        """The loss of images x (N, C, H, W) with labels (N, H, W). Of several tasks, with labels (N, H, W, T), it is
        the sum of theirs. checked: the labels are known to be right, so nobody looks at them."""
        labels = by_task(labels, list(self.network.tasks))
        return segmentation_loss(self.network.model(x), labels, self.weights_there, self.reduction, checked)

    def begin(self, lr: float) -> None:
        """Start a step at this learning rate."""
        self.optimizer.lr = lr
        self.optimizer.zero_grad()

    def add(self, images: Any, labels: Any, parts: int = 1, look: Look | None = None) -> Any:
        """Add the gradients of one batch, of the step's `parts`; returns its loss, a 0-d array on the device.

        images: float32 (N, C, H, W); labels: uint8, on a GPU looked at before they came there. look: called with the
        loss where it is not to be looked at later; it may raise.
        """
        with np.errstate(all="ignore"):  # what overflows is found by whoever looks at the loss, and explained
            loss = self.loss(Tensor(images, device=device_of(images)), labels, checked=on_gpu(images))
            if self.unwaited:
                self.finite *= array_module(loss.data).isfinite(loss.data)
            elif look is not None:
                look(loss.item())
            (loss if parts == 1 else loss / parts).backward()  # gradients add up until the step
        return loss.data

    def forgive(self) -> None:
        """Let weights change again, after a loss that was not finite has been told of."""
        if self.finite is not None:
            self.finite.fill(1)

    def finish(self) -> None:
        """Move the weights along the sum of what was added, unless a loss was not finite."""
        with np.errstate(all="ignore"):
            if self.unwaited:
                self.optimizer.step(only_if=self.finite)
            else:
                self.optimizer.step()
