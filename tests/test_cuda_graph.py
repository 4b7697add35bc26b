"""A recorded function computes what it computes otherwise, every time it is launched; with dropout, on the numbers of
every step; and what cannot be recorded is refused with the reason."""

from collections.abc import Iterator
from typing import Any

import fake_cublas
import numpy as np
import pytest
import strict_cupy

import scratchfcn as sf
from scratchfcn import backend
from scratchfcn.cuda import graph
from scratchfcn.cuda.graph import GraphError, Recorded
from scratchfcn.cuda.memory import gpu_memory, graph_pools
from scratchfcn.parallel import matmul


@pytest.fixture(scope="module")
def xp() -> Iterator[Any]:
    """CuPy, or its stand-in with a cuBLAS."""
    if backend.cuda_problem() is None and backend.cupy() is not strict_cupy.cupy:
        yield backend.cupy()
        return
    with strict_cupy.installed() as cupy, fake_cublas.installed(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(backend, "cuda_problem", lambda: None)
        yield cupy


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def recorded(work: Any) -> Recorded:
    """The work as a graph."""
    made = Recorded(work)
    made.run()
    made.record()
    return made


# ---- what comes out ----------------------------------------------------------------------------------------


def test_a_launch_works_on_what_is_there(xp: Any) -> None:
    x, total = xp.asarray(numbers(3, 4)), xp.zeros((3, 3))

    def work() -> Any:
        nonlocal total
        total += matmul(x, x.T)
        return (x * 2).sum(axis=0)

    made = Recorded(work)
    np.testing.assert_allclose(made.run().get(), 2 * numbers(3, 4).sum(axis=0))
    made.record()
    once = numbers(3, 4) @ numbers(3, 4).T
    np.testing.assert_allclose(total.get(), once)  # recording does nothing
    result = made.launch()
    np.testing.assert_allclose(total.get(), 2 * once)
    x[...] = xp.asarray(numbers(3, 4, seed=1))
    assert made.launch() is result  # the same place, with new numbers
    np.testing.assert_allclose(result.get(), 2 * numbers(3, 4, seed=1).sum(axis=0))
    np.testing.assert_allclose(total.get(), 2 * once + numbers(3, 4, seed=1) @ numbers(3, 4, seed=1).T)


@pytest.mark.parametrize(
    ("name", "options", "weighted"),
    [("fcn8s_small", {"batch_norm": True, "dropout": 0.5}, True), ("fcn32s_small", {"dropout": 0.5}, False)],
)
def test_a_network_forward_and_backward(xp: Any, name: str, options: dict[str, Any], weighted: bool) -> None:
    """All that these networks consist of, against the same without a graph."""
    sf.manual_seed(0)
    model = sf.models.build(name, num_classes=3, **options).to("cuda")
    weight = xp.asarray(np.float32([1, 2, 0.5])) if weighted else None
    images = xp.asarray(numbers(2, 3, 16, 24).astype("float32"))
    labels = xp.asarray((numbers(2, 16, 24, seed=1) > 0).astype("uint8"))
    parameters = list(model.parameters())

    def work() -> Any:
        model.zero_grad()
        loss = sf.ops.softmax_cross_entropy(model(sf.Tensor(images)), labels, weight, checked=True)
        loss.backward()
        return [loss.data, *(p.grad for p in parameters)]

    running = {name: x.copy() for name, x in model.state_dict().items() if "running" in name}

    def two_steps(step: Any) -> list[list[np.ndarray]]:
        for name, x in model.state_dict().items():
            if name in running:
                x[...] = running[name]
        sf.manual_seed(5)
        return [[x.get() for x in step()] for _ in range(2)]

    expected = two_steps(work)
    statistics = {name: x.get() for name, x in model.state_dict().items() if name in running}
    made = recorded(work)
    for ours, theirs in zip(two_steps(made.launch), expected, strict=True):
        for x, y in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(x, y)
    for name, x in model.state_dict().items():
        if name in running:
            np.testing.assert_array_equal(x.get(), statistics[name])
    assert bool(statistics) == ("batch_norm" in options)


def test_dropout_is_drawn_before_each_launch_in_order(xp: Any) -> None:
    x = xp.ones((40, 50))

    def work() -> Any:
        first = sf.ops.dropout(sf.Tensor(x), 0.5)
        return first.data, sf.ops.dropout(first, 0.2).data, graph.drawn(draw, x, (4,), "int64")

    def draw() -> np.ndarray:
        return backend.generator().integers(100, size=4)

    sf.manual_seed(3)
    expected = [[y.get() for y in work()] for _ in range(3)]
    made = recorded(work)
    sf.manual_seed(3)
    made.record()  # draws nothing
    for masks in expected:
        for ours, theirs in zip(made.launch(), masks, strict=True):
            np.testing.assert_array_equal(ours.get(), theirs)
    assert not np.array_equal(expected[0][0], expected[1][0])


def test_a_place_for_what_is_drawn_is_not_the_graphs_to_use_again(xp: Any) -> None:
    """It is filled before the launch; a block of the graph's pool might be overwritten before it is read."""
    own: list[int] = []

    def work() -> Any:
        own.append(made.pool.pool.used_bytes())
        mask = graph.drawn(lambda: np.ones(1000, bool), x, (1000,), bool)
        own.append(made.pool.pool.used_bytes())
        return x * mask

    x = xp.ones(1000)
    made = Recorded(work)
    made.run()
    made.record()
    assert own[-1] == own[-2]
    assert made.launch().get().sum() == 1000


def test_a_sum_is_laid_out_like_its_first_part(xp: Any) -> None:
    a = xp.asarray(numbers(3, 2, 4, 5)).transpose(1, 0, 2, 3)  # stored channel by channel
    b = xp.asarray(numbers(2, 3, 4, 5))
    total = (sf.Tensor(a) + sf.Tensor(b)).data
    assert total.strides == a.strides
    np.testing.assert_array_equal(total.get(), a.get() + b.get())


def test_the_memory_of_graphs_is_ours(xp: Any) -> None:
    before = gpu_memory("cuda:0")
    made = recorded(lambda: xp.ones(1 << 20))
    after = gpu_memory("cuda:0")
    assert after.used - before.used >= 8 << 20
    assert made.result.nbytes == 8 << 20


def test_drawn_without_a_graph(device: str) -> None:
    x = sf.Tensor(np.ones(3), device=device).data
    for _ in range(2):
        got = graph.drawn(lambda: np.arange(4.0), x, (4,), "float64")
        assert type(got) is type(x)
        np.testing.assert_array_equal(backend.to_numpy(got), np.arange(4.0))


# ---- streams and memory ------------------------------------------------------------------------------------


def test_streams(xp: Any) -> None:
    """The work runs in a stream of its own; whoever called it is in their own afterwards, also after an error."""
    seen = []
    made = Recorded(lambda: seen.append(xp.cuda.get_current_stream().ptr))
    made.run()
    stream = xp.cuda.Stream(non_blocking=True)
    with stream:
        made.run()
        made.record()
        made.launch()
        assert xp.cuda.get_current_stream().ptr == stream.ptr
    assert len(set(seen)) == 1
    assert seen[0] not in (0, stream.ptr)
    with pytest.raises(ZeroDivisionError):
        Recorded(lambda: 1 / 0).run()
    assert xp.cuda.get_current_stream().ptr == 0


def test_streams_wait_for_each_other(xp: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before and after, also after an error: the stand-in does work at once, so it is looked at how they are told."""
    waits: list[tuple[int, int]] = []
    original = graph.await_work_of
    monkeypatch.setattr(graph, "await_work_of", lambda a, b: waits.append((a.ptr, b.ptr)) or original(a, b))
    stream, ours = xp.cuda.Stream(non_blocking=True), graph.home(xp.cuda.runtime.getDevice()).ptr
    made = Recorded(lambda: None)
    with stream:
        for use in (made.run, made.record, made.launch):
            use()
            assert waits == [(stream.ptr, ours), (ours, stream.ptr)]
            waits.clear()
        made.work = lambda: 1 / 0
        with pytest.raises(ZeroDivisionError):
            made.run()
    assert waits == [(stream.ptr, ours), (ours, stream.ptr)]


def test_copies_in_front_of_it_and_behind_it(xp: Any) -> None:
    """A copy that has joined the current stream's queue comes first, and what joins afterwards comes last."""
    from scratchfcn.cuda.transfer import Readings, upload

    stream, x, readings = xp.cuda.Stream(non_blocking=True), xp.zeros(4), Readings()
    made = recorded(lambda: x * 10)
    with stream:
        for i in range(3):
            upload(np.full(4, float(i)), x)
            readings.add(made.launch())
    assert [values[0][0] for _, values in readings.all()] == [0, 10, 20]


def test_nobody_else_gets_its_memory(xp: Any) -> None:
    """Between launches others allocate and free, and the result is still right."""
    x = xp.asarray(numbers(50))
    made = recorded(lambda: ((x * 2 + 1) * 3 - x) * 2)
    for _ in range(3):
        others = [xp.full(50, 7.0) for _ in range(10)]
        np.testing.assert_allclose(made.launch().get(), ((numbers(50) * 2 + 1) * 3 - numbers(50)) * 2)
        assert all((y == 7).all() for y in others)
        del others


def test_the_memory_of_graphs_that_are_gone(xp: Any) -> None:
    """It is given back when the next one is made, but for arrays that somebody still has."""
    x = xp.ones(1000)
    made = recorded(lambda: [x * 2, x + 1])
    kept = made.launch()[1]
    old = made.pool
    del made
    other = recorded(lambda: x * 3)
    assert old in graph_pools
    assert 0 < old.pool.total_bytes() == old.pool.used_bytes()
    np.testing.assert_array_equal(kept.get(), 2)
    del kept
    recorded(lambda: x * 3)
    assert old not in graph_pools
    assert other.pool in graph_pools


def test_memory_that_runs_short_meanwhile(xp: Any) -> None:
    """The pool would give back blocks that are part of the recording already."""
    size = [1000]
    made = Recorded(lambda: xp.ones(size[0]).sum())
    made.run()

    def work() -> Any:
        y = xp.ones(1000).sum()
        made.pool.pool.free_all_blocks()  # as CuPy does it when CUDA has no more
        return y

    made.work = work
    with pytest.raises(GraphError, match="memory ran short"):
        made.record()
    with pytest.raises(GraphError, match=r"call record\(\) first"):
        made.launch()


# ---- what cannot be recorded -------------------------------------------------------------------------------


@pytest.mark.parametrize("read", [lambda x: x.sum().item(), lambda x: bool((x > 0).all()), lambda x: x.get()])
def test_what_looks_at_a_number_cannot_be_recorded(xp: Any, read: Any) -> None:
    x = xp.ones(3)
    made = Recorded(lambda: read(x))
    made.run()
    with pytest.raises(GraphError, match=r"cannot be recorded in a CUDA graph: \w+Error: .+"):
        made.record()
    with pytest.raises(GraphError, match=r"call record\(\) first"):
        made.launch()
    y = recorded(lambda: x + 1).launch()  # the stream has recovered
    np.testing.assert_array_equal(y.get(), 2)


def test_what_copies_from_the_host_cannot_be_recorded(xp: Any) -> None:
    made = Recorded(lambda: xp.asarray(np.ones(3)))
    made.run()
    with pytest.raises(GraphError, match="H2D transfers"):
        made.record()


def test_an_error_of_the_work_itself_is_told(xp: Any) -> None:
    x, w = sf.Tensor(xp.ones((1, 3, 4, 4))), sf.Tensor(xp.ones((1, 2, 3, 3)))
    made = Recorded(lambda: sf.ops.conv2d(x, w))
    with pytest.raises(GraphError, match=r"ValueError: conv2d: .*") as caught:
        made.record()
    assert isinstance(caught.value.__cause__, ValueError)


def test_interrupting_it_leaves_the_stream_usable(xp: Any) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Recorded(stop).record()
    x = xp.ones(3)
    np.testing.assert_array_equal(recorded(lambda: x + 1).launch().get(), 2)


def test_a_number_beside_a_tensor_is_no_copy(xp: Any) -> None:
    """0.4 · loss, loss / 2: the numbers are made on the GPU."""
    x = sf.Tensor(xp.ones(3))
    y = recorded(lambda: (0.4 * x / 2 + 1).data).launch()
    np.testing.assert_allclose(y.get(), 1.2)
