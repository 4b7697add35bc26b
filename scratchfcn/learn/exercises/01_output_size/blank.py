"""01 · how large is the output?

A window of `kernel` numbers slides along a row of `size` numbers, `stride` at a time. How many places does it stop at?
Two things change the count:

    padding    that many zeros are put before the row, and as many behind it
    dilation   the window's numbers are that far apart (1: side by side), so that it covers
               dilation · (kernel - 1) + 1 numbers, its span

It stops only where it lies wholly within the padded row. For example, with size 5, kernel 3, stride 2, no padding:

    1 2 3 4 5
    [---]             first stop
        [---]         second stop, two further; a third would hang over the end: the answer is 2

Rows and columns of an image follow the same rule, each by itself. All other exercises use it.
"""


def output_size(size: int, kernel: int, stride: int, padding: int, dilation: int) -> int:
    """How many windows fit: one, and one more for each stride that is left in the padded row behind the first.

    All five are whole numbers, and at least one window fits. Returns an int.
    """
    raise NotImplementedError("01 output_size: not written yet")
