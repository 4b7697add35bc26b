"""Sliding windows: they cover everything, weigh 1 in all, leave no seams, and see what the whole image would show."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prediction_tools import Tiny, noise, tiny

from scratchfcn.prediction import Predictor
from scratchfcn.prediction.windows import ALIGN, sliding, spans, tent


@given(st.integers(1, 400), st.integers(1, 200), st.floats(0, 0.9))
def test_windows_cover_an_axis_and_weigh_1_at_every_pixel(length: int, window: int, overlap: float) -> None:
    found = spans(length, window, overlap)
    total, seen = np.zeros(length), np.zeros(length, int)
    for span in found:
        assert 0 <= span.start < span.stop <= length
        assert (span.weights > 0).all()
        total[span.start : span.stop] += span.weights
        seen[span.start : span.stop] += 1
    np.testing.assert_allclose(total, 1, atol=1e-6)
    assert seen.min() >= 1
    assert found[0].start == 0
    assert found[-1].stop == length
    starts = [span.start for span in found]
    assert starts == sorted(set(starts))


@given(st.integers(1, 2000), st.integers(1, 600), st.floats(0, 0.9))
def test_windows_are_as_large_as_asked_and_overlap_as_much(length: int, window: int, overlap: float) -> None:
    found = spans(length, window, overlap)
    sizes = [span.stop - span.start for span in found]
    if window >= length:
        assert sizes == [length]
        return
    assert set(sizes[:-1]) <= {window}
    assert window <= sizes[-1] < window + ALIGN
    for one, next_one in itertools.pairwise(found):
        assert one.stop - next_one.start >= int(window * overlap)


def test_an_axis_worked_by_hand() -> None:
    """10 pixels, windows of 4, half covered again: starts 0, 2, 4, 6; the tent is 1 2 2 1."""
    found = spans(10, 4, 0.5)
    assert [span[:2] for span in found] == [(0, 4), (2, 6), (4, 8), (6, 10)]
    np.testing.assert_allclose(found[0].weights, [1, 1, 2 / 3, 1 / 3], rtol=1e-6)
    np.testing.assert_allclose(found[1].weights, [1 / 3, 2 / 3, 2 / 3, 1 / 3], rtol=1e-6)
    assert tent(5).tolist() == [1, 2, 3, 2, 1]


def test_large_windows_start_at_multiples_of_32_and_the_last_stays_inside() -> None:
    found = spans(1000, 300, 0.25)  # 225 pixels on, rounded down to 224; 1000 - 300 = 700, rounded down to 672
    assert [span[:2] for span in found] == [(0, 300), (224, 524), (448, 748), (672, 1000)]


def test_rows_come_once_in_order_and_agreeing_windows_change_nothing() -> None:
    """Each pixel of the image says its own number, so whatever windows see it agree."""
    image = noise(117, 90)
    truth = image.transpose(2, 0, 1).astype(np.float32)  # (3, H, W)
    calls = []
    bands = list(
        sliding(image, lambda w: w.transpose(2, 0, 1).astype(np.float32), (40, 32), 0.5, lambda *n: calls.append(n))
    )
    assert len(bands) > 2
    np.testing.assert_allclose(np.concatenate(bands, axis=1), truth, rtol=1e-5)
    assert calls == [(i + 1, len(calls)) for i in range(len(calls))]
    assert len(calls) == len(spans(117, 40, 0.5)) * len(spans(90, 32, 0.5))


def test_windows_that_disagree_fade_into_each_other() -> None:
    """Two windows, 0 and 1, share five pixels: there the tents are 5 4 3 2 1 and 1 2 3 4 5."""
    answers = iter([0.0, 1.0])
    (band,) = sliding(noise(8, 35), lambda w: np.full((1, *w.shape[:2]), next(answers), np.float32), (8, 20), 0.25)
    expected = [0] * 15 + [1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6] + [1] * 15
    np.testing.assert_allclose(band[0], [expected] * 8, atol=1e-6)


def test_only_a_window_s_height_of_rows_is_held() -> None:
    """However tall the image: the largest band, and all arrays alive, stay as they are."""
    import tracemalloc

    def peak(H: int) -> int:
        image = np.zeros((H, 96, 3), np.uint8)
        tracemalloc.start()
        for _ in sliding(image, lambda w: np.ones((16, *w.shape[:2]), np.float32), (64, 64), 0.25):
            pass
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    assert peak(4000) < 1.3 * peak(400)


@pytest.mark.parametrize("window", [(64, 64), (96, 64), (64, 200)])
def test_windows_and_the_whole_image_agree_where_nothing_is_cut_off(window: tuple[int, int]) -> None:
    """A pixel that is at least REACH from every inner border of every window around it gets the same probabilities."""
    network, image = tiny(whole=True), noise(160, 192)
    whole = network.probabilities(image)
    windowed = Predictor(network, window=window, overlap=0.5).probabilities(image)
    inside = np.ones(image.shape[:2], bool)
    for axis, (length, size) in enumerate(zip(image.shape[:2], window, strict=True)):
        near = np.zeros(length, bool)
        for span in spans(length, size, 0.5):
            near[span.start : span.start + Tiny.REACH] |= span.start > 0
            near[span.stop - Tiny.REACH : span.stop] |= span.stop < length
        inside &= ~(near[:, None] if axis == 0 else near[None, :])
    assert inside.mean() > 0.3
    np.testing.assert_allclose(windowed[:, inside], whole[:, inside], atol=2e-7)
    assert abs(windowed - whole)[:, ~inside].max() > 1e-3  # the bound is not idle: further out they differ
    single = np.zeros(image.shape[:2], int)
    for row in spans(160, window[0], 0.5):
        for column in spans(192, window[1], 0.5):
            single[row.start : row.stop, column.start : column.stop] += 1
    only = inside & (single == 1)
    np.testing.assert_array_equal(windowed[:, only], whole[:, only])  # one window, weight 1: equal to the last bit


def test_a_window_that_covers_the_image_is_the_image() -> None:
    network, image = tiny(), noise(50, 70)
    for window in ((50, 70), (51, 500)):
        np.testing.assert_array_equal(
            Predictor(network, window=window).probabilities(image), network.probabilities(image)
        )


def test_probabilities_through_windows_sum_to_1() -> None:
    p = Predictor(tiny(), window=(40, 24), overlap=0.3).probabilities(noise(150, 101))
    np.testing.assert_allclose(p.sum(axis=0), 1, atol=1e-5)
    assert p.dtype == np.float32
