"""One job from its claim to its end: files in, child started and heard, everything recorded, one terminal state."""

import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from jobs import artifacts, datasets, files, leases
from jobs.errors import DataInvalid
from jobs.record import Failure, Usage
from jobs.spec import remedies
from jobs.spec.explained import Background, Diagnostics
from jobs.states import Status
from jobs.tables import File, Job
from trainer.reports import Finished, Progress, Saved, Started
from worker import children
from worker.children import Child
from worker.messages import Drained, Failed, News, Read, Spent
from worker.place import Place, draining
from worker.record import Lost, Record

log = structlog.get_logger()

LISTEN = 0.25
"""Seconds between two looks at the database while the child is silent; a cancel is seen within them."""


def train_next(place: Place) -> bool:
    """Claims the best eligible job and sees it through; False if there was none."""
    with place.database.writing() as session:
        job = leases.claim(session, place.settings.worker_name, place.settings.lease_seconds)
    if job is None:
        return False
    with structlog.contextvars.bound_contextvars(job_id=job.id, attempt=job.attempt, traceparent=job.traceparent):
        log.info("job_claimed")
        run = Run(place, job, Record(place, job))
        try:
            run.supervise()
        except Lost:
            log.warning("lease_lost")
        except Exception:  # the job must not wait for its lease because the worker has a fault
            log.exception("supervision_failed")
            run.give_up()
        finally:
            run.clear()
    return True


@dataclass
class Run:
    """A claimed job and the child that trains it."""

    place: Place
    job: Job
    record: Record
    child: Child | None = None
    finished: Finished | None = None
    failed: Failed | None = None
    spent: Spent | None = None
    drained: bool = False
    began: float = field(default_factory=time.monotonic)

    @property
    def folder(self) -> Path:
        """Where the child writes."""
        return self.place.scratch / f"{self.job.id}-a{self.job.attempt}"

    def supervise(self) -> None:
        """Runs the job until it has a terminal state, or is back in the queue.

        Raises:
            Lost: another attempt owns the job.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            self.child = self._start()
        except DataInvalid as error:
            self.failed = Failed(error_class="data", code=error.code, message=str(error))
        else:
            self._listen(self.child)
        self._settle()

    def _start(self) -> Child:
        spec = self.job.resolved_spec
        assert spec is not None, "only resolved jobs are claimed"
        paths = {id: str(path) for id, path in self._datasets().items()}
        resume = self._checkpoint()
        path = str(resume) if resume else None
        known = Background(
            decisions=self.job.resolution, warnings=self.job.warnings, dataset_hash=self.job.dataset_hash
        )
        given = spec.model_dump_json(), known.model_dump_json(), paths, str(self.folder), path, self.place.threads
        return children.start("train", *given)

    def _datasets(self) -> dict[str, Path]:
        wanted = [id for id in (self.job.dataset_id, self.job.test_dataset_id) if id]
        with self.place.database.reading() as session:
            found = [datasets.get(session, self.job.owner, id) for id in wanted]
        paths = {}
        for dataset in found:
            paths[dataset.id] = self.place.local(dataset.path, dataset.sha256)
            self.record.touch()  # a large file may take most of the lease
        return paths

    def _checkpoint(self) -> Path | None:
        """The newest checkpoint that is whole."""
        with self.place.database.reading() as session:
            known = [file for file in files.list_of(session, self.job.id, "checkpoint") if file.resumable]
        for file in reversed(known):
            path = self.folder / "resume.safetensors"
            fault = self._fetch(file, path)
            if fault is None:
                return path
            self.record.line(f"Checkpoint {file.name} is {fault} and was passed over.", "warning")
        return None

    def _fetch(self, file: File, path: Path) -> str | None:
        try:
            self.place.artifacts.fetch(file.path, path)
        except FileNotFoundError:
            return "gone"
        return None if artifacts.sha256(path) == file.sha256 else "damaged"

    def _listen(self, child: Child) -> None:
        asked = False
        while child.running:
            for news in child.hear(LISTEN):
                self._take(news)
            if draining() and not asked:
                child.drain()
                asked = True
            if self.record.touch() is Status.CANCELLING:
                child.stop()
                return
        for news in child.hear(0):
            self._take(news)

    def _take(self, news: News) -> None:
        match news:
            case Started():
                self._introduce(news)
            case Progress():
                self.record.add(news)
                if news.epoch_ended:
                    self.record.line(_epoch_line(news))
            case Saved():
                self.record.keep(news, self.folder / news.name)
            case Finished():
                self.finished = news
            case Failed():
                self.failed = news
                log.warning("child_failed", code=news.code, trace=news.trace)
            case Spent():
                self.spent = news
            case Drained():
                self.drained = True
            case Read():
                raise AssertionError("a training child profiles no files")

    def _introduce(self, news: Started) -> None:
        self.record.line(f"{news.parameters:,} parameters on {news.device} with {news.threads} threads.")
        rows = f"{news.train_rows:,} rows train, {news.validation_rows:,} validate, {news.test_rows:,} test."
        self.record.line(rows)
        for note in news.notes:
            self.record.line(note)
        self.record.decided(news.decisions)
        if self.job.attempt > 1:
            self.record.resumed(news.resumed_from or 0)

    def _settle(self) -> None:
        """The child is gone: what became of the job?"""
        usage = self._usage()
        if self.finished:
            self._end(self.finished, usage)
        elif self.failed and self.failed.error_class != "infrastructure":
            error = Failure(error_class=self.failed.error_class, code=self.failed.code, message=self.failed.message)
            self.record.finish(Status.FAILED, error.message, usage, error=error)
        elif self.drained:
            self.record.flush()
            self.record.release("drained", usage, counted=False)
        else:
            code = self.child.process.exitcode if self.child else None
            why = self.failed.code if self.failed else f"exit_{code}"
            self.record.flush()
            self.record.release(why, usage, counted=True)

    def _end(self, finished: Finished, usage: Usage) -> None:
        reason, text, said = finished.stop_reason, finished.message, self._said(finished)
        if reason == "non_finite":
            error = Failure(error_class="training", code="non_finite", message=text)
            self.record.finish(Status.FAILED, text, usage, stop_reason=reason, diagnostics=said, error=error)
        else:
            status = Status.TIMED_OUT if reason == "max_time" else Status.SUCCEEDED
            self.record.finish(status, text, usage, stop_reason=reason, test=finished.test, diagnostics=said)

    def _said(self, finished: Finished) -> Diagnostics | None:
        """What the run says about itself, with patches for the spec as it was sent."""
        if finished.diagnostics is None:
            return None
        findings = [remedies.prescribe(finding, self.job.spec) for finding in finished.diagnostics.findings]
        for finding in findings:
            level = "info" if finding.severity == "info" else "warning"
            self.record.line(f"{finding.code}: {finding.message}", level)
        return finished.diagnostics.model_copy(update={"findings": findings})

    def _usage(self) -> Usage:
        before, seconds = self.job.usage, time.monotonic() - self.began
        on_gpu = self.spent is not None and self.spent.on_gpu
        peak = self.spent.peak_memory_bytes if self.spent else 0
        return Usage(
            seconds=before.seconds + seconds,
            gpu_seconds=before.gpu_seconds + (seconds if on_gpu else 0.0),
            peak_memory_bytes=max(before.peak_memory_bytes, peak),
        )

    def give_up(self) -> None:
        """Lets another worker try."""
        if self.child:
            self.child.kill()
        try:
            self.record.release("worker_error", self._usage(), counted=True)
        except Lost:
            log.warning("lease_lost")

    def clear(self) -> None:
        """Leaves no process and no file."""
        if self.child:
            self.child.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


def _epoch_line(news: Progress) -> str:
    values = [f"{name} {value:.4g}" for name, value in news.latest.items() if isinstance(value, float)]
    return f"Epoch {news.epoch} of {news.epochs}: {', '.join(values)}"
