"""How images lie in memory: logically (N, C, H, W), physically channel by channel.

Every image in this library has torch's shape (N, C, H, W). In memory, however, the ops write the channel axis
outermost: all pixels of channel 0 of all images, then all of channel 1 … That is the order in which a convolution,
seen as one matrix product over the whole batch, produces its result: a row per output channel, a column per
output pixel. Written this way no op has to transpose anything; `x.transpose(1, 0, 2, 3)` of such an image is a
contiguous array, and reshaping it to rows copies nothing. An image in any other order (one that you made) gives
the same numbers and costs one copy.
"""

from types import ModuleType
from typing import Any

import numpy as np

from ..backend import array_module
from ..cuda import kernels
from ..parallel import share

BLOCK = 1 << 19  # bytes that an op takes at once: few enough to stay in a cache from one pass over them to the next


def channel_rows(x: Any) -> Any:
    """(N, C, H, W) → (C, N·H·W): one row per channel. A view, unless `x` is laid out otherwise."""
    N, C, H, W = x.shape
    return x.transpose(1, 0, 2, 3).reshape(C, N * H * W)


def from_channel_rows(rows: Any, N: int, H: int, W: int) -> Any:
    """(C, N·H·W) → (N, C, H, W): the inverse view."""
    return rows.reshape(rows.shape[0], N, H, W).transpose(1, 0, 2, 3)


def zero_image(xp: ModuleType, shape: tuple[int, int, int, int], dtype: Any) -> Any:
    """A zero image of logical shape (N, C, H, W), stored channel by channel."""
    N, C, H, W = shape
    return xp.zeros((C, N, H, W), dtype).transpose(1, 0, 2, 3)


def padded_planes(x: Any, padding: tuple[int, int, int, int], value: float = 0.0) -> Any:
    """(N, C, H, W) → (C, N, top+H+bottom, left+W+right): the image in a frame of `value`.

    padding: (top, bottom, left, right) in pixels. Without any padding the result is a view.
    """
    N, C, H, W = x.shape
    top, bottom, left, right = padding
    planes = x.transpose(1, 0, 2, 3)  # (C, N, H, W)
    if not any(padding):
        return planes
    framed = array_module(x).empty((C, N, top + H + bottom, left + W + right), x.dtype)

    def fill(block: Any) -> None:
        inner, outer = x[block], framed.transpose(1, 0, 2, 3)[block]  # (N, some C, H, W) and the same with its frame
        outer[:, :, :top], outer[:, :, top + H :] = value, value
        outer[:, :, :, :left], outer[:, :, :, left + W :] = value, value
        outer[:, :, top : top + H, left : left + W] = inner

    share(fill, blocks(x), x)
    return framed


def blocks(x: Any) -> list[Any]:
    """Indices of x (N, C, …) that cut its channels into blocks of about BLOCK bytes, or one channel, for `share`.

    An op that treats every number, or every channel, by itself does one block after the other, on all cores, and on its
    second pass finds the numbers still in the cache. A small x, or one on a GPU, is a single block.
    """
    if x.ndim < 2 or x.nbytes < 2 * BLOCK or not isinstance(x, np.ndarray):
        return [...]
    C = x.shape[1]
    step = max(1, BLOCK * C // x.nbytes)
    return [(slice(None), slice(c, c + step)) for c in range(0, C, step)]


def leading_blocks(x: Any) -> list[Any]:
    """Slices of x's first axis, of about BLOCK bytes or one entry, for what treats every entry (an image, a weight's
    output channel) by itself. A single number, or an array on a GPU, is one block."""
    if x.ndim == 0:
        return [...]
    N = x.shape[0]
    step = max(1, BLOCK * N // max(1, x.nbytes)) if isinstance(x, np.ndarray) else max(1, N)
    return [slice(n, n + step) for n in range(0, N, step)]


def singly(length: int, x: Any) -> list[slice]:
    """Slices that take `length` things one by one; all at once where x lies on a GPU, for which each would be small."""
    return [slice(i, i + 1) for i in range(length)] if isinstance(x, np.ndarray) else [slice(0, length)]


def channel_sums(x: Any) -> Any:
    """(N, C, H, W) → (C,): the sum over all pixels of all images of each channel, as a bias's gradient is."""
    if kernels.fused(x) and kernels.summable(x):
        return kernels.channel_sums(x)
    sums = array_module(x).empty(x.shape[1], x.dtype)

    def add_up(block: Any) -> None:
        sums[... if block is ... else block[1]] = x[block].sum(axis=(0, 2, 3))

    share(add_up, blocks(x), x)
    return sums
