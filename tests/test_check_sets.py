"""check-data on every published layout: sound as published, a page, a corrected copy, and mistakes in any part."""

import json

import numpy as np
import pytest
from make_sets import MAKERS, SCENES, put, put_mat, siftflow

from scratchfcn.data import DataError, check_data, check_pairs, check_splits, fix_copy, open_dataset, read_label
from scratchfcn.reports.check_report import check_page, figures


@pytest.mark.parametrize("name", MAKERS)
def test_as_published_each_is_sound(tmp_path, name):
    MAKERS[name](tmp_path / "data")
    found = check_data(tmp_path / "data", name=name)
    assert found.sound, found.problems
    assert found.pairs > 0
    assert found.train.histogram.pixels.sum() > 0
    assert not set(found.splits) & set(found.overlapping)
    json.dumps(figures(found), allow_nan=False)
    assert "sound" in check_page(found)
    checked = check_splits(tmp_path / "data", name=name)
    assert list(checked) == list(found.splits)
    for split, (dataset, histogram) in checked.items():
        assert histogram.pixels.tolist() == found.splits[split].histogram.pixels.tolist()
        assert check_pairs(dataset).pixels.tolist() == histogram.pixels.tolist()


@pytest.mark.parametrize("name", MAKERS)
def test_a_copy_in_ones_own_layout_has_the_same_labels(tmp_path, name):
    MAKERS[name](tmp_path / "data")
    split = next(iter(check_data(tmp_path / "data", name=name).splits))
    data = open_dataset(tmp_path / "data", split, name=name)
    if len(data.views()) > 1:
        with pytest.raises(DataError, match="several pictures or masks"):
            fix_copy(tmp_path / "data", tmp_path / "copy", ["extension"], name=name)
        return
    fix_copy(tmp_path / "data", tmp_path / "copy", ["extension"], name=name)
    copy = open_dataset(tmp_path / "copy", split)
    assert copy.classes.names == data.classes.names
    by_name = {copy.name(i): i for i in range(len(copy))}
    for i in range(len(data)):
        np.testing.assert_array_equal(copy.read(by_name[data.name(i)])[1], data.read(i)[1])


def test_a_mistake_in_the_second_task_is_found_and_drawn(tmp_path):
    root = siftflow(tmp_path)
    wrong = next(root.rglob(f"GeoLabels/*/{SCENES[0]}.mat"))
    put_mat(wrong, S=np.full((24, 32), 77, np.int16))
    found = check_data(root, name="siftflow-both")
    assert [problem.files for problem in found.problems] == [(wrong,)]
    assert found.groups[0].title == "a mask does not hold what it should"
    assert str(wrong) in check_page(found)
    with pytest.raises(DataError, match="77"):
        check_splits(root, name="siftflow-both")
    assert check_data(root, name="siftflow").sound


def test_a_file_that_two_views_share_is_wrong_once(tmp_path):
    root = MAKERS["nyudv2-rgb-hha"](tmp_path)
    mask = next(root.rglob("segmentation/*.mat"))
    mask.write_bytes(b"")
    found = check_data(root, name="nyudv2-rgb-hha")
    assert len(found.problems) == 1
    hha = next(path for path in root.rglob("hha/*.png") if path.stem != mask.stem)
    put(hha, np.zeros((5, 5, 3)))
    found = check_data(root, name="nyudv2-rgb-hha")
    assert sorted(problem.kind for problem in found.problems) == ["size", "unreadable"]


def test_a_published_set_with_colours_for_a_mask(tmp_path):
    root = MAKERS["voc2012"](tmp_path / "data")
    mask = next(root.rglob("SegmentationClass/*.png"))
    label = read_label(mask)
    data = open_dataset(root, "train", name="voc2012")
    put(mask, data.classes.palette()[label])
    found = check_data(root, name="voc2012")
    assert [group.repair for group in found.groups] == ["colours"]
    assert "--output-dir" in found.groups[0].fixes[0]
    fix_copy(root, tmp_path / "copy", ["all"], name="voc2012")
    fixed = next((tmp_path / "copy/masks").rglob(f"{mask.stem}.png"))
    np.testing.assert_array_equal(read_label(fixed), label)
