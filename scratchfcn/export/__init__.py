"""Taking a trained network elsewhere: an ONNX file that other programs run, or its weights alone.

Read in this order: `recording` (the network as a list of ops), `rules` (what each op is in ONNX), `graph`, `to_onnx`;
then `steps` and `sizes` (one file for images of any size), `onnx_file` (how it gets onto the disk) and `check` (is it
the same?).
"""

from .graph import IR_VERSION, OPSET, Graph
from .recording import Call, Constant, ExportError, Recording, Value, record
from .rules import RULES
from .to_onnx import OUTPUT_KINDS, OnnxNetwork, to_onnx

__all__ = [
    "IR_VERSION",
    "OPSET",
    "OUTPUT_KINDS",
    "RULES",
    "Call",
    "Constant",
    "ExportError",
    "Graph",
    "OnnxNetwork",
    "Recording",
    "Value",
    "record",
    "to_onnx",
]
