"""The judge is judged: right gradients pass, planted mistakes are caught and described, kinks are neither."""

import re
import sys
from collections.abc import Callable
from pathlib import Path
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
from scratchfcn.mistakes import maps

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
    def forward(self, x: Any) -> Any:
        self.x, self.y = x, super().forward(x)  # by a CUDA kernel, the pool itself keeps neither
        return self.y

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
    assert worst.gradient_place == "gweight[2,1,0,2]"
    text = str(wrong)
    assert "gradient gweight  shape (4, 3, 3, 3)   1 of 108 entries wrong   (tolerance rel 1e-05)" in text
    place = r"worst at gweight\[2,1,0,2\]  \(filter 2, in-channel 1, row 0, col 2\)"
    assert re.search(place + r"\n +yours +\S+ +finite difference +\S+ +relative error", text)
    assert re.search(r"known mistake: none of the \d+ that are known for weight of conv2d gives these\s+numbers", text)


def test_a_constant_factor_is_named() -> None:
    report = gradcheck(conv_with(DoubledWeight), X, W, B)
    worst = report.worst
    assert of(report, "weight").wrong == 108  # all entries: a pattern needs them
    assert worst.analytic == pytest.approx(2 * worst.numeric, rel=1e-6)
    assert worst.error == pytest.approx(0.5, rel=1e-6)
    assert "yours × 0.5000 = expected, everywhere; 0.5000 = 1/2, and 2 is" in of(report, "weight").pattern
    assert "known mistake: gw is doubled" in str(report)
    assert "batch size" not in str(report)  # doubled with three images too


def test_a_flipped_sign_is_named() -> None:
    assert "pattern: the sign is flipped: yours × -1 = expected" in str(gradcheck(conv_with(FlippedSign), X, W, B))


def test_a_wrong_border_is_named() -> None:
    report = gradcheck(conv_with(WrongBorder), X, W, B)
    assert report.worst.index[2] == 0
    assert "pattern: wrong only on the border" in str(report)


def test_a_missing_gradient_is_named() -> None:
    assert "pattern: yours is 0 everywhere: no gradient arrives here" in str(gradcheck(conv_with(NoGradient), X, W, B))


def test_no_pattern_is_made_up() -> None:
    noise = np.random.default_rng(3).uniform(0.5, 2.0, W.shape)
    report = gradcheck(conv_with(spoiled(1, lambda gw: gw * noise)), X, W, B)
    assert "pattern" not in str(report)
    assert "known mistake: none of the" in str(report)


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


# ---- patterns ----------------------------------------------------------------------------------------------


def spoiled(number: int, spoil: Callable[[Any], Any]) -> type:
    """A convolution, one of whose gradients goes through `spoil`."""

    class Spoiled(ops.Conv2d):
        def backward(self, gy: Any) -> Any:
            gradients = list(super().backward(gy))
            gradients[number] = np.ascontiguousarray(spoil(gradients[number]))
            return tuple(gradients)

    return Spoiled


def only(keep: Any) -> Callable[[Any], Any]:
    def spoil(g: Any) -> Any:
        wrong = np.zeros_like(g)
        wrong[keep] = g[keep]
        return wrong

    return spoil


def spoil_at(place: Any, factor: float = 1.5) -> Callable[[Any], Any]:
    def spoil(g: Any) -> Any:
        wrong = g.copy()
        wrong[place] *= factor
        return wrong

    return spoil


PATTERNS = {
    "yours × -1 = expected, everywhere": (1, lambda g: -g),
    "yours × 2.000 = expected, everywhere; 2 is the batch size N": (1, lambda g: g / 2),
    "yours × 30.00 = expected, everywhere; 30 is the pixels of the output, OH·OW and also the pixels of the input": (
        1,
        lambda g: g / 30,
    ),
    "yours × 9.000 = expected, everywhere; 9 is the taps of the kernel, KH·KW": (1, lambda g: g / 9),
    "yours × 0.7000 = expected, everywhere": (0, lambda g: g / 0.7),
    "with its rows and cols in reverse order (turned by 180°)": (1, lambda g: g[:, :, ::-1, ::-1]),
    "with its columns in reverse order": (0, lambda g: g[:, :, :, ::-1]),
    "with its images in reverse order": (0, lambda g: g[::-1]),
    "with its filters in reverse order": (1, lambda g: g[::-1]),
    "with rows and cols exchanged (transposed)": (1, lambda g: g.swapaxes(2, 3)),
    "shifted by (+1, +1) in (rows, columns)": (0, lambda g: np.roll(g, (1, 1), axis=(2, 3))),
    "shifted by (+0, -2) in (rows, columns)": (0, lambda g: np.pad(g, ((0, 0), (0, 0), (0, 0), (0, 2)))[..., 2:]),
    "wrong only on the border (first row); the interior is right": (0, spoil_at(np.s_[:, :, 0])),
    "wrong only on the border (last row, last column); the interior": (
        0,
        lambda g: spoil_at(np.s_[:, :, -1])(spoil_at(np.s_[:, :, :, -1])(g)),
    ),
    "only image 0 is right; elsewhere yours is 0": (0, only(np.s_[:1])),
    "wrong only in channel 1; the others are right": (0, spoil_at(np.s_[:, 1])),
    "wrong only in filter 3, where yours is 0; the others are right": (1, only(np.s_[:3])),
    "yours is 0 at every wrong entry; the others are right": (
        0,
        lambda g: g * (np.arange(g.size) % 7 > 0).reshape(g.shape),
    ),
    "yours is 0 everywhere": (0, lambda g: 0 * g),
    "yours × a factor = expected, another one for each channel: 0.5, 0.3333, 0.25": (
        0,
        lambda g: g * np.array([2, 3, 4.0])[:, None, None],
    ),
    "yours - expected is one number for each channel": (0, lambda g: g + np.array([1, 2, 3.0])[:, None, None]),
    "yours - expected is 0.25 everywhere": (2, lambda g: g + 0.25),
}  # fmt: skip


@pytest.mark.parametrize("words", PATTERNS)
def test_patterns_are_named(words: str) -> None:
    number, spoil = PATTERNS[words]
    result = gradcheck(conv_with(spoiled(number, spoil)), X, W, B).inputs[number]
    assert words in (result.pattern or "")


def test_long_lines_are_wrapped() -> None:
    report = gradcheck(conv_with(spoiled(1, lambda g: g / 30)), X, W, B)
    assert max(map(len, str(report).splitlines())) <= 110


# ---- known mistakes ----------------------------------------------------------------------------------------


class MyConv(sf.Function):
    """By itself: nothing says that this is a convolution but its numbers."""

    def __init__(
        self, spoil: Callable[[Any, Any, Any], Any] = lambda gx, gw, gb: (gx, gw, gb), **settings: Any
    ) -> None:
        self.right, self.spoil = ops.Conv2d(**settings), spoil

    def forward(self, x: Any, w: Any, b: Any) -> Any:
        return self.right.forward(x, w, b)

    def backward(self, gy: Any) -> Any:
        return self.spoil(*self.right.backward(gy))


@pytest.mark.parametrize("settings", [{}, {"stride": 2, "padding": 1}, {"padding": (2, 1), "dilation": (1, 2)}])
def test_a_function_is_recognised_by_its_output(settings: dict[str, Any]) -> None:
    def spoil(gx: Any, gw: Any, gb: Any) -> Any:
        return gx, gw / len(gx), gb

    report = gradcheck(lambda x, w, b: MyConv(spoil, **settings)(x, w, b), X, W, B)
    assert "known mistake: gw divided by N. The loss already averages" in str(report)
    assert "(filter " in str(report)


def test_a_factor_is_called_n_only_if_it_is_n_on_other_inputs_too() -> None:
    half = gradcheck(conv_with(spoiled(1, lambda g: g / 2)), X, W, B)
    assert "known mistake: gw is halved." in str(half)
    by_n = gradcheck(conv_with(NDivided), X, W, B)
    assert "known mistake: gw divided by N." in str(by_n)


class NDivided(ops.Conv2d):
    def backward(self, gy: Any) -> Any:
        gx, gw, gb = super().backward(gy)
        return gx, gw / len(gy), gb


def test_what_is_no_op_by_itself_is_said_so() -> None:
    class Cubes(sf.Function):
        def forward(self, x: Any) -> Any:
            self.x = x
            return x**3

        def backward(self, gy: Any) -> Any:
            return gy * self.x**2

    report = gradcheck(lambda x: Cubes()(x), X)
    assert "known mistakes were not looked up: the function is none of the library's ops" in str(report)
    assert "yours × 3.000 = expected" in str(report)
    deeper = " ".join(str(gradcheck(lambda x: ops.relu(Cubes()(x * 2.0)), X)).split())
    fault = "at fault: cubes (op 2 of 3, x (2, 3, 5, 6)), its gradient of x: yours × 3.000 = expected"
    assert fault in deeper
    assert "not an op of the library, so no known mistake was looked up" in deeper
    wrong_op = gradcheck(lambda x: Permuting()(x), X, op="softmax")
    assert "the output is not that of softmax" in str(wrong_op)


class Permuting(ops.Relu):
    def backward(self, gy: Any) -> Any:
        return super().backward(gy[::-1])


def test_the_op_at_fault_is_found_within_a_model() -> None:
    class Wrong(Net):
        def forward(self, image: sf.Tensor) -> sf.Tensor:
            return ops.max_pool2d(FlippedSign(padding=1)(ops.relu(image * 2.0), self.weight, self.frozen), 2)

    text = " ".join(str(gradcheck(Wrong(), X)).split())
    assert "at fault: flipped_sign (op 3 of 4, x (2, 3, 5, 6)), its gradient of x: the sign is flipped" in text
    assert "gx has the wrong sign. Drop the minus" in text
    assert text.count("at fault") == 1


def test_a_mistake_in_forward_is_named_where_the_op_is_given() -> None:
    class Flipped(sf.Function):
        def forward(self, x: Any, w: Any) -> Any:
            self.right = ops.Conv2d()
            return self.right.forward(x, w[:, :, ::-1, ::-1])

        def backward(self, gy: Any) -> Any:
            gx, gw, _ = self.right.backward(gy)
            return gx, gw

    text = " ".join(str(gradcheck(lambda x, w: Flipped()(x, w), X, W, op="conv2d", settings={})).split())
    assert "the output is not that of conv2d" in text
    assert "the kernel is turned by 180°" in text


def test_a_layer_of_a_model_is_recognised_too() -> None:
    class Layer(Net):
        def forward(self, image: sf.Tensor) -> sf.Tensor:
            return NDivided()(image, self.weight, self.frozen)

    assert "known mistake: one of these" in str(gradcheck(Layer(), X))  # no other inputs can be tried
    assert "gw divided by N" in str(gradcheck(Layer(), X))


def test_losses_are_recognised_with_their_labels() -> None:
    labels = np.random.default_rng(0).integers(0, 3, (2, 5, 6))
    labels[0, 0, 0] = 255

    class MyLoss(sf.Function):
        def forward(self, x: Any, labels: Any) -> Any:
            self.right = ops.SoftmaxCrossEntropy(labels)
            self.p = ops.Softmax().forward(x)
            return self.right.forward(x)

        def backward(self, gy: Any) -> Any:
            return self.right.backward(gy) * 59 / 60, None

    text = str(gradcheck(lambda x, labels: MyLoss()(x, labels), X, labels))
    assert "known mistake: ignored pixels are counted in the mean." in text


def test_of_a_large_model_a_few_gradients_are_explained() -> None:
    class Twice(ops.Relu):
        def backward(self, gy: Any) -> Any:
            return 2 * super().backward(gy)

    report = gradcheck(lambda *xs: Twice()(sum(xs[1:], start=xs[0])), *[np.ones(3) + i for i in range(10)])
    text = str(report)
    assert text.startswith("✗ function backward     0 of 10 ok   input 0 wrong   input 1 wrong")
    assert text.count("worst at") == 4
    assert "… and 6 more gradients are wrong; one op may spoil all that lie before it" in text
    assert "at fault: twice (op 10 of 10, x (3,)), its gradient of x: yours × 0.5000 = expected" in text


def test_unusual_but_right_solutions_pass() -> None:
    class ByMatrix(sf.Function):
        """A convolution's gradients by asking the forward pass for every unit image: slow, odd and right."""

        def forward(self, x: Any, w: Any) -> Any:
            self.x, self.w = x, w
            return ops.Conv2d(padding=1).forward(x, w)

        def backward(self, gy: Any) -> Any:
            def by(shape: tuple[int, ...], run: Callable[[Any], Any]) -> Any:
                units = np.eye(int(np.prod(shape))).reshape(-1, *shape)
                return np.array([(run(unit) * gy).sum() for unit in units]).reshape(shape)

            gx = by(self.x.shape, lambda x: ops.Conv2d(padding=1).forward(x, self.w))
            return gx, by(self.w.shape, lambda w: ops.Conv2d(padding=1).forward(self.x, w))

    assert gradcheck(lambda x, w: ByMatrix()(x, w), X[:, :, :3, :3], W)


# ---- one entry, slow functions, maps -----------------------------------------------------------------------


def test_one_entry_can_be_checked_by_itself() -> None:
    whole = gradcheck(conv_with(DoubledWeight), X, W, B)
    one = gradcheck(conv_with(DoubledWeight), X, W, B, index="gweight:0,0,2,0")
    (result,) = one.inputs
    (entry,) = result.entries
    assert entry.index == (0, 0, 2, 0)
    assert entry in of(whole, "weight").entries
    assert gradcheck(conv_with(DoubledWeight), X, W, B, index="x:1,2,4,5").ok
    assert gradcheck(conv_with(DoubledWeight), X, W, B, index="gw:0,0,2,0").worst == entry
    (index,) = re.findall(r'reproduce: gradcheck\(…, seed=0, index="(.*)"\)', str(whole))
    assert gradcheck(conv_with(DoubledWeight), X, W, B, index=index).worst == whole.worst


@pytest.mark.parametrize("index", ["gw:0,0,2", "gw:0,0,3,0", "gw:-1,0,0,0", "gq:0", "gw", "gw:a,b,c,d", ""])
def test_an_entry_that_does_not_exist_is_refused(index: str) -> None:
    with pytest.raises(ValueError, match="index "):
        gradcheck(conv_with(DoubledWeight), X, W, B, index=index)


def test_of_a_slow_function_fewer_entries_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["scratchfcn.gradcheck"], "SECONDS", 1e-9)
    report = gradcheck(ops.conv2d, X, W, B)
    assert [r.checked for r in report.inputs] == [2, 2, 2]
    assert "the function is slow: 2 entries per input were tried; samples=64 tries more" in str(report)
    assert gradcheck(ops.conv2d, X, W, B, samples=64).checked == 132


@pytest.mark.parametrize("shape", [(), (3,), (4, 5), (2, 4, 5), (2, 3, 4, 5), (30, 40, 3, 3), (2, 100, 300)])
def test_maps_in_the_terminal(shape: tuple[int, ...]) -> None:
    expected = np.random.default_rng(0).uniform(1, 2, shape)
    ours = expected.copy()
    ours[(0,) * len(shape)] += 1
    text = maps.blocks(ours, expected)
    body = text.replace(maps.LEGEND, "")
    assert max(len(line) for line in text.splitlines() if line != maps.LEGEND) <= 80
    assert body.count("█") == 1
    assert not set("░▒▓!?") & set(body)
    assert "[0,0]" in text or len(shape) != 4


def test_maps_show_what_is_not_known_and_what_is_no_number() -> None:
    expected = np.array([[1.0, np.nan, 1.0, 1.0]])
    assert "│█? !│" in maps.blocks(np.array([[3.0, 1.0, 1.0, np.inf]]), expected)


@pytest.mark.parametrize("shape", [(), (3,), (4, 5), (2, 4, 5), (2, 3, 4, 5)])
def test_maps_as_pictures(shape: tuple[int, ...], tmp_path: Path) -> None:
    from PIL import Image

    expected = np.random.default_rng(0).standard_normal(shape)
    ours = expected + np.random.default_rng(1).standard_normal(shape)
    path = maps.save_png(tmp_path / "out" / "map.png", ours, expected)
    picture = np.asarray(Image.open(path).convert("RGB"))
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 50
    assert min(picture.shape[:2]) > 200


def test_a_report_draws_its_map(tmp_path: Path) -> None:
    report = gradcheck(conv_with(WrongBorder), X, W, B)
    assert report.map().startswith("gx (2, 3, 5, 6)\n┌[0,0]─┐")
    assert set(report.map("gweight").replace(maps.LEGEND, "")) & set("░▒▓█") == set()
    report.save_map(tmp_path / "x.png")
    assert (tmp_path / "x.png").stat().st_size > 5000
    with pytest.raises(ValueError, match="there is no input 'q'; there are x, weight, bias"):
        report.map("q")


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
    assert "pattern: yours × 0.5000 = expected, everywhere" in result.output


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


# ---- the command on a file ---------------------------------------------------------------------------------

PAIR = """
import numpy as np

def forward(x, w, b, stride=1, padding=0):
    N, C, H, W = x.shape
    OC, _, KH, KW = w.shape
    P = padding
    xp = np.pad(x, ((0, 0), (0, 0), (P, P), (P, P)))
    OH, OW = (H + 2 * P - KH) // stride + 1, (W + 2 * P - KW) // stride + 1
    y = np.zeros((N, OC, OH, OW))
    for i in range(OH):
        for j in range(OW):
            window = xp[:, :, i * stride:i * stride + KH, j * stride:j * stride + KW]
            y[:, :, i, j] = np.tensordot(window, w, ([1, 2, 3], [1, 2, 3])) + b
    return y, xp

def backward(gy, x, w, cache, stride, padding):
    xp, P = cache, padding
    gxp, gw = np.zeros_like(xp), np.zeros_like(w)
    for i in range(gy.shape[2]):
        for j in range(gy.shape[3]):
            at = np.s_[:, :, i * stride:i * stride + w.shape[2], j * stride:j * stride + w.shape[3]]
            gw += np.tensordot(gy[:, :, i, j], xp[at], ([0], [0]))
            gxp[at] += np.tensordot(gy[:, :, i, j], w, 1)
    return gxp[:, :, P:P + x.shape[2], P:P + x.shape[3]], gw, gy.sum(axis=(0, 2, 3))
"""
FILES = {
    "my_conv2d.py": PAIR,
    "wrong_conv2d.py": PAIR.replace("gxp[at] +=", "gxp[at] ="),
    "mine.py": """
import scratchfcn as sf
from scratchfcn import ops

class MyRelu(sf.Function):
    def forward(self, x):
        self.x = x
        return x * (x > 0)
    def backward(self, gy):
        return gy * (gy > 0)

class Scale(sf.Function):
    def __init__(self, by=2.0):
        self.by = by
    def forward(self, x):
        return x * self.by
    def backward(self, gy):
        return gy * self.by + undefined

class Plain:
    def forward(self, x):
        self.x = x
        return x ** 3
    def backward(self, gy):
        return 3 * self.x ** 2 * gy

def net(x, w, b=None):
    return ops.relu(ops.conv2d(x, w, b))

def my_sum_forward(x, axis=0):
    return x.sum(axis)
def my_sum_backward(gy, x, axis):
    import numpy as np
    return np.expand_dims(gy, axis) * np.ones_like(x)

def loss(logits, labels):
    return ops.softmax_cross_entropy(logits, labels)

class Half:
    def forward(self, x):
        return x
""",
    "broken.py": "x = 1\ny = x +\n",
    "failing.py": "import numpy as np\nnp.zeros(3).reshape(2)\n",
    "empty.py": "x = 1\n",
    "wrong_cube.py": "def forward(x):\n    return x**3\ndef backward(gy, x):\n    return gy * x\n",
    "half.py": "def forward(x):\n    return 2 * x\n",
    "two.py": "def forward(x):\n    return 2 * x\ndef backward(gy):\n    return gy, gy\n",
    "order.py": """
def relu_forward(x):
    return x * (x > 0), x > 0
def relu_backward(cache, gy):
    return gy * cache
""",
    "lrn.py": """
import numpy as np

def lrn_forward(x, size=3, alpha=0.1):
    a = np.pad(x * x, ((0, 0), (1, 1), (0, 0), (0, 0)))
    b = 1 + alpha / size * sum(a[:, i : i + x.shape[1]] for i in range(size))
    return x * b**-0.75, b
def lrn_backward(gy, cache):
    return gy * cache**-0.75
""",
    "my_loss.py": """
import numpy as np

def forward(x, labels):
    p = np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)
    right = np.moveaxis(np.eye(x.shape[1])[labels], -1, 1)
    return -np.log((p * right).sum(axis=1)).mean(), p - right
def backward(gy, cache):
    return gy * cache
""",
    "asks.py": "def forward(x):\n    return 2 * x\ndef backward(gy, mask):\n    return 2 * gy\n",
}


@pytest.fixture
def files(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def check(files: Path, target: str, *options: str) -> Any:
    return run(str(files / target), *options)


@pytest.mark.parametrize(
    ("target", "options"),
    [
        ("my_conv2d.py", []),
        ("my_conv2d.py", ["--settings", "stride=2 padding=1", "--shapes", "x=1,2,7,6 w=3,2,3,2 b=3", "--seed", "3"]),
        ("my_conv2d.py", ["--op", "conv2d", "--index", "gw:0,0,2,0"]),
        ("mine.py:Plain", ["--shapes", "x=2,3"]),
        ("mine.py:net", ["--shapes", "x=2,3,5,6 w=4,3,3,3"]),
        ("mine.py:net", ["--shapes", "x=2,3,5,6 w=4,3,3,3 b=4"]),
        ("mine.py:my_sum", ["--shapes", "x=2,3,4", "--settings", "axis=1"]),
        ("mine.py:loss", ["--shapes", "logits=2,4,3,3 labels=2,3,3:4"]),
    ],
)
def test_right_files_pass(files: Path, target: str, options: list[str]) -> None:
    result = check(files, target, *options)
    assert result.exit_code == 0, result.output
    assert result.output.startswith("✓ ")


def test_a_wrong_file_is_explained_and_its_entry_can_be_reproduced(files: Path) -> None:
    result = check(files, "wrong_conv2d.py", "--map", str(files / "map.png"))
    assert result.exit_code == 1
    assert result.output.startswith("✗ wrong_conv2d backward     X wrong   w ok   b ok")
    assert "known mistake: gx written with = instead of +=, window by window." in result.output
    assert "┌[0,0]─┐ ┌[0,1]─┐" in result.output
    assert (files / "map.png").stat().st_size > 5000
    (line,) = [line for line in result.output.splitlines() if "reproduce: scratchfcn gradcheck " in line]
    again = run(*line.split("scratchfcn gradcheck ")[1].split())
    assert again.exit_code == 1
    worst = [line for line in result.output.splitlines() if "finite difference" in line]
    assert worst[0] in again.output


@pytest.mark.parametrize(
    ("target", "options", "words"),
    [
        ("lrn.py:lrn_forward", ["--op", "local_response_norm"], "known mistake: the second term is missing"),
        ("lrn.py:lrn_backward", ["--shapes", "x=2,5,2,3"], "known mistake: the second term is missing"),
        ("my_loss.py", ["--op", "softmax_cross_entropy"], "known mistake: the sum instead of the mean"),
        ("my_loss.py", ["--op", "softmax_cross_entropy", "--shapes", "x=3,5,2"], "gradient gx  shape (3, 5, 2)"),
    ],
)
def test_settings_and_labels_need_not_be_spelled_out(files: Path, target: str, options: list[str], words: str) -> None:
    result = check(files, target, *options)
    assert result.exit_code == 1, result.output
    assert words in result.output


def test_the_command_speaks_of_its_own_options(files: Path) -> None:
    text = " ".join(check(files, "wrong_cube.py", "--shapes", "x=2,3").output.split())
    assert "if it is meant to be one, say --op, --settings" in text


def test_many_verdicts_are_wrapped() -> None:
    results = [InputResult(i, f"a_long_name_{i}.weight", (1,), [], np.zeros(1)) for i in range(8)]
    lines = str(Report("Net", results, 1e-5)).splitlines()
    assert max(map(len, lines)) <= 110
    assert " ".join(lines).count("weight ?") == 8


def test_a_model_inside_a_function_needs_its_parameters_handed_over() -> None:
    layer = sf.nn.Conv2d(3, 2, 1)
    with pytest.raises(TypeError) as caught:
        gradcheck(lambda x: layer(x), X)
    assert any("params=dict(model.named_parameters())" in note for note in caught.value.__notes__)
    assert gradcheck(lambda x: layer(x), X, params=dict(layer.named_parameters()))


def test_a_function_of_a_file_is_explained(files: Path) -> None:
    result = check(files, "mine.py:MyRelu")
    assert result.exit_code == 1
    assert "known mistake: the mask is taken from gy instead of x." in result.output


@pytest.mark.parametrize(
    ("target", "options", "words"),
    [
        ("nothing.py", [], ["there is no file", "nothing.py"]),
        ("broken.py", [], ["broken.py cannot be run", "line 2: y = x +", "SyntaxError"]),
        ("failing.py", [], ["failing.py cannot be run", "line 2, in <module>: np.zeros(3).reshape(2)", "ValueError"]),
        ("empty.py", [], ["defines nothing to check", "fix: define forward(x, …) and backward(gy, …)"]),
        ("mine.py", [], ["more than one thing to check: MyRelu, Scale, Plain", "fix: say which", "mine.py:MyRelu"]),
        ("mine.py:Other", [], ["has no 'Other' to check", "MyRelu, Scale"]),
        ("mine.py:Half", [], ["class Half needs both forward and backward"]),
        ("mine.py:net", [], ["net: how large is x?", '--shapes "x=… w=… b=…"']),
        ("mine.py:net", ["--shapes", "q=2,3"], ["net has no input 'q'; its inputs are x, w, b"]),
        ("mine.py:net", ["--shapes", "x=2,a"], ["'x=2,a' is no NAME=SIZE", "fix: as in"]),
        ("mine.py:MyRelu", ["--settings", "2"], ["'2' is no NAME=VALUE"]),
        ("mine.py:MyRelu", ["--op", "rellu"], ["there is no op 'rellu'; nearest: relu"]),
        ("mine.py:MyRelu", ["--index", "gx:0"], ["index 'gx:0': x has shape"]),
        (
            "mine.py:Scale",
            ["--shapes", "x=2"],
            ["line 18, in backward", "return gy * self.by + undefined", "NameError"],
        ),
        ("half.py", ["--shapes", "x=2"], ["half.py has forward but no backward", "fix: define backward(gy, …)"]),
        ("order.py", ["--shapes", "x=2"], ["backward takes gy first: def relu_backward(gy, …), not (cache, gy)"]),
        ("my_conv2d.py", ["--settings", "strid=2"], ["my_conv2d has no parameter 'strid'; the op has stride, padding"]),
        ("mine.py:Plain", ["--settings", "by=2"], ["Plain has no parameter 'by'"]),
        ("two.py", ["--shapes", "x=2"], ["two: backward returned 2 gradients for 1 inputs", "gradient check of two"]),
        ("asks.py", ["--shapes", "x=2"], ["backward asks for 'mask'; after gy it can have, by name: x, y, cache"]),
    ],
)
def test_what_is_wrong_with_a_file_is_said_and_exits_with_2(
    files: Path, target: str, options: list[str], words: list[str]
) -> None:
    result = check(files, target, *options)
    assert result.exit_code == 2, result.output
    for word in words:
        assert word in result.output
    assert "Traceback" not in result.output


def test_options_of_files_are_refused_for_ops() -> None:
    result = run("relu", "--index", "gx:0")
    assert result.exit_code == 2
    assert "--index is for a file of yours" in result.output


def test_the_command_lists_the_mistakes() -> None:
    result = run("conv2d", "--mistakes")
    assert result.exit_code == 0
    assert "conv2d, gradient of weight" in result.output
    assert "gw divided by N" in result.output
    assert "max_pool2d" not in result.output
    everything = run("--mistakes").output
    assert int(everything.split()[0]) >= 60
    assert "max_pool2d" in everything
    assert run("conv9d", "--mistakes").exit_code == 2


def test_gradients_can_be_read_off_the_report() -> None:
    report = gradcheck(lambda a: a * 3.0, np.array([1.0, 2.0]))
    x = sf.Tensor(np.array([1.0, 2.0]), requires_grad=True)
    (x * 3.0).sum().backward()
    for entry in report.inputs[0].entries:
        gy = entry.numeric / to_numpy(x.grad)[entry.index]
        assert 0.5 <= abs(gy) <= 1.5
