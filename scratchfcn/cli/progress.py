"""What a run looks like in the terminal: a progress bar while it trains, and a line for each finished epoch."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from ..training import Evaluation, Listener, Trainer


class Bar:
    """A progress bar for work of known length: `with Bar("checking", console) as bar: work(progress=bar.update)`."""

    def __init__(self, title: str, console: Console) -> None:
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            TextColumn("{task.completed}/{task.total}"),
            console=console,
            transient=True,
            disable=not console.is_terminal,  # in a log file, only the lines that stay
        )
        self.task = self.progress.add_task(title, total=None)

    def update(self, done: int, total: int) -> None:
        """`done` of `total` pieces are finished."""
        self.progress.update(self.task, completed=done, total=total)

    def split(self, name: str, done: int, total: int) -> None:
        """The same, naming the split that is being worked on."""
        self.progress.update(self.task, completed=done, total=total, description=f"checking {name}")

    def __enter__(self) -> Bar:
        self.progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.progress.stop()


class TrainingDisplay(Listener):
    """Draws a run: `with TrainingDisplay(console) as display: Trainer(…, listener=display).fit()`."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.progress = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[what]}"),
            TextColumn("loss {task.fields[loss]}  mean IU {task.fields[iu]}"),
            TextColumn("{task.fields[rate]} images/s  {task.fields[left]}"),
            console=console,
            transient=True,
            disable=not console.is_terminal,  # in a log file, only the lines that stay
        )
        self.task: TaskID | None = None
        self.smooth_loss = math.nan
        self.first_step, self.started = 0, 0.0
        self.mean_iu = math.nan

    def __enter__(self) -> TrainingDisplay:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.progress.stop()

    def before(self, trainer: Trainer, first_loss: float | None) -> None:
        """Say how the loss begins, and start the bar."""
        if first_loss is not None:
            classes = len(trainer.network.classes)
            expected = math.log(classes)
            of_head = next((f" of the {task} head" for task in trainer.network.tasks), "")
            self.console.print(
                f"loss{of_head} before training {first_loss:.3f}; knowing nothing about {classes} classes costs "
                f"ln {classes} = {expected:.3f}"
            )
            if abs(first_loss - expected) > 0.1 and trainer.config.init is None:
                self.console.print(
                    "warning: a new network should start there; look at the images' values", style="yellow"
                )
        else:
            self.console.print(f"resuming at epoch {trainer.progress.epoch + 1}, step {trainer.progress.step + 1}")
        self.first_step, self.started = trainer.progress.step, time.perf_counter()
        self.task = self.progress.add_task("", total=len(trainer.loader), **self._fields(trainer))
        self.progress.start()

    def step(self, trainer: Trainer, loss: float) -> None:
        """Advance the bar; the loss shown is averaged over about the last 20 steps."""
        self.smooth_loss = loss if math.isnan(self.smooth_loss) else 0.95 * self.smooth_loss + 0.05 * loss
        self.progress.update(
            self.task, completed=trainer.progress.batch, total=len(trainer.loader), **self._fields(trainer)
        )

    def stopping(self) -> None:
        """Ctrl-C has been noticed."""
        self.console.print("stopping after this step and saving; press Ctrl-C again to stop at once")

    def validating(self, done: int, total: int) -> None:
        """The same bar, while the validation images go through."""
        self.progress.update(self.task, completed=done, total=total, what=f"validating {done}/{total}")

    def epoch(self, trainer: Trainer, row: dict[str, Any], evaluation: Evaluation | None) -> None:
        """Print the epoch's line above the bar."""
        line = f"epoch {row['epoch']:3d}/{trainer.config.epochs}  loss {row['train_loss']:.4f}"
        if evaluation is not None:
            self.mean_iu = row["mean_iu"]
            line += (
                f"  val loss {row['val_loss']:.4f}  pixel acc {row['pixel_acc']:.3f}  mean acc {row['mean_acc']:.3f}"
                f"  mean IU {row['mean_iu']:.4f}  f.w. IU {row['fw_iu']:.3f}"
            )
        line += f"  {row['images_per_s']:.1f} images/s"
        if trainer.progress.best_epoch == row["epoch"] and evaluation is not None:
            line += "  best so far"
        self.console.print(line)
        if evaluation is not None:
            for text in in_words_of_others(row, list(trainer.network.tasks)[1:]):
                self.console.print(f"  {text}")

    def _fields(self, trainer: Trainer) -> dict[str, str]:
        progress = trainer.progress
        elapsed = time.perf_counter() - self.started
        done = progress.step - self.first_step
        left = (trainer.total_steps - progress.step) * elapsed / done if done else math.nan
        images = progress.batch * min(trainer.config.batch_size, len(trainer.loader.dataset))
        rate = images / progress.seconds if progress.seconds else math.nan
        return {
            "epoch": f"{min(progress.epoch + 1, trainer.config.epochs)}/{trainer.config.epochs}",
            "what": f"batch {progress.batch}/{len(trainer.loader)}",
            "loss": f"{self.smooth_loss:.3f}" if done else "–",
            "iu": "–" if math.isnan(self.mean_iu) else f"{self.mean_iu:.3f}",
            "rate": f"{rate:.1f}" if done else "–",
            "left": f"{duration(left)} left" if done else "",
        }


def in_words_of_others(row: Mapping[str, Any], tasks: Sequence[str]) -> list[str]:
    """What a line of the log says of tasks beside the first, if anything: "geometric: pixel acc 0.9430 …"."""
    return [
        f"{task}: pixel acc {float(row[f'{task}_pixel_acc']):.4f}  mean acc {float(row[f'{task}_mean_acc']):.4f}  "
        f"mean IU {float(row[f'{task}_mean_iu']):.4f}  f.w. IU {float(row[f'{task}_fw_iu']):.4f}"
        for task in tasks
        if f"{task}_pixel_acc" in row
    ]


def duration(seconds: float) -> str:
    """90 → "1 min 30 s"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"
