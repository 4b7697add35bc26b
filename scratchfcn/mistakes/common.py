"""Mistakes that fit any op: the right gradient, and then one thing too many."""

from collections.abc import Callable
from typing import Any

import numpy as np

from .mistake import Call, Mistake
from .reference import gradients_of, input_names


def right(call: Call, which: str) -> np.ndarray:
    """The right gradient of one input."""
    return gradients_of(call)[input_names(call.op, len(call.inputs)).index(which)]


def of_right(op: str, which: str, name: str, remedy: str, spoil: Callable[[np.ndarray, Call], Any]) -> Mistake:
    """A mistake that spoils the right gradient in one step."""
    return Mistake(op, which, name, remedy, lambda call: spoil(right(call, which), call))


def ones_upstream(op: str, which: str, g: str) -> Mistake:
    """Backward without its upstream gradient: what somebody gets who differentiates the sum of the outputs."""

    def wrong(call: Call) -> np.ndarray:
        return right(Call(call.op, call.inputs, call.settings, np.ones(call.gy.shape)), which)

    remedy = "Chain rule: multiply by the gradient that comes from above."
    return Mistake(op, which, f"gy is left out: {g} is as if every output counted once", remedy, wrong)


def batch(call: Call) -> int:
    """N, the number of images in the first input."""
    return call.inputs[0].shape[0]


def scales(op: str, which: str, g: str) -> list[Mistake]:
    """Wrong by a factor."""
    divided = "The loss already averages, so the gradients of the images are only added up."
    return [
        of_right(op, which, f"{g} has the wrong sign", "Drop the minus, or add the one that is missing.", negative),
        of_right(op, which, f"{g} divided by N", divided, lambda g, call: g / batch(call)),
        of_right(op, which, f"{g} multiplied by N", "Count every image once.", lambda g, call: g * batch(call)),
        of_right(op, which, f"{g} is doubled", "Add it once.", lambda g, call: g * 2),
        of_right(op, which, f"{g} is halved", "Drop the factor ½.", lambda g, call: g / 2),
        ones_upstream(op, which, g),
    ]


def negative(g: np.ndarray, call: Call) -> np.ndarray:
    return -g


def one_image(op: str, which: str, g: str) -> list[Mistake]:
    """An input that has images (its first axis), of which only one gets its gradient."""

    def only(n: int) -> Callable[[np.ndarray, Call], Any]:
        def spoil(g: np.ndarray, call: Call) -> np.ndarray | None:
            if len(g) < 2:
                return None
            wrong = np.zeros_like(g)
            wrong[n] = g[n]
            return wrong

        return spoil

    remedy = "Every image has its own gradient: let the loop run over all N, or leave the batch axis to NumPy."
    return [
        of_right(op, which, f"{g} of the first image only, 0 for the others", remedy, only(0)),
        of_right(op, which, f"{g} of the last image only, 0 for the others", remedy, only(-1)),
    ]


def on_images(op: str, which: str = "x") -> list[Mistake]:
    """What can happen to any gradient that has the shape of a batch of images."""
    g = "gx"
    return [*scales(op, which, g), *one_image(op, which, g)]
