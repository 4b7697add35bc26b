"""Initial weights: what a network starts from decides whether it starts at all. Each function fills a Parameter.

All random numbers come from the library's host generator, so that `sf.manual_seed` fixes them on any device.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..backend import device_of, generator, to_device
from ..tensor import Parameter

PIECE = 1 << 20  # random numbers drawn at once

_skipped = False


@contextmanager
def skipped() -> Iterator[None]:
    """Within this block new parameters stay as they were made, all zero: no random number is drawn.

    The system hands out memory when a zero is first written to, so a VGG16 made here takes milliseconds and next to
    no memory: enough to ask for its shapes, or to load weights, which would overwrite the initial ones anyhow.
    """
    global _skipped
    before, _skipped = _skipped, True
    try:
        yield
    finally:
        _skipped = before


def fill(parameter: Parameter, values: np.ndarray) -> Parameter:
    """Overwrite the parameter's array in place, keeping its dtype and device."""
    if _skipped:
        return parameter
    parameter.data[...] = to_device(values.astype(parameter.dtype), device_of(parameter.data))
    return parameter


def fan_in(parameter: Parameter) -> int:
    """How many inputs each output sums over: C·KH·KW for a convolution's weight (OC, C, KH, KW)."""
    return math.prod(parameter.shape[1:])


def he(parameter: Parameter) -> Parameter:
    """Normal with variance 2 / fan_in: keeps the activations' size through layers of ReLU (He et al. 2015)."""
    if _skipped:
        return parameter
    deviation = math.sqrt(2.0 / fan_in(parameter))
    return draw(parameter, lambda shape: generator().normal(0.0, deviation, shape))


def uniform(parameter: Parameter, bound: float) -> Parameter:
    """Uniform in [-bound, bound]; torch's default for weights and biases has bound 1 / √fan_in."""
    if _skipped:
        return parameter
    return draw(parameter, lambda shape: generator().uniform(-bound, bound, shape))


def draw(parameter: Parameter, sample: Callable[[tuple[int, ...]], np.ndarray]) -> Parameter:
    """Fill with random numbers, some rows at a time: the generator's numbers are twice as wide as ours, and those of
    VGG16's fc6 at once would take almost a gigabyte. They come in the same order either way."""
    rows, *rest = parameter.shape
    step = max(1, PIECE // max(1, math.prod(rest)))
    for start in range(0, rows, step):
        some = parameter.data[start : start + step]
        some[...] = to_device(sample(some.shape).astype(parameter.dtype), device_of(parameter.data))
    return parameter


def zeros(parameter: Parameter) -> Parameter:
    """All zero, as the paper's score layers (section 4.3): every class starts equally likely at every pixel."""
    if _skipped:
        return parameter
    return fill(parameter, np.zeros(parameter.shape))


def bilinear(parameter: Parameter) -> Parameter:
    """Bilinear interpolation as a transposed convolution: weight (C, C, KH, KW), each class upsampled by itself.

    The kernel is a tent, w[i] = 1 - |i - c| / f with f = ⌊(K + 1) / 2⌋ and its centre c in the middle of the kernel.
    For an upsampling factor s use K = 2s - s mod 2. Source: paper, section 3.3. Errors: ValueError where input
    and output channels differ.
    """
    C, OC, KH, KW = parameter.shape
    if C != OC:
        raise ValueError(f"init.bilinear: weight {parameter.shape} must have as many inputs as outputs: one per class")
    if _skipped:
        return parameter
    weight = np.zeros(parameter.shape)
    weight[np.arange(C), np.arange(C)] = np.outer(tent(KH), tent(KW))
    return fill(parameter, weight)


def tent(size: int) -> Any:
    """The 1-D bilinear kernel, (size,): 4 → ¼ ¾ ¾ ¼, 3 → ½ 1 ½."""
    factor = (size + 1) // 2
    centre = (size - 1) / 2 if size % 2 == 0 else factor - 1
    return 1.0 - np.abs(np.arange(size) - centre) / factor
