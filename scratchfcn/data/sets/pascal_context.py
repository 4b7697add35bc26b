"""PASCAL-Context: every pixel of VOC 2010's photographs is named, not only VOC's twenty kinds of objects.

Its annotators used 459 names. The task is to tell the 59 most common ones apart; all others are background, which is
a class of its own: a network has 60 outputs. The masks (`trainval/ID.mat`, variable `LabelMap`) hold numbers 1..459,
and `labels.txt` says which name each number has, in lines "44: building". So a mask is read in two steps, number to
name and name to class. Three of the 59 are called otherwise in that list: diningtable is "table", bedcloth is
"bedclothes", and clothes is "cloth".

The photographs and the lists of the splits are VOC 2010's own (the lists of the detection task, `ImageSets/Main`).
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from ..errors import DataError
from ..palette import VOC_NAMES, Classes, voc_palette
from .lists import Pairs, Shelf, pairs_in_list, read_list
from .matfiles import read_mat
from .published import About, ListedSet

NAMES = (
    *VOC_NAMES,
    *("bag", "bed", "bench", "book", "building", "cabinet", "ceiling", "clothes", "computer", "cup", "door", "fence"),
    *("floor", "flower", "food", "grass", "ground", "keyboard", "light", "mountain", "mouse", "curtain", "platform"),
    *("sign", "plate", "road", "rock", "shelves", "sidewalk", "sky", "snow", "bedcloth", "track", "tree", "truck"),
    *("wall", "water", "window", "wood"),
)
CALLED = {"diningtable": "table", "bedcloth": "bedclothes", "clothes": "cloth"}  # in labels.txt

MEAN = (104.007, 116.669, 122.679)  # in 0..255, blue first; reference implementation, pascalcontext_layers.py
IMAGES, LISTS, MASKS, LABELS = "JPEGImages", "ImageSets/Main", "trainval", "labels.txt"


class PascalContext(ListedSet):
    """One split of PASCAL-Context: "train", "val" or "trainval". See `ListedSet`."""

    about = About(
        name="pascal-context",
        title="PASCAL-Context, 59 classes and background",
        summary="The photographs of PASCAL VOC 2010, labelled completely: objects and surroundings.",
        source="https://cs.stanford.edu/~roozbeh/pascal-context/   (trainval.tar.gz)\n"
        "http://host.robots.ox.ac.uk/pascal/VOC/voc2010/   (VOCtrainval_03-May-2010.tar)",
        size="31 MB of masks, 1.3 GB of photographs",
        licence="photographs from Flickr, under its terms of use; see the home pages",
        layout="VOCdevkit/\n"
        "  VOC2010/\n"
        "    JPEGImages/2008_000002.jpg …\n"
        "    ImageSets/Main/train.txt  val.txt  trainval.txt\n"
        "labels.txt   (or in VOCdevkit, VOC2010 or pascal-context, together with trainval)\n"
        "trainval/2008_000002.mat …",
        counts={"train": 4998, "val": 5105, "trainval": 10103},
        needs="mat",
        masks="LabelMap in a .mat file, 1..459, mapped by name: 0 background, 1..59 classes; no void",
        notes=("background, which is all but the 59 classes, is an output and is scored: 60 outputs",),
        overlapping=("trainval",),
    )
    places = (".", "VOC2010", "VOCdevkit/VOC2010")
    parts = (IMAGES, LISTS)
    caffe_mean = MEAN

    @classmethod
    def find(cls, root: Path) -> Path | None:
        voc = super().find(root)
        return voc if voc is not None and annotations_near(voc) is not None else None

    @classmethod
    def lacks(cls, root: Path) -> DataError | None:
        near = [base / MASKS for base in (root, root / "pascal-context") if (base / LABELS).is_file()]
        if not near:
            return None
        voc = super().find(root)
        absent = near[0] if voc is not None else root / "VOCdevkit/VOC2010"
        return DataError(f"{root} looks like {cls.about.title}, but {absent}/ is missing")

    @classmethod
    def splits(cls, root: Path) -> list[str]:
        return sorted(name for name in ("train", "val", "trainval") if (root / LISTS / f"{name}.txt").is_file())

    @classmethod
    def also_found(cls, root: Path) -> list[str]:
        return [f"masks and {LABELS}: {annotations_near(root)}"]

    @classmethod
    def known_classes(cls) -> Classes:
        return Classes(NAMES, voc_palette(len(NAMES)))

    def __init__(self, root: str | Path, split: str = "train", strict: bool = True) -> None:
        super().__init__(root, split, strict)
        self.label_of_number = class_table(annotations_near(self.root) / LABELS)

    def pairs_of(self, root: Path, split: str) -> tuple[Pairs, list[str]]:
        names = read_list(root / LISTS / f"{split}.txt")
        masks = Shelf.of(annotations_near(root) / MASKS, ".mat")
        return pairs_in_list(f"Main/{split}.txt", names, Shelf.of_images(root / IMAGES), masks)

    def read_values(self, path: Path) -> np.ndarray:
        numbers = read_mat(path, "LabelMap")  # (H, W)
        if numbers.min() < 0 or numbers.max() >= len(self.label_of_number):
            last = len(self.label_of_number) - 1
            raise DataError(f"{path}: numbers {numbers.min()}..{numbers.max()}, but {LABELS} ends at {last}")
        return self.label_of_number[numbers]  # uint8 (H, W)


def annotations_near(voc: Path) -> Path | None:
    """The folder that holds `trainval` and `labels.txt`: VOC 2010's, one of the two above it, or one in these."""
    voc = Path(os.path.abspath(voc))
    for base in (voc, voc.parent, voc.parent.parent):
        for name in (".", "pascal-context", "PASCAL-Context"):
            if (base / name / MASKS).is_dir() and (base / name / LABELS).is_file():
                return base / name
    return None


def class_table(labels: Path) -> np.ndarray:
    """For each number that masks may hold, its class: uint8 (460,) for the published list, 0 where it is background.

    Raises:
        DataError: a line is not "number: name", or one of the 59 names is missing.
    """
    numbers: dict[str, int] = {}
    for line, text in enumerate(labels.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        number, colon, name = text.partition(":")
        if colon and number.strip().isdecimal():
            numbers[name.replace(" ", "")] = int(number)
        elif text.strip():
            raise DataError(f"{labels}, line {line}: {text.strip()!r} is not 'number: name'")
    wanted = [CALLED.get(name, name) for name in NAMES[1:]]
    absent = [name for name in wanted if name not in numbers]
    if absent:
        problem = f"{labels}: {len(absent)} of the 59 names are not in it: {', '.join(absent[:8])}"
        raise DataError(problem, "use the list that comes with trainval.tar.gz, of 459 lines")
    table = np.zeros(max(numbers.values()) + 1, np.uint8)
    table[[numbers[name] for name in wanted]] = np.arange(1, len(NAMES))
    return table
