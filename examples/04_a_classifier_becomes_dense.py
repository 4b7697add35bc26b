"""One answer for a picture becomes one for every place in it (paper, section 3.1 and figure 2).

Four photographs are laid side by side. A classifier must give this picture a single name. Made dense, with the very
same weights, it gives one for every window of the size it was trained on; and where the mean over its last map is left
out ("drop"), one for every pixel of that map. On a photograph of the training size, the dense scores are the
classifier's.

The colours say which of the four things scores highest where, and are stronger where it scores higher. Each answer is
drawn in the middle of its window, so the windows reach the picture's edge although the colours do not.

The photographs and SqueezeNet's ImageNet weights: a folder with `photos/` and `weights/`. Without it, a Sequential with
Flatten and Linear that learns in a few seconds which shape a generated picture shows stands in. It ends in fully
connected layers instead of a mean, so there is nothing to leave out.

Prints what each says; writes runs/examples/04_a_classifier_becomes_dense.png. Takes a few seconds.

Next: exercise 11 of `scratchfcn learn` (a fully connected layer becomes a convolution). To read:
scratchfcn/models/convolutionalize.py; and heatmap.py, beside this file, for whole photographs.
"""

import argparse
import os
from pathlib import Path

import numpy as np
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

import scratchfcn as sf
from scratchfcn import nn
from scratchfcn.data import Normalise, Shapes, read_image, resize_image
from scratchfcn.geometry import Grid, chain
from scratchfcn.models.convolutionalize import convolutionalize
from scratchfcn.weights import load

DATA = os.environ.get("SCRATCHFCN_DATA", Path(__file__).resolve().parents[1] / "../shared/data")
parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--data", type=Path, default=Path(DATA), help="folder with photos/ and weights/")
parser.add_argument("--output", type=Path, default=Path("runs/examples/04_a_classifier_becomes_dense.png"))
options = parser.parse_args()


# %% With data: SqueezeNet 1.0 and four photographs.
def middle(photo: np.ndarray, size: int) -> np.ndarray:
    """The shorter side scaled to `size`, and the square in the middle: uint8 (size, size, 3)."""
    H, W = (max(size, round(n * size / min(photo.shape[:2]))) for n in photo.shape[:2])
    top, left = (H - size) // 2, (W - size) // 2
    return resize_image(photo, (H, W))[top : top + size, left : left + size]


def photographs() -> tuple[nn.Module, int, list[np.ndarray], list[str], list[str]]:
    """The classifier, the size it takes, four photographs, what they show, and the names of all classes."""
    classifier = sf.models.build("squeezenet1_0", classifier_padding=1)
    weights = load(options.data / "weights" / "squeezenet1_0_deepcompression_tvnorm.safetensors")
    classifier.load_state_dict(weights.arrays)
    lines = (options.data / "weights" / "imagenet_classes.txt").read_text().splitlines()
    names = [line.split(",")[0].lower() for line in lines]  # of several names for one thing, the first
    files = ("bird", "dragonfly", "hot_dog", "cat2")
    photos = [read_image(options.data / "photos" / f"{name}.jpg") for name in files]
    return classifier, 227, photos, ["chickadee", "dragonfly", "hotdog", "tiger cat"], names


# %% Without: a small network, trained on pictures of one shape each.
def shapes() -> tuple[nn.Module, int, list[np.ndarray], list[str], list[str]]:
    """The same five, made up."""
    size, kinds = 32, ("circle", "square", "triangle", "cross")
    sf.manual_seed(0)
    layers: list[nn.Module] = []
    for channels, width in ((3, 16), (16, 32), (32, 32)):
        conv = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        layers += [conv, nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(2)]
    classifier = nn.Sequential(*layers, nn.Flatten(), nn.Linear(32 * 4 * 4, 64), nn.ReLU(), nn.Linear(64, len(kinds)))
    optimizer = sf.optim.Adam(classifier.parameters(), lr=5e-3)
    steps, batch = 300, 32
    schedule = sf.optim.warm_up(sf.optim.poly(5e-3, steps), steps // 5)
    pictures = Shapes(steps * batch, (size, size), num_shapes=(1, 1), kinds=kinds)
    for step in range(steps):
        pairs = [pictures.read(i) for i in range(step * batch, (step + 1) * batch)]
        x = np.stack([Normalise()(image, label)[0] for image, label in pairs])  # (N, 3, 32, 32)
        answers = np.array([max(int(label.max()), 1) - 1 for _, label in pairs])  # which shape, wherever it is
        optimizer.lr = schedule(step)
        loss = sf.ops.softmax_cross_entropy(classifier(sf.Tensor(x)), answers)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    examples = [Shapes(9, (64, 64), 5, num_shapes=(1, 1), kinds=(kind,)).read(i)[0] for i, kind in enumerate(kinds)]
    return classifier, size, examples, list(kinds), list(kinds)


have_data = (options.data / "photos").is_dir() and (options.data / "weights").is_dir()
classifier, size, photos, shown, names = photographs() if have_data else shapes()
if not have_data:
    print(f"no photos/ and weights/ in {options.data}: generated pictures stand in\n")
classifier.eval()


def score(net: nn.Module, image: np.ndarray) -> np.ndarray:
    """uint8 (H, W, 3) → what the network says, without the axis of images."""
    with sf.no_grad():
        return net(sf.Tensor(Normalise()(image, None)[0][None])).numpy()[0]


# %% At the training size the dense network says what the classifier says.
dense = convolutionalize(classifier, size)
print(f"{'shown':12}{'classifier':>24}{'probability':>13}   dense, largest difference of a score")
for what, photo in zip(shown, photos, strict=True):
    small = middle(photo, size)
    row, cell = score(classifier, small), score(dense, small)  # (K,), (K, 1, 1)
    probability = sf.ops.softmax(sf.Tensor(row[None])).numpy().max()
    print(f"{what:12}{names[row.argmax()]:>24}{probability:>13.2f}   {abs(row - cell[:, 0, 0]).max():.1e}")

# %% All four in one picture: one answer, a grid of answers, and one for every pixel of the last map.
tiles = [middle(photo, size * 3 // 2) for photo in photos]
large = np.vstack([np.hstack(tiles[:2]), np.hstack(tiles[2:])])  # (3·size, 3·size, 3)
H, W = large.shape[:2]
maps = {"window": dense}
if any(isinstance(layer, nn.AvgPool2d) for layer in dense.modules()):  # there is a mean that can be left out
    maps["drop"] = convolutionalize(classifier, size, pooling="drop")
if have_data:  # the stand-in's fully connected layers take no other size
    print(f"\nall four, {H}x{W}: the classifier's one answer is {names[score(classifier, large).argmax()]!r}")
print("\nwhich of the four scores highest?")
print(f"{'':10}{'scores':>8}{'field':>7}" + "".join(f"{what:>12}" for what in shown))


def grid_of(net: nn.Module) -> Grid:
    """Where the cells of the dense map lie on the picture."""
    if isinstance(net, nn.Sequential):
        return chain(net.windows())
    to_last_map = [window for stage in net.pool_windows() for window in stage]
    return chain([*to_last_map, *(window for layer in net.top() for window in layer.windows())])


COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7")
figure = Figure(figsize=(4.2 * (1 + len(maps)) + 1.3, 4.4), layout="constrained")
axes = figure.subplots(1, 1 + len(maps))
axes[0].imshow(large)
axes[0].set_title(f"picture, {H}x{W}", loc="left", fontsize=11)
for panel, (pooling, net) in zip(axes[1:], maps.items(), strict=True):
    four = score(net, large)[[names.index(what) for what in shown]]  # (4, H', W')
    grid, (_, OH, OW) = grid_of(net), four.shape
    winner = four.argmax(axis=0)  # (H', W')
    strength = four.clip(0) / four.max(axis=(1, 2), keepdims=True)  # of the thing's highest score
    rgba = np.array([to_rgba(colour) for colour in COLOURS])[winner]  # (H', W', 4)
    rgba[:, :, 3] = 0.85 * np.take_along_axis(strength, winner[None], axis=0)[0]
    edges = [float(grid.centre(i)) - float(grid.stride) / 2 for i in (0, OW, OH)]  # left and top, right, bottom
    panel.imshow(large.mean(axis=2), cmap="gray", vmin=-80, vmax=255)
    panel.imshow(rgba, extent=(edges[0], edges[1], edges[2], edges[0]), interpolation="nearest")
    size_drawn = edges[1] - edges[0], edges[2] - edges[0]
    panel.add_patch(Rectangle((edges[0], edges[0]), *size_drawn, fill=False, linestyle=":"))
    panel.set_title(f'"{pooling}": {OH}x{OW} answers, {grid.stride} pixels apart', loc="left", fontsize=11)
    counts = "".join(f"{(winner == k).sum():>12}" for k in range(len(shown)))
    print(f"{pooling:10}{f'{OH}x{OW}':>8}{grid.receptive_field!s:>7}{counts}")
for panel in axes:
    panel.set(xlim=(-0.5, W - 0.5), ylim=(H - 0.5, -0.5), xticks=[], yticks=[])
handles = [Patch(color=colour, label=what) for colour, what in zip(COLOURS, shown, strict=True)]
figure.legend(handles=handles, loc="outside right center", frameon=False, fontsize=10)
options.output.parent.mkdir(parents=True, exist_ok=True)
figure.savefig(options.output, dpi=110)
print(f"\n{options.output}")
