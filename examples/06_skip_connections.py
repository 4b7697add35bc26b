"""What the skips are worth: FCN-32s, 16s and 8s on the same pictures, in stages and at once (paper, section 4.2).

An FCN-32s is trained; an FCN-16s starts from it, an FCN-8s from that, each with new score layers that begin at zero.
Beside them, an FCN-8s and an FCN-8s "at once" are trained from the beginning for as many steps as the three
stages took together. What to look for: the coarse net finds the shapes but draws them as blobs; every skip sharpens
their outlines. And stages are a way to get there, not the only one: with batch norm, an FCN-8s trains well from the
beginning. The scales of "at once" (0.01 and 0.0001) were made for VGG16, whose features are hundreds of times larger
than these; here they hold the skips back.

Writes the pictures to runs/examples/06_skip_connections.png. Forty seconds on two cores.

Next: exercise 12 of `scratchfcn learn` (crop offsets, and one skip after the other). To read: scratchfcn/models/fcn.py.
"""

import argparse
import time
from pathlib import Path

import numpy as np

import scratchfcn as sf
from scratchfcn.data import Loader, Normalise, Shapes, mosaic, overlay
from scratchfcn.metrics import ConfusionMatrix

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--output", type=Path, default=Path("runs/examples/06_skip_connections.png"))
parser.add_argument("--steps", type=int, default=80, help="steps of each of the three stages")
options = parser.parse_args()

# %% Pictures: four kinds of shapes on all kinds of grounds. The validation pictures are never trained on.
SIZE, BATCH, KINDS = (64, 64), 8, ("circle", "square", "triangle", "cross")
steps = options.steps
train_set = Shapes(3 * steps * BATCH, SIZE, seed=0, num_shapes=(1, 2), kinds=KINDS)
val_set = Shapes(100, SIZE, seed=1, num_shapes=(1, 2), kinds=KINDS)


# %% Training is the same for all: Adam, a rate that grows at first and falls to nothing, new pictures in every step.
def train(net: sf.nn.Module, count: int, first: int = 0) -> None:
    """`count` steps, on the pictures from batch `first` on."""
    optimizer = sf.optim.Adam([p for p in net.parameters() if p.requires_grad], lr=5e-3)
    schedule = sf.optim.warm_up(sf.optim.poly(5e-3, count), max(1, count // 5))
    batches = Loader(train_set, BATCH, Normalise(), shuffle=False).epoch(0, start=first)
    net.train()
    for step, batch in zip(range(count), batches, strict=False):
        optimizer.lr = schedule(step)
        loss = sf.ops.softmax_cross_entropy(net(sf.Tensor(batch.images)), batch.labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    batches.close()


def validate(net: sf.nn.Module) -> tuple[ConfusionMatrix, list[np.ndarray]]:
    """The confusion matrix over the validation pictures, and the predictions."""
    confusion, predictions = ConfusionMatrix(len(KINDS) + 1), []
    net.eval()
    with sf.no_grad():
        for batch in Loader(val_set, 25, Normalise(), shuffle=False).epoch(0):
            prediction = net(sf.Tensor(batch.images)).data.argmax(axis=1).astype(np.uint8)  # (N, H, W)
            confusion.update(prediction, batch.labels)
            predictions += list(prediction)
    return confusion, predictions


# %% The three stages: each finer net takes over every weight of the same name.
NET = {"backbone": "small", "num_classes": len(KINDS) + 1, "batch_norm": True, "dropout": 0.0}
sf.manual_seed(0)
results = {}
coarser = None
for stage, build in enumerate((sf.models.fcn32s, sf.models.fcn16s, sf.models.fcn8s)):
    net = build(**NET)
    if coarser is not None:
        report = sf.models.start_from(net, coarser.state_dict())
        print(f"{type(net).__name__} starts from {type(coarser).__name__}: {str(report).splitlines()[0]}")
    started = time.perf_counter()
    train(net, steps, first=stage * steps)
    results[f"{type(net).__name__}, stage {stage + 1}"] = (*validate(net), time.perf_counter() - started)
    coarser = net

# %% The same number of steps without stages.
for build in (sf.models.fcn8s, sf.models.fcn8s_at_once):
    sf.manual_seed(0)
    net = build(**NET)
    started = time.perf_counter()
    train(net, 3 * steps)
    results[f"{type(net).__name__}, {3 * steps} steps"] = (*validate(net), time.perf_counter() - started)

# %% The paper's four measures, side by side.
print(f"\n{'':24} pixel acc  mean acc  mean IU  f.w. IU   seconds")
for name, (confusion, _, seconds) in results.items():
    figures = (confusion.pixel_acc, confusion.mean_acc, confusion.mean_iu, confusion.fw_iu)
    print(f"{name:24} " + " ".join(f"{100 * figure:9.1f}" for figure in figures) + f" {seconds:9.0f}")

# %% And some pictures: the truth, and what each net sees.
rows = []
for i in range(5):
    image, label = val_set.read(i)
    masks = [label] + [predictions[i] for _, predictions, _ in results.values()]
    rows.append([image] + [overlay(image, mask, val_set.classes, alpha=0.7) for mask in masks])
captions = ["picture", "truth", *(name.split(",")[0] for name in results)]
options.output.parent.mkdir(parents=True, exist_ok=True)
mosaic(rows, captions, val_set.classes).save(options.output)
print(f"\n{options.output}")
