"""06 · ReLU, forward and backward

The slope of y = max(x, 0) is 1 where x is positive and 0 elsewhere. So backward is a gate: what was let through on
the way forward lets its gradient through on the way back, and nothing else does.
"""

import numpy as np


def relu(x: np.ndarray) -> np.ndarray:
    """y = max(x, 0), each number by itself. Any shape."""
    return np.maximum(x, 0)


def relu_backward(gy: np.ndarray, x: np.ndarray) -> np.ndarray:
    """gx = gy where x > 0, and 0 elsewhere. Any shape."""
    return gy * (x > 0)
