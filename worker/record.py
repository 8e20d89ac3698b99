"""What the database is told of a run: batched, fenced, and insisted on when the database is away."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import structlog
from pydantic import JsonValue
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from jobs import artifacts, files, ids, leases, runlog
from jobs.record import Best, Failure, MetricPoint, Progress, Usage
from jobs.runlog import Line
from jobs.spec.explained import Decision, Diagnostics
from jobs.states import Status
from jobs.tables import File, Job
from trainer import reports
from trainer.reports import Saved
from worker.place import Place

log = structlog.get_logger()

RECORD_SECONDS, RECORD_POINTS = 1.0, 500
"""Metrics are written in batches of at most this age or size."""
LONGEST_DISCONNECTED = 900.0
"""Seconds for which a run goes on while the database cannot be reached."""

Answer = TypeVar("Answer")


class Lost(Exception):
    """The lease is somebody else's now: kill the child, touch nothing."""


@dataclass
class Record:
    """The worker's side of one attempt's record. Every method raises `Lost` once the attempt is fenced."""

    place: Place
    job: Job
    latest: reports.Progress | None = None
    points: list[reports.Point] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    best_file: File | None = None
    flushed_at: float = field(default_factory=time.monotonic)
    renewed_at: float = field(default_factory=time.monotonic)

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
        """Records what is due, renews the lease, answers the job's status; None while the database is away."""
        now = time.monotonic()
        try:
            if now - self.flushed_at >= RECORD_SECONDS or len(self.points) >= RECORD_POINTS:
                return self._flush()
            if now - self.renewed_at >= self.place.settings.heartbeat_seconds:
                return self._renewed(self._write(self._renew))
            with self.place.database.reading() as session:
                return _held(leases.status(session, self.job.id, self.job.attempt))
        except OperationalError as error:
            if now - self.renewed_at > LONGEST_DISCONNECTED:
                raise Lost from error
            log.warning("database_away", error=str(error.orig))
            return None

    def flush(self) -> None:
        """Writes everything that is buffered."""
        self._insist(self._flush)

    def _flush(self) -> Status:
        self.flushed_at = time.monotonic()
        status = self._write(self._buffered)
        self.points, self.lines = [], []
        return self._renewed(status)

    def _buffered(self, session: Session) -> Status | None:
        status = self._progress(session)
        if status is not None:
            runlog.append(session, self.job.id, self.job.attempt, self.lines)
        return status

    def _progress(self, session: Session) -> Status | None:
        now, lease = self.latest, self.place.settings.lease_seconds
        if now is None or not self.points:
            return leases.renew(session, self.job.id, self.job.attempt, lease)
        points = [MetricPoint(**point.model_dump()) for point in self.points]
        fraction = now.step / now.steps if now.steps else 1.0
        progress = Progress(fraction=fraction, **now.model_dump(include=PROGRESS))
        best = Best(**now.best.model_dump(), checkpoint_id=self._best_id(now.best.step)) if now.best else None
        return leases.record(session, self.job.id, self.job.attempt, points, progress, dict(now.latest), best, lease)

    def _best_id(self, step: int) -> str | None:
        return self.best_file.id if self.best_file and self.best_file.step == step else None

    def _renew(self, session: Session) -> Status | None:
        return leases.renew(session, self.job.id, self.job.attempt, self.place.settings.lease_seconds)

    def _renewed(self, status: Status | None) -> Status:
        held = _held(status)
        self.renewed_at = time.monotonic()
        return held

    # --- written at once

    def resumed(self, step: int) -> None:
        """The attempt goes on from this step, and what lies behind it is forgotten."""
        self._must(lambda session: leases.resume_from(session, self.job.id, self.job.attempt, step))

    def decided(self, decisions: list[Decision]) -> None:
        """What only the device could tell."""
        self._must(lambda session: leases.decided(session, self.job.id, self.job.attempt, decisions))

    def keep(self, saved: Saved, source: Path) -> None:
        """Moves a file of the run into the artifact store, then says so; superseded checkpoints go."""
        self.flush()  # what led to a checkpoint is on record before it is
        file = self._file(saved, source)
        self.place.artifacts.put(file.path, source)
        source.unlink()
        spec = self.job.resolved_spec
        most = spec.checkpoint.keep if spec else 1
        self._must(lambda session: leases.keep(session, self.job.id, self.job.attempt, file))
        if file.is_best:
            self.best_file = file
        superseded = self._insist(lambda: self._write(lambda session: files.prune(session, self.job.id, most)))
        for path in superseded:
            self.place.artifacts.delete(path)

    def _file(self, saved: Saved, source: Path) -> File:
        is_result = saved.what == "result"
        return File(
            id=ids.new("file" if is_result else "ckpt"),
            job_id=self.job.id,
            kind="artifact" if is_result else "checkpoint",
            name="best" if saved.what == "best" else saved.name,
            attempt=self.job.attempt,
            step=saved.step,
            epoch=saved.epoch,
            path=files.key(self.job.id, self.job.attempt, saved.name),
            content_type=saved.content_type,
            bytes=source.stat().st_size,
            sha256=artifacts.sha256(source),
            is_best=saved.what == "best",
            resumable=saved.resumable,
            metrics={} if is_result or self.latest is None else dict(self.latest.latest),
        )

    def finish(
        self,
        status: Status,
        message: str,
        usage: Usage,
        *,
        stop_reason: str | None = None,
        test: dict[str, JsonValue] | None = None,
        diagnostics: Diagnostics | None = None,
        error: Failure | None = None,
    ) -> None:
        """The job's one end."""
        self.flush()
        self._must(
            lambda session: leases.finish(
                session,
                self.job.id,
                self.job.attempt,
                status,
                message,
                usage=usage,
                stop_reason=stop_reason,
                test=test,
                diagnostics=diagnostics,
                error=error,
            )
        )

    def release(self, why: str, usage: Usage, *, counted: bool) -> None:
        """Back to the queue."""
        self._must(
            lambda session: leases.release(session, self.job.id, self.job.attempt, why, counted=counted, usage=usage)
        )

    # --- the database

    def _must(self, write: Callable[[Session], bool]) -> None:
        if not self._insist(lambda: self._write(write)):
            raise Lost

    def _write(self, write: Callable[[Session], Answer]) -> Answer:
        with self.place.database.writing() as session:
            return write(session)

    def _insist(self, write: Callable[[], Answer]) -> Answer:
        while True:
            try:
                return write()
            except OperationalError as error:
                if time.monotonic() - self.renewed_at > LONGEST_DISCONNECTED:
                    raise Lost from error
                log.warning("database_away", error=str(error.orig))
                time.sleep(1)


PROGRESS = {"epoch", "epochs", "step", "steps", "samples_per_second"}


def _held(status: Status | None) -> Status:
    if status is None:
        raise Lost
    return status
