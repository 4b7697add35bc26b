"""One code for two libraries: NumPy on the processor, CuPy on the GPU (paper, section 5: inference on a GPU).

CuPy is NumPy's interface over a GPU's memory. A function that asks an array where it lives, `xp = array_module(x)`, and
spells the rest as NumPy does, runs on both. All ops of the library are written like this, so a network is moved with
`net.to("cuda")`, and nothing else changes.

Here the same softmax, the same convolution and the same training steps run wherever this machine can: on the processor,
and, if there is one, on a GPU. What to see: equal results but for rounding (float32 sums in another order), and other
times. A GPU runs behind the Python code that feeds it, so whoever measures it has to wait for it: the time without
waiting is that of giving the orders, not of carrying them out.

Prints the results and times. Without a GPU it says what is missing, and shows NumPy alone. Takes a few seconds.

Next: `scratchfcn doctor` says whether CuPy works here and how to get it; `scratchfcn train --device cuda`; and
`scratchfcn learn check-all --device cuda` runs your own exercises there. To read: scratchfcn/backend.py, the only file
that imports cupy.
"""

# %%
import time
from types import ModuleType
from typing import Any

import numpy as np

import scratchfcn as sf
from scratchfcn.backend import array_module, cuda_problem, synchronize, to_device, to_numpy
from scratchfcn.data import Loader, Normalise, Shapes

# %% Where can it run?
problem = cuda_problem()
devices = ["cpu"] if problem else ["cpu", sf.backend.resolve_device("cuda")]
print(f"no GPU here: {problem}. What follows runs on NumPy alone.\n" if problem else f"a GPU: {devices[1]}\n")


# %% One function, written once. `xp` is numpy or cupy, whichever owns x.
def softmax(x: Any) -> Any:
    """x (N, K), one row of scores for each pixel → its probabilities."""
    xp: ModuleType = array_module(x)
    e = xp.exp(x - x.max(axis=1, keepdims=True))  # the largest becomes 0, so nothing overflows
    return e / e.sum(axis=1, keepdims=True)


scores = np.array([[1.0, 2.0, 3.0], [1000.0, 1000.0, 0.0]])
for device in devices:
    p = softmax(to_device(scores, device))
    print(f"{device:8} {type(p).__module__}.{type(p).__name__}, on {sf.backend.device_of(p)}\n{to_numpy(p).round(4)}")

# %% An op of the library, forward and backward, on plain arrays of either kind.
rng = np.random.default_rng(0)
arrays = [rng.standard_normal(shape).astype(np.float32) for shape in ((8, 32, 48, 48), (32, 32, 3, 3), (8, 32, 48, 48))]
TIMES = 20
results = {}
print(f"\na convolution of {arrays[0].shape} and its gradients, {TIMES} times")
for device in devices:
    x, w, gy = (to_device(a, device) for a in arrays)
    for _ in ("to load libraries and compile kernels", "to be timed"):
        synchronize(device)
        started = time.perf_counter()
        for _ in range(TIMES):
            conv = sf.ops.Conv2d(padding=1)
            y = conv.forward(x, w)
            gx, gw, _ = conv.backward(gy)
        ordered = time.perf_counter() - started
        synchronize(device)
        done = time.perf_counter() - started
    results[device] = {name: to_numpy(a) for name, a in (("y", y), ("gx", gx), ("gw", gw))}
    milliseconds = f"{1000 * done / TIMES:7.2f} ms each; ordered within {1000 * ordered / TIMES:.2f} ms"
    print(f"  {device:8} {milliseconds}     y[0, 0, 0] = {results[device]['y'][0, 0, 0, :3].round(3)} …")
for device in devices[1:]:
    for name, ours in results["cpu"].items():
        difference = np.abs(ours - results[device][name]).max() / np.abs(ours).max()
        print(f"  {name:2} on cpu and {device}: largest difference {difference:.1e} of the largest number")
        assert difference < 1e-4


# %% A network, from the same seed: random numbers are drawn on the processor, whatever the device.
pictures = Shapes(8, (96, 96), seed=0)
batch = next(Loader(pictures, 8, Normalise(), shuffle=False).epoch(0))


def steps(device: str, count: int) -> tuple[list[float], float]:
    """The losses of `count` steps, and the seconds that each of the later ones took."""
    sf.manual_seed(0)
    net = sf.models.fcn8s("small", len(pictures.classes), batch_norm=True, dropout=0.0).to(device)
    optimizer = sf.optim.Adam([p for p in net.parameters() if p.requires_grad], lr=1e-3)
    images = sf.Tensor(batch.images, device=device)  # (8, 3, 96, 96)
    losses = []
    for step in range(count):
        if step == 2:
            started = time.perf_counter()
        loss = sf.ops.softmax_cross_entropy(net(images), batch.labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())  # reading a number waits for the GPU
    synchronize(device)
    return losses, (time.perf_counter() - started) / (count - 2)


print(f"\ntraining an FCN-8s on {batch.images.shape}, the same picture again and again")
for device in devices:
    losses, seconds = steps(device, 10)
    print(f"  {device:8} {1000 * seconds:7.2f} ms a step     losses {' '.join(f'{loss:.4f}' for loss in losses[:5])} …")
