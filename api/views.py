"""Rows of the record as the answers show them."""

from collections import defaultdict
from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.orm import Session

from api import schemas
from jobs import states, store, tables

PARTS = ("events", "metrics", "checkpoints", "artifacts", "log", "diagnostics")


def job(session: Session, row: tables.Job) -> schemas.Job:
    """One job with its attempts and its place in the queue."""
    return jobs(session, [row])[0]


def jobs(session: Session, rows: Sequence[tables.Job]) -> list[schemas.Job]:
    """Jobs with their attempts, read at once, and their places in the queue."""
    mine = tables.Attempt.job_id.in_([row.id for row in rows])
    attempts: dict[str, list[tables.Attempt]] = defaultdict(list)
    for attempt in session.scalars(sa.select(tables.Attempt).where(mine).order_by(tables.Attempt.n)):
        attempts[attempt.job_id].append(attempt)
    places = _places(session, rows)
    return [_job(row, attempts[row.id], places.get(row.id)) for row in rows]


def _places(session: Session, rows: Sequence[tables.Job]) -> dict[str, int | None]:
    """`store.position` of each job; for many of them the queue is counted through once."""
    if len(rows) == 1:
        return {rows[0].id: store.position(session, rows[0])}
    order = (tables.Job.priority.desc(), tables.Job.queued_at, tables.Job.id)
    ready = (
        sa.select(tables.Job.id, sa.func.row_number().over(order_by=order).label("place"))
        .where(tables.Job.status == states.Status.QUEUED, tables.Job.resolved_spec.is_not(None))
        .subquery()
    )
    mine = sa.select(ready).where(ready.c.id.in_([row.id for row in rows]))
    return {found.id: found.place - 1 for found in session.execute(mine)}


def etag(shown: schemas.Job, row: tables.Job) -> str:
    """Weak: changes with the job and with its place in the queue."""
    return f'W/"{row.version}-{shown.queue.position}"'


def _job(row: tables.Job, attempts: Sequence[tables.Attempt], position: int | None) -> schemas.Job:
    here = f"/v1/jobs/{row.id}"
    same = {name: getattr(row, name) for name in schemas.Job.model_fields if name in tables.Job.__mapper__.attrs}
    return schemas.Job.model_validate(
        {
            **same,
            "object": "job",
            "status_reason": {"code": row.status_code, "message": row.status_message},
            "queue": {"name": "fitd", "priority": row.priority, "position": position},
            "attempts": attempts,
            "seed": row.spec.seed,
            "metrics": {"latest": row.latest},
            "metadata": row.details,
            "links": {"self": here, **{part: f"{here}/{part}" for part in PARTS}},
            "is_terminal": row.status in states.TERMINAL,
            "allowed_actions": states.allowed_actions(row.status),
        }
    )


def checkpoint(row: tables.File) -> schemas.SavedCheckpoint:
    """One checkpoint and where its bytes are."""
    content = f"/v1/jobs/{row.job_id}/checkpoints/{row.id}/content"
    return schemas.SavedCheckpoint.model_validate(
        {**_file(row), "object": "checkpoint", "content": content, "is_best": row.is_best, "resumable": row.resumable}
    )


def artifact(row: tables.File) -> schemas.Artifact:
    """One result and where its bytes are."""
    content = f"/v1/jobs/{row.job_id}/artifacts/{row.name}"
    return schemas.Artifact.model_validate({**_file(row), "object": "artifact", "content": content})


def _file(row: tables.File) -> dict[str, object]:
    return {name: getattr(row, name) for name in schemas.JobFile.model_fields if name != "content"}
