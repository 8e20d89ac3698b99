"""Who may ask, and who did."""

from datetime import datetime
from typing import Literal

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from jobs.tables.base import Table

Scope = Literal["read", "submit", "admin"]


class Key(Table):
    """Who may ask. Of the secret only its hash is kept."""

    __tablename__ = "keys"

    id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    owner: Mapped[str] = mapped_column(sa.String(64))
    scope: Mapped[Scope] = mapped_column(sa.String(16))
    name: Mapped[str | None] = mapped_column(sa.String(200))
    sha256: Mapped[str] = mapped_column(sa.String(64))
    """Of 256 random bits: a slower hash would make no guess harder."""
    created_at: Mapped[datetime]
    last_used_at: Mapped[datetime | None]
    """To the minute."""
    revoked_at: Mapped[datetime | None]


class Audit(Table):
    """A call that changed something, or tried to."""

    __tablename__ = "audit"

    id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    at: Mapped[datetime]
    owner: Mapped[str] = mapped_column(sa.String(64))
    key_id: Mapped[str | None] = mapped_column(sa.String(40))
    action: Mapped[str] = mapped_column(sa.String(64))
    """The operation's name."""
    path: Mapped[str] = mapped_column(sa.String(256))
    status: Mapped[int]
    request_id: Mapped[str] = mapped_column(sa.String(64))

    __table_args__ = (sa.Index("audit_by_owner", "owner", "id"),)
