"""Schedules against torch.optim.lr_scheduler over hundreds of steps, boundaries included."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.optim import lr_scheduler as reference

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
    Warmup,
)
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


STEPS = 400
CASES: list[tuple[Schedule, Callable[[torch.optim.Optimizer], reference.LRScheduler]]] = [
    (Step(size=7, gamma=0.5), lambda o: reference.StepLR(o, 7, 0.5)),
    (Step(size=1, gamma=1.0), lambda o: reference.StepLR(o, 1, 1.0)),
    (MultiStep(milestones=[1, 30, 31, 200]), lambda o: reference.MultiStepLR(o, [1, 30, 31, 200])),
    (MultiStep(milestones=[5, 5], gamma=0.5), lambda o: reference.MultiStepLR(o, [5, 5], 0.5)),
    (Exponential(gamma=0.97), lambda o: reference.ExponentialLR(o, 0.97)),
    (
        InverseTime(rate=0.096, size=3),
        lambda o: reference.LambdaLR(o, lambda i: 1 / (1 + 0.096 * math.floor(i / 3))),
    ),
    (
        Linear(length=5, start_factor=1 / 3, end_factor=1.0),
        lambda o: reference.LinearLR(o),
    ),
    (Linear(length=300), lambda o: reference.LinearLR(o, 1.0, 0.0, 300)),
    (Polynomial(length=5), lambda o: reference.PolynomialLR(o)),
    (Polynomial(length=300, power=2.5), lambda o: reference.PolynomialLR(o, 300, 2.5)),
    (OneCycle(length=STEPS), lambda o: one_cycle(o)),
    (OneCycle(length=STEPS, pct_start=0.25), lambda o: one_cycle(o, pct_start=0.25)),
    (OneCycle(length=STEPS, pct_start=0.001), lambda o: one_cycle(o, pct_start=0.001)),
    (
        OneCycle(length=STEPS, div_factor=10.0, final_div_factor=100.0),
        lambda o: one_cycle(o, div_factor=10.0, final_div_factor=100.0),
    ),
]


def one_cycle(optimizer: torch.optim.Optimizer, **options: float) -> reference.LRScheduler:
    return reference.OneCycleLR(optimizer, LR, STEPS, cycle_momentum=False, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(("schedule", "build"), CASES, ids=lambda value: getattr(value, "kind", ""))
def test_a_schedule_equals_torch(
    schedule: Schedule, build: Callable[[torch.optim.Optimizer], reference.LRScheduler]
) -> None:
    expected = theirs(build(optimizer()), STEPS)
    assert ours(schedule, STEPS) == pytest.approx(expected, rel=1e-9, abs=1e-15)


@pytest.mark.parametrize("schedule", [schedule for schedule, _ in CASES], ids=lambda value: value.kind)
def test_units_only_say_what_is_counted(schedule: Schedule) -> None:
    in_steps = ours(schedule.model_copy(update={"unit": "step"}), STEPS)
    assert ours(schedule.model_copy(update={"unit": "step"}), STEPS, per_epoch=7) == in_steps
    in_epochs = ours(schedule.model_copy(update={"unit": "epoch"}), STEPS, per_epoch=7)
    assert in_epochs == [in_steps[step // 7] for step in range(STEPS)]


@pytest.mark.parametrize("warmup", [Warmup(length=3), Warmup(length=2, unit="epoch")], ids=["steps", "epochs"])
@pytest.mark.parametrize("schedule", [schedule for schedule, _ in CASES], ids=lambda value: value.kind)
def test_a_schedule_begins_when_its_warm_up_ends(schedule: Schedule, warmup: Warmup) -> None:
    taken = 3 if warmup.unit == "step" else 10
    warmed = ours(schedule.model_copy(update={"warmup": warmup}), 100, 5)
    assert warmed[:taken] == [LR * (i // (taken // warmup.length) + 1) / warmup.length for i in range(taken)]
    assert warmed[taken:] == ours(schedule, 100 - taken, 5)


EXTREMES: list[Schedule] = [
    Step(size=1, gamma=1e-300),
    MultiStep(milestones=[1_000_000_000], gamma=1e-300),
    Exponential(gamma=1e-300),
    InverseTime(rate=1e30),
    Linear(length=1, start_factor=1e-300),
    Polynomial(length=1, power=1e30),
    Polynomial(length=1_000_000_000, power=1e-30),
    CosineRestarts(length=1, factor=1000),
    OneCycle(length=1),
    OneCycle(length=2, pct_start=0.5),
    OneCycle(length=1_000_000_000, pct_start=1e-9, div_factor=1e30, final_div_factor=1e30),
    OneCycle(length=3, pct_start=0.999999),
]


@pytest.mark.parametrize("schedule", EXTREMES, ids=lambda value: value.kind)
def test_no_setting_gives_a_rate_outside_of_0_and_lr(schedule: Schedule) -> None:
    later = [schedules.rate(schedule, LR, step, 1) for step in (10**6, 10**9, 10**12)]
    assert all(0 <= lr <= LR * (1 + 1e-12) for lr in ours(schedule, 50) + later)


def test_polynomial_ends_at_its_floor_as_keras_has_it() -> None:
    assert ours(Polynomial(length=10, min_lr=0.01), 16)[5:] == pytest.approx(
        [0.055 - 0.009 * i for i in range(5)] + [0.01] * 6
    )


def test_one_cycle_stays_at_its_end() -> None:
    assert ours(OneCycle(length=10), 14)[9:] == pytest.approx([LR / 25 / 1e4] * 5)


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


MODES = [("min", "rel"), ("max", "rel"), ("min", "abs"), ("max", "abs")]


@pytest.mark.parametrize(("mode", "threshold_mode"), MODES)
@pytest.mark.parametrize(("patience", "cooldown"), [(0, 0), (3, 2), (5, 5)])
@pytest.mark.parametrize("threshold", [0.0, 1e-4, 0.02])
def test_plateau_equals_torch(mode: Any, threshold_mode: Any, patience: int, cooldown: int, threshold: float) -> None:
    options: dict[str, Any] = {
        "mode": mode,
        "patience": patience,
        "cooldown": cooldown,
        "min_lr": 1e-5,
        "threshold": threshold,
        "threshold_mode": threshold_mode,
    }
    schedule = Plateau(monitor="val_loss", **options)
    state, optimiser = PlateauState(LR), optimizer()
    scheduler = reference.ReduceLROnPlateau(optimiser, **options)
    for value in [1 + math.cos(step / 9) * math.exp(-step / 60) for step in range(300)]:
        scheduler.step(value)
        state.observe(schedule, value)
        assert state.lr == pytest.approx(optimiser.param_groups[0]["lr"], rel=1e-12)


def test_a_value_that_is_not_finite_never_counts_as_progress() -> None:
    state = PlateauState(LR)
    schedule = Plateau(monitor="val_loss", mode="min", patience=1)
    for value in [math.nan, math.inf]:
        state.observe(schedule, value)
    assert state.lr == pytest.approx(LR * 0.1)
    assert state.best is None
