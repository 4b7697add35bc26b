"""`scratchfcn val`: each image's scores, the figures as values, the page, and what may be written where."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from scratchfcn.cli import app
from scratchfcn.data import Classes, Dataset, Shapes, read_label, save_mask, voc_palette
from scratchfcn.metrics import BoundaryF1, ConfusionMatrix
from scratchfcn.reports.val_report import (
    WRONG,
    Extremes,
    error_map,
    figures,
    histogram,
    largest_confusions,
    taken_for,
    val_page,
)
from scratchfcn.training import Config, Network, RunFolder
from scratchfcn.training.evaluate import Evaluation, Evaluator, ImageScore, ProbabilityEvaluator
from scratchfcn.weights import save


def run(*args: object) -> Result:
    return CliRunner().invoke(app, [str(a) for a in args], prog_name="scratchfcn")


def said(result: Result) -> str:
    return " ".join((result.output + (result.stderr or "")).split())


class Given(Dataset):
    """Masks as they are given, and images that are noise."""

    def __init__(self, labels: list[np.ndarray], classes: Classes) -> None:
        self.labels, self.classes = labels, classes

    def __len__(self) -> int:
        return len(self.labels)

    def name(self, i: int) -> str:
        return f"image_{i}"

    def read(self, i: int) -> tuple[np.ndarray, np.ndarray]:
        label = self.labels[i]
        return np.random.default_rng(i).integers(0, 256, (*label.shape, 3), dtype=np.uint8), label


CLASSES = Classes(("road", "car", "<b>moon</b>"), voc_palette(3), unscored=("<b>moon</b>",))
TRUTH = [np.array(rows, np.uint8) for rows in ([[0, 0, 1, 1]], [[0, 0, 0, 255]], [[255, 255, 255, 255]])]
FOUND = [np.array(rows, np.uint8) for rows in ([[0, 0, 0, 1]], [[0, 2, 0, 1]], [[0, 1, 2, 0]])]


@pytest.fixture
def evaluation() -> Evaluation:
    result = Evaluation(ConfusionMatrix(3, unscored=[2]), 0.25, boundary=BoundaryF1(3, unscored=[2]))
    for i, (label, found) in enumerate(zip(TRUTH, FOUND, strict=True)):
        result.add(f"image_{i}", found, label, 0.1 * i)
    return result


# --- scores of single images ------------------------------------------------------------------------------


def test_scores_of_single_images_worked_by_hand(evaluation: Evaluation) -> None:
    first, second, third = evaluation.images
    assert (first.number, first.name, second.loss) == (0, "image_0", 0.1)
    assert first.pixel_acc == 3 / 4
    assert first.mean_iu == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert second.pixel_acc == 2 / 3
    assert second.mean_iu == pytest.approx(2 / 3)  # of road alone: no car and no moon is shown
    assert all(math.isnan(value) for value in (third.pixel_acc, third.mean_iu, third.boundary_f1))
    assert evaluation.confusion.matrix.tolist() == [[4, 0, 1], [1, 1, 0], [0, 0, 0]]


def small_network(size: tuple[int, int] | None = (16, 20)) -> Network:
    network = Network.build("fcn32s_small", Shapes(1).classes, size)
    rng = np.random.default_rng(0)
    network.model.score_fr.weight.data[...] = rng.normal(0, 0.3, network.model.score_fr.weight.shape)
    network.model.eval()
    return network


def test_the_evaluator_measures_boundaries_only_when_asked_and_reports_each_image() -> None:
    data, network, seen = Shapes(3, (32, 40), seed=3), small_network(), []
    plain = Evaluator(data, network.size)(network)
    assert plain.boundary is None
    assert math.isnan(plain.images[0].boundary_f1)
    result = Evaluator(data, network.size)(network, boundaries=True, each=lambda *one: seen.append(one))
    np.testing.assert_array_equal(result.confusion.matrix, plain.confusion.matrix)
    assert result.loss == plain.loss == pytest.approx(np.mean([score.loss for score in result.images]))
    expected = BoundaryF1(7)
    for i, (score, prediction) in enumerate(seen):
        image, label = data.read(i)
        np.testing.assert_array_equal(prediction, network.predict(image))
        assert expected.update(prediction, label)[0] == score.boundary_f1
    assert result.boundary.f1 == expected.f1


def test_the_data_sets_unscored_classes_are_left_out_of_an_evaluation() -> None:
    data, network = Shapes(2, (32, 40), seed=3), small_network()
    names = data.classes.names
    data.classes = Classes(names, data.classes.colours, unscored=names[2:3])
    result = Evaluator(data, network.size)(network)
    assert result.confusion.unscored == (2,)
    assert result.confusion.mean_iu == pytest.approx(np.nanmean(np.delete(result.confusion.per_class_iu, 2)))


def test_evaluating_probabilities_counts_the_same_and_takes_the_loss_of_the_pixels() -> None:
    data, network = Shapes(2, (32, 40), seed=3), small_network(None)
    result = ProbabilityEvaluator(data, network.probabilities)(network, boundaries=True)
    plain = Evaluator(data, None)(network, boundaries=True)
    np.testing.assert_array_equal(result.confusion.matrix, plain.confusion.matrix)
    assert result.loss == pytest.approx(plain.loss, rel=1e-4)  # without resizing, both losses are the same


# --- plain values -----------------------------------------------------------------------------------------


def test_what_a_class_is_taken_for() -> None:
    names = ["pole", "building", "tree", "sky"]
    row = np.array([30, 41, 27, 2])
    words = [(other["class"], other["share"]) for other in taken_for(row, 0, names)]
    assert words == [("building", 0.41), ("tree", 0.27)]  # sky: too few to mention
    assert taken_for(np.zeros(4, int), 0, names) == []


def test_the_largest_confusions_are_shares_of_what_is_wrong() -> None:
    counts = np.array([[90, 6, 0], [2, 50, 0], [0, 0, 7]])
    pairs = [(pair["true"], pair["as"], pair["share"]) for pair in largest_confusions(counts, "abc")]
    assert pairs == [("a", "b", 0.75), ("b", "a", 0.25)]
    assert largest_confusions(np.diag([1, 2, 3]), "abc") == []


def test_figures_are_json_with_null_for_what_is_no_number(evaluation: Evaluation) -> None:
    found = json.loads(json.dumps(figures(evaluation, CLASSES, {"split": "val"}, "scratchfcn val"), allow_nan=False))
    assert found["mean_iu"] == evaluation.confusion.mean_iu
    assert found["boundary_f1"] == evaluation.boundary.f1
    assert (found["images"], found["pixels"], found["loss"]) == (3, 7, 0.25)
    assert found["per_image"][2] == {
        "name": "image_2", "mean_iu": None, "pixel_acc": None, "boundary_f1": None, "loss": 0.2,
    }  # fmt: skip
    road, car, moon = found["classes"]
    assert (road["pixels"], road["predicted_pixels"], road["in_the_means"]) == (5, 5, True)
    assert road["taken_for"] == [{"class": "<b>moon</b>", "share": 0.2}]
    assert car["accuracy"] == 0.5
    assert (moon["iu"], moon["accuracy"], moon["in_the_means"]) == (0.0, None, False)
    assert found["confusion"]["counts"][0] == [4, 0, 1]


def test_extremes_keep_few_and_no_image_twice() -> None:
    extremes = Extremes(worst=3, best=2)
    for i, iu in enumerate([0.5, 0.2, math.nan, 0.9, 0.2, 0.7, 0.1]):
        extremes.add(ImageScore(i, str(i), 0, 0, iu, 0), np.full((1, 1), i, np.uint8))
    worst, best = extremes.sorted("worst"), extremes.sorted("best")
    assert [score.number for score, _ in worst] == [6, 1, 4]  # equal ones in the data set's order
    assert [score.number for score, _ in best] == [3, 5]
    assert [int(prediction[0, 0]) for _, prediction in worst] == [6, 1, 4]
    few = Extremes(worst=3, best=2)
    few.add(ImageScore(0, "0", 0, 0, 0.5, 0), np.zeros((1, 1), np.uint8))
    assert len(few.sorted("worst")) == 1
    assert few.sorted("best") == []
    none = Extremes(worst=0, best=0)
    none.add(ImageScore(0, "0", 0, 0, 0.5, 0), np.zeros((1, 1), np.uint8))
    assert none.sorted("worst") == none.sorted("best") == []


def test_the_map_of_errors() -> None:
    image = np.full((1, 4, 3), 200, np.uint8)
    label, prediction = np.array([[0, 1, 255, 1]], np.uint8), np.array([[0, 0, 0, 1]], np.uint8)
    picture = error_map(image, label, prediction, 255)
    assert picture[0, 0].tolist() == picture[0, 3].tolist() == [228, 228, 228]
    assert picture[0, 2].tolist() == [255, 255, 255]
    assert np.abs(picture[0, 1].astype(int) - WRONG).max() < 35


def test_the_histogram_counts_every_image_that_has_a_score() -> None:
    spread = histogram(np.array([0.0, 0.04, 0.5, 1.0, math.nan]))
    assert spread["counts"][0] == 2
    assert spread["counts"][10] == 1
    assert spread["counts"][-1] == 1
    assert (spread["images"], spread["most"], spread["median"]) == (4, 2, pytest.approx(0.27))
    assert histogram(np.array([math.nan]))["images"] == 0


# --- the page ---------------------------------------------------------------------------------------------


def test_the_page_has_everything_and_lets_no_name_be_markup(evaluation: Evaluation) -> None:
    extremes = Extremes(worst=1, best=1)
    for score, prediction in zip(evaluation.images, FOUND, strict=True):
        extremes.add(score, prediction)
    page = val_page(
        evaluation, Given(TRUTH, CLASSES), extremes, {"split": "val", "ignore": []}, "scratchfcn val", "A & B"
    )
    assert page.count("data:image/") == 8  # two images, four pictures each
    for words in ("A &amp; B", "&lt;b&gt;moon&lt;/b&gt;", "not in the means", "scratchfcn val", "image_2", "<svg"):
        assert words in page, words
    assert "<b>moon" not in page
    for absent in ("http://", "https://", "<script"):
        assert absent not in page


def test_a_page_about_nothing() -> None:
    empty = Evaluation(ConfusionMatrix(3), 0.0, boundary=BoundaryF1(3))
    empty.add("image_0", FOUND[2], TRUTH[2], 0.0)
    page = val_page(empty, Given(TRUTH[2:], CLASSES), Extremes())
    assert "0 labelled pixels" in page
    assert "in none of the masks do two classes touch" in page
    assert "<svg" not in page


# --- the command ------------------------------------------------------------------------------------------


def write_pairs(folder: Path, split: str, count: int, seed: int) -> None:
    data = Shapes(count, (24, 30), seed=seed)
    for kind in ("images", "masks"):
        (folder / kind / split).mkdir(parents=True)
    for i in range(count):
        image, label = data.read(i)
        Image.fromarray(image).save(folder / "images" / split / f"{i}.png")
        save_mask(folder / "masks" / split / f"{i}.png", label, data.classes)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_pairs(folder, "val", 4, 1)
    write_pairs(folder, "test", 2, 2)
    return folder


@pytest.fixture
def weights(tmp_path: Path, data: Path) -> Path:
    """A run folder with weights and settings, without a training."""
    network = Network.build("fcn32s_small", Classes.numbered(7), (16, 20))
    save(tmp_path / "run" / "best.safetensors", network.model.state_dict(), network.metadata())
    RunFolder(tmp_path / "run").create(Config(data=str(data), model="fcn32s"))
    return tmp_path / "run" / "best.safetensors"


def test_val_prints_five_figures_and_writes_the_page_beside_the_weights(weights: Path, data: Path) -> None:
    for name in ("report_val.html", "report_val_2.html"):  # the second time under the next free name
        result = run("val", "--weights", weights, "--data", data, "--device", "cpu")
        assert result.exit_code == 0, said(result)
        for words in ("4 images", "boundary F1", "mean IU", "class 3", str(weights.with_name(name))):
            assert words in said(result), words
        assert "run/best.safetensors on" in weights.with_name(name).read_text(encoding="utf-8")


def test_without_data_the_runs_own_is_used_and_without_a_report_none_is_written(weights: Path) -> None:
    before = sorted(weights.parent.iterdir())
    result = run("val", "--weights", weights, "--no-report", "--device", "cpu")
    assert result.exit_code == 0, said(result)
    assert "4 images" in said(result)
    assert sorted(weights.parent.iterdir()) == before


def test_json_and_masks(weights: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "figures.json"
    result = run(
        "val", "--weights", weights, "--split", "test", "--size", "native", "--json", out,
        "--save-masks", tmp_path / "masks", "--report", tmp_path / "page.html", "--worst", 1, "--device", "cpu",
    )  # fmt: skip
    assert result.exit_code == 0, said(result)
    found = json.loads(out.read_text())
    assert (found["images"], found["settings"]["split"], found["settings"]["size"]) == (2, "test", "native")
    masks = sorted((tmp_path / "masks").iterdir())
    assert [mask.name for mask in masks] == ["0.png", "1.png"]
    again = ConfusionMatrix(7)
    for mask in masks:
        again.update(read_label(mask), read_label(data / "masks" / "test" / mask.name))
    assert again.matrix.tolist() == found["confusion"]["counts"]
    assert (tmp_path / "page.html").read_text().count("data:image/") == 8  # the worst, and the other is the best


def test_other_ways_to_look_at_an_image(weights: Path, tmp_path: Path) -> None:
    scores = {}
    for name, options in {
        "once": (),
        "one window": ("--window", "20x16"),  # of what the network sees: all of it
        "mirrored": ("--flip",),
        "scales": ("--scales", "0.5,1", "--window", "10x8", "--overlap", 0.5),
    }.items():
        out = tmp_path / f"{name}.json"
        result = run("val", "--weights", weights, "--no-report", "--json", out, "--device", "cpu", *options)
        assert result.exit_code == 0, said(result)
        scores[name] = json.loads(out.read_text())
    assert scores["one window"]["confusion"] == scores["once"]["confusion"]
    assert scores["mirrored"]["settings"]["flip"] is True
    assert scores["scales"]["settings"]["window"] == "10x8"
    assert scores["scales"]["settings"]["scales"] == [0.5, 1.0]
    assert scores["once"]["loss"] == pytest.approx(math.log(7), rel=1e-3)  # nothing is learned yet, however one looks
    assert scores["scales"]["loss"] == pytest.approx(math.log(7), rel=1e-3)


def test_masks_in_which_void_lies_between_all_classes(weights: Path, tmp_path: Path) -> None:
    label = np.full((24, 30), 255, np.uint8)
    label[:, :10], label[:, 20:] = 0, 3
    for kind, picture in (("images", np.zeros((24, 30, 3), np.uint8)), ("masks", label)):
        (tmp_path / "d" / kind / "val").mkdir(parents=True)
        Image.fromarray(picture).save(tmp_path / "d" / kind / "val" / "a.png")
    result = run("val", "--weights", weights, "--data", tmp_path / "d", "--no-report", "--device", "cpu")
    assert result.exit_code == 0, said(result)
    assert "in none of these masks do two classes touch" in said(result)


def test_shapes_need_no_folder(tmp_path: Path) -> None:
    network = Network.build(
        "fcn32s_small", Shapes(1, kinds=("circle", "square", "triangle", "cross")).classes, (16, 20)
    )
    save(tmp_path / "best.safetensors", network.model.state_dict(), network.metadata())
    result = run("val", "--weights", tmp_path / "best.safetensors", "--data", "shapes", "--device", "cpu")
    assert result.exit_code == 0, said(result)
    assert "100 images" in said(result)
    assert (tmp_path / "report_val.html").exists()
    refused = run("val", "--weights", tmp_path / "best.safetensors", "--data", "shapes", "--split", "train")
    assert refused.exit_code == 2
    assert "--split train" in said(refused)


def test_what_is_wrong_is_said_before_anything_is_computed(weights: Path, data: Path, tmp_path: Path) -> None:
    taken = tmp_path / "taken.json"
    taken.write_text("mine")
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks" / "0.png").write_text("mine")
    alone = tmp_path / "best.safetensors"
    alone.write_bytes(weights.read_bytes())
    for options, words in (
        (("--weights", weights, "--json", taken), "--json"),
        (("--weights", weights, "--json", tmp_path), "is a folder"),
        (("--weights", weights, "--save-masks", tmp_path / "masks"), "nothing is overwritten"),
        (("--weights", weights, "--split", "tset"), "nearest: 'test'"),
        (("--weights", weights, "--ignore", "300"), "mask values from 0 to 255"),
        (("--weights", weights, "--ignore", "3"), "class 3"),
        (("--weights", weights, "--dataset", "camvid"), "CamVid"),
        (("--weights", weights, "--size", "10by10"), "WIDTHxHEIGHT"),
        (("--weights", weights, "--scales", "big"), "--scales"),
        (("--weights", weights, "--window", "8x8", "--overlap", 1), "--overlap"),
        (("--weights", alone), "no --data given"),
    ):
        result = run("val", *options, "--device", "cpu")
        assert result.exit_code == 2, (options, said(result))
        assert words in said(result), (words, said(result))
    assert taken.read_text() == (tmp_path / "masks" / "0.png").read_text() == "mine"
    assert not list(weights.parent.glob("report*"))
