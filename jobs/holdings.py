"""What each owner's jobs take in the database, ended ones too: kept up to date, so that no submit counts a million."""

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from jobs.tables.jobs import Holding, Job

JOB_BYTES = 4096
"""Of a job beside its spec: events, attempts, what was decided."""


def of(owner: str) -> sa.ColumnElement[int]:
    """Bytes of an owner's jobs."""
    return sa.func.coalesce(sa.select(Holding.bytes).where(Holding.owner == owner).scalar_subquery(), 0)


def add(session: Session, owner: str, spec_bytes: int) -> None:
    """A job was made."""
    more = _size(spec_bytes)
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    new = insert(Holding).values(owner=owner, bytes=more)
    session.execute(new.on_conflict_do_update(index_elements=["owner"], set_={"bytes": Holding.bytes + more}))


def delete(session: Session, which: sa.ColumnElement[bool]) -> int:
    """Deletes jobs; answers how many."""
    gone = session.execute(sa.delete(Job).where(which).returning(Job.owner, Job.spec_bytes)).all()
    for owner, spec_bytes in sorted(gone):
        less = Holding.bytes - _size(spec_bytes)
        session.execute(sa.update(Holding).where(Holding.owner == owner).values(bytes=less))
    return len(gone)


def _size(spec_bytes: int) -> int:
    return 2 * spec_bytes + JOB_BYTES  # as sent and as resolved
