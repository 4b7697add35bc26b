"""Is the file the network? The two are given the same image, and what they say is compared.

onnx.checker reads the file as anybody would and holds it against the rules of the format. onnxruntime, which shares no
line of code with this library, computes what it says. A difference of 1e-4 of the largest score is allowed: float32
keeps seven digits, of which a network of fifty layers loses one or two.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..nn import Module
from ..ops import softmax
from ..tensor import Tensor, no_grad
from .graph import ONNX_PIP_LINE
from .recording import IMAGE, ExportError, evaluating, named_outputs

TOLERANCE = 1e-4  # of the largest score
LARGE = (
    2**28
)  # bytes of a file, from which on onnxruntime is kept from laying out the weights anew: it takes five times


@dataclass(frozen=True)
class Difference:
    """largest: between a number of the file's output and the network's; scale: the network's largest, in magnitude."""

    largest: float
    scale: float

    @property
    def relative(self) -> float:
        """largest / scale. Where all is 0 it is 0, too; where only the network's numbers are, infinite."""
        if self.scale == 0.0:
            return 0.0 if self.largest == 0.0 else float("inf")
        return self.largest / self.scale

    @property
    def small(self) -> bool:
        return self.relative <= TOLERANCE  # not so for NaN


def check_file(path: str | Path) -> None:
    """onnx.checker's verdict, with shapes worked out throughout. Errors: ExportError with what it says."""
    import onnx

    try:
        onnx.checker.check_model(str(path), full_check=True)
    except Exception as error:  # it has exceptions of its own, and those of the shape inference
        raise ExportError(f"export: onnx.checker refuses the file: {error}") from None


def require_onnxruntime() -> None:
    """Errors: ExportError, with what to install, where it is missing."""
    try:
        import onnxruntime  # noqa: F401
    except ImportError:
        raise ExportError(
            f"export: checking the file takes onnxruntime\n  fix: {ONNX_PIP_LINE}, or leave the check out: --no-check"
        ) from None


def open_session(path: str | Path) -> Any:
    """The file in onnxruntime, on the CPU. Errors: ExportError where it cannot use the file."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    if Path(path).stat().st_size > LARGE:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # it has exceptions of its own
        raise ExportError(f"export: onnxruntime cannot use the file: {error}") from None


def compare(session: Any, model: Module, x: np.ndarray, feed: np.ndarray, kind: str) -> Difference:
    """What the file makes of `feed`, and the network of `x` (N, C, H, W): the same image, as each of them takes it.

    kind: of the file's outputs. Of classes, the difference is by how much the score of the class that the file chose is
    below the best: where two are equal but for rounding, either will do. Of several outputs, the worst counts.
    Errors: ExportError for scores of the network that are no numbers.
    """
    own = scores_of(model, x)
    try:
        theirs = session.run(None, {IMAGE: feed})
    except Exception as error:  # it has exceptions of its own
        raise ExportError(f"export: onnxruntime fails on an image of shape {feed.shape}: {error}") from None
    found = [difference(a, b, kind) for a, b in zip(own.values(), theirs, strict=True)]
    return max(found, key=lambda each: (each.relative != each.relative, each.relative))


def scores_of(model: Module, x: np.ndarray) -> Mapping[str, np.ndarray]:
    """The network's own outputs, by name."""
    with evaluating(model), no_grad():
        device = next((parameter.device for parameter in model.parameters()), None)
        scores = {name: y.numpy() for name, y in named_outputs(model(Tensor(x, device=device))).items()}
    for y in scores.values():
        if not np.isfinite(y).all():
            raise ExportError("export: the network's own scores hold NaN or infinity; it is not fit for use")
    return scores


def difference(own: np.ndarray, theirs: np.ndarray, kind: str) -> Difference:
    """own: the network's scores; theirs: the file's output."""
    if kind == "classes":
        chosen = np.take_along_axis(own, theirs[:, None], axis=1)[:, 0]  # (N, H, W)
        return Difference(float((own.max(axis=1) - chosen).max()), float(abs(own).max()))
    if kind == "probabilities":
        own = softmax(Tensor(own, device="cpu"), axis=1).numpy()
    if own.shape != theirs.shape:
        raise ExportError(f"export: the file's output has shape {theirs.shape}, but the network's has {own.shape}")
    return Difference(float(abs(own - theirs).max()), float(abs(own).max()))
