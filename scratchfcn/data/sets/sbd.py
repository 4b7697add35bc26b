"""SBD, the Semantic Boundaries Dataset: PASCAL VOC's classes, outlined on 11 355 further photographs of VOC 2011.

FCNs are trained on it, because VOC's own segmentation split is small. Its masks are MATLAB files: the variable
`GTcls` is a struct, and its field `Segmentation` the mask, 0 for background and 1..20 in VOC's order. There is no
void: where VOC leaves a border of 255 around each object, SBD says object or background.

Its splits are not VOC's. Some images of SBD's train are in VOC's val, so whoever trains on SBD must validate on
`seg11valid` (see `voc.py`), which leaves those out.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from ..images import read_label
from ..palette import Classes
from .lists import Pairs, Shelf, pairs_in_list, read_list
from .matfiles import as_bytes, read_mat
from .published import About, ListedSet

LISTS = ("train", "val", "train_noval", "trainval")


class SBD(ListedSet):
    """One split of SBD: "train" or "val", or one of `LISTS` for which there is a list. See `ListedSet`."""

    about = About(
        name="sbd",
        title="SBD, the Semantic Boundaries Dataset",
        summary="Photographs of PASCAL VOC 2011 with VOC's 20 classes and background, outlined by hand.",
        source="http://home.bharathh.info/pubs/codes/SBD/download.html   (benchmark.tgz, in fact a plain tar)",
        size="1.4 GB",
        licence="photographs from Flickr, under its terms of use; see the home page",
        layout="benchmark_RELEASE/\n"
        "  dataset/\n"
        "    img/2008_000002.jpg …\n"
        "    cls/2008_000002.mat …\n"
        "    train.txt\n"
        "    val.txt",
        counts={"train": 8498, "val": 2857},
        needs="mat",
        masks="GTcls.Segmentation in a .mat file: 0 background, 1..20 VOC's classes; no void",
        notes=(
            "some images of its train are in VOC's val: after training on it, measure on VOC 2012's seg11valid, with "
            "val --dataset voc2012 --split seg11valid",
            "masks that were converted to cls/ID.png are read as well, and need no SciPy",
        ),
        overlapping=("train_noval", "trainval"),
    )
    places = (".", "dataset", "benchmark_RELEASE/dataset")
    parts = ("img", "cls", "train.txt")

    @classmethod
    def splits(cls, root: Path) -> list[str]:
        return sorted(name for name in LISTS if (root / f"{name}.txt").is_file())

    @classmethod
    def known_classes(cls) -> Classes:
        return Classes.voc()

    def pairs_of(self, root: Path, split: str) -> tuple[Pairs, list[str]]:
        names = read_list(root / f"{split}.txt")
        return pairs_in_list(f"{split}.txt", names, Shelf.of_images(root / "img"), masks_in(root))

    def read_values(self, path: Path) -> np.ndarray:
        return read_sbd(path)


def masks_in(root: Path) -> Shelf:
    """SBD's masks by name: as they are published, or converted to PNG, which is quicker to read."""
    return Shelf.of(root / "cls", ".png", ".mat")


def read_sbd(path: Path) -> np.ndarray:
    """A mask of SBD as uint8 (H, W), 0..20; from the .mat file, or from a PNG that was made of it."""
    if path.suffix.lower() != ".mat":
        return read_label(path)
    return as_bytes(read_mat(path, "GTcls", "Segmentation"), path, 0, 20)


def sbd_near(voc: Path) -> Path | None:
    """SBD's folder where people keep it when they have VOC too: in VOC2012, beside it, or beside VOCdevkit."""
    voc = Path(os.path.abspath(voc))
    for base in (voc, voc.parent, voc.parent.parent):
        for name in (".", "SBD", "sbd", "VOCaug"):
            found = SBD.find(base / name)
            if found is not None:
                return found
    return None
