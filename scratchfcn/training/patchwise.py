"""Patchwise training is loss sampling (paper, section 3.4).

Before fully convolutional networks, one trained on patches: small pieces of images, drawn at random, each with the
label of its middle. A pass over a whole image trains on all its patches at once, one per cell of the output, and the
gradient is the sum of theirs. To draw some of the patches, leave the other cells out of the loss: what they would have
contributed is missing, and nothing else changes.

The paper found no reason to (section 4.3): with p = 0.5 or 0.25 training converges per step as it does with all cells,
and each step then needs 1/p times the images to see as many cells. `scratchfcn train --loss-sampling P` is there to
see that for oneself.

What the loss is of depends on its reduction, and nothing is made up for. "mean" is taken over the cells that were kept:
its expectation is the dense loss (nearly, where class weights make it a quotient of two sums), and only the noise
grows. "sum", the paper's loss, has p times the dense value and gradient in expectation, as if p times the images had
been seen. To make up for that the paper takes 1/p times the images (--batch-size); a learning rate 1/p as large keeps
the size of the step as well.
"""

from typing import Any

from ..backend import array_module, generator


def sample_loss(labels: Any, p: float, ignore_index: int = 255) -> Any:
    """Keep each label with probability p, on its own, and give the others `ignore_index`: (N, H, W) → a new (N, H, W).

    Of labels (N, H, W, T) of several tasks, each pixel is kept for all tasks or for none: a patch is a piece of the
    image, with all that is said of its middle.
    What is kept is drawn from the generator that `manual_seed` restarts; p = 1 keeps everything and draws nothing.
    With reduction="sum" divide loss and gradient by p to have their dense values on average; see above.
    Errors: ValueError unless 0 < p ≤ 1.
    """
    if not 0.0 < p <= 1.0:
        raise ValueError(f"sample_loss: p is the probability of keeping a cell, so 0 < p ≤ 1, got {p}")
    if p == 1.0:
        return labels.copy()
    xp = array_module(labels)
    kept = xp.asarray(generator().random(labels.shape[:3]) < p)  # drawn on the host: one seed, any device
    kept = kept.reshape(kept.shape + (1,) * (labels.ndim - kept.ndim))  # (N, H, W) or (N, H, W, 1)
    return xp.where(kept, labels, labels.dtype.type(ignore_index))
