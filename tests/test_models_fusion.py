"""Two streams, two heads, and depth as a fourth channel: each against the single nets it is made of."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import scratchfcn as sf
from scratchfcn.models.fcn import fcn8s, fcn16s, fcn32s
from scratchfcn.models.fusion import Stream, TwoHeads, TwoStream, two_heads, two_stream
from scratchfcn.models.small import Small
from scratchfcn.models.vgg import VGG16
from scratchfcn.surgery import expand_input, transplant

SINGLE = {"fcn32s": fcn32s, "fcn16s": fcn16s, "fcn8s": fcn8s}
UP = {
    "fcn32s": ["upscore"],
    "fcn16s": ["upscore2", "upscore16"],
    "fcn8s": ["upscore2", "upscore_pool4", "upscore8"],
}


def single(kind: str, seed: int, num_classes: int = 3, **options: object) -> sf.nn.Module:
    """A single net in float64 with random weights: zero score layers would hide mistakes. Upsampling stays bilinear."""
    net = SINGLE[kind]("small", num_classes=num_classes, dropout=0.0, **options).double()
    rng = np.random.default_rng(seed)
    for name, p in net.named_parameters():
        if "up" not in name:
            p.data[...] = rng.normal(size=p.shape) * 0.1
    return net


def image(seed: int = 0, channels: int = 3, size: tuple[int, int] = (70, 45)) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(2, channels, *size))


def check_close(ours: np.ndarray, expected: np.ndarray, what: str = "") -> None:
    scale = np.abs(expected).max()
    assert scale > 0, what
    np.testing.assert_allclose(ours / scale, expected / scale, atol=1e-10, err_msg=what)


# --- early fusion -----------------------------------------------------------------------------------------


def test_early_fusion_starts_as_a_net_of_colour_that_sees_depth_as_grey() -> None:
    """The fourth channel's weights are the mean of the three, so depth d counts like a colour of d/3 each."""
    color = single("fcn32s", seed=1)
    weights = color.state_dict()
    first = "backbone.stage1.0.weight"
    rgbd = fcn32s("small", num_classes=3, in_channels=4, dropout=0.0).double()
    report = transplant(rgbd, {**weights, first: expand_input(weights[first], 4)}, strict=True)
    assert not report.reshaped

    x, depth = image(), image(seed=1, channels=1)
    scores = rgbd(sf.Tensor(np.concatenate([x, depth], axis=1)))
    check_close(scores.numpy(), color(sf.Tensor(x + depth / 3)).numpy())
    check_close(rgbd(sf.Tensor(np.concatenate([x, 0 * depth], axis=1))).numpy(), color(sf.Tensor(x)).numpy())


# --- two streams ------------------------------------------------------------------------------------------


def pair(kind: str) -> tuple[TwoStream, sf.nn.Module, sf.nn.Module]:
    """A two-stream net, and the two single nets it got its weights from."""
    both = two_stream(kind, "small", num_classes=3, dropout=0.0).double()
    color, hha = single(kind, seed=1), single(kind, seed=2)
    for net, prefix in ((color, "color."), (hha, "hha.")):
        report = transplant(both, net.state_dict(), prefix_out=prefix)
        assert [name for name, _ in report.skipped] == [f"{name}.weight" for name in UP[kind]]
    return both, color, hha


@pytest.mark.parametrize("kind", SINGLE)
def test_two_equal_streams_are_the_single_net(kind: str) -> None:
    both, color, _ = pair(kind)
    transplant(both, color.state_dict(), prefix_out="hha.")
    rng = np.random.default_rng(3)
    for name in UP[kind]:  # kernels that mix classes, and the same in both
        weight = getattr(color, name).weight.data
        weight[...] = rng.normal(size=weight.shape)
    transplant(both, color.state_dict())
    check_close(both(sf.Tensor(np.concatenate([image(), image()], axis=1))).numpy(), color(sf.Tensor(image())).numpy())


@pytest.mark.parametrize("kind", SINGLE)
def test_two_streams_give_the_mean_of_two_nets_and_gradients_reach_both(kind: str) -> None:
    """Behind the scores everything is linear: half of each net's output, and half of each net's gradient."""
    both, color, hha = pair(kind)
    x1, x2 = (sf.Tensor(image(seed), requires_grad=True) for seed in (1, 2))
    x = sf.Tensor(np.concatenate([x1.data, x2.data], axis=1), requires_grad=True)
    scores, of_color, of_hha = both(x), color(x1), hha(x2)
    check_close(scores.numpy(), 0.5 * of_color.numpy() + 0.5 * of_hha.numpy())

    gy = np.random.default_rng(4).normal(size=scores.shape)
    for output in (scores, of_color, of_hha):
        (output * sf.Tensor(gy)).sum().backward()
    check_close(x.grad, 0.5 * np.concatenate([x1.grad, x2.grad], axis=1))
    own = dict(both.named_parameters())
    for net, prefix in ((color, "color."), (hha, "hha.")):
        for name, p in net.named_parameters():
            if not name.startswith("up"):
                check_close(own[prefix + name].grad, 0.5 * p.grad, prefix + name)
    for name in UP[kind]:
        mean = 0.5 * getattr(color, name).weight.grad + 0.5 * getattr(hha, name).weight.grad
        check_close(own[f"{name}.weight"].grad, mean, name)


def test_the_two_stream_16s_starts_from_a_32s() -> None:
    """Its new score layers are zero: upsampling in two steps is all that differs, and that mostly at the border."""
    coarse, _, _ = pair("fcn32s")
    finer = two_stream("fcn16s", "small", num_classes=3, dropout=0.0).double()
    report = transplant(finer, coarse.state_dict())
    assert [name for name, _ in report.skipped] == ["upscore.weight"]
    new = [f"{stream}.score_pool4.{what}" for stream in ("color", "hha") for what in ("weight", "bias")]
    assert report.missing == [*new, "upscore2.weight", "upscore16.weight"]
    x = sf.Tensor(image(channels=6, size=(160, 160)))
    a, b = (net(x).numpy()[:, :, 32:-32, 32:-32] for net in (coarse, finer))
    assert np.abs(a - b).max() < 0.15 * np.abs(a).max()
    assert np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.99


def test_a_second_stream_of_one_channel() -> None:
    """Depth itself instead of HHA."""
    net = two_stream("fcn32s", "small", num_classes=2, in_channels=4)
    assert net.hha.backbone.stage1[0].weight.shape[1] == 1
    assert net(sf.Tensor(np.zeros((1, 4, 20, 30), np.float32))).shape == (1, 2, 20, 30)


# --- two heads --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", SINGLE)
def test_each_head_is_a_single_net_and_the_trunk_learns_from_both(kind: str) -> None:
    heads = two_heads(kind, "small", num_classes=5, num_geometric=3, dropout=0.0).double()
    semantic, geometric = single(kind, seed=1, num_classes=5), single(kind, seed=2, num_classes=3)
    trunk = {name: a for name, a in semantic.state_dict().items() if name.startswith(("backbone", "fc"))}
    transplant(geometric, trunk)
    assert set(transplant(heads, trunk).copied) == set(trunk)
    for net, prefix in ((semantic, "semantic."), (geometric, "geometric.")):
        report = transplant(heads, net.state_dict(), prefix_out=prefix)
        assert {name for name, _ in report.skipped} == set(trunk)

    x = sf.Tensor(image())
    labels = {"semantic": np.random.default_rng(5).integers(0, 5, (2, 70, 45))}
    labels["geometric"] = labels["semantic"] % 3
    scores = heads(x)
    assert list(scores) == ["semantic", "geometric"]
    loss = sf.ops.softmax_cross_entropy(scores["semantic"], labels["semantic"])
    loss = loss + sf.ops.softmax_cross_entropy(scores["geometric"], labels["geometric"])
    loss.backward()
    own = dict(heads.named_parameters())
    grads: dict[str, np.ndarray] = {}
    for net, task in ((semantic, "semantic"), (geometric, "geometric")):
        y = net(x)
        check_close(scores[task].numpy(), y.numpy(), task)
        sf.ops.softmax_cross_entropy(y, labels[task]).backward()
        for name, p in net.named_parameters():
            if name in trunk:
                grads[name] = grads.get(name, 0.0) + p.grad
            else:
                grads[f"{task}.{name}"] = p.grad
    assert set(own) == set(grads)
    for name, p in own.items():
        check_close(p.grad, grads[name], name)


def test_the_papers_padding_works_with_two_heads() -> None:
    """With 100 pixels of padding all crops are different."""
    backbone = VGG16(padding=100)
    backbone.head["width"] = 4
    net = TwoHeads("fcn8s", backbone, num_classes=2, num_geometric=3)
    assert (net.semantic.offsets, net.semantic.crop) == ([5, 9], 31)  # as Caffe computed them
    with sf.no_grad():
        scores = net.eval()(sf.Tensor(np.zeros((1, 3, 20, 1), np.float32)))
    assert [y.shape for y in scores.values()] == [(1, 2, 20, 1), (1, 3, 20, 1)]


def test_a_backbone_without_fc6_is_scored_directly() -> None:
    backbone = Small()
    backbone.head = None
    net = TwoHeads("fcn16s", backbone, num_classes=2)
    assert net.semantic.score_fr.weight.shape == (2, 128, 1, 1)
    assert net(sf.Tensor(np.zeros((1, 3, 9, 40), np.float32)))["geometric"].shape == (1, 3, 9, 40)


# --- sizes, options, errors -------------------------------------------------------------------------------

STREAMS = {kind: two_stream(kind, "small", num_classes=2).eval() for kind in SINGLE}
HEADS = {kind: two_heads(kind, "small", num_classes=2).eval() for kind in SINGLE}


@settings(max_examples=30)
@given(st.sampled_from(sorted(SINGLE)), st.integers(1, 70), st.integers(1, 70))
def test_any_size_gives_outputs_of_exactly_that_size(kind: str, H: int, W: int) -> None:
    with sf.no_grad():
        fused = STREAMS[kind](sf.Tensor(np.zeros((1, 6, H, W), np.float32)))
        scores = HEADS[kind](sf.Tensor(np.zeros((1, 3, H, W), np.float32)))
    assert fused.shape == scores["semantic"].shape == (1, 2, H, W)
    assert scores["geometric"].shape == (1, 3, H, W)


def test_names_and_options() -> None:
    net = two_stream("fcn8s", "small", num_classes=2, batch_norm=True, learn_upsampling=False)
    names = [name for name, _ in net.named_parameters() if "up" in name]
    assert names == [f"{name}.weight" for name in UP["fcn8s"]]
    assert not any(getattr(net, name).weight.requires_grad for name in UP["fcn8s"])
    assert "color.backbone.stage1.1.running_mean" in net.state_dict()
    heads = two_heads("fcn32s", "small", num_classes=2, dropout=0.1)
    assert heads.dropout.p == 0.1
    names = [name for name, _ in heads.named_parameters() if "up" in name]
    assert names == ["semantic.upscore.weight", "geometric.upscore.weight"]


@pytest.mark.parametrize("kind", SINGLE)
def test_dropout_falls_where_it_does_in_a_single_net(kind: str) -> None:
    net, heads = single(kind, seed=1), two_heads(kind, "small", num_classes=3).double()
    net.dropout.p = heads.dropout.p
    transplant(heads, net.state_dict())
    transplant(heads, net.state_dict(), prefix_out="semantic.")
    x = sf.Tensor(image())
    sf.manual_seed(7)
    expected = net.train()(x).numpy()
    sf.manual_seed(7)  # the same numbers drawn
    in_training = heads.train()(x)["semantic"].numpy()
    check_close(in_training, expected)
    in_evaluation = heads.eval()(x)["semantic"].numpy()
    check_close(in_evaluation, net.eval()(x).numpy())
    assert (in_evaluation != in_training).any()


def test_the_papers_nets_have_as_many_parameters_as_the_reference() -> None:
    """Per VGG16 trunk 134,260,544, 4,097 per class and score of fc7, 513 per score of pool4; upsampling is fixed."""
    with sf.nn.init.skipped():
        nyud, sift_flow = two_stream(recipe="caffe"), two_heads(recipe="caffe")
    for net, count in ((nyud, 2 * (134_260_544 + 40 * 4_097)), (sift_flow, 134_260_544 + 36 * (4_097 + 513))):
        assert sum(p.size for p in net.parameters() if p.requires_grad) == count
        assert {n.split(".")[-2][:2] for n, p in net.named_parameters() if not p.requires_grad} == {"up"}


def unpadded() -> Small:
    """A backbone whose scores lie elsewhere: fc6 leaves out the border."""
    backbone = Small()
    backbone.head = {"kernel": 3, "padding": 0, "width": 4}
    return backbone


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: two_stream("fcn4s", "small"), ["fcn4s", "fcn32s", "fcn8s"]),
        (lambda: two_heads("fcn4s", "small"), ["fcn4s", "fcn32s", "fcn8s"]),
        (lambda: two_heads("fcn16s", "small", num_geometric=0), ["Head", "at least 1 class"]),
        (lambda: two_stream("fcn32s", "small", in_channels=3), ["in_channels", "3"]),
        (lambda: two_stream("fcn32s", Small()), ["backbone of its own", "TwoStream(Stream("]),
        (lambda: STREAMS["fcn32s"](sf.Tensor(np.zeros((1, 3, 8, 8), np.float32))), ["3 channels", "hha", "concat"]),
        (
            lambda: TwoStream(Stream("fcn32s", Small(), 2), Stream("fcn32s", Small(), 3)),
            ["num_classes", "2 and 3"],
        ),
        (
            lambda: TwoStream(Stream("fcn16s", Small(), 2), Stream("fcn32s", Small(), 2)),
            ["kind", "fcn16s and fcn32s"],
        ),
        (lambda: TwoStream(Stream("fcn32s", Small(), 2), Stream("fcn32s", unpadded(), 2)), ["grids", "same places"]),
    ],
)
def test_what_does_not_go_together_is_refused(make: Callable, words: list[str]) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        make()
    assert all(word in str(caught.value) for word in words)
