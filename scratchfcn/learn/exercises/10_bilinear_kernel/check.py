"""Tents of three, four and five numbers; the weight made of them; and a map of three pixels, upsampled on paper."""

from typing import Any

import numpy as np

from scratchfcn import nn, ops
from scratchfcn.learn import Trial, one_of

SIZES = {1: [1], 2: [1 / 2, 1 / 2], 3: [1 / 2, 1, 1 / 2], 4: [1 / 4, 3 / 4, 3 / 4, 1 / 4]}
SIZES[5] = [1 / 3, 2 / 3, 1, 2 / 3, 1 / 3]
SIZES[6] = [1 / 6, 3 / 6, 5 / 6, 5 / 6, 3 / 6, 1 / 6]


def check(t: Trial) -> None:
    with t.stage("kernel_size: the factors 2, 8, 16 and 32 of FCN-8s, 16s and 32s, and odd ones"):
        for factor, size in ((2, 4), (8, 16), (16, 32), (32, 64), (3, 5), (5, 9), (1, 1)):
            wrong = {
                "an odd factor takes one less: 2·factor - factor % 2": 2 * factor,
                "an even factor takes 2·factor; only an odd one takes one less": 2 * factor - 1,
                "the kernel reaches over two steps: 2·factor - factor % 2": factor,
            }
            t.expect("kernel_size", {"factor": factor}, {"K": size}, known=one_of(wrong))
    with t.stage("tent: up to six numbers"):
        for size in (4, 3, 1, 2, 5, 6):
            t.expect("tent", {"size": size}, {"tent": np.array(SIZES[size], float)}, known=one_of(wrong_tents(size)))
    with t.stage("tent: other sizes"):
        for size in (7, 8, 9, 16, 31, 63, 64):
            expected = {"tent": nn.init.tent(size)}
            t.expect("tent", {"size": size}, expected, by="library", known=one_of(wrong_tents(size)))
    with t.stage("bilinear_weight: one class, three numbers"):
        w = np.array([[[[1 / 4, 1 / 2, 1 / 4], [1 / 2, 1, 1 / 2], [1 / 4, 1 / 2, 1 / 4]]]])
        expect_weight(t, 1, 3, w, "by hand")
    with t.stage("bilinear_weight: every class to itself"):
        for channels, size in ((2, 4), (3, 5), (5, 2), (4, 1)):
            expect_weight(t, channels, size, weight(channels, size), "library")
    with t.stage("upsample: a row of three pixels, twice as large"):
        x = np.array([[[[16, 32, 64]]]], np.float32)
        row = [9, 15, 21, 30, 42, 36]  # ¾ of 12 20 28 40 56 48: above and below are zeros, as at both ends
        expect_map(t, x, 2, np.array([[[row, row]]], np.float32), "by hand")
    with t.stage("upsample: other factors, images and classes"):
        for rng in t.draws(15):
            N, C, H, W, factor = (int(n) for n in rng.integers(1, (3, 4, 5, 5, 7)))
            x = rng.standard_normal((N, C, H, W)).astype(rng.choice([np.float32, np.float64]))
            expect_map(t, x, factor, transposed(x, factor), "library")


def expect_weight(t: Trial, channels: int, size: int, w: np.ndarray, by: str) -> None:
    case, known = {"channels": channels, "size": size}, one_of(wrong_weights(channels, size))
    axes = {"w": ("in-channel", "out-channel", "row", "col")}
    t.expect("bilinear_weight", case, {"w": w}, by=by, known=known, axes=axes)


def expect_map(t: Trial, x: np.ndarray, factor: int, y: np.ndarray, by: str) -> None:
    known = one_of(wrong_maps(x, factor))
    case = {"x": x, "factor": factor}
    t.expect("upsample", case, {"y": y}, by=by, known=known)


def weight(channels: int, size: int) -> np.ndarray:
    w = np.zeros((channels, channels, size, size))
    w[range(channels), range(channels)] = np.outer(nn.init.tent(size), nn.init.tent(size))
    return w


def transposed(x: np.ndarray, factor: int, padding: int | None = None) -> np.ndarray:
    """Upsampled by the library; a padding of None is the right one."""
    w = weight(x.shape[1], 2 * factor - factor % 2).astype(x.dtype)
    return ops.ConvTranspose2d(factor, factor // 2 if padding is None else padding).forward(x, w)


# --- what the usual mistakes lead to ----------------------------------------------------------------------


def wrong_tents(size: int) -> dict[str, Any]:
    right, i, f = nn.init.tent(size), np.arange(size), (size + 1) // 2
    middle = (size - 1) / 2
    wrong = {
        "the tent's numbers are made to add up to 1; its top is 1 - (distance from the centre) / f": right
        / right.sum(),
        "it is the distance itself: subtract it from 1": np.abs(i - middle) / f,
        "distances are not divided by f": 1 - np.abs(i - middle),
        "distances are squared; take |i - centre|": 1 - ((i - middle) / f) ** 2,
        "the square of the tent; the product of two of them comes in bilinear_weight": right**2,
        "|…| is missing: one side of the tent goes on rising": 1 - (i - middle) / f,
        "all ones, a box: that repeats pixels instead of interpolating": np.ones(size),
        "it is 0 at both ends: the tent reaches 0 one step outside of the kernel": 1
        - np.abs(i - middle) / max(middle, 0.5),
    }
    kind = "odd" if size % 2 else "even"
    for centre in (f, f - 1, f - 0.5, size // 2, size / 2):
        if centre != middle:
            sentence = f"the centre is at {centre:g}, but the middle of {size} numbers ({kind}) is at {middle:g}"
            wrong[f"{sentence}: (size - 1) / 2"] = 1 - np.abs(i - centre) / f
    wrong["i counts from 0: the numbers are 0 … size - 1"] = 1 - np.abs(i + 1 - middle) / f
    for reach in (size / 2, size // 2, size // 2 + 1):
        if reach not in (0, f):
            sentence = f"f is {reach:g}; for {size} numbers it is {f}: (size + 1) // 2"
            wrong[sentence] = 1 - np.abs(i - middle) / reach
    return wrong


def wrong_weights(channels: int, size: int) -> dict[str, Any]:
    right, tent = weight(channels, size), nn.init.tent(size)
    kernel = np.outer(tent, tent)
    wrong = {
        "every class is upsampled into every other: only the kernels from a class to itself, w[c, c], hold the tent": (
            np.broadcast_to(kernel, right.shape)
        ),
        "the sum of two tents; a bilinear kernel is their product": (
            np.eye(channels)[:, :, None, None] * np.add.outer(tent, tent)
        ),
        "the mean of two tents; a bilinear kernel is their product": (
            np.eye(channels)[:, :, None, None] * np.add.outer(tent, tent) / 2
        ),
        "the kernel's numbers are made to add up to 1; its top is the product of two tops": right / kernel.sum(),
        "the tent goes along rows only: multiply by the tent along columns": (
            np.eye(channels)[:, :, None, None] * np.broadcast_to(tent, kernel.shape)
        ),
        "the tent goes along columns only: multiply by the tent along rows": (
            np.eye(channels)[:, :, None, None] * np.broadcast_to(tent[:, None], kernel.shape)
        ),
        "divided by the number of classes": right / channels,
        "only the first class has a kernel: w[c, c] for every c": right
        * (np.arange(channels) == 0)[:, None, None, None],
        "the weight has one kernel per class, for a convolution in groups; it is (channels, channels, size, size)": (
            np.broadcast_to(kernel, (channels, 1, size, size))
        ),
        "this is one kernel; the weight is (channels, channels, size, size)": kernel,
    }
    return wrong


def wrong_maps(x: np.ndarray, factor: int) -> dict[str, Any]:
    H, W = x.shape[2] * factor, x.shape[3] * factor
    full, right = transposed(x, factor, 0), transposed(x, factor)
    wrong = {
        "the padding is left out: with padding = factor // 2, H pixels become H·factor": full,
        "the padding is left out, and the surplus cut at the bottom and right: the map is shifted": full[..., :H, :W],
        "pixels are repeated, not interpolated": x.repeat(factor, 2).repeat(factor, 3),
        "resized with its border pixels repeated: that is another operation near the border": (
            ops.ResizeBilinear((H, W)).forward(x)
        ),
        "divided by factor²: the tent needs no scaling, its stamps add up to 1 already": right / factor**2,
    }
    return wrong
