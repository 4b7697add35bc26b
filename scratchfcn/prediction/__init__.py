"""Prediction: what a trained network says about images, however large, and about videos.

Read in this order: `averaging` (several looks at one image), `windows` (images larger than memory), `enlarging`,
`uncertainty` (how sure it is), `predictor` (all of these together).
"""

from .predictor import Band, Predictor
from .uncertainty import MEASURES

__all__ = ["MEASURES", "Band", "Predictor"]
