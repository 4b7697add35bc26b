"""A trace: a row for every op, in numbers. trace.py fills them in; trace_table.py and trace_page.py show them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..geometry import Grid

Shape = tuple[int, ...]

LR = 0.01  # for the column update/weight, where nothing else is said


@dataclass(frozen=True)
class Update:
    """A parameter and its gradient from one op's backward: root mean squares of both."""

    parameter: str
    weight: float
    gradient: float

    def ratio(self, lr: float) -> float | None:
        """lr·|g| / |w|: by what part a step of plain SGD changes the parameter; None for one that is 0 throughout."""
        return lr * self.gradient / self.weight if self.weight else None


@dataclass
class TraceRow:
    """One op, forward or backward.

    number: counts the forward calls; a backward row has that of its forward.
    inputs, outputs: of forward, the shapes of what it was given beside parameters, and of y. Of backward, that of gy,
    and those of the gradients by the same inputs (None where no gradient was wanted).
    parameters: how many numbers of them the op was given. grid: where y's pixels lie on the image; None if nowhere.
    estimated_bytes: of y, or of all gradients, as their shapes say; 0 for a view.
    observed_bytes: memory in use after the op less that before; peak_bytes: the same for the most within the op;
    live_bytes: in use after the op, since the trace began. None where not observed.
    magnitude: root mean square of y, or of gy. updates: of backward, the parameters that got gradients.
    """

    number: int
    direction: str  # "forward" or "backward"
    op: str
    layer: str
    inputs: tuple[Shape, ...]
    outputs: tuple[Shape | None, ...]
    parameters: int
    grid: Grid | None
    seconds: float
    estimated_bytes: int
    observed_bytes: int | None
    peak_bytes: int | None
    live_bytes: int | None
    magnitude: float
    updates: list[Update] = field(default_factory=list)


@dataclass
class TraceRows:
    """What was traced so far."""

    lr: float = LR
    rows: list[TraceRow] = field(default_factory=list)

    @property
    def forward(self) -> list[TraceRow]:
        return [row for row in self.rows if row.direction == "forward"]

    @property
    def backward(self) -> list[TraceRow]:
        return [row for row in self.rows if row.direction == "backward"]

    def forget(self) -> None:
        """Begin anew: after a first call, which is slower than the next (memory is allocated, threads are started, on
        a GPU kernels are compiled)."""
        self.rows.clear()

    def as_plain(self) -> dict[str, Any]:
        """Everything as numbers, strings, lists and dictionaries, for JSON; what is infinite or unknown is None."""
        return {"lr": self.lr, "rows": [row_as_plain(row, self.lr) for row in self.rows]}


def row_as_plain(row: TraceRow, lr: float) -> dict[str, Any]:
    updates = [
        {
            "parameter": u.parameter,
            "weight_rms": finite(u.weight),
            "gradient_rms": finite(u.gradient),
            "update_to_weight": finite(u.ratio(lr)),
        }
        for u in row.updates
    ]
    grid = row.grid
    return {
        **{name: value for name, value in vars(row).items() if name not in ("grid", "magnitude", "updates")},
        "stride": None if grid is None else finite(grid.stride),
        "receptive_field": None if grid is None else finite(grid.receptive_field),
        "rms": finite(row.magnitude),
        "updates": updates,
    }


def finite(value: Any) -> float | None:
    """A number that JSON can hold, or None."""
    return None if value is None or value != value or abs(value) == float("inf") else float(value)
