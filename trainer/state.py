"""Everything that changes while a model is trained, and what becomes of it at the end of an epoch and of the run."""

import math
from dataclasses import dataclass, field

import torch
from pydantic import JsonValue

from jobs.spec.explained import Decision, Flow
from jobs.spec.job import JobSpec
from jobs.spec.schedule import Plateau
from trainer import batches, schedules
from trainer.batches import Lane
from trainer.model.network import Network
from trainer.model.parameters import Tensors
from trainer.model.precision import LossScale
from trainer.optimizers import Updater
from trainer.reports import BestEpoch, Finished, Member, Point, Progress, Started
from trainer.schedules import PlateauState
from trainer.stopping import Best, Patience

ANSWERS = 64
"""Batches whose answers are counted at once."""


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
    answers: list[tuple[torch.Tensor, torch.Tensor]] = field(default_factory=list)
    """Outputs and labels of the last batches, not yet counted: one count of many costs little more than one of few."""
    step: int = 0
    """Batches trained on."""
    overall: Best = field(default_factory=Best)
    """The best epoch by the mean over lanes."""
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
            right=torch.zeros(len(lanes), dtype=torch.int64, device=device),
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
            self.answers.append((z, y))
            if len(self.answers) == ANSWERS:
                self.tally()

    def tally(self) -> None:
        """Counts the answers that were right. Their numbers are whole: it does not matter when this is done."""
        if self.answers:
            z, y = (torch.cat(part, 1) for part in zip(*self.answers, strict=True))
            predicted = (z.squeeze(2) > 0).long() if z.shape[2] == 1 else z.argmax(2)
            self.right += (predicted == y).sum(1)
            self.answers.clear()

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
        """Closes the epoch; True if it is the best so far."""
        self._read_logged()  # the history's order must not depend on when reports were made
        self.epoch += 1
        now = self._epoch_metrics(measured)
        lanes = zip(self.metrics or now, now, self.stopped, strict=True)
        self.metrics = [old if gone else new for old, new, gone in lanes]
        means = {name: sum(lane[name] for lane in self.metrics) / len(self.metrics) for name in self.metrics[0]}
        for name, value in means.items():
            self._point(name, self.step, self.epoch, value)
        self.lost.zero_()
        self.right.zero_()
        self.seen = 0
        for lane in range(len(self.best)):
            if not self.stopped[lane]:
                self._observe(lane)
        checkpoint = self.spec.checkpoint
        assert checkpoint.mode != "auto", "a resolved spec leaves nothing to guess"
        return self.overall.observe(means[checkpoint.monitor], checkpoint.mode, self.epoch, self.step)

    def _epoch_metrics(self, measured: list[dict[str, float]] | None) -> list[dict[str, float]]:
        self.tally()
        losses, right = (self.lost / self.seen).tolist(), (self.right / self.seen).tolist()
        metrics = [{"train_loss": loss} for loss in losses]
        for lane, values in enumerate(metrics):
            if self.spec.task == "classification":
                values["train_accuracy"] = right[lane]
            if measured:
                values |= {f"val_{name}": value for name, value in measured[lane].items()}
        return metrics

    def _observe(self, lane: int) -> None:
        """The lane's best, patience and plateau."""
        checkpoint, stopping, schedule = self.spec.checkpoint, self.spec.early_stopping, self.spec.schedule
        assert checkpoint.mode != "auto" != stopping, "a resolved spec leaves nothing to guess"
        values = self.metrics[lane]
        if self.best[lane].observe(values[checkpoint.monitor], checkpoint.mode, self.epoch, self.step):
            self._keep(self.kept, lane)
        if isinstance(schedule, Plateau):
            self.plateau[lane].observe(schedule, values[schedule.monitor])
            self.base_lr[lane] = self.plateau[lane].lr
        if stopping:
            best, stop = self.patience[lane].observe(stopping, values[stopping.monitor], self.epoch - 1)
            self.stopped[lane] = self.epoch if stop else 0
            stops_without = stop and not self.delivered_epoch[lane]  # it stays as it is, while others go on
            if stops_without or (best and stopping.restore_best_weights):
                self._keep(self.delivered, lane)
                self.delivered_epoch[lane] = self.epoch

    def _keep(self, into: Tensors, lane: int) -> None:
        for name, tensor in self.network.numbers().items():
            if name not in into:
                into[name] = tensor.clone()
            into[name][lane] = tensor[lane]

    # --- at the end of the run

    def deliver(self) -> int:
        """Puts the weights to deliver in place; answers their epoch, the latest where lanes differ.

        In the middle of an epoch that is the best before it, since nothing was measured there; 0 if none has ended.
        """
        for lane, best in enumerate(self.best):
            if self.seen and best.epoch and not self.delivered_epoch[lane]:
                for name, tensor in self.kept.items():
                    self.delivered.setdefault(name, tensor.clone())[lane] = tensor[lane]
                self.delivered_epoch[lane] = best.epoch
        for name, tensor in self.network.numbers().items():
            for lane, epoch in enumerate(self.delivered_epoch):
                if epoch:
                    tensor[lane] = self.delivered[name][lane]
        return max(epoch or self.epoch for epoch in self.delivered_epoch)

    def best_epoch(self) -> BestEpoch | None:
        """By the mean over lanes, as the history has it."""
        best = self.overall
        if best.value is None:
            return None
        return BestEpoch(epoch=best.epoch, step=best.step, monitor=self.spec.checkpoint.monitor, value=best.value)

    def newest_best(self) -> Best:
        """The latest epoch that was a lane's best; step 0 before there is one."""
        return max(self.best, key=lambda best: best.step)

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
