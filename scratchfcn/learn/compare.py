"""Two arrays side by side: how many numbers differ, which differs most, and what the differences have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from textwrap import fill

import numpy as np

Known = Callable[[str, np.ndarray], str | None]  # (name of a result, the learner's array) → the mistake, if known

# relative, see `compare`; finite differences are good to about 1e-8, sums in another order to 1e-12
TOLERANCES = {"finite difference": 1e-5}
TOLERANCE = {np.dtype(np.float64): 1e-7, np.dtype(np.float32): 1e-4}
FLOOR = {np.dtype(np.float64): 1e-3, np.dtype(np.float32): 1e-1}  # of the largest number: smaller ones count as this
ROUNDING = 1e-5  # relative to the largest number: closer than this, a result is right but for its digits
NUMBERS = "biuf"  # kinds of dtype
SMALLEST = 1e-4  # and no number counts as smaller than this: of zeros, rounding is all that is left
LINE, MAP_LINES = 100, 12  # columns of a line of text; lines that a map may take
ONE_OF = " — or: "  # between mistakes that lead to the same numbers
SCALE = "scale: >1e-2 wrong · 1e-4 suspicious · <1e-7 right (kinks excepted)"
AXES = {
    1: ("number",),
    2: ("row", "col"),
    3: ("image", "row", "col"),
    4: ("image", "channel", "row", "col"),
    "w": ("filter", "in-channel", "row", "col"),
}


@dataclass(frozen=True)
class Comparison:
    """One result of the learner's, held against what is right."""

    name: str
    got: np.ndarray
    expected: np.ndarray
    errors: np.ndarray  # relative, inf where not finite
    tolerance: float

    @property
    def wrong(self) -> int:
        return int((self.errors > self.tolerance).sum())

    @property
    def worst(self) -> tuple[int, ...]:
        """Where the relative error is largest; of equals, where the difference is."""
        with np.errstate(invalid="ignore", over="ignore"):
            difference = np.nan_to_num(np.abs(self.got.astype(float) - self.expected), nan=np.inf)
        difference = np.where(self.errors >= self.errors.max() * (1 - 1e-9), difference, -1.0)
        return tuple(int(i) for i in np.unravel_index(int(difference.argmax()), self.got.shape))


def compare(name: str, got: np.ndarray, expected: np.ndarray, by: str = "by hand") -> Comparison:
    """Arrays of equal shape. The relative error is |got - expected| / max(|got|, |expected|, floor)."""
    tolerance = TOLERANCES.get(by, TOLERANCE.get(expected.dtype, 0.0))
    with np.errstate(all="ignore"):
        a, b = got.astype(np.float64), expected.astype(np.float64)
        largest = np.abs(b[np.isfinite(b)]).max(initial=0.0)
        floor = max(FLOOR.get(expected.dtype, 0.0) * largest, SMALLEST)
        errors = np.abs(a - b) / np.maximum(np.maximum(np.abs(a), np.abs(b)), floor)
    equal = (a == b) | (np.isnan(a) & np.isnan(b))
    errors = np.where(equal, 0.0, np.where(np.isfinite(errors), errors, np.inf))
    return Comparison(name, got, expected, errors, tolerance)


# --- the report -------------------------------------------------------------------------------------------


def report(
    comparisons: Mapping[str, Comparison],
    by: str,
    call: str,
    known: Known | None,
    axes: Mapping[str, Sequence[str]],
) -> list[str]:
    """The lines about one call: a word for each result, and the details of those that are wrong."""
    lines = []
    if len(comparisons) > 1:
        lines.append("   ".join(f"{c.name.upper()} wrong" if c.wrong else f"{c.name} ok" for c in comparisons.values()))
    for c in comparisons.values():
        if c.wrong:
            lines += details(c, by, known, axes.get(c.name))
    return [*lines, f"  {call}"]


def details(c: Comparison, by: str, known: Known | None, axes: Sequence[str] | None) -> list[str]:
    """How much of one result is wrong, where it is worst, and why, as far as that can be told."""
    shape = str(c.got.shape).replace(", ", ",")
    share = f"   (tolerance rel {c.tolerance:.0e})" if c.tolerance else ""
    lines = [f"  {c.name}  shape {shape}   {c.wrong} of {c.got.size} numbers wrong{share}"]
    if c.got.ndim:
        place = ",".join(map(str, c.worst))
        meaning = ", ".join(f"{word} {i}" for word, i in zip(meanings(c, axes), c.worst, strict=False))
        lines.append(f"  worst at {c.name}[{place}]  ({meaning})")
    yours, right, error = c.got[c.worst], c.expected[c.worst], c.errors[c.worst]
    relative = f"     relative error {error:.1e}" if np.isfinite(error) and c.tolerance else ""
    lines.append(f"      yours  {_number(yours)}     {by}  {_number(right)}{relative}")
    if by == "by hand" or c.got.size <= 16:
        lines += side_by_side(c, by)
    else:
        lines += map_of_errors(c)
    with np.errstate(all="ignore"):
        found = pattern(c.got, c.expected)
    if found:
        lines.append(f"  pattern: {found}")
    lines += mistake_lines(named(known, c.name, c.got, c.expected))
    if by == "finite difference":
        lines.append(f"  {SCALE}")
    return lines


def meanings(c: Comparison, axes: Sequence[str] | None) -> Sequence[str]:
    """What the axes of a result are called."""
    if axes is not None:
        return axes
    if c.name in ("w", "gw") and c.got.ndim == 4:
        return AXES["w"]
    return AXES.get(c.got.ndim, [f"axis {i}" for i in range(c.got.ndim)])


def side_by_side(c: Comparison, by: str) -> list[str]:
    """The 10 x 8 numbers (of the last two axes) around the worst, as two tables; a star marks what is wrong."""
    if c.got.ndim == 0:
        return []
    front = c.worst[:-2]
    tables = [np.atleast_2d(a[front]) for a in (c.got, c.expected, c.errors)]
    row, col = ((0, *c.worst)[-2], c.worst[-1])
    top, left = max(0, row - 9), max(0, col - 7)
    got, expected, errors = (t[top : top + 10, left : left + 8] for t in tables)
    texts = [[[_number(v, 4) for v in line] for line in table] for table in (got, expected)]
    width = max(len(t) for table in texts for line in table for t in line)
    place = f"{c.name}[{','.join([*map(str, front), ':', ':'][: c.got.ndim])}]" if c.got.ndim > 2 else c.name
    lines = []
    for ours, theirs, wrong in zip(*texts, errors > c.tolerance, strict=True):
        left_half = " ".join(f"{t:>{width}}{'*' if bad else ' '}" for t, bad in zip(ours, wrong, strict=True))
        lines.append((left_half, " ".join(f"{t:>{width}}" for t in theirs)))
    header = f"yours, {place}"
    wide = max(len(header), len(lines[0][0]))
    return [f"      {header:<{wide}}   {by}", *[f"      {a:<{wide}}   {b}" for a, b in lines]]


def map_of_errors(c: Comparison) -> list[str]:
    """Where the errors are, in blocks, if that takes few lines: see `scratchfcn.mistakes.maps`."""
    try:
        from ..mistakes.maps import blocks

        lines = blocks(c.got, c.expected).splitlines()
    except Exception:  # a drawing must never stand between a learner and the message
        return []
    return [f"      {line}" for line in lines] if len(lines) <= MAP_LINES else []


def mistake_lines(mistake: str | None) -> list[str]:
    """The name of a mistake, broken into lines; where several come into question, each on its own."""
    first, *others = (mistake or "none that I recognise").split(ONE_OF)
    lines = fill(f"known mistake: {first}", LINE, initial_indent="  ", subsequent_indent="     ").splitlines()
    for other in others:
        lines += fill(f"or: {other}", LINE, initial_indent="     ", subsequent_indent="         ").splitlines()
    return lines


def named(known: Known | None, name: str, got: np.ndarray, expected: np.ndarray) -> str | None:
    """The mistake in a result, if it is known, and if there is one: on some calls a mistake makes no difference."""
    if known is None or got.dtype.kind not in NUMBERS or nearly(got, expected):
        return None
    return known(name, got)


def nearly(got: np.ndarray, expected: np.ndarray) -> bool:
    """Whether these are the same numbers, up to rounding; their dtypes may differ."""
    if got.shape != expected.shape or got.dtype.kind not in NUMBERS:
        return False
    finite = np.abs(expected[np.isfinite(expected)], dtype=np.float64)
    return np.allclose(got, expected, rtol=0, atol=ROUNDING * finite.max(initial=0.0), equal_nan=True)


def pattern_of_shape(got: np.ndarray, expected: np.ndarray) -> str | None:
    """What a result of the wrong shape has in common with the right one."""
    if got.size == 0:
        return "yours is empty: is it cut with [p:-p]? Where p is 0, that keeps nothing; p : p + H always works"
    if got.size != expected.size:
        return None
    if nearly(got.reshape(expected.shape), expected):
        return "the right numbers in the right order: only the shape is another"
    if got.ndim == expected.ndim:
        for order in permutations(range(got.ndim)):
            if nearly(got.transpose(order), expected):
                return f"right, but for the order of its axes: .transpose{order} mends it"
    return None


def pattern(got: np.ndarray, expected: np.ndarray) -> str | None:
    """What all the differences have in common, where it is something simple."""
    if got.dtype.kind != "f":
        return None
    if nearly(got, expected):
        return "the right numbers but for their last digits: is something computed in float32, or cut short?"
    if got.size < 2:
        return None
    bad = int((~np.isfinite(got) & np.isfinite(expected)).sum())
    if bad:
        return f"yours holds NaN or infinity where a number is expected, {bad} of {got.size}"
    if not (np.isfinite(got) & np.isfinite(expected)).all():
        return None  # what follows is arithmetic
    if not got.any():
        return "yours is 0 everywhere"
    tolerance = ROUNDING * np.abs(expected).max(initial=0.0)

    def same(a: np.ndarray, b: np.ndarray) -> bool:
        return a.shape == b.shape and bool(np.abs(a - b).max(initial=0.0) <= tolerance)

    strong = np.abs(got) > 1e-3 * np.abs(got).max()
    factors = expected[strong] / got[strong]
    factor = float(np.median(factors))
    if expected.any() and same(got * factor, expected):
        sign = "the sign is flipped: " if abs(factor + 1) < 1e-4 else ""
        digits = 4 if abs(factor - 1) > 1e-3 else 7
        return f"{sign}yours × {factor:.{digits}g} = expected, everywhere"
    if got.ndim < 2:
        return "the right numbers in reverse order" if same(got[::-1], expected) else None
    if same(got.swapaxes(-1, -2), expected):
        return "rows and columns are exchanged"
    if same(got[..., ::-1, ::-1], expected):
        return "the last two axes are flipped: first is last"
    if got.ndim == 4 and got.shape[0] == got.shape[1] and same(got.swapaxes(0, 1), expected):
        return "the first two axes are exchanged"
    if same(np.sort(got, axis=None), np.sort(expected, axis=None)):
        return "the right numbers in other places"
    wrong = np.abs(got - expected) > tolerance
    inner = wrong[..., 1:-1, 1:-1]
    if min(got.shape[-2:]) > 3 and inner.size and not inner.any():
        return "only the border is wrong"
    offset = float(np.median(expected - got))
    if same(got + offset, expected):
        return f"yours + {offset:.4g} = expected, everywhere"
    return None


def _number(value: np.generic, digits: int = 6) -> str:
    """0.18830, 3, -2.5e-08: a number without needless digits."""
    if value.dtype.kind != "f":
        return str(value)
    text = f"{float(value):.{digits}g}"
    return "0" if text == "-0" else text
