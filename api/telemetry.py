"""Each request: its ids, its line in the log, its time, its headers. And what `/metrics` says of the queue."""

import re
import secrets
import time
import uuid
from collections.abc import Iterator

import prometheus_client
import sqlalchemy as sa
import structlog
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import problems
from jobs import db
from jobs.states import Status
from jobs.tables import Job

SAFE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
TRACEPARENT = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-([0-9a-f]{2})")
METHODS = frozenset({"GET", "HEAD", "POST", "PATCH", "PUT", "DELETE", "OPTIONS"})
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "private, no-cache",
}
"""On every answer that does not say otherwise itself."""

log = structlog.get_logger()


class Requests:
    """ASGI middleware around everything: whatever goes wrong inside, the caller gets a problem with a request id."""

    def __init__(self, app: ASGIApp, registry: prometheus_client.CollectorRegistry) -> None:
        self.app = app
        self.seconds = prometheus_client.Histogram(
            "fitd_http_request_seconds",
            "Time to the first byte of the answer.",
            ["method", "route", "status"],
            registry=registry,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        request_id, traceparent = _ids(Headers(scope=scope))
        scope.setdefault("state", {}).update(request_id=request_id, traceparent=traceparent)
        began, answered = time.perf_counter(), False

        async def answer(message: Message) -> None:
            nonlocal answered
            if message["type"] == "http.response.start":
                answered = True
                headers = MutableHeaders(scope=message)
                headers["X-Request-ID"] = request_id
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                self._note(scope, message["status"], time.perf_counter() - began)
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id, trace_id=traceparent[3:35]):
            try:
                await self.app(scope, receive, answer)
            except Exception:
                log.exception("request_failed")
                if answered:  # cutting the connection is all that can still be said
                    raise
                await problems.internal(Request(scope))(scope, receive, answer)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "unmatched")
        method = scope["method"] if scope["method"] in METHODS else "other"
        self.seconds.labels(method, route, status).observe(seconds)
        log.info("request", method=method, path=scope["path"][:200], status=status, seconds=round(seconds, 4))


def _ids(headers: Headers) -> tuple[str, str]:
    """The caller's request id and trace (W3C Trace Context) if they are well-formed, else new ones."""
    given = headers.get("x-request-id", "")
    request_id = given if SAFE_ID.fullmatch(given) else uuid.uuid4().hex
    known = TRACEPARENT.fullmatch(headers.get("traceparent", ""))
    trace, flags = known.groups() if known else (secrets.token_hex(16), "01")
    return request_id, f"00-{trace}-{secrets.token_hex(8)}-{flags}"


class Queue(Collector):
    """Jobs by status and the state of the queue, read from the database whenever somebody asks."""

    def __init__(self, database: db.Database) -> None:
        self.database = database

    def collect(self) -> Iterator[GaugeMetricFamily]:
        ready = sa.and_(Job.status == Status.QUEUED, Job.resolved_spec.is_not(None))
        with self.database.reading() as session:
            counts = {
                row[0]: row[1] for row in session.execute(sa.select(Job.status, sa.func.count()).group_by(Job.status))
            }
            depth, oldest, now = session.execute(
                sa.select(sa.func.count(), sa.func.min(Job.queued_at), db.now()).where(ready)
            ).one()
        jobs = GaugeMetricFamily("fitd_jobs", "Jobs by status.", labels=["status"])
        for status in Status:
            jobs.add_metric([status.value], counts.get(status, 0))
        yield jobs
        yield GaugeMetricFamily("fitd_queue_depth", "Jobs that wait for a worker.", depth)
        age = (now - oldest).total_seconds() if oldest else 0.0
        yield GaugeMetricFamily("fitd_queue_oldest_seconds", "How long the oldest of them has waited.", age)
