"""An owner's jobs by what is asked of them, a page at a time, in a time that does not grow with how many there are, and
in a space that does not grow with how large they are.

Only pairs of metadata have no index: a page is filled by reading the owner's jobs from the newest down.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate
from typing import Generic, NamedTuple, TypeVar

import sqlalchemy as sa
from sqlalchemy.orm import Session

from jobs import db, ids
from jobs.states import Status
from jobs.tables.jobs import Job

SKEW = 86_400.0
"""Seconds that the clock that made an id may be off the database's, by which `created_at` goes."""
MOST_BYTES = 4 << 20
"""Of the documents on one page, unless its first item alone has more."""
LARGE = (Job.spec, Job.resolved_spec, Job.resolution, Job.warnings, Job.test, Job.diagnostics, Job.error)

Row = TypeVar("Row")


class Page(NamedTuple, Generic[Row]):
    """What fits on a page."""

    rows: Sequence[Row]
    more: bool
    """There are others below."""


@dataclass(frozen=True)
class Filter:
    """Which jobs to list; None takes all."""

    status: Sequence[Status] | None = None
    name: str | None = None
    metadata: Mapping[str, str] | None = None
    dataset: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None


def page(session: Session, owner: str, chosen: Filter, after: str | None, limit: int) -> Page[Job]:
    """The owner's jobs, newest first, below the id `after`: first filtered, then sorted, then cut."""
    below = [Job.id < after] if after else []
    fixed = [Job.owner == owner, *_conditions(chosen), *below]
    found = [sa.select(Job.id).where(*fixed, way).order_by(Job.id.desc()).limit(limit + 1) for way in _ways(chosen)]
    each = [sa.select(one.subquery().c.id) for one in found]
    newest = sa.select(sa.union(*each).subquery().c.id).order_by(sa.desc("id")).limit(limit + 1)
    large = sum(map(db.size, LARGE), sa.literal(0))
    sizes = sa.select(Job.id, large).where(Job.id.in_(newest)).order_by(Job.id.desc())
    shown, more = cut(session.execute(sizes).all(), limit)
    return Page(session.scalars(sa.select(Job).where(Job.id.in_(shown)).order_by(Job.id.desc())).all(), more)


def cut(found: Sequence[tuple[str, int]], limit: int) -> tuple[list[str], bool]:
    """The first of these ids, each with its bytes, that fit on a page of so many; and whether any are left."""
    ends = list(accumulate(size for _, size in found))
    fitting = max(1, sum(end <= MOST_BYTES for end in ends[:limit]))
    return [id for id, _ in found[:fitting]], len(found) > fitting


def _ways(chosen: Filter) -> list[sa.ColumnElement[bool]]:
    """Conditions of which one must hold, each with an index of its own: of every one the newest jobs are enough."""
    if chosen.dataset:
        return [Job.dataset_id == chosen.dataset, Job.test_dataset_id == chosen.dataset]
    return [Job.status == status for status in dict.fromkeys(chosen.status or [])] or [sa.true()]


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
