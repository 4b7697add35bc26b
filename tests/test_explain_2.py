"""Receptive fields, skip fusion, the loss and feature maps: what their pages say, against the library itself."""

import base64
import io
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from shared_data import shared_data

import scratchfcn as sf
from scratchfcn import backend, data, models, nn
from scratchfcn.explain import SettingsError, build, one_image, render, write
from scratchfcn.explain.one_image import on_the_image, picture_for, quick_network, run, subject_of
from scratchfcn.explain.page import filled
from scratchfcn.explain.topics import feature_maps, receptive_field, skip_fusion, softmax_loss
from scratchfcn.geometry import Grid, Window
from scratchfcn.inspection import dry_run
from scratchfcn.training import Network
from scratchfcn.weights import load, save

TOPICS = ("receptive-field", "skip-fusion", "softmax-loss")


def page_data(html: str) -> dict:
    """The numbers that travel in the page."""
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.S)[1])


# --- every page ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def feature_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of an untrained checkpoint and a photograph-like picture."""
    folder = tmp_path_factory.mktemp("features")
    html, _ = write(build("feature-maps", weights=checkpoint(folder), image=photograph(folder)), folder / "f.html")
    return html


def checkpoint(folder: Path, model: str = "fcn8s_small", size: tuple[int, int] | None = None) -> Path:
    backend.manual_seed(1)
    network = Network.build(model, data.Classes.numbered(4), size)
    path = folder / f"{model}.safetensors"
    backend.manual_seed(2)
    rng = np.random.default_rng(0)
    arrays = {n: a + rng.normal(0, 0.1, a.shape).astype(a.dtype) for n, a in network.model.state_dict().items()}
    save(path, arrays, network.metadata())
    return path


def photograph(folder: Path) -> Path:
    """Noise over a gradient, which compresses badly: the largest that a picture in a page can be."""
    rng = np.random.default_rng(0)
    path = folder / "photo.png"
    Image.fromarray(rng.integers(0, 256, (360, 480, 3), dtype=np.uint8)).save(path)
    return path


@pytest.mark.parametrize("topic", TOPICS)
def test_a_page_needs_nothing_else_and_its_picture_lies_beside_it(topic: str, tmp_path: Path) -> None:
    html_path, png_path = write(build(topic), tmp_path / "page.html")
    html = html_path.read_text(encoding="utf-8")
    check_self_contained(html)
    assert html_path.stat().st_size < 100_000
    with Image.open(png_path) as picture:
        assert picture.width > 1000
        assert picture.text["Description"]


def check_self_contained(html: str) -> None:
    assert not re.search(r"""(src|href)=["'](?!data:|#)""", html)
    assert not re.findall(r"https?://(?!www\.w3\.org/2000/svg)", html)
    assert 'lang="en"' in html
    assert 'name="viewport"' in html
    assert "aria-live" in html


def test_the_page_with_pictures_holds_them_and_stays_small(feature_page: Path) -> None:
    html = feature_page.read_text(encoding="utf-8")
    check_self_contained(html)
    assert feature_page.stat().st_size < 2_000_000
    stated = page_data(html)["kilobytes"]
    assert (
        0.9 * stated < feature_page.stat().st_size / 1000 < 1.2 * stated + 60
    )  # the page says what its pictures weigh
    assert f"{stated} kB" in html


# --- receptive field ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "field"), [("vgg16", 404), ("alexnet", 355), ("googlenet", 907), ("small", 220), ("resnet18", 435)]
)
def test_known_stacks_have_the_papers_receptive_fields(name: str, field: int) -> None:
    _, text, _ = receptive_field.known_stacks()[name]
    assert Grid().through(*receptive_field.parse(text)).receptive_field == field


def test_a_stack_is_read_as_it_is_written() -> None:
    assert receptive_field.parse("conv 3 s2 p1\n POOL 2 ,, pool 3 s2, up 4 s2 p1, conv 3 d4") == [
        Window(3, 2, 1),
        Window(2, 2),
        Window(3, 2),
        Window(4, 2, 1, transposed=True),
        Window(3, 1, 0, 4),
    ]


windows = st.builds(
    Window,
    kernel=st.integers(1, 7),
    stride=st.integers(1, 3),
    padding=st.integers(0, 3),
    dilation=st.integers(1, 3),
    transposed=st.booleans(),
)


@given(windows)
def test_a_window_written_and_read_again_is_the_same(window: Window) -> None:
    assert receptive_field.parse(receptive_field.window_text(window)) == [window]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no layer"),
        ("conv", "layer 1, 'conv'"),
        ("conv 3, pol 2", "layer 2, 'pol 2'"),
        ("conv 3 x2", "layer 1"),
        ("conv 0", "at least 1"),
        ("pool 2 s0", "at least 1"),
        (", ".join(["conv 1"] * 201), "201 layers"),
    ],
)
def test_what_cannot_be_read_is_named(text: str, words: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(words)):
        receptive_field.parse(text)


def test_settings_that_do_not_go_together() -> None:
    with pytest.raises(SettingsError, match="each name a network"):
        build("receptive-field", model="vgg16", layers="conv 3")
    with pytest.raises(SettingsError, match=r"layer 1, conv 9: nothing is left.*9 rows.*has 5"):
        build("receptive-field", layers="conv 9", size=5)


@settings(max_examples=40)
@given(st.lists(windows.filter(lambda w: not w.transposed), min_size=1, max_size=4))
def test_the_measured_field_is_the_computed_one(stack: list[Window]) -> None:
    grid = Grid().through(*stack)
    rows = int(3 * grid.receptive_field + abs(grid.start)) + 40
    sizes = receptive_field.map_sizes(stack, rows)
    pixel = sizes[-1] // 2
    gradient = receptive_field.measure(stack, rows, pixel)
    seen = np.flatnonzero(gradient)
    first = max(0, grid.centre(pixel) - (grid.receptive_field - 1) / 2)
    last = min(rows - 1, grid.centre(pixel) + (grid.receptive_field - 1) / 2)
    if all(w.stride <= w.dilation * (w.kernel - 1) + 1 for w in stack):
        assert (seen[0], seen[-1]) == (first, last)
    else:
        assert first <= seen[0]
        assert seen[-1] <= last


def test_the_gradient_of_a_square_image_is_the_product_of_two_axes() -> None:
    stack = receptive_field.parse("conv 3 p1, pool 2, conv 3 d2")
    along = receptive_field.measure(stack, 15, 1)
    layers = [nn.Conv2d(1, 1, k, s, p, d, bias=False).double() for k, s, p, d, _ in stack]
    for layer in layers:
        layer.weight.data[...] = 1 / layer.weight.size
    image = sf.Tensor(np.zeros((1, 1, 15, 15)), requires_grad=True)
    scores = nn.Sequential(*layers)(image)
    seed = np.zeros(scores.shape)
    seed[0, 0, 1, 1] = 1
    scores.backward(seed)
    np.testing.assert_allclose(image.grad[0, 0], np.outer(along, along), atol=1e-15)


def test_the_equations_of_a_stack_by_hand() -> None:
    page = build("receptive-field", layers="conv 3 p1, pool 2, conv 5", size=20)
    lines = [filled(line, page.numbers) for line in page.equations]
    assert lines[1] == "stride = 2 = 2"
    assert lines[2] == "receptive field = 1 + 2·1 + 1·1 + 4·2 = 12 rows and columns"
    assert lines[3] == "centre of pixel i = 2·i + 4.5; 6 of them over an image of 20 rows"


@pytest.mark.parametrize("name", ["fcn8s_small", "fcn32s_vgg16", "squeezenet1_1", "fcn_resnet50", "mobilenet_v2"])
def test_a_networks_text_gives_the_grid_of_its_coarsest_map(name: str) -> None:
    with nn.init.skipped():
        model = models.build(name).eval()
    grid = Grid().through(*receptive_field.parse(receptive_field.network_text(name)))
    if isinstance(model, models.FCN):
        assert grid == model.score_grid
    else:
        backbone = model if isinstance(model, models.Backbone) else model.backbone
        assert grid == Grid().through(*(w for stage in backbone.pool_windows() for w in stage))


def test_a_checkpoint_names_its_network(tmp_path: Path) -> None:
    page = build("receptive-field", weights=checkpoint(tmp_path))
    assert page.numbers["field"] == 220
    assert page.settings[0].value == "model"


def test_a_checkpoints_own_options_count(tmp_path: Path) -> None:
    backend.manual_seed(0)
    network = Network.build("fcn32s_googlenet", data.Classes.numbered(2), recipe="caffe")
    save(tmp_path / "caffe.safetensors", network.model.state_dict(), network.metadata())
    grid = build("receptive-field", weights=tmp_path / "caffe.safetensors").data["grid"]
    assert grid == [float(n) for n in vars(network.model.score_grid).values()]
    assert grid != build("receptive-field", model="fcn32s_googlenet").data["grid"]


# --- skip fusion --------------------------------------------------------------------------------------------


def real_network(network: str, backbone: str) -> models.FCN:
    _, known_as, recipe = skip_fusion.BACKBONES[backbone]
    with nn.init.skipped():
        return models.build(f"{network}_{known_as}", 2, recipe=recipe).eval()


@pytest.mark.parametrize("network", skip_fusion.NETWORKS)
@pytest.mark.parametrize("backbone", skip_fusion.BACKBONES)
def test_crops_and_grids_are_those_of_the_network(network: str, backbone: str) -> None:
    model = real_network(network, backbone)
    steps = skip_fusion.fuse(network, skip_fusion.backbone_of(backbone), 64)
    crops = [getattr(model, name) for name in ("crop_pool4", "crop_pool3", "crop") if hasattr(model, name)]
    assert [step["offset"] for step in steps[1:]] == crops
    grids = {row.name: row.grid for row in steps[0]["rows"]}
    assert grids["score"] == model.score_grid
    assert grids.get("pool4", model.pool4_grid) == model.pool4_grid
    assert grids.get("pool3", model.pool3_grid) == model.pool3_grid


@pytest.mark.parametrize("backbone", skip_fusion.BACKBONES)
def test_all_sizes_are_those_of_the_network(backbone: str) -> None:
    model = real_network("fcn8s", backbone)
    for rows in (1, 31, 32, 33, 57, 64, 100, 224):
        shapes = {row.layer: row.output[2] for row in dry_run(model, (1, 3, rows, rows)).rows}
        steps = skip_fusion.fuse("fcn8s", skip_fusion.backbone_of(backbone), rows)
        sizes = {row.name: row.size for step in steps for row in step["rows"]}
        for mine, theirs in {
            "score": "score_fr",
            "pool4": "score_pool4",
            "pool3": "score_pool3",
            "upscore2": "upscore2",
            "upscore_pool4": "upscore_pool4",
            "upscore8": "upscore8",
        }.items():
            assert sizes[mine] == shapes[theirs], (rows, mine)


def test_the_papers_crops_are_in_the_equations() -> None:
    lines = build("skip-fusion").numbers
    assert lines["fuse4"].endswith("(−11.5 − (−91.5)) / 16 = 5")
    assert lines["fuse3"].endswith("(−23.5 − (−95.5)) / 8 = 9")
    assert lines["image"].endswith("0 − (−31) = 31")
    assert build("skip-fusion", model="fcn32s").numbers["image"].endswith("= 19")
    assert build("skip-fusion", model="fcn16s").numbers["image"].endswith("= 27")


def test_a_network_may_be_named_with_its_backbone() -> None:
    page = build("skip-fusion", model="fcn16s_small", size=(40, 40))
    assert [setting.value for setting in page.settings] == ["fcn16s", "small", 40]
    with pytest.raises(SettingsError, match="not one of"):
        build("skip-fusion", model="fcn4s")


# --- the loss -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("classes", [2, 3, 5])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_the_loss_of_the_page_is_torchs(classes: int, reduction: str) -> None:
    torch = pytest.importorskip("torch")
    page = build("softmax-loss", classes=classes, reduction=reduction)
    scores = torch.tensor(softmax_loss.start_scores(classes), requires_grad=True)
    labels = torch.tensor(softmax_loss.start_labels(classes)).long()
    loss = torch.nn.functional.cross_entropy(scores, labels, ignore_index=255, reduction=reduction)
    loss.backward()
    assert page.numbers["loss"] == pytest.approx(loss.item(), rel=1e-12)
    assert page.data["loss"] == pytest.approx(loss.item(), rel=1e-12)
    np.testing.assert_allclose(page.data["gradient"], scores.grad[0].numpy(), atol=1e-15)


def test_an_equation_with_weights_and_without_pixels() -> None:
    p = np.full((2, 2, 3), 0.5)
    labels = np.full((2, 3), 255)
    numbers = softmax_loss.equation_numbers(p, labels, np.ones(2), "mean")
    assert (numbers["loss"], numbers["total"]) == (0, 1)
    labels[0, :2] = 0, 1
    numbers = softmax_loss.equation_numbers(p, labels, np.array([1.0, 3.0]), "mean")
    assert numbers["total_sum"] == "1 + 3"
    assert numbers["loss"] == pytest.approx(math.log(2))


def test_more_classes_than_the_page_shows_are_refused() -> None:
    with pytest.raises(SettingsError, match="classes K: 6 is outside"):
        build("softmax-loss", classes=6)
    with pytest.raises(SettingsError, match="not one of"):
        build("softmax-loss", reduction="none")


# --- feature maps -------------------------------------------------------------------------------------------


def decoded(uri: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).convert("RGB"))


def test_the_page_shows_the_networks_own_maps(feature_page: Path) -> None:
    told = page_data(feature_page.read_text(encoding="utf-8"))
    assert told["size"] == [240, 320]
    assert {layer["stride"] for layer in told["layers"]} >= {1, 2, 4, 8, 16, 32}
    assert any("score_fr" in layer["name"] for layer in told["layers"])
    for layer in told["layers"]:
        assert 1 <= len(layer["channels"]) <= feature_maps.CHANNELS
        for channel in layer["channels"]:
            assert max(decoded(channel["map"]).shape) <= feature_maps.LARGEST
            assert len(channel["slopes"]) == len(channel["gradients"]) == len(told["targets"])


def test_values_and_gradients_are_those_of_the_network(tmp_path: Path) -> None:
    subject = subject_of(checkpoint(tmp_path))
    image = picture_for(subject, None)
    found = run(subject, image)
    x = sf.Tensor(subject.normalise(image, None)[0][None], requires_grad=True)
    scores = subject.model(x)
    np.testing.assert_array_equal(found.scores, scores.numpy()[0])
    target = found.targets[0]
    (scores * one_hot(scores.shape, target)).sum().backward()
    np.testing.assert_allclose(target.gradient, x.grad[0], rtol=1e-5, atol=1e-7)
    assert target.score == found.scores[target.class_id, target.row, target.column]
    p = np.exp(found.scores[:, target.row, target.column].astype(np.float64))
    assert target.probability == pytest.approx(p[target.class_id] / p.sum(), rel=1e-4)


def one_hot(shape: tuple[int, ...], target: one_image.Target) -> np.ndarray:
    seed = np.zeros(shape, np.float32)
    seed[0, target.class_id, target.row, target.column] = 1
    return seed


def test_the_gradient_of_a_map_is_what_a_change_of_it_does(tmp_path: Path) -> None:
    """The last map of scores is upsampled linearly: a change of one of its numbers shows in the score at once."""
    subject = subject_of(checkpoint(tmp_path))
    subject.model.double()
    double = subject.normalise
    subject.normalise = lambda image, label: (double(image, label)[0].astype(np.float64), label)
    image = picture_for(subject, None)
    found = run(subject, image)
    layer = next(each for each in found.layers if each.row.layer == "score_fr")
    target, gradient = found.targets[0], layer.gradients[0]
    k, r, c = np.unravel_index(np.abs(gradient).argmax(), gradient.shape)
    bias = subject.model.score_fr.bias.data
    bias[k] += 0.5  # moves the whole map k of score_fr by a half
    again = run(subject, image, most_targets=1)
    change = again.scores[target.class_id, target.row, target.column] - target.score
    assert change == pytest.approx(0.5 * gradient[k].sum(), rel=1e-9)
    assert gradient[k, r, c] != 0


@pytest.mark.parametrize("name", ["fcn16s_small", "fcn_resnet50", "fcn_8", "d2l_fcn_resnet18"])
def test_any_checkpoint_will_do(name: str, tmp_path: Path) -> None:
    path = checkpoint(tmp_path, name, (64, 64))
    page = build("feature-maps", weights=path)
    assert page.data["size"] == [64, 64]
    assert len(page.data["layers"]) >= 4
    render(page)


def test_a_classifiers_weights_need_a_name_and_become_dense(tmp_path: Path) -> None:
    classifier = models.build("squeezenet1_1", 1000)
    path = tmp_path / "squeezenet.safetensors"
    save(path, {n: a for n, a in classifier.state_dict().items() if n.startswith("features")})
    with pytest.raises(SettingsError, match="--model"):
        build("feature-maps", weights=path)
    names = tmp_path / "names.txt"
    names.write_text("\n".join(f"thing {k}, also called so" for k in range(1000)))
    page = build("feature-maps", weights=path, model="squeezenet1_1", names=names)
    assert "nothing for classifier.1.weight" in page.data["about"]
    assert page.data["targets"][0]["name"].startswith("thing ")
    assert len(page.data["targets"]) == 3
    names.write_text("one\ntwo\n")
    with pytest.raises(SettingsError, match=r"2 lines, the network 1000"):
        build("feature-maps", weights=path, model="squeezenet1_1", names=names)
    with pytest.raises(SettingsError, match="needs --weights"):
        build("feature-maps", model="squeezenet1_1")
    with pytest.raises(SettingsError, match="not known"):
        build("feature-maps", weights=path, model="squeezenet9")


def test_weights_that_say_little_or_something_else(tmp_path: Path) -> None:
    path = checkpoint(tmp_path)
    with pytest.raises(SettingsError, match="says that it is fcn8s_small; leave out --model fcn32s_small"):
        build("feature-maps", weights=path, model="fcn32s_small")
    bare = tmp_path / "bare.safetensors"
    save(bare, load(path).arrays)
    assert "random" in build("feature-maps", weights=bare, model="fcn8s_small").data["about"]
    page = build("feature-maps", weights=bare, model="fcn8s_small", classes=4)
    assert "random" not in page.data["about"]
    assert page.data["layers"] == build("feature-maps", weights=path).data["layers"]


def test_without_weights_a_network_learns_and_chance_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(one_image, "STEPS", 2)
    backend.manual_seed(7)
    before = backend.generator().bit_generator.state
    page = build("feature-maps")
    assert backend.generator().bit_generator.state == before
    assert "2 steps only" in page.data["about"]
    again = build("feature-maps")
    assert again.data["layers"] == page.data["layers"]


def test_a_small_heat_map_is_laid_where_its_pixels_lie() -> None:
    values = np.array([[0.0, 1.0], [2.0, 3.0]])
    wide = on_the_image(values, Grid().through(Window(2, 2), Window(2, 2)), (8, 8))
    assert wide.shape == (8, 8)
    np.testing.assert_allclose(wide[0, [0, 1, 2, 6, 7]], [0, 0, 0.125, 1, 1])  # centres at 1.5 and 5.5
    assert on_the_image(values, None, (2, 2)).tolist() == values.tolist()


def test_the_colours_of_a_gradient() -> None:
    picture = feature_maps.signed(np.array([[-2.0, 0.0, 1.0, 2.0]]))
    assert tuple(picture[0, 0]) == feature_maps.NEGATIVE
    assert tuple(picture[0, 1]) == (255, 255, 255)
    assert tuple(picture[0, 3]) == feature_maps.POSITIVE
    assert feature_maps.grey(np.array([[-1.0, 0.0, 1.0]])).tolist()[0][::2] == [0, 255]
    assert feature_maps.grey(np.zeros((2, 2))).max() == 0


@pytest.mark.slow
def test_the_network_that_learns_for_seconds_learns_something() -> None:
    subject = quick_network()
    network = Network(subject.model, subject.name, {}, data.Classes.numbered(4), None, subject.normalise)
    pictures = data.Shapes(20, (64, 64), 5, (1, 2), one_image.KINDS)
    matrix = sf.metrics.ConfusionMatrix(4)
    for i in range(len(pictures)):
        image, label = pictures.read(i)
        matrix.update(network.predict(image)[None], label[None])
    assert matrix.mean_iu > 0.4  # a network that knows nothing gets 0.2


@pytest.mark.slow
@pytest.mark.parametrize(("photo", "name"), [("dragonfly", "dragonfly"), ("hot_dog", "hotdog"), ("bird", "chickadee")])
def test_real_weights_find_what_the_photograph_shows(photo: str, name: str) -> None:
    page = build(
        "feature-maps",
        weights=shared_data("weights", "squeezenet1_0_deepcompression_tvnorm.safetensors"),
        model="squeezenet1_0",
        image=shared_data("photos", f"{photo}.jpg"),
        names=shared_data("weights", "imagenet_classes.txt"),
    )
    assert page.data["targets"][0]["name"] == name
    assert len(render(page)) < 2_000_000
