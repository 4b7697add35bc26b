"""One real image through one trained network: its maps, where it sees which class, and what each score depends on."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from ...geometry import Grid
from .. import drawing
from ..one_image import Layer, Run, Target, on_the_image, picture_for, run, subject_of
from ..page import Choice, Code, Page, filled, shown

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CHANNELS, LARGEST = 12, 72  # maps shown of each layer; their rows or columns in the page
NEGATIVE, POSITIVE, HEAT = (0, 82, 127), (156, 74, 0), (255, 150, 0)  # blue and brown, and the orange of the heatmap
SHOW = {"maps": "its values", "gradients": "the score's gradient by it"}
EQUATIONS = [
    "score of “{name}” at pixel ({row}, {column}) of the scores = {score}",
    "probability = e^{score} / Σ e^score of all {K} classes = {probability}",
    "∂score/∂image is not zero on rows {first} … {last}: {seen} rows; the receptive field, computed, is {field}",
]


def page(
    weights: str | Path | None = None,
    image: str | Path | None = None,
    model: str | None = None,
    names: str | Path | None = None,
    classes: int | None = None,
) -> Page:
    """weights: a checkpoint from training, or of a network that `model` (and `classes`, how many) names; without, a
    small FCN learns for seconds. image: any picture; without, one with generated shapes. names: a text file with the
    classes' names, one in a line."""
    subject = subject_of(weights, model, names, classes)
    picture = picture_for(subject, image)
    found = run(subject, picture)
    field = output_field(found)
    targets = [target_data(found, target, field) for target in found.targets]
    layers = [layer_data(found, layer) for layer in found.layers]
    choices = {
        str(i): f"{target['name']}, at ({target['row']}, {target['column']})" for i, target in enumerate(targets)
    }
    words = ("name", "row", "column", "score", "probability", "first", "last", "seen", "field")
    numbers = {"K": len(subject.classes), **{word: targets[0][word] for word in words}}
    kilobytes = sum(map(picture_bytes, (targets, layers))) // 1000
    H, W = picture.shape[:2]
    what = "a generated picture" if image is None else Path(image).name
    about = f"{subject.name} and {what}, as the network gets it: {W}x{H} pixels."

    def draw(figure: Figure) -> None:
        draw_run(figure, found, subject.name, [filled(line, numbers) for line in EQUATIONS])

    return Page(
        topic="feature-maps",
        title="What a trained network makes of one image",
        summary="Every layer is a stack of maps. Here they are for one picture, with the heatmap of what was found "
        "and the gradients that say which pixels a score depends on.",
        equations=EQUATIONS,
        numbers=numbers,
        settings=[
            Choice("target", "score to explain", "0", choices),
            Choice("show", "of every map show", "maps", SHOW),
        ],
        data={
            "about": " ".join(filter(None, (about, subject.note))), "kilobytes": kilobytes + len(jpeg(picture)) // 1000,
            "size": [H, W], "K": len(subject.classes), "photo": jpeg(picture), "targets": targets, "layers": layers,
        },
        draw=draw,
        code=[
            Code("explain/one_image.py", "how the maps and gradients of any network are kept while it runs."),
            Code("models/fcn.py", "the networks whose maps these are."),
            Code("models/convolutionalize.py", "how a classifier of whole pictures comes to score every place."),
        ],
        description=f"{about} The picture, the heatmap of “{targets[0]['name']}”, the gradient of its score, and the "
        "strongest map of several layers.",
    )  # fmt: skip


# --- what the page is told ----------------------------------------------------------------------------------


def output_field(found: Run) -> float:
    """How many rows of the image a score can depend on, at most; 0 where all of it."""
    field = float("inf") if found.grid is None else float(found.grid.receptive_field)
    return 0.0 if field == float("inf") else field


def target_data(found: Run, target: Target, field: float) -> dict[str, Any]:
    """A score, where it was taken, its heatmap and its gradient by the image."""
    size = found.image.shape[:2]
    strength = np.abs(target.gradient).sum(axis=0)  # (H, W)
    seen = np.flatnonzero(strength.any(axis=1))
    first, last = (int(seen[0]), int(seen[-1])) if len(seen) else (0, 0)
    grid = Grid() if found.grid is None or found.grid.stride <= 0 else found.grid
    heat = on_the_image(found.scores[target.class_id], found.grid, size)
    top = strength.max() or 1.0
    return {
        "name": found.subject.classes[target.class_id],
        "row": target.row, "column": target.column, "score": target.score, "probability": target.probability,
        "at": [float(grid.centre(target.row)), float(grid.centre(target.column))],
        "first": first, "last": last, "seen": last - first + 1 if len(seen) else 0,
        "field": field or "the whole image", "box": field,
        "heat": jpeg(heated(found.image, heat)),
        "gradient": png(mixed(np.sqrt(strength / top), POSITIVE)),
    }  # fmt: skip


def layer_data(found: Run, layer: Layer) -> dict[str, Any]:
    """An op's output: some of its maps with their gradients, and where its pixels lie on the image."""
    row, y = layer.row, layer.output
    field = float(row.grid.receptive_field)
    channels = [channel_data(layer, k) for k in shown_channels(found, layer)]
    if layer.scores:
        for channel in channels:
            channel["name"] = found.subject.classes[channel["index"]]
    return {
        "name": f"{row.op}, {row.layer}" if row.layer else row.op,
        "shape": list(y.shape), "stride": float(row.grid.stride), "start": float(row.grid.start),
        "field": 0 if field == float("inf") else field, "channels": channels,
    }  # fmt: skip


def shown_channels(found: Run, layer: Layer) -> list[int]:
    """The strongest maps, in order; of scores first the targets' own, then the highest."""
    y = layer.output
    if not layer.scores:
        return sorted(int(k) for k in np.argsort(-np.abs(y).mean(axis=(1, 2)), kind="stable")[:CHANNELS])
    highest = [int(k) for k in np.argsort(-y.max(axis=(1, 2)), kind="stable")]
    return list(dict.fromkeys([target.class_id for target in found.targets] + highest))[:CHANNELS]


def channel_data(layer: Layer, k: int) -> dict[str, Any]:
    """One map. value: its largest, at (row, column); slopes: the targets' gradients at that pixel."""
    y = layer.output[k]
    r, c = divmod(int(y.argmax()), y.shape[1])
    return {
        "index": k, "least": float(y.min()), "value": float(y.max()), "row": r, "column": c,
        "map": png(grey(y)),
        "slopes": [float(g[k, r, c]) for g in layer.gradients],
        "gradients": [png(signed(g[k])) for g in layer.gradients],
    }  # fmt: skip


# --- pictures -----------------------------------------------------------------------------------------------


def jpeg(picture: np.ndarray) -> str:
    """uint8 (H, W, 3) → a data: URI."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=82)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()


def png(picture: np.ndarray) -> str:
    """uint8 (H, W) or (H, W, 3) → a data: URI; colours of one hue shrink to a palette."""
    made = Image.fromarray(picture)
    if picture.ndim == 3:
        made = made.quantize(64)
    file = io.BytesIO()
    made.save(file, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def smaller(values: np.ndarray) -> np.ndarray:
    """A map of at most LARGEST rows and columns; larger ones are averaged down."""
    h, w = values.shape
    scale = min(1.0, LARGEST / max(h, w))
    size = (max(1, round(w * scale)), max(1, round(h * scale)))
    made = Image.fromarray(np.ascontiguousarray(values, np.float32))
    return np.asarray(made if scale == 1.0 else made.resize(size, Image.Resampling.BOX))


def grey(values: np.ndarray) -> np.ndarray:
    """A map as greys, 64 of them: its smallest value black, its largest white. uint8 (h, w)."""
    values = smaller(values)
    spread = float(np.ptp(values)) or 1.0
    return np.round(np.round((values - values.min()) / spread * 63) * (255 / 63)).astype(np.uint8)


def signed(values: np.ndarray) -> np.ndarray:
    """A gradient: blue where negative, white at 0, brown where positive. uint8 (h, w, 3)."""
    values = smaller(values)
    share = values / (float(np.abs(values).max()) or 1.0)
    return np.where(share[:, :, None] < 0, mixed(-share, NEGATIVE), mixed(share, POSITIVE))


def mixed(share: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """White at 0, the colour at 1, in 32 steps: uint8 (h, w, 3)."""
    share = np.round(share.clip(0, 1) * 31)[:, :, None] / 31  # (h, w, 1)
    return (255 + share * (np.array(colour) - 255)).astype(np.uint8)


def heated(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """The picture in grey with the heat, from its smallest to its largest value, in orange over it: uint8 (H, W, 3)."""
    share = ((heat - heat.min()) / (float(np.ptp(heat)) or 1.0))[:, :, None] * 0.85  # (H, W, 1)
    ground = np.repeat(image.mean(axis=2, keepdims=True), 3, axis=2) * 0.6
    return (ground + share * (np.array(HEAT) - ground)).astype(np.uint8)


def picture_bytes(value: Any) -> int:
    """How long all data: URIs in it are together."""
    if isinstance(value, dict):
        return sum(map(picture_bytes, value.values()))
    if isinstance(value, list):
        return sum(map(picture_bytes, value))
    return len(value) if isinstance(value, str) and value.startswith("data:") else 0


def draw_run(figure: Figure, found: Run, name: str, equations: list[str]) -> None:
    """The picture, the heatmap, the gradient, and the strongest map of up to seven layers."""
    target = found.targets[0]
    who = found.subject.classes[target.class_id]
    heat = on_the_image(found.scores[target.class_id], found.grid, found.image.shape[:2])
    strength = np.abs(target.gradient).sum(axis=0)
    grid = Grid() if found.grid is None or found.grid.stride <= 0 else found.grid
    panels = [
        ("the picture", found.image),
        (f"score of {who}", heated(found.image, heat)),
        ("its gradient by the image", mixed(np.sqrt(strength / (strength.max() or 1.0)), POSITIVE)),
    ]
    for layer in found.layers[:5] + found.layers[5:][-2:]:
        k = target.class_id if layer.scores else int(np.abs(layer.output).mean(axis=(1, 2)).argmax())
        panels.append(
            (
                f"{layer.row.op}, {'score' if layer.scores else 'map'} {k}\nstride {shown(layer.row.grid.stride)}",
                layer.output[k],
            )
        )
    axes = figure.subplots(2, 5).ravel()
    for panel, (title, picture) in zip(axes, panels, strict=False):
        panel.imshow(picture, cmap="gray")
        panel.set_title(title, fontsize=10)
    for panel in axes:
        panel.set_axis_off()
    axes[0].plot(
        float(grid.centre(target.column)), float(grid.centre(target.row)), "o", markersize=9, markerfacecolor="none",
        markeredgecolor="white", markeredgewidth=2,
    )  # fmt: skip
    drawing.caption(figure, f"{name}: maps, score and gradient", equations)
