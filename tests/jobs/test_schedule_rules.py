"""Schedules that fit the run, and those that hardly can be meant."""

from typing import Any

import pytest

from jobs.spec.schedule import Schedule
from trainer import schedules

from .specs import TWO, faults, notices, resolve, why

TEN_EPOCHS: dict[str, Any] = {"batch_size": 128, "epochs": 10, "early_stopping": None}
"""Six steps each."""


@pytest.mark.parametrize("kind", ["cosine", "linear", "polynomial", "one_cycle"])
@pytest.mark.parametrize(
    ("unit", "warmup", "length"),
    [
        ("epoch", None, 10),
        ("step", None, 60),
        ("step", {"length": 20}, 40),
        ("epoch", {"length": 3, "unit": "epoch"}, 7),
        ("epoch", {"length": 3}, 10),
        ("step", {"length": 2, "unit": "epoch"}, 48),
    ],
)
def test_a_length_that_is_left_open_ends_with_the_run(
    kind: str, unit: str, warmup: dict[str, Any] | None, length: int
) -> None:
    resolved = resolve(schedule={"kind": kind, "unit": unit, "warmup": warmup}, **TEN_EPOCHS)
    assert why(resolved, "/schedule/length") == (length, "schedule.rest")
    assert ends_low(resolved.spec.schedule)


def ends_low(schedule: Schedule) -> bool:
    """After the last step nothing is left to fall."""
    last, later = (schedules.rate(schedule, 1.0, step, 6) for step in (66, 600))
    return last == later < 0.1


@pytest.mark.parametrize("kind", ["polynomial", "cosine", "cosine_restarts", "plateau"])
def test_a_floor_lies_below_the_rate(kind: str) -> None:
    more = {"length": 5} if kind == "cosine_restarts" else {}
    schedule = {"kind": kind, "min_lr": 0.01} | more
    assert faults(schedule=schedule) == [("/schedule/min_lr", "floor_above_lr")]
    assert faults(schedule=schedule, optimizer={"kind": "adam", "lr": 0.01}) == []


@pytest.mark.parametrize(
    ("schedule", "found"),
    [
        ({"kind": "constant", "warmup": {"length": 30}}, []),
        ({"kind": "constant", "warmup": {"length": 31}}, [("/schedule/warmup/length", "warmup_long")]),
        ({"kind": "one_cycle", "warmup": {"length": 6, "unit": "epoch"}}, [("/schedule/warmup/length", "warmup_long")]),
        ({"kind": "plateau", "patience": 9}, []),
        ({"kind": "plateau", "patience": 10}, [("/schedule/patience", "patience_longer_than_run")]),
    ],
)
def test_what_hardly_ever_acts_is_warned_about(schedule: dict[str, Any], found: list[tuple[str, str]]) -> None:
    assert notices(TWO, schedule=schedule, **TEN_EPOCHS) == found


@pytest.mark.parametrize(("floor", "noticed"), [(0.001, []), (0.5, [("/schedule/min_lr", "lr_unusual")])])
def test_a_floor_under_a_rate_to_be_found_is_compared_with_the_usual_ones(floor: float, noticed: list[Any]) -> None:
    optimizer = {"kind": "adam", "lr": "auto"}
    changes: dict[str, Any] = {"optimizer": optimizer, "schedule": {"kind": "cosine", "min_lr": floor}}
    assert (faults(**changes), notices(**changes)) == ([], noticed)
