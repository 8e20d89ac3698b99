"""What the database is told of a run: batched, fenced, and insisted on when the database is away."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import obstore
import structlog
from pydantic import JsonValue
from sqlalchemy.orm import Session

from jobs import db, failpoints, files, leases, runlog
from jobs.record import Best, Failure, MetricPoint, Progress, Usage
from jobs.runlog import Line
from jobs.spec.explained import Decision, Diagnostics
from jobs.states import Status
from jobs.tables.jobs import File, Job
from trainer import reports
from worker.holds import Hold, Lost
from worker.messages import Spent
from worker.place import Place

log = structlog.get_logger()

RECORD_SECONDS, RECORD_POINTS = 1.0, 500
"""Metrics are written once they are of this age, or as many."""
MOST_WRITTEN = 5000
"""Points of one transaction, which holds the job's row: after an outage there may be many."""
MOST_BUFFERED = 100_000
"""Points, of some hundred bytes each, beyond which the child has to wait for the database."""
LAST_TRIES = 2.0
"""Seconds for which a worker that stops goes on trying to reach the database; the job's lease then runs out."""

Answer = TypeVar("Answer")


@dataclass
class Record:
    """The worker's side of one attempt's record. Every method raises `Lost` once the attempt is fenced."""

    place: Place
    hold: Hold
    latest: reports.Progress | None = None
    recorded: reports.Progress | None = None
    """The one of which the database was told last."""
    points: list[reports.Point] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    spent: Spent | None = None
    """What the child said it used, once it ends."""
    best_file: File | None = None
    began: float = field(default_factory=time.monotonic)
    flushed_at: float = field(default_factory=time.monotonic)

    @property
    def job(self) -> Job:
        """As it was claimed."""
        return self.hold.job

    @property
    def usage(self) -> Usage:
        """Of all attempts so far."""
        before, seconds = self.job.usage, time.monotonic() - self.began
        on_gpu = self.spent is not None and self.spent.on_gpu
        peak = self.spent.peak_memory_bytes if self.spent else 0
        return Usage(
            seconds=before.seconds + seconds,
            gpu_seconds=before.gpu_seconds + (seconds if on_gpu else 0.0),
            peak_memory_bytes=max(before.peak_memory_bytes, peak),
        )

    @property
    def most(self) -> int:
        """Newest checkpoints that the job keeps besides the best one."""
        spec = self.job.resolved_spec
        return spec.checkpoint.keep if spec else 1

    # --- buffered

    def line(self, text: str, level: str = "info") -> None:
        """A line of the run's log."""
        self.lines.append(Line(level, text))

    def add(self, progress: reports.Progress) -> None:
        """Takes up a report of the run."""
        self.latest = progress
        self.points += progress.points

    # --- kept in touch

    def touch(self) -> Status | None:
        """Records what is due, answers the job's status; None while the database is away."""
        self.hold.check()
        try:
            if time.monotonic() - self.flushed_at >= RECORD_SECONDS or len(self.points) >= RECORD_POINTS:
                return self._flush()
            with self.place.database.reading() as session:
                return _held(leases.status(session, self.job.id, self.job.attempt))
        except db.AWAY as error:
            log.warning("database_away", error=type(error).__name__)
            return None

    @property
    def is_full(self) -> bool:
        """Whether so much waits to be written that the run has to wait, too."""
        return len(self.points) >= MOST_BUFFERED

    def flush(self) -> None:
        """Writes everything that is buffered."""
        self._insist(self._flush)
        while self.points:
            self._insist(self._flush)

    def _flush(self) -> Status:
        self.flushed_at = time.monotonic()
        status = self._write(self._buffered)
        del self.points[:MOST_WRITTEN]
        self.lines, self.recorded = [], self.latest
        return _held(status)

    def _buffered(self, session: Session) -> Status | None:
        status = self._progress(session)
        if status is not None:
            runlog.append(session, self.job.id, self.job.attempt, self.lines)
        return status

    def _progress(self, session: Session) -> Status | None:
        now, lease = self.latest, self.place.settings.lease_seconds
        if now is None or (now is self.recorded and not self.points):
            return leases.renew(session, self.job.id, self.job.attempt, lease)
        points = [MetricPoint(**point.model_dump()) for point in self.points[:MOST_WRITTEN]]
        fraction = now.step / now.steps if now.steps else 1.0
        progress = Progress(fraction=fraction, **now.model_dump(include=PROGRESS))
        best = Best(**now.best.model_dump(), checkpoint_id=self._best_id(now.best.step)) if now.best else None
        latest = dict(now.latest)
        return leases.record(session, self.job.id, self.job.attempt, points, progress, latest, best, self.usage, lease)

    def _best_id(self, step: int) -> str | None:
        return self.best_file.id if self.best_file and self.best_file.step == step else None

    # --- written at once

    def resumed(self, step: int) -> None:
        """The attempt goes on from this step, and what lies behind it is forgotten."""
        self._delete(self._must(lambda session: leases.resume_from(session, self.job.id, self.job.attempt, step)))

    def decided(self, decisions: list[Decision]) -> None:
        """What only the device could tell."""
        self._must(lambda session: leases.decided(session, self.job.id, self.job.attempt, decisions))

    def note(self, kind: str, message: str, level: str = "warning") -> None:
        """An event that changes nothing, and a line of the log."""
        self.line(message, level)
        self._must(lambda session: leases.note(session, self.job.id, self.job.attempt, kind, message, level))

    def keep(self, file: File) -> None:
        """Says that a file is in the artifact store; what it supersedes goes."""
        superseded = self._must(lambda session: leases.keep(session, self.job.id, self.job.attempt, file, self.most))
        failpoints.reach("file.committed")
        if file.is_best:
            self.best_file = file
        self._delete(superseded)

    def _delete(self, paths: Iterable[str]) -> None:
        """The run goes on whether or not they go: what no row names is swept away some day."""
        for path in paths:
            try:
                self.place.artifacts.delete(path)
            except (OSError, obstore.exceptions.BaseError) as error:
                log.warning("file_not_deleted", path=path, error=type(error).__name__)

    def finish(
        self,
        status: Status,
        message: str,
        *,
        stop_reason: str | None = None,
        test: dict[str, JsonValue] | None = None,
        diagnostics: Diagnostics | None = None,
        error: Failure | None = None,
    ) -> None:
        """The job's one end."""
        self.flush()
        failpoints.reach("finish.begun")

        def end(session: Session) -> set[str] | None:
            """Keys of the files that the job has no more."""
            before = files.paths(session, self.job.id)
            done = leases.finish(
                session,
                self.job.id,
                self.job.attempt,
                status,
                message,
                usage=self.usage,
                stop_reason=stop_reason,
                test=test,
                diagnostics=diagnostics,
                error=error,
            )
            return before - files.paths(session, self.job.id) if done else None

        gone = self._must(end)
        failpoints.reach("finish.committed")
        self._delete(gone)

    def release(self, why: str, *, counted: bool, wait: float = 0.0) -> None:
        """Back to the queue, for so many seconds at least."""
        how: dict[str, Any] = {"counted": counted, "usage": self.usage, "wait": wait}
        self._must(lambda session: leases.release(session, self.job.id, self.job.attempt, why, **how))

    def retry_smaller(self, error: Failure) -> None:
        """Back to the queue, to take less memory."""
        usage = self.usage
        self._must(lambda session: leases.retry_smaller(session, self.job.id, self.job.attempt, error, usage))

    # --- the database

    def _must(self, write: Callable[[Session], Answer | None]) -> Answer:
        """What the write answers; one that is fenced answers None or False."""
        answer = self._insist(lambda: self._write(write))
        if answer is None or answer is False:
            raise Lost
        return answer

    def read(self, query: Callable[[Session], Answer]) -> Answer:
        """What is on record, insisted on."""

        def ask() -> Answer:
            with self.place.database.reading() as session:
                return query(session)

        return self._insist(ask)

    def _write(self, write: Callable[[Session], Answer]) -> Answer:
        with self.place.database.writing() as session:
            return write(session)

    def _insist(self, write: Callable[[], Answer]) -> Answer:
        began = time.monotonic()
        while True:
            self.hold.check()
            try:
                return write()
            except db.AWAY as error:
                log.warning("database_away", error=type(error).__name__)
                if self.place.stopping and time.monotonic() - began > LAST_TRIES:
                    raise Lost from error
                time.sleep(1)


PROGRESS = {"epoch", "epochs", "step", "steps", "samples_per_second"}


def _held(status: Status | None) -> Status:
    if status is None:
        raise Lost
    return status
