"""Monte Carlo dropout: measures worked out by hand, dropout and nothing but dropout switched on, repeatable passes."""

import contextlib
import math

import numpy as np
import pytest
from prediction_tools import noise, tiny

from scratchfcn import backend
from scratchfcn.prediction import MEASURES, Predictor
from scratchfcn.prediction.averaging import mean
from scratchfcn.prediction.uncertainty import DropoutPasses, entropy, measures, statistics
from scratchfcn.training import SettingError

LN2 = math.log(2)


def measured(*passes) -> dict[str, float]:
    """Probabilities of some passes at one pixel → the measures there."""
    stack = [np.array(p, np.float32).reshape(-1, 1, 1) for p in passes]
    _, maps = measures(mean(statistics(p) for p in stack))
    return dict(zip(MEASURES, maps[:, 0, 0].tolist(), strict=True))


def test_passes_that_contradict_each_other() -> None:
    """(1, 0) and (0, 1): the mean is (½, ½), so ln 2 nats, and each pass was sure, so all of it is disagreement. Each
    class's probability is 0 or 1: variance ¼."""
    found = measured([1, 0], [0, 1])
    assert found == pytest.approx({"entropy": LN2, "mutual_information": LN2, "variance": 0.25}, abs=1e-6)


def test_passes_that_agree_that_they_do_not_know() -> None:
    """(½, ½) twice: the same entropy, and no disagreement."""
    found = measured([0.5, 0.5], [0.5, 0.5])
    assert found == pytest.approx({"entropy": LN2, "mutual_information": 0, "variance": 0}, abs=1e-6)


def test_passes_that_are_sure_of_the_same() -> None:
    assert measured([0, 1, 0], [0, 1, 0]) == pytest.approx(dict.fromkeys(MEASURES, 0), abs=1e-6)


def test_measures_are_those_of_all_passes_kept() -> None:
    """Against the definitions, over an array of all passes, in float64."""
    rng = np.random.default_rng(0)
    p = rng.dirichlet([0.5] * 5, (12, 6, 7)).transpose(0, 3, 1, 2)  # (T, K, H, W)
    average, maps = measures(mean(statistics(one.astype(np.float32)) for one in p))
    total = -(p.mean(0) * np.log(p.mean(0))).sum(0)
    expected = -(p * np.log(p)).sum(1).mean(0)
    np.testing.assert_allclose(average, p.mean(0), atol=1e-6)
    np.testing.assert_allclose(maps[0], total, atol=1e-5)
    np.testing.assert_allclose(maps[1], total - expected, atol=1e-5)
    np.testing.assert_allclose(maps[2], p.var(0).mean(0), atol=1e-6)


def test_entropy_of_certainty_is_zero() -> None:
    assert entropy(np.array([[[1.0]], [[0.0]]]))[0, 0] == 0
    assert entropy(np.full((4, 1, 1), 0.25))[0, 0] == pytest.approx(math.log(4))


def test_only_dropout_is_switched_on_and_switched_off_again() -> None:
    network = tiny(dropout=0.5)
    network.model.eval()
    before = network.model.norm.running_mean.copy()
    with DropoutPasses(network.model, 2).on():
        training = {name: module.training for name, module in network.model.named_modules() if module.training}
        assert list(training) == ["dropout"]
    assert not any(module.training for module in network.model.modules())
    for band in Predictor(network, mc_dropout=3).bands(noise(16, 16)):
        assert band.uncertainty.shape == (3, 16, 16)
    np.testing.assert_array_equal(network.model.norm.running_mean, before)  # batch norm has recorded nothing
    assert int(network.model.norm.num_batches_tracked) == 0


def test_the_mode_before_comes_back_even_after_an_error() -> None:
    network = tiny(dropout=0.5)
    network.model.train()
    state = backend.generator().bit_generator.state
    passes = DropoutPasses(network.model, 2)
    with contextlib.suppress(KeyError), passes.on():
        backend.generator().random()
        raise KeyError
    assert network.model.dropout.training
    assert backend.generator().bit_generator.state == state


def bands(predictor, image):
    return np.concatenate([np.concatenate([b.probabilities, b.uncertainty]) for b in predictor.bands(image)], axis=1)


@pytest.mark.parametrize("window", [None, (32, 32)])
def test_passes_are_repeatable_and_do_not_depend_on_earlier_images(window) -> None:
    network, image = tiny(dropout=0.5), noise(40, 48)
    first = Predictor(network, window=window, mc_dropout=4, seed=1)
    a = bands(first, image)
    bands(first, noise(24, 24))
    backend.generator().random(5)
    np.testing.assert_array_equal(bands(first, image), a)
    np.testing.assert_array_equal(bands(Predictor(network, window=window, mc_dropout=4, seed=1), image), a)
    assert abs(bands(Predictor(network, window=window, mc_dropout=4, seed=2), image) - a).max() > 1e-3


def test_nobody_else_s_random_numbers_are_touched() -> None:
    network = tiny(dropout=0.5)
    backend.manual_seed(3)
    expected = backend.generator().random(4)
    backend.manual_seed(3)
    Predictor(network, mc_dropout=2).predict(noise(16, 16))
    np.testing.assert_array_equal(backend.generator().random(4), expected)


def test_the_mean_of_many_passes_comes_to_rest_and_uncertainty_has_its_bounds() -> None:
    network, image = tiny(dropout=0.3, classes=4), noise(24, 24)
    few, many, more = (bands(Predictor(network, mc_dropout=n, seed=n), image) for n in (2, 200, 201))
    assert abs(many - more)[:4].mean() < 0.5 * abs(few - more)[:4].mean()
    np.testing.assert_allclose(many[:4].sum(axis=0), 1, atol=1e-5)
    total, information, variance = many[4:]
    assert (total <= math.log(4) + 1e-5).all()
    assert (information >= 0).all()
    assert (information <= total + 1e-6).all()
    assert (variance >= 0).all()
    assert (variance <= 0.25).all()
    assert information.mean() > 0.01


@pytest.mark.parametrize("kwargs", [{"flip": True}, {"scales": (1, 1.5)}, {"window": (32, 32)}])
def test_uncertainty_keeps_its_bounds_with_looks_and_windows_and_a_resized_input(kwargs) -> None:
    for size in (None, (40, 48)):
        found = bands(Predictor(tiny(size, dropout=0.3, classes=4), mc_dropout=3, **kwargs), noise(70, 50))
        assert found.shape == (7, 70, 50)
        np.testing.assert_allclose(found[:4].sum(axis=0), 1, atol=1e-5)
        assert (found[4:] >= 0).all()
        assert (found[5] <= found[4] + 1e-5).all()


def test_windows_that_disagree_are_not_taken_for_doubt() -> None:
    """With next to no dropout all passes agree: no mutual information, though windows differ where they overlap."""
    network, image = tiny(dropout=1e-9), noise(60, 80)
    found = bands(Predictor(network, window=(24, 24), overlap=0.5, mc_dropout=2), image)
    whole = bands(Predictor(network, mc_dropout=2), image)
    assert abs(found[:3] - whole[:3]).max() > 0.05
    np.testing.assert_allclose(found[4:], 0, atol=1e-5)
    assert found[3].mean() > 0.1


def test_what_cannot_be_asked() -> None:
    with pytest.raises(SettingError, match="no dropout"):
        Predictor(tiny(), mc_dropout=5)
    with pytest.raises(SettingError, match="at least 2"):
        Predictor(tiny(dropout=0.5), mc_dropout=1)
    with pytest.raises(SettingError, match="at least 2"):
        Predictor(tiny(dropout=0.5), mc_dropout=-4)
