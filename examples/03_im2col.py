"""im2col: all windows as columns, and the convolution is one matrix product (paper, section 3, with f = a product).

The loops of 01_convolution_by_hand.py visit window after window. Here every window is copied into a column first; the
kernel, as a row, times this matrix gives all output pixels at once, and a matrix product is what computers are fastest
at. A second channel makes the columns longer, a second image makes more of them, a second kernel is a second row.

The way back is col2im: each number of the columns is added onto the pixel it was copied from. A pixel that lies in
several windows collects several numbers, which is what a convolution's backward needs. The two are each other's
adjoint, <im2col(x), c> = <x, col2im(c)>, which is how a col2im can be tested without knowing its result.

What it costs: the columns are KH·KW times as large as the picture.

Prints the matrices and three times; draws them to runs/examples/03_im2col.png. Takes a second.

Next: exercises 04 and 05 of `scratchfcn learn` (im2col, col2im). To read: scratchfcn/ops/im2col.py and ops/conv.py;
then ops/stripes.py, which never builds all columns at once.
"""

# %%
import argparse
import time
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import scratchfcn as sf
from scratchfcn.ops.im2col import col2im, im2col

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--output", type=Path, default=Path("runs/examples/03_im2col.png"))
options = parser.parse_args()

# %% A picture of 4x4 pixels has 2x2 windows of 3x3. The pixels are numbered, so that one sees where each of them goes.
x = np.arange(1.0, 17.0).reshape(4, 4)  # (H, W)
OH, OW = 2, 2
print(f"x\n{x}\n")
columns = [x[oh : oh + 3, ow : ow + 3].ravel() for oh in range(OH) for ow in range(OW)]
cols = np.stack(columns, axis=1)  # (KH*KW, OH*OW)
print(f"its windows as columns {cols.shape}; the first is the window in the upper left corner\n{cols}\n")

# %% The kernel as a row, and one product.
w = np.array([[0.0, 1, 0], [1, 2, 1], [0, 1, 0]])  # (KH, KW)
y = (w.reshape(1, 9) @ cols).reshape(OH, OW)
theirs = sf.ops.Conv2d().forward(x[None, None], w[None, None])[0, 0]
print(f"the kernel\n{w}\nas a row, times the columns: y =\n{y}\nand sf.ops.Conv2d says\n{theirs}\n")
assert np.array_equal(y, theirs)

# %% The library's im2col does the same for N images of C channels.
setting = {"kernel": (3, 3), "stride": (1, 1), "padding": (0, 0), "dilation": (1, 1), "output": (OH, OW)}
assert np.array_equal(im2col(x[None, None], **setting), cols)
print(f"{'images':>6}{'channels':>10}{'kernels':>9}     w as rows  @  columns   =  y as rows")
for N, C, OC in ((1, 1, 1), (1, 2, 1), (2, 2, 1), (2, 2, 5)):
    shape = im2col(np.zeros((N, C, 4, 4)), **setting).shape
    print(f"{N:6}{C:10}{OC:9}{(OC, C * 9)!s:>14}{shape!s:>13}{(OC, shape[1])!s:>14}")

# %% And back: each number onto the pixel it came from. Of ones, that counts the windows a pixel lies in.
count = col2im(np.ones((9, 4)), (1, 1, 4, 4), **setting)[0, 0]  # (H, W)
print(f"\ncol2im of ones: in how many windows does each pixel lie?\n{count}\n")
rng = np.random.default_rng(0)
picture, c = rng.standard_normal((1, 1, 4, 4)), rng.standard_normal((9, 4))
left = (im2col(picture, **setting) * c).sum()
right = (picture * col2im(c, picture.shape, **setting)).sum()
print(f"adjoint: <im2col(x), c> = {left:.12f}\n         <x, col2im(c)> = {right:.12f}\n")
assert np.isclose(left, right, rtol=1e-12)

# %% With that, a convolution's backward is two products: gw = gy @ colsᵀ, and gx = col2im(wᵀ @ gy).
gy = np.array([[1.0, 2], [3, 4]])
gw = (gy.reshape(1, 4) @ cols.T).reshape(3, 3)
gx = col2im(w.reshape(9, 1) @ gy.reshape(1, 4), (1, 1, 4, 4), **setting)[0, 0]
conv = sf.ops.Conv2d()
conv.forward(x[None, None], w[None, None])
their_gx, their_gw, _ = conv.backward(gy[None, None])
print(f"for gy =\n{gy}\ngw =\n{gw}\ngx =\n{gx}")
assert np.array_equal(gw, their_gw[0, 0])
assert np.array_equal(gx, their_gx[0, 0])

# %% What it gains and what it costs, on a layer of a real network.
x = rng.standard_normal((1, 16, 32, 32)).astype(np.float32)
w = rng.standard_normal((16, 16, 3, 3)).astype(np.float32)
setting |= {"padding": (1, 1), "output": (32, 32)}


def loops() -> np.ndarray:
    return sf.naive.conv2d(x[:, :, :3, :], w, padding=1)  # three rows only: all 32 would take ten times as long


def one_product() -> np.ndarray:
    return (w.reshape(16, -1) @ im2col(x, **setting)).reshape(1, 16, 32, 32)


def library() -> np.ndarray:
    return sf.ops.Conv2d(padding=1).forward(x, w)


print(f"\n16 kernels of 3x3 on {x.shape}:")
for name, function, share, times in (
    ("loops", loops, 3 / 32, 1),
    ("im2col", one_product, 1, 20),
    ("Conv2d", library, 1, 20),
):
    function()
    started = time.perf_counter()
    for _ in range(times):
        function()
    print(f"  {name:7} {1000 * (time.perf_counter() - started) / times / share:10.2f} ms")
print(f"  the picture holds {x.size} numbers, its columns {im2col(x, **setting).size}")
assert np.allclose(one_product(), library(), atol=1e-4)

# %% The picture, its columns, and the windows counted.
figure = Figure(figsize=(11, 3.6), layout="constrained")
panels = figure.subplots(1, 3)
for panel, matrix, title in zip(
    panels,
    (np.arange(1, 17).reshape(4, 4), cols.astype(int), count.astype(int)),
    ("a picture", "its columns: one for each window", "windows that each pixel lies in"),
    strict=True,
):
    panel.imshow(matrix, cmap="viridis", alpha=0.75)
    for (i, j), number in np.ndenumerate(matrix):
        panel.text(j, i, str(number), ha="center", va="center", fontsize=9)
    panel.set_title(title, loc="left", fontsize=11)
    panel.set(xticks=[], yticks=[])
options.output.parent.mkdir(parents=True, exist_ok=True)
figure.savefig(options.output, dpi=110)
print(f"\n{options.output}")
