"""One job from its claim to its end: files in, child started and heard, everything recorded, one terminal state."""

import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path

import obstore
import structlog

from jobs import claims, failpoints
from jobs.record import Failure
from jobs.spec import remedies
from jobs.spec.explained import Diagnostics
from jobs.states import Status
from jobs.tables.jobs import Job
from trainer.reports import Finished, Progress, Saved, Started
from worker import children, gpus, inputs, memory, scratch
from worker.children import Child
from worker.holds import Hold, Lost
from worker.messages import NO_MEMORY, Alive, Drained, Equipped, Failed, News, Read, Spent
from worker.place import Gone, Place
from worker.record import Record
from worker.uploads import Uploads

log = structlog.get_logger()

LISTEN = 0.25
"""Seconds between two looks at the database while the child is silent; a cancel is seen within them."""
DRAIN_PATIENCE = 7.0
"""Seconds for a child to save itself when its worker stops; then its last checkpoint has to do."""
STORE_PATIENCE = 8.0
"""Seconds, of which these are a part, until a run is left whose files the artifact store has not taken."""
AWAY = 15.0
"""Seconds for which a job rests that lacked its files or a GPU here: that is not its fault."""
BLAMELESS = ("gpu_lost", "disk_full")
"""Ends of a child that are not its job's fault either."""


def train_next(place: Place, slot: int) -> bool:
    """Claims the best eligible job and sees it through in this slot; False if there was none."""
    with place.database.writing() as session:
        job = claims.claim(session, place.settings.worker_name, place.settings.lease_seconds, gpu=bool(place.gpus))
    if job is None:
        return False
    failpoints.reach("claim.committed")
    hold = Hold(job)
    place.holds.add(hold)
    with structlog.contextvars.bound_contextvars(job_id=job.id, attempt=job.attempt, traceparent=job.traceparent):
        log.info("job_claimed")
        run = Run(place, Record(place, hold), slot)
        try:
            run.supervise()
        except Lost:
            log.warning("lease_lost")
        except (OSError, obstore.exceptions.BaseError):
            log.exception("files_failed")
            run.give_up("io_error" if place.has_room else "disk_full", counted=False, wait=AWAY)
            return False  # the slot rests, too
        except Exception:  # the job must not wait for its lease because the worker has a fault
            log.exception("supervision_failed")
            run.give_up("worker_error", counted=True)
        finally:
            place.holds.discard(hold)
            run.clear()
    return True


@dataclass
class Run:
    """A claimed job and the child that trains it."""

    place: Place
    record: Record
    slot: int
    child: Child | None = None
    finished: Finished | None = None
    failed: Failed | None = None
    drained: bool = False
    drain_seen_at: float | None = None
    uploads: Uploads = field(init=False)
    toll: memory.Toll = field(default_factory=memory.Toll)

    def __post_init__(self) -> None:
        self.uploads = Uploads(self.place, self.job, self.folder, self.record.most)

    @property
    def job(self) -> Job:
        """As it was claimed."""
        return self.record.job

    @property
    def folder(self) -> Path:
        """Where the child writes."""
        return self.place.scratch / f"{self.job.id}-a{self.job.attempt}"

    def supervise(self) -> None:
        """Runs the job until it has a terminal state, or is back in the queue.

        Raises:
            Lost: another attempt owns the job.
        """
        scratch.clear_earlier(self.place, self.job)
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            self.child = children.start("train", inputs.order(self.record, self.folder, self.slot).model_dump_json())
        except Gone as error:
            self.failed = Failed(error_class="infrastructure", code="data_gone", message=str(error))
            self.record.line(str(error), "error")
        else:
            self._listen(self.child)
        self._settle()

    def _listen(self, child: Child) -> None:
        asked = False
        while child.running:
            self._hear(child)
            status = self._keep_up(child)
            if status is Status.CANCELLING:
                child.stop()
                return
            if (self.place.draining or status is Status.PAUSING) and not asked:
                child.drain()
                asked = True
            if self._has_drained_for(DRAIN_PATIENCE):
                self.drained = True
                child.kill()
        for news in child.hear(0):
            self._take(news)

    def _hear(self, child: Child) -> None:
        """What it says by now, unless so much waits for the database already that it has to wait, too."""
        if self.record.is_full:
            return child.let_wait(LISTEN)
        for news in child.hear(LISTEN):
            self._take(news)

    def _has_drained_for(self, seconds: float) -> bool:
        """Whether it is so long ago that the worker was seen to drain."""
        if self.place.draining and self.drain_seen_at is None:
            self.drain_seen_at = time.monotonic()
        return self.drain_seen_at is not None and time.monotonic() - self.drain_seen_at > seconds

    def _keep_up(self, child: Child) -> Status | None:
        """Commits what is due and stored, looks after the child; answers what is asked of the job."""
        self.toll.look(time.monotonic())
        if time.monotonic() - child.spoke_at > self.place.settings.stall_seconds:
            text = f"The training process said nothing for {self.place.settings.stall_seconds:g} seconds."
            self.failed = Failed(error_class="infrastructure", code="stalled", message=text)
            self.record.line(text, "warning")
            child.kill()
        status = self.record.touch()
        if status is not None:  # while the database is away the run is heard on, and newer files replace older ones
            self._commit()
        return status

    def _commit(self) -> None:
        for file in self.uploads.stored():
            self.record.flush()  # what led to a checkpoint is on record before it is
            self.record.keep(file)

    def _take(self, news: News) -> None:
        match news:
            case Started():
                self._introduce(news)
            case Progress():
                self.record.add(news)
                if news.epoch_ended:
                    self.record.line(_epoch_line(news))
            case Saved():
                self.uploads.add(news)
            case Finished():
                self.finished = news
            case Failed():
                self.failed = news
                log.warning("child_failed", code=news.code, trace=news.trace)
            case Spent():
                self.record.spent = news
            case Drained():
                self.drained = True
            case Alive():
                pass  # that it spoke is noted where it is heard
            case Read() | Equipped():
                raise AssertionError("a training child neither reads uploads nor looks around")

    def _introduce(self, news: Started) -> None:
        self.record.line(f"{news.parameters:,} parameters on {news.device} with {news.threads} threads.")
        self.record.line(f"{news.train_rows:,} rows train, {news.validation_rows:,} validate, {news.test_rows:,} test.")
        for note in news.notes:
            self.record.line(note)
        self.record.decided(news.decisions)
        if news.refused:
            self.record.note("checkpoint_refused", news.refused)
        if self.job.attempt > 1:
            self.record.resumed(news.resumed_from or 0)

    def _settle(self) -> None:
        """The child is gone: what became of the job?"""
        whole = self._deliver()
        failed = self.failed or self._killed_for_memory()
        if self.finished and whole:
            self._end(self.finished)
        elif failed and failed.error_class != "infrastructure":
            error = Failure(error_class=failed.error_class, code=failed.code, message=failed.message)
            if failed.error_class == "oom":
                self.record.flush()
                self.record.retry_smaller(error)
            else:
                self.record.finish(Status.FAILED, error.message, error=error)
        elif self.finished or self.drained:
            self.record.flush()
            self.record.release("drained", counted=False)
        else:
            self._lose(failed)

    def _deliver(self) -> bool:
        """Stores what is left, first what the run goes on from; False if it is cancelled or has to leave meanwhile."""
        self.uploads.hasten()
        self._commit()
        while not self.uploads.all_stored:
            if self.record.touch() is Status.CANCELLING or self._has_drained_for(STORE_PATIENCE):
                log.info("files_left_behind")
                return False
            self.uploads.wait(LISTEN)
            self._commit()
        return True

    def _lose(self, failed: Failed | None) -> None:
        """Back to the queue."""
        code = failed.code if failed else f"exit_{self.child.process.exitcode if self.child else None}"
        if code in ("gpu_lost", "gpu_failed"):
            gpus.doubt(self.place)
        blameless = code in BLAMELESS
        self.record.flush()
        self.record.release(code, counted=not blameless, wait=AWAY if blameless else 0.0)

    def _killed_for_memory(self) -> Failed | None:
        """The kernel may have killed the child for want of memory; nobody else says so. It did not kill one that was
        ended from here, and whom it killed long before was another slot's."""
        child = self.child
        killed = child is not None and not child.ended and child.process.exitcode in children.KILLED
        if killed and self.toll.has_risen():
            return Failed(error_class="oom", code="out_of_memory", message=NO_MEMORY)
        return None

    def _end(self, finished: Finished) -> None:
        reason, text, said = finished.stop_reason, finished.message, self._said(finished)
        if reason == "non_finite":
            error = Failure(error_class="training", code="non_finite", message=text)
            self.record.finish(Status.FAILED, text, stop_reason=reason, diagnostics=said, error=error)
        else:
            status = Status.TIMED_OUT if reason == "max_time" else Status.SUCCEEDED
            self.record.finish(status, text, stop_reason=reason, test=finished.test, diagnostics=said)

    def _said(self, finished: Finished) -> Diagnostics | None:
        """What the run says about itself, with patches for the spec as it was sent."""
        if finished.diagnostics is None:
            return None
        findings = [remedies.prescribe(finding, self.job.spec) for finding in finished.diagnostics.findings]
        for finding in findings:
            level = "info" if finding.severity == "info" else "warning"
            self.record.line(f"{finding.code}: {finding.message}", level)
        return finished.diagnostics.model_copy(update={"findings": findings})

    def give_up(self, why: str, *, counted: bool, wait: float = 0.0) -> None:
        """Lets another worker try."""
        if self.child:
            self.child.kill()
        try:
            self.record.release(why, counted=counted, wait=wait)
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
