"""Modules, layers and initialisers, against torch's."""

import math
from typing import Any

import numpy as np
import pytest
import torch

import scratchfcn as sf
from scratchfcn import backend, nn

LAYERS = [
    (nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2), torch.nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2)),
    (nn.Conv2d(4, 5, (1, 3), dilation=(1, 2), bias=False), torch.nn.Conv2d(4, 5, (1, 3), dilation=(1, 2), bias=False)),
    (
        nn.ConvTranspose2d(4, 6, 4, stride=3, padding=1, output_padding=1, groups=2),
        torch.nn.ConvTranspose2d(4, 6, 4, stride=3, padding=1, output_padding=1, groups=2),
    ),
    (nn.MaxPool2d(3, 2, 1, ceil_mode=True), torch.nn.MaxPool2d(3, 2, 1, ceil_mode=True)),
    (nn.AvgPool2d((2, 3), 2), torch.nn.AvgPool2d((2, 3), 2)),
    (nn.AdaptiveAvgPool2d((4, None)), torch.nn.AdaptiveAvgPool2d((4, None))),
    (nn.AdaptiveAvgPool2d(1), torch.nn.AdaptiveAvgPool2d(1)),
    (nn.ReLU(), torch.nn.ReLU()),
    (nn.ReLU6(), torch.nn.ReLU6()),
    (nn.BatchNorm2d(4), torch.nn.BatchNorm2d(4)),
    (nn.LocalResponseNorm(3), torch.nn.LocalResponseNorm(3)),
    (nn.Flatten(), torch.nn.Flatten()),
    (nn.Linear(7, 3), torch.nn.Linear(7, 3)),
]


def twins(seed: int = 0) -> tuple[nn.Module, torch.nn.Module]:
    """The same little network here and in torch, with the same weights."""
    sf.manual_seed(seed)
    ours = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Sequential(nn.Conv2d(4, 2, 1, bias=False))
    )
    theirs = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3, padding=1),
        torch.nn.BatchNorm2d(4),
        torch.nn.ReLU(),
        torch.nn.Sequential(torch.nn.Conv2d(4, 2, 1, bias=False)),
    )
    theirs.load_state_dict({name: torch.tensor(np.array(value)) for name, value in ours.state_dict().items()})
    return ours, theirs


@pytest.mark.parametrize(("ours", "theirs"), LAYERS, ids=[type(a).__name__ for a, _ in LAYERS])
def test_layers_have_torchs_state_and_results(ours: nn.Module, theirs: torch.nn.Module) -> None:
    state = theirs.state_dict()
    assert {n: tuple(v.shape) for n, v in ours.state_dict().items()} == {n: tuple(v.shape) for n, v in state.items()}
    ours.load_state_dict({name: value.numpy() for name, value in state.items()})
    x = np.random.default_rng(0).normal(size=(2, 4, 9, 7)).astype(np.float32)
    expected = theirs(torch.tensor(x)).detach().numpy()
    np.testing.assert_allclose(ours(sf.Tensor(x)).numpy(), expected, rtol=2e-5, atol=2e-5)


def test_state_dict_has_torchs_names_in_torchs_order() -> None:
    ours, theirs = twins()
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert [n for n, _ in ours.named_parameters()] == [n for n, _ in theirs.named_parameters()]


def test_training_and_evaluation_follow_torch() -> None:
    ours, theirs = twins()
    x = np.random.default_rng(1).normal(2.0, 3.0, size=(4, 3, 5, 6)).astype(np.float32)
    for training in (True, True, False):
        ours.train(training)
        theirs.train(training)
        np.testing.assert_allclose(
            ours(sf.Tensor(x)).numpy(), theirs(torch.tensor(x)).detach().numpy(), rtol=1e-4, atol=1e-5
        )
    for name, value in theirs.state_dict().items():
        np.testing.assert_allclose(ours.state_dict()[name], value.numpy(), rtol=1e-4, atol=1e-6, err_msg=name)


def test_load_state_dict_is_strict_and_all_or_nothing() -> None:
    ours, _ = twins()
    before = {name: np.array(value) for name, value in ours.state_dict().items()}
    wrong = {name: np.ones_like(value) for name, value in before.items()}
    wrong["0.weight"] = np.ones((4, 3, 5, 5))
    wrong["9.extra"] = np.ones(1)
    del wrong["3.0.weight"]
    with pytest.raises(ValueError, match="do not fit") as caught:
        ours.load_state_dict(wrong)
    for words in ("0.weight", "(4, 3, 5, 5)", "(4, 3, 3, 3)", "9.extra", "3.0.weight: missing"):
        assert words in str(caught.value)
    for name, value in ours.state_dict().items():
        np.testing.assert_array_equal(value, before[name])
    del wrong["0.weight"]
    ours.load_state_dict(wrong, strict=False)
    assert (ours.state_dict()["0.bias"] == 1).all()


def test_load_state_dict_takes_tensors_and_keeps_the_dtype() -> None:
    ours, theirs = twins()
    ours.load_state_dict(theirs.double().state_dict())
    assert {str(p.dtype) for p in ours.parameters()} == {"float32"}
    with torch.no_grad():
        next(theirs.parameters()).fill_(7.0)
    ours.load_state_dict(dict(theirs.named_parameters()), strict=False)  # these want gradients
    assert (next(ours.parameters()).data == 7.0).all()
    ours.load_state_dict({"0.bias": sf.Tensor(np.full(4, 3.0))}, strict=False)
    assert (ours.state_dict()["0.bias"] == 3.0).all()


def test_an_old_file_without_the_batch_counter_loads() -> None:
    ours, _ = twins()
    state = {n: v for n, v in ours.state_dict().items() if "num_batches" not in n}
    ours.load_state_dict(state)


def test_modes_reach_every_module_and_zero_grad_every_parameter() -> None:
    ours, _ = twins()
    ours(sf.Tensor(np.ones((2, 3, 4, 4), np.float32))).sum().backward()
    assert all(p.grad is not None for p in ours.parameters())
    ours.zero_grad()
    assert all(p.grad is None for p in ours.parameters())
    assert not any(m.training for m in ours.eval().modules())
    assert all(m.training for m in ours.train().modules())


def test_double_and_float_convert_parameters_and_buffers() -> None:
    ours, _ = twins()
    ours.double()
    kinds = {name: str(value.dtype) for name, value in ours.state_dict().items()}
    assert kinds.pop("1.num_batches_tracked") == "int64"
    assert set(kinds.values()) == {"float64"}
    assert ours(sf.Tensor(np.ones((2, 3, 4, 4)))).dtype == np.float64
    ours.float()
    assert ours(sf.Tensor(np.ones((2, 3, 4, 4), np.float32))).dtype == np.float32


def test_to_moves_everything(device: str) -> None:
    ours, _ = twins()
    ours.to(device)
    assert {backend.device_of(v) for v in ours.state_dict().values()} == {backend.resolve_device(device)}
    y = ours(sf.Tensor(np.ones((2, 3, 4, 4), np.float32), device=device))
    assert y.device == backend.resolve_device(device)


def test_dropout_drops_in_training_only() -> None:
    layer, x = nn.Dropout(0.25), sf.Tensor(np.ones((1, 1, 200, 200)))
    y = layer(x).numpy()
    assert abs((y == 0).mean() - 0.25) < 0.01
    assert set(np.unique(y).round(6)) == {0.0, round(1 / 0.75, 6)}
    assert layer.eval()(x) is x


def test_calling_a_module_adds_no_frame() -> None:
    class Net(nn.Module):
        def forward(self, x: Any) -> Any:
            import sys

            return sys._getframe(1).f_code.co_name

    assert Net()(None) == "test_calling_a_module_adds_no_frame"


def test_a_call_of_your_own_stays() -> None:
    class Doubling(nn.Module):
        def __call__(self, x: Any) -> Any:
            return 2 * self.forward(x)

        def forward(self, x: Any) -> Any:
            return x

    class Next(Doubling):
        def forward(self, x: Any) -> Any:
            return x + 1

    class Plain(nn.ReLU):
        def forward(self, x: Any) -> Any:
            return x + 1

    assert (Doubling()(3), Next()(3), Plain()(3)) == (6, 8, 4)
    with pytest.raises(TypeError, match="Module defines no forward"):
        nn.Module()(3)


def test_a_shared_parameter_is_learned_once_and_saved_under_each_name() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            self.a = nn.Linear(2, 2)
            self.b = self.a
            self.c = nn.Linear(2, 2, bias=False)
            self.c.weight = self.a.weight

        def forward(self, x: Any) -> Any:
            return self.c(self.b(self.a(x)))

    net = Net()
    assert [name for name, _ in net.named_parameters()] == ["a.weight", "a.bias"]
    assert list(net.state_dict()) == ["a.weight", "a.bias", "b.weight", "b.bias", "c.weight"]
    optimizer = sf.optim.SGD(net.parameters(), lr=0.5)
    before = np.array(net.a.weight.data)
    net(sf.Tensor(np.ones((1, 2), np.float32))).sum().backward()
    optimizer.step()
    np.testing.assert_allclose(net.c.weight.data, before - 0.5 * net.a.weight.grad, rtol=1e-6)


def test_sequential_and_list() -> None:
    net = nn.Sequential(nn.ReLU(), nn.Flatten(), nn.Linear(4, 2))
    assert len(net) == 3
    assert isinstance(net[1], nn.Flatten)
    assert len(net[1:]) == 2
    blocks = nn.ModuleList([nn.Linear(2, 2)]).append(nn.Linear(2, 3))
    assert [n for n, _ in blocks.named_parameters()] == ["0.weight", "0.bias", "1.weight", "1.bias"]
    with pytest.raises(TypeError, match="one by one"):
        blocks(None)


def test_repr_shows_the_tree() -> None:
    text = repr(twins()[0])
    assert "(0): Conv2d(3, 4, kernel_size=(3, 3)" in text
    assert "(3): Sequential(\n    (0): Conv2d" in text


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: nn.Conv2d(3, 4, 3, groups=2), ["Conv2d", "in_channels=3", "groups=2"]),
        (lambda: nn.Conv2d(0, 4, 3), ["in_channels=0"]),
        (lambda: nn.Conv2d(3, 4, (1, 2, 3)), ["kernel_size", "(1, 2, 3)"]),
        (lambda: nn.Conv2d(3, 4, 0), ["Conv2d", "kernel_size", "at least 1", "0"]),
        (lambda: nn.Conv2d(3, 4, 3, stride=0), ["Conv2d", "stride", "0"]),
        (lambda: nn.Conv2d(3, 4, 3, padding=-1), ["Conv2d", "padding", "-1"]),
        (lambda: nn.Conv2d(3, 4, 3, dilation=(1, 0)), ["Conv2d", "dilation", "(1, 0)"]),
        (lambda: nn.ConvTranspose2d(3, 4, 0), ["ConvTranspose2d", "kernel_size", "0"]),
        (lambda: nn.ConvTranspose2d(3, 4, 3, stride=0), ["ConvTranspose2d", "stride", "0"]),
        (lambda: nn.ConvTranspose2d(3, 4, 3, stride=2, output_padding=2), ["output_padding", "2"]),
        (lambda: nn.MaxPool2d(0), ["MaxPool2d", "kernel_size", "0"]),
        (lambda: nn.MaxPool2d(2, 0), ["MaxPool2d", "stride", "0"]),
        (lambda: nn.AvgPool2d(2, padding=-1), ["AvgPool2d", "padding", "-1"]),
        (lambda: nn.AdaptiveAvgPool2d((3, 0)), ["AdaptiveAvgPool2d", "output_size", "(3, 0)"]),
        (lambda: nn.AdaptiveAvgPool2d((1, 2, 3)), ["AdaptiveAvgPool2d", "output_size", "(1, 2, 3)"]),
        (lambda: nn.init.bilinear(nn.Parameter(np.zeros((2, 3, 4, 4)))), ["(2, 3, 4, 4)", "as many inputs"]),
    ],
)
def test_impossible_layers_are_refused(make: Any, words: list[str]) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        make()
    assert all(word in str(caught.value) for word in words)


@pytest.mark.parametrize("layer", [nn.Conv2d, nn.ConvTranspose2d])
def test_numbers_of_groups_and_channels_are_whole(layer: Any) -> None:
    with pytest.raises(TypeError, match="groups must be a whole number, got 'a'"):
        layer(4, 4, 3, groups="a")
    with pytest.raises(TypeError, match=r"in_channels must be a whole number, got 4\.0"):
        layer(4.0, 4, 3)


# --- initial values -----------------------------------------------------------------------------------------


def test_bilinear_kernels_by_hand() -> None:
    for size, expected in [(3, [0.5, 1, 0.5]), (4, [0.25, 0.75, 0.75, 0.25]), (1, [1.0]), (2, [0.5, 0.5])]:
        np.testing.assert_allclose(nn.init.tent(size), expected)
    sixteenths = np.array([*range(1, 16, 2), *range(15, 0, -2)]) / 16
    np.testing.assert_allclose(nn.init.tent(16), sixteenths)
    weight = nn.init.bilinear(nn.Parameter(np.zeros((2, 2, 4, 4)))).data
    np.testing.assert_allclose(weight[1, 1], np.outer([0.25, 0.75, 0.75, 0.25], [0.25, 0.75, 0.75, 0.25]))
    assert not weight[0, 1].any()


@pytest.mark.parametrize("factor", [2, 3, 4, 8])
def test_bilinear_upsampling_equals_bilinear_resizing_inside(factor: int) -> None:
    kernel = 2 * factor - factor % 2
    up = nn.ConvTranspose2d(1, 1, kernel, stride=factor, padding=(kernel - factor) // 2, bias=False).double()
    nn.init.bilinear(up.weight)
    x = sf.Tensor(np.random.default_rng(0).normal(size=(1, 1, 6, 7)))
    got, expected = up(x).numpy(), sf.ops.resize_bilinear(x, (6 * factor, 7 * factor)).numpy()
    assert got.shape == expected.shape
    inside = (..., slice(factor, -factor), slice(factor, -factor))  # at the border zeros are mixed in
    np.testing.assert_allclose(got[inside], expected[inside], atol=1e-12)


def test_he_and_default_scales() -> None:
    sf.manual_seed(0)
    layer = nn.Conv2d(64, 128, 3)
    bound = 1 / np.sqrt(64 * 9)
    assert np.abs(layer.weight.data).max() <= bound
    assert abs(layer.weight.data.std() - bound / np.sqrt(3)) < 1e-3
    nn.init.he(layer.weight)
    assert abs(layer.weight.data.std() - np.sqrt(2 / (64 * 9))) < 1e-3
    assert not nn.init.zeros(layer.weight).data.any()


def test_one_seed_gives_one_network() -> None:
    def weights(seed: int) -> np.ndarray:
        sf.manual_seed(seed)
        return nn.Conv2d(3, 4, 3).weight.data

    assert (weights(3) == weights(3)).all()
    assert not (weights(3) == weights(4)).all()


def test_weights_drawn_in_pieces_are_those_drawn_at_once() -> None:
    """A large layer is filled some rows at a time; one seed gives the same numbers all the same."""
    shape = (5, 1 << 19)  # two rows a piece, and one left over
    for fill, expected in (
        (sf.nn.init.he, lambda rng: rng.normal(0.0, math.sqrt(2.0 / shape[1]), shape)),
        (lambda p: sf.nn.init.uniform(p, 0.5), lambda rng: rng.uniform(-0.5, 0.5, shape)),
    ):
        sf.manual_seed(7)
        p = sf.Parameter(np.zeros(shape, np.float32))
        fill(p)
        sf.manual_seed(7)
        np.testing.assert_array_equal(p.data, expected(sf.backend.generator()).astype(np.float32))
