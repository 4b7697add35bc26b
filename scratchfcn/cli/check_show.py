"""What `scratchfcn check-data` shows while it reads, and what it says when it has read."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import TextColumn

from ..data import Findings
from ..data.checking import Group, Problem
from ..data.checking.plan import LEFT_OUT
from .progress import Bar, duration


class PairBar(Bar):
    """One bar over all splits, with images per second and the time left."""

    def __init__(self, console: Console) -> None:
        super().__init__("checking", console)
        self.progress.columns = (*self.progress.columns, TextColumn("{task.fields[rate]}"))
        self.progress.update(self.task, rate="")
        self.began = time.perf_counter()

    def update_pairs(self, split: str, done: int, total: int) -> None:
        """`done` of `total` pairs are read, the last one of `split`."""
        rate = done / max(1e-9, time.perf_counter() - self.began)
        words = f"{rate:.0f} images/s, {duration((total - done) / rate)} left" if done > 4 else ""
        self.progress.update(self.task, completed=done, total=total, description=f"checking {split}", rate=words)


class FixBar(Bar):
    """A bar that says what is being done."""

    def update_step(self, what: str, done: int, total: int) -> None:
        """`what` is "reading" or "writing"."""
        self.progress.update(self.task, completed=done, total=total, description=what)


def show(found: Findings, console: Console) -> None:
    """What was found, in the terminal: each split, then how the classes are distributed, or what is wrong."""
    K = "classes in doubt" if found.classes is None else f"{len(found.classes)} classes"
    rate = found.pairs / max(1e-9, found.seconds)
    title = found.kind.about.title.partition(",")[0]
    console.print(f"{title}: {found.pairs} pairs, {K}, read in {found.seconds:.1f} s ({rate:.0f} images/s)")
    sound = "no problem of its own" if found.problems_of("") else "all sound"
    for split in found.splits.values():
        wrong = found.problems_of(split.name)
        said = f"{wrong} problem{'s' * (wrong != 1)}" if wrong else sound
        console.print(f"{split.name}: {len(split.dataset)} pairs, {said}; {sizes(split.tally.sizes)}", style="bold")
    if found.overlapping:
        console.print(f"not looked into, for they overlap with others on purpose: {', '.join(found.overlapping)}")
    if found.sound:
        show_classes(found, console)
    show_groups(found.groups, "✗", "red", console)
    show_groups(found.warnings, "!", "yellow", console)


def sizes(counts: Any) -> str:
    """`480x360`, or how many sizes there are, and the commonest."""
    if not counts:
        return "no image could be read"
    (H, W), n = counts.most_common(1)[0]
    return f"{W}x{H}" if len(counts) == 1 else f"{len(counts)} sizes, mostly {W}x{H} ({n})"


def show_classes(found: Findings, console: Console) -> None:
    """A line for each class: its share of the pixels of each split and in how many images it is, a bar, and its weight;
    then mean and deviation. The bar and the weight are of the split to train on."""
    histograms = {name: split.histogram for name, split in found.splits.items()}
    of_train = histograms[found.train.name]
    weights = of_train.median_frequency_weights()
    wide = max(len(name) for name in (*found.classes.names, "(ignored)"))
    heads = "".join(f"  {name[:9]:>9} {'images':>7}" for name in histograms)
    console.print(f"{'class':{wide}}{heads}  {'weight':>8}  share of {found.train.name}")
    for k, name in enumerate(found.classes.names):
        cells = "".join(_cells(histogram, k) for histogram in histograms.values())
        part = share(of_train, of_train.pixels[k])
        bar = "█" * max(int(part > 0), round(24 * part))
        weight = f"{weights[k]:8.3f}" if weights[k] else f"{'–':>8}"
        console.print(f"{name:{wide}}{cells}  {weight}  {bar}")
    ignored = "".join(f"  {100 * share(h, h.ignored):8.2f}% {'':7}" for h in histograms.values())
    console.print(f"{'(ignored)':{wide}}{ignored}".rstrip())
    mean, std = ("  ".join(f"{value:.4f}" for value in row) for row in found.train.tally.mean_and_std())
    console.print(f"red, green, blue of {found.train.name}, 0..1:  mean {mean}   standard deviation {std}")
    console.print("the weights are by median frequency; --weights-out FILE writes them")


def _cells(histogram: Any, k: int) -> str:
    if not histogram.images[k]:
        return f"  {'–':>9} {0:7d}"
    return f"  {100 * share(histogram, histogram.pixels[k]):8.2f}% {histogram.images[k]:7d}"


def share(histogram: Any, pixels: int) -> float:
    """Part of all pixels of a split."""
    return float(pixels) / max(1, int(histogram.pixels.sum()) + histogram.ignored)


def show_groups(groups: list[Group], sign: str, style: str, console: Console, most: int = 20) -> None:
    """Each group with its first problems, its cause and its fixes; `most` problems in all, divided fairly."""
    for group, count in zip(groups, fair_shares([len(group.problems) for group in groups], most), strict=True):
        console.print(f"{sign} {group.title}", style=style)
        show_some(group.problems, count, console)
        if group.cause:
            console.print(f"    cause: {group.cause}")
        for k, line in enumerate(group.fixes):
            console.print(f"    {'or: ' if k else 'fix: '}{line}")


def say_how_to_go_on(found: Findings, report: Path | None, console: Console) -> None:
    """The commands for a page, and for a copy without what is wrong."""
    if report is None:
        console.print(f"all of them, with pictures:  scratchfcn check-data --data {found.evidence.data} --report")
    several_views = any(len(split.dataset.views()) > 1 for split in found.splits.values())  # no copy can be made of it
    if not several_views and any(group.repair or group.kind in LEFT_OUT for group in found.groups):
        console.print("a sound copy, with all that can be mended and without the pairs that cannot:")
        console.print(f"    {found.evidence.copying('all')}")


def fair_shares(counts: list[int], most: int) -> list[int]:
    """How many of each group to show: at least one, and equally many as far as they have them, `most` in all."""
    shares = [min(1, count) for count in counts]
    while sum(shares) < min(most, sum(counts)):
        smallest = min((k for k in range(len(counts)) if shares[k] < counts[k]), key=lambda k: shares[k])
        shares[smallest] += 1
    return shares


def show_some(problems: Sequence[Problem], most: int, console: Console) -> None:
    """The first `most` of some problems, and how many more there are."""
    for problem in problems[:most]:
        console.print("    " + problem.text.replace("\n", "\n    "))
    if len(problems) > most:
        console.print(f"    … and {len(problems) - most} more, all in the report")
