"""One file for images of any size: the rules are found, hold for sizes that were not looked at, or are refused."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx_tools import TOLERANCE, check, own, randomise, worst

import scratchfcn as sf
from scratchfcn import models, nn, ops
from scratchfcn.export import ExportError, to_onnx
from scratchfcn.export.check import open_session
from scratchfcn.export.recording import IMAGE
from scratchfcn.export.sizes import (
    LikeImage,
    Overlap,
    UpTo,
    coarsest_stride,
    record_for_all_sizes,
    some_sizes,
)


def numbers(*shape: int) -> np.ndarray:
    return np.random.default_rng(7).standard_normal(shape).astype(np.float32)


def rules_of(model: nn.Module) -> tuple[dict[str, object], int]:
    """By op and the layer before it: how its size follows from the image's."""
    recording, least = record_for_all_sizes(model, 2, 3)
    rules = {call.place: call.size_rule for call in recording.calls if call.size_rule is not None}
    return rules, least


def test_the_rules_of_an_fcn() -> None:
    rules, least = rules_of(models.fcn8s("small", 3))
    assert least == 1
    assert list(rules) == ["crop after layer upscore2", "crop after layer upscore_pool4", "crop after layer upscore8"]
    skip, _, last = rules.values()
    assert isinstance(last, LikeImage)
    assert isinstance(skip, Overlap)
    (pool4, offset4), (upscore2, offset2) = skip.parts
    assert (pool4.layer, upscore2.layer) == ("score_pool4", "upscore2")
    assert (offset4, offset2) == ((0, 0), (1, 1))  # bilinear upsampling by 2 starts a pixel before the skip


@pytest.mark.parametrize(
    ("backbone", "least", "step", "rest"),
    [
        ("resnet18", 1, 32, 1),  # up to the next 32·i + 1
        ("googlenet", 15, 1, 0),  # at least 15
        ("squeezenet1_1", 33, 2, 1),  # odd, and at least 33
    ],
)
def test_how_an_image_is_filled_up(backbone: str, least: int, step: int, rest: int) -> None:
    rule = next(iter(rules_of(models.fcn32s(backbone, 2))[0].values()))
    assert isinstance(rule, UpTo)
    n = np.arange(1, 200)
    for a, b, c in zip(rule.least, rule.step, rule.rest, strict=True):
        found, expected = (np.maximum(m, s * -(-(n - r) // s) + r) for m, s, r in ((a, b, c), (least, step, rest)))
        np.testing.assert_array_equal(found, expected)


def test_every_size_up_to_seventy(tmp_path: Path) -> None:
    """Also the smallest, and rows and columns that have nothing to do with each other."""
    model = randomise(models.fcn8s("small", 3))
    to_onnx(model, (3, 64, 64), dynamic=True).save(tmp_path / "a.onnx")
    session = open_session(tmp_path / "a.onnx")
    for H, W in zip(range(1, 71), np.random.default_rng(0).permutation(70) + 1, strict=True):
        x = numbers(1, 3, H, int(W))
        assert worst(session.run(None, {IMAGE: x})[0], own(model, x)) <= TOLERANCE, (H, W)


def test_the_sizes_looked_at() -> None:
    """All remainders of the coarsest stride, along both axes, never twice the same pair, and some large ones."""
    assert coarsest_stride(models.fcn8s("small", 3), (1, 3, 64, 64)) == 32
    assert coarsest_stride(models.ResNetClassifier(18, 5), (1, 3, 64, 64)) == 32
    for stride in (1, 2, 32, 100):
        sizes = some_sizes(7, stride)
        for axis in (0, 1):
            axis_sizes = [size[axis] for size in sizes]
            assert {n % stride for n in axis_sizes} == set(range(stride))
            assert (min(axis_sizes), max(axis_sizes)) == (7, 584)
        assert all(H != W for H, W in sizes)


class Of(nn.Module):
    """A network that is a function."""

    def __init__(self, function: Callable[[sf.Tensor], sf.Tensor]) -> None:
        self.function = function

    def forward(self, x: sf.Tensor) -> sf.Tensor:
        return self.function(x)


def halved(x: sf.Tensor) -> sf.Tensor:
    return ops.max_pool2d(x, 2)


POSSIBLE = {
    "a frame that is always the same": lambda x: ops.relu(ops.pad(x, (1, 2, 3, 4))),
    "resized to the image's size": lambda x: ops.resize_bilinear(halved(x), x.shape[2:]),
    "resized by corners": lambda x: ops.resize_bilinear(halved(x), x.shape[2:], align_corners=True),
    "resized to one size": lambda x: ops.resize_bilinear(halved(x), (5, 7)),
    "flattened": lambda x: ops.flatten(ops.global_avg_pool2d(x)),
    "one map, cropped": lambda x: crop_of(x) * 2,
    "the larger of two is cut": lambda x: added(enlarged(x), ops.conv_transpose2d(halved(x), KERNEL, stride=2), 1),
    "one of two is cut, from an offset": lambda x: added(ops.relu(x), ops.max_pool2d(x, (2, 1), 1), 2),
    "either of two is cut": lambda x: added(ops.max_pool2d(x, (3, 1), 1), ops.max_pool2d(x, (1, 3), 1), 0),
    "windows that hang over": lambda x: ops.max_pool2d(x, 3, 2, padding=1, ceil_mode=True),
    "means": lambda x: ops.avg_pool2d(x, 3, 2, padding=1),
    "a mean over rows": lambda x: x.sum(axis=2),
}


KERNEL = numbers(3, 3, 5, 5)


def enlarged(x: sf.Tensor) -> sf.Tensor:
    return ops.relu(ops.pad(x, 3))


def crop_of(x: sf.Tensor) -> sf.Tensor:
    return ops.crop(enlarged(x), x.shape[2:], (2, 1))


def added(a: sf.Tensor, b: sf.Tensor, offset: int) -> sf.Tensor:
    H, W = (min(m - offset, n) for m, n in zip(a.shape[2:], b.shape[2:], strict=True))
    return ops.crop(a, (H, W), offset) + ops.crop(b, (H, W))


@pytest.mark.parametrize("name", POSSIBLE)
def test_networks_of_ones_own(name: str, tmp_path: Path) -> None:
    model = Of(POSSIBLE[name])
    to_onnx(model, (3, 20, 20), dynamic=True).save(tmp_path / "a.onnx")
    check(tmp_path / "a.onnx")
    session = open_session(tmp_path / "a.onnx")
    for H, W in ((8, 9), (13, 31), (40, 17)):
        x = numbers(2, 3, H, W)
        assert worst(session.run(None, {IMAGE: x})[0], own(model, x)) <= TOLERANCE, (H, W)


def test_equal_crops_of_a_map_are_made_once() -> None:
    def function(x: sf.Tensor) -> sf.Tensor:
        y = enlarged(x)
        return ops.relu(ops.crop(y, x.shape[2:], 1)) + ops.relu6(ops.crop(y, x.shape[2:], 1))

    nodes = [node.op_type for node in to_onnx(Of(function), (3, 20, 20), dynamic=True).model.graph.node]
    assert (nodes.count("Slice"), nodes.count("Shape")) == (2, 1)  # of the map, and of the image's shape


def test_small_images_for_which_the_network_does_something_else_are_left_out() -> None:
    assert rules_of(Of(lambda x: ops.relu(x) if x.shape[2] > 20 else ops.relu6(x)))[1] == 21


IMPOSSIBLE = {
    "the middle": (
        lambda x: ops.crop(x, (4, 4), ((x.shape[2] - 4) // 2, (x.shape[3] - 4) // 2)),
        "crop on the image: no rule explains its sizes",
    ),
    "from an offset that varies": (
        lambda x: ops.crop(enlarged(x), x.shape[2:], (x.shape[2] % 2, 0)),
        "crop on the image: no rule explains its sizes",
    ),
    "half of it": (lambda x: ops.crop(x, (x.shape[2] // 2 + 1, x.shape[3])), "crop on the image: no rule explains"),
    "doubled": (
        lambda x: ops.resize_bilinear(x, (2 * x.shape[2], 3)),
        "resize_bilinear on the image: no rule explains",
    ),
    "framed by its size": (lambda x: ops.pad(x, (0, x.shape[3], 0, 0)), "pad on the image: no rule explains"),
    "framed on the left": (lambda x: ops.pad(x, (x.shape[3] % 2, 0, 0, 0)), "pad on the image: no rule explains"),
    "cropped twice": (
        lambda x: ops.crop(ops.crop(ops.pad(x, 3), x.shape[2:], 1), (1, 1)),
        "cut or framed several times",
    ),
    "another op for odd sizes": (
        lambda x: ops.relu(x) if x.shape[2] % 2 else ops.relu6(x),
        "on the image is not the same",
    ),
    "a number that depends on the size": (lambda x: x * (1 / x.shape[2]), "mul on the image is not the same"),
    "only even sizes": (lambda x: ops.relu(x if x.shape[2] % 2 == 0 else refuse()), "takes"),
    "flattened pixels": (lambda x: ops.reshape(x, (len(x), 3, -1)), "reshape on the image: the shape"),
    "a window of the map's size": (
        lambda x: ops.avg_pool2d(x, (x.shape[2], 2)),
        "avg_pool2d on the image is not the same",
    ),
}


def refuse() -> sf.Tensor:
    raise ValueError("an odd number of rows")


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_what_no_rule_explains_is_refused(name: str) -> None:
    function, says = IMPOSSIBLE[name]
    with pytest.raises(ExportError) as error:
        to_onnx(Of(function), (3, 64, 64), dynamic=True)
    assert says in str(error.value)
    assert "images of one size" in str(error.value) or "one size only" in str(error.value)
    if name not in ("only even sizes", "doubled"):
        to_onnx(Of(function), (3, 64, 64))
