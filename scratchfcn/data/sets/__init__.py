"""The data sets of the field, and a folder of your own: a file each, and a catalogue that recognises them."""

from .camvid import CamVid
from .camvid_original import CamVid32, CamVidOriginal
from .catalogue import KINDS, SETS, layout_of, open_dataset, recognise, split_names
from .cityscapes import Cityscapes
from .folder import Folder
from .keras import KerasSegmentation
from .nyudv2 import NYUDv2, NYUDv2HHA, NYUDv2RGBHHA
from .pascal_context import PascalContext
from .published import About, ListedSet, PublishedSet
from .sbd import SBD
from .siftflow import SiftFlow, SiftFlowBoth, SiftFlowGeometric
from .voc import VOC2012

__all__ = [
    "KINDS",
    "SBD",
    "SETS",
    "VOC2012",
    "About",
    "CamVid",
    "CamVid32",
    "CamVidOriginal",
    "Cityscapes",
    "Folder",
    "KerasSegmentation",
    "ListedSet",
    "NYUDv2",
    "NYUDv2HHA",
    "NYUDv2RGBHHA",
    "PascalContext",
    "PublishedSet",
    "SiftFlow",
    "SiftFlowBoth",
    "SiftFlowGeometric",
    "layout_of",
    "open_dataset",
    "recognise",
    "split_names",
]
