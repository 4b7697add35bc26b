"""Cityscapes: street scenes of fifty cities, and the difference between ids and train ids.

The masks (`…_gtFine_labelIds.png`) hold an *id* for each of more than thirty kinds of things. Nineteen of them are the
task; their labels 0..18 are the *train ids*. All others (a bridge, a caravan, the car's own bonnet) are void. The way
back matters as much: the evaluation server wants ids again, so a prediction is written with `Classes.to_file_values`.

The masks of the test split are dummies, which hold nothing but void. It can be opened, to predict from, but it is no
split to train or to be measured on.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from ..palette import Classes
from .lists import Pairs, Shelf, pairs_among
from .published import About, ListedSet

# name, id in files, colour; in the order of train ids
TASK = (
    ("road", 7, (128, 64, 128)),
    ("sidewalk", 8, (244, 35, 232)),
    ("building", 11, (70, 70, 70)),
    ("wall", 12, (102, 102, 156)),
    ("fence", 13, (190, 153, 153)),
    ("pole", 17, (153, 153, 153)),
    ("traffic light", 19, (250, 170, 30)),
    ("traffic sign", 20, (220, 220, 0)),
    ("vegetation", 21, (107, 142, 35)),
    ("terrain", 22, (152, 251, 152)),
    ("sky", 23, (70, 130, 180)),
    ("person", 24, (220, 20, 60)),
    ("rider", 25, (255, 0, 0)),
    ("car", 26, (0, 0, 142)),
    ("truck", 27, (0, 0, 70)),
    ("bus", 28, (0, 60, 100)),
    ("train", 31, (0, 80, 100)),
    ("motorcycle", 32, (0, 0, 230)),
    ("bicycle", 33, (119, 11, 32)),
)
# unlabeled, ego vehicle, rectification border, out of roi, static, dynamic, ground, parking, rail track, guard rail,
# bridge, tunnel, polegroup, caravan, trailer; 0 comes first, because void is written back as the first
VOID = (0, 1, 2, 3, 4, 5, 6, 9, 10, 14, 15, 16, 18, 29, 30)

IMAGES, MASKS = "leftImg8bit", "gtFine"


class Cityscapes(ListedSet):
    """One split of Cityscapes: "train" or "val"; "test" can be opened, but its masks say nothing. See `ListedSet`."""

    about = About(
        name="cityscapes",
        title="Cityscapes, 19 classes",
        summary="Street scenes of 50 cities, 2048x1024, in 19 classes.",
        source="https://www.cityscapes-dataset.com/   "
        "(leftImg8bit_trainvaltest.zip, gtFine_trainvaltest.zip; after registration)",
        size="11 GB and 241 MB",
        licence="its own terms: https://www.cityscapes-dataset.com/license/",
        layout="leftImg8bit/\n"
        "  train/aachen/aachen_000000_000019_leftImg8bit.png …\n"
        "  val/…\n"
        "gtFine/\n"
        "  train/aachen/aachen_000000_000019_gtFine_labelIds.png …\n"
        "  val/…",
        counts={"train": 2975, "val": 500},
        masks="grey PNG of ids: 19 of them become the labels 0..18, all others void (ignored)",
        notes=(
            "the evaluation server wants ids, not labels: predictions are written as ids with `predict --save ids`",
            "test (1525 images) can be opened to predict from; its masks are dummies, so it is in no check",
        ),
    )
    places = (".", "cityscapes", "Cityscapes")
    parts = (IMAGES, MASKS)

    @classmethod
    def splits(cls, root: Path) -> list[str]:
        return [split for split in _folders(root) if split != "test"]

    @classmethod
    def unlisted_splits(cls, root: Path) -> list[str]:
        return [split for split in _folders(root) if split == "test"]

    @classmethod
    def known_classes(cls) -> Classes:
        names, ids, colours = zip(*TASK, strict=True)
        return Classes(names, np.array(colours), file_values=ids, ignored_values=VOID)

    def pairs_of(self, root: Path, split: str) -> tuple[Pairs, list[str]]:
        images = _of_cities(root, f"{IMAGES}/{split}", "_leftImg8bit.png")
        masks = _of_cities(root, f"{MASKS}/{split}", "_gtFine_labelIds.png")
        return pairs_among(sorted({*images.files, *masks.files}), images, masks)

    def name(self, i: int) -> str:
        """`aachen_000000_000019`: city, sequence, frame."""
        return self.pairs[i][0].name.removesuffix("_leftImg8bit.png")


def _folders(root: Path) -> list[str]:
    """The splits that have a folder of images and one of masks."""
    with os.scandir(root / IMAGES) as entries:
        return sorted(e.name for e in entries if e.name[0] != "." and e.is_dir() and (root / MASKS / e.name).is_dir())


def _of_cities(root: Path, folder: str, ending: str) -> Shelf:
    """The files of all cities on one shelf: their names begin with the city's."""
    with os.scandir(root / folder) as entries:
        cities = sorted(entry.name for entry in entries if entry.name[0] != "." and entry.is_dir())
    files: dict[str, str] = {}
    for city in cities:
        files |= Shelf.of(root / folder / city, ending).files
    return Shelf(folder, files, ending)
