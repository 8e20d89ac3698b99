"""How much one owner may have. Counted where it grows, in the transaction of what makes it grow, one at a time."""

import sqlalchemy as sa
from sqlalchemy.orm import Session

from jobs import db, errors, holdings
from jobs.settings import Settings
from jobs.states import AT_REST
from jobs.tables.datasets import Dataset
from jobs.tables.jobs import HEAVY, IS_HEAVY, Job
from jobs.tables.webhooks import Delivery

WAIT = 30.0
"""Seconds after which it is worth asking again."""


def in_turn(session: Session, owner: str) -> None:
    """Until the commit nothing else of this owner's grows, so that what is counted stays so. Comes before all other
    locks of the transaction."""
    db.alone(session, owner)


def check_job(session: Session, job: Job, settings: Settings) -> None:
    """After a job was added: no more wait than may, paused ones too, no more are on record or in the artifact store,
    and a large spec counts as stored.

    Raises:
        QuotaReached: more wait, until one of them runs.
        LimitReached: more is stored, until something is deleted.
    """
    most = settings.max_waiting_jobs
    beyond = sa.select(Job.id).where(Job.owner == job.owner, Job.status.in_(AT_REST)).offset(most).limit(1)
    asked = sa.select(beyond.scalar_subquery(), holdings.of(job.owner), holdings.files_of(job.owner))
    waits, size, of_files = session.execute(asked).one()
    if waits:
        text = f"{most} of your jobs wait or are paused, as many as may; wait for some to run, or cancel them."
        raise errors.QuotaReached(WAIT, text)
    if size > (most := settings.max_recorded_bytes):
        text = f"Your jobs may have {most} bytes on record, ended ones included; delete jobs that have ended first."
        raise errors.LimitReached(text)
    if of_files > settings.max_result_bytes:
        raise too_many_results(settings.max_result_bytes)
    if job.spec_bytes >= HEAVY:
        check_stored(session, job.owner, settings.max_stored_bytes)


def check_stored(session: Session, owner: str, most: int) -> None:
    """After something was added: what the owner stores has no more bytes than it may.

    Raises:
        LimitReached: it has, until something is deleted.
    """
    if stored(session, owner) > most:
        raise full(most)


def check_unread(session: Session, owner: str, most: int) -> None:
    """After a dataset was added: no more of them wait for a reader than may.

    Raises:
        QuotaReached: more do, until one of them is read.
    """
    unread = sa.select(Dataset.id).where(Dataset.owner == owner, Dataset.status == "profiling")
    if session.scalar(unread.order_by(Dataset.id).offset(most).limit(1)):
        text = f"{most} of your datasets wait to be read already, as many as may; wait for some, or delete them."
        raise errors.QuotaReached(WAIT, text)


def check_tests(session: Session, owner: str, most: int) -> None:
    """After a test was written: no more of them wait to be sent than may.

    Raises:
        QuotaReached: more do, until one of them is sent.
    """
    waiting = sa.text("status = 'pending' AND kind = 'test'")  # in the words of the index
    if session.scalar(sa.select(Delivery.id).where(Delivery.owner == owner, waiting).offset(most).limit(1)):
        raise errors.QuotaReached(WAIT, f"{most} of your tests wait to be sent already, as many as may; wait for some.")


def stored(session: Session, owner: str) -> int:
    """Bytes of an owner's datasets with what is told of them, and of large specs, which are kept twice: as sent and as
    resolved."""
    datasets = sa.select(sa.func.sum(Dataset.bytes + Dataset.told_bytes)).where(Dataset.owner == owner)
    specs = sa.select(sa.func.sum(2 * Job.spec_bytes)).where(Job.owner == owner, sa.text(IS_HEAVY))
    return sum(session.scalar(part) or 0 for part in (datasets, specs))


def full(most: int) -> errors.LimitReached:
    """What to say to whoever has as many bytes as one may."""
    text = f"Your datasets and large specs may have {most} bytes together; delete a dataset or an ended job first."
    return errors.LimitReached(text)


def too_many_results(most: int) -> errors.LimitReached:
    """What to say to whoever's jobs have, or will have, as many bytes of files as they may."""
    return errors.LimitReached(
        f"Your jobs' checkpoints and results may have {most} bytes together, and would have more with this job: those "
        "that have not ended count by their estimate. Delete jobs that have ended or wait for some to end; or choose a "
        "smaller model, or keep fewer checkpoints of it."
    )
