"""Leases run out by what is seen of them, whatever any clock says."""

from datetime import UTC, datetime

from worker.reconciler import Watch

ONE = ("job_1", 1, datetime(2026, 1, 1, tzinfo=UTC))
RENEWED = ("job_1", 1, datetime(2026, 1, 2, tzinfo=UTC))


def looked(watch: Watch, *sights: tuple[float, set[tuple[str, int, datetime]]]) -> list[int]:
    """How many were silent at each look."""
    return [len(watch.silent(held, now)) for now, held in sights]


def test_a_lease_that_does_not_change_for_its_length_has_run_out() -> None:
    assert looked(Watch(30), *((now, {ONE}) for now in (100, 110, 120, 130, 131))) == [0, 0, 0, 0, 1]


def test_a_renewal_begins_anew_wherever_its_clock_stands() -> None:
    sights = [(100, {ONE}), (115, {ONE}), (129, {RENEWED}), (140, {RENEWED}), (150, {RENEWED}), (160, {RENEWED})]
    assert looked(Watch(30), *sights) == [0, 0, 0, 0, 0, 1]


def test_a_reaper_that_was_frozen_begins_anew() -> None:
    assert looked(Watch(30), (100, {ONE}), (4000, {ONE}), (4015, {ONE}), (4029, {ONE}), (4031, {ONE})) == [
        0,
        0,
        0,
        0,
        1,
    ]


def test_after_an_outage_holders_get_a_whole_lease() -> None:
    watch = Watch(30)
    before = looked(watch, (100, {ONE}), (114, {ONE}), (128, {ONE}))
    watch.forget()
    assert (before, looked(watch, (140, {ONE}), (154, {ONE}), (168, {ONE}), (171, {ONE}))) == ([0, 0, 0], [0, 0, 0, 1])
