"""ResNets, torchvision's FCN and d2l's: equality with torchvision, counts, and where their maps lie on the image."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torchvision_reference import assert_close, assert_same_state, compare, randomise, state_of, torchvision

import scratchfcn as sf
from scratchfcn.geometry import Grid, Window
from scratchfcn.models.d2l_fcn import D2LFCN, d2l_fcn_resnet18
from scratchfcn.models.resnet import BasicBlock, Bottleneck, ResNet, ResNetClassifier
from scratchfcn.models.torchvision_fcn import FCNResNet, fcn_resnet50, fcn_resnet101

DILATIONS = [(False, False, True), (True, False, True), (True, True, True)]  # (False, True, True): see fcn_resnet50


def image(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape)


def torch_resnet(depth: int, dilated: tuple[bool, ...] = (False,) * 3, num_classes: int = 6) -> torch.nn.Module:
    make = getattr(torchvision.models, f"resnet{depth}")
    return randomise(make(num_classes=num_classes, replace_stride_with_dilation=dilated))


def torch_fcn(depth: int, num_classes: int = 5, aux_loss: bool = True) -> torch.nn.Module:
    make = getattr(torchvision.models.segmentation, f"fcn_resnet{depth}")
    return randomise(make(weights=None, weights_backbone=None, num_classes=num_classes, aux_loss=aux_loss))


# --- equality with torchvision ----------------------------------------------------------------------------


@pytest.mark.parametrize(("depth", "size"), [(18, (64, 64)), (50, (64, 33))])
def test_a_resnet_equals_torchvisions_in_both_modes(depth: int, size: tuple[int, int]) -> None:
    compare(ResNetClassifier(depth, 6), torch_resnet(depth), image(2, 3, *size))


@pytest.mark.parametrize("depth", [34, 101])
def test_the_deeper_resnets_equal_torchvisions(depth: int) -> None:
    x = image(1, 3, 47, 64)
    compare(ResNetClassifier(depth, 6), torch_resnet(depth), x, ("eval",), gradients=False, dtypes=("float64",))


@pytest.mark.parametrize("dilated", DILATIONS)
def test_dilated_resnets_equal_torchvisions(dilated: tuple[bool, bool, bool]) -> None:
    ours = ResNetClassifier(50, 6, replace_stride_with_dilation=dilated)
    compare(ours, torch_resnet(50, dilated), image(1, 3, 40, 33), ("eval",), gradients=False, dtypes=("float64",))


def test_the_maps_equal_torchvisions() -> None:
    theirs = torch_resnet(18).double().eval()
    nodes = {"layer2": "8", "layer3": "16", "layer4": "32"}
    maps = torchvision.models._utils.IntermediateLayerGetter(theirs, nodes)
    ours = ResNet(18).double().eval()
    ours.load_state_dict({name: array for name, array in state_of(theirs).items() if not name.startswith("fc.")})
    x = image(1, 3, 65, 40)
    with sf.no_grad(), torch.no_grad():
        mine, reference = ours.maps(sf.Tensor(x)), maps(torch.tensor(x))
    assert [y.shape[1] for y in mine] == list(ours.channels) == [128, 256, 512]
    for y, t in zip(mine, reference.values(), strict=True):
        assert_close(y.numpy(), t.numpy(), 1e-10 * t.abs().max().item())


def test_fcn_resnet50_equals_torchvisions_in_both_modes() -> None:
    compare(fcn_resnet50(5, aux_loss=True), torch_fcn(50), image(2, 3, 33, 24), dtypes=("float64",))


@pytest.mark.slow
def test_fcn_resnet101_equals_torchvisions() -> None:
    ours, theirs = fcn_resnet101(5), torch_fcn(101, aux_loss=False)
    compare(ours, theirs, image(1, 3, 40, 33), modes=("eval",), gradients=False, dtypes=("float64",))


def test_any_size_and_number_of_input_channels() -> None:
    fcn, published, aligned = fcn_resnet50(2, in_channels=1), d2l_fcn_resnet18(2, 1), d2l_fcn_resnet18(2, 1, True)
    for size in ((1, 1), (8, 9), (17, 33)):
        x = sf.Tensor(np.zeros((1, 1, *size), np.float32))
        with sf.no_grad():
            assert {name: y.shape for name, y in fcn.eval()(x).items()} == {"out": (1, 2, *size)}
            assert published.eval()(x).shape == aligned.eval()(x).shape == (1, 2, *size)


# --- names, counts and checkpoints ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("depth", "tensors", "parameters"),
    [(18, 122, 11_689_512), (34, 218, 21_797_672), (50, 320, 25_557_032), (101, 626, 44_549_160)],
)
def test_resnets_have_the_published_size(depth: int, tensors: int, parameters: int) -> None:
    net = ResNetClassifier(depth)
    assert len(net.state_dict()) == tensors
    assert sum(p.size for p in net.parameters()) == parameters
    with torch.device("meta"):
        assert_same_state(net, getattr(torchvision.models, f"resnet{depth}")())


@pytest.mark.parametrize(
    ("make", "aux_loss", "tensors", "parameters"),
    [
        (fcn_resnet50, True, 334, 35_322_218),
        (fcn_resnet50, False, 326, 32_957_013),
        (fcn_resnet101, True, 640, 54_314_346),
    ],
)
def test_fcn_resnets_have_the_published_size(
    make: type[FCNResNet], aux_loss: bool, tensors: int, parameters: int
) -> None:
    net = make(aux_loss=aux_loss)
    assert len(net.state_dict()) == tensors
    assert sum(p.size for p in net.parameters()) == parameters


def test_a_published_checkpoint_loads_strictly_also_an_old_one() -> None:
    ours, state = fcn_resnet50(aux_loss=True), state_of(torch_fcn(50, 21))
    ours.load_state_dict(state)
    np.testing.assert_array_equal(ours.aux_classifier[4].weight.numpy(), state["aux_classifier.4.weight"])
    old = {name: array for name, array in state.items() if not name.endswith("num_batches_tracked")}
    assert len(old) < len(state)
    ours.load_state_dict(old)


def test_a_checkpoint_with_the_second_head_needs_a_network_with_one() -> None:
    net = fcn_resnet50(2)
    state = net.state_dict() | {"aux_classifier.4.bias": np.zeros(2, np.float32)}
    with pytest.raises(ValueError, match=r"aux_classifier\.4\.bias: not part of the model"):
        net.load_state_dict(state)


def test_a_new_resnet_starts_where_its_signals_keep_their_size() -> None:
    net = ResNet(18)
    for name, p in net.named_parameters():
        if "conv" in name or name.endswith("downsample.0.weight"):
            assert p.data.std() == pytest.approx((2 / p.data[0].size) ** 0.5, rel=0.05), name
        else:
            assert (p.data == (1 if name.endswith("weight") else 0)).all(), name


# --- geometry ---------------------------------------------------------------------------------------------


class Narrow(ResNet):
    """A ResNet of few channels: its windows are those of the wide one."""

    width = 2


def seen_by(net: ResNet, which: int, rows: int) -> tuple[int, int]:
    """How many rows before and after s·i (s: the map's stride) the pixels of a map's middle row i depend on.

    The extent of the gradient of x. All weights are positive, so that nothing cancels and no ReLU is shut; of two
    images, one brightens downwards and one darkens, so that the max pool passes gradients to the ends of its windows.
    """
    for p in net.parameters():
        p.data[...] = np.abs(p.data) if p.ndim == 4 else 1.0
    net.double().eval()
    ramp = np.linspace(1, 2, rows)[:, None]
    x = sf.Tensor(np.stack([ramp, ramp[::-1]])[:, None].repeat(3, 1).repeat(32, 3), requires_grad=True)
    y = net.maps(x)[which]
    i = y.shape[2] // 2
    gradient = np.zeros(y.shape)
    gradient[:, :, i] = 1.0
    y.backward(gradient)
    seen = np.flatnonzero(x.grad.any(axis=(0, 1, 3)))
    assert 0 < seen[0] < seen[-1] < rows - 1, "the image is too small for this receptive field"
    centre = i * rows // y.shape[2]
    return centre - seen[0], seen[-1] - centre


@pytest.mark.parametrize(
    ("depth", "dilated", "sizes"),
    [
        (18, (False, False, False), (99, 211, 435)),
        (34, (False, False, False), (179, 547, 899)),
        (50, (False, False, False), (91, 267, 427)),
        (50, (False, True, True), (91, 267, 427)),  # what dilation is for: the same, at a finer stride
        (50, (True, True, True), (91, 267, 427)),
    ],
)
def test_receptive_fields_are_what_the_gradient_of_x_reaches(
    depth: int, dilated: tuple[bool, bool, bool], sizes: tuple[int, int, int]
) -> None:
    net = Narrow(depth, replace_stride_with_dilation=dilated)
    grid, stride = Grid(), 4
    for which, windows in enumerate(net.pool_windows()):
        grid = grid.through(*windows)
        stride *= 1 if dilated[which] else 2
        reach = (int(grid.receptive_field) - 1) // 2
        assert (grid.stride, grid.start, grid.receptive_field) == (stride, 0, sizes[which])
        assert seen_by(net, which, 32 * (2 * reach // 32 + 4)) == (reach, reach)


def test_a_blocks_window_is_that_of_its_longer_branch() -> None:
    assert BasicBlock(4, 8, stride=2).windows() == [Window(3, 2, 1), Window(3, 1, 1)]
    assert BasicBlock(4, 4).windows() == [Window(3, 1, 1), Window(3, 1, 1)]
    assert Bottleneck(4, 8, 2, dilation=2).windows() == [Window(1), Window(3, 2, 2, 2), Window(1)]


def test_torchvisions_fcn_takes_scores_from_three_and_a_half_pixels_off() -> None:
    """Resizing puts score i on 8·i + 3.5, where its features are centred on 8·i."""
    grid = FCNResNet(50, 2).score_grid
    assert (grid.stride, grid.start, grid.receptive_field) == (8, 0, 427 + 2 * 8)  # the head's 3x3 at stride 8
    ramp = sf.Tensor(np.broadcast_to(np.arange(10.0), (1, 1, 10, 10)))
    resized = sf.ops.resize_bilinear(ramp, (80, 80)).numpy()[0, 0, 0]  # the score number that pixel o is given
    o = np.arange(4, 76)
    np.testing.assert_allclose(8 * resized[o] - o, -3.5)


# --- d2l's ------------------------------------------------------------------------------------------------


class TorchD2L(torch.nn.Module):
    """The book's network, written out in torch under our names."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        resnet = torchvision.models.resnet18()
        self.backbone = torchvision.models._utils.IntermediateLayerGetter(resnet, {"layer4": "features"})
        self.final_conv = torch.nn.Conv2d(512, num_classes, 1)
        self.transpose_conv = torch.nn.ConvTranspose2d(num_classes, num_classes, 64, padding=16, stride=32)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.transpose_conv(self.final_conv(self.backbone(x)["features"]))
        return y[:, :, : x.shape[2], : x.shape[3]]


def test_d2l_fcn_equals_the_books() -> None:
    compare(d2l_fcn_resnet18(4), randomise(TorchD2L(4)), image(2, 3, 64, 47))


def test_d2l_fcn_starts_as_the_book_says() -> None:
    net = d2l_fcn_resnet18()
    xavier = torch.nn.init.xavier_uniform_(torch.empty(21, 512, 1, 1))
    assert np.abs(net.final_conv.weight.numpy()).max() == pytest.approx(xavier.abs().max().item(), rel=0.01)
    kernel = net.transpose_conv.weight.numpy()
    assert kernel.shape == (21, 21, 64, 64)
    up = F.interpolate(torch.eye(5)[None, None], scale_factor=32, mode="bilinear")  # bilinear, say both
    score = np.zeros((1, 21, 5, 5), np.float32)
    score[0, 3] = np.eye(5)
    net.transpose_conv.bias.data[...] = 0
    upscore = net.transpose_conv(sf.Tensor(score)).numpy()[0]
    np.testing.assert_allclose(upscore[3, 16:-16, 16:-16], up[0, 0, 16:-16, 16:-16].numpy(), atol=1e-6)
    assert not upscore[[0, 1, 2, 4]].any()


@pytest.mark.parametrize(("aligned", "shift"), [(False, 15.5), (True, 0.0)])
def test_d2l_fcn_shifts_its_predictions_unless_aligned(aligned: bool, shift: float) -> None:
    """Geometry says by how much, and so does the middle of what one single score becomes."""
    net = D2LFCN(num_classes=1, aligned=aligned)
    assert (net.score_grid.stride, net.score_grid.start) == (32, 0)
    assert (net.upscore_grid.stride, net.upscore_grid.start) == (1, -shift)  # pixel o shows what lies at o - 15.5

    score = np.zeros((1, 1, 5, 5), np.float32)
    score[0, 0, 2, 2] = 1.0
    net.transpose_conv.bias.data[...] = 0
    up = net.transpose_conv(sf.Tensor(score)).numpy()[0, 0]
    assert up.shape == (160, 160)
    middle = (up.sum(axis=1) * np.arange(160)).sum() / up.sum()
    assert middle == pytest.approx(net.score_grid.centre(2) + shift, abs=1e-3)


# --- what is refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [18, 34])
def test_basic_blocks_are_dilated_by_neither_library(depth: int) -> None:
    for dilated in DILATIONS:
        with pytest.raises(ValueError, match=rf"depth {depth} has basic blocks.*use depth 50 or 101"):
            ResNet(depth, replace_stride_with_dilation=dilated)
        with pytest.raises(NotImplementedError):
            torch_resnet(depth, dilated)
    with pytest.raises(ValueError, match="only bottleneck blocks can be dilated"):
        BasicBlock(4, 4, dilation=2)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: ResNet(20), ["depth 20", "18, 34, 50, 101"]),
        (lambda: ResNetClassifier(50, replace_stride_with_dilation=(True,)), ["layer2, layer3 and layer4", "(True,)"]),
        (lambda: fcn_resnet50(0), ["FCNResNet", "num_classes", "0"]),
        (lambda: d2l_fcn_resnet18(0), ["D2LFCN", "num_classes", "0"]),
        (lambda: FCNResNet(18), ["depth 18", "dilated"]),
    ],
)
def test_what_cannot_be_built_is_refused(make: object, words: list[str]) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        make()
    assert all(word in str(caught.value) for word in words)
