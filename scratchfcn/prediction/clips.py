"""Clips: the frames of a video or an animated GIF, one at a time, and the way back from frames to a clip.

A video file holds packets, each with the time at which its frame is shown. Most frames are stored as differences from
others, sometimes from later ones, so packets do not come in the order of showing, and decoding can begin at key frames
only. A frame's *number* here is its place in the order of showing: the times of all packets, read without decoding
anything, are sorted once. That gives every frame the same number whatever part of the clip is asked for, also where
frames do not follow each other evenly (telephones), and it says where to begin decoding to get frame 12345.

Videos are read and written by PyAV (FFmpeg's libraries), which the extra `video` installs; GIFs by Pillow.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..data import DataError
from ..training import SettingError
from .sources import Read

SUFFIXES = (".mp4", ".mov", ".m4v", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".gif")
PIP_LINE = 'pip install -e ".[video]"'
TIMED = ("mov,mp4", "matroska,webm")  # FFmpeg's names of the formats whose packets tell when their frame is shown
TICKS = 90_000  # per second: the clock of written videos, MPEG's own


class Clip:
    """The chosen frames of a clip: a Source.

    Attributes:
        names: stem and frame number, "clip_000123".
        numbers: of the chosen frames, from 0.
        seconds: when each of them is shown, counted from the clip's first frame.
        rate: chosen frames per second, on average.
    """

    what = "frame"

    def __init__(self, path: Path, times: Sequence[Fraction], every: int, start: float, stop: float | None) -> None:
        """times: seconds of all frames of the file, ascending."""
        if every < 1:
            raise SettingError(f"--every must be at least 1, got {every}")
        if start < 0 or (stop is not None and stop <= start):
            raise SettingError(f"--start {start} and --stop {stop} must be seconds, the second later than the first")
        if not times:
            raise DataError(f"{path}: the clip has no frames; it may be cut short")
        begin, end = exactly(start), None if stop is None else exactly(stop)
        shown = [t - times[0] for t in times]
        inside = [i for i, t in enumerate(shown) if begin <= t and (end is None or t < end)]
        if not inside:
            raise SettingError(f"--start {start}: {path} ends after {float(shown[-1]):.1f} seconds")
        self.path, self.times = path, times
        self.numbers = inside[::every]
        self.names = [f"{path.stem}_{number:06d}" for number in self.numbers]
        self.seconds = [shown[number] for number in self.numbers]
        self.rate = (len(shown) - 1) / shown[-1] / every if shown[-1] else Fraction(10)

    def read(self, wanted: Sequence[int]) -> Iterator[tuple[int, Read]]:
        """The wanted frames in order. One that the file should have but does not give raises DataError when read."""
        waiting = list(wanted)
        if not waiting:
            return
        for number, read in self.frames(self.numbers[waiting[0]]):
            while waiting and self.numbers[waiting[0]] < number:
                yield waiting[0], self._missing(waiting.pop(0))
            if waiting and self.numbers[waiting[0]] == number:
                yield waiting.pop(0), read
            if not waiting:
                return
        for i in waiting:
            yield i, self._missing(i)

    def frames(self, first: int) -> Iterator[tuple[int, Read]]:
        """Numbers and frames in order, from `first` on or from somewhat before."""
        raise TypeError(f"{type(self).__name__} must define frames(first)")

    def _missing(self, i: int) -> Read:
        def read() -> np.ndarray:
            raise DataError(f"{self.path}: frame {self.numbers[i]} is damaged or missing")

        return read


def exactly(seconds: float) -> Fraction:
    """0.4 as 4/10: the number that was typed, not the binary one next to it. Errors: SettingError for no number."""
    try:
        return Fraction(str(seconds))
    except ValueError:
        raise SettingError(f"--start and --stop must be seconds, got {seconds}") from None


def open_clip(path: Path, every: int = 1, start: float = 0.0, stop: float | None = None) -> Clip:
    """A video, or an animated GIF. every: 2 takes every other frame; start, stop: seconds.

    Errors: DataError for a file that is no clip; SettingError where no frame is left, or PyAV is missing.
    """
    return (Gif if path.suffix.lower() == ".gif" else Video)(path, every, start, stop)


# --- videos -----------------------------------------------------------------------------------------------


class Video(Clip):
    """The first video stream of a file, turned upright as a telephone's orientation mark says."""

    def __init__(self, path: Path, every: int = 1, start: float = 0.0, stop: float | None = None) -> None:
        self.place: dict[int, int] | None = None  # time stamp → frame number
        with opened(path) as container:
            stream = container.streams.video[0]
            self.time_base = stream.time_base
            if container.format.name.startswith(TIMED):
                packets = (packet for packet in container.demux(stream) if packet.size and not packet.is_discard)
                stamps = sorted({packet.pts for packet in packets if packet.pts is not None})
                self.place = {stamp: i for i, stamp in enumerate(stamps)}
                times = [stamp * self.time_base for stamp in stamps]
            else:  # a frame has no time of its own there, so frames are counted, by decoding all of them once
                rate = stream.average_rate or Fraction(25)
                times = [i / rate for i, _ in enumerate(frames_of(container, stream))]
        super().__init__(path, times, every, start, stop)

    def frames(self, first: int) -> Iterator[tuple[int, Read]]:
        """Decodes from the key frame before `first`; where the file's index leads elsewhere, from the beginning."""
        begun = False
        for number, frame in self._decoded(first):
            if not begun and number > first > 0:
                yield from self.frames(0)
                return
            begun = True
            yield number, lambda frame=frame: upright(frame)

    def _decoded(self, first: int) -> Iterator[tuple[int, Any]]:
        """(number, frame) from the key frame before `first` on. Damaged packets are passed over."""
        with opened(self.path) as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            if self.place is None:
                yield from enumerate(frames_of(container, stream))
                return
            if first > 0:
                container.seek(int(self.times[first] / self.time_base), stream=stream)
            for frame in frames_of(container, stream):
                if frame.pts in self.place:
                    yield self.place[frame.pts], frame


def library() -> Any:
    """PyAV. Errors: SettingError with the line that installs it."""
    try:
        import av
    except ImportError:
        raise SettingError(f"videos are read and written by PyAV, which is missing\n  fix: {PIP_LINE}") from None
    return av


def opened(path: Path) -> Any:
    """The file's container, for a `with` block. Errors: DataError for what is no video."""
    av = library()
    try:
        container = av.open(str(path))
    except (av.FFmpegError, OSError) as error:
        problem = "no such file" if isinstance(error, FileNotFoundError) else f"not a video, or damaged ({error})"
        raise DataError(f"{path}: {problem}") from None
    if not container.streams.video:
        container.close()
        raise DataError(f"{path}: holds no pictures, only sound or text")
    return container


def frames_of(container: Any, stream: Any) -> Iterator[Any]:
    """All frames that can be decoded."""
    av = library()
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
            if packet is None:
                return
            frames = packet.decode()
        except av.FFmpegError:  # a damaged packet; whoever waits for its frame will notice
            continue
        yield from frames


def upright(frame: Any) -> np.ndarray:
    """A decoded frame as uint8 (H, W, 3), turned as its orientation mark says."""
    quarters = round(frame.rotation / 90) % 4  # counterclockwise, as np.rot90 turns
    return np.ascontiguousarray(np.rot90(frame.to_ndarray(format="rgb24"), quarters))


def write_video(path: Path, frames: Iterable[tuple[Fraction, np.ndarray]], rate: Fraction, remark: str) -> None:
    """Write (seconds, uint8 (H, W, 3)) frames of one size as H.264 in an MP4 file, each shown at its time.

    Frames are padded with white to even numbers of pixels, as the format's colours are stored at half the resolution.
    """
    av = library()
    with av.open(str(path), "w", format="mp4") as container:
        container.metadata["comment"] = remark
        stream = container.add_stream("libx264", rate=rate.limit_denominator(1000), options={"crf": "20"})
        stream.pix_fmt = "yuv420p"
        for i, (seconds, image) in enumerate(frames):
            H, W = image.shape[:2]
            even = np.pad(image, ((0, H % 2), (0, W % 2), (0, 0)), constant_values=255)
            if i == 0:
                stream.height, stream.width = even.shape[:2]
                stream.codec_context.time_base = Fraction(1, TICKS)
            frame = av.VideoFrame.from_ndarray(even, format="rgb24")
            frame.time_base, frame.pts = Fraction(1, TICKS), round(seconds * TICKS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


# --- animated GIFs ----------------------------------------------------------------------------------------


class Gif(Clip):
    """An animated GIF; one that stands still has a single frame."""

    def __init__(self, path: Path, every: int = 1, start: float = 0.0, stop: float | None = None) -> None:
        times, now = [], Fraction(0)
        for frame in self._decoded(path):
            times.append(now)
            now += Fraction(frame.info.get("duration", 0) or 100) / 1000  # viewers take 0 for a tenth of a second
        super().__init__(path, times, every, start, stop)

    def frames(self, first: int) -> Iterator[tuple[int, Read]]:
        for number, frame in enumerate(self._decoded(self.path)):
            yield number, lambda frame=frame: on_white(frame)

    @staticmethod
    def _decoded(path: Path) -> Iterator[Image.Image]:
        """Its frames, each a change of the one before it; one that is damaged ends the clip."""
        try:
            picture = Image.open(path)
        except FileNotFoundError:
            raise DataError(f"{path}: no such file") from None
        except (OSError, SyntaxError, ValueError) as error:
            raise DataError(f"{path}: not a GIF, or damaged from the start ({error})") from None
        with picture:
            for i in range(getattr(picture, "n_frames", 1)):
                try:
                    picture.seek(i)
                    picture.load()
                except (OSError, SyntaxError, ValueError, EOFError):
                    return
                yield picture


def on_white(picture: Image.Image) -> np.ndarray:
    """A frame as uint8 (H, W, 3), with white where it is transparent."""
    colours = picture.convert("RGBA")
    return np.asarray(Image.alpha_composite(Image.new("RGBA", picture.size, "white"), colours).convert("RGB"))


def write_gif(path: Path, frames: Iterable[tuple[Fraction, np.ndarray]], rate: Fraction, remark: str) -> None:
    """Write (seconds, uint8 (H, W, 3)) frames as an animated GIF that repeats. Pillow keeps all of them in memory, in
    256 colours: clips that are worth a GIF are short."""
    times, pictures = [], []
    for seconds, image in frames:
        times.append(seconds)
        pictures.append(Image.fromarray(image).quantize(256))
    ends = [*times[1:], times[-1] + 1 / rate]
    durations = [max(20, round(1000 * (end - begin))) for begin, end in zip(times, ends, strict=True)]
    pictures[0].save(
        path, format="GIF", save_all=True, append_images=pictures[1:], duration=durations, loop=0, comment=remark
    )
