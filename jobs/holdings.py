"""What each owner's jobs take, ended ones too: kept up to date, so that no submit counts a million.

All that an owner's jobs do meets in one row. Where a transaction can, it comes to it last.
"""

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import InstrumentedAttribute, Session

from jobs.tables.jobs import Holding, Job

JOB_BYTES = 4096
"""Of a job beside its spec: events, attempts, what was decided."""


def of(owner: str) -> sa.ColumnElement[int]:
    """Bytes of an owner's jobs in the database."""
    return _of(owner, Holding.bytes)


def files_of(owner: str) -> sa.ColumnElement[int]:
    """Bytes of an owner's jobs in the artifact store; of those that have not ended at least what is estimated."""
    return _of(owner, Holding.file_bytes)


def add(session: Session, job: Job) -> None:
    """A job was made."""
    _add(session, job.owner, _size(job.spec_bytes), job.file_bytes)


def add_files(session: Session, owner: str, more: int) -> int:
    """Files of so many bytes came, or went; answers what there is now."""
    return _add(session, owner, 0, more)


def delete(session: Session, which: sa.ColumnElement[bool]) -> int:
    """Deletes jobs; answers how many."""
    gone = session.execute(sa.delete(Job).where(which).returning(Job.owner, Job.spec_bytes, Job.file_bytes)).all()
    for owner, spec_bytes, file_bytes in sorted(gone):
        _add(session, owner, -_size(spec_bytes), -file_bytes)
    return len(gone)


def _of(owner: str, column: InstrumentedAttribute[int]) -> sa.ColumnElement[int]:
    return sa.func.coalesce(sa.select(column).where(Holding.owner == owner).scalar_subquery(), 0)


def _add(session: Session, owner: str, more: int, more_files: int) -> int:
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    new = insert(Holding).values(owner=owner, bytes=more, file_bytes=more_files)
    sums = {"bytes": Holding.bytes + more, "file_bytes": Holding.file_bytes + more_files}
    return session.scalars(
        new.on_conflict_do_update(index_elements=["owner"], set_=sums).returning(Holding.file_bytes)
    ).one()


def _size(spec_bytes: int) -> int:
    return 2 * spec_bytes + JOB_BYTES  # as sent and as resolved
