"""`scratchfcn trace`: a training step op by op, with shapes, times, memory and how large the numbers are."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer

AUXILIARY = 0.3  # the weight of a classifier's further outputs in its loss (GoogLeNet's paper, section 5)


def trace_command(
    model: Annotated[
        str | None, typer.Option(help="A network by name, see `scratchfcn models`. (default: fcn8s_small)")
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="Or a trained one: a best.safetensors or last.safetensors.")
    ] = None,
    source: Annotated[Path | None, typer.Option("--input", help="An image. (default: a generated picture)")] = None,
    size: Annotated[str | None, typer.Option(help="WIDTHxHEIGHT that the image is made, or resized to.")] = None,
    label: Annotated[
        Path | None, typer.Option(help="The image's mask, for the loss. (default: the generated one's, or random)")
    ] = None,
    classes: Annotated[int | None, typer.Option(min=1, help="How many classes a network by name scores.")] = None,
    backward: Annotated[
        bool, typer.Option(help="A training step, with the loss and the way back; or prediction alone.")
    ] = True,
    step: Annotated[bool, typer.Option("--step", help="Pause before each op, to look around.")] = False,
    after: Annotated[int, typer.Option(min=0, help="So many steps of SGD on this image come first.")] = 0,
    lr: Annotated[float, typer.Option(help="Learning rate, of those steps and of update/weight.")] = 0.01,
    html: Annotated[Path | None, typer.Option(help="Write the trace to this file as a page, too.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the trace to this file, too.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of initial weights, picture, random labels, dropout.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
) -> None:
    """Trace a network: a row for every op, forward and backward."""
    import numpy as np

    from .. import backend, models
    from ..inspection.step import Stepper
    from ..inspection.trace import trace_step
    from ..inspection.trace_page import trace_page
    from ..tensor import Tensor, no_grad
    from ..training import SettingError

    if step and not sys.stdin.isatty():
        raise SettingError(
            "--step asks what to do before each op, but nobody can answer: the input is not a terminal; "
            "run it in a terminal, or leave --step out"
        )
    if after and not backward:
        raise SettingError("--after N trains first, which needs the way back; leave out --no-backward")
    device = backend.resolve_device(device)
    backend.manual_seed(seed)
    subject = subject_of(model, weights, classes, device)
    image, mask, words = picture(subject, source, label, size, seed)
    if subject.channels != 3:
        image = np.dstack([image] * subject.channels)[:, :, : subject.channels]  # (H, W, C)
        words += f", repeated for {subject.channels} channels"
    x = Tensor(subject.prepare(image), device=device)
    subject.model.train(backward)
    loss_of = loss_on(mask, seed) if backward else None
    for _ in range(after):
        train_once(subject.model, x, loss_of, lr)

    before = Stepper(tell=typer.echo) if step else None
    with nullcontext() if backward else no_grad():
        trace, output, loss = trace_step(subject.model, x, loss_of, lr, before)
    about = header(subject, x, words, device, backward, after, loss)
    title = f"trace of {subject.name}"
    if output is None:
        typer.echo("stopped")
    else:
        typer.echo("\n".join([title, *about, "", str(trace)]))
        new_fcn = weights is None and not after and isinstance(subject.model, models.FCN)
        if new_fcn and any(row.magnitude == 0 for row in trace.backward):
            typer.echo("\n" + nothing_learned(trace.backward))
    if html is not None:
        html.write_text(trace_page(trace, title, about), encoding="utf-8")
        typer.echo(f"page: {html}")
    if json_file is not None:
        content = {"model": subject.name, "input": list(x.shape), "device": device, "training": backward}
        content |= {"loss": None if loss is None else loss.item(), **trace.as_plain()}
        json_file.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        typer.echo(f"JSON: {json_file}")


def subject_of(model: str | None, weights: Path | None, classes: int | None, device: str) -> Any:
    """The network to look at, on the device."""
    from .summary import network_by_name, network_in_file

    if weights is not None:
        subject = network_in_file(weights, model, classes)
    else:
        subject = network_by_name(model or "fcn8s_small", classes)
    subject.model.to(device)
    return subject


def picture(subject: Any, source: Path | None, label: Path | None, size: str | None, seed: int) -> tuple[Any, Any, str]:
    """The image uint8 (H, W, 3), its mask (H, W) or None where that is to be random, and both in words."""
    from ..data import Shapes, read_image, resize_image
    from ..data.images import read_label
    from ..data.transforms import resize_label
    from ..training import SettingError
    from .parsing import size_option

    wanted = size_option(size)
    if wanted is not None and min(wanted) < 1:
        raise SettingError(f"--size {size!r}: an image has at least one pixel")
    if source is None:
        if label is not None:
            raise SettingError("--label belongs to an image: give --input as well")
        image, mask = Shapes(1, wanted or subject.size, seed).read(0)
        return image, mask.clip(max=subject.num_classes - 1), "a generated picture"
    image = read_image(source)
    mask = None if label is None else read_label(label)
    if mask is not None and mask.shape != image.shape[:2]:
        raise SettingError(f"{label}: the mask is {mask.shape[1]}x{mask.shape[0]} but {source} is not; they must agree")
    wanted = wanted or (subject.size if subject.resizes else None)
    if wanted is not None:
        image, mask = resize_image(image, wanted), None if mask is None else resize_label(mask, wanted)
    return image, mask, f"{source}, labels {'random' if label is None else label}"


def loss_on(mask: Any, seed: int) -> Callable[[Any], Any]:
    """The loss of a network's output: cross entropy with the mask, resized to the scores; or with random labels."""
    import numpy as np

    from ..data.transforms import resize_label
    from ..training.objective import main_output, segmentation_loss

    def labels(scores: Any) -> Any:
        shape = (len(scores), *scores.shape[2:])
        if mask is None or len(shape) == 1:  # a classifier's image has one class, not a mask
            return np.random.default_rng(seed).integers(0, scores.shape[1], shape)
        return np.broadcast_to(resize_label(mask, shape[1:]), shape)

    def loss_of(output: Any) -> Any:
        if isinstance(output, tuple):  # a classifier with further heads
            main, *others = [segmentation_loss(scores, labels(scores)) for scores in output]
            return sum((AUXILIARY * loss for loss in others), main)
        if isinstance(output, dict) and "aux" not in output:  # tasks, each with labels of its own
            return segmentation_loss(output, {name: labels(scores) for name, scores in output.items()})
        return segmentation_loss(output, labels(main_output(output)))

    return loss_of


def train_once(model: Any, x: Any, loss_of: Callable[[Any], Any], lr: float) -> None:
    """A step of plain SGD."""
    from ..optim import SGD

    model.zero_grad()
    loss_of(model(x)).backward()
    SGD([p for p in model.parameters() if p.requires_grad], lr).step()


def header(subject: Any, x: Any, words: str, device: str, backward: bool, after: int, loss: Any) -> list[str]:
    """What was traced, in lines."""
    lines = [f"input {'×'.join(map(str, x.shape))}: {words}; {subject.num_classes} classes, on {device}"]
    if loss is not None:
        steps = f", after {after} step{'s' * (after > 1)} of SGD on this image" if after else ""
        lines.append(f"a training step{steps}: loss {loss.item():.4f} (cross entropy)")
    elif not backward:
        lines.append("prediction: evaluation mode, nothing is kept for backward")
    if device != "cpu":
        lines.append("times: op by op, from the call until the GPU has finished; memory: what CuPy's pool hands out")
    return lines


def nothing_learned(rows: list[Any]) -> str:
    """Why a new FCN passes no gradient on."""
    zeros = sum(row.magnitude == 0 for row in rows)
    return (
        f"{zeros} of {len(rows)} ops were given a gradient that is 0 throughout. In a new FCN the layers that score\n"
        "classes are 0, as in the paper, and let nothing pass: the first step changes them alone.\n"
        "--after 1 traces the second step."
    )
