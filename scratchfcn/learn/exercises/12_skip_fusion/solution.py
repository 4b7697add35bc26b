"""12 · crop offset and skip fusion: FCN-32s → 16s → 8s

Keep the books on where each map lies, and the crop offsets come out by themselves: 5 and 27 for the paper's FCN-16s;
5, 9 and 31 for FCN-8s. After a fusion the map lies where the upsampled one lay, since the skip was cropped.
"""

import numpy as np

from scratchfcn import ops
from scratchfcn.backend import array_module

_SCORE = (32.0, 12.5)  # (stride, start)
_POOL4 = (16.0, -91.5)
_POOL3 = (8.0, -95.5)


def through_window(stride: float, start: float, kernel: int, step: int, padding: int) -> tuple[float, float]:
    """The first window's centre is (kernel - 1)/2 from its first pixel, which lies `padding` before the map."""
    return stride * step, start + stride * ((kernel - 1) / 2 - padding)


def through_upsampling(stride: float, start: float, kernel: int, factor: int) -> tuple[float, float]:
    """Pixel 0's stamp begins (kernel - 1)/2 new pixels before its centre."""
    stride = stride / factor
    return stride, start - stride * (kernel - 1) / 2


def crop_offset(stride: float, start: float, reference_start: float) -> int:
    """The distance between the starts, in pixels of these maps"""
    return int((reference_start - start) / stride)


def fuse(skip: np.ndarray, upscore: np.ndarray, offset: int) -> np.ndarray:
    """skip (N, K, H', W'), upscore (N, K, H, W) → (N, K, H, W)"""
    _, _, H, W = upscore.shape
    return upscore + skip[:, :, offset : offset + H, offset : offset + W]


def fuse_backward(gy: np.ndarray, skip: np.ndarray, offset: int) -> tuple[np.ndarray, np.ndarray]:
    """gy goes to both; what was cropped off skip had no say in the loss: 0"""
    _, _, H, W = gy.shape
    gskip = np.zeros_like(skip)
    gskip[:, :, offset : offset + H, offset : offset + W] = gy
    return gskip, gy


def fcn16s(score: np.ndarray, score_pool4: np.ndarray, H: int, W: int) -> np.ndarray:
    """score (N, K, …), score_pool4 (N, K, …) → (N, K, H, W)"""
    return _to_image(*_add_skip(score, *_SCORE, score_pool4, _POOL4[1]), H, W)


def fcn8s(score: np.ndarray, score_pool4: np.ndarray, score_pool3: np.ndarray, H: int, W: int) -> np.ndarray:
    """score, score_pool4, score_pool3, each (N, K, …) → (N, K, H, W)"""
    fused = _add_skip(score, *_SCORE, score_pool4, _POOL4[1])
    return _to_image(*_add_skip(*fused, score_pool3, _POOL3[1]), H, W)


def _add_skip(
    x: np.ndarray, stride: float, start: float, skip: np.ndarray, skip_start: float
) -> tuple[np.ndarray, float, float]:
    """Upsample x twofold and add skip to it; the sum, and its stride and start"""
    stride, start = through_upsampling(stride, start, kernel=4, factor=2)
    return fuse(skip, _upsample(x, 2), crop_offset(stride, skip_start, start)), stride, start


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
