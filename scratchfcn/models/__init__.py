"""The networks. `build("fcn8s_small", num_classes=7)` makes one by name."""

from typing import Any

from ..nn import Module
from .fcn import FCN, FCN8s, FCN16s, FCN32s, fcn8s, fcn16s, fcn32s
from .small import Small
from .vgg import VGG16

__all__ = [
    "FCN",
    "NAMES",
    "VGG16",
    "FCN8s",
    "FCN16s",
    "FCN32s",
    "Small",
    "build",
    "fcn8s",
    "fcn16s",
    "fcn32s",
]

NAMES = {
    f"{kind}_{backbone}": (builder, backbone)
    for kind, builder in (("fcn32s", fcn32s), ("fcn16s", fcn16s), ("fcn8s", fcn8s))
    for backbone in ("small", "vgg16")
}


def build(name: str, num_classes: int = 21, **options: Any) -> Module:
    """A network by name, for example "fcn8s_small"; `options` go to its builder (batch_norm, recipe …).

    Errors: ValueError for an unknown name, listing those there are.
    """
    if name not in NAMES:
        raise ValueError(f"model {name!r} is not known; there are {', '.join(NAMES)}")
    builder, backbone = NAMES[name]
    return builder(backbone, num_classes=num_classes, **options)
