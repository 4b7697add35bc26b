"""Augmented batches: the same pixels however many threads prepare them, in whatever batch, at whatever start."""

import numpy as np
import pytest
from shared_data import shared_data

from scratchfcn.data import (
    Cached,
    ColourJitter,
    Compose,
    Cutout,
    Loader,
    Normalise,
    RandomBlur,
    RandomFlip,
    RandomScale,
    RandomWindow,
    Resize,
    Shapes,
    open_dataset,
)
from scratchfcn.training import Config
from scratchfcn.training.augmentation import as_bytes, augmentation, in_words, resized, training_sample

EVERYTHING = {
    "scale": (0.7, 1.4),
    "crop": (24, 32),
    "rotate": 20.0,
    "colour": 0.8,
    "blur": 2.0,
    "cutout": 0.5,
}
STEPS = [
    RandomWindow(20.0, RandomScale(0.7, 1.4), (24, 32)),
    RandomFlip(),
    ColourJitter(0.8),
    RandomBlur(2.0),
    Cutout(0.5),
]


def same(batches, others):
    assert len(batches) == len(others)
    for a, b in zip(batches, others, strict=True):
        assert a.names == b.names
        assert a.images.tobytes() == b.images.tobytes()
        assert a.labels.tobytes() == b.labels.tobytes()


@pytest.mark.parametrize("workers", [0, 2, 4])
def test_batches_do_not_depend_on_threads_or_on_where_one_starts(workers):
    data, train = Cached(Shapes(22, (30, 30))), Compose([*STEPS, Normalise()])
    reference = list(Loader(data, 4, train, seed=5, workers=1).epoch(2))
    loader = Loader(data, 4, train, seed=5, workers=workers, prefetch=3)
    same(list(loader.epoch(2)), reference)
    same(list(loader.epoch(2, start=4)), reference[4:])


def test_every_epoch_and_every_image_has_its_own_chance():
    data, train = Cached(Shapes(1, (30, 30))), Compose([*STEPS, Normalise()])
    epochs = [next(Loader(data, 1, train).epoch(e)).images.tobytes() for e in range(20)]
    assert len(set(epochs)) == 20
    assert next(Loader(data, 1, train, seed=1).epoch(0)).images.tobytes() not in epochs


def test_settings_become_steps_in_this_order():
    assert augmentation(Config(**EVERYTHING)) == STEPS
    assert augmentation(Config(flip=False)) == []
    separate = augmentation(Config(scale=(0.7, 1.4), crop=(24, 32)))  # as runs have been since before there were turns
    assert [type(step).__name__ for step in separate] == ["RandomScale", "RandomCrop", "RandomFlip"]
    assert augmentation(Config(rotate=5.0, flip=False)) == [RandomWindow(5.0, None, None)]


def test_in_words():
    assert in_words(Config(flip=False)) == "none"
    said = in_words(Config(**EVERYTHING))
    assert said == "scale 0.7-1.4, rotate up to 20°, crop 32x24, flip, colour 0.8, blur 2, cutout 0.5"


def test_a_single_sample_is_the_one_of_the_batch():
    """`training_sample` gives, as bytes, what lies in a shuffled batch of the training itself."""
    config = Config(**EVERYTHING, seed=3, size=(40, 50))
    data = Shapes(9, (30, 30))
    small = resized(config, data)
    loader = Loader(Cached(data, Resize((40, 50))), 4, Compose([*STEPS, Normalise()]), seed=3, workers=2)
    seen = 0
    for batch in loader.epoch(6):
        for name, x, ids in zip(batch.names, batch.images, batch.labels, strict=True):
            number = [data.name(i) for i in range(9)].index(name)
            image, label = training_sample(config, small, number, 6)
            np.testing.assert_array_equal(Normalise()(image, label)[0], x)
            np.testing.assert_array_equal(label, ids)
            seen += 1
    assert seen == 9


def test_bytes_survive_being_normalised_and_back():
    image = np.arange(256, dtype=np.uint8)[None, :, None].repeat(3, axis=2)
    x, _ = as_bytes(3)(image, image[:, :, 0])
    np.testing.assert_array_equal(x.transpose(1, 2, 0).round().astype(np.uint8), image)


def test_camvid_batches_with_everything():
    data = Cached(open_dataset(shared_data("camvid"), "train"), Resize((180, 240)))
    steps = augmentation(Config(**(EVERYTHING | {"crop": (160, 224)})))
    batch = next(Loader(data, 8, Compose([*steps, Normalise()]), workers=2).epoch(0))
    assert batch.images.shape == (8, 3, 160, 224)
    assert set(np.unique(batch.labels)) <= {*range(11), 255}
    assert 0.02 < (batch.labels == 255).mean() < 0.6
