"""Validation: how well does the network do on images it has not been trained on?

Scores are resized to the masks' full resolution before the best class is taken, so that nothing is gained by
training at a lower one. All pixels of all images go into one confusion matrix, and the metrics come from that (paper,
section 5); they are not means over images.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .. import ops
from ..data import Cached, Dataset, Loader, Resize, resize_label
from ..metrics import ConfusionMatrix
from ..tensor import Tensor, no_grad
from .network import Network, full_size, most_likely
from .objective import main_output


@dataclass
class Evaluation:
    """The result on one data set: the confusion matrix, the mean loss per image, and some predictions to look at."""

    confusion: ConfusionMatrix
    loss: float
    predictions: dict[int, np.ndarray] = field(default_factory=dict)  # image number → uint8 (H, W)


class Evaluator:
    """Validates a network on `dataset` as often as asked; the resized images are kept in memory.

    Images go through one at a time, because photographs and their masks may differ in size.
    """

    def __init__(self, dataset: Dataset, size: tuple[int, int] | None, workers: int = 1) -> None:
        self.dataset = Cached(dataset, Resize(size, label=False) if size is not None else None)
        self.workers = workers

    def __call__(
        self,
        network: Network,
        device: str = "cpu",
        keep: tuple[int, ...] = (),
        class_weights: Any = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Evaluation:
        """Run over the whole data set. keep: numbers of the images whose predictions are wanted; class_weights: (K,),
        for the loss alone."""
        loader = Loader(self.dataset, 1, network.normalise, shuffle=False, workers=self.workers)
        result = Evaluation(ConfusionMatrix(len(network.classes)), 0.0)
        network.model.eval()
        with no_grad():
            for i, batch in enumerate(loader.epoch(0)):
                logits = main_output(network.model(Tensor(batch.images, device=device)))  # (1, K, h, w)
                small = resize_label(batch.labels[0], logits.shape[2:])[None]  # (1, h, w)
                result.loss += ops.softmax_cross_entropy(logits, small, class_weights).item() / len(self.dataset)
                prediction = most_likely(full_size(logits, batch.labels.shape[1:]))  # (1, H, W)
                result.confusion.update(prediction, batch.labels)
                if i in keep:
                    result.predictions[i] = prediction[0]
                if progress is not None:
                    progress(i + 1, len(self.dataset))
        return result
