"""Every kind of file that people have, read as the two plain arrays that everything else relies on."""

import io
import pickle
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from shared_data import shared_data

from scratchfcn.data import Classes, DataError, list_images, read_image, read_label, voc_palette
from scratchfcn.data.palette import CAMVID, VOC_NAMES

GREY = np.array([[0, 100, 255], [7, 8, 9]], np.uint8)  # (2, 3)
COLOUR = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3) * 14


def save(tmp_path, array, name="x.png", mode=None, **options):
    picture = array if isinstance(array, Image.Image) else Image.fromarray(array)
    path = tmp_path / name
    (picture.convert(mode) if mode else picture).save(path, **options)
    return path


def palette_picture(indices):
    picture = Image.fromarray(indices)
    picture.putpalette(voc_palette().tobytes())
    return picture


# --- images ----------------------------------------------------------------------------------------


def test_rgb_is_read_as_it_is(tmp_path):
    image = read_image(save(tmp_path, COLOUR))
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, COLOUR)
    image[0, 0] = 1  # writeable: transforms may work in place


def test_grey_and_one_bit_become_three_equal_channels(tmp_path):
    np.testing.assert_array_equal(read_image(save(tmp_path, GREY)), np.stack([GREY] * 3, axis=2))
    bits = read_image(save(tmp_path, Image.fromarray(GREY > 50), "bits.png"))
    np.testing.assert_array_equal(bits[:, :, 0], [[0, 255, 255], [0, 0, 0]])
    assert bits.shape == (2, 3, 3)


def test_transparent_pixels_show_white(tmp_path):
    alpha = np.array([[0, 255, 128], [255, 255, 255]], np.uint8)
    image = read_image(save(tmp_path, np.dstack([COLOUR, alpha])))
    assert image[0, 0].tolist() == [255, 255, 255]
    assert image[0, 1].tolist() == COLOUR[0, 1].tolist()
    half = (COLOUR[0, 2] * (128 / 255) + 255 * (127 / 255)).round()
    np.testing.assert_allclose(image[0, 2], half, atol=1)
    grey = read_image(save(tmp_path, Image.fromarray(np.dstack([GREY, alpha]), "LA"), "la.png"))
    assert grey[0, 0].tolist() == [255, 255, 255]
    assert grey[1, 2].tolist() == [9, 9, 9]


def test_palette_colours_are_looked_up_with_and_without_transparency(tmp_path):
    indices = np.array([[0, 15]], np.uint8)
    path = save(tmp_path, palette_picture(indices))
    np.testing.assert_array_equal(read_image(path)[0], voc_palette()[[0, 15]])
    path = save(tmp_path, palette_picture(indices), "t.png", transparency=0)
    np.testing.assert_array_equal(read_image(path)[0], [[255, 255, 255], voc_palette()[15]])


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_are_scaled_not_clipped(tmp_path, suffix):
    values = np.array([[0, 255, 257, 32768, 65535]], np.uint16)
    image = read_image(save(tmp_path, values, f"x.{suffix}"))
    assert image[0, :, 0].tolist() == [0, 1, 1, 128, 255]
    wide = read_image(save(tmp_path, values.astype(np.int32), "i.tif"))
    assert wide[0, :, 0].tolist() == [0, 1, 1, 128, 255]


def test_values_without_a_range_are_refused(tmp_path):
    with pytest.raises(DataError, match="floating-point"):
        read_image(save(tmp_path, np.ones((2, 2), np.float32), "f.tif"))
    with pytest.raises(DataError, match=r"values 0\.\.70000"):
        read_image(save(tmp_path, np.array([[0, 70000]], np.int32), "i.tif"))


def test_cmyk(tmp_path):
    picture = Image.new("CMYK", (4, 4), (0, 255, 255, 0))  # no cyan: red
    image = read_image(save(tmp_path, picture, "x.tif"))
    assert image[0, 0].tolist() == [255, 0, 0]


def upright_and_stored(orientation):
    """An upright grey picture, and the way a camera that was held so would have stored it."""
    upright = np.arange(6, dtype=np.uint8).reshape(2, 3) * 40
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.T,
        6: upright.T[::-1],  # turn the file clockwise to see it upright
        7: upright.T[::-1, ::-1],
        8: upright.T[:, ::-1],
    }[orientation]
    return upright, np.ascontiguousarray(stored)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_all_orientations_are_turned_upright_for_images_and_masks_alike(tmp_path, orientation):
    upright, stored = upright_and_stored(orientation)
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path, stored, exif=exif)
    np.testing.assert_array_equal(read_image(path)[:, :, 0], upright)
    np.testing.assert_array_equal(read_label(path), upright)


# --- labels ----------------------------------------------------------------------------------------


def test_palette_masks_are_read_as_indices(tmp_path):
    np.testing.assert_array_equal(read_label(save(tmp_path, palette_picture(GREY))), GREY)
    path = save(tmp_path, palette_picture(GREY), "t.png", transparency=0)
    np.testing.assert_array_equal(read_label(path), GREY)


def test_grey_one_bit_and_sixteen_bit_masks(tmp_path):
    np.testing.assert_array_equal(read_label(save(tmp_path, GREY)), GREY)
    assert read_label(save(tmp_path, Image.fromarray(GREY > 50), "b.png")).tolist() == [[0, 1, 1], [0, 0, 0]]
    for dtype, name in [(np.uint16, "w.png"), (np.int32, "i.tif"), (np.float32, "f.tif")]:
        label = read_label(save(tmp_path, GREY.astype(dtype), name))
        assert label.dtype == np.uint8
        np.testing.assert_array_equal(label, GREY)


def test_grey_with_alpha_keeps_its_ids(tmp_path):
    both = np.dstack([GREY, np.full_like(GREY, 9)])
    np.testing.assert_array_equal(read_label(save(tmp_path, Image.fromarray(both, "LA"))), GREY)


def test_ids_beyond_a_byte_are_refused_with_their_place(tmp_path):
    values = np.array([[0, 0, 0], [0, 300, 0]], np.uint16)
    with pytest.raises(DataError, match=r"w\.png: value 300 at \(row 1, col 1\)"):
        read_label(save(tmp_path, values, "w.png"))
    with pytest.raises(DataError, match="fractions"):
        read_label(save(tmp_path, np.array([[0.5]], np.float32), "f.tif"))
    with pytest.raises(DataError, match="value nan"):
        read_label(save(tmp_path, np.array([[np.nan]], np.float32), "n.tif"))


def test_colours_are_no_ids_unless_the_channels_are_equal(tmp_path):
    with pytest.raises(DataError, match=r"6 of them: \(0, 14, 28\)") as error:
        read_label(save(tmp_path, COLOUR))
    assert "fix: save it as a grey or palette PNG" in str(error.value)
    equal = np.dstack([GREY, GREY, GREY])
    np.testing.assert_array_equal(read_label(save(tmp_path, equal)), GREY)
    np.testing.assert_array_equal(read_label(save(tmp_path, np.dstack([equal, GREY // 2]))), GREY)


def test_a_jpeg_is_no_mask(tmp_path):
    with pytest.raises(DataError, match="compression changes the numbers"):
        read_label(save(tmp_path, GREY, "x.jpg"))


def test_voc_masks_hold_classes_of_voc():
    for path in list_images(shared_data("voc-sample", "SegmentationClass")):
        label = read_label(path)
        assert label.shape == (513, 513)
        assert set(np.unique(label)) <= {*range(21), 255}
    demo = read_label(shared_data("fcn-demo", "label.png"))
    assert {2, 15} <= set(np.unique(demo).tolist()) <= {0, 2, 15, 255}


# --- files that are broken -------------------------------------------------------------------------


def noise(suffix):
    image = np.random.default_rng(0).integers(0, 256, (24, 20, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(image).save(file, {"jpg": "jpeg", "tif": "tiff"}.get(suffix, suffix))
    return file.getvalue()


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp", "tif", "webp"])
def test_cut_short(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(noise(suffix)[: len(noise(suffix)) * 2 // 3])
    for read in (read_image, read_label):
        with pytest.raises(DataError, match=rf"a\.{suffix}: the image is damaged|a\.{suffix}: not an image") as error:
            read(path)
        assert "  fix: " in str(error.value)


def test_empty_missing_folder_and_not_an_image(tmp_path):
    (tmp_path / "empty.png").touch()
    (tmp_path / "page.jpg").write_text("<html>404 not found</html>")
    for name, says in [
        ("empty.png", r"empty\.png: the file is empty"),
        ("page.jpg", r"page\.jpg: not an image, .*\(it begins with b'<html>404"),
        ("gone.png", r"gone\.png: no such file"),
        (".", "is a folder"),
    ]:
        with pytest.raises(DataError, match=says) as error:
            read_image(tmp_path / name)
        assert error.value.advice


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@given(st.sampled_from(["jpg", "png", "bmp", "tif", "webp"]), st.data())
def test_damage_anywhere_is_a_data_error_or_harmless(tmp_path_factory, suffix, data):
    """No other exception may escape: it would stop a check of ten thousand files without naming the file."""
    content = bytearray(noise(suffix))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, min(len(content) - 1, 400)))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("damage") / f"a.{suffix}"
    path.write_bytes(content)
    for read in (read_image, read_label):
        with suppress(DataError):
            assert read(path).dtype == np.uint8


# --- lists and errors ------------------------------------------------------------------------------


def test_list_images_counts_like_a_person(tmp_path):
    for name in ["img10.jpg", "Img2.PNG", "a.TIFF", ".hidden.png", "notes.txt", "img1.webp", "Thumbs.db"]:
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    assert [path.name for path in list_images(tmp_path)] == ["a.TIFF", "img1.webp", "Img2.PNG", "img10.jpg"]


def test_list_images_of_nothing(tmp_path):
    with pytest.raises(DataError, match="holds no image"):
        list_images(tmp_path)
    with pytest.raises(DataError, match="no such folder"):
        list_images(tmp_path / "x")
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="a file, not a folder"):
        list_images(tmp_path / "file")


def test_data_error_lists_twenty_and_counts_the_rest():
    error = DataError([f"p{i}" for i in range(25)], ["do this", "or that"])
    lines = str(error).splitlines()
    assert lines[0] == "✗ p0"
    assert lines[19:] == ["✗ p19", "… and 5 more", "  fix: do this", "  fix: or that"]
    assert len(error.problems) == 25
    assert str(DataError("one")) == "✗ one"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


# --- classes ---------------------------------------------------------------------------------------


def test_voc_palette():
    palette = voc_palette()
    assert palette.shape == (256, 3)
    known = {0: (0, 0, 0), 1: (128, 0, 0), 8: (64, 0, 0), 15: (192, 128, 128), 20: (0, 64, 128)}
    known[255] = (224, 224, 192)
    for i, colour in known.items():
        assert tuple(palette[i].tolist()) == colour
    np.testing.assert_array_equal(voc_palette(21), palette[:21])


def test_ready_made_classes():
    assert Classes.voc().names == VOC_NAMES
    assert len(VOC_NAMES) == 21
    assert Classes.voc(3).names == ("background", "aeroplane", "bicycle")
    assert Classes.voc(23).names[20:] == ("tvmonitor", "class 21", "class 22")
    camvid = Classes.camvid()
    assert (len(camvid), camvid.names[10], camvid.ignored_values) == (11, "Bicyclist", (11,))
    assert camvid.colours[4].tolist() == list(CAMVID["Pavement"]) == [60, 40, 222]


def test_camvid_names_agree_with_the_published_list():
    published = shared_data("camvid", "classes.txt").read_text().split()
    assert [name.lower() for name in Classes.camvid().names] == published[:11]


def test_classes_toml(tmp_path):
    path = tmp_path / "classes.toml"
    path.write_text('names = ["road", "car"]\ncolours = ["#8040fF", [1, 2, 3]]\nignore = [11, 12]\n')
    classes = Classes.from_toml(path)
    assert classes.names == ("road", "car")
    assert classes.colours.tolist() == [[128, 64, 255], [1, 2, 3]]
    assert classes.ignored_values == (11, 12)
    assert Classes.from_dict(classes.to_dict()) == classes
    assert classes.palette()[[0, 255]].tolist() == [[128, 64, 255], [224, 224, 192]]
    path.write_text('names = ["road", "car"]')
    assert Classes.from_toml(path).colours.tolist() == voc_palette(2).tolist()
    assert Classes.from_toml(path).file_values == ()


def test_classes_toml_for_masks_that_count_otherwise(tmp_path):
    path = tmp_path / "classes.toml"
    path.write_text('names = ["road", "car"]\nvalues = [1, 40]\nignore = [0]\n')
    classes = Classes.from_toml(path)
    assert classes.from_file_values(np.array([[0, 1], [40, 255]], np.uint8)).tolist() == [[255, 0], [1, 255]]
    with pytest.raises(DataError, match=r"value 2 at \(row 0, col 1\)"):
        classes.from_file_values(np.array([[1, 2]], np.uint8))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("names = [", "not a TOML file"),
        ("", "'names' must be a list"),
        ("names = [1, 2]", "'names' must be a list"),
        ("names = []", "there can be 1 to 255, not 0"),
        ('names = ["a", "a"]', "'a' occurs 2 times"),
        ('names = ["a", "b"]\ncolours = ["#000000"]', r"one colour per name \(2\), not 1"),
        ('names = ["a"]\ncolours = ["red"]', "'red' is no colour"),
        ('names = ["a"]\ncolours = ["#00000g"]', "'#00000g' is no colour"),
        ('names = ["a"]\ncolours = [[1, 2, 256]]', "is no colour"),
        ('names = ["a"]\nignore = 11', "'ignore' must be a list"),
        ('names = ["a"]\nvalues = [300]', "'values' must be a list"),
        ('names = ["a", "b"]\nvalues = [1]', "2 names need as many different file values"),
        ('names = ["a", "b"]\nvalues = [1, 1]', "2 names need as many different file values"),
        ('names = ["a"]\ncolors = ["#000000"]', "unknown key 'colors'; did you mean 'colours'"),
    ],
)
def test_wrong_classes_toml(tmp_path, text, says):
    path = tmp_path / "classes.toml"
    path.write_text(text)
    with pytest.raises(DataError, match=says) as error:
        Classes.from_toml(path)
    assert "classes.toml" in str(error.value)


def test_missing_classes_toml(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        Classes.from_toml(tmp_path / "classes.toml")


def test_classes_are_equal_by_content_and_cannot_be_changed():
    assert Classes.voc(5) == Classes.voc(5) != Classes.voc(6)
    assert hash(Classes.voc(5)) == hash(Classes.voc(5))
    with pytest.raises(ValueError, match="read-only"):
        Classes.voc(5).colours[0] = 1
    void_first = Classes(("void", "car"), voc_palette(2), ignore_index=0)
    assert void_first.palette()[[0, 1]].tolist() == [[224, 224, 192], [128, 0, 0]]
    with pytest.raises(DataError, match="2 names need 2 RGB colours"):
        Classes(("a", "b"), np.zeros((3, 3)))


def test_resized_keeps_what_is_known():
    assert Classes.camvid().resized(2).names == ("Sky", "Building")
    longer = Classes.camvid().resized(13)
    assert longer.names[10:] == ("Bicyclist", "class 11", "class 12")
    assert longer.colours[12].tolist() == voc_palette()[12].tolist()
