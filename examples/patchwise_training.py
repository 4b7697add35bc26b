"""Patchwise training is loss sampling (paper, section 3.4).

The loss of a dense network is a sum over the cells of its output, one for each patch of the image. To train on patches
drawn at random, keep each cell's loss with probability p and drop the others. The gradient of such a draw, divided by
p, is the dense gradient plus noise: averaged over n draws it comes nearer as 1/√n, and the noise is larger for a
smaller p, because fewer cells are seen. The paper found (section 4.3) that this noise does not help: a step with all
cells of fewer images is as good, and costs less.

Prints the distance to the dense gradient by the number of draws; writes runs/examples/patchwise_training.png. Takes a
few seconds.
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

import scratchfcn as sf
from scratchfcn import nn
from scratchfcn.data import Normalise, Shapes
from scratchfcn.geometry import chain
from scratchfcn.training.patchwise import sample_loss

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--output", type=Path, default=Path("runs/examples/patchwise_training.png"))
options = parser.parse_args()

# %% A small dense network of stride 4, without padding: each cell of its output is one patch of the image.
sf.manual_seed(0)
KINDS = ("circle", "triangle", "cross")
net = nn.Sequential(
    nn.Conv2d(3, 12, 5, stride=2),
    nn.ReLU(),
    nn.MaxPool2d(2),
    nn.Conv2d(12, 24, 3),
    nn.ReLU(),
    nn.Conv2d(24, len(KINDS) + 1, 3),
)
grid = chain(net.windows())

# %% Four pictures, and the label of the pixel in the middle of each patch.
pictures = Shapes(4, (80, 80), seed=1, kinds=KINDS)
pairs = [pictures.read(i) for i in range(len(pictures))]
x = sf.Tensor(np.stack([Normalise()(image, label)[0] for image, label in pairs]))  # (4, 3, 80, 80)
scores = net(x)
cells = scores.shape[2]
middles = [int(grid.centre(i)) for i in range(cells)]
labels = np.stack([label[np.ix_(middles, middles)] for _, label in pairs])  # (4, cells, cells)


def gradient(labels: np.ndarray) -> np.ndarray:
    """The gradient of the summed loss by all weights, as one row."""
    net.zero_grad()
    sf.ops.softmax_cross_entropy(net(x), labels, reduction="sum").backward()
    return np.concatenate([p.grad.ravel() for p in net.parameters()])


dense = gradient(labels)
print(f"{len(pairs)} pictures, {cells}x{cells} cells each: {labels.size} patches of {grid.receptive_field} pixels\n")

# %% Draw after draw, the mean so far and its distance to the dense gradient.
DRAWS, SHOWN = 256, (1, 4, 16, 64, 256)
distances = {}
for p in (1.0, 0.5, 0.25):
    total, row = np.zeros_like(dense), []
    for n in range(1, DRAWS + 1):
        total += gradient(sample_loss(labels, p)) / p
        row.append(np.linalg.norm(total / n - dense) / np.linalg.norm(dense))
    distances[p] = np.array(row)

print("relative distance of the mean over n draws to the dense gradient\n")
print(f"{'p':>6}{'kept':>7}" + "".join(f"{f'n = {n}':>10}" for n in SHOWN))
for p, row in distances.items():
    kept = f"{p * labels.size:.0f}"
    print(f"{p:>6}{kept:>7}" + "".join(f"{row[n - 1]:>10.4f}" for n in SHOWN))

# %% The picture: which cells a draw keeps, and how the means approach.
figure = Figure(figsize=(12.5, 3.4), layout="constrained")
*panels, right = figure.subplots(1, 4, width_ratios=(1, 1, 1, 1.7))
image = pairs[0][0]
first, last = middles[0] - 2, middles[-1] + 2  # a cell stands for the 4 pixels around its middle
for panel, p in zip(panels, distances, strict=True):
    dropped = sample_loss(labels, p)[0] == 255
    panel.imshow(image)
    panel.imshow(np.where(dropped, 1.0, np.nan), extent=(first, last, last, first), cmap="gray", vmin=0, alpha=0.85)
    panel.add_patch(Rectangle((first, first), last - first, last - first, fill=False, linestyle=":", linewidth=1.2))
    panel.set_title(f"p = {p:g}: {(~dropped).sum()} patches", loc="left", fontsize=11)
    panel.set(xlim=(-0.5, 79.5), ylim=(79.5, -0.5), xticks=[], yticks=[])
n = np.arange(1, DRAWS + 1)
for p, colour in ((0.5, "#0072B2"), (0.25, "#D55E00")):
    right.loglog(n, distances[p], color=colour, label=f"p = {p:g}")
    expected = distances[p][SHOWN[2] - 1] * np.sqrt(SHOWN[2] / n)
    right.loglog(n, expected, color=colour, linestyle=":", linewidth=1)
right.plot([], [], color="#777777", linestyle=":", linewidth=1, label="1/√n")
right.set_title("distance to the dense gradient", loc="left", fontsize=11)
right.set(xlabel="draws n that are averaged", xticks=SHOWN, xticklabels=SHOWN)
right.minorticks_off()
right.grid(alpha=0.25)
right.spines[["top", "right"]].set_visible(False)
right.legend(frameon=False, fontsize=9)
options.output.parent.mkdir(parents=True, exist_ok=True)
figure.savefig(options.output, dpi=110)
print(f"\n{options.output}")
