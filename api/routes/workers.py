"""The fleet: who trains, what each has and does; one worker drained, for a restart or a repair."""

from typing import Annotated

from fastapi import APIRouter, Path
from sqlalchemy.orm import Session

from api import context, problems, strict
from api.worker_schemas import Worker, WorkerPage, WorkerStatus
from jobs import db, workers
from jobs.tables import workers as tables

router = APIRouter(prefix="/v1/workers", tags=["operations"], route_class=strict.StrictRoute)

Name = Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]


@router.get("", responses=problems.documented(), summary="List workers")
def list_workers(operator: context.Operator, database: context.Database) -> WorkerPage:
    """Every worker that runs, or was heard of within the last hour."""
    with database.reading() as session:
        shown = _shown(session, workers.list_all(session))
    return WorkerPage(object="list", data=shown, has_more=False, next=None)


@router.post("/{name}/drain", status_code=202, responses=problems.documented(404), summary="Drain a worker")
def drain_worker(name: Name, operator: context.Operator, database: context.Database) -> Worker:
    """It saves what it runs, hands it back to the queue and takes nothing more, within seconds. Repeating it changes
    nothing."""
    return _asked(database, name, drain=True)


@router.post("/{name}/resume", status_code=202, responses=problems.documented(404), summary="End a drain")
def resume_worker(name: Name, operator: context.Operator, database: context.Database) -> Worker:
    """The worker takes jobs again. Repeating it changes nothing."""
    return _asked(database, name, drain=False)


def _asked(database: db.Database, name: str, *, drain: bool) -> Worker:
    with database.writing() as session:
        return _shown(session, [workers.ask(session, name, drain=drain)])[0]


def _shown(session: Session, rows: list[tables.Worker]) -> list[Worker]:
    held = workers.holdings(session)
    now = workers.now(session)
    return [_worker(row, held.get(row.name, []), workers.is_heard_of(row, now)) for row in rows]


def _worker(row: tables.Worker, jobs: list[str], heard_of: bool) -> Worker:
    same = {name: getattr(row, name) for name in Worker.model_fields if name in tables.Worker.__mapper__.attrs}
    return Worker(**same, status=_status(row, jobs, heard_of), jobs=jobs)


def _status(row: tables.Worker, jobs: list[str], heard_of: bool) -> WorkerStatus:
    if not heard_of:
        return "silent"
    if row.drain_asked:
        return "draining" if jobs else "drained"
    return "working" if jobs else "idle"
