"""What would fit? The largest batch, crop or window for so much memory.

A training step holds two kinds of things. The weights, their gradients and what the optimiser keeps for each of them
are there whatever the images are. Maps, and what the ops keep for backward, grow with the pixels; they are worked out
from the shapes alone (summary_memory.py), which takes milliseconds and no memory. Estimates are rather too small than
too large, so what is said to fit leaves some room: `ROOM`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..nn import Module
from ..optim import Optimizer
from ..tensor import Tensor
from .shapes import Shape
from .summary import loss_of, modes_kept
from .summary_memory import memory_of

ROOM = 0.9  # of what is there: the allocator's blocks do not fit together without gaps
STEP = 32  # crops and windows are whole multiples of it: the networks halve their maps five times


def fixed_bytes(model: Module, optimizer: Optimizer) -> int:
    """Weights, gradients, and the optimiser's arrays for each weight, as they are after the first step."""
    everything = sum(p.data.nbytes for p in model.parameters())
    learned = sum(p.data.nbytes for p in optimizer.parameters)
    return everything + learned * (1 + len(optimizer.slots))


def growing_bytes(model: Module, shape: Shape, loss: Callable[[Any], Tensor] = loss_of) -> int:
    """What a training step on images of `shape` (N, C, H, W) holds at most beside that: the images, all maps, what is
    kept for backward, and the gradients of maps.

    Errors: ValueError for images that the network cannot take.
    """
    like = next(model.parameters()).data
    pixels = shape[0] * shape[2] * shape[3]
    images = pixels * shape[1] * like.itemsize + pixels  # and a byte a label
    with modes_kept(model):
        model.train()
        return images + memory_of(model, shape, loss).peak


def estimate_step_bytes(model: Module, optimizer: Optimizer, shape: Shape) -> int:
    """All that a training step on images of `shape` holds at once."""
    return fixed_bytes(model, optimizer) + growing_bytes(model, shape)


def prediction_bytes(model: Module, shape: Shape) -> int:
    """What a prediction for images of `shape` holds at most beside the weights."""
    like = next(model.parameters()).data
    with modes_kept(model):
        model.eval()
        return shape[0] * shape[1] * shape[2] * shape[3] * like.itemsize + memory_of(model, shape).peak


# --- the largest that fits --------------------------------------------------------------------------------


def largest_batch(needed: Callable[[int], float], most: int, there: int) -> int:
    """The largest batch of at most `most` images that `needed(images)` bytes allow; 0 where not even one fits."""
    low, high = 0, most  # `low` fits, `high + 1` does not
    while low < high:
        middle = (low + high + 1) // 2
        if needed(middle) <= ROOM * there:
            low = middle
        else:
            high = middle - 1
    return low


def largest_size(
    needed: Callable[[tuple[int, int]], float], size: tuple[int, int], there: int
) -> tuple[int, int] | None:
    """The largest (h, w) of about the proportions of `size`, and no larger, that `needed((h, w))` bytes allow;
    None where none does. Sizes that the network cannot take (a ValueError) do not fit either."""
    steps = max(size) // STEP
    low, best = 0, None
    while low < steps:
        middle = (low + steps + 1) // 2
        h, w = smaller(size, middle * STEP)
        if fits(needed, (h, w), there):
            low, best = middle, (h, w)
        else:
            steps = middle - 1
    return best


def smaller(size: tuple[int, int], longer: int) -> tuple[int, int]:
    """`size` with its longer side made `longer`, and the other one the nearest multiple of STEP below it."""
    return tuple(min(n, max(STEP, n * longer // max(size) // STEP * STEP)) for n in size)


def fits(needed: Callable[[tuple[int, int]], float], size: tuple[int, int], there: int) -> bool:
    try:
        return needed(size) <= ROOM * there
    except ValueError:
        return False
