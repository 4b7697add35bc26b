"""Colour and blur: the formulas one by one, together as one matrix, rounded once; labels and depth untouched."""

import colorsys
import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from shared_data import shared_data
from torchvision_reference import torchvision

from scratchfcn.data import ColourJitter, RandomBlur, read_image
from scratchfcn.data.augment.colour import YIQ, colour_change, recolour

GREY = np.array([0.299, 0.587, 0.114])


def chance(seed=0):
    return np.random.default_rng(seed)


def picture(H=20, W=24, low=0, high=256, seed=0):
    return chance(seed).integers(low, high, (H, W, 3), np.uint8)


LABEL = np.zeros((20, 24), np.uint8)


def change(image, brightness=1.0, contrast=1.0, saturation=1.0, hue=0.0, grey=None):
    grey = float((image @ GREY).mean()) if grey is None else grey
    return recolour(image, colour_change(brightness, contrast, saturation, math.radians(hue), grey))


# --- one by one ------------------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [0.5, 0.8, 1.0, 1.3])
def test_brightness_contrast_and_saturation_are_torchvisions(factor):
    image = picture(low=60, high=150)  # far from 0 and 255, where torchvision clips in between
    tv = torchvision.transforms.functional
    as_tensor = torch.tensor(image.transpose(2, 0, 1)).double() / 255
    for name in ("brightness", "contrast", "saturation"):
        expected = getattr(tv, f"adjust_{name}")(as_tensor, factor).numpy().transpose(1, 2, 0) * 255
        ours = change(image, **{name: factor})
        assert np.abs(ours - expected).max() <= 0.54  # rounded, and their grey has 0.2989 of red


def test_hue_turns_colours_and_keeps_brightness_and_greys():
    image = picture(low=70, high=180)
    for degrees in (-36, 20, 120):
        turned = change(image, hue=degrees)
        assert np.abs(turned @ GREY - image @ GREY).max() < 1
        for before, after in zip(image.reshape(-1, 3)[:50] / 255, turned.reshape(-1, 3)[:50] / 255, strict=True):
            (_, i, q), (_, j, r) = colorsys.rgb_to_yiq(*before), colorsys.rgb_to_yiq(*after)
            assert math.hypot(i, q) == pytest.approx(math.hypot(j, r), abs=0.02)
            if math.hypot(i, q) > 0.15:
                angle = math.degrees(math.atan2(r, j) - math.atan2(q, i))
                assert (angle - degrees + 180) % 360 - 180 == pytest.approx(0, abs=4)
    greys = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    np.testing.assert_array_equal(change(greys, saturation=1.5, hue=57.0), greys)


def test_worked_out_by_hand():
    image = np.array([[[100, 50, 200]]], np.uint8)  # grey 29.9 + 29.35 + 22.8 = 82.05
    assert change(image, brightness=1.5).tolist() == [[[150, 75, 255]]]  # 300 is clipped
    assert change(image, contrast=0.5, grey=128).tolist() == [[[114, 89, 164]]]
    assert change(image, saturation=0.0).tolist() == [[[82, 82, 82]]]
    assert change(image, saturation=2.0).tolist() == [[[118, 18, 255]]]  # 117.95, 17.95, 317.95


# --- all four --------------------------------------------------------------------------------------


def one_by_one(image, order, brightness, contrast, saturation, hue):
    """The four changes one after the other on floating-point pixels, from their formulas alone, clipped at the end."""
    x = image.astype(float)  # (H, W, 3)
    for step in order:
        grey = 0.299 * x[..., 0] + 0.587 * x[..., 1] + 0.114 * x[..., 2]  # (H, W)
        if step == "brightness":
            x = x * brightness
        elif step == "contrast":
            x = grey.mean() + contrast * (x - grey.mean())
        elif step == "saturation":
            x = grey[..., None] + saturation * (x - grey[..., None])
        else:
            y, i, q = np.moveaxis(x @ YIQ.T, 2, 0)
            chroma = (i + 1j * q) * np.exp(1j * hue)
            x = np.dstack([y, chroma.real, chroma.imag]) @ np.linalg.inv(YIQ).T
    return np.clip(x, 0, 255)


@pytest.mark.parametrize("order", list(itertools.permutations(("brightness", "contrast", "saturation", "hue"))))
def test_one_matrix_does_what_the_four_steps_do_in_any_order(order):
    for seed in range(5):
        image, strength = picture(seed=seed), 0.2 * (seed + 1)
        jittered, label = ColourJitter(strength)(image, LABEL, chance(seed))
        rng = chance(seed)
        factors = 1 + 0.5 * strength * rng.uniform(-1, 1, 3)
        hue = math.radians(36 * strength * rng.uniform(-1, 1))
        assert np.abs(jittered - one_by_one(image, order, *factors, hue)).max() <= 0.51  # rounded once, at the end
        assert label is LABEL


@given(st.floats(0, 1), st.integers(0, 10**6), st.integers(1, 9), st.integers(1, 9))
@settings(max_examples=40)
def test_any_strength_on_any_picture_stays_a_picture(strength, seed, H, W):
    image = picture(H, W, seed=seed)
    jittered, _ = ColourJitter(strength)(image, LABEL, chance(seed))
    assert jittered.dtype == np.uint8
    assert jittered.shape == image.shape


def test_strength_spreads_evenly_and_without_bias():
    """Over many draws a photograph grows neither darker nor lighter, and the spread follows the strength."""
    image = picture(low=90, high=160)
    for strength, spread in [(0.2, 0.058), (0.6, 0.173)]:  # of a factor within 1 ± s/2, evenly: s/2/√3
        means = [ColourJitter(strength)(image, LABEL, chance(seed))[0].mean() for seed in range(600)]
        assert np.mean(means) / image.mean() == pytest.approx(1, abs=0.03)
        assert np.std(means) / image.mean() == pytest.approx(spread, rel=0.15)


def test_changes_that_cancel_leave_every_pixel_as_it_was():
    image = picture()
    there = colour_change(0.5, 1.0, 0.4, 0.6, 100.0)
    back = colour_change(2.0, 1.0, 2.5, -0.6, 100.0)
    both = back[0] @ there[0], back[0] @ there[1] + back[1]
    np.testing.assert_array_equal(recolour(image, both), image)
    np.testing.assert_array_equal(change(image), image)


def test_depth_beneath_the_colours_is_left_alone():
    six = np.dstack([picture(), picture(seed=1)])
    for step in (ColourJitter(0.7), RandomBlur(3.0, p=1.0)):
        changed, _ = step(six, LABEL, chance(4))
        assert changed.shape == six.shape
        np.testing.assert_array_equal(changed[:, :, 3:], six[:, :, 3:])
        np.testing.assert_array_equal(changed[:, :, :3], step(six[:, :, :3], LABEL, chance(4))[0])
        assert (changed[:, :, :3] != six[:, :, :3]).any()


def test_nothing_to_do_returns_the_arrays_themselves():
    image = picture()
    for step in (ColourJitter(0), RandomBlur(0), RandomBlur(2, p=0)):
        changed, label = step(image, LABEL, chance())
        assert changed is image
        assert label is LABEL


def test_equal_chance_gives_equal_pixels_and_the_input_is_not_written_to():
    image = picture()
    image.flags.writeable = False
    for step in (ColourJitter(0.8), RandomBlur(2.0)):
        for seed in range(5):
            a, b = step(image, LABEL, chance(seed))[0], step(image.copy(), LABEL, chance(seed))[0]
            np.testing.assert_array_equal(a, b)


def test_impossible_settings():
    with pytest.raises(ValueError, match="strength must lie within"):
        ColourJitter(1.1)
    with pytest.raises(ValueError, match="radius must be at least 0"):
        RandomBlur(-1)


# --- blur ------------------------------------------------------------------------------------------


def test_blur_is_a_gaussian_every_other_time():
    image = picture(40, 50)
    step, rng = RandomBlur(3.0), chance(1)
    changed = [step(image, LABEL, rng) for _ in range(200)]
    assert 80 < sum(pixels is not image for pixels, _ in changed) < 120
    assert all(label is LABEL for _, label in changed)
    radii = chance(2)
    radii.random()
    radius = radii.uniform(0, 3.0)
    blurred = RandomBlur(3.0, p=1.0)(image, LABEL, chance(2))[0]
    expected = gaussian_filter(image.astype(float), (radius, radius, 0), mode="nearest")
    assert np.abs(blurred - expected).mean() < 2  # Pillow's Gaussian is three box filters
    assert blurred.mean() == pytest.approx(image.mean(), abs=1)
    assert blurred.std() < 0.7 * image.std()


def test_a_photograph_keeps_its_look():
    """A street at strength 0.5 is another hour of the day, not another planet."""
    path = next(iter(sorted((shared_data("camvid") / "train").iterdir())))
    image = read_image(path)
    for seed in range(10):
        changed, _ = ColourJitter(0.5)(image, LABEL, chance(seed))
        together = np.corrcoef(changed.ravel(), image.ravel())[0, 1]
        assert together > 0.9
        assert ((changed == 0) | (changed == 255)).mean() < 0.35
