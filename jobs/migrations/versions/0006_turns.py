"""What says whose turn it is: owners of messages, who sends one, and unread datasets by owner."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

OWNER = "SELECT owner FROM webhooks WHERE webhooks.id = deliveries.webhook_id"
PARTIAL = {
    "deliveries_in_turn": (["owner", "due_at"], "status = 'pending'"),
    "deliveries_taken": (["owner"], "taken_until IS NOT NULL"),
    "deliveries_tests": (["owner"], "status = 'pending' AND kind = 'test'"),
}


def upgrade() -> None:
    op.add_column("deliveries", sa.Column("owner", sa.String(64), nullable=False, server_default=""))
    op.add_column("deliveries", sa.Column("taken_until", sa.Double))
    op.execute(f"UPDATE deliveries SET owner = ({OWNER})")
    for name, (columns, where) in PARTIAL.items():
        op.create_index(name, "deliveries", columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where))
    op.create_index("datasets_in_turn", "datasets", ["status", "owner", "id"])
    op.drop_index("datasets_by_status", "datasets")


def downgrade() -> None:
    op.create_index("datasets_by_status", "datasets", ["status"])
    op.drop_index("datasets_in_turn", "datasets")
    for name in PARTIAL:
        op.drop_index(name, "deliveries")
    for name in ("taken_until", "owner"):
        op.drop_column("deliveries", name)
