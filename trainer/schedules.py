"""The learning rate as a function of the step: nothing to store, except where it depends on the monitor."""

import math
from dataclasses import dataclass
from typing import assert_never

from jobs.spec.schedule import (
    Constant,
    Cosine,
    CosineRestarts,
    Exponential,
    Plateau,
    Schedule,
    Step,
    Unit,
)


def rate(schedule: Schedule, lr: float, step: int, steps_per_epoch: int) -> float:
    """The rate of a step counted from 0. For plateau, `lr` is what `PlateauState` made of it so far."""
    warmup = schedule.warmup
    if warmup:
        length = warmup.length * (steps_per_epoch if warmup.unit == "epoch" else 1)
        if step < length:
            unit = steps_per_epoch if warmup.unit == "epoch" else 1
            return lr * (step // unit + 1) / warmup.length
        step -= length
    match schedule:
        case Constant() | Plateau():
            return lr
        case Step():
            return lr * schedule.gamma ** (_units(step, schedule.unit, steps_per_epoch) // schedule.size)
        case Exponential():
            return lr * schedule.gamma ** _units(step, schedule.unit, steps_per_epoch)
        case Cosine():
            assert schedule.length != "auto", "a resolved spec leaves no length to guess"
            done = min(_units(step, schedule.unit, steps_per_epoch) / schedule.length, 1.0)
            return _cosine(lr, schedule.min_lr, done)
        case CosineRestarts():
            return _cosine(lr, schedule.min_lr, _within_period(schedule, step, steps_per_epoch))
        case _:
            assert_never(schedule)


def _units(step: int, unit: Unit, steps_per_epoch: int) -> int:
    return step // steps_per_epoch if unit == "epoch" else step


def _cosine(lr: float, floor: float, done: float) -> float:
    return floor + (lr - floor) * (1 + math.cos(math.pi * done)) / 2


def _within_period(schedule: CosineRestarts, step: int, steps_per_epoch: int) -> float:
    at, period = _units(step, schedule.unit, steps_per_epoch), schedule.length
    if schedule.factor == 1:
        return at % period / period
    while at >= period:
        at, period = at - period, period * schedule.factor
    return at / period


@dataclass
class PlateauState:
    """`torch.optim.lr_scheduler.ReduceLROnPlateau` with `threshold_mode='rel'`."""

    lr: float
    best: float | None = None
    bad: int = 0
    cooling: int = 0

    def observe(self, schedule: Plateau, value: float) -> None:
        """The monitor at the end of an epoch; a non-finite one never is an improvement."""
        if self._improves(schedule, value):
            self.best, self.bad = value, 0
        else:
            self.bad += 1
        if self.cooling > 0:
            self.cooling -= 1
            self.bad = 0
        if self.bad > schedule.patience:
            self._reduce(schedule)

    def _improves(self, schedule: Plateau, value: float) -> bool:
        if not math.isfinite(value):
            return False
        if self.best is None:
            return True
        if schedule.mode == "min":
            return value < self.best * (1 - schedule.threshold)
        return value > self.best * (1 + schedule.threshold)

    def _reduce(self, schedule: Plateau) -> None:
        reduced = max(self.lr * schedule.factor, schedule.min_lr)
        if self.lr - reduced > 1e-8:
            self.lr = reduced
        self.bad, self.cooling = 0, schedule.cooldown
