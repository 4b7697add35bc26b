"""The fully connected layer: every output is a weighted sum of all inputs."""

from typing import Any

from ..parallel import matmul
from ..tensor import Function, Tensor


class Linear(Function):
    """y = x @ wᵀ + b;   gx = gy @ w, gw = gyᵀ @ x, gb = Σ over the batch of gy.

    Derivation: y[n, o] = b[o] + Σ_i w[o, i]·x[n, i]. x[n, i] takes part in row n's outputs: gx[n, i] = Σ_o gy[n, o]·
    w[o, i]. w[o, i] takes part in output o of every row: gw[o, i] = Σ_n gy[n, o]·x[n, i], and gb[o] = Σ_n gy[n, o].
    Paper, section 3.1: a convolution whose kernel covers its whole input.
    """

    def forward(self, x: Any, w: Any, b: Any = None) -> Any:
        if x.ndim < 1 or w.ndim != 2 or x.shape[-1] != w.shape[1]:
            raise ValueError(f"linear: x {x.shape} and weight {w.shape} do not fit: need (…, IN) and (OUT, IN)")
        if x.dtype != w.dtype or x.dtype.kind != "f":
            raise TypeError(
                f"linear: x is {x.dtype} but weight is {w.dtype}; both must be the same floating point type"
            )
        if b is not None and b.dtype != x.dtype:
            raise TypeError(f"linear: x is {x.dtype} but bias is {b.dtype}; both must be the same type")
        if b is not None and b.shape != w.shape[:1]:
            raise ValueError(f"linear: bias has shape {b.shape} but weight {w.shape} needs ({w.shape[0]},)")
        self.x, self.w, self.biased = x, w, b is not None
        y = matmul(x, w.T)  # (…, OUT)
        return y if b is None else y + b

    def backward(self, gy: Any) -> tuple[Any, Any, Any]:
        OUT, IN = self.w.shape
        gy_rows, x_rows = gy.reshape(-1, OUT), self.x.reshape(-1, IN)
        gw = matmul(gy_rows.T, x_rows) if self.needs_grad(1) else None  # (OUT, IN)
        gb = gy_rows.sum(axis=0) if self.biased and self.needs_grad(2) else None  # (OUT,)
        gx = matmul(gy, self.w) if self.needs_grad(0) else None
        return gx, gw, gb


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x (…, IN) times weight (OUT, IN) transposed, plus bias (OUT,) → (…, OUT)."""
    return Linear()(x, weight, bias)
