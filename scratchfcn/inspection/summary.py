"""A network layer by layer: shapes, parameters, arithmetic, receptive field, and memory, without running it.

    print(sf.inspection.summary(model, (1, 3, 256, 256)))

The network runs dry (see shapes.py), in training and in evaluation mode. How its memory is estimated is told in
summary_memory.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..geometry import Grid
from ..nn import Module
from ..ops import softmax_cross_entropy
from ..tensor import Tensor
from .overview import count
from .shapes import Row, Shape, dry_run
from .summary_memory import Memory, memory_of
from .trace_table import distance, fitted, layer_text, map_text, mebibytes, terminal_width, wrapped

COLUMNS = ("#", "layer", "ops", "output", "params", "M madds", "stride", "field", "maps", "kept")


@dataclass(frozen=True)
class SummaryRow:
    """A layer with the ops that follow it, or a part of the network with all its ops.

    output: the last op's. grid: where its pixels lie on the image; None if nowhere. map_bytes: of all that the ops
    return; kept_bytes: what they add to what training keeps for backward, None where training is impossible.
    """

    layer: str
    ops: tuple[str, ...]
    output: Shape
    parameters: int
    multiply_adds: int
    grid: Grid | None
    map_bytes: int
    kept_bytes: int | None


@dataclass(frozen=True)
class Summary:
    """A network for inputs of one shape. `print(summary)` shows it.

    output: what it returns, with shapes in place of Tensors. multiply_adds: of a prediction. prediction, training:
    estimates of memory. problem: why it cannot be trained on such an input; then training is None.
    """

    shape: Shape
    output: Any
    rows: list[SummaryRow]
    parameters: int
    learned: int
    parameter_bytes: int
    learned_bytes: int
    multiply_adds: int
    prediction: Memory
    training: Memory | None
    problem: str = ""

    def table(self, width: int | None = None) -> str:
        """As text, at most `width` columns wide; as wide as the terminal, if nothing is said."""
        return summary_text(self, width or terminal_width())

    def __str__(self) -> str:
        return self.table()

    def as_plain(self) -> dict[str, Any]:
        """Everything as numbers, strings, lists and dictionaries, for JSON; what is infinite or unknown is None."""
        training = self.training
        return {
            "input": list(self.shape),
            "output": self.output,
            "parameters": self.parameters,
            "learned": self.learned,
            "multiply_adds": self.multiply_adds,
            "memory_estimated": {
                "parameters": self.parameter_bytes,
                "prediction_peak": self.prediction.peak,
                "training_after_forward": None if training is None else training.after_forward,
                "training_peak": None if training is None else training.peak,
                "sgd_momentum": self.learned_bytes,
                "adam": 2 * self.learned_bytes,
            },
            "problem": self.problem or None,
            "rows": [row_as_plain(row) for row in self.rows],
        }


def summary(model: Module, shape: Shape, depth: int | None = None) -> Summary:
    """What `model` is for inputs of `shape`, (N, C, H, W). The model stays as it is.

    depth: None gives a row for every layer that has parameters; 1 for every part of the model, by its attributes'
    names, 2 for the parts of those, and so on.
    Errors: ValueError where the network cannot take such an input, from the op that refuses.
    """
    with modes_kept(model):
        model.eval()
        run, prediction = dry_run(model, shape), memory_of(model, shape)
        training, problem, calls = None, "", run.rows
        try:
            model.train()
            calls = dry_run(model, shape).rows  # dropout, and further heads that only training has
            training = memory_of(model, shape, loss_of)
        except ValueError as error:
            problem, calls = str(error), run.rows
    parameters, learned = count(model)
    every = list(model.parameters())
    return Summary(
        tuple(shape),
        run.output,
        rows_of(calls, training, depth),
        parameters,
        learned,
        sum(p.data.nbytes for p in every),
        sum(p.data.nbytes for p in every if p.requires_grad),
        run.multiply_adds,
        prediction,
        training,
        problem,
    )


@contextmanager
def modes_kept(model: Module) -> Iterator[None]:
    """After this block every part is again in training or in evaluation mode, as it was."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def loss_of(output: Any) -> Tensor:
    """Cross entropy of everything that a network returns."""
    if isinstance(output, Tensor):
        labels = np.zeros((output.shape[0], *output.shape[2:]), np.uint8)
        return softmax_cross_entropy(output, labels)
    losses = [loss_of(each) for each in (output.values() if isinstance(output, dict) else output)]
    return sum(losses[1:], losses[0])


def rows_of(calls: Sequence[Row], training: Memory | None, depth: int | None) -> list[SummaryRow]:
    """Calls of ops, joined where neighbours belong to the same layer, or to the same part of the network."""
    groups: list[tuple[str, list[int]]] = []
    for i, call in enumerate(calls):
        layer = call.layer.removeprefix("after ")
        name = layer if depth is None else ".".join(layer.split(".")[:depth])
        if not groups or groups[-1][0] != name:
            groups.append((name, []))
        groups[-1][1].append(i)
    rows = []
    for name, places in groups:
        some = [calls[i] for i in places]
        kept = None if training is None else sum(training.kept[i] for i in places)
        rows.append(
            SummaryRow(
                name,
                tuple(call.op for call in some),
                some[-1].output,
                sum(call.parameters for call in some),
                sum(call.multiply_adds for call in some),
                some[-1].grid,
                sum(call.activation_bytes for call in some),
                kept,
            )
        )
    return rows


# --- as text ----------------------------------------------------------------------------------------------


def summary_text(found: Summary, width: int) -> str:
    """The table, the sums, and what the columns mean."""
    N = found.shape[0]
    lines = [f"input {found.shape} → {found.output}", ""]
    lines += fitted(COLUMNS, (cells(i, row) for i, row in enumerate(found.rows, 1)), width, optional=2)
    learned = "" if found.learned == found.parameters else f", of which {found.learned:,} are learned"
    batch = "one image" if N == 1 else f"{N} images"
    lines += ["", f"parameters {found.parameters:,}{learned}"]
    lines += [f"multiply-adds {found.multiply_adds / 1e9:.3f} billion, to predict {batch}"]
    lines += ["", *memory_lines(found), ""]
    return "\n".join(lines + wrapped(LEGEND, width))


LEGEND = (
    "output: channels×rows×columns, without the images of the batch. M madds: millions of multiplications with an "
    "addition each. stride, field (receptive field): in pixels of the image, along its rows; field all: the whole "
    "image. A layer's row includes the ops that follow it, up to the next layer.",
    "maps: MiB that the ops return. kept: MiB that they add to what training keeps for backward, their columns and "
    "masks included.",
)


def cells(i: int, row: SummaryRow) -> list[str]:
    grid = row.grid
    return [
        str(i),
        layer_text(row.layer) or "(input)",
        ops_text(row.ops),
        map_text(row.output),
        f"{row.parameters:,}" if row.parameters else "",
        f"{row.multiply_adds / 1e6:,.1f}" if row.multiply_adds else "",
        "" if grid is None else distance(grid.stride),
        "" if grid is None else distance(grid.receptive_field),
        mebibytes(row.map_bytes),
        mebibytes(row.kept_bytes),
    ]


def ops_text(ops: Sequence[str]) -> str:
    """ "conv2d relu max_pool2d"; of many, their number."""
    return " ".join(ops) if len(ops) <= 3 else f"{len(ops)} ops"


def memory_lines(found: Summary) -> list[str]:
    """What prediction and training take, added up."""
    training, parameters = found.training, found.parameter_bytes
    table = [("memory, estimated, MiB", "prediction", "training")]
    table += [("parameters", mebibytes(parameters), mebibytes(parameters))]
    if training is None:
        table += [("maps, at the peak", mebibytes(found.prediction.peak), "–")]
        table += [("together", mebibytes(parameters + found.prediction.peak), "–")]
    else:
        table += [("momentum of SGD (Adam: twice that)", "", mebibytes(found.learned_bytes))]
        table += [("maps and gradients, at the peak", mebibytes(found.prediction.peak), mebibytes(training.peak))]
        together = parameters + found.learned_bytes + training.peak
        table += [("together", mebibytes(parameters + found.prediction.peak), mebibytes(together))]
        table += [("in use when forward is done", "", mebibytes(training.after_forward))]
    lines = [f"{what:36}{predict:>12}{train:>12}" for what, predict, train in table]
    return [*lines, f"(cannot be trained on such an input: {found.problem})"] if found.problem else lines


def row_as_plain(row: SummaryRow) -> dict[str, Any]:
    grid = row.grid
    field = None if grid is None or grid.receptive_field == float("inf") else float(grid.receptive_field)
    return {
        **{name: value for name, value in vars(row).items() if name != "grid"},
        "stride": None if grid is None else float(grid.stride),
        "receptive_field": field,
    }
