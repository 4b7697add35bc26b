"""`scratchfcn data`: the table, the page of each data set, and what it says of a folder."""

import make_sets
import pytest
from make_sets import put_list
from PIL import Image
from shared_data import shared_data
from typer.testing import CliRunner, Result

from scratchfcn.cli import app
from scratchfcn.cli.data import tree
from scratchfcn.data.sets import SETS
from scratchfcn.data.sets.verify import verify


def run(*args: object) -> Result:
    return CliRunner().invoke(app, [str(a) for a in args], prog_name="scratchfcn")


def said(result: Result) -> str:
    """Everything the command printed, with line breaks as spaces."""
    return " ".join((result.output + (result.stderr or "")).split())


def test_the_table_has_a_line_for_each_set():
    result = run("data")
    assert result.exit_code == 0
    for name, kind in SETS.items():
        assert f"\n{name} " in result.output
        for split, count in kind.about.counts.items():
            assert f"{split} {count}".split()[-1] in result.output
    assert "downloaded" in said(result)


@pytest.mark.parametrize("name", SETS)
def test_the_page_of_a_set_says_all_that_is_known(name):
    result = run("data", name)
    about = SETS[name].about
    assert result.exit_code == 0
    for text in (about.title, about.summary, about.masks, *about.notes, *about.source.splitlines()):
        assert text in result.output
    for line in about.layout.splitlines():
        assert line.strip() in result.output
    for split, count in about.counts.items():
        assert f"{split} {count}" in said(result)
    classes = SETS[name].known_classes()
    for i, class_name in enumerate(classes.names if classes else ()):
        assert f"{i} ■ {class_name}" in said(result)
    assert f"size {about.size or 'see the home page'}" in said(result)
    assert f"licence {about.licence or 'see the home page'}" in said(result)
    assert f"scratchfcn data {name} --root DIR" in result.output
    assert ("scratchfcn[mat]" in result.output) or about.needs is None


def test_branches_of_a_layout():
    lines = ["a/", "  b/", "    c.png", "    d.png", "  e.png", "f.txt"]
    assert tree(lines) == [
        "├── a/",
        "│   ├── b/",
        "│   │   ├── c.png",
        "│   │   └── d.png",
        "│   └── e.png",
        "└── f.txt",
    ]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("vok2012", "no data set is called 'vok2012'; the nearest is voc2012"),
        ("Cityscape", "the nearest is cityscapes"),
        ("imagenet-1k", "`scratchfcn data` lists all"),
    ],
)
def test_a_wrong_name_is_refused_with_the_nearest(given, says):
    result = run("data", given)
    assert result.exit_code == 2
    assert says in said(result)


def test_a_folder_instead_of_a_name(tmp_path):
    result = run("data", tmp_path)
    assert result.exit_code == 2
    assert f"is a folder, not the name of a data set fix: scratchfcn data --root {tmp_path}" in said(result)


@pytest.mark.parametrize("name", SETS)
def test_a_sound_folder_is_found_and_the_next_command_named(tmp_path, name):
    root = make_sets.MAKERS[name](tmp_path)
    result = run("data", name, "--root", root)
    assert result.exit_code == 0, said(result)
    kind = SETS[name]
    assert f"{kind.about.title}: found in {kind.find(root)}" in result.output
    for split in kind.splits(kind.find(root)):
        number = len(kind(kind.find(root), split))
        published = kind.about.counts.get(split)
        assert f"{split} {number} pair{'s' * (number != 1)}" + (
            f", of {published} published" if published else ""
        ) in said(result)
    assert "32×24" in result.output
    shadowed = ("camvid-32", "nyudv2-hha", "nyudv2-rgb-hha", "siftflow-geometric", "siftflow-both")
    option = f" --dataset {name}" if name in shadowed else ""
    assert f"scratchfcn check-data --data {root}{option}\n" in result.output


def test_the_folder_alone_is_enough_and_data_is_another_word_for_root(tmp_path):
    make_sets.siftflow(tmp_path)
    assert "SIFT Flow, 33 semantic classes: found" in run("data", "--root", tmp_path).output
    assert "SIFT Flow, 33 semantic classes: found" in run("data", "--data", tmp_path).output


def test_every_missing_and_broken_file_is_named_and_the_status_is_2(tmp_path):
    root = make_sets.voc2012_and_sbd(tmp_path)
    voc = tmp_path / "VOCdevkit/VOC2012"
    put_list(voc / "ImageSets/Segmentation/train.txt", ["2007_000032", "2007_000038", "2007_000063"])
    (voc / "SegmentationClass/2007_000063.png").write_bytes(b"no picture")
    (tmp_path / "benchmark_RELEASE/dataset/cls/2008_000007.mat").write_bytes(b"no MATLAB file")
    result = run("data", "voc2012", "--root", root)
    assert result.exit_code == 2
    for text in (
        "train 2 pairs, of 1464 published",
        "val 2 pairs, of 1449 published",
        f"SBD: {tmp_path}/benchmark_RELEASE/dataset",
        "✗ Segmentation/train.txt: 2007_000038: there is no JPEGImages/2007_000038.jpg (nearest name: ",
        "and no SegmentationClass/2007_000038.png (nearest name: ",
        "SegmentationClass/2007_000063.png: not an image",
        "cls/2008_000007.mat: not a MATLAB file, or damaged",
        "fix: put the files where they belong",
    ):
        assert text in said(result)
    assert "all is where it should be" not in result.output


def test_a_split_without_one_pair_and_a_wrong_size_are_problems(tmp_path):
    make_sets.voc2012(tmp_path)
    voc = tmp_path / "VOCdevkit/VOC2012"
    put_list(voc / "ImageSets/Segmentation/few.txt", ["x"])
    Image.new("RGB", (5, 4)).save(voc / "JPEGImages/2007_000033.jpg")
    problems = verify(tmp_path).problems
    assert "few: not one image with its mask" in problems
    assert "JPEGImages/2007_000033: image 5×4 but mask 32×24" in problems
    assert len(problems) == len(set(problems))


def test_what_is_published_and_not_there_is_said(tmp_path):
    make_sets.camvid(tmp_path)
    result = run("data", "camvid", "--root", tmp_path)
    assert result.exit_code == 0
    assert "train 2 pairs, of 367 published" in said(result)
    assert "test not here (233 published)" in said(result)


def test_more_than_published_is_said(tmp_path):
    make_sets.camvid(tmp_path, {"train": ("a",), "val": [f"{i}" for i in range(102)]})
    assert "val 102 pairs, but 101 are published" in said(run("data", "--root", tmp_path))


def test_the_dummy_masks_of_cityscapes_are_no_pairs(tmp_path):
    root = make_sets.cityscapes(tmp_path, {**make_sets.STREETS, "test": ("berlin_000000_000019",)})
    assert "test 1 to predict from; the masks say nothing" in said(run("data", "--root", root))


def test_a_wrong_layout_is_refused_with_what_is_there_and_what_should_be(tmp_path):
    make_sets.camvid(tmp_path)
    result = run("data", "cityscapes", "--root", tmp_path)
    assert result.exit_code == 2
    assert "but that of CamVid, 11 classes (--dataset camvid); it holds train/, trainannot/, val/, valannot/" in said(
        result
    )
    assert "train/aachen/aachen_000000_000019_leftImg8bit.png" in said(result)
    assert "no such folder" in said(run("data", "cityscapes", "--root", tmp_path / "gone"))


def test_real_camvid():
    result = run("data", "camvid", "--root", shared_data("camvid"))
    assert result.exit_code == 0
    assert "train 367 pairs, as published" in said(result)
    assert "0016E5_08159 480×360" in said(result)
