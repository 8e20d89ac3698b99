"""Each request: its ids, its line in the log, its time, its headers. And what `/metrics` says of the queue."""

import re
import secrets
import time
import uuid
from collections.abc import Iterator
from typing import Any

import prometheus_client
import sqlalchemy as sa
import structlog
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy.orm import Session
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import problems
from jobs import claims, db
from jobs.states import TERMINAL, Status
from jobs.tables.jobs import Attempt, Job

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
LEAST_REST = 30.0
"""Seconds between two counts of everything that has ended."""

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
    """Jobs by status and the state of the queue, read from the database whenever somebody asks.

    What only grows, ended jobs and attempts, takes a look at every one of them: it is counted again only when that
    costs at most a hundredth of the time, half a minute apart at least.
    """

    def __init__(self, database: db.Database) -> None:
        self.database = database
        self.ended: dict[str, int] = {}
        self.exits: dict[str, int] = {}
        self.again_at = 0.0

    def collect(self) -> Iterator[GaugeMetricFamily]:
        with self.database.reading() as session:
            if time.monotonic() >= self.again_at:
                self._count_past(session)
            live = _counts(session, Job.status, Job.finished_at.is_(None))
            depth, oldest, now = session.execute(
                sa.select(sa.func.count(), sa.func.min(Job.queued_at), db.now()).where(claims.ready(Job))
            ).one()
        jobs = GaugeMetricFamily("fitd_jobs", "Jobs by status.", labels=["status"])
        for status in Status:
            jobs.add_metric([status], (self.ended if status in TERMINAL else live).get(status, 0))
        yield jobs
        attempts = GaugeMetricFamily("fitd_attempts", "Ended attempts by how they ended.", labels=["exit"])
        for how, count in sorted(self.exits.items()):
            attempts.add_metric([how], count)
        yield attempts
        yield GaugeMetricFamily("fitd_queue_depth", "Jobs that wait for a worker.", depth)
        age = (now - oldest).total_seconds() if oldest else 0.0
        yield GaugeMetricFamily("fitd_queue_oldest_seconds", "How long the oldest of them has waited.", age)

    def _count_past(self, session: Session) -> None:
        began = time.monotonic()
        self.ended = _counts(session, Job.status, Job.finished_at.is_not(None))
        self.exits = {"lease_expired": 0, **_counts(session, Attempt.exit, Attempt.exit.is_not(None))}
        self.again_at = time.monotonic() + max(LEAST_REST, 100 * (time.monotonic() - began))


def _counts(session: Session, column: Any, chosen: sa.ColumnElement[bool]) -> dict[str, int]:
    query = sa.select(column, sa.func.count()).where(chosen).group_by(column)
    return {str(value): count for value, count in session.execute(query)}
