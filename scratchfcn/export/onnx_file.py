"""An ONNX file, written piece by piece.

The file is a protobuf message: fields, one after the other, each a tag (which field, of what kind), a length, and so
many bytes. A message within a message is such a field; so are an array's numbers. onnx's own `save` builds all of it in
memory first, the weights twice more than they are there already, and half a gigabyte of VGG16 becomes one and a half.
Here nodes and names go through the library, and the weights go from where they lie straight into the file: all that has
to be known beforehand is how many bytes there will be.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from .recording import ExportError

LENGTH_DELIMITED = 2  # the kind of a field that is a length and so many bytes
MOST = 2**31 - 1  # bytes of a protobuf message


def save(model: Any, arrays: Mapping[str, np.ndarray], path: str | Path) -> None:
    """Write an onnx.ModelProto, whose graph has no initialisers, with `arrays` as its initialisers.

    Errors: ExportError for more than 2 GiB, which the format cannot hold; OSError from the disk.
    """
    import onnx

    graph = model.graph.SerializeToString()
    around = onnx.ModelProto()
    around.CopyFrom(model)
    around.ClearField("graph")
    heads = {name: tensor_head(name, array) for name, array in arrays.items()}
    sizes = {name: len(heads[name]) + array.nbytes for name, array in arrays.items()}
    initializer = tag(onnx.GraphProto, "initializer")
    length = len(graph) + sum(len(initializer) + len(varint(n)) + n for n in sizes.values())
    if length + len(around.SerializeToString()) > MOST - 100:
        raise ExportError(
            f"export: the network has {length / 2**30:.2f} GiB of weights; an ONNX file holds less than 2"
        )
    with open(path, "wb") as file:
        file.write(around.SerializeToString())
        file.write(tag(onnx.ModelProto, "graph") + varint(length) + graph)
        for name, array in arrays.items():
            file.write(initializer + varint(sizes[name]) + heads[name])
            write_numbers(file, array)


def tensor_head(name: str, array: np.ndarray) -> bytes:
    """An onnx.TensorProto up to its numbers: name, shape, type, and how many bytes follow."""
    import onnx

    kind = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
    head = onnx.TensorProto(name=name, dims=array.shape, data_type=kind)
    return head.SerializeToString() + tag(onnx.TensorProto, "raw_data") + varint(array.nbytes)


def write_numbers(file: IO[bytes], array: np.ndarray) -> None:
    """The array's bytes in reading order, low bytes first, as the format has them."""
    numbers = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    file.write(numbers.reshape(-1).view(np.uint8).data)


def tag(message: Any, field: str) -> bytes:
    """The bytes that announce a field of a message."""
    return varint(message.DESCRIPTOR.fields_by_name[field].number << 3 | LENGTH_DELIMITED)


def varint(number: int) -> bytes:
    """A whole number in as many bytes as it needs: seven bits in each, the eighth says that another follows."""
    pieces = []
    while number > 127:
        pieces.append(number & 127 | 128)
        number >>= 7
    return bytes([*pieces, number])
