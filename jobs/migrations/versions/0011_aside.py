"""What sets a webhook aside as a whole, and finds its messages by the webhook."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"

PENDING = "status = 'pending'"
BEFORE = {"deliveries_due": ["due_at"], "deliveries_in_turn": ["owner", "due_at"]}


def upgrade() -> None:
    for name in ("aside_since", "aside_until"):
        op.add_column("webhooks", sa.Column(name, sa.Double))
    _index("deliveries_pending", ["webhook_id", "due_at"])
    for name in BEFORE:
        op.drop_index(name, "deliveries")


def downgrade() -> None:
    for name, columns in BEFORE.items():
        _index(name, columns)
    op.drop_index("deliveries_pending", "deliveries")
    for name in ("aside_until", "aside_since"):
        op.drop_column("webhooks", name)


def _index(name: str, columns: list[str]) -> None:
    op.create_index(name, "deliveries", columns, sqlite_where=sa.text(PENDING), postgresql_where=sa.text(PENDING))
