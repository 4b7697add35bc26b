"""Shift-and-stitch equals filter rarefaction, bit for bit on whole numbers; and loss sampling."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import scratchfcn as sf
from scratchfcn import nn
from scratchfcn.models.convolutionalize import convolutionalize
from scratchfcn.models.dense import rarefy, shift_and_stitch
from scratchfcn.training.patchwise import sample_loss


def whole_numbers(net: nn.Module, seed: int = 0) -> nn.Module:
    """Small whole weights: sums of their products are exact in whatever order they are added up."""
    rng = np.random.default_rng(seed)
    for p in net.parameters():
        p.data[...] = sf.backend.to_device(rng.integers(-3, 4, p.shape), p.device)
    return net


def image(*shape: int) -> sf.Tensor:
    return sf.Tensor(np.random.default_rng(7).integers(-4, 5, shape).astype(np.float32))


def strided(pool: int = 2) -> nn.Sequential:
    """Sees 13 pixels with pool=2, at stride 4."""
    layers = [nn.Conv2d(2, 3, 5, stride=2), nn.ReLU(), nn.MaxPool2d(pool, 2), nn.Conv2d(3, 4, 3)]
    return whole_numbers(nn.Sequential(nn.Sequential(*layers[:2]), *layers[2:]))


def test_both_ways_give_the_same_numbers() -> None:
    net, x = strided(), image(2, 2, 41, 38)
    stitched, rarefied = shift_and_stitch(net, x, 4), rarefy(net)(x)
    assert stitched.shape == rarefied.shape == (2, 4, 41 - 14, 38 - 14)  # it sees 15 rows and columns
    np.testing.assert_array_equal(stitched.numpy(), rarefied.numpy())
    np.testing.assert_array_equal(rarefied.numpy()[:, :, ::4, ::4], net(x).numpy())


def test_each_score_is_that_of_its_own_crop() -> None:
    """Neither way defines the answer: a pass over the patch that a score sees does."""
    net, x = strided(), image(1, 2, 21, 20)
    y = rarefy(net)(x).numpy()
    for i, j in np.ndindex(y.shape[2:]):
        patch = sf.Tensor(x.data[:, :, i : i + 15, j : j + 15])
        np.testing.assert_array_equal(y[:, :, i, j], net(patch).numpy()[:, :, 0, 0])


@settings(max_examples=40)
@given(
    st.lists(st.tuples(st.booleans(), st.integers(1, 3), st.integers(1, 3), st.integers(1, 2)), min_size=1, max_size=3),
    st.integers(0, 5),
    st.integers(0, 5),
)
def test_any_stack_of_layers(settings: list[tuple[bool, int, int, int]], more_rows: int, more_columns: int) -> None:
    layers = [
        nn.MaxPool2d(kernel, stride, dilation=dilation) if pool else nn.Conv2d(2, 2, kernel, stride, dilation=dilation)
        for pool, kernel, stride, dilation in settings
    ]
    net = whole_numbers(nn.Sequential(*layers))
    grid = sf.geometry.chain(net.windows())
    field, stride = int(grid.receptive_field), int(grid.stride)
    size = field + stride - 1
    x = image(1, 2, size + more_rows, size + more_columns)
    stitched, rarefied = shift_and_stitch(net, x, stride), rarefy(net)(x)
    assert stitched.shape[2:] == (stride + more_rows, stride + more_columns)
    np.testing.assert_array_equal(stitched.numpy(), rarefied.numpy())


def test_rows_and_columns_of_different_stride() -> None:
    net = whole_numbers(nn.Sequential(nn.Conv2d(2, 2, (3, 2), stride=(2, 3)), nn.MaxPool2d((2, 1), (2, 1))))
    x = image(1, 2, 17, 16)
    np.testing.assert_array_equal(shift_and_stitch(net, x, (4, 3)).numpy(), rarefy(net)(x).numpy())


def test_fractions_agree_up_to_rounding() -> None:
    net = strided().double()
    rng = np.random.default_rng(0)
    for p in net.parameters():
        p.data[...] = rng.normal(size=p.shape)
    x = sf.Tensor(rng.normal(size=(1, 2, 30, 30)))
    np.testing.assert_allclose(shift_and_stitch(net, x, 4).numpy(), rarefy(net)(x).numpy(), atol=1e-11)


def test_rarefaction_in_torch_gives_the_same() -> None:
    net, x = strided(), image(1, 2, 30, 30)
    (w1, b1), (w2, b2) = (
        [torch.tensor(p.numpy()) for p in (layer.weight, layer.bias)] for layer in (net[0][0], net[2])
    )
    t = torch.relu(torch.conv2d(torch.tensor(x.numpy()), w1, b1))
    t = torch.conv2d(torch.max_pool2d(t, 2, stride=1, dilation=2), w2, b2, dilation=4)
    np.testing.assert_array_equal(rarefy(net)(x).numpy(), t.numpy())


def test_padded_convolutions_keep_their_pixels_away_from_the_far_edge() -> None:
    net = whole_numbers(nn.Sequential(nn.Conv2d(1, 2, 3, stride=2, padding=1), nn.Conv2d(2, 2, 3, padding=1)))
    x = image(1, 1, 17, 17)
    np.testing.assert_array_equal(rarefy(net)(x).numpy()[:, :, ::2, ::2][:, :, :8, :8], net(x).numpy()[:, :, :8, :8])


def test_a_pool_that_rounds_up_loses_only_its_last_window() -> None:
    net = whole_numbers(nn.Sequential(nn.Conv2d(1, 2, 2), nn.MaxPool2d(2, ceil_mode=True)))
    x = image(1, 1, 10, 10)  # 9x9 behind the convolution: the fifth window hangs over the edge
    np.testing.assert_array_equal(rarefy(net)(x).numpy()[:, :, ::2, ::2], net(x).numpy()[:, :, :4, :4])


def test_a_pool_in_two_places_and_the_network_itself() -> None:
    pool = nn.MaxPool2d(2)
    net = whole_numbers(nn.Sequential(nn.Conv2d(1, 2, 2), pool, nn.Conv2d(2, 2, 2), pool))
    before = repr(net), copy.deepcopy(net.state_dict())
    x = image(1, 1, 15, 14)
    rarefied = rarefy(net)
    np.testing.assert_array_equal(shift_and_stitch(net, x, 4).numpy(), rarefied(x).numpy())
    rarefied[0].weight.data[...] = 0
    assert repr(net) == before[0]
    np.testing.assert_array_equal(net[0].weight.numpy(), before[1]["0.weight"])


def test_a_dense_classifier_can_be_rarefied(device: str) -> None:
    classifier = nn.Sequential(nn.Conv2d(2, 3, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(3 * 25, 4))
    dense = convolutionalize(whole_numbers(classifier.to(device)), 11)
    x = image(1, 2, 15, 14).to(device)
    stitched = shift_and_stitch(dense, x, 2)
    assert stitched.device == x.device
    np.testing.assert_array_equal(stitched.numpy(), rarefy(dense)(x).numpy())


BAD = {
    "a mean": (nn.AvgPool2d(2), "AvgPool2d; only Conv2d, MaxPool2d"),
    "upsampling": (nn.ConvTranspose2d(2, 2, 2), "ConvTranspose2d; only"),
    "flatten": (nn.Flatten(), "convolutionalize"),
    "linear": (nn.Linear(2, 2), "convolutionalize"),
    "an adaptive mean": (nn.AdaptiveAvgPool2d(1), "convolutionalize"),
    "a padded pool": (nn.MaxPool2d(3, padding=1), r"1 is a MaxPool2d with padding \(1, 1\)"),
}


@pytest.mark.parametrize("case", BAD)
def test_layers_that_cannot_be_rarefied_are_named(case: str) -> None:
    layer, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        rarefy(nn.Sequential(nn.Conv2d(2, 2, 1, stride=2), layer))


def test_other_networks_and_wrong_strides_are_refused() -> None:
    with pytest.raises(TypeError, match="a Small does not say"):
        rarefy(sf.models.Small())
    with pytest.raises(ValueError, match="stride is 2 but the layers' strides make 4"):
        shift_and_stitch(strided(), image(1, 2, 30, 30), 2)
    with pytest.raises(ValueError, match="stride must be at least 1"):
        shift_and_stitch(strided(), image(1, 2, 30, 30), 0)


# --- loss sampling ----------------------------------------------------------------------------------------


def test_about_p_of_the_labels_stay_and_the_rest_is_ignored() -> None:
    labels = np.random.default_rng(0).integers(0, 5, (4, 50, 50)).astype(np.uint8)
    labels[0, :10] = 255
    before = labels.copy()
    sf.manual_seed(0)
    sampled = sample_loss(labels, 0.25)
    assert sampled.dtype == labels.dtype
    np.testing.assert_array_equal(labels, before)
    kept = sampled != 255
    np.testing.assert_array_equal(sampled[kept], labels[kept])
    assert abs(kept.sum() / (labels != 255).sum() - 0.25) < 0.02


def test_the_seed_decides_and_p_of_one_keeps_all() -> None:
    labels = np.arange(60).reshape(3, 20)
    draws = []
    for _ in range(2):
        sf.manual_seed(3)
        draws.append(sample_loss(labels, 0.5, ignore_index=-1))
    np.testing.assert_array_equal(*draws)
    assert (draws[0] == -1).any()
    assert (sample_loss(labels, 0.5, ignore_index=-1) != draws[0]).any()
    np.testing.assert_array_equal(sample_loss(labels, 1.0), labels)


def test_labels_stay_on_their_device(device: str) -> None:
    labels = sf.Tensor(np.zeros((2, 3), np.int64), device=device)
    assert sf.Tensor(sample_loss(labels.data, 0.5)).device == labels.device


def test_sampled_gradients_are_the_dense_one_on_average() -> None:
    """The loss is a sum over cells; kept with probability p, each has p of its weight."""
    x = sf.Tensor(np.random.default_rng(0).normal(size=(1, 3, 4, 4)), requires_grad=True)
    labels = np.random.default_rng(1).integers(0, 3, (1, 4, 4))
    sf.ops.softmax_cross_entropy(x, labels, reduction="sum").backward()
    dense, x.grad = x.grad, None
    sf.manual_seed(0)
    draws, p = 2000, 0.25
    for _ in range(draws):
        sf.ops.softmax_cross_entropy(x, sample_loss(labels, p), reduction="sum").backward()
    assert np.linalg.norm(x.grad / (p * draws) - dense) < 0.08 * np.linalg.norm(
        dense
    )  # about √((1/p - 1)/draws) = 0.04


@pytest.mark.parametrize("p", [0.0, -0.1, 1.5])
def test_an_impossible_probability_is_refused(p: float) -> None:
    with pytest.raises(ValueError, match="0 < p ≤ 1, got"):
        sample_loss(np.zeros((1, 2, 2), int), p)
