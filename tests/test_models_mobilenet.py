"""MobileNetV2: equal to torchvision's, folded or not, padded either way; maps lie where geometry says."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F
from torchvision_reference import compare, randomise, state_of, torchvision

import scratchfcn as sf
from scratchfcn.geometry import Grid, Window
from scratchfcn.models.mobilenet import InvertedResidual, MobileNetV2, MobileNetV2Classifier, SameConv2d, same_padding


def reference() -> torch.nn.Module:
    return randomise(torchvision.models.mobilenet_v2(weights=None, num_classes=5))


def images(*shape: int) -> np.ndarray:
    return np.random.default_rng(3).normal(size=shape)


def test_the_classifier_equals_torchvisions() -> None:
    compare(MobileNetV2Classifier(num_classes=5), reference(), images(2, 3, 64, 71))


def test_number_of_parameters() -> None:
    assert sum(p.size for p in MobileNetV2Classifier().parameters()) == 3_504_872


@pytest.mark.parametrize("size", [(64, 65), (47, 33)])
def test_the_backbones_maps_are_the_last_of_each_resolution(size: tuple[int, int]) -> None:
    theirs = reference().double().eval()
    ours = MobileNetV2().double().eval()
    ours.load_state_dict({k: v for k, v in state_of(theirs).items() if k.startswith("features.")})  # strict
    x = images(1, 3, *size)
    with torch.no_grad():
        map8 = theirs.features[:7](torch.tensor(x))
        map16 = theirs.features[7:14](map8)
        map32 = theirs.features[14:](map16)
    maps = ours.maps(sf.Tensor(x))
    assert tuple(y.shape[1] for y in maps) == ours.channels
    for y, expected in zip(maps, (map8, map16, map32), strict=True):
        np.testing.assert_allclose(y.numpy(), expected.numpy(), rtol=1e-10, atol=1e-12)


# --- batch norm folded --------------------------------------------------------------------------------------


def folded(state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Every batch norm multiplied into the convolution before it: the layer of the preceding number."""
    result = {name: array for name, array in state.items() if name.startswith("classifier.")}
    for name in state:
        if not name.endswith("running_var"):
            continue
        norm = name.removesuffix(".running_var")
        parent, number = norm.rsplit(".", 1)
        conv = f"{parent}.{int(number) - 1}"
        factor = state[f"{norm}.weight"] / np.sqrt(state[name] + 1e-5)
        result[f"{conv}.weight"] = state[f"{conv}.weight"] * factor[:, None, None, None]
        result[f"{conv}.bias"] = state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * factor
    return result


@pytest.mark.parametrize("padding", ["symmetric", "tensorflow"])
def test_the_folded_network_equals_the_one_with_batch_norm(padding: str) -> None:
    state = state_of(reference().double())
    with_norm = MobileNetV2Classifier(num_classes=5, padding=padding).double().eval()
    with_norm.load_state_dict(state)
    without = MobileNetV2Classifier(num_classes=5, batch_norm=False, padding=padding).double()
    without.load_state_dict(folded(state))
    x = sf.Tensor(images(2, 3, 64, 50))
    np.testing.assert_allclose(without.eval()(x).numpy(), with_norm(x).numpy(), rtol=1e-9, atol=1e-11)


def test_names_of_the_folded_network() -> None:
    names = list(MobileNetV2Classifier(batch_norm=False).state_dict())
    assert names[:8] == [
        f"features.{layer}.{what}"
        for layer in ("0.0", "1.conv.0.0", "1.conv.1", "2.conv.0.0")
        for what in ("weight", "bias")
    ]
    assert names[-4:] == ["features.18.0.weight", "features.18.0.bias", "classifier.1.weight", "classifier.1.bias"]
    assert len(names) == 106


# --- TensorFlow's padding -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "expected"),
    [
        (224, 3, 2, (0, 1)),
        (225, 3, 2, (1, 1)),
        (1, 3, 2, (1, 1)),
        (2, 3, 2, (0, 1)),
        (10, 3, 1, (1, 1)),
        (11, 3, 1, (1, 1)),
        (224, 7, 2, (2, 3)),
        (10, 1, 2, (0, 0)),
        (10, 2, 3, (0, 1)),  # 4 windows of 2, 3 apart, take 11
        (11, 2, 3, (0, 0)),
        (5, 4, 1, (1, 2)),
    ],
)
def test_same_padding_by_hand(size: int, kernel: int, stride: int, expected: tuple[int, int]) -> None:
    assert same_padding(size, kernel, stride) == expected


@given(H=st.integers(1, 12), W=st.integers(1, 12), kernel=st.integers(1, 5), stride=st.integers(1, 3))
def test_same_convolution_equals_torchs_after_padding_by_hand(H: int, W: int, kernel: int, stride: int) -> None:
    conv = SameConv2d(2, 3, kernel, stride).double()
    x = images(1, 2, H, W)

    def missing(size: int) -> int:
        """Try out how many rows are too few for ⌈size / stride⌉ windows."""
        total = 0
        while max(size + total - kernel + stride, 0) // stride < (size + stride - 1) // stride:
            total += 1
        return total

    rows, columns = missing(H), missing(W)
    padded = F.pad(torch.tensor(x), (columns // 2, (columns + 1) // 2, rows // 2, (rows + 1) // 2))
    expected = F.conv2d(padded, torch.tensor(conv.weight.data), torch.tensor(conv.bias.data), stride)
    assert expected.shape[2:] == (-(-H // stride), -(-W // stride))
    y = conv(sf.Tensor(x)).numpy()
    np.testing.assert_allclose(y, expected.numpy(), atol=1e-12)


@pytest.mark.parametrize("size", [(64, 64), (50, 67)])
def test_with_tensorflows_padding_it_equals_torchvisions_padded_by_hand(size: tuple[int, int]) -> None:
    theirs = reference()
    for layer in theirs.modules():
        if isinstance(layer, torch.nn.Conv2d) and layer.stride == (2, 2):
            layer.padding = (0, 0)
            layer.register_forward_pre_hook(lambda _, inputs: pad_by_hand(*inputs))
    compare(MobileNetV2Classifier(num_classes=5, padding="tensorflow"), theirs, images(1, 3, *size), modes=("eval",))


def pad_by_hand(x: torch.Tensor) -> torch.Tensor:
    """For 3x3 windows of stride 2: a row at the bottom, and one at the top where their number is odd."""
    H, W = x.shape[2:]
    return F.pad(x, (W % 2, 1, H % 2, 1))


# --- geometry -------------------------------------------------------------------------------------------------


def test_windows_of_an_inverted_residual() -> None:
    block = [Window(1), Window(3, padding=1), Window(1)]
    assert InvertedResidual(8, 8, 1, 6, True, "symmetric").windows() == block  # the shortcut sees less
    halving = [Window(1), Window(3, 2, 1), Window(1)]
    assert InvertedResidual(8, 8, 2, 6, True, "symmetric").windows() == halving
    halving[1] = Window(3, 2, 0)
    assert InvertedResidual(8, 8, 2, 6, True, "tensorflow").windows() == halving


@pytest.mark.parametrize("padding", ["symmetric", "tensorflow"])
def test_a_pixel_sees_exactly_the_rows_that_geometry_says(padding: str) -> None:
    """All weights equal and positive: a bright row lights up every pixel that sees it, and no other."""
    backbone = MobileNetV2(batch_norm=False, padding=padding).double()
    for p in backbone.parameters():
        p.data[...] = 1.0 / sf.nn.init.fan_in(p) if p.ndim == 4 else 0.0
    grid, size = Grid(), 640
    for level, windows in enumerate(backbone.pool_windows()):
        grid = grid.through(*windows)
        pixel = size // int(grid.stride) // 2
        first = int(grid.centre(pixel) - (grid.receptive_field - 1) / 2)
        last = int(grid.centre(pixel) + (grid.receptive_field - 1) / 2)
        x = np.zeros((4, 3, size, 32))
        for image, row in enumerate((first - 1, first, last, last + 1)):
            x[image, :, row] = 1e-6  # far from 6, where ReLU6 makes all the same
        with sf.no_grad():
            y = backbone(sf.Tensor(x))[level].numpy()
        assert (y[:, :, pixel].max(axis=(1, 2)) > 0).tolist() == [False, True, True, False]


def test_for_tensorflows_padding_sizes_become_multiples_of_32() -> None:
    assert [MobileNetV2(padding="tensorflow").enlarged(size) for size in (1, 32, 33, 224)] == [32, 32, 64, 224]
    assert [MobileNetV2().enlarged(size) for size in (1, 32, 33, 224)] == [1, 33, 33, 225]


@pytest.mark.parametrize(("padding", "crop"), [("symmetric", 7), ("tensorflow", 0)])
def test_it_carries_an_fcn(padding: str, crop: int) -> None:
    """Upsampled by 8 with a kernel of 15, the map of stride 8 starts at -7 or, 7 pixels further, at 0."""
    net = sf.models.fcn8s(MobileNetV2(padding=padding), num_classes=2).eval()
    assert net.crop == crop
    for size in ((1, 40), (64, 33)):
        with sf.no_grad():
            assert net(sf.Tensor(np.zeros((1, 3, *size), np.float32))).shape == (1, 2, *size)


def test_an_unknown_padding_is_refused() -> None:
    with pytest.raises(ValueError, match="'same' is not known; use 'symmetric' or 'tensorflow'"):
        MobileNetV2(padding="same")
