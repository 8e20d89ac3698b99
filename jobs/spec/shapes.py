"""What shape goes into each layer and comes out of it, and how many numbers it learns: no torch needed."""

import math
from dataclasses import dataclass
from typing import assert_never

from jobs.spec.model import (
    Activation,
    BatchNorm,
    Conv,
    Dense,
    Dropout,
    Flatten,
    Layer,
    LayerNorm,
    Pool,
    Residual,
)

Shape = tuple[int, ...]
"""(features,) or (channels, height, width), without the batch."""


class Misfit(ValueError):
    """A layer cannot take the shape that reaches it; the message says why and what to do."""


@dataclass(frozen=True)
class Placed:
    """A layer where it stands in the network."""

    pointer: str
    """JSON pointer below the list of layers, for example `/3` or `/1/layers/0`."""
    layer: Layer
    before: Shape
    after: Shape
    parameters: int
    """Numbers learned."""
    operations: int
    """Multiplications and additions per row, forward."""


def walk(layers: list[Layer], shape: Shape, pointer: str = "") -> list[Placed]:
    """Every layer in order, a residual's inner layers before itself.

    Raises:
        Misfit: with the offending layer's pointer as second argument.
    """
    placed: list[Placed] = []
    for index, layer in enumerate(layers):
        here = f"{pointer}/{index}"
        if isinstance(layer, Residual):
            inner = walk(layer.layers, shape, f"{here}/layers")
            if inner[-1].after != shape:
                raise Misfit(f"A residual block must keep the shape {shape}, but gives {inner[-1].after}.", here)
            placed += inner
        placed.append(_place(layer, shape, here))
        shape = placed[-1].after
    return placed


def _place(layer: Layer, before: Shape, pointer: str) -> Placed:
    after = _after(layer, before, pointer)
    parameters = _parameters(layer, before)
    positions = math.prod(after[1:]) if isinstance(layer, Conv) else 1
    return Placed(pointer, layer, before, after, parameters, 2 * parameters * positions)


def _after(layer: Layer, before: Shape, pointer: str) -> Shape:
    match layer:
        case Flatten():
            return (math.prod(before),)
        case Dense():
            if len(before) != 1:
                raise Misfit(
                    f"A dense layer takes rows of features, but gets {before}: put a flatten before it.", pointer
                )
            return (layer.units,)
        case Conv() | Pool():
            if len(before) != 3:
                raise Misfit(
                    f"A {layer.kind} layer takes images, but gets {before}: use images, or dense layers.", pointer
                )
            return _window(layer, before, pointer)
        case BatchNorm() | LayerNorm() | Dropout() | Activation() | Residual():
            return before
        case _:
            assert_never(layer)


def _window(layer: Conv | Pool, before: Shape, pointer: str) -> Shape:
    channels, *sides = before
    if isinstance(layer, Pool):
        if layer.function == "global_average":
            return (channels, 1, 1)
        after = [side // layer.size for side in sides]
    else:
        channels = layer.channels
        lost = 0 if layer.padding == "same" else layer.kernel - 1
        after = [math.ceil((side - lost) / layer.stride) for side in sides]
    if min(after) < 1:
        raise Misfit(f"The window is larger than the {sides[0]}×{sides[1]} image that reaches it.", pointer)
    return (channels, *after)


def _parameters(layer: Layer, before: Shape) -> int:
    match layer:
        case Dense():
            return (before[0] + layer.bias) * layer.units
        case Conv():
            return (before[0] * layer.kernel**2 + layer.bias) * layer.channels
        case BatchNorm():
            return 2 * before[0]
        case LayerNorm():
            return 2 * math.prod(before)
        case Flatten() | Pool() | Dropout() | Activation() | Residual():
            return 0
        case _:
            assert_never(layer)
