"""Jobs that waited for a dataset which has been read: resolved by any worker, in small transactions.

A settled dataset is `awaited_at` some moment until none of its jobs waits any longer, so nothing is forgotten if the
worker that settled it is gone. No job comes meanwhile: who submits one locks the dataset until the commit, and finds it
either unread, so that its verdict has to wait, or settled.
"""

import time

import sqlalchemy as sa
import structlog
from sqlalchemy.orm import Session

from jobs import datasets, db, errors, estimate, events, holdings, quotas, store, turns
from jobs.allowances import Allowance
from jobs.db import Database
from jobs.record import Failure, Usage
from jobs.rules import Resolved
from jobs.states import Status
from jobs.tables.datasets import Dataset
from jobs.tables.jobs import Job

log = structlog.get_logger()

BATCH, SECONDS = 20, 1.0
"""Jobs of one transaction, and how long it goes on with another one: each may hold a megabyte."""
MOST_SAID = 10_000
"""Characters of why a job fails; the faults are told one by one, too."""
NOT_RESOLVED = "The spec could not be resolved: a fault of fitd, which its log tells more of. Mend that, then retry."


def any_left(session: Session) -> bool:
    """Whether a dataset is awaited by jobs."""
    return session.scalar(sa.select(sa.exists().where(_is_awaited()))) or False


def resolve(database: Database, allowance: Allowance) -> bool:
    """A batch of each owner's jobs, each batch by a transaction of its own; False if nothing was left."""
    owners = turns.owners(Dataset, lambda dataset: dataset.awaited_at.is_not(None))
    with database.reading() as session:
        waiting = session.scalars(sa.select(owners.c.owner).where(owners.c.owner.is_not(None))).all()
    return sum(_resolved_some(database, owner, allowance) for owner in waiting) > 0


def _resolved_some(database: Database, owner: str, allowance: Allowance) -> bool:
    """False, too, where a newer version has written what cannot be read here: its own workers go on."""
    try:
        return _resolve_some(database, owner, allowance)
    except errors.NewerRecord:
        log.info("left_to_newer", owner=owner)
        return False


def _resolve_some(database: Database, owner: str, allowance: Allowance) -> bool:
    first = sa.select(Dataset.id).where(Dataset.owner == owner, _is_awaited()).order_by(Dataset.id).limit(1)
    with database.writing() as session:
        dataset_id = session.scalar(first)
        return dataset_id is not None and _go_on(session, dataset_id, allowance)


def _is_awaited() -> sa.ColumnElement[bool]:
    return sa.and_(Dataset.awaited_at.is_not(None), ~store.newer_waits(Dataset.id))


def _go_on(session: Session, dataset_id: str, allowance: Allowance) -> bool:
    """Resolves some of a dataset's jobs, or notes that none is left; False if others have those that are left."""
    waiting = sa.select(Job.id).where(store.waits_for(dataset_id), ~_waits_for_another()).order_by(Job.id).limit(BATCH)
    some, until = session.scalars(waiting.with_for_update(skip_locked=True)).all(), time.monotonic() + SECONDS
    for job_id in some:
        _resolve(session, session.get_one(Job, job_id), allowance)
        if time.monotonic() > until:
            break
    if some or session.scalar(waiting.limit(1)):
        return bool(some)
    session.execute(sa.update(Dataset).where(Dataset.id == dataset_id).values(awaited_at=None))
    return True


def _waits_for_another() -> sa.Exists:
    """Whether a job's other dataset is still unread: then it is resolved when that one is settled."""
    theirs = Dataset.id.in_((Job.dataset_id, Job.test_dataset_id))
    return sa.exists().where(theirs, Dataset.status.in_(datasets.UNSETTLED))


def _resolve(session: Session, job: Job, allowance: Allowance) -> None:
    try:
        resolved = datasets.resolved(session, job.owner, job.spec, allowance)
    except errors.SpecInvalid as error:
        text = "The spec does not fit its dataset: " + " ".join(fault.detail for fault in error.faults)[:MOST_SAID]
        faults = [fault.model_dump() for fault in error.faults]
        return _fail(session, job, Failure(error_class="spec", code=error.code, message=text, errors=faults))
    except (errors.FitdError, sa.exc.SQLAlchemyError):
        raise
    except Exception:  # a fault of the rules must not keep the jobs behind this one waiting
        log.exception("not_resolved", job_id=job.id)
        return _fail(session, job, Failure(error_class="internal", code="internal_error", message=NOT_RESOLVED))
    if resolved:
        _take_up(session, job, resolved, allowance)


def _take_up(session: Session, job: Job, resolved: Resolved, allowance: Allowance) -> None:
    size = estimate.estimate(resolved).disk_bytes
    if holdings.add_files(session, job.owner, size) > allowance.result_bytes:
        holdings.add_files(session, job.owner, -size)
        refusal = quotas.too_many_results(allowance.result_bytes)
        return _fail(session, job, Failure(error_class="data", code=refusal.code, message=str(refusal)))
    session.execute(
        sa.update(Job)
        .where(Job.id == job.id, Job.status == job.status)
        .values(resolved_spec=resolved.spec, resolution=resolved.decisions, warnings=resolved.notices)
        .values(dataset_hash=resolved.dataset_hash, needs_gpu=resolved.spec.device == "cuda")
        .values(status_code=None, status_message=None, file_bytes=size)
    )
    kind = "queued" if job.status is Status.QUEUED else "resolved"
    events.append(session, job.id, kind, "The dataset was read; nothing is left to guess.")


def _fail(session: Session, job: Job, failure: Failure) -> None:
    ended = {"finished_at": db.now(), "error": failure, "usage": Usage()}
    said = {"status_code": failure.code, "status_message": failure.message}
    if store.move(session, job.id, Status.FAILED, fence=Job.resolved_spec.is_(None), **ended, **said):
        events.append(session, job.id, "failed", failure.message, level="error")
