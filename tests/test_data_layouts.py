"""Folders of images and masks: which are recognised, what is said about bad ones, what is counted."""

import time

import numpy as np
import pytest
from PIL import Image
from shared_data import shared_data

from scratchfcn.data import (
    CamVid,
    Classes,
    DataError,
    Dataset,
    Folder,
    Shapes,
    check_pairs,
    fix_binary,
    open_dataset,
    read_label,
)


def put(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(array, np.uint8)).save(path)


def image(H=4, W=5):
    return np.zeros((H, W, 3))


def label(*values, H=4, W=5):
    """A mask with these values in its first pixels and 0 elsewhere."""
    mask = np.zeros(H * W)
    mask[: len(values)] = values
    return mask.reshape(H, W)


def folder(root, masks, split="train"):
    """A data set in one's own layout, an image for every mask."""
    for name, mask in masks.items():
        put(root / "images" / split / f"{name}.png", image(*mask.shape))
        put(root / "masks" / split / f"{name}.png", mask)
    return root


def camvid(root, split="train"):
    put(root / split / "a.jpg", image())
    put(root / f"{split}annot" / "a.png", label(11, 11, 3))
    return root


def problems_of(call, *arguments, **options):
    with pytest.raises(DataError) as error:
        call(*arguments, **options)
    return error.value


# --- layouts ---------------------------------------------------------------------------------------


def test_folder_pairs_by_stem_in_counting_order(tmp_path):
    folder(tmp_path, {"b10": label(2), "b9": label(1)})
    data = open_dataset(tmp_path, "train")
    assert isinstance(data, Folder)
    assert (len(data), data.name(0), data.name(1)) == (2, "b9", "b10")
    photo, mask = data.read(1)
    assert (photo.shape, photo.dtype, mask.shape, mask.dtype) == ((4, 5, 3), np.uint8, (4, 5), np.uint8)
    assert mask[0, 0] == 2
    assert data.files(0)[1] == tmp_path / "masks/train/b9.png"


def test_camvid_layout_and_its_void(tmp_path):
    data = open_dataset(camvid(tmp_path, "test"), "test")
    assert isinstance(data, CamVid)
    assert data.classes == Classes.camvid()
    assert data.read(0)[1][0, :3].tolist() == [255, 255, 3]
    assert isinstance(open_dataset(tmp_path, "test", num_classes=11), CamVid)
    assert "has 11 classes, but 12" in str(problems_of(open_dataset, tmp_path, "test", num_classes=12))


def test_the_number_of_classes_is_named_given_or_found_in_all_splits(tmp_path):
    folder(tmp_path, {"a": label(1, 255)})
    assert len(Folder(tmp_path, "train").classes) == 2
    folder(tmp_path, {"c": label(6, 255)}, split="val")
    assert len(Folder(tmp_path, "train").classes) == 7
    assert Folder(tmp_path, "train").classes.names[1] == "class 1"
    assert len(Folder(tmp_path, "train", num_classes=9).classes) == 9
    assert Folder(tmp_path, "train", num_classes=21).classes == Classes.voc()
    (tmp_path / "classes.toml").write_text('names = ["sky", "sea", "sand"]\nignore = [6]')
    assert Folder(tmp_path, "train").classes.names == ("sky", "sea", "sand")
    assert Folder(tmp_path, "train", num_classes=4).classes.names[2:] == ("sand", "class 3")
    assert Folder(tmp_path, "val").read(0)[1][0, 0] == 255


def test_at_least_two_classes_and_broken_masks_do_not_stop_the_search(tmp_path):
    folder(tmp_path, {"a": label(), "b": label()})
    assert len(Folder(tmp_path, "train").classes) == 2
    (tmp_path / "masks/train/a.png").write_bytes(b"")
    assert len(Folder(tmp_path, "train").classes) == 2
    (tmp_path / "masks/train/b.png").write_bytes(b"")
    assert len(problems_of(Folder, tmp_path, "train").problems) == 2


def test_left_over_files_are_all_named_with_their_nearest(tmp_path):
    folder(tmp_path, {"a": label(1)})
    put(tmp_path / "images/train/b.jpg", image())
    put(tmp_path / "masks/train/b_.png", label())
    put(tmp_path / "masks/train/zebra.png", label())
    put(tmp_path / "images/train/a.jpg", image())
    text = str(problems_of(Folder, tmp_path, "train"))
    assert "✗ image b.jpg has no mask (nearest name: b_.png)" in text
    assert "✗ mask b_.png has no image (nearest name: b.jpg)" in text
    assert "✗ mask zebra.png has no image\n" in text
    assert "✗ images a.jpg and a.png share the name 'a'" in text


def test_thousands_of_left_over_files_are_named_quickly(tmp_path):
    from scratchfcn.data.datasets import match_pairs

    images = [tmp_path / f"frame_{i:05d}.jpg" for i in range(3000)]
    masks = [tmp_path / f"frame_{i:05d}_mask.png" for i in range(3000)]
    began = time.perf_counter()
    assert len(problems_of(match_pairs, images, masks).problems) == 6000
    assert time.perf_counter() - began < 5


def test_unknown_layouts_and_splits(tmp_path):
    text = str(problems_of(open_dataset, tmp_path / "gone", "train"))
    assert "no such folder" in text
    (tmp_path / "JPEGImages").mkdir()
    text = str(problems_of(open_dataset, tmp_path, "train"))
    assert "no known layout; it holds JPEGImages/" in text
    assert "images/train/a.jpg" in text
    assert "trainannot/a.png" in text
    camvid(tmp_path, "train")
    camvid(tmp_path, "val")
    assert "no split 'vall'; there are train, val; nearest: 'val'" in str(problems_of(open_dataset, tmp_path, "vall"))
    own = folder(tmp_path / "own", {"a": label()})
    assert "no split 'test'; there are train" in str(problems_of(open_dataset, own, "test"))


def test_a_dataset_must_define_its_three_methods():
    for call in (len, lambda data: data.name(0), lambda data: data.read(0)):
        with pytest.raises(TypeError, match="Dataset must define"):
            call(Dataset())


# --- checking --------------------------------------------------------------------------------------


def test_counts_and_weights(tmp_path):
    folder(tmp_path, {"a": label(*[1] * 5, 255), "b": label(), "c": label(*[1] * 4, 3)})
    seen = []
    found = check_pairs(Folder(tmp_path, "train"), lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert found.pixels.dtype == np.int64
    assert found.pixels.tolist() == [14 + 20 + 15, 9, 0, 1]
    assert found.images.tolist() == [3, 2, 0, 1]
    assert (found.pairs, found.ignored, found.absent) == (3, 1, ["class 2"])
    freq = np.array([49 / 60, 9 / 40, 1 / 20])
    expected = np.median(freq) / freq
    np.testing.assert_allclose(found.median_frequency_weights(), [expected[0], expected[1], 0, expected[2]])


def test_every_problem_of_every_pair_is_collected(tmp_path):
    masks = {f"{i}": label(1) for i in range(5)}
    masks["2"] = label(0, 0, 0, 0, 0, 0, 7, 7, 1)
    folder(tmp_path, masks)
    put(tmp_path / "images/train/3.png", image(6, 5))
    photo = tmp_path / "images/train/4.png"
    put(photo, np.random.default_rng(0).integers(0, 256, (4, 5, 3)))
    photo.write_bytes(photo.read_bytes()[:-40])
    error = problems_of(check_pairs, Folder(tmp_path, "train", num_classes=2))
    assert len(error.problems) == 3
    assert error.problems[0] == (
        "masks/train/2.png: value 7 at (row 1, col 1), 10% of pixels; allowed 0..1, and 255 for ignored\n"
        "  unique values {0, 1, 7}"
    )
    assert error.problems[1] == "3: image 5×6 but mask 5×4"
    assert "4.png: the image is damaged or cut short" in error.problems[2]
    assert "--num-classes 8" in str(error)
    assert "ignore = [7]" in str(error)


def test_a_jpeg_cut_short_is_found_before_training(tmp_path):
    folder(tmp_path, {"a": label(1, H=64, W=64)})
    (tmp_path / "images/train/a.png").unlink()
    photo = tmp_path / "images/train/a.jpg"
    put(photo, np.random.default_rng(0).integers(0, 256, (64, 64, 3)))
    photo.write_bytes(photo.read_bytes()[:-500])
    assert "a.jpg: the image is damaged" in str(problems_of(check_pairs, Folder(tmp_path, "train")))


def test_binary_masks_are_diagnosed_although_255_is_allowed(tmp_path):
    folder(tmp_path, {"a": label(), "b": label(0, 0, 0, 0, 0, 0, 255, 255), "c": label(255)})
    error = problems_of(check_pairs, Folder(tmp_path, "train"))
    assert len(error.problems) == 1
    assert "masks/train/b.png: value 255 at (row 1, col 1), 10% of pixels" in str(error)
    assert "unique values {0, 255}: this looks like a BINARY mask saved as 0/255 (2 of 3 masks" in str(error)
    assert f"fix: scratchfcn check-data --data {tmp_path} --fix binary" in str(error)


def test_the_repair_makes_binary_masks_sound_and_keeps_the_originals(tmp_path):
    folder(tmp_path, {"a": label(), "b": label(255)})
    seen = []
    fixed = fix_binary(tmp_path, lambda done, total: seen.append((done, total)))
    assert seen == [(1, 2), (2, 2)]
    assert read_label(fixed / "train/b.png")[0, 0] == 1
    assert read_label(tmp_path / "masks/train/b.png")[0, 0] == 255
    assert "is there already" in str(problems_of(fix_binary, tmp_path))
    (tmp_path / "masks").rename(tmp_path / "masks_old")
    fixed.rename(tmp_path / "masks")
    assert check_pairs(Folder(tmp_path, "train")).pixels.tolist() == [39, 1]
    assert "b.png: holds [0, 1]" in str(problems_of(fix_binary, tmp_path))
    assert not (tmp_path / "masks_fixed").exists()


def test_masks_that_count_from_one(tmp_path):
    folder(tmp_path, {"a": np.full((4, 5), 1), "b": np.full((4, 5), 3)})
    assert "count from 1 to 3; subtract 1" in str(problems_of(check_pairs, Folder(tmp_path, "train", num_classes=3)))


def test_generated_images_pass_the_check():
    found = check_pairs(Shapes(60, (48, 48)))
    assert found.pairs == 60
    assert found.absent == []
    assert found.pixels.sum() == 60 * 48 * 48


def test_camvid_is_sound_and_gives_the_known_weights():
    data = open_dataset(shared_data("camvid"), "train")
    began = time.perf_counter()
    found = check_pairs(data)
    assert time.perf_counter() - began < 10  # under one second on an idle two-core machine
    assert (found.pairs, found.ignored, found.absent) == (367, 2503995, [])
    assert found.pixels.tolist()[:3] == [10682767, 14750079, 623349]
    known = [0.2793, 0.2017, 4.7865, 0.1490, 1.0, 0.4217, 3.8467, 1.9736, 0.7889, 6.3747, 8.8587]
    np.testing.assert_allclose(found.median_frequency_weights(), known, atol=5e-5)
