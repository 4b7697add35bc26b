"""Two ways from a coarse map of scores to one with a score at every pixel, which are one way (paper, section 3.2).

A network of stride s scores every s-th pixel. Shift-and-stitch fills the gaps by running it s² times, on the image
shifted by 0 … s - 1 rows and columns, and interlacing the outputs. It costs s² passes.

Filter rarefaction gets the same numbers in one pass. A layer of stride s throws pixels away; let it keep them all
(stride 1). The pixels that the next layer used to see side by side are now s apart, so spread its filter: put s - 1
zeros between its weights (dilation s, "à trous", with holes). Behind strides s1 and s2 the holes are s1·s2 wide.

Neither looks closer than the network did: there are more predictions, each from the same receptive field. The paper
kept to upsampling within the network, which learns; dilated networks went the other way (models/torchvision_fcn.py).
"""

import copy

from .. import nn, ops
from ..backend import array_module
from ..geometry import Grid
from ..ops.im2col import Pair, window_settings
from ..tensor import Tensor, no_grad
from .convolutionalize import chain, is_chain


def shift_and_stitch(net: nn.Module, x: Tensor, stride: int | Pair) -> Tensor:
    """Scores one pixel apart from a network of `stride`: x (N, C, H, W) → (N, K, H', W').

    Shifting is cropping: without its first dy rows, the image's outputs lie dy pixels further down. For a network
    without padding that sees R rows, H' = H - R + 1. One with padding puts it at the new edge each time, so near the
    borders scores differ from those of a network of stride 1. No graph is recorded.
    Errors: ValueError for an x smaller than R + stride - 1, or for a Sequential of another stride.
    """
    SH, SW = window_settings("shift_and_stitch", stride=stride)[0]
    if is_chain(net) and Grid().through(*net.windows()).stride != SH:
        own = Grid().through(*net.windows()).stride
        raise ValueError(f"shift_and_stitch: stride is {SH} but the layers' strides make {own}; give that")
    H, W = x.shape[2:]
    with no_grad():
        shifted = [
            [net(ops.crop(x, (H - dy, W - dx), (dy, dx))) for dx in range(SW)] for dy in range(SH)
        ]  # [dy][dx]: (N, K, OH, OW), a row or column less where the last window does not fit any more
    N, K = shifted[0][0].shape[:2]
    rows = sum(row[0].shape[2] for row in shifted)
    columns = sum(y.shape[3] for y in shifted[0])
    stitched = array_module(x.data).empty((N, K, rows, columns), shifted[0][0].dtype)
    for dy, row in enumerate(shifted):
        for dx, y in enumerate(row):
            stitched[:, :, dy::SH, dx::SW] = y.data
    return Tensor(stitched, device=x.device)


def rarefy(net: nn.Sequential) -> nn.Sequential:
    """The same layers with stride 1 and dilated filters: x (N, C, H, W) → scores one pixel apart.

    Every stride-th of its pixels is a pixel of `net`, which stays as it is (the weights are copied). Convolutions, max
    pools and layers that work pixel by pixel can be rarefied. A padded convolution gets as many times the padding; the
    windows that hung over the far edge, which ceil_mode allows, are gone.
    Errors: ValueError for layers that cannot be dilated, TypeError for what is no Sequential.
    """
    if not is_chain(net):
        raise TypeError(
            f"rarefy: a {type(net).__name__} does not say in which order its layers go; put them into a Sequential"
        )
    net = copy.deepcopy(net)
    RH, RW = 1, 1  # how far apart the pixels now are that the next layer used to see side by side
    for place in list(chain(net)):
        layer = copy.copy(place.layer)  # the same pool may stand in several places, and gets a dilation for each
        check_can_be_dilated(place.name, layer, (RH, RW))
        setattr(place.owner, place.attribute, layer)
        if type(layer) in (nn.Conv2d, nn.MaxPool2d):
            (SH, SW), (DH, DW), (PH, PW) = layer.stride, layer.dilation, layer.padding
            layer.stride, layer.dilation, layer.padding = (1, 1), (DH * RH, DW * RW), (PH * RH, PW * RW)
            RH, RW = RH * SH, RW * SW
    return net


def check_can_be_dilated(name: str, layer: nn.Module, rarefied: Pair) -> None:
    """Raise ValueError unless the layer is a convolution, a max pool, or has no windows at all."""
    what = f"rarefy: {name} is a {type(layer).__name__}"
    if isinstance(layer, nn.Linear | nn.Flatten | nn.AdaptiveAvgPool2d):
        raise ValueError(f"{what}, which takes maps of one size; make it dense first, with convolutionalize")
    if type(layer) not in (nn.Conv2d, nn.MaxPool2d) and layer.windows():
        raise ValueError(f"{what}; only Conv2d, MaxPool2d and layers that work pixel by pixel can be rarefied")
    if isinstance(layer, nn.MaxPool2d) and rarefied != (1, 1) and layer.padding != (0, 0):
        raise ValueError(f"{what} with padding {layer.padding}; behind a stride, only unpadded pools can be rarefied")
