"""The paper's settings, as its reference implementation has them: `scratchfcn train --recipe caffe`.

They look strange because the loss is a *sum* over the pixels. A learning rate of 1e-10 on the sum over an image of
500x375 is one of 2e-5 on the mean; and with a momentum of 0.99, which remembers the last hundred steps, one image per
step does what a batch of twenty does with 0.9 (0.9^(1/20) = 0.995). The rates fall from 32s to 8s because each starts
from the one before, and so does the 32s of two streams, which starts from two that were trained alone. FCN-AlexNet and
FCN-GoogLeNet were trained the ordinary way, on means over twenty images.

A recipe is only a set of defaults: what you give yourself counts. (Biases learn twice as fast everywhere; the reference
FCN-AlexNet has that in its score layer only.)
"""

from __future__ import annotations

from typing import Any

from .config import KINDS, Config, SettingError

COMMON = {  # reference implementation, solver.prototxt of all networks
    "recipe": "caffe",
    "optimizer": "sgd",
    "schedule": "fixed",
    "weight_decay": 5e-4,
    "paper_biases": True,  # biases: twice the rate, no decay
    "batch_size": 1,
    "flip": False,
}
SUMMED = {"reduction": "sum", "momentum": 0.99}
AVERAGED = {"reduction": "mean", "momentum": 0.9, "accumulate": 20}
VGG16_RATES = {"fcn32s": 1e-10, "fcn16s": 1e-12, "fcn8s": 1e-14, "fcn8s_at_once": 1e-10, "fcn32s_fixed": 1e-10}
TWO_STREAM_RATE = 1e-12  # of colour and HHA, which the reference implementation has as 32s
AVERAGED_RATES = {"alexnet": 1e-4, "googlenet": 5e-5}  # the second: paper, section 4.3


def with_recipe(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings, completed by those of the recipe they name; unchanged where they name none.

    Errors: SettingError for a recipe that is not known, or for a network that the paper does not have.
    """
    name = settings.get("recipe", "none")
    if name == "none":
        return settings
    if name != "caffe":
        raise SettingError(f"--recipe {name!r} is not known; there is caffe, the paper's own")
    model, backbone = kind_and_backbone(settings.get("model", Config.model), settings.get("backbone", "vgg16"))
    if backbone == "vgg16" and model in VGG16_RATES:
        rate = min(VGG16_RATES[model], TWO_STREAM_RATE) if has_two_streams(settings) else VGG16_RATES[model]
        return {**COMMON, **SUMMED, "lr": rate, **settings, "model": model, "backbone": backbone}
    if backbone in AVERAGED_RATES and model in VGG16_RATES:
        return {**COMMON, **AVERAGED, "lr": AVERAGED_RATES[backbone], **settings, "model": model, "backbone": backbone}
    raise SettingError(
        f"--recipe caffe is the paper's way to train {', '.join(VGG16_RATES)} over vgg16, alexnet or googlenet; it has "
        f"none for --model {model} --backbone {backbone}"
    )


def has_two_streams(settings: dict[str, Any]) -> bool:
    """Whether colour and HHA are joined late. That both are wanted is always said: the folder alone means NYUDv2."""
    return settings.get("dataset") == "nyudv2-rgb-hha" and settings.get("fusion") != "early"


def kind_and_backbone(model: str, backbone: str) -> tuple[str, str]:
    """A whole name, taken apart: "fcn8s_vgg16" is fcn8s over vgg16, and fcn_alexnet is fcn32s over alexnet."""
    if model in ("fcn_alexnet", "fcn_googlenet"):
        return "fcn32s", model.removeprefix("fcn_")
    for kind in sorted(KINDS, key=len, reverse=True):
        if model.startswith(f"{kind}_") and model not in KINDS:
            return kind, model.removeprefix(f"{kind}_")
    return model, backbone
