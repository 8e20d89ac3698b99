"""Learning rates that Keras and PyTorch expect. Keras counts steps; PyTorch, whatever calls `step()`."""

from collections.abc import Callable
from typing import Any

import pytest

from jobs.spec.schedule import (
    Cosine,
    Exponential,
    InverseTime,
    Linear,
    MultiStep,
    Plateau,
    Polynomial,
    Schedule,
    Step,
)
from tests.golden.cases import Case, each
from trainer import schedules
from trainer.schedules import PlateauState

Config = dict[str, Any]


def exponential_decay(config: Config) -> Schedule:
    if config.get("staircase"):
        return Step(size=config["decay_steps"], gamma=config["decay_rate"], unit="step")
    return Exponential(gamma=config["decay_rate"] ** (1 / config["decay_steps"]), unit="step")


def inverse_time_decay(config: Config) -> Schedule:
    steps, rate = config["decay_steps"], config["decay_rate"]
    if config.get("staircase"):
        return InverseTime(rate=rate, size=steps, unit="step")
    return InverseTime(rate=rate / steps, unit="step")


def piecewise_constant(config: Config) -> Schedule:
    """Keras keeps the old rate at a boundary, we and PyTorch take the new one there."""
    values, after = config["values"], [boundary + 1 for boundary in config["boundaries"]]
    gamma = values[1] / values[0]
    assert values == pytest.approx([values[0] * gamma**drops for drops in range(len(values))]), "one factor, all drops"
    return MultiStep(milestones=after, gamma=gamma, unit="step")


def polynomial_decay(config: Config) -> Schedule:
    return Polynomial(length=config["decay_steps"], min_lr=config["end"], power=config["power"], unit="step")


def cosine_decay(config: Config) -> Schedule:
    """Keras's floor is a fraction of the rate, ours is absolute, as PyTorch's."""
    floor = config.get("alpha", 0.0) * config["initial"]
    return Cosine(length=config["decay_steps"], min_lr=floor, unit="step")


def linear(config: Config) -> Schedule:
    factors = {"start_factor": config["start_factor"], "end_factor": config["end_factor"]}
    return Linear(length=config["total_iters"], unit="step", **factors)


def plateau(config: Config) -> Schedule:
    return Plateau.model_validate({"monitor": "val_loss"} | {k: v for k, v in config.items() if k != "base_lr"})


TRANSLATIONS: dict[str, Callable[[Config], Schedule]] = {
    "ExponentialDecay": exponential_decay,
    "InverseTimeDecay": inverse_time_decay,
    "PiecewiseConstant": piecewise_constant,
    "PolynomialDecay": polynomial_decay,
    "CosineDecay": cosine_decay,
    "StepLR": lambda config: Step(size=config["step_size"], gamma=config["gamma"], unit="step"),
    "MultiStepLR": lambda config: MultiStep(milestones=config["milestones"], gamma=config["gamma"], unit="step"),
    "ExponentialLR": lambda config: Exponential(gamma=config["gamma"], unit="step"),
    "LinearLR": linear,
    "CosineAnnealingLR": lambda config: Cosine(length=config["T_max"], min_lr=config["eta_min"], unit="step"),
    "ReduceLROnPlateau": plateau,
}


def first_rate(config: Config) -> float:
    return float(config["values"][0] if "values" in config else config["initial" if "initial" in config else "base_lr"])


def rates(case: Case, schedule: Schedule, lr: float) -> list[tuple[int, float]]:
    """At the steps of the case; of a plateau, after the epoch with that metric."""
    if not isinstance(schedule, Plateau):
        return [(step, schedules.rate(schedule, lr, step, 1)) for step, _ in case["expected"]]
    state, found = PlateauState(lr), []
    for epoch, value in enumerate(case["metrics"]):
        state.observe(schedule, value)
        found.append((epoch, schedules.rate(schedule, state.lr, epoch, 1)))
    return found


@each("lr_schedules")
def test_learning_rates(case: Case) -> None:
    schedule = TRANSLATIONS[case["id"].split()[0]](case["config"])
    found = rates(case, schedule, first_rate(case["config"]))
    assert [step for step, _ in found] == [step for step, _ in case["expected"]]
    expected = [lr for _, lr in case["expected"]]
    assert [lr for _, lr in found] == pytest.approx(expected, rel=1e-9, abs=case.get("tol", 1e-12))
