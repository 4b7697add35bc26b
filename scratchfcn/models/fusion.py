"""Nets of several inputs or several outputs: depth beside colour (NYUDv2), geometry beside semantics (SIFT Flow).

Depth can join colour at either end of the network (paper, section 5, table 4):

    early fusion   an image of four channels, red, green, blue and depth. This is any FCN with in_channels=4. Its first
                   convolution comes from a net of colour images by `surgery.expand_input`; all else by name.
    late fusion    `TwoStream`: two nets side by side, one on colour, one on HHA (depth as three channels: horizontal
                   disparity, height above ground, angle with gravity). The mean of their scores is upsampled.

Early fusion gained the paper little, perhaps because what the first layer should learn has to come back through the
whole net; late fusion gained more. It starts from two nets that were trained alone.

`TwoHeads` is the opposite, one input and two answers: a trunk (backbone, fc6, fc7) learns from two tasks at once, what
a pixel is (33 semantic classes) and how it lies (3 geometric ones: horizontal, vertical, sky). Each task has its own
score layers and upsampling, and the loss is the sum of both (paper, section 5, SIFT Flow, and table 5):

    scores = model(x)
    loss = ops.softmax_cross_entropy(scores["semantic"], semantic_labels)
    loss = loss + ops.softmax_cross_entropy(scores["geometric"], geometric_labels)

An FCN goes image → features → scores → upsampling. Here these are parts that can be had twice: `Trunk`, with scores
`Stream`, and `Upsampling`. Layers have the names they have in fcn.py, so that weights go over by name.

`build("fcn16s_vgg16", 40, in_channels=6, fusion="late")` and `build("fcn16s_vgg16", 33, num_geometric=3)` make them by
name, and `scratchfcn train` for the data sets nyudv2-rgb-hha and siftflow-both.

Source: the reference implementation's nyud-fcn32s-color-d, nyud-fcn32s-color-hha and siftflow-fcn16s.
"""

from collections.abc import Sequence

from .. import nn, ops
from ..backend import array_module
from ..geometry import Grid, crop_offset
from ..tensor import Tensor
from .backbones import make_backbone
from .fcn import FCN, add_aligned, crop_to_image, later_start, upsampling_window

# By kind: the score layers, coarsest map first, and the upsampling behind each, as fcn.py calls them.
SCORE_LAYERS = {
    "fcn32s": ("score_fr",),
    "fcn16s": ("score_fr", "score_pool4"),
    "fcn8s": ("score_fr", "score_pool4", "score_pool3"),
}
UPSAMPLING_LAYERS = {
    "fcn32s": ("upscore",),
    "fcn16s": ("upscore2", "upscore16"),
    "fcn8s": ("upscore2", "upscore_pool4", "upscore8"),
}

# --- the parts --------------------------------------------------------------------------------------------


class Trunk(nn.Module):
    """An FCN up to its features: x (N, C, H, W) → those of fc7 (stride 32), and of pool4 and pool3 where it has skips.

    channels: of each of these maps. grids: where they lie on the image.
    """

    def __init__(self, kind: str, backbone: nn.Module, dropout: float = 0.5) -> None:
        if kind not in SCORE_LAYERS:
            raise ValueError(f"kind {kind!r} is not known; there are {', '.join(SCORE_LAYERS)}")
        self.kind = kind
        net = FCN(backbone, num_classes=1, dropout=dropout)  # makes the parts; its score layer is not used
        self.backbone, self.fc6, self.fc7, self.dropout = net.backbone, net.fc6, net.fc7, net.dropout
        maps = len(SCORE_LAYERS[kind])
        pool3, pool4, _ = backbone.channels
        self.channels = (net.score_fr.weight.shape[1], pool4, pool3)[:maps]
        self.grids = (net.score_grid, net.pool4_grid, net.pool3_grid)[:maps]

    def features(self, x: Tensor) -> list[Tensor]:
        pool3, pool4, h = self.backbone(x)
        if self.fc6 is not None:
            h = self.dropout(ops.relu(self.fc6(h)))
            h = ops.relu(self.fc7(h))
        return [self.dropout(h), pool4, pool3][: len(self.channels)]


class Stream(Trunk):
    """An FCN up to its scores: x (N, C, H, W) → a map (N, num_classes, …) for each feature map, coarsest first."""

    def __init__(self, kind: str, backbone: nn.Module, num_classes: int, dropout: float = 0.5) -> None:
        super().__init__(kind, backbone, dropout)
        self.num_classes = num_classes
        add_score_layers(self, kind, self.channels, num_classes)

    def forward(self, x: Tensor) -> list[Tensor]:
        return scores(self, self.features(x))


def add_score_layers(module: nn.Module, kind: str, channels: Sequence[int], num_classes: int) -> None:
    """Give the module a 1x1 convolution for each feature map, zero at first."""
    for name, width in zip(SCORE_LAYERS[kind], channels, strict=True):
        layer = nn.Conv2d(width, num_classes, 1)
        nn.init.zeros(layer.weight)
        nn.init.zeros(layer.bias)
        setattr(module, name, layer)


def scores(module: nn.Module, features: list[Tensor]) -> list[Tensor]:
    """The feature maps through the score layers that `add_score_layers` gave the module."""
    return [getattr(module, name)(h) for name, h in zip(SCORE_LAYERS[module.kind], features, strict=True)]


class Upsampling(nn.Module):
    """An FCN behind its scores: maps (N, num_classes, …), coarsest first, → (N, num_classes, H, W).

    What fcn.py writes out for each net, as a loop: upsample, add the next map where both lie on the same pixels, and in
    the end crop to the image. grids: where the maps lie. learn_upsampling: whether the bilinear kernels learn.
    """

    def __init__(self, kind: str, grids: Sequence[Grid], num_classes: int, learn_upsampling: bool = True) -> None:
        if num_classes < 1:
            raise ValueError(f"{type(self).__name__}: there must be at least 1 class, got {num_classes}")
        self.kind, self.num_classes = kind, num_classes
        *to_skips, to_image = UPSAMPLING_LAYERS[kind]
        self.offsets = []  # how many rows and columns each skip starts before the upsampled map it is added to
        fused = grids[0]
        for name, skip in zip(to_skips, grids[1:], strict=True):
            upsampled = self.add_upsampling(name, fused, skip, learn_upsampling)
            self.offsets.append(crop_offset(skip, upsampled))
            fused = later_start(skip, upsampled)
        self.crop = crop_to_image(self.add_upsampling(to_image, fused, Grid(), learn_upsampling))

    def add_upsampling(self, name: str, source: Grid, target: Grid, learn: bool) -> Grid:
        """Make the layer that takes `source` to the stride of `target`, bilinear at first; where its output lies."""
        factor, kernel = upsampling_window(source, target)
        layer = nn.ConvTranspose2d(self.num_classes, self.num_classes, kernel, stride=factor, bias=False)
        nn.init.bilinear(layer.weight)
        layer.weight.requires_grad = learn
        setattr(self, name, layer)
        return source.through(*layer.windows())

    def upsample(self, maps: list[Tensor], size: tuple[int, int]) -> Tensor:
        *to_skips, to_image = [getattr(self, name) for name in UPSAMPLING_LAYERS[self.kind]]
        fused, *skips = maps
        for layer, skip, offset in zip(to_skips, skips, self.offsets, strict=True):
            fused = add_aligned(skip, layer(fused), offset)
        return ops.crop(to_image(fused), size, (self.crop, self.crop))  # (N, K, H, W)


# --- two inputs -------------------------------------------------------------------------------------------


class TwoStream(Upsampling):
    """Late fusion: x (N, C + D, H, W), colour and then HHA along the channels, → scores (N, num_classes, H, W).

    One tensor holds both, so that whatever is done to an image (crops, flips, batches) is done to both alike. Fused is
    wherever an FCN scores: the 16s also averages the two scores of pool4. `color` and `hha` are called what the single
    nets' weights need: surgery.transplant(model, weights, prefix_out="color."). Missing depth is best 0: a NaN or
    infinity in one half of the channels spoils the other half's scores at that pixel, too.

    color_channels: how many of x's channels go to `color`; the others go to `hha`.
    Errors: ValueError for streams that differ in kind, classes or geometry.
    """

    color_weight, hha_weight = 0.5, 0.5

    def __init__(self, color: Stream, hha: Stream, color_channels: int = 3, learn_upsampling: bool = True) -> None:
        for what in ("kind", "num_classes", "grids"):
            if getattr(color, what) != getattr(hha, what):
                raise ValueError(
                    f"TwoStream: the two streams differ in {what}: {getattr(color, what)} and {getattr(hha, what)}; "
                    "only scores of the same classes at the same places can be averaged"
                )
        self.color_channels = color_channels
        self.color = color
        self.hha = hha
        super().__init__(color.kind, color.grids, color.num_classes, learn_upsampling)

    def forward(self, x: Tensor) -> Tensor:
        C = self.color_channels
        if x.shape[1] <= C:
            raise ValueError(
                f"TwoStream: x {x.shape} has {x.shape[1]} channels, and the first {C} are for `color`: nothing is left "
                "for `hha`; join both along the channels, as in ops.concat([color, hha])"
            )
        color = self.color(take_channels(x, 0, C))
        hha = self.hha(take_channels(x, C, x.shape[1]))
        fused = [self.color_weight * a + self.hha_weight * b for a, b in zip(color, hha, strict=True)]
        return self.upsample(fused, x.shape[2:])


def take_channels(x: Tensor, start: int, stop: int) -> Tensor:
    """x[:, start:stop] as a 1x1 convolution with a matrix of zeros and ones: no op of its own, for little work."""
    C = x.shape[1]
    select = array_module(x.data).eye(C, dtype=x.dtype)[start:stop]  # (stop - start, C)
    return ops.conv1x1(x, Tensor(select.reshape(-1, C, 1, 1), device=x.device))


# --- two outputs ------------------------------------------------------------------------------------------


class Head(Upsampling):
    """One task: features → scores (N, num_classes, H, W), with score layers and upsampling of its own."""

    def __init__(self, trunk: Trunk, num_classes: int, learn_upsampling: bool = True) -> None:
        super().__init__(trunk.kind, trunk.grids, num_classes, learn_upsampling)
        add_score_layers(self, trunk.kind, trunk.channels, num_classes)

    def forward(self, features: list[Tensor], size: tuple[int, int]) -> Tensor:
        return self.upsample(scores(self, features), size)


class TwoHeads(Trunk):
    """x (N, C, H, W) → {"semantic": (N, num_classes, H, W), "geometric": (N, num_geometric, H, W)}.

    The trunk has a single net's names; its score layers go to one task with transplant(prefix_out="semantic.").
    """

    def __init__(
        self,
        kind: str,
        backbone: nn.Module,
        num_classes: int = 33,
        num_geometric: int = 3,
        dropout: float = 0.5,
        learn_upsampling: bool = True,
    ) -> None:
        super().__init__(kind, backbone, dropout)
        self.semantic = Head(self, num_classes, learn_upsampling)
        self.geometric = Head(self, num_geometric, learn_upsampling)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        features, size = self.features(x), x.shape[2:]
        return {"semantic": self.semantic(features, size), "geometric": self.geometric(features, size)}


# --- by name ----------------------------------------------------------------------------------------------


def two_stream(
    kind: str = "fcn32s",
    backbone: str = "vgg16",
    num_classes: int = 40,
    in_channels: int = 6,
    batch_norm: bool = False,
    dropout: float = 0.5,
    learn_upsampling: bool | None = None,
    recipe: str | None = None,
) -> TwoStream:
    """NYUDv2's net: x (N, in_channels, H, W), the first three channels colour, → scores (N, num_classes, H, W).

    kind: "fcn32s", "fcn16s" or "fcn8s". backbone, by name, batch_norm and recipe: as for `fcn32s`.
    Errors: ValueError where these do not go together, or in_channels leaves nothing for the second stream.
    """
    if not isinstance(backbone, str):
        raise ValueError(
            "two_stream: each stream needs a backbone of its own, so give one by name, or put them together yourself: "
            'TwoStream(Stream("fcn32s", one, 40), Stream("fcn32s", another, 40))'
        )
    if in_channels < 4:
        raise ValueError(f"two_stream: in_channels is 3 for colour and some for the second stream, got {in_channels}")
    color, hha = (
        Stream(kind, make_backbone(backbone, channels, batch_norm, recipe), num_classes, dropout)
        for channels in (3, in_channels - 3)
    )
    learn = recipe != "caffe" if learn_upsampling is None else learn_upsampling
    return TwoStream(color, hha, learn_upsampling=learn)


def two_heads(
    kind: str = "fcn16s",
    backbone: str | nn.Module = "vgg16",
    num_classes: int = 33,
    num_geometric: int = 3,
    in_channels: int = 3,
    batch_norm: bool = False,
    dropout: float = 0.5,
    learn_upsampling: bool | None = None,
    recipe: str | None = None,
) -> TwoHeads:
    """SIFT Flow's net: x (N, in_channels, H, W) → scores for "semantic" and "geometric" classes; see `TwoHeads`.

    kind: "fcn32s", "fcn16s" or "fcn8s". backbone, batch_norm and recipe: as for `fcn16s`.
    """
    learn = recipe != "caffe" if learn_upsampling is None else learn_upsampling
    body = make_backbone(backbone, in_channels, batch_norm, recipe)
    return TwoHeads(kind, body, num_classes, num_geometric, dropout, learn)
