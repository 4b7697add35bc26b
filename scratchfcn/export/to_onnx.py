"""From a network to an ONNX model: record it, apply the rules, and name what goes in and what comes out."""

from __future__ import annotations

from collections.abc import Mapping
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
    metadata: Mapping[str, str] | None = None,
    name: str = "",
) -> OnnxNetwork:
    """`model` in evaluation mode as an ONNX network; float32, whatever the model's dtype, for any number of images.

    shape: (C, H, W) of an image. dynamic: for images of any height and width, not only these.
    kind: "scores" (what the model returns), "probabilities" (softmax of them along the classes), or "classes" (the number
    of the largest: int64 (N, H, W)). Outputs are called after their kind, those of a dictionary as they are there.
    prepare: the input is then not (N, 3, H, W) float32 but pixels, uint8 (N, H, W, 3) RGB, and the graph normalises them.
    metadata: strings that stand in the file. name: of the graph.
    Errors: ExportError naming what cannot be exported and where, and those of the model for a `shape` that does not fit.
    """
    try:
        import onnx
    except ImportError:
        raise ExportError(f"export: writing an ONNX file takes onnx\n  fix: {ONNX_PIP_LINE}") from None
    if kind not in OUTPUT_KINDS:
        raise ExportError(f"export: an output of kind {kind!r} is not known; there are {', '.join(OUTPUT_KINDS)}")
    if prepare is not None and shape[0] != 3:
        raise ExportError(f"export: pixels are red, green and blue, but the network takes {shape[0]} channels")
    if dynamic:
        recording, least = record_for_all_sizes(model, BATCH, shape[0])
    else:
        recording, least = record(model, (BATCH, *shape)), None
    check_batches(recording)

    graph = Graph()
    image = declare_image(recording.image, dynamic)
    outputs = {output_name(key, kind, recording): value for key, value in recording.outputs.items()}
    graph.taken |= {IMAGE, *outputs}
    graph.names[recording.image] = IMAGE
    if prepare is not None:
        image = declare_pixels(recording.image, dynamic)
        graph.names[recording.image] = prepared(graph, prepare)
    for call in recording.calls:
        graph.names[call.output] = apply_rule(graph, call)
    declared = [finish(graph, key, value, kind) for key, value in outputs.items()]

    proto = onnx.helper.make_graph(graph.nodes, name or type(model).__name__, [image], declared)
    opset = onnx.helper.make_opsetid("", OPSET)
    whole = onnx.helper.make_model(proto, opset_imports=[opset], ir_version=IR_VERSION, producer_name="scratchfcn")
    onnx.helper.set_model_props(whole, dict(metadata or {}))
    return OnnxNetwork(whole, graph.arrays, least)


def check_batches(recording: Recording) -> None:
    """Each image of a batch gets an answer of its own."""
    for name, value in recording.outputs.items():
        if value.shape[:1] != (BATCH,):
            what = f"output {name!r}" if name else "output"
            raise ExportError(
                f"export: for {BATCH} images the network's {what} has shape {value.shape}; it must have a row for each"
            )


# --- what goes in -----------------------------------------------------------------------------------------


def declare_image(value: Value, dynamic: bool) -> Any:
    """float32 (N, C, H, W)."""
    from onnx import TensorProto, helper

    _, C, H, W = value.shape
    sizes = ("height", "width") if dynamic else (H, W)
    return helper.make_tensor_value_info(IMAGE, TensorProto.FLOAT, ("batch", C, *sizes))


def declare_pixels(value: Value, dynamic: bool) -> Any:
    """uint8 (N, H, W, 3): what image libraries read."""
    from onnx import TensorProto, helper

    sizes = ("height", "width") if dynamic else value.shape[2:]
    return helper.make_tensor_value_info(IMAGE, TensorProto.UINT8, ("batch", *sizes, 3))


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
    """Give a value the name of an output: that of the node's output that made it, or, where others use it, too, a copy."""
    from onnx import helper

    known = graph.names[value]
    users = [node for node in graph.nodes if known in node.input]
    maker = next((node for node in graph.nodes if known in node.output), None)
    if maker is None or users or list(graph.names.values()).count(known) > 1:
        graph.nodes.append(helper.make_node("Identity", [known], [name], name))
    else:
        maker.output[0] = name
        graph.names[value] = name
