"""Where the paper's maps lie, layer after layer; its crop offsets; and the three maps, put together."""

from typing import Any

import numpy as np

from scratchfcn import nn, ops
from scratchfcn.geometry import Grid, Window
from scratchfcn.learn import Trial, finite_differences, one_of

# VGG16 with the paper's padding of 100: layer, (kernel, step, padding), (stride, start) behind it
VGG16 = [
    ("conv1_1", (3, 1, 100), (1, -99)),
    ("conv1_2", (3, 1, 1), (1, -99)),
    ("pool1", (2, 2, 0), (2, -98.5)),
    ("pool2", (2, 2, 0), (4, -97.5)),
    ("pool3", (2, 2, 0), (8, -95.5)),
    ("pool4", (2, 2, 0), (16, -91.5)),
    ("pool5", (2, 2, 0), (32, -83.5)),
    ("fc6", (7, 1, 0), (32, 12.5)),
]
# layer, (stride, start) before it, (kernel, factor), (stride, start) behind it, start of its reference, crop
UPSAMPLING = [
    ("upscore of FCN-32s", (32, 12.5), (64, 32), (1, -19), 0, 19),
    ("upscore2", (32, 12.5), (4, 2), (16, -11.5), None, None),
    ("upscore16", (16, -11.5), (32, 16), (1, -27), 0, 27),
    ("upscore_pool4", (16, -11.5), (4, 2), (8, -23.5), None, None),
    ("upscore8", (8, -23.5), (16, 8), (1, -31), 0, 31),
    ("upscore of FCN-AlexNet", (32, 13), (63, 32), (1, -18), 0, 18),
]
CROPPED = [("pool4", 16, -91.5, -11.5, 5), ("pool3", 8, -95.5, -23.5, 9)]


def check(t: Trial) -> None:
    with t.stage("through_window: VGG16, layer after layer"):
        stride, start = 1, 0
        for _, window, behind in VGG16:
            expect_window(t, stride, start, window, behind, "by hand")
            stride, start = behind
    with t.stage("through_window: other layers"):
        for rng in t.draws(15):
            kernel, step, padding = (int(n) for n in rng.integers((1, 1, 0), (8, 4, 4)))
            stride, start = random_grid(rng)
            grid = Grid(stride, start).through(Window(kernel, step, padding))
            expect_window(t, stride, start, (kernel, step, padding), (grid.stride, grid.start), "library")
    with t.stage("through_upsampling: the paper's layers, and others"):
        for _, (stride, start), layer, behind, _, _ in UPSAMPLING:
            expect_upsampling(t, stride, start, layer, behind, "by hand")
        for rng in t.draws(10):
            kernel, factor = int(rng.integers(1, 20)), int(2 ** rng.integers(0, 4))
            stride, start = random_grid(rng)
            grid = Grid(stride, start).through(Window(kernel, factor, transposed=True))
            expect_upsampling(t, stride, start, (kernel, factor), (grid.stride, grid.start), "library")
    with t.stage("crop_offset: 5 and 9 for the skips; 19, 27, 31 for the image, 18 for AlexNet"):
        for _, stride, start, reference, crop in CROPPED:
            expect_offset(t, stride, start, reference, crop)
        for _, _, _, (stride, start), reference, crop in UPSAMPLING:
            if crop is not None:
                expect_offset(t, stride, start, reference, crop)

    skip = np.arange(12, dtype=np.float32).reshape(1, 1, 3, 4)
    with t.stage("fuse: a skip of 3 x 4 pixels, from row 1 and column 1 on"):
        upscore = np.array([[[[100, 200]]]], np.float32)
        expect_fused(t, {"skip": skip, "upscore": upscore, "offset": 1}, [[[[105, 206]]]], "by hand")
    with t.stage("fuse: other shapes"):
        for rng in t.draws(10):
            case = random_pair(rng)
            expect_fused(t, case, fused(**case), "library")
    with t.stage("fuse_backward: the same skip"):
        gy = np.array([[[[3, -2]]]], np.float32)
        gradients = {"gskip": [[[[0, 0, 0, 0], [0, 3, -2, 0], [0, 0, 0, 0]]]], "gupscore": gy}
        case, known = {"gy": gy, "skip": skip, "offset": 1}, one_of(wrong_gradients(gy, skip, 1))
        t.expect("fuse_backward", case, gradients, known=known)
    with t.stage("fuse_backward: against finite differences"):
        for rng in t.draws(5):
            skip, upscore, offset = random_pair(rng).values()
            gy = t.upstream(upscore.shape)
            slopes = finite_differences(lambda a, b, offset=offset: fused(a, b, offset), [skip, upscore], gy)
            case, known = {"gy": gy, "skip": skip, "offset": offset}, one_of(wrong_gradients(gy, skip, offset))
            gradients = dict(zip(("gskip", "gupscore"), slopes, strict=True))
            t.expect("fuse_backward", case, gradients, by="finite difference", known=known)

    for function, skips in (("fcn16s", 1), ("fcn8s", 2)):
        with t.stage(f"{function}: scores of the maps that the paper's net makes of small images"):
            for rng in t.draws(6):
                H, W = (int(n) for n in rng.integers(1, 50, 2))
                maps = paper_maps(rng, H, W)[: skips + 1]
                expect_scores(t, function, maps, H, W)


def random_grid(rng: np.random.Generator) -> tuple[float, float]:
    return float(2 ** rng.integers(0, 6)), float(rng.integers(-40, 40) / 2)


def random_pair(rng: np.random.Generator) -> dict[str, Any]:
    N, K, H, W, offset, bottom, right = (int(n) for n in rng.integers((1, 1, 1, 1, 0, 0, 0), (3, 4, 5, 5, 4, 3, 3)))
    skip = rng.standard_normal((N, K, offset + H + bottom, offset + W + right))
    return {"skip": skip, "upscore": rng.standard_normal((N, K, H, W)), "offset": offset}


def paper_maps(rng: np.random.Generator, H: int, W: int) -> list[np.ndarray]:
    """Random scores as large as those of fc7, pool4 and pool3 for an image of H x W."""
    maps = []
    for halvings in (5, 4, 3):
        size = [-(-(n + 198) // 2**halvings) for n in (H, W)]  # padding 100, a 3x3 window, then pools that round up
        maps.append([n - 6 for n in size] if halvings == 5 else size)  # fc6: 7x7
    return [rng.standard_normal((1, 2, *size)) for size in maps]


def expect_window(t: Trial, stride: float, start: float, window: Any, behind: Any, by: str) -> None:
    kernel, step, padding = window
    inputs = {"stride": float(stride), "start": float(start), "kernel": kernel, "step": step, "padding": padding}
    expected = {"stride": float(behind[0]), "start": float(behind[1])}
    others = [dict(zip(inputs, numbers, strict=True)) for numbers in ((4.0, 3.5, 4, 3, 2), (2.0, -5.0, 5, 2, 1))]
    known = t.explained("through_window", wrong_windows, inputs, others, ("stride", "start"))
    t.expect("through_window", inputs, expected, by=by, known=known)


def expect_upsampling(t: Trial, stride: float, start: float, layer: Any, behind: Any, by: str) -> None:
    kernel, factor = layer
    inputs = {"stride": float(stride), "start": float(start), "kernel": kernel, "factor": factor}
    expected = {"stride": float(behind[0]), "start": float(behind[1])}
    others = [dict(zip(inputs, numbers, strict=True)) for numbers in ((16.0, 3.5, 6, 4), (8.0, -5.0, 5, 2))]
    known = t.explained("through_upsampling", wrong_upsamplings, inputs, others, ("stride", "start"))
    t.expect("through_upsampling", inputs, expected, by=by, known=known)


def expect_offset(t: Trial, stride: float, start: float, reference: float, crop: int) -> None:
    wrong = {
        "the sign: reference_start - start": -crop,
        "the starts are in pixels of the image; divide by stride": reference - start,
        "off by one: the pixel at reference_start stays": crop + 1,
        "off by one: so many pixels lie before reference_start, and all of them go": crop - 1,
    }
    inputs = {"stride": float(stride), "start": float(start), "reference_start": float(reference)}
    t.expect("crop_offset", inputs, {"offset": crop}, known=one_of(wrong))


def expect_fused(t: Trial, case: dict[str, Any], y: Any, by: str) -> None:
    t.expect("fuse", case, {"y": y}, by=by, known=one_of(wrong_sums(**case)))


def expect_scores(t: Trial, function: str, maps: list[np.ndarray], H: int, W: int) -> None:
    names = ("score", "score_pool4", "score_pool3")[: len(maps)]
    case = {**dict(zip(names, maps, strict=True)), "H": H, "W": W}
    axes = {"y": ("image", "class", "row", "col")}
    y = put_together(maps, H, W)
    t.expect(
        function, case, {"y": y}, by="library", axes=axes, known=lambda *got: one_of(wrong_scores(maps, H, W))(*got)
    )


# --- the right answers, from the library ------------------------------------------------------------------


def fused(skip: np.ndarray, upscore: np.ndarray, offset: int) -> np.ndarray:
    return ops.Crop(upscore.shape[2:], (offset, offset)).forward(skip) + upscore


def upsampled(x: np.ndarray, factor: int) -> np.ndarray:
    K, tent = x.shape[1], nn.init.tent(2 * factor)
    w = np.eye(K)[:, :, None, None] * np.outer(tent, tent)
    return ops.ConvTranspose2d(factor).forward(x, w)


def put_together(
    maps: list[np.ndarray], H: int, W: int, shift: tuple[int, int, int] = (0, 0, 0), weight: float = 1.0
) -> np.ndarray:
    """FCN-32s, 16s or 8s. shift: what is wrong about the offsets of pool4, pool3 and image; weight: of the skips."""
    y = maps[0]
    for skip, offset, wrong in zip(maps[1:], (5, 9), shift, strict=False):
        y = upsampled(y, 2)
        y = y + weight * skip[:, :, offset + wrong :, offset + wrong :][:, :, : y.shape[2], : y.shape[3]]
    factor, offset = {1: (32, 19), 2: (16, 27), 3: (8, 31)}[len(maps)]
    top = offset + shift[2]
    return upsampled(y, factor)[:, :, top : top + H, top : top + W]


# --- what the usual mistakes lead to ----------------------------------------------------------------------


def wrong_windows(stride: float, start: float, kernel: int, step: int, padding: int) -> dict[str, Any]:
    half = (kernel - 1) / 2
    return {
        "the stride is as before: every layer multiplies it by its own": {"stride": stride},
        "the stride is the layer's own: multiply it by the stride so far": {"stride": step},
        "the new stride is used for start; a window's pixels are the old map's, `stride` apart": {
            "start": start + stride * step * (half - padding)
        },
        "half the window is not multiplied by stride: start is in pixels of the image": {
            "start": start + half - padding
        },
        "the padding's sign: a padded window begins before the map": {"start": start + stride * (half + padding)},
        "the padding is left out": {"start": start + stride * half},
        "kernel/2 instead of (kernel - 1)/2: the centre of 3 pixels is 1 from the first": {
            "start": start + stride * (kernel / 2 - padding)
        },
        "kernel - 1 is not halved": {"start": start + stride * (kernel - 1 - padding)},
        "(kernel - 1)//2 rounds down; windows of 2 have their centre between two pixels": {
            "start": start + stride * ((kernel - 1) // 2 - padding)
        },
        "kernel//2 is a whole number; windows of 2 have their centre between two pixels": {
            "start": start + stride * (kernel // 2 - padding)
        },
        "the start so far is left out: add to it": {"start": stride * (half - padding)},
        "minus half the window: its centre lies behind its first pixel": {"start": start - stride * (half - padding)},
    }


def wrong_upsamplings(stride: float, start: float, kernel: int, factor: int) -> dict[str, Any]:
    fine, half = stride / factor, (kernel - 1) / 2
    return {
        "the stride is multiplied: upsampling divides it": {"stride": stride * factor},
        "the stride is as before: upsampling divides it by its factor": {"stride": stride},
        "the old stride is used for start; the stamp's pixels are the new map's, stride/factor apart": {
            "start": start - stride * half
        },
        "plus half the kernel: a stamp begins before its pixel's centre": {"start": start + fine * half},
        "start is as before: the stamp begins before its pixel's centre": {"start": start},
        "half the kernel is not multiplied by the new stride": {"start": start - half},
        "kernel/2 instead of (kernel - 1)/2": {"start": start - fine * kernel / 2},
        "(kernel - 1)//2 rounds down; an even kernel has its centre between two pixels": {
            "start": start - fine * ((kernel - 1) // 2)
        },
        "kernel - 1 is not halved": {"start": start - fine * (kernel - 1)},
        "start is divided by factor: it is in pixels of the image already": {"start": start / factor - fine * half},
    }


def wrong_sums(skip: np.ndarray, upscore: np.ndarray, offset: int) -> dict[str, Any]:
    H, W = upscore.shape[2:]

    def part(top: int, left: int) -> np.ndarray | None:
        rest = skip[:, :, top:, left:][:, :, :H, :W]
        return rest + upscore if rest.shape == upscore.shape and min(top, left) >= 0 else None

    bottom, right = skip.shape[2] - offset - H, skip.shape[3] - offset - W
    aligned = part(offset, offset)
    wrong = {
        "the offset is ignored: the skip is cropped at the bottom and right only": part(0, 0),
        "the crop is at the wrong side: `offset` rows and columns go at the top and left, what is too much at the "
        "bottom and right": part(bottom, right),
        "the crop is at the wrong side: the skip's last rows and columns are taken; count from the top left": (
            part(skip.shape[2] - H, skip.shape[3] - W)
        ),
        "the skip's middle is taken; the maps need not be concentric: begin at `offset`": (
            part((skip.shape[2] - H) // 2, (skip.shape[3] - W) // 2)
        ),
        "the crop is off by one: it begins at row and column `offset` (+1)": part(offset + 1, offset + 1),
        "the crop is off by one: it begins at row and column `offset` (-1)": part(offset - 1, offset - 1),
        "only the rows are cropped by offset; columns are, too": part(offset, 0),
        "only the columns are cropped by offset; rows are, too": part(0, offset),
        "the mean of the two; add them": aligned / 2,
        "the skip is subtracted; add it": 2 * upscore - aligned,
        "the product of the two; add them": (aligned - upscore) * upscore,
        "the skip only: add upscore": aligned - upscore,
        "upscore only: add the skip": upscore,
        "the larger of the two; add them": np.maximum(aligned - upscore, upscore),
        "the two are put side by side, as channels; add them": np.concatenate([aligned - upscore, upscore], axis=1),
        "the rest of the skip is not cut off at the bottom and right": skip[:, :, offset:, offset:],
    }
    return wrong


def wrong_gradients(gy: np.ndarray, skip: np.ndarray, offset: int) -> dict[str, Any]:
    H, W = gy.shape[2:]

    def placed(top: int, left: int) -> np.ndarray | None:
        gskip = np.zeros_like(skip)
        place = gskip[:, :, top:, left:][:, :, :H, :W]
        if min(top, left) < 0 or place.shape != gy.shape:
            return None
        place[...] = gy
        return gskip

    right = placed(offset, offset)
    ends = skip.shape[2] - H, skip.shape[3] - W
    return {
        "gy is put into the upper left corner: forward took the part that begins at `offset`": {"gskip": placed(0, 0)},
        "gy is put at the wrong side: forward took the part that begins at `offset`, from the top left": {
            "gskip": placed(ends[0] - offset, ends[1] - offset)
        },
        "gy is put into the lower right corner: forward took the part that begins at `offset`": {
            "gskip": placed(*ends)
        },
        "gy is off by one: it begins at row and column `offset` (+1)": {"gskip": placed(offset + 1, offset + 1)},
        "gy is off by one: it begins at row and column `offset` (-1)": {"gskip": placed(offset - 1, offset - 1)},
        "gskip is gy itself; it has to have skip's shape, with 0 where forward cropped": {"gskip": gy},
        "gy is halved; a sum hands all of it to both": {"gskip": right / 2, "gupscore": gy / 2},
        "gupscore is gskip; upscore was not cropped, so it gets gy": {"gupscore": right},
        "what was cropped off the skip gets 1; it had no say in the loss: 0": {"gskip": np.where(right == 0, 1, right)},
    }


def wrong_scores(maps: list[np.ndarray], H: int, W: int) -> dict[str, Any]:
    wrong = {
        "the skips are left out": put_together(maps, H, W, weight=0.0),
        "the mean instead of the sum": put_together([maps[0] / 2, *maps[1:]], H, W, weight=0.5),
        "the skips are not cropped by an offset: they start earlier": put_together(maps, H, W, (-5, -9, 0)),
        "nothing is cropped at the top and left": put_together(maps, H, W, (-5, -9, -31 if len(maps) == 3 else -27)),
        "the upsampled map is not cropped at the top and left: it starts before the image": (
            put_together(maps, H, W, (0, 0, -31 if len(maps) == 3 else -27))
        ),
        "FCN-16s, without pool3": put_together(maps[:2], H, W),
        "FCN-32s, without any skip": put_together(maps[:1], H, W),
    }
    for amount in (1, -1):
        wrong[f"the crop of pool4 is {5 + amount}, off by one: its offset is 5"] = put_together(
            maps, H, W, (amount, 0, 0)
        )
        wrong[f"the crop to the image is off by one ({amount:+d})"] = put_together(maps, H, W, (0, 0, amount))
        if len(maps) == 3:
            wrong[f"the crop of pool3 is {9 + amount}, off by one: its offset is 9"] = put_together(
                maps, H, W, (0, amount, 0)
            )
    if len(maps) == 3:
        wrong["pool3 is cropped by pool4's offset, 5; its own is 9"] = put_together(maps, H, W, (0, -4, 0))
        wrong["the map is cropped to the image by 27, FCN-16s' offset"] = put_together(maps, H, W, (0, 0, -4))
    wrong["the map is cropped to the image by 19, FCN-32s' offset"] = put_together(
        maps, H, W, (0, 0, 19 - (31 if len(maps) == 3 else 27))
    )
    return wrong
