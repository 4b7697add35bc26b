"""`scratchfcn models`: what it lists, and that the numbers are right."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import scratchfcn as sf
from scratchfcn import models
from scratchfcn.cli import app
from scratchfcn.cli.models import family, giga, number, rounded
from scratchfcn.inspection.overview import details, matching, overview


def run(*args: object, **settings: Any) -> Result:
    return CliRunner().invoke(app, ["models", *map(str, args)], prog_name="scratchfcn", **settings)


def cells(result: Result, name: str) -> list[str]:
    """The line of a table that begins with `name`, its columns."""
    line = next(line for line in result.output.splitlines() if line.split()[:1] == [name])
    return [cell.strip() for cell in line.split("  ") if cell.strip()]


def test_every_network_is_listed_and_every_line_fits() -> None:
    result = run()
    assert result.exit_code == 0, result.output
    for name in models.NAMES:
        assert len(cells(result, name)) >= 5, name
    assert max(map(len, result.output.splitlines())) <= 80
    assert "networks, by backbone; GFLOPs for an image of 512x512" in result.output
    assert "classifiers; GFLOPs for an image of 224x224" in result.output
    assert "–" not in result.output


def test_the_numbers_of_vgg16() -> None:
    """Facts that others publish: 138,357,544 parameters, 15.5 billion multiply-adds at 224x224; pool5 sees 212."""
    assert cells(run("vgg16*"), "vgg16")[:5] == ["vgg16", "138.4M", "32", "212", "30.9"]
    found = overview(models.NAMES["vgg16"])
    assert found.parameters == found.learned == 138_357_544
    assert found.multiply_adds == 15_470_264_320
    assert found.num_classes == 1000


def test_the_numbers_of_an_fcn() -> None:
    """The paper's FCN-VGG16 sees 404 pixels at stride 32."""
    assert cells(run("fcn8s_vgg16*"), "fcn8s_vgg16") == ["fcn8s_vgg16", "134.5M", "32", "404", "222.6"]
    fixed = overview(models.NAMES["fcn32s_fixed_small"], (64, 64), 7)
    assert (fixed.learned, fixed.num_classes) == (256 * 7 + 7, 7)
    assert cells(run("--classes", 7), "fcn32s_fixed_small")[1] == f"1799 of {rounded(fixed.parameters)}"


@pytest.mark.parametrize("name", [name for name in models.NAMES if family(name)[0] == "fcn32s"])
def test_the_ops_and_the_model_agree_on_the_geometry(name: str) -> None:
    """The grids found along the ops against those of geometry.py, for every backbone."""
    with sf.nn.init.skipped():
        model = models.build(name)
    assert overview(models.NAMES[name], (320, 320)).coarsest == model.score_grid


@pytest.mark.parametrize("name", models.NAMES)
def test_the_parts_are_the_whole(name: str) -> None:
    found, one = overview(models.NAMES[name], num_classes=3), details(models.NAMES[name], num_classes=3)
    assert sum(part.parameters for part in one.parts) == found.parameters
    assert sum(part.multiply_adds for part in one.parts) == found.multiply_adds > 0
    assert one.maps[-1].grid.stride == found.coarsest.stride


def test_one_network_in_detail() -> None:
    result = run("fcn8s_vgg16", "--classes", 5)
    assert result.exit_code == 0
    assert "(1, 3, 512, 512) → (1, 5, 512, 512)" in result.output
    assert cells(result, "fc6") == ["fc6", "102,764,544", "52.6", "8.0"]
    assert cells(result, "pool3") == ["pool3", "(256, 64, 64)", "8", "3.5", "44"]
    assert cells(result, "score") == ["score", "(5, 16, 16)", "32", "15.5", "404"]
    assert "crop_pool4 -1, crop_pool3 -1, crop 4" in result.output
    assert "classifier vgg16" in result.output
    assert 'scratchfcn.models.build("fcn8s_vgg16", num_classes=5)\n' in result.output
    assert max(map(len, result.output.splitlines())) <= 80


def test_a_classifier_in_detail() -> None:
    result = run("vgg16")
    assert "→ (1, 1000)" in result.output
    assert cells(result, "classifier")[:2] == ["classifier", "123,642,856"]
    strides = [line.split(")")[1].split()[0] for line in result.output.splitlines() if line.startswith("features.")]
    assert strides == ["1", "2", "4", "8", "16", "32"]
    assert "crops" not in result.output
    assert "those of the same names" in result.output


def test_the_fcns_over_one_backbone_stand_together() -> None:
    lines = run("fcn*_*").output.split("classifiers;")[0].splitlines()
    paragraphs = " ".join(line.split()[0] if line.split() else "|" for line in lines).split("|")
    for backbone in models.BACKBONES:
        those = [name for name, e in models.NAMES.items() if e.kind == "fcn" and family(name)[1] == backbone]
        assert any(set(those) == set(paragraph.split()) - {"the", "name"} for paragraph in paragraphs), backbone


def test_patterns() -> None:
    names = list(models.NAMES)
    assert matching(None, names) == names
    assert matching("fcn16s", names) == [name for name in names if "fcn16s" in name]
    assert matching("fcn?s_small", ["fcn8s_small", "fcn16s_small", "a_fcn8s_small"]) == ["fcn8s_small"]
    result = run("fcn16s")
    assert "fcn16s_small" in result.output
    assert "fcn8s" not in result.output
    assert "classifiers" not in result.output


def test_an_unknown_name_is_told_its_neighbours() -> None:
    result = run("vgg61")
    assert result.exit_code == 2
    assert result.stderr.startswith("✗ no network is called 'vgg61'; the nearest are vgg16")
    assert "--debug" not in result.stderr
    assert "`scratchfcn models` lists all" in run("§§§").stderr


@pytest.mark.parametrize("args", [["--size", "0x5"], ["--size", "big"], ["--classes", "0"]])
def test_what_cannot_be_is_refused(args: list[str]) -> None:
    result = run(*args)
    assert result.exit_code == 2
    assert args[0] in result.stderr


def test_an_image_that_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    def make(num_classes: int) -> sf.nn.Module:
        return sf.nn.Sequential(sf.nn.Conv2d(3, num_classes, 9))

    entry = models.Entry("huge", "descendant", "windows of 9 rows", make)
    monkeypatch.setitem(models.NAMES, "huge", entry)
    result = run("hug", "--size", "8x20")
    assert cells(result, "huge") == ["huge", "5124", "–", "–", "–", "windows of 9 rows"]
    assert "–: an image of this size does not fit" in result.output
    refused = run("huge", "--size", "8x20")
    assert refused.exit_code == 2
    assert "does not fit into an input of 20x8" in refused.stderr
    assert "(1, 21, 12, 1)" in run("huge", "--size", "9x20").output


def test_json_holds_the_same_unrounded(tmp_path: Path) -> None:
    assert run("fcn8s_*", "--json", tmp_path / "all.json", "--size", "96x64").exit_code == 0
    content = json.loads((tmp_path / "all.json").read_text(encoding="utf-8"))
    assert [each["name"] for each in content["models"]] == [name for name in models.NAMES if name.startswith("fcn8s_")]
    small = next(each for each in content["models"] if each["name"] == "fcn8s_small")
    expected = overview(models.NAMES["fcn8s_small"], (64, 96))
    assert small == {
        "name": "fcn8s_small",
        "kind": "fcn",
        "about": models.NAMES["fcn8s_small"].about,
        "num_classes": 21,
        "size": [64, 96],
        "parameters": expected.parameters,
        "learned": expected.learned,
        "stride": 32,
        "start": 15.5,
        "receptive_field": 220,
        "multiply_adds": expected.multiply_adds,
        "problem": None,
    }
    run("fcn8s_small", "--json", tmp_path / "one.json", "--size", "96x64")
    one = json.loads((tmp_path / "one.json").read_text(encoding="utf-8"))["models"][0]
    assert small.items() <= one.items()
    assert one["output"] == [1, 21, 64, 96]
    assert [each["name"] for each in one["maps"]] == ["pool3", "pool4", "score"]
    assert one["crops"]["crop_pool4"] == -1
    assert sum(part["parameters"] for part in one["parts"]) == expected.parameters
    assert run("--json", tmp_path / "none" / "x.json").exit_code == 2


def test_words_for_numbers() -> None:
    assert [rounded(n) for n in (9999, 12345, 1234567)] == ["9999", "12K", "1.2M"]
    assert [giga(n) for n in (10**7, 10**11)] == ["0.02", "200.0"]
    assert [number(n) for n in (32, 7.5, float("inf"))] == ["32", "7.5", "all"]
    assert family("fcn8s_at_once_vgg16_bn") == ("fcn8s_at_once", "vgg16_bn")
    assert family("vgg16") == ("vgg16", "")


def test_building_leaves_everything_as_it_was() -> None:
    device, state = sf.get_device(), sf.backend.generator().bit_generator.state
    overview(models.NAMES["fcn8s_small"])
    assert (sf.get_device(), sf.backend.generator().bit_generator.state) == (device, state)
    assert (models.build("fcn8s_small").fc6.weight.data != 0).any()


def test_it_answers_quickly() -> None:
    """About half a second; the margin is for busy machines."""
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", "scratchfcn", "models"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert time.perf_counter() - start < 10
