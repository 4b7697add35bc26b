"""The tables, and the sentences below them."""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan
from statistics import median
from typing import Any, NamedTuple

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from .cases import Case
from .per_op import Row
from .suite import LIBRARIES, Comparison, Settings
from .words import THIN, bound, floor_seconds, milliseconds

WIDE = 160  # columns of a terminal that has room for everything
LONGEST_WORD = 14  # of a name, before it is folded within: room for 1x3x1024x2048,
SHOWN_SHARE = 0.01  # of the step; smaller ops are added up in one line
KINK = 1e-4  # gradients differ by less, unless rounding has turned a ReLU on or off
SAME = {"scores": 1e-3, "gradients": 1e-2}  # relative differences above these are no rounding
SAME_TF32 = {"scores": 3e-2, "gradients": 3e-1}  # nor these, where factors have 10 bits of mantissa instead of 23
UNSTEADY = 1.4  # the largest ratio of a round over the smallest
PIPELINE_FED = 0.9  # of the step's own rate


class Column(NamedTuple):
    """heading: with a line break where it may be broken. text: words, which may be folded, rather than a number.
    priority: where the terminal is narrow, the column with the largest goes first; 0 always stays."""

    heading: str
    text: bool = False
    priority: int = 0

    def widths(self, cells: Sequence[str]) -> tuple[int, int]:
        """The least and the most characters that the column has use for."""
        most = max(map(len, [*self.heading.split("\n"), *cells]))
        if not self.text:
            return most, most
        longest = max((len(word) for text in (self.heading, *cells) for word in text.split()), default=1)
        return min(longest, LONGEST_WORD), most


def fitted(title: str, columns: Sequence[Column], rows: Sequence[Sequence[str] | None], width: int) -> Table:
    """A table of the console's `width` at most. Where that is narrow, headings are broken, then words folded, then the
    least important columns left out; numbers stay whole. None among the rows draws a line."""
    cells = [[row[i] for row in rows if row is not None] for i in range(len(columns))]
    unbroken = [column._replace(heading=column.heading.replace("\n", " ")) for column in columns]
    if room(unbroken, cells, width) >= 0:
        columns = unbroken
    kept = list(range(len(columns)))
    while room([columns[i] for i in kept], [cells[i] for i in kept], width) < 0:
        worst = max(kept, key=lambda i: (columns[i].priority, i))
        if columns[worst].priority == 0:
            break
        kept.remove(worst)
    left = max(0, room([columns[i] for i in kept], [cells[i] for i in kept], width))
    table = Table(title=Text(title), title_justify="left", title_style="bold", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for i in kept:
        least, most = columns[i].widths(cells[i])
        size = min(most, least + left)
        left -= size - least
        if columns[i].text:
            table.add_column(columns[i].heading, justify="left", overflow="fold", width=size)
        else:
            table.add_column(columns[i].heading, justify="right", no_wrap=True, width=size)
    for row in rows:
        if row is None:
            table.add_section()
        else:
            table.add_row(*[Text(row[i]) for i in kept])
    return table


def room(columns: Sequence[Column], cells: Sequence[Sequence[str]], width: int) -> int:
    """How many characters are left if every column is as narrow as it can be; negative where they do not fit."""
    between = 2 * len(columns) + 1  # the spaces that SIMPLE_HEAD and the padding put there
    return width - between - sum(column.widths(each)[0] for column, each in zip(columns, cells, strict=True))


def short(layer: str) -> str:
    """A layer's name as the tables have room for it."""
    return layer.replace("backbone.", "")


# --- the machine ------------------------------------------------------------------------------------------


def machine_lines(machine: dict[str, Any], floors: dict[str, float], settings: Settings, torch: str) -> list[str]:
    """On what all is measured. torch: what is to be said of PyTorch."""
    gpu = machine.get("gpu")
    launch = f", {1e6 * floors['launch']:.1f} µs from one empty kernel to the next" if "launch" in floors else ""
    return [
        f"{machine['processor']}, {machine['cores']} cores, {machine['system']}, device {settings.device}",
        *([gpu_line(gpu)] if gpu else []),
        f"scratchfcn {machine['scratchfcn']}, Python {machine['python']}, NumPy {machine['numpy']}, {machine['blas']}",
        torch,
        f"{plural(settings.threads, 'thread')} for each library ({floors['blas_threads']} in NumPy's matrix products)",
        f"measured here: matrix products {floors['flops'] / 1e9:,.0f} GFLOP/s, memory "
        f"{floors['bandwidth'] / 1e9:.1f} GB/s ({'TF32' if settings.tf32 else 'float32'}; copies of large arrays, read "
        f"and written){launch}",
    ]


def gpu_line(gpu: dict[str, Any]) -> str:
    """The GPU, what drives it, and what is switched on."""
    return (
        f"{gpu['name']}, driver {gpu['driver'] or 'unknown'}, CUDA {gpu['cuda']}, CuPy {gpu['cupy']}, "
        f"TF32 {on_off(gpu['tf32'])}, "
        f"kernels {on_off(gpu['kernels'])}"
    )


def torch_on_gpu(torch: str, about: dict[str, Any], tf32: bool) -> str:
    """What is said of PyTorch, with how it uses the GPU. about: see worker.describe_torch."""
    return (
        f"{torch}, CUDA {about['cuda']}, cuDNN {about['cudnn']}: eager, TF32 {on_off(tf32)}, cudnn.benchmark on (the "
        "warm-up, in which it chooses algorithms, does not count)"
    )


def on_off(on: bool) -> str:
    return "on" if on else "off"


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


def floors_changed(before: dict[str, float], now: dict[str, float]) -> str:
    """What the floors below are measured against from now on; empty where nobody would see a difference."""
    texts = [f"{f['flops'] / 1e9:,.0f} GFLOP/s and {f['bandwidth'] / 1e9:.1f} GB/s" for f in (before, now)]
    if texts[0] == texts[1]:
        return ""
    return f"this machine proved faster: floors are now those of {texts[1]}, before {texts[0]}"


def plural(count: int, word: str) -> str:
    return f"{count} {word}{'s' * (count != 1)}"


# --- times ------------------------------------------------------------------------------------------------


def times_table(
    comparisons: Sequence[Comparison], floors: dict[str, float], width: int = WIDE, graph_rows: bool = False
) -> Table:
    """A row per case: both libraries, their ratio, and the floors; below it, if `graph_rows`, one for our call as a
    CUDA graph. width: of the terminal."""
    both, gpu = any(c.ratios for c in comparisons), any(c.gpu for c in comparisons)
    columns = [
        Column("case", text=True),
        Column("scratchfcn"),
        *[Column("PyTorch"), Column("ratio"), Column("range", priority=3)] * both,
        *[Column("ratio by\nevents", priority=2)] * (both and gpu),
        *[Column("GPU busy", priority=3)] * gpu,
        Column("images/s", priority=4),
        Column("GEMM\nfloor", priority=1),
        Column("memory\nfloor"),
    ]
    rows = []
    for c in comparisons:
        floor_cells = [c.work["flop"] / floors["flops"], c.work["least_bytes"] / floors["bandwidth"]]
        least = [milliseconds(seconds) for seconds in floor_cells]
        busy = ["–" if isnan(c.busy) else f"{c.busy:.0%}"] * gpu
        events = ["–" if isnan(c.event_ratio) else f"{c.event_ratio:.2f}"] * (both and gpu)
        against = against_cells(c, c.ratios) if both else []
        rate = f"{c.case.N / c.seconds():.3g}"
        rows.append([c.case.name, milliseconds(c.seconds()), *against, *events, *busy, rate, *least])
        graph = c.others("graph_seconds")
        if graph_rows and graph:
            seconds, nothing = median(graph), [""] * (len(events) + len(busy))
            against = against_cells(c, c.graph_ratios) if both else []
            rate = f"{c.case.N / seconds:.3g}"
            rows.append(["  as a CUDA graph", milliseconds(seconds), *against, *nothing, rate, *least])
    how = "from one call to the next, without waiting" if gpu else "a call"
    return fitted(f"milliseconds {how} (medians)", columns, rows, width)


def against_cells(c: Comparison, ratios: Sequence[float]) -> list[str]:
    """PyTorch's time, the ratio and its range."""
    return [milliseconds(c.seconds("torch")), f"{median(ratios):.2f}", f"{min(ratios):.2f}–{max(ratios):.2f}"]


def times_lines(comparisons: Sequence[Comparison], floors: dict[str, float], settings: Settings) -> list[str]:
    """What the table means."""
    rounds = f"{plural(settings.rounds, 'round')} of up to {plural(settings.repeats, 'call')}"
    by_turns = ", the libraries by turns, each in a process of its own; ratio = our time / PyTorch's, the median of the"
    lines = [
        f"{rounds}{by_turns} rounds'" if any(c.ratios for c in comparisons) else f"{rounds}, each in a new process",
        "GEMM floor: the case's multiplications at the speed of the fastest matrix product; memory floor: every op "
        "reads its inputs once and writes its outputs once",
    ]
    if any(c.gpu for c in comparisons):
        lines += GPU_LINES
    for c in comparisons:
        speed = c.work["flop"] / c.seconds()
        lines.append(
            f"{c.case.name}: {c.work['flop'] / 1e9:,.3g} GFLOP at {speed / 1e9:,.0f} GFLOP/s, "
            f"{speed / floors['flops']:.0%} of what this machine can multiply"
        )
        lines += [f"  {line}" for line in gpu_lines(c)]
        if c.work["differences"]:
            found = " and ".join(f"{what} by {value:.0e}" for what, value in c.work["differences"].items())
            lines.append(f"  same weights, same images: PyTorch's results differ in {found} of the largest")
            if not same(c.work["differences"], settings.tf32):
                lines.append("  warning: the libraries do not compute the same")
            elif c.work["differences"].get("gradients", 0) > KINK:
                lines.append("  (a value next to a kink, of a ReLU or a maximum, was rounded to the other side of it)")
        if c.ratios and max(c.ratios) > UNSTEADY * min(c.ratios):
            lines.append(
                "  warning: the rounds differ widely: the machine was busy, or shares its processor; repeat this"
            )
        if len(set(c.threads.values())) > 1:
            counts = ", ".join(f"{library} {number}" for library, number in c.threads.items())
            lines.append(f"  warning: unequal numbers of threads ({counts}): the ratio says little")
    return lines


GPU_LINES = [
    "calls follow each other in a loop that waits for the GPU once, at its end; ratio: by the host's clock around the "
    "loop; ratio by events: by CUDA events around it; GPU busy: the time of our call as a CUDA graph, which needs no "
    "Python between its kernels, over that of the call as it is"
]


def gpu_lines(c: Comparison) -> list[str]:
    """What else is known of a case that was timed on a GPU."""
    lines = []
    singles = [
        f"{name} {milliseconds(median(single))} ms"
        for library, name in LIBRARIES.items()
        if (single := c.others("single_seconds", library))
    ]
    if singles:
        lines.append(f"one call by itself, waited for: {', '.join(singles)}")
    if not isnan(c.busy):
        graph = milliseconds(median(c.others("graph_seconds")))
        lines.append(f"GPU busy {c.busy:.0%}: as a CUDA graph our call takes {graph} of {milliseconds(c.seconds())} ms")
    elif c.graph_problem:
        lines.append(f"GPU busy: not measured, for the call could not be recorded as a CUDA graph ({c.graph_problem})")
    return lines


def same(differences: dict[str, float], tf32: bool = False) -> bool:
    """Whether the two libraries' results are as near as rounding lets them be; NaN is not."""
    allowed = SAME_TF32 if tf32 else SAME
    return all(value <= allowed[what] for what, value in differences.items())


# --- ops --------------------------------------------------------------------------------------------------


def ops_table(case: Case, rows: Sequence[Row], floors: dict[str, float], width: int = WIDE) -> Table:
    """A row per op that takes at least a hundredth of the whole; the others in one line. width: of the terminal."""
    gpu, both = any(row.host_s is not None for row in rows), any(row.torch_s is not None for row in rows)
    columns = [
        Column("op", text=True),
        Column("layer", text=True),
        Column("forward"),
        Column("backward"),
        Column("share", priority=1),
        *[Column("launch", priority=3)] * gpu,
        Column("GFLOP/s", priority=5),
        Column("floor", priority=2),
        Column("product", priority=6),
        Column("output", priority=7),
        Column("× floor"),
        *[Column("PyTorch", priority=4), Column("ratio")] * both,
    ]
    whole = sum(row.seconds for row in rows)
    shown, small = large_and_small(rows)

    def cells(some: Sequence[Row], output: str = "") -> list[str]:
        return [*numbers(some, whole, floors, output, gpu), *(torch_cells(some) if both else [])]

    lines: list[Sequence[str] | None] = [
        [row.op, short(row.layer), *cells([row], "x".join(map(str, row.output)))] for row in shown
    ]
    if small:
        lines.append([f"{len(small)} smaller", "", *cells(small)])
    lines += [None, ["sum", "", *cells(rows)]]
    return fitted(f"{case.name}, op by op (milliseconds)", columns, lines, width)


def numbers(rows: Sequence[Row], whole: float, floors: dict[str, float], output: str, gpu: bool) -> list[str]:
    """The numeric cells of a row, or of several added up."""
    launch = sum(row.host_s or 0.0 for row in rows)
    forward, backward = sum(row.forward_s for row in rows), sum(row.backward_s for row in rows)
    flop, floor = sum(row.flop for row in rows), sum(floor_seconds(row, floors) for row in rows)
    return [
        milliseconds(forward) if forward else "",
        milliseconds(backward) if backward else "",
        f"{(forward + backward) / whole:.1%}",
        *[milliseconds(launch) if launch else ""] * gpu,
        f"{flop / (forward + backward) / 1e9:.0f}" if flop else "",
        milliseconds(floor) if floor else "",
        product_cell(rows),
        output,
        f"{(forward + backward) / floor:.1f}" if floor else "",
    ]


def torch_cells(rows: Sequence[Row]) -> list[str]:
    """PyTorch's time of the same ops, and the ratio; where rows are added up, of those that were compared."""
    compared = [row for row in rows if row.torch_s is not None]
    theirs = sum(row.torch_s for row in compared)
    if not compared:
        return ["", ""]
    ratio = f"{sum(row.seconds for row in compared) / theirs:.2f}" if theirs else "–"
    return [milliseconds(theirs), ratio]


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
    ]
    if any(row.torch_s is not None for row in rows):
        lines.append(
            "PyTorch: the same op by itself on the same shapes, forward and backward; ratio = our time / PyTorch's (in "
            "the sum, of the ops that were compared)"
        )
    lines += [*launch_lines(rows), "what bounds the slowest:"]
    slowest = sorted(large_and_small(rows)[0], key=lambda row: -row.seconds)[:most]
    lines += [f"  {row.seconds / whole:5.1%}  {row.op} {short(row.layer)}: {bound(row, floors)}" for row in slowest]
    if any("thin matrices" in line for line in lines):
        lines.append(
            f"thin: a side is shorter than {THIN}, so each number that was fetched is used only a few times, which is "
            "slower to multiply"
        )
    return lines


def launch_lines(rows: Sequence[Row]) -> list[str]:
    """On a GPU: what the times are, and whether Python or the GPU is the slower one."""
    ops = [row for row in rows if row.host_s is not None and row.op != "other"]
    if not ops:
        return []
    host, gpu = sum(row.host_s for row in ops), sum(row.seconds for row in ops)
    slower = "Python's launches bound them" if host > gpu else "the GPU's work bounds them"
    lines = [
        "forward, backward: the GPU's own time, with all kernels waiting in the queue; launch: Python's time to put "
        "them there",
        f"launching all ops takes Python {milliseconds(host)} ms and the GPU does them in {milliseconds(gpu)} ms, so "
        f"{slower}",
    ]
    late = [row for row in ops if not row.queued and row.bytes]
    if late:
        lines.append(
            f"{plural(len(late), 'op')} began before all of it was launched, so the GPU's waiting may be in the time: "
            + ", ".join(f"{row.op} {short(row.layer)}" for row in late[:3])
            + (" …" if len(late) > 3 else "")
        )
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
            "ratio": row.seconds / row.torch_s if row.torch_s else None,
        }
        plain.append(vars(row) | derived)
    return {"name": case.name, "case": case.to_plain(), "seconds": whole, "rows": plain}


# --- memory and scaling -----------------------------------------------------------------------------------

Memory = dict[str, dict[str, int]]  # library → base and peak, in bytes


def memory_table(measured: Sequence[tuple[Case, Memory]], width: int = WIDE) -> Table:
    """A row per case: what it takes at most, and how much of that is not the network and the libraries themselves."""
    both = any("torch" in memory for _, memory in measured)
    gpu = any("reserved" in memory["scratchfcn"] for _, memory in measured)
    growing = [Column("of it for\nthe call", priority=1), *[Column("reserved", priority=2)] * gpu]
    columns = [
        Column("case", text=True),
        Column("scratchfcn\npeak"),
        *growing,
        *[Column("PyTorch\npeak"), *growing, Column("ratio")] * both,
    ]
    rows = []
    for case, memory in measured:
        figures = [(m["peak"], growth(m), *([m["reserved"]] if gpu else [])) for m in memory.values()]
        cells = [f"{n / 1e6:,.0f}" for each in figures for n in each]
        if both:
            theirs = growth(memory["torch"])
            cells.append(f"{growth(memory['scratchfcn']) / theirs:.2f}" if theirs else "–")
        rows.append([case.name, *cells])
    return fitted(f"{'GPU ' * gpu}memory (MB)", columns, rows, width)


def growth(memory: dict[str, int]) -> int:
    """What the call itself takes: beyond the interpreter, the libraries, the weights and the images."""
    return memory["peak"] - memory["base"]


MEMORY_LINE = (
    "peak: resident memory of the whole process, at most; for the call: what it grew by once the network and the "
    "images were in place; ratio: of the latter"
)


MEMORY_LINE_GPU = (
    "peak: what arrays hold on the GPU, at most; for the call: what of it came once the network and the images were in "
    "place; reserved: what the library's allocator has taken from the GPU; ratio: of what is for the call. The CUDA "
    "context and the libraries' own buffers, which both have, do not count"
)


def memory_line(measured: Sequence[tuple[Case, Memory]]) -> str:
    """What the columns are."""
    gpu = any("reserved" in memory["scratchfcn"] for _, memory in measured)
    return MEMORY_LINE_GPU if gpu else MEMORY_LINE


def scaling_table(comparisons: Sequence[Comparison], memories: Sequence[Memory], width: int = WIDE) -> Table:
    """A row per size, with the growth of time and memory from the row above."""
    both, case = bool(comparisons[0].ratios), comparisons[0].case
    columns = [Column("size", text=True), Column("pixels", priority=4), Column("×", priority=3)]
    for name in ["scratchfcn\nms", *["PyTorch\nms"] * both]:
        columns += [Column(name), Column("×", priority=1), Column("peak\nMB"), Column("×", priority=2)]
    rows = []
    for i, (c, memory) in enumerate(zip(comparisons, memories, strict=True)):
        cells = [f"{c.case.pixels:,}", times([x.case.pixels for x in comparisons], i)]
        for library in c.rounds:
            cells += [milliseconds(c.seconds(library)), times([x.seconds(library) for x in comparisons], i)]
            cells += [f"{memory[library]['peak'] / 1e6:,.0f}", times([m[library]["peak"] for m in memories], i)]
        rows.append([f"{c.case.H}x{c.case.W}", *cells])
    what = f"{case.task} {case.model}{', batch norm' * case.batch_norm}, {plural(case.N, 'image')}"
    return fitted(f"what more pixels cost: {what}", columns, rows, width)


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


def pipeline_table(result: dict[str, Any], width: int = WIDE) -> Table:
    """A row per pass over the data."""
    names = ("step\nalone", "training\nloop", "share", "waiting")
    columns = [Column("pass over the data", text=True), *map(Column, names)]
    rows = [
        [name, f"{s['step_rate']:.3g}", f"{s['loop_rate']:.3g}", f"{s['share']:.0%}", f"{s['waiting']:.1%}"]
        for name, s in result["summary"].items()
    ]
    return fitted(f"images/s of {result['model']} (medians)", columns, rows, width)


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
