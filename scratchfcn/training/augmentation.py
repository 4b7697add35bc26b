"""From the settings to what is done to each training image: resized once, then changed by chance every time.

Training and `scratchfcn preview` both come here, so what is previewed is what is trained on.
"""

from __future__ import annotations

import numpy as np

from ..data import (
    Cached,
    ColourJitter,
    Compose,
    Cutout,
    Dataset,
    Loader,
    Normalise,
    RandomBlur,
    RandomCrop,
    RandomFlip,
    RandomScale,
    RandomWindow,
    Resize,
    Transform,
)
from .config import Config


def augmentation(config: Config) -> list[Transform]:
    """What chance does to an image and its mask, in this order. What is not asked for is left out."""
    scale = None if config.scale is None else RandomScale(*config.scale)
    steps: list[Transform] = []
    if config.rotate > 0:
        steps.append(RandomWindow(config.rotate, scale, config.crop))
    else:  # whole pixels can be cut out, without resampling
        steps += [scale] if scale is not None else []
        steps += [RandomCrop(config.crop)] if config.crop is not None else []
    if config.flip:
        steps.append(RandomFlip())
    if config.colour > 0:
        steps.append(ColourJitter(config.colour))
    if config.blur > 0:
        steps.append(RandomBlur(config.blur))
    if config.cutout > 0:
        steps.append(Cutout(config.cutout))
    return steps


def resized(config: Config, dataset: Dataset) -> Cached:
    """The data set at the settings' size, remembered: that much of the work is the same in every epoch."""
    return Cached(dataset, Resize(config.size) if config.size is not None else None)


def training_sample(config: Config, dataset: Cached, i: int, epoch: int) -> tuple[np.ndarray, np.ndarray]:
    """Image and mask i of `resized(…)` as epoch `epoch`, counted from 0, trains on them: uint8 (H, W, C) and (H, W).

    The training's own loader prepares them, since chance follows from (seed, epoch, i), in whatever batch they are.
    """
    steps = Compose([*augmentation(config), as_bytes(dataset.channels)])
    loader = Loader(dataset, 1, steps, seed=config.seed, shuffle=False, workers=0)
    batch = next(loader.epoch(epoch, start=i))
    image = batch.images[0].transpose(1, 2, 0).round().astype(np.uint8)  # (H, W, C)
    return image, batch.labels[0]


def as_bytes(channels: int) -> Normalise:
    """In place of a network's own: the numbers stay 0..255, to be looked at."""
    return Normalise(mean=(0,) * channels, std=(1 / 255,) * channels)


def in_words(config: Config) -> str:
    """The augmentation, for people: "crop 320x240, flip, colour 0.5"; "none" where nothing is left to chance."""
    parts = []
    if config.scale is not None:
        parts.append(f"scale {config.scale[0]:g}-{config.scale[1]:g}")
    if config.rotate > 0:
        parts.append(f"rotate up to {config.rotate:g}°")
    if config.crop is not None:
        parts.append(f"crop {config.crop[1]}x{config.crop[0]}")
    parts += ["flip"] * config.flip
    parts += [f"{name} {getattr(config, name):g}" for name in ("colour", "blur", "cutout") if getattr(config, name) > 0]
    return ", ".join(parts) or "none"
