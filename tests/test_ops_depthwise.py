"""Depthwise convolutions, a kernel per channel: in stripes their strided backward pass goes a way of its own."""

from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from geometries import Case, conv_axes, int_or_pair, layouts, windows
from hypothesis import given, settings
from hypothesis import strategies as st
from test_ops_torch import equals_torch
from test_stripes import in_tiny_pieces

from scratchfcn import ops, parallel
from scratchfcn.ops.stripes import Stripes


@st.composite
def depthwise(draw: st.DrawFn) -> Case:
    """x (N, C, H, W), weight (C·multiplier, 1, KH, KW), bias or None."""
    rows, cols = draw(windows(conv_axes))
    N, C, multiplier = draw(st.integers(0, 3)), draw(st.integers(1, 5)), draw(st.integers(1, 3))
    H, W = (max(1, w.span - 2 * w.padding) + draw(st.integers(0, 9)) for w in (rows, cols))
    OC = C * multiplier
    return Case(
        shapes=[(N, C, H, W), (OC, 1, rows.kernel, cols.kernel), (OC,) if draw(st.booleans()) else None],
        settings={
            "stride": draw(int_or_pair(rows.stride, cols.stride)),
            "padding": draw(int_or_pair(rows.padding, cols.padding)),
            "dilation": draw(int_or_pair(rows.dilation, cols.dilation)),
            "groups": C,
        },
        seed=draw(st.integers(0, 2**16)),
    )


@settings(max_examples=300)
@given(case=depthwise(), stripe=st.sampled_from([1, 64, 1000, 10**5]), layout=layouts)
def test_depthwise_convolutions_equal_torch(case: Case, stripe: int, layout: str, device: str) -> None:
    with in_tiny_pieces(stripe):
        equals_torch("conv2d", case, device, layout)


def numbers(*shape: int, dtype: Any = np.float32) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(dtype)


@pytest.mark.parametrize("stride", [1, 2, (2, 1)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_bits_do_not_depend_on_the_number_of_threads(stride: Any, dtype: Any) -> None:
    x, w = numbers(3, 16, 40, 33, dtype=dtype), numbers(32, 1, 3, 3, dtype=dtype)
    results, before = [], parallel.threads()
    with patch("scratchfcn.ops.stripes.STRIPE", 20000), patch("scratchfcn.ops.layout.BLOCK", 20000):
        for threads in (1, 2, 3):
            parallel.set_threads(threads)
            conv = ops.Conv2d(stride, padding=1, groups=16)
            y = conv.forward(x, w)
            assert conv.stripes is not None
            results.append([y, *conv.backward(numbers(*y.shape, dtype=dtype))[:2]])
    parallel.set_threads(before)
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            assert a.dtype == dtype
            np.testing.assert_array_equal(a, b)


def test_no_loop_over_the_channels_with_a_stride(monkeypatch: pytest.MonkeyPatch) -> None:
    """`scatter` would make a piece of every group: for hundreds of them it takes ten times as long."""
    monkeypatch.setattr(Stripes, "scatter", lambda *_: pytest.fail("scatter"))
    conv = ops.Conv2d(stride=2, padding=1, groups=64)
    y = conv.forward(numbers(2, 64, 50, 50), numbers(64, 1, 3, 3))
    assert conv.stripes is not None
    gx, gw, _ = conv.backward(np.ones_like(y))
    assert gx.shape == (2, 64, 50, 50)
    assert gw.shape == (64, 1, 3, 3)
