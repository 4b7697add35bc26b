"""Data: image files and masks, or generated shapes, become batches of arrays, and results become pictures.

Read in this order: `images` (one file), `datasets` (many), `check` (are they sound?), `transforms`, `loader`.
"""

from scratchfcn.data.camvid import CamVid
from scratchfcn.data.check import Histogram, check_pairs
from scratchfcn.data.datasets import Dataset
from scratchfcn.data.errors import DataError
from scratchfcn.data.folder import Folder
from scratchfcn.data.images import list_images, read_image, read_label
from scratchfcn.data.layouts import open_dataset
from scratchfcn.data.loader import Batch, Cached, Loader
from scratchfcn.data.palette import IGNORE, Classes, voc_palette
from scratchfcn.data.pictures import colourise, mosaic, overlay, save_mask
from scratchfcn.data.repair import fix_binary
from scratchfcn.data.shapes import Shapes
from scratchfcn.data.transforms import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Compose,
    Normalise,
    RandomCrop,
    RandomFlip,
    RandomScale,
    Resize,
    Transform,
    normalise,
    resize_image,
    resize_label,
)

__all__ = [
    "IGNORE",
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "Batch",
    "Cached",
    "CamVid",
    "Classes",
    "Compose",
    "DataError",
    "Dataset",
    "Folder",
    "Histogram",
    "Loader",
    "Normalise",
    "RandomCrop",
    "RandomFlip",
    "RandomScale",
    "Resize",
    "Shapes",
    "Transform",
    "check_pairs",
    "colourise",
    "fix_binary",
    "list_images",
    "mosaic",
    "normalise",
    "open_dataset",
    "overlay",
    "read_image",
    "read_label",
    "resize_image",
    "resize_label",
    "save_mask",
    "voc_palette",
]
