"""One measurement, in a process of its own: `python -m scratchfcn.bench.worker '{"task": "time", …}'` prints JSON.

The process's environment says how many threads there are; see suite.py, which starts it.
"""

from __future__ import annotations

import contextlib
import json
import math
import sys
import traceback
from collections.abc import Callable
from statistics import median
from typing import Any

from ..backend import DeviceError, resolve_device
from ..parallel import threads
from .cases import Case
from .clock import Clock, loop_seconds, waited_seconds
from .libraries import ScratchRun, TorchRun, largest_differences, make_run, prepare_torch, set_our_tf32
from .memory import give_back_pool

WARM_UP = 2  # calls that do not count: the first allocates memory, starts threads and chooses algorithms
LONGEST = 3.0  # seconds; no further call is begun after this long, once there are two
WARM_UP_GPU = 5  # calls at least, and
WARM_UP_SECONDS = 0.5  # so long at least: a GPU that had nothing to do is slow at first
LOOP = 0.1  # seconds at least from one wait to the next, where calls are timed in a loop
MEMORY_CALLS = 3


def measure_time(
    library: str, case: dict[str, Any], device: str, repeats: int, tf32: bool = False, graph: bool = False
) -> dict[str, Any]:
    """The seconds of each of some calls, and the number of threads in effect; on a GPU, see `gpu_times`."""
    run = make_run(library, Case(**case), device, threads(), tf32)
    if device != "cpu":
        return {**gpu_times(run, repeats, graph), "threads": run.threads()}
    for _ in range(WARM_UP):
        waited_seconds(run.clock, run)
    seconds: list[float] = []
    while len(seconds) < repeats and (len(seconds) < 2 or sum(seconds) < LONGEST):
        seconds.append(waited_seconds(run.clock, run))
    return {"seconds": seconds, "threads": run.threads()}


def gpu_times(run: ScratchRun | TorchRun, repeats: int, graph: bool) -> dict[str, Any]:
    """Three times of a call on a GPU, each measured a few times.

    "seconds": from one call to the next in a loop that waits only at its end, by the host's clock. That is what a
    training run gets, so it is what the libraries are compared by. "event_seconds": the same loops by CUDA events.
    "single_seconds": a call by itself, waited for. "calls": in a loop. And "graph_seconds", where asked for and
    possible: as "seconds", of our call as a CUDA graph; else "graph_problem" says why not.
    """
    warm_up(run.clock, run)
    single = [waited_seconds(run.clock, run) for _ in range(max(2, repeats))]
    loops, calls = loops_of(run.clock, run, median(single), repeats)
    result: dict[str, Any] = {
        "seconds": [host for host, _ in loops],
        "event_seconds": [event for _, event in loops],
        "single_seconds": single,
        "calls": calls,
    }
    if graph and isinstance(run, ScratchRun):
        try:
            replay = run.as_graph()
            warm_up(run.clock, replay)
            loops, _ = loops_of(run.clock, replay, waited_seconds(run.clock, replay), repeats)
            result["graph_seconds"] = [host for host, _ in loops]
        except Exception as error:  # CUDA has many reasons, and what was measured so far is not lost
            result["graph_problem"] = first_line(error)
    return result


def warm_up(clock: Clock, call: Callable[[], Any]) -> None:
    """Until compilers, allocators and the GPU's own clock have settled."""
    calls, spent = 0, 0.0
    while (calls < WARM_UP_GPU or spent < WARM_UP_SECONDS) and not (calls >= 2 and spent > LONGEST):
        spent += waited_seconds(clock, call)
        calls += 1


def loops_of(
    clock: Clock, call: Callable[[], Any], single: float, repeats: int
) -> tuple[list[tuple[float, float]], int]:
    """Seconds a call of some loops, by the host's clock and by events; and how many calls a loop has. single: roughly
    how long one takes."""
    calls = max(2, math.ceil(LOOP / max(single, 1e-6)))
    loops: list[tuple[float, float]] = []
    while len(loops) < repeats and (len(loops) < 2 or calls * sum(host for host, _ in loops) < LONGEST):
        loops.append(loop_seconds(clock, call, calls))
    return loops, calls


def first_line(error: Exception) -> str:
    """The kind of an error, and the first line of what it says."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def measure_memory(library: str, case: dict[str, Any], device: str, tf32: bool = False) -> dict[str, Any]:
    """Bytes in use once the network stands ("base"), and at most while it is called ("peak"); on a GPU, of its memory,
    with what the library has "reserved"."""
    from . import memory

    run = make_run(library, Case(**case), device, threads(), tf32)
    if device != "cpu":
        return run.gpu_memory(MEMORY_CALLS)
    memory.give_back_freed()
    memory.forget_peak()
    base = memory.resident()
    for _ in range(MEMORY_CALLS):
        run()
    return {"base": base, "peak": memory.peak()}


def examine(case: dict[str, Any], device: str, against_torch: bool, tf32: bool = False) -> dict[str, Any]:
    """What a case amounts to, and how far the two libraries' results are apart on their first call."""
    from .per_op import optimizer_row, total_work

    ours = ScratchRun(Case(**case), device)
    flop, least_bytes, scores = total_work(ours)
    if case["task"] == "step":
        least_bytes += optimizer_row(ours, 0.0).bytes
    facts: dict[str, Any] = {
        "parameters": sum(p.size for p in ours.model.parameters()),
        "flop": flop,
        "least_bytes": least_bytes,
        "differences": None,
    }
    if against_torch:
        results = ours.results(scores)
        del ours, scores
        if device != "cpu":
            give_back_pool()
        theirs = TorchRun(Case(**case), device, threads(), tf32)
        facts["differences"] = largest_differences(results, theirs.results(theirs()))
    return facts


def measure_per_op(case: dict[str, Any], device: str, repeats: int, tf32: bool = False) -> dict[str, Any]:
    """The rows of the per-op table."""
    from .per_op import measure_ops

    rows = measure_ops(ScratchRun(Case(**case), device), repeats)
    return {"rows": [vars(row) for row in rows]}


def measure_torch_ops(
    specs: list[dict[str, Any] | None], device: str, repeats: int, tf32: bool = False
) -> dict[str, Any]:
    """PyTorch's seconds, forward and backward, of the ops of that table."""
    from .torch_ops import torch_seconds

    return {"seconds": torch_seconds(specs, device, threads(), repeats, tf32)}


def describe_torch(device: str, tf32: bool = False) -> dict[str, Any]:
    """What PyTorch was built with. Errors: DeviceError where it cannot use the GPU."""
    torch = prepare_torch(device, threads(), tf32)
    return {"cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version()}


def measure_machine(device: str, tf32: bool = False) -> dict[str, Any]:
    """Floors, and the number of threads in effect in our products."""
    from .floors import measure_floors
    from .machine import blas_threads

    return {**measure_floors(device), "blas_threads": blas_threads()}


def measure_pipeline(tf32: bool = False, **settings: Any) -> dict[str, Any]:
    """The training loop against its step; see pipeline.py."""
    from .pipeline import measure_loop

    return measure_loop(**settings)


TASKS = {
    "time": measure_time,
    "memory": measure_memory,
    "examine": examine,
    "per_op": measure_per_op,
    "torch_ops": measure_torch_ops,
    "torch": describe_torch,
    "machine": measure_machine,
    "pipeline": measure_pipeline,
}


def do(job: dict[str, Any]) -> dict[str, Any]:
    """One of the tasks, on its device; a task takes what else stands in the job."""
    task, device = job.pop("task"), job.get("device", "cpu")
    if device != "cpu":
        if job.get("against_torch"):  # PyTorch brings its own CUDA libraries; loaded first, they serve CuPy as well
            prepare_torch(device, threads(), job["tf32"])
        resolve_device(device)  # makes it the current one
        set_our_tf32(job["tf32"])
    return TASKS[task](**job)


def failure(error: Exception) -> dict[str, str]:
    """An error as plain values: its kind ("memory", "device", "user" or "mistake") and what to say."""
    text = str(error)
    if (
        isinstance(error, MemoryError) or "allocate memory" in text or "out of memory" in text
    ):  # torch's are RuntimeErrors
        return {"kind": "memory", "message": text.splitlines()[0] if text else ""}
    if isinstance(error, DeviceError):
        return {"kind": "device", "message": text}
    if isinstance(error, ValueError | FloatingPointError | OSError):
        return {"kind": "user", "message": text}
    return {"kind": "mistake", "message": "".join(traceback.format_exception(error))}


def main() -> None:
    job = json.loads(sys.argv[1])
    try:
        with contextlib.redirect_stdout(sys.stderr):  # what a library prints is not the result
            result = do(job)
    except Exception as error:
        result = {"error": failure(error)}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
