"""What is measured: a model, the size of its input, and whether it trains or predicts."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from difflib import get_close_matches
from typing import Any

from .. import models

CLASSES = 21  # as in PASCAL VOC
MOST_PIXELS = 1 << 26  # in one batch: 8192x8192
DEFAULT_MODEL = "fcn8s_small"


class BenchError(ValueError):
    """A benchmark that cannot be run; the message names what was asked for, and says what would be right."""


@dataclass(frozen=True)
class Case:
    """One thing to measure. task: "step" (forward, loss, backward, SGD with momentum) or "inference" (forward only).

    N, H, W: images in a batch, and their height and width. recipe: see `models.build`.
    """

    task: str
    model: str
    N: int
    H: int
    W: int
    batch_norm: bool = False
    recipe: str | None = None

    @property
    def size(self) -> str:
        """The input's shape, written with x."""
        return f"{self.N}x3x{self.H}x{self.W}"

    @property
    def name(self) -> str:
        """ "step fcn8s_small 8x3x96x96, batch norm"."""
        extras = [text for text in ("batch norm" * self.batch_norm, self.recipe and f"{self.recipe} recipe") if text]
        return ", ".join([f"{self.task} {self.model} {self.size}", *extras])

    @property
    def pixels(self) -> int:
        return self.N * self.H * self.W

    def options(self) -> dict[str, Any]:
        """What `models.build` is given beside the name. No dropout: the two libraries would draw different masks."""
        options: dict[str, Any] = {"dropout": 0.0}
        if self.batch_norm:
            options["batch_norm"] = True
        if self.recipe:
            options["recipe"] = self.recipe
        return options

    def to_plain(self) -> dict[str, Any]:
        """As plain values, for another process and for --json."""
        return asdict(self)


TWINS = tuple(  # of what torch_twins.py has, there is a PyTorch network to compare with
    f"{kind}_{backbone}" for backbone in ("small", "vgg16") for kind in ("fcn32s", "fcn16s", "fcn8s")
)
STEPS = (
    Case("step", DEFAULT_MODEL, 8, 96, 96),
    Case("step", DEFAULT_MODEL, 4, 192, 256),
)
INFERENCES = (
    Case("inference", DEFAULT_MODEL, 1, 500, 500),
    Case("inference", "fcn8s_vgg16", 1, 500, 500, recipe="caffe"),  # the paper's network, at the paper's size
    Case("inference", DEFAULT_MODEL, 1, 1024, 2048),
)
STEPS_GPU = (  # a GPU is not filled by less
    Case("step", DEFAULT_MODEL, 16, 180, 240),
)
INFERENCES_GPU = (
    Case("inference", "fcn8s_vgg16", 1, 500, 500, recipe="caffe"),
    Case("inference", "fcn8s_vgg16", 1, 500, 500),  # padded by 1: about half the work
    Case("inference", DEFAULT_MODEL, 1, 1024, 2048),
)
LARGEST_SCALING = (1, 1024, 2048)  # and a quarter and a sixteenth of its pixels

Size = tuple[int, int, int]  # images, rows, columns


def cases_of(
    task: str, model: str | None, size: Size | None, batch_norm: bool | None, device: str = "cpu"
) -> list[Case]:
    """The cases of a task: those that have a name here, or the model and the size that were asked for.

    batch_norm None: without, and for the named steps with as well. A GPU has cases of its own.
    """
    if device == "cpu":
        named = STEPS if task == "step" else INFERENCES
    else:
        named = STEPS_GPU if task == "step" else INFERENCES_GPU
    if model is None and size is None:
        if batch_norm is None:
            return [*named, *with_batch_norm(named)] if task == "step" else list(named)
        return with_batch_norm(named) if batch_norm else list(named)
    sizes = [size] if size else list(dict.fromkeys((case.N, case.H, case.W) for case in named))
    return [Case(task, model or DEFAULT_MODEL, *each, bool(batch_norm)) for each in sizes]


def with_batch_norm(cases: Iterable[Case]) -> list[Case]:
    """The same cases with batch norm, where the model has it."""
    return [replace(case, batch_norm=True) for case in cases if case.model.endswith("_small")]


def scaling_cases(model: str | None, size: Size | None, batch_norm: bool | None) -> list[Case]:
    """Inference at three sizes, each with four times the pixels of the one before."""
    N, H, W = size or LARGEST_SCALING
    if min(H, W) < 4:
        raise BenchError(
            f"--size {N}x{H}x{W}: scaling also measures a quarter of both sides, so both must be 4 or more"
        )
    model = model or DEFAULT_MODEL
    return [Case("inference", model, N, H // part, W // part, bool(batch_norm)) for part in (4, 2, 1)]


# --- what people type -------------------------------------------------------------------------------------


def parse_size(text: str | None, batch_size: int) -> Size | None:
    """Images, rows and columns of "8x96x128" or "8x3x96x128" (torch's order), or of "128x96": WIDTHxHEIGHT, as in
    `train`, of `batch_size` images."""
    if text is None:
        return None
    numbers = (
        [int(n) for n in re.split(r"[xX×]", text.strip())] if re.fullmatch(r"\d+([xX×]\d+)*", text.strip()) else []
    )
    if len(numbers) == 4 and numbers[1] == 3:  # with the three colours, as the tables print it
        numbers.pop(1)
    if len(numbers) == 2:
        numbers = [batch_size, numbers[1], numbers[0]]
    if len(numbers) != 3:
        raise BenchError(
            f"--size {text!r} is not a size; write IMAGESxHEIGHTxWIDTH, for example 8x96x128, or WIDTHxHEIGHT, for "
            "example 128x96, with --batch-size"
        )
    N, H, W = numbers
    if min(numbers) < 1:
        raise BenchError(f"--size {text!r}: every number must be at least 1")
    if N * H * W > MOST_PIXELS:
        raise BenchError(
            f"--size {text!r} is {N * H * W:,} pixels a batch; at most {MOST_PIXELS:,} are measured: fewer images, or "
            "smaller ones"
        )
    return N, H, W


def check_name(what: str, name: str, known: Iterable[str]) -> str:
    """`name`, if it is one of `known`; else BenchError with the nearest of them."""
    known = list(known)
    if name in known:
        return name
    nearest = get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean {nearest[0]}? " if nearest else ""
    raise BenchError(f"{what} {name!r} is not known; {hint}there are {', '.join(known)}")


def check_model(name: str | None) -> None:
    """Errors: BenchError for a name that is no FCN's."""
    known = [entry.name for entry in models.NAMES.values() if entry.kind == "fcn"]
    if name is not None and name not in known:
        near = get_close_matches(name, known, n=1, cutoff=0.4) or TWINS[-1:]
        raise BenchError(f"--model {name!r} is not known; did you mean {near[0]}? `scratchfcn models fcn` lists all")
