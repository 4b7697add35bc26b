"""How much of the image one pixel of a map sees: computed from the layers, and measured from gradients."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ... import models, nn
from ...geometry import Grid, Window
from ...ops.im2col import conv_transpose_output_size
from ...tensor import Tensor
from .. import drawing
from ..page import Choice, Code, Page, Setting, SettingsError, filled, shown

if TYPE_CHECKING:
    from matplotlib.figure import Figure

YOURS = "conv 3 p1, pool 2, conv 3 p1, pool 2, conv 3 p1"
MOST, MOST_LAYERS = 1100, 200
EQUATIONS = [
    "each layer: field + d·(k − 1)·stride, start + stride·(d·(k − 1)/2 − p), stride·s",
    "stride = {strides} = {stride}",
    "receptive field = {terms} = {field} rows and columns",
    "centre of pixel i = {stride}·i {sign} {start}; {OH} of them over an image of {H} rows",
]


def page(
    model: str | None = None,
    weights: str | Path | None = None,
    layers: str | None = None,
    size: tuple[int, int] | int | None = None,
) -> Page:
    """layers: a stack as it is typed in the page, "conv 3 p1, pool 2"; or model: a network's name; or weights: a
    checkpoint, whose network is taken. size: of the image, square."""
    given = [name for name, value in {"--model": model, "--weights": weights, "--layers": layers}.items() if value]
    if len(given) > 1:
        raise SettingsError(f"receptive-field: {' and '.join(given)} each name a network; give one of them")
    stacks = dict(known_stacks())  # name → (words, layers, image size)
    network = "yours"
    made = None
    if weights is not None:
        from ...training import load_network

        checkpoint = load_network(weights)  # with its own options: padding 100 moves everything
        model, made = checkpoint.name, checkpoint.model
    if model is not None:
        network, text = "model", network_text(model, made)
        stacks[network] = (f"{model}, to its coarsest scores", text, None)
    if layers is not None:
        stacks["yours"] = (stacks["yours"][0], layers, None)
    words, text, usual = stacks[network]
    windows = parse(text)
    grid = Grid().through(*windows)
    rows = (usual or room_for(grid)) if size is None else size if isinstance(size, int) else size[0]
    settings = [
        Choice("network", "network", network, {name: each[0] for name, each in stacks.items()}),
        Setting("size", "image height H (and width)", rows, 1, MOST),
    ]
    sizes = map_sizes(windows, rows)
    pixel = sizes[-1] // 2
    gradient = measure(windows, rows, pixel)  # (H,)
    numbers = equation_numbers(windows, rows, sizes[-1])

    def draw(figure: Figure) -> None:
        draw_field(figure, words, grid, pixel, gradient, [filled(line, numbers) for line in EQUATIONS[1:]])

    seen = np.flatnonzero(gradient)
    measured = f"is not zero on rows {seen[0]} to {seen[-1]}" if len(seen) else "is zero everywhere"
    return Page(
        topic="receptive-field",
        title="The receptive field: how much of the image one pixel sees",
        summary="Where a network looks follows from its kernels and strides. The gradient of one output pixel by the "
        "image shows that it is so: it is zero wherever that pixel does not look.",
        equations=EQUATIONS,
        numbers=numbers,
        settings=settings,
        data={
            "stacks": {
                name: {"layers": split(text), "size": usual or room_for(Grid().through(*parse(text)))}
                for name, (_, text, usual) in stacks.items()
            },
            "pixel": pixel, "gradient": gradient, "sizes": sizes,
            "grid": [float(grid.stride), float(grid.start), float(grid.receptive_field)],
        },
        draw=draw,
        code=[
            Code("geometry.py", "Grid.through is the rule above, in exact fractions."),
            Code("inspection/grids.py", "the same along the ops of any network, where branches meet."),
            Code("tensor.py", "Tensor.backward, which the measurement calls with a 1 at one output pixel."),
        ],
        description=f"The gradient of output pixel {pixel} by the image {measured}; "
        f"the computed receptive field is {shown(grid.receptive_field)} rows around row {shown(grid.centre(pixel))}.",
    )  # fmt: skip


# --- stacks of layers, as text ------------------------------------------------------------------------------

LAYER = re.compile(r"(conv|pool|up)\s+(\d+)((?:\s+[spd]\d+)*)")


def parse(text: str) -> list[Window]:
    """ "conv 3 s2 p1 d1, pool 2, up 4 s2 p1" → windows; commas or lines between layers, a pool's stride is its kernel.

    Errors: SettingsError naming the layer that cannot be read. receptive-field.js reads in the same way.
    """
    windows = [window(number, part) for number, part in enumerate(split(text), start=1)]
    if not windows:
        raise SettingsError("there is no layer; write for example: conv 3 p1, pool 2")
    if len(windows) > MOST_LAYERS:
        raise SettingsError(f"{len(windows)} layers are more than this page shows, {MOST_LAYERS}")
    return windows


def split(text: str) -> list[str]:
    parts = [part.strip().lower() for part in re.split(r"[,\n]", text)]
    return [part for part in parts if part]


def window(number: int, text: str) -> Window:
    """One layer."""
    found = LAYER.fullmatch(text)
    if found is None:
        raise SettingsError(
            f"layer {number}, {text!r}: write conv, pool or up, the kernel, then s, p, d with a number: conv 3 s2 p1"
        )
    kind, kernel = found[1], int(found[2])
    given = {word[0]: int(word[1:]) for word in found[3].split()}
    stride, padding, dilation = given.get("s", kernel if kind == "pool" else 1), given.get("p", 0), given.get("d", 1)
    if min(kernel, stride, dilation) < 1:
        raise SettingsError(f"layer {number}, {text!r}: kernel, stride and dilation are at least 1")
    return Window(kernel, stride, padding, dilation, transposed=kind == "up")


def known_stacks() -> dict[str, tuple[str, str, int | None]]:
    """name → (what the page says, the layers, a good size for the image)."""
    with nn.init.skipped():
        vgg16, alexnet = models.VGG16(), models.AlexNet()
        googlenet, resnet, small = models.BVLCGoogLeNet(), models.ResNet(18), models.Small()
    return {
        "yours": ("your own, typed below", YOURS, 32),
        "small": ("small, to fc6", text_of(small, "conv 3 p1"), 320),
        "vgg16": ("VGG16, to fc6", text_of(vgg16, "conv 7"), 640),
        "alexnet": ("AlexNet, to fc6", text_of(alexnet, "conv 6"), 640),
        "googlenet": ("GoogLeNet, with its mean", text_of(googlenet, "conv 7"), 1024),
        "resnet18": ("ResNet-18, to its last map", text_of(resnet), 640),
    }


def network_text(name: str, network: nn.Module | None = None) -> str:
    """The layers from the image to a network's coarsest scores; by name, or one that is there already.

    Errors: SettingsError for one that does not say, ValueError for a name that is not known.
    """
    if network is None:
        with nn.init.skipped():
            network = models.build(name)
    backbone = network if isinstance(network, models.Backbone) else getattr(network, "backbone", None)
    if not isinstance(backbone, models.Backbone):
        raise SettingsError(f"receptive-field: {name} does not say in which order its layers go; type them: --layers")
    head = isinstance(network, models.FCN) and network.fc6 is not None
    return text_of(backbone, *(layer_lines(network.fc6) if head else []))


def text_of(backbone: models.Backbone, *more: str) -> str:
    """A backbone's layers as they would be typed; of branches side by side, the one that sees most."""
    return ", ".join([*(text for stage in backbone.stages() for layer in stage for text in layer_lines(layer)), *more])


def layer_lines(layer: nn.Module) -> list[str]:
    """The windows of a layer, or of those in it."""
    if isinstance(layer, nn.Sequential):
        return [text for each in layer for text in layer_lines(each)]
    pool = isinstance(layer, nn.MaxPool2d | nn.AvgPool2d)
    return [window_text(window, pool) for window in layer.windows()]


def window_text(window: Window, pool: bool = False) -> str:
    """A window as one would type it: what is as usual is left out."""
    k, s, p, d, transposed = window
    usual = (("s", s, k if pool else 1), ("p", p, 0), ("d", d, 1))
    kind = "pool" if pool else "up" if transposed else "conv"
    return f"{kind} {k}" + "".join(f" {letter}{value}" for letter, value, expected in usual if value != expected)


def room_for(grid: Grid) -> int:
    """An image in which a pixel in the middle sees no edge."""
    return int(min(MOST, max(16, 1.5 * grid.receptive_field)))


# --- measuring ----------------------------------------------------------------------------------------------


def map_sizes(windows: Sequence[Window], rows: int) -> list[int]:
    """How many rows the image and each map have. Errors: SettingsError where one has none."""
    sizes = [rows]
    for number, (k, s, p, d, transposed) in enumerate(windows, start=1):
        free = sizes[-1] + 2 * p - d * (k - 1) - 1
        size = conv_transpose_output_size(sizes[-1], k, s, p, 0, d) if transposed else free // s + 1
        if size < 1:
            raise SettingsError(
                f"layer {number}, {window_text(windows[number - 1])}: nothing is left, its window covers "
                f"{d * (k - 1) + 1} rows and the map has {sizes[-1]}; take a larger image"
            )
        sizes.append(size)
    return sizes


def measure(windows: Sequence[Window], rows: int, pixel: int) -> np.ndarray:
    """d (output pixel) / d (image), along the rows: (H,).

    The network is reduced to one channel with equal weights, which changes nothing about where it looks: every window
    takes a mean. As rows and columns have the same windows, the gradient of a whole image is the product of two such.
    """
    image = Tensor(np.zeros((1, 1, rows, 1)), requires_grad=True, device="cpu")
    x = image
    for k, s, p, d, transposed in windows:
        layer = nn.ConvTranspose2d if transposed else nn.Conv2d
        made = layer(1, 1, (k, 1), stride=(s, 1), padding=(p, 0), dilation=(d, 1), bias=False).double()
        made.weight.data[...] = 1 / k
        x = made(x)
    seed = np.zeros(x.shape)
    seed[0, 0, pixel, 0] = 1
    x.backward(seed)
    return image.grad[0, 0, :, 0]


# --- words and picture --------------------------------------------------------------------------------------


def equation_numbers(windows: Sequence[Window], rows: int, OH: int) -> dict[str, Any]:
    grid, strides, terms = Grid(), [], ["1"]
    for each in windows:
        k, s, _, d, transposed = each
        seen = -(-(d * (k - 1) + 1) // s) - 1 if transposed else d * (k - 1)
        if seen:
            terms.append(f"{seen}·{shown(grid.stride)}")
        if s != 1:
            strides.append(f"1/{s}" if transposed else str(s))
        grid = grid.through(each)
    return {
        "strides": "·".join(strides) or "1", "stride": grid.stride, "terms": " + ".join(terms),
        "field": grid.receptive_field, "sign": "−" if grid.start < 0 else "+", "start": abs(grid.start),
        "H": rows, "OH": OH,
    }  # fmt: skip


def draw_field(figure: Figure, words: str, grid: Grid, pixel: int, gradient: np.ndarray, equations: list[str]) -> None:
    """The gradient from above with the computed square, and along the rows."""
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.patches import Rectangle

    above, side = figure.subplots(1, 2)
    H = len(gradient)
    heat = LinearSegmentedColormap.from_list("heat", ["white", drawing.WINDOW, drawing.WINDOW_EDGE])
    field, centre = float(grid.receptive_field), float(grid.centre(pixel))
    first = centre - field / 2
    share = gradient / (gradient.max() or 1.0)
    above.imshow(np.sqrt(np.outer(share, share)), cmap=heat, extent=(-0.5, H - 0.5, H - 0.5, -0.5))
    above.add_patch(Rectangle((first, first), field, field, fill=False, edgecolor=drawing.RESULT_EDGE, linewidth=2))
    above.plot(centre, centre, "+", color=drawing.INK, markersize=9)
    above.set_title(f"gradient of pixel ({pixel}, {pixel}) by the image;\nthe square is computed", fontsize=11)
    side.fill_between(np.arange(H), gradient, step="mid", color=drawing.WINDOW, edgecolor=drawing.WINDOW_EDGE)
    for edge in (first, first + field):
        side.axvline(edge, color=drawing.RESULT_EDGE, linewidth=2)
    seen = np.flatnonzero(gradient)
    measured = (
        f"not zero on {seen[0]} … {seen[-1]},\n{seen[-1] - seen[0] + 1} rows" if len(seen) else "zero everywhere\n"
    )
    side.set_title(f"along the rows: {measured}; computed {shown(field)}", fontsize=11)
    side.set(yticks=[], xlabel="row of the image", ylim=(0, None))
    side.spines[["top", "right", "left"]].set_visible(False)
    drawing.caption(figure, f"Receptive field: {words}", [shortened(each) for each in equations])


def shortened(text: str, most: int = 130) -> str:
    """Long sums lose their middle in the picture; the page has them whole."""
    return text if len(text) <= most else f"{text[: most // 2]} … {text[-most // 2 :]}"
