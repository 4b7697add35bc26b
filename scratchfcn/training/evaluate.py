"""Validation: how well does the network do on images it has not been trained on?

Scores are resized to the masks' full resolution before the best class is taken, so that nothing is gained by
training at a lower one. All pixels of all images go into one confusion matrix, and the metrics come from that (paper,
section 5); they are not means over images. Scores of single images are kept as well, but only to find the images that
are worth looking at.

Of several tasks (two heads), the first is measured in full and decides which epoch is best; each further one has a
confusion matrix of its own. The loss is then the sum of all, as in training.

On a GPU, images follow each other without being waited for. What is counted is counted there, and the few numbers that
come of it arrive a little later; predictions stay, unless somebody wants to look at them.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from ..backend import device_of, on_gpu
from ..cuda.transfer import Readings, sent
from ..data import Batch, Cached, Classes, Dataset, Loader, Resize, resize_label
from ..metrics import BoundaryF1, ConfusionMatrix
from ..tensor import Tensor, no_grad
from .network import Network, full_size, most_likely
from .objective import by_task, check_labels, main_output, segmentation_loss


class Outcome(NamedTuple):
    """What became of an image. prediction: uint8 (H, W), and loss: a number, both where the network is; label: the
    host's uint8 (H, W); others: prediction and label of each further task, by its name."""

    prediction: Any
    label: np.ndarray
    loss: Any
    others: dict[str, tuple[Any, np.ndarray]] = {}  # noqa: RUF012  never written to


@dataclass(frozen=True)
class ImageScore:
    """How one image did. mean_iu: over the classes that its truth shows; boundary_f1: NaN where it was not asked for.

    NaN stands for what cannot be measured, in an image without a labelled pixel, for example.
    """

    number: int
    name: str
    loss: float
    pixel_acc: float
    mean_iu: float
    boundary_f1: float


@dataclass
class Evaluation:
    """The result on one data set: the confusion matrix, the mean loss per image, and some predictions to look at.

    boundary: boundary F1, where it was asked for. images: each image's own scores, in the data set's order.
    others: the confusion matrices of further tasks.
    """

    confusion: ConfusionMatrix
    loss: float
    predictions: dict[int, np.ndarray] = field(default_factory=dict)  # image number → uint8 (H, W)
    boundary: BoundaryF1 | None = None
    images: list[ImageScore] = field(default_factory=list)
    others: dict[str, ConfusionMatrix] = field(default_factory=dict)

    def scores_of_others(self) -> dict[str, float]:
        """The four measures of each further task, by name: "geometric_pixel_acc" …"""
        return {
            f"{task}_{name}": score for task, matrix in self.others.items() for name, score in matrix.scores().items()
        }

    def add(self, name: str, prediction: Any, label: np.ndarray, loss: float, counts: Any = None) -> ImageScore:
        """Count one more image's prediction, (H, W) like its label; returns its own scores.

        counts: what `counted` has counted already; then the prediction is needed for boundary F1 alone.
        """
        alone = self.confusion.empty()
        if counts is None:
            alone.update(prediction, label)
        else:
            alone.add_state(counts)
        self.confusion += alone
        f1 = float("nan") if self.boundary is None else self.boundary.update(prediction, label)[0]
        score = ImageScore(len(self.images), name, loss, alone.pixel_acc, iu_of_shown_classes(alone), f1)
        self.images.append(score)
        return score


Probabilities = Callable[[np.ndarray], np.ndarray]


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
        boundaries: bool = False,
        each: Callable[[ImageScore, np.ndarray], None] | None = None,
    ) -> Evaluation:
        """Run over the whole data set. keep: numbers of the images whose predictions are wanted; class_weights: (K,),
        for the loss alone; boundaries: measure boundary F1, too; each: called with every image's scores and prediction,
        uint8 (H, W)."""
        K, left_out, count = len(network.classes), unscored(self.dataset.classes), len(self.dataset)
        boundary = BoundaryF1(K, unscored=left_out) if boundaries else None
        result = Evaluation(ConfusionMatrix(K, unscored=left_out), 0.0, boundary=boundary)
        for task, classes in list(self.dataset.tasks.items())[1:]:
            result.others[task] = ConfusionMatrix(len(classes), unscored=unscored(classes))

        def wanted(i: int) -> bool:
            return boundaries or each is not None or i in keep

        def take_in(i: int, label: np.ndarray, loss: np.ndarray, *arrays: np.ndarray) -> None:
            """Image i: its loss, what was counted for each task and, where it was wanted, its prediction."""
            counts, *others, prediction = arrays if wanted(i) else (*arrays, None)
            score = result.add(self.dataset.name(i), prediction, label, loss.item(), counts)
            result.loss += loss.item() / count
            for matrix, state in zip(result.others.values(), others, strict=True):
                matrix.add_state(state)
            if i in keep:
                result.predictions[i] = prediction
            if each is not None:
                each(score, prediction)
            if progress is not None:
                progress(i + 1, count)

        readings = Readings()
        try:
            for i, outcome in enumerate(self.outcomes(network, device, class_weights)):
                prediction = [outcome.prediction] if wanted(i) else []
                readings.add(outcome.loss, *counted(outcome, result), *prediction, about=(i, outcome.label))
                for about, values in readings.ready():
                    take_in(*about, *values)
            for about, values in readings.all():
                take_in(*about, *values)
        finally:
            readings.forget()
        return result

    def outcomes(self, network: Network, device: str, class_weights: Any) -> Iterator[Outcome]:
        """What the network makes of each image."""
        loader = Loader(self.dataset, 1, network.normalise, shuffle=False, workers=self.workers)
        network.model.eval()
        if class_weights is not None and device != "cpu":  # once, not for every image
            class_weights = sent(np.asarray(class_weights, np.float32), device)
        for batch in loader.epoch(0):
            yield self.outcome(network, device, batch, class_weights)

    def outcome(self, network: Network, device: str, batch: Batch, class_weights: Any) -> Outcome:
        """Prediction and loss for a batch of one image. The loss is that of the scores at their own size, as in
        training."""
        tasks = list(self.dataset.tasks)
        with no_grad():
            output = network.model(Tensor(sent(batch.images, device), device=device))
            logits = main_output(output, network.task)  # (1, K, h, w)
            small = resize_label(batch.labels[0], logits.shape[2:])[None]  # (1, h, w) or (1, h, w, T)
            if device != "cpu":  # looked at there, it would mean waiting
                check_labels(small, network.classes, network.tasks if tasks else {})
            labels = by_task(sent(small, device), tasks)
            loss = segmentation_loss(output if tasks else logits, labels, class_weights, checked=device != "cpu").data
            size = batch.labels.shape[1:3]
            if not tasks:
                return Outcome(most_likely_class(logits, size), batch.labels[0], loss)
            found = {task: most_likely_class(scores, size) for task, scores in output.items()}  # (H, W) each
        return in_order(found, by_task(batch.labels[0], tasks), loss)


class ProbabilityEvaluator(Evaluator):
    """The same with another way to predict: `probabilities` makes float32 (K, H, W) of an image uint8 (H, W, C).

    So several scales, windows or mirrored images can be validated (see `prediction.Predictor`). The loss is the mean
    of -ln p over the labelled pixels at the mask's own size; class weights have no part in it. Of several tasks,
    `others` predicts each further one, by name.
    """

    def __init__(self, dataset: Dataset, probabilities: Probabilities, **others: Probabilities) -> None:
        super().__init__(dataset, None, workers=0)
        self.probabilities, self.others = probabilities, others

    def outcomes(self, network: Network, device: str, class_weights: Any) -> Iterator[Outcome]:
        tasks = list(self.dataset.tasks)
        ways = dict(zip(tasks or [""], [self.probabilities, *self.others.values()], strict=True))
        for i in range(len(self.dataset)):
            image, label = self.dataset.read(i)
            labels = by_task(label, tasks) if tasks else {"": label}
            found, loss = {}, 0.0
            for task, probabilities in ways.items():
                p = probabilities(image)  # (K, H, W)
                found[task] = p.argmax(axis=0).astype(np.uint8)
                loss += cross_entropy(p, labels[task], self.dataset.classes.ignore_index)
            yield in_order(found, labels, np.float64(loss))


def cross_entropy(p: np.ndarray, label: np.ndarray, ignore_index: int) -> float:
    """The mean of -ln p of the right classes: probabilities (K, H, W), labels (H, W); 0 where nothing is labelled."""
    kept = label != ignore_index
    right = np.take_along_axis(p, np.where(kept, label, 0)[None].astype(np.intp), 0)[0][kept]  # (n,)
    return float(-np.log(np.maximum(right, np.finfo(np.float32).tiny)).mean()) if len(right) else 0.0


def most_likely_class(logits: Tensor, size: tuple[int, int]) -> Any:
    """Class scores (1, K, h, w) → the most likely class of every pixel, at `size`: uint8 (H, W), where they are."""
    scores = full_size(logits, size)
    if not on_gpu(scores.data):
        return most_likely(scores)[0]
    return scores.data[0].argmax(axis=0).astype("uint8")


def counted(outcome: Outcome, result: Evaluation) -> list[Any]:
    """What `ConfusionMatrix.add_state` takes, for each task: counts of one image, where its prediction is."""
    states = []
    pairs = [(outcome.prediction, outcome.label), *outcome.others.values()]
    for matrix, (prediction, label) in zip([result.confusion, *result.others.values()], pairs, strict=True):
        alone = matrix.empty()
        alone.update(prediction, sent(label, device_of(prediction)), checked=True)
        states.append(alone.state())
    return states


def in_order(found: dict[str, Any], labels: dict[str, np.ndarray], loss: Any) -> Outcome:
    """Predictions and labels of all tasks, (H, W) each, as an outcome of the first and others."""
    (prediction, label), *_ = pairs = [(found[task], labels[task]) for task in labels]
    return Outcome(prediction, label, loss, dict(zip(list(labels)[1:], pairs[1:], strict=True)))


def unscored(classes: Classes) -> tuple[int, ...]:
    """Numbers of the classes that a data set leaves out of the means."""
    return tuple(classes.names.index(name) for name in classes.unscored)


def iu_of_shown_classes(confusion: ConfusionMatrix) -> float:
    """Mean IU of one image, over the classes that its truth shows; NaN if there is none.

    `ConfusionMatrix.mean_iu` counts classes that are only predicted as well. Over a data set that makes no difference,
    but in a single image three stray pixels of a class that is not there would cost as much as a car not found.
    """
    shown = confusion.matrix.sum(axis=1) > 0  # (K,)
    shown[list(confusion.unscored)] = False
    return float(confusion.per_class_iu[shown].mean()) if shown.any() else float("nan")
