"""A table of calls that cover every op: what `scratchfcn gradcheck` checks.

An op is right only if it is right for every geometry it allows, and the mistakes hide in the unusual ones: a
stride longer than the kernel leaves pixels that no window reaches, ceil mode lets windows hang over the
edge, dilation and groups move the indices about. So each op appears several times, with sizes that differ
along every axis (a swap of rows and columns must not go unnoticed) and as small as the geometry allows.

To add a case, add a line. Shapes are those of the inputs, in order; settings go to the op by name.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from . import ops
from .backend import to_device
from .gradcheck import Report, gradcheck
from .tensor import Tensor

LABELS = np.array([[[0, 3, 1], [2, 2, 0]], [[1, 1, 255], [255, 0, 3]]])  # (N, H, W) of 4 classes, two ignored
WEIGHT = np.array([0.5, 2.0, 1.0, 3.0])  # of the classes
STATISTICS = {"running_mean": np.array([0.3, -0.2, 1.0]), "running_var": np.array([0.5, 1.5, 2.0])}

OPERATORS: dict[str, Callable[..., Tensor]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
    "number_sub": lambda b: 2.0 - b,
    "number_div": lambda b: 2.0 / b,
    "relu6": lambda x: ops.relu6(x * 3.0),  # spread out, so that some numbers lie beyond 6, and ties at it
    "sum": lambda x, **settings: x.sum(**settings),
    "mean": lambda x, **settings: x.mean(**settings),
    "concat": lambda *xs, axis: ops.concat(xs, axis),
}  # those that are not called as ops.name(*inputs, **settings)


@dataclass(frozen=True)
class Case:
    """One call of one op."""

    op: str
    shapes: dict[str, tuple[int, ...]]
    settings: dict[str, Any] = field(default_factory=dict)
    ties: bool = False  # small whole numbers instead of ordinary ones: zeros and equal values, so kinks

    @property
    def geometry(self) -> str:
        """The settings as a person would write them: `stride=(2, 1) groups=2`; arrays by their shapes."""
        values = {k: v.shape if isinstance(v, np.ndarray) else v for k, v in self.settings.items()}
        words = [f"{k}={v}" for k, v in values.items()] + ["ties"] * self.ties
        return " ".join(words) or "–"

    def arrays(self, seed: int) -> list[np.ndarray]:
        """Float64 inputs. What is divided by stays away from 0."""
        rng = np.random.default_rng(seed)
        arrays = []
        for name, shape in self.shapes.items():
            x = rng.integers(-2, 3, shape).astype(np.float64) if self.ties else rng.standard_normal(shape)
            arrays.append(np.sign(x) * (0.5 + np.abs(x)) if name == "b" else x)
        return arrays

    def check(self, seed: int = 0, device: str = "cpu") -> Report:
        """Hold this call's gradients against finite differences, on `device`."""
        op = OPERATORS.get(self.op) or getattr(ops, self.op)

        def call(*inputs: Tensor) -> Tensor:
            # the settings' arrays afresh every time: batch norm writes into its running statistics
            settings = {
                k: to_device(v.copy(), device) if isinstance(v, np.ndarray) else v for k, v in self.settings.items()
            }
            return op(*inputs, **settings)

        call.__name__ = self.op
        names = list(self.shapes)
        inputs = [Tensor(a, requires_grad=True, device=device) for a in self.arrays(seed)]
        return gradcheck(call, *inputs, names=names, seed=seed)


def _conv(x: tuple, weight: tuple, bias: bool = True, op: str = "conv2d", **settings: Any) -> Case:
    """A convolution; the bias has as many numbers as the output has channels."""
    channels = weight[0] if op != "conv_transpose2d" else weight[1] * settings.get("groups", 1)
    shapes = {"x": x, "weight": weight} | ({"bias": (channels,)} if bias else {})
    return Case(op, shapes, settings)


def _x(op: str, x: tuple[int, ...], ties: bool = False, **settings: Any) -> Case:
    """An op of one input."""
    return Case(op, {"x": x}, settings, ties)


def _up(x: tuple, weight: tuple, bias: bool = True, **settings: Any) -> Case:
    return _conv(x, weight, bias, "conv_transpose2d", **settings)


def _batch_norm(shape: tuple[int, ...], training: bool, **settings: Any) -> Case:
    shapes = {"x": shape, "weight": shape[1:2], "bias": shape[1:2]}
    return Case("batch_norm2d", shapes, STATISTICS | {"training": training} | settings)


def _loss(**settings: Any) -> Case:
    return Case("softmax_cross_entropy", {"logits": (2, 4, 2, 3)}, {"labels": LABELS} | settings)


def _two(op: str, a: tuple[int, ...], b: tuple[int, ...]) -> Case:
    return Case(op, {"a": a, "b": b})


BROADCASTS = [((2, 3), (2, 3)), ((2, 3, 4), (4,)), ((2, 1, 3), (4, 1)), ((), (2, 2))]

CASES: list[Case] = [
    # convolution
    _conv((2, 3, 5, 6), (4, 3, 3, 3)),
    _conv((2, 3, 5, 6), (4, 3, 3, 2), bias=False, padding=1),
    _conv((1, 2, 7, 6), (3, 2, 3, 3), stride=2, padding=1),
    _conv((1, 2, 7, 8), (2, 2, 2, 3), stride=(3, 4)),
    _conv((1, 1, 7, 6), (2, 1, 2, 2), stride=3, padding=2),
    _conv((1, 2, 8, 7), (2, 2, 3, 2), dilation=(2, 3), padding=(1, 2)),
    _conv((2, 4, 5, 4), (6, 2, 3, 3), padding=1, groups=2),
    _conv((1, 3, 5, 5), (3, 1, 3, 3), padding=1, groups=3),
    _conv((2, 2, 5, 6), (4, 1, 3, 2), stride=2, padding=1, groups=2),
    _conv((2, 3, 3, 4), (5, 3, 1, 1)),
    _conv((1, 2, 3, 4), (3, 2, 3, 4)),
    _conv((2, 3, 4, 5), (4, 3, 1, 1), op="conv1x1"),
    _conv((1, 2, 1, 1), (3, 2, 1, 1), bias=False, op="conv1x1"),
    # transposed convolution
    _up((2, 3, 3, 4), (3, 2, 3, 3)),
    _up((1, 2, 3, 4), (2, 3, 4, 4), bias=False, stride=2, padding=1),
    _up((1, 2, 3, 2), (2, 2, 3, 2), stride=(2, 3), padding=(1, 0), output_padding=(1, 2)),
    _up((1, 2, 3, 3), (2, 2, 2, 2), stride=3),
    _up((2, 4, 3, 2), (4, 3, 3, 3), stride=2, groups=2),
    _up((1, 2, 3, 4), (2, 2, 3, 2), dilation=(2, 3), padding=1),
    # pooling
    _x("max_pool2d", (2, 3, 6, 4), kernel_size=2),
    _x("max_pool2d", (1, 2, 7, 6), kernel_size=3, stride=2, padding=1),
    _x("max_pool2d", (1, 2, 6, 5), kernel_size=3, stride=1),
    _x("max_pool2d", (1, 2, 7, 8), kernel_size=2, stride=3),
    _x("max_pool2d", (1, 2, 6, 5), kernel_size=(3, 2), stride=2, ceil_mode=True),
    _x("max_pool2d", (1, 2, 7, 6), kernel_size=2, stride=1, dilation=(2, 3)),
    _x("max_pool2d", (2, 2, 6, 4), ties=True, kernel_size=2),
    _x("avg_pool2d", (2, 3, 6, 4), kernel_size=2),
    _x("avg_pool2d", (1, 2, 7, 6), kernel_size=3, stride=2, padding=1),
    _x("avg_pool2d", (1, 2, 6, 5), kernel_size=(3, 2), stride=1),
    _x("avg_pool2d", (1, 2, 7, 8), kernel_size=2, stride=3),
    _x("avg_pool2d", (1, 2, 6, 5), kernel_size=3, stride=2, padding=1, ceil_mode=True),
    _x("global_avg_pool2d", (2, 3, 4, 5)),
    _x("adaptive_avg_pool2d", (2, 3, 5, 7), output_size=(2, 3)),
    _x("adaptive_avg_pool2d", (1, 2, 3, 4), output_size=(7, None)),
    _x("adaptive_avg_pool2d", (2, 3, 5, 7), output_size=1),
    # activations
    _x("relu", (2, 3, 4, 2)),
    _x("relu", (2, 3, 4, 2), ties=True),
    _x("relu6", (2, 3, 4, 2)),
    _x("relu6", (2, 3, 4, 2), ties=True),
    _x("dropout", (2, 3, 4, 2), p=0.5),
    _x("dropout", (2, 3, 4, 2), p=0.5, training=False),
    _x("softmax", (2, 4, 2, 3)),
    _x("softmax", (3, 4), axis=0),
    # shapes
    _x("crop", (2, 2, 5, 6), size=(3, 2), offset=(1, 3)),
    _x("pad", (2, 2, 3, 2), padding=1),
    _x("pad", (2, 2, 3, 2), padding=(1, 2, 0, 3)),
    Case("concat", {"x0": (2, 3, 2, 3), "x1": (2, 1, 2, 3), "x2": (2, 2, 2, 3)}, {"axis": 1}),
    Case("concat", {"x0": (2, 3), "x1": (4, 3)}, {"axis": 0}),
    _x("flatten", (2, 3, 2, 3)),
    _x("reshape", (2, 3, 4), shape=(4, 6)),
    _x("resize_bilinear", (2, 2, 3, 4), size=(7, 5)),
    _x("resize_bilinear", (2, 2, 3, 4), size=(7, 5), align_corners=True),
    _x("resize_bilinear", (1, 2, 6, 7), size=(3, 2)),
    _x("resize_bilinear", (1, 2, 6, 7), size=(3, 1), align_corners=True),
    # normalisation
    _batch_norm((3, 3, 2, 4), training=True),
    _batch_norm((3, 3, 2, 4), training=False),
    _batch_norm((2, 3, 1, 1), training=True, eps=0.1),
    _x("local_response_norm", (2, 6, 2, 3), size=5, alpha=0.5, beta=0.75),
    _x("local_response_norm", (2, 5, 2, 3), size=2, alpha=0.5, k=2.0),
    # the rest
    Case("linear", {"x": (3, 4), "weight": (5, 4), "bias": (5,)}),
    Case("linear", {"x": (2, 3, 4), "weight": (2, 4)}),
    _loss(),
    _loss(weight=WEIGHT),
    _loss(reduction="sum"),
    _loss(weight=WEIGHT, reduction="sum", ignore_index=255),
    *[_two(op, a, b) for op in ("add", "sub", "mul", "div") for a, b in BROADCASTS],
    Case("number_sub", {"b": (2, 3)}),
    Case("number_div", {"b": (2, 3)}),
    _x("sum", (2, 3, 4)),
    _x("sum", (2, 3, 4), axis=1),
    _x("sum", (2, 3, 4), axis=(0, -1), keepdims=True),
    _x("mean", (2, 3, 4)),
    _x("mean", (2, 3, 4), axis=(1, 2), keepdims=True),
]


def difference_from_numpy(case: Case, seed: int, report: Report) -> float:
    """How far the gradients of `report`, made on a GPU, are from those that NumPy computes for the same call.

    The largest difference over all entries, relative to the largest entry of that input's gradient.
    """
    worst = 0.0
    for ours, reference in zip(report.inputs, case.check(seed, "cpu").inputs, strict=True):
        a, b = ours.analytic, reference.analytic
        worst = max(worst, float(np.abs(a - b).max() / (np.abs(b).max() or 1.0)))
    return worst


def op_names() -> list[str]:
    """Every op in the table, in its order."""
    return list(dict.fromkeys(case.op for case in CASES))


def cases_of(op: str | None) -> list[Case]:
    """The cases of one op, or of all; KeyError for an op that the table does not hold."""
    cases = [case for case in CASES if op in (None, case.op)]
    if not cases:
        raise KeyError(op)
    return cases
