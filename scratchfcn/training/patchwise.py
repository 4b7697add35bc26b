"""Patchwise training is loss sampling (paper, section 3.4).

Before fully convolutional networks, one trained on patches: small pieces of images, drawn at random, each with the
label of its middle. A pass over a whole image trains on all its patches at once, one per cell of the output, and the
gradient is the sum of theirs. To draw some of the patches, leave the other cells out of the loss: what they would have
contributed is missing, and nothing else changes.

The paper found no reason to (section 4.3): with p = 0.5 or 0.25 training converges per step as it does with all cells,
and each step then needs 1/p times the images to see as many cells.
"""

from typing import Any

from ..backend import array_module, generator


def sample_loss(labels: Any, p: float, ignore_index: int = 255) -> Any:
    """Keep each label with probability p, on its own, and give the others `ignore_index`: (N, H, W) → a new (N, H, W).

    What is kept is drawn from the generator that `manual_seed` restarts.

    With reduction="sum", loss and gradient have p times their dense value on average: divide by p. With "mean" they are
    averaged over the cells that were kept.
    Errors: ValueError unless 0 < p ≤ 1.
    """
    if not 0.0 < p <= 1.0:
        raise ValueError(f"sample_loss: p is the probability of keeping a cell, so 0 < p ≤ 1, got {p}")
    xp = array_module(labels)
    kept = xp.asarray(generator().random(labels.shape) < p)  # drawn on the host: one seed, any device
    return xp.where(kept, labels, labels.dtype.type(ignore_index))
