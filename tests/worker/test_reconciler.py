"""Leases run out by what is seen of them, whatever any clock says."""

from datetime import UTC, datetime
from typing import Any

from worker.reconciler import Watch

ONE = ("job_1", 1, datetime(2026, 1, 1, tzinfo=UTC))
RENEWED = ("job_1", 1, datetime(2026, 1, 2, tzinfo=UTC))


def looked(watch: Watch, *sights: tuple[float, set[tuple[str, int, datetime]]]) -> list[int]:
    """How many were silent at each look."""
    return [len(watch.silent(held, now)) for now, held in sights]


def every(seconds: float, until: float, held: set[tuple[str, int, datetime]]) -> list[tuple[float, set[Any]]]:
    """Looks from 100 on."""
    return [(100 + number * seconds, held) for number in range(int((until - 100) / seconds) + 1)]


def test_a_lease_that_does_not_change_for_its_length_has_run_out() -> None:
    assert looked(Watch(30), *every(5, 130, {ONE}), (131, {ONE})) == [0] * 7 + [1]


def test_a_renewal_begins_anew_wherever_its_clock_stands() -> None:
    sights = [*every(5, 125, {ONE}), (129, {RENEWED}), *((now, {RENEWED}) for now in (135, 141, 147, 153, 159, 160))]
    assert looked(Watch(30), *sights) == [0] * 12 + [1]


def test_of_the_time_that_a_reaper_was_frozen_a_quarter_of_a_lease_counts() -> None:
    assert looked(Watch(30), *every(5, 110, {ONE}), (4000, {ONE}), (4007, {ONE}), (4012, {ONE}), (4013, {ONE})) == [
        *([0] * 6),
        1,
    ]


def test_a_reaper_that_is_slow_reaps_late() -> None:
    assert looked(Watch(4), *((100 + 10 * number, {ONE}) for number in range(6))) == [0, 0, 0, 0, 0, 1]


def test_after_an_outage_holders_get_a_whole_lease() -> None:
    watch = Watch(30)
    before = looked(watch, *every(7, 128, {ONE}))
    watch.forget()
    assert (before, looked(watch, *((now, {ONE}) for now in (135, 142, 149, 156, 163, 166)))) == (
        [0] * 5,
        [0] * 5 + [1],
    )
