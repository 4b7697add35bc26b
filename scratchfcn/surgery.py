"""Net surgery: weights that were trained in one net become the start of another.

A segmentation net is not trained from nothing. The paper takes a net that classifies photographs and
carries its weights over (section 4.1): a convolution is copied; a fully connected layer's matrix, reshaped,
is a convolution's kernel; only the class scores start anew. In the same way a 16s starts from a 32s.

`transplant` does this by name and says what became of every array. Where two nets differ in more than
names, an array is first made to fit: `expand_score` adds classes to a score layer, `expand_input` adds
channels (depth beside colour) to the first convolution. A net of two streams, one for colour and one for
depth, takes two transplants, with prefix_out "color." and "hha.".

Source: the reference implementation's surgery.py and the solve.py files beside its nets.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .backend import array_module

Rename = Callable[[str], str] | Mapping[str, str]


@dataclass
class TransplantReport:
    """What became of every array: names as in the model, except in `skipped`, which has the source's."""

    copied: list[str] = field(default_factory=list)
    reshaped: list[tuple[str, tuple[int, ...], tuple[int, ...]]] = field(default_factory=list)  # (name, from, to)
    skipped: list[tuple[str, str]] = field(default_factory=list)  # (name, reason)
    missing: list[str] = field(default_factory=list)  # of the model, and untouched
    warnings: list[str] = field(default_factory=list)  # what fits, and may be wrong all the same

    def __str__(self) -> str:
        lines = [
            f"{len(self.copied)} copied, {len(self.reshaped)} reshaped, {len(self.skipped)} skipped, "
            f"{len(self.missing)} of the model's own left as they were"
        ]
        lines += _some("reshaped", [f"{name}: {old} → {new}" for name, old, new in self.reshaped])
        lines += _some("skipped", [f"{name}: {reason}" for name, reason in self.skipped])
        lines += _some("left", self.missing)
        lines += [f"  warning: {each}" for each in self.warnings]
        return "\n".join(lines)


def _some(title: str, items: list[str], most: int = 12) -> list[str]:
    """Report lines for `items`; a long list says how much it leaves out."""
    lines = [f"  {title:9}{item}" for item in items[:most]]
    return lines + ([f"  {title:9}… and {len(items) - most} more"] if len(items) > most else [])


def transplant(
    model: Any,
    arrays: Mapping[str, Any],
    prefix_in: str = "",
    prefix_out: str = "",
    rename: Rename | None = None,
    strict: bool = False,
) -> TransplantReport:
    """Copy every array into `model` that has a place there: same name and as many numbers.

    A different shape with equal count is reshaped in C order: a fully connected (4096, 25088) becomes the
    kernel (4096, 512, 7, 7). The model's other arrays stay as they are.

    arrays: by name; NumPy, CuPy or torch. A name becomes the model's in three steps: `prefix_in` is taken
    off ("module."; names without it are skipped), then comes `rename`, then `prefix_out` is put before it.
    rename: a function from name to name, or a mapping of beginnings, such as {"classifier.0": "fc6",
    "features": "backbone.features"}: the longest one that ends at a dot, or with the name, is replaced.
    Errors: ValueError with `strict` where anything would be skipped, or missing from the part of the model
    under `prefix_out` (num_batches_tracked, a counter that older files lack, may be); nothing is changed.
    Source: the reference implementation's surgery.py, `transplant`.
    """
    own, report, taken, origin = model.state_dict(), TransplantReport(), {}, {}
    for source, x in arrays.items():
        name = prefix_out + _renamed(source.removeprefix(prefix_in), rename)
        if not source.startswith(prefix_in):
            report.skipped.append((source, f"name does not begin with {prefix_in!r}"))
        elif name not in own:
            report.skipped.append((source, f"the model has no {'such name' if name == source else name}"))
        elif name in taken:
            report.skipped.append((source, f"becomes {name}, and so does {origin[name]}"))
        elif tuple(x.shape) == own[name].shape:
            taken[name], origin[name] = x, source
            report.copied.append(name)
        elif math.prod(x.shape) == own[name].size:
            taken[name], origin[name] = x.reshape(own[name].shape), source
            report.reshaped.append((name, tuple(x.shape), own[name].shape))
        else:
            report.skipped.append((source, f"shape {tuple(x.shape)}, the model's is {own[name].shape}"))
    report.missing = [name for name in own if name not in taken]
    if strict:
        _require_all(report, prefix_out)
    model.load_state_dict(taken, strict=False)
    return report


def _renamed(name: str, rename: Rename | None) -> str:
    """`name` after a transplant's `rename`; a mapping's longest beginning of whole parts counts."""
    if rename is None:
        return name
    if callable(rename):
        return rename(name)
    parts = name.split(".")
    for n in range(len(parts), 0, -1):
        beginning = ".".join(parts[:n])
        if beginning in rename:
            return ".".join([part for part in (rename[beginning], *parts[n:]) if part])  # "" takes the beginning off
    return name


def _require_all(report: TransplantReport, prefix: str) -> None:
    """Raise where a strict transplant would leave something out, naming all of it."""
    missing = [n for n in report.missing if n.startswith(prefix) and not n.endswith("num_batches_tracked")]
    problems = [f"  skipped  {name}: {reason}" for name, reason in report.skipped]
    problems += [f"  missing  {name}" for name in missing]
    if problems:
        raise ValueError(
            "transplant: the weights do not fit the model exactly, and strict=True asks for that; nothing was changed\n"
            + "\n".join(problems)
        )


def expand_score(scores: Any, num_classes: int) -> Any:
    """A score layer's weight or bias with more classes: the old ones first, the new ones zero.

    scores: (k, C, 1, 1) or (k,), NumPy or CuPy → (num_classes, C, 1, 1) or (num_classes,), a new array. The
    old classes score as before; a new one scores 0 everywhere until it has learned, as in any new FCN.
    Errors: ValueError where num_classes is less than k.
    Source: the reference implementation's surgery.py, `expand_score`.
    """
    k, *rest = scores.shape
    if num_classes < k:
        raise ValueError(
            f"expand_score: {num_classes} classes are fewer than the {k} that the array {scores.shape} has"
        )
    expanded = array_module(scores).zeros((num_classes, *rest), scores.dtype)
    expanded[:k] = scores
    return expanded


def expand_input(weight: Any, channels: int) -> Any:
    """The first convolution of a net of colour images, for images of more channels (early fusion).

    weight: (OC, 3, KH, KW), NumPy or CuPy → (OC, channels, KH, KW), a new array. The first three channels are
    copied, and each further one (depth, say) is their mean: it starts by looking for what is of no colour.
    Errors: ValueError for a weight without exactly three channels, or fewer than three channels asked for.
    Source: the reference implementation's nyud-fcn32s-color-d.
    """
    if weight.ndim != 4 or weight.shape[1] != 3:
        raise ValueError(
            f"expand_input: needs the weight of a convolution of 3 channels, (OC, 3, KH, KW), not {weight.shape}"
        )
    if channels < 3:
        raise ValueError(f"expand_input: {channels} channels are fewer than the 3 that the weight {weight.shape} has")
    mean = weight.mean(axis=1, keepdims=True)  # (OC, 1, KH, KW)
    return array_module(weight).concatenate([weight] + [mean] * (channels - 3), axis=1)  # (OC, channels, KH, KW)
