"""The published data sets: which folder is which, what is in each split, and what is said where files are missing."""

import difflib
import shutil
import subprocess
from pathlib import Path

import make_sets
import numpy as np
import pytest
from make_sets import put, put_list
from shared_data import shared_data

from scratchfcn.data import DataError, Dataset, open_dataset, read_label, split_names
from scratchfcn.data.errors import SHOWN
from scratchfcn.data.sets import (
    KINDS,
    SETS,
    VOC2012,
    Cityscapes,
    KerasSegmentation,
    NYUDv2,
    PascalContext,
    SiftFlow,
    recognise,
)
from scratchfcn.data.sets.camvid_original import split_of
from scratchfcn.data.sets.lists import Shelf, pairs_among, pairs_in_list, read_list, shipped_list
from scratchfcn.data.sets.verify import verify

SHADOWED = {
    "camvid-32": "camvid-original",
    "nyudv2-hha": "nyudv2",
    "nyudv2-rgb-hha": "nyudv2",
    "siftflow-geometric": "siftflow",
    "siftflow-both": "siftflow",
}


def problems_of(call, *arguments, **options) -> DataError:
    with pytest.raises(DataError) as error:
        call(*arguments, **options)
    return error.value


def names_of(dataset: Dataset) -> list[str]:
    return [dataset.name(i) for i in range(len(dataset))]


# --- all of them ---------------------------------------------------------------------------------------


def test_each_kind_is_in_the_catalogue_under_its_name_and_has_a_maker():
    assert list(SETS) == [kind.about.name for kind in KINDS] == list(make_sets.MAKERS)
    assert len(set(KINDS)) == len(KINDS)


@pytest.mark.parametrize("name", SETS)
def test_every_set_is_recognised_and_every_split_can_be_read(tmp_path, name):
    root = make_sets.MAKERS[name](tmp_path)
    kind, found = recognise(root)
    assert kind.about.name == SHADOWED.get(name, name)
    kind, found = recognise(root, name)
    assert kind is SETS[name]
    assert {kind.about.train, kind.about.val} <= set(split_names(root, name))
    for split in split_names(root, name):
        dataset = open_dataset(root, split, name=name)
        assert isinstance(dataset, kind)
        assert dataset.loose == []
        assert len(set(names_of(dataset))) == len(dataset) > 0
        for i in range(len(dataset)):
            image, label = dataset.read(i)
            planes = (len(dataset.tasks),) if dataset.tasks else ()
            assert (image.shape, image.dtype) == ((*make_sets.SIZE, dataset.channels), np.uint8)
            assert (label.shape, label.dtype) == ((*make_sets.SIZE, *planes), np.uint8)
            assert set(np.unique(label).tolist()) <= {*range(len(dataset.classes)), 255}
        if kind.known_classes() is not None:
            assert dataset.classes == kind.known_classes()
        assert all(path.is_relative_to(tmp_path) for path in dataset.files(0))
    assert verify(root, name).problems == []


@pytest.mark.parametrize("name", SETS)
def test_every_set_can_be_opened_from_the_folder_it_begins_in(tmp_path, name):
    root = make_sets.MAKERS[name](tmp_path)
    kind, found = recognise(root, name)
    split = kind.about.train
    assert names_of(kind(found, split)) == names_of(open_dataset(found, split, name=name))


@pytest.mark.parametrize("name", SETS)
def test_a_wrong_name_says_what_is_there_and_what_should_be(tmp_path, name):
    root = make_sets.MAKERS[name](tmp_path)
    other = "cityscapes" if name != "cityscapes" else "voc2012"
    error = problems_of(open_dataset, root, "train", name=other)
    meant = SETS[SHADOWED.get(name, name)].about
    assert f"not the layout of {SETS[other].about.title}, but that of {meant.title} (--dataset {meant.name})" in str(
        error
    )
    assert SETS[other].about.layout.splitlines()[0] in error.advice[0]


@pytest.mark.parametrize("name", SETS)
def test_an_unknown_split_is_refused_with_the_nearest(tmp_path, name):
    root = make_sets.MAKERS[name](tmp_path)
    split = SETS[name].about.train
    assert f"no split '{split}s'" in str(problems_of(open_dataset, root, f"{split}s", name=name))
    assert f"nearest: '{split}'" in str(problems_of(open_dataset, root, f"{split}s", name=name))


@pytest.mark.parametrize("name", [name for name in SETS if not SETS[name].asks_for_classes])
def test_the_number_of_classes_is_the_sets_own(tmp_path, name):
    root = make_sets.MAKERS[name](tmp_path)
    K = len(SETS[name].known_classes())
    assert len(open_dataset(root, SETS[name].about.train, K, name).classes) == K
    assert f"has {K} classes, but {K + 1}" in str(problems_of(open_dataset, root, SETS[name].about.train, K + 1, name))


@pytest.mark.parametrize("name", SETS)
def test_facts_are_complete_and_names_are_sound(name):
    about = SETS[name].about
    for text in (about.title, about.summary, about.source, about.layout, about.masks):
        assert text
    classes = SETS[name].known_classes()
    if classes is not None:
        assert {tuple(colour) for colour in classes.colours.tolist()}.isdisjoint({(224, 224, 192)})
        assert len(about.counts) > 0
        assert about.train in about.counts


def test_an_unknown_name_is_refused_with_the_nearest(tmp_path):
    assert "did you mean cityscapes?" in str(problems_of(open_dataset, tmp_path, "train", name="cityscape"))


def test_a_folder_one_too_high_is_looked_into(tmp_path):
    make_sets.camvid(tmp_path / "road")
    error = problems_of(open_dataset, tmp_path, "train")
    assert f"no known layout, but {tmp_path / 'road'} has that of CamVid" in str(error)


# --- lists ---------------------------------------------------------------------------------------------


def test_lists_in_the_forms_in_which_they_are_passed_around(tmp_path):
    path = tmp_path / "list.txt"
    path.write_bytes(
        b"\xef\xbb\xbf2007_000032\r\n\r\n  2007_000039  \n2007_000063.jpg\n/Images/a.b.jpg /Masks/a.b.png\n"
        b"scenes\\coast_1.jpg\n2008_000002 -1\nno.suffix\n"
    )
    assert read_list(path) == [
        "2007_000032",
        "2007_000039",
        "2007_000063",
        "a.b",
        "coast_1",
        "2008_000002",
        "no.suffix",
    ]
    path.write_bytes(b"\n \n")
    assert "the list is empty" in str(problems_of(read_list, path))
    path.write_bytes(b"\xff\xfe\x00\x80")
    assert "not a text file" in str(problems_of(read_list, path))
    assert "no such file" in str(problems_of(read_list, tmp_path / "gone.txt"))
    assert "is a directory" in str(problems_of(read_list, tmp_path))


def test_a_shelf_holds_the_files_of_a_folder_by_name(tmp_path):
    for name in ("a.jpg", "a.png", "b.PNG", ".c.png", "notes.txt", "d_L.png"):
        (tmp_path / name).touch()
    shelf = Shelf.of_images(tmp_path)
    assert sorted(shelf.files) == ["a", "b", "d_L"]
    assert shelf["a"] == tmp_path / "a.jpg"  # the usual kind comes first
    assert shelf["b"].name == "b.PNG"
    assert list(Shelf.of(tmp_path, "_L.png").files) == ["d"]
    assert "no such file" in str(problems_of(Shelf.of, tmp_path / "gone", ".png"))


def test_a_list_in_the_folder_says_what_must_be_there(tmp_path):
    for name in ("images/a.jpg", "images/b.jpg", "masks/a.png", "masks/c.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    images, masks = Shelf.of(tmp_path / "images", ".jpg"), Shelf.of(tmp_path / "masks", ".png")
    pairs, loose = pairs_in_list("x.txt", ["c", "a", "zebra", "b", "a"], images, masks)
    assert pairs == [(tmp_path / "images/a.jpg", tmp_path / "masks/a.png")]
    assert loose == [
        "x.txt: c: there is no images/c.jpg",
        "x.txt: zebra: there is no images/zebra.jpg and no masks/zebra.png",
        "x.txt: b: there is no masks/b.png",
        "x.txt: a stands in it twice",
    ]
    pairs, loose = pairs_among(["c", "a", "zebra", "b", "a"], images, masks)  # a rule says less
    assert len(pairs) == 1
    assert loose == ["mask masks/c.png: there is no images/c.jpg", "image images/b.jpg: there is no masks/b.png"]


def test_the_lists_of_this_package_are_the_published_divisions():
    seg11valid = shipped_list("seg11valid")
    assert (len(set(seg11valid)), seg11valid[:2], seg11valid[-1]) == (
        736,
        ["2007_000033", "2007_000042"],
        "2011_003271",
    )
    parts = [shipped_list(f"nyudv2_{split}") for split in ("train", "val", "test")]
    assert [len(part) for part in parts] == [381, 414, 654]
    assert sorted(int(name) for part in parts for name in part) == list(range(5001, 6450))  # each image once
    assert {"5449", "6140"} < set(parts[0])
    assert "5010" in parts[1]
    assert "5133" in parts[2]
    assert len(set(shipped_list("siftflow_test"))) == 200
    assert {"coast_natu975", "highway_gre141"} < set(shipped_list("siftflow_test"))


def test_a_folder_is_listed_once_however_many_names_are_asked_for(tmp_path, monkeypatch):
    voc = tmp_path / "VOC2012"
    names = [f"2008_{i:06d}" for i in range(5000)]
    for folder, suffix in (("JPEGImages", "jpg"), ("SegmentationClass", "png")):
        (voc / folder).mkdir(parents=True)
        for name in names:
            (voc / folder / f"{name}.{suffix}").touch()
    put_list(voc / "ImageSets/Segmentation/train.txt", names)
    asked = []
    stat = Path.stat
    monkeypatch.setattr(Path, "stat", lambda path, **options: asked.append(path) or stat(path, **options))
    assert len(open_dataset(tmp_path, "train")) == 5000
    assert 0 < len(asked) < 200  # not one for each name


def test_thousands_of_missing_files_are_named_and_the_nearest_looked_for_only_where_it_is_shown(tmp_path, monkeypatch):
    make_sets.voc2012(tmp_path)
    list_file = tmp_path / "VOCdevkit/VOC2012/ImageSets/Segmentation/train.txt"
    put_list(list_file, [f"2008_{i:06d}" for i in range(5000)])
    searches = []
    search = difflib.get_close_matches
    monkeypatch.setattr(difflib, "get_close_matches", lambda *given: searches.append(given) or search(*given))
    assert len(problems_of(open_dataset, tmp_path, "train").problems) == 5000
    assert 0 < len(searches) <= 2 * SHOWN


# --- PASCAL VOC and SBD -----------------------------------------------------------------------------------


@pytest.mark.parametrize("place", [".", "VOCdevkit", "VOCdevkit/VOC2012"])
def test_voc_is_found_from_three_folders_and_sbd_beside_it(tmp_path, place):
    root = make_sets.voc2012_and_sbd(tmp_path) / place
    kind, found = recognise(root)
    assert (kind, found.resolve()) == (VOC2012, tmp_path / "VOCdevkit/VOC2012")
    assert split_names(root) == ["seg11valid", "train", "trainaug", "trainval", "val"]


@pytest.mark.parametrize("place", ["VOCdevkit", "VOCdevkit/VOC2012", "VOCdevkit/SBD"])
def test_sbd_is_found_where_people_keep_it(tmp_path, place):
    make_sets.voc2012(tmp_path)
    make_sets.sbd(tmp_path / place)
    assert "trainaug" in split_names(tmp_path)


def test_a_relative_path_finds_what_lies_beside_it(tmp_path, monkeypatch):
    make_sets.voc2012_and_sbd(tmp_path)
    monkeypatch.chdir(tmp_path / "VOCdevkit/VOC2012")
    assert len(open_dataset(".", "trainaug")) == 6


def test_trainaug_is_voc_train_and_all_of_sbd_without_voc_val(tmp_path):
    root = make_sets.voc2012_and_sbd(tmp_path)
    voc, sbd = make_sets.VOC_SPLITS, make_sets.SBD_SPLITS
    dataset = open_dataset(root, "trainaug")
    names = names_of(dataset)
    assert set(names) == {*voc["train"], *sbd["train"], *sbd["val"]} - set(voc["val"])
    assert len(names) == len(set(names)) == 6
    assert "2007_000042" not in names  # in VOC's val, and in SBD's
    kinds = {dataset.name(i): dataset.files(i)[1].suffix for i in range(6)}
    assert kinds["2007_000039"] == ".png"  # in VOC's train and in SBD's: VOC's own mask
    assert kinds["2008_000002"] == ".mat"
    image, _ = dataset.files(names.index("2008_000002"))
    assert image == tmp_path / "VOCdevkit/VOC2012/JPEGImages/2008_000002.jpg"


def test_trainaug_takes_photographs_of_sbd_where_voc_has_none(tmp_path):
    root = make_sets.sbd(make_sets.voc2012(tmp_path))
    dataset = open_dataset(root, "trainaug")
    image, _ = dataset.files(names_of(dataset).index("2008_000002"))
    assert image == tmp_path / "benchmark_RELEASE/dataset/img/2008_000002.jpg"


def test_trainaug_from_converted_masks_alone(tmp_path):
    root = make_sets.voc2012(tmp_path, only_images=("2008_000002", "2008_000003"))
    for name in ("2008_000002", "2008_000003", "2007_000033", "2007_000032"):
        put(tmp_path / f"VOCdevkit/VOC2012/SegmentationClassAug/{name}.png", np.full(make_sets.SIZE, 7))
    dataset = open_dataset(root, "trainaug")
    assert names_of(dataset) == [*make_sets.VOC_SPLITS["train"], "2008_000002", "2008_000003"]
    assert set(np.unique(dataset.read(3)[1])) == {7}
    assert dataset.files(0)[1].parent.name == "SegmentationClass"


def test_without_sbd_there_is_no_trainaug(tmp_path):
    root = make_sets.voc2012(tmp_path)
    assert "trainaug" not in split_names(root)
    assert "no split 'trainaug'" in str(problems_of(open_dataset, root, "trainaug"))


def test_seg11valid_is_the_list_of_the_paper_and_none_of_it_is_in_sbd_train(tmp_path):
    root = make_sets.voc2012_and_sbd(tmp_path)
    assert names_of(open_dataset(root, "seg11valid")) == ["2007_000033", "2007_000042"]
    assert set(shipped_list("seg11valid")).isdisjoint(make_sets.SBD_SPLITS["train"])
    make_sets.voc2012(tmp_path / "other", {"train": ("2007_000032",), "val": ("2007_000061_x",)})
    assert "seg11valid" not in split_names(tmp_path / "other")  # none of them is there


def test_validation_images_in_sbd_train_are_told(tmp_path):
    root = make_sets.voc2012_and_sbd(tmp_path)
    assert VOC2012.contradictions(tmp_path / "VOCdevkit/VOC2012") == []
    put_list(tmp_path / "benchmark_RELEASE/dataset/train.txt", ["2007_000033", "2008_000002"])
    assert verify(root).problems[-1].startswith("1 images of seg11valid are in ")


def test_a_mask_of_sbd_is_none_for_voc_val(tmp_path):
    root = make_sets.voc2012_and_sbd(tmp_path)
    (tmp_path / "VOCdevkit/VOC2012/SegmentationClass/2007_000042.png").unlink()
    error = problems_of(open_dataset, root, "val")
    assert len(error.problems) == 1
    assert "Segmentation/val.txt: 2007_000042: there is no SegmentationClass/2007_000042.png" in error.problems[0]
    dataset = open_dataset(root, "val", strict=False)
    assert names_of(dataset) == ["2007_000033"]
    assert len(dataset.loose) == 1
    assert "put the files where they belong" in str(error)


def test_lists_of_ones_own_are_splits_and_test_is_none(tmp_path):
    root = make_sets.voc2012(tmp_path)
    lists = tmp_path / "VOCdevkit/VOC2012/ImageSets/Segmentation"
    put_list(lists / "few.txt", ["2007_000039"])
    put_list(lists / "test.txt", ["2008_000006"])
    put_list(lists / "seg11valid.txt", ["2007_000033"])
    assert split_names(root) == ["few", "seg11valid", "train", "trainval", "val"]
    assert names_of(open_dataset(root, "few")) == ["2007_000039"]
    assert len(open_dataset(root, "seg11valid")) == 1  # the folder's own list comes first


def test_voc_without_lists_says_which_and_the_command_given_works(tmp_path):
    root = make_sets.voc2012(tmp_path)
    shutil.rmtree(tmp_path / "VOCdevkit/VOC2012/ImageSets")
    for name in (None, "voc2012"):
        error = problems_of(open_dataset, root, "val", name=name)
        assert "looks like PASCAL VOC 2012, but ImageSets/Segmentation/ is missing" in str(error)
    command = error.advice[0].partition("all in val: ")[2]
    subprocess.run(command, shell=True, check=True)
    assert split_names(root) == ["seg11valid", "val"]
    assert len(open_dataset(root, "val")) == 5


def test_voc_2010_with_context_in_it_is_not_taken_for_voc_2012(tmp_path):
    make_sets.voc2012(tmp_path, year="VOC2010")
    make_sets.pascal_context(tmp_path)
    assert recognise(tmp_path / "VOCdevkit/VOC2010")[0] is VOC2012  # with its masks alone it could be
    voc = tmp_path / "VOCdevkit/VOC2010"
    shutil.move(tmp_path / "trainval", voc)
    shutil.move(tmp_path / "labels.txt", voc)
    assert recognise(voc)[0] is PascalContext
    assert len(open_dataset(voc, "trainval")) == 3


def test_sbd_lists_its_splits_and_reads_converted_masks(tmp_path):
    root = make_sets.sbd(tmp_path)
    base = tmp_path / "benchmark_RELEASE/dataset"
    put_list(base / "train_noval.txt", ["2008_000002"])
    assert split_names(root) == ["train", "train_noval", "val"]
    assert split_names(base) == split_names(tmp_path / "benchmark_RELEASE/dataset", "sbd")
    mask = open_dataset(root, "train").read(0)[1]
    put(base / "cls/2008_000002.png", mask)
    assert open_dataset(root, "train").files(0)[1].suffix == ".png"
    assert (open_dataset(root, "train").read(0)[1] == mask).all()


# --- the others -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", [".", "VOCdevkit", "VOCdevkit/VOC2010", "VOCdevkit/VOC2010/pascal-context"])
def test_context_is_found_wherever_its_masks_lie(tmp_path, place):
    root = make_sets.pascal_context(tmp_path)
    if place != ".":
        (tmp_path / place).mkdir(exist_ok=True)
        shutil.move(tmp_path / "trainval", tmp_path / place)
        shutil.move(tmp_path / "labels.txt", tmp_path / place)
    assert len(open_dataset(root, "train", name="pascal-context")) == 2


def test_context_without_photographs_or_masks_says_so(tmp_path):
    make_sets.pascal_context(tmp_path)
    (tmp_path / "trainval").rename(tmp_path / "elsewhere")
    assert f"{tmp_path / 'trainval'}/ is missing" in str(problems_of(open_dataset, tmp_path, "train"))
    (tmp_path / "elsewhere").rename(tmp_path / "trainval")
    shutil.rmtree(tmp_path / "VOCdevkit")
    assert "VOC2010/ is missing" in str(problems_of(open_dataset, tmp_path, "train"))


def test_nyud_by_its_own_lists_and_by_the_published_division(tmp_path):
    with_lists = make_sets.nyudv2(tmp_path / "a")
    assert names_of(open_dataset(with_lists, "trainval")) == ["img_5003", "img_5004", "img_5010"]
    put_list(with_lists / "trainval.txt", ["5010"])
    assert names_of(open_dataset(with_lists, "trainval")) == ["img_5010"]
    without = make_sets.nyudv2(tmp_path / "b", lists=False)
    assert split_names(without) == ["test", "train", "trainval", "val"]
    assert names_of(open_dataset(without, "train")) == ["img_5003", "img_5004"]
    assert names_of(open_dataset(without, "test")) == ["img_5001", "img_5002"]
    (without / "segmentation/img_5003.mat").unlink()
    assert "image images/img_5003.png: there is no segmentation/img_5003.mat" in str(
        problems_of(open_dataset, without, "train")
    )
    for path in (without / "segmentation").glob("*"):
        path.rename(path.with_name(f"x{path.name}"))
    assert "has no split: no file in segmentation/ is called" in str(problems_of(open_dataset, without, "train"))


def test_siftflow_trainval_is_all_that_is_not_in_test_and_annotated(tmp_path):
    root = make_sets.siftflow(tmp_path, (*make_sets.SCENES, "highway_bost181", "street_urb506"))
    assert names_of(open_dataset(root, "trainval")) == ["coast_land111", "forest_for121"]
    assert names_of(open_dataset(root, "test")) == ["coast_arnat59", "street_par177"]
    put_list(root / "train.txt", ["forest_for121"])
    assert split_names(root) == ["test", "train", "trainval"]
    assert names_of(open_dataset(root, "train")) == ["forest_for121"]


def test_camvid_frames_are_divided_by_sequence(tmp_path):
    root = make_sets.camvid_original(tmp_path)
    assert names_of(open_dataset(root, "train")) == ["0001TP_006690", "0006R0_f00930", "0016E5_00390"]
    assert names_of(open_dataset(root, "val")) == ["0016E5_07959"]
    assert names_of(open_dataset(root, "test")) == ["0001TP_008550", "Seq05VD_f00000"]
    put_list(root / "train.txt", ["Seq05VD_f00000"])
    put_list(root / "val.txt", ["0016E5_00390.png"])
    assert split_names(root) == ["train", "val"]  # lists take precedence
    assert names_of(open_dataset(root, "train", name="camvid-32")) == ["Seq05VD_f00000"]
    own = make_sets.camvid_original(tmp_path / "own", ("frame1", "frame2"))
    assert "no name in 701_StillsRaw_full is of CamVid's sequences" in str(problems_of(open_dataset, own, "train"))
    (tmp_path / "LabeledApproved_full/0016E5_00390_L.png").unlink()
    assert "there is no LabeledApproved_full/0016E5_00390_L.png" in str(problems_of(open_dataset, root, "val"))


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("0016E5_07958", "train"),
        ("0016E5_07959", "val"),
        ("0016E5_08159", "val"),
        ("0016E5_08190", "train"),
        ("0001TP_008520", "train"),
        ("0001TP_008550", "test"),
        ("0006R0_f03930", "train"),
        ("Seq05VD_f05100", "test"),
        ("0016E5_x", None),
        ("other_1", None),
    ],
)
def test_the_rule_of_the_sequences(name, split):
    assert split_of(name) == split


def test_the_rule_is_that_of_the_segnet_authors():
    root = shared_data("camvid")
    for split, count in (("train", 367), ("val", 101)):
        names = [path.stem for path in (root / split).iterdir()]
        assert len(names) == count
        assert {split_of(name) for name in names} == {split}


def test_cityscapes_test_can_be_opened_but_is_in_no_check(tmp_path):
    splits = {**make_sets.STREETS, "test": ("berlin_000000_000019",)}
    root = make_sets.cityscapes(tmp_path, splits)
    assert split_names(root) == ["train", "val"]
    dataset = open_dataset(root, "test")
    assert names_of(dataset) == ["berlin_000000_000019"]
    assert set(np.unique(dataset.read(0)[1])) == {255}
    train = Cityscapes(root, "train")
    assert names_of(train) == list(make_sets.STREETS["train"])
    assert train.files(2)[0].parent.name == "bochum"


def test_cityscapes_names_half_pairs_and_missing_parts(tmp_path):
    root = make_sets.cityscapes(tmp_path)
    (root / "gtFine/train/aachen/aachen_000000_000019_gtFine_labelIds.png").unlink()
    error = problems_of(open_dataset, root, "train")
    assert "image leftImg8bit/train/aachen_000000_000019_leftImg8bit.png: there is no gtFine/train/aachen" in str(error)
    assert names_of(open_dataset(root, "train", strict=False)) == list(make_sets.STREETS["train"][1:])
    shutil.rmtree(root / "gtFine")
    assert "looks like Cityscapes, 19 classes, but gtFine/ is missing" in str(problems_of(open_dataset, root, "train"))


def test_keras_folders_of_any_split_and_of_any_name(tmp_path):
    root = make_sets.keras(tmp_path, {"train": ("a", "b"), "extra": ("c",)})
    assert split_names(root) == ["extra", "train"]
    assert len(open_dataset(root, "train").classes) == 5
    assert len(open_dataset(root, "train", num_classes=8).classes) == 8
    (root / "classes.toml").write_text('names = ["sky", "sea"]')
    assert open_dataset(root, "extra").classes.names == ("sky", "sea")
    (root / "classes.toml").unlink()
    images, masks = tmp_path / "photos", tmp_path / "labels"
    (root / "images_prepped_train").rename(images)
    (root / "annotations_prepped_train").rename(masks)
    dataset = KerasSegmentation.from_folders(images, masks)
    assert (names_of(dataset), len(dataset.classes), dataset.root) == (["a", "b"], 5, tmp_path)
    assert dataset.read(0)[0].shape == (*make_sets.SIZE, 3)
    (masks / "a.png").unlink()
    assert "photos/a.png has no mask" in str(problems_of(KerasSegmentation.from_folders, images, masks))


def test_keras_values_to_ignore_are_no_classes(tmp_path):
    mask = np.zeros(make_sets.SIZE)
    mask[0, :3] = 1, 2, 200
    root = make_sets.keras(tmp_path, {"train": ("a",)}, {"a": mask})
    assert "how many classes?" in str(problems_of(open_dataset, root, "train"))
    dataset = open_dataset(root, "train", ignore=(200,))
    assert len(dataset.classes) == 3
    assert dataset.read(0)[1][0, :3].tolist() == [1, 2, 255]


def test_classes_with_values_of_their_own_can_ignore_more(tmp_path):
    mask = np.full(make_sets.SIZE, 7)
    mask[0, 0] = 34  # of a later version of the label tool
    root = make_sets.cityscapes(tmp_path, {"train": ("a_0_0",)}, {"a_0_0": mask})
    assert "value 34 at (row 0, col 0) is none of this data set's" in str(
        problems_of(open_dataset(root, "train").read, 0)
    )
    assert open_dataset(root, "train", ignore=(34,)).read(0)[1][0, :2].tolist() == [255, 0]


@pytest.mark.parametrize("kind", [NYUDv2, SiftFlow, Cityscapes, VOC2012, PascalContext])
def test_opened_by_class_on_another_folder(tmp_path, kind):
    make_sets.folder(tmp_path)
    error = problems_of(kind, tmp_path, "train")
    assert "does not have the layout" in str(error)
    assert f"scratchfcn data {kind.about.name}" in str(error)


# --- real pictures ----------------------------------------------------------------------------------------


def test_real_voc_pictures_in_a_voc_tree(tmp_path):
    sample = shared_data("voc-sample")
    assert "ImageSets/Segmentation/ is missing" in str(problems_of(open_dataset, sample, "val"))
    voc = tmp_path / "VOCdevkit/VOC2012"
    (voc / "ImageSets/Segmentation").mkdir(parents=True)
    for folder in ("JPEGImages", "SegmentationClass"):
        (voc / folder).symlink_to(sample / folder)
    names = sorted(path.stem for path in (sample / "JPEGImages").iterdir())
    put_list(voc / "ImageSets/Segmentation/val.txt", names)
    dataset = open_dataset(tmp_path, "val")
    assert names_of(dataset) == names
    for i in range(len(dataset)):
        image, label = dataset.read(i)
        assert image.shape == (*label.shape, 3)
        assert set(np.unique(label).tolist()) <= {*range(21), 255}
        assert (label == read_label(sample / f"SegmentationClass/{names[i]}.png")).all()


def test_real_camvid_is_as_published():
    found = verify(shared_data("camvid"))
    assert found.problems == []
    assert [(split.name, split.pairs, split.published) for split in found.splits] == [
        ("train", 367, 367),
        ("val", 101, 101),
        ("test", None, 233),
    ]
    assert Path(found.root) == shared_data("camvid")
