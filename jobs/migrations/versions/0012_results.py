"""What the files of each job take in the artifact store, and those of each owner together."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    for table in ("jobs", "holdings"):
        op.add_column(table, sa.Column("file_bytes", sa.BigInteger, nullable=False, server_default="0"))
    theirs = "FROM files WHERE files.job_id = jobs.id"
    op.execute(f"UPDATE jobs SET file_bytes = (SELECT sum(bytes) {theirs}) WHERE EXISTS (SELECT 1 {theirs})")
    op.execute(
        "UPDATE holdings SET file_bytes = "
        "(SELECT coalesce(sum(jobs.file_bytes), 0) FROM jobs WHERE jobs.owner = holdings.owner)"
    )


def downgrade() -> None:
    for table in ("jobs", "holdings"):
        op.drop_column(table, "file_bytes")
