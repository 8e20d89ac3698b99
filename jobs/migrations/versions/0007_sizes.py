"""What profiles, previews and specs take, to be counted among what an owner stores."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

HEAVY = "spec_bytes >= 16384"


def upgrade() -> None:
    op.add_column("datasets", sa.Column("told_bytes", sa.Integer, nullable=False, server_default="0"))
    op.add_column("jobs", sa.Column("spec_bytes", sa.Integer, nullable=False, server_default="0"))
    length = "length(CAST({} AS TEXT))"
    told = f"coalesce({length.format('profile')}, 0) + coalesce({length.format('preview')}, 0)"
    op.execute(f"UPDATE datasets SET told_bytes = {told}")
    op.execute(f"UPDATE jobs SET spec_bytes = {length.format('spec')} WHERE {length.format('spec')} >= 16384")
    op.create_index(
        "jobs_heavy", "jobs", ["owner", "spec_bytes"], sqlite_where=sa.text(HEAVY), postgresql_where=sa.text(HEAVY)
    )
    op.drop_index("datasets_by_owner", "datasets")
    op.create_index("datasets_by_owner", "datasets", ["owner", "id", "bytes", "told_bytes"])


def downgrade() -> None:
    op.drop_index("datasets_by_owner", "datasets")
    op.create_index("datasets_by_owner", "datasets", ["owner", "id"])
    op.drop_index("jobs_heavy", "jobs")
    op.drop_column("jobs", "spec_bytes")
    op.drop_column("datasets", "told_bytes")
