"""The training loop: batch → loss → backward → step, a validation after each epoch, and a checkpoint.

Resuming is exact. Everything the next step depends on is in last.safetensors: weights, running statistics, the
optimiser's arrays, the state of the random generator that dropout and loss sampling draw from, and the number of the
next batch. Nothing else is needed, because the order and augmentation of the data follow from the seed (see
data/loader.py), and the learning rate from the step's number (see optim.py).

A GPU is not waited for. The loop hands it step after step, and looks at their losses when they have arrived, a few
steps later and in order; `progress` counts what is known. Before a checkpoint is written everything has arrived.
"""

from __future__ import annotations

import math
import shlex
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

import numpy as np

from .. import nn, ops, optim
from ..backend import array_module, generator, keep_freed_memory, to_numpy
from ..cuda.numerics import using_deterministic, using_tf32
from ..cuda.transfer import Placed, Readings, Uploader, upload
from ..data import Batch, Compose, Dataset, Loader
from ..files import only_one_process
from ..tensor import NonFiniteError, Tensor, find_non_finite, no_grad
from ..weights import Checkpoint, save
from .augmentation import augmentation, resized
from .captured import CapturedStep
from .config import Config
from .evaluate import Evaluation, Evaluator
from .network import RUN_STATE, Network
from .objective import by_task, check_labels, main_output, segmentation_loss
from .patchwise import sample_loss
from .run_folder import RunFolder, examples
from .step import Step

METRICS = ("pixel_acc", "mean_acc", "mean_iu", "fw_iu")
AHEAD = 8  # batches that a GPU may be given before the loss of the first is known


class TrainingDiverged(FloatingPointError):
    """The loss became NaN or infinite; the message says when, where it first appeared, and what to try."""


class Interrupted(Exception):
    """Ctrl-C (or a termination signal) was noticed between two steps, and the run has been saved."""


@dataclass
class Progress:
    """Where the run stands: the next step belongs to batch `batch` of epoch `epoch`, both counted from 0."""

    epoch: int = 0
    batch: int = 0
    step: int = 0  # steps taken since the start of the run
    loss_sum: float = 0.0  # of this epoch's batches so far
    seconds: float = 0.0  # spent on this epoch's batches so far
    best_mean_iu: float = -1.0
    best_epoch: int = -1


@dataclass
class Taken:
    """A batch that a step was taken with, of `parts`, while its loss is on the way.

    random_state: the generator's before it, so that it can be run again. ends_step: whether it is the step's last.
    """

    batch: Batch
    random_state: dict[str, Any]
    parts: int
    ends_step: bool


class Listener:
    """Told what happens in a run; the command line draws a progress bar from it. Here nothing is drawn."""

    def stopping(self) -> None:
        """Called when Ctrl-C is noticed; the run stops after the current step."""

    def before(self, trainer: Trainer, first_loss: float | None) -> None:
        """Called once, before the first step."""

    def step(self, trainer: Trainer, loss: float) -> None:
        """Called after every step, in order: on a GPU once its loss has arrived, when later ones are under way."""

    def validating(self, done: int, total: int) -> None:
        """Called after every validated image."""

    def epoch(self, trainer: Trainer, row: dict[str, Any], evaluation: Evaluation | None) -> None:
        """Called after every epoch, when its files have been written."""


class Trainer:
    """Trains `network` on `train_set`, validates on `val_set`, and keeps its files in `folder`.

    class_weights: (K,) or None; of several tasks, for the first. Call `fit()`; call `restore(load(folder.last))` first
    to continue a run.
    """

    def __init__(
        self,
        config: Config,
        network: Network,
        train_set: Dataset,
        val_set: Dataset | None,
        folder: RunFolder,
        device: str = "cpu",
        class_weights: Any = None,
        listener: Listener | None = None,
    ) -> None:
        self.config, self.network, self.folder, self.device = config, network, folder, device
        self.val_set = val_set
        self.listener = listener or Listener()
        network.model.to(device)
        keep_freed_memory()
        self.loader = make_loader(config, network, train_set)
        self.evaluator = None if val_set is None else Evaluator(val_set, network.size, config.workers)
        self.total_steps = config.epochs * self.steps_per_epoch
        self.optimizer = make_optimizer(config, network.model)
        self.schedule = make_schedule(config, self.steps_per_epoch)
        step = CapturedStep if config.cuda_graph and device != "cpu" else Step
        self.step = step(network, self.optimizer, class_weights, config.reduction)
        self.readings = Readings(max(AHEAD, config.accumulate))
        self.progress = Progress()
        self.step_loss = 0.0  # of the current step's batches so far
        self.data_fingerprint: dict[str, Any] = {}  # kept in the checkpoint, and compared when resuming
        self.interrupted = threading.Event()
        self.saved_at = (0, 0)  # epoch and step of what last.safetensors holds

    @property
    def steps_per_epoch(self) -> int:
        return math.ceil(len(self.loader) / self.config.accumulate)

    @property
    def class_weights(self) -> Any:
        """Of the loss, (K,), or None."""
        return self.step.class_weights

    @class_weights.setter
    def class_weights(self, weights: Any) -> None:
        self.step.weigh(weights)

    # --- the loop ---

    def fit(self) -> None:
        """Train to the last epoch.

        Errors: TrainingDiverged for a loss that is not finite; Interrupted after Ctrl-C, once the run is saved.
        """
        progress = self.progress
        fresh = progress.step == 0
        gpus, alone = self.numerics(), only_one_process(self.folder.path)
        with gpus, alone, interrupts(self.interrupted, self.listener.stopping):
            self.listener.before(self, self.first_loss() if fresh else None)
            if fresh:
                self.save_last()  # from now on there is something to resume, whatever happens
            while progress.epoch < self.config.epochs:
                self.train_epoch()
                self.finish_epoch()

    @contextmanager
    def numerics(self) -> Iterator[None]:
        """Within this block a GPU calculates as the settings say."""
        config, on_gpu = self.config, self.device != "cpu"
        with using_tf32(on_gpu and config.tf32), using_deterministic(config.deterministic or not on_gpu):
            yield

    def train_epoch(self) -> None:
        """The remaining batches of the current epoch."""
        progress = self.progress
        self.network.model.train()
        self.started, self.step_loss = time.perf_counter() - progress.seconds, 0.0
        step, taken = progress.step, progress.batch  # a GPU's loop is ahead of its progress
        with closing(self.on_device(self.loader.epoch(progress.epoch, start=taken))) as batches:
            while taken < len(self.loader):
                parts = min(self.config.accumulate, len(self.loader) - taken)
                self.take_step(islice(batches, parts), parts, step)
                step, taken = step + 1, taken + parts
                self.learn_of(self.readings.ready())
                self.stop_if_interrupted()
        self.learn_of(self.readings.all())
        self.stop_if_interrupted()

    def stop_if_interrupted(self) -> None:
        """After Ctrl-C: save, and raise Interrupted."""
        if self.interrupted.is_set():
            self.learn_of(self.readings.all())
            self.save_last()
            raise Interrupted

    def on_device(self, batches: Iterable[Batch]) -> Iterator[Placed]:
        """The batches where the network is; the next one is on its way there while one is used."""
        if self.device == "cpu":
            return (Placed(batch.images, batch.labels, batch) for batch in batches)
        return iter(Uploader(batches))

    def take_step(self, batches: Iterable[Placed], parts: int, step: int) -> None:
        """Step number `step`, along the mean of the gradients of `parts` batches. Their losses become readings.

        Errors: TrainingDiverged, where losses are looked at at once.
        """
        self.step.begin(self.schedule(step))
        for i, placed in enumerate(batches, start=1):
            taken = Taken(placed.host, generator().bit_generator.state, parts, i == parts)
            labels = self.labels_of(placed)
            loss = self.step.add(placed.images, labels, parts, partial(self.look, taken))
            self.readings.add(loss, about=taken)
        self.step.finish()

    def labels_of(self, placed: Placed) -> Any:
        """A batch's labels, or a sample of them. What goes to a GPU is looked at here: there, it would mean waiting."""
        if self.device == "cpu":
            return sample_loss(placed.labels, self.config.loss_sampling)
        labels = placed.host.labels
        check_labels(labels, self.network.classes, self.network.tasks)
        if self.config.loss_sampling < 1:
            upload(sample_loss(labels, self.config.loss_sampling), placed.labels)
        return placed.labels

    def learn_of(self, readings: Iterable[tuple[Taken, list[np.ndarray]]]) -> None:
        """Losses are known: once it is all of a step's, the step counts.

        Errors: TrainingDiverged for one that is not finite.
        """
        progress = self.progress
        for taken, (loss,) in readings:
            self.look(taken, loss.item())
            self.step_loss += loss.item()
            if taken.ends_step:
                mean, self.step_loss = self.step_loss / taken.parts, 0.0
                progress.batch += taken.parts
                progress.step += 1
                progress.loss_sum += mean * taken.parts
                progress.seconds = time.perf_counter() - self.started
                self.listener.step(self, mean)

    def train_step(self, batches: Sequence[Batch]) -> float:
        """One step along the mean of the batches' gradients; returns the mean of their losses before it, for which it
        waits. It is no part of the run: the progress stays as it is."""
        with closing(self.on_device(batches)) as placed:
            self.take_step(placed, len(batches), self.progress.step)
        total = 0.0
        for taken, (loss,) in self.readings.all():
            self.look(taken, loss.item())
            total += loss.item()
        return total / len(batches)

    def loss(self, x: Tensor, labels: Any) -> Tensor:
        """The loss of images x (N, C, H, W) with labels (N, H, W), or with a sample of them, in training. Of several
        tasks, with labels (N, H, W, T), it is the sum of theirs."""
        labels = by_task(sample_loss(labels, self.config.loss_sampling), list(self.network.tasks))
        return segmentation_loss(self.network.model(x), labels, self.step.weights_there, self.config.reduction)

    def finish_epoch(self) -> None:
        """Validate, write the log, the pictures and the checkpoints, and move on to the next epoch."""
        progress, folder = self.progress, self.folder
        evaluation = self.validate() if self.validation_is_due else None
        row = self.log_row(evaluation)
        progress.epoch, progress.batch, progress.loss_sum, progress.seconds = progress.epoch + 1, 0, 0.0, 0.0
        better = self.evaluator is None
        if evaluation is not None:
            better = row["mean_iu"] > progress.best_mean_iu or progress.best_epoch < 0
        if better:
            progress.best_mean_iu, progress.best_epoch = float(row["mean_iu"]), row["epoch"]

        per_class = [math.nan] * len(self.network.classes) if evaluation is None else evaluation.confusion.per_class_iu
        folder.append_log(row, self.network.classes, per_class)
        if evaluation is not None:
            folder.draw_validation(row["epoch"], self.val_set, evaluation.predictions)
        if better:
            self.save_best(row)
            if evaluation is not None:
                folder.draw_confusion(evaluation.confusion.matrix, self.network.classes)
        if evaluation is not None or self.evaluator is None:  # drawing takes longer than a GPU's short epoch
            folder.draw_curves()
        self.save_last()
        self.listener.epoch(self, row, evaluation)

    @property
    def validation_is_due(self) -> bool:
        """Whether the current epoch ends with a validation."""
        number = self.progress.epoch + 1
        return self.evaluator is not None and (number % self.config.val_every == 0 or number == self.config.epochs)

    def validate(self) -> Evaluation:
        """How good the network is now. Saves first, for it takes a while, and may be interrupted."""
        self.save_last()
        keep = examples(self.val_set)
        return self.evaluator(self.network, self.device, keep, self.class_weights, self.validating)

    def validating(self, done: int, total: int) -> None:
        """After every validated image: pass it on, and stop here if that is wanted."""
        self.listener.validating(done, total)
        self.stop_if_interrupted()

    def log_row(self, evaluation: Evaluation | None) -> dict[str, Any]:
        """This epoch's line of log.csv; epochs are counted from 1 there."""
        progress = self.progress
        images = len(self.loader) * min(self.config.batch_size, len(self.loader.dataset))
        row = {
            "epoch": progress.epoch + 1,
            "step": progress.step,
            "lr": self.schedule(max(0, progress.step - 1)),
            "train_loss": progress.loss_sum / len(self.loader),
            "val_loss": math.nan if evaluation is None else evaluation.loss,
            "seconds": progress.seconds,
            "images_per_s": images / progress.seconds if progress.seconds else math.nan,
        }
        for metric in METRICS:
            row[metric] = math.nan if evaluation is None else getattr(evaluation.confusion, metric)
        if evaluation is not None:
            return row | evaluation.scores_of_others()
        others = list(self.network.tasks)[1:] if self.evaluator is not None else []
        return row | {f"{task}_{metric}": math.nan for task in others for metric in METRICS}

    def first_loss(self) -> float:
        """The first batch's loss per pixel before any step; with zero score layers it is ln K, whatever the images. Of
        several tasks it is the first one's."""
        batch = next(self.loader.epoch(0))
        labels = batch.labels[..., 0] if self.network.tasks else batch.labels
        self.network.model.eval()
        with no_grad():
            logits = main_output(self.network.model(Tensor(batch.images, device=self.device)))
            return ops.softmax_cross_entropy(logits, labels, self.class_weights).item()

    # --- saving and resuming ---

    def save_last(self) -> None:
        """last.safetensors: the network, and everything that the next step depends on.

        Errors: TrainingDiverged where the last step made a weight NaN or infinite; the file stays as it was.
        """
        broken = self.broken_weights()
        if broken:
            raise self.explained("the weights are not finite", f"weight {broken[0]} holds NaN or infinity")
        arrays = dict(self.network.model.state_dict())
        arrays |= {RUN_STATE + name: array for name, array in self.optimizer.state_dict().items()}
        state = {
            **vars(self.progress),
            "config": self.config.to_plain(),
            "data": self.data_fingerprint,
            "generator": generator().bit_generator.state,
        }
        save(self.folder.last, arrays, {**self.network.metadata(), "run": state})
        self.saved_at = (self.progress.epoch + 1, self.progress.step)

    def save_best(self, row: dict[str, Any]) -> None:
        """best.safetensors: the network alone, with the metrics it reached."""
        others = [f"{task}_{name}" for task in list(self.network.tasks)[1:] for name in METRICS]
        metrics = {name: row[name] for name in ("epoch", *METRICS, *others) if name in row}
        metrics = {name: value for name, value in metrics.items() if math.isfinite(value)}  # none without validation
        save(self.folder.best, self.network.model.state_dict(), {**self.network.metadata(), "metrics": metrics})

    def restore(self, checkpoint: Checkpoint) -> None:
        """Continue from a last.safetensors; the next step will be bit for bit what it would have been."""
        state = dict(checkpoint.metadata["run"])
        random_state = state.pop("generator")
        state = {name: state[name] for name in vars(Progress())}
        run_arrays = {n.removeprefix(RUN_STATE): a for n, a in checkpoint.arrays.items() if n.startswith(RUN_STATE)}
        weights = {n: a for n, a in checkpoint.arrays.items() if not n.startswith(RUN_STATE)}
        self.network.model.load_state_dict(weights)
        self.optimizer.load_state_dict(run_arrays)
        generator().bit_generator.state = random_state
        self.progress = Progress(**state)
        self.saved_at = (self.progress.epoch + 1, self.progress.step)

    # --- when the loss is not finite ---

    def look(self, taken: Taken, loss: float) -> None:
        """Look at a batch's loss, at once or when it has arrived.

        Since a loss that is not finite no weight has changed (see Step), so what happened can be found out later just
        as well. Only running statistics have moved, and a batch run for training does not use them.
        Errors: TrainingDiverged for the first one that is not finite.
        """
        if not math.isfinite(loss):
            self.readings.forget()  # those after it say nothing
            self.step.forgive()  # a run that is restored may go on
            generator().bit_generator.state = taken.random_state
            raise self.diverged(loss, Tensor(taken.batch.images, device=self.device), taken.batch.labels)

    def diverged(self, loss: float, x: Tensor, labels: Any) -> TrainingDiverged:
        """Find out where the first NaN or infinity came from, by running the batch again with every op watched."""
        when = f"the loss is {loss}"
        broken = self.broken_weights()
        if broken:
            more = f" and {len(broken) - 1} more" if len(broken) > 1 else ""
            where = f"weight {broken[0]}{more} held NaN or infinity before this step: the last update overflowed"
            return self.explained(when, where)
        names = {id(p): name for name, p in self.network.model.named_parameters()}
        try:
            with no_grad(), find_non_finite(), np.errstate(all="ignore"):
                self.loss(x, labels)
        except NonFiniteError as error:
            known = [names[id(t)] for t in error.inputs if id(t) in names]
            return self.explained(when, f"first in op {error}" + (f" (weights {known[0]})" if known else ""))
        return self.explained(when, "no single op makes it so: run again with the same seed, it may be the hardware")

    def broken_weights(self) -> list[str]:
        """Names of the parameters that hold a NaN or an infinity."""
        names, weights = zip(*((name, p.data) for name, p in self.network.model.named_parameters()), strict=True)
        xp = array_module(weights[0])
        finite = to_numpy(xp.stack([xp.isfinite(w).all() for w in weights]))  # (P,): a GPU is asked once
        return [name for name, fine in zip(names, finite, strict=True) if not fine]

    def explained(self, what: str, where: str) -> TrainingDiverged:
        """The error, with the time, the place, and a command that goes on from what was saved."""
        (epoch, step), last = self.saved_at, shlex.quote(str(self.folder.last))
        return TrainingDiverged(
            f"epoch {self.progress.epoch + 1}, step {self.progress.step + 1}: {what}\n  {where}\n"
            f"  {self.folder.last} holds the run before epoch {epoch}, step {step + 1}\n"
            f"  fix: a smaller learning rate, from there: scratchfcn train --init {last} --lr {self.config.lr / 10:g} …"
        )


# --- from settings to parts -------------------------------------------------------------------------------


def make_loader(config: Config, network: Network, train_set: Dataset) -> Loader:
    """Batches of the training set, augmented as the settings say; resizing is done once, the rest every time."""
    full_batches = len(train_set) >= config.batch_size  # a small last batch would disturb batch norm
    return Loader(
        resized(config, train_set),
        config.batch_size,
        Compose([*augmentation(config), network.normalise]),
        seed=config.seed,
        workers=config.workers,
        drop_last=full_batches,
    )


def make_optimizer(config: Config, model: nn.Module) -> optim.Optimizer:
    """SGD or Adam over all parameters that are to be learned."""
    groups: list[Any] = [p for p in model.parameters() if p.requires_grad]
    if config.paper_biases:
        groups = optim.paper_groups(model)
        for group in groups:
            group["params"] = [p for p in group["params"] if p.requires_grad]
    if config.optimizer == "sgd":
        return optim.SGD(groups, config.lr, config.momentum, config.weight_decay)
    return optim.Adam(groups, config.lr, weight_decay=config.weight_decay)


def make_schedule(config: Config, steps_per_epoch: int) -> optim.Schedule:
    """The learning rate by step number."""
    if config.schedule == "poly":
        schedule = optim.poly(config.lr, config.epochs * steps_per_epoch, config.power)
    elif config.schedule == "step":
        schedule = optim.step_decay(config.lr, config.step_epochs * steps_per_epoch)
    else:
        schedule = optim.fixed(config.lr)
    return optim.warm_up(schedule, config.warmup_steps) if config.warmup_steps else schedule


@contextmanager
def interrupts(event: threading.Event, notify: Callable[[], None]) -> Iterator[None]:
    """Within this block Ctrl-C and SIGTERM set `event` and call `notify`, so that no step is cut in half; a second one
    stops at once. Signals can be caught in the main thread alone; elsewhere nothing is caught."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def notice(number: int, frame: Any) -> None:
        if event.is_set():
            raise KeyboardInterrupt
        event.set()
        notify()

    before = {number: signal.signal(number, notice) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
