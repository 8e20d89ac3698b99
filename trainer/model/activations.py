"""Activation functions and their derivatives, by torch's kernels."""

from collections.abc import Callable
from typing import assert_never

import torch
from torch.nn import functional as F

from jobs.spec.model import Activation

aten = torch.ops.aten

Function = Callable[[torch.Tensor], torch.Tensor]
Derivative = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
"""(gradient of the output, input, output) → gradient of the input."""

SELU_ALPHA, SELU_SCALE = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946


def build(spec: Activation) -> tuple[Function, Derivative]:
    """Softmax goes over the features or channels of a row, dimension 2 of [K, B, C, …]."""
    slope = spec.negative_slope
    match spec.function:
        case "sigmoid":
            return torch.sigmoid, lambda g, x, y: aten.sigmoid_backward.default(g, y)
        case "tanh":
            return torch.tanh, lambda g, x, y: aten.tanh_backward.default(g, y)
        case "softmax":
            return lambda x: x.softmax(2), lambda g, x, y: aten._softmax_backward_data.default(g, y, 2, x.dtype)
        case "relu":
            return torch.relu, lambda g, x, y: aten.threshold_backward.default(g, y, 0)
        case "leaky_relu":
            return lambda x: F.leaky_relu(x, slope), lambda g, x, y: aten.leaky_relu_backward.default(
                g, x, slope, False
            )
        case "elu":
            return F.elu, lambda g, x, y: aten.elu_backward.default(g, 1.0, 1.0, 1.0, False, x)
        case "selu":
            return F.selu, lambda g, x, y: aten.elu_backward.default(g, SELU_ALPHA, SELU_SCALE, 1.0, False, x)
        case "gelu":
            return F.gelu, lambda g, x, y: aten.gelu_backward.default(g, x)
        case "silu":
            return F.silu, lambda g, x, y: aten.silu_backward.default(g, x)
        case _:
            assert_never(spec.function)
