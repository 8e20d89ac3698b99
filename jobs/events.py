"""What happened to a job, in order. Numbers are given under the job's row lock, so there are no gaps."""

from collections.abc import Sequence

import sqlalchemy as sa
from pydantic import JsonValue
from sqlalchemy.orm import Session

from jobs import db, webhooks
from jobs.tables.jobs import Event, Job


def begin(session: Session, job: Job, happened: Sequence[tuple[str, str]]) -> None:
    """Adds the first events, kind and message of each, of a job that was just made with their number as `event_seq`."""
    same = {"job_id": job.id, "at": job.created_at, "attempt": 0, "level": "info", "data": {}}
    numbered = list(enumerate(happened, 1))
    rows = [{**same, "seq": seq, "kind": kind, "message": message} for seq, (kind, message) in numbered]
    session.execute(sa.insert(Event), rows)
    for seq, (kind, _) in numbered:
        state = webhooks.JobState(id=job.id, name=job.name, status=job.status, attempt=0, seq=seq)
        webhooks.tell(session, job.owner, kind, job.created_at, state)


def append(
    session: Session,
    job_id: str,
    kind: str,
    message: str,
    *,
    level: str = "info",
    data: dict[str, JsonValue] | None = None,
) -> None:
    """Adds the next event of a job, and the messages to those webhooks that are to be told of it.

    Raises:
        sqlalchemy.exc.IntegrityError: a second terminal event.
    """
    numbered = (
        sa.update(Job)
        .where(Job.id == job_id)
        .values(event_seq=Job.event_seq + 1, version=Job.version + 1, updated_at=db.now())
        .returning(Job.event_seq, Job.attempt, Job.owner, Job.name, Job.status, Job.updated_at)
    )
    seq, attempt, owner, name, status, at = session.execute(numbered).one()
    session.execute(
        sa.insert(Event).values(
            job_id=job_id,
            seq=seq,
            kind=kind,
            at=db.now(),
            attempt=attempt,
            level=level,
            message=message,
            data=data or {},
        )
    )
    state = webhooks.JobState(id=job_id, name=name, status=status, attempt=attempt, seq=seq)
    webhooks.tell(session, owner, kind, at, state)


def page(session: Session, job_id: str, after: int, limit: int) -> Sequence[Event]:
    """Events numbered above `after`, oldest first."""
    query = sa.select(Event).where(Event.job_id == job_id, Event.seq > after).order_by(Event.seq).limit(limit)
    return session.scalars(query).all()
