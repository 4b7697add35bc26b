"""What sets of values look like: ids spread out to be seen, and black and white with blurred edges.

Whoever opens a mask of ids in a viewer sees black, because 0, 1 and 2 are all nearly black. So programs spread the ids
over 0..255, and others scale a black and white mask with smoothing. Both leave patterns that no ids have by chance.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..palette import IGNORE


def spread(pixels: np.ndarray, used: Sequence[int]) -> list[int] | None:
    """The values of classes, if they are ids spread out over 0..255 to be told apart by eye; else None.

    Either evenly up to 255, which then is a class as well: {0, 85, 170, 255}, {0, 128, 255}. Or in steps of 2 and more,
    half of which at least occur: {0, 40, 80, 160}.

    Args:
        pixels: (256,), how many pixels have each value.
        used: the values except 255 and ignored ones.
    """
    whole = [*used, IGNORE] if pixels[IGNORE] else []
    n = len(whole)
    if 3 <= n <= 64 and all(abs(value - i * IGNORE / (n - 1)) <= 1 for i, value in enumerate(whole)):
        return whole
    step = int(np.gcd.reduce(list(used))) if used else 0
    if len(used) >= 3 and used[0] == 0 and step >= 2 and used[-1] // step + 1 <= 2 * len(used):
        return list(range(0, used[-1] + 1, step))
    return None


def blurred(pixels: np.ndarray) -> bool:
    """Whether values are those of a black and white picture with blurred edges: (256,), pixels of each value.

    0 and 255 have nearly all pixels; and the rest is thinly scattered over all of the greys between, in every eighth of
    them. Forty classes of which the background has most also leave little to each of the others, but not up there.
    """
    between = pixels[1:IGNORE]
    total = int(pixels.sum())
    if total == 0 or pixels[IGNORE] < 0.005 * total or between.sum() > 0.2 * total or between.max() > 0.02 * total:
        return False
    return all((part > 0).sum() >= 3 for part in np.array_split(between, 8))
