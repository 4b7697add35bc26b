"""The engine: operators against torch, the walk through the graph, what is freed when, and devices.

The operators are compared with torch in float64. The rest is promises: what a second backward says, that a chain of
100,000 additions is no problem, that a graph goes away without the garbage collector, that a debugger reaches a
convolution's backward in two frames, and that `import scratchfcn` does not drag in half of PyPI.
"""

import ast
import gc
import os
import subprocess
import sys
import traceback
import weakref
from collections.abc import Callable, Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import scratchfcn as sf
from scratchfcn import backend, ops
from scratchfcn.backend import array_module, to_device, to_numpy

PACKAGE = Path(sf.__file__).parent
torch.set_num_threads(1)

OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
}


def numbers(shape: tuple[int, ...], seed: int, dtype: Any = np.float64) -> np.ndarray:
    """Random numbers, none of them near 0 (they are divided by)."""
    x = np.random.default_rng(seed).standard_normal(shape)
    return np.asarray(np.sign(x) * (0.3 + np.abs(x)), dtype)


def leaf(array: Any, device: str = "cpu") -> sf.Tensor:
    return sf.Tensor(np.asarray(array), requires_grad=True, device=device)


def close(ours: Any, reference: torch.Tensor, tolerance: float = 1e-12) -> None:
    reference = reference.detach().numpy()
    ours = to_numpy(ours)
    assert ours.shape == reference.shape
    assert ours.dtype == reference.dtype
    np.testing.assert_allclose(ours, reference, rtol=tolerance, atol=tolerance)


def compare(fn: Callable[..., Any], arrays: list[np.ndarray], device: str, tolerance: float = 1e-12) -> None:
    """`fn` of our Tensors and of torch's: the value, and the gradients for a random upstream gradient."""
    xs = [leaf(a, device) for a in arrays]
    references = [torch.tensor(a, requires_grad=True) for a in arrays]
    y, expected = fn(*xs), fn(*references)
    close(y.data, expected, tolerance)
    gy = np.random.default_rng(9).standard_normal(y.shape)
    y.backward(gy)
    expected.backward(torch.tensor(gy))
    for x, reference in zip(xs, references, strict=True):
        if reference.grad is None:
            assert x.grad is None
        else:
            close(x.grad, reference.grad, tolerance)


# ---- operators ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OPERATORS)
@given(shapes=hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=4, max_side=4), seed=st.integers(0, 999))
def test_broadcasting_operators_equal_torchs(name: str, device: str, shapes: Any, seed: int) -> None:
    compare(OPERATORS[name], [numbers(s, seed + i) for i, s in enumerate(shapes.input_shapes)], device)


LEFT = [2, -1.5, np.float64(3.0), np.float32(0.5)]


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("number", LEFT, ids=lambda n: f"{type(n).__name__}({n})")
def test_numbers_on_either_side(name: str, number: Any, device: str) -> None:
    x = numbers((2, 3), 0)
    compare(lambda x: OPERATORS[name](number, x), [x], device)
    compare(lambda x: OPERATORS[name](x, number), [x], device)


@pytest.mark.parametrize("name", OPERATORS)
def test_plain_numbers_take_the_tensors_dtype(name: str, device: str) -> None:
    x = leaf(numbers((3,), 0, np.float32), device)
    for number in (2, 2.5, True):
        for y in (OPERATORS[name](number, x), OPERATORS[name](x, number)):
            assert y.dtype == np.float32


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("dtype", [np.uint8, np.int64])
def test_a_fraction_is_not_rounded_off_to_fit_an_integer_tensor(name: str, dtype: Any, device: str) -> None:
    array = np.array([10, 200], dtype)
    for fn in (lambda x: OPERATORS[name](x, 0.5), lambda x: OPERATORS[name](0.5, x)):
        y = fn(sf.Tensor(array, device=device))
        expected = fn(torch.tensor(array))
        assert y.dtype.kind == "f"
        np.testing.assert_allclose(y.numpy(), expected.numpy(), rtol=1e-6)


@pytest.mark.parametrize("name", OPERATORS)
def test_arrays_on_either_side(name: str, device: str) -> None:
    """array + Tensor must be one Tensor, not an array of Tensors."""
    a, b = numbers((4, 3), 0), numbers((3,), 1)
    reference = torch.tensor(b, requires_grad=True)
    expected = OPERATORS[name](torch.tensor(a), reference)
    expected.sum().backward()
    x = leaf(b, device)
    y = OPERATORS[name](to_device(a, device), x)
    assert isinstance(y, sf.Tensor)
    y.sum().backward()
    close(y.data, expected)
    close(x.grad, reference.grad)
    assert isinstance(OPERATORS[name](x, to_device(a, device)), sf.Tensor)


def test_negation(device: str) -> None:
    compare(lambda x: -x, [numbers((2, 3), 0)], device)


@pytest.mark.parametrize("name", ["sum", "mean"])
@given(data=st.data())
def test_sum_and_mean_over_any_axes_equal_torchs(name: str, device: str, data: st.DataObject) -> None:
    shape = data.draw(hnp.array_shapes(min_dims=1, max_dims=4, max_side=4))
    axes = st.integers(-len(shape), len(shape) - 1)
    several = st.lists(axes, min_size=1, unique_by=lambda i: i % len(shape)).map(tuple)
    axis = data.draw(st.none() | axes | several)
    keep = data.draw(st.booleans())

    def reduce(x: Any) -> Any:
        if isinstance(x, torch.Tensor):
            return getattr(x, name)(dim=axis, keepdim=keep and axis is not None).reshape(shape_of_ours)
        return getattr(x, name)(axis, keep)

    shape_of_ours = np.zeros(shape).sum(axis, keepdims=keep).shape
    compare(reduce, [numbers(shape, 3)], device)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_dtype_goes_through(dtype: Any, device: str) -> None:
    a, b = (leaf(numbers((2, 3), i, dtype), device) for i in (0, 1))
    y = ((a + b) * a - 2.0 / b + 1).mean(axis=0, keepdims=True).sum()
    y.backward()
    assert y.dtype == a.grad.dtype == b.grad.dtype == dtype


def test_a_leaf_gets_its_own_dtype_back_where_dtypes_mix() -> None:
    a, b = leaf(numbers((2,), 0, np.float32)), leaf(numbers((2,), 1))
    for name in OPERATORS:
        y = OPERATORS[name](a, b)
        y.sum().backward()
        assert (y.dtype, a.grad.dtype, b.grad.dtype) == (np.float64, np.float32, np.float64)


# ---- graphs ------------------------------------------------------------------------------------------------

SHARING: dict[str, Callable[..., Any]] = {
    "x*x": lambda x: x * x,
    "x used three times": lambda x: x * x + x,
    "diamond": lambda x: (x * 2.0) * (x + 1.0),
    "diamond of diamonds": lambda x: (lambda h: h * h + h / 3.0)((x * 2.0) + x * x),
    "x - x": lambda x: x - x,
    "x / x": lambda x: x / x,
    "shared twice below": lambda x: (lambda h: (h + h) * (h - 1.0 / h))(x * 3.0),
}


@pytest.mark.parametrize("name", SHARING)
@pytest.mark.parametrize("shape", [(), (2, 3)])
def test_a_shared_input_collects_the_gradients_of_all_paths(name: str, shape: tuple[int, ...], device: str) -> None:
    compare(SHARING[name], [numbers(shape, 0)], device)


Step = tuple[str, int, int]


@st.composite
def programs(draw: st.DrawFn) -> tuple[list[tuple[int, ...]], list[Step], list[int]]:
    """Shapes of the leaves, steps that each combine two earlier values, and the values that are added up at the end."""
    leaves = draw(st.lists(st.sampled_from([(3, 4), (4,), (3, 1), (1, 4), ()]), min_size=1, max_size=4))
    steps: list[Step] = []
    for i in range(draw(st.integers(1, 12))):
        earlier = st.integers(0, len(leaves) + i - 1)
        name = draw(st.sampled_from([*OPERATORS, "sum", "mean", "relu"]))
        steps.append((name, draw(earlier), draw(earlier)))
    total = len(leaves) + len(steps)
    return leaves, steps, draw(st.lists(st.integers(0, total - 1), min_size=1, max_size=3))


def run(steps: list[Step], ends: list[int], values: list[Any]) -> Any:
    """Carry out a program on our Tensors or on torch's."""
    values = list(values)
    for name, i, j in steps:
        a, b = values[i], values[j]
        if name == "div":
            values.append(a / (b * b + 1.0))
        elif name in OPERATORS:
            values.append(OPERATORS[name](a, b) * 0.5)
        elif name == "relu":
            values.append(ops.relu(a) if isinstance(a, sf.Tensor) else torch.relu(a))
        else:
            values.append(getattr(a, name)())
    result = values[ends[0]].sum()
    for i in ends[1:]:
        result = result + values[i].sum()
    return result


@given(program=programs(), seed=st.integers(0, 999))
def test_random_graphs_equal_torchs(device: str, program: Any, seed: int) -> None:
    shapes, steps, ends = program
    arrays = [numbers(shape, seed + i) for i, shape in enumerate(shapes)]
    compare(lambda *leaves: run(steps, ends, list(leaves)), arrays, device, tolerance=1e-9)


@pytest.mark.parametrize("length", [10_000, 100_000])
def test_long_chains_need_no_recursion(length: int) -> None:
    x = leaf(np.zeros(()))
    y = x
    for _ in range(length):
        y = y + 1.0
    y.backward()
    assert y.item() == length
    assert x.grad == 1


@pytest.mark.parametrize("length", [10_000, 100_000])
def test_long_chains_are_destroyed_without_recursion(length: int) -> None:
    """In a process of its own: where this fails, it fails with a crash."""
    program = f"""if True:
        import numpy as np, scratchfcn as sf
        y = x = sf.Tensor(np.zeros(()), requires_grad=True)
        for _ in range({length}):
            y = y + x
        y.backward(retain_graph=True)
        first = y.grad_fn
        del y, first
        y = x
        for _ in range({length}):
            y = y + 1.0
        y = None
        print("fine")
    """
    assert python("-c", program).stdout == "fine\n"


def test_a_deep_and_wide_graph_is_walked_once_per_op() -> None:
    """Each of 60 levels uses the one below twice: 2^60 paths, 60 ops."""
    x = leaf(np.ones(()))
    y = x
    for _ in range(60):
        y = (y + y) * 0.5
    y.backward()
    assert x.grad == 1


# ---- what backward promises --------------------------------------------------------------------------------


def test_no_grad_records_nothing(device: str) -> None:
    x = leaf(np.ones(3), device)
    with sf.no_grad():
        y = x * 2.0
        with sf.no_grad():
            pass
        z = x + 1.0  # the inner block must not switch recording on again
    assert y.grad_fn is None
    assert not y.requires_grad
    assert not z.requires_grad
    assert (x * 2.0).requires_grad
    with pytest.raises(ZeroDivisionError), sf.no_grad():
        raise ZeroDivisionError
    assert (x * 2.0).requires_grad  # also after an exception
    with pytest.raises(RuntimeError, match=r"no_grad\(\)"):
        y.backward(np.ones(3))


def test_no_graph_where_no_input_wants_a_gradient() -> None:
    y = sf.Tensor(np.ones(3)) * 2.0
    assert y.grad_fn is None
    with pytest.raises(RuntimeError, match="without a graph"):
        y.sum().backward()


def test_detach_stops_the_gradient(device: str) -> None:
    x = leaf(np.full(3, 2.0), device)
    y = x * x.detach()
    assert x.detach().data is x.data
    y.sum().backward()
    np.testing.assert_array_equal(to_numpy(x.grad), [2.0, 2.0, 2.0])


def test_inputs_without_requires_grad_get_none(device: str) -> None:
    x, w = leaf(np.ones((2, 3)), device), sf.Tensor(np.ones((2, 3)), device=device)
    (x * w).sum().backward()
    assert w.grad is None
    assert x.grad is not None


def test_a_second_backward_names_the_op_and_the_remedy(device: str) -> None:
    x = leaf(numbers((1, 2, 4, 4), 0), device)
    h = ops.max_pool2d(x, 2)
    loss = h.sum()
    loss.backward()
    with pytest.raises(RuntimeError, match=r"reached sum a second time.*retain_graph=True"):
        loss.backward()
    with pytest.raises(RuntimeError, match=r"reached max_pool2d a second time.*retain_graph=True"):
        (h * 2.0).sum().backward()


def test_a_refused_second_backward_leaves_the_gradients_alone() -> None:
    x = leaf(numbers((3,), 0))
    h = x * x
    h.sum().backward()
    before = x.grad.copy()
    with pytest.raises(RuntimeError):
        (h + x).sum().backward()
    np.testing.assert_array_equal(x.grad, before)


def test_retain_graph_allows_a_second_backward_which_adds(device: str) -> None:
    x, w = leaf(numbers((2, 2, 5, 5), 0), device), leaf(numbers((3, 2, 3, 3), 1), device)
    loss = ops.relu(ops.conv2d(x, w)).sum()
    loss.backward(retain_graph=True)
    once = to_numpy(x.grad).copy(), to_numpy(w.grad).copy()
    loss.backward()
    np.testing.assert_allclose(to_numpy(x.grad), 2 * once[0], rtol=1e-12)
    np.testing.assert_allclose(to_numpy(w.grad), 2 * once[1], rtol=1e-12)


@pytest.mark.parametrize("shape", [(), (3,)])
def test_gradients_of_two_losses_add_up(shape: tuple[int, ...], device: str) -> None:
    x = leaf(np.full(shape, 3.0), device)
    (x * x).sum().backward()
    first = x.grad
    (x * 5.0).sum().backward()
    np.testing.assert_array_equal(to_numpy(x.grad), np.full(shape, 11.0))
    np.testing.assert_array_equal(to_numpy(first), np.full(shape, 6.0))  # the earlier array is not written into


def test_backward_of_a_leaf(device: str) -> None:
    x = leaf(np.array([1.0, 2.0]), device)
    gy = np.array([3.0, 4.0])
    x.backward(gy)
    x.backward(gy)
    np.testing.assert_array_equal(to_numpy(x.grad), [6.0, 8.0])
    np.testing.assert_array_equal(gy, [3.0, 4.0])


def test_backward_of_many_numbers_wants_a_gradient() -> None:
    y = leaf(np.ones((2, 3))) * 2.0
    with pytest.raises(ValueError, match=r"shape \(2, 3\) needs the gradient.*\.sum\(\)"):
        y.backward()
    with pytest.raises(ValueError, match=r"gradient has shape \(3,\) but the Tensor has \(2, 3\)"):
        y.backward(np.ones(3))


def test_backward_of_one_number_of_any_rank(device: str) -> None:
    x = leaf(np.ones((1, 1)), device)
    (x * 2.0).backward()
    np.testing.assert_array_equal(to_numpy(x.grad), [[2.0]])


def test_the_upstream_gradient_may_be_a_tensor_a_list_or_of_another_dtype(device: str) -> None:
    for gy in ([1.0, 2.0], sf.Tensor(np.array([1.0, 2.0])), np.array([1, 2])):
        x = leaf(np.ones(2, np.float32), device)
        (x * 2.0).backward(gy)
        assert x.grad.dtype == np.float32
        np.testing.assert_array_equal(to_numpy(x.grad), [2.0, 4.0])


PASSING_ON: dict[str, Callable[[sf.Tensor, sf.Tensor], sf.Tensor]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "concat": lambda a, b: ops.concat([a, b]),
    "sum": lambda a, b: a.sum() + b.sum(),
    "mean": lambda a, b: a.mean() + b.mean(),
    "flatten": lambda a, b: ops.flatten(a) + ops.flatten(b),
    "crop": lambda a, b: ops.crop(a, (2, 2)) + ops.crop(b, (2, 2)),
    "pad": lambda a, b: ops.pad(a, 1) + ops.pad(b, 1),
    "global_avg_pool2d": lambda a, b: ops.global_avg_pool2d(a) + ops.global_avg_pool2d(b),
    "avg_pool2d": lambda a, b: ops.avg_pool2d(a, 1) + ops.avg_pool2d(b, 1),
    "broadcast": lambda a, b: a + ops.global_avg_pool2d(b),
}


@pytest.mark.parametrize("name", PASSING_ON)
def test_each_leaf_owns_its_gradient(name: str, device: str) -> None:
    """Optimisers and clipping write into `.grad`: it must be writable, and no other's."""
    a, b = (leaf(numbers((2, 2, 3, 3), i), device) for i in (0, 1))
    y = PASSING_ON[name](a, b)
    gy = to_device(numbers(y.shape, 2), device)
    upstream = to_numpy(gy).copy()
    y.backward(gy)
    before = to_numpy(b.grad).copy()
    a.grad[0, 0, 0, 0] = 99.0  # one entry only: a repeated number would change in several places
    a.grad[0, 0, 0, 1] = -1.0
    assert a.grad[0, 0, 0, 0] == 99.0
    np.testing.assert_array_equal(to_numpy(b.grad), before)
    np.testing.assert_array_equal(to_numpy(gy), upstream)


def test_a_gradient_returned_twice_is_copied() -> None:
    class Average(sf.Function):
        def forward(self, a: Any, b: Any) -> Any:
            return (a + b) / 2

        def backward(self, gy: Any) -> Any:
            half = gy / 2
            return half, half

    a, b = leaf(np.ones(3)), leaf(np.ones(3))
    Average()(a, b).backward(np.ones(3))
    a.grad[:] = 0.0
    np.testing.assert_array_equal(b.grad, [0.5, 0.5, 0.5])


@pytest.mark.parametrize("times", [1, 2, 3])
def test_the_gradient_of_a_single_number_is_an_array(times: int, device: str) -> None:
    """NumPy turns sums of 0-d arrays into scalars, which cannot be written into."""
    x = leaf(np.asarray(2.0), device)
    y = x
    for _ in range(times - 1):
        y = y * x
    y.backward()
    assert isinstance(x.grad, np.ndarray) or array_module(x.grad) is not np
    assert x.grad.shape == ()
    x.grad[...] = 0.0
    assert x.grad == 0


# ---- the engine checks what an op's backward returns -------------------------------------------------------


def returning(gxs: Callable[[Any], Any]) -> Callable[..., sf.Tensor]:
    """An op of two inputs, called halve_both, whose backward returns `gxs(gy)`."""

    class HalveBoth(sf.Function):
        def forward(self, a: Any, b: Any) -> Any:
            return (a + b) / 2

        def backward(self, gy: Any) -> Any:
            return gxs(gy)

    return lambda a, b: HalveBoth()(a, b)


@pytest.mark.parametrize(
    ("gxs", "message"),
    [
        (lambda gy: (gy, gy[:1]), r"halve_both: gradient 1 has shape \(1, 3\) but its input has shape \(2, 3\)"),
        (lambda gy: (gy.T, gy), r"halve_both: gradient 0 has shape \(3, 2\) but its input has shape \(2, 3\)"),
        (lambda gy: (gy, gy.astype("float32")), "halve_both: gradient 1 is float32 but its input is float64"),
        (lambda gy: gy, "halve_both: backward returned 1 gradients for 2 inputs"),
        (lambda gy: (gy, gy, gy), "halve_both: backward returned 3 gradients for 2 inputs"),
        (lambda gy: [gy, gy], "halve_both"),
        (lambda gy: (gy, 0.5), "halve_both"),
    ],
)
def test_wrong_gradients_are_refused_and_the_op_is_named(gxs: Callable, message: str, device: str) -> None:
    a, b = leaf(np.ones((2, 3)), device), leaf(np.ones((2, 3)), device)
    with pytest.raises(ValueError, match=message):
        returning(gxs)(a, b).sum().backward()


def test_none_is_a_gradient_that_is_not_there(device: str) -> None:
    a, b = leaf(np.ones((2, 3)), device), leaf(np.ones((2, 3)), device)
    returning(lambda gy: (None, gy))(a, b).sum().backward()
    assert a.grad is None
    assert b.grad is not None


def test_none_ends_the_walk_along_that_path(device: str) -> None:
    a, b = leaf(np.ones((2, 3)), device), leaf(np.ones((2, 3)), device)
    returning(lambda gy: (None, gy))(a * 2.0, b).sum().backward()
    assert a.grad is None
    assert b.grad is not None


def test_an_op_without_backward_says_so() -> None:
    class Sign(sf.Function):
        def forward(self, x: Any) -> Any:
            return array_module(x).sign(x)

    with pytest.raises(TypeError, match="sign has no backward"):
        Sign()(leaf(np.ones(2))).sum().backward()
    with pytest.raises(TypeError, match="Function defines no forward"):
        sf.Function()(leaf(np.ones(2)))


def test_an_op_serves_for_one_call_only() -> None:
    """Used twice, it would have forgotten what its first backward needs; silence would be a wrong gradient."""
    relu = ops.Relu()
    h = relu(leaf(np.ones(3)))
    with pytest.raises(RuntimeError, match="relu"):
        relu(h)


def test_an_op_works_without_tensors() -> None:
    x, w, b, gy = numbers((2, 2, 4, 4), 0), numbers((3, 2, 3, 3), 1), numbers((3,), 2), numbers((2, 3, 2, 2), 3)
    f = ops.Conv2d()
    y = f.forward(x, w, b)
    gx, gw, gb = f.backward(gy)
    assert (y.shape, gx.shape, gw.shape, gb.shape) == ((2, 3, 2, 2), x.shape, w.shape, (3,))
    np.testing.assert_allclose(gb, gy.sum(axis=(0, 2, 3)))


# op, and the weight's shape that goes with x (2, 2, 5, 5) and 3 outputs; by both ways through conv and its transpose
WITH_PARAMETERS: dict[str, tuple[Callable[[], sf.Function], tuple[int, ...]]] = {
    "conv2d, gathering": (lambda: ops.Conv2d(), (3, 2, 3, 3)),
    "conv2d, strided": (lambda: ops.Conv2d(stride=2), (3, 2, 3, 3)),
    "conv1x1": (lambda: ops.Conv1x1(), (3, 2, 1, 1)),
    "conv_transpose2d": (lambda: ops.ConvTranspose2d(), (2, 3, 3, 3)),
    "conv_transpose2d, subpixel": (lambda: ops.ConvTranspose2d(stride=2), (2, 3, 4, 4)),
    "linear": (lambda: ops.Linear(), (3, 5)),
}


@pytest.mark.parametrize("name", WITH_PARAMETERS)
def test_without_a_bias_there_is_no_bias_gradient(name: str) -> None:
    make, shape = WITH_PARAMETERS[name]
    f = make()
    y = f.forward(numbers((2, 2, 5, 5), 0), numbers(shape, 1))
    assert [g is None for g in f.backward(np.ones_like(y))] == [False, False, True]


@pytest.mark.parametrize("name", WITH_PARAMETERS)
@pytest.mark.parametrize("constant", [0, 1, 2])
def test_what_wants_no_gradient_gets_none(name: str, constant: int) -> None:
    """Neither from `backward` nor in `.grad`."""
    make, shape = WITH_PARAMETERS[name]
    inputs = [sf.Tensor(numbers(s, i), requires_grad=i != constant) for i, s in enumerate([(2, 2, 5, 5), shape, (3,)])]
    f = make()
    y = f(*inputs)
    if constant != 1 or name == "conv_transpose2d, subpixel":  # elsewhere a frozen weight's is computed and dropped
        assert f.backward(np.ones(y.shape))[constant] is None
    y.backward(np.ones(y.shape))
    assert [t.grad is None for t in inputs] == [i == constant for i in range(3)]


# ---- memory ------------------------------------------------------------------------------------------------


@pytest.fixture
def without_gc() -> Iterator[None]:
    """Within the test only reference counts free memory, as on a GPU it had better be."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("without_gc")
def test_a_graph_goes_with_its_last_tensor() -> None:
    x, w = leaf(numbers((1, 2, 6, 6), 0)), leaf(numbers((2, 2, 3, 3), 1))
    h = ops.conv2d(x, w, stride=2)
    y = ops.relu(h).sum()
    convolution, columns, activation = weakref.ref(h.grad_fn), weakref.ref(h.grad_fn.cols), weakref.ref(h.data)
    del h
    assert activation() is None  # no op saved it: gone before backward
    assert columns() is not None
    del y
    assert convolution() is None
    assert columns() is None


@pytest.mark.usefixtures("without_gc")
def test_backward_frees_what_ops_saved_while_the_loss_lives_on() -> None:
    x, w = leaf(numbers((1, 2, 6, 6), 0)), leaf(numbers((2, 2, 3, 3), 1))
    h = ops.conv2d(x, w, stride=2)
    loss = (h * h).sum()
    saved = weakref.ref(h.grad_fn.cols)
    loss.backward(retain_graph=True)
    assert saved() is not None
    loss.backward()
    assert saved() is None
    assert loss.item() > 0


@pytest.mark.usefixtures("without_gc")
def test_each_ops_arrays_are_freed_during_the_walk() -> None:
    """When the walk reaches the first op, what the later one saved has gone already."""
    alive = []

    class Spy(sf.Function):
        def forward(self, x: Any) -> Any:
            return x * 1.0

        def backward(self, gy: Any) -> Any:
            alive.append(later() is not None)
            return gy

    h = Spy()(leaf(numbers((1, 2, 6, 6), 0)))
    y = ops.conv2d(h, sf.Tensor(numbers((2, 2, 3, 3), 1)), stride=2)  # keeps its columns for backward
    later = weakref.ref(y.grad_fn.cols)
    y.sum().backward()
    assert alive == [False]


# ---- hops --------------------------------------------------------------------------------------------------


def package_frames_below(caller: str) -> list[str]:
    """Names of this package's functions on the stack, between `caller` and whoever asks."""
    stack = traceback.extract_stack()
    start = max(i for i, frame in enumerate(stack) if frame.name == caller)
    return [f.name for f in stack[start + 1 :] if Path(f.filename).is_relative_to(PACKAGE)]


def test_backward_reaches_a_convolution_in_two_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    frames: list[str] = []

    def inner(gy: Any) -> Any:  # called by the first line of Conv2d.backward that computes
        frames[:] = package_frames_below("test_backward_reaches_a_convolution_in_two_frames")
        return channel_rows(gy)

    channel_rows = sys.modules["scratchfcn.ops.conv"].channel_rows
    x, w = leaf(numbers((1, 2, 4, 4), 0)), leaf(numbers((3, 2, 3, 3), 1))
    loss = ops.relu(ops.conv2d(x, w)).sum()
    monkeypatch.setattr("scratchfcn.ops.conv.channel_rows", inner)
    loss.backward()
    assert frames == ["backward", "backward"]


def test_forward_reaches_a_convolution_in_three_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    frames: list[str] = []

    def inner(*arguments: Any) -> Any:
        frames.extend(package_frames_below("test_forward_reaches_a_convolution_in_three_frames"))
        return im2col(*arguments)

    im2col = sys.modules["scratchfcn.ops.conv"].im2col
    monkeypatch.setattr("scratchfcn.ops.conv.im2col", inner)
    ops.conv2d(leaf(numbers((1, 2, 4, 4), 0)), leaf(numbers((3, 2, 3, 3), 1)))
    assert frames == ["conv2d", "__call__", "forward"]


# ---- NaN and infinity --------------------------------------------------------------------------------------


def test_find_non_finite_names_the_op(device: str) -> None:
    x = leaf(np.array([1.0, 0.0]), device)
    with np.errstate(divide="ignore"):
        assert np.isinf((1.0 / x).numpy()[1])  # unasked, nothing is looked at
        with sf.find_non_finite(), pytest.raises(sf.NonFiniteError, match=r"^div: .*output \(2,\)") as caught:
            (x + 1.0) * (1.0 / x)
        assert isinstance(caught.value.function, ops.Div)
        assert np.isinf((1.0 / x).numpy()[1])


# ---- Tensors -----------------------------------------------------------------------------------------------


def test_what_a_tensor_is_made_of(device: str) -> None:
    assert sf.Tensor([1, 2.5], device=device).dtype == np.float32
    assert sf.Tensor(3.0, device=device).dtype == np.float32
    assert sf.Tensor([1, 2], device=device).dtype == np.int64
    assert sf.Tensor(np.float64(2.0), device=device).dtype == np.float64
    array = to_device(np.zeros((2, 3)), device)
    assert sf.Tensor(array).data is array
    assert sf.Tensor(sf.Tensor(array)).data is array
    with pytest.raises(TypeError, match="unequal lengths"):
        sf.Tensor(["a", None])
    with pytest.raises(TypeError, match="only floating point data can require a gradient, this is int64"):
        sf.Tensor(np.arange(3), requires_grad=True)


def test_the_parts_of_a_tensor(device: str) -> None:
    x = sf.Tensor(np.arange(6.0).reshape(2, 3), requires_grad=True, device=device)
    assert (x.shape, x.ndim, x.size, len(x), x.dtype) == ((2, 3), 2, 6, 2, np.float64)
    assert x.device == ("cpu" if device == "cpu" else "cuda:0")
    assert x.sum().item() == 15.0
    assert isinstance(x.numpy(), np.ndarray)
    assert "requires_grad=True" in repr(x)
    assert "grad_fn=<Mul>" in repr(x * 2.0)
    assert x.to(x.device) is x
    assert sf.Parameter(x.data).requires_grad


def test_gradients_flow_back_through_a_change_of_device(device: str) -> None:
    x = leaf(np.ones(3))
    (x.to(device) * 3.0).to("cpu").sum().backward()
    np.testing.assert_array_equal(x.grad, [3.0, 3.0, 3.0])


# ---- devices -----------------------------------------------------------------------------------------------


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine where CuPy is installed and finds no GPU."""
    monkeypatch.setattr(backend, "cuda_problem", lambda: "CuPy is installed but finds no NVIDIA GPU")
    monkeypatch.setattr(backend, "_default_device", None)
    monkeypatch.delenv("SCRATCHFCN_DEVICE", raising=False)


@pytest.mark.usefixtures("no_gpu")
@pytest.mark.parametrize("name", ["cuda", "cuda:1"])
@pytest.mark.parametrize(
    "use",
    [
        sf.set_device,
        lambda name: sf.Tensor(np.ones(2), device=name),
        lambda name: sf.Tensor(np.ones(2)).to(name),
    ],
)
def test_cuda_without_a_gpu_is_an_error_that_says_why(use: Callable[[str], Any], name: str) -> None:
    with pytest.raises(sf.DeviceError) as caught:
        use(name)
    assert f"device '{name}' cannot be used: CuPy is installed but finds no NVIDIA GPU" in str(caught.value)
    assert "scratchfcn doctor" in str(caught.value)


def test_a_missing_cupy_is_the_reason_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)  # what `import cupy` finds where it is not installed
    with pytest.raises(sf.DeviceError, match=r"CuPy cannot be imported(?s:.*)pip install"):
        sf.set_device("cuda")


@pytest.mark.usefixtures("no_gpu")
def test_auto_is_the_cpu_where_there_is_no_gpu() -> None:
    assert sf.set_device("auto") == "cpu"
    assert sf.get_device() == "cpu"


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:x", "cuda:-1", "cpu:0", "auto:1", "", "CUDA"])
def test_unknown_devices_are_named_with_the_known_ones(name: str) -> None:
    with pytest.raises(ValueError, match=r"is not known; use one of auto, cpu, cuda, cuda:N") as caught:
        sf.set_device(name)
    assert repr(name) in str(caught.value)


@pytest.mark.usefixtures("no_gpu")
def test_the_environment_sets_the_default_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCRATCHFCN_DEVICE", "cuda")
    with pytest.raises(sf.DeviceError, match="finds no NVIDIA GPU"):
        sf.Tensor(np.ones(2))
    monkeypatch.setenv("SCRATCHFCN_DEVICE", "tpu")
    with pytest.raises(ValueError, match="'tpu' is not known"):
        sf.get_device()
    monkeypatch.setenv("SCRATCHFCN_DEVICE", "auto")
    assert sf.get_device() == "cpu"


def test_set_device_is_where_new_tensors_go(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "_default_device", None)
    resolved = sf.set_device(device)
    assert sf.Tensor(np.ones(2)).device == sf.Parameter(np.ones(2)).device == resolved
    assert (sf.Tensor(np.ones(2)) + 1.0).device == resolved


def test_a_bad_environment_does_not_break_the_import() -> None:
    assert python("-c", "import scratchfcn; print('fine')", SCRATCHFCN_DEVICE="tpu").stdout == "fine\n"


# ---- the package -------------------------------------------------------------------------------------------


def python(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A fresh interpreter with the package on its path; fails where the program does."""
    path = os.pathsep.join([str(PACKAGE.parent), os.environ.get("PYTHONPATH", "")])
    env = os.environ | {"PYTHONPATH": path} | environment
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, env=env, check=False)
    assert done.returncode == 0, done.stderr
    return done


def test_the_import_is_light() -> None:
    heavy = ("matplotlib", "torch", "cupy", "PIL")
    program = f"import sys, scratchfcn; print([m for m in {heavy} if m in sys.modules])"
    assert python("-c", program).stdout == "[]\n"


def modules() -> dict[str, Path]:
    """`scratchfcn.ops.conv` → its file, for every module of the package."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def top_level_imports(node: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """The imports that run when the module is imported: not those within functions or for type checkers only."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        elif not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from top_level_imports(child)


def imported(name: str, path: Path, known: dict[str, Path]) -> set[str]:
    """The modules of this package that module `name` imports on being imported."""
    found = set()
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    for node in top_level_imports(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
            continue
        base = ".".join([*package[: len(package) - node.level + 1], *(node.module or "").split(".")]).rstrip(".")
        base = base if node.level else node.module or ""
        for alias in node.names:  # `from .. import ops` means the module ops, `from ..ops import relu` a name in it
            found.add(f"{base}.{alias.name}" if f"{base}.{alias.name}" in known else base)
    return found & known.keys()


def test_imports_point_downwards_without_cycles() -> None:
    known = modules()
    graph = {name: imported(name, path, known) for name, path in known.items()}
    assert graph["scratchfcn.ops.conv"] >= {"scratchfcn.tensor", "scratchfcn.ops.im2col", "scratchfcn.ops.layout"}
    assert not graph["scratchfcn.backend"]
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail("import cycle: " + " ← ".join(error.args[1]))


def test_only_the_backend_imports_cupy() -> None:
    importers = set()
    for name, path in modules().items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and node.level == 0 else []
            if any(n.split(".")[0] == "cupy" for n in names):
                importers.add(name)
    assert importers == {"scratchfcn.backend"}


# ---- a Tensor where Python or NumPy expect a number or an array --------------------------------------------


def test_a_tensor_of_one_number_is_a_number() -> None:
    loss = leaf(np.array([1.0, 2.0])).sum()
    assert f"{loss:.3f}" == "3.000"
    assert float(loss) == 3.0
    assert bool(loss)
    assert not bool(loss - 3.0)
    assert "grad_fn" in f"{loss}"
    for wrong in (float, bool):
        with pytest.raises(ValueError, match=r"\(2,\) is not one number"):
            wrong(leaf(np.ones(2)))


def test_numpy_reads_a_tensor_and_comparisons_are_not_quietly_false() -> None:
    x = sf.Tensor(np.array([1.0, 5.0, 2.0]))
    assert np.argmax(x) == 1
    np.testing.assert_array_equal(np.asarray(x), x.numpy())
    assert x == x
    assert x != sf.Tensor(np.array([1.0, 5.0, 2.0]))
    assert x is not None
    assert len({x, x}) == 1
    for other in (np.array([1.0, 5.0, 2.0]), 3):
        with pytest.raises(TypeError, match="compare arrays"):
            _ = x == other


def test_every_op_carries_its_derivation() -> None:
    """What `scratchfcn learn read` prints: the formula, how it comes about, and where it belongs in the paper."""
    ops = {name: op for name, op in vars(sf.ops).items() if isinstance(op, type) and issubclass(op, sf.Function)}
    assert len(ops) >= 24
    for name, op in ops.items():
        text = op.__doc__ or ""
        assert "Derivation:" in text, name
        if op.__module__ != "scratchfcn.tensor":
            assert "aper" in text or "et al." in text, f"{name}: names no section of the paper, nor another source"
