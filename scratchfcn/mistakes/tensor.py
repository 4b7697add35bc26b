"""The operators + - * / with broadcasting, sum and mean.

An input that was repeated to fit the other (broadcast) gets the *sum* of its copies' gradients; an input that was
summed gets gy back in every place. Each is the other's backward.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from .common import of_right, ones_upstream
from .mistake import Call, Mistake


def broadcast_axes(call: Call, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The axes of gy along which an input of `shape` was repeated."""
    lead = call.gy.ndim - len(shape)
    return tuple(range(lead)) + tuple(i + lead for i, n in enumerate(shape) if n == 1 and call.gy.shape[i + lead] != 1)


def gathered(call: Call, which: str, g: np.ndarray, how: str = "sum") -> np.ndarray | None:
    """The gradient of all copies → of the input: their sum, or wrongly their mean, the first or the last."""
    shape = call.inputs["ab".index(which)].shape
    axes = broadcast_axes(call, shape)
    if how in ("first", "last"):
        for axis in sorted(axes, reverse=True):
            g = g.take(0 if how == "first" else -1, axis=axis)
        return g.reshape(shape)
    return getattr(g, how)(axis=axes).reshape(shape) if axes else g


def operator(op: str, which: str, right: str, wrongs: dict[str, Callable[[Any, Any, Any], Any]]) -> list[Mistake]:
    """The wrong derivatives of one input, each wrong(a, b, gy) before copies are summed, and what fits any operator."""
    g = f"g{which}"

    def derivative(name: str, wrong: Callable[[Any, Any, Any], Any]) -> Mistake:
        return Mistake(op, which, name, right, lambda call: gathered(call, which, wrong(*call.inputs, call.gy)))

    def copies(name: str, how: str) -> Mistake:
        def array(call: Call) -> Any:
            a, b = (np.broadcast_to(x, call.gy.shape) for x in call.inputs)
            axes = broadcast_axes(call, call.inputs["ab".index(which)].shape)
            return gathered(call, which, DERIVATIVES[op, which](a, b, call.gy), how) if axes else None

        return Mistake(op, which, name, "Sum over the axes along which the input was repeated.", array)

    return [
        of_right(op, which, f"{g} has the wrong sign", right, lambda g, call: -g),
        of_right(op, which, f"{g} is doubled", right, lambda g, call: 2 * g),
        of_right(op, which, f"{g} is halved: gy shared out between the inputs", right, lambda g, call: g / 2),
        ones_upstream(op, which, g),
        copies(f"{g} is the mean of the copies' gradients, not the sum", "mean"),
        copies(f"{g} is the gradient of the first copy only", "first"),
        copies(f"{g} is the gradient of the last copy only: = instead of +=", "last"),
        *[derivative(name, wrong) for name, wrong in wrongs.items()],
    ]


DERIVATIVES: dict[tuple[str, str], Callable[[Any, Any, Any], Any]] = {
    ("add", "a"): lambda a, b, gy: gy,
    ("add", "b"): lambda a, b, gy: gy,
    ("sub", "a"): lambda a, b, gy: gy,
    ("sub", "b"): lambda a, b, gy: -gy,
    ("mul", "a"): lambda a, b, gy: gy * b,
    ("mul", "b"): lambda a, b, gy: gy * a,
    ("div", "a"): lambda a, b, gy: gy / b,
    ("div", "b"): lambda a, b, gy: -gy * a / b**2,
}  # the right ones, for every copy

TIMES_A = {"gy multiplied by a": lambda a, b, gy: gy * a}
TIMES_B = {"gy multiplied by b": lambda a, b, gy: gy * b}
PLAIN = {"gy passes unchanged": lambda a, b, gy: gy}

OPERATORS = [
    *operator("add", "a", "ga = gy.", TIMES_A | TIMES_B),
    *operator("add", "b", "gb = gy.", TIMES_A | TIMES_B),
    *operator("sub", "a", "ga = gy.", TIMES_A | TIMES_B),
    *operator("sub", "b", "gb = -gy.", TIMES_A | TIMES_B),
    *operator("mul", "a", "ga = gy·b.",
              PLAIN | TIMES_A | {"multiplied by a as well: gy·a·b": lambda a, b, gy: gy * a * b}),
    *operator("mul", "b", "gb = gy·a.",
              PLAIN | TIMES_B | {"multiplied by b as well: gy·a·b": lambda a, b, gy: gy * a * b}),
    *operator("div", "a", "ga = gy / b.", PLAIN | TIMES_B | {
        "divided by b twice": lambda a, b, gy: gy / b**2,
        "multiplied by a as well: gy·a/b": lambda a, b, gy: gy * a / b,
    }),
    *operator("div", "b", "gb = -gy·a / b².", {
        "the square is missing: -gy·a/b": lambda a, b, gy: -gy * a / b,
        "a is missing: -gy/b²": lambda a, b, gy: -gy / b**2,
        "gb = gy/a, as if a and b were exchanged": lambda a, b, gy: gy / a,
        "gb = gy/b": lambda a, b, gy: gy / b,
        "multiplied by b² instead of divided": lambda a, b, gy: -gy * a * b**2,
    }),
]  # fmt: skip


# --- sum and mean -----------------------------------------------------------------------------------------


class Reduction:
    """x, summed over `axes`; gy with those axes kept as 1, so that it meets x again."""

    def __init__(self, call: Call) -> None:
        self.x = call.inputs[0]
        axis = call.settings.get("axis")
        axes = range(self.x.ndim) if axis is None else axis if isinstance(axis, tuple | list) else (axis,)
        self.axes = tuple(a % self.x.ndim for a in axes)
        self.kept = tuple(1 if i in self.axes else n for i, n in enumerate(self.x.shape))
        self.gy = call.gy.reshape(self.kept)
        self.count = np.prod([self.x.shape[a] for a in self.axes])

    def spread(self, factor: Any = 1.0) -> np.ndarray:
        return np.broadcast_to(self.gy, self.x.shape) * factor

    def at(self, place: int) -> np.ndarray:
        """gy at one place along the summed axes, 0 elsewhere."""
        gx = np.zeros_like(self.x)
        index = tuple(slice(place, place + 1 or None) if i in self.axes else slice(None) for i in range(gx.ndim))
        gx[index] = self.gy
        return gx

    def wrong_axis(self) -> np.ndarray | None:
        """gy laid along the summed axis and repeated along another of the same length."""
        if len(self.axes) != 1 or self.x.ndim != 2:
            return None
        return np.broadcast_to(self.gy.T, self.x.shape).copy()


def reduction(op: str) -> list[Mistake]:
    """Of sum, or of mean: the same, divided by the number of terms."""

    def spread(name: str, remedy: str, wrong: Callable[[Reduction, float], Any]) -> Mistake:
        """wrong(reduction, 1 or 1/count)"""

        def array(call: Call) -> Any:
            c = Reduction(call)
            return wrong(c, 1.0 if op == "sum" else 1.0 / c.count)

        return Mistake(op, "x", name, remedy, array)

    back = "gx = gy at every term of the sum." if op == "sum" else "gx = gy / (number of terms) at every term."
    if op == "sum":
        factors = [
            spread("divided by the number of terms, as in a mean", back, lambda c, f: c.spread(1 / c.count)),
            spread("multiplied by the number of terms", back, lambda c, f: c.spread(c.count)),
            spread("divided by the number of all entries of x", back, lambda c, f: c.spread(1 / c.x.size)),
        ]
    else:
        factors = [
            spread("not divided by the number of terms, as in a sum", back, lambda c, f: c.spread()),
            spread("divided by the number of terms twice", back, lambda c, f: c.spread(f * f)),
            spread("multiplied by the number of terms", back, lambda c, f: c.spread(c.count)),
            spread("divided by the number of all entries of x", back, lambda c, f: c.spread(1 / c.x.size)),
            spread("divided by the number of means", back, lambda c, f: c.spread(c.count / c.x.size)),
        ]
    return [
        of_right(op, "x", "gx has the wrong sign", back, lambda g, call: -g),
        of_right(op, "x", "gx is doubled", back, lambda g, call: 2 * g),
        ones_upstream(op, "x", "gx"),
        *factors,
        spread("only the first term gets gy", back, lambda c, f: f * c.at(0)),
        spread("only the last term gets gy", back, lambda c, f: f * c.at(-1)),
        spread("gy multiplied by x", back, lambda c, f: f * c.spread(c.x)),
        spread(
            "gy is repeated along the wrong axis",
            back,
            lambda c, f: None if c.wrong_axis() is None else f * c.wrong_axis(),
        ),
    ]


MISTAKES = [*OPERATORS, *reduction("sum"), *reduction("mean")]
