"""`scratchfcn export`: a trained network as an ONNX file, or its weights alone."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from ..export.subject import Subject
    from ..export.write import Written

FORMATS = {"onnx": ".onnx", "npz": ".npz", "safetensors": ".safetensors"}
INPUTS = ("normalised", "pixels")


def export_command(
    weights: Annotated[
        Path | None, typer.Option(help="A best.safetensors or last.safetensors of a run; with --model, any weights.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="A network by name, see `scratchfcn models`; without --weights a new one.")
    ] = None,
    format: Annotated[
        str | None,
        typer.Option(help="onnx; npz or safetensors: the weights alone. (default: as --output ends, or onnx)"),
    ] = None,
    output: Annotated[Path | None, typer.Option(help="The file. (default: beside --weights, or MODEL.onnx)")] = None,
    size: Annotated[
        str | None,
        typer.Option(help="Images' size WIDTHxHEIGHT. (default: as trained; else 500x500, 224x224 for a classifier)"),
    ] = None,
    dynamic: Annotated[
        bool, typer.Option("--dynamic", help="One file for images of any size; --size is then only what is checked.")
    ] = False,
    input_kind: Annotated[
        str, typer.Option("--input", help="What the file takes: normalised (float32 NCHW), or pixels (uint8 NHWC RGB).")
    ] = "normalised",
    output_kind: Annotated[str, typer.Option(help="What it gives: scores, probabilities or classes.")] = "scores",
    check: Annotated[bool, typer.Option(help="Run the file under onnxruntime and compare it with the network.")] = True,
    image: Annotated[Path | None, typer.Option(help="Compare on this photograph, too.")] = None,
    num_classes: Annotated[
        int | None, typer.Option(min=1, help="Classes of a network by name. (default: 21, of a classifier 1000)")
    ] = None,
    recipe: Annotated[str | None, typer.Option(help="caffe: a network by name as the paper's authors had it.")] = None,
    seed: Annotated[int, typer.Option(help="Of a new network's weights.")] = 0,
) -> None:
    """Export a network as an ONNX file, checked against the network itself; or its weights."""
    from ..export import OUTPUT_KINDS
    from ..export.write import refuse_existing, write_onnx, write_weights
    from ..training import SettingError
    from .console import make_console
    from .parsing import size_option

    console = make_console()
    kind = chosen_format(format, output)
    if kind != "onnx":
        refuse_options(kind, size=size, dynamic=dynamic, image=image, input=input_kind != INPUTS[0])
    for option, value, known in (("--input", input_kind, INPUTS), ("--output-kind", output_kind, OUTPUT_KINDS)):
        if value not in known:
            raise SettingError(f"{option} {value!r} is not known; use {' or '.join(known)}")
    wanted = size_option(size)
    if wanted is not None and min(wanted) < 1:
        raise SettingError(f"--size {size!r}: an image has at least one pixel")
    if image is not None and not check:
        raise SettingError("--image is what the file is checked on; leave out --no-check, or --image")
    path = refuse_existing(output or default_output(kind, weights, model))
    subject = chosen_network(weights, model, num_classes, recipe, seed)
    if kind == "onnx":
        pixels = input_kind == "pixels"
        written = write_onnx(subject, path, wanted, dynamic, output_kind, pixels, check, image)
        show_onnx(written, console)
    else:
        written = write_weights(subject, path)
        console.print(f"{written.path}  {megabytes(written.bytes)}, the weights of {subject.name}")


def chosen_format(format: str | None, output: Path | None) -> str:
    """As --format says, or else as the output's name ends."""
    from ..training import SettingError

    by_suffix = {suffix: name for name, suffix in FORMATS.items()}
    if format is not None and format not in FORMATS:
        raise SettingError(f"--format {format!r} is not known; use {', '.join(FORMATS)}")
    if output is None:
        return format or "onnx"
    if output.suffix not in by_suffix or (format and FORMATS[format] != output.suffix):
        wanted = FORMATS[format] if format else " or ".join(by_suffix)
        raise SettingError(f"--output {output} must end in {wanted}")
    return by_suffix[output.suffix]


def refuse_options(kind: str, **given: object) -> None:
    """Weights alone have no size and no input."""
    from ..training import SettingError

    wrong = [f"--{name}" for name, value in given.items() if value]
    if wrong:
        raise SettingError(f"{', '.join(wrong)}: for --format onnx only; {kind} holds the weights alone")


def default_output(kind: str, weights: Path | None, model: str | None) -> Path:
    """best.onnx beside best.safetensors; weights alone are best_weights.npz."""
    stem = "" if kind == "onnx" else "_weights"
    if weights is None:
        return Path(f"{model or 'network'}{stem}{FORMATS[kind]}")
    return weights.with_name(f"{weights.stem}{stem}{FORMATS[kind]}")


def chosen_network(
    weights: Path | None, model: str | None, num_classes: int | None, recipe: str | None, seed: int
) -> Subject:
    """A run's network, one by name with weights from elsewhere, or a new one."""
    from ..backend import manual_seed
    from ..export.subject import by_name, from_checkpoint
    from ..training import SettingError

    if weights is None and model is None:
        raise SettingError(
            "what to export? --weights runs/exp1/best.safetensors, or --model NAME for a new network "
            "(`scratchfcn models` lists them)"
        )
    if model is None:
        for option, value in (("--num-classes", num_classes), ("--recipe", recipe)):
            if value is not None:
                raise SettingError(
                    f"{option} goes with --model; {weights} says itself what it holds: leave {option} out"
                )
        return from_checkpoint(weights)
    manual_seed(seed)
    return by_name(model, num_classes, recipe, weights)


def show_onnx(written: Written, console: Console) -> None:
    """What was compared, what was written, and how to use it."""
    for what, found in written.differences:
        console.print(
            f"{what}: at most {found.largest:.2g} from the network, {found.relative:.1e} of the largest score"
        )
    if written.differences and all(found.scale == 0 for _, found in written.differences):
        console.print(
            "warning: all scores are 0, as those of a new FCN are, so the comparison says little", style="yellow"
        )
    if written.differences:
        console.print("✓ onnx.checker and onnxruntime agree with it")
    else:
        console.print("not checked")
    console.print(f"{written.path}  {megabytes(written.bytes)}, {written.nodes} nodes")
    console.print(written.feeding)
    console.print(f"use it: onnxruntime.InferenceSession({shlex.quote(str(written.path))!r})")


def megabytes(count: int) -> str:
    return f"{count / 1e6:.1f} MB"
