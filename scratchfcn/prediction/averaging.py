"""Several looks at one image: enlarged, reduced, mirrored, and the mean of what the network says each time.

A mirrored street is a street, and a car half as large is a car; a trained network agrees only roughly. Its errors
under such changes are partly independent, so that their mean is smaller. Each look is scaled (`scales`), perhaps
mirrored, predicted, and brought back to the image's size and direction; then the looks are averaged.

What is averaged are probabilities, not scores. The softmax does not change when a constant is added to all scores of
a pixel, so scores of two looks have no common zero, and no common scale either: a look that shouts (scores of ±30,
on an object larger than any seen in training) would outvote all others, as the mean of scores is a *product* of
probabilities. A probability counts at most 1 whoever says it, and the mean of probabilities is one again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from .. import ops
from ..data import resize_image
from ..tensor import Tensor
from ..training.network import Network, full_size

Size = tuple[int, int]


class Look(NamedTuple):
    """What the network said of the image at one scale, perhaps in the mirror."""

    scores: Tensor  # (1, K, h, w), at the size it was shown
    mirrored: bool

    def probabilities(self, size: Size) -> np.ndarray:
        """float32 (K, *size), in the image's direction. The scores are resized, then the softmax is taken."""
        p = ops.softmax(full_size(self.scores, size), axis=1).numpy()[0]
        return p[:, :, ::-1] if self.mirrored else p


def looks(
    network: Network, image: np.ndarray, seen: Size, scales: Sequence[float], flip: bool, device: str | None
) -> Iterator[Look]:
    """All looks at an image.

    Args:
        network: its layers' modes are left as they are.
        image: uint8 (H, W, C).
        seen: (height, width) to which the image is resized at scale 1.
        scales: factors of that size.
        flip: look at each scale in the mirror, too.
        device: where the network is; None asks it.
    """
    for scale in scales:
        resized = resize_image(image, scaled(seen, scale))  # (h, w, C)
        x = network.normalise(resized, None)[0][None]  # (1, C, h, w)
        yield Look(network.logits(x, device), mirrored=False)
        if flip:
            yield Look(network.logits(np.ascontiguousarray(x[:, :, :, ::-1]), device), mirrored=True)


def scaled(size: Size, scale: float) -> Size:
    """`size` times `scale`, in whole pixels, at least 1."""
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def mean(opinions: Iterator[np.ndarray]) -> np.ndarray:
    """The mean of arrays of one shape, of which only two are in memory at a time; a single one is returned as it is."""
    total = next(opinions)
    count = 1
    for count, opinion in enumerate(opinions, 2):
        total = total + opinion if count == 2 else np.add(total, opinion, out=total)
    return total if count == 1 else np.divide(total, np.float32(count), out=total)
