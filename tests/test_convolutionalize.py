"""Classifiers made dense: the same scores at the training size, a grid beyond it, and errors that name the layer."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import scratchfcn as sf
from scratchfcn import nn
from scratchfcn.geometry import Grid
from scratchfcn.models.alexnet import AlexNetClassifier
from scratchfcn.models.bvlc_googlenet import BVLCGoogLeNetClassifier
from scratchfcn.models.caffenet import CaffeNetClassifier
from scratchfcn.models.convolutionalize import convolutionalize
from scratchfcn.models.googlenet import GoogLeNetClassifier
from scratchfcn.models.mobilenet import MobileNetV2Classifier
from scratchfcn.models.resnet import ResNetClassifier
from scratchfcn.models.squeezenet import SqueezeNetClassifier
from scratchfcn.models.vgg import VGG16Classifier
from scratchfcn.surgery import transplant


def image(*shape: int, dtype: str = "float32", device: str = "cpu") -> sf.Tensor:
    return sf.Tensor(np.random.default_rng(0).normal(size=shape).astype(dtype), device=device)


def scores(net: nn.Module, x: sf.Tensor) -> np.ndarray:
    with sf.no_grad():
        return net.eval()(x).numpy()


def small_classifier() -> nn.Sequential:
    """Images 12x12 → map of 5x4x4 → scores of 3 classes. Nested, and without padding, so that crops are exact."""
    body = nn.Sequential(nn.Conv2d(2, 5, 3), nn.BatchNorm2d(5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(5, 5, 2))
    top = nn.Sequential(nn.Dropout(), nn.Linear(5 * 4 * 4, 7), nn.ReLU6(), nn.Dropout(), nn.Linear(7, 3, bias=False))
    net = nn.Sequential(body, nn.Flatten(), top)
    body[1].running_mean[...] = np.random.default_rng(1).normal(size=5)
    return net


def assert_close(a: np.ndarray, b: np.ndarray, tolerance: float = 1e-5) -> None:
    np.testing.assert_allclose(a, b, atol=tolerance * abs(b).max(), rtol=0)


# --- a Sequential of your own -----------------------------------------------------------------------------


def test_at_the_training_size_the_scores_are_the_classifiers() -> None:
    net = small_classifier().double()
    x = image(3, 2, 12, 12, dtype="float64")
    y = scores(convolutionalize(net, 12), x)
    assert y.shape == (3, 3, 1, 1)
    assert_close(y[:, :, 0, 0], scores(net, x), 1e-12)


def test_a_larger_image_gives_a_grid_of_its_crops_scores() -> None:
    net = small_classifier().double()
    dense = convolutionalize(net, (12, 12))
    x = image(1, 2, 18, 16, dtype="float64")
    y = scores(dense, x)
    assert y.shape == (1, 3, 4, 3)
    for i, j in np.ndindex(4, 3):  # the strides make 2
        crop = sf.Tensor(x.data[:, :, 2 * i : 2 * i + 12, 2 * j : 2 * j + 12])
        assert_close(y[:, :, i, j], scores(net, crop), 1e-12)


@settings(max_examples=30)
@given(st.integers(1, 3), st.integers(1, 2), st.integers(0, 1), st.integers(8, 13), st.integers(8, 13))
def test_any_geometry(kernel: int, stride: int, padding: int, H: int, W: int) -> None:
    conv = nn.Conv2d(1, 4, kernel, stride, padding)
    OH, OW = ((n + 2 * padding - kernel) // stride + 1 for n in (H, W))
    net = nn.Sequential(conv, nn.ReLU(), nn.Flatten(), nn.Linear(4 * OH * OW, 6), nn.ReLU(), nn.Linear(6, 2))
    dense = convolutionalize(net, (H, W))
    x = image(2, 1, H, W)
    assert_close(scores(dense, x)[:, :, 0, 0], scores(net, x))
    assert scores(dense, image(1, 1, H + stride, W + 2 * stride)).shape == (1, 2, 2, 3)


def test_linear_layers_on_the_image_itself() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 6 * 5, 4), nn.ReLU(), nn.Linear(4, 2))
    dense = convolutionalize(net, (6, 5))
    x = image(2, 3, 6, 5)
    assert_close(scores(dense, x)[:, :, 0, 0], scores(net, x))
    assert scores(dense, image(2, 3, 8, 8)).shape == (2, 2, 3, 4)


@pytest.mark.parametrize("pool", [nn.AdaptiveAvgPool2d(1), nn.AvgPool2d(5), nn.AdaptiveAvgPool2d((None, 1))])
def test_a_mean_over_the_map_slides(pool: nn.Module) -> None:
    rows = 5 if isinstance(pool, nn.AdaptiveAvgPool2d) and pool.output_size[0] is None else 1
    net = nn.Sequential(nn.Conv2d(2, 4, 3), pool, nn.Dropout(), nn.Flatten(), nn.Linear(4 * rows, 3))
    x = image(2, 2, 7, 7)
    dense = convolutionalize(net, 7)
    assert_close(scores(dense, x)[:, :, 0, 0], scores(net, x))
    assert scores(dense, image(1, 2, 8, 10)).shape == (1, 3, 2, 4)


def test_dropping_the_mean_gives_scores_whose_mean_is_the_classifiers() -> None:
    net = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    x = image(2, 2, 7, 7)
    y = scores(convolutionalize(net, 7, pooling="drop"), x)
    assert y.shape == (2, 3, 5, 5)
    assert_close(y.mean(axis=(2, 3)), scores(net, x))


@pytest.mark.parametrize(("size", "kernel"), [(9, None), (10, 2)])
def test_adaptive_pooling_that_slides_by_one(size: int, kernel: int | None) -> None:
    """A map of 7x7 stays as it is; from 8x8, the 7x7 windows are 2x2 and overlap."""
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.AdaptiveAvgPool2d(7), nn.Flatten(), nn.Linear(2 * 49, 3))
    dense = convolutionalize(net, size)
    x = image(2, 1, size, size)
    assert_close(scores(dense, x)[:, :, 0, 0], scores(net, x))
    assert isinstance(dense[1], nn.AvgPool2d) == (kernel is not None)
    assert kernel is None or dense[1].kernel_size == (kernel, kernel)


def test_convolutions_alone_with_flatten_behind_them() -> None:
    net = nn.Sequential(nn.Conv2d(2, 4, 3), nn.AvgPool2d(2), nn.Conv2d(4, 3, 3), nn.Flatten())  # 8x8 → 1x1
    assert scores(convolutionalize(net, 8), image(1, 2, 12, 10)).shape == (1, 3, 3, 2)


# --- what stays as it is ----------------------------------------------------------------------------------


def test_the_classifier_is_untouched_and_shares_nothing() -> None:
    net = small_classifier()
    before = {name: array.copy() for name, array in net.state_dict().items()}
    layers = repr(net)
    dense = convolutionalize(net, 12)
    for p in dense.parameters():
        p.data[...] = 7
    assert repr(net) == layers
    assert net.training
    for name, array in net.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_names_stay_and_weights_go_back_and_forth() -> None:
    net = small_classifier()
    dense = convolutionalize(net, 12)
    assert list(dense.state_dict()) == list(net.state_dict())
    assert dense.state_dict()["2.1.weight"].shape == (7, 5, 4, 4)
    other = small_classifier()
    assert not transplant(other, dense.state_dict()).missing
    for name, array in other.state_dict().items():
        np.testing.assert_array_equal(array, net.state_dict()[name])
    again = convolutionalize(small_classifier(), 12)
    assert len(transplant(again, net.state_dict()).reshaped) == 2
    x = image(1, 2, 14, 14)
    np.testing.assert_array_equal(scores(again, x), scores(dense, x))


@pytest.mark.parametrize("training", [True, False])
def test_mode_frozen_weights_and_dtype_stay(training: bool) -> None:
    net = small_classifier().double().train(training)
    net[2][1].weight.requires_grad = False
    dense = convolutionalize(net, 12)
    assert dense.training == dense[0][1].training == training
    assert not dense[2][1].weight.requires_grad
    assert dense[2][4].weight.requires_grad
    assert all(p.dtype == np.float64 and p.grad is None for p in dense.parameters())


def test_the_device_stays(device: str) -> None:
    dense = convolutionalize(small_classifier().to(device), 12)
    x = image(1, 2, 14, 14, device=device)
    assert all(p.device == x.device for p in dense.parameters())
    assert scores(dense, x).shape == (1, 3, 2, 2)


def test_a_dense_classifier_can_be_trained() -> None:
    dense = convolutionalize(small_classifier(), 12).train()
    y = dense(image(1, 2, 16, 16))
    sf.ops.softmax_cross_entropy(y, np.zeros((1, *y.shape[2:]), int)).backward()
    assert all(p.grad is not None and p.grad.any() for p in dense.parameters() if p is not dense[0][0].bias)


def test_a_layer_that_stands_in_several_places() -> None:
    relu, drop = nn.ReLU(), nn.Dropout()
    net = nn.Sequential(nn.Conv2d(1, 2, 3), relu, nn.Flatten(), drop, nn.Linear(8, 8), relu, drop, nn.Linear(8, 2))
    x = image(2, 1, 4, 4)
    assert_close(scores(convolutionalize(net, 4), x)[:, :, 0, 0], scores(net, x))


# --- the library's classifiers ----------------------------------------------------------------------------

CLASSIFIERS = {  # how it is made, the smallest image it is tried with, and one on which the dense one has 2x2 pixels
    "squeezenet1_0": (lambda: SqueezeNetClassifier("1_0", num_classes=5), 63, 79),
    "squeezenet1_1": (lambda: SqueezeNetClassifier("1_1", num_classes=5), 63, 79),
    "mobilenet_v2": (lambda: MobileNetV2Classifier(num_classes=5), 64, 96),
    "mobilenet_v2 tensorflow": (
        lambda: MobileNetV2Classifier(num_classes=5, batch_norm=False, padding="tensorflow"),
        64,
        96,
    ),
    "googlenet": (lambda: GoogLeNetClassifier(num_classes=5), 64, 96),
    "googlenet transform_input": (
        lambda: GoogLeNetClassifier(num_classes=5, aux_logits=False, transform_input=True),
        64,
        96,
    ),
    "resnet18": (lambda: ResNetClassifier(18, num_classes=5), 64, 96),
}


def check_classifier(net: nn.Module, size: int, larger: int) -> None:
    net.double()
    dense = convolutionalize(net, size).train().eval()
    x = image(2, 3, size, size, dtype="float64")
    y = scores(dense, x)
    assert y.shape == (2, 5, 1, 1)
    assert_close(y[:, :, 0, 0], scores(net, x), 1e-10)
    assert scores(dense, image(1, 3, larger, larger, dtype="float64")).shape == (1, 5, 2, 2)
    assert not transplant(net, dense.state_dict()).skipped


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_classifier_of_the_library(name: str) -> None:
    make, size, larger = CLASSIFIERS[name]
    check_classifier(make(), size, larger)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_its_pool_can_be_dropped(name: str) -> None:
    make, size, _ = CLASSIFIERS[name]
    net = make().double()
    x = image(1, 3, size, size, dtype="float64")
    y = scores(convolutionalize(net, size, pooling="drop"), x)
    assert min(y.shape[2:]) > 1
    assert_close(y.mean(axis=(2, 3)), scores(net, x), 1e-10)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "size", "kernel"),
    [
        (AlexNetClassifier, 224, 6),
        (CaffeNetClassifier, 227, 6),
        (VGG16Classifier, 224, 7),
        (BVLCGoogLeNetClassifier, 224, 1),
    ],
)
def test_classifiers_that_fit_one_size_only(make: type[nn.Module], size: int, kernel: int) -> None:
    net = make(num_classes=5)
    dense = convolutionalize(net, size)
    linear = next(name for name, layer in net.named_modules() if isinstance(layer, nn.Linear))
    assert dense.state_dict()[f"{linear}.weight"].shape[2:] == (kernel, kernel)
    x = image(1, 3, size, size)
    assert_close(scores(dense, x)[:, :, 0, 0], scores(net, x), 1e-4)
    assert scores(dense, image(1, 3, size + 32, size)).shape == (1, 5, 2, 1)


def test_googlenets_training_heads_go() -> None:
    dense = convolutionalize(GoogLeNetClassifier(num_classes=5).train(), 64)
    assert not any(name.startswith("aux") for name in dense.state_dict())
    assert dense(image(2, 3, 64, 64)).shape == (2, 5, 1, 1)  # in training mode, too


def test_the_papers_907_includes_the_mean_that_it_drops() -> None:
    """Table 1. A pixel of GoogLeNet's last map sees 715 pixels, and 7x7 of them, 32 apart, see 907."""
    net = BVLCGoogLeNetClassifier(num_classes=2)
    grids = []
    for pooling in ("drop", "window"):
        dense = convolutionalize(net, 224, pooling=pooling)
        windows = [w for stage in dense.pool_windows() for w in stage] + [w for l in dense.top() for w in l.windows()]
        grids.append(Grid().through(*windows))
    assert [(g.receptive_field, g.stride) for g in grids] == [(715, 32), (907, 32)]


# --- errors -----------------------------------------------------------------------------------------------


class Squash(nn.Module):
    """Takes the mean without saying so."""

    def __init__(self, flatten: bool) -> None:
        self.flatten = flatten

    def forward(self, x: sf.Tensor) -> sf.Tensor:
        x = sf.ops.global_avg_pool2d(x)
        return sf.ops.flatten(x) if self.flatten else x


class Standardise(nn.Module):
    """Something different for a row of numbers and for a map: it works along the second axis."""

    def forward(self, x: sf.Tensor) -> sf.Tensor:
        return sf.ops.softmax(x, axis=1)


CONV = nn.Conv2d(1, 2, 3)  # 6x6 → 4x4, so that Flatten gives 32 numbers
BAD = {
    "linear without flatten": ([CONV, nn.Linear(4, 3)], "1 is a Linear but meets a map of 2x4x4; put Flatten"),
    "two flattens": ([CONV, nn.Flatten(), nn.Flatten(), nn.Linear(32, 3)], "2 is a Flatten where the map is flat"),
    "flatten from another axis": ([CONV, nn.Flatten(2), nn.Linear(16, 3)], "start=2"),
    "no linear": ([CONV, nn.ReLU()], "there is no Linear, Flatten or mean"),
    "no linear behind flatten": ([CONV, nn.Flatten()], "no Linear reads the map of 2x4x4"),
    "another size": ([CONV, nn.Flatten(), nn.Linear(2 * 25, 3)], r"50 = 2x5x5.*6x6 leads to a map of 2x4x4"),
    "a size without a square": ([CONV, nn.Flatten(), nn.Linear(30, 3)], "takes 30 numbers, but"),
    "linears that do not fit": ([CONV, nn.Flatten(), nn.Linear(32, 3), nn.Linear(4, 3)], "3 cannot take the .*linear"),
    "too small": ([CONV, nn.MaxPool2d(5), nn.Flatten(), nn.Linear(2, 3)], r"1 cannot take the \(1, 2, 4, 4\).*6x6"),
    "adaptive pooling": ([CONV, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(8, 3)], "2x2 or 3x3.*about 3x3"),
    "adaptive pooling upwards": ([CONV, nn.AdaptiveAvgPool2d(6), nn.Flatten(), nn.Linear(72, 3)], "6x6 or 7x7"),
    "a hidden mean": ([CONV, Squash(False), nn.Flatten(), nn.Linear(2, 3)], "without naming windows"),
    "a hidden flatten": ([CONV, Squash(True), nn.Linear(2, 3)], "without naming windows"),
    "a layer that depends on the shape": (
        [CONV, nn.Flatten(), Standardise(), nn.Linear(32, 3)],
        "2 does something else",
    ),
    "no weights": ([nn.MaxPool2d(2), nn.Flatten()], "no weights"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_become_dense_is_named(case: str) -> None:
    layers, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        convolutionalize(nn.Sequential(*layers), 6)


def test_other_networks_and_settings_are_refused() -> None:
    with pytest.raises(TypeError, match="a Small does not say in which order"):
        convolutionalize(sf.models.Small(), 32)
    with pytest.raises(TypeError, match="ModuleList"):
        convolutionalize(nn.ModuleList([CONV]), 6)
    with pytest.raises(ValueError, match="'window' or 'drop', got 'max'"):
        convolutionalize(small_classifier(), 12, pooling="max")
    with pytest.raises(ValueError, match="input_size must be at least 1"):
        convolutionalize(small_classifier(), 0)
    with pytest.raises(ValueError, match=r"the backbone cannot take the .* an image of 8x8"):
        convolutionalize(SqueezeNetClassifier(num_classes=2), 8)


@given(st.integers(1, 9), st.integers(1, 9))
def test_adaptive_pooling_is_made_dense_exactly_where_windows_slide(size: int, out: int) -> None:
    """Against the definition: window o begins at ⌊o·size/out⌋ and ends at ⌈(o+1)·size/out⌉."""
    begins = [math.floor(o * size / out) for o in range(out)]
    ends = [math.ceil((o + 1) * size / out) for o in range(out)]
    slides = begins == list(range(out)) and len({e - b for b, e in zip(begins, ends, strict=True)}) == 1 and out <= size
    net = nn.Sequential(nn.Conv2d(1, 1, 1), nn.AdaptiveAvgPool2d(out), nn.Flatten(), nn.Linear(out * out, 2))
    x = image(1, 1, size, size)
    if slides:
        assert_close(scores(convolutionalize(net, size), x)[:, :, 0, 0], scores(net, x))
    else:
        with pytest.raises(ValueError, match="no window that slides"):
            convolutionalize(net, size)
