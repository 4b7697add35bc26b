"""Each op's rule: whatever the geometry, onnxruntime and onnx's reference compute what the op does."""

import re
from collections.abc import Callable
from pathlib import Path

import geometries
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from onnx_tools import TOLERANCE, check, file_of, own, run_file, run_reference, worst

import scratchfcn as sf
from scratchfcn import nn, ops
from scratchfcn.export import RULES, Call, ExportError, Graph, to_onnx
from scratchfcn.export.rules import REFUSED
from scratchfcn.inspection.trace_calls import all_ops
from scratchfcn.tensor import Function, To


def has_reference(name: str, case: geometries.Case) -> bool:
    """Whether onnx's reference implementation (1.23) is to be asked. Not where it is at odds with the specification:
    batch norm up to operator set 13 mixes the batch's statistics in; LRN counts images instead of channels; transposed
    convolution fails with groups."""
    return name not in ("batch_norm2d", "local_response_norm") and not (
        name == "conv_transpose2d" and case.settings["groups"] > 1
    )


class OneOp(nn.Module):
    """A network of one op: its first array is the image, the others are weights."""

    def __init__(self, name: str, case: geometries.Case) -> None:
        self.name, self.case = name, case
        for i, array in enumerate(case.arrays[1:]):
            setattr(self, f"weight{i}", None if array is None else nn.Parameter(array.astype(np.float32)))

    def forward(self, x: sf.Tensor) -> sf.Tensor:
        weights = [vars(self)[f"weight{i}"] for i in range(len(self.case.arrays) - 1)]
        return self.case.call(getattr(ops, self.name), [x, *weights], move=np.float32)


@pytest.mark.parametrize("name", [name for name in geometries.ALL if name != "softmax_cross_entropy"])
def test_rule(name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp(name)

    @given(data=st.data())
    @settings(max_examples=150)
    def holds(data: st.DataObject) -> None:
        case = data.draw(geometries.ALL[name]())
        x = case.arrays[0].astype(np.float32)
        assume(x.size > 0)
        if case.settings.get("training"):
            case.settings["training"] = False
        model = OneOp(name, case)
        y = own(model, x)
        if name in ("reshape", "flatten") and y.shape[:1] != x.shape[:1]:
            with pytest.raises(ExportError, match="mixes the images"):
                file_of(model, x.shape, folder / "one.onnx")
            return
        path = file_of(model, x.shape, folder / "one.onnx")
        check(path)
        (theirs,) = run_file(path, x).values()
        assert worst(theirs, y) <= TOLERANCE
        if has_reference(name, case):
            assert worst(run_reference(path, x), y) <= TOLERANCE

    holds()


@pytest.mark.parametrize(
    ("size", "output_size", "operators"),
    [((12, 6), (4, 2), ["AveragePool"]), ((12, 7), (4, 2), ["MatMul", "MatMul"]), ((3, 3), 1, ["GlobalAveragePool"])],
)
def test_adaptive_pooling_is_a_pool_where_windows_are_equal(size: tuple, output_size: object, operators: list) -> None:
    model = nn.AdaptiveAvgPool2d(output_size)
    assert [node.op_type for node in to_onnx(model, (3, *size)).model.graph.node] == operators


def test_all_of_an_even_windows_channels_count(tmp_path: Path) -> None:
    """Hand-worked: a window of 2 channels is the channel before and this one. y = x / (1 + 1/2·Σ x²)."""
    x = np.float32([1, 2, 3]).reshape(1, 3, 1, 1)
    model = nn.LocalResponseNorm(2, alpha=1.0, beta=1.0)
    y = run_file(file_of(model, x.shape, tmp_path / "a.onnx"), x)["scores"]
    np.testing.assert_allclose(y.ravel(), [1 / 1.5, 2 / 3.5, 3 / 7.5], rtol=1e-6)


# --- which ops there are rules for ------------------------------------------------------------------------


def test_every_op_of_the_library_has_a_rule_or_a_reason() -> None:
    """Whoever adds an op finds out here that it cannot be exported yet."""
    ours = {op for op in all_ops() if op.__module__.startswith(("scratchfcn.ops", "scratchfcn.tensor"))}
    assert ours - set(RULES) - set(REFUSED) == set()
    assert len(ours) == len(RULES) + len(REFUSED)


class Swish(Function):
    def forward(self, x: np.ndarray) -> np.ndarray:
        return x / (1 + np.exp(-x))


class Swishing(nn.Module):
    def __init__(self) -> None:
        self.conv = nn.Conv2d(3, 4, 1)

    def forward(self, x: sf.Tensor) -> sf.Tensor:
        return Swish()(self.conv(x))


def test_an_op_without_a_rule_is_named_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(ExportError) as error:
        file_of(Swishing(), (2, 3, 4, 5), tmp_path / "a.onnx")
    text = str(error.value)
    assert "swish after layer conv" in text
    assert "RULES[Swish]" in text
    assert "conv2d" in text


def test_an_op_of_ones_own_can_be_given_a_rule(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def swish(graph: Graph, call: Call, name: str, x: str) -> str:
        return graph.node("Mul", [x, graph.node("Sigmoid", [x], f"{name}.gate")], name)

    monkeypatch.setitem(RULES, Swish, swish)
    model, x = Swishing(), np.random.default_rng(0).standard_normal((2, 3, 4, 5)).astype(np.float32)
    path = file_of(model, x.shape, tmp_path / "a.onnx")
    check(path)
    assert worst(run_file(path, x)["scores"], own(model, x)) <= TOLERANCE


class Of(nn.Module):
    """A network that is a function."""

    def __init__(self, function: Callable[[sf.Tensor], sf.Tensor]) -> None:
        self.function = function

    def forward(self, x: sf.Tensor) -> sf.Tensor:
        return self.function(x)


NUMBERS = {
    "x + a number": lambda x: x + 0.5,
    "a number - x": lambda x: 2 - x,
    "x · x": lambda x: x * x,
    "x / an array": lambda x: x / np.arange(1, 4, dtype=np.float32)[:, None, None],
    "1 / x": lambda x: 1 / (x * x + 1),
    "-x": lambda x: -x,
    "sum over channels": lambda x: x.sum(axis=1),
    "sum over pixels, kept": lambda x: x.sum(axis=(2, 3), keepdims=True),
    "mean over rows": lambda x: x.mean(axis=-2),
    "a constant computed by ops": lambda x: x * ops.relu(sf.Tensor(np.float32([[-1.0], [2.0]])).sum(axis=0)),
    "the same array twice": lambda x: ops.concat([x, x]),
    "another place": lambda x: To("cpu")(ops.relu(To("cpu")(x))),
    "the image itself": lambda x: x,
}


@pytest.mark.parametrize("name", NUMBERS)
def test_arithmetic(name: str, tmp_path: Path) -> None:
    model, x = Of(NUMBERS[name]), np.random.default_rng(0).standard_normal((2, 3, 4, 5)).astype(np.float32)
    path = file_of(model, x.shape, tmp_path / "a.onnx")
    check(path)
    assert worst(run_file(path, x)["scores"], own(model, x)) <= TOLERANCE


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (lambda x: ops.dropout(x), "dropout on the image: dropout is switched on even in evaluation"),
        (lambda x: ops.softmax_cross_entropy(x, np.zeros((2, 4, 5), np.uint8)), "a loss is not exported"),
        (
            lambda x: ops.batch_norm2d(x, *(np.ones(3, np.float32),) * 4, training=True),
            "batch_norm2d on the image: it is in training mode even in evaluation",
        ),
        (lambda x: sf.Tensor(x.data * 2), "output is no Tensor that its ops made of the image"),
        (lambda x: {"a": x, "b": 3}, "output 'b' is no Tensor"),
        (lambda x: ops.reshape(x, (6, 20)), "mixes the images of a batch"),
    ],
)
def test_what_cannot_be_exported_is_refused(function: Callable, says: str, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=re.escape(says)):
        file_of(Of(function), (2, 3, 4, 5), tmp_path / "a.onnx")
