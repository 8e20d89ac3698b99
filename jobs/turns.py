"""Whose turn it is: what many owners wait for is found without a look at all that each of them has waiting."""

from collections.abc import Callable
from typing import TypeVar

import sqlalchemy as sa
from sqlalchemy.orm import aliased

from jobs.tables.datasets import Dataset
from jobs.tables.jobs import Job
from jobs.tables.webhooks import Delivery

Thing = TypeVar("Thing", Job, Dataset, Delivery)


def owners(thing: type[Thing], waits: Callable[[type[Thing]], sa.ColumnElement[bool]]) -> sa.CTE:
    """The owners of what waits, each found by one look into an index of that by owner; the last row is NULL."""
    first = sa.select(sa.func.min(thing.owner).label("owner")).where(waits(thing))
    found = first.cte("owners", recursive=True)
    other = aliased(thing)
    following = sa.select(sa.func.min(other.owner)).where(waits(other), other.owner > found.c.owner)
    return found.union_all(sa.select(following.scalar_subquery()).where(found.c.owner.is_not(None)))
