"""12 · crop offset and skip fusion: FCN-32s → 16s → 8s

The coarse scores know what, the fine ones know where; FCN-16s and 8s add them. To be added, two maps must lie on the
same pixels of the image. Where a map lies takes two numbers: its pixel i has its centre at stride·i + start, in pixels
of the image, which itself has stride 1 and start 0. Every layer changes the two:

    convolution or pool     start + stride·((kernel - 1)/2 - padding)        stride·step          (step: its own stride)
    transposed convolution  start - stride·(kernel - 1)/2 / factor           stride/factor        (without padding)

Once two maps have the same stride, the one that starts earlier is cropped: its first pixels go, as many as lie between
the two starts. In the paper's nets, whose first convolution pads by 100, the maps lie at

    scores 32·i + 12.5        pool4 16·i - 91.5        pool3 8·i - 95.5

    FCN-32s   scores ─×32─▶ crop to the image
    FCN-16s   scores ─×2─▶ + (scores of pool4, cropped) ─×16─▶ crop to the image
    FCN-8s    scores ─×2─▶ + (scores of pool4, cropped) ─×2─▶ + (scores of pool3, cropped) ─×8─▶ crop to the image

Paper: section 4.2 and figure 3. The reference implementation has the offsets typed in, as numbers.
"""

import numpy as np

from scratchfcn import ops
from scratchfcn.backend import array_module

_SCORE = (32.0, 12.5)  # (stride, start)
_POOL4 = (16.0, -91.5)
_POOL3 = (8.0, -95.5)


def through_window(stride: float, start: float, kernel: int, step: int, padding: int) -> tuple[float, float]:
    """Stride and start of the map behind a convolution or pool, from those of the map before it."""
    raise NotImplementedError("12 through_window: not written yet")


def through_upsampling(stride: float, start: float, kernel: int, factor: int) -> tuple[float, float]:
    """Stride and start of the map behind a transposed convolution of stride `factor`, without padding."""
    raise NotImplementedError("12 through_upsampling: not written yet")


def crop_offset(stride: float, start: float, reference_start: float) -> int:
    """How many pixels to drop from the front of a map that starts at `start`, so that it starts at `reference_start`.

    Both maps have this stride, and start ≤ reference_start. Returns an int.
    """
    raise NotImplementedError("12 crop_offset: not written yet")


def fuse(skip: np.ndarray, upscore: np.ndarray, offset: int) -> np.ndarray:
    """upscore + the part of skip that lies on the same pixels: from row and column `offset` on, as large as upscore.

    skip: (N, K, H', W'), larger; upscore: (N, K, H, W). Returns (N, K, H, W).
    """
    raise NotImplementedError("12 fuse: not written yet")


def fuse_backward(gy: np.ndarray, skip: np.ndarray, offset: int) -> tuple[np.ndarray, np.ndarray]:
    """The gradients with respect to skip and upscore. gy: (N, K, H, W), skip and offset as above."""
    raise NotImplementedError("12 fuse_backward: not written yet")


def fcn16s(score: np.ndarray, score_pool4: np.ndarray, H: int, W: int) -> np.ndarray:
    """Scores of two maps → scores (N, K, H, W) of every pixel of the image.

    (FCN-32s has one map, and is finished once crop_offset is: _to_image(score, *_SCORE, H, W).)
    """
    raise NotImplementedError("12 fcn16s: not written yet")


def fcn8s(score: np.ndarray, score_pool4: np.ndarray, score_pool3: np.ndarray, H: int, W: int) -> np.ndarray:
    """Scores of three maps → scores (N, K, H, W) of every pixel of the image."""
    raise NotImplementedError("12 fcn8s: not written yet")


# --- finished, for use in fcn16s and fcn8s ----------------------------------------------------------------


def _upsample(x: np.ndarray, factor: int) -> np.ndarray:
    """Bilinear, by a transposed convolution of kernel 2·factor, without padding: a map of (H + 1)·factor rows."""
    tent = 1 - np.abs(np.arange(2 * factor) - factor + 0.5) / factor
    w = np.eye(x.shape[1])[:, :, None, None] * np.outer(tent, tent)  # (K, K, 2·factor, 2·factor)
    return ops.ConvTranspose2d(factor).forward(x, array_module(x).asarray(w, dtype=x.dtype))


def _to_image(x: np.ndarray, stride: float, start: float, H: int, W: int) -> np.ndarray:
    """Upsample a map to stride 1, and crop it to the image: (N, K, H, W). Uses two of the functions above."""
    factor = int(stride)
    offset = crop_offset(*through_upsampling(stride, start, 2 * factor, factor), 0.0)
    return _upsample(x, factor)[:, :, offset : offset + H, offset : offset + W]
