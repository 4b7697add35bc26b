"""One call of each library: a training step, or an inference, of the same network on the same images.

`ScratchRun(case)()` and `TorchRun(case)()` do the same work; `results()` then gives what they computed, so that a
comparison of times can say first that both compute the same. PyTorch is imported only when a TorchRun is made.

On a GPU both compute in float32, with TF32 in both or in neither, and PyTorch runs eagerly, as most people use it, with
`cudnn.benchmark` on: its first calls then look for cuDNN's fastest algorithms, as one would have it who trains at one
size, and the warm-up hides what that takes. That is the strongest PyTorch short of compiling the network or recording
it as a CUDA graph, which ours is compared with in a line of its own only (`--cuda-graph`).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np

from .. import models, nn, ops, optim, parallel
from ..backend import DeviceError, keep_freed_memory, manual_seed, to_device, to_numpy
from ..cuda.memory import gpu_memory, watched_pool
from ..tensor import Tensor, no_grad
from .cases import CLASSES, Case
from .clock import Clock, EventClock, HostClock, TorchClock
from .memory import give_back_pool

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
        self.clock: Clock = HostClock() if device == "cpu" else EventClock(device)
        self.model = our_model(case).to(device)
        images, labels = pictures(case)
        self.x, self.labels = Tensor(images, device=device), to_device(labels, device)
        learned = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = optim.SGD(learned, LR, MOMENTUM)

    def __call__(self) -> Tensor:
        """The step, or the inference; returns the scores (N, K, H, W)."""
        scores = self.up_to_gradients()
        if self.case.task == "step":
            self.optimizer.step()
        return scores

    def up_to_gradients(self) -> Tensor:
        """The scores, and in a step every gradient."""
        if self.case.task == "inference":
            with no_grad():
                return self.model(self.x)
        self.optimizer.zero_grad()
        scores = self.model(self.x)
        # labels are looked at on their way to a GPU, not in every step, as in training
        loss = ops.softmax_cross_entropy(scores, self.labels, checked=self.device != "cpu")
        loss.backward()
        return scores

    def as_graph(self) -> Callable[[], Any]:
        """The call recorded as a CUDA graph, and a function that launches it. Errors: GraphError with the reason."""
        from ..cuda.graph import Recorded

        trains = self.case.task == "step"

        def work() -> Tensor:
            scores = self.up_to_gradients()
            if trains:
                self.optimizer.apply_step()
            return scores

        def with_rates(of_the_graph: Callable[[], Tensor]) -> Tensor:
            """The learning rate goes to the GPU beforehand: it may change from step to step."""
            if trains:
                self.optimizer.prepare_step()
            return of_the_graph()

        self()  # there must be gradients to prepare for
        recorded = Recorded(work)
        for _ in range(2):
            with_rates(recorded.run)
        recorded.record()
        return lambda: with_rates(recorded.launch)

    def results(self, scores: Tensor) -> dict[str, np.ndarray]:
        """The scores, and after a step the gradients by parameter."""
        gradients = {name: to_numpy(p.grad) for name, p in self.model.named_parameters() if p.grad is not None}
        return {"scores": scores.numpy(), **gradients}

    def threads(self) -> int:
        """How many threads the ops use."""
        return parallel.threads()

    def gpu_memory(self, calls: int) -> dict[str, int]:
        """Bytes on the GPU: "base" with the network in place, "peak" at most during some calls, and "reserved". The
        first calls do not count, as they allocate what the libraries keep."""
        base = gpu_memory(self.device).used
        for _ in range(calls):
            self()
        self.clock.wait()
        give_back_pool()
        with watched_pool() as held:
            for _ in range(calls):
                self()
        self.clock.wait()
        after = gpu_memory(self.device)
        return {"base": base, "peak": held.peak, "reserved": after.used + after.kept}


class TorchRun:
    """PyTorch, on our weights."""

    def __init__(self, case: Case, device: str = "cpu", threads: int = 1, tf32: bool = False) -> None:
        from .torch_twins import build_twin, copy_weights

        keep_freed_memory()  # the same for both
        self.torch = torch = prepare_torch(device, threads, tf32)
        self.case, self.device = case, device
        self.clock: Clock = HostClock() if device == "cpu" else TorchClock(device)
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

    def results(self, scores: Any) -> dict[str, np.ndarray]:
        gradients = {name: p.grad.cpu().numpy() for name, p in self.model.named_parameters() if p.grad is not None}
        return {"scores": scores.detach().cpu().numpy(), **gradients}

    def threads(self) -> int:
        return self.torch.get_num_threads()

    def gpu_memory(self, calls: int) -> dict[str, int]:
        """As ours. The first calls matter more here: looking for the fastest algorithms takes large buffers."""
        cuda = self.torch.cuda
        base = cuda.memory_allocated()
        for _ in range(calls):
            self()
        cuda.synchronize()
        cuda.empty_cache()
        cuda.reset_peak_memory_stats()
        for _ in range(calls):
            self()
        cuda.synchronize()
        return {"base": base, "peak": cuda.max_memory_allocated(), "reserved": cuda.max_memory_reserved()}


def prepare_torch(device: str, threads: int, tf32: bool) -> Any:
    """PyTorch, set up as the module's docstring says. Errors: DeviceError where it cannot use the GPU."""
    import torch

    torch.set_num_threads(threads)
    if device == "cpu":
        return torch
    if not torch.cuda.is_available():
        raise DeviceError(f"PyTorch cannot use {device}: this build of it has no CUDA\n  fix: --against none")
    torch.cuda.set_device(device)  # events, and what names no device
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = tf32
    with suppress(AttributeError):  # from PyTorch 2.9 on; where TF32 is off, the line above says "none" here
        torch.backends.cudnn.conv.fp32_precision = "tf32" if tf32 else "ieee"
    return torch


def set_our_tf32(on: bool) -> None:
    """TF32 in our matrix products, or not."""
    from ..cuda import numerics

    numerics.set_tf32(on)


def make_run(library: str, case: Case, device: str, threads: int, tf32: bool = False) -> ScratchRun | TorchRun:
    """The run of "scratchfcn" or of "torch"."""
    return ScratchRun(case, device) if library == "scratchfcn" else TorchRun(case, device, threads, tf32)


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
