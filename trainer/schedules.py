"""The learning rate as a function of the step: nothing to store, except where it depends on the monitor."""

import math
from dataclasses import dataclass
from typing import assert_never

from jobs.spec.schedule import (
    Constant,
    Cosine,
    CosineRestarts,
    Exponential,
    InverseTime,
    Linear,
    MultiStep,
    OneCycle,
    Plateau,
    Polynomial,
    Schedule,
    Step,
)


def rate(schedule: Schedule, lr: float, step: int, steps_per_epoch: int) -> float:
    """The rate of a step counted from 0. For plateau, `lr` is what `PlateauState` made of it so far."""
    warmup = schedule.warmup
    if warmup:
        unit = steps_per_epoch if warmup.unit == "epoch" else 1
        if step < warmup.length * unit:
            return lr * (step // unit + 1) / warmup.length
        step -= warmup.length * unit
    if isinstance(schedule, Constant | Plateau):
        return lr
    return _rate(schedule, lr, step // steps_per_epoch if schedule.unit == "epoch" else step)


def _rate(
    schedule: Step | MultiStep | Exponential | InverseTime | Linear | Polynomial | Cosine | CosineRestarts | OneCycle,
    lr: float,
    i: int,
) -> float:
    match schedule:
        case Step():
            return lr * schedule.gamma ** (i // schedule.size)
        case MultiStep():
            return lr * schedule.gamma ** sum(milestone <= i for milestone in schedule.milestones)
        case Exponential():
            return lr * schedule.gamma**i
        case InverseTime():
            return lr / (1 + schedule.rate * (i // schedule.size))
        case Linear():
            start, end = schedule.start_factor, schedule.end_factor
            return lr * (start + (end - start) * _done(schedule, i))
        case Polynomial():
            return schedule.min_lr + (lr - schedule.min_lr) * math.pow(1 - _done(schedule, i), schedule.power)
        case Cosine():
            return _cosine(lr, schedule.min_lr, _done(schedule, i))
        case CosineRestarts():
            return _cosine(lr, schedule.min_lr, _within_period(schedule, i))
        case OneCycle():
            return _one_cycle(schedule, lr, i)
        case _:
            assert_never(schedule)


def _done(schedule: Linear | Polynomial | Cosine, i: int) -> float:
    """The share of the length that is over, in [0, 1]."""
    assert schedule.length != "auto", "a resolved spec leaves no length to guess"
    return min(i / schedule.length, 1.0)


def _cosine(start: float, end: float, done: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * done)) / 2


def _within_period(schedule: CosineRestarts, i: int) -> float:
    period = schedule.length
    if schedule.factor == 1:
        return i % period / period
    while i >= period:
        i, period = i - period, period * schedule.factor
    return i / period


def _one_cycle(schedule: OneCycle, peak: float, i: int) -> float:
    assert schedule.length != "auto", "a resolved spec leaves no length to guess"
    first, last = peak / schedule.div_factor, schedule.length - 1
    top = schedule.pct_start * schedule.length - 1  # as in torch, rarely a whole number
    if i < top:
        return _cosine(first, peak, i / top)
    return _cosine(peak, first / schedule.final_div_factor, min((i - top) / (last - top), 1.0))


@dataclass
class PlateauState:
    """`torch.optim.lr_scheduler.ReduceLROnPlateau`, of one lane."""

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
        step = -schedule.threshold if schedule.mode == "min" else schedule.threshold
        bound = self.best * (1 + step) if schedule.threshold_mode == "rel" else self.best + step
        return value < bound if schedule.mode == "min" else value > bound

    def _reduce(self, schedule: Plateau) -> None:
        reduced = max(self.lr * schedule.factor, schedule.min_lr)
        if self.lr - reduced > 1e-8:
            self.lr = reduced
        self.bad, self.cooling = 0, schedule.cooldown
