"""Counted on paper first, then by walking along the row."""

from collections.abc import Callable

from scratchfcn.learn import Trial

NAMES = ("size", "kernel", "stride", "padding", "dilation")
BY_HAND = {  # size, kernel, stride, padding, dilation: windows
    (5, 3, 1, 0, 1): 3,
    (5, 3, 2, 0, 1): 2,
    (8, 3, 2, 0, 1): 3,
    (5, 3, 1, 1, 1): 5,
    (7, 3, 1, 0, 2): 3,
    (10, 3, 3, 2, 2): 4,
}
MISTAKES: dict[str, Callable[..., int]] = {
    "the first window is not counted: + 1": lambda n, k, s, p, d: (n + 2 * p - d * (k - 1) - 1) // s,
    "padding is counted once; it lies at both ends": lambda n, k, s, p, d: (n + p - d * (k - 1) - 1) // s + 1,
    "padding is not counted": lambda n, k, s, p, d: (n - d * (k - 1) - 1) // s + 1,
    "neither padding nor dilation is counted": lambda n, k, s, p, d: (n - k) // s + 1,
    "dilation is not counted": lambda n, k, s, p, d: (n + 2 * p - k) // s + 1,
    "the span is dilation · (kernel - 1) + 1, not dilation · kernel": lambda n, k, s, p, d: (
        (n + 2 * p - d * k) // s + 1
    ),
    "rounded up: a window that hangs over the end does not count": (
        lambda n, k, s, p, d: -(-(n + 2 * p - d * (k - 1) - 1) // s) + 1
    ),
    "rounded to the nearest number: a window that hangs over the end does not count, so round down, with //": (
        lambda n, k, s, p, d: round((n + 2 * p - d * (k - 1) - 1) / s) + 1
    ),
    "a window that ends just where the row does is not counted": lambda n, k, s, p, d: (
        -(-(n + 2 * p - d * (k - 1) - 1) // s)
    ),
    "the stride is not counted": lambda n, k, s, p, d: n + 2 * p - d * (k - 1),
    "the 1 is missing in the span, dilation · (kernel - 1) + 1": lambda n, k, s, p, d: (
        (n + 2 * p - d * (k - 1)) // s + 1
    ),
}


def check(t: Trial) -> None:
    with t.stage("counted by hand"):
        for numbers, windows in BY_HAND.items():
            expect(t, dict(zip(NAMES, numbers, strict=True)), windows, "by hand")
    with t.stage("counted by walking along the row"):
        for rng in t.draws(200):
            kernel, stride, dilation = (int(n) for n in rng.integers(1, 6, 3))
            padding, more = int(rng.integers(0, 5)), int(rng.integers(0, 30))
            span = dilation * (kernel - 1) + 1
            size = max(1, span - 2 * padding) + more
            windows = len(range(0, size + 2 * padding - span + 1, stride))
            inputs = dict(zip(NAMES, (size, kernel, stride, padding, dilation), strict=True))
            expect(t, inputs, windows, "counted")


def expect(t: Trial, inputs: dict[str, int], windows: int, by: str) -> None:
    others = [dict(zip(NAMES, numbers, strict=True)) for numbers in BY_HAND]
    known = t.explained("output_size", wrong_sizes, inputs, others)
    t.expect("output_size", inputs, {"windows": windows}, by=by, known=known)


def wrong_sizes(size: int, kernel: int, stride: int, padding: int, dilation: int) -> dict[str, int]:
    return {sentence: f(size, kernel, stride, padding, dilation) for sentence, f in MISTAKES.items()}
