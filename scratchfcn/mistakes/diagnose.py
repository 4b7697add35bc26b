"""Naming the mistake in a gradient that finite differences have found to be wrong.

Numbers that agree to nine digits on one set of inputs may still be a coincidence of sizes: with two images, dividing
by N is halving. So where fn can be called again, it is, with one image more and a few more pixels, and only what agrees
there as well is named.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..backend import to_device, to_numpy
from ..tensor import Tensor
from . import catalogue, explain_forward, matching, words
from .mistake import Call, Mistake
from .recognise import complete, is_float, recognise, whole_numbers
from .reference import input_names

# ops that take more images, and those that take more rows and columns too
ANY_SIZE = ("conv2d", "conv1x1", "conv_transpose2d", "max_pool2d", "avg_pool2d", "relu", "relu6", "softmax", "dropout")
ANY_BATCH = (
    *ANY_SIZE,
    "linear",
    "batch_norm2d",
    "local_response_norm",
    "global_avg_pool2d",
    "adaptive_avg_pool2d",
    "crop",
    "pad",
    "resize_bilinear",
)


def recognised(
    y: Tensor, probe: Any, op: str | None, settings: Mapping[str, Any] | None
) -> tuple[Call, list[int]] | None:
    """The call of an op that made y, with the probe's upstream gradient, and the inputs' numbers.

    The probe's parameters count as arguments: a model may be one layer.
    """
    found = recognise(y, arguments_of(probe), op, settings)
    if found is None:
        return None
    call, numbers = found
    return Call(call.op, call.inputs, call.settings, probe.gy), numbers


def arguments_of(probe: Any) -> list[Any]:
    """fn's arguments, and after them the parameters, those that are learned first."""
    learned = [v.tensor for v in probe.variables if v.number >= len(probe.arguments)]
    return [*probe.arguments, *learned, *probe.constants]


def input_name(call: Call, position: int) -> str:
    return input_names(call.op, len(call.inputs))[position]


def known(
    probe: Any,
    call: Call,
    numbers: list[int],
    result: Any,
    which: str,
    op: str | None,
    settings: Mapping[str, Any] | None,
) -> str:
    """The known mistake in words, or that there is none."""
    call = Call(call.op, call.inputs, call.settings, call.gy, result.analytic)
    found = matching(call, which)
    if found:
        found = confirmed(found, probe, call, result, which, op, settings)
    if found:
        return words(found)
    count = sum(mistake.which == which for mistake in catalogue(call.op))
    return f"none of the {count} that are known for {which} of {call.op} gives these numbers"


def confirmed(
    found: list[Mistake],
    probe: Any,
    call: Call,
    result: Any,
    which: str,
    op: str | None,
    settings: Mapping[str, Any] | None,
) -> list[Mistake]:
    """Those that agree on other inputs too: more images, more pixels, or at least other numbers."""
    if result.number >= len(probe.arguments):
        return found  # a parameter lies within fn, where nothing can be exchanged
    for grow in ((1, 0, 1, 2), (1, 0, 0, 0), (0, 0, 0, 0)):
        again = another_call(probe, call, result.number, grow, op, settings)
        if again is not None:
            return [mistake for mistake in found if mistake in matching(again, which)]
    return found


def another_call(
    probe: Any, call: Call, number: int, grow: tuple[int, ...], op: str | None, settings: Mapping[str, Any] | None
) -> Call | None:
    """fn on new inputs, the first of which is larger by `grow`; None where fn does not take these."""
    if (any(grow[1:]) and call.op not in ANY_SIZE) or (any(grow) and call.op not in ANY_BATCH):
        return None
    rng = np.random.default_rng(probe.seed + 1)
    first = next(i for i, a in enumerate(probe.arguments) if is_float(a))
    arguments = []
    for i, argument in enumerate(probe.arguments):
        if not is_float(argument):
            arguments.append(argument)
            continue
        shape = argument.shape
        if i == first:
            shape = tuple(n + more for n, more in zip(shape, grow, strict=False)) + shape[len(grow) :]
        numbers = rng.choice(np.ravel(to_numpy(argument.data)), shape) * rng.uniform(0.7, 1.3, shape)
        numbers = to_device(np.asarray(numbers), argument.device)
        arguments.append(Tensor(numbers, requires_grad=argument.requires_grad, device=argument.device))
    try:
        y = probe.fn(*arguments)
        parameters = arguments_of(probe)[len(arguments) :]
        found = recognise(y, [*arguments, *parameters], op, settings)
        if found is None or found[0].op != call.op:
            return None
        gy = rng.choice([-1.0, 1.0], y.shape) * rng.uniform(0.5, 1.5, y.shape)
        y.backward(gy)
    except Exception:  # fn is anybody's, and may be made for one size only
        return None
    gradient = arguments[number].grad
    if gradient is None:
        return None
    return Call(call.op, found[0].inputs, found[0].settings, gy, to_numpy(gradient))


def wrong_output(y: Tensor, probe: Any, op: str, settings: Mapping[str, Any] | None) -> str:
    """Where fn is meant to be `op` but gives another output: the known mistake in its forward, if there is one."""
    inputs = [np.asarray(to_numpy(a.data)) for a in probe.arguments if is_float(a)]
    labels = next((w for w in map(whole_numbers, probe.arguments) if w is not None), None)
    y_array = to_numpy(y.data)
    try:
        named = explain_forward(op, inputs, complete(op, settings or {}, labels, inputs, y_array), y_array)
    except (ValueError, TypeError, KeyError, IndexError):
        return ""
    return f". Known mistake in forward: {named}" if named else ""
