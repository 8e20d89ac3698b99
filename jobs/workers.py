"""The fleet: which workers there are, what they have, what they are asked."""

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Session

from jobs import db, errors
from jobs.tables.jobs import Job
from jobs.tables.workers import Worker

FORGOTTEN = 3600.0
"""Seconds of silence after which a worker that never said goodbye is no longer listed."""
SILENT = 45.0
"""Seconds of silence after which nobody counts on a worker."""


@dataclass(frozen=True)
class Equipment:
    """What a worker brings."""

    slots: int
    threads: int
    gpus: list[str]
    """At this moment: they may be lost, and found again."""
    versions: dict[str, str]


def arrive(session: Session, name: str, equipment: Equipment) -> None:
    """Adds a worker, or one of the same name anew; what it was asked before holds no longer."""
    leave(session, name)
    session.add(Worker(name=name, started_at=db.now(), seen_at=db.now(), drain_asked=False, **vars(equipment)))
    session.flush()


def beat(session: Session, name: str, gpus: list[str]) -> bool | None:
    """The worker is alive, with these GPUs; answers whether it is asked to drain, or None if it has been forgotten."""
    seen = sa.update(Worker).where(Worker.name == name).values(seen_at=db.now(), gpus=gpus)
    return session.scalar(seen.returning(Worker.drain_asked))


def drain_asked(session: Session, name: str) -> bool:
    """Whether this worker is to hand back what it runs."""
    return session.scalar(sa.select(Worker.drain_asked).where(Worker.name == name)) or False


def is_heard_of(worker: Worker, now: datetime) -> bool:
    """Whether it has lately said that it lives."""
    return now - worker.seen_at < timedelta(seconds=SILENT)


def leave(session: Session, name: str) -> None:
    """Removes a worker that stops."""
    session.execute(sa.delete(Worker).where(Worker.name == name))


def forget(session: Session) -> int:
    """Removes workers that have long been silent; answers how many."""
    gone = sa.delete(Worker).where(Worker.seen_at < db.now(-FORGOTTEN)).returning(Worker.name)
    return len(session.scalars(gone).all())


def list_all(session: Session) -> list[Worker]:
    """Every worker, by name."""
    return list(session.scalars(sa.select(Worker).order_by(Worker.name)))


def now(session: Session) -> datetime:
    """By the clock that heartbeats are written with."""
    return session.execute(sa.select(db.now())).scalar_one()


def holdings(session: Session) -> dict[str, list[str]]:
    """The ids of the jobs that each worker holds, by its name."""
    held: dict[str, list[str]] = defaultdict(list)
    # Sorted here: to have them in order, SQLite would go through the ids of all jobs.
    rows = session.execute(sa.select(Job.lease_owner, Job.id).where(Job.lease_owner.is_not(None))).all()
    for row in sorted(rows, key=lambda row: row.id):
        held[row.lease_owner].append(row.id)
    return held


def ask(session: Session, name: str, *, drain: bool) -> Worker:
    """Asks a worker to hand back what it runs and to take nothing more, or takes that back.

    Raises:
        NotFound: no such worker.
    """
    asked = sa.update(Worker).where(Worker.name == name).values(drain_asked=drain).returning(Worker.name)
    if session.scalar(asked) is None:
        raise errors.NotFound("There is no worker of this name; those there are are in the list.")
    return session.get_one(Worker, name, populate_existing=True)
