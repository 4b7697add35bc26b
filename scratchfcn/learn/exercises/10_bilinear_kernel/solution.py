"""10 · bilinear kernel

One formula serves odd and even sizes: the middle of the numbers 0 … K-1 is (K - 1) / 2, on a number or between two.
"""

import numpy as np

from scratchfcn import ops
from scratchfcn.backend import array_module


def kernel_size(factor: int) -> int:
    """2·factor, and one less for odd factors, so that the stamps lie evenly around their pixels"""
    return 2 * factor - factor % 2


def tent(size: int) -> np.ndarray:
    """1 - |i - centre| / f: (size,)"""
    f = (size + 1) // 2
    centre = (size - 1) / 2
    return 1 - np.abs(np.arange(size) - centre) / f


def bilinear_weight(channels: int, size: int) -> np.ndarray:
    """The tent from each class to itself: (channels, channels, size, size)"""
    kernel = np.outer(tent(size), tent(size))  # (size, size)
    return np.eye(channels)[:, :, None, None] * kernel


def upsample(x: np.ndarray, factor: int) -> np.ndarray:
    """x (N, C, H, W) → (N, C, H·factor, W·factor)"""
    xp = array_module(x)
    w = xp.asarray(bilinear_weight(x.shape[1], kernel_size(factor)), dtype=x.dtype)
    return ops.ConvTranspose2d(stride=factor, padding=factor // 2).forward(x, w)
