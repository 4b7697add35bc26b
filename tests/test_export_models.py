"""Every network there is, as an ONNX file: onnx.checker accepts it, and onnxruntime computes what the network does.

All weights are random, zeros and running statistics, too. VGG16's and AlexNet's fc6 and fc7 hold 120 and 55 million
weights, and keras_segmentation's on ResNet50 400 million: here FCNs have 32 channels there, and are the same otherwise.
Some are exported at full width as well, all of them if SCRATCHFCN_FULL_WIDTH is set (minutes).
"""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx_tools import TOLERANCE, check, randomise

from scratchfcn import models, nn
from scratchfcn.export import ExportError, to_onnx
from scratchfcn.export.check import compare, open_session
from scratchfcn.models import NAMES
from scratchfcn.nn import init

FCN_SIZE = (45, 61)  # odd, unequal, no multiples of anything
CLASSIFIER_SIZES = {"caffenet": (227, 227), "vgg16": (64, 96), "vgg16_bn": (64, 96), "alexnet": (95, 127)}
LARGE = ("vgg16", "alexnet", "caffenet", "fcn_8", "fcn_32", "fcn_alexnet")  # parts of names of large networks
NARROW = 32

FULL_WIDTH = [name for name in NAMES if NAMES[name].kind != "classifier" and any(part in name for part in LARGE)]
FULL_WIDTH = FULL_WIDTH if "SCRATCHFCN_FULL_WIDTH" in os.environ else ["fcn8s_vgg16", "fcn_alexnet"]


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """FCNs have few channels in fc6 and fc7."""
    original = models.FCN.__init__

    def narrowed(self: models.FCN, backbone: nn.Module, *arguments: object, **options: object) -> None:
        if backbone.head is not None:
            backbone.head = {**backbone.head, "width": NARROW}
        original(self, backbone, *arguments, **options)

    monkeypatch.setattr(models.FCN, "__init__", narrowed)


def made(make: Callable[[], nn.Module]) -> nn.Module:
    with init.skipped():  # the weights are drawn afterwards, faster
        model = make()
    return randomise(model)


def difference(model: nn.Module, shape: tuple[int, int, int], path: Path, images: int = 3) -> float:
    """Write the file, check it, and return the largest difference, of the largest score."""
    to_onnx(model, shape).save(path)
    check(path)
    found = run(model, (images, *shape), path)
    path.unlink()
    return found


def run(model: nn.Module, shape: tuple[int, ...], path: Path) -> float:
    x = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    found = compare(open_session(path), model, x, x, "scores")
    assert found.scale > 0.01  # the scores are not all 0
    return found.relative


def named(name: str) -> object:
    return pytest.param(name, marks=[pytest.mark.slow] * (name in CLASSIFIER_SIZES))


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize("name", [named(name) for name in NAMES])
def test_every_network(name: str, tmp_path: Path) -> None:
    size = CLASSIFIER_SIZES.get(name, (224, 224)) if NAMES[name].kind == "classifier" else FCN_SIZE
    images = 2 if NAMES[name].kind == "classifier" else 3
    assert difference(made(lambda: models.build(name)), (3, *size), tmp_path / "net.onnx", images) <= TOLERANCE


@pytest.mark.slow
@pytest.mark.parametrize("name", FULL_WIDTH)
def test_full_width(name: str, tmp_path: Path) -> None:
    assert difference(made(lambda: models.build(name)), (3, *FCN_SIZE), tmp_path / "net.onnx", images=1) <= TOLERANCE


def tensorflows_mobilenet() -> nn.Module:
    return models.MobileNetV2Classifier(num_classes=10, batch_norm=False, padding="tensorflow")


def dense(name: str, size: int, pooling: str = "window") -> nn.Module:
    return models.convolutionalize(randomise(models.build(name, 10)), size, pooling)


CAFFE = {"recipe": "caffe"}
VARIANTS: dict[str, tuple[Callable[[], nn.Module], tuple[int, int, int]]] = {
    "fcn8s vgg16, caffe": (lambda: models.fcn8s("vgg16", **CAFFE), (3, 45, 61)),
    "fcn16s alexnet, caffe": (lambda: models.fcn16s("alexnet", **CAFFE), (3, 45, 61)),
    "fcn8s at once, googlenet, caffe": (lambda: models.fcn8s_at_once("googlenet", **CAFFE), (3, 45, 61)),
    "one pixel": (lambda: models.fcn32s("vgg16", **CAFFE), (3, 1, 1)),
    "batch norm": (lambda: models.fcn8s("small", 5, batch_norm=True), (3, 45, 61)),
    "early fusion": (lambda: models.fcn16s("small", 40, in_channels=4), (4, 45, 61)),
    "late fusion": (lambda: models.two_stream("fcn16s", "small", 40), (6, 45, 61)),
    "late fusion, caffe": (lambda: models.two_stream("fcn32s", "googlenet", **CAFFE), (6, 45, 61)),
    "two heads": (lambda: models.two_heads("fcn8s", "small"), (3, 45, 61)),
    "two heads, caffe": (lambda: models.two_heads("fcn16s", "vgg16", **CAFFE), (3, 45, 61)),
    "keras's alignment, 8": (lambda: models.fcn_8("vanilla", 3, width=8, alignment="keras"), (3, 45, 61)),
    "keras's alignment, 32": (lambda: models.fcn_32("mobilenet", 3, width=8, alignment="keras"), (3, 32, 64)),
    "d2l, aligned": (lambda: models.d2l_fcn_resnet18(aligned=True), (3, 45, 61)),
    "an auxiliary head": (lambda: models.fcn_resnet50(aux_loss=True), (3, 45, 61)),
    "googlenet's own normalisation": (lambda: models.build("googlenet", transform_input=True), (3, 64, 64)),
    "tensorflow's padding": (tensorflows_mobilenet, (3, 45, 61)),
    "dilation": (lambda: models.ResNetClassifier(50, 7, 3, (False, True, True)), (3, 45, 61)),
    "dense, means that slide": (lambda: dense("resnet18", 64), (3, 100, 133)),
    "dense, without a mean": (lambda: dense("squeezenet1_1", 64, "drop"), (3, 100, 133)),
    "dense, a linear layer": (lambda: dense("bvlc_googlenet", 224), (3, 260, 230)),
    "rarefied": (lambda: models.rarefy(models.small.stage(3, 8, True)), (3, 45, 61)),
}


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize("variant", VARIANTS)
def test_variants(variant: str, tmp_path: Path) -> None:
    make, shape = VARIANTS[variant]
    model = make() if "dense" in variant else made(make)
    assert difference(model, shape, tmp_path / "net.onnx", images=1) <= TOLERANCE


# --- images of any size -----------------------------------------------------------------------------------

DYNAMIC = {
    **dict.fromkeys(("fcn32s_small", "fcn16s_small", "fcn8s_small", "fcn32s_vgg16", "fcn16s_vgg16", "fcn8s_vgg16")),
    **dict.fromkeys(
        ("fcn_alexnet", "fcn_googlenet", "fcn8s_at_once_alexnet", "fcn32s_fixed_resnet18", "fcn8s_googlenet")
    ),
    **dict.fromkeys(("fcn8s_mobilenet_v2", "fcn8s_squeezenet1_0", "fcn16s_squeezenet1_1", "fcn_resnet50")),
    **dict.fromkeys(("d2l_fcn_resnet18", "fcn_8", "fcn_8_mobilenet", "resnet18", "mobilenet_v2", "squeezenet1_1")),
    **{name: make for name, (make, _) in VARIANTS.items() if "caffe" in name or "dense" in name},
}


LEAST = {  # of classifiers: from which size on the last map has more than a pixel, and a mean of it is something
    "resnet18": 33,
    "mobilenet_v2": 33,
    "squeezenet1_1": 33,
    "dense, means that slide": 33,  # the window is 2x2, of the map that 64x64 leads to
    "dense, without a mean": 17,
    "dense, a linear layer": 223,  # the pools round up, and 223 leads to a map of 7x7 as well
}


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize("name", DYNAMIC)
def test_one_file_for_all_sizes(name: str, tmp_path: Path) -> None:
    make, path = DYNAMIC[name] or (lambda: models.build(name, 5)), tmp_path / "net.onnx"
    model = make() if "dense" in name else made(make)
    channels = 6 if "fusion" in name else 3
    network = to_onnx(model, (channels, 64, 64), dynamic=True)
    network.save(path)
    check(path)
    least = network.least_size
    session = open_session(path)
    for H, W in ((least, least + 8), (least + 33, least + 46), (least + 15, least)):
        x = np.random.default_rng(1).standard_normal((1, channels, H, W)).astype(np.float32)
        assert compare(session, model, x, x, "scores").small, (H, W)
    assert least == LEAST.get(name, 1)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: models.build("alexnet", 10), "adaptive_avg_pool2d after layer features.10"),
        (lambda: models.build("caffenet", 10), "does not take one of 2400x2400 (linear"),
        (lambda: models.fcn_32("mobilenet", 3, width=8, alignment="keras"), "multiples of 32"),
        (tensorflows_mobilenet, "pad"),
        (lambda: nn.Sequential(nn.AvgPool2d(3, ceil_mode=True)), "avg_pool2d on the image: which windows (3, 3)"),
        (
            lambda: nn.Sequential(nn.MaxPool2d(2, 3, padding=1, ceil_mode=True)),
            "max_pool2d on the image: which windows",
        ),
    ],
)
def test_networks_for_which_size_matters_are_refused(make: Callable[[], nn.Module], says: str) -> None:
    with init.skipped():
        model = make()
    with pytest.raises(ExportError) as error:
        to_onnx(model, (3, 224, 224), dynamic=True)
    assert says in str(error.value)
    assert "size" in str(error.value)
