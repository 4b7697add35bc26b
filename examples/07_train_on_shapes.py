"""An FCN-8s learns to find shapes: the whole training loop, line by line (paper, sections 3.4, 4.3 and 5).

Picture in, a class for every pixel out. The pictures are generated; every shape and every ground has random colours, so
colour says nothing, and the network has to look at form. Nothing is hidden: batch, loss, backward, step, and now and
then a look at pictures that it never trains on.

What to see: before the first step the loss is ln 5 = 1.609, what knowing nothing costs with 5 classes, because the
score layers begin at zero. At first the network says "background" everywhere: the pixel accuracy is high at once, and
the mean IU, which counts each class alike, is not. Then it finds things, and at last it knows what they are.

Prints how it goes, and a picture in letters; writes more of them to runs/examples/07_train_on_shapes.png. Half a
minute on two cores, or less with --steps 100.

Next: exercises 08, 13 and 14 of `scratchfcn learn` (the loss, mean IU, SGD). To read: scratchfcn/training/trainer.py,
the same loop with checkpoints; and `scratchfcn demo`, the same training with everything around it.
"""

# %%
import argparse
import time
from pathlib import Path

import numpy as np

import scratchfcn as sf
from scratchfcn.data import Loader, Normalise, Shapes, mosaic, overlay
from scratchfcn.metrics import ConfusionMatrix

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--output", type=Path, default=Path("runs/examples/07_train_on_shapes.png"))
parser.add_argument("--steps", type=int, default=400)
options = parser.parse_args()

# %% Pictures and masks. Another seed makes other pictures: those are for validation.
SIZE, BATCH, KINDS = (64, 64), 8, ("circle", "square", "triangle", "cross")
train_set = Shapes(options.steps * BATCH, SIZE, seed=0, num_shapes=(1, 2), kinds=KINDS)
val_set = Shapes(60, SIZE, seed=1, num_shapes=(1, 2), kinds=KINDS)
K = len(train_set.classes)  # the background is class 0
LETTERS = np.array(list(".osx+"))  # background, circle, square, triangle, cross


def in_letters(label: np.ndarray) -> list[str]:
    """A mask (64, 64) as 16 lines of 32 letters: every fourth row, every second column."""
    return ["".join(row) for row in LETTERS[label[2::4, ::2]]]


image, label = val_set.read(3)
print(
    f"a picture {image.shape} {image.dtype}, its mask {label.shape} {label.dtype}, classes {train_set.classes.names}\n"
)

# %% The network, and what makes its steps.
sf.manual_seed(0)
net = sf.models.fcn8s("small", K, batch_norm=True, dropout=0.0)
optimizer = sf.optim.Adam([p for p in net.parameters() if p.requires_grad], lr=5e-3)
schedule = sf.optim.warm_up(sf.optim.poly(5e-3, options.steps), max(1, options.steps // 5))
print(f"{sum(p.size for p in net.parameters()):,} numbers to learn\n")


# %% Validation: the class with the highest score at each pixel, counted in one confusion matrix (section 5).
def validate() -> tuple[ConfusionMatrix, np.ndarray]:
    """The counts over all validation pictures, and the predictions (pictures, H, W)."""
    confusion, predictions = ConfusionMatrix(K), []
    net.eval()  # batch norm: the statistics of training, not of this batch
    with sf.no_grad():
        for batch in Loader(val_set, 20, Normalise(), shuffle=False).epoch(0):
            scores = net(sf.Tensor(batch.images))  # (N, K, H, W)
            prediction = scores.numpy().argmax(axis=1).astype(np.uint8)  # (N, H, W)
            confusion.update(prediction, batch.labels)
            predictions.append(prediction)
    net.train()
    return confusion, np.concatenate(predictions)


# %% The loop.
LOOKS = 8
print(f"{'step':>5}{'rate':>9}{'loss':>8}{'pixel acc':>11}{'mean IU':>9}{'seconds':>9}")
started = time.perf_counter()
net.train()
for step, batch in enumerate(Loader(train_set, BATCH, Normalise(), shuffle=False).epoch(0)):
    optimizer.lr = schedule(step)
    scores = net(sf.Tensor(batch.images))  # (N, K, H, W)
    loss = sf.ops.softmax_cross_entropy(scores, batch.labels)  # the mean over all pixels
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % max(1, options.steps // LOOKS) == 0 or step == options.steps - 1:
        confusion, predictions = validate()
        figures = f"{100 * confusion.pixel_acc:11.1f}{100 * confusion.mean_iu:9.1f}"
        print(f"{step:5}{optimizer.lr:9.5f}{loss:8.3f}{figures}{time.perf_counter() - started:9.1f}")

# %% What it knows of each class, and what it takes for what: rows are the truth, in percent of its pixels.
print("\n" + " " * 12 + "".join(f"{name:>12}" for name in (*train_set.classes.names, "IU")))
for name, row, iu in zip(train_set.classes.names, confusion.matrix, confusion.per_class_iu, strict=True):
    shares = "".join(f"{100 * count / row.sum():12.1f}" for count in row)
    print(f"{name:12}{shares}{100 * iu:12.1f}")

# %% One picture in letters: o circle, s square, x triangle, + cross.
print(f"\n{'truth':36}prediction")
for truth, predicted in zip(in_letters(label), in_letters(predictions[3]), strict=True):
    print(f"{truth}    {predicted}")

# %% And some in colour.
rows = []
for i in range(5):
    image, label = val_set.read(i)
    rows.append([image, *(overlay(image, mask, val_set.classes, alpha=0.7) for mask in (label, predictions[i]))])
options.output.parent.mkdir(parents=True, exist_ok=True)
mosaic(rows, ["picture", "truth", "prediction"], val_set.classes).save(options.output)
print(f"\n{options.output}")
