"""A classifier becomes a dense one: the same weights, with scores on a grid instead of one row (paper, section 3.1).

A fully connected layer weighs all numbers of a C x H x W map. So does a convolution whose kernel is as large as the
map: its one window is the map, and its weights are the same numbers, (OUT, C·H·W) reshaped to (OUT, C, H, W). On the
map of a larger image the window has room for several steps, and gives the scores of as many overlapping crops, while
the layers before it look at every pixel once. (examples/amortization.py measures what that saves.)

Whatever else makes one row of a map must learn to slide, too. A mean over the whole map becomes a mean over windows of
that size. Flatten only lines numbers up, and goes.
"""

import copy
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from .. import nn
from ..ops.adaptive import window_means
from ..ops.im2col import Pair, window_settings
from ..tensor import Tensor, no_grad
from .backbone import Classifier
from .googlenet import GoogLeNetClassifier

NAME = "convolutionalize"


def convolutionalize(classifier: nn.Module, input_size: int | Pair, pooling: str = "window") -> nn.Module:
    """The dense form of a classifier: x (N, C, H, W) → scores (N, K, H', W'), for images of `input_size` and larger.

    classifier: one of this library's, or a Sequential of yours with Flatten and Linear. It stays as it is: what is
    returned has copies of its weights, under the same names, so that `surgery.transplant` takes them back and forth.
    Mode, dtype and device are the classifier's.
    input_size: (H, W) of the images it was trained on, or one number for both. An image of this size gets one pixel,
    whose scores are the classifier's.
    pooling: what becomes of a mean over the whole map. "window": a mean over windows of that size. "drop": nothing, so
    that every pixel of the map gets scores, as in the paper's FCN-GoogLeNet. Where only linear layers follow, the
    classifier's scores are the mean of these.
    Errors: ValueError naming the layer that does not fit, TypeError for a network of another kind.
    Source: paper, section 3.1, figure 2 and section 4.1; the reference repository's surgery.py.
    """
    if pooling not in ("window", "drop"):
        raise ValueError(f"{NAME}: pooling is 'window' or 'drop', got {pooling!r}")
    (size,) = window_settings(NAME, input_size=input_size)
    if not isinstance(classifier, Classifier) and not is_chain(classifier):
        raise TypeError(
            f"{NAME}: a {type(classifier).__name__} does not say in which order its layers go; give it a classifier of "
            "this library, or a Sequential"
        )
    dense = copy.deepcopy(classifier)
    dense.zero_grad()
    if isinstance(dense, GoogLeNetClassifier) and dense.aux_logits:
        dense.aux_logits = False  # the two heads halfway down only help in training
        del dense.aux1, dense.aux2
    dense.eval()  # for the trial run: nothing is dropped, no statistics are recorded
    with no_grad():
        Trial(dense, size).replace_layers(drop=pooling == "drop")
    return dense.train(classifier.training)


class Trial:
    """Takes a picture through the network layer by layer, and replaces those that make one row of a map.

    x is what the classifier makes of the picture, and y what its dense form does: the same numbers in another shape. A
    layer behind which they differ cannot be used on maps, and is named.
    """

    def __init__(self, dense: nn.Module, size: Pair) -> None:
        self.dense, self.size = dense, size
        first = next(dense.parameters(), None)
        if first is None:
            raise ValueError(f"{NAME}: this {type(dense).__name__} has no weights, so it is no classifier")
        shape = (1, image_channels(dense, size), *size)
        picture = np.random.default_rng(0).normal(size=shape).astype(first.dtype)  # of zeros, all maps would be alike
        self.x = self.y = Tensor(picture, device=first.device)  # (1, C, H, W)

    def replace_layers(self, drop: bool) -> None:
        if isinstance(self.dense, Classifier):
            self.x = self.y = self.attempt(lambda x: self.dense.maps(x)[-1], "the backbone")  # dense as it is
        flattened = None  # shape of the map that Flatten has lined up, until a Linear has read it
        replaced = False
        for place in layers_in_order(self.dense):
            layer, before = place.layer, self.x
            if isinstance(layer, nn.Linear):
                self.check_linear(place.name, layer, flattened)
            self.x = self.attempt(layer, place.name)
            if isinstance(layer, nn.Flatten):
                check_flatten(place.name, layer, before)
                flattened, substitute = before.shape, Identity()
            elif isinstance(layer, nn.Linear):
                kernel = (1, 1) if flattened is None else flattened[2:]
                flattened, substitute = None, as_convolution(layer, kernel)
            elif pools_the_whole_map(layer, before):
                substitute = self.sliding_mean(place.name, before.shape, self.x.shape)
            else:
                check_slides(place.name, layer, before, self.x)
                substitute = layer
            self.y = substitute(self.y)
            self.compare(place.name)
            if substitute is not layer:
                dropped = drop and isinstance(substitute, nn.AvgPool2d) and self.x.shape[2:] == (1, 1)
                setattr(place.owner, place.attribute, Identity() if dropped else substitute)
                replaced = True
        if flattened is not None and flattened[2:] != (1, 1):
            raise ValueError(
                f"{NAME}: no Linear reads the {map_of(flattened)} that Flatten lines up, so nothing says which of its "
                "numbers is the score of what"
            )
        if not replaced:
            raise ValueError(f"{NAME}: there is no Linear, Flatten or mean over the whole map; the network is dense")

    def attempt(self, layer: Callable[[Tensor], Tensor], name: str) -> Tensor:
        """layer(x), with a word about where it went wrong."""
        try:
            return layer(self.x)
        except ValueError as error:
            H, W = self.size
            raise ValueError(
                f"{NAME}: {name} cannot take the {tuple(self.x.shape)} that an image of {H}x{W} leads to: {error}"
            ) from None

    def check_linear(self, name: str, layer: nn.Linear, flattened: tuple[int, ...] | None) -> None:
        """A Linear reads a row of numbers, and the first one exactly those of the map."""
        if self.x.ndim == 4:
            raise ValueError(f"{NAME}: {name} is a Linear but meets a {map_of(self.x.shape)}; put Flatten before it")
        takes = layer.weight.shape[1]
        if flattened is None or self.x.shape[1] == takes:
            return
        (H, W), C = self.size, flattened[1]
        side = round((takes / C) ** 0.5)
        wanted = f" ({takes} = {C}x{side}x{side})" if C * side * side == takes else ""
        raise ValueError(
            f"{NAME}: {name} takes {takes} numbers{wanted}, but an image of {H}x{W} leads to a {map_of(flattened)}; "
            "input_size must be that of the images it was trained on"
        )

    def sliding_mean(self, name: str, before: tuple[int, ...], after: tuple[int, ...]) -> nn.Module:
        """The mean over windows one pixel apart that gives `after`, or the Identity where they are single pixels."""
        kernel = tuple(n - out + 1 for n, out in zip(before[2:], after[2:], strict=True))
        for n, out, k in zip(before[2:], after[2:], kernel, strict=True):
            if k < 1 or not np.array_equal(window_means(np, n, out), sliding_means(n, k)):
                sizes = " or ".join(f"{OH}x{OW}" for OH, OW in (after[2:], (after[2] + 1, after[3] + 1)))
                near = "x".join(str(n * out // b) for n, out, b in zip(self.size, after[2:], before[2:], strict=True))
                raise ValueError(
                    f"{NAME}: {name} makes {after[2]}x{after[3]} of a {map_of(before)}, and no window that slides by "
                    f"one pixel does that; it fits maps of {sizes}, which images of about {near} lead to"
                )
        return Identity() if kernel == (1, 1) else nn.AvgPool2d(kernel, stride=1)

    def compare(self, name: str) -> None:
        """x and y, up to rounding."""
        x, y = self.x.numpy().ravel(), self.y.numpy().ravel()
        if x.size != y.size or abs(x - y).max() > 1e-3 * abs(x).max():
            raise ValueError(
                f"{NAME}: {name} does something else to a map than to a row of numbers, so it cannot become dense"
            )


# --- one layer at a time ----------------------------------------------------------------------------------


class Identity(nn.Module):
    """x, unchanged: it stands where a layer has gone, so that the others keep their names."""

    def forward(self, x: Tensor) -> Tensor:
        return x


def as_convolution(linear: nn.Linear, kernel: Pair) -> nn.Conv2d:
    """The convolution that does with every window of size `kernel` what `linear` does with one row of numbers."""
    OUT, IN = linear.weight.shape
    KH, KW = kernel
    conv = nn.Conv2d(1, 1, kernel)  # its weights are replaced at once
    weight = linear.weight.data.reshape(OUT, IN // (KH * KW), KH, KW)
    conv.weight = nn.Parameter(weight, linear.weight.requires_grad, linear.weight.device)
    conv.bias = linear.bias
    return conv


def pools_the_whole_map(layer: nn.Module, x: Tensor) -> bool:
    """Whether the layer's windows depend on the map's size, or are as large as the map."""
    if isinstance(layer, nn.AdaptiveAvgPool2d):
        return True
    return isinstance(layer, nn.AvgPool2d) and layer.padding == (0, 0) and layer.kernel_size == tuple(x.shape[2:])


def sliding_means(size: int, kernel: int) -> np.ndarray:
    """(size - kernel + 1, size): row o holds 1/kernel at pixels o … o + kernel - 1; see window_means."""
    offset = np.arange(size) - np.arange(size - kernel + 1)[:, None]
    return ((offset >= 0) & (offset < kernel)) / kernel


def check_flatten(name: str, layer: nn.Flatten, x: Tensor) -> None:
    if x.ndim != 4:
        raise ValueError(f"{NAME}: {name} is a Flatten where the map is flat already; leave it out")
    if layer.start != 1:
        raise ValueError(
            f"{NAME}: {name} is Flatten(start={layer.start}); a classifier's is Flatten(), one row per image"
        )


def check_slides(name: str, layer: nn.Module, before: Tensor, after: Tensor) -> None:
    """Layers that stay must make maps of maps, by windows."""
    if before.ndim != 4 or before.shape[2:] == after.shape[2:]:
        return
    if after.ndim != 4 or not layer.windows():
        raise ValueError(
            f"{NAME}: {name} ({type(layer).__name__}) makes {tuple(after.shape)} of a {map_of(before.shape)} without "
            "naming windows; write it as AdaptiveAvgPool2d, Flatten and Linear, or give it windows()"
        )


# --- the network ------------------------------------------------------------------------------------------


class Place(NamedTuple):
    """Where a layer is kept: it is getattr(owner, attribute), and has a dotted name within the network."""

    owner: nn.Module
    attribute: str
    name: str

    @property
    def layer(self) -> nn.Module:
        return getattr(self.owner, self.attribute)


def layers_in_order(network: nn.Module) -> list[Place]:
    """The places of a Sequential's layers, or of a Classifier's top."""
    if not isinstance(network, Classifier):
        return list(chain(network))
    places = {}
    for prefix, owner in network.named_modules():
        for attribute, layer in owner.children():
            places[id(layer)] = Place(owner, attribute, f"{prefix}.{attribute}" if prefix else attribute)
    return [places[id(layer)] for layer in network.top()]


def chain(sequential: nn.Sequential, prefix: str = "") -> Iterator[Place]:
    """The places of the layers of a Sequential and of the Sequentials in it, in the order in which they run."""
    for attribute, layer in sequential.children():
        name = f"{prefix}.{attribute}" if prefix else attribute
        if is_chain(layer):
            yield from chain(layer, name)
        else:
            yield Place(sequential, attribute, name)


def is_chain(module: nn.Module) -> bool:
    """Whether it is a Sequential that runs its layers one after the other (a ModuleList does not)."""
    return isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward


def image_channels(network: nn.Module, size: Pair) -> int:
    """How many channels the first convolution expects, or a Linear that reads the image itself."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            return layer.weight.shape[1] * layer.groups
        if isinstance(layer, nn.Linear):
            return max(1, layer.weight.shape[1] // (size[0] * size[1]))
    raise ValueError(f"{NAME}: there is no convolution and no Linear in this {type(network).__name__}")


def map_of(shape: tuple[int, ...]) -> str:
    """ "map of 512x7x7": the shape, without the images."""
    return f"map of {'x'.join(str(n) for n in shape[1:])}"
