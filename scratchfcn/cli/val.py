"""`scratchfcn val`: five figures and each class's scores of a trained network on a data set, and a page to look at."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from ..data import Dataset
    from ..training import Evaluation, Network
    from ..training.evaluate import Evaluator, ImageScore


def val_command(
    weights: Annotated[Path, typer.Option(help="A best.safetensors or last.safetensors of a run.")],
    data: Annotated[
        str | None, typer.Option(help="Folder of the data set, or shapes. (default: what the run was validated on)")
    ] = None,
    dataset: Annotated[str | None, typer.Option(help="Which layout the folder has. (default: as it looks)")] = None,
    split: Annotated[str | None, typer.Option(help="Which part: val, test … (default: the data set's own)")] = None,
    ignore: Annotated[str | None, typer.Option(help='Further mask values that mean "not labelled": 11,12.')] = None,
    task: Annotated[
        str | None, typer.Option(help="Of a network with two heads, one: semantic, geometric. (default: both)")
    ] = None,
    size: Annotated[
        str | None, typer.Option(help="Resize images to WIDTHxHEIGHT, or 'native'. (default: as in training)")
    ] = None,
    window: Annotated[
        str | None, typer.Option(help="Go through large images by windows of WIDTHxHEIGHT of what the network sees.")
    ] = None,
    overlap: Annotated[float, typer.Option(help="How much of a window the next one covers again, 0 to 0.9.")] = 0.25,
    scales: Annotated[str, typer.Option(help="Average over these sizes, for example 0.75,1,1.25.")] = "1",
    flip: Annotated[bool, typer.Option("--flip", help="Average over the image and its mirror image.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    report: Annotated[Path | None, typer.Option(help="The page. (default: report_SPLIT.html beside --weights)")] = None,
    no_report: Annotated[bool, typer.Option("--no-report", help="Write no page.")] = False,
    worst: Annotated[int, typer.Option(help="How many of the worst images the page shows.", min=0)] = 12,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write all figures there, for programs.")] = None,
    save_masks: Annotated[Path | None, typer.Option(help="Folder for the predictions, a PNG of ids each.")] = None,
) -> None:
    """Measure a trained network: the paper's four metrics, boundary F1, every class, and the images it did worst on."""
    from .. import backend
    from ..data import check_pairs
    from ..reports.val_report import Extremes
    from ..training import load_network
    from ..training.run_folder import refuse_if_there
    from .console import make_console
    from .out_of_memory import validation_explained
    from .parsing import size_option
    from .progress import Bar

    console = make_console()
    device = backend.resolve_device(device)
    if json_file is not None:
        refuse_if_there(json_file, "--json")
    network = load_network(weights).for_task(task)
    network.model.to(device)
    if size is not None:
        network.size = None if size == "native" else size_option(size)
    images, source = open_images(weights, network, data, dataset, split, ignore)
    images = images_for(network, images, task)
    evaluator, looks = make_evaluator(network, images, device, size_option(window, "--window"), overlap, scales, flip)
    if images.classes.names != network.classes.names:
        console.print("warning: the data set names its classes differently than the network does", style="yellow")
    masks = None if save_masks is None else MaskWriter(save_masks, images)
    with Bar("checking", console) as bar:
        check_pairs(images, bar.update)

    extremes = Extremes(0 if no_report else worst)

    def each(score: ImageScore, prediction: Any) -> None:
        extremes.add(score, prediction)
        if masks is not None:
            masks.write(score.name, prediction)

    with Bar("validating", console) as bar, validation_explained(network, device, size_option(window, "--window")):
        result = evaluator(network, device, progress=bar.update, boundaries=True, each=each)

    show(result, network, f"{weights} on {source['data']}, {source['split']}", console)
    shown_at = "native" if network.size is None else "{1}x{0}".format(*network.size)
    settings = {"weights": str(weights), "model": network.name, **source, "size": shown_at, **looks, "device": device}
    settings |= {} if task is None else {"task": task}
    if masks is not None:
        console.print(f"predictions {masks.folder}")
    if json_file is not None:
        write_json(json_file, result, images, settings)
        console.print(f"figures     {json_file}")
    if not no_report:
        path = write_report(report, weights, result, images, extremes, settings)
        console.print(f"report      {path}")


def open_images(
    weights: Path, network: Network, data: str | None, layout: str | None, split: str | None, ignore: str | None
) -> tuple[Dataset, dict[str, Any]]:
    """The images to validate on, and in plain words which they are.

    Without --data it is what the run of these weights was validated on, as the config.toml beside them says.
    """
    from ..data import open_dataset, recognise
    from ..training import SHAPES, Config, RunFolder, SettingError, open_data
    from .parsing import values_option

    ignored = values_option(ignore, "--ignore")
    if data is None:
        run = RunFolder(weights.parent).settings()
        if run is None:
            raise SettingError(f"no --data given, and there is no config.toml beside {weights} that would say which")
        data, layout, split = run.data, layout or run.dataset, split or run.val_split
        ignored = run.ignore if ignored is None else ignored
    else:
        run = Config(data=data, size=network.size)
    if data == SHAPES:
        if split not in (None, "val"):
            raise SettingError(f"--split {split}: the pictures of --data shapes that are not trained on are 'val'")
        return open_data(run).val, {"data": data, "split": "val", "seed": run.seed}
    split = split or recognise(data, layout)[0].about.val
    num_classes = None if network.tasks else len(network.classes)  # which of the tasks will be seen
    opened = open_dataset(data, split, num_classes, layout, ignored or ())
    return opened, {"data": data, "dataset": layout, "split": split, "ignore": list(ignored or ())}


def images_for(network: Network, images: Dataset, task: str | None) -> Dataset:
    """The part of a data set that the network is measured on: all of it, if the network answers to all of its tasks.

    Errors: SettingError where the network takes other images, or knows other classes.
    """
    from ..data import main_view
    from ..training import SettingError

    if images.channels != network.channels:
        other = "nyudv2-rgb-hha" if network.channels == 6 else "nyudv2"
        raise SettingError(
            f"the network takes images of {network.channels} channels, and these have {images.channels}: another "
            f"--dataset, {other} for example?"
        )
    if images.tasks and (task is not None or not network.tasks):
        images = main_view(images, task)
    if len(images.classes) != len(network.classes):
        known = f"{len(network.classes)} {task or next(iter(network.tasks), '')}".strip()
        raise SettingError(
            f"the network tells {known} classes apart, and these images are labelled in {len(images.classes)}: another "
            "--dataset, siftflow-both for example?"
        )
    return images


def make_evaluator(
    network: Network,
    images: Dataset,
    device: str,
    window: tuple[int, int] | None,
    overlap: float,
    scales: str,
    flip: bool,
) -> tuple[Evaluator, dict[str, Any]]:
    """What validates, and in plain words how each image is looked at: once, unless windows, scales or mirrors are
    asked for."""
    from ..prediction import Predictor
    from ..training.evaluate import Evaluator, ProbabilityEvaluator
    from .predict import scales_option

    def asking(one: Network) -> Predictor:
        return Predictor(one, device, window, overlap, scales_option(scales), flip)

    predictor = asking(network)
    if (predictor.window, predictor.scales, predictor.flip) == (None, (1.0,), False):
        return Evaluator(images, network.size), {}
    looks: dict[str, Any] = {"scales": list(predictor.scales), "flip": flip}
    if window is not None:
        looks |= {"window": "{1}x{0}".format(*window), "overlap": overlap}
    others = {task: asking(network.for_task(task)).probabilities for task in list(images.tasks)[1:]}
    return ProbabilityEvaluator(images, predictor.probabilities, **others), looks


class MaskWriter:
    """Saves each prediction as a palette PNG of class ids, named after its image, into a folder that has none yet."""

    def __init__(self, folder: Path, images: Dataset) -> None:
        from ..training import SettingError

        self.folder, self.classes = folder, images.classes
        taken = [path for i in range(len(images)) if (path := self.path(images.name(i))).exists()]
        if taken:
            raise SettingError(
                f"--save-masks: {taken[0]} exists ({len(taken)} such files), and nothing is overwritten; give another "
                "folder"
            )
        folder.mkdir(parents=True, exist_ok=True)

    def path(self, name: str) -> Path:
        return self.folder / f"{name}.png"

    def write(self, name: str, prediction: Any) -> None:
        from ..data import save_mask
        from ..files import replacing

        with replacing(self.path(name)) as temporary:
            save_mask(temporary, prediction, self.classes)


def show(result: Evaluation, network: Network, title: str, console: Console) -> None:
    """The table of the classes, and the five figures; of further tasks, the four."""
    from rich.table import Table

    from .progress import in_words_of_others

    confusion, boundary = result.confusion, result.boundary
    table = Table(title=f"{title}: {len(result.images)} images")
    table.add_column("class")
    for name in ("IU", "accuracy", "boundary F1"):
        table.add_column(name, justify="right")
    scores = zip(confusion.per_class_iu, confusion.per_class_acc, boundary.per_class_f1, strict=True)
    for k, (name, row) in enumerate(zip(network.classes.names, scores, strict=True)):
        left_out = " (not in the means)" if k in confusion.unscored else ""
        table.add_row(name + left_out, *("–" if math.isnan(value) else f"{value:.4f}" for value in row))
    console.print(table)
    console.print(
        f"pixel acc {confusion.pixel_acc:.4f}  mean acc {confusion.mean_acc:.4f}  mean IU {confusion.mean_iu:.4f}  "
        f"f.w. IU {confusion.fw_iu:.4f}  boundary F1 {boundary.f1:.4f}  loss {result.loss:.4f}",
    )
    for text in in_words_of_others(result.scores_of_others(), list(result.others)):
        console.print(text)
    if not boundary.images:
        console.print("boundary F1 has nothing to measure here: in none of these masks do two classes touch")


def write_json(path: Path, result: Evaluation, images: Dataset, settings: dict[str, Any]) -> None:
    """All figures as JSON; null where there is no number."""
    from ..files import replacing
    from ..reports.val_report import figures
    from .origin import command_line

    text = json.dumps(figures(result, images.classes, settings, command_line()), indent=1, allow_nan=False)
    with replacing(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def write_report(
    path: Path | None,
    weights: Path,
    result: Evaluation,
    images: Dataset,
    extremes: Any,
    settings: dict[str, Any],
) -> Path:
    """The page, under its name or the next free one."""
    from ..reports.page import write_page
    from ..reports.val_report import val_page
    from ..training.run_folder import free_path
    from .origin import command_line

    if path is None:
        path = weights.parent / f"report_{settings['split'].replace('/', '_')}.html"
    data = Path(settings["data"]).resolve().name if images.root else settings["data"]
    title = f"{weights.resolve().parent.name}/{weights.name} on {data}, {settings['split']}"
    return write_page(free_path(path), val_page(result, images, extremes, settings, command_line(), title))
