"""Shift-and-stitch equals filter rarefaction (paper, section 3.2).

A hand-made edge detector of stride 4 scores every fourth pixel of a picture. Run on 16 shifted copies whose outputs are
interlaced, it scores every pixel; so does the same network with stride 1 and holes in its filters, in one pass. All
numbers here are whole, so that both add up exactly: the difference is 0, not nearly 0. The picture shows that the
dense map is finer than the coarse one enlarged, but no sharper: each score still comes from 15x15 pixels.

Prints sizes and times; writes runs/examples/shift_and_stitch.png. Takes a second.
"""

# %%
import argparse
from pathlib import Path
from time import perf_counter

import numpy as np
from matplotlib.figure import Figure

import scratchfcn as sf
from scratchfcn import nn
from scratchfcn.data.shapes import Shapes
from scratchfcn.geometry import chain
from scratchfcn.models.dense import rarefy, shift_and_stitch

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--output", type=Path, default=Path("runs/examples/shift_and_stitch.png"))
options = parser.parse_args()

# %% A network of stride 4: four gradients (up, down, left, right), their strongest response, and the sum around it
across = np.outer([1, 2, 3, 2, 1], [-1, -2, 0, 2, 1])  # (5, 5), dark on the left and bright on the right
net = nn.Sequential(
    nn.Conv2d(1, 4, 5, stride=2, bias=False),
    nn.ReLU(),
    nn.MaxPool2d(2),
    nn.Conv2d(4, 1, 3, bias=False),
)
net[0].weight.data[:, 0] = np.stack([across, -across, across.T, -across.T])  # (4, 5, 5)
net[3].weight.data[...] = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]])  # (1, 4, 3, 3)
grid = chain(net.windows())

photo = Shapes(length=1, size=(160, 160), seed=7, num_shapes=(3, 3)).read(0)[0]  # uint8 (160, 160, 3)
x = sf.Tensor(photo.sum(axis=2)[None, None].astype(np.float32))  # (1, 1, 160, 160), whole numbers

# %% The coarse map, and the dense one in two ways
with sf.no_grad():
    coarse = net(x).numpy()
start = perf_counter()
stitched = shift_and_stitch(net, x, int(grid.stride)).numpy()
stitching = perf_counter() - start
rare_net = rarefy(net)
start = perf_counter()
with sf.no_grad():
    rarefied = rare_net(x).numpy()
one_pass = perf_counter() - start

H, W = x.shape[2:]
print(f"image {H}x{W}, network of stride {grid.stride} that sees {grid.receptive_field} pixels\n")
print(f"{'':24}{'scores':>10}{'passes':>9}{'ms':>8}")
for name, y, passes, seconds in (
    ("coarse", coarse, 1, None),
    ("shift-and-stitch", stitched, int(grid.stride) ** 2, stitching),
    ("filter rarefaction", rarefied, 1, one_pass),
):
    size = f"{y.shape[2]}x{y.shape[3]}"
    print(f"{name:24}{size:>10}{passes:>9}{'' if seconds is None else f'{1000 * seconds:.1f}':>8}")
difference = abs(stitched - rarefied).max()
print(f"\nlargest difference between the two: {difference:g}  (largest score: {rarefied.max():g})")
print("layers of the rarefied network:")
for layer in rare_net:
    if layer.windows():
        print(
            f"  {type(layer).__name__:10} kernel {layer.kernel_size}, stride {layer.stride}, dilation {layer.dilation}"
        )

# %% Side by side, where they lie on the image
figure = Figure(figsize=(13, 3.7), layout="constrained")
axes = figure.subplots(1, 4)
axes[0].imshow(photo)
axes[0].set_title("image", loc="left", fontsize=11)
first, last = float(grid.start), float(grid.start) + stitched.shape[2] - 1
dense_extent = (first - 0.5, last + 0.5, last + 0.5, first - 0.5)  # left, right, bottom, top
far = float(grid.centre(coarse.shape[2] - 1)) + 2
coarse_extent = (first - 2, far, far, first - 2)
panels = (
    (f"coarse, stride {grid.stride}", coarse, coarse_extent),
    ("shift-and-stitch, 16 passes", stitched, dense_extent),
    ("filter rarefaction, 1 pass", rarefied, dense_extent),
)
for panel, (title, y, extent) in zip(axes[1:], panels, strict=True):
    panel.imshow(y[0, 0], cmap="magma", vmin=0, vmax=rarefied.max(), extent=extent, interpolation="nearest")
    panel.set_title(f"{title}: {y.shape[2]}x{y.shape[3]}", loc="left", fontsize=11)
for panel in axes:
    panel.set(xlim=(-0.5, W - 0.5), ylim=(H - 0.5, -0.5), xticks=[], yticks=[], facecolor="#eeeeee")
figure.suptitle(f"The two dense maps differ by {difference:g}", fontsize=12)
options.output.parent.mkdir(parents=True, exist_ok=True)
figure.savefig(options.output, dpi=110)
print(f"\n{options.output}")
