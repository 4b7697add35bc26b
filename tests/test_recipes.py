"""The paper's training: its settings, its input, its loss, steps over several images; and losses of two outputs."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from typer.testing import CliRunner

import scratchfcn as sf
from scratchfcn.cli import app
from scratchfcn.data import CAFFE_MEAN, CAFFE_STD, Batch, Classes, Normalise, Shapes
from scratchfcn.training import Config, Network, RunFolder, SettingError, Trainer, load_network, with_recipe
from scratchfcn.training.objective import main_output, segmentation_loss
from scratchfcn.weights import save

RATES = [("fcn32s", 1e-10), ("fcn16s", 1e-12), ("fcn8s", 1e-14), ("fcn8s_at_once", 1e-10)]


@pytest.mark.parametrize(("model", "lr"), RATES)
def test_the_reference_implementations_settings(model: str, lr: float) -> None:
    config = Config(**with_recipe({"model": model, "recipe": "caffe"}))
    assert config.model_name == f"{model}_vgg16"
    assert (config.lr, config.momentum, config.weight_decay) == (lr, 0.99, 5e-4)
    assert (config.reduction, config.batch_size, config.accumulate) == ("sum", 1, 1)
    assert (config.optimizer, config.schedule, config.paper_biases, config.flip) == ("sgd", "fixed", True, False)
    assert config.model_options() == {"dropout": 0.5, "recipe": "caffe"}


def test_alexnet_and_googlenet_learn_from_means_over_twenty_images() -> None:
    alexnet = Config(**with_recipe({"model": "fcn32s", "backbone": "alexnet", "recipe": "caffe"}))
    assert (alexnet.lr, alexnet.momentum, alexnet.accumulate, alexnet.reduction) == (1e-4, 0.9, 20, "mean")
    googlenet = Config(**with_recipe({"model": "fcn32s", "backbone": "googlenet", "recipe": "caffe"}))
    assert googlenet.lr == 5e-5


def test_whole_names_have_the_recipe_too() -> None:
    config = Config(**with_recipe({"model": "fcn_alexnet", "recipe": "caffe"}))
    assert (config.model_name, config.lr) == ("fcn32s_alexnet", 1e-4)
    config = Config(**with_recipe({"model": "fcn8s_at_once_vgg16", "recipe": "caffe"}))
    assert (config.model_name, config.lr) == ("fcn8s_at_once_vgg16", 1e-10)


def test_the_papers_names_are_fed_as_the_paper_did() -> None:
    with sf.nn.init.skipped():
        network = Network.build("fcn_googlenet", Classes.numbered(2))
    assert network.normalise == Normalise(CAFFE_MEAN, CAFFE_STD, bgr=True)


def test_what_you_give_counts() -> None:
    config = Config(**with_recipe({"recipe": "caffe", "lr": 1e-9, "momentum": 0.5, "flip": True}))
    assert (config.lr, config.momentum, config.flip, config.reduction) == (1e-9, 0.5, True, "sum")
    assert with_recipe({"lr": 1.0}) == {"lr": 1.0}
    assert Config().recipe == "none"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"recipe": "keras"}, "--recipe 'keras' is not known; there is caffe"),
        ({"recipe": "caffe", "backbone": "resnet18"}, "over vgg16, alexnet or googlenet.*none for .*resnet18"),
        ({"recipe": "caffe", "model": "fcn_resnet50"}, "none for --model fcn_resnet50"),
    ],
)
def test_there_is_no_recipe_for_the_rest(settings: dict, words: str) -> None:
    with pytest.raises(SettingError, match=words):
        with_recipe(settings)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"model": "fcn4s"}, "--model 'fcn4s' is not known; did you mean fcn8s"),
        ({"model": "resnet18"}, "resnet18 classifies whole images.*--model fcn8s --backbone resnet18"),
        ({"backbone": "vgg19"}, "--backbone 'vgg19' is not known; use one of .*vgg16"),
        ({"model": "fcn8s_vgg16", "backbone": "resnet18"}, "whole name, with a backbone of its own"),
        ({"model": "fcn_resnet50", "dropout": 0.1}, "--dropout: fcn_resnet50 has a dropout of its own"),
        ({"backbone": "resnet18", "batch_norm": False}, "--no-batch-norm: only backbone small"),
        ({"reduction": "median"}, "--reduction 'median' is not known; use one of mean, sum"),
        ({"accumulate": 0}, "--accumulate must lie between 1"),
    ],
)
def test_settings_that_cannot_be(settings: dict, words: str) -> None:
    with pytest.raises(SettingError, match=words):
        Config(**settings)


def test_networks_of_other_people_are_models_too() -> None:
    config = Config(model="fcn_resnet50")
    assert config.model_name == "fcn_resnet50"
    assert config.model_options() == {"aux_loss": True}
    assert Config(model="fcn16s_resnet18").model_name == "fcn16s_resnet18"
    assert Config(model="fcn8s", backbone="resnet18").model_options() == {"dropout": 0.5}
    assert Config(model="fcn_8_vgg", dropout=0.1).model_options() == {"dropout": 0.1}


# --- the input --------------------------------------------------------------------------------------------


def test_caffes_input_is_bgr_bytes_minus_the_mean() -> None:
    image = np.random.default_rng(0).integers(0, 256, (4, 5, 3), np.uint8)
    x, label = Normalise(CAFFE_MEAN, CAFFE_STD, bgr=True)(image, "the label")
    expected = image[:, :, ::-1].transpose(2, 0, 1) - np.array([104.00699, 116.66877, 122.67892])[:, None, None]
    assert label == "the label"
    np.testing.assert_allclose(x, expected, atol=1e-4)
    assert x.dtype == np.float32
    assert x.flags.c_contiguous


def caffe_network() -> Network:
    with sf.nn.init.skipped():
        return Network.build("fcn32s_googlenet", Classes.numbered(2), recipe="caffe")


def test_a_caffe_network_is_fed_so_and_its_checkpoint_says_so(tmp_path: object) -> None:
    network = caffe_network()
    assert network.normalise == Normalise(CAFFE_MEAN, CAFFE_STD, bgr=True)
    sf.nn.init.he(network.model.score_fr.weight)
    save(tmp_path / "net.safetensors", network.model.state_dict(), network.metadata())
    again = load_network(tmp_path / "net.safetensors")
    assert again.normalise == network.normalise
    image = np.random.default_rng(0).integers(0, 256, (40, 35, 3), np.uint8)
    np.testing.assert_array_equal(again.prepare(image), network.prepare(image))
    assert network.prepare(image)[0, 0, 0, 0] == pytest.approx(int(image[0, 0, 2]) - 104.00699, abs=1e-4)


def test_checkpoints_from_before_are_rgb(tmp_path: object) -> None:
    network = Network.build("fcn32s_small", Classes.numbered(2))
    metadata = {name: value for name, value in network.metadata().items() if name != "bgr"} | {"format": 1}
    save(tmp_path / "net.safetensors", network.model.state_dict(), metadata)
    assert load_network(tmp_path / "net.safetensors").normalise == Normalise()


# --- the loss and the step --------------------------------------------------------------------------------


def test_the_auxiliary_loss_counts_half() -> None:
    rng = np.random.default_rng(0)
    out, aux = (rng.normal(size=(2, 3, 4, 5)) for _ in range(2))
    labels = rng.integers(0, 3, (2, 4, 5))
    labels[0, 0, 0] = 255
    both = {"out": sf.Tensor(out, requires_grad=True), "aux": sf.Tensor(aux, requires_grad=True)}
    loss = segmentation_loss(both, labels)
    loss.backward()

    theirs = {name: torch.tensor(x.data, requires_grad=True) for name, x in both.items()}
    expected = sum(
        w * F.cross_entropy(theirs[name], torch.tensor(labels), ignore_index=255)
        for name, w in (("out", 1.0), ("aux", 0.5))
    )
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-12)
    for name, x in both.items():
        np.testing.assert_allclose(x.grad, theirs[name].grad, atol=1e-15)
    assert main_output(both) is both["out"]
    assert main_output(both["aux"]) is both["aux"]


def test_two_tasks_have_labels_of_their_own() -> None:
    """The paper's semantic and geometric heads: one step on the sum of both losses makes both smaller."""
    sf.manual_seed(0)
    net = sf.models.two_heads("fcn16s", "small", num_classes=4, num_geometric=3, dropout=0.0)
    rng = np.random.default_rng(0)
    x = sf.Tensor(rng.normal(size=(2, 3, 33, 40)).astype(np.float32))
    labels = {"semantic": rng.integers(0, 4, (2, 33, 40)), "geometric": rng.integers(0, 3, (2, 33, 40))}
    optimizer = sf.optim.SGD(net.parameters(), lr=1e-3)
    losses = []
    for _ in range(2):
        scores = net(x)
        each = {name: sf.ops.softmax_cross_entropy(scores[name], labels[name]).item() for name in labels}
        loss = segmentation_loss(scores, labels)
        assert loss.item() == pytest.approx(sum(each.values()), rel=1e-6)
        losses.append(each)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert all(losses[1][name] < losses[0][name] for name in labels)
    assert main_output(scores) is scores["semantic"]
    with pytest.raises(ValueError, match="tasks are semantic, geometric; give each its labels"):
        segmentation_loss(scores, labels["semantic"])
    with pytest.raises(ValueError, match="labels for semantic, geometric, but the network has a single output"):
        segmentation_loss(scores["semantic"], labels)
    with pytest.raises(ValueError, match="labels for depth, but outputs semantic, geometric"):
        segmentation_loss(scores, {"depth": labels["semantic"]})


def trainer(tmp_path: object, **settings: object) -> Trainer:
    """On generated shapes; an SGD without momentum, so that a step shows its gradient."""
    settings = {
        "generated": 8,
        "epochs": 1,
        "batch_norm": False,
        "dropout": 0.0,
        "optimizer": "sgd",
        "lr": 0.5,
    } | settings
    config = Config(data="shapes", momentum=0.0, weight_decay=0.0, schedule="fixed", flip=False, **settings)
    shapes = Shapes(config.generated, (32, 32), 0, (1, 1), ("circle", "square"))
    sf.manual_seed(0)
    network = Network.build(config.model_name, shapes.classes, **config.model_options())
    for p in network.model.parameters():
        if p.ndim == 4 and not p.data.any():  # score layers: while they are zero, no layer below gets a gradient
            sf.nn.init.he(p)
    return Trainer(config, network, shapes, None, RunFolder(tmp_path / "run"))


def first_batches(run: Trainer, count: int) -> list[Batch]:
    batches = run.loader.epoch(0)
    found = [next(batches) for _ in range(count)]
    batches.close()
    return found


def test_accumulated_batches_are_one_step_along_the_mean(tmp_path: object) -> None:
    """Four batches of two are a batch of eight: of equal size and without batch norm, the means agree."""
    small, large = trainer(tmp_path, batch_size=2, accumulate=4), trainer(tmp_path, batch_size=8)
    pieces = first_batches(small, 4)
    whole = Batch(
        np.concatenate([b.images for b in pieces]),
        np.concatenate([b.labels for b in pieces]),
        [b.names for b in pieces],
    )
    for run in (small, large):
        run.network.model.train()
    assert small.train_step(pieces) == pytest.approx(large.train_step([whole]), rel=1e-5)
    theirs = large.network.model.state_dict()
    for name, array in small.network.model.state_dict().items():
        np.testing.assert_allclose(array, theirs[name], atol=1e-5, err_msg=name)


def test_steps_are_counted_by_groups(tmp_path: object) -> None:
    run, parts = trainer(tmp_path, batch_size=2, accumulate=3), []
    assert (len(run.loader), run.steps_per_epoch, run.total_steps) == (4, 2, 2)
    take_step = run.take_step
    run.take_step = lambda batches, count, step: (parts.append(count), take_step(batches, count, step))
    run.train_epoch()
    assert parts == [3, 1]  # the last step takes what is left
    assert (run.progress.batch, run.progress.step) == (4, 2)


def test_the_summed_loss_is_the_mean_times_the_pixels(tmp_path: object) -> None:
    mean, total = (
        trainer(tmp_path, batch_size=2),
        trainer(tmp_path, batch_size=2, reduction="sum", lr=0.5 / (2 * 32 * 32)),
    )
    batches = first_batches(mean, 1)
    assert total.train_step(batches) == pytest.approx(mean.train_step(batches) * 2 * 32 * 32, rel=1e-5)
    theirs = total.network.model.state_dict()
    for name, array in mean.network.model.state_dict().items():
        np.testing.assert_allclose(array, theirs[name], atol=1e-5, err_msg=name)


def test_a_run_that_accumulates_can_be_stopped_and_resumed(tmp_path: object) -> None:
    """Bit for bit, because a run only ever stops between two steps."""

    def arguments(folder: str, epochs: int = 2) -> list[str]:
        return (
            f"train --data shapes --generated 20 --size 32x32 --epochs {epochs} --batch-size 2 --accumulate 3 "
            f"--device cpu --output-dir {tmp_path / folder}"
        ).split()

    straight = CliRunner().invoke(app, arguments("straight"))
    assert straight.exit_code == 0, straight.output
    import scratchfcn.training.trainer as module

    original = module.Trainer.stop_if_interrupted

    def stop_at_step_two(self: Trainer) -> None:
        if self.progress.step == 2:
            self.interrupted.set()
        original(self)

    module.Trainer.stop_if_interrupted = stop_at_step_two
    try:
        stopped = CliRunner().invoke(app, arguments("stopped"))
    finally:
        module.Trainer.stop_if_interrupted = original
    assert stopped.exit_code == 130, stopped.output
    resumed = CliRunner().invoke(app, ["train", "--resume", str(tmp_path / "stopped"), "--device", "cpu"])
    assert resumed.exit_code == 0, resumed.output
    a, b = (sf.weights.load(tmp_path / name / "last.safetensors").arrays for name in ("straight", "stopped"))
    assert a.keys() == b.keys()
    assert all(np.array_equal(a[name], b[name]) for name in a)


@pytest.mark.slow
def test_a_network_with_two_outputs_is_trained_validated_and_used(tmp_path: object) -> None:
    """A narrow fcn_resnet50 under its own name, from the command line to a prediction."""
    run = CliRunner().invoke(
        app,
        f"train --model fcn_resnet50 --data shapes --generated 4 --size 32x32 --epochs 1 --batch-size 2 --device cpu "
        f"--output-dir {tmp_path / 'run'}".split(),
    )
    assert run.exit_code == 0, run.output
    network = load_network(tmp_path / "run" / "best.safetensors")
    assert network.options == {"aux_loss": True}
    label = network.predict(np.zeros((20, 30, 3), np.uint8))
    assert label.shape == (20, 30)


def test_init_takes_a_classifiers_weights_by_itself(tmp_path: object) -> None:
    sf.manual_seed(1)
    classifier = sf.models.build("squeezenet1_1", num_classes=3)
    save(tmp_path / "classifier.safetensors", classifier.state_dict())
    command = (
        f"train --model fcn8s --backbone squeezenet1_1 --data shapes --generated 2 --size 32x32 --epochs 1 "
        f"--batch-size 2 --lr 1e-8 --device cpu --output-dir {tmp_path / 'run'} "
        f"--init {tmp_path / 'classifier.safetensors'}"
    )
    run = CliRunner().invoke(app, command.split())
    assert run.exit_code == 0, run.output
    assert "50 copied" in run.output
    trained = load_network(tmp_path / "run" / "best.safetensors").model.backbone.state_dict()
    for name, array in trained.items():
        np.testing.assert_allclose(array, classifier.state_dict()[name], atol=1e-6, err_msg=name)
    other = CliRunner().invoke(app, command.replace("squeezenet1_1", "resnet18").replace("/run ", "/run2 ").split())
    assert other.exit_code == 2
    assert "none of these" in other.output


def warnings_of(tmp_path: object, name: str, arrays: dict, metadata: dict | None = None) -> str:
    """What a training says that starts from a file of these arrays."""
    save(tmp_path / "weights.safetensors", arrays, metadata)
    run = CliRunner().invoke(
        app,
        f"train --model fcn32s --data shapes --generated 2 --size 32x32 --epochs 1 --batch-size 2 --device cpu "
        f"--init {tmp_path / 'weights.safetensors'} --output-dir {tmp_path / name}".split(),
    )
    assert run.exit_code == 0, run.output
    return " ".join(run.output.split())


def test_weights_that_learned_from_other_images_are_warned_of(tmp_path: object) -> None:
    network = Network.build("fcn32s_small", Classes.numbered(5), batch_norm=True)
    arrays, metadata = network.model.state_dict(), network.metadata()
    assert "warning: these weights" not in warnings_of(tmp_path, "a", arrays, metadata)
    assert "warning: these weights" not in warnings_of(tmp_path, "b", arrays)
    assert "prepared otherwise" in warnings_of(tmp_path, "c", arrays, metadata | {"bgr": True})
    assert "prepared otherwise" in warnings_of(tmp_path, "d", arrays, metadata | {"mean": [0.5, 0.5, 0.5]})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"size": [1, 2, 3]}, "resized to .1, 2, 3."),
        ({"size": "abc"}, "resized to"),
        ({"size": [0, 4]}, "resized to"),
        ({"mean": [1]}, "mean"),
        ({"std": [0, 0, 0]}, "std"),
        ({"mean": ["a", "b", "c"]}, "mean"),
        ({"model": "resnet18", "options": {}}, "classifies whole images"),
    ],
)
def test_files_that_describe_no_network_are_refused(tmp_path: object, change: dict, words: str) -> None:
    network = Network.build("fcn32s_small", Classes.numbered(2))
    save(tmp_path / "net.safetensors", network.model.state_dict(), network.metadata() | change)
    with pytest.raises(sf.weights.CheckpointError, match=words):
        load_network(tmp_path / "net.safetensors")
