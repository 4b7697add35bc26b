"""01 · how large is the output?

The first window takes `span` of the padded row; every further one needs `stride` more. What is left at the end and too
short for a stride is not looked at, hence the rounding down.
"""


def output_size(size: int, kernel: int, stride: int, padding: int, dilation: int) -> int:
    """⌊(size + 2·padding - span) / stride⌋ + 1"""
    span = dilation * (kernel - 1) + 1
    return (size + 2 * padding - span) // stride + 1
