"""The HTTP service, put together. Nothing is made at import."""

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import prometheus_client
from fastapi import FastAPI

from api import access, audit, origins, overload, pages, predicting, problems, telemetry, turns
from api.routes import (
    datasets,
    diagnostics,
    events,
    files,
    jobs,
    keys,
    metrics,
    operations,
    predictions,
    webhooks,
    workers,
)
from jobs import artifacts, db, intake
from jobs.settings import Settings

DESCRIPTION = """
Training jobs for neural networks, declared: post a spec, follow the run, fetch the model.

1. `POST /v1/datasets` with a file, or name a builtin set, or write the rows into the spec.
2. `POST /v1/jobs` with the spec. Every `auto` is decided and explained; `POST /v1/jobs/validate` only tells.
3. `GET /v1/jobs/{id}/events` with `Accept: text/event-stream` follows it.
4. `GET /v1/jobs/{id}/artifacts` has the results; `POST /v1/jobs/{id}/predict` predicts with them.

Every error is `application/problem+json` with a stable `code` and all faults at once.
"""


class Service(FastAPI):
    """FastAPI whose contract knows our problems."""

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            schemas = super().openapi()["components"]["schemas"]
            problem = problems.Problem.model_json_schema(ref_template="#/components/schemas/{model}")
            schemas |= {**problem.pop("$defs"), "Problem": problem}
        assert self.openapi_schema is not None
        return self.openapi_schema


def create_app(settings: Settings) -> FastAPI:
    """The service by these settings; nothing is connected to before the first request."""
    app = Service(
        title="fitd",
        version="1",
        description=DESCRIPTION,
        docs_url=None,
        openapi_url=None,  # see `pages`
        redoc_url=None,
        redirect_slashes=False,
        separate_input_output_schemas=False,
        generate_unique_id_function=lambda route: route.name,
        exception_handlers=dict(problems.HANDLERS),
        lifespan=_lifespan,
        webhooks=webhooks.messages,
    )
    app.state.settings = settings
    app.state.database = db.connect(settings.database)
    app.state.artifacts = artifacts.connect(settings.artifacts)
    app.state.gate = access.Gate(app.state.database, settings)
    app.state.models = predicting.Models(app.state.artifacts, settings.model_cache_bytes)
    app.state.turns = turns.Turns()
    app.state.rounds = turns.Rounds(turns.AT_ONCE)
    app.state.intake = intake.Intake(app.state.database, app.state.artifacts, settings)
    app.state.bodies = overload.Bound(max(settings.max_bodies_bytes, settings.max_body_bytes))
    app.state.streams = overload.Shares(max(1, settings.max_streams // events.OWNERS))
    app.state.stopping = threading.Event()
    app.state.registry = prometheus_client.CollectorRegistry()
    app.state.registry.register(telemetry.Queue(app.state.database))
    app.state.trail = audit.Trail(app.state.database)
    app.add_middleware(audit.Audited, trail=app.state.trail)
    app.add_middleware(origins.Origins, gate=app.state.gate)
    app.add_middleware(overload.Overload, requests=settings.max_requests, streams=settings.max_streams)
    app.add_middleware(telemetry.Requests, registry=app.state.registry)
    for room in (jobs, events, metrics, diagnostics, files, predictions, datasets, webhooks, workers, keys, operations):
        app.include_router(room.router)
    if settings.docs:
        pages.mount(app)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    app.state.trail.start()
    yield
    app.state.trail.stop()
    app.state.database.engine.dispose()
