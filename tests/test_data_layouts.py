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
    check_splits,
    fix_binary,
    open_dataset,
    read_label,
    split_names,
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
    folder(tmp_path, {"c": label(6, 5, 4, 255)}, split="val")
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


@pytest.mark.parametrize(
    ("train", "val", "says", "fixes"),
    [
        (label(0, 100), label(200, 255), "{0, 100, 200, 255}", ["0..2", "ignore = [100, 200]", "--num-classes 201"]),
        (label(254), label(), "{0, 254}", ["0..1", "ignore = [254]", "--num-classes 255"]),
        (label(1, 2), label(200), "{0, 1, 2, 200}", ["0..3", "ignore = [200]", "--num-classes 201"]),
        (np.full((4, 5), 9), np.full((4, 5), 9), "{9}", ["0..1", "ignore = [9]", "--num-classes 10"]),
    ],
)
def test_ids_with_wide_gaps_are_not_taken_for_classes(tmp_path, train, val, says, fixes):
    folder(tmp_path, {"a": train})
    folder(tmp_path, {"b": val}, split="val")
    error = problems_of(Folder, tmp_path, "train")
    assert len(error.problems) == 1
    assert f"unique values {says} in all splits" in str(error)
    assert [fix in line for fix, line in zip(fixes, error.advice, strict=True)] == [True] * 3
    K = int(fixes[2].split()[-1])
    assert len(Folder(tmp_path, "train", num_classes=K).classes) == K


def test_a_void_value_beside_two_classes_is_named_and_the_advice_works(tmp_path):
    folder(tmp_path, {"a": label(1, 200)})
    assert "ignore = [200]" in str(problems_of(Folder, tmp_path, "train"))
    (tmp_path / "classes.toml").write_text('names = ["sea", "boat"]\nignore = [200]')
    assert check_pairs(Folder(tmp_path, "train")).ignored == 1


def test_half_of_the_ids_are_enough(tmp_path):
    folder(tmp_path, {"a": label(1, 5)})
    (tmp_path / "masks/train/b.png").write_bytes(b"")
    put(tmp_path / "images/train/b.png", image())
    assert len(Folder(tmp_path, "train").classes) == 6
    put(tmp_path / "masks/train/a.png", label(1, 6))
    problems = problems_of(Folder, tmp_path, "train").problems
    assert "only 3 of the ids 0..6 occur" in problems[0]
    assert "the file is empty" in problems[1]  # which may have held the others


def test_masks_are_read_once_for_their_classes_and_again_when_one_changes(tmp_path, monkeypatch):
    from scratchfcn.data.sets import folder as module

    reads = []
    monkeypatch.setattr(module, "read_label", lambda path: reads.append(path.name) or read_label(path))
    folder(tmp_path, {"a": label(1), "b": label(1)})
    folder(tmp_path, {"c": label(1)}, split="val")
    for split in ("train", "val", "train"):
        open_dataset(tmp_path, split)
    assert sorted(reads) == ["a.png", "b.png", "c.png"]
    time.sleep(0.02)  # beyond the resolution of a file's time
    put(tmp_path / "masks/train/a.png", label(2))
    assert len(open_dataset(tmp_path, "val").classes) == 3
    assert len(reads) == 6


def test_hidden_folders_are_no_splits(tmp_path):
    folder(tmp_path, {"a": label(1)})
    folder(tmp_path, {"a-checkpoint": label(77)}, split=".ipynb_checkpoints")
    assert split_names(tmp_path) == ["train"]
    assert len(open_dataset(tmp_path, "train").classes) == 2
    put(tmp_path / "masks/train/a.png", label(255))
    assert [path.name for path in fix_binary(tmp_path).iterdir()] == ["train"]
    own = camvid(tmp_path / "camvid", "test")
    camvid(own, ".old")
    assert split_names(own) == ["test"]


def test_a_split_without_masks_says_which_folder_is_missing(tmp_path):
    folder(tmp_path, {"a": label(1)})
    put(tmp_path / "images/val/b.jpg", image())
    error = problems_of(open_dataset, tmp_path, "val")
    assert error.problems[0].startswith(f"{tmp_path / 'masks/val'}: no such folder")
    assert f"each image in {tmp_path / 'images/val'} (1 of them) needs a mask" in error.problems[0]
    assert str(tmp_path / "masks/val") in error.advice[0]
    assert len(open_dataset(tmp_path, "train")) == 1


def test_left_over_files_are_all_named_with_their_nearest(tmp_path):
    folder(tmp_path, {"a": label(1)})
    put(tmp_path / "images/train/b.jpg", image())
    put(tmp_path / "masks/train/b_.png", label())
    put(tmp_path / "masks/train/zebra.png", label())
    put(tmp_path / "images/train/a.jpg", image())
    text = str(problems_of(Folder, tmp_path, "train"))
    assert "✗ image train/b.jpg has no mask (nearest name: b_.png)" in text
    assert "✗ mask train/b_.png has no image (nearest name: b.jpg)" in text
    assert "✗ mask train/zebra.png has no image\n" in text
    assert "✗ images train/a.jpg and a.png share the name 'a'" in text


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
    assert error.problems[1] == "train/3: image 5×6 but mask 5×4"
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


@pytest.mark.parametrize("given", ["toml", "number", "found"])
def test_a_few_masks_of_background_and_void_are_not_called_binary(tmp_path, given):
    folder(tmp_path, {"a": label(1, 2)})
    folder(tmp_path, {"b": label(255)}, split="val")
    if given == "toml":
        (tmp_path / "classes.toml").write_text('names = ["a", "b", "c"]')
    val = Folder(tmp_path, "val", num_classes=3 if given == "number" else None)
    assert check_pairs(val).pixels.tolist() == [19, 0, 0]


def test_binary_needs_both_0_and_255_in_a_split_of_two_classes(tmp_path):
    folder(tmp_path, {"a": label(1)})
    folder(tmp_path, {"b": np.full((4, 5), 255)}, split="val")
    assert check_pairs(Folder(tmp_path, "val")).ignored == 20
    put(tmp_path / "masks/val/b.png", label(255))
    assert "BINARY" in str(problems_of(check_pairs, Folder(tmp_path, "val")))


def test_commands_in_advice_can_be_pasted(tmp_path):
    root = folder(tmp_path / "my data; old", {"a": label(255)})
    assert f"--data '{root}' --fix binary" in str(problems_of(check_pairs, Folder(root, "train")))


@pytest.mark.parametrize(("bad", "share"), [(100 * 100, "100%"), (3141, "31%"), (2, "0.02%")])
def test_shares_are_plain_numbers(tmp_path, bad, share):
    folder(tmp_path, {"a": label(*[7] * bad, H=100, W=100)})
    assert f"col 0), {share} of pixels" in str(problems_of(check_pairs, Folder(tmp_path, "train", num_classes=2)))


def test_sizes_are_counted(tmp_path):
    folder(tmp_path, {"a": label(1, H=6, W=3), "b": label(1), "c": label(1)})
    found = check_pairs(Folder(tmp_path, "train"))
    assert list(found.sizes.items()) == [((4, 5), 2), ((6, 3), 1)]
    assert check_pairs(Shapes(3, (8, 9))).sizes == {(8, 9): 3}


def test_all_splits_are_checked_and_their_problems_told_together(tmp_path):
    folder(tmp_path, {"a": label(1), "b": label(1)})
    folder(tmp_path, {"c": label(7), "d": label(1, H=3)}, split="val")
    folder(tmp_path, {"e": label(7)}, split="test")
    put(tmp_path / "images/train/z.png", image())
    put(tmp_path / "images/val/d.png", image())
    error = problems_of(check_splits, tmp_path, 2)
    assert [problem.split(":")[0] for problem in error.problems] == [
        "masks/test/e.png",
        "image train/z.png has no mask",
        "masks/val/c.png",
        "val/d",
    ]
    assert len(error.advice) == len(set(error.advice)) == 3  # about pairing, and twice about the value 7
    assert len(problems_of(check_splits, tmp_path, 2, splits=("train", "val")).problems) == 3
    assert "masks/test/e.png" not in str(problems_of(check_splits, tmp_path, 2, splits=("train", "val")))


def test_what_is_wrong_with_the_whole_folder_is_told_once(tmp_path):
    folder(tmp_path, {"a": label(200)})
    folder(tmp_path, {"b": label(1)}, split="val")
    assert len(problems_of(check_splits, tmp_path).problems) == 1
    assert "no split 'test'" in str(problems_of(check_splits, tmp_path, 201, splits=("val", "test")))


def test_checked_splits_come_back_open_and_counted(tmp_path):
    folder(tmp_path, {"a": label(1), "b": label()})
    folder(tmp_path, {"c": label(1)}, split="val")
    seen = []
    checked = check_splits(tmp_path, progress=lambda *step: seen.append(step), splits=("val", "train"))
    assert seen == [("val", 1, 1), ("train", 1, 2), ("train", 2, 2)]
    assert list(checked) == ["val", "train"]
    dataset, histogram = checked["train"]
    assert (dataset.name(1), histogram.pixels.tolist()) == ("b", [39, 1])
    assert list(check_splits(tmp_path)) == ["train", "val"]


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
