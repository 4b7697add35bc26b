"""The benchmark on a GPU: what is timed, by which clock, and what is said of it. No time measured here means anything.

The stand-in for CuPy takes the GPU's place, with events by a clock of the tests: it goes on by a millisecond with every
event. PyTorch's side of a GPU is tried on "cpu:0", which is not "cpu" for us, and is the processor for PyTorch.
"""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fake_cublas
import numpy as np
import pytest
import strict_cupy
import torch
from rich.console import Console
from typer.testing import CliRunner, Result

from scratchfcn import Tensor, backend, ops
from scratchfcn.bench import (
    cases,
    clock,
    floors,
    libraries,
    machine,
    per_op,
    plot,
    report,
    session,
    specs,
    suite,
    torch_ops,
    words,
    worker,
)
from scratchfcn.bench.cases import Case
from scratchfcn.bench.libraries import ScratchRun, TorchRun
from scratchfcn.bench.per_op import Row
from scratchfcn.bench.suite import Comparison, Settings
from scratchfcn.cli import app
from scratchfcn.cli.bench import choose_torch
from scratchfcn.cuda import kernels
from scratchfcn.inspection.trace_calls import watched

TINY = Case("step", "fcn8s_small", 2, 32, 32)
FLOORS = {"flops": 100e9, "bandwidth": 10e9, "launch": 1e-5, "blas_threads": 1}
GPU = {"name": "a GPU", "driver": "1.2", "cuda": "12.4", "cupy": "13.6.0", "tf32": False, "kernels": True}


class Events:
    """A GPU's clock. done: whether the GPU has caught up with Python whenever somebody asks."""

    def __init__(self) -> None:
        self.now, self.done = 0, False

    def event(self, **_: Any) -> Any:
        events = self

        class Event:
            def record(self) -> None:
                events.now += 1
                self.at = events.now

            def query(self) -> bool:
                return events.done

            def elapsed_time(self, end: Any) -> float:
                return end.at - self.at

        return Event()

    def mark(self) -> Any:
        event = self.event()
        event.record()
        return event


@pytest.fixture
def events() -> Events:
    return Events()


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch, events: Events) -> Iterator[str]:
    """The device's name, while the stand-in is CuPy."""
    backend.cuda_problem.cache_clear()
    with strict_cupy.installed():
        monkeypatch.setattr(kernels, "_enabled", False)  # emulated, they take seconds
        monkeypatch.setattr(clock.EventClock, "mark", lambda itself: events.mark())
        monkeypatch.setattr(clock.EventClock, "seconds", lambda itself, a, b: a.elapsed_time(b) / 1000)
        monkeypatch.setattr(clock.EventClock, "reached", lambda itself, mark: mark.query())
        monkeypatch.setattr(worker, "WARM_UP_SECONDS", 0.0)
        monkeypatch.setattr(worker, "WARM_UP_GPU", 2)
        monkeypatch.setattr(clock, "PRODUCT", 16)
        monkeypatch.setattr(per_op, "PRODUCT", 16)
        yield "cuda:0"
    backend.cuda_problem.cache_clear()


# --- clocks -------------------------------------------------------------------------------------------------


def test_a_loop_waits_once_at_its_end(gpu: str, monkeypatch: pytest.MonkeyPatch) -> None:
    looks, calls = iter([10.0, 16.0]), []
    monkeypatch.setattr(clock, "time", SimpleNamespace(perf_counter=lambda: next(looks)))
    events = clock.EventClock(gpu)
    before = strict_cupy.synchronised()
    host, by_events = clock.loop_seconds(events, lambda: calls.append(1), 4)
    assert strict_cupy.synchronised() - before == 2
    assert len(calls) == 4
    assert host == 1.5
    assert by_events == 0.001 / 4


def test_cupys_events_are_a_clock() -> None:
    with strict_cupy.installed():
        cupys = clock.EventClock("cuda:0")
        begin, end = cupys.mark(), cupys.mark()
        cupys.wait()
        assert cupys.seconds(begin, end) > 0
        assert cupys.reached(end)


def test_a_head_start_is_as_long_as_asked_for(gpu: str) -> None:
    launched: list[int] = []
    start = clock.HeadStart(clock.EventClock(gpu), lambda: launched.append(1))
    assert start.product_s == 0.001
    launched.clear()
    start.give(0.0105)
    assert len(launched) == 11
    start.give(1e9)
    assert len(launched) == 11 + clock.MOST_PRODUCTS


# --- times --------------------------------------------------------------------------------------------------


def test_a_step_on_a_gpu_is_timed_in_loops(gpu: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "LOOP", 1e-9)
    monkeypatch.setattr(ScratchRun, "as_graph", lambda run: run, raising=False)
    job = {"task": "time", "library": "scratchfcn", "case": TINY.to_plain(), "device": gpu, "repeats": 3}
    found = worker.do({**job, "tf32": False, "graph": True})
    assert found["calls"] == 2
    assert len(found["seconds"]) == len(found["event_seconds"]) == len(found["graph_seconds"]) == 3
    assert found["event_seconds"] == [0.0005] * 3
    assert len(found["single_seconds"]) == 3
    assert found["threads"] >= 1


def test_what_cannot_be_recorded_is_told_and_the_rest_is_kept(gpu: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(run: Any) -> Any:
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    monkeypatch.setattr(worker, "LOOP", 1e-9)
    monkeypatch.setattr(ScratchRun, "as_graph", refuse, raising=False)
    found = worker.measure_time("scratchfcn", TINY.to_plain(), gpu, 2, graph=True)
    assert found["graph_problem"] == "RuntimeError: operation not permitted when stream is capturing"
    assert "graph_seconds" not in found
    assert len(found["seconds"]) == 2
    assert "graph_problem" not in worker.measure_time("scratchfcn", TINY.to_plain(), gpu, 2, graph=False)


def test_a_step_on_a_gpu_is_the_step_on_the_cpu(gpu: str) -> None:
    for task in ("step", "inference"):
        case = Case(task, "fcn8s_small", 1, 40, 48)
        ours, reference = ScratchRun(case, gpu), ScratchRun(case)
        found = libraries.largest_differences(ours.results(ours()), reference.results(reference()))
        assert max(found.values()) < 1e-3


def test_a_step_on_a_gpu_does_not_wait(gpu: str) -> None:
    run = ScratchRun(TINY, gpu)
    run()
    before = strict_cupy.synchronised()
    run()
    assert strict_cupy.synchronised() == before


@pytest.mark.parametrize("task", [pytest.param("step", marks=pytest.mark.slow), "inference"])
def test_a_graph_computes_what_the_call_does(gpu: str, task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three calls come before: one for the gradients, two within the graph's own memory."""
    monkeypatch.setattr(kernels, "_enabled", True)  # the plain way would have to be looked at
    case = Case(task, "fcn8s_small", 1, 16, 16)
    reference = ScratchRun(case)
    for _ in range(3):
        reference()
    with fake_cublas.installed():
        launch = ScratchRun(case, gpu).as_graph()
        for _ in range(2):
            expected, found = reference().numpy(), launch().numpy()
            np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


def comparison(gpu_rounds: dict[str, list[dict[str, Any]]], torch_s: float | None = 0.1) -> Comparison:
    rounds = {"scratchfcn": [[0.2], [0.2]]} | ({"torch": [[torch_s], [torch_s]]} if torch_s else {})
    work = {"flop": 10**9, "least_bytes": 10**7, "parameters": 1, "differences": {"scores": 1e-6}}
    return Comparison(TINY, rounds, dict.fromkeys(rounds, 1), work, gpu_rounds)


def rounds_of(**values: Any) -> list[dict[str, Any]]:
    return [{"event_seconds": [0.19], "single_seconds": [0.25], **values} for _ in range(2)]


def test_what_the_rounds_on_a_gpu_amount_to() -> None:
    c = comparison({"scratchfcn": rounds_of(graph_seconds=[0.15]), "torch": rounds_of(event_seconds=[0.095])})
    assert c.ratio == pytest.approx(2)
    assert c.event_ratio == pytest.approx(2)
    assert c.busy == pytest.approx(0.75)
    assert c.graph_ratios == pytest.approx([1.5, 1.5])
    plain = json.loads(session.as_json(c.to_plain()))
    assert plain["gpu"]["busy"] == pytest.approx(0.75)
    assert plain["gpu"]["rounds"]["torch"][0]["event_seconds"] == [0.095]
    failed = comparison({"scratchfcn": rounds_of(graph_problem="no"), "torch": rounds_of()})
    assert np.isnan(failed.busy)
    assert failed.graph_problem == "no"
    assert failed.graph_ratios == []
    assert json.loads(session.as_json(failed.to_plain()))["gpu"]["busy"] is None
    assert "gpu" not in comparison({}).to_plain()


def printed(table: Any, width: int = 200) -> str:
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(table)
    return console.export_text()


@pytest.mark.parametrize("graph_rows", [False, True])
def test_the_table_of_times_on_a_gpu(graph_rows: bool) -> None:
    c = comparison({"scratchfcn": rounds_of(graph_seconds=[0.15]), "torch": rounds_of(event_seconds=[0.095])})
    text = printed(report.times_table([c], FLOORS, 200, graph_rows))
    assert "without waiting" in text
    assert "ratio by events" in text
    assert "75%" in text
    assert ("as a CUDA graph" in text) == graph_rows
    assert ("1.50" in text) == graph_rows
    lines = "\n".join(report.times_lines([c], FLOORS, Settings(1, "cuda:0")))
    assert "one call by itself, waited for: scratchfcn 250 ms, PyTorch 250 ms" in lines
    assert "GPU busy 75%: as a CUDA graph our call takes 150 of 200 ms" in lines
    assert "waits for the GPU once" in lines


def test_without_torch_or_a_graph_the_table_has_no_empty_words() -> None:
    c = comparison({"scratchfcn": rounds_of(graph_problem="RuntimeError: no")}, torch_s=None)
    text = printed(report.times_table([c], FLOORS, 200, graph_rows=True))
    assert "ratio" not in text
    assert "CUDA graph" not in text
    lines = "\n".join(report.times_lines([c], FLOORS, Settings(1, "cuda:0", against_torch=False)))
    assert "GPU busy: not measured, for the call could not be recorded as a CUDA graph (RuntimeError: no)" in lines


@pytest.mark.parametrize("width", [60, 80, 160])
def test_tables_of_a_gpu_fit_the_terminal(width: int) -> None:
    c = comparison({"scratchfcn": rounds_of(graph_seconds=[0.15]), "torch": rounds_of(event_seconds=[0.095])})
    held = {"base": 10**8, "peak": 10**10, "reserved": 11 * 10**9}
    made = [gpu_row(0.1, 0.2, torch_s=0.05), Row("other", "outside the ops", (), 0.1, 0.0, 0, 0, [], host_s=0.1)]
    for table in (
        report.times_table([c], FLOORS, width, True),
        report.ops_table(TINY, made, FLOORS, width),
        report.memory_table([(TINY, {"scratchfcn": held, "torch": held})], width),
    ):
        text = printed(table, width)
        assert max(len(line.rstrip()) for line in text.splitlines()) <= width
        assert "…" not in text


# --- op by op -----------------------------------------------------------------------------------------------


def gpu_row(seconds: float, host: float, torch_s: float | None = None, size: int = 10**6, queued: bool = True) -> Row:
    times = {} if torch_s is None else {"torch_forward_s": torch_s, "torch_backward_s": 0.0}
    return Row("relu", "layer", (1,), seconds, 0.0, 0, size, [], host_s=host, queued=queued, **times)


def test_ops_are_timed_by_events_behind_a_head_start(gpu: str, events: Events, monkeypatch: pytest.MonkeyPatch) -> None:
    """An op is one event long; between two ops there is one event more; the host's clock goes on by 1 s a look."""
    looks, given = iter(range(10**9)), []
    monkeypatch.setattr(clock, "time", SimpleNamespace(perf_counter=lambda: float(next(looks))))
    monkeypatch.setattr(per_op, "seconds_of", lambda product, device: 5e-4)
    monkeypatch.setattr(clock.HeadStart, "give", lambda start, seconds: given.append(seconds))
    run = ScratchRun(TINY, gpu)
    rows = per_op.measure_ops(run, repeats=2)
    assert "step" not in vars(run.optimizer)
    timed = rows[:-2]
    assert all((r.forward_s, r.backward_s) == (0.001, 0.001) for r in timed)
    assert all(r.host_s == 2 for r in timed)
    assert (rows[-2].op, rows[-2].backward_s, rows[-2].host_s) == ("sgd", 0.001, 1)
    assert all(r.queued for r in rows[:-1])
    assert sum(r.seconds for r in rows) == pytest.approx((2 * (2 * len(timed) + 1) + 1) * 0.001)
    assert len(given) == 2  # before each step
    assert given[0] == 2 * (2 * (2 * len(timed) + 1) + 1)  # twice as long as Python takes to launch a step
    assert all(r.product_s == 0.0005 * len(r.products) for r in timed if r.products)
    events.done = True
    late = per_op.measure_ops(ScratchRun(TINY, gpu), repeats=1)
    assert not any(r.queued for r in late)


@pytest.mark.parametrize(
    ("measured", "sentence"),
    [
        (gpu_row(1e-3, 2e-3), "launches, not work: Python takes 2.00 ms to launch it, the GPU 1.00 ms to do it"),
        (gpu_row(1.5e-5, 1e-5), "launches, not work: takes about as long as empty kernels, 0.010 ms each"),
        (gpu_row(1.1e-4, 1e-5), "memory: reads and writes 1 MB"),
        (gpu_row(4e-5, 1e-5), "cache: its 1 MB"),
        (gpu_row(1e-3, 1e-5), "several passes: takes as long as moving its 1 MB 10.0 times"),
        (gpu_row(1e-3, 1e-5, size=10**4), "small: the calls around it take longer than its data"),
        (gpu_row(1e-6, 1e-3, size=0), "a view: nothing moves"),
    ],
)
def test_what_bounds_an_op_on_a_gpu(measured: Row, sentence: str) -> None:
    assert words.bound(measured, FLOORS).startswith(sentence)


def test_launches_are_summed_up_and_late_ones_named() -> None:
    rest = Row("other", "outside the ops", (), 9.0, 0.0, 0, 0, [], host_s=9.0)
    text = " ".join(report.ops_lines([gpu_row(1e-3, 2e-3), rest], FLOORS))
    assert "launching all ops takes Python 2.00 ms and the GPU does them in 1.00 ms, so Python's launches bound" in text
    assert "kernels between the ops" in text
    assert "began before" not in text
    text = " ".join(report.ops_lines([gpu_row(2e-3, 1e-3, queued=False), rest], FLOORS))
    assert "so the GPU's work bounds them" in text
    assert "1 op began before all of it was launched, so the GPU's waiting may be in the time: relu layer" in text
    plain = Row("relu", "layer", (1,), 1.0, 0.0, 0, 10, [])
    assert "launch" not in " ".join(report.ops_lines([plain], {"flops": 1e9, "bandwidth": 1e9}))


# --- PyTorch, op by op --------------------------------------------------------------------------------------


class Compared:
    """Hands every op's inputs to PyTorch as well, by way of what its spec says, and compares."""

    busy = False

    def __init__(self) -> None:
        self.ops: set[str] = set()

    def forward(self, method: Any, function: Any, arrays: tuple[Any, ...]) -> Any:
        given = [None if a is None else torch.tensor(a) for a in arrays]
        self.busy = True
        y = method(function, *arrays)
        self.busy = False
        spec = specs.spec_of(function, arrays)
        if spec is None:
            return y
        spec = json.loads(json.dumps(spec))  # as another process gets it
        self.ops.add(spec["op"])
        call = torch_ops.make_call(spec, "cpu")
        extras = [torch.tensor(function.labels).long()] if spec["op"] == "softmax_cross_entropy" else call.extras
        theirs = torch_ops.compute(spec["op"], given, extras, **spec["settings"])
        np.testing.assert_allclose(theirs.numpy(), y, atol=1e-4 * max(1e-3, np.abs(y).max()), err_msg=function.name)
        assert call.trains == function.recorded
        call.forward()
        assert call.y.shape == y.shape
        call.backward()
        return y

    def backward(self, method: Any, function: Any, gy: Any) -> Any:
        return method(function, gy)


@pytest.mark.parametrize("task", ["step", "inference"])
def test_pytorch_does_the_same_ops(task: str) -> None:
    compared = Compared()
    runs = [ScratchRun(Case(task, "fcn8s_small", 2, 40, 48, batch_norm)) for batch_norm in (False, True)]
    with watched(compared):
        for run in runs:
            run()
    known = {"conv2d", "conv_transpose2d", "max_pool2d", "batch_norm2d", "relu", "add", "crop"}
    assert compared.ops == known | ({"softmax_cross_entropy"} if task == "step" else set())


def test_pytorch_does_what_our_networks_do_not() -> None:
    compared = Compared()
    with watched(compared):
        ops.crop(random((1, 2, 6, 7)), (3, 4), (2, 1))
        ops.linear(random((2, 3)), random((4, 3)), random((4,)))
        ops.conv1x1(random((2, 3, 4, 5)), random((4, 3, 1, 1)))
    assert compared.ops == {"crop", "linear", "conv1x1"}


def random(shape: tuple[int, ...]) -> Tensor:
    return Tensor(np.random.default_rng(0).normal(size=shape).astype(np.float32))


def test_ops_beside_pytorchs_on_the_cpu() -> None:
    rows = per_op.measure_ops(ScratchRun(TINY), repeats=1)
    times = torch_ops.torch_seconds([row.spec for row in rows], "cpu", 1, repeats=2)
    assert times[-1] is None  # what no op accounts for
    assert all(forward > 0 and backward > 0 for forward, backward in times[:-2])
    assert times[-2][1] > 0  # SGD
    for row, each in zip(rows, times, strict=True):
        if each is not None:
            row.torch_forward_s, row.torch_backward_s = each
    text = printed(report.ops_table(TINY, rows, FLOORS, 200))
    assert "PyTorch" in text
    assert "ratio" in text
    compared = rows[:-1]
    assert report.torch_cells(rows)[1] == f"{sum(r.seconds for r in compared) / sum(r.torch_s for r in compared):.2f}"
    plain = report.ops_plain(TINY, rows, FLOORS)["rows"]
    assert plain[0]["ratio"] == pytest.approx(rows[0].seconds / rows[0].torch_s)
    assert plain[-1]["ratio"] is None
    assert json.loads(session.as_json({"rows": plain}))


@pytest.fixture
def torch_gpu(monkeypatch: pytest.MonkeyPatch, events: Events) -> str:
    """A device that is a GPU for us, and the processor for PyTorch."""
    fakes = {
        "Event": lambda enable_timing: events.event(),
        "synchronize": lambda device=None: None,
        "memory_allocated": lambda: 100,
        "max_memory_allocated": lambda: 300,
        "max_memory_reserved": lambda: 400,
        "empty_cache": lambda: None,
        "reset_peak_memory_stats": lambda: None,
    }
    for name, fake in fakes.items():
        monkeypatch.setattr(torch.cuda, name, fake)
    monkeypatch.setattr(libraries, "prepare_torch", lambda *_: torch)
    monkeypatch.setattr(torch_ops, "prepare_torch", lambda *_: torch)
    monkeypatch.setattr(torch_ops, "PRODUCT", 16)
    monkeypatch.setattr(worker, "WARM_UP_SECONDS", 0.0)
    monkeypatch.setattr(worker, "LOOP", 1e-9)
    return "cpu:0"


def test_pytorch_on_a_gpu_is_timed_by_events(torch_gpu: str) -> None:
    run = TorchRun(TINY, torch_gpu)
    found = worker.gpu_times(run, 2, graph=True)
    assert found["event_seconds"] == [0.0005] * 2
    assert "graph_problem" not in found
    assert run.gpu_memory(1) == {"base": 100, "peak": 300, "reserved": 400}
    given = [specs.sgd_spec([(3, 4)]), None, {"op": "relu", "inputs": [[2, 3]], "wanted": [True], "settings": {}}]
    assert torch_ops.torch_seconds(given, torch_gpu, 1, repeats=2) == [(0.001, 0.001), None, (0.001, 0.001)]


@pytest.mark.parametrize("tf32", [False, True])
def test_both_libraries_get_the_same_precision(tf32: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
    before = [torch.backends.cudnn.benchmark, torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32]
    threads = torch.get_num_threads()
    try:
        libraries.prepare_torch("cuda:0", threads, tf32)
        assert torch.backends.cudnn.benchmark
        assert torch.backends.cudnn.allow_tf32 == torch.backends.cuda.matmul.allow_tf32 == tf32
        assert torch.backends.cudnn.conv.fp32_precision == ("tf32" if tf32 else "ieee")
    finally:
        torch.backends.cudnn.benchmark, torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


def test_pytorch_without_cuda_is_told_before_anything_is_measured() -> None:
    if torch.cuda.is_available():
        pytest.skip("PyTorch has CUDA here")
    with pytest.raises(backend.DeviceError, match="no CUDA\n  fix: --against none"):
        worker.describe_torch("cuda:0")


# --- floors, memory, the machine ----------------------------------------------------------------------------


@pytest.fixture
def small_floors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(floors, "FRIENDLY_GPU", ((8, 8, 8), (16, 4, 8)))
    monkeypatch.setattr(floors, "COPIED", 1 << 12)
    monkeypatch.setattr(floors, "LAUNCHES", 4)


@pytest.mark.usefixtures("small_floors")
def test_floors_of_a_gpu(gpu: str, monkeypatch: pytest.MonkeyPatch) -> None:
    launched: list[Any] = []
    kernel = SimpleNamespace(get_function=lambda name: lambda *sizes: launched.append(sizes))
    monkeypatch.setattr(strict_cupy.cupy, "RawModule", lambda code: kernel)
    found = floors.measure_floors(gpu)
    # a loop is one event, a millisecond, long: 4 calls at most, and of those the single one is 1 ms, so 4 again
    assert found["bandwidth"] == pytest.approx(2 * 4096 * 4 / 0.001)
    assert found["flops"] == pytest.approx(2 * 16 * 4 * 8 * 4 / 0.001)
    assert found["launch"] == pytest.approx(0.001 / 4)
    assert launched == [((1,), (1,), ())] * 16
    assert floors.random_array((3, 5), gpu).shape == (3, 5)
    a = floors.random_array((1 << 11, 1 << 10), gpu).get()
    assert 0.4 < a.mean() < 0.6
    assert a.std() > 0.2


def test_machine_and_gpu_are_named(gpu: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "describe_gpu", lambda device: {k: GPU[k] for k in ("name", "driver", "cuda", "cupy")})
    described = machine.describe_machine(2, gpu)
    assert described["gpu"]["kernels"] in (True, False)
    assert "gpu" not in machine.describe_machine(2)
    lines = report.machine_lines({**described, "gpu": GPU}, FLOORS, Settings(2, gpu, tf32=False), "PyTorch")
    assert "a GPU, driver 1.2, CUDA 12.4, CuPy 13.6.0, TF32 off, kernels on" in lines
    assert "10.0 µs from one empty kernel to the next" in lines[-1]
    about = report.torch_on_gpu("PyTorch 2.0", {"cuda": "12.4", "cudnn": 90100}, tf32=True)
    assert "CUDA 12.4, cuDNN 90100: eager, TF32 on, cudnn.benchmark on" in about


def test_tf32_allows_larger_differences() -> None:
    apart = {"scores": 1e-2, "gradients": 1e-1}
    assert not report.same(apart)
    assert report.same(apart, tf32=True)
    assert not report.same({"scores": 1e-1}, tf32=True)


def test_the_picture_names_the_gpu(tmp_path: Path) -> None:
    c = comparison({"scratchfcn": rounds_of(graph_seconds=[0.15]), "torch": rounds_of(event_seconds=[0.095])})
    held = {"base": 10**8, "peak": 10**10, "reserved": 11 * 10**9}
    results = {
        "machine": {"gpu": GPU},
        "times": [c.to_plain()],
        "ops": [report.ops_plain(TINY, [gpu_row(0.1, 0.2, torch_s=0.05)], FLOORS)],
        "memory": [{"name": TINY.name, "libraries": {"scratchfcn": held, "torch": held}}],
    }
    assert plot.on_what(results) == "a GPU, float32"
    assert plot.on_what({"machine": {}}) == ""
    plot.draw(results, tmp_path / "b.png")
    assert (tmp_path / "b.png").stat().st_size > 5000


# --- the command --------------------------------------------------------------------------------------------


def run(*args: object) -> Result:
    return CliRunner().invoke(app, ["bench", *map(str, args)], prog_name="scratchfcn")


def said(result: Result) -> str:
    return " ".join((result.output + (result.stderr if result.stderr else "")).split())


def test_which_cases_there_are_for_a_gpu() -> None:
    steps = cases.cases_of("step", None, None, None, "cuda:0")
    assert [(case.size, case.batch_norm) for case in steps] == [("16x3x180x240", False), ("16x3x180x240", True)]
    inferences = cases.cases_of("inference", None, None, None, "cuda:0")
    assert [(case.model, case.recipe, case.H) for case in inferences] == [
        ("fcn8s_vgg16", "caffe", 500),
        ("fcn8s_vgg16", None, 500),
        ("fcn8s_small", None, 1024),
    ]


@pytest.mark.parametrize("option", ["--tf32", "--no-tf32", "--cuda-graph", "--no-cuda-graph"])
def test_options_of_a_gpu_are_refused_on_a_cpu(option: str) -> None:
    result = run(option, "--device", "cpu")
    assert result.exit_code == 2
    assert f"--{option[2:].removeprefix('no-')} is for a GPU" in said(result)


@pytest.mark.usefixtures("small_floors")
def test_everything_on_a_gpu(gpu: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The whole command, with its measurements in this process."""

    def here(settings: Settings, task: str, what: str, **job: Any) -> dict[str, Any]:
        try:
            return json.loads(
                json.dumps(worker.do(json.loads(json.dumps({"task": task, "tf32": settings.tf32, **job}))))
            )
        except Exception as error:
            suite.raise_again(what, **worker.failure(error))
            raise

    monkeypatch.setattr(suite, "in_a_process", here)
    monkeypatch.setattr(worker, "LOOP", 1e-9)
    result = run(
        *("step", "memory", "scaling", "--device", "cuda", "--size", "1x16x16", "--against", "none"),
        *("--rounds", 1, "--repeats", 1, "--threads", 1, "--cuda-graph"),
        *("--json", tmp_path / "b.json", "--plot", tmp_path / "b.png"),
    )
    assert result.exit_code == 0, said(result)
    text = said(result)
    for expected in (
        "device cuda:0",
        "TF32 off, kernels o",
        "from one empty kernel to the next",
        "without waiting (medians)",
        "GPU busy",
        "launching all ops takes Python",
        "GPU memory (MB)",
        "reserved",
        "16.0 times the pixels take",
    ):
        assert expected in text, expected
    results = json.loads((tmp_path / "b.json").read_text())
    assert results["machine"]["gpu"]["name"]
    assert results["settings"]["device"] == "cuda:0"
    assert results["settings"]["tf32"] is False
    assert results["ops"][0]["rows"][0]["host_s"] > 0
    held = results["memory"][0]["libraries"]["scratchfcn"]
    assert 0 < held["base"] < held["peak"]
    assert (tmp_path / "b.png").exists()


def test_pytorch_without_cuda_ends_the_command(gpu: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if torch.cuda.is_available():
        pytest.skip("PyTorch has CUDA here")
    monkeypatch.setattr(machine, "describe_gpu", lambda device: dict(GPU))
    monkeypatch.setattr(suite, "in_a_process", lambda settings, task, what, **job: worker.TASKS[task](job["device"]))
    result = run("--device", gpu, "--against", "torch", "--threads", 1)
    assert result.exit_code == 2
    assert "PyTorch cannot use cuda:0: this build of it has no CUDA fix: --against none" in said(result)


@pytest.mark.parametrize(
    ("version", "device", "takes_part"),
    [
        ("2.13.0+cpu", "cuda:0", False),
        ("2.13.0+cpu", "cpu", True),
        ("2.13.0", "cuda:0", True),
    ],
)
def test_a_pytorch_without_cuda_is_left_out_unless_asked_for(
    monkeypatch: pytest.MonkeyPatch, version: str, device: str, takes_part: bool
) -> None:
    monkeypatch.setattr(machine, "torch_version", lambda: version)
    compared, line = choose_torch("auto", None, device)
    assert compared is takes_part
    assert version in line
    assert ("without CUDA" in line) is not takes_part
    assert choose_torch("torch", None, device)[0]
