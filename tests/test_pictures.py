"""Colours, overlays, palette PNGs and mosaics: what people look at must be what the numbers say."""

import numpy as np
import pytest
from PIL import Image

from scratchfcn.data import Classes, colourise, mosaic, overlay, read_image, read_label, save_mask

CLASSES = Classes(("sky", "sea"), np.array([[10, 20, 30], [200, 100, 0]]))
LABEL = np.array([[0, 1, 255]], np.uint8)
CREAM = [224, 224, 192]


def plain(H, W, colour=(0, 0, 0)):
    return np.full((H, W, 3), colour, np.uint8)


def test_colourise_takes_any_whole_numbers():
    for dtype in (np.uint8, np.int64):
        colours = colourise(LABEL.astype(dtype), CLASSES)
        assert colours.dtype == np.uint8
        assert colours[0].tolist() == [[10, 20, 30], [200, 100, 0], CREAM]


@pytest.mark.parametrize("label", [[[300]], [[-1]], [[0.5]], [0]])
def test_what_is_no_label_is_refused(label):
    with pytest.raises(ValueError, match="a label must"):
        colourise(np.array(label), CLASSES)


def test_overlay_mixes_and_leaves_ignored_pixels_alone():
    image = plain(1, 3, (100, 100, 100))
    assert overlay(image, LABEL, CLASSES)[0].tolist() == [[55, 60, 65], [150, 100, 50], [100, 100, 100]]
    assert overlay(image, LABEL, CLASSES, alpha=1)[0, 1].tolist() == [200, 100, 0]
    np.testing.assert_array_equal(overlay(image, LABEL, CLASSES, alpha=0), image)
    with pytest.raises(ValueError, match="image is 3×1 but the label 1×3"):
        overlay(image, LABEL.T, CLASSES)
    with pytest.raises(ValueError, match="alpha"):
        overlay(image, LABEL, CLASSES, alpha=2)


def test_a_saved_mask_holds_ids_for_programs_and_colours_for_people(tmp_path):
    ids = np.arange(256, dtype=np.int64).reshape(16, 16)
    save_mask(tmp_path / "m.png", ids, CLASSES)
    np.testing.assert_array_equal(read_label(tmp_path / "m.png"), ids)
    assert Image.open(tmp_path / "m.png").mode == "P"
    np.testing.assert_array_equal(read_image(tmp_path / "m.png"), colourise(ids, CLASSES))
    save_mask(tmp_path / "two.png", LABEL, CLASSES)
    np.testing.assert_array_equal(read_label(tmp_path / "two.png"), LABEL)


def test_mosaic_is_a_grid_with_gaps():
    red, blue = plain(200, 300, (255, 0, 0)), plain(200, 300, (0, 0, 255))
    sheet = np.asarray(mosaic([[red, blue], [blue, red]]))
    assert sheet.shape == (6 + 200 + 6 + 200 + 6, 6 + 300 + 6 + 300 + 6, 3)
    assert (sheet[6:206, 6:306] == red).all()
    assert (sheet[6:206, 312:612] == blue).all()
    assert (sheet[212:412, 312:612] == red).all()
    assert (sheet[:, 306:312] == 255).all()


def test_mosaic_brings_different_sizes_to_one_width():
    sheet = mosaic([[plain(100, 200), plain(300, 400)], [plain(50, 50)]])
    assert sheet.width == 6 + 400 + 6 + 400 + 6
    assert sheet.height == 6 + 300 + 6 + 400 + 6
    assert mosaic([[plain(1000, 2000)]]).size == (492, 252)  # large ones are reduced


def test_tiny_pictures_are_enlarged_pixel_by_pixel():
    tiny = np.random.default_rng(0).integers(0, 256, (2, 3, 3), np.uint8)
    sheet = np.asarray(mosaic([[tiny]]))[6:-6, 6:-6]
    assert sheet.shape[1] >= 96
    factor = sheet.shape[1] // 3
    np.testing.assert_array_equal(sheet, np.kron(tiny, np.ones((factor, factor, 1), np.uint8)))
    assert mosaic([[plain(1, 1)]]).width >= 96


def test_captions_stand_above_their_columns_and_the_legend_beneath():
    tiles = [plain(200, 200, (0, 255, 0))] * 2
    bare = mosaic([tiles])
    full = mosaic([tiles], ["image", "truth"], legend=CLASSES)
    assert full.width == bare.width
    pixels = np.asarray(full)
    dark = (pixels < 128).all(axis=2)
    top = dark[:22]
    assert top[:, 6:206].any()
    assert top[:, 212:].any()
    below = pixels[-30:]
    for colour in ([10, 20, 30], [200, 100, 0], CREAM):
        assert (below == colour).all(axis=2).sum() > 50


def test_a_long_legend_wraps_to_the_width():
    sheet = mosaic([[plain(96, 96)] * 3], legend=Classes.voc())
    pixels = np.asarray(sheet)
    for colour in Classes.voc().colours[1:]:
        assert (pixels == colour).all(axis=2).sum() > 50, colour
    assert mosaic([[plain(10, 10)]], legend=Classes.voc()).width < 250


def test_a_mosaic_of_nothing():
    with pytest.raises(ValueError, match="no pictures"):
        mosaic([[]])
