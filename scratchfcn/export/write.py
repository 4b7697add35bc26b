"""Writing the file: made under another name, looked at, and only then given its own. Nothing half right is left behind.

write_onnx      the network, for other programs
write_weights   its weights alone, under the names of the state dict: torch's load_state_dict takes them
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from .. import weights
from ..backend import to_numpy
from ..data import read_image, resize_image
from ..files import replacing
from .check import TOLERANCE, Difference, check_file, compare, open_session, require_onnxruntime
from .recording import ExportError
from .subject import Size, Subject, feeding, metadata_of
from .to_onnx import OnnxNetwork, to_onnx


@dataclass
class Written:
    """What was written. bytes: of the file. nodes: of the graph. least_size: see OnnxNetwork. feeding: what it takes
    and gives, in words. differences: what was compared, and how it came out."""

    path: Path
    bytes: int
    nodes: int = 0
    least_size: int | None = None
    feeding: str = ""
    differences: list[tuple[str, Difference]] = field(default_factory=list)


def write_onnx(
    subject: Subject,
    path: str | Path,
    size: Size | None = None,
    dynamic: bool = False,
    kind: str = "scores",
    pixels: bool = False,
    check: bool = True,
    image: str | Path | None = None,
) -> Written:
    """Write the network to `path` and compare the file with it, on a random image and on `image`.

    size: (height, width) of images; by default what it was trained on, or 500x500, and 224x224 for a classifier. The
    other settings are those of `to_onnx`; pixels: the input is uint8 RGB.
    Errors: ExportError where the network cannot be exported, or the file differs from it by more than 1e-4 of the
    largest score: then there is no file. FileExistsError: nothing is overwritten.
    """
    path = refuse_existing(path)
    if check:
        require_onnxruntime()
    photograph = None if image is None else read_image(Path(image))
    size = size or subject.usual_size
    network = to_onnx(subject.model, (subject.channels, *size), dynamic, kind, subject.normalise if pixels else None)
    describe(network, subject, kind, pixels, size)
    tried = pictures(subject, size, network.least_size, photograph) if check else []
    written = Written(path, 0, len(network.model.graph.node), network.least_size, network.model.doc_string)
    with replacing(path) as temporary:
        network.save(temporary)
        written.bytes = temporary.stat().st_size
        if tried:
            check_file(temporary)
            written.differences = differences(subject, temporary, tried, kind, pixels)
    return written


def describe(network: OnnxNetwork, subject: Subject, kind: str, pixels: bool, size: Size) -> None:
    """Write into the file what whoever uses it must know: for programs, and in words."""
    from onnx import helper

    network.model.graph.name = subject.name
    network.model.doc_string = feeding(subject, kind, pixels, network.least_size, size)
    helper.set_model_props(network.model, metadata_of(subject, kind, pixels, network.least_size, size))


# --- is it the same? --------------------------------------------------------------------------------------


def pictures(
    subject: Subject, size: Size, least: int | None, photograph: np.ndarray | None
) -> list[tuple[str, np.ndarray]]:
    """What the file is tried on, and what to call it: uint8 (H, W, 3), or, for a network that takes other channels than
    three, random numbers (1, C, H, W). A file for all sizes (from `least` up) is tried on two more, odd ones.

    Errors: ExportError for what is too small, or a photograph where a network takes no colours.
    """
    H, W = size
    sizes = [size] if least is None else [size, (max(least, H - 7) | 1, W + 13 | 1), (H + 9 | 1, max(least, W - 5) | 1)]
    rng = np.random.default_rng(0)
    tried = []
    for h, w in sizes:
        if subject.channels == 3:
            tried.append((f"a random image of {w}x{h}", rng.integers(0, 256, (h, w, 3), np.uint8)))
        else:
            numbers = rng.standard_normal((1, subject.channels, h, w), np.float32)
            tried.append((f"random numbers of {w}x{h}", numbers))
    if photograph is not None:
        if subject.channels != 3:
            raise ExportError(f"export: the network takes {subject.channels} channels, and a photograph has three")
        picture = resize_image(photograph, size if least is None else subject.size or photograph.shape[:2])
        tried.append((f"the photograph at {picture.shape[1]}x{picture.shape[0]}", picture))
        sizes.append(picture.shape[:2])
    if min(map(min, sizes)) < (least or 0):
        raise ExportError(
            f"export: the network takes images of any size from {least}x{least} up; to check it, choose a larger one"
        )
    return tried


def differences(
    subject: Subject, path: Path, tried: list[tuple[str, np.ndarray]], kind: str, pixels: bool
) -> list[tuple[str, Difference]]:
    """How far the file at `path` is from the network on each picture. Errors: ExportError where that is too far."""
    session, found = open_session(path), []
    for what, picture in tried:
        x = picture if subject.channels != 3 else subject.normalise(picture, None)[0][None]  # (1, C, H, W)
        found.append((what, compare(session, subject.model, x, picture[None] if pixels else x, kind)))
        refuse_difference(*found[-1])
    return found


def refuse_difference(what: str, found: Difference) -> None:
    if not found.small:
        raise ExportError(
            f"export: on {what} the file differs from the network by {found.largest:.3g}, {found.relative:.1e} of the "
            f"largest score, and {TOLERANCE:g} is allowed; no file was written\n"
            "  fix: this is a mistake in scratchfcn, or the network computes something outside of ops; please report it"
        )


# --- weights alone ----------------------------------------------------------------------------------------


def write_weights(subject: Subject, path: str | Path) -> Written:
    """Write the weights, as .safetensors (with what `load_network` needs) or .npz (arrays alone, not compressed).

    Errors: ExportError for another suffix, FileExistsError: nothing is overwritten.
    """
    path = refuse_existing(path)
    arrays = {name: to_numpy(array) for name, array in subject.model.state_dict().items()}
    if path.suffix == ".safetensors":
        weights.save(path, arrays, subject.metadata)
    elif path.suffix == ".npz":
        with replacing(path) as temporary, open(temporary, "wb") as file:
            np.savez(file, **arrays)
    else:
        raise ExportError(
            f"export: weights are written as .safetensors or .npz, not {path.suffix or 'without a suffix'}"
        )
    return Written(path, path.stat().st_size)


def refuse_existing(path: str | Path) -> Path:
    path = Path(path)
    if path.exists():
        raise FileExistsError(f"{path} exists, and nothing is overwritten; remove it, or give another --output")
    return path
