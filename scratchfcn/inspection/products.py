"""The matrix products that ops amount to, whatever way they are computed: where nearly all of a network's time goes."""

from collections.abc import Sequence
from typing import Any

from ..backend import array_module
from ..ops import Conv1x1, Conv2d, ConvTranspose2d, Linear
from ..tensor import Function

Product = tuple[int, int, int, int]  # (M, K) @ (K, P), done that many times


def matrix_products(function: Function, inputs: Sequence[Any], y: Any) -> list[Product]:
    """The product that an op's forward is, by the formulas in ops/conv.py and ops/linear.py; none for other ops."""
    if isinstance(function, Linear):
        OUT, IN = inputs[1].shape
        return [(OUT, IN, y.size // OUT, 1)]
    if isinstance(function, Conv2d | Conv1x1):
        OC, CG, KH, KW = inputs[1].shape
        G = inputs[0].shape[1] // CG
        return [(OC // G, CG * KH * KW, y.size // OC, G)]  # (OC/G, CG*KH*KW) @ (CG*KH*KW, N*OH*OW)
    if isinstance(function, ConvTranspose2d):
        C, OCG, KH, KW = inputs[1].shape
        G = function.groups
        return [(OCG * KH * KW, C // G, inputs[0].size // C, G)]  # (OCG*KH*KW, C/G) @ (C/G, N*H*W)
    return []


def multiply_adds(products: Sequence[Product]) -> int:
    """How many times two numbers are multiplied and added to a sum."""
    return sum(M * K * P * times for M, K, P, times in products)


def shares_memory(a: Any, b: Any) -> bool:
    """Whether two arrays may lie in the same place."""
    return type(a) is type(b) and array_module(a).may_share_memory(a, b)
