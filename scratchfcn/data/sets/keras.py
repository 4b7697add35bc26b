"""The two folders of keras_segmentation: images in one, annotations of the same names in the other.

Its annotations are pictures read by OpenCV as colour, and of the three channels the first is the class. OpenCV stores
colours as blue, green, red. So the class is the *blue* channel: in a grey picture that is the grey value, but in one
with a palette it is the blue of the colour that the palette shows, not the index. A mask that means one thing there
means the same here.

That library has no void: an id beyond its number of classes counts for no loss, silently. Here such a value is found
by `check-data`, and `--ignore` says that it means "not labelled".
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..images import list_images
from ..palette import Classes
from .colours import read_colours
from .folder import classes_in
from .published import About, PublishedSet

IMAGES, ANNOTATIONS = "images_prepped_", "annotations_prepped_"


class KerasSegmentation(PublishedSet):
    """One split of a data set in the layout of keras_segmentation's example.

    Args:
        root: the folder with `images_prepped_train`, `annotations_prepped_train`, …, and possibly a `classes.toml`.
        split: "train", "test", or any X for which there are two such folders.
        num_classes: how many classes there are; by default as `classes.toml` says, or else the largest id in the
            annotations of all splits plus 1.
        strict: see `FilePairs`.
        ignore: values that mean "not labelled", and so are no classes.

    Raises:
        DataError: a folder is missing or empty; an image or an annotation is left over; the number of classes is in
            doubt.

    Two folders of any other names are opened with `from_folders`.
    """

    about = About(
        name="keras",
        title="Two folders, as keras_segmentation reads them",
        summary="Your photographs, and for each a picture whose blue channel is the class.",
        source="https://github.com/divamgupta/image-segmentation-keras",
        size="as large as you like",
        licence="yours",
        layout="images_prepped_train/a.png …   (.jpg, .jpeg, .png or .bmp)\n"
        "annotations_prepped_train/a.png …   (.png or .bmp)\n"
        "images_prepped_test/b.png …\n"
        "annotations_prepped_test/b.png …\n"
        "classes.toml   (optional: names and colours)",
        val="test",
        masks="any picture without losses; the class is its blue channel",
        notes=(
            "the word after images_prepped_ is the split; any word will do",
            "folders of other names, from Python: KerasSegmentation.from_folders(images, annotations, num_classes)",
            "a value beyond the classes is an error here; --ignore VALUE says that it means 'not labelled'",
        ),
    )
    places = (".", "dataset1")
    asks_for_classes = True

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        num_classes: int | None = None,
        strict: bool = True,
        ignore: Sequence[int] = (),
    ) -> None:
        root = Path(root)
        folders = [root / f"{ANNOTATIONS}{name}" for name in self.splits(root)]
        classes = _classes(root, folders, num_classes, ignore)
        super().__init__(root, root / f"{IMAGES}{split}", root / f"{ANNOTATIONS}{split}", classes, strict)

    @classmethod
    def from_folders(
        cls,
        images: str | Path,
        annotations: str | Path,
        num_classes: int | None = None,
        strict: bool = True,
        ignore: Sequence[int] = (),
    ) -> KerasSegmentation:
        """Two folders of any names, as that library's `train_images` and `train_annotations` name them.

        num_classes: by default as a `classes.toml` beside the annotations' folder says, or else the largest id in these
        annotations plus 1; where there are several splits, better say it.
        """
        images, annotations = Path(images), Path(annotations)
        dataset = cls.__new__(cls)
        classes = _classes(annotations.parent, [annotations], num_classes, ignore)
        super(KerasSegmentation, dataset).__init__(images.parent, images, annotations, classes, strict)
        return dataset

    @classmethod
    def find(cls, root: Path) -> Path | None:
        return next(
            (root / place for place in cls.places if (root / place).is_dir() and cls.splits(root / place)), None
        )

    @classmethod
    def splits(cls, root: Path) -> list[str]:
        with os.scandir(root) as entries:
            folders = {entry.name for entry in entries if entry.is_dir()}
        names = [name.removeprefix(IMAGES) for name in folders if name.startswith(IMAGES)]
        return sorted(name for name in names if name and f"{ANNOTATIONS}{name}" in folders)

    def read_values(self, path: Path) -> np.ndarray:
        return read_blue(path)


def read_blue(path: Path) -> np.ndarray:
    """The blue channel of a picture: uint8 (H, W)."""
    return np.ascontiguousarray(read_colours(path)[:, :, 2])


def _classes(root: Path, folders: list[Path], num_classes: int | None, ignore: Sequence[int]) -> Classes:
    if (root / "classes.toml").exists():
        classes = Classes.from_toml(root / "classes.toml")
        classes = classes if num_classes is None else classes.resized(num_classes)
        return classes.also_ignoring(ignore)
    if num_classes is None:
        paths = [path for folder in folders for path in list_images(folder)]
        num_classes = classes_in(folders[0], paths, ignore, read_blue)
    return Classes.numbered(num_classes).also_ignoring(ignore)
