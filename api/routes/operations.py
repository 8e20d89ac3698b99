"""For those who run the service: is it alive, is it ready, how is it doing."""

import os
from collections.abc import Callable

from fastapi import APIRouter, Request, Response

from api import context, exposition, problems, schemas, strict
from jobs import artifacts, db, errors, migrate, queue

router = APIRouter(tags=["operations"], route_class=strict.StrictRoute)


@router.get("/livez", responses=problems.documented(), summary="Is the process alive?")
async def check_liveness() -> schemas.Health:
    """Asks nobody else: restart the process if this does not answer."""
    return schemas.Health(status="ok", checks={})


@router.get("/readyz", responses=problems.documented(), response_model=schemas.Health, summary="Can it serve?")
def check_readiness(
    request: Request, database: context.Database, artifacts: context.Artifacts, settings: context.Settings
) -> schemas.Health | Response:
    """Database, migrations, broker and disk, each by its own check. Without the broker jobs still are accepted and run,
    only later."""
    parts: dict[str, Callable[[], str]] = {
        "database": lambda: _database(database, settings.least_free_bytes),
        "broker": _broker,
        "artifacts": lambda: _disk(artifacts, settings.least_free_bytes),
    }
    checks = {name: _outcome(check) for name, check in parts.items()}
    if set(checks.values()) == {"ok"}:
        return schemas.Health(status="ok", checks=checks)
    bad = ", ".join(name for name, found in checks.items() if found != "ok")
    return problems.answer(request, 503, "not_ready", f"Not ready: {bad}.", problems.RETRY_AFTER, checks=checks)


@router.get("/metrics", response_class=Response, responses=problems.documented(), summary="Metrics for Prometheus")
def get_service_metrics(request: Request) -> Response:
    """Time of requests by route, jobs by status, depth and age of the queue; not here where it has its own port."""
    if request.app.state.settings.metrics_port:
        raise errors.NotFound
    return exposition.answer(request)


def _outcome(check: Callable[[], str]) -> str:
    try:
        return check()
    except Exception as error:  # whatever it was, this part does not work
        return f"failed: {type(error).__name__}"


def _database(database: db.Database, least: int) -> str:
    found, needed = migrate.current(database), migrate.head()
    if found != needed:
        return f"the schema is at revision {found}, this code needs {needed}"
    return "ok" if database.has_room(least) else "the disk is nearly full"


def _broker() -> str:
    with queue.app().connection_for_write() as connection:
        connection.ensure_connection(max_retries=1, interval_start=0, interval_step=0, timeout=2)
    return "ok"


def _disk(place: artifacts.Artifacts, least: int) -> str:
    if place.root is None:
        return "ok"
    if not os.access(place.root, os.W_OK):
        return "cannot be written to"
    return "ok" if place.has_room(least) else "the disk is nearly full"
