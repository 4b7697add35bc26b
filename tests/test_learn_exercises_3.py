"""Every exercise once more, as an examiner would: other mistakes than in the two files before, and other right ways.

What is said has to be true. Where no cause can be named, the test asks for the place or the pattern instead.
"""

from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest

from scratchfcn.learn import Result, find, run, trial
from scratchfcn.learn.compare import pattern, pattern_of_shape

UNNAMED = "known mistake: none that I recognise"


def result_of(number: str, source: str, folder: Path) -> Result:
    """Check `source` as if a learner had written it."""
    exercise = find(number)
    file = folder / exercise.file_name
    file.write_text(source, encoding="utf-8")
    return run(exercise, file)


PLANTED = [
    ("01", "stride + 1", "stride + 2", "yours 4 by hand 3 call"),
    ("01", "size + 2 * padding - span", "size - kernel", "neither padding nor dilation is counted"),
    (
        "01",
        "(size + 2 * padding - span) // stride",
        "round((size + 2 * padding - span) / stride)",
        "rounded to the nearest",
    ),
    (
        "01",
        "(size + 2 * padding - span) // stride + 1",
        "len(range(0, size + 2 * padding - span, stride))",
        "a window that ends just where the row does is not counted",
    ),
    ("01", "    return (", "    print(size, kernel)\n    (", "end it with `return windows`; print() only shows"),
    ("02", "window, w, axes", "window, w.swapaxes(2, 3), axes", "rows and columns are exchanged. w[o, c, i, j]"),
    ("02", "y[:, :, oh, ow]", "y[:, :, ow % OH, oh % OW]", "pattern: rows and columns are exchanged"),
    ("02", "b[:, None, None]", "b[0]", "the first bias for every output channel"),
    ("02", "(padding, padding)))", '(padding, padding)), mode="reflect")', f"only the border is wrong {UNNAMED}"),
    ("02", "return y + b[:, None, None]", "return np.maximum(y + b[:, None, None], 0)", UNNAMED),
    ("02", "return y + b", "return y / (KH * KW) + b", "a mean over the window instead of a sum"),
    ("03", "gw += np.tensordot(g, x[:, :,", "gw += np.tensordot(g, x[:, ::-1,", "the right numbers in other places"),
    ("03", "return gx, gw,", "return gx, gw.swapaxes(0, 1),", "the order of its axes: .transpose(1, 0, 2, 3) mends it"),
    (
        "03",
        "gy.sum(axis=(0, 2, 3))",
        "gy.sum(axis=(0, 2, 3))[:, None]",
        "in the right order: only the shape is another",
    ),
    ("03", "return gx, gw,", "return gw, gx,", "returns its results in the wrong order fix: `return gx, gw, gb`"),
    ("03", "return gx, gw,", "return None, gw,", "gx is None; an array of shape (1, 1, 3, 3) is expected"),
    (
        "03",
        "return gx, gw, gy.sum(axis=(0, 2, 3))",
        "return gx, gw, gy.sum() * (gy[0, :, 0, 0] == gy[0, :, 0, 0])",
        "gb",
    ),
    ("04", "N * OH * OW)", "N * OH * OW).T", "the windows are rows: the result is transposed"),
    ("04", "return cols.", "return cols[:, ::-1, ::-1].", "the taps are in reverse order"),
    ("04", "return cols.", "return cols.swapaxes(4, 5).", "the columns are ordered N, OW, OH"),
    ("05", "padding : padding + W]", "padding : padding + W] / (KH * KW)", "yours × 4 = expected, everywhere"),
    ("05", "padding : padding + H, padding : padding + W", "padding:-padding, padding:-padding", "yours is empty"),
    ("06", "gy * (x > 0)", "gy * (gy > 0) * (x > 0)", "it is x alone that decides; negative gy pass, too"),
    ("06", "gy * (x > 0)", "gy * np.sign(x)", "np.sign(x) is -1 there"),
    ("06", "gy * (x > 0)", "gy * (x > 1)", UNNAMED),
    ("06", "np.maximum(x, 0)", "np.maximum(x, 0.01 * x)", "not a hundredth of x"),
    ("06", "np.maximum(x, 0)", "(x > 0).astype(x.dtype)", "1 where x > 0; y is x there"),
    ("06", "np.maximum(x, 0)", "np.maximum(x, 0, out=x)", "relu changes its argument x"),
    ("06", "np.maximum(x, 0)", "np.clip(x, 0, 6)", UNNAMED),  # ReLU6
    ("07", "windows.argmax", "windows.argmin", "y ok WINNER wrong winner shape (1,1,2,2) 4 of 4"),
    (
        "07",
        "return windows.max(axis=0), windows.argmax(axis=0)",
        "return windows.argmax(axis=0), windows.max(axis=0)",
        "in the wrong order fix: `return y, winner`",
    ),
    ("07", "return windows.max", "return abs(windows).max", "the largest absolute value"),
    ("07", "+= gy * (winner == k)", "+= winner == k", "gy is left out"),
    ("08", "keepdims=True)\n", "keepdims=True) / 2\n", "e^x overflows, or log 0"),
    ("08", "return gx * (gy", "return gx.transpose(0, 2, 3, 1) * (gy", ".transpose(0, 3, 1, 2) mends it"),
    ("08", "-= 1", "-= gy", UNNAMED),
    ("08", ".sum() / max", ".sum(keepdims=True) / max", "loss has shape (1,), expected () pattern: the right numbers"),
    ("08", "np.exp(_log_softmax(x)) *", "1 / (1 + np.exp(-x)) *", UNNAMED),
    (
        "08",
        "return -_log_softmax(x)[n, t, h, w].sum()",
        "return -_log_softmax(x)[n, t, h, w].sum() * (1 - 3e-6)",
        "last digits",
    ),
    ("09", "return gx, gw", "return gx, gw.swapaxes(0, 1)", "gw's channels are exchanged"),
    ("09", "return gx, gw", "return gx, gw.swapaxes(2, 3)", "gw with rows and columns exchanged"),
    ("09", "gx += np", "gx -= np", "gx has the wrong sign"),
    (
        "09",
        "gy = np.pad(gy, ((0, 0), (0, 0), (padding, padding), (padding, padding)))",
        'gy = np.pad(gy, ((0, 0), (0, 0), (padding, padding), (padding, padding)), mode="edge")',
        UNNAMED,
    ),
    ("10", "np.outer(tent(size), tent(size))", "np.minimum.outer(tent(size), tent(size))", UNNAMED),
    ("10", "np.eye(channels)[:, :,", "np.eye(channels)[:, ::-1,", "the right numbers in other places"),
    ("10", ".forward(x, w)", ".forward(x, w).swapaxes(2, 3)", ".transpose(0, 1, 3, 2) mends it"),
    ("10", ".forward(x, w)", ".forward(x, w[:, ::-1].copy())", "the right numbers in other places"),
    ("11", "w.reshape(len(w), C, KH, KW)", "w.reshape(len(w), C, KH, KW)[::-1]", "the right numbers in other places"),
    ("11", "w.reshape(len(w), C, KH, KW)", "w.reshape(len(w), C, KH * KW)", "only the shape is another"),
    ("11", "KH, KW), b)", "KW, KH), b)", "a 3x2 kernel (dilation (1, 1)) does not fit"),
    ("11", ", b)", ", b)[:, ::-1]", "the right numbers in other places"),
    ("11", "return ops", "return abs(ops", "was never closed"),
    ("12", "return upscore + skip", "return upscore - skip", "the skip is subtracted; add it"),
    ("12", "return upscore + skip", "return upscore * skip", "the product of the two; add them"),
    ("12", "return gskip, gy", "return gy, gskip", "in the wrong order fix: `return gskip, gupscore`"),
    ("12", "return gskip, gy", "return gskip, -gy", "the sign is flipped"),
    ("12", "offset : offset + W] = gy", "offset : offset + W] = 1", UNNAMED),
    (
        "12",
        "return _upsample(x, factor)[:, :, offset : offset + H, offset : offset + W]",
        "return _upsample(x, factor)",
        "y has shape (1, 2, 112, 112), expected (1, 2, 42, 32)",
    ),
    ("12", "_add_skip(*fused, score_pool3, _POOL3[1])", "fused", "FCN-16s, without pool3"),
    (
        "12",
        "return stride, start - stride * (kernel - 1) / 2",
        "return start - stride * (kernel - 1) / 2, stride",
        "in the wrong order fix: `return stride, start`",
    ),
    ("12", "stride = stride / factor", "stride = stride // factor", UNNAMED),
    ("12", "return stride, start - stride *", "return stride, 0.5 + start - stride *", UNNAMED),
    ("13", "minlength=K * K)", "minlength=K * K)[::-1]", UNNAMED),
    ("13", "n.sum(axis=1) + n.sum(axis=0) - n.diagonal()", "np.maximum(n.sum(axis=1), n.sum(axis=0))", UNNAMED),
    ("13", "iu[iu == iu].mean()", "np.median(iu[iu == iu])", UNNAMED),  # in one case, as if absent classes counted 1
    ("13", "iu[iu == iu].mean()", "iu[iu == iu].sum() / num_classes", "absent classes are counted as 0"),
    ("13", "iu[iu == iu].mean()", "iu[iu > 0].mean()", "classes with an IU of 0 are left out"),
    ("13", "iu[iu == iu].mean()", "100 * iu[iu == iu].mean()", "in percent"),
    ("14", " * w\n", " * abs(w)\n", "weight decay takes |w|"),
    ("14", " + weight_decay * w", " + weight_decay", "weight_decay itself is added"),
    ("14", "v + g + weight", "v + g**2 + weight", UNNAMED),
    ("14", "return w - lr * v, v", "return w * (1 - lr) - lr * v, v", UNNAMED),
    ("14", "lr, momentum, weight_decay)\n    return", "lr, momentum, 0.0)\n    return", "weight decay is left out"),
    ("14", "(Tensor(images)), labels)", "(Tensor(images[:1])), labels[:1])", UNNAMED),
    ("14", "np.zeros_like(p.data)", "np.ones_like(p.data)", UNNAMED),
    ("14", "return w - lr * v, v", "return w - lr * v, v - g", UNNAMED),  # at first 0, as if it were the old v
    ("14", "range(steps)", "range(steps - 1)", "train returns 3 losses; 4 are expected"),
    (
        "14",
        "        model.zero_grad()\n        loss.backward()\n",
        "        loss.backward()\n        model.zero_grad()\n",
        "p.grad is None",
    ),
    ("14", "loss.item()", "loss.item() / len(images)", "yours × 2 = expected, everywhere"),
]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of NumPy, about what the mistakes compute
@pytest.mark.parametrize(
    ("number", "right", "wrong", "said"), PLANTED, ids=[f"{i}-{p[0]}: {p[3]}" for i, p in enumerate(PLANTED)]
)
def test_a_planted_mistake_is_caught(number: str, right: str, wrong: str, said: str, tmp_path: Path) -> None:
    solution = find(number).solution
    assert right in solution
    result = result_of(number, solution.replace(right, wrong), tmp_path)
    assert not result.passed
    assert said in " ".join(result.text.split()), result.text
    assert "Traceback" not in result.text


# --- plain loops with what slips into them ------------------------------------------------------------------

CONV = """
import numpy as np
def conv2d(x, w, b, stride, padding):
    (N, C, H, W), (OC, _, KH, KW) = x.shape, w.shape
    OH, OW = (H + 2 * padding - KH) // stride + 1, (W + 2 * padding - KW) // stride + 1
    y = np.zeros((N, OC, OH, OW), x.dtype)
    for n, o, oh, ow in np.ndindex(y.shape):
        y[n, o, oh, ow] = b[o]
        for c, i, j in np.ndindex(C, KH, KW):
            row, col = oh * stride + i - padding, ow * stride + j - padding
            if 0 <= row < H and 0 <= col < W:
                y[n, o, oh, ow] += w[o, c, i, j] * x[n, c, row, col]
    return y
"""
CONV_BY_WINDOWS = """
import numpy as np
def conv2d(x, w, b, stride, padding):
    (N, C, H, W), (OC, _, KH, KW) = x.shape, w.shape
    x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    y = np.zeros((N, OC, (H + 2 * padding - KH) // stride + 1, (W + 2 * padding - KW) // stride + 1), x.dtype)
    for n, o, oh, ow in np.ndindex(y.shape):
        window = x[n, :, oh * stride : oh * stride + KH, ow * stride : ow * stride + KW]
        y[n, o, oh, ow] = (window * w[o]).sum() + b[o]
    return y
"""
CONV_BACKWARD = """
import numpy as np
def conv2d_backward(gy, x, w, stride, padding):
    (N, C, H, W), (OC, _, KH, KW) = x.shape, w.shape
    gx, gw, gb = np.zeros_like(x), np.zeros_like(w), np.zeros(OC, x.dtype)
    for n, o, oh, ow in np.ndindex(gy.shape):
        g = gy[n, o, oh, ow]
        gb[o] += g
        for c, i, j in np.ndindex(C, KH, KW):
            row, col = oh * stride + i - padding, ow * stride + j - padding
            if 0 <= row < H and 0 <= col < W:
                gw[o, c, i, j] += g * x[n, c, row, col]
                gx[n, c, row, col] += g * w[o, c, i, j]
    return gx, gw, gb
"""
LOOPS = [
    ("02", CONV, "0 <= row < H and 0 <= col < W", "row < H and col < W", "negative rows and columns are not left out"),
    ("02", CONV, "0 <= row < H and 0 <= col < W", "0 < row < H and 0 < col < W", "row 0 and column 0 count as 0"),
    ("02", CONV, "in np.ndindex(C, KH, KW)", "in np.ndindex(1, KH, KW)", "only the first channel of x counts"),
    ("02", CONV, "+= w[o,", "+= w[0,", "the first filter for every output channel"),
    ("02", CONV, "x[n, c, row", "x[0, c, row", "every image gets the first one's output"),
    ("02", CONV, "0 <= row < H and 0 <= col < W", "True", "IndexError: index 3 is out of bounds"),
    ("02", CONV_BY_WINDOWS, "((0, 0), (0, 0), (padding, padding), (padding, padding))", "padding", "np.pad is told"),
    ("03", CONV_BACKWARD, "0 <= row < H and 0 <= col < W", "row < H and col < W", "negative rows and columns are not"),
    (
        "03",
        CONV_BACKWARD,
        "stride + i - padding, ow * stride + j - padding",
        "stride + i, ow * stride + j",
        "the padding is left out: row = oh·stride + i - padding",
    ),
    ("03", CONV_BACKWARD, "gb[o] += g", "gb += g", "gb collects the gy of all output channels"),
    ("03", CONV_BACKWARD, "                gw[", "                gb[o] += g if c + i + j else 0\n                gw[",
     "gb collects gy in the innermost loop"),
]  # fmt: skip


@pytest.mark.parametrize(("number", "loops", "right", "wrong", "said"), LOOPS, ids=[f"{p[0]}: {p[4]}" for p in LOOPS])
def test_a_mistake_in_plain_loops_is_named(
    number: str, loops: str, right: str, wrong: str, said: str, tmp_path: Path
) -> None:
    assert result_of(number, loops, tmp_path).passed
    assert right in loops
    result = result_of(number, loops.replace(right, wrong), tmp_path)
    assert not result.passed
    assert said in " ".join(result.text.split()), result.text


# --- right, and unusual -------------------------------------------------------------------------------------

UNUSUAL = {
    "01 by recursion": (
        "01",
        """
        def output_size(size, kernel, stride, padding, dilation):
            if padding:
                return output_size(size + 2 * padding, kernel, stride, 0, dilation)
            if size < dilation * (kernel - 1) + 1:
                return 0
            return 1 + output_size(size - stride, kernel, stride, 0, dilation)
        """,
    ),
    "02 as_strided, float64 inside, Fortran order outside": (
        "02",
        """
        import numpy as np
        def conv2d(x, w, b, stride, padding):
            p = np.ascontiguousarray(np.pad(x.astype(np.float64), ((0, 0), (0, 0), (padding,) * 2, (padding,) * 2)))
            N, C, H, W = p.shape
            OC, _, KH, KW = w.shape
            OH, OW = (H - KH) // stride + 1, (W - KW) // stride + 1
            n, c, h, v = p.strides
            shape, strides = (N, C, OH, OW, KH, KW), (n, c, h * stride, v * stride, h, v)
            windows = np.lib.stride_tricks.as_strided(p, shape, strides)
            y = np.einsum("nchwij,ocij->nohw", windows, w, dtype=np.float64) + b[None, :, None, None]
            return np.asfortranarray(y.astype(x.dtype))
        """,
    ),
    "02 one image, and the rest by recursion": (
        "02",
        """
        import numpy as np
        def conv2d(x, w, b, stride, padding):
            if len(x) > 1:
                halves = x[: len(x) // 2], x[len(x) // 2 :]
                return np.concatenate([conv2d(half, w, b, stride, padding) for half in halves])
            x = np.pad(x[0], ((0, 0), (padding, padding), (padding, padding)))
            KH, KW = w.shape[2:]
            rows = range(0, x.shape[1] - KH + 1, stride)
            return np.array([[[
                [np.vdot(x[:, r : r + KH, s : s + KW], f) + c for s in range(0, x.shape[2] - KW + 1, stride)]
                for r in rows] for f, c in zip(w, b)]], x.dtype)
        """,
    ),
    "03 float64 inside, a view outside, on its own copies": (
        "03",
        """
        import numpy as np
        def conv2d_backward(gy, x, w, stride, padding):
            dtype, (H, W), (KH, KW) = x.dtype, x.shape[2:], w.shape[2:]
            gy, x, w = (np.asfortranarray(a, np.float64) for a in (gy, x.copy(), w))
            x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
            gx, gw = 0 * x, np.empty_like(w)
            for i in range(KH):
                for j in range(KW):
                    rows = slice(i, i + (gy.shape[2] - 1) * stride + 1, stride)
                    cols = slice(j, j + (gy.shape[3] - 1) * stride + 1, stride)
                    gw[:, :, i, j] = np.einsum("nohw,nchw->oc", gy, x[:, :, rows, cols])
                    gx[:, :, rows, cols] += np.einsum("nohw,oc->nchw", gy, w[:, :, i, j])
            gx = gx.astype(dtype)
            return gx[:, :, padding:, padding:][:, :, :H, :W], gw.astype(dtype), gy.sum((0, 2, 3)).astype(dtype)
        """,
    ),
    "04 in Fortran order": (
        "04",
        """
        import numpy as np
        def im2col(x, kernel, stride, padding):
            KH, KW = kernel
            framed = np.zeros((*x.shape[:2], x.shape[2] + 2 * padding, x.shape[3] + 2 * padding), x.dtype, order="F")
            framed[:, :, padding : padding + x.shape[2], padding : padding + x.shape[3]] = x
            OH, OW = (framed.shape[2] - KH) // stride + 1, (framed.shape[3] - KW) // stride + 1
            rows = [
                framed[:, c, i : i + stride * OH : stride, j : j + stride * OW : stride][:, :OH, :OW].reshape(-1)
                for c in range(x.shape[1]) for i in range(KH) for j in range(KW)
            ]
            return np.asfortranarray(rows)
        """,
    ),
    "06 float64 inside, in place on its own copies, a view of a transpose": (
        "06",
        """
        import numpy as np
        def relu(x):
            y = x.astype(np.float64).T
            y[y < 0] = 0
            return y.astype(x.dtype).T
        def relu_backward(gy, x):
            gx = np.array(gy, order="F")
            np.multiply(gx, np.heaviside(x, 0), out=gx)
            return gx
        """,
    ),
    "07 a tournament, by recursion": (
        "07",
        """
        import numpy as np
        def best(places):
            if len(places) == 1:
                return places[0]
            (a, i), (b, j) = best(places[: len(places) // 2]), best(places[len(places) // 2 :])
            return np.where(b > a, b, a), np.where(b > a, j, i)
        def window(a, k, kernel, stride):
            i, j = divmod(k, kernel)
            OH, OW = (a.shape[2] - kernel) // stride + 1, (a.shape[3] - kernel) // stride + 1
            return a[:, :, i : i + (OH - 1) * stride + 1 : stride, j : j + (OW - 1) * stride + 1 : stride]
        def max_pool(x, kernel, stride):
            places = [(window(x, k, kernel, stride), k) for k in range(kernel**2)]
            y, winner = best(places)
            return y, winner + np.zeros(y.shape, int)
        def max_pool_backward(gy, winner, shape, kernel, stride):
            gx = np.zeros(shape, gy.dtype, order="F")
            for k in range(kernel**2):
                view = window(gx, k, kernel, stride)
                view += np.where(winner == k, gy, 0)
            return gx
        """,
    ),
    "09 by the transposed matrix of one tap, float64 inside": (
        "09",
        """
        import numpy as np
        def taps(x, w, stride):
            for h, v, i, j in np.ndindex(*x.shape[2:], *w.shape[2:]):
                yield h, v, i, j, h * stride + i, v * stride + j
        def conv_transpose2d(x, w, stride, padding):
            size = [(n - 1) * stride + k for n, k in zip(x.shape[2:], w.shape[2:])]
            y = np.zeros((len(x), w.shape[1], *size))
            for h, v, i, j, row, col in taps(x, w, stride):
                y[:, :, row, col] += x[:, :, h, v].astype(float) @ w[:, :, i, j]
            return y[:, :, padding:, padding:][:, :, : size[0] - 2 * padding, : size[1] - 2 * padding].astype(x.dtype)
        def conv_transpose2d_backward(gy, x, w, stride, padding):
            gx, gw = np.zeros_like(x, order="F"), np.zeros_like(w, order="F")
            for h, v, i, j, row, col in taps(x, w, stride):
                row, col = row - padding, col - padding
                if 0 <= row < gy.shape[2] and 0 <= col < gy.shape[3]:
                    gx[:, :, h, v] += gy[:, :, row, col] @ w[:, :, i, j].T
                    gw[:, :, i, j] += x[:, :, h, v].T @ gy[:, :, row, col]
            return gx, gw
        """,
    ),
    "10 a tent that climbs up and down, read-only views": (
        "10",
        """
        import numpy as np
        from numpy.lib.stride_tricks import as_strided
        def kernel_size(factor):
            return factor * 2 - 1 if factor % 2 else factor * 2
        def tent(size):
            f = (size + 1) // 2
            up = np.linspace(1 / f, 1, f) if size % 2 else (np.arange(f) + 0.5) / f
            return np.concatenate([up, up[::-1][size % 2 :]])
        def bilinear_weight(channels, size):
            w = np.zeros((channels, channels, size, size), order="F")
            np.einsum("cchw->chw", w)[...] = tent(size)[:, None] * tent(size)
            return w
        def upsample(x, factor):
            K = kernel_size(factor)
            spread = np.zeros((*x.shape[:2], x.shape[2] * factor + 2 * K, x.shape[3] * factor + 2 * K))
            top = K - factor // 2
            tall, wide = x.shape[2] * factor, x.shape[3] * factor
            for h, v in np.ndindex(x.shape[2:]):
                r, s = top + h * factor, top + v * factor
                spread[:, :, r : r + K, s : s + K] += x[:, :, h, v, None, None] * np.outer(tent(K), tent(K))
            return spread[:, :, K : K + tall, K : K + wide].astype(x.dtype)
        """,
    ),
    "11 Fortran order, and a product for every crop": (
        "11",
        """
        import numpy as np
        def as_kernel(w, C, KH, KW):
            return np.asfortranarray(np.stack([np.split(row.reshape(-1, KW), C) for row in w]))
        def scores_everywhere(x, w, b, KH, KW):
            H, W = x.shape[2] - KH + 1, x.shape[3] - KW + 1
            crops = [x[:, :, u : u + KH, v : v + KW].reshape(len(x), -1) for u in range(H) for v in range(W)]
            return (np.stack(crops, axis=1) @ w.T + b).swapaxes(1, 2).reshape(len(x), len(w), H, W)
        """,
    ),
    "12 the skip's view, added to in its own copy": (
        "12",
        find("12")
        .solution.replace(
            "return upscore + skip[:, :, offset : offset + H, offset : offset + W]",
            "part = skip.copy(order='F')[:, :, offset : offset + H, offset : offset + W]\n"
            "    part += upscore\n    return part",
        )
        .replace("return gskip, gy", "return gskip, gy[...]"),
    ),
    "13 counts in float32, by np.add.at": (
        "13",
        """
        import numpy as np
        def confusion_matrix(pred, label, num_classes, ignore_index):
            n = np.zeros((num_classes, num_classes), np.float32, order="F")
            kept = label != ignore_index
            np.add.at(n, (label[kept], pred[kept]), 1)
            return n
        def class_iu(n):
            union = n.sum(0) + n.sum(1) - np.einsum("ii->i", n)
            return np.divide(np.diag(n), union, out=np.full(len(n), np.nan), where=union > 0)
        def mean_iu(pred, label, num_classes, ignore_index):
            total, seen = 0.0, 0
            for iu in class_iu(confusion_matrix(pred, label, num_classes, ignore_index).astype(float)):
                if iu == iu:
                    total, seen = total + iu, seen + 1
            return total / seen
        """,
    ),
    "14 float64 inside, by recursion": (
        "14",
        """
        import numpy as np
        from scratchfcn import Tensor, ops
        def sgd_step(w, g, v, lr, momentum, weight_decay):
            w64, g64, v64 = (a.astype(np.float64) for a in (w, g, v))
            new = v64 * momentum + g64 + w64 * weight_decay
            return np.asfortranarray((w64 - lr * new).astype(w.dtype)), new.astype(v.dtype)
        def train(model, images, labels, steps, lr, momentum, weight_decay, velocities=None):
            if steps == 0:
                return []
            parameters = list(model.parameters())
            velocities = velocities or [np.zeros(p.shape, p.data.dtype) for p in parameters]
            for p in parameters:
                p.grad = None
            loss = ops.softmax_cross_entropy(model(Tensor(images)), labels)
            loss.backward()
            new = [sgd_step(p.data, p.grad, v, lr, momentum, weight_decay) for p, v in zip(parameters, velocities)]
            for p, (w, _) in zip(parameters, new):
                p.data = w
            rest = train(model, images, labels, steps - 1, lr, momentum, weight_decay, [v for _, v in new])
            return [float(loss.item()), *rest]
        """,
    ),
}


@pytest.mark.parametrize(("number", "source"), UNUSUAL.values(), ids=UNUSUAL)
def test_an_unusual_solution_passes(number: str, source: str, tmp_path: Path) -> None:
    result = result_of(number, dedent(source), tmp_path)
    assert result.passed, result.text


# --- what is said about shapes, dtypes and NaN --------------------------------------------------------------


def test_patterns_of_a_wrong_shape() -> None:
    right = np.arange(24.0).reshape(2, 3, 4)
    assert "the order of its axes: .transpose(1, 2, 0) mends it" in (
        pattern_of_shape(right.transpose(2, 0, 1), right) or ""
    )
    assert "only the shape is another" in (pattern_of_shape(right.ravel(), right) or "")
    assert "yours is empty" in (pattern_of_shape(right[:0], right) or "")
    assert pattern_of_shape(right[:1], right) is None
    assert pattern_of_shape(right.ravel()[::-1], right) is None


def test_nan_counts_only_where_a_number_is_expected() -> None:
    right = np.array([1.0, np.nan, 2.0, np.nan])
    assert pattern(np.array([2.0, np.nan, 1.0, np.nan]), right) is None
    found = pattern(np.array([np.nan, np.nan, np.inf, np.nan]), right)
    assert found == "yours holds NaN or infinity where a number is expected, 2 of 4"


def test_a_wrong_dtype_is_not_blamed_on_a_mistake_that_makes_no_difference(tmp_path: Path) -> None:
    in_float64 = find("09").solution.replace("np.zeros_like(x, shape=(N, OC, FH, FW))", "np.zeros((N, OC, FH, FW))")
    text = result_of("09", in_float64, tmp_path).text
    assert "y is float64, expected float32\n    fix: np.zeros(shape) is float64" in text
    assert "known mistake" not in text


def test_rounding_is_not_blamed_on_a_mistake_that_makes_no_difference(tmp_path: Path) -> None:
    rounded = find("09").solution.replace("    return y[", "    y = y * (1 + 3e-6)\n    return y[")
    text = " ".join(result_of("09", rounded, tmp_path).text.split())
    assert (
        f"the right numbers but for their last digits: is something computed in float32, or cut short? {UNNAMED}"
        in text
    )


# --- and the rest -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "returned", ["x.astype(object)", "x.astype(str)", "x * 1j", "x[:0]", "x > 9", "np.ma.array(x)"]
)
@pytest.mark.parametrize("number", ["02", "09", "13"])
def test_strange_arrays_are_one_clear_message(number: str, returned: str, tmp_path: Path) -> None:
    exercise = find(number)
    source = "import numpy as np\n"
    for name, parameters in exercise.functions.items():
        source += f"def {name}({', '.join(parameters)}):\n    x = {parameters[0]}\n    return {returned}\n"
    result = result_of(number, source, tmp_path)
    assert not result.passed
    assert "  call: " in result.text


def test_calls_that_confirm_a_mistake_leave_no_prints(tmp_path: Path) -> None:
    halved = (
        find("01")
        .solution.replace("return (size", "print(size)\n    return (size")
        .replace("// stride + 1", "// stride")
    )
    text = result_of("01", halved, tmp_path).text
    assert "the first window is not counted" in text
    assert "your print() says:\n    5\n" in text


def test_learning_four_images_by_heart_may_take_longer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "SECONDS", 1)
    slow = find("14").solution.replace("    losses = []\n", "    losses = []\n    time.sleep(1.2 * (steps > 4))\n")
    result = result_of("14", slow.replace("import numpy", "import time\n\nimport numpy"), tmp_path)
    assert result.passed, result.text


def test_code_in_a_hint_keeps_its_indent() -> None:
    first, second = find("03").hints[2].splitlines()[:2]
    assert first.startswith("    padded =")
    assert second.startswith("    gx, gw =")
