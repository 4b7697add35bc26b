"""What the numbers and colours in published masks become: every mapping by values that were worked out by hand."""

import glob
import io
import sys
import warnings
from pathlib import Path

import make_sets
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from make_sets import put, put_mat
from PIL import Image

from scratchfcn.data import Classes, DataError, open_dataset
from scratchfcn.data.sets import SETS, Cityscapes, NYUDv2, PascalContext
from scratchfcn.data.sets import camvid_original as original
from scratchfcn.data.sets.colours import labels_of_colours, read_colours, read_numbers
from scratchfcn.data.sets.matfiles import _refuse_false_claims, as_bytes, read_mat
from scratchfcn.data.sets.nyudv2 import LOG_DEPTH_MEAN
from scratchfcn.data.sets.pascal_context import class_table
from scratchfcn.data.sets.sbd import read_sbd


def problems_of(call, *arguments, **options) -> DataError:
    with pytest.raises(DataError) as error:
        call(*arguments, **options)
    return error.value


def mask(*values, rest=0):
    """A mask with these values in its first row, and `rest` elsewhere."""
    full = np.full(make_sets.SIZE, rest)
    full[0, : len(values)] = values
    return full


def first_labels(dataset, count, i=0):
    return dataset.read(i)[1][0, :count].tolist()


# --- VOC and SBD -------------------------------------------------------------------------------------------


def test_voc_reads_indices_and_leaves_the_border_out(tmp_path):
    root = make_sets.voc2012(tmp_path, masks={"2007_000032": mask(0, 1, 15, 20, 255)})
    dataset = open_dataset(root, "train")
    assert Image.open(dataset.files(0)[1]).mode == "P"
    assert first_labels(dataset, 5) == [0, 1, 15, 20, 255]
    names, colours = dataset.classes.names, dataset.classes.colours
    assert (names[0], names[1], names[15], names[20]) == ("background", "aeroplane", "person", "tvmonitor")
    assert (colours[1].tolist(), colours[15].tolist(), colours[20].tolist()) == (
        [128, 0, 0],
        [192, 128, 128],
        [0, 64, 128],
    )


def test_sbd_reads_the_mask_in_the_struct(tmp_path):
    root = make_sets.sbd(tmp_path, masks={"2008_000002": mask(0, 1, 15, 20)})
    assert first_labels(open_dataset(root, "train"), 4) == [0, 1, 15, 20]
    path = tmp_path / "benchmark_RELEASE/dataset/cls/2008_000002.mat"
    put_mat(path, GTcls={"Segmentation": mask(0, 21).astype(np.uint8)})
    assert "value 21 at (row 0, col 1); this data set's are 0..20" in str(
        problems_of(open_dataset(root, "train").read, 0)
    )


def test_image_and_mask_of_different_size_are_told(tmp_path):
    root = make_sets.sbd(tmp_path, masks={"2008_000002": np.zeros((5, 4))})
    assert str(problems_of(open_dataset(root, "train").read, 0)) == "✗ img/2008_000002: image 32×24 but mask 4×5"


# --- PASCAL-Context ------------------------------------------------------------------------------------------


def test_context_maps_by_name_with_three_renamed(tmp_path):
    number = {line.partition(": ")[2]: int(line.partition(":")[0]) for line in make_sets.context_labels()}
    seen = ["accordion", "aeroplane", "tvmonitor", "bag", "wood", "table", "bedclothes", "cloth", "cabinet", "zebra"]
    masks = {"2008_000002": mask(*(number[name] for name in seen), rest=number["sky"])}
    dataset = open_dataset(make_sets.pascal_context(tmp_path, masks=masks), "train")
    assert first_labels(dataset, 11) == [0, 1, 20, 21, 59, 11, 52, 28, 26, 0, 50]
    names = dataset.classes.names
    assert len(names) == 60
    assert (names[0], names[11], names[28], names[50], names[52]) == (
        *("background", "diningtable", "clothes", "sky", "bedcloth"),
    )


def test_context_with_the_published_numbers(tmp_path):
    """Of the 459 lines, those of the task with their published numbers; what a mask of some of them becomes."""
    published = {2: "aeroplane", 397: "table", 19: "bedclothes", 80: "cloth", 44: "building", 360: "sky", 458: "wood"}
    told = ("aeroplane", "diningtable", "bedcloth", "clothes", "building", "sky", "wood")
    rest = [name for name in PascalContext.known_classes().names[1:] if name not in told]
    free = iter(sorted(set(range(1, 460)) - set(published)))
    lines = published | {next(free): name for name in rest}
    lines |= {number: f"other {number}" for number in range(1, 460) if number not in lines}
    path = tmp_path / "labels.txt"
    path.write_text("".join(f"{number}: {lines[number]}\n" for number in sorted(lines)))
    table = class_table(path)
    assert (table.shape, table.dtype) == ((460,), np.uint8)
    assert [int(table[n]) for n in (0, 2, 397, 19, 80, 44, 360, 458, 459)] == [0, 1, 11, 52, 28, 25, 50, 59, 0]
    assert sorted(set(table.tolist())) == list(range(60))


def test_context_says_what_is_wrong_with_its_list_of_names(tmp_path):
    root = make_sets.pascal_context(tmp_path)
    lines = make_sets.context_labels()
    (root / "labels.txt").write_text("\n".join(line for line in lines if "cloth" not in line))
    error = problems_of(open_dataset, root, "train")
    assert "2 of the 59 names are not in it: " in str(error)
    assert "bedclothes" in str(error)
    (root / "labels.txt").write_text("\n".join([*lines, "sixty"]))
    assert "line 63: 'sixty' is not 'number: name'" in str(problems_of(open_dataset, root, "train"))
    (root / "labels.txt").write_text("\n".join(lines))
    put_mat(root / "trainval/2008_000002.mat", LabelMap=mask(63).astype(np.uint16))
    assert "numbers 0..63, but labels.txt ends at 62" in str(problems_of(open_dataset(root, "train").read, 0))


# --- NYUDv2 ---------------------------------------------------------------------------------------------------


def test_nyud_labels_are_one_less_than_stored_and_nothing_is_void(tmp_path):
    root = make_sets.nyudv2(tmp_path, masks={"5003": mask(0, 1, 40)})
    dataset = open_dataset(root, "train")
    assert first_labels(dataset, 3) == [255, 0, 39]
    assert (dataset.classes.names[0], dataset.classes.names[39], len(dataset.classes)) == ("wall", "otherprop", 40)
    assert dataset.classes.to_file_values(np.array([[255, 0, 39]])).tolist() == [[0, 1, 40]]
    put_mat(root / "segmentation/img_5003.mat", segmentation=mask(41).astype(np.uint8))
    assert "value 41 at (row 0, col 0); this data set's are 0..40" in str(problems_of(dataset.read, 0))


def test_nyud_gives_three_descriptions_of_one_scene(tmp_path):
    dataset = open_dataset(make_sets.nyudv2(tmp_path), "train")
    assert isinstance(dataset, NYUDv2)
    assert (dataset.read(0)[0] == dataset.read_rgb(0)).all()
    assert (dataset.read_rgb(0) == make_sets.noise("5003")).all()
    assert (dataset.read_hha(0) == make_sets.noise("hha 5003")).all()
    other = open_dataset(tmp_path, "train", name="nyudv2-hha")
    assert (other.read(0)[0] == dataset.read_hha(0)).all()
    assert (other.read_rgb(0) == dataset.read_rgb(0)).all()
    assert (other.read(0)[1] == dataset.read(0)[1]).all()
    (tmp_path / "data/hha/img_5003.png").unlink()
    assert "img_5003.png: no such file" in str(problems_of(dataset.read_hha, 0))


def test_depth_is_the_logarithm_of_millimetres(tmp_path):
    root = make_sets.nyudv2(tmp_path)
    depth = np.full(make_sets.SIZE, 1000, np.uint16)
    depth[0, :3] = 1, 2550, 0
    Image.fromarray(depth).save(root / "data/depth/img_5003.png")
    found = open_dataset(root, "train").read_depth(0)
    assert (found.dtype, found.shape) == (np.float32, make_sets.SIZE)
    np.testing.assert_allclose(found[0, :4], [0.0, 7.84384864, LOG_DEPTH_MEAN, 6.90775528], rtol=1e-6)
    put(root / "data/depth/img_5003.png", make_sets.noise("colours"))
    assert "3 channels, but one number for each pixel" in str(problems_of(open_dataset(root, "train").read_depth, 0))


# --- SIFT Flow --------------------------------------------------------------------------------------------------


def test_both_maps_of_sift_flow(tmp_path):
    name = "coast_land111"
    root = make_sets.siftflow(tmp_path, masks={name: mask(0, 1, 33)}, geo={name: mask(-1, 1, 2, rest=3)})
    dataset = open_dataset(root, "trainval")
    assert first_labels(dataset, 3) == [255, 0, 32]
    geometric = open_dataset(root, "trainval", name="siftflow-geometric")
    assert first_labels(geometric, 4) == [255, 0, 1, 2]
    for opened in (dataset, geometric):
        image, things, surfaces = opened.read_both(0)
        assert (image == opened.read(0)[0]).all()
        assert things[0, :3].tolist() == [255, 0, 32]
        assert surfaces[0, :4].tolist() == [255, 0, 1, 2]
    assert geometric.classes.names == ("sky", "horizontal", "vertical")
    names = dataset.classes.names
    assert (len(names), names[0], names[27], names[32]) == (33, "awning", "sky", "window")


def test_what_no_test_image_shows_is_left_out_of_the_means(tmp_path):
    from scratchfcn.metrics import ConfusionMatrix

    classes = open_dataset(make_sets.siftflow(tmp_path), "test").classes
    assert classes.unscored == ("cow", "desert", "moon")
    left_out = [classes.names.index(name) for name in classes.unscored]
    assert left_out == [8, 10, 15]
    label = np.arange(33)[None]
    label[0, left_out] = 0  # absent from the truth …
    pred = np.arange(33)[None]  # … and predicted there
    scored, all_of_them = ConfusionMatrix(33, unscored=left_out), ConfusionMatrix(33)
    scored.update(pred, label)
    all_of_them.update(pred, label)
    assert scored.mean_iu == pytest.approx((29 + 1 / 4) / 30)
    assert all_of_them.mean_iu == pytest.approx((29 + 1 / 4) / 33)
    assert open_dataset(tmp_path, "test", name="siftflow-geometric").classes.unscored == ()


# --- CamVid -----------------------------------------------------------------------------------------------------


def test_original_camvid_in_31_classes(tmp_path):
    names = list(original.COLOURS)
    seen = mask(*(names.index(name) for name in ("Animal", "Void", "Wall", "Car")), rest=names.index("Sky"))
    root = make_sets.camvid_original(tmp_path, masks={"0016E5_07959": seen})
    path = root / "LabeledApproved_full/0016E5_07959_L.png"
    assert np.array(Image.open(path))[0, :4].tolist() == [[64, 128, 64], [0, 0, 0], [64, 192, 0], [64, 0, 128]]
    dataset = open_dataset(root, "val", name="camvid-32")
    assert first_labels(dataset, 5) == [0, 255, 30, 5, 21]
    assert len(dataset.classes) == 31
    assert "Void" not in dataset.classes.names
    assert dataset.classes.colours[5].tolist() == [64, 0, 128]


def test_original_camvid_in_11_classes(tmp_path):
    names = list(original.COLOURS)
    joined = {
        "Sky": 0, "Wall": 1, "Archway": 1, "TrafficCone": 2, "LaneMkgsNonDriv": 3, "ParkingBlock": 4,
        "VegetationMisc": 5, "TrafficLight": 6, "Fence": 7, "Truck_Bus": 8, "Train": 8, "Animal": 9,
        "CartLuggagePram": 9, "MotorcycleScooter": 10, "Void": 255,
    }  # fmt: skip
    seen = mask(*(names.index(name) for name in joined))
    root = make_sets.camvid_original(tmp_path, masks={"0016E5_07959": seen})
    dataset = open_dataset(root, "val")
    assert first_labels(dataset, len(joined)) == list(joined.values())
    assert dataset.classes.names == Classes.camvid().names


def test_every_colour_but_black_belongs_to_one_of_the_11_classes():
    members = [name for names in original.MEMBERS.values() for name in names]
    assert sorted([*members, "Void"]) == sorted(original.COLOURS)
    assert len(set(original.COLOURS.values())) == 32


def test_a_strange_colour_is_named_and_a_line_in_the_table_mends_it(tmp_path):
    root = make_sets.camvid_original(tmp_path)
    path = root / "LabeledApproved_full/0016E5_07959_L.png"
    colours = np.array(Image.open(path))
    colours[3, 5], colours[3, 6] = (65, 0, 128), (65, 0, 129)
    put(path, colours)
    error = problems_of(open_dataset(root, "val").read, 0)
    assert f"{path}: colour (65, 0, 128) at (row 3, col 5) is none" in str(error)
    assert "the nearest is (64, 0, 128) (2 of 768 pixels" in str(error)
    assert str(root / "label_colors.txt") in error.advice[0]
    (root / "label_colors.txt").write_text("64 0 128\tCar\r\n65 0 128\t\tVoid\n\n 65 0 129 Sky\n")
    assert open_dataset(root, "val").read(0)[1][3, 5:7].tolist() == [255, 0]
    assert open_dataset(root, "val", name="camvid-32").read(0)[1][3, 5:7].tolist() == [255, 21]
    for line in ("65 0 Void", "65 0 300 Void", "65 0 128 Zebra"):
        (root / "label_colors.txt").write_text(f"0 0 0 Void\n{line}")
        assert f"line 2: '{line}' is no colour" in str(problems_of(open_dataset, root, "val"))


@given(st.lists(st.tuples(*[st.integers(0, 255)] * 3), min_size=1, max_size=20, unique=True), st.data())
def test_colours_are_looked_up_exactly(colours, data):
    table = {colour: data.draw(st.integers(0, 255)) for colour in colours}
    picked = data.draw(st.lists(st.sampled_from(colours), min_size=6, max_size=6))
    found = labels_of_colours(np.array(picked, np.uint8).reshape(2, 3, 3), table, "a.png")
    assert (found.dtype, found.tolist()) == (np.uint8, [[table[c] for c in picked[:3]], [table[c] for c in picked[3:]]])
    other = data.draw(st.tuples(*[st.integers(0, 255)] * 3).filter(lambda colour: colour not in table))
    strange = np.array([*picked[:5], other], np.uint8).reshape(2, 3, 3)
    assert f"colour {other} at (row 1, col 2)" in str(problems_of(labels_of_colours, strange, table, "a.png"))


def test_colours_of_files_that_cannot_hold_any(tmp_path):
    Image.fromarray(make_sets.noise("a")).save(tmp_path / "a.jpg")
    assert "a JPEG cannot hold a mask" in str(problems_of(read_colours, tmp_path / "a.jpg"))
    Image.fromarray(np.zeros((2, 2), np.uint16)).save(tmp_path / "a.png")
    assert "more than 8 bits" in str(problems_of(read_colours, tmp_path / "a.png"))
    assert read_numbers(tmp_path / "a.png").dtype == np.uint16


# --- Cityscapes -----------------------------------------------------------------------------------------------


def test_cityscapes_ids_become_train_ids_and_ids_again(tmp_path):
    ids = [7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33]
    void = [0, 1, 2, 3, 4, 5, 6, 9, 10, 14, 15, 16, 18, 29, 30]
    assert sorted(ids + void) == list(range(34))
    name = "aachen_000000_000019"
    seen = np.zeros(make_sets.SIZE)
    seen[0, :19], seen[1, :15] = ids, void
    dataset = open_dataset(make_sets.cityscapes(tmp_path, masks={name: seen}), "train")
    label = dataset.read(0)[1]
    assert label[0, :19].tolist() == list(range(19))
    assert set(label[1].tolist()) == {255}
    back = dataset.classes.to_file_values(label)
    assert back[0, :19].tolist() == ids
    assert set(back[1].tolist()) == {0}  # void is "unlabeled" for the evaluation server
    assert (dataset.classes.from_file_values(back) == label).all()
    assert dataset.classes.names[13] == "car"
    assert dataset.classes.colours[18].tolist() == [119, 11, 32]


# --- keras_segmentation -----------------------------------------------------------------------------------------


def test_keras_takes_the_blue_channel_as_opencv_does(tmp_path):
    annotation = np.zeros((*make_sets.SIZE, 3), np.uint8)
    annotation[0, 0], annotation[0, 1], annotation[0, 2] = (9, 8, 1), (3, 3, 3), (2, 0, 0)  # RGB
    root = make_sets.keras(tmp_path, {"train": ("a",)})
    put(root / "annotations_prepped_train/a.png", annotation)
    dataset = open_dataset(root, "train")
    assert first_labels(dataset, 3) == [1, 3, 0]
    assert len(dataset.classes) == 4


def test_keras_reads_bmp_grey_palette_and_transparent_annotations(tmp_path):
    root = make_sets.keras(tmp_path, {"train": ("a",)})
    folder = root / "annotations_prepped_train"

    def label_of(picture, suffix):
        for path in folder.iterdir():
            path.unlink()
        picture.save(folder / f"a.{suffix}")
        return first_labels(open_dataset(root, "train", num_classes=200), 2)

    grey = Image.fromarray(mask(5, 2).astype(np.uint8))
    assert label_of(grey, "png") == [5, 2]
    assert label_of(grey.convert("RGB"), "bmp") == [5, 2]
    clear = grey.convert("RGBA")
    clear.putalpha(0)  # OpenCV drops the alpha channel; a photograph would be white there
    assert label_of(clear, "png") == [5, 2]
    indexed = grey.convert("P")
    indexed.putpalette([v for i in range(256) for v in (0, 0, 7 * i % 256)])
    assert label_of(indexed, "png") == [35, 14]  # not the index, but the blue that the palette shows for it


# --- there and back -------------------------------------------------------------------------------------------


@st.composite
def classes_with_values(draw):
    """Classes with values of their own, and some values that are ignored."""
    values = draw(st.lists(st.integers(0, 255), min_size=2, max_size=40, unique=True))
    K = draw(st.integers(1, len(values)))
    names = tuple(f"class {i}" for i in range(K))
    return Classes(names, np.zeros((K, 3)), file_values=values[:K], ignored_values=values[K:])


@given(classes_with_values(), st.data())
def test_file_values_and_labels_go_back_and_forth(classes, data):
    K = len(classes)
    label = np.array(data.draw(st.lists(st.sampled_from([*range(K), 255]), min_size=1, max_size=30)), np.uint8)
    stored = classes.to_file_values(label[None])
    again = classes.from_file_values(stored)
    assert (stored.dtype, again.dtype) == (np.uint8, np.uint8)
    for value, raw in zip(label.tolist(), stored[0].tolist(), strict=True):
        assert raw == (classes.file_values[value] if value < K else [*classes.ignored_values, 255][0])
    if 255 not in classes.file_values or classes.ignored_values:  # else there is no value left that could mean void
        assert (again == label).all()


@given(classes_with_values(), st.integers(0, 255))
def test_every_file_value_is_a_class_ignored_or_refused(classes, value):
    stored = np.full((2, 3), value, np.uint8)
    if value in classes.file_values:
        assert (classes.from_file_values(stored) == classes.file_values.index(value)).all()
    elif value in (*classes.ignored_values, 255):
        assert (classes.from_file_values(stored) == 255).all()
    else:
        error = problems_of(classes.from_file_values, stored)
        assert f"value {value} at (row 0, col 0) is none of this data set's" in str(error)


@given(st.integers(1, 255), st.lists(st.integers(0, 255), max_size=4), st.data())
def test_masks_of_ids_keep_what_is_not_ignored(K, ignored, data):
    classes = Classes.numbered(K)
    classes = Classes(classes.names, classes.colours, ignored_values=tuple(v for v in ignored if v >= K))
    stored = np.array([data.draw(st.lists(st.integers(0, 255), min_size=1, max_size=20))], np.uint8)
    label = classes.from_file_values(stored)
    assert label is not stored
    for raw, value in zip(stored[0].tolist(), label[0].tolist(), strict=True):
        assert value == (255 if raw in classes.ignored_values else raw)


@pytest.mark.parametrize("name", [name for name in SETS if SETS[name].known_classes() is not None])
def test_what_the_masks_of_a_set_hold_is_what_is_written_for_submission(tmp_path, name):
    root = make_sets.MAKERS[name](tmp_path)
    dataset = open_dataset(root, SETS[name].about.train, name=name)
    for view in dataset.views().values():
        label = view.read(0)[1]
        assert (view.classes.from_file_values(view.classes.to_file_values(label)) == label).all()


# --- MATLAB files ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["f8", "u1", "i2", "u2", "?", "i8"])
@pytest.mark.parametrize("compressed", [True, False])
def test_numbers_are_read_whatever_their_type(tmp_path, kind, compressed):
    from scipy.io import savemat

    numbers = np.array([[0, 1, 1], [1, 0, 1]]).astype(kind)
    savemat(tmp_path / "a.mat", {"S": numbers}, do_compression=compressed)
    found = read_mat(tmp_path / "a.mat", "S")
    assert found.dtype.kind in "iu"
    assert found.tolist() == [[0, 1, 1], [1, 0, 1]]


def test_version_4_and_structs_in_structs(tmp_path):
    from scipy.io import savemat

    savemat(tmp_path / "four.mat", {"S": np.array([[3.0, 4.0]])}, format="4")
    assert read_mat(tmp_path / "four.mat", "S").tolist() == [[3, 4]]
    put_mat(tmp_path / "a.mat", a={"b": {"c": np.array([[5, 6]], np.uint8), "d": "text"}})
    assert read_mat(tmp_path / "a.mat", "a", "b", "c").tolist() == [[5, 6]]
    for inside, says in ((("b", "x"), "no struct with a field 'x'"), (("b", "c", "d"), "no struct with a field 'd'")):
        assert says in str(problems_of(read_mat, tmp_path / "a.mat", "a", *inside))
    assert "'a.b.d' should be a table of numbers" in str(problems_of(read_mat, tmp_path / "a.mat", "a", "b", "d"))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (np.zeros((2, 2, 2)), "should be a table of numbers, but is an array of shape (2, 2, 2), float64"),
        (np.array([[0.5]]), "holds fractions or infinities"),
        (np.array([[np.nan]]), "holds fractions or infinities"),
        (np.array([[1j]]), "should be a table of numbers"),
        (np.zeros((0, 0)), "should be a table of numbers"),
        ("text", "should be a table of numbers"),
        ({"a": 1}, "is an array of shape (1, 1), a struct"),
    ],
)
def test_what_is_no_mask_is_refused(tmp_path, content, says):
    put_mat(tmp_path / "a.mat", S=content)
    error = problems_of(read_mat, tmp_path / "a.mat", "S")
    assert says in str(error)
    assert str(tmp_path / "a.mat") in str(error)


def test_files_that_are_none(tmp_path):
    path = tmp_path / "a.mat"
    assert "no such file" in str(problems_of(read_mat, path, "S"))
    path.touch()
    assert "the file is empty" in str(problems_of(read_mat, path, "S"))
    path.write_text("<!DOCTYPE html><html>404</html>" * 10)
    assert f"{path}: not a MATLAB file, or damaged" in str(problems_of(read_mat, path, "S"))
    path.write_bytes(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + bytes(512))
    assert "version 7.3" in str(problems_of(read_mat, path, "S"))
    put_mat(path, T=np.zeros((2, 2)), U=1)
    assert "has no variable 'S'; it holds T, U" in str(problems_of(read_mat, path, "S"))
    assert "damaged" in str(problems_of(read_mat, tmp_path, "S"))


def test_damage_anywhere_is_one_error_that_names_the_file(tmp_path):
    """Thousands of damaged files, none of which may end in anything else: no crash, no traceback, no great memory."""
    from scipy.io import savemat

    root = make_sets.sbd(tmp_path)
    whole = (root / "benchmark_RELEASE/dataset/cls/2008_000002.mat").read_bytes()
    path = tmp_path / "damaged.mat"
    savemat(path, {"GTcls": {"Segmentation": np.zeros((8, 8), np.uint8)}})  # not compressed, so headers are hit
    plain, rng = path.read_bytes(), np.random.default_rng(0)
    fine = unnamed = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for k in range(2000):
            content = bytearray(plain if k % 4 else whole)
            if k % 3 == 0:
                content = content[: rng.integers(1, len(content))]
            for place in rng.integers(0, len(content), rng.integers(1, 6)):
                content[place] = rng.integers(0, 256)
            path.write_bytes(content)
            try:
                read_sbd(path)
                fine += 1  # where the damage was in the text at the beginning
            except DataError as error:
                unnamed += str(path) not in str(error)
    assert unnamed == 0
    assert fine < 400


@pytest.mark.parametrize(
    ("at", "value", "says"),
    [
        (164, 2_000_000_000, "it claims 2000000000 elements"),  # columns of the struct
        (144, 3, None),  # its class: an object
        (144, 77, "there is no class 77"),
        (128, 53506, "a header says what cannot be"),  # a type that does not exist
        (132, 5_000_000, "a header says what cannot be"),  # longer than the file
    ],
)
def test_headers_that_would_lead_the_reader_astray(tmp_path, at, value, says):
    from scipy.io import savemat

    path = tmp_path / "a.mat"
    savemat(path, {"GTcls": {"Segmentation": np.zeros((8, 8), np.uint8)}})
    content = bytearray(path.read_bytes())
    content[at : at + 4] = value.to_bytes(4, "little")
    if says is None:
        _refuse_false_claims(bytes(content))
        return
    with pytest.raises(ValueError, match=says):
        _refuse_false_claims(bytes(content))
    path.write_bytes(content)
    assert says in str(problems_of(read_sbd, path))


def test_no_sound_file_of_matlabs_own_is_refused():
    """SciPy brings files that MATLAB itself wrote, of all versions and on machines of both orders of bytes."""
    import scipy.io

    paths = sorted(glob.glob(str(Path(scipy.io.__file__).parent / "matlab/tests/data/*.mat")))
    if not paths:
        pytest.skip("this SciPy came without its tests")
    sound = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for path in paths:
            content = Path(path).read_bytes()
            try:
                scipy.io.loadmat(io.BytesIO(content))
            except Exception:
                continue
            _refuse_false_claims(content)
            sound += 1
    assert sound > 50


def test_without_scipy_the_message_says_what_to_install(tmp_path, monkeypatch):
    root = make_sets.voc2012_and_sbd(tmp_path)
    for module in [name for name in sys.modules if name == "scipy" or name.startswith("scipy.")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "scipy", None)  # makes its import fail
    monkeypatch.setitem(sys.modules, "scipy.io", None)
    error = problems_of(open_dataset(root, "train", name="sbd").read, 0)
    assert "read with SciPy, which is not installed" in str(error)
    assert "pip install 'scratchfcn[mat]'" in str(error)
    assert open_dataset(root, "train").read(0)[1].shape == make_sets.SIZE  # VOC itself needs none


def test_bytes_within_limits():
    assert as_bytes(np.array([[0, 40]]), "a.mat", 0, 40).dtype == np.uint8
    assert "value -1 at (row 0, col 1)" in str(problems_of(as_bytes, np.array([[0, -1]]), "a.mat", 0, 40))
    assert "value 300" in str(problems_of(as_bytes, np.array([[300]]), "a.mat", 0, 255))


def test_cityscapes_classes_cover_every_id():
    classes = Cityscapes.known_classes()
    assert sorted((*classes.file_values, *classes.ignored_values)) == list(range(34))
