"""torchvision as the oracle of the models: random weights for both, then the same outputs, gradients and statistics.

torchvision is imported here so that every test file gets it the same way: `from torchvision_reference import
torchvision, randomise, compare`. PyPI's wheel brings operators that are built for CUDA, and under a CPU-only torch it
fails with "operator torchvision::nms does not exist" when it describes them; declaring the two operators first makes
it work, and no network here uses them.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

import scratchfcn as sf

try:
    import torchvision
except RuntimeError:
    declared = torch.library.Library("torchvision", "DEF")  # what it declares lasts as long as it does
    for name in ("nms", "qnms"):
        declared.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    import torchvision

__all__ = ["assert_close", "assert_same_state", "compare", "randomise", "state_of", "torchvision", "without_dropout"]

# All bounds are relative to the largest magnitude of the array. float64 is the proof. float32 shows that nothing silly
# happens in it, no more: there two correct networks differ, as torch's own float32 does from its float64. In
# training, batch norm on the few pixels of a small image's last maps amplifies rounding (up to 2.5e-4 of the scores of
# ResNet-101). And a ReLU whose input is zero but for rounding, or a max pool with two such maxima, passes the gradient
# on in one and not in the other: up to 36 % of single gradients, and 3 % in the root mean square, which is bounded.
FLOAT64 = 1e-10
FLOAT32_EVAL, FLOAT32_TRAIN, FLOAT32_GRADIENT_RMS = 1e-5, 2e-3, 0.1


def randomise(module: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Random weights, biases and batch norm statistics that keep signals of order one through a hundred layers.

    torch's own initial values would hide mistakes: batch norms that do nothing, biases and running means of zero.
    """
    rng = np.random.default_rng(seed)

    def fill(tensor: torch.Tensor | None, values: np.ndarray) -> None:
        if tensor is not None:
            with torch.no_grad():
                tensor.copy_(torch.from_numpy(values))

    for layer in module.modules():
        if isinstance(layer, torch.nn.Conv2d | torch.nn.ConvTranspose2d | torch.nn.Linear):
            fan_in = layer.weight[0].numel()
            fill(layer.weight, rng.normal(0, (2 / fan_in) ** 0.5, layer.weight.shape))
            if layer.bias is not None:
                fill(layer.bias, rng.uniform(-0.2, 0.2, layer.bias.shape))
        elif isinstance(layer, torch.nn.BatchNorm2d):
            C = layer.num_features
            fill(layer.weight, rng.uniform(0.7, 1.1, C))
            fill(layer.bias, rng.uniform(-0.3, 0.3, C))
            fill(layer.running_mean, rng.uniform(-0.3, 0.3, C))
            fill(layer.running_var, rng.uniform(0.5, 1.5, C))
    return module


def state_of(module: torch.nn.Module) -> dict[str, np.ndarray]:
    """Its state dict as arrays (copies), in torch's order."""
    return {name: value.detach().cpu().numpy().copy() for name, value in module.state_dict().items()}


def assert_same_state(ours: sf.nn.Module, theirs: torch.nn.Module) -> None:
    """The same names in the same order, and the same shapes."""
    mine = {name: tuple(array.shape) for name, array in ours.state_dict().items()}
    assert list(mine.items()) == [(name, tuple(value.shape)) for name, value in theirs.state_dict().items()]


def without_dropout(*models: Any) -> None:
    """Their dropout layers drop nothing from now on: two libraries never draw the same random numbers."""
    for model in models:
        for layer in model.modules():
            if type(layer).__name__.startswith("Dropout"):
                layer.p = 0.0


def compare(
    ours: sf.nn.Module,
    theirs: torch.nn.Module,
    x: np.ndarray,
    modes: tuple[str, ...] = ("eval", "train"),
    gradients: bool = True,
    dtypes: tuple[str, ...] = ("float64", "float32"),
) -> None:
    """Give `ours` the state of `theirs` and demand the same of both, in every mode and dtype: state names and shapes,
    outputs, running statistics and, for a random gradient of each output, the gradients of x and all parameters.

    x: (N, C, H, W). A network may return one array, a tuple (compared by place; None is left out) or a dictionary
    (compared by name). Dropout layers of both are switched off for good. Both end in the last mode and dtype.
    """
    without_dropout(ours, theirs)
    assert_same_state(ours, theirs)
    state = state_of(theirs)
    for dtype in dtypes:
        for mode in modes:
            mine = results(ours, state, x, mode, dtype, gradients)
            reference = torch_results(theirs, state, x, mode, dtype, gradients)
            assert mine.keys() == reference.keys()
            # Some gradients are zero but for rounding (of a bias before batch norm): they have no scale of their own
            largest = max((np.abs(a).max() for name, a in reference.items() if name.startswith("gradient")), default=0)
            for name in reference:
                what = f"{name} ({mode}, {dtype})"
                is_gradient = name.startswith("gradient")
                scale = max(np.abs(reference[name]).max(), 1e-3 * largest if is_gradient else 0)
                if dtype == "float64":
                    assert_close(mine[name], reference[name], FLOAT64 * scale, what)
                elif is_gradient:
                    assert_close(mine[name], reference[name], FLOAT32_GRADIENT_RMS * scale, what, root_mean_square=True)
                else:
                    bound = FLOAT32_EVAL if mode == "eval" else FLOAT32_TRAIN
                    assert_close(mine[name], reference[name], bound * scale, what)


def assert_close(
    mine: np.ndarray, reference: np.ndarray, bound: float, what: str = "", root_mean_square: bool = False
) -> None:
    """The largest difference, or the root mean square of all, is at most `bound`."""
    assert mine.shape == reference.shape, what
    assert mine.dtype == reference.dtype, what
    assert np.isfinite(reference).all(), what
    difference = np.abs(mine.astype(np.float64) - reference)
    found = (difference**2).mean() ** 0.5 if root_mean_square else difference.max()
    assert found <= bound, f"{what}: differs by {found:.1e}, largest magnitude {np.abs(reference).max():.1e}"


def results(
    model: sf.nn.Module, state: dict[str, np.ndarray], x: np.ndarray, mode: str, dtype: str, gradients: bool
) -> dict[str, np.ndarray]:
    """All that is compared, by name, of our model."""
    model = model.double() if dtype == "float64" else model.float()
    model.load_state_dict(state)
    model.train(mode == "train").zero_grad()
    x = sf.Tensor(x.astype(dtype), requires_grad=gradients)
    outputs = by_name(model(x))
    found = {f"output {name}": y.numpy() for name, y in outputs.items()}
    if gradients:
        upstream = random_gradients({name: y.shape for name, y in outputs.items()}, dtype)
        losses = [(y * upstream[name]).sum() for name, y in outputs.items()]
        sum(losses[1:], losses[0]).backward()
        found["gradient of x"] = sf.backend.to_numpy(x.grad)
        for name, p in model.named_parameters():
            if p.grad is not None:
                found[f"gradient of {name}"] = sf.backend.to_numpy(p.grad)
    return found | {name: sf.backend.to_numpy(a).copy() for name, a in model.state_dict().items() if is_statistic(name)}


def torch_results(
    model: torch.nn.Module, state: dict[str, np.ndarray], x: np.ndarray, mode: str, dtype: str, gradients: bool
) -> dict[str, np.ndarray]:
    """The same of torch's."""
    model = model.double() if dtype == "float64" else model.float()
    model.load_state_dict({name: torch.tensor(array) for name, array in state.items()})
    model.train(mode == "train").zero_grad()
    x = torch.tensor(x.astype(dtype), requires_grad=gradients)
    with torch.set_grad_enabled(gradients):
        outputs = by_name(model(x))
    found = {f"output {name}": y.detach().numpy() for name, y in outputs.items()}
    if gradients:
        upstream = random_gradients({name: tuple(y.shape) for name, y in outputs.items()}, dtype)
        sum((y * torch.tensor(upstream[name])).sum() for name, y in outputs.items()).backward()
        found["gradient of x"] = x.grad.numpy()
        for name, p in model.named_parameters():
            if p.grad is not None:
                found[f"gradient of {name}"] = p.grad.numpy()
    return found | {name: array for name, array in state_of(model).items() if is_statistic(name)}


def is_statistic(name: str) -> bool:
    """What batch norm records in training."""
    return name.endswith(("running_mean", "running_var", "num_batches_tracked"))


def by_name(output: Any) -> dict[str, Any]:
    """A network's output or outputs, by name or by place."""
    if isinstance(output, Mapping):
        return dict(output)
    if not isinstance(output, tuple):
        output = (output,)
    return {str(i): y for i, y in enumerate(output) if y is not None}


def random_gradients(shapes: dict[str, tuple[int, ...]], dtype: str) -> dict[str, np.ndarray]:
    """What arrives at each output: random, because ones would let a backward pass that mixes them up go unseen."""
    rng = np.random.default_rng(7)
    return {name: rng.normal(size=shapes[name]).astype(np.float32).astype(dtype) for name in sorted(shapes)}
