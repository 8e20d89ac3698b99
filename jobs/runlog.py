"""The lines that a run says about itself, numbered."""

from collections.abc import Sequence
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.orm import Session

from jobs import db
from jobs.tables.jobs import LogLine

LONGEST = 2000
"""Characters of a line; the rest is cut off."""


class Line(NamedTuple):
    """One line to come."""

    level: str
    message: str


def append(session: Session, job_id: str, attempt: int, lines: Sequence[Line]) -> None:
    """Adds lines behind the last one, printable characters only. Only the holder of the job's lease calls this."""
    last = session.scalar(sa.select(sa.func.max(LogLine.seq)).where(LogLine.job_id == job_id)) or 0
    rows = [
        {"job_id": job_id, "seq": seq, "at": db.now(), "attempt": attempt, "level": level, "message": _printable(text)}
        for seq, (level, text) in enumerate(lines, last + 1)
    ]
    for row in rows:
        session.execute(sa.insert(LogLine).values(row))


def page(session: Session, job_id: str, after: int, limit: int) -> Sequence[LogLine]:
    """Lines numbered above `after`, oldest first."""
    query = sa.select(LogLine).where(LogLine.job_id == job_id, LogLine.seq > after)
    return session.scalars(query.order_by(LogLine.seq).limit(limit)).all()


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text[:LONGEST])
