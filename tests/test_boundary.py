"""Boundary F1 against outlines compared by hand, pair by pair in plain loops, and by scipy's distance transform."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from shared_data import shared_data

from scratchfcn.backend import to_device
from scratchfcn.boundary import TOLERANCE, BoundaryF1, boundary, image_f1
from scratchfcn.data import open_dataset
from scratchfcn.metrics import BoundaryF1 as BoundaryF1OfMetrics
from scratchfcn.tensor import Tensor


def picture(*rows: str) -> np.ndarray:
    """ "011." → labels 0, 1, 1 and ignored."""
    return np.array([[255 if c == "." else int(c) for c in row] for row in rows], np.uint8)


# --- by hand ------------------------------------------------------------------------------------------------

TRUTH = picture(
    "00000000",
    "00111100",
    "00111100",
    "00000000",
    "00000000",
    "00000000",
)  # the diagonal is 10


def moved(rows: int, cols: int) -> np.ndarray:
    return np.roll(TRUTH, (rows, cols), (0, 1))


def test_the_boundary_is_where_a_neighbour_differs_and_the_frame_is_none() -> None:
    found = boundary(TRUTH, np.ones_like(TRUTH, bool))
    expected = picture("00111100", "01111110", "01111110", "00111100", "00000000", "00000000")
    np.testing.assert_array_equal(found, expected == 1)


@pytest.mark.parametrize(
    ("tolerance", "of_square"),
    [
        (0.05, 2 * (4 / 8)),  # half a pixel: of the square's 8 pixels, 4 lie where the true ones do, either way
        (0.1, 2 * 8 / 8),  # one pixel: all
    ],
)
def test_a_square_moved_down_by_one(tolerance: float, of_square: float) -> None:
    f1 = image_f1(moved(1, 0), TRUTH, 2, tolerance=tolerance)
    assert f1[1] == pytest.approx(of_square / 2)


def test_precision_and_recall_differ() -> None:
    # truth: a dot, 1 pixel of boundary. prediction: a bar of 4 pixels, of which 3 are within one pixel of the dot
    truth, bar = np.zeros((6, 8), np.uint8), np.zeros((6, 8), np.uint8)
    truth[2, 2], bar[2, 1:5] = 1, 1
    f1 = image_f1(bar, truth, 2, tolerance=0.1)
    assert f1[1] == pytest.approx(2 * (3 / 4) * 1 / (3 / 4 + 1))


@pytest.mark.parametrize(("reach", "found"), [(4.99, 0.0), (5.0, 1.0)])
def test_the_distance_is_euclids_and_the_rim_belongs_to_the_disk(reach: float, found: float) -> None:
    truth, pred = np.zeros((30, 40), np.uint8), np.zeros((30, 40), np.uint8)
    truth[10, 10], pred[13, 14] = 1, 1  # 3, 4 and 5
    assert image_f1(pred, truth, 2, tolerance=reach / 50)[1] == found


def test_the_default_tolerance_is_that_of_the_source() -> None:
    label = np.zeros((360, 480), np.uint8)  # 0.75 % of 600 pixels are 4.5
    label[:, 200:] = 1
    near, far = np.zeros_like(label), np.zeros_like(label)
    near[:, 204:] = far[:, 205:] = 1
    assert image_f1(near, label, 2).tolist() == [1, 1]
    assert image_f1(far, label, 2).tolist() == [0, 0]
    assert TOLERANCE == 0.0075


def test_classes_shown_or_predicted_or_neither() -> None:
    truth, pred = picture("000", "011", "011"), picture("000", "022", "022")
    f1 = image_f1(pred, truth, 4, tolerance=0)
    assert f1[0] == 1  # the background's outline is right, whatever lies beyond it
    assert f1[1] == 0  # shown, not predicted
    assert np.isnan(f1[2:]).all()  # only predicted; neither


def test_a_class_without_a_boundary_is_left_out() -> None:
    flat, spotted = np.zeros((9, 9), np.uint8), np.zeros((9, 9), np.uint8)
    spotted[4, 4] = 1
    assert np.isnan(image_f1(spotted, flat, 2)).all()
    assert image_f1(flat, spotted, 2).tolist() == [0, 0]


# --- ignored pixels -----------------------------------------------------------------------------------------


def test_ignored_pixels_make_no_boundary_and_hide_what_is_predicted_on_them() -> None:
    truth = picture("000..111", "000..111", "000..111", "00000111")
    found = boundary(truth, truth != 255)
    assert found.sum() == 2  # only where 0 and 1 touch, in the last row
    wild = picture("00021111", "00012111", "00021111", "00000111")
    assert image_f1(wild, truth, 3, tolerance=0)[:2].tolist() == [1, 1]


def test_void_between_all_classes_leaves_nothing_to_measure() -> None:
    truth = picture("00.11.22", "00.11.22")
    measure = BoundaryF1(3)
    assert math.isnan(measure.update(picture("00011222", "00001122"), truth)[0])
    assert (measure.images, math.isnan(measure.f1)) == (0, True)


def test_a_predicted_edge_among_counted_pixels_counts_though_void_is_near() -> None:
    truth = picture("000..111", "000..111", "00000111")
    late = picture("00000011", "00000011", "00000111")  # its edge is in the kept columns 5 and 6
    f1 = image_f1(late, truth, 2, tolerance=0)
    assert 0 < f1[1] < 1


@given(arrays(np.uint8, (7, 9), elements=st.sampled_from([0, 1, 2, 255])), st.integers(0, 2**32 - 1))
def test_what_is_predicted_where_truth_is_ignored_changes_nothing(truth: np.ndarray, seed: int) -> None:
    pred = np.random.default_rng(seed).integers(0, 3, truth.shape)
    other = np.where(truth == 255, 2 - pred, pred)
    for tolerance in (0, 0.1, 0.2):
        np.testing.assert_array_equal(
            image_f1(pred, truth, 3, tolerance=tolerance), image_f1(other, truth, 3, tolerance=tolerance)
        )


# --- against plain loops and scipy ------------------------------------------------------------------------------


def plain_boundary(classes: np.ndarray, kept: np.ndarray, k: int) -> list[tuple[int, int]]:
    H, W = classes.shape
    places = []
    for r in range(H):
        for c in range(W):
            around = [(r - 1, c), (r + 1, c), (r, c - 1), (r, c + 1)]
            around = [(y, x) for y, x in around if 0 <= y < H and 0 <= x < W and kept[y, x]]
            if kept[r, c] and classes[r, c] == k and any(classes[y, x] != k for y, x in around):
                places.append((r, c))
    return places


def plain_f1(pred: np.ndarray, label: np.ndarray, K: int, reach: float) -> list[float]:
    """Every predicted pixel with every true one."""
    kept, scores = label != 255, []
    for k in range(K):
        P, B = plain_boundary(pred, kept, k), plain_boundary(label, kept, k)
        if not B:
            scores.append(math.nan)
            continue
        precision = sum(any(math.dist(p, b) <= reach + 1e-9 for b in B) for p in P) / len(P) if P else 0
        recall = sum(any(math.dist(p, b) <= reach + 1e-9 for p in P) for b in B) / len(B)
        scores.append(2 * precision * recall / (precision + recall) if precision + recall else 0.0)
    return scores


@st.composite
def cases(draw: st.DrawFn) -> tuple[int, np.ndarray, np.ndarray, float]:
    K = draw(st.integers(1, 4))
    shape = draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    pred = draw(arrays(np.uint8, shape, elements=st.integers(0, K - 1)))
    label = draw(arrays(np.uint8, shape, elements=st.sampled_from([*range(K), 255])))
    reach = draw(st.sampled_from([0, 0.9, 1, 1.41, 1.42, 2, 2.9, 3.2, 5, 7.5]))
    return K, pred, label, reach


@given(cases())
def test_equals_all_pairs_in_plain_loops(case: tuple[int, np.ndarray, np.ndarray, float]) -> None:
    K, pred, label, reach = case
    tolerance = min(1.0, reach / math.hypot(*label.shape))
    reach = tolerance * math.hypot(*label.shape)
    expected = plain_f1(pred, label, K, reach)
    assert image_f1(pred, label, K, tolerance=tolerance).tolist() == pytest.approx(expected, nan_ok=True)


def by_distance_transform(pred: np.ndarray, label: np.ndarray, K: int, reach: float) -> np.ndarray:
    ndimage = pytest.importorskip("scipy.ndimage")
    kept, scores = label != 255, np.full(K, np.nan)
    cross = ndimage.generate_binary_structure(2, 1)
    for k in range(K):
        # k's boundary: pixels of k beside a counted pixel that is not k
        P = (pred == k) & kept & ndimage.binary_dilation((pred != k) & kept, cross)
        B = (label == k) & kept & ndimage.binary_dilation((label != k) & kept, cross)
        if not B.any():
            continue
        scores[k] = 0
        if P.any():
            precision = (ndimage.distance_transform_edt(~B)[P] <= reach).mean()
            recall = (ndimage.distance_transform_edt(~P)[B] <= reach).mean()
            scores[k] = 2 * precision * recall / (precision + recall) if precision + recall else 0
    return scores


def blobs(rng: np.random.Generator, shape: tuple[int, int], K: int) -> np.ndarray:
    """Labels in patches, as masks have them: (H, W)."""
    coarse = rng.integers(0, K, (shape[0] // 6 + 2, shape[1] // 6 + 2))
    rows = (np.arange(shape[0]) / 6 + rng.random()).astype(int)
    return coarse[rows][:, (np.arange(shape[1]) / 6 + rng.random()).astype(int)].astype(np.uint8)


@pytest.mark.parametrize("seed", range(8))
def test_equals_scipys_distance_transform(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = (int(rng.integers(20, 80)), int(rng.integers(20, 80)))
    pred, label = blobs(rng, shape, 4), blobs(rng, shape, 4)
    label[rng.random(shape) < 0.05] = 255
    reach = TOLERANCE * 10 * math.hypot(*shape)
    np.testing.assert_allclose(
        image_f1(pred, label, 4, tolerance=TOLERANCE * 10), by_distance_transform(pred, label, 4, reach)
    )


def test_equals_scipy_on_street_scenes() -> None:
    data = open_dataset(shared_data("camvid"), "val")
    for i in (0, 50):
        label, pred = data.read(i)[1], data.read(i + 8)[1] % 11  # another frame; its void as some class
        expected = by_distance_transform(pred, label, 11, TOLERANCE * math.hypot(*label.shape))
        np.testing.assert_allclose(image_f1(pred, label, 11), expected)
        assert 0.2 < np.nanmean(expected) < 0.98


# --- over images ----------------------------------------------------------------------------------------------


def test_the_mean_is_over_classes_first_and_over_images_then() -> None:
    two = picture("0011", "0011")  # shows two classes
    three = picture("0012", "0012")  # shows three
    flat = picture("0000", "0000")
    measure = BoundaryF1(3, tolerance=0)
    f1 = measure.update(np.stack([two, two, two]), np.stack([two, three, flat]))
    assert f1 == pytest.approx([1, 2 / 3, math.nan], nan_ok=True)  # of the three, 2 is missing; flat has no outline
    assert measure.images == 2
    assert measure.f1 == pytest.approx((1 + 2 / 3) / 2)


def test_per_class_means_are_over_the_images_that_show_the_class() -> None:
    one, other = picture("0011", "0011"), picture("0022", "0022")
    measure = BoundaryF1(4, tolerance=0)
    measure.update(one, one)
    measure.update(one, other)
    np.testing.assert_allclose(measure.per_class_f1, [1, 1, 0, np.nan])
    assert measure.f1 == pytest.approx((1 + 0.5) / 2)


def test_unscored_classes_are_left_out() -> None:
    one, other = picture("0011", "0011"), picture("0022", "0022")
    measure = BoundaryF1(3, tolerance=0, unscored=[2])
    measure.update(one, other)
    np.testing.assert_allclose(measure.per_class_f1, [1, np.nan, np.nan])
    assert measure.f1 == 1


def test_merging_equals_measuring_at_once_and_reset_forgets() -> None:
    rng = np.random.default_rng(0)
    pred, label = (np.stack([blobs(rng, (20, 30), 3) for _ in range(4)]) for _ in range(2))
    whole, first, second = BoundaryF1(3), BoundaryF1(3), BoundaryF1(3)
    whole.update(pred, label)
    first.update(pred[:1], label[:1])
    second.update(pred[1:], label[1:])
    first += second
    assert first.f1 == pytest.approx(whole.f1)
    assert first.images == 4
    np.testing.assert_allclose(first.per_class_f1, whole.per_class_f1)
    assert "4 images" in repr(first)
    first.reset()
    assert math.isnan(first.f1)
    assert np.isnan(first.per_class_f1).all()


def test_arrays_of_any_kind(device: str) -> None:
    measure = BoundaryF1(2, tolerance=0)
    pred = to_device(moved(0, 0), device)
    assert measure.update(pred, TRUTH) == [1]
    assert measure.update(Tensor(pred.astype("int64"), device=device), to_device(TRUTH, device)) == [1]
    assert BoundaryF1OfMetrics is BoundaryF1


@pytest.mark.parametrize(
    ("pred", "label", "error", "message"),
    [
        (np.zeros((2, 3), int), np.zeros((3, 2), int), ValueError, r"pred \(2, 3\) and label \(3, 2\)"),
        (np.zeros(3, int), np.zeros(3, int), ValueError, r"must both be \(H, W\) or \(N, H, W\)"),
        (np.zeros((2, 2), int), np.full((2, 2), 5), ValueError, r"label 5 at 4 pixel\(s\), but 2 classes allow 0 to 1"),
        (np.zeros((2, 2)), np.zeros((2, 2), int), TypeError, "integers, got float64"),
    ],
)
def test_what_cannot_be_measured_is_named(pred: Any, label: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        BoundaryF1(2).update(pred, label)


def test_settings_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        BoundaryF1(0)
    with pytest.raises(ValueError, match="a share, 0 to 1"):
        BoundaryF1(2, tolerance=3)
    with pytest.raises(ValueError, match="cannot be added"):
        BoundaryF1(2).merge(BoundaryF1(3))
