"""The FCNs: sizes, staging, names, and equality with the same network written in torch."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

import scratchfcn as sf
from scratchfcn.bench.torch_twins import build_twin, copy_weights
from scratchfcn.models import FCN8s, FCN16s, FCN32s
from scratchfcn.surgery import transplant

NETS = {kind: sf.models.build(f"{kind}_small", num_classes=3).eval() for kind in ("fcn32s", "fcn16s", "fcn8s")}


def randomise(model: sf.nn.Module, seed: int = 0) -> None:
    """Give every parameter random values: zero score layers would hide mistakes."""
    rng = np.random.default_rng(seed)
    for p in model.parameters():
        p.data[...] = rng.normal(size=p.shape) * 0.1


@pytest.mark.parametrize("kind", NETS)
@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("size", [(96, 96), (45, 70)])
def test_an_fcn_equals_the_same_network_in_torch(kind: str, batch_norm: bool, size: tuple[int, int]) -> None:
    ours = sf.models.build(f"{kind}_small", num_classes=4, batch_norm=batch_norm, dropout=0.0)
    theirs = build_twin(f"{kind}_small", 4, batch_norm=batch_norm).double()
    randomise(ours)
    ours.double()
    copy_weights(ours, theirs)
    rng = np.random.default_rng(1)
    x, labels = rng.normal(size=(2, 3, *size)), rng.integers(0, 4, (2, *size))
    labels[0, :3] = 255

    scores, torch_scores = ours(sf.Tensor(x)), theirs(torch.tensor(x))
    scale = torch_scores.abs().max().item()
    np.testing.assert_allclose(scores.numpy() / scale, torch_scores.detach().numpy() / scale, atol=1e-9)
    loss = sf.ops.softmax_cross_entropy(scores, labels)
    loss.backward()
    torch_loss = F.cross_entropy(torch_scores, torch.tensor(labels), ignore_index=255)
    torch_loss.backward()
    assert loss.item() == pytest.approx(torch_loss.item(), rel=1e-10)
    for (name, p), (torch_name, t) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
        assert name == torch_name
        scale = np.abs(t.grad.numpy()).max() + 1e-12
        np.testing.assert_allclose(p.grad / scale, t.grad.numpy() / scale, atol=1e-8, err_msg=name)


@settings(max_examples=40)
@given(st.sampled_from(sorted(NETS)), st.integers(1, 70), st.integers(1, 70))
def test_any_size_gives_an_output_of_exactly_that_size(kind: str, H: int, W: int) -> None:
    with sf.no_grad():
        y = NETS[kind](sf.Tensor(np.zeros((1, 3, H, W), np.float32)))
    assert y.shape == (1, 3, H, W)


def test_padded_vgg_gives_an_output_even_for_one_pixel() -> None:
    backbone = sf.models.VGG16(padding=100)
    backbone.head["width"] = 8
    net = FCN8s(backbone, 2, learn_upsampling=False).eval()
    for size in ((1, 1), (20, 33)):
        with sf.no_grad():
            assert net(sf.Tensor(np.zeros((1, 3, *size), np.float32))).shape == (1, 2, *size)


def test_pad_free_vgg_runs() -> None:
    backbone = sf.models.VGG16()
    backbone.head["width"] = 8
    with sf.no_grad():
        assert FCN16s(backbone, 2).eval()(sf.Tensor(np.zeros((1, 3, 40, 33), np.float32))).shape == (1, 2, 40, 33)


def test_scores_start_at_zero_and_the_loss_at_ln_k() -> None:
    net = sf.models.fcn8s(num_classes=7).eval()
    x = sf.Tensor(np.random.default_rng(0).normal(size=(1, 3, 40, 40)).astype(np.float32))
    scores = net(x)
    assert not scores.data.any()
    loss = sf.ops.softmax_cross_entropy(scores, np.zeros((1, 40, 40), np.uint8))
    assert loss.item() == pytest.approx(np.log(7), rel=1e-6)


def test_the_next_finer_net_starts_from_the_coarser_one_by_name() -> None:
    """The new score layers are zero, so a fresh 16s predicts what the 32s did, upsampled in two steps."""
    coarse = sf.models.fcn32s(num_classes=3).eval()
    randomise(coarse)
    sf.nn.init.bilinear(coarse.upscore.weight)
    finer = {FCN16s: sf.models.fcn16s(num_classes=3).eval(), FCN8s: sf.models.fcn8s(num_classes=3).eval()}
    report = transplant(finer[FCN16s], coarse.state_dict())
    assert [name for name, _ in report.skipped] == ["upscore.weight"]
    assert set(report.missing) == {"score_pool4.weight", "score_pool4.bias", "upscore2.weight", "upscore16.weight"}
    report = transplant(finer[FCN8s], finer[FCN16s].state_dict())
    assert [name for name, _ in report.skipped] == ["upscore16.weight"]

    x = sf.Tensor(np.random.default_rng(0).normal(size=(1, 3, 128, 128)).astype(np.float32))
    expected = coarse(x).numpy()
    for net in finer.values():
        difference = np.abs(net(x).numpy() - expected)[:, :, 32:-32, 32:-32]  # away from the zeros at the border
        assert difference.max() < 0.15 * np.abs(expected).max()
        assert np.corrcoef(net(x).numpy().ravel(), expected.ravel())[0, 1] > 0.99


def test_a_map_moved_by_a_whole_stride_moves_the_prediction_exactly() -> None:
    """Alignment, end to end: shift the picture by 32 pixels and the scores shift by 32 pixels."""
    for net in (sf.models.fcn32s(num_classes=2), sf.models.fcn16s(num_classes=2), sf.models.fcn8s(num_classes=2)):
        randomise(net.eval())
        picture = np.zeros((1, 3, 416, 64), np.float32)
        picture[:, :, 190:200, 20:30] = 1.0
        moved = np.roll(picture, 32, axis=2)
        a, b = net(sf.Tensor(picture)).numpy(), net(sf.Tensor(moved)).numpy()
        np.testing.assert_allclose(b[:, :, 160:288], a[:, :, 128:256], atol=1e-4 * np.abs(a).max())


def test_bilinear_upsampling_is_centred() -> None:
    """A network that scores pool5's own position must put the score's centre of mass where the input is."""
    net = sf.models.fcn32s(num_classes=1).eval()
    score = np.zeros((1, 1, 5, 5), np.float32)
    score[0, 0, 2, 2] = 1.0
    up = sf.ops.crop(net.upscore(sf.Tensor(score)), (160, 160), (net.crop, net.crop)).numpy()[0, 0]
    rows = (up.sum(axis=1) * np.arange(160)).sum() / up.sum()
    assert rows == pytest.approx(32 * 2 + 15.5, abs=1e-3)  # the middle of the third 32 pixels


def test_names_and_options() -> None:
    net = sf.models.build("fcn8s_small", num_classes=5, batch_norm=True)
    names = list(net.state_dict())
    assert {n.split(".")[0] for n in names if "up" in n} == {"upscore2", "upscore_pool4", "upscore8"}
    assert "backbone.stage1.0.weight" in names
    assert "backbone.stage5.4.running_var" in names
    assert net.state_dict()["score_fr.weight"].shape == (5, 256, 1, 1)
    assert net.state_dict()["upscore8.weight"].shape == (5, 5, 16, 16)
    assert not any("running" in n for n in sf.models.fcn8s().state_dict())
    assert sf.models.fcn8s().num_classes == 21


def test_frozen_upsampling_does_not_learn() -> None:
    net = sf.models.fcn16s(num_classes=2, learn_upsampling=False)
    sf.ops.softmax_cross_entropy(
        net(sf.Tensor(np.ones((1, 3, 32, 32), np.float32))), np.zeros((1, 32, 32), int)
    ).backward()
    assert net.upscore16.weight.grad is None
    assert net.score_fr.weight.grad is not None


def test_your_own_backbone_works() -> None:
    net = sf.models.fcn32s(backbone=sf.models.Small(in_channels=1), num_classes=2)
    assert isinstance(net, FCN32s)
    assert net(sf.Tensor(np.zeros((1, 1, 9, 9), np.float32))).shape == (1, 2, 9, 9)


def oblong() -> sf.models.Small:
    """A backbone that pads its columns more than its rows."""
    backbone = sf.models.Small()
    backbone.stage2 = sf.nn.Sequential(sf.nn.Conv2d(16, 32, 3, padding=(1, 2)), sf.nn.MaxPool2d(2, ceil_mode=True))
    return backbone


def test_medium_is_small_with_batch_norm_and_twice_the_channels() -> None:
    small = sf.models.build("fcn8s_small", num_classes=5, batch_norm=True).state_dict()
    medium = sf.models.build("fcn8s_medium", num_classes=5).state_dict()
    kept = {3, 5}  # colours, classes
    assert small.keys() == medium.keys()
    for name, array in small.items():
        wider = [n if name.startswith("up") or n in kept else 2 * n for i, n in enumerate(array.shape[:2])]
        assert medium[name].shape == (*wider, *array.shape[2:]), name
    with pytest.raises(ValueError, match="medium"):
        sf.models.build("fcn8s_medium", batch_norm=True)
    x = sf.Tensor(np.random.default_rng(0).random((1, 3, 37, 50), np.float32))
    assert sf.models.build("fcn8s_medium", num_classes=5).eval()(x).shape == (1, 5, 37, 50)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: sf.models.build("fcn4s_small"), ["fcn4s_small", "fcn8s_small"]),
        (lambda: sf.models.fcn8s("resnet"), ["resnet", "small", "vgg16"]),
        (lambda: sf.models.fcn8s("small", recipe="caffe"), ["caffe", "vgg16"]),
        (lambda: sf.models.fcn8s("vgg16", batch_norm=True), ["batch norm"]),
        (lambda: sf.models.fcn8s("vgg16", recipe="torch"), ["recipe 'torch'"]),
        (lambda: sf.models.fcn8s(num_classes=0), ["num_classes"]),
        (lambda: sf.models.fcn8s(sf.models.Small(), recipe="cafe"), ["recipe 'cafe'"]),
        (lambda: sf.models.fcn8s(sf.models.Small(), recipe="caffe"), ["recipe", "Small"]),
        (lambda: sf.models.fcn8s(sf.models.Small(), batch_norm=True), ["batch_norm", "Small"]),
        (lambda: sf.models.fcn8s(sf.models.Small(), in_channels=1), ["in_channels", "Small"]),
        (lambda: sf.models.fcn8s(oblong()), ["stage2.0", "padding (1, 2)", "rows and columns"]),
    ],
)
def test_unknown_models_are_refused(make: object, words: list[str]) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        make()
    assert all(word in str(caught.value) for word in words)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "count"), [("fcn32s", 134_346_581), ("fcn16s", 134_357_354), ("fcn8s", 134_362_751)])
def test_learnable_parameters_of_the_papers_nets(kind: str, count: int) -> None:
    net = sf.models.build(f"{kind}_vgg16", num_classes=21, recipe="caffe")
    assert sum(p.size for p in net.parameters() if p.requires_grad) == count
