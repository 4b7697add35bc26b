"""Every op once more, as plain loops over numbers: the definition, read first, and an oracle for tests.

Nothing here is fast and nothing here is clever. Each function walks over its output one number at a time and
says, in Python, which input numbers make it. When a vectorised op in `scratchfcn.ops` puzzles you, read the
function of the same name here, then ask how the fast version manages to compute the same thing.

The FCN paper (section 3) writes every layer of a convolutional network in one form,

    y[i, j] = f( x[s*i + ki, s*j + kj]  for 0 <= ki, kj < k )

with kernel size k and stride s: the output at (i, j) sees a k x k window that starts at (s*i, s*j). A
matrix product f makes it a convolution, a maximum makes it max pooling, an elementwise function an
activation. The names below follow that line: (i, j) is a place in the output, (ki, kj) one tap of the
window, (row, col) the place in the input that the tap reads. Padding moves the window up and left; dilation
spreads its taps:

    row = stride*i - padding + dilation*ki

NumPy arrays in, NumPy arrays out, in the dtype of `x`; forward only. Inputs are taken to be legal (the ops
are the ones that explain what is wrong with an illegal one). Window arguments are an int or a (height,
width) pair.
"""

from collections.abc import Sequence

import numpy as np

Pair = int | tuple[int, int]


def _pair(value: Pair) -> tuple[int, int]:
    """An int means the same number for height and width."""
    return (value[0], value[1]) if isinstance(value, tuple | list) else (value, value)


def _windows(size: int, kernel: int, stride: int, padding: int, dilation: int = 1, ceil: bool = False) -> int:
    """How many windows fit along one axis of the input.

    A window reaches over dilation*(kernel - 1) + 1 numbers; the padded axis holds size + 2*padding. With
    `ceil`, a last window may hang over the end, provided that it starts inside the input or the padding
    before it.
    """
    room = size + 2 * padding - (dilation * (kernel - 1) + 1)
    if not ceil:
        return room // stride + 1
    count = -(-room // stride) + 1
    last_start = (count - 1) * stride - padding
    return count if last_start < size else count - 1


# ---- windows with weights: convolution and its transpose ---------------------------------------------------


def conv2d(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None = None,
    stride: Pair = 1,
    padding: Pair = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> np.ndarray:
    """Convolution: each output is the sum of a window of the input, weighted.

    y[n, o, i, j] = bias[o] + sum over c, ki, kj of weight[o, c, ki, kj] * x[n, c, s*i-p + d*ki, s*j-p + d*kj]

    Taps that fall outside the input read zero. With groups, output channel o sees only the channels of its
    group. Shapes: x (N, C, H, W), weight (OC, C/groups, KH, KW), bias (OC,) -> (N, OC, OH, OW).
    """
    N, _, H, W = x.shape
    OC, CG, KH, KW = weight.shape  # CG: channels of x in one group
    (sh, sw), (ph, pw), (dh, dw) = _pair(stride), _pair(padding), _pair(dilation)
    OH, OW = _windows(H, KH, sh, ph, dh), _windows(W, KW, sw, pw, dw)
    y = np.zeros((N, OC, OH, OW), x.dtype)
    for n, o, i, j in np.ndindex(y.shape):
        first = o // (OC // groups) * CG  # the first channel of o's group
        total = 0.0 if bias is None else bias[o]
        for c, ki, kj in np.ndindex(CG, KH, KW):
            row, col = sh * i - ph + dh * ki, sw * j - pw + dw * kj
            if 0 <= row < H and 0 <= col < W:
                total += weight[o, c, ki, kj] * x[n, first + c, row, col]
        y[n, o, i, j] = total
    return y


def conv1x1(x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None = None) -> np.ndarray:
    """A linear classifier applied at every place: how a fully connected layer becomes convolutional.

    y[n, o, i, j] = bias[o] + sum over c of weight[o, c, 0, 0] * x[n, c, i, j]

    Shapes: x (N, C, H, W), weight (OC, C, 1, 1), bias (OC,) -> (N, OC, H, W).
    """
    N, C, H, W = x.shape
    y = np.zeros((N, weight.shape[0], H, W), x.dtype)
    for n, o, i, j in np.ndindex(y.shape):
        total = 0.0 if bias is None else bias[o]
        for c in range(C):
            total += weight[o, c, 0, 0] * x[n, c, i, j]
        y[n, o, i, j] = total
    return y


def conv_transpose2d(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None = None,
    stride: Pair = 1,
    padding: Pair = 0,
    output_padding: Pair = 0,
    groups: int = 1,
    dilation: Pair = 1,
) -> np.ndarray:
    """Transposed convolution ("deconvolution"): each input number stamps a weighted copy of the kernel.

    y[n, o, s*i - p + d*ki, s*j - p + d*kj] += weight[c, o, ki, kj] * x[n, c, i, j]

    Read beside `conv2d`: the places are the same, but x and y have changed sides, so here (i, j) is a place
    in the *input* and (row, col) one in the output. Stamps outside the output are lost. `output_padding`
    makes the output larger at the bottom and right, to choose among the sizes which conv2d maps to the same
    one. Shapes: x (N, C, H, W), weight (C, OC/groups, KH, KW), bias (OC,) -> (N, OC, OH, OW) with OH = (H -
    1)*s - 2*p + d*(KH - 1) + 1 + output_padding.
    """
    N, C, H, W = x.shape
    _, OG, KH, KW = weight.shape  # OG: output channels in one group
    (sh, sw), (ph, pw), (dh, dw) = _pair(stride), _pair(padding), _pair(dilation)
    oph, opw = _pair(output_padding)
    OH = (H - 1) * sh - 2 * ph + dh * (KH - 1) + 1 + oph
    OW = (W - 1) * sw - 2 * pw + dw * (KW - 1) + 1 + opw
    y = np.zeros((N, OG * groups, OH, OW), x.dtype)
    for n, c, i, j in np.ndindex(x.shape):
        first = c // (C // groups) * OG  # the first output channel of c's group
        for o, ki, kj in np.ndindex(OG, KH, KW):
            row, col = sh * i - ph + dh * ki, sw * j - pw + dw * kj
            if 0 <= row < OH and 0 <= col < OW:
                y[n, first + o, row, col] += weight[c, o, ki, kj] * x[n, c, i, j]
    if bias is not None:
        for n, o, row, col in np.ndindex(y.shape):
            y[n, o, row, col] += bias[o]
    return y


# ---- windows without weights: pooling ----------------------------------------------------------------------


def max_pool2d(
    x: np.ndarray,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    dilation: Pair = 1,
    ceil_mode: bool = False,
) -> np.ndarray:
    """The largest number of each window.

    y[n, c, i, j] = max over ki, kj of x[n, c, s*i - p + d*ki, s*j - p + d*kj]

    Taps outside the input count as -inf, so that padding never wins, not even over negative numbers. A NaN
    in the window wins: bad numbers should be seen, not dropped. `stride` None means the kernel size.
    Shapes: x (N, C, H, W) -> (N, C, OH, OW).
    """
    N, C, H, W = x.shape
    KH, KW = _pair(kernel_size)
    sh, sw = (KH, KW) if stride is None else _pair(stride)
    (ph, pw), (dh, dw) = _pair(padding), _pair(dilation)
    OH, OW = _windows(H, KH, sh, ph, dh, ceil_mode), _windows(W, KW, sw, pw, dw, ceil_mode)
    y = np.zeros((N, C, OH, OW), x.dtype)
    for n, c, i, j in np.ndindex(y.shape):
        largest = -np.inf
        for ki, kj in np.ndindex(KH, KW):
            row, col = sh * i - ph + dh * ki, sw * j - pw + dw * kj
            if 0 <= row < H and 0 <= col < W:
                value = x[n, c, row, col]
                if value > largest or np.isnan(value):
                    largest = value
        y[n, c, i, j] = largest
    return y


def avg_pool2d(
    x: np.ndarray, kernel_size: Pair, stride: Pair | None = None, padding: Pair = 0, ceil_mode: bool = False
) -> np.ndarray:
    """The mean of each window, in which padding counts as zeros.

    y[n, c, i, j] = 1/M * sum over ki, kj of x[n, c, s*i - p + ki, s*j - p + kj]

    M is the number of taps inside the *padded* input: KH*KW, except where `ceil_mode` lets the last window
    hang over the end of the padding. `stride` None means the kernel size. Shapes: x (N, C, H, W) -> (N, C,
    OH, OW).
    """
    N, C, H, W = x.shape
    KH, KW = _pair(kernel_size)
    sh, sw = (KH, KW) if stride is None else _pair(stride)
    ph, pw = _pair(padding)
    OH, OW = _windows(H, KH, sh, ph, 1, ceil_mode), _windows(W, KW, sw, pw, 1, ceil_mode)
    y = np.zeros((N, C, OH, OW), x.dtype)
    for n, c, i, j in np.ndindex(y.shape):
        total, M = 0.0, 0
        for ki, kj in np.ndindex(KH, KW):
            row, col = sh * i - ph + ki, sw * j - pw + kj
            if row < H + ph and col < W + pw:  # no window starts before the padding: only ends need a check
                M += 1
            if 0 <= row < H and 0 <= col < W:
                total += x[n, c, row, col]
        y[n, c, i, j] = total / M
    return y


def global_avg_pool2d(x: np.ndarray) -> np.ndarray:
    """The mean of each whole channel, kept as a 1 x 1 map.

    y[n, c, 0, 0] = 1/(H*W) * sum over i, j of x[n, c, i, j]

    Shapes: x (N, C, H, W) -> (N, C, 1, 1).
    """
    N, C, H, W = x.shape
    y = np.zeros((N, C, 1, 1), x.dtype)
    for n, c in np.ndindex(N, C):
        total = 0.0
        for i, j in np.ndindex(H, W):
            total += x[n, c, i, j]
        y[n, c, 0, 0] = total / (H * W)
    return y


def adaptive_avg_pool2d(x: np.ndarray, output_size: int | tuple[int | None, int | None] | None) -> np.ndarray:
    """The means of OH x OW windows that cover the image evenly.

    y[n, c, i, j] = the mean of x[n, c, row, col] for row in the i-th of OH parts of the rows, and col likewise

    Part i of OH starts at row floor(i*H/OH) and ends before row ceil((i+1)*H/OH): with H = 5 and OH = 2, the
    parts are rows 0-2 and 2-4. None keeps the size of that axis. Shapes: x (N, C, H, W) -> (N, C, OH, OW).
    """
    N, C, H, W = x.shape
    OH, OW = output_size if isinstance(output_size, tuple | list) else (output_size, output_size)
    OH, OW = H if OH is None else OH, W if OW is None else OW
    y = np.zeros((N, C, OH, OW), x.dtype)
    for n, c, i, j in np.ndindex(y.shape):
        total, count = 0.0, 0
        for row in range(i * H // OH, -(-(i + 1) * H // OH)):
            for col in range(j * W // OW, -(-(j + 1) * W // OW)):
                total += x[n, c, row, col]
                count += 1
        y[n, c, i, j] = total / count
    return y


# ---- one number at a time, or one axis: activations --------------------------------------------------------


def relu(x: np.ndarray) -> np.ndarray:
    """y = x where x is positive, else 0 (a NaN stays a NaN). Any shape."""
    y = np.zeros_like(x)
    for at in np.ndindex(x.shape):
        y[at] = 0.0 if x[at] <= 0 else x[at]
    return y


def relu6(x: np.ndarray) -> np.ndarray:
    """y = x where x lies between 0 and 6, else the nearer of the two (a NaN stays a NaN). Any shape."""
    y = np.zeros_like(x)
    for at in np.ndindex(x.shape):
        y[at] = 0.0 if x[at] <= 0 else 6.0 if x[at] >= 6 else x[at]
    return y


def dropout(x: np.ndarray, p: float = 0.5, training: bool = True, mask: np.ndarray | None = None) -> np.ndarray:
    """Drop numbers, and scale up the rest so that the expected value stays the same.

    y = x * mask / (1 - p), with mask 1 where a number is kept and 0 where it is dropped

    The op draws its mask with probability p of a 0; a definition draws nothing, so here the mask is given.
    Identity for p = 0 and outside training. Any shape; mask has the shape of x.
    """
    if p == 0 or not training:
        return x.copy()
    if mask is None:
        raise ValueError(f"dropout: the definition is deterministic: with p={p} in training it needs mask=")
    y = np.zeros_like(x)
    for at in np.ndindex(x.shape):
        if mask[at]:
            y[at] = x[at] / (1 - p)
    return y


def softmax(x: np.ndarray, axis: int = 1) -> np.ndarray:
    """Scores to probabilities along one axis.

    y[k] = exp(x[k] - m) / sum over l of exp(x[l] - m),  m = max over l of x[l]

    Any m gives the same y; the largest score keeps exp from overflowing. Any shape.
    """
    y = np.zeros_like(x)
    scores, out = np.moveaxis(x, axis, -1), np.moveaxis(y, axis, -1)  # views: the chosen axis is now the last
    for at in np.ndindex(scores.shape[:-1]):
        m = max(scores[at])
        total = 0.0
        for score in scores[at]:
            total += np.exp(score - m)
        for k, score in enumerate(scores[at]):
            out[(*at, k)] = np.exp(score - m) / total
    return y


# ---- numbers moved, not changed: shapes --------------------------------------------------------------------


def crop(x: np.ndarray, size: Pair, offset: Pair = (0, 0)) -> np.ndarray:
    """A window of the last two axes: how FCN lines up a skip with an upsampled map.

    y[..., i, j] = x[..., oy + i, ox + j]

    Shapes: x (..., H, W), size (OH, OW), offset (oy, ox) -> (..., OH, OW).
    """
    (OH, OW), (oy, ox) = _pair(size), _pair(offset)
    y = np.zeros((*x.shape[:-2], OH, OW), x.dtype)
    for *front, i, j in np.ndindex(y.shape):
        y[(*front, i, j)] = x[(*front, oy + i, ox + j)]
    return y


def pad(x: np.ndarray, padding: int | tuple[int, int] | tuple[int, int, int, int]) -> np.ndarray:
    """Zeros around the last two axes.

    y[..., top + i, left + j] = x[..., i, j], and 0 elsewhere

    `padding` is an int for all four sides, (ph, pw) for both sides of height and width, or (left, right, top,
    bottom). Shapes: x (..., H, W) -> (..., top + H + bottom, left + W + right).
    """
    if not isinstance(padding, tuple | list) or len(padding) == 2:
        ph, pw = _pair(padding)
        padding = (pw, pw, ph, ph)
    left, right, top, bottom = padding
    *front_shape, H, W = x.shape
    y = np.zeros((*front_shape, top + H + bottom, left + W + right), x.dtype)
    for *front, i, j in np.ndindex(x.shape):
        y[(*front, top + i, left + j)] = x[(*front, i, j)]
    return y


def concat(arrays: Sequence[np.ndarray], axis: int = 1) -> np.ndarray:
    """Arrays one behind the other along an axis.

    y[.., start + k, ..] = array[.., k, ..], start = how many the arrays before it hold along the axis

    All shapes are equal except along the axis.
    """
    shape = list(arrays[0].shape)
    axis = axis % len(shape)
    shape[axis] = sum(array.shape[axis] for array in arrays)
    y = np.zeros(shape, arrays[0].dtype)
    start = 0
    for array in arrays:
        for at in np.ndindex(array.shape):
            y[(*at[:axis], start + at[axis], *at[axis + 1 :])] = array[at]
        start += array.shape[axis]
    return y


def reshape(x: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """The same numbers in another shape, in reading order: last axis fastest.

    y[b] = x[a] where a and b have the same place in the reading order,
    place = (..(a[0]*A[1] + a[1])*A[2] + ..) + a[-1] for x of shape A

    One size of `shape` may be -1: then it is what the others leave.
    """
    shape = list(shape)
    if -1 in shape:
        others = 1
        for size in shape:
            others *= size if size != -1 else 1
        shape[shape.index(-1)] = x.size // others
    y = np.zeros(shape, x.dtype)
    for a in np.ndindex(x.shape):
        place = 0
        for index, size in zip(a, x.shape, strict=True):
            place = place * size + index
        b = []
        for size in reversed(shape):  # digit by digit, the fastest first
            b.insert(0, place % size)
            place //= size
        y[tuple(b)] = x[a]
    return y


def flatten(x: np.ndarray, start: int = 1) -> np.ndarray:
    """Join all axes from `start` on into one, the last running fastest.

    For x (N, C, H, W) and start 1: y[n, (c*H + h)*W + w] = x[n, c, h, w], shape (N, C*H*W).
    """
    start = start % x.ndim
    length = 1
    for size in x.shape[start:]:
        length *= size
    y = np.zeros((*x.shape[:start], length), x.dtype)
    for at in np.ndindex(x.shape):
        place = 0
        for axis in range(start, x.ndim):
            place = place * x.shape[axis] + at[axis]
        y[(*at[:start], place)] = x[at]
    return y


# ---- resizing ----------------------------------------------------------------------------------------------


def _between(i: int, size: int, out_size: int, align_corners: bool) -> tuple[int, int, float]:
    """The two input places that output place i lies between, and its distance from the first (0 to 1)."""
    if align_corners:  # the centres of the corner pixels coincide
        place = i * (size - 1) / (out_size - 1) if out_size > 1 else 0.0
    else:  # the edges of the images coincide; pixel i covers [i, i + 1) and its centre is at i + 0.5
        place = max(0.0, (i + 0.5) * size / out_size - 0.5)
    low = min(int(place), size - 1)
    high = min(low + 1, size - 1)
    return low, high, place - low


def resize_bilinear(x: np.ndarray, size: Pair, align_corners: bool = False) -> np.ndarray:
    """Bilinear interpolation to a new size: every output is a mean of four inputs, weighted by nearness.

    y[n, c, i, j] =   (1-a)*(1-b) * x[n, c, row0, col0] + (1-a)*b * x[n, c, row0, col1]
                    +    a *(1-b) * x[n, c, row1, col0] +    a *b * x[n, c, row1, col1]

    where output row i lies a fraction a of the way from input row0 to row1, and column j a fraction b from
    col0 to col1. Shapes: x (N, C, H, W), size (OH, OW) -> (N, C, OH, OW).
    """
    N, C, H, W = x.shape
    OH, OW = _pair(size)
    y = np.zeros((N, C, OH, OW), x.dtype)
    for n, c, i, j in np.ndindex(y.shape):
        row0, row1, a = _between(i, H, OH, align_corners)
        col0, col1, b = _between(j, W, OW, align_corners)
        top = (1 - b) * x[n, c, row0, col0] + b * x[n, c, row0, col1]
        bottom = (1 - b) * x[n, c, row1, col0] + b * x[n, c, row1, col1]
        y[n, c, i, j] = (1 - a) * top + a * bottom
    return y


# ---- the fully connected layer -----------------------------------------------------------------------------


def linear(x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None = None) -> np.ndarray:
    """Every output is a weighted sum of every input.

    y[.., o] = bias[o] + sum over c of weight[o, c] * x[.., c]

    Shapes: x (..., C), weight (OC, C), bias (OC,) -> (..., OC).
    """
    OC, C = weight.shape
    y = np.zeros((*x.shape[:-1], OC), x.dtype)
    for *at, o in np.ndindex(y.shape):
        total = 0.0 if bias is None else bias[o]
        for c in range(C):
            total += weight[o, c] * x[(*at, c)]
        y[(*at, o)] = total
    return y


# ---- normalisation -----------------------------------------------------------------------------------------


def batch_norm2d(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray,
    running_mean: np.ndarray,
    running_var: np.ndarray,
    training: bool,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> np.ndarray:
    """Shift and scale every channel to mean 0 and variance 1, then by learned numbers.

    y[n, c, i, j] = weight[c] * (x[n, c, i, j] - mean[c]) / sqrt(var[c] + eps) + bias[c]

    In training, mean and var (divided by M = N*H*W) are those of the batch, and the running ones are
    updated *in place*: running = (1 - momentum)*running + momentum*batch, the variance this time divided by
    M - 1. In evaluation, mean and var are the running ones. Shapes: x (N, C, H, W), the others (C,) -> (N,
    C, H, W).
    """
    N, C, H, W = x.shape
    y = np.zeros_like(x)
    for c in range(C):
        mean, var = running_mean[c], running_var[c]
        if training:
            M = N * H * W
            total = 0.0
            for n, i, j in np.ndindex(N, H, W):
                total += x[n, c, i, j]
            mean = total / M
            squares = 0.0
            for n, i, j in np.ndindex(N, H, W):
                squares += (x[n, c, i, j] - mean) ** 2
            var = squares / M
            running_mean[c] = (1 - momentum) * running_mean[c] + momentum * mean
            running_var[c] = (1 - momentum) * running_var[c] + momentum * squares / (M - 1)
        for n, i, j in np.ndindex(N, H, W):
            y[n, c, i, j] = weight[c] * (x[n, c, i, j] - mean) / np.sqrt(var + eps) + bias[c]
    return y


def local_response_norm(
    x: np.ndarray, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> np.ndarray:
    """Divide every number by how loud its neighbours in the channel axis are (AlexNet, section 3.3).

    y[n, c, i, j] = x[n, c, i, j] / (k + alpha/size * sum over l of x[n, l, i, j]**2) ** beta

    with l from c - size//2 to c + (size - 1)//2: `size` channels around c, for an even size one more before
    than after. Channels that do not exist count as zero. Shapes: x (N, C, H, W) -> (N, C, H, W).
    """
    C = x.shape[1]
    y = np.zeros_like(x)
    for n, c, i, j in np.ndindex(x.shape):
        squares = 0.0
        for l in range(c - size // 2, c + (size - 1) // 2 + 1):
            if 0 <= l < C:
                squares += x[n, l, i, j] ** 2
        y[n, c, i, j] = x[n, c, i, j] / (k + alpha / size * squares) ** beta
    return y


# ---- the loss ----------------------------------------------------------------------------------------------


def softmax_cross_entropy(
    logits: np.ndarray,
    labels: np.ndarray,
    weight: np.ndarray | None = None,
    ignore_index: int = 255,
    reduction: str = "mean",
) -> np.ndarray:
    """How surprised the scores are by the labels, over all pixels that have one.

    nll[n, i, j] = log(sum over k of exp(logits[n, k, i, j])) - logits[n, label, i, j],
    label = labels[n, i, j]

    "sum" adds weight[label] * nll over the kept pixels, those whose label is not `ignore_index`; "mean"
    divides that by the sum of weight[label] (with no weights: by the number of kept pixels), and is 0 when
    none is kept. Shapes: logits (N, K, H, W), labels (N, H, W), weight (K,) -> (). Pixels may lie along any
    number of axes: whole images have logits (N, K) and labels (N,).
    """
    loss, weights = 0.0, 0.0
    for n, *pixel in np.ndindex(labels.shape):
        label = labels[(n, *pixel)]
        if label == ignore_index:
            continue
        scores = logits[(n, slice(None), *pixel)]  # (K,)
        m = max(scores)  # taken out of the logarithm, so that exp cannot overflow
        total = 0.0
        for score in scores:
            total += np.exp(score - m)
        nll = m + np.log(total) - scores[label]
        loss += nll if weight is None else weight[label] * nll
        weights += 1.0 if weight is None else weight[label]
    if reduction == "mean":
        loss = loss / weights if weights > 0 else 0.0
    return np.array(loss, logits.dtype)
