"""SIFT Flow: 2 686 outdoor scenes with two label maps each, of 33 kinds of things and of 3 kinds of surface.

The semantic map (SemanticLabels) holds 1..33, and 0 is void; the geometric one (GeoLabels) holds 1 sky, 2 horizontal,
3 vertical, and -1 is void. Two tasks on one image: the paper trains one network with two heads (table 5), to which
`SiftFlowBoth` gives both maps as the planes of one label.

Three semantic classes, cow, desert and moon, occur in no test image. A network can get them wrong but never right, so
they are left out of the means (`Classes.unscored`), or a mean over 33 would be lower than the 30 that can be measured.
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
from .lists import Pairs, Shelf, by_list_or_rule, shipped_list
from .matfiles import as_bytes, read_mat
from .published import About, ListedSet

SEMANTIC = (
    *("awning", "balcony", "bird", "boat", "bridge", "building", "bus", "car", "cow", "crosswalk", "desert", "door"),
    *("fence", "field", "grass", "moon", "mountain", "person", "plant", "pole", "river", "road", "rock", "sand", "sea"),
    *("sidewalk", "sign", "sky", "staircase", "streetlight", "sun", "tree", "window"),
)
GEOMETRIC = ("sky", "horizontal", "vertical")
NOT_IN_TEST = ("cow", "desert", "moon")
UNANNOTATED = ("highway_bost181", "street_urb506")  # images without labels

SCENES = "spatial_envelope_256x256_static_8outdoorcategories"
IMAGES, SEMANTIC_LABELS, GEOMETRIC_LABELS = f"Images/{SCENES}", f"SemanticLabels/{SCENES}", f"GeoLabels/{SCENES}"
LAYOUT = (
    "Images/\n"
    f"  {SCENES}/coast_arnat59.jpg …\n"
    "SemanticLabels/\n"
    f"  {SCENES}/coast_arnat59.mat …\n"
    "GeoLabels/\n"
    f"  {SCENES}/coast_arnat59.mat …\n"
    "trainval.txt  test.txt   (optional: a name in each line; else the published division)"
)
SPLITS = ("train", "val", "trainval", "test")
MEAN = (114.578, 115.294, 108.353)  # in 0..255, blue first; reference implementation, siftflow_layers.py


def semantic_classes() -> Classes:
    """The 33 semantic classes; three are left out of the means."""
    values = tuple(range(1, 34))
    return Classes(SEMANTIC, voc_palette(34)[1:], file_values=values, ignored_values=(0,), unscored=NOT_IN_TEST)


def geometric_classes() -> Classes:
    """Sky, horizontal, vertical."""
    return Classes(GEOMETRIC, voc_palette(4)[1:], file_values=(1, 2, 3), ignored_values=(0,))


class SiftFlow(ListedSet):
    """One split of SIFT Flow with its 33 semantic classes: "trainval" or "test". See `ListedSet`.

    "train" and "val" are splits as well where there are lists for them in the folder.
    """

    about = About(
        name="siftflow",
        title="SIFT Flow, 33 semantic classes",
        summary="Outdoor scenes, 256x256, in 33 classes of things; of each a second map in 3 classes of surfaces.",
        source="http://www.cs.unc.edu/~jtighe/Papers/ECCV10/siftflow/SiftFlowDataset.zip",
        size="140 MB",
        licence="",
        layout=LAYOUT,
        counts={"trainval": 2486, "test": 200},
        train="trainval",
        val="test",
        needs="mat",
        masks="S in a .mat file: 1..33 classes, 0 void (ignored); label = value - 1",
        notes=(
            "cow, desert and moon occur in no test image and are left out of mean accuracy and mean IU",
            "highway_bost181 and street_urb506 have no labels and are in no split",
            "--dataset siftflow-geometric reads the other label maps, and --dataset siftflow-both both, for a network "
            "with two heads; open_dataset(…).read_both(i) gives them from Python",
        ),
    )
    places = (".", "SiftFlowDataset", "siftflow", "sift-flow")
    parts = (IMAGES, SEMANTIC_LABELS)
    labels = SEMANTIC_LABELS
    caffe_mean = MEAN

    @classmethod
    def splits(cls, root: Path) -> list[str]:
        listed = {split for split in SPLITS if (root / f"{split}.txt").is_file()}
        masks = Shelf.of(root / cls.labels, ".mat")
        return sorted(listed | {split for split in ("trainval", "test") if _rule(split, masks)})

    @classmethod
    def known_classes(cls) -> Classes:
        return semantic_classes()

    def pairs_of(self, root: Path, split: str) -> tuple[Pairs, list[str]]:
        return _pairs(root, split, self.labels)

    def read_values(self, path: Path) -> np.ndarray:
        return read_label_map(path, len(self.classes))

    def read_both(self, i: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Image i with both label maps, for a network with two heads.

        Returns:
            image uint8 (H, W, 3); semantic uint8 (H, W), 0..32; geometric uint8 (H, W), 0..2; 255 where void.

        Raises:
            DataError: a file is missing, damaged, or holds other values.
        """
        maps = []
        for folder, classes in ((SEMANTIC_LABELS, semantic_classes()), (GEOMETRIC_LABELS, geometric_classes())):
            values = read_label_map(self.root / folder / f"{self.name(i)}.mat", len(classes))
            maps.append(classes.from_file_values(values))
        return read_image(self.pairs[i][0]), maps[0], maps[1]


class SiftFlowGeometric(SiftFlow):
    """The same images with the 3 geometric classes."""

    about = replace(
        SiftFlow.about,
        name="siftflow-geometric",
        title="SIFT Flow, 3 geometric classes",
        summary="Outdoor scenes, 256x256, in 3 classes of surfaces: sky, horizontal, vertical.",
        masks="S in a .mat file: 1 sky, 2 horizontal, 3 vertical, -1 void (ignored); label = value - 1",
        notes=SiftFlow.about.notes[1:2],
    )
    parts = (IMAGES, GEOMETRIC_LABELS)
    labels = GEOMETRIC_LABELS

    @classmethod
    def known_classes(cls) -> Classes:
        return geometric_classes()


class SiftFlowBoth(SiftFlow):
    """The same images with both maps: labels of two planes, for a network with two heads."""

    about = replace(
        SiftFlow.about,
        name="siftflow-both",
        title="SIFT Flow, 33 semantic and 3 geometric classes",
        summary="Outdoor scenes, 256x256, each labelled twice: what is there, and how it lies. For two heads.",
        masks="S in two .mat files: semantic 1..33, 0 void; geometric 1 sky, 2 horizontal, 3 vertical, -1 void",
        notes=(
            *SiftFlow.about.notes[:2],
            "the network gets two heads, and the loss is the sum of both; the semantic one is the main one",
            "val and predict take --task geometric for the other",
        ),
    )
    parts = (IMAGES, SEMANTIC_LABELS, GEOMETRIC_LABELS)
    tasks: ClassVar[dict[str, Classes]] = {"semantic": semantic_classes(), "geometric": geometric_classes()}

    def pairs_of(self, root: Path, split: str) -> tuple[Pairs, list[str]]:
        """The images that have both maps; every other one is a loose end."""
        pairs, loose = _pairs(root, split, SEMANTIC_LABELS)
        with_geometry, without = _pairs(root, split, GEOMETRIC_LABELS)
        geometric = {image.stem: (image, labels) for image, labels in with_geometry}
        pairs = [pair for pair in pairs if pair[0].stem in geometric]
        self.geometric_pairs = [geometric[image.stem] for image, _ in pairs]
        return pairs, list(dict.fromkeys([*loose, *without]))

    def views(self) -> dict[str, Dataset]:
        return {
            "semantic": SiftFlow.of_pairs(self.root, self.pairs, self.classes),
            "geometric": SiftFlowGeometric.of_pairs(self.root, self.geometric_pairs, self.tasks["geometric"]),
        }

    def read(self, i: int) -> tuple[np.ndarray, np.ndarray]:
        image, semantic = super().read(i)
        classes = self.tasks["geometric"]
        geometric = classes.from_file_values(read_label_map(self.geometric_pairs[i][1], len(classes)))
        if geometric.shape != semantic.shape:
            raise DataError(f"{self.name(i)}: image {as_size(image)} but geometric labels {as_size(geometric)}")
        return image, np.dstack([semantic, geometric])  # (H, W, 2)


def read_label_map(path: Path, num_classes: int) -> np.ndarray:
    """A label map as uint8 (H, W): 1..K, and 0 for void, which the geometric maps store as -1."""
    values = read_mat(path, "S")
    return as_bytes(np.where(values == -1, 0, values), path, 0, num_classes)


def _pairs(root: Path, split: str, labels: str) -> tuple[Pairs, list[str]]:
    """The images of a split with their files in the folder `labels`; and every loose end, in words."""
    images, masks = Shelf.of_images(root / IMAGES), Shelf.of(root / labels, ".mat")
    return by_list_or_rule(root / f"{split}.txt", _rule(split, images.or_else(masks)), images, masks)


def _rule(split: str, there: Shelf) -> list[str]:
    """The published division: test is a list; trainval is what else is there and annotated."""
    test = shipped_list("siftflow_test")
    if split == "test":
        return [name for name in test if name in there]
    return sorted(there.files.keys() - set(test) - set(UNANNOTATED)) if split == "trainval" else []
