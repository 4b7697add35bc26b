"""Prediction: what a trained network says about images, however large, about folders of them, and about clips.

Read in this order: `averaging` (several looks at one image), `windows` (images larger than memory), `enlarging`,
`uncertainty` (how sure the network is), `predictor` (all of these together); then `sources` and `clips` (where pictures
come from), `outputs` (the files they become) and `job` (one after the other, to be interrupted and resumed).
"""

from .clips import Clip, open_clip
from .job import Job, JobListener
from .outputs import FILES, Outputs, mark_of
from .predictor import Band, Predictor
from .sources import ImageFiles
from .uncertainty import MEASURES

__all__ = [
    "FILES",
    "MEASURES",
    "Band",
    "Clip",
    "ImageFiles",
    "Job",
    "JobListener",
    "Outputs",
    "Predictor",
    "mark_of",
    "open_clip",
]
