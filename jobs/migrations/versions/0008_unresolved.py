"""What tells which jobs have still to be resolved after their dataset was read."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

UNRESOLVED = "resolved_spec IS NULL AND finished_at IS NULL"
INDEXES = {
    "datasets_awaited": ("datasets", ["owner", "id"], "awaited_at IS NOT NULL"),
    "jobs_unresolved": ("jobs", ["dataset_id", "id"], UNRESOLVED),
    "jobs_unresolved_by_test": ("jobs", ["test_dataset_id", "id"], UNRESOLVED),
}


def upgrade() -> None:
    op.add_column("datasets", sa.Column("awaited_at", sa.Double))
    for name, (table, columns, where) in INDEXES.items():
        op.create_index(name, table, columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where))


def downgrade() -> None:
    for name, (table, _, _) in INDEXES.items():
        op.drop_index(name, table)
    op.drop_column("datasets", "awaited_at")
