"""The tracer: it notes every op, and changes nothing. And its console, page and command."""

import io
import json
import math
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

import scratchfcn as sf
from scratchfcn import nn, ops
from scratchfcn.backend import generator
from scratchfcn.cli import app
from scratchfcn.inspection import dry_run, trace, trace_step
from scratchfcn.inspection.step import HELP, Stepper, index_of
from scratchfcn.inspection.trace import StopTracing, Trace, Update, root_mean_square
from scratchfcn.inspection.trace_calls import all_ops
from scratchfcn.inspection.trace_page import trace_page
from scratchfcn.inspection.trace_table import in_two_lines, layer_text, mebibytes, number

MODELS = ("fcn8s_small", "fcn32s_resnet18", "fcn8s_squeezenet1_1", "d2l_fcn_resnet18")  # skips, branches, dropout, BN


def images(size: int = 64, N: int = 2) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(N, 3, size, size)).astype(np.float32)


def loss_of(scores: sf.Tensor) -> sf.Tensor:
    labels = np.random.default_rng(2).integers(0, scores.shape[1], (len(scores), *scores.shape[2:]))
    return ops.softmax_cross_entropy(scores, labels)


def build(name: str = "fcn8s_small") -> nn.Module:
    """A network whose score layers are not 0, so that gradients reach the image."""
    sf.manual_seed(0)
    model = sf.models.build(name, num_classes=5)
    rng = np.random.default_rng(3)
    for _, p in model.named_parameters():
        if not p.data.any():
            p.data[...] = rng.normal(scale=0.05, size=p.shape)
    return model


def step(model: nn.Module) -> dict[str, np.ndarray]:
    """Output, loss, gradients and running statistics of one training step."""
    sf.manual_seed(7)
    scores = model(sf.Tensor(images()))
    loss = loss_of(scores)
    loss.backward()
    found = {"scores": scores.data, "loss": loss.data, **{f"state {n}": a for n, a in model.state_dict().items()}}
    return found | {f"gradient {n}": p.grad for n, p in model.named_parameters()}


def methods() -> list[Any]:
    return [vars(op)[name] for op in all_ops() for name in ("forward", "backward") if name in vars(op)]


@pytest.fixture(scope="module")
def traced() -> Trace:
    model = build()
    sf.manual_seed(7)
    with trace(model) as t:
        loss_of(model(sf.Tensor(images()))).backward()
    return t


# --- nothing is different ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("memory", [True, False])
def test_traced_and_untraced_are_bit_equal(name: str, memory: bool) -> None:
    plain = step(build(name))
    model = build(name)
    with trace(model, memory=memory):
        watched = step(model)
    assert plain.keys() == watched.keys()
    for what, array in plain.items():
        np.testing.assert_array_equal(watched[what], array, err_msg=what)


def test_the_very_same_functions_before_and_after() -> None:
    before, model = methods(), build()
    with trace(model):
        assert all(a is not b for a, b in zip(methods(), before, strict=True))
    assert all(a is b for a, b in zip(methods(), before, strict=True))
    with pytest.raises(ValueError, match="conv2d"), trace(model) as t:
        model(sf.Tensor(np.zeros((1, 4, 8, 8), np.float32)))
    assert all(a is b for a, b in zip(methods(), before, strict=True))
    assert t.rows == []


def test_importing_the_library_does_not_import_the_tracer() -> None:
    program = "import sys, scratchfcn; assert not [n for n in sys.modules if 'inspection' in n or n == 'jinja2']"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_no_map_is_kept_alive_by_the_trace() -> None:
    import gc
    import weakref

    x = sf.Tensor(np.ones((1, 1, 4, 4), np.float32))
    with trace(nn.Sequential()) as t:
        y = ops.relu(x)
        alive = weakref.ref(y.data)
        del y
        gc.collect()
        assert alive() is None
    assert len(t.rows) == 1


# --- what is noted -------------------------------------------------------------------------------------------


def test_every_op_has_a_row_forward_and_backward(traced: Trace) -> None:
    model = build()
    dry = dry_run(model, (2, 3, 64, 64))
    expected = [(row.op, row.layer, row.output, row.parameters, row.grid) for row in dry.rows]
    found = [(row.op, row.layer, row.outputs[0], row.parameters, row.grid) for row in traced.forward]
    assert found[:-1] == expected
    assert traced.forward[-1].op == "softmax_cross_entropy"
    assert [row.number for row in traced.forward] == list(range(1, len(expected) + 2))
    assert sorted(row.number for row in traced.backward) == list(range(1, len(expected) + 2))
    for row in traced.backward:
        same = traced.forward[row.number - 1]
        assert (row.op, row.layer, row.inputs) == (same.op, same.layer, same.outputs)
        assert all(g in (None, x) for g, x in zip(row.outputs, same.inputs, strict=True))
    assert traced.backward[-1].outputs == (None,)  # nobody asks for the photograph's gradient


def test_the_geometry_is_the_models(traced: Trace) -> None:
    """Stride 32 and the receptive field of geometry.py, with which FCN's crops are worked out."""
    score = next(row for row in traced.forward if row.layer == "score_fr")
    assert score.grid == build().score_grid
    assert score.grid.stride == 32


def test_times_and_magnitudes(traced: Trace) -> None:
    assert all(row.seconds > 0 for row in traced.rows)
    model, x = build(), images()
    first = model.backbone.stage1[0](sf.Tensor(x)).data.astype(np.float64)
    assert traced.forward[0].magnitude == pytest.approx(np.sqrt((first**2).mean()), rel=1e-5)
    gradients = step(model)
    for row in traced.backward:
        for update in row.updates:
            g = gradients[f"gradient {update.parameter}"].astype(np.float64)
            assert update.gradient == pytest.approx(np.sqrt((g**2).mean()), rel=1e-5, abs=1e-12)
            w = dict(model.named_parameters())[update.parameter].data.astype(np.float64)
            assert update.weight == pytest.approx(np.sqrt((w**2).mean()), rel=1e-5)
    named = {update.parameter for row in traced.backward for update in row.updates}
    assert named == {name for name, p in model.named_parameters() if p.requires_grad}


def test_memory_estimated_and_observed(traced: Trace) -> None:
    """A ReLU keeps its output and makes nothing else; a convolution's columns are seen, though not estimated."""
    relu = traced.forward[1]
    assert relu.estimated_bytes == 2 * 16 * 64 * 64 * 4
    assert relu.observed_bytes == pytest.approx(relu.estimated_bytes, abs=20_000)
    crop = next(row for row in traced.forward if row.op == "crop")
    assert crop.estimated_bytes == 0
    assert crop.observed_bytes < 20_000
    conv = next(row for row in traced.forward if row.layer == "backbone.stage5.0")
    columns = 128 * 9 * 2 * 4 * 4 * 4
    assert conv.observed_bytes == pytest.approx(conv.estimated_bytes + columns, rel=0.1)
    for row in traced.rows:
        assert row.peak_bytes >= row.observed_bytes - 20_000
    pool = next(row for row in traced.backward if row.op == "max_pool2d")
    assert pool.estimated_bytes == math.prod(pool.outputs[0]) * 4
    without = trace(build(), memory=False)
    with without as t:
        ops.relu(sf.Tensor(images()))
    assert t.rows[0].observed_bytes is t.rows[0].live_bytes is None


def test_update_to_weight() -> None:
    assert Update("w", 2.0, 0.5).ratio(0.1) == pytest.approx(0.025)
    assert Update("b", 0.0, 0.5).ratio(0.1) is None


@pytest.mark.parametrize(
    ("x", "expected"),
    [([3.0, 4.0], math.sqrt(12.5)), ([1e30, -1e30], 1e30), ([0.0], 0.0), ([], 0.0), ([1.0, math.inf], math.inf)],
)
def test_root_mean_square_does_not_overflow(x: list[float], expected: float) -> None:
    assert root_mean_square(np.array(x, np.float32)) == pytest.approx(expected, rel=1e-6)
    assert math.isnan(root_mean_square(np.array([1.0, math.nan])))


def test_an_op_of_ones_own_and_an_op_within_an_op() -> None:
    class Twice(sf.Function):
        def forward(self, x: Any) -> Any:
            return ops.Relu().forward(x) * 2

        def backward(self, gy: Any) -> Any:
            return 2 * gy

    with trace(nn.Sequential()) as t:
        Twice()(sf.Tensor(np.ones((2, 2)), requires_grad=True)).sum().backward()
    assert [(row.direction, row.op) for row in t.rows] == [
        ("forward", "twice"),
        ("forward", "sum"),
        ("backward", "sum"),
        ("backward", "twice"),
    ]


def test_backward_of_what_was_computed_before_the_block_is_not_noted() -> None:
    y = (sf.Tensor([1.0], requires_grad=True) * 2).sum()
    with trace(nn.Sequential()) as t:
        y.backward()
    assert t.rows == []
    assert str(t).startswith("nothing was traced")


def test_forgetting_begins_anew() -> None:
    model = build()
    with trace(model) as t, sf.no_grad():
        model(sf.Tensor(images()))
        count = len(t.rows)
        t.forget()
        model(sf.Tensor(images()))
    assert [row.number for row in t.rows] == list(range(1, count + 1))
    assert t.backward == []


def test_a_traced_step_is_one_step() -> None:
    """Done twice, but random numbers, gradients and running statistics are those of one."""
    expected = step(build("fcn32s_resnet18"))
    model = build("fcn32s_resnet18")
    sf.manual_seed(7)
    t, output, loss = trace_step(model, sf.Tensor(images()), loss_of)
    draws = generator().bit_generator.state
    np.testing.assert_array_equal(output.data, expected["scores"])
    assert loss.item() == expected["loss"]
    for name, p in model.named_parameters():
        np.testing.assert_array_equal(p.grad, expected[f"gradient {name}"], err_msg=name)
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, expected[f"state {name}"], err_msg=name)
    step(build("fcn32s_resnet18"))
    assert generator().bit_generator.state == draws
    assert all(row.observed_bytes is not None for row in t.rows)


def test_on_any_device(device: str) -> None:
    model = build().to(device)
    with trace(model) as t:
        loss_of(model(sf.Tensor(images(), device=device))).backward()
    assert len(t.forward) == len(t.backward) == 43
    assert all(row.seconds > 0 for row in t.rows)
    big = t.forward[0]
    assert big.observed_bytes >= 0.9 * big.estimated_bytes


# --- as text ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [80, 100, 120, 160])
def test_the_tables_fit_and_say_everything(traced: Trace, width: int) -> None:
    text = traced.table(width)
    lines = text.splitlines()
    assert max(map(len, lines)) <= width
    assert lines[0].startswith("forward: 43 ops, ")
    assert any(line.startswith("backward: 43 ops, ") for line in lines)
    for word in ("est.", "obs.", "field", "|gy|", "upd/w", "16×64×64 → 16×32×32", "backbone.stage3.2"):
        assert word in text
    assert "lr 0.01" in " ".join(text.split())
    numbered = [line for line in lines if line.split()[:1] == ["17"]]
    assert len(numbered) == 2  # once forward and once backward


def test_a_long_table_is_a_line_a_row_where_it_fits() -> None:
    table = [["#", "op", "a"], ["1", "x", "9"]]
    assert in_two_lines(table, 20, 2) == ["#  op", "    a", "1  x", "    9"]


def test_words_and_numbers() -> None:
    assert [number(x) for x in (0, 1.234, 12.34, 123.4, 0.01234, 1.2e-5, 1e6, None)] == [
        "0", "1.23", "12.3", "123", "0.012", "1e-5", "1e6", "–",
    ]  # fmt: skip
    assert number(math.nan) == "NaN"
    assert [mebibytes(n) for n in (0, 1, 2**20, 100 * 2**20, None)] == ["0", "<0.01", "1.00", "100.0", "–"]
    assert layer_text("after conv1") == ""
    assert layer_text("a" * 30) == "…" + "a" * 23


# --- JSON and the page --------------------------------------------------------------------------------------


def test_json(traced: Trace) -> None:
    loaded = json.loads(json.dumps(traced.as_plain(), allow_nan=False))
    first = loaded["rows"][0]
    assert (first["op"], first["stride"], first["receptive_field"], first["parameters"]) == ("conv2d", 1, 3, 448)
    assert loaded["rows"][42]["receptive_field"] is None  # the loss sees the whole image
    updates = loaded["rows"][-1]["updates"]
    assert [u["parameter"] for u in updates] == ["backbone.stage1.0.weight", "backbone.stage1.0.bias"]
    assert updates[0]["update_to_weight"] > 0


class Reader(HTMLParser):
    """Tags that are open, links, and text; void elements never close."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_stands_alone(traced: Trace, tmp_path: Path) -> None:
    traced.save_html(tmp_path / "t.html", "<my> trace")
    content = (tmp_path / "t.html").read_text(encoding="utf-8")
    reader = Reader()
    reader.feed(content)
    reader.close()
    assert reader.open == []
    tags = {tag for tag, _ in reader.seen}
    assert not tags & {"script", "link", "img", "iframe", "a"}
    assert not any({"src", "href", "onclick"} & set(attributes) for _, attributes in reader.seen)
    assert not [word for word in ("http", "url(", "@import") if word in content]
    assert sum(tag == "tr" for tag, _ in reader.seen) == 2 * (43 + 1)
    assert ("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}) in reader.seen
    assert "<my> trace" in reader.text
    assert "backbone.stage1.0.weight" in reader.text
    bars = [a["style"] for tag, a in reader.seen if tag == "span"]
    assert len(bars) == 3 * 86
    assert bars.count("width: 100.0%") >= 4  # the longest of each table


def test_a_page_without_backward(traced: Trace) -> None:
    page = trace_page(Trace(rows=traced.forward), "t", ["one line"])
    assert "one line" in page
    assert "gy → gx" not in page


# --- step by step -------------------------------------------------------------------------------------------


def console(*commands: str) -> tuple[Stepper, list[str]]:
    """A console that is given these commands, and what it says."""
    rest, said = list(commands), []

    def ask(prompt: str) -> str:
        if not rest:
            raise EOFError
        return rest.pop(0)

    return Stepper(ask, said.append), said


def walk(*commands: str) -> tuple[str, Trace, Any]:
    stepper, said = console(*commands)
    model = nn.Sequential(nn.Conv2d(3, 2, 3, padding=1), nn.ReLU())
    t, _, loss = trace_step(model, sf.Tensor(images(6, 1)), lambda y: (y * y).sum(), before=stepper)
    return "\n".join(said), t, loss


def test_every_pause_is_announced() -> None:
    said, t, loss = walk(*["n"] * 8)
    arrows = [line.split("  ")[0] for line in said.splitlines() if line.startswith("→")]
    assert arrows == [
        "→ forward 1: conv2d 0",
        "→ forward 2: relu",
        "→ forward 3: mul",
        "→ forward 4: sum",
        "→ backward 4: sum",
        "→ backward 3: mul",
        "→ backward 2: relu",
        "→ backward 1: conv2d 0",
    ]
    assert len(t.rows) == 8
    assert loss is not None
    assert said.startswith(HELP)
    assert said.count(HELP) == 1


def test_printing_slices() -> None:
    said, *_ = walk("p", "p w[0, 1]", "p x[..., 0]", "p b", "p nothing", "p x[7]", "p x[a]", "q")
    assert "x[0, 0, :8, :8]  of shape (1, 3, 6, 6), float32" in said
    assert "w[0, 1]  of shape (2, 3, 3, 3)" in said
    assert "x[..., 0]" in said
    assert "b[:8]  of shape (2,)" in said
    assert "there is x and w and b here" in said
    assert "index 7 is out of bounds" in said
    assert "'a' is no index" in said
    assert f"{images(6, 1)[0, 0, 0, 0]:.4f}"[:5] in said


def test_source_and_gradient() -> None:
    said, *_ = walk("s", "g", "n 6", "g", "s", "p gy", "n", "g", "q")
    assert "conv.py:" in said
    assert "def forward(self, x: Any, w: Any, b: Any = None)" in said  # not that of the stand-in
    assert "there is no gradient yet" in said
    assert "def backward(self, gy: Any) -> Any:" in said
    assert "input 0: its gradient goes on to conv2d" in said
    assert "gy[0, 0, :8, :8]" in said
    assert "input 0: wants no gradient" in said
    assert "input 1: its gradient is kept in .grad of 0.weight" in said


def test_counts_and_going_on() -> None:
    said, t, loss = walk("n 3", "c")
    assert said.count("→") == 2
    assert len(t.rows) == 8
    assert loss is not None
    assert "n takes a number of ops" in walk("n 0", "q")[0]
    assert walk("what?", "q")[0].count(HELP) == 2


@pytest.mark.parametrize("commands", [("n", "q"), ("n",)])
def test_quitting_ends_the_step_and_leaves_all_as_it_was(commands: tuple[str, ...]) -> None:
    before = methods()
    said, t, loss = walk(*commands)
    assert loss is None
    assert [row.op for row in t.rows] == ["conv2d"]
    assert methods() == before


def test_stepping_changes_nothing() -> None:
    plain = step(build())
    model = build()
    sf.manual_seed(7)
    _, output, _ = trace_step(model, sf.Tensor(images()), loss_of, before=console("p", "n 60", "g", "c")[0])
    np.testing.assert_array_equal(output.data, plain["scores"])
    with pytest.raises(StopTracing), trace(model, before=console("q")[0]):
        model(sf.Tensor(images()))


def test_an_index_is_numbers_and_ranges_only() -> None:
    assert index_of("0, -1, :4, 1:9:2, ...") == (0, -1, slice(None, 4), slice(1, 9, 2), ...)
    with pytest.raises(ValueError, match="__import__"):
        index_of("__import__('os')")


# --- the command --------------------------------------------------------------------------------------------


def run(*args: object, **settings: Any) -> Result:
    settings.setdefault("env", {"COLUMNS": "120"})
    return CliRunner().invoke(app, ["trace", *map(str, args)], prog_name="scratchfcn", **settings)


def test_the_command_by_default() -> None:
    result = run("--size", 64)
    assert result.exit_code == 0, result.output
    assert "trace of fcn8s_small\ninput 1×3×64×64: a generated picture; 21 classes, on cpu" in result.output
    assert "a training step: loss 3.0445" in result.output  # ln 21
    assert "forward: 43 ops" in result.output
    assert "given a gradient that is 0 throughout" in result.output
    assert "--after 1 traces the second step" in result.output
    assert max(map(len, result.output.splitlines())) <= 120


def test_after_a_step_gradients_flow(tmp_path: Path) -> None:
    result = run("--size", 64, "--after", 1, "--json", tmp_path / "t.json")
    assert "0 throughout" not in result.output
    rows = json.loads((tmp_path / "t.json").read_text())["rows"]
    assert all(row["rms"] > 0 for row in rows if row["direction"] == "backward")


def test_the_command_with_files(tmp_path: Path) -> None:
    from PIL import Image

    Image.fromarray(np.arange(40 * 48 * 3, dtype=np.uint8).reshape(40, 48, 3)).save(tmp_path / "i.png")
    Image.fromarray((np.arange(40 * 48, dtype=np.uint8) % 4).reshape(40, 48)).save(tmp_path / "m.png")
    args = ["--model", "fcn8s", "--classes", 4, "--input", tmp_path / "i.png", "--label", tmp_path / "m.png"]
    result = run(*args, "--html", tmp_path / "t.html", "--json", tmp_path / "t.json")
    assert result.exit_code == 0, result.output
    content = json.loads((tmp_path / "t.json").read_text())
    assert (content["model"], content["input"], content["training"]) == ("fcn8s_small", [1, 3, 40, 48], True)
    assert content["loss"] == pytest.approx(math.log(4), rel=1e-5)
    assert "trace of fcn8s_small" in (tmp_path / "t.html").read_text(encoding="utf-8")
    result = run(*args, "--no-backward")
    assert "backward:" not in result.output
    assert "prediction: evaluation mode" in result.output
    assert "dropout" not in result.output


def test_a_trained_network(tmp_path: Path) -> None:
    from PIL import Image

    from scratchfcn.data import Classes
    from scratchfcn.training.network import Network
    from scratchfcn.weights import save

    network = Network.build("fcn32s_small", Classes.numbered(3), size=(48, 64))
    save(tmp_path / "best.safetensors", network.model.state_dict(), network.metadata())
    result = run("--weights", tmp_path / "best.safetensors")
    assert result.exit_code == 0, result.output
    assert "input 1×3×48×64: a generated picture; 3 classes" in result.output
    Image.new("RGB", (90, 70)).save(tmp_path / "i.png")
    args = ("--weights", tmp_path / "best.safetensors", "--input", tmp_path / "i.png")
    assert "input 1×3×48×64: " in run(*args).output  # as it was trained
    assert "input 1×3×32×40: " in run(*args, "--size", "40x32").output
    assert "--model is for a new network" in run("--weights", tmp_path / "best.safetensors", "--model", "x").stderr


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--model", "fcn9s"], "fcn9s"),
        (["--size", "0x4"], "at least one pixel"),
        (["--label", "m.png"], "--label belongs to an image"),
        (["--after", "1", "--no-backward"], "--after N trains first"),
        (["--input", "none.png"], "none.png: no such file"),
    ],
)
def test_what_cannot_be_is_one_message(args: list[str], message: str) -> None:
    result = run(*args)
    assert result.exit_code == 2
    assert message in result.stderr


def test_stepping_needs_a_terminal() -> None:
    result = run("--step", input="n\n")
    assert result.exit_code == 2
    assert "the input is not a terminal" in result.stderr


def test_stepping_by_the_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", Terminal("n 2\ns\nq\n"))
    with pytest.raises(SystemExit) as stopped:
        app(["trace", "--size", "48", "--step"], prog_name="scratchfcn")
    said = capsys.readouterr().out
    assert stopped.value.code == 0
    assert "→ forward 3: conv2d backbone.stage1.2" in said
    assert said.rstrip().endswith("stopped")
