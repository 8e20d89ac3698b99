"""How activations and gradients pass through a network, looked at from outside: training goes on to the same bits."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch

from jobs.spec.explained import Flow, LayerFlow
from jobs.spec.model import Activation, Layer, Residual
from trainer.data import Examples
from trainer.model.layers import Pass
from trainer.model.network import Network
from trainer.model.parameters import Tensors
from trainer.objective import Objective, Target

ROWS, FEWEST, VALUES = 256, 32, 1 << 20
"""Training rows that are looked at; fewer if the widest layer has more values for them, but not under `FEWEST`."""
BOUND = 0.01
"""Of the function's range: nearer to its ends than this, a sigmoid or tanh is saturated."""

NUMBERS = ("mean", "std", "dead", "saturated", "gradient", "update")
CHANGING = {"batch_norm", "dropout", "residual"}
"""Layers that are, or may hold what is, another in training than in use."""


class Seen(NamedTuple):
    """What came out of a layer."""

    name: str
    kind: str
    function: str | None
    output: torch.Tensor | None
    """[K, B, …]; none within a residual block."""


def measure(seen: Sequence[Seen], gradients: Tensors, weights: Tensors, updates: Tensors) -> list[list[LayerFlow]]:
    """Each lane's layers in order: those that learn and those that bend. `updates` may be empty."""
    columns = [(one, _signal(one) | _learning(one, gradients, weights, updates)) for one in seen]
    columns = [(one, of_layer) for one, of_layer in columns if of_layer and (one.function or "gradient" in of_layer)]
    found = [column for _, of_layer in columns for column in of_layer.values()]
    numbers = torch.stack(found).T.tolist() if found else []  # the one transfer from the device
    return [_lane(columns, iter(lane)) for lane in numbers]


def _lane(columns: Sequence[tuple[Seen, Tensors]], numbers: Iterator[float]) -> list[LayerFlow]:
    return [_layer(one, {name: next(numbers) for name in of_layer}) for one, of_layer in columns]


def _signal(one: Seen) -> Tensors:
    """[K] of each number of the layer's outputs."""
    if one.output is None:
        return {}
    std, mean = torch.std_mean(one.output.flatten(1), 1, correction=0)
    found = {"mean": mean, "std": std}
    match one.function:
        case "relu":
            on = (one.output <= 0).logical_not_()  # a number that is none is not 0
            fired = on.flatten(3).any(3) if one.output.dim() > 3 else on
            found["dead"] = 1 - fired.any(1).float().mean(1)  # of units or channels
        case "sigmoid":
            found["saturated"] = ((one.output - 0.5).abs() > 0.5 - BOUND).flatten(1).float().mean(1)
        case "tanh":
            found["saturated"] = (one.output.abs() > 1 - 2 * BOUND).flatten(1).float().mean(1)
    return found


def _learning(one: Seen, gradients: Tensors, weights: Tensors, updates: Tensors) -> Tensors:
    """[K] of each number of the layer's weights."""
    name = f"{one.name}.weight"
    if name not in gradients:
        return {}
    weight = weights[name]
    found = {"gradient": gradients[name].flatten(1).square().mean(1).sqrt()}
    if name in updates:
        found["update"] = updates[name].flatten(1).norm(dim=1) / weight.flatten(1).norm(dim=1)
    if one.kind in ("dense", "conv") and weight.shape[1] > 1:
        found["alike"] = (weight == weight[:, :1]).flatten(1).all(1).float()
    return found


def _layer(one: Seen, numbers: Mapping[str, float]) -> LayerFlow:
    found = {name: finite(numbers[name]) if name in numbers else None for name in NUMBERS}
    alike = bool(numbers["alike"]) if "alike" in numbers else None
    return LayerFlow(layer=one.name, kind=one.kind, function=one.function, alike=alike, **found)


@dataclass
class Probe:
    """Looks at a network before the first step, at the ends of epochs 1, 4, 16, … and at the end of the run.

    It draws from no generator of the run and leaves buffers as they were; what it writes into the gradients is
    overwritten by the next step.
    """

    network: Network
    objective: Objective
    layers: Sequence[Layer]
    """Of the network, with the output layer."""
    x: torch.Tensor
    """The sample, [K, B, *input]."""
    y: torch.Tensor
    has_classes: bool
    seen: list[Flow]
    """What was found, in order."""
    before: torch.Tensor | None = None
    """The weights before the last step."""

    def brace(self, epoch: int) -> None:
        """To be called before the last step of that epoch, counted from 1."""
        self.before = self.network.parameters.values.clone() if _due(epoch) else None

    def look(self, epoch: int, step: int, *, last: bool = False) -> None:
        """To be called between two steps, when so many epochs and steps are done."""
        if not (_due(epoch) or last) or (self.seen and self.seen[-1].step == step):
            return
        z, losses, traced = self._train()
        in_use = self._use() if any(layer.kind in CHANGING for layer in self.layers) else None
        classes = _classes(z) if self.has_classes else None
        parameters = self.network.parameters
        updates = parameters.layout.views(parameters.values - self.before) if self.before is not None else {}
        flows = measure(self._seen(traced), parameters.gradient, parameters.weights, updates)
        for lane, layers in enumerate(flows):
            self.seen.append(
                Flow(
                    epoch=epoch,
                    step=step,
                    lane=lane,
                    loss=finite(losses[lane]),
                    eval_loss=finite(in_use[lane]) if in_use else None,
                    classes=classes[lane] if classes else None,
                    layers=layers,
                )
            )
        self.before = None

    def _train(self) -> tuple[torch.Tensor, list[float], list[tuple[str, torch.Tensor]]]:
        """Forward and back as in training, with generators of its own."""
        buffers = {name: buffer.clone() for name, buffer in self.network.buffers.items()}
        own = [torch.Generator(self.x.device).manual_seed(lane) for lane in range(len(self.x))]
        traced: list[tuple[str, torch.Tensor]] = []
        z, backs = self.network.forward(self.x, Pass(True, own, trace=traced))
        means, gradient = self.objective(z, [Target(self.y)])
        self.network.backward(gradient, backs)
        for name, buffer in self.network.buffers.items():
            buffer.copy_(buffers[name])
        return z, means.tolist(), traced

    def _use(self) -> list[float]:
        """The losses with batch norm and dropout as in use."""
        means, _ = self.objective(self.network(self.x, Pass(False, [])), [Target(self.y)])
        losses: list[float] = means.tolist()
        return losses

    def _seen(self, traced: Sequence[tuple[str, torch.Tensor]]) -> list[Seen]:
        outputs = dict(traced)
        return [
            Seen(name, layer.kind, layer.function if isinstance(layer, Activation) else None, outputs.get(name))
            for name, layer in _named(self.layers, "")
        ]


def probe(
    network: Network, objective: Objective, layers: Sequence[Layer], train: Examples, seen: list[Flow], most: int = ROWS
) -> Probe:
    """A probe with at most so many of the training rows, evenly spaced; the same for every lane."""
    lanes = len(network.parameters.values)
    count = min(len(train.x), most, max(FEWEST, VALUES // network.widest))
    rows = (torch.arange(count) * len(train.x) // count).to(train.x.device)
    x, y = (tensor[rows].unsqueeze(0).expand(lanes, count, *tensor.shape[1:]) for tensor in (train.x, train.y))
    return Probe(network, objective, layers, x, y, not y.is_floating_point(), seen)


def _named(layers: Sequence[Layer], prefix: str) -> Iterator[tuple[str, Layer]]:
    """Every layer and the name of its numbers; those of a residual block before it."""
    for place, layer in enumerate(layers):
        if isinstance(layer, Residual):
            yield from _named(layer.layers, f"{prefix}{place}.")
        yield f"{prefix}{place}", layer


def _due(epoch: int) -> bool:
    """0, 1, 4, 16, 64, …"""
    return epoch & (epoch - 1) == 0 and epoch.bit_length() % 2 == epoch.bit_count()


def _classes(z: torch.Tensor) -> list[int]:
    """Different classes among each lane's predictions, from z [K, B, outputs]."""
    predicted = z.squeeze(2) > 0 if z.shape[2] == 1 else z.argmax(2)
    return [len(lane.unique()) for lane in predicted]


def finite(value: float) -> float | None:
    """As JSON can carry it."""
    return value if math.isfinite(value) else None
