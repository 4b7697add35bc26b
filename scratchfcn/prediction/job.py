"""A whole folder, or a clip: one picture after the other, and what a person needs to know meanwhile and afterwards.

A damaged file must not end a night's work: what is wrong is collected and reported at the end. And stopping must not
cost more than the picture at hand: each is finished before the next begins, and a later run goes on from there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np

from ..cuda.memory import gpu_memory, is_gpus, is_memory_error, let_go
from ..data import DataError, overlay, read_label
from ..data.pictures import with_legend
from ..files import replacing
from ..training import SettingError
from .clips import Gif, write_gif, write_video
from .fitting import smaller_window
from .outputs import Outputs, read_clip_mark
from .predictor import Predictor
from .sources import Read, Source


class JobListener:
    """Is told how a job gets on; the methods do nothing here."""

    def started(self, total: int, finished: int) -> None:
        """`finished` of `total` pictures are there already."""

    def window(self, done: int, total: int) -> None:
        """Of the picture at hand, that many windows are done."""

    def picture(self) -> None:
        """One more picture is finished, or has turned out to be damaged."""

    def drawing(self, done: int, total: int) -> None:
        """Frames of the overlay clip, which is drawn last."""


@dataclass
class Job:
    """Predict all pictures of a source. After `run`, or when it is interrupted, the fields say how far it came."""

    predictor: Predictor
    source: Source
    outputs: Outputs
    clip: bool = False  # whether an overlay clip is wanted; then masks are among the outputs
    resume: bool = False
    listener: JobListener = field(default_factory=JobListener)

    finished: int = 0  # pictures that were there before
    predicted: int = 0
    problems: list[str] = field(default_factory=list)
    advice: list[str] = field(default_factory=list)
    last: str | None = None  # the name of the picture finished last
    label: np.ndarray | None = None  # … and its classes

    def run(self) -> None:
        """Do all that is not done. Errors: SettingError, before anything is written, for files that are in the way."""
        wanted = self.wanted()
        self.finished = len(self.source.names) - len(wanted)
        self.outputs.folder.mkdir(parents=True, exist_ok=True)
        self.listener.started(len(self.source.names), self.finished)
        for i, read in self.source.read(wanted):
            try:
                self.predict(self.source.names[i], read)
            except DataError as error:  # the other pictures are still wanted
                self.problems += error.problems
                self.advice += [line for line in error.advice if line not in self.advice]
            self.listener.picture()
        if self.clip and not self.clip_path.exists():
            self.draw_clip()

    def wanted(self) -> list[int]:
        """Numbers of the pictures to predict: all, or, when resuming, those that are not finished."""
        names = self.source.names
        if self.resume:
            if self.clip and self.clip_path.exists() and read_clip_mark(self.clip_path) != self.clip_mark:
                raise SettingError(
                    f"--resume: {self.clip_path} was made with other weights, options or frames, and nothing is "
                    "overwritten; move it away, or give another --output-dir"
                )
            return [i for i, name in enumerate(names) if not self.outputs.finished(name)]
        paths = [path for name in names for path in self.outputs.paths(name).values()]
        taken = [path for path in (*paths, *([self.clip_path] if self.clip else [])) if path.exists()]
        if taken:
            raise SettingError(
                f"{taken[0]} exists ({len(taken)} such files), and nothing is overwritten; add --resume to go on "
                "where an earlier run stopped, remove it, or give another --output-dir"
            )
        return list(range(len(names)))

    def predict(self, name: str, read: Read) -> None:
        """One picture, from reading to its last file."""
        predictor, seen = self.predictor, self.predictor.network.size
        try:
            image = read()  # (H, W, C)
            seen = seen or image.shape[:2]
            bands = predictor.bands(image, self.listener.window)
            self.label = self.outputs.write(name, image[:, :, :3], bands)
        except (MemoryError, RuntimeError) as error:
            if not is_memory_error(error):
                raise
            what = f"{name}: {str(error) or 'needs more memory than there is'}"
            if is_gpus(error):
                what = f"{what}\n  {predictor.device} has {gpu_memory(predictor.device).in_words()}"
            let_go(error)
            smaller = smaller_window(predictor.network, predictor.device, predictor.window, seen)
            raise DataError(what, f"{smaller} goes through images piece by piece") from None
        self.predicted += 1
        self.last = name

    @property
    def clip_path(self) -> Path:
        """Where the overlay clip goes: a GIF for a GIF, a video for a video."""
        suffix = "gif" if isinstance(self.source, Gif) else "mp4"
        return self.outputs.folder / f"{self.source.path.stem}_overlay.{suffix}"

    @property
    def clip_mark(self) -> str:
        """The mark of an overlay clip: also of what is in it."""
        numbers, outputs = self.source.numbers, self.outputs
        step = numbers[1] - numbers[0] if len(numbers) > 1 else 1
        return f"{outputs.mark} {numbers[0]}-{numbers[-1]}/{step} alpha {outputs.alpha} legend {outputs.legend}"

    def draw_clip(self) -> None:
        """Lay the finished masks over the source's frames. The network is not asked again, so a clip can be drawn when
        all frames are there, whichever run predicted them. Damaged frames are left out."""
        write = write_gif if isinstance(self.source, Gif) else write_video
        masks = [self.outputs.paths(name, ["mask"])["mask.png"] for name in self.source.names]
        ready = [i for i, mask in enumerate(masks) if mask.exists()]
        if ready:
            with replacing(self.clip_path) as temporary:
                write(temporary, self.overlaid(ready, masks), self.source.rate, self.clip_mark)

    def overlaid(self, frames: list[int], masks: list[Path]) -> Iterator[tuple[Fraction, np.ndarray]]:
        """(seconds, overlay uint8 (H, W, 3)) of these frames."""
        classes = self.outputs.classes
        for done, (i, read) in enumerate(self.source.read(frames), 1):
            picture = overlay(read(), read_label(masks[i]), classes, self.outputs.alpha)
            yield self.source.seconds[i], with_legend(picture, classes) if self.outputs.legend else picture
            self.listener.drawing(done, len(frames))
