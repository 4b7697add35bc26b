"""14 · SGD with momentum: overfit four images

All of training: forward, loss, backward, step. The velocities outlive the steps, and the gradients must not.
"""

import numpy as np

from scratchfcn import Tensor, nn, ops


def sgd_step(
    w: np.ndarray, g: np.ndarray, v: np.ndarray, lr: float, momentum: float, weight_decay: float
) -> tuple[np.ndarray, np.ndarray]:
    """v ← momentum·v + g + weight_decay·w, and w ← w - lr·v"""
    v = momentum * v + g + weight_decay * w
    return w - lr * v, v


def train(
    model: nn.Module,
    images: np.ndarray,
    labels: np.ndarray,
    steps: int,
    lr: float,
    momentum: float,
    weight_decay: float,
) -> list[float]:
    """images (N, 3, H, W), labels (N, H, W) → the loss before each step"""
    parameters = list(model.parameters())
    velocities = [np.zeros_like(p.data) for p in parameters]
    losses = []
    for _ in range(steps):
        loss = ops.softmax_cross_entropy(model(Tensor(images)), labels)
        losses.append(loss.item())
        model.zero_grad()
        loss.backward()
        for i, p in enumerate(parameters):
            p.data, velocities[i] = sgd_step(p.data, p.grad, velocities[i], lr, momentum, weight_decay)
    return losses
