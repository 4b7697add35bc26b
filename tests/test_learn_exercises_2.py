"""Exercises 08 to 14: mistakes planted in the solution are caught and named, and unusual right solutions pass.

What holds for every exercise (blanks, solutions, hints) is in test_learn_exercises.py.
"""

from pathlib import Path
from textwrap import dedent

import pytest

from scratchfcn.learn import Result, find, run


def result_of(number: str, source: str, folder: Path) -> Result:
    """Check `source` as if a learner had written it."""
    exercise = find(number)
    file = folder / exercise.file_name
    file.write_text(source, encoding="utf-8")
    return run(exercise, file)


# --- the solution with one thing wrong, and what has to be said ---------------------------------------------

PLANTED = [
    # 08 · softmax loss: forward
    ("08", ".sum() / max(1, len(n))", ".sum() / labels.size", "ignored pixels are counted in the mean"),
    ("08", ".sum() / max(1, len(n))", ".sum()", "the sum over pixels; divide it by the number of kept ones"),
    ("08", ".sum() / max(1, len(n))", ".sum() / len(x)", "divided by the number of images"),
    ("08", ".sum() / max(1, len(n))", ".mean()", "0/0, no pixel is kept"),
    ("08", "[n, t, h, w]", "[n, t.astype(int) - 1, h, w]", "labels are off by one, t - 1"),
    ("08", "[n, t, h, w]", "[n, t - 1, h, w]", "out of bounds for axis 1 with size 3"),
    ("08", "return -_log", "return _log", "the sign: it is minus the logarithm"),
    ("08", "-_log_softmax(x)[", "-np.exp(_log_softmax(x))[", "the logarithm is missing: -p_t"),
    ("08", "-_log_softmax(x)[", "-x[", "the softmax is missing"),
    ("08", "axis=1", "axis=(1, 2, 3)", "the softmax is taken over"),
    ("08", "x = x - x.max(axis=1, keepdims=True)", "", "e^x overflows"),
    ("08", "labels != ignore_index", "labels != 255", "ignore_index is not asked for"),
    (
        "08",
        "n, h, w = (labels != ignore_index).nonzero()  # where the kept pixels are, (P,) each",
        "labels = np.where(labels == ignore_index, 0, labels)\n    n, h, w = (labels >= 0).nonzero()",
        "ignored pixels are counted as class 0",
    ),
    (
        "08",
        "    n, h, w = (labels != ignore_index).nonzero()  # where",
        "    if len(x) > 1:\n"
        "        each = [softmax_loss(x[i : i + 1], labels[i : i + 1], ignore_index) for i in range(len(x))]\n"
        "        return sum(each) / len(each)\n"
        "    n, h, w = (labels != ignore_index).nonzero()  # where",
        "the mean over images of each image's mean",
    ),
    # 08: backward
    ("08", "(gy / max(1, len(n)))", "(gy / labels.size)", "ignored pixels are counted in the mean"),
    ("08", "(gy / max(1, len(n)))", "gy", "it is not divided by the number of kept pixels"),
    ("08", "(gy / max(1, len(n)))", "(1 / max(1, len(n)))", "gy is left out"),
    ("08", "(gy / max(1, len(n)))", "(-gy / max(1, len(n)))", "the sign: p - onehot"),
    ("08", " * kept[:, None]", "", "ignored pixels keep the gradient p"),
    ("08", "h, w] -= 1", "h, w] -= 0", "the 1 is not taken from the true class's p"),
    ("08", "gx[n, labels[n, h, w], h, w]", "gx[n, (labels[n, h, w] + 1) % x.shape[1], h, w]", "off by one, t + 1"),
    ("08", "np.exp(_log_softmax(x)) *", "x *", "the softmax is missing: p, not x"),
    ("08", "    x = x - x.max(", "    x -= x.max(", "changes its argument x"),
    # 09 · transposed convolution
    ("09", "x, w[:, :, i, j])", "x, w[:, :, KH - 1 - i, KW - 1 - j])", "the kernel is flipped"),
    ("09", "cols] += np", "cols] = np", "= instead of +="),
    ("09", "np.zeros_like(x, shape=(N, OC, FH, FW))", "np.zeros((N, OC, FH, FW))", "y is float64, expected float32"),
    (
        "09",
        "slice(i, i + H * stride, stride), slice(j, j + W * stride, stride)",
        "slice(i, i + H), slice(j, j + W)",
        "the stride is forgotten",
    ),
    (
        "09",
        "y[:, :, padding : FH - padding, padding : FW - padding]",
        "y[:, :, : FH - 2 * padding, : FW - 2 * padding]",
        "the padding is cut at the bottom and right only",
    ),
    (
        "09",
        "y[:, :, padding : FH - padding, padding : FW - padding]",
        "y[:, :, 2 * padding :, 2 * padding :]",
        "the padding is cut at the top and left only",
    ),
    ("09", "return y[:, :, padding : FH - padding, padding : FW - padding]", "return y", "the padding is not cut off"),
    ("09", "FH, FW = (H - 1) * stride + KH", "FH, FW = H * stride + KH", "y has shape"),
    ("09", "x, w[:, :, i, j])", "x, w[:, :, j % KH, i % KW])", "rows and columns are exchanged"),
    ("09", 'np.einsum("nohw,nchw->co"', '1 / N * np.einsum("nohw,nchw->co"', "divided by N"),
    ("09", 'gy[:, :, rows, cols], x)', 'gy[-1:, :, rows, cols], x[-1:])', "only the last image counts"),
    ("09", "gw[:, :, i, j] =", "gw[:, :, KH - 1 - i, KW - 1 - j] =", "gw is flipped"),
    ("09", "gx += np.einsum", "gx = np.einsum", "GX wrong gw ok"),
    ("09", "cols], w[:, :, i, j])", "cols], w[:, :, KH - 1 - i, KW - 1 - j])", "the kernel is flipped"),
    ("09", "return gx, gw", "return gw, gx", "in the wrong order fix: `return gx, gw`"),
    # 10 · bilinear kernel
    ("10", "2 * factor - factor % 2", "2 * factor", "an odd factor takes one less"),
    ("10", "2 * factor - factor % 2", "2 * factor - 1", "an even factor takes 2·factor"),
    ("10", "2 * factor - factor % 2", "2 * factor - factor % 2.0", "an int is expected"),
    ("10", "centre = (size - 1) / 2", "centre = f - 0.5", "but the middle of 3 numbers (odd) is at 1"),
    ("10", "centre = (size - 1) / 2", "centre = f - 1", "but the middle of 4 numbers (even) is at 1.5"),
    ("10", "centre = (size - 1) / 2", "centre = size // 2", "but the middle of 4 numbers (even) is at 1.5"),
    ("10", "f = (size + 1) // 2", "f = size / 2", "f is 1.5; for 3 numbers it is 2"),
    ("10", "f = (size + 1) // 2", "f = size // 2", "f is 1; for 3 numbers it is 2"),
    ("10", "/ f", "/ f / f", "numbers wrong"),
    ("10", "return 1 - np.abs", "return np.abs", "it is the distance itself"),
    ("10", "np.outer(tent(size), tent(size))", "np.add.outer(tent(size), tent(size)) / 2", "the mean of two tents"),
    ("10", "np.eye(channels)[:, :", "np.ones((channels, channels))[:, :", "every class is upsampled into every other"),
    ("10", "np.outer(tent(size), tent(size))", "np.ones((size, 1)) * tent(size)", "the tent goes along rows only"),
    ("10", "padding=factor // 2", "padding=0", "the padding is left out"),
    ("10", ", dtype=x.dtype", "", "both must be the same floating point type"),
    ("10", "kernel_size(factor)), dtype=x.dtype)", "kernel_size(factor)), dtype=x.dtype) / factor**2", "divided by"),
    # 11 · fully connected → convolution
    ("11", "w.reshape(len(w), C, KH, KW)", 'w.reshape((len(w), C, KH, KW), order="F")', "reshape in Fortran order"),
    (
        "11",
        "w.reshape(len(w), C, KH, KW)",
        "w.reshape(len(w), KH, KW, C).transpose(0, 3, 1, 2)",
        "the row is read as (KH, KW, C); it was lined up as (C, KH, KW)",
    ),
    (
        "11",
        "w.reshape(len(w), C, KH, KW)",
        "w.reshape(len(w), C, KW, KH).swapaxes(2, 3)",
        "the row is read as (C, KW, KH); it was lined up as (C, KH, KW)",
    ),
    ("11", "w.reshape(len(w), C, KH, KW)", "w.T.reshape(len(w), C, KH, KW)", "w is transposed before the reshape"),
    ("11", "w.reshape(len(w), C, KH, KW)", "w.reshape(len(w), C, KH, KW)[..., ::-1, ::-1]", "the kernel is flipped"),
    ("11", "w.reshape(len(w), C, KH, KW)", "w.reshape(len(w), KH, KW, C)", "the kernel is left as (OUT, KH, KW, C)"),
    ("11", "w.reshape(len(w), C, KH, KW)", "w.reshape(C, len(w), KH, KW).swapaxes(0, 1)", "numbers wrong"),
    ("11", ", b)", ", 0 * b)", "the bias is left out"),
    ("11", "ops.Conv2d()", "ops.Conv2d(stride=(KH, KW))", "the crops do not overlap"),
    ("11", "ops.Conv2d()", "ops.Conv2d(padding=(KH // 2, KW // 2))", "only crops that lie inside the map count"),
    ("11", "as_kernel(w, x.shape[1], KH, KW), b)", "as_kernel(w, x.shape[1], KH, KW)[..., ::-1, ::-1].copy(), b)",
     "the kernel is flipped"),
    # 12 · crop offset and skip fusion
    ("12", "return stride * step, start", "return stride, start", "every layer multiplies it by its own"),
    ("12", "(kernel - 1) / 2 - padding)", "(kernel - 1) // 2 - padding)", "rounds down; windows of 2"),
    ("12", "(kernel - 1) / 2 - padding)", "kernel / 2 - padding)", "kernel/2 instead of (kernel - 1)/2"),
    ("12", "(kernel - 1) / 2 - padding)", "(kernel - 1) / 2 + padding)", "the padding's sign"),
    ("12", "start + stride * ((", "start + stride * step * ((", "the new stride is used for start"),
    ("12", "stride = stride / factor", "stride = stride * factor", "upsampling divides it"),
    ("12", "return stride, start - stride *", "return stride, start + stride *", "plus half the kernel"),
    ("12", "start - stride * (kernel - 1) / 2", "start - stride * factor * (kernel - 1) / 2", "the old stride is used"),
    ("12", "int((reference_start - start) / stride)", "int((start - reference_start) / stride)", "the sign"),
    ("12", "int((reference_start - start) / stride)", "int(reference_start - start)", "divide by stride"),
    ("12", "int((reference_start - start) / stride)", "int((reference_start - start) / stride) + 1", "off by one"),
    ("12", "int((reference_start - start) / stride)", "(reference_start - start) / stride", "an int is expected"),
    ("12", "skip[:, :, offset : offset + H, offset : offset + W]", "skip[:, :, :H, :W]", "the offset is ignored"),
    ("12", "skip[:, :, offset : offset + H, offset : offset + W]", "skip[:, :, -H:, -W:]", "at the wrong side"),
    (
        "12",
        "skip[:, :, offset : offset + H, offset : offset + W]",
        "skip[:, :, offset - 1 : offset - 1 + H, offset - 1 : offset - 1 + W]",
        "the crop is off by one",
    ),
    (
        "12",
        "return upscore + skip[:, :, offset : offset + H, offset : offset + W]",
        "return np.concatenate([skip[:, :, offset : offset + H, offset : offset + W], upscore], axis=1)",
        "the two are put side by side, as channels; add them",
    ),
    ("12", "return upscore + skip", "return upscore / 2 + 0.5 * skip", "the mean of the two; add them"),
    ("12", "gskip[:, :, offset : offset + H, offset : offset + W] = gy", "gskip[:, :, :H, :W] = gy",
     "gy is put into the upper left corner"),
    ("12", "return gskip, gy", "return gskip / 2, gy / 2", "gy is halved"),
    ("12", "return gskip, gy", "return gy, gy", "gskip is gy itself; it has to have skip's shape"),
    ("12", "crop_offset(stride, skip_start, start))", "0)", "the skips are not cropped by an offset"),
    ("12", "crop_offset(stride, skip_start, start))", "crop_offset(stride, skip_start, start) - 1)",
     "the crop of pool4 is 4, off by one: its offset is 5"),
    ("12", "score_pool3, _POOL3[1])", "score_pool3, _POOL4[1] + 28)", "pool3 is cropped by pool4's offset, 5"),
    ("12", "score_pool3, _POOL3[1])", "0 * score_pool3, _POOL3[1])", "numbers wrong"),
    # 13 · mean IU
    ("13", "K * label[kept].astype(np.int64) + pred[kept]", "K * pred[kept].astype(np.int64) + label[kept]",
     "the matrix is transposed"),
    ("13", "label[kept].astype(np.int64)", "label[kept]", "K·label overflows"),
    ("13", "label != ignore_index", "pred != ignore_index", "raises ValueError: cannot reshape"),
    ("13", "label[kept].astype(np.int64)", "((label[kept].astype(np.int64) - 1) % K)", "labels are off by one"),
    ("13", "pred[kept]  #", "(pred[kept] + 1) % K  #", "predictions are off by one"),
    (
        "13",
        "num_classes, label != ignore_index",
        "num_classes, label == label\n    label = np.where(label == ignore_index, 0, label)",
        "ignored pixels are counted: as class 0",
    ),
    ("13", ".reshape(K, K)", ".reshape(K, K).astype(np.uint8)", "the counts overflow in uint8"),
    ("13", ".reshape(K, K)", ".reshape(K, K) / len(pairs)", "shares of the pixels, not counts"),
    ("13", " - n.diagonal()  #", "  #", "the intersection is counted twice"),
    ("13", "xp.nan)", "0.0)", "absent classes get 0; nothing is known of them: NaN"),
    ("13", "union = n.sum(axis=1) + n.sum(axis=0) - n.diagonal()", "union = n.sum(axis=1)", "that is the accuracy"),
    ("13", "union = n.sum(axis=1) + n.sum(axis=0) - n.diagonal()", "union = n.sum(axis=0)", "that is the precision"),
    ("13", "iu[iu == iu].mean()", "np.nan_to_num(iu).mean()", "absent classes are counted as 0"),
    ("13", "iu[iu == iu].mean()", "iu.mean()", "absent classes have to be left out of the mean"),
    ("13", "iu[iu == iu].mean()", "iu[iu == iu][1:].mean()", "the background, counts as well"),
    ("13", "    iu = class_iu(",
     "    if len(pred) > 1:\n"
     "        each = [mean_iu(p[None], q[None], num_classes, ignore_index) for p, q in zip(pred, label)]\n"
     "        return sum(each) / len(each)\n"
     "    iu = class_iu(",
     "the mean of the images' mean IUs"),
    # 14 · one step
    ("14", "return w - lr * v, v", "return w + lr * v, v", "the sign: downhill is w - lr·v"),
    ("14", "return w - lr * v, v", "return w - v, v", "lr is left out"),
    ("14", "return w - lr * v, v", "return w - lr * lr * v, v", "lr is applied twice"),
    ("14", "return w - lr * v, v", "return v, w - lr * v", "in the wrong order fix: `return w, v`"),
    ("14", "return w - lr * v, v", "return w - lr * (g + momentum * v), v", "Nesterov"),
    ("14", "momentum * v + g +", "momentum * v + (1 - momentum) * g +", "dampened by 1 - momentum"),
    ("14", "momentum * v + g +", "lr * momentum * v + g +", "the momentum is multiplied by lr"),
    ("14", "momentum * v + g +", "momentum * v + lr * g +", "lr belongs to the step of w alone"),
    ("14", "momentum * v + g +", "g +", "momentum is left out"),
    ("14", "momentum * v + g +", "v + g +", "v is not slowed down by momentum"),
    ("14", "momentum * v + g +", "momentum * v - g +", "the gradient is subtracted from v"),
    ("14", " + weight_decay * w", "", "weight decay is left out of v"),
    ("14", " + weight_decay * w", " - weight_decay * w", "weight decay has the wrong sign"),
    ("14", " + weight_decay * w", " + 2 * weight_decay * w", "weight decay is doubled"),
    ("14", "    v = momentum * v + g + weight_decay * w\n    return w - lr * v, v",
     "    V = momentum * v + lr * (g + weight_decay * w)\n    return w - V, V", "as in Caffe"),
    ("14", "    v = momentum * v + g + weight_decay * w\n    return w - lr * v, v",
     "    v = momentum * v + g\n    return w - lr * v - lr * weight_decay * w, v", "weight decay is left out of v"),
    ("14", "    return w - lr * v, v", "    return w - lr * v - lr * weight_decay * w, v", "weight decay acts twice"),
    ("14", "    v = momentum * v + g + weight_decay * w\n", "    g += weight_decay * w\n    v = momentum * v + g\n",
     "changes its argument g"),
    # 14 · the loop
    ("14", "    for _ in range(steps):\n",
     "    for _ in range(steps):\n        velocities = [np.zeros_like(p.data) for p in parameters]\n",
     "v is not kept: it is 0 again in every step"),
    ("14", "        model.zero_grad()\n", "", "gradients pile up"),
    ("14", "p.data, velocities[i] = sgd_step", "_, velocities[i] = sgd_step", "the weights never change"),
    ("14", "p.data, velocities[i] = sgd_step", "p.data, _ = sgd_step", "v is not kept"),
    ("14", "        for i, p in enumerate(parameters):", "        for i, p in list(enumerate(parameters))[:1]:",
     "only the first parameter learns"),
    ("14", "model(Tensor(images)), labels)", 'model(Tensor(images)), labels, reduction="sum")', "the loss is the sum"),
    ("14", "velocities[i], lr, momentum,", "velocities[i], momentum, lr,", "lr and momentum are exchanged"),
    ("14", "        losses.append(loss.item())\n", "", "train returns 0 losses; 4 are expected"),
    ("14", "    return losses", "    return None", "train returns nothing (None); a list of 4 losses"),
    ("14", "        for i, p in", "        if len(losses) == steps:\n            break\n        for i, p in",
     "the last step comes after the last loss"),
    ("14", "        losses.append(loss.item())\n",
     "        if len(losses) > 3:\n            lr = 0\n        losses.append(loss.item())\n",
     "does something change later on?"),
]  # fmt: skip


def spoiled(number: str, right: str, wrong: str) -> str:
    solution = find(number).solution
    assert right in solution, f"{number}: the solution has no {right!r}"
    return solution.replace(right, wrong)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of NumPy, about what the mistakes compute
@pytest.mark.parametrize(("number", "right", "wrong", "said"), PLANTED, ids=[f"{p[0]}: {p[3]}" for p in PLANTED])
def test_a_planted_mistake_is_caught_and_named(number: str, right: str, wrong: str, said: str, tmp_path: Path) -> None:
    result = result_of(number, spoiled(number, right, wrong), tmp_path)
    assert not result.passed
    assert said in " ".join(result.text.split()), result.text
    assert result.text.splitlines()[-1] == f"  hint: scratchfcn learn hint {number}"
    assert "Traceback" not in result.text


@pytest.mark.parametrize("number", [f"{i:02}" for i in range(8, 15)])
def test_at_least_five_mistakes_are_planted(number: str) -> None:
    assert sum(planted[0] == number for planted in PLANTED) >= 5


# --- other ways to write it, which are as right -------------------------------------------------------------

UNUSUAL = {
    "08 pixel by pixel": (
        "08",
        """
        import math
        import numpy as np

        def softmax_loss(x, labels, ignore_index):
            total, count = 0.0, 0
            for n, h, w in np.ndindex(labels.shape):
                if labels[n, h, w] != ignore_index:
                    scores = [float(s) for s in x[n, :, h, w]]
                    top = max(scores)
                    total += math.log(sum(math.exp(s - top) for s in scores)) - (scores[labels[n, h, w]] - top)
                    count += 1
            return total / count if count else 0.0

        def softmax_loss_backward(gy, x, labels, ignore_index):
            gx = np.zeros_like(x)
            count = 0
            for n, h, w in np.ndindex(labels.shape):
                if labels[n, h, w] == ignore_index:
                    continue
                e = np.exp(x[n, :, h, w] - x[n, :, h, w].max())
                gx[n, :, h, w] = e / e.sum()
                gx[n, labels[n, h, w], h, w] -= 1
                count += 1
            return gx * gy / max(count, 1)
        """,
    ),
    "08 one-hot and einsum": (
        "08",
        """
        import numpy as np

        def parts(x, labels, ignore_index):
            onehot = (np.arange(x.shape[1])[:, None, None] == labels.astype(int)[:, None]).astype(x.dtype)
            onehot *= (labels != ignore_index)[:, None]
            e = np.exp(x - x.max(axis=1, keepdims=True))
            count = max(1, (labels != ignore_index).sum())
            return onehot, e / e.sum(axis=1, keepdims=True), count

        def softmax_loss(x, labels, ignore_index):
            onehot, _, count = parts(x, labels, ignore_index)
            x = x - x.max(axis=1, keepdims=True)
            pixels = np.log(np.exp(x).sum(axis=1)) * (labels != ignore_index)
            return np.float32((pixels.sum() - np.einsum("nkhw,nkhw->", x, onehot)) / count).astype(x.dtype) \\
                if x.dtype == np.float32 else (pixels.sum() - np.einsum("nkhw,nkhw->", x, onehot)) / count

        def softmax_loss_backward(gy, x, labels, ignore_index):
            onehot, p, count = parts(x, labels, ignore_index)
            return ((p * (labels != ignore_index)[:, None] - onehot) * (gy / count)).astype(x.dtype)
        """,
    ),
    "09 through the convolution's own backward": (
        "09",
        """
        import numpy as np
        from scratchfcn import ops

        def conv_transpose2d(x, w, stride, padding):
            N, C, H, W = x.shape
            _, OC, KH, KW = w.shape
            conv = ops.Conv2d(stride, padding)
            size = (H - 1) * stride - 2 * padding + KH, (W - 1) * stride - 2 * padding + KW
            conv.forward(np.zeros((N, OC, *size), x.dtype), w)
            return conv.backward(x)[0]

        def conv_transpose2d_backward(gy, x, w, stride, padding):
            conv = ops.Conv2d(stride, padding)
            gx = conv.forward(gy, w)
            return gx, conv.backward(x)[1]
        """,
    ),
    "09 zeros inserted, then a convolution with the turned kernel, by stride tricks": (
        "09",
        """
        import numpy as np
        from numpy.lib.stride_tricks import sliding_window_view

        def conv_transpose2d(x, w, stride, padding):
            N, C, H, W = x.shape
            _, OC, KH, KW = w.shape
            spread = np.zeros((N, C, (H - 1) * stride + 2 * KH - 1, (W - 1) * stride + 2 * KW - 1), x.dtype)
            spread[:, :, KH - 1 : KH - 1 + H * stride : stride, KW - 1 : KW - 1 + W * stride : stride][:, :, :H, :W] = x
            windows = sliding_window_view(spread, (KH, KW), axis=(2, 3))
            y = np.einsum("nchwij,coij->nohw", windows, w[:, :, ::-1, ::-1])
            return y[:, :, padding : y.shape[2] - padding, padding : y.shape[3] - padding]

        def conv_transpose2d_backward(gy, x, w, stride, padding):
            gy = np.pad(gy, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
            windows = sliding_window_view(gy, w.shape[2:], axis=(2, 3))[:, :, ::stride, ::stride]
            return np.einsum("nohwij,coij->nchw", windows, w), np.einsum("nohwij,nchw->coij", windows, x)
        """,
    ),
    "10 from the formula of the reference implementation": (
        "10",
        """
        import numpy as np
        from scratchfcn import ops

        def kernel_size(factor):
            return 2 * factor if factor % 2 == 0 else 2 * factor - 1

        def tent(size):
            factor = (size + 1) // 2
            center = factor - 1 if size % 2 == 1 else factor - 0.5
            return np.array([1 - abs(i - center) / factor for i in range(size)])

        def bilinear_weight(channels, size):
            og = np.ogrid[:size, :size]
            factor = (size + 1) // 2
            center = (size - 1) / 2
            filt = (1 - abs(og[0] - center) / factor) * (1 - abs(og[1] - center) / factor)
            weight = np.zeros((channels, channels, size, size))
            weight[range(channels), range(channels), :, :] = filt
            return weight

        def upsample(x, factor):
            y = np.zeros((*x.shape[:2], x.shape[2] * factor, x.shape[3] * factor), x.dtype)
            w = bilinear_weight(1, kernel_size(factor)).astype(x.dtype)
            for c in range(x.shape[1]):
                one = ops.ConvTranspose2d(factor, factor // 2).forward(x[:, c : c + 1], w)
                y[:, c] = one[:, 0]
            return y
        """,
    ),
    "11 weight by weight, crop by crop": (
        "11",
        """
        import numpy as np

        def as_kernel(w, C, KH, KW):
            kernel = np.empty((len(w), C, KH, KW), w.dtype)
            for o, c, i, j in np.ndindex(kernel.shape):
                kernel[o, c, i, j] = w[o, (c * KH + i) * KW + j]
            return kernel

        def scores_everywhere(x, w, b, KH, KW):
            windows = np.lib.stride_tricks.sliding_window_view(x, (KH, KW), axis=(2, 3))
            y = np.einsum("nchwij,ocij->nohw", windows, as_kernel(w, x.shape[1], KH, KW))
            return y + b.reshape(1, -1, 1, 1)
        """,
    ),
    "12 the offsets typed in, sums in place": (
        "12",
        """
        import numpy as np
        from scratchfcn.nn import init
        from scratchfcn import ops

        def through_window(stride, start, kernel, step, padding):
            return [int(stride) * step, start - stride * padding + stride * (kernel - 1) * 0.5]

        def through_upsampling(stride, start, kernel, factor):
            return stride / factor, start - (kernel - 1) / 2 * stride / factor

        def crop_offset(stride, start, reference_start):
            return np.int64(round((reference_start - start) / stride))

        def fuse(skip, upscore, offset):
            y = upscore.copy()
            y += skip[:, :, offset:, offset:][:, :, : y.shape[2], : y.shape[3]]
            return y

        def fuse_backward(gy, skip, offset):
            bottom, right = (skip.shape[a] - offset - gy.shape[a] for a in (2, 3))
            return np.pad(gy, ((0, 0), (0, 0), (offset, bottom), (offset, right))), gy.copy()

        def up(x, factor):
            w = np.zeros((x.shape[1], x.shape[1], 2 * factor, 2 * factor))
            for c in range(x.shape[1]):
                w[c, c] = np.outer(init.tent(2 * factor), init.tent(2 * factor))
            return ops.ConvTranspose2d(factor).forward(x, w)

        def fcn16s(score, score_pool4, H, W):
            return up(fuse(score_pool4, up(score, 2), 5), 16)[:, :, 27 : 27 + H, 27 : 27 + W]

        def fcn8s(score, score_pool4, score_pool3, H, W):
            fused = fuse(score_pool3, up(fuse(score_pool4, up(score, 2), 5), 2), 9)
            return up(fused, 8)[:, :, 31 : 31 + H, 31 : 31 + W]
        """,
    ),
    "13 loops, counts in float64": (
        "13",
        """
        import numpy as np

        def confusion_matrix(pred, label, num_classes, ignore_index):
            n = np.zeros((num_classes, num_classes))
            for i, j in zip(label.ravel(), pred.ravel()):
                if i != ignore_index:
                    n[i, j] += 1
            return n

        def class_iu(n):
            iu = []
            for i in range(len(n)):
                union = n[i].sum() + n[:, i].sum() - n[i, i]
                iu.append(n[i, i] / union if union else np.nan)
            return np.array(iu)

        def mean_iu(pred, label, num_classes, ignore_index):
            return np.nanmean(class_iu(confusion_matrix(pred, label, num_classes, ignore_index)))
        """,
    ),
    "13 one-hot products, counts in int32": (
        "13",
        """
        import numpy as np

        def confusion_matrix(pred, label, num_classes, ignore_index):
            classes = np.arange(num_classes)
            kept = label.ravel() != ignore_index
            truth = (label.ravel()[kept][:, None] == classes).astype(np.int32)
            return truth.T @ (pred.ravel()[kept][:, None] == classes).astype(np.int32)

        def class_iu(n):
            with np.errstate(invalid="ignore"):
                return np.diag(n) / (n.sum(0) + n.sum(1) - np.diag(n))

        def mean_iu(pred, label, num_classes, ignore_index):
            n = sum(confusion_matrix(p, q, num_classes, ignore_index) for p, q in zip(pred, label))
            return np.array(np.nanmean(class_iu(n)))
        """,
    ),
    "14 in place, velocities by name": (
        "14",
        """
        import numpy as np
        from scratchfcn import Tensor, ops

        def sgd_step(w, g, v, lr, momentum, weight_decay):
            v *= momentum
            v += g
            v += weight_decay * w
            w -= lr * v
            return [w, v]

        def train(model, images, labels, steps, lr, momentum, weight_decay):
            velocities, losses = {}, np.zeros(steps)
            images = Tensor(images)
            for k in range(steps):
                loss = ops.softmax_cross_entropy(model(images), labels)
                loss.backward()
                losses[k] = loss.item()
                for name, p in model.named_parameters():
                    v = velocities.get(name, 0 * p.data)
                    p.data[...], velocities[name] = sgd_step(p.data, p.grad, v, lr, momentum, weight_decay)
                    p.grad = None
            return losses
        """,
    ),
    "14 losses as tensors": (
        "14",
        """
        import numpy as np
        from scratchfcn import Tensor, ops

        def sgd_step(w, g, v, lr, momentum, weight_decay):
            g = g + weight_decay * w
            return w - lr * g - lr * momentum * v, v * momentum + g

        def train(model, images, labels, steps, lr, momentum, weight_decay):
            parameters = [(p, [np.zeros(p.shape, p.dtype)]) for p in model.parameters()]

            def one():
                loss = ops.softmax_cross_entropy(model(Tensor(images)), Tensor(labels))
                model.zero_grad()
                loss.backward()
                for p, v in parameters:
                    p.data, v[0] = sgd_step(p.data, p.grad, v[0], lr, momentum, weight_decay)
                return loss

            return [one() for _ in range(steps)]
        """,
    ),
}


@pytest.mark.parametrize(("number", "source"), UNUSUAL.values(), ids=UNUSUAL)
def test_an_unusual_solution_passes(number: str, source: str, tmp_path: Path) -> None:
    result = result_of(number, dedent(source), tmp_path)
    assert result.passed, result.text
