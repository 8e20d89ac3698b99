"""Rows of the record as the answers show them."""

from collections import defaultdict
from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.orm import Session

from api import schemas
from jobs import reasons, states, waiting
from jobs.tables import jobs as tables

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
    places = waiting.positions(session, rows)
    why = reasons.of(session, rows, places)
    return [_job(row, attempts[row.id], places.get(row.id), why[row.id]) for row in rows]


def etag(shown: schemas.Job, row: tables.Job) -> str:
    """Weak: changes with the job, its place in the queue and what it waits for."""
    return f'W/"{row.version}-{shown.queue.position}-{shown.status_reason.code}"'


def _job(row: tables.Job, attempts: Sequence[tables.Attempt], position: int | None, why: reasons.Reason) -> schemas.Job:
    here = f"/v1/jobs/{row.id}"
    same = {name: getattr(row, name) for name in schemas.Job.model_fields if name in tables.Job.__mapper__.attrs}
    return schemas.Job.model_validate(
        {
            **same,
            "object": "job",
            "status_reason": why._asdict(),
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
