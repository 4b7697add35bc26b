"""What a check compares with: slopes that were measured, and the arrays that known mistakes lead to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from .compare import ONE_OF, Known


def finite_differences(
    forward: Callable[..., np.ndarray], arrays: Sequence[np.ndarray], gy: np.ndarray, h: float = 1e-5
) -> list[np.ndarray]:
    """The gradients of Σ gy·forward(*arrays) with respect to every number of every array, two evaluations for each.

    float64 in, float64 out. Nothing but the forward pass is used, so what comes out is right however backward works.
    """
    gradients = []
    for array in arrays:
        gradient = np.zeros_like(array)
        for index in np.ndindex(array.shape):
            x = array[index]
            array[index] = x + h
            right = np.array(forward(*arrays))  # a copy: an op may return a view of its input
            array[index] = x - h
            left = np.array(forward(*arrays))
            array[index] = x
            gradient[index] = (gy * (right - left)).sum() / (2 * h)
        gradients.append(gradient)
    return gradients


def one_of(mistakes: Mapping[str, Any]) -> Known:
    """Mistakes of one call, as sentence → the array it leads to (or {name: array} where there are several results).

    Where several lead to the same array, all of them are named.
    """

    def known(name: str, got: np.ndarray) -> str | None:
        return ONE_OF.join(matching(mistakes, name, got)) or None

    return known


def matching(mistakes: Mapping[str, Any], name: str, got: np.ndarray) -> list[str]:
    """The sentences of the mistakes that lead to `got`."""
    arrays = {s: wrong.get(name) if isinstance(wrong, Mapping) else wrong for s, wrong in mistakes.items()}
    return [
        sentence
        for sentence, array in arrays.items()
        if array is not None
        and np.shape(array) == got.shape
        and np.allclose(got, array, rtol=1e-5, atol=1e-8, equal_nan=True)
    ]


def gradient_mistakes(
    op: str, inputs: Sequence[Any], settings: Mapping[str, Any], gy: np.ndarray, which: Mapping[str, int]
) -> Known:
    """Mistakes in backward that `scratchfcn.mistakes` knows of the op; which: result name → number of the input."""

    def known(name: str, got: np.ndarray) -> str | None:
        from ..mistakes import explain

        return explain(op, list(inputs), dict(settings), gy, got, which[name]) if name in which else None

    return _optional(known)


def forward_mistakes(op: str, inputs: Sequence[Any], settings: Mapping[str, Any] | None = None) -> Known:
    """Mistakes in forward that `scratchfcn.mistakes` knows of the op."""

    def known(name: str, got: np.ndarray) -> str | None:
        from ..mistakes import explain_forward

        return explain_forward(op, list(inputs), dict(settings or {}), got)

    return _optional(known)


def first_of(*askers: Known) -> Known:
    """The first answer of several."""
    return lambda name, got: next((said for ask in askers if (said := ask(name, got))), None)


def _optional(known: Known) -> Known:
    """Naming a mistake is an extra: whatever goes wrong with it must not hide what is wrong with the exercise."""

    def ask(name: str, got: np.ndarray) -> str | None:
        try:
            return known(name, got)
        except Exception:
            return None

    return ask
