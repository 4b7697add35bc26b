"""Frames of videos and GIFs: the right ones, upright, with their numbers and times; and clips written from frames."""

import struct
import sys
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from scratchfcn.data import DataError
from scratchfcn.prediction import Clip, open_clip
from scratchfcn.prediction.clips import Video, write_gif, write_video
from scratchfcn.training import SettingError


def need_video() -> None:
    pytest.importorskip("av", reason='videos need PyAV: pip install -e ".[video]"')


def frame(i: int, H: int = 48, W: int = 64) -> np.ndarray:
    """A grey that tells the frame's number, with a white corner at the top left that tells which way is up."""
    image = np.full((H, W, 3), 5 * i, np.uint8)
    image[: H // 3, : W // 4] = 255
    return image


def number(image: np.ndarray) -> int:
    """Which frame an image is, from its grey."""
    return round(float(np.median(image[image.shape[0] // 2 :])) / 5)


def make_video(path, count: int = 40, rate: int = 10, times=None, H: int = 48, W: int = 64):
    times = times or [Fraction(i, rate) for i in range(count)]
    write_video(path, ((t, frame(i, H, W)) for i, t in enumerate(times)), Fraction(rate), "remark")
    return path


def numbers(clip: Clip, wanted=None) -> list[int]:
    return [number(read()) for _, read in clip.read(range(len(clip.names)) if wanted is None else wanted)]


def test_all_frames_in_order_with_numbers_and_times(tmp_path) -> None:
    need_video()
    clip = open_clip(make_video(tmp_path / "a.mp4"))
    assert clip.names[:2] == ["a_000000", "a_000001"]
    assert len(clip.names) == 40
    assert clip.seconds[25] == Fraction(5, 2)
    assert clip.rate == 10
    assert numbers(clip) == list(range(40))
    assert [i for i, _ in clip.read([3, 17])] == [3, 17]


def test_every_start_and_stop(tmp_path) -> None:
    """Frame i of ten per second is shown at i / 10 seconds; the first chosen one is the first not before --start."""
    need_video()
    path = make_video(tmp_path / "a.mp4")
    clip = open_clip(path, every=4, start=1.05, stop=2.7)
    assert clip.numbers == [11, 15, 19, 23]
    assert numbers(clip) == [11, 15, 19, 23]
    assert clip.names[0] == "a_000011"
    assert clip.rate == Fraction(10, 4)
    for wrong, words in [
        ({"every": 0}, "--every"),
        ({"start": -1}, "--start"),
        ({"start": 2, "stop": 1}, "--stop"),
        ({"start": 10}, "ends after 3.9 seconds"),
        ({"start": float("nan")}, "must be seconds"),
    ]:
        with pytest.raises(SettingError, match=words):
            open_clip(path, **wrong)


def test_decoding_begins_near_the_wanted_frame(tmp_path, monkeypatch) -> None:
    """Key frames are 12 apart here: frame 30 needs those from 24 on, and nothing before. And it is the same frame."""
    need_video()
    import av

    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"g": "12", "sc_threshold": "0"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for i in range(40):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame(i), format="rgb24")))
        container.mux(stream.encode())
    clip = open_clip(path)
    assert next(n for n, _ in clip.frames(30)) == 24
    assert numbers(clip, [30, 33]) == [30, 33]
    from_the_start = {i: read() for i, read in clip.read(range(40))}
    ((_, read),) = clip.read([30])
    np.testing.assert_array_equal(read(), from_the_start[30])
    # an index that leads too far: the search begins anew from the beginning
    decoded = Video._decoded
    monkeypatch.setattr(Video, "_decoded", lambda self, first: decoded(self, 36 if first > 0 else 0))
    assert numbers(clip, [30, 33]) == [30, 33]


def test_frames_that_are_not_evenly_spaced_keep_their_times(tmp_path) -> None:
    """As telephones film: a frame's number is its place, its time is its own."""
    need_video()
    times = [Fraction(n, 100) for n in (0, 3, 10, 13, 40, 41, 90, 95, 130, 131)]
    clip = open_clip(make_video(tmp_path / "a.mp4", times=times))
    assert [round(float(t), 2) for t in clip.seconds] == [float(t) for t in times]
    assert numbers(clip, [4, 7]) == [4, 7]
    assert open_clip(tmp_path / "a.mp4", start=0.4, stop=0.95).numbers == [4, 5, 6]


@pytest.mark.parametrize(("container", "codec"), [("a.avi", "mpeg4"), ("a.avi", "libx264"), ("a.mkv", "libx264")])
def test_other_containers(tmp_path, container, codec) -> None:
    """An AVI has no times for its frames, so they are counted."""
    need_video()
    import av

    with av.open(str(tmp_path / container), "w") as out:
        stream = out.add_stream(codec, rate=10)
        stream.bit_rate = 4_000_000  # enough to tell 5 levels of grey apart
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for i in range(30):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(frame(i), format="rgb24")))
        out.mux(stream.encode())
    clip = open_clip(tmp_path / container)
    assert numbers(clip) == list(range(30))
    assert numbers(clip, [12, 13]) == [12, 13]
    assert float(clip.seconds[20]) == pytest.approx(2, abs=0.01)


@pytest.mark.parametrize("clockwise", [90, 180, 270])
def test_a_telephone_held_upright(tmp_path, clockwise) -> None:
    """The orientation stands in the file's track header, as a matrix; a viewer turns the picture, and so do we."""
    need_video()
    path = make_video(tmp_path / "a.mp4", 3)
    data = bytearray(path.read_bytes())
    place = data.index(b"tkhd") + 4 + 40  # version 0: 40 bytes of times, track and layer precede the matrix
    cos, sin = {90: (0, 1), 180: (-1, 0), 270: (0, -1)}[clockwise]
    one, whole = 1 << 16, 1 << 30
    data[place : place + 36] = struct.pack(">9i", cos * one, sin * one, 0, -sin * one, cos * one, 0, 0, 0, whole)
    path.write_bytes(data)
    (_, read), *_ = open_clip(path).read([0])
    expected = np.rot90(frame(0), -clockwise // 90)
    assert read().shape == expected.shape
    assert abs(read().astype(int) - expected).mean() < 6


def test_a_damaged_frame_is_reported_and_the_others_are_read(tmp_path) -> None:
    need_video()
    clip = open_clip(make_video(tmp_path / "a.mp4", 10))
    decoded = Video._decoded
    try:
        Video._decoded = lambda self, first: ((n, f) for n, f in decoded(self, first) if n not in (4, 9))
        found = {}
        for i, read in clip.read(range(10)):
            try:
                found[i] = number(read())
            except DataError as error:
                found[i] = str(error)
    finally:
        Video._decoded = decoded
    assert {i: n for i, n in found.items() if isinstance(n, int)} == {i: i for i in range(10) if i not in (4, 9)}
    assert "frame 4 is damaged or missing" in found[4]
    assert "frame 9 is damaged or missing" in found[9]


def test_a_video_cut_short_and_files_that_are_none(tmp_path) -> None:
    need_video()
    path = make_video(tmp_path / "a.mp4")
    path.write_bytes(path.read_bytes()[:-900])  # an MP4's index lies at its end
    (tmp_path / "text.mp4").write_text("hello")
    for name, words in [
        ("a.mp4", "not a video, or damaged|may be cut short"),
        ("text.mp4", "not a video"),
        ("none.mp4", "no such file"),
    ]:
        with pytest.raises(DataError, match=words):
            open_clip(tmp_path / name)


def test_a_written_video_has_its_frames_times_and_remark(tmp_path) -> None:
    need_video()
    import av

    path = make_video(tmp_path / "odd.mp4", 7, 5, H=33, W=47)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height) == (48, 34)  # even
        assert container.metadata["comment"] == "remark"
        frames = list(container.decode(stream))
    assert [round(f.time, 3) for f in frames] == [0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2]
    picture = frames[3].to_ndarray(format="rgb24")
    assert abs(picture[:33, :47].astype(int) - frame(3, 33, 47)).mean() < 4
    assert picture[33].mean() > 200


def test_without_pyav_the_line_that_installs_it(tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(SettingError, match=r'PyAV.*\n.*pip install -e "\.\[video\]"'):
        open_clip(tmp_path / "a.mp4")


# --- GIFs: without PyAV -------------------------------------------------------------------------------------


@pytest.fixture
def gif(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    path = tmp_path / "a.gif"
    times = [Fraction(n, 10) for n in (0, 1, 2, 5, 6)]
    write_gif(path, ((t, frame(i)) for i, t in enumerate(times)), Fraction(10), "remark")
    return path


def test_a_gif_s_frames_and_times(gif) -> None:
    clip = open_clip(gif)
    assert clip.names == [f"a_{i:06d}" for i in range(5)]
    assert [float(t) for t in clip.seconds] == pytest.approx([0, 0.1, 0.2, 0.5, 0.6])
    assert numbers(clip) == [0, 1, 2, 3, 4]
    assert numbers(clip, [2, 4]) == [2, 4]
    assert open_clip(gif, start=0.3).numbers == [3, 4]
    with Image.open(gif) as picture:
        assert picture.info["comment"] == b"remark"
        assert picture.n_frames == 5


def test_a_still_gif_and_a_transparent_one(tmp_path) -> None:
    picture = Image.new("P", (6, 4), 0)
    picture.putpalette([255, 0, 0, 0, 0, 255])
    picture.putpixel((1, 0), 1)
    picture.save(tmp_path / "still.gif", transparency=0)
    ((_, read),) = open_clip(tmp_path / "still.gif").read([0])
    assert read()[0, :3].tolist() == [[255, 255, 255], [0, 0, 255], [255, 255, 255]]


def test_a_gif_cut_short_gives_what_there_is(gif) -> None:
    data = gif.read_bytes()
    gif.write_bytes(data[: len(data) * 3 // 5])
    clip = open_clip(gif)
    assert 1 <= len(clip.names) < 5
    assert numbers(clip) == list(range(len(clip.names)))
    gif.write_bytes(b"GIF89a")
    with pytest.raises(DataError, match="not a GIF"):
        open_clip(gif)
