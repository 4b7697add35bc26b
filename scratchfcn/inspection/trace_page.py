"""A trace as a web page: one file that needs no network and no script, and that a phone can show."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from .trace_rows import TraceRow, TraceRows
from .trace_table import distance, legend, map_text, mebibytes, number, total_line

TEMPLATE = "templates/trace.html.j2"


def trace_page(trace: TraceRows, title: str = "trace", about: Sequence[str] = ()) -> str:
    """The page as HTML. about: lines that stand beneath the title."""
    from jinja2 import Environment

    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string((files(__package__) / TEMPLATE).read_text(encoding="utf-8"))
    parts = [(name, rows) for name, rows in (("forward", trace.forward), ("backward", trace.backward)) if rows]
    return template.render(
        title=title,
        about=about,
        parts=[{"name": name, "total": total_line(name, rows), "rows": shown(rows, trace.lr)} for name, rows in parts],
        legend=legend(trace),
    )


def shown(rows: Sequence[TraceRow], lr: float) -> list[dict[str, Any]]:
    """What the page shows of each row; `time_bar` and so on: lengths of bars, in percent of the longest."""
    seconds = max(row.seconds for row in rows) or 1.0
    memory = max(max(row.estimated_bytes, row.observed_bytes or 0) for row in rows) or 1
    return [
        {
            "number": row.number,
            "op": row.op,
            "layer": row.layer,
            "inputs": ", ".join(map(map_text, row.inputs)),
            "outputs": ", ".join("–" if shape is None else map_text(shape) for shape in row.outputs) or "–",
            "parameters": f"{row.parameters:,}" if row.parameters else "",
            "stride": "" if row.grid is None else distance(row.grid.stride),
            "field": "" if row.grid is None else distance(row.grid.receptive_field),
            "time": number(1000 * row.seconds),
            "time_bar": round(100 * row.seconds / seconds, 1),
            "estimated": mebibytes(row.estimated_bytes),
            "estimated_bar": round(100 * row.estimated_bytes / memory, 1),
            "observed": mebibytes(row.observed_bytes),
            "observed_bar": round(100 * max(0, row.observed_bytes or 0) / memory, 1),
            "magnitude": number(row.magnitude),
            "updates": [
                {"name": u.parameter, "gradient": number(u.gradient), "ratio": number(u.ratio(lr))} for u in row.updates
            ],
        }
        for row in rows
    ]
