"""Verdicts on curves whose fault is known, and on real runs that are far too slow and far too fast."""

import math

import pytest

from tests.trainer import samples
from trainer.diagnosis import findings, verdicts
from trainer.diagnosis.verdicts import Rate
from trainer.fit import fit
from trainer.reports import Point
from trainer.state import point


def curve(losses: list[float], lr: float = 1e-3) -> list[Point]:
    """One step per epoch, as with full batches."""
    found = []
    for step, loss in enumerate(losses, 1):
        found += [point("loss", step, step - 1, loss), point("lr", step, step - 1, lr)]
        found.append(point("train_loss", step, step, loss))
    return found


SHAPES: dict[Rate, list[float]] = {
    "too_low": [2.3 - 0.01 * step for step in range(50)],
    "good": [0.1 + 2.2 * math.exp(-step / 4) for step in range(50)],
    "too_high": [1.2 + 0.8 * (-1) ** step for step in range(50)],
    "diverging": [2.3 * 1.5**step for step in range(50)],
    "unclear": [2.3, 1.0, 0.5],
}


@pytest.mark.parametrize("rate", SHAPES)
def test_a_plain_curve_is_judged(rate: Rate) -> None:
    assert verdicts.learning_rate(curve(SHAPES[rate]), guess=2.3).rate == rate


def test_a_loss_that_is_not_finite_diverges() -> None:
    found = verdicts.learning_rate(curve([2.0, 1.0, math.inf], lr=1.0))
    assert (found.rate, found.next_lr, found.curve) == ("diverging", 0.1, None)


def test_the_next_rate_is_on_a_grid_of_1_3_10() -> None:
    assert [verdicts.on_grid(lr) for lr in (0.0012, 0.004, 0.9, 2.0, 7.0)] == [0.001, 0.003, 1.0, 3.0, 10.0]
    assert verdicts.learning_rate(curve(SHAPES["too_low"]), guess=2.9).next_lr == 0.003


def test_only_the_part_at_the_full_rate_is_judged() -> None:
    fall = curve([2.3 - 0.02 * step for step in range(50)])
    tail = [point("loss", 51 + step, 51, 1.32) for step in range(200)]
    tail += [point("lr", 51 + step, 51, 1e-5) for step in range(200)]
    assert verdicts.learning_rate(fall + tail, guess=2.3).rate == "too_low"


def test_a_training_loss_that_falls_while_validation_rises_is_not_too_slow() -> None:
    losses = [2.3 - 0.02 * step for step in range(50)]
    epochs = [point("val_loss", step, step, 1.0 + abs(step - 20) / 20) for step in range(1, 51)]
    assert verdicts.learning_rate(curve(losses) + epochs, guess=2.3).rate == "good"


@pytest.mark.parametrize(("lr", "rate"), [(1e-5, "too_low"), (1e-2, "good"), (100.0, "diverging")])
def test_a_real_run_is_judged(lr: float, rate: Rate) -> None:
    spec = samples.resolved(
        dataset={"source": "builtin", "name": "wine"}, epochs=40, optimizer={"kind": "adam", "lr": lr}
    )
    loaded = samples.loaded(spec)
    last = list(fit(spec, loaded))[-1]
    assert verdicts.learning_rate(last.state.history, findings.guess(spec, loaded)).rate == rate
