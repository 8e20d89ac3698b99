"""Metrics: kept once, read by range and in batches, thinned without losing a spike."""

from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs import db, history
from jobs.history import Point
from jobs.record import MetricPoint

from .samples import created, metrics, running


def point(step: int, value: float | None = 0.5, name: str = "loss") -> MetricPoint:
    return MetricPoint(name=name, step=step, epoch=1, value=value, nonfinite=None if value is not None else "nan")


def bare(step: int, value: float | None = 0.5) -> Point:
    return Point(step, 1, value, None if value is not None else "nan")


@st.composite
def series(draw: st.DrawFn) -> list[Point]:
    steps = sorted(draw(st.sets(st.integers(0, 10**12), min_size=7, max_size=80)))
    values = st.none() | st.floats(allow_nan=False, allow_infinity=False)
    return [bare(step, draw(values)) for step in steps]


def thinned(points: list[Point], most: int, batch: int = 7, size: int | None = None) -> list[Point]:
    """In batches; of so many, if some are gone since they were counted."""
    cut = (points[start : start + batch] for start in range(0, len(points), batch))
    finite = all(one.value is not None for one in points)
    return list(chain.from_iterable(history.thin(cut, size or len(points), most, finite=finite)))


@pytest.fixture
def job_id(database: db.Database) -> str:
    job = running(database)
    with database.writing() as session:
        history.append(session, job.id, 1, [point(step, step / 10) for step in range(1, 7)])
        history.append(session, job.id, 1, [point(3, None, "val_loss"), point(6, 0.25, "val_loss")])
    return job.id


def test_points_come_back_by_name_in_order_of_steps(database: db.Database, job_id: str) -> None:
    assert metrics(database, job_id) == {
        "loss": [point(step, step / 10) for step in range(1, 7)],
        "val_loss": [point(3, None, "val_loss"), point(6, 0.25, "val_loss")],
    }


def test_names_and_steps_can_be_chosen(database: db.Database, job_id: str) -> None:
    assert metrics(database, job_id, ["loss"], 2, 3) == {"loss": [point(2, 0.2), point(3, 0.3)]}
    assert metrics(database, job_id, ["none"], None, None) == {}


def test_a_batch_that_is_sent_again_changes_nothing(database: db.Database, job_id: str) -> None:
    with database.writing() as session:
        history.append(session, job_id, 1, [point(6, 9.9), point(7, 0.7)])
        history.append(session, job_id, 1, [])
    assert metrics(database, job_id, ["loss"], 6, None) == {"loss": [point(6, 0.6), point(7, 0.7)]}


def test_what_lies_behind_a_step_can_be_forgotten(database: db.Database, job_id: str) -> None:
    with database.writing() as session:
        history.truncate(session, job_id, 2)
    assert metrics(database, job_id) == {"loss": [point(1, 0.1), point(2, 0.2)]}


def test_another_job_has_its_own_points(database: db.Database, job_id: str) -> None:
    other = created(database)
    with database.writing() as session:
        history.append(session, other.id, 1, [point(1)])
        history.truncate(session, other.id, 0)
    assert len(metrics(database, job_id)["loss"]) == 6


def test_no_transaction_is_open_between_batches(
    database: db.Database, job_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "BATCH", 2)
    with database.reading() as session:
        loss = history.series(session, job_id, ["loss"], 2, None)[0]
    sizes = []
    for batch in history.batches(database, loss):
        sizes.append([one.step for one in batch])
        with database.writing() as session:
            history.truncate(session, job_id, 4)  # of a run that goes on from there
    assert (loss.size, sizes) == (5, [[2, 3], [4]])


def test_as_many_as_are_asked_for_are_read(database: db.Database, job_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "BATCH", 2)
    with database.reading() as session:
        loss, checks = history.series(session, job_id, None, None, None)
    steps = {most: [one.step for one in chain(*history.read(database, loss, most))] for most in (None, 6, 5, 4, 2, 1)}
    assert steps == {None: [1, 2, 3, 4, 5, 6], 6: [1, 2, 3, 4, 5, 6], 5: [1, 2, 5, 6], 4: [1, 6], 2: [1, 6], 1: [1]}
    assert [one.value for one in chain(*history.read(database, checks, 2))] == [None, 0.25]


@given(series(), st.integers(5, 100), st.integers(1, 20))
def test_thinning_keeps_to_the_limit_and_to_the_order(points: list[Point], most: int, batch: int) -> None:
    most = min(most, len(points) - 1)
    found = thinned(points, most, batch)
    assert len(found) <= most
    assert [one for one in points if one in found] == found


@given(series(), st.integers(5, 100))
def test_thinning_keeps_the_ends_the_extremes_and_what_is_not_finite(points: list[Point], most: int) -> None:
    found = thinned(points, min(most, len(points) - 1))
    assert (found[0], found[-1]) == (points[0], points[-1])
    for pick in (min, max):
        values, kept = ([one.value for one in some if one.value is not None] for some in (points, found))
        assert pick(kept, default=None) == pick(values, default=None)
    broken = [one for one in points if one.value is None]
    assert [one for one in found if one.value is None][:1] == broken[:1]


def test_a_long_series_keeps_every_far_spike() -> None:
    spikes = {1000: 99.0, 5000: -99.0, 9000: None}
    points = [bare(step, spikes.get(step, 0.5)) for step in range(10_000)]
    assert {one.step for one in thinned(points, 200)} >= {0, *spikes, 9999}


def test_what_was_taken_back_since_it_was_counted_is_not_missed() -> None:
    points = [bare(step, step / 10) for step in range(60)]
    found = thinned(points, 20, size=100)
    assert (found[0], found[-1], len(found) <= 20) == (points[0], points[-1], True)
