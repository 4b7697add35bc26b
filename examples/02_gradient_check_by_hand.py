"""A backward pass by hand, and how to know that it is right (paper, section 3: layers are learned by backpropagation).

A convolution's output is a sum of products, so its gradients are sums as well: a weight collects the pixels it has met,
a pixel collects the weights it has met. Both are written out here as loops. Are they right? Ask the forward pass: move
one number by a small h to either side, look how far the loss goes, and divide by 2h.

Then what makes such a check worth its name. Which h: too large, and the curve bends; too small, and rounding is all
that is left, in float32 long before anything can be concluded. Which loss: a sum of the outputs hides mistakes, for it
weighs all outputs alike; with random weights they show. And what a mistake looks like: `=` instead of `+=`, the most
common one, found by `sf.gradcheck`, which says where and by how much.

Prints all of it; draws the error by h to runs/examples/02_gradient_check_by_hand.png. Takes a second.

Next: exercise 03 of `scratchfcn learn` (a convolution's backward), and `scratchfcn gradcheck conv2d`. To read:
scratchfcn/gradcheck.py, from its first line.
"""

# %%
import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import scratchfcn as sf

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--output", type=Path, default=Path("runs/examples/02_gradient_check_by_hand.png"))
options = parser.parse_args()


# %% Forward, and right below it backward. Hold them side by side: the same loops, the same places.
def forward(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """x (H, W), w (KH, KW) → y (H - KH + 1, W - KW + 1)."""
    (H, W), (KH, KW) = x.shape, w.shape
    y = np.zeros((H - KH + 1, W - KW + 1), x.dtype)
    for oh, ow in np.ndindex(y.shape):
        for i, j in np.ndindex(w.shape):
            y[oh, ow] += w[i, j] * x[oh + i, ow + j]
    return y


def backward(x: np.ndarray, w: np.ndarray, gy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """gy, the gradient of the loss by y → the gradients by x and by w."""
    gx, gw = np.zeros_like(x), np.zeros_like(w)
    for oh, ow in np.ndindex(gy.shape):
        for i, j in np.ndindex(w.shape):
            gx[oh + i, ow + j] += w[i, j] * gy[oh, ow]  # d (w·x) / dx = w
            gw[i, j] += x[oh + i, ow + j] * gy[oh, ow]  # d (w·x) / dw = x
    return gx, gw


# %% Numbers, and a loss: a sum of the outputs, each with a weight r of its own. Then gy is r.
rng = np.random.default_rng(0)
x = rng.standard_normal((4, 5))
w = rng.standard_normal((3, 3))
r = rng.standard_normal((2, 3))


def loss(x: np.ndarray, w: np.ndarray) -> float:
    return (r.astype(x.dtype) * forward(x, w)).sum()


gx, gw = backward(x, w, gy=r)
print(f"the loss is {loss(x, w):.6f}; its gradient by w, says backward,\n{gw.round(4)}\n")


# %% One weight by hand: up a little, down a little.
def moved(w: np.ndarray, i: int, j: int, by: float) -> np.ndarray:
    w = w.copy()
    w[i, j] += by
    return w


h = 1e-5
up, down = loss(x, moved(w, 0, 1, h)), loss(x, moved(w, 0, 1, -h))
print(f"w[0, 1] + {h}: loss {up:.10f}\nw[0, 1] - {h}: loss {down:.10f}")
print(f"({up:.10f} - {down:.10f}) / {2 * h} = {(up - down) / (2 * h):.6f}     backward: {gw[0, 1]:.6f}\n")

# %% All of them, for x as well.
difference_w = np.array(
    [[loss(x, moved(w, i, j, h)) - loss(x, moved(w, i, j, -h)) for j in range(3)] for i in range(3)]
)
difference_x = np.array(
    [[loss(moved(x, i, j, h), w) - loss(moved(x, i, j, -h), w) for j in range(5)] for i in range(4)]
)
for name, yours, numeric in (("gw", gw, difference_w / (2 * h)), ("gx", gx, difference_x / (2 * h))):
    error = np.abs(yours - numeric) / np.maximum(np.abs(yours), np.abs(numeric))
    print(f"{name}: {error.size} entries, worst relative error {error.max():.1e}")
    assert error.max() < 1e-7
print("to read it: above 1e-2 wrong, 1e-4 suspicious, below 1e-7 right\n")

# %% Which h? The outputs are cubed here: of a loss that is a straight line, every h would give the slope.
steps = 10.0 ** np.arange(-12, 0.5, 0.5)
errors = {}
for dtype in (np.float64, np.float32):
    x_, w_ = x.astype(dtype), w.astype(dtype)

    def bent(w: np.ndarray, x: np.ndarray = x_) -> np.ndarray:
        return (forward(x, w) ** 3).sum()

    exact = backward(x, w, gy=3 * forward(x, w) ** 2)[1][0, 1]
    slopes = [(bent(moved(w_, 0, 1, h)) - bent(moved(w_, 0, 1, -h))) / dtype(2 * h) for h in steps]
    errors[dtype.__name__] = np.abs(np.array(slopes, np.float64) - exact) / abs(exact)
print(f"{'h':>8}{'float64':>12}{'float32':>12}   relative error of the difference")
for i in range(0, len(steps), 4):
    print(f"{steps[i]:8.0e}{errors['float64'][i]:12.1e}{errors['float32'][i]:12.1e}")


# %% Why random weights r: this backward takes gy the wrong way round, and nobody notices while gy is all ones.
def turned(x: np.ndarray, w: np.ndarray, gy: np.ndarray) -> np.ndarray:
    return backward(x, w, gy[::-1, ::-1])[1]


print("\na backward that turns gy by 180°, its largest error in gw:")
for name, gy in (("gy all ones", np.ones_like(r)), ("gy random", r)):
    print(f"  {name:12} {np.abs(turned(x, w, gy) - backward(x, w, gy)[1]).max():.2f}")


# %% A mistake with a name: `=` where it should say `+=`. As an op of the library, so that sf.gradcheck can look at it.
class Forgetful(sf.Function):
    def forward(self, x: np.ndarray, w: np.ndarray) -> np.ndarray:
        self.x, self.w = x, w
        return forward(x, w)

    def backward(self, gy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        gx, gw = backward(self.x, self.w, gy)
        for oh, ow in np.ndindex(gy.shape):
            for i, j in np.ndindex(self.w.shape):
                gx[oh + i, ow + j] = self.w[i, j] * gy[oh, ow]  # the last window wins; the others are forgotten
        return gx, gw


def forgetful(x: sf.Tensor, w: sf.Tensor) -> sf.Tensor:
    return Forgetful()(x, w)


report = sf.gradcheck(forgetful, x, w)
print(f"\n{report}")
assert not report.ok

# %% The error by h: first it falls as h² (the curve bends less), then it rises as 1/h (rounding, divided by 2h).
figure = Figure(figsize=(6.5, 4), layout="constrained")
axes = figure.subplots()
for (name, error), colour in zip(errors.items(), ("#0072B2", "#D55E00"), strict=True):
    axes.loglog(steps, np.maximum(error, 1e-16), "o-", markersize=3, color=colour, label=name)
axes.axhline(1e-7, color="#777777", linestyle=":", linewidth=1)
axes.text(steps[0], 7e-8, "below: right", ha="right", va="top", fontsize=9, color="#777777")
axes.invert_xaxis()  # h shrinks to the right
axes.set_title("how wrong is the finite difference itself?", loc="left", fontsize=11)
axes.set(xlabel="h", ylabel="relative error")
axes.grid(alpha=0.25)
axes.spines[["top", "right"]].set_visible(False)
axes.legend(frameon=False)
options.output.parent.mkdir(parents=True, exist_ok=True)
figure.savefig(options.output, dpi=110)
print(f"\n{options.output}")
