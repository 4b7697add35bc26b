"""SqueezeNet: equal to torchvision's, and its maps cover images of any size and lie where geometry says."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torchvision_reference import compare, randomise, state_of, torchvision

import scratchfcn as sf
from scratchfcn.geometry import Grid, Window
from scratchfcn.models.squeezenet import Fire, SqueezeNet, SqueezeNetClassifier
from scratchfcn.ops.im2col import conv_output_size, pool_output_size

VERSIONS = ["1_0", "1_1"]


def reference(version: str, num_classes: int = 5) -> torch.nn.Module:
    make = {"1_0": torchvision.models.squeezenet1_0, "1_1": torchvision.models.squeezenet1_1}[version]
    return randomise(make(weights=None, num_classes=num_classes))


def images(*shape: int) -> np.ndarray:
    return np.random.default_rng(3).normal(size=shape)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_classifier_equals_torchvisions(version: str) -> None:
    compare(SqueezeNetClassifier(version, num_classes=5), reference(version), images(2, 3, 64, 71), modes=("eval",))


def test_the_padded_classifier_averages_a_frame_of_biases_too() -> None:
    theirs = reference("1_0")
    theirs.classifier[1].padding = (1, 1)
    ours = SqueezeNetClassifier("1_0", num_classes=5, classifier_padding=1)
    compare(ours, theirs, images(1, 3, 70, 64), modes=("eval",))


@pytest.mark.parametrize(("version", "count"), [("1_0", 1_248_424), ("1_1", 1_235_496)])
def test_number_of_parameters(version: str, count: int) -> None:
    assert sum(p.size for p in SqueezeNetClassifier(version).parameters()) == count


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("size", [(65, 47), (64, 40)])
def test_the_backbones_maps_are_the_last_of_each_resolution(version: str, size: tuple[int, int]) -> None:
    theirs = reference(version).double()
    ours = SqueezeNet(version).double()
    ours.load_state_dict({k: v for k, v in state_of(theirs).items() if k.startswith("features.")})  # strict
    last_pool = {"1_0": 11, "1_1": 8}[version]
    theirs.features[0].padding = {"1_0": (2, 2), "1_1": (0, 0)}[version]
    x = images(1, 3, *size)

    with torch.no_grad():
        H, W = size
        padded = F.pad(torch.tensor(x), (0, 1 - W % 2, 0, 1 - H % 2))  # zeros at the right and at the bottom
        map8 = theirs.features[:last_pool](padded)
        map16 = theirs.features[last_pool:](map8)
        map32 = F.max_pool2d(map16, 3, 2, ceil_mode=True)
    maps = ours(sf.Tensor(x))
    assert tuple(y.shape[1] for y in maps) == ours.channels
    for y, expected in zip(maps, (map8, map16, map32), strict=True):
        np.testing.assert_allclose(y.numpy(), expected.numpy(), rtol=1e-10, atol=1e-12)


def test_a_fire_module_sees_what_its_larger_branch_sees() -> None:
    assert Fire(16, 2).windows() == [Window(1), Window(3, padding=1)]
    assert Fire(16, 2)(sf.Tensor(np.zeros((1, 16, 5, 6), np.float32))).shape == (1, 16, 5, 6)


# --- geometry ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_maps_cover_images_of_every_size(version: str) -> None:
    """By the formulas of sizes alone: a map of n pixels at s·i + s - 1, upsampled by s with a kernel of 2s - 1, has
    (n - 1)·s + 2s - 1 pixels, and starts at the image's first."""
    backbone, (kernel, padding) = SqueezeNet(version), {"1_0": (7, 2), "1_1": (3, 0)}[version]
    for size in range(1, 1501):
        enlarged = backbone.enlarged(size)
        assert size <= enlarged <= max(size + 1, 33)  # one more row makes it odd; less than 33 have no map of stride 32
        n = conv_output_size(enlarged, kernel, 2, padding)
        assert (n - 1) * 2 + kernel - padding == enlarged + padding  # the last window ends where the padding does
        n = pool_output_size(n, 3, 2, 0, 1, ceil_mode=True)
        for stride in (8, 16, 32):
            n = pool_output_size(n, 3, 2, 0, 1, ceil_mode=True)
            assert (n - 1) * stride + 2 * stride - 1 >= size
            assert n >= 1


@pytest.mark.parametrize("version", VERSIONS)
def test_an_fcn_on_it_gives_scores_of_the_images_size(version: str) -> None:
    net = sf.models.fcn8s(SqueezeNet(version), num_classes=2).eval()
    assert net.crop == 0
    for size in ((1, 34), (33, 48), (64, 95)):
        with sf.no_grad():
            assert net(sf.Tensor(np.zeros((1, 3, *size), np.float32))).shape == (1, 2, *size)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_classifier_itself_is_not_enlarged_or_shifted(version: str) -> None:
    classifier = SqueezeNetClassifier(version)
    start = {"1_0": 17, "1_1": 15}[version]
    assert grids(classifier)[1:] == [(16, start), (16, start)]  # it ends at stride 16
    with sf.no_grad():
        _, last, same = classifier.maps(sf.Tensor(np.zeros((1, 3, 224, 224), np.float32)))
    assert last.shape == same.shape == (1, 512, 13, 13)


def grids(backbone: sf.nn.Module) -> list[tuple[int, int]]:
    """(stride, start) of the three maps."""
    grid, found = Grid(), []
    for windows in backbone.pool_windows():
        grid = grid.through(*windows)
        found.append((grid.stride, grid.start))
    return found


@pytest.mark.parametrize("version", VERSIONS)
def test_a_pixel_sees_exactly_the_rows_that_geometry_says(version: str) -> None:
    """All weights equal and positive: a bright row lights up every pixel that sees it, and no other."""
    backbone = SqueezeNet(version).double()
    for p in backbone.parameters():
        p.data[...] = 1.0 / sf.nn.init.fan_in(p) if p.ndim == 4 else 0.0
    assert grids(backbone) == [(8, 7), (16, 15), (32, 31)]
    grid = Grid()
    for level, windows in enumerate(backbone.pool_windows()):
        grid, pixel = grid.through(*windows), {0: 8, 1: 8, 2: 4}[level]
        first = int(grid.centre(pixel) - (grid.receptive_field - 1) / 2)
        last = int(grid.centre(pixel) + (grid.receptive_field - 1) / 2)
        x = np.zeros((4, 3, 289, 33))
        for image, row in enumerate((first - 1, first, last, last + 1)):
            x[image, :, row] = 1.0
        with sf.no_grad():
            y = backbone(sf.Tensor(x))[level].numpy()
        assert (y[:, :, pixel].max(axis=(1, 2)) > 0).tolist() == [False, True, True, False]


@pytest.mark.parametrize("size", [33, 40, 64])
def test_the_last_row_of_an_image_is_not_left_out(size: int) -> None:
    backbone = SqueezeNet()
    x = np.zeros((2, 3, size, 33), np.float32)
    x[1, :, -1] = 1.0
    with sf.no_grad():
        map8, _, _ = backbone(sf.Tensor(x))
    assert (map8.numpy()[0] != map8.numpy()[1]).any()


def test_an_unknown_version_is_refused() -> None:
    with pytest.raises(ValueError, match="'1_2' is not known; use '1_1' or '1_0'"):
        SqueezeNet("1_2")
