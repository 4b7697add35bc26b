"""Optimisers step by step against torch's, and schedules by hand."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import scratchfcn as sf
from scratchfcn import backend, optim

SETTINGS = [
    (optim.SGD, torch.optim.SGD, {"lr": 0.1}),
    (optim.SGD, torch.optim.SGD, {"lr": 0.1, "momentum": 0.9}),
    (optim.SGD, torch.optim.SGD, {"lr": 0.05, "momentum": 0.99, "weight_decay": 5e-4}),
    (optim.Adam, torch.optim.Adam, {"lr": 0.01}),
    (optim.Adam, torch.optim.Adam, {"lr": 0.01, "betas": (0.8, 0.95), "eps": 1e-6, "weight_decay": 0.01}),
]


def bowl(w: Any, b: Any) -> Any:
    """A loss whose gradient depends on the parameters."""
    return (w * w * w).sum() * 0.3 + ((w * 2.0 + b) * (w * 2.0 + b)).sum()


@pytest.mark.parametrize(("ours", "theirs", "settings"), SETTINGS)
def test_thirty_steps_equal_torch(ours: Callable, theirs: Callable, settings: dict, device: str) -> None:
    rng = np.random.default_rng(0)
    start = rng.normal(size=(3, 4)), rng.normal(size=(4,))
    params = [sf.Parameter(p.copy(), device=device) for p in start]
    torch_params = [torch.tensor(p, requires_grad=True) for p in start]
    optimizer, torch_optimizer = ours(params, **settings), theirs(torch_params, **settings)
    for _ in range(30):
        optimizer.zero_grad()
        bowl(*params).backward()
        optimizer.step()
        torch_optimizer.zero_grad()
        bowl(*torch_params).backward()
        torch_optimizer.step()
    for p, t in zip(params, torch_params, strict=True):
        np.testing.assert_allclose(backend.to_numpy(p.data), t.detach().numpy(), rtol=1e-10, atol=1e-12)


def test_groups_follow_torchs_and_multipliers_multiply() -> None:
    w, b = np.ones(3), np.ones(2)

    def run(make: Callable, params: list, loss: Callable) -> None:
        optimizer = make(params)
        for _ in range(5):
            optimizer.zero_grad()
            loss(*params).backward()
            optimizer.step()

    def loss(w: Any, b: Any) -> Any:
        return (w * w).sum() + (b * b * b).sum()

    theirs = [torch.tensor(w, requires_grad=True), torch.tensor(b, requires_grad=True)]
    decay = {"lr": 0.02, "momentum": 0.5, "weight_decay": 0.1}
    run(
        lambda p: torch.optim.SGD([{"params": p[:1]}, {"params": p[1:], "lr": 0.04, "weight_decay": 0.0}], **decay),
        theirs,
        loss,
    )
    for extra in ({"lr_mult": 2.0, "decay_mult": 0.0}, {"lr": 0.04, "weight_decay": 0.0}):
        ours = [sf.Parameter(w.copy()), sf.Parameter(b.copy())]
        groups = lambda p, extra=extra: optim.SGD([{"params": p[:1]}, {"params": p[1:], **extra}], **decay)  # noqa: E731
        run(groups, ours, loss)
        for p, t in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(p.data, t.detach().numpy(), rtol=1e-12)


def test_paper_groups_double_the_biases_rate_and_spare_them_decay() -> None:
    model = sf.nn.Sequential(sf.nn.Conv2d(1, 1, 1), sf.nn.ConvTranspose2d(1, 1, 2, bias=False))
    optimizer = optim.SGD(optim.paper_groups(model), lr=0.1, weight_decay=0.5)
    for p in model.parameters():
        p.data[...] = 1.0
        p.grad = np.ones_like(p.data)
    optimizer.step()
    values = {name: float(p.data.ravel()[0]) for name, p in model.named_parameters()}
    assert values["0.weight"] == pytest.approx(1 - 0.1 * (1 + 0.5))
    assert values["0.bias"] == pytest.approx(1 - 0.2)
    assert values["1.weight"] == pytest.approx(1 - 0.1 * (1 + 0.5))


def test_parameters_without_gradient_stay() -> None:
    a, b = sf.Parameter(np.ones(2)), sf.Parameter(np.ones(2))
    optimizer = optim.SGD([a, b], lr=1.0, weight_decay=0.1)
    a.grad = np.ones(2)
    optimizer.step()
    assert (a.data != 1).all()
    assert (b.data == 1).all()


@pytest.mark.parametrize("make", [lambda p: optim.SGD(p, 0.1, momentum=0.9), lambda p: optim.Adam(p, 0.1)])
def test_saved_state_continues_exactly(make: Callable) -> None:
    def stepped(optimizer: optim.Optimizer, params: list, count: int) -> None:
        for _ in range(count):
            optimizer.zero_grad()
            bowl(*params).backward()
            optimizer.step()

    straight = [sf.Parameter(np.ones((2, 3))), sf.Parameter(np.zeros(3))]
    stepped(make(straight), straight, 6)
    first = [sf.Parameter(np.ones((2, 3))), sf.Parameter(np.zeros(3))]
    optimizer = make(first)
    stepped(optimizer, first, 3)
    saved = {name: array.copy() for name, array in optimizer.state_dict().items()}
    second = [sf.Parameter(p.data.copy()) for p in first]
    again = make(second)
    again.load_state_dict(saved)
    stepped(again, second, 3)
    for a, b in zip(straight, second, strict=True):
        assert (a.data == b.data).all()


def test_a_parameter_that_joins_late_starts_its_own_count() -> None:
    """Adam's bias correction counts a parameter's own steps, as torch's does."""
    ours = [sf.Parameter(np.ones(2)), sf.Parameter(np.ones(2))]
    theirs = [torch.ones(2, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    optimizer, torch_optimizer = optim.Adam(ours, 0.1), torch.optim.Adam(theirs, 0.1)
    for step in range(50):
        ours[0].grad, theirs[0].grad = np.ones(2), torch.ones(2, dtype=torch.float64)
        if step == 49:
            ours[1].grad, theirs[1].grad = np.ones(2), torch.ones(2, dtype=torch.float64)
        optimizer.step()
        torch_optimizer.step()
    for p, t in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(p.data, t.detach().numpy(), rtol=1e-10)


def test_state_of_another_model_is_refused() -> None:
    optimizer = optim.Adam([sf.Parameter(np.ones(3))], 0.1)
    for state in ({"0.mean": np.ones(4)}, {"1.mean": np.ones(3)}, {"0.momentum": np.ones(3)}):
        with pytest.raises(ValueError, match="another model or optimiser"):
            optimizer.load_state_dict(state)


def test_schedules_by_hand() -> None:
    assert [optim.fixed(0.5)(s) for s in (0, 10**6)] == [0.5, 0.5]
    assert [optim.step_decay(1.0, 10, 0.5)(s) for s in (0, 9, 10, 25)] == [1.0, 1.0, 0.5, 0.25]
    warm = optim.warm_up(optim.fixed(1.0), 4)
    assert [warm(s) for s in (0, 1, 3, 9)] == [0.25, 0.5, 1.0, 1.0]
    poly = optim.poly(2.0, 4, power=0.5)
    assert [poly(s) for s in (0, 2, 3, 4, 5)] == pytest.approx([2.0, 2 * 0.5**0.5, 1.0, 0.0, 0.0])


@pytest.mark.parametrize(
    "wrong",
    [
        lambda p: optim.SGD([], 0.1),
        lambda p: optim.SGD([p], -1.0),
        lambda p: optim.SGD([p], 0.1, momentum=1.5),
        lambda p: optim.SGD([p, p], 0.1),
        lambda p: optim.SGD([{"params": [p], "learning_rate": 2.0}], 0.1),
        lambda p: optim.Adam([p], 0.1, betas=(0.9, 1.0)),
        lambda p: optim.poly(0.1, 0),
        lambda p: optim.step_decay(0.1, 0),
    ],
)
def test_impossible_settings_are_refused(wrong: Callable) -> None:
    with pytest.raises(ValueError, match=r"(SGD|Adam|poly|step_decay): "):
        wrong(sf.Parameter(np.ones(2)))
