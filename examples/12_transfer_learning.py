"""Transfer: an FCN that starts from ImageNet features against the same FCN from random weights (paper, section 4.1).

SqueezeNet 1.1 has learned to tell a thousand kinds of things apart in a million photographs. Its features, put under an
FCN-8s, are fine-tuned on CamVid's street scenes, and so is the same network from random weights: same pictures in the
same order, same number of steps. What to look for: after so few steps the random features have found sky and road,
which their place and brightness give away; the pretrained ones also know cars, trees and pavements.

The data: a folder with `camvid/` (train, trainannot, val, valannot) and `weights/squeezenet1_1_tvnorm.safetensors`.
Without it, generated shapes stand in for both: features are learned on circles, squares and triangles, and transferred
to stars, rings and crosses.

Writes the pictures to runs/examples/12_transfer_learning.png. Half a minute on two cores.

Next: `scratchfcn train --model fcn8s --backbone squeezenet1_1 --init WEIGHTS` on data of your own. To read:
scratchfcn/surgery.py and models/start.py, which say what of one network fits into another.
"""

import argparse
import os
import time
from pathlib import Path

import numpy as np

import scratchfcn as sf
from scratchfcn.data import (
    Cached,
    Compose,
    Dataset,
    Loader,
    Normalise,
    RandomFlip,
    Resize,
    Shapes,
    mosaic,
    open_dataset,
    overlay,
    resize_label,
)
from scratchfcn.metrics import ConfusionMatrix
from scratchfcn.weights import load

DATA = os.environ.get("SCRATCHFCN_DATA", Path(__file__).resolve().parents[1] / "../shared/data")
parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--data", type=Path, default=Path(DATA), help="folder with camvid/ and weights/")
parser.add_argument("--output", type=Path, default=Path("runs/examples/12_transfer_learning.png"))
parser.add_argument("--steps", type=int, default=100, help="training steps of each net")
parser.add_argument("--images", type=int, default=30, help="validation images to measure on")
options = parser.parse_args()


# %% One training and one measurement, for both nets.
def train(net: sf.nn.Module, data: Dataset, steps: int, lr: float = 5e-4) -> float:
    """Adam, batches of 4, the rate falling to nothing. Returns the seconds."""
    optimizer = sf.optim.Adam([p for p in net.parameters() if p.requires_grad], lr)
    schedule = sf.optim.warm_up(sf.optim.poly(lr, steps), 10)
    loader = Loader(data, 4, Compose([RandomFlip(), Normalise()]), drop_last=True)
    started, step, epoch = time.perf_counter(), 0, 0
    net.train()
    while step < steps:
        for batch in loader.epoch(epoch):
            optimizer.lr = schedule(step)
            loss = sf.ops.softmax_cross_entropy(net(sf.Tensor(batch.images)), batch.labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
            if step == steps:
                break
        epoch += 1
    return time.perf_counter() - started


def validate(net: sf.nn.Module, data: Dataset) -> tuple[ConfusionMatrix, list[np.ndarray]]:
    """The confusion matrix over `data`, at the size of the training pictures, and the predictions."""
    confusion, predictions = ConfusionMatrix(len(data.classes)), []
    net.eval()
    with sf.no_grad():
        for batch in Loader(data, 1, Normalise(), shuffle=False).epoch(0):
            prediction = net(sf.Tensor(batch.images)).data.argmax(axis=1).astype(np.uint8)  # (1, H, W)
            confusion.update(prediction, batch.labels)
            predictions.append(prediction[0])
    return confusion, predictions


class Some(Dataset):
    """Every n-th picture of a data set, `count` in all."""

    def __init__(self, dataset: Dataset, count: int) -> None:
        self.dataset, self.classes = dataset, dataset.classes
        self.numbers = np.linspace(0, len(dataset) - 1, min(count, len(dataset))).round().astype(int)

    def __len__(self) -> int:
        return len(self.numbers)

    def name(self, i: int) -> str:
        return self.dataset.name(self.numbers[i])

    def read(self, i: int) -> tuple[np.ndarray, np.ndarray]:
        return self.dataset.read(self.numbers[i])


# %% The features and the pictures: real ones where they are, generated ones elsewhere.
weights_file = options.data / "weights" / "squeezenet1_1_tvnorm.safetensors"
sf.backend.keep_freed_memory()
if weights_file.exists() and (options.data / "camvid").exists():
    resize = Resize((180, 240))
    train_set = Cached(open_dataset(options.data / "camvid", "train"), resize)
    val_set = Cached(Some(open_dataset(options.data / "camvid", "val"), options.images), resize)
    features = load(weights_file).arrays
    print(f"SqueezeNet 1.1's ImageNet features ({weights_file.name}), CamVid at 240x180")
else:
    print(f"{options.data} has no camvid/ and no {weights_file.name}: generated shapes stand in for both")
    size, steps = (64, 64), options.steps
    sf.manual_seed(0)
    first = sf.models.fcn8s("squeezenet1_1", 4)
    train(first, Shapes(4 * steps, size, seed=2, kinds=("circle", "square", "triangle")), 3 * steps)
    features = first.backbone.state_dict()
    train_set = Shapes(4 * steps, size, seed=0, kinds=("star", "ring", "cross"))
    val_set = Shapes(options.images, size, seed=1, kinds=("star", "ring", "cross"))

# %% The same network twice, of the same seed; one of them then takes over the features.
results = {}
for name in ("random weights", "ImageNet features" if weights_file.exists() else "transferred features"):
    sf.manual_seed(0)
    net = sf.models.fcn8s("squeezenet1_1", len(train_set.classes))
    if name != "random weights":
        print(f"weights: {str(sf.models.start_from(net, features)).splitlines()[0]}")
    seconds = train(net, train_set, options.steps)
    results[name] = (*validate(net, val_set), seconds)

# %% The paper's measures after the same number of steps.
print(f"\nafter {options.steps} steps of 4 pictures, on {len(val_set)} validation pictures:")
print(f"{'':22} pixel acc  mean acc  mean IU  f.w. IU   seconds")
for name, (confusion, _, seconds) in results.items():
    figures = (confusion.pixel_acc, confusion.mean_acc, confusion.mean_iu, confusion.fw_iu)
    print(f"{name:22} " + " ".join(f"{100 * figure:9.1f}" for figure in figures) + f" {seconds:9.0f}")
print("\nIU of each class:")
for i, label in enumerate(train_set.classes.names):
    print(
        f"  {label:12}" + "".join(f"  {100 * confusion.per_class_iu[i]:5.1f}" for confusion, _, _ in results.values())
    )

# %% Some pictures.
rows = []
for i in np.linspace(0, len(val_set) - 1, 4).astype(int):
    image, label = val_set.read(i)
    masks = [label, *(resize_label(predictions[i], label.shape) for _, predictions, _ in results.values())]
    rows.append([image, *(overlay(image, mask, train_set.classes, alpha=0.7) for mask in masks)])
options.output.parent.mkdir(parents=True, exist_ok=True)
mosaic(rows, ["picture", "truth", *results], train_set.classes).save(options.output)
print(f"\n{options.output}")
