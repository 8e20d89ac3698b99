"""Jobs as workers hold them: renewed, recorded, released, finished, reaped.

Every write names the attempt it is made for. A worker that lost its lease changes nothing and learns so by `None` or
`False`: it must then kill its child and forget the job.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple, cast

import sqlalchemy as sa
from pydantic import JsonValue
from sqlalchemy.orm import Session

from jobs import db, events, files, history, states, store
from jobs.record import Best, Failure, MetricPoint, Progress, Usage
from jobs.spec.explained import Decision, Diagnostics
from jobs.states import Status
from jobs.tables.jobs import Attempt, File, Job

MOST_STALLED_ATTEMPTS = 3
"""Losses without progress in between after which a job is given up as poison."""
LONGEST_BACKOFF = 360.0
"""Seconds."""
NO_HOLDER: dict[str, Any] = {"lease_owner": None, "lease_until": None, "estimated_finish_at": None}


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
    usage: Usage,
    lease: float,
) -> Status | None:
    """Writes a batch of metrics and what they amount to, and renews the lease."""
    remaining = usage.seconds * (1 - progress.fraction) / progress.fraction if progress.fraction else None
    estimate = sa.null() if remaining is None else db.now(remaining)
    status = session.scalar(
        sa.update(Job)
        .where(_held(job_id, attempt))
        .values(progress=progress, latest=latest, best=best, usage=usage, lease_until=db.now(lease))
        .values(estimated_finish_at=estimate, status_code="training")
        .values(status_message=f"Epoch {progress.epoch} of {progress.epochs}.")
        .returning(Job.status)
    )
    if status is not None:
        history.append(session, job_id, attempt, points)
        data: dict[str, JsonValue] = {**progress.model_dump(mode="json"), "lr": latest.get("lr"), "metrics": latest}
        events.append(session, job_id, "progress", f"Epoch {progress.epoch} of {progress.epochs}.", data=data)
    return status


def resume_from(session: Session, job_id: str, attempt: int, step: int) -> list[str] | None:
    """Notes the step that an attempt goes on from, and forgets the metrics and checkpoints behind it; answers the keys
    of these, None if the lease is lost.

    Where nothing was lost before, as when a worker was updated and its successor can read no older checkpoint, all that
    is saved from here on is progress.
    """
    orderly = sa.case((Job.stalled_attempts == 0, step), else_=Job.saved_step)
    held = sa.update(Job).where(_held(job_id, attempt)).values(saved_step=orderly).returning(Job.id)
    if session.scalar(held) is None:
        return None
    mine = sa.and_(Attempt.job_id == job_id, Attempt.n == attempt)
    session.execute(sa.update(Attempt).where(mine).values(resumed_from_step=step))
    history.truncate(session, job_id, step)
    events.append(session, job_id, "resumed", f"The run goes on from step {step}.", data={"step": step})
    return files.forget_behind(session, job_id, step)


def note(session: Session, job_id: str, attempt: int, kind: str, message: str, level: str = "info") -> bool:
    """Adds an event that changes nothing."""
    if session.scalar(sa.select(Job.id).where(_held(job_id, attempt)).with_for_update()) is None:
        return False
    events.append(session, job_id, kind, message, level=level)
    return True


def keep(session: Session, job_id: str, attempt: int, file: File, most: int) -> list[str] | None:
    """Commits a file that is already in the artifact store; a checkpoint to resume from is progress if it is of a later
    step than any before: a run that dies at its end, or whose checkpoints are lost, saves the same steps each time.

    Answers the keys of files that it supersedes: of its name, and checkpoints beyond the `most` newest; None if the
    lease is lost.
    """
    held = sa.update(Job).where(_held(job_id, attempt)).values(version=Job.version + 1)
    if file.resumable:
        further = Job.saved_step < file.step
        held = held.values(stalled_attempts=sa.case((further, 0), else_=Job.stalled_attempts))
        held = held.values(saved_step=sa.case((further, file.step), else_=Job.saved_step))
    if session.scalar(held.returning(Job.id)) is None:
        return None
    superseded = files.forget(session, job_id, cast(files.Kind, file.kind), file.name)
    if file.is_best:
        session.execute(sa.update(File).where(File.job_id == job_id, File.is_best).values(is_best=False))
        _name_best(session, job_id, file)
    file.created_at = db.now()
    session.add(file)
    session.flush()
    if file.kind == "checkpoint":
        data: dict[str, JsonValue] = {"id": file.id, "step": file.step, "epoch": file.epoch, "best": file.is_best}
        events.append(session, job_id, "checkpoint", f"Step {file.step} was saved.", data=data)
        superseded += files.prune(session, job_id, most)
    files.count(session, job_id)
    return [path for path in superseded if path != file.path]


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
    exit: str | None = None,
) -> bool:
    """The one terminal state and its event; False if this attempt no longer holds the job.

    `exit` says how the attempt ended, where that is not the job's own end.
    """
    done = store.move(
        session,
        job_id,
        status,
        fence=_held(job_id, attempt),
        finished_at=db.now(),
        **NO_HOLDER,
        status_code=error.code if error else None,
        status_message=message,
        stop_reason=stop_reason,
        test=test,
        diagnostics=diagnostics,
        error=error,
        usage=usage,
    )
    if done:
        _end_attempt(session, job_id, attempt, exit or (error.code if error else status.value))
        files.forget(session, job_id, "checkpoint", files.RESUME)
        if not _ended_itself(status, error):
            files.forget_results(session, job_id)
        level = "error" if status is Status.FAILED else "info"
        events.append(session, job_id, status.value, message, level=level, data={"stop_reason": stop_reason})
        files.count(session, job_id)
    return done


def _ended_itself(status: Status, error: Failure | None) -> bool:
    """Whether the run went to its end, so that what it delivered is its result: else it was stopped in between."""
    return status in (Status.SUCCEEDED, Status.TIMED_OUT) or (error is not None and error.error_class == "training")


def release(
    session: Session,
    job_id: str,
    attempt: int,
    why: str,
    *,
    counted: bool,
    usage: Usage | None = None,
    wait: float = 0.0,
) -> bool:
    """Gives a job back to the queue, for `wait` seconds at least; a counted loss waits longer each time, and too many
    end the job.

    A job whose end or rest was asked for is cancelled or paused instead.
    """
    job = _locked(session, job_id, attempt)
    if job is None:
        return False
    usage = usage or job.usage
    if job.status is Status.CANCELLING:
        return finish(
            session, job_id, attempt, Status.CANCELLED, "The job was cancelled.", usage=usage, stop_reason="cancelled"
        )
    stalled = job.stalled_attempts + counted
    if stalled >= MOST_STALLED_ATTEMPTS:
        text = f"Lost {stalled} times without a later checkpoint in between, the last by {why}. Mend that, then retry."
        error = Failure(error_class="infrastructure", code="poison", message=text)
        return finish(session, job_id, attempt, Status.FAILED, text, usage=usage, error=error, exit=why)
    if job.status is Status.PAUSING:
        return _rest(session, job_id, attempt, usage, stalled)
    wait = max(wait, min(LONGEST_BACKOFF, 5.0 * 2**stalled) if stalled > 1 else 0.0)
    _requeue(session, job_id, attempt, why, usage, stalled_attempts=stalled, not_before=db.now(wait))
    level = "warning" if counted else "info"
    events.append(session, job_id, "requeued", f"Attempt {attempt} ended: {why}.", level=level)
    return True


def retry_smaller(session: Session, job_id: str, attempt: int, error: Failure, usage: Usage) -> bool:
    """After an attempt that ran out of memory: one more, which takes its batches in parts; then the job fails."""
    job = _locked(session, job_id, attempt)
    if job is None:
        return False
    if job.status is not Status.RUNNING:
        return release(session, job_id, attempt, error.code, counted=False, usage=usage)
    if job.oom_attempts:
        return finish(session, job_id, attempt, Status.FAILED, error.message, usage=usage, error=error)
    _requeue(session, job_id, attempt, error.code, usage, oom_attempts=1)
    text = f"Attempt {attempt} ran out of memory; the next takes each batch in parts."
    events.append(session, job_id, "requeued", text, level="warning")
    return True


class _Locked(NamedTuple):
    """Of a held job, what its release depends on. Not its spec: a reaper may be older than that is."""

    status: Status
    stalled_attempts: int
    oom_attempts: int
    usage: Usage


def _locked(session: Session, job_id: str, attempt: int) -> _Locked | None:
    columns = (Job.status, Job.stalled_attempts, Job.oom_attempts, Job.usage)
    row = session.execute(sa.select(*columns).where(_held(job_id, attempt)).with_for_update()).one_or_none()
    return _Locked(*row) if row else None


def _requeue(session: Session, job_id: str, attempt: int, why: str, usage: Usage, **values: Any) -> None:
    text = "The job goes on from its last checkpoint when a worker is free."
    values |= {**NO_HOLDER, "status_code": why, "status_message": text, "usage": usage}
    store.move(session, job_id, Status.QUEUED, fence=_held(job_id, attempt), **values)
    _end_attempt(session, job_id, attempt, why)


def _rest(session: Session, job_id: str, attempt: int, usage: Usage, stalled: int) -> bool:
    values = {**NO_HOLDER, "status_code": None, "status_message": None, "usage": usage, "stalled_attempts": stalled}
    store.move(session, job_id, Status.PAUSED, fence=_held(job_id, attempt), **values)
    _end_attempt(session, job_id, attempt, "paused")
    events.append(session, job_id, "paused", "The run is saved and left its slot until it is resumed.")
    return True


def _end_attempt(session: Session, job_id: str, attempt: int, how: str) -> None:
    mine = sa.and_(Attempt.job_id == job_id, Attempt.n == attempt)
    session.execute(sa.update(Attempt).where(mine).values(ended_at=db.now(), exit=how))


Held = tuple[str, int, datetime]
"""A job, its attempt, and until when its lease was renewed last."""


def held(session: Session) -> set[Held]:
    """Every job that a worker holds."""
    query = sa.select(Job.id, Job.attempt, Job.lease_until).where(Job.lease_owner.is_not(None))
    return {(row.id, row.attempt, row.lease_until) for row in session.execute(query)}


def reap(session: Session, job_id: str, attempt: int, until: datetime) -> bool:
    """Releases a job whose worker is silent; False if its lease was renewed since it was seen."""
    apart = sa.func.abs(sa.type_coerce(Job.lease_until, sa.Double) - until.timestamp())
    unchanged = apart < 0.001  # what was read has been rounded
    silent = sa.select(Job.id).where(_held(job_id, attempt), unchanged).with_for_update()
    return session.scalar(silent) is not None and release(session, job_id, attempt, "lease_expired", counted=True)
