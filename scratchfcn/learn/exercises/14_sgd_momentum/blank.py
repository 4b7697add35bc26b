"""14 · SGD with momentum: overfit four images

Everything is there: a network, a loss, gradients. What is left is to step downhill, again and again. Momentum remembers
the last steps: every parameter w has a velocity v, of its shape, that starts at 0, and in each step

    g ← g + weight_decay·w          the gradient of ½·weight_decay·w², which keeps weights small
    v ← momentum·v + g
    w ← w - lr·v

Then train. If a network cannot learn four images by heart, something is broken; it is the first thing to try with any
new network. This one, a narrow FCN-8s of the library's, can: 30 steps bring its loss on four pictures from 1.1 to 0.07.

Paper: section 4.3 (SGD with momentum 0.9 and weight decay).
"""

import numpy as np

from scratchfcn import Tensor, nn, ops


def sgd_step(
    w: np.ndarray, g: np.ndarray, v: np.ndarray, lr: float, momentum: float, weight_decay: float
) -> tuple[np.ndarray, np.ndarray]:
    """One step of one parameter: the new w and the new v.

    w: weights, g: their gradient, v: their velocity before the step, all of one shape and dtype; so are the results.
    w and v may be changed in place or left as they are; g stays as it is.
    """
    raise NotImplementedError("14 sgd_step: not written yet")


def train(
    model: nn.Module,
    images: np.ndarray,
    labels: np.ndarray,
    steps: int,
    lr: float,
    momentum: float,
    weight_decay: float,
) -> list[float]:
    """Change the model's weights in `steps` steps, each with all images. Returns the losses, one before each step.

    images: (N, 3, H, W), labels: (N, H, W). What you need of the library:

        scores = model(Tensor(images))                          (N, K, H, W)
        loss = ops.softmax_cross_entropy(scores, labels)        loss.item() is its number
        loss.backward()                                         adds to p.grad of every parameter p
        model.zero_grad()                                       forgets these gradients
        model.parameters()                                      all p; p.data and p.grad are arrays, p.data can be set
    """
    raise NotImplementedError("14 train: not written yet")
