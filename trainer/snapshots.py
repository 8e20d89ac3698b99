"""A run written down, so that it can go on as if it had never stopped."""

import copy
import dataclasses
import hashlib
from dataclasses import dataclass
from typing import Any

import torch
from pydantic import JsonValue

from jobs.spec.explained import Decision, Flow
from jobs.spec.values import Part
from trainer.model.parameters import Tensors
from trainer.model.precision import LossScale
from trainer.reports import Point
from trainer.schedules import PlateauState
from trainer.state import State, point
from trainer.stopping import Best, Patience

PLAIN = (
    "step",
    "updates",
    "epoch",
    "seen",
    "seconds",
    "batch_size",
    "base_lr",
    "lr",
    "stopped",
    "delivered_epoch",
    "metrics",
    "latest",
)
"""Fields of the state that JSON can hold as they are,"""
PER_LANE: dict[str, type] = {"plateau": PlateauState, "best": Best, "patience": Patience}
"""those that are one object per lane,"""
SINGLE: dict[str, type] = {"overall": Best, "scale": LossScale}
"""those that are one object,"""
LISTED: dict[str, type[Part]] = {"decisions": Decision, "flows": Flow}
"""and those that are lists of what is reported."""


@dataclass(frozen=True)
class Snapshot:
    """Everything that a run needs to go on as if it had never stopped."""

    step: int
    epoch: int
    tensors: Tensors
    state: dict[str, JsonValue]


def layout() -> str:
    """Changes with the fields that are written down: what was written with others cannot be taken up."""
    fields = {name: list(part.__annotations__) for name, part in (PER_LANE | SINGLE | LISTED).items()}
    return hashlib.sha256(repr((PLAIN, fields)).encode()).hexdigest()[:12]


def take(state: State) -> Snapshot:
    """Of all of it; nothing in it changes when training goes on."""
    state.tally()
    tensors = {f"network/{name}": tensor for name, tensor in state.network.numbers().items()}
    tensors |= {f"kept/{name}": tensor for name, tensor in state.kept.items()}
    tensors |= {f"delivered/{name}": tensor for name, tensor in state.delivered.items()}
    tensors |= {f"optimizer/{name}": tensor for name, tensor in state.updater.state.items()}
    tensors |= {"lost": state.lost, "right": state.right}
    tensors |= {f"generator/{lane}": generator.get_state() for lane, generator in enumerate(state.generators)}
    tensors |= _tables(state.history)
    copies = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}
    return Snapshot(state.step, state.epoch, copies, _scalars(state))


def _scalars(state: State) -> dict[str, JsonValue]:
    parts = {name: [dataclasses.asdict(one) for one in getattr(state, name)] for name in PER_LANE}
    plain = {name: copy.deepcopy(getattr(state, name)) for name in PLAIN}
    listed = {name: [one.model_dump(mode="json") for one in getattr(state, name)] for name in LISTED}
    return plain | parts | listed | {name: dataclasses.asdict(getattr(state, name)) for name in SINGLE}


def restore(state: State, snapshot: Snapshot) -> None:
    """Goes back to a snapshot of a run with the same spec."""
    tensors, scalars = snapshot.tensors, dict[str, Any](snapshot.state)
    device = state.lost.device
    for now, prefix in ((state.network.numbers(), "network/"), (state.updater.state, "optimizer/")):
        for name, tensor in now.items():
            tensor.copy_(tensors[prefix + name])
    state.kept = {name: tensor.to(device, copy=True) for name, tensor in _below(tensors, "kept/").items()}
    state.delivered = {name: tensor.to(device, copy=True) for name, tensor in _below(tensors, "delivered/").items()}
    state.history = _points(_below(tensors, "history/"))
    state.reported = len(state.history)
    state.lost.copy_(tensors["lost"])
    state.right.copy_(tensors["right"])
    for lane, generator in enumerate(state.generators):
        generator.set_state(tensors[f"generator/{lane}"])
    for name in PLAIN:
        setattr(state, name, copy.deepcopy(scalars[name]))
    for name, part in PER_LANE.items():
        setattr(state, name, [part(**values) for values in scalars[name]])
    for name, single in SINGLE.items():
        setattr(state, name, single(**scalars[name]))
    for name, one in LISTED.items():
        setattr(state, name, [one.model_validate(values) for values in scalars[name]])


def _below(tensors: Tensors, prefix: str) -> Tensors:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _tables(points: list[Point]) -> Tensors:
    """Each metric as [n, 4]: place in the history, step, epoch, value."""
    rows: dict[str, list[tuple[float, ...]]] = {}
    for place, one in enumerate(points):
        value = float(one.nonfinite or "nan") if one.value is None else one.value
        rows.setdefault(f"history/{one.name}", []).append((place, one.step, one.epoch, value))
    return {name: torch.tensor(table, dtype=torch.float64) for name, table in rows.items()}


def _points(tables: Tensors) -> list[Point]:
    rows = [(place, name, step, epoch, value) for name, t in tables.items() for place, step, epoch, value in t.tolist()]
    return [point(name, int(step), int(epoch), value) for _, name, step, epoch, value in sorted(rows)]
