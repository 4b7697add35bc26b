"""GoogLeNet in its two forms: torchvision's equals torchvision's, Caffe's equals the same network restated in torch,
and both lie on the image where their windows say, reaching its end whatever its size."""

import numpy as np
import pytest
import torch
from test_models_alexnet import (
    check_predictions,
    check_receptive_field,
    check_restated,
    check_sizes,
    count,
    image,
    last_grid,
    map_grids,
    randomise_biases,
)
from torch.nn import functional as F
from torchvision_reference import compare, randomise, torchvision

import scratchfcn as sf
from scratchfcn import nn
from scratchfcn.models.backbone import Backbone
from scratchfcn.models.bvlc_googlenet import BVLCGoogLeNet, BVLCGoogLeNetClassifier, name_from_caffe
from scratchfcn.models.fcn import FCN8s, FCN32s
from scratchfcn.models.googlenet import INCEPTIONS, GoogLeNet, GoogLeNetClassifier, GoogLeNetOutputs

# --- torchvision's ------------------------------------------------------------------------------------------


def reference(**options: object) -> torch.nn.Module:
    return randomise(torchvision.models.GoogLeNet(num_classes=3, init_weights=False, **options))


def test_googlenet_equals_torchvisions_with_its_auxiliary_classifiers() -> None:
    """Images whose maps behind 4a and 4d are larger than the 4x4 that the auxiliary classifiers average them to."""
    compare(GoogLeNetClassifier(num_classes=3), reference(), image(2, 3, 70, 110))


def test_googlenet_equals_torchvisions_without_them() -> None:
    ours = GoogLeNetClassifier(num_classes=3, aux_logits=False)
    compare(ours, reference(aux_logits=False), image(2, 3, 64, 47), dtypes=("float64",))


def test_transform_input_equals_torchvisions() -> None:
    ours = GoogLeNetClassifier(num_classes=3, transform_input=True)
    compare(ours, reference(transform_input=True), image(1, 3, 64, 64), modes=("eval",))


def test_training_returns_three_scores_by_name_and_evaluation_one() -> None:
    net, x = GoogLeNetClassifier(num_classes=3), sf.Tensor(image(2, 3, 64, 64).astype(np.float32))
    outputs = net(x)
    assert isinstance(outputs, GoogLeNetOutputs)
    assert outputs._fields == ("logits", "aux_logits2", "aux_logits1")
    assert [y.shape for y in outputs] == [(2, 3)] * 3
    assert net.eval()(x).shape == (2, 3)
    assert GoogLeNetClassifier(num_classes=3, aux_logits=False)(x).shape == (2, 3)


def test_dropout_stands_before_the_last_layers() -> None:
    net = GoogLeNetClassifier(num_classes=3)
    assert (net.dropout.p, net.aux1.dropout.p, net.aux2.dropout.p) == (0.2, 0.7, 0.7)
    net = GoogLeNetClassifier(num_classes=3, dropout=1.0, dropout_aux=1.0)
    outputs = net(sf.Tensor(image(2, 3, 64, 64).astype(np.float32)))
    for scores, layer in zip(outputs, (net.fc, net.aux2.fc2, net.aux1.fc2), strict=True):
        np.testing.assert_array_equal(scores.data, np.stack([layer.bias.data] * 2))  # nothing came through


def test_parameters_of_googlenet() -> None:
    with nn.init.skipped():
        assert count(GoogLeNetClassifier()) == 13_004_888
        assert len(GoogLeNetClassifier().state_dict()) == 364
        assert count(GoogLeNetClassifier(aux_logits=False)) == 6_624_904


def test_the_backbone_returns_the_classifiers_maps() -> None:
    for transform_input in (False, True):
        classifier = GoogLeNetClassifier(num_classes=3, transform_input=transform_input).eval()
        backbone = GoogLeNet(transform_input=transform_input).eval()
        mine = set(backbone.state_dict())
        backbone.load_state_dict({name: a for name, a in classifier.state_dict().items() if name in mine})
        x = sf.Tensor(image(1, 3, 64, 50).astype(np.float32))
        maps = backbone(x)
        assert [y.shape for y in maps] == [(1, 480, 8, 6), (1, 832, 4, 3), (1, 1024, 2, 2)]
        y = maps[2]
        for layer in classifier.top():
            y = layer(y)
        np.testing.assert_array_equal(y.data, classifier(x).data)


def test_transform_input_needs_colours() -> None:
    with pytest.raises(ValueError, match=r"transform_input speaks of red, green and blue, but in_channels is 1"):
        GoogLeNet(in_channels=1, transform_input=True)
    assert GoogLeNet(in_channels=1).conv1.conv.weight.shape == (64, 1, 7, 7)


# --- Caffe's ------------------------------------------------------------------------------------------------


def bvlc_in_torch(state: dict[str, torch.Tensor], x: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """BVLC GoogLeNet with Caffe's names; behind the maps the scores, where the state has the classifier."""

    def blobs(name: str) -> tuple[torch.Tensor, torch.Tensor]:
        return state[f"{name_from_caffe(name)}.weight"], state[f"{name_from_caffe(name)}.bias"]

    def conv(x: torch.Tensor, name: str, stride: int = 1, padding: int = 0) -> torch.Tensor:
        return F.relu(F.conv2d(x, *blobs(name), stride, padding))

    def pool(x: torch.Tensor) -> torch.Tensor:
        return F.max_pool2d(x, 3, 2, ceil_mode=True)

    def norm(x: torch.Tensor) -> torch.Tensor:
        return F.local_response_norm(x, 5, alpha=1e-4, beta=0.75, k=1.0)

    def inception(x: torch.Tensor, name: str) -> torch.Tensor:
        a = conv(x, f"inception_{name}/1x1")
        b = conv(conv(x, f"inception_{name}/3x3_reduce"), f"inception_{name}/3x3", padding=1)
        c = conv(conv(x, f"inception_{name}/5x5_reduce"), f"inception_{name}/5x5", padding=2)
        d = conv(F.max_pool2d(x, 3, 1, padding=1), f"inception_{name}/pool_proj")
        return torch.cat([a, b, c, d], 1)

    norm1 = norm(pool(conv(x, "conv1/7x7_s2", 2, 3)))
    norm2 = norm(conv(conv(norm1, "conv2/3x3_reduce"), "conv2/3x3", padding=1))
    y3 = inception(inception(pool(norm2), "3a"), "3b")
    y4 = pool(y3)
    for name in ("4a", "4b", "4c", "4d", "4e"):
        y4 = inception(y4, name)
    y5 = inception(inception(pool(y4), "5a"), "5b")
    if "loss3_classifier.weight" not in state:
        return y3, y4, y5
    return (F.linear(F.avg_pool2d(y5, 7, 1).flatten(1), *blobs("loss3/classifier")),)


def test_bvlc_googlenets_maps_equal_those_of_its_layers_in_torch() -> None:
    """Images of Caffe's range: with values around 1 the response norm would do next to nothing."""
    net = BVLCGoogLeNet()
    randomise_biases(net)
    check_restated(net, bvlc_in_torch, image(2, 3, 64, 45, scale=60.0))


def test_bvlc_googlenets_scores_equal_those_of_its_layers_in_torch() -> None:
    net = BVLCGoogLeNetClassifier(num_classes=4)
    randomise_biases(net)
    check_restated(net, bvlc_in_torch, image(1, 3, 224, 224, scale=60.0))


def test_parameters_of_bvlc_googlenet() -> None:
    with nn.init.skipped():
        net, fcn = BVLCGoogLeNetClassifier(), FCN32s(BVLCGoogLeNet(), 21)
    assert count(net) == 6_998_552  # bvlc_googlenet, without its auxiliary classifiers
    assert count(net) - net.loss3_classifier.weight.size - net.loss3_classifier.bias.size == 5_973_552
    learned = sum(p.size for name, p in fcn.named_parameters() if "up" not in name)
    assert learned == 5_995_077  # paper, table 1: 6M
    assert [type(layer).__name__ for layer in net.top()] == ["AvgPool2d", "Dropout", "Flatten", "Linear"]
    assert net.pool5_drop_7x7_s1.p == 0.4


def test_its_names_are_caffes() -> None:
    stem = ["conv1/7x7_s2", "conv2/3x3_reduce", "conv2/3x3"]
    parts = ("1x1", "3x3_reduce", "3x3", "5x5_reduce", "5x5", "pool_proj")
    layers = [*stem, *(f"inception_{name}/{part}" for name in INCEPTIONS for part in parts), "loss3/classifier"]
    expected = [f"{name_from_caffe(layer)}.{blob}" for layer in layers for blob in ("weight", "bias")]
    assert list(BVLCGoogLeNetClassifier(num_classes=3).state_dict()) == expected
    assert "inception_3a_5x5_reduce.bias" in expected


def test_its_convolutions_start_with_a_bias() -> None:
    for name, p in BVLCGoogLeNet().named_parameters():
        if name.endswith("bias"):
            np.testing.assert_array_equal(p.data, np.float32(0.2))


def test_it_is_22_layers_deep() -> None:
    """The longest way from the image to the scores; the last layer is the one that gives them."""

    def depth(layer: nn.Module) -> int:
        if hasattr(layer, "branches"):
            return max(depth(branch) for branch in layer.branches)
        return sum(isinstance(module, nn.Conv2d) for module in layer.modules())

    assert sum(depth(layer) for stage in BVLCGoogLeNet().stages() for layer in stage) + 1 == 22


# --- on the image -------------------------------------------------------------------------------------------


def test_where_the_maps_lie() -> None:
    grids = map_grids(GoogLeNet())
    assert [(g.stride, g.start, g.receptive_field) for g in grids] == [(8, 6, 59), (16, 14, 235), (32, 22, 379)]
    grids = map_grids(BVLCGoogLeNet())
    assert [(g.stride, g.start, g.receptive_field) for g in grids] == [(8, 6, 91), (16, 14, 427), (32, 30, 715)]
    with_average = last_grid(BVLCGoogLeNet()).through(*nn.AvgPool2d(7, 1).windows())
    assert with_average.receptive_field == 907  # paper, table 1


@pytest.mark.parametrize(("make", "crop"), [(GoogLeNet, 9), (BVLCGoogLeNet, 1)])
def test_crops(make: type[Backbone], crop: int) -> None:
    net = FCN32s(make(), 2)
    assert (net.fc6, net.fc7, net.crop, net.upscore.kernel_size) == (None, None, crop, (63, 63))


@pytest.mark.parametrize(("make", "rows", "i"), [(GoogLeNet, 416, 6), (BVLCGoogLeNet, 744, 11)])
def test_the_receptive_field_is_measured(
    make: type[Backbone], rows: int, i: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_receptive_field(make(), (rows, 31), i, monkeypatch)


@pytest.mark.parametrize("make", [GoogLeNet, BVLCGoogLeNet])
def test_the_maps_reach_the_end_of_every_image(make: type[Backbone]) -> None:
    backbone = make()
    check_sizes(backbone)
    check_predictions(backbone)


@pytest.mark.parametrize("make", [GoogLeNet, BVLCGoogLeNet])
def test_small_images_get_zeros_below_and_to_the_right(make: type[Backbone]) -> None:
    backbone, x = make().eval(), image(1, 3, 9, 40).astype(np.float32)
    padded = np.zeros((1, 3, backbone.enlarged(9), 40), np.float32)
    padded[:, :, :9] = x
    for small, large in zip(backbone(sf.Tensor(x)), backbone.maps(sf.Tensor(padded)), strict=True):
        np.testing.assert_array_equal(small.data, large.data)
    net = FCN8s(backbone, 2).eval()
    for size in ((1, 1), (20, 33)):
        assert net(sf.Tensor(np.zeros((1, 3, *size), np.float32))).shape == (1, 2, *size)
