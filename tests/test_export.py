"""Exporting a trained network: the file, what stands in it, how it is checked, and what is said when it cannot be."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx_tools import TOLERANCE, check, file_of, own, randomise, run_file, run_reference, worst
from shared_data import shared_data
from typer.testing import CliRunner, Result

import scratchfcn as sf
from scratchfcn import models, nn, ops
from scratchfcn.cli import app
from scratchfcn.data import (
    CAFFE_MEAN,
    CAFFE_STD,
    Classes,
    Normalise,
    read_image,
    read_label,
    resize_image,
    resize_label,
)
from scratchfcn.export import RULES, ExportError, onnx_file, to_onnx
from scratchfcn.export.check import compare, difference, open_session
from scratchfcn.export.recording import record
from scratchfcn.export.sizes import fill_rule, some_sizes
from scratchfcn.export.subject import by_name, from_network
from scratchfcn.export.write import write_onnx, write_weights
from scratchfcn.training import Network, load_network
from scratchfcn.weights import load, save


def run(*args: object) -> Result:
    return CliRunner().invoke(app, ["export", *map(str, args)], prog_name="scratchfcn")


def said(result: Result) -> str:
    """Everything the command printed, with line breaks as spaces."""
    return " ".join((result.output + (result.stderr or "")).split())


def refused(*args: object) -> str:
    result = run(*args)
    assert result.exit_code == 2, said(result)
    return said(result)


def numbers(*shape: int) -> np.ndarray:
    return np.random.default_rng(7).standard_normal(shape).astype(np.float32)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A small network as a run leaves it, with weights that mean something, for images of 60x44."""
    classes = Classes(("sky", "sea", "sand"), np.array([[0, 0, 255], [0, 128, 255], [255, 255, 0]]))
    network = Network.build("fcn8s_small", classes, size=(44, 60), batch_norm=True)
    randomise(network.model)
    path = tmp_path / "run" / "best.safetensors"
    save(path, network.model.state_dict(), network.metadata())
    return path


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    from PIL import Image

    path = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(3).integers(0, 256, (50, 70, 3), np.uint8)).save(path)
    return path


# --- the command ------------------------------------------------------------------------------------------


def test_a_runs_network_becomes_a_file_beside_it(checkpoint: Path, photo: Path) -> None:
    result = run("--weights", checkpoint, "--image", photo)
    assert result.exit_code == 0, said(result)
    for line in ("a random image of 60x44: at most", "the photograph at 60x44: at most", "✓ onnx.checker", "best.onnx"):
        assert line in said(result)
    assert "0.0e+00 of the largest" not in said(result)
    path = checkpoint.with_name("best.onnx")
    network = load_network(checkpoint)
    x = network.prepare(read_image(photo))
    assert worst(run_file(path, x)["scores"], own(network.model, x)) <= TOLERANCE
    assert "exists, and nothing is overwritten" in refused("--weights", checkpoint)
    assert sorted(each.name for each in path.parent.iterdir()) == ["best.onnx", "best.safetensors"]


def test_the_file_tells_what_must_be_known(checkpoint: Path) -> None:
    path = checkpoint.with_name("net.onnx")
    assert run("--weights", checkpoint, "--output", path, "--size", "32x40").exit_code == 0
    model = onnx.load(path)
    facts = {each.key: json.loads(each.value) for each in model.metadata_props}
    assert facts["model"] == "fcn8s_small"
    assert facts["options"] == {"batch_norm": True}
    assert facts["scratchfcn"] == sf.__version__
    assert facts["classes"] == ["sky", "sea", "sand"]
    assert facts["colours"] == [[0, 0, 255], [0, 128, 255], [255, 255, 0]]
    assert (facts["num_classes"], facts["ignore_index"]) == (3, 255)
    assert (facts["size"], facts["trained_size"]) == ([40, 32], [44, 60])
    assert (facts["mean"], facts["std"], facts["bgr"]) == ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225], False)
    assert (facts["input"], facts["output"]) == ("normalised", "scores")
    assert "float32 (N, 3, 40, 32), (RGB / 255 - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)" in model.doc_string
    assert "resized to 60x44" in model.doc_string
    assert (model.ir_version, model.opset_import[0].version) == (7, 13)
    assert dims(model.graph.input[0]) == ["batch", 3, 40, 32]
    assert dims(model.graph.output[0]) == ["batch", 3, 40, 32]


def dims(value: onnx.ValueInfoProto) -> list[int | str]:
    return [each.dim_param or each.dim_value for each in value.type.tensor_type.shape.dim]


def test_nodes_and_arrays_are_called_as_the_layers(checkpoint: Path) -> None:
    """So that Netron shows the paper's network. A layer's BatchNormalization stands by itself."""
    run("--weights", checkpoint, "--no-check")
    graph = onnx.load(checkpoint.with_name("best.onnx")).graph
    state = load(checkpoint).arrays
    arrays = {each.name: onnx.numpy_helper.to_array(each) for each in graph.initializer}
    weights = {name for name in state if not name.endswith("num_batches_tracked")}
    assert weights <= set(arrays)
    for name in weights:
        np.testing.assert_array_equal(arrays[name], state[name])
    nodes = {node.name: node.op_type for node in graph.node}
    layers = {"fc6": "Conv", "fc6.relu": "Relu", "score_fr": "Conv", "upscore2": "ConvTranspose", "score_pool4": "Conv"}
    layers |= {"backbone.stage1.1": "BatchNormalization", "backbone.stage1.4.max_pool2d": "MaxPool"}
    layers |= {
        "upscore2.crop": "Slice",
        "score_pool4.add": "Add",
        "upscore8": "ConvTranspose",
        "upscore8.crop": "Slice",
    }
    assert layers.items() <= nodes.items()
    assert graph.node[-1].output[0] == "scores"


def test_a_fresh_process_without_this_library_gets_the_same(checkpoint: Path, photo: Path, tmp_path: Path) -> None:
    """Pixels in, classes out: what somebody has to write who knows onnxruntime alone."""
    path = checkpoint.with_name("best.onnx")
    result = run("--weights", checkpoint, "--input", "pixels", "--output-kind", "classes", "--image", photo)
    assert result.exit_code == 0, said(result)
    code = (
        "import sys, numpy as np, onnxruntime\nfrom PIL import Image\n"
        f"image = np.asarray(Image.open({str(photo)!r}).resize((60, 44), Image.Resampling.BILINEAR))\n"
        f"session = onnxruntime.InferenceSession({str(path)!r})\n"
        "(classes,) = session.run(['classes'], {'image': image[None]})\n"
        "assert 'scratchfcn' not in sys.modules\n"
        f"np.save({str(tmp_path / 'classes.npy')!r}, classes)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)
    classes = np.load(tmp_path / "classes.npy")
    network = load_network(checkpoint)
    scores = own(network.model, network.prepare(read_image(photo)))
    assert (classes.shape, classes.dtype) == ((1, 44, 60), np.int64)
    assert (classes == scores.argmax(axis=1)).mean() > 0.999


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ((), "what to export? --weights"),
        (("--model", "fcn8s", "--format", "pth"), "--format 'pth' is not known; use onnx, npz, safetensors"),
        (("--model", "fcn8s", "--output", "net.pth"), "must end in .onnx or .npz or .safetensors"),
        (("--model", "fcn8s", "--format", "npz", "--output", "net.onnx"), "--output net.onnx must end in .npz"),
        (("--model", "fcn8s", "--format", "npz", "--size", "32"), "--size: for --format onnx only"),
        (("--model", "fcn8s", "--format", "npz", "--input", "pixels"), "--input: for --format onnx only"),
        (("--model", "fcn8s", "--size", "0x4"), "an image has at least one pixel"),
        (("--model", "fcn8s", "--input", "bytes"), "--input 'bytes' is not known; use normalised or pixels"),
        (("--model", "fcn8s", "--output-kind", "labels"), "use scores or probabilities or classes"),
        (("--model", "fcn8s", "--no-check", "--image", "a.png"), "leave out --no-check, or --image"),
        (("--model", "fcn8s", "--image", "a.png"), "a.png: no such file"),
        (("--model", "fcn9s"), "model 'fcn9s' is not known"),
        (("--model", "resnet18", "--recipe", "caffe"), "--recipe is for the paper's FCNs; resnet18 has none"),
        (("--model", "fcn8s_resnet18", "--recipe", "caffe"), "recipe 'caffe' is the paper's way"),
        (("--weights", "a.safetensors"), "a.safetensors: no such file"),
        (
            ("--weights", "a.safetensors", "--num-classes", 3),
            "--num-classes goes with --model; a.safetensors says",
        ),
        (("--model", "resnet18", "--dynamic", "--size", 20), "from 33x33 up; to check it, choose a larger one"),
        (("--model", "alexnet", "--dynamic"), "its windows depend on the size of the map"),
        (("--model", "bvlc_googlenet", "--size", "64"), "--debug"),
    ],
)
def test_what_cannot_be_is_refused(options: tuple, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert says in refused(*options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("missing", ["onnx", "onnxruntime"])
def test_what_is_missing_is_named_with_the_line_that_installs_it(
    missing: str, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    text = refused("--weights", checkpoint)
    assert f'takes {missing} fix: pip install -e ".[onnx]"' in text
    assert sorted(each.name for each in checkpoint.parent.iterdir()) == ["best.safetensors"]
    if missing == "onnxruntime":
        assert run("--weights", checkpoint, "--no-check").exit_code == 0


def test_a_wrong_file_is_found_out_and_not_left_behind(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RULES, ops.Relu, lambda graph, call, name, x: graph.node("Softplus", [x], name))
    text = refused("--weights", checkpoint)
    assert "the file differs from the network by" in text
    assert "no file was written" in text
    assert sorted(each.name for each in checkpoint.parent.iterdir()) == ["best.safetensors"]


def test_a_new_network_is_the_same_for_the_same_seed(tmp_path: Path) -> None:
    files = [tmp_path / f"{i}.onnx" for i in range(3)]
    for path, seed in zip(files, (1, 1, 2), strict=True):
        result = run("--model", "fcn8s", "--num-classes", 5, "--size", 32, "--seed", seed, "--output", path)
        assert result.exit_code == 0, said(result)
        assert "warning: all scores are 0" in said(result)
    assert files[0].read_bytes() == files[1].read_bytes() != files[2].read_bytes()
    assert dims(onnx.load(files[0]).graph.output[0]) == ["batch", 5, 32, 32]


def test_one_file_for_images_of_any_size(checkpoint: Path, photo: Path) -> None:
    result = run("--weights", checkpoint, "--dynamic", "--image", photo)
    assert result.exit_code == 0, said(result)
    for line in ("a random image of 60x44", "image of 73x37", "image of 55x53", "H and W from 1 up"):
        assert line in said(result)
    path = checkpoint.with_name("best.onnx")
    graph = onnx.load(path).graph
    assert dims(graph.input[0]) == ["batch", 3, "height", "width"]
    assert dims(graph.output[0]) == ["batch", 3, "height", "width"]
    model = load_network(checkpoint).model
    for H, W in ((1, 1), (2, 67), (33, 32), (64, 65)):
        x = numbers(2, 3, H, W)
        assert worst(run_file(path, x)["scores"], own(model, x)) <= TOLERANCE


# --- weights alone ----------------------------------------------------------------------------------------


def test_weights_alone_go_to_torch_and_come_back(checkpoint: Path, tmp_path: Path) -> None:
    for kind in ("npz", "safetensors"):
        assert run("--weights", checkpoint, "--format", kind).exit_code == 0
    original = load(checkpoint).arrays
    for path in (checkpoint.with_name("best_weights.npz"), checkpoint.with_name("best_weights.safetensors")):
        arrays = load(path).arrays
        assert arrays.keys() == original.keys()
        for name, array in arrays.items():
            np.testing.assert_array_equal(array, original[name])
    again = load_network(checkpoint.with_name("best_weights.safetensors"))
    assert (again.name, again.classes.names, again.size) == ("fcn8s_small", ("sky", "sea", "sand"), (44, 60))


def test_torchvision_reads_the_weights(tmp_path: Path) -> None:
    import safetensors.torch
    import torch
    from torchvision_reference import torchvision

    path = tmp_path / "resnet18.safetensors"
    assert run("--model", "resnet18", "--output", path, "--num-classes", 7).exit_code == 0
    theirs = torchvision.models.resnet18(num_classes=7)
    theirs.load_state_dict(safetensors.torch.load_file(path))
    x = numbers(1, 3, 64, 64)
    with torch.no_grad():
        expected = theirs.eval()(torch.from_numpy(x)).numpy()
    ours = by_name("resnet18", 7, file=path).model
    assert worst(own(ours, x), expected) < 1e-5


def test_a_resumed_runs_optimiser_is_left_out(checkpoint: Path) -> None:
    state = load(checkpoint)
    last = checkpoint.with_name("last.safetensors")
    save(last, {**state.arrays, "training/velocity": numbers(3)}, state.metadata)
    assert run("--weights", last, "--format", "npz").exit_code == 0
    assert load(last.with_name("last_weights.npz")).arrays.keys() == state.arrays.keys()


def test_weights_are_written_once_and_under_their_suffix(checkpoint: Path, tmp_path: Path) -> None:
    subject = from_network(load_network(checkpoint))
    with pytest.raises(FileExistsError, match="nothing is overwritten"):
        write_weights(subject, checkpoint)
    with pytest.raises(ExportError, match=r"not \.pth"):
        write_weights(subject, tmp_path / "a.pth")


def test_networks_by_name_are_fed_as_their_kind_is() -> None:
    for name, recipe, bgr in (
        ("fcn_googlenet", None, True),
        ("fcn32s_googlenet", "caffe", True),
        ("fcn8s", None, False),
    ):
        subject = by_name(name, 4, recipe)
        assert subject.normalise == (Normalise(CAFFE_MEAN, CAFFE_STD, bgr=True) if bgr else Normalise())
        assert subject.metadata["bgr"] == bgr
        assert (subject.classes.names[0], subject.usual_size) == ("class 0", (500, 500))
    assert by_name("fcn8s").classes == Classes.voc()
    classifier = by_name("squeezenet1_1")
    assert (classifier.num_classes, classifier.classes, classifier.usual_size) == (1000, None, (224, 224))


# --- real photographs -------------------------------------------------------------------------------------


def test_real_weights_know_the_bird(tmp_path: Path) -> None:
    """A network from elsewhere, through the command, to a file that takes the photograph's pixels."""
    weights = shared_data("weights", "squeezenet1_0_deepcompression_tvnorm.safetensors")
    bird, path = shared_data("photos", "bird.jpg"), tmp_path / "squeezenet.onnx"
    asked = ("--model", "squeezenet1_0", "--weights", weights, "--input", "pixels", "--image", bird, "--output", path)
    result = run(*asked, "--output-kind", "probabilities")
    assert result.exit_code == 0, said(result)
    pixels = resize_image(read_image(bird), (224, 224))
    probabilities = run_file(path, pixels[None])["probabilities"][0]
    names = shared_data("weights", "imagenet_classes.txt").read_text().splitlines()
    assert "chickadee" in names[int(probabilities.argmax())]
    assert probabilities.sum() == pytest.approx(1.0, abs=1e-5)


def test_a_network_trained_on_a_photograph(tmp_path: Path) -> None:
    """Some steps on a photograph, from ImageNet's features; then the file finds what the network finds."""
    photo = shared_data("fcn-demo", "image.jpg")
    image = resize_image(read_image(photo), (96, 128))
    label = resize_label(read_label(shared_data("fcn-demo", "label.png")), (96, 128))
    sf.manual_seed(0)
    network = Network.build("fcn8s_squeezenet1_1", Classes.voc(), size=(96, 128), dropout=0.0)
    models.start_from(network.model, load(shared_data("weights", "squeezenet1_1_tvnorm.safetensors")).arrays)
    optimizer = sf.optim.Adam(network.model.parameters(), lr=1e-3)
    network.model.train()
    for _ in range(25):
        loss = ops.softmax_cross_entropy(network.model(sf.Tensor(network.prepare(image))), label[None])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    save(tmp_path / "best.safetensors", network.model.state_dict(), network.metadata())
    result = run("--weights", tmp_path / "best.safetensors", "--image", photo, "--output-kind", "classes", "--dynamic")
    assert result.exit_code == 0, said(result)
    found = run_file(tmp_path / "best.onnx", network.prepare(read_image(photo)))["classes"][0]
    assert set(np.unique(found)) >= {0, 15}  # there is a person, and it was found
    assert (found == network.predict(image)).mean() > 0.999


# --- from Python ------------------------------------------------------------------------------------------


def test_pixels_are_normalised_by_the_graph_also_for_caffe(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 9, 11, 3), np.uint8)
    for normalise in (Normalise(), Normalise(CAFFE_MEAN, CAFFE_STD, bgr=True)):
        model = nn.Conv2d(3, 2, 1)
        to_onnx(model, (3, 9, 11), prepare=normalise).save(tmp_path / "a.onnx")
        check(tmp_path / "a.onnx")
        x = np.stack([normalise(image, None)[0] for image in pixels])
        assert worst(run_file(tmp_path / "a.onnx", pixels)["scores"], own(model, x)) <= TOLERANCE
    with pytest.raises(ExportError, match="the network takes 4 channels"):
        to_onnx(nn.Conv2d(4, 2, 1), (4, 9, 11), prepare=Normalise())


class Several(nn.Module):
    """Outputs by name; two of them are one, and the first is also used for the third."""

    def __init__(self) -> None:
        self.conv = nn.Conv2d(3, 2, 3, padding=1)

    def forward(self, x: sf.Tensor) -> dict[str, sf.Tensor]:
        y = self.conv(x)
        return {"a": y, "b": y, "c": ops.relu(y), "d": self.conv(x)}


def test_several_outputs_have_their_names(tmp_path: Path) -> None:
    x, path = numbers(3, 3, 5, 6), tmp_path / "a.onnx"
    model = Several()
    to_onnx(model, (3, 5, 6)).save(path)
    check(path)
    theirs = run_file(path, x)
    with sf.no_grad():
        ours = model(sf.Tensor(x))
    assert list(theirs) == ["a", "b", "c", "d"]
    for name, y in theirs.items():
        assert worst(y, ours[name].numpy()) <= TOLERANCE
    graph = onnx.load(path).graph
    assert sorted(each.name for each in graph.initializer) == ["conv.bias", "conv.weight"]  # once, used twice
    assert [node.name for node in graph.node if node.op_type == "Conv"] == ["conv", "conv_2"]
    to_onnx(model, (3, 5, 6), kind="classes").save(path)
    assert list(run_file(path, x)) == ["a_classes", "b_classes", "c_classes", "d_classes"]
    np.testing.assert_array_equal(run_file(path, x)["c_classes"], ours["c"].numpy().argmax(axis=1))


def test_two_names_for_one_output(tmp_path: Path) -> None:
    class Twice(nn.Module):
        def forward(self, x: sf.Tensor) -> list[sf.Tensor]:
            y = ops.relu(x)
            return [y, y, x]

    x = numbers(2, 3, 4, 5)
    found = run_scores(Twice(), x, tmp_path)
    assert list(found) == ["output_0", "output_1", "output_2"]
    for name, expected in zip(found, (x.clip(0), x.clip(0), x), strict=True):
        np.testing.assert_array_equal(found[name], expected)


def test_probabilities_of_a_single_output_of_a_dictionary(tmp_path: Path) -> None:
    class Out(nn.Module):
        def __init__(self) -> None:
            self.conv = nn.Conv2d(3, 4, 1)

        def forward(self, x: sf.Tensor) -> dict[str, sf.Tensor]:
            return {"out": self.conv(x), "aux": ops.relu(self.conv(x))}

    model, x = Out(), numbers(2, 3, 4, 5)
    to_onnx(model, (3, 4, 5), kind="probabilities").save(tmp_path / "a.onnx")
    found = run_file(tmp_path / "a.onnx", x)
    with sf.no_grad():
        expected = ops.softmax(model(sf.Tensor(x))["out"]).numpy()
    assert list(found) == ["probabilities"]
    assert worst(found["probabilities"], expected) <= TOLERANCE
    assert list(run_scores(model, x, tmp_path)) == ["out"]


def run_scores(model: nn.Module, x: np.ndarray, folder: Path) -> dict[str, np.ndarray]:
    to_onnx(model, x.shape[1:]).save(folder / "b.onnx")
    return run_file(folder / "b.onnx", x)


def test_the_network_stays_as_it_is() -> None:
    """Modes, part by part, and batch norm's statistics."""
    model = models.fcn8s("small", 3, batch_norm=True)
    model.train()
    model.backbone.stage2.eval()
    before = {name: array.copy() for name, array in model.state_dict().items()}
    to_onnx(model, (3, 40, 40), dynamic=True)
    assert all(module.training != name.startswith("backbone.stage2") for name, module in model.named_modules())
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])
    y = model(sf.Tensor(numbers(2, 3, 40, 40)))  # ops compute again, and record their graph
    assert y.grad_fn is not None
    assert abs(y.numpy()).max() == 0  # a new FCN's scores


def test_float64_weights_are_written_as_float32(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()).double()
    x = numbers(2, 3, 6, 6)
    path = file_of(model, x.shape, tmp_path / "a.onnx")
    check(path)
    assert worst(run_file(path, x)["scores"], own(model, x.astype(np.float64)).astype(np.float32)) <= TOLERANCE


def test_the_same_file_from_any_device(device: str, tmp_path: Path) -> None:
    model = randomise(models.build("fcn8s_googlenet", 3))
    to_onnx(model, (3, 20, 24), dynamic=True).save(tmp_path / "cpu.onnx")
    model.to(device)
    to_onnx(model, (3, 20, 24), dynamic=True).save(tmp_path / "device.onnx")
    assert (tmp_path / "cpu.onnx").read_bytes() == (tmp_path / "device.onnx").read_bytes()
    x = numbers(1, 3, 20, 24)
    assert compare(open_session(tmp_path / "device.onnx"), model, x, x, "scores").small
    for pool in (nn.AvgPool2d(3, 2, ceil_mode=True), nn.AdaptiveAvgPool2d((3, 5))):
        layers = nn.Sequential(nn.Conv2d(3, 2, 1), pool).to(device)
        to_onnx(layers, (3, 20, 24)).save(tmp_path / "pool.onnx")
        assert compare(open_session(tmp_path / "pool.onnx"), layers, x, x, "scores").small


def test_onnxs_reference_computes_the_same(tmp_path: Path) -> None:
    """A second reading of the specification, for a whole network and a size it was not recorded for."""
    model = randomise(models.fcn8s("small", 3))
    to_onnx(model, (3, 64, 64), dynamic=True).save(tmp_path / "a.onnx")
    x = numbers(1, 3, 21, 34)
    assert worst(run_reference(tmp_path / "a.onnx", x), own(model, x)) <= TOLERANCE


def test_what_does_not_fit_is_said_by_the_network_itself() -> None:
    with pytest.raises(ValueError, match="conv2d: x has 4 channels"):
        to_onnx(models.fcn8s("small", 3), (4, 32, 32))
    with pytest.raises(ExportError, match="an output of kind 'labels' is not known"):
        to_onnx(models.fcn8s("small", 3), (3, 32, 32), kind="labels")

    class Whole(nn.Module):
        def forward(self, x: sf.Tensor) -> sf.Tensor:
            return x.sum()

    with pytest.raises(ExportError, match=r"for 2 images the network's output has shape \(\)"):
        to_onnx(Whole(), (3, 4, 5))


def test_what_an_op_computes_of_constants_is_a_constant() -> None:
    """Nothing is computed when an image is recorded; constants are."""

    class Scaled(nn.Module):
        def __init__(self) -> None:
            self.scale = nn.Parameter(np.float32([4.0]))

        def forward(self, x: sf.Tensor) -> sf.Tensor:
            return x * (self.scale * 0.5 + 1)

    recording = record(Scaled(), (2, 3, 4, 5))
    (call,) = recording.calls
    np.testing.assert_array_equal(call.inputs[1].array, [3.0])


def test_other_channels_than_three(tmp_path: Path) -> None:
    """Depth beside colour: tried on random numbers, because there is no photograph of it."""
    network = Network.build("fcn16s_small", Classes.numbered(4), in_channels=4)
    subject = from_network(network)
    randomise(subject.model)
    written = write_onnx(subject, tmp_path / "a.onnx", (30, 41), dynamic=True)
    assert written.differences[0][0] == "random numbers of 41x30"
    assert all(found.small and found.scale > 0.01 for _, found in written.differences)
    with pytest.raises(ExportError, match="a photograph has three"):
        write_onnx(subject, tmp_path / "b.onnx", image=shared_data("photos", "cat.jpg"))


# --- the parts --------------------------------------------------------------------------------------------


def test_the_file_is_what_the_library_would_write(tmp_path: Path) -> None:
    """Piece by piece, weights straight from where they lie: onnx reads it as its own."""
    network = to_onnx(nn.Sequential(nn.Conv2d(3, 200, 5), nn.ReLU()), (3, 8, 9))
    network.arrays["0.weight"] = np.asfortranarray(network.arrays["0.weight"])
    network.save(tmp_path / "a.onnx")
    read = onnx.load(tmp_path / "a.onnx")
    expected = onnx.ModelProto()
    expected.CopyFrom(network.model)
    for name, array in network.arrays.items():
        expected.graph.initializer.append(onnx.numpy_helper.from_array(np.ascontiguousarray(array), name))
    assert read == expected
    onnx.save(expected, tmp_path / "b.onnx")
    assert (tmp_path / "a.onnx").stat().st_size == (tmp_path / "b.onnx").stat().st_size


@given(st.integers(0, 2**40))
def test_varint(number: int) -> None:
    """Back again: seven bits from each byte, lowest first; only the last byte is below 128."""
    pieces = onnx_file.varint(number)
    assert sum((piece & 127) << 7 * i for i, piece in enumerate(pieces)) == number
    assert [piece < 128 for piece in pieces] == [False] * (len(pieces) - 1) + [True]


def test_two_gibibytes_are_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_file, "MOST", 20_000)
    with pytest.raises(ExportError, match="an ONNX file holds less than 2"):
        to_onnx(nn.Conv2d(3, 200, 5), (3, 8, 9)).save(tmp_path / "a.onnx")
    assert not (tmp_path / "a.onnx").exists()


@given(least=st.integers(1, 40), step=st.integers(1, 32), rest=st.integers(0, 31))
def test_the_rule_of_filled_up_images_is_found(least: int, step: int, rest: int) -> None:
    """From the sizes alone; or another rule that gives the same sizes. And one that nothing explains is not."""
    n = np.array([size for size, _ in some_sizes(1, step)])
    filled = np.maximum(least, step * -(-(n - rest % step) // step) + rest % step)
    found = fill_rule(n, filled)
    assert found is not None
    a, b, c = found
    np.testing.assert_array_equal(np.maximum(a, b * -(-(n - c) // b) + c), filled)
    assert fill_rule(n, n + n // 7) is None


def test_differences() -> None:
    scores = np.zeros((1, 3, 1, 2), np.float32)
    scores[0, :, 0, 0] = [1.0, 4.0, 3.9]
    other = scores.copy()
    other[0, 0, 0, 0] = 1.5
    assert difference(scores, other, "scores").relative == pytest.approx(0.125)
    assert not difference(scores, other, "scores").small
    other[0, 0, 0, 0] = np.nan
    assert not difference(scores, other, "scores").small
    classes = np.array([[[1, 0]]])
    assert difference(scores, classes, "classes").relative == 0.0
    assert difference(scores, np.array([[[2, 2]]]), "classes").relative == pytest.approx(0.025)
    probabilities = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    assert difference(scores, probabilities, "probabilities").small
    nothing = np.zeros_like(scores)
    assert difference(nothing, nothing, "scores").small
    assert not difference(nothing, scores, "scores").small
    with pytest.raises(ExportError, match="has shape"):
        difference(scores, scores[:, :2], "scores")


def test_scores_that_are_no_numbers_are_refused(checkpoint: Path, tmp_path: Path) -> None:
    subject = from_network(load_network(checkpoint))
    subject.model.score_fr.bias.data[0] = np.nan
    with pytest.raises(ExportError, match="the network's own scores hold NaN"):
        write_onnx(subject, tmp_path / "a.onnx")
    assert not (tmp_path / "a.onnx").exists()
