"""What is forgotten, and when: the rows of ended jobs by the operator's policy, in small transactions.

Every step goes on where the last one stopped, does a bounded amount of work, and is harmless if several workers make it
at once. Bytes go after the row that names them: a crash between the two leaves an orphan, which `orphans` finds.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from jobs import db, files, holdings, ids, webhooks
from jobs.artifacts import Artifacts
from jobs.db import Database
from jobs.states import TERMINAL
from jobs.tables.base import Table
from jobs.tables.jobs import Event, File, Job, LogLine, Metric
from jobs.tables.keys import Audit
from jobs.tables.webhooks import Delivery, Webhook

DAY = 86_400.0
BATCH = 500
"""Rows of a transaction."""
BATCHES = 100
"""Transactions of a step."""
LOOKED_AT = 2000
"""Ended jobs that a step looks at."""
AT_ONCE = 10_000
"""Rows of each kind that go with their job."""
GAP = 0.005
"""Seconds between two transactions in which nobody waits for much: whoever else wants SQLite's lock looks meanwhile."""
MOST_MESSAGES = 100_000
"""Of one webhook: older ones are forgotten once they are settled, and no more of them wait."""

SPENT_KINDS = ("progress", "checkpoint")
"""Events that only told how a run was going."""


@dataclass(frozen=True)
class Kind:
    """Rows of a job that may be forgotten before the job itself."""

    table: Any
    key: Sequence[str]
    """Orders a job's rows; with the job's id it is unique."""
    only: sa.ColumnElement[bool] = field(default_factory=sa.true)

    @property
    def columns(self) -> list[Any]:
        return [getattr(self.table, name) for name in self.key]


METRICS = Kind(Metric, ("name", "step"))
EVENTS = Kind(Event, ("seq",), Event.kind.in_(SPENT_KINDS))
LOGS = Kind(LogLine, ("seq",))
CHECKPOINTS = Kind(File, ("id",), sa.and_(File.kind == "checkpoint", File.is_best.is_(False)))
EVERYTHING = (METRICS, Kind(Event, ("seq",)), LOGS, Kind(File, ("id",)))


@dataclass
class Budget:
    """How much a step may still do."""

    batches: int = field(default_factory=lambda: BATCHES)
    done: int = 0
    """Rows that it has removed."""


@dataclass
class Walk:
    """A way through the ended jobs in the order of their ends, over many steps, that thins them out by one policy."""

    kinds: Sequence[Kind]
    after: tuple[float, str] = (0.0, "")
    """The end and the id of the last job that is done with. A new process begins anew and finds little left."""

    def step(self, database: Database, artifacts: Artifacts, days: float) -> int:
        """Goes on with jobs that ended so many days ago; answers how many rows were removed."""
        budget = Budget()
        for ended, job_id in self._next(database, days):
            if job_id and not all(_emptied(database, artifacts, job_id, kind, budget) for kind in self.kinds):
                break
            self.after = ended
        return budget.done

    def _next(self, database: Database, days: float) -> Iterator[tuple[tuple[float, str], str | None]]:
        """The next jobs; only those with an id have something to lose."""
        at = sa.type_coerce(Job.finished_at, sa.Double)
        some = sa.or_(*(_first_of(kind).is_not(None) for kind in self.kinds))
        query = sa.select(at, Job.id, sa.case((some, Job.id))).where(
            _ended_before(days), sa.tuple_(at, Job.id) > sa.tuple_(*map(sa.literal, self.after))
        )
        with database.reading() as session:
            found = session.execute(query.order_by(Job.finished_at, Job.id).limit(LOOKED_AT)).all()
        return (((at, id), rich) for at, id, rich in found)


def _first_of(kind: Kind) -> sa.ScalarSelect[Any]:
    """One row of the job in question. With EXISTS, PostgreSQL may rather read the whole table once."""
    one = sa.select(kind.columns[0]).where(kind.table.job_id == Job.id, kind.only).correlate(Job)
    return one.order_by(kind.table.job_id).limit(1).scalar_subquery()


def drop_jobs(database: Database, artifacts: Artifacts, days: float) -> int:
    """Removes whole jobs that ended so many days ago, and their files; answers how many."""
    query = sa.select(Job.id).where(_ended_before(days)).order_by(Job.finished_at, Job.id).limit(BATCHES)
    with database.reading() as session:
        old = session.scalars(query).all()
    budget, dropped = Budget(), 0
    for job_id in old:
        if not all(_emptied(database, artifacts, job_id, kind, budget) for kind in EVERYTHING):
            break
        dropped += _drop(database, job_id)
        artifacts.delete_all(files.folder(job_id))
    return dropped


def lighten(database: Database, job_id: str) -> None:
    """Removes most of what an ended job has very much of, so that deleting it holds no lock for long. A crash on the
    way leaves the job, with less of it."""
    for kind in (METRICS, EVENTS, LOGS):
        while _has_many(database, job_id, kind):
            with database.writing() as session:
                if not _locked(session, job_id):
                    return  # somebody else is at it, or it has not ended
                session.execute(_first(session, job_id, kind, AT_ONCE))
            time.sleep(GAP)


def _has_many(database: Database, job_id: str, kind: Kind) -> bool:
    theirs = sa.select(*kind.columns).where(kind.table.job_id == job_id, kind.only).order_by(*kind.columns)
    with database.reading() as session:
        return session.execute(theirs.offset(AT_ONCE).limit(1)).first() is not None


def drop_deliveries(database: Database, days: float) -> int:
    """Removes settled deliveries of webhooks; answers how many."""
    at = sa.type_coerce(Delivery.settled_at, sa.Double)
    return _drop_old(database, Delivery, at, Delivery.settled_at < db.instant(-days * DAY))


def bound_deliveries(database: Database) -> int:
    """Removes settled deliveries of each webhook but its newest ones, and disables a webhook for which too many wait;
    answers how many were removed."""
    older = sa.select(Delivery.id).where(Delivery.webhook_id == Webhook.id).order_by(Delivery.id.desc())
    first = older.offset(MOST_MESSAGES).limit(1).correlate(Webhook).scalar_subquery()
    with database.reading() as session:
        many = session.execute(sa.select(Webhook.id, first).where(first.is_not(None))).all()
    gone = 0
    for webhook_id, last in many:
        _disable_flooded(database, webhook_id)
        gone += _drop_older(database, webhook_id, last)
    return gone


def _drop_older(database: Database, webhook_id: str, last: str) -> int:
    """Removes what is settled up to a message, by ids: PostgreSQL would rather read the whole table for a range."""
    theirs = sa.and_(Delivery.webhook_id == webhook_id, Delivery.id <= last, Delivery.settled_at.is_not(None))
    gone = 0
    for _ in range(BATCHES):
        with database.writing() as session:
            some = session.scalars(sa.select(Delivery.id).where(theirs).order_by(Delivery.id).limit(BATCH)).all()
            gone += _rows(session, sa.delete(Delivery).where(Delivery.id.in_(some)))
        if len(some) < BATCH:
            break
    return gone


def _disable_flooded(database: Database, webhook_id: str) -> None:
    waits = sa.and_(Delivery.webhook_id == webhook_id, Delivery.status == sa.literal_column("'pending'"))
    beyond = sa.select(Delivery.id).where(waits).order_by(Delivery.due_at).offset(MOST_MESSAGES).limit(1)
    with database.reading() as session:
        if session.scalar(beyond) is None:
            return
    with database.writing() as session:
        mine = sa.select(Webhook.id).where(Webhook.id == webhook_id).with_for_update(key_share=True)
        if session.scalar(mine):
            webhooks.disable(session, webhook_id, f"More than {MOST_MESSAGES:,} messages waited to be sent to it.")


def drop_audit(database: Database, days: float) -> int:
    """Removes entries of the audit; answers how many. Their ids tell their age, and have the index."""
    with database.reading() as session:
        now = session.execute(sa.select(db.now())).scalar_one().timestamp()
    return _drop_old(database, Audit, Audit.id, Audit.id < ids.first("audit", now - days * DAY))


def _drop_old(
    database: Database, table: type[Table], by: sa.SQLColumnExpression[Any], old: sa.ColumnElement[bool]
) -> int:
    gone = 0
    for _ in range(BATCHES):
        with database.writing() as session:
            last = session.scalar(sa.select(by).where(old).order_by(by).offset(BATCH - 1).limit(1))
            gone += _rows(session, sa.delete(table).where(old, sa.true() if last is None else by <= last))
        if last is None:
            break
    return gone


def _ended_before(days: float) -> sa.ColumnElement[bool]:
    return sa.and_(Job.finished_at.is_not(None), Job.finished_at < db.instant(-days * DAY))


def _emptied(database: Database, artifacts: Artifacts, job_id: str, kind: Kind, budget: Budget) -> bool:
    """Removes a job's rows of one kind; False if the budget, or another worker, has left some."""
    while budget.batches:
        budget.batches -= 1
        with database.writing() as session:
            if not _locked(session, job_id):
                return False
            paths = _paths(session, job_id, kind) if kind.table is File else []
            count = _rows(session, _first(session, job_id, kind, BATCH))
            if paths:
                files.count(session, job_id)
        for path in paths:
            artifacts.delete(path)
        budget.done += count
        if count < BATCH:
            return True
    return False


def _locked(session: Session, job_id: str) -> bool:
    """Whether this transaction has the job to itself, if there still is one."""
    gone = session.scalar(sa.select(sa.exists().where(Job.id == job_id))) is False
    mine = sa.select(Job.id).where(Job.id == job_id, Job.status.in_(TERMINAL)).with_for_update(skip_locked=True)
    return gone or session.scalar(mine) is not None


def _first(session: Session, job_id: str, kind: Kind, count: int) -> sa.Delete:
    """Deletes the first rows of a job: up to a key, which an index finds without a plan that may go wrong."""
    theirs = sa.and_(kind.table.job_id == job_id, kind.only)
    last = session.execute(
        sa.select(*kind.columns).where(theirs).order_by(*kind.columns).offset(count - 1).limit(1)
    ).first()
    delete = sa.delete(kind.table).where(theirs)
    return delete if last is None else delete.where(sa.tuple_(*kind.columns) <= sa.tuple_(*map(sa.literal, last)))


def _paths(session: Session, job_id: str, kind: Kind) -> Sequence[str]:
    query = sa.select(File.path).where(File.job_id == job_id, kind.only).order_by(File.id).limit(BATCH)
    return session.scalars(query).all()


def _drop(database: Database, job_id: str) -> int:
    with database.writing() as session:
        return holdings.delete(session, sa.and_(Job.id == job_id, Job.status.in_(TERMINAL)))


def _rows(session: Session, delete: sa.Delete) -> int:
    count: int = session.connection().execute(delete).rowcount
    return count
