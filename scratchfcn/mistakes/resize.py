"""Bilinear resizing and the bilinear kernel: where an output pixel comes from, off by half a pixel.

y = R · x · Cᵀ      gx = Rᵀ · gy · C      row o of R holds the weights of the pixels around the place o comes from,
                                          (o + ½)·H/OH - ½, or with align_corners o·(H - 1)/(OH - 1)
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from ..ops.im2col import pair
from .common import on_images
from .mistake import FORWARD, Call, Mistake


class Resize:
    """One resize. A wrong idea of where pixels come from makes another matrix."""

    def __init__(self, call: Call) -> None:
        self.x, self.gy = call.inputs[0], call.gy
        self.size, self.corners = pair(call.settings["size"], "size"), call.settings.get("align_corners", False)

    def matrices(self, source: Callable[..., Any] | None = None, corners: bool | None = None) -> tuple[Any, Any]:
        corners = self.corners if corners is None else corners
        source = source or (at_corners if corners else at_squares)
        axes = zip(self.x.shape[2:], self.size, strict=True)
        return tuple(matrix(source, n, out) for n, out in axes)

    def gx(self, matrices: tuple[Any, Any]) -> np.ndarray:
        return matrices[0].T @ self.gy @ matrices[1]

    def y(self, matrices: tuple[Any, Any]) -> np.ndarray:
        return matrices[0] @ self.x @ matrices[1].T


def at_squares(o: np.ndarray, n: int, out: int) -> np.ndarray:
    return (o + 0.5) * n / out - 0.5


def at_corners(o: np.ndarray, n: int, out: int) -> np.ndarray:
    return o * (n - 1) / (out - 1) if out > 1 else 0.0 * o


def matrix(source: Callable[..., Any], n: int, out: int) -> np.ndarray:
    """(out, n), from source(o, n, out), the place that output pixel o comes from."""
    place = np.clip(source(np.arange(out, dtype=float), n, out), 0, n - 1)
    low = np.floor(place).astype(int)
    high = np.minimum(low + 1, n - 1)
    weights = np.zeros((out, n))
    weights[range(out), low] += 1 - (place - low)
    weights[range(out), high] += place - low
    return weights


def without_offset(o: np.ndarray, n: int, out: int) -> np.ndarray:
    return o * n / out


def nearest(o: np.ndarray, n: int, out: int) -> np.ndarray:
    return np.floor(o * n / out)


def nearest_centre(o: np.ndarray, n: int, out: int) -> np.ndarray:
    return np.floor(at_squares(o, n, out) + 0.5)


def too_short(o: np.ndarray, n: int, out: int) -> np.ndarray:
    return o * (n - 1) / out


def too_long(o: np.ndarray, n: int, out: int) -> np.ndarray:
    return o * n / (out - 1) if out > 1 else 0.0 * o


def unclamped(c: Resize) -> tuple[Any, Any] | None:
    """What lies beyond the border counts as 0 instead of as the border pixel."""
    if c.corners:
        return None
    both = []
    for n, out in zip(c.x.shape[2:], c.size, strict=True):
        distance = np.abs(at_squares(np.arange(out), n, out)[:, None] - np.arange(n))
        both.append(np.maximum(0, 1 - distance))
    return tuple(both)


def mirrored_weights(c: Resize) -> tuple[Any, Any]:
    """The nearer pixel gets the smaller weight."""
    both = []
    for right in c.matrices():
        wrong = right.copy()
        for row in wrong:
            used = np.flatnonzero(row)
            row[used] = row[used][::-1]
        both.append(wrong)
    return tuple(both)


def resize(name: str, remedy: str, matrices: Callable[[Resize], Any]) -> list[Mistake]:
    """A wrong matrix makes forward and backward wrong."""

    def array(call: Call, backward: bool) -> Any:
        c = Resize(call)
        both = matrices(c)
        return None if both is None else c.gx(both) if backward else c.y(both)

    return [
        Mistake("resize_bilinear", "x", name, remedy, lambda call: array(call, backward=True)),
        Mistake("resize_bilinear", FORWARD, name, remedy, lambda call: array(call, backward=False)),
    ]


HALF = "Pixels are squares: output pixel o comes from (o + ½)·H/OH - ½, limited to 0 … H - 1."
RESIZE_BILINEAR = [
    *on_images("resize_bilinear"),
    *resize("align_corners is taken the other way round", "False: edges coincide. True: the corner pixels' centres do.",
            lambda c: c.matrices(corners=not c.corners)),
    *resize("the half pixel is missing: o·H/OH", HALF, lambda c: c.matrices(without_offset)),
    *resize("the nearest pixel alone, rounded down", "Both neighbours take part.", lambda c: c.matrices(nearest)),
    *resize("the nearest pixel alone, by its centre", "Both neighbours take part.",
            lambda c: c.matrices(nearest_centre)),
    *resize("the place is o·(H - 1)/OH", HALF, lambda c: c.matrices(too_short)),
    *resize("the place is o·H/(OH - 1)", HALF, lambda c: c.matrices(too_long)),
    *resize("the two weights are exchanged", "The nearer pixel gets the larger weight.", mirrored_weights),
    *resize("what lies beyond the border counts as 0",
            "Beyond the first and last centre the border pixel is repeated.", unclamped),
    Mistake("resize_bilinear", "x", "gx written with = instead of +=",
            "An input pixel is a neighbour of many output pixels, and gets something from each: add with +=.",
            lambda call: last_written(Resize(call))),
    Mistake("resize_bilinear", "x", "gx resized back like an image: the inverse is taken for the transpose",
            "gx = Rᵀ · gy · C: each pixel collects the gradient of every output pixel that it went into.",
            lambda call: resized_back(Resize(call))),
    Mistake("resize_bilinear", "x", "gx resized back and scaled by the ratio of the areas",
            "gx = Rᵀ · gy · C: each pixel collects the gradient of every output pixel that it went into.",
            lambda call: resized_back(Resize(call)) * np.prod(call.gy.shape[2:]) / np.prod(call.inputs[0].shape[2:])),
]  # fmt: skip


def last_written(c: Resize) -> np.ndarray:
    """gx[h, w] = weight · gy[y, x], output pixel after output pixel: the last one that comes from (h, w) stays."""
    gx, (rows, columns) = np.zeros_like(c.x), c.matrices()
    for y, x in np.ndindex(c.gy.shape[2:]):
        for h in np.flatnonzero(rows[y]):
            for w in np.flatnonzero(columns[x]):
                gx[:, :, h, w] = rows[y, h] * columns[x, w] * c.gy[:, :, y, x]
    return gx


def resized_back(c: Resize) -> np.ndarray:
    source = at_corners if c.corners else at_squares
    rows, columns = (matrix(source, out, n) for n, out in zip(c.x.shape[2:], c.size, strict=True))
    return rows @ c.gy @ columns.T


# --- the bilinear kernel ----------------------------------------------------------------------------------


def tent(K: int, factor: float | None = None, centre: float | None = None) -> np.ndarray:
    """1 - |i - centre| / factor; right where these two are left out."""
    factor = (K + 1) // 2 if factor is None else factor
    if centre is None:
        centre = factor - 1 if K % 2 else factor - 0.5
    return np.maximum(0, 1 - np.abs(np.arange(K) - centre) / factor)


def kernel(name: str, remedy: str, wrong: Callable[[int, int], Any]) -> Mistake:
    """wrong(KH, KW) → (KH, KW); a weight (C, C, KH, KW) holds it on its diagonal."""

    def array(call: Call) -> Any:
        KH, KW = pair(call.settings["kernel_size"], "kernel_size")
        one = wrong(KH, KW)
        if one is None or call.gradient is None or call.gradient.ndim == 2:
            return one
        weight = np.zeros((*call.gradient.shape[:2], KH, KW))
        weight[range(min(weight.shape[:2])), range(min(weight.shape[:2]))] = one
        return weight

    return Mistake("bilinear_kernel", FORWARD, name, remedy, array)


def outer(line: Callable[[int], np.ndarray]) -> Callable[[int, int], np.ndarray]:
    return lambda KH, KW: np.outer(line(KH), line(KW))


def cone(KH: int, KW: int) -> np.ndarray:
    """1 - distance / factor, with the distance measured straight across."""
    rows, columns = 1 - tent(KH), 1 - tent(KW)
    return np.maximum(0, 1 - np.hypot(rows[:, None], columns))


def everywhere(call: Call) -> np.ndarray | None:
    """The kernel between all pairs of channels."""
    if call.gradient is None or call.gradient.ndim != 4 or call.gradient.shape[0] < 2:
        return None
    KH, KW = pair(call.settings["kernel_size"], "kernel_size")
    return np.broadcast_to(np.outer(tent(KH), tent(KW)), (*call.gradient.shape[:2], KH, KW))


TENT = "w[i] = 1 - |i - c| / f with f = ⌊(K + 1) / 2⌋ and c = f - 1 for odd K, f - ½ for even K; the kernel is w ⊗ w."
BILINEAR_KERNEL = [
    kernel("the kernel is divided by its sum", "It sums to f², so that every output pixel's weights sum to 1.",
           lambda KH, KW: np.outer(tent(KH), tent(KW)) / np.outer(tent(KH), tent(KW)).sum()),
    kernel("the centre is f - 1 for an even size too", TENT, outer(lambda K: tent(K, centre=(K + 1) // 2 - 1))),
    kernel("the centre is f - ½ for an odd size too", TENT, outer(lambda K: tent(K, centre=(K + 1) // 2 - 0.5))),
    kernel("the centre is K / 2", TENT, outer(lambda K: tent(K, centre=K / 2))),
    kernel("f = K / 2, not rounded", TENT, outer(lambda K: tent(K, K / 2, (K - 1) / 2))),
    kernel("f = K // 2, rounded down", TENT, outer(lambda K: tent(K, max(1, K // 2), (K - 1) / 2))),
    kernel("f = K", TENT, outer(lambda K: tent(K, K, (K - 1) / 2))),
    kernel("f is one too large: weights do not reach 0 just outside the kernel", TENT,
           outer(lambda K: tent(K, (K + 1) // 2 + 1, (K - 1) / 2))),
    kernel("all ones: nearest neighbour", TENT, lambda KH, KW: np.ones((KH, KW))),
    kernel("the two tents are added, not multiplied", "Bilinear: the product of the weights along both axes.",
           lambda KH, KW: tent(KH)[:, None] + tent(KW)),
    kernel("the two tents are averaged, not multiplied", "Bilinear: the product of the weights along both axes.",
           lambda KH, KW: (tent(KH)[:, None] + tent(KW)) / 2),
    kernel("the smaller of the two tents, a pyramid", "Bilinear: the product of the weights along both axes.",
           lambda KH, KW: np.minimum(tent(KH)[:, None], tent(KW))),
    kernel("a cone: 1 - distance / f", "Bilinear: the product of the weights along both axes.", cone),
    Mistake("bilinear_kernel", FORWARD, "every channel feeds every other: the kernel is not on the diagonal alone",
            "Each class is upsampled by itself: w[c, c] = kernel, 0 elsewhere.", everywhere),
]  # fmt: skip

MISTAKES = [*RESIZE_BILINEAR, *BILINEAR_KERNEL]
