"""NYUDv2: rooms seen by a Kinect, colour and depth for every pixel, in Gupta's 40 classes.

Depth is the lesson here: one scene, three descriptions of it, all of one size.

    RGB    the colour photograph
    depth  the distance of each pixel in millimetres, a 16-bit PNG. The paper feeds its logarithm, because a
           centimetre matters on a table and not at the far wall.
    HHA    three numbers made from depth, stored as the channels of a picture: horizontal disparity, height above the
           ground, and the angle between the surface and gravity. They tell a network what it would have to work out.

The masks (`segmentation/img_ID.mat`, variable `segmentation`) hold 1..40, and 0 where nobody labelled, which is void.

`NYUDv2` reads the photographs, `NYUDv2HHA` the HHA pictures, and `NYUDv2RGBHHA` both, one beneath the other, which is
what the paper does best with (table 4). Depth itself, which is no picture of bytes, is for whoever asks for it.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np

from ..datasets import Dataset, as_size
from ..errors import DataError
from ..images import read_image
from ..palette import Classes, voc_palette
from ..transforms import IMAGENET_MEAN, IMAGENET_STD
from .colours import read_numbers
from .lists import Pairs, Shelf, pairs_among, pairs_in_list, read_list, shipped_list
from .matfiles import as_bytes, read_mat
from .published import About, ListedSet

NAMES = (
    *("wall", "floor", "cabinet", "bed", "chair", "sofa", "table", "door", "window", "bookshelf", "picture", "counter"),
    *("blinds", "desk", "shelves", "curtain", "dresser", "pillow", "mirror", "floor mat", "clothes", "ceiling"),
    *("books", "refridgerator", "television", "paper", "towel", "shower curtain", "box", "whiteboard", "person"),
    *("night stand", "toilet", "sink", "lamp", "bathtub", "bag", "otherstructure", "otherfurniture", "otherprop"),
)
LOG_DEPTH_MEAN = 7.844  # of the training images; the paper subtracts it. e to this power is 2.55 m, in millimetres
RGB_MEAN = (116.190, 97.203, 92.318)  # in 0..255, the third channel first; reference implementation, nyud_layers.py
HHA_MEAN = (132.431, 94.076, 118.477)

SPLITS = {"train": ("train",), "val": ("val",), "trainval": ("train", "val"), "test": ("test",)}  # and what is in them
LAYOUT = (
    "data/\n"
    "  images/img_5001.png …\n"
    "  depth/img_5001.png …\n"
    "  hha/img_5001.png …\n"
    "segmentation/img_5001.mat …\n"
    "train.txt  val.txt  trainval.txt  test.txt   (optional: 5001 in a line; else the published division)"
)


class NYUDv2(ListedSet):
    """One split of NYUDv2 with the colour photographs: "train", "val", "trainval", "test". See `ListedSet`.

    Of image i there is also `read_depth(i)` and `read_hha(i)`.
    """

    about = About(
        name="nyudv2",
        title="NYUDv2, 40 classes",
        summary="Rooms seen by a Kinect: the colour photographs, in 40 classes. Depth and HHA from Python.",
        source="http://dl.caffe.berkeleyvision.org/nyud.tar.gz   (in the layout of the paper's authors)\n"
        "https://cs.nyu.edu/~silberman/datasets/nyu_depth_v2.html   (home page)",
        size="",
        licence="",
        layout=LAYOUT,
        counts={"train": 381, "val": 414, "trainval": 795, "test": 654},
        train="trainval",
        val="test",
        needs="mat",
        masks="segmentation in a .mat file: 1..40 classes, 0 void (ignored); label = value - 1",
        notes=(
            "the paper trains on trainval and reports on test, and so do the defaults here",
            "open_dataset(…).read_depth(i) gives the logarithm of depth, read_hha(i) the HHA picture of image i",
            "--dataset nyudv2-hha reads the HHA pictures instead, and --dataset nyudv2-rgb-hha both",
        ),
        overlapping=("trainval",),
    )
    places = (".", "nyud", "NYUDv2", "nyudv2")
    parts = ("data/images", "segmentation")
    inputs: ClassVar[str] = "images"  # the folder in data/ whose files `read` gives
    caffe_mean = RGB_MEAN
    no_split = "no file in segmentation/ is called img_5001.mat to img_6449.mat, and there is no train.txt or test.txt"

    @classmethod
    def splits(cls, root: Path) -> list[str]:
        masks = Shelf.of(root / "segmentation", ".mat")
        return sorted(
            split for split in SPLITS if _lists(root, split) or not masks.files.keys().isdisjoint(_rule(split))
        )

    @classmethod
    def known_classes(cls) -> Classes:
        return Classes(NAMES, voc_palette(41)[1:], file_values=tuple(range(1, 41)), ignored_values=(0,))

    def pairs_of(self, root: Path, split: str) -> tuple[Pairs, list[str]]:
        return _pairs(root, split, self.inputs)

    def read_values(self, path: Path) -> np.ndarray:
        return as_bytes(read_mat(path, "segmentation"), path, 0, len(NAMES))

    def read_rgb(self, i: int) -> np.ndarray:
        """The colour photograph of image i: uint8 (H, W, 3)."""
        return read_image(self._beside("images", i))

    def read_hha(self, i: int) -> np.ndarray:
        """Image i as HHA: uint8 (H, W, 3), in the order in which the file stores the three.

        Raises:
            DataError: the file is missing or damaged.
        """
        return read_image(self._beside("hha", i))

    def read_depth(self, i: int) -> np.ndarray:
        """The natural logarithm of image i's depth in millimetres: float32 (H, W).

        The paper subtracts `LOG_DEPTH_MEAN` from it. Where the sensor has measured nothing (a stored 0, which has no
        logarithm), it is that mean, which says "nothing known" and becomes 0.

        Raises:
            DataError: the file is missing, damaged, or has several channels.
        """
        path = self._beside("depth", i)
        depth = read_numbers(path).astype(np.float32)  # (H, W)
        if (depth < 0).any():
            raise DataError(f"{path}: negative depths; the file should hold millimetres")
        measured = depth > 0
        return np.log(depth, out=np.full_like(depth, LOG_DEPTH_MEAN), where=measured)

    def _beside(self, folder: str, i: int) -> Path:
        return self.root / "data" / folder / f"{self.name(i)}.png"


class NYUDv2HHA(NYUDv2):
    """The same, with depth as HHA in place of the photographs."""

    about = replace(
        NYUDv2.about,
        name="nyudv2-hha",
        title="NYUDv2 as HHA, 40 classes",
        summary="Rooms seen by a Kinect: depth as disparity, height and angle, in 40 classes.",
        notes=("an image is data/hha/img_ID.png, whose three channels are no colours",),
    )
    parts = ("data/hha", "segmentation")
    inputs = "hha"
    mean = tuple(value / 255 for value in HHA_MEAN[::-1])
    std = IMAGENET_STD  # nobody has published HHA's own
    caffe_mean = HHA_MEAN


class NYUDv2RGBHHA(NYUDv2):
    """The photographs with HHA beneath: images of six channels. For networks of two streams, or of six inputs."""

    about = replace(
        NYUDv2.about,
        name="nyudv2-rgb-hha",
        title="NYUDv2 with colour and HHA, 40 classes",
        summary="Rooms seen by a Kinect: photograph and depth (as HHA) together, in 40 classes.",
        notes=(
            "an image has six channels: data/images/img_ID.png, and then data/hha/img_ID.png",
            "train --fusion late (the default) makes two networks whose scores are averaged, as in the paper; --fusion "
            "early makes one with six inputs",
            "to start from two trained networks: --init RGB.safetensors --init-hha HHA.safetensors",
        ),
    )
    parts = ("data/images", "data/hha", "segmentation")
    channels = 6
    mean = (*IMAGENET_MEAN, *NYUDv2HHA.mean)
    std = (*IMAGENET_STD, *NYUDv2HHA.std)
    caffe_mean = (*RGB_MEAN, *HHA_MEAN)

    def pairs_of(self, root: Path, split: str) -> tuple[Pairs, list[str]]:
        """The images that have a photograph, HHA and a mask; every other one is a loose end."""
        pairs, loose = _pairs(root, split, "images")
        with_hha, without = _pairs(root, split, "hha")
        hha = {path.stem: (path, mask) for path, mask in with_hha}
        pairs = [pair for pair in pairs if pair[0].stem in hha]
        self.hha_pairs = [hha[image.stem] for image, _ in pairs]
        return pairs, list(dict.fromkeys([*loose, *without]))

    def views(self) -> dict[str, Dataset]:
        return {
            "rgb": NYUDv2.of_pairs(self.root, self.pairs, self.classes),
            "hha": NYUDv2HHA.of_pairs(self.root, self.hha_pairs, self.classes),
        }

    def read(self, i: int) -> tuple[np.ndarray, np.ndarray]:
        image, label = super().read(i)
        hha = read_image(self.hha_pairs[i][0])
        if hha.shape != image.shape:
            raise DataError(f"hha/{self.name(i)}: HHA {as_size(hha)} but photograph {as_size(image)}")
        return np.dstack([image, hha]), label  # (H, W, 6)


def _pairs(root: Path, split: str, inputs: str) -> tuple[Pairs, list[str]]:
    """The files of data/`inputs` and the masks of a split; and every loose end, in words."""
    images, masks = Shelf.of_images(root / "data" / inputs), Shelf.of(root / "segmentation", ".mat")
    lists = _lists(root, split)
    if not lists:
        return pairs_among(_rule(split), images, masks)
    names = [f"img_{name.removeprefix('img_')}" for path in lists for name in read_list(path)]
    return pairs_in_list(" and ".join(path.name for path in lists), names, images, masks)


def _lists(root: Path, split: str) -> list[Path]:
    """The lists in the folder that make up a split: trainval.txt, or else train.txt and val.txt; or none."""
    whole = root / f"{split}.txt"
    if whole.is_file():
        return [whole]
    parts = [root / f"{part}.txt" for part in SPLITS[split]]
    return parts if all(path.is_file() for path in parts) else []


def _rule(split: str) -> list[str]:
    """The names of the published split."""
    return [f"img_{name}" for part in SPLITS[split] for name in shipped_list(f"nyudv2_{part}")]
