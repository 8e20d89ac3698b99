"""One uploaded file from its claim to its profile; it is parsed in a limited child and nowhere else."""

import structlog
from sqlalchemy.orm import Session

from jobs import datasets
from jobs.record import Failure
from jobs.tables import Dataset
from worker import children
from worker.children import Child
from worker.messages import Failed, Read
from worker.place import Place, draining

log = structlog.get_logger()

EXTRA_LEASE = 60.0
"""Seconds on top of the reader's own limit, for fetching the file and starting the child."""


def read_next(place: Place) -> bool:
    """Claims the oldest unread dataset and reads it; False if there was none."""
    settings = place.settings
    with place.database.writing() as session:
        dataset = datasets.claim(session, settings.worker_name, settings.reader_seconds + EXTRA_LEASE)
    if dataset is None:
        return False
    with structlog.contextvars.bound_contextvars(dataset_id=dataset.id, attempt=dataset.attempt):
        path = place.local(dataset.path, dataset.sha256)
        reader = children.start(
            "read", str(path), dataset.sha256, settings.reader_memory_bytes, settings.reader_seconds
        )
        try:
            verdict = _verdict(reader, settings.reader_seconds)
        finally:
            reader.kill()
        with place.database.writing() as session:
            if verdict is None:
                datasets.give_back(session, dataset.id, dataset.attempt)
                return False
            _settle(session, dataset, verdict)
        log.info("dataset_read", verdict=verdict.kind)
    return True


def _settle(session: Session, dataset: Dataset, verdict: Read | Failed) -> None:
    if isinstance(verdict, Read):
        datasets.settle(session, dataset.id, dataset.attempt, verdict.profile, verdict.preview, None)
    else:
        error = Failure(error_class=verdict.error_class, code=verdict.code, message=verdict.message)
        datasets.settle(session, dataset.id, dataset.attempt, None, [], error)


def _verdict(reader: Child, seconds: float) -> Read | Failed | None:
    """What the reader found; None if the worker has to stop first."""
    late = children.deadline(seconds)
    while reader.running or reader.pipe.poll():
        for news in reader.hear(0.25):
            if isinstance(news, Read | Failed):
                return news
        if draining():
            return None
        if late():
            return Failed(error_class="data", code="too_slow", message=f"Reading took more than {seconds:.0f} seconds.")
    text = (
        f"Reading ended without an answer (exit {reader.process.exitcode}): the file asks for too much memory or time."
    )
    return Failed(error_class="data", code="reader_died", message=text)
