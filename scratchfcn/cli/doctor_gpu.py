"""What `doctor` looks at on a GPU beside the convolution: what it is, its memory, and every kernel of ours.

kernels.cu does in one launch what the ops' plain way does in many. So a small network with all of those ops takes a
step three times, on the CPU, on the GPU with these kernels, and there without them, and the numbers are compared.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import backend, nn, ops, optim
from ..cuda import gemm, kernels
from ..cuda.describe import describe_gpu
from ..cuda.fixes import OUR_KERNELS
from ..cuda.memory import gpu_memory
from ..metrics import ConfusionMatrix
from ..tensor import Tensor

Row = tuple[str, str, str]  # as in doctor.py
ALIKE = 1e-9  # of float64 numbers around 1, after a step of Adam


def described(device: str) -> list[Row]:
    """What the GPU is, what it works with, and who has its memory."""
    gpu = describe_gpu(device)
    return [
        (
            "",
            f"{gpu['name']}, compute capability {gpu['compute_capability']}, {gpu['multiprocessors']} multiprocessors",
            "",
        ),
        ("", f"CuPy {gpu['cupy']} built for CUDA {gpu['cuda']}; the driver runs CUDA up to {gpu['driver_cuda']}", ""),
        ("", f"memory {gpu_memory(device).in_words()}", ""),
    ]


def compared(device: str) -> Row:
    """Whether our kernels compute what the plain way, and the CPU, do; a failure is a row like any other."""
    way = "on the CPU"
    try:
        expected = step_on("cpu")
        for fused, way in ((False, "without our kernels"), (True, OUR_KERNELS)):
            with kernels_on(fused):
                name, error = largest_difference(step_on(device), expected)
            if not error < ALIKE:
                return "", f"WRONG NUMBERS: {way}, {name} of a small training step differs by {error:.1e}", "✗"
    except Exception as failure:  # a compiler or driver problem: whatever it is, it is the finding
        return "", f"a training step {way} fails: {type(failure).__name__}: {failure}", "✗"
    return "", "a training step is the same with our kernels, without them, and on the CPU", "✓"


def multiplied(device: str) -> Row:
    """Whether cuBLAS can be called without CuPy, as products of float32 and float64 are done (see cuda/gemm.py)."""
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(3, 5, 4)), rng.normal(size=(3, 4, 6))
    try:
        y = backend.to_numpy(gemm.matmul(backend.to_device(a, device), backend.to_device(b, device)))
    except Exception as failure:
        return "", f"cuBLAS cannot be called directly, so --cuda-graph fails: {type(failure).__name__}: {failure}", "!"
    if not np.abs(y - a @ b).max() < ALIKE:
        return "", "WRONG NUMBERS: cuBLAS called directly, as matrix products do it, multiplies wrongly", "✗"
    return "", "cuBLAS called directly, as matrix products do it, multiplies rightly", "✓"


def step_on(device: str) -> dict[str, np.ndarray]:
    """The numbers of a step of Adam in float64, by name: the loss, gradients, running statistics and new weights."""
    rng = np.random.default_rng(0)
    state = backend.generator().bit_generator.state
    try:
        model = small_network().to(device)
    finally:
        backend.generator().bit_generator.state = state
    x = Tensor(rng.normal(size=(2, 3, 15, 18)), device=device)
    labels = rng.integers(0, 4, (2, 21, 25))
    labels[0, :3] = 255  # not labelled
    optimizer = optim.Adam(model.parameters(), lr=0.01, weight_decay=0.001)
    scores = ops.resize_bilinear(model(x), labels.shape[1:])
    loss = ops.softmax_cross_entropy(scores, labels)
    loss.backward()
    found: dict[str, Any] = {"the loss": loss.data}
    found |= {f"the gradient of {name}": p.grad for name, p in model.named_parameters()}
    optimizer.step()
    found |= model.state_dict()
    counts = ConfusionMatrix(4)
    counts.update(scores.data.argmax(axis=1), backend.to_device(labels.astype(np.uint8), device))
    found["the confusion matrix"] = counts.matrix
    return {name: np.array(backend.to_numpy(value)) for name, value in found.items()}


def small_network() -> nn.Module:
    """Convolutions with stride and without, batch norm, pooling, upsampling, in float64."""
    backend.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.MaxPool2d(3, 2, ceil_mode=True),
        nn.Conv2d(6, 5, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.ConvTranspose2d(5, 4, 4, stride=2, padding=1),
    ).double()


class kernels_on:
    """Within this block our kernels are used, or not; afterwards as before."""

    def __init__(self, fused: bool) -> None:
        self.fused = fused

    def __enter__(self) -> None:
        self.before = kernels.enabled()
        kernels.set_fused(self.fused)

    def __exit__(self, *_: object) -> None:
        kernels.set_fused(self.before)


def largest_difference(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> tuple[str, float]:
    """The name of what differs most, and by how much; a NaN counts as most of all."""
    errors = {name: float(np.max(np.abs(found[name] - value), initial=0)) for name, value in expected.items()}
    worst = max(errors, key=lambda name: np.nan_to_num(errors[name], nan=np.inf))
    return worst, errors[worst]
