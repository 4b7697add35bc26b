"""How much of the image a score sees: receptive fields and strides of the paper's three networks (section 3, table 1).

Layers compose: f with kernel k and stride s, behind g with k' and s', is one layer of kernel k' + (k - 1)·s' and stride
s·s'. Folded from the first layer to the last, this gives table 1: 404 pixels for VGG16, 355 for AlexNet, and 907 for
GoogLeNet (with the 7x7 mean at its end; 715 without).

The same numbers are then measured: the gradient of one score by the image is zero wherever the score does not look. For
this each network is reduced to one channel with equal weights, because neither ReLU nor max pooling changes where the
windows lie, and both would stop gradients. The picture shows the gradient, and that the paper's number is the
square that holds all of it, while most of it gathers in the middle.

Prints both; writes runs/examples/11_receptive_field.png. Takes a few seconds.

Next: exercises 01 and 12 of `scratchfcn learn` (sizes; crop offsets). To read: scratchfcn/geometry.py, with section 3
of the paper beside it.
"""

# %%
import argparse
from fractions import Fraction
from functools import reduce
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

import scratchfcn as sf
from scratchfcn import nn
from scratchfcn.geometry import Grid, Window, chain, compose
from scratchfcn.models.alexnet import AlexNet
from scratchfcn.models.bvlc_googlenet import BVLCGoogLeNet
from scratchfcn.models.vgg import VGG16

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--output", type=Path, default=Path("runs/examples/11_receptive_field.png"))
options = parser.parse_args()


# %% The windows of each network up to its first fully connected layer, which is a convolution here
def backbone_windows(backbone: nn.Module) -> list[Window]:
    return [window for stage in backbone.pool_windows() for window in stage]


networks = {  # name: (windows, table 1)
    "AlexNet, to fc6": ([*backbone_windows(AlexNet()), Window(6)], 355),
    "VGG16, to fc6": ([*backbone_windows(VGG16()), Window(7)], 404),
    "GoogLeNet, with its mean": ([*backbone_windows(BVLCGoogLeNet()), Window(7)], 907),
}

# %% Folding: what the layers seen so far are as a single one
print("VGG16, layer by layer: f ∘ g is one layer of kernel k' + (k - 1)·s' and stride s·s'\n")
print(f"{'layer':>6}  {'(k, s)':8}  all so far")
so_far = (1, 1)  # the image
for number, window in enumerate(networks["VGG16, to fc6"][0], start=1):
    layer = (window.kernel, window.stride)
    so_far = compose(layer, so_far)
    print(f"{number:>6}  {layer!s:8}  {so_far}")


# %% Measuring: where is the gradient of one score not zero?
def one_channel(windows: list[Window]) -> nn.Sequential:
    """A network with these windows and no more: one channel, equal weights."""
    layers = []
    for kernel, stride, padding, dilation, _ in windows:
        layers.append(nn.Conv2d(1, 1, kernel, stride, padding, dilation, bias=False))
        layers[-1].weight.data[...] = 1 / kernel**2
    return nn.Sequential(*layers).double()


def gradient_of_one_score(windows: list[Window], size: int) -> tuple[np.ndarray, int]:
    """d (middle score) / d (image), (size, size), and the score's row, which is also its column."""
    image = sf.Tensor(np.ones((1, 1, size, size)), requires_grad=True)
    scores = one_channel(windows)(image)  # (1, 1, OH, OW)
    middle = scores.shape[2] // 2
    seed = np.zeros(scores.shape)
    seed[0, 0, middle, middle] = 1
    scores.backward(seed)
    return image.grad[0, 0], middle


SIZE = 1024
gradients = {}
print(f"\n{'':28}{'composed':>12}{'measured':>10}{'table 1':>9}   {'centre':>8}{'measured':>10}")
for name, (windows, paper) in networks.items():
    folded = reduce(lambda so_far, window: compose(window[:2], so_far), windows, (1, 1))
    grid = chain(windows)
    gradient, i = gradient_of_one_score(windows, SIZE)
    rows = np.flatnonzero(gradient.any(axis=1))
    first, last = int(rows[0]), int(rows[-1])
    gradients[name] = gradient, first, last
    centre = Fraction(first + last, 2)
    print(f"{name:28}{folded!s:>12}{last - first + 1:>10}{paper:>9}   {float(grid.centre(i)):>8}{float(centre):>10}")
    assert folded == (last - first + 1, grid.stride)
    assert folded[0] == paper
    assert grid.centre(i) == centre

# %% The gradients with the squares that hold them, and how the squares grow
figure = Figure(figsize=(15, 4.1), layout="constrained")
*maps, growth = figure.subplots(1, 4)
colours = ("#0072B2", "#D55E00", "#009E73")
for panel, colour, (name, (gradient, first, last)) in zip(maps, colours, gradients.items(), strict=True):
    panel.imshow(gradient / gradient.max(), cmap="Greys")
    side = last - first + 1
    panel.add_patch(Rectangle((first, first), side, side, fill=False, edgecolor=colour, linewidth=1.8))
    inside = np.sort(gradient.ravel())[::-1].cumsum() / gradient.sum()
    half = np.searchsorted(inside, 0.5) / side**2
    panel.set_title(f"{name}: {side} pixels", loc="left", fontsize=11)
    panel.set_xlabel(f"half of the gradient lies on {half:.0%} of the square", fontsize=9)
    panel.set(xticks=[], yticks=[])
for colour, (name, (windows, _)) in zip(colours, networks.items(), strict=True):
    grids = [Grid()]
    for window in windows:
        grids.append(grids[-1].through(window))
    growth.step(range(len(grids)), [g.receptive_field for g in grids], where="mid", color=colour, label=name)
growth.set_title("receptive field, layer by layer", loc="left", fontsize=11)
growth.set(xlabel="layers with a window", ylabel="pixels", ylim=(0, None))
growth.legend(frameon=False, fontsize=9)
growth.spines[["top", "right"]].set_visible(False)
options.output.parent.mkdir(parents=True, exist_ok=True)
figure.savefig(options.output, dpi=110)
print(f"\n{options.output}")
