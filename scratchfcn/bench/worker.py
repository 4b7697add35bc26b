"""One measurement, in a process of its own: `python -m scratchfcn.bench.worker '{"task": "time", …}'` prints JSON.

The process's environment says how many threads there are; see suite.py, which starts it.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
import traceback
from typing import Any

from ..backend import DeviceError
from ..parallel import threads
from .cases import Case
from .libraries import ScratchRun, TorchRun, largest_differences, make_run

WARM_UP = 2  # calls that do not count: the first allocates memory, starts threads and chooses algorithms
LONGEST = 3.0  # seconds; no further call is begun after this long, once there are two


def measure_time(library: str, case: dict[str, Any], device: str, repeats: int) -> dict[str, Any]:
    """The seconds of each of some calls, and the number of threads in effect."""
    run = make_run(library, Case(**case), device, threads())
    for _ in range(WARM_UP):
        seconds_of(run)
    seconds: list[float] = []
    while len(seconds) < repeats and (len(seconds) < 2 or sum(seconds) < LONGEST):
        seconds.append(seconds_of(run))
    return {"seconds": seconds, "threads": run.threads()}


def seconds_of(run: ScratchRun | TorchRun) -> float:
    """The time of one call. A GPU runs behind, so it is waited for on both sides. (CUDA events, which leave out the
    time until the GPU begins, would go here.)"""
    run.synchronize()
    start = time.perf_counter()
    run()
    run.synchronize()
    return time.perf_counter() - start


def measure_memory(library: str, case: dict[str, Any], device: str) -> dict[str, Any]:
    """Bytes in use once the network stands ("base"), and at most while it is called ("peak")."""
    from . import memory

    run = make_run(library, Case(**case), device, threads())
    memory.give_back_freed()
    memory.forget_peak()
    base = memory.resident()
    for _ in range(3):
        run()
    return {"base": base, "peak": memory.peak()}


def examine(case: dict[str, Any], device: str, against_torch: bool) -> dict[str, Any]:
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
        theirs = TorchRun(Case(**case), device, threads())
        facts["differences"] = largest_differences(results, theirs.results(theirs()))
    return facts


def measure_per_op(case: dict[str, Any], device: str, repeats: int) -> dict[str, Any]:
    """The rows of the per-op table."""
    from .per_op import measure_ops

    rows = measure_ops(ScratchRun(Case(**case), device), repeats)
    return {"rows": [vars(row) for row in rows]}


def measure_machine(device: str) -> dict[str, Any]:
    """Floors, and the number of threads in effect in our products."""
    from .floors import measure_floors
    from .machine import blas_threads

    return {**measure_floors(device), "blas_threads": blas_threads()}


def measure_pipeline(**settings: Any) -> dict[str, Any]:
    """The training loop against its step; see pipeline.py."""
    from .pipeline import measure_loop

    return measure_loop(**settings)


TASKS = {
    "time": measure_time,
    "memory": measure_memory,
    "examine": examine,
    "per_op": measure_per_op,
    "machine": measure_machine,
    "pipeline": measure_pipeline,
}


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
            result = TASKS[job.pop("task")](**job)
    except Exception as error:
        result = {"error": failure(error)}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
