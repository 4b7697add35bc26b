"""Net surgery: every array arrives under its name and in its shape, or the report says why not."""

import numpy as np
import pytest
import torch

import scratchfcn as sf
from scratchfcn import weights
from scratchfcn.backend import to_device, to_numpy
from scratchfcn.surgery import expand_input, expand_score, transplant

# --- transplant -------------------------------------------------------------------------------------------


class FakeModel:
    """As much of a Module as `transplant` asks for."""

    def __init__(self, **shapes: tuple[int, ...]) -> None:
        self.arrays = {name.replace("__", "."): np.zeros(shape, np.float32) for name, shape in shapes.items()}

    def state_dict(self) -> dict[str, np.ndarray]:
        return self.arrays

    def load_state_dict(self, arrays: dict[str, np.ndarray], strict: bool = True) -> None:
        assert not strict
        for name, x in arrays.items():
            assert x.shape == self.arrays[name].shape
            self.arrays[name][...] = x


def test_transplant_copies_reshapes_skips_and_says_so() -> None:
    model = FakeModel(
        conv1__weight=(2, 3, 3, 3), fc6__weight=(4, 2, 3, 3), score__weight=(5, 4, 1, 1), score__bias=(5,)
    )
    rng = np.random.default_rng(0)
    arrays = {
        "conv1.weight": rng.normal(size=(2, 3, 3, 3)),
        "fc6.weight": rng.normal(size=(4, 18)),
        "score.weight": rng.normal(size=(21, 4, 1, 1)),
        "fc8.weight": rng.normal(size=(10, 4)),
    }
    report = transplant(model, arrays)
    assert report.copied == ["conv1.weight"]
    assert report.reshaped == [("fc6.weight", (4, 18), (4, 2, 3, 3))]
    assert [name for name, _ in report.skipped] == ["score.weight", "fc8.weight"]
    assert report.missing == ["score.weight", "score.bias"]
    np.testing.assert_array_equal(model.arrays["conv1.weight"], arrays["conv1.weight"].astype(np.float32))
    np.testing.assert_array_equal(model.arrays["fc6.weight"][1, 1, 2, 0], np.float32(arrays["fc6.weight"][1, 9 + 6]))
    assert not model.arrays["score.weight"].any()
    text = str(report)
    assert text.startswith("1 copied, 1 reshaped, 2 skipped, 2 of the model's own left")
    for line in [
        "fc6.weight: (4, 18) → (4, 2, 3, 3)",
        "shape (21, 4, 1, 1), the model's is (5, 4, 1, 1)",
        "no such name",
    ]:
        assert line in text


def test_transplant_exchanges_prefixes() -> None:
    model = FakeModel(backbone__conv1=(2,), head=(2,))
    report = transplant(model, {"module.conv1": np.ones(2), "head": np.ones(2)}, "module.", "backbone.")
    assert report.copied == ["backbone.conv1"]
    assert report.skipped == [("head", "name does not begin with 'module.'")]
    assert report.missing == ["head"]


def test_a_long_report_is_shortened() -> None:
    model = FakeModel(**{f"x{i}": (1,) for i in range(40)})
    text = str(transplant(model, {}))
    assert "… and 28 more" in text
    assert len(text.splitlines()) == 14


def test_transplant_into_a_real_module(device: str) -> None:
    layer = sf.nn.Conv2d(3, 4, 3).to(device)
    report = transplant(layer, {"weight": np.ones((4, 27)), "bias": np.arange(4.0)})
    assert [report.copied, len(report.reshaped), report.missing] == [["bias"], 1, []]
    bias = layer.state_dict()["bias"]
    assert bias.dtype == np.float32
    assert bias.tolist() == [0, 1, 2, 3]


def test_torch_tensors_need_no_conversion() -> None:
    torch.manual_seed(0)
    theirs = torch.nn.Sequential(torch.nn.Linear(18, 4), torch.nn.BatchNorm1d(4))
    ours = sf.nn.Sequential(sf.nn.Conv2d(2, 4, 3), sf.nn.BatchNorm2d(4))
    report = transplant(ours, theirs.state_dict(), strict=True)
    assert report.reshaped == [("0.weight", (4, 18), (4, 2, 3, 3))]
    np.testing.assert_array_equal(ours.state_dict()["0.weight"].ravel(), theirs[0].weight.detach().numpy().ravel())


def test_rename_by_beginnings_takes_the_longest_whole_one() -> None:
    model = FakeModel(
        backbone__features__0__weight=(1,),
        fc6__weight=(2,),
        fc61__weight=(3,),
        classifier__10=(4,),
        conv=(5,),
        head=(6,),
    )
    arrays = {
        "features.0.weight": np.full(1, 1),
        "classifier.0.weight": np.full(2, 2),
        "classifier.1.weight": np.full(3, 3),  # not "classifier.0" …
        "classifier.10": np.full(4, 4),  # … nor is this "classifier.1", a beginning in the middle of a part
        "module.conv": np.full(5, 5),
        "score": np.full(6, 6),
    }
    rename = {
        "features": "backbone.features",
        "classifier": "classifier",
        "classifier.0": "fc6",
        "classifier.1": "fc61",
        "module": "",
        "score": "head",
    }
    report = transplant(model, arrays, rename=rename, strict=True)
    assert report.copied == list(model.arrays)
    for x, number in zip(model.arrays.values(), range(1, 7), strict=True):
        assert (x == number).all()


def test_rename_by_a_function_comes_between_the_prefixes() -> None:
    model = FakeModel(net__CONV=(2,))
    seen = []

    def shout(name: str) -> str:
        seen.append(name)
        return name.upper()

    report = transplant(model, {"module.conv": np.ones(2)}, "module.", "net.", shout, strict=True)
    assert (seen, report.copied) == (["conv"], ["net.CONV"])
    assert model.arrays["net.CONV"].tolist() == [1, 1]


def test_a_name_that_two_arrays_would_take_goes_to_the_first() -> None:
    model = FakeModel(a=(1,))
    report = transplant(model, {"b": np.ones(1), "a": np.zeros(1)}, rename={"b": "a"})
    assert report.copied == ["a"]
    assert report.skipped == [("a", "becomes a, and so does b")]
    assert model.arrays["a"].tolist() == [1]


def test_skipped_after_a_rename_says_what_was_looked_for() -> None:
    report = transplant(FakeModel(a=(1,)), {"fc8": np.ones(1)}, rename={"fc8": "classifier.6"})
    assert report.skipped == [("fc8", "the model has no classifier.6")]


def test_strict_names_everything_and_changes_nothing() -> None:
    shapes = {"conv": (2,), "score": (5,), "bn__num_batches_tracked": (), **{f"left{i:02}": (1,) for i in range(30)}}
    model = FakeModel(**shapes)
    arrays = {"conv": np.ones(2), "score": np.ones(21), "fc8": np.ones(1)}
    with pytest.raises(ValueError, match="strict=True asks for that; nothing was changed") as error:
        transplant(model, arrays, strict=True)
    lines = str(error.value).splitlines()[1:]
    assert lines[:2] == [
        "  skipped  score: shape (21,), the model's is (5,)",
        "  skipped  fc8: the model has no such name",
    ]
    assert lines[2:] == ["  missing  score"] + [f"  missing  left{i:02}" for i in range(30)]
    assert not any(x.any() for x in model.arrays.values())


def test_strict_passes_what_is_reshaped_and_counters_that_older_files_lack() -> None:
    model = FakeModel(fc6__weight=(4, 2, 3, 3), bn__num_batches_tracked=())
    report = transplant(model, {"fc6.weight": np.ones((4, 18))}, strict=True)
    assert report.missing == ["bn.num_batches_tracked"]
    assert model.arrays["fc6.weight"].all()


def test_two_streams_are_two_strict_transplants() -> None:
    """Late fusion: a net for colour and one for depth side by side, each filled from a net of its own."""

    class TwoStreams(sf.nn.Module):
        def __init__(self) -> None:
            self.color = sf.models.Small()
            self.hha = sf.models.Small()

    model, color, hha = TwoStreams(), sf.models.Small(), sf.models.Small()
    transplant(model, color.state_dict(), prefix_out="color.", strict=True)  # what is missing under hha. is no fault
    transplant(model, hha.state_dict(), prefix_out="hha.", strict=True)
    for stream, source in (("color", color), ("hha", hha)):
        for name, x in source.state_dict().items():
            np.testing.assert_array_equal(model.state_dict()[f"{stream}.{name}"], x)
    with pytest.raises(ValueError, match=r"missing  hha\.stage1\.0\.weight"):
        transplant(model, {n: x for n, x in hha.state_dict().items() if "stage1" not in n}, "", "hha.", strict=True)


def test_transplant_is_found_beside_load_too() -> None:
    assert weights.transplant is transplant


# --- arrays made to fit -----------------------------------------------------------------------------------


def test_expand_score_keeps_the_old_classes_and_adds_silent_ones(device: str) -> None:
    rng = np.random.default_rng(0)
    old, new = sf.nn.Conv2d(4, 3, 1), sf.nn.Conv2d(4, 5, 1)
    old.weight.data[...], old.bias.data[...] = rng.normal(size=(3, 4, 1, 1)), rng.normal(size=3)
    state = {name: expand_score(to_device(x, device), 5) for name, x in old.state_dict().items()}
    assert {name: (x.shape, x.dtype) for name, x in state.items()} == {
        "weight": ((5, 4, 1, 1), np.float32),
        "bias": ((5,), np.float32),
    }
    new.load_state_dict(state)
    x = sf.Tensor(rng.normal(size=(1, 4, 6, 7)).astype(np.float32))
    scores = new(x).numpy()
    np.testing.assert_allclose(scores[:, :3], old(x).numpy(), rtol=1e-5, atol=1e-6)
    assert not scores[:, 3:].any()


def test_expand_score_is_a_copy_and_never_drops_classes() -> None:
    bias = np.ones(3)
    same = expand_score(bias, 3)
    same[...] = 0
    assert bias.all()
    with pytest.raises(ValueError, match=r"expand_score: 2 classes are fewer than the 3 that the array \(3,\) has"):
        expand_score(bias, 2)


@pytest.mark.parametrize("channels", [3, 4, 6])
def test_expand_input_adds_channels_that_are_the_mean_of_the_colours(device: str, channels: int) -> None:
    weight = np.random.default_rng(0).normal(size=(8, 3, 3, 5)).astype(np.float32)
    given = to_device(weight, device)
    expanded = expand_input(given, channels)
    result = to_numpy(expanded).copy()
    assert (result.shape, result.dtype) == ((8, channels, 3, 5), np.float32)
    np.testing.assert_array_equal(result[:, :3], weight)
    for further in range(3, channels):
        np.testing.assert_allclose(result[:, further], weight.sum(axis=1) / 3, rtol=1e-5, atol=1e-6)
    expanded[...] = 0
    np.testing.assert_array_equal(to_numpy(given), weight)  # a copy


def test_expand_input_refuses_what_is_no_colour_convolution() -> None:
    for shape in [(8, 4, 3, 3), (8, 27)]:
        with pytest.raises(
            ValueError, match=r"needs the weight of a convolution of 3 channels, \(OC, 3, KH, KW\), not"
        ):
            expand_input(np.zeros(shape), 4)
    with pytest.raises(ValueError, match="2 channels are fewer than the 3"):
        expand_input(np.zeros((8, 3, 3, 3)), 2)


def test_a_net_for_colour_and_depth_starts_from_one_for_colour() -> None:
    """Early fusion and more classes at once; where depth is 0 the new net scores the old classes as before."""
    old = sf.models.fcn32s(num_classes=2).eval()
    rng = np.random.default_rng(1)
    old.score_fr.weight.data[...] = rng.normal(size=old.score_fr.weight.shape)
    new = sf.models.fcn32s(num_classes=4, in_channels=4).eval()

    state = old.state_dict()
    first = "backbone.stage1.0.weight"
    state[first] = expand_input(state[first], 4)
    state |= {name: expand_score(x, 4) for name, x in state.items() if name.startswith("score_fr")}
    report = transplant(new, state)
    assert [name for name, _ in report.skipped] == report.missing == ["upscore.weight"]

    x = rng.normal(size=(1, 3, 64, 48)).astype(np.float32)
    with_depth = np.concatenate([x, np.zeros((1, 1, 64, 48), np.float32)], axis=1)
    scores = new(sf.Tensor(with_depth)).numpy()
    np.testing.assert_allclose(scores[:, :2], old(sf.Tensor(x)).numpy(), rtol=1e-4, atol=1e-5)
    assert not scores[:, 2:].any()
