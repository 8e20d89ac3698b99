"""What a worker tidies up about once a minute: rows by the operator's policy, files that nobody names, its scratch."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

import structlog
from sqlalchemy.orm import Session

from jobs import clocks, db, retention, workers
from jobs.db import Database
from jobs.orphans import Sweep
from jobs.retention import Walk
from worker import scratch
from worker.place import Place

log = structlog.get_logger()

PAUSE = 60.0
"""Seconds between two rounds."""


def start(place: Place) -> threading.Thread:
    """Makes rounds until the process ends."""
    thread = threading.Thread(target=_rounds, args=(place,), name="retention", daemon=True)
    thread.start()
    return thread


def _rounds(place: Place) -> None:
    tidying = Retention(place)
    while not place.stopping:
        time.sleep(PAUSE)
        try:
            tidying.round()
        except db.AWAY as error:
            log.warning("database_away", error=type(error).__name__)


def _walks() -> dict[str, Walk]:
    kinds = {"checkpoints": [retention.CHECKPOINTS], "metrics": [retention.METRICS]}
    return {name: Walk(some) for name, some in {**kinds, "events": [retention.EVENTS, retention.LOGS]}.items()}


@dataclass
class Retention:
    """Where this worker is on its ways through the jobs and through the store."""

    place: Place
    walks: dict[str, Walk] = field(default_factory=_walks)
    sweep: Sweep = field(init=False)

    def __post_init__(self) -> None:
        self.sweep = Sweep(self.place.database, self.place.artifacts)

    def round(self) -> dict[str, int]:
        """A bounded part of everything; answers how much of what is gone. A step that fails leaves the others theirs.

        Raises:
            sqlalchemy.exc.OperationalError: the database is away.
        """
        gone = {}
        for name, step in self._steps():
            began = time.monotonic()
            try:
                gone[name] = step()
            except db.AWAY:
                raise
            except Exception:  # the artifact store is away, say
                log.exception("retention_failed", what=name)
                continue
            if gone[name]:
                log.info("retention", what=name, removed=gone[name], seconds=round(time.monotonic() - began, 3))
        return gone

    def _steps(self) -> Iterator[tuple[str, Callable[[], int]]]:
        settings, database, artifacts = self.place.settings, self.place.database, self.place.artifacts
        if settings.keep_jobs_days:
            yield "jobs", partial(retention.drop_jobs, database, artifacts, settings.keep_jobs_days)
        for name, walk in self.walks.items():
            if days := getattr(settings, f"keep_{name}_days"):
                yield name, partial(walk.step, database, artifacts, days)
        if settings.keep_deliveries_days:
            yield "deliveries", partial(retention.drop_deliveries, database, settings.keep_deliveries_days)
        yield "messages", partial(retention.bound_deliveries, database)
        if settings.keep_audit_days:
            yield "audit", partial(retention.drop_audit, database, settings.keep_audit_days)
        yield "times", partial(_written, database, clocks.mend)
        yield "workers", partial(_written, database, workers.forget)
        yield "orphans", self.sweep.step
        yield "attempts", partial(scratch.clear_attempts, self.place)
        yield "copies", partial(scratch.trim_datasets, self.place)


def _written(database: Database, step: Callable[[Session], int]) -> int:
    with database.writing() as session:
        return step(session)
