"""One uploaded file from its claim to its profile; it is parsed in a limited child and nowhere else."""

import time

import structlog

from jobs import datasets, db, errors, quotas
from jobs.record import Failure
from jobs.tables.datasets import Dataset
from worker import children
from worker.children import Child
from worker.messages import Failed, Read
from worker.place import Gone, Place

log = structlog.get_logger()

REST = 15.0
"""Seconds until a file is tried again that could not be had; the next one has its turn meanwhile."""


class Killed(Exception):
    """Somebody ended the reader from outside: an operator, or a kernel without memory. That is the file's fault only if
    it happens again and again."""


def read_next(place: Place) -> bool:
    """Claims the oldest unread dataset and reads it; False if there was none, or it could not be had."""
    with place.database.writing() as session:
        dataset = datasets.claim(session, place.settings.worker_name, place.settings.lease_seconds)
    if dataset is None:
        return False
    with structlog.contextvars.bound_contextvars(dataset_id=dataset.id, attempt=dataset.attempt):
        verdict, killed, wait = None, False, 0.0
        try:
            verdict = _read(place, dataset)
        except Killed:
            killed = True
        except Gone as error:
            verdict = Failed(error_class="data", code="data_gone", message=f"{error} Upload it again.")
        except Exception:  # the artifact store is away, say: that is not the file's fault
            log.exception("reading_failed")
            wait = REST
        _settle(place, dataset, verdict, killed, wait)
    return verdict is not None


def _read(place: Place, dataset: Dataset) -> Read | Failed | None:
    settings = place.settings
    path = place.local(dataset.path, dataset.sha256)
    limits = (settings.reader_memory_bytes, settings.reader_seconds)
    reader = children.start("read", str(path), dataset.sha256, *limits)
    try:
        return _listen(place, dataset, reader)
    finally:
        reader.kill()


def _listen(place: Place, dataset: Dataset, reader: Child) -> Read | Failed | None:
    """What the reader found; None if the worker has to stop first, or has lost its lease."""
    began = renewed = time.monotonic()
    while not reader.over:
        for news in reader.hear(0.25):
            if isinstance(news, Read | Failed):
                return news
        if place.draining:
            return None
        if time.monotonic() - began > place.settings.reader_seconds:
            text = f"Reading took more than {place.settings.reader_seconds:.0f} seconds; upload a smaller file."
            return Failed(error_class="data", code="too_slow", message=text)
        if time.monotonic() - renewed > place.settings.heartbeat_seconds:
            renewed = time.monotonic()
            if not _renewed(place, dataset):
                return None
    if reader.process.exitcode in children.KILLED:
        raise Killed
    text = f"Reading ended without an answer (exit {reader.process.exitcode}): the file takes too much memory or time."
    return Failed(error_class="data", code="reader_died", message=text)


def _renewed(place: Place, dataset: Dataset) -> bool:
    """False if the lease is lost; while the database is away nobody else can have it."""
    try:
        with place.database.writing() as session:
            return datasets.renew(session, dataset.id, dataset.attempt, place.settings.lease_seconds)
    except db.AWAY as error:
        log.warning("database_away", error=type(error).__name__)
        return True


def _settle(place: Place, dataset: Dataset, verdict: Read | Failed | None, killed: bool, wait: float) -> None:
    """Insists for a while: a verdict that the database does not hear would count as the death of a worker."""
    end = time.monotonic() + place.settings.lease_seconds
    while True:
        try:
            _write(place, dataset, verdict, killed, wait)
            log.info("dataset_read", verdict=verdict.kind if verdict else "given_back")
            return
        except errors.LimitReached as error:
            verdict = Failed(error_class="data", code=error.code, message=str(error))
        except db.AWAY:
            if time.monotonic() > end:
                raise
            time.sleep(1)


def _write(place: Place, dataset: Dataset, verdict: Read | Failed | None, killed: bool, wait: float) -> None:
    with place.database.writing() as session:
        match verdict:
            case None:
                datasets.give_back(session, dataset.id, dataset.attempt, died=killed, wait=wait)
            case Read():
                quotas.in_turn(session, dataset.owner)
                datasets.settle(session, dataset.id, dataset.attempt, verdict.profile, verdict.preview, None)
                quotas.check_stored(session, dataset.owner, place.settings.max_stored_bytes)
            case Failed():
                error = Failure(error_class=verdict.error_class, code=verdict.code, message=verdict.message)
                datasets.settle(session, dataset.id, dataset.attempt, None, [], error)
