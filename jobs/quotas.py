"""How much one owner may have. Counted where it grows, in the transaction of what makes it grow."""

import sqlalchemy as sa
from sqlalchemy.orm import Session

from jobs import errors
from jobs.states import Status
from jobs.tables.datasets import Dataset
from jobs.tables.jobs import Job

WAIT = 30.0
"""Seconds after which it is worth asking again."""


def check_waiting(session: Session, owner: str, most: int) -> None:
    """After a job was added: there are no more in the queue than may be.

    Raises:
        QuotaReached: there are, until one of them runs.
    """
    beyond = sa.select(Job.id).where(Job.owner == owner, Job.status == Status.QUEUED).offset(most).limit(1)
    if session.scalar(beyond):
        text = f"{most} of your jobs wait already, as many as may; wait for some to run, or cancel them."
        raise errors.QuotaReached(WAIT, text)


def check_stored(session: Session, owner: str, most: int) -> None:
    """After a dataset was added: they have no more bytes together than they may.

    Raises:
        LimitReached: they have, until one is deleted.
    """
    stored = session.scalar(sa.select(sa.func.coalesce(sa.func.sum(Dataset.bytes), 0)).where(Dataset.owner == owner))
    if (stored or 0) > most:
        raise errors.LimitReached(f"Your datasets may have {most} bytes together; delete one first.")
