"""Datasets that are fetched from an address."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("datasets", sa.Column("url", sa.String(2048)))
    op.add_column("datasets", sa.Column("fetch_tries", sa.Integer, nullable=False, server_default="0"))
    op.add_column("datasets", sa.Column("fetch_at", sa.Double))


def downgrade() -> None:
    op.execute("DELETE FROM datasets WHERE status = 'fetching'")  # older versions know no file without bytes
    for name in ("fetch_at", "fetch_tries", "url"):
        op.drop_column("datasets", name)
