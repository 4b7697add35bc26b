"""Large work in pieces: the sums must stay the same, and the workspace small, however large the image.

The pieces are made tiny here, so that the small geometries of geometries.py, edges and all, are cut into many of them.
"""

import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from geometries import ALL, conv2d, layouts
from hypothesis import given, settings
from hypothesis import strategies as st
from test_ops_torch import equals_torch

import scratchfcn as sf
from scratchfcn import ops, parallel
from scratchfcn.ops import layout
from scratchfcn.ops.stripes import Stripes


@contextmanager
def in_tiny_pieces(stripe: int = 64) -> Iterator[None]:
    """Stripes and blocks of a few numbers, every product shared, two threads."""
    before = parallel.threads()
    parallel.set_threads(2)
    with (
        patch("scratchfcn.ops.stripes.STRIPE", stripe),
        patch("scratchfcn.ops.stripes.GPU_STRIPE", stripe),
        patch("scratchfcn.ops.layout.BLOCK", 64),
        patch("scratchfcn.parallel.LARGE_PRODUCT", 1),
    ):
        try:
            yield
        finally:
            parallel.set_threads(before)


def test_tiny_pieces_are_many() -> None:
    """What the tests below rely on: everything really is cut up."""
    x, w = np.ones((2, 3, 8, 8)), np.ones((4, 3, 3, 3))
    conv = ops.Conv2d(padding=1)
    with in_tiny_pieces():
        conv.forward(x, w)
        assert conv.stripes is not None
        assert len(conv.stripes.cut(x, (2, 8, 8), rows=27, products=4)) > 4
        assert len(conv.stripes.pieces(x, (2, 8, 8), channels=8)) > 2
        assert len(layout.blocks(x)) == 3
        assert len(layout.leading_blocks(x)) == 2


@pytest.mark.parametrize("name", ALL)
@settings(max_examples=60)
@given(data=st.data())
def test_every_op_in_tiny_pieces_equals_torch(name: str, device: str, data: st.DataObject) -> None:
    case, layout = data.draw(ALL[name]()), data.draw(layouts)
    with in_tiny_pieces():
        equals_torch(name, case, device, layout)


@settings(max_examples=400)
@given(case=conv2d(longest=14), stripe=st.sampled_from([1, 64, 300, 2000]), layout=layouts)
def test_convolutions_in_stripes_equal_torch(case: Any, stripe: int, layout: str, device: str) -> None:
    with in_tiny_pieces(stripe):
        equals_torch("conv2d", case, device, layout)


@given(
    N=st.integers(1, 9),
    OH=st.integers(1, 40),
    OW=st.integers(1, 40),
    rows=st.integers(1, 300),
    most=st.integers(1, 9000),
)
def test_stripes_cover_every_pixel_once(N: int, OH: int, OW: int, rows: int, most: int) -> None:
    x = np.zeros(1, np.float32)
    with patch("scratchfcn.ops.stripes.STRIPE", most):
        stripes = Stripes((3, 3), (1, 1), (1, 1), (1, 1), 1).cut(x, (N, OH, OW), rows, products=4)
    numbers = np.arange(N * OH * OW).reshape(N, OH, OW)
    assert [p for s in stripes for p in range(s.pixels.start, s.pixels.stop)] == list(range(numbers.size))
    for s in stripes:
        np.testing.assert_array_equal(
            numbers[s.images, s.rows].ravel(), np.arange(s.pixels.start, s.pixels.stop), err_msg=str(s)
        )
        assert (s.pixels.stop - s.pixels.start) * rows * 4 <= max(most, 8 * rows * 4) + OW * rows * 4


def peak_bytes(work: Callable[[], Any]) -> int:
    """The most memory that `work` had allocated at one time, its results included."""
    tracemalloc.start()
    try:
        result = work()
        peak = tracemalloc.get_traced_memory()[1]
        del result
    finally:
        tracemalloc.stop()
    return peak


@pytest.mark.parametrize(("stride", "kernel"), [(1, 3), (2, 3), (1, 5)])
def test_a_convolution_of_a_large_image_needs_no_more_than_a_copy_of_it(stride: int, kernel: int) -> None:
    x = np.ones((16, 1, 600, 800), np.float32).transpose(1, 0, 2, 3)
    w, b = np.ones((16, 16, kernel, kernel), np.float32), np.zeros(16, np.float32)
    conv = ops.Conv2d(stride=stride, padding=kernel // 2)
    threads, stripe = parallel.threads(), 1 << 20
    peak = peak_bytes(lambda: conv.forward(x, w, b))
    columns = kernel**2 * x.nbytes // stride**2
    y_bytes = x.nbytes // stride**2
    workspace = 4 * threads * stripe
    assert peak < 1.1 * x.nbytes + y_bytes + workspace  # x in its frame, y, and the stripes
    assert peak < 0.6 * columns

    gy = np.ones((16, 1, 600 // stride, 800 // stride), np.float32).transpose(1, 0, 2, 3)
    peak = peak_bytes(lambda: conv.backward(gy))
    assert peak < 2.2 * x.nbytes + workspace + 10 * stripe  # gx, a framed copy, and scattering's channels


def test_inference_needs_a_few_activations_not_their_columns() -> None:
    model = sf.models.fcn8s(num_classes=21)
    model.eval()
    x = sf.Tensor(np.zeros((1, 3, 512, 512), np.float32))

    def predict() -> sf.Tensor:
        with sf.no_grad():
            return model(x)

    activation = 16 * 512 * 512 * 4  # the largest of them; the scores of 21 classes are a little larger
    assert peak_bytes(predict) < 4 * activation


def test_a_small_image_stays_in_one_piece() -> None:
    """So that a debugger finds the columns, and the products, in the op itself."""
    conv = ops.Conv2d(padding=1)
    conv.forward(np.ones((2, 4, 16, 16)), np.ones((8, 4, 3, 3)))
    assert conv.stripes is None
    assert conv.cols.shape == (1, 36, 512)
