"""CamVid as it was first published: 701 frames of 960x720, and masks in which a colour is the class.

There are 32 colours. One of them, black, is void. The other 31 are the classes of `camvid-32`; `camvid-original` maps
them to the 11 with which the field reports its results (Brostow's classes joined by kind: a van and a train are cars,
lane markings are road). These are the classes of the SegNet authors' copy, `camvid`, on images of four times as many
pixels.

The archive has no lists of splits. The SegNet authors divided the frames by *sequence*, because neighbouring frames
show the same scene, and that rule can be stated exactly:

    0006R0      train                                              101
    0016E5      val from frame 7959 to 8159, else train            101, 204
    0001TP      train up to frame 8520, then test                  62, 62
    Seq05VD     test                                               171

Lists in the folder (train.txt, val.txt, …) take precedence.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..errors import DataError
from ..palette import CAMVID, IGNORE, Classes
from .colours import Colour, labels_of_colours, read_colours
from .lists import Pairs, Shelf, by_list_or_rule
from .published import About, ListedSet

COLOURS: dict[str, Colour] = {
    "Animal": (64, 128, 64),
    "Archway": (192, 0, 128),
    "Bicyclist": (0, 128, 192),
    "Bridge": (0, 128, 64),
    "Building": (128, 0, 0),
    "Car": (64, 0, 128),
    "CartLuggagePram": (64, 0, 192),
    "Child": (192, 128, 64),
    "Column_Pole": (192, 192, 128),
    "Fence": (64, 64, 128),
    "LaneMkgsDriv": (128, 0, 192),
    "LaneMkgsNonDriv": (192, 0, 64),
    "Misc_Text": (128, 128, 64),
    "MotorcycleScooter": (192, 0, 192),
    "OtherMoving": (128, 64, 64),
    "ParkingBlock": (64, 192, 128),
    "Pedestrian": (64, 64, 0),
    "Road": (128, 64, 128),
    "RoadShoulder": (128, 128, 192),
    "Sidewalk": (0, 0, 192),
    "SignSymbol": (192, 128, 128),
    "Sky": (128, 128, 128),
    "SUVPickupTruck": (64, 128, 192),
    "TrafficCone": (0, 0, 64),
    "TrafficLight": (0, 64, 64),
    "Train": (192, 64, 128),
    "Tree": (128, 128, 0),
    "Truck_Bus": (192, 128, 192),
    "Tunnel": (64, 0, 64),
    "VegetationMisc": (192, 192, 0),
    "Void": (0, 0, 0),
    "Wall": (64, 192, 0),
}
VOID = "Void"

MEMBERS = {  # of each of the 11 classes
    "Sky": ("Sky",),
    "Building": ("Archway", "Bridge", "Building", "Tunnel", "Wall"),
    "Pole": ("Column_Pole", "TrafficCone"),
    "Road": ("Road", "LaneMkgsDriv", "LaneMkgsNonDriv"),
    "Pavement": ("Sidewalk", "ParkingBlock", "RoadShoulder"),
    "Tree": ("Tree", "VegetationMisc"),
    "SignSymbol": ("SignSymbol", "Misc_Text", "TrafficLight"),
    "Fence": ("Fence",),
    "Car": ("Car", "SUVPickupTruck", "Truck_Bus", "Train", "OtherMoving"),
    "Pedestrian": ("Pedestrian", "Child", "CartLuggagePram", "Animal"),
    "Bicyclist": ("Bicyclist", "MotorcycleScooter"),
}

IMAGES, MASKS, TABLE = "701_StillsRaw_full", "LabeledApproved_full", "label_colors.txt"
SPLITS = ("train", "val", "test")

LAYOUT = (
    f"{IMAGES}/0001TP_006690.png …\n"
    f"{MASKS}/0001TP_006690_L.png …\n"
    f"{TABLE}   (optional: colours beyond the 32)\n"
    "train.txt  val.txt  test.txt   (optional: a name in each line)"
)
NOTES = (
    "the archive has no lists: the SegNet authors' division by sequence is used, unless there are train.txt, val.txt …",
    f"a colour beyond the 32 is an error; a line `65 0 128 Void` in {TABLE} says what it is",
)


class CamVidOriginal(ListedSet):
    """One split of the original CamVid, in 11 classes: "train", "val", "test", or those that the folder has lists of.

    See `ListedSet` for arguments and errors.
    """

    about = About(
        name="camvid-original",
        title="CamVid, the original files in 11 classes",
        summary="Street scenes of a drive through Cambridge, 960x720; the 31 colours are mapped to 11 classes.",
        source="http://mi.eng.cam.ac.uk/research/projects/VideoRec/CamVid/   "
        "(701_StillsRaw_full.zip, LabeledApproved_full.zip)",
        size="557 MB and 16 MB",
        licence="",
        layout=LAYOUT,
        counts={"train": 367, "val": 101, "test": 233},
        masks="RGB PNG, 31 colours mapped to 11 classes, black void (ignored)",
        notes=NOTES,
    )
    places = (".", "CamVid", "camvid")
    parts = (IMAGES, MASKS)
    no_split = f"no name in {IMAGES} is of CamVid's sequences, and there is neither train.txt nor val.txt"

    @classmethod
    def splits(cls, root: Path) -> list[str]:
        listed = [split for split in SPLITS if (root / f"{split}.txt").is_file()]
        if listed:
            return sorted(listed)
        names = Shelf.of_images(root / IMAGES).files
        return sorted({split for split in map(split_of, names) if split})

    @classmethod
    def known_classes(cls) -> Classes:
        return Classes(tuple(CAMVID), np.array(list(CAMVID.values())))

    @classmethod
    def label_of(cls, name: str) -> int:
        """The label of one of the 32 names; 255 for Void."""
        for label, members in enumerate(MEMBERS.values()):
            if name in members:
                return label
        return IGNORE

    def __init__(self, root: str | Path, split: str = "train", strict: bool = True) -> None:
        super().__init__(root, split, strict)
        colours = [*((colour, name) for name, colour in COLOURS.items()), *_more_colours(self.root / TABLE)]
        self.meaning = {colour: self.label_of(name) for colour, name in colours}

    def pairs_of(self, root: Path, split: str) -> tuple[Pairs, list[str]]:
        images, masks = Shelf.of_images(root / IMAGES), Shelf.of(root / MASKS, "_L.png")
        rule = sorted(name for name in {*images.files, *masks.files} if split_of(name) == split)
        return by_list_or_rule(root / f"{split}.txt", rule, images, masks)

    def read_values(self, path: Path) -> np.ndarray:
        try:
            return labels_of_colours(read_colours(path), self.meaning, path)
        except DataError as error:
            if "none of this data set's" not in str(error):
                raise
            advice = f"if such pixels are to be ignored, write a line with the colour and Void into {self.root / TABLE}"
            raise DataError(error.problems, advice) from None


class CamVid32(CamVidOriginal):
    """The same files in their own 31 classes, and void: "train", "val", "test". See `ListedSet`."""

    about = replace(
        CamVidOriginal.about,
        name="camvid-32",
        title="CamVid, the original 32 classes",
        summary="Street scenes of a drive through Cambridge, 960x720, in 31 classes and void.",
        masks="RGB PNG, a colour for each of 31 classes, black void (ignored): 31 outputs, not 32",
        notes=(*NOTES, "several classes are rare, and some occur in no image of a split"),
    )
    names = tuple(name for name in COLOURS if name != VOID)

    @classmethod
    def known_classes(cls) -> Classes:
        return Classes(cls.names, np.array([COLOURS[name] for name in cls.names]))

    @classmethod
    def label_of(cls, name: str) -> int:
        return IGNORE if name == VOID else cls.names.index(name)


def split_of(name: str) -> str | None:
    """The split of a frame, by the SegNet authors' division: "0016E5_07959" is in val. None for other names."""
    found = re.fullmatch(r"(0001TP|0006R0|0016E5|Seq05VD)_f?([0-9]+)", name)
    if not found:
        return None
    sequence, frame = found[1], int(found[2])
    if sequence == "0016E5":
        return "val" if 7959 <= frame <= 8159 else "train"
    if sequence == "0001TP":
        return "train" if frame <= 8520 else "test"
    return "train" if sequence == "0006R0" else "test"


def _more_colours(path: Path) -> list[tuple[Colour, str]]:
    """The lines of a `label_colors.txt`, "64 0 128 Car", as the home page offers one; none without the file."""
    if not path.is_file():
        return []
    colours = []
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        found = re.fullmatch(r"\s*(\d+)\s+(\d+)\s+(\d+)\s+(\S+)\s*", line)
        if found and found[4] in COLOURS and max(map(int, found.groups()[:3])) < 256:
            colours.append(((int(found[1]), int(found[2]), int(found[3])), found[4]))
        elif line.strip():
            advice = f"a line is three numbers 0..255 and one of the names {', '.join(COLOURS)}"
            raise DataError(f"{path}, line {number}: {line.strip()!r} is no colour with a name of CamVid's", advice)
    return colours
