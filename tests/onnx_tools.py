"""What the tests of the export share: onnxruntime, onnx's own reference, and weights that mean something."""

from pathlib import Path

import numpy as np
import onnx

from scratchfcn import nn
from scratchfcn.export import onnx_file
from scratchfcn.export.recording import IMAGE, record
from scratchfcn.export.to_onnx import assembled
from scratchfcn.tensor import Tensor, no_grad

TOLERANCE = 1e-4  # of the largest number


def file_of(model: nn.Module, shape: tuple[int, ...], path: Path) -> Path:
    """The file of a network that takes an array of `shape`, of any rank; the first axis may vary."""
    onnx_file.save(*assembled(record(model, shape), "test"), path)
    return path


def run_file(path: Path, x: np.ndarray) -> dict[str, np.ndarray]:
    """What onnxruntime makes of it, as it comes."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return dict(zip([each.name for each in session.get_outputs()], session.run(None, {IMAGE: x}), strict=True))


def run_reference(path: Path, x: np.ndarray) -> np.ndarray:
    """What onnx's reference implementation makes of it: plain NumPy, written from the specification."""
    from onnx.reference import ReferenceEvaluator

    return ReferenceEvaluator(str(path)).run(None, {IMAGE: x})[0]


def own(model: nn.Module, x: np.ndarray) -> np.ndarray:
    model.eval()
    with no_grad():
        return model(Tensor(x)).numpy()


def worst(theirs: np.ndarray, ours: np.ndarray) -> float:
    """The largest difference, of the largest number."""
    assert theirs.shape == ours.shape
    assert theirs.dtype == ours.dtype
    return float(abs(theirs - ours).max(initial=0) / max(abs(ours).max(initial=0), 1e-30))


def check(path: Path) -> None:
    onnx.checker.check_model(str(path), full_check=True)


def randomise(model: nn.Module, seed: int = 0) -> nn.Module:
    """Random weights everywhere, quickly: score layers begin with zeros, and running statistics with 0 and 1, and
    equality of those would say nothing. Convolutions keep the size of what goes through them, as He's weights do."""
    rng = np.random.default_rng(seed)
    block = rng.standard_normal(65537).astype(np.float32)  # a prime: no row of weights repeats another
    for name, array in model.state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue
        numbers = np.resize(np.roll(block, int(rng.integers(65537))), array.shape)
        if array.ndim > 1:
            transposed = "up" in name or "transpose" in name
            fan_in = (
                array[0].size if not transposed else array.shape[0] * 4
            )  # about 4 pixels reach each of an upsampled map
            array[...] = numbers * (2 / fan_in) ** 0.5
        elif name.endswith(("running_var", "norm.weight", "weight")):
            array[...] = 1 + 0.3 * np.tanh(numbers)
        else:
            array[...] = 0.1 * numbers
    return model
