"""What a dense pass saves: N x N overlapping crops against one image (paper, section 3.1).

To score a picture at N x N places, one can cut out N x N crops and classify each; or make the classifier dense and run
it once. The scores are the same (this network pads nothing, so no crop sees an edge of its own), but neighbouring crops
share most of their pixels, and the dense pass computes what they share once. The paper measured it for AlexNet and a
10x10 grid, on the GPU of its day: 22 ms against 120 ms in one batch, more than 5 times as fast, and 25 times against
crops that come one by one. For training, what counts is the backward pass as well, which saves in the same way.

Prints times and ratios; writes runs/examples/amortization.png. Takes a few seconds.
"""

# %%
import argparse
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import numpy as np
from matplotlib.figure import Figure

import scratchfcn as sf
from scratchfcn import nn
from scratchfcn.geometry import chain
from scratchfcn.models.convolutionalize import convolutionalize

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--output", type=Path, default=Path("runs/examples/amortization.png"))
options = parser.parse_args()

# %% A small classifier of 67x67 images, and its dense form
SIZE = 67
sf.manual_seed(0)
classifier = nn.Sequential(
    nn.Conv2d(3, 24, 5, stride=2),  # 32x32
    nn.ReLU(),
    nn.MaxPool2d(2),  # 16x16
    nn.Conv2d(24, 48, 3),
    nn.ReLU(),
    nn.MaxPool2d(2),  # 7x7
    nn.Conv2d(48, 64, 3),
    nn.ReLU(),  # 5x5
    nn.Flatten(),
    nn.Linear(64 * 5 * 5, 256),
    nn.ReLU(),
    nn.Linear(256, 10),
).eval()
dense = convolutionalize(classifier, SIZE)
stride = int(chain(dense.windows()).stride)


def crops_of(image: np.ndarray, N: int) -> np.ndarray:
    """(1, 3, H, W) → (N·N, 3, SIZE, SIZE): the crops that the N x N scores belong to, row by row."""
    corners = [(stride * i, stride * j) for i in range(N) for j in range(N)]
    return np.concatenate([image[:, :, top : top + SIZE, left : left + SIZE] for top, left in corners])


def fastest(work: Callable[[], object], times: int = 3) -> float:
    """Milliseconds of the best of a few runs: others disturb, nothing makes it faster."""
    best = float("inf")
    for _ in range(times):
        start = perf_counter()
        work()
        best = min(best, perf_counter() - start)
    return 1000 * best


def train_step(net: nn.Module, x: sf.Tensor) -> None:
    """Forward and backward with the summed loss, which is the same for all crops as for the whole image."""
    scores = net(x)
    labels = np.zeros((scores.shape[0], *scores.shape[2:]), np.int64)
    sf.ops.softmax_cross_entropy(scores, labels, reduction="sum").backward()
    net.zero_grad()


# %% Time both, and hold the scores against each other
rng = np.random.default_rng(0)
grids = (1, 2, 3, 4, 6, 8, 10)
times: dict[str, list[float]] = {"crops one by one": [], "crops in one batch": [], "dense": []}
print(f"crops of {SIZE}x{SIZE}, {stride} pixels apart; milliseconds, forward only\n")
print(f"{'grid':>6}{'image':>9}{'one by one':>13}{'batch':>9}{'dense':>9}{'batch/dense':>13}{'largest difference':>21}")
for N in grids:
    H = SIZE + stride * (N - 1)
    image = rng.normal(size=(1, 3, H, H)).astype(np.float32)
    crops, x = sf.Tensor(crops_of(image, N)), sf.Tensor(image)
    singles = [sf.Tensor(crop[None]) for crop in crops.numpy()]
    with sf.no_grad():
        by_crop = classifier(crops).numpy().reshape(N, N, 10)
        by_cell = dense(x).numpy()[0].transpose(1, 2, 0)  # (N, N, 10)
        times["crops one by one"].append(fastest(lambda s=singles: [classifier(crop) for crop in s]))
        times["crops in one batch"].append(fastest(lambda c=crops: classifier(c)))
        times["dense"].append(fastest(lambda x=x: dense(x)))
    single, batch, one = (times[name][-1] for name in times)
    difference = abs(by_crop - by_cell).max() / abs(by_crop).max()
    grid, size = f"{N}x{N}", f"{H}x{H}"
    print(f"{grid:>6}{size:>9}{single:>13.1f}{batch:>9.1f}{one:>9.2f}{batch / one:>13.1f}{difference:>21.1e}")
    assert difference < 1e-5

both = [fastest(lambda: train_step(classifier, crops)), fastest(lambda: train_step(dense, x))]
pixels = len(singles) * SIZE**2 / H**2
print(f"\n{'10x10 grid':34}{'here':>8}{'paper':>8}")
for name, ratio, paper in (
    ("pixels looked at, crops/dense", pixels, f"{100 * 227**2 / 500**2:.0f}"),
    ("time, one by one/dense", single / one, "25"),
    ("time, batch/dense", batch / one, "5"),
    ("with backward, batch/dense", both[0] / both[1], "6"),
):
    print(f"{name:34}{ratio:>8.1f}{paper:>8}")

# %% Time by the number of scores
figure = Figure(figsize=(11, 4.2), layout="constrained")
left, right = figure.subplots(1, 2)
colours = dict(zip(times, ("#D55E00", "#0072B2", "#009E73"), strict=True))
for name, milliseconds in times.items():
    left.plot([N * N for N in grids], milliseconds, marker="o", color=colours[name], label=name)
left.set(xscale="log", yscale="log", xlabel="scores", ylabel="milliseconds, forward")
left.set_title("time for N x N scores", loc="left", fontsize=11)
left.legend(frameon=False, fontsize=9)
for name in ("crops one by one", "crops in one batch"):
    ratios = np.divide(times[name], times["dense"])
    right.plot([N * N for N in grids], ratios, marker="o", color=colours[name], label=f"{name} / dense")
for ratio, name in ((25, "crops one by one"), (5, "crops in one batch")):
    right.plot(100, ratio, marker="D", markersize=9, fillstyle="none", linestyle="", color=colours[name])
right.plot([], [], marker="D", fillstyle="none", linestyle="", color="#777777", label="the paper's AlexNet, 10x10")
right.set(xscale="log", xlabel="scores", ylim=(0, None))
right.set_title("how many times as fast is the dense pass?", loc="left", fontsize=11)
right.legend(frameon=False, fontsize=9)
for axes in (left, right):
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xticks([N * N for N in grids], [str(N * N) for N in grids])
    axes.minorticks_off()
options.output.parent.mkdir(parents=True, exist_ok=True)
figure.savefig(options.output, dpi=110)
print(f"\n{options.output}")
