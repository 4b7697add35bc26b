"""Augmentation: what chance does to a training sample, so that a few hundred photographs look like many.

A mirrored street is a street, and so is one seen through a camera held askew, from nearer, in other light, or out of
focus. Each file here is one such change:

    flip     left and right change places
    crop     a piece is cut out
    window   nearer or farther, turned, and a piece of it: one window laid over the picture, sampled once
    colour   brightness, contrast, saturation and hue
    blur     out of focus
    cutout   a part is hidden

All follow the rules of `transforms`: image and mask change together, chance comes from `rng` alone, image pixels are
interpolated and class ids never. What comes in from outside the picture has the picture's mean colour, which after
`Normalise` is close to 0, and the label 255, so that nothing is learned from it. A setting that leaves nothing to
chance (0 degrees, strength 0) returns the very arrays it was given.
"""

from .blur import RandomBlur
from .colour import ColourJitter
from .crop import RandomCrop
from .cutout import Cutout
from .flip import RandomFlip
from .window import RandomRotate, RandomScale, RandomWindow

__all__ = [
    "ColourJitter",
    "Cutout",
    "RandomBlur",
    "RandomCrop",
    "RandomFlip",
    "RandomRotate",
    "RandomScale",
    "RandomWindow",
]
