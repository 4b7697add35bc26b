"""Which processes run, and when: two libraries taking turns, round after round.

In every round each library runs once, in a fresh process, so that a busy moment of the machine hits both. The ratio is
the median of the rounds' ratios, not the ratio of two medians: within a round both have met the same machine.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from ..backend import DeviceError
from .cases import BenchError, Case
from .per_op import Row

LIBRARIES = {"scratchfcn": "scratchfcn", "torch": "PyTorch"}
THREADS = ("SCRATCHFCN_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class Settings:
    """How everything is measured. against_torch: whether PyTorch takes part. say: told what runs now.

    Of a GPU alone: tf32, whether products may be rounded to TF32; graph, whether a CUDA graph is measured too, and
    graph_rows, whether it gets a row of its own.
    """

    threads: int
    device: str = "cpu"
    against_torch: bool = True
    rounds: int = 5
    repeats: int = 10
    say: Callable[[str], None] = lambda text: None
    tf32: bool = False
    graph: bool = True
    graph_rows: bool = False

    @property
    def libraries(self) -> list[str]:
        return ["scratchfcn", *["torch"] * self.against_torch]


# --- one process ------------------------------------------------------------------------------------------


def in_a_process(settings: Settings, task: str, what: str, **job: Any) -> dict[str, Any]:
    """Do a task of worker.py in a fresh process with its own number of threads, and return its result.

    what: named in errors. Errors: those of the task, raised here: MemoryError, DeviceError, BenchError for what the
    user can mend, RuntimeError with the process's own traceback for the rest.
    """
    environment = os.environ | dict.fromkeys(THREADS, str(settings.threads))
    task_and_how = {"task": task, "tf32": settings.tf32}
    command = [sys.executable, "-m", "scratchfcn.bench.worker", json.dumps({**task_and_how, **job})]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode == -9:  # killed, which is how Linux ends a process that asks for too much memory
        raise MemoryError(f"{what}: the system stopped the process, most likely for the memory it took")
    try:
        result = json.loads(done.stdout)
    except ValueError:
        raise RuntimeError(f"{what}: the measuring process ended with {done.returncode}:\n{done.stderr}") from None
    if "error" in result:
        raise_again(what, **result["error"])
    return result


def raise_again(what: str, kind: str, message: str) -> None:
    """Raise what went wrong in a worker; see worker.failure."""
    if kind == "memory":
        raise MemoryError(f"{what}: {message}" if message else what)
    if kind == "device":
        raise DeviceError(message)
    if kind == "user":
        raise BenchError(message if message.startswith("✗") else f"{what}: {message}")
    raise RuntimeError(f"{what}: the measuring process failed\n{message}")


# --- times ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Comparison:
    """The times of a case. rounds: library → the seconds of every call, round by round. work: see worker.examine.

    On a GPU these are seconds from one call to the next, in a loop that waits only at its end; gpu: library → what else
    each round has found, see worker.gpu_times.
    """

    case: Case
    rounds: dict[str, list[list[float]]]
    threads: dict[str, int]
    work: dict[str, Any]
    gpu: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def seconds(self, library: str = "scratchfcn") -> float:
        """The median over the rounds of a round's median; NaN for a library that took no part."""
        return median(self.medians(library)) if library in self.rounds else float("nan")

    def best(self, library: str = "scratchfcn") -> float:
        """The fastest call of all."""
        return min(min(calls) for calls in self.rounds[library])

    def medians(self, library: str) -> list[float]:
        return [median(calls) for calls in self.rounds[library]]

    @property
    def ratios(self) -> list[float]:
        """Our time over PyTorch's, round by round; empty without PyTorch."""
        if "torch" not in self.rounds:
            return []
        return quotients(self.medians("scratchfcn"), self.medians("torch"))

    @property
    def ratio(self) -> float:
        return median(self.ratios) if self.ratios else float("nan")

    # of a GPU alone

    def others(self, key: str, library: str = "scratchfcn") -> list[float]:
        """Round by round, the median of what else was found under `key`; empty where a round has found nothing."""
        found = [values.get(key) for values in self.gpu.get(library, [])]
        return [median(values) for values in found] if all(found) else []

    @property
    def event_ratio(self) -> float:
        """The ratio by CUDA events instead of the host's clock."""
        ratios = quotients(self.others("event_seconds"), self.others("event_seconds", "torch"))
        return median(ratios) if ratios else float("nan")

    @property
    def graph_ratios(self) -> list[float]:
        """Our step as a CUDA graph over PyTorch's as it is; empty without the one or the other."""
        theirs = self.medians("torch") if "torch" in self.rounds else []
        return quotients(self.others("graph_seconds"), theirs)

    @property
    def busy(self) -> float:
        """The share of the time during which the GPU works: the same call as a CUDA graph, which Python need not
        launch kernel by kernel, over the call itself. NaN where it was not measured."""
        shares = quotients(self.others("graph_seconds"), self.medians("scratchfcn"))
        return min(1.0, median(shares)) if shares else float("nan")

    @property
    def graph_problem(self) -> str:
        """Why the call could not be recorded as a CUDA graph; empty where it could, or was not asked to be."""
        return next((r["graph_problem"] for r in self.gpu.get("scratchfcn", []) if r.get("graph_problem")), "")

    def to_plain(self) -> dict[str, Any]:
        plain = {"name": self.case.name, "case": self.case.to_plain(), "threads": self.threads, **self.work}
        plain["libraries"] = {
            library: {"median_s": self.seconds(library), "min_s": self.best(library), "rounds_s": self.rounds[library]}
            for library in self.rounds
        }
        plain |= {"ratios": self.ratios, "ratio": self.ratio if self.ratios else None}
        if not self.gpu:
            return plain
        found = {"event_ratio": self.event_ratio, "graph_ratios": self.graph_ratios, "busy": self.busy}
        return plain | {"gpu": {"rounds": self.gpu, **found}}


def quotients(a: Sequence[float], b: Sequence[float]) -> list[float]:
    """a over b, round by round; empty where one of the two is."""
    return [x / y for x, y in zip(a, b, strict=True)] if a and b else []


def compare(settings: Settings, case: Case) -> Comparison:
    """Time a case in both libraries, by turns, after a look at what it amounts to."""
    settings.say(f"{case.name}: counting its work")
    work = in_a_process(
        settings,
        "examine",
        case.name,
        case=case.to_plain(),
        device=settings.device,
        against_torch=settings.against_torch,
    )
    rounds: dict[str, list[list[float]]] = {library: [] for library in settings.libraries}
    threads: dict[str, int] = {}
    gpu: dict[str, list[dict[str, Any]]] = {}
    for i in range(settings.rounds):
        for library in settings.libraries[:: -1 if i % 2 else 1]:  # first and second by turns, too
            settings.say(f"{case.name}: round {i + 1} of {settings.rounds}, {LIBRARIES[library]}")
            job = {"library": library, "case": case.to_plain(), "device": settings.device, "repeats": settings.repeats}
            graph = {"graph": settings.graph} if library == "scratchfcn" and settings.device != "cpu" else {}
            result = in_a_process(settings, "time", case.name, **job, **graph)
            rounds[library].append(result.pop("seconds"))
            threads[library] = result.pop("threads")
            if result:
                gpu.setdefault(library, []).append(result)
    return Comparison(case, rounds, threads, work, gpu)


# --- everything else --------------------------------------------------------------------------------------


def describe_torch(settings: Settings) -> dict[str, Any]:
    """How PyTorch uses the GPU. Errors: DeviceError where it cannot."""
    settings.say("PyTorch")
    return in_a_process(settings, "torch", "PyTorch", device=settings.device)


def measure_floors(settings: Settings) -> dict[str, float]:
    """The machine's fastest product and copy; see floors.py."""
    settings.say("the machine's fastest matrix product and copy")
    return in_a_process(settings, "machine", "floors", device=settings.device)


def measure_memory(settings: Settings, case: Case) -> dict[str, dict[str, int]]:
    """Library → {"base", "peak"} in bytes: with the network in place, and at most while it runs. On a GPU, its memory,
    and "reserved": what the library has taken for that."""
    result = {}
    for library in settings.libraries:
        settings.say(f"{case.name}: memory, {LIBRARIES[library]}")
        job = {"library": library, "case": case.to_plain(), "device": settings.device}
        result[library] = in_a_process(settings, "memory", case.name, **job)
    return result


def measure_per_op(settings: Settings, case: Case) -> list[Row]:
    """The rows of a case's per-op table, with PyTorch's times of the same ops."""
    settings.say(f"{case.name}: op by op")
    job = {"device": settings.device, "repeats": settings.repeats}
    result = in_a_process(settings, "per_op", case.name, case=case.to_plain(), **job)
    rows = [Row(**{**row, "output": tuple(row["output"])}) for row in result["rows"]]
    if settings.against_torch:
        settings.say(f"{case.name}: op by op, PyTorch")
        theirs = in_a_process(settings, "torch_ops", case.name, specs=[row.spec for row in rows], **job)
        for row, times in zip(rows, theirs["seconds"], strict=True):
            if times is not None:
                row.torch_forward_s, row.torch_backward_s = times
    return rows


def measure_pipeline(settings: Settings, config: dict[str, Any]) -> dict[str, Any]:
    """The training loop against its step, with each pass's rates and shares; see pipeline.py."""
    settings.say(f"{config['data']}: the training loop against its step")
    job = {"config": config, "device": settings.device, "rounds": settings.rounds, "steps": settings.repeats}
    result = in_a_process(settings, "pipeline", str(config["data"]), **job)
    return {**result, "summary": {name: fed(rounds, result["images"]) for name, rounds in result["passes"].items()}}


def fed(rounds: Sequence[dict[str, float]], images: int) -> dict[str, float]:
    """The rates of one pass in images/s, the loop's share of the step's own rate, and the share spent waiting."""
    return {
        "step_rate": median(images / r["step"] for r in rounds),
        "loop_rate": median(images / r["loop"] for r in rounds),
        "share": median(r["step"] / r["loop"] for r in rounds),
        "waiting": median(r["waiting"] / r["loop"] for r in rounds),
    }
