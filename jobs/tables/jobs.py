"""A row of `jobs` is the truth about a job; everything else here hangs on it."""

from datetime import datetime

import sqlalchemy as sa
from pydantic import JsonValue
from sqlalchemy.orm import Mapped, mapped_column

from jobs.db import Parsed
from jobs.record import Best, Failure, Progress, Usage
from jobs.spec.explained import Decision, Diagnostics, Notice
from jobs.spec.job import JobSpec
from jobs.states import TERMINAL, Status
from jobs.tables.base import Table, partial

StatusColumn = sa.Enum(
    Status, native_enum=False, length=16, values_callable=lambda kinds: [kind.value for kind in kinds]
)
IS_READY = "status = 'queued' AND resolved_spec IS NOT NULL"
"""A job that a worker may take once its time has come. As text: a query finds a partial index only by its words."""
ELIGIBLE = ("needs_gpu", "not_before", "spec_version")
"""What decides whether a ready job is for this worker and now; in the index, so that others are passed quickly."""
HEAVY = 16_384
"""Bytes of a spec from which on it is counted as stored."""
IS_HEAVY = f"spec_bytes >= {HEAVY}"
IS_HELD = "lease_owner IS NOT NULL"
"""A job that a worker holds."""
IS_UNRESOLVED = "resolved_spec IS NULL AND finished_at IS NULL"
"""A job that waits for a dataset to be read."""
TERMINAL_KINDS = sa.text(f"kind IN ({', '.join(sorted(repr(status.value) for status in TERMINAL))})")


class Job(Table):
    """One job: what was asked, what was made of it, where it stands."""

    __tablename__ = "jobs"

    id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    owner: Mapped[str] = mapped_column(sa.String(64))
    name: Mapped[str | None] = mapped_column(sa.String(200))
    status: Mapped[Status] = mapped_column(StatusColumn)
    status_code: Mapped[str | None] = mapped_column(sa.String(64))
    status_message: Mapped[str | None]
    stop_reason: Mapped[str | None] = mapped_column(sa.String(32))
    priority: Mapped[int]
    created_at: Mapped[datetime]
    queued_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    updated_at: Mapped[datetime]
    estimated_finish_at: Mapped[datetime | None]
    version: Mapped[int] = mapped_column(default=1)
    """Grows with every change that a reader can see."""
    event_seq: Mapped[int] = mapped_column(default=0)
    """Number of the last event."""

    attempt: Mapped[int] = mapped_column(default=0)
    """Number of the current attempt, and the fencing token: whoever writes for another attempt changes nothing."""
    saved_step: Mapped[int] = mapped_column(sa.BigInteger, default=0)
    """The latest that was ever saved to go on from."""
    stalled_attempts: Mapped[int] = mapped_column(default=0)
    """Attempts lost since the last checkpoint; too many of them and the job is given up."""
    oom_attempts: Mapped[int] = mapped_column(default=0)
    """Attempts that ran out of memory; the one after the first takes its batches in smaller parts."""
    pauses: Mapped[int] = mapped_column(default=0)
    """Times that its owner paused it; each leaves events, and messages to webhooks."""
    lease_owner: Mapped[str | None] = mapped_column(sa.String(128))
    """Null unless a worker holds the job."""
    lease_until: Mapped[datetime | None]
    not_before: Mapped[datetime]
    needs_gpu: Mapped[bool] = mapped_column(default=False)
    """Only a worker that has one may take the job."""

    spec_version: Mapped[int]
    spec: Mapped[JobSpec] = mapped_column(Parsed(JobSpec))
    spec_bytes: Mapped[int] = mapped_column(default=0)
    """Of `spec` as JSON."""
    file_bytes: Mapped[int] = mapped_column(sa.BigInteger, default=0)
    """Of its files; until it ends at least what they will come to by estimate, so that what waits is counted, too."""
    spec_hash: Mapped[str] = mapped_column(sa.String(64))
    resolved_spec: Mapped[JobSpec | None] = mapped_column(Parsed(JobSpec))
    """Null while a dataset is being profiled; only then is a queued job not for the taking."""
    resolution: Mapped[list[Decision]] = mapped_column(Parsed(list[Decision]))
    warnings: Mapped[list[Notice]] = mapped_column(Parsed(list[Notice]))
    dataset_id: Mapped[str | None] = mapped_column(sa.String(40))
    test_dataset_id: Mapped[str | None] = mapped_column(sa.String(40))
    dataset_hash: Mapped[str | None] = mapped_column(sa.String(129))
    """SHA-256 of the dataset's bytes; of both datasets, joined by `+`, if the test rows have their own."""
    details: Mapped[dict[str, JsonValue]] = mapped_column("metadata", sa.JSON)

    progress: Mapped[Progress | None] = mapped_column(Parsed(Progress))
    latest: Mapped[dict[str, JsonValue]] = mapped_column(sa.JSON, default=dict)
    best: Mapped[Best | None] = mapped_column(Parsed(Best))
    test: Mapped[dict[str, JsonValue] | None]
    diagnostics: Mapped[Diagnostics | None] = mapped_column(Parsed(Diagnostics))
    """Of the last run that came to an end of its own."""
    error: Mapped[Failure | None] = mapped_column(Parsed(Failure))
    usage: Mapped[Usage] = mapped_column(Parsed(Usage), default=Usage)
    parent: Mapped[str | None] = mapped_column(sa.String(40), unique=True)
    """The job that this one retries; a job is retried once."""
    traceparent: Mapped[str | None] = mapped_column(sa.String(64))

    __table_args__ = (
        partial("jobs_ready", "owner", sa.desc("priority"), "queued_at", "id", *ELIGIBLE, where=IS_READY),
        partial("jobs_held", "owner", "lease_owner", where=IS_HELD),
        partial("jobs_live", "status", where="finished_at IS NULL"),
        partial("jobs_by_end", "finished_at", where="finished_at IS NOT NULL"),
        partial("jobs_heavy", "owner", "spec_bytes", where=IS_HEAVY),
        sa.Index("jobs_by_owner", "owner", "id"),
        sa.Index("jobs_by_owner_status", "owner", "status", "id"),
        sa.Index("jobs_by_owner_name", "owner", "name", "id"),
        partial("jobs_by_dataset", "dataset_id", "id", where="dataset_id IS NOT NULL"),
        partial("jobs_by_test_dataset", "test_dataset_id", "id", where="test_dataset_id IS NOT NULL"),
        partial("jobs_unresolved", "dataset_id", "id", where=IS_UNRESOLVED),
        partial("jobs_unresolved_by_test", "test_dataset_id", "id", where=IS_UNRESOLVED),
    )


class Holding(Table):
    """What an owner's jobs take together. Jobs that an older version makes or deletes are not told of."""

    __tablename__ = "holdings"

    owner: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    bytes: Mapped[int] = mapped_column(sa.BigInteger)
    """In the database."""
    file_bytes: Mapped[int] = mapped_column(sa.BigInteger, default=0)
    """In the artifact store: of all its jobs, ended or not."""


class Attempt(Table):
    """One try at a job by one worker."""

    __tablename__ = "attempts"

    job_id: Mapped[str] = mapped_column(sa.ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    n: Mapped[int] = mapped_column(primary_key=True)
    worker: Mapped[str] = mapped_column(sa.String(128))
    started_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    resumed_from_step: Mapped[int | None] = mapped_column(sa.BigInteger)
    exit: Mapped[str | None] = mapped_column(sa.String(64))
    """How it ended: a terminal status, `drained`, `lease_expired`, or the failure's code."""


class Event(Table):
    """Something that happened to a job, numbered without gap. One terminal event at most: the index sees to it."""

    __tablename__ = "events"

    job_id: Mapped[str] = mapped_column(sa.ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    seq: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(sa.String(32))
    at: Mapped[datetime]
    attempt: Mapped[int]
    level: Mapped[str] = mapped_column(sa.String(8))
    message: Mapped[str]
    data: Mapped[dict[str, JsonValue]]

    __table_args__ = (
        sa.Index(
            "one_terminal_event", "job_id", unique=True, sqlite_where=TERMINAL_KINDS, postgresql_where=TERMINAL_KINDS
        ),
    )


class Metric(Table):
    """One value of one metric. Rows behind the step that a later attempt resumed from are deleted."""

    __tablename__ = "metrics"

    job_id: Mapped[str] = mapped_column(sa.ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    name: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    step: Mapped[int] = mapped_column(sa.BigInteger, primary_key=True)
    attempt: Mapped[int]
    epoch: Mapped[int]
    value: Mapped[float | None] = mapped_column(sa.Double)
    nonfinite: Mapped[str | None] = mapped_column(sa.String(4))


class File(Table):
    """A checkpoint or another result of a job in the artifact store."""

    __tablename__ = "files"

    id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    job_id: Mapped[str] = mapped_column(sa.ForeignKey("jobs.id", ondelete="CASCADE"))
    kind: Mapped[str] = mapped_column(sa.String(16))
    """`checkpoint` or `artifact`."""
    name: Mapped[str] = mapped_column(sa.String(128))
    attempt: Mapped[int]
    step: Mapped[int] = mapped_column(sa.BigInteger)
    epoch: Mapped[int]
    path: Mapped[str] = mapped_column(sa.String(256))
    """Key in the artifact store; the attempt is part of it, so that no one writes over another's file."""
    content_type: Mapped[str] = mapped_column(sa.String(64))
    bytes: Mapped[int] = mapped_column(sa.BigInteger)
    sha256: Mapped[str] = mapped_column(sa.String(64))
    created_at: Mapped[datetime]
    is_best: Mapped[bool] = mapped_column(default=False)
    resumable: Mapped[bool] = mapped_column(default=False)
    """Holds optimizer and progress, not only weights."""
    metrics: Mapped[dict[str, JsonValue]]

    __table_args__ = (sa.UniqueConstraint("job_id", "kind", "name"),)


class LogLine(Table):
    """A line of a run's log."""

    __tablename__ = "log_lines"

    job_id: Mapped[str] = mapped_column(sa.ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    seq: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    attempt: Mapped[int]
    level: Mapped[str] = mapped_column(sa.String(8))
    message: Mapped[str]


class IdempotencyKey(Table):
    """Which job an owner's Idempotency-Key made; it lives as long as the job."""

    __tablename__ = "idempotency_keys"

    owner: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    key: Mapped[str] = mapped_column(sa.String(255), primary_key=True)
    body_sha256: Mapped[str] = mapped_column(sa.String(64))
    job_id: Mapped[str] = mapped_column(sa.ForeignKey("jobs.id", ondelete="CASCADE"), index=True)
    created_at: Mapped[datetime]
