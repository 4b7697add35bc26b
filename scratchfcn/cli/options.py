"""Options that `train` and `preview` share: which images, and what chance does to them. None: not given."""

from pathlib import Path
from typing import Annotated

import typer

Data = Annotated[str | None, typer.Option(help="Folder of the data set, or shapes: generated pictures.")]
DatasetName = Annotated[
    str | None,
    typer.Option(help="Which layout the folder has, of those that `scratchfcn data` lists. (default: as it looks)"),
]
TrainSplit = Annotated[str | None, typer.Option(help="Which part to train on. (default: train, or the data set's own)")]
Ignore = Annotated[str | None, typer.Option(help='Mask values that mean "not labelled", like 255: 0,11.')]
Generated = Annotated[int | None, typer.Option(help="Pictures per epoch of --data shapes. (default: 2000)")]
NumClasses = Annotated[int | None, typer.Option(help="Classes in the masks. (default: as the data says)")]
Size = Annotated[str | None, typer.Option(help="Resize all images to WIDTHxHEIGHT. (default: as they are)")]
Scale = Annotated[str | None, typer.Option(help="Scale images at random by LOW-HIGH; needs --crop.")]
Rotate = Annotated[float | None, typer.Option(help="Turn at random by up to so many degrees. (default: 0)")]
Crop = Annotated[str | None, typer.Option(help="Crop WIDTHxHEIGHT at a random place.")]
Flip = Annotated[bool | None, typer.Option(help="Mirror every other image. (default: on)")]
Colour = Annotated[
    float | None, typer.Option(help="Random brightness, contrast, saturation and hue: 0 to 1. (default: 0)")
]
Blur = Annotated[float | None, typer.Option(help="Blur every other image, by up to so many pixels. (default: 0)")]
Cutout = Annotated[
    float | None, typer.Option(help="Hide a rectangle of up to this share of each side: 0 to 0.9. (default: 0)")
]
Seed = Annotated[int | None, typer.Option(help="Seed of all chance in the run. (default: 0)")]
Tf32 = Annotated[
    bool | None, typer.Option(help="Multiply float32 by way of TF32, on newer GPUs: faster, rougher. (default: off)")
]
Deterministic = Annotated[
    bool | None, typer.Option(help="On a GPU: products that repeat to the last bit. (default: on)")
]
CudaGraph = Annotated[
    bool | None, typer.Option(help="On a GPU: launch each step's passes as one CUDA graph. (default: off)")
]
ConfigFile = Annotated[
    Path | None, typer.Option(help="TOML file with settings, its paths relative to itself; options given here win.")
]
