"""The tables, and the sentences below them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from .cases import Case
from .per_op import Row
from .suite import Comparison, Settings
from .words import bound, floor_seconds, milliseconds

WIDE = 110  # columns of a terminal that has room for everything
SHOWN_SHARE = 0.01  # of the step; smaller ops are added up in one line
KINK = 1e-4  # gradients differ by less, unless rounding has turned a ReLU on or off
UNSTEADY = 1.4  # the largest ratio of a round over the smallest
PIPELINE_FED = 0.9  # of the step's own rate


def new_table(title: str, *headings: str, words: int = 1) -> Table:
    """A table whose first `words` columns are text, folded where the terminal is narrow, and the others numbers."""
    table = Table(title=Text(title), title_justify="left", title_style="bold", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for i, heading in enumerate(headings):
        text = i < words
        table.add_column(heading, justify="left" if text else "right", overflow="fold", min_width=12 if text else None)
    return table


def short(layer: str) -> str:
    """A layer's name as the tables have room for it."""
    return layer.replace("backbone.", "")


# --- the machine ------------------------------------------------------------------------------------------


def machine_lines(machine: dict[str, Any], floors: dict[str, float], settings: Settings, torch: str) -> list[str]:
    """On what all is measured. torch: what is to be said of PyTorch."""
    return [
        f"{machine['processor']}, {machine['cores']} cores, {machine['system']}, device {settings.device}",
        f"scratchfcn {machine['scratchfcn']}, Python {machine['python']}, NumPy {machine['numpy']}, {machine['blas']}",
        torch,
        f"{plural(settings.threads, 'thread')} for each library ({floors['blas_threads']} in NumPy's matrix products)",
        f"measured here: matrix products {floors['flops'] / 1e9:,.0f} GFLOP/s, memory "
        f"{floors['bandwidth'] / 1e9:.1f} GB/s (float32; copies of large arrays, read and written)",
    ]


def disturbed(cores: float) -> str:
    """Of a measurement beside other work."""
    return (
        f"warning: other processes used {cores:.1f} cores meanwhile, so these numbers are too slow, PyTorch's most of "
        "all; repeat this when the machine is idle"
    )


def unsteady(before: float, now: float) -> str:
    """Of a machine that did not keep its speed."""
    return (
        f"warning: this machine multiplied at {before / 1e9:,.0f} GFLOP/s before this measurement and at "
        f"{now / 1e9:,.0f} after it, so times of one round cannot be compared with those of another (a virtual machine "
        "shares its processor with others; a laptop slows down when it is hot); the faster is the floor"
    )


def plural(count: int, word: str) -> str:
    return f"{count} {word}{'s' * (count != 1)}"


# --- times ------------------------------------------------------------------------------------------------


def times_table(comparisons: Sequence[Comparison], floors: dict[str, float], width: int = WIDE) -> Table:
    """A row per case: both libraries, their ratio, and the floors. width: of the terminal."""
    extra = ["range", "images/s"] * (width >= WIDE)
    headings = ["case", "scratchfcn", "PyTorch", "ratio", *extra, "GEMM floor", "memory floor"]
    table = new_table("milliseconds a call (medians)", *headings)
    for c in comparisons:
        ratio, ratios = "–", "–"
        if c.ratios:
            ratio, ratios = f"{c.ratio:.2f}", f"{min(c.ratios):.2f}–{max(c.ratios):.2f}"
        table.add_row(
            Text(c.case.name),
            milliseconds(c.seconds()),
            milliseconds(c.seconds("torch")) if c.ratios else "–",
            ratio,
            *[ratios, f"{c.case.N / c.seconds():.3g}"][: len(extra)],
            milliseconds(c.work["flop"] / floors["flops"]),
            milliseconds(c.work["least_bytes"] / floors["bandwidth"]),
        )
    return table


def times_lines(comparisons: Sequence[Comparison], floors: dict[str, float], settings: Settings) -> list[str]:
    """What the table means."""
    lines = [
        f"{plural(settings.rounds, 'round')} of up to {settings.repeats} calls, the libraries by turns, each in a "
        "process of its own; ratio = our time / PyTorch's, the median of the rounds'",
        "GEMM floor: the case's multiplications at the speed of the fastest matrix product; memory floor: every op "
        "reads its inputs once and writes its outputs once",
    ]
    for c in comparisons:
        speed = c.work["flop"] / c.seconds()
        lines.append(
            f"{c.case.name}: {c.work['flop'] / 1e9:,.3g} GFLOP at {speed / 1e9:,.0f} GFLOP/s, "
            f"{speed / floors['flops']:.0%} of what this machine can multiply"
        )
        if c.work["differences"]:
            found = " and ".join(f"{what} by {value:.0e}" for what, value in c.work["differences"].items())
            lines.append(f"  same weights, same images: PyTorch's results differ in {found} of the largest")
            if c.work["differences"].get("gradients", 0) > KINK:
                lines.append("  (a value next to a kink, of a ReLU or a maximum, was rounded to the other side of it)")
        if c.ratios and max(c.ratios) > UNSTEADY * min(c.ratios):
            lines.append(
                "  warning: the rounds differ widely: the machine was busy, or shares its processor; repeat this"
            )
        if len(set(c.threads.values())) > 1:
            counts = ", ".join(f"{library} {number}" for library, number in c.threads.items())
            lines.append(f"  warning: unequal numbers of threads ({counts}): the ratio says little")
    return lines


# --- ops --------------------------------------------------------------------------------------------------


def ops_table(case: Case, rows: Sequence[Row], floors: dict[str, float], width: int = WIDE) -> Table:
    """A row per op that takes at least a hundredth of the whole; the others in one line. width: of the terminal."""
    wide = width >= WIDE
    headings = ["op", "layer", "forward", "backward", "share", "GFLOP/s", "floor", "× floor"]
    table = new_table(f"{case.name}, op by op (milliseconds)", *headings, *["product", "output"] * wide, words=2)
    whole = sum(row.seconds for row in rows)
    shown, small = large_and_small(rows)
    for row in shown:
        extra = [product_cell([row]), "x".join(map(str, row.output))] * wide
        table.add_row(Text(row.op), Text(short(row.layer)), *numbers([row], whole, floors), *extra)
    if small:
        table.add_row(f"{len(small)} smaller", "", *numbers(small, whole, floors), *[product_cell(small)] * wide)
    table.add_section()
    table.add_row("sum", "", *numbers(rows, whole, floors), *[product_cell(rows)] * wide)
    return table


def numbers(rows: Sequence[Row], whole: float, floors: dict[str, float]) -> list[str]:
    """The numeric cells of a row, or of several added up."""
    forward, backward = sum(row.forward_s for row in rows), sum(row.backward_s for row in rows)
    flop, floor = sum(row.flop for row in rows), sum(floor_seconds(row, floors) for row in rows)
    return [
        milliseconds(forward) if forward else "",
        milliseconds(backward) if backward else "",
        f"{(forward + backward) / whole:.1%}",
        f"{flop / (forward + backward) / 1e9:.0f}" if flop else "",
        milliseconds(floor) if floor else "",
        f"{(forward + backward) / floor:.1f}" if floor else "",
    ]


def product_cell(rows: Sequence[Row]) -> str:
    """The time of the rows' matrix products alone."""
    seconds = sum(row.product_s or 0.0 for row in rows)
    return milliseconds(seconds) if seconds else ""


def large_and_small(rows: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """The rows worth a line, and the others. "other" and the optimiser always are."""
    whole = sum(row.seconds for row in rows)
    large = [row for row in rows if row.seconds >= SHOWN_SHARE * whole or row.op in ("other", "sgd")]
    return large, [row for row in rows if row not in large]


def ops_lines(rows: Sequence[Row], floors: dict[str, float], most: int = 12) -> list[str]:
    """What bounds each of the slowest ops, the slowest first."""
    whole = sum(row.seconds for row in rows)
    lines = [
        "product: the op's matrix products alone, at their own sizes; floor: its multiplications, or its bytes, at the "
        "machine's best, whichever takes longer",
        "what bounds the slowest:",
    ]
    slowest = sorted(large_and_small(rows)[0], key=lambda row: -row.seconds)[:most]
    lines += [f"  {row.seconds / whole:5.1%}  {row.op} {short(row.layer)}: {bound(row, floors)}" for row in slowest]
    return lines


def ops_plain(case: Case, rows: Sequence[Row], floors: dict[str, float]) -> dict[str, Any]:
    """The same for --json, complete."""
    whole = sum(row.seconds for row in rows)
    plain = []
    for row in rows:
        floor = floor_seconds(row, floors)
        derived = {
            "seconds": row.seconds,
            "share": row.seconds / whole,
            "flop_per_s": row.flop / row.seconds if row.seconds else 0.0,
            "floor_s": floor,
            "distance": row.seconds / floor if floor else None,
            "bound": bound(row, floors),
        }
        plain.append(vars(row) | derived)
    return {"name": case.name, "case": case.to_plain(), "seconds": whole, "rows": plain}


# --- memory and scaling -----------------------------------------------------------------------------------

Memory = dict[str, dict[str, int]]  # library → base and peak, in bytes


def memory_table(measured: Sequence[tuple[Case, Memory]]) -> Table:
    """A row per case: what it takes at most, and how much of that is the network and the libraries themselves."""
    table = new_table(
        "memory (MB)", "case", "scratchfcn peak", "of it for the call", "PyTorch peak", "of it for the call", "ratio"
    )
    for case, memory in measured:
        ours, torch = memory["scratchfcn"], memory.get("torch")
        theirs = [f"{torch['peak'] / 1e6:,.0f}", f"{growth(torch) / 1e6:,.0f}"] if torch else ["–", "–"]
        ratio = f"{growth(ours) / growth(torch):.2f}" if torch and growth(torch) else "–"
        table.add_row(Text(case.name), f"{ours['peak'] / 1e6:,.0f}", f"{growth(ours) / 1e6:,.0f}", *theirs, ratio)
    return table


def growth(memory: dict[str, int]) -> int:
    """What the call itself takes: beyond the interpreter, the libraries, the weights and the images."""
    return memory["peak"] - memory["base"]


MEMORY_LINE = (
    "peak: resident memory of the whole process, at most; for the call: what it grew by once the network and the "
    "images were in place; ratio: of the latter"
)


def scaling_table(comparisons: Sequence[Comparison], memories: Sequence[Memory]) -> Table:
    """A row per size, with the growth of time and memory from the row above."""
    both = bool(comparisons[0].ratios)
    headings = ["case", "pixels", "×", "scratchfcn ms", "×", "peak MB", "×"]
    table = new_table("what more pixels cost", *headings, *["PyTorch ms", "×", "peak MB", "×"] * both)
    for i, (c, memory) in enumerate(zip(comparisons, memories, strict=True)):
        cells = [f"{c.case.pixels:,}", times([x.case.pixels for x in comparisons], i)]
        for library in c.rounds:
            cells += [milliseconds(c.seconds(library)), times([x.seconds(library) for x in comparisons], i)]
            cells += [f"{memory[library]['peak'] / 1e6:,.0f}", times([m[library]["peak"] for m in memories], i)]
        table.add_row(Text(c.case.name), *cells)
    return table


def times(values: Sequence[float], i: int) -> str:
    """How many times the value before."""
    return f"{values[i] / values[i - 1]:.2f}" if i else ""


def scaling_line(comparisons: Sequence[Comparison]) -> str:
    """Is it linear?"""
    first, last = comparisons[0], comparisons[-1]
    pixels, seconds = last.case.pixels / first.case.pixels, last.seconds() / first.seconds()
    if seconds > 1.15 * pixels:
        verdict = "more than linear: larger arrays leave the cache, or memory is short"
    elif seconds < 0.85 * pixels:
        verdict = "less than linear: small images do not fill the machine"
    else:
        verdict = "linear: time is proportional to the number of pixels"
    return f"{pixels:.1f} times the pixels take {seconds:.1f} times the time: {verdict}"


# --- the loader -------------------------------------------------------------------------------------------


def pipeline_table(result: dict[str, Any]) -> Table:
    table = new_table(
        f"images/s of {result['model']} (medians)",
        "pass over the data",
        "step alone",
        "training loop",
        "share",
        "waiting",
    )
    for name, s in result["summary"].items():
        table.add_row(
            name, f"{s['step_rate']:.3g}", f"{s['loop_rate']:.3g}", f"{s['share']:.0%}", f"{s['waiting']:.1%}"
        )
    return table


def pipeline_lines(result: dict[str, Any]) -> list[str]:
    """Does the loader keep up, and if not, what would help?"""
    return [f"{name}: {fed_sentence(summary)}" for name, summary in result["summary"].items()]


def fed_sentence(summary: dict[str, float]) -> str:
    share, waiting = summary["share"], summary["waiting"]
    if share >= PIPELINE_FED:
        return f"the loader keeps the step fed: {min(share, 1):.0%} of the step's own rate"
    if waiting > (1 - share) / 2:
        return (
            f"the step waits for its batch {waiting:.0%} of the time: more --workers, or store the images once at the "
            "size that is trained on"
        )
    return (
        f"{share:.0%} of the step's own rate, though it waits only {waiting:.0%} of the time: loader and step share "
        "the cores; store the images once at the size that is trained on"
    )
