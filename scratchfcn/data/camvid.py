"""CamVid: frames of a drive through Cambridge, in the folders in which the SegNet authors published them.

`root/train/X.jpg` has its mask in `root/trainannot/X.png`. The masks hold 0..10 for the classes and 11 for
"none of these", which is read as 255: void pixels count neither for the loss nor for the metrics.
"""

from pathlib import Path

from .datasets import FilePairs
from .palette import Classes


class CamVid(FilePairs):
    """One split of CamVid.

    Args:
        root: the folder that holds the splits.
        split: "train", "val", "test", or any X for which there are folders X and Xannot.

    Raises:
        DataError: a folder is missing or empty, or an image or a mask is left over.
    """

    def __init__(self, root: str | Path, split: str = "train") -> None:
        root = Path(root)
        super().__init__(root, root / split, root / f"{split}annot", Classes.camvid())
