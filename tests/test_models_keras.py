"""keras_segmentation's FCNs: equality with the published networks written in torch, sizes, and how far off they are."""

from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

import scratchfcn as sf
from scratchfcn.models.keras_encoders import KerasMobileNet, KerasResNet50, Vanilla
from scratchfcn.models.keras_fcn import ENCODERS, PublishedFCN8, PublishedFCN32, fcn_8, fcn_32

Weights = dict[str, torch.Tensor]


class TinyVanilla(Vanilla):
    """The vanilla encoder with two channels, for what does not depend on their number."""

    channels, widths = (2, 2, 2), (2, 2, 2, 2, 2)

    def __init__(self, ceil_mode: bool = False) -> None:
        super().__init__(3, ceil_mode)
        self.head = {"kernel": 7, "padding": 3, "width": 4}


# --- the published networks in torch ----------------------------------------------------------------------


def conv(w: Weights, name: str, x: torch.Tensor, stride: int = 1, groups: int = 1) -> torch.Tensor:
    """A convolution without padding: all padding is written out where it is done, as in Keras."""
    return F.conv2d(x, w[f"{name}.weight"], w.get(f"{name}.bias"), stride, groups=groups)


def norm(w: Weights, name: str, x: torch.Tensor) -> torch.Tensor:
    mean, var = w[f"{name}.running_mean"], w[f"{name}.running_var"]
    return F.batch_norm(x, mean, var, w[f"{name}.weight"], w[f"{name}.bias"], training=True, momentum=0.01, eps=1e-3)


def zero_pad(x: torch.Tensor, p: int) -> torch.Tensor:
    return F.pad(x, (p, p, p, p))


def vanilla(w: Weights, x: torch.Tensor) -> list[torch.Tensor]:
    levels = []
    for i in range(1, 6):
        x = norm(w, f"backbone.block{i}.1", conv(w, f"backbone.block{i}.0", zero_pad(x, 1)))
        x = F.max_pool2d(F.relu(x), 2)
        levels.append(x)
    return levels[2:]


def resnet50(w: Weights, x: torch.Tensor) -> list[torch.Tensor]:
    x = conv(w, "backbone.conv1", zero_pad(x, 3), stride=2)
    x = F.max_pool2d(F.relu(norm(w, "backbone.bn_conv1", x)), 3, stride=2)
    levels = []
    for stage, blocks in ((2, 3), (3, 4), (4, 6), (5, 3)):
        for i in range(blocks):
            block = f"backbone.res{stage}.{i}"
            stride = 2 if i == 0 and stage > 2 else 1
            h = F.relu(norm(w, f"{block}.bn2a", conv(w, f"{block}.branch2a", x, stride)))
            h = F.relu(norm(w, f"{block}.bn2b", conv(w, f"{block}.branch2b", zero_pad(h, 1))))
            h = norm(w, f"{block}.bn2c", conv(w, f"{block}.branch2c", h))
            if i == 0:
                x = norm(w, f"{block}.bn1", conv(w, f"{block}.branch1", x, stride))
            x = F.relu(h + x)
        levels.append(x)
    return levels[1:]


def mobilenet(w: Weights, x: torch.Tensor) -> list[torch.Tensor]:
    x = F.relu6(norm(w, "backbone.conv1.1", conv(w, "backbone.conv1.0", zero_pad(x, 1), stride=2)))
    levels = []
    for i in range(13):
        stride = 2 if i in (1, 3, 5, 11) else 1
        block = f"backbone.blocks.{i}"
        x = F.relu6(norm(w, f"{block}.1", conv(w, f"{block}.0", zero_pad(x, 1), stride, groups=x.shape[1])))
        x = F.relu6(norm(w, f"{block}.4", conv(w, f"{block}.3", x)))
        if i in (4, 10, 12):
            levels.append(x)
    return levels


def add_keras(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Both cut at the bottom and right to the smaller size."""
    H, W = min(a.shape[2], b.shape[2]), min(a.shape[3], b.shape[3])
    return a[:, :, :H, :W] + b[:, :, :H, :W]


# What the last upsampling loses at the top and left, and at the bottom and right, when centred: k16, or k15
CENTRED = {vanilla: ((1, 0), (4, 0)), resnet50: ((1, 1), (5, 3)), mobilenet: ((1, 1), (7, 7))}


def published(w: Weights, x: torch.Tensor, encoder: Callable, kind: str, centred: bool) -> torch.Tensor:
    def up(name: str, x: torch.Tensor, stride: int, crop: tuple[int, int]) -> torch.Tensor:
        """crop: torch's padding, which crops a transposed convolution at both ends, and how much less at the end."""
        first, less = crop if centred else (0, 0)
        return F.conv_transpose2d(x, w[f"{name}.weight"], stride=stride, padding=first, output_padding=less)

    f3, f4, f5 = encoder(w, x)
    h = F.relu(conv(w, "fc6", zero_pad(f5, 3)))
    score = conv(w, "score_fr", F.relu(conv(w, "fc7", h)))
    if kind == "fcn_32":
        return up("upscore", score, 32, (16, 0))  # of the vanilla encoder
    twice, eight_times = CENTRED[encoder]
    h = add_keras(up("upscore2", score, 2, twice), conv(w, "score_pool4", f4))
    h = add_keras(up("upscore_pool4", h, 2, twice), conv(w, "score_pool3", f3))
    return up("upscore8", h, 8, eight_times)


@pytest.mark.parametrize("alignment", ["keras", "centred"])
@pytest.mark.parametrize(
    ("make", "encoder", "size"),
    [
        (fcn_8, vanilla, (64, 96)),
        (fcn_32, vanilla, (64, 96)),
        (fcn_8, resnet50, (64, 96)),
        (fcn_8, mobilenet, (64, 96)),
    ],
)
def test_equals_the_published_network_in_torch(
    make: Callable, encoder: Callable, size: tuple[int, int], alignment: str
) -> None:
    net = make(encoder.__name__, num_classes=3, width=4, dropout=0.0, alignment=alignment).double()
    check_against_torch(net, encoder, make.__name__, size, centred=alignment == "centred")


@pytest.mark.parametrize("size", [(45, 70), (63, 32)])
def test_the_vanilla_encoder_takes_sizes_that_are_no_multiples_of_32(size: tuple[int, int]) -> None:
    net = PublishedFCN8(TinyVanilla(), num_classes=2, multiple=1, dropout=0.0).double()
    check_against_torch(net, vanilla, "fcn_8", size, centred=False)


def check_against_torch(net: sf.nn.Module, encoder: Callable, kind: str, size: tuple[int, int], centred: bool) -> None:
    """Scores, gradients of all parameters, and the running statistics after a step."""
    rng = np.random.default_rng(0)
    for name, p in net.named_parameters():
        if "backbone" not in name or p.ndim == 1:  # scores start at zero, and batch norm at one: both hide mistakes
            p.data[...] += rng.normal(size=p.shape) * 0.1
    learned = dict(net.named_parameters())
    w = {
        name: torch.tensor(array, requires_grad=name in learned)
        for name, array in net.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    x = rng.normal(size=(2, 3, *size))
    ours, theirs = net(sf.Tensor(x)), published(w, torch.tensor(x), encoder, kind, centred)
    assert ours.shape == theirs.shape
    scale = theirs.abs().max().item()
    np.testing.assert_allclose(ours.numpy() / scale, theirs.detach().numpy() / scale, atol=1e-8)

    labels = rng.integers(0, ours.shape[1], (2, *ours.shape[2:]))
    sf.ops.softmax_cross_entropy(ours, labels).backward()
    F.cross_entropy(theirs, torch.tensor(labels)).backward()
    largest = max(w[name].grad.abs().max().item() for name in learned)
    for name, p in learned.items():
        expected = w[name].grad.numpy()
        scale = max(np.abs(expected).max(), 1e-6 * largest)  # a bias before batch norm has no gradient but rounding
        np.testing.assert_allclose(p.grad / scale, expected / scale, atol=1e-6, err_msg=name)
    for name, array in net.state_dict().items():
        if "running" in name:
            np.testing.assert_allclose(array, w[name].numpy(), rtol=1e-8, atol=1e-10, err_msg=name)


@pytest.mark.parametrize(
    ("encoder", "count"), [(KerasResNet50, 23_587_712), (KerasMobileNet, 3_228_864), (sf.models.VGG16, 14_714_688)]
)
def test_encoders_have_as_many_numbers_as_those_of_keras(encoder: type, count: int) -> None:
    """What Keras prints for its networks with include_top=False; it counts running statistics, too."""
    state = encoder().state_dict()
    assert sum(a.size for name, a in state.items() if not name.endswith("num_batches_tracked")) == count


# --- sizes and positions ----------------------------------------------------------------------------------


def test_output_sizes_as_published() -> None:
    """The default image of 416x608 gives 424x616 and 448x640."""
    x = sf.Tensor(np.zeros((1, 3, 416, 608), np.float32))
    with sf.no_grad():
        assert PublishedFCN8(TinyVanilla(), 3, 32).eval()(x).shape == (1, 3, 424, 616)
        assert PublishedFCN32(TinyVanilla(), 3, 32).eval()(x).shape == (1, 3, 448, 640)


NETS = {
    f"{make.__name__}_{encoder}": make(encoder, num_classes=2, width=2).eval()
    for encoder in ENCODERS
    for make in (fcn_8, fcn_32)
}


@settings(max_examples=25)
@given(st.sampled_from(sorted(NETS)), st.integers(1, 100), st.integers(1, 40))
@example("fcn_8_vanilla", 1, 1)
@example("fcn_8_vgg", 1, 1)
@example("fcn_8_resnet50", 1, 1)
@example("fcn_8_mobilenet", 1, 1)
@example("fcn_32_resnet50", 33, 31)
@example("fcn_32_mobilenet", 33, 31)
def test_centred_any_size_gives_an_output_of_exactly_that_size(name: str, H: int, W: int) -> None:
    with sf.no_grad():
        y = NETS[name](sf.Tensor(np.zeros((1, 3, H, W), np.float32)))
    assert y.shape == (1, 2, H, W)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(NETS))
def test_centred_every_size_from_1_to_100(name: str) -> None:
    for H in range(1, 101):
        with sf.no_grad():
            assert NETS[name](sf.Tensor(np.zeros((1, 3, H, 1), np.float32))).shape == (1, 2, H, 1)


@pytest.mark.parametrize(("encoder", "first"), [("vanilla", 15.5), ("vgg", 15.5), ("resnet50", 2), ("mobilenet", 0)])
def test_centred_upsampling_puts_a_score_where_its_cause_is(encoder: str, first: float) -> None:
    """Pixel i of f5 looks at 32·i + first: half of 32 pixels for even windows, and where odd ones are not padded, 2."""
    net = NETS[f"fcn_32_{encoder}"]
    up = sf.ops.crop(net.upscore(spot(5, 2)), (160, 160), (net.crop, net.crop)).numpy()[0, 0]
    assert middle(up) == pytest.approx(32 * 2 + first, abs=1e-3)


def test_how_far_off_the_published_alignment_is() -> None:
    """Of a score at pixel 3 of f3, f4 or f5, the middle of what comes out, less where pixel 3 lies on the image."""
    fcn8, fcn32 = PublishedFCN8(TinyVanilla(), 2, 32), PublishedFCN32(TinyVanilla(), 2, 32)
    ups = (fcn8.upscore2, fcn8.upscore_pool4, fcn8.upscore8)
    for up in (*ups, fcn32.upscore):
        sf.nn.init.bilinear(up.weight)
    from_f3 = ups[2](spot(7, 3))
    from_f4 = ups[2](ups[1](spot(7, 3)))
    from_f5 = ups[2](ups[1](ups[0](spot(7, 3))))
    assert fcn8.shifts() == {"f3": 4, "f4": 12, "f5": 28}
    assert middle(from_f3.numpy()[0, 0]) - (3 * 8 + 3.5) == pytest.approx(4, abs=1e-3)
    assert middle(from_f4.numpy()[0, 0]) - (3 * 16 + 7.5) == pytest.approx(12, abs=1e-3)
    assert middle(from_f5.numpy()[0, 0]) - (3 * 32 + 15.5) == pytest.approx(28, abs=1e-3)
    assert fcn32.shifts() == {"f5": 16}
    assert middle(fcn32.upscore(spot(7, 3)).numpy()[0, 0]) - (3 * 32 + 15.5) == pytest.approx(16, abs=1e-3)


def test_on_resnet50_and_mobilenet_the_published_kernels_are_half_a_pixel_beside() -> None:
    half = Fraction(1, 2)
    expected = {"resnet50": {"f3": 5 + half, "f4": 17 + half, "f5": 41 + half}}
    expected["mobilenet"] = {"f3": 7 + half, "f4": 19 + half, "f5": 43 + half}
    for encoder, shifts in expected.items():
        assert fcn_8(encoder, 2, width=2, alignment="keras").shifts() == shifts
        kernels = [p.shape[2] for name, p in NETS[f"fcn_8_{encoder}"].named_parameters() if "up" in name]
        assert kernels == [3, 3, 15]
    assert [p.shape[2] for name, p in NETS["fcn_8_vgg"].named_parameters() if "up" in name] == [4, 4, 16]


def spot(size: int, at: int) -> sf.Tensor:
    """(1, 2, size, size), one pixel of class 0 at (at, at)."""
    x = np.zeros((1, 2, size, size), np.float32)
    x[0, 0, at, at] = 1.0
    return sf.Tensor(x)


def middle(map_: np.ndarray) -> float:
    """The row of the centre of mass."""
    return float((map_.sum(axis=1) * np.arange(map_.shape[0])).sum() / map_.sum())


# --- starts, options, errors ------------------------------------------------------------------------------


def test_published_networks_start_random_and_centred_ones_bilinear_with_zero_scores() -> None:
    keras, centred = fcn_8("vanilla", 4, width=64, alignment="keras"), fcn_8("vanilla", 4, width=64)
    for up in (keras.upscore2, keras.upscore8, PublishedFCN32(TinyVanilla(), 4, 32).upscore):
        limit = np.sqrt(6 / (8 * up.weight.shape[2] ** 2))  # 4 classes in and 4 out
        assert 0.9 * limit < np.abs(up.weight.data).max() <= limit
    assert not centred.upscore8.weight.data[0, 1].any()  # bilinear: no class scores for another
    limit = np.sqrt(6 / ((256 + 64) * 49))
    assert 0.99 * limit < np.abs(keras.fc6.weight.data).max() <= limit
    assert keras.score_fr.weight.data.std() == pytest.approx(np.sqrt(2 / 64), rel=0.2)  # He's
    assert not centred.score_fr.weight.data.any()


def test_both_forms_have_the_same_names_and_so_share_weights() -> None:
    keras, centred = fcn_8("vanilla", 4, width=8, alignment="keras"), fcn_8("vanilla", 4, width=8)
    centred.load_state_dict(keras.state_dict())
    np.testing.assert_array_equal(centred.upscore8.weight.data, keras.upscore8.weight.data)


def test_options() -> None:
    net = fcn_32("mobilenet", num_classes=5, in_channels=4, dropout=0.25, width=6)
    assert net(sf.Tensor(np.zeros((2, 4, 33, 40), np.float32))).shape == (2, 5, 33, 40)
    assert net.dropout.p == 0.25
    assert net.fc6.weight.shape == (6, 1024, 7, 7)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: fcn_8("resnet101"), ["resnet101", "vanilla", "vgg", "resnet50", "mobilenet"]),
        (lambda: fcn_32(alignment="caffe"), ["caffe", "centred", "keras"]),
        (lambda: fcn_8(num_classes=0, width=2), ["num_classes"]),
        (
            lambda: PublishedFCN8(TinyVanilla(), 2, 32)(sf.Tensor(np.zeros((1, 3, 64, 65), np.float32))),
            ["multiples of 32", "64x65", "centred"],
        ),
        (
            lambda: fcn_32("mobilenet", 2, width=2, alignment="keras")(sf.Tensor(np.zeros((1, 3, 65, 64), np.float32))),
            ["multiples of 32", "65x64"],
        ),
    ],
)
def test_what_does_not_go_together_is_refused(make: Callable, words: list[str]) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        make()
    assert all(word in str(caught.value) for word in words)
