"""PASCAL VOC 2012: twenty kinds of objects and the background, and the splits that SBD adds.

The masks are palette PNGs: what counts is a pixel's *index*, 0..20, not the colour in which a viewer shows it. 255,
shown in cream, is void: the border around every object, and what was too hard to tell. It counts neither for the loss
nor for the metrics.

An image's split stands in a list, and five splits are in use:

    train, val, trainval    VOC's own
    trainaug                VOC's train, and SBD's train and val, less VOC's val: what networks are trained on
    seg11valid              VOC 2011's val less SBD's train: 736 images, on which the paper reports its results

An image that has a mask of VOC's keeps it in trainaug, for it is the more careful one.
"""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np

from ..errors import DataError
from ..palette import Classes
from .lists import Pairs, Shelf, by_list_or_rule, pairs_in_list, read_list, shipped_list
from .published import About, ListedSet
from .sbd import masks_in, read_sbd, sbd_near

LISTS, IMAGES, MASKS, CONVERTED = "ImageSets/Segmentation", "JPEGImages", "SegmentationClass", "SegmentationClassAug"
SEG11VALID = "seg11valid"
OWN_MASKS = ("train", "val", "trainval", SEG11VALID)  # splits in which a mask of SBD's would be a mistake


class VOC2012(ListedSet):
    """One split of PASCAL VOC 2012: "train", "val", "trainval", "trainaug", "seg11valid". See `ListedSet`.

    Every further list in `ImageSets/Segmentation` is a split as well, except "test", which has no masks.
    """

    about = About(
        name="voc2012",
        title="PASCAL VOC 2012",
        summary="Photographs with 20 kinds of objects, each outlined, and background.",
        source="http://host.robots.ox.ac.uk/pascal/VOC/voc2012/   (VOCtrainval_11-May-2012.tar)",
        size="2.0 GB; with SBD 3.4 GB",
        licence="photographs from Flickr, under its terms of use; see the home page",
        layout="VOCdevkit/\n"
        "  VOC2012/\n"
        "    JPEGImages/2007_000032.jpg …\n"
        "    SegmentationClass/2007_000032.png …\n"
        "    ImageSets/Segmentation/train.txt  val.txt  trainval.txt\n"
        "    SegmentationClassAug/2008_000002.png …   (instead of SBD: its masks as PNGs)\n"
        "benchmark_RELEASE/dataset/…   (SBD, optional: see `scratchfcn data sbd`)",
        counts={"train": 1464, "val": 1449, "trainval": 2913, "trainaug": 10582, "seg11valid": 736},
        masks="palette PNG, read as indices: 0 background, 1..20 classes, 255 void (ignored)",
        notes=(
            "trainaug = VOC train + SBD train + SBD val - VOC val; needs SBD in VOC2012, beside it or beside "
            "VOCdevkit, or its masks as PNGs in SegmentationClassAug",
            "seg11valid = VOC 2011 val - SBD train; the list comes with scratchfcn",
            "with SBD: --train-split trainaug --val-split seg11valid; the two have no image in common",
            "masks in SBD's .mat files are read with SciPy: pip install 'scratchfcn[mat]'",
        ),
        overlapping=("trainval", "trainaug", "seg11valid"),
    )
    places = (".", "VOC2012", "VOCdevkit/VOC2012")
    parts = (IMAGES, MASKS, LISTS)

    @classmethod
    def find(cls, root: Path) -> Path | None:
        if (root / "trainval").is_dir() and (root / "labels.txt").is_file():
            return None  # VOC 2010, with PASCAL-Context unpacked into it
        return super().find(root)

    @classmethod
    def lacks(cls, root: Path) -> DataError | None:
        error = super().lacks(root)
        for place in cls.places:
            if (root / place / MASKS).is_dir() and not (root / place / LISTS).is_dir():
                folder, lists = shlex.quote(str(root / place)), "train.txt and val.txt, a name in each line"
                command = f"cd {folder} && mkdir -p {LISTS} && ls {MASKS} | sed 's/.png$//' > {LISTS}/val.txt"
                return DataError(
                    error.problems, f"lists say which image is in which split: {lists}; all in val: {command}"
                )
        return error

    @classmethod
    def splits(cls, root: Path) -> list[str]:
        names = {path.stem for path in (root / LISTS).glob("*.txt") if not path.name.startswith(".")} - {"test"}
        if "val" in names and "train" in names and (sbd_near(root) is not None or (root / CONVERTED).is_dir()):
            names.add("trainaug")
        if not set(shipped_list(SEG11VALID)).isdisjoint(Shelf.of(root / MASKS, ".png").files):
            names.add(SEG11VALID)
        return sorted(names)

    @classmethod
    def also_found(cls, root: Path) -> list[str]:
        sbd, converted = sbd_near(root), root / CONVERTED
        found = [f"SBD: {sbd}"] if sbd is not None else []
        found += [f"SBD's masks as PNGs: {converted}"] if converted.is_dir() else []
        return found or ["SBD: not found, so there is no split trainaug"]

    @classmethod
    def contradictions(cls, root: Path) -> list[str]:
        sbd, own = sbd_near(root), root / LISTS / f"{SEG11VALID}.txt"
        if sbd is None:
            return []
        validation = read_list(own) if own.is_file() else shipped_list(SEG11VALID)
        common = sorted(set(read_list(sbd / "train.txt")).intersection(validation))
        return (
            [f"{len(common)} images of {SEG11VALID} are in {sbd / 'train.txt'}, too: {common[0]} …"] if common else []
        )

    @classmethod
    def known_classes(cls) -> Classes:
        return Classes.voc()

    def pairs_of(self, root: Path, split: str) -> tuple[Pairs, list[str]]:
        list_file = root / LISTS / f"{split}.txt"
        images, masks = Shelf.of_images(root / IMAGES), Shelf.of(root / MASKS, ".png")
        if split in OWN_MASKS:
            return by_list_or_rule(list_file, shipped_list(SEG11VALID), images, masks)
        if (root / CONVERTED).is_dir():
            masks = masks.or_else(Shelf.of(root / CONVERTED, ".png"))
        sbd = sbd_near(root)
        if sbd is not None:
            images, masks = images.or_else(Shelf.of_images(sbd / "img")), masks.or_else(masks_in(sbd))
        names = read_list(list_file) if list_file.is_file() else trainaug(root, sbd)
        return pairs_in_list(split, names, images, masks)

    def read_values(self, path: Path) -> np.ndarray:
        return read_sbd(path)


def trainaug(root: Path, sbd: Path | None) -> list[str]:
    """The names of trainaug: VOC's train, then SBD's two splits, or else the converted masks; without VOC's val."""
    names = read_list(root / LISTS / "train.txt")
    if sbd is not None:
        names += [
            name
            for split in ("train", "val")
            if (sbd / f"{split}.txt").is_file()
            for name in read_list(sbd / f"{split}.txt")
        ]
    else:
        names += Shelf.of(root / CONVERTED, ".png").files
    held_out = set(read_list(root / LISTS / "val.txt"))
    return [name for name in dict.fromkeys(names) if name not in held_out]
