"""Tracing on a GPU: each op is waited for, by itself; and CuPy's pool says what it takes, at most and afterwards."""

import importlib
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import scratchfcn as sf
from scratchfcn import backend, models
from scratchfcn.cli import app
from scratchfcn.cuda.memory import watched_pool
from scratchfcn.inspection.trace import trace, trace_step


@pytest.fixture
def cupy(device: str) -> Any:
    if device == "cpu":
        pytest.skip("of a GPU")
    return backend.cupy()


def test_the_whole_device_is_waited_for(cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not its null stream alone: work may be under way in others."""
    waited = []

    class Device:
        def __init__(self, number: int | None) -> None:
            self.number = number

        def synchronize(self) -> None:
            waited.append(self.number)

    monkeypatch.setattr(cupy.cuda, "Device", Device)
    for name in ("cpu", "cuda", "cuda:0", "cuda:3"):
        backend.synchronize(name)
    assert waited == [None, 0, 3]


def test_the_pool_is_watched(cupy: Any) -> None:
    before = cupy.get_default_memory_pool().used_bytes()
    with watched_pool() as outer:
        first = cupy.zeros(1 << 18, np.float32)  # 1 MiB
        with watched_pool() as inner:
            second = cupy.zeros(1 << 19, np.float32)
            del second
        assert inner.peak - inner.bytes == 2 << 20
    assert outer.bytes == before + (1 << 20)
    assert outer.peak == before + (3 << 20)
    del first
    assert outer.bytes == before + (1 << 20)  # nobody watches any more


def test_each_ops_memory(cupy: Any) -> None:
    """A map stays, workspace does not; the peak is between."""
    conv = sf.nn.Conv2d(4, 8, 3, padding=1).to("cuda")
    x = sf.Tensor(np.zeros((1, 4, 64, 64), np.float32), device="cuda")
    with trace(conv) as warm:
        conv(x)
    with trace(conv) as t:
        y = conv(x)
    (row,) = t.forward
    assert row.estimated_bytes == y.data.nbytes == 8 * 64 * 64 * 4
    assert row.peak_bytes > row.observed_bytes >= row.estimated_bytes
    assert row.live_bytes == row.observed_bytes
    assert "at most" in str(t)
    assert len(warm.rows) == 1


def test_an_op_begins_when_the_one_before_has_finished(cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice around every op; and the step that is timed is not the first, which compiles."""
    waits = []
    module = importlib.import_module("scratchfcn.inspection.trace")  # whose name the function has taken
    monkeypatch.setattr(module, "synchronize", waits.append)
    model = models.build("fcn32s_small", 3).to("cuda")
    x = sf.Tensor(np.zeros((1, 3, 64, 64), np.float32), device="cuda")
    found, _, loss = trace_step(model, x, lambda scores: (scores * scores).sum())
    assert waits == ["cuda:0"] * (2 * 2 * len(found.rows))
    assert loss.device == "cuda:0"
    assert all(row.seconds > 0 and row.peak_bytes is not None for row in found.rows)


def test_the_command_on_a_gpu(cupy: Any) -> None:
    result = CliRunner().invoke(app, ["trace", "--device", "cuda", "--size", "64x48"], env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    assert "on cuda:0\na training step: loss" in result.output
    assert "times: op by op, from the call until the GPU has finished; memory: what CuPy's pool" in result.output
    assert "at most" in result.output
