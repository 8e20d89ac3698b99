"""Everything that changes while a model is trained, and how it is written down and taken up again."""

import copy
import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any

import torch
from pydantic import JsonValue

from jobs.spec.explained import Decision, Flow
from jobs.spec.job import JobSpec
from jobs.spec.schedule import Plateau
from jobs.spec.values import Part
from trainer import batches, schedules
from trainer.batches import Lane
from trainer.network import Network
from trainer.optimizers import Updater
from trainer.parameters import Tensors
from trainer.precision import LossScale
from trainer.reports import BestEpoch, Finished, Member, Point, Progress, Started
from trainer.schedules import PlateauState
from trainer.stopping import Best, Patience


@dataclass(frozen=True)
class Snapshot:
    """Everything that a run needs to go on as if it had never stopped."""

    step: int
    epoch: int
    tensors: Tensors
    state: dict[str, JsonValue]


@dataclass
class State:
    """One run. Lists have one entry per lane."""

    spec: JobSpec
    network: Network
    updater: Updater
    generators: list[torch.Generator]
    """For dropout and augmentation."""
    batch_size: int
    """Rows per step."""
    base_lr: list[float]
    """What the schedule starts from; a plateau lowers it."""
    plateau: list[PlateauState]
    best: list[Best]
    patience: list[Patience]
    stopped: list[int]
    """The epoch after which a lane stopped early; 0 while it goes on."""
    kept: Tensors
    """The numbers of the best epoch by the checkpoint's monitor, lane by lane."""
    delivered: Tensors
    """The numbers to deliver where they are not the last ones, lane by lane; empty if there are none."""
    delivered_epoch: list[int]
    """Of each lane in `delivered`; 0 where it has none."""
    scale: LossScale
    lost: torch.Tensor
    """Σ loss over this epoch's batches, weighed by rows; [K]."""
    right: torch.Tensor
    """Rows of this epoch classified right; [K]."""
    step: int = 0
    """Batches trained on."""
    updates: int = 0
    """Steps that moved the weights: all of them, but for overflows in fp16."""
    epoch: int = 0
    """Epochs finished."""
    seen: int = 0
    """Rows of this epoch trained on."""
    lr: float = 0.0
    """Of lane 0, in the last step."""
    seconds: float = 0.0
    speed: float | None = None
    metrics: list[dict[str, float]] = field(default_factory=list)
    """Of each lane's last epoch."""
    latest: dict[str, JsonValue] = field(default_factory=dict)
    logged: list[tuple[int, int, float, torch.Tensor]] = field(default_factory=list)
    """(step, epoch, lr, losses) not yet reported; the losses [K] are still on the device."""
    history: list[Point] = field(default_factory=list)
    """Every point since the first step; the mean over lanes where there are several."""
    decisions: list[Decision] = field(default_factory=list)
    """What could be decided only where the run began."""
    flows: list[Flow] = field(default_factory=list)
    """What was seen of the gradients' way through the network."""
    reported: int = 0
    """How much of the history the last report reached."""

    @classmethod
    def fresh(cls, spec: JobSpec, network: Network, updater: Updater, lanes: list[Lane], lr: list[float]) -> "State":
        """Before the first step."""
        device = network.parameters.values.device
        return cls(
            spec=spec,
            network=network,
            updater=updater,
            generators=batches.generators(lanes, str(device)),
            batch_size=0,
            base_lr=list(lr),
            plateau=[PlateauState(rate) for rate in lr],
            best=[Best() for _ in lanes],
            patience=[Patience() for _ in lanes],
            stopped=[0 for _ in lanes],
            kept={},
            delivered={},
            delivered_epoch=[0 for _ in lanes],
            scale=LossScale(active=spec.precision == "fp16"),
            lost=torch.zeros(len(lanes), device=device),
            right=torch.zeros(len(lanes), device=device),
        )

    def rates(self, per_epoch: int) -> list[float]:
        """The learning rate of each lane in the next step."""
        base, schedule = self.base_lr, self.spec.schedule
        if min(base) == max(base):  # nearly always
            return [schedules.rate(schedule, base[0], self.step, per_epoch)] * len(base)
        return [schedules.rate(schedule, lr, self.step, per_epoch) for lr in base]

    # --- within an epoch

    def count(self, means: torch.Tensor, z: torch.Tensor, y: torch.Tensor) -> None:
        """Adds a batch to the epoch's training metrics: means [K], z [K, B, outputs], y [K, B, …]."""
        self.lost.add_(means, alpha=y.shape[1])
        self.seen += y.shape[1]
        if self.spec.task == "classification":
            predicted = (z.squeeze(2) > 0).long() if z.shape[2] == 1 else z.argmax(2)
            self.right += (predicted == y).sum(1)

    def log_step(self, means: torch.Tensor) -> None:
        """Remembers a batch loss; it is read when the next report is made."""
        self.logged.append((self.step, self.epoch, self.lr, means))

    def flush(self) -> tuple[list[Point], dict[str, JsonValue]]:
        """Points since the last report, and the newest value of each metric."""
        self._read_logged()
        points, self.reported = self.history[self.reported :], len(self.history)
        return points, dict(self.latest)

    def _read_logged(self) -> None:
        if self.logged:
            losses = torch.stack([each for *_, each in self.logged]).mean(1)
            values = losses.tolist()  # the one transfer from the device
            for (step, epoch, lr, _), value in zip(self.logged, values, strict=True):
                self._point("loss", step, epoch, value)
                self._point("lr", step, epoch, lr)
            self.logged.clear()

    def _point(self, name: str, step: int, epoch: int, value: float) -> None:
        self.history.append(point(name, step, epoch, value))
        self.latest[name] = self.history[-1].value

    # --- at the end of an epoch

    def end_epoch(self, measured: list[dict[str, float]] | None) -> bool:
        """Closes the epoch; True if a lane has a new best."""
        self._read_logged()  # the history's order must not depend on when reports were made
        self.epoch += 1
        now = self._epoch_metrics(measured)
        lanes = zip(self.metrics or now, now, self.stopped, strict=True)
        self.metrics = [old if gone else new for old, new, gone in lanes]
        for name in self.metrics[0]:
            self._point(name, self.step, self.epoch, sum(lane[name] for lane in self.metrics) / len(self.metrics))
        self.lost.zero_()
        self.right.zero_()
        self.seen = 0
        improved = [self._observe(lane) for lane in range(len(self.best)) if not self.stopped[lane]]
        return any(improved)

    def _epoch_metrics(self, measured: list[dict[str, float]] | None) -> list[dict[str, float]]:
        losses, right = (self.lost / self.seen).tolist(), (self.right / self.seen).tolist()
        metrics = [{"train_loss": loss} for loss in losses]
        for lane, values in enumerate(metrics):
            if self.spec.task == "classification":
                values["train_accuracy"] = right[lane]
            if measured:
                values |= {f"val_{name}": value for name, value in measured[lane].items()}
        return metrics

    def _observe(self, lane: int) -> bool:
        """The lane's best, patience and plateau."""
        checkpoint, stopping, schedule = self.spec.checkpoint, self.spec.early_stopping, self.spec.schedule
        assert checkpoint.mode != "auto" != stopping, "a resolved spec leaves nothing to guess"
        values = self.metrics[lane]
        improved = self.best[lane].observe(values[checkpoint.monitor], checkpoint.mode, self.epoch, self.step)
        if improved:
            self._keep(self.kept, lane)
        if isinstance(schedule, Plateau):
            self.plateau[lane].observe(schedule, values[schedule.monitor])
            self.base_lr[lane] = self.plateau[lane].lr
        if stopping:
            best, stop = self.patience[lane].observe(stopping, values[stopping.monitor], self.epoch - 1)
            self.stopped[lane] = self.epoch if stop else 0
            if best if stopping.restore_best_weights else stop:  # a lane that stops stays as it is, whatever goes on
                self._keep(self.delivered, lane)
                self.delivered_epoch[lane] = self.epoch
        return improved

    def _keep(self, into: Tensors, lane: int) -> None:
        for name, tensor in self.network.numbers().items():
            if name not in into:
                into[name] = tensor.clone()
            into[name][lane] = tensor[lane]

    # --- at the end of the run

    def deliver(self) -> int:
        """Puts the weights to deliver in place; answers their epoch (that of the best lane)."""
        for name, tensor in self.network.numbers().items():
            for lane, epoch in enumerate(self.delivered_epoch):
                if epoch:
                    tensor[lane] = self.delivered[name][lane]
        return self.delivered_epoch[self._best_lane()] or self.epoch

    def best_epoch(self) -> BestEpoch | None:
        """Of the lane that came out best."""
        best = self.best[self._best_lane()]
        if best.value is None:
            return None
        return BestEpoch(epoch=best.epoch, step=best.step, monitor=self.spec.checkpoint.monitor, value=best.value)

    def _best_lane(self) -> int:
        sign = -1 if self.spec.checkpoint.mode == "max" else 1
        values = [math.inf if best.value is None else sign * best.value for best in self.best]
        return values.index(min(values))

    def members(self) -> list[Member]:
        """Each lane of an ensemble, in order."""
        if self.spec.ensemble is None:
            return []
        lanes = zip(self.best, self.stopped, self.delivered_epoch, strict=True)
        return [
            Member(best_epoch=best.epoch, best=best.value, stopped=stopped or None, delivered_epoch=epoch or self.epoch)
            for best, stopped, epoch in lanes
        ]

    def best_weights(self) -> Tensors:
        """Of the best epoch, by name; the current ones before there is a best."""
        return self.network.named(self.kept) if self.kept else self.network.state()

    # --- written down and taken up again

    def snapshot(self) -> Snapshot:
        """All of it; nothing in it changes when training goes on."""
        tensors = {f"network/{name}": tensor for name, tensor in self.network.numbers().items()}
        tensors |= {f"kept/{name}": tensor for name, tensor in self.kept.items()}
        tensors |= {f"delivered/{name}": tensor for name, tensor in self.delivered.items()}
        tensors |= {f"optimizer/{name}": tensor for name, tensor in self.updater.state.items()}
        tensors |= {"lost": self.lost, "right": self.right}
        tensors |= {f"generator/{lane}": generator.get_state() for lane, generator in enumerate(self.generators)}
        tensors |= _tables(self.history)
        copies = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}
        return Snapshot(self.step, self.epoch, copies, self._scalars())

    def _scalars(self) -> dict[str, JsonValue]:
        parts = {name: [dataclasses.asdict(one) for one in getattr(self, name)] for name in PER_LANE}
        plain = {name: copy.deepcopy(getattr(self, name)) for name in PLAIN}
        listed = {name: [one.model_dump(mode="json") for one in getattr(self, name)] for name in LISTED}
        return plain | parts | listed | {"scale": dataclasses.asdict(self.scale)}

    def restore(self, snapshot: Snapshot) -> None:
        """Goes back to a snapshot of a run with the same spec."""
        tensors, scalars = snapshot.tensors, dict[str, Any](snapshot.state)
        device = self.lost.device
        for now, prefix in ((self.network.numbers(), "network/"), (self.updater.state, "optimizer/")):
            for name, tensor in now.items():
                tensor.copy_(tensors[prefix + name])
        self.kept = {name: tensor.to(device) for name, tensor in _below(tensors, "kept/").items()}
        self.delivered = {name: tensor.to(device) for name, tensor in _below(tensors, "delivered/").items()}
        self.history = _points(_below(tensors, "history/"))
        self.reported = len(self.history)
        self.lost.copy_(tensors["lost"])
        self.right.copy_(tensors["right"])
        for lane, generator in enumerate(self.generators):
            generator.set_state(tensors[f"generator/{lane}"])
        for name in PLAIN:
            setattr(self, name, scalars[name])
        for name, part in PER_LANE.items():
            setattr(self, name, [part(**values) for values in scalars[name]])
        self.scale = LossScale(**scalars["scale"])
        for name, one in LISTED.items():
            setattr(self, name, [one.model_validate(values) for values in scalars[name]])


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
LISTED: dict[str, type[Part]] = {"decisions": Decision, "flows": Flow}
"""and those that are lists of what is reported."""


def _below(tensors: Tensors, prefix: str) -> Tensors:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _tables(points: list[Point]) -> Tensors:
    """Each metric as [n, 4]: place in the history, step, epoch, value."""
    rows: dict[str, list[tuple[float, ...]]] = {}
    for place, one in enumerate(points):
        value = float(one.nonfinite) if one.nonfinite else one.value or 0.0
        rows.setdefault(f"history/{one.name}", []).append((place, one.step, one.epoch, value))
    return {name: torch.tensor(table, dtype=torch.float64) for name, table in rows.items()}


def _points(tables: Tensors) -> list[Point]:
    rows = [(place, name, step, epoch, value) for name, t in tables.items() for place, step, epoch, value in t.tolist()]
    return [point(name, int(step), int(epoch), value) for _, name, step, epoch, value in sorted(rows)]


def point(name: str, step: int, epoch: int, value: float) -> Point:
    """A metric's value, said in a way that JSON can carry."""
    if math.isfinite(value):
        return Point(name=name, step=step, epoch=epoch, value=value)
    broken = "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"
    return Point(name=name, step=step, epoch=epoch, value=None, nonfinite=broken)


@dataclass(frozen=True)
class Moment:
    """A report, and the run behind it: look into it before the next moment is asked for."""

    report: Started | Progress | Finished
    state: State
