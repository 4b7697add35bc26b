"""`scratchfcn predict`: label the pixels of an image, of every image in a folder, or of a video's frames."""

from __future__ import annotations

import shlex
import time
from pathlib import Path
from typing import Annotated, Any

import typer

MANY_WINDOWS = 4  # from so many on, the bar counts the windows of a picture


def predict_command(
    ctx: typer.Context,
    weights: Annotated[Path, typer.Option(help="A best.safetensors or last.safetensors of a run.")],
    source: Annotated[Path, typer.Option(help="An image, a folder of images, a video, or an animated GIF.")],
    hha: Annotated[
        Path | None,
        typer.Option(help="For a network of colour and HHA: the HHA picture, or a folder of them, named alike."),
    ] = None,
    task: Annotated[
        str | None, typer.Option(help="Of a network with two heads: semantic or geometric. (default: the first)")
    ] = None,
    save: Annotated[
        str | None,
        typer.Option(
            help="What to write: mask, overlay, side, ids, probs, uncertainty, and for clips video, separated by "
            "commas. (default: mask,overlay; for clips mask,video; with --mc-dropout uncertainty as well)"
        ),
    ] = None,
    alpha: Annotated[float, typer.Option(help="How opaque the overlay's colours are, 0 to 1.")] = 0.5,
    legend: Annotated[bool, typer.Option(help="Name the classes in a strip beneath overlays.")] = True,
    size: Annotated[str | None, typer.Option(help="Network's image size WIDTHxHEIGHT, or 'native'.")] = None,
    window: Annotated[
        str | None, typer.Option(help="Go through large images by windows of WIDTHxHEIGHT of what the network sees.")
    ] = None,
    overlap: Annotated[float, typer.Option(help="How much of a window the next one covers again, 0 to 0.9.")] = 0.25,
    scales: Annotated[str, typer.Option(help="Average over these sizes, for example 0.75,1,1.25.")] = "1",
    flip: Annotated[bool, typer.Option("--flip", help="Average over the image and its mirror image.")] = False,
    mc_dropout: Annotated[int, typer.Option(help="Passes with dropout on, for the uncertainty; 20 is usual.")] = 0,
    seed: Annotated[int, typer.Option(help="Seed of --mc-dropout.")] = 0,
    large: Annotated[bool, typer.Option("--large", help="Read images of more than 178 million pixels.")] = False,
    recursive: Annotated[bool, typer.Option("--recursive", help="Sub-folders, too; the outputs mirror them.")] = False,
    every: Annotated[int, typer.Option(help="Of a clip, every Nth frame.")] = 1,
    start: Annotated[float, typer.Option(help="Of a clip, from this second on.")] = 0.0,
    stop: Annotated[float | None, typer.Option(help="Of a clip, up to this second. (default: its end)")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", "--skip-existing", help="Skip what an earlier run finished, and do the rest.")
    ] = False,
    output_dir: Annotated[
        Path | None, typer.Option(help="Where to write. (default: predictions beside --weights)")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
) -> None:
    """Predict a class for every pixel: NAME_mask.png (palette indices), NAME_overlay.png, NAME_probs.npz …"""
    from .. import backend
    from ..prediction import Job, Outputs, Predictor, mark_of
    from ..prediction.clips import SUFFIXES
    from ..training import SettingError, load_network
    from .console import make_console
    from .parsing import size_option

    clip = source.suffix.lower() in SUFFIXES and not source.is_dir()
    kinds = kinds_option(save, clip, mc_dropout > 0)
    if not 0.0 <= alpha <= 1.0:
        raise SettingError(f"--alpha must lie between 0 and 1, got {alpha}")
    console = make_console()
    device = backend.resolve_device(device)
    network = load_network(weights).for_task(task)
    refuse_other_channels(network, hha)
    network.model.to(device)
    if size is not None:
        network.size = None if size == "native" else size_option(size)
    predictor = Predictor(
        network, device, size_option(window, "--window"), overlap, scales_option(scales), flip, mc_dropout, seed
    )
    folder = output_dir or weights.parent / "predictions"
    outputs = Outputs(
        folder,
        [kind for kind in kinds if kind != "video"],
        network.classes,
        mark_of(weights, predictor),
        alpha,
        legend,
        all_classes=clip,
    )
    pictures = open_source(source, clip, outputs, recursive, large, every, start, stop)
    if hha is not None:
        if clip:
            raise SettingError(f"--hha belongs to images, and {source} is a clip")
        pictures = pictures.with_hha(hha)
    if predictor.window is not None and network.size is not None:
        explain_windows(predictor.window, network.size, console)
    with JobBar(pictures.what, console) as bar:
        job = Job(predictor, pictures, outputs, "video" in kinds, resume, bar)
        try:
            job.run()
        except KeyboardInterrupt:
            done = f"stopped; {job.finished + job.predicted} of {len(pictures.names)} are finished"
            raise KeyboardInterrupt(f"{done}; go on with: {command_again(ctx)}") from None
    show_result(job, network.classes, console)


def refuse_other_channels(network: Any, hha: Path | None) -> None:
    """Errors: SettingError where photographs are not what the network takes, or not all of it."""
    from ..training import SettingError

    if network.channels == 6 and hha is None:
        raise SettingError(
            "this network takes colour and HHA, so photographs alone do not do: --hha names the HHA pictures; or, on "
            "a whole data set, scratchfcn val --save-masks FOLDER"
        )
    if network.channels == 3 and hha is not None:
        raise SettingError("--hha: this network takes colour alone; leave it out")
    if network.channels not in (3, 6):
        raise SettingError(
            f"this network takes {network.channels} channels, and pictures have three; from Python: "
            "scratchfcn.training.load_network(…).predict(image)"
        )


def kinds_option(text: str | None, clip: bool, passes: bool) -> list[str]:
    """ "mask,probs" → kinds of files. A clip's video is drawn from its masks, so it brings them along."""
    from ..prediction import FILES
    from ..training import SettingError

    if text is None:
        return ["mask", "video" if clip else "overlay", *(["uncertainty"] if passes else [])]
    known = [*FILES, "video"]
    kinds = list(dict.fromkeys(kind.strip() for kind in text.split(",")))
    for kind in kinds:
        if kind not in known:
            raise SettingError(f"--save {kind!r} is not known; use {', '.join(known)}, separated by commas")
    if "video" in kinds and not clip:
        raise SettingError("--save video needs a video or an animated GIF as --source; images get overlay")
    if "uncertainty" in kinds and not passes:
        raise SettingError("--save uncertainty needs --mc-dropout N, N passes with dropout on: 20 is usual")
    return kinds if "video" not in kinds or "mask" in kinds else ["mask", *kinds]


def scales_option(text: str) -> tuple[float, ...]:
    """ "0.75,1,1.25" → (0.75, 1.0, 1.25)."""
    from ..training import SettingError

    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise SettingError(f"--scales {text!r}: write numbers, for example 0.75,1,1.25") from None


def open_source(
    path: Path, clip: bool, outputs: Any, recursive: bool, large: bool, every: int, start: float, stop: float | None
) -> Any:
    """The pictures of --source. What an earlier run wrote beside the photographs is not taken for one."""
    from ..prediction import FILES, ImageFiles, open_clip
    from ..training import SettingError

    if clip:
        return open_clip(path, every, start, stop)
    if (every, start, stop) != (1, 0.0, None):
        raise SettingError(f"--every, --start and --stop choose frames of a video, and {path} is none")
    images = ImageFiles.open(path, recursive, outputs.folder, large)
    if path.is_dir():
        images = images.without({p for name in images.names for p in outputs.paths(name, FILES).values()})
    return images


def explain_windows(window: tuple[int, int], size: tuple[int, int], console: Any) -> None:
    """People expect windows of the photograph; this network sees it resized."""
    (h, w), (H, W) = window, size
    if h >= H and w >= W:
        console.print(
            f"note: this network sees every image resized to {W}x{H}, which one window of {w}x{h} covers; --size "
            "native goes through the image itself (objects then look larger than in training)"
        )


class JobBar:
    """Shows how a job gets on: pictures done and their rate, the windows of a large one, and the time that is left."""

    def __init__(self, what: str, console: Any) -> None:
        from rich.progress import BarColumn, Progress, TextColumn

        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            TextColumn("{task.completed:.0f}/{task.total:.0f} {task.fields[what]}s"),
            TextColumn("{task.fields[pace]}"),
            console=console,
            transient=True,
            disable=not console.is_terminal,  # in a log file, only the lines that stay
        )
        self.what, self.done, self.finished, self.total = what, 0, 0, 0
        self.task = self.progress.add_task("predicting", total=1, visible=False, what=what, pace="")

    def started(self, total: int, finished: int) -> None:
        self.begun, self.total, self.finished = time.perf_counter(), total, finished
        self.progress.update(self.task, total=total, completed=finished, visible=True)

    def window(self, done: int, total: int) -> None:
        if total >= MANY_WINDOWS:
            self.show(done / total, f"window {done}/{total}  ")

    def picture(self) -> None:
        self.done += 1
        self.show(0.0)

    def show(self, part: float, words: str = "") -> None:
        """part: of the picture at hand, from 0 to 1."""
        done = self.done + part
        rate = done / (time.perf_counter() - self.begun)
        completed = self.finished + done
        pace = f"{words}{in_words(rate, self.what)}  {left(self.total - completed, rate)}"
        self.progress.update(self.task, completed=completed, pace=pace)

    def drawing(self, done: int, total: int) -> None:
        self.progress.update(self.task, description="drawing the video", completed=done, total=total, pace="")

    def __enter__(self) -> JobBar:
        self.progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.progress.stop()


def in_words(rate: float, what: str) -> str:
    """12.3 per second, or, where that is less than one, seconds for each."""
    return f"{rate:.1f} {what}s/s" if rate >= 1 or rate == 0 else f"{1 / rate:.1f} s per {what}"


def left(pictures: float, rate: float) -> str:
    from .progress import duration

    return f"{duration(pictures / rate)} left" if rate else ""


def command_again(ctx: typer.Context) -> str:
    """The command line with --resume, from the options that were given."""
    words = ["scratchfcn", "predict"]
    for parameter in ctx.command.params:
        source = ctx.get_parameter_source(parameter.name)
        if source is None or source.name != "COMMANDLINE" or parameter.name == "resume":
            continue
        value = ctx.params[parameter.name]
        if isinstance(value, bool):
            words.append(parameter.opts[0] if value else parameter.secondary_opts[0])
        else:
            words += [parameter.opts[0], str(value)]
    return shlex.join([*words, "--resume"])


def show_result(job: Any, classes: Any, console: Any) -> None:
    """What was done, and where it is. Errors: DataError with all problems, if there are any."""
    from ..data import DataError

    what = job.source.what
    before = f", {job.finished} more were there already" if job.finished else ""
    if job.last is not None:
        console.print(f"{job.predicted} {what}(s) predicted{before}; for example:")
        for part, path in job.outputs.paths(job.last).items():
            console.print(f"  {part.removesuffix('.png').removesuffix('.npz'):11} {path}")
    elif not job.problems:
        console.print(f"all {job.finished} {what}(s) are there already, in {job.outputs.folder}")
    if job.clip and job.clip_path.exists():
        console.print(f"  {'video':11} {job.clip_path}")
    if job.predicted == 1 and len(job.source.names) == 1:
        show_shares(job.label, classes, console)
    if job.problems:
        raise DataError(job.problems, job.advice)


def show_shares(label: Any, classes: Any, console: Any) -> None:
    """How much of the picture each class takes up."""
    import numpy as np

    shares = np.bincount(label.ravel(), minlength=len(classes)) / label.size
    found = [(share, name) for share, name in zip(shares, classes.names, strict=True) if share > 0]
    console.print(
        "  " + ", ".join(f"{name} {100 * share:.1f}%" for share, name in sorted(found, reverse=True)), highlight=False
    )
