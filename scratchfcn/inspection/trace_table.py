"""Traces and summaries as text: columns that fit the terminal, and units that people read."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from typing import Any

from .trace_rows import TraceRow, TraceRows

LONGEST = 24  # letters of a layer's name; of a longer one, the end

FORWARD = ("#", "op", "layer", "in → out", "params", "stride", "field", "ms", "est.", "obs.", "|y|")
BACKWARD = ("#", "op", "layer", "gy → gx", "ms", "est.", "obs.", "|gy|", "|gw|", "upd/w")
IN_WORDS = 4  # columns that hold words; the others hold numbers


def trace_text(trace: TraceRows, width: int | None = None) -> str:
    """Forward's table, backward's, and what the columns mean."""
    width = width or terminal_width()
    lines = []
    if trace.forward:
        lines += [total_line("forward", trace.forward), *fitted(FORWARD, map(forward_cells, trace.forward), width), ""]
    if trace.backward:
        cells = (backward_cells(row, trace.lr) for row in trace.backward)
        lines += [total_line("backward", trace.backward), *fitted(BACKWARD, cells, width), ""]
    if not lines:
        return "nothing was traced: no op ran within the block"
    return "\n".join(lines + wrapped(legend(trace), width))


def legend(trace: TraceRows) -> list[str]:
    """What the columns mean, a paragraph each."""
    paragraphs = [
        "Maps are written channels×rows×columns, without the images of the batch. stride, field (receptive field): in "
        "pixels of the image, along its rows; field all: the whole image. An empty layer: an op without parameters.",
        "est., obs.: MiB. Estimated from the shapes: what the op returns, 0 for a view. Observed: how much more is in "
        "use after the op than before, so what it returns and what it keeps for backward. At most in use: beyond what "
        "there was when the trace began.",
        "|…|: root mean square. A number that grows or fades from op to op is worth a look.",
    ]
    if not any(row.observed_bytes is not None for row in trace.rows):
        paragraphs[1] = "est.: MiB, estimated from the shapes: what the op returns, 0 for a view. obs.: not observed."
    if trace.backward:
        paragraphs.append(
            f"upd/w: lr·|gw| / |w|, by what part a step of plain SGD with lr {trace.lr:g} changes the weight; of "
            "several parameters of an op, the first. About 0.001 is usual; with 0.1 training often breaks down, with "
            "0.000001 hardly anything is learned."
        )
    return paragraphs


def total_line(direction: str, rows: Sequence[TraceRow]) -> str:
    """ "forward: 42 ops, 12.3 ms, of which conv2d 81%; at most 20 MiB in use"."""
    seconds = sum(row.seconds for row in rows)
    by_op: dict[str, float] = {}
    for row in rows:
        by_op[row.op] = by_op.get(row.op, 0.0) + row.seconds
    slowest = max(by_op, key=by_op.__getitem__)
    ops = f"{len(rows)} op{'s' * (len(rows) > 1)}"
    text = f"{direction}: {ops}, {number(1000 * seconds)} ms, of which {slowest} {by_op[slowest] / seconds:.0%}"
    tops = [row.live_bytes - row.observed_bytes + row.peak_bytes for row in rows if row.peak_bytes is not None]
    return f"{text}; at most {mebibytes(max(tops))} MiB in use" if tops else text


def forward_cells(row: TraceRow) -> list[str]:
    grid = row.grid
    return [
        str(row.number),
        row.op,
        layer_text(row.layer),
        f"{maps_text(row.inputs)} → {maps_text(row.outputs)}",
        f"{row.parameters:,}" if row.parameters else "",
        "" if grid is None else distance(grid.stride),
        "" if grid is None else distance(grid.receptive_field),
        number(1000 * row.seconds),
        mebibytes(row.estimated_bytes),
        mebibytes(row.observed_bytes),
        number(row.magnitude),
    ]


def backward_cells(row: TraceRow, lr: float) -> list[str]:
    first = row.updates[0] if row.updates else None
    wanted = [shape for shape in row.outputs if shape is not None]
    return [
        str(row.number),
        row.op,
        layer_text(row.layer),
        f"{maps_text(row.inputs)} → {maps_text(wanted) if wanted else '–'}",
        number(1000 * row.seconds),
        mebibytes(row.estimated_bytes),
        mebibytes(row.observed_bytes),
        number(row.magnitude),
        "" if first is None else number(first.gradient),
        "" if first is None else number(first.ratio(lr)),
    ]


# --- words and numbers ------------------------------------------------------------------------------------


def layer_text(layer: str) -> str:
    """The layer's name, or the end of a long one; nothing for an op that belongs to none."""
    if layer.startswith("after "):
        return ""
    return layer if len(layer) <= LONGEST else f"…{layer[1 - LONGEST :]}"


def maps_text(shapes: Sequence[tuple[int, ...]]) -> str:
    """ "64×32×32"; of several, their number."""
    return map_text(shapes[0]) if len(shapes) == 1 else f"{len(shapes)} maps"


def map_text(shape: tuple[int, ...]) -> str:
    """(N, C, H, W) → "C×H×W"; one number has no shape."""
    if not shape:
        return "number"
    return "×".join(map(str, shape[1:] or shape))


def distance(value: Any) -> str:
    """A stride or a receptive field."""
    return "all" if value == float("inf") else f"{float(value):.4g}" if value < 10000 else f"{float(value):.0f}"


def number(value: float | None) -> str:
    """Three digits, without an exponent where it can be read: "0.0123", "1.23", "123", "1.2e-05"."""
    if value is None:
        return "–"
    if value == 0:
        return "0"
    if value != value or abs(value) == float("inf"):
        return "NaN" if value != value else "inf"
    if not 0.000995 <= abs(value) < 99999.5:
        return f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e")
    digits = 3 if abs(value) < 0.0995 else 2 if abs(value) < 9.995 else 1 if abs(value) < 99.95 else 0
    return f"{value:.{digits}f}"


def mebibytes(count: int | None) -> str:
    if count is None:
        return "–"
    value = count / 2**20
    return "0" if count == 0 else "<0.01" if 0 < value < 0.005 else f"{value:.{2 if abs(value) < 10 else 1}f}"


# --- tables -----------------------------------------------------------------------------------------------


def fitted(
    heads: Sequence[str], rows: Any, width: int, in_words: int = IN_WORDS, optional: int | None = None
) -> list[str]:
    """Lines of a table: one for each row if that fits, if need be without the `optional` column; else two, words above
    and numbers below."""
    table = [list(heads), *rows]
    lines = in_a_line(table, width, in_words)
    if lines is None and optional is not None:
        lines = in_a_line([row[:optional] + row[optional + 1 :] for row in table], width, in_words - 1)
    return in_two_lines(table, width, in_words) if lines is None else lines


def in_a_line(table: Sequence[Sequence[str]], width: int, in_words: int) -> list[str] | None:
    """A line for each row, or None where that does not fit."""
    widths = widths_of(table)
    for gap in ("  ", " "):
        if sum(widths) + len(gap) * (len(widths) - 1) <= width:
            return [gap.join(aligned(row, widths, in_words)).rstrip() for row in table]
    return None


def in_two_lines(table: Sequence[Sequence[str]], width: int, in_words: int) -> list[str]:
    widths = widths_of(table)
    numbers = range(in_words, len(widths))
    gap = " " * max(1, min(3, (width - widths[0] - sum(widths[in_words:])) // len(numbers)))
    lines = []
    for row in table:
        cells = aligned(row, widths, in_words)
        lines.append("  ".join(cells[:in_words]).rstrip())
        lines.append((" " * widths[0] + "".join(gap + cells[i] for i in numbers)).rstrip())
    return lines


def widths_of(table: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(len, column)) for column in zip(*table, strict=True)]


def aligned(row: Sequence[str], widths: Sequence[int], in_words: int) -> list[str]:
    """Words to the left, numbers (and the first column, which counts) to the right."""
    return [
        cell.ljust(n) if 0 < i < in_words else cell.rjust(n)
        for i, (cell, n) in enumerate(zip(row, widths, strict=True))
    ]


def terminal_width() -> int:
    """Columns of the terminal; what goes to a file or to another program has 120."""
    return shutil.get_terminal_size((120, 24)).columns


def wrapped(paragraphs: Sequence[str], width: int) -> list[str]:
    import textwrap

    return [line for text in paragraphs for line in textwrap.wrap(text, width)]
