"""An owner's jobs by what is asked of them, a page at a time, in a time that does not grow with how many there are.

Only pairs of metadata have no index: a page is filled by reading the owner's jobs from the newest down.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session

from jobs import db, ids
from jobs.states import Status
from jobs.tables.jobs import Job

SKEW = 86_400.0
"""Seconds that the clock that made an id may be off the database's, by which `created_at` goes."""


@dataclass(frozen=True)
class Filter:
    """Which jobs to list; None takes all."""

    status: Sequence[Status] | None = None
    name: str | None = None
    metadata: Mapping[str, str] | None = None
    dataset: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None


def page(session: Session, owner: str, chosen: Filter, after: str | None, limit: int) -> Sequence[Job]:
    """The owner's jobs, newest first, below the id `after`: first filtered, then sorted, then cut."""
    below = [Job.id < after] if after else []
    fixed = [Job.owner == owner, *_conditions(chosen), *below]
    found = [sa.select(Job.id).where(*fixed, way).order_by(Job.id.desc()).limit(limit) for way in _ways(chosen)]
    each = [sa.select(one.subquery().c.id) for one in found]
    newest = sa.select(sa.union(*each).subquery().c.id).order_by(sa.desc("id")).limit(limit)
    return session.scalars(sa.select(Job).where(Job.id.in_(newest)).order_by(Job.id.desc())).all()


def _ways(chosen: Filter) -> list[sa.ColumnElement[bool]]:
    """Conditions of which one must hold, each with an index of its own: of every one the newest jobs are enough."""
    if chosen.dataset:
        return [Job.dataset_id == chosen.dataset, Job.test_dataset_id == chosen.dataset]
    return [Job.status == status for status in chosen.status] if chosen.status else [sa.true()]


def _conditions(chosen: Filter) -> list[sa.ColumnElement[bool]]:
    conditions: list[sa.ColumnElement[bool] | None] = [
        Job.status.in_(chosen.status) if chosen.status and chosen.dataset else None,
        Job.name == chosen.name if chosen.name is not None else None,
        *_created(chosen),
        *(db.member(Job.details, key) == value for key, value in (chosen.metadata or {}).items()),
    ]
    return [condition for condition in conditions if condition is not None]


def _created(chosen: Filter) -> list[sa.ColumnElement[bool]]:
    """Ids sort by the time they were made, roughly: that spares reading what is far too old or too young."""
    after, before = chosen.created_after, chosen.created_before
    conditions = []
    if after:
        conditions += [Job.created_at > after, Job.id > ids.first("job", after.timestamp() - SKEW)]
    if before:
        conditions += [Job.created_at < before, Job.id < ids.first("job", before.timestamp() + SKEW)]
    return conditions
