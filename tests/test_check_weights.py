"""Class weights: the two formulas against numbers worked by hand, and the file they travel in."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scratchfcn.data import Classes, DataError
from scratchfcn.data.class_weights import inverse_frequency, median_frequency, read_class_weights, write_class_weights

STREET = Classes(("road", "car", "sky"), np.eye(3) * 200)


def refused(path, text, classes=STREET):
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError) as error:
        read_class_weights(path, classes)
    return str(error.value)


def test_median_frequency_by_hand():
    # frequencies 0.5, 0.1 and 0.25, the fourth class absent: the median is 0.25
    weights = median_frequency(np.array([50, 4, 25, 0]), np.array([100, 40, 100, 0]))
    np.testing.assert_allclose(weights, [0.5, 2.5, 1.0, 0.0])
    assert median_frequency(np.zeros(2), np.zeros(2)).tolist() == [0, 0]


def test_inverse_frequency_by_hand_and_each_class_has_one_share():
    pixels = np.array([60, 30, 0, 10])
    weights = inverse_frequency(pixels)
    np.testing.assert_allclose(weights, [100 / 180, 100 / 90, 0, 100 / 30])
    np.testing.assert_allclose((weights * pixels)[[0, 1, 3]], 100 / 3)
    assert (weights * pixels).sum() == pytest.approx(100)
    assert inverse_frequency(np.zeros(2)).tolist() == [0, 0]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.text(min_size=1, max_size=8), min_size=2, max_size=5, unique=True),
    st.lists(st.floats(0, 1e30, allow_nan=False), min_size=5, max_size=5),
)
def test_what_is_written_is_read_again_exactly(tmp_path_factory, names, numbers):
    if any("\ud800" <= letter <= "\udfff" for name in names for letter in name) or not any(numbers[: len(names)]):
        return  # half letters cannot be saved in any file; all weights 0 are refused below
    classes = Classes(tuple(names), np.zeros((len(names), 3)))
    path = write_class_weights(tmp_path_factory.mktemp("w") / "weights.toml", classes, numbers[: len(names)])
    read = read_class_weights(path, classes)
    assert read.dtype == np.float64
    assert read.tolist() == numbers[: len(names)]


def test_names_may_hold_anything(tmp_path):
    classes = Classes(('a "quoted" one', "back\\slash", "tab\tDEL\x7f", "traffic.sign", "Straße 🚲"), np.zeros((5, 3)))
    write_class_weights(tmp_path / "w.toml", classes, [1, 2, 3, 4, 5])
    assert read_class_weights(tmp_path / "w.toml", classes).tolist() == [1, 2, 3, 4, 5]


def test_the_order_in_the_file_does_not_matter(tmp_path):
    path = tmp_path / "w.toml"
    path.write_text('weights = { "sky" = 3, "road" = 0.14, "car" = 0 }')
    assert read_class_weights(path, STREET).tolist() == [0.14, 0, 3]


def test_every_mistake_in_a_file_is_named_at_once(tmp_path):
    text = refused(tmp_path / "w.toml", '[weights]\nrod = 1\ncar = -1\n"sky" = "much"')
    assert "there is no class 'rod'; did you mean 'road'?" in text
    assert "no weight for road" in text
    assert "the weight of 'car' must be a number of at least 0, not -1" in text
    assert "not 'much'" in text
    assert 'weights = { "road" = 1.0, "car" = 1.0, … }' in text


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[weights]\nroad = nan\ncar = 1\nsky = 1", "of 'road' must be a number of at least 0, not nan"),
        ("[weights]\nroad = inf\ncar = 1\nsky = 1", "not inf"),
        (f"[weights]\nroad = 1{400 * '0'}\ncar = 1\nsky = 1", "must be a number"),
        ("[weights]\nroad = true\ncar = 1\nsky = 1", "not True"),
        ("[weights]\nroad = 0\ncar = 0\nsky = 0.0", "all weights are 0"),
        ("road = 1\ncar = 1\nsky = 1", "one table 'weights' and nothing else; it holds 'road', 'car', 'sky'"),
        ("weights = [1, 2, 3]", "one table 'weights'"),
        ("", "it holds nothing"),
        ("[weights", "not a TOML file"),
    ],
)
def test_bad_files(tmp_path, text, says):
    assert says in refused(tmp_path / "w.toml", text)


def test_a_missing_file_and_bytes_that_are_no_text(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        read_class_weights(tmp_path / "gone.toml", STREET)
    (tmp_path / "w.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="not a TOML file"):
        read_class_weights(tmp_path / "w.toml", STREET)


@pytest.mark.parametrize(
    ("weights", "says"),
    [([1, 2], "need as many"), ([1, -1, 1], "'car' is -1"), ([1, np.nan, 1], "nan"), ([0, 0, 0], "are 0")],
)
def test_weights_that_cannot_be_are_not_written(tmp_path, weights, says):
    with pytest.raises(ValueError, match=says):
        write_class_weights(tmp_path / "w.toml", STREET, weights)
    assert not (tmp_path / "w.toml").exists()
