"""The topics, in the order in which they build on each other. Each module has a function `page(...)`."""

from __future__ import annotations

import inspect
from importlib import import_module
from typing import Any

from ..page import Page, SettingsError

# name → what its page shows; the module has the same name, with _ for -
TOPICS = {
    "conv": "a convolution step by step, with stride, padding and dilation",
    "im2col": "the windows as columns of a matrix, and how col2im adds them back",
    "max-pool": "max pooling, and where its gradient goes",
    "receptive-field": "how much of the image one pixel sees: computed, and measured from gradients",
    "transposed-conv": "upsampling by stamping the kernel: the convolution's wiring, backwards",
    "bilinear": "the kernel that makes a transposed convolution interpolate",
    "skip-fusion": "how the FCN adds a fine map to a coarse one, and where the crop offsets come from",
    "softmax-loss": "the loss of every pixel, its gradient, and the pixels that do not count",
    "feature-maps": "one real image through one trained network: maps, scores and gradients",
}


def build(topic: str, **settings: Any) -> Page:
    """The page of a topic, in these settings; the topic's own defaults stand where none is given.

    Errors: SettingsError for a topic that there is not, or a setting that it does not have.
    """
    if topic not in TOPICS:
        raise SettingsError(f"there is no topic {topic!r}; there are {', '.join(TOPICS)}")
    make = import_module(f".{topic.replace('-', '_')}", __name__).page
    known = list(inspect.signature(make).parameters)
    for name in settings:
        if name not in known:
            takes = ", ".join(option(each) for each in known) or "no settings"
            raise SettingsError(f"{topic} has no setting {option(name)}; it takes {takes}")
    page = make(**settings)
    page.command = " ".join(["scratchfcn explain", topic, *(option_text(*each) for each in settings.items())])
    return page


def option(name: str) -> str:
    """ "output_padding" → "--output-padding"."""
    return "--" + name.replace("_", "-")


def option_text(name: str, value: Any) -> str:
    """As the command line takes it: a size (rows, columns) is WIDTHxHEIGHT there, and what is True is a mere flag."""
    if isinstance(value, bool):
        return option(name) if value else ""
    return f"{option(name)} {f'{value[1]}x{value[0]}' if isinstance(value, tuple) else value}"
