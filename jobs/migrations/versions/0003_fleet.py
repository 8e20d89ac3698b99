"""Workers, webhooks, and indices under which the queue and the lists stay flat."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

READY = "status = 'queued' AND resolved_spec IS NOT NULL"
INDICES = ("ready", "held", "live", "by_end", "by_owner_status", "by_owner_name", "by_dataset", "by_test_dataset")


def upgrade() -> None:
    change_jobs()
    op.drop_column("datasets", "hinted_at")
    create_workers()
    create_webhooks()
    create_deliveries()


def downgrade() -> None:
    for table in ("deliveries", "webhooks", "workers"):
        op.drop_table(table)
    op.add_column("datasets", sa.Column("hinted_at", sa.Double))
    for name in INDICES:
        op.drop_index(f"jobs_{name}", "jobs")
    for name in ("oom_attempts", "needs_gpu"):
        op.drop_column("jobs", name)
    op.add_column("jobs", sa.Column("hinted_at", sa.Double))
    op.create_index("jobs_by_queue", "jobs", ["status", sa.text("priority DESC"), "queued_at", "id"])
    for column in ("lease_until", "dataset_id", "test_dataset_id"):
        op.create_index(f"jobs_by_{column.removesuffix('_until')}", "jobs", [column])


def change_jobs() -> None:
    for name in ("queue", "lease", "dataset_id", "test_dataset_id"):
        op.drop_index(f"jobs_by_{name}", "jobs")
    op.drop_column("jobs", "hinted_at")
    op.add_column("jobs", sa.Column("oom_attempts", sa.Integer, nullable=False, server_default="0"))
    op.add_column("jobs", sa.Column("needs_gpu", sa.Boolean, nullable=False, server_default=sa.false()))
    queue = ["owner", sa.text("priority DESC"), "queued_at", "id", "needs_gpu", "not_before", "spec_version"]
    create_partial("jobs_ready", "jobs", queue, READY)
    create_partial("jobs_held", "jobs", ["owner", "lease_owner"], "lease_owner IS NOT NULL")
    create_partial("jobs_live", "jobs", ["status"], "finished_at IS NULL")
    create_partial("jobs_by_end", "jobs", ["finished_at"], "finished_at IS NOT NULL")
    op.create_index("jobs_by_owner_status", "jobs", ["owner", "status", "id"])
    op.create_index("jobs_by_owner_name", "jobs", ["owner", "name", "id"])
    for column in ("dataset", "test_dataset"):
        create_partial(f"jobs_by_{column}", "jobs", [f"{column}_id", "id"], f"{column}_id IS NOT NULL")


def create_partial(name: str, table: str, columns: list[Any], where: str) -> None:
    op.create_index(name, table, columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where))


def create_workers() -> None:
    op.create_table(
        "workers",
        sa.Column("name", sa.String(128), nullable=False),
        *(sa.Column(name, sa.Double, nullable=False) for name in ("started_at", "seen_at")),
        *(sa.Column(name, sa.Integer, nullable=False) for name in ("slots", "threads")),
        *(sa.Column(name, sa.JSON, nullable=False) for name in ("gpus", "versions")),
        sa.Column("drain_asked", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("name", name="workers_pkey"),
    )


def create_webhooks() -> None:
    op.create_table(
        "webhooks",
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("owner", sa.String(64), nullable=False),
        sa.Column("url", sa.String(2048), nullable=False),
        sa.Column("description", sa.String(200)),
        sa.Column("events", sa.JSON, nullable=False),
        sa.Column("secret", sa.String(128), nullable=False),
        *(sa.Column(name, sa.Double, nullable=False) for name in ("created_at", "updated_at")),
        *(sa.Column(name, sa.Double) for name in ("failing_since", "disabled_at")),
        sa.Column("disabled_reason", sa.String),
        sa.PrimaryKeyConstraint("id", name="webhooks_pkey"),
    )
    op.create_index("webhooks_by_owner", "webhooks", ["owner", "id"])


def create_deliveries() -> None:
    op.create_table(
        "deliveries",
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("webhook_id", sa.String(40), nullable=False),
        sa.Column("job_id", sa.String(40)),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("payload", sa.JSON, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("due_at", sa.Double, nullable=False),
        sa.Column("answered", sa.Integer),
        sa.Column("error", sa.String),
        sa.Column("settled_at", sa.Double),
        sa.PrimaryKeyConstraint("id", name="deliveries_pkey"),
        sa.ForeignKeyConstraint(["webhook_id"], ["webhooks.id"], name="deliveries_webhook_id_fkey", ondelete="CASCADE"),
    )
    create_partial("deliveries_due", "deliveries", ["due_at"], "status = 'pending'")
    create_partial("deliveries_settled", "deliveries", ["settled_at"], "settled_at IS NOT NULL")
    op.create_index("deliveries_by_webhook", "deliveries", ["webhook_id", "id"])
