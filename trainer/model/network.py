"""The network: K models of one architecture as one, with a leading lane dimension on everything.

x is [K, B, features] or [K, B, channels, height, width]; a weight is [K, out, in] or [K, out, in, kernel, kernel].
Each lane computes what it would compute alone.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, assert_never

import torch

from jobs.spec import model as spec
from jobs.spec import shapes
from jobs.spec.init import Init, Uniform
from jobs.spec.preprocessing import Embedding
from trainer import alive, seeds
from trainer.model import initializers, layers
from trainer.model.layers import Back, Learned, Pass
from trainer.model.parameters import Layout, Parameters, Tensors


class Named(NamedTuple):
    """A layer and the name that its numbers go by."""

    name: str
    apply: layers.Layer


@dataclass(frozen=True)
class Network:
    """Layers to call in order, and the numbers that they learn."""

    layers: list[Named]
    parameters: Parameters
    buffers: Tensors
    """Running statistics of batch norms; [K, channels] each."""
    first_learned: int
    """Layers before this one need no gradient."""
    widest: int
    """Values per row, where there are most."""

    @property
    def weights(self) -> Tensors:
        """Learned, by names like `3.weight`; [K, …] each."""
        return self.parameters.weights

    @property
    def has_batch_norm(self) -> bool:
        return bool(self.buffers)

    def __call__(self, x: torch.Tensor, how: Pass) -> torch.Tensor:
        """[K, B, *input] → [K, B, outputs]."""
        for _, layer in self.layers:
            alive.say()
            x, _ = layer(x, how)
        return x

    def forward(self, x: torch.Tensor, how: Pass) -> tuple[torch.Tensor, list[Back]]:
        """[K, B, *input] → [K, B, outputs], and the way back through each layer."""
        backs = []
        for name, layer in self.layers:
            x, back = layer(x, how)
            backs.append(back)
            if how.trace is not None:
                how.trace.append((name, x))
        return x, backs

    def backward(self, g: torch.Tensor, backs: list[Back]) -> None:
        """Writes the gradients of all weights, from that of the outputs, [K, B, outputs]."""
        for index in range(len(backs) - 1, self.first_learned - 1, -1):
            g = backs[index](g, index > self.first_learned)

    def state(self) -> Tensors:
        """Everything that the trained model consists of."""
        return self.weights | self.buffers

    def numbers(self) -> Tensors:
        """The same in few pieces: `values` [K, P], and the buffers."""
        return {"values": self.parameters.values} | self.buffers

    def named(self, numbers: Tensors) -> Tensors:
        """Views of such numbers, by the names of `state`."""
        return self.parameters.layout.views(numbers["values"]) | {name: numbers[name] for name in self.buffers}


def build(
    wanted: list[spec.Layer], shape: shapes.Shape, lane_seeds: list[int], device: str, tables: Sequence[Embedding] = ()
) -> Network:
    """A freshly initialised network; lane k draws its weights from its own seed, in the order of layers."""
    inputs = shape if not tables else (shape[0] + sum(table.dimension - 1 for table in tables),)
    builder = _Builder(len(lane_seeds), device)
    placed = shapes.walk(wanted, inputs)
    for table in tables:
        builder.layout.add(f"embedding.{table.input}.weight", "kernel", (table.rows, table.dimension))
    for place in placed:
        builder.declare(place)
    parameters = Parameters(builder.layout, len(lane_seeds), device)
    _start(parameters.weights, placed, [seeds.generator(seed, "init") for seed in lane_seeds])
    builder.found = Learned(parameters.weights, parameters.gradient, builder.buffers)
    stack = builder.stack(wanted, inputs, "")
    if tables:
        pairs = [(table.input, builder.learned(f"embedding.{table.input}")) for table in tables]
        stack = [Named("embedding", layers.embedding(pairs)), *stack]
    learning = [any(name.startswith(f"{layer}.") for name in parameters.weights) for layer, _ in stack]
    first = learning.index(True) if any(learning) else len(stack)
    widest = max(math.prod(one) for one in (inputs, *(place.after for place in placed)))
    return Network(stack, parameters, builder.buffers, first, widest)


def _start(weights: Tensors, placed: list[shapes.Placed], generators: list[torch.Generator]) -> None:
    """Draws what starts at random, on the CPU, so that a seed means the same numbers on every device."""
    inits: dict[str, Init] = {
        f"{_name(place)}.weight": place.layer.init
        for place in placed
        if isinstance(place.layer, spec.Dense | spec.Conv)
    }
    for name in [name for name in weights if name.startswith("embedding.")]:
        inits[name] = Uniform(bound=1 / math.sqrt(weights[name].shape[2]))  # Gorishniy et al. 2021, arXiv 2106.11959
    for name, weight in weights.items():
        if init := inits.get(name):
            for lane, generator in zip(weight, generators, strict=True):
                alive.say()
                drawn = torch.empty(lane.shape)
                initializers.fill(drawn, init, generator)
                lane.copy_(drawn)
                if name.startswith("embedding."):
                    lane[-1].zero_()  # unseen categories: no training row ever moves this row
        elif init := inits.get(name.removesuffix("bias") + "weight"):
            weight.fill_(initializers.bias(init))
        elif name.endswith(".weight"):
            weight.fill_(1)


def _name(place: shapes.Placed) -> str:
    """`/1/layers/0` → `1.0`."""
    return place.pointer.removeprefix("/").replace("/layers/", ".")


class _Builder:
    """Declares the numbers of all layers first, since they lie in one block, and makes functions of the layers then."""

    def __init__(self, lanes: int, device: str) -> None:
        self.lanes, self.device = lanes, device
        self.layout = Layout()
        self.buffers: Tensors = {}
        self.found = Learned({}, {}, {})

    def declare(self, place: shapes.Placed) -> None:
        layer, shape, name = place.layer, place.before, _name(place)
        match layer:
            case spec.Dense():
                self.layout.add(f"{name}.weight", "matrix", (layer.units, shape[0]))
                if layer.bias:
                    self.layout.add(f"{name}.bias", "other", (layer.units,))
            case spec.Conv():
                self.layout.add(f"{name}.weight", "kernel", (layer.channels, shape[0], layer.kernel, layer.kernel))
                if layer.bias:
                    self.layout.add(f"{name}.bias", "other", (layer.channels,))
            case spec.BatchNorm():
                self._normed(shape[:1], name)
                self.buffers[f"{name}.running_mean"] = torch.zeros(self.lanes, shape[0], device=self.device)
                self.buffers[f"{name}.running_var"] = torch.ones(self.lanes, shape[0], device=self.device)
            case spec.LayerNorm():
                self._normed(shape, name)
            case spec.Flatten() | spec.Pool() | spec.Dropout() | spec.Activation() | spec.Residual():
                pass
            case _:
                assert_never(layer)

    def _normed(self, shape: shapes.Shape, name: str) -> None:
        self.layout.add(f"{name}.weight", "other", shape)
        self.layout.add(f"{name}.bias", "other", shape)

    def stack(self, wanted: list[spec.Layer], shape: shapes.Shape, prefix: str) -> list[Named]:
        named = []
        for index, layer in enumerate(wanted):
            name = f"{prefix}{index}"
            named.append(Named(name, self.one(layer, shape, name)))
            shape = shapes.walk([layer], shape)[-1].after
        return named

    def one(self, layer: spec.Layer, shape: shapes.Shape, name: str) -> layers.Layer:
        match layer:
            case spec.Flatten():
                return layers.flatten
            case spec.Dense():
                return layers.dense(self.learned(name))
            case spec.Conv():
                return layers.conv(layer, self.learned(name))
            case spec.Pool():
                return layers.pool(layer)
            case spec.BatchNorm():
                return layers.batch_norm(layer, self.learned(name))
            case spec.LayerNorm():
                return layers.layer_norm(layer, shape, self.learned(name))
            case spec.Dropout():
                return layers.dropout(layer.rate)
            case spec.Activation():
                return layers.activation(layer)
            case spec.Residual():
                return layers.residual([inner for _, inner in self.stack(layer.layers, shape, f"{name}.")])
            case _:
                assert_never(layer)

    def learned(self, name: str) -> Learned:
        """The numbers of one layer."""
        return Learned(*(_below(tensors, name) for tensors in (self.found.weights, self.found.gradient, self.buffers)))


def _below(tensors: Tensors, name: str) -> Tensors:
    return {key.removeprefix(f"{name}."): tensor for key, tensor in tensors.items() if key.rsplit(".", 1)[0] == name}


def count(parameters: Parameters) -> int:
    """Numbers that one model learns."""
    return sum(math.prod(shape) for shape in parameters.layout.shapes.values())
