"""The same Idempotency-Key and body make one job, however often they are sent.

Key and job are written in one transaction. A second request with the same key waits for the first on the key's row
(PostgreSQL) or on the write lock (SQLite), and is then answered with the first one's job.
"""

import sqlalchemy as sa
from sqlalchemy.orm import Session

from jobs import db, errors
from jobs.tables.jobs import IdempotencyKey


def find(session: Session, owner: str, key: str, body_sha256: str) -> str | None:
    """The id of the job that this key made.

    Raises:
        KeyReused: it was another body.
    """
    known = session.get(IdempotencyKey, (owner, key))
    if known and known.body_sha256 != body_sha256:
        raise errors.KeyReused
    return known.job_id if known else None


def remember(session: Session, owner: str, key: str, body_sha256: str, job_id: str) -> None:
    """Binds a key to the job made in this transaction.

    Raises:
        sqlalchemy.exc.IntegrityError: another request was first; begin again and `find` its job.
    """
    session.execute(
        sa.insert(IdempotencyKey).values(
            owner=owner, key=key, body_sha256=body_sha256, job_id=job_id, created_at=db.now()
        )
    )
