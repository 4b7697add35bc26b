"""Caffe's weights: what is in a .caffemodel file, and what VGG16's layers are called there.

The paper's nets were made with Caffe, which saves a net as a *protocol buffer*. Such a file is a list of
fields. Each begins with a number and a kind; the kind says where the field ends, the number what it is. A
field can hold fields in turn. What the numbers mean is not in the file but in a schema, and ours has only
those that lead to the weights:

    the net                 name, and a list of layers
      a layer               name, type, and its arrays, called blobs: weight and bias
        a blob              shape, and the numbers in C order

The library protobuf finds its way by the schema and passes over all other fields. There is nothing in such a
file that could run.

Two things to know before using the weights. Caffe's image nets take blue, green, red from 0 to 255, minus the
mean, not red, green, blue from 0 to 1: a first convolution reads colours the usual way round as
`weight[:, ::-1]`. And a file that was cut between two layers looks whole, because nothing in it says how many
there should be: `transplant(…, strict=True)` notices.

Source: caffe.proto, blob.cpp and batch_norm_layer.cpp of BVLC/caffe.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

# Caffe's VGG16 → torchvision's, for use as transplant's `rename`
VGG16_NAMES = {
    "conv1_1": "features.0",
    "conv1_2": "features.2",
    "conv2_1": "features.5",
    "conv2_2": "features.7",
    "conv3_1": "features.10",
    "conv3_2": "features.12",
    "conv3_3": "features.14",
    "conv4_1": "features.17",
    "conv4_2": "features.19",
    "conv4_3": "features.21",
    "conv5_1": "features.24",
    "conv5_2": "features.26",
    "conv5_3": "features.28",
    "fc6": "classifier.0",
    "fc7": "classifier.3",
    "fc8": "classifier.6",
}

# Caffe's VGG16, or the reference FCNs made of it → ours: fc6, fc7, score_… and upscore… are called the same
FCN_VGG16_NAMES = {caffe: f"backbone.{ours}" for caffe, ours in VGG16_NAMES.items() if ours.startswith("features")}

# message → its fields: name, number, type ("*": any number of them)
SCHEMA = {
    "NetParameter": [("name", 1, "bytes"), ("layers", 2, "V1LayerParameter*"), ("layer", 100, "LayerParameter*")],
    "LayerParameter": [("name", 1, "bytes"), ("type", 2, "bytes"), ("blobs", 7, "BlobProto*")],
    "V1LayerParameter": [  # what a layer is in older files; `v0` is what it was in the oldest
        ("v0", 1, "bytes"),
        ("name", 4, "bytes"),
        ("type", 5, "int64"),
        ("blobs", 6, "BlobProto*"),
    ],
    "BlobProto": [
        # A packed list of floats is written as one string of bytes. To declare it as what it is would make a
        # Python object of each of VGG16's 138 million numbers (in older versions of protobuf); as bytes NumPy reads it.
        ("data", 5, "bytes*"),
        ("double_data", 8, "bytes*"),
        ("shape", 7, "BlobShape"),
        ("num", 1, "int64"),  # these four are the shape in older files
        ("channels", 2, "int64"),
        ("height", 3, "int64"),
        ("width", 4, "int64"),
    ],
    "BlobShape": [("dim", 1, "int64*")],
}
V1_TYPES = {4: "Convolution", 14: "InnerProduct", 39: "Deconvolution"}  # those of V1's layers that have weights


def read_net(path: str | Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The weights in a .caffemodel file, by name, float32; and {"net": its name, "layers": {name: type}}.

    A layer's first blob is called "conv1_1.weight", its second "conv1_1.bias", further ones "conv1_1.2" and so
    on. Of a BatchNorm layer they are "running_mean" and "running_var". Shapes are torch's.
    Errors: ImportError without protobuf; ValueError where the file is a net without weights that can be read,
    other exceptions from protobuf where it is none.
    """
    net = parse(Path(path).read_bytes())
    arrays: dict[str, np.ndarray] = {}
    types: dict[str, str] = {}
    for layer in (*net.layer, *net.layers):
        if layer.blobs:
            name, kind = text(layer.name), layer_type(layer)
            if name in types:
                raise ValueError(
                    f"has weights of two layers named {name!r}, and here only names tell layers apart\n"
                    "  fix: rename one in the net's .prototxt, and save it with Caffe again"
                )
            types[name] = kind
            arrays |= {f"{name}.{key}": x for key, x in layer_arrays(name, kind, layer.blobs).items()}
    if not arrays:
        raise ValueError(
            "holds no weights: no Caffe net, or one that was only described and never trained\n"
            "  fix: name the .caffemodel that training wrote"
        )
    return arrays, {"net": text(net.name), "layers": types}


def parse(content: bytes) -> Any:
    """A file's content as a NetParameter."""
    if is_text(content[:4096]):
        raise ValueError(
            "is text, as is a .prototxt, which describes a Caffe net and holds no weights\n"
            "  fix: name the .caffemodel that belongs to it"
        )
    net = message_class("NetParameter").FromString(content)
    if any(layer.HasField("v0") for layer in net.layers):
        raise ValueError(
            "is a Caffe net in the oldest format (V0), which is not read\n"
            "  fix: convert it with Caffe's tool upgrade_net_proto_binary"
        )
    return net


def is_text(start: bytes) -> bool:
    """Whether a file that starts so is text: a net's layers are numbered with bytes that no text has."""
    return bool(start.strip()) and all(byte >= 32 or byte in b"\t\n\r" for byte in start)


def text(name: bytes) -> str:
    """A name as Python has it; a byte that is no UTF-8 must not keep the weights from being read."""
    return name.decode("utf-8", "replace")


def layer_type(layer: Any) -> str:
    """A layer's type in today's words; older files number them."""
    return text(layer.type) if isinstance(layer.type, bytes) else V1_TYPES.get(layer.type, f"V1 type {layer.type}")


def layer_arrays(layer: str, kind: str, blobs: Any) -> dict[str, np.ndarray]:
    """A layer's arrays by what torch calls them."""
    arrays = [blob_array(f"{layer}, blob {i}", blob, blob_shape(kind, i, blob)) for i, blob in enumerate(blobs)]
    if kind == "BatchNorm" and [x.size for x in arrays[2:]] == [1]:
        # Both statistics are sums with decaying weights, and the third blob is the sum of these weights.
        mean, variance, total = arrays
        scale = np.float32(1) / total.reshape(()) if total.any() else np.float32(0)
        return {"running_mean": mean * scale, "running_var": variance * scale}
    names = ["weight", "bias", *map(str, range(2, len(arrays)))]
    return dict(zip(names, arrays, strict=False))


def blob_shape(kind: str, i: int, blob: Any) -> tuple[int, ...]:
    """The shape of a layer's blob i. Older files say four sizes of every blob; the ones that pad them go."""
    if not any(blob.HasField(size) for size in ("num", "channels", "height", "width")):
        return tuple(blob.shape.dim)
    shape = (blob.num, blob.channels, blob.height, blob.width)
    if i == 0 and kind == "InnerProduct" and shape[:2] == (1, 1):
        return shape[2:]  # (1, 1, OUT, IN) → (OUT, IN)
    if i > 0 and shape[:3] == (1, 1, 1):
        return shape[3:]  # (1, 1, 1, OC) → (OC,)
    return shape


def blob_array(what: str, blob: Any, shape: tuple[int, ...]) -> np.ndarray:
    """A blob's numbers as float32; `what` names it in errors."""
    chunks, dtype = (blob.double_data, np.dtype("<f8")) if blob.double_data else (blob.data, np.dtype("<f4"))
    content = b"".join(chunks)
    if len(content) != math.prod(shape) * dtype.itemsize or min(shape, default=0) < 0:
        raise ValueError(
            f"{what}: its shape {shape} does not go with {len(content)} bytes of {dtype.name}; the file is damaged\n"
            "  fix: copy or download it again"
        )
    return np.frombuffer(content, dtype).astype(np.float32).reshape(shape)


def message_class(name: str) -> Any:
    """The class that reads message `name` of SCHEMA.

    Usually such classes are generated from a schema file beforehand, by the program protoc; here they are made
    on the spot.
    """
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    file = descriptor_pb2.FileDescriptorProto(name="caffe.proto", package="caffe", syntax="proto2")
    for message, fields in SCHEMA.items():
        entry = file.message_type.add(name=message)
        for field, number, kind in fields:
            repeated, kind = kind.endswith("*"), kind.removesuffix("*")
            line = entry.field.add(name=field, number=number)
            line.label = line.LABEL_REPEATED if repeated else line.LABEL_OPTIONAL
            if kind in SCHEMA:
                line.type, line.type_name = line.TYPE_MESSAGE, f".caffe.{kind}"
            else:
                line.type = line.TYPE_BYTES if kind == "bytes" else line.TYPE_INT64
    pool = descriptor_pool.DescriptorPool()  # of our own: somebody else's caffe.proto may be loaded as well
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"caffe.{name}"))
