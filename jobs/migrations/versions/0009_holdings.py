"""What the jobs of each owner take together."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.create_table(
        "holdings",
        sa.Column("owner", sa.String(64), primary_key=True),
        sa.Column("bytes", sa.BigInteger, nullable=False),
    )
    op.execute("INSERT INTO holdings SELECT owner, sum(2 * spec_bytes + 4096) FROM jobs GROUP BY owner")


def downgrade() -> None:
    op.drop_table("holdings")
