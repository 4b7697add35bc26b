"""The whole family by name: every FCN over every backbone, its sizes and crops, its counts, and what it starts from."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import scratchfcn as sf
from scratchfcn.geometry import Grid, Window
from scratchfcn.inspection import dry_run
from scratchfcn.models.backbone import Backbone
from scratchfcn.models.fcn import upsampling_window

FCNS = [name for name, entry in sf.models.NAMES.items() if entry.kind == "fcn"]
PAPERS = [f"{kind}_vgg16, caffe" for kind in ("fcn32s", "fcn16s", "fcn8s", "fcn8s_at_once")]


def unfilled(name: str, **options: object) -> sf.nn.Module:
    """A network whose weights have not been drawn: enough for its shapes, and made at once."""
    with sf.nn.init.skipped():
        return sf.models.build(name, **options)


@settings(max_examples=400, deadline=None)
@given(st.sampled_from([*FCNS, *PAPERS]), st.integers(1, 700), st.integers(1, 700))
def test_every_fcn_gives_exactly_the_size_of_the_image(name: str, H: int, W: int) -> None:
    name, _, recipe = name.partition(", ")
    net = unfilled(name, num_classes=21, **({"recipe": recipe} if recipe else {})).eval()
    assert dry_run(net, (1, 3, H, W)).output == (1, 21, H, W)


@pytest.mark.parametrize("kind", ["fcn32s", "fcn16s", "fcn8s"])
def test_the_papers_networks_take_every_size(kind: str) -> None:
    """All heights from 1 to 700: along one axis is enough, as rows and columns have the same windows."""
    net = unfilled(f"{kind}_vgg16", num_classes=2, recipe="caffe")
    for H in range(1, 701):
        assert dry_run(net, (1, 3, H, 1)).output == (1, 2, H, 1)


@pytest.mark.parametrize("size", [(1, 1), (33, 64), (70, 45)])
@pytest.mark.parametrize("backbone", ["googlenet", "resnet18", "squeezenet1_1", "mobilenet_v2"])
def test_they_run(backbone: str, size: tuple[int, int]) -> None:
    """The shapes of a dry run are true: the same in earnest, with finite numbers and a gradient for all that learns."""
    sf.manual_seed(0)
    net = sf.models.build(f"fcn8s_{backbone}", num_classes=3).eval()
    for score in (net.score_fr, net.score_pool4, net.score_pool3):
        sf.nn.init.he(score.weight)
    x = np.random.default_rng(0).normal(size=(1, 3, *size)).astype(np.float32)
    y = net(sf.Tensor(x))
    assert y.shape == (1, 3, *size)
    assert np.isfinite(y.numpy()).all()
    sf.ops.softmax_cross_entropy(y, np.zeros((1, *size), np.uint8)).backward()
    assert all(p.grad is not None for p in net.parameters() if p.requires_grad)


@pytest.mark.parametrize("backbone", ["alexnet", "googlenet", "resnet50", "squeezenet1_0", "mobilenet_v2", "vgg16_bn"])
def test_the_maps_are_lined_up(backbone: str) -> None:
    """The crops move maps by whole pixels, and the scores begin before the image or with it."""
    net = unfilled(f"fcn8s_{backbone}", num_classes=1)
    upscore2 = net.score_grid.through(*net.upscore2.windows())
    assert (net.pool4_grid.start - upscore2.start) % net.pool4_grid.stride == 0
    finest = net.pool3_grid.through(*net.upscore8.windows())
    assert finest.stride == 1
    assert finest.start.denominator == 1
    assert net.crop >= 0


def test_the_upsampling_kernel_is_the_one_that_aligns() -> None:
    assert upsampling_window(Grid().through(Window(2, 2)), Grid()) == (2, 4)  # start ½: an even tent
    assert upsampling_window(Grid().through(Window(3, 2, 1)), Grid()) == (2, 3)  # start 0: an odd one
    with pytest.raises(ValueError, match=r"no bilinear kernel lines up .* 3·i \+ 1/2"):
        upsampling_window(Grid().through(Window(2, 1), Window(1, 3)), Grid().through(Window(1, 2)))


def test_a_backbone_that_pads_too_little_is_refused() -> None:
    with pytest.raises(ValueError, match=r"begin at pixel 80 of the image.*must pad more"):
        sf.models.fcn32s(sf.models.AlexNet())


PAPER = [  # kind, backbone, crop, crop of pool4, of pool3, receptive field, learnable parameters
    ("fcn32s", "vgg16", 19, None, None, 404, 134_346_581),
    ("fcn16s", "vgg16", 27, 5, None, 404, 134_357_354),
    ("fcn8s", "vgg16", 31, 5, 9, 404, 134_362_751),
    ("fcn8s_at_once", "vgg16", 31, 5, 9, 404, 134_362_751),
    ("fcn32s", "alexnet", 18, None, None, 355, 56_954_261),
    ("fcn32s", "googlenet", 1, None, None, 715, 5_995_077),
]


@pytest.mark.parametrize(("kind", "backbone", "crop", "crop_pool4", "crop_pool3", "field", "parameters"), PAPER)
def test_the_papers_networks(
    kind: str, backbone: str, crop: int, crop_pool4: int | None, crop_pool3: int | None, field: int, parameters: int
) -> None:
    net = unfilled(f"{kind}_{backbone}", num_classes=21, recipe="caffe")
    assert (net.crop, getattr(net, "crop_pool4", None), getattr(net, "crop_pool3", None)) == (
        crop,
        crop_pool4,
        crop_pool3,
    )
    assert net.score_grid.receptive_field == field
    assert net.score_grid.stride == 32
    assert sum(p.size for p in net.parameters() if p.requires_grad) == parameters
    ups = [p for name, p in net.named_parameters() if "up" in name]
    assert ups
    assert not any(p.requires_grad for p in ups)


def test_with_the_average_pool_googlenets_field_is_the_papers_907() -> None:
    grid = unfilled("fcn_googlenet").score_grid
    assert grid.through(Window(7)).receptive_field == 907


def test_the_papers_names_are_its_networks() -> None:
    assert unfilled("fcn_alexnet").upscore.weight.shape == (21, 21, 63, 63)
    assert unfilled("fcn_alexnet").fc6.weight.shape == (4096, 256, 6, 6)
    assert unfilled("fcn_googlenet").fc6 is None
    assert unfilled("fcn_googlenet").score_fr.weight.shape == (21, 1024, 1, 1)


def test_at_once_scales_the_skips() -> None:
    """The scores of scaled features: as if the score layers' weights had been scaled."""
    sf.manual_seed(0)
    ours = sf.models.fcn8s_at_once(num_classes=2).eval()
    plain = sf.models.fcn8s(num_classes=2).eval()
    rng = np.random.default_rng(0)
    for p in ours.parameters():
        p.data[...] = rng.normal(size=p.shape) * 0.1
    ours.double()
    plain.double()
    plain.load_state_dict(ours.state_dict())
    plain.score_pool4.weight.data *= 0.01
    plain.score_pool3.weight.data *= 0.0001
    x = sf.Tensor(rng.normal(size=(1, 3, 50, 40)))
    np.testing.assert_allclose(ours(x).numpy(), plain(x).numpy(), rtol=1e-9)


def test_of_the_fixed_one_only_the_last_layer_learns() -> None:
    net = sf.models.fcn32s_fixed("resnet18", num_classes=2)
    assert [name for name, p in net.named_parameters() if p.requires_grad] == ["score_fr.weight", "score_fr.bias"]
    statistics = {name: array.copy() for name, array in net.state_dict().items() if "running" in name}
    net.train()
    sf.ops.softmax_cross_entropy(
        net(sf.Tensor(np.ones((1, 3, 40, 40), np.float32))), np.zeros((1, 40, 40), np.uint8)
    ).backward()
    assert net.score_fr.weight.grad is not None
    assert all(np.array_equal(net.state_dict()[name], array) for name, array in statistics.items())
    assert net.training
    assert not net.backbone.training


def test_every_classifier_scores_whole_images() -> None:
    for name, entry in sf.models.NAMES.items():
        if entry.kind == "classifier":
            net = unfilled(name, num_classes=7).eval()
            size = 227 if name == "caffenet" else 224
            assert dry_run(net, (2, 3, size, size)).output == (2, 7), name


def test_numbers_of_classes_where_nothing_is_said() -> None:
    assert unfilled("resnet18").fc.weight.shape == (1000, 512)
    assert unfilled("fcn32s_resnet18").score_fr.weight.shape[0] == 21


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: sf.models.build("fcn8s_vgg19"), ["fcn8s_vgg19", "fcn8s_vgg16", "scratchfcn models"]),
        (lambda: sf.models.fcn8s("resnet18", recipe="caffe"), ["caffe", "vgg16", "alexnet", "googlenet", "resnet18"]),
        (lambda: sf.models.fcn8s("resnet18", batch_norm=True), ["batch_norm", "small", "resnet18"]),
    ],
)
def test_what_does_not_exist_is_refused(make: object, words: list[str]) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        make()
    assert all(word in str(caught.value) for word in words)


def test_a_backbone_must_say_how_its_layers_go() -> None:
    class Mine(Backbone):
        channels = (1, 1, 1)

    with pytest.raises(TypeError, match="Mine defines no stages"):
        Mine().pool_windows()


# --- what they start from ---------------------------------------------------------------------------------


def numbered(model: sf.nn.Module) -> dict[str, np.ndarray]:
    """Arrays of the model's names and shapes that differ from each other and from any initial weights."""
    return {name: np.full(a.shape, float(i + 2), np.float32) for i, (name, a) in enumerate(model.state_dict().items())}


@pytest.mark.parametrize("backbone", ["alexnet", "resnet18", "squeezenet1_1", "mobilenet_v2", "googlenet"])
def test_an_fcn_starts_from_the_classifier_of_its_backbone(backbone: str) -> None:
    with sf.nn.init.skipped():
        classifier = sf.models.build(backbone, num_classes=5)
    weights = numbered(classifier)
    net = unfilled(f"fcn32s_{backbone}", num_classes=3)
    report = sf.models.start_from(net, weights)
    assert not [name for name in report.missing if not name.startswith(("score", "up"))]
    for name in net.backbone.state_dict():
        assert (net.state_dict()[f"backbone.{name}"] == weights[name].flat[0]).all()
    assert all(name.startswith(("fc", "classifier", "aux")) for name, _ in report.skipped)


def test_fully_connected_layers_become_fc6_and_fc7() -> None:
    net = unfilled("fcn32s_alexnet")
    weights = {
        "classifier.1.weight": np.arange(4096 * 9216, dtype=np.float32).reshape(4096, 9216),
        "classifier.4.bias": np.ones(4096, np.float32),
        "features.0.bias": np.full(64, 3.0, np.float32),
    }
    report = sf.models.start_from(net, weights)
    assert [name for name, _, _ in report.reshaped] == ["fc6.weight"]
    np.testing.assert_array_equal(net.fc6.weight.data.reshape(4096, 9216), weights["classifier.1.weight"])
    assert (net.fc7.bias.data == 1).all()
    assert (net.backbone.features[0].bias.data == 3).all()


def test_a_file_may_mix_the_names_of_backbone_and_head() -> None:
    """The published FCN-AlexNet: Caffe's layers, and the scores and upsampling under our names."""
    net = unfilled("fcn_alexnet")
    arrays = {name.removeprefix("backbone."): array for name, array in numbered(net).items()}
    report = sf.models.start_from(net, arrays)
    assert not report.skipped
    assert not report.missing
    wrapped = {f"module.{name}": array for name, array in numbered(net).items()}
    assert not sf.models.start_from(net, wrapped).missing


def test_weights_of_another_backbone_are_warned_of() -> None:
    report = sf.models.start_from(unfilled("fcn16s_small"), numbered(unfilled("fcn32s_resnet18")))
    assert [name for name in report.copied if name.startswith("backbone")] == []
    assert "nothing came over for the backbone" in str(report)
    assert not sf.models.start_from(unfilled("fcn16s_small"), numbered(unfilled("fcn32s_small"))).warnings


def test_classifiers_know_caffes_names() -> None:
    googlenet = unfilled("bvlc_googlenet")
    sf.models.start_from(googlenet, {"loss3/classifier.bias": np.full(1000, 2.0, np.float32)})
    assert (googlenet.loss3_classifier.bias.data == 2).all()
    vgg = unfilled("vgg16")
    sf.models.start_from(vgg, {"fc8.bias": np.full(1000, 3.0, np.float32)})
    assert (vgg.classifier[6].bias.data == 3).all()


@pytest.mark.parametrize("backbone", ["resnet18", "mobilenet_v2"])
def test_the_last_rows_are_scored_as_well(backbone: str) -> None:
    """Where the features say one thing everywhere, no row's score fades: one lies on the last row or behind."""
    net = sf.models.build(f"fcn32s_{backbone}", num_classes=1).eval()
    net.score_fr.bias.data[...] = 1.0
    for size in (32, 33, 63, 64):
        y = net(sf.Tensor(np.zeros((1, 3, size, size), np.float32))).numpy()
        np.testing.assert_allclose(y, 1.0, atol=1e-6)


def test_one_image_without_a_batch_is_explained() -> None:
    with pytest.raises(ValueError, match=r"Small: x must be images .*one image becomes a batch of one by x\[None\]"):
        sf.models.fcn8s(num_classes=2)(sf.Tensor(np.zeros((3, 32, 32), np.float32)))


def test_a_classifier_is_no_backbone() -> None:
    with pytest.raises(ValueError, match=r"ResNetClassifier gives scores for whole images.*without 'Classifier'"):
        sf.models.fcn8s(unfilled("resnet18"), 3)


def test_caffes_names_are_known() -> None:
    net = unfilled("fcn8s_vgg16", recipe="caffe")
    report = sf.models.start_from(
        net,
        {
            "conv1_1.weight": np.full((64, 3, 3, 3), 2.0, np.float32),
            "conv5_3.bias": np.full(512, 3.0, np.float32),
            "score_pool3.bias": np.full(21, 4.0, np.float32),
            "fc8.bias": np.zeros(1000, np.float32),
        },
    )
    assert (net.backbone.features[0].weight.data == 2).all()
    assert (net.backbone.features[28].bias.data == 3).all()
    assert (net.score_pool3.bias.data == 4).all()
    assert [name for name, _ in report.skipped] == ["fc8.bias"]
    googlenet = unfilled("fcn_googlenet")
    sf.models.start_from(googlenet, {"inception_3a/1x1.bias": np.full(64, 5.0, np.float32)})
    assert (googlenet.backbone.state_dict()["inception_3a_1x1.bias"] == 5).all()


def test_weights_of_another_network_are_refused() -> None:
    net = sf.models.fcn8s(num_classes=2)
    before = {name: array.copy() for name, array in net.state_dict().items()}
    with pytest.raises(ValueError, match=r"none of these 1 arrays has a place in this FCN8s.*layer1.0.conv1.weight"):
        sf.models.start_from(net, {"layer1.0.conv1.weight": np.zeros((64, 64, 3, 3), np.float32)})
    assert all(np.array_equal(array, before[name]) for name, array in net.state_dict().items())


MEMORY = """
import re, numpy as np, scratchfcn as sf
net = sf.models.build("fcn8s_vgg16", recipe="caffe").eval()
with sf.no_grad():
    y = net(sf.Tensor(np.zeros((1, 3, 500, 500), np.float32)))
most = re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())  # ru_maxrss would be at least the parent's
print(*y.shape, int(most[1]) // 1024)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="counts a process's memory in Linux's units")
def test_the_papers_fcn8s_needs_little_memory() -> None:
    """500x500 with padding 100, weights and all, far under 6 GB."""
    done = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    *shape, megabytes = map(int, done.stdout.split())
    assert shape == [1, 21, 500, 500]
    assert megabytes < 2000
