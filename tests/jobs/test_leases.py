"""Jobs as workers hold them: one holder at a time, and a holder that lost its lease writes nothing."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from jobs import claims, db, leases, store
from jobs.leases import LONGEST_BACKOFF, MOST_STALLED_ATTEMPTS
from jobs.record import Best, Failure, MetricPoint, Usage
from jobs.states import TERMINAL, Status
from jobs.tables.jobs import Attempt, Job

from .samples import BROKEN, HALFWAY, claimed, file, finished, found, kinds, metrics, running

BEST = Best(epoch=20, step=20, monitor="val_loss", value=0.25)
USAGE = Usage(seconds=2.5)


def point(step: int) -> MetricPoint:
    return MetricPoint(name="loss", step=step, epoch=1, value=0.5)


def attempts(database: db.Database, job: Job) -> list[tuple[int, str, str | None]]:
    with database.reading() as session:
        query = sa.select(Attempt).where(Attempt.job_id == job.id).order_by(Attempt.n)
        return [(one.n, one.worker, one.exit) for one in session.scalars(query)]


def lost(database: db.Database, job: Job, *, counted: bool) -> Job:
    with database.writing() as session:
        assert leases.release(session, job.id, job.attempt, "lease_expired", counted=counted)
    return found(database, job)


def test_a_claimed_job_is_its_workers_for_the_lease(database: db.Database) -> None:
    job = running(database, lease=30)
    assert (job.status, job.attempt, job.lease_owner, job.status_code) == ("running", 1, "w1", "starting")
    assert job.started_at is not None
    assert job.lease_until is not None
    assert timedelta(seconds=29) < job.lease_until - job.started_at < timedelta(seconds=31)
    assert kinds(database, job) == ["created", "queued", "started"]
    assert attempts(database, job) == [(1, "w1", None)]


WRITES: dict[str, Callable[[Session, Job], object]] = {
    "renew": lambda session, job: leases.renew(session, job.id, job.attempt, 30),
    "record": lambda session, job: leases.record(
        session, job.id, job.attempt, [point(1)], HALFWAY, {}, None, USAGE, 30
    ),
    "resume": lambda session, job: leases.resume_from(session, job.id, job.attempt, 0) is not None,
    "keep": lambda session, job: leases.keep(session, job.id, job.attempt, file(job, "last"), 9) is not None,
    "finish": lambda session, job: leases.finish(session, job.id, job.attempt, Status.SUCCEEDED, "Done.", usage=USAGE),
    "release": lambda session, job: leases.release(session, job.id, job.attempt, "drained", counted=False),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_a_holder_that_lost_its_lease_writes_nothing(database: db.Database, write: Callable[..., object]) -> None:
    stale = running(database)
    lost(database, stale, counted=True)
    holder = claimed(database, "w2")
    with database.writing() as session:
        assert not write(session, stale)
    assert found(database, stale).version == holder.version
    with database.writing() as session:
        assert write(session, holder)


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
@pytest.mark.parametrize("status", sorted(TERMINAL))
def test_nothing_is_written_to_a_job_that_has_ended(
    database: db.Database, status: Status, write: Callable[..., object]
) -> None:
    job = finished(database, status)
    with database.writing() as session:
        assert not write(session, job)
    assert found(database, job).version == job.version


def held(database: db.Database) -> set[leases.Held]:
    with database.reading() as session:
        return leases.held(session)


def test_a_renewed_lease_is_seen_to_change(database: db.Database) -> None:
    job = running(database)
    ((found_id, attempt, before),) = held(database)
    with database.writing() as session:
        assert leases.renew(session, job.id, 1, 31) is Status.RUNNING
    ((_, _, after),) = held(database)
    assert (found_id, attempt) == (job.id, 1)
    assert after > before


def test_only_a_lease_that_was_not_renewed_since_is_reaped(database: db.Database) -> None:
    job = running(database)
    ((_, _, before),) = held(database)
    with database.writing() as session:
        leases.renew(session, job.id, 1, 31)
        assert not leases.reap(session, job.id, 1, before)
    ((_, _, now),) = held(database)
    with database.writing() as session:
        assert leases.reap(session, job.id, 1, now)
        assert not leases.reap(session, job.id, 1, now)
    assert (found(database, job).status_code, attempts(database, job)) == (
        "lease_expired",
        [(1, "w1", "lease_expired")],
    )
    assert held(database) == set()


def test_a_recorded_batch_shows(database: db.Database) -> None:
    job = running(database)
    with database.writing() as session:
        status = leases.record(session, job.id, 1, [point(1), point(2)], HALFWAY, {"loss": 0.5}, BEST, USAGE, 30)
    now = found(database, job)
    assert (status, now.progress, now.latest, now.best) == (Status.RUNNING, HALFWAY, {"loss": 0.5}, BEST)
    assert (now.status_code, now.status_message) == ("training", "Epoch 25 of 50.")
    assert kinds(database, job)[-1] == "progress"
    assert metrics(database, job.id) == {"loss": [point(1), point(2)]}


@pytest.mark.parametrize(("fraction", "times"), [(0.5, 2), (0.25, 4), (1.0, 1)])
def test_the_end_is_foreseen_from_what_is_done(database: db.Database, fraction: float, times: float) -> None:
    job = running(database)
    with database.writing() as session:
        progress = HALFWAY.model_copy(update={"fraction": fraction})
        leases.record(session, job.id, 1, [], progress, {}, None, Usage(seconds=100), 30)
    now = found(database, job)
    assert now.started_at is not None
    assert now.estimated_finish_at is not None
    assert abs((now.estimated_finish_at - now.started_at).total_seconds() - 100 * (times - 1)) < 5


def test_nothing_is_foreseen_before_the_first_step(database: db.Database) -> None:
    job = running(database)
    with database.writing() as session:
        leases.record(session, job.id, 1, [], HALFWAY.model_copy(update={"fraction": 0.0}), {}, None, USAGE, 30)
    assert found(database, job).estimated_finish_at is None


@pytest.mark.parametrize("lease", [0.3, 1.1, 12.7, 30.0, 45.6])
def test_a_lease_of_any_length_can_be_reaped(database: db.Database, lease: float) -> None:
    for _ in range(5):
        job = running(database, lease=lease)
        ((_, _, until),) = held(database)
        with database.writing() as session:
            assert leases.reap(session, job.id, 1, until)
            store.cancel(session, "ann", job.id)


@pytest.mark.parametrize("status", [Status.SUCCEEDED, Status.FAILED, Status.TIMED_OUT])
def test_a_job_ends_once(database: db.Database, status: Status) -> None:
    job = running(database)
    error = BROKEN if status is Status.FAILED else None
    with database.writing() as session:
        assert leases.finish(session, job.id, 1, status, "It ended.", usage=USAGE, stop_reason="x", error=error)
        assert not leases.finish(session, job.id, 1, Status.SUCCEEDED, "Again.", usage=USAGE)
    now = found(database, job)
    assert (now.status, now.status_message, now.stop_reason, now.error) == (status, "It ended.", "x", error)
    assert (now.usage, now.lease_until, now.lease_owner, now.finished_at is not None) == (USAGE, None, None, True)
    assert attempts(database, job) == [(1, "w1", "broken" if error else status)]
    assert kinds(database, job)[-1] == status


def test_workers_that_finish_together_write_one_end(database: db.Database) -> None:
    job = running(database)

    def finish(status: Status) -> bool:
        with database.writing() as session:
            return leases.finish(session, job.id, 1, status, "It ended.", usage=USAGE)

    with ThreadPoolExecutor(4) as threads:
        assert sum(threads.map(finish, [Status.SUCCEEDED, Status.FAILED] * 4)) == 1
    assert sum(kind in TERMINAL for kind in kinds(database, job)) == 1


def test_a_job_given_back_is_taken_again_at_once(database: db.Database) -> None:
    job = lost(database, running(database), counted=False)
    assert (job.status, job.lease_owner, job.lease_until, job.stalled_attempts) == ("queued", None, None, 0)
    again = claimed(database, "w2")
    assert (again.id, again.attempt, again.started_at) == (job.id, 2, job.started_at)
    assert attempts(database, job) == [(1, "w1", "lease_expired"), (2, "w2", None)]


def test_attempts_without_progress_wait_longer_and_end_the_job_as_poison(database: db.Database) -> None:
    job = running(database)
    for stalled in range(1, MOST_STALLED_ATTEMPTS):
        job = lost(database, job, counted=True)
        assert (job.status, job.stalled_attempts) == ("queued", stalled)
        with database.writing() as session:
            session.execute(sa.update(Job).values(not_before=db.now()))
        job = claimed(database)
    job = lost(database, job, counted=True)
    assert (job.status, job.error and job.error.code, job.attempt) == ("failed", "poison", MOST_STALLED_ATTEMPTS)
    assert kinds(database, job)[-1] == "failed"


def test_the_second_loss_in_a_row_makes_the_job_wait(database: db.Database) -> None:
    job = lost(database, running(database), counted=True)
    assert job.not_before <= job.updated_at
    job = lost(database, claimed(database), counted=True)
    wait = (job.not_before - job.updated_at).total_seconds()
    assert 19 < wait < 21 < LONGEST_BACKOFF


@pytest.mark.parametrize(("resumable", "step", "stalled"), [(True, 21, 0), (True, 20, 1), (False, 21, 1)])
@pytest.mark.parametrize("began", [20, 0])
def test_a_checkpoint_of_a_later_step_than_any_is_progress(
    database: db.Database, began: int, resumable: bool, step: int, stalled: int
) -> None:
    first = running(database)
    with database.writing() as session:
        leases.keep(session, first.id, 1, file(first, "first", step=20, resumable=True), 9)
    lost(database, first, counted=True)
    job = claimed(database)
    with database.writing() as session:
        leases.resume_from(session, job.id, 2, began)
        assert leases.keep(session, job.id, 2, file(job, "last", step=step, resumable=resumable), 9) == []
    assert found(database, job).stalled_attempts == stalled


def test_a_run_that_begins_anew_after_an_orderly_end_is_not_held_to_what_was_saved_before(
    database: db.Database,
) -> None:
    job = running(database)
    with database.writing() as session:
        leases.keep(session, job.id, 1, file(job, "old", step=100_000, resumable=True), 9)
    lost(database, job, counted=False)
    for attempt, begins in enumerate((0, 30_000, 60_000), 2):  # its successor cannot read what was saved
        job = claimed(database)
        with database.writing() as session:
            leases.resume_from(session, job.id, attempt, begins)
            saved = file(job, f"step-{attempt}", step=begins + 30_000, resumable=True)
            leases.keep(session, job.id, attempt, saved, 9)
        job = lost(database, job, counted=True)
    assert (job.status, job.stalled_attempts) == ("queued", 1)


def test_a_job_that_was_to_be_cancelled_is_not_queued_again(database: db.Database) -> None:
    job = running(database)
    with database.writing() as session:
        store.cancel(session, "ann", job.id)
    job = lost(database, job, counted=True)
    assert (job.status, job.stop_reason, kinds(database, job)[-1]) == ("cancelled", "cancelled", "cancelled")


def test_a_job_that_was_to_be_paused_rests_however_its_attempt_ended(database: db.Database) -> None:
    job = running(database)
    with database.writing() as session:
        store.pause(session, "ann", job.id)
    job = lost(database, job, counted=True)
    assert (job.status, job.stalled_attempts, job.lease_owner) == ("paused", 1, None)
    assert (attempts(database, job), kinds(database, job)[-2:]) == ([(1, "w1", "paused")], ["pausing", "paused"])


OOM = Failure(error_class="oom", code="out_of_memory", message="Too large.")


def test_a_job_that_ran_out_of_memory_is_tried_once_more(database: db.Database) -> None:
    job = running(database)
    with database.writing() as session:
        assert leases.retry_smaller(session, job.id, 1, OOM, USAGE)
    job = claimed(database)
    assert (job.oom_attempts, job.stalled_attempts, job.usage) == (1, 0, USAGE)
    with database.writing() as session:
        assert leases.retry_smaller(session, job.id, 2, OOM, USAGE)
    now = found(database, job)
    assert (now.status, now.error) == ("failed", OOM)
    assert attempts(database, job) == [(1, "w1", "out_of_memory"), (2, "w1", "out_of_memory")]


@pytest.mark.parametrize(("ask", "status"), [(store.cancel, "cancelled"), (store.pause, "paused")])
def test_a_job_that_ran_out_of_memory_obeys_first(database: db.Database, ask: Callable[..., Job], status: str) -> None:
    job = running(database)
    with database.writing() as session:
        ask(session, "ann", job.id)
        assert leases.retry_smaller(session, job.id, 1, OOM, USAGE)
    assert found(database, job).status == status


def test_a_reaper_that_does_not_know_the_spec_releases_its_job(database: db.Database) -> None:
    job = running(database)
    ((_, _, until),) = held(database)
    with database.writing() as session:
        session.execute(sa.text('UPDATE jobs SET spec = \'{"from": "the future"}\''))
        session.execute(sa.update(Job).values(spec_version=99))
        assert leases.reap(session, job.id, 1, until)
        assert session.scalar(sa.select(Job.status)) is Status.QUEUED
        assert claims.claim(session, "w2", 30) is None
