"""Metrics: kept once, read by range, thinned without losing a spike."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs import db, history
from jobs.record import MetricPoint

from .samples import created, running


def point(step: int, value: float | None = 0.5, name: str = "loss") -> MetricPoint:
    return MetricPoint(name=name, step=step, epoch=1, value=value, nonfinite=None if value is not None else "nan")


@st.composite
def series(draw: st.DrawFn) -> list[MetricPoint]:
    steps = sorted(draw(st.sets(st.integers(0, 10**12), max_size=80)))
    values = st.none() | st.floats(allow_nan=False, allow_infinity=False)
    return [point(step, draw(values)) for step in steps]


@pytest.fixture
def job_id(database: db.Database) -> str:
    job = running(database)
    with database.writing() as session:
        history.append(session, job.id, 1, [point(step, step / 10) for step in range(1, 7)])
        history.append(session, job.id, 1, [point(3, None, "val_loss"), point(6, 0.25, "val_loss")])
    return job.id


def test_points_come_back_by_name_in_order_of_steps(database: db.Database, job_id: str) -> None:
    with database.reading() as session:
        assert history.read(session, job_id, None, None, None) == {
            "loss": [point(step, step / 10) for step in range(1, 7)],
            "val_loss": [point(3, None, "val_loss"), point(6, 0.25, "val_loss")],
        }


def test_names_and_steps_can_be_chosen(database: db.Database, job_id: str) -> None:
    with database.reading() as session:
        assert history.read(session, job_id, ["loss"], 2, 3) == {"loss": [point(2, 0.2), point(3, 0.3)]}
        assert history.read(session, job_id, ["none"], None, None) == {}


def test_a_batch_that_is_sent_again_changes_nothing(database: db.Database, job_id: str) -> None:
    with database.writing() as session:
        history.append(session, job_id, 1, [point(6, 9.9), point(7, 0.7)])
        history.append(session, job_id, 1, [])
    with database.reading() as session:
        assert history.read(session, job_id, ["loss"], 6, None) == {"loss": [point(6, 0.6), point(7, 0.7)]}


def test_what_lies_behind_a_step_can_be_forgotten(database: db.Database, job_id: str) -> None:
    with database.writing() as session:
        history.truncate(session, job_id, 2)
        assert history.read(session, job_id, None, None, None) == {"loss": [point(1, 0.1), point(2, 0.2)]}


def test_another_job_has_its_own_points(database: db.Database, job_id: str) -> None:
    other = created(database)
    with database.writing() as session:
        history.append(session, other.id, 1, [point(1)])
        history.truncate(session, other.id, 0)
        assert len(history.read(session, job_id, None, None, None)["loss"]) == 6


@given(series(), st.integers(1, 100))
def test_thinning_keeps_to_the_limit_and_to_the_order(points: list[MetricPoint], most: int) -> None:
    thinned = history.thin(points, most)
    assert len(thinned) <= most
    assert [one for one in points if one in thinned] == thinned


@given(series(), st.integers(80, 100))
def test_what_fits_is_not_thinned(points: list[MetricPoint], most: int) -> None:
    assert history.thin(points, most) == points


@given(series().filter(len), st.integers(5, 100))
def test_thinning_keeps_the_ends_the_extremes_and_what_is_not_finite(points: list[MetricPoint], most: int) -> None:
    thinned = history.thin(points, most)
    assert (thinned[0], thinned[-1]) == (points[0], points[-1])
    for pick in (min, max):
        values, kept = ([one.value for one in some if one.value is not None] for some in (points, thinned))
        assert pick(kept, default=None) == pick(values, default=None)
    broken = [one for one in points if one.value is None]
    assert [one for one in thinned if one.value is None][:1] == broken[:1]


def test_a_long_series_keeps_every_far_spike() -> None:
    spikes = {1000: 99.0, 5000: -99.0, 9000: None}
    points = [point(step, spikes.get(step, 0.5)) for step in range(10_000)]
    assert {one.step for one in history.thin(points, 200)} >= {0, *spikes, 9999}


def test_a_short_limit_shows_the_ends() -> None:
    points = [point(step) for step in range(9)]
    assert [[one.step for one in history.thin(points, most)] for most in (1, 2, 4)] == [[0], [0, 8], [0, 8]]
