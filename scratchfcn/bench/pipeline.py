"""Does the loader keep the training step fed?

Two rates are compared. The step's own: the same batch again and again, nothing to load. And the loop's: batches as
`scratchfcn train` gets them, decoded, resized, mirrored and normalised by threads in the background. Both take turns.
The loop is looked at twice: in the first epoch, when every file is read and decoded, and in a later one, when the
resized images are still in memory.

A GPU is not waited for within a round, as little as in training: it may be busy while Python waits for a batch. Whether
it is kept fed is told by the two rates alone.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from itertools import islice, repeat
from pathlib import Path
from typing import Any

from ..backend import synchronize
from ..data import Batch
from ..training import Config, RunFolder, Trainer, new_trainer, open_data
from ..training.trainer import make_loader
from .cases import BenchError

NOWHERE = RunFolder(Path("runs") / "bench")  # a trainer wants a folder; none of what is called here writes to it


def measure_loop(config: dict[str, Any], device: str, rounds: int, steps: int) -> dict[str, Any]:
    """Per pass over the data ("first epoch", "later epochs"): for every round, the seconds of the step alone, of the
    loop, and those of the loop that were spent waiting for a batch.

    config: the settings of a `training.Config`. Errors: DataError, SettingError; BenchError for too little data.
    """
    run = Config.from_plain(config)
    data = open_data(run)
    trainer, _ = new_trainer(run, data, NOWHERE, device)
    ahead = max(trainer.loader.prefetch, trainer.loader.workers)
    used = len(trainer.loader) // rounds  # batches a round; the next one's must not have been read before
    steps = min(steps, used - ahead - 1)
    if steps < 1:
        raise BenchError(
            f"{run.data} has {len(trainer.loader)} batches of {run.batch_size}; {rounds} rounds need at least "
            f"{rounds * (ahead + 2)}: give a smaller --batch-size or fewer --rounds"
        )
    fixed = next(make_loader(run, trainer.network, data.train).epoch(0))  # from a loader with a memory of its own
    trainer.network.model.train()
    take_steps(trainer, [fixed] * 2)
    passes: dict[str, Any] = {}
    for name in ("first epoch", "later epochs"):
        results = []
        for i in range(rounds):
            alone = step_seconds(trainer, fixed, steps)
            loop, waiting = loop_seconds(trainer, trainer.loader.epoch(0, start=i * used), steps)
            results.append({"step": alone, "loop": loop, "waiting": waiting})
        passes[name] = results
    return {"images": steps * run.batch_size, "steps": steps, "model": run.model_name, "passes": passes}


def take_steps(trainer: Trainer, batches: Iterable[Batch]) -> None:
    """A step with each batch, and then the wait for the last."""
    with closing(trainer.on_device(batches)) as placed:
        for batch in placed:
            trainer.take_step([batch], 1, trainer.progress.step)
            for _ in trainer.readings.ready():  # as in training, losses are asked for when they have arrived
                pass
    trainer.readings.forget()
    synchronize(trainer.device)


def step_seconds(trainer: Trainer, batch: Batch, steps: int) -> float:
    """Some steps on one batch."""
    start = time.perf_counter()
    take_steps(trainer, repeat(batch, steps))
    return time.perf_counter() - start


def loop_seconds(trainer: Trainer, batches: Iterator[Batch], steps: int) -> tuple[float, float]:
    """Some steps on the loader's batches, and how much of it was waiting. The first step does not count: the loader
    fills its store meanwhile."""
    waiting = 0.0

    def waited_for() -> Iterator[Batch]:
        nonlocal waiting
        for _ in range(steps):
            asked = time.perf_counter()
            batch = next(batches)
            waiting += time.perf_counter() - asked
            yield batch

    take_steps(trainer, islice(batches, 1))
    start = time.perf_counter()
    take_steps(trainer, waited_for())
    seconds = time.perf_counter() - start
    batches.close()  # ends the loader's threads
    return seconds, waiting
