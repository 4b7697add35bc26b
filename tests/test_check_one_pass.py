"""check_data: every problem of every split in one pass, and the likely cause deduced from all masks together."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_folders import H, W, classes_toml, folder, label, photograph, put
from PIL import Image, ImageDraw, ImageFilter
from shared_data import shared_data

from scratchfcn.data import Classes, DataError, check_data, check_splits, colourise, voc_palette
from scratchfcn.data.checking.palettes import fitting
from scratchfcn.data.checking.patterns import blurred, spread
from scratchfcn.data.checking.tally import Tally


def groups_of(found):
    return {(group.kind, group.problems[0].cause): group for group in found.groups}


def only_group(root, **options):
    found = check_data(root, **options)
    assert len(found.groups) == 1, [group.title for group in found.groups]
    return found.groups[0]


# --- one pass -----------------------------------------------------------------------------------------


def test_a_sound_set_is_sound_and_counted(tmp_path):
    folder(tmp_path, {"a": label(0, 1), "b": label(0, 0, 2, 255)})
    folder(tmp_path, {"c": label(1)}, split="val")
    seen = []
    found = check_data(tmp_path, progress=lambda *step: seen.append(step))
    assert found.sound
    assert (found.problems, found.groups) == ([], [])
    assert found.pairs == 3
    assert found.train.name == "train"
    assert len(found.classes) == 3
    assert found.splits["train"].histogram.pixels.tolist() == [H * W, H * W // 2, H * W // 4]
    assert seen == [("train", 1, 3), ("train", 2, 3), ("val", 3, 3)]


def test_a_split_whose_files_do_not_pair_up_is_looked_into_all_the_same(tmp_path):
    folder(tmp_path, {"a": label(0, 1), "b": label(0, 7)})
    (tmp_path / "images/train/a.png").rename(tmp_path / "images/train/aa.png")
    put(tmp_path / "masks/train/c.png", label(1))
    with pytest.raises(DataError) as error:
        check_splits(tmp_path, 2)
    assert [problem.splitlines()[0][:25] for problem in error.value.problems] == [
        "image train/aa.png has no",
        "mask train/a.png has no i",
        "mask train/c.png has no i",
        "masks/train/b.png: value ",
    ]


def test_a_file_may_have_several_problems_and_a_bad_image_hides_no_bad_mask(tmp_path):
    folder(tmp_path, {"a": label(0, 1), "b": label(9), "c": label(0, 9, size=(10, W))})
    put(tmp_path / "images/train/b.png", b"GIF87a nonsense")
    put(tmp_path / "images/train/c.png", photograph("c"))
    found = check_data(tmp_path, num_classes=2)
    kinds = [(problem.kind, problem.index) for problem in found.problems]
    assert kinds == [("unreadable", 1), ("values", 1), ("values", 2), ("size", 2)]


def test_a_split_that_cannot_be_opened_does_not_stop_the_others(tmp_path):
    folder(tmp_path, {"a": label(0, 1)})
    put(tmp_path / "images/val/b.png", photograph("b"))
    folder(tmp_path, {"c": label(5)}, split="test")
    found = check_data(tmp_path, num_classes=2)
    assert sorted((problem.kind, problem.split) for problem in found.problems) == [
        ("layout", "val"),
        ("values", "test"),
    ]
    assert list(found.splits) == ["test", "train"]


def test_no_split_at_all_can_be_opened(tmp_path):
    found = check_data(folder(tmp_path, {"a": label(0, 1)}), splits=["vall"])
    assert [problem.text for problem in found.problems] == [f"{tmp_path}: no split 'vall'; there are train"]
    assert (found.splits, found.classes, found.train) == ({}, None, None)


def test_a_data_set_of_empty_files(tmp_path):
    folder(tmp_path, {"a": b"", "b": b""})
    put(tmp_path / "images/train/a.png", b"")
    assert [problem.kind for problem in check_data(tmp_path).problems] == ["unreadable"] * 3


def test_an_unknown_folder_or_data_set_is_refused(tmp_path):
    with pytest.raises(DataError, match="no such folder"):
        check_data(tmp_path / "gone")
    with pytest.raises(DataError, match="did you mean camvid"):
        check_data(folder(tmp_path, {"a": label(1)}), name="camvit")


def test_threads_find_what_one_thread_finds(tmp_path):
    folder(tmp_path, {f"m{k}": label(0, k % 4, 77 if k % 5 == 0 else 1) for k in range(20)})
    texts = [[problem.text for problem in check_data(tmp_path, num_classes=4, workers=n).problems] for n in (0, 1, 5)]
    assert texts[0] == texts[1] == texts[2]
    assert len(texts[0]) == 4


def test_the_number_of_classes_is_found_in_all_splits_also_those_not_looked_into(tmp_path):
    folder(tmp_path, {"a": label(0, 1)})
    folder(tmp_path, {"b": label(0, 1, 2, 3)}, split="test")
    found = check_data(tmp_path, splits=["train"])
    assert list(found.splits) == ["train"]
    assert len(found.classes) == 4
    assert len(check_splits(tmp_path, splits=["train"])["train"][0].classes) == 4


def test_values_to_ignore_are_no_classes(tmp_path):
    folder(tmp_path, {"a": label(0, 1, 200)})
    found = check_data(tmp_path, ignore=[200])
    assert found.sound
    assert len(found.classes) == 2
    assert found.train.histogram.ignored == int((label(0, 1, 200) == 200).sum())


def test_255_that_is_said_to_be_ignored_is_no_binary_mask(tmp_path):
    folder(tmp_path, {"a": label(0, 255)})
    assert only_group(tmp_path).kind == "binary"
    assert check_data(tmp_path, ignore=[255]).sound


# --- files that are not what they seem -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "cause", "says"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs", "git lfs pull"),
        (b"\n <!DOCTYPE html><html>Sign in</html>", "web page", "login"),
        (b'{"message": "Not Found"}', "message", "server"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "heic", "JPEG or PNG"),
        (b"PK\x03\x04 and so on", "archive", "unpack"),
        (b"", "empty", "copy or download"),
        (bytes(5000), "zeros", "copy or download"),
        (b"hello", "no picture", "replace"),
    ],
)
@pytest.mark.parametrize("which", ["images", "masks"])
def test_what_a_file_really_is(tmp_path, content, cause, says, which):
    folder(tmp_path, {"a": label(0, 1), "b": label(0, 1)})
    put(tmp_path / which / "train/b.png", content)
    group = only_group(tmp_path)
    assert (group.kind, group.problems[0].cause) == ("unreadable", cause)
    assert says in " ".join([group.cause, *group.fixes])
    assert f"{which}/train/b.png" in group.problems[0].text


def test_files_cut_short(tmp_path):
    folder(tmp_path, {"a": label(0, 1), "b": label(0, 1)})
    file = io.BytesIO()
    Image.fromarray(photograph("b")).save(file, "JPEG")
    put(tmp_path / "images/train/b.png", file.getvalue()[:-200])
    group = only_group(tmp_path)
    assert group.problems[0].cause == "cut short"
    assert "interrupted" in group.cause


# --- masks: causes -------------------------------------------------------------------------------------


def palette_groups(tmp_path, palette, names):
    folder(tmp_path, {name: palette[mask] for name, mask in names.items()})
    return only_group(tmp_path)


def test_pictures_of_colours_and_whose_colours_they_are(tmp_path):
    masks = {"a": label(0, 15, 255), "b": label(0, 6)}
    group = palette_groups(tmp_path, voc_palette(), masks)
    assert (group.kind, group.repair, len(group.problems)) == ("colours", "colours", 2)
    assert "100.0% of the pixels have a colour of PASCAL VOC" in group.cause
    assert f"--data {tmp_path} --fix colours" in group.fixes[0]


def test_a_colour_picture_may_hold_nothing_but_greys(tmp_path):
    masks = {"a": label(0, 15, 255), "bus": label(0, 7)}  # VOC's bus is (128, 128, 128)
    group = palette_groups(tmp_path, voc_palette(), masks)
    assert [problem.text.split(": ")[0] for problem in group.problems] == [str(tmp_path / "masks/train/a.png")]
    found = check_data(tmp_path, num_classes=21)
    assert [(group.kind, group.repair) for group in found.groups] == [("colours", "colours"), ("values", "colours")]


def test_the_share_of_pixels_that_match_is_told(tmp_path):
    colours = voc_palette()[label(0, 15)]  # 24 x 32
    colours[0, :16] = 1, 2, 3  # 16 of 768 pixels
    folder(tmp_path, {"a": colours})
    assert "97.9% of the pixels" in only_group(tmp_path).cause


@pytest.mark.parametrize(
    ("name", "colours"),
    [
        ("camvid", [(60, 40, 222), (128, 0, 0), (0, 0, 0)]),
        ("camvid-32", [(0, 0, 192), (64, 128, 192), (128, 64, 128)]),
        ("cityscapes", [(244, 35, 232), (70, 70, 70), (0, 0, 0)]),
        ("voc2012", [(192, 128, 128), (64, 128, 0), (224, 224, 192)]),
        ("voc-256", [(0, 0, 0), (64, 64, 64), (224, 224, 192)]),
    ],
)
def test_known_palettes_are_told_apart(name, colours):
    counts = {r << 16 | g << 8 | b: 10 for r, g, b in colours}
    assert [palette.name for palette, _ in fitting(counts)] == [name]


def test_where_several_palettes_fit_each_is_offered(tmp_path):
    group = palette_groups(tmp_path, voc_palette(), {"a": label(0, 1)})  # black and dark red: everybody has them
    assert group.repair == ""
    assert [fix.split("--palette ")[1].split()[0] for fix in group.fixes] == ["voc2012", "camvid", "camvid-32"]


def test_the_colours_of_classes_toml_come_first(tmp_path):
    classes_toml(tmp_path, "road car", 'colours = ["#000000", "#800000"]')
    group = palette_groups(tmp_path, voc_palette(), {"a": label(0, 1)})
    assert "classes.toml" in group.cause
    assert group.repair == "colours"


def test_colours_of_nobody(tmp_path):
    folder(tmp_path, {"a": np.array([[10, 20, 30], [200, 1, 1]], np.uint8)[label(0, 0, 0, 1)]})
    group = only_group(tmp_path)
    assert "#0a141e (75.0%), #c80101 (25.0%)" in group.cause
    assert str(tmp_path / "classes.toml") in group.fixes[0]


def test_photographs_in_the_place_of_masks(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    folder(tmp_path, {"a": noise})
    assert "swapped" in only_group(tmp_path).cause


def test_a_palette_in_another_order(tmp_path):
    classes_toml(tmp_path, "sky road car", 'colours = ["#000000", "#0000ff", "#ff0000"]')
    good, bad = Image.fromarray(label(0, 1, 2)), Image.fromarray(label(0, 1, 2))
    good.putpalette([0, 0, 0, 0, 0, 255, 255, 0, 0])
    bad.putpalette([255, 0, 0, 0, 0, 0, 0, 0, 255])
    other = Image.fromarray(label(0, 1, 2))
    other.putpalette([9, 9, 9, 0, 0, 0, 0, 0, 255])  # colours of its own: nothing can be said
    folder(tmp_path, {"good": good, "bad": bad, "other": other})
    group = only_group(tmp_path)
    assert group.kind == "order"
    assert [problem.text.split(":")[0] for problem in group.problems] == ["masks/train/bad.png"]


def test_ids_that_count_from_one(tmp_path):
    folder(tmp_path, {"a": label(1, 2), "b": label(3)})
    group = only_group(tmp_path, num_classes=3)
    assert "count from 1 to 3" in group.cause
    assert group.repair == "offbyone"
    found = check_data(tmp_path)  # nobody says how many there are: 0..3 would do, but a 0 never occurs
    assert found.sound
    assert [group.kind for group in found.warnings] == ["from one"]


@pytest.mark.parametrize("void", [11, 200, 250])
def test_a_void_value_stands_alone(tmp_path, void):
    folder(tmp_path, {"a": label(0, 1, 2, void), "b": label(2, 1)})
    for options in ({"num_classes": 3}, {}):
        group = only_group(tmp_path, **options)
        assert f"{void} stands alone" in group.cause
        assert any(f"--ignore {void}" in fix for fix in group.fixes)
    assert check_data(tmp_path, ignore=[void]).sound


def test_one_value_too_many_may_be_three_things(tmp_path):
    folder(tmp_path, {"a": label(0, 1, 2)})
    group = only_group(tmp_path, num_classes=2)
    assert [fix.split(":")[0].split(",")[0] for fix in group.fixes] == [
        "if they mean 'not labelled'",
        "if {2} are classes",
        "if ids count from 1",
    ]


@pytest.mark.parametrize(
    ("values", "known", "expected"),
    [
        ((0, 85, 170, 255), None, "{0, 85, 170, 255} stand for 0..3"),
        ((0, 85, 170, 255), 4, "{0, 85, 170, 255} stand for 0..3"),
        ((0, 127, 255), 3, "{0, 127, 255} stand for 0..2"),
        ((0, 40, 80, 160), None, "{0, 40, 80, 120, 160} stand for 0..4"),
        ((0, 50, 100, 255), 3, "{0, 50, 100} stand for 0..2"),
    ],
)
def test_ids_that_were_spread_out_to_be_seen(tmp_path, values, known, expected):
    folder(tmp_path, {"a": label(*values), "b": label(*values[:2])})
    group = only_group(tmp_path, num_classes=known)
    assert expected in group.cause
    assert group.repair == "renumber"


@pytest.mark.parametrize("used", [[0, 1, 7], [0, 1, 2, 3], [0, 100], [0, 3, 7, 50], [5, 10, 15], [0, 90, 255 - 1], []])
def test_what_is_not_spread_out(used):
    pixels = np.zeros(256, np.int64)
    pixels[used] = 5
    assert spread(pixels, used) is None


@settings(max_examples=200, deadline=None)
@given(st.integers(3, 40), st.integers(2, 20), st.booleans(), st.randoms(use_true_random=False))
def test_spreading_is_undone_whichever_way_it_was_done(n, step, to_white, chance):
    """n ids spread over 0..255 or in steps, of which some that lie between may not occur: the same n come back."""
    if to_white:
        values = [round(i * 255 / (n - 1)) for i in range(n)]
        used = values[:-1]
    else:
        values = [i * step for i in range(n) if i * step < 255]
        between = values[2:-1]
        missing = chance.sample(between, len(between) // 2)
        used = [value for value in values if value not in missing]
    pixels = np.zeros(256, np.int64)
    pixels[used] = 1
    pixels[255] = to_white
    if len(used) < 3 - to_white or (not to_white and np.gcd.reduce(used) != step):
        return  # too little is left to recognise anything
    assert spread(pixels, used) == values


def test_a_binary_mask_with_another_white(tmp_path):
    folder(tmp_path, {"a": label(0, 128), "b": label(0)})
    group = only_group(tmp_path)
    assert "binary mask, in which 128 stands for the object" in group.cause
    assert group.repair == "renumber"


def test_black_and_white_with_blurred_edges(tmp_path):
    sharp = Image.new("L", (300, 200))
    ImageDraw.Draw(sharp).ellipse((50, 30, 220, 170), fill=255)
    soft = np.array(sharp.filter(ImageFilter.GaussianBlur(3)))
    folder(tmp_path, {"a": soft, "b": soft.copy()})
    assert blurred(np.bincount(soft.ravel(), minlength=256))
    for options in ({}, {"num_classes": 2}):
        group = only_group(tmp_path, **options)
        assert group.repair == "threshold"
        assert "edges" in group.cause
    many = np.full(256, 10)  # 150 classes, of which the background has most, and void
    many[150:], many[0], many[255] = 0, 20_000, 500
    assert not blurred(many)


def test_jpeg_masks(tmp_path):
    big = label(0, 255, 0, size=(64, 96))
    folder(tmp_path, {"a": Image.fromarray(big).convert("L")}, suffix=".jpg")
    put(tmp_path / "images/train/a.png", photograph("a", (64, 96)))
    group = only_group(tmp_path)
    assert (group.kind, group.repair) == ("jpeg", "threshold")
    put(tmp_path / "masks/train/a.jpg", label(0, 90, 200, size=(64, 96)))
    assert only_group(tmp_path).repair == ""


def test_masks_of_sixteen_bits(tmp_path):
    classes_toml(tmp_path, "a b c d")
    folder(tmp_path, {"a": label(0, 1, 2, 3).astype(np.uint16) * 257, "b": label(0, 1)})
    assert (only_group(tmp_path).problems[0].cause, only_group(tmp_path).repair) == ("bits", "bits")
    put(tmp_path / "masks/train/a.png", label(0, 1, 2, 3).astype(np.uint16) * 1000)
    assert "{0, 1000, 2000, 3000}" in only_group(tmp_path).cause
    put(tmp_path / "masks/train/a.png", label(26, 27).astype(np.uint16) * 1000 + 1)
    assert "_labelIds.png" in only_group(tmp_path).fixes[0]
    put(tmp_path / "masks/train/a.png", np.arange(H * W, dtype=np.uint16).reshape(H, W))
    assert "depth map" in only_group(tmp_path).cause


def test_sizes_that_differ_and_why(tmp_path):
    classes_toml(tmp_path, "a b")
    sizes = {"half": (H // 2, W // 2), "cropped": (H, W - 5), "turned": (W, H), "exif": (W, H), "odd": (17, 23)}
    folder(tmp_path, {name: label(0, 1, size=size) for name, size in sizes.items()})
    for name in sizes:
        put(tmp_path / f"images/train/{name}.png", photograph(name))
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "images/train/exif.png").unlink()
    put(tmp_path / "images/train/exif.jpg", photograph("exif", (W, H)), exif=exif)  # shown upright it is H x W
    found = groups_of(check_data(tmp_path))
    assert {cause: [p.text.split(":")[0] for p in found["size", cause].problems] for _, cause in found} == {
        "scaled": ["train/half", "train/odd"],
        "shape": ["train/cropped"],
        "turned": ["train/turned"],
        "exif": ["train/exif"],
    }
    assert found["size", "turned"].repair == ""
    assert "24×32" not in found["size", "exif"].problems[0].text.split("but")[0]


# --- classes and statistics ------------------------------------------------------------------------------


def test_classes_that_never_occur_and_worse(tmp_path):
    classes_toml(tmp_path, "road car bus tram")
    folder(tmp_path, {"a": label(0, 1)})
    folder(tmp_path, {"b": label(0, 2)}, split="val")
    found = check_data(tmp_path)
    assert found.sound
    assert [(group.kind, [p.text for p in group.problems]) for group in found.warnings] == [
        ("unlearnable", ["in val but not in train: bus"]),
        ("absent", ["not in train: bus, tram", "not in val: car, tram"]),
    ]


def test_mean_and_deviation_are_those_of_all_pixels(tmp_path):
    folder(tmp_path, {"a": label(0, 1), "b": label(0, 1, size=(40, 50))})
    mean, std = check_data(tmp_path).train.tally.mean_and_std()
    images = [photograph("train/a"), photograph("train/b", (40, 50))]
    pixels = np.concatenate([image.reshape(-1, 3) for image in images]) / 255
    np.testing.assert_allclose(mean, pixels.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(std, pixels.std(axis=0), rtol=1e-9)


def test_deviation_stays_exact_where_numbers_are_large():
    tally = Tally()
    tally.brightness[:, 200] = 10**13
    assert tally.mean_and_std()[1].tolist() == [0, 0, 0]  # in float64, E[x²] - E[x]² would not be 0
    tally.brightness[:, 202] = 10**13
    np.testing.assert_allclose(tally.mean_and_std()[0] * 255, 201)
    np.testing.assert_allclose(tally.mean_and_std()[1] * 255, 1)
    assert np.isnan(Tally().mean_and_std()[0]).all()


def test_inverse_frequency_weights_of_a_histogram(tmp_path):
    folder(tmp_path, {"a": label(0, 0, 0, 1)})
    np.testing.assert_allclose(
        check_data(tmp_path).train.histogram.inverse_frequency_weights(), [1 / (2 * 0.75), 1 / (2 * 0.25)]
    )


@pytest.mark.parametrize("values", [(0, 255), (0, 85, 170, 255), (1, 2, 3), (0, 128)])
def test_the_way_out_without_new_masks_works(tmp_path, values):
    folder(tmp_path, {"a": label(*values), "b": label(*values[::-1])})
    num_classes = 3 if values[0] == 1 else None
    fixes = only_group(tmp_path, num_classes=num_classes).fixes
    written = next(fix for fix in fixes if "classes.toml: " in fix).split("classes.toml: ")[1]
    (tmp_path / "classes.toml").write_text(written.replace("], values", "]\nvalues"))
    found = check_data(tmp_path)
    assert found.sound
    assert found.train.histogram.pixels.sum() == 2 * H * W
    assert found.train.histogram.ignored == 0
    assert check_splits(tmp_path)["train"][0].read(0)[1].max() == len(values) - 1


def test_published_classes_are_not_to_be_changed(tmp_path):
    put(tmp_path / "train/a.png", photograph("a"))
    put(tmp_path / "trainannot/a.png", label(0, 30, 11))
    assert only_group(tmp_path).fixes == ["if {30} mean 'not labelled': --ignore 30"]
    assert check_data(tmp_path, ignore=[30]).sound


def test_commands_to_paste_have_the_options_that_were_given(tmp_path):
    folder(tmp_path, {"a": label(0, 85, 170, 7)})
    fixes = only_group(tmp_path, name="folder", ignore=[7], num_classes=2).fixes
    assert fixes[0].startswith(f"scratchfcn check-data --data {tmp_path} --dataset folder --ignore 7 --fix renumber ")


def test_classes_with_values_of_their_own_are_counted_by_them():
    classes = Classes(("road", "car"), np.zeros((2, 3)), file_values=(7, 26), ignored_values=(0, 1))
    tally = Tally()
    tally.add_mask(3, np.bincount([7, 7, 26, 0, 255], minlength=256))
    histogram = tally.histogram(classes)
    assert (histogram.pixels.tolist(), histogram.ignored, histogram.images.tolist()) == ([2, 1], 2, [1, 1])
    assert tally.first[[7, 26, 9]].tolist() == [3, 3, -1]


@pytest.mark.slow
def test_camvid_is_sound_and_its_statistics_are_the_known_ones():
    found = check_data(shared_data("camvid"))
    assert found.sound
    assert found.warnings == []
    assert found.same == []  # its frames are neighbours, not duplicates
    known = [0.2793, 0.2017, 4.7865, 0.1490, 1.0, 0.4217, 3.8467, 1.9736, 0.7889, 6.3747, 8.8587]
    np.testing.assert_allclose(found.train.histogram.median_frequency_weights(), known, atol=5e-5)


def test_masks_of_voc_as_pictures_of_colours():
    root = shared_data("voc-sample")
    colours = {}
    for path in sorted((root / "SegmentationClass").glob("*.png")):
        picture = colourise(np.array(Image.open(path)), Classes.voc())
        for count, (r, g, b) in Image.fromarray(picture).getcolors():
            colours[r << 16 | g << 8 | b] = colours.get(r << 16 | g << 8 | b, 0) + count
    assert [(palette.name, share) for palette, share in fitting(colours)] == [("voc2012", 1.0)]
