"""Optimisers: turn gradients into steps. And schedules: how long the steps are, as training goes on.

Parameters come as a list, or as groups that differ in how they learn::

    SGD([{"params": weights}, {"params": biases, "lr_mult": 2, "decay_mult": 0}], lr=1e-4, momentum=0.9)

which `paper_groups(model)` makes: the paper doubles the biases' rate (section 4.3), and its reference implementation
does not decay them. A schedule is a plain function from the
step's number to the learning rate, so that a resumed run needs to remember nothing but the number of the step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import compress
from operator import not_
from typing import Any

import numpy as np

from .backend import array_module, cupy, device_of, is_array, on_gpu, to_device
from .cuda import kernels
from .cuda.transfer import upload
from .nn import Module
from .ops.layout import leading_blocks
from .parallel import share
from .tensor import Parameter

Moving = tuple[int, Parameter, dict[str, Any], dict[str, Any]]  # a parameter's number, itself, its group, its state


class Optimizer:
    """What SGD and Adam share: groups, multipliers and state.

    lr: the base learning rate, which a schedule may set before every step. A group's own rate is lr·lr_mult
    ("lr" in a group is turned into that multiplier), its weight decay weight_decay·decay_mult.

    A step has two halves: `prepare_step`, the host's, and `apply_step`, which on a GPU is a launch for every 64
    parameters and nothing else. So the second can be part of a CUDA graph: the numbers that change from step to step
    are in a table on the GPU, which the first half fills in.
    """

    slots: tuple[str, ...] = ()  # names of the arrays kept for every parameter
    kernel = ""  # of cuda/kernels.cu

    def __init__(self, params: Iterable[Any], lr: float, weight_decay: float = 0.0) -> None:
        if lr <= 0 or weight_decay < 0:
            raise ValueError(f"{type(self).__name__}: need lr > 0 and weight_decay ≥ 0, got {lr} and {weight_decay}")
        self.lr, self.weight_decay = lr, weight_decay
        params = list(params)
        groups = params if params and isinstance(params[0], Mapping) else [{"params": params}]
        self.groups = [self._group(**group) for group in groups]
        self.parameters = [p for group in self.groups for p in group["params"]]
        if not self.parameters:
            raise ValueError(f"{type(self).__name__}: there are no parameters to learn")
        if len({id(p) for p in self.parameters}) != len(self.parameters):
            raise ValueError(f"{type(self).__name__}: a parameter appears twice; it would be stepped twice")
        self.state: list[dict[str, Any]] = [{"steps": 0} for _ in self.parameters]  # its own: it may join later
        self._moving: list[Moving] = []  # in the step that is being made
        self._rates: Any = None  # on a GPU: float64 (P, 3)
        self._always: Any = None  # on a GPU: int32 (1,), 1

    def _group(self, params: Any, lr: float | None = None, weight_decay: float | None = None, **mult: float) -> dict:
        unknown = set(mult) - {"lr_mult", "decay_mult"}
        if unknown:
            raise ValueError(
                f"{type(self).__name__}: unknown group settings {sorted(unknown)}; use lr_mult, decay_mult"
            )
        params = [params] if isinstance(params, Parameter) else list(params)
        lr_mult = mult.get("lr_mult", 1.0) * (1.0 if lr is None else lr / self.lr)
        decay = (self.weight_decay if weight_decay is None else weight_decay) * mult.get("decay_mult", 1.0)
        return {"params": params, "lr_mult": lr_mult, "weight_decay": decay}

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    def step(self, only_if: Any = None) -> None:
        """Move every parameter that has a gradient, in place.

        only_if: an int32 array of one number on the parameters' device, or None. Where it is 0, no weight changes, nor
        what is kept beside it. On a GPU the number is not brought to the host to look at it, unless there is a
        parameter that no kernel moves.
        """
        self.prepare_step()
        self.apply_step(only_if)

    def prepare_step(self) -> None:
        """The host's half of a step: count it, for every parameter that has a gradient, and note the rates."""
        self._moving = [
            (i, parameter, group, self.state[i])
            for i, (parameter, group) in enumerate((p, group) for group in self.groups for p in group["params"])
            if parameter.grad is not None
        ]
        for _, parameter, _, state in self._moving:
            state["steps"] += 1
            for slot in self.slots:
                if slot not in state:
                    state[slot] = array_module(parameter.grad).zeros_like(parameter.data)
        if any(on_gpu(parameter.data) for _, parameter, _, _ in self._moving):
            self._note_rates()

    def _note_rates(self) -> None:
        """Fill in the table on the GPU: a row for every parameter."""
        if self._rates is None:
            self._rates = cupy().zeros((len(self.parameters), 3), np.float64)
            self._always = cupy().ones(1, np.int32)
        rates = np.zeros(self._rates.shape)
        for i, _, group, state in self._moving:
            rates[i] = self.rates(group, state["steps"])
        upload(rates, self._rates)

    def apply_step(self, only_if: Any = None) -> None:
        """The other half: move the parameters that `prepare_step` found. Their gradients may have been computed anew
        since then, in the same arrays or in others."""
        moving = [piece for piece in self._moving if piece[1].grad is not None]
        fused = [self._is_fused(parameter, state) for _, parameter, _, state in moving]
        self._fused_step([*compress(moving, fused)], only_if)
        rest = [*compress(moving, map(not_, fused))]
        if rest and (only_if is None or only_if.item()):
            self._plain_step(rest)

    def _plain_step(self, moving: list[Moving]) -> None:
        """`update` for parameter after parameter, or block after block of a large one."""
        pieces = [(p, group, state, some) for _, p, group, state in moving for some in leading_blocks(p.data)]

        def step_of(piece: tuple[Parameter, dict, dict, Any]) -> None:
            parameter, group, state, some = piece
            weights, gradient = parameter.data[some], parameter.grad[some]
            if group["weight_decay"]:
                gradient = gradient + group["weight_decay"] * weights  # gradient of ½·decay·|w|²
            state = {"steps": state["steps"], **{slot: state[slot][some] for slot in self.slots}}
            self.update(weights, gradient, state, self.lr * group["lr_mult"])

        share(step_of, pieces, pieces[0][0].data if pieces else None)

    def _is_fused(self, parameter: Parameter, state: dict[str, Any]) -> bool:
        """Whether a kernel can move the parameter: it wants plain arrays of one dtype, and knows no other `update`."""
        arrays = [parameter.data, *(state[slot] for slot in self.slots)]
        return (
            kernels.fused(parameter.data)
            and type(self).update is KERNELS_UPDATE.get(self.kernel)
            and all(a.dtype == parameter.grad.dtype and a.flags.c_contiguous for a in arrays)
        )

    def _fused_step(self, moving: list[Moving], only_if: Any) -> None:
        """One launch for every 64 parameters of a dtype."""
        by_dtype: dict[Any, list[kernels.Moved]] = {}
        for i, parameter, _, state in moving:
            w, g = parameter.data, array_module(parameter.grad).ascontiguousarray(parameter.grad)
            if w.size:
                by_dtype.setdefault(w.dtype, []).append((i, w, g, [state[slot] for slot in self.slots]))
        only_if = self._always if only_if is None else only_if
        for tensors in by_dtype.values():
            kernels.move(self.kernel, tensors, self._rates, only_if, *self.constants())

    def rates(self, group: dict, steps: int) -> tuple[float, float, float]:
        """What the kernel is told of a parameter at its step number `steps`, from 1: rate, decay, correction."""
        return self.lr * group["lr_mult"], group["weight_decay"], 1.0

    def constants(self) -> tuple[float, ...]:
        """What the kernel is told of all parameters alike."""
        return ()

    def update(self, w: Any, g: Any, state: dict[str, Any], lr: float) -> None:
        """Change weights `w` in place, given their gradient and their state arrays: those of a parameter, or of a block
        of a large one. Called for several at once, on several threads: it must not change anything else."""
        raise TypeError(f"{type(self).__name__} defines no update")

    def state_dict(self) -> dict[str, Any]:
        """Everything a resumed run needs, as arrays by name: "3.momentum" belongs to parameter number 3."""
        state = {f"{i}.{slot}": value for i, slots in enumerate(self.state) for slot, value in slots.items()}
        return {name: value if is_array(value) else np.asarray(value) for name, value in state.items()}

    def load_state_dict(self, arrays: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned. Errors: ValueError for a state that belongs to other parameters."""
        for name, array in arrays.items():
            number, _, slot = name.partition(".")
            known = number.isdecimal() and int(number) < len(self.parameters)
            if known and slot == "steps":
                self.state[int(number)]["steps"] = int(array)
                continue
            if not known or slot not in self.slots or array.shape != self.parameters[int(number)].shape:
                raise ValueError(
                    f"{type(self).__name__}: state {name!r} {array.shape} belongs to another model or optimiser"
                )
            weights = self.parameters[int(number)].data
            self.state[int(number)][slot] = to_device(array.astype(weights.dtype), device_of(weights))


class SGD(Optimizer):
    """Stochastic gradient descent with momentum:  v ← momentum·v + g,  w ← w - lr·v."""

    kernel = "sgd"

    def __init__(self, params: Iterable[Any], lr: float, momentum: float = 0.0, weight_decay: float = 0.0) -> None:
        super().__init__(params, lr, weight_decay)
        if not 0.0 <= momentum < 1.0:
            raise ValueError(f"SGD: momentum must lie in [0, 1), got {momentum}")
        self.momentum = momentum
        self.slots = ("momentum",) if momentum else ()

    def update(self, w: Any, g: Any, state: dict[str, Any], lr: float) -> None:
        if self.momentum:
            v = state["momentum"]
            v *= self.momentum
            v += g
            g = v
        w -= lr * g

    def constants(self) -> tuple[float, ...]:
        return (self.momentum,)


class Adam(Optimizer):
    """Adam (Kingma & Ba 2015): a step per weight, scaled by how large its gradients have been.

    m ← b1·m + (1 - b1)·g,  v ← b2·v + (1 - b2)·g²,  w ← w - lr · m̂ / (√v̂ + eps); the hats undo the start at zero.
    Weight decay is added to the gradient, as in torch's Adam.
    """

    slots = ("mean", "square")
    kernel = "adam"

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, lr, weight_decay)
        if not all(0.0 <= b < 1.0 for b in betas):
            raise ValueError(f"Adam: betas must lie in [0, 1), got {betas}")
        self.betas, self.eps = betas, eps

    def update(self, w: Any, g: Any, state: dict[str, Any], lr: float) -> None:
        (b1, b2), t = self.betas, state["steps"]
        m, v = state["mean"], state["square"]
        m *= b1
        m += (1.0 - b1) * g
        v *= b2
        v += (1.0 - b2) * (g * g)
        denominator = (v / (1.0 - b2**t)) ** 0.5 + self.eps
        w -= (lr / (1.0 - b1**t)) * m / denominator

    def rates(self, group: dict, steps: int) -> tuple[float, float, float]:
        (b1, b2), lr = self.betas, self.lr * group["lr_mult"]
        return lr / (1.0 - b1**steps), group["weight_decay"], 1.0 - b2**steps

    def constants(self) -> tuple[float, ...]:
        b1, b2 = self.betas
        return b1, 1.0 - b1, b2, 1.0 - b2, self.eps


KERNELS_UPDATE = {"sgd": SGD.update, "adam": Adam.update}  # what each kernel computes


def paper_groups(model: Module) -> list[dict[str, Any]]:
    """Biases learn twice as fast as weights (paper, section 4.3) and do not decay (its reference implementation)."""
    named = list(model.named_parameters())
    weights = [p for name, p in named if not name.endswith("bias")]
    biases = [p for name, p in named if name.endswith("bias")]
    groups = [{"params": weights}, {"params": biases, "lr_mult": 2.0, "decay_mult": 0.0}]
    return [group for group in groups if group["params"]]


# --- schedules: step number → learning rate ---------------------------------------------------------------

Schedule = Callable[[int], float]


def fixed(lr: float) -> Schedule:
    """The same rate throughout, the paper's choice."""
    return lambda step: lr


def step_decay(lr: float, every: int, factor: float = 0.1) -> Schedule:
    """lr · factor^⌊step / every⌋: a drop every `every` steps."""
    if every < 1:
        raise ValueError(f"step_decay: every is a number of steps, at least 1, got {every}")
    return lambda step: lr * factor ** (step // every)


def warm_up(schedule: Schedule, steps: int) -> Schedule:
    """`schedule`, growing linearly from nothing over the first `steps` steps: large first steps from random weights
    do damage that takes long to mend."""
    return lambda step: schedule(step) * min(1.0, (step + 1) / max(1, steps))


def poly(lr: float, total: int, power: float = 0.9) -> Schedule:
    """lr · (1 - step / total)^power: falls smoothly to 0 at step `total`."""
    if total < 1:
        raise ValueError(f"poly: total is a number of steps, at least 1, got {total}")
    return lambda step: lr * max(0.0, 1.0 - step / total) ** power
