"""Which job a worker gets: highest priority first, then whoever of the owners has the fewest running, then age."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session, aliased

from jobs import db, events, leases, turns
from jobs.spec import job as job_spec
from jobs.states import Status
from jobs.tables.jobs import Attempt, Job


def claim(session: Session, worker: str, lease: float, *, gpu: bool = False) -> Job | None:
    """Takes the best eligible job for `lease` seconds, or None if there is none; `gpu` says that the worker has one.

    Of two workers that claim at the same moment one may find the best job locked and take the next of its owner.
    """
    for owner in _owners(session, gpu):
        job_id = _take(session, owner, worker, lease, gpu)
        if job_id:
            return _begun(session, job_id, worker)
    return None


def any_ready(session: Session, *, gpu: bool = False) -> bool:
    """Whether there is a job to claim."""
    # In the order of `jobs_ready`: else PostgreSQL may look for one through the whole table.
    query = sa.select(Job.id).where(ready(Job), _eligible(Job, gpu)).order_by(Job.owner).limit(1)
    return session.scalar(query) is not None


def ready(job: type[Job]) -> sa.ColumnElement[bool]:
    """A job that waits for a worker, in the words of the index `jobs_ready`."""
    return sa.and_(job.status == sa.literal_column("'queued'"), job.resolved_spec.is_not(None))


def in_order(job: type[Job]) -> Sequence[sa.ColumnElement[Any]]:
    """The order in which one owner's jobs are taken."""
    return job.priority.desc(), job.queued_at.asc(), job.id.asc()


def owners_in_queue() -> sa.CTE:
    """The owners of ready jobs, each found by one look into the index however many jobs they have; the last row is
    NULL."""
    return turns.owners(Job, ready)


def held_by(owner: sa.SQLColumnExpression[str]) -> sa.ScalarSelect[int]:
    """How many jobs of an owner are held by workers."""
    held = aliased(Job)
    return (
        sa.select(sa.func.count())
        .select_from(held)
        .where(held.lease_owner.is_not(None), held.owner == owner)
        .scalar_subquery()
    )


def _eligible(job: type[Job], gpu: bool) -> sa.ColumnElement[bool]:
    """Its time has come, and this worker understands and can run it."""
    # Nobody waits for longer than the longest back-off: a time beyond it was written by a clock that was wrong.
    is_time = sa.or_(job.not_before <= db.now(), job.not_before > db.now(leases.LONGEST_BACKOFF))
    can_run = sa.true() if gpu else job.needs_gpu.is_(False)
    return sa.and_(is_time, job.spec_version <= job_spec.VERSION, can_run)


def _owners(session: Session, gpu: bool) -> Sequence[str]:
    """Owners of eligible jobs, in the order in which the next job is theirs."""
    return session.scalars(_owners_query(gpu)).all()


@cache
def _owners_query(gpu: bool) -> sa.Select[str]:
    """Made once: that takes longer than asking it."""
    owners = owners_in_queue()
    one, best = aliased(Job), aliased(Job)
    of_each = sa.select(one.id).where(ready(one), one.owner == owners.c.owner, _eligible(one, gpu))
    first = of_each.order_by(*in_order(one)).limit(1).scalar_subquery()
    turn = best.priority.desc(), held_by(best.owner), best.queued_at, best.id
    return sa.select(best.owner).join(owners, best.id == first).order_by(*turn)


def _take(session: Session, owner: str, worker: str, lease: float, gpu: bool) -> str | None:
    one = aliased(Job)
    best = sa.select(one.id).where(ready(one), one.owner == owner, _eligible(one, gpu)).order_by(*in_order(one))
    return session.scalar(
        sa.update(Job)
        .where(Job.id == best.limit(1).with_for_update(skip_locked=True).scalar_subquery())
        .where(Job.status == Status.QUEUED)
        .values(status=Status.RUNNING, attempt=Job.attempt + 1, lease_owner=worker, lease_until=db.now(lease))
        .values(status_code="starting", status_message="A worker has taken the job.", updated_at=db.now())
        .values(started_at=sa.func.coalesce(Job.started_at, db.now()), version=Job.version + 1)
        .returning(Job.id)
    )


def _begun(session: Session, job_id: str, worker: str) -> Job:
    job = session.get_one(Job, job_id, populate_existing=True)
    session.add(Attempt(job_id=job.id, n=job.attempt, worker=worker, started_at=db.now()))
    session.flush()
    events.append(session, job.id, "started", f"Attempt {job.attempt} began.", data={"worker": worker})
    session.refresh(job)
    return job
