"""What an op says to inputs that do not fit: which op, which rule, and the numbers that break it.

Each case names the numbers (or words) that its message must hold; the wording around them is free.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import scratchfcn as sf
from scratchfcn import ops


def a(*shape: int, dtype: Any = np.float64) -> np.ndarray:
    """An array of ones."""
    return np.ones(shape, dtype)


f32, f64 = np.float32, np.float64
image = a(2, 3, 6, 7)
both = (ValueError, TypeError)

# op, call, kind of error, what the message must contain
CASES: list[tuple[str, Callable[[], Any], Any, list[str]]] = [
    # channels
    ("conv2d", lambda: ops.conv2d(image, a(4, 5, 3, 3)), ValueError, ["3 channels", "(4, 5, 3, 3)", "5"]),
    (
        "conv2d",
        lambda: ops.conv2d(a(1, 4, 6, 6), a(4, 4, 3, 3), groups=2),
        ValueError,
        ["4", "(4, 4, 3, 3)", "8"],
    ),
    ("conv2d", lambda: ops.conv2d(image, a(4, 1, 3, 3), groups=2), ValueError, ["groups", "2", "3"]),
    ("conv2d", lambda: ops.conv2d(a(1, 4, 6, 6), a(3, 2, 3, 3), groups=2), ValueError, ["groups", "2", "3"]),
    ("conv2d", lambda: ops.conv2d(image, a(4, 3, 3, 3), groups=0), ValueError, ["groups", "0"]),
    ("conv2d", lambda: ops.conv2d(image, a(4, 3, 3, 3), a(5)), ValueError, ["bias", "(5,)", "4"]),
    ("conv1x1", lambda: ops.conv1x1(image, a(4, 5, 1, 1)), ValueError, ["3 channels", "(4, 5, 1, 1)", "5"]),
    ("conv1x1", lambda: ops.conv1x1(image, a(4, 3, 3, 3)), ValueError, ["(4, 3, 3, 3)", "1, 1"]),
    ("conv1x1", lambda: ops.conv1x1(image, a(4, 3, 1, 1), a(3)), ValueError, ["bias", "(3,)", "4"]),
    (
        "conv_transpose2d",
        lambda: ops.conv_transpose2d(image, a(4, 5, 3, 3)),
        ValueError,
        ["3", "(4, 5, 3, 3)", "4"],
    ),
    ("conv_transpose2d", lambda: ops.conv_transpose2d(image, a(3, 5, 3, 3), a(3)), ValueError, ["(3,)", "5"]),
    (
        "conv_transpose2d",
        lambda: ops.conv_transpose2d(image, a(3, 1, 3, 3), groups=2),
        ValueError,
        ["groups", "2"],
    ),
    ("linear", lambda: ops.linear(a(2, 3), a(4, 5)), ValueError, ["(2, 3)", "(4, 5)"]),
    ("linear", lambda: ops.linear(a(2, 5), a(4, 5), a(5)), ValueError, ["bias", "(5,)", "4"]),
    (
        "batch_norm2d",
        lambda: ops.batch_norm2d(image, a(2), a(3), a(3), a(3), True),
        ValueError,
        ["3", "weight", "(2,)"],
    ),
    (
        "batch_norm2d",
        lambda: ops.batch_norm2d(image, a(3), a(3), a(4), a(3), False),
        ValueError,
        ["mean", "(4,)"],
    ),
    # ranks
    ("conv2d", lambda: ops.conv2d(a(3, 6, 6), a(4, 3, 3, 3)), ValueError, ["(3, 6, 6)", "(4, 3, 3, 3)"]),
    ("conv2d", lambda: ops.conv2d(image, a(4, 3)), ValueError, ["(2, 3, 6, 7)", "(4, 3)"]),
    ("conv1x1", lambda: ops.conv1x1(image, a(4, 3)), ValueError, ["(2, 3, 6, 7)", "(4, 3)"]),
    ("conv_transpose2d", lambda: ops.conv_transpose2d(a(3, 6), a(3, 4, 3, 3)), ValueError, ["(3, 6)"]),
    ("max_pool2d", lambda: ops.max_pool2d(a(3, 6, 6), 2), ValueError, ["(3, 6, 6)"]),
    ("avg_pool2d", lambda: ops.avg_pool2d(a(6, 6), 2), ValueError, ["(6, 6)"]),
    ("global_avg_pool2d", lambda: ops.global_avg_pool2d(a(6, 6)), ValueError, ["(6, 6)"]),
    ("adaptive_avg_pool2d", lambda: ops.adaptive_avg_pool2d(a(6, 6), 2), ValueError, ["(6, 6)"]),
    ("crop", lambda: ops.crop(a(6, 6), 2), ValueError, ["(6, 6)"]),
    ("pad", lambda: ops.pad(a(6, 6), 2), ValueError, ["(6, 6)"]),
    ("resize_bilinear", lambda: ops.resize_bilinear(a(6, 6), 2), ValueError, ["(6, 6)"]),
    ("linear", lambda: ops.linear(a(2, 3), a(3)), ValueError, ["(2, 3)", "(3,)"]),
    ("batch_norm2d", lambda: ops.batch_norm2d(a(6, 3), a(3), a(3), a(3), a(3), True), ValueError, ["(6, 3)"]),
    ("local_response_norm", lambda: ops.local_response_norm(a(6, 3), 5), ValueError, ["(6, 3)"]),
    # types
    (
        "conv2d",
        lambda: ops.conv2d(a(1, 3, 6, 6, dtype=f32), a(4, 3, 3, 3)),
        TypeError,
        ["float32", "float64"],
    ),
    ("conv2d", lambda: ops.conv2d(a(1, 3, 6, 6, dtype=int), a(4, 3, 3, 3, dtype=int)), TypeError, ["int64"]),
    (
        "conv2d",
        lambda: ops.conv2d(a(1, 3, 6, 6, dtype=f32), a(4, 3, 3, 3, dtype=f32), a(4)),
        TypeError,
        ["bias", "float32", "float64"],
    ),
    (
        "conv1x1",
        lambda: ops.conv1x1(a(1, 3, 6, 6, dtype=f32), a(4, 3, 1, 1)),
        TypeError,
        ["float32", "float64"],
    ),
    (
        "conv_transpose2d",
        lambda: ops.conv_transpose2d(a(1, 3, 6, 6, dtype=f32), a(3, 4, 3, 3, dtype=f32), a(4)),
        TypeError,
        ["bias", "float32", "float64"],
    ),
    ("linear", lambda: ops.linear(a(2, 3, dtype=f32), a(4, 3)), TypeError, ["float32", "float64"]),
    (
        "linear",
        lambda: ops.linear(a(2, 3, dtype=f32), a(4, 3, dtype=f32), a(4)),
        TypeError,
        ["bias", "float32", "float64"],
    ),
    ("concat", lambda: ops.concat([a(2, 3), a(2, 3, dtype=f32)]), TypeError, ["float32", "float64"]),
    (
        "batch_norm2d",
        lambda: ops.batch_norm2d(image, a(3, dtype=f32), a(3), a(3), a(3), True),
        TypeError,
        ["float32", "float64"],
    ),
    ("max_pool2d", lambda: ops.max_pool2d(a(1, 1, 4, 4, dtype=int), 2), both, ["int64"]),
    ("avg_pool2d", lambda: ops.avg_pool2d(a(1, 1, 4, 4, dtype=int), 2), both, ["int64"]),
    ("adaptive_avg_pool2d", lambda: ops.adaptive_avg_pool2d(a(1, 1, 4, 4, dtype=int), 2), both, ["int64"]),
    # windows
    ("conv2d", lambda: ops.conv2d(image, a(4, 3, 9, 3), padding=1), ValueError, ["9", "6", "padding"]),
    ("conv2d", lambda: ops.conv2d(image, a(4, 3, 3, 3), dilation=(1, 4)), ValueError, ["dilation", "4", "7"]),
    ("conv2d", lambda: ops.conv2d(image, a(4, 3, 3, 3), stride=0), ValueError, ["stride", "0"]),
    ("conv2d", lambda: ops.conv2d(image, a(4, 3, 3, 3), padding=(0, -1)), ValueError, ["padding", "-1"]),
    ("conv2d", lambda: ops.conv2d(image, a(4, 3, 3, 3), dilation=0), ValueError, ["dilation", "0"]),
    (
        "conv2d",
        lambda: ops.conv2d(image, a(4, 3, 3, 3), stride=(1, 2, 3)),
        ValueError,
        ["stride", "(1, 2, 3)"],
    ),
    ("conv2d", lambda: ops.conv2d(image, a(4, 3, 3, 3), padding=1.5), both, ["padding", "1.5"]),
    ("conv2d", lambda: ops.conv2d(image, a(4, 3, 3, 3), padding="same"), both, ["padding", "same"]),
    (
        "conv_transpose2d",
        lambda: ops.conv_transpose2d(image, a(3, 4, 3, 3), stride=2, output_padding=2),
        ValueError,
        ["output_padding", "2"],
    ),
    (
        "conv_transpose2d",
        lambda: ops.conv_transpose2d(image, a(3, 4, 3, 3), padding=4),
        ValueError,
        ["padding", "4"],
    ),
    (
        "conv_transpose2d",
        lambda: ops.conv_transpose2d(image, a(3, 4, 3, 3), stride=0),
        ValueError,
        ["stride", "0"],
    ),
    ("max_pool2d", lambda: ops.max_pool2d(image, 3, padding=2), ValueError, ["padding", "2", "3"]),
    ("max_pool2d", lambda: ops.max_pool2d(image, 9), ValueError, ["9", "6", "7"]),
    ("max_pool2d", lambda: ops.max_pool2d(image, 0), ValueError, ["kernel", "0"]),
    ("max_pool2d", lambda: ops.max_pool2d(image, 2, stride=0), ValueError, ["stride", "0"]),
    ("max_pool2d", lambda: ops.max_pool2d(image, 2, dilation=0), ValueError, ["dilation", "0"]),
    (
        "max_pool2d",  # the window's rows are -1 and 1: no real pixel, so no maximum
        lambda: ops.max_pool2d(a(1, 1, 1, 5), (2, 1), stride=1, padding=(1, 0), dilation=(2, 1)),
        ValueError,
        ["dilation", "padding", "1x5"],
    ),
    (
        "max_pool2d",  # the same along the columns
        lambda: ops.max_pool2d(a(1, 1, 5, 1), (1, 2), stride=1, padding=(0, 1), dilation=(1, 2)),
        ValueError,
        ["dilation", "padding", "5x1"],
    ),
    (
        "avg_pool2d",
        lambda: ops.avg_pool2d(image, (3, 1), padding=(1, 1)),
        ValueError,
        ["padding", "(1, 1)", "(3, 1)"],
    ),
    ("avg_pool2d", lambda: ops.avg_pool2d(image, (2, 8)), ValueError, ["8", "6", "7"]),
    ("avg_pool2d", lambda: ops.avg_pool2d(image, 2, padding=-1), ValueError, ["padding", "-1"]),
    # shapes
    ("crop", lambda: ops.crop(image, (4, 4), (3, 0)), ValueError, ["(4, 4)", "(3, 0)", "(2, 3, 6, 7)"]),
    ("crop", lambda: ops.crop(image, (4, 4), (0, 4)), ValueError, ["(4, 4)", "(0, 4)", "(2, 3, 6, 7)"]),
    ("crop", lambda: ops.crop(image, 2, (-1, 0)), ValueError, ["(-1, 0)"]),
    ("crop", lambda: ops.crop(image, (0, 2)), ValueError, ["(0, 2)"]),
    ("pad", lambda: ops.pad(image, -1), ValueError, ["-1"]),
    ("pad", lambda: ops.pad(image, (1, 2, 3)), ValueError, ["(1, 2, 3)"]),
    ("concat", lambda: ops.concat([image, a(2, 3, 6, 6)]), ValueError, ["(2, 3, 6, 7)", "(2, 3, 6, 6)", "1"]),
    ("concat", lambda: ops.concat([image, a(2, 3)]), ValueError, ["(2, 3, 6, 7)", "(2, 3)"]),
    ("concat", lambda: ops.concat([image, image], axis=4), ValueError, ["4", "(2, 3, 6, 7)"]),
    ("concat", lambda: ops.concat([]), ValueError, ["one"]),
    ("flatten", lambda: ops.flatten(sf.Tensor(image), 4), ValueError, ["4", "(2, 3, 6, 7)"]),
    ("softmax", lambda: ops.softmax(image, axis=4), ValueError, ["4", "(2, 3, 6, 7)"]),
    ("resize_bilinear", lambda: ops.resize_bilinear(image, (0, 4)), ValueError, ["(0, 4)", "(2, 3, 6, 7)"]),
    ("resize_bilinear", lambda: ops.resize_bilinear(a(2, 3, 0, 7), 4), ValueError, ["(2, 3, 0, 7)"]),
    ("global_avg_pool2d", lambda: ops.global_avg_pool2d(a(2, 3, 0, 7)), ValueError, ["(2, 3, 0, 7)"]),
    ("adaptive_avg_pool2d", lambda: ops.adaptive_avg_pool2d(a(2, 3, 0, 7), 1), ValueError, ["(2, 3, 0, 7)"]),
    ("adaptive_avg_pool2d", lambda: ops.adaptive_avg_pool2d(image, (3, 0)), ValueError, ["output_size", "(3, 0)"]),
    ("adaptive_avg_pool2d", lambda: ops.adaptive_avg_pool2d(image, (1, 2, 3)), ValueError, ["(1, 2, 3)"]),
    ("adaptive_avg_pool2d", lambda: ops.adaptive_avg_pool2d(image, 1.5), ValueError, ["output_size", "1.5"]),
    # numbers
    ("dropout", lambda: ops.dropout(image, p=1.5), ValueError, ["1.5"]),
    ("dropout", lambda: ops.dropout(image, p=-0.1, training=False), ValueError, ["-0.1"]),
    ("local_response_norm", lambda: ops.local_response_norm(image, 0), ValueError, ["size", "0"]),
    (
        "batch_norm2d",  # one number a channel has no variance
        lambda: ops.batch_norm2d(a(1, 3, 1, 1), a(3), a(3), a(3), a(3), True),
        ValueError,
        ["(1, 3, 1, 1)"],
    ),
]


@pytest.mark.parametrize(("op", "call", "error", "words"), CASES, ids=[f"{c[0]}-{i}" for i, c in enumerate(CASES)])
def test_error_names_the_op_and_the_numbers(op: str, call: Callable[[], Any], error: Any, words: list[str]) -> None:
    with pytest.raises(error) as caught:
        call()
    message = str(caught.value)
    assert message.startswith(f"{op}:"), message
    missing = [word for word in words if word not in message]
    assert not missing, f"{missing} not in: {message}"


# ---- the loss ----------------------------------------------------------------------------------------------

LOSS_CASES: list[tuple[dict[str, Any], Any, list[str]]] = [
    ({"labels": 7}, ValueError, ["label 7", "0", "4", "ignore_index", "255"]),
    ({"labels": 5}, ValueError, ["label 5", "0", "4", "ignore_index", "255"]),
    ({"labels": -1}, ValueError, ["label -1", "0", "4", "ignore_index", "255"]),
    ({"labels": 255, "ignore_index": -100}, ValueError, ["label 255", "0", "4", "ignore_index", "-100"]),
    ({"labels": np.zeros((2, 4, 4))}, TypeError, ["integer", "float64"]),
    ({"labels": np.zeros((2, 4, 4), bool)}, TypeError, ["integer", "bool"]),
    ({"labels": np.zeros((2, 4, 5), int)}, ValueError, ["(2, 5, 4, 4)", "(2, 4, 4)", "(2, 4, 5)"]),
    ({"labels": np.zeros((2, 1, 4, 4), int)}, ValueError, ["(2, 5, 4, 4)", "(2, 4, 4)", "(2, 1, 4, 4)"]),
    ({"weight": np.ones(4)}, ValueError, ["weight", "(4,)", "5"]),
    ({"reduction": "average"}, ValueError, ["reduction", "average", "mean", "sum"]),
    ({"logits": np.zeros((2, 5, 4, 4), int)}, both, ["int64", "floating point"]),
    ({"logits": np.zeros(5)}, ValueError, ["(5,)"]),
]


@pytest.mark.parametrize(("wrong", "error", "words"), LOSS_CASES)
def test_loss_error_names_the_value_and_what_is_allowed(
    wrong: dict[str, Any], error: Any, words: list[str], device: str
) -> None:
    call = {"logits": np.zeros((2, 5, 4, 4)), "labels": 0} | wrong
    if isinstance(call["labels"], int):  # one pixel with that label among good ones
        value, call["labels"] = call["labels"], np.zeros((2, 4, 4), np.int64)
        call["labels"][1, 2, 3] = value
    logits = sf.Tensor(call.pop("logits"), device=device)
    with pytest.raises(error) as caught:
        ops.softmax_cross_entropy(logits, **call)
    message = str(caught.value)
    assert message.startswith("softmax_cross_entropy:"), message
    missing = [word for word in words if word not in message]
    assert not missing, f"{missing} not in: {message}"


def test_an_ignored_label_outside_the_classes_is_no_error(device: str) -> None:
    labels = np.array([[[0, 255], [4, 1]]], np.uint8)
    assert ops.softmax_cross_entropy(sf.Tensor(np.zeros((1, 5, 2, 2)), device=device), labels).item() > 0
