"""What bounds an op, in a sentence: its arithmetic, the memory, or what is done around them.

On a GPU (there are floors for a launch then) an op can also be bound by Python, which launches its kernels: where that
takes longer than the GPU's own work, or where that work is about as long as that of kernels that do nothing.
"""

from __future__ import annotations

from .per_op import Row

TINY = 50e-6  # seconds; below, Python's calls are a good part of the time
NEAR = 0.7  # of the best possible
SAME = 0.95  # of the op's time: a product that takes that much is all of it
FAST = 25e-6  # seconds; data that moves in less takes less time than the calls that move it
LAUNCHES = 2  # times as long as an empty kernel, and it makes no difference what a kernel does
THIN = 64  # numbers; a matrix with a shorter side is used up too fast


def floor_seconds(row: Row, floors: dict[str, float]) -> float:
    """The least time a row can take: its arithmetic or its bytes, whichever is longer."""
    return max(row.flop / floors["flops"], row.bytes / floors["bandwidth"])


def bound(row: Row, floors: dict[str, float]) -> str:
    """The sentence of a row."""
    if row.op == "other":
        between = "Python between the ops" if "launch" not in floors else "kernels between the ops"
        return ", and ".join(filter(None, [between, row.around]))
    if "launch" in floors and (row.bytes or row.products) and (text := launch_bound(row, floors["launch"])):
        return text
    return product_bound(row, floors) if row.products else memory_bound(row, floors)


def launch_bound(row: Row, launch: float) -> str:
    """Of an op that a GPU is through with before Python has launched the next; empty for others."""
    passes = (row.forward_s > 0) + (row.backward_s > 0)
    if row.host_s is not None and row.host_s > row.seconds:
        return (
            f"launches, not work: Python takes {milliseconds(row.host_s)} ms to launch it, the GPU "
            f"{milliseconds(row.seconds)} ms to do it"
        )
    if row.seconds < LAUNCHES * launch * passes:
        return f"launches, not work: takes about as long as empty kernels, {milliseconds(launch)} ms each"
    return ""


def memory_bound(row: Row, floors: dict[str, float]) -> str:
    """For ops without a matrix product: how many passes over their arrays do they take?"""
    if row.bytes == 0:
        return "a view: nothing moves"
    gpu = "launch" in floors
    if row.seconds < TINY and not gpu:
        return "small: calling it takes as long as its arithmetic"
    passes = row.seconds / floor_seconds(row, floors)
    size = f"{row.bytes / 1e6:.3g} MB"
    if passes < 0.8:
        return f"cache: its {size} are read and written faster than memory would allow"
    if passes < 1.5:
        return f"memory: reads and writes {size} and computes next to nothing"
    if floor_seconds(row, floors) < (floors["launch"] if gpu else FAST):
        return "small: the calls around it take longer than its data"
    return f"several passes: takes as long as moving its {size} {passes:.1f} times"


def product_bound(row: Row, floors: dict[str, float]) -> str:
    """For convolutions: is it the product, its shape, or the work around it?"""
    if row.seconds < TINY and "launch" not in floors:
        return "small: calling it takes as long as its arithmetic"
    memory = row.bytes / floors["bandwidth"]
    if memory > max(row.flop / floors["flops"], 0.5 * row.seconds):
        return f"memory: {row.flop / row.bytes:.1f} FLOP for every byte, so its {row.bytes / 1e6:.3g} MB take longer"
    alone = row.product_s if row.product_s < SAME * row.seconds else row.seconds
    speed, best = row.flop / alone, floors["flops"]
    rate = f"{giga(speed)} of {giga(best)} GFLOP/s"
    shape = f"{rate}, near the best" if speed > NEAR * best else f"{rate}{thinness(row)}"
    if row.product_s < NEAR * row.seconds:
        around = row.around or "prepares and stores"
        parts = f"{milliseconds(row.product_s)} of {milliseconds(row.seconds)} ms"
        return f"around the product: it takes {parts} ({shape}), the rest {around}"
    return f"matrix product: {shape}"


def thinness(row: Row) -> str:
    """Why a product is slow: the short side of (M, K) @ (K, P), the forward pass's, if one is short."""
    M, K, P, _ = row.products[0]
    if row.op == "conv_transpose2d":
        sides = {"{} number{s} a stamp": M, "{} input channel{s}": K, "{} pixel{s}": P}
    else:
        sides = {"{} output channel{s}": M, "windows of {} number{s}": K, "{} pixel{s}": P}
    text, length = min(sides.items(), key=lambda side: side[1])
    if length >= THIN:
        return ", below the best: this shape, or a disturbed machine"
    one = length == 1 and not text.startswith("windows")
    return f": {text.format(length, s='' if length == 1 else 's')} make{'s' * one} thin matrices"


def milliseconds(seconds: float) -> str:
    """Three digits, as far as they mean something: "0.004", "1.23", "12.3", "123", "1,234"."""
    value = 1000 * seconds
    if value >= 99.95:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 9.995 else f"{value:.2f}" if value >= 0.9995 else f"{value:.3f}"


def giga(flops: float) -> str:
    return f"{flops / 1e9:.0f}"
