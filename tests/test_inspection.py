"""A network's shapes and costs without running it, held against networks that do run."""

import math
import os
import subprocess
import sys
import tracemalloc
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import scratchfcn as sf
from scratchfcn import nn, ops
from scratchfcn.backend import generator
from scratchfcn.bench import per_op
from scratchfcn.geometry import Grid, Window
from scratchfcn.gradcheck_cases import CASES, OPERATORS, Case
from scratchfcn.inspection import DryRun, dry_run, matrix_products, multiply_adds, nothing, shapes, without_computing
from scratchfcn.inspection.grids import WHOLE_IMAGE
from scratchfcn.tensor import To


class Applied(nn.Module):
    """Any function of the image as a model."""

    def __init__(self, function: Any) -> None:
        self.function = function

    def forward(self, x: sf.Tensor) -> Any:
        return self.function(x)


def dry(function: Any, *shape: int) -> DryRun:
    return dry_run(Applied(function), shape)


def zeros(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.float32)


# --- parameters that are not filled -------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["he", "zeros", "bilinear", "uniform", "fill"])
def test_skipped_initialisers_do_nothing(name: str) -> None:
    parameter = sf.Parameter(np.full((3, 3, 4, 4), 7.0))
    more = {"uniform": (1.0,), "fill": (np.ones((3, 3, 4, 4)),)}.get(name, ())
    before = generator().bit_generator.state
    with nn.init.skipped():
        assert getattr(nn.init, name)(parameter, *more) is parameter
    assert (parameter.data == 7).all()
    assert generator().bit_generator.state == before
    getattr(nn.init, name)(parameter, *more)
    assert (parameter.data != 7).all()


def test_skipping_ends_with_its_block() -> None:
    with nn.init.skipped():
        with nn.init.skipped():
            pass
        assert (nn.Conv2d(2, 3, 3).weight.data == 0).all()  # still within the outer one
    with pytest.raises(ValueError, match="out_channels"), nn.init.skipped():
        nn.Conv2d(2, 0, 3)
    assert (nn.Conv2d(2, 3, 3).weight.data != 0).any()


LARGE_NETWORK = """
import scratchfcn as sf
from scratchfcn import nn
from scratchfcn.backend import generator
from scratchfcn.inspection import dry_run
from test_inspection import resident_bytes

draws = generator().bit_generator.state
before = resident_bytes()
with nn.init.skipped():
    model = sf.models.build("fcn8s_vgg16")
run = dry_run(model.eval(), (1, 3, 1024, 1024))
assert sum(p.size for p in model.parameters()) > 134e6
assert run.output == (1, 21, 1024, 1024)
assert generator().bit_generator.state == draws
print(resident_bytes() - before)
"""


def test_a_large_network_takes_no_memory() -> None:
    """134 million parameters are 540 megabytes, and VGG16's first maps another 134, if somebody writes them.

    In a process of its own: one that has run other tests may be given memory that it has used before.
    """
    here = Path(__file__).parent
    path = os.pathsep.join([str(here), str(here.parent), os.environ.get("PYTHONPATH", "")])
    ran = subprocess.run(
        [sys.executable, "-c", LARGE_NETWORK],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert ran.returncode == 0, ran.stderr
    assert int(ran.stdout) < 50e6


def resident_bytes() -> int:
    """The memory that this process really holds (Linux; elsewhere 0)."""
    try:
        with open("/proc/self/statm", encoding="ascii") as numbers:
            return int(numbers.read().split()[1]) * 4096
    except OSError:
        return 0


# --- every op -----------------------------------------------------------------------------------------------


def op_of(case: Case) -> Any:
    op = OPERATORS.get(case.op) or getattr(ops, case.op)
    settings = {k: v.copy() if isinstance(v, np.ndarray) else v for k, v in case.settings.items()}
    return lambda *inputs: op(*inputs, **settings)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.op}: {case.geometry}")
def test_every_op_has_the_shape_that_it_would_compute(case: Case) -> None:
    arrays = case.arrays(seed=0)
    real = op_of(case)(*map(sf.Tensor, arrays))
    state = generator().bit_generator.state
    with without_computing(nn.Module()) as recorder:
        shape = op_of(case)(*[sf.Tensor(nothing(a, a.shape)) for a in arrays])
    assert (shape.shape, shape.dtype) == (real.shape, real.dtype)
    assert generator().bit_generator.state == state
    for row in recorder.rows:
        assert row.output == shape.shape or case.op == "mean"  # a sum, and a division of it


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.op}: {case.geometry}")
def test_no_op_computes(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """Inputs a million times as large would take their time, and their memory."""
    for op in (*shapes.SAME, *shapes.BINARY, ops.ConvTranspose2d, ops.Concat, ops.Sum, ops.BatchNorm2d, ops.Softmax):
        monkeypatch.setattr(op, "forward", None)
    monkeypatch.setattr(ops.SoftmaxCrossEntropy, "forward", None)
    with without_computing(nn.Module()):
        op_of(case)(*[sf.Tensor(nothing(a, a.shape)) for a in case.arrays(seed=0)])


def test_there_is_a_rule_for_every_op_of_the_library() -> None:
    """An op without one would still be right, but computed."""
    known = (*shapes.VIEWS, *shapes.BINARY, *shapes.SAME, *shapes.BY_IMAGE, ops.ConvTranspose2d, ops.Concat, ops.Sum)
    known += (ops.BatchNorm2d, ops.Softmax, ops.SoftmaxCrossEntropy)
    here = [op for op in per_op.all_ops() if op.__module__.startswith(("scratchfcn.ops.", "scratchfcn.tensor"))]
    assert set(here) == set(known)


sizes = st.integers(1, 12)


@given(
    size=st.tuples(sizes, sizes),
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    stride=st.integers(1, 4),
    padding=st.integers(0, 3),
    dilation=st.integers(1, 3),
    more=st.integers(0, 2),
    kind=st.sampled_from(["conv2d", "conv_transpose2d", "max_pool2d", "avg_pool2d"]),
)
def test_windows_of_all_kinds_real_and_dry(
    size: tuple[int, int], kernel: tuple[int, int], stride: int, padding: int, dilation: int, more: int, kind: str
) -> None:
    """The same shape, or the same error."""
    weight = sf.Tensor(zeros(2, 2, *kernel))
    call = {
        "conv2d": lambda x: ops.conv2d(x, weight, None, stride, padding, dilation),
        "conv_transpose2d": lambda x: ops.conv_transpose2d(x, weight, None, stride, padding, more, 1, dilation),
        "max_pool2d": lambda x: ops.max_pool2d(x, kernel, stride, padding, dilation, ceil_mode=more > 0),
        "avg_pool2d": lambda x: ops.avg_pool2d(x, kernel, stride, padding, ceil_mode=more > 0),
    }[kind]
    x = zeros(3, 2, *size)
    assert outcome(lambda: dry(call, *x.shape).output) == outcome(lambda: call(sf.Tensor(x)).shape)


def outcome(call: Any) -> Any:
    try:
        return call()
    except (TypeError, ValueError) as error:
        return type(error), str(error)


def test_other_sizes_and_devices() -> None:
    w, b = sf.Tensor(zeros(5, 4)), sf.Tensor(zeros(5))
    assert dry(lambda x: ops.linear(x, w, b), 4).output == (5,)
    assert dry(lambda x: x.sum(-1), 2, 3).output == (2,)
    assert dry(lambda x: x.mean((0, 1), keepdims=True), 2, 3).output == (1, 1)
    assert dry(lambda x: ops.reshape(x, (4, -1)), 2, 6, 1).output == (4, 3)
    assert dry(lambda x: ops.adaptive_avg_pool2d(x, (7, None)), 2, 3, 9, 8).output == (2, 3, 7, 8)
    assert dry(lambda x: ops.relu6(x), 2, 3).output == (2, 3)
    assert dry(To("cpu"), 2, 3).output == (2, 3)
    assert dry(lambda x: ops.conv2d(x, sf.Tensor(zeros(3, 2, 3, 3))), 0, 2, 5, 5).output == (0, 3, 3, 3)
    assert dry(lambda x: 2 - x * zeros(3, 1, 1), 2, 3, 4, 5).output == (2, 3, 4, 5)
    doubled = dry(lambda x: x * np.zeros(3, np.float64), 2, 3)
    assert doubled.rows[0].activation_bytes == 2 * 3 * 8


IMPOSSIBLE: dict[str, tuple[Any, tuple[int, ...]]] = {
    "conv2d channels": (lambda x: ops.conv2d(x, sf.Tensor(zeros(2, 3, 3, 3))), (1, 4, 8, 8)),
    "conv2d axes": (lambda x: ops.conv2d(x, sf.Tensor(zeros(2, 3, 3, 3))), (3, 8, 8)),
    "conv2d bias": (lambda x: ops.conv2d(x, sf.Tensor(zeros(2, 3, 3, 3)), sf.Tensor(zeros(3))), (1, 3, 8, 8)),
    "conv2d dtype": (lambda x: ops.conv2d(x, sf.Tensor(np.zeros((2, 3, 3, 3)))), (1, 3, 8, 8)),
    "conv1x1": (lambda x: ops.conv1x1(x, sf.Tensor(zeros(2, 3, 2, 2))), (1, 3, 8, 8)),
    "conv_transpose2d": (lambda x: ops.conv_transpose2d(x, sf.Tensor(zeros(3, 2, 2, 2)), padding=2), (1, 3, 2, 2)),
    "conv_transpose2d channels": (lambda x: ops.conv_transpose2d(x, sf.Tensor(zeros(3, 2, 2, 2))), (1, 4, 2, 2)),
    "max_pool2d": (lambda x: ops.max_pool2d(x, 3), (1, 3, 2, 2)),
    "global_avg_pool2d": (ops.global_avg_pool2d, (1, 3, 0, 2)),
    "linear": (lambda x: ops.linear(x, sf.Tensor(zeros(5, 4))), (2, 3)),
    "linear 1-d": (lambda x: ops.linear(x, sf.Tensor(zeros(5, 4))), (3,)),
    "concat": (lambda x: ops.concat([x, sf.Tensor(zeros(1, 2, 5, 4))]), (1, 3, 4, 4)),
    "concat axes": (lambda x: ops.concat([x, sf.Tensor(zeros(1, 2))]), (1, 3, 4, 4)),
    "concat axis": (lambda x: ops.concat([x, x], axis=4), (1, 3, 4, 4)),
    "concat dtype": (lambda x: ops.concat([x, sf.Tensor(np.zeros((1, 3, 4, 4)))]), (1, 3, 4, 4)),
    "crop": (lambda x: ops.crop(x, (5, 5), (1, 1)), (1, 3, 5, 5)),
    "reshape": (lambda x: ops.reshape(x, (7,)), (2, 3)),
    "resize": (lambda x: ops.resize_bilinear(x, (0, 3)), (1, 3, 4, 4)),
    "softmax": (lambda x: ops.softmax(x, axis=2), (2, 3)),
    "sum": (lambda x: x.sum(axis=2), (2, 3)),
    "add": (lambda x: x + sf.Tensor(zeros(4)), (2, 3)),
    "batch_norm2d": (nn.BatchNorm2d(4), (2, 3, 4, 4)),
    "batch_norm2d one value": (nn.BatchNorm2d(3), (1, 3, 1, 1)),
    "local_response_norm": (lambda x: ops.local_response_norm(x, 5), (3, 4)),
    "loss": (lambda x: ops.softmax_cross_entropy(x, np.zeros((1, 4, 5), int)), (1, 3, 4, 4)),
    "loss label": (lambda x: ops.softmax_cross_entropy(x, np.full((1, 4, 4), 3)), (1, 3, 4, 4)),
}


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_what_is_impossible_remains_so(name: str) -> None:
    function, shape = IMPOSSIBLE[name]
    real, told = (
        outcome(lambda call=c: call())
        for c in (lambda: function(sf.Tensor(zeros(*shape))), lambda: dry(function, *shape))
    )
    assert real[0] is told[0]
    if name != "add":  # NumPy's own words
        assert real == told


def test_an_op_of_your_own_is_computed_on_zeros() -> None:
    class Halves(sf.Function):
        def forward(self, x: Any) -> Any:
            return x[: len(x) // 2] + x[len(x) // 2 :]

    run = dry(lambda x: Halves()(x), 4, 3)
    assert (run.output, run.rows[0].op) == ((2, 3), "halves")


# --- a whole model ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["fcn32s_small", "fcn8s_small", "fcn8s_at_once_small"])
def test_a_model_dry_and_in_earnest(name: str) -> None:
    model = sf.models.build(name, num_classes=3).eval()
    x = np.random.default_rng(0).random((2, 3, 41, 35), np.float32)
    with per_op.recording(model) as recorder, sf.no_grad():
        scores = model(sf.Tensor(x))
    calls = recorder.take()
    run = dry_run(model, x.shape)
    assert run.output == scores.shape
    assert [(row.op, row.layer, row.output) for row in run.rows] == [(c.op, c.layer, c.output) for c in calls]
    assert [2 * row.multiply_adds for row in run.rows] == [c.forward.flop for c in calls]
    np.testing.assert_array_equal(model(sf.Tensor(x)).data, scores.data)  # and it computes again


def test_what_torchvision_publishes() -> None:
    """152.717 "GFLOPS" of fcn_resnet50: the multiply-adds of a 520x520 image, with the auxiliary head."""
    with nn.init.skipped():
        with_aux, without = (sf.models.build("fcn_resnet50", aux_loss=aux).eval() for aux in (True, False))
    assert dry_run(without, (1, 3, 520, 520)).multiply_adds == 142_725_772_800
    with_aux.train()
    run = dry_run(with_aux, (2, 3, 520, 520))
    assert run.multiply_adds == 2 * 152_716_512_000
    assert run.output["out"] == run.output["aux"] == (2, 21, 520, 520)


def test_rows_by_hand() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.BatchNorm2d(4), nn.ReLU()).eval()
    conv, norm, relu = dry_run(model, (2, 3, 8, 10)).rows
    assert (conv.op, conv.layer, conv.inputs, conv.output) == ("conv2d", "0", ((2, 3, 8, 10),), (2, 4, 4, 5))
    assert conv.multiply_adds == 2 * 4 * 4 * 5 * 27
    assert conv.parameters == 4 * 27 + 4
    assert conv.activation_bytes == 4 * 2 * 4 * 4 * 5
    assert conv.grid == Grid(Fraction(2), Fraction(0), Fraction(3))
    assert (norm.layer, norm.parameters, norm.multiply_adds) == ("1", 8, 0)
    assert (relu.layer, relu.parameters, relu.inputs) == ("after 1", 0, ((2, 4, 4, 5),))
    assert dry_run(model.double(), (2, 3, 8, 10)).rows[0].activation_bytes == 8 * 2 * 4 * 4 * 5


def test_a_view_takes_no_memory() -> None:
    crop, flat = dry(lambda x: ops.flatten(ops.crop(x, (2, 2), (1, 1))), 1, 3, 4, 4).rows
    assert (crop.activation_bytes, flat.activation_bytes) == (0, 0)


def test_shapes_within_tuples_and_dictionaries() -> None:
    class Two(NamedTuple):
        first: Any
        second: Any

    run = dry(lambda x: {"out": x, "maps": [x, Two(ops.relu(x), None)]}, 1, 2)
    assert run.output == {"out": (1, 2), "maps": [(1, 2), ((1, 2), None)]}


def test_modes_and_statistics_stay() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Dropout(0.5))
    model[1].eval()
    before = {name: array.copy() for name, array in model.state_dict().items()}
    assert [row.op for row in dry_run(model, (2, 3, 4, 4)).rows] == ["conv2d", "batch_norm2d", "dropout"]
    model[1].train()
    dry_run(model, (2, 3, 4, 4))
    assert [m.training for m in model] == [True, True, True]
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name], err_msg=name)
    assert [row.op for row in dry_run(model.eval(), (2, 3, 4, 4)).rows] == ["conv2d", "batch_norm2d"]
    assert not any(m.training for m in model.modules())


def test_all_is_as_before_after_an_error() -> None:
    model = nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(4, 4, 1))
    call = sf.Function.__call__
    with pytest.raises(ValueError, match="3 channels but weight"):
        dry_run(model, (2, 3, 4, 4))
    assert sf.Function.__call__ is call
    assert model[0].num_batches_tracked == 0


def test_nothing_weighs_nothing() -> None:
    tracemalloc.start()
    array = nothing(np.zeros((), np.float64), (10**4, 10**4, 10**4))
    assert (array.nbytes, array.dtype) == (8 * 10**12, np.float64)
    assert tracemalloc.get_traced_memory()[1] < 10**5
    tracemalloc.stop()


def test_products_by_hand() -> None:
    x, w = zeros(2, 3, 5, 6), zeros(3, 4, 4, 4)
    products = matrix_products(ops.ConvTranspose2d(stride=2), (x, w), zeros(2, 4, 12, 14))
    assert products == [(64, 3, 60, 1)]
    assert multiply_adds([*products, (1, 2, 3, 4)]) == 64 * 180 + 24


# --- grids --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["fcn32s", "fcn16s", "fcn8s"])
@pytest.mark.parametrize("options", [{}, {"backbone": "vgg16"}, {"backbone": "vgg16", "recipe": "caffe"}])
def test_the_fcns_own_geometry(kind: str, options: dict[str, Any]) -> None:
    """What geometry.py says of the chain of windows, and where the crops must lead: to the image itself."""
    with nn.init.skipped():
        model = getattr(sf.models, kind)(num_classes=2, **options).eval()
    run = dry_run(model, (1, 3, 70, 80))
    assert run.coarsest == model.score_grid
    assert (run.rows[-1].grid.stride, run.rows[-1].grid.start) == (1, 0)


def test_a_grid_through_all_kinds_of_ops() -> None:
    up, w3 = sf.Tensor(zeros(2, 2, 4, 4)), sf.Tensor(zeros(2, 2, 3, 3))

    def grid(function: Any, size: int = 16) -> Grid:
        return dry(function, 1, 2, size, size + 1).rows[-1].grid

    windows = [Window(3, 2, 1), Window(3, 1, 2, 2), Window(2, 2)]

    def stack(x: sf.Tensor) -> sf.Tensor:
        return ops.avg_pool2d(ops.conv2d(ops.max_pool2d(x, 3, 2, 1), w3, None, 1, 2, 2), 2)

    assert grid(stack) == Grid().through(*windows)
    assert grid(lambda x: ops.conv_transpose2d(stack(x), up, stride=2)) == Grid().through(
        *windows, Window(4, 2, transposed=True)
    )
    assert grid(lambda x: ops.pad(x, (0, 0, 3, 0))) == Grid(start=Fraction(-3))
    assert grid(lambda x: ops.crop(x, (4, 4), (2, 3))) == Grid(start=Fraction(2))
    assert grid(lambda x: ops.resize_bilinear(x, (32, 9))) == Grid(Fraction(1, 2), Fraction(-1, 4), Fraction(2))
    assert grid(lambda x: ops.resize_bilinear(x, (31, 9), align_corners=True)) == Grid(
        Fraction(1, 2), receptive_field=Fraction(2)
    )
    assert grid(lambda x: ops.relu(ops.resize_bilinear(x, (16, 9)))) == Grid()


def test_where_branches_meet_a_pixel_sees_what_either_sees() -> None:
    w3 = sf.Tensor(zeros(2, 2, 3, 3))

    def grid(function: Any) -> Grid:
        return dry(function, 1, 2, 16, 16).rows[-1].grid

    wide = Grid(receptive_field=Fraction(3))
    assert grid(lambda x: x + ops.conv2d(x, w3, padding=1)) == wide
    assert grid(lambda x: ops.concat([ops.conv2d(x, w3, padding=1), x])) == wide
    assert grid(lambda x: 2.0 - x * 3.0) == Grid()
    # a pixel and the one three rows further up: four rows
    assert grid(lambda x: ops.crop(x, (13, 16), (3, 0)) + ops.crop(x, (13, 16))).receptive_field == 4
    # attention: a factor that depends on the whole image does not move the pixels
    seeing_all = grid(lambda x: ops.max_pool2d(x, 2) * ops.conv2d(ops.global_avg_pool2d(x), w3, padding=1))
    assert seeing_all == Grid(Fraction(2), Fraction(1, 2), math.inf)
    assert grid(lambda x: ops.linear(ops.flatten(x), sf.Tensor(zeros(3, 512)))) == WHOLE_IMAGE
    halved = grid(lambda x: ops.resize_bilinear(x, (5, 5)) + ops.crop(ops.max_pool2d(x, 3), (5, 5)))
    assert halved.stride == 3


def test_constants_have_no_grid() -> None:
    run = dry(lambda x: x + ops.relu(sf.Tensor(zeros(2))), 3, 2)
    assert [row.grid for row in run.rows] == [None, Grid()]
    assert dry(lambda x: ops.relu(sf.Tensor(zeros(2))), 3, 2).coarsest is None
