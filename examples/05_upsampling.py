"""Bilinear interpolation as a transposed convolution, fixed and learned (paper, sections 3.3 and 4.3).

Upsampling by s is a transposed convolution with stride s: every coarse pixel stamps a tent onto the fine map, and the
tents overlap so that together they interpolate. The first part draws the tents and compares the result with ordinary
bilinear resizing: the same inside, different at the border, where a convolution finds zeros and a resize repeats the
edge. The second part trains an FCN-32s and an FCN-8s twice each, with kernels that stay bilinear and with kernels that
learn from there. The reference implementation kept them fixed, having found no significant difference with features
that were already good. Here all features are learned anew in few steps, and the coarse net gains: its 64x64 kernels are
the only place where it can draw an outline.

Writes the pictures to runs/examples/05_upsampling.png. Forty seconds on two cores.

Next: exercises 09 and 10 of `scratchfcn learn` (the transposed convolution, the bilinear kernel). To read:
`ConvTranspose2d` in scratchfcn/ops/conv.py beside `Conv2d`, and nn/init.py.
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import scratchfcn as sf
from scratchfcn.data import Loader, Normalise, Shapes
from scratchfcn.metrics import ConfusionMatrix

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--output", type=Path, default=Path("runs/examples/05_upsampling.png"))
parser.add_argument("--steps", type=int, default=160, help="training steps of each net")
options = parser.parse_args()


# %% The kernel for a factor s: a tent of 2s pixels, or of 2s - 1, which has its tip on a pixel.
def upsampler(factor: int, kernel: int, padding: int = 0) -> sf.nn.ConvTranspose2d:
    layer = sf.nn.ConvTranspose2d(1, 1, kernel, stride=factor, padding=padding, bias=False)
    sf.nn.init.bilinear(layer.weight)
    return layer


for kernel in (3, 4, 16):
    print(f"kernel {kernel:2}:", " ".join(f"{w:.4g}" for w in sf.nn.init.tent(kernel)))

# %% It interpolates. With padding s/2 the result lies as resize_bilinear's does, and equals it, but at the border.
coarse = sf.Tensor(np.random.default_rng(0).random((1, 1, 6, 6)))
stamped = upsampler(8, 16, padding=4).double()(coarse).numpy()[0, 0]  # (48, 48)
resized = sf.ops.resize_bilinear(coarse, (48, 48)).numpy()[0, 0]  # (48, 48)
difference = np.abs(stamped - resized)
print("\ntransposed convolution against resize_bilinear, factor 8, largest difference:")
print(f"  inside {difference[4:-4, 4:-4].max():.1e}, in the 4 pixels along the border {difference.max():.2f}")

# %% Fixed against learned.
KINDS, BATCH = ("circle", "square", "triangle", "cross"), 8
train_set = Shapes(options.steps * BATCH, (64, 64), seed=0, num_shapes=(1, 2), kinds=KINDS)
val_set = Shapes(100, (64, 64), seed=1, num_shapes=(1, 2), kinds=KINDS)


def train(net: sf.nn.Module) -> None:
    optimizer = sf.optim.Adam([p for p in net.parameters() if p.requires_grad], lr=5e-3)
    schedule = sf.optim.warm_up(sf.optim.poly(5e-3, options.steps), max(1, options.steps // 5))
    net.train()
    for step, batch in enumerate(Loader(train_set, BATCH, Normalise(), shuffle=False).epoch(0)):
        optimizer.lr = schedule(step)
        loss = sf.ops.softmax_cross_entropy(net(sf.Tensor(batch.images)), batch.labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def validate(net: sf.nn.Module) -> ConfusionMatrix:
    confusion = ConfusionMatrix(len(KINDS) + 1)
    net.eval()
    with sf.no_grad():
        for batch in Loader(val_set, 25, Normalise(), shuffle=False).epoch(0):
            confusion.update(net(sf.Tensor(batch.images)).data.argmax(axis=1).astype(np.uint8), batch.labels)
    return confusion


print(f"\n{options.steps} steps on generated shapes:\n{'':9} {'upsampling':10} pixel acc  mean IU")
learned = {}
for build in (sf.models.fcn32s, sf.models.fcn8s):
    for learn in (False, True):
        sf.manual_seed(0)
        net = build("small", len(KINDS) + 1, batch_norm=True, dropout=0.0, learn_upsampling=learn)
        train(net)
        confusion = validate(net)
        name = type(net).__name__
        figures = f"{100 * confusion.pixel_acc:9.1f} {100 * confusion.mean_iu:8.1f}"
        print(f"{name:9} {'learned' if learn else 'fixed':10} {figures}")
        learned[name] = net

# %% What became of the tent: the last layer's kernels from class 1 to class 1, and from class 1 to class 0.
figure = Figure(figsize=(13, 3.4), layout="constrained")
plots = figure.subplots(1, 5, width_ratios=(1.2, 1, 1, 1, 1))
for kernel in (3, 4, 15, 16):
    factor = (kernel + 1) // 2
    places = (np.arange(kernel) - (kernel - 1) / 2) / factor
    plots[0].plot(places, sf.nn.init.tent(kernel), "o-", markersize=3, label=f"factor {factor}, kernel {kernel}")
plots[0].set(title="the tent", xlabel="distance in coarse pixels", ylabel="weight")
plots[0].legend(fontsize=7, loc="lower center")
upscore8 = learned["FCN8s"].upscore8.weight.data  # (K, K, 16, 16)
for axes, (picture, title) in zip(
    plots[1:],
    [
        (resized, "a 6x6 map, ×8"),
        (difference, "difference to resize_bilinear"),
        (upscore8[1, 1], "FCN-8s, learned: class 1 → 1"),
        (upscore8[1, 0], "class 1 → 0 (began at 0)"),
    ],
    strict=True,
):
    figure.colorbar(axes.imshow(picture, cmap="viridis"), ax=axes, shrink=0.8)
    axes.set_title(title, fontsize=9)
    axes.set_xticks([])
    axes.set_yticks([])
options.output.parent.mkdir(parents=True, exist_ok=True)
figure.savefig(options.output, dpi=110)
print(f"\n{options.output}")
