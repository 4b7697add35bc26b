"""Out of memory: how much was asked for, who has what, and what would fit.

Nothing is tried a second time. Before CuPy's pool raises its error it has given back to the GPU what it kept, collected
Python's garbage, and asked again, three times in all; and a step that has ended halfway cannot be taken up again in a
smaller size without changing what is learned. So the command ends, and says which settings would have worked.
"""

from __future__ import annotations

import contextlib
import inspect
import math
import shlex
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..cuda.memory import asked_for, gigabytes, gpu_memory, is_gpus, is_memory_error, let_go

if TYPE_CHECKING:
    from ..training import Network, Trainer

MARK = "\n  fix: "  # what an explained error's text has


@contextmanager
def training_explained(trainer: Trainer) -> Iterator[None]:
    """Errors: MemoryError with advice, in place of one that `trainer` meets within this block."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_memory_error(error):
            raise
        raise MemoryError(about_training(error, trainer)) from error


@contextmanager
def validation_explained(network: Network, device: str, window: tuple[int, int] | None) -> Iterator[None]:
    """The same for a validation on `device`, through windows (h, w) or without."""
    from ..prediction.fitting import smaller_window

    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_memory_error(error):
            raise
        text = what_was_there(error, device)
        let_go(error)
        fix = f"{smaller_window(network, device, window, network.size)} goes through images piece by piece"
        raise MemoryError(text + MARK + fix) from error


def what_was_there(error: BaseException, device: str) -> str:
    """How much was asked for, and on a GPU, how much there is and who has it."""
    asked = asked_for(error)
    if not is_gpus(error):
        return str(error)
    missing = str(error) if asked is None else f"{gigabytes(asked)} more could not be had"
    with contextlib.suppress(RuntimeError):  # a GPU that answers no more
        return f"{missing}\n  {device} has {gpu_memory(device).in_words()}"
    return missing


# --- training ---------------------------------------------------------------------------------------------


def about_training(error: BaseException, trainer: Trainer) -> str:
    """What happened, what a step needs, and which batch, or else which crop, fits."""
    from ..training import Evaluator

    text = what_was_there(error, trainer.device)
    validating = happened_in(error, Evaluator)
    on_gpu = is_gpus(error)
    reached = gpu_memory(trainer.device).used + (asked_for(error) or 0) if on_gpu else 0
    let_go(error)
    if validating:
        return f"{text}\n  this was while validating, an image at a time{MARK}{smaller_validation(trainer)}"
    try:
        return text + Step(trainer, reached).advice()
    except ValueError:  # a size that the network cannot take: then there is nothing to work out
        return f"{text}{MARK}a smaller --batch-size, or smaller images by --crop or --size"


def happened_in(error: BaseException, kind: type) -> bool:
    """Whether a method of this class was under way. The frames' variables are not looked at: Python would keep copies
    of them, and with these the arrays, when the frames let go."""
    codes = {method.__code__ for method in vars(kind).values() if inspect.isfunction(method)}
    return any(frame.f_code in codes for frame, _ in traceback.walk_tb(error.__traceback__))


def smaller_validation(trainer: Trainer) -> str:
    """Images of validation are resized as those of training are, but not cropped."""
    from ..prediction.fitting import window_that_fits

    size = None
    if trainer.device != "cpu":
        size = window_that_fits(trainer.network, trainer.device, trainer.network.size)
    example = "WIDTHxHEIGHT, smaller than now," if size is None else f"{size[1]}x{size[0]}"
    return f"--size {example} makes the images of validation small enough, too"


class Step:
    """What a step of `trainer` takes, and what there is for it, in bytes.

    reached: what was in use, or asked for, when memory ran out. Where that is more than the estimate, which knows the
    shapes of maps but not all that ops need meanwhile, the estimate is raised to it.
    """

    def __init__(self, trainer: Trainer, reached: int = 0) -> None:
        from ..inspection.step_memory import fixed_bytes, growing_bytes
        from ..prediction.fitting import free_memory

        self.trainer, self.model = trainer, trainer.network.model
        self.shape = shape_of_batch(trainer)
        self.fixed = fixed_bytes(self.model, trainer.optimizer)
        growing = growing_bytes(self.model, self.shape)
        self.factor = max(1.0, (reached - self.fixed) / growing)
        self.there = free_memory(trainer.device)
        if self.there is not None and trainer.device != "cpu":  # the weights' share is not free, but it is the step's
            self.there += min(self.fixed, gpu_memory(trainer.device).used)

    def needed(self, shape: tuple[int, ...]) -> float:
        """For images of this shape."""
        from ..inspection.step_memory import growing_bytes

        return self.fixed + self.factor * growing_bytes(self.model, shape)

    def advice(self) -> str:
        """The step in numbers, and what to do, in lines."""
        (N, _, H, W), kind = self.shape, type(self.trainer.optimizer).__name__
        each = (self.needed(self.shape) - self.fixed) / N
        text = (
            f"\n  a step needs about {gigabytes(self.needed(self.shape))}: {gigabytes(self.fixed)} for weights, "
            f"gradients and {kind}, and {gigabytes(each)} for each of {N} image(s) of {W}x{H}, as the shapes of their "
            "maps say"
        )
        if self.factor > 1:
            text += " and the memory in use when it ran out"
        if self.there is None:
            return f"{text}{MARK}a smaller --batch-size, or smaller images by --crop or --size"
        return f"{text}; there are {gigabytes(self.there)}{MARK}{self.fix()}"

    def fix(self) -> str:
        from ..inspection.step_memory import largest_batch, largest_size

        N, C, H, W = self.shape
        batch = largest_batch(lambda n: self.needed((n, C, H, W)), N - 1, self.there)
        if batch:
            accumulate = math.ceil(N * self.trainer.config.accumulate / batch)
            same = f"with --accumulate {accumulate} a step learns from as many images"
            return f"--batch-size {batch} fits; {same}{self.so_far()}"
        option = "--size" if self.trainer.config.crop is None and self.trainer.config.size is not None else "--crop"
        size = largest_size(lambda hw: self.needed((1, C, *hw)), (H, W), self.there)
        if size is not None:
            return f"--batch-size 1 {option} {size[1]}x{size[0]} fits; one whole image does not{self.so_far()}"
        return "a smaller network, or another device: not even one small image fits beside the weights"

    def so_far(self) -> str:
        """How a new run goes on from what this one has learned; a resumed one would keep its settings."""
        if self.trainer.progress.step == 0:
            return ""
        return f"; from where this run is: scratchfcn train --init {shlex.quote(str(self.trainer.folder.last))} …"


def shape_of_batch(trainer: Trainer) -> tuple[int, int, int, int]:
    """(N, C, H, W) of what a step is given. Where neither size nor crop decides it, the next batch is looked at."""
    config, progress = trainer.config, trainer.progress
    size = config.crop or (config.size if config.scale is None else None)
    if size is None:
        batches: Any = trainer.loader.epoch(progress.epoch, start=min(progress.batch, len(trainer.loader) - 1))
        with contextlib.closing(batches):
            size = next(batches).images.shape[2:]
    return config.batch_size, trainer.network.channels, *size
