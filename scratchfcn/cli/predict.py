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
        Path | None, typer.Option(help="Where to write. (default: predictions beside --weights)")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
) -> None:
    """Predict a class for every pixel: NAME_mask.png (palette indices), NAME_overlay.png, NAME_probs.npz."""
    from .. import backend
    from ..data import DataError, list_images, read_image
    from ..training import SettingError, load_network
    from .console import make_console
    from .parsing import size_option
    from .progress import Bar

    kinds = [kind.strip() for kind in save.split(",")]
    for kind in kinds:
        if kind not in KINDS:
            raise SettingError(f"--save {kind!r} is not known; use {', '.join(KINDS)}, separated by commas")
    if not 0.0 <= alpha <= 1.0:
        raise SettingError(f"--alpha must lie between 0 and 1, got {alpha}")
    console = make_console()
    device = backend.resolve_device(device)
    network = load_network(weights)
    network.model.to(device)
    if size is not None:
        network.size = None if size == "native" else size_option(size)

    images = list_images(source) if source.is_dir() else [source]
    folder = output_dir or weights.parent / "predictions"
    outputs = output_paths(folder, images, kinds)
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
        console.print(f"{len(images) - len(problems)} image(s) predicted; for example:")
        for kind, path in last.items():
            console.print(f"  {kind:8} {path}")
        if len(images) == 1:
            show_shares(label, network.classes, console)
    if problems:
        raise DataError(problems)


def output_paths(folder: Path, images: list[Path], kinds: list[str]) -> list[dict[str, Path]]:
    """The files for each image, by kind. Named after the image's stem, or, where two would get the same name (a.png
    and a.jpg), all after their full names."""

    def paths(name: str) -> dict[str, Path]:
        return {kind: folder / f"{name}_{kind}{'.npz' if kind == 'probs' else '.png'}" for kind in kinds}

    stems = [image.stem for image in images]
    distinct = len(set(stems)) == len(stems)
    return [paths(image.stem if distinct else image.name) for image in images]


def predict_one(network: Any, image: np.ndarray, paths: dict[str, Path], alpha: float, device: str) -> np.ndarray:
    """Predict one image uint8 (H, W, 3), write its files, return its labels (H, W)."""
    from PIL import Image

    from ..data import overlay, save_mask
    from ..files import replacing

    probabilities = network.probabilities(image, device)  # (K, H, W)
    label = probabilities.argmax(axis=0).astype(np.uint8)  # (H, W)
    for kind, path in paths.items():
        with replacing(path) as temporary:
            if kind == "mask":
                save_mask(temporary, label, network.classes)
            elif kind == "overlay":
                Image.fromarray(overlay(image, label, network.classes, alpha)).save(temporary, format="PNG")
            else:
                names = np.array(network.classes.names)
                with open(temporary, "wb") as file:  # savez would add .npz to a mere name
                    np.savez_compressed(file, probs=probabilities.astype(np.float16), classes=names)
    return label


def show_shares(label: np.ndarray, classes: Any, console: Any) -> None:
    """How much of the picture each class takes up."""
    shares = np.bincount(label.ravel(), minlength=len(classes)) / label.size
    found = [(share, name) for share, name in zip(shares, classes.names, strict=True) if share > 0]
    console.print(
        "  " + ", ".join(f"{name} {100 * share:.1f}%" for share, name in sorted(found, reverse=True)), highlight=False
    )
