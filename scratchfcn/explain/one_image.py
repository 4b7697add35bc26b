"""One image through one network, kept for looking at: some of its maps, the scores, and gradients back to all of them.

The network is any that a checkpoint describes, a classifier whose weights the user has (it becomes dense, as in the
paper's section 3.1, so that it scores every place), or a small FCN that learns for a few seconds when there is neither.
The ops are watched from outside while it runs, as the tracer does; no network needs to know of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .. import backend, data, models, nn, ops
from .. import optim as optimisers
from ..backend import to_numpy
from ..data import Classes, Normalise, read_image, resize_image
from ..geometry import Grid
from ..inspection import Row, dry_run
from ..inspection.trace_calls import watched
from ..tensor import Function, Tensor
from ..training import Network
from ..training.network import network_from
from ..training.objective import main_output, segmentation_loss
from ..weights import load
from .page import SettingsError

LONGEST = 320  # rows or columns; larger pictures are made smaller
KINDS, PICTURE, STEPS, BATCH = ("circle", "square", "cross"), 64, 150, 8  # of the network that learns for a few seconds
SHOWN_OPS = ("relu", "relu6", "max_pool2d", "avg_pool2d", "concat", "add")
SCORE_OPS = ("conv2d", "conv1x1", "conv_transpose2d", "add", "resize_bilinear")
MOST_MAPS, MOST_SCORES = 8, 8  # layers shown


@dataclass
class Subject:
    """A network, ready to score an image. note: what the reader should know of it."""

    model: nn.Module
    name: str
    classes: tuple[str, ...]
    normalise: Normalise
    size: tuple[int, int] | None = None
    classifier: bool = False  # names the whole picture, and was made dense
    note: str = ""


@dataclass
class Layer:
    """An op's output. scores: whether its maps are the classes' scores. gradients: of every target's score by it."""

    row: Row
    output: np.ndarray  # (C, H, W)
    scores: bool
    gradients: list[np.ndarray] = field(default_factory=list)  # each (C, H, W)


@dataclass
class Target:
    """One score to explain: that of a class at a pixel of the output."""

    class_id: int
    row: int
    column: int
    score: float
    probability: float
    gradient: np.ndarray  # by the image, (3, H, W)


@dataclass
class Run:
    """All that is kept. grid: where the output's pixels lie on the image."""

    subject: Subject
    image: np.ndarray  # uint8 (H, W, 3), as it was fed
    scores: np.ndarray  # (K, h, w)
    grid: Grid | None
    layers: list[Layer]
    targets: list[Target]


# --- the network and the image ------------------------------------------------------------------------------


def subject_of(
    weights: str | Path | None = None,
    model: str | None = None,
    names: str | Path | None = None,
    num_classes: int | None = None,
) -> Subject:
    """The network that is meant: a checkpoint says which it is; for other weights, model and num_classes do.

    Errors: SettingsError where that is not clear, CheckpointError for the file.
    """
    if weights is None:
        if model is not None:
            raise SettingsError(f"feature-maps: --model {model} needs --weights; untrained maps would show nothing")
        return quick_network()
    checkpoint = load(weights)
    if "model" in checkpoint.metadata:
        if model not in (None, checkpoint.metadata["model"]):
            raise SettingsError(
                f"feature-maps: {weights} says that it is {checkpoint.metadata['model']}; leave out --model {model}"
            )
        network = network_from(weights, checkpoint.arrays, checkpoint.metadata)
        if network.channels != 3:
            raise SettingsError(
                f"feature-maps: {weights} holds a network for images of {network.channels} channels, and a photograph "
                "has three; take one of colour alone"
            )
        found = Subject(network.model, network.name, network.classes.names, network.normalise, network.size)
        return with_names(found, names)
    if model is None:
        raise SettingsError(
            f"feature-maps: {weights} holds weights but does not say of which network; say it with --model, for "
            "example --model squeezenet1_0 (`scratchfcn models` lists all)"
        )
    return with_names(named_network(weights, checkpoint.arrays, model, num_classes), names)


def named_network(weights: str | Path, arrays: dict[str, np.ndarray], model: str, num_classes: int | None) -> Subject:
    """A network by name with somebody's weights; a classifier is made dense, so that it scores every place."""
    if model not in models.NAMES:
        raise SettingsError(f"feature-maps: model {model!r} is not known; `scratchfcn models` lists all")
    network = models.build(model, num_classes).eval()
    report = models.start_from(network, arrays)
    own = [name for name in report.missing if not name.endswith("num_batches_tracked")]
    note = f"{Path(weights).name} has nothing for {', '.join(own[:3])}: what these give is random." if own else ""
    classifier = models.NAMES[model].kind == "classifier"
    K = models.NAMES[model].default_classes if num_classes is None else num_classes
    if classifier:
        network = models.convolutionalize(network, 224, pooling="drop")
    classes = Classes.voc().names if K == 21 else tuple(f"class {k}" for k in range(K))
    return Subject(network, model, classes, Normalise(), None, classifier, note)


def with_names(subject: Subject, names: str | Path | None) -> Subject:
    """The classes called as a text file says, one in a line; of several names for one, the first."""
    if names is not None:
        given = tuple(line.split(",")[0].strip() for line in Path(names).read_text(encoding="utf-8").splitlines())
        if len(given) != len(subject.classes):
            raise SettingsError(
                f"feature-maps: {names} has {len(given)} lines, the network {len(subject.classes)} classes"
            )
        subject.classes = given
    return subject


def quick_network(steps: int | None = None) -> Subject:
    """An FCN-8s that has learned for a few seconds to find three kinds of shapes."""
    steps = STEPS if steps is None else steps
    pictures = data.Shapes(BATCH * steps, (PICTURE, PICTURE), 0, (1, 2), KINDS)
    chance = backend.generator().bit_generator
    before = chance.state
    backend.manual_seed(0)  # the same page every time
    network = Network.build("fcn8s_small", pictures.classes, batch_norm=True, dropout=0.0)
    chance.state = before
    optimiser = optimisers.Adam(network.model.parameters(), 3e-3)
    for start in range(0, len(pictures), BATCH):
        pairs = [pictures.read(i) for i in range(start, start + BATCH)]
        x = Tensor(np.concatenate([network.prepare(image) for image, _ in pairs]))  # (N, 3, H, W)
        loss = segmentation_loss(network.model(x), np.stack([label for _, label in pairs]))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    note = f"It has learned for {steps} steps only, on pictures of {', '.join(KINDS)}."
    return Subject(network.model, network.name, pictures.classes.names, network.normalise, note=note)


def picture_for(subject: Subject, path: str | Path | None) -> np.ndarray:
    """The image as the network gets it: uint8 (H, W, 3)."""
    if path is None:
        image, _ = data.Shapes(8, (PICTURE, PICTURE), 1, (2, 2), KINDS).read(3)
    else:
        image = read_image(path)
    scale = min(1.0, LONGEST / max(image.shape[:2]))
    size = subject.size or tuple(max(1, round(n * scale)) for n in image.shape[:2])
    return np.ascontiguousarray(resize_image(image, size))


# --- running ------------------------------------------------------------------------------------------------


class Keeper:
    """Looks over the ops' shoulders, and keeps what the chosen ones give and what flows back to them."""

    def __init__(self, chosen: list[int]) -> None:
        self.chosen, self.busy, self.count = set(chosen), False, 0
        self.kept: dict[int, np.ndarray] = {}  # number of the call → output
        self.numbers: dict[int, int] = {}  # id of the op → number of the call
        self.gradients: dict[int, np.ndarray] = {}
        self.functions: list[Function] = []  # kept, so that no two of them get the same id

    def forward(self, method: Callable[..., Any], function: Function, arrays: tuple[Any, ...]) -> Any:
        self.busy = True
        try:
            y = method(function, *arrays)
        finally:
            self.busy = False
        if self.count in self.chosen:
            self.kept[self.count] = to_numpy(y).copy()
            self.numbers[id(function)] = self.count
            self.functions.append(function)
        self.count += 1
        return y

    def backward(self, method: Callable[..., Any], function: Function, gy: Any) -> Any:
        if id(function) in self.numbers:
            self.gradients[self.numbers[id(function)]] = to_numpy(gy).copy()
        self.busy = True
        try:
            return method(function, gy)
        finally:
            self.busy = False


def run(subject: Subject, image: np.ndarray, most_targets: int = 3) -> Run:
    """Send the image through, choose what to explain, and send gradients back."""
    model = subject.model.to("cpu").eval()
    for parameter in model.parameters():
        parameter.requires_grad = False  # only the gradients by the image and the maps are wanted
    x = Tensor(subject.normalise(image, None)[0][None], requires_grad=True, device="cpu")  # (1, 3, H, W)
    dry = dry_run(model, x.shape)
    maps, score_maps = choose(dry.rows, len(subject.classes))
    chosen = maps + score_maps
    keeper = Keeper(chosen)
    with watched(keeper):
        output = main_output(model(x))  # (1, K, h, w)
        scores = to_numpy(output.data)[0]
        layers = [Layer(dry.rows[i], keeper.kept[i][0], i in score_maps) for i in chosen]
        targets = []
        for k, r, c in choose_targets(scores, subject.classifier, most_targets):
            seed = np.zeros(output.shape, scores.dtype)
            seed[0, k, r, c] = 1
            x.grad = None
            keeper.gradients.clear()
            output.backward(seed, retain_graph=True)
            p = to_numpy(ops.softmax(Tensor(scores[None, :, r : r + 1, c : c + 1]), axis=1).data)[0, k, 0, 0]
            targets.append(Target(k, r, c, float(scores[k, r, c]), float(p), to_numpy(x.grad)[0]))
            for i, layer in zip(chosen, layers, strict=True):
                layer.gradients.append(keeper.gradients[i][0] if i in keeper.gradients else np.zeros_like(layer.output))
    return Run(subject, image, scores, dry.rows[-1].grid, layers, targets)


def choose(rows: list[Row], K: int) -> tuple[list[int], list[int]]:
    """Which calls to show: on the way down the first map and the last one of every stride; then all maps of scores."""
    on_image = [i for i, row in enumerate(rows) if len(row.output) == 4 and row.grid and row.grid.stride > 0]
    deepest = max((rows[i].grid.stride for i in on_image), default=0)
    bottom = next((i for i in on_image if rows[i].grid.stride == deepest), 0)
    scores = [i for i in on_image if i >= bottom and rows[i].output[1] == K and rows[i].op in SCORE_OPS]
    before = [i for i in on_image if rows[i].op in SHOWN_OPS and i not in scores and i < min(scores, default=len(rows))]
    last_of_stride: dict[Any, int] = {}
    for i in before:
        if rows[i].grid.stride >= max(last_of_stride, default=0):
            last_of_stride[rows[i].grid.stride] = i
    maps = sorted({*before[:1], *last_of_stride.values()})[-MOST_MAPS:]
    if not maps and not scores:
        return on_image[-MOST_MAPS:], []
    return maps, scores[-MOST_SCORES:]


def choose_targets(scores: np.ndarray, classifier: bool, most: int) -> list[tuple[int, int, int]]:
    """(class, row, column): of a classifier the classes best on average, where each scores most; otherwise the classes
    that cover most, each at its surest pixel, the background (class 0) last."""
    if classifier:
        best = np.argsort(-scores.mean(axis=(1, 2)), kind="stable")[:most]
        return [(int(k), *divmod(int(scores[k].argmax()), scores.shape[2])) for k in best]
    p = to_numpy(ops.softmax(Tensor(scores[None]), axis=1).data)[0]  # (K, h, w)
    winner = scores.argmax(axis=0)  # (h, w)
    area = np.bincount(winner.ravel(), minlength=len(scores))
    order = sorted(np.flatnonzero(area), key=lambda k: (k == 0, -area[k]))[:most]
    return [(int(k), *divmod(int(np.where(winner == k, p[k], -1).argmax()), scores.shape[2])) for k in order]


def on_the_image(values: np.ndarray, grid: Grid | None, size: tuple[int, int]) -> np.ndarray:
    """A map (h, w) as large as the image, interpolated between the places where its pixels lie."""
    (h, w), (H, W) = values.shape, size
    if grid is None or grid.stride <= 0:
        grid = Grid()
    rows, columns = ([float(grid.centre(i)) for i in range(n)] for n in (h, w))
    wide = np.stack([np.interp(np.arange(W), columns, line) for line in values])  # (h, W)
    return np.stack([np.interp(np.arange(H), rows, line) for line in wide.T], axis=1)  # (H, W)
