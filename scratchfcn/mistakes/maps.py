"""A map of errors: where an array is wrong and how badly, as blocks in a terminal or as a picture.

The error of an entry is |ours - expected|, relative to the largest expected number. One glance at it says more than a
list: a wrong border is a frame, a forgotten image an empty half, a stride that was ignored a grid.
"""

from pathlib import Path
from typing import Any

import numpy as np

SHADES = " ░▒▓█"  # right, and then more and more wrong; `?` was not looked at, `!` is no number
LIMITS = (1e-6, 1e-3, 1e-2, 1e-1)  # relative errors from which on a shade is used
LEGEND = "map of errors: blank right · ░ >1e-6 · ▒ >1e-3 · ▓ >1e-2 · █ >1e-1 of the largest entry"
WIDTH = 80
PLANES, ROWS = 12, 32  # at most that many planes are shown, and that many rows of each


def errors(ours: Any, expected: Any) -> np.ndarray:
    """|ours - expected| / max|expected|; NaN where `expected` is NaN (not looked at), inf where `ours` is no number."""
    ours, expected = np.asarray(ours, float), np.asarray(expected, float)
    scale = np.nanmax(np.abs(expected), initial=0.0) or 1.0
    error = np.array(np.abs(ours - expected) / scale)  # np.array: of a single number too
    error[~np.isfinite(ours) & ~np.isnan(expected)] = np.inf
    return error


def blocks(ours: Any, expected: Any) -> str:
    """The map of an array of any shape as text of at most 80 columns: a block per entry, planes side by side.

    Of more than two dimensions, each plane (row, column) gets its index as a title; the ones with the largest errors
    come first where there are too many to show. Planes too large for the terminal are shrunk, each block then the
    largest error of its part.
    """
    error = errors(ours, expected)
    planes = error.reshape(-1, *((1, 1, *error.shape)[-2:]))  # (P, rows, columns)
    titles = [title(index) for index in np.ndindex(error.shape[:-2])] if error.ndim > 2 else [""]
    shown = list(range(len(planes)))
    if len(planes) > PLANES:
        worst = [-np.nanmax(plane, initial=0.0) for plane in planes]
        shown = sorted(sorted(shown, key=lambda p: worst[p])[:PLANES])
    pictures = [picture(planes[p], titles[p]) for p in shown]
    lines = side_by_side(pictures)
    if len(shown) < len(planes):
        lines.append(f"… and {len(planes) - len(shown)} more of {len(planes)} planes, with smaller errors")
    return "\n".join([*lines, LEGEND])


def title(index: tuple[int, ...]) -> str:
    return f"[{','.join(map(str, index))}]"


def picture(plane: np.ndarray, name: str) -> list[str]:
    """One plane in a frame, its index on top."""
    plane = shrunk(plane, ROWS, WIDTH - 2)
    width = max(plane.shape[1], len(name))
    lines = ["".join(shade(e) for e in row).ljust(width) for row in plane]
    return [f"┌{name.ljust(width, '─')}┐", *[f"│{line}│" for line in lines], f"└{'─' * width}┘"]


def shade(error: float) -> str:
    if np.isnan(error):
        return "?"
    if np.isinf(error):
        return "!"
    return SHADES[sum(error > limit for limit in LIMITS)]


def shrunk(plane: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """At most rows x columns, each the largest error of the part that it stands for."""
    for axis, most in ((0, rows), (1, columns)):
        n = plane.shape[axis]
        if n > most:
            parts = np.array_split(np.nan_to_num(plane, nan=0.0, posinf=np.inf), most, axis=axis)
            plane = np.stack([part.max(axis=axis) for part in parts], axis=axis)
    return plane


def side_by_side(pictures: list[list[str]]) -> list[str]:
    """As many pictures to a line as fit."""
    lines: list[str] = []
    per_line = max(1, (WIDTH + 1) // (len(pictures[0][0]) + 1))
    for first in range(0, len(pictures), per_line):
        group = pictures[first : first + per_line]
        lines += [" ".join(parts) for parts in zip(*group, strict=True)]
    return lines


def save_png(path: str | Path, ours: Any, expected: Any, title_text: str = "") -> Path:
    """Three pictures beside each other for every plane: yours, expected, and the error, into a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    ours, expected = np.asarray(ours, float), np.asarray(expected, float)
    error = errors(ours, expected)
    grids = [mosaic(a) for a in (ours, expected, np.log10(np.clip(error, 1e-12, 1e3)))]
    scale = max(np.nanmax(np.abs(expected), initial=0.0), 1e-12)
    ratio = grids[0].shape[0] / grids[0].shape[1]
    figure = Figure(figsize=(12, min(16, max(3, 4 * ratio + 1))), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, 3)
    for ax, grid, name in zip(axes[:2], grids[:2], ("yours", "expected"), strict=True):
        image = ax.imshow(grid, cmap="RdBu_r", vmin=-scale, vmax=scale, interpolation="nearest")
        ax.set_title(name)
    figure.colorbar(image, ax=list(axes[:2]), shrink=0.8)
    image = axes[2].imshow(grids[2], cmap="magma", vmin=-10, vmax=0, interpolation="nearest")
    axes[2].set_title("error, relative to the largest entry")
    bar = figure.colorbar(image, ax=axes[2], shrink=0.8)
    bar.set_ticks([-10, -7, -4, -2, 0], labels=["1e-10", "1e-7 right", "1e-4", "1e-2 wrong", "1"])
    for ax in axes:
        ax.set_xticks([])
        ax.set_yticks([])
    figure.suptitle(title_text or f"shape {ours.shape}")
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    return path


def mosaic(a: np.ndarray) -> np.ndarray:
    """All planes of an array in one picture: a row of planes per entry of the first axis, NaN between them."""
    rows, columns = (1, 1, *a.shape)[-2:]
    planes = a.reshape(-1, rows, columns)
    across = a.shape[1] if a.ndim == 4 else int(np.ceil(np.sqrt(len(planes) * rows / columns)))
    down = -(-len(planes) // across)
    grid = np.full((down * (rows + 1) - 1, across * (columns + 1) - 1), np.nan)
    for p, plane in enumerate(planes):
        top, left = p // across * (rows + 1), p % across * (columns + 1)
        grid[top : top + rows, left : left + columns] = plane
    return grid
