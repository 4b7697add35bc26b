"""How an FCN adds a fine map to a coarse one: where the pixels of both lie on the image, and what must be cropped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ... import nn
from ...geometry import Grid, Window, crop_offset
from ...models.backbone import Backbone
from ...models.backbones import make_backbone
from ...models.fcn import crop_to_image, later_start, upsampling_window
from ...ops.im2col import conv_transpose_output_size
from .. import drawing
from ..page import Choice, Code, Page, Setting, SettingsError, filled, shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NETWORKS = {"fcn32s": "FCN-32s", "fcn16s": "FCN-16s", "fcn8s": "FCN-8s"}
LAST = {"fcn32s": "upscore", "fcn16s": "upscore16", "fcn8s": "upscore8"}  # the last layers, as models/fcn.py calls them
BACKBONES = {  # name in the page → what it says, make_backbone's name and recipe
    "vgg16_padding_100": ("VGG16, padding 100 (the paper's)", "vgg16", "caffe"),
    "vgg16": ("VGG16, padding 1", "vgg16", None),
    "small": ("small", "small", None),
    "alexnet": ("AlexNet, padding 100", "alexnet", None),
    "resnet18": ("ResNet-18", "resnet18", None),
}
EQUATIONS = ["{pool3}", "{pool4}", "{score}", "{fuse4}", "{fuse3}", "{image}"]
MOST = 224  # rows of the image


@dataclass(frozen=True)
class Step:
    """One window along the rows; ceil: whether the size behind it is rounded up (a pool's may be)."""

    window: Window
    ceil: bool = False

    def size(self, rows: int) -> int:
        """How many rows there are behind it."""
        k, s, p, d, _ = self.window
        free = rows + 2 * p - d * (k - 1) - 1
        out = (-(-free // s) if self.ceil else free // s) + 1
        if self.ceil and (out - 1) * s >= rows + p:  # a last window that begins beyond the end is left out
            out -= 1
        return out


@dataclass(frozen=True)
class Row:
    """A map along one axis, as a lane of the figure: where its pixels lie, how many there are, which stay."""

    name: str
    grid: Grid
    size: int
    first: int = 0  # the first pixel that is kept
    kept: int = -1  # how many; -1: all

    def plain(self) -> dict[str, Any]:
        kept = self.size if self.kept < 0 else self.kept
        return {
            "name": self.name, "stride": float(self.grid.stride), "start": float(self.grid.start),
            "size": self.size, "first": self.first, "kept": kept,
        }  # fmt: skip


def page(model: str = "fcn8s", backbone: str = "vgg16_padding_100", size: tuple[int, int] | int = 64) -> Page:
    """model: fcn32s, fcn16s or fcn8s, also with a backbone behind it, as in fcn8s_vgg16; size: of the image, square."""
    rows = size if isinstance(size, int) else size[0]
    for network in NETWORKS:
        if model.startswith(f"{network}_"):
            model, backbone = network, model.removeprefix(f"{network}_")
    settings = [
        Choice("network", "network", model, NETWORKS),
        Choice("backbone", "backbone", backbone, {name: words for name, (words, *_) in BACKBONES.items()}),
        Setting("size", "image height H (and width)", rows, 1, MOST),
    ]
    backbones = {name: backbone_of(name) for name in BACKBONES}
    lanes = fuse(model, backbones[backbone], rows)
    numbers = words(lanes)

    def draw(figure: Figure) -> None:
        drawn = [row for step in lanes for row in step["rows"]]
        axes = figure.subplots()
        draw_lanes(axes, drawn, rows)
        title = f"{NETWORKS[model]} over {BACKBONES[backbone][0]}, image of {rows} rows: where every map's pixels lie"
        drawing.caption(figure, title, [line for line in (filled(e, numbers) for e in EQUATIONS) if "crop" in line])

    return Page(
        topic="skip-fusion",
        title="Skip fusion, and where the crop offsets come from",
        summary="A fine map and an upsampled coarse one can only be added where their pixels lie on the same places of "
        "the image. Which those are follows from the layers; nothing is typed in.",
        equations=EQUATIONS,
        numbers=numbers,
        settings=settings,
        data={
            "backbones": {name: plain_backbone(each) for name, each in backbones.items()},
            "lanes": [[row.plain() for row in step["rows"]] for step in lanes],
        },
        draw=draw,
        code=[
            Code("geometry.py", "Grid.through, the rule by which a layer moves the pixels; crop_offset."),
            Code("models/fcn.py", "FCN8s: the crops are worked out when it is built, and used in forward."),
            Code("ops/shape.py", "crop, and what its backward does with the rows that were cut off.", "crop"),
        ],
        description="Lanes, one for each map, along the rows of the image: "
        + "; ".join(f"{row.name} at rows {place(row.grid)}" for step in lanes for row in step["rows"]),
    )  # fmt: skip


# --- the geometry -------------------------------------------------------------------------------------------


def backbone_of(name: str) -> Backbone:
    _, known_as, recipe = BACKBONES[name]
    with nn.init.skipped():
        return make_backbone(known_as, 3, False, recipe)


def stage_steps(backbone: Backbone) -> list[list[Step]]:
    """The windows to the maps of stride 8, 16 and 32, and those of fc6 and fc7, from the backbone's own layers."""
    stages = [[step for layer in stage for step in layer_steps(layer)] for stage in backbone.stages()]
    head = backbone.head
    return [*stages, [] if head is None else [Step(Window(head["kernel"], 1, head["padding"]))]]


def layer_steps(layer: nn.Module) -> list[Step]:
    """The windows of a layer, and whether it rounds up."""
    if isinstance(layer, nn.Sequential):
        return [step for each in layer for step in layer_steps(each)]
    ceil = isinstance(layer, nn.MaxPool2d) and layer.ceil_mode
    return [Step(window, ceil) for window in layer.windows()]


def plain_backbone(backbone: Backbone) -> dict[str, Any]:
    """For the page's script. A window is [kernel, stride, padding, dilation, ceil]; enlarged: the rows that an image of
    1, 2, 3 … rows gets before the first layer, so that its end is not lost."""
    return {
        "stages": [[[*step.window[:4], int(step.ceil)] for step in stage] for stage in stage_steps(backbone)],
        "enlarged": [backbone.enlarged(rows) for rows in range(1, MOST + 1)],
    }


def through(row: Row, steps: list[Step], name: str) -> Row:
    """The map behind some layers. Errors: SettingsError where nothing is left of the image."""
    size = row.size
    for step in steps:
        size = step.size(size)
        if size < 1:
            raise SettingsError(f"an image of this height is too small: {name} would have no rows")
    return Row(name, row.grid.through(*(step.window for step in steps)), size)


def upsampled(row: Row, target: Grid, name: str) -> Row:
    """A map upsampled to the stride of another, with the kernel that lets a crop line them up."""
    factor, kernel = upsampling_window(row.grid, target)
    size = conv_transpose_output_size(row.size, kernel, factor, 0, 0, 1)
    return Row(name, row.grid.through(Window(kernel, factor, transposed=True)), size)


def fuse(network: str, backbone: Backbone, rows: int) -> list[dict[str, Any]]:
    """What the network does, step by step, along the rows: {"what": "maps" | "up" | "add" | "image", "rows": [Row …]}.

    The same as the constructor and the forward of models/fcn.py, which the tests compare it with.
    """
    to_pool3, to_pool4, to_pool5, head = stage_steps(backbone)
    image = Row("image", Grid(), rows)
    pool3 = through(Row("image", Grid(), backbone.enlarged(rows)), to_pool3, "pool3")
    pool4 = through(pool3, to_pool4, "pool4")
    score = through(pool4, [*to_pool5, *head], "score")
    skips = {"fcn32s": [], "fcn16s": [pool4], "fcn8s": [pool4, pool3]}[network]
    steps: list[dict[str, Any]] = [{"what": "maps", "rows": [image, *reversed(skips), score]}]
    for name, skip in zip(("upscore2", "upscore_pool4"), skips, strict=False):
        up = upsampled(score, skip.grid, name)
        offset = crop_offset(skip.grid, up.grid)
        first, up_first = max(0, offset), max(0, -offset)
        kept = min(skip.size - first, up.size - up_first)
        pair = [Row(skip.name, skip.grid, skip.size, first, kept), Row(up.name, up.grid, up.size, up_first, kept)]
        steps.append({"what": "add", "rows": pair, "offset": offset})
        score = Row(f"fuse_{skip.name}", later_start(skip.grid, up.grid), kept)
    up = upsampled(score, Grid(), LAST[network])
    crop = crop_to_image(up.grid)
    steps.append({"what": "image", "rows": [image, Row(up.name, up.grid, up.size, crop, rows)], "offset": crop})
    return steps


# --- words and picture --------------------------------------------------------------------------------------


def words(steps: list[dict[str, Any]]) -> dict[str, str]:
    """The page's equations, which differ from network to network; the script has the same words."""
    lines = dict.fromkeys(("pool3", "pool4", "score", "fuse4", "fuse3"), "")
    for row in steps[0]["rows"][1:]:
        lines[row.name] = f"{row.name}: pixel i lies at row {place(row.grid)}; {row.size} of them"
    for number, step in zip("43", steps[1:-1], strict=False):
        skip, up = step["rows"]
        lines[f"fuse{number}"] = (
            f"crop of {skip.name} = (start of {up.name} − start of {skip.name}) / stride = "
            f"({shown(up.grid.start)} − {bracketed(skip.grid.start)}) / {shown(skip.grid.stride)} = "
            f"{shown(step['offset'])}"
        )
    last = steps[-1]["rows"][1]
    lines["image"] = (
        f"crop to the image = 0 − start of {last.name} = 0 − {bracketed(last.grid.start)} = "
        f"{shown(steps[-1]['offset'])}"
    )
    return lines


def place(grid: Grid) -> str:
    """ "8·i − 95.5"."""
    sign = "−" if grid.start < 0 else "+"
    return f"{shown(grid.stride)}·i {sign} {shown(abs(grid.start))}"


def bracketed(value: Any) -> str:
    return f"({shown(value)})" if value < 0 else shown(value)


def draw_lanes(axes: Axes, lanes: list[Row], image_rows: int) -> None:
    """One lane for each map along the rows of the image; what is cropped is grey and dashed."""
    from matplotlib.patches import Rectangle

    for y, row in enumerate(lanes):
        stride, start = float(row.grid.stride), float(row.grid.start)
        kept = row.size if row.kept < 0 else row.kept
        face, edge = (
            (drawing.RESULT, drawing.RESULT_EDGE) if "score" in row.name else (drawing.WINDOW, drawing.WINDOW_EDGE)
        )
        if row.name == "image":
            face, edge = "white", drawing.INK
        cells = [(i, i + 1) for i in range(row.size)] if stride >= 2 else segments(row.size, row.first, kept)
        for first, last in cells:
            inside = row.first <= first < row.first + kept
            axes.add_patch(
                Rectangle(
                    (start + stride * (first - 0.5), y - 0.34),
                    stride * (last - first),
                    0.68,
                    facecolor=face if inside else drawing.PADDING,
                    edgecolor=edge if inside else "#8a8a8a",
                    linestyle="-" if inside else ":",
                    linewidth=1.1,
                    zorder=2 if inside else 1,
                )
            )
        cut = f", {row.first} cut before" if row.first else ""
        axes.annotate(
            f"{row.name}: {row.size} pixels{cut}", (0, y), xycoords=("axes fraction", "data"), xytext=(-6, 0),
            textcoords="offset points", ha="right", va="center", fontsize=9, color=drawing.INK,
        )  # fmt: skip
    for edge in (-0.5, image_rows - 0.5):
        axes.axvline(edge, color=drawing.INK, linewidth=1.2, linestyle="--", zorder=3)
    first = min(float(row.grid.start) - float(row.grid.stride) / 2 for row in lanes)
    last = max(float(row.grid.centre(row.size - 1)) + float(row.grid.stride) / 2 for row in lanes)
    axes.set(xlim=(first - 1, last + 1), ylim=(len(lanes) - 0.5, -0.5), yticks=[])
    axes.set_xlabel("row of the image (the dashed lines are its edges)", fontsize=9)
    axes.spines[["top", "right", "left"]].set_visible(False)


def segments(size: int, first: int, kept: int) -> list[tuple[int, int]]:
    """What is cut before, what stays, what is cut after: as ranges of pixels, the empty ones left out."""
    parts = [(0, first), (first, first + kept), (first + kept, size)]
    return [(a, b) for a, b in parts if b > a]
