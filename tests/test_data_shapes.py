"""Generated images: the same every time, of any size, and solvable by outline but not by colour."""

import time

import numpy as np
import pytest

from scratchfcn.data import Shapes
from scratchfcn.data.shapes import FINER, OUTLINES, SHAPES, _coverage


def test_image_i_depends_on_seed_number_and_size_alone():
    once, again = Shapes(50, seed=3), Shapes(9, seed=3)
    again.read(1)
    for a, b in zip(once.read(7), again.read(7), strict=True):
        np.testing.assert_array_equal(a, b)
    assert (once.read(7)[0] != once.read(8)[0]).any()
    assert (once.read(7)[0] != Shapes(50, seed=4).read(7)[0]).any()


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1), (2, 3), (17, 64), (96, 96), (200, 120)])
def test_any_size(size):
    data = Shapes(8, size)
    for i in range(len(data)):
        image, label = data.read(i)
        assert (image.shape, image.dtype) == ((*size, 3), np.uint8)
        assert (label.shape, label.dtype) == (size, np.uint8)
        assert label.max() < len(data.classes)


def test_classes_and_names():
    data = Shapes(3)
    assert data.classes.names == ("background", "circle", "square", "triangle", "star", "ring", "cross")
    assert len({data.name(i) for i in range(3)}) == 3
    assert data.files(0) is None


def test_number_of_shapes():
    assert not any(Shapes(20, num_shapes=(0, 0)).read(i)[1].any() for i in range(20))
    for i in range(20):
        assert len(np.unique(Shapes(20, num_shapes=(1, 1)).read(i)[1])) == 2


def test_wrong_requests():
    for wrong in ({"length": 0}, {"length": 1, "size": (0, 5)}, {"length": 1, "seed": -1}):
        with pytest.raises(ValueError, match="Shapes: length"):
            Shapes(**wrong)
    with pytest.raises(ValueError, match="num_shapes"):
        Shapes(1, num_shapes=(3, 2))
    with pytest.raises(IndexError, match="there are 2 images, but number 2"):
        Shapes(2).read(2)


def test_all_classes_occur_about_equally_often():
    data = Shapes(200)
    found = np.zeros(7, int)
    for i in range(200):
        found[np.unique(data.read(i)[1])] += 1
    assert found[0] == 200
    assert (found[1:] > 50).all()


def test_the_mask_lies_where_the_shape_was_painted():
    """A centred circle covers the pixels whose middles are within its radius, and half-covers its rim."""
    cover = _coverage(OUTLINES["circle"] * 20 + 32, None, 0, 0, 64, 64)
    y, x = np.mgrid[:64, :64] + 0.5
    distance = np.hypot(x - 32, y - 32)
    assert (cover[distance < 18.8] == 255).all()
    assert (cover[distance > 21.2] == 0).all()
    assert abs((cover >= 128).sum() - np.pi * 20**2) < 30
    assert len(np.unique(cover)) == FINER**2 + 1  # smooth edges
    np.testing.assert_array_equal(cover >= 128, (cover >= 128)[::-1, ::-1])  # no half-pixel shift


def test_a_ring_has_a_hole_and_each_outline_its_own_area():
    def covered(kind, hole=None):
        return _coverage(OUTLINES[kind] * 20 + 32, hole, 0, 0, 64, 64)

    ring = covered("ring", hole=OUTLINES["circle"] * 10 + 32)
    assert ring[32, 32] == 0
    assert ring[32, 32 + 15] == 255
    area = {name: (covered(name) >= 128).sum() / 400 for name in SHAPES}  # of radius 1
    for name, expected in {"circle": np.pi, "square": 2, "triangle": 1.3**2 * 3 * 3**0.5 / 4}.items():
        assert area[name] == pytest.approx(expected, rel=0.06), name
    assert area["star"] < area["triangle"]


def test_shapes_stand_out_from_what_is_behind_them():
    """Across every edge between shape and background the colour must change visibly, in nearly all images."""
    data = Shapes(150, num_shapes=(1, 1))
    steps = []
    for i in range(len(data)):
        image, label = data.read(i)
        inside, outside = image[label > 0].astype(float), image[label == 0].astype(float)
        steps.append(np.linalg.norm(inside.mean(axis=0) - outside.mean(axis=0)))
    assert np.median(steps) > 90
    assert np.mean(np.array(steps) > 50) > 0.97


def test_colour_says_nothing_about_the_class():
    """The mean colour of each class over many images is the same grey, up to chance."""
    data = Shapes(400, (48, 48), num_shapes=(1, 1))
    colours = [[] for _ in range(7)]
    for i in range(len(data)):
        image, label = data.read(i)
        colours[label.max()].append(image[label > 0].mean(axis=0))
    means = np.array([np.mean(of_class, axis=0) for of_class in colours[1:]])
    assert np.ptp(means, axis=0).max() < 60  # single images range over 200


def test_fast_enough_to_feed_a_training_step():
    data = Shapes(100)
    data.read(0)
    began = time.perf_counter()
    for i in range(100):
        data.read(i)
    assert (time.perf_counter() - began) / 100 < 0.006  # 0.8 ms on an idle core; others may be busy
