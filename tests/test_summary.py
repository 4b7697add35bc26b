"""The summary: what it counts, and that its memory is that of networks that run."""

import gc
import json
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

import scratchfcn as sf
from scratchfcn import nn, ops
from scratchfcn.cli import app
from scratchfcn.inspection import dry_run, nothing, summary
from scratchfcn.inspection.summary import loss_of
from scratchfcn.inspection.summary_memory import kept_by, memory_of, owner
from scratchfcn.inspection.trace_calls import all_ops
from scratchfcn.tensor import Function, To

NETWORKS = ["fcn8s_small", "fcn32s_resnet18", "fcn8s_squeezenet1_1", "fcn8s_mobilenet_v2", "fcn32s_fixed_small"]


def array(*shape: int) -> np.ndarray:
    """As ops make them: channel by channel."""
    numbers = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    return np.ascontiguousarray(numbers.swapaxes(0, 1)).swapaxes(0, 1) if len(shape) == 4 else numbers


# --- what ops keep ------------------------------------------------------------------------------------------

image = array(2, 8, 24, 20)
OPS: dict[str, tuple[Callable[[], Function], list[np.ndarray]]] = {
    "conv2d with columns": (lambda: ops.Conv2d(1, 1), [image, array(4, 8, 3, 3), array(4)]),
    "conv2d strided": (lambda: ops.Conv2d(2, 1), [image, array(4, 8, 3, 3)]),
    "conv2d of 1x1": (ops.Conv2d, [image, array(4, 8, 1, 1), array(4)]),
    "conv2d in stripes": (lambda: ops.Conv2d(1, 1), [array(2, 16, 64, 64), array(4, 16, 3, 3), array(4)]),
    "conv1x1": (ops.Conv1x1, [image, array(4, 8, 1, 1), array(4)]),
    "conv_transpose2d strided": (lambda: ops.ConvTranspose2d(2, 1), [image, array(8, 4, 4, 4)]),
    "conv_transpose2d": (lambda: ops.ConvTranspose2d(1, 1), [image, array(8, 4, 3, 3)]),
    "max_pool2d": (lambda: ops.MaxPool2d(2), [image]),
    "avg_pool2d": (lambda: ops.AvgPool2d(2), [image]),
    "global_avg_pool2d": (ops.GlobalAvgPool2d, [image]),
    "adaptive_avg_pool2d": (lambda: ops.AdaptiveAvgPool2d(3), [image]),
    "relu": (ops.Relu, [image]),
    "relu6": (ops.Relu6, [image]),
    "softmax": (ops.Softmax, [image]),
    "dropout": (ops.Dropout, [image]),
    "batch_norm2d": (
        lambda: ops.BatchNorm2d(np.zeros(8, np.float32), np.ones(8, np.float32), True, 0.1, 1e-5),
        [image, array(8), array(8)],
    ),
    "local_response_norm": (lambda: ops.LocalResponseNorm(5), [image]),
    "linear": (ops.Linear, [array(200, 30), array(40, 30), array(40)]),
    "add": (ops.Add, [image, array(2, 8, 24, 20)]),
    "sub": (ops.Sub, [image, array(2, 8, 24, 20)]),
    "mul": (ops.Mul, [image, array(2, 8, 24, 20)]),
    "div": (ops.Div, [image, array(2, 8, 24, 20)]),
    "concat": (ops.Concat, [image, array(2, 3, 24, 20)]),
    "sum": (ops.Sum, [image]),
    "crop": (lambda: ops.Crop((10, 10), (3, 3)), [image]),
    "pad": (lambda: ops.Pad(2), [image]),
    "reshape": (lambda: ops.Reshape((2, -1)), [array(2, 40)]),
    "resize_bilinear": (lambda: ops.ResizeBilinear((40, 30)), [image]),
    "softmax_cross_entropy": (lambda: ops.SoftmaxCrossEntropy(np.zeros((2, 24, 20), np.int64)), [image]),
}


def arrays_in(value: Any, depth: int = 2) -> list[np.ndarray]:
    """The arrays among an object's attributes, those of its helpers included."""
    if isinstance(value, np.ndarray):
        return [value]
    if isinstance(value, tuple | list):
        return [a for each in value for a in arrays_in(each, depth)]
    attributes = getattr(value, "__dict__", {})
    return [a for each in attributes.values() for a in arrays_in(each, depth - 1)] if depth else []


@pytest.mark.parametrize("name", OPS)
def test_what_an_op_keeps_is_what_it_is_said_to_keep(name: str) -> None:
    make, inputs = OPS[name]
    function = make()
    before = {id(owner(a)) for a in arrays_in(function)}
    y = function.forward(*inputs)
    saved = {id(owner(a)): owner(a) for a in arrays_in(function) if id(owner(a)) not in before}
    parameters = {id(owner(a)) for a in inputs[1:] if name.startswith(("conv", "linear", "batch"))}
    maps = {id(owner(a)): i for i, a in enumerate(inputs) if id(owner(a)) not in parameters} | {id(owner(y)): -1}
    really_kept = {maps[i] for i in saved if i in maps}
    really_made = sum(a.nbytes for i, a in saved.items() if i not in maps and i not in parameters)

    dry = [nothing(a, a.shape) for a in inputs]
    dry_y = nothing(y, y.shape)
    kept, made = kept_by(make(), dry, dry_y)
    numbers = {id(a): i for i, a in enumerate(dry)} | {id(dry_y): -1}
    assert {numbers[id(a)] for a in kept} == really_kept
    assert made == pytest.approx(really_made, rel=0.02, abs=600)  # small things are left out


def test_every_op_of_the_library_was_looked_at() -> None:
    here = {op for op in all_ops() if op.__module__.startswith(("scratchfcn.ops.", "scratchfcn.tensor"))} - {To}
    assert {type(make()) for make, _ in OPS.values()} == here


# --- networks that run --------------------------------------------------------------------------------------


def settled() -> int:
    """Bytes in use, once workers and the garbage collector have let go."""
    time.sleep(0.02)
    gc.collect()
    tracemalloc.reset_peak()
    return tracemalloc.get_traced_memory()[0]


@pytest.mark.parametrize(("N", "size"), [(1, 64), (2, 96)])
@pytest.mark.parametrize("name", NETWORKS)
def test_estimated_and_observed_memory(name: str, N: int, size: int) -> None:
    """Training within a quarter; prediction, where ops' own needs weigh more, within a half of it or twice."""
    model = sf.models.build(name, num_classes=7)
    found = summary(model, (N, 3, size, size))
    x = sf.Tensor(np.random.default_rng(0).normal(size=(N, 3, size, size)).astype(np.float32))
    loss_of(model(x)).backward()
    model.zero_grad()
    tracemalloc.start()
    try:
        start = settled()
        scores = model(x)
        loss = loss_of(scores)
        time.sleep(0.02)
        after_forward = tracemalloc.get_traced_memory()[0] - start
        loss.backward()
        training = tracemalloc.get_traced_memory()[1] - start
        del scores, loss
        model.zero_grad()
        model.eval()
        peaks = []
        for _ in range(3):  # the least: a busy machine's worker threads let go of what they had somewhat later
            start = settled()
            with sf.no_grad():
                model(x)
            peaks.append(tracemalloc.get_traced_memory()[1] - start)
        prediction = min(peaks)
    finally:
        tracemalloc.stop()
    assert found.training.after_forward == pytest.approx(after_forward, rel=0.25, abs=3e5)
    assert found.training.peak == pytest.approx(training, rel=0.25)
    assert 0.5 * prediction < found.prediction.peak < 2 * prediction


@pytest.mark.parametrize("name", ["fcn8s_small", "fcn32s_resnet18", "googlenet", "fcn_8", "fcn_resnet50"])
def test_the_rows_are_the_whole(name: str) -> None:
    with nn.init.skipped():
        model = sf.models.build(name, num_classes=5)
    run = dry_run(model.eval(), (1, 3, 224, 224))
    for depth in (None, 1, 2):
        found = summary(model, (1, 3, 224, 224), depth)
        assert found.multiply_adds == run.multiply_adds
        assert sum(row.parameters for row in found.rows) == found.parameters == sum(p.size for p in model.parameters())
        assert found.output == run.output
        assert sum(row.kept_bytes for row in found.rows) <= found.training.after_forward
    assert not any(module.training for module in model.modules())


def test_the_receptive_field_is_right() -> None:
    """The paper's FCN-VGG16: 404 pixels at stride 32; torchvision's VGG16: 212 at pool5."""
    with nn.init.skipped():
        found = summary(sf.models.build("fcn8s_vgg16"), (1, 3, 224, 224))
    score = next(row for row in found.rows if row.layer == "score_fr")
    assert (score.grid.stride, score.grid.receptive_field) == (32, 404)
    pool5 = next(row for row in found.rows if row.ops[-1] == "max_pool2d" and row.grid.stride == 32)
    assert pool5.grid.receptive_field == 212


def test_a_network_by_hand() -> None:
    """Conv 3→4 of 3x3 on 8x8, ReLU, dropout, pooling: everything can be counted on paper."""
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Dropout(0.5), nn.MaxPool2d(2))
    (row,) = summary(model, (2, 3, 8, 8)).rows
    assert (row.layer, row.ops) == ("0", ("conv2d", "relu", "dropout", "max_pool2d"))
    assert row.output == (2, 4, 4, 4)
    assert row.parameters == 4 * 3 * 9 + 4
    assert row.multiply_adds == 2 * 4 * 64 * 27
    assert (row.grid.stride, row.grid.receptive_field) == (2, 4)
    y = 2 * 4 * 64 * 4  # bytes of a map of 4 channels
    assert row.map_bytes == 3 * y + y // 4
    # columns; ReLU's output; dropout's mask; dropout's output, and pooling's
    assert row.kept_bytes == 27 * 2 * 64 * 4 + y + y // 4 + y + y // 4


def test_prediction_holds_only_what_is_still_needed() -> None:
    """Ten ReLUs one after the other: two maps at a time."""
    model = nn.Sequential(*[nn.ReLU() for _ in range(10)])
    found = memory_of(model.eval(), (1, 1, 32, 32))
    assert found.peak <= 3 * 32 * 32 * 4


def test_frozen_layers_keep_nothing() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU())
    for p in model[0].parameters():
        p.requires_grad = False
    rows = summary(model, (1, 3, 16, 16)).rows
    assert rows[0].kept_bytes == 0
    assert rows[1].kept_bytes > 0
    found = summary(model, (1, 3, 16, 16))
    assert found.learned == found.parameters - (4 * 27 + 4)


def test_the_model_stays_as_it_is() -> None:
    model = sf.models.build("fcn32s_resnet18", num_classes=3)
    model.backbone.eval()
    modes = [module.training for module in model.modules()]
    state = {name: a.copy() for name, a in model.state_dict().items()}
    methods = Function.__call__
    summary(model, (2, 3, 64, 64))
    assert [module.training for module in model.modules()] == modes
    assert all((model.state_dict()[name] == a).all() for name, a in state.items())
    assert Function.__call__ is methods
    with pytest.raises(ValueError, match="conv2d"):
        summary(model, (2, 4, 64, 64))
    assert Function.__call__ is methods
    assert [module.training for module in model.modules()] == modes


def test_what_can_predict_but_not_be_trained() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
    found = summary(model, (1, 3, 3, 3))  # one value per channel has no variance
    assert found.training is None
    assert "its variance says nothing" in found.problem
    assert "cannot be trained on such an input" in " ".join(str(found).split())
    assert found.as_plain()["memory_estimated"]["training_peak"] is None


# --- text and JSON ------------------------------------------------------------------------------------------


def run(*args: object, columns: int = 120) -> Result:
    return CliRunner().invoke(app, ["summary", *map(str, args)], prog_name="scratchfcn", env={"COLUMNS": str(columns)})


@pytest.mark.parametrize("columns", [80, 120])
def test_the_command_fits_and_says_everything(columns: int) -> None:
    result = run("--model", "fcn8s", "--size", 256, columns=columns)
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert max(map(len, lines)) <= columns
    assert lines[:2] == ["fcn8s_small", "input (1, 3, 256, 256) → (1, 21, 256, 256)"]
    cells = next(line.split() for line in lines if "score_fr" in line)
    assert cells[-5:-2] == ["0.3", "32", "220"]
    for word in ("params", "M madds", "field", "kept", "parameters 1,086,127", "prediction", "training", "together"):
        assert word in result.output


def test_the_command_by_parts(tmp_path: Any) -> None:
    result = run("--model", "fcn8s_small", "--depth", 1, "--batch-size", 4, "--json", tmp_path / "s.json")
    content = json.loads((tmp_path / "s.json").read_text())
    assert result.exit_code == 0, result.output
    assert content["input"] == [4, 3, 128, 128]
    assert [row["layer"] for row in content["rows"]][:3] == ["backbone", "fc6", "fc7"]
    assert sum(row["parameters"] for row in content["rows"]) == content["parameters"]
    memory = content["memory_estimated"]
    assert 0 < memory["prediction_peak"] < memory["training_after_forward"] < memory["training_peak"]


def test_a_trained_network(tmp_path: Any) -> None:
    from scratchfcn.data import Classes
    from scratchfcn.training.network import Network
    from scratchfcn.weights import save

    network = Network.build("fcn32s_small", Classes.numbered(3), size=(48, 64))
    save(tmp_path / "best.safetensors", network.model.state_dict(), network.metadata())
    assert "input (1, 3, 48, 64) → (1, 3, 48, 64)" in run("--weights", tmp_path / "best.safetensors").output
    assert "--classes is for a new" in run("--weights", tmp_path / "best.safetensors", "--classes", 2).stderr


@pytest.mark.parametrize("args", [["--model", "fcn9s"], ["--size", "0"], ["--size", "big"]])
def test_what_cannot_be_is_refused(args: list[str]) -> None:
    result = run(*args)
    assert result.exit_code == 2
    assert args[1] in result.stderr
