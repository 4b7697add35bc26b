"""Where the pixels of a feature map lie on the image, and how much of the image each of them sees.

Every pixel i of a feature map looks at a patch of the input. Along one axis, the patches' centres form a regular
grid, centre(i) = stride·i + start, in input pixels (pixel 0's centre is 0), and all patches have the same size, the
receptive field. Each layer changes the three numbers by a simple rule; nothing else is needed to compute
receptive fields (paper, section 3) and the crop offsets that line up two maps before they are added (section 4.2).

Strides and centres are exact: an upsampling layer divides the stride, so the numbers are fractions. The receptive
field is exact behind convolutions and pools. Behind a transposed convolution the pixels of one map see patches of
different sizes (and a dilated one steps over pixels), so there it is an upper bound: no pixel sees more.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple


class Window(NamedTuple):
    """What geometry needs to know of a layer along one axis; a transposed convolution upsamples by its stride."""

    kernel: int
    stride: int = 1
    padding: int = 0
    dilation: int = 1
    transposed: bool = False


@dataclass(frozen=True)
class Grid:
    """The pixels of a feature map, seen from the input; `Grid()` is the input itself."""

    stride: Fraction = Fraction(1)  # input pixels from one centre to the next
    start: Fraction = Fraction(0)  # centre of pixel 0, in input pixels
    receptive_field: Fraction = Fraction(1)  # input pixels that one pixel depends on; at most, behind upsampling

    def through(self, *windows: Window) -> "Grid":
        """The grid behind these layers, applied in order.

        Convolution or pooling (k, s, p, d): its window covers d·(k - 1) + 1 pixels, and pixel 0's window starts p
        pixels early. Transposed convolution (k, s, p): output o sits at input position
        (o + p - d·(k - 1)/2) / s.
        """
        grid = self
        for k, s, p, d, transposed in windows:
            reach = Fraction(d * (k - 1))  # from the first to the last pixel of a window
            if transposed:
                seen = -(-(d * (k - 1) + 1) // s) - 1  # further input pixels that reach one output pixel
                grid = Grid(
                    grid.stride / s,
                    grid.start + grid.stride * (p - reach / 2) / s,
                    grid.receptive_field + seen * grid.stride,
                )
            else:
                grid = Grid(
                    grid.stride * s,
                    grid.start + grid.stride * (reach / 2 - p),
                    grid.receptive_field + reach * grid.stride,
                )
        return grid

    def centre(self, i: int) -> Fraction:
        """The input position at the centre of pixel i's receptive field."""
        return self.stride * i + self.start


def crop_offset(source: Grid, reference: Grid) -> int:
    """How many pixels to drop from the front of `source` so that its pixel 0 coincides with that of `reference`.

    Negative where `source` starts later; then `reference` is the one to crop. Errors: ValueError where the strides
    differ, or where the grids are shifted by a fraction of a pixel and no crop can align them.
    """
    if source.stride != reference.stride:
        raise ValueError(f"crop_offset: strides {source.stride} and {reference.stride} differ; upsample first")
    offset = (reference.start - source.start) / source.stride
    if offset.denominator != 1:
        raise ValueError(
            f"crop_offset: the maps are {offset} pixels apart, and a crop moves by whole pixels; "
            "change the upsampling kernel's size by one"
        )
    return int(offset)


def compose(f: tuple[int, int], g: tuple[int, int]) -> tuple[int, int]:
    """Kernel and stride of f ∘ g (g first): (k, s) ∘ (k', s') = (k' + (k - 1)·s', s·s'). Paper, section 3."""
    (k, s), (k_first, s_first) = f, g
    return k_first + (k - 1) * s_first, s * s_first


def widest(*branches: Sequence[Window]) -> list[Window]:
    """Of branches that start from one map and are joined again, the one that sees most: it stands for all of them.

    Joined maps must lie on the same pixels of the input: all branches need the same stride and start. Errors:
    ValueError where they do not, as then what is joined does not belong together.
    """
    grids = [chain(branch) for branch in branches]
    if len({(grid.stride, grid.start) for grid in grids}) > 1:
        places = "; ".join(f"{grid.stride}·i + {grid.start}" for grid in grids)
        raise ValueError(f"widest: the branches put pixel i at different places ({places}), so they cannot be joined")
    return list(max(zip(grids, branches, strict=True), key=lambda pair: pair[0].receptive_field)[1])


def chain(windows: Iterable[Window]) -> Grid:
    """The grid of a whole stack of layers over the input."""
    return Grid().through(*windows)
