"""10 · bilinear kernel

A transposed convolution (exercise 09) upsamples by whatever its kernel says. With the right kernel it interpolates
bilinearly, and that is what the paper's upsampling layers start from. The kernel is a tent, in rows times in columns:

    f = ⌊(K + 1) / 2⌋        tent[i] = 1 - |i - centre| / f        kernel[i, j] = tent[i] · tent[j]

with the centre in the middle of the K numbers: on the middle one for odd K, between the middle two for even K, so that
4 numbers are ¼ ¾ ¾ ¼ and 3 numbers are ½ 1 ½. To upsample by a factor, stamp this kernel every `factor` pixels:

    K = 2·factor - factor mod 2        stride = factor        padding = ⌊factor / 2⌋

Then H pixels become exactly H·factor. Every class is upsampled by itself: in the layer's weight (C, C, K, K) only the
kernels from a class to itself hold the tent, all others are 0. (Near the border the result fades: beyond it are zeros.)

These weights are made once, before training: plain NumPy, float64.
Paper: section 3.3.
"""

import numpy as np

from scratchfcn import ops


def kernel_size(factor: int) -> int:
    """K for upsampling by `factor`, 1 or more: 2 → 4, 3 → 5."""
    raise NotImplementedError("10 kernel_size: not written yet")


def tent(size: int) -> np.ndarray:
    """The kernel along one axis: (size,), float64; size is 1 or more, odd or even."""
    raise NotImplementedError("10 tent: not written yet")


def bilinear_weight(channels: int, size: int) -> np.ndarray:
    """The weight of the transposed convolution: (channels, channels, size, size), float64."""
    raise NotImplementedError("10 bilinear_weight: not written yet")


def upsample(x: np.ndarray, factor: int) -> np.ndarray:
    """x (N, C, H, W) → (N, C, H·factor, W·factor), of x's dtype, by a transposed convolution with that weight."""
    raise NotImplementedError("10 upsample: not written yet")
