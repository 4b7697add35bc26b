"""Every op against its definition in `scratchfcn.naive`, and the definitions against torch.

An op and its definition could share a misunderstanding, and so could an op and torch; all three hardly can.
Last comes an identity that needs no oracle: convolution and transposed convolution are adjoint.
"""

from typing import Any

import numpy as np
import pytest
import torch
from geometries import ALL, Case, adjoint, dropout
from hypothesis import given, settings
from hypothesis import strategies as st
from test_ops_torch import TORCH, close

import scratchfcn as sf
from scratchfcn import naive

SHORT = {  # the strategies that take a size, drawn smaller: loops are slow
    "conv2d": 5,
    "conv_transpose2d": 4,
    "max_pool2d": 6,
    "avg_pool2d": 6,
    "adaptive_avg_pool2d": 5,
    "resize_bilinear": 4,
    "softmax_cross_entropy": 4,
}


def test_every_op_has_a_definition_and_is_drawn() -> None:
    names = {name for name in sf.ops.__all__ if name.islower()} - {"im2col", "col2im"}
    assert names == ALL.keys() | {"dropout"}
    assert all(hasattr(naive, name) for name in names)


def draw_small(data: st.DataObject, name: str) -> Case:
    return data.draw(ALL[name](SHORT[name]) if name in SHORT else ALL[name]())


def as_torch(a: Any) -> Any:
    return torch.tensor(a) if isinstance(a, np.ndarray) else a


@pytest.mark.parametrize("name", ALL)
@given(data=st.data())
def test_op_equals_its_definition(name: str, device: str, data: st.DataObject) -> None:
    case = draw_small(data, name)
    xs = [None if a is None else sf.Tensor(a, device=device) for a in case.arrays]
    y = case.call(getattr(sf.ops, name), xs, lambda a: sf.backend.to_device(a.copy(), device))
    expected = case.call(getattr(naive, name), case.arrays)
    assert y.shape == expected.shape
    np.testing.assert_allclose(y.numpy(), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ALL)
@given(data=st.data())
def test_definition_equals_torch(name: str, data: st.DataObject) -> None:
    case = draw_small(data, name)
    y = case.call(getattr(naive, name), case.arrays)
    inputs, arrays = map(as_torch, case.arrays), {k: as_torch(v) for k, v in case.settings.items()}
    close(y, TORCH[name](*inputs, **arrays), 1e-9, f"naive.{name}")


@given(data=st.data())
def test_definition_of_batch_norm_updates_the_running_statistics(data: st.DataObject) -> None:
    case = data.draw(ALL["batch_norm2d"]())
    mean, var = case.settings["running_mean"].copy(), case.settings["running_var"].copy()
    numbers = {name: case.settings[name] for name in ("training", "momentum", "eps")}
    naive.batch_norm2d(*case.arrays, mean, var, **numbers)
    references = [torch.tensor(case.settings[name]) for name in ("running_mean", "running_var")]
    torch.nn.functional.batch_norm(torch.tensor(case.arrays[0]), *references, **numbers)
    close(mean, references[0], 1e-9, "running_mean")
    close(var, references[1], 1e-9, "running_var")


@pytest.mark.parametrize("name", ALL)
@settings(max_examples=10)
@given(data=st.data())
def test_definition_keeps_float32(name: str, data: st.DataObject) -> None:
    case = draw_small(data, name)
    arrays = [None if a is None else a.astype(np.float32) for a in case.arrays]
    y = case.call(getattr(naive, name), arrays, lambda a: a.astype(np.float32) if a.dtype.kind == "f" else a)
    assert y.dtype == np.float32


@given(case=dropout())
def test_dropout_equals_its_definition_for_the_mask_it_drew(device: str, case: Case) -> None:
    y = case.call(sf.ops.dropout, [sf.Tensor(case.arrays[0], device=device)]).numpy()
    mask = y != 0.0  # x holds no zeros
    np.testing.assert_allclose(y, naive.dropout(case.arrays[0], **case.settings, mask=mask), rtol=1e-12)


def test_definition_of_dropout_draws_nothing() -> None:
    x = np.ones((2, 3))
    assert (naive.dropout(x, 0.5, training=False) == x).all()
    assert (naive.dropout(x, 0.0) == x).all()
    with pytest.raises(ValueError, match="deterministic"):
        naive.dropout(x, 0.5)


def test_definition_of_max_pool_shows_nan_and_never_lets_padding_win() -> None:
    x = np.full((1, 1, 2, 2), -3.0)
    assert (naive.max_pool2d(x, 2, stride=1, padding=1) == -3.0).all()
    x[0, 0, 0, 0] = np.nan
    assert np.isnan(naive.max_pool2d(x, 2)).all()


# ---- the transposed convolution is the convolution's adjoint -----------------------------------------------


@given(drawn=adjoint())
def test_conv_transpose2d_is_the_adjoint_of_conv2d(device: str, drawn: tuple[Case, tuple[int, int]]) -> None:
    """<conv2d(x, w), y> = <x, conv_transpose2d(y, w)> for all x, y: what makes one the other's backward."""
    case, output_padding = drawn
    x, w = (sf.Tensor(a, device=device) for a in case.arrays[:2])
    forth = sf.ops.conv2d(x, w, **case.settings)
    y = case.upstream(forth.shape)
    back = sf.ops.conv_transpose2d(sf.Tensor(y, device=device), w, output_padding=output_padding, **case.settings)
    assert back.shape == x.shape
    left, right = (forth.numpy() * y).sum(), (case.arrays[0] * back.numpy()).sum()
    size = np.abs(forth.numpy() * y).sum() + np.abs(case.arrays[0] * back.numpy()).sum()  # sums may cancel
    assert abs(left - right) <= 1e-12 * (1.0 + size)


def test_what_passes_through_unchanged_is_a_tensor_all_the_same() -> None:
    x = np.ones((1, 1, 2, 3))
    assert isinstance(sf.ops.crop(x, (2, 3)), sf.Tensor)
    assert isinstance(sf.ops.adaptive_avg_pool2d(x, (None, 3)), sf.Tensor)
    assert isinstance(sf.ops.dropout(x, 0.5, training=False), sf.Tensor)
    assert isinstance(sf.ops.dropout(x, 0.0), sf.Tensor)
    tensor = sf.Tensor(x)
    assert sf.ops.crop(tensor, (2, 3)) is sf.ops.dropout(tensor, 0.0) is tensor
    assert sf.ops.adaptive_avg_pool2d(tensor, (2, 3)) is sf.ops.adaptive_avg_pool2d(tensor, None) is tensor


def test_conv_transpose2d_of_single_pixels_still_pads_its_output(device: str) -> None:
    """A 1x1 kernel looks like a plain matrix product, but dilation allows an output_padding beside it."""
    x, w, b = np.ones((1, 1, 2, 2)), np.full((1, 1, 1, 1), 3.0), np.array([0.5])
    settings = {"output_padding": (0, 1), "dilation": 2}
    y = sf.ops.conv_transpose2d(*(sf.Tensor(a, device=device) for a in (x, w, b)), **settings)
    np.testing.assert_array_equal(y.numpy(), [[[[3.5, 3.5, 0.5], [3.5, 3.5, 0.5]]]])
    np.testing.assert_array_equal(naive.conv_transpose2d(x, w, b, **settings), y.numpy())


@given(drawn=adjoint())
def test_the_definitions_are_adjoint_too(drawn: tuple[Case, tuple[int, int]]) -> None:
    case, output_padding = drawn
    x, w, _ = case.arrays
    forth = naive.conv2d(x, w, **case.settings)
    y = case.upstream(forth.shape)
    back = naive.conv_transpose2d(y, w, output_padding=output_padding, **case.settings)
    assert back.shape == x.shape
    np.testing.assert_allclose((forth * y).sum(), (x * back).sum(), rtol=1e-9, atol=1e-9)
