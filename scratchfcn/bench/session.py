"""One run of `scratchfcn bench`: measures part after part, prints each when it is done, and keeps all for --json."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from ..files import replacing
from . import report, suite
from .cases import BenchError, Case
from .machine import OtherWork, describe_machine
from .per_op import Row

FORMAT = "scratchfcn bench 1"  # stands in the JSON file, so that a later run knows it may be replaced

PARTS = ("times", "memory", "scaling", "pipeline")  # of the results, beside "ops"
DISTURBED = 0.15  # cores that others may use before it is worth a warning
UNSTEADY = 1.3  # the machine's fastest product, later, over what it was before
IN_A_FILE = 160  # columns: room for whole tables


class Session:
    """Measures with `settings`, prints to `console`; torch_line is what is to be said of PyTorch."""

    def __init__(self, settings: suite.Settings, console: Console, torch_line: str) -> None:
        self.settings, self.console, self.torch_line = settings, console, torch_line
        self.results: dict[str, Any] = {"format": FORMAT}
        self.floors: dict[str, float] = {}
        self.rows: list[tuple[Case, list[Row]]] = []  # what `ops` measured

    @classmethod
    @contextmanager
    def on_terminal(cls, settings: suite.Settings, torch_line: str) -> Iterator[Session]:
        """A session that prints to the terminal, and shows there what is being measured."""
        console = Console(highlight=False, markup=False)
        if not console.is_terminal:
            console = Console(highlight=False, markup=False, width=IN_A_FILE)
        with console.status("starting …") as status:
            yield cls(replace(settings, say=status.update), console, torch_line)

    def start(self) -> None:
        """Measure the machine, and say what it is."""
        settings, watch, torch_line = self.settings, OtherWork(), self.torch_line
        how = {name: getattr(settings, name) for name in ("threads", "device", "rounds", "repeats", "against_torch")}
        machine = describe_machine(settings.threads, settings.device)
        if settings.device != "cpu":
            machine["gpu"] |= {"tf32": settings.tf32}
            how |= {"tf32": settings.tf32, "graph": settings.graph}
            if settings.against_torch:
                machine["torch_gpu"] = suite.describe_torch(settings)
                torch_line = report.torch_on_gpu(torch_line, machine["torch_gpu"], settings.tf32)
        self.floors = suite.measure_floors(settings)
        self.results |= {"machine": machine, "floors": self.floors, "settings": how}
        self.say(report.machine_lines(machine, self.floors, settings, torch_line))
        self.tell_of_others("floors", watch)

    def times(self, cases: Sequence[Case], per_op: bool | None) -> None:
        """Both libraries' times; then, op by op, the first case, all (per_op True) or none (False)."""
        watch = OtherWork()
        comparisons = [suite.compare(self.settings, case) for case in cases]
        self.measure_floors_again()
        self.results.setdefault("times", []).extend(c.to_plain() for c in comparisons)
        table = report.times_table(comparisons, self.floors, self.console.width, self.settings.graph_rows)
        self.console.print("", table)
        self.say(report.times_lines(comparisons, self.floors, self.settings))
        self.tell_of_others("times", watch)
        for case in cases if per_op else cases[: per_op is None]:
            self.ops(case)

    def ops(self, case: Case) -> None:
        """A case, op by op."""
        watch = OtherWork()
        rows = suite.measure_per_op(self.settings, case)
        self.measure_floors_again(max((row.flop / row.product_s for row in rows if row.product_s), default=0.0))
        self.rows.append((case, rows))
        self.console.print("", report.ops_table(case, rows, self.floors, self.console.width))
        self.say(report.ops_lines(rows, self.floors))
        self.tell_of_others("ops", watch)

    def memory(self, cases: Sequence[Case]) -> None:
        """Peak memory of every case."""
        measured = [(case, suite.measure_memory(self.settings, case)) for case in cases]
        self.results["memory"] = [
            {"name": case.name, "case": case.to_plain(), "libraries": memory} for case, memory in measured
        ]
        self.console.print("", report.memory_table(measured, self.console.width))
        self.say([report.memory_line(measured)])

    def scaling(self, cases: Sequence[Case]) -> None:
        """Time and memory of the same inference at growing sizes."""
        watch = OtherWork()
        comparisons = [suite.compare(self.settings, case) for case in cases]
        memories = [suite.measure_memory(self.settings, case) for case in cases]
        self.results["scaling"] = [
            c.to_plain() | {"memory": memory} for c, memory in zip(comparisons, memories, strict=True)
        ]
        self.console.print("", report.scaling_table(comparisons, memories, self.console.width))
        self.say([report.scaling_line(comparisons)])
        self.tell_of_others("scaling", watch)

    def pipeline(self, config: dict[str, Any]) -> None:
        """The training loop against its step."""
        watch = OtherWork()
        result = suite.measure_pipeline(self.settings, config)
        self.results["pipeline"] = result
        self.console.print("", report.pipeline_table(result, self.console.width))
        self.say(report.pipeline_lines(result))
        self.tell_of_others("pipeline", watch)

    def write(self, json_file: Path | None, plot_file: Path | None) -> None:
        """The files that were asked for. All floors in them are the last ones, which are the fastest."""
        if self.rows:
            self.results["ops"] = [report.ops_plain(case, rows, self.floors) for case, rows in self.rows]
        if json_file is not None:
            with replacing(json_file) as temporary:
                temporary.write_text(as_json(self.results) + "\n", encoding="utf-8")
            self.say([f"numbers  {json_file}"])
        if plot_file is not None:
            from .plot import draw

            draw(self.results, plot_file)
            self.say([f"picture  {plot_file}"])

    @property
    def has_results(self) -> bool:
        """Whether anything has been measured beside the machine."""
        return bool(self.rows) or any(self.results.get(part) for part in PARTS)

    def measure_floors_again(self, product: float = 0.0) -> None:
        """Keep the fastest of what was measured before and now, or `product`: a floor is what can be reached at all.
        Where the two differ much, the machine changed its speed meanwhile; say so."""
        before, now = self.floors, suite.measure_floors(self.settings)
        self.floors = {
            **now,
            "flops": max(before["flops"], now["flops"], product),
            "bandwidth": max(before["bandwidth"], now["bandwidth"]),
        }
        if "launch" in now:
            self.floors["launch"] = min(before["launch"], now["launch"])
        self.results["floors"] = self.floors
        if changed := report.floors_changed(before, self.floors):
            self.say([changed])
        speeds = sorted(floors["flops"] for floors in (before, now))
        if speeds[1] > UNSTEADY * speeds[0]:
            self.console.print(Text(report.unsteady(before["flops"], now["flops"]), style="yellow"), soft_wrap=True)

    def tell_of_others(self, part: str, watch: OtherWork) -> None:
        """Warn where other processes have disturbed a measurement; in --json, how much, part by part."""
        cores = watch.cores()
        self.results.setdefault("others_busy_cores", {}).setdefault(part, []).append(cores)
        if cores is not None and cores > DISTURBED:
            self.console.print(Text(report.disturbed(cores), style="yellow"), soft_wrap=True)

    def say(self, lines: Sequence[str]) -> None:
        for line in lines:
            self.console.print(line, soft_wrap=True)


def as_json(results: dict[str, Any]) -> str:
    """With null for what is not a number, which JSON does not know."""

    def finite(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: finite(each) for key, each in value.items()}
        if isinstance(value, list | tuple):
            return [finite(each) for each in value]
        return None if isinstance(value, float) and not math.isfinite(value) else value

    return json.dumps(finite(results), indent=1, ensure_ascii=False, allow_nan=False)


# --- files that are there already -------------------------------------------------------------------------


def refuse_foreign_files(json_file: Path | None, plot_file: Path | None) -> None:
    """BenchError, before anything is measured, where a file would be lost that no benchmark has written."""
    if json_file is not None and plot_file is not None and json_file.resolve() == plot_file.resolve():
        raise BenchError(f"--json and --plot are the same file, {json_file}; give each its own")
    if plot_file is not None and not plot_file.is_dir() and plot_file.suffix.lower() != ".png":
        raise BenchError(f"--plot {plot_file}: a picture is written as a PNG; give a name that ends in .png")
    for option, path, is_ours in (("--json", json_file, is_our_json), ("--plot", plot_file, is_our_picture)):
        if path is None:
            continue
        if not path.exists():
            with replacing(path) as temporary:  # fails now rather than when all has been measured
                temporary.touch()
            path.unlink()
            continue
        if path.is_dir():
            raise BenchError(f"{option} {path} is a folder; give the name of a file")
        if not path.is_file():
            raise BenchError(f"{option} {path} is not an ordinary file; give the name of one")
        if not is_ours(path):
            raise BenchError(
                f"{option} {path} exists and was not written by scratchfcn bench, so it is not overwritten; give "
                "another name, or remove it"
            )


def is_our_json(path: Path) -> bool:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return False
    return isinstance(content, dict) and content.get("format") == FORMAT


def is_our_picture(path: Path) -> bool:
    from PIL import Image, UnidentifiedImageError

    from .plot import SOFTWARE

    try:
        with Image.open(path) as image:
            return image.info.get("Software") == SOFTWARE
    except UnidentifiedImageError:
        return False
