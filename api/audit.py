"""Who did what: a line of the log at once, and a row soon, for every call that changes something."""

import queue
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import access
from api.access import Bucket
from jobs import db, engines, ids, keys
from jobs.keys import Caller
from jobs.tables.keys import Audit

PAUSE = 0.5
"""Seconds for which rows are gathered; a crash may cost so much of the table, but nothing of the log."""
MOST_WAITING = 10_000
REFUSED_AT_ONCE = 100.0
REFUSED_PER_SECOND = 0.1
"""Of one owner with one status that become rows: who is refused all day does not fill the table. The log has all."""
EARLY = frozenset({429, 503})
"""Told to ask again later."""
LOOKS = frozenset({"GET", "HEAD", "OPTIONS"})

log = structlog.get_logger()


class Trail:
    """Rows on their way into the table."""

    def __init__(self, database: db.Database) -> None:
        self.database = database
        self.waiting: queue.Queue[dict[str, Any]] = queue.Queue(MOST_WAITING)
        self.users: set[str] = set()
        self.refused: OrderedDict[str, Bucket] = OrderedDict()
        self.over = threading.Event()
        self.writer = threading.Thread(target=self._rounds, name="audit", daemon=True)

    def start(self) -> None:
        """Writes until it is stopped."""
        self.writer.start()

    def stop(self) -> None:
        """Writes a last time."""
        self.over.set()
        self.writer.join(engines.BUSY_SECONDS)
        with suppress(*db.AWAY):
            self.write()

    def add(self, caller: Caller, **what: Any) -> None:
        """A call that was answered."""
        log.info("audit", owner=caller.owner, key=caller.key_id, **what)
        if self._is_kept(caller, what["status"]):
            who = {"owner": caller.owner, "key_id": caller.key_id}
            self._keep({"id": ids.new("audit"), "at": datetime.now(UTC), **who, **what})

    def _is_kept(self, caller: Caller, status: int) -> bool:
        """Whether a call becomes a row: one that came too early has changed nothing, nor tried what it may not."""
        if status < 400:
            return True
        if status in EARLY:
            return False
        name = f"{status} {caller.owner}"
        bucket = self.refused.get(name) or Bucket(REFUSED_PER_SECOND, REFUSED_AT_ONCE)
        access.remember(self.refused, name, bucket)
        return bucket.take(time.monotonic()) == 0

    def write(self) -> int:
        """Writes what waits; answers how many rows. What cannot be written now waits on."""
        rows, users = list(self._taken()), self.users
        self.users = set()
        try:
            if rows or users:
                with self.database.writing() as session:
                    for row in rows:
                        session.execute(sa.insert(Audit).values(row))
                    for key_id in sorted(users):
                        keys.used(session, key_id)
        except db.AWAY:
            for row in rows:
                self._keep(row)
            raise
        return len(rows)

    def _taken(self) -> Iterator[dict[str, Any]]:
        with suppress(queue.Empty):
            while True:
                yield self.waiting.get_nowait()

    def _keep(self, row: dict[str, Any]) -> None:
        try:
            self.waiting.put_nowait(row)
        except queue.Full:
            log.warning("audit_dropped")

    def _rounds(self) -> None:
        while not self.over.wait(PAUSE):
            try:
                self.write()
            except Exception as error:  # the log has them
                log.warning("audit_failed", error=type(error).__name__)


class Audited:
    """ASGI middleware: notes calls by known callers."""

    def __init__(self, app: ASGIApp, trail: Trail) -> None:
        self.app = app
        self.trail = trail

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._note(scope, message["status"])
            await send(message)

        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        try:
            await self.app(scope, receive, noted)
        except Exception:
            self._note(scope, 500)
            raise

    def _note(self, scope: Scope, status: int) -> None:
        caller: Caller | None = scope["state"].get("caller")
        if caller is None:
            return
        if caller.key_id:
            self.trail.users.add(caller.key_id)
        if scope["method"] not in LOOKS and not scope["state"].get("only_looks"):
            action = getattr(scope.get("route"), "name", "unknown")
            self.trail.add(
                caller,
                action=action,
                path=quote(scope["path"])[:256],
                status=status,
                request_id=scope["state"]["request_id"],
            )
