"""`scratchfcn explain [TOPIC]`: a page that shows how an operation works, in sizes of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def explain_command(
    topic: Annotated[str | None, typer.Argument(help="What to explain; all topics are listed without one.")] = None,
    size: Annotated[str | None, typer.Option(help="Of the image, WIDTHxHEIGHT.")] = None,
    kernel: Annotated[int | None, typer.Option(help="Rows and columns of the kernel or window.")] = None,
    stride: Annotated[int | None, typer.Option(help="How far the window moves.")] = None,
    padding: Annotated[int | None, typer.Option(help="Rows and columns added on each side.")] = None,
    dilation: Annotated[int | None, typer.Option(help="How far apart a window's pixels lie.")] = None,
    output_padding: Annotated[int | None, typer.Option(help="Rows added below by a transposed convolution.")] = None,
    channels: Annotated[int | None, typer.Option(help="Of the image.")] = None,
    factor: Annotated[int | None, typer.Option(help="Of the upsampling.")] = None,
    ceil_mode: Annotated[bool, typer.Option("--ceil-mode", help="Round a pool's output size up.")] = False,
    model: Annotated[str | None, typer.Option(help="A network; `scratchfcn models` lists them.")] = None,
    weights: Annotated[Path | None, typer.Option(help="Of the network, from training.")] = None,
    image: Annotated[Path | None, typer.Option("--image", "--input", help="A picture to look at.")] = None,
    names: Annotated[Path | None, typer.Option(help="A text file with the classes' names, one in a line.")] = None,
    classes: Annotated[int | None, typer.Option(help="How many classes are scored.")] = None,
    reduction: Annotated[str | None, typer.Option(help="Of the loss: mean or sum.")] = None,
    layers: Annotated[str | None, typer.Option(help="A stack of layers: 'conv 3 p1, pool 2, conv 3 p1'.")] = None,
    backbone: Annotated[str | None, typer.Option(help="Of an FCN.")] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Where to write: a folder, or FILE.html; the PNG lies beside it.")
    ] = Path("explain"),
    open_page: Annotated[bool, typer.Option("--open", help="Show the page in the browser.")] = False,
) -> None:
    """Write a page that explains an operation: open it in a browser, change its sizes, step through it.

    Each topic takes some of the options. It works without a network and on a phone.
    """
    from ..explain import TOPICS, build, write

    if topic is None:
        width = max(map(len, TOPICS))
        typer.echo("\n".join(f"{name:{width}}  {about}" for name, about in TOPICS.items()))
        typer.echo("\nscratchfcn explain TOPIC writes its page; for example: scratchfcn explain conv --stride 2 --open")
        return
    from .parsing import size_option

    settings = {
        "size": size_option(size), "kernel": kernel, "stride": stride, "padding": padding, "dilation": dilation,
        "output_padding": output_padding, "channels": channels, "factor": factor, "ceil_mode": ceil_mode or None,
        "model": model, "weights": weights, "image": image, "classes": classes,
        "names": names, "reduction": reduction, "layers": layers, "backbone": backbone,
    }  # fmt: skip
    page = build(topic, **{name: value for name, value in settings.items() if value is not None})
    html_path = output if output.suffix == ".html" else output / f"{topic}.html"
    for path in write(page, html_path):
        typer.echo(path)
    if open_page:
        import webbrowser

        webbrowser.open(html_path.resolve().as_uri())
