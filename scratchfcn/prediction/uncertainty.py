"""Monte Carlo dropout: how sure is the network, and of what is it unsure?

A softmax of 0.6 says that two classes look alike. It does not say whether the network has learned that they do (more
training images would not help: the pixel lies on an edge, the object is in the dark) or has never seen anything like
it and guesses. Dropout, left on while predicting, tells the two apart: every pass drops other units, so every pass
asks another of the many thinned networks that were trained together. With p_t the probabilities of pass t, T passes,
and p̄ = 1/T Σ_t p_t:

    predictive entropy   H[p̄] = -Σ_k p̄_k ln p̄_k         all uncertainty, 0 … ln K nats
    expected entropy     1/T Σ_t H[p_t]                   what every thinned network is unsure of by itself: the data
    mutual information   H[p̄] - 1/T Σ_t H[p_t]            the rest, their disagreement: the model (BALD)
    variance             1/K Σ_k (1/T Σ_t p_tk² - p̄_k²)   the disagreement again, as a variance, 0 … 1/K

All four come from means over passes: of p, of H[p] and of Σ_k p_k². So K + 2 numbers per pixel are averaged, however
many passes there are. Mirrored and scaled looks count as passes as well: their disagreement is uncertainty, too.

Sources: Gal and Ghahramani 2016 (dropout as approximate inference); Houlsby et al. 2011 (BALD); Kendall,
Badrinarayanan and Cipolla 2015 (Bayesian SegNet: the same for the pixels of an image).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from ..backend import generator
from ..nn import Dropout, Module
from ..training import SettingError

MEASURES = ("entropy", "mutual_information", "variance")


def entropy(p: np.ndarray) -> np.ndarray:
    """-Σ_k p_k ln p_k over the first axis, in nats: (K, H, W) → (H, W)."""
    return -(p * np.log(np.maximum(p, np.finfo(p.dtype).tiny))).sum(axis=0)  # 0 · ln 0 = 0


def statistics(p: np.ndarray) -> np.ndarray:
    """One pass's probabilities (K, H, W) with what else has to be averaged, H[p] and Σ_k p_k²: (K + 2, H, W)."""
    return np.concatenate([p, entropy(p)[None], (p * p).sum(axis=0)[None]])


def measures(average: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean of all passes' `statistics` (K + 2, H, W) → the mean probabilities (K, H, W), and predictive entropy,
    mutual information and variance (3, H, W)."""
    p, expected_entropy, squares = average[:-2], average[-2], average[-1]
    predictive = entropy(p)
    information = np.maximum(predictive - expected_entropy, 0)  # negative by rounding only: entropy is concave
    variance = np.maximum(squares - (p * p).sum(axis=0), 0) / len(p)
    return p, np.stack([predictive, information, variance])


class DropoutPasses:
    """Switches a model's dropout on, and nothing else, for a block; its random numbers are its own.

    Args:
        model: must have dropout.
        passes: how many opinions are wanted of each look.
        seed: the same seed gives the same passes.

    Raises:
        SettingError: no pass is asked for, or nothing would be dropped in any of them.
    """

    def __init__(self, model: Module, passes: int, seed: int = 0) -> None:
        if passes < 2:
            raise SettingError(f"--mc-dropout must be at least 2 passes, got {passes}; one cannot disagree with itself")
        self.layers = [m for m in model.modules() if isinstance(m, Dropout) and m.p > 0]
        if not self.layers:
            raise SettingError(
                "--mc-dropout: this network has no dropout, so all passes would be equal; train one with --dropout 0.5"
            )
        self.passes, self.seed = passes, seed
        self.restart()

    def restart(self) -> None:
        """Begin again with the seed: done for every image, so that its result does not depend on those before it."""
        self.state = np.random.default_rng(self.seed).bit_generator.state

    @contextmanager
    def on(self) -> Iterator[None]:
        """Within the block dropout drops. Batch norm and all else stay in the mode they are in."""
        outside = generator().bit_generator.state
        generator().bit_generator.state = self.state
        modes = [layer.training for layer in self.layers]
        for layer in self.layers:
            layer.training = True
        try:
            yield
        finally:
            self.state = generator().bit_generator.state
            generator().bit_generator.state = outside
            for layer, mode in zip(self.layers, modes, strict=True):
                layer.training = mode
