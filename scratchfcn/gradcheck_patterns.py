"""What the wrong entries of a gradient have in common: a factor, a sign, a shift, a flip, one image, the border.

Each pattern is a hypothesis that can be tried on the numbers: turn what backward said around, and see whether it
becomes what the finite differences say. The simplest one that fits is reported; where none fits, nothing is made up.
"""

from collections.abc import Iterator, Mapping
from itertools import combinations, permutations, product

import numpy as np

CLOSE = 1e-4  # of the largest number: finite differences are no better than about 1e-8
FAR = 3  # shifts of up to that many rows and columns are tried


def pattern(
    yours: np.ndarray,
    expected: np.ndarray,
    wrong: np.ndarray,
    axes: tuple[str, ...] = (),
    sizes: Mapping[str, int] | None = None,
) -> str | None:
    """The simplest thing that the errors have in common, in words; None if they have nothing in common.

    yours, expected: arrays of one shape; expected is NaN where nobody looked, or where there is no derivative. wrong:
    where they differ. axes: names of the axes ("image", "channel", "row", "column"). sizes: numbers with a meaning
    ("the batch size N": 2), for factors.
    """
    seen = ~np.isnan(expected)
    axes = axes if len(axes) == yours.ndim else tuple(f"axis {i}" for i in range(yours.ndim))
    if not np.isfinite(yours).all():
        where = "everywhere" if not np.isfinite(yours).any() else f"at {(~np.isfinite(yours)).sum()} entries"
        return f"yours holds NaN or infinity, {where}"
    if not yours.any():
        return "yours is 0 everywhere: no gradient arrives here"
    factor = constant_factor(yours[seen], expected[seen])
    if factor is not None:
        return factor_words(factor, sizes or {})
    if seen.mean() > 0.5:
        found = moved(yours, expected, axes)
        if found:
            return found
    found = on_border(wrong, seen, axes) or some_slices(yours, wrong, seen, axes)
    if found:
        return found
    if not yours[wrong].any():
        return "yours is 0 at every wrong entry; the others are right" if (seen & ~wrong).any() else None
    return by_slice(yours, expected, axes)


# --- numbers ----------------------------------------------------------------------------------------------


def constant_factor(yours: np.ndarray, expected: np.ndarray) -> float | None:
    """The one number that turns every entry of `yours` into the expected value, if there is one."""
    if not yours.any():
        return None
    factor = float(yours @ expected / (yours @ yours))  # least squares
    largest = np.abs(expected).max()
    telling = np.count_nonzero(np.abs(expected) > 1e-3 * largest)  # one number is a multiple of any other
    fits = np.abs(factor * yours - expected).max() < CLOSE * largest
    return factor if telling > 1 and fits else None


def factor_words(factor: float, sizes: Mapping[str, int]) -> str:
    """`yours × 2.000 = expected, everywhere; 2 is the batch size N`"""
    if abs(factor + 1) < CLOSE:
        return "the sign is flipped: yours × -1 = expected, everywhere"
    words = f"yours × {factor:#.4g} = expected, everywhere"
    magnitude = max(abs(factor), 1 / abs(factor))
    meanings = [name for name, size in sizes.items() if size > 1 and abs(magnitude / size - 1) < CLOSE]
    if meanings:
        number = str(round(magnitude))
        number = number if abs(factor) > 1 else f"{factor:#.4g} = 1/{number}, and {number}"
        words += f"; {number} is {' and also '.join(meanings[:3])}"
    return words


def same(a: np.ndarray, expected: np.ndarray) -> bool:
    """Whether `a` is the expected array, wherever that is known, and this is no accident of a few equal numbers."""
    seen = ~np.isnan(expected)
    values = expected[seen]
    if values.size < 2:
        return False
    largest = np.abs(values).max()
    return bool(np.abs(a[seen] - values).max() < CLOSE * largest and np.ptp(values) > CLOSE * largest)


# --- numbers in the wrong place ---------------------------------------------------------------------------


def moved(yours: np.ndarray, expected: np.ndarray, axes: tuple[str, ...]) -> str | None:
    """The right numbers (or all of them with the wrong sign) in other places."""
    for words, back in ways_back(yours, axes):
        for sign, also in ((1, ""), (-1, ", and the sign is flipped")):
            if same(sign * back, expected):
                return words + also
    for dy, dx in sorted(product(range(-FAR, FAR + 1), repeat=2), key=lambda d: abs(d[0]) + abs(d[1])):
        if yours.ndim >= 2 and (dy or dx) and shifted(yours, expected, dy, dx):
            return f"yours is the expected array, shifted by ({dy:+d}, {dx:+d}) in ({axes[-2]}s, {axes[-1]}s)"
    return None


def ways_back(yours: np.ndarray, axes: tuple[str, ...]) -> Iterator[tuple[str, np.ndarray]]:
    """Flips and transpositions, and both at once of rows and columns, with their names; fewest axes first."""
    ndim = yours.ndim
    for count in range(1, ndim + 1):
        for flipped in combinations(reversed(range(ndim)), count):
            if all(yours.shape[axis] > 1 for axis in flipped):
                turned = " (turned by 180°)" if ndim >= 2 and sorted(flipped) == [ndim - 2, ndim - 1] else ""
                names = " and ".join(f"{axes[a]}s" for a in sorted(flipped))
                yield f"yours is the expected array with its {names} in reverse order{turned}", np.flip(yours, flipped)
    for order in permutations(range(ndim)):
        if order != tuple(range(ndim)) and tuple(yours.shape[a] for a in order) == yours.shape:
            exchanged = [axes[a] for a in range(ndim) if order[a] != a]
            names = " and ".join(f"{name}s" for name in exchanged)
            yield f"yours is the expected array with {names} exchanged (transposed)", yours.transpose(order)
    if ndim >= 2 and yours.shape[-1] == yours.shape[-2]:
        for turns, degrees in ((1, 90), (3, 270)):
            yield f"yours is the expected array turned by {degrees}°", np.rot90(yours, turns, axes=(-1, -2))
    yield "yours holds the expected numbers in reverse order", yours.ravel()[::-1].reshape(yours.shape)
    yield (
        "yours holds the expected numbers in another reading order (Fortran's: first index fastest)",
        yours.ravel(order="F").reshape(yours.shape),
    )


def shifted(yours: np.ndarray, expected: np.ndarray, dy: int, dx: int) -> bool:
    """Whether yours[y + dy, x + dx] = expected[y, x] wherever both exist, which must be most of the plane."""
    H, W = yours.shape[-2:]
    h, w = H - abs(dy), W - abs(dx)
    if h < 2 or w < 2:
        return False
    ours = yours[..., max(dy, 0) : max(dy, 0) + h, max(dx, 0) : max(dx, 0) + w]
    theirs = expected[..., max(-dy, 0) : max(-dy, 0) + h, max(-dx, 0) : max(-dx, 0) + w]
    return same(ours, theirs)


# --- some entries right, some wrong -----------------------------------------------------------------------


def on_border(wrong: np.ndarray, seen: np.ndarray, axes: tuple[str, ...]) -> str | None:
    """Wrong only in the first or last rows and columns, of an array that has an inside."""
    if wrong.ndim < 2 or min(wrong.shape[-2:]) <= 3:  # a 3x3 kernel is all border
        return None
    H, W = wrong.shape[-2:]
    for depth in (1, 2):
        inner = (..., slice(depth, H - depth), slice(depth, W - depth))
        if min(H, W) < 3 * depth or wrong[inner].any() or not seen[inner].any():
            continue
        sides = {
            f"first {axes[-2]}": np.s_[..., :depth, :],
            f"last {axes[-2]}": np.s_[..., H - depth :, :],
            f"first {axes[-1]}": np.s_[..., :, :depth],
            f"last {axes[-1]}": np.s_[..., :, W - depth :],
        }
        share = {name: wrong[side].sum() / max(1, seen[side].sum()) for name, side in sides.items()}
        names = [name for name, s in share.items() if s > 0.7]
        if names:
            deep = ", two pixels deep" if depth == 2 else ""
            return f"wrong only on the border ({', '.join(names)}{deep}); the interior is right"
    return None


def some_slices(yours: np.ndarray, wrong: np.ndarray, seen: np.ndarray, axes: tuple[str, ...]) -> str | None:
    """Along one axis some indices are right and the others are wrong: one image only, one channel only."""
    for axis, name in enumerate(axes):
        others = tuple(i for i in range(wrong.ndim) if i != axis)
        bad = wrong.any(axis=others)
        good = seen.any(axis=others) & ~bad
        if not bad.any() or not good.any():
            continue
        share = wrong.sum(axis=others)[bad] / np.maximum(1, seen.sum(axis=others)[bad])
        if share.min() < 0.3 or wrong.size < 4:  # scattered errors that happen to spare an index
            continue
        bad_at, good_at = np.flatnonzero(bad), np.flatnonzero(good)
        zero = not np.take(yours, bad_at, axis=axis).any()
        what = "is 0" if zero else "is wrong"
        if len(good_at) <= len(bad_at):
            return f"only {listed(name, good_at)} {'is' if len(good_at) == 1 else 'are'} right; elsewhere yours {what}"
        return f"wrong only in {listed(name, bad_at)}{', where yours is 0' if zero else ''}; the others are right"
    return None


def listed(name: str, indices: np.ndarray) -> str:
    """`image 0`, `images 1, 2, 3`, `columns 1, 3, 5, 7, … (12)`"""
    numbers = ", ".join(str(i) for i in indices[:5])
    more = f", … ({len(indices)})" if len(indices) > 5 else ""
    return f"{name} {numbers}" if len(indices) == 1 else f"{name}s {numbers}{more}"


def by_slice(yours: np.ndarray, expected: np.ndarray, axes: tuple[str, ...]) -> str | None:
    """A factor, or a number too many, of its own for every index of an axis: a wrong weight, a forgotten mean."""
    for axis, name in enumerate(axes):
        if yours.shape[axis] < 2 or yours.size // yours.shape[axis] < 3:
            continue
        slices = [(np.take(yours, i, axis), np.take(expected, i, axis)) for i in range(yours.shape[axis])]
        slices = [(a[~np.isnan(e)], e[~np.isnan(e)]) for a, e in slices]
        if any(a.size < 3 for a, _ in slices):
            return None
        if all(constant_factor(a, e) is not None for a, e in slices):
            factors = ", ".join(f"{constant_factor(a, e):.4g}" for a, e in slices[:4])
            more = ", …" if len(slices) > 4 else ""
            return f"yours × a factor = expected, another one for each {name}: {factors}{more}"
        largest = np.nanmax(np.abs(expected))
        if all(np.ptp(a - e) < CLOSE * largest for a, e in slices):
            return f"yours - expected is one number for each {name}: a mean or a sum is missing, or one too many"
    gaps = (yours - expected)[~np.isnan(expected)]
    if gaps.size > 2 and np.ptp(gaps) < CLOSE * np.nanmax(np.abs(expected)):
        return f"yours - expected is {gaps.mean():.4g} everywhere: a term is missing, or one too many"
    return None
