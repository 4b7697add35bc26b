"""The confusion matrix against numbers worked by hand, and against sets of pixels for random predictions."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scratchfcn.backend import to_device
from scratchfcn.metrics import ConfusionMatrix
from scratchfcn.tensor import Tensor


def counted(pred: Any, label: Any, num_classes: int, ignore_index: int = 255) -> ConfusionMatrix:
    confusion = ConfusionMatrix(num_classes, ignore_index)
    confusion.update(np.asarray(pred), np.asarray(label))
    return confusion


# --- by hand ----------------------------------------------------------------------------------------------

LABEL = [[0, 0, 0, 1], [1, 1, 2, 255]]
PRED = [[0, 0, 1, 1], [1, 0, 2, 2]]
# truth 0: 2 right, 1 called 1;  truth 1: 2 right, 1 called 0;  truth 2: 1 right;  one pixel ignored


def test_numbers_worked_by_hand() -> None:
    confusion = counted(PRED, LABEL, 3)
    np.testing.assert_array_equal(confusion.matrix, [[2, 1, 0], [1, 2, 0], [0, 0, 1]])
    assert confusion.matrix.dtype == np.int64
    assert confusion.pixel_acc == pytest.approx(5 / 7)
    np.testing.assert_allclose(confusion.per_class_acc, [2 / 3, 2 / 3, 1])
    assert confusion.mean_acc == pytest.approx(7 / 9)
    np.testing.assert_allclose(confusion.per_class_iu, [2 / 4, 2 / 4, 1])
    assert confusion.mean_iu == pytest.approx(2 / 3)
    assert confusion.fw_iu == pytest.approx((3 * 0.5 + 3 * 0.5 + 1) / 7)
    assert list(confusion.scores()) == ["pixel_acc", "mean_acc", "mean_iu", "fw_iu"]
    assert "7 pixels" in repr(confusion)


def test_always_background_has_good_pixel_accuracy_and_bad_mean_iu() -> None:
    label = np.zeros((10, 10), np.uint8)
    label[0] = 1
    confusion = counted(np.zeros((10, 10), np.uint8), label, 2)
    assert confusion.pixel_acc == pytest.approx(0.9)
    assert confusion.mean_iu == pytest.approx(0.45)
    assert confusion.fw_iu == pytest.approx(0.81)


def test_a_class_absent_in_truth_and_prediction_is_skipped() -> None:
    confusion = counted([0, 0, 1], [0, 0, 0], 4)  # class 1 only predicted; 2 and 3 nowhere
    np.testing.assert_allclose(confusion.per_class_acc, [2 / 3, math.nan, math.nan, math.nan])
    np.testing.assert_allclose(confusion.per_class_iu, [2 / 3, 0, math.nan, math.nan])
    assert confusion.mean_acc == pytest.approx(2 / 3)
    assert confusion.mean_iu == pytest.approx(1 / 3)
    assert confusion.fw_iu == pytest.approx(2 / 3)


def test_unscored_classes_are_left_out_of_the_means_alone() -> None:
    pred, label = np.array([0, 0, 2, 1, 1, 2]), np.array([0, 0, 0, 1, 1, 1])  # 2 is predicted, and never true
    plain, confusion = ConfusionMatrix(3), ConfusionMatrix(3, unscored=[2])
    plain.update(pred, label)
    confusion.update(pred, label)
    assert plain.mean_iu == pytest.approx((2 / 3 + 2 / 3 + 0) / 3)
    assert confusion.mean_iu == pytest.approx(2 / 3)
    np.testing.assert_array_equal(confusion.matrix, plain.matrix)
    np.testing.assert_allclose(confusion.per_class_iu, plain.per_class_iu)
    for measure in ("pixel_acc", "fw_iu"):  # a pixel called 2 is still wrong
        assert getattr(confusion, measure) == getattr(plain, measure) == pytest.approx(2 / 3)
    again = ConfusionMatrix.from_matrix(confusion.matrix, unscored=[2])
    assert again.scores() == confusion.scores()


def test_an_unscored_class_that_does_occur() -> None:
    pred, label = np.array([0, 0, 1, 1, 1, 1]), np.array([0, 0, 0, 1, 2, 2])
    confusion = ConfusionMatrix(3, unscored=[2])
    confusion.update(pred, label)
    assert confusion.mean_acc == pytest.approx((2 / 3 + 1) / 2)
    assert confusion.mean_iu == pytest.approx((2 / 3 + 1 / 4) / 2)
    assert confusion.pixel_acc == pytest.approx(3 / 6)
    assert confusion.fw_iu == pytest.approx((3 * 2 / 3 + 1 * 1 / 4 + 2 * 0) / 6)  # by the paper's formula: all classes
    assert math.isnan(ConfusionMatrix(1, unscored=[0]).mean_iu)


@pytest.mark.parametrize("label", [[], [255, 255]], ids=["no pixels", "all ignored"])
def test_nothing_counted_is_nan_without_a_warning(label: list[int]) -> None:
    confusion = counted(np.zeros(len(label), int), np.array(label, int), 3)
    assert all(math.isnan(value) for value in confusion.scores().values())
    assert np.isnan(confusion.per_class_iu).all()


def test_before_any_update_everything_is_nan() -> None:
    confusion = ConfusionMatrix(2)
    assert confusion.matrix.sum() == 0
    assert math.isnan(confusion.mean_iu)


# --- against sets of pixels ---------------------------------------------------------------------------------


@st.composite
def batches(draw: st.DrawFn) -> tuple[int, list[int], list[int]]:
    """K, and true and predicted classes of a few pixels, some of them ignored."""
    K = draw(st.integers(1, 6))
    pixels = draw(st.lists(st.tuples(st.integers(0, K - 1), st.sampled_from([*range(K), 255])), max_size=40))
    return K, [p for p, _ in pixels], [t for _, t in pixels]


def by_sets(K: int, pred: list[int], label: list[int]) -> dict[str, float]:
    """The four measures from the sets of pixels themselves: no matrix anywhere."""
    kept = [i for i, t in enumerate(label) if t != 255]
    truth = [{i for i in kept if label[i] == k} for k in range(K)]
    found = [{i for i in kept if pred[i] == k} for k in range(K)]
    acc = [len(t & f) / len(t) for t, f in zip(truth, found, strict=True) if t]
    iu = [len(t & f) / len(t | f) for t, f in zip(truth, found, strict=True) if t | f]
    weighed = [len(t) * len(t & f) / len(t | f) for t, f in zip(truth, found, strict=True) if t]
    if not kept:
        return dict.fromkeys(["pixel_acc", "mean_acc", "mean_iu", "fw_iu"], math.nan)
    right = sum(pred[i] == label[i] for i in kept)
    return {
        "pixel_acc": right / len(kept),
        "mean_acc": sum(acc) / len(acc),
        "mean_iu": sum(iu) / len(iu),
        "fw_iu": sum(weighed) / len(kept),
    }


@given(batches())
def test_equals_the_definition_by_sets(batch: tuple[int, list[int], list[int]]) -> None:
    K, pred, label = batch
    scores = counted(np.array(pred, int), np.array(label, int), K).scores()
    assert scores == pytest.approx(by_sets(K, pred, label), nan_ok=True)


@given(batches(), st.integers(0, 40))
def test_streaming_and_merging_equal_counting_at_once(batch: tuple[int, list[int], list[int]], cut: int) -> None:
    K, pred, label = batch[0], np.array(batch[1], int), np.array(batch[2], int)
    at_once = counted(pred, label, K)
    streamed = counted(pred[:cut], label[:cut], K)
    streamed.update(pred[cut:], label[cut:])
    merged = counted(pred[:cut], label[:cut], K)
    merged += counted(pred[cut:], label[cut:], K)
    np.testing.assert_array_equal(streamed.matrix, at_once.matrix)
    np.testing.assert_array_equal(merged.matrix, at_once.matrix)


# --- arrays, devices, ignored labels ------------------------------------------------------------------------


def test_counts_where_the_prediction_lives(device: str) -> None:
    pred, label = to_device(np.array(PRED), device), np.array(LABEL, np.uint8)
    confusion = ConfusionMatrix(3)
    confusion.update(pred, label)
    confusion.update(Tensor(pred, device=device), to_device(label, device))
    assert isinstance(confusion.matrix, np.ndarray)
    np.testing.assert_array_equal(confusion.matrix, 2 * counted(PRED, LABEL, 3).matrix)


def test_uint8_masks_do_not_overflow() -> None:
    label = np.full(5, 20, np.uint8)
    assert counted(label, label, 21).matrix[20, 20] == 5


@pytest.mark.parametrize("ignore_index", [0, -1, 9])
def test_any_label_can_be_the_ignored_one(ignore_index: int) -> None:
    confusion = counted([1, 1, 0], [1, ignore_index, 1], 2, ignore_index)
    np.testing.assert_array_equal(confusion.matrix, [[0, 0], [1, 1]])


def test_the_matrix_is_a_copy_and_reset_forgets() -> None:
    confusion = counted([0, 1], [0, 1], 2)
    confusion.matrix[:] = 99
    assert confusion.matrix.sum() == 2
    confusion.reset()
    assert confusion.matrix.sum() == 0


def test_merging_does_not_tie_two_matrices_together() -> None:
    first, second = ConfusionMatrix(2), counted([0], [0], 2)
    first.merge(second).update(np.array([1]), np.array([1]))
    assert second.matrix.sum() == 1


def test_from_matrix() -> None:
    confusion = ConfusionMatrix.from_matrix([[2, 1], [0, 3]])
    assert confusion.pixel_acc == pytest.approx(5 / 6)
    with pytest.raises(ValueError, match="square"):
        ConfusionMatrix.from_matrix([[1, 2]])


# --- errors -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pred", "label", "message"),
    [
        ([0, 0, 0], [0, 7, 7], r"label 7 at 2 pixel\(s\), but 3 classes allow 0 to 2 \(or 255, ignored\)"),
        ([0, 0], [0, -1], "label -1 at 1 pixel"),
        ([0, 3], [0, 1], "pred 3 at 1 pixel"),
        ([[0, 1]], [0, 1], r"pred \(1, 2\) and label \(2,\) must have the same shape.*argmax"),
    ],
)
def test_values_that_do_not_fit_are_named(pred: Any, label: Any, message: str) -> None:
    confusion = ConfusionMatrix(3)
    with pytest.raises(ValueError, match=message):
        confusion.update(np.array(pred), np.array(label))
    assert confusion.matrix.sum() == 0


def test_a_wrong_prediction_under_an_ignored_pixel_does_not_matter() -> None:
    assert counted([9, 1], [255, 1], 2).pixel_acc == 1


def test_wrong_types_and_settings() -> None:
    with pytest.raises(TypeError, match="pred must hold class numbers"):
        ConfusionMatrix(3).update(np.array([0.5]), np.array([0]))
    with pytest.raises(ValueError, match="at least 1"):
        ConfusionMatrix(0)
    with pytest.raises(ValueError, match="unscored class 3, but 3 classes end at 2"):
        ConfusionMatrix(3, unscored=[3])
    with pytest.raises(ValueError, match="cannot be added"):
        ConfusionMatrix(3).merge(ConfusionMatrix(2))
