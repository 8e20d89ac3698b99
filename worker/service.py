"""What a worker process runs, from its first connection until it has drained."""

import contextlib
import platform
import signal
import threading
from collections.abc import Callable
from typing import Any

import structlog
from celery import signals
from celery.platforms import EX_OK
from celery.worker import state

from jobs import db, logs, queue, settings, workers
from jobs.settings import Settings
from jobs.spec import job as job_spec
from jobs.workers import Equipment
from worker import broker, children, delivering, fetching, heartbeat, place, reconciler, retention, slots, tasks
from worker.messages import Equipped
from worker.place import Place

log = structlog.get_logger()

AGAIN = 5.0
"""Seconds until Celery is started again where it has given up."""


def main() -> None:
    """Takes jobs until it is told to stop."""
    options = settings.current()
    logs.configure(options.log_format)
    found = children.equipped()
    here = place.open_(options, found.gpus)
    signal.signal(signal.SIGTERM, lambda *_: here.over.set())  # slots work before Celery has handlers of its own
    asleep = threading.Event()
    heart = heartbeat.start(here, _equipment(here, found), asleep)
    reconciler.start(here)
    retention.start(here)
    if options.deliver:
        delivering.start(here)
        fetching.start(here)
    try:
        _serve(here, options)
    finally:
        here.over.set()
        _await_work()
        asleep.set()
        heart.join()
        with contextlib.suppress(*db.AWAY), here.database.writing() as session:
            workers.leave(session, options.worker_name)


def _serve(here: Place, options: Settings) -> None:
    broker.guard()
    signals.setup_logging.connect(_keep_logging)
    signals.worker_ready.connect(_notice_end(here), weak=False)
    app = queue.app()
    children.forget_secrets()
    tasks.register(app, here)
    # Two threads more than slots: one reads uploads while all slots train, one answers hints that find no slot free.
    concurrency = str(options.slots + 2)
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    pool = ["--pool", "threads", "--concurrency", concurrency, "--hostname", options.worker_name]
    while not here.stopping:
        with contextlib.suppress(SystemExit):
            app.worker_main(["--quiet", "worker", *pool, *quiet])
        if not here.stopping:  # a broker that is full, say, ends it; the slots look for work all the same
            log.warning("celery_ended", again_in_seconds=AGAIN)
            here.over.wait(AGAIN)


def _keep_logging(**_: object) -> None:
    """Celery sets up no logging of its own where somebody listens to this signal."""


def _notice_end(here: Place) -> Callable[..., None]:
    """Ends a Celery that was just starting when the end was asked for: it heard nothing of that."""

    def notice(**_: Any) -> None:
        if here.over.is_set():
            state.should_stop = EX_OK  # type: ignore[assignment]

    return notice


def _equipment(here: Place, found: Equipped) -> Equipment:
    versions = {**found.versions, "python": platform.python_version(), "spec": str(job_spec.VERSION)}
    return Equipment(here.settings.slots, here.threads, here.gpus, versions)


def _await_work() -> None:
    """Until the threads that work without Celery have handed their jobs back."""
    for thread in threading.enumerate():
        if thread.name in slots.WORK:
            thread.join()
