"""Images that are there twice: found if they are, and not if they only look alike, as frames of a film do."""

import io

import numpy as np
import pytest
from made_folders import folder, label, photograph, put
from PIL import Image
from shared_data import shared_data

from scratchfcn.data import check_data, read_image
from scratchfcn.data.checking.duplicates import FLAT, TOLERANCE, alike, dhash, miniature


def twice(root):
    """Kind and texts of what was found twice, problems and warnings."""
    found = check_data(root)
    return [(group.kind, [p.text for p in group.problems]) for group in (*found.groups, *found.warnings)]


def two_splits(root, image, other, mask=None):
    for split, picture, shown in (("train", image, label(0, 1)), ("val", other, label(0, 1) if mask is None else mask)):
        put(root / "images" / split / f"{split}1.png", picture)
        put(root / "masks" / split / f"{split}1.png", shown)
        put(root / "images" / split / "other.png", photograph(split + "other"))
        put(root / "masks" / split / "other.png", label(0, 1))
    return root


def resaved(image, quality, scale=1.0):
    picture = Image.fromarray(image)
    size = (round(picture.width * scale), round(picture.height * scale))
    file = io.BytesIO()
    picture.resize(size, Image.Resampling.BICUBIC).save(file, "JPEG", quality=quality)
    return np.array(Image.open(file))


def test_the_same_pixels_in_two_splits(tmp_path):
    image = photograph("x")
    two_splits(tmp_path, image, image)
    assert twice(tmp_path) == [("duplicate", ["train/train1.png, val/val1.png: the same pixels"])]
    assert not check_data(tmp_path).sound
    assert check_data(tmp_path, duplicates=False).sound
    assert check_data(tmp_path, duplicates=False).same is None


def test_it_is_the_pixels_that_count_not_the_file(tmp_path):
    image = photograph("x")
    two_splits(tmp_path, image, image)
    (tmp_path / "images/val/val1.png").unlink()
    put(tmp_path / "images/val/val1.bmp", image)
    assert twice(tmp_path)[0][0] == "duplicate"
    turned = Image.fromarray(np.rot90(image, -1))  # and a turn that EXIF takes back
    exif = Image.Exif()
    exif[0x0112] = 8
    (tmp_path / "images/val/val1.bmp").unlink()
    put(tmp_path / "images/val/val1.png", turned, exif=exif)
    assert twice(tmp_path)[0][0] == "duplicate"


def test_masks_that_contradict_each_other_are_told(tmp_path):
    image = photograph("x")
    two_splits(tmp_path, image, image, label(1, 0))
    assert "but their masks differ" in twice(tmp_path)[0][1][0]


@pytest.mark.parametrize(("quality", "scale"), [(85, 1), (40, 1), (75, 0.5), (75, 1.5)])
def test_an_image_that_was_saved_again(tmp_path, quality, scale):
    image = photograph("x", (240, 320))
    other = resaved(image, quality, scale)
    two_splits(tmp_path, image, other, label(0, 1, size=other.shape[:2]))
    put(tmp_path / "masks/train/train1.png", label(0, 1, size=(240, 320)))
    kind, texts = twice(tmp_path)[0]
    assert kind == "near"
    assert texts[0].startswith("train/train1.png, val/val1.png: look the same")


def test_within_a_split_it_is_a_warning(tmp_path):
    image = photograph("x", (240, 320))
    mask = label(0, 1, size=(240, 320))
    folder(tmp_path, {"a": mask, "b": mask, "c": mask, "d": mask})
    put(tmp_path / "images/train/a.png", image)
    put(tmp_path / "images/train/b.png", image)
    put(tmp_path / "images/train/c.png", resaved(image, 60))
    found = check_data(tmp_path)
    assert found.sound
    assert [group.kind for group in found.warnings] == ["repeated", "similar"]
    assert [same.exact for same in found.same] == [True, False]


def test_a_file_that_two_lists_name_is_one_image(tmp_path):
    """VOC's trainval holds train and val: asked for together, their images are not twice there."""
    for name in ("a", "b"):
        put(tmp_path / f"JPEGImages/{name}.jpg", photograph(name))
        put(tmp_path / f"SegmentationClass/{name}.png", label(0, 1))
    for split, names in (("train", "a"), ("val", "b"), ("trainval", "a\nb")):
        put(tmp_path / f"ImageSets/Segmentation/{split}.txt", names.encode())
    found = check_data(tmp_path)
    assert (list(found.splits), found.overlapping) == (["train", "val"], ["trainval"])
    found = check_data(tmp_path, splits=["train", "val", "trainval"])
    assert list(found.splits) == ["train", "val", "trainval"]
    assert found.sound
    assert found.same == []


def test_lists_that_overlap_in_part_are_told(tmp_path):
    for name in ("a", "b", "c"):
        put(tmp_path / f"JPEGImages/{name}.jpg", photograph(name))
        put(tmp_path / f"SegmentationClass/{name}.png", label(0, 1))
    put(tmp_path / "ImageSets/Segmentation/train.txt", b"a\nb")
    put(tmp_path / "ImageSets/Segmentation/val.txt", b"b\nc")
    found = check_data(tmp_path)
    assert found.sound
    assert [p.text for group in found.warnings for p in group.problems if group.kind == "shared"] == [
        "train and val have 1 images in common: b.jpg"
    ]


def test_pictures_without_contrast_are_not_compared(tmp_path):
    flat = np.full((60, 80, 3), 100, np.uint8)
    flat[:, 40:] += FLAT - 1
    noisy = flat.copy()
    noisy[0, 0] += 1
    two_splits(tmp_path, flat, noisy, label(0, 1, size=(60, 80)))
    put(tmp_path / "masks/train/train1.png", label(0, 1, size=(60, 80)))
    assert twice(tmp_path) == []


def test_dhash_by_hand():
    ramp = np.tile(np.arange(36, dtype=np.uint8) * 4, (32, 1))  # brighter to the right, everywhere
    assert dhash(np.array([ramp, ramp[:, ::-1]])).tolist() == [2**64 - 1, 0]


def test_groups_are_joined_by_their_members_and_those_together_are_not_compared_again(monkeypatch):
    rng = np.random.default_rng(0)
    base = rng.integers(0, 256, (3, 32, 36)).astype(np.uint8)
    film = [np.clip(base[0].astype(int) + 5 * k, 0, 255).astype(np.uint8) for k in range(6)]  # each like the next
    groups = alike(np.array([base[1], *film, base[2], base[1]]))
    assert [members for members, _ in groups] == [[0, 8], [1, 2, 3, 4, 5, 6]]
    assert groups[0][1] == 0
    assert 0 < groups[1][1] <= TOLERANCE
    still = np.repeat(base[:1], 4000, axis=0)  # a camera that does not move
    joins = []
    isin = np.isin
    monkeypatch.setattr(np, "isin", lambda *given: joins.append(given) or isin(*given))
    assert [len(members) for members, _ in alike(still)] == [4000]
    assert len(joins) == 1  # the first frame has found all others


def test_frames_of_a_film_are_apart_and_resaved_frames_are_not():
    """The measurement that TOLERANCE rests on, on the frames that are most alike: the car stands at a light."""
    root = shared_data("camvid", "val")
    frames = [read_image(path) for path in sorted(root.iterdir())]
    assert alike(np.array([miniature(Image.fromarray(frame)) for frame in frames])) == []
    for quality, scale in ((30, 1.0), (75, 0.5), (75, 0.25), (90, 1.5)):
        pairs = [
            miniature(Image.fromarray(version))
            for frame in frames[::10]
            for version in (frame, resaved(frame, quality, scale))
        ]
        groups = alike(np.array(pairs))
        assert [members for members, _ in groups] == [[2 * k, 2 * k + 1] for k in range(len(frames[::10]))]
        assert max(difference for _, difference in groups) <= 0.6 * TOLERANCE
