"""Images of six channels and labels of two planes: read, changed and fed as the ones of three channels are."""

from pathlib import Path

import make_sets
import numpy as np
import pytest
from make_sets import put, put_list, put_mat

from scratchfcn.data import (
    CAFFE_MEAN,
    IGNORE,
    IMAGENET_MEAN,
    IMAGENET_STD,
    Cached,
    Classes,
    Compose,
    Cutout,
    DataError,
    Dataset,
    Loader,
    Normalise,
    RandomCrop,
    RandomFlip,
    RandomRotate,
    RandomScale,
    RandomWindow,
    Resize,
    Transform,
    main_view,
    normalise,
    open_dataset,
)
from scratchfcn.data.sets import siftflow as scenes
from scratchfcn.data.sets.lists import shipped_list
from scratchfcn.data.transforms import blue_first
from scratchfcn.training import Config, sample_loss
from scratchfcn.training.augmentation import augmentation
from scratchfcn.training.network import normalise_for


def nyud(root: Path, split: str = "trainval", **options: object) -> Dataset:
    return open_dataset(make_sets.nyudv2(root, **options), split, name="nyudv2-rgb-hha")


def problems_of(call, *arguments, **options) -> str:
    with pytest.raises(DataError) as error:
        call(*arguments, **options)
    return str(error.value)


# --- colour and HHA ---------------------------------------------------------------------------------------


def test_hha_lies_beneath_the_photograph(tmp_path):
    both = nyud(tmp_path)
    rgb, hha = (open_dataset(tmp_path, "trainval", name=name) for name in ("nyudv2", "nyudv2-hha"))
    assert [both.name(i) for i in range(3)] == ["img_5003", "img_5004", "img_5010"]
    for i in range(3):
        image, label = both.read(i)
        assert (image == np.dstack([rgb.read(i)[0], hha.read(i)[0]])).all()
        assert (label == rgb.read(i)[1]).all()
    assert both.channels == 6
    assert not both.tasks


def test_its_views_are_the_two_pictures_with_the_same_masks(tmp_path):
    both = nyud(tmp_path)
    image, label = both.read(1)
    views = both.views()
    assert list(views) == ["rgb", "hha"]
    for view, channels in zip(views.values(), (image[:, :, :3], image[:, :, 3:]), strict=True):
        assert len(view) == len(both)
        assert view.name(1) == both.name(1)
        assert (view.read(1)[0] == channels).all()
        assert (view.read(1)[1] == label).all()
    assert main_view(both).read(1)[0].shape[2] == 3
    assert main_view(views["rgb"]) is views["rgb"]
    assert main_view(Cached(both)).read(1)[0].shape[2] == 3
    assert views["hha"].files(1) == (tmp_path / "data/hha/img_5004.png", tmp_path / "segmentation/img_5004.mat")


@pytest.mark.parametrize("lists", [True, False])
def test_an_image_without_its_hha_is_a_loose_end(tmp_path, lists):
    make_sets.nyudv2(tmp_path, lists=lists)
    (tmp_path / "data/hha/img_5004.png").unlink()
    assert "hha/img_5004" in problems_of(open_dataset, tmp_path, "train", name="nyudv2-rgb-hha")
    loose = open_dataset(tmp_path, "train", name="nyudv2-rgb-hha", strict=False)
    assert [loose.name(i) for i in range(len(loose))] == ["img_5003"]
    assert (loose.read(0)[0][:, :, 3:] == make_sets.noise("hha 5003")).all()
    assert len(open_dataset(tmp_path, "train", name="nyudv2")) == 2


def test_hha_of_another_size_or_any_other_kind_of_file(tmp_path):
    both = nyud(tmp_path)
    put(tmp_path / "data/hha/img_5003.png", np.zeros((7, 9, 3)))
    assert "hha/img_5003: HHA 9×7 but photograph 32×24" in problems_of(both.read, 0)
    (tmp_path / "data/hha/img_5004.png").unlink()
    put(tmp_path / "data/hha/img_5004.bmp", make_sets.noise("another"))
    again = open_dataset(tmp_path, "train", name="nyudv2-rgb-hha")
    assert (again.read(1)[0][:, :, 3:] == make_sets.noise("another")).all()


def test_a_folder_without_hha_is_not_of_this_kind(tmp_path):
    make_sets.nyudv2(tmp_path)
    (tmp_path / "data/hha").rename(tmp_path / "data/elsewhere")
    said = problems_of(open_dataset, tmp_path, "train", name="nyudv2-rgb-hha")
    assert "data/hha/ is missing" in said


def test_values_to_ignore_are_ignored_in_all_views(tmp_path):
    root = make_sets.nyudv2(tmp_path)
    both = open_dataset(root, "train", name="nyudv2-rgb-hha", ignore=(77,))
    assert all(77 in view.classes.ignored_values for view in [both, *both.views().values()])


# --- two label maps ---------------------------------------------------------------------------------------


def test_both_label_maps_are_the_planes_of_one_label(tmp_path):
    both = open_dataset(make_sets.siftflow(tmp_path), "trainval", name="siftflow-both")
    parts = {name: open_dataset(tmp_path, "trainval", name=f"siftflow{name}") for name in ("", "-geometric")}
    assert {name: len(classes) for name, classes in both.tasks.items()} == {"semantic": 33, "geometric": 3}
    assert both.classes == both.tasks["semantic"] == parts[""].classes
    for i in range(len(both)):
        image, label = both.read(i)
        assert image.shape == (*make_sets.SIZE, 3)
        assert (label == np.dstack([part.read(i)[1] for part in parts.values()])).all()
        for task, part in zip(both.tasks, parts.values(), strict=True):
            assert (main_view(both, task).read(i)[1] == part.read(i)[1]).all()
            assert main_view(both, task).classes == part.classes
    assert main_view(both).classes == both.classes


def test_an_image_without_one_of_its_maps_is_a_loose_end(tmp_path):
    make_sets.siftflow(tmp_path)
    (tmp_path / scenes.GEOMETRIC_LABELS / "forest_for121.mat").unlink()
    assert "GeoLabels" in scenes.GEOMETRIC_LABELS
    assert "forest_for121" in problems_of(open_dataset, tmp_path, "trainval", name="siftflow-both")
    loose = open_dataset(tmp_path, "trainval", name="siftflow-both", strict=False)
    assert [loose.name(i) for i in range(len(loose))] == ["coast_land111"]
    expected = main_view(loose, "geometric").read(0)[1]
    assert (loose.read(0)[1][:, :, 1] == expected).all()


def test_a_list_in_the_folder_counts_for_both_maps(tmp_path):
    make_sets.siftflow(tmp_path)
    put_list(tmp_path / "train.txt", ["street_par177", "coast_arnat59"])
    both = open_dataset(tmp_path, "train", name="siftflow-both")
    assert [both.name(i) for i in range(2)] == ["street_par177", "coast_arnat59"]
    assert "street_par177" in shipped_list("siftflow_test")


def test_maps_of_two_sizes_and_values_that_are_none(tmp_path):
    both = open_dataset(make_sets.siftflow(tmp_path), "trainval", name="siftflow-both")
    put_mat(tmp_path / scenes.GEOMETRIC_LABELS / "coast_land111.mat", S=np.ones((24, 30), np.int16))
    assert "coast_land111: image 32×24 but geometric labels 30×24" in problems_of(both.read, 0)
    put_mat(tmp_path / scenes.GEOMETRIC_LABELS / "forest_for121.mat", S=np.full((24, 32), 4, np.int16))
    assert "value 4" in problems_of(both.read, 1)


def test_no_value_can_be_ignored_in_two_maps_at_once(tmp_path):
    root = make_sets.siftflow(tmp_path)
    said = problems_of(open_dataset, root, "trainval", name="siftflow-both", ignore=(40,))
    assert "semantic and geometric labels hold values of their own" in said


def test_a_data_set_of_several_parts_must_say_which():
    class Mine(Dataset):
        channels = 4
        classes = Classes.numbered(2)

    with pytest.raises(TypeError, match="Mine must define views"):
        main_view(Mine())


# --- what moves pixels moves them all ---------------------------------------------------------------------

MOVES: list[Transform] = [
    RandomFlip(1.0),
    RandomCrop((11, 13)),
    RandomCrop((40, 50)),
    RandomScale(0.5, 0.7),
    RandomScale(1.3, 1.9),
    RandomRotate(40),
    RandomWindow(25, RandomScale(0.6, 1.5), (17, 19)),
    Cutout(0.8),
    Resize((10, 47)),
    Compose(augmentation(Config(data="x", scale=(0.5, 2.0), crop=(20, 24), rotate=15, cutout=0.5, flip=True))),
]


@pytest.mark.parametrize("move", MOVES, ids=lambda move: type(move).__name__)
@pytest.mark.parametrize("seed", range(4))
def test_both_pictures_and_both_planes_move_alike(move, seed):
    """HHA is the photograph again, and the second plane is the first plus 100: so they must remain."""
    rng = np.random.default_rng(seed)
    picture = rng.integers(0, 256, (24, 32, 3), np.uint8)
    plane = rng.integers(0, 33, (24, 32), np.uint8)
    plane[rng.random((24, 32)) < 0.2] = IGNORE
    second = np.where(plane == IGNORE, IGNORE, plane + 100).astype(np.uint8)
    image, label = move(np.dstack([picture, picture]), np.dstack([plane, second]), np.random.default_rng(seed))
    assert image.shape[2:] == (6,)
    assert label.shape == (*image.shape[:2], 2)
    assert (image[:, :, :3] == image[:, :, 3:]).all()
    assert (label[:, :, 1] == np.where(label[:, :, 0] == IGNORE, IGNORE, label[:, :, 0] + 100)).all()
    alone = move(picture, plane, np.random.default_rng(seed))  # the same chance: as if there were nothing beneath
    assert (image[:, :, :3] == alone[0]).all()
    assert (label[:, :, 0] == alone[1]).all()


@pytest.mark.parametrize("change", [{"colour": 1.0}, {"blur": 3.0}])
def test_other_light_and_blur_change_the_colours_and_leave_hha(tmp_path, change):
    image, label = nyud(tmp_path).read(0)
    steps = augmentation(Config(data="x", flip=False, **change))
    changed, _ = Compose(steps)(image, label, np.random.default_rng(2))
    assert (changed[:, :, 3:] == image[:, :, 3:]).all()
    assert (changed[:, :, :3] != image[:, :, :3]).any()


def test_batches_of_six_channels_and_two_planes(tmp_path):
    both = nyud(tmp_path / "n")
    batch = next(Loader(both, 3, normalise_for(6, False, both), shuffle=False).epoch(0))
    assert batch.images.shape == (3, 6, *make_sets.SIZE)
    assert batch.labels.shape == (3, *make_sets.SIZE)
    scene = open_dataset(make_sets.siftflow(tmp_path / "s"), "trainval", name="siftflow-both")
    batch = next(Loader(scene, 2, Normalise(), shuffle=False).epoch(0))
    assert batch.images.shape == (2, 3, *make_sets.SIZE)
    assert batch.labels.shape == (2, *make_sets.SIZE, 2)
    assert (batch.labels[1] == scene.read(1)[1]).all()


def test_what_has_too_few_channels_or_two_sizes_is_refused(tmp_path):
    both = nyud(tmp_path / "n")
    with pytest.raises(RuntimeError, match="normalise: the image has 6 channels, but mean 3 numbers and std 3"):
        next(Loader(both, 1, Normalise(), workers=0).epoch(0))
    scene = open_dataset(make_sets.siftflow(tmp_path / "s"), "trainval", name="siftflow-both")

    heights = iter([24, 12])

    def halved(image, label, rng):
        return normalise(image), label[: next(heights)]

    with pytest.raises(DataError, match="mask coast_land111 is 32×24, mask forest_for121 is 32×12"):
        next(Loader(scene, 2, halved, shuffle=False, workers=0).epoch(0))


# --- what networks are fed --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("channels", "order"), [(3, [2, 1, 0]), (6, [2, 1, 0, 5, 4, 3]), (4, [2, 1, 0, 3]), (1, [0]), (2, [0, 1])]
)
def test_blue_comes_first_in_each_picture(channels, order):
    assert blue_first(channels) == order
    image = np.arange(channels, dtype=np.uint8)[None, None] * 10  # (1, 1, C)
    x = normalise(image, (0.0,) * channels, (1 / 255,) * channels, bgr=True)
    np.testing.assert_allclose(x[:, 0, 0], [10 * c for c in order], atol=1e-5)


# of the reference implementation's data layers, blue first
PUBLISHED = {
    "voc2012": (104.00699, 116.66877, 122.67892),
    "pascal-context": (104.007, 116.669, 122.679),
    "nyudv2": (116.190, 97.203, 92.318),
    "nyudv2-hha": (132.431, 94.076, 118.477),
    "nyudv2-rgb-hha": (116.190, 97.203, 92.318, 132.431, 94.076, 118.477),
    "siftflow": (114.578, 115.294, 108.353),
    "siftflow-geometric": (114.578, 115.294, 108.353),
    "siftflow-both": (114.578, 115.294, 108.353),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_papers_networks_are_fed_each_data_set_less_its_own_mean(tmp_path, name):
    root = make_sets.MAKERS[name](tmp_path)
    images = open_dataset(root, "train" if name in ("voc2012", "pascal-context") else "trainval", name=name)
    fed = normalise_for(images.channels, True, images)
    image, _ = images.read(0)
    expected = image.astype(np.float64)[:, :, blue_first(images.channels)] - PUBLISHED[name]
    np.testing.assert_allclose(fed(image, None)[0], expected.transpose(2, 0, 1), atol=2e-4)


def test_other_networks_are_fed_imagenets_mean_and_hhas_own(tmp_path):
    both = nyud(tmp_path)
    fed = normalise_for(6, False, both)
    assert fed.mean[:3] == IMAGENET_MEAN
    assert fed.std == IMAGENET_STD * 2
    np.testing.assert_allclose(np.array(fed.mean[3:]) * 255, [118.477, 94.076, 132.431])  # as the file stores them
    assert not fed.bgr
    assert normalise_for(3, False, both.views()["hha"]).mean == fed.mean[3:]
    assert normalise_for(3, False, both.views()["rgb"]) == Normalise()
    assert normalise_for(3, True, None).mean == CAFFE_MEAN
    assert normalise_for(7, False).mean == IMAGENET_MEAN * 2 + IMAGENET_MEAN[:1]


# --- loss sampling ----------------------------------------------------------------------------------------


def test_a_pixel_is_drawn_for_all_tasks_or_for_none():
    labels = np.random.default_rng(0).integers(0, 3, (2, 30, 40, 2)).astype(np.uint8)
    sampled = sample_loss(labels, 0.3)
    gone = sampled == IGNORE
    assert (gone[..., 0] == gone[..., 1]).all()
    assert 0.65 < gone.mean() < 0.75
    assert (sampled[~gone] == labels[~gone]).all()
    assert (labels != IGNORE).all()
