"""How many jobs would be taken before a waiting one, if nobody came and no job ended: the order of `claims`, foretold.

Every owner's jobs go in their own order, and of the owners at the highest priority the one with the fewest held jobs
is next. So a job of an owner who holds `h` and has `r` jobs before it is taken when each of the others holds `h + r` or
has nothing left at its priority; at the same number the elder goes first.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.orm import Session, aliased

from jobs import claims
from jobs.states import Status
from jobs.tables.jobs import Job

MOST = 1000
"""Nothing is counted beyond it: a position of 1000 means 1000 or more."""


class _Queue(NamedTuple):
    """An owner's jobs as one that waits at some priority sees them."""

    owner: str
    held: int
    higher: int
    """Waiting jobs of a higher priority, counted up to `MOST`."""
    level: int
    """Those of the same priority, counted up to `MOST`."""
    eldest: tuple[float, str] | None
    """The first of these."""


def position(session: Session, job: Job) -> int | None:
    """Jobs that would be taken before this one; None unless it is queued and ready."""
    return positions(session, [job]).get(job.id)


def positions(session: Session, jobs: Sequence[Job]) -> dict[str, int]:
    """Of those that are queued and ready. Exact up to `MOST` if there is one owner in the queue; each other one who has
    jobs of the same priority may add one too many or too few, for only the age of their first job is looked at."""
    waiting = [job for job in jobs if job.status is Status.QUEUED and job.resolved_spec is not None]
    first = {owner: _first(session, owner, waiting) for owner in {job.owner for job in waiting}}
    near = [job for job in waiting if job.id in first[job.owner]]
    queues = {priority: _queues(session, priority) for priority in {job.priority for job in near}}
    found = {job.id: _before(job, first[job.owner][job.id], queues[job.priority]) for job in near}
    return {job.id: min(MOST, found.get(job.id, MOST)) for job in waiting}


def _before(job: Job, earlier: int, queues: Sequence[_Queue]) -> int:
    held = sum(queue.held for queue in queues if queue.owner == job.owner)
    age = job.queued_at.timestamp(), job.id
    return earlier + sum(_taken(queue, held + earlier, age) for queue in queues if queue.owner != job.owner)


def _taken(queue: _Queue, held: int, age: tuple[float, str]) -> int:
    """How many jobs of another owner go before one whose owner then holds so many."""
    room = held - queue.held - queue.higher
    elder = queue.eldest is not None and queue.eldest < age and 0 <= room < queue.level
    return queue.higher + min(queue.level, max(0, room)) + elder


def _first(session: Session, owner: str, waiting: Sequence[Job]) -> dict[str, int]:
    """Those that are among the owner's first jobs, and how many of their own go before each."""
    asked = {"owner": owner, "most": MOST, "ids": [job.id for job in waiting if job.owner == owner]}
    return {job_id: number - 1 for job_id, number in session.execute(_first_query(), asked)}


@cache
def _first_query() -> sa.Select[str, int]:
    """Made once, as the one below."""
    number = sa.func.row_number().over(order_by=claims.in_order(Job)).label("number")
    theirs = sa.select(Job.id, number).where(claims.ready(Job), Job.owner == sa.bindparam("owner", type_=sa.String))
    first = theirs.order_by(*claims.in_order(Job)).limit(sa.bindparam("most", type_=sa.Integer)).subquery()
    return sa.select(first.c.id, first.c.number).where(first.c.id.in_(sa.bindparam("ids", expanding=True)))


def _queues(session: Session, priority: int) -> Sequence[_Queue]:
    return [
        _Queue(owner, held, higher, level, (at, id) if id else None)
        for owner, held, higher, level, at, id in session.execute(_query(), {"priority": priority, "most": MOST})
    ]


@cache
def _query() -> sa.Select[Any]:
    """Made once: that takes longer than asking it."""
    priority, owners = sa.bindparam("priority", type_=sa.Integer), claims.owners_in_queue()
    one, eldest = aliased(Job), aliased(Job)
    theirs = sa.select(one.id).where(claims.ready(one), one.owner == owners.c.owner).correlate(owners)
    theirs = theirs.order_by(*claims.in_order(one))  # even where they are only counted: so `jobs_ready` is taken
    level = theirs.where(one.priority == priority)
    first = level.limit(1).scalar_subquery()
    return (
        sa.select(owners.c.owner, claims.held_by(owners.c.owner), _count(theirs.where(one.priority > priority)))
        .add_columns(_count(level), sa.type_coerce(eldest.queued_at, sa.Double), eldest.id)
        .outerjoin_from(owners, eldest, eldest.id == first)
        .where(owners.c.owner.is_not(None))
    )


def _count(chosen: sa.Select[str]) -> sa.ScalarSelect[int]:
    some = chosen.limit(sa.bindparam("most", type_=sa.Integer)).subquery()
    return sa.select(sa.func.count()).select_from(some).scalar_subquery()
