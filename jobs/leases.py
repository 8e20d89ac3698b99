"""Jobs as workers hold them: claimed, renewed, recorded, released, finished, reaped.

Every write names the attempt it is made for. A worker that lost its lease changes nothing and learns so by `None` or
`False`: it must then kill its child and forget the job.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from pydantic import JsonValue
from sqlalchemy.orm import Session

from jobs import db, events, history, states, store
from jobs.record import Best, Failure, MetricPoint, Progress, Usage
from jobs.spec import job as job_spec
from jobs.spec.explained import Decision, Diagnostics
from jobs.states import Status
from jobs.tables import Attempt, File, Job

MOST_STALLED_ATTEMPTS = 3
"""Attempts without a new checkpoint after which a job is given up as poison."""
LONGEST_BACKOFF = 360.0
"""Seconds."""
RING_AGAIN = 10.0
"""Seconds after which a queued job is hinted once more."""


def claim(session: Session, worker: str, lease: float) -> Job | None:
    """Takes the best eligible job (priority, then age) for `lease` seconds, or None if there is none."""
    best = (
        sa.select(Job.id)
        .where(Job.status == Status.QUEUED, Job.resolved_spec.is_not(None))
        .where(Job.spec_version <= job_spec.VERSION, Job.not_before <= db.now())
        .order_by(Job.priority.desc(), Job.queued_at, Job.id)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    taken = session.scalar(
        sa.update(Job)
        .where(Job.id == best.scalar_subquery(), Job.status == Status.QUEUED)
        .values(status=Status.RUNNING, attempt=Job.attempt + 1, lease_owner=worker, lease_until=db.now(lease))
        .values(status_code="starting", status_message="A worker has taken the job.", updated_at=db.now())
        .values(started_at=sa.func.coalesce(Job.started_at, db.now()), version=Job.version + 1)
        .returning(Job.id)
    )
    if taken is None:
        return None
    job = session.get_one(Job, taken, populate_existing=True)
    session.add(Attempt(job_id=job.id, n=job.attempt, worker=worker, started_at=db.now()))
    session.flush()
    events.append(session, job.id, "started", f"Attempt {job.attempt} began.", data={"worker": worker})
    session.refresh(job)
    return job


def _held(job_id: str, attempt: int) -> sa.ColumnElement[bool]:
    return sa.and_(Job.id == job_id, Job.attempt == attempt, Job.status.in_(states.HELD))


def renew(session: Session, job_id: str, attempt: int, lease: float) -> Status | None:
    """Extends the lease; answers the job's status (has somebody asked for its end?), or None if it is lost."""
    return session.scalar(
        sa.update(Job).where(_held(job_id, attempt)).values(lease_until=db.now(lease)).returning(Job.status)
    )


def status(session: Session, job_id: str, attempt: int) -> Status | None:
    """The job's status while this attempt holds it, else None."""
    return session.scalar(sa.select(Job.status).where(_held(job_id, attempt)))


def decided(session: Session, job_id: str, attempt: int, decisions: list[Decision]) -> bool:
    """Adds what could be decided only where the job runs, in place of what those rules decided before."""
    resolution = session.scalar(sa.select(Job.resolution).where(_held(job_id, attempt)).with_for_update())
    if resolution is None:
        return False
    rules = {decision.rule for decision in decisions}
    kept = [decision for decision in resolution if decision.rule not in rules]
    more = {"resolution": [*kept, *decisions], "version": Job.version + 1}
    session.execute(sa.update(Job).where(_held(job_id, attempt)).values(more))
    return True


def record(
    session: Session,
    job_id: str,
    attempt: int,
    points: Sequence[MetricPoint],
    progress: Progress,
    latest: dict[str, JsonValue],
    best: Best | None,
    lease: float,
) -> Status | None:
    """Writes a batch of metrics and what they amount to, and renews the lease."""
    elapsed = db.now() - Job.started_at  # an estimate: waiting between attempts counts too
    remaining = (1 - progress.fraction) / progress.fraction if progress.fraction else None
    estimate = db.now() + elapsed * remaining if remaining is not None else sa.null()
    status = session.scalar(
        sa.update(Job)
        .where(_held(job_id, attempt))
        .values(progress=progress, latest=latest, best=best, lease_until=db.now(lease))
        .values(estimated_finish_at=estimate, status_code="training")
        .values(status_message=f"Epoch {progress.epoch} of {progress.epochs}.")
        .returning(Job.status)
    )
    if status is not None:
        history.append(session, job_id, attempt, points)
        data: dict[str, JsonValue] = {**progress.model_dump(mode="json"), "lr": latest.get("lr"), "metrics": latest}
        events.append(session, job_id, "progress", f"Epoch {progress.epoch} of {progress.epochs}.", data=data)
    return status


def resume_from(session: Session, job_id: str, attempt: int, step: int) -> bool:
    """Notes the checkpoint that an attempt goes on from, and forgets the metrics behind it."""
    held = session.scalar(sa.select(Job.id).where(_held(job_id, attempt)).with_for_update())
    if held is None:
        return False
    mine = sa.and_(Attempt.job_id == job_id, Attempt.n == attempt)
    session.execute(sa.update(Attempt).where(mine).values(resumed_from_step=step))
    history.truncate(session, job_id, step)
    events.append(session, job_id, "resumed", f"The run goes on from step {step}.", data={"step": step})
    return True


def keep(session: Session, job_id: str, attempt: int, file: File) -> bool:
    """Commits a file that is already in the artifact store; a resumable checkpoint is progress."""
    fresh = {"stalled_attempts": 0} if file.resumable else {}
    held = sa.update(Job).where(_held(job_id, attempt)).values(version=Job.version + 1, **fresh).returning(Job.id)
    if session.scalar(held) is None:
        return False
    session.execute(sa.delete(File).where(File.job_id == job_id, File.kind == file.kind, File.name == file.name))
    if file.is_best:
        session.execute(sa.update(File).where(File.job_id == job_id, File.is_best).values(is_best=False))
        _name_best(session, job_id, file)
    file.created_at = db.now()
    session.add(file)
    session.flush()
    if file.kind == "checkpoint":
        data: dict[str, JsonValue] = {"id": file.id, "step": file.step, "epoch": file.epoch, "best": file.is_best}
        events.append(session, job_id, "checkpoint", f"Step {file.step} was saved.", data=data)
    return True


def _name_best(session: Session, job_id: str, file: File) -> None:
    """Says in the job which checkpoint holds its best epoch."""
    best = session.scalar(sa.select(Job.best).where(Job.id == job_id))
    if best and best.step == file.step:
        named = best.model_copy(update={"checkpoint_id": file.id})
        session.execute(sa.update(Job).where(Job.id == job_id).values(best=named))


def finish(
    session: Session,
    job_id: str,
    attempt: int,
    status: Status,
    message: str,
    *,
    usage: Usage,
    stop_reason: str | None = None,
    test: dict[str, JsonValue] | None = None,
    diagnostics: Diagnostics | None = None,
    error: Failure | None = None,
) -> bool:
    """The one terminal state and its event; False if this attempt no longer holds the job."""
    done = store.move(
        session,
        job_id,
        status,
        fence=_held(job_id, attempt),
        finished_at=db.now(),
        estimated_finish_at=None,
        lease_owner=None,
        lease_until=None,
        status_code=error.code if error else None,
        status_message=message,
        stop_reason=stop_reason,
        test=test,
        diagnostics=diagnostics,
        error=error,
        usage=usage,
    )
    if done:
        _end_attempt(session, job_id, attempt, error.code if error else status.value)
        level = "error" if status is Status.FAILED else "info"
        events.append(session, job_id, status.value, message, level=level, data={"stop_reason": stop_reason})
    return done


def release(
    session: Session, job_id: str, attempt: int, why: str, *, counted: bool, usage: Usage | None = None
) -> bool:
    """Gives a job back to the queue; a counted loss waits longer each time, and too many end the job.

    A job whose cancellation was asked for is cancelled instead.
    """
    job = session.scalar(sa.select(Job).where(_held(job_id, attempt)).with_for_update())
    if job is None:
        return False
    usage = usage or job.usage
    if job.status is Status.CANCELLING:
        return finish(
            session, job_id, attempt, Status.CANCELLED, "The job was cancelled.", usage=usage, stop_reason="cancelled"
        )
    stalled = job.stalled_attempts + counted
    if stalled >= MOST_STALLED_ATTEMPTS:
        text = f"{stalled} attempts in a row ended without a new checkpoint, the last by {why}. Mend that, then retry."
        error = Failure(error_class="infrastructure", code="poison", message=text)
        return finish(session, job_id, attempt, Status.FAILED, text, usage=usage, error=error)
    wait = min(LONGEST_BACKOFF, 5.0 * 2**stalled) if stalled > 1 else 0.0
    store.move(
        session,
        job_id,
        Status.QUEUED,
        fence=_held(job_id, attempt),
        lease_owner=None,
        lease_until=None,
        hinted_at=None,
        stalled_attempts=stalled,
        not_before=db.now(wait),
        status_code=why,
        status_message="The job goes on from its last checkpoint when a worker is free.",
        usage=usage,
    )
    _end_attempt(session, job_id, attempt, why)
    events.append(
        session, job_id, "requeued", f"Attempt {attempt} ended: {why}.", level="warning" if counted else "info"
    )
    return True


def _end_attempt(session: Session, job_id: str, attempt: int, how: str) -> None:
    mine = sa.and_(Attempt.job_id == job_id, Attempt.n == attempt)
    session.execute(sa.update(Attempt).where(mine).values(ended_at=db.now(), exit=how))


def expired(session: Session) -> Sequence[tuple[str, int]]:
    """Jobs (id and attempt) whose workers have been silent for longer than their leases; locked, so that none of
    them renews its lease before this transaction has released the job."""
    query = sa.select(Job.id, Job.attempt).where(Job.status.in_(states.HELD), Job.lease_until < db.now())
    return [(row.id, row.attempt) for row in session.execute(query.with_for_update(skip_locked=True))]


def to_hint(session: Session, limit: int) -> Sequence[str]:
    """Ready jobs that nobody was told of lately; marks them as hinted."""
    silent = sa.or_(Job.hinted_at.is_(None), Job.hinted_at < db.now(-RING_AGAIN))
    ready = (
        sa.select(Job.id)
        .where(Job.status == Status.QUEUED, Job.resolved_spec.is_not(None), Job.not_before <= db.now(), silent)
        .order_by(Job.priority.desc(), Job.queued_at)
        .limit(limit)
    )
    chosen = session.scalars(ready).all()
    session.execute(sa.update(Job).where(Job.id.in_(chosen)).values(hinted_at=db.now()))
    return chosen
