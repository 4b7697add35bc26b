"""AlexNet in its two forms: torchvision's equals torchvision's, Caffe's equals the same network restated in torch, and
both lie on the image where the paper says, reaching its end whatever its size."""

from collections.abc import Callable, Iterable

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torchvision_reference import assert_close, assert_same_state, compare, randomise, torchvision

import scratchfcn as sf
from scratchfcn import nn
from scratchfcn.geometry import Grid, Window, chain, crop_offset
from scratchfcn.models import googlenet
from scratchfcn.models.alexnet import AlexNet, AlexNetClassifier
from scratchfcn.models.backbone import Backbone
from scratchfcn.models.caffenet import CaffeNet, CaffeNetClassifier
from scratchfcn.models.fcn import FCN8s, FCN16s, FCN32s
from scratchfcn.ops.im2col import conv_output_size, conv_transpose_output_size, pool_output_size


def count(model: nn.Module) -> int:
    return sum(p.size for p in model.parameters())


def image(*shape: int, scale: float = 1.0) -> np.ndarray:
    return np.random.default_rng(1).normal(size=shape) * scale


# --- how maps lie on the image, for the tests of other backbones, too ---------------------------------------


def output_size(layer: nn.Module, size: int) -> int:
    """Rows behind a layer, by the formulas alone; 0 where a window does not fit."""
    if isinstance(layer, nn.Conv2d):
        return max(0, conv_output_size(size, layer.kernel_size[0], layer.stride[0], layer.padding[0]))
    if isinstance(layer, nn.MaxPool2d):
        window = (layer.kernel_size[0], layer.stride[0], layer.padding[0], layer.dilation[0])
        return max(0, pool_output_size(size, *window, layer.ceil_mode))
    inner = [child for _, child in layer.children()]
    if isinstance(layer, googlenet.Inception) or type(layer) is nn.ModuleList:  # branches, side by side
        (size,) = {output_size(branch, size) for branch in inner}
        return size
    for child in inner:
        size = output_size(child, size)
    return size


def map_sizes(backbone: Backbone, image_sizes: Iterable[int]) -> dict[int, list[int]]:
    """Rows of the image → rows of the maps of stride 8, 16 and 32, the last behind fc6 where there is one."""
    stages, head, table = backbone.stages(), backbone.head, {}
    for rows in image_sizes:
        size, sizes = rows, []
        for stage in stages:
            for layer in stage:
                size = output_size(layer, size)
            sizes.append(size)
        if head is not None:
            sizes[2] = max(0, conv_output_size(size, head["kernel"], 1, head["padding"]))
        table[rows] = sizes
    return table


def map_grids(backbone: Backbone) -> list[Grid]:
    """The grids of these maps on the image."""
    to_8, to_16, to_32 = backbone.pool_windows()
    head = [] if backbone.head is None else [Window(backbone.head["kernel"], 1, backbone.head["padding"])]
    return [chain(to_8), chain(to_8 + to_16), chain(to_8 + to_16 + to_32 + head)]


def last_grid(backbone: Backbone) -> Grid:
    """The grid of the last map itself, without fc6."""
    return chain(window for windows in backbone.pool_windows() for window in windows)


SIZES = range(1, 1501)  # of the images that must get a score in every row


def check_sizes(backbone: Backbone) -> None:
    """The maps reach every image's end; rows are added only where they would not, and no more than it takes."""
    table = map_sizes(backbone, range(SIZES.stop))
    bilinear = []  # of each map: factor, kernel, crop offset
    for grid in map_grids(backbone):
        factor, kernel = int(grid.stride), int(2 * grid.stride - 1)
        bilinear.append((factor, kernel, crop_offset(grid.through(Window(kernel, factor, transposed=True)), Grid())))
    assert all(offset >= 0 for _, _, offset in bilinear)

    def reach(rows: int, size: int) -> bool:
        """Whether each map of `rows` rows of image, upsampled and put in place, covers pixels 0 … size - 1."""
        return all(
            n > 0 and conv_transpose_output_size(n, kernel, factor) - offset >= size
            for n, (factor, kernel, offset) in zip(table[rows], bilinear, strict=True)
        )

    for size in SIZES:
        rows = backbone.enlarged(size)
        assert reach(rows, size), size
        assert rows == size or (rows > size and not reach(rows - 1, size)), size


def check_predictions(backbone: Backbone) -> None:
    """The last map of each FCN, cropped by its offset, has a score for every row of every image."""
    table = map_sizes(backbone, range(1, SIZES.stop))

    def up(layer: nn.ConvTranspose2d, n: int) -> int:
        return conv_transpose_output_size(n, layer.kernel_size[0], layer.stride[0])

    def fuse(skip: int, upscore: int, offset: int) -> int:
        return min(skip - max(0, offset), upscore - max(0, -offset))

    net32, net16, net8 = (kind(backbone, 2) for kind in (FCN32s, FCN16s, FCN8s))
    for size in SIZES:
        n8, n16, n32 = table[backbone.enlarged(size)]
        assert up(net32.upscore, n32) - net32.crop >= size
        fused16 = fuse(n16, up(net16.upscore2, n32), net16.crop_pool4)
        assert up(net16.upscore16, fused16) - net16.crop >= size
        fused8 = fuse(n8, up(net8.upscore_pool4, fused16), net8.crop_pool3)
        assert up(net8.upscore8, fused8) - net8.crop >= size
    assert min(net32.crop, net16.crop, net8.crop) >= 0


def check_receptive_field(backbone: Backbone, shape: tuple[int, int], i: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows with a gradient from row i of the last map are those that geometry.py says it sees.

    Weights are positive and pools average, so that nothing of what a pixel depends on is without gradient.
    """

    def averages(x: sf.Tensor, kernel: object, stride: object, padding: object, _: object, ceil: bool) -> sf.Tensor:
        return sf.ops.avg_pool2d(x, kernel, stride, padding, ceil)

    monkeypatch.setattr(sf.ops, "max_pool2d", averages)
    for p in backbone.parameters():
        if len(p.shape) == 4:
            p.data[...] = 1.0 / nn.init.fan_in(p)
    x = sf.Tensor(np.ones((1, 3, *shape), np.float32), requires_grad=True)
    y = backbone.eval().maps(x)[-1]
    gy = np.zeros(y.shape, np.float32)
    gy[0, :, i, y.shape[3] // 2] = 1.0
    y.backward(gy)
    rows = np.flatnonzero(x.grad[0].any(axis=(0, 2)))
    grid = last_grid(backbone)
    assert len(rows) == rows[-1] - rows[0] + 1 == grid.receptive_field
    assert (rows[0] + rows[-1]) / 2 == grid.centre(i)


# --- torchvision's AlexNet ----------------------------------------------------------------------------------


def alexnets(num_classes: int = 3) -> tuple[AlexNetClassifier, torch.nn.Module]:
    """Ours and torchvision's, with memory for the features only: fc6 and fc7 have 54 million weights."""
    with nn.init.skipped():
        ours = AlexNetClassifier(num_classes)
    with torch.device("meta"):
        theirs = torchvision.models.alexnet(num_classes=num_classes)
    theirs.features.to_empty(device="cpu")
    return ours, theirs


def test_alexnets_names_shapes_and_layers_are_torchvisions() -> None:
    ours, theirs = alexnets(1000)
    assert_same_state(ours, theirs)
    assert count(ours) == 61_100_840
    for part in ("features", "classifier"):
        ours_layers = [type(layer).__name__ for layer in getattr(ours, part)]
        assert ours_layers == [type(layer).__name__ for layer in getattr(theirs, part)]


class PoolsOf(torch.nn.Module):
    """torchvision's features, from which the outputs of the three pools are taken."""

    def __init__(self, features: torch.nn.Sequential) -> None:
        super().__init__()
        self.features = features

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        pools = []
        for layer in self.features:
            x = layer(x)
            if isinstance(layer, torch.nn.MaxPool2d):
                pools.append(x)
        return tuple(pools)


@pytest.mark.parametrize(("padding", "ceil_mode"), [(2, False), (100, True)])
def test_alexnets_maps_equal_torchvisions(padding: int, ceil_mode: bool) -> None:
    _, theirs = alexnets()
    randomise(theirs.features)
    theirs.features[0].padding = (padding, padding)
    for layer in theirs.features:
        layer.ceil_mode = ceil_mode
    x = image(2, 3, 95, 70) if padding == 2 else image(1, 3, 9, 20)
    compare(AlexNet(padding=padding, ceil_mode=ceil_mode), PoolsOf(theirs.features), x, modes=("eval",))


def test_alexnets_top_equals_torchvisions() -> None:
    """With narrow layers: the mean over 6x6 windows, the order in which a map is flattened, the order of layers."""
    ours, theirs = alexnets()
    for net, library in ((ours, nn), (theirs, torch.nn)):
        widths = [(256 * 6 * 6, 7), (7, 5), (5, 3)]
        fc6, fc7, fc8 = (library.Linear(*width) for width in widths)
        drop, relu = library.Dropout(0.5), library.ReLU()
        net.classifier = library.Sequential(drop, fc6, relu, drop, fc7, relu, fc8)
    compare(ours, randomise(theirs), image(2, 3, 96, 140), dtypes=("float64",))


@pytest.mark.slow
def test_the_whole_alexnet_equals_torchvisions() -> None:
    ours, theirs = AlexNetClassifier(num_classes=3), torchvision.models.alexnet(num_classes=3)
    compare(ours, randomise(theirs), image(1, 3, 224, 224), modes=("eval",), dtypes=("float32",))


# --- CaffeNet -----------------------------------------------------------------------------------------------


def caffenet_in_torch(state: dict[str, torch.Tensor], x: torch.Tensor, padding: int) -> tuple[torch.Tensor, ...]:
    """The paper's layers, one line each; behind the maps the scores, where the state has fc6."""

    def conv(x: torch.Tensor, name: str, stride: int = 1, padding: int = 0, groups: int = 1) -> torch.Tensor:
        return F.relu(F.conv2d(x, state[f"{name}.weight"], state[f"{name}.bias"], stride, padding, groups=groups))

    def fc(x: torch.Tensor, name: str) -> torch.Tensor:
        return F.linear(x, state[f"{name}.weight"], state[f"{name}.bias"])

    pool1 = F.max_pool2d(conv(x, "conv1", 4, padding), 3, 2, ceil_mode=True)
    norm1 = F.local_response_norm(pool1, 5, alpha=1e-4, beta=0.75, k=1.0)
    pool2 = F.max_pool2d(conv(norm1, "conv2", 1, 2, 2), 3, 2, ceil_mode=True)
    norm2 = F.local_response_norm(pool2, 5, alpha=1e-4, beta=0.75, k=1.0)
    conv5 = conv(conv(conv(norm2, "conv3", 1, 1), "conv4", 1, 1, 2), "conv5", 1, 1, 2)
    pool5 = F.max_pool2d(conv5, 3, 2, ceil_mode=True)
    if "fc6.weight" not in state:
        return pool1, pool2, pool5
    return (fc(F.relu(fc(F.relu(fc(torch.flatten(pool5, 1), "fc6")), "fc7")), "fc8"),)


def check_restated(model: nn.Module, restated: Callable[..., tuple[torch.Tensor, ...]], x: np.ndarray) -> None:
    """The same outputs as `restated(state, x)`, and the same gradients of x and all parameters, in float64."""
    model.double().eval()
    state = {name: torch.tensor(p.data, requires_grad=True) for name, p in model.named_parameters()}
    torch_x, x = torch.tensor(x, requires_grad=True), sf.Tensor(x, requires_grad=True)
    ours, theirs = model(x), restated(state, torch_x)
    ours = ours if isinstance(ours, tuple) else (ours,)
    upstream = [np.random.default_rng(7).normal(size=y.shape) for y in ours]
    losses = [(y * gy).sum() for y, gy in zip(ours, upstream, strict=True)]
    sum(losses[1:], losses[0]).backward()
    sum((y * torch.tensor(gy)).sum() for y, gy in zip(theirs, upstream, strict=True)).backward()
    for i, (y, torch_y) in enumerate(zip(ours, theirs, strict=True)):
        assert_close(y.numpy(), torch_y.detach().numpy(), 1e-10, f"output {i}")
    assert_close(x.grad, torch_x.grad.numpy(), 1e-10, "gradient of x")
    for name, p in model.named_parameters():
        assert_close(p.grad, state[name].grad.numpy(), 1e-10, f"gradient of {name}")


def randomise_biases(model: nn.Module) -> None:
    for name, p in model.named_parameters():
        if name.endswith("bias"):
            p.data[...] = np.random.default_rng(len(name)).uniform(-0.2, 0.2, p.shape)


@pytest.mark.parametrize("padding", [0, 100])
def test_caffenets_maps_equal_those_of_its_layers_in_torch(padding: int) -> None:
    """Images of Caffe's range, -128 … 127: with values around 1 the response norm would do next to nothing."""
    net = CaffeNet(padding=padding)
    randomise_biases(net)
    x = image(2, 3, 67, 99, scale=60.0) if padding == 0 else image(1, 3, 3, 20, scale=60.0)
    check_restated(net, lambda state, x: caffenet_in_torch(state, x, padding), x)


def test_caffenets_scores_equal_those_of_its_layers_in_torch() -> None:
    with nn.init.skipped():
        net = CaffeNetClassifier(num_classes=4)
    features = CaffeNet()
    randomise_biases(features)
    net.load_state_dict(features.state_dict(), strict=False)
    net.fc6, net.fc7, net.fc8 = nn.Linear(256 * 6 * 6, 7), nn.Linear(7, 5), nn.Linear(5, 4)
    check_restated(net, lambda state, x: caffenet_in_torch(state, x, 0), image(1, 3, 227, 227, scale=60.0))


def test_caffenets_names_shapes_and_layers() -> None:
    with nn.init.skipped():
        net = CaffeNetClassifier()
    layers = ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8")
    assert list(net.state_dict()) == [f"{layer}.{what}" for layer in layers for what in ("weight", "bias")]
    assert net.conv2.weight.shape == (256, 48, 5, 5)
    assert net.fc6.weight.shape == (4096, 9216)
    assert count(net) == 60_965_224  # bvlc_reference_caffenet
    assert count(net) - net.fc8.weight.size - net.fc8.bias.size == 56_868_224
    top = ["Flatten", "Linear", "ReLU", "Dropout", "Linear", "ReLU", "Dropout", "Linear"]
    assert [type(layer).__name__ for layer in net.top()] == top


# --- on the image -------------------------------------------------------------------------------------------


def paddeds() -> list[Backbone]:
    """Both as the paper's FCN has them, with a narrow fc6 and fc7."""
    backbones = [AlexNet(padding=100, ceil_mode=True), CaffeNet(padding=100)]
    for backbone in backbones:
        assert backbone.head == {"kernel": 6, "padding": 0, "width": 4096}
        backbone.head["width"] = 8
    return backbones


def test_where_the_maps_lie() -> None:
    for backbone in paddeds():
        to_pool5 = last_grid(backbone)
        assert (to_pool5.stride, to_pool5.receptive_field) == (32, 195)
        pool1, pool2, score = map_grids(backbone)
        assert [(g.stride, g.start) for g in (pool1, pool2, score)] == [(8, -91), (16, -83), (32, 13)]
        assert score.receptive_field == 355  # paper, table 1
        assert FCN32s(backbone, 2).crop == 18
        assert FCN32s(backbone, 2).upscore.kernel_size == (63, 63)
        net = FCN8s(backbone, 2)
        assert (net.crop_pool4, net.crop_pool3, net.crop) == (5, 10, 18)


def test_the_receptive_field_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    for backbone in (AlexNet(), CaffeNet()):
        check_receptive_field(backbone, (259, 67), 3, monkeypatch)


def test_the_maps_reach_the_end_of_every_image() -> None:
    for backbone in paddeds():
        check_sizes(backbone)
        check_predictions(backbone)


def test_images_of_any_size_get_scores_of_that_size() -> None:
    for backbone in paddeds():
        net = FCN8s(backbone, 2).eval()
        for size in ((1, 1), (31, 50)):
            with sf.no_grad():
                assert net(sf.Tensor(np.zeros((1, 3, *size), np.float32))).shape == (1, 2, *size)
