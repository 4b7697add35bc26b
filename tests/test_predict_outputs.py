"""The files of a prediction: what is in them, that they are whole, and whose they are."""

import math

import numpy as np
import pytest
from PIL import Image
from prediction_tools import fcn, noise, tiny

from scratchfcn.data import Classes, colourise, overlay, read_label
from scratchfcn.data.pictures import with_legend
from scratchfcn.prediction import FILES, Outputs, Predictor, mark_of, outputs
from scratchfcn.prediction.heat import beside, colour_table, heat_map, round_top
from scratchfcn.prediction.outputs import read_mark
from scratchfcn.training import SettingError, load_network

COLOURS = np.array([[200, 0, 0], [0, 200, 0], [0, 0, 200]])
CLASSES = Classes(("road", "car", "sky"), COLOURS)


def write(tmp_path, kinds=tuple(FILES), size=(20, 30), classes=CLASSES, **options):
    """(outputs, image, label, predictor) of an image that has been written."""
    predictor = Predictor(tiny(dropout=0.3), mc_dropout=3)
    image = noise(*size)
    made = Outputs(tmp_path / "out", kinds, classes, "mark", **options)
    label = made.write("a", image, predictor.bands(image))
    return made, image, label, predictor


def pixels(path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.array(picture.convert("RGB"))


def test_each_kind_holds_what_it_says(tmp_path) -> None:
    made, image, label, predictor = write(tmp_path, alpha=0.25)
    (band,) = predictor.bands(image)
    np.testing.assert_array_equal(label, band.label())
    paths = made.paths("a")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {path.name for path in paths.values()}
    assert len(paths) == 7
    np.testing.assert_array_equal(read_label(paths["mask.png"]), label)
    np.testing.assert_array_equal(pixels(paths["overlay.png"])[:20, :30], overlay(image, label, CLASSES, 0.25))
    side = pixels(paths["side.png"])
    np.testing.assert_array_equal(side[:20, :30], image)
    np.testing.assert_array_equal(side[:20, 38:68], colourise(label, CLASSES))
    with np.load(paths["probs.npz"], allow_pickle=False) as file:
        np.testing.assert_array_equal(file["probs"], band.probabilities.astype(np.float16))
        assert file["classes"].tolist() == ["road", "car", "sky"]
    with np.load(paths["uncertainty.npz"], allow_pickle=False) as file:
        for name, values in zip(("entropy", "mutual_information", "variance"), band.uncertainty, strict=True):
            np.testing.assert_array_equal(file[name], values)
    assert pixels(paths["uncertainty.png"]).shape[0] > 20


def test_ids_are_the_data_set_s_own_values(tmp_path) -> None:
    """Cityscapes' way: class 0 is 7 in files. Sets whose files hold the ids keep them."""
    there = Classes(("road", "car", "sky"), COLOURS, file_values=(7, 26, 23))
    made, _, label, _ = write(tmp_path, ["ids", "mask"], classes=there)
    with Image.open(made.paths("a")["ids.png"]) as picture:
        assert picture.mode == "L"
        np.testing.assert_array_equal(np.array(picture), np.array([7, 26, 23], np.uint8)[label])
    np.testing.assert_array_equal(read_label(made.paths("a")["mask.png"]), label)
    made, _, label, _ = write(tmp_path / "plain", ["ids"])
    np.testing.assert_array_equal(read_label(made.paths("a")["ids.png"]), label)


# --- legends ----------------------------------------------------------------------------------------------


def swatches(strip: np.ndarray) -> set[int]:
    """Which classes' colours are to be seen in a legend."""
    return {i for i, colour in enumerate(COLOURS) if (strip == colour).all(axis=2).sum() > 50}


def test_a_legend_lies_beneath_and_names_the_classes_that_occur(tmp_path) -> None:
    made, _, label, _ = write(tmp_path, ["overlay"])
    label = np.zeros((20, 30), np.uint8)
    label[5:] = 2
    picture = made.explained(np.full((20, 30, 3), 99, np.uint8), label)
    assert (picture[:20, :30] == 99).all()
    assert swatches(picture[20:]) == {0, 2}
    everything = Outputs(tmp_path, ["overlay"], CLASSES, "", all_classes=True)
    assert swatches(everything.explained(np.full((20, 30, 3), 99, np.uint8), label)[20:]) == {0, 1, 2}
    without = Outputs(tmp_path, ["overlay"], CLASSES, "", legend=False)
    assert without.explained(np.full((20, 30, 3), 99, np.uint8), label).shape == (20, 30, 3)


def test_a_legend_grows_with_large_pictures_and_is_not_cut_off_under_narrow_ones() -> None:
    small, large = (with_legend(np.zeros((4, W, 3), np.uint8), CLASSES) for W in (400, 4000))
    assert large.shape[1] == 4000
    assert len(large) - 4 > 2 * (len(small) - 4)
    narrow = with_legend(np.zeros((4, 5, 3), np.uint8), Classes(("a very long name", "b"), COLOURS[:2]))
    assert narrow.shape[1] > 100
    assert (narrow[:4, :5] == 0).all()
    assert (narrow[:4, 5:] == 255).all()


def test_ignored_pixels_have_a_name_too() -> None:
    sheet = with_legend(np.zeros((4, 300, 3), np.uint8), CLASSES, [1, 255])
    assert (sheet[4:] == [224, 224, 192]).all(axis=2).sum() > 50


# --- maps of numbers ----------------------------------------------------------------------------------------


def test_a_heat_map_runs_from_black_to_bright_and_keeps_every_pixel() -> None:
    values = np.array([[0.0, 0.5, 1.0, 7.0]])
    picture, table = heat_map(values, 1.0, "t", "1"), colour_table()
    np.testing.assert_array_equal(picture[0, :4], table[[0, 128, 255, 255]])
    brightness = table.astype(float) @ [0.299, 0.587, 0.114]
    assert (np.diff(brightness) > -1).all()
    assert picture.shape[1] > 100  # the words have room
    bar = picture[-16]  # through the scale: it holds the colours from one end to the other
    for colour in table[[1, 128, 254]]:
        assert abs(bar.astype(int) - colour).sum(axis=1).min() < 12


@pytest.mark.parametrize(("largest", "top"), [(0.0, 0.01), (0.031, 0.05), (0.05, 0.05), (0.6, 1.0), (1.2, 2.0)])
def test_a_scale_ends_at_a_round_number(largest, top) -> None:
    assert round_top(np.full((30, 40), largest, np.float32)) == pytest.approx(top)


def test_the_uncertainty_picture_says_its_unit_in_the_network_s_terms() -> None:
    maps = np.zeros((3, 40, 300), np.float32)
    maps[0], maps[1] = math.log(3), 0.04
    picture = outputs.uncertainty_picture(maps, 3)
    assert (picture[0, 0] == colour_table()[255]).all()  # all of ln 3
    assert abs(picture[0, -1].astype(int) - colour_table()[204]).max() <= 8  # 0.04 of 0.05


def test_pictures_beside_each_other() -> None:
    sheet = beside(np.zeros((3, 2, 3), np.uint8), np.ones((5, 4, 3), np.uint8))
    assert sheet.shape == (5, 14, 3)
    assert (sheet[3:, :2] == 255).all()
    assert (sheet[:, 10:] == 1).all()


# --- whole, and whose ---------------------------------------------------------------------------------------


def test_a_picture_is_finished_when_all_its_files_are_there(tmp_path) -> None:
    made, *_ = write(tmp_path, ["mask", "uncertainty"])
    assert made.finished("a")
    assert not made.finished("b")
    made.paths("a")["uncertainty.png"].unlink()
    assert not made.finished("a")


def test_files_carry_the_run_s_mark_and_others_are_refused(tmp_path) -> None:
    made, *_ = write(tmp_path)
    assert {read_mark(path) for path in made.paths("a").values()} == {"mark"}
    with pytest.raises(SettingError, match="other weights or options"):
        Outputs(tmp_path / "out", ["mask"], CLASSES, "another").finished("a")
    Image.new("L", (3, 3)).save(tmp_path / "out" / "b_mask.png")
    (tmp_path / "out" / "c_probs.npz").write_bytes(b"PK")
    for name in ("b", "c"):
        with pytest.raises(SettingError, match=f"{name}_"):
            made.finished(name)


def test_the_mark_depends_on_weights_and_on_all_that_changes_numbers(tmp_path) -> None:
    one, two = fcn(tmp_path, name="one"), fcn(tmp_path, name="three")
    network = load_network(one)
    settings = [
        {},
        {"window": (8, 8)},
        {"window": (8, 8), "overlap": 0.5},
        {"scales": (1, 2)},
        {"flip": True},
        {"mc_dropout": 2},
        {"mc_dropout": 2, "seed": 1},
    ]
    marks = [mark_of(one, Predictor(network, **kwargs)) for kwargs in settings]
    marks.append(mark_of(two, Predictor(network)))
    network.size = None
    marks.append(mark_of(one, Predictor(network)))
    assert len(set(marks)) == len(marks)
    network.size = (24, 32)
    assert mark_of(one, Predictor(network, overlap=0.5)) == marks[0]  # without windows it means nothing


def test_a_failing_disk_leaves_no_half_of_a_file(tmp_path, monkeypatch) -> None:
    def fail(path, *args):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(outputs, "save_picture", fail)
    with pytest.raises(OSError, match="No space left"):
        write(tmp_path, ["mask", "overlay"])
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a_mask.png"]


def test_arrays_too_large_for_memory_are_put_together_in_a_file(tmp_path, monkeypatch) -> None:
    made, image, _, predictor = write(tmp_path)
    monkeypatch.setattr(outputs, "IN_MEMORY", 100)
    again = Outputs(tmp_path / "again", tuple(FILES), CLASSES, "mark")
    again.write("a", image, predictor.bands(image))
    assert isinstance(again.large((200,), np.uint8), np.memmap)
    assert {p.name for p in (tmp_path / "again").iterdir()} == {p.name for p in made.paths("a").values()}
    for part in ("probs.npz", "uncertainty.npz"):
        with np.load(made.paths("a")[part]) as one, np.load(again.paths("a")[part]) as two:
            for key in one.files:
                np.testing.assert_array_equal(one[key], two[key])
