"""Which job a worker gets: highest priority first, then whoever of the owners has the fewest running, then age."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session, aliased

from jobs import db, errors, events, leases, turns
from jobs.spec import job as job_spec
from jobs.states import Status
from jobs.tables.jobs import Attempt, Job

NEWER = "newer_record"
"""The status code of a job that was passed over."""
REST = 15.0
"""Seconds for which it then rests, so that nobody looks at it all the time."""

MOST_PASSED = 20
"""Of an owner by one claim, which locks them until it commits; the next one goes on."""


def claim(session: Session, worker: str, lease: float, *, gpu: bool = False) -> Job | None:
    """Takes the best eligible job for `lease` seconds, or None if there is none; `gpu` says that the worker has one.

    Of two workers that claim at the same moment one may find the best job locked and take the next of its owner. A job
    of which a newer version has written what this one cannot read is left for others.
    """
    for owner in _owners(session, gpu):
        best = _best(session, owner, gpu)
        if best and (job := _taken(session, best, worker, lease)):
            return job
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


def _best(session: Session, owner: str, gpu: bool) -> Job | None:
    """The owner's best job, locked; those that cannot be read here are passed over."""
    best = sa.select(Job).where(ready(Job), Job.owner == owner, _eligible(Job, gpu)).order_by(*in_order(Job)).limit(1)
    best = best.with_for_update(skip_locked=True).execution_options(populate_existing=True)
    for _ in range(MOST_PASSED):
        try:
            return session.scalar(best)
        except errors.NewerRecord:
            _pass_over(session, session.scalars(best.with_only_columns(Job.id)).one())
    return None


def _pass_over(session: Session, job_id: str) -> None:
    text = "A worker of an older version could not read this job and left it to others."
    said = {"status_code": NEWER, "status_message": text, "version": Job.version + 1}
    session.execute(sa.update(Job).where(Job.id == job_id).values(**said, not_before=db.now(REST)))


def _taken(session: Session, job: Job, worker: str, lease: float) -> Job | None:
    """The job as the worker holds it; None if somebody else was first."""
    attempt = session.scalar(
        sa.update(Job)
        .where(Job.id == job.id, Job.status == Status.QUEUED)
        .values(status=Status.RUNNING, attempt=Job.attempt + 1, lease_owner=worker, lease_until=db.now(lease))
        .values(status_code="starting", status_message="A worker has taken the job.", updated_at=db.now())
        .values(started_at=sa.func.coalesce(Job.started_at, db.now()), version=Job.version + 1)
        .returning(Job.attempt)
        .execution_options(synchronize_session=False)
    )
    if attempt is None:
        return None
    session.add(Attempt(job_id=job.id, n=attempt, worker=worker, started_at=db.now()))
    session.flush()
    events.append(session, job.id, "started", f"Attempt {attempt} began.", data={"worker": worker})
    session.refresh(job)
    return job
