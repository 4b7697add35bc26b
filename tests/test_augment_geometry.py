"""Windows laid over a picture: image and mask stay together, ids are never invented, the places are those of torch."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from scratchfcn.data import (
    Compose,
    Cutout,
    RandomCrop,
    RandomFlip,
    RandomRotate,
    RandomScale,
    RandomWindow,
    resize_image,
    resize_label,
)
from scratchfcn.data.augment.fill import mean_colour
from scratchfcn.data.augment.window import window_on

sides = st.integers(1, 30)


def chance(seed=0):
    return np.random.default_rng(seed)


def blocks(H, W, cell=12, channels=3, seed=0):
    """Large squares of one id each, and an image whose every channel is that id: colour == id."""
    ids = chance(seed).integers(0, 255, (-(-H // cell), -(-W // cell)), np.uint8)
    label = np.kron(ids, np.ones((cell, cell), np.uint8))[:H, :W]
    return np.repeat(label[:, :, None], channels, axis=2), label


def ramp(H, W):
    """Colour and id are the column, or the row, so that a drift between the two is a difference of numbers."""
    across = np.tile(np.arange(W, dtype=np.uint8), (H, 1))
    down = np.tile(np.arange(H, dtype=np.uint8)[:, None], (1, W))
    return np.dstack([across, down, across]), np.dstack([across, down])


def inner(label, reach=2):
    """Pixels whose neighbours, up to `reach` away, all have the same id and are not ignored."""
    same = label != 255
    for dy in range(-reach, reach + 1):
        for dx in range(-reach, reach + 1):
            same &= np.roll(label, (dy, dx), (0, 1)) == label
    same[:reach] = same[-reach:] = same[:, :reach] = same[:, -reach:] = False
    return same


# --- image and mask together -----------------------------------------------------------------------


@given(
    sides,
    sides,
    st.none() | st.tuples(sides, sides),
    st.none() | st.tuples(st.floats(0.3, 1), st.floats(1, 2.5)),
    st.floats(0, 180),
    st.integers(0, 10**6),
)
def test_no_id_is_ever_invented(H, W, size, scale, degrees, seed):
    label = chance(seed).integers(0, 255, (H, W), np.uint8)
    image = chance(seed + 1).integers(0, 256, (H, W, 3), np.uint8)
    for step in (
        RandomWindow(degrees, None if scale is None else RandomScale(*scale), size),
        Compose([RandomRotate(degrees), RandomCrop(size or (H, W)), RandomFlip(), Cutout(0.7)]),
    ):
        new_image, new_label = step(image, label, chance(seed))
        assert set(np.unique(new_label)) <= {*np.unique(label), 255}
        assert new_image.shape == (*new_label.shape, 3)
        assert new_image.dtype == new_label.dtype == np.uint8
        if size is not None:
            assert new_label.shape == size


@pytest.mark.parametrize("scale", [None, (1.3, 1.9), (0.45, 0.8)])
@pytest.mark.parametrize("size", [None, (60, 80), (200, 90)])
def test_inside_a_block_colour_and_id_are_equal(scale, size):
    image, label = blocks(110, 130, cell=18)
    step = RandomWindow(40, scale and RandomScale(*scale), size)
    compared = 0
    for seed in range(20):
        new_image, new_label = step(image, label, chance(seed))
        kept = inner(new_label)
        compared += kept.sum()
        np.testing.assert_array_equal(new_image[kept], np.repeat(new_label[kept][:, None], 3, axis=1))
    assert compared > 5000


@pytest.mark.parametrize("scale", [None, (1.5, 1.5), (0.6, 0.6)])
def test_image_and_mask_do_not_drift_apart(scale):
    """Rounding to the nearest pixel is off by up to half a pixel, but as often to either side."""
    image, label = ramp(120, 150)
    step = RandomWindow(30, scale and RandomScale(*scale), (80, 90))
    for seed in range(20):
        new_image, new_label = step(image, label, chance(seed))
        for c in range(2):
            kept = (new_label[:, :, c] > 5) & (new_label[:, :, c] < 110)  # away from the border, and not 255
            off = new_image[:, :, c][kept].astype(float) - new_label[:, :, c][kept]
            assert np.abs(off).max() <= 1.01
            assert abs(off.mean()) < 0.1  # half a pixel of drift would be 0.5


def test_what_comes_in_from_outside_is_ignored_and_has_the_mean_colour():
    image, label = np.full((40, 40, 3), (10, 200, 30), np.uint8), np.zeros((40, 40), np.uint8)
    image[0, 0] = 255
    new_image, new_label = RandomRotate(45)(image, label, chance(3))
    outside = new_label == 255
    assert 0.02 < outside.mean() < 0.3
    np.testing.assert_array_equal(new_image[outside], np.tile(mean_colour(image), (outside.sum(), 1)))
    assert new_label[0, 0] == new_label[-1, -1] == 255
    assert new_label[20, 20] == 0
    np.testing.assert_array_equal(mean_colour(image), image.mean(axis=(0, 1)).round())


# --- the places, against others ---------------------------------------------------------------------


@pytest.mark.parametrize("degrees", [0, 17, -63, 90])
def test_a_turn_is_that_of_pillow_and_keeps_what_is_in_the_middle(degrees):
    label = chance().integers(0, 255, (40, 40), np.uint8)
    matrix = window_on((40, 40), (40, 40), math.radians(degrees), (0, 0))
    ours = Image.fromarray(label).transform((40, 40), Image.Transform.AFFINE, matrix, fillcolor=255)
    theirs = Image.fromarray(label).rotate(-degrees, fillcolor=255)
    assert (np.asarray(ours) == np.asarray(theirs)).mean() > 0.99  # they round their matrix to 15 digits


def test_a_quarter_turn_and_a_half_are_exact():
    label = chance().integers(0, 255, (31, 31), np.uint8)
    for quarters in (1, 2, 3):
        matrix = window_on((31, 31), (31, 31), quarters * math.pi / 2, (0, 0))
        turned = np.asarray(Image.fromarray(label).transform((31, 31), Image.Transform.AFFINE, matrix))
        np.testing.assert_array_equal(turned, np.rot90(label, -quarters))  # clockwise


class Fixed:
    """A generator that draws what it is told to."""

    def __init__(self, *numbers):
        self.numbers = list(numbers)

    def uniform(self, low, high):
        return self.numbers.pop(0)

    def integers(self, stop):
        return self.numbers.pop(0)


@pytest.mark.parametrize(("factor", "size", "corner"), [(1.0, (50, 70), (0, 0)), (1.6, (40, 44), (30, 21))])
def test_the_pixels_are_those_of_torchs_grid_sample(factor, size, corner):
    rng = chance()
    image = resize_image(rng.integers(0, 256, (13, 18, 3), np.uint8), (50, 70))  # smooth
    label = rng.integers(0, 255, (50, 70), np.uint8)
    step = RandomWindow(25, RandomScale(1, 2), size)
    ours, ids = step(image, label, Fixed(factor, 25, *corner))

    h, w = round(50 * factor), round(70 * factor)
    v, u = torch.meshgrid(torch.arange(size[0]) + 0.5, torch.arange(size[1]) + 0.5, indexing="ij")
    p, q, angle = u + corner[1] - w / 2, v + corner[0] - h / 2, math.radians(25)
    x = (p * math.cos(angle) + q * math.sin(angle)) / w * 2  # within -1..1 from border to border
    y = (-p * math.sin(angle) + q * math.cos(angle)) / h * 2
    grid = torch.stack([x, y], 2)[None].double()  # (1, H, W, 2)
    inside = ((x.abs() <= 1) & (y.abs() <= 1)).numpy()
    options = {"padding_mode": "border", "align_corners": False}
    pixels = torch.tensor(image.transpose(2, 0, 1)[None]).double()
    theirs = torch.nn.functional.grid_sample(pixels, grid, mode="bilinear", **options)[0].numpy().transpose(1, 2, 0)
    assert inside.mean() > 0.5
    assert np.abs(ours[inside] - theirs[inside]).max() <= 0.51  # rounded
    nearest = torch.nn.functional.grid_sample(torch.tensor(label)[None, None].double(), grid, mode="nearest", **options)
    assert (ids[inside] == nearest[0, 0].numpy()[inside]).mean() > 0.995  # ties, and fixed-point coordinates
    assert (ids[~inside] == 255).mean() > 0.98


def test_without_a_turn_it_is_scale_and_crop():
    image, label = blocks(50, 60, cell=7)
    for scale in (RandomScale(0.5, 0.9), RandomScale(1, 1)):
        steps = Compose([scale, RandomCrop((24, 28))])
        for seed in range(5):
            draws = chance(seed)
            h, w = scale.draw((50, 60), draws)
            top, left = int(draws.integers(abs(h - 24) + 1)), int(draws.integers(abs(w - 28) + 1))
            factor = h / 50 if h != 50 else 1.0
            plain = steps(image, label, Fixed(factor, top, left))
            window = RandomWindow(0, scale, (24, 28))(image, label, Fixed(factor, 0.0, top, left))
            np.testing.assert_array_equal(window[0], plain[0])  # shrunk by averaging, as RandomScale does
            assert (window[1] == plain[1]).mean() > 0.99


def test_shrinking_averages_also_when_turning():
    stripes = np.dstack([(np.indices((80, 80))[1] % 2 * 255).astype(np.uint8)] * 3)
    image, _ = RandomWindow(5, RandomScale(0.4, 0.4), (30, 30))(stripes, np.zeros((80, 80), np.uint8), chance())
    assert image.std() < 12  # points looked up singly would be black or white


# --- any number of channels ------------------------------------------------------------------------


@pytest.mark.parametrize("C", [1, 2, 3, 4, 6, 7])
@pytest.mark.parametrize("P", [None, 1, 2, 4])
def test_any_number_of_channels_and_of_label_planes(C, P):
    """Each channel goes where it would go alone, with a fill of its own; each plane of the label likewise."""
    rng = chance(1)
    image = rng.integers(0, 256, (21, 26, C), np.uint8)
    label = rng.integers(0, 255, (21, 26) if P is None else (21, 26, P), np.uint8)
    for step in (
        RandomScale(0.5, 1.7),
        RandomRotate(30),
        RandomWindow(30, RandomScale(0.7, 1.5), (30, 18)),
        RandomCrop((30, 12)),
        RandomFlip(1.0),
        Cutout(0.9),
    ):
        new_image, new_label = step(image, label, chance(5))
        assert new_image.shape[2:] == (C,)
        assert new_label.shape == new_image.shape[:2] + label.shape[2:]
        for c in range(C):
            alone = np.repeat(image[:, :, c : c + 1], 3, axis=2)
            np.testing.assert_array_equal(new_image[:, :, c], step(alone, label, chance(5))[0][:, :, 1])
        for plane in range(P or 0):
            np.testing.assert_array_equal(new_label[:, :, plane], step(image, label[:, :, plane].copy(), chance(5))[1])


def test_resizing_takes_any_number_of_channels():
    image = chance().integers(0, 256, (9, 12, 5), np.uint8)
    big = resize_image(image, (18, 20))
    for c in range(5):
        np.testing.assert_array_equal(big[:, :, c], resize_image(np.dstack([image[:, :, c]] * 3), (18, 20))[:, :, 0])
    assert resize_label(image, (18, 24)).shape == (18, 24, 5)
    np.testing.assert_array_equal(resize_label(image, (18, 24))[1::2, 1::2], image)


# --- chance and nothing to do -----------------------------------------------------------------------


@settings(max_examples=30)
@given(st.integers(0, 10**6))
def test_equal_chance_gives_equal_pixels(seed):
    image, label = blocks(20, 30, cell=4)
    step = RandomWindow(20, RandomScale(0.6, 1.7), (18, 19))
    a, b = step(image, label, chance(seed)), step(image.copy(), label.copy(), chance(seed))
    assert a[0].tobytes() == b[0].tobytes()
    assert a[1].tobytes() == b[1].tobytes()


def test_nothing_to_do_returns_the_arrays_themselves():
    image, label = blocks(8, 9, cell=3)
    for step in (RandomRotate(0), RandomWindow(), Cutout(0)):
        new_image, new_label = step(image, label, chance())
        assert new_image is image
        assert new_label is label


def test_the_input_is_never_written_to():
    image, label = blocks(20, 21, cell=4)
    image.flags.writeable = label.flags.writeable = False  # as `Cached` hands them out
    for step in (RandomRotate(20), RandomWindow(5, RandomScale(1, 2), (30, 30)), RandomCrop((30, 30)), Cutout(0.9)):
        step(image, label, chance())


def test_angles_are_spread_evenly_on_both_sides():
    image, label = ramp(201, 201)
    found = []
    for seed in range(300):
        turned = RandomRotate(30)(image, label, chance(seed))[1].astype(float)
        # 80 pixels to the right of the middle (100, 100) a clockwise turn shows what was above: a smaller row
        found.append(math.degrees(math.atan2(100 - turned[100, 180, 1], turned[100, 180, 0] - 100)))
    assert np.percentile(found, [0, 25, 50, 75, 100]) == pytest.approx([-30, -15, 0, 15, 30], abs=5)


def test_impossible_settings():
    with pytest.raises(ValueError, match="degrees must lie within"):
        RandomWindow(-1)
    with pytest.raises(ValueError, match="share must lie within"):
        Cutout(1.5)


# --- cutout ----------------------------------------------------------------------------------------


def test_cutout_hides_a_rectangle_of_at_most_its_share():
    image, label = blocks(40, 60, cell=5)
    heights, widths, places = [], [], set()
    for seed in range(300):
        new_image, new_label = Cutout(0.5)(image, label, chance(seed))
        hidden = new_label == 255
        rows, cols = np.flatnonzero(hidden.any(axis=1)), np.flatnonzero(hidden.any(axis=0))
        heights.append(len(rows))
        widths.append(len(cols))
        assert hidden.sum() == len(rows) * len(cols)  # one full rectangle
        np.testing.assert_array_equal(new_image[hidden], np.tile(mean_colour(image), (hidden.sum(), 1)))
        np.testing.assert_array_equal(new_image[~hidden], image[~hidden])
        np.testing.assert_array_equal(new_label[~hidden], label[~hidden])
        if hidden.any():
            places.add((rows[0], cols[0]))
    assert max(heights) == 20
    assert max(widths) == 30
    assert np.mean(heights) == pytest.approx(10, abs=1.5)
    assert len(places) > 250
