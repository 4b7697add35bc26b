"""What bounds an op, in a sentence: its arithmetic, the memory, or what is done around them."""

from __future__ import annotations

from .per_op import Row

TINY = 50e-6  # seconds; below, Python's calls are a good part of the time
NEAR = 0.7  # of the best possible
AROUND = {"conv2d": "builds columns", "conv_transpose2d": "lays the blocks out", "conv1x1": "moves channels"}


def floor_seconds(row: Row, floors: dict[str, float]) -> float:
    """The least time a row can take: its arithmetic or its bytes, whichever is longer."""
    return max(row.flop / floors["flops"], row.bytes / floors["bandwidth"])


def bound(row: Row, floors: dict[str, float]) -> str:
    """The sentence of a row."""
    if row.op == "other":
        return "Python between the ops, and gradients that are added where paths meet"
    return product_bound(row, floors) if row.products else memory_bound(row, floors)


def memory_bound(row: Row, floors: dict[str, float]) -> str:
    """For ops without a matrix product: how many passes over their arrays do they take?"""
    if row.bytes == 0:
        return "a view: nothing moves"
    if row.seconds < TINY:
        return "small: calling it takes as long as its arithmetic"
    passes = row.seconds / floor_seconds(row, floors)
    size = f"{row.bytes / 1e6:.3g} MB"
    if passes < 0.8:
        return f"cache: its {size} are read and written faster than memory would allow"
    if passes < 1.5:
        return f"memory: reads and writes {size} and computes next to nothing"
    return f"several passes: takes as long as moving its {size} {passes:.1f} times"


def product_bound(row: Row, floors: dict[str, float]) -> str:
    """For convolutions: is it the product, its shape, or the work around it?"""
    if row.seconds < TINY:
        return "small: calling it takes as long as its arithmetic"
    memory = row.bytes / floors["bandwidth"]
    if memory > max(row.flop / floors["flops"], 0.5 * row.seconds):
        return f"memory: {row.flop / row.bytes:.1f} FLOP for every byte, so its {row.bytes / 1e6:.3g} MB take longer"
    speed, best = row.flop / row.product_s, floors["flops"]
    rate = f"{giga(speed)} of {giga(best)} GFLOP/s"
    shape = f"{rate}, near the best" if speed > NEAR * best else f"{rate}: {thinness(row)} make thin matrices"
    if row.product_s < NEAR * row.seconds:
        around = AROUND.get(row.op, "prepares and stores")
        parts = f"{milliseconds(row.product_s)} of {milliseconds(row.seconds)} ms"
        return f"around the product: it takes {parts} ({shape}), the rest {around}"
    return f"matrix product: {shape}"


def thinness(row: Row) -> str:
    """Which side of the product is short: (M, K) @ (K, P) of the forward pass."""
    M, K, P, _ = row.products[0]
    if row.op == "conv_transpose2d":
        sides = {f"{M} numbers a stamp": M, f"{K} input channels": K, f"{P} pixels": P}
    else:
        sides = {f"{M} output channels": M, f"windows of {K} numbers": K, f"{P} pixels": P}
    return min(sides, key=sides.get)


def milliseconds(seconds: float) -> str:
    """Three digits, as far as they mean something: "0.004", "1.23", "12.3", "123", "1,234"."""
    value = 1000 * seconds
    if value >= 99.95:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 9.995 else f"{value:.2f}" if value >= 0.9995 else f"{value:.3f}"


def giga(flops: float) -> str:
    return f"{flops / 1e9:.0f}"
