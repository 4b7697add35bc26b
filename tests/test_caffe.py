"""Caffe's files: read by our few lines of schema, written here by a fuller one, and once byte by byte."""

import struct
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torchvision_reference import torchvision

import scratchfcn as sf
from scratchfcn.caffe import FCN_VGG16_NAMES, VGG16_NAMES, read_net
from scratchfcn.models import FCN, VGG16, FCN8s, FCN16s, FCN32s
from scratchfcn.surgery import transplant
from scratchfcn.weights import CheckpointError, load

# --- writing such files: as Caffe declares them, numbers as numbers, and with fields that are not read --------

PROTO = {
    "BlobShape": "dim 1 int64 packed",
    "BlobProto": "num 1 int32, channels 2 int32, height 3 int32, width 4 int32, data 5 float packed, "
    "diff 6 float packed, shape 7 BlobShape, double_data 8 double packed, double_diff 9 double packed",
    "ConvolutionParameter": "num_output 1 uint32, pad 3 uint32 repeated",
    "LayerParameter": "name 1 string, type 2 string, bottom 3 string repeated, blobs 7 BlobProto repeated, "
    "convolution_param 106 ConvolutionParameter",
    "V0LayerParameter": "name 1 string, type 2 string, blobs 50 BlobProto repeated",
    "V1LayerParameter": "layer 1 V0LayerParameter, bottom 2 string repeated, name 4 string, type 5 int32, "
    "blobs 6 BlobProto repeated, blobs_lr 7 float repeated",
    "NetParameter": "name 1 string, layers 2 V1LayerParameter repeated, force_backward 5 bool, "
    "layer 100 LayerParameter repeated",
}


def message_classes() -> dict[str, Any]:
    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="written.proto", package="caffe", syntax="proto2")
    for message, fields in PROTO.items():
        entry = file.message_type.add(name=message)
        for field in fields.split(", "):
            name, number, kind, *flags = field.split()
            line = entry.field.add(name=name, number=int(number))
            line.label = kinds.LABEL_REPEATED if flags else kinds.LABEL_OPTIONAL
            line.options.packed = "packed" in flags
            if kind in PROTO:
                line.type, line.type_name = kinds.TYPE_MESSAGE, f".caffe.{kind}"
            else:
                line.type = getattr(kinds, f"TYPE_{kind.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"caffe.{name}")) for name in PROTO}


CAFFE = message_classes()
NUMBERS = np.random.default_rng(0)
Fields = dict[str, Any]


def blob(x: Any, legacy: bool = False, double: bool = False) -> Fields:
    """The fields of a BlobProto; `legacy` says the shape as four sizes, padded in front."""
    x = np.asarray(x, np.float64)
    numbers = {"double_data" if double else "data": x.ravel()}
    if legacy:
        return numbers | dict(zip(("num", "channels", "height", "width"), (1,) * (4 - x.ndim) + x.shape, strict=True))
    return numbers | {"shape": {"dim": x.shape}}


def write(path: Path, layer: Sequence[Fields] = (), layers: Sequence[Fields] = (), **net: Any) -> Path:
    path.write_bytes(CAFFE["NetParameter"](layer=layer, layers=layers, **net).SerializeToString())
    return path


def layer(name: str, kind: str | int, *blobs: Fields, **more: Any) -> Fields:
    return {"name": name, "type": kind, "blobs": blobs, **more}


def normal(*shape: int) -> np.ndarray:
    return NUMBERS.normal(size=shape).astype(np.float32)


def check(arrays: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert {name: x.shape for name, x in arrays.items()} == {name: x.shape for name, x in expected.items()}
    for name, x in arrays.items():
        assert x.dtype == np.float32
        assert x.flags.writeable
        np.testing.assert_array_equal(x, expected[name].astype(np.float32))


# --- what is read -----------------------------------------------------------------------------------------


# By hand: a field begins with number * 8 + kind. Kind 0 is a whole number, 2 a length and that many bytes.


def whole(number: int) -> bytes:
    """Seven bits to a byte, the lowest first; the eighth bit says that more follow."""
    return bytes([number]) if number < 128 else bytes([number % 128 + 128]) + whole(number // 128)


def number(field: int, value: int) -> bytes:
    return whole(field * 8 + 0) + whole(value)


def string(field: int, content: bytes) -> bytes:
    return whole(field * 8 + 2) + whole(len(content)) + content


def test_a_file_put_together_by_hand(tmp_path: Path) -> None:
    weight = string(7, string(1, whole(2) + whole(1) + whole(1) + whole(2))) + string(5, struct.pack("<4f", 1, 2, 3, 4))
    bias = string(5, struct.pack("<2f", -1, 0.5)) + string(7, string(1, whole(2)))
    today = string(1, b"conv") + string(2, b"Convolution") + string(7, weight) + string(7, bias)
    sizes = number(1, 1) + number(2, 1) + number(3, 2) + number(4, 200)
    older = string(4, b"fc") + number(5, 14) + string(6, sizes + string(5, struct.pack("<400f", *range(400))))
    content = string(1, b"by hand") + string(2, older) + number(5, 1) + string(100, today)
    assert content[:10] == b"\x0a\x07by hand\x12"

    (tmp_path / "w.caffemodel").write_bytes(content)
    checkpoint = load(tmp_path / "w.caffemodel")
    check(
        checkpoint.arrays,
        {
            "conv.weight": np.array([[[[1, 2]]], [[[3, 4]]]]),
            "conv.bias": np.array([-1, 0.5]),
            "fc.weight": np.arange(400).reshape(2, 200),
        },
    )
    assert checkpoint.metadata == {"net": "by hand", "layers": {"conv": "Convolution", "fc": "InnerProduct"}}
    written = write(
        tmp_path / "written.caffemodel",
        [layer("conv", "Convolution", blob([[[[1, 2]]], [[[3, 4]]]]), blob([-1, 0.5]))],
        [layer("fc", 14, blob(np.arange(400).reshape(2, 200), legacy=True))],
        name="by hand",
        force_backward=True,
    )
    assert sorted(written.read_bytes()) == sorted(content)  # the same fields, in another order


@pytest.mark.parametrize("double", [False, True])
def test_layers_of_today(tmp_path: Path, double: bool) -> None:
    weight, bias, matrix, odd = normal(4, 3, 5, 2), normal(4), normal(6, 20), normal(2, 2)
    path = write(
        tmp_path / "w.caffemodel",
        [
            layer("data", "Python"),
            layer("data", "Python"),  # one for training, one for testing
            layer(
                "inception_3a/1x1",
                "Convolution",
                blob(weight, double=double) | {"diff": np.ones(weight.size)},
                blob(bias, double=double),
                bottom=["data"],
                convolution_param={"num_output": 4, "pad": [100]},
            ),
            layer("fc", "InnerProduct", blob(matrix, double=double)),
            layer("many", "Recurrent", *[blob(odd + i, double=double) for i in range(4)]),
            layer("scalar", "Scale", blob(2.5, double=double)),
        ],
        name="GoogLeNet",
    )
    checkpoint = load(path)
    expected = {"inception_3a/1x1.weight": weight, "inception_3a/1x1.bias": bias, "fc.weight": matrix}
    expected |= {"many.weight": odd, "many.bias": odd + 1, "many.2": odd + 2, "many.3": odd + 3}
    check(checkpoint.arrays, expected | {"scalar.weight": np.array(2.5)})
    assert checkpoint.metadata["net"] == "GoogLeNet"
    assert checkpoint.metadata["layers"] == {
        "inception_3a/1x1": "Convolution",
        "fc": "InnerProduct",
        "many": "Recurrent",
        "scalar": "Scale",
    }


@pytest.mark.parametrize("v1", [False, True], ids=["upgraded", "V1"])
def test_older_files_say_four_sizes_of_everything(tmp_path: Path, v1: bool) -> None:
    """Tools that bring an old file up to date rewrite its layers but not its blobs: both kinds hold such sizes."""
    expected = {
        "conv.weight": normal(4, 3, 2, 2),
        "conv.bias": normal(4),
        "one.weight": normal(1, 1, 3, 5),  # a kernel, whose leading ones are no padding
        "one.bias": normal(1),
        "row.weight": normal(1, 1, 1, 5),
        "fc.weight": normal(5, 7),
        "fc.bias": normal(5),
        "binary.weight": normal(1, 7),
        "up.weight": normal(2, 2, 4, 4),
    }
    types = {
        "conv": ("Convolution", 4),
        "one": ("Convolution", 4),
        "row": ("Convolution", 4),
        "fc": ("InnerProduct", 14),
    }
    types |= {"binary": ("InnerProduct", 14), "up": ("Deconvolution", 39)}
    made = [
        layer(name, kinds[v1], *[blob(x, legacy=True) for n, x in expected.items() if n.startswith(f"{name}.")])
        for name, kinds in types.items()
    ]
    checkpoint = load(write(tmp_path / "w.caffemodel", **{"layers" if v1 else "layer": made}))
    check(checkpoint.arrays, expected)
    assert checkpoint.metadata == {"net": "", "layers": {name: kinds[0] for name, kinds in types.items()}}


def test_a_v1_layer_of_another_type_keeps_its_number(tmp_path: Path) -> None:
    path = write(tmp_path / "w.caffemodel", layers=[layer("odd", 18, blob(normal(2, 3, 1, 1), legacy=True))])
    assert load(path).metadata["layers"] == {"odd": "V1 type 18"}


@pytest.mark.parametrize("total", [0.0, 1.0, 999.98])
def test_batch_norm_statistics_are_divided_by_their_total(tmp_path: Path, total: float) -> None:
    mean, variance, gamma, beta = normal(6), normal(6) ** 2 + 0.5, normal(6), normal(6)
    path = write(
        tmp_path / "w.caffemodel",
        [
            layer("bn_conv1", "BatchNorm", blob(mean * total), blob(variance * total), blob([total])),
            layer("scale_conv1", "Scale", blob(gamma), blob(beta)),
        ],
    )
    arrays = load(path).arrays
    assert list(arrays) == ["bn_conv1.running_mean", "bn_conv1.running_var", "scale_conv1.weight", "scale_conv1.bias"]
    np.testing.assert_allclose(arrays["bn_conv1.running_mean"], mean * (total > 0), rtol=1e-6)
    np.testing.assert_allclose(arrays["bn_conv1.running_var"], variance * (total > 0), rtol=1e-6)

    norm = sf.nn.BatchNorm2d(6).eval()  # the two layers are one of ours
    report = transplant(norm, arrays, rename={"bn_conv1": "", "scale_conv1": ""}, strict=True)
    assert report.missing == ["num_batches_tracked"]
    x = np.random.default_rng(1).normal(size=(2, 6, 3, 4)).astype(np.float32)
    theirs = torch.nn.functional.batch_norm(
        torch.tensor(x),
        *[torch.tensor(a * (total > 0)) for a in (mean, variance)],
        torch.tensor(gamma),
        torch.tensor(beta),
    )
    np.testing.assert_allclose(norm(sf.Tensor(x)).numpy(), theirs.numpy(), rtol=1e-4, atol=1e-4)


def test_batch_norm_of_another_kind_of_caffe_is_only_numbered(tmp_path: Path) -> None:
    path = write(tmp_path / "w.caffemodel", [layer("bn", "BatchNorm", *[blob(normal(3)) for _ in range(5)])])
    assert list(load(path).arrays) == ["bn.weight", "bn.bias", "bn.2", "bn.3", "bn.4"]


def test_numbers_in_several_pieces_are_put_together(tmp_path: Path) -> None:
    """Protocol buffers allow a list to be written in pieces."""
    pieces = (
        string(5, struct.pack("<2f", 1, 2)) + string(7, string(1, whole(5))) + string(5, struct.pack("<3f", 3, 4, 5))
    )
    (tmp_path / "w.caffemodel").write_bytes(string(100, string(1, b"fc") + string(7, pieces)))
    check(load(tmp_path / "w.caffemodel").arrays, {"fc.weight": np.arange(1, 6)})


@given(hnp.arrays(np.float32, hnp.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=4)), st.text(min_size=1))
def test_any_shape_number_and_name_comes_back(
    tmp_path_factory: pytest.TempPathFactory, x: np.ndarray, name: str
) -> None:
    path = write(
        tmp_path_factory.getbasetemp() / "any.caffemodel",
        [layer(name, "Any", {"data": x.ravel(), "shape": {"dim": x.shape}})],
    )
    arrays, metadata = read_net(path)
    assert list(arrays) == [f"{name}.weight"]
    np.testing.assert_array_equal(arrays[f"{name}.weight"], x)
    assert arrays[f"{name}.weight"].shape == x.shape
    assert metadata["layers"] == {name: "Any"}


# --- VGG16's names ----------------------------------------------------------------------------------------

VGG16_CONVS = ["1_1", "1_2", "2_1", "2_2", "3_1", "3_2", "3_3", "4_1", "4_2", "4_3", "5_1", "5_2", "5_3"]
VGG16_LAYERS = [f"conv{number}" for number in VGG16_CONVS] + ["fc6", "fc7", "fc8"]


def test_vgg16_names_are_torchvisions_in_the_same_order() -> None:
    with torch.device("meta"):  # names and shapes, no numbers
        theirs = torchvision.models.vgg16().state_dict()
    assert list(VGG16_NAMES) == VGG16_LAYERS
    assert [f"{ours}.{what}" for ours in VGG16_NAMES.values() for what in ("weight", "bias")] == list(theirs)


def test_fcn_names_lead_into_the_backbone() -> None:
    ours = [f"backbone.{name}" for name in VGG16().state_dict()]
    assert [f"{name}.{what}" for name in FCN_VGG16_NAMES.values() for what in ("weight", "bias")] == ours
    assert list(FCN_VGG16_NAMES) == VGG16_LAYERS[:-3]


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> VGG16:
    """VGG16's layers with few channels: names need no 134 million numbers."""
    monkeypatch.setattr("scratchfcn.models.vgg.STAGES", ((2, 2), (2, 2), (2, 2, 2), (3, 3, 3), (3, 3, 3)))
    backbone = VGG16()
    backbone.channels = (2, 3, 3)
    backbone.head["width"] = 4
    return backbone


@pytest.mark.parametrize(
    ("kind", "heads"),
    [
        (FCN32s, ["upscore"]),
        (FCN16s, ["score_pool4", "upscore2", "upscore16"]),
        (FCN8s, ["score_pool4", "score_pool3", "upscore2", "upscore_pool4", "upscore8"]),
    ],
)
def test_a_reference_fcn_fills_ours_completely(
    tmp_path: Path, narrow: VGG16, kind: type[FCN], heads: list[str]
) -> None:
    model = kind(narrow, num_classes=5)
    own = model.state_dict()
    caffe_names = {ours: caffe for caffe, ours in FCN_VGG16_NAMES.items()}
    given = {}
    for name in own:
        head, _, what = name.rpartition(".")
        given.setdefault(caffe_names.get(head, head), {})[what] = normal(*own[name].shape)
    assert list(given) == [*VGG16_LAYERS[:-1], "score_fr", *heads]
    made = [
        layer(name, "Deconvolution" if "up" in name else "Convolution", *map(blob, arrays.values()))
        for name, arrays in given.items()
    ]
    report = transplant(
        model, load(write(tmp_path / "fcn.caffemodel", made)).arrays, rename=FCN_VGG16_NAMES, strict=True
    )
    assert len(report.copied) == len(own)
    for name, x in own.items():
        head, _, what = name.rpartition(".")
        np.testing.assert_array_equal(x, given[caffe_names.get(head, head)][what])


def test_a_vgg16_becomes_an_fcn(tmp_path: Path, narrow: VGG16) -> None:
    """The old file format, V1 layers and four sizes: what the paper started from."""
    model = FCN32s(narrow, num_classes=5)
    own = model.state_dict()
    made, given = [], {"fc8.weight": normal(10, 4), "fc8.bias": normal(10)}
    for name in VGG16_LAYERS[:-1]:
        for what in ("weight", "bias"):
            x = normal(*own[f"{FCN_VGG16_NAMES.get(name, name)}.{what}"].shape)
            given[f"{name}.{what}"] = x.reshape(4, -1) if name.startswith("fc") and what == "weight" else x
    for name in VGG16_LAYERS:
        blobs = [blob(given[f"{name}.{what}"], legacy=True) for what in ("weight", "bias")]
        made.append(layer(name, 14 if name.startswith("fc") else 4, *blobs))
    arrays = load(write(tmp_path / "vgg.caffemodel", layers=made)).arrays
    check(arrays, {name: given[name] for name in arrays})

    report = transplant(model, arrays, rename=FCN_VGG16_NAMES)
    assert [name for name, *_ in report.reshaped] == ["fc6.weight", "fc7.weight"]
    assert [name for name, _ in report.skipped] == ["fc8.weight", "fc8.bias"]
    assert report.missing == ["score_fr.weight", "score_fr.bias", "upscore.weight"]
    np.testing.assert_array_equal(own["fc6.weight"], given["fc6.weight"].reshape(4, 3, 7, 7))
    np.testing.assert_array_equal(own["backbone.features.28.bias"], given["conv5_3.bias"])


# --- files that are no good -------------------------------------------------------------------------------


def refusal(path: Path) -> str:
    with pytest.raises(CheckpointError) as error:
        load(path)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n  fix: " in str(error.value)
    return str(error.value)


def test_a_prototxt_by_mistake(tmp_path: Path) -> None:
    text = 'name: "FCN"  # Übung\nlayer {\r\n\tname: "data"\n  type: "Python"\n}\n' * 200
    (tmp_path / "fcn.caffemodel").write_text(text)
    assert "describes a Caffe net and holds no weights\n  fix: name the .caffemodel" in refusal(
        tmp_path / "fcn.caffemodel"
    )
    (tmp_path / "fcn.prototxt").write_text(text)
    with pytest.raises(CheckpointError, match=r"'\.prototxt' is no known kind; known are .*\.caffemodel"):
        load(tmp_path / "fcn.prototxt")


def test_a_file_cut_anywhere_is_refused_or_lacks_whole_layers(tmp_path: Path) -> None:
    made = [layer(f"conv{i}", "Convolution", blob(normal(3, 2, 3, 3)), blob(normal(3))) for i in range(3)]
    path = write(tmp_path / "w.caffemodel", made, name="net")
    content, whole = path.read_bytes(), load(path).arrays
    messages = set()
    for length in range(1, len(content)):
        path.write_bytes(content[:length])
        try:
            arrays = load(path).arrays
        except CheckpointError as error:
            messages.add(
                "cut short" if "cut short, damaged" in str(error) else str(error).splitlines()[0][len(str(path)) :]
            )
        else:
            assert len(arrays) in (2, 4)  # the cut is between two layers, and nothing in the file says how many
            check(arrays, {name: whole[name] for name in arrays})
    assert messages == {
        "cut short",
        ": holds no weights: no Caffe net, or one that was only described and never trained",
    }


def test_damaged_bytes_never_end_in_another_exception(tmp_path: Path) -> None:
    made = [layer("conv", "Convolution", blob(normal(2, 1, 2, 2)), blob(normal(2), legacy=True))]
    path = write(tmp_path / "w.caffemodel", made, [layer("fc", 14, blob(normal(3, 2), legacy=True))], name="net")
    content, rng, refused = path.read_bytes(), np.random.default_rng(0), 0
    for _ in range(1000):
        damaged = bytearray(content)
        for place in rng.integers(0, len(content), 2):
            damaged[place] = rng.integers(0, 256)
        path.write_bytes(damaged)
        try:
            load(path)
        except CheckpointError:
            refused += 1
    assert refused > 200  # a changed number is no reason to refuse


@pytest.mark.parametrize(
    "wrong",
    [
        {"data": [1, 2, 3], "shape": {"dim": [2, 2]}},
        {"data": [1, 2, 3, 4], "shape": {"dim": [-2, -2]}},
        {"data": [], "shape": {"dim": [1 << 40, 1 << 40]}},
        {"data": [1, 2], "num": 1, "channels": 1, "height": 1, "width": 3},
        {"double_data": [1, 2], "shape": {"dim": [4]}},
        {"data": [1, 2]},
    ],
)
def test_a_shape_and_numbers_that_disagree(tmp_path: Path, wrong: dict[str, Any]) -> None:
    path = write(tmp_path / "w.caffemodel", [layer("conv", "Convolution", blob([1.0]), wrong)])
    assert "conv, blob 1: its shape" in refusal(path)


def test_nets_that_hold_no_weights_or_in_the_oldest_format_or_names_twice(tmp_path: Path) -> None:
    path = tmp_path / "w.caffemodel"
    assert "holds no weights" in refusal(write(path, [layer("data", "Python")], name="net"))
    v0 = {"layer": {"name": "conv", "type": "conv", "blobs": [blob(normal(1, 1, 2, 2), legacy=True)]}}
    assert "oldest format (V0)" in refusal(write(path, layers=[v0]))
    twice = [layer("conv", "Convolution", blob([1.0])), layer("conv", "Convolution", blob([2.0]))]
    assert "weights of two layers named 'conv'" in refusal(write(path, twice))


def test_without_protobuf_the_pip_line_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "w.caffemodel", [layer("conv", "Convolution", blob([1.0]))])
    monkeypatch.setitem(sys.modules, "google.protobuf", None)
    assert 'takes protobuf\n  fix: pip install -e ".[caffe]"' in refusal(path)
