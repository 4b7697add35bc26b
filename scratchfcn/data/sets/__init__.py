"""The data sets of the field, and a folder of your own: a file each, and a catalogue that recognises them."""

from .camvid import CamVid
from .catalogue import SETS, open_dataset, recognise, split_names
from .folder import Folder
from .published import About, PublishedSet

__all__ = ["SETS", "About", "CamVid", "Folder", "PublishedSet", "open_dataset", "recognise", "split_names"]
