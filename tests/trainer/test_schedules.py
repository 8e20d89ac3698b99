"""Schedules against torch.optim.lr_scheduler over hundreds of steps, boundaries included."""

import math

import pytest
import torch
from torch.optim import lr_scheduler as reference

from jobs.spec.schedule import Constant, Cosine, CosineRestarts, Exponential, Plateau, Schedule, Step, Warmup
from trainer import schedules
from trainer.schedules import PlateauState

LR = 0.1


def optimizer() -> torch.optim.Optimizer:
    return torch.optim.SGD([torch.zeros(1, requires_grad=True)], LR)


def theirs(scheduler: reference.LRScheduler, steps: int) -> list[float]:
    rates = []
    for _ in range(steps):
        rates.append(scheduler.optimizer.param_groups[0]["lr"])
        scheduler.optimizer.step()
        scheduler.step()
    return rates


def ours(schedule: Schedule, steps: int, per_epoch: int = 1) -> list[float]:
    return [schedules.rate(schedule, LR, step, per_epoch) for step in range(steps)]


def test_step_equals_torch() -> None:
    assert ours(Step(size=7, gamma=0.5), 300) == pytest.approx(theirs(reference.StepLR(optimizer(), 7, 0.5), 300))


def test_exponential_equals_torch() -> None:
    expected = theirs(reference.ExponentialLR(optimizer(), 0.97), 300)
    assert ours(Exponential(gamma=0.97), 300) == pytest.approx(expected)


def test_cosine_equals_torch_down_to_its_floor_and_stays_there() -> None:
    expected = theirs(reference.CosineAnnealingLR(optimizer(), 100, 0.001), 101)
    rates = ours(Cosine(length=100, min_lr=0.001), 300)
    assert rates[:101] == pytest.approx(expected)
    assert rates[100:] == [0.001] * 200


@pytest.mark.parametrize("factor", [1, 2, 3])
def test_restarts_equal_torch(factor: int) -> None:
    expected = theirs(reference.CosineAnnealingWarmRestarts(optimizer(), 10, factor, 0.001), 300)
    assert ours(CosineRestarts(length=10, factor=factor, min_lr=0.001), 300) == pytest.approx(expected)


def test_epochs_hold_the_rate_for_all_their_steps() -> None:
    assert ours(Step(size=1, gamma=0.5), 6, per_epoch=3) == [0.1, 0.1, 0.1, 0.05, 0.05, 0.05]


def test_warm_up_starts_at_one_nth_and_ends_where_the_schedule_begins() -> None:
    schedule = Step(size=2, gamma=0.5, unit="step", warmup=Warmup(length=4))
    assert ours(schedule, 9) == pytest.approx([0.025, 0.05, 0.075, 0.1, 0.1, 0.1, 0.05, 0.05, 0.025])


def test_warm_up_in_epochs_rises_by_epochs() -> None:
    schedule = Constant(warmup=Warmup(length=2, unit="epoch"))
    assert ours(schedule, 6, per_epoch=2) == pytest.approx([0.05, 0.05, 0.1, 0.1, 0.1, 0.1])


@pytest.mark.parametrize(("patience", "cooldown", "mode"), [(0, 0, "min"), (3, 2, "min"), (5, 5, "max")])
def test_plateau_equals_torch(patience: int, cooldown: int, mode: str) -> None:
    values = [1 + math.cos(step / 9) * math.exp(-step / 60) for step in range(300)]
    schedule = Plateau(
        monitor="val_loss", mode="max" if mode == "max" else "min", patience=patience, cooldown=cooldown, min_lr=1e-5
    )
    state, optimiser = PlateauState(LR), optimizer()
    scheduler = reference.ReduceLROnPlateau(
        optimiser,
        "max" if mode == "max" else "min",
        patience=patience,
        cooldown=cooldown,
        min_lr=1e-5,
    )
    for value in values:
        scheduler.step(value)
        state.observe(schedule, value)
        assert state.lr == pytest.approx(optimiser.param_groups[0]["lr"])


def test_a_value_that_is_not_finite_never_counts_as_progress() -> None:
    state = PlateauState(LR)
    schedule = Plateau(monitor="val_loss", mode="min", patience=1)
    for value in [math.nan, math.inf]:
        state.observe(schedule, value)
    assert state.lr == pytest.approx(LR * 0.1)
    assert state.best is None
