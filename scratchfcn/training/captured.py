"""A training step that is launched as one CUDA graph (`--cuda-graph`): forward, loss, backward and update.

The first kind of batch that comes a second time gets a graph: it is run as usual `WARM_UP` times, to compile kernels
and to let memory grow, then recorded, and launched from then on. Batches of any other kind, such as a smaller last one,
are run as usual throughout; a graph for each would keep the memory of a whole step for each.

The learning rate is no part of the graph, which reads it from a table that is filled before every launch. Where a step
consists of several batches (`--accumulate`), the graph ends with the gradients of one of them, and the update comes as
usual, when they have been added up.
"""

from __future__ import annotations

from itertools import zip_longest
from typing import Any

from ..backend import array_module, is_array
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
        self.gradients: list[Any] = []  # of the last run
        self.kept: list[Any] = []  # the optimiser's arrays, as they were when the graph was recorded
        self.updated = False  # whether the graph has taken this step already

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
        loss, self.gradients = self.run()
        for parameter, sum_so_far, gradient in zip(self.optimizer.parameters, before, self.gradients, strict=True):
            parameter.grad = added(sum_so_far, gradient, parts)
        return loss

    def finish(self) -> None:
        """As `Step.finish`, unless the graph has moved the weights."""
        if not self.updated:
            super().finish()
        self.updated = False

    def prepare(self, kind: Kind, images: Any, labels: Any) -> None:
        """From now on batches of this kind are copied to fixed places, to be worked on there."""
        self.kind = kind
        self.images, self.labels = (array_module(x).empty_like(x) for x in (images, labels))

        def work() -> tuple[Any, list[Any]]:
            self.optimizer.zero_grad()
            loss = Step.add(self, self.images, self.labels, parts=kind[-1])
            if self.updated:
                self.optimizer.apply_step(self.finite)
            return loss, [p.grad for p in self.optimizer.parameters]

        self.recorded = Recorded(work)

    def run(self) -> tuple[Any, list[Any]]:
        """The loss of the batch in the fixed places, and its gradients: as usual a few times, then by the graph."""
        self.runs += 1
        if self.runs <= WARM_UP:
            return self.recorded.run()
        self.updated = self.kind[-1] == 1
        if self.updated:
            for parameter, gradient in zip(self.optimizer.parameters, self.gradients, strict=True):
                parameter.grad = gradient  # which parameters have one is what the optimiser has to know
            self.optimizer.prepare_step()
        kept = [array for state in self.optimizer.state for array in state.values() if is_array(array)]
        if self.recorded.graph is None or any(a is not b for a, b in zip_longest(kept, self.kept)):
            self.record()
            self.kept = kept
        return self.recorded.launch()

    def record(self) -> None:
        """Errors: SettingError for a step that no graph can hold."""
        try:
            self.recorded.record()
        except GraphError as error:
            raise SettingError(
                f"--cuda-graph: {error}\n  fix: leave it out; a run that has begun goes on with --resume and "
                "--no-cuda-graph"
            ) from error


def added(sum_so_far: Any, gradient: Any, parts: int) -> Any:
    """The gradient of a step's batches up to this one. `gradient` is overwritten by the next launch."""
    if gradient is None or sum_so_far is None:
        return sum_so_far if gradient is None else gradient if parts == 1 else gradient.copy()
    sum_so_far += gradient
    return sum_so_far
