"""One call of each library: a training step, or an inference, of the same network on the same images.

`ScratchRun(case)()` and `TorchRun(case)()` do the same work; `results()` then gives what they computed, so that a
comparison of times can say first that both compute the same. PyTorch is imported only when a TorchRun is made.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import models, nn, ops, optim, parallel
from ..backend import DeviceError, keep_freed_memory, manual_seed, synchronize, to_device, to_numpy
from ..tensor import Tensor, no_grad
from .cases import CLASSES, Case

LR, MOMENTUM = 0.01, 0.9


def pictures(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """Images float32 (N, 3, H, W) and labels uint8 (N, H, W), the same for both libraries."""
    rng = np.random.default_rng(0)
    images = rng.standard_normal((case.N, 3, case.H, case.W), np.float32)
    return images, rng.integers(0, CLASSES, (case.N, case.H, case.W), np.uint8)


def our_model(case: Case) -> nn.Module:
    """The network of a case, with the same weights every time.

    New score layers are zero, and with them every score, whatever the layers below compute; here they are not, so that
    equal scores mean something.
    """
    manual_seed(0)
    model = models.build(case.model, num_classes=CLASSES, **case.options())
    rng = np.random.default_rng(1)
    for parameter in model.parameters():
        if parameter.ndim == 4 and not parameter.data.any():
            parameter.data[...] = 0.01 * rng.standard_normal(parameter.shape)
    return model.train(case.task == "step")


class ScratchRun:
    """This library."""

    def __init__(self, case: Case, device: str = "cpu") -> None:
        keep_freed_memory()  # as `scratchfcn train` does
        self.case, self.device = case, device
        self.model = our_model(case).to(device)
        images, labels = pictures(case)
        self.x, self.labels = Tensor(images, device=device), to_device(labels, device)
        learned = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = optim.SGD(learned, LR, MOMENTUM)

    def __call__(self) -> Tensor:
        """The step, or the inference; returns the scores (N, K, H, W)."""
        if self.case.task == "inference":
            with no_grad():
                return self.model(self.x)
        self.optimizer.zero_grad()
        scores = self.model(self.x)
        loss = ops.softmax_cross_entropy(scores, self.labels)
        loss.backward()
        self.optimizer.step()
        return scores

    def synchronize(self) -> None:
        """Wait for the device; a GPU runs behind."""
        synchronize(self.device)

    def results(self, scores: Tensor) -> dict[str, np.ndarray]:
        """The scores, and after a step the gradients by parameter."""
        gradients = {name: to_numpy(p.grad) for name, p in self.model.named_parameters() if p.grad is not None}
        return {"scores": scores.numpy(), **gradients}

    def threads(self) -> int:
        """How many threads the ops use."""
        return parallel.threads()


class TorchRun:
    """PyTorch, on our weights."""

    def __init__(self, case: Case, device: str = "cpu", threads: int = 1) -> None:
        import torch

        from .torch_twins import build_twin, copy_weights

        if device != "cpu" and not torch.cuda.is_available():
            raise DeviceError(f"PyTorch cannot use {device}: this build of it has no CUDA\n  fix: --against none")
        keep_freed_memory()  # the same for both
        torch.set_num_threads(threads)
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False  # float32 in both, on a GPU
        self.torch, self.case, self.device = torch, case, device
        self.model = build_twin(case.model, CLASSES, **case.options())
        copy_weights(our_model(case), self.model)
        self.model.to(device).train(case.task == "step")
        images, labels = pictures(case)
        self.x, self.labels = torch.tensor(images, device=device), torch.tensor(labels, device=device).long()
        learned = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.SGD(learned, LR, MOMENTUM)

    def __call__(self) -> Any:
        if self.case.task == "inference":
            with self.torch.inference_mode():
                return self.model(self.x)
        self.optimizer.zero_grad()
        scores = self.model(self.x)
        loss = self.torch.nn.functional.cross_entropy(scores, self.labels, ignore_index=255)
        loss.backward()
        self.optimizer.step()
        return scores

    def synchronize(self) -> None:
        if self.device != "cpu":
            self.torch.cuda.synchronize(self.device)

    def results(self, scores: Any) -> dict[str, np.ndarray]:
        gradients = {name: p.grad.cpu().numpy() for name, p in self.model.named_parameters() if p.grad is not None}
        return {"scores": scores.detach().cpu().numpy(), **gradients}

    def threads(self) -> int:
        return self.torch.get_num_threads()


def make_run(library: str, case: Case, device: str, threads: int) -> ScratchRun | TorchRun:
    """The run of "scratchfcn" or of "torch"."""
    return ScratchRun(case, device) if library == "scratchfcn" else TorchRun(case, device, threads)


def largest_differences(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> dict[str, float]:
    """How far the two are apart, each array relative to its largest value: of the scores, and the worst gradient.
    NaN where either has one.

    Errors: ValueError where one has an array that the other has not.
    """
    if ours.keys() != theirs.keys():
        raise ValueError(f"the two libraries compute different things: {sorted(ours.keys() ^ theirs.keys())}")
    apart = {name: relative_difference(ours[name], theirs[name]) for name in ours}
    scores = apart.pop("scores")
    return {"scores": scores, **({"gradients": float(np.max(list(apart.values())))} if apart else {})}


def relative_difference(a: np.ndarray, b: np.ndarray) -> float:
    largest = float(np.abs(b).max())
    return float(np.abs(a - b).max()) / largest if largest else float(np.abs(a).max())
