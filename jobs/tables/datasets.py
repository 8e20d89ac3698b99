"""Files to train on."""

from datetime import datetime

import sqlalchemy as sa
from pydantic import JsonValue
from sqlalchemy.orm import Mapped, mapped_column

from jobs.db import Parsed
from jobs.record import Failure
from jobs.spec.profile import DatasetProfile
from jobs.tables.base import Table


class Dataset(Table):
    """An uploaded file and what is known of it. Equal bytes share one file in the artifact store."""

    __tablename__ = "datasets"

    id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    owner: Mapped[str] = mapped_column(sa.String(64))
    name: Mapped[str] = mapped_column(sa.String(200))
    bytes: Mapped[int] = mapped_column(sa.BigInteger)
    sha256: Mapped[str] = mapped_column(sa.String(64), index=True)
    path: Mapped[str] = mapped_column(sa.String(256))
    status: Mapped[str] = mapped_column(sa.String(16))
    """`profiling`, `ready` or `invalid`."""
    error: Mapped[Failure | None] = mapped_column(Parsed(Failure))
    profile: Mapped[DatasetProfile | None] = mapped_column(Parsed(DatasetProfile))
    preview: Mapped[list[dict[str, JsonValue]]] = mapped_column(sa.JSON, default=list)
    """The first rows, as read."""
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    attempt: Mapped[int] = mapped_column(default=0)
    deaths: Mapped[int] = mapped_column(default=0)
    """Readers whose leases ran out, or that were killed."""
    lease_owner: Mapped[str | None] = mapped_column(sa.String(128))
    lease_until: Mapped[datetime | None]

    __table_args__ = (sa.Index("datasets_by_owner", "owner", "id"), sa.Index("datasets_by_status", "status"))
