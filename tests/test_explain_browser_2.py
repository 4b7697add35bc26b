"""The pages about receptive fields, skip fusion, the loss and feature maps, in a browser: typed layers, sliders, maps.

What holds for every page is in test_explain_browser.py. Needs Chromium and playwright; skipped, with the reason, where
one is missing.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_explain_browser import PHONE, Reader, browser, folder, read  # noqa: F401  (fixtures)

from scratchfcn import backend, data
from scratchfcn.explain import SettingsError, build, write
from scratchfcn.explain.page import filled
from scratchfcn.explain.topics import receptive_field, skip_fusion, softmax_loss
from scratchfcn.ops.loss import SoftmaxCrossEntropy
from scratchfcn.training import Network
from scratchfcn.weights import save

pytestmark = pytest.mark.xdist_group("explain")
Read = Callable[..., Reader]


def equations(page: Any) -> list[str]:
    return [filled(line, page.numbers) for line in page.equations]


# --- receptive field ----------------------------------------------------------------------------------------

STACKS = [
    ("conv 3, conv 3, conv 3", 12),
    ("conv 5 s2 p2, pool 2, conv 3 d2 p2", 33),
    ("conv 11 s4 p2, pool 3 s2, conv 5 p2", 90),
    ("pool 2, conv 3 p1, up 4 s2 p1", 17),
    ("up 6 s3, conv 2 s4 p1 d3", 9),
    ("conv 3 p3", 1),
    ("conv 1", 5),
]


@pytest.mark.parametrize(("text", "size"), STACKS)
def test_a_typed_stack_gives_the_librarys_numbers(text: str, size: int, read: Read) -> None:  # noqa: F811
    page = build("receptive-field", layers=text, size=size)
    reader = read("receptive-field")
    reader.page.fill("#set-layers", text.replace(", ", "\n"))
    reader.set(size=size)
    assert reader.page.is_hidden("#problem")
    assert reader.equations() == equations(page)
    reader.page.evaluate("i => explain.go(i)", page.data["pixel"])
    seen = np.flatnonzero(page.data["gradient"])
    if len(seen):
        assert f"not zero on rows {seen[0]} … {seen[-1]}, {seen[-1] - seen[0] + 1} rows" in reader.text("#words")
    reader.page.click("#tables summary")
    reader.page.wait_for_selector("#tables td")
    numbers = reader.page.eval_on_selector_all("#tables td", "e => e.map(d => d.textContent).filter(Boolean)")
    np.testing.assert_allclose([float(n) for n in numbers], page.data["gradient"], atol=5.1e-5)


@pytest.mark.parametrize("text", ["conv", "pol 2", "conv 0", "conv 3\nconv 3 s0", "", "conv 40"])
def test_what_is_typed_wrong_is_explained(text: str, read: Read) -> None:  # noqa: F811
    with pytest.raises(SettingsError):
        build("receptive-field", layers=text or " ", size=32)
    reader = read("receptive-field")
    before = reader.equations()
    reader.page.fill("#set-layers", text)
    assert len(reader.text("#problem")) > 20
    assert reader.equations() == before
    reader.page.fill("#set-layers", "conv 3 p1")
    assert reader.page.is_hidden("#problem")


def test_choosing_a_network_writes_its_layers(read: Read) -> None:  # noqa: F811
    reader = read("receptive-field")
    for name, (_, text, size) in receptive_field.known_stacks().items():
        reader.page.select_option("#set-network", name)
        assert reader.page.input_value("#set-layers").split("\n") == receptive_field.split(text)
        assert reader.page.input_value("#set-size") == str(size)
        page = build("receptive-field", layers=text, size=size)
        assert reader.equations() == equations(page)
        assert int(reader.page.input_value("#step")) == page.data["pixel"]
        rows = reader.page.eval_on_selector_all("#layers tr:last-child td", "e => e.map(d => d.textContent)")
        assert rows[-1] == str(page.numbers["field"])
    reader.page.fill("#set-layers", "conv 3")
    assert reader.page.input_value("#set-network") == "yours"


def test_a_pixel_at_the_edge_sees_less(read: Read) -> None:  # noqa: F811
    reader = read("receptive-field")
    reader.page.evaluate("explain.go(0)")
    assert "The rest lies outside the image." in reader.text("#words")


# --- skip fusion --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backbone", skip_fusion.BACKBONES)
def test_skip_fusion_computes_what_the_library_computes(backbone: str, read: Read) -> None:  # noqa: F811
    reader = read("skip-fusion")
    for network in skip_fusion.NETWORKS:
        for size in (1, 32, 33, 100, 224):
            reader.set(network=network, backbone=backbone, size=size)
            assert reader.page.is_hidden("#problem")
            page = build("skip-fusion", model=network, backbone=backbone, size=size)
            assert reader.equations() == equations(page)
            labels = []
            for step, lanes in enumerate(page.data["lanes"]):
                reader.page.evaluate("i => explain.go(i)", step)
                labels.append(reader.page.get_attribute("#lanes svg", "aria-label"))
                for lane in lanes:
                    assert f"{lane['name']}: {lane['size']} pixels" in labels[-1]
            assert int(reader.page.get_attribute("#step", "max")) == len(labels) - 1


# --- the loss -----------------------------------------------------------------------------------------------


def slide(reader: Reader, control: str, value: float) -> None:
    reader.page.evaluate(
        """([id, value]) => { const control = document.getElementById(id); control.value = value;
            control.dispatchEvent(new Event("input", { bubbles: true })); }""",
        [control, str(value)],
    )


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_sliders_give_the_librarys_loss_and_gradient(reduction: str, read: Read) -> None:  # noqa: F811
    K = 4
    rng = np.random.default_rng(0)
    scores, labels, weight = softmax_loss.start_scores(K).copy(), softmax_loss.start_labels(K), np.ones(K)
    reader = read("softmax-loss")
    reader.set(classes=K, reduction=reduction)
    for step in (0, 4, 5, 2):
        r, c = divmod(step, softmax_loss.COLUMNS)
        reader.page.select_option("#which", str(step))
        for k in range(K):
            scores[0, k, r, c] = rng.integers(-60, 61) / 10
            slide(reader, f"score-{k}", scores[0, k, r, c])
        labels[0, r, c] = {0: 3, 4: 255, 5: 1, 2: 2}[step]
        reader.page.select_option("#truth", str(labels[0, r, c]))
        weight[step % K] = rng.integers(0, 51) / 10
        slide(reader, f"weight-{step % K}", weight[step % K])
        op = SoftmaxCrossEntropy(labels, weight, 255, reduction)
        loss = float(op.forward(scores))
        gradient = op.backward(np.ones(()))[0, :, r, c]
        numbers = softmax_loss.equation_numbers(op.p.reshape(scores.shape)[0], labels[0], weight, reduction)
        assert numbers["loss"] == pytest.approx(loss)
        assert reader.equations() == [filled(line, numbers) for line in softmax_loss.EQUATIONS]
        said = reader.page.get_attribute("#gradients svg", "aria-label").replace("−", "-")
        found = [float(n) for n in re.findall(r"class \d (-?[\d.]+\d|-?\d)", said)]
        np.testing.assert_allclose(found, gradient, atol=5.1e-5)
        assert ("ignored" in reader.text("#words")) == (labels[0, r, c] == 255)


def test_without_any_pixel_the_loss_is_zero(read: Read) -> None:  # noqa: F811
    reader = read("softmax-loss")
    for step in range(softmax_loss.ROWS * softmax_loss.COLUMNS):
        reader.page.evaluate("i => explain.go(i)", step)
        reader.page.select_option("#truth", "255")
    assert reader.equations()[-1].endswith("= (0) / 1 = 0")


def test_a_slider_keeps_the_focus_while_it_is_moved(read: Read) -> None:  # noqa: F811
    reader = read("softmax-loss")
    reader.page.locator("#score-1").focus()
    before = reader.equations()
    step = reader.page.input_value("#step")
    for _ in range(3):
        reader.page.keyboard.press("ArrowRight")
    assert reader.page.evaluate("document.activeElement.id") == "score-1"
    assert reader.equations() != before
    assert reader.page.input_value("#step") == step  # the keys were the slider's


# --- feature maps -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """The page of an FCN with random weights; its file and what it was made of."""
    path = tmp_path_factory.mktemp("features")
    backend.manual_seed(0)
    network = Network.build("fcn8s_small", data.Classes.numbered(4), (48, 64))
    rng = np.random.default_rng(0)
    arrays = {n: a + rng.normal(0, 0.1, a.shape).astype(a.dtype) for n, a in network.model.state_dict().items()}
    save(path / "weights.safetensors", arrays, network.metadata())
    page = build("feature-maps", weights=path / "weights.safetensors")
    html, _ = write(page, path / "page.html")
    return html, page


@pytest.mark.parametrize("size", [PHONE, (1280, 900)], ids=["phone", "desk"])
def test_feature_maps_can_be_looked_through(size: tuple[int, int], features: Any, browser: Any) -> None:  # noqa: F811
    path, page = features
    reader = Reader(browser, path, size)
    try:
        assert reader.page.evaluate("document.documentElement.scrollWidth") <= size[0]
        for t, target in enumerate(page.data["targets"]):
            reader.set(target=t)
            numbers = page.numbers | {word: target[word] for word in page.numbers if word in target}
            assert reader.equations() == [filled(line, numbers) for line in page.equations]
            for step, layer in enumerate(page.data["layers"]):
                reader.page.evaluate("i => explain.go(i)", step)
                assert reader.page.locator("#maps button").count() == len(layer["channels"])
                assert reader.page.evaluate("document.documentElement.scrollWidth") <= size[0]
        reader.page.evaluate("explain.go(0)")
        button = reader.page.locator("#maps button").nth(1)
        button.click()
        assert button.get_attribute("aria-pressed") == "true"
        assert reader.page.locator("#maps [aria-pressed=true]").count() == 1
        channel = page.data["layers"][0]["channels"][1]
        assert f"Map {channel['index']} is largest at ({channel['row']}, {channel['column']})" in reader.text("#words")
        source = button.locator("img").get_attribute("src")
        reader.set(show="gradients")
        assert reader.page.locator("#maps button").nth(1).locator("img").get_attribute("src") != source
        assert reader.page.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
        assert reader.wrong == []
    finally:
        reader.context.close()


def test_the_sentence_about_the_gradient_is_true(features: Any, browser: Any) -> None:  # noqa: F811
    path, page = features
    reader = Reader(browser, path, (1280, 900))
    try:
        last = len(page.data["layers"]) - 1
        reader.page.evaluate("i => explain.go(i)", last)
        chosen = page.data["targets"][0]
        assert page.data["layers"][last]["channels"][0]["name"] == chosen["name"]
        assert f"Score of {chosen['name']} is largest" in reader.text("#words")
    finally:
        reader.context.close()
