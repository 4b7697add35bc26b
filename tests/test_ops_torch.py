"""Every op against torch, in float64: the output, and each input's gradient for a random upstream gradient.

Torch's version of an op is written below the way a torch user would write it. The two libraries agree to
rounding (relative 1e-9 and 1e-8) or one of them is wrong. What torch cannot be asked (dropout's mask, a
loss over no pixels, windows without a pixel) follows after the table.
"""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from geometries import ALL, Case, dropout, in_memory, layouts
from hypothesis import given, settings
from hypothesis import strategies as st

import scratchfcn as sf

torch.set_num_threads(1)  # the tensors are tiny: more threads only wait for each other


def torch_crop(x: torch.Tensor, size: tuple[int, int], offset: tuple[int, int]) -> torch.Tensor:
    return x[..., offset[0] : offset[0] + size[0], offset[1] : offset[1] + size[1]]


def torch_pad(x: torch.Tensor, padding: Any) -> torch.Tensor:
    if isinstance(padding, int):
        padding = (padding, padding)
    if len(padding) == 2:
        ph, pw = padding
        padding = (pw, pw, ph, ph)
    return F.pad(x, padding)


def torch_loss(logits: torch.Tensor, labels: torch.Tensor, **settings: Any) -> torch.Tensor:
    loss = F.cross_entropy(logits, labels.long(), **settings)
    if bool((labels.long() == settings["ignore_index"]).all()):  # torch's mean over nothing is NaN, ours is 0
        return (logits * 0.0).sum()
    return loss


TORCH = {
    "conv2d": F.conv2d,
    "conv1x1": F.conv2d,
    "conv_transpose2d": F.conv_transpose2d,
    "max_pool2d": F.max_pool2d,
    "avg_pool2d": F.avg_pool2d,
    "global_avg_pool2d": lambda x: F.adaptive_avg_pool2d(x, 1),
    "adaptive_avg_pool2d": F.adaptive_avg_pool2d,
    "relu": F.relu,
    "relu6": F.relu6,
    "softmax": lambda x, axis: F.softmax(x, dim=axis),
    "crop": torch_crop,
    "pad": torch_pad,
    "concat": lambda *xs, axis: torch.cat(xs, dim=axis),
    "flatten": lambda x, start: torch.flatten(x, start),
    "reshape": lambda x, shape: torch.reshape(x, shape),
    "resize_bilinear": lambda x, **settings: F.interpolate(x, mode="bilinear", **settings),
    "linear": F.linear,
    "batch_norm2d": lambda x, weight, bias, running_mean, running_var, **settings: F.batch_norm(
        x, running_mean, running_var, weight, bias, **settings
    ),
    "local_response_norm": F.local_response_norm,
    "softmax_cross_entropy": torch_loss,
}


def ours(
    name: str, case: Case, device: str, dtype: Any = np.float64, layout: str = "plain"
) -> tuple[sf.Tensor, list[sf.Tensor | None]]:
    """Our output, and our inputs with the gradients that `case.upstream` leaves in them."""

    def move(a: np.ndarray) -> Any:
        a = a.astype(dtype if a.dtype.kind == "f" else a.dtype)  # labels stay what they are
        return sf.backend.to_device(in_memory(a, layout), device)

    xs = [None if a is None else sf.Tensor(move(a), requires_grad=True, device=device) for a in case.arrays]
    y = case.call(getattr(sf.ops, name), xs, move)
    gy = move(case.upstream(y.shape))
    y.backward(gy)

    close(gy, case.upstream(y.shape).astype(dtype), 0.0, f"{name}: the upstream gradient afterwards")
    for x, a in zip(xs, case.arrays, strict=True):
        if x is not None:
            close(x.data, a.astype(dtype), 0.0, f"{name}: an input afterwards")
    return y, xs


def close(ours: Any, reference: Any, tolerance: float, what: str) -> None:
    ours = sf.backend.to_numpy(ours)
    reference = reference.detach().numpy() if isinstance(reference, torch.Tensor) else reference
    assert ours.shape == reference.shape, f"{what}: shape {ours.shape} instead of {reference.shape}"
    np.testing.assert_allclose(ours, reference, rtol=tolerance, atol=tolerance, err_msg=what)


# ---- the table against torch -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALL)
@settings(max_examples=300)
@given(data=st.data())
def test_output_and_gradients_equal_torchs(name: str, device: str, data: st.DataObject) -> None:
    equals_torch(name, data.draw(ALL[name]()), device, data.draw(layouts))


def equals_torch(name: str, case: Case, device: str, layout: str = "plain") -> None:
    """Output and gradients of one call, here and in torch."""
    y, xs = ours(name, case, device, layout=layout)

    inputs = [None if a is None else torch.tensor(a, requires_grad=True) for a in case.arrays]
    arrays = {k: torch.tensor(v) if isinstance(v, np.ndarray) else v for k, v in case.settings.items()}
    expected = TORCH[name](*inputs, **arrays)
    expected.backward(torch.tensor(case.upstream(tuple(expected.shape))))

    close(y.data, expected, 1e-9, f"{name}: output")
    for i, (x, reference) in enumerate(zip(xs, inputs, strict=True)):
        if x is not None:
            close(x.grad, reference.grad, 1e-8, f"{name}: gradient of input {i}")


EMPTY = [  # calls with a batch of no images
    ("conv2d", Case([(0, 4, 5, 6), (6, 2, 3, 3), (6,)], {"padding": 1, "groups": 2})),
    ("conv2d", Case([(0, 4, 5, 6), (6, 4, 3, 3), (6,)], {"stride": 2})),
    ("conv1x1", Case([(0, 4, 5, 6), (3, 4, 1, 1), (3,)], {})),
    ("conv_transpose2d", Case([(0, 4, 5, 6), (4, 3, 3, 3), (3,)], {"dilation": 2})),
    ("conv_transpose2d", Case([(0, 4, 5, 6), (4, 3, 4, 4), (3,)], {"stride": 2, "padding": 1})),
    ("max_pool2d", Case([(0, 4, 5, 6)], {"kernel_size": 3, "padding": 1})),
    ("avg_pool2d", Case([(0, 4, 5, 6)], {"kernel_size": 3, "padding": 1})),
    ("global_avg_pool2d", Case([(0, 4, 5, 6)], {})),
    ("adaptive_avg_pool2d", Case([(0, 4, 5, 6)], {"output_size": (2, 9)})),
    ("relu", Case([(0, 4, 5, 6)], {})),
    ("relu6", Case([(0, 4, 5, 6)], {})),
    ("softmax", Case([(0, 4, 5, 6)], {"axis": 1})),
    ("crop", Case([(0, 4, 5, 6)], {"size": (2, 3), "offset": (1, 2)})),
    ("pad", Case([(0, 4, 5, 6)], {"padding": 1})),
    ("concat", Case([(0, 4, 5, 6), (0, 2, 5, 6)], {"axis": 1})),
    ("flatten", Case([(0, 4, 5, 6)], {"start": 1})),
    ("reshape", Case([(0, 4, 5, 6)], {"shape": (0, 20, 6)})),
    ("resize_bilinear", Case([(0, 4, 5, 6)], {"size": (3, 9)})),
    ("linear", Case([(0, 4), (3, 4), (3,)], {})),
    ("local_response_norm", Case([(0, 4, 5, 6)], {"size": 3})),
    (
        "softmax_cross_entropy",
        Case([(0, 4, 5, 6)], {"labels": np.zeros((0, 5, 6), np.int64), "weight": None, "ignore_index": 255}),
    ),
]


@pytest.mark.parametrize(("name", "case"), EMPTY, ids=[f"{name}-{i}" for i, (name, _) in enumerate(EMPTY)])
def test_an_empty_batch_goes_through_as_in_torch(name: str, case: Case, device: str) -> None:
    equals_torch(name, case, device)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ALL)
@settings(max_examples=20)
@given(data=st.data())
def test_dtype_goes_through(name: str, dtype: Any, device: str, data: st.DataObject) -> None:
    y, xs = ours(name, data.draw(ALL[name]()), device, dtype)
    assert y.dtype == dtype
    for x in xs:
        assert x is None or (x.grad.dtype == dtype and x.grad.shape == x.shape)


@given(data=st.data())
def test_batch_norm2d_updates_the_running_statistics_as_torch_does(device: str, data: st.DataObject) -> None:
    case = data.draw(ALL["batch_norm2d"]())
    moved: list[Any] = []

    def keep(a: np.ndarray) -> Any:
        moved.append(sf.backend.to_device(a.copy(), device))
        return moved[-1]

    case.call(sf.ops.batch_norm2d, [sf.Tensor(a, device=device) for a in case.arrays], keep)
    mean, var = (torch.tensor(case.settings[name]) for name in ("running_mean", "running_var"))
    numbers = {name: case.settings[name] for name in ("training", "momentum", "eps")}
    F.batch_norm(torch.tensor(case.arrays[0]), mean, var, **numbers)
    close(moved[0], mean, 1e-9, "running_mean")
    close(moved[1], var, 1e-9, "running_var")


@pytest.mark.parametrize("name", ["conv2d", "conv1x1", "conv_transpose2d", "linear", "batch_norm2d"])
@settings(max_examples=20)
@given(data=st.data())
def test_parameters_get_the_same_gradient_where_the_input_wants_none(
    name: str, device: str, data: st.DataObject
) -> None:
    case = data.draw(ALL[name]())
    _, (_, *parameters) = ours(name, case, device)
    x, *again = [None if a is None else sf.Tensor(a, requires_grad=True, device=device) for a in case.arrays]
    x.requires_grad = False  # a photograph, for the first layer
    y = case.call(getattr(sf.ops, name), [x, *again], lambda a: sf.backend.to_device(a.copy(), device))
    y.backward(case.upstream(y.shape))
    assert x.grad is None
    for p, q in zip(parameters, again, strict=True):
        if p is not None:
            close(q.grad, sf.backend.to_numpy(p.grad), 1e-12, name)


@given(data=st.data())
def test_an_op_works_on_arrays_without_any_tensor(device: str, data: st.DataObject) -> None:
    """`f.forward(x, w, b)`, then `f.backward(gy)`: all that a debugger, or a learner, needs."""
    case = data.draw(ALL["conv2d"]())
    y, xs = ours("conv2d", case, device)
    f = sf.ops.Conv2d(**case.settings)
    arrays = [None if x is None else x.data for x in xs]
    close(f.forward(*arrays), y.numpy(), 1e-12, "output")
    gradients = f.backward(sf.backend.to_device(case.upstream(y.shape), device))
    for x, g in zip(xs, gradients, strict=True):
        if x is not None:
            close(g, sf.backend.to_numpy(x.grad), 1e-12, "gradient")


@pytest.mark.parametrize(
    ("shape", "settings"),
    [
        ((1, 1, 2, 2), {"kernel_size": 2, "stride": 2, "padding": 1}),
        ((2, 3, 5, 4), {"kernel_size": 4, "stride": 1, "padding": 2, "dilation": 2, "ceil_mode": True}),
        ((1, 2, 7, 5), {"kernel_size": (3, 2), "stride": (2, 3), "padding": (1, 0), "dilation": (3, 1)}),
    ],
)
def test_max_pool2d_never_gives_a_gradient_to_padding(shape: Any, settings: Any, device: str) -> None:
    """Not even where every pixel is as small as padding: the first pixel of a window that is all -inf wins it."""
    case = Case([shape], settings)
    case.arrays = [np.full(shape, -np.inf)]
    y, (x,) = ours("max_pool2d", case, device)
    reference = torch.tensor(case.arrays[0], requires_grad=True)
    F.max_pool2d(reference, **settings).backward(torch.tensor(case.upstream(y.shape)))
    close(x.grad, reference.grad, 1e-12, "gradient")


def test_max_pool2d_of_more_positions_than_a_byte_counts(device: str) -> None:
    case = Case([(2, 3, 40, 37)], {"kernel_size": 17, "stride": 5, "padding": 8})
    y, (x,) = ours("max_pool2d", case, device)
    reference = torch.tensor(case.arrays[0], requires_grad=True)
    expected = F.max_pool2d(reference, **case.settings)
    expected.backward(torch.tensor(case.upstream(y.shape)))
    close(y.data, expected, 0.0, "output")
    close(x.grad, reference.grad, 1e-12, "gradient")


def test_max_pool2d_shows_a_nan_in_every_window_that_holds_it(device: str) -> None:
    x = np.full((1, 1, 3, 3), -1.0)
    x[0, 0, 1, 1] = np.nan  # the middle pixel is in each of the four windows
    assert np.isnan(sf.ops.max_pool2d(sf.Tensor(x, device=device), 2, stride=1).numpy()).all()


@pytest.mark.parametrize("name", ["relu", "relu6"])
def test_relu_keeps_a_nan(name: str, device: str) -> None:
    y = getattr(sf.ops, name)(sf.Tensor(np.array([-1.0, np.nan, 2.0]), device=device)).numpy()
    assert np.isnan(y).tolist() == [False, True, False]


# ---- dropout: torch's random numbers are not ours, so the mask is read off the output ----------------------


@given(case=dropout())
def test_dropout_scales_what_it_keeps(device: str, case: Case) -> None:
    y, (x,) = ours("dropout", case, device)
    p, training = case.settings["p"], case.settings["training"]
    mask = y.numpy() != 0.0  # x holds no zeros
    scale = 1.0 if not training else 0.0 if p == 1.0 else 1.0 / (1.0 - p)
    if not training or p == 0.0:
        assert mask.all()
    np.testing.assert_allclose(y.numpy(), case.arrays[0] * mask * scale, rtol=1e-12)
    np.testing.assert_allclose(sf.backend.to_numpy(x.grad), case.upstream(x.shape) * mask * scale, rtol=1e-12)


def test_dropout_drops_with_probability_p_and_repeats_after_manual_seed(device: str) -> None:
    x = sf.Tensor(np.ones((200, 500), np.float32), requires_grad=True, device=device)
    sf.manual_seed(3)
    first, second = sf.ops.dropout(x, 0.3), sf.ops.dropout(x, 0.3)
    sf.manual_seed(3)
    again = sf.ops.dropout(x, 0.3)
    assert first.dtype == np.float32
    assert abs((first.numpy() == 0).mean() - 0.3) < 0.01  # 100000 draws: a standard deviation is 0.0015
    assert (first.numpy() == again.numpy()).all()
    assert (first.numpy() != second.numpy()).any()


# ---- the loss over nothing ---------------------------------------------------------------------------------


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_loss_over_no_pixels_is_zero_and_has_zero_gradient(reduction: str, device: str) -> None:
    scores = np.random.default_rng(0).standard_normal((2, 3, 4, 5))
    logits = sf.Tensor(scores, requires_grad=True, device=device)
    loss = sf.ops.softmax_cross_entropy(logits, np.full((2, 4, 5), 255, np.uint8), reduction=reduction)
    loss.backward()
    assert loss.item() == 0.0
    assert (sf.backend.to_numpy(logits.grad) == 0.0).all()


def test_labels_may_be_a_tensor(device: str) -> None:
    rng = np.random.default_rng(0)
    logits = sf.Tensor(rng.standard_normal((2, 3, 4, 5)), device=device)
    labels = rng.integers(0, 3, (2, 4, 5))
    as_array = sf.ops.softmax_cross_entropy(logits, labels).item()
    assert as_array == sf.ops.softmax_cross_entropy(logits, sf.Tensor(labels, device=device)).item()
