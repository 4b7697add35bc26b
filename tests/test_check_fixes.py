"""Corrected copies: each kind of repair gives a sound data set, and the originals stay as they are."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from made_folders import H, W, classes_toml, folder, label, photograph, put
from PIL import Image, ImageDraw, ImageFilter

from scratchfcn.data import (
    Classes,
    DataError,
    check_data,
    fix_copy,
    fix_masks,
    open_dataset,
    read_image,
    read_label,
    voc_palette,
)


def state(root: Path) -> dict[str, str]:
    """All files below a folder, with what they hold."""
    files = [path for path in sorted(root.rglob("*")) if path.is_file()]
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def blurred_disc(dx=0):
    picture = Image.new("L", (150, 100))
    ImageDraw.Draw(picture).ellipse((30 + dx, 20, 100 + dx, 80), fill=255)
    return picture.filter(ImageFilter.GaussianBlur(2))


def soft_folder(root):
    folder(root, {"a": blurred_disc(), "b": blurred_disc(20)})
    for name in "ab":
        put(root / f"images/train/{name}.png", photograph(name, (100, 150)))


def exif_folder(root):
    classes_toml(root, "a b c")
    folder(root, {"a": label(0, 1, 2), "small": label(0, 1, 2, size=(H // 2, W // 2))})
    put(root / "images/train/small.png", photograph("small"))
    put(root / "masks/train/turned.png", label(0, 1, 2))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by 90° clockwise
    put(root / "images/train/turned.png", photograph("turned"), exif=exif)


def doubled_folder(root):
    folder(root, {"a": label(0, 1), "b": label(0, 1)})
    folder(root, {"c": label(0, 1), "d": label(0, 1)}, split="val")
    put(root / "images/val/c.png", photograph("train/a"))


SPREAD = {"a": label(0, 85), "b": label(170, 255)}
CASES = {  # kind: how to make the data set, and what the first mask, a.png, should hold in the end
    "binary": (lambda root: folder(root, {"a": label(0, 255), "b": label(0)}), label(0, 1)),
    "colours": (lambda root: folder(root, {"a": voc_palette()[label(0, 15, 255)]}), label(0, 15, 255)),
    "offbyone": (lambda root: folder(root, {"a": label(1, 2, 255), "b": label(3)}), label(0, 1, 255)),
    "renumber": (lambda root: folder(root, SPREAD), label(0, 1)),
    "bits": (lambda root: folder(root, {"a": label(0, 2).astype(np.uint16) * 257, "b": label(1)}), label(0, 2)),
    "threshold": (soft_folder, (np.array(blurred_disc()) >= 128).astype(np.uint8)),
    "extension": (lambda root: folder(root, {"a": label(0, 1)}, suffix=".tif"), label(0, 1)),
    "sizes": (exif_folder, label(0, 1, 2)),
    "duplicates": (doubled_folder, label(0, 1)),
}
MASKS_ALONE = [kind for kind in CASES if kind != "duplicates"]


@pytest.mark.parametrize("kind", MASKS_ALONE)
def test_masks_fixed_takes_the_place_of_masks_and_is_sound(tmp_path, kind):
    make, expected = CASES[kind]
    make(tmp_path)
    before = state(tmp_path)
    if kind not in ("extension",):
        assert not check_data(tmp_path).sound or check_data(tmp_path).warnings
    fixed = fix_masks(tmp_path, [kind])
    assert fixed == tmp_path / "masks_fixed"
    assert {path: now for path, now in state(tmp_path).items() if not path.startswith("masks_fixed")} == before
    np.testing.assert_array_equal(read_label(fixed / "train/a.png"), expected)
    (tmp_path / "masks").rename(tmp_path / "old")
    fixed.rename(tmp_path / "masks")
    if (tmp_path / "masks/classes.toml").exists():
        (tmp_path / "masks/classes.toml").rename(tmp_path / "classes.toml")
    found = check_data(tmp_path)
    assert found.sound, found.problems
    assert not any(group.kind == "from one" for group in found.warnings)


@pytest.mark.parametrize("kind", CASES)
def test_a_whole_copy_is_sound(tmp_path, kind):
    make, expected = CASES[kind]
    root, target = tmp_path / "data", tmp_path / "copy"
    make(root)
    before = state(root)
    copy = fix_copy(root, target, [kind])
    assert (copy.folder, copy.left_out if kind != "duplicates" else []) == (target, [])
    assert state(root) == before
    found = check_data(target)
    assert found.sound, found.problems
    assert not any(group.kind == "from one" for group in found.warnings)
    np.testing.assert_array_equal(read_label(target / "masks/train/a.png"), expected)
    assert (target / "images/train/a.png").read_bytes() == (root / "images/train/a.png").read_bytes()
    assert found.classes == Classes.from_toml(target / "classes.toml")
    assert not [path for path in tmp_path.iterdir() if "partial" in path.name]


@pytest.mark.parametrize("kind", [kind for kind in CASES if kind not in ("offbyone", "extension", "sizes")])
def test_all_finds_the_repair_by_itself(tmp_path, kind):
    make, expected = CASES[kind]
    make(tmp_path / "data")
    copy = fix_copy(tmp_path / "data", tmp_path / "copy", ["all"])
    assert copy.kinds == (kind,)
    assert check_data(tmp_path / "copy").sound
    np.testing.assert_array_equal(read_label(tmp_path / "copy/masks/train/a.png"), expected)


def test_a_turned_mask_is_turned_as_its_image_is(tmp_path):
    exif_folder(tmp_path)
    fixed = fix_masks(tmp_path, ["sizes"])
    image, mask = read_image(tmp_path / "images/train/turned.png"), read_label(fixed / "train/turned.png")
    assert image.shape[:2] == mask.shape == (W, H)
    np.testing.assert_array_equal(mask, np.rot90(label(0, 1, 2), -1))  # clockwise, as the image is
    np.testing.assert_array_equal(image, np.rot90(photograph("turned"), -1))


def test_a_small_mask_is_enlarged_without_new_values(tmp_path):
    exif_folder(tmp_path)
    mask = read_label(fix_masks(tmp_path, ["sizes"]) / "train/small.png")
    assert mask.shape == (H, W)
    assert set(np.unique(mask)) == {0, 1, 2}


def test_what_nobody_can_turn_is_left_out_or_refused(tmp_path):
    root = folder(tmp_path / "data", {"a": label(0, 1), "b": label(0, 1, size=(W, H))})
    put(root / "images/train/b.png", photograph("b"))
    with pytest.raises(DataError, match="nothing says which way"):
        fix_masks(root, ["sizes"])
    assert not (root / "masks_fixed").exists()
    copy = fix_copy(root, tmp_path / "copy", ["sizes"])
    assert [problem.text.split(":")[0] for problem in copy.left_out] == ["train/b"]
    assert copy.pairs == {"train": 1}


def test_all_leaves_out_what_cannot_be_mended_and_names_it(tmp_path):
    root = folder(tmp_path / "data", {name: label(0, 255) for name in ("a", "b", "cut", "loose", "wide")})
    put(root / "images/train/cut.png", (root / "images/train/cut.png").read_bytes()[:-60])
    (root / "images/train/loose.png").unlink()
    put(root / "images/train/wide.png", photograph("wide", (H, W + 9)))
    copy = fix_copy(root, tmp_path / "copy", ["all"])
    assert copy.kinds == ("binary",)
    assert sorted(problem.kind for problem in copy.left_out) == ["size", "unpaired", "unreadable"]
    assert sorted(path.name for path in (tmp_path / "copy/masks/train").iterdir()) == ["a.png", "b.png"]
    copy = fix_copy(root, tmp_path / "more", ["all", "sizes"])
    assert copy.pairs == {"train": 3}


def test_duplicates_stay_in_the_split_to_train_on(tmp_path):
    doubled_folder(tmp_path / "data")
    copy = fix_copy(tmp_path / "data", tmp_path / "copy", ["duplicates"])
    assert copy.pairs == {"train": 2, "val": 1}
    assert [problem.text for problem in copy.left_out] == ["val/c.png: is in train as well (train/a.png)"]
    copy = fix_copy(tmp_path / "data", tmp_path / "other", ["extension"])
    assert (copy.pairs, copy.twice) == ({"train": 2, "val": 2}, 1)


def test_other_layouts_become_a_folder(tmp_path):
    root = tmp_path / "CamVid"
    put(root / "train/a.png", photograph("a"))
    put(root / "trainannot/a.png", label(0, 3, 11))
    put(root / "train/b.png", photograph("b"))
    put(root / "trainannot/b.png", label(0, 3, size=(H // 2, W // 2)))
    with pytest.raises(DataError, match="no masks to mend"):
        fix_masks(root, ["sizes"])
    fix_copy(root, tmp_path / "copy", ["sizes"])
    data = open_dataset(tmp_path / "copy", "train")
    assert data.classes.names == Classes.camvid().names
    np.testing.assert_array_equal(data.read(0)[1], label(0, 3, 255))
    assert data.classes.ignored_values == ()  # 11 has become 255 in the files


def test_classes_with_values_of_their_own_get_ids_and_a_list_without_values(tmp_path):
    classes_toml(tmp_path, "sea boat", "values = [0, 255]\nignore = [9]")
    folder(tmp_path, {"a": label(0, 255, 9, size=(H // 2, W // 2))})
    put(tmp_path / "images/train/a.png", photograph("a"))
    fixed = fix_masks(tmp_path, ["sizes"])
    assert set(np.unique(read_label(fixed / "train/a.png"))) == {0, 1, 255}
    assert Classes.from_toml(fixed / "classes.toml").file_values == ()
    assert Classes.from_toml(fixed / "classes.toml").names == ("sea", "boat")
    fix_copy(tmp_path, tmp_path / "copy", ["sizes"])
    assert check_data(tmp_path / "copy").sound


def test_values_given_by_hand(tmp_path):
    folder(tmp_path, {"a": label(0, 3, 50), "b": label(7, 3, 0)})
    np.testing.assert_array_equal(
        read_label(fix_masks(tmp_path, ["renumber"], values=[50, 0, 3, 7]) / "train/a.png"), label(1, 2, 0)
    )


def test_without_a_pattern_and_with_named_classes_a_person_must_say(tmp_path):
    classes_toml(tmp_path, "a b c")
    folder(tmp_path, {"a": label(0, 3, 50), "b": label(7, 3, 0)})
    with pytest.raises(DataError, match="4 values, but there are 3 classes"):
        fix_masks(tmp_path, ["renumber"])


def test_offbyone_turns_0_into_not_labelled(tmp_path):
    classes_toml(tmp_path, "a b")
    folder(tmp_path, {"a": label(0, 1, 2)})
    np.testing.assert_array_equal(read_label(fix_masks(tmp_path, ["offbyone"]) / "train/a.png"), label(255, 0, 1))


def test_offbyone_refuses_more_classes_than_there_are(tmp_path):
    classes_toml(tmp_path, "a b")
    folder(tmp_path, {"a": label(1, 2, 3)})
    with pytest.raises(DataError, match=r"holds \[1, 2, 3\]; this repair is for masks of 0..2 only"):
        fix_masks(tmp_path, ["offbyone"])


def test_a_few_pixels_of_no_colour_are_ignored_and_many_are_refused(tmp_path):
    colours = voc_palette()[label(0, 15)]
    colours[0, : W // 2] = 9, 9, 9  # 1 of 24 rows, half of it: 2%
    folder(tmp_path, {"a": colours})
    mask = read_label(fix_masks(tmp_path, ["colours"], palette="voc2012") / "train/a.png")
    assert (mask[0, : W // 2] == 255).all()
    assert (mask[1:] == label(0, 15)[1:]).all()
    colours[:2] = 9, 9, 9  # 8%
    put(tmp_path / "more/images/train/a.png", photograph("a"))
    put(tmp_path / "more/masks/train/a.png", colours)
    with pytest.raises(DataError, match=r"8% of the pixels have no colour of PASCAL VOC: #090909"):
        fix_masks(tmp_path / "more", ["colours"], palette="voc2012")


def test_which_palette_must_be_said_where_several_fit(tmp_path):
    folder(tmp_path, {"a": voc_palette()[label(0, 1)]})
    with pytest.raises(DataError, match="several palettes have the colours"):
        fix_masks(tmp_path, ["colours"])
    with pytest.raises(DataError, match="did you mean camvid-32"):
        fix_masks(tmp_path, ["colours"], palette="camvid32")
    fixed = fix_masks(tmp_path, ["colours"], palette="camvid")
    np.testing.assert_array_equal(read_label(fixed / "train/a.png"), label(255, 1))  # CamVid's void is black
    assert Classes.from_toml(fixed / "classes.toml").names == Classes.camvid().names


def test_greys_among_colours_and_palettes_in_another_order(tmp_path):
    classes_toml(tmp_path, "sky road car", 'colours = ["#000000", "#808080", "#ff0000"]')
    reordered = Image.fromarray(label(0, 1, 2))
    reordered.putpalette([255, 0, 0, 0, 0, 0, 128, 128, 128])
    own = Classes.from_toml(tmp_path / "classes.toml").colours
    folder(tmp_path, {"a": own[label(0, 1, 2)], "grey": own[label(0, 1)], "order": reordered, "ids": label(2, 1)})
    fixed = fix_masks(tmp_path, ["colours"]) / "train"
    np.testing.assert_array_equal(read_label(fixed / "a.png"), label(0, 1, 2))
    np.testing.assert_array_equal(read_label(fixed / "grey.png"), label(0, 1))
    np.testing.assert_array_equal(read_label(fixed / "order.png"), label(2, 0, 1))
    np.testing.assert_array_equal(read_label(fixed / "ids.png"), label(2, 1))


def test_jpeg_masks_that_are_black_and_white(tmp_path):
    mask = label(0, 255, 0, size=(96, 96))
    folder(tmp_path, {"a": mask}, suffix=".jpg")
    put(tmp_path / "images/train/a.png", photograph("a", (96, 96)))
    fixed = read_label(fix_masks(tmp_path, ["threshold"]) / "train/a.png")
    assert (fixed != mask // 255).mean() < 0.02


@pytest.mark.parametrize(
    ("kinds", "says"),
    [
        (["binari"], "did you mean binary"),
        (["binary", "offbyone"], "choose one"),
        ([], "nothing to mend is named"),
        (["duplicates"], "add --output-dir"),
        (["colours"], "no mask holds colours"),
        (["binary"], r"b.png: holds \[0, 1\]"),
    ],
)
def test_what_cannot_be_done_is_said_and_nothing_is_written(tmp_path, kinds, says):
    folder(tmp_path, {"a": label(0, 255), "b": label(0, 1)})
    with pytest.raises(DataError, match=says):
        fix_masks(tmp_path, kinds)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images", "masks"]


def test_nothing_is_overwritten(tmp_path):
    root = folder(tmp_path / "data", {"a": label(0, 255)})
    fix_masks(root, ["binary"])
    with pytest.raises(DataError, match="is there already"):
        fix_masks(root, ["binary"])
    (tmp_path / "copy").mkdir()
    with pytest.raises(DataError, match="is there already"):
        fix_copy(root, tmp_path / "copy", ["binary"])
    assert list((tmp_path / "copy").iterdir()) == []


def test_two_masks_that_would_get_one_name(tmp_path):
    folder(tmp_path, {"a": label(0, 1)})
    put(tmp_path / "masks/train/a.tif", label(1, 0))
    with pytest.raises(DataError, match=r"a.png and a.tif would both be written as a.png"):
        fix_masks(tmp_path, ["extension"])
    assert not (tmp_path / "masks_fixed").exists()


def test_wrong_options_are_told_before_anything_is_read(tmp_path, monkeypatch):
    from scratchfcn.data.checking import corrected

    monkeypatch.setattr(corrected, "check_data", None)
    root = folder(tmp_path / "data", {"a": label(0, 1)})
    for kinds in (["binari"], ["all", "size"], ["binary", "offbyone"], []):
        with pytest.raises(DataError, match="--fix"):
            fix_copy(root, tmp_path / "copy", kinds)


def test_what_is_wrong_and_not_to_be_mended_stops_a_copy(tmp_path):
    classes_toml(tmp_path / "data", "a b")
    root = folder(tmp_path / "data", {"a": label(0, 1, 7), "b": label(0, 1)})
    with pytest.raises(DataError, match="value 7") as error:
        fix_copy(root, tmp_path / "copy", ["all"])
    assert "--ignore 7" in str(error.value)
    assert not (tmp_path / "copy").exists()
    copy = fix_copy(root, tmp_path / "copy", ["all"], ignore=[7])
    assert copy.kinds == ("extension",)
    np.testing.assert_array_equal(read_label(tmp_path / "copy/masks/train/a.png"), label(0, 1, 255))


def test_a_failure_half_way_leaves_nothing_behind(tmp_path, monkeypatch):
    from scratchfcn.data.checking import corrected

    root = folder(tmp_path / "data", {"a": label(0, 255), "b": label(0, 255)})

    def full(source, target):
        raise OSError(28, "No space left on device", str(target))

    monkeypatch.setattr(corrected.shutil, "copy2", full)
    with pytest.raises(OSError, match="No space left"):
        fix_copy(root, tmp_path / "copy", ["binary"])
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_a_split_of_which_nothing_would_be_left(tmp_path):
    root = folder(tmp_path / "data", {"a": label(0, 255)})
    folder(root, {"b": label(0, 255)}, split="val")
    put(root / "images/val/b.png", b"")
    with pytest.raises(DataError, match="val: no pair would be left"):
        fix_copy(root, tmp_path / "copy", ["binary"])
    assert fix_copy(root, tmp_path / "copy", ["binary"], splits=["train"]).pairs == {"train": 1}
