"""Two streams and two heads as training has them: built from settings, started, stepped, measured, kept in files."""

from pathlib import Path

import make_sets
import numpy as np
import pytest
import torch

import scratchfcn as sf
from scratchfcn.data import Classes, Dataset, Shapes, open_dataset
from scratchfcn.metrics import ConfusionMatrix
from scratchfcn.models import NAMES, TwoHeads, TwoStream, build, start_from, start_streams
from scratchfcn.nn import init
from scratchfcn.optim import Adam
from scratchfcn.surgery import expand_input
from scratchfcn.training import Config, Evaluator, Network, RunFolder, SettingError, Trainer, load_network, with_recipe
from scratchfcn.training.evaluate import ProbabilityEvaluator
from scratchfcn.training.objective import by_task
from scratchfcn.training.prepare import Data, new_trainer, options_for
from scratchfcn.weights import CheckpointError, save

UP = ("upscore2.weight", "upscore16.weight")


class Made(Dataset):
    """Some images of noise, as large as wanted, with the classes and planes of one of the data sets."""

    def __init__(self, like: type[Dataset] | Dataset, count: int = 3, size: tuple[int, int] = (20, 28)) -> None:
        self.channels, self.tasks, self.classes = like.channels, like.tasks, like.classes
        self.mean, self.std, self.caffe_mean = like.mean, like.std, like.caffe_mean
        self.count, self.size = count, size

    def __len__(self) -> int:
        return self.count

    def name(self, i: int) -> str:
        return f"{i}"

    def views(self) -> dict[str, Dataset]:
        return {"": self}

    def read(self, i: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(i)
        image = rng.integers(0, 256, (*self.size, self.channels), np.uint8)
        counts = [len(classes) for classes in self.tasks.values()] or [len(self.classes)]
        planes = [rng.choice([*range(K), 255], self.size).astype(np.uint8) for K in counts]
        return image, np.dstack(planes) if self.tasks else planes[0]


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Dataset]:
    root = tmp_path_factory.mktemp("sets")
    make_sets.nyudv2(root / "n")
    make_sets.siftflow(root / "s")
    opened = {"nyudv2": "n", "nyudv2-hha": "n", "nyudv2-rgb-hha": "n", "siftflow": "s", "siftflow-both": "s"}
    return {name: open_dataset(root / place, "trainval", name=name) for name, place in opened.items()}


def trainer_for(images: Dataset, folder: Path, **settings: object) -> tuple[Trainer, object]:
    options = {"data": "x", "model": "fcn16s", "batch_size": 2, "epochs": 1, "flip": False} | settings
    return new_trainer(Config(**options), Data(images, images, None), RunFolder(folder), "cpu")


def random_weights(model: sf.nn.Module, seed: int) -> None:
    """Zero score layers would hide mistakes."""
    rng = np.random.default_rng(seed)
    for name, p in model.named_parameters():
        if "score" in name and "up" not in name:
            p.data[...] = rng.normal(size=p.shape) * 0.1


# --- which network the images ask for ---------------------------------------------------------------------


def test_colour_and_hha_get_two_streams_and_two_tasks_two_heads(sets, tmp_path):
    late, _ = trainer_for(sets["nyudv2-rgb-hha"], tmp_path / "a")
    early, _ = trainer_for(sets["nyudv2-rgb-hha"], tmp_path / "b", fusion="early")
    heads, _ = trainer_for(sets["siftflow-both"], tmp_path / "c")
    plain, _ = trainer_for(sets["nyudv2"], tmp_path / "d")
    assert isinstance(late.network.model, TwoStream)
    assert late.network.model.kind == "fcn16s"
    assert late.network.options["in_channels"] == early.network.options["in_channels"] == 6
    assert early.network.model.backbone.stage1[0].weight.shape[1] == 6
    assert isinstance(heads.network.model, TwoHeads)
    assert (heads.network.model.semantic.num_classes, heads.network.model.geometric.num_classes) == (33, 3)
    assert late.network.channels == 6
    assert set(plain.network.options) == {"dropout", "batch_norm"}
    assert plain.network.channels == 3


@pytest.mark.parametrize(
    ("images", "settings", "words"),
    [
        ("nyudv2", {"fusion": "late"}, ["--fusion", "nyudv2-rgb-hha", "leave it out"]),
        ("siftflow-both", {"init_hha": "x"}, ["--init-hha", "leave it out"]),
        ("nyudv2-rgb-hha", {"model": "fcn8s_at_once"}, ["fcn8s_at_once", "two streams", "--fusion early", "fcn16s"]),
        ("nyudv2-rgb-hha", {"model": "fcn_resnet50"}, ["fcn_resnet50", "three channels", "these have 6", "fcn32s"]),
        ("nyudv2-rgb-hha", {"fusion": "early", "init_hha": "x"}, ["--init-hha", "--fusion early has one"]),
        ("siftflow-both", {"model": "fcn32s_fixed"}, ["one head", "semantic and geometric", "fcn32s, fcn16s or fcn8s"]),
        ("siftflow-both", {"model": "fcn_8"}, ["one head"]),
    ],
)
def test_what_cannot_be_had_is_refused_by_name(sets, images, settings, words):
    with pytest.raises(SettingError) as caught:
        options_for(Config(data="x", **settings), sets[images])
    assert all(word in str(caught.value) for word in words)


def test_early_fusion_is_for_every_fcn_over_every_backbone():
    for name, entry in NAMES.items():
        if entry.kind == "fcn":
            with init.skipped():
                model = build(name, 2, in_channels=6)
            first = next(p for _, p in model.named_parameters() if p.ndim == 4)
            assert first.shape[1] == 6, name


def test_two_streams_and_two_heads_are_had_by_name():
    with init.skipped():
        late, heads = (
            build("fcn8s_resnet18", 5, fusion="late", in_channels=6),
            build("fcn_googlenet", 5, num_geometric=2),
        )
    assert isinstance(late, TwoStream)
    assert isinstance(heads, TwoHeads)
    assert heads.kind == "fcn32s"
    with pytest.raises(ValueError, match="do not go together"):
        build("fcn8s_small", fusion="late", in_channels=6, num_geometric=3)
    with pytest.raises(ValueError, match="fusion 'middle' is not known"):
        build("fcn8s_small", fusion="middle")
    with pytest.raises(ValueError, match="heads are called semantic and geometric"):
        Network.build("fcn8s_small", Classes.numbered(2), tasks={"a": Classes.numbered(2), "b": Classes.numbered(2)})


def test_fusion_is_early_or_late():
    with pytest.raises(SettingError, match="--fusion 'middle' is not known; use one of early, late"):
        Config(data="x", fusion="middle")


@pytest.mark.parametrize(
    ("settings", "lr"),
    [
        ({"model": "fcn32s", "dataset": "nyudv2-rgb-hha"}, 1e-12),
        ({"model": "fcn32s", "dataset": "nyudv2-rgb-hha", "fusion": "early"}, 1e-10),
        ({"model": "fcn8s", "dataset": "nyudv2-rgb-hha"}, 1e-14),
        ({"model": "fcn32s", "dataset": "nyudv2-hha"}, 1e-10),
        ({"model": "fcn16s", "dataset": "siftflow-both"}, 1e-12),
        ({"model": "fcn32s", "dataset": "nyudv2-rgb-hha", "lr": 1e-9}, 1e-9),
    ],
)
def test_the_papers_rates(settings, lr):
    assert with_recipe({"recipe": "caffe", **settings})["lr"] == lr


# --- what they start from ---------------------------------------------------------------------------------


def single(K: int, seed: int, **options: object) -> dict[str, np.ndarray]:
    model = build("fcn16s_small", K, batch_norm=True, **options)
    random_weights(model, seed)
    rng = np.random.default_rng(seed)
    for name in UP:
        array = dict(model.named_parameters())[name]
        array.data[...] = rng.normal(size=array.shape)
    return {name: np.array(array) for name, array in model.state_dict().items()}


def test_each_stream_starts_from_a_net_of_its_own_and_the_upsampling_from_colours():
    rgb, hha = single(4, 1), single(4, 2)
    model = build("fcn16s_small", 4, in_channels=6, fusion="late", batch_norm=True)
    report = start_streams(model, rgb, hha)
    assert report.missing == report.skipped == report.warnings == []
    for name, array in model.state_dict().items():
        prefix, _, rest = name.partition(".")
        expected = rgb[name] if name in UP else {"color": rgb, "hha": hha}[prefix][rest]
        assert (array == expected).all(), name


def test_one_net_starts_both_streams_and_one_alone_the_other():
    rgb = single(4, 1)
    model = build("fcn16s_small", 4, in_channels=6, fusion="late", batch_norm=True)
    assert start_from(model, rgb).missing == []
    for name in ("fc6.weight", "score_fr.weight", "backbone.stage1.1.running_mean"):
        assert (model.state_dict()[f"color.{name}"] == rgb[name]).all()
        assert (model.state_dict()[f"hha.{name}"] == rgb[name]).all()
    fresh = build("fcn16s_small", 4, in_channels=6, fusion="late", batch_norm=True)
    before = fresh.color.fc6.weight.data.copy()
    report = start_streams(fresh, None, rgb)
    assert (fresh.color.fc6.weight.data == before).all()
    assert (fresh.hha.fc6.weight.data == rgb["fc6.weight"]).all()
    assert {name.partition(".")[0] for name in report.missing} == {"color"}


def test_a_finer_net_of_two_streams_starts_from_a_coarser_one():
    coarse = build("fcn32s_small", 4, in_channels=6, fusion="late", batch_norm=True)
    random_weights(coarse, 1)
    fine = build("fcn16s_small", 4, in_channels=6, fusion="late", batch_norm=True)
    report = start_from(fine, coarse.state_dict())
    assert [name for name, _ in report.skipped] == ["upscore.weight"]
    assert (fine.hha.score_fr.weight.data == coarse.hha.score_fr.weight.data).all()
    assert not fine.hha.score_pool4.weight.data.any()  # so that it begins where the other ended


def test_a_net_of_other_classes_leaves_the_scores_and_says_so():
    model = build("fcn16s_small", 4, in_channels=6, fusion="late", batch_norm=True)
    report = start_from(model, single(7, 1))
    skipped = dict(report.skipped)
    assert skipped["score_fr.weight"].startswith("for ")
    assert "color.score_fr.weight" in report.missing
    assert "color.fc6.weight" in report.copied
    with pytest.raises(ValueError, match="none of these 1 arrays has a place in this Stream"):
        start_from(model, {"elsewhere": np.zeros(3)})


def test_early_fusion_stretches_the_first_convolution():
    rgb = single(4, 1)
    model = build("fcn16s_small", 4, in_channels=6, batch_norm=True)
    report = start_from(model, rgb)
    first = "backbone.stage1.0.weight"
    assert report.reshaped == [(first, (16, 3, 3, 3), (16, 6, 3, 3))]
    assert report.missing == report.skipped == []
    assert (model.state_dict()[first] == expand_input(rgb[first], 6)).all()


def test_the_semantic_head_starts_from_a_single_net():
    semantic = single(5, 1)
    model = build("fcn16s_small", 5, num_geometric=3, batch_norm=True)
    report = start_from(model, semantic)
    assert all(name.startswith("geometric.") for name in report.missing)
    for name, array in semantic.items():
        place = name if name.startswith(("backbone", "fc")) else f"semantic.{name}"
        assert (model.state_dict()[place] == array).all(), name
    x = sf.Tensor(np.random.default_rng(0).normal(size=(1, 3, 30, 40)).astype(np.float32))
    alone = build("fcn16s_small", 5, batch_norm=True)
    start_from(alone, semantic)
    with sf.no_grad():
        np.testing.assert_allclose(model.eval()(x)["semantic"].numpy(), alone.eval()(x).numpy(), atol=1e-5)


def test_init_and_init_hha_from_files(sets, tmp_path):
    rgb, hha = single(40, 1), single(40, 2)
    fed = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "bgr": False}
    save(tmp_path / "rgb.safetensors", rgb, fed)
    save(tmp_path / "hha.safetensors", hha, fed | {"std": [1 / 255] * 3, "bgr": True})
    files = {"init": str(tmp_path / "rgb.safetensors"), "init_hha": str(tmp_path / "hha.safetensors")}
    trainer, report = trainer_for(sets["nyudv2-rgb-hha"], tmp_path / "run", **files)
    arrays = trainer.network.model.state_dict()
    assert (arrays["color.fc6.weight"] == rgb["fc6.weight"]).all()
    assert (arrays["hha.fc6.weight"] == hha["fc6.weight"]).all()
    assert len(report.warnings) == 1
    assert "hha.safetensors: these weights have learned from images that were prepared otherwise" in report.warnings[0]
    save(tmp_path / "bad.safetensors", {"other": np.zeros(2)})
    with pytest.raises(SettingError, match=r"--init-hha .*bad\.safetensors: none of these 1 arrays"):
        trainer_for(sets["nyudv2-rgb-hha"], tmp_path / "r", init_hha=str(tmp_path / "bad.safetensors"))


# --- a step -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("reduction", "weighted"), [("mean", False), ("mean", True), ("sum", True)])
def test_the_loss_of_two_tasks_and_its_gradient_are_torchs(sets, tmp_path, reduction, weighted):
    images = Made(sets["siftflow-both"])
    trainer, _ = trainer_for(images, tmp_path / "run", dropout=0.0, reduction=reduction, batch_norm=False)
    model = trainer.network.model.double()
    random_weights(model, 0)
    if weighted:
        trainer.class_weights = np.random.default_rng(1).uniform(0.5, 2, 33)
    batch = next(trainer.loader.epoch(0))
    x = sf.Tensor(batch.images.astype(np.float64))
    assert batch.labels.shape == (2, 20, 28, 2)

    loss = trainer.loss(x, batch.labels)
    loss.backward()
    ours = {name: p.grad.copy() for name, p in model.named_parameters()}

    scores = model(x)
    logits = {task: torch.tensor(y.numpy(), requires_grad=True) for task, y in scores.items()}
    weights = {"semantic": torch.tensor(trainer.class_weights) if weighted else None, "geometric": None}
    reference = sum(
        torch.nn.functional.cross_entropy(
            logits[task], torch.tensor(batch.labels[..., t].astype(np.int64)), weights[task], ignore_index=255,
            reduction=reduction,
        )
        for t, task in enumerate(("semantic", "geometric"))
    )  # fmt: skip
    assert loss.item() == pytest.approx(reference.item(), rel=1e-12)
    reference.backward()
    model.zero_grad()
    for task in logits:
        scores[task].backward(logits[task].grad.numpy(), retain_graph=True)
    for name, p in model.named_parameters():
        scale = np.abs(p.grad).max()
        assert scale > 0, name
        np.testing.assert_allclose(ours[name] / scale, p.grad / scale, atol=1e-10, err_msg=name)


def test_the_gradient_of_two_streams_reaches_both_halves_of_the_image(sets, tmp_path):
    images = Made(sets["nyudv2-rgb-hha"])
    trainer, _ = trainer_for(images, tmp_path / "run", dropout=0.0, batch_norm=False)
    model = trainer.network.model.double()
    random_weights(model, 0)
    batch = next(trainer.loader.epoch(0))
    np.testing.assert_allclose(batch.images[0], images_as_fed(images, batch.names[0]), atol=1e-5)
    x = sf.Tensor(batch.images.astype(np.float64), requires_grad=True)
    trainer.loss(x, batch.labels).backward()
    rng = np.random.default_rng(0)
    direction = rng.normal(size=x.shape)

    def loss_at(step: float) -> float:
        with sf.no_grad():
            return trainer.loss(sf.Tensor(x.data + step * direction), batch.labels).item()

    slope = (loss_at(1e-6) - loss_at(-1e-6)) / 2e-6
    assert (x.grad * direction).sum() == pytest.approx(slope, rel=1e-5)
    assert all(np.abs(half).max() > 0 for half in (x.grad[:, :3], x.grad[:, 3:]))


@pytest.mark.parametrize("name", ["nyudv2-rgb-hha", "siftflow-both"])
def test_training_and_validation_on_every_device(sets, tmp_path, device, name, monkeypatch):
    for drawing in ("draw_curves", "draw_confusion", "draw_validation"):
        monkeypatch.setattr(RunFolder, drawing, lambda *arguments: None)
    images, losses = Made(sets[name]), {}
    for where in ("cpu", device):
        config = Config(data="x", model="fcn16s", batch_size=2, epochs=1, flip=False, dropout=0.0, loss_sampling=0.5)
        folder = RunFolder(tmp_path / f"{where}{len(losses)}")
        folder.create(config)
        trainer, _ = new_trainer(config, Data(images, images, None), folder, where)
        trainer.fit()
        losses[where] = float(folder.read_log()[0]["val_loss"])
    assert losses[device] == pytest.approx(losses["cpu"], rel=1e-4)


def images_as_fed(images: Dataset, name: str) -> np.ndarray:
    """(6, H, W), worked out: RGB and HHA each less their mean, in ImageNet's deviations."""
    pixels = images.read(int(name))[0].transpose(2, 0, 1) / 255
    mean = [0.485, 0.456, 0.406, 118.477 / 255, 94.076 / 255, 132.431 / 255]
    std = [0.229, 0.224, 0.225] * 2
    return (pixels - np.reshape(mean, (6, 1, 1))) / np.reshape(std, (6, 1, 1))


def test_labels_of_one_task_are_left_alone():
    labels = np.zeros((2, 4, 5), np.uint8)
    assert by_task(labels, []) is labels


# --- validation -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def two_headed(sets) -> tuple[Network, Made]:
    images = Made(sets["siftflow-both"], 4, (22, 30))
    sf.manual_seed(0)
    network = Network.build("fcn16s_small", images.classes, None, images.tasks, images, batch_norm=True)
    random_weights(network.model, 3)
    return network, images


@pytest.mark.parametrize("size", [None, (16, 20)])
def test_the_second_task_has_a_confusion_matrix_of_its_own(two_headed, size):
    network, images = two_headed
    evaluation = Evaluator(images, size)(network, keep=(1,), boundaries=True)
    assert list(evaluation.others) == ["geometric"]
    expected = {task: ConfusionMatrix(len(classes)) for task, classes in images.tasks.items()}
    seen = Network(network.model, network.name, network.options, network.classes, size, network.normalise, images.tasks)
    for i in range(len(images)):
        image, label = images.read(i)
        for t, task in enumerate(images.tasks):
            expected[task].update(seen.for_task(task).predict(image), label[..., t])
    assert (evaluation.confusion.matrix == expected["semantic"].matrix).all()
    assert (evaluation.others["geometric"].matrix == expected["geometric"].matrix).all()
    assert evaluation.confusion.unscored == (8, 10, 15)  # cow, desert, moon
    assert evaluation.others["geometric"].unscored == ()
    assert evaluation.scores_of_others()["geometric_mean_iu"] == expected["geometric"].mean_iu
    assert (evaluation.predictions[1] == seen.predict(images.read(1)[0])).all()
    assert evaluation.boundary.images <= len(images)


def test_the_validation_loss_is_what_training_makes_small(two_headed, tmp_path):
    network, images = two_headed
    trainer, _ = trainer_for(images, tmp_path / "run", batch_size=1)
    trainer.network = network
    network.model.eval()
    losses = [trainer.loss(sf.Tensor(batch.images), batch.labels).item() for batch in trainer.loader.epoch(0)]
    assert Evaluator(images, None)(network).loss == pytest.approx(np.mean(losses), rel=1e-5)


def test_other_ways_to_look_answer_to_both_tasks(two_headed):
    network, images = two_headed
    plain = Evaluator(images, None)(network)
    ways = {task: network.for_task(task).probabilities for task in images.tasks}
    found = ProbabilityEvaluator(images, ways["semantic"], geometric=ways["geometric"])(network)
    assert (found.confusion.matrix == plain.confusion.matrix).all()
    assert (found.others["geometric"].matrix == plain.others["geometric"].matrix).all()
    assert found.loss == pytest.approx(plain.loss, rel=1e-4)


def test_one_task_of_a_network_on_a_data_set_of_one(two_headed):
    network, images = two_headed

    class Geometric(Made):
        def read(self, i: int) -> tuple[np.ndarray, np.ndarray]:
            image, label = images.read(i)
            return image, label[..., 1]

    alone = Geometric(images, len(images))
    alone.tasks, alone.classes = {}, images.tasks["geometric"]
    evaluation = Evaluator(alone, None)(network.for_task("geometric"))
    both = Evaluator(images, None)(network)
    assert evaluation.others == {}
    assert (evaluation.confusion.matrix == both.others["geometric"].matrix).all()


# --- files ------------------------------------------------------------------------------------------------


def test_a_file_says_all_of_both_tasks(two_headed, tmp_path):
    network, images = two_headed
    path = tmp_path / "net.safetensors"
    save(path, network.model.state_dict(), network.metadata())
    again = load_network(path)
    assert again.tasks == dict(images.tasks)
    assert again.metadata() == network.metadata() == network.for_task("geometric").metadata()
    image = images.read(0)[0]
    assert (again.probabilities(image) == network.probabilities(image)).all()
    geometric = again.for_task("geometric")
    assert geometric.classes.names == ("sky", "horizontal", "vertical")
    assert geometric.probabilities(image).shape == (3, 22, 30)
    assert again.for_task(None) is again
    with pytest.raises(SettingError, match=r"--task 'geo': .* there are semantic and geometric"):
        again.for_task("geo")


@pytest.mark.parametrize("options", [{"fusion": "late"}, {}])
def test_a_file_says_how_six_channels_are_fed(sets, tmp_path, options):
    images = sets["nyudv2-rgb-hha"]
    network = Network.build("fcn16s_small", images.classes, (16, 20), images=images, in_channels=6, **options)
    random_weights(network.model, 1)
    path = tmp_path / "net.safetensors"
    save(path, network.model.state_dict(), network.metadata())
    again = load_network(path)
    assert again.normalise == network.normalise
    assert len(again.normalise.mean) == 6
    assert (again.options, again.channels) == (network.options, 6)
    image = images.read(0)[0]
    assert (again.probabilities(image) == network.probabilities(image)).all()
    with pytest.raises(SettingError, match="it has a single one: leave --task out"):
        again.for_task("geometric")
    metadata = network.metadata() | {"mean": network.normalise.mean[:3]}
    save(tmp_path / "bad.safetensors", network.model.state_dict(), metadata)
    with pytest.raises(CheckpointError, match="mean"):
        load_network(tmp_path / "bad.safetensors")


def test_caffes_order_is_kept_for_both_pictures(sets):
    images = sets["nyudv2-rgb-hha"]
    network = Network.build("fcn_googlenet", images.classes, images=images, in_channels=6, fusion="early")
    image = images.read(0)[0]
    x = network.prepare(image)[0]
    assert x.shape == (6, *make_sets.SIZE)
    np.testing.assert_allclose(x[0], image[:, :, 2] - 116.190, atol=1e-3)
    np.testing.assert_allclose(x[3], image[:, :, 5] - 132.431, atol=1e-3)


def test_files_of_one_task_and_three_channels_say_what_they_always_did():
    network = Network.build("fcn32s_small", Classes.numbered(3), batch_norm=True)
    assert "tasks" not in network.metadata()
    assert set(network.metadata()) == {"format", "model", "options", "classes", "size", "mean", "std", "bgr"}


# --- and it learns ----------------------------------------------------------------------------------------


class OnlyInHHA(Dataset):
    """Shapes that HHA shows, and photographs of noise."""

    channels = 6

    def __init__(self, count: int, seed: int) -> None:
        self.shapes = Shapes(count, (24, 24), seed, (1, 1), ("square",))
        self.classes, self.seed = self.shapes.classes, seed

    def __len__(self) -> int:
        return len(self.shapes)

    def name(self, i: int) -> str:
        return self.shapes.name(i)

    def views(self) -> dict[str, Dataset]:
        return {"": self.shapes}

    def read(self, i: int) -> tuple[np.ndarray, np.ndarray]:
        image, label = self.shapes.read(i)
        noise = np.random.default_rng([self.seed, i]).integers(0, 256, image.shape, np.uint8)
        return np.dstack([noise, image]), label


@pytest.mark.slow
def test_what_hha_alone_shows_is_learned():
    images = OnlyInHHA(64, 0)
    sf.manual_seed(0)
    network = Network.build(
        "fcn8s_small", images.classes, images=images, in_channels=6, fusion="late", batch_norm=True, dropout=0.0
    )
    optimiser = Adam(network.model.parameters(), 2e-3)
    x = np.concatenate([network.prepare(images.read(i)[0]) for i in range(len(images))])  # (64, 6, 24, 24)
    labels = np.stack([images.read(i)[1] for i in range(len(images))])
    for step in range(100):
        batch = slice(step % 8 * 8, step % 8 * 8 + 8)
        loss = sf.ops.softmax_cross_entropy(network.model(sf.Tensor(x[batch])), labels[batch])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    confusion = Evaluator(OnlyInHHA(12, 1), None)(network).confusion
    background = confusion.matrix[0].sum() / confusion.matrix.sum()
    assert background < 0.8  # so whoever sees no square has a mean IU of 0.4
    assert confusion.mean_iu > 0.6
