"""Files to train on."""

from datetime import datetime

import sqlalchemy as sa
from pydantic import JsonValue
from sqlalchemy.orm import Mapped, mapped_column

from jobs.db import Parsed
from jobs.record import Failure
from jobs.spec.profile import DatasetProfile
from jobs.tables.base import Table, partial


class Dataset(Table):
    """A file, uploaded or fetched, and what is known of it. Equal bytes share a file in the artifact store."""

    __tablename__ = "datasets"

    id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    owner: Mapped[str] = mapped_column(sa.String(64))
    name: Mapped[str] = mapped_column(sa.String(200))
    bytes: Mapped[int] = mapped_column(sa.BigInteger)
    sha256: Mapped[str] = mapped_column(sa.String(64), index=True)
    path: Mapped[str] = mapped_column(sa.String(256))
    status: Mapped[str] = mapped_column(sa.String(16))
    """`fetching`, `profiling`, `ready` or `invalid`. While it is fetched, it has no bytes, hash and path yet."""
    url: Mapped[str | None] = mapped_column(sa.String(2048))
    """Where it is fetched from; None of what was uploaded."""
    fetch_tries: Mapped[int] = mapped_column(default=0)
    """Those that failed."""
    fetch_at: Mapped[datetime | None]
    """The next try is not before."""
    error: Mapped[Failure | None] = mapped_column(Parsed(Failure))
    profile: Mapped[DatasetProfile | None] = mapped_column(Parsed(DatasetProfile))
    preview: Mapped[list[dict[str, JsonValue]]] = mapped_column(sa.JSON, default=list, deferred=True)
    """The first rows, as read."""
    told_bytes: Mapped[int] = mapped_column(default=0)
    """Of profile and preview."""
    awaited_at: Mapped[datetime | None]
    """When it was settled, as long as jobs that waited for it may have to be resolved."""
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    attempt: Mapped[int] = mapped_column(default=0)
    deaths: Mapped[int] = mapped_column(default=0)
    """Workers whose leases ran out, and readers that were killed."""
    lease_owner: Mapped[str | None] = mapped_column(sa.String(128))
    lease_until: Mapped[datetime | None]

    __table_args__ = (
        sa.Index("datasets_by_owner", "owner", "id", "bytes", "told_bytes"),
        sa.Index("datasets_in_turn", "status", "owner", "id"),
        partial("datasets_awaited", "owner", "id", where="awaited_at IS NOT NULL"),
    )
