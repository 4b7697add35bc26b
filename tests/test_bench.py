"""The benchmark: what it counts, what it says, and that both libraries are asked to do the same."""

import io
import json
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console
from shared_data import shared_data
from typer.testing import CliRunner, Result

import scratchfcn as sf
from scratchfcn import ops, parallel
from scratchfcn.bench import cases, clock, floors, machine, per_op, pipeline, report, session, suite, words, worker
from scratchfcn.bench.cases import TWINS, BenchError, Case
from scratchfcn.bench.libraries import ScratchRun, TorchRun, largest_differences
from scratchfcn.bench.per_op import Row
from scratchfcn.bench.suite import Comparison, Settings
from scratchfcn.bench.torch_twins import KINDS, VGG16, build_twin, copy_weights
from scratchfcn.bench.work import Work, backward_work, forward_work
from scratchfcn.cli import app
from scratchfcn.data import Shapes

TINY = Case("step", "fcn8s_small", 2, 32, 32)
FLOORS = {"flops": 100e9, "bandwidth": 10e9, "blas_threads": 1}


def run(*args: object) -> Result:
    return CliRunner().invoke(app, ["bench", *map(str, args)], prog_name="scratchfcn")


def said(result: Result) -> str:
    return " ".join((result.output + (result.stderr if result.stderr else "")).split())


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measuring the machine takes seconds; these numbers do as well."""
    monkeypatch.setattr(suite, "measure_floors", lambda settings: FLOORS)


def zeros(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.float32)


# --- cases --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "size"),
    [("8x96x128", (8, 96, 128)), ("8x3x96x128", (8, 96, 128)), ("128x96", (5, 96, 128)), (" 1×2X3 ", (1, 2, 3))],
)
def test_sizes_in_torchs_order_and_in_trains(text: str, size: tuple[int, int, int]) -> None:
    assert cases.parse_size(text, 5) == size
    assert cases.parse_size(None, 5) is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("big", "IMAGESxHEIGHTxWIDTH"),
        ("96", "is not a size"),
        ("8x4x96x96", "is not a size"),
        ("1x2x3x4x5", "is not a size"),
        ("8x-1x5", "is not a size"),
        ("8x0x96", "at least 1"),
        ("1x100000x100000", "10,000,000,000 pixels"),
    ],
)
def test_sizes_that_cannot_be(text: str, words: str) -> None:
    with pytest.raises(BenchError, match=words):
        cases.parse_size(text, 1)


def test_names_say_all_that_matters() -> None:
    assert Case("step", "fcn8s_small", 8, 96, 128, batch_norm=True).name == "step fcn8s_small 8x3x96x128, batch norm"
    assert cases.INFERENCES[1].name == "inference fcn8s_vgg16 1x3x500x500, caffe recipe"
    assert Case(**TINY.to_plain()) == TINY


def test_which_cases_there_are() -> None:
    steps = cases.cases_of("step", None, None, None)
    assert [case.batch_norm for case in steps] == [False, False, True, True]
    assert cases.cases_of("step", None, None, False) == steps[:2]
    assert cases.cases_of("step", None, None, True) == steps[2:]
    assert [case.model for case in cases.cases_of("inference", None, None, True)] == ["fcn8s_small"] * 2
    assert cases.cases_of("inference", "fcn32s_vgg16", (1, 8, 9), None) == [Case("inference", "fcn32s_vgg16", 1, 8, 9)]
    assert [case.H for case in cases.cases_of("step", "fcn16s_small", None, None)] == [96, 192]
    pixels = [case.pixels for case in cases.scaling_cases(None, None, None)]
    assert pixels == [256 * 512, 512 * 1024, 1024 * 2048]


# --- both libraries -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TWINS)
@pytest.mark.parametrize("option", ["", "batch_norm", "caffe"])
def test_every_twin_equals_our_network(name: str, option: str) -> None:
    kind, _, backbone = name.partition("_")
    if option == ("caffe" if backbone == "small" else "batch_norm"):
        with pytest.raises(ValueError, match=option):
            sf.models.build(name, **({"recipe": "caffe"} if option == "caffe" else {"batch_norm": True}))
        return
    if backbone == "small":
        ours = sf.models.build(name, num_classes=3, batch_norm=option == "batch_norm", dropout=0.0)
        theirs = build_twin(name, 3, batch_norm=option == "batch_norm")
    else:  # 4096 channels in fc6 would take a gigabyte
        padding = 100 if option == "caffe" else 1
        body = sf.models.VGG16(padding=padding)
        body.head["width"] = 8
        classes = {"fcn32s": sf.models.FCN32s, "fcn16s": sf.models.FCN16s, "fcn8s": sf.models.FCN8s}
        ours = classes[kind](body, 3, dropout=0.0, learn_upsampling=option != "caffe")
        theirs = KINDS[kind](VGG16(padding, width=8), 3)
    rng = np.random.default_rng(0)
    for name, p in ours.named_parameters():
        if name.startswith("score"):
            p.data[...] = rng.normal(size=p.shape)
    copy_weights(ours, theirs)
    assert [(n, p.requires_grad) for n, p in ours.named_parameters()] == [
        (n, p.requires_grad) for n, p in theirs.named_parameters()
    ]
    x = rng.normal(size=(1, 3, 37, 52)).astype(np.float32)
    with sf.no_grad(), torch.no_grad():
        a, b = ours.eval()(sf.Tensor(x)).numpy(), theirs.eval()(torch.tensor(x)).numpy()
    assert a.shape == b.shape == (1, 3, 37, 52)
    np.testing.assert_allclose(a, b, atol=2e-5 * np.abs(b).max())


def test_a_twin_drops_nothing() -> None:
    with pytest.raises(ValueError, match="dropout"):
        build_twin("fcn8s_small", dropout=0.5)


@pytest.mark.parametrize("task", ["step", "inference"])
@pytest.mark.parametrize("batch_norm", [False, True])
def test_both_libraries_do_the_same(task: str, batch_norm: bool) -> None:
    case = Case(task, "fcn8s_small", 2, 48, 64, batch_norm)
    ours, theirs = ScratchRun(case), TorchRun(case)
    results = [run.results(run()) for run in (ours, theirs)]
    assert results[0].keys() == results[1].keys()
    assert len(results[0]) > 20 if task == "step" else list(results[0]) == ["scores"]
    assert np.abs(results[0]["scores"]).max() > 1e-3  # zero scores would be equal whatever the layers do
    differences = largest_differences(*results)
    assert differences["scores"] < 1e-5
    assert differences.get("gradients", 0) < 1e-3
    before = {name: p.data.copy() for name, p in ours.model.named_parameters()}
    ours(), theirs()
    for name, t in theirs.model.named_parameters():  # the same steps have been taken since
        moved = np.abs(ours.model.state_dict()[name] - before[name]).max()
        assert (moved > 0) == (task == "step"), name
        np.testing.assert_allclose(ours.model.state_dict()[name], t.detach().numpy(), atol=1e-4, err_msg=name)


def test_torch_computes_no_gradients_in_an_inference_and_keeps_to_its_threads() -> None:
    before = torch.get_num_threads()
    try:
        theirs = TorchRun(Case("inference", "fcn8s_small", 1, 16, 16), threads=2)
        assert theirs.threads() == 2
        assert not theirs().requires_grad
    finally:
        torch.set_num_threads(before)


def test_a_steps_memory_floor_has_the_optimizer() -> None:
    step, inference = (worker.examine(TINY.to_plain() | {"task": t}, "cpu", False) for t in ("step", "inference"))
    flop, least_bytes, _ = per_op.total_work(ScratchRun(TINY))
    learned = sum(p.size for p in ScratchRun(TINY).optimizer.parameters)
    assert (step["flop"], step["least_bytes"]) == (flop, least_bytes + 5 * 4 * learned)
    assert inference["least_bytes"] < least_bytes


@pytest.mark.parametrize(
    ("differences", "told"),
    [
        ({"scores": 1e-6, "gradients": 5e-3}, False),
        ({"scores": 2e-3}, True),
        ({"scores": 0.0, "gradients": 0.02}, True),
        ({"scores": float("nan")}, True),
    ],
)
def test_results_that_differ_are_told(differences: dict[str, float], told: bool) -> None:
    c = comparison([[0.2]], [[0.1]])
    c.work["differences"] = differences
    assert ("do not compute the same" in " ".join(report.times_lines([c], FLOORS, Settings(1)))) == told
    assert json.loads(session.as_json({"a": [differences]}))["a"][0]["scores"] in (None, differences["scores"])


def test_nan_is_a_difference() -> None:
    ones, nan = np.ones(2), np.array([1.0, np.nan])
    found = largest_differences({"scores": ones, "a": nan, "b": ones}, {"scores": ones, "a": ones, "b": ones})
    assert found["scores"] == 0
    assert np.isnan(found["gradients"])


def test_differences_are_relative_to_the_largest_value() -> None:
    a = {"scores": np.array([1.0, -4.0]), "w": np.array([2.0]), "v": np.array([0.0])}
    b = {"scores": np.array([1.5, -5.0]), "w": np.array([2.0]), "v": np.array([0.0])}
    assert largest_differences(a, b) == {"scores": 0.2, "gradients": 0.0}
    assert largest_differences({"scores": a["w"]}, {"scores": a["w"]}) == {"scores": 0.0}
    with pytest.raises(ValueError, match="'v'"):
        largest_differences(a, {"scores": b["scores"], "w": b["w"]})


# --- counting -----------------------------------------------------------------------------------------------


def work_of(function: sf.Function, *inputs: Any) -> tuple[Work, Work]:
    y = function.forward(*inputs)
    forward = forward_work(function, inputs, y)
    gy = np.ones_like(y)
    gradients = function.backward(gy)
    each = gradients if isinstance(gradients, tuple) else (gradients,)
    return forward, backward_work(function, forward, [0 if x is None else x.nbytes for x in inputs], gy, each)


def test_a_convolution_by_hand() -> None:
    """Every one of 2·5·8·9 outputs is a sum of 3·3·3 products."""
    forward, backward = work_of(ops.Conv2d(padding=1), zeros(2, 3, 8, 9), zeros(5, 3, 3, 3), zeros(5))
    assert forward.products == [(5, 27, 144, 1)]
    assert forward.flop == 2 * 720 * 27
    assert forward.bytes == 4 * (2 * 3 * 72 + 5 * 27 + 5 + 720)
    assert backward.products == [(27, 144, 5, 1), (27, 5, 144, 1)]
    assert backward.flop == 2 * forward.flop
    # reads gy, x for gw, w for gx; writes gx, gw, gb
    assert backward.bytes == 4 * (720 + 432 + 135 + 432 + 135 + 5)


def test_groups_strides_and_other_products_by_hand() -> None:
    grouped, _ = work_of(ops.Conv2d(stride=2, groups=2), zeros(1, 4, 7, 7), zeros(6, 2, 3, 3))
    assert grouped.products == [(3, 18, 9, 2)]
    assert grouped.flop == 2 * 6 * 9 * 18
    single, _ = work_of(ops.Conv1x1(), zeros(1, 4, 5, 6), zeros(7, 4, 1, 1), zeros(7))
    assert single.flop == 2 * 7 * 30 * 4
    linear, _ = work_of(ops.Linear(), zeros(3, 4), zeros(7, 4), zeros(7))
    assert linear.flop == 2 * 3 * 4 * 7
    up, back = work_of(ops.ConvTranspose2d(stride=2), zeros(2, 3, 5, 6), zeros(3, 4, 4, 4))
    assert up.flop == 2 * (2 * 3 * 5 * 6) * (4 * 4 * 4)  # every input pixel stamps 16 numbers in 4 channels
    assert back.flop == 2 * up.flop


def test_ops_without_products() -> None:
    forward, backward = work_of(ops.Relu(), zeros(2, 3, 4, 4))
    assert (forward.flop, forward.bytes, backward.bytes) == (0, 2 * 384, 2 * 384)
    crop, back = work_of(ops.Crop((2, 2)), zeros(1, 1, 4, 4))
    assert crop.bytes == 0  # a view
    assert back.bytes == 4 * (4 + 16)
    add, passed_on = work_of(ops.Add(), zeros(1, 1, 4, 4), zeros(1, 1, 4, 4))
    assert (add.bytes, passed_on.bytes) == (4 * 48, 0)


def test_batch_norm_backward_by_hand() -> None:
    """Reads gy and x, writes gx and the gradients of γ and β."""
    norm = ops.BatchNorm2d(zeros(3), np.ones(3, np.float32), training=True, momentum=0.1, eps=1e-5)
    forward, backward = work_of(norm, np.ones((2, 3, 4, 5), np.float32), zeros(3), zeros(3))
    assert (forward.flop, backward.flop) == (0, 0)
    assert backward.bytes == 4 * (120 + 120 + 120 + 3 + 3)


# --- op by op -----------------------------------------------------------------------------------------------


def methods() -> list[Any]:
    return [vars(op)[name] for op in per_op.all_ops() for name in ("forward", "backward") if name in vars(op)]


def test_recording_names_every_op_and_leaves_no_trace() -> None:
    before, scratch = methods(), ScratchRun(TINY)
    expected = scratch.results(scratch())
    scratch = ScratchRun(TINY)
    with per_op.recording(scratch.model) as recorder:
        assert methods() != before
        recorded = scratch.results(scratch())
    assert methods() == before
    for name, array in expected.items():
        np.testing.assert_array_equal(recorded[name], array, err_msg=name)

    calls = recorder.take()
    assert [(call.op, call.layer) for call in calls[:5]] == [
        ("conv2d", "backbone.stage1.0"),
        ("relu", "after backbone.stage1.0"),
        ("conv2d", "backbone.stage1.2"),
        ("relu", "after backbone.stage1.2"),
        ("max_pool2d", "after backbone.stage1.2"),
    ]
    assert calls[-1].op == "softmax_cross_entropy"
    assert sum(call.op == "conv2d" for call in calls) + sum(call.op == "conv1x1" for call in calls) == 15
    assert calls[0].output == (2, 16, 32, 32)
    assert calls[0].forward.flop == 2 * (2 * 16 * 32 * 32) * 27
    assert calls[0].backward.flop == calls[0].forward.flop  # nobody asks for the photograph's gradient
    assert calls[2].backward.flop == 2 * calls[2].forward.flop
    assert all(call.forward_s > 0 for call in calls)
    assert all(call.backward_s > 0 for call in calls)
    assert recorder.calls == []


def test_everything_is_put_back_after_an_exception() -> None:
    before, model = methods(), ScratchRun(TINY).model
    with pytest.raises(ValueError, match="conv2d"), per_op.recording(model) as recorder:
        model(sf.Tensor(zeros(1, 4, 8, 8)))
    assert methods() == before
    assert not recorder.busy


def test_an_op_within_an_op_belongs_to_it() -> None:
    class Twice(sf.Function):
        def forward(self, x: Any) -> Any:
            return ops.Relu().forward(x) * 2

        def backward(self, gy: Any) -> Any:
            return gy

    with per_op.recording(sf.nn.Sequential()) as recorder:
        Twice()(sf.Tensor(zeros(2, 2)))
    assert [call.op for call in recorder.take()] == ["twice"]


def test_rows_add_up_to_the_step() -> None:
    run = ScratchRun(TINY)
    rows = per_op.measure_ops(run, repeats=3)
    assert "step" not in vars(run.optimizer)  # the optimiser is itself again
    assert [row.op for row in rows[-2:]] == ["sgd", "other"]
    assert all(row.seconds > 0 for row in rows[:-1])
    first = rows[0]
    assert (first.op, first.layer, first.output) == ("conv2d", "backbone.stage1.0", (2, 16, 32, 32))
    assert first.product_s > 0
    assert all(r.product_s <= r.seconds for r in rows if r.products)
    assert rows[1].product_s is None
    learned = sum(p.size for p in run.model.parameters())
    assert rows[-2].bytes == 5 * 4 * learned
    flop, least_bytes, scores = per_op.total_work(ScratchRun(TINY))
    assert flop == sum(row.flop for row in rows)
    assert least_bytes == sum(row.bytes for row in rows[:-2])
    assert scores.shape == (2, 21, 32, 32)


def test_rows_and_the_rest_are_the_whole_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock that goes on by one with every look: an op takes 1, and the step as many as were looked at."""
    run, looks = ScratchRun(TINY), iter(range(10**9))
    monkeypatch.setattr(clock, "time", SimpleNamespace(perf_counter=lambda: float(next(looks))))
    monkeypatch.setattr(per_op, "seconds_of", lambda product, device: 5.0)
    rows = per_op.measure_ops(run, repeats=2)
    timed = sum(2 for r in rows[:-2]) + 1  # forward and backward of each, and SGD
    assert all((r.forward_s, r.backward_s) == (1, 1) for r in rows[:-2])
    assert rows[-2].seconds == 1
    assert sum(r.seconds for r in rows) == 2 * timed + 1
    assert all(r.product_s == r.seconds for r in rows if r.products)  # never more than the op itself
    assert rows[0].around == "builds columns"
    assert {r.around for r in rows if r.op in ("conv2d", "conv1x1") and r.layer.startswith("score")} == {
        "moves channels"
    }
    assert {r.around for r in rows if r.op == "conv_transpose2d"} == {"rearranges pixels"}
    assert "gradients" in words.bound(rows[-1], FLOORS)


def test_huge_products_are_timed_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int, int]] = []
    monkeypatch.setattr(per_op, "product_seconds", lambda M, K, P, *_, **__: asked.append((M, K, P)) or 2.0)
    assert per_op.seconds_of((16, 144, 1000, 1), "cpu") == 2.0
    assert per_op.seconds_of((16, 144, 4 * per_op.MOST_COLUMNS // 144, 2), "cpu") == pytest.approx(16, rel=0.01)
    assert asked == [(16, 144, 1000), (16, 144, per_op.MOST_COLUMNS // 144)]


# --- floors and words ---------------------------------------------------------------------------------------


def test_floors_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(floors, "FRIENDLY", ((64, 64, 64), (96, 32, 16)))
    monkeypatch.setattr(floors, "COPIED", 1 << 20)
    before = parallel.threads()
    try:
        for threads in (1, 2):
            parallel.set_threads(threads)
            found = floors.measure_floors()
            assert found["flops"] > 1e8
            assert found["bandwidth"] > 1e7
    finally:
        parallel.set_threads(before)


@pytest.mark.parametrize("sizes", [(5, 300, 9000), (9000, 300, 5), (5, 9000, 7), (40, 1, 1)])
def test_a_striped_product_has_every_number(sizes: tuple[int, int, int]) -> None:
    M, K, P = sizes
    y = zeros(M, P)
    floors.striped_product(np.ones((M, K), np.float32), np.ones((K, P), np.float32), y)()
    if max(sizes) != K:  # a sum over stripes lies elsewhere
        np.testing.assert_array_equal(y, K)
    assert floors.product_seconds(M, K, P, repeats=1) > 0


def test_slices_cover_everything_once() -> None:
    for length in (1, 5, 64, 1001):
        parts = floors.slices(length)
        assert [i for part in parts for i in range(length)[part]] == list(range(length))


def row(seconds: float, flop: float = 0, size: float = 0, product: float | None = None, op: str = "conv2d") -> Row:
    products = [(16, 144, 1000, 1)] if flop else []
    return Row(op, "layer", (1,), seconds, 0.0, int(flop), int(size), products, product)


@pytest.mark.parametrize(
    ("measured", "sentence"),
    [
        (row(1e-2, size=9e7, op="relu"), "memory: reads and writes 90 MB and computes next to nothing"),
        (row(1e-2, size=2e7, op="relu"), "several passes: takes as long as moving its 20 MB 5.0 times"),
        (row(1e-3, size=2e7, op="relu"), "cache: its 20 MB"),
        (row(1e-5, size=100, op="relu"), "small: "),
        (row(1e-5, op="crop"), "a view: nothing moves"),
        (row(1e-2, 9e8, 1e3, 9.3e-3), "matrix product: 97 of 100 GFLOP/s, near the best"),
        (row(1e-2, 9e8, 1e3, 9.8e-3), "matrix product: 90 of 100 GFLOP/s, near the best"),
        (row(1e-2, 5e8, 1e3, 9e-3), "matrix product: 56 of 100 GFLOP/s: 16 output channels make thin matrices"),
        (row(1e-2, 2e8, 1e3, 4e-3), "around the product: it takes 4.00 of 10.0 ms (50 of 100 GFLOP/s: 16 output"),
        (row(1e-2, 1e7, 8e7, 9e-3), "memory: 0.1 FLOP for every byte, so its 80 MB take longer"),
        (row(1e-2, op="other"), "Python between the ops"),
        (row(1e-4, size=1e5, op="relu"), "small: the calls around it take longer than its data"),
    ],
)
def test_a_sentence_says_what_bounds_an_op(measured: Row, sentence: str) -> None:
    assert words.bound(measured, FLOORS).startswith(sentence)


@pytest.mark.parametrize(
    ("op", "product", "sentence"),
    [
        ("conv2d", (64, 64, 64, 1), ", below the best: this shape, or a disturbed machine"),
        ("conv2d", (64, 576, 1, 1), ": 1 pixel makes thin matrices"),
        ("conv2d", (64, 1, 99, 1), ": windows of 1 number make thin matrices"),
        ("conv2d", (1, 64, 99, 1), ": 1 output channel makes thin matrices"),
        ("conv_transpose2d", (16, 21, 99, 1), ": 16 numbers a stamp make thin matrices"),
    ],
)
def test_only_thin_matrices_are_called_thin(op: str, product: tuple[int, int, int, int], sentence: str) -> None:
    made = Row(op, "layer", (1,), 1e-2, 0.0, 10**8, 100, [product], 1e-2)
    assert words.thinness(made) == sentence
    explained = any(line.startswith("thin:") for line in report.ops_lines([made], FLOORS))
    assert explained == ("thin" in sentence)


def test_the_floor_is_arithmetic_or_memory() -> None:
    assert words.floor_seconds(row(1, flop=1e9, size=1e3), FLOORS) == 0.01
    assert words.floor_seconds(row(1, flop=1e3, size=1e9), FLOORS) == 0.1


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(1.2e-4, "0.120"), (4e-3, "4.00"), (1.234e-2, "12.3"), (0.1234, "123"), (1.234, "1,234"), (9.99e-2, "99.9")],
)
def test_milliseconds(seconds: float, text: str) -> None:
    assert words.milliseconds(seconds) == text


# --- turns and ratios ---------------------------------------------------------------------------------------


def comparison(ours: list[list[float]], theirs: list[list[float]] | None, **threads: int) -> Comparison:
    rounds = {"scratchfcn": ours} | ({"torch": theirs} if theirs else {})
    work = {"flop": 10**9, "least_bytes": 10**7, "parameters": 1, "differences": {"scores": 1e-6} if theirs else None}
    return Comparison(TINY, rounds, threads or dict.fromkeys(rounds, 1), work)


def test_the_ratio_is_the_median_of_the_rounds() -> None:
    """The second round met a busy machine: both took four times as long, and the ratio stays."""
    c = comparison([[0.2, 0.2, 9.0], [0.8, 0.8, 0.8], [0.3, 0.2, 0.1]], [[0.1, 0.1, 0.1], [0.4] * 3, [0.05] * 3])
    assert c.ratios == pytest.approx([2, 2, 4])
    assert c.ratio == 2
    assert c.seconds() == 0.2
    assert c.seconds("torch") == 0.1
    assert c.best() == 0.1
    plain = json.loads(json.dumps(c.to_plain(), allow_nan=False))
    assert plain["libraries"]["scratchfcn"]["rounds_s"][0] == [0.2, 0.2, 9.0]
    assert plain["case"]["N"] == 2


def test_without_torch_there_is_no_ratio() -> None:
    c = comparison([[0.2]], None)
    assert c.ratios == []
    assert json.loads(json.dumps(c.to_plain(), allow_nan=False))["ratio"] is None


def test_the_libraries_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def answer(settings: Settings, task: str, what: str, **job: Any) -> dict[str, Any]:
        asked.append(job.get("library", task))
        return {"seconds": [1.0], "threads": 3} if task == "time" else {"flop": 1}

    monkeypatch.setattr(suite, "in_a_process", answer)
    result = suite.compare(Settings(3, rounds=2), TINY)
    assert asked == ["examine", "scratchfcn", "torch", "torch", "scratchfcn"]
    assert result.threads == {"scratchfcn": 3, "torch": 3}


def test_a_process_gets_its_threads_and_its_failures_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, str] = {}
    answers = {"returncode": 0, "stdout": "{}"}

    def fake(command: list[str], env: dict[str, str], **options: Any) -> Any:
        seen.update(env)
        return subprocess.CompletedProcess(command, stderr="Traceback …", **answers)

    monkeypatch.setattr(subprocess, "run", fake)
    settings = Settings(7)
    assert suite.in_a_process(settings, "time", "x") == {}
    assert {seen[name] for name in suite.THREADS} == {"7"}
    answers["stdout"] = ""
    with pytest.raises(RuntimeError, match="Traceback"):
        suite.in_a_process(settings, "time", "x")
    answers["returncode"] = -9
    with pytest.raises(MemoryError, match="x: the system stopped"):
        suite.in_a_process(settings, "time", "x")


@pytest.mark.parametrize(
    ("error", "kind", "raised"),
    [
        (MemoryError("Unable to allocate 3 GiB"), "memory", MemoryError),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes"), "memory", MemoryError),
        (sf.DeviceError("no GPU"), "device", sf.DeviceError),
        (ValueError("conv2d: too small"), "user", BenchError),
        (FileNotFoundError("no such folder"), "user", BenchError),
        (KeyError("oops"), "mistake", RuntimeError),
    ],
)
def test_an_error_in_a_process_is_raised_here(error: Exception, kind: str, raised: type[Exception]) -> None:
    told = worker.failure(error)
    assert told["kind"] == kind
    with pytest.raises(raised, match=str(error).strip("'")[:8]):
        suite.raise_again("case", **json.loads(json.dumps(told)))


def test_a_worker_is_a_process_that_prints_json() -> None:
    job = {"task": "time", "library": "scratchfcn", "case": TINY.to_plain(), "device": "cpu", "repeats": 2}
    command = [sys.executable, "-m", "scratchfcn.bench.worker"]
    done = subprocess.run([*command, json.dumps(job)], capture_output=True, text=True, check=True)
    result = json.loads(done.stdout)
    assert len(result["seconds"]) == 2
    assert result["threads"] >= 1


def test_a_workers_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Case("inference", "fcn8s_small", 1, 16, 16).to_plain()
    facts = worker.examine(plain, "cpu", against_torch=True)
    assert facts["differences"]["scores"] < 1e-5
    assert facts["parameters"] > 900_000
    assert facts["flop"] > 1e6
    assert worker.examine(plain, "cpu", against_torch=False)["differences"] is None
    for library in ("scratchfcn", "torch"):
        used = worker.measure_memory(library, plain, "cpu")
        assert 0 < used["base"] <= used["peak"]
    rows = worker.measure_per_op(plain, "cpu", repeats=1)["rows"]
    assert all(r["backward_s"] == 0 for r in rows)
    monkeypatch.setattr(worker, "LONGEST", 0.0)
    assert len(worker.measure_time("scratchfcn", plain, "cpu", repeats=50)["seconds"]) == 2


def test_memory_is_told() -> None:
    program = """
import numpy as np
from scratchfcn.bench import memory
memory.forget_peak()
before = memory.peak()
array = np.ones(30_000_000, np.uint8)
assert memory.peak() >= before + 25e6
assert memory.resident() >= 25e6
del array
memory.give_back_freed()
assert memory.peak() >= before + 25e6
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr  # a process of its own: this one has freed memory to use again


# --- the command --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, dict[str, Any], Path]:
    """What a small run of everything printed, its JSON and its picture."""
    folder = tmp_path_factory.mktemp("bench")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(suite, "measure_floors", lambda settings: FLOORS)
        result = run(
            *("step", "memory", "--size", "1x16x16", "--rounds", 1, "--repeats", 1, "--threads", 1),
            *("--json", folder / "b.json", "--plot", folder / "b.png"),
        )
    assert result.exit_code == 0, said(result)
    return result, json.loads((folder / "b.json").read_text()), folder / "b.png"


@pytest.mark.xdist_group("bench")
def test_the_command_says_what_it_measured(measured: tuple[Result, dict[str, Any], Path]) -> None:
    text = said(measured[0])
    for expected in (
        "step fcn8s_small 1x3x16x16",
        "1 thread for each library",
        f"PyTorch {torch.__version__}"[:12],
        "GEMM floor",
        "GFLOP/s",
        "same weights, same images",
        "op by op",
        "sgd all parameters",
        "the same op by itself on the same shapes",
        "what bounds the slowest",
        "memory (MB)",
        "inference fcn8s_small 1x3x16x16",
    ):
        assert expected in text, expected


@pytest.mark.xdist_group("bench")
def test_the_json_file_holds_everything(measured: tuple[Result, dict[str, Any], Path]) -> None:
    _, results, _ = measured
    assert results["machine"]["numpy"] == np.__version__
    assert results["machine"]["torch"] == torch.__version__.partition("+")[0] or results["machine"]["torch"]
    assert results["settings"]["threads"] == 1
    assert results["floors"]["bandwidth"] == FLOORS["bandwidth"]
    assert results["floors"]["flops"] >= FLOORS["flops"]
    (times,) = results["times"]
    assert times["threads"] == {"scratchfcn": 1, "torch": 1}
    assert times["differences"]["gradients"] < 1e-3
    assert times["ratio"] == pytest.approx(
        times["libraries"]["scratchfcn"]["median_s"] / times["libraries"]["torch"]["median_s"]
    )
    (by_op,) = results["ops"]
    assert sum(r["share"] for r in by_op["rows"]) == pytest.approx(1)
    first = by_op["rows"][0]
    assert first["layer"] == "backbone.stage1.0"
    assert first["flop"] == 2 * 2 * 16 * 16 * 16 * 27
    assert first["floor_s"] == pytest.approx(max(first["flop"] / results["floors"]["flops"], first["bytes"] / 10e9))
    assert first["distance"] == pytest.approx(first["seconds"] / first["floor_s"])
    assert first["bound"]
    assert [m["case"]["task"] for m in results["memory"]] == ["step", "inference"]
    assert results["memory"][0]["libraries"]["torch"]["peak"] > 1e7


@pytest.mark.xdist_group("bench")
def test_the_picture_shows_something(measured: tuple[Result, dict[str, Any], Path]) -> None:
    with Image.open(measured[2]) as image:
        assert image.format == "PNG"
        assert image.info["Software"] == "scratchfcn bench"
        picture = np.asarray(image.convert("RGB"))
    for colour in ("0072B2", "D55E00", "009E73"):  # ours, PyTorch's, backward
        assert (picture == list(bytes.fromhex(colour))).all(axis=2).sum() > 50
    assert sorted(path.name for path in measured[2].parent.iterdir()) == ["b.json", "b.png"]


@pytest.mark.usefixtures("quick")
def test_without_torch_everything_else_works(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(machine, "torch_version", lambda: None)
    size = ("--size", "1x16x16", "--rounds", 1, "--repeats", 1, "--threads", 1)
    result = run("inference", *size, "--plot", tmp_path / "b.png")
    assert result.exit_code == 0, said(result)
    assert "PyTorch: not installed (pip install torch)" in said(result)
    assert "op by op" in said(result)
    assert (tmp_path / "b.png").exists()
    refused = run(*size, "--against", "torch")
    assert refused.exit_code == 2
    assert "not installed" in said(refused)
    assert "pip install torch" in said(refused)


def test_other_work_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = {"time": 0.0, "busy": 100.0, "own": 5.0}
    monkeypatch.setattr(machine.time, "perf_counter", lambda: clock["time"])
    monkeypatch.setattr(machine, "busy_seconds", lambda: clock["busy"])
    monkeypatch.setattr(machine, "own_seconds", lambda: clock["own"])
    watch = machine.OtherWork()
    clock.update(time=10.0, busy=118.0, own=14.0)  # 18 seconds of work in 10, 9 of them ours
    assert watch.cores() == pytest.approx(0.9)
    assert "used 0.9 cores" in report.disturbed(0.9)
    monkeypatch.setattr(machine, "busy_seconds", lambda: None)
    assert machine.OtherWork().cores() is None


def test_floors_are_the_fastest_that_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    speeds = iter([100e9, 50e9, 120e9])
    monkeypatch.setattr(suite, "measure_floors", lambda settings: FLOORS | {"flops": next(speeds)})
    console = Console(record=True, file=io.StringIO(), width=300)
    measuring = session.Session(Settings(1), console, "PyTorch")
    measuring.start()
    measuring.measure_floors_again()
    assert measuring.floors["flops"] == 100e9
    assert "multiplied at 100 GFLOP/s before this measurement and at 50 after" in console.export_text()
    measuring.measure_floors_again(product=130e9)
    assert measuring.results["floors"]["flops"] == 130e9
    assert "floors are now those of 130 GFLOP/s and 10.0 GB/s, before 100 GFLOP/s" in console.export_text(clear=False)
    assert "warning" not in console.export_text()


def test_floors_in_the_file_are_the_last_ones(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    speeds = iter([100e9, 100e9, 400e9])
    monkeypatch.setattr(suite, "measure_floors", lambda settings: FLOORS | {"flops": next(speeds)})
    monkeypatch.setattr(suite, "measure_per_op", lambda settings, case: [row(1.0, 8e9, 1e3, 0.9)])
    measuring = session.Session(Settings(1), Console(file=io.StringIO(), width=300), "PyTorch")
    measuring.start()
    measuring.ops(TINY)
    measuring.ops(TINY)
    measuring.write(tmp_path / "b.json", None)
    found = json.loads((tmp_path / "b.json").read_text())
    assert found["floors"]["flops"] == 400e9
    assert [ops["rows"][0]["floor_s"] for ops in found["ops"]] == [0.02, 0.02]


def test_own_work_is_not_other_work() -> None:
    if machine.busy_seconds() is None:
        pytest.skip("this system does not say how busy it is")
    before = machine.busy_seconds(), machine.own_seconds()
    until = time.process_time() + 0.3  # of work, however long that takes on a busy machine
    while time.process_time() < until:
        pass
    assert machine.own_seconds() - before[1] > 0.1
    assert machine.busy_seconds() - before[0] > 0.1


@pytest.fixture(scope="module")
def tables() -> dict[str, Any]:
    """Name → (the function that makes a table for a width, what it must show whatever the width)."""
    large = Case("inference", "fcn8s_vgg16", 1, 1024, 2048, recipe="caffe")
    rows = [
        Row("conv_transpose2d", "backbone.stage5.2", (8, 512, 96, 96), 1.2345, 0.0123, 10**10, 10**7, [], 0.5),
        Row("softmax_cross_entropy", "after upscore_pool4", (), 0.0456, 0.0789, 0, 10**6, []),
        Row("relu", "after score_pool3", (1, 1), 1e-5, 0.0, 0, 10**3, []),
        Row("other", "outside the ops", (), 0.25, 0.0, 0, 0, []),
    ]
    both = {"scratchfcn": {"base": 10**8, "peak": 10**10}, "torch": {"base": 10**8, "peak": 5 * 10**9}}
    made = [
        Comparison(case, {"scratchfcn": [[12.345]], "torch": [[1.5]]}, {}, {"flop": 10**12, "least_bytes": 10**10})
        for case in (TINY, large)
    ]
    grown = [
        Comparison(case, {"scratchfcn": [[s]], "torch": [[1.5 * s]]}, {}, {})
        for case, s in zip(cases.scaling_cases(None, None, None), (0.1, 0.45, 12.345), strict=True)
    ]
    fed = {"model": "fcn8s_small", "summary": {"first epoch": suite.fed([{"step": 1, "loop": 2, "waiting": 0.5}], 8)}}
    return {
        "ops": (lambda w: report.ops_table(TINY, rows, FLOORS, w), ["× floor", "1,234", "12.3", "1,530", "78.9"]),
        "times": (
            lambda w: report.times_table(made, FLOORS, w),
            ["floor", "12,345", "8.23", "1,500", "1,000", "1x3x1024x2048", "PyTorch", "ratio"],
        ),
        "memory": (
            lambda w: report.memory_table([(TINY, both), (large, both)], w),
            ["10,000", "5,000", "2.02", "1x3x1024x2048", "ratio"],
        ),
        "scaling": (
            lambda w: report.scaling_table(grown, [both] * 3, w),
            ["12,345", "18,518", "10,000", "5,000", "1024x2048", "PyTorch"],
        ),
        "pipeline": (lambda w: report.pipeline_table(fed, w), ["waiting", "first epoch", "50%", "25.0%"]),
    }


@pytest.mark.parametrize("width", [60, 80, 160])
@pytest.mark.parametrize("name", ["ops", "times", "memory", "scaling", "pipeline"])
def test_tables_fit_the_terminal(tables: dict[str, Any], name: str, width: int) -> None:
    make, expected = tables[name]
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(make(width))
    lines = console.export_text().splitlines()
    assert max(len(line.rstrip()) for line in lines) <= width
    assert "…" not in "".join(lines)
    for text in expected:
        assert any(text in line for line in lines), text
    for column, priority in (("8x512x96x96", "ops"), ("memory floor", "times"), ("131,072", "scaling")):
        if priority == name:
            assert any(column in line for line in lines) == (width == 160), column


@pytest.mark.usefixtures("quick")
def test_scaling(tmp_path: Path) -> None:
    result = run(
        *("scaling", "--size", "1x32x48", "--against", "none", "--rounds", 1, "--repeats", 1, "--threads", 1),
        *("--json", tmp_path / "s.json", "--plot", tmp_path / "s.png"),
    )
    assert result.exit_code == 0, said(result)
    assert "16.0 times the pixels take" in said(result)
    sizes = [s["case"]["H"] for s in json.loads((tmp_path / "s.json").read_text())["scaling"]]
    assert sizes == [8, 16, 32]
    assert (tmp_path / "s.png").stat().st_size > 5000


@pytest.mark.parametrize(
    ("seconds", "verdict"), [([1, 4, 16], "linear:"), ([1, 5, 30], "more than linear"), ([1, 2, 3], "less than linear")]
)
def test_is_it_linear(seconds: list[float], verdict: str) -> None:
    made = [
        Comparison(case, {"scratchfcn": [[s]]}, {}, {})
        for case, s in zip(cases.scaling_cases(None, None, None), seconds, strict=True)
    ]
    assert verdict in report.scaling_line(made)


@pytest.mark.parametrize("per_op_option", ["--per-op", "--no-per-op"])
def test_every_case_op_by_op_or_none(monkeypatch: pytest.MonkeyPatch, per_op_option: str) -> None:
    monkeypatch.setattr(suite, "measure_floors", lambda settings: FLOORS)
    monkeypatch.setattr(suite, "compare", lambda settings, case: comparison([[0.2]], None))
    by_op: list[Case] = []
    monkeypatch.setattr(suite, "measure_per_op", lambda settings, case: by_op.append(case) or [row(1.0)])
    assert run(per_op_option).exit_code == 0
    assert by_op == (list(cases.STEPS) if per_op_option == "--per-op" else [])


def test_unequal_threads_and_unsteady_rounds_are_told() -> None:
    c = comparison([[0.2], [0.2]], [[0.1], [0.2]], scratchfcn=2, torch=1)
    lines = " ".join(report.times_lines([c], FLOORS, Settings(2)))
    assert "unequal numbers of threads (scratchfcn 2, torch 1)" in lines
    assert "the rounds differ widely" in lines
    steady = " ".join(report.times_lines([comparison([[0.2]], [[0.1]])], FLOORS, Settings(2)))
    assert "warning" not in steady


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("stpe",), "WHAT 'stpe' is not known; did you mean step?"),
        (("--model", "fcn8_small"), "--model 'fcn8_small' is not known; did you mean fcn8s_small?"),
        (("--size", "96"), "write IMAGESxHEIGHTxWIDTH"),
        (("--size", "1x99999x99999"), "fewer images, or smaller ones"),
        (("--against", "jax"), "--against 'jax' is not known; there are auto, torch, none"),
        (("--threads", "1000"), "--threads 1000 is more than the"),
        (("pipeline",), "--data DIR"),
        (("scaling", "--size", "1x3x3"), "must be 4 or more"),
        (("--device", "tpu"), "device 'tpu' is not known"),
        (("--json", "."), "is a folder"),
        (("--json", "/dev/null"), "not an ordinary file"),
        (("--json", "new.png", "--plot", "./new.png"), "the same file"),
        (("--plot", "new.jpg"), "ends in .png"),
        (("step", "--data", "nowhere"), "--data is for pipeline only"),
        (("--model", "fcn8s_vgg16", "--batch-norm"), "fcn8s_vgg16 has no batch norm"),
        (("pipeline", "--data", "nowhere", "--threads", "1"), "nowhere"),
        (
            ("--size", "1x16x16", "--batch-norm", "--against", "none", "--threads", "1"),
            "training on at most one value per channel",
        ),
    ],
)
@pytest.mark.usefixtures("quick")
def test_what_cannot_be_is_one_clear_message(args: tuple[str, ...], words: str) -> None:
    result = run(*args)
    assert result.exit_code == 2, said(result)
    assert words in said(result)
    assert "Traceback" not in said(result)


def test_data_is_looked_at_before_anything_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suite, "measure_floors", lambda settings: pytest.fail("measured"))
    result = run("step", "pipeline", "--data", "nowhere", "--threads", "1")
    assert result.exit_code == 2, said(result)
    assert "nowhere" in said(result)


def test_what_was_measured_before_an_error_is_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fail(settings: Settings, case: Case) -> Any:
        raise MemoryError("too large")

    monkeypatch.setattr(suite, "measure_floors", lambda settings: FLOORS)
    monkeypatch.setattr(suite, "compare", lambda settings, case: comparison([[0.2]], None))
    monkeypatch.setattr(suite, "measure_memory", fail)
    result = run("step", "memory", "--no-per-op", "--threads", "1", "--json", tmp_path / "b.json")
    assert result.exit_code != 0
    assert json.loads((tmp_path / "b.json").read_text())["times"][0]["libraries"]
    run("memory", "--threads", "1", "--json", tmp_path / "none.json")
    assert not (tmp_path / "none.json").exists()


def test_without_torch_no_column_is_empty() -> None:
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(report.times_table([comparison([[0.2]], None)], FLOORS, 200))
    lines = " ".join(report.times_lines([comparison([[0.2]], None)], FLOORS, Settings(1, against_torch=False)))
    console.print(report.memory_table([(TINY, {"scratchfcn": {"base": 10**8, "peak": 2 * 10**8}})], 200))
    for word in ("PyTorch", "ratio", "range", "–"):
        assert word not in console.export_text(clear=False) + lines


def test_help_names_the_defaults() -> None:
    text = said(run("--help"))
    assert "(default:" in text


def test_a_picture_of_many_ops_says_that_some_are_missing() -> None:
    from matplotlib.figure import Figure

    from scratchfcn.bench.plot import MOST_OPS, draw_ops

    rows = [*(row(i + 1.0) for i in range(20)), row(1e-3, op="other")]
    axes = Figure().subplots()
    draw_ops(axes, report.ops_plain(TINY, rows, FLOORS))
    assert axes.get_title(loc="left").endswith(f"the slowest {MOST_OPS} of 21 ops")
    assert axes.get_yticklabels()[-1].get_text() == "other layer"
    legend = [text.get_text() for text in axes.get_legend().get_texts()]
    assert set(legend) == {"forward", "floor: the least time this machine needs"}


def test_a_gpu_that_is_not_there_is_an_error() -> None:
    if sf.backend.cuda_problem() is None:
        pytest.skip("there is a GPU")
    result = run("--device", "cuda")
    assert result.exit_code == 2
    assert "device 'cuda' cannot be used" in said(result)


@pytest.mark.xdist_group("bench")
def test_only_our_own_files_are_replaced(tmp_path: Path, measured: tuple[Result, dict[str, Any], Path]) -> None:
    for name, content in (("a.json", "[1, 2]"), ("b.json", "no JSON"), ("c.json", '{"format": "x"}')):
        (tmp_path / name).write_text(content)
        result = run("--json", tmp_path / name)
        assert result.exit_code == 2
        assert "not overwritten" in said(result)
        assert (tmp_path / name).read_text() == content
    (tmp_path / "a.png").write_bytes(b"no picture")
    Image.new("RGB", (3, 3)).save(tmp_path / "b.png")
    for name in ("a.png", "b.png"):
        with pytest.raises(BenchError, match=name):
            session.refuse_foreign_files(None, tmp_path / name)
    picture = measured[2]
    session.refuse_foreign_files(picture.with_suffix(".json"), picture)
    session.refuse_foreign_files(tmp_path / "new.json", tmp_path / "new.png")


# --- the loader ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve generated pictures as a data set of files."""
    root, shapes = tmp_path_factory.mktemp("data"), Shapes(12, (24, 32), seed=0)
    for kind in ("images", "masks"):
        (root / kind / "train").mkdir(parents=True)
    for i in range(len(shapes)):
        image, label = shapes.read(i)
        Image.fromarray(image).save(root / "images" / "train" / f"{i}.png")
        Image.fromarray(label, "L").save(root / "masks" / "train" / f"{i}.png")
    return root


@pytest.mark.usefixtures("quick")
def test_pipeline(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(
        *("pipeline", "--data", folder, "--size", "32x32", "--batch-size", 2, "--rounds", 1, "--repeats", 2),
        *("--threads", 1, "--json", "p.json", "--plot", "p.png"),
    )
    assert result.exit_code == 0, said(result)
    assert "images/s of fcn8s_small" in said(result)
    assert "later epochs:" in said(result)
    found = json.loads(Path("p.json").read_text())["pipeline"]
    assert found["images"] == 4
    assert set(found["passes"]) == {"first epoch", "later epochs"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["p.json", "p.png"]  # and no run folder


@pytest.mark.usefixtures("quick")
def test_pipeline_with_too_little_data(folder: Path) -> None:
    result = run("pipeline", "--data", folder, "--size", "32x32", "--batch-size", 4, "--rounds", 3, "--threads", 1)
    assert result.exit_code == 2
    assert "has 3 batches of 4; 3 rounds need at least 12" in said(result)


def test_the_loops_share_is_a_median_of_rounds() -> None:
    rounds = [
        {"step": 1.0, "loop": 1.25, "waiting": 0.25},
        {"step": 2.0, "loop": 4.0, "waiting": 1.0},
        {"step": 1.0, "loop": 1.0, "waiting": 0.0},
    ]
    assert suite.fed(rounds, 8) == {"step_rate": 8.0, "loop_rate": 6.4, "share": 0.8, "waiting": 0.2}


@pytest.mark.parametrize(
    ("share", "waiting", "words"),
    [
        (0.97, 0.0, "keeps the step fed: 97% of the step's own rate"),
        (1.02, 0.0, "keeps the step fed: 100%"),
        (0.5, 0.45, "waits for its batch 45% of the time: more --workers"),
        (0.7, 0.01, "share the cores"),
    ],
)
def test_what_is_said_of_the_loader(share: float, waiting: float, words: str) -> None:
    assert words in report.fed_sentence({"share": share, "waiting": waiting})


@pytest.mark.slow
def test_pipeline_on_camvid() -> None:
    settings = {"data": str(shared_data("camvid")), "size": (24, 32), "batch_size": 4}
    result = pipeline.measure_loop(settings, "cpu", rounds=2, steps=2)
    assert result["steps"] == 2
    assert all(r["loop"] > r["waiting"] >= 0 for rounds in result["passes"].values() for r in rounds)
