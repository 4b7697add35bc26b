"""Matrix products by cuBLAS itself: any layout, stacks, parts of larger arrays, and what cuBLAS is told.

With a GPU, its cuBLAS; with the stand-in for CuPy, a cuBLAS of the tests, which works in columns as the real one does.
"""

import ctypes
import threading
from collections.abc import Iterator
from typing import Any

import fake_cublas
import numpy as np
import pytest
import strict_cupy
from fake_cublas import CUPYS_HANDLE, SIGNATURES, FakeCublas
from hypothesis import given
from hypothesis import strategies as st

from scratchfcn import backend, parallel
from scratchfcn.cuda import gemm, kernels


@pytest.fixture(scope="module")
def xp() -> Iterator[Any]:
    """CuPy, or its stand-in with a cuBLAS."""
    real = backend.cuda_problem() is None and backend.cupy() is not strict_cupy.cupy
    if real:
        yield backend.cupy()
        return
    with strict_cupy.installed() as cupy, fake_cublas.installed():
        yield cupy


@pytest.fixture
def fake(xp: Any) -> Iterator[FakeCublas]:
    """A new cuBLAS of the tests, to be asked what it was told; the real one would not say."""
    if xp is not strict_cupy.cupy:
        pytest.skip("for the stand-in")
    with fake_cublas.installed() as fake:
        yield fake


def numbers(*shape: int, dtype: str = "float64", seed: int = 0) -> np.ndarray:
    """Numbers of three bits each: whatever order they are added up in, sums are exact, even with TF32."""
    return np.random.default_rng([seed, *shape]).integers(-4, 5, shape).astype(dtype)


def laid_out(xp: Any, x: np.ndarray, how: str) -> Any:
    """An array of the GPU with the numbers of x (…, R, C), lying in memory in one of several ways."""
    *stack, R, C = x.shape
    if how == "transposed":
        return xp.asarray(np.ascontiguousarray(x.swapaxes(-1, -2))).swapaxes(-1, -2)
    if how == "part":  # of larger matrices
        whole = xp.full((*stack, R + 2, C + 3), 9.0, x.dtype)
        view = whole[..., 1 : R + 1, 2 : C + 2]
    elif how == "part, transposed":
        view = xp.full((*stack, C + 2, R + 3), 9.0, x.dtype)[..., 1 : C + 1, 2 : R + 2].swapaxes(-1, -2)
    elif how == "stack inside":  # neither rows nor columns are in one piece
        view = xp.moveaxis(xp.full((R, C, *stack, 2), 9.0, x.dtype)[..., 0], (0, 1), (-2, -1))
    elif how == "backwards":
        view = xp.full(x.shape, 9.0, x.dtype)[..., ::-1, ::-1]
    elif how == "stack backwards":
        view = xp.full(x.shape, 9.0, x.dtype)
        view = view[::-1] if stack else view
    else:
        return xp.asarray(x)
    view[...] = xp.asarray(x)
    return view


LAYOUTS = ("plain", "transposed", "part", "part, transposed", "stack inside", "backwards", "stack backwards")
SIZES = st.integers(1, 5)


# ---- what comes out ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("how_b", LAYOUTS)
@pytest.mark.parametrize("how_a", LAYOUTS)
def test_any_layout(xp: Any, how_a: str, how_b: str, dtype: str) -> None:
    for stack in ((), (2,), (3, 2)):
        a, b = numbers(*stack, 3, 4, dtype=dtype), numbers(*stack, 4, 5, dtype=dtype)
        y = gemm.matmul(laid_out(xp, a, how_a), laid_out(xp, b, how_b))
        assert y.dtype == dtype
        np.testing.assert_array_equal(y.get(), a @ b)


@given(st.data())
def test_any_shape(xp: Any, data: st.DataObject) -> None:
    M, K, N = (data.draw(SIZES) for _ in range(3))
    stack = tuple(data.draw(st.lists(st.integers(1, 3), max_size=3)))
    stacks = [
        tuple(data.draw(st.sampled_from([1, n])) for n in stack[data.draw(st.integers(0, len(stack))) :]) for _ in "ab"
    ]
    a, b = numbers(*stacks[0], M, K), numbers(*stacks[1], K, N, seed=1)
    ours = gemm.matmul(*(laid_out(xp, x, data.draw(st.sampled_from(LAYOUTS))) for x in (a, b)))
    np.testing.assert_array_equal(ours.get(), a @ b)


@pytest.mark.parametrize("how", LAYOUTS)
def test_the_result_is_written_where_it_is_wanted(xp: Any, how: str) -> None:
    a, b = numbers(2, 3, 4), numbers(2, 4, 5)
    out = laid_out(xp, np.full((2, 3, 5), np.nan), how)
    assert gemm.matmul(xp.asarray(a), xp.asarray(b), out) is out
    np.testing.assert_array_equal(out.get(), a @ b)


def test_nothing_around_a_part_is_written(xp: Any, fake: FakeCublas) -> None:
    """As a stripe's pixels in a convolution: straight into the larger array, all else staying as it is."""
    whole = xp.full((2, 3, 10), 7.0)
    a, b = numbers(2, 3, 4), numbers(2, 4, 5)
    gemm.matmul(xp.asarray(a), xp.asarray(b), out=whole[:, :, 2:7])
    expected = np.full((2, 3, 10), 7.0)
    expected[:, :, 2:7] = a @ b
    np.testing.assert_array_equal(whole.get(), expected)


@pytest.mark.parametrize(
    ("a", "b"), [((3,), (3,)), ((3,), (3, 4)), ((2, 3), (3,)), ((3,), (2, 3, 4)), ((2, 5, 3), (3,))]
)
def test_vectors(xp: Any, a: tuple[int, ...], b: tuple[int, ...]) -> None:
    x, w = numbers(*a), numbers(*b, seed=1)
    y = gemm.matmul(xp.asarray(x), xp.asarray(w))
    assert y.shape == (x @ w).shape
    np.testing.assert_array_equal(y.get(), x @ w)
    out = xp.zeros((x @ w).shape)
    assert gemm.matmul(xp.asarray(x), xp.asarray(w), out) is out
    np.testing.assert_array_equal(out.get(), x @ w)


@pytest.mark.parametrize(("a", "b"), [((0, 3), (3, 2)), ((2, 3), (3, 0)), ((2, 0), (0, 3)), ((0, 2, 3), (3, 2))])
def test_nothing_to_multiply(xp: Any, a: tuple[int, ...], b: tuple[int, ...]) -> None:
    expected = np.zeros(a) @ np.zeros(b)
    for out in (None, xp.full(expected.shape, np.nan)):
        y = gemm.matmul(xp.zeros(a), xp.zeros(b), out)
        np.testing.assert_array_equal(y.get(), expected)


def test_old_contents_of_the_result_do_not_matter(xp: Any) -> None:
    out = xp.full((2, 2), np.nan)
    gemm.matmul(xp.ones((2, 3)), xp.ones((3, 2)), out)
    np.testing.assert_array_equal(out.get(), 3)


# ---- what cuBLAS is told -----------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["plain", "transposed", "part", "part, transposed"])
def test_what_lies_well_is_not_copied(xp: Any, fake: FakeCublas, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = laid_out(xp, numbers(2, 3, 4), how), laid_out(xp, numbers(2, 4, 5), how)
    out = xp.empty((2, 3, 5))
    monkeypatch.setattr(gemm, "layout", gemm.as_it_lies)
    gemm.matmul(a, b, out)
    assert fake.products == 1


def test_a_matrix_for_the_whole_stack_is_not_repeated(xp: Any) -> None:
    w = gemm.broadcast(xp.ones((4, 5)), (3, 2))
    lies = gemm.as_it_lies(w)
    assert lies is not None
    assert (lies.step, lies.ld, lies.transposed) == (0, 5, False)
    assert gemm.as_it_lies(gemm.broadcast(xp.ones((3, 1, 4, 5)), (3, 2))) is None  # two steps, 20 and 0


def test_a_row_may_say_anything_of_the_next(xp: Any) -> None:
    x = xp.ones((4, 6))[2:3, ::1]
    assert gemm.as_it_lies(x) == gemm.Layout(x, False, 6, 0)
    x = xp.ones((6, 1)).T  # 8 bytes to the next row, if there were one
    assert gemm.as_it_lies(x) == gemm.Layout(x, False, 6, 0)
    columns = xp.ones((4, 6))[:, 2:3]  # one number a row, six apart
    assert gemm.as_it_lies(columns) == gemm.Layout(columns, False, 6, 0)


def test_stream_and_workspace(xp: Any, fake: FakeCublas) -> None:
    gemm.matmul(xp.ones((2, 2)), xp.ones((2, 2)))
    first = {number: dict(state) for number, state in fake.handles.items() if number != CUPYS_HANDLE}
    assert len(first) == 1
    gemm.matmul(xp.ones((2, 2)), xp.ones((2, 2)))
    stream = xp.cuda.Stream(non_blocking=True)
    with stream:
        gemm.matmul(xp.ones((2, 2)), xp.ones((2, 2)))
    (state,) = (state for number, state in fake.handles.items() if number != CUPYS_HANDLE)  # the same handle
    assert state["stream"] == stream.ptr
    assert state["workspace"] != next(iter(first.values()))["workspace"]  # products of two streams may run at once
    assert state["workspace"][1] in (gemm.WORKSPACE, gemm.WORKSPACE_SINCE_HOPPER)
    assert state["atomics"] == 0


def test_every_thread_has_a_handle(xp: Any, fake: FakeCublas) -> None:
    gemm.matmul(xp.ones((2, 2)), xp.ones((2, 2)))
    other = threading.Thread(target=gemm.matmul, args=(xp.ones((2, 2)), xp.ones((2, 2))))
    other.start()
    other.join()
    assert len(fake.handles) == 3  # CuPy's too


def test_an_error_has_its_name(xp: Any, fake: FakeCublas) -> None:
    for status, name in ((13, "EXECUTION_FAILED"), (15, "NOT_SUPPORTED"), (99, "99")):
        fake.fail_with = status
        with pytest.raises(RuntimeError, match=f"cublasGemmEx: .*CUBLAS_STATUS_{name}$"):
            gemm.matmul(xp.ones((2, 2)), xp.ones((2, 2)))


def test_a_library_gets_its_parameters(xp: Any, fake: FakeCublas) -> None:
    """What is declared for ctypes has as many parameters, of the same sizes, as the documentation's."""
    assert gemm.FUNCTIONS.keys() == SIGNATURES.keys()
    for name, parameters in gemm.FUNCTIONS.items():
        assert [ctypes.sizeof(p) for p in parameters] == [ctypes.sizeof(p) for p in SIGNATURES[name]]


# ---- what is refused ---------------------------------------------------------------------------------------


def test_shapes_that_do_not_fit(xp: Any) -> None:
    with pytest.raises(ValueError, match=r"a \(2, 3\) has 3 columns, but b \(4, 2\) has 4 rows"):
        gemm.matmul(xp.ones((2, 3)), xp.ones((4, 2)))
    with pytest.raises(ValueError, match=r"leading axes of a \(2, 2, 3\) and b \(3, 3, 2\)"):
        gemm.matmul(xp.ones((2, 2, 3)), xp.ones((3, 3, 2)))
    with pytest.raises(ValueError, match=r"out has shape \(3, 2\), but a \(2, 3\) @ b \(3, 3\) has shape \(2, 3\)"):
        gemm.matmul(xp.ones((2, 3)), xp.ones((3, 3)), xp.ones((3, 2)))
    with pytest.raises(ValueError, match=r"out has shape \(3,\), but a \(2, 3\) @ b \(3,\) has shape \(2,\)"):
        gemm.matmul(xp.ones((2, 3)), xp.ones(3), xp.ones(3))
    with pytest.raises(ValueError, match="a number is no matrix"):
        gemm.matmul(xp.ones(()), xp.ones((3, 3)))


def test_dtypes_that_do_not_fit(xp: Any) -> None:
    for a, b in (("float32", "float64"), ("int32", "int32"), ("float16", "float16")):
        with pytest.raises(TypeError, match=f"float32, or all float64, got {a} and {b}"):
            gemm.matmul(xp.ones((2, 2), a), xp.ones((2, 2), b))
    with pytest.raises(TypeError, match="out float32"):
        gemm.matmul(xp.ones((2, 2)), xp.ones((2, 2)), xp.ones((2, 2), "float32"))


def test_more_than_cublas_can_count(xp: Any) -> None:
    x = gemm.Layout(xp.ones((1, 1)), False, 1 << 31, 0)
    with pytest.raises(ValueError, match="32 bits"):
        gemm.multiply(x, x, x, (1, 1, 1), 1)


# ---- in the ops --------------------------------------------------------------------------------------------


def test_ops_use_it_where_it_suits(xp: Any, fake: FakeCublas, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = numbers(3, 4), numbers(4, 5)
    expected = a @ b
    np.testing.assert_allclose(parallel.matmul(xp.asarray(a), xp.asarray(b)).get(), expected)
    assert fake.products == 1
    parallel.matmul(a, b)  # NumPy's arrays stay with NumPy
    parallel.matmul(xp.asarray(a).astype("float16"), xp.asarray(b).astype("float16"))  # and others with CuPy
    parallel.matmul(xp.ones((2, 3), "float32"), xp.ones((3, 2)))
    assert fake.products == 1

    with monkeypatch.context() as patch:
        patch.setattr(kernels, "_enabled", False)  # without kernels all is CuPy's
        parallel.matmul(xp.asarray(a), xp.asarray(b))
    assert fake.products == 1

    def missing() -> Any:
        raise ImportError("libcublas.so.12: cannot open shared object file")

    monkeypatch.setattr(gemm, "library", missing)
    np.testing.assert_allclose(parallel.matmul(xp.asarray(a), xp.asarray(b)).get(), expected)
