"""Normalisation: batch norm, which trains deep nets from scratch, and the local response norm of 2012's AlexNet."""

from typing import Any

from ..backend import array_module
from ..cuda import kernels
from ..parallel import matmul, share
from ..tensor import Function, Tensor
from .layout import blocks


class BatchNorm2d(Function):
    """Per channel: x̂ = (x - mean) / √(var + eps), y = weight·x̂ + bias.

    In training, mean and var are those of this batch, over all M = N·H·W pixels of the channel; they depend on
    x, so the gradient has three terms (Ioffe & Szegedy 2015, section 3):
        gx = weight / √(var + eps) · (gy - mean(gy) - x̂·mean(gy·x̂))
    In evaluation they are constants, the running statistics, and only the first term remains.

    Derivation: let g = gy·weight, the gradient by x̂, and s = 1/√(var + eps). x_i moves its own x̂_i by s; it moves the
    mean, and with it every x̂_j, by -s/M; and it moves var by 2·(x_i - mean)/M, which moves every x̂_j by
    -½·s²·x̂_j·2·(x_i - mean)/M = -s·x̂_j·x̂_i/M. Summed over j: gx_i = s·(g_i - Σ_j g_j/M - x̂_i·Σ_j g_j·x̂_j/M), the line
    above. gweight = Σ gy·x̂ and gbias = Σ gy, over the pixels of the channel. (The paper's nets had no batch norm.)
    """

    def __init__(self, running_mean: Any, running_var: Any, training: bool, momentum: float, eps: float) -> None:
        self.running_mean, self.running_var = running_mean, running_var
        self.training, self.momentum, self.eps = training, momentum, eps

    def forward(self, x: Any, weight: Any, bias: Any) -> Any:
        check_batch_norm(x, weight, bias, self.running_mean, self.running_var, self.training)
        xp, C = array_module(x), x.shape[1]
        self.M = x.size // max(C, 1)
        self.is_fused = self._can_be_fused(x, weight, bias)
        if self.is_fused:
            return self._fused_forward(x, weight, bias)
        if self.training:
            mean, var = xp.empty(C, x.dtype), xp.empty(C, x.dtype)
        else:
            mean, var = self.running_mean.astype(x.dtype), self.running_var.astype(x.dtype)
        centred, y, scale = xp.empty_like(x), xp.empty_like(x), xp.empty(C, x.dtype)

        def normalise(block: Any) -> None:
            some = channels_of(block)
            if self.training:
                mean[some] = x[block].mean(axis=(0, 2, 3))
            xp.subtract(x[block], per_channel(mean[some]), out=centred[block])
            if self.training:
                var[some] = sum_of_products(centred[block], centred[block]) / self.M
            scale[some] = 1.0 / (var[some] + self.eps) ** 0.5
            xp.multiply(centred[block], per_channel(weight[some] * scale[some]), out=y[block])
            y[block] += per_channel(bias[some])

        share(normalise, blocks(x), x)
        if self.training:
            self._update_running(mean, var)
        self.scale, self.centred, self.weight = scale, centred, weight  # x̂ = centred·scale is never stored
        return y

    def backward(self, gy: Any) -> tuple[Any, Any, Any]:
        if self.is_fused:
            return self._fused_backward(gy)
        xp, centred, C = array_module(gy), self.centred, gy.shape[1]
        gx, gweight, gbias = xp.empty_like(centred), xp.empty(C, gy.dtype), xp.empty(C, gy.dtype)

        def gradients(block: Any) -> None:
            some = channels_of(block)
            gbias[some] = gy[block].sum(axis=(0, 2, 3))
            gweight[some] = self.scale[some] * sum_of_products(gy[block], centred[block])  # Σ gy·x̂
            if not self.needs_grad(0):
                return
            if self.training:
                xp.multiply(centred[block], per_channel(self.scale[some] * gweight[some] / -self.M), out=gx[block])
                gx[block] += gy[block]
                gx[block] -= per_channel(gbias[some] / self.M)
            else:
                gx[block] = gy[block]
            gx[block] *= per_channel(self.weight[some] * self.scale[some])

        share(gradients, blocks(centred), centred)
        return gx if self.needs_grad(0) else None, gweight, gbias

    def _can_be_fused(self, x: Any, *vectors: Any) -> bool:
        """Whether the kernels take it. A class derived from this one may want, in its backward, what the plain way
        keeps."""
        vectors += self.running_mean, self.running_var
        simple = all(v.dtype == x.dtype and v.flags.c_contiguous for v in vectors)
        return type(self) is BatchNorm2d and kernels.fused(x) and kernels.summable(x) and simple

    def _fused_forward(self, x: Any, weight: Any, bias: Any) -> Any:
        """The same in a handful of kernels. They subtract the mean anew each time, so that only x itself is kept."""
        if self.training:
            mean, var = kernels.batch_statistics(x, self.running_mean, self.running_var, self.momentum)
        else:
            mean, var = self.running_mean.copy(), self.running_var.copy()
        self.x, self.weight, self.statistics = x, weight, (mean, var, self.eps)
        return kernels.normalise(x, *self.statistics, weight, bias)

    def _fused_backward(self, gy: Any) -> tuple[Any, Any, Any]:
        gy = gy.astype(self.x.dtype, copy=False)
        gweight, gbias = kernels.batch_norm_parameters(gy, self.x, *self.statistics)
        if not self.needs_grad(0):
            return None, gweight, gbias
        parameters = self.weight, gweight, gbias, self.training
        return kernels.batch_norm_backward(gy, self.x, *self.statistics, *parameters), gweight, gbias

    def _update_running(self, mean: Any, var: Any) -> None:
        """Exponential averages for evaluation, in place; the variance is made unbiased first, as torch does."""
        keep = 1.0 - self.momentum
        for running, new in ((self.running_mean, mean), (self.running_var, var * (self.M / (self.M - 1)))):
            running *= keep
            running += (self.momentum * new).astype(running.dtype)


def batch_norm2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    running_mean: Any,
    running_var: Any,
    training: bool,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalise each channel of x (N, C, H, W) to mean 0 and variance 1, then scale by weight and shift by bias, (C,).

    running_mean, running_var: (C,) arrays, updated in place while `training` and used instead of the batch's
    own statistics otherwise. Errors: ValueError where the (C,) vectors do not fit, or for training on one value per
    channel, whose variance says nothing. Source: Ioffe & Szegedy 2015, algorithm 1.
    """
    arrays = [r.data if isinstance(r, Tensor) else r for r in (running_mean, running_var)]
    return BatchNorm2d(*arrays, training, momentum, eps)(x, weight, bias)


def check_batch_norm(x: Any, weight: Any, bias: Any, mean: Any, var: Any, training: bool) -> None:
    """The vectors belong to x's channels; a batch of one value per channel has no variance."""
    if x.ndim != 4 or x.dtype.kind != "f":
        raise ValueError(
            f"batch_norm2d: x must be a floating point image (N, C, H, W), got {x.dtype} of shape {x.shape}"
        )
    C = x.shape[1]
    vectors = {"weight": weight, "bias": bias, "running_mean": mean, "running_var": var}
    for what, vector in vectors.items():
        if vector.shape != (C,):
            raise ValueError(f"batch_norm2d: x has {C} channels but {what} has shape {vector.shape}; it must be ({C},)")
    if weight.dtype != x.dtype or bias.dtype != x.dtype:
        raise TypeError(
            f"batch_norm2d: x is {x.dtype} but weight is {weight.dtype} and bias {bias.dtype}; use one type"
        )
    if training and C > 0 and x.size <= C:
        raise ValueError(
            f"batch_norm2d: training on at most one value per channel, x {x.shape}: its variance says nothing; "
            "use a larger batch or larger images, or eval()"
        )


def channels_of(block: Any) -> Any:
    """The channels of a block of images, for arrays of one number per channel."""
    return block if block is ... else block[1]


def per_channel(numbers: Any) -> Any:
    """(C,) → (C, 1, 1): one number for each channel of (N, C, H, W)."""
    return numbers[:, None, None]


def sum_of_products(a: Any, b: Any) -> Any:
    """Σ a·b over the pixels of each channel of a and b (N, C, H, W), as C dot products: (C,)."""
    C = a.shape[1]
    rows = [image.transpose(1, 0, 2, 3).reshape(C, -1) for image in (a, b)]
    return matmul(rows[0][:, None, :], rows[1][:, :, None]).reshape(C)


class LocalResponseNorm(Function):
    """y_c = x_c / b_c^beta with b_c = k + alpha/size · Σ x_j² over the `size` channels around c.

    Backward: gx_c = gy_c·b_c^-beta - 2·beta·alpha/size · x_c · Σ over the channels j that c contributes to of
    gy_j·x_j·b_j^(-beta-1).

    Derivation: x_c is in y_c itself, with the factor b_c^-beta, and in the b_j of its neighbours, ∂b_j/∂x_c =
    2·alpha/size·x_c, each of which moves its y_j by x_j·(-beta)·b_j^(-beta-1). Krizhevsky et al. 2012, section 3.3; in
    the paper's AlexNet and GoogLeNet.
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        if size < 1:
            raise ValueError(f"local_response_norm: size is a number of channels, at least 1, got {size}")
        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k

    def forward(self, x: Any) -> Any:
        if x.ndim != 4 or x.dtype.kind != "f":
            raise ValueError(f"local_response_norm: x must be a floating point image (N, C, H, W), got {x.shape}")
        before = self.size // 2  # an even window reaches one channel further down than up, as torch's
        self.x = x
        self.b = self.k + self.alpha / self.size * channel_window_sum(x * x, before, self.size - before - 1)
        return x * self.b**-self.beta

    def backward(self, gy: Any) -> Any:
        after = self.size // 2  # channel c appears in the windows of its neighbours: the mirrored window
        shared = channel_window_sum(gy * self.x * self.b ** (-self.beta - 1), self.size - after - 1, after)
        return gy * self.b**-self.beta - (2 * self.beta * self.alpha / self.size) * self.x * shared


def local_response_norm(x: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Tensor:
    """Divide each value by the energy of its `size` neighbouring channels: (N, C, H, W), same shape.

    alpha is divided by `size`, as in torch and Caffe. Source: Krizhevsky et al. 2012, section 3.3.
    """
    return LocalResponseNorm(size, alpha, beta, k)(x)


def channel_window_sum(x: Any, before: int, after: int) -> Any:
    """s[:, c] = x[:, c - before] + … + x[:, c + after], with zeros outside: (N, C, H, W), same shape."""
    C = x.shape[1]
    total = array_module(x).zeros_like(x)
    for offset in range(-before, after + 1):  # add the channel `offset` further on, where there is one
        low, high = max(0, -offset), min(C, C - offset)
        if low < high:
            total[:, low:high] += x[:, low + offset : high + offset]
    return total
