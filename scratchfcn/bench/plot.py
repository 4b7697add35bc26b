"""Pictures of a benchmark: both libraries' times, each op against its floor, memory, and growth with the image.

Like plots.py, this imports matplotlib only when something is drawn, and never pyplot.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..files import replacing
from ..plots import BLUE, DPI, GREEN, GREY, ORANGE
from .words import milliseconds

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SOFTWARE = "scratchfcn bench"  # written into the PNG, so that a later run knows it may be replaced
COLOURS = {"scratchfcn": BLUE, "torch": ORANGE}
LABELS = {"scratchfcn": "scratchfcn", "torch": "PyTorch"}
MOST_OPS = 16


def draw(results: dict[str, Any], path: Path) -> None:
    """A panel for each part of the results (as --json has them) that can be drawn."""
    from matplotlib.figure import Figure

    panels = panels_of(results)
    heights = [height for _, height in panels]
    figure = Figure(figsize=(9, sum(heights)), layout="constrained")
    all_axes = figure.subplots(len(panels), 1, squeeze=False, gridspec_kw={"height_ratios": heights})[:, 0]
    for (panel, _), axes in zip(panels, all_axes, strict=True):
        panel(axes)
        axes.spines[["top", "right"]].set_visible(False)
    if gpu := on_what(results):
        figure.suptitle(gpu, fontsize=10, x=0.01, ha="left")
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=DPI, metadata={"Software": SOFTWARE})


def on_what(results: dict[str, Any]) -> str:
    """The GPU and its precision, as the picture's title; empty on a CPU."""
    gpu = results.get("machine", {}).get("gpu")
    return f"{gpu['name']}, {'TF32' if gpu['tf32'] else 'float32'}" if gpu else ""


def panels_of(results: dict[str, Any]) -> list[tuple[Callable[[Axes], None], float]]:
    """What to draw, and how many inches high."""
    panels: list[tuple[Callable[[Axes], None], float]] = []
    if times := results.get("times"):
        panels.append((lambda axes: draw_times(axes, times), 1.2 + 0.55 * len(times)))
    for ops in results.get("ops", []):
        panels.append((lambda axes, ops=ops: draw_ops(axes, ops), 1.4 + 0.26 * min(MOST_OPS, len(ops["rows"]))))
    if memory := results.get("memory"):
        panels.append((lambda axes: draw_memory(axes, memory), 1.2 + 0.55 * len(memory)))
    if scaling := results.get("scaling"):
        panels.append((lambda axes: draw_scaling(axes, scaling), 3.5))
    if pipeline := results.get("pipeline"):
        panels.append((lambda axes: draw_pipeline(axes, pipeline), 2.2))
    return panels


def draw_times(axes: Axes, times: list[dict[str, Any]]) -> None:
    """A pair of bars per case; logarithmic where cases differ by more than a few times."""
    for row, measured in enumerate(times):
        for i, (library, result) in enumerate(measured["libraries"].items()):
            value = 1000 * result["median_s"]
            bar(axes, row, i, len(measured["libraries"]), value, COLOURS[library], f"{milliseconds(value / 1000)} ms")
        if measured["ratio"]:
            axes.annotate(
                f"ratio {measured['ratio']:.2f}", (1, row), xycoords=("axes fraction", "data"), ha="right", va="center"
            )
    values = [1000 * r["median_s"] for m in times for r in m["libraries"].values()]
    if max(values) > 8 * min(values):
        axes.set_xscale("log")
        axes.set_xlim(min(values) / 3, max(values) * 6)
    else:
        axes.set_xlim(0, max(values) * 1.35)
    name_rows(axes, [measured["name"] for measured in times])
    without_waiting = ", one after the other without waiting" if "gpu" in times[0] else ""
    axes.set_xlabel(f"milliseconds a call{without_waiting} (median)")
    legend(axes, times[0]["libraries"])


def draw_memory(axes: Axes, memory: list[dict[str, Any]]) -> None:
    """A pair of bars per case: the peak, the part that was there before the call lighter."""
    for row, measured in enumerate(memory):
        for i, (library, m) in enumerate(measured["libraries"].items()):
            count = len(measured["libraries"])
            bar(axes, row, i, count, m["peak"] / 1e6, COLOURS[library], f"{m['peak'] / 1e6:,.0f} MB")
            bar(axes, row, i, count, m["base"] / 1e6, "#ffffff99", "")
    axes.set_xlim(0, max(m["peak"] for x in memory for m in x["libraries"].values()) / 1e6 * 1.2)
    name_rows(axes, [measured["name"] for measured in memory])
    what = "memory of arrays on the GPU" if "reserved" in memory[0]["libraries"]["scratchfcn"] else "resident memory"
    axes.set_xlabel(f"peak {what} in MB (light: before the call)")
    legend(axes, memory[0]["libraries"])


def draw_ops(axes: Axes, ops: dict[str, Any]) -> None:
    """The slowest ops, and what no op accounts for, in the order of the network: forward, then backward, and the floor
    as a line."""
    slowest = sorted(ops["rows"], key=lambda row: (row["op"] != "other", -row["seconds"]))[:MOST_OPS]
    rows = [row for row in ops["rows"] if row in slowest]
    trains = any(row["backward_s"] for row in ops["rows"])
    for i, row in enumerate(rows):
        forward, backward, floor = (1000 * row[key] for key in ("forward_s", "backward_s", "floor_s"))
        axes.barh(i, forward, 0.7, color=BLUE, label="forward" if i == 0 else None)
        axes.barh(i, backward, 0.7, left=forward, color=GREEN, label="backward" if i == 0 and trains else None)
        if floor:
            axes.plot([floor, floor], [i - 0.42, i + 0.42], color="black", linewidth=2)
        if theirs := row.get("torch_forward_s"):
            theirs = 1000 * (theirs + (row["torch_backward_s"] or 0.0))
            axes.plot([theirs, theirs], [i - 0.42, i + 0.42], color=ORANGE, linewidth=2)
    axes.plot([], [], color="black", linewidth=2, label="floor: the least time this machine needs")
    if any(row.get("torch_forward_s") is not None for row in rows):
        axes.plot([], [], color=ORANGE, linewidth=2, label="PyTorch, forward and backward")
    name_rows(axes, [f"{row['op']} {row['layer']}" for row in rows], size=8)
    cut = f": the slowest {len(rows)} of {len(ops['rows'])} ops" if len(rows) < len(ops["rows"]) else ""
    axes.set_title(f"{ops['name']}, op by op{cut}", loc="left", fontsize=10)
    axes.set_xlabel("milliseconds")
    axes.legend(frameon=False, fontsize=8, loc="best")


def draw_scaling(axes: Axes, scaling: list[dict[str, Any]]) -> None:
    """Time by number of pixels, both logarithmic, with a line of slope 1."""
    pixels = [s["case"]["N"] * s["case"]["H"] * s["case"]["W"] for s in scaling]
    for library in scaling[0]["libraries"]:
        seconds = [1000 * s["libraries"][library]["median_s"] for s in scaling]
        axes.loglog(pixels, seconds, color=COLOURS[library], marker="o", label=LABELS[library])
        linear = [seconds[0] * p / pixels[0] for p in pixels]
        axes.loglog(pixels, linear, color=GREY, linestyle=":", label="linear" if library == "scratchfcn" else None)
    axes.set_xticks(pixels, [f"{s['case']['H']}x{s['case']['W']}" for s in scaling])
    axes.minorticks_off()
    axes.set_xlabel(f"size of the image ({scaling[0]['case']['model']})")
    axes.set_ylabel("milliseconds")
    axes.legend(frameon=False, fontsize=9)


def draw_pipeline(axes: Axes, pipeline: dict[str, Any]) -> None:
    """The step's own rate and the loop's, per pass."""
    summary = pipeline["summary"]
    for row, s in enumerate(summary.values()):
        for i, (key, colour) in enumerate((("step_rate", GREY), ("loop_rate", BLUE))):
            bar(axes, row, i, 2, s[key], colour, f"{s[key]:.3g}")
    name_rows(axes, list(summary))
    axes.set_xlabel("images/s: the step alone (grey) and the training loop (blue)")


def bar(axes: Axes, row: int, i: int, count: int, value: float, colour: str, text: str) -> None:
    """Bar number `i` of `count` in a row, with its value behind it."""
    height = 0.7 / count
    y = row - 0.35 + height * (i + 0.5)
    axes.barh(y, value, 0.9 * height, color=colour)
    axes.annotate(text, (value, y), xytext=(4, 0), textcoords="offset points", va="center", fontsize=8)


def name_rows(axes: Axes, names: list[str], size: int = 9) -> None:
    """The first row on top."""
    axes.set_yticks(range(len(names)), names, fontsize=size)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)


def legend(axes: Axes, libraries: Any) -> None:
    """The two libraries' colours, above the bars."""
    from matplotlib.patches import Patch

    handles = [Patch(color=COLOURS[library], label=LABELS[library]) for library in libraries]
    axes.legend(handles=handles, frameon=False, fontsize=9, ncols=2, loc="lower left", bbox_to_anchor=(0, 1))
