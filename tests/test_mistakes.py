"""The catalogue of mistakes: each is wrong, each is named by its numbers, and nothing else is."""

from collections import Counter
from functools import cache
from typing import Any

import geometries
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import scratchfcn as sf
from scratchfcn import mistakes, ops
from scratchfcn.gradcheck_cases import op_names
from scratchfcn.mistakes import FORWARD, Call, Mistake, catalogue, explain, explain_forward, input_names
from scratchfcn.mistakes.reference import forward_of, gradients_of

BACKWARD_ONLY_IN_DISGUISE = {"number_sub", "number_div"}  # rows of the table of cases: sub and div once more


def example(op: str, *shapes: tuple[int, ...], shift: float = 0.0, ties: bool = False, **settings: Any) -> Call:
    """A call with numbers that are all different; shift: added to the first input."""
    rng = np.random.default_rng(len(shapes))
    inputs = [rng.standard_normal(shape) for shape in shapes]
    if ties:
        inputs = [3.0 * rng.integers(-2, 3, shape) for shape in shapes]
    if inputs:
        inputs[0] = inputs[0] + shift
    if op == "dropout":
        settings["mask"] = rng.random(shapes[0]) >= settings["p"]
    if op == "div":
        inputs[1] = np.sign(inputs[1]) * (0.5 + np.abs(inputs[1]))
    like = rng.standard_normal((3, 3, 1, 1)) if op == "bilinear_kernel" else None
    y = forward_of(Call(op, inputs, settings, gradient=like))
    return Call(op, inputs, settings, rng.standard_normal(y.shape), like)


rng = np.random.default_rng(7)
LABELS = rng.integers(0, 5, (3, 4, 6))
VOID = np.where(rng.random(LABELS.shape) < 0.3, 255, LABELS)
WEIGHT = np.array([0.5, 2.0, 1.0, 3.0, 0.7])
STATISTICS = {"running_mean": np.array([0.3, -0.2, 1.0, 0.4]), "running_var": np.array([0.5, 1.5, 2.0, 0.7])}
CONV = [(3, 4, 9, 11), (6, 4, 3, 3), (6,)]
UP = [(3, 4, 5, 6), (4, 5, 3, 3), (5,)]

# sizes that no number of images, channels, rows or columns has in common with another
EXAMPLES = [
    example("conv2d", *CONV),
    example("conv2d", *CONV, stride=(2, 3), padding=(1, 2)),
    example("conv2d", *CONV, stride=2, padding=1, shift=0.5),
    example("conv2d", *CONV, dilation=(2, 3), padding=(2, 3)),
    example("conv2d", (3, 6, 7, 8), (4, 3, 3, 2), (4,), padding=1, groups=2),
    example("conv2d", (3, 5, 6, 7), (5, 5, 3, 3), (5,), padding=1),
    example("conv2d", (5, 4, 6, 7), (5, 4, 3, 3), (5,)),
    example("conv2d", (3, 4, 9, 9), (6, 4, 3, 3), (6,), padding=(0, 1)),
    example("conv2d", (3, 4, 9, 9), (6, 4, 3, 3), (6,), stride=(1, 2)),
    example("conv1x1", (3, 4, 5, 6), (7, 4, 1, 1), (7,)),
    example("conv1x1", (3, 4, 5, 6), (4, 4, 1, 1), (4,)),
    example("conv1x1", (4, 5, 3, 6), (4, 5, 1, 1), (4,)),
    example("conv_transpose2d", *UP),
    example("conv_transpose2d", *UP, stride=2, padding=1, output_padding=1),
    example("conv_transpose2d", *UP, stride=(2, 3), padding=(1, 0)),
    example("conv_transpose2d", *UP, stride=3, padding=1, output_padding=2),
    example("conv_transpose2d", *UP, dilation=2, padding=2),
    example("conv_transpose2d", (3, 6, 4, 5), (6, 2, 3, 2), (4,), stride=2, groups=2),
    example("conv_transpose2d", (3, 5, 4, 6), (5, 5, 3, 3), (5,), stride=2),
    example("conv_transpose2d", (5, 4, 4, 6), (4, 5, 3, 3), (5,)),
    example("im2col", (3, 4, 5, 7), kernel_size=(3, 2)),
    example("im2col", (3, 4, 7, 8), kernel_size=3, stride=(2, 3), padding=1),
    example("im2col", (3, 4, 7, 8), kernel_size=3, stride=2, padding=1),
    example("im2col", (3, 4, 7, 8), kernel_size=2, dilation=2, padding=2),
    example("col2im", (24, 3 * 3 * 6), shape=(3, 4, 5, 7), kernel_size=(3, 2)),
    example("col2im", (36, 3 * 3 * 4), shape=(3, 4, 5, 8), kernel_size=3, stride=2, padding=1),
    example("col2im", (36, 3 * 3 * 3), shape=(3, 4, 5, 8), kernel_size=3, stride=(2, 3), padding=1),
    example("col2im", (16, 3 * 7 * 10), shape=(3, 4, 5, 8), kernel_size=2, dilation=2, padding=2),
    example("max_pool2d", (3, 4, 9, 11), kernel_size=3, stride=2, padding=1),
    example("max_pool2d", (3, 4, 9, 11), kernel_size=3, stride=2, padding=1, shift=-3.0),
    example("max_pool2d", (3, 4, 9, 10), kernel_size=3, stride=(1, 2)),
    example("max_pool2d", (3, 4, 9, 10), kernel_size=2, stride=1, dilation=2, shift=-0.5),
    example("max_pool2d", (3, 4, 8, 11), kernel_size=2, stride=2, ties=True),
    example("max_pool2d", (3, 4, 9, 12), kernel_size=3, stride=2, ceil_mode=True),
    example("max_pool2d", (3, 4, 9, 12), kernel_size=2, stride=3),
    example("max_pool2d", (3, 4, 4, 12), kernel_size=3, stride=(2, 3)),
    example("avg_pool2d", (3, 4, 9, 11), kernel_size=3, stride=2, padding=1),
    example("avg_pool2d", (3, 4, 8, 10), kernel_size=3, stride=2, padding=1, ceil_mode=True),
    example("avg_pool2d", (3, 4, 9, 11), kernel_size=(2, 3), stride=2),
    example("avg_pool2d", (3, 4, 9, 10), kernel_size=(2, 3)),
    example("global_avg_pool2d", (3, 4, 5, 7)),
    example("adaptive_avg_pool2d", (3, 4, 7, 10), output_size=(3, 4)),
    example("adaptive_avg_pool2d", (3, 4, 5, 10), output_size=(3, 4)),
    example("adaptive_avg_pool2d", (5, 4, 11, 7), output_size=(2, 3)),
    example("relu", (3, 4, 5, 7)),
    example("relu", (3, 4, 5, 7), ties=True),
    example("relu6", (3, 4, 5, 7), shift=6.0),
    example("relu6", (3, 4, 5, 7), shift=0.0),
    example("relu6", (3, 40, 5, 7), ties=True, shift=3.0),
    example("relu6", (3, 40, 5, 7), shift=3.0),
    example("dropout", (3, 4, 5, 7), p=0.3),
    example("softmax", (3, 4, 5, 7)),
    example("softmax", (3, 5), axis=-1),
    example("softmax_cross_entropy", (3, 5, 4, 6), labels=VOID),
    example("softmax_cross_entropy", (3, 5, 4, 6), labels=VOID, reduction="sum"),
    example("softmax_cross_entropy", (3, 5, 4, 6), labels=VOID, weight=WEIGHT),
    example("softmax_cross_entropy", (3, 5, 4, 6), labels=LABELS),
    example("batch_norm2d", (3, 4, 5, 7), (4,), (4,), training=True, eps=0.1, shift=1.0, **STATISTICS),
    example("batch_norm2d", (3, 4, 5, 7), (4,), (4,), training=False, eps=0.1, shift=1.0, **STATISTICS),
    example("local_response_norm", (3, 7, 4, 5), size=5, alpha=0.5),
    example("local_response_norm", (3, 7, 4, 5), size=4, alpha=0.5),
    example("crop", (3, 4, 9, 12), size=(4, 5), offset=(1, 2)),
    example("crop", (3, 4, 9, 11), size=(4, 5), offset=(2, 4)),
    example("pad", (3, 4, 5, 6), padding=(1, 3, 4, 2)),
    example("pad", (3, 4, 5, 6), padding=(2, 1, 3, 5)),
    example("concat", (3, 4, 2, 5), (3, 7, 2, 5), (3, 5, 2, 5), (3, 6, 2, 5)),
    example("concat", (3, 5, 2, 5), (3, 4, 2, 5), (3, 6, 2, 5)),
    example("concat", (4, 4, 5), (4, 6, 5), (4, 7, 5), (4, 3, 5), (4, 8, 5), axis=-2),
    example("concat", (3, 4, 2, 5), (3, 7, 2, 5)),
    example("concat", *[(3, 4, 5)] * 4),
    example("concat", (3, 7), (3, 4), (3, 2), (3, 5)),
    example("flatten", (3, 4, 5, 7)),
    example("reshape", (3, 4, 5, 7), shape=(12, 35)),
    example("resize_bilinear", (3, 4, 5, 6), size=(9, 8)),
    example("resize_bilinear", (3, 4, 5, 5), size=(9, 9)),
    example("resize_bilinear", (3, 4, 5, 6), size=(9, 8), align_corners=True),
    example("resize_bilinear", (3, 4, 7, 7), size=(7, 10)),
    example("resize_bilinear", (3, 4, 5, 6), size=(15, 6)),
    example("resize_bilinear", (3, 4, 5, 5), size=(5, 9)),
    example("bilinear_kernel", kernel_size=4),
    example("bilinear_kernel", kernel_size=(5, 6)),
    example("bilinear_kernel", kernel_size=5),
    example("linear", (3, 4), (5, 4), (5,)),
    example("linear", (3, 4), (4, 4), (4,)),
    example("linear", (5, 4), (5, 4), (5,)),
    *[example(op, (3, 4, 5), (4, 1)) for op in ("add", "sub", "mul", "div")],
    *[example(op, (4, 1), (3, 4, 5)) for op in ("add", "sub", "mul", "div")],
    example("sum", (3, 4, 5), axis=1),
    example("sum", (4, 4), axis=1),
    example("mean", (3, 4, 5), axis=1),
    example("mean", (4, 4), axis=1),
]  # fmt: skip


def right_of(call: Call, which: str) -> np.ndarray:
    if which == FORWARD:
        return forward_of(call)
    return gradients_of(call)[input_names(call.op, len(call.inputs)).index(which)]


def asked(call: Call, which: str, array: np.ndarray) -> str | None:
    if which == FORWARD:
        return explain_forward(call.op, call.inputs, call.settings, array)
    return explain(call.op, call.inputs, call.settings, call.gy, array, which)


def planted(mistake: Mistake, call: Call) -> np.ndarray | None:
    """What the mistake makes of the call; None where it makes no difference there, or nothing of that shape."""
    if mistake.which not in (FORWARD, *input_names(call.op, len(call.inputs))):
        return None
    wrong, right = mistake.array(call), right_of(call, mistake.which)
    if wrong is None or not wrong.any() or not np.isfinite(wrong).all():
        return None
    if wrong.shape != right.shape:
        return wrong if mistake.which == FORWARD else None
    return None if mistakes.same(wrong, right, 1e-6) else wrong


@cache
def answers() -> dict[tuple[str, str, str], list[str | None]]:
    """For every mistake what is said about it, on each example where it makes a difference."""
    said: dict[tuple[str, str, str], list[str | None]] = {}
    for mistake in catalogue():
        key = (mistake.op, mistake.which, mistake.name)
        said.setdefault(key, [])
        for call in EXAMPLES:
            wrong = planted(mistake, call) if call.op == mistake.op else None
            if wrong is not None:
                said[key].append(asked(call, mistake.which, wrong))
    return said


def test_there_are_many_of_every_op() -> None:
    backward = Counter(m.op for m in catalogue() if m.which != FORWARD)
    assert sum(backward.values()) >= 60
    for op in set(op_names()) - BACKWARD_ONLY_IN_DISGUISE:
        assert backward[op] >= 5, op


def test_every_mistake_has_a_name_and_a_remedy_of_its_own() -> None:
    keys = Counter((m.op, m.which, m.name) for m in catalogue())
    assert [key for key, count in keys.items() if count > 1] == []
    for mistake in catalogue():
        assert mistake.remedy.endswith("."), mistake
        assert not mistake.name.endswith("."), mistake


@pytest.mark.parametrize("op", sorted({m.op for m in catalogue()}))
def test_every_mistake_is_named_exactly(op: str) -> None:
    """On some example each is named alone; where others give the same numbers, it is among those that are named."""
    for mistake in catalogue(op):
        said = answers()[op, mistake.which, mistake.name]
        assert str(mistake) in said, (mistake.which, str(mistake), said)
        assert all(each is not None and str(mistake) in each for each in said), (mistake, said)


@pytest.mark.parametrize("call", EXAMPLES, ids=lambda call: f"{call.op} {len(call.inputs)}")
def test_nothing_is_said_of_right_arrays(call: Call) -> None:
    for which in (*input_names(call.op, len(call.inputs)), FORWARD):
        if which == FORWARD or call.op not in ("im2col", "col2im"):
            right = right_of(call, which)
            assert asked(call, which, right) is None
            noise = np.random.default_rng(0).standard_normal(right.shape)
            assert asked(call, which, right * (1 + 1e-9 * noise)) is None


@pytest.mark.parametrize("call", EXAMPLES[::3], ids=lambda call: call.op)
def test_nothing_is_said_of_other_wrong_arrays(call: Call) -> None:
    for which in (*input_names(call.op, len(call.inputs)), FORWARD):
        if which == FORWARD or call.op not in ("im2col", "col2im"):
            right = right_of(call, which)
            assert asked(call, which, right + 1.0) is None
            assert asked(call, which, right * np.random.default_rng(0).uniform(0.9, 1.1, right.shape)) is None


OPS = sorted(set(geometries.ALL) - {"flatten"})


@given(data=st.data(), op=st.sampled_from(OPS))
@settings(max_examples=60)
def test_on_any_geometry_mistakes_are_named_and_right_gradients_are_not(data: st.DataObject, op: str) -> None:
    case = data.draw(geometries.ALL[op]())
    inputs = [x for x in case.arrays if x is not None]
    assume(all(x.size for x in inputs) and np.abs(np.concatenate([x.ravel() for x in inputs])).max() < 50)
    assume(op != "softmax_cross_entropy" or (case.settings["labels"] != case.settings["ignore_index"]).any())
    call = Call(op, inputs, {k: v for k, v in case.settings.items() if v is not None})
    gy = case.upstream(forward_of(call).shape)
    call = Call(op, inputs, call.settings, gy)
    names = input_names(op, len(inputs))
    for which in names:
        assert explain(op, inputs, call.settings, gy, right_of(call, which), which) is None
    known = [m for m in catalogue(op) if m.which in (*names, FORWARD)]
    for mistake in data.draw(st.lists(st.sampled_from(known), min_size=1, max_size=4)):
        wrong = planted(mistake, call)
        if wrong is not None:
            assert str(mistake) in (asked(call, mistake.which, wrong) or ""), mistake


@pytest.mark.parametrize("op", ["conv2d", "conv_transpose2d"])
def test_channels_read_as_if_dealt_out_to_the_groups(op: str) -> None:
    """Two groups of three: channels 0, 2, 4 are taken for the first group, 1, 3, 5 for the second."""
    numbers = np.random.default_rng(0).standard_normal
    x, w = numbers((2, 6, 5, 4)), numbers((4, 3, 3, 3) if op == "conv2d" else (6, 2, 3, 3))
    settings = {"groups": 2}
    read = Call(op, [x[:, [0, 2, 4, 1, 3, 5]], w], settings)
    y = forward_of(read)
    said = "mixed up: channel c treated as one of group c % G"
    assert said in explain_forward(op, [x, w], settings, y)
    gy = numbers(y.shape)
    gw = gradients_of(Call(op, read.inputs, settings, gy))[1]
    assert "gw mixes up the groups: channel c" in explain(op, [x, w], settings, gy, gw, "gw")


def test_inputs_may_be_tensors_and_names_may_be_short() -> None:
    call = EXAMPLES[0]
    tensors = [sf.Tensor(x.astype(np.float32), requires_grad=True) for x in call.inputs]
    ops.conv2d(*tensors).backward(call.gy.astype(np.float32))
    wrong = tensors[1].grad / 3
    for which in (1, "weight", "w", "gw"):
        assert "gw divided by N" in explain("conv2d", tensors, {}, call.gy.astype(np.float32), wrong, which)
    with pytest.raises(ValueError, match="conv2d has no input 'gz'; it has x, weight, bias"):
        explain("conv2d", tensors, {}, call.gy, wrong, "gz")


def test_what_cannot_be_told_apart_is_not_claimed() -> None:
    x, w, gy = (np.random.default_rng(0).standard_normal(s) for s in [(2, 3, 5, 5), (4, 3, 3, 3), (2, 4, 3, 3)])
    gw = gradients_of(Call("conv2d", [x, w], {}, gy))[1]
    said = explain("conv2d", [x, w], {}, gy, gw / 2, "gw")
    assert said.startswith("one of these, which give the same numbers here: gw divided by N")
    assert "gw is halved" in said
