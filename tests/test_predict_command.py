"""`scratchfcn predict` as people use it: stopping and going on, sub-folders, clips, large images, wrong options."""

import os
import shutil
import signal
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from prediction_tools import fcn, photographs, run, said

from scratchfcn.data import read_image, read_label
from scratchfcn.prediction import Predictor
from scratchfcn.prediction.clips import write_gif
from scratchfcn.training import load_network


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fcn(tmp_path_factory.mktemp("weights"))


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def ok(*args: object) -> str:
    result = run(*args)
    assert result.exit_code == 0, said(result)
    return said(result)


def wrong(*args: object) -> str:
    result = run(*args)
    assert result.exit_code == 2, said(result)
    assert "Traceback" not in said(result)
    return said(result)


# --- what is written ----------------------------------------------------------------------------------------


def test_masks_and_overlays_with_a_legend_unless_told_otherwise(weights: Path, tmp_path: Path) -> None:
    folder = photographs(tmp_path / "in", 2)
    ok("--weights", weights, "--source", folder, "--output-dir", tmp_path / "a")
    assert names(tmp_path / "a") == {f"{i}_{kind}.png" for i in (0, 1) for kind in ("mask", "overlay")}
    ok("--weights", weights, "--source", folder, "--output-dir", tmp_path / "b", "--no-legend")
    with_one, without = (read_image(tmp_path / d / "0_overlay.png") for d in "ab")
    assert without.shape == (30, 40, 3)
    np.testing.assert_array_equal(with_one[:30, :40], without)
    assert len(with_one) > 40


def test_options_reach_the_predictor(weights: Path, tmp_path: Path) -> None:
    """The mask of every way to predict is what the library says with the same settings."""
    folder = photographs(tmp_path / "in", 1, (50, 70))
    image, network = read_image(folder / "0.png"), load_network(weights)
    for i, (options, settings) in enumerate(
        [
            (("--scales", "0.5,1,2"), {"scales": (0.5, 1, 2)}),
            (("--flip",), {"flip": True}),
            (("--window", "20x16", "--overlap", "0.5"), {"window": (16, 20), "overlap": 0.5}),
            (("--mc-dropout", "3", "--seed", "5"), {"mc_dropout": 3, "seed": 5}),
        ]
    ):
        out = tmp_path / str(i)
        ok("--weights", weights, "--source", folder, "--output-dir", out, *options)
        np.testing.assert_array_equal(read_label(out / "0_mask.png"), Predictor(network, **settings).predict(image))
    assert {"0_uncertainty.npz", "0_uncertainty.png"} <= names(tmp_path / "3")


def test_all_kinds_at_once(weights: Path, tmp_path: Path) -> None:
    folder = photographs(tmp_path / "in", 1)
    everything = "mask,overlay,side,ids,probs,uncertainty"
    output = ok(
        "--weights", weights, "--source", folder / "0.png", "--output-dir", tmp_path / "o", "--save", everything,
        "--mc-dropout", 2,
    )  # fmt: skip
    assert len(names(tmp_path / "o")) == 7
    assert "class" in output  # the shares of the classes, for a single image


def test_sub_folders_are_mirrored(weights: Path, tmp_path: Path) -> None:
    folder = photographs(tmp_path / "in", 1)
    photographs(folder / "day" / "two", 2)
    for _ in range(2):  # the second time the outputs lie below the source, and are not taken for photographs
        ok(
            "--weights", weights, "--source", folder, "--recursive", "--save", "mask", "--resume",
            "--output-dir", folder / "out",
        )  # fmt: skip
    assert names(folder / "out") == {"0_mask.png", "day/two/0_mask.png", "day/two/1_mask.png"}


def test_outputs_beside_the_photographs(weights: Path, tmp_path: Path) -> None:
    folder = photographs(tmp_path / "in", 2)
    ok("--weights", weights, "--source", folder, "--output-dir", folder)
    output = ok("--weights", weights, "--source", folder, "--output-dir", folder, "--resume")
    assert "all 2 image(s) are there already" in output
    assert len(names(folder)) == 6


# --- stopping and going on ----------------------------------------------------------------------------------


def test_resume_does_what_is_missing_and_nothing_else(weights: Path, tmp_path: Path) -> None:
    folder, out = photographs(tmp_path / "in", 3), tmp_path / "out"
    common = ("--weights", weights, "--source", folder, "--output-dir", out)
    ok(*common)
    whole = {path.name: path.read_bytes() for path in out.iterdir()}
    (out / "1_overlay.png").unlink()
    (out / "2_mask.png").unlink()
    (out / "2_overlay.png").unlink()
    before = (out / "0_mask.png").stat().st_mtime_ns
    refused = wrong(*common)
    assert "nothing is overwritten" in refused
    assert "--resume" in refused
    output = ok(*common, "--resume")
    assert "2 image(s) predicted, 1 more were there already" in output
    assert {path.name: path.read_bytes() for path in out.iterdir()} == whole
    assert (out / "0_mask.png").stat().st_mtime_ns == before
    assert "all 3 image(s) are there already" in ok(*common, "--skip-existing")
    photographs(folder, 4)
    assert "1 image(s) predicted, 3 more were there already" in ok(*common, "--resume")


def test_resume_with_anything_else_is_refused(weights: Path, tmp_path: Path) -> None:
    folder, out = photographs(tmp_path / "in", 2), tmp_path / "out"
    common = ("--source", folder, "--output-dir", out, "--save", "mask", "--resume")
    ok("--weights", weights, *common)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    for options in (
        ("--weights", fcn(tmp_path, name="other")),
        ("--weights", weights, "--flip"),
        ("--weights", weights, "--size", "native"),
    ):
        assert "was made with other weights or options" in wrong(*options, *common)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_damaged_files_are_reported_at_the_end_and_done_when_mended(weights: Path, tmp_path: Path) -> None:
    folder, out = photographs(tmp_path / "in", 4), tmp_path / "out"
    good = (folder / "1.png").read_bytes()
    (folder / "1.png").write_bytes(good[:80])
    (folder / "2.png").write_text("hello")
    common = ("--weights", weights, "--source", folder, "--output-dir", out, "--save", "mask")
    output = wrong(*common)
    assert "2 image(s) predicted" in output
    assert "1.png" in output
    assert "2.png" in output
    assert "fix:" in output
    assert names(out) == {"0_mask.png", "3_mask.png"}
    (folder / "1.png").write_bytes(good)
    (folder / "2.png").unlink()
    assert "1 image(s) predicted, 2 more" in ok(*common, "--resume")


def interrupt(arguments: list[str], ready: Path) -> tuple[int, str]:
    """Run the command in a process of its own, and press Ctrl-C when `ready` is there: exit status and output."""
    command = [sys.executable, "-m", "scratchfcn", "predict", *arguments, "--device", "cpu"]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    deadline = time.monotonic() + 60
    while not ready.exists() and time.monotonic() < deadline and child.poll() is None:
        time.sleep(0.01)
    child.send_signal(signal.SIGINT)
    output, _ = child.communicate(timeout=60)
    return child.returncode, output


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for one process")
def test_ctrl_c_leaves_whole_files_and_says_how_to_go_on(weights: Path, tmp_path: Path) -> None:
    folder, out = photographs(tmp_path / "in dir", 40, (140, 200)), tmp_path / "out"
    arguments = ["--weights", str(weights), "--source", str(folder), "--output-dir", str(out), "--size", "native"]
    status, output = interrupt([*arguments, "--flip", "--no-legend"], out / "2_mask.png")
    assert status == 130
    done = len(list(out.glob("*_overlay.png")))
    assert 2 <= done < 40
    assert f"of 40 are finished; go on with: scratchfcn predict --weights {weights}" in output
    assert f"--source '{folder}'" in output
    assert output.rstrip().endswith("--resume")
    assert "--flip" in output
    assert "--no-legend" in output
    assert "--seed" not in output  # only what was given
    assert "Traceback" not in output
    assert not [name for name in names(out) if name.startswith(".")]  # nothing half written is left
    for path in out.iterdir():
        read_image(path)
    result = ok(*arguments, "--flip", "--no-legend", "--resume")
    assert "more were there already" in result
    assert len(names(out)) == 80


# --- large images -------------------------------------------------------------------------------------------


def test_out_of_memory_names_the_way_out(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One image too large for the memory does not end the folder, and the message says what would help."""
    folder = photographs(tmp_path / "in", 3)
    bands = Predictor.bands

    def limited(self, image, progress=None):
        if image.shape[0] > 100:
            raise MemoryError
        return bands(self, image, progress)

    Image.new("RGB", (80, 120)).save(folder / "1.png")
    monkeypatch.setattr(Predictor, "bands", limited)
    output = wrong("--weights", weights, "--source", folder, "--output-dir", tmp_path / "o", "--save", "mask")
    assert "1: needs more memory than there is" in output
    assert "--window 512x512" in output
    assert names(tmp_path / "o") == {"0_mask.png", "2_mask.png"}
    output = wrong(
        "--weights", weights, "--source", folder, "--output-dir", tmp_path / "p", "--window", "40x30"
    )  # fmt: skip
    assert "a smaller --window than 40x30" in output


def test_more_pixels_than_pillow_takes_need_to_be_asked_for(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = photographs(tmp_path / "in", 1)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 300)
    common = ("--weights", weights, "--source", folder, "--output-dir", tmp_path / "o", "--save", "mask")
    assert "--large" in wrong(*common)
    ok(*common, "--large")


def test_windows_that_the_network_never_sees_are_explained(weights: Path, tmp_path: Path) -> None:
    folder = photographs(tmp_path / "in", 1)
    common = ("--weights", weights, "--source", folder, "--save", "mask", "--output-dir")
    output = ok(*common, tmp_path / "a", "--window", 512)
    assert "resized to 32x24" in output
    assert "--size native" in output
    assert "note" not in ok(*common, tmp_path / "b", "--window", 512, "--size", "native")
    np.testing.assert_array_equal(
        read_label(tmp_path / "a" / "0_mask.png"), load_network(weights).predict(read_image(folder / "0.png"))
    )


# --- clips --------------------------------------------------------------------------------------------------


def make_gif(path: Path, count: int = 5) -> Path:
    write_gif(
        path, ((Fraction(i, 10), np.full((30, 40, 3), 40 * i, np.uint8)) for i in range(count)), Fraction(10), "x"
    )
    return path


def test_a_gif_becomes_masks_and_an_overlay_gif(weights: Path, tmp_path: Path) -> None:
    gif, out = make_gif(tmp_path / "a.gif"), tmp_path / "out"
    output = ok("--weights", weights, "--source", gif, "--output-dir", out)
    assert "5 frame(s) predicted" in output
    assert names(out) == {f"a_{i:06d}_mask.png" for i in range(5)} | {"a_overlay.gif"}
    with Image.open(out / "a_overlay.gif") as clip:
        assert clip.n_frames == 5
        assert clip.width == 106 or clip.width >= 40  # the legend may be wider than the frames
        assert clip.height > 30
    assert read_label(out / "a_000003_mask.png").shape == (30, 40)


def test_a_clip_goes_on_at_the_missing_frame(weights: Path, tmp_path: Path) -> None:
    gif, out = make_gif(tmp_path / "a.gif"), tmp_path / "out"
    common = ("--weights", weights, "--source", gif, "--output-dir", out)
    ok(*common, "--save", "video")  # which brings the masks along
    (out / "a_overlay.gif").unlink()
    (out / "a_000002_mask.png").unlink()
    assert "1 frame(s) predicted, 4 more were there already" in ok(*common, "--resume")
    (out / "a_overlay.gif").unlink()
    ok(*common, "--resume")  # all masks are there, and only the clip is drawn
    assert (out / "a_overlay.gif").exists()
    assert "all 5 frame(s) are there already" in ok(*common, "--resume")
    refused = wrong(*common, "--resume", "--every", 2)
    assert "a_overlay.gif was made with other weights, options or frames" in refused
    output = ok(*common, "--resume", "--every", 2, "--save", "overlay", "--output-dir", tmp_path / "p")
    assert "3 frame(s)" in output
    sizes = {Image.open(path).size for path in (tmp_path / "p").iterdir()}
    assert len(sizes) == 1  # the legend has all classes, whatever occurs


def test_a_video_end_to_end(weights: Path, tmp_path: Path) -> None:
    av = pytest.importorskip("av", reason='videos need PyAV: pip install -e ".[video]"')
    from scratchfcn.prediction.clips import write_video

    rng = np.random.default_rng(0)
    video = tmp_path / "street.mp4"
    frames = [rng.integers(0, 256, (30, 40, 3), dtype=np.uint8) for _ in range(10)]
    write_video(video, ((Fraction(i, 5), frame) for i, frame in enumerate(frames)), Fraction(5), "")
    out = tmp_path / "out"
    output = ok(
        "--weights", weights, "--source", video, "--output-dir", out, "--start", 0.4, "--stop", 1.6, "--every", 2
    )
    assert "3 frame(s) predicted" in output
    assert names(out) == {f"street_{i:06d}_mask.png" for i in (2, 4, 6)} | {"street_overlay.mp4"}
    with av.open(str(out / "street_overlay.mp4")) as container:
        shown = list(container.decode(video=0))
    assert [round(f.time, 2) for f in shown] == [0.4, 0.8, 1.2]  # each at its own time
    network = load_network(weights)
    with av.open(str(video)) as container:
        third = [f.to_ndarray(format="rgb24") for f in container.decode(video=0)][2]
    np.testing.assert_array_equal(read_label(out / "street_000002_mask.png"), network.predict(third))


# --- wrong options ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--save", "mask,gif"), ["'gif'", "overlay"]),
        (("--save", "video"), ["--save video", "GIF"]),
        (("--save", "uncertainty"), ["--mc-dropout"]),
        (("--mc-dropout", "1"), ["--mc-dropout", "at least 2"]),
        (("--scales", "big"), ["--scales 'big'"]),
        (("--scales", "0,1"), ["--scales"]),
        (("--window", "wide"), ["--window 'wide'", "WIDTHxHEIGHT"]),
        (("--window", "0x9"), ["--window"]),
        (("--overlap", "1", "--window", "9"), ["--overlap"]),
        (("--every", "2"), ["--every", "video"]),
        (("--alpha", "7"), ["--alpha"]),
    ],
)
def test_options_that_cannot_be(weights: Path, tmp_path: Path, options: tuple[str, ...], words: list[str]) -> None:
    folder = photographs(tmp_path / "in", 1)
    output = wrong("--weights", weights, "--source", folder, "--output-dir", tmp_path / "o", *options)
    for word in words:
        assert word in output
    assert not (tmp_path / "o").exists()


def test_a_network_without_dropout_is_told_apart(tmp_path: Path) -> None:
    path, folder = fcn(tmp_path, dropout=0.0), photographs(tmp_path / "in", 1)
    output = wrong("--weights", path, "--source", folder, "--mc-dropout", 5)
    assert "no dropout" in output
    assert "train one with --dropout" in output


def test_a_missing_source_leaves_no_folder_behind(weights: Path, tmp_path: Path) -> None:
    for source in ("none.jpg", "none", "none.gif"):
        assert "no such file" in wrong(
            "--weights", weights, "--source", tmp_path / source, "--output-dir", tmp_path / "o"
        )
    assert not (tmp_path / "o").exists()


def test_a_clip_in_disguise_is_read_by_what_it_is_called(weights: Path, tmp_path: Path) -> None:
    shutil.copy(photographs(tmp_path / "in", 1) / "0.png", tmp_path / "a.mp4")
    output = run("--weights", weights, "--source", tmp_path / "a.mp4", "--output-dir", tmp_path / "o")
    assert output.exit_code in (0, 2)  # FFmpeg reads pictures, too: one frame
    assert "Traceback" not in said(output)
