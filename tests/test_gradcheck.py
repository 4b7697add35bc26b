"""The judge is judged: right gradients pass, planted mistakes are caught and described, kinks are neither."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import scratchfcn as sf
from scratchfcn import backend, ops
from scratchfcn.backend import array_module, to_numpy
from scratchfcn.cli.gradcheck import gradcheck_command
from scratchfcn.gradcheck import InputResult, Report, gradcheck, sample_indices
from scratchfcn.gradcheck_cases import CASES, Case, difference_from_numpy, op_names

rng = np.random.default_rng(0)
X, W, B = rng.standard_normal((2, 3, 5, 6)), rng.standard_normal((4, 3, 3, 3)), rng.standard_normal(4)


def of(report: Report, name: str) -> InputResult:
    return next(result for result in report.inputs if result.name == name)


# ---- right gradients ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.op} {case.geometry}")
def test_every_case_of_the_command_passes(case: Case, device: str) -> None:
    report = case.check(seed=1, device=device)
    assert report.ok, str(report)
    assert report.worst.error < 1e-7
    assert report.checked > 0
    assert difference_from_numpy(case, 1, report) < 1e-9


def test_the_cases_cover_every_op() -> None:
    callable_ops = {name for name in ops.__all__ if name.islower()} - {"im2col", "col2im"}
    assert callable_ops <= set(op_names())


def test_a_right_gradient_is_reported_as_right(device: str) -> None:
    x, w, b = (sf.Tensor(a, requires_grad=True, device=device) for a in (X, W, B))
    report = gradcheck(lambda x, weight, bias: ops.conv2d(x, weight, bias, padding=1), x, w, b)
    assert report
    assert report.ok
    assert [(r.name, r.checked, r.wrong, r.skipped) for r in report.inputs] == [
        ("x", 64, 0, 0),
        ("weight", 64, 0, 0),
        ("bias", 4, 0, 0),
    ]
    assert report.worst.error < 1e-7
    text = str(report)
    assert text.startswith("✓ function backward     x ok   weight ok   bias ok")
    assert "132 entries checked, worst relative error" in text
    assert "= right" in text


def test_a_function_and_its_arguments_are_called_by_their_names() -> None:
    report = gradcheck(ops.conv2d, X, W, B)
    assert report.name == "conv2d"
    assert [r.name for r in report.inputs] == ["x", "weight", "bias"]
    assert [r.name for r in gradcheck(lambda *xs: xs[0] + xs[1], X, X).inputs] == ["input 0", "input 1"]


# ---- planted mistakes --------------------------------------------------------------------------------------


class DoubledWeight(ops.Conv2d):
    def backward(self, gy: Any) -> Any:
        gx, gw, gb = super().backward(gy)
        return gx, 2 * gw, gb


class FlippedSign(ops.Conv2d):
    def backward(self, gy: Any) -> Any:
        gx, gw, gb = super().backward(gy)
        return -gx, gw, gb


class TransposedKernel(ops.Conv2d):
    def backward(self, gy: Any) -> Any:
        gx, gw, gb = super().backward(gy)
        return gx, gw.swapaxes(2, 3), gb


class WrongBorder(ops.Conv2d):
    def backward(self, gy: Any) -> Any:
        gx, gw, gb = super().backward(gy)
        gx = gx.copy()
        gx[:, :, 0] *= 1.5
        return gx, gw, gb


class OneImageOnly(ops.Conv2d):
    def backward(self, gy: Any) -> Any:
        gx, gw, gb = super().backward(gy)
        gx = gx.copy()
        gx[1:] = 0
        return gx, gw, gb


class BiasOfOneImage(ops.Conv2d):
    def backward(self, gy: Any) -> Any:
        gx, gw, _ = super().backward(gy)
        return gx, gw, gy[0].sum(axis=(1, 2))


class AssignsWhereItShouldAdd(ops.MaxPool2d):
    def backward(self, gy: Any) -> Any:
        x, y, gy = (image.transpose(1, 0, 2, 3) for image in (self.x, self.y, gy))
        planes = array_module(gy).zeros(self.frame.shape, gy.dtype)
        for _, _, rows, columns in self.positions():
            planes[:, :, rows, columns] = gy * (x[:, :, rows, columns] == y)
        return self.frame.inside(planes)


class NoGradient(ops.Conv2d):
    def backward(self, gy: Any) -> Any:
        gx, gw, _ = super().backward(gy)
        return gx, gw, None


MISTAKES = {
    DoubledWeight: "weight",
    FlippedSign: "x",
    TransposedKernel: "weight",
    WrongBorder: "x",
    OneImageOnly: "x",
    BiasOfOneImage: "bias",
    NoGradient: "bias",
}


def conv_with(mistake: Callable[..., Any]) -> Callable[..., sf.Tensor]:
    return lambda x, weight, bias: mistake(padding=1)(x, weight, bias)


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_found_in_the_right_input_only(mistake: type, device: str) -> None:
    inputs = [sf.Tensor(a, requires_grad=True, device=device) for a in (X, W, B)]
    report = gradcheck(conv_with(mistake), *inputs)
    assert not report
    assert {r.name for r in report.inputs if not r.ok} == {MISTAKES[mistake]}
    assert report.skipped == 0
    assert report.worst.input == MISTAKES[mistake]
    assert f"{MISTAKES[mistake].upper()} wrong" in str(report)


def test_assigning_instead_of_adding_is_found(device: str) -> None:
    x = sf.Tensor(X, requires_grad=True, device=device)
    right = gradcheck(lambda x: ops.MaxPool2d(3, stride=1)(x), x)
    wrong = gradcheck(lambda x: AssignsWhereItShouldAdd(3, stride=1)(x), x)
    assert right.ok
    assert wrong.inputs[0].wrong > 5
    assert wrong.skipped == 0


def test_worst_says_where_and_by_how_much() -> None:
    class OneWrongEntry(ops.Conv2d):
        def backward(self, gy: Any) -> Any:
            gx, gw, gb = super().backward(gy)
            gw[2, 1, 0, 2] += 0.5
            return gx, gw, gb

    right = gradcheck(conv_with(ops.Conv2d), X, W, B, samples=200)
    wrong = gradcheck(conv_with(OneWrongEntry), X, W, B, samples=200)
    (true,) = [e.analytic for e in of(right, "weight").entries if e.index == (2, 1, 0, 2)]
    worst = wrong.worst
    assert of(wrong, "weight").wrong == 1
    assert (worst.number, worst.input, worst.index) == (1, "weight", (2, 1, 0, 2))
    assert worst.place == "weight[2,1,0,2]"
    assert worst.analytic == pytest.approx(true + 0.5, rel=1e-12)
    assert worst.numeric == pytest.approx(true, rel=1e-6)
    assert worst.error == pytest.approx(0.5 / max(abs(true), abs(true + 0.5)), rel=1e-6)
    text = str(wrong)
    assert "1 of 108 checked entries wrong   (tolerance rel 1e-05)" in text
    assert re.search(r"worst at weight\[2,1,0,2\]\n +yours +\S+ +finite difference +\S+ +relative error", text)


def test_a_constant_factor_is_named() -> None:
    report = gradcheck(conv_with(DoubledWeight), X, W, B)
    worst = report.worst
    assert of(report, "weight").wrong == 64
    assert worst.analytic == pytest.approx(2 * worst.numeric, rel=1e-6)
    assert worst.error == pytest.approx(0.5, rel=1e-6)
    assert "pattern: yours × 0.5 = expected, everywhere" in str(report)


def test_a_flipped_sign_is_named() -> None:
    assert "pattern: the sign is flipped: yours × -1 = expected" in str(gradcheck(conv_with(FlippedSign), X, W, B))


def test_a_wrong_border_is_named() -> None:
    report = gradcheck(conv_with(WrongBorder), X, W, B)
    assert report.worst.index[2] == 0
    assert "pattern: wrong only on the border" in str(report)


def test_a_missing_gradient_is_named() -> None:
    assert "pattern: yours is 0 everywhere: no gradient arrives here" in str(gradcheck(conv_with(NoGradient), X, W, B))


def test_no_pattern_is_made_up() -> None:
    assert "pattern" not in str(gradcheck(conv_with(TransposedKernel), X, W, B))


def test_nan_in_a_gradient_is_wrong() -> None:
    class Nan(ops.Relu):
        def backward(self, gy: Any) -> Any:
            gx = super().backward(gy)
            gx[0, 0] = np.nan
            return gx

    report = gradcheck(lambda x: Nan()(x), X + 0.001)
    assert report.worst.error == np.inf
    assert "NaN" in str(report)


def test_a_gradient_that_is_right_for_ones_only_is_found() -> None:
    class Permuted(ops.Relu):
        def backward(self, gy: Any) -> Any:
            return super().backward(gy[::-1])  # the same sums, sent to the other images

    assert not gradcheck(lambda x: Permuted()(x), np.abs(X) + 1)


@given(error=st.floats(-3, -0.5), seed=st.integers(0, 1000))
def test_errors_above_the_tolerance_are_wrong_and_below_it_right(error: float, seed: int) -> None:
    class OffBy(ops.Mul):
        def backward(self, gy: Any) -> Any:
            ga, gb = super().backward(gy)
            return ga * factor, gb

    a, b = np.random.default_rng(seed).standard_normal((2, 3, 3))
    factor = 1 + 10**error
    assert not gradcheck(lambda a, b: OffBy()(a, b), a, b)
    factor = 1 + 1e-7
    assert gradcheck(lambda a, b: OffBy()(a, b), a, b)


# ---- kinks -------------------------------------------------------------------------------------------------


def test_relu_at_zero_is_skipped(device: str) -> None:
    x = np.array([[0.0, 1.0, -1.0], [0.0, 0.0, 2.0]])
    report = gradcheck(ops.relu, sf.Tensor(x, requires_grad=True, device=device))
    result = report.inputs[0]
    assert report.ok
    assert (result.checked, result.wrong, result.skipped) == (3, 0, 3)
    assert {e.index for e in result.entries if e.verdict == "kink"} == {(0, 0), (1, 0), (1, 1)}
    assert "3 entries lie on a kink" in str(report)


def test_ties_in_a_maximum_are_skipped(device: str) -> None:
    x = np.array([[4.0, 4.0, 1.0, 2.0], [0.0, 1.0, 0.0, -1.0]]).reshape(1, 1, 2, 4)
    report = gradcheck(lambda x: ops.max_pool2d(x, 2), sf.Tensor(x, requires_grad=True, device=device))
    assert report.ok
    assert [e.index[2:] for e in report.inputs[0].entries if e.verdict == "kink"] == [(0, 0), (0, 1)]


def test_kinks_inside_a_net_are_skipped() -> None:
    W4 = np.random.default_rng(1).standard_normal((2, 4, 3, 3))
    x = np.zeros((1, 2, 4, 4))  # every unit behind the convolution without bias is exactly 0
    report = gradcheck(lambda x, w, v: ops.conv2d(ops.relu(ops.conv2d(x, w, padding=1)), v), x, W[:, :2], W4)
    assert report.ok, str(report)
    assert of(report, "x").skipped > 0
    # the weights that no input reaches have gradient 0, exactly
    assert of(report, "w").worst.error == 0.0


@given(distance=st.floats(-9, -4), side=st.sampled_from([-1.0, 1.0]))
def test_near_a_kink_right_gradients_are_never_wrong(distance: float, side: float) -> None:
    report = gradcheck(ops.relu, np.array([side * 10**distance]))
    assert report.wrong == 0, str(report)


@given(distance=st.floats(-6.5, -1), side=st.sampled_from([-1.0, 1.0]), factor=st.sampled_from([0.0, 0.9, 3.0]))
def test_near_a_kink_wrong_gradients_are_not_excused(distance: float, side: float, factor: float) -> None:
    class LeakyRelu(sf.Function):
        def forward(self, x: Any) -> Any:
            self.slope = np.where(x > 0, 1.0, 0.5)
            return x * self.slope

        def backward(self, gy: Any) -> Any:
            return gy * self.slope * factor

    report = gradcheck(lambda x: LeakyRelu()(x), np.array([side * 10**distance]))
    assert not report
    assert report.skipped == 0


@given(curvature=st.floats(-3, 6), seed=st.integers(0, 1000))
def test_curvature_does_not_excuse_a_wrong_gradient(curvature: float, seed: int) -> None:
    class Parabola(sf.Function):
        def forward(self, x: Any) -> Any:
            self.x = x
            return 10**curvature * x * x + x

        def backward(self, gy: Any) -> Any:
            return gy * (2 * 10**curvature * self.x + 1) * 1.1

    x = np.concatenate([[0.0], np.random.default_rng(seed).standard_normal(5)])
    report = gradcheck(lambda x: Parabola()(x), x)
    assert report.inputs[0].wrong >= 5  # the slope at 0 may be too small beside the others to be judged
    assert report.skipped == 0


def test_a_mistake_larger_than_the_kink_is_wrong() -> None:
    class Steep(ops.Relu):
        def backward(self, gy: Any) -> Any:
            return 5 * gy  # at 0 anything from 0 to gy would do

    report = gradcheck(lambda x: Steep()(x), np.zeros(3))
    assert report.inputs[0].wrong == 3


def test_a_gradient_of_zero_proves_little_and_that_is_said() -> None:
    report = gradcheck(lambda x, w, b: ops.conv2d(x, w) * 0.0 + b * 1.0, X, W, np.ones(4))
    assert report.ok
    assert "the gradient is 0 at every entry checked, which says little, of x, w" in str(report)
    assert "says little" not in str(gradcheck(ops.conv2d, X, W))


def test_nothing_but_kinks_is_said_so() -> None:
    report = gradcheck(ops.relu, np.zeros((2, 2)))
    assert not report.ok  # nothing was found wrong, but nothing right either
    assert report.wrong == 0
    assert report.worst is None
    assert str(report).startswith("? relu backward     x ?")
    assert "nothing could be judged" in str(report)
    assert not gradcheck(ops.relu, np.zeros((0, 2)))


def test_an_input_of_kinks_beside_others_is_no_verdict() -> None:
    report = gradcheck(lambda a, b: ops.relu(a) + b * b, np.zeros(3), np.ones(3))
    assert report.ok
    assert str(report).startswith("✓ function backward     a ?   b ok")
    assert not of(report, "a").ok
    many = gradcheck(lambda *xs: sum((x * x for x in xs[1:]), start=ops.relu(xs[0])), *[np.zeros(2), *[np.ones(2)] * 8])
    assert str(many).startswith("✓ function backward     8 of 9 ok   input 0 ?")


@pytest.mark.parametrize("samples", [0, -1])
def test_at_least_one_sample_is_asked_for(samples: int) -> None:
    with pytest.raises(ValueError, match=f"samples must be at least 1, got {samples}"):
        gradcheck(ops.relu, X, samples=samples)


# ---- what goes in ------------------------------------------------------------------------------------------


def test_float32_is_checked_in_float64_and_left_alone() -> None:
    seen = []

    def fn(x: sf.Tensor, w: sf.Tensor) -> sf.Tensor:
        seen.append((x.dtype, w.dtype))
        return ops.linear(x, w)

    x, w = np.ones((2, 3), np.float32), sf.Tensor(np.ones((4, 3), np.float32), requires_grad=True)
    assert gradcheck(fn, x, w).worst.error < 1e-7
    assert set(seen) == {(np.dtype(np.float64), np.dtype(np.float64))}
    assert x.dtype == w.dtype == np.float32
    assert w.grad is None
    assert (x == 1).all()
    assert (w.data == 1).all()


def test_constants_are_passed_on_unchecked() -> None:
    labels, image = np.zeros((2, 5, 6), np.int64), sf.Tensor(X.astype(np.float32))
    report = gradcheck(
        lambda image, w, b, labels: ops.softmax_cross_entropy(ops.conv2d(image, w, b, padding=1), labels),
        image,
        W,
        None,
        labels,
    )
    assert report
    assert [(r.number, r.name) for r in report.inputs] == [(1, "w")]


def test_dropout_is_reseeded_and_the_generator_goes_on_as_before() -> None:
    sf.manual_seed(7)
    backend.generator().random(3)
    before = backend.generator().bit_generator.state
    assert gradcheck(lambda x: ops.dropout(ops.dropout(x, 0.3), 0.5), X)
    assert backend.generator().bit_generator.state == before
    with pytest.raises(ZeroDivisionError):
        gradcheck(lambda x: ops.dropout(x) + 1 / 0, X)
    assert backend.generator().bit_generator.state == before


class Net:
    """The least that can be called a model."""

    def __init__(self) -> None:
        self.weight = sf.Parameter(W.astype(np.float32))
        self.frozen = sf.Parameter(B.astype(np.float32), requires_grad=False)
        self.weight.grad = np.ones(W.shape, np.float32)

    def named_parameters(self) -> list[tuple[str, sf.Parameter]]:
        return [("weight", self.weight), ("frozen", self.frozen)]

    def forward(self, image: sf.Tensor) -> sf.Tensor:
        return ops.relu(ops.conv2d(image, self.weight, self.frozen))

    def __call__(self, image: sf.Tensor) -> sf.Tensor:
        return self.forward(image)


@pytest.mark.parametrize("explicitly", [True, False])
def test_a_model_is_checked_in_place_and_restored(explicitly: bool) -> None:
    net = Net()
    data, grad, frozen = net.weight.data, net.weight.grad, net.frozen.data
    report = gradcheck(net, X, params=dict(net.named_parameters()) if explicitly else None)
    assert report, str(report)
    assert [(r.number, r.name) for r in report.inputs] == [(0, "image"), (1, "weight")]
    assert report.name == "Net"
    assert net.weight.data is data
    assert net.weight.grad is grad
    assert net.frozen.data is frozen
    assert (data == W.astype(np.float32)).all()


def test_a_model_is_restored_after_an_error_too() -> None:
    net = Net()
    data, grad = net.weight.data, net.weight.grad
    with pytest.raises(ValueError, match="conv2d: x has 2 channels"):
        gradcheck(net, X[:, :2])
    assert net.weight.data is data
    assert net.weight.grad is grad


def test_large_inputs_are_sampled_with_corners_and_borders() -> None:
    shape = (2, 3, 9, 8)
    chosen = sample_indices(shape, 64, np.random.default_rng(0))
    corners = {(n, c, h, w) for n in (0, 1) for c in (0, 2) for h in (0, 8) for w in (0, 7)}
    border = [i for i in chosen if i[2] in (0, 8) or i[3] in (0, 7)]
    assert len(set(chosen)) == len(chosen) == 64
    assert corners <= set(chosen)
    assert len(corners) + 10 < len(border) < 60


@pytest.mark.parametrize("shape", [(), (1,), (7,), (65,), (5, 13), (1, 1, 1, 65), (2,) * 7, (0, 3), (4096, 512, 7)])
@pytest.mark.parametrize("samples", [1, 64])
def test_samples_of_any_shape(shape: tuple[int, ...], samples: int) -> None:
    chosen = sample_indices(shape, samples, np.random.default_rng(0))
    size = int(np.prod(shape))
    assert len(set(chosen)) == len(chosen) == min(size, samples)
    assert all(0 <= i < n for index in chosen for i, n in zip(index, shape, strict=True))


# ---- what cannot be checked --------------------------------------------------------------------------------


def test_the_engines_error_surfaces_with_the_inputs_named() -> None:
    class WrongShape(ops.Conv2d):
        def backward(self, gy: Any) -> Any:
            gx, gw, gb = super().backward(gy)
            return gx, gw.swapaxes(0, 1), gb

    with pytest.raises(ValueError, match=r"gradient 1 has shape \(3, 4, 3, 3\)") as caught:
        gradcheck(conv_with(WrongShape), X, W, B)
    assert "input 1 is weight (4, 3, 3, 3)" in caught.value.__notes__[0]


def test_an_error_of_the_function_surfaces_with_the_inputs_named() -> None:
    with pytest.raises(ValueError, match="conv2d: x has 3 channels") as caught:
        gradcheck(lambda x, weight: ops.conv2d(x, weight), X, W[:, :2])
    assert "input 0 is x (2, 3, 5, 6), input 1 is weight (4, 2, 3, 3)" in caught.value.__notes__[0]


@pytest.mark.parametrize(
    ("fn", "inputs", "error", "message"),
    [
        (lambda x: x, [np.arange(3)], ValueError, "nothing to check"),
        (lambda x: x.numpy(), [X], TypeError, "returned ndarray"),
        (lambda x: sf.Tensor(x.data.astype(np.float32)), [X], TypeError, "returned a Tensor of float32"),
        (lambda x: x * np.inf, [X], ValueError, "holds NaN or infinity"),
        (lambda x: x + np.random.default_rng().random(X.shape), [X], ValueError, "different outputs"),
        (lambda x: x.detach() * 2.0, [X], RuntimeError, "without a graph"),
    ],
)
def test_what_cannot_be_checked_is_refused(
    fn: Callable, inputs: list[Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        gradcheck(fn, *inputs)


# ---- the command -------------------------------------------------------------------------------------------

app = typer.Typer()
app.command()(gradcheck_command)


def run(*arguments: str) -> Any:
    return CliRunner(env={"COLUMNS": "160"}).invoke(app, arguments)


def test_the_command_prints_a_row_per_case() -> None:
    result = run("conv2d", "--device", "cpu")
    assert result.exit_code == 0
    rows = [line for line in result.output.splitlines() if "│ conv2d" in line]
    assert len(rows) == sum(case.op == "conv2d" for case in CASES)
    assert all("✓ right" in row for row in rows)
    assert "stride=2 padding=1" in result.output


def test_the_command_checks_all_ops(device: str) -> None:
    result = run("--device", device, "--seed", "5")
    assert result.exit_code == 0, result.output
    assert all(op in result.output for op in op_names())


def test_the_command_exits_with_1_and_explains_a_wrong_op(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ops.Relu, "backward", lambda self, gy: 2 * gy * (self.y > 0))
    result = run("relu", "--device", "cpu")
    assert result.exit_code == 1
    assert "✗ wrong" in result.output
    assert "✗ relu backward     X wrong" in result.output
    assert "pattern: yours × 0.5 = expected, everywhere" in result.output


def test_the_command_compares_a_gpu_with_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both happen to be NumPy here; what is tested is that a difference between them is reported."""
    right = ops.Relu.backward
    monkeypatch.setattr("scratchfcn.cli.gradcheck.resolve_device", lambda name: "cuda:0")
    monkeypatch.setattr(Case, "check", lambda self, seed, device, check=Case.check: check(self, seed, "cpu"))
    same = run("linear", "--device", "cuda")
    assert same.exit_code == 0
    assert "from NumPy" in same.output
    calls = iter(range(100))
    monkeypatch.setattr(ops.Relu, "backward", lambda self, gy: right(self, gy) * (1 + 1e-8 * next(calls)))
    other = run("relu", "--device", "cuda")
    assert other.exit_code == 1
    assert "not NumPy's" in other.output


def test_the_command_does_not_call_kinks_right(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Case, "check", lambda self, seed, device: gradcheck(ops.relu, np.zeros((2, 2))))
    result = run("relu", "--device", "cpu")
    assert result.exit_code == 1
    assert "? only kinks" in result.output
    assert "✓" not in result.output


def test_the_command_refuses_a_negative_seed() -> None:
    result = run("relu", "--device", "cpu", "--seed", "-1")
    assert result.exit_code == 2
    assert "--seed" in result.output


def test_the_command_lists_the_ops() -> None:
    result = run("--list")
    assert result.exit_code == 0
    assert result.output.split() == op_names()


def test_the_command_knows_the_nearest_names() -> None:
    result = run("conv3d")
    assert result.exit_code == 2
    assert result.output.startswith("✗ there is no op 'conv3d'; nearest: conv2d")
    assert run("@@@").exit_code == 2


def test_the_command_refuses_a_device_that_does_not_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "cuda_problem", lambda: "CuPy is installed but finds no NVIDIA GPU")
    result = run("relu", "--device", "cuda")
    assert result.exit_code == 2
    assert result.output.startswith("✗ device 'cuda' cannot be used: CuPy is installed but finds no NVIDIA GPU")
    assert run("relu", "--device", "tpu").exit_code == 2


def test_gradients_can_be_read_off_the_report() -> None:
    report = gradcheck(lambda a: a * 3.0, np.array([1.0, 2.0]))
    x = sf.Tensor(np.array([1.0, 2.0]), requires_grad=True)
    (x * 3.0).sum().backward()
    for entry in report.inputs[0].entries:
        gy = entry.numeric / to_numpy(x.grad)[entry.index]
        assert 0.5 <= abs(gy) <= 1.5
