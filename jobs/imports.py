"""Datasets that are fetched from an address: taken when they are due, tried again, and then read as uploads are."""

import sqlalchemy as sa
from sqlalchemy.orm import Session

from jobs import datasets, db, errors, quotas
from jobs.settings import Settings
from jobs.tables.datasets import Dataset

PAUSES = (5.0, 30.0, 120.0)
"""Seconds after each failed try; after the last there is one more try."""
AT_ONCE = 2
"""Datasets of one owner that are fetched at a time, so that slow ones do not hold up those of others."""
MOST = 100
"""Datasets of one owner that may wait to be fetched."""

FETCHING = Dataset.status == "fetching"


def create(session: Session, owner: str, name: str, url: str) -> Dataset:
    """A dataset whose bytes somebody will fetch. Asked again while they are not here, it is the same one.

    Raises:
        QuotaReached: as many wait as may, to be fetched or to be read.
    """
    quotas.in_turn(session, owner)
    waiting = session.scalars(sa.select(Dataset).where(Dataset.owner == owner, FETCHING)).all()
    for known in waiting:
        if (known.name, known.url) == (name, url):
            return known
    if len(waiting) >= MOST:
        raise errors.QuotaReached(quotas.WAIT, f"{MOST} of your datasets wait to be fetched already, as many as may.")
    quotas.check_unread(session, owner, datasets.MOST_UNREAD)
    blank = {"bytes": 0, "sha256": "", "path": ""}
    return datasets.add(session, owner=owner, name=name, url=url, status="fetching", fetch_at=db.now(), **blank)


def any_due(session: Session) -> bool:
    """Whether a dataset waits to be fetched."""
    return session.scalar(sa.select(sa.exists().where(_due()))) or False


def take(session: Session, worker: str, lease: float) -> Dataset | None:
    """The dataset that is due and whose turn it is, for the caller to fetch; few of an owner at once."""
    return datasets.claim(session, worker, lease, "fetching", _due(), AT_ONCE)


def keep(session: Session, taken: Dataset, path: str, size: int, sha256: str, settings: Settings) -> bool:
    """The bytes are here: readers are next, unless the same bytes have been read. False if that is no longer the
    caller's to say, who has the owner's turn.

    Raises:
        LimitReached: the owner's datasets have more bytes together than they may.
    """
    values = {"path": path, "bytes": size, "sha256": sha256, "status": "profiling", "deaths": 0, "fetch_at": None}
    if not _changed(session, taken, **values):
        return False
    if known := datasets.twin(session, taken.owner, sha256):
        datasets.settle(session, taken.id, taken.attempt, known.profile, known.preview, None)
    quotas.check_stored(session, taken.owner, settings.max_stored_bytes)
    return True


def postpone(session: Session, taken: Dataset, pause: float, *, failed: bool) -> None:
    """Another try, after so many seconds."""
    _changed(session, taken, fetch_at=db.now(pause), fetch_tries=Dataset.fetch_tries + int(failed))


def pause_after(taken: Dataset) -> float | None:
    """Seconds until the next try, should this one fail; None if it is the last."""
    return PAUSES[taken.fetch_tries] if taken.fetch_tries < len(PAUSES) else None


def _due() -> sa.ColumnElement[bool]:
    return sa.and_(FETCHING, Dataset.fetch_at <= db.now())


def _changed(session: Session, taken: Dataset, **values: object) -> bool:
    """Hands back the lease with these changes, if it is still the caller's."""
    mine = sa.and_(Dataset.id == taken.id, Dataset.attempt == taken.attempt, FETCHING)
    free = {"lease_owner": None, "lease_until": None, "updated_at": db.now()}
    changed = sa.update(Dataset).where(mine).values(**free, **values).returning(Dataset.id)
    return session.scalar(changed) is not None
