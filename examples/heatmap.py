"""Where is the cat? A classifier's scores at every place of a photograph (paper, figure 2).

Two networks that were trained to name what a whole photograph shows, SqueezeNet 1.0 and MobileNetV2, become dense: the
mean over the last map is left out, and the score of each class is read off at every pixel of the map. Nobody ever
told these networks where anything is, yet the scores are highest where the thing is. The paper starts from that.

The photographs and the ImageNet weights: a folder with `photos/` and `weights/`. Without it, a small network that
learns in a few seconds which shape a generated picture shows stands in.

Prints the best classes and where the best one peaks; writes runs/examples/heatmap.png. Half a minute on two cores.
"""

import argparse
import os
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import scratchfcn as sf
from scratchfcn.data import Normalise, Shapes, read_image, resize_image
from scratchfcn.geometry import Grid
from scratchfcn.weights import load

DATA = os.environ.get("SCRATCHFCN_DATA", Path(__file__).resolve().parents[1] / "../shared/data")
parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--data", type=Path, default=Path(DATA), help="folder with photos/ and weights/")
parser.add_argument("--output", type=Path, default=Path("runs/examples/heatmap.png"))
options = parser.parse_args()


# %% A photograph, its shorter side scaled to 320 pixels, and cut to multiples of 32.
def photograph(path: Path) -> np.ndarray:
    """uint8 (H, W, 3)."""
    image = read_image(path)
    scale = 320 / min(image.shape[:2])
    image = resize_image(image, tuple(round(n * scale) for n in image.shape[:2]))
    H, W = (n // 32 * 32 for n in image.shape[:2])
    return np.ascontiguousarray(image[:H, :W])


# %% The heat of a class: its score on the dense map, interpolated between the places where the map's pixels lie.
def heatmap(dense: sf.nn.Module, grid: Grid, image: np.ndarray, normalise: Normalise) -> tuple[np.ndarray, np.ndarray]:
    """The mean scores (K,), and the best class's score at every pixel of the image (H, W)."""
    with sf.no_grad():
        scores = dense(sf.Tensor(normalise(image, None)[0][None])).numpy()[0]  # (K, h, w)
    mean = scores.mean(axis=(1, 2))  # what the classifier would say of the whole picture
    coarse = scores[mean.argmax()]  # (h, w)
    rows, columns = ([float(grid.centre(i)) for i in range(n)] for n in coarse.shape)
    H, W = image.shape[:2]
    wide = np.stack([np.interp(np.arange(W), columns, line) for line in coarse])  # (h, W)
    return mean, np.stack([np.interp(np.arange(H), rows, line) for line in wide.T], axis=1)  # (H, W)


def grid_of(classifier: sf.models.Classifier) -> Grid:
    """Where the pixels of the last map lie."""
    return Grid().through(*(window for stage in classifier.pool_windows() for window in stage))


# %% The networks. Dropping the mean over the map makes them dense.
Network = tuple[str, sf.nn.Module, Grid, Normalise]


def imagenet_networks() -> list[Network]:
    squeezenet = sf.models.SqueezeNetClassifier("1_0", classifier_padding=1)
    squeezenet.load_state_dict(load(options.data / "weights/squeezenet1_0_deepcompression_tvnorm.safetensors").arrays)
    mobilenet = sf.models.MobileNetV2Classifier(batch_norm=False, padding="tensorflow")
    mobilenet.load_state_dict(load(options.data / "weights/mobilenet_v2_float16.safetensors").arrays)
    networks = []
    for name, classifier, normalise in (
        ("SqueezeNet 1.0", squeezenet.eval(), Normalise()),
        ("MobileNetV2", mobilenet.eval(), Normalise((0.5,) * 3, (0.5,) * 3)),
    ):
        dense = sf.models.convolutionalize(classifier, 224, pooling="drop")
        grid = grid_of(classifier)
        if name == "SqueezeNet 1.0":  # its last convolution is padded, which adds a pixel before the first
            grid = grid.through(*squeezenet.classifier.windows())
        networks.append((name, dense, grid, normalise))
    return networks


def stand_in(kinds: tuple[str, ...]) -> list[Network]:
    """A classifier of 64x64 pictures that show one shape each."""
    layers: list[sf.nn.Module] = []
    for C, OC in ((3, 16), (16, 32), (32, 64), (64, 64)):
        layers += [sf.nn.Conv2d(C, OC, 3, padding=1, bias=False), sf.nn.BatchNorm2d(OC), sf.nn.ReLU()]
        layers.append(sf.nn.MaxPool2d(2))
    body = sf.nn.Sequential(*layers)
    net = sf.nn.Sequential(*layers, sf.nn.AdaptiveAvgPool2d(1), sf.nn.Flatten(), sf.nn.Linear(64, len(kinds)))
    optimizer, pictures = sf.optim.Adam(net.parameters(), 3e-3), Shapes(16 * 250, (64, 64), 2, (1, 1), kinds)
    for start in range(0, len(pictures), 16):
        pairs = [pictures.read(i) for i in range(start, start + 16)]
        x = sf.Tensor(np.stack([Normalise()(image, None)[0] for image, _ in pairs]))
        labels = np.array([max(int(label.max()), 1) - 1 for _, label in pairs])
        loss = sf.ops.softmax_cross_entropy(net(x), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    dense = sf.models.convolutionalize(net.eval(), 64, pooling="drop")
    return [("a small network", dense, sf.geometry.chain(body.windows()), Normalise())]


def scene(i: int, kinds: tuple[str, ...]) -> np.ndarray:
    """A larger ground with a small picture of one shape somewhere on it: uint8 (160, 160, 3)."""
    image = Shapes(5, (160, 160), 3, (0, 0), kinds).read(i)[0].copy()
    top, left = np.random.default_rng(i).integers(0, 160 - 64, 2)
    image[top : top + 64, left : left + 64] = Shapes(5, (64, 64), 4, (1, 1), kinds).read(i)[0]
    return image


sf.manual_seed(0)
if (options.data / "photos").exists() and (options.data / "weights").exists():
    images = {path.stem: photograph(path) for path in sorted((options.data / "photos").glob("*.jpg"))}
    lines = (options.data / "weights/imagenet_classes.txt").read_text().splitlines()
    names = [line.split(",")[0] for line in lines]  # of several names for one thing, the first
    networks = imagenet_networks()
else:
    print(f"{options.data} has no photos/ and weights/: generated shapes stand in")
    names = ("circle", "square", "triangle", "cross")
    networks = stand_in(names)
    images = {f"scene {i}": scene(i, names) for i in range(5)}

# %% Every photograph through every network.
figure = Figure(figsize=(3.1 * len(images), 2.6 * (1 + len(networks))), layout="constrained")
axes = figure.subplots(1 + len(networks), len(images), squeeze=False)
for column, (title, image) in enumerate(images.items()):
    axes[0, column].imshow(image)
    axes[0, column].set_title(title)
    for row, (name, dense, grid, normalise) in enumerate(networks, start=1):
        scores, heat = heatmap(dense, grid, image, normalise)
        best = np.argsort(-scores)[:3]
        y, x = np.unravel_index(heat.argmax(), heat.shape)
        print(f"{title:10} {name:15} peak at row {y:3}, column {x:3}   {', '.join(names[k] for k in best)}")
        axes[row, column].imshow(image)
        axes[row, column].imshow(heat, cmap="inferno", alpha=0.65)
        axes[row, column].scatter([x], [y], s=90, facecolors="none", edgecolors="cyan", linewidths=2)
        axes[row, column].set_title(f"{names[best[0]]}\n({name})", fontsize=9)
for each in axes.ravel():
    each.set_axis_off()
options.output.parent.mkdir(parents=True, exist_ok=True)
figure.savefig(options.output, dpi=100)
print(f"\n{options.output}")
