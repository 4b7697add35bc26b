"""The settings of a training run, as they stand in its config.toml.

Every setting has a default that works; a TOML file can change some of them, and the command line some more. What
comes out is written into the run folder, so that a run can be resumed, repeated, and understood later.
"""

from __future__ import annotations

import json
import math
import tomllib
from dataclasses import asdict, dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ..models import BACKBONES, NAMES


class SettingError(ValueError):
    """A setting that cannot be; the message names it as the command line does, and says what would be right."""


KINDS = ("fcn32s", "fcn16s", "fcn8s", "fcn8s_at_once", "fcn32s_fixed")  # models that stand on a backbone
CHOICES = {
    "backbone": tuple(BACKBONES),
    "recipe": ("none", "caffe"),
    "reduction": ("mean", "sum"),
    "optimizer": ("adam", "sgd"),
    "schedule": ("poly", "step", "fixed"),
}
FUSIONS = ("early", "late")
WEIGHTINGS = ("none", "median", "inverse")  # class weights by a formula; otherwise they come from a file
RANGES = {  # smallest and largest value that makes sense
    "dropout": (0.0, 0.99),
    "num_classes": (2, 255),
    "generated": (1, 10**9),
    "rotate": (0.0, 180.0),
    "colour": (0.0, 1.0),
    "blur": (0.0, 50.0),
    "cutout": (0.0, 0.9),
    "epochs": (1, 10**6),
    "batch_size": (1, 10**5),
    "accumulate": (1, 10**5),
    "lr": (1e-20, 1e3),
    "momentum": (0.0, 0.9999),
    "weight_decay": (0.0, 1e3),
    "power": (0.0, 100.0),
    "step_epochs": (1, 10**6),
    "warmup_steps": (0, 10**9),
    "val_every": (1, 10**6),
    "loss_sampling": (0.0001, 1.0),
    "seed": (0, 2**32 - 1_000_001),
    "workers": (0, 256),
}


@dataclass(frozen=True)
class Config:
    """Settings of one run. Sizes are (height, width) in pixels; None leaves a step out."""

    model: str = "fcn8s"  # one of KINDS, or the whole name of a network, such as fcn_resnet50
    backbone: str = "small"  # of those KINDS: small, vgg16, resnet18 …
    recipe: str = "none"  # caffe: the network and its input as the paper's authors had them (see recipes.py)
    batch_norm: bool = True  # batch norm in the small backbone
    dropout: float = 0.5  # after fc6 and fc7
    fusion: str | None = None  # of images with HHA beside colour: late (None), two streams; early, six inputs to one
    init: str | None = None  # a checkpoint whose weights are copied by name: a 32s for a 16s, a 16s for an 8s
    init_hha: str | None = None  # another one for the HHA stream, where there is one; None: `init` is for both

    data: str = ""  # the data set's folder, or "shapes" for generated pictures
    dataset: str | None = None  # which published layout the folder has; None: as it looks
    train_split: str | None = None  # None: the data set's own, mostly "train"
    val_split: str | None = None  # None: the data set's own, mostly "val"
    ignore: tuple[int, ...] | None = None  # further mask values that mean "not labelled"
    generated: int = 2000  # how many pictures of shapes make an epoch
    num_classes: int | None = None  # None: as the data set says
    size: tuple[int, int] | None = None  # all images are resized to this
    scale: tuple[float, float] | None = None  # random scaling by a factor between these two
    crop: tuple[int, int] | None = None  # random crop of this size, after scaling
    flip: bool = True  # mirror left to right, every other time
    rotate: float = 0.0  # random turn by at most so many degrees, either way
    colour: float = 0.0  # random change of brightness, contrast, saturation and hue, 0 to 1
    blur: float = 0.0  # random Gaussian blur with a radius of at most so many pixels, every other time
    cutout: float = 0.0  # a random rectangle of at most this share of each side is blanked and ignored

    epochs: int = 50
    batch_size: int = 8
    accumulate: int = 1  # batches whose gradients are averaged for one step
    reduction: str = "mean"  # of the loss over the pixels; "sum" is the paper's unnormalised loss
    optimizer: str = "adam"  # adam or sgd
    lr: float = 1e-3
    momentum: float = 0.9  # of sgd
    weight_decay: float = 1e-4
    schedule: str = "poly"  # poly, step or fixed
    power: float = 0.9  # of poly
    step_epochs: int = 20  # of step: epochs between drops to a tenth
    warmup_steps: int = 0  # steps over which the rate grows to lr
    paper_biases: bool = False  # biases learn twice as fast (paper, section 4.3) and do not decay
    class_weights: str = "none"  # none, median or inverse (rare classes count more), or a file of weights, NAME.toml
    class_weight_values: tuple[float, ...] | None = None  # what that file said when the run began, class by class
    loss_sampling: float = 1.0  # share of the labelled pixels, drawn anew each time, that count for the loss

    val_every: int = 1  # epochs from one validation to the next; the last epoch is always validated
    seed: int = 0
    workers: int = 1  # threads that prepare batches

    # on a GPU; elsewhere they change nothing
    tf32: bool = False  # multiply float32 with the 10 leading bits behind the point
    deterministic: bool = True  # cuBLAS must repeat its results to the last bit
    cuda_graph: bool = False  # launch forward and backward pass as one piece

    def __post_init__(self) -> None:
        for name, allowed in CHOICES.items():
            if getattr(self, name) not in allowed:
                raise SettingError(
                    f"{flag(name)} {getattr(self, name)!r} is not known; use one of {', '.join(allowed)}"
                )
        if self.fusion not in (None, *FUSIONS):
            raise SettingError(f"--fusion {self.fusion!r} is not known; use one of {', '.join(FUSIONS)}")
        self.check_model()
        for name, (low, high) in RANGES.items():
            value = getattr(self, name)
            if value is not None and not (low <= value <= high and math.isfinite(value)):
                raise SettingError(f"{flag(name)} must lie between {low:,} and {high:,}, got {value}")
        for name in ("size", "crop"):
            pair = getattr(self, name)
            if pair is not None and not all(isinstance(n, int) and n > 0 for n in pair):
                raise SettingError(f"{flag(name)} must be whole numbers of pixels greater than 0, got {pair}")
        if self.scale is not None and not 0 < self.scale[0] <= self.scale[1] <= 100:
            raise SettingError(f"--scale must be LOW-HIGH with 0 < LOW ≤ HIGH, got {self.scale}")
        if self.crop is None and self.batch_size > 1 and self.scale is not None:
            raise SettingError("--scale makes images of different sizes, which do not fit into one batch; add --crop")
        for value in self.ignore or ():
            if type(value) is not int or not 0 <= value <= 255:
                raise SettingError(f"--ignore needs values that masks can hold, whole numbers 0 to 255, got {value}")
        self.check_class_weights()

    def check_class_weights(self) -> None:
        """Class weights follow from a formula, or are a file's, whose numbers may have been kept."""
        if self.class_weights not in WEIGHTINGS and not self.class_weights.endswith(".toml"):
            raise SettingError(
                f"--class-weights {self.class_weights!r} is not known; use one of {', '.join(WEIGHTINGS)}, or the name "
                "of a file of weights, which ends in .toml"
            )
        values = self.class_weight_values
        if values is None:
            return
        if self.weights_file is None:
            raise SettingError(
                f"class_weight_values are the numbers of a file of weights, but class_weights is {self.class_weights}"
            )
        if not all(0 <= value < math.inf for value in values) or not any(values):
            raise SettingError(f"class_weight_values must be numbers of at least 0, and not all 0, got {values}")

    def check_model(self) -> None:
        """The model exists, predicts a class for every pixel, and has what is set of it."""
        if self.model_name not in NAMES:
            known = [*KINDS, *(name for name, entry in NAMES.items() if entry.kind != "classifier")]
            near = get_close_matches(self.model, known, n=1, cutoff=0.4)
            hint = f"did you mean {near[0]}? " if near else ""
            raise SettingError(
                f"--model {self.model!r} is not known; {hint}there are {', '.join(KINDS)}, each over a --backbone, and "
                "more under their whole names: `scratchfcn models` lists all"
            )
        if NAMES[self.model_name].kind == "classifier":
            raise SettingError(
                f"--model {self.model} classifies whole images; to label pixels, take it as a backbone: "
                f"--model fcn8s --backbone {self.model}"
            )
        if self.model not in KINDS and self.backbone not in (Config.backbone, self.model.partition("_")[2]):
            raise SettingError(
                f"--model {self.model} is a whole name, with a backbone of its own: leave out --backbone"
            )
        if not self.batch_norm and not self.model_name.endswith("_small"):
            raise SettingError(
                f"--no-batch-norm: only backbone small has the choice; {self.model_name} is as published"
            )
        if self.dropout != Config.dropout and not NAMES[self.model_name].has_dropout:
            raise SettingError(f"--dropout: {self.model_name} has a dropout of its own, as published; leave it out")

    @property
    def weights_file(self) -> Path | None:
        """The file that --class-weights names, if it names one."""
        return None if self.class_weights in WEIGHTINGS else Path(self.class_weights)

    @property
    def model_name(self) -> str:
        """The name that `models.build` knows: "fcn8s_small"."""
        return f"{self.model}_{self.backbone}" if self.model in KINDS else self.model

    def model_options(self) -> dict[str, Any]:
        """What `models.build` is given beside the name and the number of classes."""
        options: dict[str, Any] = dict(NAMES[self.model_name].training_options)
        if NAMES[self.model_name].has_dropout:
            options["dropout"] = self.dropout
        if self.model_name.endswith("_small"):
            options["batch_norm"] = self.batch_norm
        if self.recipe != "none":
            options["recipe"] = self.recipe
        return options

    def to_toml(self) -> str:
        """The settings as TOML, one a line; those that are None are left out."""
        settings = {name: value for name, value in asdict(self).items() if value is not None}
        # what JSON writes for text, numbers, booleans and lists is TOML as well
        return "".join(f"{name} = {json.dumps(value, ensure_ascii=False)}\n" for name, value in settings.items())

    def to_plain(self) -> dict[str, Any]:
        """The settings as plain values, for a checkpoint's metadata."""
        return asdict(self)

    @classmethod
    def from_plain(cls, settings: dict[str, Any]) -> Config:
        """The inverse of `to_plain`, after JSON has made lists of the pairs; unknown settings are ignored."""
        known = {f.name for f in fields(cls)}
        return cls(**{n: tuple(v) if isinstance(v, list) else v for n, v in settings.items() if n in known})

    @staticmethod
    def read(path: str | Path) -> dict[str, Any]:
        """The settings of a TOML file, as a dictionary to make a Config from.

        Errors: SettingError naming a setting that does not exist or has the wrong type, or the line that is no TOML.
        """
        try:
            table = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise SettingError(f"{path}: not valid TOML: {error}") from None
        known = {f.name: f for f in fields(Config)}
        for name, value in table.items():
            if name not in known:
                near = get_close_matches(name, known, n=1, cutoff=0.5)
                hint = f"did you mean {near[0]}? " if near else ""
                raise SettingError(f"{path}: there is no setting {name!r}; {hint}known are {', '.join(known)}")
            table[name] = _typed(f"{path}: {name}", value, str(known[name].type))
        return table


def _typed(what: str, value: Any, wanted: str) -> Any:
    """`value` as the field's type wants it: TOML has lists where we have tuples, and 1 is a fine float."""
    if wanted.startswith("tuple") and isinstance(value, list) and all(type(v) in (int, float) for v in value):
        return tuple(value)
    kinds = {"str": str, "bool": bool, "int": int, "float": (int, float)}
    kind = kinds.get(wanted.removesuffix(" | None"))
    if kind is None or not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise SettingError(f"{what} must be {wanted.removesuffix(' | None')}, got {value!r}")
    return value


def flag(name: str) -> str:
    """The command line's spelling of a setting: batch_size → --batch-size."""
    return "--" + name.replace("_", "-")
