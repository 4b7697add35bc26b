"""Receptive fields, strides, centres and crop offsets: against published numbers, and against gradients."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import scratchfcn as sf
from scratchfcn.geometry import Grid, Window, chain, compose, crop_offset
from scratchfcn.models.fcn import FCN8s, FCN16s, FCN32s
from scratchfcn.models.vgg import VGG16


def thin_vgg(padding: int) -> VGG16:
    """VGG16 whose fc6 and fc7 are narrow: the geometry is the same, and 120 million weights are saved."""
    backbone = VGG16(padding=padding)
    backbone.head["width"] = 8
    return backbone


@pytest.fixture(scope="module")
def padded_vgg() -> VGG16:
    return thin_vgg(100)


# --- the paper's numbers ------------------------------------------------------------------------------------


def test_the_papers_crop_offsets_come_out_for_vgg16_with_padding_100(padded_vgg: VGG16) -> None:
    assert FCN32s(padded_vgg, 2).crop == 19
    net16 = FCN16s(padded_vgg, 2)
    assert (net16.crop_pool4, net16.crop) == (5, 27)
    net8 = FCN8s(padded_vgg, 2)
    assert (net8.crop_pool4, net8.crop_pool3, net8.crop) == (5, 9, 31)


def test_centres_of_the_padded_vgg_maps(padded_vgg: VGG16) -> None:
    net = FCN8s(padded_vgg, 2)
    found = [(g.stride, g.start) for g in (net.pool3_grid, net.pool4_grid, net.score_grid)]
    assert found == [(8, Fraction(-191, 2)), (16, Fraction(-183, 2)), (32, Fraction(25, 2))]
    upscore2 = net.score_grid.through(*net.upscore2.windows())
    assert (upscore2.stride, upscore2.start) == (16, Fraction(-23, 2))
    upscore = net.score_grid.through(Window(64, 32, transposed=True))
    assert (upscore.stride, upscore.start) == (1, -19)


def test_receptive_fields_of_vgg16() -> None:
    backbone = thin_vgg(1)
    to_pool3, to_pool4, to_pool5 = backbone.pool_windows()
    fields = []
    for windows in (to_pool3, to_pool3 + to_pool4, to_pool3 + to_pool4 + to_pool5):
        grid = chain(windows)
        fields.append((grid.receptive_field, grid.stride))
    assert fields == [(44, 8), (100, 16), (212, 32)]
    assert FCN32s(backbone, 2).score_grid.receptive_field == 404  # paper, table 1


def test_without_padding_100_the_maps_align_without_crops_of_the_skips() -> None:
    net = FCN8s(thin_vgg(1), 2)
    assert net.score_grid.start == Fraction(31, 2)
    assert (net.crop_pool4, net.crop_pool3, net.crop) == (-1, -1, 4)


@pytest.mark.parametrize(("kind", "crop"), [(FCN32s, 16), (FCN16s, 8), (FCN8s, 4)])
def test_crops_of_the_small_backbone(kind: type, crop: int) -> None:
    assert kind(sf.models.Small(), 2).crop == crop


def test_alexnet_needs_an_odd_upsampling_kernel() -> None:
    caffenet = [Window(11, 4, 100), Window(3, 2), Window(5, 1, 2), Window(3, 2), Window(3, 1, 1), Window(3, 1, 1)]
    caffenet += [Window(3, 1, 1), Window(3, 2), Window(6), Window(1)]
    score = chain(caffenet)
    assert (score.stride, score.start, score.receptive_field) == (32, 13, 355)
    assert crop_offset(score.through(Window(63, 32, transposed=True)), Grid()) == 18
    with pytest.raises(ValueError, match=r"37/2 pixels apart.*whole pixels"):
        crop_offset(score.through(Window(64, 32, transposed=True)), Grid())


def test_crop_offset_of_different_strides_is_refused() -> None:
    with pytest.raises(ValueError, match="strides 2 and 1 differ"):
        crop_offset(Grid().through(Window(2, 2)), Grid())


# --- composition --------------------------------------------------------------------------------------------

layers = st.tuples(st.integers(1, 5), st.integers(1, 4))


@given(layers, layers, layers)
def test_composition_is_associative_with_identity(f: tuple, g: tuple, h: tuple) -> None:
    assert compose(compose(f, g), h) == compose(f, compose(g, h))
    assert compose(f, (1, 1)) == f == compose((1, 1), f)


@given(layers, layers)
def test_composition_agrees_with_the_grid(f: tuple, g: tuple) -> None:
    grid = Grid().through(Window(*g), Window(*f))
    assert (grid.receptive_field, grid.stride) == compose(f, g)


# --- measured by gradients ----------------------------------------------------------------------------------


@st.composite
def stacks(draw: st.DrawFn) -> list[tuple[Window, str]]:
    """Up to three layers: convolutions and transposed convolutions."""
    stack = []
    for _ in range(draw(st.integers(1, 3))):
        k, s, d = draw(st.integers(1, 4)), draw(st.integers(1, 3)), draw(st.integers(1, 2))
        if draw(st.booleans()):
            stack.append((Window(k, s, draw(st.integers(0, 2)), d), "conv"))
        else:
            k = max(k, s)  # otherwise there are output pixels that see nothing
            d = 1 if s > 1 else d  # the same
            stack.append((Window(k, s, draw(st.integers(0, min(1, k - 1))), d, transposed=True), "up"))
    return stack


@given(stacks())
def test_receptive_field_and_centre_match_the_gradient(stack: list[tuple[Window, str]]) -> None:
    """With all weights 1, the input pixels with a gradient are the receptive field."""
    size = 64
    x = sf.Tensor(np.ones((1, 1, size, size)), requires_grad=True)
    y = x
    for window, kind in stack:
        w = sf.Tensor(np.ones((1, 1, window.kernel, window.kernel)))
        op = sf.ops.conv2d if kind == "conv" else sf.ops.conv_transpose2d
        y = op(y, w, stride=window.stride, padding=window.padding, dilation=window.dilation)
    grid = chain([window for window, _ in stack])
    middle = y.shape[2] // 2
    assume(24 < grid.centre(middle) < 40)  # elsewhere the patch would hang over the edge
    seen = []
    for i in range(middle, middle + (8 if grid.stride < 1 else 1)):  # behind upsampling, pixels see unequal patches
        x.grad = None
        gy = np.zeros(y.shape)
        gy[0, 0, i, middle] = 1.0
        y.backward(gy, retain_graph=True)
        rows = np.flatnonzero(x.grad[0, 0].any(axis=1))
        seen.append((rows.max() - rows.min() + 1, (rows.max() + rows.min()) / 2, float(grid.centre(i))))
    if all(kind == "conv" for _, kind in stack):
        assert seen[0][0] == grid.receptive_field
        assert seen[0][1] == seen[0][2]
    else:
        assert max(size for size, _, _ in seen) <= math.ceil(grid.receptive_field)
        coarsest = max(chain([window for window, _ in stack[: i + 1]]).stride for i in range(len(stack)))
        slack = float(grid.receptive_field + coarsest) / 2  # it sees the nearest pixels of the coarse map
        assert all(abs(centre - expected) <= slack for _, centre, expected in seen)
