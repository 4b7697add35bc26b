"""A training step whose forward and backward pass are launched as one CUDA graph (`--cuda-graph`).

The first kind of batch that comes a second time gets a graph: it is run as usual `WARM_UP` times, to compile kernels
and to let memory grow, then recorded, and launched from then on. Batches of any other kind, such as a smaller last one,
are run as usual throughout; a graph for each would keep the memory of a whole step for each.

The update of the weights is left out. It is a launch or two, its learning rate changes, and between it and the backward
pass the gradients of several batches may have to be added up (`--accumulate`).
"""

from __future__ import annotations

from typing import Any

from ..backend import array_module
from ..cuda.graph import GraphError, Recorded
from ..optim import Optimizer
from .config import SettingError
from .network import Network
from .step import Look, Step

WARM_UP = 2

Kind = tuple[Any, ...]  # what batches must have in common: shapes, and of how many parts of a step they are one


class CapturedStep(Step):
    """A Step on a GPU, with the same results. The optimiser and the network must stay the same objects, and so must the
    arrays of its weights."""

    def __init__(self, network: Network, optimizer: Optimizer, class_weights: Any, reduction: str) -> None:
        super().__init__(network, optimizer, class_weights, reduction)
        if not self.unwaited:
            raise SettingError(
                "--cuda-graph needs the CUDA kernels, without which a step waits for the GPU: "
                "unset SCRATCHFCN_KERNELS, or leave out --cuda-graph"
            )

    def weigh(self, class_weights: Any) -> None:
        """As `Step.weigh`; a graph would go on with the weights that it was recorded with, so there is none yet."""
        super().weigh(class_weights)
        self.seen: set[Kind] = set()
        self.kind: Kind | None = None  # that has the graph
        self.runs = 0  # of batches of this kind
        self.recorded: Recorded | None = None

    def add(self, images: Any, labels: Any, parts: int = 1, look: Look | None = None) -> Any:
        """As `Step.add`, by way of the graph where there is one for such a batch."""
        kind = (images.shape, images.dtype, labels.shape, labels.dtype, parts)
        if self.kind is None and kind in self.seen:
            self.prepare(kind, images, labels)
        self.seen.add(kind)
        if kind != self.kind:
            return super().add(images, labels, parts, look)
        self.images[...], self.labels[...] = images, labels
        before = [p.grad for p in self.optimizer.parameters]  # of this step's batches so far
        loss, gradients = self.run()
        for parameter, sum_so_far, gradient in zip(self.optimizer.parameters, before, gradients, strict=True):
            parameter.grad = added(sum_so_far, gradient, parts)
        return loss

    def prepare(self, kind: Kind, images: Any, labels: Any) -> None:
        """From now on batches of this kind are copied to fixed places, to be worked on there."""
        self.kind = kind
        self.images, self.labels = (array_module(x).empty_like(x) for x in (images, labels))

        def work() -> tuple[Any, list[Any]]:
            self.optimizer.zero_grad()
            loss = Step.add(self, self.images, self.labels, parts=kind[-1])
            return loss, [p.grad for p in self.optimizer.parameters]

        self.recorded = Recorded(work)

    def run(self) -> tuple[Any, list[Any]]:
        """The loss of the batch in the fixed places, and its gradients: as usual a few times, then by the graph."""
        self.runs += 1
        if self.runs <= WARM_UP:
            return self.recorded.run()
        if self.recorded.graph is None:
            try:
                self.recorded.record()
            except GraphError as error:
                raise SettingError(
                    f"--cuda-graph: {error}\n  fix: leave it out; a run that has begun goes on with --resume and "
                    "--no-cuda-graph"
                ) from error
        return self.recorded.launch()


def added(sum_so_far: Any, gradient: Any, parts: int) -> Any:
    """The gradient of a step's batches up to this one. `gradient` is overwritten by the next launch."""
    if gradient is None or sum_so_far is None:
        return sum_so_far if gradient is None else gradient if parts == 1 else gradient.copy()
    sum_so_far += gradient
    return sum_so_far
