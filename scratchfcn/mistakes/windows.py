"""Where windows lie, as plain loops: what the mistakes in convolution and pooling are made of.

The library's own loops run over kernel positions and take care of speed. These run over everything, number by number
as one would explain it on paper, so that each mistake can be planted in exactly one place.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

Pair = tuple[int, int]


@dataclass(frozen=True)
class Windows:
    """Window (y, x) of an image of `size` (H, W) has its tap (i, j) at row y·s + i·d - p, and so for the columns."""

    size: Pair
    kernel: Pair
    stride: Pair
    padding: Pair
    dilation: Pair
    output: Pair

    def places(self) -> Iterator[tuple[int, int, int, int, int, int]]:
        """(y, x, i, j, row, column) of every tap that lies on the image, window after window."""
        (H, W), (KH, KW), (OH, OW) = self.size, self.kernel, self.output
        (SH, SW), (PH, PW), (DH, DW) = self.stride, self.padding, self.dilation
        for y in range(OH):
            for x in range(OW):
                for i in range(KH):
                    row = y * SH + i * DH - PH
                    if 0 <= row < H:
                        for j in range(KW):
                            column = x * SW + j * DW - PW
                            if 0 <= column < W:
                                yield y, x, i, j, row, column

    def gather(self, image: np.ndarray, beyond: float = 0.0) -> np.ndarray:
        """(N, C, H, W) → (N, C, KH, KW, OH, OW): each window's numbers, `beyond` where it looks over the edge."""
        windows = np.full((*image.shape[:2], *self.kernel, *self.output), beyond)
        for y, x, i, j, row, column in self.places():
            windows[:, :, i, j, y, x] = image[:, :, row, column]
        return windows

    def scatter(self, windows: np.ndarray) -> np.ndarray:
        """(N, C, KH, KW, OH, OW) → (N, C, H, W): each number added onto the pixel it belongs to."""
        image = np.zeros((*windows.shape[:2], *self.size))
        for y, x, i, j, row, column in self.places():
            image[:, :, row, column] += windows[:, :, i, j, y, x]
        return image

    def overwrite(self, windows: np.ndarray, by_tap: bool = False) -> np.ndarray:
        """The same with `=` in the place of `+=`: of several numbers for a pixel the last one stays.

        by_tap: the outer loop runs over kernel positions, as in col2im; otherwise over the windows.
        """
        image = np.zeros((*windows.shape[:2], *self.size))
        places = list(self.places())
        if by_tap:
            places.sort(key=lambda place: place[2:4])  # stable: the windows stay in order
        for y, x, i, j, row, column in places:
            image[:, :, row, column] = windows[:, :, i, j, y, x]
        return image
