"""Everything that changes while a model is trained, and how it is written down and taken up again."""

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any

import torch
from pydantic import JsonValue

from jobs.spec.job import JobSpec
from jobs.spec.schedule import Plateau
from trainer import seeds
from trainer.network import Network, Tensors
from trainer.reports import BestEpoch, Finished, Point, Progress, Started
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
    optimizer: torch.optim.Optimizer
    generators: list[torch.Generator]
    """For dropout."""
    base_lr: float
    """What the schedule starts from; a plateau lowers it."""
    plateau: PlateauState
    best: list[Best]
    patience: list[Patience]
    stopped: list[bool]
    kept: Tensors
    """The state of the best epoch by the checkpoint's monitor, lane by lane."""
    restored: Tensors
    """The state to deliver by early stopping's rule, lane by lane; empty if it is not asked for."""
    restored_epoch: list[int]
    lost: torch.Tensor
    """Σ loss over this epoch's batches, weighed by rows; [K]."""
    right: torch.Tensor
    """Rows of this epoch classified right; [K]."""
    step: int = 0
    """Updates made."""
    epoch: int = 0
    """Epochs finished."""
    seen: int = 0
    """Rows of this epoch trained on."""
    lr: float = 0.0
    seconds: float = 0.0
    speed: float | None = None
    metrics: list[dict[str, float]] = field(default_factory=list)
    latest: dict[str, JsonValue] = field(default_factory=dict)
    logged: list[tuple[int, int, float, torch.Tensor]] = field(default_factory=list)
    """(step, epoch, lr, loss) not yet reported; the loss is still on the device."""
    history: list[Point] = field(default_factory=list)
    """Every point since the first step."""
    reported: int = 0
    """How much of the history the last report reached."""

    @classmethod
    def fresh(
        cls, spec: JobSpec, network: Network, optimizer: torch.optim.Optimizer, lane_seeds: list[int], device: str
    ) -> "State":
        """Before the first step."""
        lanes, lr = len(lane_seeds), spec.optimizer.lr
        return cls(
            spec=spec,
            network=network,
            optimizer=optimizer,
            generators=[seeds.generator(seed, "dropout", device=device) for seed in lane_seeds],
            base_lr=lr,
            plateau=PlateauState(lr),
            best=[Best() for _ in range(lanes)],
            patience=[Patience() for _ in range(lanes)],
            stopped=[False] * lanes,
            kept={},
            restored={},
            restored_epoch=[0] * lanes,
            lost=torch.zeros(lanes, device=device),
            right=torch.zeros(lanes, device=device),
        )

    # --- within an epoch

    def count(self, means: torch.Tensor, z: torch.Tensor, y: torch.Tensor) -> None:
        """Adds a batch to the epoch's training metrics: means [K], z [K, B, outputs], y [K, B, …]."""
        self.lost += means * y.shape[1]
        self.seen += y.shape[1]
        if self.spec.task == "classification":
            predicted = (z.squeeze(2) > 0).long() if z.shape[2] == 1 else z.argmax(2)
            self.right += (predicted == y).sum(1)

    def log_step(self, means: torch.Tensor) -> None:
        """Remembers a batch loss; it is read when the next report is made."""
        self.logged.append((self.step, self.epoch, self.lr, means[0]))

    def flush(self) -> tuple[list[Point], dict[str, JsonValue]]:
        """Points since the last report, and the newest value of each metric."""
        self._read_logged()
        points, self.reported = self.history[self.reported :], len(self.history)
        return points, dict(self.latest)

    def _read_logged(self) -> None:
        if self.logged:
            values = torch.stack([loss for *_, loss in self.logged]).tolist()  # the one transfer from the device
            for (step, epoch, lr, _), value in zip(self.logged, values, strict=True):
                self._point("loss", step, epoch, value)
                self._point("lr", step, epoch, lr)
            self.logged.clear()

    def _point(self, name: str, step: int, epoch: int, value: float) -> None:
        self.history.append(point(name, step, epoch, value))
        self.latest[name] = self.history[-1].value

    # --- at the end of an epoch

    def end_epoch(self, measured: list[dict[str, float]] | None) -> bool:
        """Closes the epoch; True if lane 0 has a new best."""
        self._read_logged()  # the history's order must not depend on when reports were made
        self.epoch += 1
        self.metrics = self._epoch_metrics(measured)
        for name, value in self.metrics[0].items():
            self._point(name, self.step, self.epoch, value)
        self.lost.zero_()
        self.right.zero_()
        self.seen = 0
        improved = [self._observe(lane) for lane in range(len(self.best))]
        return improved[0]

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
        """The lane's best and patience; a lane that has stopped is left as it was."""
        if self.stopped[lane]:
            return False
        checkpoint, stopping = self.spec.checkpoint, self.spec.early_stopping
        assert checkpoint.mode != "auto" != stopping, "a resolved spec leaves nothing to guess"
        value = self.metrics[lane][checkpoint.monitor]
        improved = self.best[lane].observe(value, checkpoint.mode, self.epoch, self.step)
        if improved:
            self._keep(self.kept, lane)
        if stopping:
            best, stop = self.patience[lane].observe(stopping, self.metrics[lane][stopping.monitor], self.epoch - 1)
            self.stopped[lane] = stop
            if best and stopping.restore_best_weights:
                self._keep(self.restored, lane)
                self.restored_epoch[lane] = self.epoch
        return improved

    def _keep(self, into: Tensors, lane: int) -> None:
        for name, tensor in self.network.state().items():
            if name not in into:
                into[name] = tensor.detach().clone()
            into[name][lane] = tensor[lane].detach()

    def observe_plateau(self, schedule: Plateau) -> None:
        """Lets a plateau schedule see lane 0's monitor."""
        self.plateau.observe(schedule, self.metrics[0][schedule.monitor])
        self.base_lr = self.plateau.lr

    def deliver(self) -> int:
        """Puts the weights to deliver in place; answers their epoch (lane 0)."""
        if not self.restored:
            return self.epoch
        self.network.load(self.restored)
        return self.restored_epoch[0]

    def best_epoch(self) -> BestEpoch | None:
        """Of lane 0."""
        best = self.best[0]
        if best.value is None:
            return None
        return BestEpoch(epoch=best.epoch, step=best.step, monitor=self.spec.checkpoint.monitor, value=best.value)

    def best_weights(self) -> Tensors:
        """Of the best epoch; the current ones before there is a best."""
        return {name: tensor.detach().cpu() for name, tensor in (self.kept or self.network.state()).items()}

    # --- written down and taken up again

    def snapshot(self) -> Snapshot:
        """All of it; nothing in it changes when training goes on."""
        tensors = {f"network/{name}": tensor for name, tensor in self.network.state().items()}
        tensors |= {f"kept/{name}": tensor for name, tensor in self.kept.items()}
        tensors |= {f"restored/{name}": tensor for name, tensor in self.restored.items()}
        tensors |= {"lost": self.lost, "right": self.right}
        tensors |= {f"generator/{lane}": generator.get_state() for lane, generator in enumerate(self.generators)}
        tensors |= _tables(self.history)
        for index, (parameter, _) in enumerate(self._parameters()):
            for name, value in self.optimizer.state[parameter].items():
                if isinstance(value, torch.Tensor):
                    tensors[f"optimizer/{index}/{name}"] = value
        copies = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}
        return Snapshot(self.step, self.epoch, copies, self._scalars())

    def _scalars(self) -> dict[str, JsonValue]:
        return {
            "step": self.step,
            "epoch": self.epoch,
            "seen": self.seen,
            "seconds": self.seconds,
            "base_lr": self.base_lr,
            "lr": self.lr,
            "plateau": dataclasses.asdict(self.plateau),
            "best": [dataclasses.asdict(best) for best in self.best],
            "patience": [dataclasses.asdict(patience) for patience in self.patience],
            "stopped": list(self.stopped),
            "restored_epoch": list(self.restored_epoch),
            "latest": dict(self.latest),
        }

    def restore(self, snapshot: Snapshot) -> None:
        """Goes back to a snapshot of a run with the same spec."""
        tensors, scalars = snapshot.tensors, dict[str, Any](snapshot.state)
        device = self.lost.device
        self.network.load(_below(tensors, "network/"))
        self.kept = {name: tensor.to(device) for name, tensor in _below(tensors, "kept/").items()}
        self.restored = {name: tensor.to(device) for name, tensor in _below(tensors, "restored/").items()}
        self.history = _points(_below(tensors, "history/"))
        self.reported = len(self.history)
        self.lost.copy_(tensors["lost"])
        self.right.copy_(tensors["right"])
        for lane, generator in enumerate(self.generators):
            generator.set_state(tensors[f"generator/{lane}"])
        for index, (parameter, fused) in enumerate(self._parameters()):
            self.optimizer.state[parameter] = {
                name: value.to("cpu" if name == "step" and not fused else device, copy=True)
                for name, value in _below(tensors, f"optimizer/{index}/").items()
            }
        for name in ("step", "epoch", "seen", "seconds", "base_lr", "lr", "stopped", "restored_epoch", "latest"):
            setattr(self, name, scalars[name])
        self.plateau = PlateauState(**scalars["plateau"])
        self.best = [Best(**best) for best in scalars["best"]]
        self.patience = [Patience(**patience) for patience in scalars["patience"]]

    def _parameters(self) -> list[tuple[torch.Tensor, bool]]:
        """In the optimizer's order, and whether it is a fused one: those count steps on the device."""
        groups = self.optimizer.param_groups
        return [(parameter, bool(group.get("fused"))) for group in groups for parameter in group["params"]]


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
