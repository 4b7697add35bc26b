"""Layers: they hold the parameters and settings of an op, and calling one calls the op. Defaults are torch's."""

import math
from typing import Any

import numpy as np

from .. import ops
from ..backend import get_device, to_device
from ..geometry import Window
from ..ops.adaptive import output_pair
from ..ops.im2col import Pair, window_settings
from ..tensor import Parameter, Tensor
from . import init
from .module import Module


def new_parameter(*shape: int) -> Parameter:
    """An uninitialised float32 parameter on the default device; every layer fills its own."""
    return Parameter(np.zeros(shape, np.float32))


def check_channels(layer: str, groups: int, **channels: int) -> None:
    """Channel counts are whole numbers, positive and divisible by the groups."""
    for what, count in {"groups": groups, **channels}.items():
        if not hasattr(count, "__index__"):
            raise TypeError(f"{layer}: {what} must be a whole number, got {count!r}")
    for what, count in channels.items():
        if count < 1 or groups < 1 or count % groups:
            raise ValueError(f"{layer}: {what}={count} must be positive and divisible by groups={groups}")


class Conv2d(Module):
    """Convolution; weight (out_channels, in_channels/groups, KH, KW), bias (out_channels,). See ops/conv.py."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Pair,
        stride: int | Pair = 1,
        padding: int | Pair = 0,
        dilation: int | Pair = 1,
        groups: int = 1,
        bias: bool = True,
    ) -> None:
        check_channels("Conv2d", groups, in_channels=in_channels, out_channels=out_channels)
        self.kernel_size, self.stride, self.padding, self.dilation = window_settings(
            "Conv2d", kernel_size=kernel_size, stride=stride, padding=padding, dilation=dilation
        )
        self.groups = groups
        KH, KW = self.kernel_size
        self.weight = new_parameter(out_channels, in_channels // groups, KH, KW)
        self.bias = new_parameter(out_channels) if bias else None
        bound = 1.0 / math.sqrt(init.fan_in(self.weight))
        init.uniform(self.weight, bound)
        if bias:
            init.uniform(self.bias, bound)

    def forward(self, x: Tensor) -> Tensor:
        return ops.conv2d(x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)

    def windows(self) -> list[Window]:
        return [Window(self.kernel_size[0], self.stride[0], self.padding[0], self.dilation[0])]

    def describe(self) -> str:
        C, OC = self.weight.shape[1] * self.groups, self.weight.shape[0]
        return f"{C}, {OC}, kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class ConvTranspose2d(Module):
    """Transposed convolution; weight (in_channels, out_channels/groups, KH, KW), bias (out_channels,)."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Pair,
        stride: int | Pair = 1,
        padding: int | Pair = 0,
        output_padding: int | Pair = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: int | Pair = 1,
    ) -> None:
        check_channels("ConvTranspose2d", groups, in_channels=in_channels, out_channels=out_channels)
        self.kernel_size, self.stride, self.padding, self.output_padding, self.dilation = window_settings(
            "ConvTranspose2d",
            kernel_size=kernel_size,
            stride=stride,
            padding=padding,
            output_padding=output_padding,
            dilation=dilation,
        )
        self.groups = groups
        ops.ConvTranspose2d(stride, padding, output_padding, groups, dilation)  # refuses too large an output_padding
        KH, KW = self.kernel_size
        self.weight = new_parameter(in_channels, out_channels // groups, KH, KW)
        self.bias = new_parameter(out_channels) if bias else None
        bound = 1.0 / math.sqrt(init.fan_in(self.weight))
        init.uniform(self.weight, bound)
        if bias:
            init.uniform(self.bias, bound)

    def forward(self, x: Tensor) -> Tensor:
        return ops.conv_transpose2d(
            x,
            self.weight,
            self.bias,
            self.stride,
            self.padding,
            self.output_padding,
            self.groups,
            self.dilation,
        )

    def windows(self) -> list[Window]:
        return [Window(self.kernel_size[0], self.stride[0], self.padding[0], self.dilation[0], transposed=True)]

    def describe(self) -> str:
        C, OC = self.weight.shape[0], self.weight.shape[1] * self.groups
        return f"{C}, {OC}, kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxPool2d(Module):
    """The maximum of every window. See ops/pool.py."""

    def __init__(
        self,
        kernel_size: int | Pair,
        stride: int | Pair | None = None,
        padding: int | Pair = 0,
        dilation: int | Pair = 1,
        ceil_mode: bool = False,
    ) -> None:
        self.kernel_size, self.stride, self.padding, self.dilation = window_settings(
            "MaxPool2d",
            kernel_size=kernel_size,
            stride=kernel_size if stride is None else stride,
            padding=padding,
            dilation=dilation,
        )
        self.ceil_mode = ceil_mode

    def forward(self, x: Tensor) -> Tensor:
        return ops.max_pool2d(x, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode)

    def windows(self) -> list[Window]:
        return [Window(self.kernel_size[0], self.stride[0], self.padding[0], self.dilation[0])]

    def describe(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, ceil_mode={self.ceil_mode}"


class AvgPool2d(Module):
    """The mean of every window. See ops/pool.py."""

    def __init__(
        self,
        kernel_size: int | Pair,
        stride: int | Pair | None = None,
        padding: int | Pair = 0,
        ceil_mode: bool = False,
    ) -> None:
        self.kernel_size, self.stride, self.padding = window_settings(
            "AvgPool2d",
            kernel_size=kernel_size,
            stride=kernel_size if stride is None else stride,
            padding=padding,
        )
        self.ceil_mode = ceil_mode

    def forward(self, x: Tensor) -> Tensor:
        return ops.avg_pool2d(x, self.kernel_size, self.stride, self.padding, self.ceil_mode)

    def windows(self) -> list[Window]:
        return [Window(self.kernel_size[0], self.stride[0], self.padding[0])]

    def describe(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, ceil_mode={self.ceil_mode}"


class AdaptiveAvgPool2d(Module):
    """The means of as many windows as the output is to have pixels. See ops/adaptive.py."""

    def __init__(self, output_size: int | tuple[int | None, int | None] | None) -> None:
        self.output_size = output_pair("AdaptiveAvgPool2d", output_size)

    def forward(self, x: Tensor) -> Tensor:
        return ops.adaptive_avg_pool2d(x, self.output_size)

    def describe(self) -> str:
        return f"output_size={self.output_size}"


class ReLU(Module):
    """max(x, 0)."""

    def forward(self, x: Tensor) -> Tensor:
        return ops.relu(x)


class ReLU6(Module):
    """min(max(x, 0), 6)."""

    def forward(self, x: Tensor) -> Tensor:
        return ops.relu6(x)


class Dropout(Module):
    """In training, zero each value with probability p and scale the rest by 1/(1 - p)."""

    def __init__(self, p: float = 0.5) -> None:
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        return ops.dropout(x, self.p, self.training)

    def describe(self) -> str:
        return f"p={self.p}"


class BatchNorm2d(Module):
    """Normalise every channel; weight and bias (num_features,) are learned, the running statistics recorded."""

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        check_channels("BatchNorm2d", 1, num_features=num_features)
        self.eps, self.momentum = eps, momentum
        self.weight = init.fill(new_parameter(num_features), np.ones(num_features))
        self.bias = new_parameter(num_features)
        self.running_mean = to_device(np.zeros(num_features, np.float32), get_device())
        self.running_var = to_device(np.ones(num_features, np.float32), get_device())
        self.num_batches_tracked: Any = to_device(np.zeros((), np.int64), get_device())

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.num_batches_tracked += 1
        return ops.batch_norm2d(
            x,
            self.weight,
            self.bias,
            self.running_mean,
            self.running_var,
            self.training,
            self.momentum,
            self.eps,
        )

    def describe(self) -> str:
        return f"{self.weight.shape[0]}, eps={self.eps}, momentum={self.momentum}"


class LocalResponseNorm(Module):
    """Divide by the energy of the neighbouring channels. See ops/norm.py."""

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k

    def forward(self, x: Tensor) -> Tensor:
        return ops.local_response_norm(x, self.size, self.alpha, self.beta, self.k)

    def describe(self) -> str:
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"


class Linear(Module):
    """Fully connected layer; weight (out_features, in_features), bias (out_features,)."""

    def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
        check_channels("Linear", 1, in_features=in_features, out_features=out_features)
        self.weight = new_parameter(out_features, in_features)
        self.bias = new_parameter(out_features) if bias else None
        bound = 1.0 / math.sqrt(in_features)
        init.uniform(self.weight, bound)
        if bias:
            init.uniform(self.bias, bound)

    def forward(self, x: Tensor) -> Tensor:
        return ops.linear(x, self.weight, self.bias)

    def describe(self) -> str:
        return f"{self.weight.shape[1]}, {self.weight.shape[0]}"


class Flatten(Module):
    """Fold all axes from `start` on into one."""

    def __init__(self, start: int = 1) -> None:
        self.start = start

    def forward(self, x: Tensor) -> Tensor:
        return ops.flatten(x, self.start)
