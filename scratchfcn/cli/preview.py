"""`scratchfcn preview`: a picture of what augmentation makes of the training images, before anything is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import options

DEFAULT = "preview.png"


def preview_command(
    data: options.Data = None,
    dataset: options.DatasetName = None,
    train_split: options.TrainSplit = None,
    ignore: options.Ignore = None,
    generated: options.Generated = None,
    num_classes: options.NumClasses = None,
    size: options.Size = None,
    scale: options.Scale = None,
    rotate: options.Rotate = None,
    crop: options.Crop = None,
    flip: options.Flip = None,
    colour: options.Colour = None,
    blur: options.Blur = None,
    cutout: options.Cutout = None,
    seed: options.Seed = None,
    config: options.ConfigFile = None,
    images: Annotated[int, typer.Option(help="Training images, a row each.", min=1)] = 4,
    variants: Annotated[int, typer.Option(help="Epochs, a column each.", min=1)] = 5,
    epoch: Annotated[int, typer.Option(help="The first of these epochs, as `train` counts them.", min=1)] = 1,
    output: Annotated[
        Path | None, typer.Option(help=f"The picture, a PNG. (default: {DEFAULT}, preview_2.png …)")
    ] = None,
) -> None:
    """Show training images as augmentation changes them, pixel by pixel what `train` gets with the same settings."""
    from ..files import replacing
    from ..reports.preview import augmentation_preview
    from ..training import Config, examples, with_recipe
    from ..training.augmentation import in_words
    from ..training.prepare import open_training_set
    from .console import make_console
    from .parsing import all_settings, given_settings

    given = given_settings(locals())
    # samples are shown one by one, so they need not have one size unless a --config says more
    settings = Config(**with_recipe({"batch_size": 1} | all_settings(config, given)))
    path = picture_path(output)
    training_set = open_training_set(settings)
    numbers = examples(training_set, images)
    picture = augmentation_preview(settings, training_set, numbers, epoch - 1, variants)
    with replacing(path) as temporary:
        picture.save(temporary, format="PNG")
    console = make_console()
    console.print(f"augmentation: {in_words(settings)}; seed {settings.seed}")
    console.print(f"images: {', '.join(training_set.name(i) for i in numbers)}")
    console.print(f"written: {path}")


def picture_path(output: Path | None) -> Path:
    """Where the picture goes. Errors: SettingError for a file that is there, or that would not be a PNG."""
    from ..training import SettingError
    from ..training.run_folder import free_path, refuse_if_there

    if output is None:
        return free_path(DEFAULT)
    if output.suffix.lower() != ".png":
        raise SettingError(f"--output {output}: the picture is a PNG, so its name must end in .png")
    refuse_if_there(output, "--output")
    return output
