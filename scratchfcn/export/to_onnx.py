"""From a network to an ONNX model: record it, apply the rules, and name what goes in and what comes out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..data import Normalise
from ..nn import Module
from . import onnx_file
from .graph import IR_VERSION, ONNX_PIP_LINE, OPSET, Graph
from .recording import IMAGE, ExportError, Recording, Value, record
from .rules import apply_rule
from .sizes import record_for_all_sizes

OUTPUT_KINDS = ("scores", "probabilities", "classes")
BATCH = 2  # images in the recording: more than one, so that their number is not taken for another size


@dataclass
class OnnxNetwork:
    """model: an onnx.ModelProto whose graph lacks the arrays; arrays: its initialisers by name.

    least_size: the smallest height and width that a network for all sizes takes; None for one size.
    """

    model: Any
    arrays: dict[str, np.ndarray]
    least_size: int | None = None

    def save(self, path: str | Path) -> None:
        """Write the file. Errors: see onnx_file.save."""
        onnx_file.save(self.model, self.arrays, path)


def to_onnx(
    model: Module,
    shape: tuple[int, int, int],
    dynamic: bool = False,
    kind: str = "scores",
    prepare: Normalise | None = None,
) -> OnnxNetwork:
    """`model` in evaluation mode as an ONNX network; float32, whatever the model's dtype, for any number of images.

    shape: (C, H, W) of an image. dynamic: for images of any height and width, not only these.
    kind: "scores" (what the model returns), "probabilities" (softmax of them along the classes), or "classes" (the
    number of the largest: int64 (N, H, W)). Outputs are called after their kind, those of a dictionary as there.
    prepare: the input is then not float32 (N, 3, H, W) but pixels, uint8 (N, H, W, 3) RGB, which the graph normalises.
    Errors: ExportError naming what cannot be exported, and where; those of the model for a `shape` that does not fit.
    """
    require_onnx()
    if kind not in OUTPUT_KINDS:
        raise ExportError(f"export: an output of kind {kind!r} is not known; there are {', '.join(OUTPUT_KINDS)}")
    if prepare is not None and shape[0] != 3:
        raise ExportError(f"export: pixels are red, green and blue, but the network takes {shape[0]} channels")
    if dynamic:
        recording, least = record_for_all_sizes(model, BATCH, shape[0])
    else:
        recording, least = record(model, (BATCH, *shape)), None
    check_batches(recording)
    return OnnxNetwork(*assembled(recording, type(model).__name__, dynamic, kind, prepare), least)


def require_onnx() -> None:
    """Errors: ExportError, with what to install, where onnx is missing."""
    try:
        import onnx  # noqa: F401
    except ImportError:
        raise ExportError(f"export: writing an ONNX file takes onnx\n  fix: {ONNX_PIP_LINE}") from None


def assembled(
    recording: Recording,
    name: str,
    dynamic: bool = False,
    kind: str = "scores",
    prepare: Normalise | None = None,
) -> tuple[Any, dict[str, np.ndarray]]:
    """A recording as an onnx.ModelProto and its initialisers; see `to_onnx`."""
    from onnx import helper

    graph = Graph()
    outputs = {output_name(key, kind, recording): value for key, value in recording.outputs.items()}
    graph.taken |= {IMAGE, *outputs}
    graph.names[recording.image] = IMAGE if prepare is None else prepared(graph, prepare)
    for call in recording.calls:
        graph.names[call.output] = apply_rule(graph, call)
    image = declare_image(recording.image, dynamic, pixels=prepare is not None)
    declared = [finish(graph, key, value, kind) for key, value in outputs.items()]

    opset = helper.make_opsetid("", OPSET)
    proto = helper.make_graph(graph.nodes, name, [image], declared)
    model = helper.make_model(proto, opset_imports=[opset], ir_version=IR_VERSION, producer_name="scratchfcn")
    return model, graph.arrays


def check_batches(recording: Recording) -> None:
    """Each image of a batch gets an answer of its own."""
    for name, value in recording.outputs.items():
        if value.shape[:1] != (BATCH,):
            what = f"output {name!r}" if name else "output"
            raise ExportError(
                f"export: for {BATCH} images the network's {what} has shape {value.shape}; it must have a row for each"
            )


# --- what goes in -----------------------------------------------------------------------------------------


def declare_image(value: Value, dynamic: bool, pixels: bool) -> Any:
    """float32 (N, C, H, W); as pixels, uint8 (N, H, W, 3), which is what image libraries read."""
    from onnx import TensorProto, helper

    _, *sizes = value.shape
    if dynamic:
        sizes[1:] = ("height", "width")
    if pixels:
        return helper.make_tensor_value_info(IMAGE, TensorProto.UINT8, ("batch", *sizes[1:], 3))
    return helper.make_tensor_value_info(IMAGE, TensorProto.FLOAT, ("batch", *sizes))


def prepared(graph: Graph, normalise: Normalise) -> str:
    """What data.normalise does, in nodes: (RGB / 255 - mean) / std, channels first; with `bgr`, blue first."""
    from onnx import TensorProto

    x = graph.node("Cast", [IMAGE], f"{IMAGE}.float", to=TensorProto.FLOAT)  # (N, H, W, 3)
    if normalise.bgr:
        x = graph.node("Gather", [x, graph.integers(f"{IMAGE}.bgr.order", [2, 1, 0])], f"{IMAGE}.bgr", axis=3)
    x = graph.node("Div", [x, graph.array(f"{IMAGE}.scale", 255)], f"{IMAGE}.scaled")
    x = graph.node("Sub", [x, graph.array(f"{IMAGE}.mean", normalise.mean)], f"{IMAGE}.centred")
    x = graph.node("Div", [x, graph.array(f"{IMAGE}.std", normalise.std)], f"{IMAGE}.normalised")
    return graph.node("Transpose", [x], f"{IMAGE}.channels_first", perm=(0, 3, 1, 2))  # (N, 3, H, W)


# --- what comes out ---------------------------------------------------------------------------------------


def output_name(key: str, kind: str, recording: Recording) -> str:
    """What an output is called in the file."""
    if not key or (kind != "scores" and len(recording.outputs) == 1):
        return kind
    return key if kind == "scores" else f"{key}_{kind}"


def finish(graph: Graph, name: str, value: Value, kind: str) -> Any:
    """Make `value` the output `name`, of this kind; its declaration."""
    from onnx import TensorProto, helper

    dims = value.dims or ("batch", *value.shape[1:])
    if kind != "scores" and len(dims) < 2:
        raise ExportError(f"export: output {name!r} has shape {value.shape}, and no axis of classes")
    if kind == "classes":
        largest = helper.make_node("ArgMax", [graph.names[value]], [name], name, axis=1, keepdims=0)
        graph.nodes.append(largest)
        return helper.make_tensor_value_info(name, TensorProto.INT64, (dims[0], *dims[2:]))
    if kind == "probabilities":
        graph.nodes.append(helper.make_node("Softmax", [graph.names[value]], [name], name, axis=1))
    else:
        call_output(graph, value, name)
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, dims)


def call_output(graph: Graph, value: Value, name: str) -> None:
    """Give a value the name of an output; where other nodes use it, too, or no node made it, a copy of it."""
    from onnx import helper

    known = graph.names[value]
    users = [node for node in graph.nodes if known in node.input]
    maker = next((node for node in graph.nodes if known in node.output), None)
    if maker is None or users or known in graph.outputs:
        graph.nodes.append(helper.make_node("Identity", [known], [name], name))
    else:
        maker.output[0] = name
        graph.names |= {key: name for key, other in graph.names.items() if other == known}
        graph.outputs.add(name)
