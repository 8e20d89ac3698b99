"""A real job, and the short ways to move it about that many tests need."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from jobs import claims, db, events, history, leases, profiles, rules, store
from jobs.record import Failure, MetricPoint, Progress, Usage
from jobs.spec.job import JobSpec
from jobs.states import Status
from jobs.tables.every import METADATA
from jobs.tables.jobs import File, Holding, Job

ROWS: list[dict[str, Any]] = [{"x": float(row), "y": "ab"[row % 2]} for row in range(40)]
SPEC = JobSpec.model_validate({"dataset": {"source": "rows", "rows": ROWS}, "target": "y"})
RESOLVED = rules.resolve(SPEC, profiles.of_rows(ROWS), None)
HALFWAY = Progress(epoch=25, epochs=50, step=25, steps=50, fraction=0.5, samples_per_second=None)
BROKEN = Failure(error_class="training", code="broken", message="It broke.")


def created(database: db.Database, owner: str = "ann", **fields: Any) -> Job:
    """A queued job of this owner, ready to be claimed; `fields` replace those of the spec."""
    resolved = replace(RESOLVED, spec=RESOLVED.spec.model_copy(update=fields))
    with database.writing() as session:
        return store.create(session, owner, SPEC.model_copy(update=fields), resolved)


def claimed(database: db.Database, worker: str = "w1", lease: float = 30.0) -> Job:
    """The best queued job, now running; a lease below zero has run out already."""
    with database.writing() as session:
        job = claims.claim(session, worker, lease)
    assert job is not None
    return job


def running(database: db.Database, lease: float = 30.0) -> Job:
    created(database)
    return claimed(database, lease=lease)


def finished(database: db.Database, status: Status) -> Job:
    """A job that ended this way."""
    job = running(database)
    with database.writing() as session:
        if status is Status.CANCELLED:
            store.cancel(session, job.owner, job.id)
        error = BROKEN if status is Status.FAILED else None
        assert leases.finish(session, job.id, job.attempt, status, "It ended.", usage=Usage(), error=error)
    return found(database, job)


def file(job: Job, name: str, **fields: object) -> File:
    """A checkpoint of the job's current attempt, not yet kept."""
    values = {"id": f"ckpt_{name}", "kind": "checkpoint", "name": name, "path": f"jobs/{name}", "metrics": {}}
    sizes = {"step": 1, "epoch": 1, "bytes": 9, "sha256": "00", "content_type": "x/y", "created_at": job.created_at}
    return File(**{**values, **sizes, "job_id": job.id, "attempt": job.attempt, **fields})


def found(database: db.Database, job: Job) -> Job:
    """The job as it is now."""
    with database.reading() as session:
        return store.get(session, job.owner, job.id)


def kinds(database: db.Database, job: Job) -> Sequence[str]:
    """Of its events, in order."""
    with database.reading() as session:
        return [event.kind for event in events.page(session, job.id, 0, 1000)]


def metrics(database: db.Database, job_id: str, *asked: Any) -> dict[str, list[MetricPoint]]:
    """A job's points by metric; `asked` are names, the first step and the last."""
    with database.reading() as session:
        wanted = history.series(session, job_id, *(asked or (None, None, None)))
    return {
        one.name: [
            MetricPoint.model_validate({"name": one.name, **point._asdict()})
            for batch in history.read(database, one, None)
            for point in batch
        ]
        for one in wanted
    }


def counts(database: db.Database) -> dict[str, int]:
    """Rows of every table that has any, but for what is counted of owners."""
    with database.reading() as session:
        sizes = {
            table.name: session.scalar(sa.select(sa.func.count()).select_from(table)) or 0
            for table in METADATA.sorted_tables
        }
    return {name: size for name, size in sizes.items() if size and name != Holding.__tablename__}
