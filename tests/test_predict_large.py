"""Images larger than memory: bands of rows that equal the whole, and memory that does not grow with the image."""

import numpy as np
import pytest
from prediction_tools import noise, tiny

from scratchfcn import ops
from scratchfcn.prediction import Predictor, enlarging, fitting, predictor
from scratchfcn.prediction.enlarging import between, enlarged, mix
from scratchfcn.tensor import Tensor


@pytest.mark.parametrize(
    ("small", "large"), [((5, 7), (23, 40)), ((9, 4), (9, 11)), ((30, 20), (7, 9)), ((1, 1), (4, 3))]
)
@pytest.mark.parametrize("piece", [1, 2, 100])
def test_enlarging_in_pieces_is_resizing_scores(small, large, piece, monkeypatch) -> None:
    """softmax(resized ln p) against ops.resize_bilinear of the scores p came from; further maps as they are."""
    monkeypatch.setattr(enlarging, "AT_ONCE", 2000)  # so that few rows are made at once
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(1, 3, *small)).astype(np.float32) * 4 + rng.normal(size=(1, 1, *small)).astype(np.float32)
    p = ops.softmax(Tensor(scores)).numpy()[0]
    maps = rng.random((2, *small)).astype(np.float32)
    pieces = [(p[:, i : i + piece], maps[:, i : i + piece]) for i in range(0, small[0], piece)]
    bands = list(enlarged(iter(pieces), small, large))
    expected = ops.softmax(ops.resize_bilinear(Tensor(scores), large)).numpy()[0]
    np.testing.assert_allclose(np.concatenate([b[0] for b in bands], axis=1), expected, atol=1e-5)
    expected_maps = ops.resize_bilinear(Tensor(maps[None]), large).numpy()[0]
    np.testing.assert_allclose(np.concatenate([b[1] for b in bands], axis=1), expected_maps, atol=1e-6)


def test_a_mean_of_looks_is_interpolated_as_it_is() -> None:
    p = np.array([[[1.0, 0.5]], [[0.0, 0.5]]], np.float32)  # (2, 1, 2): two looks may agree here and not there
    ((found, _),) = enlarged(iter([(p, None)]), (1, 2), (1, 4), as_scores=False)
    assert found[:, 0].tolist() == [[1, 0.875, 0.625, 0.5], [0, 0.125, 0.375, 0.5]]


def test_interpolation_worked_by_hand() -> None:
    """Two pixels become four: the new centres lie at -¼, ¼, ¾ and 1¼ of the old ones."""
    low, high, weight = between(2, 4)
    values = np.array([0.0, 8.0])
    assert mix(values[low], values[high], weight).tolist() == [0, 2, 6, 8]


@pytest.mark.parametrize("kwargs", [{}, {"flip": True, "scales": (0.5, 1, 1.5)}, {"mc_dropout": 3}])
@pytest.mark.parametrize("size", [None, (30, 41)])
def test_an_image_beyond_the_budget_is_predicted_in_bands_with_the_same_result(size, kwargs, monkeypatch) -> None:
    asked, image = Predictor(tiny(size, dropout=0.3), **kwargs), noise(120, 90)
    whole, label = asked.probabilities(image), asked.predict(image)
    (whole_band,) = asked.bands(image)
    monkeypatch.setattr(predictor, "AT_ONCE", 1000)
    monkeypatch.setattr(predictor, "BAND", 20_000)
    bands = list(asked.bands(image))
    assert [band.start for band in bands] == np.cumsum([0] + [b.probabilities.shape[1] for b in bands[:-1]]).tolist()
    assert len(bands) > 3 or size is None
    np.testing.assert_allclose(np.concatenate([band.probabilities for band in bands], axis=1), whole, atol=1e-5)
    assert (asked.predict(image) == label).mean() > 0.9999
    if "mc_dropout" in kwargs:
        found = np.concatenate([band.uncertainty for band in bands], axis=1)
        np.testing.assert_allclose(found, whole_band.uncertainty, atol=1e-5)


@pytest.mark.parametrize("kwargs", [{}, {"flip": True}])
def test_windows_of_a_resized_image_are_enlarged(kwargs, monkeypatch) -> None:
    """One window over all of it: with one look the plain result, with several nearly so (their mean is enlarged)."""
    network, image = tiny((30, 41)), noise(120, 90)
    monkeypatch.setattr(enlarging, "AT_ONCE", 20_000)
    found = Predictor(network, window=(99, 99), **kwargs).probabilities(image)
    whole = Predictor(network, **kwargs).probabilities(image)
    assert abs(found - whole).max() < 1e-5 if not kwargs else abs(found - whole).mean() < 0.05


def test_what_cannot_fit_is_refused_before_the_system_ends_the_process(monkeypatch) -> None:
    """What is needed is known without computing; what windows need is less, and is let through."""
    network, image = tiny(), np.zeros((1500, 1600, 3), np.uint8)  # 4 channels of float32: at least 38 MB for one map
    monkeypatch.setattr(fitting, "free_memory", lambda *_: 30_000_000)
    with pytest.raises(MemoryError, match="1600×1500 pixels at once need about"):
        Predictor(network).predict(image)
    with pytest.raises(MemoryError, match="2000×2000"):  # at twice its size
        Predictor(network, scales=(1, 2)).predict(np.zeros((1000, 1000, 3), np.uint8))
    assert Predictor(network, window=(400, 400)).predict(image).shape == (1500, 1600)
    monkeypatch.setattr(fitting, "free_memory", lambda *_: None)  # a system that does not say
    assert Predictor(network).predict(image).shape == (1500, 1600)


def test_the_memory_that_is_asked_for_is_about_what_is_used(monkeypatch) -> None:
    """The estimate against what Python's allocator sees of the real thing: rather too little than too much."""
    import re
    import tracemalloc

    network, image = tiny(classes=8), np.zeros((1500, 1600, 3), np.uint8)
    monkeypatch.setattr(fitting, "free_memory", lambda *_: 0)
    with pytest.raises(MemoryError) as error:
        Predictor(network).predict(image)
    estimate = 1e9 * float(re.search(r"about ([\d.]+) GB", str(error.value))[1])
    monkeypatch.undo()
    tracemalloc.start()
    Predictor(network).predict(image)
    _, used = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert 0.5 * used < estimate < 1.1 * used + 0.05e9


@pytest.mark.slow
def test_memory_stays_while_the_image_grows() -> None:
    """A prediction through windows holds a strip of probabilities, however tall the image; the whole holds all."""
    import tracemalloc

    def peak(height: int, window: tuple[int, int] | None) -> int:
        network, image = tiny(classes=40), np.zeros((height, 256, 3), np.uint8)
        asked = Predictor(network, window=window)
        tracemalloc.start()
        label = asked.predict(image)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most - label.nbytes

    small, tall = peak(512, (128, 128)), peak(4096, (128, 128))
    assert tall < 1.5 * small
    assert peak(4096, None) > 8 * tall
