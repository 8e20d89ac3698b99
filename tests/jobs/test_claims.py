"""Which job a worker gets, and that no other gets it."""

import pytest
import sqlalchemy as sa

from jobs import claims, db, reasons, store, waiting
from jobs.states import Status
from jobs.tables.jobs import Job

from .samples import claimed, created, found, running


def test_an_empty_queue_gives_nothing(database: db.Database) -> None:
    running(database)
    with database.writing() as session:
        assert claims.claim(session, "w2", 30) is None


def test_jobs_are_taken_by_priority_then_age(database: db.Database) -> None:
    jobs = [created(database, priority=priority) for priority in (0, 5, 0, 5, -1)]
    taken = [claimed(database).id for _ in jobs]
    assert taken == [jobs[number].id for number in (1, 3, 0, 2, 4)]


@pytest.mark.parametrize("column", ["spec_version", "not_before"])
def test_a_job_that_is_not_for_now_is_left_alone(database: db.Database, column: str) -> None:
    created(database)
    with database.writing() as session:
        later = {"spec_version": 99, "not_before": db.now(60)}[column]
        session.execute(sa.update(Job).values({column: later}))
        assert claims.claim(session, "w1", 30) is None


def test_owners_take_turns_at_equal_priority(database: db.Database) -> None:
    for owner in ("ann", "ann", "ann", "bob", "cem", "bob"):
        created(database, owner)
    taken = [claimed(database).owner for _ in range(6)]
    assert taken == ["ann", "bob", "cem", "ann", "bob", "ann"]


def test_an_owner_with_jobs_running_waits_for_one_without(database: db.Database) -> None:
    created(database, "bob")
    claimed(database)
    for owner in ("bob", "ann"):
        created(database, owner)
    assert claimed(database).owner == "ann"


def test_priority_goes_before_fairness(database: db.Database) -> None:
    created(database, "ann", priority=3)
    claimed(database)
    created(database, "bob")
    urgent = created(database, "ann", priority=1)
    assert claimed(database).id == urgent.id


def test_a_job_that_needs_a_gpu_is_left_to_a_worker_that_has_one(database: db.Database) -> None:
    job = created(database, device="cuda")
    with database.writing() as session:
        assert not claims.any_ready(session)
        assert claims.claim(session, "w1", 30) is None
        assert claims.any_ready(session, gpu=True)
        taken = claims.claim(session, "w2", 30, gpu=True)
    assert taken is not None
    assert taken.id == job.id


def test_a_wait_that_a_wrong_clock_has_written_is_over(database: db.Database) -> None:
    job = created(database)
    with database.writing() as session:
        session.execute(sa.update(Job).values(not_before=db.now(3600)))
    assert claimed(database).id == job.id


def test_a_paused_job_is_not_taken_and_keeps_its_place(database: db.Database) -> None:
    first, second = created(database), created(database)
    with database.writing() as session:
        store.pause(session, "ann", first.id)
        assert store.pause(session, "ann", first.id).status == "paused"
    assert claimed(database).id == second.id
    created(database)
    with database.writing() as session:
        assert store.resume(session, "ann", first.id).status == "queued"
    assert claimed(database).id == first.id
    assert found(database, first).attempt == 1


def test_a_claim_passes_over_so_many_jobs_and_no_more(database: db.Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "MOST_PASSED", 2)
    newer = [created(database) for _ in range(3)]
    with database.writing() as session:
        unreadable = sa.literal([{"since": "tomorrow"}], sa.JSON)
        session.execute(sa.update(Job).values(resolution=unreadable))
    created(database)
    for passed in (2, 3):
        with database.writing() as session:
            taken = claims.claim(session, "w1", 30)
            rests = session.scalars(sa.select(Job.id).where(Job.status_code == claims.NEWER)).all()
        assert (taken is None, len(rests)) == (passed < len(newer), passed)


def test_a_job_that_only_a_newer_worker_can_read_is_left_to_it(database: db.Database) -> None:
    newer, readable = created(database), created(database)
    with database.writing() as session:
        entry = {**newer.resolution[0].model_dump(mode="json"), "since": "tomorrow"}
        session.execute(sa.update(Job).where(Job.id == newer.id).values(resolution=sa.literal([entry], sa.JSON)))
    assert claimed(database).id == readable.id
    with database.writing() as session:
        assert claims.claim(session, "w1", 30) is None
        left = session.execute(sa.select(Job.status, Job.attempt, Job.status_code).where(Job.id == newer.id)).one()
        session.execute(sa.update(Job).where(Job.id == newer.id).values(resolution=[]))
    assert tuple(left) == (Status.QUEUED, 0, "newer_record")
    with database.reading() as session:
        job = store.get(session, "ann", newer.id)
        assert reasons.of(session, [job], waiting.positions(session, [job]))[job.id].code == "newer_record"
    with database.writing() as session:
        session.execute(sa.update(Job).where(Job.id == newer.id).values(not_before=db.now()))
    assert claimed(database).id == newer.id
