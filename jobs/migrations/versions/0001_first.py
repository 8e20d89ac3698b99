"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

TERMINAL = sa.text("kind IN ('cancelled', 'failed', 'succeeded', 'timed_out')")


def upgrade() -> None:
    create_jobs()
    create_attempts()
    create_events()
    create_metrics()
    create_files()
    create_log_lines()
    create_datasets()
    create_idempotency_keys()


def downgrade() -> None:
    for table in ("idempotency_keys", "datasets", "log_lines", "files", "metrics", "events", "attempts", "jobs"):
        op.drop_table(table)


def create_jobs() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("owner", sa.String(64), nullable=False),
        sa.Column("name", sa.String(200)),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("status_code", sa.String(64)),
        sa.Column("status_message", sa.String),
        sa.Column("stop_reason", sa.String(32)),
        sa.Column("priority", sa.Integer, nullable=False),
        *(sa.Column(name, sa.Double, nullable=False) for name in ("created_at", "queued_at", "updated_at")),
        *(sa.Column(name, sa.Double) for name in ("started_at", "finished_at", "estimated_finish_at")),
        *(sa.Column(name, sa.Integer, nullable=False) for name in ("version", "event_seq")),
        *(sa.Column(name, sa.Integer, nullable=False) for name in ("attempt", "stalled_attempts")),
        sa.Column("lease_owner", sa.String(128)),
        sa.Column("lease_until", sa.Double),
        sa.Column("not_before", sa.Double, nullable=False),
        sa.Column("hinted_at", sa.Double),
        sa.Column("spec_version", sa.Integer, nullable=False),
        sa.Column("spec", sa.JSON, nullable=False),
        sa.Column("spec_hash", sa.String(64), nullable=False),
        sa.Column("resolved_spec", sa.JSON),
        *(sa.Column(name, sa.JSON, nullable=False) for name in ("resolution", "warnings", "metadata")),
        *(sa.Column(name, sa.String(40)) for name in ("dataset_id", "test_dataset_id", "parent")),
        sa.Column("dataset_hash", sa.String(129)),
        *(sa.Column(name, sa.JSON) for name in ("progress", "best", "test", "error")),
        *(sa.Column(name, sa.JSON, nullable=False) for name in ("latest", "usage")),
        sa.Column("traceparent", sa.String(64)),
        sa.PrimaryKeyConstraint("id", name="jobs_pkey"),
        sa.UniqueConstraint("parent", name="jobs_parent_key"),
    )
    op.create_index("jobs_by_queue", "jobs", ["status", sa.text("priority DESC"), "queued_at", "id"])
    op.create_index("jobs_by_owner", "jobs", ["owner", "id"])
    op.create_index("jobs_by_lease", "jobs", ["lease_until"])
    op.create_index("jobs_by_dataset_id", "jobs", ["dataset_id"])
    op.create_index("jobs_by_test_dataset_id", "jobs", ["test_dataset_id"])


def of_job(table: str) -> sa.ForeignKeyConstraint:
    """Rows of a table go with their job."""
    return sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=f"{table}_job_id_fkey", ondelete="CASCADE")


def create_attempts() -> None:
    op.create_table(
        "attempts",
        sa.Column("job_id", sa.String(40), nullable=False),
        sa.Column("n", sa.Integer, nullable=False),
        sa.Column("worker", sa.String(128), nullable=False),
        sa.Column("started_at", sa.Double, nullable=False),
        sa.Column("ended_at", sa.Double),
        sa.Column("resumed_from_step", sa.BigInteger),
        sa.Column("exit", sa.String(64)),
        sa.PrimaryKeyConstraint("job_id", "n", name="attempts_pkey"),
        of_job("attempts"),
    )


def create_events() -> None:
    op.create_table(
        "events",
        sa.Column("job_id", sa.String(40), nullable=False),
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("level", sa.String(8), nullable=False),
        sa.Column("message", sa.String, nullable=False),
        sa.Column("data", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("job_id", "seq", name="events_pkey"),
        of_job("events"),
    )
    op.create_index(
        "one_terminal_event", "events", ["job_id"], unique=True, sqlite_where=TERMINAL, postgresql_where=TERMINAL
    )


def create_metrics() -> None:
    op.create_table(
        "metrics",
        sa.Column("job_id", sa.String(40), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("step", sa.BigInteger, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("value", sa.Double),
        sa.Column("nonfinite", sa.String(4)),
        sa.PrimaryKeyConstraint("job_id", "name", "step", name="metrics_pkey"),
        of_job("metrics"),
    )


def create_files() -> None:
    op.create_table(
        "files",
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("job_id", sa.String(40), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("step", sa.BigInteger, nullable=False),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("path", sa.String(256), nullable=False),
        sa.Column("content_type", sa.String(64), nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("is_best", sa.Boolean, nullable=False),
        sa.Column("resumable", sa.Boolean, nullable=False),
        sa.Column("metrics", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name="files_pkey"),
        sa.UniqueConstraint("job_id", "kind", "name", name="files_job_id_kind_name_key"),
        of_job("files"),
    )


def create_log_lines() -> None:
    op.create_table(
        "log_lines",
        sa.Column("job_id", sa.String(40), nullable=False),
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("level", sa.String(8), nullable=False),
        sa.Column("message", sa.String, nullable=False),
        sa.PrimaryKeyConstraint("job_id", "seq", name="log_lines_pkey"),
        of_job("log_lines"),
    )


def create_datasets() -> None:
    op.create_table(
        "datasets",
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("owner", sa.String(64), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("path", sa.String(256), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        *(sa.Column(name, sa.JSON) for name in ("error", "profile")),
        sa.Column("preview", sa.JSON, nullable=False),
        *(sa.Column(name, sa.Double, nullable=False) for name in ("created_at", "updated_at")),
        *(sa.Column(name, sa.Integer, nullable=False) for name in ("attempt", "deaths")),
        sa.Column("lease_owner", sa.String(128)),
        *(sa.Column(name, sa.Double) for name in ("lease_until", "hinted_at")),
        sa.PrimaryKeyConstraint("id", name="datasets_pkey"),
    )
    op.create_index("datasets_by_owner", "datasets", ["owner", "id"])
    op.create_index("datasets_by_status", "datasets", ["status"])
    op.create_index("datasets_by_sha256", "datasets", ["sha256"])


def create_idempotency_keys() -> None:
    op.create_table(
        "idempotency_keys",
        sa.Column("owner", sa.String(64), nullable=False),
        sa.Column("key", sa.String(255), nullable=False),
        sa.Column("body_sha256", sa.String(64), nullable=False),
        sa.Column("job_id", sa.String(40), nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("owner", "key", name="idempotency_keys_pkey"),
        of_job("idempotency_keys"),
    )
    op.create_index("idempotency_keys_by_job_id", "idempotency_keys", ["job_id"])
