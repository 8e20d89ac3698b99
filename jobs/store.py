"""Jobs as their owners see them: made, found, listed, changed, cancelled, retried, deleted."""

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from jobs import db, errors, estimate, events, files, holdings, ids, states
from jobs.rules import Resolved
from jobs.spec import job as job_spec
from jobs.spec.data import GivenSplit, Upload
from jobs.spec.job import JobSpec
from jobs.states import Status
from jobs.tables.datasets import Dataset
from jobs.tables.jobs import Job

MOST_PAUSES = 500
"""Of one job: each leaves a few events for good, and messages to webhooks."""


def create(
    session: Session,
    owner: str,
    spec: JobSpec,
    resolved: Resolved | None,
    *,
    parent: str | None = None,
    traceparent: str | None = None,
) -> Job:
    """A queued job. Without `resolved` it waits for its dataset's profile."""
    test = spec.split.test if isinstance(spec.split, GivenSplit) else None
    happened = [("created", "The job was accepted.")]
    if resolved:
        happened.append(("queued", "The job waits for a worker."))
    job = Job(
        id=ids.new("job"),
        owner=owner,
        name=spec.name,
        status=Status.QUEUED,
        status_code=None if resolved else "dataset_profiling",
        status_message=None if resolved else "The dataset is being read; the job is resolved when that is done.",
        priority=spec.priority,
        needs_gpu=resolved is not None and resolved.spec.device == "cuda",
        spec=spec,
        spec_version=job_spec.VERSION,
        spec_bytes=job_spec.size(spec),
        file_bytes=estimate.estimate(resolved).disk_bytes if resolved else 0,
        spec_hash=job_spec.fingerprint(spec),
        resolved_spec=resolved.spec if resolved else None,
        resolution=resolved.decisions if resolved else [],
        warnings=resolved.notices if resolved else [],
        dataset_id=spec.dataset.id if isinstance(spec.dataset, Upload) else None,
        test_dataset_id=test.id if isinstance(test, Upload) else None,
        dataset_hash=resolved.dataset_hash if resolved else None,
        details=dict(spec.metadata),
        parent=parent,
        traceparent=traceparent,
        created_at=db.now(),
        queued_at=db.now(),
        updated_at=db.now(),
        not_before=db.now(),
        event_seq=len(happened),
    )
    session.add(job)
    session.flush()
    session.refresh(job)
    events.begin(session, job, happened)
    holdings.add(session, job)
    return job


def get(session: Session, owner: str, job_id: str, *, lock: bool = False) -> Job:
    """One job of this owner; locked, nobody else moves it before the commit.

    Raises:
        NotFound: no such job, or somebody else's.
    """
    query = sa.select(Job).where(Job.id == job_id, Job.owner == owner)
    if lock:
        query = query.with_for_update().execution_options(populate_existing=True)
    job = session.scalar(query)
    if job is None:
        raise errors.NotFound(
            f"There is no job {job_id!r} here." if job_id.isprintable() and len(job_id) < 64 else None
        )
    return job


def move(session: Session, job_id: str, target: Status, *, fence: sa.ColumnElement[bool], **values: Any) -> bool:
    """Moves a job to a state by one conditional UPDATE; False if the job was not where it may come from."""
    moved = session.execute(
        sa.update(Job)
        .where(Job.id == job_id, Job.status.in_(states.sources(target)), fence)
        .values(status=target, updated_at=db.now(), version=Job.version + 1, **values)
        .returning(Job.id)
    )
    return moved.first() is not None


def cancel(session: Session, owner: str, job_id: str) -> Job:
    """Asks for the end of a job: a waiting one ends at once, a running one when its process is gone.

    Raises:
        IllegalMove: the job ended in another way.
    """
    job = get(session, owner, job_id, lock=True)
    if job.status in (Status.CANCELLED, Status.CANCELLING):
        return job
    waiting = {"finished_at": db.now(), "stop_reason": "cancelled", "status_code": None, "status_message": None}
    if move(session, job_id, Status.CANCELLED, fence=Job.status.in_(states.AT_REST), **waiting):
        events.append(session, job_id, "cancelled", "The job was cancelled before it started.")
        files.count(session, job_id)
    elif move(session, job_id, Status.CANCELLING, fence=Job.status.in_(states.HELD)):
        events.append(session, job_id, "cancelling", "The job's process is being stopped.")
    else:
        raise _refusal(job, "cancelled")
    session.refresh(job)
    return job


def pause(session: Session, owner: str, job_id: str) -> Job:
    """Takes a job out of the queue; a running one saves itself first and frees its slot.

    Raises:
        IllegalMove: the job has ended, or is about to.
        LimitReached: it was paused as often as a job may be.
    """
    job = get(session, owner, job_id, lock=True)
    if job.status in (Status.PAUSED, Status.PAUSING):
        return job
    if job.pauses >= MOST_PAUSES:
        raise errors.LimitReached(f"A job can be paused {MOST_PAUSES} times, and this one was; cancel it instead.")
    again = {"pauses": Job.pauses + 1}
    waiting = {**again, "status_code": None, "status_message": None}
    if move(session, job_id, Status.PAUSED, fence=Job.status == Status.QUEUED, **waiting):
        events.append(session, job_id, "paused", "The job left the queue until it is resumed.")
    elif move(session, job_id, Status.PAUSING, fence=Job.status == Status.RUNNING, **again):
        events.append(session, job_id, "pausing", "The run is being saved.")
    else:
        raise _refusal(job, "paused")
    session.refresh(job)
    return job


def resume(session: Session, owner: str, job_id: str) -> Job:
    """Puts a paused job back at its old place in the queue; one that is not paused stays as it is.

    Raises:
        IllegalMove: the job has ended, is about to, or is still being saved.
    """
    job = get(session, owner, job_id, lock=True)
    if job.status in (Status.QUEUED, Status.RUNNING):
        return job
    if not move(session, job_id, Status.QUEUED, fence=Job.status == Status.PAUSED, not_before=db.now()):
        raise _refusal(job, "resumed")
    events.append(session, job_id, "queued", "The job was resumed and waits for a worker.")
    session.refresh(job)
    return job


def retry(session: Session, owner: str, job_id: str, resolve: Callable[[JobSpec], Resolved | None]) -> tuple[Job, bool]:
    """A job with the spec of one that ended without success, and whether it is new; asked again, it is the same one,
    whatever became of its dataset.

    Raises:
        IllegalMove: the job has not ended, or ended well.
    """
    job = get(session, owner, job_id, lock=True)
    if "retry" not in states.allowed_actions(job.status):
        raise _refusal(job, "retried")
    if again := session.scalar(sa.select(Job).where(Job.parent == job_id, Job.owner == owner)):
        return again, False
    return create(session, owner, job.spec, resolve(job.spec), parent=job_id, traceparent=job.traceparent), True


def change(
    session: Session,
    owner: str,
    job_id: str,
    *,
    name: str | None,
    priority: int | None,
    metadata: dict[str, str] | None,
) -> Job:
    """Changes what may be changed after the submit; None leaves a value as it is."""
    job = get(session, owner, job_id, lock=True)
    values = {"name": name, "priority": priority, "details": metadata}
    changed = {key: value for key, value in values.items() if value is not None}
    session.execute(
        sa.update(Job).where(Job.id == job_id).values(**changed, version=Job.version + 1, updated_at=db.now())
    )
    session.refresh(job)
    return job


def check_ended(session: Session, owner: str, job_id: str) -> None:
    """Lets a job pass that may be deleted.

    Raises:
        IllegalMove: it has not ended.
    """
    job = get(session, owner, job_id)
    if job.status not in states.TERMINAL:
        raise _refusal(job, "deleted")


def delete(session: Session, owner: str, job_id: str) -> None:
    """Removes an ended job and all rows that hang on it; its files are for the caller to remove, after the commit.

    Raises:
        IllegalMove: the job has not ended.
    """
    check_ended(session, owner, job_id)
    holdings.delete(session, sa.and_(Job.id == job_id, Job.status.in_(states.TERMINAL)))


def waits_for(dataset: str | sa.SQLColumnExpression[str]) -> sa.ColumnElement[bool]:
    """A job that could not be resolved before this dataset was read, in the words of the indexes `jobs_unresolved`."""
    on_it = sa.or_(Job.dataset_id == dataset, Job.test_dataset_id == dataset)
    return sa.and_(on_it, Job.resolved_spec.is_(None), Job.finished_at.is_(None))


def newer_waits(dataset: sa.SQLColumnExpression[str]) -> sa.Exists:
    """Whether a job of a newer spec version waits for a dataset: this code could not resolve it."""
    return sa.exists().where(waits_for(dataset), Job.spec_version > job_spec.VERSION)


def uses(session: Session, dataset: Dataset) -> bool:
    """Whether a job that has not ended needs this dataset."""
    on_it = sa.or_(Job.dataset_id == dataset.id, Job.test_dataset_id == dataset.id)
    return session.scalar(sa.select(sa.exists().where(on_it, Job.status.not_in(states.TERMINAL)))) or False


def _refusal(job: Job, verb: str) -> errors.IllegalMove:
    return errors.IllegalMove(f"A job that is {job.status} cannot be {verb}.", states.allowed_actions(job.status))
