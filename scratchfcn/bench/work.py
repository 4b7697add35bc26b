"""How much an op has to do, whatever way it is computed: multiplications and additions, and bytes to read and write.

Counted from shapes alone, so that the counts are the same for a slow way and a fast one, for this library and another:

- a multiplication and an addition are two floating point operations (FLOP), and only those of matrix products count;
- every input is read once, every output written once; what an op keeps for itself, such as columns, is not counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..inspection import Product, matrix_products, multiply_adds, shares_memory
from ..ops import BatchNorm2d, Pad, Reshape
from ..tensor import Add, Function

PASS_ON = (Add, Pad, Reshape)  # their backward can hand gy on as it is


@dataclass
class Work:
    """What one forward or backward must do at least. products: the matrix products it amounts to."""

    flop: int
    bytes: int
    products: list[Product]


def forward_work(function: Function, inputs: Sequence[Any], y: Any) -> Work:
    """Of `y = function.forward(*inputs)`."""
    arrays = [x for x in inputs if x is not None]
    if any(shares_memory(y, x) and y.shape != x.shape for x in arrays):  # a view, such as a crop: nothing moves
        return Work(0, 0, [])
    products = matrix_products(function, inputs, y)
    return Work(flop_of(products), y.nbytes + sum(x.nbytes for x in arrays), products)


def backward_work(
    function: Function, forward: Work, input_bytes: Sequence[int], gy: Any, gradients: Sequence[Any]
) -> Work:
    """Of `gradients = function.backward(gy)`; None where no gradient was wanted. input_bytes: of forward's inputs.

    A convolution needs one product for the weight's gradient, which reads x again, and one for x's, which reads the
    weight; each is as large as forward's. Batch norm reads x again. The others can do with gy and a few bits.
    """
    given = [g for g in gradients if g is not None]
    if not given or (isinstance(function, PASS_ON) and all(shares_memory(g, gy) for g in given)):
        return Work(0, 0, [])
    moved = gy.nbytes + sum(g.nbytes for g in given)
    products: list[Product] = []
    for M, K, P, times in forward.products:
        if gradients[1] is not None:
            products.append((K, P, M, times))  # gw = x @ gyᵀ: summed over the pixels
            moved += input_bytes[0]
        if gradients[0] is not None:
            products.append((K, M, P, times))  # gx = wᵀ @ gy
            moved += input_bytes[1]
    if isinstance(function, BatchNorm2d):
        moved += input_bytes[0]
    return Work(flop_of(products), moved, products)


def flop_of(products: Sequence[Product]) -> int:
    return 2 * multiply_adds(products)
