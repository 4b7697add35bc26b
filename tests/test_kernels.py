"""The CUDA kernels compute what the ops' plain ways compute, and the way they are launched is what a GPU needs.

They run on the processor here, through tests/emulated_kernels.py: NumPy's arithmetic in the plain ways says what is
right. Inputs lie among NaN, which a read beyond their ends would bring into the result; outputs lie between numbers
that must stay, and are full of NaN themselves until each of their numbers has been written.
"""

import ctypes
import ctypes.util
import math
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest.mock import patch

import emulated_kernels
import numpy as np
import pytest
import strict_cupy
from geometries import Window, in_memory, layouts
from hypothesis import assume, example, given
from hypothesis import strategies as st
from strict_cupy import cupy

from scratchfcn import DeviceError, ops
from scratchfcn.cuda import kernels
from scratchfcn.ops import stripes
from scratchfcn.ops.im2col import all_windows, col2im, im2col
from scratchfcn.ops.pool import refuse_empty_windows, window_frame

pytestmark = pytest.mark.skipif(emulated_kernels.COMPILER is None, reason=emulated_kernels.NO_COMPILER)


@pytest.fixture(scope="module", autouse=True)
def stand_in() -> Iterator[None]:
    with strict_cupy.installed(), switched(on=True):
        yield


@contextmanager
def switched(on: bool) -> Iterator[None]:
    with patch.object(kernels, "_enabled", on):
        yield


# ---- arrays with something around them ---------------------------------------------------------------------

EDGE = 300  # numbers on either side, more than a block of threads


def placed(a: np.ndarray, layout: str = "plain") -> Any:
    """`a` on the make-believe GPU, lying in memory as `layout` says, among NaN."""
    a = root = in_memory(a, layout)
    while root.base is not None:
        root = root.base
    around = np.full(root.size + 2 * EDGE, np.nan, a.dtype)
    around[EDGE : EDGE + root.size] = root.ravel()
    first = EDGE + (a.ctypes.data - root.ctypes.data) // a.itemsize
    return cupy.lib.stride_tricks.as_strided(cupy.asarray(around)[first:], a.shape, a.strides)


@contextmanager
def guarded() -> Iterator[None]:
    """What `xp.empty` gives is surrounded by numbers that nobody may change."""
    made: list[Any] = []

    def empty(shape: Any, dtype: Any = float, order: str = "C") -> Any:
        size = math.prod(shape) if isinstance(shape, tuple) else shape
        whole = cupy.full(size + 2 * EDGE, 7, dtype)
        whole[EDGE : EDGE + size] = float("nan") if whole.dtype.kind == "f" else -9
        made.append(whole)
        return whole[EDGE : EDGE + size].reshape(shape)

    with patch.object(cupy, "empty", empty):
        yield
    for whole in made:
        edges = whole.get()[[*range(EDGE), *range(-EDGE, 0)]]
        np.testing.assert_array_equal(edges, 7, err_msg="a kernel wrote beyond its output")


@contextmanager
def launches() -> Iterator[list[str]]:
    """The names of the kernels that are launched meanwhile."""
    names: list[str] = []
    launch = kernels.launch

    def noted(name: str, *arguments: Any, **settings: Any) -> None:
        names.append(name)
        launch(name, *arguments, **settings)

    with patch.object(kernels, "launch", noted):
        yield names


def equal(ours: Any, theirs: np.ndarray, rounding: float = 0.0) -> None:
    """The same numbers, NaN included; within that many roundings of the largest, or bit for bit."""
    assert ours.shape == theirs.shape
    assert ours.dtype == theirs.dtype
    if not rounding:
        np.testing.assert_array_equal(ours.get(), theirs)
    else:
        largest = np.abs(theirs).max(initial=0.0)
        slack = rounding * np.finfo(theirs.dtype).eps
        np.testing.assert_allclose(ours.get(), theirs, rtol=slack, atol=slack * largest)


# ---- geometries --------------------------------------------------------------------------------------------

dtypes = st.sampled_from([np.float32, np.float64])
sizes = st.integers(1, 9)
axes = st.builds(
    Window,
    kernel=st.integers(1, 4),
    stride=st.integers(1, 5),
    padding=st.integers(0, 5),
    dilation=st.integers(1, 3),
)


@st.composite
def image_and_windows(draw: st.DrawFn) -> tuple[np.ndarray, str, tuple[Any, ...]]:
    """x (N, C, H, W), how it lies in memory, and (kernel, stride, padding, dilation, output)."""
    shape = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(sizes), draw(sizes)
    rows, columns = draw(axes), draw(axes)
    output = rows.count(shape[2]), columns.count(shape[3])
    assume(min(output) >= 1)
    x = np.random.default_rng(draw(st.integers(0, 99))).standard_normal(shape).astype(draw(dtypes))
    both = zip(
        (rows.kernel, rows.stride, rows.padding, rows.dilation),
        (columns.kernel, columns.stride, columns.padding, columns.dilation),
        strict=True,
    )
    return x, draw(layouts), (*both, output)


# ---- im2col and col2im -------------------------------------------------------------------------------------


@given(case=image_and_windows())
def test_im2col(case: Any) -> None:
    x, layout, windows = case
    with guarded(), launches() as names:
        ours = im2col(placed(x, layout), *windows)
    equal(ours, im2col(x, *windows))
    assert names in (["im2col"], [])  # none for 1x1 windows: the columns are the image itself


@given(case=image_and_windows(), data=st.data())
def test_columns_of_some_images_and_rows(case: Any, data: st.DataObject) -> None:
    x, layout, (kernel, stride, padding, dilation, output) = case
    images, rows = (
        slice(first := data.draw(st.integers(0, n - 1)), data.draw(st.integers(first + 1, n)))
        for n in (len(x), output[0])
    )
    (top, left), (_, C, *_) = padding, x.shape
    planes = np.pad(x, ((0, 0), (0, 0), (top, top), (left, left))).transpose(1, 0, 2, 3)
    theirs = all_windows(planes, kernel, stride, dilation, output)[:, :, :, images, rows]
    with guarded():
        windows = kernels.Windows(placed(x, layout), kernel, stride, padding, dilation, output)
        equal(windows.columns(images, rows), theirs.reshape(C * kernel[0] * kernel[1], -1))


@given(case=image_and_windows())
def test_col2im_is_the_adjoint(case: Any) -> None:
    """It adds in the plain way's order, so it gives the same bits; and <im2col(x), c> = <x, col2im(c)>."""
    x, _, windows = case
    cols = im2col(x, *windows)
    c = np.random.default_rng(1).standard_normal(cols.shape).astype(x.dtype)
    with guarded(), launches() as names:
        ours = col2im(placed(c), x.shape, *windows)
    equal(ours, col2im(c, x.shape, *windows))
    assert names in (["col2im"], [])
    there = np.vdot(cols.astype(float), c.astype(float))
    back = np.vdot(x.astype(float), ours.get().astype(float))
    assert back == pytest.approx(there, abs=1e-4 if x.dtype == np.float32 else 1e-11)


def test_col2im_takes_columns_that_lie_otherwise() -> None:
    c = np.arange(4 * 2.0).reshape(4, 2)
    settings = ((1, 1, 2, 3), (2, 2), (1, 1), (0, 0), (1, 1), (1, 2))
    equal(col2im(placed(np.asfortranarray(c).T.copy()).T, *settings), col2im(c, *settings))


def test_columns_by_hand() -> None:
    """A 1x3 image in a frame of zeros, windows of two, two pixels apart, at every second place."""
    x = placed(np.array([[[[1.0, 2.0, 3.0]]]]))
    cols = im2col(x, (1, 2), (1, 2), (0, 1), (1, 2), (1, 2))
    assert cols.tolist() == [[0.0, 2.0], [2.0, 0.0]]


# ---- max pooling -------------------------------------------------------------------------------------------

KINDS = {
    "normal": lambda rng, shape: rng.standard_normal(shape),
    "ties": lambda rng, shape: rng.integers(-2, 3, shape).astype(float),
    "some NaN": lambda rng, shape: np.where(rng.random(shape) < 0.1, np.nan, rng.standard_normal(shape)),
    "much -inf": lambda rng, shape: np.where(rng.random(shape) < 0.8, -np.inf, rng.standard_normal(shape)),
    "some inf": lambda rng, shape: np.where(rng.random(shape) < 0.2, np.inf, rng.standard_normal(shape)),
}


@st.composite
def max_pools(draw: st.DrawFn) -> tuple[ops.MaxPool2d, np.ndarray]:
    kernel = st.integers(1, 4)
    pool_axes = kernel.flatmap(
        lambda k: st.builds(
            Window,
            kernel=st.just(k),
            stride=st.integers(1, 5),
            padding=st.integers(0, k // 2),
            dilation=st.integers(1, 3),
        )
    )
    rows, columns = draw(pool_axes), draw(pool_axes)
    shape = draw(st.integers(1, 2)), draw(st.integers(1, 3)), draw(sizes), draw(sizes)
    both = zip(
        (rows.kernel, rows.stride, rows.padding, rows.dilation),
        (columns.kernel, columns.stride, columns.padding, columns.dilation),
        strict=True,
    )
    op = ops.MaxPool2d(*both, ceil_mode=draw(st.booleans()))
    try:
        op.frame = window_frame(op, shape)
        refuse_empty_windows(op, shape[2:])
    except ValueError:
        assume(False)
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    return op, KINDS[draw(st.sampled_from(sorted(KINDS)))](rng, shape).astype(draw(dtypes))


@given(case=max_pools(), layout=layouts, back=layouts)
def test_max_pooling(case: Any, layout: str, back: str) -> None:
    op, x = case
    with guarded(), launches() as names:
        y = op.forward(placed(x, layout))
        gy = np.random.default_rng(1).standard_normal(y.shape).astype(x.dtype)
        gx = op.backward(placed(gy, back))
    assert names == ["max_pool", "max_pool_backward"]
    equal(y, op.forward(x))
    equal(gx, op.backward(gy))


def test_the_winners_by_hand() -> None:
    """The first of a tie; nobody where there is NaN; and a pixel, not the padding, where all is -inf."""
    inf, nan = float("inf"), float("nan")
    x = np.array([[[[1.0, 3.0, 3.0, 2.0, nan, 5.0, -inf, -inf]]]])
    y, winners = kernels.max_pool(placed(x), (1, 2), (1, 2), (0, 0), (1, 1), (1, 4))
    np.testing.assert_array_equal(y.get().ravel(), [3.0, 3.0, nan, -inf])
    assert winners.tolist() == [[[[1, 2, -1, 6]]]]
    gy = placed(np.array([[[[1.0, 2.0, 4.0, 8.0]]]]))
    gx = kernels.max_pool_backward(gy, winners, (1, 8), (1, 2), (1, 2), (0, 0), (1, 1))
    assert gx.tolist() == [[[[0.0, 1.0, 2.0, 0.0, 0.0, 0.0, 8.0, 0.0]]]]


# ---- bilinear resizing -------------------------------------------------------------------------------------

long_sizes = st.integers(1, 30)


@given(
    size=st.tuples(long_sizes, long_sizes),
    out=st.tuples(long_sizes, long_sizes),
    align_corners=st.booleans(),
    dtype=dtypes,
    layout=layouts,
    back=layouts,
)
@example(size=(1, 1), out=(5, 1), align_corners=True, dtype=np.float64, layout="plain", back="plain")
@example(size=(3, 100), out=(96, 7), align_corners=False, dtype=np.float32, layout="plain", back="plain")
def test_bilinear_resizing(size: Any, out: Any, align_corners: bool, dtype: type, layout: str, back: str) -> None:
    rng = np.random.default_rng(0)
    op = ops.ResizeBilinear(out, align_corners)
    x, gy = rng.standard_normal((2, 3, *size)).astype(dtype), rng.standard_normal((2, 3, *out)).astype(dtype)
    with guarded(), launches() as names:
        y, gx = op.forward(placed(x, layout)), op.backward(placed(gy, back))
    assert names == ["bilinear", "bilinear_backward"]
    equal(y, op.forward(x), rounding=4)
    equal(gx, op.backward(gy), rounding=40)


@pytest.mark.parametrize("align_corners", [False, True])
def test_the_weights_are_those_of_the_plain_way(align_corners: bool) -> None:
    """Resizing the unit vectors shows the matrix: its weights are computed in double, and cast in the end."""
    for size, out in [(7, 7), (7, 56), (56, 7), (5, 33), (33, 5), (1, 9), (9, 1), (479, 60)]:
        theirs = ops.resize.interpolation_matrix(np, size, out, align_corners).astype(np.float32)
        x = placed(np.eye(size, dtype=np.float32)[None, None])
        y = kernels.bilinear(x, (size, out), align_corners)  # columns only: rows of weight 1 stay as they are
        np.testing.assert_array_max_ulp(y.get()[0, 0].T, theirs, maxulp=1)


# ---- whole ops: with kernels, without, and on the processor ------------------------------------------------


def forward_and_backward(op: Any, arrays: list[Any], gy_of: Callable[[Any], Any]) -> list[Any]:
    y = op.forward(*arrays)
    gradients = op.backward(gy_of(y))
    return [y, *(gradients if isinstance(gradients, tuple) else (gradients,))]


OPS = {
    "conv": (lambda: ops.Conv2d(padding=1), [(2, 4, 7, 6), (6, 4, 3, 3), (6,)]),
    "strided": (lambda: ops.Conv2d(stride=2, padding=(1, 3)), [(3, 4, 9, 8), (6, 4, 3, 5), (6,)]),
    "dilated, in groups": (lambda: ops.Conv2d(padding=2, dilation=2, groups=2), [(2, 4, 7, 6), (6, 2, 3, 3)]),
    "depthwise": (lambda: ops.Conv2d(padding=1, groups=4), [(2, 4, 7, 6), (4, 1, 3, 3), (4,)]),
    "depthwise, strided": (lambda: ops.Conv2d(stride=2, padding=1, groups=4), [(2, 4, 7, 6), (4, 1, 3, 3)]),
    "conv 1x1": (lambda: ops.Conv2d(), [(2, 4, 7, 6), (5, 4, 1, 1), (5,)]),
    "upsampling": (lambda: ops.ConvTranspose2d(2, 1), [(2, 3, 4, 5), (3, 2, 4, 4), (2,)]),
    "upsampling, in groups": (lambda: ops.ConvTranspose2d(4, groups=3), [(2, 3, 4, 5), (3, 1, 8, 8)]),
    "upsampling, plain": (lambda: ops.ConvTranspose2d(2, dilation=2), [(2, 3, 4, 5), (3, 2, 3, 3), (2,)]),
    "pool": (lambda: ops.MaxPool2d(3, 2, 1), [(2, 3, 9, 8)]),
    "resize": (lambda: ops.ResizeBilinear((15, 4)), [(2, 3, 9, 8)]),
    "adaptive": (lambda: ops.AdaptiveAvgPool2d((3, 5)), [(2, 3, 9, 8)]),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("stripe", [64, 1000, stripes.GPU_STRIPE])
@pytest.mark.parametrize("name", OPS)
def test_an_op_with_kernels_equals_it_without(name: str, stripe: int, dtype: type) -> None:
    make, shapes = OPS[name]
    rng = np.random.default_rng(5)
    arrays = [rng.standard_normal(shape).astype(dtype) for shape in shapes]

    def upstream(y: Any) -> np.ndarray:
        return np.random.default_rng(6).standard_normal(y.shape).astype(dtype)

    host = forward_and_backward(make(), arrays, upstream)
    with patch.object(stripes, "GPU_STRIPE", stripe), launches() as names:
        gpu = [placed(a) for a in arrays]
        with guarded():
            fused = forward_and_backward(make(), gpu, lambda y: placed(upstream(y)))
        used = list(names)
        with switched(on=False):
            without = forward_and_backward(make(), gpu, lambda y: placed(upstream(y)))
        assert names == used
    assert used or name in ("conv 1x1", "adaptive")
    for a, b, theirs in zip(fused, without, host, strict=True):
        if theirs is None:
            assert a is b is None
            continue
        equal(a, theirs, rounding=200)
        equal(a, b.get(), rounding=200)


@pytest.mark.parametrize("name", OPS)
def test_nothing_waits(name: str) -> None:
    make, shapes = OPS[name]
    arrays = [cupy.ones(shape, np.float32) for shape in shapes]
    before = strict_cupy.synchronised()
    forward_and_backward(make(), arrays, cupy.ones_like)
    assert strict_cupy.synchronised() == before


def test_a_convolution_keeps_no_columns_and_makes_no_padded_copy() -> None:
    """Beside x, y and the columns of one stripe, nothing of their size is ever made."""
    x, w = cupy.ones((1, 8, 64, 64), np.float32), cupy.ones((8, 8, 3, 3), np.float32)
    op, asked = ops.Conv2d(padding=1), []
    empty = cupy.empty

    def noted(shape: Any, dtype: Any = float, order: str = "C") -> Any:
        asked.append(math.prod(shape))
        return empty(shape, dtype, order)

    with patch.object(cupy, "empty", noted), patch.object(stripes, "GPU_STRIPE", 1 << 16):
        op.forward(x, w)
    assert op.stripes is not None
    assert asked[0] == 8 * 64 * 64  # y
    assert max(asked[1:]) * 4 <= 2 << 16


# ---- the switch, and the room that columns may take --------------------------------------------------------


def test_what_the_kernels_take() -> None:
    assert kernels.fused(cupy.ones(3))
    assert kernels.fused(cupy.ones(3, np.float32))
    assert not kernels.fused(cupy.ones(3, np.float16))
    assert not kernels.fused(cupy.ones(3, np.int32))
    assert not kernels.fused(np.ones(3))
    with switched(on=False):
        assert not kernels.fused(cupy.ones(3))


def test_kernels_that_do_not_compile_can_be_done_without(monkeypatch: pytest.MonkeyPatch) -> None:
    class NoCompiler:
        def __init__(self, **settings: Any) -> None:
            pass

        def get_function(self, name: str) -> Any:
            raise RuntimeError("NVRTC_ERROR_INVALID_OPTION: invalid value for --gpu-architecture\nand more")

    x = cupy.ones((1, 1, 2, 2), "float32")
    monkeypatch.setattr(kernels, "_compiled", lambda xp, real: NoCompiler())
    kernels._kernel.cache_clear()
    try:
        with pytest.raises(DeviceError, match=r"--gpu-architecture\n  fix: SCRATCHFCN_KERNELS=0"):
            ops.MaxPool2d(2).forward(x)
    finally:
        kernels._kernel.cache_clear()


def test_the_source_can_be_written_in_any_encoding() -> None:
    assert kernels.source().isascii()


def test_the_switch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "_enabled", None)
    monkeypatch.delenv("SCRATCHFCN_KERNELS", raising=False)
    assert kernels.enabled()
    kernels.set_fused(False)
    assert not kernels.enabled()
    for said, on in (("0", False), ("1", True)):
        monkeypatch.setattr(kernels, "_enabled", None)
        monkeypatch.setenv("SCRATCHFCN_KERNELS", said)
        assert kernels.enabled() is on
    monkeypatch.setattr(kernels, "_enabled", None)
    monkeypatch.setenv("SCRATCHFCN_KERNELS", "yes")
    with pytest.raises(ValueError, match="SCRATCHFCN_KERNELS is 'yes'; it must be 1"):
        kernels.enabled()


@pytest.mark.parametrize(("said", "expected"), [(None, 256 << 20), ("64", 64 << 20), ("0.5", 1 << 19)])
def test_the_workspace(said: str | None, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SCRATCHFCN_WORKSPACE", raising=False)
    if said is not None:
        monkeypatch.setenv("SCRATCHFCN_WORKSPACE", said)
    stripes.workspace_bytes.cache_clear()
    try:
        assert stripes.stripe_bytes(cupy.ones(3)) == expected
        assert stripes.stripe_bytes(np.ones(3)) == stripes.STRIPE
    finally:
        stripes.workspace_bytes.cache_clear()


@pytest.mark.parametrize("said", ["0", "-3", "much", "", "inf", "nan"])
def test_a_workspace_that_is_none(said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCRATCHFCN_WORKSPACE", said)
    stripes.workspace_bytes.cache_clear()
    with pytest.raises(ValueError, match=f"SCRATCHFCN_WORKSPACE is '{said}'; it must be a positive number"):
        stripes.stripe_bytes(cupy.ones(3))
    stripes.workspace_bytes.cache_clear()


# ---- launching ---------------------------------------------------------------------------------------------

CODE = r"""
struct Pair { int first; double second; };

// extern "C" __global__ void in_a_comment(int n) { __syncthreads(); }
__device__ long long thread_number() { return blockIdx.x * (long long)blockDim.x + threadIdx.x; }

extern "C" __global__ void affine(const Real* x, Real* __restrict__ y, Real by, long long size, int plus,
                                  const Pair p) {
    const long long t = thread_number();
    if (t < size) y[t] = x[t] * by + plus + p.first * p.second;
}

extern "C" __global__ void which_thread(int* number, int size) {
    if (thread_number() < size) number[thread_number()] = threadIdx.x + 1000 * blockIdx.x;
}

__device__ void meet() { __syncthreads(); }

extern "C" __global__ void shift(const Real* x, Real* y) {
    __shared__ Real held[256];
    held[threadIdx.x] = x[threadIdx.x];
    meet();
    y[threadIdx.x] = held[(threadIdx.x + 1) % blockDim.x];
}

extern "C" __global__ void some_leave(Real* y) {
    if (threadIdx.x == 3) return;
    __syncthreads();
    y[0] = 1;
}

extern "C" __global__ void counted(const int* where, int size, unsigned long long* counts) {
    if (thread_number() < size) atomicAdd(&counts[where[thread_number()]], 1ull);
}
"""
PAIR = np.dtype([("first", np.int32), ("second", np.float64)], align=True)


@pytest.fixture
def code() -> Iterator[None]:
    kernels._kernel.cache_clear()
    kernels._compiled.cache_clear()
    with patch.object(kernels, "source", lambda: CODE):
        yield
    kernels._kernel.cache_clear()
    kernels._compiled.cache_clear()


@pytest.mark.usefixtures("code")
class TestLaunching:
    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_numbers_arrive_as_the_kernel_expects_them(self, dtype: type) -> None:
        x, y = cupy.arange(1000, dtype=dtype), cupy.empty(1000, dtype)
        kernels.launch("affine", x, 1000, x, y, 0.5, np.int64(1000), 3, np.array((2, 0.25), PAIR))
        equal(y, (np.arange(1000) * 0.5 + 3.5).astype(dtype))

    @pytest.mark.parametrize(
        ("place", "argument", "complaint"),
        [
            (0, None, r"x is float\*, but got a NoneType"),
            (0, np.ones(3, np.float32), r"x is float\*, but got a ndarray"),
            (1, 8, r"y is float\*, but got a int32"),
            (2, 2, "by is float, but got a int32, which has other bytes"),
            (2, np.float64(2), "by is float, but got a float64"),
            (3, 1000, "size is long long, but got a int32"),
            (3, np.uint64(1), "size is long long, but got a uint64"),
            (4, 1.5, "plus is int, but got a float32"),
            (4, True, "plus is int, but got a bool"),
            (5, np.array((2, 0.25), PAIR)[()], "p is Pair, but got a void: CuPy passes a struct as"),
            (5, np.array((2, 3), [("first", np.int32), ("second", np.int32)]), "p is a Pair of 16 bytes, but got 8"),
        ],
    )
    def test_other_arguments_are_refused(self, place: int, argument: Any, complaint: str) -> None:
        x, y = cupy.ones(8, np.float32), cupy.empty(8, np.float32)
        arguments = [x, y, 0.5, np.int64(8), 3, np.array((2, 0.25), PAIR)]
        arguments[place] = argument
        with pytest.raises(TypeError, match=complaint):
            kernels.launch("affine", x, 8, *arguments)
        with pytest.raises(TypeError, match="affine takes 6 arguments, but got 5"):
            kernels.launch("affine", x, 8, *arguments[:5])

    def test_an_array_of_another_dtype_is_refused(self) -> None:
        x = cupy.ones(8, np.float32)
        with pytest.raises(TypeError, match=r"number is int\*, but got an array of float32"):
            kernels.launch("which_thread", x, 8, x, 8)

    def test_a_number_too_large_for_an_int(self) -> None:
        number = cupy.zeros(8, np.int32)
        with pytest.raises(OverflowError):
            kernels.launch("which_thread", cupy.ones(8), 8, number, 1 << 31)

    def test_threads_come_in_blocks(self) -> None:
        number = cupy.full(600, -1, np.int32)
        kernels.launch("which_thread", cupy.ones(8), 600, number, 600)
        assert number.tolist() == [t % 256 + 1000 * (t // 256) for t in range(600)]
        kernels.launch("which_thread", cupy.ones(8), 600, number, 600, block=64)
        assert number.tolist() == [t % 64 + 1000 * (t // 64) for t in range(600)]
        kernels.launch("which_thread", cupy.ones(8), 0, number, 600)  # nothing to do

    def test_threads_of_a_block_wait_for_each_other(self) -> None:
        for _ in range(2):  # forwards and backwards
            x, y = cupy.arange(256.0), cupy.empty(256)
            kernels.launch("shift", x, 256, x, y)
            assert y.tolist() == [*range(1, 256), 0]

    def test_no_thread_may_leave_while_others_wait(self) -> None:
        y = cupy.zeros(1)
        with pytest.raises(RuntimeError, match="some threads of a block ended while others wait"):
            kernels.launch("some_leave", y, 256, y)

    def test_integers_are_counted_together(self) -> None:
        where, counts = cupy.asarray(np.arange(999, dtype=np.int32) % 3), cupy.zeros(3, np.uint64)
        kernels.launch("counted", cupy.ones(1), 999, where, 999, counts)
        assert counts.tolist() == [333, 333, 333]

    def test_a_kernel_that_is_not_there(self) -> None:
        with pytest.raises(AttributeError, match="there is no"):
            kernels.launch("in_a_comment", cupy.ones(1), 1, 3)

    @pytest.mark.parametrize(
        ("grid", "block"), [((0,), (1,)), ((1,), (1025,)), ((1, 1 << 16), (1,)), ((1,), (64, 32)), ((1.0,), (1,))]
    )
    def test_a_launch_that_cuda_refuses(self, grid: Any, block: Any) -> None:
        kernel = kernels._kernel(cupy, "d", "which_thread")
        with pytest.raises(ValueError, match="CUDA launches no grid"):
            kernel(grid, block, (cupy.zeros(1, np.int32), np.int32(1)))


def test_a_graph_records_a_launch() -> None:
    """What is recorded is done when the graph is launched, on what lies in the arrays then."""
    x, stream = cupy.arange(16.0).reshape(1, 1, 4, 4), cupy.cuda.Stream(non_blocking=True)
    kernels.bilinear(x, (2, 2), False)  # compiled before, as nothing can be loaded meanwhile
    with stream:
        stream.begin_capture()
        y = kernels.bilinear(x, (2, 2), False)
        graph = stream.end_capture()
    x *= 2
    cupy.cuda.Device().synchronize()
    graph.launch(stream)
    stream.synchronize()
    assert y.tolist() == [[[[5.0, 9.0], [21.0, 25.0]]]]


def test_code_that_does_not_compile() -> None:
    with pytest.raises(RuntimeError, match=r"(?s)g\+\+ does not like the kernels.*kernels\.cu:2:"):
        emulated_kernels.RawModule(code="\nint nonsense").get_function("nonsense")
    sums = 'extern "C" __global__ void sum(float* y) { atomicAdd(y, 1.0f); }'
    with pytest.raises(RuntimeError, match="deleted function"):
        emulated_kernels.RawModule(code=sums).get_function("sum")


# ---- the source --------------------------------------------------------------------------------------------


def test_structs_are_the_same_on_both_sides() -> None:
    source = emulated_kernels.without_comments(kernels.source())
    for name, dtype in (("Windows", kernels.WINDOWS), ("Steps", kernels.STEPS), ("Axis", kernels.AXIS)):
        fields = []
        for line in re.search(rf"struct {name} {{(.*?)}};", source, re.DOTALL)[1].split(";"):
            *kind, names = re.split(r"\s+(?=\w+(?:,|$))", line.strip(), maxsplit=1) if line.strip() else ("", "")
            fields += [(n.strip(), emulated_kernels.DTYPES[" ".join(kind)]) for n in names.split(",") if n.strip()]
        assert fields == [(n, str(dtype[n])) for n in dtype.names], name
        offsets = [dtype.fields[n][1] for n in dtype.names]
        assert all(b - a == dtype[n].itemsize for n, (a, b) in zip(dtype.names, pairwise(offsets), strict=False))


def libraries() -> list[str]:
    """NVRTC, the compiler that CuPy asks: from NVIDIA's packages on PyPI, or from an installed CUDA."""
    folders = [Path(p) / "nvidia" for p in sys.path]
    found = [str(so) for folder in folders for so in folder.glob("*/lib/libnvrtc.so.*") if ".alt." not in so.name]
    installed = [os.environ.get("CUDA_PATH", ""), "/usr/local/cuda"]
    found += [str(so) for p in installed if p for so in Path(p).glob("lib64/libnvrtc.so")]
    return found or [name for name in [ctypes.util.find_library("nvrtc")] if name]


@pytest.mark.parametrize("real", ["float", "double"])
def test_nvrtc_compiles_the_source(real: str) -> None:
    """With the options that kernels.py and CuPy give it, for each of these architectures that it knows."""
    if not libraries():
        pytest.skip("no libnvrtc here, the compiler of CUDA that CuPy asks; pip install nvidia-cuda-nvrtc-cu12")
    for path in libraries():
        nvrtc = ctypes.CDLL(path)
        number = ctypes.c_int()
        nvrtc.nvrtcGetNumSupportedArchs(ctypes.byref(number))
        known = (ctypes.c_int * number.value)()
        nvrtc.nvrtcGetSupportedArchs(known)
        architectures = {70, 75, 80, 90, 120} & set(known)
        assert architectures
        for architecture in sorted(architectures):
            program, size = ctypes.c_void_p(), ctypes.c_size_t()
            code = kernels.source().encode()
            assert nvrtc.nvrtcCreateProgram(ctypes.byref(program), code, b"kernels.cu", 0, None, None) == 0
            options = [*kernels.OPTIONS, f"-DReal={real}", "-ftz=true", f"-arch=sm_{architecture}"]
            encoded = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
            status = nvrtc.nvrtcCompileProgram(program, len(options), encoded)
            nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size))
            log = ctypes.create_string_buffer(size.value)
            nvrtc.nvrtcGetProgramLog(program, log)
            nvrtc.nvrtcDestroyProgram(ctypes.byref(program))
            assert status == 0, f"{path}, sm_{architecture}: {log.value.decode()}"
