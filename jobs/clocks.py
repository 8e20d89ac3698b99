"""Times further ahead than anybody waits on purpose were written by a clock that was wrong: they count as come. Jobs
need none of this, `claims` and the reaper see to theirs."""

import sqlalchemy as sa
from sqlalchemy.orm import InstrumentedAttribute, Session

from jobs import db
from jobs.tables.datasets import Dataset
from jobs.tables.webhooks import Delivery

HOUR = 3600.0
FURTHEST: list[tuple[InstrumentedAttribute[str], InstrumentedAttribute[str], InstrumentedAttribute[object], float]] = [
    (Dataset.id, Dataset.status, Dataset.lease_until, HOUR),
    (Dataset.id, Dataset.status, Dataset.fetch_at, HOUR),
    (Delivery.id, Delivery.status, Delivery.due_at, 12 * HOUR),
    (Delivery.id, Delivery.status, Delivery.taken_until, HOUR),
]
"""How far ahead, in seconds: far above leases, and above the longest pause between two tries."""
OPEN = ("fetching", "profiling", "pending")


def mend(session: Session) -> int:
    """Brings such times back to now; answers how many there were."""
    found = 0
    for key, status, time, seconds in FURTHEST:
        far = sa.update(key.class_).where(status.in_(OPEN), time > db.now(seconds))
        found += len(session.scalars(far.values({time.key: db.now()}).returning(key)).all())
    return found
