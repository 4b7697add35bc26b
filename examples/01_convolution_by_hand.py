"""A convolution by hand: one window, one sum, then all of them (paper, section 3).

A convolution lays a small kernel on a place in the picture, multiplies each weight with the pixel under it, and adds
up. That sum is one pixel of the output; the kernel then moves on, with the same weights. Here this is done three times:
one window, number by number; the whole picture, as a function of four loops; and at last with the library, which must
give the same numbers. The kernel is 1 0 -1 in each row: it answers where it is brighter on the left than on the right.

Then the two settings that decide how large the output is. Padding lays a frame of zeros around the picture, so that the
output need not be smaller. Stride lets the kernel jump, so that the output is smaller by that factor; five layers of
stride 2, one after the other, are why a network's last map is coarse, and why an FCN has to upsample.

Prints all of it; draws what four kernels make of a picture to runs/examples/01_convolution_by_hand.png. Takes a second.

Next: exercises 01 and 02 of `scratchfcn learn` (the output's size; a convolution's loops). To read: `conv2d` in
scratchfcn/naive.py, which is the function below with channels, images and dilation.
"""

# %%
import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import scratchfcn as sf
from scratchfcn.data import Shapes

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--output", type=Path, default=Path("runs/examples/01_convolution_by_hand.png"))
options = parser.parse_args()

# %% A picture of 5x6 pixels: bright on the left, dark on the right. And a kernel.
x = np.array(
    [
        [9, 9, 9, 0, 0, 0],
        [9, 9, 9, 0, 0, 0],
        [9, 9, 9, 0, 0, 0],
        [9, 9, 9, 9, 0, 0],
        [9, 9, 9, 9, 9, 0],
    ],
    dtype=np.float64,
)  # (H, W) = (5, 6)
w = np.array([[1, 0, -1], [1, 0, -1], [1, 0, -1]], dtype=np.float64)  # (KH, KW)
print(f"the picture x\n{x}\n\nthe kernel w\n{w}\n")

# %% One window. Its upper left corner is at row 1, column 2, and so is the output's pixel.
window = x[1:4, 2:5]  # (KH, KW)
print(f"the window of x at row 1, column 2\n{window}")
terms = [f"{weight:g}·{pixel:g}" for weight, pixel in zip(w.ravel(), window.ravel(), strict=True)]
print(f"y[1, 2] = {' + '.join(terms)} = {(w * window).sum():g}\n")


# %% All windows: two loops over the output, two over the kernel.
def convolve(x: np.ndarray, w: np.ndarray, stride: int = 1, padding: int = 0) -> np.ndarray:
    """x (H, W), w (KH, KW) → y (OH, OW)."""
    (H, W), (KH, KW) = x.shape, w.shape
    OH = (H + 2 * padding - KH) // stride + 1  # the last window must still fit: hence ⌊…⌋
    OW = (W + 2 * padding - KW) // stride + 1
    y = np.zeros((OH, OW))
    for oh, ow in np.ndindex(OH, OW):
        for i, j in np.ndindex(KH, KW):
            row, column = oh * stride - padding + i, ow * stride - padding + j
            if 0 <= row < H and 0 <= column < W:  # outside lies the padding, which is 0
                y[oh, ow] += w[i, j] * x[row, column]
    return y


y = convolve(x, w)
print(f"y, {x.shape} → {y.shape}: large where bright meets dark\n{y}\n")

# %% The library gives the same. It takes (N, C, H, W), images and their channels, and (OC, C, KH, KW).
conv = sf.ops.Conv2d()
theirs = conv.forward(x[None, None], w[None, None])[0, 0]  # (OH, OW)
print(f"largest difference to sf.ops.Conv2d: {np.abs(y - theirs).max():g}\n")
assert np.array_equal(y, theirs)

# %% Padding and stride: ⌊(H + 2·padding - KH) / stride⌋ + 1 rows.
print("padding  stride   output")
for padding, stride in ((0, 1), (1, 1), (0, 2), (1, 2)):
    y = convolve(x, w, stride, padding)
    assert np.array_equal(y, sf.ops.Conv2d(stride, padding).forward(x[None, None], w[None, None])[0, 0])
    print(f"{padding:7} {stride:7}   {y.shape}")
print("\npadding 1, stride 1: as large as the picture, and wrong about its edges, for the frame is dark")
print(convolve(x, w, stride=1, padding=1))
sizes = [96]
for _ in range(5):
    sizes.append((sizes[-1] + 2 - 3) // 2 + 1)
print(f"\nfive layers of stride 2: {' → '.join(map(str, sizes))} pixels")

# %% A picture through four kernels. What a network learns in its first layer looks much like these.
photo = Shapes(3, (96, 96), seed=5).read(1)[0]  # uint8 (96, 96, 3)
grey = photo.mean(axis=2)  # (96, 96)
kernels = {
    "bright left of dark": w,
    "bright above dark": w.T,
    "mean of 5x5": np.full((5, 5), 1 / 25),
    "unlike its neighbours": np.array([[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]]),
}
figure = Figure(figsize=(13, 3), layout="constrained")
panels = figure.subplots(1, 1 + len(kernels))
panels[0].imshow(photo)
panels[0].set_title("the picture", loc="left", fontsize=10)
for panel, (name, kernel) in zip(panels[1:], kernels.items(), strict=True):
    answer = convolve(grey, kernel)
    if kernel.sum() == 0:  # answers of either sign: white is none, red is positive, blue is negative
        panel.imshow(answer, cmap="RdBu_r", vmin=-abs(answer).max(), vmax=abs(answer).max())
    else:
        panel.imshow(answer, cmap="gray")
    panel.set_title(name, loc="left", fontsize=10)
for panel in panels:
    panel.set(xticks=[], yticks=[])
options.output.parent.mkdir(parents=True, exist_ok=True)
figure.savefig(options.output, dpi=110)
print(f"\n{options.output}")
