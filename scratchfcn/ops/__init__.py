"""The ops: one lesson per file, arrays in and arrays out, forward and backward side by side."""

from ..tensor import Add, Div, Mul, Sub, Sum
from .activation import Dropout, Relu, Relu6, Softmax, dropout, relu, relu6, softmax
from .adaptive import AdaptiveAvgPool2d, adaptive_avg_pool2d
from .conv import Conv1x1, Conv2d, ConvTranspose2d, conv1x1, conv2d, conv_transpose2d
from .im2col import col2im, im2col
from .linear import Linear, linear
from .loss import SoftmaxCrossEntropy, softmax_cross_entropy
from .norm import BatchNorm2d, LocalResponseNorm, batch_norm2d, local_response_norm
from .pool import AvgPool2d, GlobalAvgPool2d, MaxPool2d, avg_pool2d, global_avg_pool2d, max_pool2d
from .resize import ResizeBilinear, resize_bilinear
from .shape import Concat, Crop, Pad, Reshape, concat, crop, flatten, pad, reshape

__all__ = [
    "AdaptiveAvgPool2d",
    "Add",
    "AvgPool2d",
    "BatchNorm2d",
    "Concat",
    "Conv1x1",
    "Conv2d",
    "ConvTranspose2d",
    "Crop",
    "Div",
    "Dropout",
    "GlobalAvgPool2d",
    "Linear",
    "LocalResponseNorm",
    "MaxPool2d",
    "Mul",
    "Pad",
    "Relu",
    "Relu6",
    "Reshape",
    "ResizeBilinear",
    "Softmax",
    "SoftmaxCrossEntropy",
    "Sub",
    "Sum",
    "adaptive_avg_pool2d",
    "avg_pool2d",
    "batch_norm2d",
    "col2im",
    "concat",
    "conv1x1",
    "conv2d",
    "conv_transpose2d",
    "crop",
    "dropout",
    "flatten",
    "global_avg_pool2d",
    "im2col",
    "linear",
    "local_response_norm",
    "max_pool2d",
    "pad",
    "relu",
    "relu6",
    "reshape",
    "resize_bilinear",
    "softmax",
    "softmax_cross_entropy",
]
