"""The stand-in for CuPy refuses what CuPy refuses; and on it, every test of the device "cuda" passes."""

import copy
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import strict_cuda
import strict_cupy
from strict_cupy import cupy

import scratchfcn as sf
from scratchfcn import backend
from scratchfcn.models.googlenet import TransformInput

ROOT = Path(__file__).resolve().parent.parent


def gpu(*shape: int) -> Any:
    return cupy.arange(float(np.prod(shape))).reshape(shape)


# ---- to the host only when told ----------------------------------------------------------------------------


@pytest.mark.parametrize("convert", [np.asarray, np.array, np.float64, memoryview])
def test_nothing_becomes_numpys_by_itself(convert: Any) -> None:
    with pytest.raises(TypeError):
        convert(gpu(2, 3))
    with pytest.raises(TypeError, match=r"Implicit conversion to a NumPy array is not allowed\. Please use"):
        np.asarray(gpu(2, 3))


def test_a_numpy_array_does_not_take_it_in() -> None:
    with pytest.raises(TypeError):
        np.zeros((2, 3))[...] = gpu(2, 3)
    with pytest.raises(TypeError):
        np.arange(3)[cupy.arange(3)]
    with pytest.raises(TypeError):
        [1, 2, 3][cupy.arange(3)[0]]
    with pytest.raises(TypeError):
        range(cupy.arange(3)[2])


@pytest.mark.parametrize("wait", [float, int, bool, str, repr, "{}".format, lambda x: x.item(), lambda x: x.get()])
def test_reading_a_number_waits(wait: Any) -> None:
    x = gpu(2, 3).sum()
    before = strict_cupy.synchronised()
    assert wait(x) in (15, True, "15.0", "array(15.)")
    assert strict_cupy.synchronised() == before + 1


def test_computing_does_not_wait() -> None:
    before = strict_cupy.synchronised()
    x = gpu(4, 3)
    x[1:] += cupy.matmul(x, x.T)[1:, :3]
    cupy.exp(-x, out=x)
    x.sum(axis=0).max()
    assert strict_cupy.synchronised() == before


def test_copies_go_both_ways() -> None:
    host = np.arange(6.0).reshape(2, 3)
    x = cupy.asarray(host)
    host[0, 0] = 9.0
    assert x[0, 0].item() == 0.0
    y = cupy.asnumpy(x)
    y[0, 0] = 8.0
    assert x[0, 0].item() == 0.0
    assert cupy.asarray(x) is x
    assert cupy.get_array_module(x) is cupy
    assert cupy.get_array_module(y) is np
    assert type(pickle.loads(pickle.dumps(x))) is type(copy.deepcopy(x)) is strict_cupy.ndarray


# ---- what does not mix -------------------------------------------------------------------------------------

HOST = np.ones((2, 3))


@pytest.mark.parametrize(
    "mix",
    [
        lambda x: x + HOST,
        lambda x: HOST + x,
        lambda x: x == HOST,
        lambda x: x @ HOST.T,
        lambda x: x + np.asarray(1.0),
        lambda x: x.__iadd__(HOST),
        lambda x: cupy.maximum(x, HOST),
        lambda x: cupy.where(x > 0, x, HOST),
        lambda x: cupy.concatenate([x, HOST]),
        lambda x: cupy.sum(HOST),
        lambda x: cupy.exp(HOST),
        lambda x: cupy.zeros_like(HOST),
        lambda x: x.take(np.array([0])),
        lambda x: x * [1.0, 2.0, 3.0],
        lambda x: x + None,
    ],
)
def test_numpy_arrays_do_not_mix(mix: Any) -> None:
    with pytest.raises(TypeError, match="Unsupported type"):
        mix(gpu(2, 3))


def test_outputs_lie_on_the_gpu() -> None:
    x = gpu(2, 3)
    for write in (
        lambda: cupy.add(x, 1, out=HOST),
        lambda: x.sum(axis=0, out=np.empty(3)),
        lambda: cupy.matmul(x, x.T, out=np.empty((2, 2))),
    ):
        with pytest.raises(TypeError, match="Output arguments type must be cupy"):
            write()
    with pytest.raises(TypeError):
        np.add(HOST, HOST, out=x)
    y = cupy.empty_like(x)
    assert cupy.add(x, 1, out=y) is y
    assert cupy.add(x, 1, y) is y


def test_numpy_arrays_are_neither_indices_nor_assigned() -> None:
    x = gpu(2, 3)
    with pytest.raises(TypeError, match="as an index"):
        x[np.array([0, 1])]
    with pytest.raises(ValueError, match="move it there first"):
        x[...] = HOST
    with pytest.raises(TypeError, match="Unsupported"):
        x[0] = [1.0, 2.0, 3.0]
    x[0], x[:, 1], x[x > 4] = 1, np.float64(2), 7.0
    assert x[[0, 1]].tolist() == [[1.0, 2.0, 1.0], [3.0, 2.0, 7.0]]


@pytest.mark.parametrize(
    "slip",
    [
        eval(compile("lambda x: np.exp(x)", str(ROOT / "scratchfcn" / "ops" / "x.py"), "eval")),
        lambda x: np.sum(x),
        lambda x: np.maximum(x, 0),
        lambda x: np.zeros_like(x),
        lambda x: np.add(x, x, out=x),
    ],
)
def test_a_call_of_numpy_in_our_files_is_a_slip(slip: Any) -> None:
    with pytest.raises(TypeError, match=r"np\.\w+ was called on an array of the GPU.*array_module"):
        slip(gpu(2, 3))


def test_elsewhere_numpys_functions_are_passed_on_as_cupy_passes_them(tmp_path: Path) -> None:
    theirs = {"np": np}
    exec(compile("def relu(x): return np.maximum(x, 0) + np.zeros_like(x)", str(tmp_path / "relu.py"), "exec"), theirs)
    assert theirs["relu"](-gpu(2, 3)).tolist() == [[0.0] * 3] * 2
    exec(compile("def mixed(x): return np.maximum(x, np.zeros(3))", str(tmp_path / "mixed.py"), "exec"), theirs)
    with pytest.raises(TypeError, match=r"Unsupported type <class 'numpy\.ndarray'>"):
        theirs["mixed"](gpu(2, 3))


def test_numbers_do_mix() -> None:
    x = gpu(2, 3).astype("float32")
    for y in (x + 1, 1 + x, 2.5 * x, x / np.float32(3), np.float32(3) * x, x**2, -x, abs(x), x > 1):
        assert type(y) is strict_cupy.ndarray
    assert (1 - x).tolist() == [[1, 0, -1], [-2, -3, -4]]


def test_numpy_scalars_whose_dtype_is_doubtful_are_refused() -> None:
    x = gpu(2, 3).astype("float32")
    for mix in (
        lambda: x * np.float64(3),
        lambda: np.float64(3) - x,
        lambda: cupy.maximum(x, np.float64(0)),
        lambda: cupy.where(x > 0, x, np.float64(1)),
        lambda: x.astype("uint8") + np.int64(1),
    ):
        with pytest.raises(TypeError, match=r"in CuPy 14 and \w+ in CuPy 13; use a Python number"):
            mix()
    x *= np.float32(2)
    assert (x.astype("float64") * np.float64(2)).dtype == np.float64


def test_a_tensor_does_its_arithmetic_itself() -> None:
    with strict_cupy.installed():
        x = sf.Tensor(gpu(2, 3))
        assert isinstance(gpu(2, 3) + x, sf.Tensor)


# ---- what CuPy's arrays are like ---------------------------------------------------------------------------


def test_reductions_and_elements_are_arrays_and_elements_are_views() -> None:
    x = gpu(2, 3)
    for y in (x.sum(), x.mean(), x.max(), x.argmax(), (x > 0).all(), cupy.sum(x), x[1, 2], next(iter(x[0]))):
        assert type(y) is strict_cupy.ndarray
        assert y.shape == ()
    corner = x[0, 0]
    corner += 5
    assert x[0, 0].item() == 5.0
    assert type(cupy.array_equal(x, x)) is strict_cupy.ndarray


@pytest.mark.parametrize(
    "missing",
    [
        lambda x: cupy.errstate,
        lambda x: cupy.testing,
        lambda x: x.ctypes,
        lambda x: x.flags.writeable,
        lambda x: x.byteswap,
        lambda x: x.setflags,
        lambda x: x.__array_interface__,
        lambda x: cupy.add.reduce,
    ],
)
def test_what_is_missing_is_missing(missing: Any) -> None:
    with pytest.raises(AttributeError):
        missing(gpu(2, 3))


@pytest.mark.parametrize(
    "call",
    [
        lambda x: cupy.add(x, x, where=x > 0),
        lambda x: x.sum(where=x > 0),
        lambda x: cupy.max(x, initial=0.0),
        lambda x: cupy.zeros(3, like=x),
        lambda x: cupy.take(x, cupy.arange(2), mode="clip"),
        lambda x: cupy.zeros(3, device="cpu"),
    ],
)
def test_settings_that_cupy_lacks_are_refused(call: Any) -> None:
    with pytest.raises(TypeError, match="takes no"):
        call(gpu(2, 3))


def test_a_gpu_divides_by_zero_without_a_word(recwarn: pytest.WarningsRecorder) -> None:
    x = gpu(2, 3)
    y = x / 0
    y /= 0
    cupy.log(x - 3)
    assert not recwarn.list


def test_layout_is_numpys_but_for_fresh_results() -> None:
    x = gpu(2, 3, 4)
    t = x.transpose(1, 0, 2)
    assert (t.shape, t.strides, t.flags.c_contiguous) == ((3, 2, 4), (32, 96, 8), False)
    for fresh in (t + 1, cupy.where(t > 3, t, 0), cupy.concatenate([t, t]), t.sum(axis=2, keepdims=True), t.copy()):
        assert fresh.flags.c_contiguous
    assert t.astype("float32").strides == (16, 48, 4)
    assert cupy.ascontiguousarray(t).flags.c_contiguous
    windows = cupy.lib.stride_tricks.as_strided(x, (2, 3), (8, 8))
    assert windows.tolist() == [[0.0, 1.0, 2.0], [1.0, 2.0, 3.0]]
    assert cupy.may_share_memory(windows, x)


def test_memory_is_counted_in_steps_of_512_bytes_and_given_back() -> None:
    pool = cupy.get_default_memory_pool()
    before = pool.used_bytes()
    x = cupy.zeros(100)
    y = x.reshape(10, 10)[1:]
    assert pool.used_bytes() - before == 1024
    del x
    assert pool.used_bytes() - before == 1024
    del y
    assert pool.used_bytes() == before


def test_what_needs_a_gpu_says_so() -> None:
    for name in ("RawKernel", "ElementwiseKernel", "ReductionKernel"):
        with pytest.raises(NotImplementedError, match=f"cupy.{name} needs a real GPU"):
            getattr(cupy, name)("", "", "", "")
    with pytest.raises(strict_cupy.CUDARuntimeError):
        cupy.cuda.Device(1)


# ---- streams and events ------------------------------------------------------------------------------------


def pinned(values: Any) -> np.ndarray:
    host = strict_cuda.empty_pinned(np.shape(values), np.asarray(values).dtype)
    host[...] = values
    return host


def test_streams_are_entered_and_left() -> None:
    a, b = cupy.cuda.Stream(), cupy.cuda.Stream(non_blocking=True)
    with a:
        with b:
            assert cupy.cuda.get_current_stream() is b
            a.use()
            assert cupy.cuda.get_current_stream() == a
        assert cupy.cuda.get_current_stream() is a
    assert cupy.cuda.get_current_stream() == cupy.cuda.Stream.null == cupy.cuda.Stream(null=True)
    assert cupy.cuda.Stream.null.ptr == 0 != a.ptr


def test_whoever_waits_is_counted() -> None:
    stream, event = cupy.cuda.Stream(), cupy.cuda.Event(block=True, disable_timing=True)
    before = strict_cupy.synchronised()
    stream.record(event)
    cupy.cuda.get_current_stream().wait_event(event)
    assert event.done
    assert stream.done
    assert strict_cupy.synchronised() == before
    for wait in (stream.synchronize, event.synchronize, cupy.cuda.Device(0).synchronize):
        before = strict_cupy.synchronised()
        wait()
        assert strict_cupy.synchronised() == before + 1


def test_a_copy_from_pinned_memory_is_made_later() -> None:
    x, host = gpu(3), pinned([7.0, 8.0, 9.0])
    before = strict_cupy.synchronised()
    x.set(host)
    event = cupy.cuda.Stream.null.record()
    assert not event.done  # and by the next time it is
    assert event.done
    host[:] = 1
    x.set(host)
    host[:] = 5  # too early
    y = x + 0
    assert strict_cupy.synchronised() == before
    assert y.tolist() == [5.0, 5.0, 5.0]


def test_a_copy_to_pinned_memory_arrives_later() -> None:
    x, host = gpu(3), pinned([7.0, 8.0, 9.0])
    before = strict_cupy.synchronised()
    assert x.get(out=host, blocking=False) is host
    assert host.tolist() == [7.0, 8.0, 9.0]
    x += 1  # comes after the copy
    assert host.tolist() == [0.0, 1.0, 2.0]
    assert strict_cupy.synchronised() == before
    x.get(out=host)
    x.get(out=np.empty(3), blocking=False)  # ordinary memory
    x.set(np.empty(3))
    assert strict_cupy.synchronised() == before + 3


def test_streams_wait_for_each_other_only_where_told() -> None:
    x, stream = gpu(3), cupy.cuda.Stream(non_blocking=True)
    x.set(pinned([7.0, 8.0, 9.0]), stream)
    assert x.tolist() == [0.0, 1.0, 2.0]
    cupy.cuda.get_current_stream().wait_event(stream.record())
    assert x.tolist() == [7.0, 8.0, 9.0]
    x.set(pinned([1.0, 1.0, 1.0]), stream=cupy.cuda.Stream())  # the null stream and this one do wait
    assert x.tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("host", [[1.0], np.zeros(2), np.zeros(3, np.float32)])
def test_copies_fit(host: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        gpu(3).set(host)
    with pytest.raises((TypeError, ValueError)):
        gpu(3).get(out=host)
    with pytest.raises(RuntimeError, match="non-contiguous"):
        gpu(4, 3)[:, 1].set(np.zeros(4))


def test_time_goes_by_between_events() -> None:
    start, end, untimed = cupy.cuda.Event(), cupy.cuda.Event(), cupy.cuda.Event(disable_timing=True)
    start.record()
    end.record()
    untimed.record()
    assert 0 < cupy.cuda.get_elapsed_time(start, end) < 1e4
    for other in (untimed, cupy.cuda.Event()):
        with pytest.raises(strict_cupy.CUDARuntimeError, match="cudaErrorInvalidResourceHandle"):
            cupy.cuda.get_elapsed_time(start, other)


def test_pinned_memory_is_a_buffer_of_at_least_that_size() -> None:
    memory = cupy.cuda.alloc_pinned_memory(1000)
    host = np.frombuffer(memory, np.float32, 250).reshape(10, 25)
    assert strict_cuda.is_pinned(host[3:])
    assert host.ctypes.data == memory.ptr
    assert memory.size() == 1024
    assert not strict_cuda.is_pinned(np.zeros(3))
    assert strict_cuda.zeros_pinned((2, 3)).tolist() == [[0.0] * 3] * 2


# ---- graphs ------------------------------------------------------------------------------------------------


def captured(work: Any) -> tuple[Any, Any]:
    """A graph of what `work()` does, and what that gave."""
    stream = cupy.cuda.Stream(non_blocking=True)
    with stream:
        stream.begin_capture()
        try:
            result = work()
        finally:
            graph = stream.end_capture()
    return graph, result


WORK = [
    lambda x: x + 1,
    lambda x: 2 / x,
    lambda x: cupy.exp(x[1:]),
    lambda x: x.sum(axis=0),
    lambda x: cupy.sum(x, axis=1, keepdims=True),
    lambda x: x.max(),
    lambda x: x[0, 1] * x[1, 0],
    lambda x: cupy.where(x > 2, x, -1.0),
    lambda x: cupy.concatenate([x, 2 * x]),
    lambda x: cupy.stack([x, x[::-1]]),
    lambda x: x.T.reshape(-1),
    lambda x: x.astype("int32") + 1,
    lambda x: cupy.zeros_like(x) + x,
    lambda x: cupy.full((), 3.0) * x,
    lambda x: cupy.asarray(3.0) * x,
    lambda x: x[cupy.argmax(x, axis=0)],
    lambda x: cupy.take_along_axis(x, cupy.argmax(x, axis=1)[:, None], 1),
    lambda x: cupy.pad(x, 1),
    lambda x: cupy.divmod(x, 2.0)[1],
    lambda x: cupy.broadcast_to(x.mean(axis=0), (4, 3)),
    lambda x: cupy.ascontiguousarray(x.T),
    lambda x: cupy.array(x, copy=True),
    lambda x: x.copy()[0],
    lambda x: -abs(x),
    lambda x: x.astype("int32") @ x.astype("int32").T,  # no work for cuBLAS
]


@pytest.mark.parametrize("work", WORK)
def test_a_graph_computes_again_what_was_captured(work: Any) -> None:
    x = gpu(2, 3)
    graph, y = captured(lambda: work(x))
    for value in (2.0, 5.0):
        x[...] = cupy.arange(6.0).reshape(2, 3)[::-1] * value
        graph.launch()
        np.testing.assert_array_equal(y.get(), work(x).get())


def test_nothing_is_computed_while_capturing() -> None:
    x, y, z = gpu(2, 3), gpu(2, 3), gpu(3)

    def work() -> Any:
        x[...] += 1
        x[:, 1] = 7.0
        y.fill(4)
        cupy.add(y, 1, out=y)
        x.sum(axis=0, out=z)
        cupy.copyto(x[1], z)
        z[cupy.asarray(0)] = z[1]
        return x * 2

    graph, result = captured(work)
    assert np.isnan(result.get()).all()
    assert x.tolist() == y.tolist() == gpu(2, 3).tolist()
    assert z.tolist() == [0.0, 1.0, 2.0]
    graph.launch()
    assert (x.tolist(), y.tolist(), z.tolist()) == ([[1, 7, 3], [5, 14, 9]], [[5] * 3] * 2, [14, 14, 9])
    assert result.tolist() == [[2, 14, 6], [10, 28, 18]]
    graph.launch(cupy.cuda.Stream())
    assert x.tolist() == [[2, 7, 4], [8, 14, 14]]


@pytest.mark.parametrize(
    "wait",
    [
        lambda x: x.get(),
        lambda x: float(x.sum()),
        lambda x: bool(x.sum() > 3),
        lambda x: x.sum().item(),
        lambda x: x.get(out=pinned(np.zeros((2, 3))), blocking=False),
        lambda x: x[x > 3],
        lambda x: x.nonzero(),
        lambda x: cupy.unique(x),
        lambda x: cupy.bincount(x.astype("int64").ravel()),
        lambda x: cupy.sort(x, axis=0),
        lambda x: cupy.median(x),
        lambda x: x[[0, 1]],
        lambda x: cupy.asarray([1.0, 2.0]),
        lambda x: cupy.asarray(HOST),
        lambda x: cupy.array(HOST),
        lambda x: x.set(HOST),
        lambda x: x.set(pinned(HOST)),
    ],
)
def test_nothing_goes_to_the_host_or_comes_from_it_while_capturing(wait: Any) -> None:
    x = gpu(2, 3)
    with pytest.raises(RuntimeError, match=r"is capturing, so (D2H|H2D) transfers are disallowed"):
        captured(lambda: wait(x))


@pytest.mark.parametrize(
    "wait",
    [
        lambda stream: stream.synchronize(),
        lambda stream: cupy.cuda.Device(0).synchronize(),
        lambda stream: cupy.cuda.runtime.deviceSynchronize(),
        lambda stream: stream.done,
        lambda stream: stream.wait_event(EARLIER),
    ],
)
def test_waiting_ends_a_capture(wait: Any) -> None:
    stream, x = cupy.cuda.Stream(non_blocking=True), gpu(3)
    with stream:
        stream.begin_capture()
        with pytest.raises(strict_cupy.CUDARuntimeError, match="cudaErrorStreamCapture"):
            wait(stream)
        with pytest.raises(strict_cupy.CUDARuntimeError, match="Invalidated: operation failed due to a previous error"):
            x.sum()
        with pytest.raises(strict_cupy.CUDARuntimeError, match="cudaErrorStreamCaptureInvalidated"):
            stream.end_capture()
        assert not stream.is_capturing()


EARLIER = cupy.cuda.Stream(non_blocking=True).record()


def test_an_event_of_a_capture_is_no_event_to_wait_for() -> None:
    _, event = captured(lambda: cupy.cuda.get_current_stream().record())
    for wait in (event.synchronize, lambda: event.done):
        with pytest.raises(strict_cupy.CUDARuntimeError, match="cudaErrorCapturedEvent"):
            wait()


@pytest.mark.parametrize(
    "multiply",
    [
        lambda x: x @ x.T,
        lambda x: cupy.matmul(x, x.T),
        lambda x: cupy.tensordot(x, x, axes=2),
        lambda x: cupy.einsum("ij,kj->ik", x, x),
        lambda x: x.dot(x.T),
    ],
)
def test_cublas_is_refused_while_capturing(multiply: Any) -> None:
    x = gpu(2, 3)
    with pytest.raises(NotImplementedError, match="calling cuBLAS API during stream capture is currently unsupported"):
        captured(lambda: multiply(x))
    multiply(x)


def test_what_can_be_captured() -> None:
    with pytest.raises(RuntimeError, match="cannot capture on the default"):
        cupy.cuda.Stream.null.begin_capture()
    stream = cupy.cuda.Stream()
    with pytest.raises(strict_cupy.CUDARuntimeError):
        stream.end_capture()
    stream.begin_capture()
    with pytest.raises(strict_cupy.CUDARuntimeError, match="cudaErrorIllegalState"):
        stream.begin_capture()
    with pytest.raises(strict_cupy.CUDARuntimeError, match="cudaErrorStreamCaptureImplicit"):
        gpu(3)  # on the null stream, which waits for this one
    with pytest.raises(strict_cupy.CUDARuntimeError, match="cudaErrorStreamCaptureInvalidated"):
        stream.end_capture()
    with pytest.raises(NotImplementedError, match="via stream capture"):
        cupy.cuda.Graph()


def test_recorded_work_is_done_at_a_launch() -> None:
    done: list[int] = []
    strict_cupy.do(lambda: done.append(1))
    graph, _ = captured(lambda: strict_cupy.do(lambda: done.append(2)))
    assert done == [1]
    graph.launch()
    assert done == [1, 2]


def test_a_graph_whose_memory_is_anothers_is_an_error() -> None:
    x = gpu(1000)
    graph, y = captured(lambda: (x + 1) * 2)
    graph.launch()
    assert y.tolist()[:2] == [2.0, 4.0]
    with cupy.cuda.Stream():
        kept = cupy.empty(1000)  # of another stream's memory
    graph.launch()
    del y, kept
    cupy.get_default_memory_pool().free_all_blocks()
    with pytest.raises(RuntimeError, match="whose array is gone"):
        graph.launch()


def test_a_graph_may_have_a_pool_of_its_own() -> None:
    x, pool = gpu(1000), cupy.cuda.MemoryPool()
    with cupy.cuda.using_allocator(pool.malloc):
        graph, y = captured(lambda: ((x + 1) * 2).sum())
    assert pool.used_bytes() == 512
    assert pool.total_bytes() == 2 * 8192 + 512
    others = [cupy.empty(1000) for _ in range(3)]
    graph.launch()
    assert y.item() == 2 * (1000 + 999 * 500)
    assert others
    del pool
    with pytest.raises(RuntimeError, match="have been given back"):
        graph.launch()


# ---- memory ------------------------------------------------------------------------------------------------


def test_a_pool_keeps_what_is_freed() -> None:
    pool = cupy.cuda.MemoryPool()
    free, total = cupy.cuda.runtime.memGetInfo()
    with cupy.cuda.using_allocator(pool.malloc):
        x = cupy.zeros(1000)
    assert (pool.used_bytes(), pool.free_bytes(), pool.total_bytes()) == (8192, 0, 8192)
    assert cupy.cuda.runtime.memGetInfo() == cupy.cuda.Device(0).mem_info == (free - 8192, total)
    del x
    assert (pool.used_bytes(), pool.free_bytes(), pool.total_bytes(), pool.n_free_blocks()) == (0, 8192, 8192, 1)
    with cupy.cuda.using_allocator(pool.malloc):
        x = cupy.ones(1000)
        assert pool.total_bytes() == 8192
        with cupy.cuda.Stream():
            cupy.ones(1000)  # each stream has its own
        assert pool.total_bytes() == 16384
    pool.free_all_blocks()
    assert (pool.used_bytes(), pool.total_bytes()) == (8192, 8192)
    del x
    pool.free_all_blocks()
    assert cupy.cuda.runtime.memGetInfo() == (free, total)


def test_a_limit_is_kept() -> None:
    pool = cupy.cuda.MemoryPool()
    pool.set_limit(size=20_000)
    assert pool.get_limit() == 20_000
    with cupy.cuda.using_allocator(pool.malloc):
        x = cupy.zeros(1000)
        cupy.zeros(1400)  # kept by the pool, and given back for the next
        y = cupy.zeros(1200)
        with pytest.raises(cupy.cuda.memory.OutOfMemoryError) as raised:
            x + 1
    assert y is not None
    assert isinstance(raised.value, MemoryError)
    assert str(raised.value) == (
        "Out of memory allocating 8,192 bytes (allocated so far: 17,920 bytes, limit set to: 20,000 bytes)."
    )
    assert str(strict_cuda.OutOfMemoryError(512, 0)) == (
        "Out of memory allocating 512 bytes (allocated so far: 0 bytes)."
    )
    pool.set_limit(fraction=0.5)
    assert pool.get_limit() == cupy.cuda.runtime.memGetInfo()[1] // 2
    for wrong in ({"size": -1}, {"fraction": 2.0}, {"size": 1, "fraction": 0.1}):
        with pytest.raises(ValueError, match=r"limit|specified"):
            pool.set_limit(**wrong)


@pytest.mark.parametrize("shape", [(1 << 32,), (1 << 20, 1 << 30)])
def test_a_gpu_has_an_end(shape: tuple[int, ...]) -> None:
    with pytest.raises(cupy.cuda.memory.OutOfMemoryError, match=r"Out of memory allocating [0-9,]+ bytes"):
        cupy.empty(shape)


def test_allocators_are_set_and_put_back() -> None:
    default = cupy.get_default_memory_pool()
    with cupy.cuda.using_allocator(None):
        before = default.used_bytes()
        x = cupy.zeros(3)
        assert default.used_bytes() == before
        assert type(x.data.mem) is cupy.cuda.Memory
        with pytest.raises(ValueError, match="using_allocator"):
            cupy.cuda.set_allocator(None)
    pool = cupy.cuda.MemoryPool()
    try:
        cupy.cuda.set_allocator(pool.malloc)
        x = cupy.zeros(3)
        assert pool.used_bytes() == 512
    finally:
        cupy.cuda.set_allocator(default.malloc)
    assert cupy.cuda.get_allocator() == default.malloc


def test_hooks_hear_of_every_array() -> None:
    heard: list[Any] = []

    class Hook(cupy.cuda.MemoryHook):
        name = "of this test"

        def malloc_postprocess(self, *, size: int, mem_size: int, mem_ptr: int, **_: Any) -> None:
            heard.append((size, mem_size, mem_ptr != 0))

        def free_postprocess(self, *, mem_size: int, **_: Any) -> None:
            heard.append(mem_size)

    with Hook():
        x = cupy.zeros(100)
        del x
        with pytest.raises(KeyError, match="of this test"):
            Hook().__enter__()
    assert heard == [(800, 1024, True), 1024]


def test_what_a_gpu_says_of_itself() -> None:
    about = cupy.cuda.runtime.getDeviceProperties(0)
    assert about["totalGlobalMem"] == cupy.cuda.runtime.memGetInfo()[1]
    assert isinstance(about["name"], bytes)
    assert cupy.cuda.Device(0).compute_capability == f"{about['major']}{about['minor']}"
    assert cupy.cuda.Device(0).attributes["MultiProcessorCount"] == about["multiProcessorCount"]
    with pytest.raises(strict_cupy.CUDARuntimeError, match="cudaErrorInvalidDevice: invalid device ordinal"):
        cupy.cuda.runtime.getDeviceProperties(1)


# ---- with the library --------------------------------------------------------------------------------------


def test_the_library_takes_it_for_cupy(monkeypatch: pytest.MonkeyPatch) -> None:
    with strict_cupy.installed():
        monkeypatch.setattr(backend, "cuda_problem", backend.cuda_problem.__wrapped__)  # not what was found before
        assert backend.cuda_problem() is None
        assert backend.resolve_device("cuda") == backend.resolve_device("auto") == "cuda:0"
        with pytest.raises(sf.DeviceError, match=r"1 GPU\(s\)"):
            backend.resolve_device("cuda:1")
        x = backend.to_device(HOST, "cuda")
        assert (backend.device_of(x), backend.array_module(x)) == ("cuda:0", cupy)
        assert isinstance(backend.to_numpy(x), np.ndarray)
        for device in ("cuda", "cuda:0"):
            backend.synchronize(device)


def test_googlenets_own_normalisation_can_be_captured() -> None:
    with strict_cupy.installed():
        x = gpu(1, 3, 2, 2).astype("float32")
        graph, y = captured(lambda: TransformInput()(sf.Tensor(x)).data)
        graph.launch()
        np.testing.assert_allclose(y.get(), TransformInput()(sf.Tensor(x.get())).numpy(), rtol=1e-6)


@pytest.mark.slow
@pytest.mark.skipif(os.environ.get("SCRATCHFCN_STAND_IN") == "1", reason="this is that run")
def test_every_test_for_a_gpu_passes_on_the_stand_in() -> None:
    of_a_gpu = "cuda or on_a_gpu or unwaited"  # the last is a whole file
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-n", "2", "-rs", "-k", of_a_gpu, "-p", "no:cacheprovider", "tests"],
        cwd=ROOT,
        env={**os.environ, "SCRATCHFCN_STAND_IN": "1"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout[-6000:]
    passed = int(re.search(r"(\d+) passed", run.stdout)[1])
    assert passed > 450, run.stdout[-500:]
    assert "no CUDA here" not in run.stdout
