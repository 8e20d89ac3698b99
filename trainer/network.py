"""The network: K models of one architecture as one, with a leading lane dimension on everything.

x is [K, B, features] or [K, B, channels, height, width]; a weight is [K, out, in] or [K, out, in, kernel, kernel].
Each lane computes what it would compute alone.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import assert_never

import torch
from torch.nn import functional as F

from jobs.spec import shapes
from jobs.spec.model import (
    Activation,
    BatchNorm,
    Conv,
    Dense,
    Dropout,
    Flatten,
    Function,
    Layer,
    LayerNorm,
    Pool,
    Residual,
)
from trainer import initializers, seeds

Tensors = dict[str, torch.Tensor]


@dataclass
class Pass:
    """What one forward pass needs to know besides its input."""

    training: bool
    generators: list[torch.Generator]
    """For dropout, one per lane."""


Apply = Callable[[torch.Tensor, Pass], torch.Tensor]


@dataclass(frozen=True)
class Network:
    """Layers to call in order, and the numbers that they learn."""

    layers: list[Apply]
    weights: Tensors
    """Learned, by names like `3.weight`; [K, …] each."""
    buffers: Tensors
    """Running statistics of batch norms; [K, channels] each."""
    decayed: set[str]
    """Names of the weights proper: penalties leave biases and norm parameters alone."""
    has_batch_norm: bool

    def __call__(self, x: torch.Tensor, how: Pass) -> torch.Tensor:
        """[K, B, *input] → [K, B, outputs]."""
        for layer in self.layers:
            x = layer(x, how)
        return x

    def state(self) -> Tensors:
        """Everything that the trained model consists of."""
        return self.weights | self.buffers

    def load(self, state: Tensors) -> None:
        """Takes over a state; shapes must agree."""
        with torch.no_grad():
            for name, tensor in self.state().items():
                tensor.copy_(state[name])


def build(layers: list[Layer], shape: shapes.Shape, lane_seeds: list[int], device: str) -> Network:
    """A freshly initialised network; lane k draws its weights from its own seed, in the order of layers."""
    builder = _Builder(len(lane_seeds), [seeds.generator(seed, "init") for seed in lane_seeds])
    applied = builder.stack(layers, shape, "")
    weights = {name: weight.to(device).requires_grad_() for name, weight in builder.weights.items()}
    buffers = {name: buffer.to(device) for name, buffer in builder.buffers.items()}
    builder.live.update(weights | buffers)
    return Network(applied, weights, buffers, builder.decayed, any(".running" in name for name in buffers))


class _Builder:
    """Collects tensors while it turns layers into functions that will look them up in `live`."""

    def __init__(self, lanes: int, generators: list[torch.Generator]) -> None:
        self.lanes = lanes
        self.generators = generators
        self.weights: Tensors = {}
        self.buffers: Tensors = {}
        self.decayed: set[str] = set()
        self.live: Tensors = {}

    def stack(self, layers: list[Layer], shape: shapes.Shape, prefix: str) -> list[Apply]:
        applied = []
        for index, layer in enumerate(layers):
            applied.append(self.one(layer, shape, f"{prefix}{index}"))
            shape = shapes.walk([layer], shape)[-1].after
        return applied

    def one(self, layer: Layer, shape: shapes.Shape, name: str) -> Apply:
        match layer:
            case Flatten():
                return lambda x, how: x.flatten(2)
            case Dense():
                self._weighted(layer, (layer.units, shape[0]), name)
                return _dense(self.live, name, layer.bias)
            case Conv():
                self._weighted(layer, (layer.channels, shape[0], layer.kernel, layer.kernel), name)
                return _conv(self.live, name, layer)
            case Pool():
                return _pool(layer)
            case BatchNorm():
                self._normed(shape[:1], name)
                self.buffers[f"{name}.running_mean"] = torch.zeros(self.lanes, shape[0])
                self.buffers[f"{name}.running_var"] = torch.ones(self.lanes, shape[0])
                return _batch_norm(self.live, name, layer)
            case LayerNorm():
                self._normed(shape, name)
                return _layer_norm(self.live, name, layer, shape)
            case Dropout():
                return _dropout(layer.rate)
            case Activation():
                function = activation(layer.function, layer.negative_slope)
                return lambda x, how: function(x)
            case Residual():
                return _residual(self.stack(layer.layers, shape, f"{name}."))
            case _:
                assert_never(layer)

    def _weighted(self, layer: Dense | Conv, shape: tuple[int, ...], name: str) -> None:
        weight = torch.empty(self.lanes, *shape)
        for lane, generator in zip(weight, self.generators, strict=True):
            initializers.fill(lane, layer.init, generator)
        self.weights[f"{name}.weight"] = weight
        self.decayed.add(f"{name}.weight")
        if layer.bias:
            self.weights[f"{name}.bias"] = torch.zeros(self.lanes, shape[0])

    def _normed(self, shape: shapes.Shape, name: str) -> None:
        self.weights[f"{name}.weight"] = torch.ones(self.lanes, *shape)
        self.weights[f"{name}.bias"] = torch.zeros(self.lanes, *shape)


def _dense(live: Tensors, name: str, has_bias: bool) -> Apply:
    def apply(x: torch.Tensor, how: Pass) -> torch.Tensor:
        weight, bias = live[f"{name}.weight"], live.get(f"{name}.bias")
        if len(weight) == 1:  # a plain linear layer is faster than a batched product of one
            return F.linear(x, weight.squeeze(0), None if bias is None else bias.squeeze(0))
        if bias is None:
            return x @ weight.mT
        return torch.baddbmm(bias.unsqueeze(1), x, weight.mT)

    return apply


def _fold(x: torch.Tensor) -> torch.Tensor:
    """[K, B, C, …] → [B, K·C, …]: lanes as groups of channels."""
    return x.transpose(0, 1).flatten(1, 2)


def _unfold(x: torch.Tensor, lanes: int) -> torch.Tensor:
    return x.reshape(len(x), lanes, -1, *x.shape[2:]).transpose(0, 1)


def _conv(live: Tensors, name: str, layer: Conv) -> Apply:
    before = (layer.kernel - 1) // 2 if layer.padding == "same" else 0
    after = layer.kernel - 1 - before if layer.padding == "same" else 0

    def apply(x: torch.Tensor, how: Pass) -> torch.Tensor:
        weight, bias = live[f"{name}.weight"], live.get(f"{name}.bias")
        lanes, folded, padding = len(weight), _fold(x), before
        if before != after:  # an even window cannot be padded alike on both sides
            folded, padding = F.pad(folded, (before, after, before, after)), 0
        flat = None if bias is None else bias.flatten()
        out = F.conv2d(folded, weight.flatten(0, 1), flat, stride=layer.stride, padding=padding, groups=lanes)
        return _unfold(out, lanes)

    return apply


def _pool(layer: Pool) -> Apply:
    def apply(x: torch.Tensor, how: Pass) -> torch.Tensor:
        images = x.flatten(0, 1)
        match layer.function:
            case "max":
                pooled = F.max_pool2d(images, layer.size)
            case "average":
                pooled = F.avg_pool2d(images, layer.size)
            case "global_average":
                pooled = images.mean((2, 3), keepdim=True)
        return pooled.reshape(*x.shape[:2], *pooled.shape[1:])

    return apply


def _batch_norm(live: Tensors, name: str, layer: BatchNorm) -> Apply:
    def apply(x: torch.Tensor, how: Pass) -> torch.Tensor:
        mean, var = live[f"{name}.running_mean"], live[f"{name}.running_var"]
        weight, bias = live[f"{name}.weight"].flatten(), live[f"{name}.bias"].flatten()
        out = F.batch_norm(_fold(x), mean.view(-1), var.view(-1), weight, bias, how.training, layer.momentum, layer.eps)
        return _unfold(out, len(mean))

    return apply


def _layer_norm(live: Tensors, name: str, layer: LayerNorm, shape: shapes.Shape) -> Apply:
    def apply(x: torch.Tensor, how: Pass) -> torch.Tensor:
        weight, bias = live[f"{name}.weight"].unsqueeze(1), live[f"{name}.bias"].unsqueeze(1)
        return F.layer_norm(x, shape, eps=layer.eps) * weight + bias

    return apply


def _dropout(rate: float) -> Apply:
    def apply(x: torch.Tensor, how: Pass) -> torch.Tensor:
        if not how.training or rate == 0:
            return x
        mask = torch.empty_like(x)
        for lane, generator in zip(mask, how.generators, strict=True):
            lane.bernoulli_(1 - rate, generator=generator)
        return x * mask.div_(1 - rate)

    return apply


def _residual(inner: list[Apply]) -> Apply:
    def apply(x: torch.Tensor, how: Pass) -> torch.Tensor:
        y = x
        for layer in inner:
            y = layer(y, how)
        return x + y

    return apply


def activation(function: Function, negative_slope: float = 0.01) -> Callable[[torch.Tensor], torch.Tensor]:
    """The function of that name; softmax goes over the features or channels of a row."""
    match function:
        case "sigmoid":
            return torch.sigmoid
        case "tanh":
            return torch.tanh
        case "softmax":
            return lambda x: x.softmax(2)
        case "relu":
            return torch.relu
        case "leaky_relu":
            return lambda x: F.leaky_relu(x, negative_slope)
        case "elu":
            return F.elu
        case "selu":
            return F.selu
        case "gelu":
            return F.gelu
        case "silu":
            return F.silu
        case _:
            assert_never(function)
