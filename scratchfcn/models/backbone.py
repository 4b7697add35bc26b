"""What an FCN stands on: a classifier without its classifier.

Networks that classify images all do the same at first: they shrink the image, a factor of two at a time, into maps that
say less and less about where and more and more about what. A `Backbone` is this part. It returns the maps of stride 8,
16 and 32, which the paper calls pool3, pool4 and pool5, and knows the windows that lead to them, from which
geometry.py works out how the maps lie on the image.

A `Classifier` is a backbone with its top: the layers that boil the last map down to one row of scores for the whole
image. It has torchvision's names for everything, so that its weights load by name. An FCN takes the backbone and
leaves the top (paper, section 4.1).
"""

from collections.abc import Sequence
from typing import ClassVar

from .. import nn, ops
from ..geometry import Window
from ..tensor import Tensor


class Backbone(nn.Module):
    """x (N, C, H, W) → its maps of stride 8, 16 and 32. A subclass makes the layers, and says in `stages` how they go.

    channels: of the three maps. head: how an FCN goes on, with "kernel" and "padding" of fc6 and the "width" of fc6 and
    fc7; None where it scores the last map as it is, because the classifier had no fully connected layers before its
    last. classifier_names: where the classifier keeps what fc6 and fc7 can start from, {"classifier.0": "fc6"}.
    """

    channels: tuple[int, int, int]
    head: dict[str, int] | None = None
    classifier_names: ClassVar[dict[str, str]] = {}

    def stages(self) -> Sequence[Sequence[nn.Module]]:
        """The layers that lead from the image to the map of stride 8, from there to 16, and from there to 32."""
        raise TypeError(f"{type(self).__name__} defines no stages(self)")

    def enlarged(self, size: int) -> int:
        """How many rows (or columns) an image of `size` needs so that the maps reach its end. Windows that round down
        leave out the last rows; zeros after them bring these in."""
        return size

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        if x.ndim != 4:
            hint = "; one image becomes a batch of one by x[None]" if x.ndim == 3 else ""
            raise ValueError(f"{type(self).__name__}: x must be images (N, C, H, W), got shape {x.shape}{hint}")
        H, W = x.shape[2:]
        below, right = self.enlarged(H) - H, self.enlarged(W) - W
        return self.maps(ops.pad(x, (0, right, 0, below)) if below or right else x)

    def maps(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, C, H, W) → (N, channels[0], H/8, W/8), (N, channels[1], H/16, W/16), (N, channels[2], H/32, W/32)."""
        maps = []
        for stage in self.stages():
            for layer in stage:
                x = layer(x)
            maps.append(x)
        return tuple(maps)

    def pool_windows(self) -> tuple[list[Window], ...]:
        """The windows along the rows of each stage."""
        return tuple([window for layer in stage for window in layer.windows()] for stage in self.stages())


def up_to_last_centre(size: int) -> int:
    """For maps centred on 32·i: as many rows as it takes for one of them to lie on the last row, or behind it.

    32 rows would do for one centre, on the first of them. Bilinear upsampling makes a score fade with the distance from
    its centre, and the last rows' would be almost nothing.
    """
    return -(-(size - 1) // 32) * 32 + 1


class Classifier(Backbone):
    """Put before a backbone among the bases, it makes a classifier of it: x (N, C, H, W) → scores (N, K).

    It is fed with images of the size it was trained on, or nearly so; models/convolutionalize.py has no such limit.
    """

    def top(self) -> list[nn.Module]:
        """The layers from the last map to the scores."""
        raise TypeError(f"{type(self).__name__} defines no top(self)")

    def forward(self, x: Tensor) -> Tensor:
        *_, x = self.maps(x)
        for layer in self.top():
            x = layer(x)
        return x  # (N, K)


def he_conv(
    in_channels: int, out_channels: int, kernel: int, stride: int = 1, padding: int = 0, groups: int = 1
) -> nn.Conv2d:
    """A convolution that starts with He's weights and a bias of zero: for layers that ReLU follows."""
    conv = nn.Conv2d(in_channels, out_channels, kernel, stride, padding, groups=groups)
    nn.init.he(conv.weight)
    nn.init.zeros(conv.bias)
    return conv


def he_conv_no_bias(
    in_channels: int, out_channels: int, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1
) -> nn.Conv2d:
    """The same without a bias: for layers that batch norm follows, which has one of its own."""
    conv = nn.Conv2d(in_channels, out_channels, kernel, stride, padding, dilation, bias=False)
    nn.init.he(conv.weight)
    return conv
