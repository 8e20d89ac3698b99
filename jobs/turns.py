"""Whose turn it is: what many owners wait for is found without a look at all that each of them has waiting."""

from collections.abc import Callable
from typing import TypeVar

import sqlalchemy as sa
from sqlalchemy.orm import aliased

from jobs.tables.datasets import Dataset
from jobs.tables.jobs import Job
from jobs.tables.webhooks import Delivery

Thing = TypeVar("Thing", Job, Dataset, Delivery)


def owners(thing: type[Thing], waits: Callable[[type[Thing]], sa.ColumnElement[bool]], of: str = "owner") -> sa.CTE:
    """The owners of what waits, or whatever else it is `of`, each found by one look into an index of that by owner; the
    last row is NULL."""
    mine, other = getattr(thing, of), aliased(thing)
    found = sa.select(sa.func.min(mine).label(of)).where(waits(thing)).cte("owners", recursive=True)
    theirs, last = getattr(other, of), found.c[of]
    following = sa.select(sa.func.min(theirs)).where(waits(other), theirs > last)
    return found.union_all(sa.select(following.scalar_subquery()).where(last.is_not(None)))
