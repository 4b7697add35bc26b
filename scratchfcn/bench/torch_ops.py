"""The ops of a step in PyTorch, each by itself: what the per-op table sets beside ours.

`torch_seconds(specs, …)` does what a step of ours has done, on the same shapes and with the same settings: all forwards
in the order of the network, then all backwards in reverse. Each op has tensors of its own, filled with random numbers,
so that it finds the caches much as it would within a network.

On a GPU the times are those between CUDA events, behind a head start (clock.py), so that what Python and PyTorch's
autograd take to launch an op does not count. On a CPU it does; an op of less than 0.1 ms looks slower than it is within
a network, where one walk serves all ops.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

import torch
from torch.nn import functional as F

from .cases import CLASSES
from .clock import PRODUCT, Clock, HeadStart, HostClock, TorchClock, waited_seconds
from .libraries import LR, MOMENTUM, prepare_torch
from .specs import Spec

Times = tuple[float, float]  # seconds of an op's forward and of its backward


def torch_seconds(
    specs: Sequence[Spec | None], device: str, threads: int, repeats: int, tf32: bool = False
) -> list[Times | None]:
    """The medians of `repeats` steps; None where the spec is."""
    prepare_torch(device, threads, tf32)
    calls = [make_call(spec, device) for spec in specs if spec is not None]
    clock: Clock = HostClock() if device == "cpu" else TorchClock(device)
    # the first step chooses algorithms, and takes long
    launching = min(waited_seconds(clock, lambda: one_step(calls, HostClock())) for _ in range(2))
    start = None if device == "cpu" else HeadStart(clock, products(device))
    steps = []
    for _ in range(repeats):
        clock.wait()
        if start is not None:
            start.give(launching)
        marks = one_step(calls, clock)
        clock.wait()
        steps.append([[clock.seconds(*pair) for pair in pairs] for pairs in marks])
    medians = iter([(median(f for f, _ in times), median(b for _, b in times)) for times in zip(*steps, strict=True)])
    return [None if spec is None else next(medians) for spec in specs]


def one_step(calls: Sequence[Call], clock: Clock) -> list[list[tuple[Any, Any]]]:
    """Every op forwards, then backwards; the marks before and after each."""
    marks: list[list[tuple[Any, Any]]] = [[] for _ in calls]
    for i, call in enumerate(calls):
        marks[i].append(marked(clock, call.forward))
    for i, call in reversed(list(enumerate(calls))):
        marks[i].append(marked(clock, call.backward))
    return marks


def marked(clock: Clock, work: Any) -> tuple[Any, Any]:
    begin = clock.mark()
    work()
    return begin, clock.mark()


def products(device: str) -> Any:
    """Launches one product of a head start."""
    a = torch.rand(PRODUCT, PRODUCT, device=device)
    y = torch.empty_like(a)
    return lambda: torch.mm(a, a, out=y)


# --- one op -----------------------------------------------------------------------------------------------


class Call:
    """An op on tensors of its own."""

    def __init__(self, spec: Spec, device: str) -> None:
        torch.manual_seed(0)
        self.op, self.settings, self.trains = spec["op"], spec["settings"], any(spec["wanted"])
        self.inputs = [
            None if shape is None else torch.randn(shape, device=device).requires_grad_(wanted)
            for shape, wanted in zip(spec["inputs"], spec["wanted"], strict=True)
        ]
        self.wanted = [x for x in self.inputs if x is not None and x.requires_grad]
        self.extras = extras(spec, device)
        self.gy = torch.randn(self.compute().shape, device=device)

    def compute(self) -> torch.Tensor:
        with torch.inference_mode(not self.trains):
            return compute(self.op, self.inputs, self.extras, **self.settings)

    def forward(self) -> None:
        self.y = self.compute()

    def backward(self) -> None:
        """The gradients that were wanted; the graph, and the output, are freed."""
        if self.trains:
            torch.autograd.grad(self.y, self.wanted, self.gy)
        del self.y


class Step:
    """A step of the optimiser; as in our table, it counts as a backward."""

    def __init__(self, spec: Spec, device: str) -> None:
        parameters = [torch.nn.Parameter(torch.randn(shape, device=device)) for shape in spec["inputs"]]
        for parameter in parameters:
            parameter.grad = torch.randn_like(parameter)
        self.optimizer = torch.optim.SGD(parameters, LR, MOMENTUM)

    def forward(self) -> None:
        pass

    def backward(self) -> None:
        self.optimizer.step()


def make_call(spec: Spec, device: str) -> Call | Step:
    return Step(spec, device) if spec["op"] == "sgd" else Call(spec, device)


def extras(spec: Spec, device: str) -> list[torch.Tensor]:
    """What an op needs beside its inputs: the labels, or the running mean and variance."""
    if spec["op"] == "softmax_cross_entropy":
        N, K, *rest = spec["inputs"][0]
        return [torch.randint(min(K, CLASSES), (N, *rest), device=device)]
    if spec["op"] == "batch_norm2d":
        C = spec["inputs"][0][1]
        return [torch.zeros(C, device=device), torch.ones(C, device=device)]
    return []


def compute(op: str, inputs: Sequence[Any], extras: Sequence[torch.Tensor], **settings: Any) -> torch.Tensor:
    """The op itself."""
    if op in ("conv2d", "conv1x1"):
        return F.conv2d(*inputs, **settings)
    if op == "conv_transpose2d":
        return F.conv_transpose2d(*inputs, **settings)
    if op == "max_pool2d":
        return F.max_pool2d(*inputs, settings.pop("kernel"), **settings)
    if op == "batch_norm2d":
        x, weight, bias = inputs
        return F.batch_norm(x, *extras, weight, bias, **settings)
    if op == "softmax_cross_entropy":
        return F.cross_entropy(*inputs, *extras, **settings)
    if op == "linear":
        return F.linear(*inputs)
    if op == "relu":
        return F.relu(*inputs)
    if op == "add":
        return inputs[0] + inputs[1]
    (h, w), (top, left) = settings["size"], settings["offset"]  # a crop
    return inputs[0][:, :, top : top + h, left : left + w]
