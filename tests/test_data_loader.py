"""Transforms that move image and mask together, and batches that can be computed again."""

import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shared_data import shared_data

from scratchfcn.data import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Cached,
    Classes,
    Compose,
    DataError,
    Dataset,
    Loader,
    Normalise,
    RandomCrop,
    RandomFlip,
    RandomScale,
    Resize,
    Shapes,
    normalise,
    open_dataset,
)

TRAIN = Compose([RandomScale(0.7, 1.4), RandomCrop((24, 32)), RandomFlip(), Normalise()])


def twins(H, W, seed=0):
    """An image whose red channel is its mask: whatever keeps them aligned keeps them equal."""
    label = np.random.default_rng(seed).integers(0, 200, (H, W), np.uint8)
    return np.dstack([label, label, label]), label


def chance(seed=0):
    return np.random.default_rng(seed)


# --- transforms ------------------------------------------------------------------------------------

sides = st.integers(1, 30)


@given(sides, sides, sides, sides, st.integers(0, 1000))
def test_flip_and_crop_keep_every_pixel_with_its_label(H, W, CH, CW, seed):
    image, label = twins(H, W)
    step = Compose([RandomFlip(), RandomCrop((CH, CW))])
    image, ids = step(image, label, chance(seed))
    assert image.shape == (CH, CW, 3)
    assert ids.shape == (CH, CW)
    kept = ids != 255
    np.testing.assert_array_equal(image[:, :, 0][kept], ids[kept])
    assert kept.sum() == min(H, CH) * min(W, CW)  # nothing lost that fits, nothing invented


def test_crop_pads_with_the_mean_colour_and_ignored():
    image, label = twins(4, 4)
    window, ids = RandomCrop((4, 9))(image, label, chance())
    padding = ids == 255
    assert padding.sum() == 20
    assert (window[padding] == round(image.mean())).all()


def test_crop_reaches_every_place():
    image, label = twins(6, 6)
    step, rng = RandomCrop((5, 5)), chance()
    places = {step(image, label, rng)[1].tobytes() for _ in range(100)}
    assert len(places) == 4


def test_flip_turns_left_and_right_with_its_probability():
    image, label = twins(2, 5)
    turned = RandomFlip(1.0)(image, label, chance())
    np.testing.assert_array_equal(turned[0], image[:, ::-1])
    np.testing.assert_array_equal(turned[1], label[:, ::-1])
    assert RandomFlip(0.0)(image, label, chance())[1] is label
    rng = chance()
    share = np.mean([RandomFlip(0.3)(image, label, rng)[1] is not label for _ in range(1000)])
    assert 0.25 < share < 0.35


def test_resize_by_whole_factors_keeps_image_and_mask_aligned():
    image, label = twins(6, 8)
    big_image, big_label = Resize((18, 24))(image, label)
    np.testing.assert_array_equal(big_label, np.kron(label, np.ones((3, 3), np.uint8)))
    np.testing.assert_array_equal(big_image[1::3, 1::3], image)  # the middle pixel of each block of nine
    small_image, small_label = Resize((6, 8))(big_image, big_label)
    np.testing.assert_array_equal(small_label, label)
    assert small_image.shape == (6, 8, 3)


def test_resize_invents_no_class_and_smooths_the_image():
    label = np.zeros((20, 20), np.uint8)
    label[:, 10:] = 4
    stripes = np.dstack([(np.indices((20, 20))[1] % 2 * 255).astype(np.uint8)] * 3)
    image, ids = Resize((7, 7))(stripes, label)
    assert set(np.unique(ids)) == {0, 4}
    assert image.std() < 30  # averaged to grey; picking pixels would leave black and white


def test_resize_may_leave_the_label_alone():
    image, label = twins(6, 8)
    image, ids = Resize((3, 4), label=False)(image, label)
    assert image.shape == (3, 4, 3)
    assert ids is label


@given(sides, sides, st.integers(0, 100))
def test_scale_stays_within_its_range_and_scales_both(H, W, seed):
    image, ids = RandomScale(0.5, 2.0)(*twins(H, W), chance(seed))
    assert image.shape[:2] == ids.shape
    for side, before in zip(ids.shape, (H, W), strict=True):
        assert max(1, round(before * 0.5)) <= side <= round(before * 2)
    with pytest.raises(ValueError, match="0 < low <= high"):
        RandomScale(2, 1)


def test_normalise():
    image, label = twins(3, 4)
    image[:, :, 1] //= 2
    x, ids = Normalise()(image, label)
    assert (x.dtype, x.shape, x.flags.c_contiguous) == (np.float32, (3, 3, 4), True)
    expected = (image / 255 - IMAGENET_MEAN) / IMAGENET_STD
    np.testing.assert_allclose(x.transpose(1, 2, 0), expected, atol=1e-6)
    assert ids is label
    assert normalise(image[:, ::-1], (0, 0, 0), (1, 1, 1)).flags.c_contiguous


# --- loader ----------------------------------------------------------------------------------------


def same(batches, others):
    assert len(batches) == len(others)
    for a, b in zip(batches, others, strict=True):
        assert a.names == b.names
        assert a.images.tobytes() == b.images.tobytes()
        assert a.labels.tobytes() == b.labels.tobytes()


def test_a_batch():
    loader = Loader(Shapes(10, (30, 30)), 4, TRAIN)
    batches = list(loader.epoch(0))
    assert len(batches) == len(loader) == 3
    assert (batches[0].images.shape, batches[0].images.dtype) == ((4, 3, 24, 32), np.float32)
    assert (batches[0].labels.shape, batches[0].labels.dtype) == ((4, 24, 32), np.uint8)
    assert batches[0].images.flags.c_contiguous
    assert len(batches[2].names) == 2
    names = [name for batch in batches for name in batch.names]
    assert sorted(names) == [loader.dataset.name(i) for i in range(10)]
    assert names != sorted(names)


@pytest.mark.parametrize("workers", [0, 2, 4])
def test_batches_do_not_depend_on_the_number_of_workers_or_on_where_one_starts(workers):
    data = Shapes(22, (30, 30))
    reference = list(Loader(data, 4, TRAIN, seed=5).epoch(2))
    loader = Loader(data, 4, TRAIN, seed=5, workers=workers, prefetch=3)
    same(list(loader.epoch(2)), reference)
    same(list(loader.epoch(2, start=4)), reference[4:])
    assert list(loader.epoch(2, start=6)) == []


def test_epochs_and_seeds_differ_in_order_and_in_chance():
    data = Shapes(12, (30, 30))
    first = next(Loader(data, 12, TRAIN, shuffle=False).epoch(0))
    second = next(Loader(data, 12, TRAIN, shuffle=False).epoch(1))
    other = next(Loader(data, 12, TRAIN, shuffle=False, seed=1).epoch(0))
    assert first.names == second.names == [data.name(i) for i in range(12)]
    assert (first.images != second.images).any()
    assert (first.images != other.images).any()
    orders = {tuple(next(Loader(data, 12, TRAIN).epoch(e)).names) for e in range(5)}
    assert len(orders) == 5


def test_drop_last():
    loader = Loader(Shapes(10, (30, 30)), 4, TRAIN, drop_last=True)
    assert [len(batch.names) for batch in loader.epoch(0)] == [4, 4]
    assert len(loader) == 2
    with pytest.raises(ValueError, match="leaves nothing of 3 images"):
        Loader(Shapes(3), 4, TRAIN, drop_last=True)
    with pytest.raises(ValueError, match="batch_size 0"):
        Loader(Shapes(3), 0, TRAIN)


class Sized(Dataset):
    """Images of given sizes; reading number 3 of them can be made to fail."""

    def __init__(self, sizes, failure=None):
        self.sizes, self.failure, self.reads = sizes, failure, 0
        self.classes = Classes.numbered(2)

    def __len__(self):
        return len(self.sizes)

    def name(self, i):
        return f"photo{i}"

    def read(self, i):
        self.reads += 1
        if self.failure is not None and i == 3:
            raise self.failure
        return np.zeros((*self.sizes[i], 3), np.uint8), np.zeros(self.sizes[i], np.uint8)


def workers_alive():
    return [thread for thread in threading.enumerate() if thread.name.startswith("scratchfcn-data")]


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_errors_surface_in_the_main_thread_with_the_name(workers):
    for failure, kind, says in [
        (DataError("x/photo3.jpg: bad"), DataError, r"x/photo3\.jpg: bad"),
        (ZeroDivisionError("oh"), RuntimeError, "photo3: ZeroDivisionError: oh"),
    ]:
        loader = Loader(Sized([(4, 4)] * 9, failure), 1, Normalise(), shuffle=False, workers=workers)
        batches = loader.epoch(0)
        assert [next(batches).names[0] for _ in range(3)] == ["photo0", "photo1", "photo2"]
        with pytest.raises(kind, match=says):
            next(batches)
        assert not workers_alive()


def test_stopping_early_leaves_no_thread_and_reads_little_ahead():
    data = Sized([(4, 4)] * 1000)
    batches = Loader(data, 1, Normalise(), workers=2, prefetch=3).epoch(0)
    next(batches)
    time.sleep(0.05)
    assert workers_alive()
    assert data.reads <= 5
    batches.close()
    assert not workers_alive()

    with pytest.raises(KeyboardInterrupt):
        interrupted(Loader(data, 1, Normalise(), workers=2))
    assert not workers_alive()


def interrupted(loader):
    for _ in loader.epoch(0):
        raise KeyboardInterrupt


class Slow(Sized):
    def read(self, i):
        time.sleep(0.02)
        return super().read(i)


def test_stopping_early_drops_what_has_not_begun():
    data = Slow([(4, 4)] * 50)
    batches = Loader(data, 1, Normalise(), prefetch=40).epoch(0)
    next(batches)
    batches.close()
    assert data.reads < 10


def test_the_next_batches_are_prepared_while_one_is_used():
    batches = Loader(Slow([(4, 4)] * 8), 1, Normalise(), workers=1).epoch(0)
    next(batches)
    time.sleep(0.1)
    began = time.perf_counter()
    next(batches)
    assert time.perf_counter() - began < 0.015


def test_sizes_that_do_not_fit_one_batch_are_named():
    data = Sized([(4, 4), (4, 4), (4, 6)])
    with pytest.raises(DataError, match="image photo0 is 4×4, image photo2 is 6×4") as error:
        next(Loader(data, 3, Normalise(), shuffle=False).epoch(0))
    options = ["--size 320x240 resizes all images", "--crop 256 cuts pieces", "--batch-size 1 takes them as they are"]
    assert all(option in str(error.value) for option in options)  # words of the command line
    assert "Resize" not in str(error.value)
    validate = Compose([Resize((8, 8), label=False), Normalise()])
    with pytest.raises(DataError, match="mask photo0 is 4×4, mask photo2 is 6×4"):
        next(Loader(data, 3, validate, shuffle=False).epoch(0))
    single = list(Loader(data, 1, validate, shuffle=False).epoch(0))
    assert [batch.labels.shape for batch in single] == [(1, 4, 4), (1, 4, 4), (1, 4, 6)]
    assert {batch.images.shape for batch in single} == {(1, 3, 8, 8)}


def test_a_transform_that_forgets_to_normalise():
    with pytest.raises(RuntimeError, match="must end in Normalise"):
        next(Loader(Shapes(4), 2, RandomFlip()).epoch(0))


# --- cache -----------------------------------------------------------------------------------------


def test_cached_reads_once_and_changes_nothing():
    data = Sized([(8, 8)] * 5)
    cached = Cached(data, Resize((4, 4)))
    for _ in range(3):
        for i in range(5):
            image, _ = cached.read(i)
    assert data.reads == 5
    assert image.shape == (4, 4, 3)
    assert cached.used_bytes == 5 * 16 * 4
    assert (len(cached), cached.name(2), cached.classes, cached.files(0)) == (5, "photo2", data.classes, None)
    for array in Cached(data).read(0):
        with pytest.raises(ValueError, match="read-only"):
            array[0, 0] = 1
    shapes = Shapes(20, (30, 30))
    same(list(Loader(Cached(shapes), 4, TRAIN, workers=3).epoch(0)), list(Loader(shapes, 4, TRAIN).epoch(0)))


def test_cached_keeps_to_its_limit():
    data = Sized([(8, 8)] * 5)
    cached = Cached(data, limit_bytes=2 * 8 * 8 * 4)
    for _ in range(2):
        for i in range(5):
            cached.read(i)
    assert cached.used_bytes == cached.limit_bytes
    assert data.reads == 5 + 3


def test_camvid_batches():
    data = Cached(open_dataset(shared_data("camvid"), "train"), Resize((180, 240)))
    loader = Loader(data, 4, Compose([RandomCrop((160, 224)), RandomFlip(), Normalise()]), workers=2)
    batch = next(loader.epoch(0))
    assert batch.images.shape == (4, 3, 160, 224)
    assert set(np.unique(batch.labels)) <= {*range(11), 255}
