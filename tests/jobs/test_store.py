"""Jobs as their owners see them."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobs import claims, db, errors, leases, listing, store
from jobs.record import Usage
from jobs.rules import Resolved
from jobs.spec import job as job_spec
from jobs.spec.job import JobSpec
from jobs.states import TERMINAL, Status
from jobs.tables.jobs import Job

from .samples import RESOLVED, SPEC, counts, created, file, finished, found, kinds, running

Answer = TypeVar("Answer")


def acting(database: db.Database, act: Callable[..., Answer], job: Job, *rest: object) -> Answer:
    with database.writing() as session:
        return act(session, job.owner, job.id, *rest)


def as_before(spec: JobSpec) -> Resolved:
    return RESOLVED


def test_a_new_job_is_as_it_was_asked_for(database: db.Database) -> None:
    job = created(database, name="first", priority=7, metadata={"team": "a"})
    assert (job.status, job.attempt, job.priority, job.name) == ("queued", 0, 7, "first")
    assert (job.details, job.spec_hash) == ({"team": "a"}, job_spec.fingerprint(SPEC))
    assert (job.resolution, job.warnings) == (RESOLVED.decisions, RESOLVED.notices)
    assert kinds(database, job) == ["created", "queued"]


def test_a_job_whose_dataset_is_unread_waits_for_it(database: db.Database) -> None:
    with database.writing() as session:
        job = store.create(session, "ann", SPEC, None)
        assert claims.claim(session, "w1", 30) is None
    assert (job.status, job.status_code, kinds(database, job)) == ("queued", "dataset_profiling", ["created"])


@pytest.mark.parametrize("owner", ["bob", ""])
def test_another_owners_job_is_not_there(database: db.Database, owner: str) -> None:
    job = created(database)
    acts: list[Callable[..., object]] = [store.get, store.cancel, store.delete]
    for act in acts:
        with database.writing() as session, pytest.raises(errors.NotFound, match=job.id):
            act(session, owner, job.id)
    with database.reading() as session:
        assert listing.page(session, owner, listing.Filter(), None, 10).rows == []


def test_a_waiting_job_is_cancelled_at_once(database: db.Database) -> None:
    job = acting(database, store.cancel, created(database))
    assert (job.status, job.stop_reason, job.finished_at is not None) == ("cancelled", "cancelled", True)
    assert kinds(database, job) == ["created", "queued", "cancelled"]


def test_a_running_job_is_cancelled_when_its_process_is_gone(database: db.Database) -> None:
    job = acting(database, store.cancel, running(database))
    assert (job.status, job.finished_at) == ("cancelling", None)
    with database.writing() as session:
        assert leases.renew(session, job.id, job.attempt, 30) is Status.CANCELLING


@pytest.mark.parametrize("start", [created, running])
def test_cancelling_again_changes_nothing(database: db.Database, start: Callable[[db.Database], Job]) -> None:
    once = acting(database, store.cancel, start(database))
    assert acting(database, store.cancel, once).version == once.version


@pytest.mark.parametrize("status", sorted(TERMINAL - {Status.CANCELLED}))
def test_what_has_ended_cannot_be_cancelled(database: db.Database, status: Status) -> None:
    job = finished(database, status)
    with pytest.raises(errors.IllegalMove) as caught:
        acting(database, store.cancel, job)
    assert caught.value.allowed_actions == (["delete"] if status is Status.SUCCEEDED else ["retry", "delete"])


def test_a_cancellation_that_races_a_worker_always_lands(database: db.Database) -> None:
    jobs = [created(database) for _ in range(10)]

    def work(_: int) -> None:
        with database.writing() as session:
            job = claims.claim(session, "w1", 30)
        if job:
            with database.writing() as session:
                leases.release(session, job.id, job.attempt, "drained", counted=False)

    with ThreadPoolExecutor(4) as threads:
        work_done = [threads.submit(work, number) for number in range(20)]
        cancelled = list(threads.map(lambda job: acting(database, store.cancel, job), jobs))
        assert [future.exception() for future in work_done] == [None] * 20
    assert {job.status for job in cancelled} <= {Status.CANCELLED, Status.CANCELLING}
    assert {found(database, job).status for job in jobs} == {Status.CANCELLED}


@pytest.mark.parametrize("status", sorted(TERMINAL - {Status.SUCCEEDED}))
def test_a_retry_is_a_new_job_with_the_same_spec(database: db.Database, status: Status) -> None:
    job = finished(database, status)
    again, made = acting(database, store.retry, job, as_before)
    assert made
    assert (again.status, again.parent, again.spec, again.attempt) == ("queued", job.id, job.spec, 0)
    assert found(database, job).status == status


def test_retries_at_the_same_time_make_one_job(database: db.Database) -> None:
    job = finished(database, Status.FAILED)
    with ThreadPoolExecutor(8) as threads:
        made = list(threads.map(lambda _: acting(database, store.retry, job, as_before)[0].id, range(16)))
    assert len(set(made)) == 1


def test_only_what_ended_without_success_is_retried(database: db.Database) -> None:
    for job in (finished(database, Status.SUCCEEDED), created(database)):
        with pytest.raises(errors.IllegalMove):
            acting(database, store.retry, job, as_before)


def test_name_priority_and_metadata_can_be_changed(database: db.Database) -> None:
    job = created(database, name="old", metadata={"a": "1"})
    with database.writing() as session:
        store.change(session, "ann", job.id, name="new", priority=9, metadata={"b": "2"})
    now = found(database, job)
    assert (now.name, now.priority, now.details, now.version) == ("new", 9, {"b": "2"}, job.version + 1)
    with database.writing() as session:
        same = store.change(session, "ann", job.id, name=None, priority=None, metadata=None)
    assert (same.name, same.priority, same.details) == ("new", 9, {"b": "2"})


def test_a_deleted_job_takes_its_rows_along(database: db.Database) -> None:
    kept, job = created(database, priority=-1), running(database)
    with database.writing() as session:
        assert leases.keep(session, job.id, 1, file(job, "last"), 9) == []
        assert leases.finish(session, job.id, 1, Status.SUCCEEDED, "It ended.", usage=Usage())
    with database.writing() as session:
        store.delete(session, "ann", job.id)
    assert counts(database) == {"jobs": 1, "events": len(kinds(database, kept))}


@pytest.mark.parametrize("start", [created, running])
def test_what_has_not_ended_is_not_deleted(database: db.Database, start: Callable[[db.Database], Job]) -> None:
    job = start(database)
    with database.writing() as session, pytest.raises(errors.IllegalMove):
        store.delete(session, "ann", job.id)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_move_follows_the_table(database: db.Database, data: st.DataObject) -> None:
    job = created(database)
    target = data.draw(st.sampled_from(Status))
    with database.writing() as session:
        moved = store.move(session, job.id, target, fence=Job.owner == "ann")
    allowed = {Status.RUNNING, Status.CANCELLED, Status.FAILED, Status.PAUSED}
    assert moved == (target in allowed)
    assert found(database, job).status == (target if moved else Status.QUEUED)


def test_a_move_that_is_fenced_off_changes_nothing(database: db.Database) -> None:
    job = created(database)
    with database.writing() as session:
        assert not store.move(session, job.id, Status.CANCELLED, fence=Job.attempt == 1)
    assert found(database, job).version == job.version
