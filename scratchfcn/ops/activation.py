"""Activations: ReLU, ReLU6, dropout and softmax. They change values, never shapes, and know no neighbours."""

from typing import Any

from ..backend import array_module, generator
from ..cuda.graph import drawn
from ..parallel import share
from ..tensor import Function, Tensor, as_tensor
from .layout import blocks


class Relu(Function):
    """y = max(x, 0);   gx = gy where x > 0, else 0 (at exactly 0 there is no slope; torch and we say 0).

    Derivation: y_i depends on x_i alone, so gx_i = gy_i · dy_i/dx_i, and the slope of max(x, 0) is 1 to the right of 0
    and 0 to the left. Where y is positive x was, so y is all that has to be kept. Paper, section 3: an element-wise
    nonlinearity as the layer's f.
    """

    def forward(self, x: Any) -> Any:
        xp = array_module(x)
        y = xp.empty_like(x)

        def block(b: Any) -> None:
            xp.maximum(x[b], 0, out=y[b])

        share(block, blocks(x), x)
        self.y = y
        return y

    def backward(self, gy: Any) -> Any:
        xp, y = array_module(gy), self.y
        gx = xp.empty_like(y)

        def block(b: Any) -> None:
            xp.multiply(gy[b], y[b] > 0, out=gx[b])

        share(block, blocks(y), y)
        return gx


def relu(x: Tensor) -> Tensor:
    """max(x, 0), any shape."""
    return Relu()(x)


class Relu6(Function):
    """y = min(max(x, 0), 6);   gx = gy where 0 < x < 6, else 0 (at 0 and at 6 torch and we say 0).

    Derivation: as for ReLU, with a second bend at 6, beyond which the slope is 0 again. MobileNet's ReLU: a bounded
    activation keeps its precision in few bits, for which those nets are made (Sandler et al. 2018).
    """

    def forward(self, x: Any) -> Any:
        xp = array_module(x)
        y = xp.empty_like(x)

        def block(b: Any) -> None:
            some = y[b]
            xp.maximum(x[b], 0, out=some)
            xp.minimum(some, 6, out=some)

        share(block, blocks(x), x)
        self.y = y
        return y

    def backward(self, gy: Any) -> Any:
        xp, y = array_module(gy), self.y
        gx = xp.empty_like(y)

        def block(b: Any) -> None:
            xp.multiply(gy[b], (y[b] > 0) & (y[b] < 6), out=gx[b])

        share(block, blocks(y), y)
        return gx


def relu6(x: Tensor) -> Tensor:
    """min(max(x, 0), 6), any shape. Source: MobileNetV2 (Sandler et al. 2018), section 5."""
    return Relu6()(x)


class Dropout(Function):
    """y = x·mask / (1 - p), each mask entry 1 with probability 1 - p, else 0;   gx = gy·mask / (1 - p).

    Dividing by 1 - p keeps the expected value, so that nothing has to be rescaled when dropout is switched off.
    Derivation: once the mask is drawn, y_i = c_i·x_i with a constant c_i, so gx_i = c_i·gy_i: the same mask, not a new
    one. Srivastava et al. 2014; the paper keeps it where its classifiers had it (section 4.3).
    """

    def __init__(self, p: float = 0.5) -> None:
        if not 0.0 <= p <= 1.0:
            raise ValueError(f"dropout: p is the probability of dropping a value, so 0 ≤ p ≤ 1, got {p}")
        self.p = p

    def forward(self, x: Any) -> Any:
        p, shape = self.p, x.shape
        # on the host: one seed, any device
        self.mask = drawn(lambda: generator().random(shape, dtype="float32") >= p, x, shape, bool)
        self.scale = 0.0 if self.p == 1.0 else 1.0 / (1.0 - self.p)
        return self.thinned(x)

    def backward(self, gy: Any) -> Any:
        return self.thinned(gy)

    def thinned(self, x: Any) -> Any:
        """x·mask / (1 - p), laid out like x."""
        xp = array_module(x)
        y = xp.multiply(x, self.mask, out=xp.empty_like(x))
        y *= self.scale
        return y


def dropout(x: Tensor, p: float = 0.5, training: bool = True) -> Tensor:
    """Zero each value with probability p and scale the rest by 1/(1 - p); the identity unless `training`."""
    drop = Dropout(p)  # checks p even when nothing is dropped
    return drop(x) if training and p > 0 else as_tensor(x)


class Softmax(Function):
    """y_k = e^{x_k} / Σ_j e^{x_j} along `axis`;   gx_k = y_k·(gy_k - Σ_j gy_j·y_j).

    Derivation: ∂y_j/∂x_k = y_j·([j = k] - y_k), because x_k raises y_k's numerator and everybody's denominator. So
    gx_k = Σ_j gy_j·y_j·([j = k] - y_k) = y_k·gy_k - y_k·Σ_j gy_j·y_j. Subtracting the largest x first changes nothing
    in the quotient and keeps e^x from overflowing. Paper, section 3: the per-pixel softmax of its loss.
    """

    def __init__(self, axis: int = 1) -> None:
        self.axis = axis

    def forward(self, x: Any) -> Any:
        if not -x.ndim <= self.axis < x.ndim:
            raise ValueError(f"softmax: axis {self.axis} does not exist in an input of shape {x.shape}")
        xp = array_module(x)
        e = xp.exp(x - x.max(axis=self.axis, keepdims=True))
        self.y = e / e.sum(axis=self.axis, keepdims=True)
        return self.y

    def backward(self, gy: Any) -> Any:
        y = self.y
        return y * (gy - (gy * y).sum(axis=self.axis, keepdims=True))


def softmax(x: Tensor, axis: int = 1) -> Tensor:
    """Probabilities along `axis` (the class axis by default): positive, summing to 1; the shape stays."""
    return Softmax(axis)(x)
