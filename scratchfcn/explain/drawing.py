"""What the pictures share: grids of numbers with windows marked in them, in colours that everybody can tell apart.

The pages use the same colours (templates/style.css). Nothing is told by colour alone: what matters also has an outline.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from .page import shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, FAINT, PADDING = "#1b1b1b", "#595959", "#f1f1f1"
WINDOW, WINDOW_EDGE = "#ffe3a3", "#9c4a00"  # what is read
RESULT, RESULT_EDGE = "#cde6f7", "#00527f"  # what is written
GRADIENT, GRADIENT_EDGE = "#d3f0e4", "#00664a"  # what flows back
Cell = tuple[int, int]


def grid(
    axes: Axes,
    values: Any,
    title: str,
    *,
    first: Cell = (0, 0),
    size: Cell | None = None,
    read: Iterable[Cell] = (),
    written: Iterable[Cell] = (),
    back: Iterable[Cell] = (),
    done: Iterable[Cell] | None = None,
) -> None:
    """Draw an (H, W) array as a grid of numbers.

    first: the row and column that the array's corner stands for, negative where padding comes first. size: the (H, W)
    without padding; what lies outside is grey and dashed. read, written, back: cells to mark, in those numbers.
    done: the cells whose number is shown; all where None.
    """
    from matplotlib.patches import Rectangle

    values = np.asarray(values)
    rows, columns = values.shape
    size = size or (rows + first[0], columns + first[1])
    marks = [
        (set(read), WINDOW, WINDOW_EDGE),
        (set(written), RESULT, RESULT_EDGE),
        (set(back), GRADIENT, GRADIENT_EDGE),
    ]
    visible = None if done is None else set(done)
    box, (width_inches, height_inches) = axes.get_position(), axes.figure.get_size_inches()
    cell_points = 72 * min(box.width * width_inches / columns, box.height * height_inches / rows)
    longest = max(len(shown(value)) for value in values.flat)
    font = min(13.0, 0.42 * cell_points, 0.9 * cell_points / (0.62 * longest))
    for r, c in np.ndindex(rows, columns):
        cell = (r + first[0], c + first[1])
        inside = 0 <= cell[0] < size[0] and 0 <= cell[1] < size[1]
        face, edge, width, style, layer = "white" if inside else PADDING, "#8a8a8a", 0.6, "-" if inside else ":", 1
        for cells, fill, outline in marks:
            if cell in cells:
                face, edge, width, style, layer = fill, outline, min(2.2, 0.12 * cell_points), "-", 2
        axes.add_patch(
            Rectangle((c, r), 1, 1, facecolor=face, edgecolor=edge, linewidth=width, linestyle=style, zorder=layer)
        )
        if visible is None or cell in visible:
            axes.text(
                c + 0.5, r + 0.5, shown(values[r, c]), ha="center", va="center", fontsize=font,
                color=INK if inside else FAINT, zorder=3,
            )  # fmt: skip
    axes.set(xlim=(-0.1, columns + 0.1), ylim=(rows + 0.1, -0.1), aspect="equal", xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    axes.set_title(title, fontsize=11, color=INK)


def caption(figure: Figure, title: str, lines: Iterable[str]) -> None:
    """The title above, the equations with their numbers below."""
    figure.suptitle(title, fontsize=14, color=INK)
    figure.supxlabel("\n".join(lines), fontsize=10, color=INK)


def padded(values: Any, padding: int) -> Any:
    """(H, W) → (H + 2·padding, W + 2·padding), zeros around it."""
    return np.pad(values, padding)
