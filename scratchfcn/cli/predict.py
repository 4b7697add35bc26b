"""`scratchfcn predict`: label the pixels of one image, or of every image in a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

KINDS = ("mask", "overlay", "probs")


def predict_command(
    weights: Annotated[Path, typer.Option(help="A best.safetensors or last.safetensors of a run.")],
    source: Annotated[Path, typer.Option(help="An image, or a folder of images.")],
    save: Annotated[
        str, typer.Option(help="What to write: mask, overlay, probs, separated by commas.")
    ] = "mask,overlay",
    alpha: Annotated[float, typer.Option(help="How opaque the overlay's colours are, 0 to 1.")] = 0.5,
    size: Annotated[str | None, typer.Option(help="Network's image size WIDTHxHEIGHT, or 'native'.")] = None,
    output_dir: Annotated[
        Path | None, typer.Option(help="Where to write. [default: predictions beside --weights]")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
) -> None:
    """Predict a class for every pixel: NAME_mask.png (palette indices), NAME_overlay.png, NAME_probs.npz."""
    from rich.console import Console

    from .. import backend
    from ..data import DataError, list_images, read_image
    from ..training import SettingError, load_network
    from .parsing import size_option
    from .progress import Bar

    kinds = [kind.strip() for kind in save.split(",")]
    for kind in kinds:
        if kind not in KINDS:
            raise SettingError(f"--save {kind!r} is not known; use {', '.join(KINDS)}, separated by commas")
    if not 0.0 <= alpha <= 1.0:
        raise SettingError(f"--alpha must lie between 0 and 1, got {alpha}")
    console = Console(soft_wrap=True)
    device = backend.resolve_device(device)
    network = load_network(weights)
    network.model.to(device)
    if size is not None:
        network.size = None if size == "native" else size_option(size)

    images = list_images(source) if source.is_dir() else [source]
    folder = output_dir or weights.parent / "predictions"
    outputs = [output_paths(folder, image, kinds, images) for image in images]
    taken = [path for paths in outputs for path in paths.values() if path.exists()]
    if taken:
        raise SettingError(
            f"{taken[0]} exists ({len(taken)} such files), and nothing is overwritten; remove it, or give another "
            "--output-dir"
        )
    folder.mkdir(parents=True, exist_ok=True)
    problems: list[str] = []
    last: dict[str, Path] = {}
    label = None
    with Bar("predicting", console) as bar:
        for i, (image_path, paths) in enumerate(zip(images, outputs, strict=True)):
            try:
                label = predict_one(network, read_image(image_path), paths, alpha, device)
                last = paths
            except DataError as error:  # the other images of the folder are still wanted
                problems += error.problems
            bar.update(i + 1, len(images))
    if last:
        console.print(f"{len(images) - len(problems)} image(s) predicted; for example:", highlight=False)
        for kind, path in last.items():
            console.print(f"  {kind:8} {path}", highlight=False)
        if len(images) == 1:
            show_shares(label, network.classes, console)
    if problems:
        raise DataError(problems)


def output_paths(folder: Path, image: Path, kinds: list[str], images: list[Path]) -> dict[str, Path]:
    """The files for one image; two images of the same stem keep their suffixes apart."""
    same_stem = sum(other.stem == image.stem for other in images) > 1
    stem = image.name.replace(".", "_") if same_stem else image.stem
    return {kind: folder / f"{stem}_{kind}{'.npz' if kind == 'probs' else '.png'}" for kind in kinds}


def predict_one(network: Any, image: np.ndarray, paths: dict[str, Path], alpha: float, device: str) -> np.ndarray:
    """Predict one image uint8 (H, W, 3), write its files, return its labels (H, W)."""
    from PIL import Image

    from .. import ops
    from ..data import overlay, save_mask
    from ..training.network import most_likely

    scores = network.scores(image, device)  # (1, K, H, W)
    label = most_likely(scores)[0]  # (H, W)
    if "mask" in paths:
        save_mask(paths["mask"], label, network.classes)
    if "overlay" in paths:
        Image.fromarray(overlay(image, label, network.classes, alpha)).save(paths["overlay"])
    if "probs" in paths:
        probabilities = ops.softmax(scores).numpy()[0].astype(np.float16)  # (K, H, W)
        np.savez_compressed(paths["probs"], probs=probabilities, classes=np.array(network.classes.names))
    return label


def show_shares(label: np.ndarray, classes: Any, console: Any) -> None:
    """How much of the picture each class takes up."""
    shares = np.bincount(label.ravel(), minlength=len(classes)) / label.size
    found = [(share, name) for share, name in zip(shares, classes.names, strict=True) if share > 0]
    console.print(
        "  " + ", ".join(f"{name} {100 * share:.1f}%" for share, name in sorted(found, reverse=True)), highlight=False
    )
