"""Who is told of what, and what was said."""

from datetime import datetime

import sqlalchemy as sa
from pydantic import JsonValue
from sqlalchemy.orm import Mapped, mapped_column

from jobs.tables.base import Table, partial


class Webhook(Table):
    """An address that is told of an owner's jobs."""

    __tablename__ = "webhooks"

    id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    owner: Mapped[str] = mapped_column(sa.String(64))
    url: Mapped[str] = mapped_column(sa.String(2048))
    description: Mapped[str | None] = mapped_column(sa.String(200))
    events: Mapped[list[str]] = mapped_column(sa.JSON)
    """The kinds it is told of."""
    secret: Mapped[str] = mapped_column(sa.String(128))
    """`whsec_` and base64: the key of its signatures."""
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    failing_since: Mapped[datetime | None]
    """The first failure after the last success."""
    aside_since: Mapped[datetime | None]
    """The last failure after the last success; what was due by then waits."""
    aside_until: Mapped[datetime | None]
    """And until when."""
    disabled_at: Mapped[datetime | None]
    disabled_reason: Mapped[str | None]

    __table_args__ = (sa.Index("webhooks_by_owner", "owner", "id"),)

    @property
    def enabled(self) -> bool:
        """Whether anything is sent to it."""
        return self.disabled_at is None


class Delivery(Table):
    """A message to a webhook, written in the transaction of what it tells; kept afterwards as the log."""

    __tablename__ = "deliveries"

    id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    """The same in every try, so that a receiver knows a repetition."""
    webhook_id: Mapped[str] = mapped_column(sa.ForeignKey("webhooks.id", ondelete="CASCADE"))
    owner: Mapped[str] = mapped_column(sa.String(64), server_default="")
    """The webhook's; empty if an older version wrote the row, which counts as nobody's."""
    job_id: Mapped[str | None] = mapped_column(sa.String(40))
    kind: Mapped[str] = mapped_column(sa.String(32))
    payload: Mapped[dict[str, JsonValue]]
    created_at: Mapped[datetime]
    status: Mapped[str] = mapped_column(sa.String(16))
    """`pending`, `delivered` or `failed`."""
    tries: Mapped[int] = mapped_column(default=0)
    due_at: Mapped[datetime]
    """Of the next try, while it is pending; whoever tries moves it ahead first."""
    taken_until: Mapped[datetime | None]
    """While somebody tries: when they are given up."""
    answered: Mapped[int | None]
    """HTTP status of the last try."""
    error: Mapped[str | None]
    """Why the last try failed, in a word."""
    settled_at: Mapped[datetime | None]

    __table_args__ = (
        partial("deliveries_pending", "webhook_id", "due_at", where="status = 'pending'"),
        partial("deliveries_taken", "owner", where="taken_until IS NOT NULL"),
        partial("deliveries_tests", "owner", where="status = 'pending' AND kind = 'test'"),
        partial("deliveries_settled", "settled_at", where="settled_at IS NOT NULL"),
        sa.Index("deliveries_by_webhook", "webhook_id", "id"),
    )
