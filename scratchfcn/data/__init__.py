"""Data: image files and masks, or generated shapes, become batches of arrays, and results become pictures.

Read in this order: `images` (one file), `datasets` (many), `checking/` (are they sound?), `transforms`, `augment/`,
`loader`.
"""

from .augment import (
    ColourJitter,
    Cutout,
    RandomBlur,
    RandomCrop,
    RandomFlip,
    RandomRotate,
    RandomScale,
    RandomWindow,
)
from .checking import (
    Findings,
    Histogram,
    check_data,
    check_pairs,
    check_splits,
    fix_binary,
    fix_copy,
    fix_masks,
)
from .datasets import Dataset, main_view
from .errors import DataError
from .images import list_images, read_image, read_label
from .loader import Batch, Cached, Loader
from .palette import IGNORE, Classes, voc_palette
from .pictures import colourise, mosaic, overlay, save_mask
from .sets import SETS, About, CamVid, Folder, PublishedSet, open_dataset, recognise, split_names
from .shapes import Shapes
from .transforms import (
    CAFFE_MEAN,
    CAFFE_STD,
    IMAGENET_MEAN,
    IMAGENET_STD,
    Compose,
    Normalise,
    Resize,
    Transform,
    normalise,
    resize_image,
    resize_label,
)

__all__ = [
    "CAFFE_MEAN",
    "CAFFE_STD",
    "IGNORE",
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "SETS",
    "About",
    "Batch",
    "Cached",
    "CamVid",
    "Classes",
    "ColourJitter",
    "Compose",
    "Cutout",
    "DataError",
    "Dataset",
    "Findings",
    "Folder",
    "Histogram",
    "Loader",
    "Normalise",
    "PublishedSet",
    "RandomBlur",
    "RandomCrop",
    "RandomFlip",
    "RandomRotate",
    "RandomScale",
    "RandomWindow",
    "Resize",
    "Shapes",
    "Transform",
    "check_data",
    "check_pairs",
    "check_splits",
    "colourise",
    "fix_binary",
    "fix_copy",
    "fix_masks",
    "list_images",
    "main_view",
    "mosaic",
    "normalise",
    "open_dataset",
    "overlay",
    "read_image",
    "read_label",
    "recognise",
    "resize_image",
    "resize_label",
    "save_mask",
    "split_names",
    "voc_palette",
]
